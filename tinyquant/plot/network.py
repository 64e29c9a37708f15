"""A network before and after `quantize_model`: the same nodes in the same places, and between them what was put in.

Only what is new is coloured: the quantizers of the activations in the chain, those of the weights at the left of their layer, the
int32 grid of the bias at its right. Each says its bits and its scale.
With this module one can draw that for any captured network, whole or a part of it (`network`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from tinyquant.graph import Graph, Node
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.weights import bias_qparams

from .style import FLOAT_COLOR, INK, QUANTIZED_COLOR, canvas, finish, heading, in_house_style

__all__ = ["network"]

MOST_ROWS = 13
"""More boxes below each other than this cannot be read from the last row."""

NEW_FILL = "#FBE3D3"
_BEFORE, _AFTER = (-2.6, 2.9), (-6.9, 5.1)
"""Ends of the two halves, in units of half an inch; the chain stands at 0."""

_HALF = 1.95
"""Half the width of a box of the chain."""


@dataclass(frozen=True)
class _Box:
    """One row of the picture."""

    name: str
    words: str
    reads: tuple[str, ...]
    """Names of the rows it reads, in the float network."""
    quantizer: QParams | None = None
    """Of a new node in the chain; None for a node that was there before."""
    weight: str = ""
    bias: str = ""
    folded: str = ""
    """What is written in it afterwards instead, where it is gone."""


def network(
    before: Graph,
    after: FakeQuantModel,
    *,
    only: str = "",
    step: int = 2,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw a float network and the fake-quantized one side by side, each node of both at one height.

    Parameters
    ----------
    before : Graph
        From `capture(model, example)` or a calibration's `graph`.
    after : FakeQuantModel
        Of that network.
    only : str
        Draw the nodes whose names start so, "block1."; the value they read is drawn as their input.
    step : int, 1 or 2
        1 leaves the right half empty: the first frame of a slide.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure
        Axes: before, after.

    Raises
    ------
    TypeError
        before is not a Graph, or after not a FakeQuantModel.
    ValueError
        No node is called so, the two are of different networks, too many nodes, or step is not 1 or 2.
    """
    if not isinstance(before, Graph) or not isinstance(after, FakeQuantModel):
        raise TypeError(
            f"before must be a Graph and after a FakeQuantModel, got {type(before).__name__} and {type(after).__name__}. "
            "Use capture(model, example) and quantize_model(model, calibration)."
        )
    if step not in (1, 2):
        raise ValueError(f"step must be 1 or 2, got {step!r}.")
    rows = _rows(before, after, only)
    new = sum(row.quantizer is not None for row in rows)
    with in_house_style():
        figure = canvas(fig)
        heading(figure, title or "quantize_model puts quantizers between the nodes")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[end - start for start, end in (_BEFORE, _AFTER)])
        figure.subplots_adjust(left=0.01, right=0.99, top=0.83, bottom=0.02, wspace=0.02)
        _draw_graph(left, [row for row in rows if row.quantizer is None], rows, _BEFORE)
        _draw_graph(right, rows, rows, _AFTER)
        left.set_title("before: float", loc="center", weight="bold", color=FLOAT_COLOR)
        right.set_title(f"after: {new} + {_side_count(rows)} new nodes, coloured", weight="bold", color=QUANTIZED_COLOR)
        right.set_visible(step == 2)
        return finish(figure, alt=alt or _in_words(rows, only, step), save=save)


def _rows(before: Graph, after: FakeQuantModel, only: str) -> list[_Box]:
    """Every node of the float network in order, and below it the quantizer that comes after it."""
    kept = [node for node in before if node.name.startswith(only)]
    if not kept:
        raise ValueError(f"only must begin the name of a node, got {only!r}. There are {', '.join(n.name for n in before)}.")
    fused = {node.absorbed[-1] if node.absorbed else node.name: node for node in after.structure}
    known = {name for node in after.structure for name in (node.name, *node.absorbed)}
    strangers = [node.name for node in before if node.name not in known]
    if strangers:
        raise ValueError(f"after must be made of the network before, got one without {strangers[0]!r}.")
    names = {node.name for node in kept}
    outside = list(dict.fromkeys(name for node in kept for name in node.inputs if name not in names))
    rows = [_Box(name, name, ()) for name in outside]
    # What an outside value is called once it is quantized; the float name may have been absorbed.
    for name in outside:
        qp = after.qparams[fused[name].name if name in fused else name]
        if qp is not None:
            rows.append(_Box(f"{name} quantized", _bits(qp), (name,), qp))
    for node in kept:
        live = after.nodes.get(node.name)
        short = node.name[len(only) :]
        gone = node.op == "BATCH_NORM" and all(other.op != "BATCH_NORM" or other.name != node.name for other in after.structure)
        kept_norm = any(hasattr(other, "gamma") for other in after.nodes.values())
        folded = f"({short}: folded)" if gone and not kept_norm else ""
        rows.append(_Box(node.name, f"{short}: {_verb(node)}", node.inputs, None, *_side(live), folded))
        made = fused.get(node.name)
        qp = None if made is None else after.qparams[made.name]
        if qp is not None and made is not None and made.op not in _CARRIES:
            rows.append(_Box(f"{node.name} quantized", _bits(qp), (node.name,), qp))
    if len(rows) > MOST_ROWS:
        raise ValueError(f'the picture must have at most {MOST_ROWS} rows, got {len(rows)}. Draw a part: only="block1.".')
    return rows


