"""Cross-layer equalization: the function stays, the ranges meet, and a per-tensor network comes back to life."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant import autograd as F
from tinyquant import data, models, nn
from tinyquant.autograd import Tensor
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.equalize import equalize, spread_channels
from tinyquant.quantization.folding import fold
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.training import evaluate

NETWORKS = ("mlp", "resnet", "mobilenet")
PER_TENSOR = TFLITE_INT8.replace(per_channel=False)
NUMBERS = st.one_of(st.floats(-8, 8, width=32), st.floats(-(2.0**-10), 2.0**-10, width=32))


@lru_cache
def digits():
    return data.digits(split=0)


@lru_cache
def spread(name):
    return spread_channels(models.load_checkpoint(name), digits()[0][0][:1], 1000)


def accuracy(model, scheme=PER_TENSOR):
    (x, _), (xt, yt) = digits()
    return evaluate(quantize_model(model, calibrate(model, x[:512]), scheme=scheme), xt, yt)


@given(
    hnp.arrays(np.float32, (3, 4), elements=NUMBERS),
    hnp.arrays(np.float32, (3,), elements=NUMBERS),
    hnp.arrays(np.float32, (2, 3), elements=NUMBERS),
    hnp.arrays(np.float32, (2,), elements=NUMBERS),
    hnp.arrays(np.float32, (5, 4), elements=NUMBERS),
)
def test_two_layers_keep_their_function_to_the_rounding_of_their_weights(w1, b1, w2, b2, x):
    """|y' - y| <= 2**-23 |w2| (|w1| |x| + |b1|): each weight is rounded once; all in float64 otherwise."""
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    for array, new in zip((p.data for p in model.parameters()), (w1, b1, w2, b2), strict=True):
        array[...] = new
    even = equalize(model, x[:1])

    def run(m):
        a, b, c, d = (p.data.astype(np.float64) for p in m.parameters())
        return np.maximum(x.astype(np.float64) @ a.T + b, 0) @ c.T + d

    size = (np.abs(x).astype(np.float64) @ np.abs(w1).T + np.abs(b1)) @ np.abs(w2).T
    # 1e-6: the second order of the two roundings. 2**-100: weights so small that float32 has no 24 bits for them.
    # 2**-48: float64's own rounding in the two runs, at most 16 operations on numbers of that size.
    slack = 2.0**-48 * (size + np.abs(b2)) + 2.0**-100
    assert np.all(np.abs(run(even) - run(model)) <= 2.0**-23 * size * (1 + 1e-6) + slack)
    made, read = np.abs(even[0].weight.data).max(axis=1), np.abs(even[2].weight.data).max(axis=0)
    alive = (made > 0) & (read > 0)
    # Both are sqrt(r1 r2), each rounded once.
    assert np.allclose(made[alive], read[alive], rtol=2.0**-22, atol=2.0**-140)


@pytest.mark.parametrize("name", NETWORKS)
def test_with_powers_of_two_the_network_computes_the_very_same_bytes(name):
    (x, _), (xt, _) = digits()
    model = models.load_checkpoint(name)
    want = fold(model, x[:1])(Tensor(xt)).data
    assert np.array_equal(spread(name)(Tensor(xt)).data, want)
    even = equalize(spread(name), x[:1], power_of_two=True)
    assert np.array_equal(even(Tensor(xt)).data, want)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_channel_spread_of_1000_ruins_per_tensor_weights_and_equalization_mends_it(name):
    """Nagel et al. 2019, in small: the loss is over 30 points, and within one point of the float model afterwards."""
    (x, _), (xt, yt) = digits()
    reference = evaluate(models.load_checkpoint(name), xt, yt)
    assert evaluate(spread(name), xt, yt) == reference
    assert accuracy(spread(name)) < reference - 0.3
    for power_of_two in (False, True):
        assert accuracy(equalize(spread(name), x[:1], power_of_two=power_of_two)) >= reference - 0.01


def test_equalization_makes_four_bit_per_tensor_weights_usable_on_a_depthwise_network():
    model = models.load_checkpoint("mobilenet")
    scheme = PER_TENSOR.replace(weight_bits=4)
    assert accuracy(model, scheme) < 0.5 < 0.95 < accuracy(equalize(model, digits()[0][0][:1]), scheme)


