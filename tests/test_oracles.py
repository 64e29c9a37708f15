"""The oracles themselves, against numbers known from elsewhere: a wrong oracle would bless a wrong package."""

from __future__ import annotations

import decimal
from fractions import Fraction

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(-10_000, 10_000))
def test_nearest_and_directed_rules_are_those_of_the_decimal_module(n: int) -> None:
    """decimal's HALF_UP and HALF_DOWN look at the magnitude, so ours are compared on the side where the two agree."""
    x, d = Fraction(n, 8), decimal.Decimal(n) / 8

    def whole(rule: str) -> int:
        return int(d.quantize(decimal.Decimal(1), rounding=rule))

    assert oracles.round_exact(x, "half_even") == whole(decimal.ROUND_HALF_EVEN) == round(x)
    assert oracles.round_exact(x, "half_away") == whole(decimal.ROUND_HALF_UP)
    assert oracles.round_exact(x, "half_up") == whole(decimal.ROUND_HALF_UP if n > 0 else decimal.ROUND_HALF_DOWN)
    assert oracles.round_exact(x, "half_down") == whole(decimal.ROUND_HALF_DOWN if n > 0 else decimal.ROUND_HALF_UP)
    assert oracles.round_exact(x, "floor") == whole(decimal.ROUND_FLOOR)
    assert oracles.round_exact(x, "ceil") == whole(decimal.ROUND_CEILING)
    assert oracles.round_exact(x, "toward_zero") == whole(decimal.ROUND_DOWN)


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.floats(-2.0**-126, 2.0**-126), st.floats(-70000, 70000)))
def test_rounding_to_a_float_is_the_processors_conversion(x: float) -> None:
    for name, kind in oracles.FORMATS.items():
        with np.errstate(over="ignore"):
            assert oracles.to_float(Fraction(x), kind) == float(np.dtype(name).type(x))


@given(st.fractions())
def test_rounding_a_rational_to_a_double_is_pythons_true_division(x: Fraction) -> None:
    assert oracles.to_float(x, oracles.FLOAT64) == x.numerator / x.denominator


@pytest.mark.parametrize("name", oracles.FORMATS)
def test_ulp_is_numpys_spacing(name: str) -> None:
    scalar = np.dtype(name).type
    for x in (0.0, 1.0, 1.5, 2.0**-20, 1000.25):
        assert oracles.ulp(Fraction(float(scalar(x))), oracles.FORMATS[name]) == float(np.spacing(scalar(x)))


def test_wrapping_keeps_the_low_32_bits() -> None:
    cases = [(0, 0), (2**31 - 1, 2**31 - 1), (2**31, -(2**31)), (2**32, 0), (-1, -1), (-(2**31) - 1, 2**31 - 1)]
    for value, kept in cases:
        assert oracles.wrap_exact(value) == kept
