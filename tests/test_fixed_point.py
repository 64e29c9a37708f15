"""Laws of numerics/fixed_point.py: multipliers and rescaling, against Python ints, exact rationals and recorded C++ results."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import example, given
from hypothesis import strategies as st

from tinyquant.numerics.fixed_point import (
    REQUANTIZE_MODES,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    requantize,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
    wrap_int32,
)

MODES = ["double_rounding", "single_rounding", "exact"]
GOLDEN = Path(__file__).parent / "data" / "golden" / "scalar.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    """Results of the C++ of TFLite and gemmlowp, compiled with g++."""
    with np.load(GOLDEN, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def fits(acc: int, multiplier: int, shift: int, mode: str) -> bool:
    """Whether `requantize` has an answer: every int32 on the way holds its value."""
    before = mode != "double_rounding" or oracles.fits_int32(acc << max(shift, 0))
    return before and oracles.fits_int32(oracles.rescale_exact(acc, multiplier, shift, mode))


@st.composite
def rescalings(draw: st.DrawFn) -> tuple[int, int, int]:
    """(acc, multiplier, shift) that fit int32 in every mode."""
    multiplier, shift = draw(strategies.multipliers), draw(strategies.shifts)
    # acc * 2**shift must fit; |multiplier| * 2**-31 is below 1.
    acc = draw(strategies.int32)
    acc = acc if fits(acc, 2**30, shift, "double_rounding") else acc >> max(shift, 0)
    return acc, multiplier, shift


@st.composite
def ties(draw: st.DrawFn) -> tuple[int, int, int]:
    """(acc, 2**30, shift) with acc * 2**(shift - 1) a whole number and a half, of either sign."""
    right = draw(st.integers(0, 24))
    return (2 * draw(st.integers(-64, 63)) + 1) << right, 2**30, -right


# The multiplier


@given(real=strategies.real_multipliers)
@example(real=0.25)
@example(real=1.0)
@example(real=1 - 2.0**-53)
@example(real=(2**30 + 0.5) / 2**31)
@example(real=-(2.0**-32))
def test_the_multiplier_is_the_rounded_mantissa(real: float) -> None:
    """real = f 2**e, 1/2 <= |f| < 1: (half_away(f 2**31), e); (2**30, e + 1) when that is 2**31; (0, 0) when e < -31."""
    pair = quantize_multiplier(real)
    assert pair == oracles.multiplier_exact(Fraction(real))
    assert [type(n) for n in pair] == [int, int]


@given(real=strategies.real_multipliers)
def test_the_multiplier_is_normalised_and_within_two_to_the_minus_31(real: float) -> None:
    """2**30 <= |M| < 2**31, |e| <= 31, |M 2**(e-31) - real| <= 2**-31 |real|; or it is (0, 0), and |real| < 2**-32."""
    multiplier, shift = quantize_multiplier(real)
    if (multiplier, shift) == (0, 0):
        assert abs(real) < 2.0**-32
        return
    assert 2**30 <= abs(multiplier) < 2**31
    assert -31 <= shift <= 31
    exact = Fraction(real)
    assert abs(multiplier * Fraction(2) ** (shift - 31) - exact) <= abs(exact) / 2**31


def test_multipliers_known_by_heart() -> None:
    """1.0 is (2**30, 1), since 2**31 does not fit; 0.25 is (2**30, -1), one shift to the right of 0.5."""
    assert quantize_multiplier(1.0) == (2**30, 1)
    assert quantize_multiplier(0.25) == (2**30, -1)
    assert quantize_multiplier(-0.5) == (-(2**30), 0)
    assert quantize_multiplier(0.0) == quantize_multiplier(-0.0) == (0, 0)


def test_the_flush_to_zero_begins_just_below_two_to_the_minus_32() -> None:
    """2**-32 is (2**30, -31), the last; its lower neighbours round up to it until half a unit of M, 2**-64, is missing."""
    assert quantize_multiplier(2.0**-32) == (2**30, -31)
    assert quantize_multiplier(2.0**-32 - 2.0**-64 / 2) == (2**30, -31)
    assert quantize_multiplier(2.0**-32 - 2.0**-63) == (0, 0)
    assert quantize_multiplier(-(2.0**-33)) == (0, 0)


def test_what_needs_a_left_shift_of_32_is_refused() -> None:
    """The largest real that still fits rounds to (2**31 - 1, 31)."""
    assert quantize_multiplier(2.0**31 - 0.75) == (2**31 - 1, 31)
    for real in (2.0**31 - 0.5, 2.0**31, -(2.0**31), 1e300):
        with pytest.raises(ValueError, match="real must be below 2.*31 in magnitude, got .* Check the scales it is made of"):
            quantize_multiplier(real)


@pytest.mark.parametrize(("real", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "-infinity")])
def test_a_multiplier_that_is_not_finite_is_refused_by_name(real: float, name: str) -> None:
    for value in (real, np.array([1.0, real])):
        with pytest.raises(ValueError, match=f"real must be finite, got {name}. Check the scales it is made of"):
            quantize_multiplier(value)


@given(reals=st.lists(strategies.real_multipliers, max_size=5))
def test_an_array_gives_one_pair_a_channel(reals: list[float]) -> None:
    multiplier, shift = quantize_multiplier(np.array(reals))
    assert multiplier.dtype == shift.dtype == np.int32
    assert multiplier.shape == shift.shape == (len(reals),)
    assert list(zip(multiplier.tolist(), shift.tolist(), strict=True)) == [quantize_multiplier(r) for r in reals]


def test_recorded_multipliers(golden: dict[str, np.ndarray]) -> None:
    """TFLite's QuantizeMultiplier, 1102 reals; and 500 products of three scales formed in float64."""
    multiplier, shift = quantize_multiplier(golden["quantize_multiplier_real"])
    np.testing.assert_array_equal(multiplier, golden["quantize_multiplier_m"])
    np.testing.assert_array_equal(shift, golden["quantize_multiplier_shift"])
    x, w, y = (golden[f"scales_{name}"].astype(np.float64) for name in ("input", "weights", "output"))
    multiplier, shift = quantize_multiplier(x * w / y)
    np.testing.assert_array_equal(multiplier, golden["conv_multiplier"])
    np.testing.assert_array_equal(shift, golden["conv_shift"])


