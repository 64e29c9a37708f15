"""One layer at a time: each cell held against a float network in which that layer's weights were replaced by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from analysis_networks import digits, trained

from tinyquant import nn
from tinyquant.analysis import resilience as room
from tinyquant.analysis.error_budget import error_budget
from tinyquant.analysis.resilience import folded_graph, resilience
from tinyquant.analysis.sensitivity import sensitivity, weight_layers
from tinyquant.graph import Graph
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.fake_quant import fake_quantize
from tinyquant.quantization.float_run import run_graph
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.quantization.weights import bias_qparams
from tinyquant.training import evaluate, fit

ROWS = 80


def data():
    _, _, xt, yt = digits()
    return xt[:ROWS], yt[:ROWS]


@pytest.fixture(scope="module", params=["mlp", "resnet"])
def swept(request):
    x, y = data()
    return request.param, sensitivity(*trained(request.param), x, y, bits=(2, 4, 8))


def with_parameters_on_their_grids(fq, names, x):
    """Outputs of the float network, and of the same with the parameters of some nodes quantized: float32, by `run_graph`."""
    graph = folded_graph(fq)
    nodes = []
    for node in graph:
        if node.name in names:
            made = fq.nodes[node.name]
            grid = bias_qparams(made.weight_qparams, made.input_scale, node.params["bias"].size)
            bias = fake_quantize(node.params["bias"].astype(np.float64), grid)
            node = node.replace(params={"weight": fake_quantize(node.params["weight"], made.weight_qparams), "bias": bias})
        nodes.append(node)
    return [run_graph(g, x)[graph.outputs[0]] for g in (graph, Graph(graph.inputs, tuple(nodes), graph.outputs))]


def test_a_cell_is_the_float_network_with_that_layers_parameters_put_on_their_grids(swept):
    """Errors agree to float32's noise."""
    name, report = swept
    x, y = data()
    fq = quantize_model(*trained(name), scheme=TFLITE_INT8.replace(weight_bits=2))
    for layer in report.layers:
        reference, got = with_parameters_on_their_grids(fq, (layer,), x)
        assert report.alone[layer][2].error == pytest.approx(np.mean((got - reference) ** 2), rel=1e-4)
        assert report.alone[layer][2].wrong == np.sum(reference.argmax(1) == y) - np.sum(got.argmax(1) == y)


def test_all_together_is_the_total_of_the_error_budget_and_sparing_a_layer_is_all_but_its_switches(swept):
    name, report = swept
    x, y = data()
    budget = error_budget(quantize_model(*trained(name), scheme=TFLITE_INT8.replace(weight_bits=4)), x, y, by_layer=False)
    assert report.together[4] == budget.total
    whole = sensitivity(*trained(name), x, y, bits=(4,), what="layer")
    budget = error_budget(quantize_model(*trained(name), scheme=TFLITE_INT8.replace(weight_bits=4)), x, y)
    for layer in budget.layers:
        if layer.name in whole.layers:
            assert whole.alone[layer.name][4] == layer.total and whole.spared[layer.name][4] == layer.without


def test_fewer_bits_damage_more_and_sparing_the_worst_layer_helps(swept):
    _, report = swept
    errors = report.errors()
    assert report.bits == (8, 4, 2) and np.all(np.diff(errors, axis=1) > 0)
    worst = report.layers[int(errors[:, 2].argmax())]
    assert report.spared[worst][2].error < report.together[2].error


def test_the_report_is_ascii_and_data(swept):
    _, report = swept
    text = str(report)
    assert text.isascii() and max(map(len, text.splitlines())) <= 80
    assert all(text.count(layer) >= 2 for layer in report.layers)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["bits"] == [8, 4, 2]
    assert report.drops()[report.layers[0]].keys() == {8, 4, 2}


class Twice(nn.Module):
    """One layer called twice."""

    def __init__(self):
        self.fc = nn.Linear(4, 4, seed=3)
        self.head = nn.Linear(4, 2, seed=4)

    def forward(self, x):
        return self.head(self.fc(self.fc(x)))


def test_layers_that_share_a_weight_are_one_layer():
    model = Twice().eval()
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    seen = calibrate(model, x)
    fq = quantize_model(model, seen)
    assert weight_layers(fq) == {"fc": ("fc", "fc#2"), "head": ("head",)}
    report = sensitivity(model, seen, x, bits=(3,))
    three_bits = quantize_model(model, seen, scheme=TFLITE_INT8.replace(weight_bits=3))
    reference, got = with_parameters_on_their_grids(three_bits, ("fc", "fc#2"), x)
    assert report.layers == ("fc", "head")
    assert report.alone["fc"][3].error == pytest.approx(np.mean((got - reference) ** 2), rel=1e-4)


