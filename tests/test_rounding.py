"""Laws of numerics/rounding.py: every rule against exact rationals, and the one cast that narrows."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import oracles
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracles import EXACT_MODES

from tinyquant.numerics.rounding import ROUNDING_MODES, round_to_int, saturate

FLOATS = [np.float16, np.float32, np.float64]
INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32]

near_ties = st.integers(-(2**12), 2**12).map(lambda n: n / 2)
"""Whole numbers and ties, small enough for every float type."""


@st.composite
def floats_around_ties(draw: st.DrawFn) -> np.ndarray:
    """An array of one float type: anything finite, ties, and the floats next to ties."""
    scalar = draw(st.sampled_from(FLOATS))
    width = np.dtype(scalar).itemsize * 8
    tie = near_ties.map(scalar)
    beside = st.tuples(tie, st.sampled_from([-np.inf, np.inf])).map(lambda p: np.nextafter(p[0], scalar(p[1])))
    anything = st.floats(allow_nan=False, allow_infinity=False, width=width).map(scalar)
    return np.array(draw(st.lists(st.one_of(tie, beside, anything), max_size=8)), dtype=scalar)


def test_the_modes_are_the_seven_exact_rules_and_the_stochastic_one() -> None:
    assert set(ROUNDING_MODES) == {*EXACT_MODES, "stochastic"}
    assert len(ROUNDING_MODES) == 8


@pytest.mark.parametrize("mode", EXACT_MODES)
@given(x=floats_around_ties())
@example(x=np.array([0.49999997, -0.49999997, 8388609.0, 4194303.5, 1e-45, 3.4e38], dtype=np.float32))
@example(x=np.array([0.49999999999999994, -0.49999999999999994, 4503599627370497.0, 2251799813685247.5, 5e-324, -1e-30]))
@example(x=np.array([0.49976, 1025.0, 1023.5, 65504.0, 6e-8], dtype=np.float16))
def test_each_mode_is_its_rule_in_exact_rationals(x: np.ndarray, mode: str) -> None:
    """round_to_int(x, mode) = the whole number that the rule names, for the exact value of x."""
    assert [int(v) for v in round_to_int(x, mode)] == [oracles.round_exact(Fraction(float(v)), mode) for v in x]


@pytest.mark.parametrize("mode", EXACT_MODES)
def test_every_half_precision_number_is_rounded_exactly(mode: str) -> None:
    """All 2**16 bit patterns but infinities and NaN, in integers: a float16 is n * 2**-24.

    below = n >> 24, rest = n mod 2**24; a tie is rest = 2**23."""
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)]
    n = np.array(x.astype(np.float64) * 2.0**24, dtype=np.int64)
    below, rest, tie = n >> 24, n & (2**24 - 1), 2**23
    up = {
        "half_even": (rest > tie) | ((rest == tie) & (below % 2 == 1)),
        "half_away": (rest > tie) | ((rest == tie) & (n > 0)),
        "half_up": rest >= tie,
        "half_down": rest > tie,
        "floor": rest < 0,
        "ceil": rest > 0,
        "toward_zero": (rest > 0) & (n < 0),
    }[mode]
    np.testing.assert_array_equal(round_to_int(x, mode).astype(np.int64), below + up)


@pytest.mark.parametrize("mode", EXACT_MODES)
@pytest.mark.parametrize("scalar", [np.float32, np.float64])
def test_the_floats_around_every_tie_are_rounded_exactly_up_to_where_floats_are_whole(mode: str, scalar: type) -> None:
    """k + 1/2 and its two neighbours, k around each power of two up to 2**p: where adding 1/2 and cutting goes wrong."""
    powers = [2**e + d for e in range(np.finfo(scalar).nmant + 2) for d in (-2, -1, 0, 1)]
    ties = np.array([s * (k + 0.5) for k in powers for s in (1, -1)], dtype=scalar)
    x = np.concatenate([ties, np.nextafter(ties, scalar(np.inf)), np.nextafter(ties, scalar(-np.inf))])
    assert [int(v) for v in round_to_int(x, mode)] == [oracles.round_exact(Fraction(float(v)), mode) for v in x]


@pytest.mark.parametrize("mode", ROUNDING_MODES)
def test_float_types_are_kept_and_everything_else_becomes_float64(mode: str) -> None:
    rng = np.random.default_rng(0)
    for scalar in FLOATS:
        assert round_to_int(np.zeros(3, scalar), mode, rng).dtype == scalar
    for other in (np.int8, np.uint64, np.bool_, np.longdouble):
        assert round_to_int(np.zeros(3, other), mode, rng).dtype == np.float64
    for shape in ((), (0,), (2, 0, 3), (2, 3)):
        rounded = round_to_int(np.zeros(shape), mode, rng)
        assert isinstance(rounded, np.ndarray)
        assert rounded.shape == shape


@pytest.mark.parametrize("mode", ROUNDING_MODES)
@pytest.mark.parametrize("scalar", FLOATS)
def test_nan_and_infinity_pass_through(mode: str, scalar: type) -> None:
    x = np.array([np.nan, np.inf, -np.inf], dtype=scalar)
    np.testing.assert_array_equal(round_to_int(x, mode, np.random.default_rng(0)), x)


@pytest.mark.parametrize("mode", ROUNDING_MODES)
@given(x=st.lists(st.integers(-(2**53), 2**53)))
def test_whole_numbers_stay(x: list[int], mode: str) -> None:
    rng = np.random.default_rng(0)
    assert [int(v) for v in round_to_int(np.array(x, dtype=np.int64), mode, rng)] == x
    assert [int(v) for v in round_to_int(np.array(x, dtype=np.float64), mode, rng)] == x


def test_the_default_is_half_away() -> None:
    assert round_to_int([-2.5, -0.5, 0.5, 2.5]).tolist() == [-3.0, -1.0, 1.0, 3.0]


@given(x=floats_around_ties(), seed=st.integers(0, 2**32))
@example(x=np.array([-1e-7, 0.25, 0.75], dtype=np.float32), seed=0)
def test_stochastic_goes_up_exactly_when_the_draw_is_below_the_fraction(x: np.ndarray, seed: int) -> None:
    """floor(x) + [u < x - floor(x)] with one uniform u an element, in order, from the generator given."""
    rounded = round_to_int(x, "stochastic", np.random.default_rng(seed))
    draws = np.random.default_rng(seed).random(x.shape)
    exact = [Fraction(float(v)) for v in x]
    below = [oracles.round_exact(v, "floor") for v in exact]
    # u is a multiple of 2**-53, so only a fraction within 2**-53 of it could be decided otherwise by float64.
    expected = [b + (Fraction(float(u)) < v - b) for v, b, u in zip(exact, below, draws, strict=True)]
    assert [int(v) for v in rounded] == expected


def test_stochastic_takes_one_draw_an_element_and_no_more() -> None:
    used, fresh = np.random.default_rng(7), np.random.default_rng(7)
    round_to_int(np.zeros((3, 4), np.float32), "stochastic", used)
    fresh.random((3, 4))
    assert used.random() == fresh.random()


def test_the_argument_is_left_as_it_was() -> None:
    for mode in ROUNDING_MODES:
        x = np.array([-2.5, 0.25, 1.75])
        rounded = round_to_int(x, mode, np.random.default_rng(0))
        assert x.tolist() == [-2.5, 0.25, 1.75]
        assert not np.shares_memory(x, rounded)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode must be one of half_even, half_away, .*, stochastic, got 'nearest'"):
        round_to_int([1.5], "nearest")


def test_stochastic_without_a_generator_is_refused() -> None:
    with pytest.raises(ValueError, match=r'mode="stochastic" must have an rng, got None. Pass rng='):
        round_to_int([1.5], "stochastic")


@pytest.mark.parametrize("x", [["a"], [1j], [None], np.array(["2020"], dtype="datetime64[Y]")])
def test_what_is_not_a_real_number_is_refused(x: Any) -> None:
    with pytest.raises(TypeError, match="x must hold real numbers, got dtype .* Convert it to float32 or float64"):
        round_to_int(x)


# saturate


@st.composite
def wide_values(draw: st.DrawFn) -> np.ndarray:
    """Whole numbers in any integer or float type, around the ends of the narrow types and of their own."""
    dtype = np.dtype(draw(st.sampled_from([*INTEGERS, np.int64, np.uint64, *FLOATS])))
    if dtype.kind == "f":
        top = 2 ** {2: 11, 4: 60, 8: 70}[dtype.itemsize]
        exact = st.integers(-top, top).map(lambda n: int(dtype.type(n)))
    else:
        exact = hnp.from_dtype(dtype).map(int)
    low, high = (-2048, 2048) if dtype.kind == "f" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    close = st.sampled_from([-129, -128, -1, 0, 127, 128, 255, 256, 300, 32767, 65536]).map(lambda n: min(max(n, low), high))
    return np.array(draw(st.lists(st.one_of(exact, close), max_size=6)), dtype=dtype)


@given(values=wide_values(), narrow=st.sampled_from(INTEGERS), data=st.data())
@example(values=np.array([200], np.uint8), narrow=np.int8, data=None)
@example(values=np.array([-5], np.int8), narrow=np.uint8, data=None)
@example(values=np.array([3e9, -3e9], np.float32), narrow=np.int32, data=None)
@example(values=np.array([2**64 - 1], np.uint64), narrow=np.int8, data=None)
def test_saturate_is_min_of_max_in_python_ints(values: np.ndarray, narrow: type, data: Any) -> None:
    """saturate(v, qmin, qmax) = min(max(v, qmin), qmax), whatever the two types are."""
    info = np.iinfo(narrow)
    ends = st.lists(st.integers(int(info.min), int(info.max)), min_size=2, max_size=2).map(sorted)
    qmin, qmax = data.draw(ends) if data else (int(info.min), int(info.max))
    out = saturate(values, qmin, qmax, narrow)
    assert out.dtype == narrow
    assert out.tolist() == [min(max(int(v), qmin), qmax) for v in values]


def test_saturate_clips_before_it_casts() -> None:
    """300 is 127 and never 44, which is 300 mod 256 (cast first, clip after)."""
    assert saturate([300, -300], -128, 127, np.int8).tolist() == [127, -128]


def test_saturate_takes_infinity_to_the_ends() -> None:
    for scalar in FLOATS:
        assert saturate(np.array([np.inf, -np.inf], scalar), -128, 127, np.int8).tolist() == [127, -128]


def test_saturate_gives_a_new_array_of_the_same_shape() -> None:
    values = np.array([[1, 2], [3, 4]], dtype=np.int8)
    out = saturate(values, -128, 127, np.int8)
    assert out.shape == (2, 2)
    assert not np.shares_memory(values, out)
    alone = saturate(np.float32(7), -128, 127, np.int8)
    assert isinstance(alone, np.ndarray)
    assert alone.shape == ()


@pytest.mark.parametrize("ends", [(-129, 127), (-128, 128), (5, 4)])
def test_saturate_refuses_ends_that_do_not_fit(ends: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"must both fit int8 \(-128 to 127\), got {ends[0]} and {ends[1]}. Choose a wider"):
        saturate([0], *ends, np.int8)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_saturate_refuses_a_type_that_is_not_a_narrow_integer(dtype: type) -> None:
    with pytest.raises(TypeError, match="dtype must be an integer type of at most 32 bits, got .* Choose int8"):
        saturate([0], -128, 127, dtype)


def test_saturate_refuses_values_that_are_not_numbers() -> None:
    with pytest.raises(TypeError, match="values must be whole numbers, got dtype complex128. Round first"):
        saturate([1j], -128, 127, np.int8)
