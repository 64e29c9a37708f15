"""quantize_model and the fake-quantized model: quantizers chosen once, training that moves only what it may, clear refusals."""

from __future__ import annotations

import numpy as np
import pytest

from tinyquant import autograd as F
from tinyquant import nn
from tinyquant.autograd import Tensor
from tinyquant.interop import load
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import choose_qparams
from tinyquant.optim import SGD
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.capture import capture
from tinyquant.quantization.convert import convert
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6, 6, 2)).astype(np.float32)


def network(seed=0):
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Residual(nn.Sequential(nn.DepthwiseConv2d(4, 3, padding="same"), nn.BatchNorm2d(4))), nn.ReLU6(),
        nn.MaxPool2d(2), nn.GlobalAvgPool2d(), nn.Linear(4, 3),
    )  # fmt: skip
    model.reset_parameters(seed)
    for _ in range(5):
        model.train()(Tensor(X))
    return model.eval()


def quantized(model=None, **options):
    model = model or network()
    return quantize_model(model, calibrate(model, X), **options)


class Forward(nn.Module):
    def __init__(self, function, **children):
        self.function = function
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, x):
        return self.function(self, x)


def test_activation_quantizers_cover_what_calibration_saw_after_the_absorbed_nodes():
    model = network()
    seen = calibrate(model, X)
    fq = quantize_model(model, seen)
    assert fq.qparams["input"] == choose_qparams(*seen.range("input"))
    # "0" absorbed its batch norm "1" and its ReLU "2": the range is the ReLU's, so real 0 is the lowest code.
    assert fq.qparams["0"] == choose_qparams(*seen.range("2")) and fq.qparams["0"].zero_point == -128
    assert fq.qparams["5"] == fq.qparams["3.add"] == choose_qparams(*seen.range("4"))


def test_the_quantizer_of_a_group_covers_all_its_members():
    model = Forward(lambda m, x: F.concat([m.a(x), m.b(x)], axis=-1), a=nn.Conv2d(2, 2, 1), b=nn.Conv2d(2, 2, 1)).eval()
    seen = calibrate(model, X)
    ends = [seen.range(name) for name in ("a", "b", "concat")]
    want = choose_qparams(min(e[0] for e in ends), max(e[1] for e in ends))
    assert quantize_model(model, seen).qparams["a"] == want


@pytest.mark.parametrize("bn", ["fold", "freeze"])
def test_the_model_computes_on_numbers_that_have_codes(bn):
    """Every traced value is dequantize of a code of its own quantizer."""
    fq = quantized(bn=bn)
    for name, values in fq.trace(X).items():
        qp = fq.qparams[name]
        assert np.array_equal(values, dequantize(quantize(values, qp), qp)), name


def test_fold_and_freeze_start_from_the_same_quantized_network():
    a, b = quantized(bn="fold").trace_codes(X), quantized(bn="freeze").trace_codes(X)
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_the_model_quantized_is_left_as_it_was():
    model = network()
    before = model.state_dict()
    fq = quantized(model).train()
    for parameter in fq.parameters():
        parameter.data += 1.0
    fq(Tensor(X)).sum().backward()
    after = model.state_dict()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def step(fq):
    fq.train()
    fq.zero_grad()
    optimizer = SGD(fq.parameters(), lr=0.05)
    F.cross_entropy(fq(Tensor(X)), np.arange(64) % 3).backward()
    optimizer.step()
    return fq.eval()


def test_training_frozen_batch_norms_moves_gamma_and_beta_but_not_the_statistics():
    fq = quantized(bn="freeze")
    first = fq.nodes["0"]
    before = {key: first._tensor(key).data.copy() for key in first.node.params}
    step(fq)
    moved = {key for key, old in before.items() if not np.array_equal(old, first._tensor(key).data)}
    assert moved == {"weight", "gamma", "beta"}


def test_activation_ranges_stay_frozen_and_weight_quantizers_follow_the_weights():
    fq = quantized()
    activations, weights = dict(fq.qparams), fq.nodes["7"].weight_qparams
    step(fq)
    assert fq.qparams == activations
    node = fq.nodes["7"]
    assert node.weight_qparams != weights
    peak = np.abs(node.weight.data).max(axis=1)
    assert node.weight_qparams.scale.tolist() == (peak.astype(np.float64) / 127).astype(np.float32).tolist()


