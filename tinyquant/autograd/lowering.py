"""Convolution as matrix products: y = sum_i part_i @ W_i.

A convolution multiplies, for every output pixel, the cells under the window with the weights. Copy these cells
into the rows of a matrix and the work is one product of matrices, which is what processors do best. There are
three ways to cut the matrix, and which one is fastest depends on the shape:

    columns   one part (pixels, KH * KW * C)    every cell is copied KH * KW times; best for small images
    rows      KH parts (pixels, KW * C)         every cell is copied KW times: the part of kernel row kh is the
                                                part of kernel row 0, kh image rows further down, so they are
                                                views of one buffer; best for large images
    taps      one part (pixels, KH * KW * C)    stored transposed, so that runs are as long as an image row;
                                                best when there are few channels (the first layer)

A 1 x 1 kernel with stride 1 needs no copy: its part is the image.

The gradients need no other code. dW_i = part_i.T @ dy; and dx is again a convolution, of dy with the kernel
turned by half a turn.

With this module one can compute a convolution and its gradients on plain arrays (groups = 1).
"""

from __future__ import annotations

from math import prod

import numpy as np

from tinyquant.autograd.geometry import Pair, Window, pad_image
from tinyquant.autograd.products import sum_rows
from tinyquant.autograd.tensor import Array

__all__ = ["add_bias", "bias_gradient", "convolve", "input_gradient", "multiply", "lower", "weight_gradient"]

_FEW_CHANNELS = 4
_SMALL_IMAGE = 64
_BLOCK = 131072


def lower(x: Array, window: Window) -> list[Array]:
    """The parts, each (batch, pixels, K); (N, H, W, C) in, padding included here."""
    n, _, _, c = x.shape
    oh, ow = window.out
    if window.kernel == (1, 1):
        xp = pad_image(x, window.pads)
        return [np.ascontiguousarray(xp[:, window.taps(0, 0), window.taps(1, 0)]).reshape(1, n * oh * ow, c)]
    if c <= _FEW_CHANNELS:
        return [_taps(x, window)]
    if oh * ow <= _SMALL_IMAGE:
        return [_columns(x, window)]
    return _rows(x, window)


def _columns(x: Array, window: Window) -> Array:
    """(1, N * OH * OW, KH * KW * C): the cells under the window of every output pixel."""
    (kh, kw), (oh, ow), (sh, sw), (dh, dw) = window.kernel, window.out, window.stride, window.dilation
    xp = np.ascontiguousarray(pad_image(x, window.pads))
    n, _, _, c = xp.shape
    sn, sr, sc, s1 = xp.strides
    view: Array = np.ndarray((n, oh, ow, kh, kw, c), xp.dtype, xp, 0, (sn, sh * sr, sw * sc, dh * sr, dw * sc, s1))
    return view.reshape(1, n * oh * ow, kh * kw * c)


