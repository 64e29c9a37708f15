"""The report: what a student reads when a law is broken, in at most 8 lines of 80 columns of plain ASCII.

The smallest input, the answer given, the right one, how far off it may be, the law in words, and one thing to do next. With this
module one can write it (`report_lines`), or the input alone (`written`).
"""

from __future__ import annotations

import itertools
import textwrap

from tinyquant.testing.cases import Case, in_rows
from tinyquant.testing.law import LAWS, Broken

__all__ = ["WIDTH", "cut", "one_line", "report_lines", "written"]

WIDTH = 80


def cut(line: str) -> str:
    """A line of plain ASCII and 80 columns, its indentation kept, with three dots where it was longer."""
    line = line.replace("\n", " ").encode("ascii", "backslashreplace").decode("ascii")
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."


def one_line(text: str) -> str:
    """The text on one such line, its blanks single."""
    return cut(" ".join(text.split()))


_NEXT = "work this input by hand, then print each step of your code for it"


def report_lines(role: str, name: str, case: Case, broken: Broken, looks_like: str = "", next_action: str = "") -> list[str]:
    """At most eight lines."""
    head = f"{role} raised an exception under the law {name}" if broken.error else f"{role} breaks the law {name}"
    words = textwrap.wrap(LAWS[name].words, WIDTH - 11)
    law = [f"  the law  {words[0]}", *(f"           {more}" for more in words[1:2])]
    right = [f"  right    {broken.right}", f"  allowed  {broken.allowed}"]
    together = f"  right    {broken.right} ({'exactly' if broken.allowed.startswith('none') else f'allowed: {broken.allowed}'})"
    given = textwrap.wrap(written(case, name), WIDTH - 11, break_long_words=False, break_on_hyphens=False)
    called = [f"  input    {given[0]}", *(f"           {more}" for more in given[1:2])]
    if (len(given) > 1 or (looks_like and len(law) == 2)) and len(together) <= WIDTH:
        # An input or a law of two lines leaves no room for a guess, unless the two lines above are one.
        right = [together]
    if len(called) + len(right) + len(law) > 5:
        called = [f"  input    {written(case, name)}"]
    lines = [head, *called, f"  yours    {broken.yours}", *right, *law]
    if looks_like and len(lines) < 7:
        lines.append(f"  like     {looks_like}")
    lines.append(f"  next     {next_action or _NEXT}")
    return [cut(line) for line in lines]


def _left_out(name: str, case: Case) -> tuple[str, ...]:
    """Fields a reader of the report does not need."""
    unread: tuple[str, ...] = () if name in ("rounding_mode", "rounds_by_its_rule") else ("mode",)
    unread += ("x_zero", "w_zero") if name.startswith("accumulator") else ()
    return (*unread, "dtype") if getattr(case, "dtype", "float64") == "float64" else unread


def written(case: Case, law: str = "") -> str:
    """The numbers of a case as they can be typed in again, without those that the law does not read. A line that is too long goes
    without the usual codes -128..127, and then without what is 0.

    Examples
    --------
    >>> from tinyquant.testing.cases import MapCase
    >>> written(MapCase((300.0,)))
    'x=[300.0], scale=1.0, zero_point=0, qmin=-128, qmax=127'
    >>> written(MapCase((1.0, 2.0)), "codes_of_any_shape")
    'x=[[1.0, 2.0]], scale=1.0, zero_point=0, qmin=-128, qmax=127'
    """
    left_out = _left_out(law, case)
    values = {key: value for key, value in case._asdict().items() if key not in left_out}
    for key in LAWS[law].rows if law else ():
        # The input of the report is what the function was called with.
        values[key] = in_rows(values[key])
    usual = {"qmin": -128, "qmax": 127}
    is_usual = all(values.get(key) == value for key, value in usual.items())
    shorter = {key: value for key, value in values.items() if not is_usual or key not in usual}
    shortest = {key: value for key, value in shorter.items() if value != 0}
    texts = [", ".join(f"{key}={_short(value)}" for key, value in some.items()) for some in (values, shorter, shortest)]
    return next((text for text in texts if len(text) <= WIDTH - 11), texts[1])


def _short(value: object) -> str:
    """A value as it can be typed in again; large powers of two as such, a long row by its first numbers and its length."""
    if isinstance(value, int) and value >= 2**20 and value & (value - 1) == 0:
        return f"2**{value.bit_length() - 1}"
    if not isinstance(value, tuple):
        return repr(value)
    text = "[" + ", ".join(map(_short, value)) + "]"
    if len(text) <= 44 or len(value) < 3:
        return text
    runs = [(number, len(list(same))) for number, same in itertools.groupby(value)]
    if len(runs) <= 3:
        return " + ".join(f"[{_short(number)}] * {times}" if times > 1 else f"[{_short(number)}]" for number, times in runs)
    return f"[{_short(value[0])}, {_short(value[1])}, ...] ({len(value)} numbers)"
