"""What an operation does with its arguments before and after: numbers become tensors, broadcasting is undone.

With this module one can write the public function around an `Op`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyquant.autograd.tensor import Array, Operand, Tensor, wrap

__all__ = ["as_tensor", "operand", "unbroadcast"]


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum `grad` down to `shape`, undoing numpy's broadcasting from `shape` to `grad.shape`.

    A number that was broadcast was used once in every cell it was copied to, and the gradient of a number used
    several times is the sum over its uses.

    >>> unbroadcast(np.ones((4, 3)), (3,)).tolist(), unbroadcast(np.ones((4, 3)), (4, 1)).tolist()
    ([4.0, 4.0, 4.0], [[3.0], [3.0], [3.0], [3.0]])
    """
    if grad.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    stretched = tuple(axis + extra for axis, size in enumerate(shape) if size == 1)
    return grad.sum(axis=tuple(range(extra)) + stretched).reshape(shape)


def as_tensor(value: Tensor | Array | float | Sequence[Any], op: str) -> Tensor:
    """The input of a layer operation: a Tensor as it is, a float array wrapped; integers are refused.

    Integer arrays are usually codes that lost their scale: the float lane does not guess what they mean.
    """
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise TypeError(f"{op} computes with float32 or float64 numbers, got {array.dtype}. "
                        "Convert it first: x.astype(np.float32), or dequantize it if these are codes.")
    return Tensor(array)


def operand(value: Operand, like: Operand) -> Tensor:
    """One side of a binary operation: a plain number takes the dtype of the tensor on the other side.

    Without this `x * np.float64(2)` would silently turn a float32 network into a float64 one.
    """
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if isinstance(like, Tensor) and (array.ndim == 0 or array.dtype.kind != "f") and array.dtype.kind in "fiub":
        return wrap(array.astype(like.data.dtype))
    return Tensor(array)
