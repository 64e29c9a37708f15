"""Written .tflite files: the runtimes' demands on the file, the way back, and the real runtimes' own answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flatbuffers", reason="flatbuffers is not installed (extra `tflite`)")

import runtimes
from golden_cases import golden_case, golden_names
from interop_cases import HALF, Sketchbook, canonical, differences, small_inputs, small_model
from random_models import OPERATORS, draw_single

from tinyquant.graph import Graph
from tinyquant.integer.model import IntegerModel
from tinyquant.interop import TFLiteError, load_tflite, save_tflite, tflite_bytes
from tinyquant.interop.flatbuffer import Decoder
from tinyquant.interop.tflite_reader import tflite_graph
from tinyquant.interop.tflite_schema import IDENTIFIER, LAYOUTS, ModelTable, TensorTable
from tinyquant.interop.tflite_writer import graph_to_tflite
from tinyquant.numerics.qparams import QParams

SMALL = small_model()


def tables(data: bytes) -> ModelTable:
    """The tables of a file."""
    return Decoder(data).root(ModelTable, IDENTIFIER)


def tensor(data: bytes, name: str) -> TensorTable:
    """A tensor of a file, by name."""
    return next(t for t in tables(data).subgraphs[0].tensors if t.name == name)


# The way back


@pytest.mark.parametrize("name", golden_names())
def test_every_golden_operator_comes_back_as_it_was(name: str) -> None:
    graph = golden_case(name).graph
    data = graph_to_tflite(graph)
    loaded = tflite_graph(data)
    assert differences(canonical(graph), loaded) == []
    assert graph_to_tflite(loaded) == data


def test_a_network_comes_back_and_runs_to_the_same_bytes() -> None:
    model = IntegerModel(SMALL)
    data = tflite_bytes(model)
    loaded = load_tflite(data)
    assert differences(canonical(SMALL), loaded.graph) == []
    ours, theirs = model.trace(small_inputs()), loaded.trace(small_inputs())
    assert list(ours) == list(theirs)
    assert [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()] == []
    assert tflite_bytes(loaded) == data


def test_a_missing_bias_comes_back_as_zeros() -> None:
    """LiteRT's fast kernels crash without one."""
    for op, axis in (("CONV_2D", 0), ("DEPTHWISE_CONV_2D", 3), ("TRANSPOSE_CONV", 0)):
        book = Sketchbook()
        x, count = book.input("x", (1, 3, 3, 2)), 2 if axis else 4
        weight = book.weight(1, 1, 1, 2) if axis else book.weight(4, 1, 1, 2)
        graph = book.graph(book.node("y", op, (x,), (1, 3, 3, count), weight=weight, weight_qp=book.scales(count, axis)))
        bias = tflite_graph(graph_to_tflite(graph)).nodes[0].params["bias"]
        assert bias.dtype == np.int32 and bias.tolist() == [0] * count


def test_one_scale_for_one_channel_comes_back_as_one_for_the_tensor() -> None:
    book = Sketchbook()
    x = book.input("x", (1, 3))
    params = {"weight": book.weight(1, 3), "weight_qp": QParams([0.5], 0, -127, 127, 0)}
    graph = book.graph(book.node("y", "FULLY_CONNECTED", (x,), (1, 1), **params))
    loaded = tflite_graph(graph_to_tflite(graph))
    assert loaded.nodes[0].param_qparams["weight"] == QParams(0.5, 0, -127, 127)
    codes = np.int8([[5, -90, 127]])
    assert IntegerModel(loaded).run(codes).tolist() == IntegerModel(graph).run(codes).tolist()  # type: ignore[union-attr]


# What runtimes demand of a file


def test_the_file_says_what_it_is() -> None:
    data = graph_to_tflite(SMALL)
    assert data[4:8] == b"TFL3"
    table = tables(data)
    assert (table.version, table.description, table.subgraphs[0].name) == (3, "tinyquant", "main")
    assert table.buffers[0].data.size == 0


def test_operators_carry_both_codes_and_the_version_every_runtime_takes() -> None:
    """Versions as int8_arithmetic's list of export rules has them; the operators it leaves out are 2, as int8 ones are."""
    others = {"FULLY_CONNECTED": 4, "RESHAPE": 1, "QUANTIZE": 1, "RELU_N1_TO_1": 1}
    others |= dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"), 3)
    for op, layout in LAYOUTS.items():
        assert layout.version == others.get(op, 2), op
    codes = tables(graph_to_tflite(SMALL)).operator_codes
    assert len(codes) == len({code.builtin_code for code in codes}) == 11
    for code in codes:
        assert code.deprecated_builtin_code == min(code.builtin_code, 127)


