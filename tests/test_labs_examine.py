"""What a student reads: exceptions with their line, loops that are ended, files that cannot be used, in eight lines."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import tinyquant as tq
from tinyquant.labs.examine import EXIT_CODES, Report, examine, examine_file
from tinyquant.labs.exercise import Bug, Exercise, Sitting
from tinyquant.labs.guard import FirstLine, Guard, OutOfTime
from tinyquant.labs.sittings import find_exercise

HEAD = "import numpy as np\n\n\n"


def judged(text: str, folder: Path, number: str = "1.2", seconds: float = 5.0) -> Report:
    """The report on a file, which must have its form."""
    path = folder / "mine.py"
    path.write_text(text, encoding="utf-8")
    found = examine_file(find_exercise(number), path, seconds=seconds)
    assert len(found.lines) <= 8 and all(len(line) <= 80 and line.isascii() for line in found.lines), (
        found.to_text()
    )
    return found


def test_a_wrong_answer_is_met_with_its_smallest_input(tmp_path: Path) -> None:
    text = (
        HEAD
        + "def dequantize(codes, scale, zero_point):\n    return scale * (codes.astype(int) + zero_point)\n"
    )
    found = judged(text, tmp_path)
    assert found.verdict == "broken" and found.lines[0] == "1.2 dequantize breaks the law decodes_to_its_real"
    words = found.to_text()
    assert "tinyquant hint 1.2" in words and "subtracted on the way back" in words
    assert "zero_point=1" in words and "scale=1.0" in words


def test_an_exception_shows_the_student_s_line_and_hides_ours(tmp_path: Path) -> None:
    text = (
        HEAD
        + "def dequantize(codes, scale, zero_point):\n    table = np.zeros(3)\n    return table[codes + 5]\n"
    )
    found = judged(text, tmp_path)
    assert found.verdict == "raised" and EXIT_CODES[found.verdict] == 3
    words = found.to_text()
    assert "IndexError" in words and "line 6" in words and "return table[codes + 5]" in words
    assert "table: float64 (3,)" in words and "codes: int8" in words
    assert "testing" not in words and "site-packages" not in words


def test_an_exception_at_the_top_of_the_file_is_told(tmp_path: Path) -> None:
    text = "import numpy as np\n\nK = {}['no']\n\n\ndef dequantize(codes, scale, zero_point):\n    return K * np.int32(1)\n"
    found = judged(text, tmp_path)
    assert (
        found.verdict == "raised"
        and "the file stops with KeyError" in found.to_text()
        and "line 3" in found.to_text()
    )
    assert "legal input" not in found.to_text()


def test_the_deepest_line_of_the_student_s_is_shown(tmp_path: Path) -> None:
    text = HEAD + (
        "def inner(codes):\n    return codes['no']\n\n\ndef dequantize(codes, scale, zero_point):\n    return inner(codes)\n"
    )
    assert "line 5" in judged(text, tmp_path).to_text()


def test_what_the_function_prints_on_the_smallest_input_is_shown(tmp_path: Path) -> None:
    text = (
        HEAD
        + "def dequantize(codes, scale, zero_point):\n    print('codes', codes)\n    return scale * codes\n"
    )
    assert "  printed  codes [" in judged(text, tmp_path).to_text()


def test_a_loop_that_swallows_the_interrupt_is_interrupted_again() -> None:
    caught = []

    def stubborn() -> None:
        while len(caught) < 2:
            try:
                _busy(30)
            except KeyboardInterrupt:
                caught.append(1)
        _busy(30)

    with Guard(seconds=0.2) as guard, pytest.raises(OutOfTime):
        guard.wrap(stubborn)()
    assert len(caught) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def dequantize(codes, scale, zero_point):\n    return [1\n", "never closed"),
        ("def other():\n    pass\n", "defines no function dequantize"),
        ("", "defines no function dequantize"),
        ("def dequantize(codes, scale, zero_point):\n\treturn 1\n        return 2\n", "line"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(text: str, words: str, tmp_path: Path) -> None:
    found = judged(text, tmp_path)
    assert found.verdict == "raised" and words in found.to_text()


def test_a_misspelt_name_is_recognised_and_the_way_back_is_named(tmp_path: Path) -> None:
    found = judged("def dequantise(codes, scale, zero_point):\n    return codes\n", tmp_path)
    assert (
        "defines no function dequantize, but dequantise" in found.to_text()
        and "tinyquant lab start 1 --force" in found.to_text()
    )


BODY = "    return scale * {} * (codes.astype(np.int32) - zero_point)\n"
DEF = "def dequantize(codes, scale, zero_point):\n"


@pytest.mark.parametrize(
    "text",
    [
        "import numpy as np\ndequantize = lambda codes, scale, zero_point: scale * (codes.astype(np.int32) - zero_point)\n",
        "import numpy as np\nclass Q:\n    def back(self, codes, scale, zero_point):\n"
        "        return scale * (codes.astype(np.int32) - zero_point)\n\ndequantize = Q().back\n",
        "try:\n    import numpy as np\nexcept ImportError:\n    raise SystemExit('numpy?')\n" + DEF + BODY.format(1),
        HEAD + "if np.__version__:\n    ONE = 1\nelse:\n    ONE = 2\n" + DEF + BODY.format("ONE"),
        HEAD + "import io\nwith io.StringIO() as file:\n    ONE = 1 + file.tell()\n" + DEF + BODY.format("ONE"),
        HEAD + "for ONE in range(2):\n    pass\n" + DEF + BODY.format("ONE"),
        HEAD + "ONE = 0\nONE += 1\n" + DEF + BODY.format("ONE"),
        HEAD + "TABLE = {}\nfor i in range(2):\n    TABLE[i] = i\n" + DEF + BODY.format("TABLE[1]"),
        HEAD + "TABLE = []\nfor i in range(2):\n    TABLE.append(i)\n" + DEF + BODY.format("TABLE[1]"),
        HEAD + "TABLE = []\nTABLE.append(1)\n" + DEF + BODY.format("TABLE[0]"),
    ],
    ids="lambda method try if with for plus item append_in_for append".split(),
)
def test_an_answer_is_found_however_its_names_are_made(text: str, tmp_path: Path) -> None:
    """What a notebook accepts, a file may hold too."""
    found = judged(text, tmp_path)
    assert found.passed, found.to_text()


def test_experiments_and_calls_of_a_module_are_not_run(tmp_path: Path) -> None:
    """Neither plain ones nor in a loop, and not though the function uses that module."""
    text = HEAD + DEF + BODY.format("1")
    text += "\nnp.no_such_thing()\nfor bits in (8, 4):\n    back = dequantize(bits)\n    np.no_such_thing(back)\n"
    assert judged(text, tmp_path).passed


def test_a_helper_in_a_file_beside_is_imported_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """As for a script; the next student's helper of the same name is another one."""
    before = list(sys.path)
    for name, one in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "my_helper.py").write_text(f"ONE = {one}\n", encoding="utf-8")
        found = judged(HEAD + "from my_helper import ONE\n" + DEF + BODY.format("ONE"), tmp_path / name)
        assert found.verdict == ("passed" if one == 1 else "broken"), found.to_text()
    assert sys.path == before and "my_helper" not in sys.modules
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dequantize = 3\n", "mine.py defines no function dequantize: it is of type int"),
        ("if False:\n    dequantize = print\n", "mine.py defines no function dequantize: its line is not reached"),
    ],
)
def test_a_name_that_is_no_function_is_told(text: str, words: str, tmp_path: Path) -> None:
    assert words in judged(text, tmp_path).to_text()


