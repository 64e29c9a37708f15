"""Which graphs may run many rows at once, against a small interpreter that tries it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyquant.graph import Graph, Node, Value

Shape = tuple[int, ...]

RANDOM_OPS = [
    "CONSTANT", "ADD", "MUL", "RESHAPE", "FULLY_CONNECTED", "CONCATENATION", "TRANSPOSE", "PAD", "SUM", "SOFTMAX", "RELU",
]  # fmt: skip


def value(name: str, *shape: int) -> Value:
    """A float input."""
    return Value(name, shape, np.dtype(np.float32))


def node(name: str, op: str, inputs: Sequence[str], shape: Sequence[int], attrs: Any = None, **params: np.ndarray) -> Node:
    """A float node."""
    return Node(name, op, tuple(inputs), tuple(shape), attrs or {}, params)


def run(graph: Graph, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """A float interpreter of the few operators that the random graphs below are made of, for any number of rows."""
    made = dict(arrays)
    for n in graph:
        x = [made[name] for name in n.inputs]
        free = (-1, *n.shape[1:]) if n.shape else ()
        if n.op == "CONSTANT":
            out = n.params["value"]
        elif n.op in ("ADD", "MUL"):
            out = x[0] + x[1] if n.op == "ADD" else x[0] * x[1]
        elif n.op == "RESHAPE":
            out = x[0].reshape(free)
        elif n.op == "FULLY_CONNECTED":
            out = (x[0].reshape(-1, n.params["weight"].shape[1]) @ n.params["weight"].T).reshape(free)
        elif n.op == "CONCATENATION":
            out = np.concatenate(x, n.attrs["axis"])
        elif n.op == "TRANSPOSE":
            out = x[0].transpose(n.attrs["perm"])
        elif n.op == "PAD":
            out = np.pad(x[0], n.attrs["paddings"])
        elif n.op == "SUM":
            out = x[0].sum(n.attrs["axis"], keepdims=n.attrs["keep_dims"])
        elif n.op == "SOFTMAX":
            out = x[0] - x[0].max(-1, keepdims=True)
        else:
            out = np.maximum(x[0], 0)
        made[n.name] = out
    return [made[name] for name in graph.outputs]


def declared_shape(made: Node, shapes: dict[str, Shape]) -> Shape:
    """The shape that the node gives for inputs of the declared shapes."""
    inputs = tuple(value(name, *shapes[name]) for name in dict.fromkeys(made.inputs))
    zeros = {v.name: np.zeros(v.shape) for v in inputs}
    return run(Graph(inputs, (made,), (made.name,)), zeros)[0].shape


@st.composite
def nodes_reading(draw: st.DrawFn, name: str, shapes: dict[str, Shape], batch: int) -> Node | None:
    """One node that reads values of the given shapes, its own shape still open; None when the operator takes none of them."""
    first, second = (draw(st.sampled_from(list(shapes))) for _ in range(2))
    shape, size = shapes[first], prod(shapes[first])
    op = draw(st.sampled_from(RANDOM_OPS))
    if op == "CONSTANT":
        shape = tuple(draw(st.lists(st.integers(1, 2), max_size=3)))
        return node(name, op, [], shape, value=np.arange(1.0, 1 + prod(shape)).reshape(shape))
    if op in ("ADD", "MUL"):
        return node(name, op, [first, second], ())
    if op == "RESHAPE":
        forms = [(size,), (1, size), (size, 1), (batch, size // batch), (2, size // 2)]
        new = draw(st.sampled_from([form for form in forms if prod(form) == size]))
        return node(name, op, [first], new, {"new_shape": new})
    if not shape:
        return None
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    if op == "CONCATENATION":
        return node(name, op, [first, second], (), {"axis": axis}) if len(shapes[second]) == len(shape) else None
    if op == "FULLY_CONNECTED":
        depth = draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
        keep = depth == shape[-1] and len(shape) > 1 and draw(st.booleans())
        out = (*shape[:-1], 2) if keep else (size // depth, 2)
        return node(name, op, [first], out, {"keep_num_dims": keep}, weight=np.arange(1.0, 1 + 2 * depth).reshape(2, depth))
    attrs = {
        "TRANSPOSE": {"perm": draw(st.permutations(range(len(shape))))},
        "PAD": {"paddings": [(0, draw(st.sampled_from([0, 0, 1]))) for _ in shape]},
        "SUM": {"axis": [axis], "keep_dims": draw(st.booleans())},
    }
    return node(name, op, [first], shape, attrs.get(op))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to six operators over small shapes, in which rows, columns and the batch are easily mistaken for each other."""
    batch = draw(st.integers(1, 2))
    dims = st.lists(st.integers(1, 2), max_size=2)
    inputs = [value(f"x{i}", batch, *draw(dims)) for i in range(draw(st.integers(1, 2)))]
    if draw(st.integers(0, 9)) == 0:
        inputs.append(value("odd", *draw(dims)))
    shapes = {v.name: v.shape for v in inputs}
    nodes: list[Node] = []
    for i in range(draw(st.integers(0, 6))):
        made = draw(nodes_reading(f"n{i}", shapes, batch))
        try:
            shape = declared_shape(made, shapes) if made else None
        except ValueError:  # two shapes that do not broadcast, or do not join
            continue
        if made and shape is not None:
            shapes[made.name] = shape
            nodes.append(made.replace(shape=shape))
    outputs = draw(st.lists(st.sampled_from(list(shapes)), min_size=1, max_size=2))
    return Graph(tuple(inputs), tuple(nodes), tuple(outputs))


