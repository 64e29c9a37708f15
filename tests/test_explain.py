"""Explanations: the steps end in the kernel's code, whatever the operator, the index and the dialect; the text is readable."""

from __future__ import annotations

import json
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from integer_strategies import GROW, INT8, Drawn, networks, one_node_graphs

from tinyquant.analysis import explain as module
from tinyquant.analysis.explain import Explanation, explain
from tinyquant.analysis.explanations import TELL, by_hand
from tinyquant.graph import OPS, Graph, Node, Value
from tinyquant.integer.kernels import KERNELS
from tinyquant.integer.kernels import fixed_point_functions as functions
from tinyquant.integer.model import IntegerModel
from tinyquant.integer.registry import InexactDialectWarning
from tinyquant.interop import load_tflite
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier
from tinyquant.numerics.qparams import QParams

DIALECTS = ("tflm", "litert_ref", "litert_opt", "xnnpack")
FLOAT32 = np.dtype(np.float32)


def one_node(
    op: str, inputs: list[Value], shape: tuple[int, ...], qparams: QParams | None, **fields: Any
) -> IntegerModel:
    """A model of one node, called "node"."""
    weight = fields.pop("weight_qparams", None)
    dtype = FLOAT32 if op == "DEQUANTIZE" else INT8
    names = tuple(value.name for value in inputs)
    node = Node(
        "node",
        op,
        names,
        shape,
        qparams=qparams,
        dtype=dtype,
        param_qparams={"weight": weight} if weight else {},
        **fields,
    )
    return IntegerModel(Graph(tuple(inputs), (node,), ("node",)))


def dense(
    weight: list[list[int]],
    bias: list[int] | None = None,
    scales: tuple[float, float, float] = (0.5, 0.25, 1.0),
) -> IntegerModel:
    """FULLY_CONNECTED with zero points -1 and 10; scales of input, weight, output."""
    params: dict[str, np.ndarray] = {"weight": np.array(weight, np.int8)}
    if bias is not None:
        params["bias"] = np.array(bias, np.int32)
    x = Value("x", (1, len(weight[0])), INT8, QParams(scales[0], -1))
    qparams = QParams(scales[2], 10)
    return one_node(
        "FULLY_CONNECTED", [x], (1, len(weight)), qparams, params=params, weight_qparams=QParams(scales[1], 0)
    )


def readable(why: Explanation) -> None:
    """80 columns of ASCII, and plain data that survives JSON."""
    assert why.text.isascii() and why.text == str(why)
    assert max(map(len, why.text.splitlines())) <= 80
    assert json.loads(json.dumps(why.to_dict()))["code"] == why.code
    assert all(f"\n{i}. {step.title}\n" in why.text for i, step in enumerate(why.steps, 1))


def some_index(draw: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """An index into an array of this shape."""
    return tuple(draw(st.integers(0, n - 1)) for n in shape)


def check_every_node(data: st.DataObject, drawn: Drawn, dialect: str) -> None:
    """A drawn element of every node is explained; `explain` itself compares with the kernel, here with the trace."""
    try:
        m = IntegerModel(drawn.graph)
    except ValueError as error:
        # A drawn MUL may hand LOGISTIC a scale that it refuses.
        assume("must be below 16" not in str(error))
        raise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InexactDialectWarning)
        trace = m.trace(drawn.arrays, dialect=dialect)
    for node in drawn.graph:
        at = some_index(data.draw, trace[node.name].shape)
        why = explain(m, drawn.arrays, node.name, at, dialect=dialect)
        assert why.code == trace[node.name][at]
        assert bool(why.note) == (dialect != "tflm")
        readable(why)


# ---------------------------------------------------------------------------------------------------------------
# The law


def test_every_operator_of_the_table_that_has_integers_is_told() -> None:
    assert set(TELL) == set(KERNELS) == {op for op, row in OPS.items() if row.integer}


@pytest.mark.parametrize("op", GROW)
@settings(max_examples=8)
@given(data=st.data())
def test_the_steps_end_in_the_kernels_code(op: str, data: st.DataObject) -> None:
    check_every_node(data, data.draw(one_node_graphs(op)), "tflm")


@settings(max_examples=8)
@given(data=st.data())
def test_the_steps_end_in_the_kernels_code_inside_networks(data: st.DataObject) -> None:
    check_every_node(data, data.draw(networks()), "tflm")


