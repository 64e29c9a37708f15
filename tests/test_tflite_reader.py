"""A .tflite file is believed only when it agrees with itself: names, structure, refusals, and what damage cannot do."""

from __future__ import annotations

import dataclasses
import random
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("flatbuffers", reason="flatbuffers is not installed (extra `tflite`)")

from interop_cases import HALF, Sketchbook, canonical, damage, differences, file_of, small_inputs, small_model
from runtimes import NOT_INSTALLED

from tinyquant.graph import Graph
from tinyquant.integer.model import IntegerModel
from tinyquant.interop import TFLiteError, load_tflite, tflite_names, tflite_schema
from tinyquant.interop.flatbuffer import Decoder, encode, slot
from tinyquant.interop.tflite_reader import tflite_graph
from tinyquant.interop.tflite_schema import (
    IDENTIFIER,
    LAYOUTS,
    BufferTable,
    ModelTable,
    OperatorCodeTable,
    OperatorTable,
    QuantizationTable,
    SubGraphTable,
    TensorTable,
)
from tinyquant.interop.tflite_writer import model_table
from tinyquant.numerics.qparams import QParams

SMALL = small_model()
SMALL_FILE = file_of(SMALL)


def chain(*ops: str) -> Graph:
    """Elementwise operators in a row on x."""
    book = Sketchbook()
    last = book.input("x", (1, 4))
    for i, op in enumerate(ops):
        last = book.node(f"n{i}", op, (last,), (1, 4), HALF)
    return book.graph(last)


def dense(bias: bool = True, per_channel: bool = False) -> Graph:
    """One FULLY_CONNECTED, 3 units on 4 inputs."""
    book = Sketchbook()
    x = book.input("x", (1, 4))
    params: dict[str, Any] = {"weight": book.weight(3, 4)} | ({"bias": book.bias(3)} if bias else {})
    qp = book.scales(3, 0) if per_channel else QParams(0.25, 0, -127, 127)
    return book.graph(book.node("y", "FULLY_CONNECTED", (x,), (1, 3), weight_qp=qp, **params))


def conv() -> Graph:
    """One CONV_2D with all its settings."""
    book = Sketchbook()
    x = book.input("x", (1, 6, 5, 2))
    weight = book.weight(3, 2, 2, 2)
    params = {"weight": weight, "bias": book.bias(3), "weight_qp": book.scales(3, 0)}
    return book.graph(book.node("y", "CONV_2D", (x,), (1, 3, 5, 3), stride=(2, 1), padding="same", **params))


def tensor(table: ModelTable, name: str) -> TensorTable:
    """A tensor of the file by its name."""
    return next(t for t in table.subgraphs[0].tensors if t.name == name)


def refused(graph: Graph, change: Callable[[ModelTable], object], match: str) -> str:
    """Loading the changed file of the graph raises a TFLiteError of one or two sentences; returns it."""
    with pytest.raises(TFLiteError, match=match) as caught:
        load_tflite(file_of(graph, change))
    message = str(caught.value)
    assert message.startswith("these ") and message.rstrip().endswith((".", ")")), message
    return message


# What comes of a file


@dataclasses.dataclass
class Point:
    """A table to try the reading and writing of tables on."""

    x: int = slot(0, "int32", 7)
    path: np.ndarray = slot(2, ["int64"])
    name: str = slot(1, "string")
    near: Any = slot(4, "union")


def test_a_declared_table_is_read_as_it_was_written_and_defaults_take_no_place() -> None:
    point = Point(-(2**31), np.array([2**62, -3]), "\u20ac", Point(x=3))
    read = Decoder(encode(point, b"DEMO")).root(Point, b"DEMO")
    assert (read.x, read.path.tolist(), read.name) == (point.x, [2**62, -3], "\u20ac")
    assert Decoder(encode(point, b"DEMO")).table(read.near, Point).x == 3
    empty = Decoder(encode(Point(), b"DEMO")).root(Point, b"DEMO")
    assert (empty.x, empty.path.tolist(), empty.name, empty.near) == (7, [], "", None)
    assert len(encode(Point(x=7), b"DEMO")) < len(encode(Point(x=8), b"DEMO"))


