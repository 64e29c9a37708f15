"""What an IntegerModel promises: batches, names, several inputs and outputs, doors, errors, and the plugs for other rooms."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from integer_strategies import Drawn, examples, networks

from tinyquant.graph import Graph, Node, Value
from tinyquant.integer import (
    KERNELS,
    InexactDialectWarning,
    IntegerModel,
    Step,
    build_step,
    known_dialects,
    known_engines,
    prepare,
    reference,
    register_dialect,
    register_engine,
    register_writer,
    registry,
)
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams

INT8, FLOAT = np.dtype(np.int8), np.dtype(np.float32)
HALF, UNIT = QParams(0.5, 0), QParams(1 / 256, -128)


def node(name: str, op: str, inputs: tuple[str, ...], shape: tuple[int, ...], **attrs: Any) -> Node:
    """An int8 node at scale 1/2."""
    return Node(name, op, inputs, shape, attrs, qparams=HALF, dtype=INT8)


def value(name: str, *shape: int, qparams: QParams | None = HALF, dtype: np.dtype = INT8) -> Value:
    """An int8 input at scale 1/2."""
    return Value(name, shape, dtype, qparams)


def relu_model(*shape: int) -> IntegerModel:
    """One RELU on x."""
    return IntegerModel(Graph((value("x", *shape),), (node("relu", "RELU", ("x",), shape),), ("relu",)))


def two_in_two_out() -> IntegerModel:
    """sum = a + b (two rows at a time), difference = a - b; both are outputs."""
    add, sub = (node(name, op, ("a", "b"), (2, 3)) for name, op in (("sum", "ADD"), ("difference", "SUB")))
    return IntegerModel(Graph((value("a", 2, 3), value("b", 2, 3)), (add, sub), ("sum", "difference")))


def random_codes(*shape: int, seed: int = 0) -> np.ndarray:
    """int8 codes."""
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


@pytest.fixture(autouse=True)
def plugs() -> Iterator[None]:
    """What a test registers is gone after it."""
    tables: tuple[dict[str, Any], ...] = (registry._DIALECTS, registry._INEXACT, registry._ENGINES, registry._WRITERS)
    kept = [dict(table) for table in tables]
    yield
    for table, before in zip(tables, kept):
        table.clear()
        table.update(before)


# Batches


def joined(model: IntegerModel, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of the declared batches one by one, concatenated."""
    batch = model.graph.batch
    runs = []
    for start in range(0, len(arrays[0]), batch):
        result = model.run([array[start : start + batch] for array in arrays])
        runs.append(result if isinstance(result, list) else [result])
    return [np.concatenate(parts) for parts in zip(*runs)]


@examples(60)
@given(networks(), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_k_batches_are_k_runs_joined(drawn: Drawn, runs: int, seed: int) -> None:
    model = IntegerModel(drawn.graph)
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-128, 128, (runs * v.shape[0], *v.shape[1:])).astype(np.int8) for v in model.inputs]
    result = model.run(arrays)
    got = result if isinstance(result, list) else [result]
    for one, other in zip(got, joined(model, arrays), strict=True):
        assert one.dtype == np.int8 and np.array_equal(one, other)


@examples(25)
@given(networks(), st.integers(1, 4000))
def test_blocks_of_any_size_give_the_same_bytes(drawn: Drawn, block_bytes: int) -> None:
    """The reference engine runs many rows in blocks; how many never shows."""
    model = IntegerModel(drawn.graph)
    arrays = [np.concatenate([array] * 3) for array in drawn.arrays]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "BLOCK_BYTES", block_bytes)
        result = IntegerModel(drawn.graph).run(arrays)
    got = result if isinstance(result, list) else [result]
    for one, other in zip(got, joined(model, arrays), strict=True):
        assert np.array_equal(one, other)


def test_an_empty_batch_gives_empty_outputs() -> None:
    first, second = two_in_two_out().run([np.zeros((0, 3), np.int8)] * 2)
    assert first.shape == second.shape == (0, 3) and first.dtype == np.int8


