"""Multiplying by a real number with integers only.

A layer's int32 sum has to be multiplied by a real number, S_x * S_w / S_y, to become an int8 code.
A small microcontroller has no float unit, so the real is written down offline as a 31-bit integer
and a power of two, real ~ M * 2**(e - 31), and the multiplication becomes a product and a shift::

    M in [2**30, 2**31),  e: positive shifts left, negative shifts right

With this module one can make that pair (`quantize_multiplier`), apply it the way a runtime does
(`requantize`, in three named rounding modes), and look at the two steps of the widespread "double
rounding" on their own (`saturating_rounding_doubling_high_mul`, `rounding_divide_by_pot`).
"""

from __future__ import annotations

import math
from typing import overload

import numpy as np
import numpy.typing as npt

__all__ = [
    "REQUANTIZE_MODES",
    "multiply_by_quantized_multiplier",
    "quantize_multiplier",
    "requantize",
    "rounding_divide_by_pot",
    "saturating_rounding_doubling_high_mul",
    "wrap_int32",
]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


@overload
def quantize_multiplier(real: float) -> tuple[int, int]: ...
@overload
def quantize_multiplier(real: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
def quantize_multiplier(real: float | np.ndarray) -> tuple[int, int] | tuple[np.ndarray, np.ndarray]:
    """The pair (multiplier, shift) with real ~ multiplier * 2**(shift - 31).

    Parameters
    ----------
    real : float, or 1-D array of float (one a channel)
        Finite. Negative is legal (LEAKY_RELU); 0 gives (0, 0); what rounds to less than 2**-32 flushes to (0, 0).

    Returns
    -------
    multiplier, shift : int, int; for an array, two int32 arrays of its shape
        2**30 <= |multiplier| < 2**31 and -31 <= shift <= 31, unless (0, 0). A positive shift is to the left.
        The relative error is at most 2**-31.

    Raises
    ------
    ValueError
        real is NaN or infinity, or so large (2**31) that the shift would leave the word.

    Notes
    -----
    1.0 is (2**30, 1), not (2**31, 0), which would not fit. In TFLite: `QuantizeMultiplier`.

    References
    ----------
    TFLite `kernels/internal/quantization_util.cc`; Jacob et al. 2018, section 2.2, equation 6.

    Examples
    --------
    >>> quantize_multiplier(0.25), quantize_multiplier(1.0)
    ((1073741824, -1), (1073741824, 1))
    """
    values = np.asarray(real, dtype=np.float64)
    if values.ndim:
        pairs = [quantize_multiplier(float(v)) for v in values.ravel()]
        flat = np.array(pairs, dtype=np.int32).reshape(*values.shape, 2)
        return flat[..., 0], flat[..., 1]
    value = float(values)
    if not math.isfinite(value):
        name = "NaN" if math.isnan(value) else "infinity" if value > 0 else "-infinity"
        raise ValueError(f"real must be finite, got {name}. Check the scales it is made of.")
    if value == 0.0:
        return 0, 0
    fraction, shift = math.frexp(value)
    # |fraction| * 2**31 is exact in a double and at least 2**30: adding a half and flooring cannot misround.
    magnitude = math.floor(abs(fraction) * 2.0**31 + 0.5)
    if magnitude == 2**31:
        magnitude, shift = 2**30, shift + 1
    if shift > 31:
        raise ValueError(f"real must be below 2**31 in magnitude, got {value}. Check the scales it is made of.")
    if shift < -31:
        return 0, 0
    return (magnitude if fraction > 0 else -magnitude), shift


def saturating_rounding_doubling_high_mul(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """The high half of 2*a*b: floor((a*b + 2**30) / 2**31), ties towards plus infinity.

    Reads both as fractions of 2**31 and multiplies them ("SRDHM", one instruction on many processors).
    The single case that does not fit, a = b = -2**31, saturates to 2**31 - 1.

    Parameters
    ----------
    a, b : array_like of integers in the int32 range; they broadcast

    Returns
    -------
    int64 ndarray of int32 values

    References
    ----------
    google/gemmlowp `fixedpoint/fixedpoint.h`, SaturatingRoundingDoublingHighMul.

    Examples
    --------
    >>> saturating_rounding_doubling_high_mul([2**30, 3, -3], 2**30).tolist()
    [536870912, 2, -1]
    """
    product = np.asarray(a, dtype=np.int64) * np.asarray(b, dtype=np.int64)
    return np.minimum((product + (1 << 30)) >> 31, INT32_MAX)


def rounding_divide_by_pot(x: npt.ArrayLike, exponent: npt.ArrayLike) -> np.ndarray:
    """x / 2**exponent, rounded to nearest, ties away from zero.

    Parameters
    ----------
    x : array_like of integers in the int32 range
    exponent : array_like of int, 0 to 31; broadcasts on x

    Returns
    -------
    int64 ndarray of int32 values

    References
    ----------
    google/gemmlowp `fixedpoint/fixedpoint.h`, RoundingDivideByPOT.

    Examples
    --------
    >>> rounding_divide_by_pot([5, 6, -5, -6], 2).tolist()
    [1, 2, -1, -2]
    """
    values, shift = np.asarray(x, dtype=np.int64), np.asarray(exponent, dtype=np.int64)
    mask = (np.int64(1) << shift) - 1
    # A negative number needs one more than half to go up, because >> has already floored it.
    threshold = (mask >> 1) + (values < 0)
    return (values >> shift) + ((values & mask) > threshold)


def wrap_int32(x: np.ndarray) -> np.ndarray:
    """x modulo 2**32, read as int32: what the target's registers hold after an overflow (undefined in C++)."""
    return ((x + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def multiply_by_quantized_multiplier(x: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike) -> np.ndarray:
    """x * multiplier * 2**(shift - 31) with two roundings, the way TFLite Micro's kernels do it.

    First a left shift if shift > 0, then the doubling high multiply (ties up), then a rounding right shift if
    shift < 0 (ties away from zero). Nothing is checked: a left shift past int32 wraps, as on the target.
    `requantize` is the checked form.

    Parameters
    ----------
    x : array_like of integers in the int32 range
    multiplier, shift : array_like of int; they broadcast on x's last axis

    Returns
    -------
    int64 ndarray of int32 values

    References
    ----------
    TFLite `kernels/internal/common.cc`, MultiplyByQuantizedMultiplier (the build without TFLITE_SINGLE_ROUNDING).

    Examples
    --------
    >>> multiply_by_quantized_multiplier([7984], 1583594044, -9).tolist()      # the real product is 11.499
    [12]
    """
    shifts = np.asarray(shift, dtype=np.int64)
    left, right = np.maximum(shifts, 0), np.maximum(-shifts, 0)
    shifted = wrap_int32(np.asarray(x, dtype=np.int64) << left)
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(shifted, multiplier), right)


def _single_rounding(x: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """One rounding of the whole product, ties towards plus infinity."""
    total = 31 - shift
    half = np.where(total > 0, np.int64(1) << np.maximum(total - 1, 0), 0)
    return (x * multiplier + half) >> total


def _exact_rounding(x: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """One rounding of the whole product, ties away from zero."""
    product, total = x * multiplier, 31 - shift
    half = np.where(total > 0, np.int64(1) << np.maximum(total - 1, 0), 0)
    magnitude = (np.abs(product) + half) >> total
    return np.where(product < 0, -magnitude, magnitude)


REQUANTIZE_MODES = {
    "double_rounding": multiply_by_quantized_multiplier,
    "single_rounding": _single_rounding,
    "exact": _exact_rounding,
}
"""The three ways to round acc * multiplier * 2**(shift - 31), by name."""


def requantize(
    acc: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike, *, mode: str = "double_rounding"
) -> np.ndarray:
    """Rescale int32 accumulators: acc * multiplier * 2**(shift - 31) as whole numbers.

    ================= ================================================================ =========================
    mode              rounding                                                         who
    ================= ================================================================ =========================
    double_rounding   the doubling high multiply (ties up), then a right shift (ties   TFLite Micro, gemmlowp,
                      away from zero): an exact 11.499 can become 12                   CMSIS-NN by default
    single_rounding   one rounding, ties towards plus infinity                         TFLITE_SINGLE_ROUNDING
    exact             one rounding, ties away from zero                                the mathematical rule
    ================= ================================================================ =========================

    Parameters
    ----------
    acc : array_like of integers in the int32 range, any shape
    multiplier : array_like of int, 0 or 2**30 <= |multiplier| < 2**31; a number, or one a channel (last axis)
    shift : array_like of int, -31 to 31 (positive shifts left); like multiplier
    mode : str

    Returns
    -------
    int32 ndarray of the broadcast shape; the zero point is not yet added, nothing is clamped

    Raises
    ------
    TypeError
        Something is not integers.
    ValueError
        Outside the ranges above, an unknown mode, or a result or left shift that overflows int32 (the value is named).

    Notes
    -----
    Double and single rounding differ by at most 1, with probability about 2**-(1 - shift) for shift < 0.
    In TFLite: `MultiplyByQuantizedMultiplier`.

    References
    ----------
    Jacob et al. 2018, section 2.2 and appendix B; tensorflow/tensorflow#25087; google/ruy#227.

    Examples
    --------
    >>> [int(requantize(7984, 1583594044, -9, mode=m)) for m in REQUANTIZE_MODES]
    [12, 11, 11]
    """
    if mode not in REQUANTIZE_MODES:
        raise ValueError(f"mode must be one of {', '.join(REQUANTIZE_MODES)}, got {mode!r}.")
    x = _int64("acc", acc, INT32_MIN, INT32_MAX)
    m = _int64("multiplier", multiplier, INT32_MIN + 1, INT32_MAX)
    small = (np.abs(m) < 2**30) & (m != 0)
    if np.any(small):
        raise ValueError(
            f"multiplier must be 0 or at least 2**30 in magnitude, got {int(m[small].flat[0])}. "
            "Make the pair with quantize_multiplier."
        )
    e = _int64("shift", shift, -31, 31)
    x, m, e = np.broadcast_arrays(x, m, e)
    if mode == "double_rounding":
        _must_fit_int32("acc << shift", x, np.abs(x) << np.maximum(e, 0), x < 0)
    result = REQUANTIZE_MODES[mode](x, m, e)
    _must_fit_int32("the result", x, np.abs(result), result < 0)
    return np.asarray(result.astype(np.int32))


def _must_fit_int32(what: str, acc: np.ndarray, magnitude: np.ndarray, negative: np.ndarray) -> None:
    """Raise, naming the first accumulator whose outcome leaves int32."""
    bad = magnitude > INT32_MAX + negative
    if np.any(bad):
        raise ValueError(
            f"{what} must fit int32, got acc={int(acc[bad].flat[0])}, which overflows. "
            "Use a smaller multiplier (a larger output scale) or a smaller accumulator."
        )


def _int64(name: str, value: npt.ArrayLike, low: int, high: int) -> np.ndarray:
    """Integers within [low, high] as int64; anything else is refused by name."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}. Cast whole numbers to int32.")
    if array.size and not (low <= int(array.min()) and int(array.max()) <= high):
        outside = int(array.max()) if int(array.max()) > high else int(array.min())
        raise ValueError(f"{name} must lie in [{low}, {high}], got {outside}. This is integer arithmetic in 32 bits.")
    return array.astype(np.int64)
