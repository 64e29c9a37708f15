"""Laws of numerics/qparams.py: what a map may be, and the scale and zero point that a range gives."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import example, given
from hypothesis import strategies as st
from oracles import FLOAT32

from tinyquant.numerics.qparams import QParams, choose_qparams

RangeAndKind = tuple[tuple[float, float], dict[str, Any]]

FLOAT32_MAX = float(np.finfo(np.float32).max)
SMALLEST = 2.0**-126


def scale_of(qp: QParams) -> Fraction:
    """The exact scale of a per-tensor map."""
    return Fraction(float(qp.scale))


def with_power_of_two(case: RangeAndKind) -> RangeAndKind:
    """The same range, its scale a power of two."""
    return case[0], case[1] | {"power_of_two": True}


# QParams


def test_numbers_are_held_as_plain_floats_and_ints_and_channels_as_arrays() -> None:
    one = QParams(np.float32(0.1), np.int16(3), np.int64(-8), np.uint8(7))
    assert (type(one.scale), type(one.zero_point), type(one.qmin), type(one.qmax)) == (float, int, int, int)
    assert one.scale == float(np.float32(0.1))
    many = QParams([1, 2], 0, axis=np.int64(3))
    assert isinstance(many.scale, np.ndarray) and isinstance(many.zero_point, np.ndarray)
    assert (many.scale.dtype, many.zero_point.dtype, many.axis) == (np.float64, np.int64, 3)
    assert type(many.axis) is int
    assert many.zero_point.tolist() == [0, 0]


def test_a_map_is_eight_bit_signed_unless_told() -> None:
    qp = QParams(1.0, 0)
    assert (qp.qmin, qp.qmax, qp.axis, qp.per_axis, qp.levels, qp.dtype) == (-128, 127, None, False, 256, np.int8)
    assert QParams([1.0], 0, axis=0).per_axis


def test_a_map_does_not_change() -> None:
    scale, zero = np.array([0.5, 0.25]), np.array([1, 2])
    qp = QParams(scale, zero, axis=0)
    scale[0], zero[0] = 9.0, 9
    assert np.asarray(qp.scale).tolist() == [0.5, 0.25]
    assert np.asarray(qp.zero_point).tolist() == [1, 2]
    for array in (qp.scale, qp.zero_point):
        with pytest.raises(ValueError, match="read-only"):
            np.asarray(array)[0] = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        qp.qmin = 0  # type: ignore[misc]


def test_one_field_can_be_replaced_and_is_checked_again() -> None:
    qp = dataclasses.replace(QParams(0.5, 3), scale=0.25, qmin=0, qmax=255)
    assert (qp.scale, qp.zero_point, qp.dtype) == (0.25, 3, np.uint8)
    with pytest.raises(ValueError, match="zero_point must lie"):
        dataclasses.replace(qp, zero_point=-1)


@given(bits=st.integers(1, 32), signed=st.booleans())
def test_the_type_is_the_narrowest_that_holds_both_ends(bits: int, signed: bool) -> None:
    """8, 16 or 32 bits; unsigned exactly when qmin >= 0."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2 ** min(bits, 31) - 1)
    if low == high:
        return
    dtype = QParams(1.0, max(low, 0), low, high).dtype
    holding = [t for t in ("int8", "uint8", "int16", "uint16", "int32", "uint32") if (t[0] == "u") != signed]
    fitting = [t for t in holding if np.iinfo(t).min <= low and high <= np.iinfo(t).max]
    assert dtype == fitting[0]


def test_the_type_follows_the_wider_end() -> None:
    assert QParams(1.0, 0, -1, 128).dtype == np.int16
    assert QParams(1.0, 0, -129, 1).dtype == np.int16
    assert QParams(1.0, 1, 1, 255).dtype == np.uint8
    assert QParams(1.0, 0, -(2**31), 2**31 - 1).dtype == np.int32