@pytest.mark.parametrize("dialect", DIALECTS[1:])
@settings(max_examples=40)
@given(data=st.data())
def test_the_steps_end_in_the_dialects_code(dialect: str, data: st.DataObject) -> None:
    check_every_node(data, data.draw(one_node_graphs(data.draw(st.sampled_from(sorted(GROW))))), dialect)


@settings(max_examples=30)
@given(data=st.data())
def test_real_numbers_at_the_doors(data: st.DataObject) -> None:
    """QUANTIZE of float32, ties included, and DEQUANTIZE back."""
    qp = QParams(data.draw(st.sampled_from([0.5, 0.1, 3.0])), data.draw(st.integers(-128, 127)))
    x = np.float32([[data.draw(st.floats(-500, 500, width=32)), data.draw(st.integers(-900, 900)) / 4]])
    nodes = (
        Node("in", "QUANTIZE", ("x",), (1, 2), qparams=qp, dtype=INT8),
        Node("out", "DEQUANTIZE", ("in",), (1, 2), dtype=FLOAT32),
    )
    m = IntegerModel(Graph((Value("x", (1, 2), FLOAT32),), nodes, ("out",)))
    trace, at = m.trace(x), (0, data.draw(st.integers(0, 1)))
    into, out = explain(m, x, "in", at), explain(m, x, "out", at)
    assert into.code == trace["in"][at] and out.code is None
    assert np.float32(out.after) == trace["out"][at] and into.before == x[at]
    readable(into)
    readable(out)


@pytest.mark.parametrize(
    "name",
    ["hello_world_int8", "ad01_int8", "micro_speech_quantized", "pretrainedResnet_quant", "person_detect"],
)
def test_every_node_of_real_models(name: str, models_dir: Any) -> None:
    m = load_tflite(models_dir / f"{name}.tflite")
    with np.load(models_dir / f"{name}.golden.npz", allow_pickle=False) as golden:
        x = golden["x"][1]
    rng = np.random.default_rng(0)
    trace = m.trace(x)
    for node in m.graph:
        for _ in range(2):
            at = tuple(int(rng.integers(n)) for n in trace[node.name].shape)
            why = explain(m, x, node.name, at)
            assert why.code == trace[node.name][at]
            readable(why)


# ---------------------------------------------------------------------------------------------------------------
# What the steps say


SMALL = """\
node[0, 1]                                                 FULLY_CONNECTED, tflm
================================================================================
FULLY_CONNECTED: matrix times vector.
   x  int8 [1, 2]  scale 0.5  zero point -1  x
   y  int8 [1, 2]  scale 1    zero point 10  node

1. The products
   Every weight of output channel 1, 2 in all, meets a cell of the input here.
   A weight multiplies code - zero point, the input in steps of its scale.
   input cell   weight   code   code - (-1)   product
   [0, 0]            3      7             8        24
   [0, 1]           -5      2             3       -15

2. The int32 sum
   sum of the products                                        9
   + bias[1]                                                 27
   = accumulator, int32                                      36
   The zero point can leave the loop, and in fast kernels does:
   sum of weight * code                                      11
   - zero point (-1) * sum of weights (-2)                   -2
   = sum of the products                                      9

3. The multiplier
   S_x * S_w / S_y = 0.5 * 0.25 / 1 = 0.125
   is how many steps of the output one unit is worth, written down as
   multiplier 1073741824, shift -2:
   1073741824 * 2**(-2 - 31) = 0.125

4. Multiply and round
   36 * 0.125 = 4.5, in integer steps:
     times multiplier / 2**31:  18 -> 18
     shift right by 2:  18 / 2**2 = 4.5 -> 5
       a tie: it goes away from 0

5. The output code
   rounded                                                    5
   + output zero point                                       10
   = before the clamp                                        15
   clamped to [-128, 127] (all int8)                         15

6. In real numbers
   exact    accumulator * S_x * S_w = 4.5
   got      1 * (15 - 10) = 5
   The code is off by 0.500 of an output step; one rounding costs at most 0.5.
"""


def test_the_whole_text_of_a_small_layer_worked_out_by_hand() -> None:
    m = dense([[1, 1], [3, -5]], [0, 27])
    why = explain(m, np.int8([[7, 2]]), "node", (0, 1))
    assert why.text == SMALL
    assert (why.code, why.before, why.after) == (15, 4.5, 5.0)


