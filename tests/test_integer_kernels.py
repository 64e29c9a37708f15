"""The kernels and their preparation against Python ints and rationals, cell by cell; and the laws of the table functions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_oracles import SLOW, slow_node
from integer_strategies import GROW, Drawn, examples, one_node_graphs

from tinyquant.graph import OPS, Graph, Node, Value
from tinyquant.integer import KERNELS, IntegerModel, build_step, prepare
from tinyquant.integer.kernels.activations import leaky_relu, relu6, softmax
from tinyquant.integer.kernels.convolution import conv_2d, depthwise_conv_2d, fully_connected
from tinyquant.integer.kernels.pooling import average_pool_2d
from tinyquant.integer.kernels.windows import to_codes
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier
from tinyquant.numerics.qparams import QParams

INT8 = np.dtype(np.int8)


def test_the_table_of_kernels_is_the_table_of_operators() -> None:
    """Every row with integers has a kernel and is drawn in these tests; nothing else has."""
    assert set(KERNELS) == {op for op, row in OPS.items() if row.integer}
    assert set(GROW) == set(KERNELS) - {"CONSTANT", "DEQUANTIZE"}
    assert set(SLOW) == set(GROW) - {"SOFTMAX", "LOGISTIC", "TANH"}


@pytest.mark.parametrize("op", sorted(SLOW))
def test_a_node_is_its_definition_cell_by_cell(op: str) -> None:
    """y = the slow definition, for all settings, k runs of the declared batch, zero points and codes at the ends."""

    @examples(60)
    @given(one_node_graphs(op))
    def holds(drawn: Drawn) -> None:
        model = IntegerModel(drawn.graph)
        trace = model.trace(drawn.arrays)
        node = drawn.graph.nodes[-1]
        values = [drawn.graph.value(name) for name in node.inputs]
        expected = slow_node(node, values, [trace[name] for name in node.inputs])
        got = trace[node.name]
        assert got.dtype == np.int8 and got.shape == expected.shape
        for index in map(tuple, np.argwhere(got != expected)):
            raise AssertionError(f"{node.op} {dict(node.attrs)}: {got[index]} at {index}, not {expected[index]}")

    holds()


@pytest.mark.parametrize("op", sorted(GROW))
def test_a_kernel_keeps_its_inputs_and_returns_an_array_of_its_own(op: str) -> None:
    @examples(10)
    @given(one_node_graphs(op))
    def holds(drawn: Drawn) -> None:
        node = drawn.graph.nodes[-1]
        values = [drawn.graph.value(name) for name in node.inputs]
        trace = IntegerModel(drawn.graph).trace(drawn.arrays)
        arrays = [trace[name] for name in node.inputs]
        kept = [array.copy() for array in arrays]
        for array in arrays:
            array.flags.writeable = False
        y = build_step(node, values)(arrays)
        assert all(np.array_equal(a, b) for a, b in zip(arrays, kept))
        assert not any(np.may_share_memory(y, array) for array in [*arrays, *node.params.values()])
        assert y.flags.writeable

    holds()


@pytest.mark.parametrize("op", sorted(GROW))
def test_an_empty_batch_gives_an_empty_output_of_the_right_shape(op: str) -> None:
    @examples(10)
    @given(one_node_graphs(op))
    def holds(drawn: Drawn) -> None:
        got = IntegerModel(drawn.graph).run([array[:0] for array in drawn.arrays])
        assert isinstance(got, np.ndarray) and got.dtype == np.int8
        assert got.shape == (0, *drawn.graph.nodes[-1].shape[1:])

    holds()


# The accumulator and what follows it


def test_the_accumulator_wraps_modulo_two_to_the_32_as_the_register_does() -> None:
    """127 * 255 * 70000 is above 2**31: the sum comes out negative."""
    x, weight = np.full((1, 70_000), 127, np.int8), np.full((1, 70_000), 127, np.int8)
    total = 127 * 255 * 70_000
    assert total >= 2**31
    kept = {}

    def rescale(acc: np.ndarray, multiplier: object, shift: object) -> np.ndarray:
        kept["acc"] = acc.copy()
        return np.zeros_like(acc)

    fully_connected(x, weight, input_zero_point=-128, output_zero_point=0, multiplier=0, shift=0, rescale=rescale)
    assert kept["acc"].tolist() == [[total - 2**32]]
    assert kept["acc"].dtype == np.int64, "a rule of one's own may multiply the accumulator by 2**31 without overflow"


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-128, 127), st.tuples(st.integers(-128, 127), st.integers(-128, 127)))
def test_the_zero_point_is_added_before_the_clamp(acc: int, zero: int, ends: tuple[int, int]) -> None:
    low, high = min(ends), max(ends)
    got = to_codes(np.array([acc]), 2**30, 1, multiply_by_quantized_multiplier, zero, low, high)
    wrapped = (acc * 2 + 2**31) % 2**32 - 2**31
    assert got.tolist() == [min(max((wrapped + 1 >> 1) + zero, low), high)]


def test_padding_is_real_zero_whatever_the_zero_point() -> None:
    """An image of real zeros stays zero through a same-padded convolution, for every zero point."""
    weight = np.full((1, 3, 3, 1), 127, np.int8)
    for zero in (-128, -1, 0, 127):
        x = np.full((1, 2, 2, 1), zero, np.int8)
        padding = ((1, 1), (1, 1))
        y = conv_2d(x, weight, input_zero_point=zero, output_zero_point=5, multiplier=2**30, shift=1, padding=padding)
        assert y.tolist() == np.full((1, 2, 2, 1), 5).tolist()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3))
def test_a_depthwise_convolution_is_a_grouped_one(seed: int, channels: int, multiplier: int) -> None:
    """Groups = channels: CONV_2D [I*m, kh, kw, 1] holds the weights of DEPTHWISE [1, kh, kw, I*m] with the axes moved."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (2, 5, 4, channels)).astype(np.int8)
    weight = rng.integers(-127, 128, (1, 3, 2, channels * multiplier)).astype(np.int8)
    same = {"input_zero_point": 3, "output_zero_point": -7, "multiplier": 2**30 + 12345, "shift": -6, "stride": (2, 1)}
    grouped = conv_2d(x, weight.transpose(3, 1, 2, 0), **same)  # type: ignore[arg-type]
    assert np.array_equal(depthwise_conv_2d(x, weight, **same), grouped)  # type: ignore[arg-type]


