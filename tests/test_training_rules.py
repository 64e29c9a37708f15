"""The rules of training: what moves and what stands still, and that whatever was trained converts to the integers it mimics."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from tinyquant import autograd as F
from tinyquant import data, models, nn
from tinyquant.autograd import Tensor
from tinyquant.interop import load
from tinyquant.numerics.affine import quantize
from tinyquant.numerics.qparams import choose_qparams
from tinyquant.optim import SGD
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.fake_quant import fake_quantize
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import (
    DYNAMIC_INT8,
    JACOB_UINT8,
    SYMMETRIC_INT8,
    TFLITE_INT8,
    WEIGHT_ONLY_INT8,
)
from tinyquant.training import evaluate, fit

METHODS = {
    "plain": {},
    "unclipped": {"surrogate": "unclipped"},
    "tanh": {"surrogate": "tanh"},
    "triangle": {"surrogate": "triangle"},
    "swish_sign": {"surrogate": "swish_sign"},
    "ema": {"ranges": "ema"},
    "lsq activations": {"ranges": "learn"},
    "lsq+": {"ranges": "learn_zero_point"},
    "pact": {"ranges": "pact"},
    "lsq weights": {"weight_ranges": "learn"},
    "lsq": {"ranges": "learn", "weight_ranges": "learn"},
    "delay": {"delay": 10},
    "stochastic": {"training_rounding": "stochastic"},
    "much at once": {"ranges": "ema", "delay": 5, "surrogate": "tanh", "training_rounding": "stochastic"},
}


@lru_cache
def digits():
    return data.digits(split=0)


@lru_cache
def checkpoint():
    model = models.load_checkpoint("mlp")
    return model, calibrate(model, digits()[0][0][:256])


def quantized(bits=3, **options):
    model, seen = checkpoint()
    return quantize_model(model, seen, scheme=TFLITE_INT8.replace(weight_bits=bits), **options)


@lru_cache
def trained(name):
    (x, y), _ = digits()
    fq = quantized(**METHODS[name])
    # Stochastic rounding adds noise to every weight: it gets the bits that leave room for it.
    if METHODS[name].get("training_rounding"):
        fq = quantized(bits=6, **METHODS[name])
    history = fit(fq, x[:640], y[:640], epochs=3, seed=0)
    return fq, history


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_converts_to_the_accuracy_it_showed(name):
    """Three epochs make the loss smaller; the integer network parts from the fake-quantized one by at most 2 of 450 images."""
    _, (xt, yt) = digits()
    fq, history = trained(name)
    m = convert(fq)
    # With a delay the first epoch is partly float, and its loss the smallest.
    assert history.loss[-1] < max(history.loss[:-1])
    assert evaluate(m, xt, yt) > 0.85
    assert np.sum(fq(xt).data.argmax(axis=1) != m(xt).argmax(axis=1)) <= 2


@pytest.mark.parametrize("name", METHODS)
def test_given_the_same_codes_no_node_of_a_trained_model_differs_by_more_than_one(name):
    _, (xt, _) = digits()
    fq, _ = trained(name)
    m = convert(fq)
    trace = m.trace(quantize(xt, m.inputs[0].qparams))
    for node in m.graph:
        assert node.qparams == fq.qparams[node.name]
        fake = fq.run_node(node.name, [trace[source] for source in node.inputs]).astype(int)
        assert np.abs(fake.reshape(trace[node.name].shape) - trace[node.name]).max() <= 1, node.name


@pytest.mark.parametrize("name", METHODS)
def test_exact_mode_of_a_trained_model_differs_nowhere(name):
    _, (xt, _) = digits()
    fq, _ = trained(name)
    m = convert(fq)
    fq.exact = True
    try:
        fake, integer = fq.trace_codes(xt[:100]), m.trace(quantize(xt[:100], m.inputs[0].qparams))
    finally:
        fq.exact = False
    assert all(np.array_equal(fake[key].reshape(integer[key].shape), integer[key]) for key in integer)


@pytest.mark.parametrize("name", METHODS)
def test_untrained_every_method_is_the_same_post_training_quantization(name):
    """No rule acts before the first training step: the codes are those of the defaults, to the last one."""
    (x, _), _ = digits()
    want, got = quantized().trace_codes(x[:50]), quantized(**METHODS[name]).trace_codes(x[:50])
    assert all(np.array_equal(want[key], got[key]) for key in want)


@pytest.mark.parametrize("name", METHODS)
def test_in_eval_mode_nothing_moves(name):
    (x, _), _ = digits()
    fq, _ = trained(name)
    state, quantizers = fq.state_dict(), dict(fq.qparams)
    first, second = fq(10 * x[:50]).data, fq(10 * x[:50]).data
    fq.eval()
    assert first.tolist() == second.tolist() and quantizers == fq.qparams
    assert all(np.array_equal(state[key], array) for key, array in fq.state_dict().items())


@pytest.mark.parametrize("name", ["ema", "lsq", "lsq+", "pact", "delay"])
def test_saved_and_loaded_the_training_goes_on_to_the_same_numbers(name, tmp_path):
    (x, y), _ = digits()
    fq = quantized(**METHODS[name])
    fit(fq, x[:64], y[:64], epochs=2, optimizer="sgd", lr=0.01)
    fq.save(tmp_path / "fq.npz")
    again = load(tmp_path / "fq.npz")
    assert isinstance(again, FakeQuantModel) and again.rules == fq.rules and again.qparams == fq.qparams
    for model in (fq, again):
        fit(model, x[64:128], y[64:128], epochs=2, optimizer="sgd", lr=0.01)
    a, b = fq.state_dict(), again.state_dict()
    assert a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
    assert fq.qparams == again.qparams


# Ranges that follow


def test_an_ema_range_is_the_debiased_average_of_the_batches_it_was_trained_on():
    """The input's: its ends over batches e_1 .. e_t are sum m**(t-i) e_i / sum m**(t-i); float64 sums of 4 terms, 1e-14."""
    (x, _), _ = digits()
    fq = quantized(ranges="ema", momentum=0.5)
    start = dict(fq.qparams)
    batches = [x[k : k + 8] * (k + 1) for k in range(4)]
    fq.train()
    for batch in batches:
        fq(Tensor(batch))
    assert fq.training and start["input"] != fq.qparams["input"]
    fq.eval()
    weights = 0.5 ** np.arange(3, -1, -1)
    ends = [np.sum(weights * [f(b) for b in batches]) / weights.sum() for f in (np.min, np.max)]
    moving = fq.range_of["input"]
    assert np.abs(np.array(moving.ends) - ends).max() < 1e-14
    assert fq.qparams["input"] == choose_qparams(*moving.ends)
    assert fq.nodes["fc1"].input_scale == fq.qparams["flatten"].scale == fq.qparams["input"].scale


