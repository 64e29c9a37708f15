"""Batch norms while a quantized network trains: by the batch and corrected, frozen, and measured again afterwards."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyquant import autograd as F
from tinyquant import data, models, nn
from tinyquant.autograd import Tensor, check_gradients
from tinyquant.interop import load
from tinyquant.numerics.affine import quantize
from tinyquant.quantization.batch_norm import batch_moments, fold_batch_norm, fold_by_batch
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.reestimate import reestimate_batch_norm
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.training import evaluate, fit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 6, 6, 2)).astype(np.float32)
EPS = 1e-3


def network(seed=0):
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=True), nn.BatchNorm2d(4), nn.ReLU6(),
        nn.DepthwiseConv2d(4, 3, padding="same", bias=False), nn.BatchNorm2d(4),
        nn.GlobalAvgPool2d(), nn.Linear(4, 3), nn.BatchNorm2d(3),
    )  # fmt: skip
    model.reset_parameters(seed)
    for _ in range(5):
        model.train()(Tensor(X))
    return model.eval()


NORMS = {"0": "1", "3": "4", "6": "7"}
"""Which node owns which batch norm of the network."""


def quantized(**options):
    model = network()
    return quantize_model(model, calibrate(model, X), **options)


def norm_arrays(rng, channels):
    """gamma, beta, mean, variance, eps in float64."""
    return {
        "gamma": rng.uniform(0.5, 2, channels), "beta": rng.normal(size=channels), "mean": rng.normal(size=channels),
        "variance": rng.uniform(0.1, 3, channels), "eps": np.array(EPS),
    }  # fmt: skip


# The factor sigma_B / sigma


@given(st.integers(0, 2**16))
def test_where_the_batch_is_as_the_running_statistics_the_correction_is_one_and_the_fold_the_usual(seed):
    """mean_B = mean, var_B = var: c = 1 and weight', bias' are fold_batch_norm's. Two roots that may differ by an ulp each."""
    rng = np.random.default_rng(seed)
    norm = {key: Tensor(array) for key, array in norm_arrays(rng, 3).items()}
    weight, bias = Tensor(rng.normal(size=(3, 5))), Tensor(rng.normal(size=3))
    w, b, ratio = fold_by_batch(weight, bias, norm, norm["mean"], norm["variance"], 0)
    want_w, want_b = fold_batch_norm(weight, bias, norm, 0)
    assert w.data.tolist() == want_w.data.tolist()
    assert np.abs(ratio.data - 1).max() <= 4 * np.finfo(float).eps
    assert np.abs(b.data - want_b.data).max() <= 8 * np.finfo(float).eps * (1 + np.abs(norm["beta"].data).max())


@given(st.integers(0, 2**16))
def test_the_corrected_layer_is_the_batch_norm_of_the_batch(seed):
    """(x w' + b') / c = gamma (x w + b - mean_B) / sigma_B + beta; a dozen float64 operations on numbers below 100: 1e-12."""
    rng = np.random.default_rng(seed)
    arrays = norm_arrays(rng, 3)
    norm = {key: Tensor(array) for key, array in arrays.items()}
    x, w, b = Tensor(rng.normal(size=(8, 5))), Tensor(rng.normal(size=(3, 5))), Tensor(rng.normal(size=3))
    y = F.linear(x, w, b)
    folded_w, folded_b, ratio = fold_by_batch(w, b, norm, *batch_moments(y, "layer"), 0)
    got = F.linear(x, folded_w, folded_b) / ratio
    want = F.batch_norm(y, norm["gamma"], norm["beta"], np.zeros(3), np.ones(3), training=True, eps=EPS)
    assert np.abs(got.data - want.data).max() < 1e-12


def test_the_gradient_flows_through_the_batchs_own_statistics():
    arrays = norm_arrays(np.random.default_rng(0), 2)
    fixed = {key: Tensor(arrays[key]) for key in ("mean", "variance", "eps")}

    def layer(x, w, b, gamma, beta):
        moments = batch_moments(F.linear(x, w, b), "layer")
        w2, b2, ratio = fold_by_batch(w, b, {**fixed, "gamma": gamma, "beta": beta}, *moments, 0)
        return F.linear(x, w2, b2) / ratio

    rng = np.random.default_rng(1)
    check_gradients(layer, rng.normal(size=(6, 3)), rng.normal(size=(2, 3)), rng.normal(size=2), arrays["gamma"], arrays["beta"])


def test_unquantized_training_by_the_batch_is_the_float_networks_training():
    """With everything in float the logits and the running statistics are those of nn's batch norms, to float32's rounding.

    Three layers of 50 terms, the factor a quotient of roots: 1e-4 of numbers of size 1 is far above it and far below a wrong
    factor, which would differ by whole percents.
    """
    model = network()
    fq = quantize_model(model, calibrate(model, X), bn="correct", delay=10)
    model.train()
    fq.train()
    for k in range(3):
        batch = Tensor(X * (k + 1) + k)
        assert np.abs(model(batch).data - fq(batch).data).max() < 1e-4
    for node, norm in NORMS.items():
        made, layer = fq.nodes[node], getattr(model, norm)
        assert np.allclose(made.mean, layer.running_mean, rtol=1e-4, atol=1e-5)
        assert np.allclose(made.variance, layer.running_var, rtol=1e-4, atol=1e-5)


