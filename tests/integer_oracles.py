"""What an integer node should answer, cell by cell, in Python ints and exact rationals.

Written from the definitions: loops over output cells that skip what lies outside the image, multipliers from the exact quotient
of the scales rounded once to a double. numpy only carries the arrays. With this module one can compute a node (`slow_node`),
for every operator whose arithmetic is sums, products and rounding; LOGISTIC, TANH and SOFTMAX have golden vectors instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product

import numpy as np
from oracles import (
    FLOAT32,
    FLOAT64,
    clamp,
    divide_by_pot_exact,
    finite_float,
    high_mul_exact,
    multiplier_exact,
    round_exact,
    wrap_exact,
)

from tinyquant.graph import ACTIVATIONS, Node, Value
from tinyquant.numerics.qparams import QParams

Pair = tuple[int, int]


def rescaled(acc: int, real: Fraction | Pair) -> int:
    """acc * real as the target multiplies: wrapped to 32 bits, left shift wrapped too, rounded twice."""
    multiplier, shift = multiplier_exact(real) if isinstance(real, Fraction) else real
    left = wrap_exact(wrap_exact(acc) << max(shift, 0))
    return divide_by_pot_exact(high_mul_exact(left, multiplier), max(-shift, 0))


def scale_of(qparams: QParams | None, channel: int = 0) -> Fraction:
    """A scale as the exact float32 it is stored as."""
    assert qparams is not None
    return finite_float(Fraction(float(np.ravel(qparams.scale)[channel % np.size(qparams.scale)])), FLOAT32)


def double(real: Fraction) -> Fraction:
    """Rounded to a double."""
    return finite_float(real, FLOAT64)


def zero_of(value: Value | Node) -> int:
    """A zero point."""
    assert value.qparams is not None
    return int(value.qparams.zero_point)


def limits(name: str, qparams: QParams | None) -> Pair:
    """[max(qmin, code of the lower end), min(qmax, code of the upper end)], the quotient rounded to float32 first."""
    assert qparams is not None
    low, high = qparams.qmin, qparams.qmax


    def code(real: float) -> int:
        quotient = finite_float(Fraction(real) / scale_of(qparams), FLOAT32)
        return round_exact(quotient, "half_away") + int(qparams.zero_point)

    lowest, highest = ACTIVATIONS[name]
    return (low if lowest is None else max(low, code(lowest))), (high if highest is None else min(high, code(highest)))


def before(size: int, count: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """Cells of padding in front."""
    return max(0, (count - 1) * stride + (kernel - 1) * dilation + 1 - size) // 2 if padding == "same" else 0


def window_cells(
    node: Node, size: Sequence[int], window: Sequence[int], oy: int, ox: int, count: Sequence[int]
) -> list[tuple[int, int, int, int]]:
    """(iy, ix, ky, kx) of the window's cells that lie inside the image."""
    (sy, sx), (dy, dx) = node.attrs["stride"], node.attrs.get("dilation", (1, 1))
    top = before(size[0], count[0], window[0], sy, dy, node.attrs["padding"])
    left = before(size[1], count[1], window[1], sx, dx, node.attrs["padding"])
    found = []
    for ky, kx in product(range(window[0]), range(window[1])):
        iy, ix = oy * sy + ky * dy - top, ox * sx + kx * dx - left
        if 0 <= iy < size[0] and 0 <= ix < size[1]:
            found.append((iy, ix, ky, kx))
    return found


def finished(acc: int, node: Node, real: Fraction | Pair, activation: str = "none") -> int:
    """clamp(rescaled + zero point)."""
    return clamp(rescaled(acc, real) + zero_of(node), *limits(activation, node.qparams))


def weight_real(node: Node, x: Value, channel: int) -> Fraction:
    """S_x S_w / S_y as a double."""
    return double(double(scale_of(x.qparams) * scale_of(node.param_qparams["weight"], channel)) / scale_of(node.qparams))


def bias_of(node: Node, channel: int) -> int:
    """The bias, 0 where there is none."""
    return int(node.params["bias"][channel]) if "bias" in node.params else 0


