"""Laws of the graph room: names and order, settings, the geometry of windows, and which graphs may run many rows at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinyquant.graph
from tinyquant.graph import ACTIVATIONS, OPS, Graph, Node, Value, count_macs, same_padding, window_count
from tinyquant.graph.operators import complete_attrs
from tinyquant.numerics.qparams import QParams

F32 = np.dtype(np.float32)
sizes, kernels, strides, dilations = st.integers(1, 20), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3)


def value(name: str, *shape: int) -> Value:
    """A float input."""
    return Value(name, shape, F32)


def node(name: str, op: str, inputs: Sequence[str], shape: Sequence[int], attrs: Any = None, **params: np.ndarray) -> Node:
    """A float node."""
    return Node(name, op, tuple(inputs), tuple(shape), attrs or {}, params)


# Geometry


@given(size=sizes, kernel=kernels, stride=strides, dilation=dilations)
def test_valid_counts_the_windows_that_lie_inside(size: int, kernel: int, stride: int, dilation: int) -> None:
    inside = [p for p in range(0, size, stride) if p + (kernel - 1) * dilation < size]
    assert window_count(size, kernel, stride, dilation, "valid") == len(inside)


@given(size=sizes, kernel=kernels, stride=strides, dilation=dilations)
def test_same_counts_one_window_for_every_stride_begun(size: int, kernel: int, stride: int, dilation: int) -> None:
    assert window_count(size, kernel, stride, dilation, "same") == len(range(0, size, stride))


@given(size=sizes, kernel=kernels, stride=strides, dilation=dilations)
@example(size=8, kernel=3, stride=2, dilation=1)
def test_same_padding_is_the_least_that_holds_every_window_the_odd_cell_after(
    size: int, kernel: int, stride: int, dilation: int
) -> None:
    """The smallest P >= 0 whose padded axis counts, by "valid", as many windows as "same"; before = P div 2."""
    wanted = window_count(size, kernel, stride, dilation, "same")
    least = next(p for p in range(200) if window_count(size + p, kernel, stride, dilation, "valid") >= wanted)
    assert same_padding(size, kernel, stride, dilation) == (least // 2, least - least // 2)


@pytest.mark.parametrize("padding", ["SAME", "VALID", "full", 1])
def test_an_unknown_padding_is_refused_not_read_as_valid(padding: Any) -> None:
    with pytest.raises(ValueError, match=f"padding must be 'same' or 'valid', got {padding!r}. Write explicit padding as a PAD"):
        window_count(4, 3, 1, 1, padding)


# The table


def test_the_room_gives_out_its_names() -> None:
    assert all(hasattr(tinyquant.graph, name) for name in tinyquant.graph.__all__)


@pytest.mark.parametrize("op", OPS)
def test_every_row_of_the_table_is_whole(op: str) -> None:
    row = OPS[op]
    assert row.meaning
    assert 0 <= row.arity[0] <= row.arity[1]
    assert row.qparams in ("free", "same", "fixed")
    assert (row.qparams == "fixed") == (row.fixed is not None)
    assert row.macs in ("none", "window", "depthwise", "scatter")
    assert (row.macs != "none") == ("weight" in row.params) == (row.weight_axis is not None)
    assert set(row.inexact) <= {"litert_ref", "litert_opt", "xnnpack"}, "tflm is the target: always exact"


@pytest.mark.parametrize("op", OPS)
def test_the_defaults_of_every_row_pass_their_own_checks(op: str) -> None:
    for check, default in OPS[op].attrs.values():
        if type(default) is not object:
            assert check(default) == default


def test_operators_that_golden_vectors_exist_for_have_rows() -> None:
    names = {path.stem for path in (Path(__file__).parent / "data" / "golden").glob("*.npz")} - {"scalar", "REQUANTIZE"}
    assert len(names) > 20
    assert all(OPS[name].integer for name in names)


def test_fixed_outputs_are_those_of_tflite() -> None:
    assert {name: row.fixed for name, row in OPS.items() if row.fixed} == {
        "LOGISTIC": (1 / 256, -128),
        "SOFTMAX": (1 / 256, -128),
        "TANH": (1 / 128, 0),
    }


def test_the_tables_cannot_be_written_to() -> None:
    for table in (OPS, ACTIVATIONS):
        with pytest.raises(TypeError):
            table["NEW"] = None  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        OPS["ADD"].macs = "window"  # type: ignore[misc]


def test_fused_activations_have_these_limits() -> None:
    assert dict(ACTIVATIONS) == {"none": (None, None), "relu": (0, None), "relu6": (0, 6), "relu_n1_to_1": (-1, 1)}


# Settings of a node


def test_settings_are_brought_to_one_form_and_defaults_filled_in() -> None:
    conv = complete_attrs("CONV_2D", {"stride": 2, "dilation": [1, np.int64(3)]})
    assert conv == {"stride": (2, 2), "padding": "valid", "dilation": (1, 3), "activation": "none"}
    assert complete_attrs("MEAN", {"axis": np.array([1, 2]), "keep_dims": 1}) == {"axis": (1, 2), "keep_dims": True}
    assert complete_attrs("MEAN", {"axis": ()})["axis"] == ()
    assert complete_attrs("PAD", {"paddings": [[0, 0], (1.0, 2)]}) == {"paddings": ((0, 0), (1, 2))}
    assert complete_attrs("MAX_POOL_2D", {"filter": [2]})["filter"] == (2, 2)
    assert complete_attrs("SOFTMAX", {"beta": np.float32(2)}) == {"beta": 2.0}
    assert [type(n) for n in complete_attrs("MEAN", {"axis": np.array([1])})["axis"]] == [int]


@pytest.mark.parametrize(
    ("op", "attrs", "message"),
    [
        ("CONV_2D", {"stride": 0}, r"attribute 'stride' must be one or two positive whole numbers, got 0\."),
        ("CONV_2D", {"stride": (1, 0)}, r"'stride' must be .*, got \(1, 0\)"),
        ("CONV_2D", {"stride": (1, 1, 1)}, r"'stride' must be .*, got \(1, 1, 1\)"),
        ("CONV_2D", {"stride": 1.5}, "'stride' must be .*, got 1.5"),
        ("CONV_2D", {"stride": "12"}, "'stride' must be .*, got '12'"),
        ("CONV_2D", {"stride": None}, "'stride' must be .*, got None"),
        ("CONV_2D", {"padding": "SAME"}, "'padding' must be 'same' or 'valid', got 'SAME'"),
        ("CONV_2D", {"padding": 1}, "'padding' must be 'same' or 'valid', got 1"),
        ("CONV_2D", {"activation": "relu7"}, "'activation' must be one of none, relu, relu6, relu_n1_to_1, got 'relu7'"),
        ("CONV_2D", {"activation": ["relu"]}, "'activation' must be .*, got "),
        ("MEAN", {"axis": (1.5,)}, r"'axis' must be a sequence of whole numbers, got \(1.5,\)"),
        ("MEAN", {"axis": "12"}, "'axis' must be a sequence of whole numbers, got '12'"),
        ("MEAN", {"axis": 1, "keep_dims": "false"}, "'keep_dims' must be true or false, got 'false'"),
        ("MEAN", {}, "MEAN must have the attribute 'axis', got none. Give a sequence of whole numbers"),
        ("PAD", {"paddings": [(0, -1)]}, "'paddings' must be a .*before, after.* pair of whole numbers, 0 or more"),
        ("PAD", {"paddings": [(0, 1.5)]}, "'paddings' must be "),
        ("PAD", {"paddings": [(0, 1, 2)]}, "'paddings' must be "),
        ("PAD", {"paddings": 1}, "'paddings' must be "),
        ("CONCATENATION", {"axis": float("inf")}, "'axis' must be a whole number, got inf"),
        ("CONCATENATION", {"axis": float("nan")}, "'axis' must be a whole number, got nan"),
        ("CONCATENATION", {"axis": 0.5}, "'axis' must be a whole number, got 0.5"),
        ("SOFTMAX", {"beta": float("nan")}, "'beta' must be a finite real number, got nan"),
        ("SOFTMAX", {"beta": "1"}, "'beta' must be a finite real number, got '1'"),
        ("SOFTMAX", {"gamma": 1, "alpha": 2}, r"must have attributes of \['beta'\] only, got \['alpha', 'gamma'\]. Leave"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_nodes_name(op: str, attrs: dict[str, Any], message: str) -> None:
    inputs = ["x"] * OPS[op].arity[0]
    with pytest.raises(ValueError, match=rf"^node 'block1\.n': .*{message}"):
        node("block1.n", op, inputs, (1, 4), attrs)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"op": "Relu"}, ValueError, "node 'n': op must be one of CONSTANT, CONV_2D, .*, got 'Relu'"),
        ({"params": {"weight": np.zeros(3)}}, ValueError, r"node 'n': RELU must own arrays of \[\] only, got \['weight'\]"),
        ({"inputs": ()}, ValueError, "node 'n': RELU must have 1 to 1 inputs, got 0"),
        ({"inputs": ("x", "y")}, ValueError, "node 'n': RELU must have 1 to 1 inputs, got 2"),
        ({"inputs": "x"}, TypeError, r"inputs must be a sequence of names, got the string 'x'. Write \('x',\)"),
        ({"absorbed": "bn"}, TypeError, "absorbed must be a sequence of names, got the string 'bn'"),
        ({"shape": (1, 2.5)}, ValueError, r"a shape must be whole numbers, 0 or more, got \(1, 2.5\) for 'n'. Give the declared"),
        ({"shape": (-1, 2)}, ValueError, r"a shape must be whole numbers, 0 or more, got \(-1, 2\) for 'n'"),
    ],
)
def test_an_impossible_node_is_refused(fields: dict[str, Any], error: type[Exception], message: str) -> None:
    good: dict[str, Any] = {"name": "n", "op": "RELU", "inputs": ("x",), "shape": (1, 2)}
    assert Node(**good).name == "n"
    with pytest.raises(error, match=message):
        Node(**good | fields)


def test_a_node_holds_tuples_ints_and_arrays_that_cannot_be_written_through_it() -> None:
    weight = np.zeros((2, 3), np.float32)
    fc = Node("fc", "FULLY_CONNECTED", ["x"], np.array([1, 2]), {}, {"weight": weight}, dtype=np.int8, absorbed=["bn"])  # type: ignore[arg-type]
    assert (fc.inputs, fc.shape, fc.dtype, fc.absorbed) == (("x",), (1, 2), np.dtype(np.int8), ("bn",))
    assert [type(n) for n in fc.shape] == [int, int]
    with pytest.raises(ValueError, match="read-only"):
        fc.params["weight"][0] = 1
    assert weight.flags.writeable
    for mapping in (fc.attrs, fc.params, fc.param_qparams):
        with pytest.raises(TypeError):
            mapping["new"] = 1  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        fc.name = "other"  # type: ignore[misc]


def test_the_caller_s_dictionaries_may_change_afterwards() -> None:
    attrs, params, meaning = {"activation": "relu"}, {"weight": np.zeros((2, 3))}, {"weight": QParams(1.0, 0)}
    fc = Node("fc", "FULLY_CONNECTED", ("x",), (1, 2), attrs, params, param_qparams=meaning)
    attrs["activation"], params["bias"] = "none", np.zeros(2)
    meaning.clear()
    assert (fc.attrs["activation"], set(fc.params), set(fc.param_qparams)) == ("relu", {"weight"}, {"weight"})


def test_replace_changes_what_is_named_and_checks_again() -> None:
    pool = node("p", "MAX_POOL_2D", ["x"], (1, 2, 2, 3), {"filter": 2, "stride": 2})
    other = pool.replace(name="q", qparams=QParams(0.5, 0))
    assert (other.name, other.qparams, other.attrs, other.shape) == ("q", QParams(0.5, 0), pool.attrs, pool.shape)
    assert (pool.name, pool.qparams) == ("p", None)
    with pytest.raises(ValueError, match="op must be one of"):
        pool.replace(op="POOL")


def test_nodes_are_equal_when_they_are_the_same_object() -> None:
    """Comparing fields would compare arrays, which have no single truth; and a node can be a key."""
    one, same = (node("fc", "FULLY_CONNECTED", ["x"], (1, 2), weight=np.zeros((2, 3))) for _ in range(2))
    assert one == one and one != same
    assert len({one, same}) == 2


def test_a_value_holds_a_tuple_and_a_dtype_and_is_compared_by_contents() -> None:
    x = Value("x", [1, np.int64(4)], np.int8, QParams(0.5, 0))  # type: ignore[arg-type]
    assert (x.shape, x.dtype.itemsize) == ((1, 4), 1)
    assert x == Value("x", (1, 4), np.dtype("int8"), QParams(0.5, 0))
    assert x != Value("x", (1, 4), np.dtype("int8"), QParams(0.25, 0))
    with pytest.raises(ValueError, match=r"a shape must be whole numbers, 0 or more, got \(-1, 4\) for 'x'"):
        value("x", -1, 4)


# The graph


def small_graph() -> Graph:
    """x -> a -> b; (a, b) -> c."""
    nodes = [node("a", "RELU", ["x"], (2, 3)), node("b", "TANH", ["a"], (2, 3)), node("c", "ADD", ["a", "b"], (2, 3))]
    return Graph([value("x", 2, 3)], nodes, ["c"])  # type: ignore[arg-type]


def test_a_graph_is_read_by_name_and_in_order() -> None:
    graph = small_graph()
    assert [n.name for n in graph] == ["a", "b", "c"]
    assert (len(graph), graph.batch) == (3, 2)
    assert graph.node("b").op == "TANH"
    assert [n.name for n in graph.consumers("a")] == ["b", "c"]
    assert [n.name for n in graph.consumers("x")] == ["a"]
    assert [n.name for n in graph.consumers("b")] == ["c"]
    assert graph.consumers("c") == ()
    assert (graph.value("x"), graph.value("c")) == (value("x", 2, 3), Value("c", (2, 3), F32))
    assert all(type(part) is tuple for part in (graph.inputs, graph.nodes, graph.outputs))


def test_the_value_of_a_node_carries_its_type_and_qparams() -> None:
    codes = node("a", "RELU", ["x"], (2, 3)).replace(dtype=np.dtype(np.int8), qparams=QParams(0.5, 0))
    assert Graph((value("x", 2, 3),), (codes,), ("a",)).value("a") == Value("a", (2, 3), np.dtype(np.int8), QParams(0.5, 0))


def test_a_name_that_is_not_there_is_answered_with_those_that_are() -> None:
    for ask in (small_graph().node, small_graph().value):
        with pytest.raises(KeyError, match="no node is called 'd'; there are a, b, c"):
            ask("d")


def test_the_batch_of_a_scalar_input_and_of_no_input_is_one() -> None:
    assert Graph((value("x"),), (), ("x",)).batch == 1
    assert Graph((), (), ()).batch == 1


@pytest.mark.parametrize(
    ("inputs", "nodes", "outputs", "message"),
    [
        (["x", "x"], [], [], "names must be unique, got 'x' twice. Number the second: 'x#2'"),
        (["x"], [("x", ["x"])], [], "names must be unique, got 'x' twice"),
        (["x"], [("a", ["x"]), ("a", ["x"])], [], "names must be unique, got 'a' twice. Number the second: 'a#2'"),
        (["x"], [("a", ["b"]), ("b", ["x"])], [], r"node 'a': inputs must be made earlier, got \['b'\]. Put nodes in"),
        (["x"], [("a", ["a"])], [], r"node 'a': inputs must be made earlier, got \['a'\]"),
        (["x"], [("a", ["x"])], ["b"], r"outputs must be made by the graph, got \['b'\]. It makes a, x"),
    ],
)
def test_names_are_unique_and_made_before_they_are_read(
    inputs: list[str], nodes: list[tuple[str, list[str]]], outputs: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Graph(tuple(value(n, 1) for n in inputs), tuple(node(n, "RELU", reads, (1,)) for n, reads in nodes), tuple(outputs))


def test_a_bare_string_is_not_taken_apart_into_output_names() -> None:
    with pytest.raises(TypeError, match=r"outputs must be a sequence of names, got the string 'x'. Write \('x',\)"):
        Graph((value("x", 1),), (), "x")  # type: ignore[arg-type]


# Counting


def test_multiply_accumulates_are_output_cells_times_the_weights_each_reads() -> None:
    """Counted by hand; a transposed convolution spreads every input cell over a window and all output channels."""
    nodes = (
        node("conv", "CONV_2D", ["x"], (2, 5, 4, 8), {"padding": "same"}, weight=np.ones((8, 3, 2, 6))),
        node("group", "CONV_2D", ["x"], (2, 5, 4, 8), {"padding": "same"}, weight=np.ones((8, 3, 2, 3))),
        node("dw", "DEPTHWISE_CONV_2D", ["x"], (2, 5, 4, 12), {"depth_multiplier": 2}, weight=np.ones((1, 3, 2, 12))),
        node("up", "TRANSPOSE_CONV", ["x"], (2, 10, 8, 7), {"stride": 2}, weight=np.ones((7, 3, 2, 6))),
        node("fc", "FULLY_CONNECTED", ["x"], (2, 9), weight=np.ones((9, 120))),
        node("add", "ADD", ["x", "x"], (2, 5, 4, 6)),
    )
    assert count_macs(Graph((value("x", 2, 5, 4, 6),), nodes, ("add",))) == {
        "conv": 2 * 5 * 4 * 8 * (3 * 2 * 6),
        "group": 2 * 5 * 4 * 8 * (3 * 2 * 3),
        "dw": 2 * 5 * 4 * 12 * (3 * 2),
        "up": 2 * 5 * 4 * 6 * (3 * 2 * 7),
        "fc": 2 * 9 * 120,
        "add": 0,
    }