SETTINGS_OF_RANGES = {
    "4 bits": (TFLITE_INT8.replace(activation_bits=4), {"bits": 4}),
    "16 bits, symmetric": (TFLITE_INT8.replace(activation_bits=16, activation_symmetric=True), {"bits": 16, "symmetric": True}),
    "symmetric": (SYMMETRIC_INT8, {"symmetric": True}),
    "powers of two": (TFLITE_INT8.replace(power_of_two=True), {"power_of_two": True}),
    "unsigned": (JACOB_UINT8, {"signed": False}),
}


@pytest.mark.parametrize("name", SETTINGS_OF_RANGES)
def test_an_ema_range_becomes_the_quantizer_that_the_schemes_settings_make_of_it(name):
    scheme, settings = SETTINGS_OF_RANGES[name]
    (x, _), _ = digits()
    model, seen = checkpoint()
    fq = quantize_model(model, seen, scheme=scheme, ranges="ema", momentum=0.5)
    start = dict(fq.qparams)
    fq.train()
    for scaled in (3, 5):
        fq(Tensor(scaled * x[:32]))
    fq.eval()
    for value in ("input", "fc1", "fc2", "head"):
        assert fq.qparams[value] == choose_qparams(*fq.range_of[value].ends, **settings) != start[value]
    # One node of other bits has them here too.
    mixed = quantize_model(model, seen, scheme=scheme.annotate("fc2", activation_bits=3), ranges="ema", momentum=0.5)
    mixed.train()(Tensor(3 * x[:32]))
    mixed.eval()
    assert mixed.qparams["fc2"] == choose_qparams(*mixed.range_of["fc2"].ends, **{**settings, "bits": 3})
    assert mixed.qparams["fc1"] == choose_qparams(*mixed.range_of["fc1"].ends, **settings)


def test_one_training_pass_has_one_grid_and_the_next_has_the_new_one():
    (x, _), _ = digits()
    fq = quantized(ranges="ema").train()
    before = fq.qparams["input"]
    fq(Tensor(100 * x[:8]))
    assert fq.qparams["input"] == before
    fq(Tensor(x[:8]))
    assert fq.qparams["input"].scale > 90 * before.scale


