"""The rules of the house as functions over source text: each takes (source, path) and returns lines "path:line: what is wrong".

Only the standard library's ``ast`` is used, and nothing of the package is imported: a rule can be tried on a planted line.
With this module one can hold any file against the structure that architecture.md decides; `test_house.py` does it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

PACKAGE = "tinyquant"
TOP = "(top)"

_NUMBERS = {"numerics", "graph"}
_FLOAT_LANE = {"autograd", "nn", "optim", "training"}
_INTEGER_LANE = {"integer", "engines"}
_BRIDGES = {"quantization", "interop"}
_BELOW_VIEWS = _NUMBERS | _FLOAT_LANE | _INTEGER_LANE | _BRIDGES

MAY_IMPORT: dict[str, set[str]] = {
    # numbers
    "numerics": set(),
    "graph": {"numerics"},
    # the float lane
    "autograd": _NUMBERS,
    "nn": _NUMBERS | {"autograd"},
    "optim": _NUMBERS | {"autograd", "nn"},
    "training": _NUMBERS | {"autograd", "nn", "optim"},
    # the integer lane
    "integer": _NUMBERS,
    "engines": _NUMBERS | {"integer"},
    # the bridges: the only rooms that see both lanes
    "quantization": _NUMBERS | _FLOAT_LANE | _INTEGER_LANE,
    "interop": _NUMBERS | _FLOAT_LANE | _INTEGER_LANE | {"quantization"},
    # the views
    "analysis": _BELOW_VIEWS,
    "plot": _BELOW_VIEWS | {"analysis"},
    # teaching, and what stands beside the lanes
    "data": {"numerics"},
    "models": {"numerics", "autograd", "nn"},
    "testing": _BELOW_VIEWS | {"analysis"},
    "study": _BELOW_VIEWS | {"analysis", "data", "models"},
    "labs": _BELOW_VIEWS | {"analysis", "plot", "data", "models", "testing", TOP},
    "cli": _BELOW_VIEWS | {"analysis", "plot", "data", "models", "testing", "labs", "study", "checkpoints", TOP},
    "__main__": {"cli"},
    "checkpoints": {"numerics", "nn", "training", "quantization", "data", "models"},
    # tinyquant/__init__.py re-exports the public names, and stays light: plot comes on first use (another rule sees to it)
    TOP: _BELOW_VIEWS | {"analysis", "plot", "data", "models", "testing", "labs"},
}
"""One row a room: what it may import, besides itself. Imports inside functions and for typing count too."""

FORBIDDEN_IMPORTS = {
    "socket", "ssl", "urllib", "http", "ftplib", "smtplib", "xmlrpc", "requests", "aiohttp",
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal",
}  # fmt: skip

THIRD_PARTY_AT_THE_TOP: dict[str, set[str]] = {"plot": {"numpy", "matplotlib"}}
"""Which packages a room may import at the top of a file; every other room only numpy, anything optional inside a function."""

NARROW = {"int8", "uint8", "int16", "uint16", "byte", "ubyte", "short", "ushort", "i1", "u1", "i2", "u2", "b", "B", "h", "H"}
FLOAT_NAMES = {"float16", "float32", "float64", "float128", "floating", "inexact", "half", "single", "double", "longdouble"}
FLOAT_STRINGS = FLOAT_NAMES | {"float", "f2", "f4", "f8", "<f2", "<f4", "<f8", ">f4", ">f8", "e", "f", "d"}
FLOAT_FUNCTIONS = {
    "true_divide", "divide", "reciprocal", "mean", "average", "median", "std", "var", "nanmean", "sqrt", "cbrt", "exp", "exp2",
    "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan", "hypot", "float_power",
    "linspace", "logspace", "geomspace", "interp", "ldexp", "inf", "nan", "pi",
}  # fmt: skip
FLOAT_METHODS = {"mean", "std", "var"}
WHOLE_MATH = {"isqrt", "gcd", "lcm", "prod", "comb", "perm", "factorial"}
ROUNDERS = {"round", "round_", "rint", "around", "fix", "floor", "ceil", "trunc"}


# The shape of a file


def module_name(path: str) -> str:
    """``tinyquant/numerics/affine.py`` -> ``tinyquant.numerics.affine``; an ``__init__.py`` is its package."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room a module name is in: ``tinyquant.numerics.affine`` -> ``numerics``; the package itself is `TOP`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else TOP