class Net(nn.Module):
    """Every way one layer's channels reach the next, and those that must not be touched."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.a = nn.Conv2d(2, 4, 3, padding=1, seed=rng)
        self.norm = nn.BatchNorm2d(4)
        self.b = nn.DepthwiseConv2d(4, 3, padding="same", multiplier=2, seed=rng)
        self.c = nn.Conv2d(8, 4, 1, seed=rng)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2, seed=rng)
        self.d = nn.Conv2d(4, 4, 1, seed=rng)
        self.e = nn.Conv2d(4, 4, 1, seed=rng)
        self.f = nn.Linear(8, 3, seed=rng)
        self.h = nn.Linear(3, 3, seed=rng)
        self.g = nn.Linear(3, 3, seed=rng)

    def forward(self, x):
        y = F.max_pool2d(F.relu(self.norm(self.a(x))), 2)
        y = F.leaky_relu(self.b(F.pad(y, ((0, 0), (1, 0), (0, 0), (0, 0)))), 0.1)
        y = F.relu(self.grouped(F.relu(self.c(y))))
        y = y + self.d(y)
        y = F.reshape(F.relu(self.e(y)), (y.shape[0], -1))
        return F.relu6(self.g(self.g(F.relu(self.h(F.relu6(self.f(y)))))))


@given(st.integers(0, 2**16), st.booleans())
@settings(max_examples=30)
def test_every_way_from_layer_to_layer_keeps_the_function(seed, spread_it):
    """Powers of two: the same bytes. Chains end at sums, second readers, ReLU6, grouped and shared layers."""
    model = Net(seed)
    x = np.random.default_rng(seed).normal(size=(6, 7, 7, 2)).astype(np.float32)
    model.train()(Tensor(x))
    model.eval()
    folded = fold(model, x[:1])
    changed = spread_channels(folded, x[:1], 64, seed=seed) if spread_it else equalize(folded, x[:1], power_of_two=True)
    assert np.array_equal(changed(Tensor(x)).data, folded(Tensor(x)).data)
    moved = {
        name for name, p in changed.named_parameters()
        if name.endswith("weight") and not np.array_equal(p.data, dict(folded.named_parameters())[name].data)
    }  # fmt: skip
    assert moved <= {"a.weight", "b.weight", "c.weight", "e.weight", "f.weight"}
    if spread_it:
        assert moved == {"a.weight", "b.weight", "c.weight", "e.weight", "f.weight"}


def test_high_biases_are_absorbed_where_channels_stay_above_them():
    """b1 -= c and b2 += w2 c: equal wherever every channel is at least c = beta - 3 |gamma|, and the range shrinks by c."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 4)).astype(np.float32)
    model = nn.Sequential(nn.Linear(4, 3, seed=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Linear(3, 2, seed=1))
    model[1].beta.data[...], model[1].gamma.data[...] = [10.0, 0.5, 4.0], [0.5, 1.0, -1.0]
    for _ in range(100):
        model.train()(Tensor(x))
    model.eval()
    plain, absorbed = equalize(model, x[:1]), equalize(model, x[:1], absorb_high_bias=True)
    hidden = [m[1](m[0](Tensor(x))).data for m in (plain, absorbed)]
    shift = (hidden[0] - hidden[1])[0]
    assert shift[1] == 0 and shift[0] > 0 and shift[2] > 0
    untouched = (hidden[1] >= 0).all(axis=1) | (hidden[0][:, 1] < 0) & (hidden[1][:, [0, 2]] >= 0).all(axis=1)
    assert untouched.mean() > 0.99
    a, b = (m(Tensor(x[untouched])).data for m in (plain, absorbed))
    # Float32: some twenty roundings of numbers as large as the largest product.
    largest = np.abs(hidden[0]).max() * np.abs(plain[3].weight.data).max() * 3
    assert np.abs(a - b).max() <= 20 * 2.0**-24 * largest
    assert hidden[1].max() < hidden[0].max() / 2


class Way(nn.Module):
    """A convolution and batch norm whose channels stay above 3, and one of the ways to the next layer.

    All numbers are dyadic and all factors 1, so that float32 computes everything exactly.
    """

    WAYS = {
        "relu": lambda y: y,
        "average": lambda y: F.avg_pool2d(y, 2, 2, "valid"),
        "average with edges": lambda y: F.avg_pool2d(y, 3, 1, "same"),
        "max": lambda y: F.max_pool2d(y, 2),
        "mean": lambda y: F.mean(y, axis=(1, 2)),
        "flat": lambda y: F.reshape(y, (y.shape[0], -1)),
        "pad": lambda y: F.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0))),
        "pad and flat": lambda y: F.reshape(F.pad(y, ((0, 0), (0, 0), (0, 2), (0, 0))), (y.shape[0], -1)),
    }

    def __init__(self, way):
        self.way = way
        self.a, self.norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, eps=2.0**-10)
        cells = {"mean": 3, "flat": 48, "pad and flat": 72}.get(way)
        self.b = nn.Conv2d(3, 2, 1) if cells is None else nn.Linear(cells, 2)
        rng = np.random.default_rng(0)
        for layer, size in ((self.a, 4.0), (self.b, 1.0)):
            layer.weight.data[...] = size * rng.choice([-1.0, 1.0], layer.weight.shape)
            layer.bias.data[...] = 0.0
        self.norm.running_var[...] = 1 - 2.0**-10
        self.norm.gamma.data[...], self.norm.beta.data[...] = 0.25, [32.0, 4.0, 8.0]

    def forward(self, x):
        return self.b(Way.WAYS[self.way](F.relu(self.norm(self.a(x)))))


