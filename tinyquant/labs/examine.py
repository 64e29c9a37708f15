"""Holding a student's function against what an exercise asks, and saying in eight short lines what came out.

With this module one can examine a live function (`examine`), or a file (`examine_file`); the `Report` says the same in words, for
a machine, and as an exit code.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args, get_origin, get_type_hints

import numpy as np

from tinyquant.labs.exercise import Bug, Exercise, Item
from tinyquant.labs.guard import Delegated, FirstLine, Guard, OutOfTime
from tinyquant.labs.sittings import sitting_of
from tinyquant.labs.sources import packaged_function
from tinyquant.labs.student_code import (
    Cell,
    MissingFunction,
    UnreadableCode,
    functions_of,
    read_code,
    where_in,
)
from tinyquant.testing import CheckResult, check, find_law, right_answers
from tinyquant.testing.cases import Case, SignatureError, fits
from tinyquant.testing.legal import is_legal
from tinyquant.testing.report import WIDTH, cut, written

__all__ = ["EXIT_CODES", "Report", "examine", "examine_file"]

EXIT_CODES = {"passed": 0, "broken": 1, "delegated": 1, "raised": 3, "not started": 5, "out of time": 6}
"""What came out -> the exit code of `tinyquant check`; 2 is wrong usage, 4 something missing on this machine."""

_EXAMPLES = 25
"""How many inputs hypothesis draws for each law, after the fixed grid: the grid alone catches every known wrong answer."""

Function = Callable[..., object]


@dataclass(frozen=True)
class Report:
    """What came out of one examination.

    Attributes
    ----------
    number : str
        The exercise's.
    verdict : str
        One of `EXIT_CODES`.
    lines : tuple of str
        At most 8 of 80 columns, plain ASCII.
    seconds : float
    """

    number: str
    verdict: str
    lines: tuple[str, ...]
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the exercise is done."""
        return self.verdict == "passed"

    def to_text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)


def _report(item: Item, verdict: str, *lines: str) -> Report:
    """Empty lines are left out; a long one goes on below while there is room for it."""
    given = [line for line in lines if line]
    room = 8 - len(given)
    shown: list[str] = []
    for line in given:
        parts = textwrap.wrap(
            line, WIDTH, subsequent_indent=" " * 11, break_on_hyphens=False, drop_whitespace=True
        )
        if len(line) > WIDTH and len(parts) - 1 <= room:
            room -= len(parts) - 1
            shown += [cut(part) for part in parts]
        else:
            shown.append(cut(line))
    return Report(item.number, verdict, tuple(shown))


def _hint(item: Item) -> str:
    return f"  next     tinyquant hint {item.number}"


def examine(
    item: Item, fn: Function, cells: list[Cell] | None = None, *, seconds: float = 5.0, guarded: bool = True
) -> Report:
    """Hold a function against what an exercise asks.

    Parameters
    ----------
    item : Exercise or Bug
    fn : callable
        The student's function.
    cells : list of Cell
        The student's code, so that an exception can be shown with its line; without it only the exception is shown.
    seconds : float
        The longest one call of the function may take.
    guarded : bool
        Watch the function: it may not call the library's. Off only to hold the library itself against an exercise.
    """
    start = time.perf_counter()
    # hypothesis keeps tables of its own in a folder; a student's is not the place.
    os.environ.setdefault(
        "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir()) / "tinyquant-hypothesis")
    )
    with Guard(getattr(item, "allowed", ()), seconds, free=isinstance(item, Bug)) as guard:
        wrapped = guard.wrap(fn) if guarded else fn
        try:
            with _silence(), np.errstate(all="ignore"):
                found = _hunt(item, wrapped) if isinstance(item, Bug) else _checked(item, wrapped, cells)
        except NotImplementedError:
            found = _not_started(item)
        except Delegated as call:
            found = _report(
                item, "delegated", f"{item.number} {item.function}: exercise {item.number} asks you to write this",
                f"  yours    {call.where} tinyquant's {call.name}",
                "  right    your own lines, with numpy only; functions of your own are fine", _hint(item),
            )  # fmt: skip
        except OutOfTime as limit:
            found = _out_of_time(item, guard, limit, cells)
        except SignatureError as error:
            found = _report(
                item,
                "broken",
                f"{item.number} {item.function}: {error}",
                "  next     take the first line of the function from the starter",
            )
        except SystemExit as error:
            found = _raised(item, error, cells, last=guard.last)
        except Exception as error:
            found = _raised(item, error, cells)
    return Report(found.number, found.verdict, found.lines, time.perf_counter() - start)