def conv(node: Node, values: Sequence[Value], x: np.ndarray) -> np.ndarray:
    """CONV_2D and DEPTHWISE_CONV_2D."""
    weight, zero = node.params["weight"], zero_of(values[0])
    y = np.zeros((len(x), *node.shape[1:]), np.int64)
    for n, oy, ox, o in np.ndindex(*y.shape):
        acc = bias_of(node, o)
        for iy, ix, ky, kx in window_cells(node, x.shape[1:3], weight.shape[1:3], oy, ox, y.shape[1:3]):
            if node.op == "DEPTHWISE_CONV_2D":
                acc += int(weight[0, ky, kx, o]) * (int(x[n, iy, ix, o // node.attrs["depth_multiplier"]]) - zero)
            else:
                depth = weight.shape[3]
                first = o // (weight.shape[0] // (x.shape[3] // depth)) * depth
                acc += sum(int(weight[o, ky, kx, c]) * (int(x[n, iy, ix, first + c]) - zero) for c in range(depth))
        y[n, oy, ox, o] = finished(acc, node, weight_real(node, values[0], o), node.attrs["activation"])
    return y


def transpose_conv(node: Node, values: Sequence[Value], x: np.ndarray) -> np.ndarray:
    """TRANSPOSE_CONV by its definition: a scatter."""
    weight, zero = node.params["weight"], zero_of(values[0])
    (sy, sx), size = node.attrs["stride"], node.shape[1:3]
    top = before(size[0], x.shape[1], weight.shape[1], sy, 1, node.attrs["padding"])
    left = before(size[1], x.shape[2], weight.shape[2], sx, 1, node.attrs["padding"])
    sums = np.zeros((len(x), *node.shape[1:]), np.int64)
    for n, iy, ix, c in np.ndindex(*x.shape):
        for o, ky, kx in product(*map(range, weight.shape[:3])):
            oy, ox = iy * sy + ky - top, ix * sx + kx - left
            if 0 <= oy < size[0] and 0 <= ox < size[1]:
                sums[n, oy, ox, o] += int(weight[o, ky, kx, c]) * (int(x[n, iy, ix, c]) - zero)
    y = np.zeros_like(sums)
    for index in np.ndindex(*sums.shape):
        o = index[3]
        y[index] = finished(int(sums[index]) + bias_of(node, o), node, weight_real(node, values[0], o), node.attrs["activation"])
    return y


def fully_connected(node: Node, values: Sequence[Value], x: np.ndarray) -> np.ndarray:
    """FULLY_CONNECTED."""
    weight, zero = node.params["weight"], zero_of(values[0])
    rows = x.reshape(x.size // weight.shape[1], weight.shape[1]).tolist()
    y = [
        [
            finished(
                bias_of(node, u) + sum(int(w) * (q - zero) for w, q in zip(weight[u], row)),
                node,
                weight_real(node, values[0], u),
                node.attrs["activation"],
            )
            for u in range(len(weight))
        ]
        for row in rows
    ]
    shape = (*x.shape[:-1], len(weight)) if node.attrs["keep_num_dims"] else (len(rows), len(weight))
    return np.array(y, np.int64).reshape(shape)


def pool(node: Node, values: Sequence[Value], x: np.ndarray) -> np.ndarray:
    """AVERAGE_POOL_2D (of raw codes, ties away from 0) and MAX_POOL_2D, over the cells inside."""
    y = np.zeros((len(x), *node.shape[1:]), np.int64)
    for n, oy, ox, c in np.ndindex(*y.shape):
        cells = window_cells(node, x.shape[1:3], node.attrs["filter"], oy, ox, y.shape[1:3])
        codes = [int(x[n, iy, ix, c]) for iy, ix, _, _ in cells]
        value = max(codes) if node.op == "MAX_POOL_2D" else round_exact(Fraction(sum(codes), len(codes)), "half_away")
        y[n, oy, ox, c] = clamp(value, *limits(node.attrs["activation"], node.qparams))
    return y


def binary(node: Node, values: Sequence[Value], x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """ADD, SUB, MUL with broadcasting."""
    first, second = np.broadcast_arrays(x1, x2)
    s1, s2, sy = scale_of(values[0].qparams), scale_of(values[1].qparams), scale_of(node.qparams)
    z1, z2 = zero_of(values[0]), zero_of(values[1])
    y = np.zeros(first.shape, np.int64)
    twice = 2 * max(s1, s2)
    for index in np.ndindex(*first.shape):
        a, b = int(first[index]) - z1, int(second[index]) - z2
        if node.op == "MUL":
            acc, real = a * b, double(double(s1 * s2) / sy)
        else:
            left, right = rescaled(a << 20, double(s1 / twice)), rescaled(b << 20, double(s2 / twice))
            acc, real = left + right if node.op == "ADD" else left - right, double(twice / (2**20 * sy))
        y[index] = finished(acc, node, real, node.attrs["activation"])
    return y


def reduction(node: Node, values: Sequence[Value], x: np.ndarray) -> np.ndarray:
    """MEAN and SUM; MEAN divides the multiplier by the count, after as many left shifts as count and shift allow."""
    axes = sorted({axis % x.ndim for axis in node.attrs["axis"]})
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    multiplier, shift = multiplier_exact(double(scale_of(values[0].qparams) / scale_of(node.qparams)))
    if node.op == "MEAN":
        extra = 0
        while 2 ** (extra + 1) <= count and extra < 32 and extra < 31 + shift:
            extra += 1
        multiplier, shift = multiplier * 2**extra // count, shift - extra
    sums = x.astype(np.int64).sum(axis=tuple(axes), keepdims=True) - zero_of(values[0]) * count
    y = np.array([finished(int(s), node, (multiplier, shift)) for s in sums.ravel()], np.int64).reshape(sums.shape)
    return y if node.attrs["keep_dims"] else y.squeeze(tuple(axes))


def pointwise(node: Node, values: Sequence[Value], x: np.ndarray) -> np.ndarray:
    """RELU, RELU6, RELU_N1_TO_1, LEAKY_RELU and QUANTIZE of codes."""
    zero = zero_of(values[0])
    if node.op == "RELU6":
        low, high = limits("relu6", values[0].qparams)
        return np.minimum(np.maximum(x.astype(np.int64), low), high)
    real = double(scale_of(values[0].qparams) / scale_of(node.qparams))
    activation = {"RELU": "relu", "RELU_N1_TO_1": "relu_n1_to_1"}.get(node.op, "none")
    y = []
    for code in x.ravel().tolist():
        if node.op == "LEAKY_RELU" and code < zero:
            alpha = finite_float(Fraction(node.attrs["alpha"]), FLOAT32)
            steeper = double(double(scale_of(values[0].qparams) * abs(alpha)) / scale_of(node.qparams))
            value = rescaled(code - zero, steeper) * (-1 if alpha < 0 else 1)
            y.append(clamp(value + zero_of(node), *limits("none", node.qparams)))
        else:
            y.append(finished(code - zero, node, real, activation))
    return np.array(y, np.int64).reshape(x.shape)


def concatenation(node: Node, values: Sequence[Value], *xs: np.ndarray) -> np.ndarray:
    """CONCATENATION, filled slice by slice."""
    axis = node.attrs["axis"] % xs[0].ndim
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    y, start = np.zeros(shape, np.int64), 0
    for x in xs:
        where = [slice(None)] * x.ndim
        where[axis] = slice(start, start + x.shape[axis])
        y[tuple(where)] = x
        start += x.shape[axis]
    return np.clip(y, *limits(node.attrs["activation"], node.qparams))


def padded(node: Node, values: Sequence[Value], x: np.ndarray) -> np.ndarray:
    """PAD and PADV2: everything is the fill but the middle."""
    pairs = node.attrs["paddings"]
    fill = zero_of(node) if node.op == "PAD" else node.attrs["value"]
    y = np.full([n + a + b for n, (a, b) in zip(x.shape, pairs)], fill, np.int64)
    y[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, pairs))] = x
    return y


def moved(node: Node, values: Sequence[Value], x: np.ndarray) -> np.ndarray:
    """RESHAPE and TRANSPOSE by index arithmetic on the flat list of codes."""
    flat = x.ravel().tolist()
    shape = (len(x), *node.shape[1:]) if node.shape and x.shape[0] != values[0].shape[0] else node.shape
    if node.op == "RESHAPE":
        return np.array(flat, np.int64).reshape(shape)
    y = np.zeros([x.shape[axis] for axis in node.attrs["perm"]], np.int64)
    for index in np.ndindex(*y.shape):
        source = [0] * x.ndim
        for position, axis in zip(index, node.attrs["perm"]):
            source[axis] = position
        y[index] = x[tuple(source)]
    return y


SLOW: dict[str, Callable[..., np.ndarray]] = {
    "CONV_2D": conv,
    "DEPTHWISE_CONV_2D": conv,
    "TRANSPOSE_CONV": transpose_conv,
    "FULLY_CONNECTED": fully_connected,
    "AVERAGE_POOL_2D": pool,
    "MAX_POOL_2D": pool,
    "ADD": binary,
    "SUB": binary,
    "MUL": binary,
    "MEAN": reduction,
    "SUM": reduction,
    "RELU": pointwise,
    "RELU6": pointwise,
    "RELU_N1_TO_1": pointwise,
    "LEAKY_RELU": pointwise,
    "QUANTIZE": pointwise,
    "CONCATENATION": concatenation,
    "PAD": padded,
    "PADV2": padded,
    "RESHAPE": moved,
    "TRANSPOSE": moved,
}


def slow_node(node: Node, values: Sequence[Value], arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The node's output for these codes, int64."""
    return SLOW[node.op](node, values, *arrays)
