"""Convolutions and pools by their definition, one number at a time: slow, and exact on small integers.

With this module one can compare the fast ways with the formula in their docstrings.
"""

from __future__ import annotations

from math import ceil

import numpy as np

Array = np.ndarray
Pair = tuple[int, int]


def pads_of(padding: object, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)) for every way to write padding; "same" from TFLite's own rule."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        found = []
        for i in (0, 1):
            out = ceil(size[i] / stride[i])
            total = max((out - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - size[i], 0)
            found.append((total // 2, total - total // 2))
        return found[0], found[1]
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    h, w = padding  # type: ignore[misc]
    return ((h, h), (w, w)) if isinstance(h, int) else (h, w)


def out_size(size: Pair, kernel: Pair, stride: Pair, dilation: Pair, pads: tuple[Pair, Pair]) -> Pair:
    """How often the window fits, counted by sliding it."""
    counts = []
    for i in (0, 1):
        padded, reach = size[i] + sum(pads[i]), (kernel[i] - 1) * dilation[i]
        counts.append(len([start for start in range(0, padded, stride[i]) if start + reach < padded]))
    return counts[0], counts[1]


def conv2d(x: Array, w: Array, b: Array | None, dy: Array | None, *, stride: Pair, padding: object, dilation: Pair,
           groups: int) -> tuple[Array, Array, Array, Array]:
    """y, dx, dw, db by the definition; dy = None counts as ones."""
    n, height, width, c = x.shape
    o, kh, kw, depth = w.shape
    pads = pads_of(padding, (height, width), (kh, kw), stride, dilation)
    oh, ow = out_size((height, width), (kh, kw), stride, dilation, pads)
    y = np.zeros((n, oh, ow, o)) + (0 if b is None else b)
    dy = np.ones(y.shape) if dy is None else dy
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    for h, v, i, j in np.ndindex(oh, ow, kh, kw):
        row = h * stride[0] + i * dilation[0] - pads[0][0]
        column = v * stride[1] + j * dilation[1] - pads[1][0]
        if not (0 <= row < height and 0 <= column < width):
            continue
        for f in range(o):
            first = f // (o // groups) * depth
            for k in range(depth):
                y[:, h, v, f] += x[:, row, column, first + k] * w[f, i, j, k]
                dx[:, row, column, first + k] += dy[:, h, v, f] * w[f, i, j, k]
                dw[f, i, j, k] += (dy[:, h, v, f] * x[:, row, column, first + k]).sum()
    return y, dx, dw, dy.sum(axis=(0, 1, 2))


def pool_cells(size: Pair, kernel: Pair, stride: Pair, padding: object) -> dict[Pair, list[Pair]]:
    """For every output position the cells of the image under its window, column by column."""
    pads = pads_of(padding, size, kernel, stride, (1, 1))
    oh, ow = out_size(size, kernel, stride, (1, 1), pads)
    found = {}
    for h, v in np.ndindex(oh, ow):
        rows = [h * stride[0] + i - pads[0][0] for i in range(kernel[0])]
        columns = [v * stride[1] + j - pads[1][0] for j in range(kernel[1])]
        found[h, v] = [(r, c) for c in columns for r in rows if 0 <= r < size[0] and 0 <= c < size[1]]
    return found
