"""The network as a list of named calls.

With this module one can hold a network (`Node`, `Value`, `Graph`), ask whether its rows may be run together, and
count its multiply-accumulates (`count_macs`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from tinyquant.graph.operators import OPS, complete_attrs
from tinyquant.numerics.qparams import QParams

__all__ = ["Graph", "Node", "Value", "count_macs"]

Shape = tuple[int, ...]


def _names(what: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple; a bare string is refused, for it would be taken apart into letters."""
    if isinstance(names, str):
        raise TypeError(f"{what} must be a sequence of names, got the string {names!r}. Write ({names!r},).")
    return tuple(names)


def _shape(name: str, shape: Sequence[int]) -> Shape:
    """A shape as a tuple of ints."""
    if any(int(n) != n or n < 0 for n in shape):
        raise ValueError(f"a shape must be whole numbers, 0 or more, got {shape} for {name!r}. Give the declared batch first.")
    return tuple(int(n) for n in shape)


def _readonly(array: np.ndarray) -> np.ndarray:
    """The same numbers, not to be written through this view."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True)
class Value:
    """One tensor that enters or leaves a graph: what the outside has to know about it.

    `shape` counts the declared batch as its first axis. `qparams` is None for a float tensor.
    """

    name: str
    shape: Shape
    dtype: np.dtype
    qparams: QParams | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _shape(self.name, self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))


@dataclass(frozen=True, eq=False)
class Node:
    """One call of one operator. It has one output, and that output goes by the node's name.

    Frozen. Two nodes are equal only when they are the same object: compare fields to compare contents.

    Attributes
    ----------
    name : str
        The module's path ("block1.conv"); a second call is "block1.conv#2"; in a .tflite file the output tensor's name.
    op : str
        A key of `OPS`.
    inputs : tuple of str
        Names of graph inputs or of earlier nodes.
    shape : tuple of int
        Of the output, the declared batch first.
    attrs : mapping
        The operator's settings, all of them, defaults filled in (see `OPS[op].attrs`).
    params : mapping of str to ndarray
        Arrays that belong to the node ("weight", "bias", ...): float32 before `convert`, integer codes after. Read-only.
    qparams : QParams or None
        Of the output; None in a float graph.
    param_qparams : mapping of str to QParams
        What the codes in `params` mean.
    dtype : numpy.dtype
        Of the output.
    absorbed : tuple of str
        Names of later float nodes that this one now does the work of (a batch norm, an activation), in order.

    Raises
    ------
    ValueError
        An operator, attribute or parameter that `OPS` has not, a wrong number of inputs, or an impossible shape.
    TypeError
        `inputs` or `absorbed` is one string.

    Examples
    --------
    >>> node = Node("pool", "MAX_POOL_2D", ("x",), (1, 4, 4, 3), {"filter": 2, "stride": 2})
    >>> node.attrs["filter"], node.attrs["padding"]
    ((2, 2), 'valid')
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: Shape
    attrs: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, np.ndarray] = field(default_factory=dict)
    qparams: QParams | None = None
    param_qparams: Mapping[str, QParams] = field(default_factory=dict)
    dtype: np.dtype = np.dtype(np.float32)
    absorbed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.op not in OPS:
            raise ValueError(f"node {self.name!r}: op must be one of {', '.join(OPS)}, got {self.op!r}.")
        row = OPS[self.op]
        try:
            attrs = complete_attrs(self.op, self.attrs)
        except ValueError as error:
            raise ValueError(f"node {self.name!r}: {error}") from error
        unknown = sorted(set(self.params) - set(row.params))
        if unknown:
            raise ValueError(f"node {self.name!r}: {self.op} must own arrays of {sorted(row.params)} only, got {unknown}.")
        put = object.__setattr__
        put(self, "inputs", _names("inputs", self.inputs))
        put(self, "shape", _shape(self.name, self.shape))
        put(self, "attrs", MappingProxyType(attrs))
        put(self, "params", MappingProxyType({k: _readonly(v) for k, v in self.params.items()}))
        put(self, "param_qparams", MappingProxyType(dict(self.param_qparams)))
        put(self, "dtype", np.dtype(self.dtype))
        put(self, "absorbed", _names("absorbed", self.absorbed))
        low, high = row.arity
        if not low <= len(self.inputs) <= high:
            raise ValueError(f"node {self.name!r}: {self.op} must have {low} to {high} inputs, got {len(self.inputs)}.")

    def replace(self, **changes: Any) -> Node:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        """Itself: nothing of it can change."""
        return self


