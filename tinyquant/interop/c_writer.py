"""An integer model as C: a small project for C99 that computes the reference kernels' bytes with integers alone.

=================================== ============================================================================
model.h                             what a program includes: sizes, scales, zero points and `NAME_run`
model.c                             the network, a line a node, in the order it runs
model_data.h, model_data.c          weights, biases, multipliers and shapes: constants, which may stay in flash
kernels.h, kernels.c                the operators that this network uses, plain loops
main.c, Makefile                    an example: codes in on standard input, codes out
=================================== ============================================================================

NAME is the directory's name. There is no float at run time, no heap, no library beyond `memcpy`; activations lie in one
static array, planned so that what is not needed at the same time shares its bytes (`c_memory`).

With this module one can write the project (`save_c`) or get its files as text (`c_sources`, `kernel_sources`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinyquant.graph import Graph, Node
from tinyquant.interop.c_memory import MemoryPlan, plan_memory
from tinyquant.interop.c_nodes import FAMILIES, KernelCall, call_of, refusals
from tinyquant.interop.check import check_integer_graph
from tinyquant.interop.files import write_atomically

if TYPE_CHECKING:
    from tinyquant.integer.model import IntegerModel

__all__ = ["c_sources", "kernel_sources", "save_c"]

KERNELS = Path(__file__).parent / "c"


def save_c(model: IntegerModel, directory: str | os.PathLike[str]) -> None:
    """Write the model as a C99 project into a directory; see `c_sources`.

    Parameters
    ----------
    model : IntegerModel
    directory : path
        Made if it is not there. Files of the project are replaced, each whole; others are left alone. Its name becomes
        the network's: "digits" gives `digits_run`.

    Raises
    ------
    ValueError
        The model holds what C cannot run; all of it is named, and nothing has been written.
    OSError
        The directory cannot be made or written to.
    """
    folder = Path(directory)
    sources = c_sources(model, folder.resolve().name)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        write_atomically(folder / name, text.encode("ascii"))


def c_sources(model: IntegerModel, name: str = "model") -> dict[str, str]:
    """The files of the C project by name: the same text for the same model.

    Parameters
    ----------
    model : IntegerModel
        From `convert` or `load_tflite`. The declared batch is what one call computes.
    name : str
        What the network is called in C; letters, digits and underscores are kept.

    Returns
    -------
    dict of str to str
        ASCII text. `void NAME_run(const int8_t *input, int8_t *output)` takes and gives codes in C order; several inputs
        or outputs are as many arguments. The call keeps its activations in static memory: one call at a time.

    Raises
    ------
    ValueError
        Reals at the model's doors (QUANTIZE of float32, DEQUANTIZE), a SOFTMAX of 512 or more classes (whose kernel may
        stop the program), windows too large for int32 offsets, a graph that contradicts itself.

    Notes
    -----
    Every conversion and shift is one that C99 defines, int32 sums that run over included: they wrap, as on the target.

    Examples
    --------
    >>> from tinyquant.graph import Value
    >>> from tinyquant.integer import IntegerModel
    >>> from tinyquant.numerics.qparams import QParams
    >>> relu = Node("act.1", "RELU", ("x",), (1, 2), qparams=QParams(1, 0), dtype=np.int8)
    >>> m = IntegerModel(Graph((Value("x", (1, 2), np.dtype(np.int8), QParams(1, 0)),), (relu,), ("act.1",)))
    >>> [line.strip() for line in c_sources(m, "net")["model.c"].splitlines() if "act" in line]
    ['tq_rescale_codes(input, &net_n0_act_1, output); /* act.1: RELU [1, 2] */']
    """
    graph = model.graph
    refused = refusals(graph)
    if refused:
        raise ValueError(
            f"a model saved as C must hold int8 operators that C can run, got {', '.join(refused)}. "
            "Feed codes instead of reals, and take what is left out of the model."
        )
    check_integer_graph(graph)
    return _Project(graph, _identifier(name)[:24] or "model").files()


def _identifier(text: str) -> str:
    """Letters, digits and single underscores, beginning with a letter; "" where nothing is left."""
    kept = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", text)).strip("_")
    return f"m{kept}" if kept[:1].isdigit() else kept


def _comment(text: str) -> str:
    """A name that is safe between /* and */: printable ASCII, no end of comment, no trigraph."""
    plain = re.sub(r"[^ -~]|[?\\]", "_", text)
    return plain.replace("*/", "*_").replace("/*", "_*")


class _Project:
    """The texts of one project."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph = graph
        self.name = name
        self.plan: MemoryPlan = plan_memory(graph)
        self.symbols = {node.name: f"{name}_n{i}_{_identifier(node.name)[:40]}".rstrip("_") for i, node in enumerate(graph)}
        self.inputs = _numbered("input", len(graph.inputs))
        self.outputs = _numbered("output", len(graph.outputs))
        self.places = {value.name: place for value, place in zip(graph.inputs, self.inputs)}
        for node in graph:
            if node.op == "CONSTANT":
                self.places[node.name] = self.symbols[node.name]
            elif node.name in self.plan.offsets:
                self.places[node.name] = f"{name}_arena + {self.plan.offsets[node.name]}"
        self.copies: list[tuple[str, str, str]] = []
        for output, argument in zip(graph.outputs, self.outputs):
            # A node writes an output straight to the caller; what has another place already is copied at the end.
            if output in self.places:
                self.copies.append((output, argument, self.places[output]))
            else:
                self.places[output] = argument
        self.calls = {
            node.name: call_of(node, [graph.value(source) for source in node.inputs]) for node in graph if node.op != "CONSTANT"
        }

    def files(self) -> dict[str, str]:
        """Every file of the project."""
        used = {call.family for call in self.calls.values()} - {""}
        used |= {needed for family in used for needed in FAMILIES[family]}
        families = [family for family in FAMILIES if family in used]
        return {
            "model.h": self.header(),
            "model.c": self.network(),
            "model_data.h": self.data_header(),
            "model_data.c": self.data(),
            **kernel_sources(families),
            "main.c": self.example(),
            "Makefile": _MAKEFILE,
        }

    def signature(self) -> str:
        """The one function of the network."""
        arguments = [f"const int8_t *{name}" for name in self.inputs] + [f"int8_t *{name}" for name in self.outputs]
        return f"void {self.name}_run({', '.join(arguments)})"

    def header(self) -> str:
        """model.h."""
        values = [*zip(self.inputs, self.graph.inputs), *zip(self.outputs, map(self.graph.value, self.graph.outputs))]
        lines = []
        for argument, value in values:
            assert value.qparams is not None
            prefix = f"{self.name}_{argument}".upper()
            lines += [
                f"/* {argument}: {_comment(value.name)} {list(value.shape)}; real = scale * (code - zero point) */",
                f"#define {prefix}_SIZE {prod(value.shape)}",
                f"#define {prefix}_SCALE {_float_literal(float(value.qparams.scale))}",
                f"#define {prefix}_ZERO_POINT ({int(value.qparams.zero_point)})",
                "",
            ]
        return self.guarded(
            "MODEL_H",
            "/* Codes in, codes out, in C order. The arrays must not overlap. Not to be called twice at the same time:\n"
            f"   activations lie in {self.plan.nbytes} bytes of static memory. */\n"
            f"{self.signature()};\n",
            "\n".join(["#include <stdint.h>", "", *lines]),
        )

    def guarded(self, suffix: str, body: str, top: str = "") -> str:
        """A header with its include guard."""
        guard = f"{self.name.upper()}_{suffix}"
        return f"/* {self.name}, written by tinyquant. */\n#ifndef {guard}\n#define {guard}\n\n{top}\n{body}\n#endif\n"

    def network(self) -> str:
        """model.c."""
        arena = f"{self.name}_arena"
        lines = [f"/* {self.name}: the network, a line a node. Written by tinyquant. */", "#include <string.h>", ""]
        lines += ['#include "model.h"', '#include "model_data.h"', ""]
        if self.plan.nbytes:
            lines += ["/* Activations; those that are not needed at the same time share bytes. */"]
            lines += [f"static int8_t {arena}[{self.plan.nbytes}];", ""]
        lines += [self.signature(), "{"]
        lines += [f"    {self.line(node)}" for node in self.graph if node.op != "CONSTANT"]
        for output, argument, place in self.copies:
            size = prod(self.graph.value(output).shape)
            lines.append(f"    memcpy({argument}, {place}, {size}); /* {_comment(output)} */")
        return "\n".join([*lines, "}", ""])

    def line(self, node: Node) -> str:
        """The call of one node."""
        sources = [self.places[source] for source in node.inputs]
        target, comment = self.places[node.name], f"/* {_comment(node.name)}: {node.op} {list(node.shape)} */"
        if node.op == "RESHAPE":
            return f"memcpy({target}, {sources[0]}, {prod(node.shape)}); {comment}"
        if node.op == "CONCATENATION":
            sources = [f"(const int8_t *const[]){{{', '.join(sources)}}}"]
        return f"{self.calls[node.name].function}({', '.join(sources)}, &{self.symbols[node.name]}, {target}); {comment}"

    def data_header(self) -> str:
        """model_data.h."""
        lines = []
        for node in self.graph:
            symbol = self.symbols[node.name]
            if node.op == "CONSTANT":
                lines.append(f"extern const int8_t {symbol}[{node.params['value'].size}];")
            elif self.calls[node.name].struct:
                lines.append(f"extern const {self.calls[node.name].struct} {symbol};")
        return self.guarded("MODEL_DATA_H", "\n".join([*lines, ""]), '#include "kernels.h"\n')

    def data(self) -> str:
        """model_data.c."""
        parts = [f'/* {self.name}: what the network has learnt. Written by tinyquant. */\n#include "model_data.h"\n']
        for node in self.graph:
            comment, symbol = f"/* {_comment(node.name)}: {node.op} */\n", self.symbols[node.name]
            if node.op == "CONSTANT":
                parts.append(comment + _array(f"const int8_t {symbol}", node.params["value"]))
            elif self.calls[node.name].struct:
                parts.append(comment + _structure(symbol, self.calls[node.name]))
        return "\n".join(parts)

    def example(self) -> str:
        """main.c."""
        upper = self.name.upper()
        arrays = [f"static int8_t {name}[{upper}_{name.upper()}_SIZE];" for name in (*self.inputs, *self.outputs)]
        reads = [f"read_codes({name}, {upper}_{name.upper()}_SIZE)" for name in self.inputs]
        writes = [f"        write_codes({name}, {upper}_{name.upper()}_SIZE);" for name in self.outputs]
        return (
            _EXAMPLE.replace("ARRAYS", "\n".join(arrays))
            .replace("READS", " && ".join(reads))
            .replace("WRITES", "\n".join(writes))
            .replace("CALL", f"{self.name}_run({', '.join([*self.inputs, *self.outputs])})")
        )


