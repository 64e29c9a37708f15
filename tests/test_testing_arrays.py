"""What a function is handed and what it hands back: rows of numbers, the caller's own arrays, no answer at all, any signature."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tinyquant.testing import (
    LAWS,
    BatchesCase,
    CodesCase,
    MapCase,
    RescaleCase,
    SignatureError,
    check,
    exact,
    find_law,
    grid,
    is_legal,
    right_answers,
    wrong_answers,
)
from tinyquant.testing.calling import call
from tinyquant.testing.cases import given, in_rows
from tinyquant.testing.grid import LAYERS_BESIDE_A_HALF
from tinyquant.testing.law import changed_inputs, show
from tinyquant.testing.report import written


@pytest.mark.parametrize("role", ["quantize", "dequantize", "fake_quantize", "ste_gradient", "split_error", "round_to_int",
                                  "requantize", "recall", "minmax_range", "choose_qparams", "times_smaller"])  # fmt: skip
@pytest.mark.parametrize("answer", [None, ..., "later"])
def test_no_answer_is_told_as_none(role: str, answer: object) -> None:
    """A forgotten return, `...`, a string: told by what it is, never by its shape or the type of an array made of it."""
    found = check(lambda *values: answer, role=role, engine="grid")
    assert found.broken is not None and found.error is None
    words = {"None": "is a return missing?", "Ellipsis": "ellipsis", "later": "str later"}[str(answer)]
    assert words in found.broken.yours, found.to_text()


def test_a_list_is_called_a_list() -> None:
    found = check(lambda x, scale, zero_point: np.clip(np.round(x / scale) + zero_point, -128, 127).astype(int).tolist(),
                  "codes_and_dtype", role="quantize", engine="grid")  # fmt: skip
    assert found.broken is not None and (found.broken.yours, found.broken.right) == ("a list", "an array of int8")


def test_every_array_that_keeps_its_shape_or_its_owner_has_a_law() -> None:
    """Of each role that is handed an array some law says that it stays as it was; the elementwise ones have one about shapes."""
    no_array = {"choose_qparams", "tie_breaker", "quantize_multiplier", "times_smaller", "images_lost", "sign_test"}
    for role in {one.role for one in LAWS.values()} - no_array:
        one = [law for law in LAWS.values() if law.role == role and "stay" in law.words]
        assert one or role == "dequantize" and "as they were" in LAWS["reals_and_dtype"].words, role
    shaped = {one.role for one in LAWS.values() if one.rows}
    assert shaped == {"quantize", "dequantize", "fake_quantize", "ste_gradient", "split_error", "round_to_int", "requantize",
                      "scale_gradient", "minmax_range", "percentile_range", "mse_range"}  # fmt: skip


def test_the_input_of_a_report_is_what_the_function_was_called_with() -> None:
    """`np.concatenate(batches)` works on rows of numbers; the batches it fails on are printed with their brackets."""

    def joined(batches: Any) -> Any:
        everything = np.concatenate(batches)
        return min(0.0, everything.min()), max(0.0, everything.max())

    found = check(joined, role="minmax_range", engine="grid")
    assert found.broken_law == "minmax_of_any_shape" and isinstance(found.case, BatchesCase)
    text = found.to_text().splitlines()[1].removeprefix("  input    batches=")
    batches = [np.array(batch) for batch in eval(text)]
    assert {batch.ndim for batch in batches} == {2}
    with pytest.raises(ValueError):
        joined(batches)


def test_rows_come_in_two_and_three_dimensions() -> None:
    shapes = {np.shape(in_rows(tuple(range(n)))) for n in range(1, 9)}
    assert shapes == {(1, 1), (1, 2), (1, 3), (2, 2), (1, 5), (2, 3), (1, 7), (2, 2, 2)}
    values = given(MapCase((1.0, 2.0, 3.0, 4.0), dtype="float32"), rows=("x",))
    assert np.array_equal(values["x"], [[1, 2], [3, 4]]) and np.asarray(values["x"]).dtype == np.float32
    assert written(CodesCase((1, 2)), "reals_of_any_shape").startswith("codes=[[1, 2]]")
    sizes = {len(case.x) for case in grid(MapCase) if isinstance(case, MapCase)}
    assert any(size % 4 == 0 for size in sizes) and any(size % 2 for size in sizes)


def test_a_list_of_arrays_stays_as_it_was() -> None:
    """Its arrays, their order and their number."""
    def batches() -> dict[str, Any]:
        return {"batches": [np.array([2.0, 1.0]), np.array([3.0])]}

    spoils: list[tuple[Callable[[Any], Any], str]] = [
        (lambda batches: batches[0].sort(), "batches[0] itself became [1.0, 2.0]"),
        (lambda batches: batches.pop(), "batches itself holds 1 arrays now, or others"),
        (lambda batches: batches.reverse(), "batches itself holds 2 arrays now, or others"),
    ]
    for spoil, words in spoils:
        broken = changed_inputs(spoil, batches())
        assert broken is not None and broken.yours == words
    assert changed_inputs(lambda batches: batches[0].min(), batches()) is None


def test_a_slip_that_only_spoils_arrays_is_named_for_the_law_it_breaks_only() -> None:
    slips = {answer.name: answer for answer in wrong_answers("choose_threshold")}
    found = check(slips["sorts_in_place"].fn, role="choose_threshold", engine="grid")
    assert found.broken_law == "threshold_leaves_its_inputs_alone"
    assert found.looks_like == slips["sorts_in_place"].misconception
    flat = check(lambda x, scale, zero_point: np.clip(np.round(x / scale) + zero_point, -128, 127).astype(np.int8).reshape(-1),
                 role="quantize", engine="grid")  # fmt: skip
    assert flat.broken_law == "codes_of_any_shape" and "one long row" in flat.looks_like


def test_of_two_slips_with_the_same_numbers_the_one_that_leaves_as_much_alone_is_named() -> None:
    """In int8, in a new array and in the caller's own: the board's formula is the first."""
    slips = {answer.name: answer for answer in wrong_answers("dequantize")}

    def in_place(codes: Any, scale: float, zero_point: int) -> Any:
        codes -= zero_point
        return scale * codes

    for fn, name in ((lambda codes, scale, zero_point: scale * (codes - zero_point), "wraps_in_eight_bits"),
                     (in_place, "subtracts_in_place")):  # fmt: skip
        found = check(fn, role="dequantize", engine="grid")
        assert found.broken_law == "decodes_to_its_real" and found.looks_like == slips[name].misconception


# Signatures


def code_of(x: float, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> int:
    """The code of one number."""
    return min(max(round(x / scale) + zero_point, qmin), qmax)


def without_wraps(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as a student writes it."""

    def timed(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return timed


@without_wraps
def decorated(values: Any, s: float, zp: int) -> Any:
    """Other names, and no qmin and qmax."""
    return np.clip(np.round(values / s) + zp, -128, 127).astype(np.int8)


def starred(*args: Any) -> Any:
    """Whatever comes, by place."""
    x, scale, zero_point, qmin, qmax = args
    return np.clip(np.round(x / scale) + zero_point, qmin, qmax).astype(np.int8 if qmin == -128 else np.int32)


def named(**kwargs: Any) -> Any:
    """Whatever comes, by name."""
    return starred(*(kwargs[name] for name in ("x", "scale", "zero_point", "qmin", "qmax")))


class Unhashable:
    """A callable that no table can hold."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
        return starred(x, scale, zero_point, qmin, qmax)


@pytest.mark.parametrize("fn", [np.vectorize(code_of, otypes=[np.int8]), decorated, starred, named, Unhashable()],
                         ids=["vectorize", "decorated", "args", "kwargs", "unhashable"])  # fmt: skip
def test_any_signature_is_understood(fn: Any) -> None:
    """np.vectorize(f), a decorator without wraps, *args, **kwargs; a wrong one is caught all the same."""
    assert check(fn, role="quantize", engine="grid", int8=True).passed or fn is not decorated
    laws = [one for one in LAWS.values() if one.role == "quantize" and one.name not in ("rounding_mode", "codes_and_dtype")]
    for one in laws:
        for case in (MapCase((0.25, 300.0, -7.0), 0.5, 3), MapCase((1.0, 2.0, 3.0, 4.0))):
            assert one.judge(case, {"quantize": fn}) is None, one.name
    late = without_wraps(lambda x, scale: np.zeros(np.shape(x), np.int8))
    assert not check(late, role="quantize", engine="grid").passed
    assert call(fn, given(MapCase((1.0, 2.0), 0.5, 1))).tolist() == [3, 5]  # type: ignore[attr-defined]


def test_an_unknown_parameter_is_told_the_names_that_are_known() -> None:
    with pytest.raises(SignatureError, match=r"scale \(s\), zero_point \(zp, z\), .* got 'step'. Rename it.") as caught:
        check(lambda x, step: x, role="quantize")
    assert "wrap" not in str(caught.value)


# How exact an answer is


def test_a_step_and_a_zero_point_scaled_apart_are_right_in_float32() -> None:
    """The reviewer's case: 7 and 0.7 in float32; and real 0 is exactly 0, or it is no real 0."""
    for role in ("fake_quantize", "dequantize"):
        names = [fn.__name__ for fn in right_answers(role)]
        assert any("scaled_apart" in name for name in names)
    off = check(lambda codes, scale, zero_point: scale * (codes.astype(float) - zero_point) + 1e-9 * scale, role="dequantize",
                cases=[CodesCase((3,), 0.5, 3)])  # fmt: skip
    assert off.broken_law == "decodes_to_its_real"
    wide = find_law("decodes_to_its_real").judge(CodesCase((127,), 0.5, -128), {
        "dequantize": lambda codes, scale, zero_point: scale * (codes.astype(float) - zero_point) * (1 + 2.0**-21)})  # fmt: skip
    assert wide is not None and (wide.yours, wide.right) == ("code 127 stands for 127.5001", "127.5")


def test_two_numbers_are_written_apart() -> None:
    """As many digits as it takes, also where a float has none left."""
    third = Fraction(1, 3)
    assert show(third) == "0.333333" and show(0.7) == "0.7" and show(0.7, 0.7) == "0.7"
    for close in (third + Fraction(1, 10**8), third - Fraction(1, 2**60), Fraction(0.7)):
        one, other = show(third, close), show(close, third)
        assert one != other and abs(Fraction(one) - third) < abs(Fraction(one) - close)
        assert abs(Fraction(other) - close) < abs(Fraction(other) - third)
    tie = Fraction(39, 2)
    assert show(tie - Fraction(1, 2**36), tie) == "19.49999999999"
    broken = find_law("requantize_nearest").judge(
        RescaleCase((1183775399,), 1127543529, -5),
        {"requantize": lambda acc, multiplier, shift: np.round(acc.astype(float) * multiplier * 2.0 ** (shift - 31)).astype(int)},
    )
    assert broken is not None and ".5" not in broken.right and ".49999" in broken.right


def test_products_beside_a_half_are_what_they_are_called() -> None:
    """One in the last bit of the product from a tie; every right answer takes them."""
    beside = [case for case in grid(RescaleCase) if isinstance(case, RescaleCase) and len(case.acc) == 1]
    assert len(beside) >= 16
    for case in [*beside, RescaleCase((1183775399,), 1127543529, -5)]:
        value = exact.rescale(case.acc[0], case.multiplier, case.shift)
        distance = abs(value % 1 - exact.HALF)
        assert is_legal(case) and distance == Fraction(1, 2 ** (31 - case.shift))
        assert abs(case.acc[0] * case.multiplier) > 2**53
        for fn in right_answers("requantize"):
            assert find_law("requantize_nearest").judge(case, {"requantize": fn}) is None
    for layer in LAYERS_BESIDE_A_HALF:
        acc = exact.dot(layer.x, layer.w, layer.x_zero) + layer.bias
        assert abs(exact.rescale(acc, layer.multiplier, layer.shift) % 1 - exact.HALF) == Fraction(1, 2**47)
        assert is_legal(layer)


def test_a_fraction_is_a_number() -> None:
    assert check(lambda float_bytes, int8_bytes: Fraction(float_bytes, int8_bytes), role="times_smaller", engine="grid").passed
    assert not check(lambda float_bytes, int8_bytes: Fraction(int8_bytes, float_bytes), role="times_smaller").passed


def test_the_ends_of_every_width_are_legal() -> None:
    """Signed, symmetric and unsigned: those a lab uses."""
    for qmin, qmax in ((-3, 3), (-7, 7), (-1, 1), (-127, 127), (-4, 3), (0, 7)):
        assert is_legal(MapCase((1.5,), 0.5, 0, qmin, qmax))
    for qmin, qmax in ((-3, 4), (-128, 128), (0, 0), (3, -3)):
        assert not is_legal(MapCase((1.5,), 0.5, 0, qmin, qmax))
