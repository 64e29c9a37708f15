"""Rounding, by name.

Two tools that "round to nearest" still disagree on every tie: 2.5 is 3 for C's `round` and 2 for
numpy's. A tie is not a rare event on quantized data, so here a rounding rule always has a name,
and this file is the only place of the package that owns the rules.

With this module one can round an array by any of eight named rules (`round_to_int`) and bring wide
integers into a narrow type without wrapping (`saturate`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["ROUNDING_MODES", "round_to_int", "saturate"]


def _half_even(x: np.ndarray) -> np.ndarray:
    """Nearest, ties to the even neighbour."""
    return np.rint(x)


def _half_away(x: np.ndarray) -> np.ndarray:
    """Nearest, ties away from zero: C's `round`."""
    # Adding 0.5 itself would be wrong: 0.49999997 + 0.5 is 1.0 in float32. With the number just below 0.5 a tie still
    # rounds up to the next whole number (IEEE: to even) and nothing less does. The clip gives it the sign of x; where
    # |x| is smaller still it gives x itself, and 2x is cut to 0.
    almost_half = np.nextafter(x.dtype.type(0.5), x.dtype.type(0))
    return np.trunc(x + x.clip(-almost_half, almost_half))


def _half_up(x: np.ndarray) -> np.ndarray:
    """Nearest, ties towards plus infinity."""
    below = np.floor(x)
    return below + (x - below >= 0.5)


def _half_down(x: np.ndarray) -> np.ndarray:
    """Nearest, ties towards minus infinity."""
    return -_half_up(-x)


_RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "half_even": _half_even,
    "half_away": _half_away,
    "half_up": _half_up,
    "half_down": _half_down,
    "floor": np.floor,
    "ceil": np.ceil,
    "toward_zero": np.trunc,
}

ROUNDING_MODES: tuple[str, ...] = (*_RULES, "stochastic")
"""Every name `round_to_int` accepts."""


def round_to_int(x: npt.ArrayLike, mode: str = "half_away", rng: np.random.Generator | None = None) -> np.ndarray:
    """Round to whole numbers by a named rule; the result keeps x's float type.

    ============== ======================================= ==================
    mode           rule                                    -2.5, -0.5, 0.5, 2.5
    ============== ======================================= ==================
    half_even      nearest, ties to the even neighbour     -2, 0, 0, 2
    half_away      nearest, ties away from zero            -3, -1, 1, 3
    half_up        nearest, ties towards plus infinity     -2, 0, 1, 3
    half_down      nearest, ties towards minus infinity    -3, -1, 0, 2
    floor          the whole number below                  -3, -1, 0, 2
    ceil           the whole number above                  -2, 0, 1, 3
    toward_zero    cut the fraction off                    -2, 0, 0, 2
    stochastic     up with probability frac(x), by `rng`   varies; unbiased
    ============== ======================================= ==================

    Parameters
    ----------
    x : array_like, any shape
        Finite or not: NaN and infinity pass through unchanged (`quantize` is where they are refused).
        Integers are read as float64, so they must be at most 2**53 in magnitude.
    mode : str
        One of `ROUNDING_MODES`.
    rng : numpy.random.Generator, optional
        Required by ``"stochastic"``, unused otherwise. The draw is one uniform number an element.

    Returns
    -------
    ndarray of x's shape; float16, float32 and float64 keep their type, anything else becomes float64.

    Raises
    ------
    ValueError
        The mode is unknown, or stochastic rounding got no `rng`.
    TypeError
        x is not real numbers.

    Notes
    -----
    In TFLite the rule real -> code is `half_away` (C's `round`, `kernels/internal/cppmath.h`); in PyTorch and
    ONNX Runtime it is `half_even`. All are exact: a value is never moved before its tie is decided.

    References
    ----------
    IEEE 754-2019 section 4.3 names the nearest and directed rules. Stochastic: Gupta et al. 2015, section 3.1.

    Examples
    --------
    >>> [int(v) for v in round_to_int([-2.5, -0.5, 0.5, 2.5], "half_away")]
    [-3, -1, 1, 3]
    >>> [int(v) for v in round_to_int([-2.5, -0.5, 0.5, 2.5], "half_even")]
    [-2, 0, 0, 2]
    """
    values = _as_float(x)
    if mode == "stochastic":
        if rng is None:
            raise ValueError('mode="stochastic" must have an rng, got None. Pass rng=np.random.default_rng(seed).')
        below = np.floor(values)
        # `inf - inf` is NaN and compares False, so an infinity stays what it is; silence its warning only.
        with np.errstate(invalid="ignore"):
            fraction = np.subtract(values, below, dtype=np.float64)
        return np.asarray(below + (rng.random(values.shape) < fraction), dtype=values.dtype)
    if mode not in _RULES:
        raise ValueError(f"mode must be one of {', '.join(ROUNDING_MODES)}, got {mode!r}.")
    with np.errstate(invalid="ignore"):
        return np.asarray(_RULES[mode](values), dtype=values.dtype)


def saturate(values: npt.ArrayLike, qmin: int, qmax: int, dtype: npt.DTypeLike) -> np.ndarray:
    """Clip to [qmin, qmax] while the numbers are still wide, then cast: the only narrowing cast of the package.

    Casting first would wrap: 300 becomes 44 in int8, and the clip that follows sees nothing wrong.

    Parameters
    ----------
    values : array_like of integers, or of floats that hold whole numbers (infinity saturates too)
    qmin, qmax : int
        The ends, both included; both must fit `dtype`.
    dtype : integer dtype of at most 32 bits

    Returns
    -------
    ndarray of `dtype`, a new array.

    Raises
    ------
    ValueError
        An end does not fit the type.
    TypeError
        The values are not numbers, or dtype is not an integer type of at most 32 bits.

    Examples
    --------
    >>> saturate([300, -5, -300], -128, 127, np.int8).tolist()
    [127, -5, -128]
    """
    narrow, wide = np.dtype(dtype), np.asarray(values)
    if narrow.kind not in "iu" or narrow.itemsize > 4:
        raise TypeError(f"dtype must be an integer type of at most 32 bits, got {narrow}. Choose int8, int16 or int32.")
    if wide.dtype.kind not in "iuf":
        raise TypeError(f"values must be whole numbers, got dtype {wide.dtype}. Round first, with round_to_int.")
    info = np.iinfo(narrow)
    if not info.min <= qmin <= qmax <= info.max:
        raise ValueError(
            f"qmin <= qmax must both fit {narrow} ({info.min} to {info.max}), got {qmin} and {qmax}. Choose a wider dtype."
        )
    # A type that holds the values and both ends: int8 values cannot be compared with 255, nor float32 ones with 2**31 - 1.
    wide = wide.astype(np.result_type(wide.dtype, narrow), copy=False)
    return np.asarray(wide.clip(qmin, qmax).astype(narrow))


def _as_float(x: npt.ArrayLike) -> np.ndarray:
    """x as a float array: float16, float32 and float64 are kept, everything else becomes float64."""
    values = np.asarray(x)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"x must hold real numbers, got dtype {values.dtype}. Convert it to float32 or float64 first.")
    if values.dtype.kind == "f" and values.dtype.itemsize <= 8:
        return values
    return values.astype(np.float64)
