"""Laws of numerics/affine.py: real -> code -> real, against exact rationals and IEEE quotients."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import example, given
from hypothesis import strategies as st
from oracles import EXACT_MODES, FLOAT32, FLOAT64, NEAREST
from strategies import Case

from tinyquant.numerics.affine import dequantize, quantize, round_quotient
from tinyquant.numerics.qparams import QParams, choose_qparams

QP = QParams(0.5, 3)

maps = strategies.qparams()
exact_maps = strategies.qparams(power_of_two=True)
modes = st.sampled_from(EXACT_MODES)
nearest = st.sampled_from(NEAREST)


def exact(array: np.ndarray) -> list[Fraction]:
    """The exact values of an array of floats, flat."""
    return [Fraction(float(v)) for v in array.ravel()]


def expected_codes(case: Case, mode: str = "half_away") -> list[int]:
    """What the definition gives for each element."""
    kind = FLOAT32 if case.x.dtype == np.float32 else FLOAT64
    return [
        oracles.quantize_exact(x, Fraction(s), z, case.qp.qmin, case.qp.qmax, kind, mode)
        for x, s, z in zip(exact(case.x), case.scales, case.zeros, strict=True)
    ]


# quantize


@given(case=strategies.arrays_for(maps), mode=modes)
@example(case=Case(np.array([300.0], np.float32), QParams(1.0, 0), [1.0], [0]), mode="half_away")
@example(case=Case(np.array([0.49999997], np.float32), QParams(1.0, 0), [1.0], [0]), mode="half_away")
@example(case=Case(np.array([3e38, -3e38], np.float32), QParams(2.0**-100, 5), [2.0**-100] * 2, [5] * 2), mode="half_away")
def test_quantize_is_the_rounded_ieee_quotient_plus_zero_point_saturated(case: Case, mode: str) -> None:
    """clip(round(fl(x / fl(scale))) + zero_point, qmin, qmax), fl in x's own float type, each channel by its own map."""
    codes = quantize(case.x, case.qp, rounding=mode)
    assert codes.ravel().tolist() == expected_codes(case, mode)
    assert codes.shape == case.x.shape
    assert codes.dtype == case.qp.dtype


@given(case=strategies.arrays_for(exact_maps), mode=nearest)
def test_with_a_power_of_two_scale_quantize_is_the_real_rule(case: Case, mode: str) -> None:
    """clip(round(x / scale) + zero_point) of the exact quotient: dividing by 2**k, |k| <= 20, loses nothing.

    (A quotient that becomes subnormal may lose bits, and one that overflows is infinite; both are far from any tie.)"""
    rows = zip(exact(case.x), case.scales, case.zeros, strict=True)
    rounded = [oracles.round_exact(x / Fraction(s), mode) + z for x, s, z in rows]
    expected = [oracles.clamp(r, case.qp.qmin, case.qp.qmax) for r in rounded]
    assert quantize(case.x, case.qp, rounding=mode).ravel().tolist() == expected


@given(case=strategies.arrays_for(maps), mode=modes)
def test_round_quotient_is_the_whole_number_before_zero_point_and_clip(case: Case, mode: str) -> None:
    """round(fl(x / fl(scale))), in x's float type, infinite where the quotient overflows."""
    kind = FLOAT32 if case.x.dtype == np.float32 else FLOAT64
    rounded = round_quotient(case.x, case.qp, rounding=mode)
    expected = [
        oracles.round_quotient_exact(x, Fraction(s), kind, mode) for x, s in zip(exact(case.x), case.scales, strict=True)
    ]
    assert [v if np.isinf(v) else int(v) for v in rounded.ravel().tolist()] == expected
    assert rounded.dtype == case.x.dtype
    assert rounded.shape == case.x.shape