@given(qp=strategies.qparams())
def test_rmin_and_rmax_are_the_reals_of_the_end_codes(qp: QParams) -> None:
    """scale * (q - zero_point), rounded to float64 once; as many as there are channels."""
    for got, q in ((qp.rmin, qp.qmin), (qp.rmax, qp.qmax)):
        scales, zeros = np.ravel(qp.scale).tolist(), np.ravel(qp.zero_point).tolist()
        exact = [Fraction(s) * (q - z) for s, z in zip(scales, zeros, strict=True)]
        assert np.ravel(got).tolist() == [float(v) for v in exact]
        assert np.shape(got) == np.shape(qp.scale)


@given(a=strategies.qparams(), b=strategies.qparams())
def test_equal_maps_are_those_whose_fields_are_equal_and_they_hash_alike(a: QParams, b: QParams) -> None:
    def fields(qp: QParams) -> tuple[Any, ...]:
        return np.asarray(qp.scale).tolist(), np.asarray(qp.zero_point).tolist(), qp.qmin, qp.qmax, qp.axis

    copy = QParams(a.scale, a.zero_point, a.qmin, a.qmax, a.axis)
    assert copy == a and hash(copy) == hash(a)
    assert (a == b) == (fields(a) == fields(b))
    assert a != "a map"


def test_maps_that_differ_in_one_field_differ() -> None:
    qp = QParams([0.5, 0.5], [0, 0], axis=0)
    others = [
        QParams([0.5, 0.25], [0, 0], axis=0),
        QParams([0.5, 0.5], [0, 1], axis=0),
        QParams([0.5, 0.5], [0, 0], axis=1),
        QParams([0.5, 0.5], [0, 0], -127, axis=0),
        QParams([0.5, 0.5], [0, 0], qmax=126, axis=0),
        QParams(0.5, 0),
    ]
    assert all(qp != other for other in others)
    assert len({qp, *others}) == 7


@pytest.mark.parametrize(("axis", "shape"), [(0, (2, 1, 1)), (1, (1, 2, 1)), (-1, (1, 1, 2)), (-3, (2, 1, 1))])
def test_along_puts_the_channels_on_their_axis(axis: int, shape: tuple[int, ...]) -> None:
    scale, zero = QParams([0.5, 0.25], [1, 2], axis=axis).along(3)
    assert scale.shape == zero.shape == shape
    assert (scale.ravel().tolist(), zero.ravel().tolist()) == ([0.5, 0.25], [1, 2])


