"""The engine "blas" gives the reference's bytes: on drawn graphs and golden cases, in every dialect, in blocks of any size."""

from __future__ import annotations

import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from golden_cases import golden_case, golden_names
from hypothesis import given
from hypothesis import strategies as st
from integer_strategies import GROW, Drawn, examples, networks, one_node_graphs

import tinyquant.engines  # noqa: F401  the engine and the dialects register themselves
from tinyquant.engines import blas
from tinyquant.engines.blas import Engine
from tinyquant.engines.blas_codes import Kernel, OneCode, Pool, TwoCodes
from tinyquant.engines.blas_memory import Scratch, Slot
from tinyquant.engines.blas_products import Convolution, Dense, Depthwise
from tinyquant.graph import Graph, Node, Value
from tinyquant.integer import IntegerModel, Step, known_dialects, known_engines, registry
from tinyquant.integer.reference import Schedule
from tinyquant.numerics.qparams import QParams

INT8 = np.dtype(np.int8)
HALF = QParams(0.5, 0)


def assert_equal_bytes(graph: Graph, arrays: list[np.ndarray], dialect: str = "tflm") -> None:
    """Both engines, byte for byte, and the answers are the caller's own."""
    reference = Schedule(graph, dialect).run(arrays)
    engine = Engine(graph, dialect)
    for _ in range(2):
        got = engine.run(arrays)
        for name, one, other in zip(graph.outputs, got, reference, strict=True):
            assert one.dtype == other.dtype and one.shape == other.shape, name
            wrong = np.flatnonzero(one.ravel().view(np.uint8) != other.ravel().view(np.uint8))
            assert wrong.size == 0, f"{name}: {wrong.size} bytes differ in dialect {dialect}"
        # What comes back may be written to: the second run must not see it.
        for array in got:
            array[...] = 77


@pytest.mark.parametrize("name", [name for name in golden_names() if name != "QUANTIZE_005_random"])
def test_golden_cases(name: str) -> None:
    case = golden_case(name)
    assert_equal_bytes(case.graph, case.inputs)
    assert np.array_equal(IntegerModel(case.graph).run(case.inputs, engine="blas"), case.expected)


@pytest.mark.parametrize("op", sorted(GROW))
def test_an_operator_with_every_setting(op: str) -> None:
    @examples(60 if op in ("CONV_2D", "DEPTHWISE_CONV_2D") else 25)
    @given(one_node_graphs(op))
    def holds(drawn: Drawn) -> None:
        assert_equal_bytes(drawn.graph, drawn.arrays)

    holds()


@examples(60)
@given(networks(longest=8))
def test_networks(drawn: Drawn) -> None:
    assert_equal_bytes(drawn.graph, drawn.arrays)


@examples(40)
@given(networks(), st.sampled_from(known_dialects()))
def test_networks_in_every_dialect(drawn: Drawn, dialect: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_equal_bytes(drawn.graph, drawn.arrays, dialect)


@examples(25)
@given(networks(), st.integers(0, 9), st.integers(0, 1 << 14), st.integers(0, 2**32 - 1))
def test_any_number_of_rows_in_blocks_of_any_size(drawn: Drawn, runs: int, block_bytes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-128, 128, (runs * v.shape[0], *v.shape[1:])).astype(np.int8) for v in drawn.graph.inputs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blas, "BLOCK_BYTES", block_bytes)
        assert_equal_bytes(drawn.graph, arrays)


# Which way is taken: equality alone would also hold if everything fell back on the kernels


