"""Rounding as a decision (rounding_decisions, gram_rounding, adaround): the objective is the layer's error, no algorithm is
worse than nearest in it, and convert only reads what was decided."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyquant import data, models, nn
from tinyquant.autograd import Tensor
from tinyquant.interop import load
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.optim import SGD
from tinyquant.quantization.adaround import adaround, learn_rounding
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.float_run import compute_node
from tinyquant.quantization.gram_rounding import descend, gram_round
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.rounding_decisions import RoundingProblem, round_layers
from tinyquant.quantization.schemes import DYNAMIC_INT8, JACOB_UINT8, TFLITE_INT8
from tinyquant.training import evaluate

ALGORITHMS = {"gram": descend, "adaround": lambda problem: learn_rounding(problem, iterations=60)}
MODELS = {"gram": gram_round, "adaround": lambda fq, x: adaround(fq, x, iterations=100)}


def random_problem(seed, cells=None, bits=None):
    """Correlated inputs, some cells dead, some channels all zero, zero points off 0."""
    rng = np.random.default_rng(seed)
    cells = cells or int(rng.integers(1, 9))
    groups, each = (int(n) for n in rng.integers(1, 4, 2))
    bits = bits or int(rng.integers(2, 5))
    weight = rng.normal(size=(groups * each, cells)) * (rng.random((groups * each, 1)) > 0.1)
    inputs = rng.normal(size=(groups, 5 + cells, cells)) + rng.normal(size=(groups, 1, cells)) * 2
    inputs *= rng.random((groups, 1, cells)) > 0.1
    qmax = 2 ** (bits - 1) - 1
    scale = np.abs(weight).max() * rng.uniform(0.4, 1.0, (len(weight), 1)) / qmax if weight.any() else np.ones((len(weight), 1))
    zero = rng.integers(-1, 2, (len(weight), 1)).astype(float)
    return RoundingProblem(weight, scale, zero, -qmax, qmax, np.matmul(inputs.transpose(0, 2, 1), inputs))


@pytest.mark.parametrize("name", ALGORITHMS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_no_channel_is_ever_worse_than_with_nearest(name, seed):
    """(w'-w)^T G (w'-w) is at most nearest's, exactly: both are computed by one function."""
    problem = random_problem(seed)
    codes = ALGORITHMS[name](problem)
    assert np.all(problem.objective(codes) <= problem.objective(problem.nearest()))
    assert np.array_equal(codes, np.trunc(codes)) and codes.min() >= problem.qmin and codes.max() <= problem.qmax


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_after_descent_no_single_code_can_be_improved(seed):
    """Each weight one up or one down, the others as they are: the objective does not fall (by more than its rounding)."""
    problem = random_problem(seed)
    codes = descend(problem, sweeps=1000)
    best = problem.objective(codes)
    for j in range(codes.shape[1]):
        for step in (-1, 1):
            tried = codes.copy()
            tried[:, j] = np.clip(tried[:, j] + step, problem.qmin, problem.qmax)
            # 1e-9 of a step's own curvature is the descent's own threshold against moving to and fro.
            slack = 1e-7 * np.repeat(problem.gram[:, j, j], len(codes) // len(problem.gram)) * problem.scale[:, 0] ** 2
            assert np.all(problem.objective(tried) >= best - slack - 1e-9 * best)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_learned_rounding_never_beats_the_best_of_all_ways_up_and_down(seed):
    """All 2 ** 5 ways to round up or down: what beat them would have rounded some other way, or miscounted."""
    problem = random_problem(seed, cells=5, bits=3)
    base = np.floor(problem.weight / problem.scale + problem.zero_point)
    everything = [np.clip(base + np.array(way), problem.qmin, problem.qmax) for way in itertools.product((0, 1), repeat=5)]
    best = np.min([problem.objective(codes) for codes in everything], axis=0)
    assert np.all(problem.objective(learn_rounding(problem, iterations=60)) >= best * (1 - 1e-9) - 1e-12)


LAYERS = {
    "linear": lambda: nn.Linear(18, 4, seed=1),
    "conv": lambda: nn.Conv2d(2, 3, 3, padding="same", stride=2, seed=1),
    "valid, dilated": lambda: nn.Conv2d(2, 3, (2, 3), dilation=(2, 1), seed=1),
    "explicit padding": lambda: nn.Conv2d(2, 3, 3, padding=2, stride=2, seed=1),
    "grouped": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2, seed=1),
    "depthwise": lambda: nn.DepthwiseConv2d(2, 3, padding="same", stride=(1, 2), multiplier=3, seed=1),
    "grouped as depthwise": lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4, seed=1),
}


