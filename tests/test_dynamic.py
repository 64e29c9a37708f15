"""Dynamic activations: each row on a grid of its own, after the scheme's settings, and in training after the training rules."""

from __future__ import annotations

import numpy as np
import pytest

from tinyquant import data, models, nn
from tinyquant.autograd import Tensor
from tinyquant.quantization.bias_correction import correct_bias
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.dynamic import fake_quantize_rows
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.reestimate import reestimate_batch_norm
from tinyquant.quantization.schemes import DYNAMIC_INT8, Scheme

FOUR_BITS = DYNAMIC_INT8.replace(weight_bits=2, activation_bits=4)


def identity(cells, norm=False):
    """A layer whose 2-bit weights are exact, so that its output is its input as it reads it."""
    layers = [nn.Linear(cells, cells), *([nn.BatchNorm2d(cells)] if norm else [])]
    model = nn.Sequential(*layers).eval()
    model[0].weight.data[...], model[0].bias.data[...] = np.eye(cells), 0.0
    return model


def quantized(model, cells, scheme=FOUR_BITS, **options):
    return quantize_model(model, calibrate(model, np.ones((2, cells), np.float32)), scheme=scheme, **options)


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        # The largest magnitude is the last code, 3 of 3 bits: steps of 1 and 10.
        ({"activation_bits": 3}, [[3.0, -1.0, 0.0], [30.0, -10.0, 0.0]]),
        # 7 of 4 bits: steps of 3/7 and 30/7; -0.6 is -1.4 steps.
        ({"activation_bits": 4}, [[3.0, -3 / 7, 3 / 7], [30.0, -30 / 7, 30 / 7]]),
        # From -0.6 to 3 in 7 steps of 3.6 / 7: the numbers are 5.8, -1.2 and 0.8 of them.
        (
            {"activation_bits": 3, "activation_symmetric": False},
            [[6 * 3.6 / 7, -3.6 / 7, 3.6 / 7], [6 * 36 / 7, -36 / 7, 36 / 7]],
        ),
        # From -0.6 to 3 in 7 steps of at least 3.6 / 7, a power of two: 1, and 8 for the other row; 4 is a tie, and goes away.
        ({"activation_bits": 3, "activation_symmetric": False, "power_of_two": True}, [[3.0, -1.0, 0.0], [32.0, -8.0, 8.0]]),
        # Rounded up: -0.6 and 0.4 steps become 0 and 1.
        ({"activation_bits": 3, "rounding": "ceil"}, [[3.0, 0.0, 1.0], [30.0, 0.0, 10.0]]),
    ],
)
def test_a_row_lies_on_the_grid_that_the_schemes_settings_make_of_it(changes, want):
    x = np.array([[3.0, -0.6, 0.4], [30.0, -6.0, 4.0]], np.float32)
    scheme = FOUR_BITS.replace(**changes)
    for y in (quantized(identity(3), 3, scheme)(x).data, fake_quantize_rows(Tensor(x), scheme).data):
        # The numbers, the scale and a product, each rounded to float32 once.
        assert np.allclose(y, want, rtol=3 * 2.0**-24, atol=0)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_symmetric_rows_leave_out_the_lowest_code(bits):
    """-max lies on code -qmax whatever the rounding, even where fl32(max / qmax) * qmax falls short of max (TFLite's kernels)."""
    qmax = 2 ** (bits - 1) - 1
    tops = (1 + np.arange(200, dtype=np.float32) / 64)[:, None]
    y = fake_quantize_rows(Tensor(-tops), Scheme("s", activation_bits=bits, activation_symmetric=True, rounding="floor"))
    scales = (tops.astype(np.float64) / qmax).astype(np.float32)
    assert np.array_equal(y.data, (-scales.astype(np.float64) * qmax).astype(np.float32))


@pytest.mark.parametrize("network", ["mlp", "resnet"])
def test_during_the_delay_no_layer_quantizes_what_it_reads(network):
    """For 2 training passes what the network left in float computes, bit for bit; then quantized numbers; in eval always."""
    (x, _), _ = data.digits(split=0)
    model = models.load_checkpoint(network)
    scheme = DYNAMIC_INT8.replace(weight_bits=4, activation_bits=4)
    fq = quantize_model(model, calibrate(model, x[:8]), scheme=scheme, delay=2)
    plain = quantize_model(model, calibrate(model, x[:8]), scheme=scheme.annotate("*", exclude=True))
    want, ptq = plain(x[:8]).data, fq(x[:8]).data
    assert not np.array_equal(want, ptq)
    fq.train()
    assert [np.array_equal(fq(Tensor(x[:8])).data, want) for _ in range(3)] == [True, True, False]
    assert np.array_equal(fq.eval()(x[:8]).data, ptq)


def test_stochastic_rounding_draws_the_rows_codes_in_training_alone():
    """A row [7, v, v, ...] has steps of 1: 0.25 becomes 0 or 1, 1 in a quarter of the draws."""
    x = np.full((50, 8), 0.25, np.float32)
    x[:, 0] = 7.0
    runs = []
    for seed in (1, 1, 2):
        fq = quantized(identity(8), 8, training_rounding="stochastic", seed=seed)
        runs.append(fq.train()(Tensor(x)).data)
        assert np.array_equal(fq.eval()(x).data[:, 1:], np.zeros((50, 7)))
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])
    assert np.unique(runs[0][:, 1:]).tolist() == [0.0, 1.0] and np.all(runs[0][:, 0] == 7)
    # 350 draws of probability 1/4: 5 standard deviations of their mean.
    assert abs(runs[0][:, 1:].mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 350)


@pytest.mark.parametrize(("surrogate", "slopes"), [("clipped", [1, 1, 1, 1]), ("triangle", [0, 2, 1, 0])])
def test_the_gradient_through_a_rows_codes_is_the_surrogates(surrogate, slopes):
    """Steps of 1; triangle: 2 (1 - 2 |v|), v from the nearest threshold: 7 and 1 are half a step off, 0.5 is on it."""
    x = Tensor(np.array([[7.0, 0.5, 0.25, 1.0]], np.float32), requires_grad=True)
    quantized(identity(4), 4, surrogate=surrogate).train()(x).sum().backward()
    assert x.grad.tolist() == [slopes]


def test_bias_correction_takes_back_what_the_layer_loses_as_it_reads():
    """[7, 0.25] is read as [7, 0]: the mean of the second channel falls by 0.25."""
    x = np.array([[7.0, 0.25]] * 4, np.float32)
    model = identity(2)
    corrected = correct_bias(quantized(model, 2), model, x)
    assert corrected.nodes["0"].bias.data.tolist() == [0.0, 0.25]
    assert np.array_equal(corrected(x).data, x)


def test_batch_norms_are_measured_on_what_the_layer_reads():
    """[7, 0.25] and [7, 1.75] are read as [7, 0] and [7, 2]: mean 1, unbiased variance 2."""
    x = np.array([[7.0, 0.25], [7.0, 1.75]], np.float32)
    fq = quantized(identity(2, norm=True), 2, bn="reestimate")
    reestimate_batch_norm(fq, x)
    assert (fq.nodes["0"].mean.tolist(), fq.nodes["0"].variance.tolist()) == ([7.0, 1.0], [0.0, 2.0])