def test_wrong_arguments_are_refused():
    x, _ = data()
    with pytest.raises(ValueError, match='what must be "weights" or "layer", got \'all\''):
        sensitivity(*trained("mlp"), x, what="all")
    with pytest.raises(ValueError, match="bits must hold at least one width"):
        sensitivity(*trained("mlp"), x, bits=())
    with pytest.raises(ValueError, match="weight_bits must be a whole number from 2 to 8, got 9"):
        sensitivity(*trained("mlp"), x, bits=(9,))
    with pytest.raises(ValueError, match="points of accuracy need labels, got none. Pass y to sensitivity"):
        sensitivity(*trained("mlp"), x, bits=(8,)).drops()


# Resilience


def test_without_noise_the_accuracy_is_the_float_networks():
    model, seen = trained("resnet")
    x, y = data()
    report = resilience({"float-trained": quantize_model(model, seen)}, x, y, steps=(0,), draws=2)
    assert report.accuracies["float-trained"].tolist() == [[evaluate(model, x, y)]] * 2


def test_the_noise_is_uniform_in_steps_of_each_channel_and_the_same_for_every_network(monkeypatch):
    """Seen from outside: the graphs that are run."""
    model, seen = trained("mlp")
    x, y = data()
    models = {bits: quantize_model(model, seen, scheme=TFLITE_INT8.replace(weight_bits=bits)) for bits in (8, 4)}
    graphs = []
    real = room.run_graph
    monkeypatch.setattr(room, "run_graph", lambda graph, x: graphs.append(graph) or real(graph, x))
    resilience({str(bits): fq for bits, fq in models.items()}, x, y, steps=(0, 3), draws=2)
    shifts = []
    for fq, (_, first, _, second) in ((models[8], graphs[:4]), (models[4], graphs[4:])):
        start = folded_graph(fq)
        for noisy in (first, second):
            name = "fc1"
            step = fq.nodes[name].weight_qparams.along(2)[0]
            moved = (noisy.node(name).params["weight"].astype(np.float64) - start.node(name).params["weight"]) / step
            # float32 weights of at most 127 steps: 127 * 2**-24 steps of rounding
            assert np.abs(moved).max() <= 3 + 1e-4 and abs(moved.mean()) < 0.1
            assert moved.var() == pytest.approx(3**2 / 3, rel=0.1)
            shifts.append(moved)
    assert np.allclose(shifts[0], shifts[2], atol=1e-3) and np.allclose(shifts[1], shifts[3], atol=1e-3)
    assert not np.allclose(shifts[0], shifts[1], atol=0.5)


def test_one_weight_of_127_steps_bears_126_and_not_300():
    model = nn.Sequential(nn.Linear(1, 2, bias=False)).eval()
    model[0].weight.data[...] = [[-1.0], [1.0]]
    x, y = np.array([[-1.0], [1.0]], np.float32), np.array([0, 1])
    report = resilience({"m": quantize_model(model, calibrate(model, x))}, x, y, steps=(126, 300), draws=40)
    assert report.accuracies["m"][:, 0].min() == 1 and report.accuracies["m"][:, 1].min() < 1


def test_networks_trained_in_two_ways_are_measured_side_by_side():
    x, y, xt, yt = digits()
    model, seen = trained("mlp")
    scheme = TFLITE_INT8.replace(weight_bits=4)
    qat = quantize_model(model, seen, scheme=scheme)
    fit(qat, x[:256], y[:256], epochs=1, lr=1e-3, seed=0)
    before = qat.nodes["fc1"].weight.data.copy()
    report = resilience({"float-trained": quantize_model(model, seen, scheme=scheme), "QAT-trained": qat}, xt, yt, draws=3)
    assert np.array_equal(qat.nodes["fc1"].weight.data, before)
    for values in report.accuracies.values():
        assert values.shape == (3, 7) and values[:, 0].min() > 0.9 and values[:, -1].max() < 0.8
    again = resilience({"QAT-trained": qat}, xt, yt, draws=3)
    assert np.array_equal(again.accuracies["QAT-trained"], report.accuracies["QAT-trained"])
    assert str(report).isascii() and max(map(len, str(report).splitlines())) <= 80
    assert json.loads(json.dumps(report.to_dict()))["steps"] == [0, 0.5, 1, 2, 4, 8, 16]


def test_resilience_refuses_what_makes_no_sense():
    model, seen = trained("mlp")
    fq = quantize_model(model, seen)
    x, y = data()
    for kwargs, message in (
        ({"steps": ()}, "steps must be at least one number of at least 0"),
        ({"steps": (-1,)}, r"steps must be at least one number of at least 0, got \[-1\]"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            resilience({"m": fq}, x, y, **kwargs)
    with pytest.raises(ValueError, match="there must be at least one model"):
        resilience({}, x, y)
    with pytest.raises(ValueError, match="y must have one label a row"):
        resilience({"m": fq}, x, y[:3])
    with pytest.raises(TypeError, match="model 'm' must be a FakeQuantModel, got Sequential"):
        resilience({"m": model}, x, y)
