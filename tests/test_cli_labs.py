"""The student's commands, as typed: what they print, what they write, and their exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminal import Terminal

from tinyquant.cli import check as command
from tinyquant.cli import main
from tinyquant.cli.doctor import LEAST
from tinyquant.labs.sittings import find_sitting, sittings
from tinyquant.labs.sources import solution, source, starter
from tinyquant.labs.workplace import STATE, Progress

ROOT = Path(__file__).resolve().parent.parent
SIGNAL = find_sitting("1")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A student's folder with a blank and a letter in its name."""
    folder = tmp_path / "my course \u00fc"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    """The exit code, and what was printed on both streams."""
    capsys.readouterr()
    try:
        code = main(list(argv))
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out + err


def with_bodies(*numbers: str) -> str:
    """The starter of sitting 1 with the solutions of some exercises."""
    text = starter(SIGNAL)
    for item in SIGNAL.exercises:
        if item.number in numbers:
            text += f"\n\n{solution(SIGNAL, item)}\n"
    return text


def test_the_first_exercise_is_passed_from_nothing(
    capsys: pytest.CaptureFixture[str], own_folder: Path
) -> None:
    """The way of a student: list, start, check, look at a hint, write it, check again."""
    code, text = said(capsys, "lab")
    assert (
        code == 0
        and "A signal in 256 codes" in text
        and "tinyquant lab start 1" in text
        and "Next: tinyquant lab start 0" in text
    )
    code, text = said(capsys, "lab", "start", "1")
    assert code == 0 and "01_signal.py is yours" in text and "tinyquant check 1.1" in text
    mine = own_folder / "labs" / "01_signal.py"
    assert mine.read_text(encoding="utf-8") == starter(SIGNAL)
    code, text = said(capsys, "check", "1.1")
    assert code == 5 and text.startswith("1.1 quantize: not started yet")
    mine.write_text(with_bodies("1.1"), encoding="utf-8")
    code, text = said(capsys, "check", "1.1")
    assert code == 0 and text.startswith("1.1 quantize: passed, all ") and "1.2" in text
    code, text = said(capsys, "check")
    assert code == 5 and text.startswith("1.2 dequantize: not started yet")
    code, text = said(capsys, "check", "1")
    assert code == 5 and text.endswith("1 of 4 passed\n")
    code, text = said(capsys, "lab")
    assert "[#...]" in text and "Next: 1.2 dequantize" in text
    assert said(capsys, "solution", "1.1")[1] == solution(SIGNAL, SIGNAL.exercises[0]) + "\n"


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("    return scale * (codes - zero_point)", 1, "breaks the law"),
        ("    return codes['x']", 3, "raised IndexError"),
        ("    while True:\n        pass", 6, "no answer after 0.5 s"),
        ("    raise NotImplementedError", 5, "not started yet"),
        (
            "    import tinyquant as tq\n    return tq.dequantize(codes, tq.QParams(scale, zero_point))",
            1,
            "asks you to write this",
        ),
        ("    import os\n    os._exit(9)", 3, "the process ended with code 9"),
    ],
)
def test_exit_codes_are_distinct(
    body: str, code: int, words: str, capsys: pytest.CaptureFixture[str], own_folder: Path
) -> None:
    path = own_folder / "answer.py"
    path.write_text(f"def dequantize(codes, scale, zero_point):\n{body}\n", encoding="utf-8")
    got, text = said(capsys, "check", "1.2", "--file", str(path), "--seconds", "0.5")
    assert got == code and words in text, text
    assert all(len(line) <= 80 for line in text.splitlines()) and text.isascii()


TRUNCATES = """def quantize(x, scale, zero_point, qmin=-128, qmax=127):
    import numpy as np
    return np.clip(np.trunc(x / scale) + zero_point, qmin, qmax).astype(np.int8)
"""
RAISES = """def dequantize(codes, scale, zero_point):
    raise KeyError("scale")
"""