class Joined(nn.Module):
    """Two layers that share a quantizer through a concatenation, and a sigmoid with one of its own."""

    def __init__(self):
        self.a, self.b = nn.Linear(3, 2, seed=0), nn.Linear(3, 2, seed=1)

    def forward(self, x):
        return F.sigmoid(F.concat([self.a(x), self.b(x) * 3.0], axis=-1))


@pytest.mark.parametrize("ranges", ["ema", "learn", "learn_zero_point", "pact"])
def test_values_that_share_a_quantizer_go_on_sharing_it_and_fixed_ones_stay(ranges, tmp_path):
    model = Joined().eval()
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    fq = quantize_model(model, calibrate(model, x), ranges=ranges)
    before = dict(fq.qparams)
    fit(fq, 3 * x, np.zeros((64, 4), np.float32), loss=lambda y, t: F.mse_loss(y, Tensor(t)), epochs=2, lr=0.05)
    assert fq.qparams["a"] == fq.qparams["mul"] == fq.qparams["concat"]
    # Nothing may have been clipped, and then PACT has nothing to learn from.
    assert ranges == "pact" or fq.qparams["concat"] != before["concat"]
    assert fq.qparams["sigmoid"] == before["sigmoid"] and "sigmoid" not in fq.range_of
    assert fq.range_of["a"] is fq.range_of["concat"] is not fq.range_of["input"]
    fq.save(tmp_path / "fq.npz")
    again = load(tmp_path / "fq.npz")
    assert again.range_of["a"] is again.range_of["concat"] and again.sharing == fq.sharing
    m = convert(fq)
    trace = m.trace(quantize(x, m.inputs[0].qparams))
    for node in m.graph:
        if node.op != "CONSTANT":
            fake = fq.run_node(node.name, [trace[source] for source in node.inputs]).astype(int)
            assert np.abs(fake - trace[node.name]).max() <= 1, node.name


# Ranges that are learned


def test_learned_scales_move_and_are_exactly_float32_and_convert_reads_them():
    fq, _ = trained("lsq")
    start = quantized()
    moved = [name for name in ("input", "fc1", "fc2", "head") if fq.qparams[name].scale != start.qparams[name].scale]
    assert moved == ["input", "fc1", "fc2", "head"]
    m = convert(fq)
    for name in ("fc1", "fc2", "head"):
        scale = m.graph.node(name).param_qparams["weight"].scale
        assert np.array_equal(scale, fq.weight_scales.__dict__[name].qparams.scale)
        assert np.array_equal(scale, scale.astype(np.float32)) and np.all(scale > 0)
    assert fq.qparams["fc1"].scale == np.float32(fq.qparams["fc1"].scale)


def test_the_gradient_scale_counts_the_weights_of_a_channel_and_the_features_of_one_example():
    """g = 1 / sqrt(N Qp), read off the gradients with and without it (each rounded to float32: 1e-6).

    fc1: 64 weights a channel, Qp = 3 at 3 bits; its 64 outputs, after a ReLU, Qp = 255. The batch of 32 does not count.
    """
    (x, y), _ = digits()
    grads = []
    for scaled in (True, False):
        fq = quantized(ranges="learn", weight_ranges="learn", gradient_scale=scaled).train()
        F.cross_entropy(fq(Tensor(x[:32])), y[:32]).backward()
        grads.append((fq.weight_scales.fc1.stretch.grad, fq.ranges.fc1.stretch.grad))
    for with_scale, without, count, reach in ((*column, n, q) for column, n, q in zip(zip(*grads), (64, 64), (3, 255))):
        assert np.abs(without).max() > 0
        assert np.allclose(with_scale, without / np.sqrt(count * reach), rtol=1e-6, atol=0)


@pytest.mark.parametrize("parameter", ["log", "step"])
def test_either_parameter_of_a_learned_scale_trains_and_is_saved(parameter, tmp_path):
    (x, y), (xt, yt) = digits()
    fq = quantized(ranges="learn", weight_ranges="learn", scale_parameter=parameter)
    fit(fq, x[:640], y[:640], epochs=3, optimizer="sgd", lr=0.02, seed=0)
    fq.save(tmp_path / "fq.npz")
    assert load(tmp_path / "fq.npz").qparams == fq.qparams
    assert evaluate(convert(fq), xt, yt) > 0.85