@settings(max_examples=300)
@given(graph=graphs())
def test_independent_rows_may_be_run_together(graph: Graph) -> None:
    """rows_are_independent() implies: one run of 3 batches = the 3 runs, concatenated, for every output."""
    if not graph.rows_are_independent():
        return
    rng = np.random.default_rng(0)
    batches = [{v.name: rng.integers(-9, 9, v.shape).astype(float) for v in graph.inputs} for _ in range(3)]
    together = run(graph, {name: np.concatenate([b[name] for b in batches]) for name in batches[0]})
    apart = [run(graph, b) for b in batches]
    for i, rows in enumerate(together):
        np.testing.assert_array_equal(rows, np.concatenate([outputs[i] for outputs in apart]))


CHANNELS = np.ones(4)
ROW = np.ones((1, 4))
TABLE = np.ones((2, 4))

ROWS = [
    ("an input alone", 2, [], True),
    ("elementwise", 2, [node("y", "RELU", ["x"], (2, 4))], True),
    ("two growing values", 2, [node("y", "ADD", ["x", "x"], (2, 4))], True),
    ("a scalar added", 2, [node("c", "CONSTANT", [], (), value=np.ones(())), node("y", "ADD", ["x", "c"], (2, 4))], True),
    ("a channel vector added", 2, [node("c", "CONSTANT", [], (4,), value=CHANNELS), node("y", "MUL", ["c", "x"], (2, 4))], True),
    ("one constant row added", 2, [node("c", "CONSTANT", [], (1, 4), value=ROW), node("y", "SUB", ["x", "c"], (2, 4))], True),
    ("a constant row a row", 2, [node("c", "CONSTANT", [], (2, 4), value=TABLE), node("y", "ADD", ["x", "c"], (2, 4))], False),
    (
        "a constant reshaped before it is added",
        2,
        [
            node("c", "CONSTANT", [], (4,), value=CHANNELS),
            node("d", "RESHAPE", ["c"], (1, 4), {"new_shape": (1, 4)}),
            node("y", "ADD", ["x", "d"], (2, 4)),
        ],
        True,
    ),
    (
        "a constant joined to the rows",
        1,
        [node("c", "CONSTANT", [], (1, 4), value=ROW), node("y", "CONCATENATION", ["x", "c"], (1, 8), {"axis": 1})],
        False,
    ),
    ("a constant as an output", 1, [node("y", "CONSTANT", [], (1, 4), value=ROW)], False),
    ("joined along the channels", 2, [node("y", "CONCATENATION", ["x", "x"], (2, 8), {"axis": -1})], True),
    ("joined along the rows", 2, [node("y", "CONCATENATION", ["x", "x"], (4, 4), {"axis": 0})], False),
    ("cells of a row moved", 2, [node("y", "RESHAPE", ["x"], (2, 2, 2), {"new_shape": (2, 2, 2)})], True),
    ("rows cut in two", 2, [node("y", "RESHAPE", ["x"], (4, 2), {"new_shape": (4, 2)})], False),
    ("rows and columns exchanged", 4, [node("y", "TRANSPOSE", ["x"], (4, 4), {"perm": (1, 0)})], False),
    ("rows kept by a transposition", 2, [node("y", "TRANSPOSE", ["x"], (2, 4), {"perm": (0, 1)})], True),
    ("the mean over columns", 2, [node("y", "MEAN", ["x"], (2,), {"axis": -1})], True),
    ("the mean over rows", 1, [node("y", "MEAN", ["x"], (1, 4), {"axis": -2, "keep_dims": True})], False),
    ("columns added", 2, [node("y", "PAD", ["x"], (2, 6), {"paddings": [(0, 0), (1, 1)]})], True),
    ("a row added", 2, [node("y", "PAD", ["x"], (3, 4), {"paddings": [(0, 1), (0, 0)]})], False),
    ("softmax along columns", 2, [node("y", "SOFTMAX", ["x"], (2, 4))], True),
    (
        "softmax of one axis",
        2,
        [node("m", "MEAN", ["x"], (2,), {"axis": 1}), node("y", "SOFTMAX", ["m"], (2,))],
        False,
    ),
    ("a layer", 2, [node("y", "FULLY_CONNECTED", ["x"], (2, 3), weight=np.ones((3, 4)))], True),
    ("a layer that reads half rows", 2, [node("y", "FULLY_CONNECTED", ["x"], (4, 3), weight=np.ones((3, 2)))], False),
    ("a layer that reads all rows at once", 2, [node("y", "FULLY_CONNECTED", ["x"], (1, 3), weight=np.ones((3, 8)))], False),
]