def test_the_data_holds_every_number_of_a_small_layer() -> None:
    data = explain(dense([[1, 1], [3, -5]], [0, 27]), np.int8([[7, 2]]), "node", (0, 1)).data
    assert dict(data["products"]) == {
        "cells": [[0, 0], [0, 1]], "weights": [3, -5], "codes": [7, 2], "zero_point": -1, "products": [24, -15], "count": 2,
    }  # fmt: skip
    assert dict(data["sum"]) == {
        "sum_of_products": 9, "bias": 27, "accumulator": 36,
        "sum_of_weight_times_code": 11, "sum_of_weights": -2, "zero_point_term": -2,
    }  # fmt: skip
    assert dict(data["multiplier"]) == {"real": 0.125, "multiplier": 2**30, "shift": -2, "stands_for": 0.125}
    assert dict(data["rescale"]) == {
        "input": 36,
        "exact": 4.5,
        "shifted": 36,
        "high": 18,
        "result": 5,
        "rounded_once": 5,
    }
    assert dict(data["code"]) == {
        "rounded": 5,
        "zero_point": 10,
        "unclamped": 15,
        "low": -128,
        "high": 127,
        "code": 15,
    }
    assert dict(data["real"]) == {"before": 4.5, "after": 5.0, "error_in_steps": 0.5, "step": 1.0}


def test_four_dialects_make_two_answers_of_one_tie() -> None:
    """-2.5: away from zero, up, and to even."""
    m, x = dense([[1, 0]], [-6], (0.5, 0.5, 1.0)), np.int8([[-5, 0]])
    codes = [explain(m, x, "node", (0, 0), dialect=dialect).code for dialect in DIALECTS]
    assert codes == [10 - 3, 10 - 3, 10 - 2, 10 - 2]
    notes = [explain(m, x, "node", (0, 0), dialect=dialect).note for dialect in DIALECTS]
    assert notes[0] == "" and all("TFLite Micro makes code 7 of the same input" in note for note in notes[1:])
    assert "all ties up" in notes[2] and "ties to even" in notes[3]


def test_a_number_that_rounding_twice_moves_is_pointed_out() -> None:
    """2 * 0.24999999 is below a half and rounds to 0; the first rounding makes it exactly a half, the second makes 1 of that."""
    almost_a_quarter = 0.25 * (1 - 2.0**-24)
    why = explain(dense([[1, 0]], None, (almost_a_quarter, 1.0, 1.0)), np.int8([[1, 0]]), "node", (0, 0))
    assert why.data["rescale"] == {
        "input": 2,
        "exact": 2 * almost_a_quarter,
        "shifted": 2,
        "high": 2,
        "result": 1,
        "rounded_once": 0,
    }
    assert "rounding twice made the difference" in why.text


def test_the_clamp_is_told_from_rounding() -> None:
    why = explain(dense([[127, 127]]), np.int8([[127, 127]]), "node", (0, 0))
    assert (
        why.code == 127
        and "the clamp made the difference" in why.text
        and "of an output step" not in why.text
    )


def test_padding_adds_nothing_and_is_counted() -> None:
    x = Value("x", (1, 3, 3, 1), INT8, QParams(1.0, 5))
    params = {"weight": np.ones((1, 3, 3, 1), np.int8)}
    m = one_node(
        "CONV_2D",
        [x],
        (1, 3, 3, 1),
        QParams(1.0, 0),
        params=params,
        weight_qparams=QParams(1.0, 0),
        attrs={"padding": "same"},
    )
    codes = np.arange(9, dtype=np.int8).reshape(1, 3, 3, 1)
    corner, middle = (explain(m, codes, "node", (0, i, i, 0)) for i in (0, 1))
    assert corner.data["products"]["codes"] == [0, 1, 3, 4] and corner.data["products"]["products"] == [
        -5,
        -4,
        -2,
        -1,
    ]
    assert "The other 5 meet padding" in corner.text and "padding" not in middle.text
    assert middle.data["products"]["count"] == 9 and middle.code == 36 - 45


def test_many_products_are_cut_in_the_text_and_complete_in_the_data() -> None:
    m = dense([[1] * 64])
    why = explain(m, np.zeros((1, 64), np.int8), "node", (0, 0))
    assert "\n   ...\n" in why.text and why.text.count("\n   [0, ") == 7
    assert len(why.data["products"]["cells"]) == 64


