"""The whole path on the three reference networks and real digits: float, fake-quantized, integer, node for node.

The networks are the committed checkpoints, so nothing here depends on how a processor rounds during training.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyquant import autograd as F
from tinyquant import data, models, nn
from tinyquant.autograd import Tensor
from tinyquant.interop import load
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.training import evaluate, fit

NETWORKS = ("mlp", "resnet", "mobilenet")


@lru_cache
def digits():
    return data.digits(split=0)


@lru_cache
def path(name, bits=8, bn="fold"):
    """Float model, fake-quantized model, integer model of a checkpoint."""
    (x, _), _ = digits()
    model = models.load_checkpoint(name)
    fq = quantize_model(model, calibrate(model, x[:512]), scheme=TFLITE_INT8.replace(weight_bits=bits), bn=bn)
    return model, fq, convert(fq)


@lru_cache
def test_codes(name):
    (_, _), (xt, _) = digits()
    _, fq, m = path(name)
    codes = quantize(xt, m.inputs[0].qparams)
    return xt, codes, fq.trace_codes(xt), m.trace(codes)


test_codes.__test__ = False


@pytest.mark.parametrize("name", NETWORKS)
def test_eight_bits_cost_at_most_two_answers_between_fake_quant_and_integer(name):
    """At most 2 of 450 test images change top-1 between the fake-quantized and the integer network."""
    _, _, fake, integer = test_codes(name)
    output = path(name)[2].graph.outputs[0]
    assert np.sum(fake[output].argmax(axis=1) != integer[output].argmax(axis=1)) <= 2


@pytest.mark.parametrize("name", NETWORKS)
def test_every_value_has_the_same_name_and_quantizer_in_both_worlds(name):
    _, fq, m = path(name)
    assert list(fq.trace_codes(digits()[1][0][:1])) == list(m.trace(test_codes(name)[1][:1]))
    for node in m.graph:
        assert node.qparams == fq.qparams[node.name]
    assert m.inputs[0].qparams == fq.qparams["input"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bits", [8, 3])
def test_given_the_same_codes_no_node_differs_by_more_than_one(name, bits):
    (_, _), (xt, _) = digits()
    _, fq, m = path(name, bits)
    trace = m.trace(quantize(xt, m.inputs[0].qparams))
    for node in m.graph:
        codes = [trace[source] for source in node.inputs]
        fake = fq.run_node(node.name, codes).astype(int).reshape(trace[node.name].shape)
        assert np.abs(fake - trace[node.name]).max() <= 1, node.name
        assert np.array_equal(m.run_node(node.name, codes), trace[node.name])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bn", ["fold", "freeze"])
def test_exact_mode_differs_in_no_code_anywhere_on_the_whole_test_set(name, bn):
    (_, _), (xt, _) = digits()
    _, fq, m = path(name, 8, bn)
    fq.exact = True
    try:
        fake, integer = fq.trace_codes(xt), m.trace(quantize(xt, m.inputs[0].qparams))
    finally:
        fq.exact = False
    assert {
        key: int((fake[key].reshape(integer[key].shape) != integer[key]).sum()) for key in integer if key != "input"
    } == {node.name: 0 for node in m.graph}


@pytest.mark.parametrize("name", NETWORKS)
def test_exact_training_moves_every_parameter_and_still_equals_the_integers(name):
    """QAT with exact=True: the gradients flow through the integer forward, and what comes out converts to the same codes."""
    (x, y), (xt, _) = digits()
    model, _, _ = path(name)
    fq = quantize_model(model, calibrate(model, x[:256]), scheme=TFLITE_INT8.replace(weight_bits=4), bn="freeze")
    fq.exact = True
    before = {key: p.data.copy() for key, p in fq.named_parameters()}
    fit(fq, x[:64], y[:64], epochs=1, lr=1e-3, seed=0)
    assert [key for key, p in fq.named_parameters() if np.array_equal(before[key], p.data)] == []
    m = convert(fq)
    fake, integer = fq.trace_codes(xt[:50]), m.trace(quantize(xt[:50], m.inputs[0].qparams))
    assert all(np.array_equal(fake[key].reshape(integer[key].shape), integer[key]) for key in integer)


@pytest.mark.parametrize("name", NETWORKS)
def test_accuracy_is_one_function_for_all_three_arithmetics(name):
    (_, _), (xt, yt) = digits()
    model, fq, m = path(name)
    output = m.graph.outputs[0]
    by_hand = np.mean(test_codes(name)[3][output].argmax(axis=1) == yt)
    assert evaluate(m, xt, yt) == by_hand
    assert min(evaluate(model, xt, yt), evaluate(fq, xt, yt), by_hand) > 0.95


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_and_loaded_it_runs_to_the_same_bytes(name, tmp_path):
    m = path(name)[2]
    m.save(tmp_path / "m.npz")
    codes = test_codes(name)[1][:20]
    assert np.array_equal(load(tmp_path / "m.npz").run(codes), m.run(codes))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_softmax_may_be_appended_and_keeps_the_top_class(name):
    fq = path(name)[1]
    m = convert(fq, softmax=True)
    codes = test_codes(name)[1][:100]
    probabilities = dequantize(m.run(codes), m.outputs[0].qparams)
    logits = path(name)[2].run(codes)
    assert m.graph.nodes[-1].op == "SOFTMAX" and m.outputs[0].qparams.scale == 1 / 256
    best = np.take_along_axis(probabilities, logits.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert np.array_equal(best, probabilities.max(axis=1))


class Branches(nn.Module):
    """Everything a graph can be made of, in one network."""

    def __init__(self, rng):
        self.stem = nn.Conv2d(2, 4, 3, padding=1, seed=rng)
        self.norm = nn.BatchNorm2d(4)
        self.left = nn.DepthwiseConv2d(4, 3, padding="same", stride=2, seed=rng)
        self.right = nn.Conv2d(4, 4, 3, padding=1, stride=2, groups=2, seed=rng)
        self.concat = nn.Concat()
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(24, 5, seed=rng)

    def forward(self, x):
        y = F.relu6(self.norm(self.stem(x)))
        both = self.concat(self.left(y), F.leaky_relu(self.right(y), 0.1), F.max_pool2d(y, 2))
        gate = F.sigmoid(F.mean(both, axis=(1, 2), keepdims=True))
        scaled = both * gate - F.tanh(both)
        top, bottom = self.pool(scaled), F.pad(scaled, ((0, 0), (1, 1), (0, 0), (0, 0)))
        flat = F.reshape(F.transpose(top, (0, 3, 1, 2)), (top.shape[0], -1))
        wide = F.concat([flat, F.reshape(F.sum(bottom, axis=(1, 2)), (top.shape[0], -1))], axis=-1)
        return F.softmax(self.head(wide) * 2.0)


@given(st.integers(0, 2**16))
@settings(max_examples=50)
def test_a_network_of_every_operator_agrees_node_for_node(seed):
    """Every operator capture knows, random weights: no node parts by more than 1 code, exact mode by none."""
    rng = np.random.default_rng(seed)
    model = Branches(rng)
    x = rng.normal(size=(16, 4, 4, 2)).astype(np.float32)
    model.train()(Tensor(x))
    model.eval()
    fq = quantize_model(model, calibrate(model, x))
    m = convert(fq)
    trace = m.trace(quantize(x, m.inputs[0].qparams))
    for node in m.graph:
        if node.op == "CONSTANT":
            continue
        fake = fq.run_node(node.name, [trace[source] for source in node.inputs]).astype(int)
        assert np.abs(fake.reshape(trace[node.name].shape) - trace[node.name]).max() <= 1, (node.name, node.op)
    fq.exact = True
    codes = fq.trace_codes(x)
    assert all(np.array_equal(codes[key].reshape(trace[key].shape), trace[key]) for key in trace)
