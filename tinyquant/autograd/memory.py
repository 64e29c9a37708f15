"""Large arrays out of memory that is already there.

A fresh array of a few megabytes costs more than the arithmetic on it: the operating system hands it over page by
page, zeroed, at the first touch, and takes it back when the array is freed. A training step needs the same arrays
every time, so the memory is kept and lent out again.

A buffer is free again when nobody holds an array made of it. Python counts the holders of every object and numpy
arrays hold the buffer they look into, so the count of the buffer itself tells: no one has to give anything back,
and an array that somebody keeps is never overwritten.

With this module one can get uninitialised arrays (`empty`, `empty_like`) faster than from numpy; below 128 KiB, and
in Pythons without such a count, they are numpy's own.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "empty", "empty_like", "in_blocks", "room_for", "tiled"]

Array: TypeAlias = "npt.NDArray[Any]"

_SMALLEST = 1 << 17
"""Bytes: below this the C library keeps freed memory itself."""

_LARGEST_TOTAL = 1 << 29
"""Bytes a thread keeps at most."""

_BLOCK = 1 << 16
"""Numbers: four float32 blocks of this size fit in the 1 MiB of cache that a core has to itself."""

_LINE = 64
"""Bytes of a cache line: vector instructions are fastest on arrays that start with one."""

_COUNTS = hasattr(sys, "getrefcount") and getattr(sys, "_is_gil_enabled", lambda: True)()

_Entry: TypeAlias = "tuple[npt.NDArray[np.uint8], int]"


def _holders(entry: _Entry) -> int:
    """How many hold the buffer of an entry, this function included."""
    buffer = entry[0]
    return sys.getrefcount(buffer)


# Pythons differ in whether a name or an argument counts as a holder, so the count of a free buffer is measured.
_FREE = _holders((np.empty(1, np.uint8), 0)) if _COUNTS else 0


class _Pool(threading.local):
    """The buffers of one thread by size, each with the offset of its first cache line."""

    def __init__(self) -> None:
        self.entries: dict[int, list[_Entry]] = {}
        self.total = 0

    def take(self, nbytes: int) -> _Entry:
        """A buffer of at least this size that nobody holds, and where in it to begin."""
        size = _rounded(nbytes)
        same = self.entries.get(size)
        if same is None:
            same = self.entries[size] = []
        for entry in same:
            if _holders(entry) == _FREE:
                return entry
        if self.total + size > _LARGEST_TOTAL >= size:
            self.forget_free()
        fresh = np.empty(size + _LINE, np.uint8)
        entry = fresh, -fresh.ctypes.data % _LINE
        if self.total + size <= _LARGEST_TOTAL:
            self.entries.setdefault(size, []).append(entry)
            self.total += size
        return entry

    def forget_free(self) -> None:
        """Give back what nobody holds: shapes have changed, or the work is larger than the pool may grow."""
        kept = {size: [entry for entry in same if _holders(entry) > _FREE] for size, same in self.entries.items()}
        self.entries = {size: same for size, same in kept.items() if same}
        self.total = sum(size * len(same) for size, same in self.entries.items())


_pool = _Pool()


def _rounded(nbytes: int) -> int:
    """The next of eight sizes an octave, so that nearly equal arrays share buffers."""
    step = 1 << max(nbytes.bit_length() - 4, 12)
    return -(-nbytes // step) * step


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An uninitialised array, as `np.empty`, but of memory used before where there is some.

    >>> empty((2, 3), np.float32).shape
    (2, 3)
    """
    kind = np.dtype(dtype)
    nbytes = prod(shape) * kind.itemsize
    if nbytes < _SMALLEST or not _COUNTS:
        return np.empty(shape, kind)
    buffer, offset = _pool.take(nbytes)
    return np.ndarray(shape, kind, buffer, offset)


def empty_like(array: Array) -> Array:
    """`empty` with the shape and dtype of an array, in C order."""
    return empty(array.shape, array.dtype)


def room_for(array: Array) -> Array | None:
    """The `out=` of a ufunc whose result is like this array; None where numpy makes its own as fast."""
    return None if array.nbytes < _SMALLEST else empty(array.shape, array.dtype)


def tiled(array: Array, times: int) -> Array:
    """The last axis repeated: (..., C) -> (..., times * C), as np.tile, in a tenth of its time.

    >>> tiled(np.array([1.0, 2.0]), 3).tolist()
    [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]
    """
    wide = np.empty((*array.shape[:-1], times, array.shape[-1]), array.dtype)
    wide[...] = array[..., None, :]
    return wide.reshape(*array.shape[:-1], -1)


def in_blocks(rows: int, row_size: int, block: int = _BLOCK) -> Iterator[slice]:
    """All the rows, so many at a time that several arrays of them fit in a core's cache.

    A pass over numbers in the cache costs a third of one over numbers in memory: work of several passes is done
    block by block.

    >>> [(b.start, b.stop) for b in in_blocks(5, 30000)]
    [(0, 2), (2, 4), (4, 5)]
    """
    step = max(1, block // max(1, row_size))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