@given(
    x=st.lists(st.floats(-(2.0**40), 2.0**40, width=32), max_size=6),
    ends=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=2, unique=True).map(sorted),
    data=st.data(),
)
@example(x=[-1e9, 2.0**31, -(2.0**31), 2.0**32], ends=[-(2**31), 127], data=None)
@example(x=[2.0**24 + 2, 1.0, 2.0**40], ends=[-(2**31), 2**31 - 1], data=None)
def test_codes_of_any_width_up_to_32_bits_are_exact(x: list[float], ends: list[int], data: Any) -> None:
    """The bias grid is int32, beyond the whole numbers of float32 (2**24)."""
    zero = data.draw(st.integers(*ends)) if data else ends[0]
    case = Case(np.array(x, np.float32), QParams(0.5, zero, *ends), [0.5] * len(x), [zero] * len(x))
    assert quantize(case.x, case.qp).tolist() == expected_codes(case)


@given(numbers=st.lists(st.integers(-200, 200), min_size=1))
def test_what_is_not_float32_is_divided_in_float64(numbers: list[int]) -> None:
    """Lists, Python numbers, integers, booleans, float16 and longdouble; the scale is then used as the float64 it is."""
    qp = QParams(0.1 / 3, 0, -(2**15), 2**15 - 1)
    expected = [oracles.quantize_exact(Fraction(n), Fraction(0.1 / 3), 0, qp.qmin, qp.qmax, FLOAT64) for n in numbers]
    assert quantize(numbers, qp).tolist() == expected
    assert [int(quantize(n, qp)) for n in numbers] == expected
    for scalar in (np.int16, np.int64, np.float16, np.float64, np.longdouble):
        assert quantize(np.array(numbers, dtype=scalar), qp).tolist() == expected
    assert quantize(np.array([True, False]), QParams(0.5, 3)).tolist() == [5, 3]


def test_float32_is_divided_in_float32_and_float64_in_float64() -> None:
    """Where fl32(x / scale) is a tie and fl64(x / scale) is beside it the codes differ, each by its own law.

    Such x are looked for here, not assumed."""
    scale = float(np.float32(0.1))
    qp = QParams(scale, 0, -(2**15), 2**15 - 1)
    x = np.arange(1, 2**15, dtype=np.float32) / np.float32(64) + np.float32(0.05)
    narrow, wide = quantize(x, qp), quantize(x.astype(np.float64), qp)
    (where,) = np.nonzero(narrow != wide)
    assert where.size
    for i in where[:5]:
        value = Fraction(float(x[i]))
        assert narrow[i] == oracles.quantize_exact(value, Fraction(scale), 0, qp.qmin, qp.qmax, FLOAT32)
        assert wide[i] == oracles.quantize_exact(value, Fraction(scale), 0, qp.qmin, qp.qmax, FLOAT64)


def test_a_scale_that_is_no_float32_is_rounded_to_one_for_float32_input() -> None:
    """fl32(0.1) > 0.1, so fl32(0.05) / fl32(0.1) is exactly 1/2, while 0.05 / 0.1 in float64 of fl32(0.05) is above it."""
    x = np.array([0.05], np.float32)
    assert quantize(x, QParams(0.1, 0), rounding="half_down").tolist() == [0]
    assert quantize(x.astype(np.float64), QParams(0.1, 0), rounding="half_down").tolist() == [1]