def test_only_lsq_plus_moves_a_zero_point_and_only_inside_the_range():
    """After a ReLU the range ends at 0 and keeps that end; the logits' does not."""
    (x, y), _ = digits()
    for ranges in ("learn", "learn_zero_point"):
        fq = quantized(ranges=ranges)
        before = {name: qp.zero_point for name, qp in fq.qparams.items()}
        # A target far below what was calibrated pulls the whole range down.
        low = np.full((320, 10), -60, np.float32)
        fit(fq, x[:320], low, loss=lambda out, t: F.mse_loss(out, Tensor(t)), epochs=4, lr=0.02)
        changed = [name for name, zero in before.items() if fq.qparams[name].zero_point != zero]
        assert changed == (["head"] if ranges == "learn_zero_point" else [])


@pytest.mark.parametrize("where", ["everywhere", "in one node"])
def test_where_codes_are_symmetric_no_zero_point_is_learned(where):
    """Not though the loss pulls the whole range down, and 0 lies inside it."""
    scheme = SYMMETRIC_INT8 if where == "everywhere" else TFLITE_INT8.annotate("head", activation_symmetric=True)
    (x, _), _ = digits()
    model, seen = checkpoint()
    fq = quantize_model(model, seen, scheme=scheme, ranges="learn_zero_point")
    assert fq.qparams["head"].qmin < 0 == fq.qparams["head"].zero_point
    low = np.full((320, 10), -60, np.float32)
    fit(fq, x[:320], low, loss=lambda out, t: F.mse_loss(out, Tensor(t)), epochs=2, lr=0.02)
    assert fq.qparams["head"].zero_point == 0 and fq.range_of["head"].shift is None
    assert fq.qparams["head"].scale != quantize_model(model, seen, scheme=scheme).qparams["head"].scale


def test_pact_has_no_gradient_scale():
    """Its formula has none: d L / d alpha is the sum of dy over the clipped numbers, switch or no switch."""
    (x, y), _ = digits()
    grads = []
    for scaled in (True, False):
        fq = quantized(ranges="pact", gradient_scale=scaled).train()
        F.cross_entropy(fq(Tensor(3 * x[:32])), y[:32]).backward()
        grads.append([getattr(fq.ranges, name).stretch.grad.tolist() for name in ("input", "fc1", "fc2", "head")])
    assert grads[0] == grads[1] and grads[0][1] != 0


def test_learned_weight_scales_round_as_the_training_does():
    """Drawn by chance in training, anew in each pass and each a neighbour of w / s; the scheme's own rounding afterwards."""
    fq = quantized(weight_ranges="learn", training_rounding="stochastic", seed=0).train()
    node = fq.nodes["fc1"]
    first, second = (node.quantized_params()["weight"].data for _ in range(2))
    scale = node.weight_qparams.scale[:, None]
    assert np.any(first != second)
    steps = np.clip(node.weight.data / scale, -3, 3)
    # A product and a quotient of float32.
    assert max(np.abs(codes / scale - steps).max() for codes in (first, second)) <= 1 + 3 * 2.0**-22
    assert np.any(np.abs(first / scale - steps) > 0.6), "nearest would stay within half a step"
    fq.eval()
    want = fake_quantize(node.weight.data, node.weight_qparams)
    assert np.array_equal(node.quantized_params()["weight"].data, want)


def test_the_bias_keeps_its_room_under_a_learned_weight_scale():
    """|bias| / (S_x S_w) <= 2**30 even if training would shrink the weight's scale without end."""
    model = nn.Sequential(nn.Linear(2, 1)).eval()
    model[0].bias.data[...] = 1000.0
    fq = quantize_model(model, calibrate(model, np.ones((4, 2), np.float32)), weight_ranges="learn")
    getattr(fq.weight_scales, "0").stretch.data[...] = -30.0
    fq.eval()
    qp, scale = fq.nodes["0"].weight_qparams, fq.nodes["0"].input_scale
    assert np.all(1000.0 / (scale * qp.scale) <= 2**30)
    assert convert(fq).graph.node("0").params["bias"].dtype == np.int32


