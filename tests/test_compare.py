"""Any two arithmetics held against each other, node by node: alignment and numbers (causes are in test_partings)."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from analysis_networks import INT8, NETWORKS, digits, one_node, three, trained
from test_pipeline import Branches

from tinyquant import autograd as F
from tinyquant import (
    engines,  # noqa: F401  (registers the dialects)
    nn,
)
from tinyquant.analysis.compare import compare
from tinyquant.analysis.partings import CAUSES
from tinyquant.autograd import Tensor
from tinyquant.integer.registry import InexactDialectWarning
from tinyquant.interop import load_tflite
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.capture import capture
from tinyquant.quantization.convert import convert
from tinyquant.quantization.fake_quant import fake_quantize
from tinyquant.quantization.float_run import run_graph
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8

ROWS = 40


def branches(seed=3):
    """A network of every operator, in three arithmetics, and an input."""
    rng = np.random.default_rng(seed)
    model = Branches(rng)
    x = rng.normal(size=(16, 4, 4, 2)).astype(np.float32)
    model.train()(Tensor(x))
    model.eval()
    fq = quantize_model(model, calibrate(model, x))
    return model, fq, convert(fq), x


# Alignment


@pytest.mark.parametrize("name", NETWORKS)
def test_a_fused_node_is_held_against_the_last_float_node_it_absorbed(name):
    model, fq, m = three(name)
    x = digits()[2][:5]
    values = run_graph(capture(model, x[:1]), x)
    for other in (fq, m):
        report = compare(model, other, x)
        for node in m.graph:
            row = report[node.name]
            assert row.names == (node.absorbed[-1] if node.absorbed else node.name, node.name)
        codes = fq.trace_codes(x) if other is fq else m.trace(quantize(x, m.inputs[0].qparams))
        for row in report:
            reference = values[row.names[0]].astype(np.float64)
            got = dequantize(codes[row.names[1]], fq.qparams[row.names[1]]).reshape(reference.shape)
            assert row.total.max_error == np.abs(got - reference).max()
        assert report.only_a == report.only_b == ()


def test_rows_come_in_execution_order_and_keep_the_fused_name_whichever_side_is_fused():
    model, fq, m = three("resnet")
    x = digits()[2][:2]
    there, back = compare(model, m, x), compare(m, model, x)
    assert [row.name for row in there] == ["input", *(node.name for node in m.graph)]
    assert [row.name for row in back] == [row.name for row in there]
    assert there["block1.relu2"] is there["block1.add"] and there["stem.conv"].op == "CONV_2D"


class Gated(nn.Module):
    """A sigmoid, whose grid is fixed, joined with something of another grid."""

    def __init__(self):
        self.fc = nn.Linear(3, 3)
        self.concat = nn.Concat()

    def forward(self, x):
        return self.concat(F.sigmoid(x), self.fc(x))


def test_a_requantize_node_is_held_against_the_value_it_carries():
    model, x = Gated().eval(), digits()[2][:9, 3, :3, 0]
    m = convert(quantize_model(model, calibrate(model, x)))
    carriers = [node for node in m.graph if node.name.endswith(".requantize")]
    report = compare(model, m, x)
    assert [report[node.name].names for node in carriers] == [(node.inputs[0], node.name) for node in carriers] != []
    assert report[carriers[0].name].total.max_lsb <= 1


def test_an_appended_softmax_is_listed_as_having_no_counterpart():
    _, fq, _ = three("mlp")
    report = compare(fq, convert(fq, softmax=True), digits()[2][:3])
    assert report.only_b == ("softmax",) and "softmax" not in [row.name for row in report]


# Numbers


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_held_against_itself_differs_nowhere(name):
    x = digits()[2][:ROWS]
    for model in three(name):
        for inputs in ("own", "first"):
            report = compare(model, model, x, inputs=inputs)
            assert all(row.total.max_error == 0 and row.total.sqnr_db == math.inf for row in report)
            assert report.first_parting is None and report.differing == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_exact_fake_quant_differs_from_the_integers_in_no_code(name):
    _, fq, m = three(name)
    fq.exact = True
    try:
        report = compare(fq, m, digits()[2])
    finally:
        fq.exact = False
    assert report.a == "fake-quantized, exact" and report.differing == 0 and report.first_parting is None


@pytest.mark.parametrize("name", NETWORKS)
def test_on_equal_inputs_fake_quant_and_integer_part_by_one_code_at_most_and_each_cause_is_named(name):
    _, fq, m = three(name)
    report = compare(fq, m, digits()[2][:ROWS], inputs="first")
    assert all(row.total.max_lsb <= 1 for row in report)
    assert report.differing > 0 and set(report.causes()) <= set(CAUSES) - {"another rule", "inputs", "parameters"}
    for row in report:
        assert sum(row.causes.values()) == min(row.total.differing, 200)


@pytest.mark.parametrize("name", ["mlp", "resnet"])
def test_with_first_inputs_a_row_is_the_node_run_alone_on_the_first_models_codes(name):
    _, fq, m = three(name)
    x = digits()[2][:ROWS]
    trace = m.trace(quantize(x, m.inputs[0].qparams))
    report = compare(m, m, x, inputs="first", dialects=("tflm", "xnnpack"))
    for node in m.graph:
        alone = m.run_node(node.name, [trace[source] for source in node.inputs], dialect="xnnpack").astype(int)
        assert report[node.name].total.differing == (alone != trace[node.name]).sum()
        assert report[node.name].total.max_lsb == np.abs(alone - trace[node.name]).max()
    piled = compare(m, m, x, dialects=("tflm", "xnnpack"))
    assert piled.differing > report.differing, "errors must pile up when each model runs by itself"


def test_dead_is_the_share_of_values_that_the_straight_through_gradient_does_not_reach():
    """Calibrated on a tenth of the data's range: most outputs are clipped, and FakeQuantize passes no gradient there."""
    model, _ = trained("mlp")
    x = digits()[2][:ROWS]
    fq = quantize_model(model, calibrate(model, x * 0.1))
    report = compare(model, fq, x)
    values = fq.trace(x)
    for name, made in fq.nodes.items():
        if made.node.op == "RESHAPE":
            continue
        params = {key: value.data for key, value in made.quantized_params().items()}
        y = F.linear(Tensor(values[made.node.inputs[0]]), Tensor(params["weight"]), Tensor(params["bias"]))
        if made.node.attrs["activation"] == "relu":
            y = F.relu(y)
        leaf = Tensor(y.data, requires_grad=True)
        fake_quantize(leaf, fq.qparams[name]).sum().backward()
        assert report[name].total.dead == 100 * np.mean(leaf.grad == 0) > 0
    assert report["input"].total.dead == 100 * np.mean(x > x.max() * 0.1 + 0.5 * fq.qparams["input"].scale)


