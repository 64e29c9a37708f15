"""The network as a list of named calls, and the one table of what a call can be.

The same `Graph` serves three arithmetics. Captured from a module its nodes hold float parameters;
converted, they hold integer codes and the scales that give them meaning; loaded from a .tflite file,
likewise. A node keeps its name through all of it, so a number in one world can be held against the
same number in the other two.

With this module one can hold a network (`Node`, `Value`, `Graph`), look up an operator (`OPS`), and work
out the geometry of a window (`same_padding`, `window_count`). There is no arithmetic on tensors here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from tinyquant.numerics.qparams import QParams

__all__ = [
    "ACTIVATIONS",
    "OPS",
    "Graph",
    "Node",
    "Operator",
    "Value",
    "count_macs",
    "same_padding",
    "window_count",
]

Shape = tuple[int, ...]

ACTIVATIONS: Mapping[str, tuple[float | None, float | None]] = MappingProxyType(
    {"none": (None, None), "relu": (0.0, None), "relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}
)
"""Fused activations: name -> (lowest real value, highest real value), None where unbounded."""


def window_count(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """How many window positions fit along one axis, for padding "same" or "valid".

    Source: TFLite `kernels/padding.h`, ComputeOutSize.

    >>> window_count(7, 3, 2, 1, "valid"), window_count(7, 3, 2, 1, "same")
    (3, 4)
    """
    if padding == "same":
        return (size + stride - 1) // stride
    reach = (kernel - 1) * dilation + 1
    return max(0, (size + stride - reach) // stride)


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Cells added (before, after) along one axis by padding "same"; an odd extra cell goes after.

    Source: TFLite `kernels/padding.h`, ComputePaddingWithOffset.

    >>> same_padding(8, 3, 1, 1), same_padding(8, 3, 2, 1)
    ((1, 1), (0, 1))
    """
    reach = (kernel - 1) * dilation + 1
    total = max(0, (window_count(size, kernel, stride, dilation, "same") - 1) * stride + reach - size)
    return total // 2, total - total // 2


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


@dataclass(frozen=True)
class Node:
    """One call of one operator. It has one output, and that output goes by the node's name.

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
            raise ValueError(f"op must be one of {', '.join(OPS)}, got {self.op!r} at node {self.name!r}.")
        row = OPS[self.op]
        unknown = sorted(set(self.attrs) - set(row.attrs)) + sorted(set(self.params) - set(row.params))
        if unknown:
            raise ValueError(f"{self.op} has no attribute or parameter {unknown}, got them at node {self.name!r}.")
        attrs = {}
        for key, (check, default) in row.attrs.items():
            value = self.attrs.get(key, default)
            if value is _REQUIRED:
                raise ValueError(f"{self.op} must have the attribute {key!r}, got none at node {self.name!r}.")
            try:
                attrs[key] = check(value)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{self.op} attribute {key!r} must be {check.__doc__}, got {value!r} at node {self.name!r}.") from error
        put = object.__setattr__
        put(self, "attrs", MappingProxyType(attrs))
        put(self, "params", MappingProxyType({k: _readonly(v) for k, v in self.params.items()}))
        put(self, "param_qparams", MappingProxyType(dict(self.param_qparams)))
        put(self, "inputs", tuple(self.inputs))
        put(self, "shape", tuple(int(n) for n in self.shape))
        put(self, "dtype", np.dtype(self.dtype))
        low, high = row.arity
        if not low <= len(self.inputs) <= high:
            raise ValueError(f"{self.op} must have {low} to {high} inputs, got {len(self.inputs)} at node {self.name!r}.")

    def replace(self, **changes: Any) -> Node:
        """A copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Graph:
    """Inputs, nodes in execution order, and the names of the outputs. Checked on construction.

    Raises
    ------
    ValueError
        A name is used twice, or a node reads something that no earlier line makes.
    """

    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        put = object.__setattr__
        for key in ("inputs", "nodes", "outputs"):
            put(self, key, tuple(getattr(self, key)))
        known: set[str] = set()
        for value in self.inputs:
            if value.name in known:
                raise ValueError(f"names must be unique, got {value.name!r} twice.")
            known.add(value.name)
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing:
                raise ValueError(f"node {node.name!r} must read earlier values, got {missing}, which nothing before it makes.")
            if node.name in known:
                raise ValueError(f"names must be unique, got {node.name!r} twice.")
            known.add(node.name)
        absent = [name for name in self.outputs if name not in known]
        if absent:
            raise ValueError(f"outputs must be made by the graph, got {absent}.")

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
        """The declared batch: the first axis of the first input (1 for a scalar input)."""
        shape = self.inputs[0].shape
        return shape[0] if shape else 1

    def rows_are_independent(self) -> bool:
        """True when no operator mixes the leading axis, so that k batches may run as one.

        A value's rows stay apart as long as its leading axis is a multiple of the declared batch with the same
        cells per row, which a reshape, a concatenation along axis 0, a mean over axis 0 and the like can break.
        """
        return all(_keeps_rows(node, [self.value(name).shape for name in node.inputs], self.batch) for node in self.nodes) and all(
            value.shape and value.shape[0] == self.batch for value in self.inputs
        )