def test_a_model_comes_back_as_it_was_written() -> None:
    model = load_tflite(SMALL_FILE)
    # The constant is made where it is first read, which is where small_model has it.
    assert differences(canonical(SMALL), model.graph) == []
    for ours, theirs in zip(IntegerModel(SMALL).run(small_inputs()), model.run(small_inputs()), strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_a_path_its_text_and_the_bytes_are_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(SMALL_FILE)
    for source in (path, str(path), SMALL_FILE, bytearray(SMALL_FILE), memoryview(SMALL_FILE)):
        assert differences(canonical(SMALL), load_tflite(source).graph) == []  # type: ignore[arg-type]


def test_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="source must be a path or the bytes of a .tflite file, got int"):
        load_tflite(3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        load_tflite(tmp_path / "none.tflite")
    path = tmp_path / "other.tflite"
    path.write_bytes(b"hello, world")
    with pytest.raises(TFLiteError, match="'other.tflite': a .tflite file must carry TFL3 in bytes 4 to 7, got b'o, w'"):
        load_tflite(path)
    monkeypatch.setattr("tinyquant.interop.tflite_reader.LARGEST_FILE", 11)
    with pytest.raises(TFLiteError, match="'other.tflite': a .tflite file must be at most 11 bytes, got 12"):
        load_tflite(path)


def test_a_node_is_named_by_its_output_tensor_and_repeats_are_counted() -> None:
    """Inputs first, then in execution order: a, a -> a, a#2; a name that is taken by then is passed over."""

    def change(table: ModelTable) -> None:
        for t, name in zip(table.subgraphs[0].tensors, ["a", "a#2", "a", "", "a", "tensor3"], strict=True):
            t.name = name

    graph = tflite_graph(file_of(chain(*["RELU"] * 5), change))
    assert [graph.inputs[0].name, *(node.name for node in graph)] == ["a", "a#2", "a#3", "tensor3", "a#4", "tensor3#2"]
    assert graph.outputs == ("tensor3#2",)
    assert [node.inputs for node in graph] == [("a",), ("a#2",), ("a#3",), ("tensor3",), ("a#4",)]


def test_names_that_are_not_utf8_still_load() -> None:
    data = file_of(chain("RELU"), lambda table: setattr(table.subgraphs[0].tensors[1], "name", "QQQQ"))
    graph = tflite_graph(data.replace(b"QQQQ", b"\xff\xfe\x00\x80"))
    assert graph.nodes[0].name == b"\xff\xfe\x00\x80".decode("utf-8", "replace")


def test_a_constant_activation_becomes_one_node_before_its_first_reader() -> None:
    book = Sketchbook()
    x = book.input("x", (1, 4))
    y = book.node("y", "RELU", (x,), (1, 4))
    c = book.node("c", "CONSTANT", (), (4,), value=np.arange(4, dtype=np.int8))
    z = book.node("z", "ADD", (y, c), (1, 4))
    w = book.node("w", "MUL", (c, z), (1, 4))
    early = Graph(tuple(book.values), (book.nodes[1], book.nodes[0], *book.nodes[2:]), (w, c))
    graph = tflite_graph(file_of(early))
    assert [node.name for node in graph] == ["y", "c", "z", "w"]
    assert graph.node("c").params["value"].tolist() == [0, 1, 2, 3] and graph.node("c").qparams == HALF
    assert graph.outputs == ("w", "c")


@pytest.mark.parametrize("bias", ["no third input", "a third input of -1"])
def test_a_bias_may_be_missing(bias: str) -> None:
    def change(table: ModelTable) -> None:
        operator = table.subgraphs[0].operators[0]
        operator.inputs = operator.inputs[:2] if bias == "no third input" else np.array([*operator.inputs[:2], -1])

    assert set(tflite_graph(file_of(dense(), change)).nodes[0].params) == {"weight"}


def test_whole_numbers_beside_the_network_become_attributes() -> None:
    book = Sketchbook()
    x = book.input("x", (1, 2, 3, 4))
    a = book.node("t", "TRANSPOSE", (x,), (1, 3, 4, 2), perm=(0, 2, 3, 1))
    b = book.node("pad", "PADV2", (a,), (1, 4, 6, 2), paddings=((0, 0), (0, 1), (2, 0), (0, 0)), value=-7)
    c = book.node("sum", "SUM", (b,), (1, 1, 6, 1), axis=(1, -1), keep_dims=True)
    up = {"stride": (3, 3), "padding": "same", "weight": book.weight(5, 2, 2, 1), "weight_qp": book.scales(5, 0)}
    d = book.node("up", "TRANSPOSE_CONV", (c,), (1, 3, 18, 5), **up)
    e = book.node("flat", "RESHAPE", (d,), (1, 270), new_shape=(1, -1))
    graph = book.graph(e)
    loaded = tflite_graph(file_of(graph))
    assert [dict(node.attrs) for node in loaded] == [dict(node.attrs) for node in graph]
    assert [node.shape for node in loaded] == [node.shape for node in graph]


def test_a_reshape_may_keep_its_shape_in_the_options() -> None:
    book = Sketchbook()
    graph = book.graph(book.node("y", "RESHAPE", (book.input("x", (2, 6)),), (3, 4), new_shape=(3, -1)))

    def change(table: ModelTable) -> None:
        table.subgraphs[0].operators[0].inputs = np.array([0])

    assert tflite_graph(file_of(graph, change)).nodes[0].attrs["new_shape"] == (3, -1)


def test_one_scale_is_per_tensor_and_several_run_along_the_channels() -> None:
    one, many = (tflite_graph(file_of(dense(per_channel=kind))).nodes[0].param_qparams["weight"] for kind in (False, True))
    assert (one.axis, one.scale) == (None, 0.25)
    assert many == dense(per_channel=True).nodes[0].param_qparams["weight"]


def test_the_bias_means_the_product_of_the_scales_whatever_the_file_says_of_it() -> None:
    """The kernels never read the bias's own scale; x has 0.5 and the weights 0.25."""
    graph = tflite_graph(file_of(dense(), _scales("y/bias", scale=[7.0])))
    assert differences(canonical(dense()), graph) == []
    assert graph.nodes[0].param_qparams["bias"] == QParams([0.125] * 3, 0, -(2**31), 2**31 - 1, 0)
    for scale in (1e-30, 1e30):
        change = _scales("x", scale=[scale])

        def both(table: ModelTable, change: Any = change, scale: float = scale) -> None:
            change(table)
            _scales("y/weight", scale=[scale])(table)

        refused(dense(), both, "the scales of input and weights must have a product within float32")


def test_the_range_of_weights_reaches_minus_128_only_where_it_is_used() -> None:
    def change(table: ModelTable) -> None:
        table.buffers[1].data = np.array([128, *table.buffers[1].data[1:]], np.uint8)

    assert tflite_graph(file_of(dense())).nodes[0].param_qparams["weight"].qmin == -127
    loaded = tflite_graph(file_of(dense(), change)).nodes[0]
    assert loaded.params["weight"][0, 0] == -128 and loaded.param_qparams["weight"].qmin == -128


def test_float_doors_are_kept() -> None:
    graph = load_tflite(SMALL_FILE)
    assert graph.inputs[1].dtype == np.float32 and graph.inputs[1].qparams is None
    assert graph.outputs[1].dtype == np.float32 and graph.outputs[1].qparams is None


def test_arrays_are_read_only_and_shared_buffers_share_them() -> None:
    book = Sketchbook()
    qp, weight = QParams(0.25, 0), book.weight(4, 4)
    x = book.input("x", (1, 4))
    x = book.node("a", "FULLY_CONNECTED", (x,), (1, 4), weight=weight, weight_qp=qp)
    x = book.node("b", "FULLY_CONNECTED", (x,), (1, 4), weight=weight, weight_qp=qp)

    def change(table: ModelTable) -> None:
        tensor(table, "b/weight").buffer = tensor(table, "a/weight").buffer

    a, b = (node.params["weight"] for node in tflite_graph(file_of(book.graph(x), change)))
    assert np.shares_memory(a, b) and not a.flags.writeable
    assert tflite_graph(SMALL_FILE).nodes[0].params["bias"].flags.aligned


# What is refused by name


def test_all_operators_that_tinyquant_does_not_have_are_named_at_once() -> None:
    def change(table: ModelTable) -> None:
        codes = table.operator_codes
        codes.append(OperatorCodeTable(117, "", 1, 117))
        codes.append(OperatorCodeTable(32, "TFLite_Detection_PostProcess", 1, 32))
        codes.append(OperatorCodeTable(127, "", 1, 150))
        for i, code in ((0, 1), (2, 2), (3, 3), (4, 1)):
            table.subgraphs[0].operators[i].opcode_index = code

    message = refused(chain(*["RELU"] * 5), change, "every operator must be one that tinyquant runs in int8")
    assert "HARD_SWISH, which tinyquant does not have (at 'n0', 'n4')" in message
    assert "CUSTOM operator 'TFLite_Detection_PostProcess', which tinyquant does not have (at 'n2')" in message
    assert "GELU, which tinyquant does not have (at 'n3')" in message
    assert "'n1'" not in message


def test_a_float_model_is_called_a_float_model() -> None:
    def change(table: ModelTable) -> None:
        for t in table.subgraphs[0].tensors:
            t.type, t.quantization = 0, None

    message = refused(chain("RELU", "RELU6", "RELU"), change, "must be quantized to int8, got a float32 model")
    assert "RELU on float32 (at 'n0', 'n2'); RELU6 on float32 (at 'n1')" in message and "full integer quantization" in message


def test_float_activations_on_int8_weights_are_a_float_model_too() -> None:
    def change(table: ModelTable) -> None:
        for name in ("x", "y"):
            tensor(table, name).type, tensor(table, name).quantization = 0, None

    refused(dense(), change, r"got a float32 model: FULLY_CONNECTED on float32 \(at 'y'\)")


@pytest.mark.parametrize(("number", "name"), [(3, "uint8"), (7, "int16"), (17, "int4"), (99, "type number 99")])
def test_activations_of_other_types_are_refused_by_name(number: int, name: str) -> None:
    def change(table: ModelTable) -> None:
        for t in table.subgraphs[0].tensors:
            t.type = number

    refused(chain("RELU"), change, rf"RELU on {name} \(at 'n0'\)")


def test_computed_weights_and_shapes_are_refused_by_name() -> None:
    def to_the_input(table: ModelTable) -> None:
        tensor(table, "y/weight").buffer = 0

    refused(dense(), to_the_input, r"FULLY_CONNECTED with weight computed, not stored \(at 'y'\)")
    book = Sketchbook()
    graph = book.graph(book.node("y", "RESHAPE", (book.input("x", (2, 6)),), (3, 4), new_shape=(3, -1)))
    refused(graph, _set("y/new_shape", buffer=0), "RESHAPE with new_shape computed, not stored")


@pytest.mark.parametrize(
    ("role", "number", "match"),
    [("weight", 17, "with weight of type int4"), ("weight", 3, "with weight of type uint8"), ("bias", 4, "of type int64")],
)
def test_parameters_of_other_types_are_refused_by_name(role: str, number: int, match: str) -> None:
    refused(dense(), _set(f"y/{role}", type=number), match)


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("is_variable", True, r"a tensor that is a variable, which keeps its value from run to run \(at 'y'\)"),
        ("sparsity", BufferTable(), r"a tensor that is sparse \(at 'y'\)"),
        ("external_buffer", 1, r"a tensor that is kept outside the file \(at 'y'\)"),
    ],
)
def test_peculiar_tensors_are_refused_by_name(field: str, value: Any, match: str) -> None:
    refused(dense(), _set("y", **{field: value}), match)


