"""Every scheme simulates on the three networks; what the integer kernels run converts and agrees, the rest is refused by name."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant import data, models, nn
from tinyquant.autograd import Tensor
from tinyquant.interop import load
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import choose_qparams
from tinyquant.numerics.rounding import round_to_int
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import (
    DYNAMIC_INT8,
    JACOB_UINT8,
    ONNX_QDQ,
    SYMMETRIC_INT8,
    TFLITE_INT8,
    WEIGHT_ONLY_INT8,
)
from tinyquant.quantization.weights import choose_weight_qparams, fake_quantize_weight, weight_groups
from tinyquant.training import evaluate

SCHEMES = {
    "tflite": TFLITE_INT8,
    "jacob": JACOB_UINT8,
    "symmetric": SYMMETRIC_INT8,
    "onnx": ONNX_QDQ,
    "weights only": WEIGHT_ONLY_INT8,
    "dynamic": DYNAMIC_INT8,
    "powers of two": TFLITE_INT8.replace(power_of_two=True),
    "groups": TFLITE_INT8.replace(weight_bits=4, group_size=8),
    "16-bit activations": TFLITE_INT8.replace(activation_bits=16, activation_symmetric=True),
    "half up": TFLITE_INT8.replace(rounding="half_up"),
    "short bias": TFLITE_INT8.replace(bias_bits=8),
    "mixed": TFLITE_INT8.replace(weight_bits=4).annotate("fc1*", weight_bits=8).annotate("head", weight_bits=6),
}
CONVERTS = {"tflite", "symmetric", "powers of two", "mixed"}
WEIGHTS = hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 7)), elements=st.floats(-4, 4, width=32))


@lru_cache
def digits():
    return data.digits(split=0)


@lru_cache
def quantized(name, network="mlp"):
    model = models.load_checkpoint(network)
    return quantize_model(model, calibrate(model, digits()[0][0][:256]), scheme=SCHEMES[name])


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_keeps_the_accuracy_within_two_points(name):
    (_, _), (xt, yt) = digits()
    assert evaluate(quantized(name), xt, yt) > evaluate(models.load_checkpoint("mlp"), xt, yt) - 0.02


@pytest.mark.parametrize("network", ["mlp", "resnet", "mobilenet"])
@pytest.mark.parametrize("name", sorted(CONVERTS))
def test_what_has_kernels_converts_and_no_node_parts_by_more_than_one_code(name, network):
    (_, _), (xt, _) = digits()
    fq = quantized(name, network)
    m = convert(fq)
    trace = m.trace(quantize(xt[:32], m.inputs[0].qparams))
    for node in m.graph:
        fake = fq.run_node(node.name, [trace[source] for source in node.inputs]).astype(int)
        assert np.abs(fake.reshape(trace[node.name].shape) - trace[node.name]).max() <= 1, node.name


def test_what_has_no_kernels_is_refused_with_scheme_node_and_reason():
    messages = {
        "jacob": r"scheme 'jacob_uint8': activations must have signed codes to convert, got input \(codes 0 to 255\), flatten",
        "onnx": r"scheme 'onnx_qdq': rounding must be 'half_away' to convert, got 'half_even' at 'flatten'",
        "weights only": "scheme 'weight_only_int8': every node must be quantized to convert, got input left in float",
        "dynamic": "scheme 'dynamic_int8': every node .* activations='static'",
        "groups": r"weights must have one scale a tensor or an output channel to convert, got groups of 8 at 'fc1'",
        "16-bit activations": r"activations must have 8 bits to convert, got input \(16 bits\)",
        "half up": "must be 'half_away' to convert, got 'half_up'",
        "short bias": r"biases must have 32 bits to convert, got fc1 \(8 bits\), fc2",
    }
    assert messages.keys() == SCHEMES.keys() - CONVERTS
    for name, message in messages.items():
        with pytest.raises(ValueError, match=message):
            convert(quantized(name))
    model = models.load_checkpoint("mlp")
    scheme = TFLITE_INT8.annotate("fc2", weight_symmetric=False)
    with pytest.raises(ValueError, match=r"weights must have zero point 0 to convert, got fc2 \(asymmetric\)"):
        convert(quantize_model(model, calibrate(model, digits()[0][0][:64]), scheme=scheme))


def test_the_codes_are_those_the_schemes_promise():
    jacob, symmetric, wide = quantized("jacob"), quantized("symmetric"), quantized("16-bit activations")
    assert {(qp.qmin, qp.qmax) for qp in jacob.qparams.values()} == {(0, 255)}
    weight = jacob.nodes["fc1"].weight_qparams
    assert (weight.qmin, weight.qmax, weight.axis) == (1, 255, None) and 1 < weight.zero_point < 255
    assert {int(qp.zero_point) for qp in symmetric.qparams.values()} == {0}
    assert {(qp.qmin, qp.qmax, int(qp.zero_point)) for qp in wide.qparams.values()} == {(-32768, 32767, 0)}
    scales = [qp.scale for qp in quantized("powers of two").qparams.values()]
    assert all(np.frexp(scale)[0] == 0.5 for scale in scales)
    assert {n.settings.weight_bits for n in quantized("mixed").nodes.values() if n.weight_qparams} == {4, 6, 8}


def test_fixed_quantizers_keep_their_range_in_unsigned_codes():
    """Softmax: [0, 255/256] is codes 0 to 255 of scale 1/256; tanh: [-1, 127/128] is centred on 128."""
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Softmax()).eval()
    fq = quantize_model(model, calibrate(model, x), scheme=JACOB_UINT8)
    assert [(qp.scale, qp.zero_point) for qp in (fq.qparams["1"], fq.qparams["2"])] == [(1 / 128, 128), (1 / 256, 0)]


def test_weights_only_leaves_activations_and_biases_as_they_are():
    (_, _), (xt, _) = digits()
    fq = quantized("weights only")
    node = fq.nodes["fc1"]
    w = dequantize(quantize(node.weight.data, node.weight_qparams), node.weight_qparams)
    want = np.maximum(xt[:9].reshape(9, -1) @ w.T + node.bias.data, 0)
    # One matrix product in another order: 64 products of float32, at most 64 ulp of the largest sum of magnitudes.
    bound = 64 * 2.0**-24 * (np.abs(xt[:9].reshape(9, -1)) @ np.abs(w).T + np.abs(node.bias.data)).max()
    assert np.abs(fq.trace(xt[:9])["fc1"] - want).max() <= bound


def test_a_dynamic_range_is_the_rows_own():
    """A row's answer does not depend on the batch it comes in, though another row be a thousand times as large."""
    (_, _), (xt, _) = digits()
    fq = quantized("dynamic")
    x = xt[:4].copy()
    alone = fq(x[:1]).data
    x[1] *= 1000
    assert np.allclose(fq(x).data[:1], alone, rtol=1e-5, atol=1e-5 * np.abs(alone).max())
    # Scaling a row by a power of two scales its quantizer with it: the first layer's product follows exactly.
    first = fq.nodes["fc1"]
    bias, first.bias.data = first.bias.data, np.zeros_like(first.bias.data)
    try:
        a, b = (first(Tensor(xt[:1].reshape(1, -1) * factor)).data for factor in (1, 1024))
    finally:
        first.bias.data = bias
    assert np.array_equal(a * 1024, b)


