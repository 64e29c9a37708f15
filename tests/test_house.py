"""The structure of the package, held to the rules of `house_rules.py`; and the rules held to planted violations.

A failure names file and line. A new exception belongs in one of the tables below, with its reason.
"""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import house_rules as rules
import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = rules.package_files(ROOT)

OFFLINE_FIXED_POINT = frozenset({"quantize_multiplier"})
"""The functions of numerics/fixed_point.py that run before deployment, where floats are allowed."""

OFFLINE_INTEGER = ("prepare", "model")
"""Files of tinyquant/integer that may use floats, by how their names begin: multipliers made offline, the float doors."""

ROUNDING_ROOMS = {"numerics", "engines", "testing", "cli"}
"""testing: an exact oracle must not lean on the code it checks, and a wrong answer has to round wrongly. cli: for display."""

ROUNDING_ALLOWED: dict[tuple[str, str], str] = {
    ("tinyquant/quantization/statistics.py", "_count_bins"): "the number of a histogram's bin, not a code",
}
"""(path, function) -> why it rounds by itself."""

NARROWING_ROOMS = {"numerics", "testing"}

NARROWING_ALLOWED: dict[tuple[str, str], str] = {}
"""(path, function) -> why it casts by itself."""

DUPLICATES_ROOMS = {"testing", "labs", "cli", "__main__"}
"""Wrong answers and exercises bear the right one's name; the files of the command line all have the same two functions."""

DUPLICATES_ALLOWED: dict[str, str] = {
    "quantize": "the map of numerics, and the operator QUANTIZE of a model file, which calls it",
    "dequantize": "the map of numerics, and the operator DEQUANTIZE of a model file, which calls it",
    "tanh": "the operator in either lane, and the fixed-point function that the integer one calls",
    "logistic": "the operator, and the fixed-point function that it calls",
    "sigmoid": "the operation of the float lane, and the story of the operator that analysis tells",
    "register_writer": "each of the two kinds of model learns its own file formats",
}
"""Name -> why two modules define it."""

PRINTING_ROOMS = {"cli", "__main__", "labs"}

NOT_WITH_A_PLAIN_IMPORT = (
    "matplotlib", "flatbuffers", "ai_edge_litert", "tflite_micro", "dask", "distributed", "hypothesis", "pytest", "jupytext",
    "nbclient", "torch", "scipy", "sklearn", "tensorflow", "socket", "urllib.request", "http.client",
)  # fmt: skip


def room(path: str) -> str:
    """The room of a file."""
    return rules.room_of(rules.module_name(path))


def hold(rule: Callable[[str, str], list[str]], keep: Callable[[str], bool] = lambda path: True) -> None:
    """The rule finds nothing in any file of the package that ``keep`` lets through."""
    wrong = [line for path, source in FILES.items() if keep(path) for line in rule(source, path)]
    assert not wrong, "\n" + "\n".join(wrong)