def test_blockwise_scales_are_refused_by_name() -> None:
    refused(dense(), _scales("y/weight", details_type=2), "quantized in blocks or by a custom rule")


@pytest.mark.parametrize("count", [0, 2])
def test_a_file_must_hold_one_network(count: int) -> None:
    def change(table: ModelTable) -> None:
        table.subgraphs *= count

    refused(dense(), change, f"must hold one network, got {count} subgraphs")


def test_a_long_list_of_what_is_wrong_is_cut() -> None:
    """A hostile file could otherwise make a message of any length."""
    message = refused(chain(*["RELU"] * 300), lambda t: setattr(t.operator_codes[0], "builtin_code", 117), "and 100 more")
    assert len(message) < 3000


# What does not agree


def _set(name: str, **fields: Any) -> Callable[[ModelTable], None]:
    def change(table: ModelTable) -> None:
        for key, value in fields.items():
            setattr(tensor(table, name), key, value)

    return change


def _scales(name: str, **fields: Any) -> Callable[[ModelTable], None]:
    def change(table: ModelTable) -> None:
        for key, value in fields.items():
            setattr(tensor(table, name).quantization, key, np.array(value) if isinstance(value, list) else value)

    return change


def _option(**fields: Any) -> Callable[[ModelTable], None]:
    def change(table: ModelTable) -> None:
        for key, value in fields.items():
            setattr(table.subgraphs[0].operators[0].builtin_options, key, value)

    return change