@given(WEIGHTS, st.integers(1, 8), st.integers(2, 4), st.booleans())
@example(np.float32([[1.0] + [0.3] * 6, [0.5] * 7]), 7, 2, True)
@settings(max_examples=15)
def test_a_groups_range_by_squared_error_is_the_one_it_would_have_alone(w, size, bits, symmetric):
    """Each run of cells alone as a tensor, both with the smallest squared error of 64 ranges."""
    how = {"bits": bits, "axis": 0, "symmetric": symmetric, "calibration": "mse"}
    qp = choose_weight_qparams(w, [], group_size=size, **how)
    got = fake_quantize_weight(Tensor(w), qp, axis=0, group_size=size).data
    for row in range(w.shape[0]):
        for start in range(0, w.shape[1], size):
            run = w[row : row + 1, start : start + size]
            alone = choose_weight_qparams(run, [], per_channel=False, **how)
            assert np.array_equal(got[row : row + 1, start : start + size], dequantize(quantize(run, alone), alone))


def test_the_squared_error_of_a_group_reckoned_by_hand():
    """2 bits, scale s: s >= 0.6 rounds 0.3 to 0 (at best 0 + 6 * 0.09), below all are s: (1 - s)**2 + 6 (0.3 - s)**2 is smallest
    at s = 0.4 (0.42); of the 64ths next to it, 26 / 64 is nearer than 25 / 64."""
    w = np.float32([[1.0] + [0.3] * 6])
    qp = choose_weight_qparams(w, [], bits=2, axis=0, group_size=7, calibration="mse")
    assert qp.scale.tolist() == [26 / 64]