# The two steps


@given(pairs=st.lists(st.tuples(strategies.int32, strategies.int32)))
@example(pairs=[(-(2**31), -(2**31)), (-(2**31), 2**31 - 1), (1, 2**30), (-1, 2**30), (3, 2**30), (-3, 2**30)])
def test_the_doubling_high_multiply_is_the_rounded_high_half(pairs: list[tuple[int, int]]) -> None:
    """floor((ab + 2**30) / 2**31): nearest, ties up; the one product that does not fit saturates."""
    a, b = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    expected = [oracles.high_mul_exact(*pair) for pair in pairs]
    assert saturating_rounding_doubling_high_mul(a, b).tolist() == expected
    assert saturating_rounding_doubling_high_mul(a.astype(np.int32), b.astype(np.int32)).tolist() == expected


@given(pairs=st.lists(st.tuples(strategies.int32, st.integers(0, 31))))
@example(pairs=[(5, 1), (-5, 1), (6, 2), (-6, 2), (-(2**31), 31), (2**31 - 1, 31), (-(2**30), 31), (2**30, 31), (7, 0)])
def test_the_rounding_shift_is_the_quotient_rounded_away_on_ties(pairs: list[tuple[int, int]]) -> None:
    """x / 2**n to nearest, ties away from zero."""
    x, n = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    expected = [oracles.divide_by_pot_exact(*pair) for pair in pairs]
    assert rounding_divide_by_pot(x, n).tolist() == expected
    assert rounding_divide_by_pot(x.astype(np.int32), n).tolist() == expected