def test_every_parameter_gets_a_gradient_through_the_quantizers():
    for bn in ("fold", "freeze"):
        fq = quantized(bn=bn).train()
        F.cross_entropy(fq(Tensor(X)), np.arange(64) % 3).backward()
        silent = [name for name, p in fq.named_parameters() if p.grad is None or not p.grad.any()]
        assert not silent


def test_one_weight_used_twice_is_one_parameter_with_one_set_of_codes():
    model = Forward(lambda m, x: m.conv(F.relu(m.conv(x))), conv=nn.Conv2d(2, 2, 3, padding=1)).eval()
    fq = quantize_model(model, calibrate(model, X))
    assert len(fq.parameters()) == 2
    graph = convert(fq).graph
    a, b = graph.node("conv"), graph.node("conv#2")
    assert a.param_qparams["weight"] == b.param_qparams["weight"] and np.array_equal(
        a.params["weight"], b.params["weight"]
    )
    # The inputs' scales differ, and with them the grids of the bias.
    assert a.param_qparams["bias"] != b.param_qparams["bias"]


def test_an_excluded_node_stays_in_float():
    model = network()
    scheme = TFLITE_INT8.annotate("7", exclude=True)
    fq = quantize_model(model, calibrate(model, X), scheme=scheme)
    last = fq.nodes["7"]
    assert fq.qparams["7"] is None and last.weight_qparams is None
    values = fq.trace(X)
    want = F.linear(Tensor(values["6"]), last.weight, last.bias).data
    assert np.array_equal(values["7"], want)


@pytest.mark.parametrize("bits", [2, 3, 4, 16])
def test_other_widths_are_simulated(bits):
    fq = quantized(scheme=TFLITE_INT8.replace(activation_bits=bits, weight_bits=min(bits, 8)))
    for name, codes in fq.trace_codes(X).items():
        assert fq.qparams[name].levels == 2**bits and np.unique(codes).size <= 2**bits, name


def test_saving_and_loading_gives_the_same_trainable_model(tmp_path):
    for bn in ("fold", "freeze"):
        fq = step(quantized(bn=bn, scheme=TFLITE_INT8.replace(weight_bits=4).annotate("7", weight_bits=8)))
        fq.save(tmp_path / "fq.npz")
        again = load(tmp_path / "fq.npz")
        assert isinstance(again, FakeQuantModel) and again.scheme == fq.scheme and again.qparams == fq.qparams
        a, b = step(fq).trace(X), step(again).trace(X)
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_a_shared_weight_is_still_shared_after_loading(tmp_path):
    model = Forward(lambda m, x: m.conv(F.relu(m.conv(x))), conv=nn.Conv2d(2, 2, 3, padding=1)).eval()
    quantize_model(model, calibrate(model, X)).save(tmp_path / "fq.npz")
    assert len(load(tmp_path / "fq.npz").parameters()) == 2


def test_a_wrong_order_of_calls_is_refused_and_the_first_call_named():
    model = network()
    seen = calibrate(model, X)
    fq = quantize_model(model, seen)
    for call, message in (
        (lambda: quantize_model(model, X), "must come from calibrate.*Call calibrate first"),
        (lambda: quantize_model(fq, seen), "must be the float model, got a FakeQuantModel"),
        (lambda: calibrate(fq, X), "must be the float model, got a FakeQuantModel"),
        (lambda: capture(fq, X), "must be the float model, got a FakeQuantModel"),
        (lambda: quantize_model(seen, model), r"must be a tinyquant\.nn\.Module, got Calibration"),
        (lambda: convert(model), r"must get a FakeQuantModel, got Sequential.*quantize_model\(model, calibrate"),
        (lambda: convert(convert(fq)), "must get a FakeQuantModel, got IntegerModel"),
        (lambda: quantize_model(model, seen, scheme="int8"), "must be a Scheme, got str"),
    ):
        with pytest.raises(TypeError, match=message):
            call()


def test_a_model_in_training_mode_is_refused():
    model = network()
    seen = calibrate(model, X)
    fq = quantize_model(model, seen)
    with pytest.raises(ValueError, match=r"got a model in training mode. Call model.eval\(\)"):
        quantize_model(model.train(), seen)
    with pytest.raises(ValueError, match=r"got one in training mode. Call eval\(\) first"):
        convert(fq.train())
    with pytest.raises(ValueError, match="training mode"):
        fq.run_node("0", quantize(X, fq.qparams["input"]))