def convolution(kernel: int = 3, image: int = 9, channels: int = 8, outputs: int = 5, scale: float = 0.5, **attrs: Any) -> Graph:
    """A CONV_2D y of random weights on x, "same"."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (outputs, kernel, kernel, channels // attrs.pop("groups", 1))).astype(np.int8)
    fields: dict[str, Any] = {"param_qparams": {"weight": QParams(0.01, 0)}, "dtype": INT8}
    stride = attrs.get("stride", 1)
    size = -(-image // stride)
    params = {"weight": weight, "bias": rng.integers(-999, 999, outputs).astype(np.int32)}
    node = Node(
        "y",
        "CONV_2D",
        ("x",),
        (1, size, size, outputs),
        {"padding": "same", **attrs},
        params,
        QParams(scale, 3),
        **fields,
    )
    return Graph((Value("x", (1, image, image, channels), INT8, QParams(0.05, -7)),), (node,), ("y",))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("channels, image", [(8, 30), (2, 12), (8, 5)])
def test_convolutions_are_products_of_either_lowering(stride: int, dilation: int, channels: int, image: int) -> None:
    """By rows where there are many channels and pixels, by whole windows else."""
    graph = convolution(image=image, channels=channels, stride=stride, dilation=dilation)
    layer = Engine(graph).layers["y"]
    assert isinstance(layer, Convolution) and layer.kind == np.float32 and layer.requantization is not None
    rng = np.random.default_rng(1)
    assert_equal_bytes(graph, [rng.integers(-128, 128, (3, image, image, channels)).astype(np.int8)])


def test_float64_takes_over_where_float32_is_not_proved_and_the_kernel_where_no_float_is() -> None:
    """The bound sum |w| max |x - Z|: 2**24 = 16777216; with 2**31 the target itself would wrap."""
    for depth, kind in ((518, np.float32), (519, np.float64), (66_000, np.float64), (66_400, None)):
        weight = np.full((1, depth), 127, np.int8)
        fields: dict[str, Any] = {"qparams": QParams(9000.0, 0), "param_qparams": {"weight": HALF}, "dtype": INT8}
        node = Node("y", "FULLY_CONNECTED", ("x",), (1, 1), params={"weight": weight}, **fields)
        graph = Graph((Value("x", (1, depth), INT8, QParams(0.5, -128)),), (node,), ("y",))
        layer = Engine(graph).layers["y"]
        assert isinstance(layer, Kernel) if kind is None else isinstance(layer, Dense) and layer.kind == kind
        odd = np.full((1, depth), 127, np.int8)
        odd[0, ::2] = 126
        assert_equal_bytes(graph, [np.concatenate([odd, np.full((1, depth), 127, np.int8), -odd])])


def test_what_multiplies_and_rounds_is_proved_and_what_does_not_goes_by_table() -> None:
    x = Value("x", (1, 4, 4, 6), INT8, HALF)
    weight = np.ones((1, 3, 3, 6), np.int8)
    fields: dict[str, Any] = {"qparams": HALF, "dtype": INT8}
    nodes = (
        Node("dw", "DEPTHWISE_CONV_2D", ("x",), (1, 2, 2, 6), {}, {"weight": weight}, param_qparams={"weight": HALF}, **fields),
        Node("pool", "AVERAGE_POOL_2D", ("x",), (1, 2, 2, 6), {"filter": 3}, **fields),
        Node("sum", "ADD", ("dw", "pool"), (1, 2, 2, 6), qparams=QParams(0.9, 1), dtype=INT8),
        Node("tanh", "TANH", ("sum",), (1, 2, 2, 6), qparams=QParams(1 / 128, 0), dtype=INT8),
        Node("mean", "MEAN", ("tanh",), (1, 6), {"axis": (1, 2)}, **fields),
    )
    layers = Engine(Graph((x,), nodes, ("mean",))).layers
    assert [type(layers[n.name]) for n in nodes] == [Depthwise, Pool, TwoCodes, OneCode, Kernel]
    depthwise, total = layers["dw"], layers["sum"]
    assert isinstance(depthwise, Depthwise) and depthwise.requantization is not None
    assert isinstance(total, TwoCodes) and total.nudge is not None


def test_readers_with_different_padding_share_a_value() -> None:
    """x stands in a frame for the 3x3 window; the 1x1 and the valid one read inside it, or part of it."""
    rng = np.random.default_rng(4)
    x = Value("x", (1, 10, 10, 8), INT8, QParams(0.05, 9))
    nodes = []
    for name, kernel, padding, size in (("a", 1, "same", 10), ("b", 3, "same", 10), ("c", 3, "valid", 8), ("d", 5, "same", 10)):
        params = {"weight": rng.integers(-127, 128, (4, kernel, kernel, 8)).astype(np.int8)}
        fields: dict[str, Any] = {"qparams": HALF, "param_qparams": {"weight": QParams(0.01, 0)}, "dtype": INT8}
        nodes.append(Node(name, "CONV_2D", ("x",), (1, size, size, 4), {"padding": padding}, params, **fields))
    dense = {"weight": rng.integers(-9, 9, (3, 800)).astype(np.int8)}
    flat = Node("e", "FULLY_CONNECTED", ("x",), (1, 3), params=dense, **fields)
    graph = Graph((x,), (*nodes, flat), ("a", "b", "c", "d", "e"))
    for seed in range(2):
        assert_equal_bytes(graph, [np.random.default_rng(seed).integers(-128, 128, (2, 10, 10, 8)).astype(np.int8)])


def test_a_copy_that_changes_the_meaning_of_its_codes_copies_codes() -> None:
    """RESHAPE between different zero points is what the target runs; carried as code minus zero point it would shift."""
    node = Node("y", "RESHAPE", ("x",), (1, 4), {"new_shape": (1, 4)}, qparams=QParams(0.5, 9), dtype=INT8)
    assert_equal_bytes(Graph((Value("x", (1, 2, 2), INT8, QParams(0.5, -3)),), (node,), ("y",)), [np.int8([[[1, 2], [3, 4]]])])


def test_an_accumulator_that_wraps_on_the_target_wraps_here() -> None:
    """The sum is proved, the bias carries it past 2**31: no float form, and the kernel's int32."""
    params = {"weight": np.int8([[127]]), "bias": np.int32([2**31 - 1])}
    fields: dict[str, Any] = {"qparams": QParams(2.0**24, 0), "param_qparams": {"weight": HALF}, "dtype": INT8}
    node = Node("y", "FULLY_CONNECTED", ("x",), (1, 1), params=params, **fields)
    graph = Graph((Value("x", (1, 1), INT8, HALF),), (node,), ("y",))
    layer = Engine(graph).layers["y"]
    assert isinstance(layer, Dense) and layer.requantization is None
    for dialect in ("tflm", "litert_ref"):
        assert_equal_bytes(graph, [np.int8([[127], [0], [-128]])], dialect)
    assert Engine(graph).run([np.int8([[1], [-1]])])[0].tolist() == [[-32], [32]]


