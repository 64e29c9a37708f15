"""Bias correction: the mean error of every channel is gone on the data it saw, and known without data from batch norms."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyquant import data, models, nn
from tinyquant.autograd import Tensor, no_grad
from tinyquant.numerics.affine import quantize
from tinyquant.quantization.bias_correction import correct_bias, expected_after_relu
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.capture import capture
from tinyquant.quantization.convert import convert
from tinyquant.quantization.float_run import compute_node, run_graph
from tinyquant.quantization.fuse import fuse
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.training import evaluate

NETWORKS = ("mlp", "resnet", "mobilenet")
COARSE = TFLITE_INT8.replace(weight_bits=3)


@lru_cache
def digits():
    return data.digits(split=0)


def quantized(model, x, **options):
    return quantize_model(model, calibrate(model, x), **options)


def mean_errors(fq, model, x):
    """{layer: (|mean over x of quantized - float| before the activation, its bound)}, a number a channel each."""
    seen = capture(model, x)
    want, got, found = run_graph(seen, x), fq.trace(x), {}
    for name, made in fq.nodes.items():
        if made.shared_weight() is None:
            continue
        norms = [n for n in made.node.absorbed if seen.node(n).op == "BATCH_NORM"]
        source = Tensor(got[made.node.inputs[0]])
        plain = made.node.replace(attrs={**made.node.attrs, "activation": "none"})
        with no_grad():
            params = made.quantized_params()
            y = compute_node(plain, [source], params).data.astype(np.float64)
            size = compute_node(plain, [Tensor(np.abs(source.data))], {k: Tensor(np.abs(p.data)) for k, p in params.items()}).data
        axes = tuple(range(y.ndim - 1))
        error = np.abs((y - want[norms[0] if norms else name].reshape(y.shape)).mean(axis=axes))
        # Half a step of the bias's grid; and float32 sums of K products, each off by at most (K + 2) 2**-24 of the sum of
        # magnitudes, both when the correction was found and here.
        terms = params["weight"].data.size // y.shape[-1] + 2
        step = 0.0 if made.input_scale is None else made.input_scale * np.asarray(made.weight_qparams.scale)
        found[name] = error, step / 2 * (1 + 1e-6) + 2 * terms * 2.0**-24 * size.max(axis=axes)
    return found


@pytest.mark.parametrize("bn", ["fold", "freeze"])
@pytest.mark.parametrize("name", NETWORKS)
def test_on_its_data_each_channels_mean_error_is_half_a_bias_step_at_most(name, bn):
    """|E[y_quantized] - E[y_float]| <= S_x S_w / 2 + float32's rounding; uncorrected some are over a hundred times that."""
    (x, _), _ = digits()
    model = models.load_checkpoint(name)
    fq = quantized(model, x[:128], scheme=COARSE, bn=bn)
    before = mean_errors(fq, model, x[:128])
    after = mean_errors(correct_bias(fq, model, x[:128]), model, x[:128])
    for layer, (error, bound) in after.items():
        assert np.all(error <= bound), layer
    assert max(float((error / bound).max()) for error, bound in before.values()) > 100


def test_it_wins_back_most_of_what_three_bit_weights_lost_and_converts():
    """The committed checkpoints with 3-bit weights: at least half of the lost points come back, in integers too."""
    (x, _), (xt, yt) = digits()
    for name in NETWORKS:
        model = models.load_checkpoint(name)
        fq = quantized(model, x[:512], scheme=COARSE)
        lost = evaluate(model, xt, yt) - evaluate(fq, xt, yt)
        corrected = correct_bias(fq, model, x[:512])
        for m in (corrected, convert(corrected)):
            assert evaluate(model, xt, yt) - evaluate(m, xt, yt) <= lost / 2, name