def _operator(**fields: Any) -> Callable[[ModelTable], None]:
    def change(table: ModelTable) -> None:
        for key, value in fields.items():
            setattr(table.subgraphs[0].operators[0], key, np.array(value) if isinstance(value, list) else value)

    return change


LIES = [
    ("output shape", conv, _set("y", shape=np.array([1, 3, 4, 3])), r"must be .*\(1, 3, 5, 3\), got \(1, 3, 4, 3\)"),
    ("output rank", conv, _set("y", shape=np.array([3, 5, 3])), "the declared shape must be"),
    ("negative axis", conv, _set("x", shape=np.array([1, -6, 5, 2])), "must have at most 32 axes, each with cells"),
    ("empty axis", conv, _set("x", shape=np.array([1, 0, 5, 2])), "must have at most 32 axes, each with cells"),
    ("40 axes", conv, _set("x", shape=np.ones(40)), "must have at most 32 axes"),
    ("2**31 cells", conv, _set("x", shape=np.array([2**16, 2**15, 1, 2])), r"2\*\*31 - 1 cells in all"),
    ("weight bytes", conv, _set("y/weight", shape=np.array([3, 2, 2, 3])), r"of shape \(3, 2, 2, 3\) must have 36 bytes, got 24"),
    ("bytes left over", conv, _set("y/weight", shape=np.array([3, 2, 2, 1])), r"must have 12 bytes, got 24"),
    ("weight rank", conv, _set("y/weight", shape=np.array([3, 8])), "weight must be an array of 4 axes"),
    ("weight depth", conv, _set("y/weight", shape=np.array([3, 1, 1, 8])), "input channels must be a multiple"),
    ("bias length", conv, _set("y/bias", shape=np.array([1, 3])), r"bias must be int32 of shape \(3,\), got int32 \(1, 3\)"),
    ("stride 0", conv, _option(stride_h=0), "attribute 'stride' must be"),
    ("stride", conv, _option(stride_h=3), "the declared shape must be"),
    ("padding", conv, _option(padding=1), "the declared shape must be"),
    ("padding number", conv, _option(padding=2), "padding must be a number from 0 to 1, got 2"),
    ("activation number", conv, _option(fused_activation_function=9), "activation must be a number from 0 to 5, got 9"),
    ("activation tanh", conv, _option(fused_activation_function=4), "attribute 'activation' must be"),
    ("shuffled weights", dense, _option(weights_format=1), r"weights must lie in rows \(format 0\), got format 1"),
    ("options of another operator", dense, _operator(builtin_options_type=1), "options must be of type 8 .*, got 1"),
    ("no options for a stride", conv, _operator(builtin_options_type=0), "attribute 'stride' must be"),
    ("weight zero point", dense, _scales("y/weight", zero_point=[1]), "the weight's zero point must be 0, got 1"),
    ("two scales", conv, _scales("y/weight", scale=[1.0, 1.0], zero_point=[0, 0]), r"one scale or 3 along axis 0, got 2"),
    ("scales on another axis", conv, _scales("y/weight", quantized_dimension=1), "3 along axis 0, got 3 along axis 1"),
    ("negative axis of scales", conv, _scales("y/weight", quantized_dimension=-4), "got 3 along axis -4"),
    ("no zero points", dense, _scales("y", zero_point=[]), "as many zero points as scales, got 0 for 1"),
    ("no scale", dense, _scales("y", scale=[], zero_point=[]), "tensor 'y' must have a scale, got none"),
    ("no quantization", dense, _set("x", quantization=None), "tensor 'x' must have a scale, got none"),
    ("scale 0", dense, _scales("y", scale=[0.0]), "scales of tensor 'y' must be positive and finite"),
    ("scale NaN", dense, _scales("y", scale=[np.nan]), "scales of tensor 'y' must be positive and finite"),
    ("scale inf", dense, _scales("y/weight", scale=[np.inf]), "must be positive and finite"),
    ("zero point 300", dense, _scales("x", zero_point=[300]), r"zero_point must lie in \[qmin, qmax\]"),
    ("zero point 2**62", dense, _scales("x", zero_point=[2**62]), r"zero_point must lie in \[qmin, qmax\]"),
    ("activation per channel", dense, _scales("x", scale=[1.0] * 4, zero_point=[0] * 4), "'x' must have one scale, got 4"),
    ("buffer number", dense, _set("y/weight", buffer=77), "must have one of the 3 buffers, got number 77"),
    ("opcode number", dense, _operator(opcode_index=5), "must use one of the 1 operator codes, got number 5"),
    ("input number", dense, _operator(inputs=[9, 1, 2]), "a tensor must be one of 4, got number 9"),
    ("input -1", dense, _operator(inputs=[-1, 1, 2]), "FULLY_CONNECTED without one of its inputs"),
    ("weight -1", dense, _operator(inputs=[0, -1, 2]), "FULLY_CONNECTED must have its weight, got none"),
    ("no inputs", dense, _operator(inputs=[]), "FULLY_CONNECTED must have 2 or 3 inputs, got 0"),
    ("no outputs", dense, _operator(outputs=[]), r"FULLY_CONNECTED with 0 outputs \(at an operator without output\)"),
    ("two outputs", dense, _operator(outputs=[3, 0]), "FULLY_CONNECTED with 2 outputs"),
    ("its own output", dense, _operator(inputs=[3, 1, 2]), "must be made by an earlier operator, got read before"),
    ("an input made", dense, _operator(outputs=[0]), "a tensor must be made once, got 'x' made again"),
    ("a constant made", dense, _operator(outputs=[1]), "a tensor must be made once, got 'y/weight' made again"),
    ("constant input", dense, lambda t: setattr(t.subgraphs[0], "inputs", np.array([0, 1])), "hold no data, got 'y/weight'"),
    ("input twice", dense, lambda t: setattr(t.subgraphs[0], "inputs", np.array([0, 0])), "an input must be listed once"),
    ("no graph inputs", dense, lambda t: setattr(t.subgraphs[0], "inputs", np.array([])), "must be made by an earlier operator"),
    ("no graph outputs", dense, lambda t: setattr(t.subgraphs[0], "outputs", np.array([])), "must have inputs and outputs"),
    ("graph output number", dense, lambda t: setattr(t.subgraphs[0], "outputs", np.array([-1])), "got number -1"),
    ("schema version", dense, lambda t: setattr(t, "version", 2), "the schema version must be 3, got 2"),
    ("data behind the file", dense, lambda t: setattr(t.buffers[1], "offset", 4096), "must lie inside the FlatBuffer"),
]  # fmt: skip