def is_public(name: str) -> bool:
    """A name without a leading underscore."""
    return not name.startswith("_")


def scoped_nodes(tree: ast.AST) -> Iterator[tuple[Any, str]]:
    """Every node with the dotted name of the function or class it stands in ("" at the top)."""

    def walk(node: ast.AST, scope: str) -> Iterator[tuple[Any, str]]:
        for child in ast.iter_child_nodes(node):
            inner = scope
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                inner = f"{scope}.{child.name}".lstrip(".")
            yield child, inner
            yield from walk(child, inner)

    yield from walk(tree, "")


def docstring_nodes(tree: ast.AST) -> set[int]:
    """The ids of the constants that are strings standing alone: docstrings, and the strings below a constant."""
    return {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}


def imports(source: str, path: str) -> Iterator[tuple[int, str, bool]]:
    """(line, dotted module, stands in a function) of every import: relative ones resolved, ``import_module("...")`` included.

    ``from tinyquant import numerics`` gives ``tinyquant.numerics``; ``from tinyquant import quantize`` gives ``tinyquant``.
    """
    tree = ast.parse(source)
    name = module_name(path)
    package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
    inside = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    }

    def absolute(module: str, level: int) -> str:
        if not level:
            return module
        base = package.split(".")
        return ".".join([*base[: len(base) - level + 1], *([module] if module else [])])

    for node in ast.walk(tree):
        in_function = id(node) in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, in_function
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node.module or "", node.level)
            for alias in node.names:
                is_room = base == PACKAGE and alias.name in MAY_IMPORT
                yield node.lineno, f"{base}.{alias.name}" if is_room else base, in_function
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            target = node.args[0].value
            if called in ("import_module", "__import__") and isinstance(target, str):
                dots = len(target) - len(target.lstrip("."))
                yield node.lineno, absolute(target.lstrip("."), dots), in_function


# The rules


def import_directions(source: str, path: str) -> list[str]:
    """Imports only go up the page of architecture.md, by `MAY_IMPORT`."""
    room = room_of(module_name(path))
    if room not in MAY_IMPORT:
        return [f"{path}:1: the room {room!r} has no row in MAY_IMPORT"]
    wrong = []
    for line, target, _ in imports(source, path):
        if target.split(".")[0] != PACKAGE:
            continue
        other = room_of(target)
        if other != room and other not in MAY_IMPORT[room]:
            wrong.append(f"{path}:{line}: {room} must not import {other} ({target})")
    return wrong


def outside_imports(source: str, path: str) -> list[str]:
    """No network, no pickle; numpy alone at the top of a file (matplotlib too in plot), matplotlib nowhere else at all."""
    room = room_of(module_name(path))
    at_the_top = THIRD_PARTY_AT_THE_TOP.get(room, {"numpy"})
    wrong = []
    for line, target, in_function in imports(source, path):
        first = target.split(".")[0]
        if first in FORBIDDEN_IMPORTS:
            wrong.append(f"{path}:{line}: {first} is never imported in the package")
        elif first == "matplotlib" and room != "plot":
            wrong.append(f"{path}:{line}: matplotlib is imported by plot alone")
        elif first in sys.stdlib_module_names or first in (PACKAGE, "__future__") or in_function or first in at_the_top:
            continue
        else:
            wrong.append(f"{path}:{line}: {first} is optional: import it inside the function that needs it")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and not is_constant(node.value, False):
            wrong.append(f"{path}:{node.value.lineno}: allow_pickle must be False")
    return wrong