def _numbered(word: str, count: int) -> list[str]:
    """One is called `word`, several `word0`, `word1`, ..."""
    return [word] if count == 1 else [f"{word}{i}" for i in range(count)]


def _float_literal(number: float) -> str:
    """A float32 that C reads back to the same bits; it stands in a macro that the network itself never uses."""
    text = f"{number:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def kernel_sources(families: Iterable[str]) -> dict[str, str]:
    """kernels.h and kernels.c of some rows of `c_nodes.FAMILIES`, put together from the files of the folder `c`.

    The guard is the same in every project, for the kernels are the same.

    >>> sorted(kernel_sources(["fixed_point"]))
    ['kernels.c', 'kernels.h']
    """
    names = list(families)
    headers, loops = (
        "\n".join((KERNELS / f"{name}.{kind}").read_text(encoding="ascii") for name in names) for kind in ("h", "c")
    )
    top = "/* Integer kernels, written by tinyquant. */\n#ifndef TQ_KERNELS_H\n#define TQ_KERNELS_H\n\n#include <stdint.h>\n"
    return {"kernels.h": f"{top}\n{headers}\n#endif\n", "kernels.c": f'#include "kernels.h"\n\n{loops}'}


def _integer(number: int) -> str:
    """A number as C reads it; the smallest int32 has no literal of its own."""
    return "(-2147483647 - 1)" if number == -(2**31) else str(int(number))