@given(values=st.lists(st.integers(-(2**62), 2**62)))
@example(values=[2**31, -(2**31) - 1, 2**32, -(2**32), 2**31 - 1])
def test_wrapping_keeps_the_low_32_bits(values: list[int]) -> None:
    assert wrap_int32(np.array(values, dtype=np.int64)).tolist() == [oracles.wrap_exact(v) for v in values]


@given(rows=st.lists(st.tuples(strategies.int32, strategies.multipliers, strategies.shifts)))
def test_the_unchecked_form_wraps_the_left_shift_as_the_target_does(rows: list[tuple[int, int, int]]) -> None:
    """RDP(SRDHM(wrap32(x << left), M), right) for any int32 x, whatever overflows."""
    x, m, e = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    expected = [
        oracles.divide_by_pot_exact(oracles.high_mul_exact(oracles.wrap_exact(a << max(s, 0)), b), max(-s, 0)) for a, b, s in rows
    ]
    assert multiply_by_quantized_multiplier(x, m, e).tolist() == expected
    # From int32 arrays too: the left shift must not happen in 32 bits, where numpy would wrap by other rules.
    assert multiply_by_quantized_multiplier(x.astype(np.int32), m.astype(np.int32), e.astype(np.int32)).tolist() == expected


def test_recorded_steps_of_the_c_sources(golden: dict[str, np.ndarray]) -> None:
    """SaturatingRoundingDoublingHighMul, RoundingDivideByPOT and MultiplyByQuantizedMultiplier, with extreme pairs and ties."""
    g = golden
    np.testing.assert_array_equal(saturating_rounding_doubling_high_mul(g["srdhm_a"], g["srdhm_b"]), g["srdhm_result"])
    np.testing.assert_array_equal(rounding_divide_by_pot(g["rdivpot_x"], g["rdivpot_exponent"]), g["rdivpot_result"])
    np.testing.assert_array_equal(
        multiply_by_quantized_multiplier(g["mbqm_x"], g["mbqm_multiplier"], g["mbqm_shift"]), g["mbqm_result"]
    )


# requantize


def test_the_modes_have_names_and_the_first_is_the_default() -> None:
    assert list(REQUANTIZE_MODES) == MODES
    assert requantize(7984, 1583594044, -9) == requantize(7984, 1583594044, -9, mode="double_rounding") == 12


@pytest.mark.parametrize("mode", MODES)
@given(rows=st.lists(st.one_of(rescalings(), ties()), max_size=6))
@example(rows=[(7984, 1583594044, -9)])
@example(rows=[(4, 2**30, -1), (2, 2**30, -1), (-2, 2**30, -1), (-6, 2**30, -1)])
@example(rows=[(-(2**31), -(2**31) + 1, 0), (2**31 - 1, 2**31 - 1, 0), (-(2**31), 2**31 - 1, 0), (1, 2**31 - 1, 31)])
def test_requantize_is_its_definition_in_exact_rationals(rows: list[tuple[int, int, int]], mode: str) -> None:
    """double_rounding: half_away(half_up(acc 2**left M / 2**31) / 2**right). single_rounding: half_up(acc M 2**(shift-31)).
    exact: half_away of the same."""
    rows = [row for row in rows if fits(*row, mode)]
    acc, multiplier, shift = np.array(rows, dtype=np.int32).reshape(-1, 3).T
    out = requantize(acc, multiplier, shift, mode=mode)
    assert out.tolist() == [oracles.rescale_exact(*row, mode) for row in rows]
    assert out.dtype == np.int32


