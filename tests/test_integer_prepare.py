"""From scales to integers: the clamps, the multipliers, the proof of the accumulator, and everything that is refused, by name."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from integer_oracles import limits
from integer_strategies import Drawn, examples, one_node_graphs
from oracles import FLOAT32, FLOAT64, finite_float, multiplier_exact, round_exact

from tinyquant.graph import ACTIVATIONS, OPS, Graph, Node, Value
from tinyquant.integer import IntegerModel, activation_range, prepare, prove_accumulator
from tinyquant.numerics.affine import quantize
from tinyquant.numerics.qparams import QParams

INT8, FLOAT = np.dtype(np.int8), np.dtype(np.float32)
HALF = QParams(0.5, 0)


def value(shape: tuple[int, ...] = (1, 4), qparams: QParams | None = HALF, dtype: np.dtype = INT8) -> Value:
    """An int8 input called x."""
    return Value("x", shape, dtype, qparams)


def dense(
    weight: np.ndarray, bias: np.ndarray | None = None, qparams: QParams = HALF, scale: QParams = HALF, **more: Any
) -> Node:
    """A FULLY_CONNECTED node called fc on x."""
    params = {"weight": weight} | ({} if bias is None else {"bias": bias})
    fields: dict[str, Any] = {"params": params, "qparams": qparams, "param_qparams": {"weight": scale}, "dtype": INT8}
    return Node("fc", "FULLY_CONNECTED", ("x",), (1, len(weight)), **fields | more)


def simple(
    op: str, shape: tuple[int, ...] = (1, 4), qparams: QParams | None = HALF, dtype: np.dtype = INT8, **attrs: Any
) -> Node:
    """A one-input node called n on x."""
    return Node("n", op, ("x",), shape, attrs, qparams=qparams, dtype=dtype)


# Numbers


@given(
    st.sampled_from(sorted(ACTIVATIONS)),
    st.floats(2.0**-20, 2.0**10, width=32),
    st.integers(-128, 127),
    st.sampled_from([(-128, 127), (-127, 127), (-8, 7)]),
)
def test_an_activation_clamps_to_the_codes_that_the_door_gives_its_ends(
    name: str, scale: float, zero: int, codes: tuple[int, int]
) -> None:
    """[max(qmin, q(lower)), min(qmax, q(upper))], and q is the QUANTIZE of float32."""
    qparams = QParams(scale, min(max(zero, codes[0]), codes[1]), *codes)
    low, high = activation_range(name, qparams)
    assert (low, high) == limits(name, qparams)
    ends = [
        default if real is None else int(quantize(np.float32(real), qparams))
        for real, default in zip(ACTIVATIONS[name], codes)
    ]
    assert [low, high] == ends


def test_a_scale_so_small_that_six_overflows_clamps_to_the_last_code() -> None:
    assert activation_range("relu6", QParams(2.0**-126, -128)) == (-128, 127)
    assert activation_range("relu_n1_to_1", QParams(2.0**-149, 0)) == (-128, 127)


@given(st.floats(2.0**-20, 2.0**4), st.floats(2.0**-20, 2.0**4), st.floats(2.0**-16, 2.0**4))
def test_the_multiplier_comes_from_the_stored_scales_and_one_double_quotient(x: float, w: float, y: float) -> None:
    """Scales are rounded to float32 (what a file holds), the product is exact in a double, the quotient rounded once."""
    arguments = prepare(
        dense(np.int8([[1] * 4]), qparams=QParams(y, 0), scale=QParams(w, 0)), [value(qparams=QParams(x, 0))]
    )
    sx, sw, sy = (finite_float(Fraction(s), FLOAT32) for s in (x, w, y))
    real = finite_float(finite_float(sx * sw, FLOAT64) / sy, FLOAT64)
    assert (arguments["multiplier"], arguments["shift"]) == multiplier_exact(real)


def test_the_slope_and_beta_are_float32_as_in_a_file() -> None:
    """0.1 as a float32 is 0.100000001490116: its multiplier differs from the double's."""
    leaky = prepare(simple("LEAKY_RELU", alpha=0.1), [value()])
    stored = multiplier_exact(finite_float(Fraction(0.1), FLOAT32))
    assert (leaky["multipliers"][1], leaky["shifts"][1]) == stored != multiplier_exact(Fraction(0.1))
    soft = prepare(simple("SOFTMAX", qparams=QParams(1 / 256, -128), beta=0.1), [value()])
    assert (soft["multiplier"], soft["shift"]) == multiplier_exact(finite_float(Fraction(0.1), FLOAT32) / 2 * 2**26)


