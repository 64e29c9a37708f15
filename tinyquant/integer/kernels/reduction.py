"""MEAN and SUM over axes.

    real mean = S_x * (sum of q - n Z_x) / n,  so  y = Z_y + (sum of q - n Z_x) * (S_x / S_y) / n

SUM multiplies by S_x / S_y; MEAN's division by the count n goes into the multiplier offline, with as many extra bits as fit.

With this module one can reduce int8 tensors as TFLite does.

References: TFLite `kernels/internal/reference/reduce.h`, QuantizedMeanOrSum.
"""

from __future__ import annotations

import numpy as np

from tinyquant.integer.kernels.windows import Rescale, to_codes
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier

__all__ = ["reduce_sum"]


def reduce_sum(
    x: np.ndarray,
    *,
    axis: tuple[int, ...],
    keep_dims: bool,
    count: int,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
    act_min: int = -128,
    act_max: int = 127,
    rescale: Rescale = multiply_by_quantized_multiplier,
) -> np.ndarray:
    """MEAN and SUM: y = clamp(rescale(sum of x - count * Z_x, multiplier, shift) + Z_y).

    Parameters
    ----------
    x : int8, any shape
    axis : tuple of int
        Different axes, none negative.
    keep_dims : bool
        Keep the reduced axes with length 1.
    count : int
        How many cells are added into one.
    multiplier, shift : int
        SUM: the real S_x / S_y. MEAN: that over count.
    input_zero_point, output_zero_point, act_min, act_max, rescale
        As in `relu`.

    Returns
    -------
    int8

    Examples
    --------
    >>> reduce_sum(np.int8([[1, 3]]), axis=(1,), keep_dims=False, count=2, input_zero_point=1, output_zero_point=0,
    ...            multiplier=2**30, shift=1).tolist()
    [2]
    """
    total = x.sum(axis=axis, keepdims=True, dtype=np.int32) - np.int32(count * input_zero_point)
    y = to_codes(total, multiplier, shift, rescale, output_zero_point, act_min, act_max)
    return y if keep_dims else y.squeeze(axis)
