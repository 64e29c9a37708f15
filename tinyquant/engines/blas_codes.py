"""The operators around the products: functions of one code or two by table, pools, moves, and the reference kernel for the rest.

A function of one int8 code has 256 answers, of two 65536: the reference kernel is asked for all of them once, and the table is
the function, in every dialect. For sums there is something faster than a table of two, a float32 formula, and it is used where it
gives all 65536 answers.

With this module one can lay out those operators (`code_layer`) and bind them to memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinyquant.engines.blas_memory import NO_FRAME, Layer, Scratch, Slot
from tinyquant.engines.dialect_arithmetic import depends_on_position
from tinyquant.engines.exactness import Call
from tinyquant.graph import Node, Value
from tinyquant.integer.kernels import KERNELS
from tinyquant.integer.kernels.activations import exponentials, shares_of_the_sum
from tinyquant.integer.kernels.windows import Padding, cells, pad_image
from tinyquant.integer.prepare_checks import real_scale, zero_code
from tinyquant.integer.registry import Runner, Step
from tinyquant.numerics.rounding import saturate

__all__ = ["Kernel", "code_layer"]

ALL_CODES = saturate(np.arange(-128, 128), -128, 127, np.int8)

ONE_CODE = {"RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "LOGISTIC", "TANH", "QUANTIZE", "DEQUANTIZE"}
TWO_CODES = {"ADD", "SUB", "MUL"}


def code_layer(node: Node, inputs: Sequence[Value], step: Runner) -> Layer:
    """The layer of a node that is no product; a `Kernel` where there is nothing better."""
    codes = all(value.qparams is not None for value in inputs)
    if isinstance(step, Step) and depends_on_position(step.kernel, step.arguments):
        return Kernel(step)
    if node.op in ONE_CODE and codes:
        return OneCode(node, step)
    if node.op in TWO_CODES and codes:
        return TwoCodes(node, inputs, step)
    if node.op in ("AVERAGE_POOL_2D", "MAX_POOL_2D") and isinstance(step, Step) and step.kernel is KERNELS[node.op]:
        if prod(node.attrs["filter"]) < 2**16:
            return Pool(node, step)
    if node.op == "SOFTMAX" and isinstance(step, Step) and step.kernel is KERNELS[node.op]:
        return Softmax(step)
    if node.op in ("RESHAPE", "TRANSPOSE") and {zero_code(value) for value in inputs} == {zero_code(node)}:
        return Move(node)
    return Kernel(step)


class Kernel:
    """The reference kernel on int8 arrays: always right."""

    padding: Padding = NO_FRAME

    def __init__(self, step: Runner) -> None:
        self.step = step

    def bind(self, xs: Sequence[Slot], y: Slot, scratch: Scratch) -> list[Call]:
        """The calls for one block; a constant is stored now, once."""
        if not xs:
            y.store(self.step([]))
            return []
        return [lambda: y.store(self.step([x.array() for x in xs]))]


class OneCode:
    """A function of one code: a table of 256."""

    padding: Padding = NO_FRAME

    def __init__(self, node: Node, step: Runner) -> None:
        table = step([ALL_CODES])
        self.table = table if node.qparams is None else table.astype(np.float32) - np.float32(zero_code(node))

    def bind(self, xs: Sequence[Slot], y: Slot, scratch: Scratch) -> list[Call]:
        """The calls for one block."""
        (x,) = xs
        assert x.zero is not None
        index = scratch.take("index", x.shape, np.intp)
        found = scratch.take("found", x.shape, np.float32)
        calls: list[Call] = [
            partial(np.add, x.inner, np.float32(x.zero + 128), out=found),
            partial(index.__setitem__, ..., found),
        ]
        if y.zero is None:
            return [*calls, lambda: y.store(self.table[index])]
        # Every index is within the table; "clip" only spares numpy a copy made for the case that one is not.
        return [*calls, partial(np.take, self.table, index, out=found, mode="clip"), partial(np.copyto, y.inner, found)]


class Softmax:
    """SOFTMAX: a difference of codes has 256 values, so the exponentials are a table; the rest is the kernel's."""

    padding: Padding = NO_FRAME

    def __init__(self, step: Step) -> None:
        self.table = exponentials(np.arange(-255, 1), **step.arguments)

    def bind(self, xs: Sequence[Slot], y: Slot, scratch: Scratch) -> list[Call]:
        """The calls for one block."""
        return [partial(self._run, xs[0], y)]

    def _run(self, x: Slot, y: Slot) -> None:
        """Differences, looked up; then each entry's share."""
        difference = (x.inner - x.inner.max(axis=-1, keepdims=True)).astype(np.intp)
        y.store(shares_of_the_sum(self.table[difference + 255]))