def test_one_weight_used_twice_has_one_learned_scale():
    class Twice(nn.Module):
        def __init__(self):
            self.conv = nn.Conv2d(2, 2, 3, padding=1, seed=0)

        def forward(self, x):
            return self.conv(F.relu(self.conv(x)))

    model = Twice().eval()
    x = np.random.default_rng(0).normal(size=(8, 4, 4, 2)).astype(np.float32)
    fq = quantize_model(model, calibrate(model, x), weight_ranges="learn", ranges="learn")
    fq.train()
    F.mse_loss(fq(Tensor(x)), Tensor(x)).backward()
    SGD(fq.parameters(), lr=0.1).step()
    fq.eval()
    assert fq.nodes["conv"].weight_scale is fq.nodes["conv#2"].weight_scale
    graph = convert(fq).graph
    assert graph.node("conv").param_qparams["weight"] == graph.node("conv#2").param_qparams["weight"]
    assert np.array_equal(graph.node("conv").params["weight"], graph.node("conv#2").params["weight"])


def test_a_depthwise_weight_has_a_learned_scale_a_channel():
    """Its channels are the last axis: the floor under the scales must not mix them up."""
    model = nn.Sequential(nn.DepthwiseConv2d(3, 3, padding="same", seed=0)).eval()
    model[0].weight.data *= np.array([1, 10, 100], np.float32)
    x = np.random.default_rng(0).normal(size=(4, 5, 5, 3)).astype(np.float32)
    fq = quantize_model(model, calibrate(model, x), weight_ranges="learn")
    learned = getattr(fq.weight_scales, "0")
    learned.stretch.data[...] = [0.5, 0, -0.5]
    fq.eval()
    assert fq.nodes["0"].weight_qparams == learned.qparams and learned.qparams.axis == 3


# Delay, and chance


def test_during_the_delay_training_runs_in_float_and_then_no_more():
    """For 2 training passes the float model's logits, bit for bit, then quantized ones; eval mode is always quantized."""
    (x, _), _ = digits()
    model, _ = checkpoint()
    fq = quantized(delay=2, ranges="ema")
    want, ptq = model(x[:32]).data, fq(x[:32]).data
    fq.train()
    assert [np.array_equal(fq(Tensor(x[:32])).data, want) for _ in range(3)] == [True, True, False]
    assert fq.range_of["head"].batches == 3
    assert quantized(delay=2, ranges="ema")(x[:32]).data.tolist() == ptq.tolist()


def test_stochastic_rounding_repeats_with_its_seed_and_ends_with_training():
    (x, _), _ = digits()
    outputs = [quantized(training_rounding="stochastic", seed=seed).train()(Tensor(x[:8])).data for seed in (1, 1, 2)]
    assert outputs[0].tolist() == outputs[1].tolist() != outputs[2].tolist()
    fq = quantized(training_rounding="stochastic", seed=1)
    assert fq(x[:8]).data.tolist() == quantized()(x[:8]).data.tolist()


def test_a_diverging_run_puts_the_learned_scales_and_ranges_back():
    (x, y), _ = digits()
    fq = quantized(ranges="learn", weight_ranges="learn")
    before = fq.state_dict()
    with pytest.raises(ValueError):
        fit(fq, x[:64], y[:64], epochs=3, optimizer="sgd", lr=1e6)
    assert all(np.array_equal(before[key], array) for key, array in fq.state_dict().items())
    assert fq.qparams == quantized().qparams


# Refusals


def test_exact_training_that_integers_cannot_follow_is_refused_by_name():
    (x, _), _ = digits()
    fq = quantized(training_rounding="stochastic")
    fq.exact = True
    fq(x[:4])
    with pytest.raises(ValueError, match="exact training must .*, got training_rounding='stochastic'"):
        fq.train()(Tensor(x[:4]))


@pytest.mark.parametrize("name", ["plain", "ema", "lsq", "pact", "delay"])
def test_exact_training_sees_the_integers_and_moves_what_the_rules_say(name):
    (x, y), (xt, _) = digits()
    fq = quantized(**METHODS[name])
    fq.exact = True
    before = fq.state_dict()
    fit(fq, x[:320], y[:320], epochs=2, seed=0)
    # Nothing may have been clipped, and then PACT has nothing to learn from.
    parameters = {key for key, _ in fq.named_parameters() if name != "pact" or not key.startswith("ranges.")}
    assert [key for key, array in fq.state_dict().items() if key in parameters and np.array_equal(before[key], array)] == []
    m = convert(fq)
    assert np.array_equal(fq.trace_codes(xt)["head"], m.trace(quantize(xt, m.inputs[0].qparams))["head"])


