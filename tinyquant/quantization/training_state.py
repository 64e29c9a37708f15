"""Where training stands: which of the rules are in force in the forward pass that runs now.

One such state belongs to a model, and all its nodes look at it.

With this module one can ask, at any node, whether to quantize at all, how to round, and whether a batch norm
normalises by the batch (`TrainingState`).
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from tinyquant.numerics.seeds import generator
from tinyquant.quantization.training_rules import TrainingRules

__all__ = ["Rounding", "TrainingState"]


class Rounding(TypedDict):
    """How to round, as `fake_quantize` takes it."""

    rounding: str
    rng: np.random.Generator | None
    surrogate: str


class TrainingState:
    """The rules, and what they mean for this pass.

    Attributes
    ----------
    rules : TrainingRules
    has_norms : bool
        Whether any node owns a batch norm; without one there are no statistics to follow or to go stale.
    in_float : bool
        Nothing is quantized: the delay is not over.
    by_batch : bool
        Batch norms normalise by the batch.
    norms_frozen : bool
        Once true they do so no more.
    norms_stale : bool
        With ``bn="reestimate"``: trained since the statistics were estimated.

    Examples
    --------
    >>> state = TrainingState(TrainingRules(bn="correct", delay=1, bn_freeze_after=1))
    >>> state.begin(training=True, steps=0); state.in_float, state.by_batch
    (True, True)
    >>> state.begin(training=True, steps=1); state.in_float, state.by_batch
    (False, False)
    """

    def __init__(self, rules: TrainingRules, *, has_norms: bool = True) -> None:
        self.rules = rules
        self.has_norms = has_norms
        self.in_float = False
        self.by_batch = False
        self.norms_frozen = False
        self.norms_stale = False
        self._rng = generator(rules.seed)

    def begin(self, *, training: bool, steps: int) -> None:
        """A forward pass begins, after so many training passes."""
        rules = self.rules
        self.in_float = training and steps < rules.delay
        over = self.norms_frozen or rules.bn_freeze_after is not None and steps >= rules.bn_freeze_after
        self.by_batch = training and self.has_norms and rules.batch_statistics and not over
        if training and self.has_norms and rules.bn == "reestimate":
            self.norms_stale = True

    def rounding(self, scheme_rounding: str, *, training: bool) -> Rounding:
        """How to round now: as the scheme says, unless training has rules of its own."""
        if training and self.rules.rounding == "stochastic":
            return {"rounding": "stochastic", "rng": self._rng, "surrogate": self.rules.surrogate}
        return {"rounding": scheme_rounding, "rng": None, "surrogate": self.rules.surrogate}
