"""What a student reads: every report of every wrong answer, what a raised exception leaves behind, and what ends a check."""

from __future__ import annotations

import json
import textwrap
import traceback
from functools import cache
from typing import Any

import numpy as np
import pytest

from tinyquant.testing import (
    LAWS,
    Abort,
    BytesCase,
    CheckResult,
    MapCase,
    MseCase,
    PropertyBroken,
    RoundCase,
    assert_property,
    check,
    companions,
    find_law,
    grid,
    right_answers,
    shrink,
    tie_rule,
    wrong_answers,
)
from tinyquant.testing.cases import in_rows
from tinyquant.testing.law import changed_inputs, show
from tinyquant.testing.report import WIDTH, report_lines
from tinyquant.testing.wrong_answers import looks_like, roles


@cache
def found_in(role: str, name: str) -> CheckResult:
    """What the grid says about a wrong answer."""
    answer = next(one for one in wrong_answers(role, "half_away") if one.name == name)
    return check(answer.fn, role=role, mode=answer.mode, engine="grid", **companions(role))


def tupled(value: Any) -> Any:
    """Lists as tuples, to the innermost."""
    return tuple(map(tupled, value)) if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("role", roles())
def test_every_report_has_its_lines_and_an_input_that_can_be_typed_in(role: str) -> None:
    """input, yours, right (with the allowed error), the law, next; at most 8 lines of 80 columns of ASCII. What stands behind
    "input" makes the case again, but for a row that was abbreviated; in rows, where the function was called with rows."""
    for answer in wrong_answers(role, "half_away"):
        found = found_in(role, answer.name)
        assert found.broken is not None and found.case is not None
        text = found.to_text()
        lines = text.splitlines()
        assert 7 <= len(lines) <= 8 and max(map(len, lines)) <= WIDTH and text.isascii(), text
        if lines[2].startswith(" " * 11):
            # An input of two lines.
            lines[1:3] = [f"{lines[1]} {lines[2].strip()}"]
        words = [line[2:9].strip() for line in lines[1:]]
        assert words[:3] == ["input", "yours", "right"] and "the law" in words and words[-1] == "next", text
        assert "allowed" in words or "(exactly)" in text or "(allowed: " in text, text
        assert found.looks_like in ("", answer.misconception) and (not found.looks_like or "like" in words), text
        written = lines[1][len("  input    ") :]
        if "numbers)" not in written:
            typed = found.case._replace(**eval(f"dict({written})"))
            rows = LAWS[found.broken_law].rows
            called = found.case._replace(**{name: in_rows(getattr(found.case, name)) for name in rows})
            assert typed._asdict().keys() == called._asdict().keys()
            assert all(tupled(a) == tupled(b) for a, b in zip(typed, called)), text


def test_most_slips_are_recognised() -> None:
    """Six of seven; the others have the values of a right answer or of another slip, or differ on few inputs."""
    known = [answer for role in roles() for answer in wrong_answers(role)]
    named = [answer for answer in known if found_in(answer.role, answer.name).looks_like]
    assert len(named) >= 6 / 7 * len(known)


def test_no_sentence_is_cut() -> None:
    """A law takes one line or two, a misconception one."""
    for one in LAWS.values():
        assert len(textwrap.wrap(one.words, WIDTH - 11)) <= 2 and one.words.isascii(), one.name
    for answer in wrong_answers("", "half_away"):
        assert len(answer.misconception) <= WIDTH - 11 and answer.misconception.isascii(), answer.name


def test_the_next_action_can_be_replaced() -> None:
    """The last line says what the caller wants; what has passed or is not started has no such line."""
    found = found_in("quantize", "floors")
    assert found.to_text().splitlines()[:-1] == found.to_text("tinyquant hint 1.1").splitlines()[:-1]
    assert found.to_text("tinyquant hint 1.1").splitlines()[-1] == "  next     tinyquant hint 1.1"
    assert len(found.to_text("word " * 40).splitlines()[-1]) == WIDTH
    assert "hint" not in check(right_answers("quantize")[0], role="quantize", engine="grid").to_text("hint")


def test_long_rows_large_powers_and_usual_codes_are_written_short() -> None:
    """Runs, 2**n; what is usual goes first when the line is too long."""
    broken = find_law("mse_contains_zero").judge(MseCase((1.0,)), {"mse_range": lambda x, bits: (1, 2)})
    assert broken is not None
    lines = report_lines("mse_range", "mse_contains_zero", MseCase((0.5,) * 60 + (3.0,), 2), broken)
    assert lines[1] == "  input    x=[0.5] * 60 + [3.0], bits=2"
    found = found_in("integer_layer", "forgets_the_bias")
    assert found.to_text().splitlines()[1] == (
        "  input    x=[0], w=[0], bias=1, x_zero=0, multiplier=2**30, shift=1, y_zero=0"
    )
    assert show(-1000000.5) == "-1000000.5" and show(0.1) == "0.1" and show(2.0) == "2"


