"""What a node's output would be without any rounding: an exact rational number, counted in steps of the output.

The codes of a node's inputs are whole numbers and its scales are float32 numbers, so the real result of almost every
operator is a fraction that Python can hold without error. Held against it, each runtime's code is right, or off for a reason.
The accumulators are not computed a second time: they are read off where the kernel hands them to its rescaling.

With this module one can have the exact output of a node (`ExactOutput`), and the integers a kernel rounds (`listen`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tinyquant.graph import Node, Value
from tinyquant.integer.kernels import KERNELS
from tinyquant.integer.kernels.windows import cells, pad_image
from tinyquant.integer.registry import Step, build_step
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier
from tinyquant.numerics.qparams import QParams

__all__ = ["ExactOutput", "Rescaled", "half_away", "listen", "stored_fraction"]

Index = tuple[int, ...]
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_RESCALED = ("RELU", "RELU_N1_TO_1", "QUANTIZE")
_FRACTIONS = (*_WEIGHTED, *_RESCALED, "ADD", "SUB", "MUL", "RELU6", "LEAKY_RELU", "MEAN", "SUM", "AVERAGE_POOL_2D")


class Rescaled(NamedTuple):
    """One call of a kernel's rescaling: the numbers it got, and how the real factor is written down."""

    acc: np.ndarray
    multiplier: Any
    shift: Any


def half_away(x: Fraction) -> int:
    """The nearest whole number, ties away from zero.

    >>> half_away(Fraction(5, 2)), half_away(Fraction(-5, 2)), half_away(Fraction(-4, 3))
    (3, -3, -1)
    """
    magnitude = (2 * abs(x.numerator) + x.denominator) // (2 * x.denominator)
    return magnitude if x >= 0 else -magnitude


def listen(step: Step, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, list[Rescaled]]:
    """Run a kernel and write down every call of its rescaling; none for a kernel that has no such argument."""
    heard: list[Rescaled] = []
    rescale = step.arguments.get("rescale", multiply_by_quantized_multiplier)

    def ear(acc: np.ndarray, multiplier: Any, shift: Any = 0) -> np.ndarray:
        """The rescaling itself, overheard."""
        heard.append(Rescaled(np.array(acc), multiplier, shift))
        return rescale(acc, multiplier, shift)

    settings = getattr(step.kernel, "__kwdefaults__", None) or {}
    of_codes = step.kernel is KERNELS["QUANTIZE"] and "multiplier" in step.arguments
    overheard = {**step.arguments, "rescale": ear} if "rescale" in settings or of_codes else step.arguments
    return np.asarray(step.kernel(*arrays, **overheard)), heard


