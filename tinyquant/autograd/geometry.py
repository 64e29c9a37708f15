"""How a window slides over an image, worked out once for convolutions and pools.

    cells the window reaches over    reach = (kernel - 1) * dilation + 1
    positions along an axis          out   = (before + size + after - reach) // stride + 1

With this module one can turn what the user wrote (`stride=2, padding="same"`) into a `Window` of plain pairs,
and refuse what does not fit with a message that says why.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias, cast

import numpy as np

from tinyquant.autograd.memory import empty
from tinyquant.autograd.tensor import Array, Tensor
from tinyquant.graph import same_padding

__all__ = ["Padding", "Pair", "TurnedWindow", "Window", "check_image", "from_turned", "make_window", "pad_image", "pair",
           "turned_windows"]

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = int | str | Sequence[int] | Sequence[Sequence[int]]


@dataclass(frozen=True)
class Window:
    """A sliding window over images of one size; every pair is (along the height, along the width)."""

    size: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    pads: tuple[Pair, Pair]
    out: Pair

    @property
    def reach(self) -> Pair:
        """Cells from the first to the last tap, both included."""
        return ((self.kernel[0] - 1) * self.dilation[0] + 1, (self.kernel[1] - 1) * self.dilation[1] + 1)

    @property
    def padded(self) -> Pair:
        """The size of the image with its padding."""
        return sum(self.pads[0]) + self.size[0], sum(self.pads[1]) + self.size[1]

    def taps(self, axis: int, tap: int) -> slice:
        """The cells of the padded image that this tap meets along one axis, one an output position."""
        start = tap * self.dilation[axis]
        return slice(start, start + (self.out[axis] - 1) * self.stride[axis] + 1, self.stride[axis])

    def inside(self) -> tuple[slice, slice]:
        """Where the image lies in the padded image."""
        (top, _), (left, _) = self.pads
        return slice(top, top + self.size[0]), slice(left, left + self.size[1])


def pair(value: int | Sequence[int], what: str) -> Pair:
    """`3` or `(3, 5)` as (height, width), both at least 1.

    >>> pair(3, "stride"), pair((1, 2), "stride")
    ((3, 3), (1, 2))
    """
    if type(value) is int and value >= 1:
        return value, value
    try:
        both = _two_ints(value)
    except TypeError:
        raise TypeError(f"{what} must be an integer or a pair of integers (height, width), got {value!r}. "
                        "Write 2 or (2, 1).") from None
    if both is None or min(both) < 1:
        raise ValueError(f"{what} must be at least 1 and one number or a pair (height, width), got {value!r}. "
                         "Write 2 or (2, 1).")
    return both


def make_window(op: str, size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1)) -> Window:
    """The window that the arguments of a convolution or pool describe.

    `padding` is "same" (as TFLite: out = ceil(size / stride), an odd extra cell goes after), "valid" (none), an
    integer for all sides, a pair (height, width), or two pairs ((top, bottom), (left, right)).

    Raises ValueError where the window is larger than the padded image, TypeError for padding of another kind.

    >>> make_window("conv2d", (5, 5), (3, 3), (2, 2), "same").pads
    ((1, 1), (1, 1))
    """
    if not isinstance(padding, (int, str, tuple)):
        padding = cast("Padding", _as_tuples(padding))
    return _window(op, size, kernel, stride, padding, dilation)


# A layer asks for the same window at every training step.
@lru_cache(maxsize=1024)
def _window(op: str, size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Window:
    """`make_window`, remembered."""
    pads = _pads(op, padding, size, kernel, stride, dilation)
    window = Window(size, kernel, stride, dilation, pads, (0, 0))
    for axis, name in enumerate(("height", "width")):
        if window.reach[axis] > window.padded[axis]:
            raise ValueError(f"{op} needs a window no larger than the padded image, got a window reaching over "
                             f"{window.reach[axis]} cells of a {name} of {window.padded[axis]} "
                             f"(image {size}, padding {padding!r}). Take a smaller kernel, or more padding.")
    out = tuple([(window.padded[i] - window.reach[i]) // stride[i] + 1 for i in (0, 1)])
    return Window(size, kernel, stride, dilation, pads, cast("Pair", out))


def _pads(op: str, padding: Padding, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Padding in any of its spellings as ((top, bottom), (left, right))."""
    if isinstance(padding, str):
        if padding == "valid":
            return (0, 0), (0, 0)
        if padding == "same":
            return (same_padding(size[0], kernel[0], stride[0], dilation[0]),
                    same_padding(size[1], kernel[1], stride[1], dilation[1]))
        raise ValueError(f'{op} needs padding "same", "valid", an integer or pairs, got {padding!r}. '
                         'Write padding="same".')
    try:
        if isinstance(padding, Sequence) and len(padding) == 2 and all(isinstance(side, Sequence) for side in padding):
            top_bottom, left_right = (_two_ints(cast("Sequence[int]", side)) for side in padding)
        else:
            both = _two_ints(cast("int | Sequence[int]", padding))
            top_bottom, left_right = ((both[0], both[0]), (both[1], both[1])) if both else (None, None)
    except TypeError:
        raise TypeError(f"{op} needs padding as an integer, a pair (height, width), two pairs or a word, "
                        f'got {padding!r}. Write 1, (1, 2), ((0, 1), (0, 1)) or "same".') from None
    if top_bottom is None or left_right is None or min(*top_bottom, *left_right) < 0:
        raise ValueError(f"{op} needs padding of 0 or more as an integer, a pair (height, width) or two pairs, "
                         f'got {padding!r}. Write 1, (1, 2), ((0, 1), (0, 1)) or "same".')
    return top_bottom, left_right