def _keeps_rows(node: Node, shapes: Sequence[Shape], batch: int) -> bool:
    """Does row i of the output depend on rows i of the inputs alone?"""
    rank = len(node.shape)
    if node.op == "CONSTANT":
        # A constant without a batch axis is broadcast; one with a batch axis of several rows is tied to it.
        return rank == 0 or node.shape[0] == 1
    if rank == 0 or node.shape[0] % batch:
        return False
    if node.op == "RESHAPE":
        return node.shape[0] == shapes[0][0]
    if node.op == "FULLY_CONNECTED":
        return node.shape[0] == shapes[0][0] and prod(shapes[0][1:]) == node.params["weight"].shape[1] * prod(node.shape[1:-1])
    if node.op in ("MEAN", "SUM"):
        return 0 not in {axis % len(shapes[0]) for axis in node.attrs["axis"]}
    if node.op == "CONCATENATION":
        return node.attrs["axis"] % rank != 0
    if node.op == "TRANSPOSE":
        return node.attrs["perm"][0] == 0
    if node.op in ("PAD", "PADV2"):
        return node.attrs["paddings"][0] == (0, 0)
    if node.op == "SOFTMAX":
        return rank > 1
    if node.op in ("ADD", "SUB", "MUL"):
        return all(len(shape) == rank and shape[0] == node.shape[0] or prod(shape[:1]) == 1 or len(shape) < rank for shape in shapes)
    return node.shape[0] == shapes[0][0]


# ---------------------------------------------------------------------------------------------------------------
# The table of operators


def _pair(value: Any) -> tuple[int, int]:
    """a pair of positive whole numbers"""
    pair = (value, value) if isinstance(value, (int, np.integer)) else tuple(value)
    if len(pair) != 2 or any(int(v) != v or v < 1 for v in pair):
        raise ValueError
    return int(pair[0]), int(pair[1])


def _padding(value: Any) -> str:
    """"same" or "valid" """
    if value not in ("same", "valid"):
        raise ValueError
    return str(value)


def _activation(value: Any) -> str:
    """one of none, relu, relu6, relu_n1_to_1"""
    if value not in ACTIVATIONS:
        raise ValueError
    return str(value)


def _ints(value: Any) -> tuple[int, ...]:
    """a sequence of whole numbers"""
    values = (value,) if isinstance(value, (int, np.integer)) else tuple(value)
    return tuple(int(v) for v in values)


def _pairs(value: Any) -> tuple[tuple[int, int], ...]:
    """a (before, after) pair of whole numbers for every axis"""
    rows = tuple((int(a), int(b)) for a, b in value)
    if any(a < 0 or b < 0 for a, b in rows):
        raise ValueError
    return rows


def _int(value: Any) -> int:
    """a whole number"""
    if int(value) != value:
        raise ValueError
    return int(value)


def _real(value: Any) -> float:
    """a finite real number"""
    if not np.isfinite(value):
        raise ValueError
    return float(value)


def _bool(value: Any) -> bool:
    """true or false"""
    return bool(value)


_REQUIRED = object()
_Attr = tuple[Callable[[Any], Any], Any]
_WINDOW: dict[str, _Attr] = {"stride": (_pair, (1, 1)), "padding": (_padding, "valid")}
_CONV: dict[str, _Attr] = {**_WINDOW, "dilation": (_pair, (1, 1)), "activation": (_activation, "none")}
_POOL: dict[str, _Attr] = {"filter": (_pair, _REQUIRED), **_WINDOW, "activation": (_activation, "none")}
_FUSED: dict[str, _Attr] = {"activation": (_activation, "none")}
_LAYER = ("weight", "bias")
# Until it is converted a layer may own the batch norm that follows it, and folds it whenever it is quantized.
_NORMED_LAYER = (*_LAYER, "gamma", "beta", "mean", "variance", "eps")
_REDUCE: dict[str, _Attr] = {"axis": (_ints, _REQUIRED), "keep_dims": (_bool, False)}

ALL_DIALECTS = ("tflm", "litert_ref", "litert_opt", "xnnpack")