class ExactOutput:
    """The exact output of one node for one batch of input codes.

    Parameters
    ----------
    node : Node
        Of an integer graph.
    inputs : sequence of Value
        What it reads.
    arrays : sequence of ndarray
        Their codes.

    Attributes
    ----------
    shape : tuple of int
        Of the output.
    known : bool
        False for functions that are no fractions (LOGISTIC, TANH, SOFTMAX) and for operators that only move codes.

    Examples
    --------
    >>> int8 = np.dtype(np.int8)
    >>> act = Node("act", "RELU", ("x",), (1, 2), qparams=QParams(0.25, 0), dtype=int8)
    >>> exact = ExactOutput(act, [Value("x", (1, 2), int8, QParams(0.125, 1))], [np.int8([[4, 2]])])
    >>> [str(exact.steps((0, i))) for i in (0, 1)]
    ['3/2', '1/2']
    """

    def __init__(self, node: Node, inputs: Sequence[Value], arrays: Sequence[np.ndarray]) -> None:
        self.node, self.inputs, self.arrays = node, tuple(inputs), tuple(arrays)
        self.shape: Index = ()
        self._of = self._rule()

    @property
    def known(self) -> bool:
        """Is the exact output a fraction that this class can tell?"""
        return self._of is not None

    def steps(self, index: Index) -> Fraction:
        """The exact real output over the output's scale: the code, but for zero point, rounding and clamp."""
        if self._of is None:
            raise ValueError(f"the exact output must be a fraction, got {self.node.op}, which is none. Ask `known` first.")
        return self._of(index)

    # One function a family of operators.

    def _rule(self) -> Callable[[Index], Fraction] | None:
        op = self.node.op
        if op not in _FRACTIONS:
            return None
        step = build_step(self.node, self.inputs)
        assert isinstance(step, Step)
        output, heard = listen(step, self.arrays)
        self.shape = output.shape
        if op == "QUANTIZE" and self.inputs[0].qparams is None:
            return lambda at: Fraction(float(self.arrays[0][at])) / self._out
        if op in (*_WEIGHTED, *_RESCALED, "MUL"):
            acc = heard[0].acc.reshape(self.shape)
            return lambda at: int(acc[at]) * self._factor(at[-1] if at else 0)
        if op == "RELU6":
            return lambda at: self._input_steps(0, at)
        if op == "LEAKY_RELU":
            return self._leaky
        if op in ("ADD", "SUB"):
            sign = 1 if op == "ADD" else -1
            return lambda at: self._input_steps(0, at) + sign * self._input_steps(1, at)
        if op in ("MEAN", "SUM"):
            return self._reduction()
        return self._average(step)

    @property
    def _out(self) -> Fraction:
        return stored_fraction(self.node.qparams)

    def _factor(self, channel: int) -> Fraction:
        """The real number an accumulator is multiplied by."""
        factor = stored_fraction(self.inputs[0].qparams) / self._out
        if self.node.op in _WEIGHTED:
            factor *= stored_fraction(self.node.param_qparams["weight"], channel)
        return factor * stored_fraction(self.inputs[1].qparams) if self.node.op == "MUL" else factor

    def _input_steps(self, which: int, at: Index) -> Fraction:
        """One input's element that meets this output element, in output steps."""
        array, qp = np.broadcast_to(self.arrays[which], self.shape), self.inputs[which].qparams
        assert qp is not None
        return (int(array[at]) - int(qp.zero_point)) * stored_fraction(qp) / self._out

    def _leaky(self, at: Index) -> Fraction:
        x = self._input_steps(0, at)
        return x if x >= 0 else x * Fraction(float(np.float32(self.node.attrs["alpha"])))

    def _reduction(self) -> Callable[[Index], Fraction]:
        array, qp = self.arrays[0].astype(np.int64), self.inputs[0].qparams
        assert qp is not None
        axes = tuple(sorted({axis % array.ndim for axis in self.node.attrs["axis"]}))
        total = (array - int(qp.zero_point)).sum(axis=axes).reshape(self.shape)
        count = int(np.prod([array.shape[axis] for axis in axes])) if self.node.op == "MEAN" else 1
        return lambda at: int(total[at]) * self._factor(0) / count

    def _average(self, step: Step) -> Callable[[Index], Fraction]:
        assert self.node.qparams is not None
        window, stride, padding = (step.arguments[key] for key in ("window", "stride", "padding"))
        zero = int(self.node.qparams.zero_point)
        ones = np.ones((1, *self.arrays[0].shape[1:3], 1), np.int64)
        sums = [pad_image(image, padding, 0) for image in (self.arrays[0].astype(np.int64), ones)]
        total, count = (sum(view for _, _, view in cells(image, window, stride)) for image in sums)
        count = np.broadcast_to(count, self.shape)
        return lambda at: Fraction(int(np.asarray(total)[at]), int(count[at])) - zero


def stored_fraction(qp: QParams | None, channel: int = 0) -> Fraction:
    """A stored (float32) scale as an exact fraction: the only one, or that of a channel.

    >>> stored_fraction(QParams([0.5, 0.375], 0, axis=0), 1)
    Fraction(3, 8)
    """
    assert qp is not None
    return Fraction(float(np.float32(np.atleast_1d(qp.scale)[channel if qp.per_axis else 0])))