def raises_on_negative_numbers(x: Any, scale: Any, zero_point: int) -> Any:
    """A student's function with a line that fails."""
    if (x < 0).any():
        raise KeyError("negative")
    return np.clip(np.round(x / scale) + zero_point, -128, 127).astype(np.int8)


def test_what_the_function_raised_is_kept_with_its_traceback() -> None:
    """On the smallest input; the student's own line is in it; the numbers for json are not."""
    found = check(raises_on_negative_numbers, "round_trip_half_step", role="quantize", engine="grid")
    assert isinstance(found.error, KeyError) and found.broken is not None and found.broken.error is found.error
    frames = traceback.extract_tb(found.error.__traceback__)
    assert frames[-1].name == "raises_on_negative_numbers" and frames[-1].line == 'raise KeyError("negative")'
    assert isinstance(found.case, MapCase) and len(found.case.x) == 1 and found.case.x[0] < 0
    assert "raised an exception under the law round_trip_half_step" in found.to_text()
    assert "error" not in found.to_dict() and json.loads(json.dumps(found.to_dict()))["broken"]["yours"].startswith("raised")
    assert set(found.to_dict()["broken"]) == {"yours", "right", "allowed"}  # type: ignore[call-overload]
    assert found_in("quantize", "floors").error is None


def test_the_exception_is_the_cause_of_the_broken_property() -> None:
    """pytest then shows the author's own traceback first."""
    with pytest.raises(PropertyBroken) as caught:
        assert_property("round_trip_half_step", MapCase((-1.0,)), quantize=raises_on_negative_numbers)
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_answer_no_judge_can_read_is_not_an_exception_of_the_function() -> None:
    """A ragged pair, text, None: the report says so, and no exception is blamed on the function."""
    for answer in ([[1, 2], [3]], "code 3", None, {"codes": [1]}):
        found = check(lambda x, scale, answer=answer: answer, role="quantize", engine="grid")
        assert found.broken is not None and found.error is None and "raised" not in found.to_text()
    pair = check(lambda x, bits: 3.5, role="mse_range", engine="grid")
    assert pair.broken is not None and pair.broken.right == "a pair (rmin, rmax)"


class Stopped(Abort):
    """What a lab derives from Abort."""


class Stops:
    """A function that ends the check after so many calls."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self, x: Any, scale: Any, zero_point: int) -> Any:
        self.calls -= 1
        if self.calls <= 0:
            raise Stopped("enough")
        return np.clip(np.floor(x / scale) + zero_point, -128, 127).astype(np.int8)


@pytest.mark.parametrize("engine", ["grid", "hypothesis", "auto"])
@pytest.mark.parametrize("calls", [1, 2, 5, 40, 100])
def test_an_abort_ends_the_check_wherever_it_is_raised(engine: str, calls: int) -> None:
    """While the rule of ties is looked for, while judging, shrinking, and while the slip is looked for; hypothesis, which takes
    any exception for a failure it should make smaller, is ended at once too."""
    stops = Stops(calls)
    with pytest.raises(Stopped, match="enough"):
        check(stops, role="quantize", engine=engine)
    assert stops.calls == 0


def test_an_abort_passes_through_every_judge() -> None:
    """Of every law, of tie_rule and of looks_like."""

    def stop(*rows: Any, **given: Any) -> Any:
        raise Stopped

    for name, one in LAWS.items():
        functions = {**companions(one.role), one.role: stop}
        with pytest.raises(Stopped):
            # Some laws let some cases through without a call.
            assert all(one.judge(case, functions) is None for case in grid(one.kind)), name
    with pytest.raises(Stopped):
        tie_rule(stop)
    with pytest.raises(Stopped):
        looks_like("quantize", stop, {})


def test_an_array_that_was_changed_is_named() -> None:
    """The first one, with what it became."""
    x = np.array([2.0, 4.0])

    def halves(x: Any) -> Any:
        x /= 2

    broken = changed_inputs(halves, {"x": x, "scale": 1.0})
    assert broken is not None and broken.yours == "x itself became [1.0, 2.0]"
    assert changed_inputs(lambda x: x / 2, {"x": x}) is None


def test_shrinking_reaches_simple_numbers() -> None:
    """The fraction alone, half of it, an eighth less: a long way is made in few steps."""
    assert shrink(RoundCase((-1000000.5,)), lambda case: case.x[0] % 1 == 0.5).x in ((0.5,), (-0.5,))
    assert shrink(MapCase((70000.0,)), lambda case: case.x[0] >= 127.5).x == (128.0,)
    assert shrink(BytesCase(1025, 256), lambda case: case.float_bytes // case.int8_bytes == 4) == BytesCase(4, 1)