def test_where_rows_mix_only_the_declared_shape_is_taken() -> None:
    mean = Node("mean", "MEAN", ("x",), (3,), {"axis": 0}, qparams=HALF, dtype=INT8)
    model = IntegerModel(Graph((value("x", 2, 3),), (mean,), ("mean",)))
    assert model.run(np.int8([[0, 2, 4], [2, 4, 7]])).tolist() == [1, 3, 6]  # type: ignore[union-attr]
    for rows in (0, 4):
        with pytest.raises(
            ValueError,
            match=r"input 'x' must have shape \(2, 3\), got \(\d, 3\)\. Pass the declared shape: this graph mixes",
        ):
            model.run(np.zeros((rows, 3), np.int8))


def test_a_constant_serves_every_row() -> None:
    constant = Node("c", "CONSTANT", (), (1, 3), params={"value": np.int8([[2, 4, 6]])}, qparams=HALF, dtype=INT8)
    model = IntegerModel(Graph((value("x", 1, 3),), (constant, node("y", "ADD", ("x", "c"), (1, 3))), ("y",)))
    assert model.run(np.int8([[0, 0, 0], [1, 1, 1]])).tolist() == [[2, 4, 6], [3, 5, 7]]  # type: ignore[union-attr]
    assert model.run_node("c", []).tolist() == [[2, 4, 6]]
    assert (
        model.run_node("y", {"x": np.int8([[9, 9, 9]] * 2), "c": np.int8([[1, 2, 3]])}).tolist() == [[10, 11, 12]] * 2
    )
    with pytest.raises(ValueError, match=r"input 'c' must have shape \(1, 3\), got \(2, 3\)"):
        model.run_node("y", [np.zeros((2, 3), np.int8)] * 2)


def test_scalars_and_vectors_run_as_declared() -> None:
    scalar = IntegerModel(Graph((value("x"),), (node("y", "RELU", ("x",), ()),), ("y",)))
    y = scalar.run(np.array(-5, np.int8))
    assert isinstance(y, np.ndarray) and y.shape == () and y == 0
    assert relu_model(1).run(np.int8([-5, 5, 6])).tolist() == [0, 5, 6]  # type: ignore[union-attr]


# Inputs and outputs


def test_several_inputs_go_in_by_order_or_by_name_and_several_outputs_come_as_a_list() -> None:
    model = two_in_two_out()
    a, b = np.int8([[1, 2, 3], [4, 5, 6]]), np.int8([[1, 1, 1], [2, 2, 2]])
    for given_ in ([a, b], (a, b), {"b": b, "a": a}):
        total, difference = model.run(given_)
        assert total.tolist() == [[2, 3, 4], [6, 7, 8]] and difference.tolist() == [[0, 1, 2], [2, 3, 4]]
    assert [v.name for v in model.inputs] == ["a", "b"] and [v.name for v in model.outputs] == ["sum", "difference"]
    assert model.outputs[0] == Value("sum", (2, 3), INT8, HALF)


def test_one_input_goes_in_bare_in_a_list_or_by_name() -> None:
    x = random_codes(1, 4)
    model = relu_model(1, 4)
    for given_ in (x, [x], (x,), {"x": x}):
        assert np.array_equal(model.run(given_), np.maximum(x, 0))


def test_what_comes_back_is_the_callers_own() -> None:
    """Writing into results or a trace changes no later run, nor the input; an output may be an input, or be named twice."""
    graph = Graph((value("x", 1, 2),), (node("y", "RESHAPE", ("x",), (1, 2), new_shape=(1, 2)),), ("x", "y", "y"))
    model, x = IntegerModel(graph), np.int8([[3, 4]])
    result = model.run(x)
    assert isinstance(result, list) and [array.tolist() for array in result] == [[[3, 4]]] * 3
    for i, array in enumerate(result):
        array[:] = i
    assert x.tolist() == [[3, 4]] and [array.tolist() for array in result] == [[[0, 0]], [[1, 1]], [[2, 2]]]
    trace = model.trace(x)
    trace["x"][:] = 9
    assert x.tolist() == [[3, 4]] and trace["y"].tolist() == [[3, 4]]
    again = model.run(x)
    assert [array.tolist() for array in again] == [[[3, 4]]] * 3