@pytest.mark.parametrize("options", [{}, {"weight_ranges": "learn"}, {"groups": 2}], ids=str)
@pytest.mark.parametrize("rounding", ["half_away", "half_even", "half_up", "half_down", "floor", "ceil", "toward_zero"])
def test_weights_and_biases_are_rounded_as_the_scheme_says_in_training_and_after(rounding, options):
    """Whole numbers and halves on a scale of 1: a tie for every mode to tell."""
    options = dict(options)
    scheme = TFLITE_INT8.replace(rounding=rounding, group_size=options.pop("groups", 0))
    model = nn.Sequential(nn.Linear(4, 2)).eval()
    model[0].weight.data[...] = [[127.0, -2.5, 1.5, 0.25], [-127.0, 127.0, 0.5, -0.75]]
    model[0].bias.data[...] = [2.5, -1.5]
    if scheme.group_size:
        model[0].weight.data[...] = [[127.0, -2.5, 127.0, 0.5], [-127.0, -0.75, -127.0, 1.5]]
    # An input scale of 1.
    fq = quantize_model(model, calibrate(model, np.array([[0, 255, 1, 2]], np.float32)), scheme=scheme, **options)
    for training in (False, True, False):
        made = fq.train(training).nodes["0"].quantized_params()
        assert made["weight"].data.tolist() == round_to_int(model[0].weight.data, rounding).tolist()
        if not scheme.group_size:
            assert made["bias"].data.tolist() == round_to_int(model[0].bias.data, rounding).tolist()


@given(WEIGHTS, st.integers(1, 8), st.integers(2, 8), st.booleans())
def test_a_group_has_the_scale_it_would_have_alone(w, size, bits, symmetric):
    """Each run of `size` cells along the last axis, alone as a tensor, gets the same numbers (an empty one: the widest)."""
    qp = choose_weight_qparams(w, [], bits=bits, axis=0, group_size=size, symmetric=symmetric)
    got = fake_quantize_weight(Tensor(w), qp, axis=0, group_size=size).data
    assert got.shape == w.shape and qp.scale.size == len(weight_groups(w, size))
    for row in range(w.shape[0]):
        for start in range(0, w.shape[1], size):
            run = w[row : row + 1, start : start + size]
            low, high = (min(run.min(), 0.0), max(run.max(), 0.0))
            alone = choose_qparams(low, high, bits=bits, symmetric=symmetric, narrow_range=True)
            want = dequantize(quantize(run, alone), alone)
            assert np.array_equal(got[row : row + 1, start : start + size], want)


