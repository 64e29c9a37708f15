"""The report's pictures, drawn as SVG text: the graph, a histogram of codes, the memory over time.

Plain shapes and text, so that the page needs nothing from elsewhere; every picture says in words what it shows (`<title>`),
and colour is never the only carrier.

With this module one can draw a graph (`graph_svg`), codes (`histogram_svg`) and memory (`memory_svg`).
"""

from __future__ import annotations

from html import escape

import numpy as np

from tinyquant.analysis.cost import Cost
from tinyquant.graph import Graph

__all__ = ["graph_svg", "histogram_svg", "memory_svg"]

_ROW, _BOX, _WIDTH = 40, 28, 250
_LANE = 14


def graph_svg(graph: Graph) -> str:
    """One box a node, in execution order from top to bottom; an arrow for every value that is read.

    A value read by the very next line goes straight down; any other goes round on the right, in a lane of its own.
    """
    names = [value.name for value in graph.inputs] + [node.name for node in graph]
    row = {name: i for i, name in enumerate(names)}
    boxes = [_box(i, value.name, "input", None) for i, value in enumerate(graph.inputs)]
    boxes += [_box(row[node.name], node.name, node.op, i) for i, node in enumerate(graph)]
    straight: list[tuple[int, int]] = []
    around: list[tuple[int, int]] = []
    for node in graph:
        for source in dict.fromkeys(node.inputs):
            a, b = row[source], row[node.name]
            (straight if b == a + 1 else around).append((a, b))
    lanes = _lanes(around)
    lines = [f'<path d="M{_WIDTH / 2} {a * _ROW + _BOX + 4}V{b * _ROW + 3}"/>' for a, b in straight]
    for (a, b), lane in zip(around, lanes):
        x = _WIDTH + 10 + lane * _LANE
        top, bottom = a * _ROW + _BOX / 2 + 4, b * _ROW + _BOX / 2 + 4
        lines.append(f'<path d="M{_WIDTH} {top}H{x}V{bottom}H{_WIDTH + 2}"/>')
    width = _WIDTH + 16 + _LANE * (1 + max(lanes, default=-1))
    height = len(names) * _ROW
    return (
        f'<svg class="graph" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{len(graph)} nodes in execution order, from {escape(names[0])} to {escape(', '.join(graph.outputs))}</title>"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker></defs>'
        f'<g class="edges">{"".join(lines)}</g>{"".join(boxes)}</svg>'
    )


def _box(row: int, name: str, op: str, number: int | None) -> str:
    """A box with the operator and the end of the name; a node's box is a link to its numbers."""
    shown = name if len(name) <= 20 else "..." + name[-18:]
    y = row * _ROW + 4
    box = (
        f'<g class="{"input" if number is None else "node"}"><title>{escape(name)}</title>'
        f'<rect x="1" y="{y}" width="{_WIDTH - 2}" height="{_BOX}" rx="4"/>'
        f'<text x="8" y="{y + 18}">{escape(shown)}</text>'
        f'<text class="op" x="{_WIDTH - 8}" y="{y + 18}" text-anchor="end">{escape(_short(op))}</text></g>'
    )
    return box if number is None else f'<a href="#node-{number}">{box}</a>'


def _short(op: str) -> str:
    """An operator's name that fits beside a node's."""
    return {"FULLY_CONNECTED": "FULLY_CONN", "DEPTHWISE_CONV_2D": "DEPTHWISE", "AVERAGE_POOL_2D": "AVG_POOL"}.get(op, op)


def _lanes(edges: list[tuple[int, int]]) -> list[int]:
    """For each edge that goes round, the innermost lane that is free between its rows."""
    taken: list[tuple[int, int, int]] = []
    lanes = []
    for a, b in edges:
        lane = 0
        # Ends count as taken too: two arrows that met in one lane would read as one.
        while any(other == lane and a <= end and begin <= b for begin, end, other in taken):
            lane += 1
        taken.append((a, b, lane))
        lanes.append(lane)
    return lanes


def histogram_svg(codes: np.ndarray, what: str) -> str:
    """How often each of the 256 codes occurs, the two end codes marked: that is where clipping shows."""
    counts = np.bincount(codes.ravel().astype(np.int64) + 128, minlength=256)
    peak = max(int(counts.max(initial=0)), 1)
    # The root keeps rare codes visible beside a tall zero.
    heights = np.sqrt(counts / peak) * 60
    bars = "".join(f"M{i} 62v{-max(h, 1):.1f}h1V62z" for i, h in enumerate(heights) if counts[i])
    ends = "".join(
        f'<rect class="end" x="{i}" y="{62 - max(heights[i], 1):.1f}" width="2" height="{max(heights[i], 1):.1f}"/>'
        for i in (0, 255)
        if counts[i]
    )
    used = int((counts > 0).sum())
    return (
        '<svg class="histogram" viewBox="-2 0 262 80" width="262" height="80" role="img">'
        f"<title>{escape(what)}: {used} of 256 codes used, most often code {int(counts.argmax()) - 128}</title>"
        f'<path class="bars" d="{bars}"/>{ends}<path class="axis" d="M0 63H256"/>'
        '<text x="0" y="76">-128</text><text x="128" y="76" text-anchor="middle">0</text>'
        '<text x="256" y="76" text-anchor="end">127</text></svg>'
    )


def memory_svg(cost: Cost) -> str:
    """One bar a node: the activation bytes that are live while it runs, the peak hatched and named."""
    height, left, width = 150, 60, max(320, 12 * len(cost.nodes) + 70)
    step = (width - left - 6) / max(len(cost.nodes), 1)
    peak = max(cost.peak_bytes, 1)
    bars = []
    for i, node in enumerate(cost.nodes):
        tall = (height - 40) * node.live_bytes / peak
        kind = "peak" if node.name == cost.peak_node else "bar"
        bars.append(
            f'<a href="#node-{i}"><rect class="{kind}" x="{left + i * step:.1f}" y="{height - 20 - tall:.1f}" '
            f'width="{max(step - 2, 1):.1f}" height="{tall:.1f}"><title>{escape(node.name)}: {node.live_bytes:,} bytes live'
            "</title></rect></a>"
        )
    return (
        f'<svg class="memory" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"<title>Activation bytes live at each node; the peak is {cost.peak_bytes:,} at {escape(cost.peak_node)}</title>"
        f'<path class="axis" d="M{left} 14V{height - 20}H{width}"/>{"".join(bars)}'
        f'<text x="{left - 6}" y="24" text-anchor="end">{cost.peak_bytes:,}</text>'
        f'<text x="{left - 6}" y="{height - 20}" text-anchor="end">0</text>'
        f'<text x="{left}" y="10">bytes live</text><text x="{width - 4}" y="{height - 4}" text-anchor="end">'
        f"node, in order of execution</text></svg>"
    )