def test_moves_say_which_cell_the_code_came_from() -> None:
    x, qp = Value("x", (1, 2, 3), INT8, QParams(1.0, 0)), QParams(1.0, 0)
    codes = np.arange(6, dtype=np.int8).reshape(1, 2, 3)
    flat = explain(one_node("RESHAPE", [x], (1, 6), qp, attrs={"new_shape": (1, 6)}), codes, "node", (0, 4))
    turned = explain(
        one_node("TRANSPOSE", [x], (1, 3, 2), qp, attrs={"perm": (0, 2, 1)}), codes, "node", (0, 2, 1)
    )
    padded = one_node("PAD", [x], (1, 3, 3), qp, attrs={"paddings": ((0, 0), (1, 0), (0, 0))})
    two = one_node("CONCATENATION", [x, Value("y", (1, 2, 1), INT8, qp)], (1, 2, 4), qp, attrs={"axis": 2})
    second = explain(two, [codes, codes[:, :, :1]], "node", (0, 1, 3))
    assert flat.data["source"]["cell"] == [0, 1, 1] and turned.data["source"]["cell"] == [0, 1, 2]
    assert explain(padded, codes, "node", (0, 1, 2)).data["source"]["cell"] == [0, 0, 2]
    assert explain(padded, codes, "node", (0, 0, 2)).data["source"]["cell"] is None
    assert (second.data["source"]["input"], second.data["source"]["cell"], second.code) == ("y", [0, 1, 0], 3)


@settings(max_examples=40)
@given(
    op=st.sampled_from(["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"]), data=st.data()
)
def test_the_sum_is_the_products_with_or_without_the_zero_point_in_the_loop(
    op: str, data: st.DataObject
) -> None:
    drawn = data.draw(one_node_graphs(op))
    m = IntegerModel(drawn.graph)
    node = drawn.graph.nodes[-1]
    why = explain(m, drawn.arrays, node.name, some_index(data.draw, m.run(drawn.arrays).shape)).data
    total = sum(why["products"]["products"])
    assert (
        total
        == why["sum"]["sum_of_products"]
        == why["sum"]["sum_of_weight_times_code"] + why["sum"]["zero_point_term"]
    )


@settings(max_examples=60)
@given(
    op=st.sampled_from(
        ["CONV_2D", "FULLY_CONNECTED", "MEAN", "SUM", "MUL", "RELU", "LEAKY_RELU", "QUANTIZE"]
    ),
    data=st.data(),
)
def test_the_exact_real_is_half_a_step_from_the_code_or_clamped(op: str, data: st.DataObject) -> None:
    """|exact - got| <= 3/4 of a step: 1/2 of the last rounding, at most 1/4 of the first (halved at least once when there are
    two), and the multiplier's own 2**-31 (MEAN's 2**-22) on at most 2**9 steps."""
    drawn = data.draw(one_node_graphs(op))
    m = IntegerModel(drawn.graph)
    node = drawn.graph.nodes[-1]
    why = explain(m, drawn.arrays, node.name, some_index(data.draw, m.run(drawn.arrays).shape))
    code, product = why.data["code"], why.data["rescale"]
    assume(code["low"] <= code["unclamped"] <= code["high"])
    assume(product["shifted"] == product["input"] * 2 ** max(why.data["multiplier"]["shift"], 0))
    assert abs(why.data["real"]["error_in_steps"]) <= 0.75 + 2.0**-12
    assert why.data["real"]["error_in_steps"] == pytest.approx(
        (why.after - why.before) / why.data["real"]["step"], abs=1e-6
    )


def test_softmax_explains_its_own_class() -> None:
    x = Value("x", (1, 3), INT8, QParams(0.25, 7))
    m = one_node("SOFTMAX", [x], (1, 3), QParams(1 / 256, -128))
    why = explain(m, np.int8([[8, 12, 4]]), "node", (0, 2))
    assert why.data["row"]["differences"] == [-4, 0, -8]
    # exp(-2) / (exp(-1) + 1 + exp(-2))
    assert (
        why.before == pytest.approx(0.0900305731703805, abs=1e-15) and why.code == round(0.09003 * 256) - 128
    )


# ---------------------------------------------------------------------------------------------------------------
# Rows, and refusals


def test_a_batch_of_several_rows_is_indexed_by_its_first_axis() -> None:
    m = dense([[1, 1]])
    rows = np.int8([[1, 2], [3, 4], [5, 6]])
    assert explain(m, rows, "node", (2, 0)).data["products"]["codes"] == [5, 6]