@dataclass(frozen=True)
class Operator:
    """One row of `OPS`.

    Attributes
    ----------
    meaning : str
        What it computes, in a line.
    arity : (int, int)
        Fewest and most inputs.
    attrs : mapping of name to (check, default)
    params : tuple of str
        Arrays a node of this kind may own.
    weight_axis : int or None
        The output-channel axis of "weight".
    qparams : str
        "free": the output has a range of its own; "same": inputs and output share scale and zero point; "fixed": see `fixed`.
    fixed : (float, int) or None
        Scale and zero point of a "fixed" output, for int8.
    macs : str
        How multiply-accumulates are counted: "window" (output cells x weights per output), "depthwise", "scatter", or "none".
    inexact : tuple of str
        Dialects whose real runtime this package does not reproduce byte for byte here.
    batchable : bool
        Whether an engine may run many rows at once (rows permitting; see `Graph.rows_are_independent`).
    integer : bool
        Whether the integer lane implements it; otherwise it is refused there by name.
    """

    meaning: str
    arity: tuple[int, int] = (1, 1)
    attrs: Mapping[str, _Attr] = field(default_factory=dict)
    params: tuple[str, ...] = ()
    weight_axis: int | None = None
    qparams: str = "free"
    fixed: tuple[float, int] | None = None
    macs: str = "none"
    inexact: tuple[str, ...] = ()
    batchable: bool = True
    integer: bool = True


OPS: Mapping[str, Operator] = MappingProxyType(
    {
        "CONSTANT": Operator("an array that belongs to the graph", (0, 0), params=("value",)),
        "CONV_2D": Operator(
            "sums of weights times a window", attrs=_CONV, params=_NORMED_LAYER, weight_axis=0, macs="window", inexact=("litert_opt",)
        ),
        "DEPTHWISE_CONV_2D": Operator(
            "a window sum, each channel on its own",
            attrs={**_CONV, "depth_multiplier": (_int, 1)},
            params=_NORMED_LAYER,
            weight_axis=3,
            macs="depthwise",
            inexact=("litert_opt",),
        ),
        "TRANSPOSE_CONV": Operator(
            "a convolution run backwards: each cell spreads over a window",
            attrs={**_WINDOW, "activation": (_activation, "none")},
            params=_LAYER,
            weight_axis=0,
            macs="scatter",
            inexact=("xnnpack",),
        ),
        "FULLY_CONNECTED": Operator(
            "matrix times vector",
            attrs={**_FUSED, "keep_num_dims": (_bool, False)},
            params=_NORMED_LAYER,
            weight_axis=0,
            macs="window",
        ),
        "BATCH_NORM": Operator(
            "an affine map a channel; folded before integers",
            attrs={"eps": (_real, 1e-5), "momentum": (_real, 0.1)},
            params=("gamma", "beta", "mean", "variance"),
            integer=False,
        ),
        "ADD": Operator("sum of two, broadcast", (2, 2), _FUSED),
        "SUB": Operator("difference of two, broadcast", (2, 2), _FUSED),
        "MUL": Operator("product of two, broadcast", (2, 2), _FUSED),
        "CONCATENATION": Operator("joined along an axis", (1, 1024), {"axis": (_int, -1), **_FUSED}, qparams="same"),
        "AVERAGE_POOL_2D": Operator("mean of the window cells inside the image", attrs=_POOL, qparams="same"),
        "MAX_POOL_2D": Operator("largest of the window cells inside the image", attrs=_POOL, qparams="same"),
        "MEAN": Operator("mean over axes", attrs=_REDUCE, inexact=("litert_opt", "xnnpack")),
        "SUM": Operator("sum over axes", attrs=_REDUCE, inexact=("litert_opt", "xnnpack")),
        "PAD": Operator("cells of real 0 around", attrs={"paddings": (_pairs, _REQUIRED)}, qparams="same"),
        "PADV2": Operator(
            "cells of a given code around", attrs={"paddings": (_pairs, _REQUIRED), "value": (_int, _REQUIRED)}, qparams="same"
        ),
        "RESHAPE": Operator("the same cells in another shape", attrs={"new_shape": (_ints, _REQUIRED)}, qparams="same"),
        "TRANSPOSE": Operator("axes in another order", attrs={"perm": (_ints, _REQUIRED)}, qparams="same"),
        "RELU": Operator("max(x, 0)"),
        "RELU6": Operator("min(max(x, 0), 6)", qparams="same"),
        "RELU_N1_TO_1": Operator("min(max(x, -1), 1)"),
        "LEAKY_RELU": Operator("x, or alpha * x below 0", attrs={"alpha": (_real, 0.01)}, inexact=("xnnpack",)),
        "LOGISTIC": Operator("1 / (1 + exp(-x))", qparams="fixed", fixed=(1 / 256, -128)),
        "TANH": Operator("tanh(x)", qparams="fixed", fixed=(1 / 128, 0)),
        "SOFTMAX": Operator(
            "exp(beta x) over its sum, last axis",
            attrs={"beta": (_real, 1.0)},
            qparams="fixed",
            fixed=(1 / 256, -128),
            inexact=("litert_opt", "xnnpack"),
        ),
        "QUANTIZE": Operator("real -> code, or codes of one scale -> codes of another", inexact=("litert_opt",)),
        "DEQUANTIZE": Operator("code -> real"),
    }
)
"""The operators, by their TFLite name. Every room implements a row or refuses it by name."""


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