@pytest.mark.parametrize("way", Way.WAYS)
def test_a_constant_is_absorbed_on_every_way_that_passes_it_and_on_no_other(way):
    """Each channel stays within 3 |gamma| of beta, so taking out c = beta - 3 |gamma| changes nothing, to the last bit, unless
    the way brings in numbers that are not the channel's: a PAD's zeros, of which c would be missing."""
    model = Way(way).eval()
    x = np.random.default_rng(1).integers(-3, 4, (16, 4, 4, 2)).astype(np.float32) / 8
    plain, absorbed = (equalize(model, x[:1], absorb_high_bias=absorb) for absorb in (False, True))
    moved = plain.a.bias.data - absorbed.a.bias.data
    assert moved.tolist() == ([0.0] * 3 if way.startswith("pad") else [31.25, 3.25, 7.25])
    want, got = plain(Tensor(x)).data, absorbed(Tensor(x)).data
    # Nine in a window is no power of two: 4 roundings of numbers up to 33 in each of three products.
    assert np.abs(got - want).max() <= (12 * 33 * 2.0**-24 if way == "average with edges" else 0)


def test_a_layer_that_reads_padding_absorbs_nothing():
    """Padding holds 0 and not c, so the border would come out wrong."""
    x = np.abs(np.random.default_rng(0).normal(size=(64, 5, 5, 1))).astype(np.float32)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1)).eval()
    model[1].beta.data[...] = 10.0
    a, b = (equalize(model, x[:1], absorb_high_bias=absorb)(Tensor(x)).data for absorb in (False, True))
    assert np.array_equal(a, b)


def test_the_model_given_is_left_as_it_was():
    x = digits()[0][0]
    model = models.load_checkpoint("mobilenet")
    before = model.state_dict()
    equalize(model, x[:1], absorb_high_bias=True)
    spread_channels(model, x[:1], 10)
    after = model.state_dict()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_impossible_settings_are_refused():
    model = models.load_checkpoint("mlp")
    with pytest.raises(ValueError, match="iterations must be a whole number of 1 or more, got 0"):
        equalize(model, digits()[0][0][:1], iterations=0)
    with pytest.raises(ValueError, match="iterations must be a whole number of 1 or more, got 1.5"):
        equalize(model, digits()[0][0][:1], iterations=1.5)
    for spread_by, message in (
        (0.5, "spread must be 1 or more and finite, got 0.5"),
        (np.inf, "spread must be 1 or more and finite, got inf"),
        (np.nan, "spread must be 1 or more and finite, got nan"),
        # Up to 2**199: weights overflow on one side and vanish on the other.
        (1e60, r"spread must leave every weight a number of float32, got 1e\+60"),
    ):
        with pytest.raises(ValueError, match=message):
            spread_channels(model, digits()[0][0][:1], spread_by)
