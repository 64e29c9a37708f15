"""What happens to the quantizers while a network is trained, as data.

A scheme says what the quantizers are; these rules say what training does to them: whether ranges stand still,
follow the data or are learned, what the gradient of a rounding pretends to be, when quantization begins, and
where a batch norm takes its statistics from. In eval mode none of them acts: everything stands still.

With this module one can hold all of it in one frozen value (`TrainingRules`), which `quantize_model` fills.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from tinyquant.quantization.counts import MANY, checked_count
from tinyquant.quantization.surrogates import SURROGATES

__all__ = [
    "BATCH_NORM_MODES",
    "RANGE_MODES",
    "SCALE_PARAMETERS",
    "TRAINING_ROUNDINGS",
    "WEIGHT_RANGE_MODES",
    "TrainingRules",
]

BATCH_NORM_MODES = ("fold", "freeze", "correct", "reestimate")
RANGE_MODES = ("frozen", "ema", "learn", "learn_zero_point", "pact")
WEIGHT_RANGE_MODES = ("follow", "learn")
SCALE_PARAMETERS = ("log", "step")
TRAINING_ROUNDINGS = ("scheme", "stochastic")


@dataclass(frozen=True)
class TrainingRules:
    """Every choice of quantization-aware training, frozen; the defaults are what `quantize_model` does unasked.

    Attributes
    ----------
    bn : str
        A name of `BATCH_NORM_MODES`; see `quantize_model`.
    ranges : str
        Of activations, a name of `RANGE_MODES`.
    weight_ranges : str
        "follow": chosen from the weights anew in each training forward. "learn": a learned scale (LSQ).
    surrogate : str
        What the gradient of a rounding pretends to be, a name of `SURROGATES`; learned scales bring their own.
    rounding : str
        In training: "scheme", or "stochastic" for weights and activations. In eval mode it is always the scheme's.
    delay : int, 0 or more
        So many training forwards run in float before quantization begins.
    bn_freeze_after : int, 0 or more, or None
        After so many training forwards the statistics of "correct" and "reestimate" stand still.
    momentum : float in [0, 1)
        Weight of the past in ``ranges="ema"``.
    gradient_scale : bool
        Whether the gradient of a learned scale is divided by sqrt(N * Qp), as LSQ does.
    scale_parameter : str
        What a learned scale trains: "log", the logarithm of its ratio to the start, or "step", the scale itself, bent
        below its start so that it stays positive. See `learned_scale`.
    seed : int, 0 or more
        Of the stochastic rounding.

    Raises
    ------
    ValueError
        A name that is not one of those allowed, a number out of its range, or two choices that exclude each other.

    Examples
    --------
    >>> TrainingRules(ranges="learn").moves_ranges, TrainingRules().moves_ranges
    (True, False)
    """

    bn: str = "fold"
    ranges: str = "frozen"
    weight_ranges: str = "follow"
    surrogate: str = "clipped"
    rounding: str = "scheme"
    delay: int = 0
    bn_freeze_after: int | None = None
    momentum: float = 0.9
    gradient_scale: bool = True
    scale_parameter: str = "log"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("bn", self.bn, BATCH_NORM_MODES),
            ("ranges", self.ranges, RANGE_MODES),
            ("weight_ranges", self.weight_ranges, WEIGHT_RANGE_MODES),
            ("surrogate", self.surrogate, tuple(SURROGATES)),
            ("scale_parameter", self.scale_parameter, SCALE_PARAMETERS),
            ("training_rounding", self.rounding, TRAINING_ROUNDINGS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
        for name, mend in (
            ("delay", "It counts training batches."),
            ("bn_freeze_after", "It counts training batches; None is never."),
            ("seed", "Same seed, same numbers."),
        ):
            count = getattr(self, name)
            if count is not None or name != "bn_freeze_after":
                object.__setattr__(self, name, checked_count(name, count, MANY, "a whole number of 0 or more", mend))
        if not isinstance(self.momentum, Real) or not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum!r}. 0.9 remembers about 10 batches.")
        object.__setattr__(self, "momentum", float(self.momentum))
        learned = self.weight_ranges == "learn" or self.ranges in ("learn", "learn_zero_point", "pact")
        if learned and self.surrogate != "clipped":
            raise ValueError(
                f"surrogate must be 'clipped' with learned ranges, got {self.surrogate!r}. "
                "They have a gradient of their own: leave surrogate out, or use ranges='frozen' or 'ema'."
            )
        if self.bn_freeze_after is not None and not self.batch_statistics:
            raise ValueError(
                f"bn_freeze_after must go with bn='correct' or 'reestimate', got bn={self.bn!r}, "
                "which has no moving statistics. Leave it out."
            )

    @property
    def moves_ranges(self) -> bool:
        """Whether training changes the quantizers of activations."""
        return self.ranges != "frozen"

    @property
    def batch_statistics(self) -> bool:
        """Whether batch norms normalise by the batch while training."""
        return self.bn in ("correct", "reestimate")
