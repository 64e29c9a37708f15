"""The fixed-point toolkit once more, for one Python int at a time, keeping what it passed through.

`tinyquant.numerics.fixed_point` works on whole arrays and returns the end. To show a reader how a number came about one needs
every number on the way, and to be sure of it one needs a second opinion: nothing here calls the array code, and
ties are decided on magnitudes and Python's unbounded ints instead of masks and int64.

With this module one can follow one rescaling (`fixed_point_product`) and the integer exponential, reciprocal, logistic and
tanh behind SOFTMAX, LOGISTIC and TANH (`exp_word`, `reciprocal_word`, `logistic_word`, `tanh_word`).

References: google/gemmlowp `fixedpoint/fixedpoint.h`; TFLite `kernels/internal/common.cc`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

__all__ = [
    "Product",
    "divide_half_away",
    "divide_half_even",
    "divide_half_up",
    "exp_word",
    "fixed_point_product",
    "high_word",
    "logistic_word",
    "reciprocal_word",
    "tanh_word",
    "word",
]

ONE = 2**31 - 1
"""The largest Q0.31 number, which stands for 1."""

_EXP_FACTORS = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401, 4: 242}


def word(x: int) -> int:
    """What an int32 register holds of x.

    >>> word(2**31), word(-5)
    (-2147483648, -5)
    """
    rest = x % 2**32
    return rest - 2**32 if rest > ONE else rest


def divide_half_away(x: int, divisor: int) -> int:
    """x / divisor to the nearest whole number, ties away from zero; divisor at least 1.

    >>> divide_half_away(5, 2), divide_half_away(-5, 2), divide_half_away(-4, 3)
    (3, -3, -1)
    """
    magnitude = (2 * abs(x) + divisor) // (2 * divisor)
    return magnitude if x >= 0 else -magnitude


def divide_half_up(x: int, divisor: int) -> int:
    """x / divisor to the nearest whole number, ties towards plus infinity; divisor at least 1.

    >>> divide_half_up(5, 2), divide_half_up(-5, 2)
    (3, -2)
    """
    return (2 * x + divisor) // (2 * divisor)


def divide_half_even(x: int, divisor: int) -> int:
    """x / divisor to the nearest whole number, ties to the even neighbour; divisor at least 1.

    >>> divide_half_even(5, 2), divide_half_even(7, 2), divide_half_even(-5, 2)
    (2, 4, -2)
    """
    below, rest = divmod(x, divisor)
    return below + (2 * rest > divisor or (2 * rest == divisor and below % 2 == 1))


def high_word(a: int, b: int) -> int:
    """a * b / 2**31 to the nearest whole number, ties towards plus infinity: the doubling high multiply.

    >>> high_word(3, 2**30), high_word(-3, 2**30)
    (2, -1)
    """
    return min((2 * a * b + 2**31) // 2**32, ONE)


class Product(NamedTuple):
    """One number times M * 2**(shift - 31), and what it passed through.

    Attributes
    ----------
    exact : Fraction
        x * M * 2**(shift - 31), before any rounding.
    shifted : int
        x after the left shift, as the int32 register holds it (x itself without one).
    high : int
        That times M / 2**31, rounded: the first rounding.
    result : int
        That over 2**-shift, rounded: the second rounding (none where the shift is to the left).
    """

    exact: Fraction
    shifted: int
    high: int
    result: int


def fixed_point_product(x: int, multiplier: int, shift: int) -> Product:
    """x * multiplier * 2**(shift - 31) as TFLite Micro computes it, with both roundings in sight.

    Parameters
    ----------
    x : int within int32
    multiplier, shift : int
        As `tinyquant.numerics.fixed_point.quantize_multiplier` makes them.

    Returns
    -------
    Product

    Examples
    --------
    >>> product = fixed_point_product(7984, 1583594044, -9)
    >>> float(product.exact), product.high, product.result      # 11.4991 became a tie, 5888 / 512 = 11.5
    (11.499118815932889, 5888, 12)
    """
    exact = Fraction(x * multiplier) * Fraction(2) ** (shift - 31)
    shifted = word(x * 2 ** max(shift, 0))
    high = high_word(shifted, multiplier)
    return Product(exact, shifted, high, divide_half_away(high, 2 ** max(-shift, 0)))


def exp_word(a: int, integer_bits: int) -> int:
    """exp of a, in Q0.31; a at most 0, in Q(integer_bits).(31 - integer_bits).

    >>> exp_word(0, 5), exp_word(-(2**26), 5)           # 1 and 1/e
    (2147483647, 790015308)
    """
    if a == 0:
        return ONE
    fraction_bits = 31 - integer_bits
    quarter = 2 ** (fraction_bits - 2)
    rest = a % quarter - quarter
    value = _exp_near_zero(max(rest * 2**integer_bits, -(2**31)))
    # What is left is a whole number of quarters: one factor exp(-2**k) for each of its binary digits.
    for k in range(-2, integer_bits):
        if (rest - a) // 2 ** (fraction_bits + k) % 2:
            value = high_word(value, _EXP_FACTORS[k])
    return value


def _exp_near_zero(t: int) -> int:
    """exp of t in [-1/4, 0), Q0.31: a Taylor polynomial around -1/8."""
    x = t + 2**28
    square = high_word(x, x)
    fourth_over_4 = divide_half_away(high_word(square, square), 4)
    third = high_word(fourth_over_4 + high_word(square, x), 715827883)
    tail = divide_half_away(third + square, 2)
    return 1895147668 + high_word(1895147668, x + tail)


def _newton(a: int) -> int:
    """2 / (1 + a) in Q2.29, a in [0, 1) Q0.31."""
    half = (a + 2**31) // 2
    x = 1515870810 + high_word(half, -1010580540)
    for _ in range(3):
        x += _clip(4 * high_word(x, 2**29 - high_word(half, x)))
    return x


def _clip(x: int) -> int:
    """x within int32."""
    return min(max(x, -(2**31)), ONE)


def reciprocal_word(a: int) -> int:
    """1 / (1 + a) for a in [0, 1), both Q0.31.

    >>> reciprocal_word(0), reciprocal_word(2**30)
    (2147483647, 1431655762)
    """
    return _clip(2 * _newton(a))


def logistic_word(a: int) -> int:
    """1 / (1 + exp(-a)), Q4.27 to Q0.31.

    >>> logistic_word(0), logistic_word(2**27)
    (1073741824, 1569936226)
    """
    if a == 0:
        return 2**30
    right = reciprocal_word(exp_word(-abs(a), 4))
    return right if a > 0 else ONE - right


def tanh_word(a: int) -> int:
    """tanh(a), Q4.27 to Q0.31.

    >>> tanh_word(0), tanh_word(-(2**27))
    (0, -1635510876)
    """
    if a == 0:
        return 0
    # The same raw number read as Q5.26 is 2a, which is what (1 - exp(-2a)) / (1 + exp(-2a)) wants.
    right = _clip(4 * (_newton(exp_word(-abs(a), 5)) - 2**29))
    return right if a > 0 else -right