@pytest.mark.parametrize(("batch", "nodes", "answer"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_which_graphs_have_independent_rows(batch: int, nodes: list[Node], answer: bool) -> None:
    graph = Graph((value("x", batch, 4),), tuple(nodes), ("y" if nodes else "x",))
    assert graph.rows_are_independent() is answer


def test_a_second_input_must_have_as_many_rows_and_as_many_axes() -> None:
    """(1, 4) beside (1, 4, 4) broadcasts to (1, 4, 4), yet its row would meet the other's columns once there are several."""
    for shape, answer in (((1, 4, 4), True), ((1, 4), False), ((4, 4), False), ((), False)):
        graph = Graph((value("x", 1, 4, 4), value("z", *shape)), (node("y", "ADD", ["x", "z"], (1, 4, 4)),), ("y",))
        assert graph.rows_are_independent() is answer


def test_windows_and_pools_keep_rows_apart() -> None:
    nodes = [
        node("c", "CONV_2D", ["x"], (2, 4, 4, 3), {"padding": "same"}, weight=np.ones((3, 3, 3, 1))),
        node("d", "DEPTHWISE_CONV_2D", ["c"], (2, 4, 4, 3), {"padding": "same"}, weight=np.ones((1, 3, 3, 3))),
        node("t", "TRANSPOSE_CONV", ["d"], (2, 8, 8, 2), {"stride": 2, "padding": "same"}, weight=np.ones((2, 2, 2, 3))),
        node("p", "MAX_POOL_2D", ["t"], (2, 4, 4, 2), {"filter": 2, "stride": 2}),
        node("y", "AVERAGE_POOL_2D", ["p"], (2, 1, 1, 2), {"filter": 4}),
    ]
    assert Graph((value("x", 2, 4, 4, 1),), tuple(nodes), ("y",)).rows_are_independent()
