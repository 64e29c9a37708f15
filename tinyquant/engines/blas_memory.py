"""Where the values of a plan live: float32 arrays of codes minus zero point, in frames of zeros.

Taking the zero point off once, when a value is made, saves every reader from doing so; and the frame is the padding of the
convolutions that read the value: it is written once, to 0, and never touched again.

With this module one can hold a value (`Slot`) and share working memory between the steps of a plan (`Scratch`). What a node
becomes is a `Layer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Protocol

import numpy as np

from tinyquant.engines.exactness import Call
from tinyquant.integer.kernels.windows import Padding
from tinyquant.numerics.rounding import saturate

__all__ = ["NO_FRAME", "Layer", "Scratch", "Slot"]

NO_FRAME: Padding = ((0, 0), (0, 0))


class Slot:
    """One value of a plan.

    Parameters
    ----------
    shape : tuple of int
    zero : int or None
        The zero point of int8 codes; None for a value of reals, which is kept as the array it is.
    frame : ((top, bottom), (left, right))
        Cells of zeros around the image, for [N, H, W, C] values.

    Attributes
    ----------
    inner : float32 ndarray of `shape`
        Codes minus zero point; a view where there is a frame.
    """

    def __init__(self, shape: tuple[int, ...], zero: int | None, frame: Padding = NO_FRAME) -> None:
        self.shape, self.zero, self.frame = shape, zero, frame
        self.reals = np.zeros(0, np.float32)
        if frame == NO_FRAME:
            self.inner = self.buffer = np.zeros(shape, np.float32)
            return
        (top, bottom), (left, right) = frame
        rows, height, width, channels = shape
        self.buffer = np.zeros((rows, top + height + bottom, left + width + right, channels), np.float32)
        self.inner = self.buffer[:, top : top + height, left : left + width]

    def framed(self, padding: Padding) -> np.ndarray:
        """The image with this many zeros around it, at most the frame: a view."""
        (top, bottom), (left, right) = (
            (before - wanted[0], after - wanted[1]) for (before, after), wanted in zip(self.frame, padding)
        )
        return self.buffer[:, top : self.buffer.shape[1] - bottom, left : self.buffer.shape[2] - right]

    def array(self) -> np.ndarray:
        """The value as the graph knows it, a new array: int8 codes, or reals."""
        if self.zero is None:
            return self.reals
        return np.asarray(saturate(self.inner + np.float32(self.zero), -128, 127, np.int8))

    def store(self, array: np.ndarray) -> None:
        """Take in codes or reals."""
        if self.zero is None:
            self.reals = array
        else:
            np.subtract(array, self.zero, out=self.inner, dtype=np.float32)


class Scratch:
    """Working memory by name, the same for all steps that ask for that name: what stays in the cache is used again."""

    def __init__(self, sizes: dict[str, int] | None = None) -> None:
        self.sizes = dict(sizes or {})
        self._arrays = {name: np.zeros(size, np.uint8) for name, size in self.sizes.items()}

    def take(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """An array of that shape in the memory of that name, with whatever is in it."""
        size = prod(shape) * np.dtype(dtype).itemsize
        if self.sizes.get(name, 0) < size:
            self.sizes[name], self._arrays[name] = size, np.zeros(size, np.uint8)
        return self._arrays[name][:size].view(dtype).reshape(shape)


class Layer(Protocol):
    """What a node becomes: proved once, bound to memory for every size of block."""

    padding: Padding
    """Zeros that it wants around its inputs."""

    def bind(self, xs: Sequence[Slot], y: Slot, scratch: Scratch) -> list[Call]:
        """The calls that make y of xs."""