def test_an_average_counts_only_the_cells_inside_and_rounds_away_from_code_zero() -> None:
    """Corner windows of a 2x2 image under 3x3 "same" hold 4 cells, not 9; (1 + 2) / 2 is 2 and (-1 - 2) / 2 is -2."""
    x = np.int8([[1, 2], [3, 4]]).reshape(1, 2, 2, 1)
    y = average_pool_2d(x, window=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)))
    assert y.ravel().tolist() == [3, 3, 3, 3]
    for codes, mean in (([1, 2], 2), ([-1, -2], -2), ([-1, 2], 1), ([-2, 1], -1)):
        row = np.int8(codes).reshape(1, 1, 2, 1)
        assert average_pool_2d(row, window=(1, 2), stride=(1, 1), padding=((0, 0), (0, 0))).item() == mean


@pytest.mark.parametrize("zero", [-128, 0, 127])
def test_requantizing_to_the_same_scale_changes_nothing(zero: int) -> None:
    codes = np.arange(-128, 128).astype(np.int8)[None]
    qparams = QParams(0.3, zero)
    node = Node("q", "QUANTIZE", ("x",), (1, 256), qparams=qparams, dtype=INT8)
    assert np.array_equal(build_step(node, [Value("x", (1, 256), INT8, qparams)])([codes]), codes)


def test_relu6_keeps_the_upper_end_where_the_ends_cross() -> None:
    assert relu6(np.int8([0, 5]), act_min=10, act_max=3).tolist() == [3, 3]


def test_a_negative_slope_rounds_the_magnitude_and_then_changes_the_sign() -> None:
    """-3 * -0.5: the magnitude's -1.5 goes up to -1 (ties up), so the result is 1; a negative multiplier would give 2."""
    y = leaky_relu(np.int8([-3]), input_zero_point=0, output_zero_point=0, multipliers=(2**30, -(2**30)), shifts=(1, 0))
    assert y.tolist() == [1]


# Functions by table and polynomial


def row_model(op: str, scale: float, size: int, **attrs: float) -> IntegerModel:
    """A one-node model on [1, size] codes with zero point 0."""
    output = {"TANH": QParams(1 / 128, 0)}.get(op, QParams(1 / 256, -128))
    node = Node("y", op, ("x",), (1, size), attrs, qparams=output, dtype=INT8)
    return IntegerModel(Graph((Value("x", (1, size), INT8, QParams(scale, 0)),), (node,), ("y",)))