@pytest.mark.parametrize(("graph", "change", "match"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_a_file_that_lies_is_refused(graph: Callable[[], Graph], change: Callable[[ModelTable], None], match: str) -> None:
    assert differences(canonical(graph()), tflite_graph(file_of(graph()))) == []
    refused(graph(), change, match)


def test_copies_may_not_change_the_scale_and_softmax_has_its_own() -> None:
    book = Sketchbook()
    graph = book.graph(book.node("y", "RESHAPE", (book.input("x", (2, 6)),), (3, 4), new_shape=(3, 4)))
    refused(graph, _scales("y", scale=[0.25]), r"copies codes, so its scale .* its input's, \(0.5, 3\), got \(0.25, 3\)")
    book = Sketchbook()
    graph = book.graph(book.node("y", "SOFTMAX", (book.input("x", (1, 4)),), (1, 4), QParams(1 / 256, -128)))
    refused(graph, _scales("y", scale=[0.25]), "must have scale 0.00390625 and zero point -128")
    refused(graph, _option(beta=float("nan")), "attribute 'beta' must be")
    refused(graph, _option(beta=-1.0), "beta times the input scale must be above")


def test_the_stored_size_of_a_transposed_convolution_must_be_the_outputs() -> None:
    book = Sketchbook()
    x = book.input("x", (1, 3, 3, 1))
    params = {"weight": book.weight(1, 2, 2, 1), "weight_qp": QParams(0.5, 0)}
    graph = book.graph(book.node("y", "TRANSPOSE_CONV", (x,), (1, 6, 6, 1), stride=(2, 2), padding="same", **params))
    other = np.array([1, 6, 5, 1], np.int32).view(np.uint8)
    refused(graph, lambda t: setattr(t.buffers[1], "data", other), r"must be the stored \[1, 6, 5, 1\], got \(1, 6, 6, 1\)")


def test_without_the_flatbuffers_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "flatbuffers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ImportError) as caught:
        load_tflite(SMALL_FILE)
    message = str(caught.value)
    assert 'pip install "tinyquant-labs[tflite]"' in message and 'pip install ".[tflite]"' in message
    assert "pip install tinyquant" not in message and "\n" not in message


# What damage cannot do


def load_or_refuse(data: bytes) -> bool:
    """True when the bytes load, False when they are refused; any other exception is the test's failure."""
    try:
        load_tflite(data)
    except TFLiteError as error:
        assert len(str(error)) < 20000
        return False
    return True


def test_a_file_cut_anywhere_is_refused() -> None:
    data = file_of(dense())
    assert load_or_refuse(data)
    # The builder puts the root first: every prefix lacks something that is needed.
    assert [length for length in range(len(data)) if load_or_refuse(data[:length])] == []


def test_a_larger_file_cut_at_sampled_lengths_is_refused() -> None:
    for length in range(0, len(SMALL_FILE), 41):
        assert not load_or_refuse(SMALL_FILE[:length]), length


def test_every_byte_set_to_any_extreme_loads_or_is_refused() -> None:
    data = file_of(dense())
    loaded = 0
    for place in range(len(data)):
        for value in (0x00, 0x7F, 0xFF):
            loaded += load_or_refuse(data[:place] + bytes([value]) + data[place + 1 :])
    assert loaded > 0


writes_over = st.tuples(st.integers(0, len(SMALL_FILE) - 5), st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4]))