def _silence() -> contextlib.ExitStack:
    """Nothing that is printed is kept: not even by somebody who prints in every turn of a long loop."""
    stack = contextlib.ExitStack()
    nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8", errors="replace"))
    stack.enter_context(contextlib.redirect_stdout(nowhere))
    return stack


def _checked(item: Exercise, fn: Function, cells: list[Cell] | None) -> Report:
    """An exercise: its laws."""
    result = check(fn, *item.laws, role=item.role, mode=item.mode, examples=_EXAMPLES, int8=item.int8, flat=item.flat)
    if result.not_started:
        return _not_started(item)
    if result.passed:
        ties = f"; ties go {result.tie_rule}" if result.tie_rule and not item.mode else ""
        laws = {1: "the law", 2: "both laws"}.get(len(result.laws), f"all {len(result.laws)} laws")
        inputs = "1 input" if result.tries == 1 else f"{result.tries} inputs"
        return _report(
            item, "passed", f"{item.number} {item.function}: passed, {laws} kept on {inputs}{ties}"
        )
    if result.error is not None:
        return _raised(item, result.error, cells, result)
    text = result.to_text(f"tinyquant hint {item.number}").splitlines()
    text[0] = f"{item.number} {text[0].replace(result.role, item.function, 1)}"
    if said := _printed(fn, item, result):
        # What one's own print says helps more than the allowed error, where there is room for one of them only.
        text = [line for line in text if len(text) < 8 or not line.startswith("  allowed")]
        text.insert(-1, f"  printed  {said}")
    return _report(item, "broken", *text)


def _printed(fn: Function, item: Exercise, result: CheckResult) -> str:
    """The first line that the function prints on the input of the report."""
    said = FirstLine()
    if result.case is not None:
        with contextlib.redirect_stdout(said):
            find_law(result.broken_law).judge(result.case, {item.role: fn})
    return said.line


def _not_started(item: Item) -> Report:
    return _report(
        item, "not started", f"{item.number} {item.function}: not started yet ({item.title})", _hint(item)
    )


_Arguments = tuple[tuple[object, ...], dict[str, object]]


def _raised(
    item: Item,
    error: BaseException,
    cells: list[Cell] | None,
    result: CheckResult | None = None,
    last: _Arguments | None = None,
) -> Report:
    """The student's line, the values there, none of our frames; the input, where one is known."""
    place = where_in(error, cells) if cells else None
    lines = [f"{item.number} {item.function} raised {_named(error)}"]
    if result is not None and result.case is not None:
        lines.append(f"  input    {written(result.case, result.broken_law)}")
    elif last is not None and any(last):
        lines.append(f"  input    {_call_of(last)}")
    if place is not None:
        lines.append(
            f"  line {place.line:<4}{place.text}" + (f"   ({place.name})" if "cell" in place.name else "")
        )
        if place.values:
            lines.append(f"  there    {'; '.join(place.values[-6:])}")
    ended = isinstance(error, SystemExit)
    right = "an answer, by return: exit() ends the whole program" if ended else "an answer: this is a legal input"
    # On rows it is the law that says what was asked: the answer to the numbers themselves may be right.
    law = find_law(result.broken_law) if result is not None and result.case is not None else None
    asked = f"  the law  {law.words}" if law is not None and law.rows else ""
    return _report(item, "raised", *lines, f"  right    {right}", asked, _hint(item))


