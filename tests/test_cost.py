"""Costs: bytes, multiply-accumulates and the peak of activation memory, counted by hand and by a simulation that frees memory."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from integer_strategies import INT8, Drawn, networks

from tinyquant.analysis.cost import Cost, cost
from tinyquant.graph import Graph, Node, Value
from tinyquant.interop import load_tflite
from tinyquant.numerics.qparams import QParams

QP = QParams(1.0, 0)


def value(name: str, *shape: int, dtype: Any = INT8) -> Value:
    """An input."""
    return Value(name, shape, dtype, QP)


def node(name: str, op: str, inputs: str, *shape: int, **fields: Any) -> Node:
    """A node; inputs separated by spaces."""
    return Node(name, op, tuple(inputs.split()), shape, qparams=QP, dtype=fields.pop("dtype", INT8), **fields)


def graph(inputs: list[Value], nodes: list[Node], outputs: str) -> Cost:
    """The cost of a graph."""
    return cost(Graph(tuple(inputs), tuple(nodes), tuple(outputs.split())))


def live(found: Cost) -> list[int]:
    """Live bytes, node by node."""
    return [row.live_bytes for row in found.nodes]


def test_in_a_chain_a_node_needs_its_input_and_its_output() -> None:
    found = graph(
        [value("x", 1, 100)],
        [node("a", "RELU", "x", 1, 100), node("m", "MEAN", "a", 1, attrs={"axis": 1})],
        "m",
    )
    assert live(found) == [200, 101] and (found.peak_bytes, found.peak_node) == (200, "a")
    plan = [(b.values, b.nbytes, b.first, b.last) for b in found.buffers]
    assert plan == [(("x",), 100, 0, 0), (("a",), 100, 0, 1), (("m",), 1, 1, 1)]


def test_a_shortcut_is_kept_until_it_is_added() -> None:
    a, b = node("a", "RELU", "x", 1, 10), node("b", "RELU", "a", 1, 10)
    nodes = [a, b, node("c", "ADD", "b x", 1, 10), node("d", "RELU", "c", 1, 10)]
    found = graph([value("x", 1, 10)], nodes, "d")
    assert live(found) == [20, 30, 30, 20] and found.peak_node == "b"
    assert found.nodes[1].live == ("x", "a", "b")


def test_an_output_is_kept_to_the_end_whether_read_or_not() -> None:
    nodes = [node("a", "RELU", "x", 1, 10), node("b", "RELU", "a", 1, 10), node("c", "RELU", "b", 1, 10)]
    assert live(graph([value("x", 1, 10)], nodes, "a c")) == [20, 20, 30]


def test_a_value_that_nobody_reads_lives_while_it_is_made() -> None:
    nodes = [node("a", "RELU", "x", 1, 10), node("lost", "RELU", "x", 1, 10), node("b", "RELU", "a", 1, 10)]
    assert live(graph([value("x", 1, 10), value("unread", 1, 7)], nodes, "b")) == [27, 30, 20]


def test_a_reshape_lies_where_its_input_lies() -> None:
    nodes = [
        node("a", "RELU", "x", 1, 4, 5),
        node("flat", "RESHAPE", "a", 1, 20, attrs={"new_shape": (1, 20)}),
        node("back", "RESHAPE", "flat", 1, 5, 4, attrs={"new_shape": (1, 5, 4)}),
        node("b", "RELU", "back", 1, 5, 4),
        node("c", "ADD", "x b", 1, 5, 4),
    ]
    found = graph([value("x", 1, 5, 4)], nodes, "c")
    assert live(found) == [40, 40, 40, 60, 60]
    assert found.buffers[1].values == ("a", "flat", "back") and (
        found.buffers[1].first,
        found.buffers[1].last,
    ) == (0, 3)


def test_constants_are_parameters_and_take_no_activation_memory() -> None:
    nodes = [
        node("k", "CONSTANT", "", 1, 30, params={"value": np.zeros((1, 30), np.int8)}),
        node("kk", "RESHAPE", "k", 30, attrs={"new_shape": (30,)}),
        node("y", "ADD", "x kk", 1, 30),
    ]
    found = graph([value("x", 1, 30)], nodes, "y")
    assert (
        live(found) == [30, 30, 60] and found.parameter_bytes == 30 and found.nodes[0].parameter_bytes == 30
    )


def test_bytes_follow_the_dtype() -> None:
    nodes = [
        node("q", "QUANTIZE", "x", 1, 10),
        Node("y", "DEQUANTIZE", ("q",), (1, 10), dtype=np.dtype(np.float32)),
    ]
    found = graph([Value("x", (1, 10), np.dtype(np.float32))], nodes, "y")
    assert live(found) == [50, 50] and [row.output_bytes for row in found.nodes] == [10, 40]


def test_weights_and_biases_are_counted_as_stored() -> None:
    params = {"weight": np.zeros((4, 3, 3, 2), np.int8), "bias": np.zeros(4, np.int32)}
    conv = node("conv", "CONV_2D", "x", 1, 6, 6, 4, params=params, attrs={"padding": "same"})
    found = graph([value("x", 1, 6, 6, 2)], [conv], "conv")
    assert (found.parameter_bytes, found.macs, found.peak_bytes) == (72 + 16, 6 * 6 * 4 * 18, 72 + 144)


def test_a_graph_without_nodes_holds_its_inputs() -> None:
    found = graph([value("x", 1, 10)], [], "x")
    assert (found.peak_bytes, found.peak_node, found.nodes, found.macs) == (10, "", (), 0)


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="network must be a Graph or an IntegerModel, got int"):
        cost(3)  # type: ignore[arg-type]


def simulated_peak(drawn: Graph) -> int:
    """Memory as a program would use it: take a place for an output, give places back when their last reader is done."""
    place, size = {v.name: v.name for v in drawn.inputs}, {v.name: prod(v.shape) for v in drawn.inputs}
    held, peak = set(size), sum(size.values())
    for i, n in enumerate(drawn.nodes):
        if n.op == "RESHAPE" and n.inputs[0] in place:
            place[n.name] = place[n.inputs[0]]
        elif n.op not in ("CONSTANT", "RESHAPE"):
            place[n.name], size[n.name] = n.name, prod(n.shape)
            held.add(n.name)
        peak = max(peak, sum(size[name] for name in held))
        wanted = {place[name] for later in drawn.nodes[i + 1 :] for name in later.inputs if name in place}
        wanted |= {place[name] for name in drawn.outputs if name in place}
        held &= wanted
    return peak


@settings(max_examples=60)
@given(drawn=networks())
def test_the_peak_is_that_of_a_program_that_frees_what_it_no_longer_needs(drawn: Drawn) -> None:
    found = cost(drawn.graph)
    assert found.peak_bytes == simulated_peak(drawn.graph)
    assert found.peak_bytes == next(row.live_bytes for row in found.nodes if row.name == found.peak_node)


@settings(max_examples=30)
@given(drawn=networks())
def test_every_value_has_one_place_or_is_stored(drawn: Drawn) -> None:
    places = Counter(name for buffer in cost(drawn.graph).buffers for name in buffer.values)
    assert set(places.values()) == {1}
    assert {n.name for n in drawn.graph if n.op not in ("CONSTANT", "RESHAPE")} <= set(places)


@pytest.mark.parametrize(
    ("name", "parameters", "macs", "peak"),
    [
        ("hello_world_int8", 420, 288, 32),
        ("ad01_int8", 270880, 264192, 768),
        ("micro_speech_quantized", 16688, 336000, 1960 + 4000),
        ("pretrainedResnet_quant", 78744, 12501632, 3 * 32 * 32 * 16),
        ("person_detect", 218920, 7157888, 48 * 48 * (8 + 16)),
    ],
)
def test_real_models(name: str, parameters: int, macs: int, peak: int, models_dir: Any) -> None:
    """Peaks by hand: the two widest neighbours, and in the residual network three maps at once."""
    m = load_tflite(models_dir / f"{name}.tflite")
    found = cost(m)
    assert (found.parameter_bytes, found.macs, found.peak_bytes) == (parameters, macs, peak)
    assert found.parameter_bytes == m.nbytes