@given(case=strategies.arrays_for(maps), seed=st.integers(0, 99))
def test_stochastic_codes_come_from_the_draws_in_order(case: Case, seed: int) -> None:
    """clip(floor(q) + [u < q - floor(q)] + zero_point): each code is one of the two beside q, by its own draw."""
    codes = quantize(case.x, case.qp, rounding="stochastic", rng=np.random.default_rng(seed))
    quotient = round_quotient(case.x, case.qp, rounding="floor")
    low, high = (np.reshape(expected_codes(case, mode), case.x.shape) for mode in ("floor", "ceil"))
    assert np.all((codes == low) | (codes == high))
    again = quantize(case.x, case.qp, rounding="stochastic", rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(codes, again)
    draws = np.random.default_rng(seed).random(case.x.shape)
    finite = np.isfinite(quotient) & (low != high)
    scale = case.qp.along(case.x.ndim)[0].astype(case.x.dtype)
    with np.errstate(over="ignore"):
        fraction = np.where(finite, case.x / scale, 0).astype(np.float64) - np.where(finite, quotient, 0)
    np.testing.assert_array_equal(codes[finite], np.where(draws < fraction, high, low)[finite])


# dequantize


@given(case=strategies.codes_for(maps))
def test_dequantize_is_scale_times_steps_from_the_zero_point(case: Case) -> None:
    """fl32(scale * (code - zero_point)): the product rounded to float32 once."""
    reals = dequantize(case.x, case.qp)
    rows = zip(case.x.ravel().tolist(), case.scales, case.zeros, strict=True)
    assert exact(reals) == [oracles.dequantize_exact(code, Fraction(s), z) for code, s, z in rows]
    assert reals.shape == case.x.shape
    assert reals.dtype == np.float32


@pytest.mark.parametrize("code_type", [np.int16, np.int32, np.int64])
@pytest.mark.parametrize("bits", [8, 32])
@given(numbers=st.lists(strategies.int32, min_size=2), scale=strategies.any_scale)
@example(numbers=[2**24, 2**24 + 1], scale=1.0)
@example(numbers=[-1, 2**24 + 1], scale=1.0)
@example(numbers=[2**24 + 1, 5], scale=1.0)
@example(numbers=[0, 100], scale=1e-50)
def test_dequantize_is_exact_for_codes_and_zero_points_of_any_width(
    numbers: list[int], scale: float, bits: int, code_type: type
) -> None:
    """Neither int32 codes nor int32 zero points fit float32, nor need the scale: fl32(fl64(scale * (code - zero_point)))."""
    qmin, qmax = oracles.code_range(bits, signed=True, narrow_range=False)
    low, high = int(np.iinfo(code_type).min), int(np.iinfo(code_type).max)
    zero, *others = numbers
    zero = oracles.clamp(zero, qmin, qmax)
    codes = [oracles.clamp(n, low, high) for n in (*others, zero + 1, zero - 3)]
    expected = [oracles.dequantize_exact(c, Fraction(scale), zero) for c in codes]
    assert dequantize(np.array(codes, code_type), QParams(scale, zero, qmin, qmax)).tolist() == expected


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_dequantize_takes_every_integer_type(dtype: type) -> None:
    """code - zero_point is negative here: an unsigned type must not wrap."""
    for qp in (QParams(0.5, 5), QParams(0.1, 5), QParams(0.5, 5, 0, 255)):
        expected = [oracles.dequantize_exact(c, Fraction(float(qp.scale)), 5) for c in (0, 3, 127)]
        assert exact(dequantize(np.array([0, 3, 127], dtype), qp)) == expected


def test_dequantize_beyond_float32_is_infinity() -> None:
    """The scale is fl32(max / 127), so code -128 stands for more than the largest float32; TFLite gives inf too."""
    qp = choose_qparams(-3.4e38, 3.4e38, symmetric=True)
    for dtype in (np.int8, np.int32):
        assert dequantize(np.array([-128, 1], dtype), qp).tolist() == [-np.inf, qp.scale]


# The laws of the round trip


@given(data=st.data(), qp=strategies.qparams(per_axis=False, others=strategies.normal_float32))
def test_round_trip_error_is_at_most_half_a_step_inside_the_range(data: st.DataObject, qp: QParams) -> None:
    """|dequantize(quantize(x)) - x| <= scale/2 + 2 ulp(x) for float32 x in [rmin, rmax] and a normal float32 scale.

    The two ulp: (1) the quotient is rounded, |fl(x/s) - x/s| <= 2**-24 |x/s|, so s * code is within s/2 + 2**-24 |x| of x, and
    2**-24 |x| < ulp(x). (2) y = s * code is rounded to float32, by at most ulp(y)/2; codes -2..2 make y exact, and from 3 steps
    on |y| <= 1.2 |x| + 2 ulp(x), so that ulp(y)/2 <= ulp(x)."""
    scale = Fraction(float(qp.scale))
    drawn = data.draw(st.floats(0, 1)), data.draw(strategies.reals(float(qp.scale), int(qp.zero_point), qp, 32))
    inside = [float(qp.rmin) + drawn[0] * (float(qp.rmax) - float(qp.rmin)), drawn[1]]
    x = np.clip(np.array(inside, np.float32), np.float32(qp.rmin), np.float32(qp.rmax))
    x = x[(x >= qp.rmin) & (x <= qp.rmax)]
    back = dequantize(quantize(x, qp), qp)
    for real, again in zip(exact(x), exact(back), strict=True):
        assert abs(again - real) <= scale / 2 + 2 * oracles.ulp(real, FLOAT32)


@given(case=strategies.arrays_for(strategies.qparams(power_of_two=True, per_axis=False), width=32))
def test_round_trip_error_is_at_most_exactly_half_a_step_for_power_of_two_scales(case: Case) -> None:
    """|dequantize(quantize(x)) - x| <= scale/2, without slack: dividing by 2**k is exact and so are code * 2**k.

    (Quotients below 2**-126 may lose bits; they are code zero_point, and |x| <= scale/2 by far.)"""
    qp = case.qp
    x = case.x[(case.x >= qp.rmin) & (case.x <= qp.rmax)]
    back = dequantize(quantize(x, qp), qp)
    assert all(abs(b - a) <= Fraction(float(qp.scale)) / 2 for a, b in zip(exact(x), exact(back), strict=True))


@given(case=strategies.arrays_for(maps))
def test_outside_the_range_the_end_codes_are_given(case: Case) -> None:
    """x <= rmin gives qmin, x >= rmax gives qmax."""
    codes = quantize(case.x, case.qp).ravel().tolist()
    for code, x, s, z in zip(codes, exact(case.x), case.scales, case.zeros, strict=True):
        assert code == case.qp.qmin or x > Fraction(s) * (case.qp.qmin - z)
        assert code == case.qp.qmax or x < Fraction(s) * (case.qp.qmax - z)
        assert case.qp.qmin <= code <= case.qp.qmax


@given(data=st.data(), qp=strategies.qparams(per_axis=False), mode=modes, width=st.sampled_from([32, 64]))
def test_quantize_is_monotone(data: st.DataObject, qp: QParams, mode: str, width: int) -> None:
    """x <= y gives quantize(x) <= quantize(y)."""
    element = strategies.reals(float(qp.scale), int(qp.zero_point), qp, width)
    x = np.sort(np.array(data.draw(st.lists(element, min_size=2, max_size=8)), dtype=strategies.SCALARS[width]))
    codes = quantize(x, qp, rounding=mode).tolist()
    assert codes == sorted(codes)


@given(case=strategies.codes_for(maps), mode=modes)
def test_codes_come_back_unchanged(case: Case, mode: str) -> None:
    """quantize(dequantize(q)) = q for every nearest rule, so fake-quantization is idempotent.

    fl32(s k) / s is within 2**-23 |k| < 1/2 of k for |k| <= 2**16, so the nearest whole number is k; a directed rule may
    miss by 1."""
    again = quantize(dequantize(case.x, case.qp), case.qp, rounding=mode)
    if mode in oracles.NEAREST:
        np.testing.assert_array_equal(again, case.x)
    else:
        assert np.max(np.abs(again.astype(int) - case.x.astype(int)), initial=0) <= 1


@given(qp=maps, mode=modes)
def test_real_zero_is_exact(qp: QParams, mode: str) -> None:
    """quantize(+-0) = zero_point and dequantize(zero_point) = +0, in every channel and by every rule."""
    zeros = np.ravel(qp.zero_point)
    for scalar in (np.float32, np.float64):
        for zero in (0.0, -0.0):
            codes = quantize(np.full(zeros.shape, zero, scalar), qp, rounding=mode)
            assert codes.tolist() == zeros.tolist()
    back = dequantize(zeros.astype(qp.dtype), qp)
    assert not np.any(back) and not np.any(np.signbit(back))


@given(
    case=strategies.arrays_for(strategies.qparams(symmetric=True)),
    mode=st.sampled_from(["half_away", "half_even", "toward_zero"]),
)
def test_symmetric_narrow_codes_turn_their_sign_with_x(case: Case, mode: str) -> None:
    """quantize(-x) = -quantize(x) for zero point 0, codes [-q, q], and a rule that treats both signs alike."""
    plus, minus = quantize(case.x, case.qp, rounding=mode), quantize(-case.x, case.qp, rounding=mode)
    np.testing.assert_array_equal(minus.astype(int), -plus.astype(int))


@given(data=st.data(), qp=strategies.qparams(per_axis=False, power_of_two=False), k=st.integers(-12, 12), mode=modes)
def test_codes_do_not_know_the_unit(data: st.DataObject, qp: QParams, k: int, mode: str) -> None:
    """quantize(2**k x; 2**k scale) = quantize(x; scale), where neither leaves the normal float32s."""
    steps = st.floats(2.0**-30, 2.0**30, width=32)
    x = np.array(data.draw(st.lists(steps, max_size=6)), np.float32) * np.float32(data.draw(st.sampled_from([1, -1])))
    unit = float(np.float32(data.draw(st.floats(1, 2, width=32))))
    small, large = (QParams(unit * f, qp.zero_point, qp.qmin, qp.qmax) for f in (1.0, 2.0**k))
    np.testing.assert_array_equal(
        quantize(x, small, rounding=mode), quantize(x * np.float32(2.0**k), large, rounding=mode)
    )


@given(case=strategies.arrays_for(strategies.qparams(per_axis=True)))
def test_each_channel_is_quantized_as_if_it_were_alone(case: Case) -> None:
    qp = case.qp
    assert qp.axis is not None
    codes, reals = quantize(case.x, qp), dequantize(quantize(case.x, qp), qp)
    for i, (s, z) in enumerate(zip(np.ravel(qp.scale), np.ravel(qp.zero_point), strict=True)):
        alone = QParams(s, z, qp.qmin, qp.qmax)
        part = quantize(case.x.take(i, qp.axis), alone)
        np.testing.assert_array_equal(codes.take(i, qp.axis), part)
        np.testing.assert_array_equal(reals.take(i, qp.axis), dequantize(part, alone))


# Arrays of every kind


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3, 4)])
def test_shapes_are_kept_and_the_result_is_an_array_of_its_own(shape: tuple[int, ...]) -> None:
    x = np.full(shape, 1.0, np.float32)
    codes = quantize(x, QP)
    reals = dequantize(codes, QP)
    for array, dtype in ((codes, np.int8), (reals, np.float32), (round_quotient(x, QP), np.float32)):
        assert isinstance(array, np.ndarray)
        assert (array.shape, array.dtype) == (shape, dtype)
        assert not np.shares_memory(array, x)
        assert array.flags.writeable


