"""The engine "reference": the kernels one after the other, in the order of the graph.

What students read is what runs. The one liberty taken is to run many rows in blocks small enough for the processor's cache.
With this module one can make a `Schedule`, the list of steps of a graph, and run it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from tinyquant.graph import Graph
from tinyquant.integer.registry import RunGraph, Runner, build_step, register_engine

__all__ = ["Schedule", "growing_values", "in_blocks"]

BLOCK_BYTES = 1 << 18
"""What the largest intermediate of a block should fit in, so that a handful of them stay in a core's second-level cache."""


@dataclass(frozen=True)
class Scheduled:
    """One step, what it reads, and what nobody reads after it."""

    name: str
    step: Runner
    inputs: tuple[str, ...]
    finished: tuple[str, ...]


class Schedule:
    """The steps of a graph in order, each built once.

    Raises
    ------
    ValueError
        A node has no integer form in the dialect; the message names it.
    """

    def __init__(self, graph: Graph, dialect: str = "tflm") -> None:
        self.graph = graph
        last_reader = {name: i for i, node in enumerate(graph) for name in node.inputs}
        self.lines = [
            Scheduled(
                node.name,
                build_step(node, [graph.value(name) for name in node.inputs], dialect),
                node.inputs,
                tuple(name for name in set(node.inputs) if last_reader[name] == i),
            )
            for i, node in enumerate(graph)
        ]

    def values(self, arrays: list[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """Every node's name and output, one after the other; nothing is kept longer than a later node needs it."""
        known = dict(zip((value.name for value in self.graph.inputs), arrays))
        for line in self.lines:
            known[line.name] = line.step([known[name] for name in line.inputs])
            yield line.name, known[line.name]
            for name in line.finished:
                del known[name]

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The graph's outputs."""
        wanted = dict(zip((value.name for value in self.graph.inputs), arrays))
        for name, value in self.values(arrays):
            if name in self.graph.outputs:
                wanted[name] = value
        return [wanted[name] for name in self.graph.outputs]


def growing_values(graph: Graph) -> frozenset[str]:
    """Names of the values that have k times their declared rows in a run of k batches; none where rows mix.

    That is all that depend on an input: what is made of constants alone is the same for every row.
    """
    if not graph.rows_are_independent():
        return frozenset()
    names = {value.name for value in graph.inputs}
    for node in graph:
        if names.intersection(node.inputs):
            names.add(node.name)
    return frozenset(names)


def rows_per_block(graph: Graph) -> int:
    """How many rows keep the largest int64 intermediate within `BLOCK_BYTES`, a multiple of the declared batch."""
    shapes = [value.shape for value in graph.inputs] + [node.shape for node in graph]
    largest = max(prod(shape) for shape in shapes) * np.dtype(np.int64).itemsize
    return graph.batch * max(1, BLOCK_BYTES // max(largest, 1))


def in_blocks(graph: Graph, run: RunGraph) -> RunGraph:
    """`run`, called on blocks of rows and joined again, where the graph's rows do not mix; otherwise `run` itself."""
    if not graph.rows_are_independent():
        return run
    size = rows_per_block(graph)

    def blocked(arrays: list[np.ndarray]) -> list[np.ndarray]:
        """All rows, block by block."""
        rows = len(arrays[0])
        if rows <= size:
            return run(arrays)
        parts = [run([array[i : i + size] for array in arrays]) for i in range(0, rows, size)]
        return [np.concatenate(part) for part in zip(*parts)]

    return blocked


def _build(graph: Graph, dialect: str) -> RunGraph:
    """The reference engine for a graph."""
    return in_blocks(graph, Schedule(graph, dialect).run)


register_engine("reference", _build, speed=0)
