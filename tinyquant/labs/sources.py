"""The labs' texts: one file a sitting holds the blanks and what fills them; the student's copy is made from it.

A blank stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` (the marks that nbgrader and otter use) in the body of the
function that is asked for. With this module one can get the student's copy (`starter`), one solution (`solution`), and a function
of a lab as it lies in the package (`packaged_function`).
"""

from __future__ import annotations

import ast
import functools
import textwrap
from collections.abc import Callable
from importlib import resources

from tinyquant.labs.exercise import Item, Sitting
from tinyquant.labs.student_code import functions_of, read_script

__all__ = ["packaged_function", "solution", "source", "starter"]

_BEGIN, _END = "### BEGIN SOLUTION", "### END SOLUTION"


@functools.cache
def source(sitting: Sitting) -> str:
    """The lab with its solutions, as it lies in the package."""
    return (resources.files("tinyquant.labs") / "sources" / f"{sitting.name}.py").read_text(encoding="utf-8")


def starter(sitting: Sitting) -> str:
    """The student's copy: each solution is replaced by a line that says it is still to be written."""
    numbers = {item.function: item.number for item in sitting.exercises}
    lines: list[str] = []
    function, inside = "", False
    for line in source(sitting).splitlines():
        word = line.strip()
        if line.startswith("def "):
            function = line[4:].split("(")[0]
        if word == _BEGIN:
            if function not in numbers:
                raise ValueError(
                    f"{sitting.name}: a solution stands in {function!r}, which no exercise asks for. Name it in sittings/."
                )
            indent = line[: len(line) - len(line.lstrip())]
            # Run as a script, a lab ends at the first experiment that needs it: the last line then printed is this.
            number = numbers[function]
            todo = f"TODO {number}: write {function} here, then run this again. A hint: tinyquant hint {number}"
            lines.append(f'{indent}raise NotImplementedError("{todo}")')
            inside = True
        elif word == _END:
            inside = False
        elif not inside:
            lines.append(line)
    return "\n".join(lines) + "\n"


def solution(sitting: Sitting, item: Item) -> str:
    """One function with its body filled in, without the marks.

    Raises
    ------
    ValueError
        The lab has no such function.
    """
    text = source(sitting)
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name == item.function:
            lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
            # The last mark is a comment behind the body, and no part of it.
            return textwrap.dedent("\n".join(line for line in lines if line.strip() not in (_BEGIN, _END)))
    raise ValueError(
        f"the lab {sitting.name} must define {item.function}, got no such function. Write it there."
    )


def packaged_function(sitting: Sitting, name: str) -> Callable[..., object]:
    """A function of a lab as it lies in the package: the planted one of a bug, or a solution."""
    return functions_of(read_script(source(sitting), f"<lab {sitting.name}>"), name)
