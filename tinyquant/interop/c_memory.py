"""Where activations lie in one block of memory: two that are needed at the same time never overlap.

A value lives from the node that makes it to the last node that reads it. The largest are placed first, each at the lowest
offset that is free for its whole life: not always the smallest block, but never far from it, and simple to check.

With this module one can plan the activations of a graph (`plan_memory`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from tinyquant.graph import Graph

__all__ = ["MemoryPlan", "plan_memory"]


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets by name, and how long the whole block is, in bytes."""

    offsets: Mapping[str, int]
    nbytes: int


def plan_memory(graph: Graph) -> MemoryPlan:
    """Offsets of the int8 values that are neither constants, nor inputs or outputs of the graph (those are the caller's).

    Parameters
    ----------
    graph : Graph
        Nodes in execution order; one byte a cell.

    Returns
    -------
    MemoryPlan

    Examples
    --------
    Of a chain, two neighbours at a time: the third takes the place of the first.

    >>> import numpy as np
    >>> from tinyquant.graph import Node, Value
    >>> nodes = [Node(name, "RELU", (before,), (1, 8)) for before, name in zip("xabc", "abcd")]
    >>> plan = plan_memory(Graph((Value("x", (1, 8), np.dtype(np.int8)),), tuple(nodes), ("d",)))
    >>> dict(plan.offsets), plan.nbytes
    ({'a': 0, 'b': 8, 'c': 0}, 16)
    """
    made = {node.name: i for i, node in enumerate(graph) if node.op != "CONSTANT" and node.name not in graph.outputs}
    last = dict(made)
    for i, node in enumerate(graph):
        last.update({name: i for name in node.inputs if name in made})
    sizes = {name: prod(graph.node(name).shape) for name in made}
    offsets: dict[str, int] = {}
    for name in sorted(made, key=lambda name: (-sizes[name], made[name])):
        # A node reads its inputs while it writes its output, so lives that meet in one node do overlap.
        alive = [other for other in offsets if made[other] <= last[name] and made[name] <= last[other]]
        offset = 0
        for other in sorted(alive, key=offsets.__getitem__):
            if offset + sizes[name] <= offsets[other]:
                break
            offset = max(offset, offsets[other] + sizes[other])
        offsets[name] = offset
    return MemoryPlan(offsets, max((offset + sizes[name] for name, offset in offsets.items()), default=0))