@given(st.lists(writes_over, min_size=1, max_size=6))
def test_numbers_written_over_anywhere_load_or_are_refused(writes: list[tuple[int, int, int]]) -> None:
    data = bytearray(SMALL_FILE)
    for place, value, width in writes:
        data[place : place + width] = (value % 256**width).to_bytes(width, "little")
    load_or_refuse(bytes(data))


@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([small_model, conv, dense]))
def test_sound_bytes_that_mean_nonsense_load_or_are_refused(seed: int, times: int, graph: Callable[[], Graph]) -> None:
    """Damage to fields, not to bytes: the offsets are right, and what they lead to is not."""
    rng = random.Random(seed)
    table = model_table(graph())
    for _ in range(times):
        places = [table, *(entry for g in table.subgraphs for entry in (*g.tensors, *g.operators)), *table.operator_codes]
        damage(rng.choice(places), rng)
    load_or_refuse(encode(table, IDENTIFIER))


@given(st.binary(max_size=200))
def test_noise_behind_the_identifier_loads_or_is_refused(noise: bytes) -> None:
    assert not load_or_refuse(struct.pack("<I", 8) + IDENTIFIER + noise)


def quick_and_small(data: bytes) -> bool:
    """load_or_refuse within two seconds and within forty times the file's memory, and a megabyte for the rest."""
    load_or_refuse(data)  # imports and caches
    tracemalloc.start()
    start = time.perf_counter()
    loads = load_or_refuse(data)
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 2 and peak < 40 * len(data) + 2**20, (seconds, peak, len(data))
    return loads