def test_a_dialects_own_kernel_is_called_as_it_is() -> None:
    """A step whose kernel is not the reference's may mean anything by its arguments."""
    node = Node("y", "FULLY_CONNECTED", ("x",), (1, 1), qparams=HALF, dtype=INT8)
    graph = Graph((Value("x", (1, 2), INT8, HALF),), (node,), ("y",))
    with pytest.MonkeyPatch.context() as patch:
        own = Step(lambda x, weight: x[:, :1] + weight, {"weight": np.int8(1)})
        patch.setitem(registry._DIALECTS, "own", lambda node, inputs: own)
        assert isinstance(Engine(graph, "own").layers["y"], Kernel)
        assert_equal_bytes(graph, [np.int8([[3, 4]])], "own")


def test_many_groups_stay_with_the_kernel() -> None:
    assert isinstance(Engine(convolution(channels=18, outputs=9, groups=9)).layers["y"], Kernel)
    graph = convolution(channels=18, outputs=6, groups=6)
    assert isinstance(Engine(graph).layers["y"], Convolution)
    assert_equal_bytes(graph, [np.random.default_rng(0).integers(-128, 128, (2, 9, 9, 18)).astype(np.int8)])


def test_a_sum_without_a_formula_goes_by_the_table_of_all_pairs() -> None:
    """Equal power-of-two scales and an output twice as coarse make every odd sum a tie, away from zero: no nudge does both."""
    fields: dict[str, Any] = {"qparams": QParams(1.0, 0), "dtype": INT8}
    graph = Graph(
        (Value("a", (256, 256), INT8, HALF), Value("b", (256, 256), INT8, HALF)),
        (Node("y", "ADD", ("a", "b"), (256, 256), **fields),),
        ("y",),
    )
    layer = Engine(graph).layers["y"]
    assert isinstance(layer, TwoCodes) and layer.nudge is None
    codes = np.arange(-128, 128).astype(np.int8)
    assert_equal_bytes(graph, [np.repeat(codes, 256).reshape(256, 256), np.tile(codes, 256).reshape(256, 256)])


# The engine as one of the registry's