def is_literal(node: ast.AST) -> bool:
    """A number or a list of numbers written out, whose fit anybody can see."""
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def whole_number_arguments(tree: ast.AST) -> dict[str, set[str]]:
    """Dotted function name -> the parameters it declares as ``int``."""
    found: dict[str, set[str]] = {}
    for node, scope in scoped_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            found[scope] = {a.arg for a in given if a.annotation is not None and ast.unparse(a.annotation) == "int"}
    return found


def is_constant(node: ast.AST, value: object) -> bool:
    """The node is that very constant."""
    return isinstance(node, ast.Constant) and node.value is value


def numpy_attribute(node: ast.AST) -> str:
    """``rint`` for ``np.rint`` or ``numpy.rint``, else ""."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy"):
        return node.attr
    return ""


def float_uses(source: str, path: str, offline: frozenset[str] = frozenset()) -> list[str]:
    """No float literal, true division, float type or float function, except inside the functions named in ``offline``."""
    tree = ast.parse(source)
    prose = docstring_nodes(tree)
    wrong = []
    for node, scope in scoped_nodes(tree):
        if scope.split(".")[0] in offline or id(node) in prose:
            continue
        what = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, (float, complex)):
            what = f"the literal {node.value!r}"
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div):
            what = "a true division"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and isinstance(node.right, ast.UnaryOp):
            what = "a negative power"
        elif isinstance(node, ast.Name) and node.id == "float":
            what = "float"
        elif numpy_attribute(node) in FLOAT_NAMES | FLOAT_FUNCTIONS:
            what = f"np.{numpy_attribute(node)}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "math":
            what = f"math.{node.attr}" if node.attr not in WHOLE_MATH else ""
        elif isinstance(node, ast.Call):
            method = node.func.attr if isinstance(node.func, ast.Attribute) and not numpy_attribute(node.func) else ""
            given = [k.value for k in node.keywords if k.arg == "dtype"]
            given += node.args if method in ("astype", "view") or numpy_attribute(node.func) else []
            named = [a.value for a in given if isinstance(a, ast.Constant) and a.value in FLOAT_STRINGS]
            what = f'the type "{named[0]}"' if named else f".{method}()" if method in FLOAT_METHODS else ""
        if what:
            wrong.append(f"{path}:{node.lineno}: {what} in integer arithmetic ({scope or 'top of the file'})")
    return wrong


def rounding_uses(source: str, path: str, allowed: Mapping[tuple[str, str], str] = {}) -> list[str]:
    """Nothing is rounded here: `round_to_int` of numerics is called. ``allowed``: (path, function) -> why it may.

    ``round(x, digits)`` for showing a number is no rounding of a value; a plain ``round(x)`` is.
    """
    wrong = []
    for node, scope in scoped_nodes(ast.parse(source)):
        what = ""
        if isinstance(node, ast.Attribute) and node.attr in ROUNDERS:
            base = node.value.id if isinstance(node.value, ast.Name) else ""
            if base in ("np", "numpy", "math"):
                what = f"{base}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("math", "numpy"):
            what = ", ".join(alias.name for alias in node.names if alias.name in ROUNDERS)
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "round" and not numpy_attribute(node.func):
                what = ".round()"
            elif isinstance(node.func, ast.Name) and node.func.id == "round" and len(node.args) + len(node.keywords) == 1:
                what = "round()"
            elif isinstance(node.func, ast.Name) and node.func.id == "int" and len(node.args) == 1:
                inner = node.args[0]
                halves = [getattr(side, "value", None) for side in (getattr(inner, "left", 0), getattr(inner, "right", 0))]
                what = "int(... + 0.5)" if 0.5 in halves else ""
        if what and (path, scope) not in allowed:
            wrong.append(f"{path}:{node.lineno}: {what} in {scope or 'the top of the file'}; call numerics' round_to_int")
    return wrong


def narrowing_casts(source: str, path: str, allowed: Mapping[tuple[str, str], str] = {}) -> list[str]:
    """No cast to 8 or 16 bits: `saturate` clips while wide, then casts.

    What cannot wrap is let through: ``astype(..., casting="safe")``, a number written out, and one parameter declared ``int``
    (numpy refuses a Python integer that does not fit).
    """

    def narrow(node: ast.AST | None) -> bool:
        if isinstance(node, ast.Constant):
            return node.value in NARROW
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "dtype" and node.args:
            return narrow(node.args[0])
        if isinstance(node, ast.Attribute) and node.attr == "dtype":
            owner = getattr(node.value, "attr", getattr(node.value, "id", ""))
            return owner.endswith(("qp", "qparams"))
        return numpy_attribute(node) in NARROW if node is not None else False

    wrong = []
    tree = ast.parse(source)
    whole = whole_number_arguments(tree)
    for node, scope in scoped_nodes(tree):
        if not isinstance(node, ast.Call):
            continue
        keywords = {k.arg: k.value for k in node.keywords}
        casting = getattr(keywords.get("casting"), "value", None)
        called = getattr(node.func, "attr", "")
        what = ""
        if casting == "unsafe":
            what = 'casting="unsafe"'
        elif called == "astype" and casting not in ("safe", "equiv", "no"):
            target = node.args[0] if node.args else keywords.get("dtype")
            what = f"astype({ast.unparse(target)})" if target is not None and narrow(target) else ""
        elif numpy_attribute(node.func) in NARROW and node.args:
            one_number = isinstance(node.args[0], ast.Name) and node.args[0].id in whole.get(scope, ())
            what = "" if one_number or is_literal(node.args[0]) else f"np.{called}(...)"
        elif numpy_attribute(node.func) in ("asarray", "array", "ascontiguousarray", "asanyarray", "fromiter") and node.args:
            target = keywords.get("dtype") or (node.args[1] if len(node.args) > 1 else None)
            if target is not None and narrow(target) and not is_literal(node.args[0]):
                what = f"np.{called}(..., {ast.unparse(target)})"
        if what and (path, scope) not in allowed:
            wrong.append(f"{path}:{node.lineno}: {what} in {scope or 'the top of the file'}; call numerics' saturate")
    return wrong


def prints(source: str, path: str) -> list[str]:
    """No ``print``, and no writing to the standard streams, but below ``if __name__ == "__main__"``."""
    tree = ast.parse(source)
    scripts = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "__name__ == '__main__'"]
    run_as_script = {id(inner) for script in scripts for inner in ast.walk(script)}
    wrong = []
    for node in ast.walk(tree):
        if id(node) in run_as_script:
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            wrong.append(f"{path}:{node.lineno}: print; return the text, the command line prints it")
        if isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr") and getattr(node.value, "id", "") == "sys":
            wrong.append(f"{path}:{node.lineno}: sys.{node.attr}; return the text, the command line prints it")
    return wrong


def is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """An ``@overload`` stub, or a property's setter or deleter: the documentation stands elsewhere."""
    names = [getattr(d, "attr", getattr(d, "id", "")) for d in node.decorator_list]
    return any(name in ("overload", "setter", "deleter") for name in names)