@given(st.floats(-5, 5), st.floats(0.01, 3))
def test_the_mean_of_a_clipped_gaussian_is_its_integral(mean, deviation):
    """Trapezoids of width h = 0.002 deviation over +-9: the kink costs at most h**2 / 8 of the density, 1e-6 in all."""
    z = np.arange(-4500, 4501) * 0.002
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    want = np.sum(np.maximum(0, mean + deviation * z) * density) * 0.002
    assert abs(expected_after_relu(np.array([mean]), np.array([deviation]))[0] - want) <= 1e-6 * deviation


def test_a_channel_without_spread_is_its_mean_clipped():
    assert expected_after_relu(np.array([-1.0, 2.0]), np.array([0.0, 0.0])).tolist() == [0.0, 2.0]


def gaussian_network(relu, bias):
    """A batch norm whose output is exactly N(beta, gamma**2) for a normal input, and a coarse layer that reads it."""
    norm = nn.BatchNorm2d(4, eps=1e-12)
    layers = [nn.Linear(4, 4, bias=False), norm, *([nn.ReLU()] if relu else []), nn.Linear(4, 3, bias=bias, seed=3)]
    model = nn.Sequential(*layers).eval()
    model[0].weight.data[...] = np.eye(4)
    norm.gamma.data[...], norm.beta.data[...] = [1.0, -0.5, 2.0, 0.1], [0.3, -0.2, 1.0, 2.0]
    return model


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_without_data_a_gaussian_input_is_corrected_to_its_sampling_error(relu, bias):
    """E[y] = (quantized w - w) E[x] is taken back: what is left is 5 standard errors of the sample and the grids' steps."""
    model = gaussian_network(relu, bias)
    x = np.random.default_rng(0).normal(size=(20_000, 4)).astype(np.float32)
    scheme = TFLITE_INT8.replace(weight_bits=2).annotate("0", weight_bits=8)
    last = "3" if relu else "2"
    fq = quantized(model, x, scheme=scheme)
    corrected = correct_bias(fq, model, x[:1], method="analytic")
    made = corrected.nodes[last]
    error = made.quantized_params()["weight"].data.astype(np.float64) - model[int(last)].weight.data
    norm = model[1]
    mean = norm.beta.data.astype(np.float64)
    if relu:
        mean = expected_after_relu(mean, np.abs(norm.gamma.data.astype(np.float64)))
    old = model[int(last)].bias.data if bias else 0.0
    # The bias is the formula, rounded to float32 once.
    assert np.allclose(made.bias.data, old - error @ mean, rtol=2.0**-23, atol=1e-12)
    left, bound = mean_errors(corrected, model, x)[last]
    spread = np.sqrt((error**2) @ norm.gamma.data.astype(np.float64) ** 2 / len(x))
    # The input's own rounding is worth at most half its step in each of the 4 products; the identity layer's weights are exact.
    steps = np.abs(made.quantized_params()["weight"].data).sum(axis=1) * fq.qparams["0"].scale
    assert np.all(left <= bound + 5 * spread + steps)
    assert np.all(left < mean_errors(fq, model, x)[last][0])


def test_a_flattened_image_repeats_the_means_of_its_channels_pixel_after_pixel():
    """bias = old - (quantized w - w) (E[c0], E[c1], E[c0], E[c1], ...), NHWC."""
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3, seed=3)).eval()
    model[1].gamma.data[...], model[1].beta.data[...] = [1.0, 0.5], [0.2, 3.0]
    x = np.random.default_rng(0).normal(size=(50, 2, 2, 2)).astype(np.float32)
    fq = quantized(model, x, scheme=COARSE)
    made = correct_bias(fq, model, x[:1], method="analytic").nodes["4"]
    error = made.quantized_params()["weight"].data.astype(np.float64) - model[4].weight.data
    mean = expected_after_relu(np.array([0.2, 3.0], np.float32).astype(np.float64), np.array([1.0, 0.5]))
    # The new bias is rounded to float32 once.
    assert np.allclose(made.bias.data, model[4].bias.data - error @ np.tile(mean, 4), rtol=2.0**-23, atol=1e-12)


