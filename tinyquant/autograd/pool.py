"""Pools: one number out of the cells under a window, channel by channel.

    max_pool2d         y = largest cell               dx = dy in that cell
    avg_pool2d         y = mean of the cells inside   dx = dy / (cells inside) in each of them
    global_avg_pool2d  y = mean over the image        dx = dy / (H * W)

A window over rows and columns is done as rows first, then columns: the largest of a block is the largest of the
columns' largest. Rows first because two rows are combined in long runs of W * C numbers, and half of the work is
gone before the short runs of C begin.

With this module one can shrink images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tinyquant.autograd.geometry import Padding, Pair, Window, check_image, make_window, pad_image, pair
from tinyquant.autograd.memory import empty, in_blocks
from tinyquant.autograd.operands import as_tensor
from tinyquant.autograd.tensor import Array, Op, Tensor

__all__ = ["avg_pool2d", "global_avg_pool2d", "max_pool2d"]


class _WindowedPool(Op):
    """What the two windowed pools have in common."""

    def window(self, x: Array) -> Window:
        """The window of the settings over these images; padding may not fill a window, which would be empty."""
        s = self.settings
        window = make_window(self.name, (x.shape[1], x.shape[2]), s["kernel_size"], s["stride"], s["padding"])
        if any(max(window.pads[i]) >= window.kernel[i] for i in (0, 1)):
            raise ValueError(f"{self.name} needs padding smaller than the kernel {window.kernel}, got "
                             f"{s['padding']!r}. A window with no cell of the image in it has no value.")
        return window


class MaxPool2d(_WindowedPool):
    """y = largest cell under the window; dx = dy in that cell (of several: leftmost column, then topmost row)."""

    name = "max_pool2d"

    def forward(self, *arrays: Array) -> Array:
        x = arrays[0]
        self.win = window = self.window(x)
        self.x = pad_image(x, window.pads, -np.inf)
        self.y = empty((len(x), *window.out, x.shape[3]), x.dtype)
        for images in in_blocks(len(x), x[:1].size):
            rows = _largest(self.x[images], 1, window)
            _largest(rows, 2, window, out=self.y[images])
        return self.y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        window = self.win
        dx = empty(self.x.shape, dy.dtype)
        for images in in_blocks(len(dx), dx[:1].size):
            x, y = self.x[images], self.y[images]
            rows = _largest(x, 1, window)
            drows = _route(dy[images], rows, y, 2, window, out=empty(rows.shape, dy.dtype))
            _route(drows, x, rows, 1, window, out=dx[images])
        return (dx[:, window.inside()[0], window.inside()[1]],)


class AvgPool2d(_WindowedPool):
    """y = sum of the cells under the window / number of them inside the image; dx = dy / that number."""

    name = "avg_pool2d"

    def forward(self, *arrays: Array) -> Array:
        x = arrays[0]
        self.win = window = self.window(x)
        rows = _total(pad_image(x, window.pads), 1, window)
        y = _total(rows, 2, window)
        y *= _shares(window, x.dtype)
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        window = self.win
        drows = _spread(dy * _shares(window, dy.dtype), 2, window)
        dx = _spread(drows, 1, window)
        return (dx[:, window.inside()[0], window.inside()[1]],)


class GlobalAvgPool2d(Op):
    """y = mean over height and width; dx = dy / (H * W) in every cell."""

    name = "global_avg_pool2d"

    def forward(self, *arrays: Array) -> Array:
        x = arrays[0]
        self.shape = x.shape  # (N, H, W, C)
        n, h, w, c = x.shape
        # A product with ones is the fastest sum along an inner axis.
        return np.ones(h * w, x.dtype) @ x.reshape(n, h * w, c) / (h * w)  # (N, C)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        n, h, w, c = self.shape
        return (np.broadcast_to((dy / (h * w))[:, None, None, :], self.shape),)


def _cells(array: Array, axis: int, tap: int, window: Window) -> Array:
    """The cells that one tap of the window meets along axis 1 or 2, a view."""
    taps = window.taps(axis - 1, tap)
    return array[:, taps] if axis == 1 else array[:, :, taps]


def _largest(x: Array, axis: int, window: Window, out: Array | None = None) -> Array:
    """The largest of each window along one axis."""
    kernel = window.kernel[axis - 1]
    first = _cells(x, axis, 0, window)
    y = empty(first.shape, x.dtype) if out is None else out
    np.maximum(first, _cells(x, axis, min(1, kernel - 1), window), out=y)
    for tap in range(2, kernel):
        np.maximum(y, _cells(x, axis, tap, window), out=y)
    return y


def _route(dy: Array, x: Array, y: Array, axis: int, window: Window, out: Array) -> Array:
    """The gradient of `_largest` into `out`: dy goes to the first cell of each window that equals the largest."""
    kernel = window.kernel[axis - 1]
    # Windows side by side that fill the image write every cell once: no zeros to begin with, nothing to add to.
    tiled = kernel == window.stride[axis - 1] and kernel * y.shape[axis] == x.shape[axis]
    if not tiled:
        out.fill(0)
    rest = dy
    for tap in range(kernel - 1):
        cells = _cells(out, axis, tap, window)
        part = np.multiply(rest, _cells(x, axis, tap, window) == y, out=cells if tiled else None)
        if not tiled:
            cells += part
        # What has found its cell is 0 in the rest, so that a second cell as large gets nothing.
        last = _cells(out, axis, kernel - 1, window) if tiled and tap == kernel - 2 else None
        rest = np.subtract(rest, part, out=last)
    if not tiled:
        _cells(out, axis, kernel - 1, window)[...] += rest
    elif kernel == 1:
        out[...] = dy
    return out


def _total(x: Array, axis: int, window: Window) -> Array:
    """The sum of each window along one axis."""
    y = _cells(x, axis, 0, window).copy()
    for tap in range(1, window.kernel[axis - 1]):
        y += _cells(x, axis, tap, window)
    return y


def _spread(dy: Array, axis: int, window: Window) -> Array:
    """The gradient of `_total`: dy goes to every cell of the window."""
    shape = list(dy.shape)
    shape[axis] = window.padded[axis - 1]
    dx = np.zeros(shape, dy.dtype)
    for tap in range(window.kernel[axis - 1]):
        _cells(dx, axis, tap, window)[...] += dy
    return dx


@lru_cache(maxsize=256)
def _shares(window: Window, dtype: np.dtype[np.floating]) -> Array:
    """1 / (number of cells inside the image) for each window position, (OH, OW, 1)."""
    ones = pad_image(np.ones((1, *window.size, 1)), window.pads)
    counts = _total(_total(ones, 1, window), 2, window)[0]
    return (1.0 / counts).astype(dtype)


def _pooled(op: type[Op], x: Tensor | Array, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None,
            padding: Padding) -> Tensor:
    """Check the arguments of a windowed pool and run it."""
    x = as_tensor(x, op.name)
    check_image(x, op.name)
    kernel: Pair = pair(kernel_size, f"kernel_size of {op.name}")
    steps = kernel if stride is None else pair(stride, f"stride of {op.name}")
    return op.apply(x, kernel_size=kernel, stride=steps, padding=padding)


def max_pool2d(x: Tensor | Array, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None = None,
               padding: Padding = 0) -> Tensor:
    """The largest cell under a sliding window, channel by channel.

    Parameters
    ----------
    x : Tensor or ndarray (N, H, W, C)
    kernel_size : int or (height, width)
    stride : int or (height, width), optional
        As `kernel_size` when left out: windows side by side.
    padding : int, (height, width), "same", "valid" or ((top, bottom), (left, right))
        Smaller than the kernel. Padding is never the largest: it counts as minus infinity.

    Returns
    -------
    Tensor (N, OH, OW, C)

    Raises
    ------
    ValueError
        If x is not (N, H, W, C), the window is larger than the padded image, or padding fills a window.

    Notes
    -----
    Where several cells of a window are equally large, one of them gets the whole gradient: the topmost of the
    leftmost column. PyTorch takes the leftmost of the topmost row. In TFLite this is MAX_POOL_2D.

    Examples
    --------
    >>> x = Tensor([[[[1.0], [2.0]], [[4.0], [3.0]]]])
    >>> max_pool2d(x, 2).data.tolist()
    [[[[4.0]]]]
    """
    return _pooled(MaxPool2d, x, kernel_size, stride, padding)


def avg_pool2d(x: Tensor | Array, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None = None,
               padding: Padding = 0) -> Tensor:
    """The mean of the cells under a sliding window that lie inside the image, channel by channel.

    Parameters, shapes and errors are those of `max_pool2d`.

    Notes
    -----
    Padding is not averaged in, as in TFLite's AVERAGE_POOL_2D. In PyTorch this is
    `avg_pool2d(..., count_include_pad=False)`.

    Examples
    --------
    >>> x = Tensor([[[[1.0], [2.0]], [[4.0], [3.0]]]])
    >>> avg_pool2d(x, 2).data.tolist(), avg_pool2d(x, 2, padding=1).data.ravel().tolist()
    ([[[[2.5]]]], [1.0, 2.0, 4.0, 3.0])
    """
    return _pooled(AvgPool2d, x, kernel_size, stride, padding)


def global_avg_pool2d(x: Tensor | Array) -> Tensor:
    """The mean over the whole image: (N, H, W, C) -> (N, C).

    Raises
    ------
    ValueError
        If x is not (N, H, W, C).

    Examples
    --------
    >>> global_avg_pool2d(Tensor([[[[1.0], [2.0]], [[4.0], [3.0]]]])).data.tolist()
    [[2.5]]
    """
    x = as_tensor(x, "global_avg_pool2d")
    check_image(x, "global_avg_pool2d")
    return GlobalAvgPool2d.apply(x)
