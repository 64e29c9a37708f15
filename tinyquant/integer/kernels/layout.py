"""Operators that move codes without computing: CONSTANT, RESHAPE, TRANSPOSE, CONCATENATION, PAD, PADV2.

A copied code keeps its meaning only where input and output share scale and zero point. Padding with "nothing" means
padding with real 0, whose code is the zero point.

With this module one can rearrange int8 tensors; every function returns a new array.

References: TFLite `kernels/internal/reference/pad.h`, `concatenation.h`, `transpose.h`.
"""

from __future__ import annotations

import numpy as np

from tinyquant.integer.kernels.windows import Pair

__all__ = ["concatenation", "constant", "pad", "reshape", "transpose"]


def constant(*, value: np.ndarray) -> np.ndarray:
    """CONSTANT: the codes that belong to the graph.

    >>> constant(value=np.int8([1, 2])).tolist()
    [1, 2]
    """
    return value.copy()


def reshape(x: np.ndarray, *, shape: tuple[int, ...], keeps_rows: bool) -> np.ndarray:
    """RESHAPE: the same codes in C order in another shape.

    Parameters
    ----------
    x : int8, any shape
    shape : tuple of int
        For the declared batch; no -1.
    keeps_rows : bool
        True where the leading axis is the batch on both sides: then it is x's, however many rows there are.

    Returns
    -------
    int8 of `shape`

    Examples
    --------
    >>> reshape(np.zeros((3, 2, 2), np.int8), shape=(1, 4), keeps_rows=True).shape
    (3, 4)
    """
    return x.reshape((len(x), *shape[1:]) if keeps_rows else shape).copy()


def transpose(x: np.ndarray, *, perm: tuple[int, ...]) -> np.ndarray:
    """TRANSPOSE: axis i of the output is axis perm[i] of x.

    >>> transpose(np.int8([[1, 2], [3, 4]]), perm=(1, 0)).tolist()
    [[1, 3], [2, 4]]
    """
    return np.ascontiguousarray(x.transpose(perm)).copy()


def concatenation(*xs: np.ndarray, axis: int, act_min: int = -128, act_max: int = 127) -> np.ndarray:
    """CONCATENATION: the inputs one after the other along an axis, all of one scale and zero point.

    Parameters
    ----------
    *xs : int8, equal shapes but for `axis`
    axis : int
        May be negative.
    act_min, act_max : int
        A fused activation, as codes.

    Returns
    -------
    int8

    Examples
    --------
    >>> concatenation(np.int8([[1]]), np.int8([[2, 3]]), axis=-1).tolist()
    [[1, 2, 3]]
    """
    return np.concatenate(xs, axis=axis).clip(np.int8(act_min), np.int8(act_max))


def pad(x: np.ndarray, *, paddings: tuple[Pair, ...], fill: int) -> np.ndarray:
    """PAD and PADV2: `fill` around x.

    Parameters
    ----------
    x : int8, any rank
    paddings : one (before, after) a axis, in cells
    fill : int, -128 to 127
        PAD: the output's zero point, the code of real 0. PADV2: the code it carries.

    Returns
    -------
    int8

    Examples
    --------
    >>> pad(np.int8([[1]]), paddings=((0, 0), (1, 2)), fill=-5).tolist()
    [[-5, 1, -5, -5]]
    """
    return np.pad(x, paddings, constant_values=np.int8(fill))
