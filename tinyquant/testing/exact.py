"""What the numbers should be, in exact rationals and Python ints: the definitions, as literally as they can be written.

No numpy arithmetic and nothing of the rest of the package is used, so an oracle cannot share a fault with the code it judges,
and no float error of ours can fail a right answer. With this module one can round by any named rule, quantize, sum a dot
product and rescale it, each to the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

__all__ = ["EXACT_MODES", "HALF", "NEAREST", "ULP", "clamp", "dequantize", "dot", "quantize", "rescale", "round_to_int",
           "sign_test"]  # fmt: skip

NEAREST = ("half_even", "half_away", "half_up", "half_down")
"""The rules that take the nearest whole number; they differ only on ties."""

EXACT_MODES = (*NEAREST, "floor", "ceil", "toward_zero")
"""Every named rounding rule but the stochastic one."""

HALF = Fraction(1, 2)
"""How far, in steps, a code may be from the number it stands for."""

ULP = Fraction(1, 2**24)
"""Half the gap between float32 numbers, relative: what one float32 rounding may add."""


def round_to_int(x: Fraction, mode: str) -> int:
    """The whole number that ``mode`` makes of x.

    >>> [round_to_int(Fraction(-5, 2), mode) for mode in EXACT_MODES]
    [-2, -3, -2, -3, -3, -2, -2]
    """
    if mode not in EXACT_MODES:
        raise ValueError(f"mode must be one of {', '.join(EXACT_MODES)}, got {mode!r}. Name one of them.")
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


def clamp(value: int, low: int, high: int) -> int:
    """The number within [low, high] nearest to value."""
    return min(max(value, low), high)


def quantize(x: float, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127, mode: str = "half_away") -> int:
    """clip(round(x / scale) + zero_point, qmin, qmax) of the exact quotient.

    >>> quantize(0.75, 0.5, 3), quantize(1e9, 0.5, 3)
    (5, 127)
    """
    return clamp(round_to_int(Fraction(x) / Fraction(scale), mode) + zero_point, qmin, qmax)


def dequantize(code: int, scale: float, zero_point: int) -> Fraction:
    """scale * (code - zero_point).

    >>> dequantize(5, 0.5, 3)
    Fraction(1, 1)
    """
    return Fraction(scale) * (code - zero_point)


def dot(x: Sequence[int], w: Sequence[int], x_zero: int = 0, w_zero: int = 0) -> int:
    """The sum of (x - x_zero) * (w - w_zero).

    >>> dot([100, 100], [100, 100])
    20000
    """
    return sum((a - x_zero) * (b - w_zero) for a, b in zip(x, w))


def rescale(acc: int, multiplier: int, shift: int) -> Fraction:
    """acc * multiplier * 2**(shift - 31), not rounded.

    >>> float(rescale(7984, 1583594044, -9)) < 11.5
    True
    """
    return acc * multiplier * Fraction(2) ** (shift - 31)


def sign_test(only_a: int, only_b: int) -> Fraction:
    """How often a fair coin splits as unevenly as that, either way: 2 * P(at most the smaller), at most 1.

    >>> sign_test(0, 5), sign_test(3, 3)
    (Fraction(1, 16), Fraction(1, 1))
    """
    tosses = only_a + only_b
    tail = sum(math.comb(tosses, k) for k in range(min(only_a, only_b) + 1))
    return min(Fraction(2 * tail, 2**tosses), Fraction(1))
