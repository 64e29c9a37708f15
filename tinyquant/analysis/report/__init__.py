"""A model on one page: its graph, every node's numbers, its memory, and one number stepped through at each node.

The page is one file of HTML with its style, its script and its pictures inside: it opens anywhere, offline, and asks nobody
for anything. Names come from model files and may be anything, so all text is escaped.

With this module one can write such a page for any integer model, converted or loaded (`report`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources

import numpy as np

from tinyquant.analysis.cost import Cost, NodeCost, cost
from tinyquant.analysis.explain import explain
from tinyquant.analysis.report.pictures import graph_svg, histogram_svg, memory_svg
from tinyquant.graph import OPS, Node
from tinyquant.integer.model import IntegerModel
from tinyquant.integer.prepare import prepare
from tinyquant.numerics.qparams import QParams

__all__ = ["report", "sample_codes"]


def sample_codes(m: IntegerModel, seed: int = 0) -> dict[str, np.ndarray]:
    """One declared batch of random inputs by name: codes drawn evenly, reals from the standard normal distribution."""
    rng = np.random.default_rng(seed)
    return {
        value.name: rng.integers(-128, 128, value.shape, dtype=np.int8)
        if value.qparams is not None
        else rng.standard_normal(value.shape).astype(np.float32)
        for value in m.inputs
    }


def report(
    m: IntegerModel, codes: np.ndarray | Mapping[str, np.ndarray] | None = None, *, title: str = "An integer network"
) -> str:
    """The page, as HTML text.

    Parameters
    ----------
    m : IntegerModel
    codes : as `m.run` takes them, optional
        What histograms and steps are made with; `sample_codes(m)` when left out, and the page says so.
    title : str
        Shown at the top; any text.

    Returns
    -------
    str
        One self-contained HTML document.

    Raises
    ------
    TypeError
        m is not an IntegerModel.

    Examples
    --------
    >>> from tinyquant.graph import Graph, Node, Value
    >>> int8, qp = np.dtype(np.int8), QParams(0.5, 0)
    >>> relu = Node("act", "RELU", ("x",), (1, 2), qparams=qp, dtype=int8)
    >>> page = report(IntegerModel(Graph((Value("x", (1, 2), int8, qp),), (relu,), ("act",))))
    >>> page.startswith("<!doctype html>"), page.count("<details")
    (True, 1)
    """
    if not isinstance(m, IntegerModel):
        raise TypeError(f"m must be an IntegerModel, got {type(m).__name__}. Convert the model, or load a .tflite file.")
    given = sample_codes(m) if codes is None else codes
    trace = m.trace(given)
    rows = len(next(iter(trace.values())))
    stories = [_story(m, given, node, trace[node.name]) for node in m.graph]
    counted = cost(m)
    parts = {
        "title": escape(title),
        "css": _file("page.css"),
        "js": _file("page.js"),
        "tiles": _tiles(m, counted),
        "sample": escape(_sample_sentence(codes is None, rows)),
        "graph": graph_svg(m.graph),
        "memory": memory_svg(counted),
        "memory_words": escape(
            f"At the peak {counted.peak_bytes:,} bytes of activations are live, while {counted.peak_node} runs. "
            "A value is live from the node that makes it to the last node that reads it."
        ),
        "nodes": "".join(_node(m, i, node, counted.nodes[i], trace[node.name]) for i, node in enumerate(m.graph)),
        "count": f"{len(m.graph)} of {len(m.graph)} nodes",
        "options": "".join(f'<option value="{i}">{escape(str(s["label"]))}</option>' for i, s in enumerate(stories)),
        # "</" would end the script element it stands in.
        "stories": json.dumps(stories).replace("<", "\\u003c"),
    }
    # In one pass, so that a name which happens to hold "{{js}}" stays a name.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _file("page.html"))


def _file(name: str) -> str:
    """A file of this room, as text."""
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _sample_sentence(random: bool, rows: int) -> str:
    """What the histograms were made with."""
    if random:
        return "Histograms and steps are of one random input (seed 0): give real ones with --input to see real ranges."
    return f"Histograms are of the {rows} rows of the given input, steps of its first."


def _tiles(m: IntegerModel, counted: Cost) -> str:
    """The few numbers that say how big it is."""
    shapes = ", ".join(f"{value.dtype} {'x'.join(map(str, value.shape)) or 'scalar'}" for value in m.inputs)
    numbers = {
        "input": shapes,
        "nodes": f"{len(m.graph)}",
        "parameters, bytes": f"{counted.parameter_bytes:,}",
        "multiply-accumulates a run": f"{counted.macs:,}",
        "activations at the peak, bytes": f"{counted.peak_bytes:,}",
    }
    return "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in numbers.items())


def _node(m: IntegerModel, number: int, node: Node, counted: NodeCost, codes: np.ndarray) -> str:
    """One node: its numbers and the histograms of its codes."""
    rows = {
        "reads": ", ".join(node.inputs) or "nothing",
        "output": f"{node.dtype} {'x'.join(map(str, node.shape))}",
        **_meaning("", node.qparams),
        **({"does the work of": ", ".join(node.absorbed)} if node.absorbed else {}),
        **{key: str(value) for key, value in node.attrs.items()},
        **_meaning("weight ", node.param_qparams.get("weight")),
        **_multipliers(m, node),
        "parameters": f"{counted.parameter_bytes:,} bytes",
        "MACs": f"{counted.macs:,}",
        "live while it runs": f"{counted.live_bytes:,} bytes",
    }
    table = "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in rows.items())
    pictures = ""
    if codes.dtype == np.int8:
        pictures += f"<h3>Output codes</h3>{histogram_svg(codes, node.name)}<p>{escape(_spread(codes))}</p>"
    weight = node.params.get("weight")
    if weight is not None:
        pictures += f"<h3>Weight codes</h3>{histogram_svg(weight, f'weights of {node.name}')}<p>{escape(_spread(weight))}</p>"
    return (
        f'<details id="node-{number}"><summary><b>{number}. {escape(node.name)}</b> <span class="op">{escape(node.op)}'
        f"</span></summary><p>{escape(OPS[node.op].meaning)}</p>"
        f'<div class="numbers"><div class="scroll"><table>{table}</table>'
        f'<p><button type="button" data-story="{number}">step through one number</button></p></div>'
        f"<div>{pictures}</div></div></details>"
    )


def _meaning(prefix: str, qp: QParams | None) -> dict[str, str]:
    """Scale and zero point, as numbers or as a range over channels."""
    if qp is None:
        return {}
    scales, zeros = np.atleast_1d(qp.scale), np.atleast_1d(qp.zero_point)
    scale = f"{scales[0]:.6g}" if scales.size == 1 else f"{scales.min():.4g} to {scales.max():.4g}, {scales.size} channels"
    zero = str(int(zeros[0])) if np.ptp(zeros) == 0 else f"{zeros.min()} to {zeros.max()}"
    return {f"{prefix}scale": scale, f"{prefix}zero point": zero}


def _multipliers(m: IntegerModel, node: Node) -> dict[str, str]:
    """Every multiplier and shift the kernel is given, as integers and as the real they stand for."""
    arguments = prepare(node, [m.graph.value(name) for name in node.inputs])
    found = {}
    for key in arguments:
        shift = key.replace("multiplier", "shift")
        if "multiplier" in key and shift in arguments:
            multiplier, exponent = (np.atleast_1d(arguments[k]).astype(np.int64) for k in (key, shift))
            reals = multiplier * 2.0 ** (exponent - 31)
            found[key.replace("_", " ")] = (
                f"{int(multiplier[0])}, shift {int(exponent[0])}: {reals[0]:.6g}"
                if reals.size == 1
                else f"{reals.min():.4g} to {reals.max():.4g}, shifts {exponent.min()} to {exponent.max()}"
            )
    return found


def _spread(codes: np.ndarray) -> str:
    """How much of the range is used, and how much of it was clipped."""
    if codes.size == 0:
        return "no codes"
    ends = [100 * float((codes == end).mean()) for end in (-128, 127)]
    used = np.unique(codes).size
    return f"{used} of 256 codes used; {ends[0]:.1f} % at -128, {ends[1]:.1f} % at 127. Heights are square roots."


def _story(m: IntegerModel, given: np.ndarray | Mapping[str, np.ndarray], node: Node, out: np.ndarray) -> dict[str, object]:
    """The steps of the first row's most telling element: the one farthest from real 0."""
    zero = 0 if node.qparams is None else int(np.atleast_1d(node.qparams.zero_point)[0])
    first = out[: max(1, node.shape[0])] if node.shape else out
    if first.size == 0:
        return {"label": node.name, "steps": [{"title": "no output", "lines": ["This node has no output cells."]}]}
    index = tuple(int(i) for i in np.unravel_index(int(np.abs(first.astype(np.float64) - zero).argmax()), first.shape))
    why = explain(m, given, node.name, index)
    place = ", ".join(map(str, index))
    steps: Sequence[dict[str, object]] = [
        {"title": f"{i}. {step.title}", "lines": list(step.lines)} for i, step in enumerate(why.steps, 1)
    ]
    return {"label": f"{node.name} [{place}]  {node.op}", "steps": steps}