def test_strided_and_fortran_ordered_arrays_give_the_same_codes() -> None:
    x = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32) * 9
    qp = QParams(np.float32([0.1, 0.2, 0.3, 0.4]), [0, 1, -2, 3], axis=2)
    codes = quantize(x, qp)
    np.testing.assert_array_equal(quantize(np.asfortranarray(x), qp), codes)
    np.testing.assert_array_equal(quantize(x[::-2, ::2], qp), codes[::-2, ::2])
    np.testing.assert_array_equal(dequantize(np.asfortranarray(codes), qp), dequantize(codes, qp))
    np.testing.assert_array_equal(quantize(x.astype(">f8"), qp), quantize(x.astype(np.float64), qp))


def test_the_arguments_are_left_as_they_were() -> None:
    x, codes = np.array([0.3, -7.7, 1e9], np.float32), np.array([1, 2], np.int8)
    x.flags.writeable = codes.flags.writeable = False
    quantize(x, QP)
    round_quotient(x, QP)
    dequantize(codes, QP)
    assert x.tolist() == np.array([0.3, -7.7, 1e9], np.float32).tolist()


def test_three_hundred_is_127_and_not_44() -> None:
    """Cast before clip would wrap: 300 mod 256 = 44."""
    assert quantize(np.array([300.0, -300.0], np.float32), QParams(1.0, 0)).tolist() == [127, -128]