Documented = dict[str, tuple[set[str], set[str]]]
"""Class name -> (names of its bases, names of its methods that have a docstring), over the whole package."""


def documented_methods(source: str) -> Documented:
    """What `missing_docstrings` needs to know about one file's classes, to let an override inherit its documentation."""
    found: Documented = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            bases = {getattr(b, "attr", getattr(b, "id", "")) for b in node.bases}
            methods = {m.name for m in node.body if isinstance(m, ast.FunctionDef) and ast.get_docstring(m)}
            found[node.name] = (bases, methods)
    return found


def merged(several: Iterable[Documented]) -> Documented:
    """What is known of the classes of several files; two classes of one name count as one."""
    found: Documented = {}
    for one in several:
        for name, (bases, methods) in one.items():
            known = found.get(name, (set(), set()))
            found[name] = (known[0] | bases, known[1] | methods)
    return found


def inherits_docstring(owner: str, method: str, classes: Documented) -> bool:
    """A base class, near or far, documents this method."""
    bases = classes.get(owner, (set(), set()))[0]
    return any(method in classes[b][1] or inherits_docstring(b, method, classes) for b in bases if b in classes and b != owner)


def missing_docstrings(source: str, path: str, classes: Documented | None = None) -> list[str]:
    """Every file, public class, function and method says what it is for; an override may inherit its base's words."""
    tree = ast.parse(source)
    known = documented_methods(source) if classes is None else classes
    wrong = [] if ast.get_docstring(tree) or not source.strip() else [f"{path}:1: the file has no docstring"]

    def visit(body: list[ast.stmt], owner: str) -> None:
        for node in body:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or not is_public(node.name):
                continue
            if isinstance(node, ast.ClassDef):
                visit(node.body, node.name)
            elif is_overload(node) or (owner and inherits_docstring(owner, node.name, known)):
                continue
            if not ast.get_docstring(node):
                wrong.append(f"{path}:{node.lineno}: {f'{owner}.{node.name}'.lstrip('.')} has no docstring")

    visit(tree.body, "")
    return wrong