def check_image(x: Tensor, op: str) -> None:
    """Refuse anything but a batch of images (N, H, W, C) with at least one pixel."""
    if x.ndim != 4:
        raise ValueError(f"{op} needs images of shape (N, H, W, C), got shape {x.shape}. "
                         "Add the missing axis: x.reshape(...), a grey image has C = 1, one image has N = 1.")


def pad_image(x: Array, pads: tuple[Pair, Pair], value: float = 0.0) -> Array:
    """(N, H, W, C) with a border, cropped where a width is negative; a view of x where nothing is added."""
    (top, bottom), (left, right) = ((max(before, 0), max(after, 0)) for before, after in pads)
    if pads != ((top, bottom), (left, right)):
        (first, last), (start, stop) = ((max(-before, 0), max(-after, 0)) for before, after in pads)
        x = x[:, first : x.shape[1] - last, start : x.shape[2] - stop]
    if not (top or bottom or left or right):
        return x
    n, h, w, c = x.shape
    y = empty((n, top + h + bottom, left + w + right, c), x.dtype)
    # Only the border is filled: writing the inside twice would cost a pass over the image.
    y[:, :top] = value
    y[:, top + h :] = value
    y[:, top : top + h, :left] = value
    y[:, top : top + h, left + w :] = value
    y[:, top : top + h, left : left + w] = x
    return y


@dataclass(frozen=True)
class TurnedWindow:
    """How the gradient of some cells of the image is a convolution of dy: see `turned_windows`."""

    cells: tuple[slice, slice]
    taps: tuple[slice, slice]
    window: Window | None


@lru_cache(maxsize=1024)
def turned_windows(window: Window) -> tuple[TurnedWindow, ...]:
    """The convolutions of dy that give dx.

    Output position o meets cell i of the image through tap k where  o * stride + k * dilation = i + padding. Seen
    from the cell: dx[i] is the sum over the taps k for which (i + padding - k * dilation) / stride is a whole
    number o, of dy[o] * weight[k]. Cells i, i + stride, i + 2 * stride ... meet the same taps, at neighbouring o:
    they are a convolution of dy, with stride 1 and the kernel turned by half a turn. So there is one for every
    remainder of i after division by the stride, along each axis: `cells` are these cells, `taps` the kernel's taps
    in turned order, `window` how they slide over dy (its padding may be negative: dy is cropped), None where no
    tap meets the cells.
    """
    rows = [_turned_axis(window, 0, i) for i in range(min(window.stride[0], window.size[0]))]
    columns = [_turned_axis(window, 1, i) for i in range(min(window.stride[1], window.size[1]))]
    found = []
    for cells_h, taps_h, h in rows:
        for cells_w, taps_w, w in columns:
            turned = None
            if h is not None and w is not None:
                kernel, dilation, pads, out = ((h[i], w[i]) for i in range(4))
                turned = Window(window.out, kernel, (1, 1), dilation, pads, out)  # type: ignore[arg-type]
            found.append(TurnedWindow((cells_h, cells_w), (taps_h, taps_w), turned))
    return tuple(found)


def from_turned(window: Window, dy: Array, channels: int, piece: Callable[[TurnedWindow, Window], Array]) -> Array:
    """dx (N, H, W, channels) put together from `piece(part, its window)`, one for each of `turned_windows`."""
    parts = turned_windows(window)
    if len(parts) == 1 and parts[0].window is not None:
        return piece(parts[0], parts[0].window)
    dx = empty((len(dy), *window.size, channels), dy.dtype)
    for part in parts:
        dx[:, part.cells[0], part.cells[1]] = 0.0 if part.window is None else piece(part, part.window)
    return dx


def _turned_axis(window: Window, axis: int, first: int) -> tuple[slice, slice, tuple[int, int, Pair, int] | None]:
    """`turned_windows` along one axis: cells, taps, (number of taps, dilation, padding, number of cells)."""
    stride, dilation, size, out = window.stride[axis], window.dilation[axis], window.size[axis], window.out[axis]
    cells = slice(first, None, stride)
    offset = first + window.pads[axis][0]
    taps = [k for k in range(window.kernel[axis]) if (offset - k * dilation) % stride == 0]
    if not taps:
        return cells, slice(0, 0), None
    step = taps[1] - taps[0] if len(taps) > 1 else 1
    count = len(range(first, size, stride))
    lowest, highest = (offset - taps[-1] * dilation) // stride, (offset - taps[0] * dilation) // stride
    pads = (-lowest, highest + count - out)
    turned = slice(taps[-1], taps[0] - 1 if taps[0] else None, -step)
    return cells, turned, (len(taps), step * dilation // stride if len(taps) > 1 else 1, pads, count)


def _two_ints(value: int | Sequence[int]) -> Pair | None:
    """`3` or `(3, 5)` as two ints; None for another number of them; TypeError for anything else."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        number = operator.index(value)
        return number, number
    if len(value) != 2:
        return None
    return operator.index(value[0]), operator.index(value[1])


def _as_tuples(value: object) -> object:
    """Lists and arrays as tuples, which can be remembered."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return tuple([_as_tuples(part) for part in value]) if isinstance(value, (list, tuple)) else value
