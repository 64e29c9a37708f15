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

A 1 x 1 kernel with stride 1 needs no copy: its part is the image. The parts are made for a few images at a time
and used while they are in the cache; it is faster to make them again for the gradient than to keep them.

The gradients need no other code. dW_i = part_i.T @ dy; and dx is again a convolution, of dy with the kernel
turned by half a turn (several of them, if the stride is not 1).

With this module one can compute a convolution and its gradients on plain arrays (groups = 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from tinyquant.autograd.geometry import TurnedWindow, Window, from_turned, pad_image
from tinyquant.autograd.memory import empty, tiled
from tinyquant.autograd.products import sum_rows
from tinyquant.autograd.tensor import Array

__all__ = ["bias_gradient", "convolve", "input_gradient", "weight_gradient"]

_FEW_CHANNELS = 4
"""Up to here `taps` won every race against the other two."""

_SMALL_IMAGE = 16
"""Output pixels up to which `columns` won: below, a product an image is too small to be fast."""

_BLOCK = 131072
"""Numbers in a block's parts: with the output beside them they stay in a core's cache."""

_POINTS = 1 << 20
"""The same where the parts are the image itself, and a block only saves memory."""


def convolve(x: Array, weight: Array, bias: Array | None, window: Window) -> Array:
    """y (N, OH, OW, O) of x (N, H, W, C), an OHWI weight (O, KH, KW, C) and a bias (O,)."""
    outputs = weight.shape[0]
    y = empty((len(x), *window.out, outputs), x.dtype)
    wide = None if bias is None else tiled(bias, window.out[1])
    matrices = np.ascontiguousarray(weight.transpose(1, 2, 3, 0)).reshape(-1, outputs)
    for images, parts in _blocks(x, window):
        first, *others = matrices.reshape(len(parts), -1, outputs)
        block = y[images].reshape(*parts[0].shape[:2], outputs)
        np.matmul(parts[0], first, out=block)
        if others:
            product = empty(block.shape, block.dtype)
            for part, matrix in zip(parts[1:], others):
                block += np.matmul(part, matrix, out=product)
        if wide is not None:
            rows = block.reshape(-1, len(wide))
            rows += wide
    return y


def weight_gradient(x: Array, dy: Array, window: Window) -> Array:
    """dW (O, KH, KW, C) from x (N, H, W, C) and dy (N, OH, OW, O)."""
    outputs = dy.shape[3]
    total = np.zeros((prod(window.kernel) * x.shape[3], outputs), dy.dtype)
    for images, parts in _blocks(x, window):
        block = dy[images].reshape(*parts[0].shape[:2], outputs)
        total += np.concatenate([np.matmul(part.transpose(0, 2, 1), block).sum(axis=0) for part in parts])
    return total.reshape(*window.kernel, -1, outputs).transpose(3, 0, 1, 2)


def input_gradient(dy: Array, weight: Array, window: Window) -> Array:
    """dx (N, H, W, C) from dy (N, OH, OW, O) and the OHWI weight."""

    def piece(part: TurnedWindow, turned: Window) -> Array:
        """The cells of dx that these taps, in this order, reach from dy."""
        return convolve(dy, weight[:, part.taps[0], part.taps[1]].transpose(3, 1, 2, 0), None, turned)

    return from_turned(window, dy, weight.shape[3], piece)


def bias_gradient(dy: Array) -> Array:
    """The sum of dy (N, OH, OW, O) over all pixels."""
    n, oh, ow, outputs = dy.shape
    return sum_rows(dy.reshape(n * oh, ow * outputs)).reshape(ow, outputs).sum(axis=0)


def _blocks(x: Array, window: Window) -> Iterator[tuple[slice, list[Array]]]:
    """A few images at a time: which, and their parts."""
    lower, step = _plan(x.shape[3], window)
    for start in range(0, len(x), step):
        images = slice(start, start + step)
        yield images, lower(np.ascontiguousarray(pad_image(x[images], window.pads)), window)


def _plan(channels: int, window: Window) -> tuple[Callable[[Array, Window], list[Array]], int]:
    """How these images are best cut into parts, and how many of them at a time."""
    cells = window.out[0] * window.out[1] * channels
    if window.kernel == (1, 1):
        return _points, max(1, _POINTS // max(1, cells))
    if channels <= _FEW_CHANNELS:
        return _taps, max(1, _BLOCK // (cells * prod(window.kernel)))
    if prod(window.out) <= _SMALL_IMAGE:
        return _columns, max(1, _BLOCK // (cells * prod(window.kernel)))
    return _rows, max(1, _BLOCK // (cells * window.kernel[1]))


def _points(padded: Array, window: Window) -> list[Array]:
    """1 part (1, N * OH * OW, C) for a 1 x 1 kernel: the image itself, or every so many pixels of it."""
    pixels = np.ascontiguousarray(padded[:, window.taps(0, 0), window.taps(1, 0)])
    return [pixels.reshape(1, -1, padded.shape[3])]


def _columns(padded: Array, window: Window) -> list[Array]:
    """1 part (1, N * OH * OW, KH * KW * C): the cells under the window of every output pixel."""
    (kh, kw), (oh, ow), (sh, sw), (dh, dw) = window.kernel, window.out, window.stride, window.dilation
    n, _, _, c = padded.shape
    sn, sr, sc, s1 = padded.strides
    cells = empty((n, oh, ow, kh, kw, c), padded.dtype)
    cells[...] = np.ndarray(cells.shape, padded.dtype, padded, 0, (sn, sh * sr, sw * sc, dh * sr, dw * sc, s1))
    return [cells.reshape(1, n * oh * ow, kh * kw * c)]


def _rows(padded: Array, window: Window) -> list[Array]:
    """KH parts (N, OH * OW, KW * C), views of one buffer (N, phase, row, OW, KW, C).

    Kernel row kh meets the image rows kh * dilation + stride * (0, 1, 2, ...). These are neighbours in the buffer
    once the image rows are sorted by their remainder (phase) after division by the stride.
    """
    (kh, kw), (oh, ow), (sh, sw), (dh, dw) = window.kernel, window.out, window.stride, window.dilation
    n, hp, _, c = padded.shape
    sn, sr, sc, s1 = padded.strides
    phases = sorted({k * dh % sh for k in range(kh)})
    buffer = empty((n, len(phases), -(-hp // sh), ow, kw, c), padded.dtype)
    for i, phase in enumerate(phases):
        rows = len(range(phase, hp, sh))
        strides = (sn, sh * sr, sw * sc, dw * sc, s1)
        buffer[:, i, :rows] = np.ndarray((n, rows, ow, kw, c), padded.dtype, padded, phase * sr, strides)
    starts = [(phases.index(k * dh % sh), k * dh // sh) for k in range(kh)]
    return [buffer[:, i, start : start + oh].reshape(n, oh * ow, kw * c) for i, start in starts]


def _taps(padded: Array, window: Window) -> list[Array]:
    """1 part (N, OH * OW, KH * KW * C), stored with the pixels last."""
    (kh, kw), (oh, ow), (sh, sw), (dh, dw) = window.kernel, window.out, window.stride, window.dilation
    planes = np.ascontiguousarray(padded.transpose(0, 3, 1, 2))
    n, c, _, _ = planes.shape
    sn, sp, sr, s1 = planes.strides
    cells = empty((n, kh, kw, c, oh, ow), padded.dtype)
    cells[...] = np.ndarray(cells.shape, padded.dtype, planes, 0, (sn, dh * sr, dw * s1, sp, sh * sr, sw * s1))
    return [cells.reshape(n, kh * kw * c, oh * ow).transpose(0, 2, 1)]
