"""Three arithmetics behind one face, so that any two can be laid side by side.

A float network, a fake-quantized one and an integer one all compute a graph of named nodes; they differ in what they can
say of a value. Here each becomes a `Side`: it runs a batch and says of every node what came out (`Signal`: real
numbers, and the codes where there are codes), and it runs one node alone on what *another* network fed to it.

Names are aligned by what a node covers last: "stem.conv", which absorbed "stem.bn" and "stem.relu", is held against the
float network's "stem.relu" (`align`).

With this module one can put any model of the package behind that face (`side_of`) and find the pairs of nodes that
must agree (`align`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from tinyquant.autograd import Tensor, no_grad
from tinyquant.graph import Graph, Node, Value
from tinyquant.integer.model import IntegerModel
from tinyquant.integer.model_inputs import by_name
from tinyquant.integer.registry import InexactDialectWarning, Runner, build_step
from tinyquant.nn import Module
from tinyquant.numerics.affine import dequantize, quantize, round_quotient
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.capture import capture
from tinyquant.quantization.float_run import compute_node, run_graph
from tinyquant.quantization.model import FakeQuantModel

__all__ = ["Compared", "Given", "IntegerForm", "Side", "Signal", "align", "beyond", "of_codes", "side_of"]

Compared = Module | Graph | IntegerModel
"""What can be compared: a float Module or its captured Graph, a FakeQuantModel (a Module too), an IntegerModel."""

Given = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
"""An input: an array, or for several inputs a list or a dict by name."""


class IntegerForm(NamedTuple):
    """A node in codes, what it reads, and what runs it: a kernel, or None where it is computed in float on these codes."""

    node: Node
    inputs: tuple[Value, ...]
    runner: Runner | None


@dataclass(frozen=True)
class Signal:
    """What a node put out.

    Attributes
    ----------
    reals : float32 array
    codes : integer array or None
        None where the value is not quantized.
    qparams : QParams or None
        What the codes mean.
    """

    reals: np.ndarray
    codes: np.ndarray | None = None
    qparams: QParams | None = None

    def exact_reals(self) -> np.ndarray:
        """float64: what the codes stand for without float32's rounding, so that whole steps apart are whole steps apart."""
        if self.codes is None or self.qparams is None:
            return self.reals.astype(np.float64)
        return (self.codes.astype(np.float64) - self.qparams.zero_point) * self.qparams.scale

    def on(self, qparams: QParams | None) -> Signal:
        """The same value on another grid; as reals where that is None."""
        if qparams is None or qparams == self.qparams:
            return self
        return of_codes(quantize(self.reals, qparams), qparams)


def of_codes(codes: np.ndarray, qparams: QParams | None) -> Signal:
    """A signal from what an integer network computed; reals where it left the integers."""
    return Signal(codes) if qparams is None else Signal(dequantize(codes, qparams), codes, qparams)


class Side:
    """One of the two networks of a comparison.

    Attributes
    ----------
    label : str
        "float", "fake-quantized", "integer (tflm)", ...
    graph : Graph
        Structure, quantizers and parameters.
    """

    label: str
    graph: Graph

    def signals(self, x: Given) -> dict[str, Signal]:
        """Every input and node's output for a batch, in execution order."""
        raise TypeError("signals is each arithmetic's own. Make a side with side_of.")

    def feed(self, name: str, inputs: Sequence[Signal]) -> Signal:
        """One node alone, on inputs of another network, first brought to this one's grids."""
        raise TypeError("feed is each arithmetic's own. Make a side with side_of.")

    def masked(self, name: str, inputs: Sequence[Signal]) -> np.ndarray | None:
        """Where the straight-through estimator lets no gradient pass at the node's output; None if it has no such mask."""
        return None

    def integer_form(self, name: str) -> IntegerForm | None:
        """The node in codes; None where there are no codes."""
        return None

    def brought(self, name: str, inputs: Sequence[Signal]) -> list[Signal]:
        """Inputs of a node as this network would have them: on its own grids, in its own shapes."""
        own = []
        for source, signal in zip(self.graph.node(name).inputs, inputs):
            moved = signal.on(self.qparams(source))
            # The float lane may keep axes of length 1 that an integer graph has not.
            declared = self.graph.value(source).shape
            shape = declared if moved.reals.size == prod(declared) else (-1, *declared[1:])
            codes = None if moved.codes is None else moved.codes.reshape(shape)
            own.append(Signal(moved.reals.reshape(shape), codes, moved.qparams))
        return own

    def qparams(self, name: str) -> QParams | None:
        """The quantizer of a value."""
        return self.graph.value(name).qparams

    def node(self, name: str) -> Node | None:
        """The node of that name; None for an input."""
        return None if any(value.name == name for value in self.graph.inputs) else self.graph.node(name)