@dataclass(frozen=True, eq=False)
class Graph:
    """Inputs, nodes in execution order, and the names of the outputs. Checked on construction.

    Raises
    ------
    ValueError
        A name is used twice, or a node or an output names something that no earlier line makes.
    TypeError
        `outputs` is one string.
    """

    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "inputs", tuple(self.inputs))
        put(self, "nodes", tuple(self.nodes))
        put(self, "outputs", _names("outputs", self.outputs))
        known: set[str] = set()
        for value in self.inputs:
            if value.name in known:
                raise ValueError(f"names must be unique, got {value.name!r} twice. Number the second: {value.name + '#2'!r}.")
            known.add(value.name)
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing:
                raise ValueError(f"node {node.name!r}: inputs must be made earlier, got {missing}. Put nodes in execution order.")
            if node.name in known:
                raise ValueError(f"names must be unique, got {node.name!r} twice. Number the second: {node.name + '#2'!r}.")
            known.add(node.name)
        absent = [name for name in self.outputs if name not in known]
        if absent:
            raise ValueError(f"outputs must be made by the graph, got {absent}. It makes {', '.join(sorted(known))}.")

    def __deepcopy__(self, memo: dict[int, Any]) -> Graph:
        """Itself: nothing of it can change."""
        return self

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def node(self, name: str) -> Node:
        """The node of that name; a KeyError lists the names there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(f"no node is called {name!r}; there are {', '.join(n.name for n in self.nodes)}.")

    def value(self, name: str) -> Value:
        """Shape, type and qparams of an input or a node's output, by name."""
        for value in self.inputs:
            if value.name == name:
                return value
        node = self.node(name)
        return Value(node.name, node.shape, node.dtype, node.qparams)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read a value."""
        return tuple(node for node in self.nodes if name in node.inputs)

    @property
    def batch(self) -> int:
        """The declared batch: the first axis of the first input (1 without an input, or for a scalar one)."""
        shape = self.inputs[0].shape if self.inputs else ()
        return shape[0] if shape else 1

    def rows_are_independent(self) -> bool:
        """True when k batches may run as one of k times the rows, every value growing with them along its first axis.

        False when an operator mixes the leading axis (a softmax of one axis, a mean over axis 0, a reshape that moves
        cells between rows), when an input has another leading axis than the declared batch, and when something that
        depends on no input, and so does not grow, is an output or is used other than by broadcasting.
        """
        if any(value.shape[:1] != (self.batch,) for value in self.inputs):
            return False
        shapes = {value.name: value.shape for value in self.inputs} | {node.name: node.shape for node in self.nodes}
        growing = {value.name for value in self.inputs}
        for node in self.nodes:
            if not growing.intersection(node.inputs):
                continue
            if not _keeps_rows(node, self.batch, [(shapes[name], name in growing) for name in node.inputs]):
                return False
            growing.add(node.name)
        return growing.issuperset(self.outputs)


def _keeps_rows(node: Node, batch: int, inputs: Sequence[tuple[Shape, bool]]) -> bool:
    """Does row i of the output depend on rows i of the inputs alone? Each input is (shape, it grows with the batch)."""
    rank = len(node.shape)
    if node.shape[:1] != (batch,):
        return False
    if node.op in ("ADD", "SUB", "MUL"):
        # Broadcasting aligns last axes: rows meet rows at equal rank, and what does not grow must meet all rows alike.
        return all(len(shape) == rank if grows else len(shape) < rank or shape[0] == 1 for shape, grows in inputs)
    if not all(grows for _, grows in inputs):
        return False
    if node.op in ("MEAN", "SUM"):
        return 0 not in {axis % len(inputs[0][0]) for axis in node.attrs["axis"]}
    if node.op == "TRANSPOSE":
        return node.attrs["perm"][0] % rank == 0
    if node.op == "SOFTMAX":
        return rank > 1
    return True


def count_macs(graph: Graph) -> dict[str, int]:
    """Multiply-accumulates of each node for the declared batch, zeros of the padding included; {name: count}."""
    counts = {}
    for node in graph.nodes:
        rule = OPS[node.op].macs
        weight = node.params.get("weight")
        if rule == "none" or weight is None:
            counts[node.name] = 0
        elif rule == "window":
            counts[node.name] = prod(node.shape) * prod(weight.shape[1:])
        elif rule == "depthwise":
            counts[node.name] = prod(node.shape) * weight.shape[1] * weight.shape[2]
        else:
            counts[node.name] = prod(graph.value(node.inputs[0]).shape) * weight.shape[0] * weight.shape[1] * weight.shape[2]
    return counts