def test_names_and_numbers_that_do_not_exist_are_refused():
    for options, message in (
        ({"bn": "folded"}, "bn must be one of 'fold', 'freeze', 'correct', 'reestimate', got 'folded'"),
        ({"ranges": "hot"}, "ranges must be one of 'frozen', 'ema', 'learn', 'learn_zero_point', 'pact', got 'hot'"),
        ({"weight_ranges": "hot"}, "weight_ranges must be one of 'follow', 'learn', got 'hot'"),
        ({"surrogate": "hot"}, "surrogate must be one of 'clipped', .*got 'hot'"),
        ({"scale_parameter": "root"}, "scale_parameter must be one of 'log', 'step', got 'root'"),
        ({"training_rounding": "floor"}, "training_rounding must be one of 'scheme', 'stochastic', got 'floor'"),
        ({"delay": -1}, "delay must be a whole number of 0 or more, got -1"),
        ({"delay": 1.5}, "delay must be a whole number of 0 or more, got 1.5"),
        ({"seed": True}, "seed must be a whole number of 0 or more, got True"),
        ({"bn_freeze_after": 2.0, "bn": "correct"}, "bn_freeze_after must be a whole number of 0 or more, got 2.0"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"momentum": "0.9"}, r"momentum must be in \[0, 1\), got '0.9'"),
        ({"bn_freeze_after": 5}, "bn_freeze_after must go with bn='correct' or 'reestimate', got bn='fold'"),
        ({"surrogate": "tanh", "ranges": "learn"}, "surrogate must be 'clipped' with learned ranges, got 'tanh'"),
        ({"surrogate": "tanh", "weight_ranges": "learn"}, "surrogate must be 'clipped' with learned ranges, got 'tanh'"),
    ):
        with pytest.raises(ValueError, match=message):
            quantized(**options)


def test_numpys_counts_are_counts(tmp_path):
    counts = {"delay": np.int64(2), "seed": np.uint8(3), "bn": "correct", "bn_freeze_after": np.int32(4)}
    fq = quantized(**counts, momentum=np.float32(0.5))
    assert fq.rules == quantized(delay=2, seed=3, bn="correct", bn_freeze_after=4, momentum=0.5).rules
    fq.save(tmp_path / "fq.npz")
    assert load(tmp_path / "fq.npz").rules == fq.rules


@pytest.mark.parametrize("ranges", ["ema", "learn", "learn_zero_point", "pact"])
@pytest.mark.parametrize("scheme", [DYNAMIC_INT8, WEIGHT_ONLY_INT8], ids=lambda s: s.name)
def test_ranges_cannot_move_where_activations_have_none(scheme, ranges):
    model, seen = checkpoint()
    message = f"ranges='{ranges}' must have ranges of activations to move, got none in scheme '{scheme.name}' with activations="
    with pytest.raises(ValueError, match=message + f"'{scheme.activations}'. Use ranges='frozen', or a scheme with"):
        quantize_model(model, seen, scheme=scheme, ranges=ranges)
    # One node with a range is enough.
    one = quantize_model(model, seen, scheme=scheme.annotate("fc1", activations="static"), ranges=ranges)
    assert one.range_of.keys() == {"fc1"}


@pytest.mark.parametrize("scheme", [DYNAMIC_INT8, WEIGHT_ONLY_INT8], ids=lambda s: s.name)
def test_exact_mode_is_refused_where_no_node_has_codes(scheme):
    model, seen = checkpoint()
    fq = quantize_model(model, seen, scheme=scheme)
    message = f"exact=True must have nodes with codes on both sides, got none in scheme '{scheme.name}'.* Leave exact=False"
    with pytest.raises(ValueError, match=message):
        fq.exact = True
    fq.exact = False
    assert fq.exact is False
    # Some nodes in codes: those are exact, the others stay in float.
    whole = quantized(bits=8)
    part = quantize_model(model, seen, scheme=TFLITE_INT8.annotate("head", exclude=True))
    part.exact = True
    (x, _), _ = digits()
    integer = convert(whole).trace(quantize(x[:50], whole.qparams["input"]))
    assert np.array_equal(part.trace_codes(x[:50])["fc2"], integer["fc2"])


def test_learned_scales_that_a_scheme_forbids_are_refused():
    model, seen = checkpoint()
    for change, options, message in (
        ({"power_of_two": True}, {"ranges": "learn"}, "ranges='learn' must go with scales that may take any value"),
        ({"power_of_two": True}, {"weight_ranges": "learn"}, "got group_size=0, .*power_of_two=True at 'fc1'"),
        ({"group_size": 4}, {"weight_ranges": "learn"}, "got group_size=4"),
    ):
        with pytest.raises(ValueError, match=message):
            quantize_model(model, seen, scheme=TFLITE_INT8.replace(**change), **options)