@pytest.mark.parametrize(
    ("call", "said"), [("sys.exit()", "SystemExit"), ("exit('why')", "SystemExit: why"), ("raise SystemExit(3)", "SystemExit: 3")]
)
def test_exit_in_the_function_is_told_with_its_line_and_input(call: str, said: str, tmp_path: Path) -> None:
    found = judged(f"import sys\n{DEF}    {call}\n", tmp_path)
    assert found.verdict == "raised" and found.lines[0] == f"1.2 dequantize raised {said}"
    words = found.to_text()
    assert f"  line 3   {call}" in words and "  input    codes=" in words and "exit() ends the whole program" in words


def test_exit_at_the_top_of_the_file_is_told_with_its_line(tmp_path: Path) -> None:
    found = judged(f"import sys\nONE = sys.exit(2)\n{DEF}    return ONE\n", tmp_path)
    assert found.verdict == "raised" and "the file stops with SystemExit: 2" in found.lines[0]
    assert "  line 2   ONE = sys.exit(2)" in found.to_text()


THREADS = (
    "    found = []\n"
    "    one = threading.Thread(target=lambda: found.append(tq.dequantize(codes, tq.QParams(scale, zero_point))))\n"
    "    one.start()\n    one.join()\n    return found[0]\n",
    "    with futures.ThreadPoolExecutor() as pool:\n"
    "        return pool.submit(tq.dequantize, codes, tq.QParams(scale, zero_point)).result()\n",
)