def test_the_number_just_below_a_half_rounds_to_zero() -> None:
    """0.49999997 + 0.5 is 1.0 in float32: floor(x + 0.5) gives 1."""
    assert quantize(np.float32([0.49999997, -0.49999997]), QParams(1.0, 0)).tolist() == [0, 0]
    assert quantize([0.49999999999999994], QParams(1.0, 0)).tolist() == [0]


def test_ties_do_not_depend_on_the_parity_of_the_zero_point() -> None:
    """Round, then add: 0.5 and 1.5 steps are 1 and 2 from any zero point; half to even after adding gives 2 and 2 from 1."""
    for zero in (0, 1):
        assert (quantize([0.5, 1.5], QParams(1.0, zero)) - zero).tolist() == [1, 2]
        assert (quantize([0.5, 1.5], QParams(1.0, zero), rounding="half_even") - zero).tolist() == [0, 2]


def test_the_ends_of_a_widened_range_come_back() -> None:
    """[0.5, 1]: without 0 in the range, 1.0 would come back as 0.5."""
    qp = choose_qparams(0.5, 1.0)
    back = dequantize(quantize(np.float32([0.5, 1.0]), qp), qp)
    assert np.all(np.abs(back - [0.5, 1.0]) <= float(qp.scale) / 2 + 2.0**-23)