@settings(max_examples=60)
@given(st.lists(st.integers(-128, 127), min_size=1, max_size=40), st.sampled_from([2.0**-6, 0.05, 0.25, 1.0]))
def test_softmax_rows_sum_to_one_keep_the_order_and_ignore_a_shift(codes: list[int], scale: float) -> None:
    """Each output errs by at most half a step plus 1/64 (fixed-point), and the largest may be cut from 256 to 255."""
    model, x = row_model("SOFTMAX", scale, len(codes)), np.int8([codes])
    y = model.run(x)
    assert isinstance(y, np.ndarray)
    assert abs(int((y.astype(int) + 128).sum()) - 256) <= len(codes) * (0.5 + 1 / 64) + 1
    order = np.argsort(x[0], kind="stable")
    assert np.all(np.diff(y[0][order].astype(int)) >= 0)
    shifted = model.run((x.astype(int) - int(x.min()) - 128).astype(np.int8))
    assert np.array_equal(shifted, y)


@settings(max_examples=60)
@given(
    st.lists(st.integers(-128, 127), min_size=1, max_size=20),
    st.sampled_from([2.0**-6, 0.05, 0.25, 1.0]),
    st.sampled_from([1.0, 0.5]),
)
def test_softmax_is_within_a_step_of_the_real_one(codes: list[int], scale: float, beta: float) -> None:
    """Half a step of rounding; exp and 1/x err by less than 2**-20, another 1/64 of a step is generous; 255 stands for 256."""
    y = row_model("SOFTMAX", scale, len(codes), beta=beta).run(np.int8([codes]))
    assert isinstance(y, np.ndarray)
    real = np.exp(beta * float(np.float32(scale)) * (np.array(codes) - max(codes)))
    exact = np.minimum(256 * real / real.sum(), 255)
    assert np.abs(y[0].astype(int) + 128 - exact).max() <= 0.5 + 1 / 64


def test_a_row_of_511_equal_logits_is_the_longest_the_kernel_takes() -> None:
    assert row_model("SOFTMAX", 0.1, 511).run(np.zeros((1, 511), np.int8)).tolist() == [[-128 + 1] * 511]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="must add up to less than 512, got 512"):
        row_model("SOFTMAX", 0.1, 512).run(np.zeros((1, 512), np.int8))


def test_softmax_of_each_row_looks_at_that_row_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (4, 3, 7)).astype(np.int8)
    arguments = {"multiplier": 2**30, "shift": 22, "difference_min": -990}
    whole = softmax(x, **arguments)
    for index in np.ndindex(4, 3):
        assert np.array_equal(softmax(x[index], **arguments), whole[index])


@pytest.mark.parametrize("op", ["LOGISTIC", "TANH"])
@pytest.mark.parametrize("scale", [2.0**-8, 0.02, 2.0**-4, 0.3, 1.0, 3.0])
def test_logistic_and_tanh_are_within_a_step_of_the_real_ones_and_rise(op: str, scale: float) -> None:
    """Half a step of rounding, 1/64 for the polynomial, for all 256 codes; and S_x in Q4.27 loses at most 128 * 2**-27."""
    codes = np.arange(-128, 128).astype(np.int8)[None]
    y = row_model(op, scale, 256).run(codes)
    assert isinstance(y, np.ndarray)
    real = codes * float(np.float32(scale))
    exact = 256 / (1 + np.exp(-real)) - 128 if op == "LOGISTIC" else 128 * np.tanh(real)
    assert np.abs(y - exact.clip(-128, 127)).max() <= 0.5 + 1 / 64
    assert np.all(np.diff(y.astype(int)) >= 0)


@pytest.mark.parametrize(
    "op, scale, at",
    [("LOGISTIC", 5.0, {0: 0, 1: 127}), ("LOGISTIC", 9.5, {0: -128, 1: 127}), ("TANH", 9.5, {0: -128})],
)
def test_coarse_inputs_meet_the_targets_own_limits(op: str, scale: float, at: dict[int, int]) -> None:
    """A step of 4 or more reaches Q4.27's radius after one code, of 8 or more after none: real 0 then counts as far below."""
    y = row_model(op, scale, 256).run(np.arange(-128, 128).astype(np.int8)[None])
    assert isinstance(y, np.ndarray)
    assert {code: int(y[0, code + 128]) for code in at} == at


def test_every_argument_prepared_is_an_integer_an_integer_array_or_a_door() -> None:
    """No float reaches a kernel: only QUANTIZE of reals and DEQUANTIZE are handed a QParams."""

    def whole(value: object) -> bool:
        if isinstance(value, np.ndarray):
            return value.dtype.kind == "i"
        return value is None or isinstance(value, (int, np.integer)) or isinstance(value, tuple) and all(map(whole, value))

    @examples(60)
    @given(st.sampled_from(sorted(GROW)).flatmap(one_node_graphs))
    def holds(drawn: Drawn) -> None:
        for node in drawn.graph:
            arguments = prepare(node, [drawn.graph.value(name) for name in node.inputs])
            assert all(map(whole, arguments.values())), arguments

    holds()
