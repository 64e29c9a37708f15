"""Reading a student's file: a script or a notebook, found by the names of its functions.

Only what a function needs is run: imports, and the statements that make the names it uses (functions, classes, assignments, an
``if`` or a ``try`` around them). Experiments, plots and the order of cells cannot change a result. With this module one can read
a file (`read_code`) and get a function from it (`functions_of`); `where_in` tells which of the student's lines an exception came
from.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
import symtable
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = [
    "Cell",
    "MissingFunction",
    "Place",
    "UnreadableCode",
    "functions_of",
    "read_script",
    "read_code",
    "where_in",
]


class UnreadableCode(ValueError):
    """A file that is not Python, or no notebook; the message says where."""


class MissingFunction(ValueError):
    """The file defines no function of that name."""


@dataclass(frozen=True)
class Cell:
    """A piece of code with the name under which its lines are reported."""

    name: str
    text: str
    tree: ast.Module


@dataclass(frozen=True)
class Place:
    """A line of the student's: the name of the file (or cell), its number, its text."""

    name: str
    line: int
    text: str
    values: tuple[str, ...] = ()


def _cell(text: str, name: str) -> Cell:
    """Parse one piece."""
    try:
        return Cell(name, text, ast.parse(text, filename=name))
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise UnreadableCode(f"{name}, line {error.lineno}: {error.msg}: {line}") from None
    except ValueError as error:
        raise UnreadableCode(f"{name}: {error}") from None


def read_script(text: str, name: str) -> list[Cell]:
    """A script as one piece: its cells are comments."""
    return [_cell(text, name)]


def _plain_line(line: str) -> str:
    """A line of a notebook without the commands that only IPython knows; its indentation stays."""
    text = line.strip()
    magic = text.startswith(("%", "!", "?")) or text.endswith("?") or re.search(r"=\s*[%!]", text)
    return line[: len(line) - len(line.lstrip())] + "pass" if magic else line


def _notebook_cell(code: str, name: str) -> Cell | None:
    """One code cell, as it is if that is Python, else without magics; None if it is neither and defines nothing."""
    try:
        return _cell(code, name)
    except UnreadableCode:
        if code.lstrip().startswith("%%"):
            return None
    try:
        return _cell("\n".join(map(_plain_line, code.split("\n"))), name)
    except UnreadableCode:
        if re.search(r"^(def|class) ", code, re.MULTILINE):
            raise
        return None


def read_code(path: Path) -> list[Cell]:
    """The code of a .py or .ipynb file.

    Raises
    ------
    UnreadableCode
        It does not parse, or is no notebook; the message names the line.
    OSError
        The file cannot be opened.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix != ".ipynb":
        return read_script(text, path.name)
    try:
        cells = json.loads(text)["cells"]
        codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableCode(f"{path.name} is no notebook: {error}. Save it again from Jupyter.") from None
    found = [_notebook_cell(code, f"{path.name} cell {number}") for number, code in enumerate(codes, 1)]
    return [cell for cell in found if cell is not None]


def _names_made(node: ast.stmt, imported: set[str]) -> set[str]:
    """The names that a statement at the top of a file gives a meaning to, or changes: ``TABLE[0] = 1`` and ``TABLE.append(1)``
    make TABLE, but a call of a module's (``plt.show()``) makes nothing."""
    table = symtable.symtable(ast.unparse(node), "student", "exec")
    made = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
    for inner in _outside_functions(node):
        if isinstance(inner, (ast.Subscript, ast.Attribute)) and isinstance(inner.ctx, ast.Store):
            made.add(_root(inner))
        elif isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Call) and isinstance(inner.value.func, ast.Attribute):
            made |= {_root(inner.value.func)} - imported
    return made


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and what is in it, without the bodies of functions: those are not run with it."""
    yield node
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from _outside_functions(child)


def _root(node: ast.expr) -> str:
    """The name at the beginning of ``name.part[0]``; "" if there is none."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _names_used(node: ast.stmt) -> set[str]:
    """The names of the file that a statement looks up when it is run, or when what it defines is called. Parameters and names of
    a function's own are none of these."""
    table = symtable.symtable(ast.unparse(node), "student", "exec")

    def looked_up(scope: symtable.SymbolTable) -> set[str]:
        top = scope.get_type() == "module"
        mine = {
            one.get_name() for one in scope.get_symbols() if one.is_referenced() and (top or one.is_global())
        }
        return mine.union(*map(looked_up, scope.get_children()))

    return looked_up(table)


def functions_of(cells: list[Cell], name: str) -> Callable[..., object]:
    """The function of that name, with only what it needs having been run: a ``def``, or whatever else a name is given to that can
    be called (a lambda, a method, an import).

    Raises
    ------
    MissingFunction
        No cell defines it.
    Exception
        Whatever the student's imports and assignments raise.
    """
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for cell in cells
        for node in ast.walk(cell.tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    statements = [(cell, node, _names_made(node, imported)) for cell in cells for node in cell.tree.body]
    where = cells[0].name.split(" cell ")[0] if cells else "the file"
    if not any(name in made for _, _, made in statements):
        defined = [
            node.name for _, node, _ in statements if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        ]
        near = difflib.get_close_matches(name, defined, n=1)
        raise MissingFunction(f"{where} defines no function {name}" + (f", but {near[0]}" if near else ""))
    needed = {name}
    while True:
        more = {used for _, node, made in statements if made & needed for used in _names_used(node)} - needed
        if not more:
            break
        needed |= more
    module = types.ModuleType("student")
    for cell, node, made in statements:
        if isinstance(node, (ast.Import, ast.ImportFrom)) or made & needed:
            part = ast.Module([node], type_ignores=[])
            exec(compile(part, cell.name, "exec", dont_inherit=True), module.__dict__)
    found = module.__dict__.get(name)
    if not callable(found):
        what = f"it is of type {type(found).__name__}" if name in module.__dict__ else "its line is not reached"
        raise MissingFunction(f"{where} defines no function {name}: {what}")
    called: Callable[..., object] = found
    return called


def where_in(error: BaseException, cells: list[Cell]) -> Place | None:
    """The deepest line of the student's that an exception passed, with the shapes and types of the arrays there."""
    texts = {cell.name: cell.text.splitlines() for cell in cells}
    place = None
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name in texts:
            line = texts[name][trace.tb_lineno - 1].strip()
            there = {k: v for k, v in trace.tb_frame.f_locals.items() if not isinstance(v, types.ModuleType)}
            place = Place(name, trace.tb_lineno, line, tuple(_told(k, v) for k, v in there.items()))
        trace = trace.tb_next
    return place


def _told(name: str, value: object) -> str:
    """``x: float64 (3,)`` for an array, ``x = 3`` for a number, ``x: list`` for what is neither."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{name}: {value.dtype} {value.shape}"
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{name} = {value} ({value.dtype})"
    if isinstance(value, (bool, int, float)):
        return f"{name} = {value!r}"
    return f"{name}: {type(value).__name__}"
