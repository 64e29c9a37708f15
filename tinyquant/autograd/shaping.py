"""Operations that move numbers without changing them: each backward moves the gradient home.

    reshape     same numbers in the same order     dx = dy in the shape of x
    transpose   axes in another order              dx = dy with the order undone
    pad         zeros around                       dx = dy without the border
    getitem     some of the cells                  dx = dy added into zeros at these cells
    concat      arrays end to end                  dx = the part of dy that was x

With this module one can reshape, transpose, slice, pad and join.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinyquant.autograd.operands import as_tensor
from tinyquant.autograd.tensor import Array, Op, Tensor

__all__ = ["concat", "flatten", "getitem", "pad", "reshape", "transpose"]


_SLICING = (int, np.integer, slice, type(None), type(Ellipsis))


class Reshape(Op):
    """y = the numbers of x in another shape; dx = dy in the shape of x."""

    name = "reshape"

    def forward(self, *arrays: Array) -> Array:
        self.shape = arrays[0].shape
        return arrays[0].reshape(self.settings["shape"])

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (np.reshape(dy, self.shape),)


class Transpose(Op):
    """y[i_axes[0], i_axes[1], ...] = x[i_0, i_1, ...]; dx = dy with the order undone."""

    name = "transpose"

    def forward(self, *arrays: Array) -> Array:
        return arrays[0].transpose(self.settings["axes"])

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (dy.transpose(np.argsort(self.settings["axes"])),)


class Pad(Op):
    """y = x with zeros around; dx = dy without the border."""

    name = "pad"

    def forward(self, *arrays: Array) -> Array:
        x = arrays[0]
        widths = self.settings["widths"]
        self.inside = tuple([slice(before, before + size) for (before, _), size in zip(widths, x.shape)])
        y = np.zeros([before + size + after for (before, after), size in zip(widths, x.shape)], x.dtype)
        y[self.inside] = x
        return y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (dy[self.inside],)


class GetItem(Op):
    """y = x[index]; dx = zeros, with dy added at the cells taken (as often as they were taken)."""

    name = "getitem"

    def forward(self, *arrays: Array) -> Array:
        self.shape = arrays[0].shape
        return np.asarray(arrays[0][self.settings["index"]])

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        dx = np.zeros(self.shape, dy.dtype)
        index = self.settings["index"]
        if all(isinstance(part, _SLICING) for part in (index if isinstance(index, tuple) else (index,))):
            dx[index] = dy
        else:
            # Only an array can name a cell twice; `dx[index] += dy` would count it once.
            np.add.at(dx, index, dy)
        return (dx,)


class Concat(Op):
    """y = the arrays end to end along one axis; dx_i = the part of dy that was x_i."""

    name = "concat"

    def forward(self, *arrays: Array) -> Array:
        axis = self.settings["axis"]
        self.ends = np.cumsum([x.shape[axis] for x in arrays])[:-1]
        return np.concatenate(arrays, axis)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return tuple(np.split(dy, self.ends, self.settings["axis"]))


def reshape(x: Tensor | Array, shape: int | Sequence[int]) -> Tensor:
    """The same numbers, in the same order, in another shape.

    Parameters
    ----------
    x : Tensor or ndarray, any shape
    shape : int or sequence of int
        One of the sizes may be -1: it is worked out.

    Returns
    -------
    Tensor of that shape, sharing memory with x where possible

    Raises
    ------
    ValueError
        If the sizes do not multiply to the number of cells.

    Examples
    --------
    >>> reshape(Tensor([1.0, 2.0, 3.0, 4.0]), (2, -1)).data.tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    x = as_tensor(x, "reshape")
    sizes = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple([int(size) for size in shape])
    known = prod([size for size in sizes if size != -1])
    fits = known == x.size if -1 not in sizes else known > 0 and x.size % known == 0
    if min(sizes, default=0) < -1 or sizes.count(-1) > 1 or not fits:
        raise ValueError(f"reshape needs sizes that multiply to {x.size} (one may be -1), got {sizes} for shape "
                         f"{x.shape}. Count the cells again.")
    return Reshape.apply(x, shape=sizes)