def _rows(x: Array, window: Window) -> list[Array]:
    """KH views (N, OH * OW, KW * C) of one buffer (N, phase, row, OW, KW, C).

    Kernel row kh meets the image rows kh * dilation + stride * (0, 1, 2, ...). These are neighbours in the buffer
    once the image rows are sorted by their remainder (phase) after division by the stride.
    """
    (kh, kw), (oh, ow), (sh, sw), (dh, dw) = window.kernel, window.out, window.stride, window.dilation
    xp = np.ascontiguousarray(pad_image(x, window.pads))
    n, hp, _, c = xp.shape
    sn, sr, sc, s1 = xp.strides
    phases = sorted({k * dh % sh for k in range(kh)})
    buffer = np.empty((n, len(phases), -(-hp // sh), ow, kw, c), x.dtype)
    for i, phase in enumerate(phases):
        rows = len(range(phase, hp, sh))
        view: Array = np.ndarray((n, rows, ow, kw, c), xp.dtype, xp, phase * sr, (sn, sh * sr, sw * sc, dw * sc, s1))
        buffer[:, i, :rows] = view
    starts = [(phases.index(k * dh % sh), k * dh // sh) for k in range(kh)]
    return [buffer[:, i, start : start + oh].reshape(n, oh * ow, kw * c) for i, start in starts]


def _taps(x: Array, window: Window) -> Array:
    """(N, OH * OW, KH * KW * C), stored with the pixels last."""
    (kh, kw), (oh, ow) = window.kernel, window.out
    n, _, _, c = x.shape
    xp = np.zeros((n, c, *window.padded), x.dtype)
    xp[:, :, window.inside()[0], window.inside()[1]] = x.transpose(0, 3, 1, 2)
    buffer = np.empty((n, kh, kw, c, oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            buffer[:, i, j] = xp[:, :, window.taps(0, i), window.taps(1, j)]
    return buffer.reshape(n, kh * kw * c, oh * ow).transpose(0, 2, 1)


def multiply(parts: list[Array], weight: Array, shape: tuple[int, ...]) -> Array:
    """sum_i part_i @ W_i for an OHWI weight, in the output's shape (N, OH, OW, O)."""
    matrices = weight.transpose(1, 2, 3, 0).reshape(len(parts), -1, weight.shape[0])
    if len(parts) == 1:
        return np.matmul(parts[0], matrices[0]).reshape(shape)
    batch, pixels, _ = parts[0].shape
    y = np.empty((batch, pixels, weight.shape[0]), parts[0].dtype)
    # A few images at a time: their sums stay in the cache until every part has been added.
    step = max(1, _BLOCK // prod(y.shape[1:]))
    for start in range(0, batch, step):
        block = y[start : start + step]
        np.matmul(parts[0][start : start + step], matrices[0], out=block)
        for part, matrix in zip(parts[1:], matrices[1:]):
            block += np.matmul(part[start : start + step], matrix)
    return y.reshape(shape)


def convolve(x: Array, weight: Array, window: Window) -> tuple[Array, list[Array]]:
    """y (N, OH, OW, O) of x (N, H, W, C) and an OHWI weight, and the parts, which `weight_gradient` reads."""
    parts = lower(x, window)
    return multiply(parts, weight, (len(x), *window.out, len(weight))), parts


def weight_gradient(parts: list[Array], dy: Array, kernel: Pair) -> Array:
    """dW (O, KH, KW, I) from the parts of x and dy (N, OH, OW, O)."""
    outputs = dy.shape[-1]
    dy = dy.reshape(*parts[0].shape[:2], outputs)
    rows = [np.matmul(part.transpose(0, 2, 1), dy).sum(axis=0) for part in parts]
    return np.concatenate(rows).reshape(*kernel, -1, outputs).transpose(3, 0, 1, 2)


def input_gradient(dy: Array, weight: Array, window: Window) -> Array:
    """dx (N, H, W, C) from dy (N, OH, OW, O) and the OHWI weight."""
    (top, bottom), (left, right) = window.pads
    rh, rw = window.reach[0] - 1, window.reach[1] - 1
    if window.stride == (1, 1) and max(top, bottom) <= rh and max(left, right) <= rw:
        pads = ((rh - top, rh - bottom), (rw - left, rw - right))
        turned = Window(window.out, window.kernel, (1, 1), window.dilation, pads, window.size)
        return convolve(dy, weight[:, ::-1, ::-1].transpose(3, 1, 2, 0), turned)[0]
    n, oh, ow, outputs = dy.shape
    dx = np.zeros((n, *window.padded, weight.shape[3]), dy.dtype)
    flat = dy.reshape(-1, outputs)
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            dx[:, window.taps(0, i), window.taps(1, j)] += (flat @ weight[:, i, j]).reshape(n, oh, ow, -1)
    return dx[:, window.inside()[0], window.inside()[1]]


def add_bias(y: Array, bias: Array) -> None:
    """y += bias, in place, a whole image row at a time."""
    n, oh, ow, outputs = y.shape
    rows = y.reshape(n * oh, ow * outputs)
    rows += np.tile(bias, ow)


def bias_gradient(dy: Array) -> Array:
    """The sum of dy over all pixels."""
    n, oh, ow, outputs = dy.shape
    return sum_rows(dy.reshape(n * oh, ow * outputs)).reshape(ow, outputs).sum(axis=0)