def test_every_buffer_starts_on_16_bytes() -> None:
    """Of the file: a microcontroller reads weights in place."""
    data = graph_to_tflite(SMALL)
    start = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    places = [b.data.__array_interface__["data"][0] - start for b in tables(data).buffers if b.data.size]
    assert len(places) == 9 and [place % 16 for place in places] == [0] * 9
    assert len(data) % 16 == 0


def test_tensors_are_named_by_their_nodes_and_what_belongs_to_a_node_after_it() -> None:
    table = tables(graph_to_tflite(SMALL)).subgraphs[0]
    names = [t.name for t in table.tensors]
    assert [names[i] for i in table.inputs] == ["x:0", "y/in"] and [names[i] for i in table.outputs] == ["p", "reals"]
    made = [names[int(operator.outputs[0])] for operator in table.operators]
    assert made == [node.name for node in SMALL if node.op != "CONSTANT"]
    assert [names[i] for i in table.operators[0].inputs] == ["x:0", "conv;relu/weight", "conv;relu/bias"]
    assert "block 1/constant \u00e9" in names and "mean/axis" in names


def test_shapes_are_written_with_the_declared_batch() -> None:
    data = graph_to_tflite(SMALL)
    assert tensor(data, "x:0").shape.tolist() == [2, 5, 5, 2] and tensor(data, "logits").shape.tolist() == [2, 4]


def test_scales_lie_inside_the_rank_and_the_bias_has_the_product_of_float32() -> None:
    data = graph_to_tflite(SMALL)
    for t in tables(data).subgraphs[0].tensors:
        if t.quantization is not None:
            assert 0 <= t.quantization.quantized_dimension < max(1, t.shape.size), t.name
            assert t.quantization.zero_point.size == t.quantization.scale.size
    weight, bias = (tensor(data, f"dw/{role}").quantization for role in ("weight", "bias"))
    assert weight is not None and bias is not None
    assert weight.quantized_dimension == 3 and bias.quantized_dimension == 0
    assert bias.scale.tobytes() == (np.float32(0.25) * weight.scale).tobytes() and not bias.zero_point.any()


def test_the_same_model_gives_the_same_bytes() -> None:
    assert graph_to_tflite(small_model()) == graph_to_tflite(small_model())


# What is refused, and what is left alone


def one_node(**changes: Any) -> Graph:
    """A RELU whose output meaning may be changed."""
    book = Sketchbook()
    book.node("y", "RELU", (book.input("x", (1, 4)),), (1, 4), changes.get("qp", HALF))
    return book.graph("y")