def test_channels_are_the_last_axis():
    model, _, m = three("resnet")
    report = compare(model, m, digits()[2][:5])
    for row in report:
        assert len(row.channels) == row.shape[-1]
        assert max(c.max_error for c in row.channels) == row.total.max_error
        # a mean of means of equally many
        assert np.mean([c.bias for c in row.channels]) == pytest.approx(row.total.bias, abs=1e-9)


def test_a_network_of_every_operator_is_compared_in_every_pair():
    model, fq, m, x = branches()
    for a, b in ((model, fq), (model, m), (fq, m), (m, fq), (fq, model)):
        for inputs in ("own", "first"):
            assert len(compare(a, b, x, inputs=inputs).rows) >= len(m.graph) + 1
    for dialect in ("litert_ref", "litert_opt", "xnnpack"):
        report = compare(m, m, x, dialects=("tflm", dialect), inputs="first")
        # LiteRT's reference SUM reads int8 as uint8: that is no rounding.
        strange = {row.op for row in report if {"another rule", "inputs", "parameters"} & set(row.causes)}
        assert strange <= ({"SUM"} if dialect == "litert_ref" else set())


def test_a_node_that_the_scheme_leaves_in_float_has_errors_but_no_codes():
    model, seen = trained("resnet")
    fq = quantize_model(model, seen, scheme=TFLITE_INT8.annotate("block2.*", exclude=True))
    for inputs in ("own", "first"):
        report = compare(model, fq, digits()[2][:5], inputs=inputs)
        left = report["block2.conv1"].total
        assert left.codes_used is None and left.max_lsb is None and left.dead is None and left.max_error > 0


# Loaded models


@pytest.mark.parametrize("file", ["hello_world_int8", "pretrainedResnet_quant"])
def test_a_loaded_model_is_compared_between_dialects_without_a_float_reference(file, models_dir):
    m = load_tflite(models_dir / f"{file}.tflite")
    rng = np.random.default_rng(0)
    value = m.inputs[0]
    codes = rng.integers(-128, 128, (2, *value.shape[1:])).astype(np.int8) if value.dtype == INT8 else rng.normal(
        size=(2, *value.shape[1:])).astype(np.float32)  # fmt: skip
    report = compare(m, m, codes, dialects=("tflm", "litert_ref"), inputs="first")
    assert {row.name for row in report} == {value.name, *(node.name for node in m.graph)}
    assert set(report.causes()) <= {"double rounding", "tie", "approximation"}
    for row in report:
        assert row.total.saturated is None or 0 <= row.total.saturated <= 100
    if value.dtype == INT8:
        reals = dequantize(codes, value.qparams)
        assert compare(m, m, reals, dialects=("tflm", "litert_ref"), inputs="first").to_dict() == report.to_dict()


