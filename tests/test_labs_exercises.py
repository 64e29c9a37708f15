"""Every exercise judged: a starter is not started, a solution passes, delegating fails, wrong answers are caught."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_files import BUGS, EXERCISES, WRITTEN, asks_the_kit, parameters

from tinyquant.labs.examine import examine, examine_file
from tinyquant.labs.exercise import Bug, Exercise, Item, Sitting
from tinyquant.labs.sources import packaged_function, solution, source, starter
from tinyquant.testing import MapCase, RoundCase, check, find_law, grid, right_answers, wrong_answers
from tinyquant.testing.cases import fits

ALL = pytest.mark.parametrize(
    ("sitting", "item"), EXERCISES, ids=[f"{i.number}-{i.function}" for _, i in EXERCISES]
)
ONLY_WRITTEN = pytest.mark.parametrize(
    ("sitting", "item"), WRITTEN, ids=[f"{i.number}-{i.function}" for _, i in WRITTEN]
)
ONLY_BUGS = pytest.mark.parametrize(("sitting", "item"), BUGS, ids=[f"{i.number}-{i.buggy}" for _, i in BUGS])

DELEGATES = {
    "quantize": "return tq.quantize(x, tq.QParams(scale, zero_point, qmin, qmax))",
    "dequantize": "return tq.dequantize(codes, tq.QParams(scale, zero_point))",
    "choose_qparams": "qp = tq.choose_qparams(rmin, rmax)\n    return qp.scale, qp.zero_point",
    "round_half_away": 'return tq.round_to_int(x, "half_away")',
    "requantize": 'return tq.requantize(acc, multiplier, shift, mode="exact")',
    "fake_quantize": "return tq.fake_quantize(x, tq.QParams(scale, zero_point, qmin, qmax))",
}
"""Function -> the body that lets the library's public function do it."""


def written(folder: Path, text: str) -> Path:
    """A student's file."""
    path = folder / "mine.py"
    path.write_text(text, encoding="utf-8")
    return path


@ALL
def test_the_starter_is_not_started(sitting: Sitting, item: Item, tmp_path: Path) -> None:
    found = examine_file(item, written(tmp_path, starter(sitting)))
    assert found.verdict == "not started" and not found.passed, found.to_text()


@ALL
def test_the_solution_passes(sitting: Sitting, item: Item, tmp_path: Path) -> None:
    found = examine_file(item, written(tmp_path, source(sitting)))
    assert found.passed, found.to_text()
    assert item.function in solution(sitting, item) and "SOLUTION" not in solution(sitting, item)


@ONLY_WRITTEN
def test_handing_the_work_to_the_testing_kit_fails(sitting: Sitting, item: Exercise, tmp_path: Path) -> None:
    found = examine_file(item, written(tmp_path, asks_the_kit(sitting, item)))
    assert found.verdict == "delegated", found.to_text()
    assert f"exercise {item.number} asks you to write this" in found.to_text() and "line 4" in found.to_text()


@pytest.mark.parametrize("name", DELEGATES)
def test_handing_the_work_to_the_library_fails(name: str, tmp_path: Path) -> None:
    sitting, item = next((one, item) for one, item in WRITTEN if item.function == name)
    head = f"import tinyquant as tq\n\ndef {name}({', '.join(parameters(sitting, item))}):\n    "
    found = examine_file(item, written(tmp_path, head + DELEGATES[name] + "\n"))
    assert found.verdict == "delegated" and "asks you to write this" in found.to_text(), found.to_text()


