"""What the numbers should be, in exact rationals and Python ints: the definitions, as literally as they can be written.

Nothing of the package and no numpy arithmetic is used here, so that an oracle cannot share a fault with the code it judges.
With this module one can round by any named rule, round to an IEEE float, quantize, dequantize, choose a scale and zero point,
and rescale by a fixed-point multiplier, each without a rounding that is not written down.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

HALF = Fraction(1, 2)
INFINITY = float("inf")

NEAREST = ("half_even", "half_away", "half_up", "half_down")
EXACT_MODES = (*NEAREST, "floor", "ceil", "toward_zero")
"""Every rounding rule but the stochastic one."""


def round_exact(x: Fraction, mode: str) -> int:
    """The whole number that ``mode`` makes of x."""
    below = math.floor(x)
    rest = x - below
    if rest == 0:
        return below
    if mode in NEAREST and rest != HALF:
        return below + (rest > HALF)
    up = {
        "half_even": below % 2 == 1,
        "half_away": x > 0,
        "half_up": True,
        "half_down": False,
        "floor": False,
        "ceil": True,
        "toward_zero": x < 0,
    }[mode]
    return below + up


class Format(NamedTuple):
    """An IEEE binary format: bits of the significand, exponents of the smallest and largest normal numbers."""

    precision: int
    lowest: int
    highest: int


FLOAT16 = Format(11, -14, 15)
FLOAT32 = Format(24, -126, 127)
FLOAT64 = Format(53, -1022, 1023)
FORMATS = {"float16": FLOAT16, "float32": FLOAT32, "float64": FLOAT64}


def exponent_of(x: Fraction) -> int:
    """The e with 2**e <= abs(x) < 2**(e + 1); x is not 0."""
    e = abs(x.numerator).bit_length() - x.denominator.bit_length()
    return e if Fraction(2) ** e <= abs(x) else e - 1


def ulp(x: Fraction, kind: Format) -> Fraction:
    """The gap between the floats of that format around x."""
    e = kind.lowest if x == 0 else max(exponent_of(x), kind.lowest)
    return Fraction(2) ** (e - kind.precision + 1)


def to_float(x: Fraction, kind: Format) -> Fraction | float:
    """x rounded to the format, to nearest, ties to even; subnormals included; ``inf`` or ``-inf`` when too large."""
    step = ulp(x, kind)
    rounded = round_exact(x / step, "half_even") * step
    if abs(rounded) >= Fraction(2) ** (kind.highest + 1):
        return INFINITY if rounded > 0 else -INFINITY
    return rounded


def finite_float(x: Fraction, kind: Format) -> Fraction:
    """`to_float` of a number that is known to fit."""
    rounded = to_float(x, kind)
    assert isinstance(rounded, Fraction)
    return rounded


def clamp(value: int | float, low: int, high: int) -> int:
    """The nearest number within [low, high]."""
    return int(min(max(value, low), high))


def round_quotient_exact(x: Fraction, scale: Fraction, kind: Format, mode: str) -> int | float:
    """round(fl(x / fl(scale))), both floats of the format; plus or minus ``inf`` when the quotient overflows."""
    quotient = to_float(x / finite_float(scale, kind), kind)
    return round_exact(quotient, mode) if isinstance(quotient, Fraction) else quotient


def quantize_exact(x: Fraction, scale: Fraction, zero: int, qmin: int, qmax: int, kind: Format, mode: str = "half_away") -> int:
    """clip(round(fl(x / fl(scale))) + zero, qmin, qmax)."""
    return clamp(round_quotient_exact(x, scale, kind, mode) + zero, qmin, qmax)


def dequantize_exact(code: int, scale: Fraction, zero: int) -> Fraction | float:
    """fl32(fl64(scale * (code - zero)))."""
    return to_float(finite_float(scale * (code - zero), FLOAT64), FLOAT32)


SMALLEST_SCALE = Fraction(2) ** -126


def code_range(bits: int, signed: bool, narrow_range: bool) -> tuple[int, int]:
    """The smallest and the largest code."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return low + narrow_range, high


def choose_exact(
    rmin: Fraction,
    rmax: Fraction,
    *,
    bits: int = 8,
    signed: bool = True,
    symmetric: bool = False,
    narrow_range: bool = False,
    power_of_two: bool = False,
) -> tuple[Fraction, int]:
    """Scale and zero point for a range, with every rounding written down.

    Scale: fl32(fl64(fl64(rmax - rmin) / (qmax - qmin))), symmetric fl32(fl64(max(|rmin|, |rmax|) / qmax)); at least 2**-126;
    1 for an empty range; before fl32, the next power of two if asked for. Zero point: half_away(qmin - rmin / s) with the exact
    s = (rmax - rmin) / (qmax - qmin), or the actual s where a power of two or 2**-126 has taken its place.
    """
    qmin, qmax = code_range(bits, signed, narrow_range)
    low, high = min(rmin, Fraction(0)), max(rmax, Fraction(0))
    if low == high:
        return Fraction(1), clamp(0, qmin, qmax)
    if symmetric:
        exact = max(-low, high) / qmax
        wide = finite_float(exact, FLOAT64)
    else:
        exact = (high - low) / (qmax - qmin)
        wide = finite_float(finite_float(high - low, FLOAT64) / (qmax - qmin), FLOAT64)
    if wide <= SMALLEST_SCALE:
        exact = wide = SMALLEST_SCALE
    if power_of_two:
        e = exponent_of(wide)
        exact = wide = wide if wide == Fraction(2) ** e else Fraction(2) ** (e + 1)
    zero = 0 if symmetric else clamp(round_exact(qmin - low / exact, "half_away"), qmin, qmax)
    return finite_float(wide, FLOAT32), zero


def multiplier_exact(real: Fraction) -> tuple[int, int]:
    """(M, e) with real ~ M * 2**(e - 31): M = half_away(f * 2**31) of real = f * 2**e, 1/2 <= |f| < 1; (0, 0) below 2**-32."""
    if real == 0:
        return 0, 0
    e = exponent_of(real) + 1
    m = round_exact(real / Fraction(2) ** e * 2**31, "half_away")
    if abs(m) == 2**31:
        m, e = m // 2, e + 1
    return (m, e) if e >= -31 else (0, 0)


def fits_int32(value: int) -> bool:
    """Whether a signed 32-bit word holds it."""
    return -(2**31) <= value < 2**31


def wrap_exact(value: int) -> int:
    """What is left in a signed 32-bit word."""
    return int.from_bytes((value % 2**32).to_bytes(4, "little"), "little", signed=True)


def high_mul_exact(a: int, b: int) -> int:
    """2ab / 2**32 rounded to nearest, ties up; 2**31 - 1 where that would be 2**31."""
    return min(round_exact(Fraction(a * b, 2**31), "half_up"), 2**31 - 1)


def divide_by_pot_exact(x: int, exponent: int) -> int:
    """x / 2**exponent rounded to nearest, ties away from zero."""
    return round_exact(Fraction(x, 2**exponent), "half_away")


def rescale_exact(acc: int, multiplier: int, shift: int, mode: str) -> int:
    """acc * multiplier * 2**(shift - 31) by one of the three rules, in as many bits as it takes."""
    if mode == "double_rounding":
        return divide_by_pot_exact(high_mul_exact(acc << max(shift, 0), multiplier), max(-shift, 0))
    real = acc * multiplier * Fraction(2) ** (shift - 31)
    return round_exact(real, {"single_rounding": "half_up", "exact": "half_away"}[mode])