class TwoCodes:
    """A function of two codes: a formula in float32 that agrees with the kernel on all 65536 pairs, or their table."""

    padding: Padding = NO_FRAME

    def __init__(self, node: Node, inputs: Sequence[Value], step: Runner) -> None:
        table = step([np.repeat(ALL_CODES, 256), np.tile(ALL_CODES, 256)])
        self.table = table.astype(np.float32) - np.float32(zero_code(node))
        self.ends = float(self.table.min()), float(self.table.max())
        first, second = (ALL_CODES.astype(np.float32) - np.float32(zero_code(value)) for value in inputs)
        first, second = np.repeat(first, 256), np.tile(second, 256)
        real = [real_scale(value) / real_scale(node) for value in inputs]
        self.product = node.op == "MUL"
        second_factor = {"ADD": real[1], "SUB": -real[1], "MUL": 1.0}[node.op]
        self.factors = np.float32(real[0] * real_scale(inputs[1]) if self.product else real[0]), np.float32(second_factor)
        got, spare = np.empty_like(first), np.empty_like(first)
        self.nudge: np.floating | None = None
        for nudge in map(np.float32, (0, 1e-6, -1e-6, 4e-6, -4e-6, 1.6e-5, -1.6e-5)):
            for call in self._formula(first, second, nudge, got, spare):
                call()
            if np.array_equal(got, self.table):
                self.nudge = nudge
                return

    def _formula(
        self, x1: np.ndarray, x2: np.ndarray, nudge: np.floating, out: np.ndarray, spare: np.ndarray
    ) -> list[Call]:
        """clip(rint(x1 * a + x2 * b + nudge)) or clip(rint(x1 * x2 * a + nudge)), to `out`; the nudge decides ties."""
        a, b = self.factors
        calls: list[Call] = [partial(np.multiply, x1, a, out=out)]
        if self.product:
            calls.append(partial(np.multiply, out, x2, out=out))
        else:
            calls += [partial(np.multiply, x2, b, out=spare), partial(np.add, out, spare, out=out)]
        calls.append(partial(np.add, out, nudge, out=out))
        return [*calls, partial(np.rint, out, out=out), partial(out.clip, *self.ends, out=out)]

    def bind(self, xs: Sequence[Slot], y: Slot, scratch: Scratch) -> list[Call]:
        """The calls for one block."""
        first, second = xs
        x1, x2 = (np.broadcast_to(x.inner, y.shape) for x in xs)
        out = y.inner if y.frame == NO_FRAME else scratch.take("found", y.shape, np.float32)
        if self.nudge is not None:
            calls = self._formula(x1, x2, self.nudge, out, scratch.take("part", y.shape, np.float32))
        else:
            assert first.zero is not None and second.zero is not None
            start = np.float32((first.zero + 128) * 256 + second.zero + 128)
            index = scratch.take("index", y.shape, np.intp)
            calls = [
                partial(np.multiply, x1, np.float32(256), out=out),
                partial(np.add, out, x2, out=out),
                partial(np.add, out, start, out=out),
                partial(index.__setitem__, ..., out),
                partial(np.take, self.table, index, out=out, mode="clip"),
            ]
        return calls if out is y.inner else [*calls, partial(np.copyto, y.inner, out)]