def layer_model(kind):
    layer = LAYERS[kind]()
    model = nn.Sequential(nn.Flatten(), layer) if kind == "linear" else nn.Sequential(layer)
    shape = (3, 3, 2) if kind == "linear" else (7, 5, 4 if "grouped" in kind else 2)
    return model.eval(), np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)


@pytest.mark.parametrize("scheme", [TFLITE_INT8, JACOB_UINT8, DYNAMIC_INT8], ids=lambda s: s.name)
@pytest.mark.parametrize("kind", LAYERS)
def test_the_objective_is_the_layers_squared_output_error(kind, scheme):
    """sum over all outputs of (y(w') - y(w))**2, by running the layer in float64 on the inputs it gets."""
    model, x = layer_model(kind)
    fq = quantize_model(model, calibrate(model, x), scheme=scheme.replace(weight_bits=3))
    stated = []

    def decide(problem):
        codes = problem.nearest()
        codes[:, ::2] = np.clip(codes[:, ::2] + 1, problem.qmin, problem.qmax)
        stated.append(problem.objective(codes))
        return codes

    rounded = round_layers(fq, x, decide)
    name = list(fq.nodes)[-1]
    made, plain = rounded.nodes[name], fq.nodes[name]
    source = fq.trace(x)[made.node.inputs[0]].astype(np.float64)
    if scheme.activations == "dynamic":
        rows = source.reshape(len(source), -1)
        step = np.float32(np.abs(rows).max(axis=1) / 127).astype(np.float64).reshape(-1, *[1] * (source.ndim - 1))
        source = np.float32(quantize_rows(source, step) * step).astype(np.float64)
    outputs = [
        compute_node(made.node, [Tensor(source)], {"weight": Tensor(w.astype(np.float64))}).data
        for w in (made.weight.data, plain.weight.data)
    ]
    want = ((outputs[0] - outputs[1]) ** 2).reshape(-1, outputs[0].shape[-1]).sum(axis=0)
    # The written weights are float32: 2**-24 of each, twice in a square.
    assert np.allclose(stated[0], want, rtol=1e-5, atol=1e-9)


def quantize_rows(x, step):
    quotient = (x.astype(np.float32) / step.astype(np.float32)).astype(np.float64)
    return np.sign(quotient) * np.floor(np.abs(quotient) + 0.5)


@lru_cache
def digits():
    return data.digits(split=0)


@lru_cache
def quantized(name, bits=3):
    model = models.load_checkpoint(name)
    return quantize_model(model, calibrate(model, digits()[0][0][:256]), scheme=TFLITE_INT8.replace(weight_bits=bits))


@pytest.mark.parametrize("algorithm", MODELS)
@pytest.mark.parametrize("network", ["mlp", "mobilenet"])
def test_convert_finds_the_codes_that_were_decided(algorithm, network):
    """The integer model's weights are the decided codes; the scales those of plain quantization; nearest's codes differ."""
    (x, _), _ = digits()
    fq, decided = quantized(network), {}

    def decide(problem):
        codes = ALGORITHMS[algorithm](problem)
        decided[len(decided)] = codes
        return codes

    rounded = round_layers(fq, x[:32], decide)
    graph, plain = convert(rounded).graph, convert(fq).graph
    layers = [node for node in graph if "weight" in node.params]
    assert len(layers) == len(decided)
    for node, codes in zip(layers, decided.values(), strict=True):
        axis = 3 if node.op == "DEPTHWISE_CONV_2D" else 0
        assert np.array_equal(np.moveaxis(node.params["weight"], axis, 0).reshape(codes.shape), codes), node.name
        assert node.param_qparams["weight"] == plain.node(node.name).param_qparams["weight"]
        qp = node.param_qparams["weight"]
        assert np.array_equal(rounded.nodes[node.name].weight.data, dequantize(node.params["weight"], qp))
    assert any(not np.array_equal(a.params["weight"], plain.node(a.name).params["weight"]) for a in layers)


