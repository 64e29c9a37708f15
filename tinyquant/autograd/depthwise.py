"""Depthwise convolution: every channel has its own window, so there is no matrix to multiply with.

    y[n, h, x] = sum over taps k, l of  image[n, h*sh + k*dh, x + l*dw] * weight[k, l, x]

where x runs over whole image rows of W * C numbers: with the weights repeated along the width, neighbouring pixels
are nothing special, and each tap is one long multiply-and-add (`np.einsum` does the sum without storing the
products). A horizontal stride would break the runs; the columns are first sorted by their remainder after
division by the stride (their phase), which makes runs of every phase.

With this module one can compute a depthwise convolution and its gradients on plain arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

import numpy as np

from tinyquant.autograd.geometry import Window, from_turned, pad_image
from tinyquant.autograd.memory import empty, in_blocks, tiled
from tinyquant.autograd.tensor import Array

__all__ = ["depthwise", "depthwise_input_gradient", "depthwise_weight_gradient", "windows_by_phase"]

_BLOCK = 1 << 18
"""Numbers of padded images handled at a time."""


def depthwise(x: Array, weight: Array, bias: Array | None, window: Window) -> Array:
    """y (N, OH, OW, C * m) of x (N, H, W, C), a weight (KH, KW, C * m) and a bias (C * m,)."""
    (oh, ow), outputs = window.out, weight.shape[2]
    y = empty((len(x), oh, ow * outputs), x.dtype)
    wide = tiled(weight, ow)  # (KH, KW, OW * C * m)
    wide_bias = None if bias is None else tiled(bias, ow)
    for images in _blocks(x, outputs):
        block = y[images]
        for number, (taps, cells) in enumerate(windows_by_phase(x[images], window, outputs)):
            if number == 0:
                np.einsum("klnhx,klx->nhx", cells, wide[:, taps], out=block)
            else:
                block += np.einsum("klnhx,klx->nhx", cells, wide[:, taps])
        if wide_bias is not None:
            block += wide_bias
    return y.reshape(len(x), oh, ow, outputs)


def depthwise_weight_gradient(x: Array, dy: Array, window: Window) -> Array:
    """dW (KH, KW, C * m) from x (N, H, W, C) and dy (N, OH, OW, C * m)."""
    n, oh, ow, outputs = dy.shape
    rows = dy.reshape(n, oh, ow * outputs)
    wide = np.zeros((*window.kernel, ow * outputs), dy.dtype)
    for images in _blocks(x, outputs):
        for taps, cells in windows_by_phase(x[images], window, outputs):
            # A call a tap: with the taps in one call einsum would jump between their sums at every number.
            for sums_of_row, cells_of_row in zip(wide[:, taps], cells):
                for sums, cells_of_tap in zip(sums_of_row, cells_of_row):
                    sums += np.einsum("nhx,nhx->x", cells_of_tap, rows[images])
    return wide.reshape(*window.kernel, ow, outputs).sum(axis=2)


def depthwise_input_gradient(dy: Array, weight: Array, window: Window, channels: int) -> Array:
    """dx (N, H, W, C) from dy (N, OH, OW, C * m) and a weight (KH, KW, C * m)."""
    outputs = dy.shape[3]
    dx = from_turned(window, dy, outputs, lambda part, turned: depthwise(dy, weight[part.taps], None, turned))
    return dx if channels == outputs else dx.reshape(*dx.shape[:3], channels, -1).sum(axis=4)


def windows_by_phase(x: Array, window: Window, outputs: int) -> list[tuple[slice, Array]]:
    """For each phase: the kernel columns in it, and the cells they meet, (KH, taps, N, OH, OW * outputs), as views.

    Every channel of x is repeated until there are as many as outputs.
    """
    (kh, kw), (oh, ow), (sh, sw), (dh, dw) = window.kernel, window.out, window.stride, window.dilation
    (top, bottom), (left, right) = window.pads
    # The columns must divide evenly into phases.
    right += -(left + x.shape[2] + right) % sw
    padded = pad_image(x if x.shape[3] == outputs else x.repeat(outputs // x.shape[3], axis=3), ((top, bottom), (left, right)))
    n, hp, wp, c = padded.shape
    phased = np.ascontiguousarray(padded.reshape(n, hp, wp // sw, sw, c).transpose(0, 1, 3, 2, 4))
    sn, sr, sp, sc, s1 = phased.strides  # of (N, HP, phase, WP / sw, C)
    step = sw // gcd(dw, sw)
    found = []
    for first in range(min(step, kw)):
        taps = slice(first, kw, step)
        start = first * dw % sw * sp + first * dw // sw * sc
        strides = (dh * sr, step * dw // sw * sc, sn, sh * sr, s1)
        shape = (kh, len(range(first, kw, step)), n, oh, ow * c)
        cells: Array = np.ndarray(shape, phased.dtype, phased, start, strides)
        found.append((taps, cells))
    return found


def _blocks(x: Array, outputs: int) -> Iterator[slice]:
    """A few images at a time."""
    return in_blocks(len(x), x.shape[1] * x.shape[2] * outputs, _BLOCK)