# Refusals


@pytest.mark.parametrize("scalar", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "-infinity")])
@pytest.mark.parametrize("function", [quantize, round_quotient])
def test_nan_and_infinity_are_refused_by_name_and_place(function: Any, value: float, name: str, scalar: type) -> None:
    x = np.zeros((2, 3), scalar)
    x[1, 2] = value
    with pytest.raises(ValueError, match=rf"x must be finite, got {name} at index \(1, 2\). Replace or drop it"):
        function(x, QP)
    x[0, 1] = np.inf
    with pytest.raises(ValueError, match=r"got infinity at index \(0, 1\)"):
        function(x, QP)
    with pytest.raises(ValueError, match=rf"got {name} at index \(\)"):
        function(scalar(value), QP)


@pytest.mark.parametrize("scale", [1e-50, 1e39])
def test_a_scale_outside_float32_is_refused_for_float32_input(scale: float) -> None:
    """fl32(scale) would be 0 or infinity; float64 input is divided by the scale itself."""
    with pytest.raises(ValueError, match="scale must be within float32 for float32 x, got .* Pass x as float64"):
        quantize(np.float32([0.0]), QParams(scale, 0))
    assert quantize([3 * scale], QParams(scale, 0)).tolist() == [3]


@pytest.mark.parametrize("shape", [(1, 3), (3, 3)])
def test_an_array_with_another_number_of_channels_is_refused(shape: tuple[int, ...]) -> None:
    """A single channel must not be spread silently over two scales."""
    qp = QParams([1.0, 2.0], 0, axis=0)
    with pytest.raises(ValueError, match=r"the array must have 2 cells along axis 0, one a scale, got shape .* Check the axis"):
        quantize(np.zeros(shape), qp)
    with pytest.raises(ValueError, match="the array must have 2 cells along axis 0"):
        dequantize(np.zeros(shape, np.int8), qp)
    with pytest.raises(ValueError, match="axis must be an axis of the array, got axis=0 for an array of 0 axes"):
        quantize(1.0, qp)


@pytest.mark.parametrize("x", [["a"], [1j], [None]])
def test_what_is_not_a_real_number_is_refused(x: Any) -> None:
    with pytest.raises(TypeError, match="x must hold real numbers, got dtype .* Convert it to float32"):
        quantize(x, QP)


@pytest.mark.parametrize("codes", [[1.0], [True], [1j], ["1"]])
def test_codes_that_are_not_integers_are_refused(codes: Any) -> None:
    with pytest.raises(TypeError, match="codes must be integers, got dtype .* Pass what quantize returned"):
        dequantize(codes, QP)


@pytest.mark.parametrize("function", [quantize, round_quotient, dequantize])
def test_what_is_not_a_map_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="qp must be a QParams, got tuple. Build one with choose_qparams"):
        function([1], (0.5, 3))


def test_rounding_is_refused_as_round_to_int_refuses_it() -> None:
    with pytest.raises(ValueError, match="mode must be one of"):
        quantize([1.0], QP, rounding="nearest")
    with pytest.raises(ValueError, match="must have an rng"):
        quantize([1.0], QP, rounding="stochastic")