def test_constants_and_weights_cannot_be_reached_through_results() -> None:
    constant = Node("c", "CONSTANT", (), (1, 2), params={"value": np.int8([[1, 2]])}, qparams=HALF, dtype=INT8)
    model = IntegerModel(Graph((value("x", 1, 2),), (constant, node("y", "ADD", ("x", "c"), (1, 2))), ("c", "y")))
    first, _ = model.run(np.int8([[0, 0]]))
    first[:] = 77
    assert model.run(np.int8([[0, 0]]))[0].tolist() == [[1, 2]]


def test_a_strange_memory_layout_changes_nothing() -> None:
    model = IntegerModel(
        Graph((value("x", 1, 3, 4),), (node("y", "TRANSPOSE", ("x",), (1, 4, 3), perm=(0, 2, 1)),), ("y",))
    )
    x = random_codes(2, 3, 4)
    expected = model.run(x)
    frozen = x.copy()
    frozen.flags.writeable = False
    backwards = np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1]
    for other in (np.asfortranarray(x), backwards, frozen):
        assert np.array_equal(model.run(other), expected)
    quantizer = Node("q", "QUANTIZE", ("x",), (1, 2), qparams=HALF, dtype=INT8)
    door = IntegerModel(Graph((value("x", 1, 2, qparams=None, dtype=FLOAT),), (quantizer,), ("q",)))
    assert np.array_equal(door.run(np.array([[1, 2]], ">f4")), door.run(np.float32([[1, 2]])))


WRONG: list[tuple[IntegerModel, Any, type[Exception], str]] = [
    (
        relu_model(1, 4),
        np.zeros((1, 4), np.float32),
        TypeError,
        r"input 'x' must be int8, got float32\. Quantize it first .*or call model\(x\)",
    ),
    (
        relu_model(1, 4),
        np.zeros((1, 4), np.int64),
        TypeError,
        "must be int8, got int64. These may be codes of another type",
    ),
    (relu_model(1, 4), np.zeros((1, 4), np.uint8), TypeError, "must be int8, got uint8"),
    (relu_model(1, 4), [[1, 2, 3, 4]], TypeError, "must be int8, got int64"),
    (relu_model(1, 4), np.array([["a"] * 4]), TypeError, "input 'x' must be int8, got <U1.$"),
    (
        relu_model(1, 4),
        np.zeros((1, 5), np.int8),
        ValueError,
        r"must have shape \(k\*1, 4\), got \(1, 5\)\. Pass whole rows",
    ),
    (relu_model(1), np.zeros((1, 5), np.int8), ValueError, r"must have shape \(k\*1,\), got \(1, 5\)"),
    (relu_model(1, 4), np.zeros(4, np.int8), ValueError, r"got \(4,\)\. The batch axis is missing: pass x\[None\]"),
    (relu_model(2, 4), np.zeros(4, np.int8), ValueError, r"\(k\*2, 4\), got \(4,\)\. The batch axis is missing\.$"),
    (relu_model(2, 4), np.zeros((3, 4), np.int8), ValueError, "must be a multiple of the declared batch, 2"),
    (
        relu_model(1, 8, 9, 3),
        np.zeros((5, 3, 8, 9), np.int8),
        ValueError,
        r"looks like NCHW\. Pass x\.transpose\(0, 2, 3, 1\)",
    ),
    (relu_model(1, 8, 9, 3), np.zeros((5, 9, 8, 3), np.int8), ValueError, r"got \(5, 9, 8, 3\)\. Pass whole rows"),
    (relu_model(1, 4), [np.zeros((1, 4), np.int8)] * 2, ValueError, r"there must be 1 inputs \(x\), got 2"),
    (relu_model(1, 4), {"y": np.zeros((1, 4), np.int8)}, ValueError, "the inputs must be named x, got y"),
    (
        two_in_two_out(),
        np.zeros((2, 3), np.int8),
        ValueError,
        r"there must be 2 inputs \(a, b\), got one\. Pass a list",
    ),
    (two_in_two_out(), [np.zeros((2, 3), np.int8)] * 3, ValueError, r"there must be 2 inputs \(a, b\), got 3"),
    (two_in_two_out(), {"a": np.zeros((2, 3), np.int8)}, ValueError, "the inputs must be named a, b, got a"),
    (
        two_in_two_out(),
        [np.zeros((2, 3), np.int8), np.zeros((4, 3), np.int8)],
        ValueError,
        "one number of rows, got a: 2, b: 4",
    ),
]