def test_a_depthwise_layer_repeats_the_mean_of_each_channel_for_all_that_read_it():
    """Output k of a depthwise layer reads channel k // multiplier: bias[k] = old[k] - sum(w'[k] - w[k]) E[channel]."""
    model = nn.Sequential(
        nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.DepthwiseConv2d(2, 2, multiplier=3, seed=3)
    ).eval()  # fmt: skip
    model[1].gamma.data[...], model[1].beta.data[...] = [1.0, 0.5], [0.2, 3.0]
    x = np.random.default_rng(0).normal(size=(50, 3, 3, 2)).astype(np.float32)
    made = correct_bias(quantized(model, x, scheme=COARSE), model, x[:1], method="analytic").nodes["3"]
    error = made.quantized_params()["weight"].data.astype(np.float64) - made.params()["weight"].data
    mean = expected_after_relu(np.array([0.2, 3.0], np.float32).astype(np.float64), np.array([1.0, 0.5]))
    for k in range(6):
        want = model[3].bias.data[k] - error[0, :, :, k].sum() * mean[k // 3]
        # The new bias is rounded to float32 once.
        assert abs(made.bias.data[k] - want) <= 2.0**-24 * abs(want) + 1e-12
    assert mean[0] < 1 < 2 < mean[1] and np.abs(error).sum(axis=(0, 1, 2)).min() > 0.01


def test_a_clipped_gaussian_that_is_clipped_above_too_is_not_taken_for_a_relu():
    """min(x, 6) lowers the mean: without data a layer that reads a ReLU6 is left alone, and where it is the only one, refused."""
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    model = nn.Sequential(nn.Linear(4, 3, seed=1), nn.BatchNorm2d(3), nn.ReLU6(), nn.Linear(3, 2, seed=2)).eval()
    model[1].beta.data[...] = 6.0
    with pytest.raises(ValueError, match="must find a layer that reads a batch norm, got none"):
        correct_bias(quantized(model, x, scheme=COARSE), model, x[:1], method="analytic")
    longer = nn.Sequential(
        *[model[i] for i in range(4)], nn.BatchNorm2d(2), nn.ReLU(), nn.Linear(2, 2, seed=3)
    ).eval()  # fmt: skip
    fq = quantized(longer, x, scheme=COARSE)
    corrected = correct_bias(fq, longer, x[:1], method="analytic")
    moved = [name for name in ("0", "3", "6") if not np.array_equal(corrected.nodes[name].bias.data, fq.nodes[name].bias.data)]
    assert moved == ["6"]


def test_a_correction_that_widens_the_scale_is_followed_by_another():
    """One scale for the tensor, held by the first channel's bias: |b| = 2**30 S_x S_w. Its correction adds 64 * 0.25 * 255
    steps, so S_w grows by 4e-6; the second channel's weights, at 1.5 (1 + 6e-7) steps, then round to 1 and no more to 2: its
    mean falls by 64 * 255 steps, and that the second pass takes back."""
    scheme = TFLITE_INT8.replace(per_channel=False)
    model = nn.Sequential(nn.Linear(64, 2)).eval()
    x = np.full((4, 64), 255.0, np.float32)
    model[0].bias.data[...] = [2.0**20, 0.0]
    model[0].weight.data[...] = 0.0
    step = float(quantized(model, x, scheme=scheme).nodes["0"].weight_qparams.scale)
    model[0].weight.data[...] = np.repeat([[1.25 * step], [(1.5 + 2.0**-20) * step]], 64, axis=1)
    fq = quantized(model, x, scheme=scheme)
    corrected = correct_bias(fq, model, x)
    codes = [quantize(m.nodes["0"].weight.data, m.nodes["0"].weight_qparams)[:, 0].tolist() for m in (fq, corrected)]
    assert fq.qparams["input"].scale == 1.0 and codes == [[1, 2], [1, 1]]
    error, bound = mean_errors(corrected, model, x)["0"]
    assert np.all(error <= bound) and bound[1] < 64 * 255 * step / 100


def test_padding_aside_batch_norms_tell_what_data_tells_on_trained_networks():
    """3-bit weights: without data most layers' mean errors fall; the paper's claim, weaker than with data."""
    (x, _), _ = digits()
    model = models.load_checkpoint("mobilenet")
    fq = quantized(model, x[:128], scheme=COARSE)
    corrected = correct_bias(fq, model, x[:1], method="analytic")
    before, after = (mean_errors(m, model, x[:128]) for m in (fq, corrected))
    better = [np.mean(after[name][0]) < np.mean(before[name][0]) for name in before if name.endswith(("pw", "head"))]
    assert np.mean(better) >= 0.8


def test_the_model_given_is_left_as_it_was_and_a_missing_bias_is_made():
    (x, _), _ = digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False, seed=0)).eval()
    fq = quantized(model, x[:64], scheme=COARSE)
    before = {key: array.copy() for key, array in fq.state_dict().items()}
    corrected = correct_bias(fq, model, x[:64])
    assert fq.state_dict().keys() == before.keys() and all(np.array_equal(before[k], a) for k, a in fq.state_dict().items())
    assert [name for name, _ in corrected.named_parameters()] == ["network.1.weight", "network.1.bias"]
    assert convert(corrected).graph.node("1").params["bias"].any()
    # Still trainable, and its own.
    corrected.train()(Tensor(x[:4])).sum().backward()
    assert corrected.nodes["1"].bias.grad.any()