def _named(error: BaseException) -> str:
    """``KeyError: 'scale'``, or the kind alone where it says nothing."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _call_of(arguments: _Arguments) -> str:
    """The arguments of a call as they can be typed in again."""
    args, kwargs = arguments
    return ", ".join([*map(_typed, args), *(f"{k}={_typed(v)}" for k, v in kwargs.items())])


def _out_of_time(item: Item, guard: Guard, limit: OutOfTime, cells: list[Cell] | None) -> Report:
    """Where the call was when it was ended."""
    given = _call_of(guard.last)
    place = where_in(guard.stuck, cells) if guard.stuck is not None and cells else None
    at = f"  line {place.line:<4}{place.text}" if place else ""
    lines = (f"{item.number} {item.function}: {limit}, so it was ended", f"  input    {given}", at)
    return _report(
        item,
        "out of time",
        *lines,
        "  look at  the loop that does not end: what changes in each turn?",
        _hint(item),
    )


def _typed(value: object) -> str:
    """An argument as it can be typed in again; a long array by its first numbers."""
    if isinstance(value, np.ndarray):
        first = ", ".join(repr(v) for v in value.ravel()[:4].tolist())
        return f"[{first}{', ...' if value.size > 4 else ''}]"
    return repr(value)


def _case_of(item: Bug, given: object) -> Case | str:
    """The case that the student's fields make, or why they make none."""
    kind = find_law(item.law).kind
    defaults = kind._field_defaults  # type: ignore[attr-defined]
    fields = [name for name in kind._fields if name != "mode"]  # type: ignore[attr-defined]
    named = ", ".join(fields)
    if not isinstance(given, dict):
        return f"a dict of {named}; yours is {type(given).__name__}"
    unknown = [str(name) for name in given if name not in fields]
    if unknown:
        return f"fields among {named}; yours has {unknown[0]!r}"
    missing = [name for name in fields if name not in given and name not in defaults]
    if missing:
        return f"{missing[0]!r} must be given too; the fields are {named}"
    kinds = get_type_hints(kind)
    rows = {name for name, kind_of in kinds.items() if get_origin(kind_of) is tuple}
    values = {name: _frozen(value) for name, value in given.items()}
    values = {name: (v,) if name in rows and isinstance(v, (int, float)) else v for name, v in values.items()}
    case = cast(Case, kind(**values))
    try:
        if not all(_suits(kinds[name], value) for name, value in values.items()):
            raise TypeError
        return case if is_legal(case) else _LEGAL[next(name for name in _LEGAL if name in fields)]
    except (TypeError, ValueError, AttributeError):
        return f"plain numbers and lists of them for {named}"


_LEGAL = {
    "zero_point": "a positive scale, all codes of 2 to 8 bits (-8..7, -7..7, 0..15), the zero point one",
    "rmin": "rmin at most rmax, all codes of 2 to 8 bits (-8..7, -7..7, 0..15)",
    "truth": "rows of 0 and 1 of the same length, at least one 1 in truth",
    "multiplier": "a multiplier from 2**30 to 2**31 - 1, a shift from -30 to 8, no overflow",
    "mode": "ordinary numbers, at least one",
    "x": "ordinary numbers, at least one, and codes -128..127 where codes are asked for",
    "scale": "a positive scale",
}
"""Field -> what numbers may stand together in a case that has it; the first field that occurs decides."""


def _suits(kind: object, value: object) -> bool:
    """Whether a student's value is of a field's kind: a whole number, a number, a row with at least one, the name of a type."""
    if kind is str:
        return value in ("float32", "float64")
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return isinstance(value, tuple) and len(value) > 0 and all(_suits(inner, one) for one in value)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return _is_number(value) and (kind is float or whole)