@pytest.mark.parametrize("model, codes, error, message", WRONG)
def test_a_wrong_input_is_refused_with_the_way_out(
    model: IntegerModel, codes: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model.run(codes)
    with pytest.raises(error, match=message):
        model.trace(codes)


# Doors


def float_model() -> IntegerModel:
    """float32 -> QUANTIZE -> RELU -> DEQUANTIZE."""
    nodes = (
        Node("q", "QUANTIZE", ("x",), (1, 3), qparams=HALF, dtype=INT8),
        node("relu", "RELU", ("q",), (1, 3)),
        Node("y", "DEQUANTIZE", ("relu",), (1, 3), dtype=FLOAT),
    )
    return IntegerModel(Graph((value("x", 1, 3, qparams=None, dtype=FLOAT),), nodes, ("y",)))


def test_a_model_that_begins_with_quantize_takes_reals_and_one_that_ends_with_dequantize_gives_them() -> None:
    model, x = float_model(), np.float32([[-1, 0.25, 100]])
    y = model.run(x)
    assert isinstance(y, np.ndarray) and y.dtype == np.float32 and y.tolist() == [[0.0, 0.5, 63.5]]
    assert list(model.trace(x)) == ["x", "q", "relu", "y"] and model.trace(x)["q"].tolist() == [[-2, 1, 127]]
    called = model(x.astype(np.float64))
    assert isinstance(called, np.ndarray) and np.array_equal(called, y)
    with pytest.raises(TypeError, match=r"input 'x' must be float32, got float64\. This model quantizes by itself"):
        model.run(x.astype(np.float64))
    with pytest.raises(ValueError, match="x must be finite, got NaN"):
        model.run(np.float32([[np.nan, 0, 0]]))


@examples(30)
@given(networks(), st.integers(0, 2**32 - 1))
def test_calling_is_quantize_run_dequantize(drawn: Drawn, seed: int) -> None:
    model = IntegerModel(drawn.graph)
    rng = np.random.default_rng(seed)
    reals = {v.name: rng.normal(0, 3, v.shape).astype(np.float32) for v in model.inputs}
    called = model(reals)
    codes = model.run({v.name: quantize(reals[v.name], v.qparams) for v in model.inputs})  # type: ignore[arg-type]
    outputs, expected = (r if isinstance(r, list) else [r] for r in (called, codes))
    for v, one, other in zip(model.outputs, outputs, expected, strict=True):
        assert v.qparams is not None and np.array_equal(one, dequantize(other, v.qparams)) and one.dtype == np.float32


def test_calling_with_codes_is_refused_and_with_numbers_is_fine() -> None:
    model = relu_model(1, 2)
    with pytest.raises(TypeError, match=r"input 'x' must be real numbers, got int8\. Codes go to run\(codes\)"):
        model(np.int8([[1, 2]]))
    assert model([[1.5, -2]]).tolist() == model(np.array([[1.5, -2.0]])).tolist() == [[1.5, 0.0]]  # type: ignore[union-attr]
    assert [r.tolist() for r in two_in_two_out()([np.ones((2, 3)), np.zeros((2, 3))])] == [[[1.0] * 3] * 2] * 2


# Trace and single nodes


@examples(40)
@given(networks())
def test_a_trace_holds_every_value_in_order_and_each_node_alone_gives_its_own(drawn: Drawn) -> None:
    model = IntegerModel(drawn.graph)
    trace = model.trace(drawn.arrays)
    assert list(trace) == [v.name for v in model.inputs] + [n.name for n in drawn.graph]
    result = model.run(drawn.arrays)
    for v, array in zip(model.outputs, result if isinstance(result, list) else [result], strict=True):
        assert np.array_equal(trace[v.name], array)
    for n in drawn.graph:
        assert np.array_equal(model.run_node(n.name, {name: trace[name] for name in n.inputs}), trace[n.name])
    arrays = list(trace.values())
    assert not any(np.may_share_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


def test_an_unknown_node_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match="name must be a node of the graph, got 'x': .*there are relu"):
        relu_model(1, 4).run_node("x", random_codes(1, 4))
    with pytest.raises(TypeError, match="input 'x' must be int8, got float32"):
        relu_model(1, 4).run_node("relu", np.zeros((1, 4), np.float32))


def test_run_keeps_no_value_longer_than_a_later_node_needs_it() -> None:
    """In a chain of ten copies at most two live at once."""
    alive: list[int] = []
    nodes = [node(f"n{i}", "RELU", (f"n{i - 1}" if i else "x",), (1, 4)) for i in range(10)]
    schedule = reference.Schedule(Graph((value("x", 1, 4),), tuple(nodes), ("n9",)))
    import weakref

    references = []
    for _, array in schedule.values([random_codes(1, 4)]):
        references.append(weakref.ref(array))
        del array
        alive.append(sum(r() is not None for r in references))
    assert max(alive) <= 2


# The model itself


def test_nbytes_counts_weights_biases_and_constants_as_stored() -> None:
    fc = Node(
        "fc",
        "FULLY_CONNECTED",
        ("x",),
        (1, 3),
        params={"weight": np.ones((3, 4), np.int8), "bias": np.ones(3, np.int32)},
        qparams=HALF,
        param_qparams={"weight": HALF},
        dtype=INT8,
    )
    model = IntegerModel(Graph((value("x", 1, 4),), (fc,), ("fc",)))
    assert model.nbytes == 12 + 12
    assert repr(model) == "IntegerModel(1 nodes, 24 bytes of parameters, inputs: x [1, 4] int8)"


def test_only_a_graph_makes_a_model() -> None:
    with pytest.raises(TypeError, match="graph must be a Graph, got str. Make one with convert or load_tflite"):
        IntegerModel("model.tflite")  # type: ignore[arg-type]


# Engines, dialects, writers


def test_unknown_engines_and_dialects_are_refused_with_those_there_are() -> None:
    model, x = relu_model(1, 2), np.int8([[1, 2]])
    with pytest.raises(ValueError, match="engine must be one of auto, .*reference, got 'gpu'"):
        model.run(x, engine="gpu")
    for call in (
        lambda: model.run(x, dialect="onnx"),
        lambda: model.trace(x, dialect="onnx"),
        lambda: model.run_node("relu", x, dialect="onnx"),
    ):
        with pytest.raises(ValueError, match="dialect must be one of tflm.*, got 'onnx'"):
            call()
    with pytest.raises(ValueError, match="dialect must be one of tflm.*, got 'onnx'"):
        build_step(model.graph.nodes[0], model.inputs, "onnx")
    assert known_dialects()[0] == "tflm" and "reference" in known_engines()


def doubling(n: Node, inputs: Sequence[Value]) -> Step:
    """A dialect whose every rescaling gives twice as much."""
    arguments = prepare(n, inputs)
    arguments["rescale"] = lambda acc, multiplier, shift: 2 * acc
    return Step(KERNELS[n.op], arguments)


def test_a_dialect_is_a_few_arguments_more() -> None:
    register_dialect("doubling", doubling)
    model, x = relu_model(1, 2), np.int8([[3, -3]])
    assert model.run(x, dialect="doubling").tolist() == [[6, 0]]  # type: ignore[union-attr]
    assert model.trace(x, dialect="doubling")["relu"].tolist() == [[6, 0]]
    assert model.run_node("relu", x, dialect="doubling").tolist() == [[6, 0]]
    assert model.run(x).tolist() == [[3, 0]]  # type: ignore[union-attr]


def test_an_inexact_operator_warns_by_name_and_strict_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """MEAN is said to be inexact in the dialect "rough", in nodes of a reduced axis 1."""
    monkeypatch.setattr(registry, "OPS", {**registry.OPS, "MEAN": replace(registry.OPS["MEAN"], inexact=("rough",))})
    register_dialect(
        "rough", lambda n, _: Step(KERNELS[n.op], prepare(n, _)), inexact=lambda n, _: n.attrs["axis"] == (1,)
    )
    means = [node("fine", "MEAN", ("x",), (1, 3), axis=2), node("mean", "MEAN", ("x",), (1, 1), axis=1)]
    graph = Graph((value("x", 1, 3, 1),), (node("relu", "RELU", ("x",), (1, 3, 1)), *means), ("fine", "mean"))
    model, x = IntegerModel(graph), np.int8([[[1], [2], [3]]])
    for run in (model.run, model.trace):
        with pytest.warns(
            InexactDialectWarning, match="dialect 'rough' is not reproduced byte for byte in MEAN: expect"
        ):
            run(x, dialect="rough")
        with pytest.raises(ValueError, match="in MEAN, and strict=True wants it to be"):
            run(x, dialect="rough", strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.run_node("relu", x, dialect="rough", strict=True)
        model.run_node("fine", x, dialect="rough", strict=True)
        model.run(x, strict=True)
    with pytest.warns(InexactDialectWarning):
        model.run_node("mean", x, dialect="rough")


def test_auto_takes_the_fastest_engine_that_does_not_pass() -> None:
    calls = []

    def engine(name: str, passes: bool) -> registry.BuildEngine:
        def build(graph: Graph, dialect: str) -> registry.RunGraph | None:
            def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
                calls.append(name)
                return [np.maximum(array, 0) for array in arrays]

            return None if passes else run

        return build

    register_engine("slow", engine("slow", False), speed=50)
    register_engine("fast", engine("fast", False), speed=90)
    register_engine("fastest", engine("fastest", True), speed=99)
    model, x = relu_model(1, 2), np.int8([[3, -3]])
    assert list(known_engines())[:2] == ["fastest", "fast"] and list(known_engines())[-1] == "reference"
    model.run(x, engine="auto")
    model(np.float32([[1, 2]]))
    model.run(x, engine="slow")
    model.run(x)
    assert calls == ["fast", "fast", "slow"]
    with pytest.raises(ValueError, match="engine 'fastest' must be able to run dialect 'tflm', got a refusal"):
        model.run(x, engine="fastest")


def test_saving_goes_through_the_writers_that_are_registered(tmp_path: Path) -> None:
    registry._WRITERS.clear()
    model = relu_model(1, 2)
    with pytest.raises(ValueError, match="there must be a writer of 'npz', got none. Import tinyquant.interop first"):
        model.save(tmp_path / "m.npz")
    written = []
    for kind in ("npz", "tflite", "c"):
        register_writer(kind, lambda m, path, kind=kind: written.append((kind, m, path)))  # type: ignore[misc]
    model.save(tmp_path / "a")
    model.save_tflite(tmp_path / "b")
    model.save_c(tmp_path / "c")
    assert written == [("npz", model, tmp_path / "a"), ("tflite", model, tmp_path / "b"), ("c", model, tmp_path / "c")]