def test_a_vector_that_claims_four_billion_elements_takes_no_memory() -> None:
    data = file_of(dense())
    weights = bytes(model_table(dense()).buffers[1].data)
    place = data.index(weights) - 4
    assert struct.unpack_from("<I", data, place) == (12,)
    for count in (13, 2**16, 2**31 - 1, 2**32 - 1):
        assert not quick_and_small(data[:place] + struct.pack("<I", count) + data[place + 4 :])


def repeated(count: int, table: bytes) -> bytes:
    """A vector of `count` tables that are all one, which follows; a vtable of 8 bytes stands before it."""
    return struct.pack("<I", count) + b"".join(struct.pack("<I", 4 * (count - i) + 8) for i in range(count)) + table


@pytest.mark.parametrize("subgraphs", [1, 10000])
def test_one_part_pointed_at_over_and_over_is_refused_quickly(subgraphs: int) -> None:
    """10 000 subgraphs that are one, whose 10 000 tensors are one: 80 kB that stand for 100 million tensors."""
    tensor_table = struct.pack("<4H", 4, 16, 0, 0) + struct.pack("<iIII", 8, 0, 0, 0)
    subgraph = struct.pack("<4H", 6, 8, 4, 0) + struct.pack("<iI", 8, 4) + repeated(10000, tensor_table)
    # Offset of the root, identifier, the model's vtable (slots 0 to 2), the model.
    head = struct.pack("<I4s", 20, IDENTIFIER) + struct.pack("<5H2x", 10, 12, 4, 0, 8) + struct.pack("<iII", 12, 3, 4)
    data = head + repeated(subgraphs, subgraph)
    assert not quick_and_small(data)
    with pytest.raises(TFLiteError, match="must add up to at most 2 times its"):
        tflite_graph(data)


