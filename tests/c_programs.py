"""Many networks in one compiled program, so that a test pays the compiler once.

Every project's model.c and model_data.c are included into one source file (their names all begin with the network's, so
they can be neighbours), beside one copy of the kernels. The program reads raw codes and writes raw codes, case after case.
With this module one can compile and run graphs (`outputs_of`), compare with the package (`differing`), and call one
function of the kernels (`words_of`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import pytest

from tinyquant.graph import Graph
from tinyquant.integer.model import IntegerModel
from tinyquant.interop.c_nodes import FAMILIES
from tinyquant.interop.c_writer import c_sources, kernel_sources

STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wshadow", "-Werror")
SANITIZERS = ("-fsanitize=undefined,address", "-fno-sanitize-recover=all")


def compiler() -> str:
    """The C compiler; skips the test where there is none."""
    found = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("C code is compiled: no C compiler (cc, gcc, clang, or what CC names) is on this machine")
    return found


@cache
def sanitizers(folder: Path) -> tuple[str, ...]:
    """The flags that stop a program at undefined behaviour, where the compiler has their libraries."""
    (folder / "probe.c").write_text("int main(void) { return 0; }\n")
    command = [compiler(), *SANITIZERS, "probe.c", "-o", "probe"]
    works = subprocess.run(command, cwd=folder, capture_output=True).returncode == 0
    return SANITIZERS if works and subprocess.run([folder / "probe"], capture_output=True).returncode == 0 else ()


def compiled(command: Sequence[str], folder: Path) -> None:
    """Run the compiler; what it says is the message of the failure."""
    done = subprocess.run([compiler(), *STRICT, *command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]


def outputs_of(cases: Sequence[tuple[Graph, list[np.ndarray]]], folder: Path, optimize: str = "-O1") -> list[list[np.ndarray]]:
    """Every case's outputs, as the compiled C computes them; inputs are some runs of the declared batch."""
    for name, text in kernel_sources(FAMILIES).items():
        (folder / name).write_text(text)
    (folder / "all.c").write_text(
        '#include <stdio.h>\n#include "kernels.c"\n'
        + "".join(f'#include "case{i}/model.c"\n#include "case{i}/model_data.c"\n' for i in range(len(cases)))
        + "static int8_t in[1 << 22], out[1 << 22];\n"
        "static int read_all(size_t size) { return fread(in, 1, size, stdin) == size; }\n"
        "static void write_all(size_t size) { fwrite(out, 1, size, stdout); }\n"
        "int main(void)\n{\n" + "".join(_call(i, graph, arrays) for i, (graph, arrays) in enumerate(cases)) + "    return 0;\n}\n"
    )
    given = b""
    for i, (graph, arrays) in enumerate(cases):
        # Not save_c, which waits for the disk after each file.
        (folder / f"case{i}").mkdir()
        for name, text in c_sources(IntegerModel(graph), f"case{i}").items():
            (folder / f"case{i}" / name).write_text(text)
        given += b"".join(part.tobytes() for run in range(_runs(graph, arrays)) for part in _rows(graph, arrays, run))
    compiled([optimize, *sanitizers(folder), "-I.", "all.c", "-o", "all"], folder)
    done = subprocess.run([folder / "all"], input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[:4000]
    results, at = [], 0
    for graph, arrays in cases:
        runs: list[list[np.ndarray]] = []
        for _ in range(_runs(graph, arrays)):
            shapes = [graph.value(name).shape for name in graph.outputs]
            ends = np.cumsum([at, *(prod(shape) for shape in shapes)])
            parts = [done.stdout[a:b] for a, b in zip(ends, ends[1:])]
            runs.append([np.frombuffer(part, np.int8).reshape(shape) for part, shape in zip(parts, shapes)])
            at = int(ends[-1])
        results.append([np.concatenate(column) if len(column) > 1 else column[0] for column in zip(*runs)])
    assert at == len(done.stdout)
    return results


def words_of(calls: Sequence[tuple[str, list[np.ndarray]]], folder: Path) -> list[np.ndarray]:
    """int32 results of C expressions in a, b and c, each over the rows of its own int32 columns."""
    for name, text in kernel_sources(FAMILIES).items():
        (folder / name).write_text(text)
    loops = "".join(
        f"    for (int i = 0; i < {len(columns[0])}; i++) {{\n"
        f"        if (fread(v, 4, {len(columns)}, stdin) != {len(columns)}) return 1;\n"
        f"        a = v[0]; b = v[1]; c = v[2]; (void)a; (void)b; (void)c;\n"
        f"        a = {expression};\n        fwrite(&a, 4, 1, stdout);\n    }}\n"
        for expression, columns in calls
    )
    main = f"int main(void)\n{{\n    int32_t v[3] = {{0}}, a, b, c;\n{loops}    return 0;\n}}\n"
    (folder / "words.c").write_text(f'#include <stdio.h>\n#include "kernels.c"\n{main}')
    compiled([*sanitizers(folder), "words.c", "-o", "words"], folder)
    given = b"".join(np.stack(columns, axis=1).astype(np.int32).tobytes() for _, columns in calls)
    done = subprocess.run([folder / "words"], input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[:4000]
    counts = np.cumsum([len(columns[0]) for _, columns in calls])
    return np.split(np.frombuffer(done.stdout, np.int32), counts[:-1])


def _runs(graph: Graph, arrays: list[np.ndarray]) -> int:
    """How often the declared batch is run."""
    return len(arrays[0]) // graph.batch if arrays and graph.inputs[0].shape else 1


def _rows(graph: Graph, arrays: list[np.ndarray], run: int) -> list[np.ndarray]:
    """The inputs of one run."""
    if _runs(graph, arrays) == 1:
        return arrays
    return [array[run * rows : (run + 1) * rows] for array, rows in zip(arrays, (v.shape[0] for v in graph.inputs))]


def _call(i: int, graph: Graph, arrays: list[np.ndarray]) -> str:
    """The lines of main that run one case; arguments lie one after the other."""
    starts = np.cumsum([0, *(prod(value.shape) for value in graph.inputs)])
    ends = np.cumsum([0, *(prod(graph.value(name).shape) for name in graph.outputs)])
    arguments = ", ".join([*(f"in + {start}" for start in starts[:-1]), *(f"out + {end}" for end in ends[:-1])])
    body = f"if (!read_all({starts[-1]})) return {i % 255 + 1}; case{i}_run({arguments}); write_all({ends[-1]});"
    return f"    for (int run = 0; run < {_runs(graph, arrays)}; run++) {{ {body} }}\n"


def differing(cases: Sequence[tuple[Graph, list[np.ndarray]]], folder: Path, names: Sequence[str] = ()) -> list[str]:
    """A line for every case whose compiled C gives other bytes than `IntegerModel.run`."""
    wrong = []
    for i, ((graph, arrays), got) in enumerate(zip(cases, outputs_of(cases, folder), strict=True)):
        expected = IntegerModel(graph).run(arrays)
        for name, one, other in zip(graph.outputs, expected if isinstance(expected, list) else [expected], got, strict=True):
            count = int(np.sum(one != other)) if one.shape == other.shape else -1
            if count:
                title = names[i] if names else " > ".join(node.op for node in graph)
                wrong.append(f"case {i} ({title}), output {name}: {count} of {one.size} bytes differ")
    return wrong