@pytest.mark.parametrize(("code", "text"), [(1, TRUNCATES + RAISES), (5, RAISES)], ids=["broken first", "not started first"])
def test_of_several_exercises_the_first_that_is_not_passed_gives_the_code(
    capsys: pytest.CaptureFixture[str], own_folder: Path, code: int, text: str
) -> None:
    """Not the last one's, nor the largest: all four are shown."""
    path = own_folder / "mine.py"
    path.write_text(f"{starter(SIGNAL)}\n\n{text}", encoding="utf-8")
    found, out = said(capsys, "check", "1", "--file", str(path))
    assert found == code
    assert "1.2 dequantize raised KeyError" in out and "1.4 counterexample: not started" in out and "0 of 4 passed" in out


def test_calls_that_are_slow_together_are_told_of_and_ended(
    capsys: pytest.CaptureFixture[str], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call keeps its limit, all of them do not: the process is ended, and a student who waits is told before."""
    path = own_folder / "slow.py"
    body = "    import time\n    time.sleep(0.1)\n    return scale * (codes - zero_point)\n"
    path.write_text(f"def dequantize(codes, scale, zero_point):\n{body}", encoding="utf-8")
    monkeypatch.setattr(command, "_longest", lambda seconds: 2.0)
    monkeypatch.setattr(command, "_PATIENCE", 0.2)
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    begun = time.monotonic()
    code, out = said(capsys, "check", "1.2", "--file", str(path))
    assert time.monotonic() - begun < 20
    assert code == 6 and "1.2 dequantize: all calls together took 2 s, so they were ended" in out
    assert "1.2 dequantize: still checking, 0 s of at most 2 s" in screen.getvalue() and "still checking" not in out
    assert screen.getvalue().endswith("\r"), "the report begins in an empty line"


def test_a_process_that_ends_itself_is_reported(capsys: pytest.CaptureFixture[str], own_folder: Path) -> None:
    path = own_folder / "gone.py"
    path.write_text(
        "def dequantize(codes, scale, zero_point):\n    import os, sys\n    sys.stderr.write('good bye')\n"
        "    sys.stderr.flush()\n    os._exit(7)\n",
        encoding="utf-8",
    )
    code, out = said(capsys, "check", "1.2", "--file", str(path))
    assert code == 3 and "1.2 dequantize: the process ended with code 7\n  it said  good bye\n  next     " in out


def test_of_what_a_process_says_on_its_error_stream_the_end_is_kept() -> None:
    """Nobody waits to write, and no more than a few kilobytes are held."""
    writes = "import sys; sys.stderr.write('x' * 3_000_000 + 'the end')"
    code, kept = command._run([sys.executable, "-c", writes], 60.0, "this test")
    assert code == 0 and kept.endswith("xxthe end") and len(kept) == 4096


def test_a_thread_that_is_left_behind_holds_nothing_up(capsys: pytest.CaptureFixture[str], own_folder: Path) -> None:
    """The answer is there, so nobody waits for it."""
    path = own_folder / "left.py"
    path.write_text(
        "import threading, time\nSTARTED = []\n\ndef dequantize(codes, scale, zero_point):\n    if not STARTED:\n"
        "        STARTED.append(threading.Thread(target=time.sleep, args=(60,)))\n        STARTED[0].start()\n"
        "    return scale * (codes.astype(int) - zero_point)\n",
        encoding="utf-8",
    )
    begun = time.monotonic()
    code, out = said(capsys, "check", "1.2", "--file", str(path))
    assert code == 0 and "1.2 dequantize: passed" in out and time.monotonic() - begun < 40


def test_prints_without_end_are_told_of_in_eighty_columns(
    capsys: pytest.CaptureFixture[str], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_folder / "flood.py"
    path.write_text(
        "def dequantize(codes, scale, zero_point):\n    for i in range(200_000):\n        print('here', i)\n"
        "    return scale * (codes.astype(int) - zero_point)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(command, "_longest", lambda seconds: 3.0 if seconds == 5 else 1e9)
    code, out = said(capsys, "check", "1.2", "--file", str(path))
    assert code == 6 and "  look at  long loops, and prints in them; or more time: --seconds 5.15" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("check", "9.1"), 3, "the sitting must be one of .* got '9'"),
        (("check", "1.9"), 3, "the exercise must be one of .* got '1.9'"),
        (("check", "1.1"), 3, "Begin with: tinyquant lab start 1"),
        (("check", "1.1", "--file", "none.py"), 3, "file must be a .py or .ipynb of yours, got none.py"),
        (("check", "1.1", "--seconds", "0"), 3, "seconds must be above 0, got 0"),
        (("chek", "1.1"), 2, "Did you mean 'check'"),
        (("lab", "stat", "1"), 2, "Did you mean 'start'"),
        (("hint", "one"), 3, "the sitting must be one of .* got 'one'"),
        (("lab", "save"), 3, "no lab lies in"),
        (("lab", "restore", "none.zip"), 3, "none.zip is not there.*tinyquant lab save"),
        (
            ("lab", "save", "labs/01_signal.py"),
            3,
            "file must be the name of a zip to write, got .*01_signal.py",
        ),
        (("define", "scael"), 3, "Did you mean"),
    ],
)
def test_wrong_usage_is_answered_with_the_mend(
    argv: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str], own_folder: Path
) -> None:
    got, text = said(capsys, *argv)
    assert got == code and re.search(words, text), text
    assert list(own_folder.iterdir()) == []


def test_nothing_open_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "check") == (0, "Nothing is open. Begin: tinyquant lab start 0\n")


def test_hints_come_one_at_a_time_and_are_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    item = SIGNAL.exercises[0]
    for number, hint in enumerate(item.hints, 1):
        code, text = said(capsys, "hint", "1.1")
        assert code == 0 and f"hint {number} of 3" in text and hint.splitlines()[0] in text
        assert ("--give-up" in text) == (number == 3)
    assert f"hint {3} of 3" in said(capsys, "hint", "1.1")[1]
    assert said(capsys, "hint", "1.2", "--all")[1].count("of 3") == 3


def test_a_solution_is_shown_after_a_pass_or_when_given_up(
    capsys: pytest.CaptureFixture[str], own_folder: Path
) -> None:
    code, text = said(capsys, "solution", "1.2")
    assert code == 1 and "not passed yet" in text and "--give-up" in text and "return scale" not in text
    code, text = said(capsys, "solution", "1.2", "--give-up")
    assert code == 0 and "return scale" in text
    assert said(capsys, "solution", "1.2")[0] == 0
    assert Progress.read(own_folder / "labs").gave_up == {"1.2"}


def test_save_and_restore_from_the_command_line(
    capsys: pytest.CaptureFixture[str], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(capsys, "lab", "start", "1")
    code, text = said(capsys, "lab", "save")
    assert (
        code == 0
        and "tinyquant-labs.zip: 1 files (01_signal.py)" in text
        and "lab restore tinyquant-labs.zip" in text
    )
    elsewhere = own_folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    code, text = said(capsys, "lab", "restore", "../tinyquant-labs.zip")
    assert code == 0 and "1 files are in labs" in text
    assert (elsewhere / "labs" / "01_signal.py").exists()
    code, text = said(capsys, "lab", "start", "1")
    assert code == 3 and "left as it is" in text and "--force" in text
    assert said(capsys, "lab", "start", "1", "--force")[1].count("is kept as") == 1


def test_a_notebook_is_checked_too(capsys: pytest.CaptureFixture[str], own_folder: Path) -> None:
    cells = [{"cell_type": "code", "source": source(SIGNAL).split("check(")[0]}]
    (own_folder / "labs").mkdir()
    (own_folder / "labs" / "01_signal.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    code, text = said(capsys, "check", "1.1")
    assert code == 0 and "passed" in text


def test_without_jupytext_a_notebook_is_refused_with_the_mend(
    capsys: pytest.CaptureFixture[str], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jupytext", None)
    code, text = said(capsys, "lab", "start", "1", "--notebook")
    assert code == 4 and "pip install jupytext" in text and not (own_folder / "labs").exists()


def test_doctor_finds_this_machine_ready(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "doctor")
    assert code == 0 and text.endswith("ready\n") and f"{len(sittings())} labs in the package" in text
    assert "BAD" not in text and "numpy" in text


def test_doctor_asks_for_the_versions_of_setup_cfg() -> None:
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    for name, (major, minor) in LEAST.items():
        assert f"\n    {name}>={major}.{minor}\n" in text


def test_doctor_says_what_to_mend(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    def version(name: str) -> str:
        if name == "numpy":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    code, text = said(capsys, "doctor")
    assert code == 4 and "numpy is not installed" in text and "mend: python -m pip install numpy" in text
    assert 'mend: python -m pip install "matplotlib>=3.7"' in text and text.endswith(
        "not ready: mend what is BAD\n"
    )


def test_define_tells_a_word_and_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "define", "zero", "point")
    assert code == 0 and text.startswith("zero point")
    code, text = said(capsys, "define")
    assert code == 0 and "requantize" in text and max(map(len, text.splitlines())) <= 80


def test_a_broken_memory_is_said_once_and_kept(capsys: pytest.CaptureFixture[str], own_folder: Path) -> None:
    (own_folder / "labs").mkdir()
    (own_folder / "labs" / STATE).write_text("{", encoding="utf-8")
    assert "was broken and is kept as" in said(capsys, "lab")[1]
    assert "broken" not in said(capsys, "lab")[1]


@contextlib.contextmanager
def watching(folder: Path, *asked_for: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`tinyquant check ... --watch` at work on a blank, and the path of the file it watches."""
    mine = folder / "labs" / "01_signal.py"
    mine.parent.mkdir()
    mine.write_text(with_bodies(), encoding="utf-8")
    command = [sys.executable, "-u", "-m", "tinyquant", "check", *asked_for, "--watch"]
    # A test run in the background ignores the interrupt, and so would its children.
    heed = None if sys.platform == "win32" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=folder, preexec_fn=heed
    ) as running:
        try:
            yield running, mine
        finally:
            running.kill()