class Twice(nn.Module):
    def __init__(self):
        self.layer, self.last = nn.Linear(3, 3, seed=0), nn.Linear(3, 2, seed=0)

    def forward(self, x):
        return self.last(self.layer(self.layer(x)))


def test_shared_and_excluded_layers_are_passed_over():
    x = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    model = Twice().eval()
    fq = quantized(model, x, scheme=COARSE)
    corrected = correct_bias(fq, model, x)
    assert np.array_equal(corrected.nodes["layer"].bias.data, fq.nodes["layer"].bias.data)
    assert corrected.nodes["layer"].bias is corrected.nodes["layer#2"].bias
    assert not np.array_equal(corrected.nodes["last"].bias.data, fq.nodes["last"].bias.data)
    fq = quantized(model, x, scheme=COARSE.annotate("last", exclude=True))
    assert np.array_equal(correct_bias(fq, model, x).nodes["last"].bias.data, model.last.bias.data)


def test_wrong_calls_are_refused():
    (x, _), _ = digits()
    model = models.load_checkpoint("mlp")
    fq = quantized(model, x[:64])
    for call, error, message in (
        (lambda: correct_bias(model, fq, x[:9]), TypeError, "must be a FakeQuantModel, got Sequential. Call quantize_model"),
        (lambda: correct_bias(fq, fq.graph, x[:9]), TypeError, r"must be a tinyquant\.nn\.Module, got Graph"),
        (lambda: correct_bias(fq, model, x[:9], method="both"), ValueError, "must be one of empirical, analytic, got 'both'"),
        (lambda: correct_bias(fq, model, x[:9], method="analytic"), ValueError, "must find a layer that reads a batch norm"),
        (lambda: correct_bias(fq, models.load_checkpoint("resnet"), x[:9]), ValueError, "got one without fc1, fc2"),
        (
            lambda: correct_bias(fq, models.mlp(hidden=(5, 32), seed=0).eval(), x[:9]), ValueError,
            r"got a weight of shape \(5, 64\) at 'fc1', which has \(64, 64\) there. Pass the float model",
        ),
        (lambda: correct_bias(fq, model, x[:0]), ValueError, r"x must hold at least one row, got shape \(0, 8, 8, 1\)"),
        (lambda: correct_bias(fq, model, x[:9] * np.nan), ValueError, "x must be finite, got nan or infinity in row 0"),
        (lambda: correct_bias(quantized(model, x[:64]).train(), model, x[:9]), ValueError, "got one in training mode"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert {node.name for node in fuse(capture(model, x[:1]))} == set(fq.nodes)
