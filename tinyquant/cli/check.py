"""`tinyquant check`: your function held against the laws an exercise asks for; the smallest input that breaks one.

Each exercise is examined in a process of its own, which is ended when it does not come to an end by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any, NoReturn

from tinyquant.cli.lab import progress_of, say_trouble, short_path
from tinyquant.cli.one_thread import one_thread_environment
from tinyquant.cli.progress import ProgressLine
from tinyquant.labs.examine import EXIT_CODES, Report, examine_file
from tinyquant.labs.exercise import Item
from tinyquant.labs.sittings import find_exercise, find_sitting, in_order, sitting_of, sittings
from tinyquant.labs.workplace import Progress, lab_file, lab_folder, next_open, what_is_next
from tinyquant.testing.report import cut

__all__ = ["add", "run"]

_PATIENCE = 2.0
"""Seconds until a student is told that the check goes on."""

_KEPT = 4096
"""Bytes of what a process says on its error stream: its end is what tells why it ended."""


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "check",
        help="check your work: one exercise, a whole sitting, or whatever is next",
        description="Holds your function against the laws the exercise asks for and shows the smallest input that breaks one. "
        "Example: tinyquant check 1.1",
        epilog="Exit codes: 0 passed, 1 a law is broken, 2 no such command or option, 3 your code raised an exception or cannot "
        "be read, or what you named is not there, "
        "4 something is missing on this machine, 5 not started yet, 6 it did not come to an end.",
    )
    parser.add_argument(
        "exercise",
        nargs="?",
        default="",
        metavar="N[.M]",
        help="1.2, or 1 for all of sitting 1; default: what is next",
    )
    parser.add_argument("--file", type=Path, help="your file, when it is not ./labs/NN_name.py or .ipynb")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="check at every save: what you name until it is passed, or else whatever is next until the sitting is done; "
        "Ctrl-C ends it",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        metavar="S",
        help="the longest one call may take (default: %(default)s)",
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check what was asked for; the exit code is that of the first exercise that is not passed."""
    if args.seconds <= 0:
        raise ValueError(f"seconds must be above 0, got {args.seconds:g}. Leave it out for the usual 5.")
    if args.worker is not None:
        return _work(args)
    progress = progress_of(lab_folder())
    items = _asked_for(args.exercise, progress)
    if items is None:
        begun = [one for one in sittings() if lab_file(one, progress.folder) is not None]
        left = [one.number for one in sittings() if one not in begun]
        done = "Nothing is open" if not begun else "All that you have begun is passed"
        print(f"{done}. Begin: tinyquant lab start {left[0]}" if left else "All sittings are passed.")
        return 0
    path = _file_of(items[0], args.file, progress)
    if args.watch:
        return _watch(items, path, progress, args.seconds, named=args.exercise)
    return _check(items, path, progress, args.seconds)


def _asked_for(text: str, progress: Progress) -> list[Item] | None:
    """The exercises meant; None when nothing is open."""
    if not text:
        found = next_open(progress)
        return None if found is None else [found[1]]
    return [find_exercise(text)] if "." in text else list(find_sitting(text).exercises)


def _file_of(item: Item, named: Path | None, progress: Progress) -> Path:
    """The student's file; an error says how to get one."""
    if named is not None:
        if not named.is_file():
            raise FileNotFoundError(
                f"file must be a .py or .ipynb of yours, got {named}, which is not there. Look at the name."
            )
        return named
    sitting = sitting_of(item)
    path = lab_file(sitting, progress.folder)
    if path is None:
        raise FileNotFoundError(
            f"{progress.folder / sitting.name}.py is not there. Begin with: tinyquant lab start {sitting.number}; "
            "or name a file: --file"
        )
    return path


def _check(items: list[Item], path: Path, progress: Progress, seconds: float) -> int:
    """Examine them in order; all are shown, the first that is not passed decides the code."""
    code, now = 0, 0
    for item in items:
        report = _examined(item, path, seconds)
        print(report.to_text(), flush=True)
        code = code or EXIT_CODES[report.verdict]
        now += report.passed
        if report.passed and item.number not in progress.passed:
            progress.passed.add(item.number)
            progress.write()
            say_trouble(progress)
    if len(items) > 1:
        ever = sum(item.number in progress.passed for item in items)
        before = f"; {ever} were, at one time or another" if ever > now else ""
        print(f"{now} of {len(items)} passed{before}")
    if now == len(items):
        print(what_is_next(items[-1], progress))
    return code