@pytest.mark.parametrize(
    "text",
    [
        "from tinyquant import quantize as mine\ndef quantize(x, qp):\n    return mine(x, qp)\n",
        "import tinyquant\nmine = tinyquant.numerics.affine.quantize\ndef quantize(x, qp):\n    return mine(x, qp)\n",
        "import importlib\ndef quantize(x, qp):\n    return importlib.import_module('tinyquant').quantize(x, qp)\n",
        "from tinyquant.testing import exact\ndef quantize(x, scale, zero_point):\n"
        "    return [exact.quantize(v, scale, zero_point) for v in x]\n",
        "import tinyquant as tq\ndef inner(x, qp):\n    return tq.quantize(x, qp)\n"
        "def quantize(x, qp):\n    return inner(x, qp)\n",
        "import tinyquant as tq\ndef quantize(x, qp):\n    try:\n        return tq.quantize(x, qp)\n"
        "    except Exception:\n        raise\n",
        "import tinyquant as tq\ndef quantize(x, qp):\n    try:\n        tq.quantize(x, qp)\n"
        "    except Exception:\n        pass\n"
        "    return tq.quantize(x, qp)\n",
        "import functools, tinyquant as tq\n_q = functools.partial(tq.quantize)\ndef quantize(x, qp):\n    return _q(x, qp)\n",
    ],
)
def test_no_roundabout_way_to_the_library_passes(text: str, tmp_path: Path) -> None:
    """An alias, a submodule, an import at the last moment, the kit's oracle, a helper, a net under it."""
    _, item = next((one, item) for one, item in WRITTEN if item.function == "quantize")
    assert examine_file(item, written(tmp_path, text)).verdict == "delegated"


def test_what_an_exercise_allows_may_be_called(tmp_path: Path) -> None:
    """QParams always; a function named in ``allowed``, with all that it calls itself."""
    _, item = next((one, item) for one, item in WRITTEN if item.function == "quantize")
    text = (
        "import numpy as np\nimport tinyquant as tq\n\ndef quantize(x, scale, zero_point, qmin=-128, qmax=127):\n"
        "    qp = tq.QParams(scale, zero_point, qmin, qmax)\n"
        "    return np.clip({} + zero_point, qmin, qmax).astype(qp.dtype)\n"
    )
    assert examine_file(item, written(tmp_path, text.format("np.round(x / scale)"))).passed
    rounded = written(tmp_path, text.format('tq.round_to_int(x / scale, "half_even")'))
    assert examine_file(item, rounded).verdict == "delegated"
    allowing = Exercise("1.1", "quantize", title="t", hints=item.hints, allowed=("round_to_int",))
    assert examine_file(allowing, rounded).passed


@ONLY_WRITTEN
def test_every_known_wrong_answer_is_caught_as_the_lab_asks(sitting: Sitting, item: Exercise) -> None:
    """With the laws and the rounding rule of the exercise; at least five for each. Not guarded: they lie in the package. What
    only loses a shape is right where one row is asked for."""
    known = [one for one in wrong_answers(item.role) if not (item.flat and all(find_law(name).rows for name in one.breaks))]
    assert len(known) >= 5
    for answer in known:
        found = examine(item, answer.fn, guarded=False)
        assert found.verdict in ("broken", "raised"), f"{answer.name}: {found.to_text()}"
        assert len(found.lines) <= 8 and all(len(line) <= 80 and line.isascii() for line in found.lines), (
            found.to_text()
        )


@ONLY_WRITTEN
def test_no_right_answer_is_accused(sitting: Sitting, item: Exercise) -> None:
    """Every right variant the kit knows, unless the exercise names another rule of ties."""
    for fn in right_answers(item.role):
        if not item.mode or check(fn, role=item.role, mode=item.mode, engine="grid").passed:
            found = examine(item, fn, guarded=False)
            assert found.passed, f"{fn.__name__}: {found.to_text()}"


@pytest.mark.parametrize(
    "body",
    [
        "return np.clip(np.round(x / scale) + zero_point, qmin, qmax).astype(np.int8)",
        "return np.clip(np.floor(x / scale + 0.5) + zero_point, -128, 127).astype(np.int8) if qmin == -128 else "
        "np.clip(np.rint(x / scale) + zero_point, qmin, qmax).astype('int8')",
        "return np.int8([min(max(round(v / scale) + zero_point, qmin), qmax) for v in x])",
        "return np.rint(np.clip(np.asarray(x, np.float64) / scale + zero_point, qmin, qmax)).astype(np.int8)",
    ],
)
def test_the_natural_answers_to_the_first_exercise_pass(body: str, tmp_path: Path) -> None:
    """Always int8, as its last hint writes it: the codes of a first lab are int8."""
    _, item = next((one, item) for one, item in WRITTEN if item.function == "quantize")
    text = f"import numpy as np\n\ndef quantize(x, scale, zero_point, qmin=-128, qmax=127):\n    {body}\n"
    found = examine_file(item, written(tmp_path, text))
    assert found.passed, found.to_text()


