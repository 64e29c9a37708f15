"""Networks for the tests of files: small, of many operators, with awkward names; and what it means for two to be the same.

With this module one can build a network by hand (`Sketchbook`), take one that has most operators (`small_model`), damage
the tables of a .tflite file (`damage`), and list in what two graphs differ (`differences`).
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np

from tinyquant.graph import Graph, Node, Value
from tinyquant.interop.flatbuffer import encode
from tinyquant.interop.tflite_schema import IDENTIFIER
from tinyquant.interop.tflite_writer import model_table
from tinyquant.numerics.qparams import QParams

INT8 = np.dtype(np.int8)
FLOAT32 = np.dtype(np.float32)
HALF = QParams(0.5, 3)


class Sketchbook:
    """A graph under construction. Methods append a node and return its name."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.values: list[Value] = []
        self.nodes: list[Node] = []

    def input(self, name: str, shape: tuple[int, ...], qp: QParams | None = HALF) -> str:
        """A model input; without qparams, of reals."""
        self.values.append(Value(name, shape, INT8 if qp else FLOAT32, qp))
        return name

    def node(
        self, name: str, op: str, inputs: tuple[str, ...], shape: tuple[int, ...], qp: QParams | None = HALF, **rest: Any
    ) -> str:
        """A node; keywords that name parameters ("weight", "bias", "value") become parameters, the others attributes."""
        params = {key: rest.pop(key) for key in ("weight", "bias") if key in rest}
        if op == "CONSTANT":
            params["value"] = rest.pop("value")
        meaning = {"weight": rest.pop("weight_qp")} if "weight" in params else {}
        self.nodes.append(Node(name, op, inputs, shape, rest, params, qp, meaning, INT8 if qp else FLOAT32))
        return name

    def weight(self, *shape: int) -> np.ndarray:
        """Random int8 weights, -127 to 127."""
        return self.rng.integers(-127, 128, shape).astype(np.int8)

    def bias(self, count: int) -> np.ndarray:
        """Random int32 biases."""
        return self.rng.integers(-900, 900, count).astype(np.int32)

    def scales(self, count: int, axis: int) -> QParams:
        """Random float32 scales, one a channel."""
        return QParams(self.rng.uniform(0.01, 0.03, count).astype(np.float32), 0, -127, 127, axis)

    def graph(self, *outputs: str) -> Graph:
        """The graph."""
        return Graph(tuple(self.values), tuple(self.nodes), outputs)


def small_model() -> Graph:
    """Two inputs, two outputs, thirteen nodes: weights per tensor and per channel, a constant, a fixed scale, odd names."""
    book = Sketchbook()
    x = book.input("x:0", (2, 5, 5, 2))
    y = book.input("y/in", (2, 3), None)
    a = book.node(
        "conv;relu", "CONV_2D", (x,), (2, 3, 3, 3), QParams(0.25, -128), stride=(2, 2), padding="same", activation="relu",
        weight=book.weight(3, 3, 3, 2), bias=book.bias(3), weight_qp=book.scales(3, 0),
    )  # fmt: skip
    b = book.node(
        "dw", "DEPTHWISE_CONV_2D", (a,), (2, 3, 3, 6), QParams(0.125, 5), padding="same", depth_multiplier=2, dilation=(2, 1),
        weight=book.weight(1, 2, 2, 6), bias=book.bias(6), weight_qp=book.scales(6, 3), activation="relu6",
    )  # fmt: skip
    c = book.node("block 1/constant \u00e9", "CONSTANT", (), (6,), QParams(0.25, 1), value=book.weight(6))
    d = book.node("sum", "ADD", (b, c), (2, 3, 3, 6), QParams(0.5, 7), activation="none")
    e = book.node("pad", "PAD", (d,), (2, 4, 5, 6), QParams(0.5, 7), paddings=((0, 0), (1, 0), (0, 2), (0, 0)))
    f = book.node("pool", "AVERAGE_POOL_2D", (e,), (2, 2, 2, 6), QParams(0.5, 7), filter=(2, 2), stride=(2, 2))
    g = book.node("mean", "MEAN", (f,), (2, 6), QParams(0.25, 0), axis=(1, -2))
    h = book.node("requantize", "QUANTIZE", (g,), (2, 6), QParams(0.0625, -3))
    i = book.node("y.codes", "QUANTIZE", (y,), (2, 3), QParams(0.0625, -3))
    j = book.node("both", "CONCATENATION", (h, i), (2, 9), QParams(0.0625, -3), axis=1)
    k = book.node(
        "logits", "FULLY_CONNECTED", (j,), (2, 4), QParams(0.5, -1), weight=book.weight(4, 9), bias=book.bias(4),
        weight_qp=QParams(np.float32(0.01), 0, -127, 127),
    )  # fmt: skip
    book.node("p", "SOFTMAX", (k,), (2, 4), QParams(1 / 256, -128), beta=1.0)
    book.node("reals", "DEQUANTIZE", (k,), (2, 4), None)
    return book.graph("p", "reals")