def _examined(item: Item, path: Path, seconds: float) -> Report:
    """One exercise in a process of its own."""
    longest = _longest(seconds)
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "report.json"
        command = [sys.executable, "-m", "tinyquant", "check", item.number, "--file", str(path), "--seconds", str(seconds),
                   "--worker", str(answer)]  # fmt: skip
        try:
            code, said = _run(command, longest, f"{item.number} {item.function}")
        except subprocess.TimeoutExpired:
            more = f"--seconds {seconds + longest / 20:g}"
            text = (f"{item.number} {item.function}: all calls together took {longest:g} s, so they were ended",
                    f"  look at  long loops, and prints in them; or more time: {more}")  # fmt: skip
            return Report(item.number, "out of time", text)
        if not answer.is_file():
            last = said.strip().splitlines() or ["nothing"]
            lines = [f"{item.number} {item.function}: the process ended with code {code}", f"  it said  {last[-1]}",
                     "  next     call the function by hand: what in it ends Python?"]  # fmt: skip
            return Report(item.number, "raised", tuple(map(cut, lines)))
        kept = json.loads(answer.read_text(encoding="utf-8"))
    return Report(item.number, kept["verdict"], tuple(kept["lines"]))


def _longest(seconds: float) -> float:
    """Seconds until the process of one exercise is ended whatever it does; a single call is ended much earlier."""
    return max(120.0, 20 * seconds)


def _run(command: list[str], longest: float, name: str) -> tuple[int, str]:
    """The exit code of a command and the end of what it said on its error stream; a terminal is told that it goes on.

    Raises subprocess.TimeoutExpired, with the command ended, when it takes longer than that many seconds.
    """
    begun, say, said = time.monotonic(), ProgressLine(), bytearray()
    with subprocess.Popen(command, env=one_thread_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, bufsize=0) as process:  # fmt: skip
        reader = threading.Thread(target=_keep_the_end, args=(process.stderr, said), daemon=True)
        reader.start()
        try:
            while True:
                left = begun + longest - time.monotonic()
                try:
                    code = process.wait(timeout=max(0.0, min(_PATIENCE, left)))
                    reader.join(1)
                    return code, said.decode("utf-8", "replace")
                except subprocess.TimeoutExpired:
                    passed = time.monotonic() - begun
                    if passed >= longest:
                        raise
                    say(f"{name}: still checking, {passed:.0f} s of at most {longest:g} s", detail=True)
        finally:
            process.kill()
            say.clear()


def _keep_the_end(stream: IO[bytes], said: bytearray) -> None:
    """Read all of it, so that nobody waits to write, and keep the end."""
    while part := stream.read(1 << 16):
        said += part
        del said[:-_KEPT]


def _work(args: argparse.Namespace) -> NoReturn:
    """What the process of one exercise does: examine, write the report down, and end, whatever threads are left."""
    report = examine_file(find_exercise(args.exercise), args.file, seconds=args.seconds)
    args.worker.write_text(json.dumps({"verdict": report.verdict, "lines": report.lines}), encoding="utf-8")
    sys.stderr.flush()
    os._exit(0)


def _watch(items: list[Item], path: Path, progress: Progress, seconds: float, named: str) -> int:
    """Check at every change of the file until Ctrl-C, or until what was named is passed; unnamed, until the sitting is."""
    seen, code, sitting = -1, 1, sitting_of(items[0])
    until = named if "." in named else f"all of sitting {sitting.number}"
    print(f"watching {short_path(path)} until {until} is passed", flush=True)
    print("  save the file to check again; Ctrl-C stops", flush=True)
    try:
        while True:
            try:
                now = path.stat().st_mtime_ns
            except FileNotFoundError:  # some editors write a new file in its place
                now = seen
            if now != seen:
                seen = now
                print(time.strftime("-- %H:%M:%S"), flush=True)
                while (code := _check(items, path, progress, seconds)) == 0:
                    left = [item for item in in_order(sitting) if item.number not in progress.passed]
                    if named or not left:
                        return 0
                    items = left[:1]
            time.sleep(0.3)
    except KeyboardInterrupt:
        print("stopped")
        return code