@pytest.mark.parametrize("mode", MODES)
@given(row=st.tuples(strategies.int32, strategies.multipliers, strategies.shifts))
@example(row=(2**30, 2**30, 1))
@example(row=(-(2**31), 2**30, 1))
@example(row=(-(2**30), 2**30, 2))
@example(row=(2**31 - 1, 2**31 - 1, 1))
@example(row=(-(2**31), -(2**31) + 1, 1))
def test_requantize_refuses_exactly_what_does_not_fit_int32(row: tuple[int, int, int], mode: str) -> None:
    """An answer when the result, and for double rounding also acc << shift, is an int32; otherwise ValueError."""
    if fits(*row, mode):
        assert requantize(*row, mode=mode) == oracles.rescale_exact(*row, mode)
        return
    with pytest.raises(ValueError, match=rf"must fit int32, got acc={row[0]}, which overflows. Use a smaller multiplier"):
        requantize(*row, mode=mode)


def test_the_one_accumulator_that_overflows_is_named() -> None:
    with pytest.raises(ValueError, match=r"the result must fit int32, got acc=-2147483648, which overflows"):
        requantize([5, -(2**31), 7], 2**30, [1, 2, 1], mode="exact")
    with pytest.raises(ValueError, match=r"acc << shift must fit int32, got acc=1073741824, which overflows"):
        requantize([5, 2**30, 7], 2**30, 1)


@given(row=st.one_of(rescalings(), ties()))
def test_double_and_single_rounding_differ_by_at_most_one(row: tuple[int, int, int]) -> None:
    """|double - single| <= 1: the first rounding moves the number by at most 2**-n / 2, n >= 1 the shift, so by 1/4 at most."""
    results = {mode: oracles.rescale_exact(*row, mode) for mode in MODES if fits(*row, mode)}
    got = {mode: int(requantize(*row, mode=mode)) for mode in results}
    assert max(got.values()) - min(got.values()) <= 1
    if row[2] >= 0 and {"double_rounding", "single_rounding"} <= set(got):
        assert got["double_rounding"] == got["single_rounding"], "without a right shift there is only one rounding"


@given(row=st.one_of(rescalings(), ties()))
def test_single_and_exact_differ_only_on_negative_ties(row: tuple[int, int, int]) -> None:
    """Ties up against ties away from zero: exact = single - 1 on a negative tie, else they are equal."""
    if fits(*row, "single_rounding") and fits(*row, "exact"):
        real = row[0] * row[1] * Fraction(2) ** (row[2] - 31)
        negative_tie = real < 0 and real % 1 == oracles.HALF
        assert requantize(*row, mode="single_rounding") - requantize(*row, mode="exact") == negative_tie


@given(row=st.one_of(rescalings(), ties()), mode=st.sampled_from(MODES))
def test_requantize_is_the_nearest_code_and_double_rounding_within_three_quarters(row: tuple[int, int, int], mode: str) -> None:
    """|result - acc M 2**(shift-31)| <= 1/2 with one rounding; with two, 1/2 of the second and at most 1/4 of the first."""
    if fits(*row, mode):
        real = row[0] * row[1] * Fraction(2) ** (row[2] - 31)
        bound = Fraction(3, 4) if mode == "double_rounding" and row[2] < 0 else oracles.HALF
        assert abs(int(requantize(*row, mode=mode)) - real) <= bound


def test_eleven_and_a_half_less_a_thousandth_becomes_twelve_when_rounded_twice() -> None:
    """tensorflow/tensorflow#25087: 7984 * 1583594044 * 2**-40 = 11.499..., which is 12, 11 and 11."""
    real = Fraction(7984 * 1583594044, 2**40)
    assert Fraction(11_499, 1000) < real < Fraction(23, 2)
    assert [int(requantize(7984, 1583594044, -9, mode=mode)) for mode in MODES] == [12, 11, 11]


def test_a_quarter_becomes_one_when_rounded_twice() -> None:
    """google/ruy#227: 1 * 0.25 is first the tie 0.5, which goes up to 1, then again 0.5, which goes away to 1."""
    assert [int(requantize(1, *quantize_multiplier(0.25), mode=mode)) for mode in MODES] == [1, 0, 0]


