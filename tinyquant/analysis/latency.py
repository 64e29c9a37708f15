"""How long numpy takes for each node: a stopwatch, and a warning against reading too much from it.

These are times of numpy on the machine at hand, not of a device: a microcontroller spends its time elsewhere. What they are good
for is finding the slow node of an experiment, and for seeing that fewer operations need not be less time.

With this module one can time an integer model node by node (`latency`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from tinyquant.analysis.comparison_table import aligned
from tinyquant.graph import count_macs
from tinyquant.integer.model import IntegerModel
from tinyquant.integer.registry import build_step

__all__ = ["Latency", "NodeTime", "latency"]

Clock = Callable[[], float]


@dataclass(frozen=True)
class NodeTime:
    """The median time of one node's reference kernel, in milliseconds for the whole batch, and its multiplications."""

    name: str
    op: str
    ms: float
    macs: int


@dataclass(frozen=True)
class Latency:
    """The report of `latency`. `str()` of it is a table headed "numpy ms, not a device".

    Attributes
    ----------
    nodes : tuple of NodeTime
        Of the reference kernels, in execution order.
    engines : dict of str to float
        Median milliseconds of the whole network for the batch, by engine.
    rows, repeats : int
    """

    nodes: tuple[NodeTime, ...]
    engines: dict[str, float]
    rows: int
    repeats: int

    def __str__(self) -> str:
        total = sum(node.ms for node in self.nodes) or 1.0
        rows = [["node", "operator", "numpy ms", "%", "MACs"]]
        rows += [[n.name, n.op, f"{n.ms:.3f}", f"{100 * n.ms / total:.1f}", str(n.macs * self.rows)] for n in self.nodes]
        body = aligned(rows)
        title = f"numpy ms, not a device: {self.rows} rows, median of {self.repeats}, reference kernels"
        lines = [title, "", body[0], "-" * max(map(len, body)), *body[1:], ""]
        lines += [f"the whole network, engine {name}: {ms:.3f} numpy ms" for name, ms in self.engines.items()]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """All of it as what `json.dumps` takes."""
        return {"unit": "numpy ms, not a device", **asdict(self)}


def latency(model: IntegerModel, codes: np.ndarray, *, repeats: int = 5, clock: Clock = time.perf_counter) -> Latency:
    """Time every node's reference kernel, and the whole network in each engine.

    Parameters
    ----------
    model : IntegerModel
    codes : array
        What `model.run` takes; models with one input.
    repeats : int, at least 1
        The median of so many runs, after one that does not count.
    clock : callable () -> seconds

    Returns
    -------
    Latency

    Raises
    ------
    TypeError
        Not an IntegerModel.
    ValueError
        repeats below 1, or what `run` refuses.

    Notes
    -----
    In numpy, on this machine, with whatever else it is doing: compare lines of one report, not reports.
    """
    if not isinstance(model, IntegerModel):
        raise TypeError(f"model must be an IntegerModel, got {type(model).__name__}. Make one with convert or load_tflite.")
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}.")

    def median(call: Callable[[], object]) -> float:
        """Milliseconds."""
        call()
        times = []
        for _ in range(repeats):
            start = clock()
            call()
            times.append(clock() - start)
        return 1000 * float(np.median(times))

    trace, macs = model.trace(codes), count_macs(model.graph)
    nodes = []
    for node in model.graph:
        # Prepared once, as in a model that runs: only the kernel is timed.
        step = build_step(node, [model.graph.value(name) for name in node.inputs])
        ms = median(partial(step, [trace[name] for name in node.inputs]))
        nodes.append(NodeTime(node.name, node.op, ms, macs[node.name]))
    engines = {name: median(partial(model.run, codes, engine=name)) for name in ("reference", "auto")}
    rows = len(codes) // max(model.graph.batch, 1)
    return Latency(tuple(nodes), engines, rows, repeats)