@given(WEIGHTS, st.integers(2, 8), st.booleans(), st.booleans())
@settings(max_examples=50)
def test_weight_ranges_by_squared_error_are_never_worse_channel_by_channel(w, bits, symmetric, per_channel):
    errors = []
    for rule in ("minmax", "mse"):
        qp = choose_weight_qparams(
            w, [], bits=bits, axis=0, symmetric=symmetric, per_channel=per_channel, calibration=rule
        )
        squared = (w.astype(np.float64) - dequantize(quantize(w, qp), qp)) ** 2
        errors.append(squared.sum(axis=1) if per_channel else squared.sum())
    assert np.all(errors[1] <= errors[0])


def test_groups_train_and_are_saved(tmp_path):
    (x, y), _ = digits()
    fq = quantize_model(models.load_checkpoint("mlp"), calibrate(models.load_checkpoint("mlp"), x[:64]), scheme=SCHEMES["groups"])
    fq.train()(x[:8]).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in fq.parameters())
    fq.eval().save(tmp_path / "fq.npz")
    again = load(tmp_path / "fq.npz")
    assert again.scheme == fq.scheme and np.array_equal(again(x[:8]).data, fq(x[:8]).data)


def test_a_scheme_with_a_fixed_range_for_one_node_is_saved_as_it_was(tmp_path):
    (x, _), _ = digits()
    model = models.load_checkpoint("mlp")
    scheme = TFLITE_INT8.annotate("input", calibration="fixed", fixed_range=(0, 1))
    quantize_model(model, calibrate(model, x[:64]), scheme=scheme).save(tmp_path / "fq.npz")
    assert load(tmp_path / "fq.npz").scheme == scheme


def test_a_short_bias_lies_on_its_own_few_codes():
    """bias' = s * round(bias / s), s = max |bias| / 127, one s for the layer."""
    made = quantized("short bias").nodes["fc1"]
    bias = made.bias.data
    step = np.float64(np.float32(np.abs(bias).max().astype(np.float64) / 127))
    got = made.quantized_params()["bias"].data / step
    # Codes times a float32 scale, rounded to float32 once.
    assert np.allclose(got, np.sign(bias) * np.floor(np.abs(bias / np.float32(step)) + 0.5), rtol=2.0**-23, atol=0)
    assert np.unique(np.abs(got).round()).max() == 127


def test_what_has_no_kernels_is_refused_by_exact_mode_too():
    model = models.load_checkpoint("mlp")
    for name, message in (("groups", "'fc1' .*group_size=8"), ("short bias", "'fc1' .*bias_bits=8. Set exact")):
        fq = quantize_model(model, calibrate(model, digits()[0][0][:8]), scheme=SCHEMES[name])
        fq.exact = True
        with pytest.raises(ValueError, match=message):
            fq(digits()[1][0][:2])


@given(
    WEIGHTS,
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3),
    st.floats(2.0**-20, 10.0, width=32),
    st.booleans(),
)
def test_asymmetric_weights_span_their_channel_and_leave_room_for_the_bias(w, biases, input_scale, signed):
    """scale[c] = fl32((max(w, 0) - min(w, 0)) / (qmax - qmin)) unless |bias| / (S_x S_w) would pass 2**30."""
    b = np.array(biases, np.float32)[: len(w)]
    low, high = w.min(axis=1, initial=0).astype(np.float64), w.max(axis=1, initial=0).astype(np.float64)
    alone = choose_weight_qparams(w, [], bits=8, axis=0, symmetric=False, signed=signed)
    assert (alone.qmin, alone.qmax) == ((-127, 127) if signed else (1, 255))
    used = low < high
    want = np.maximum((high - low) / 254, 2.0**-126).astype(np.float32).astype(np.float64)
    assert np.array_equal(alone.scale[used], want[used])
    roomy = choose_weight_qparams(w, [(b, input_scale)], bits=8, axis=0, symmetric=False, signed=signed)
    assert np.all(np.abs(b.astype(np.float64)) / (roomy.scale * input_scale) <= 2.0**30)


def test_symmetric_unsigned_is_refused():
    with pytest.raises(ValueError, match="symmetric must go with signed codes, got signed=False. Set weight_symmetric=False"):
        TFLITE_INT8.replace(signed=False)
