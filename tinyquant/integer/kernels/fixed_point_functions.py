"""exp, 1/(1+x), logistic and tanh with integers only, as gemmlowp computes them.

Numbers are raw int32 in a "Qm.n" format: m bits before the point, n = 31 - m after, real = raw * 2**-n. So Q0.31 holds
[-1, 1), Q5.26 holds [-32, 32). The product of a Qa and a Qb number, taken with the doubling high multiply, is a Q(a+b)
number. Every function here takes and returns int64 arrays that hold such int32 values.

With this module one can compute exp of a negative number (`exp_on_negative_values`), `reciprocal` of 1 + a,
`logistic` and `tanh`, to about 2**-23, and always the same bits on every machine.

References: google/gemmlowp `fixedpoint/fixedpoint.h`.
"""

from __future__ import annotations

import numpy as np

from tinyquant.numerics.fixed_point import rounding_divide_by_pot, saturating_rounding_doubling_high_mul

__all__ = ["exp_on_negative_values", "logistic", "reciprocal", "tanh"]

ONE = 2**31 - 1
"""The largest Q0.31 number stands for 1."""

EXP_OF_MINUS_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-2**k) in Q0.31 for k = -2, -1, 0, 1, 2, 3, 4."""


def exp_on_negative_values(a: np.ndarray, integer_bits: int) -> np.ndarray:
    """exp(a) for a <= 0, in Q0.31.

    a is split into a remainder in [-1/4, 0) and a multiple of 1/4. The remainder goes through a polynomial; each binary
    digit of the multiple contributes a factor exp(-2**k) from a table, multiplied in where the digit is set.

    Parameters
    ----------
    a : integers, at most 0, in Q(integer_bits).(31 - integer_bits)
    integer_bits : int, 4 or 5

    Returns
    -------
    int64 ndarray of Q0.31 values in [0, 2**31 - 1]; a = 0 gives 2**31 - 1

    Examples
    --------
    >>> exp_on_negative_values(np.array([0, -(2**26)]), 5).tolist()         # e**-1 * 2**31 is 790015084.4
    [2147483647, 790015308]
    """
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    remainder = (a & (quarter - 1)) - quarter
    result = _exp_on_minus_quarter_to_zero(_saturate(remainder << integer_bits))
    multiple = remainder - a
    for k, factor in zip(range(-2, integer_bits), EXP_OF_MINUS_POWERS):
        digit = (multiple >> (fraction_bits + k)) & 1
        result = np.where(digit, saturating_rounding_doubling_high_mul(result, factor), result)
    return np.where(a == 0, ONE, result)


def _exp_on_minus_quarter_to_zero(t: np.ndarray) -> np.ndarray:
    """exp(t) for t in [-1/4, 0), Q0.31 to Q0.31: a Taylor polynomial of degree 4 around -1/8."""
    product = saturating_rounding_doubling_high_mul
    exp_minus_eighth, third = 1895147668, 715827883
    x = t + (1 << 28)
    x2 = product(x, x)
    x3, x4 = product(x2, x), product(x2, x2)
    # x**2/2 + x**3/6 + x**4/24 as ((x**4/4 + x**3) / 3 + x**2) / 2
    tail = rounding_divide_by_pot(product(rounding_divide_by_pot(x4, 2) + x3, third) + x2, 1)
    return exp_minus_eighth + product(exp_minus_eighth, x + tail)


def _newton_reciprocal(a: np.ndarray) -> np.ndarray:
    """2 / (1 + a) in Q2.29 for a in [0, 1) Q0.31: three Newton steps x += x (1 - d x) on d = (1 + a) / 2."""
    product = saturating_rounding_doubling_high_mul
    half_denominator = (a + ONE + 1) >> 1
    # 48/17 - 32/17 d, the best straight line on [1/2, 1], in Q2.29.
    x = 1515870810 + product(half_denominator, -1010580540)
    for _ in range(3):
        error = (1 << 29) - product(half_denominator, x)
        x = x + _saturate(product(x, error) << 2)
    return x


def reciprocal(a: np.ndarray) -> np.ndarray:
    """1 / (1 + a) for a in [0, 1), Q0.31 to Q0.31.

    >>> reciprocal(np.array([0, 2**30])).tolist()               # 2/3 * 2**31 is 1431655765.3
    [2147483647, 1431655762]
    """
    return _saturate(_newton_reciprocal(a) << 1)


def logistic(a: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-a)), Q4.27 to Q0.31; the left half is one minus the right half.

    >>> logistic(np.array([0, 2**27, -(2**27)])).tolist()       # at 0, 1 and -1
    [1073741824, 1569936226, 577547421]
    """
    positive = reciprocal(exp_on_negative_values(-np.abs(a), 4))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, ONE - positive))


def tanh(a: np.ndarray) -> np.ndarray:
    """(1 - e) / (1 + e) with e = exp(-2|a|) and the sign of a, Q4.27 to Q0.31.

    Reading the same raw number as Q5.26 instead of Q4.27 doubles it, which costs nothing.

    >>> tanh(np.array([0, 2**27, -(2**27)])).tolist()
    [0, 1635510876, -1635510876]
    """
    # (1 - e) / (1 + e) is 2 / (1 + e) - 1; the shift by 2 goes from Q2.29 to Q0.31.
    positive = _saturate((_newton_reciprocal(exp_on_negative_values(-np.abs(a), 5)) - (1 << 29)) << 2)
    return np.where(a == 0, 0, np.where(a > 0, positive, -positive))


def _saturate(x: np.ndarray) -> np.ndarray:
    """Clamped to int32, still int64."""
    return np.clip(x, -(1 << 31), ONE)