@pytest.mark.parametrize(
    ("graph", "match"),
    [
        (lambda: one_node(qp=QParams(0.5, 3, -8, 7)), "'y' must use all int8 codes, -128 to 127, got -8 to 7"),
        (lambda: one_node(qp=QParams(0.1, 3)), "scales of 'y' must be float32 numbers, got 0.1"),
        (lambda: one_node(qp=QParams(0.5, 3, 0, 255)), "only a sound int8 graph can be written: .* got \\[0, 255\\]"),
        (lambda: one_node(qp=None), "only a sound int8 graph can be written: .*float32"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(graph: Callable[[], Graph], match: str) -> None:
    with pytest.raises(TFLiteError, match=match):
        graph_to_tflite(graph())


def test_an_unsound_graph_is_refused_with_the_reason() -> None:
    graph = Graph(SMALL.inputs, (SMALL.nodes[0].replace(shape=(2, 3, 3, 4)), *SMALL.nodes[1:]), SMALL.outputs)
    with pytest.raises(TFLiteError, match=r"only a sound int8 graph can be written: the declared shape must be .*conv;relu"):
        graph_to_tflite(graph)


def test_more_than_a_flatbuffer_can_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinyquant.interop.tflite_writer.MOST_BYTES", 100)
    with pytest.raises(TFLiteError, match="constants of a .tflite file must be at most 100 bytes, got more"):
        graph_to_tflite(SMALL)


def test_a_refused_model_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    save_tflite(IntegerModel(SMALL), path)
    before = path.read_bytes()
    assert before == graph_to_tflite(SMALL)
    with pytest.raises(TFLiteError):
        save_tflite(IntegerModel(one_node(qp=QParams(0.5, 3, -8, 7))), path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["m.tflite"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space left"):
        save_tflite(IntegerModel(SMALL), path)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["m.tflite"]
    with pytest.raises(FileNotFoundError):
        save_tflite(IntegerModel(SMALL), tmp_path / "no folder" / "m.tflite")


def test_a_link_is_written_through(tmp_path: Path) -> None:
    path, link = tmp_path / "m.tflite", tmp_path / "link.tflite"
    path.write_bytes(b"old")
    link.symlink_to(path)
    save_tflite(IntegerModel(SMALL), link)
    assert link.is_symlink() and path.read_bytes() == graph_to_tflite(SMALL)


def test_a_model_writes_itself(tmp_path: Path) -> None:
    IntegerModel(SMALL).save_tflite(tmp_path / "m.tflite")
    assert (tmp_path / "m.tflite").read_bytes() == graph_to_tflite(SMALL)


# The real runtimes, on files that we wrote


def wrong_bytes(got: np.ndarray, wanted: np.ndarray) -> int:
    """How many bytes differ; all of them where shapes or types do."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return max(got.nbytes, wanted.nbytes)
    return int(np.count_nonzero(np.frombuffer(got.tobytes(), np.uint8) != np.frombuffer(wanted.tobytes(), np.uint8)))


@pytest.mark.conformance
def test_written_operators_give_the_recorded_bytes_in_every_runtime() -> None:
    """Every golden case through our writer alone: no kernel of ours takes part."""
    runtimes.require_runtimes()
    compared = 0
    for name in golden_names():
        case = golden_case(name)
        if case.overflow:
            continue
        data = graph_to_tflite(case.graph)
        for runtime in runtimes.comparable_runtimes():
            if runtime in case.answers:
                got = runtimes.run(runtime, data, case.inputs)
                assert wrong_bytes(got["y"], case.answers[runtime]) == 0, (name, runtime)
                compared += got["y"].nbytes
    assert compared > 100_000


@pytest.mark.conformance
@pytest.mark.parametrize("op", list(OPERATORS))
def test_random_files_read_and_written_again_give_the_same_bytes_in_every_runtime(op: str) -> None:
    runtimes.require_runtimes()
    for seed in range(1000, 1006):
        drawn = draw_single(op, seed)
        original = drawn.model.to_bytes()
        rewritten = tflite_bytes(load_tflite(original))
        for runtime in drawn.runtimes:
            ours, theirs = (runtimes.run(runtime, data, drawn.inputs) for data in (rewritten, original))
            assert ours.keys() == theirs.keys()
            for key in theirs:
                assert wrong_bytes(ours[key], theirs[key]) == 0, (drawn.label, runtime, key)


@pytest.mark.conformance
@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
def test_fully_connected_with_a_scale_a_channel_loads_everywhere(runtime: str) -> None:
    runtimes.require_runtimes()
    book = Sketchbook(3)
    x = book.input("x", (2, 20))
    params = {"weight": book.weight(30, 20), "bias": book.bias(30), "weight_qp": book.scales(30, 0)}
    model = IntegerModel(book.graph(book.node("y", "FULLY_CONNECTED", (x,), (2, 30), QParams(2.0, 3), **params)))
    codes = book.rng.integers(-128, 128, (2, 20)).astype(np.int8)
    got = runtimes.run(runtime, tflite_bytes(model), [codes])["y"]
    ours = model.run(codes)
    assert isinstance(ours, np.ndarray) and got.shape == ours.shape
    # litert_ref requantizes in float64, xnnpack in float32: at most one code from double rounding.
    assert np.abs(got.astype(int) - ours.astype(int)).max() <= (0 if runtime == "tflm" else 1)
    assert len(np.unique(got)) > 20


@pytest.mark.conformance
def test_a_network_with_doors_constants_and_odd_names_runs_in_tflite_micro_to_our_bytes() -> None:
    runtimes.require_runtimes()
    got = runtimes.run("tflm", graph_to_tflite(SMALL), small_inputs())
    ours = IntegerModel(SMALL).trace(small_inputs())
    assert {name: wrong_bytes(got[name], ours[name]) for name in got} == {node.name: 0 for node in SMALL if node.op != "CONSTANT"}


@pytest.mark.conformance
def test_a_scalar_constant_runs_everywhere() -> None:
    runtimes.require_runtimes()
    book = Sketchbook()
    x = book.input("x", (1, 4))
    c = book.node("c", "CONSTANT", (), (), QParams(0.25, 0), value=np.array(40, np.int8))
    graph = book.graph(book.node("y", "ADD", (x, c), (1, 4), QParams(0.5, 0)))
    for runtime in runtimes.RUNTIMES:
        assert runtimes.run(runtime, graph_to_tflite(graph), [np.int8([[3, 4, -100, 120]])])["y"].tolist() == [[20, 21, -83, 127]]
