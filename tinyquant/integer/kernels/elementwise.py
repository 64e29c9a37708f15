"""ADD, SUB and MUL: two tensors of codes, each with its own scale, meet in a third.

Codes of different scales cannot be added: 3 * 0.5 + 3 * 0.1 is not (3 + 3) * anything. ADD first brings both to one common
scale, fine enough that little is lost (20 fraction bits), adds there, and goes to the output's scale::

    t = 2 max(S_1, S_2)                          so that S_i / t <= 1/2, and the sum of two still fits int32
    x_i = round(2**20 (q_i - Z_i) * S_i / t)     real_i = x_i * t / 2**20
    y   = Z_y + round((x_1 + x_2) * t / (2**20 S_y))

MUL needs no common scale: reals multiply, so S_1 (q_1 - Z_1) * S_2 (q_2 - Z_2) is one product of integers times S_1 S_2 / S_y.

Shapes broadcast as numpy's do. With this module one can add, subtract and multiply int8 tensors as TFLite does.

References: TFLite `kernels/internal/reference/integer_ops/add.h` and `mul.h`, `kernels/internal/reference/sub.h`.
"""

from __future__ import annotations

import numpy as np

from tinyquant.integer.kernels.windows import Pair, Rescale, to_codes
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier

__all__ = ["LEFT_SHIFT", "add", "mul", "sub"]

LEFT_SHIFT = 20
"""Fraction bits of the common scale: |q - Z| <= 255 < 2**8, so x * 2**20 fits int32 with room for the sum of two."""


def add(
    x1: np.ndarray,
    x2: np.ndarray,
    *,
    input_zero_points: Pair,
    input_multipliers: Pair,
    input_shifts: Pair,
    output_zero_point: int,
    multiplier: int,
    shift: int,
    act_min: int = -128,
    act_max: int = 127,
    rescale: Rescale = multiply_by_quantized_multiplier,
) -> np.ndarray:
    """ADD: y = clamp(rescale(x1' + x2', multiplier, shift) + output_zero_point, act_min, act_max).

    ::

        xi' = rescale((xi - input_zero_points[i]) * 2**20, input_multipliers[i], input_shifts[i])

    Parameters
    ----------
    x1, x2 : int8, shapes that broadcast
    input_zero_points, input_multipliers, input_shifts : (first, second)
        The reals S_i / t, at most 1/2; t = 2 max(S_1, S_2).
    multiplier, shift : int
        The real t / (2**20 S_y), below 1.
    output_zero_point, act_min, act_max : int
        Codes of the output, -128 to 127.
    rescale : function
        How a fixed-point multiplication rounds.

    Returns
    -------
    int8, the broadcast shape

    Examples
    --------
    Both inputs at scale 1, the output at scale 2, so t = 2 and the reals are 1/2, 1/2 and 2**-20:

    >>> same = {"input_zero_points": (0, 0), "input_multipliers": (2**30, 2**30), "input_shifts": (0, 0)}
    >>> add(np.int8([3, -3]), np.int8([4, -4]), **same, output_zero_point=0, multiplier=2**30, shift=-19).tolist()
    [4, -4]
    """
    first, second = _common_scale(x1, x2, input_zero_points, input_multipliers, input_shifts, rescale)
    return to_codes(first + second, multiplier, shift, rescale, output_zero_point, act_min, act_max)


def sub(
    x1: np.ndarray,
    x2: np.ndarray,
    *,
    input_zero_points: Pair,
    input_multipliers: Pair,
    input_shifts: Pair,
    output_zero_point: int,
    multiplier: int,
    shift: int,
    act_min: int = -128,
    act_max: int = 127,
    rescale: Rescale = multiply_by_quantized_multiplier,
) -> np.ndarray:
    """SUB: as `add`, with x1' - x2'.

    Parameters and result are `add`'s.

    Examples
    --------
    >>> same = {"input_zero_points": (0, 0), "input_multipliers": (2**30, 2**30), "input_shifts": (0, 0)}
    >>> sub(np.int8([3, -3]), np.int8([4, 4]), **same, output_zero_point=0, multiplier=2**30, shift=-18).tolist()
    [-1, -7]
    """
    first, second = _common_scale(x1, x2, input_zero_points, input_multipliers, input_shifts, rescale)
    return to_codes(first - second, multiplier, shift, rescale, output_zero_point, act_min, act_max)


def mul(
    x1: np.ndarray,
    x2: np.ndarray,
    *,
    input_zero_points: Pair,
    output_zero_point: int,
    multiplier: int,
    shift: int,
    act_min: int = -128,
    act_max: int = 127,
    rescale: Rescale = multiply_by_quantized_multiplier,
) -> np.ndarray:
    """MUL: y = clamp(rescale((x1 - Z_1) * (x2 - Z_2), multiplier, shift) + output_zero_point, act_min, act_max).

    Parameters
    ----------
    x1, x2 : int8, shapes that broadcast
        Each product lies in [-65025, 65025].
    input_zero_points : (Z_1, Z_2)
    multiplier, shift : int
        The real S_1 S_2 / S_y.
    output_zero_point, act_min, act_max, rescale
        As in `add`.

    Returns
    -------
    int8, the broadcast shape

    Examples
    --------
    >>> mul(np.int8([3, -3]), np.int8([5, 5]), input_zero_points=(0, 1), output_zero_point=7, multiplier=2**30, shift=0).tolist()
    [13, 1]
    """
    first = x1.astype(np.int32) - np.int32(input_zero_points[0])
    second = x2.astype(np.int32) - np.int32(input_zero_points[1])
    return to_codes(first * second, multiplier, shift, rescale, output_zero_point, act_min, act_max)


def _common_scale(
    x1: np.ndarray, x2: np.ndarray, zero_points: Pair, multipliers: Pair, shifts: Pair, rescale: Rescale
) -> tuple[np.ndarray, np.ndarray]:
    """Both inputs as whole numbers of t / 2**20."""
    scaled = [
        rescale((x.astype(np.int64) - zero) << LEFT_SHIFT, multiplier, shift)
        for x, zero, multiplier, shift in zip((x1, x2), zero_points, multipliers, shifts)
    ]
    return scaled[0], scaled[1]