# The package


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without ``__init__.py`` would not be installed. Only the labs keep modules that are data."""
    folders = {p.parent for p in (ROOT / "tinyquant").rglob("*.py")}
    bare = [f.relative_to(ROOT).as_posix() for f in sorted(folders) if not (f / "__init__.py").exists()]
    assert [f for f in bare if not f.startswith("tinyquant/labs/")] == []


def test_imports_only_go_up_the_page() -> None:
    hold(rules.import_directions)


def test_the_float_lane_and_the_integer_lane_never_import_each_other() -> None:
    """A law of the table itself, so that a row added in a hurry cannot undo it."""
    for here, there in (("float", "integer"), ("integer", "float")):
        for name, row in rules.MAY_IMPORT.items():
            if rules.lane_of(f"tinyquant/{name}/x.py") == here:
                other = {r for r in row if rules.lane_of(f"tinyquant/{r}/x.py") == there}
                assert not other, f"{name} may import {other}"


def test_the_table_of_imports_has_no_circle() -> None:
    """Rooms can be put in an order in which each imports only earlier ones (the package itself left aside)."""
    left = {name: row - {rules.TOP} for name, row in rules.MAY_IMPORT.items() if name != rules.TOP}
    while left:
        ready = {name for name, row in left.items() if not row & left.keys()}
        assert ready, f"these rooms import each other: {sorted(left)}"
        left = {name: row for name, row in left.items() if name not in ready}


def test_nothing_opens_a_socket_unpickles_or_needs_an_optional_package_to_be_imported() -> None:
    hold(rules.outside_imports)


def test_no_float_in_the_reference_integer_kernels() -> None:
    def is_kernel(path: str) -> bool:
        return room(path) == "integer" and not Path(path).name.startswith(OFFLINE_INTEGER)

    hold(rules.float_uses, is_kernel)


def test_no_float_in_the_run_time_half_of_fixed_point() -> None:
    path = "tinyquant/numerics/fixed_point.py"
    assert not (wrong := rules.float_uses(FILES[path], path, OFFLINE_FIXED_POINT)), "\n" + "\n".join(wrong)
    assert rules.float_uses(FILES[path], path), "quantize_multiplier uses floats; if it no longer does, drop OFFLINE_FIXED_POINT"


def test_only_numerics_and_engines_round() -> None:
    hold(lambda s, p: rules.rounding_uses(s, p, ROUNDING_ALLOWED), lambda path: room(path) not in ROUNDING_ROOMS)


def test_saturate_is_the_only_narrowing_cast() -> None:
    hold(lambda s, p: rules.narrowing_casts(s, p, NARROWING_ALLOWED), lambda path: room(path) not in NARROWING_ROOMS)


def test_within_numerics_only_saturate_casts_to_the_codes_type() -> None:
    def is_numerics(path: str) -> bool:
        return room(path) == "numerics"

    hold(lambda s, p: [w for w in rules.narrowing_casts(s, p) if " in saturate;" not in w], is_numerics)


def test_exceptions_name_functions_that_exist() -> None:
    """A stale exception would let the next mistake through."""
    for path, function in [*ROUNDING_ALLOWED, *NARROWING_ALLOWED]:
        assert path in FILES, path
        assert function in {scope for _, scope in rules.scoped_nodes(ast.parse(FILES[path]))}, f"{path}: no {function}"
    files = {path: source for path, source in FILES.items() if room(path) not in DUPLICATES_ROOMS}
    twice = {line.split(": ")[1].split()[0] for line in rules.duplicate_names(files)}
    assert set(DUPLICATES_ALLOWED) <= twice, f"no longer defined twice: {set(DUPLICATES_ALLOWED) - twice}"


def test_no_public_name_is_defined_twice() -> None:
    files = {path: source for path, source in FILES.items() if room(path) not in DUPLICATES_ROOMS}
    wrong = rules.duplicate_names(files, DUPLICATES_ALLOWED)
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_public_name_is_a_rooms_name() -> None:
    hold(rules.names_of_rooms)


def test_only_the_command_line_prints() -> None:
    hold(rules.prints, lambda path: room(path) not in PRINTING_ROOMS)


def test_everything_public_has_a_docstring() -> None:
    classes = rules.merged(rules.documented_methods(source) for source in FILES.values())
    hold(lambda s, p: rules.missing_docstrings(s, p, classes))


def test_no_file_holds_two_ideas() -> None:
    hold(rules.too_long)


def test_sources_are_ascii() -> None:
    others = [p for folder in ("tests", "tutorials", "figures", "benchmarks") for p in (ROOT / folder).rglob("*.py")]
    others += [p for p in (ROOT / "setup.cfg", ROOT / "pyproject.toml", ROOT / ".ci" / "run") if p.exists()]
    others += list((ROOT / "tinyquant").rglob("*.py"))
    sources = {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in sorted(set(others))}
    wrong = [line for path, source in sources.items() for line in rules.not_ascii(source, path)]
    assert not wrong, "\n" + "\n".join(wrong)


def test_importing_the_package_loads_no_plotting_and_no_optional_package() -> None:
    code = "import sys, tinyquant; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    command = [sys.executable, "-c", code, *NOT_WITH_A_PLAIN_IMPORT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [], f"import tinyquant loads {done.stdout}"


def test_the_version_is_the_one_of_setup_cfg() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    named = [
        node.value.value
        for node in ast.parse(FILES["tinyquant/__init__.py"]).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__" and isinstance(node.value, ast.Constant)
    ]
    assert named in ([], [config["metadata"]["version"]])


# The rules themselves: each catches what is planted, and lets its neighbour through


def planted(rule: Callable[..., list[str]], source: str, path: str = "tinyquant/integer/kernels.py") -> list[int]:
    """The lines on which the rule finds something."""
    return [int(line.split(":")[1]) for line in rule(source, path)]


@pytest.mark.parametrize(
    ("path", "source", "lines"),
    [
        ("tinyquant/nn/a.py", "from tinyquant.integer import model", [1]),
        ("tinyquant/nn/a.py", "from tinyquant import integer", [1]),
        ("tinyquant/nn/a.py", "from ..integer.model import IntegerModel", [1]),
        ("tinyquant/nn/a.py", "import numpy\n\ndef f():\n    import tinyquant.engines.blas", [4]),
        ("tinyquant/nn/a.py", "import importlib\nimportlib.import_module('tinyquant.engines')", [2]),
        ("tinyquant/nn/a.py", "import importlib\nimportlib.import_module('..engines')", [2]),
        ("tinyquant/integer/__init__.py", "from ..autograd import Tensor", [1]),
        ("tinyquant/integer/deep/a.py", "from ...autograd import Tensor", [1]),
        ("tinyquant/numerics/a.py", "from tinyquant import quantize", [1]),
        ("tinyquant/quantization/a.py", "from tinyquant.interop import save", [1]),
        ("tinyquant/analysis/a.py", "from tinyquant.plot import signal", [1]),
        ("tinyquant/unheard_of/a.py", "", [1]),
        ("tinyquant/nn/a.py", "from .layers import Linear\nfrom ..autograd import ops\nfrom tinyquant.numerics import x", []),
        ("tinyquant/training.py", "from tinyquant.optim import SGD\nfrom .nn import Module", []),
        ("tinyquant/quantization/a.py", "from ..integer import model\nfrom ..nn import Module", []),
    ],
)
def test_import_directions_catches(path: str, source: str, lines: list[int]) -> None:
    assert planted(rules.import_directions, source, path) == lines


@pytest.mark.parametrize(
    ("path", "source", "lines"),
    [
        ("tinyquant/interop/a.py", "import pickle", [1]),
        ("tinyquant/data/a.py", "def f():\n    from urllib.request import urlopen", [2]),
        ("tinyquant/data/a.py", "import http.client", [1]),
        ("tinyquant/interop/a.py", "import flatbuffers", [1]),
        ("tinyquant/analysis/a.py", "def f():\n    import matplotlib.pyplot as plt", [2]),
        ("tinyquant/data/a.py", "import numpy as np\nnp.load(f, allow_pickle=True)", [2]),
        ("tinyquant/plot/a.py", "import matplotlib.pyplot as plt\nimport numpy as np", []),
        ("tinyquant/interop/a.py", "import json\ndef f():\n    import flatbuffers\n    np.load(f, allow_pickle=False)", []),
    ],
)
def test_outside_imports_catches(path: str, source: str, lines: list[int]) -> None:
    assert planted(rules.outside_imports, source, path) == lines


@pytest.mark.parametrize(
    "line",
    [
        "y = 0.5", "y = x / 2", "y /= 2", "y = x * 1e3", "y = 2j", "y = np.float32(x)", "y = x.astype(np.float64)",
        'y = x.astype("float32")', "y = np.zeros(3, dtype=float)", 'y = np.zeros(3, dtype="f4")', "y = x.astype(float)",
        "y = x.mean()", "y = np.mean(x)", "y = np.sqrt(x)", "y = math.exp(x)", "y = 2 ** -31", "y = np.true_divide(x, 2)",
        "def f(x: float): return x", 'y = np.zeros(3, "float64")', "y = np.linspace(0, 1)",
    ],
)  # fmt: skip
def test_float_uses_catches(line: str) -> None:
    assert planted(rules.float_uses, f"a = 1\n{line}\n") == [2] * len(planted(rules.float_uses, line)) != []


@pytest.mark.parametrize(
    "line",
    ["y = x // 2", "y = x >> 1", '"""Holds 0.5 of the / float."""', "y = np.int32(3)", 'd["f"]', "y = 2**31", 'get("float")',
     "y = x.sum()", "y = math.isqrt(9)", 'raise ValueError("float")'],
)  # fmt: skip
def test_float_uses_lets_integers_and_words_through(line: str) -> None:
    assert planted(rules.float_uses, line) == []


def test_float_uses_leaves_only_the_named_functions_out() -> None:
    source = "def offline(x):\n    return x / 2\n\ndef run_time(x):\n    return x / 2\n"
    assert planted(lambda s, p: rules.float_uses(s, p, frozenset({"offline"})), source) == [5]


@pytest.mark.parametrize(
    "line",
    ["np.round(x)", "np.rint(x)", "np.around(x)", "np.floor(x)", "numpy.ceil(x)", "np.trunc(x)", "math.floor(x)", "round(x)",
     "x.round()", "x.round(2)", "int(x + 0.5)", "from math import ceil", "from numpy import rint", "f(np.rint)"],
)  # fmt: skip
def test_rounding_uses_catches(line: str) -> None:
    assert planted(rules.rounding_uses, f"a = 1\n{line}\n") == [2]


def test_rounding_uses_lets_display_calls_and_exceptions_through() -> None:
    assert planted(rules.rounding_uses, "round(x, 2)\nround_to_int(x)\nint(x + 1)\nx // 2\nplan.floor") == []
    source = "def f(x):\n    return np.rint(x)\n\ndef g(x):\n    return np.rint(x)\n"
    allowed = {("tinyquant/integer/kernels.py", "f"): "a reason"}
    assert planted(lambda s, p: rules.rounding_uses(s, p, allowed), source) == [5]


@pytest.mark.parametrize(
    "line",
    ["x.astype(np.int8)", 'x.astype("uint8")', "x.astype(dtype=np.int16)", "np.int8(x)", "np.asarray(x, np.int8)",
     "np.array(x, dtype=np.uint8)", "x.astype(qp.dtype)", "x.astype(self.output_qp.dtype)", 'x.astype(np.dtype("int8"))',
     'np.copyto(a, b, casting="unsafe")', 'x.astype(np.int8, casting="unsafe")'],
)  # fmt: skip
def test_narrowing_casts_catches(line: str) -> None:
    assert planted(rules.narrowing_casts, f"a = 1\n{line}\n") == [2]


def test_narrowing_casts_lets_wide_safe_and_literal_ones_through() -> None:
    whole = "def f(low: int, x: np.ndarray):\n    np.int8(low)\n    np.int8(-3)\n    np.int8([1, 2])\n    np.int8(x)"
    assert planted(rules.narrowing_casts, whole) == [5]
    source = 'x.astype(np.int32)\nx.astype(np.int8, casting="safe")\nnp.array([1, 2], np.int8)\nnp.zeros(3, np.int8)'
    assert planted(rules.narrowing_casts, source) == []


def test_prints_catches() -> None:
    assert planted(rules.prints, "def f():\n    print(1)\nsys.stdout.write('a')\nself.print(1)") == [2, 3]
    assert planted(rules.prints, "if __name__ == '__main__':\n    print(1)\nelse:\n    pass") == []


def test_missing_docstrings_catches() -> None:
    source = '''"""File."""

def bare(): pass

def good():
    """Good."""
    def inner(): pass

class Bare:
    def bare(self): pass

class Good:
    """Good."""
    def method(self): pass
    def _private(self): pass
    def __len__(self): return 1
'''
    assert planted(rules.missing_docstrings, source) == [3, 10, 9, 14]
    assert planted(rules.missing_docstrings, "x = 1") == [1]
    assert planted(rules.missing_docstrings, "") == []


def test_missing_docstrings_lets_an_override_inherit_its_words() -> None:
    source = '''"""File."""

class Base:
    """Base."""
    def forward(self):
        """What forward does."""

class Middle(Base):
    """Middle."""

class Child(Middle):
    """Child."""
    def forward(self): pass
    def backward(self): pass
'''
    assert planted(rules.missing_docstrings, source) == [14]


def test_duplicate_names_catches() -> None:
    files = {
        "tinyquant/numerics/a.py": "def f(): pass\ndef _g(): pass",
        "tinyquant/plot/b.py": "class f: pass\ndef _g(): pass\nX = 1",
        "tinyquant/autograd/c.py": "def conv2d(): pass",
        "tinyquant/integer/d.py": "def conv2d(): pass",
        "tinyquant/nn/e.py": "def twice(): pass",
        "tinyquant/autograd/f.py": "def twice(): pass\nfrom a import f",
        "tinyquant/data/g.py": "__all__ = ['X']\nX: int = 1",
        "tinyquant/models.py": "__all__ = ['X']\nX = 1\ndef f(): pass",
    }
    named = [line.split(": ")[1].split()[0] for line in rules.duplicate_names(files)]
    assert named == ["X", "f", "twice"]
    assert rules.duplicate_names(files, {"X": "why", "f": "why", "twice": "why"}) == []


def test_names_of_rooms_length_and_ascii_are_caught() -> None:
    assert planted(rules.names_of_rooms, "def quantize(): pass\n\ndef quantization(): pass") == [3]
    assert planted(rules.too_long, "x = 1\n" * 450) == []
    assert planted(rules.too_long, "x = 1\n" * 451) == [451]
    assert planted(rules.not_ascii, "a = 1\nb = '\u00e9'") == [2]


def test_the_package_is_found() -> None:
    """The rules would hold of nothing at all; they are held against every module there is."""
    assert {"tinyquant/__init__.py", "tinyquant/numerics/rounding.py"} <= FILES.keys()