@pytest.mark.parametrize("algorithm", MODELS)
def test_two_bit_weights_win_back_ten_points_and_more(algorithm):
    """The committed checkpoints: measured 49 -> 83 and 89, 26 -> 70 and 75, 30 -> 61 and 66 (gram, AdaRound)."""
    (x, _), (xt, yt) = digits()
    for network in ("mlp", "resnet", "mobilenet"):
        fq = quantized(network, 2)
        assert evaluate(MODELS[algorithm](fq, x[:128]), xt, yt) > evaluate(fq, xt, yt) + 0.1, network


def test_decisions_survive_saving_and_training_keeps_their_grid(tmp_path):
    (x, y), _ = digits()
    fq = gram_round(quantized("mlp"), x[:64])
    fq.save(tmp_path / "fq.npz")
    again = load(tmp_path / "fq.npz")
    assert np.array_equal(again(x[:32]).data, fq(x[:32]).data)
    scales = {name: made.weight_qparams for name, made in again.nodes.items()}
    again.train()
    optimizer = SGD(again.parameters(), lr=0.05)
    again(x[:32]).sum().backward()
    optimizer.step()
    again.eval()
    assert {name: made.weight_qparams for name, made in again.nodes.items()} == scales
    weight = again.nodes["fc1"].weight.data
    assert not np.array_equal(weight, fq.nodes["fc1"].weight.data)
    assert np.array_equal(
        convert(again).graph.node("fc1").params["weight"], quantize(weight, scales["fc1"])
    )


def test_the_model_given_is_left_as_it_was():
    (x, _), _ = digits()
    fq = quantized("mobilenet")
    before = fq.state_dict()
    for algorithm in MODELS.values():
        algorithm(fq, x[:16])
    after = fq.state_dict()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert not any(made.weight_qparams_fixed for made in fq.nodes.values())


class Twice(nn.Module):
    def __init__(self):
        self.layer, self.last = nn.Linear(3, 3, seed=0), nn.Linear(3, 2, seed=0)

    def forward(self, x):
        return self.last(self.layer(self.layer(x)))


def test_shared_excluded_and_grouped_layers_keep_plain_rounding():
    x = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    model = Twice().eval()
    for scheme, left in (
        (TFLITE_INT8, {"layer", "layer#2"}),
        (TFLITE_INT8.annotate("last", exclude=True), {"layer", "layer#2", "last"}),
        (TFLITE_INT8.replace(group_size=2), {"layer", "layer#2", "last"}),
    ):
        rounded = gram_round(quantize_model(model, calibrate(model, x), scheme=scheme.replace(weight_bits=3)), x)
        assert {name for name, made in rounded.nodes.items() if not made.weight_qparams_fixed} == left


def test_wrong_calls_are_refused():
    (x, _), _ = digits()
    model = models.load_checkpoint("resnet")
    frozen = quantize_model(model, calibrate(model, x[:16]), bn="freeze")
    fq = quantized("mlp")
    for call, error, message in (
        (lambda: gram_round(model, x), TypeError, "must be a FakeQuantModel, got Sequential. Call quantize_model first"),
        (lambda: gram_round(frozen, x[:16]), ValueError, "folded for good, got one at 'stem.conv'. Use quantize_model"),
        (lambda: adaround(frozen.train(), x[:16]), ValueError, "got one in training mode"),
        (lambda: gram_round(fq, x[:16], sweeps=0), ValueError, "sweeps must be a whole number of 1 or more, got 0"),
        (lambda: adaround(fq, x[:16], iterations=0), ValueError, "iterations must be a whole number of 1 or more, got 0"),
        (lambda: gram_round(fq, x[:16], sweeps=2.5), ValueError, "sweeps must be a whole number of 1 or more, got 2.5"),
        (lambda: adaround(fq, x[:16], iterations=1.5), ValueError, "iterations must be a whole number of 1 or more, got 1.5"),
        (lambda: adaround(fq, x[:16], lr=0.0), ValueError, "lr must be above 0"),
        (lambda: adaround(fq, x[:0]), ValueError, r"x must hold at least one row, got shape \(0, 8, 8, 1\)"),
        (lambda: gram_round(fq, x[:0]), ValueError, r"x must hold at least one row, got shape \(0, 8, 8, 1\)"),
        (lambda: gram_round(fq, x[:2] * np.nan), ValueError, "x must be finite, got nan or infinity in row 0"),
        (lambda: round_layers(fq, x[:16], lambda p: p.nearest() + 200), ValueError, r"in \[-3, 3\], got .* at 'fc1'"),
    ):
        with pytest.raises(error, match=message):
            call()