def test_along_of_one_scale_has_no_axes() -> None:
    scale, zero = QParams(0.5, 1).along(3)
    assert scale.shape == zero.shape == ()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.0, 0), ValueError, r"scale must be positive and finite, got 0.0. Build it with choose_qparams"),
        ((-1.0, 0), ValueError, "scale must be positive and finite, got -1.0"),
        ((math.nan, 0), ValueError, "scale must be positive and finite, got nan"),
        ((math.inf, 0), ValueError, "scale must be positive and finite, got inf"),
        (([1.0, 0.0], 0, -128, 127, 0), ValueError, r"scale must be positive and finite, got \[1.0, 0.0\]"),
        (("1", 0), TypeError, "scale must be a real number, got '1'"),
        ((True, 0), TypeError, "scale must be a real number, got True"),
        ((1j, 0), TypeError, "scale must be a real number, got 1j"),
        (([[1.0]], 0, -128, 127, 0), ValueError, r"must be one number or 1-D, got shape \(1, 1\). Give one scale"),
        (([1.0], 0), ValueError, r"a 1-D scale and an axis go together, got scale of shape \(1,\) and axis=None. Give axis="),
        ((1.0, 0, -128, 127, 0), ValueError, r"a 1-D scale and an axis go together, got scale of shape \(\) and axis=0"),
        ((1.0, 128), ValueError, r"zero_point must lie in \[qmin, qmax\] = \[-128, 127\], got 128. Widen the range to contain 0"),
        ((1.0, -129), ValueError, r"zero_point must lie in \[qmin, qmax\] = \[-128, 127\], got -129"),
        ((1.0, math.inf), ValueError, r"zero_point must lie in .* got inf"),
        ((1.0, 0.5), TypeError, "zero_point must be whole numbers, got 0.5. Round it before"),
        ((1.0, math.nan), TypeError, "zero_point must be whole numbers, got nan"),
        ((1.0, "0"), TypeError, "zero_point must be whole numbers, got '0'"),
        ((1.0, True), TypeError, "zero_point must be whole numbers, got True"),
        ((1.0, [0]), ValueError, r"zero_point must be one number or have the scale's shape, got \(1,\) for \(\). Give one"),
        (([1.0, 1.0], [0, 0, 0], -128, 127, 0), ValueError, r"have the scale's shape, got \(3,\) for \(2,\)"),
        ((1.0, 0, 0, 0), ValueError, "qmin must be below qmax and both must fit int32, got 0 and 0. Swap or narrow"),
        ((1.0, 0, -(2**31) - 1, 0), ValueError, "both must fit int32, got -2147483649 and 0"),
        ((1.0, 0, 0, 2**31), ValueError, "both must fit int32, got 0 and 2147483648"),
        ((1.0, 0, -128.0, 127), TypeError, "qmin must be a whole number, got -128.0. Pass an int"),
        ((1.0, 0, -128, True), TypeError, "qmax must be a whole number, got True"),
        (([1.0], 0, -128, 127, 1.0), TypeError, "axis must be a whole number, got 1.0"),
    ],
)
def test_an_impossible_map_is_refused(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        QParams(*arguments)


@pytest.mark.parametrize(("axis", "ndim"), [(2, 2), (-3, 2), (0, 0)])
def test_an_axis_that_the_array_has_not_is_refused(axis: int, ndim: int) -> None:
    with pytest.raises(ValueError, match=f"axis must be an axis of the array, got axis={axis} for an array of {ndim} axes"):
        QParams([1.0], 0, axis=axis).along(ndim)


def test_a_float_zero_point_that_is_whole_is_taken() -> None:
    assert QParams(1.0, 3.0).zero_point == 3


# choose_qparams


@given(case=strategies.ranges_and_kinds)
@example(case=((250.0, 1000.0), {}))
@example(case=((0.5, 1.0), {}))
@example(case=((-1.0, 1.0), {"signed": False}))
@example(case=((-1.0, 1.0), {}))
@example(case=((-FLOAT32_MAX, FLOAT32_MAX), {"bits": 2}))
@example(case=((-1e-40, 2e-40), {}))
def test_scale_and_zero_point_are_the_exact_ones(case: RangeAndKind) -> None:
    """scale = fl32((rmax - rmin) / N), zero_point = half_away(qmin - rmin / s), s unrounded; the range takes in 0."""
    ends, kind = case
    scale, zero = oracles.choose_exact(Fraction(ends[0]), Fraction(ends[1]), **kind)
    qp = choose_qparams(*ends, **kind)
    assert (scale_of(qp), qp.zero_point) == (scale, zero)
    keys = {"bits": 8, "signed": True, "narrow_range": False} | kind
    assert (qp.qmin, qp.qmax) == oracles.code_range(keys["bits"], keys["signed"], keys["narrow_range"])


@given(case=strategies.ranges_and_kinds)
def test_the_range_is_covered_to_half_a_step(case: RangeAndKind) -> None:
    """qp.rmin - scale/2 <= min(rmin, 0) and max(rmax, 0) <= qp.rmax + scale/2; symmetric without the half step.

    Slack: the scale is rounded to float32, and its quotient to float64 before, so it may be short by 2**-24 + 2**-52 of itself;
    over the at most N steps of the range that is less than N * scale * 2**-23."""
    ends, kind = case
    qp = choose_qparams(*ends, **kind)
    scale, steps = scale_of(qp), qp.qmax - qp.qmin
    slack = scale * steps / 2**23 + (0 if kind["symmetric"] else scale / 2)
    assert scale * (qp.qmin - int(qp.zero_point)) - slack <= min(Fraction(ends[0]), Fraction(0))
    assert max(Fraction(ends[1]), Fraction(0)) <= scale * (qp.qmax - int(qp.zero_point)) + slack


@given(case=strategies.ranges_and_kinds)
def test_real_zero_is_always_a_code(case: RangeAndKind) -> None:
    """qmin <= zero_point <= qmax: scale * (zero_point - zero_point) = 0 exactly. Symmetric: zero_point = 0."""
    ends, kind = case
    qp = choose_qparams(*ends, **kind)
    assert qp.qmin <= qp.zero_point <= qp.qmax
    assert qp.zero_point == 0 or not kind["symmetric"]


@given(case=strategies.ranges_and_kinds)
def test_the_scale_is_a_normal_float32(case: RangeAndKind) -> None:
    """fl32(scale) = scale, 2**-126 <= scale: what a model file holds, unchanged."""
    ends, kind = case
    scale = scale_of(choose_qparams(*ends, **kind))
    assert oracles.to_float(scale, FLOAT32) == scale
    assert oracles.SMALLEST_SCALE <= scale <= Fraction(FLOAT32_MAX)


@given(case=strategies.ranges_and_kinds.map(with_power_of_two).filter(strategies.is_legal))
def test_a_power_of_two_scale_is_the_next_one_up(case: RangeAndKind) -> None:
    """s <= 2**k < 2s, with s = (rmax - rmin) / N or max(|rmin|, |rmax|) / qmax, at least 2**-126.

    Slack: s is rounded to float64 twice before it is compared, 2**-52 of itself at most."""
    ends, kind = case
    qp = choose_qparams(*ends, **kind)
    low, high = min(Fraction(ends[0]), Fraction(0)), max(Fraction(ends[1]), Fraction(0))
    exact = max(-low, high) / qp.qmax if kind["symmetric"] else (high - low) / (qp.qmax - qp.qmin)
    if exact == 0:
        return
    exact, scale, slack = max(exact, oracles.SMALLEST_SCALE), scale_of(qp), Fraction(1, 2**52)
    assert scale == Fraction(2) ** oracles.exponent_of(scale)
    assert exact * (1 - slack) <= scale < 2 * exact * (1 + slack)


@given(cases=st.lists(strategies.ranges_and_kinds, max_size=4), axis=st.integers(-3, 3))
def test_each_channel_gets_what_it_would_get_alone(cases: list[RangeAndKind], axis: int) -> None:
    """choose_qparams of arrays = choose_qparams of each pair; also for no channel at all."""
    kind = cases[0][1] | {"power_of_two": all(c[1]["power_of_two"] for c in cases)} if cases else {}
    ends = [c[0] for c in cases]
    qp = choose_qparams(np.array([e[0] for e in ends]), np.array([e[1] for e in ends]), axis=axis, **kind)
    alone = [choose_qparams(*pair, **kind) for pair in ends]
    assert qp.axis == axis
    assert np.asarray(qp.scale).tolist() == [a.scale for a in alone]
    assert np.asarray(qp.zero_point).tolist() == [a.zero_point for a in alone]
    assert all((qp.qmin, qp.qmax, qp.dtype) == (a.qmin, a.qmax, a.dtype) for a in alone)


_moderate = st.one_of(st.just(0.0), st.floats(2.0**-60, 2.0**60), st.floats(-(2.0**60), -(2.0**-60)))


@given(a=_moderate, b=_moderate, kind=strategies.kinds(), k=st.integers(-8, 8))
def test_scaling_the_range_by_a_power_of_two_scales_the_scale_and_keeps_the_zero_point(
    a: float, b: float, kind: dict[str, Any], k: int
) -> None:
    """Away from where scales stop being normal float32; an empty range is scale 1 at any size."""
    one = choose_qparams(min(a, b), max(a, b), **kind)
    other = choose_qparams(min(a, b) * 2.0**k, max(a, b) * 2.0**k, **kind)
    factor = 1.0 if a == b == 0 else 2.0**k
    assert (other.scale, other.zero_point) == (float(one.scale) * factor, one.zero_point)


def test_a_zero_point_on_a_tie_is_rounded_from_the_exact_quotient() -> None:
    """[-1, 1] in 0..255: 0 - (-1) / (2/255) is 127.5, so 128; a scale computed in float32 gives 127.49999 and 127
    (tensorflow/model-optimization#858). Signed: -0.5, so -1."""
    assert choose_qparams(-1.0, 1.0, signed=False).zero_point == 128
    assert choose_qparams(-1.0, 1.0).zero_point == -1
    assert choose_qparams(-1.1, 1.1, signed=False).zero_point == 128
    assert choose_qparams(-0.1, 0.1, signed=False, bits=4).zero_point == 8


def test_a_range_that_leaves_out_zero_is_widened_to_it() -> None:
    """[250, 1000] would put the zero point at -213; [0.5, 1] would decode 1 as 0.5."""
    far = choose_qparams(250, 1000)
    assert (far.zero_point, far.rmin) == (-128, 0.0)
    assert abs(Fraction(float(far.rmax)) - 1000) <= Fraction(1000, 2**24)
    assert choose_qparams(0.5, 1.0) == choose_qparams(0.0, 1.0)
    assert choose_qparams(-1.0, -0.5) == choose_qparams(-1.0, 0.0)
    assert choose_qparams(-1.0, -0.5).zero_point == 127


@given(kind=strategies.kinds())
def test_an_empty_range_gives_scale_one(kind: dict[str, Any]) -> None:
    """rmin = rmax = 0, of either sign: no 0/0, no log of 0."""
    for zero in (0.0, -0.0, 0):
        qp = choose_qparams(zero, zero, **kind)
        assert qp.scale == 1.0
        assert qp.zero_point == max(0, qp.qmin)


def test_an_empty_channel_between_others_gives_scale_one() -> None:
    qp = choose_qparams(np.array([-1.0, 0.0, -127.0]), np.array([1.0, 0.0, 127.0]), symmetric=True, axis=0)
    assert np.asarray(qp.scale).tolist() == [float(np.float32(1 / 127)), 1.0, 1.0]


def test_a_constant_signal_is_its_own_end() -> None:
    """rmin = rmax = c > 0 gives [0, c], so c is the largest code."""
    assert choose_qparams(2.55, 2.55, signed=False) == choose_qparams(0.0, 2.55, signed=False)


def test_a_denormal_range_gets_the_smallest_normal_scale() -> None:
    for tiny in (5e-324, 1e-45, 1e-40, 2.0**-126):
        for symmetric in (False, True):
            assert choose_qparams(-tiny, tiny, symmetric=symmetric).scale == SMALLEST


def test_the_largest_float32_range_is_taken() -> None:
    for kind in ({"bits": 2, "symmetric": True, "narrow_range": True}, {"bits": 2}, {}):
        assert math.isfinite(choose_qparams(-FLOAT32_MAX, FLOAT32_MAX, **kind).scale)


def test_symmetric_takes_the_larger_magnitude_over_qmax_narrow_or_not() -> None:
    for narrow in (False, True):
        for ends in ((-3.0, 1.0), (-1.0, 3.0), (-3.0, -1.0)):
            qp = choose_qparams(*ends, symmetric=True, narrow_range=narrow)
            assert (qp.scale, qp.zero_point, qp.qmin) == (float(np.float32(3 / 127)), 0, -127 if narrow else -128)


def test_the_ends_may_be_any_real_numbers() -> None:
    expected = choose_qparams(-1.0, 3.0)
    for scalar in (int, np.int8, np.int64, np.float16, np.float32, np.float64, np.longdouble):
        assert choose_qparams(scalar(-1), scalar(3)) == expected
    assert choose_qparams([-1, -1], [3, 3], axis=0).zero_point.tolist() == [-64, -64]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((math.nan, 1.0), {}, ValueError, "rmin must be finite, got NaN. Look for it in the data"),
        ((0.0, math.nan), {}, ValueError, "rmax must be finite, got NaN"),
        ((-math.inf, 1.0), {}, ValueError, "rmin must be finite, got infinity. Look for it in the data"),
        ((0.0, math.inf), {}, ValueError, "rmax must be finite, got infinity"),
        (([0.0, math.nan], [1.0, 1.0]), {"axis": 0}, ValueError, "rmin must be finite, got NaN"),
        ((1.0, -1.0), {}, ValueError, "rmin must not be above rmax, got rmin=1.0, rmax=-1.0. Swap them"),
        ((0.0, 3.5e38), {}, ValueError, r"rmax must be within float32 \(3.4e38\), got 3.5e\+38. Rescale the signal"),
        ((-3.5e38, 0.0), {}, ValueError, r"rmin must be within float32 \(3.4e38\), got 3.5e\+38"),
        ((0.0, 1.0), {"bits": 1}, ValueError, "bits must be between 2 and 16, got 1. Use float"),
        ((0.0, 1.0), {"bits": 17}, ValueError, "bits must be between 2 and 16, got 17"),
        ((0.0, 1.0), {"bits": 8.0}, TypeError, "bits must be a whole number, got 8.0"),
        ((0.0, 1.0), {"symmetric": True, "signed": False}, ValueError, "symmetric must go with signed codes, got signed=False"),
        ((0.0, FLOAT32_MAX), {"bits": 2, "symmetric": True, "power_of_two": True}, ValueError, "the power-of-two scale must fit"),
        (("0", 1.0), {}, TypeError, "rmin must be a real number, got '0'. Pass the end"),
        ((0.0, None), {}, TypeError, "rmax must be a real number, got None"),
        ((False, True), {}, TypeError, "rmin must be a real number, got False"),
        (([0.0], [1.0]), {}, ValueError, r"rmin must be one number without axis and .*, got shape \(1,\) and axis=None"),
        ((0.0, [1.0]), {"axis": 0}, ValueError, r"rmin must be .* 1-D with axis, got shape \(\) and axis=0"),
        (([[0.0]], [[1.0]]), {"axis": 0}, ValueError, r"got shape \(1, 1\) and axis=0. Give axis="),
        (([0.0], [1.0, 2.0]), {"axis": 0}, ValueError, r"rmin and rmax must have one shape, got \(1,\) and \(2,\). Give both"),
        (([0.0], [1.0]), {"axis": 0.0}, TypeError, "axis must be a whole number, got 0.0"),
    ],
)
def test_an_impossible_range_is_refused(
    arguments: tuple[Any, Any], keywords: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        choose_qparams(*arguments, **keywords)


@given(case=strategies.ranges_and_kinds, left=st.sampled_from([0.0, 0.5, 1.0]), right=st.sampled_from([0.0, 0.5, 1.0]))
def test_a_part_of_a_range_has_no_larger_scale(case: RangeAndKind, left: float, right: float) -> None:
    """Why a scale a channel is never larger than one for the whole tensor (an empty part excepted: scale 1)."""
    (rmin, rmax), kind = case
    low, high = min(rmin, 0.0) * left, max(rmax, 0.0) * right
    if low != high:
        assert scale_of(choose_qparams(low, high, **kind)) <= scale_of(choose_qparams(rmin, rmax, **kind))
