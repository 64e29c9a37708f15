"""QUANTIZE and DEQUANTIZE: the doors between real numbers and codes, and between codes of two scales.

Reals appear in a network of integers only here. The map itself lives in `tinyquant.numerics.affine`, the one door
of the package; the bytes are TFLite's.

References: TFLite `kernels/internal/reference/quantize.h`, `dequantize.h`, `requantize.h`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyquant.integer.kernels.windows import Rescale, to_codes
from tinyquant.numerics import affine
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier
from tinyquant.numerics.qparams import QParams

__all__ = ["dequantize", "quantize", "quantize_reals", "requantize_codes"]


def quantize(x: np.ndarray, **arguments: Any) -> np.ndarray:
    """QUANTIZE: `requantize_codes` of int8 codes, `quantize_reals` of float32 numbers.

    >>> quantize(np.int8([8]), input_zero_point=0, output_zero_point=1, multiplier=2**30, shift=0).tolist()
    [5]
    """
    return requantize_codes(x, **arguments) if x.dtype == np.int8 else quantize_reals(x, **arguments)


def quantize_reals(x: np.ndarray, *, qparams: QParams) -> np.ndarray:
    """Codes of reals: clamp(round(x / scale) + zero_point), the division in x's own float32, ties away from zero.

    Parameters
    ----------
    x : float32, any shape, finite
    qparams : QParams
        Of the output.

    Returns
    -------
    int8 of x's shape
    """
    return affine.quantize(x, qparams)


def requantize_codes(
    x: np.ndarray,
    *,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
    act_min: int = -128,
    act_max: int = 127,
    rescale: Rescale = multiply_by_quantized_multiplier,
) -> np.ndarray:
    """Codes of one scale as codes of another: y = clamp(rescale(x - Z_x, multiplier, shift) + Z_y).

    Parameters
    ----------
    x : int8, any shape
    multiplier, shift : int
        The real S_x / S_y.
    input_zero_point, output_zero_point, act_min, act_max : int, -128 to 127
    rescale : function
        How a fixed-point multiplication rounds.

    Returns
    -------
    int8 of x's shape
    """
    return to_codes(x.astype(np.int64) - input_zero_point, multiplier, shift, rescale, output_zero_point, act_min, act_max)


def dequantize(x: np.ndarray, *, qparams: QParams) -> np.ndarray:
    """DEQUANTIZE: the real each code stands for, scale * (x - zero_point), as float32.

    Parameters
    ----------
    x : int8, any shape
    qparams : QParams
        Of the input.

    Returns
    -------
    float32 of x's shape

    Examples
    --------
    >>> dequantize(np.int8([3, -1]), qparams=QParams(2, 1)).tolist()
    [4.0, -4.0]
    """
    return affine.dequantize(x, qparams)