def test_minus_two_and_a_half_goes_three_ways() -> None:
    """-2.5 as -5 / 2: the multiply gives -2 (up); through the shift -10 / 4 gives -3 (away); one rounding -2; exact -3."""
    assert [int(requantize(-5, 2**30, 0, mode=mode)) for mode in MODES] == [-2, -2, -3]
    assert [int(requantize(-10, 2**30, -1, mode=mode)) for mode in MODES] == [-3, -2, -3]


@pytest.mark.parametrize("mode", MODES)
def test_multiplier_and_shift_go_along_the_last_axis(mode: str) -> None:
    acc = np.arange(-12, 12, dtype=np.int32).reshape(2, 3, 4) * 1000
    multiplier = np.array([2**30, 1583594044, -(2**30), 0], np.int32)
    shift = np.array([-9, -5, 0, 0], np.int32)
    out = requantize(acc, multiplier, shift, mode=mode)
    assert out.shape == acc.shape
    for c in range(4):
        np.testing.assert_array_equal(out[..., c], requantize(acc[..., c], int(multiplier[c]), int(shift[c]), mode=mode))
    np.testing.assert_array_equal(requantize(acc, 2**30, -3, mode=mode), requantize(acc, [2**30] * 4, [-3] * 4, mode=mode))
    assert requantize(100, multiplier, shift, mode=mode).shape == (4,)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)])
def test_shapes_are_kept_empty_ones_too(shape: tuple[int, ...], mode: str) -> None:
    out = requantize(np.zeros(shape, np.int32), 2**30, 0, mode=mode)
    assert isinstance(out, np.ndarray)
    assert (out.shape, out.dtype) == (shape, np.int32)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("mode", MODES)
def test_every_integer_type_is_taken(dtype: type, mode: str) -> None:
    assert requantize(np.array([100], dtype), np.int64(2**30), np.int8(0), mode=mode).tolist() == [50]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1.0], 2**30, 0), TypeError, "acc must be integers, got dtype float64. Cast whole numbers to int32"),
        (([1], 0.5, 0), TypeError, "multiplier must be integers, got dtype float64"),
        (([1], 2**30, 0.0), TypeError, "shift must be integers, got dtype float64"),
        (([True], 2**30, 0), TypeError, "acc must be integers, got dtype bool"),
        (([2**31], 2**30, 0), ValueError, r"acc must lie in \[-2147483648, 2147483647\], got 2147483648. This is"),
        (([0, -(2**31) - 1], 2**30, 0), ValueError, "acc must lie in .*, got -2147483649"),
        ((np.array([2**64 - 1], np.uint64), 2**30, 0), ValueError, "acc must lie in .*, got 18446744073709551615"),
        (([1], 2**31, 0), ValueError, "multiplier must lie in .*, got 2147483648"),
        (([1], -(2**31), 0), ValueError, r"multiplier must lie in \[-2147483647, 2147483647\], got -2147483648"),
        (([1], 2**30 - 1, 0), ValueError, r"multiplier must be 0 or at least 2\*\*30 in magnitude, got 1073741823. Make the"),
        (([1], [0, 2**30, -5], 0), ValueError, r"multiplier must be 0 or at least 2\*\*30 in magnitude, got -5"),
        (([1], 2**30, 32), ValueError, r"shift must lie in \[-31, 31\], got 32"),
        (([1], 2**30, -32), ValueError, r"shift must lie in \[-31, 31\], got -32"),
    ],
)
def test_arguments_outside_their_ranges_are_refused(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    for mode in MODES:
        with pytest.raises(error, match=message):
            requantize(*arguments, mode=mode)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode must be one of double_rounding, single_rounding, exact, got 'nearest'"):
        requantize([1], 2**30, 0, mode="nearest")


def test_the_arguments_are_left_as_they_were() -> None:
    acc = np.array([7984, -5], np.int32)
    acc.flags.writeable = False
    for mode in MODES:
        assert not np.shares_memory(requantize(acc, 2**30, 0, mode=mode), acc)
    assert acc.tolist() == [7984, -5]