def watched(running: subprocess.Popen[str], mine: Path, saves: dict[str, tuple[str, ...]]) -> list[str]:
    """All lines to the end; at a line that begins with a key the file is saved with those exercises solved."""
    assert running.stdout is not None
    lines = []
    for line in running.stdout:
        lines.append(line.rstrip("\n"))
        for start, solved in saves.items():
            if line.startswith(start):
                time.sleep(0.1)
                mine.write_text(with_bodies(*solved), encoding="utf-8")
    assert running.wait(60) == 0 and max(map(len, lines)) <= 80
    return lines


@pytest.mark.slow
def test_watch_with_a_number_ends_when_that_is_passed(own_folder: Path) -> None:
    with watching(own_folder, "1.2") as (running, mine):
        lines = watched(running, mine, {"1.2 dequantize: not started": ("1.2",)})
    assert lines[0].startswith("watching ") and "until 1.2 is passed" in lines[0]
    assert [line[:3] for line in lines if ": passed" in line] == ["1.2"]
    assert lines[-1] == "  next     1.1 write: quantize"


@pytest.mark.slow
def test_watch_goes_from_one_exercise_to_the_next_and_ends_with_the_sitting(own_folder: Path) -> None:
    """Two are solved in one save; the stretch comes last."""
    saves = {
        "1.1 quantize: not started": ("1.1",),
        "1.2 dequantize: not started": ("1.1", "1.2", "1.4"),
        "1.3 choose_qparams: not started": ("1.1", "1.2", "1.3", "1.4"),
    }
    with watching(own_folder) as (running, mine):
        lines = watched(running, mine, saves)
    assert "until all of sitting 1 is passed" in lines[0]
    passed = [line[:3] for line in lines if ": passed" in line or ": found it" in line]
    assert passed == ["1.1", "1.2", "1.4", "1.3"]
    assert sum(line.startswith("-- ") for line in lines) == 4 and "all of sitting 1 is passed" in lines[-1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as a signal")
def test_watch_ends_with_ctrl_c(own_folder: Path) -> None:
    with watching(own_folder, "1.2") as (running, _):
        assert running.stdout is not None
        for line in running.stdout:
            if "tinyquant hint" in line:
                time.sleep(1)  # the report is out; now it waits for the next save
                running.send_signal(signal.SIGINT)
                break
        rest = running.stdout.read()
        assert running.wait(60) == 5 and "stopped" in rest


@pytest.mark.slow
def test_from_an_installed_package_that_cannot_be_written_to(tmp_path: Path, own_folder: Path) -> None:
    """A copy of the package without write bits stands for a wheel installed by somebody else; nothing in it changes."""
    import shutil

    place = tmp_path / "site"
    shutil.copytree(ROOT / "tinyquant", place / "tinyquant", ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted((path.relative_to(place), path.stat().st_mtime_ns) for path in place.rglob("*"))
    for path in [place, *place.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    environment = {**ENVIRONMENT, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "tinyquant"]
    try:
        for argv, code in (
            (["lab", "start", "1"], 0),
            (["check", "1.1"], 5),
            (["hint", "1.1"], 0),
            (["doctor"], 0),
        ):
            done = subprocess.run(
                [*command, *argv],
                env=environment,
                cwd=own_folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == code, done.stdout + done.stderr
            assert done.stdout.isascii() or "doctor" in argv or "lab" in argv
        after = sorted((path.relative_to(place), path.stat().st_mtime_ns) for path in place.rglob("*"))
        assert after == before
    finally:
        for path in [place, *place.rglob("*")]:
            path.chmod(0o755)


@pytest.mark.slow
def test_a_check_leaves_nothing_but_its_memory_behind(own_folder: Path) -> None:
    """No folder of hypothesis, no cache."""
    environment = {
        name: value for name, value in ENVIRONMENT.items() if name != "HYPOTHESIS_STORAGE_DIRECTORY"
    }

    def typed(*argv: str) -> int:
        command = [sys.executable, "-m", "tinyquant", *argv]
        return subprocess.run(
            command, env=environment, cwd=own_folder, check=False, capture_output=True
        ).returncode

    assert typed("lab", "start", "1") == 0
    (own_folder / "labs" / "01_signal.py").write_text(with_bodies("1.1"), encoding="utf-8")
    assert typed("check", "1.1") == 0
    left = {
        path.relative_to(own_folder).as_posix()
        for path in own_folder.rglob("*")
        if "__pycache__" not in path.parts
    }
    assert left == {"labs", "labs/01_signal.py", f"labs/{STATE}"}


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe that is closed early")
def test_a_reader_that_has_seen_enough_is_no_error(own_folder: Path) -> None:
    command = f'"{sys.executable}" -m tinyquant define | head -n 1'
    done = subprocess.run(
        ["bash", "-c", command], env=ENVIRONMENT, cwd=own_folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr


@pytest.mark.slow
def test_a_terminal_that_writes_only_ascii_is_no_trouble(own_folder: Path) -> None:
    """As on an old Windows console; the folder's own name holds a letter it cannot write."""
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    for argv in (["lab"], ["lab", "start", "1"], ["check", "1.1"], ["doctor"], ["lab", "start", "1"]):
        done = subprocess.run(
            [sys.executable, "-m", "tinyquant", *argv],
            env=environment,
            cwd=own_folder,
            capture_output=True,
            check=False,
        )
        assert b"Traceback" not in done.stderr and b"codec" not in done.stderr, done.stderr.decode()