def _is_number(value: object) -> bool:
    """A finite number that a float can hold."""
    return isinstance(value, (int, float)) and abs(value) < 2**1000 and math.isfinite(value)


def _frozen(value: object) -> object:
    """Lists and arrays as tuples of plain numbers."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return tuple(_frozen(v) for v in value) if isinstance(value, (list, tuple)) else value


def _hunt(item: Bug, fn: Function) -> Report:
    """A bug: does the planted function go wrong on the student's input, and a right one not?"""
    case = _case_of(item, fn())
    one = find_law(item.law)
    head = f"{item.number} {item.function}"
    if isinstance(case, str):
        return _report(
            item, "broken", f"{head}: that is no input for {item.buggy}", f"  right    {case}", _hint(item)
        )
    given = written(case, item.law)
    buggy = packaged_function(sitting_of(item), item.buggy)
    if not fits(buggy, case):
        return _report(
            item, "broken", f"{head}: the codes of {item.buggy} are -128..127", f"  input    {given}",
            f"  wanted   an input for these codes: {item.buggy} takes no qmin and qmax", _hint(item),
        )  # fmt: skip
    broken = one.judge(case, {item.role: buggy})
    right = one.judge(case, {item.role: right_answers(item.role)[0]})
    if broken is None:
        return _report(
            item, "broken", f"{head}: this law holds of {item.buggy} on this input", f"  input    {given}",
            f"  the law  {one.words}", "  wanted   an input on which this law does not hold", _hint(item),
        )  # fmt: skip
    if right is not None:
        return _report(
            item, "broken", f"{head}: a right function that we know misses this input too", f"  input    {given}",
            "  wanted   a more ordinary input, on which the two part", _hint(item),
        )  # fmt: skip
    return _report(
        item, "passed", f"{head}: found it", f"  input    {given}", f"  it gives {broken.yours}", f"  right    {broken.right}",
        f"  the law  {one.words}", f"  seen in  {item.issue}",
    )  # fmt: skip


@contextlib.contextmanager
def _folder_on_the_path(folder: Path) -> Iterator[None]:
    """What lies beside a student's file can be imported, as when it is run as a script; afterwards nothing of it is left."""
    here, before, writes = str(folder.resolve()), set(sys.modules), sys.dont_write_bytecode
    sys.path.insert(0, here)
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(here)
        for name in set(sys.modules) - before:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(here + os.sep):
                del sys.modules[name]


def examine_file(item: Item, path: Path, *, seconds: float = 5.0) -> Report:
    """Hold the function of that name in a student's file against what an exercise asks; what lies beside it can be imported."""
    with _folder_on_the_path(path.parent):
        return _examined(item, path, seconds)


def _examined(item: Item, path: Path, seconds: float) -> Report:
    """Read, run what the function needs, examine."""
    cells: list[Cell] | None = None
    try:
        cells = read_code(path)
        with _silence():
            fn = functions_of(cells, item.function)
    except MissingFunction as error:
        again = f"rename it, or begin again: tinyquant lab start {sitting_of(item).number} --force"
        return _report(item, "raised", f"{item.number} {item.function}: {error}", f"  next     {again}")
    except (UnreadableCode, UnicodeDecodeError) as error:
        mend = "save it as UTF-8" if isinstance(error, UnicodeDecodeError) else "mend this"
        return _report(
            item, "raised", f"{item.number} {item.function}: the file cannot be read", f"  because  {error}",
            f"  next     {mend}, then: tinyquant check {item.number}",
        )  # fmt: skip
    except (Exception, SystemExit) as error:
        place = where_in(error, cells) if cells else None
        at = f"  line {place.line:<4}{place.text}" if place else ""
        head = f"{item.number} {item.function}: the file stops with {_named(error)}"
        return _report(
            item, "raised", head, at, "  next     mend that line: it is run before any function is called"
        )
    return examine(item, fn, cells, seconds=seconds)