def small_inputs() -> list[np.ndarray]:
    """Inputs for `small_model`."""
    rng = np.random.default_rng(7)
    return [rng.integers(-128, 128, (2, 5, 5, 2)).astype(np.int8), rng.normal(0, 4, (2, 3)).astype(np.float32)]


def file_of(graph: Graph, change: Any = None) -> bytes:
    """The .tflite file of a graph, after `change` has done something to its tables."""
    table = model_table(graph)
    if change is not None:
        change(table)
    return encode(table, IDENTIFIER)


def differences(one: Graph, other: Graph) -> list[str]:
    """In what two graphs differ: everything but what a node absorbed and how far weights may reach."""
    found = []
    if one.inputs != other.inputs:
        found.append(f"inputs: {one.inputs} and {other.inputs}")
    if one.outputs != other.outputs:
        found.append(f"outputs: {one.outputs} and {other.outputs}")
    if [node.name for node in one] != [node.name for node in other]:
        return [*found, f"names: {[node.name for node in one]} and {[node.name for node in other]}"]
    for a, b in zip(one, other, strict=True):
        for key in ("op", "inputs", "shape", "dtype", "qparams"):
            if getattr(a, key) != getattr(b, key):
                found.append(f"{a.name}.{key}: {getattr(a, key)} and {getattr(b, key)}")
        if dict(a.attrs) != dict(b.attrs):
            found.append(f"{a.name}.attrs: {dict(a.attrs)} and {dict(b.attrs)}")
        if a.params.keys() != b.params.keys() or any(not _equal(a.params[key], b.params[key]) for key in a.params):
            found.append(f"{a.name}.params: {dict(a.params)} and {dict(b.params)}")
        if a.param_qparams.keys() != b.param_qparams.keys() or any(
            not _same_scales(a.param_qparams[key], b.param_qparams[key]) for key in a.param_qparams
        ):
            found.append(f"{a.name}.param_qparams: {dict(a.param_qparams)} and {dict(b.param_qparams)}")
    return found


def canonical(graph: Graph) -> Graph:
    """The graph as a .tflite file can hold it: a bias everywhere, on the grid of its products; settings in float32."""

    def node(n: Node) -> Node:
        attrs = {key: float(np.float32(value)) if key in ("alpha", "beta") else value for key, value in n.attrs.items()}
        if "weight" not in n.params:
            return n.replace(attrs=attrs)
        axis = {"DEPTHWISE_CONV_2D": 3}.get(n.op, 0)
        bias = n.params.get("bias", np.zeros(n.params["weight"].shape[axis], np.int32))
        x, weight = graph.value(n.inputs[0]).qparams, n.param_qparams["weight"]
        assert x is not None
        products = np.broadcast_to(np.float32(x.scale) * np.float32(weight.scale), bias.shape)
        meaning = {"weight": weight, "bias": QParams(products, 0, -(2**31), 2**31 - 1, 0)}
        return n.replace(attrs=attrs, params={"weight": n.params["weight"], "bias": bias}, param_qparams=meaning)

    return Graph(graph.inputs, tuple(node(n) for n in graph), graph.outputs)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _same_scales(a: QParams, b: QParams) -> bool:
    return a.axis == b.axis and np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point)


# Damage


_WHOLE = (-(2**31), -128, -1, 0, 1, 2, 3, 5, 127, 255, 2**30, 2**31 - 1)
_REALS = (0.0, -1.0, 1.0, 1e-45, 1e-38, 1e20, 1e38, float("inf"), float("nan"))


def damage(table: Any, rng: random.Random) -> None:
    """Change one field somewhere in the tables of a file to something that the file does not mean."""
    entries = dataclasses.fields(table)
    if not entries:
        return
    entry = rng.choice(entries)
    value, kind = getattr(table, entry.name), entry.metadata["kind"]
    if isinstance(kind, list) and isinstance(kind[0], str):
        value = _damaged_vector(np.array(value), rng)
    elif isinstance(kind, list):
        if value and rng.random() < 0.9:
            damage(rng.choice(value), rng)
        elif value:
            value.pop(rng.randrange(len(value)))
    elif dataclasses.is_dataclass(value):
        if rng.random() < 0.9:
            damage(value, rng)
        else:
            value = None
    elif isinstance(kind, type):
        value = kind()
    elif kind == "string":
        value = rng.choice(["", "x", value + "#2", "\u20ac" * 40])
    elif kind == "union":
        value = None
    elif kind == "float32":
        value = rng.choice(_REALS)
    elif kind == "bool":
        value = not value
    else:
        limits = np.iinfo(kind)
        value = min(max(rng.choice(_WHOLE), int(limits.min)), int(limits.max))
    setattr(table, entry.name, value)


def _damaged_vector(array: np.ndarray, rng: random.Random) -> np.ndarray:
    """One number changed, or the length."""
    if array.size == 0 or rng.random() < 0.2:
        return rng.choice([array[:-1], array[:0], np.concatenate([array, array]), np.zeros(3, array.dtype)])
    place = rng.randrange(array.size)
    if array.dtype.kind == "f":
        array[place] = rng.choice(_REALS)
    elif array.dtype.itemsize == 1:
        array[place] = rng.randrange(256)
    else:
        array[place] = rng.choice(_WHOLE)
    return array
