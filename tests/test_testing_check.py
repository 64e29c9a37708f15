"""The kit judged: every wrong answer is caught by the law it breaks, on the grid alone; no right answer is ever accused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.fixed_point import quantize_multiplier
from tinyquant.numerics.qparams import choose_qparams
from tinyquant.testing import (
    LAWS,
    CodesCase,
    GraphCase,
    MapCase,
    MseCase,
    PropertyBroken,
    SignatureError,
    WrongAnswer,
    assert_property,
    check,
    companions,
    laws_for,
    right_answers,
    tie_rule,
    wrong_answers,
)
from tinyquant.testing.strategies import map_cases
from tinyquant.testing.wrong_answers import roles

WRONG = [pytest.param(answer, id=f"{answer.role}-{answer.name}") for answer in wrong_answers()]


@pytest.mark.parametrize("answer", WRONG)
def test_every_wrong_answer_is_caught_by_each_law_it_breaks(answer: WrongAnswer) -> None:
    """On the grid alone; the report fits 8 lines of 80 columns and the smallest input breaks that law."""
    for name in answer.breaks:
        found = check(answer.fn, name, role=answer.role, engine="grid", **companions(answer.role))
        assert not found.passed, f"{answer.name} keeps {name}"
        assert found.broken_law == name and found.case is not None
        lines = found.to_text().splitlines()
        assert len(lines) <= 8 and max(map(len, lines)) <= 80 and found.to_text().isascii(), found.to_text()
        json.dumps(found.to_dict()["case"])


@pytest.mark.parametrize("role", roles())
def test_no_right_answer_is_accused_on_the_grid(role: str) -> None:
    for fn in right_answers(role):
        found = check(fn, role=role, engine="grid", **companions(role))
        assert found.passed, f"{fn.__name__}:\n{found.to_text()}"
        assert found.tries >= 1


def test_the_registry_is_large_and_every_entry_has_its_sentence() -> None:
    """At least 60, five or more a function, at least two right answers a function; names unique; laws of that function."""
    counts = Counter(answer.role for answer in wrong_answers())
    assert sum(counts.values()) >= 60 and min(counts.values()) >= 5
    assert len({(answer.role, answer.name) for answer in wrong_answers()}) == sum(counts.values())
    for answer in wrong_answers():
        assert len(answer.misconception.split()) >= 4 and answer.breaks
        assert {LAWS[name].role for name in answer.breaks} == {answer.role}
    assert {law.role for law in LAWS.values()} == set(counts)
    assert all(len(right_answers(role)) >= 2 for role in counts)


def test_every_law_is_broken_by_some_wrong_answer_of_the_registry_or_of_this_test() -> None:
    """A law that nothing breaks says nothing; the rule of ties is broken only where one is asked for."""
    unheard = set(LAWS) - {name for answer in wrong_answers() for name in answer.breaks}
    assert unheard == {"rounding_mode"}
    assert not check(right_answers("quantize")[3], "rounding_mode", role="quantize", mode="half_away", engine="grid").passed
    assert not check(lambda codes: [[float(c)] for c in codes], "reals_and_dtype", role="dequantize", engine="grid").passed


@pytest.mark.parametrize("one", laws_for("quantize"), ids=lambda one: one.name)
def test_the_library_itself_keeps_the_laws_in_its_own_form(one: Any) -> None:
    """quantize(x, qp): the QParams form is understood."""
    assert check(quantize, one.name, mode="half_away", engine="grid").passed
    assert check(quantize_multiplier, engine="grid").passed


@given(map_cases())
@settings(max_examples=100, deadline=None)
def test_assert_property_works_inside_given(case: MapCase) -> None:
    for one in laws_for("quantize"):
        assert_property(one.name, case, quantize=quantize)
        if one.name != "rounding_mode":
            assert_property(one.name, case, quantize=right_answers("quantize")[4])


def test_assert_property_raises_the_report() -> None:
    with pytest.raises(PropertyBroken, match="breaks the law saturates"):
        assert_property("saturates", MapCase((300.0,)), quantize=lambda x, scale: [44])
    assert_property("qat_graph_equals_integer_graph", GraphCase(((1.0,),)), qat=np.sign, integer=np.sign)


def test_hypothesis_finds_and_shrinks_too() -> None:
    found = check(wrong_answers("quantize")[0].fn, role="quantize", engine="hypothesis")
    assert found.broken_law == "round_trip_half_step"
    assert isinstance(found.case, MapCase) and len(found.case.x) == 1 and found.case.scale == 1.0


def test_a_tie_rule_is_named_and_any_nearest_rule_passes() -> None:
    assert tie_rule(quantize) == "half_away" and tie_rule(lambda x: x) == ""
    assert [tie_rule(fn) for fn in right_answers("quantize")[:4]] == ["half_away", "half_even", "half_even", "half_up"]
    assert check(right_answers("quantize")[1], role="quantize", engine="grid").tie_rule == "half_even"
    assert not check(right_answers("quantize")[1], role="quantize", mode="half_away", engine="grid").passed


def test_a_known_slip_is_recognised_only_when_it_is_one() -> None:
    for answer in wrong_answers("quantize")[:3]:
        found = check(answer.fn, role="quantize", engine="grid")
        assert found.looks_like == answer.misconception
    strange = check(lambda x, scale: np.full(len(x), 3, np.int8), role="quantize", engine="grid")
    assert not strange.passed and strange.looks_like == ""


def test_what_is_not_written_yet_is_not_a_mistake() -> None:
    def later(x: Any) -> Any:
        raise NotImplementedError

    found = check(later, role="quantize")
    assert found.not_started and not found.passed and "not started" in found.to_text()


def test_what_a_function_raises_is_reported_as_its_answer() -> None:
    found = check(lambda x: 1 // 0, role="quantize", engine="grid")
    assert found.broken is not None and found.broken.yours.startswith("raised ZeroDivisionError")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check(quantize, "no_such_law"), "a law must be one of .* got 'no_such_law'"),
        (lambda: check(quantize, role="nobody"), "the role must be one of .* got 'nobody'"),
        (lambda: check(quantize, engine="guess"), "engine must be .* got 'guess'"),
        (lambda: check(quantize, mode="nearest"), "mode must be one of .* got 'nearest'"),
        (lambda: assert_property("saturates", CodesCase((1,)), quantize=quantize), "is tried on a MapCase, got CodesCase"),
        (lambda: assert_property("saturates", MapCase((1.0,))), "needs a function quantize="),
        (lambda: check(quantize, cases=[]), "cases must hold one MapCase at least, got none"),
        (lambda: check(quantize, cases=[CodesCase((1,))]), "cases must hold MapCase only, got CodesCase"),
        (lambda: wrong_answers("nobody"), "role must be one of .* got 'nobody'"),
        (lambda: right_answers("nobody"), "role must be one of .* got 'nobody'"),
    ],
)
def test_a_caller_s_mistake_is_named(call: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_parameters_that_cannot_be_matched_are_named() -> None:
    with pytest.raises(SignatureError, match="got 'colour'"):
        check(lambda colour: colour, role="quantize")


def test_the_kit_is_imported_and_works_without_hypothesis() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "from tinyquant.testing import check, wrong_answers\n"
        "assert not check(wrong_answers('quantize')[0].fn, role='quantize').passed\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_search_that_begins_at_the_empty_range_is_right() -> None:
    """Its scale is 1, as choose_qparams gives it: whole numbers come back from it exactly, and a search may choose it."""

    def searched(x: Any, bits: int) -> tuple[float, float]:
        low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)

        def error(k: float) -> float:
            qp = choose_qparams(k * low, k * high, bits=bits)
            return float(np.mean((dequantize(quantize(x, qp), qp) - x) ** 2))

        best = min(np.linspace(0.0, 1.0, 21), key=error)
        return best * low, best * high

    assert searched(np.array([1.0]), 2) == (0.0, 0.0)
    found = check(searched, role="mse_range", cases=[MseCase((1.0,), 2), MseCase((-1.0, 1.0), 2), MseCase((0.3, 0.7), 3)])
    assert found.passed, found.to_text()
    assert not check(lambda x, bits: (0.0, 0.0), role="mse_range", cases=[MseCase((0.3, 0.7), 3)]).passed


def test_own_cases_are_tried_and_no_others() -> None:
    """Of several kinds each law gets its own; the mistake is beyond 127, and only a case that goes there shows it."""

    def wraps(x: Any, scale: float, zero_point: int) -> Any:
        return (np.round(x / scale) + zero_point).astype(np.int64).astype(np.int8)

    inside = check(wraps, role="quantize", cases=[MapCase((1.0, 2.0))])
    assert inside.passed and inside.tries == len(laws_for("quantize")) - 1  # the rule of ties is not asked for
    assert check(wraps, role="quantize", cases=iter([MapCase((1.0,)), MapCase((128.0,))])).broken_law == "saturates"


def test_a_plain_loop_is_right_where_only_rows_of_numbers_are_asked_for() -> None:
    """And a function that loses numbers is not."""

    def loop(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
        kind = np.int8 if (qmin, qmax) == (-128, 127) else np.int32
        return np.array([min(max(round(float(v) / scale) + zero_point, qmin), qmax) for v in x], kind)

    found = check(loop, role="quantize", engine="grid", flat=True)
    assert found.passed and "codes_of_any_shape" not in found.laws
    assert check(loop, role="quantize", engine="grid").broken_law == "codes_of_any_shape"
    first = check(lambda x, scale, zero_point: loop(x, scale, zero_point)[:1], role="quantize", engine="grid", flat=True)
    assert not first.passed


def test_a_known_slip_is_named_only_where_enough_inputs_show_it() -> None:
    """Three empty ranges are caught, but they are too few to say what somebody believed; thirty ranges without 0 are not."""
    slips = {answer.name: answer for answer in wrong_answers("choose_qparams")}
    few, many = (check(slips[name].fn, role="choose_qparams", engine="grid") for name in ("empty_range", "symmetric"))
    assert not few.passed and few.looks_like == ""
    assert not many.passed and many.looks_like == slips["symmetric"].misconception
