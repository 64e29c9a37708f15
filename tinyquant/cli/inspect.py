"""`tinyquant inspect`: what is in a model file, a line a node, and what it costs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tinyquant.analysis.cost import Cost, cost
from tinyquant.analysis.explanations.story import plain, shorten
from tinyquant.cli.model_files import read_model
from tinyquant.graph import Graph, Node, Value
from tinyquant.integer.model import IntegerModel
from tinyquant.integer.prepare import prepare

__all__ = ["add", "model_table", "run"]

WIDTH = 120
_NAME, _LEFT = 1, (1, 2, 3, 4)
"""The column that is shortened, and those that are aligned to the left."""
_GAPS = ("  ",) * 5 + (" ",) * 6
"""Before every column but the first."""
_HEADING = (
    "#",
    "name",
    "op",
    "reads",
    "output",
    "scale",
    "zero",
    "multiplier",
    "shift",
    "bytes",
    "MACs",
    "RAM",
)


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "inspect",
        help="what is in a model file: nodes, scales, multipliers, bytes, multiplications, memory",
        description="Prints a line a node. reads: where its inputs come from (numbers of the first column, i0 is the first "
        "input). scale, zero: what an output code means, real = scale * (code - zero). multiplier, shift: the real that the "
        "accumulator is multiplied by, least and most of all channels, and the shift of its integer form. bytes: parameters as "
        "stored. RAM: activation bytes live while the node runs. Example: tinyquant inspect model.tflite",
    )
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="a .tflite file, or an .npz archive of tinyquant"
    )
    parser.add_argument(
        "--wide",
        action="store_true",
        help=f"names and numbers in full, however long the lines (else {WIDTH} columns)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do it; 0 when done."""
    print(model_table(read_model(args.model), width=None if args.wide else WIDTH))
    return 0


def model_table(model: IntegerModel, width: int | None = WIDTH) -> str:
    """The table as text: a line an input, a line a node, and the totals. Without a width, names and numbers in full."""
    graph, found = model.graph, cost(model)
    places = {value.name: f"i{i}" for i, value in enumerate(graph.inputs)} | {
        node.name: str(i) for i, node in enumerate(graph)
    }
    full = width is None
    rows = [
        [places[v.name], plain(v.name), "input", "", _shape(v), *_qparams(v, full), *[""] * 5]
        for v in graph.inputs
    ]
    for node, spent in zip(graph, found.nodes):
        value = graph.value(node.name)
        counts = [str(n) if n else "" for n in (spent.parameter_bytes, spent.macs, spent.live_bytes)]
        row = [
            places[node.name],
            plain(node.name),
            node.op,
            _reads([places[name] for name in node.inputs], full),
        ]
        rows.append([*row, _shape(value), *_qparams(value, full), *_multipliers(graph, node, full), *counts])
    return "\n".join([*_columns([list(_HEADING), *rows], width), "", *_totals(graph, found, places)])


def _columns(rows: list[list[str]], width: int | None) -> list[str]:
    """Rows as aligned lines; names are shortened until the lines fit."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADING))]
    if width is not None:
        room = width - sum(widths) + widths[_NAME] - sum(map(len, _GAPS))
        rows = [
            [_tail(cell, max(room, 16)) if i == _NAME else cell for i, cell in enumerate(row)] for row in rows
        ]
        widths[_NAME] = max(len(row[_NAME]) for row in rows)
    padded = (
        [cell.ljust(n) if i in _LEFT else cell.rjust(n) for i, (cell, n) in enumerate(zip(row, widths))]
        for row in rows
    )
    return ["".join(gap + cell for gap, cell in zip(("", *_GAPS), row)).rstrip() for row in padded]


def _tail(name: str, width: int) -> str:
    """The end of the first of the names that a converter joins by semicolons: what tells a path from its neighbours."""
    first = name.split(";")[0]
    return first if len(first) <= width else f"...{first[3 - width :]}"


def _totals(graph: Graph, found: Cost, places: dict[str, str]) -> list[str]:
    """The sums, in words."""
    where = f", at node {places[found.peak_node]} ({shorten(found.peak_node, 40)})" if found.peak_node else ""
    outputs = ", ".join(shorten(name, 60) for name in graph.outputs)
    return [
        f"{len(graph)} nodes, declared batch {graph.batch}, output: {outputs}",
        f"{found.parameter_bytes} bytes of parameters, {found.macs} multiply-accumulates a run",
        f"{found.peak_bytes} bytes of activations live at the peak{where}",
    ]


def _shape(value: Value) -> str:
    """1x32x32x3, and the type where it is not int8."""
    shape = "x".join(map(str, value.shape)) or "scalar"
    return shape if value.dtype == np.int8 else f"{shape} {value.dtype}"


def _reads(places: Sequence[str], full: bool) -> str:
    """Where the inputs come from; the middle left out when there are many."""
    kept = list(places) if full or len(places) <= 4 else [*places[:2], "...", places[-1]]
    return ",".join(kept)


def _qparams(value: Value, full: bool) -> list[str]:
    """Scale and zero point."""
    if value.qparams is None:
        return ["", ""]
    return [f"{float(np.float32(value.qparams.scale)):.{9 if full else 4}g}", str(value.qparams.zero_point)]


def _multipliers(graph: Graph, node: Node, full: bool) -> list[str]:
    """The real multipliers and the shifts that the node's kernel uses, least and most."""
    arguments = prepare(node, [graph.value(name) for name in node.inputs])
    multipliers = np.ravel(np.asarray(arguments.get("multiplier", arguments.get("multipliers", []))))
    shifts = np.ravel(np.asarray(arguments.get("shift", arguments.get("shifts", []))))
    if not multipliers.size:
        return ["", ""]
    reals = sorted(
        float(Fraction(int(m)) * Fraction(2) ** (int(e) - 31)) for m, e in zip(multipliers, shifts)
    )
    digits = 9 if full else 3 if len(reals) == 1 else 2
    return [
        _span([f"{real:.{digits}g}" for real in reals]),
        _span([str(e) for e in sorted(map(int, shifts))]),
    ]


def _span(ordered: Sequence[str]) -> str:
    """The first and the last, or the one."""
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]}..{ordered[-1]}"