def test_auto_is_blas_and_says_the_same() -> None:
    assert next(iter(known_engines())) == "blas"
    model = IntegerModel(convolution())
    x = np.random.default_rng(2).integers(-128, 128, (5, 9, 9, 8)).astype(np.int8)
    expected = model.run(x)
    assert np.array_equal(model.run(x, engine="auto"), expected)
    assert np.array_equal(model.run(x, engine="blas"), expected)


def test_inputs_are_left_alone_and_outputs_are_new() -> None:
    graph = Graph((Value("x", (1, 4), INT8, HALF),), (Node("y", "RELU", ("x",), (1, 4), qparams=HALF, dtype=INT8),), ("x", "y"))
    x = np.int8([[-1, 2, -3, 4]])
    x.flags.writeable = False
    first = IntegerModel(graph).run(x, engine="blas")
    assert [array.tolist() for array in first] == [[[-1, 2, -3, 4]], [[0, 2, 0, 4]]]
    assert not any(np.may_share_memory(array, x) for array in first)


def test_reals_go_in_and_come_out() -> None:
    nodes = (
        Node("q", "QUANTIZE", ("x",), (1, 3), qparams=QParams(0.5, 1), dtype=INT8),
        Node("y", "DEQUANTIZE", ("q",), (1, 3)),
    )
    graph = Graph((Value("x", (1, 3), np.dtype(np.float32)),), nodes, ("y", "q"))
    assert_equal_bytes(graph, [np.float32([[-1, 0.25, 100], [3, 4, 5]])])


def test_a_row_that_no_caller_gave_raises_nothing() -> None:
    """A short block is filled with copies of a real row: 512 equal logits, say, would be refused."""
    soft = Node("y", "SOFTMAX", ("x",), (1, 600), qparams=QParams(1 / 256, -128), dtype=INT8)
    graph = Graph((Value("x", (1, 600), INT8, QParams(0.1, 0)),), (soft,), ("y",))
    rows = np.full((3, 600), -128, np.int8)
    rows[:, :7] = 127
    assert_equal_bytes(graph, [rows])
    assert_equal_bytes(graph, [rows[:0]])


def test_threads_take_turns() -> None:
    graph = convolution(image=12)
    engine, rng = Engine(graph), np.random.default_rng(3)
    batches = [rng.integers(-128, 128, (4, 12, 12, 8)).astype(np.int8) for _ in range(8)]
    expected = [Schedule(graph).run([batch])[0] for batch in batches]
    wrong = [0] * len(batches)

    def work(i: int) -> None:
        for _ in range(20):
            wrong[i] += not np.array_equal(engine.run([batches[i]])[0], expected[i])

    kept = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(kept)
    assert wrong == [0] * len(batches)


def test_only_the_latest_plans_are_kept() -> None:
    engine = Engine(convolution(image=4))
    for runs in (1, 2, 3, 5, 9, 17, 33, 65, 2):
        engine.run([np.zeros((runs, 4, 4, 8), np.int8)])
    assert len(engine._plans) == blas.MOST_PLANS and next(reversed(engine._plans)) == 2


# Memory


def test_a_frame_is_zeros_that_no_store_touches() -> None:
    slot = Slot((1, 2, 2, 1), -5, ((1, 2), (0, 1)))
    slot.store(np.full((1, 2, 2, 1), 7, np.int8))
    assert slot.buffer[0, :, :, 0].tolist() == [[0, 0, 0], [12, 12, 0], [12, 12, 0], [0, 0, 0], [0, 0, 0]]
    assert slot.framed(((1, 0), (0, 0)))[0, :, :, 0].tolist() == [[0, 0], [12, 12], [12, 12]]
    assert slot.array().tolist() == np.full((1, 2, 2, 1), 7).tolist() and slot.array().dtype == np.int8


def test_scratch_of_a_name_is_one_piece_of_memory_and_grows() -> None:
    scratch = Scratch()
    small = scratch.take("a", (2, 3), np.float32)
    large = scratch.take("a", (5, 3), np.float64)
    assert small.shape == (2, 3) and large.shape == (5, 3) and scratch.sizes == {"a": 120}
    again = Scratch(scratch.sizes)
    assert np.may_share_memory(again.take("a", (2, 3), np.float32), again.take("a", (5, 3), np.float64))