LOOPS = {
    "1.2": "def dequantize(codes, scale, zero_point):\n    return np.array([scale * (int(q) - zero_point) for q in codes])\n",
    "4.2": "def requantize(acc, multiplier, shift):\n"
    "    return np.array([(int(a) * multiplier + (1 << (30 - shift))) >> (31 - shift) for a in acc])\n",
    "2.2": "def round_half_away(x):\n"
    "    return np.array([float(int(abs(v) + 0.5)) * (1 if v > 0 else -1) for v in x])\n",
    "5.1": "def fake_quantize(x, scale, zero_point, qmin=-128, qmax=127):\n"
    "    codes = [min(max(round(v / scale) + zero_point, qmin), qmax) for v in x]\n"
    "    return np.array([scale * (q - zero_point) for q in codes])\n",
}
"""A plain loop over the numbers: right where the lab gives one row, too little where it gives images or weights."""


@pytest.mark.parametrize("number", LOOPS)
def test_a_plain_loop_is_right_where_the_lab_gives_one_row(number: str, tmp_path: Path) -> None:
    item = next(item for _, item in WRITTEN if item.number == number)
    assert isinstance(item, Exercise)
    found = examine_file(item, written(tmp_path, f"import numpy as np\n\n{LOOPS[number]}"))
    assert found.passed == item.flat == (number in ("1.2", "4.2")), found.to_text()
    if not item.flat:
        assert "[[" in found.to_text() and "shape" in found.to_text(), "the rows that it failed on, and the law"


def test_the_first_mistakes_are_told_by_their_own_law(tmp_path: Path) -> None:
    """Not by a corner of the int8 cast that a beginner has not met."""
    _, item = next((one, item) for one, item in WRITTEN if item.function == "quantize")
    head = "import numpy as np\n\ndef quantize(x, scale, zero_point, qmin=-128, qmax=127):\n    "
    for body, words in (
        ("return np.clip(np.round(x / scale), qmin, qmax).astype(np.int8)", "zero_gets_the_zero_point"),
        ("return np.clip((np.round(x / scale) + zero_point).astype(np.int8), qmin, qmax)", "saturates"),
        (
            "return np.clip(np.trunc(x / scale) + zero_point, qmin, qmax).astype(np.int8)",
            "round_trip_half_step",
        ),
    ):
        assert (
            f"breaks the law {words}" in examine_file(item, written(tmp_path, head + body + "\n")).to_text()
        )


@ONLY_BUGS
def test_a_bug_is_one_and_is_found_only_by_an_input_that_shows_it(sitting: Sitting, item: Bug) -> None:
    """The planted function goes wrong on some input of the grid and does well on others; no input that it does well on passes."""
    one = find_law(item.law)
    planted = packaged_function(sitting, item.buggy)
    cases = [case for case in grid(one.kind, "half_away") if fits(planted, case)]
    # Long rows show almost any bug; each case also with a few of its numbers alone.
    cases += [
        case._replace(x=(x,)) for case in cases if isinstance(case, (MapCase, RoundCase)) for x in case.x[::9]
    ]
    shown = [one.judge(case, {item.role: planted}) is not None for case in cases]
    harmless = [case for case, wrong in zip(cases, shown) if not wrong]
    assert any(shown) and harmless
    for case in harmless[:3]:
        given = {name: value for name, value in case._asdict().items() if name != "mode"}
        found = examine(item, lambda given=given: given)
        assert found.verdict == "broken" and "this law holds" in found.to_text(), found.to_text()
    for nonsense in ({}, {"colour": 1}, 3, None):
        assert examine(item, lambda nonsense=nonsense: nonsense).verdict == "broken"


@ALL
def test_every_item_has_what_a_student_needs(sitting: Sitting, item: Item) -> None:
    """Three different hints, plain ASCII; the last is no complete solution."""
    assert len(set(item.hints)) == 3 and all(hint.isascii() and hint.strip() for hint in item.hints)
    assert item.title and len(item.title) <= 60
    assert item.hints[2] not in solution(sitting, item)
