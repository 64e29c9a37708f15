"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED as float products, exact by the bounds of `exactness`.

A convolution is *lowered* to matrix products. Copying every window out (im2col) repeats each pixel kh * kw times; copying only
the rows of the windows repeats it kw times, because the windows one below the other then lie one after the other in
memory and need no copy: kh matrix products of the same matrix, each begun a row later, are added up::

    lowered[n, r, ox, (kx, c)] = image[n, r, ox * stride + kx * dilation, c]
    acc[n, oy, ox, o]          = sum over ky of lowered[n, oy * stride + ky * dilation, ox, :] @ weight[o, ky].T

With a stride of s down, rows r, r + s, r + 2s ... are laid next to each other, in s groups, so that the rows of one ky are again
one block. With this module one can lay out a weighted operator (`product_layer`) and bind it to memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinyquant.engines.blas_memory import NO_FRAME, Layer, Scratch, Slot
from tinyquant.engines.exactness import Call, Requantization, float_type
from tinyquant.graph import Node, Value
from tinyquant.integer.kernels import KERNELS
from tinyquant.integer.kernels.windows import Padding, to_codes
from tinyquant.integer.registry import Step
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier

__all__ = ["Convolution", "Dense", "Depthwise", "product_layer"]

MOST_GROUPS = 8
"""Groups are computed as one product with zeros between them: so many times the work."""

FEW_CHANNELS, FEW_PIXELS = 4, 64
"""Where whole windows are copied out: rows of windows would be short runs, or there are few of them."""


def product_layer(node: Node, inputs: Sequence[Value], step: Step) -> Layer | None:
    """The operator as float products, or None where that is not possible or not proved."""
    if step.kernel is not KERNELS[node.op] or inputs[0].qparams is None:
        return None
    zero, axis = step.arguments["input_zero_point"], 3 if node.op == "DEPTHWISE_CONV_2D" else 0
    # Not [qmin, qmax]: whoever calls may feed any int8.
    reach = max(128 + zero, 127 - zero)
    weight = step.arguments["weight"].astype(np.int64)
    bound = np.abs(weight).sum(axis=tuple(i for i in range(weight.ndim) if i != axis)) * reach
    kind = float_type(int(bound.max()))
    if kind is None or bound.max() >= 2**31:
        return None
    if node.op == "FULLY_CONNECTED":
        return Dense(inputs[0], step, bound, kind)
    if node.op == "DEPTHWISE_CONV_2D":
        return Depthwise(inputs[0], step, bound, kind)
    few = inputs[0].shape[3] // weight.shape[3] <= MOST_GROUPS
    return Convolution(inputs[0], step, bound, kind) if few else None


class Product:
    """What the three have in common: from accumulators to the output's slot."""

    padding: Padding = NO_FRAME

    def __init__(self, x: Value, step: Step, bound: np.ndarray, kind: np.dtype) -> None:
        self.step, self.kind, arguments = step, kind, step.arguments
        self.channels = len(bound)
        zero = arguments["output_zero_point"]
        ends = (arguments["act_min"] - zero, arguments["act_max"] - zero)
        self.requantization = None
        if arguments.get("rescale", multiply_by_quantized_multiplier) is multiply_by_quantized_multiplier:
            multiplier, shift = (np.broadcast_to(arguments[name], self.channels) for name in ("multiplier", "shift"))
            self.requantization = Requantization.proved(bound, arguments["bias"], multiplier, shift, *ends)

    def finish(self, acc: np.ndarray, y: Slot, scratch: Scratch) -> list[Call]:
        """Calls that bring accumulators, [..., repeats * channels] in y's order, into y."""
        if self.requantization is None:
            return [partial(self._by_the_kernel, acc, y)]
        wide = acc if acc.dtype == np.float64 else scratch.take("wide", acc.shape, np.float64)
        calls: list[Call] = [] if wide is acc else [partial(np.copyto, wide, acc)]
        calls += self.requantization.calls(wide, scratch.take("spare", acc.shape, np.float64))
        return [*calls, partial(np.copyto, y.inner, wide.reshape(y.shape), casting="same_kind")]

    def _by_the_kernel(self, acc: np.ndarray, y: Slot) -> None:
        """The same with the dialect's own rule on integers: where no float form is proved."""
        arguments = self.step.arguments
        whole = acc.reshape(-1, self.channels).astype(np.int64)
        if arguments["bias"] is not None:
            whole += arguments["bias"]
        rule = arguments.get("rescale", multiply_by_quantized_multiplier)
        ends = (arguments["output_zero_point"], arguments["act_min"], arguments["act_max"])
        # Wrapped as the kernel's int32 is.
        whole = whole.astype(np.int32).astype(np.int64)
        y.store(to_codes(whole, arguments["multiplier"], arguments["shift"], rule, *ends).reshape(y.shape))

    def _accumulators(self, rows: int, width: int, scratch: Scratch, name: str = "acc") -> np.ndarray:
        """Memory for accumulators in the layer's float type."""
        return scratch.take(name, (rows, width), self.kind)