class FloatSide(Side):
    """A captured graph, run in float32."""

    label = "float"

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def signals(self, x: Given) -> dict[str, Signal]:
        """Reals alone."""
        return {name: Signal(values) for name, values in run_graph(self.graph, _only_reals(x)).items()}

    def feed(self, name: str, inputs: Sequence[Signal]) -> Signal:
        """The float operator on the other network's reals."""
        node = self.graph.node(name)
        with no_grad():
            params = {key: Tensor(array) for key, array in node.params.items()}
            return Signal(compute_node(node, [Tensor(signal.reals) for signal in inputs], params).data)


class FakeQuantSide(Side):
    """A fake-quantized model in eval mode."""

    def __init__(self, model: FakeQuantModel) -> None:
        if model.training:
            raise ValueError("a FakeQuantModel must be compared in eval mode, got one in training mode. Call eval() first.")
        self.model = model
        self.graph = model.graph
        self.label = "fake-quantized, exact" if model.exact else "fake-quantized"

    def signals(self, x: Given) -> dict[str, Signal]:
        """Reals on a grid, and their codes."""
        return {name: self._signal(name, values) for name, values in self.model.trace(_only_reals(x)).items()}

    def feed(self, name: str, inputs: Sequence[Signal]) -> Signal:
        """The node with its quantizers, on the other network's values brought to its own grids."""
        own = self.brought(name, inputs)
        codes = [signal.codes for signal in own if signal.codes is not None]
        if self.qparams(name) is not None and len(codes) == len(own):
            return of_codes(self.model.run_node(name, codes), self.qparams(name))
        with no_grad():
            return self._signal(name, self.model.nodes[name](*[Tensor(signal.reals) for signal in own]).data)

    def masked(self, name: str, inputs: Sequence[Signal]) -> np.ndarray | None:
        """Where the rounded code of the value before its quantizer lies outside [qmin, qmax]."""
        qp = self.qparams(name)
        made = self.model.nodes.get(name)
        if qp is None or made is None:
            return None
        with no_grad():
            y = compute_node(made.node, [Tensor(signal.reals) for signal in inputs], made.quantized_params())
        return beyond(y.data, qp)

    def integer_form(self, name: str) -> IntegerForm | None:
        """The node that `convert` would make of it."""
        made = self.model.nodes[name]
        inputs = [self.graph.value(source) for source in made.node.inputs]
        if made.qparams is None or any(value.qparams is None for value in inputs):
            return None
        values = tuple(Value(v.name, v.shape, np.dtype(np.int8), v.qparams) for v in inputs)
        try:
            node = made.integer_node()
            step = build_step(node, values)
        except ValueError:
            # Simulated only, wider than the kernels are, say: there is nothing to be held against in codes.
            return None
        return IntegerForm(node, values, step if self.model.exact else None)

    def _signal(self, name: str, values: np.ndarray) -> Signal:
        """Reals, with their codes where the value is quantized."""
        qp = self.qparams(name)
        codes = None if qp is None else quantize(values, qp, rounding=self.model.scheme.rounding)
        return Signal(values, codes, qp)


class IntegerSide(Side):
    """An integer model in one dialect."""

    def __init__(self, model: IntegerModel, dialect: str) -> None:
        self.model, self.dialect = model, dialect
        self.graph = model.graph
        self.label = f"integer ({dialect})"

    def signals(self, x: Given) -> dict[str, Signal]:
        """Codes, and what they stand for."""
        codes = []
        for value, given in zip(self.graph.inputs, by_name(x, self.graph.inputs)):
            array = np.asarray(given)
            is_real = array.dtype.kind == "f" and value.qparams is not None
            codes.append(quantize(array.astype(np.float32), value.qparams) if is_real and value.qparams else array)
        trace = self.model.trace(codes, dialect=self.dialect)
        return {name: of_codes(values, self.qparams(name)) for name, values in trace.items()}

    def feed(self, name: str, inputs: Sequence[Signal]) -> Signal:
        """The kernel on the other network's values, brought to its own grids."""
        arrays = [signal.reals if signal.codes is None else signal.codes for signal in self.brought(name, inputs)]
        with _quietly():
            return of_codes(self.model.run_node(name, arrays, dialect=self.dialect), self.qparams(name))

    def integer_form(self, name: str) -> IntegerForm | None:
        """The node itself."""
        node = self.graph.node(name)
        inputs = tuple(self.graph.value(source) for source in node.inputs)
        return IntegerForm(node, inputs, build_step(node, inputs, self.dialect))


