"""Weight codes that hop: how often a code changes while a network is trained, and how often it only changes back.

The optimizer moves the float weight a little at every step; the code moves only when the weight crosses a threshold.
At few bits some weights settle near a threshold, and the straight-through gradient pushes them over it, back, and over
again: they oscillate, and which side the last step leaves them on is chance.

    flip at step t           code[t] != code[t-1]
    oscillation at step t    a flip in the direction opposite to that weight's last flip

With this module one can train a network and keep the count (`CodeWatch`), step by step and weight by weight.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinyquant.autograd import Tensor, no_grad
from tinyquant.graph import OPS
from tinyquant.nn import Module
from tinyquant.numerics.affine import quantize
from tinyquant.quantization.fake_quant_node import FakeQuantNode
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.weights import has_groups

__all__ = ["CodeWatch"]


class CodeWatch(Module):
    """A fake-quantized model, and around it somebody who counts: train this with `fit` instead of the model.

    At the beginning of each training step the codes of every watched weight are looked at: those that `convert` would
    write down at that moment. The model itself is trained as if it stood alone.

    Parameters
    ----------
    model : FakeQuantModel
        Trained in place.
    nodes : iterable of str, optional
        Whose weights to watch; all that are quantized if left out. A weight that two nodes share is watched once.
    keep_codes : bool
        Keep the codes of every step, for `history` (steps * weights numbers of 8 bits).

    Raises
    ------
    TypeError
        Not a FakeQuantModel.
    ValueError
        A node that has no quantized weight, or one scale a group of its cells.

    Notes
    -----
    After `fit` call `look()` once more to count what the last step did.

    References
    ----------
    Nagel et al. 2022, "Overcoming oscillations in quantization-aware training", section 2.2 and equation 5.

    Examples
    --------
    >>> from tinyquant import nn
    >>> from tinyquant.quantization.calibrate import calibrate
    >>> from tinyquant.quantization.prepare import quantize_model
    >>> model = nn.Sequential(nn.Linear(2, 1)).eval()
    >>> model[0].weight.data[...] = [[1.0, 0.4]]
    >>> fq = quantize_model(model, calibrate(model, np.ones((4, 2), np.float32)))
    >>> watch = CodeWatch(fq)
    >>> for second in (0.4, 0.5, 0.4):                     # of 1.0: codes 51, 64 (63.5 goes away from 0), 51
    ...     fq.nodes["0"].weight.data[0, 1] = second; watch.look()
    >>> watch.flips("0").tolist(), watch.oscillations("0").tolist()
    ([1, 1], [0, 1])
    """

    def __init__(self, model: FakeQuantModel, nodes: Iterable[str] | None = None, *, keep_codes: bool = False) -> None:
        if not isinstance(model, FakeQuantModel):
            raise TypeError(f"model must be a FakeQuantModel, got {type(model).__name__}. Call quantize_model first.")
        self.model = model
        self.keep_codes = keep_codes
        self._counts = {name: _Counts() for name in _watchable(model, nodes)}
        self.training = model.training

    @property
    def nodes(self) -> list[str]:
        """The nodes whose weights are watched."""
        return list(self._counts)

    def train(self, mode: bool = True) -> CodeWatch:
        """Switch to training or eval, which the model answers with more than a flag: it fixes its quantizers."""
        self.training = mode
        self.model.train(mode)
        return self

    def forward(self, x: Tensor | np.ndarray) -> Tensor | tuple[Tensor, ...]:
        """The model's output; in training the codes are looked at first."""
        if self.training:
            self.look()
        output: Tensor | tuple[Tensor, ...] = self.model(x)
        return output

    def look(self) -> None:
        """Take note of the codes as they are now."""
        for name, counts in self._counts.items():
            made = self.model.nodes[name]
            made.choose_weight_qparams()
            qp = made.weight_qparams
            assert qp is not None
            with no_grad():
                weight = made.params()["weight"].data
            counts.see(quantize(weight, qp, rounding=made.settings.rounding), self.keep_codes)

    def flips(self, node: str) -> np.ndarray:
        """How many codes of this node changed from each look to the next: int64, (looks - 1,)."""
        return np.array(self._counts_of(node).flips, np.int64)

    def oscillations(self, node: str) -> np.ndarray:
        """How many of those flips went back the way the weight's last flip had come: int64, (looks - 1,)."""
        return np.array(self._counts_of(node).oscillations, np.int64)

    def flips_by_weight(self, node: str) -> np.ndarray:
        """How often each code of this node flipped: int64, the weight's shape."""
        return self._seen(node).flips_by_weight.copy()

    def oscillations_by_weight(self, node: str) -> np.ndarray:
        """How often each code of this node oscillated: int64, the weight's shape."""
        return self._seen(node).oscillations_by_weight.copy()

    def history(self, node: str) -> np.ndarray:
        """The codes at every look: (looks, weights), of the codes' integer type; what `plot.code_flips` draws.

        Raises
        ------
        ValueError
            Codes were not kept, or none was looked at.
        """
        if not self.keep_codes:
            raise ValueError("history must be kept from the start, got keep_codes=False. Use CodeWatch(model, keep_codes=True).")
        return np.stack([codes.ravel() for codes in self._seen(node).kept])

    def _counts_of(self, node: str) -> _Counts:
        if node not in self._counts:
            raise KeyError(f"the nodes watched are {', '.join(self._counts)}, got {node!r}.")
        return self._counts[node]

    def _seen(self, node: str) -> _Counts:
        counts = self._counts_of(node)
        if counts.codes is None:
            raise ValueError("codes must have been looked at, got a watch that never was. Train it with fit, or call look().")
        return counts


class _Counts:
    """What is known of one weight."""

    def __init__(self) -> None:
        self.codes: np.ndarray | None = None
        self.kept: list[np.ndarray] = []
        self.flips: list[int] = []
        self.oscillations: list[int] = []

    def see(self, codes: np.ndarray, keep: bool) -> None:
        """One look."""
        if self.codes is None:
            self.last_direction = np.zeros(codes.shape, np.int64)
            self.flips_by_weight = np.zeros(codes.shape, np.int64)
            self.oscillations_by_weight = np.zeros(codes.shape, np.int64)
        else:
            direction = np.sign(codes.astype(np.int64) - self.codes)
            back = direction * self.last_direction < 0
            self.flips.append(int(np.count_nonzero(direction)))
            self.oscillations.append(int(np.count_nonzero(back)))
            self.flips_by_weight += direction != 0
            self.oscillations_by_weight += back
            self.last_direction = np.where(direction != 0, direction, self.last_direction)
        self.codes = codes
        if keep:
            self.kept.append(codes)


def _watchable(model: FakeQuantModel, nodes: Iterable[str] | None) -> list[str]:
    """The names to watch, each weight once."""

    def has_codes(made: FakeQuantNode) -> bool:
        grouped = has_groups(made.settings.group_size, OPS[made.node.op].weight_axis or 0)
        return "weight" in made.node.params and not made.settings.exclude and not grouped

    if nodes is None:
        return [name for name, made in model.nodes.items() if has_codes(made) and next(iter(made.peers)) == name]
    names = list(nodes)
    for name in names:
        if name not in model.nodes or not has_codes(model.nodes[name]):
            good = ", ".join(key for key, made in model.nodes.items() if has_codes(made))
            raise ValueError(f"nodes must have a quantized weight with a scale a channel or tensor, {good}; got {name!r}.")
    return names
