"""Why two integer results differ: planted causes are found, and the exact value is the exact value."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from analysis_networks import multiplies, one_node
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compare import branches

from tinyquant import engines  # noqa: F401  (registers the dialects)
from tinyquant.analysis.compare import compare
from tinyquant.analysis.exact_values import ExactOutput, half_away
from tinyquant.analysis.explain import explain
from tinyquant.analysis.mechanics import Mechanics
from tinyquant.analysis.partings import CAUSES, Parting
from tinyquant.analysis.sides import IntegerForm
from tinyquant.graph import Graph, Node
from tinyquant.integer.model import IntegerModel
from tinyquant.numerics.qparams import QParams
from tinyquant.numerics.rounding import round_to_int

ALL = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)


def only(report):
    """The one row that is not the input."""
    return report["node"]


# Planted causes


@pytest.mark.parametrize(("acc", "dialect", "codes"), [(10, "xnnpack", (3, 2)), (-10, "litert_opt", (-3, -2))])
def test_a_tie_is_called_a_tie(acc, dialect, codes):
    """Exactly 2.5: TFLite Micro rounds away from zero, XNNPACK to even; exactly -2.5: the fast kernels round up."""
    m, x = multiplies(acc, 0.25)
    row = only(compare(m, m, x, dialects=("tflm", dialect)))
    assert (row.parting.a, row.parting.b) == codes and row.parting.exact == Fraction(acc, 4) and row.causes == {"tie": 1}


@pytest.mark.parametrize("dialect", ["xnnpack", "litert_ref"])
def test_double_rounding_is_called_double_rounding(dialect):
    """0.25 -> the high multiply makes 1/2 of it, rounded up to 1, and 1/2 once more up: 1 (google/ruy#227)."""
    m, x = multiplies(1, 0.25)
    row = only(compare(m, m, x, dialects=("tflm", dialect)))
    assert (row.parting.a, row.parting.b, row.parting.exact) == (1, 0, Fraction(1, 4))
    assert row.causes == {"double rounding": 1}
    assert "exactly 0.2500. double rounding: rounded twice" in str(row.parting)


def test_float_rounding_is_called_float_rounding():
    """2**24 + 1 has 25 bits: as a float32 it is 2**24, and what was just above a half is a tie, which goes to 0."""
    m, x = multiplies(2**24 + 1, 2.0**-25)
    row = only(compare(m, m, x, dialects=("tflm", "xnnpack")))
    assert (row.parting.a, row.parting.b) == (1, 0) and row.parting.exact == Fraction(2**24 + 1, 2**25)
    assert row.causes == {"float rounding": 1}
    assert "exactly 0.50000003." in str(row.parting), "as many digits as tell it from a tie"


def test_saturation_is_called_saturation():
    a, x = multiplies(10, 1.0)
    b, _ = multiplies(10, 1.0, activation="relu6")
    row = only(compare(a, b, x))
    assert (row.parting.a, row.parting.b) == (10, 6) and row.causes == {"saturation": 1}


def test_a_bias_on_another_grid_and_other_weights_are_told_apart():
    a, x = multiplies(4, 0.5)
    b, _ = multiplies(4, 0.5, bias=1)
    assert only(compare(a, b, x)).causes == {"bias rounding": 1}
    weights = one_node(
        "FULLY_CONNECTED", (1, 1), {"x": ((1, 1), QParams(1.0, 0))}, QParams(1.0, 0),
        params={"weight": np.int8([[5]]), "bias": np.int32([3])}, weight=QParams(0.5, 0, -127, 127),
    )  # fmt: skip
    assert only(compare(a, weights, x)).causes == {"parameters": 1}


def test_a_factor_of_few_bits_is_called_multiplier_rounding():
    """XNNPACK carries codes over in 256ths, and 0.7 becomes 179/256."""
    m = one_node("QUANTIZE", (1, 256), {"x": ((1, 256), QParams(0.7, 0))}, QParams(1.0, 0))
    row = only(compare(m, m, ALL, dialects=("tflm", "xnnpack")))
    assert row.total.differing > 0 and row.causes == {"multiplier rounding": row.total.differing}


@pytest.mark.parametrize(("op", "out"), [("LOGISTIC", QParams(1 / 256, -128)), ("TANH", QParams(1 / 128, 0))])
def test_a_table_in_place_of_a_function_is_called_approximation(op, out):
    found = {}
    for scale in (0.05, 5.0, 10.0):
        m = one_node(op, (1, 256), {"x": ((1, 256), QParams(scale, 0))}, out)
        found.update(only(compare(m, m, ALL, dialects=("tflm", "litert_ref"))).causes)
    assert set(found) == {"approximation"}


def test_an_average_of_codes_and_an_average_of_reals_part_on_ties():
    """Away from zero means away from code 0 for the kernel, away from real 0 for fake-quant."""
    model, fq, m, x = branches()
    row = compare(fq, m, x, inputs="first")["pool"]
    assert row.causes and set(row.causes) == {"tie"} and row.parting.exact.denominator == 2


def test_differences_that_came_in_are_not_laid_at_the_nodes_door():
    """An adder behind a layer with a planted tie: its own rule is the same in both, only its input differs."""
    m, x = multiplies(5, 0.5)
    relu = Node("later", "RELU", ("node",), (1, 1), qparams=QParams(1.0, 0), dtype=np.dtype(np.int8))
    chain = IntegerModel(Graph(m.graph.inputs, (*m.graph.nodes, relu), ("later",)))
    report = compare(chain, chain, x, dialects=("tflm", "xnnpack"))
    assert report["node"].causes == {"tie": 1} and report["later"].causes == {"inputs": 1}
    assert report["later"].parting is None and report.first_parting.node == "node"


# The exact value


@settings(max_examples=10)
@given(st.integers(0, 2**16))
def test_the_exact_value_is_the_one_that_explain_reaches_cell_by_cell(seed):
    """Two roads: accumulators overheard from the kernel, and Python ints walking over the window. Equal to the last bit."""
    rng = np.random.default_rng(seed)
    _, _, m, x = branches(seed)
    codes = rng.integers(-128, 128, (3, *m.inputs[0].shape[1:])).astype(np.int8)
    trace = m.trace(codes)
    checked = set()
    for node in m.graph:
        exact = ExactOutput(node, [m.graph.value(name) for name in node.inputs], [trace[name] for name in node.inputs])
        if not exact.known:
            continue
        for _ in range(3):
            index = tuple(int(rng.integers(n)) for n in trace[node.name].shape)
            scale = Fraction(float(np.float32(node.qparams.scale)))
            assert float(exact.steps(index) * scale) == explain(m, codes, node.name, index).before, (node.op, index)
        checked.add(node.op)
    weighted, others = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}, {"MUL", "SUB", "LEAKY_RELU"}
    assert checked >= weighted | others | {"MEAN", "SUM", "AVERAGE_POOL_2D"}


