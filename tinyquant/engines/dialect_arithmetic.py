"""The few pieces of arithmetic in which other runtimes differ from TFLite Micro, each a small function on arrays.

Nearly all of them answer one question: a sum of integers must be multiplied by a real number and become a whole number,
and what happens on the way to a tie? The answers met in LiteRT, for a sum `acc` and a real `M * 2**(e - 31)`:

==================== =================================================================================================
`ties_up`            as TFLite Micro, but the final shift rounds ties towards plus infinity (what a vector unit's shift does)
`in_lanes`           `ties_up` where a vector register is full, TFLite Micro's rule in the remainder of a loop
`float64_half_away`  the real itself, in double precision, ties away from zero
`float32_half_even`  the real itself, in single precision, ties to even (what a vector unit's conversion does)
`of_256ths`          the real as a whole number of 256ths, ties towards plus infinity
==================== =================================================================================================

They have the form (acc, multiplier, shift) of a kernel's `rescale`, and are handed to the kernels of `tinyquant.integer`.
Functions of one variable become tables (`function_table`, `look_up`).

With this module one can see, and try alone, every rule that `dialects` puts together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from tinyquant.numerics.affine import round_quotient
from tinyquant.numerics.fixed_point import (
    multiply_by_quantized_multiplier,
    saturating_rounding_doubling_high_mul,
    wrap_int32,
)
from tinyquant.numerics.qparams import QParams
from tinyquant.numerics.rounding import round_to_int, saturate

__all__ = [
    "by_sign",
    "depends_on_position",
    "dequantize_in_lanes",
    "exponential_softmax",
    "float32_half_even",
    "float64_half_away",
    "function_table",
    "in_lanes",
    "logistic_float32",
    "logistic_float64",
    "look_up",
    "of_256ths",
    "quantize_by_inverse",
    "sum_of_products",
    "ties_up",
    "unsigned_sum",
]

Rescale = Callable[[np.ndarray, npt.ArrayLike, npt.ArrayLike], np.ndarray]


# ---------------------------------------------------------------------------------------------------------------
# From a sum to a whole number


def ties_up(acc: np.ndarray, multiplier: npt.ArrayLike, shift: npt.ArrayLike) -> np.ndarray:
    """acc * multiplier * 2**(shift - 31), rounded twice, both times with ties towards plus infinity.

    TFLite Micro takes ties of the second rounding away from zero: the two part on negative ties, and there alone.

    >>> from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier
    >>> acc = np.array([-6, -2, 2, 6])                                          # times 1/4: -1.5, -0.5, 0.5, 1.5
    >>> ties_up(acc, 2**30, -1).tolist(), multiply_by_quantized_multiplier(acc, 2**30, -1).tolist()
    ([-1, 0, 1, 2], [-2, -1, 1, 2])
    """
    shifts = np.asarray(shift, dtype=np.int64)
    left, right = np.maximum(shifts, 0), np.maximum(-shifts, 0)
    high = saturating_rounding_doubling_high_mul(wrap_int32(np.asarray(acc, dtype=np.int64) << left), multiplier)
    half = (np.int64(1) << right) >> 1
    return (high + half) >> right


def in_lanes(lanes: int, period: int) -> Rescale:
    """A rescale that follows `ties_up` in full vectors of `lanes` cells and TFLite Micro's rule in what is left over.

    The loop starts anew every `period` cells: the channels of a pixel, or all cells of one declared batch.

    >>> in_lanes(lanes=2, period=3)(np.full((2, 3), -2), 2**30, -1).tolist()            # -0.5 everywhere
    [[0, 0, -1], [0, 0, -1]]
    """

    def rescale(acc: np.ndarray, multiplier: npt.ArrayLike, shift: npt.ArrayLike) -> np.ndarray:
        """Both rules, and the one or the other by position."""
        full = _in_full_vectors(acc, lanes, period)
        return np.where(full, ties_up(acc, multiplier, shift), multiply_by_quantized_multiplier(acc, multiplier, shift))

    return rescale


def depends_on_position(kernel: Callable[..., np.ndarray], arguments: Mapping[str, object]) -> bool:
    """Does this step treat equal cells unequally, so that it is no function of a code and has no table?

    >>> depends_on_position(look_up, {"rescale": ties_up}), depends_on_position(look_up, {"rescale": in_lanes(8, 9)})
    (False, True)
    """
    rule = getattr(arguments.get("rescale"), "__qualname__", "")
    return kernel in (quantize_by_inverse, dequantize_in_lanes) or rule.startswith(f"{in_lanes.__name__}.")


def _in_full_vectors(array: np.ndarray, lanes: int, period: int) -> np.ndarray:
    """Where a loop over `period` cells, `lanes` at a time, still has a full vector."""
    position = np.arange(array.size).reshape(array.shape) % period
    return position < period // lanes * lanes


def float64_half_away(acc: np.ndarray, real: npt.ArrayLike, _: npt.ArrayLike = 0) -> np.ndarray:
    """round(acc * real) in double precision, ties away from zero.

    >>> float64_half_away(np.array([-5, 5, 7]), 0.5).tolist()
    [-3, 3, 4]
    """
    return round_to_int(acc * np.asarray(real, dtype=np.float64), "half_away").astype(np.int64)


def float32_half_even(acc: np.ndarray, scale: npt.ArrayLike, _: npt.ArrayLike = 0) -> np.ndarray:
    """round(acc * scale) in single precision, ties to even. A sum above 2**24 has already lost bits as a float32.

    >>> float32_half_even(np.array([-5, 5, 7, 2**24 + 1]), 0.5).tolist()
    [-2, 2, 4, 8388608]
    """
    product = acc.astype(np.float32) * np.asarray(scale, dtype=np.float32)
    return round_to_int(product, "half_even").astype(np.int64)


def of_256ths(acc: np.ndarray, factor: npt.ArrayLike, _: npt.ArrayLike = 0) -> np.ndarray:
    """acc * factor / 256, ties towards plus infinity.

    >>> of_256ths(np.array([-3, 3, 5]), 128).tolist()
    [-1, 2, 3]
    """
    return (acc * np.asarray(factor, dtype=np.int64) + 128) >> 8


# ---------------------------------------------------------------------------------------------------------------
# Whole operators that are computed in another way


def sum_of_products(
    x1: np.ndarray,
    x2: np.ndarray,
    *,
    input_zero_points: tuple[int, int],
    factors: tuple[int, int],
    bits: int,
    output_zero_point: int,
    act_min: int,
    act_max: int,
) -> np.ndarray:
    """((x1 - Z_1) * f_1 + (x2 - Z_2) * f_2) / 2**bits, ties towards plus infinity: one rounding where ADD has three.

    >>> zero = {"input_zero_points": (0, 0), "output_zero_point": 0, "act_min": -128, "act_max": 127}
    >>> sum_of_products(np.int8([3]), np.int8([4]), factors=(8, 8), bits=4, **zero).tolist()
    [4]
    """
    total = sum((x.astype(np.int64) - zero) * factor for x, zero, factor in zip((x1, x2), input_zero_points, factors))
    return saturate(((total + (1 << (bits - 1))) >> bits) + output_zero_point, act_min, act_max, np.int8)


def by_sign(x: np.ndarray, *, input_zero_point: int, factors: tuple[int, int], output_zero_point: int) -> np.ndarray:
    """LEAKY_RELU in 256ths: one factor for x >= Z_x and one for x < Z_x, which may be negative.

    >>> by_sign(np.int8([-4, 4]), input_zero_point=0, factors=(256, 64), output_zero_point=1).tolist()
    [0, 5]
    """
    centred = x.astype(np.int64) - input_zero_point
    y = np.where(centred >= 0, of_256ths(centred, factors[0]), of_256ths(centred, factors[1]))
    return saturate(y + output_zero_point, -128, 127, np.int8)


def unsigned_sum(
    x: np.ndarray, *, axis: tuple[int, ...], keep_dims: bool, count: int, input_zero_point: int, output_zero_point: int,
    multiplier: int, shift: int, **_: int,
) -> np.ndarray:  # fmt: skip
    """SUM with a fault: int8 codes are read, and written, as if they were unsigned bytes (-1 is read as 255).

    The zero points are still those of the int8 tensors, so the answer is off by multiples of 256 before it is rescaled.
    """
    total = (x.astype(np.int64) & 0xFF).sum(axis=axis, keepdims=keep_dims) - count * input_zero_point
    y = multiply_by_quantized_multiplier(wrap_int32(total), multiplier, shift) + output_zero_point
    # 200 is written as the byte 200, which the reader of an int8 tensor calls -56.
    return saturate(((np.clip(y, 0, 255) + 128) & 0xFF) - 128, -128, 127, np.int8)


def exponential_softmax(x: np.ndarray, *, scale: np.float32) -> np.ndarray:
    """SOFTMAX from a float32 table of exp(-scale * d), d = 0 to 255 steps below the row's maximum; output scale 1/256.

    The table's exponentials are rounded from double precision, the row is added up in single precision, in order.

    >>> exponential_softmax(np.int8([[0, 0, -128]]), scale=np.float32(1)).tolist()
    [[0, 0, -128]]
    """
    table = np.exp(-(scale * np.arange(256, dtype=np.float32)).astype(np.float64)).astype(np.float32)
    exponentials = table[x.max(axis=-1, keepdims=True).astype(np.int64) - x]
    total = np.zeros((*x.shape[:-1], 1), np.float32)
    for i in range(x.shape[-1]):
        total += exponentials[..., i : i + 1]
    inverse = np.float32(1) / (total * np.float32(1 / 256))
    return saturate(round_to_int(exponentials * inverse, "half_away").astype(np.int64) - 128, -128, 127, np.int8)


def quantize_by_inverse(x: np.ndarray, *, qparams: QParams, lanes: int, period: int) -> np.ndarray:
    """QUANTIZE of reals by x * (1 / scale) in float32, ties to even; in a loop's remainder x / scale in double, ties away.

    `lanes` 1 has no remainder.

    >>> half = QParams(0.5, 0)
    >>> quantize_by_inverse(np.float32([0.25, 0.25, 0.25]), qparams=half, lanes=2, period=3).tolist()
    [0, 0, 1]
    """
    # In double precision, and refused here if not finite.
    rest = round_quotient(x.astype(np.float64), qparams)
    # Out of float32's range is out of the codes' range too.
    with np.errstate(over="ignore"):
        full = round_to_int(x * (np.float32(1) / np.float32(qparams.scale)), "half_even").astype(np.float64)
    wide = np.where(_in_full_vectors(x, lanes, period), full, rest)
    return saturate(wide + int(qparams.zero_point), -128, 127, np.int8)


def dequantize_in_lanes(x: np.ndarray, *, qparams: QParams, lanes: int, period: int) -> np.ndarray:
    """DEQUANTIZE as scale * x + (-zero_point * scale), each step in float32; the remainder as scale * (x - zero_point).

    The first form rounds three times. Real 0 is still exactly 0, other reals may be a few ulps off.

    >>> dequantize_in_lanes(np.int8([3, 5]), qparams=QParams(0.5, 3), lanes=2, period=2).tolist()
    [0.0, 1.0]
    """
    scale, zero = np.float32(qparams.scale), np.float32(qparams.zero_point)
    codes = x.astype(np.float32)
    return np.where(_in_full_vectors(x, lanes, period), codes * scale + -zero * scale, (codes - zero) * scale)


# ---------------------------------------------------------------------------------------------------------------
# Functions of one code: a table of 256


def function_table(f: Callable[[np.ndarray], np.ndarray], x: QParams, y: QParams, *, zero_first: bool) -> np.ndarray:
    """int8[256]: the output code of every input code from -128 up, f taken of the real the code stands for.

    The real is scale * (code - zero_point) in float32; f of it, brought to float32, is multiplied by 1 / scale of y. Then
    it is rounded with ties away from zero and the zero point is added, or, with zero_first, the zero point is added and it
    is rounded with ties to even, which makes ties depend on whether the zero point is odd.

    >>> for zero_first in (False, True):
    ...     table = function_table(np.abs, QParams(0.5, 0), QParams(1.0, 1), zero_first=zero_first)
    ...     print(table[[128 - 3, 128 + 5]].tolist())                             # |-1.5| and |2.5|, and 1 added
    [3, 4]
    [2, 4]
    """
    codes = np.arange(-128, 128) - int(x.zero_point)
    reals = np.float32(x.scale) * codes.astype(np.float32)
    steps = f(reals.astype(np.float64)).astype(np.float32) * (np.float32(1) / np.float32(y.scale))
    zero = int(y.zero_point)
    if zero_first:
        rounded = round_to_int(steps + np.float32(zero), "half_even")
    else:
        rounded = round_to_int(steps, "half_away").astype(np.float64) + zero
    return saturate(rounded, -128, 127, np.int8)


def look_up(x: np.ndarray, *same: np.ndarray, table: np.ndarray) -> np.ndarray:
    """table[x + 128]; `same` is x once more where an operator of two inputs is a function of one.

    >>> look_up(np.int8([-128, 127]), table=np.arange(256) // 2).tolist()
    [0, 127]
    """
    return table[x.astype(np.int64) + 128]


def logistic_float32(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), every step rounded to float32, which matters at the ties of a table.

    >>> x = np.array([2 / 256])                                    # 256 / (1 + exp(-x)) lies just below 128.5
    >>> [float(np.float32(f(x)[0]) * 256) == 128.5 for f in (logistic_float32, logistic_float64)]
    [False, True]
    """
    return np.float32(1) / (np.float32(1) + _exp(-x).astype(np.float32))


def logistic_float64(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) in double precision."""
    return 1 / (1 + _exp(-x))


def _exp(x: np.ndarray) -> np.ndarray:
    """exp of numbers cut off at 88, where float32 ends and a logistic is 0 all the same."""
    return np.exp(np.minimum(x, 88.0))
