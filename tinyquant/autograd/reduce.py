"""Sums, means and maxima over axes.

    sum    y = sum of x        dx = dy in every cell summed
    mean   y = sum of x / n    dx = dy / n
    max    y = largest x       dx = dy in the largest cell, shared equally by cells that tie

With this module one can turn an array into a loss. Its names shadow Python's own `sum` and `max`: use it as
`autograd.sum`, or as the methods of a tensor.
"""

from __future__ import annotations

from math import prod
from operator import index

import numpy as np

from tinyquant.autograd.operands import as_tensor
from tinyquant.autograd.tensor import Array, Op, Tensor

__all__ = ["max", "mean", "sum"]

Axes = int | tuple[int, ...] | None


class _Reduction(Op):
    """What the three have in common: which axes go, and how dy is laid over x again."""

    def begin(self, x: Array) -> tuple[int, ...]:
        """The axes as a tuple of non-negative numbers; remembers the shapes for `spread`."""
        axis = self.settings["axis"]
        axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        self.axes = tuple([a % x.ndim for a in axes])
        self.shape = x.shape
        self.kept = tuple([1 if i in self.axes else size for i, size in enumerate(x.shape)])
        return self.axes

    def spread(self, reduced: Array) -> Array:
        """A read-only view of a reduced array with the shape of x."""
        return np.broadcast_to(np.reshape(reduced, self.kept), self.shape)


class Sum(_Reduction):
    """y = sum of x; dx = dy in every cell."""

    name = "sum"

    def forward(self, *arrays: Array) -> Array:
        x = arrays[0]
        return np.asarray(x.sum(axis=self.begin(x), keepdims=self.settings["keepdims"]))

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (self.spread(dy),)


class Mean(_Reduction):
    """y = sum of x / n; dx = dy / n in every cell."""

    name = "mean"

    def forward(self, *arrays: Array) -> Array:
        x = arrays[0]
        return np.asarray(x.mean(axis=self.begin(x), keepdims=self.settings["keepdims"]))

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (self.spread(dy / prod([self.shape[a] for a in self.axes])),)


class Max(_Reduction):
    """y = largest x; dx = dy / (number of cells that tie for it), in these cells, else 0."""

    name = "max"

    def forward(self, *arrays: Array) -> Array:
        x = arrays[0]
        y = np.asarray(x.max(axis=self.begin(x), keepdims=self.settings["keepdims"]))
        if self.needs[0]:
            self.hit = x == self.spread(y)
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        ties = np.count_nonzero(self.hit, axis=self.axes).astype(dy.dtype)
        return (self.hit * self.spread(np.reshape(dy, self.kept) / np.reshape(ties, self.kept)),)


def _checked(op: str, x: Tensor | Array, axis: Axes) -> tuple[Tensor, Axes]:
    """The tensor and the axes as plain ints, once every axis is known to exist and to be named once."""
    x = as_tensor(x, op)
    try:
        plain: Axes = None if axis is None else tuple([index(a) for a in axis]) if isinstance(axis, tuple) else index(axis)
    except TypeError:
        raise TypeError(f"{op} needs axis as an integer, a tuple of integers or None, got {axis!r}. "
                        "Write -1 for the last axis.") from None
    axes = () if plain is None else (plain,) if isinstance(plain, int) else plain
    if any(not -x.ndim <= a < x.ndim for a in axes) or len({a % x.ndim for a in axes}) != len(axes):
        raise ValueError(f"{op} needs different axes between {-x.ndim} and {x.ndim - 1} for shape {x.shape}, "
                         f"got {axis}. Leave axis out to take all of them.")
    return x, plain


def _not_empty(op: str, x: Tensor, axis: Axes) -> tuple[Tensor, Axes]:
    """Refuse the mean or the largest of no numbers."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    if 0 in [x.shape[a] for a in axes]:
        raise ValueError(f"{op} needs at least one number along axis {axis}, got shape {x.shape}. "
                         "Leave empty batches out.")
    return x, axis


def sum(x: Tensor | Array, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The sum over the axes given, over all of them by default.

    Parameters
    ----------
    x : Tensor or ndarray, any shape
    axis : int, tuple of ints, or None
    keepdims : bool
        True leaves the summed axes in place with length 1.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If an axis does not exist or is named twice.

    Examples
    --------
    >>> sum(Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0).data.tolist()
    [4.0, 6.0]
    """
    x, axis = _checked("sum", x, axis)
    return Sum.apply(x, axis=axis, keepdims=bool(keepdims))


def mean(x: Tensor | Array, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The mean over the axes given, over all of them by default; parameters as for `sum`, at least one number.

    >>> mean(Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=1).data.tolist()
    [1.5, 3.5]
    """
    x, axis = _not_empty("mean", *_checked("mean", x, axis))
    return Mean.apply(x, axis=axis, keepdims=bool(keepdims))


def max(x: Tensor | Array, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The largest number over the axes given, over all of them by default; parameters as for `sum`, at least one number.

    Cells that tie for the maximum share its gradient equally; in PyTorch this is `torch.amax`.

    >>> max(Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=1).data.tolist()
    [2.0, 4.0]
    """
    x, axis = _not_empty("max", *_checked("max", x, axis))
    return Max.apply(x, axis=axis, keepdims=bool(keepdims))