def test_codes_stand_for_reals_when_the_other_side_is_float():
    model, fq, m = three("mlp")
    x = digits()[2][:5]
    codes = quantize(x, m.inputs[0].qparams)
    report = compare(model, m, codes)
    assert report["input"].total.max_error == 0
    assert report["head"].total == compare(model, m, dequantize(codes, m.inputs[0].qparams))["head"].total


def two_inputs(scale=0.5):
    """An adder of two inputs, the second with a scale of its own."""
    inputs = {"left": ((1, 3), QParams(0.5, 1)), "right": ((1, 3), QParams(scale, -2))}
    return one_node("ADD", (1, 3), inputs, QParams(0.5, 0))


def test_several_inputs_are_a_list_or_a_dict_of_codes_or_reals():
    m = two_inputs()
    codes = {"left": np.int8([[1, 2, 3]]), "right": np.int8([[4, 5, 6]])}
    reals = {name: dequantize(array, m.graph.value(name).qparams) for name, array in codes.items()}
    expected = compare(m, m, codes, dialects=("tflm", "xnnpack")).to_dict()
    assert [row["name"] for row in expected["rows"]] == ["left", "right", "node"]
    for given in (list(codes.values()), reals, list(reals.values())):
        assert compare(m, m, given, dialects=("tflm", "xnnpack")).to_dict() == expected
    with pytest.raises(TypeError, match="x must be one float array for a float or fake-quantized model, got dict"):
        compare(three("mlp")[0], m, codes)


def test_a_dialect_that_is_not_exact_says_so_once():
    """A step of the right input is a thousand steps of the output: LiteRT's fast ADD would wrap at 16 bits."""
    m = two_inputs(500.0)
    codes = [np.int8([[1, 2, 3]]), np.int8([[4, 5, 6]])]
    with pytest.warns(InexactDialectWarning) as caught:
        compare(m, m, codes, dialects=("tflm", "litert_opt"), inputs="first")
    assert len(caught) == 1


# The report


def test_the_table_is_ascii_and_fits_eighty_columns():
    model, fq, m = three("resnet")
    x = digits()[2][:8]
    for report in (compare(model, m, x), compare(fq, m, x), compare(m, m, x, dialects=("tflm", "xnnpack"))):
        lines = str(report).splitlines()
        assert str(report).isascii() and max(map(len, lines)) <= 80
        assert all(any(line.startswith(row.name) for line in lines) for row in report)
    assert "First parting: " in str(report) and "double rounding" in str(report)


def test_the_report_is_plain_data_too():
    _, fq, m = three("mlp")
    report = compare(fq, m, digits()[2][:50])
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [row["name"] for row in data["rows"]] == [row.name for row in report]
    assert data["first_parting"]["cause"] == report.first_parting.cause
    assert report.worst.total.sqnr_db == min(row.total.sqnr_db for row in report)
    with pytest.raises(KeyError, match="no row is called 'nose'; there are input, flatten"):
        report["nose"]


# Refusals


def test_what_cannot_be_compared_is_refused_with_a_mend():
    model, fq, m = three("mlp")
    x = digits()[2][:2]
    with pytest.raises(ValueError, match='inputs must be "own" or "first", got \'mine\''):
        compare(model, m, x, inputs="mine")
    with pytest.raises(ValueError, match="dialects must be a pair"):
        compare(m, m, x, dialects="xnnpack")
    with pytest.raises(ValueError, match="dialect must be one of"):
        compare(m, m, x, dialects=("tflm", "klingon"))
    with pytest.raises(TypeError, match="must be a Module, a captured Graph, a FakeQuantModel or an IntegerModel, got int"):
        compare(model, 3, x)
    with pytest.raises(TypeError, match=r"got codes in it. Pass IntegerModel\(graph\)"):
        compare(model, m.graph, x)
    with pytest.raises(TypeError, match="x must be one float array for a float or fake-quantized model, got dtype int8"):
        compare(model, fq, x.astype(np.int8))
    with pytest.raises(ValueError, match="must have nodes of common names"):
        compare(nn.Sequential({"nose": nn.Flatten()}).eval(), m, x)
    other = nn.Sequential({"flatten": nn.Flatten(), "fc1": nn.Linear(64, 3), "fc2": nn.Linear(3, 32), "head": nn.Linear(32, 10)})
    with pytest.raises(ValueError, match="node 'fc1' must have one shape in both models"):
        compare(model.eval(), other.eval(), x)
    fresh = quantize_model(*trained("mlp")).train()
    with pytest.raises(ValueError, match=r"must be compared in eval mode, got one in training mode. Call eval\(\) first"):
        compare(model, fresh, x)


def test_an_empty_batch_is_refused():
    m = one_node("RELU", (1, 2), {"x": ((1, 2), QParams(1.0, 0))}, QParams(1.0, 0))
    with pytest.raises(ValueError, match="at least one element"):
        compare(m, m, np.zeros((0, 2), np.int8))