def _array(declaration: str, array: np.ndarray) -> str:
    """An array's definition, 16 codes or 8 wide numbers a line."""
    numbers, width = [_integer(number) for number in array.ravel().tolist()], 16 // min(array.itemsize, 2)
    lines = [", ".join(numbers[i : i + width]) for i in range(0, len(numbers), width)]
    return f"{declaration}[{len(numbers)}] = {{\n    " + ",\n    ".join(lines) + "\n};\n"


def _structure(symbol: str, call: KernelCall) -> str:
    """A structure's definition, its arrays in front."""
    arrays, fields = [], []
    for key, value in call.fields.items():
        if isinstance(value, np.ndarray):
            kind = "int8_t" if value.dtype == np.int8 else "int32_t"
            arrays.append(_array(f"static const {kind} {symbol}_{key}", value))
            fields.append(f"    .{key} = {symbol}_{key},\n")
        else:
            fields.append(f"    .{key} = {0 if value is None else _integer(value)},\n")
    return "".join(arrays) + f"const {call.struct} {symbol} = {{\n" + "".join(fields) + "};\n"


_EXAMPLE = """\
/* Reads codes (decimal numbers, white space between them), runs the network, prints its codes; again while there are more. */
#include <stdio.h>

#include "model.h"

ARRAYS

static int read_codes(int8_t *codes, long size)
{
    for (long i = 0; i < size; i++) {
        int code;
        if (scanf("%d", &code) != 1 || code < -128 || code > 127)
            return 0;
        codes[i] = (int8_t)code;
    }
    return 1;
}

static void write_codes(const int8_t *codes, long size)
{
    for (long i = 0; i < size; i++)
        printf(i + 1 < size ? "%d " : "%d\\n", codes[i]);
}

int main(void)
{
    while (READS) {
        CALL;
WRITES
    }
    return 0;
}
"""

_MAKEFILE = """\
CFLAGS ?= -O2
CFLAGS += -std=c99 -Wall -Wextra
OBJECTS = main.o model.o model_data.o kernels.o

example: $(OBJECTS)
\t$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(OBJECTS)

$(OBJECTS): kernels.h model.h model_data.h

clean:
\trm -f example $(OBJECTS)

.PHONY: clean
"""