def flatten(x: Tensor | Array) -> Tensor:
    """(N, ...) as (N, the rest): each sample one row.

    >>> flatten(Tensor(np.zeros((5, 2, 3)))).shape
    (5, 6)
    """
    x = as_tensor(x, "flatten")
    if x.ndim == 0:
        raise ValueError("flatten needs a tensor of at least one axis, got shape (). Give it a batch axis.")
    return reshape(x, (x.shape[0], prod(x.shape[1:])))


def transpose(x: Tensor | Array, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order; reversed by default.

    Parameters
    ----------
    x : Tensor or ndarray, any shape
    axes : sequence of int, optional
        Each axis of x once: axis i of the result is axis `axes[i]` of x.

    Returns
    -------
    Tensor, a view of x

    Raises
    ------
    ValueError
        If `axes` is not a permutation.

    Examples
    --------
    >>> transpose(Tensor(np.zeros((1, 2, 3, 4))), (0, 3, 1, 2)).shape
    (1, 4, 2, 3)
    """
    x = as_tensor(x, "transpose")
    order = tuple(range(x.ndim))[::-1] if axes is None else tuple([int(a) for a in axes])
    if sorted([a % x.ndim if -x.ndim <= a < x.ndim else -1 for a in order]) != list(range(x.ndim)):
        raise ValueError(f"transpose needs every axis of shape {x.shape} once, got axes {axes}. "
                         f"For example {tuple(range(x.ndim))[::-1]}.")
    return Transpose.apply(x, axes=tuple([a % x.ndim for a in order]))


def pad(x: Tensor | Array, widths: Sequence[tuple[int, int]]) -> Tensor:
    """Zeros around x.

    Parameters
    ----------
    x : Tensor or ndarray, any shape
    widths : a pair (before, after) of ints >= 0 for each axis

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If there is not one pair an axis, or a width is negative.

    Examples
    --------
    >>> pad(Tensor([[1.0, 2.0]]), [(0, 1), (1, 0)]).data.tolist()
    [[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]
    """
    x = as_tensor(x, "pad")
    pairs = tuple([(int(before), int(after)) for before, after in widths])
    if len(pairs) != x.ndim or any(min(pair) < 0 for pair in pairs):
        raise ValueError(f"pad needs a pair (before, after) of widths >= 0 for each axis of shape {x.shape}, "
                         f"got {widths}. Write (0, 0) for an axis that stays.")
    return Pad.apply(x, widths=pairs)


def getitem(x: Tensor | Array, index: Any) -> Tensor:
    """x[index], with numpy's rules: slices, integers, integer arrays, boolean masks.

    A cell taken several times by an integer array receives the sum of the gradients.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> getitem(x, [0, 0, 2]).sum().backward()
    >>> x.grad.tolist()
    [2.0, 0.0, 1.0]
    """
    return GetItem.apply(as_tensor(x, "getitem"), index=_plain_index(index))


def concat(tensors: Sequence[Tensor | Array], axis: int = -1) -> Tensor:
    """The tensors end to end along `axis`; all other sizes must agree.

    Parameters
    ----------
    tensors : sequence of at least one Tensor or ndarray, same shape but along `axis`
    axis : int
        -1 joins channels in NHWC.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the shapes do not fit, or nothing is given.

    Examples
    --------
    >>> concat([Tensor([[1.0], [2.0]]), Tensor([[3.0], [4.0]])]).data.tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    parts = [as_tensor(x, "concat") for x in tensors]
    if not parts:
        raise ValueError("concat needs at least one tensor, got none. Pass a list of tensors.")
    ndim = parts[0].ndim
    if not -ndim <= axis < ndim:
        raise ValueError(f"concat needs an axis between {-ndim} and {ndim - 1}, got {axis} for shape {parts[0].shape}. "
                         "The last axis is -1.")
    rests = {x.shape[: axis % ndim] + x.shape[axis % ndim + 1 :] if x.ndim == ndim else None for x in parts}
    if len(rests) != 1 or None in rests:
        raise ValueError(f"concat needs shapes that differ along axis {axis} only, got {[x.shape for x in parts]}. "
                         "Pad or crop them first.")
    return Concat.apply(*parts, axis=axis)


def _plain_index(index: Any) -> Any:
    """The index, unless there is a tensor in it: a float cannot be an index."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, Tensor) for part in parts):
        raise TypeError("an index must be made of integers, slices, masks or None, got a Tensor. "
                        "Use an integer numpy array.")
    return index