def test_a_table_that_is_its_own_child_cannot_hang_the_reader() -> None:
    """Every offset of the file set to lead back to where it stands, one at a time."""
    data = file_of(dense())
    for place in range(0, len(data) - 4, 4):
        for back in (0, 4, 2**32 - place if place else 0):
            load_or_refuse(data[:place] + struct.pack("<I", back) + data[place + 4 :])


def test_the_tables_for_operators_agree_with_the_schema() -> None:
    """Against the schema's own names, which ai-edge-litert carries."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason=NOT_INSTALLED)
    for op, layout in LAYOUTS.items():
        assert getattr(schema.BuiltinOperator, op) == layout.code == tflite_names.OPERATOR_NAMES.index(op)
    numbers = {value: key for key, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    assert [numbers[i] for i in range(len(tflite_names.OPERATOR_NAMES))] == list(tflite_names.OPERATOR_NAMES)
    for i, name in enumerate(tflite_schema.TENSOR_TYPES):
        assert getattr(schema.TensorType, name.upper()) == i
    for i, name in enumerate(tflite_schema.ACTIVATION_NAMES):
        assert getattr(schema.ActivationFunctionType, name.upper()) == i


def test_the_tables_are_the_schemas_own() -> None:
    """Each of our tables, written with every field set, is read by the schema's own classes with the same values."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason=NOT_INSTALLED)
    ours = tflite_schema
    theirs = {
        ours.ModelTable: "Model", SubGraphTable: "SubGraph", TensorTable: "Tensor", QuantizationTable: "QuantizationParameters",
        OperatorTable: "Operator", OperatorCodeTable: "OperatorCode", BufferTable: "Buffer", ours.ConvOptions: "Conv2DOptions",
        ours.DepthwiseOptions: "DepthwiseConv2DOptions", ours.PoolOptions: "Pool2DOptions", ours.ArithmeticOptions: "AddOptions",
        ours.TransposeConvOptions: "TransposeConvOptions", ours.FullyConnectedOptions: "FullyConnectedOptions",
        ours.ConcatenationOptions: "ConcatenationOptions", ours.ReshapeOptions: "ReshapeOptions",
        ours.ReducerOptions: "ReducerOptions", ours.SoftmaxOptions: "SoftmaxOptions", ours.LeakyReluOptions: "LeakyReluOptions",
    }  # fmt: skip
    for table, name in theirs.items():
        read = getattr(schema, name)
        for i, entry in enumerate(dataclasses.fields(table)):
            if isinstance(entry.metadata["kind"], str) and entry.metadata["kind"] not in ("string", "union"):
                value = True if entry.metadata["kind"] == "bool" else i + 2
                seen = read.GetRootAs(encode(table(**{entry.name: value}), IDENTIFIER), 0)
                method = "".join(part.capitalize() for part in entry.name.split("_"))
                assert getattr(seen, method)() == value, (name, entry.name)