def test_an_output_of_one_axis_takes_a_bare_number() -> None:
    m = one_node("RELU", [Value("x", (3,), INT8, QParams(1.0, 0))], (3,), QParams(1.0, 0))
    assert explain(m, np.int8([-4, 5, 6]), "node", 1).code == 5


def test_a_name_that_is_not_there_gets_near_ones() -> None:
    m = dense([[1, 1]])
    x = np.int8([[1, 2]])
    with pytest.raises(ValueError, match=r"node must be a node of the model, got 'nodes'. Near it: 'node'."):
        explain(m, x, "nodes", (0, 0))
    with pytest.raises(ValueError, match="must be computed by the model, got its input 'x'"):
        explain(m, x, "x", (0, 0))


@pytest.mark.parametrize("index", [(0, 1), (1, 0), (0,), (0, 0, 0), (0, -1), ()])
def test_an_index_outside_the_output_names_its_shape(index: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"output of 'node', of shape \(1, 1\), got"):
        explain(dense([[1, 1]]), np.int8([[1, 2]]), "node", index)


def test_an_index_of_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="index must be whole numbers, got"):
        explain(dense([[1, 1]]), np.int8([[1, 2]]), "node", (0, 0.0))  # type: ignore[arg-type]


def test_a_graph_is_not_a_model() -> None:
    m = dense([[1, 1]])
    with pytest.raises(TypeError, match="m must be an IntegerModel, got Graph"):
        explain(m.graph, np.int8([[1, 2]]), "node", (0, 0))  # type: ignore[arg-type]


def test_an_unknown_dialect_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="dialect must be one of tflm, .* got 'onnx'"):
        explain(dense([[1, 1]]), np.int8([[1, 2]]), "node", (0, 0), dialect="onnx")


def test_steps_that_part_from_the_kernel_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(question: Any) -> Any:
        story = TELL["FULLY_CONNECTED"](question)
        story.code += 1
        return story

    monkeypatch.setattr(module, "TELL", {**TELL, "FULLY_CONNECTED": wrong})
    with pytest.raises(
        RuntimeError, match="the steps must end in the kernel's own output, got 12 and not 11 at node"
    ):
        explain(dense([[1, 1]]), np.int8([[3, 3]]), "node", (0, 0))


# ---------------------------------------------------------------------------------------------------------------
# The arithmetic by hand is the arrays' arithmetic


@settings(max_examples=200)
@given(
    x=st.integers(-(2**31), 2**31 - 1), multiplier=st.integers(2**30, 2**31 - 1), shift=st.integers(-31, 31)
)
@example(x=7984, multiplier=1583594044, shift=-9)
@example(x=-6, multiplier=2**30, shift=-1)
def test_a_product_by_hand_is_the_kernels_product(x: int, multiplier: int, shift: int) -> None:
    product = by_hand.fixed_point_product(x, multiplier, shift)
    assert product.result == multiply_by_quantized_multiplier([x], multiplier, shift)[0]
    assert product.exact == Fraction(x) * multiplier / Fraction(2) ** (31 - shift)


@settings(max_examples=200)
@given(raw=st.integers(-(2**31) + 1, 2**31 - 1))
@example(raw=0)
@example(raw=2**29)
@example(raw=-(2**29))
def test_functions_by_hand_are_the_kernels_functions(raw: int) -> None:
    array = np.array([raw])
    assert by_hand.logistic_word(raw) == functions.logistic(array)[0]
    assert by_hand.tanh_word(raw) == functions.tanh(array)[0]
    for bits in (4, 5):
        assert by_hand.exp_word(-abs(raw), bits) == functions.exp_on_negative_values(-abs(array), bits)[0]
    assert by_hand.reciprocal_word(abs(raw)) == functions.reciprocal(abs(array))[0]


@given(x=st.integers(-(2**40), 2**40), divisor=st.integers(1, 2**20))
def test_three_roundings_by_hand_part_on_ties_alone(x: int, divisor: int) -> None:
    exact = Fraction(x, divisor)
    away, up, even = (
        f(x, divisor) for f in (by_hand.divide_half_away, by_hand.divide_half_up, by_hand.divide_half_even)
    )
    assert all(abs(exact - n) <= Fraction(1, 2) for n in (away, up, even))
    if exact.denominator == 2:
        assert (abs(away) > abs(exact), up > exact, even % 2) == (True, True, 0)