def test_quantized_weights_are_those_of_the_running_statistics_whatever_the_batch():
    """The quantizer must not jitter: two very different batches meet the same codes."""
    seen = []
    for factor in (1, 50):
        fq = quantized(bn="correct").train()
        fq(Tensor(X * np.float32(factor)))
        seen.append(fq.nodes["0"].weight_qparams)
    assert seen[0] == seen[1] == quantized(bn="freeze").nodes["0"].weight_qparams


# Freezing


@pytest.mark.parametrize("how", ["call", "count"])
def test_frozen_it_is_the_freeze_strategy_bit_for_bit_and_its_statistics_stand_still(how):
    options = {"bn": "correct", "bn_freeze_after": 0} if how == "count" else {"bn": "correct"}
    corrected, frozen = quantized(**options).train(), quantized(bn="freeze").train()
    if how == "call":
        corrected.freeze_batch_norm()
    before = {key: array for key, array in corrected.state_dict().items() if key.endswith(("mean", "variance"))}
    assert len(before) == 6
    assert corrected(Tensor(3 * X)).data.tolist() == frozen(Tensor(3 * X)).data.tolist()
    after = corrected.state_dict()
    assert all(np.array_equal(array, after[key]) for key, array in before.items())


def test_statistics_follow_until_so_many_batches_and_then_no_more():
    fq = quantized(bn="correct", bn_freeze_after=2).train()
    means = []
    for _ in range(4):
        means.append(fq.nodes["0"].mean.tolist())
        fq(Tensor(3 * X + 1))
    assert means[0] != means[1] != means[2] == means[3]


@pytest.mark.parametrize("bn", ["correct", "reestimate"])
def test_untrained_and_in_eval_mode_it_is_the_freeze_strategy(bn):
    a, b = quantized(bn=bn), quantized(bn="freeze")
    state = a.state_dict()
    want, got = b.trace_codes(X), a.trace_codes(X)
    assert all(np.array_equal(want[name], got[name]) for name in want)
    assert all(np.array_equal(state[key], array) for key, array in a.state_dict().items())


# Measuring again


def test_reestimated_statistics_are_those_of_each_layers_output_in_the_quantized_network():
    """Recounted from a trace afterwards: mean and variance over n - 1 of the float layer on the quantized inputs."""
    fq = quantized(bn="reestimate", scheme=TFLITE_INT8.replace(weight_bits=3))
    fq.train()
    fq(Tensor(X))
    reestimate_batch_norm(fq, 2 * X)
    trace = fq.trace(2 * X)
    for name in NORMS:
        made = fq.nodes[name]
        y = made.before_norm([Tensor(trace[read]) for read in made.node.inputs]).data
        rows = y.reshape(-1, y.shape[-1]).astype(np.float64)
        assert made.mean.tolist() == rows.mean(axis=0).astype(np.float32).tolist()
        assert made.variance.tolist() == rows.var(axis=0, ddof=1).astype(np.float32).tolist()


def test_after_measuring_each_layer_gives_its_gamma_and_beta_on_those_rows():
    """Unquantized weights would give mean beta and deviation gamma exactly; 8-bit ones, within the noise of their rounding."""
    fq = quantized(bn="reestimate")
    reestimate_batch_norm(fq, 2 * X)
    made = fq.nodes["3"]
    trace = fq.trace(2 * X)
    params = {key: Tensor(tensor.data) for key, tensor in made.params().items()}
    x = trace[made.node.inputs[0]]
    y = F.depthwise_conv2d(Tensor(x), params["weight"], params["bias"], stride=(1, 1), padding="same").data.reshape(-1, 4)
    # eps = 1e-5 beside a variance, and float32: both below 1e-3.
    assert np.abs(y.mean(axis=0) - made.beta.data).max() < 1e-3
    assert np.abs(y.std(axis=0, ddof=1) - np.abs(made.gamma.data)).max() < 1e-3


def test_measuring_again_leaves_the_parameters_alone_and_twice_is_once():
    fq = quantized(bn="reestimate")
    before = {key: p.data.copy() for key, p in fq.named_parameters()}
    reestimate_batch_norm(fq, 2 * X)
    once = fq.state_dict()
    reestimate_batch_norm(fq, 2 * X)
    assert not fq.training and all(np.array_equal(before[key], p.data) for key, p in fq.named_parameters())
    assert all(np.array_equal(once[key], array) for key, array in fq.state_dict().items())


def test_convert_insists_on_measuring_again_after_training(tmp_path):
    fq = quantized(bn="reestimate")
    convert(fq)
    fit(fq, X, np.arange(32) % 3, epochs=1)
    fq.save(tmp_path / "fq.npz")
    for model in (fq, load(tmp_path / "fq.npz")):
        with pytest.raises(ValueError, match=r"must have its statistics estimated again.*Call reestimate_batch_norm"):
            convert(model)
        reestimate_batch_norm(model, X)
        convert(model)