@pytest.mark.parametrize(
    ("body", "where"),
    [(THREADS[0], "line 7 of mine.py calls"), (THREADS[1], "a thread of yours calls")],
    ids=["thread", "pool"],
)
def test_handing_the_work_to_the_library_in_a_thread_fails(
    body: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python tells nothing of the refusal, and the hooks are given back."""
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    before = threading.getprofile(), threading.excepthook
    found = judged(f"import threading\nfrom concurrent import futures\nimport tinyquant as tq\n\n{DEF}{body}", tmp_path)
    assert found.verdict == "delegated" and f"{where} tinyquant's dequantize" in found.to_text(), found.to_text()
    assert (threading.getprofile(), threading.excepthook) == before and not told


def test_a_thread_that_does_its_own_work_is_right_and_its_mistake_is_told_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    text = HEAD + "import threading\n" + DEF + (
        "    found = []\n"
        "    one = threading.Thread(target=lambda: found.append(scale * (codes.astype(np.int32) - zero_point)))\n"
        "    two = threading.Thread(target=lambda: found['no'])\n"
        "    for each in (one, two):\n        each.start()\n        each.join()\n    return found[0]\n"
    )  # fmt: skip
    assert judged(text, tmp_path).passed
    assert told and set(told) == {TypeError}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("from tinyquant import dequantize\n", "the function is tinyquant's dequantize"),
        ("from the_helper import dequantize\n", "line 4 of the_helper.py calls tinyquant's dequantize"),
        (
            "import numpy as np\nimport tinyquant as tq\n" + DEF + "    one = np.frompyfunc(lambda q, s, z: tq.QParams(s, z) and "
            "tq.dequantize(q, tq.QParams(s, z)), 3, 1)\n    return one(codes, scale, zero_point)\n",
            "line 4 of mine.py calls tinyquant's dequantize",
        ),
    ],
    ids="itself helper numpy".split(),
)
def test_the_line_that_hands_the_work_over_is_the_student_s(text: str, where: str, tmp_path: Path) -> None:
    helper = f"import tinyquant as tq\n\n{DEF}    return tq.dequantize(codes, tq.QParams(scale, zero_point))\n"
    (tmp_path / "the_helper.py").write_text(helper, encoding="utf-8")
    found = judged(text, tmp_path)
    assert found.verdict == "delegated" and f"  yours    {where}" in found.to_text(), found.to_text()


def test_a_flood_of_prints_is_not_kept() -> None:
    """100,000 lines a call, ten calls: 20 MB, were they kept."""
    item, calls = find_exercise("1.2"), []

    def floods(codes: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
        calls.append(1)
        if len(calls) <= 10:
            print(("x" * 20 + "\n") * 100_000)
        return scale * codes

    tracemalloc.start()
    try:
        found = examine(item, floods)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.verdict == "broken" and len(calls) > 10
    assert peak < 15e6, f"{peak / 1e6:.0f} MB"


def test_of_what_is_printed_the_first_line_is_kept_as_far_as_it_can_be_shown() -> None:
    stream = FirstLine()
    print("", "  ", file=stream)
    print(1, 2, file=stream)
    print("x" * 10**6, file=stream)
    assert stream.line == "1 2"
    endless = FirstLine()
    for _ in range(1000):
        print("ab", end="", file=endless)
    assert 640 <= len(endless.line) <= 644
    with_return = FirstLine()
    print("10 %\r20 %", file=with_return)
    assert with_return.line == "10 %"


def test_a_file_in_another_encoding_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes("# gr\u00fcn\ndef dequantize(codes): return 1\n".encode("latin-1"))
    found = examine_file(find_exercise("1.2"), path)
    assert found.verdict == "raised" and "  next     save it as UTF-8, then: tinyquant check 1.2" in found.lines


def test_an_infinite_loop_is_ended_and_its_line_shown(tmp_path: Path) -> None:
    text = (
        HEAD
        + "def dequantize(codes, scale, zero_point):\n    n = 0\n    while n < 10:\n        codes[0]\n    return n\n"
    )
    found = judged(text, tmp_path, seconds=0.3)
    assert found.verdict == "out of time" and EXIT_CODES[found.verdict] == 6
    assert any(f"line {line}" in found.to_text() for line in (6, 7)) and "codes=" in found.to_text()


def test_a_loop_that_swallows_exceptions_is_ended_too(tmp_path: Path) -> None:
    text = HEAD + (
        "def dequantize(codes, scale, zero_point):\n    while True:\n        try:\n            codes[99]\n"
        "        except Exception:\n            pass\n"
    )
    assert judged(text, tmp_path, seconds=0.3).verdict == "out of time"


def test_in_a_process_that_ignores_interrupts_a_loop_is_ended_too(tmp_path: Path) -> None:
    """As one started in the background does; afterwards it ignores them again."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        text = HEAD + "def dequantize(codes, scale, zero_point):\n    while True:\n        pass\n"
        assert judged(text, tmp_path, seconds=0.3).verdict == "out of time"
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_where_threads_get_no_signals_a_loop_is_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no pthread_kill."""
    monkeypatch.delattr("signal.pthread_kill", raising=False)
    text = HEAD + "def dequantize(codes, scale, zero_point):\n    while True:\n        pass\n"
    assert judged(text, tmp_path, seconds=0.3).verdict == "out of time"


def test_a_file_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    """A byte order mark, lines that end in CR LF, tabs."""
    path = tmp_path / "mine.py"
    path.write_bytes(
        b"\xef\xbb\xbfimport numpy as np\r\n\r\ndef dequantize(codes, scale, zero_point):\r\n"
        b"\treturn scale * (codes.astype(np.int32) - zero_point)\r\n"
    )
    assert examine_file(find_exercise("1.2"), path).passed


def test_a_slow_answer_within_the_limit_is_no_loop(tmp_path: Path) -> None:
    """Many quick calls may take longer together than one may alone."""
    item = find_exercise("1.2")
    slow = lambda codes, scale, zero_point: (time.sleep(0.02), scale * (codes.astype(int) - zero_point))[1]  # noqa: E731
    assert examine(item, slow, seconds=1.0).passed


def test_outside_the_main_thread_there_is_no_limit_and_no_crash() -> None:
    found: list[Report] = []
    item = find_exercise("1.2")
    thread = threading.Thread(
        target=lambda: found.append(
            examine(item, lambda codes, scale, zero_point: scale * (codes - zero_point))
        )
    )
    thread.start()
    thread.join(60)
    assert found and found[0].verdict == "broken"


def test_an_interrupt_of_the_student_s_own_is_not_taken_for_a_loop() -> None:
    with Guard(seconds=60) as guard, pytest.raises(KeyboardInterrupt):
        guard.wrap(_interrupted)()


def _interrupted() -> None:
    raise KeyboardInterrupt


def test_the_guard_gives_the_profiler_back() -> None:
    import sys

    seen: list[str] = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, arg: seen.append(event))
    try:
        with Guard() as guard:
            guard.wrap(lambda: 1)()
        mine = sys.getprofile()
    finally:
        sys.setprofile(before)
    assert mine is not None and seen


def test_a_call_that_sleeps_is_woken() -> None:
    start = time.monotonic()
    with Guard(seconds=0.2) as guard, pytest.raises(OutOfTime):
        guard.wrap(time.sleep)(30)
    assert time.monotonic() - start < 20


def test_no_interrupt_is_left_behind_by_a_call_that_ends_just_at_the_limit() -> None:
    """Either verdict is right then; a stray KeyboardInterrupt afterwards is not."""
    for _ in range(15):
        with Guard(seconds=0.1) as guard, contextlib.suppress(OutOfTime):
            guard.wrap(_busy)(0.1)
        _busy(0.01)


def _busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_what_the_student_prints_is_not_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "print('loading')\n\n\ndef dequantize(codes, scale, zero_point):\n    print('x' * 999)\n"
        "    return scale * (codes.astype(int) - zero_point)\n"
    )
    assert judged(text, tmp_path).passed
    assert capsys.readouterr().out == ""


def test_parameters_may_have_other_names_or_be_a_qparams(tmp_path: Path) -> None:
    text = "def dequantize(q, s, zp):\n    return s * (q.astype(int) - zp)\n"
    assert judged(text, tmp_path).passed
    text = "def dequantize(codes, qp):\n    return qp.scale * (codes.astype(int) - qp.zero_point)\n"
    assert judged(text, tmp_path).passed
    found = judged("def dequantize(codes, colour):\n    return codes\n", tmp_path)
    assert found.verdict == "broken" and "'colour'" in found.to_text()


def test_lab_1_says_which_rule_of_ties_it_saw(tmp_path: Path) -> None:
    text = (
        HEAD
        + "def quantize(x, scale, zero_point):\n"
        + "    return np.clip(np.floor(x / scale + 0.5) + zero_point, -128, 127).astype(np.int8)\n"
    )
    found = judged(text, tmp_path, "1.1")
    assert found.passed and "ties go half_up" in found.to_text()


def test_a_bug_s_input_may_be_arrays_numpy_numbers_or_one_number() -> None:
    item = find_exercise("1.4")
    arrays = {"x": np.array([128.0]), "scale": np.float64(1.0), "zero_point": np.int64(0)}
    assert examine(item, lambda: arrays).passed
    assert examine(item, lambda: {"x": 128.0}).passed
    assert "onnxruntime" not in examine(item, lambda: {"x": [3.0]}).to_text()


def test_who_hunts_a_bug_may_search_with_the_library_but_not_for_ever() -> None:
    item = find_exercise("1.4")
    assert examine(item, lambda: {"x": tq.dequantize([127], tq.QParams(1.0, 0)) + 1.0}).passed
    assert examine(item, _for_ever, seconds=0.2).verdict == "out of time"


def _for_ever() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("number", "given", "words"),
    [
        ("1.4", [128.0], "a dict of x, scale, zero_point, qmin, qmax, dtype; yours is list"),
        ("1.4", {"x": [1.0], "colour": 1}, "yours has 'colour'"),
        ("1.4", {"scale": 1.0}, "'x' must be given too"),
        ("1.4", {"x": [1.0], "scale": -1.0}, "a positive scale"),
        ("1.4", {"x": [1.0], "qmin": -5, "qmax": 3}, "all codes of 2 to 8 bits"),
        ("1.4", {"x": ["a"]}, "plain numbers and lists of them"),
        ("1.4", {"x": []}, "plain numbers and lists of them"),
        ("1.4", {"x": [[1.0]]}, "plain numbers and lists of them"),
        ("1.4", {"x": [128.0], "zero_point": 0.5}, "plain numbers and lists of them"),
        ("1.4", {"x": [128.0], "dtype": "int8"}, "plain numbers and lists of them"),
        ("1.4", {"x": [10**400]}, "plain numbers and lists of them"),
        ("1.4", {"x": [3.0]}, "this law holds of to_codes on this input"),
        (
            "1.4",
            {"x": [-1.0], "scale": 1.0, "zero_point": 0, "qmin": 0, "qmax": 255},
            "the codes of to_codes are -128..127",
        ),
        ("2.4", {"x": [0.49999999999999994]}, "a right function that we know misses this input too"),
        ("3.4", {"rmin": 2.0, "rmax": 1.0}, "rmin at most rmax"),
        ("4.4", {"acc": [1], "multiplier": 5}, "a multiplier from 2**30 to 2**31 - 1"),
        ("6.4", {"truth": [0, 0], "predicted": [0, 0]}, "at least one 1 in truth"),
    ],
)
def test_an_input_that_is_none_is_told_what_one_is(number: str, given: object, words: str) -> None:
    found = examine(find_exercise(number), lambda: given)
    assert found.verdict == "broken" and words in found.to_text().replace("\n           ", " "), (
        found.to_text()
    )


HINTS = ("one", "two", "three")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Exercise("11", "quantize", title="t", hints=HINTS), "number must look like 1.2, got '11'"),
        (
            lambda: Exercise("1.1", "quantize", title="t", hints=("a", "b", "c" * 77)),
            "hints of 1.1 must have lines of up to 76 columns, got 77",
        ),
        (
            lambda: Exercise("1.1", "quantize", title="t", hints=("a", "b")),
            "hints of 1.1 must be three, got 2",
        ),
        (lambda: Exercise("1.1", "nobody", title="t", hints=HINTS), "the role must be one of"),
        (
            lambda: Exercise("1.1", "quantize", title="t", hints=HINTS, difficulty=6),
            "difficulty of 1.1 must be 1 to 5, got 6",
        ),
        (
            lambda: Exercise("1.1", "quantize", title="t", hints=HINTS, mode="up"),
            "mode of 1.1 must be one of .* got 'up'",
        ),
        (
            lambda: Exercise("1.1", "quantize", title="t", hints=HINTS, laws=("no",)),
            "a law must be one of .* got 'no'",
        ),
        (
            lambda: Bug(
                "1.4", "f", title="t", hints=HINTS, buggy="b", role="quantize", law="ste_mask", issue="i"
            ),
            "law of 1.4 must be about quantize, got 'ste_mask'",
        ),
        (lambda: Sitting(1, "02_x", "t", "w", ()), "name must begin with 01_, got '02_x'"),
        (
            lambda: Sitting(1, "01_x", "t", "w", (Exercise("1.2", "quantize", title="t", hints=HINTS),)),
            "must be numbered 1.1",
        ),
        (lambda: find_exercise("1.9"), "the exercise must be one of .* got '1.9'"),
        (lambda: find_exercise("77.1"), "the sitting must be one of .* got '77'"),
    ],
)
def test_a_record_that_no_student_could_use_is_refused(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]