class Dense(Product):
    """FULLY_CONNECTED: one product."""

    def __init__(self, x: Value, step: Step, bound: np.ndarray, kind: np.dtype) -> None:
        super().__init__(x, step, bound, kind)
        self.weight = np.ascontiguousarray(step.arguments["weight"].T, dtype=kind)

    def bind(self, xs: Sequence[Slot], y: Slot, scratch: Scratch) -> list[Call]:
        """The calls for one block."""
        (x,) = xs
        rows = prod(x.shape) // len(self.weight)
        calls: list[Call] = []
        matrix = x.inner
        if x.frame != NO_FRAME or self.kind != matrix.dtype:
            matrix = scratch.take("lowered", x.shape, self.kind)
            calls.append(partial(np.copyto, matrix, x.inner))
        acc = self._accumulators(rows, self.channels, scratch)
        calls.append(partial(np.matmul, matrix.reshape(rows, len(self.weight)), self.weight, out=acc))
        return calls + self.finish(acc, y, scratch)


class Windowed(Product):
    """What CONV_2D and DEPTHWISE_CONV_2D have in common: the window."""

    def __init__(self, x: Value, step: Step, bound: np.ndarray, kind: np.dtype) -> None:
        super().__init__(x, step, bound, kind)
        arguments = step.arguments
        self.padding, self.stride, self.dilation = arguments["padding"], arguments["stride"], arguments["dilation"]
        self.window: tuple[int, int] = arguments["weight"].shape[1:3]

    def phases(self, taps: int, stride: int, dilation: int) -> list[tuple[int, int, int]]:
        """For each tap k: (phase, first, k), the tap's pixels being first, first + 1, ... of the pixels = phase mod stride."""
        return [(k * dilation % stride, k * dilation // stride, k) for k in range(taps)]


class Convolution(Windowed):
    """CONV_2D: windows lowered, then matrix products."""

    def __init__(self, x: Value, step: Step, bound: np.ndarray, kind: np.dtype) -> None:
        super().__init__(x, step, bound, kind)
        weight = step.arguments["weight"]
        outputs, depth, channels = len(weight), weight.shape[3], x.shape[3]
        dense = np.zeros((*self.window, channels, outputs), kind)
        per_group = outputs // (channels // depth)
        for o in range(outputs):
            first = o // per_group * depth
            dense[:, :, first : first + depth, o] = weight[o]
        self.weight = dense

    def bind(self, xs: Sequence[Slot], y: Slot, scratch: Scratch) -> list[Call]:
        """The calls for one block."""
        image = xs[0].framed(self.padding)
        rows, tall, wide, channels = image.shape
        (kh, kw), (down, across), (dy, dx) = self.window, self.stride, self.dilation
        _, oh, ow, outputs = y.shape
        n, h, w, c = image.strides
        acc = self._accumulators(rows * oh, ow * outputs, scratch)
        if (kh, kw, down, across) == (1, 1, 1, 1) and image.flags.c_contiguous and self.kind == image.dtype:
            pixels = image.reshape(-1, channels)
            calls: list[Call] = [partial(np.matmul, pixels, self.weight[0, 0], out=acc.reshape(-1, outputs))]
        elif channels <= FEW_CHANNELS or oh * ow <= FEW_PIXELS or kh == 1:
            windows = as_strided(image, (rows, oh, ow, kh, kw, channels), (n, h * down, w * across, h * dy, w * dx, c))
            lowered = scratch.take("lowered", windows.shape, self.kind)
            matrix, weight = lowered.reshape(rows * oh * ow, -1), self.weight.reshape(-1, outputs)
            calls = [partial(np.copyto, lowered, windows), partial(np.matmul, matrix, weight, out=acc.reshape(-1, outputs))]
        else:
            calls = self._by_rows(image, (oh, ow), acc.reshape(rows, oh * ow, outputs), scratch)
        return calls + self.finish(acc, y, scratch)

    def _by_rows(self, image: np.ndarray, size: tuple[int, int], acc: np.ndarray, scratch: Scratch) -> list[Call]:
        """Rows of windows copied out, a matrix product for each row of the window."""
        rows, tall, _, channels = image.shape
        n, h, w, c = image.strides
        (kh, kw), (down, across) = self.window, self.stride
        (oh, ow), depth = size, kw * channels
        taps = self.phases(kh, down, self.dilation[0])
        height = max(first for _, first, _ in taps) + oh
        phases = sorted({phase for phase, _, _ in taps})
        lowered = scratch.take("lowered", (len(phases), rows, height, ow, kw, channels), self.kind)
        calls: list[Call] = []
        for place, phase in enumerate(phases):
            there = min(height, (tall - phase + down - 1) // down)
            strides = (n, h * down, w * across, w * self.dilation[1], c)
            view = as_strided(image[:, phase:], (rows, there, ow, kw, channels), strides)
            calls.append(partial(np.copyto, lowered[place, :, :there], view))
        flat = lowered.reshape(len(phases), rows, height * ow, depth)
        part = scratch.take("part", acc.shape, self.kind)
        for i, (phase, first, ky) in enumerate(taps):
            block = flat[phases.index(phase), :, first * ow : (first + oh) * ow]
            calls.append(partial(np.matmul, block, self.weight[ky].reshape(depth, -1), out=part if i else acc))
            if i:
                calls.append(partial(np.add, acc, part, out=acc))
        return calls


class Depthwise(Windowed):
    """DEPTHWISE_CONV_2D: one einsum over the window's cells; width and channels run as one axis.

    A stride across would tear that axis apart, so the columns of each phase are copied next to each other first.
    """

    def __init__(self, x: Value, step: Step, bound: np.ndarray, kind: np.dtype) -> None:
        super().__init__(x, step, bound, kind)
        self.weight = step.arguments["weight"][0].astype(kind)

    def bind(self, xs: Sequence[Slot], y: Slot, scratch: Scratch) -> list[Call]:
        """The calls for one block."""
        image = xs[0].framed(self.padding)
        rows, tall, wide, channels = image.shape
        _, oh, ow, outputs = y.shape
        calls: list[Call] = []
        taps = self.phases(self.window[1], self.stride[1], self.dilation[1])
        phases = sorted({phase for phase, _, _ in taps})
        if outputs != channels or self.stride[1] > 1 or self.kind != image.dtype:
            width = -(-wide // self.stride[1])
            lowered = scratch.take("lowered", (len(phases), rows, tall, width, channels, outputs // channels), self.kind)
            for place, phase in enumerate(phases):
                columns = image[:, :, phase :: self.stride[1], :, None]
                calls.append(partial(np.copyto, lowered[place, :, :, : columns.shape[2]], columns))
            images = [phase.reshape(rows, tall, width, outputs) for phase in lowered]
        else:
            images = [image]
        acc = self._accumulators(rows * oh, ow * outputs, scratch)
        part = scratch.take("part", acc.shape, self.kind)
        for place, phase in enumerate(phases):
            mine = [(first, kx) for at, first, kx in taps if at == phase]
            out = part if place else acc
            calls.append(self._einsum(images[place], mine, out.reshape(rows, oh, ow * outputs), ow))
            if place:
                calls.append(partial(np.add, acc, part, out=acc))
        return calls + self.finish(acc, y, scratch)

    def _einsum(self, image: np.ndarray, taps: list[tuple[int, int]], out: np.ndarray, ow: int) -> Call:
        """The sum over the window's rows and these of its columns, evenly spaced, of one phase."""
        n, h, w, c = image.strides
        rows, oh, length = out.shape
        first = taps[0][0]
        apart = taps[1][0] - first if len(taps) > 1 else 0
        shape = (self.window[0], len(taps), rows, oh, length)
        view = as_strided(image[:, :, first:], shape, (h * self.dilation[0], w * apart, n, h * self.stride[0], c))
        weight = np.tile(self.weight[:, [kx for _, kx in taps]], ow)
        return partial(np.einsum, "klnyx,klx->nyx", view, weight, out=out)