def side_of(model: Compared, x: Given, *, dialect: str = "tflm") -> Side:
    """A model behind the face that comparisons look at.

    Parameters
    ----------
    model : Module, Graph, FakeQuantModel or IntegerModel
        A float Module is captured, with x as the example; a Graph must be a captured one.
    x : array, or for several inputs a list or dict by name
    dialect : str
        For an IntegerModel, whose arithmetic.

    Raises
    ------
    TypeError
        Something else.
    ValueError
        A FakeQuantModel in training mode, or what `capture` refuses.

    Examples
    --------
    >>> from tinyquant import nn
    >>> side_of(nn.Sequential(nn.ReLU()), np.zeros((1, 2), np.float32)).label
    'float'
    """
    if isinstance(model, IntegerModel):
        return IntegerSide(model, dialect)
    if isinstance(model, FakeQuantModel):
        return FakeQuantSide(model)
    if isinstance(model, Graph):
        if any(value.qparams is not None for value in model.inputs):
            raise TypeError("a Graph must be a captured float one to be compared, got codes in it. Pass IntegerModel(graph).")
        return FloatSide(model)
    if isinstance(model, Module):
        return FloatSide(capture(model, _only_reals(x)))
    raise TypeError(
        f"a model must be a Module, a captured Graph, a FakeQuantModel or an IntegerModel, got {type(model).__name__}."
    )


def align(a: Side, b: Side) -> list[tuple[str, str]]:
    """Pairs (value of a, value of b) that stand for the same number, in b's execution order, inputs first.

    Two nodes are a pair when the last float node they cover is the same. A requantize node, which only carries a value to
    another grid, is a pair with whatever the other network calls that value.

    >>> from tinyquant.graph import Value
    >>> float32 = np.dtype(np.float32)
    >>> def graph(*nodes):
    ...     return FloatSide(Graph((Value("x", (1, 2), float32),), nodes, (nodes[-1].name,)))
    >>> fc = Node("fc", "FULLY_CONNECTED", ("x",), (1, 2), params={"weight": np.ones((2, 2), np.float32)})
    >>> act = Node("act", "RELU", ("fc",), (1, 2))
    >>> align(graph(fc, act), graph(fc.replace(attrs={"activation": "relu"}, absorbed=("act",))))
    [('x', 'x'), ('act', 'fc')]
    """
    pairs = list(zip((value.name for value in a.graph.inputs), (value.name for value in b.graph.inputs)))
    known = {theirs: ours for ours, theirs in pairs}
    ends = {node.absorbed[-1] if node.absorbed else node.name: node.name for node in a.graph}
    for node in b.graph:
        end = node.absorbed[-1] if node.absorbed else node.name
        match = ends.get(end)
        if match is None and node.op == "QUANTIZE" and node.inputs[0] in known:
            match = known[node.inputs[0]]
        if match is not None:
            known[node.name] = match
            pairs.append((match, node.name))
    return pairs


def beyond(values: np.ndarray, qp: QParams) -> np.ndarray:
    """Where a value's rounded code lies outside [qmin, qmax]: clipped, and no gradient passes."""
    steps = round_quotient(values, qp) + int(qp.zero_point)
    return (steps < qp.qmin) | (steps > qp.qmax)


def _only_reals(x: Given) -> np.ndarray:
    """The one float array that the float lane takes."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        got = f"dtype {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"x must be one float array for a float or fake-quantized model, got {got}. Codes go to integer models.")
    return x.astype(np.float32, copy=False)


@contextmanager
def _quietly() -> Iterator[None]:
    """A dialect that is not exact has said so once, in `signals`: not at every node again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InexactDialectWarning)
        yield