# On real networks


@lru_cache
def digits():
    return data.digits(split=0)


@lru_cache
def trained(bn):
    (x, y), _ = digits()
    model = models.load_checkpoint("mobilenet")
    fq = quantize_model(
        model, calibrate(model, x[:128]), scheme=TFLITE_INT8.replace(weight_bits=4), bn=bn, ranges="ema",
        bn_freeze_after=8 if bn == "correct" else None,
    )  # fmt: skip
    history = fit(fq, x[:512], y[:512], epochs=2, seed=0)
    if bn == "reestimate":
        reestimate_batch_norm(fq, x[:256])
    return fq, history


@pytest.mark.parametrize("bn", ["correct", "reestimate"])
def test_trained_by_the_batch_a_convnet_converts_and_no_node_differs_by_more_than_one(bn):
    _, (xt, yt) = digits()
    fq, history = trained(bn)
    m = convert(fq)
    trace = m.trace(quantize(xt[:100], m.inputs[0].qparams))
    for node in m.graph:
        fake = fq.run_node(node.name, [trace[source] for source in node.inputs]).astype(int)
        assert np.abs(fake.reshape(trace[node.name].shape) - trace[node.name]).max() <= 1, node.name
    assert history.loss[-1] < history.loss[0] and evaluate(m, xt[:200], yt[:200]) > 0.9


@pytest.mark.parametrize("bn", ["correct", "reestimate"])
def test_exact_mode_differs_nowhere_and_exact_training_waits_for_the_freeze(bn):
    (x, _), (xt, _) = digits()
    fq, _ = trained(bn)
    m = convert(fq)
    fq.exact = True
    try:
        fake, integer = fq.trace_codes(xt[:20]), m.trace(quantize(xt[:20], m.inputs[0].qparams))
        assert all(np.array_equal(fake[key].reshape(integer[key].shape), integer[key]) for key in integer)
        if bn == "reestimate":
            with pytest.raises(ValueError, match=r"got bn='reestimate' before freeze_batch_norm\(\)"):
                fq.train()(Tensor(x[:8]))
    finally:
        fq.exact = False
        fq.eval()
    if bn == "correct":
        again = quantized(bn="correct", bn_freeze_after=0)
        again.exact = True
        assert again.train()(Tensor(X)).requires_grad


def test_a_network_without_batch_norms_has_nothing_to_measure_again_and_converts(tmp_path):
    """bn="reestimate" then is "fold" under another name: the same training to the same numbers, exact training too."""
    x, y = X.reshape(32, -1)[:, :6], np.arange(32) % 3
    model = nn.Sequential(nn.Linear(6, 4, seed=0), nn.ReLU(), nn.Linear(4, 3, seed=1)).eval()
    trained = []
    for bn in ("fold", "reestimate", "correct"):
        fq = quantize_model(model, calibrate(model, x), bn=bn)
        fit(fq, x, y, epochs=2)
        fq.exact = True
        fit(fq, x, y, epochs=1)
        fq.save(tmp_path / "fq.npz")
        trained.append([convert(m).trace(quantize(x, fq.qparams["input"])) for m in (fq, load(tmp_path / "fq.npz"))])
    for trace in (*trained[1], *trained[2]):
        assert all(np.array_equal(array, trained[0][0][name]) for name, array in trace.items())
    with pytest.raises(ValueError, match="got a network without any. Nothing is to be measured again: call convert"):
        reestimate_batch_norm(quantize_model(model, calibrate(model, x), bn="reestimate"), x)


# Refusals


def test_what_has_no_batch_norm_of_its_own_is_refused():
    with pytest.raises(ValueError, match="must have batch norms, got none left"):
        reestimate_batch_norm(quantized(bn="fold"), X)
    with pytest.raises(TypeError, match="must be a FakeQuantModel, got Sequential"):
        reestimate_batch_norm(network(), X)
    with pytest.raises(ValueError, match="more than one number a channel, got 1 at '6'"):
        reestimate_batch_norm(quantized(bn="reestimate"), X[:1])
    with pytest.raises(ValueError, match=r"more than one number a channel, got shape \(1, 3\) at '6'"):
        quantized(bn="correct").train()(Tensor(X[:1]))


class Twice(nn.Module):
    """One convolution and one batch norm, called twice."""

    def __init__(self):
        self.conv, self.bn = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)

    def forward(self, x):
        return self.bn(self.conv(F.relu(self.bn(self.conv(x)))))


def test_a_batch_norm_used_twice_is_refused_by_name():
    model = Twice().eval()
    seen = calibrate(model, X)
    with pytest.raises(ValueError, match="bn='correct' must have each batch norm used once, got conv, conv#2 sharing one"):
        quantize_model(model, seen, bn="correct")
    with pytest.raises(ValueError, match="each batch norm must be used once, got conv, conv#2 sharing one"):
        reestimate_batch_norm(quantize_model(model, seen, bn="freeze"), X)
