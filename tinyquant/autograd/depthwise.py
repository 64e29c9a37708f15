"""Depthwise convolution: every channel has its own window, so there is no matrix to multiply with.

    y[n, h, x] = sum over taps k, l of  image[n, h*sh + k*dh, x + l*dw] * weight[k, l, x]

where x runs over whole image rows of W * C numbers: with the weights repeated along the width, neighbouring pixels
are nothing special, and each tap is one long multiply-and-add (`np.einsum` does the sum without storing the
products). A horizontal stride would break the runs; the columns are first sorted by their remainder after
division by the stride (their phase), which makes runs of every phase.

With this module one can compute a depthwise convolution and its gradients on plain arrays.
"""

from __future__ import annotations

from math import gcd

import numpy as np

from tinyquant.autograd.geometry import Window, from_turned, pad_image
from tinyquant.autograd.memory import empty, tiled
from tinyquant.autograd.tensor import Array

__all__ = ["PhasedImage", "depthwise", "depthwise_input_gradient", "depthwise_weight_gradient"]


class PhasedImage:
    """The padded image (N, HP, WP, C) with its columns sorted by phase, and its windows as views."""

    def __init__(self, x: Array, window: Window, multiplier: int) -> None:
        sw = window.stride[1]
        (top, bottom), (left, right) = window.pads
        # The columns must divide evenly into phases.
        right += -(left + x.shape[2] + right) % sw
        xp = pad_image(x if multiplier == 1 else x.repeat(multiplier, axis=3), ((top, bottom), (left, right)))
        n, hp, wp, c = xp.shape
        # (N, HP, phase, WP / sw, C)
        phased = xp.reshape(n, hp, wp // sw, sw, c).transpose(0, 1, 3, 2, 4)
        self.array = phased
        if sw > 1 or not phased.flags.c_contiguous:
            self.array = empty(phased.shape, x.dtype)
            self.array[...] = phased
        self.window = window

    def views(self) -> list[tuple[slice, Array]]:
        """For each phase: the kernel columns in it, and their cells (KH, taps, N, OH, OW * C)."""
        a, window = self.array, self.window
        (kh, kw), (oh, ow), (sh, sw), (dh, dw) = window.kernel, window.out, window.stride, window.dilation
        n, _, _, _, c = a.shape
        sn, sr, sp, sc, s1 = a.strides
        step = sw // gcd(dw, sw)
        found = []
        for first in range(min(step, kw)):
            taps = slice(first, kw, step)
            start = first * dw % sw * sp + first * dw // sw * sc
            strides = (dh * sr, step * dw // sw * sc, sn, sh * sr, s1)
            shape = (kh, len(range(first, kw, step)), n, oh, ow * c)
            view: Array = np.ndarray(shape, a.dtype, a, start, strides)
            found.append((taps, view))
        return found


def depthwise(image: PhasedImage, weight: Array) -> Array:
    """y (N, OH, OW, C) for a weight (KH, KW, C)."""
    oh, ow = image.window.out
    wide = tiled(weight, ow)  # (KH, KW, OW * C)
    total: Array | None = None
    for taps, view in image.views():
        part = empty((view.shape[2], oh, ow * weight.shape[2]), view.dtype)
        np.einsum("klnhx,klx->nhx", view, wide[:, taps], out=part)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total.reshape(-1, oh, ow, weight.shape[2])


def depthwise_weight_gradient(image: PhasedImage, dy: Array) -> Array:
    """dW (KH, KW, C) from dy (N, OH, OW, C)."""
    n, oh, ow, c = dy.shape
    rows = dy.reshape(n, oh, ow * c)
    dw = np.empty((*image.window.kernel, c), dy.dtype)
    for taps, view in image.views():
        for i, columns in enumerate(view):
            for j, cells in zip(range(*taps.indices(len(dw[0]))), columns):
                dw[i, j] = np.einsum("nhx,nhx->x", cells, rows).reshape(ow, c).sum(axis=0)
    return dw


def depthwise_input_gradient(dy: Array, weight: Array, window: Window, multiplier: int) -> Array:
    """dx (N, H, W, C / multiplier) from dy (N, OH, OW, C) and a weight (KH, KW, C)."""
    dx = from_turned(window, dy, dy.shape[3], lambda part, turned: depthwise(PhasedImage(dy, turned, 1), weight[part.taps]))
    return dx if multiplier == 1 else dx.reshape(*dx.shape[:3], -1, multiplier).sum(axis=4)