class Pool:
    """AVERAGE_POOL_2D and MAX_POOL_2D on floats that hold codes.

    The mean of codes is sign(s) * ((|s| + n // 2) // n) with s the sum of raw codes. Rounding the float quotient down is the
    whole division: a quotient that is no whole number is at least 1/n from the next, and float32 errs by less for n < 2**16.
    """

    padding: Padding = NO_FRAME

    def __init__(self, node: Node, step: Step) -> None:
        self.op, arguments, self.zero = node.op, step.arguments, zero_code(node)
        self.window, self.stride, self.padding = arguments["window"], arguments["stride"], arguments["padding"]
        self.ends = np.float32(arguments["act_min"] - self.zero), np.float32(arguments["act_max"] - self.zero)

    def bind(self, xs: Sequence[Slot], y: Slot, scratch: Scratch) -> list[Call]:
        """The calls for one block."""
        (x,) = xs
        image = x.framed(self.padding)
        n, h, w, c = image.strides
        shape = (*y.shape[:3], *self.window, y.shape[3])
        view = as_strided(image, shape, (n, h * self.stride[0], w * self.stride[1], h, w, c))
        found = scratch.take("found", y.shape, np.float32)
        if self.op == "MAX_POOL_2D":
            return self._max(x, y, found)
        ones = pad_image(np.ones((1, *x.shape[1:3], 1), np.float32), self.padding, 0)
        count = np.sum([view for _, _, view in cells(ones, self.window, self.stride)], axis=0)
        spare = scratch.take("part", y.shape, np.float32)
        return [
            partial(np.add.reduce, view, axis=(3, 4), out=found),
            partial(np.add, found, count * self.zero, out=found),
            partial(np.copysign, np.floor(count / 2), found, out=spare),
            partial(np.add, found, spare, out=found),
            partial(np.divide, found, count, out=found),
            partial(np.trunc, found, out=found),
            partial(np.subtract, found, np.float32(self.zero), out=found),
            partial(found.clip, *self.ends, out=y.inner),
        ]

    def _max(self, x: Slot, y: Slot, found: np.ndarray) -> list[Call]:
        """The largest of the cells inside: the frame's zeros must not win, so each window is cut to the image."""
        calls: list[Call] = [partial(found.fill, -np.inf)]
        (top, _), (left, _) = self.padding
        for ky in range(self.window[0]):
            for kx in range(self.window[1]):
                rows, ys = _inside(ky - top, self.stride[0], x.shape[1], y.shape[1])
                columns, xs = _inside(kx - left, self.stride[1], x.shape[2], y.shape[2])
                part = found[:, rows, columns]
                calls.append(partial(np.maximum, part, x.inner[:, ys, xs], out=part))
        return [*calls, partial(found.clip, *self.ends, out=y.inner)]


def _inside(first: int, stride: int, size: int, count: int) -> tuple[slice, slice]:
    """Output positions whose cell first + position * stride lies inside, and those cells."""
    begin = max(0, -(first // stride))
    end = max(begin, min(count, (size - 1 - first) // stride + 1))
    start = first + begin * stride
    return slice(begin, end), slice(start, start + (end - begin) * stride, stride) if end > begin else slice(0, 0)


class Move:
    """RESHAPE and TRANSPOSE: a copy."""

    padding: Padding = NO_FRAME

    def __init__(self, node: Node) -> None:
        self.perm = node.attrs.get("perm")

    def bind(self, xs: Sequence[Slot], y: Slot, scratch: Scratch) -> list[Call]:
        """The calls for one block."""
        (x,) = xs
        if self.perm is not None:
            return [partial(np.copyto, y.inner, x.inner.transpose(self.perm))]
        if y.frame == NO_FRAME:
            return [partial(np.copyto, y.inner.reshape(x.shape), x.inner)]
        return [lambda: np.copyto(y.inner, x.inner.reshape(y.shape))]
