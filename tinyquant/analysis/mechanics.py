"""What a side did to a number on its way to a code, and which of those things made the code wrong.

Given the exactly rounded code, a side that has another one was led astray by something: a first rounding before the second,
a multiplier of few bits, floating point. Each can be tried alone: round only once, with the very multiplier the kernel was
given, and look whether the code is right then.

With this module one can ask a side (`Mechanics`) where it clamps and why it is off (`Mechanics.why`).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from tinyquant.analysis.exact_values import ExactOutput, Rescaled, half_away, listen, stored_fraction
from tinyquant.analysis.sides import IntegerForm
from tinyquant.engines import dialect_arithmetic as other
from tinyquant.integer.kernels import KERNELS
from tinyquant.integer.prepare import prepare
from tinyquant.integer.registry import Step
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier

__all__ = ["Mechanics", "clamp"]

Index = tuple[int, ...]

_IN_FIXED_POINT = (multiply_by_quantized_multiplier, other.ties_up)
_FEW_BITS = (other.by_sign, other.sum_of_products)
_APPROXIMATE = (other.look_up, other.exponential_softmax, KERNELS["LOGISTIC"], KERNELS["TANH"], KERNELS["SOFTMAX"])


def clamp(code: int, limits: tuple[int, int]) -> int:
    """The code, or the limit it lies beyond.

    >>> clamp(300, (-128, 127))
    127
    """
    return min(max(code, limits[0]), limits[1])


class Mechanics:
    """How one side computed a node for one batch of codes.

    Parameters
    ----------
    form : IntegerForm
    arrays : sequence of ndarray
        The codes it was given.
    exact : ExactOutput
        Of the same node and codes.

    Attributes
    ----------
    limits : (int, int)
        The codes it clamps to.
    """

    def __init__(self, form: IntegerForm, arrays: Sequence[np.ndarray], exact: ExactOutput) -> None:
        self.form, self.arrays, self.exact = form, arrays, exact
        node, runner = form.node, form.runner
        assert node.qparams is not None
        self.zero = int(node.qparams.zero_point)
        self.arguments: dict[str, Any] = dict(runner.arguments) if isinstance(runner, Step) else {}
        clamps = self.arguments or prepare(node, form.inputs)
        self.limits = (int(clamps.get("act_min", node.qparams.qmin)), int(clamps.get("act_max", node.qparams.qmax)))

    @cached_property
    def heard(self) -> list[Rescaled]:
        """The integers that its kernel had rescaled."""
        return listen(self.form.runner, self.arrays)[1] if isinstance(self.form.runner, Step) else []

    def exact_code(self, index: Index) -> Fraction:
        """The exact output as a code, zero point included, before rounding and clamp."""
        return self.exact.steps(index) + self.zero

    def right(self, index: Index) -> int:
        """The exactly rounded code, ties away from zero before the zero point is added, clamped."""
        return clamp(half_away(self.exact.steps(index)) + self.zero, self.limits)

    def why(self, index: Index) -> str:
        """Why this side has another code than `right`, where the exact value is no tie: a key of `CAUSES`."""
        runner = self.form.runner
        if runner is None:
            return "bias rounding" if self._bias_did_it(index) else "float rounding"
        if not isinstance(runner, Step):
            return "another rule"
        if runner.kernel in _APPROXIMATE:
            return "approximation"
        rescale = self.arguments.get("rescale", multiply_by_quantized_multiplier)
        if runner.kernel in _FEW_BITS or rescale is other.of_256ths:
            return "multiplier rounding"
        if "qparams" in self.arguments:
            return "float rounding"
        if not self.heard:
            return "another rule"
        if rescale not in _IN_FIXED_POINT and "in_lanes" not in getattr(rescale, "__qualname__", ""):
            return "float rounding"
        once = half_away(self._rounded_once(index)) + int(self.arguments["output_zero_point"])
        return "double rounding" if clamp(once, self.limits) == self.right(index) else "multiplier rounding"

    def _rounded_once(self, index: Index) -> Fraction:
        """What comes of the integers the kernel was given when nothing is rounded on the way."""
        factors = [_factor(call, index) for call in self.heard]
        if len(factors) == 1:
            return self._acc(0, index) * factors[0]
        if self.form.node.op == "LEAKY_RELU":
            positive, negative = factors
            sign = -1 if self.arguments["multipliers"][1] < 0 else 1
            acc = self._acc(0, index)
            return acc * (positive if acc >= 0 else sign * negative)
        first, second = (self._acc(i, index) * factors[i] for i in (0, 1))
        return (first + second if self.form.node.op == "ADD" else first - second) * factors[2]

    def _acc(self, call: int, index: Index) -> int:
        """The integer that a call of the rescaling was given for this element."""
        acc, shape = self.heard[call].acc, self.exact.shape
        return int((acc.reshape(shape) if acc.size == prod(shape) else np.broadcast_to(acc, shape))[index])

    def _bias_did_it(self, index: Index) -> bool:
        """Does the bias as floats hold it, whole numbers of fl32(S_x * S_w), lead to another code all by itself?"""
        node = self.form.node
        bias, grid = node.params.get("bias"), node.param_qparams.get("bias")
        if bias is None or grid is None or "weight" not in node.param_qparams:
            return False
        channel = index[-1]
        product = stored_fraction(self.form.inputs[0].qparams) * stored_fraction(node.param_qparams["weight"], channel)
        excess = int(bias[channel]) * (stored_fraction(grid, channel) - product) / stored_fraction(node.qparams)
        return clamp(half_away(self.exact.steps(index) + excess) + self.zero, self.limits) != self.right(index)


def _factor(call: Rescaled, index: Index) -> Fraction:
    """multiplier * 2**(shift - 31) of this element's channel."""
    channel = index[-1] if index else 0
    multiplier, shift = (int(np.ravel(v)[channel if np.ndim(v) else 0]) for v in (call.multiplier, call.shift))
    return Fraction(multiplier) * Fraction(2) ** (shift - 31)