def test_a_calibration_of_other_weights_or_another_network_is_refused():
    model = network()
    seen = calibrate(model, X)
    with pytest.raises(ValueError, match="one of a different network"):
        quantize_model(nn.Sequential(nn.Conv2d(2, 3, 3)).eval(), seen)
    model[0].weight.data *= 2
    with pytest.raises(ValueError, match="got a new weight at '0'. Call calibrate"):
        quantize_model(model, seen)


def test_unknown_strategies_are_refused_by_name():
    for options, message in (
        ({"bn": "folded"}, "bn must be one of 'fold', 'freeze'"),
        ({"ranges": "hot"}, "ranges must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            quantized(**options)


def test_what_int8_cannot_hold_is_refused_by_name_at_convert():
    for scheme, message in (
        (TFLITE_INT8.replace(activation_bits=4), r"must have 8 bits to convert, got input \(4 bits\), 0 \(4 bits\)"),
        (TFLITE_INT8.replace(activation_bits=16), r"got input \(16 bits\)"),
        (TFLITE_INT8.annotate("7", exclude=True), "got 7 left in float by the scheme"),
        (TFLITE_INT8.replace(rounding="half_even"), "must be 'half_away' to convert, got 'half_even' at '0'"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(quantized(scheme=scheme))


def test_an_accumulator_that_could_overflow_is_refused_and_the_node_named():
    """70 000 inputs of one sign: 70000 * 127 * 255 > 2**31."""
    model = nn.Sequential(nn.Linear(70_000, 1)).eval()
    model[0].weight.data[...] = 1.0
    x = np.ones((2, 70_000), np.float32)
    with pytest.raises(ValueError, match="'0'"):
        convert(quantize_model(model, calibrate(model, x)))


def test_wrong_shapes_are_refused_and_nchw_is_recognised():
    fq = quantized()
    with pytest.raises(ValueError, match=r"rows of shape \(6, 6, 2\), got \(1, 5, 6, 2\)"):
        fq(X[:1, :5])
    with pytest.raises(ValueError, match=r"NHWC: pass x.transpose\(0, 2, 3, 1\)"):
        fq(X.transpose(0, 3, 1, 2))
    with pytest.raises(ValueError, match=r"must be 2 inputs \(3.body.0, 0\), got one"):
        fq.run_node("3.add", np.zeros((1, 6, 6, 4), np.int8))
    with pytest.raises(ValueError, match=r"looks like NCHW. Pass x.transpose\(0, 2, 3, 1\)"):
        fq.run_node("0", np.zeros((1, 2, 6, 6), np.int8))
    with pytest.raises(TypeError, match="input 'input' must be int8, got int64"):
        fq.run_node("0", np.zeros((1, 6, 6, 2), np.int64))
    with pytest.raises(ValueError, match="name must be a node of the graph, got .nowhere.: no node is called"):
        fq.run_node("nowhere", np.zeros(1, np.int8))


def test_a_node_takes_its_codes_by_name_or_in_order_as_the_integer_model_does():
    fq = quantized()
    codes = fq.trace_codes(X)
    a, b = codes["3.body.0"], codes["0"]
    by_order = fq.run_node("3.add", [a, b])
    assert np.array_equal(by_order, fq.run_node("3.add", {"0": b, "3.body.0": a}))
    assert np.array_equal(by_order, convert(fq).run_node("3.add", {"0": b, "3.body.0": a}))


def test_a_name_that_the_network_does_not_have_is_refused_and_a_pattern_may_match_nothing():
    with pytest.raises(ValueError, match="got 'sevn'. The names are input, 0, "):
        quantized(scheme=TFLITE_INT8.annotate("sevn", weight_bits=4))
    with pytest.raises(ValueError, match="got '1'. It is part of '0': annotate that"):
        quantized(scheme=TFLITE_INT8.annotate("1", weight_bits=4))
    assert quantized(scheme=TFLITE_INT8.annotate("sevn*", weight_bits=4).annotate("input", activation_bits=4))


def test_float64_is_divided_in_float64_at_the_door_and_integers_are_refused():
    """The door of the fake-quantized model is `quantize`: the same codes for float64 as the integer model's."""
    fq = quantized()
    x = X.astype(np.float64) * (1 + 1e-9)
    assert np.array_equal(fq.trace_codes(x)["input"], quantize(x, fq.qparams["input"]))
    assert fq(x).dtype == np.float32
    with pytest.raises(TypeError, match="must be real numbers, got dtype uint8"):
        fq(np.zeros((1, 6, 6, 2), np.uint8))