def test_functions_that_are_no_fractions_are_not_known():
    m = one_node("TANH", (1, 1), {"x": ((1, 1), QParams(0.1, 0))}, QParams(1 / 128, 0))
    exact = ExactOutput(m.graph.nodes[0], m.inputs, [np.int8([[3]])])
    assert not exact.known
    with pytest.raises(ValueError, match="must be a fraction, got TANH"):
        exact.steps((0, 0))


@given(st.integers(-(10**6), 10**6), st.integers(0, 8))
def test_half_away_is_the_named_rounding(numerator, power):
    assert half_away(Fraction(numerator, 2**power)) == round_to_int(numerator / 2**power, "half_away")


def test_every_cause_is_explained_in_words():
    for cause, words in CAUSES.items():
        text = str(Parting("n", "RELU", (0, 1), 3, 4, None, cause))
        assert text == f"n[0, 1] (RELU): codes 3 and 4. {cause}: {words}."


def test_a_bias_that_floats_hold_on_another_grid_is_called_bias_rounding():
    """1 * 0.6 + 4 * 0.6 = 3; four biases of 0.25 in place of 0.6 make 1.6, another code. On the right grid it was the floats."""
    m, x = multiplies(5, 0.6)
    node = m.graph.nodes[0]
    exact = ExactOutput(node, m.inputs, [x])
    for grid, cause in ((0.6, "float rounding"), (0.25, "bias rounding")):
        meaning = {**node.param_qparams, "bias": QParams(grid, 0, -(2**31), 2**31 - 1)}
        form = IntegerForm(node.replace(param_qparams=meaning), m.inputs, None)
        assert Mechanics(form, [x], exact).why((0, 0)) == cause
