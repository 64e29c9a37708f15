"""Folding batch norms on the float model: the same function, layer by layer, and nothing touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant import autograd as F
from tinyquant import data, models, nn
from tinyquant.autograd import Tensor
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.capture import capture
from tinyquant.quantization.float_run import compute_node, run_graph
from tinyquant.quantization.folding import Folded, fold
from tinyquant.quantization.fuse import fuse
from tinyquant.quantization.prepare import quantize_model

NUMBERS = st.floats(-8, 8, width=32)


def wide(arrays):
    return {key: Tensor(np.asarray(array, np.float64)) for key, array in arrays.items()}


def bound(node, x, weight, bias):
    """2**-24 (sum |w| |x| + |b|): one rounding of each folded number; float64 takes care of the rest, 1e-9 of it."""
    size = compute_node(node, [Tensor(np.abs(x))], wide({"weight": np.abs(weight), "bias": np.abs(bias)})).data
    return 2.0**-24 * size * (1 + 1e-9)


@given(
    hnp.arrays(np.float32, (3, 4), elements=NUMBERS),
    hnp.arrays(np.float32, (5, 3), elements=NUMBERS),
    hnp.arrays(np.float32, (6, 4), elements=NUMBERS),
)
def test_a_folded_linear_layer_errs_by_one_rounding_of_each_weight(w, numbers, x):
    """|y' - y| <= 2**-24 (sum |w'| |x| + |b'|), against float64 from the unfolded numbers."""
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm2d(3)).eval()
    model[0].weight.data[...], model[0].bias.data[...] = w, numbers[0]
    norm = model[1]
    norm.gamma.data[...], norm.beta.data[...], norm.running_mean[...] = numbers[1:4]
    norm.running_var[...] = np.abs(numbers[4])
    layer = fold(model, x[:1])[0]
    w2, b2 = layer.weight.data.astype(np.float64), layer.bias.data.astype(np.float64)
    n = numbers.astype(np.float64)
    y = x.astype(np.float64) @ w.astype(np.float64).T + n[0]
    want = (y - n[3]) / np.sqrt(np.abs(n[4]) + np.float32(1e-5)) * n[1] + n[2]
    slack = 2.0**-24 * (np.abs(x).astype(np.float64) @ np.abs(w2).T + np.abs(b2))
    # float64's own rounding: cancellation between mean and product, 16 operations.
    noise = 16 * 2.0**-52 * (np.abs(n[1]) / np.sqrt(np.abs(n[4]) + 1e-5) * (np.abs(x) @ np.abs(w).T + 16) + np.abs(n[2]))
    # A weight below 2**-126 is rounded on a coarser grid.
    assert np.all(np.abs(x.astype(np.float64) @ w2.T + b2 - want) <= slack * (1 + 1e-9) + noise + 2.0**-140)


@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_every_folded_layer_of_a_network_keeps_its_function_to_the_bound(name):
    (x, _), _ = data.digits(split=0)
    model = models.load_checkpoint(name)
    before, after = capture(model, x[:1]), capture(fold(model, x[:1]), x[:1])
    values, folded = run_graph(before, x[:8]), 0
    for node in fuse(before):
        if "gamma" not in node.params:
            continue
        source = values[before.node(node.name).inputs[0]].astype(np.float64)
        plain = before.node(node.name)
        y = compute_node(plain, [Tensor(source)], wide(plain.params))
        p = wide(node.params)
        eps = float(node.params["eps"])
        want = F.batch_norm(y, p["gamma"], p["beta"], p["mean"].data, p["variance"].data, training=False, eps=eps)
        new = after.node(node.name)
        got = compute_node(new, [Tensor(source)], wide(new.params))
        assert np.all(np.abs(got.data - want.data) <= bound(new, source, new.params["weight"], new.params["bias"])), node.name
        folded += 1
    assert folded == {"resnet": 7, "mobilenet": 9}[name]


def test_the_model_given_is_left_as_it_was_and_names_stay():
    (x, _), _ = data.digits(split=0)
    model = models.load_checkpoint("mobilenet")
    before = model.state_dict()
    folded = fold(model, x[:1])
    for parameter in folded.parameters():
        parameter.data += 1
    after = model.state_dict()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    norms = [path for path, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert [path for path, module in folded.named_modules() if isinstance(module, Folded)] == norms


def test_quantizing_the_folded_model_is_quantizing_the_model():
    """Weight codes: the same up to one, where a weight lies within 2**-23 of a tie."""
    (x, _), _ = data.digits(split=0)
    model = models.load_checkpoint("resnet")
    a, b = (quantize_model(m, calibrate(m, x[:64])) for m in (model, fold(model, x[:1])))
    for name, node in a.nodes.items():
        if node.weight_qparams is not None:
            assert np.allclose(node.weight_qparams.scale, b.nodes[name].weight_qparams.scale, rtol=2.0**-21, atol=0)


class Twice(nn.Module):
    def __init__(self):
        self.conv, self.bn = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x):
        return self.bn(self.conv(self.bn(self.conv(x))))


def test_what_cannot_be_folded_into_one_layer_stays():
    x = np.random.default_rng(0).normal(size=(1, 3, 3, 2)).astype(np.float32)
    twice = Twice().eval()
    assert isinstance(fold(twice, x).bn, nn.BatchNorm2d)
    first = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)).eval()
    assert isinstance(fold(first, x)[0], nn.BatchNorm2d)
    with pytest.raises(TypeError, match=r"model must be a tinyquant\.nn\.Module"):
        fold(x, x)