def public_names(source: str, path: str) -> dict[str, int]:
    """name -> line of what a file defines (not what it imports) and exports: ``__all__``, or else its functions and classes."""
    tree = ast.parse(source)
    exported: set[str] = set()
    found: dict[str, int] = {}
    assigned: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and is_public(node.name):
            found.setdefault(node.name, node.lineno)
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    assigned[target.id] = node.lineno
                    if target.id == "__all__" and isinstance(node.value, (ast.List, ast.Tuple)):
                        exported = {str(e.value) for e in node.value.elts if isinstance(e, ast.Constant)}
    found |= {name: line for name, line in assigned.items() if name in exported}
    return {name: line for name, line in found.items() if is_public(name) and (name in exported or "__all__" not in assigned)}


def lane_of(path: str) -> str:
    """float, integer, or "" for the rooms in which the two may meet."""
    room = room_of(module_name(path))
    return "float" if room in _FLOAT_LANE else "integer" if room in _INTEGER_LANE else ""


def duplicate_names(files: Mapping[str, str], allowed: Mapping[str, str] = {}) -> list[str]:
    """A public name is defined once. The two lanes, which never meet, may each have their own ``conv2d``."""
    seen: dict[str, list[tuple[str, int]]] = {}
    for path, source in files.items():
        for name, line in public_names(source, path).items():
            seen.setdefault(name, []).append((path, line))
    wrong = []
    for name, places in sorted(seen.items()):
        lanes = [lane_of(path) for path, _ in places]
        if len(places) > 1 and name not in allowed and sorted(lanes) != ["float", "integer"]:
            first, *others = [f"{path}:{line}" for path, line in sorted(places)]
            wrong.append(f"{first}: {name} is also defined at {', '.join(others)}")
    return wrong


def names_of_rooms(source: str, path: str) -> list[str]:
    """No public name is a room's name: ``quantize`` is the function, ``quantization`` the room."""
    found = public_names(source, path).items()
    return [f"{path}:{line}: {name} is the name of a room" for name, line in found if name in MAY_IMPORT]


def too_long(source: str, path: str, limit: int = 450) -> list[str]:
    """A file over the limit holds two ideas."""
    lines = source.count("\n")
    return [f"{path}:{lines}: {lines} lines, over {limit}: it holds two ideas"] if lines > limit else []


def not_ascii(source: str, path: str) -> list[str]:
    """Every character is ASCII."""
    lines = enumerate(source.splitlines(), 1)
    found = [(n, "".join(c for c in line if not c.isascii())) for n, line in lines]
    return [f"{path}:{n}: {characters!a} is not ASCII" for n, characters in found if characters]


# What the rules are held against


def package_files(root: Path) -> dict[str, str]:
    """path -> source of every module of the package: the files a Python import can reach."""
    found = {}
    for file in sorted((root / PACKAGE).rglob("*.py")):
        folders = [folder for folder in file.relative_to(root).parents if folder.name]
        if all((root / folder / "__init__.py").exists() or len(folder.parts) == 2 for folder in folders):
            found[file.relative_to(root).as_posix()] = file.read_text(encoding="utf-8")
    return found
