"""The engine "blas": the same graph, the same bytes, by way of float matrix products.

numpy multiplies integer matrices with plain loops, and float matrices with a tuned library: some twenty times faster. Floats of
24 or 53 bits are exact on whole numbers that fit, so the integers are carried in floats wherever a bound proves that they
fit (`exactness`), and where none does the reference kernel runs. Nothing is approximated.

A graph is laid out once (`Engine`): what a node does, proved. It is bound to memory once for every size of block (`Plan`): a
flat list of numpy calls on arrays that already exist. Running is copying codes in, making the calls, copying codes out.

With this module imported, `model.run(codes, engine="blas")` and `engine="auto"` use it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from math import prod

import numpy as np

from tinyquant.engines.blas_codes import code_layer
from tinyquant.engines.blas_memory import NO_FRAME, Layer, Scratch, Slot
from tinyquant.engines.blas_products import product_layer
from tinyquant.engines.exactness import Call
from tinyquant.graph import Graph, Node, Value
from tinyquant.integer.kernels.windows import Padding
from tinyquant.integer.reference import Schedule, growing_values
from tinyquant.integer.registry import RunGraph, Step, build_step, register_engine

__all__ = ["Engine", "Plan"]

BLOCK_BYTES = 1 << 19
"""How large the largest value of a block may be as float64, so that working memory stays in the cache."""

MOST_PLANS = 6
"""Sizes of blocks that are kept bound to memory; the one not used for longest goes first."""

PRODUCTS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


class Engine:
    """A graph laid out for float products, in one dialect. Runs may come from several threads: one runs at a time.

    Parameters
    ----------
    graph : Graph
    dialect : str
    """

    def __init__(self, graph: Graph, dialect: str = "tflm") -> None:
        self.graph = graph
        self.independent = graph.rows_are_independent()
        self.layers = {node.name: _layer(node, [graph.value(name) for name in node.inputs], dialect) for node in graph}
        largest = max(prod(shape) for shape in [value.shape for value in graph.inputs] + [node.shape for node in graph])
        self.most = max(1, BLOCK_BYTES // max(8 * largest, 1))
        self._reference = Schedule(graph, dialect)
        self._plans: OrderedDict[int, Plan] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The graph's outputs, new arrays."""
        with self._lock:
            if not self.independent:
                return self._plan(1).run(arrays)
            runs = len(arrays[0]) // self.graph.batch
            # A power of two, so that few sizes are ever bound; what is left over in the last block is thrown away.
            size = min(self.most, 1 << max(runs - 1, 0).bit_length())
            step = size * self.graph.batch
            parts = [self._block(size, [array[i : i + step] for array in arrays]) for i in range(0, len(arrays[0]), step)]
        if not parts:
            return self._reference.run(arrays)
        return [np.concatenate(part) if len(part) > 1 else part[0] for part in zip(*parts)]

    def _block(self, size: int, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """One block; a short one is filled up with copies of its last row, which are legal inputs."""
        rows, wanted = len(arrays[0]), size * self.graph.batch
        if rows < wanted:
            arrays = [np.concatenate([array, np.repeat(array[-1:], wanted - rows, axis=0)]) for array in arrays]
        outputs = self._plan(size).run(arrays)
        return [output[:rows] for output in outputs] if rows < wanted else outputs

    def _plan(self, runs: int) -> Plan:
        """The plan for blocks of so many runs."""
        if runs not in self._plans:
            self._plans[runs] = Plan(self, runs)
            if len(self._plans) > MOST_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(runs)
        return self._plans[runs]


def _layer(node: Node, inputs: list[Value], dialect: str) -> Layer:
    """What runs the node: float products where they are proved, else tables and floats of codes, else the kernel."""
    step = build_step(node, inputs, dialect)
    layer = product_layer(node, inputs, step) if node.op in PRODUCTS and isinstance(step, Step) else None
    return layer or code_layer(node, inputs, step)


class Plan:
    """An engine's layers bound to memory for blocks of `runs` times the declared batch.

    Attributes
    ----------
    calls : list
        What is called for a block, in order.
    """

    def __init__(self, engine: Engine, runs: int) -> None:
        graph = engine.graph
        self.graph = graph
        growing = growing_values(graph)
        values = [*graph.inputs, *(graph.value(node.name) for node in graph)]
        self.slots = {
            value.name: Slot(
                (value.shape[0] * runs, *value.shape[1:]) if value.name in growing else value.shape,
                None if value.qparams is None else int(value.qparams.zero_point),
                _frame(engine, value),
            )
            for value in values
        }
        # Twice: the first time tells how much working memory there must be, so that all steps can share it.
        sizes = self._bind(engine, Scratch())[1]
        self.calls = self._bind(engine, Scratch(sizes))[0]

    def _bind(self, engine: Engine, scratch: Scratch) -> tuple[list[Call], dict[str, int]]:
        """The calls, and the sizes of the working memory they use."""
        calls: list[Call] = []
        for node in self.graph:
            calls += engine.layers[node.name].bind([self.slots[name] for name in node.inputs], self.slots[node.name], scratch)
        return calls, scratch.sizes

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for one block, new arrays."""
        for value, array in zip(self.graph.inputs, arrays):
            self.slots[value.name].store(array)
        for call in self.calls:
            call()
        return [self.slots[name].array() for name in self.graph.outputs]


def _frame(engine: Engine, value: Value) -> Padding:
    """The largest padding that a reader of the value needs, on each side."""
    readers = [engine.layers[node.name].padding for node in engine.graph.consumers(value.name)]
    if value.qparams is None or len(value.shape) != 4 or not readers:
        return NO_FRAME
    (top, bottom), (left, right) = ([max(padding[axis][end] for padding in readers) for end in (0, 1)] for axis in (0, 1))
    return (top, bottom), (left, right)


def _build(graph: Graph, dialect: str) -> RunGraph:
    """The engine for a graph."""
    return Engine(graph, dialect).run


register_engine("blas", _build, speed=10)