@pytest.mark.parametrize("scale", [2.0**-6, 0.05, 0.9, 3.0, 15.9])
def test_the_radius_is_what_still_fits_the_format(scale: float) -> None:
    """floor((2**b - 1) * 2**(31 - b) / 2**shift) codes, in exact rationals."""
    for op, bits in (("LOGISTIC", 4), ("SOFTMAX", 5)):
        arguments = prepare(simple(op, qparams=QParams(1 / 256, -128)), [value(qparams=QParams(scale, 0))])
        radius = arguments.get("radius", -arguments.get("difference_min", 0))
        assert radius == round_exact((2**bits - 1) * Fraction(2) ** (31 - bits - arguments["shift"]), "floor")


# The accumulator


@examples(100)
@given(st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"]).flatmap(one_node_graphs))
def test_the_bound_is_what_the_worst_input_reaches(drawn: Drawn) -> None:
    """sum |w| max|x - Z| + |bias| over each channel, in Python ints; and no drawn input goes beyond it."""
    node = drawn.graph.nodes[-1]
    x = drawn.graph.value(node.inputs[0])
    assert x.qparams is not None
    zero, axis = int(x.qparams.zero_point), OPS[node.op].weight_axis
    assert axis is not None
    weight = np.moveaxis(node.params["weight"].astype(object), axis, 0)
    bias = node.params.get("bias", np.zeros(len(weight), np.int32))
    worst = [
        sum(abs(int(w)) for w in row.ravel()) * max(127 - zero, 128 + zero) + abs(int(b))
        for row, b in zip(weight, bias)
    ]
    assert prove_accumulator(node, [x]) == max(worst)


def test_the_bound_is_met_exactly_below_two_to_the_31_and_refused_at_it() -> None:
    """One weight of 127 on codes from a zero point of -128: 127 * 255 + bias."""
    for total, fine in ((2**31 - 1, True), (2**31, False)):
        node = dense(np.int8([[127]]), np.int32([total - 127 * 255]))
        if fine:
            assert prove_accumulator(node, [value((1, 1), QParams(0.5, -128))]) == total
        else:
            with pytest.raises(
                ValueError, match=r"accumulator of node 'fc' \(FULLY_CONNECTED\) must stay below 2\*\*31.* 2147483648"
            ):
                prove_accumulator(node, [value((1, 1), QParams(0.5, -128))])


def test_a_bias_of_the_lowest_int_counts_with_its_magnitude() -> None:
    with pytest.raises(ValueError, match="may reach 2147483648"):
        prove_accumulator(dense(np.int8([[0]]), np.int32([-(2**31)])), [value((1, 1))])


def test_sums_of_codes_are_bounded_by_their_count() -> None:
    mean = simple("MEAN", (1, 1, 1, 3), axis=(1, 2), keep_dims=True)
    assert prove_accumulator(mean, [value((1, 5, 7, 3), QParams(0.5, -128))]) == 35 * 255
    pool = simple("AVERAGE_POOL_2D", (1, 1, 1, 3), filter=(5, 7))
    assert prove_accumulator(pool, [value((1, 5, 7, 3), QParams(0.5, -128))]) == 35 * 128
    assert prove_accumulator(simple("RELU"), [value()]) == 0
    assert prove_accumulator(Node("c", "CONSTANT", (), (1,), params={"value": np.int8([1])}), []) == 0


# What is refused


def test_every_operator_is_implemented_or_refused_by_name() -> None:
    refused = {op for op, row in OPS.items() if not row.integer}
    assert refused == {"BATCH_NORM"}
    node = Node("block1.bn", "BATCH_NORM", ("x",), (1, 4), qparams=HALF, dtype=INT8)
    with pytest.raises(ValueError, match=r"BATCH_NORM has no integer form.*\(node 'block1.bn', BATCH_NORM\)"):
        IntegerModel(Graph((value(),), (node,), ("block1.bn",)))


WIDE, UNSIGNED, CHANNELS = QParams(0.5, 0, -(2**15), 2**15 - 1), QParams(0.5, 0, 0, 255), QParams([0.5, 0.5], 0, axis=0)
ONES = np.ones((2, 4), np.int8)
IMAGE = (1, 4, 4, 2)


def conv(weight: tuple[int, ...], shape: tuple[int, ...], **attrs: Any) -> Node:
    """A CONV_2D node called n on x."""
    return Node(
        "n", "CONV_2D", ("x",), shape, attrs, {"weight": np.ones(weight, np.int8)}, HALF, {"weight": HALF}, INT8
    )


def depthwise(weight: tuple[int, ...], shape: tuple[int, ...], **attrs: Any) -> Node:
    """A DEPTHWISE_CONV_2D node called n on x."""
    return Node(
        "n",
        "DEPTHWISE_CONV_2D",
        ("x",),
        shape,
        attrs,
        {"weight": np.ones(weight, np.int8)},
        HALF,
        {"weight": HALF},
        INT8,
    )


def spread(weight: tuple[int, ...], shape: tuple[int, ...], **attrs: Any) -> Node:
    """A TRANSPOSE_CONV node called n on x."""
    return Node(
        "n", "TRANSPOSE_CONV", ("x",), shape, attrs, {"weight": np.ones(weight, np.int8)}, HALF, {"weight": HALF}, INT8
    )


REFUSALS: list[tuple[Node, Value, str]] = [
    # types and maps
    (
        simple("RELU"),
        value(qparams=WIDE),
        r"input 'x' must be int8 codes .*got \[-32768, 32767\]; 16-bit activations are simulated",
    ),
    (simple("RELU", qparams=WIDE), value(), "the output must be int8 codes within -128 to 127"),
    (simple("RELU"), value(qparams=UNSIGNED), "unsigned codes go to int8 by subtracting 128"),
    (simple("RELU"), value(qparams=None), "input 'x' must be int8 with qparams, got int8 without"),
    (simple("RELU"), value(qparams=None, dtype=FLOAT), "must be int8 with qparams, got float32 without"),
    (simple("RELU", dtype=FLOAT), value(), "the output must be int8 with qparams, got float32 with"),
    (simple("RELU", qparams=None), value(), "the output must be int8 with qparams"),
    (simple("RELU"), value((1, 2), CHANNELS), "input 'x' must have one scale, got one a channel"),
    (simple("DEQUANTIZE", qparams=HALF, dtype=FLOAT), value(), "the output must be float32 without qparams"),
    (simple("DEQUANTIZE", qparams=None), value(), "the output must be float32 without qparams, got int8"),
    (
        simple("QUANTIZE"),
        value(qparams=None, dtype=np.dtype(np.float64)),
        "input 'x' must be int8 with qparams, got float64",
    ),
    # parameters
    (dense(ONES.astype(np.int32)), value(), "weight must be int8 codes with qparams, got int32"),
    (dense(ONES, param_qparams={}), value(), "weight must be int8 codes with qparams"),
    (dense(ONES, params={}), value(), "weight must be int8 codes with qparams, got None"),
    (dense(ONES, scale=QParams(0.5, 3)), value(), "the weight's zero point must be 0, got 3"),
    (dense(ONES, scale=QParams([1, 1, 1], 0, axis=0)), value(), "must be the 2 of weight axis 0, got 3 along axis 0"),
    (
        dense(ONES, scale=QParams([1, 1, 1, 1], 0, axis=1)),
        value(),
        "must be the 2 of weight axis 0, got 4 along axis 1",
    ),
    (dense(ONES, np.zeros(3, np.int32)), value(), r"bias must be int32 of shape \(2,\), got int32 \(3,\)"),
    (dense(ONES, np.zeros(2, np.int64)), value(), "bias must be int32 of shape"),
    (dense(ONES, params={"weight": ONES, "gamma": np.ones(2)}), value(), r"got \['gamma'\]; fold batch norms"),
    # scales
    (dense(ONES, qparams=QParams(1e-12, 0)), value(), r"real must be below 2\*\*31"),
    (
        simple("MAX_POOL_2D", (1, 4, 4, 2), QParams(0.25, 0), filter=1),
        value(IMAGE),
        r"must have the output's scale and zero point \(0.25, 0\)",
    ),
    (
        simple("AVERAGE_POOL_2D", (1, 4, 4, 2), QParams(0.5, 1), filter=1),
        value(IMAGE),
        "put a QUANTIZE node between them",
    ),
    (
        simple("CONCATENATION", qparams=QParams(0.5, 1)),
        value(),
        "input 'x' must have the output's scale and zero point",
    ),
    (simple("SOFTMAX"), value(), r"must have scale 0.00390625 and zero point -128, got \(0.5, 0\)"),
    (simple("LOGISTIC", qparams=QParams(1 / 256, 0)), value(), "must have scale 0.00390625 and zero point -128"),
    (simple("TANH", qparams=QParams(1 / 128, 0, -127)), value(), "must have scale 0.0078125 and zero point 0"),
    (simple("SOFTMAX", qparams=QParams(1 / 256, -128)), value(qparams=QParams(2.0**-27, 0)), r"must be above 2\*\*-26"),
    (
        simple("LOGISTIC", qparams=QParams(1 / 256, -128)),
        value(qparams=QParams(16, 0)),
        "the input scale must be below 16, got 16",
    ),
    # shapes
    (simple("RELU", (1, 5)), value(), r"the declared shape must be the one the operator makes, \(1, 4\), got \(1, 5\)"),
    (conv((3, 2, 2, 2), (1, 3, 3, 4)), value(IMAGE), r"makes, \(1, 3, 3, 3\), got \(1, 3, 3, 4\)"),
    (conv((3, 2, 2, 2), (1, 3, 3, 3)), value((1, 4)), r"the input must be \[N, H, W, C\] with cells, got \(1, 4\)"),
    (conv((3, 2, 2, 3), (1, 3, 3, 3)), value(IMAGE), "input channels must be a multiple of the weight's last axis"),
    (conv((3, 2, 2, 1), (1, 3, 3, 3)), value(IMAGE), "the groups must divide its first"),
    (conv((3, 2, 2), (1, 3, 3, 3)), value(IMAGE), "weight must be an array of 4 axes with cells"),
    (conv((3, 0, 2, 2), (1, 3, 3, 3)), value(IMAGE), "weight must be an array of 4 axes with cells"),
    (conv((3, 5, 2, 2), (1, 3, 3, 3)), value(IMAGE), "the 5x2 window must fit into the image, got 4x4 cells"),
    (
        depthwise((1, 2, 2, 3), (1, 3, 3, 3)),
        value(IMAGE),
        r"weight must be \[1, kh, kw, 2\] \(channels x depth_multiplier\)",
    ),
    (depthwise((2, 2, 2, 2), (1, 3, 3, 2)), value(IMAGE), r"weight must be \[1, kh, kw, 2\]"),
    (spread((3, 2, 2, 1), (1, 5, 5, 3)), value(IMAGE), "the weight's last axis must be the 2 input channels"),
    (spread((3, 2, 2, 2), (1, 6, 5, 3)), value(IMAGE), "must bring the output .* back to the input's 4x4 cells"),
    (spread((3, 2, 2, 2), (2, 5, 5, 3)), value(IMAGE), r"makes, \(1, 5, 5, 3\), got \(2, 5, 5, 3\)"),
    (dense(ONES), value((1, 6)), r"the input must be rows of 4 cells, the weight's columns, got \(1, 6\)"),
    (dense(ONES, attrs={"keep_num_dims": True}), value((2, 2)), "the input's last axis must be the weight's 4 columns"),
    (simple("MAX_POOL_2D", (1, 1, 1, 2), filter=5), value(IMAGE), "the 5x5 window must fit into the image"),
    (simple("CONCATENATION", axis=2), value(), r"axis must lie in \[-2, 1\], got 2"),
    (simple("MEAN", axis=2), value(), r"axis must lie in \[-2, 1\], got 2"),
    (simple("SUM", axis=-3), value(), r"axis must lie in \[-2, 1\], got -3"),
    (simple("MEAN", (1,), axis=1), value((1, 0)), r"the input must have cells to reduce, got \(1, 0\)"),
    (
        simple("PAD", paddings=[(0, 0)]),
        value(),
        r"paddings must have a \(before, after\) pair for each of 2 axes, got 1",
    ),
    (simple("PADV2", paddings=[(0, 0)] * 2, value=128), value(), "value must be an int8 code, got 128"),
    (simple("RESHAPE", (5,), new_shape=(5,)), value(), r"new_shape must hold the input's 4 cells, got \(5,\)"),
    (simple("RESHAPE", (4,), new_shape=(-1, -1)), value(), "new_shape must hold the input's 4 cells"),
    (simple("TRANSPOSE", perm=(0, 0)), value(), r"perm must name each of 2 axes once, got \(0, 0\)"),
    (simple("SOFTMAX", (), QParams(1 / 256, -128)), value(()), "the input must have a last axis of classes"),
]


@pytest.mark.parametrize("node, x, message", REFUSALS)
def test_what_has_no_integer_form_is_refused_with_the_node(node: Node, x: Value, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{message}.*\(node '{node.name}', {node.op}\)\.$"):
        prepare(node, [x])


def test_an_output_much_finer_than_its_inputs_is_refused_where_the_target_stops() -> None:
    """2 max(S1, S2) / (2**20 S_y) must be below 1."""
    one = Value("a", (1,), INT8, QParams(1.0, 0))
    for scale, fine in ((2.0**-19, False), (2.0**-18, True)):
        node = Node("sum", "ADD", ("a", "a"), (1,), qparams=QParams(scale, 0), dtype=INT8)
        if fine:
            assert prepare(node, [one, one])["shift"] <= 0
        else:
            with pytest.raises(
                ValueError, match=r"output scale must be above the input scales / 524288, got .*\(node 'sum', ADD\)"
            ):
                prepare(node, [one, one])


def test_inputs_that_do_not_broadcast_or_join_are_refused() -> None:
    a, b = Value("a", (1, 3), INT8, HALF), Value("b", (1, 2), INT8, HALF)
    with pytest.raises(ValueError, match=r"shape mismatch.*\(node 'n', ADD\)"):
        prepare(Node("n", "ADD", ("a", "b"), (1, 3), qparams=HALF, dtype=INT8), [a, b])
    with pytest.raises(ValueError, match=r"equal shapes but for axis 0, got \(1, 3\), \(1, 2\)"):
        prepare(Node("n", "CONCATENATION", ("a", "b"), (2, 3), {"axis": 0}, qparams=HALF, dtype=INT8), [a, b])


def test_a_constant_must_be_int8_codes() -> None:
    fields: dict[str, Any] = {"qparams": HALF, "dtype": INT8}
    with pytest.raises(ValueError, match=r'must own the parameter "value", got none \(node .c., CONSTANT\)'):
        prepare(Node("c", "CONSTANT", (), (1,), **fields), [])
    with pytest.raises(ValueError, match="value must be int8 codes, got int32"):
        prepare(Node("c", "CONSTANT", (), (1,), params={"value": np.int32([300])}, **fields), [])


def test_activations_of_fewer_bits_clamp_everywhere() -> None:
    """Codes of 4 bits, [-8, 7], in int8: a rescaling operator must not leave them."""
    four = QParams(0.5, 0, -8, 7)
    codes = np.arange(-128, 128).astype(np.int8)[None]
    for op in ("RELU", "QUANTIZE", "LEAKY_RELU"):
        node = simple(op, (1, 256), four)
        y = IntegerModel(Graph((value((1, 256)),), (node,), ("n",))).run(codes)
        assert isinstance(y, np.ndarray)
        assert (y.min(), y.max()) == (0 if op == "RELU" else -8 if op == "QUANTIZE" else -1, 7)