_CARRIES = ("RESHAPE", "MAX_POOL_2D", "PAD", "TRANSPOSE")
"""These move codes and need no quantizer of their own."""

_VERBS = {
    "FULLY_CONNECTED": "linear", "CONV_2D": "conv", "DEPTHWISE_CONV_2D": "depthwise", "RESHAPE": "reshape", "RELU": "relu",
    "ADD": "add", "AVERAGE_POOL_2D": "mean", "BATCH_NORM": "batch norm",
}  # fmt: skip


def _verb(node: Node) -> str:
    """What a node does, in a word."""
    return _VERBS.get(node.op, node.op.lower().replace("_", " "))


def _bits(qp: QParams) -> str:
    """The bits and the scale of a quantizer."""
    bits = (qp.levels).bit_length() - (qp.levels & (qp.levels - 1) == 0)
    scales = np.atleast_1d(qp.scale)
    scale = f"scale {scales[0]:.3g}" if scales.size == 1 else f"{scales.size} scales"
    return f"int{bits}, {scale}"


def _side(live: object) -> tuple[str, str]:
    """What stands at the left of a layer, its weight's quantizer, and at the right, its bias's grid."""
    qp = getattr(live, "weight_qparams", None)
    scale = getattr(live, "input_scale", None)
    if qp is None:
        return "", ""
    count = int(np.atleast_1d(qp.scale).size)
    grid = "" if scale is None else f"bias int{8 * bias_qparams(qp, scale, count).dtype.itemsize}"
    return f"weight {_bits(qp)}", grid


def _side_count(rows: list[_Box]) -> int:
    """New nodes beside the chain."""
    return sum(bool(row.weight) + bool(row.bias) for row in rows)


def _draw_graph(ax: Axes, shown: list[_Box], rows: list[_Box], ends: tuple[float, float]) -> None:
    """A chain of boxes, at the heights that both halves share; with the quantizers, if any of them is shown."""
    ax.set_ylim(-len(rows) + 0.45, 0.55)
    ax.set_xlim(*ends)
    ax.axis("off")
    height = {row.name: -place for place, row in enumerate(rows)}
    present = {row.name for row in shown}
    quantized = {row.reads[0]: row.name for row in shown if row.quantizer is not None}
    for row in shown:
        for name in row.reads:
            start = quantized.get(name, name) if row.quantizer is None else name
            _draw_edge(ax, rows, height[start], height[row.name], present, ends[1] - 0.3)
        y = height[row.name]
        _draw_node(ax, 0.0, y, row.folded if quantized and row.folded else row.words, 2 * _HALF, row.quantizer is not None)
        for words, side, wide in ((row.weight, -4.5, 4.5), (row.bias, 3.35, 2.1)):
            if words and quantized:
                _draw_node(ax, side, y, words, wide, True)
                way = 1 if side > 0 else -1
                ax.plot([way * _HALF, side - way * wide / 2], [y, y], color=INK, linewidth=1.8)


def _draw_node(ax: Axes, x: float, y: float, words: str, wide: float, new: bool) -> None:
    """A box; a new one is coloured and has a thick, dashed edge."""
    ax.add_patch(
        FancyBboxPatch(
            (x - wide / 2, y - 0.34), wide, 0.68, boxstyle="round,pad=0,rounding_size=0.12", mutation_aspect=0.5,
            facecolor=NEW_FILL if new else "white", edgecolor=QUANTIZED_COLOR if new else INK, linewidth=2.0 if new else 1.4,
            linestyle="--" if new else "-", zorder=3,
        )
    )  # fmt: skip
    ax.text(x, y - 0.02, words, ha="center", va="center", zorder=4)


def _draw_edge(ax: Axes, rows: list[_Box], start: int, end: int, present: set[str], around: float) -> None:
    """Straight down to the next box that is there, or around those between."""
    between = [row for place, row in enumerate(rows) if end < -place < start and row.name in present]
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11}
    if not between:
        ax.annotate("", (0, end + 0.34), (0, start - 0.34), arrowprops=arrow)
        return
    ax.plot([_HALF, around, around], [start - 0.2, start - 0.2, end + 0.15], color=INK, linewidth=1.8, zorder=1)
    ax.annotate("", (_HALF, end + 0.15), (around, end + 0.15), arrowprops=arrow)


def _in_words(rows: list[_Box], only: str, step: int) -> str:
    """The alternative text."""
    old = [row.name for row in rows if row.quantizer is None]
    part = f" (the part {only})" if only else ""
    first = f"A float network{part} of {len(old)} boxes in a chain, from {old[0]} to {old[-1]}: {', '.join(old)}."
    if step == 1:
        return first
    new = [f"after {row.reads[0]} {row.words}" for row in rows if row.quantizer is not None]
    sides = [f"{row.name}: {', '.join(filter(None, (row.weight, row.bias)))}" for row in rows if row.weight]
    return (
        f"{first} Beside it the same boxes at the same places after quantize_model, with the new nodes coloured. In the "
        f"chain: {'; '.join(new)}. Beside the layers: {'; '.join(sides)}."
    )
