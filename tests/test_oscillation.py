"""The count of hopping weight codes is exact, and watching changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant import autograd as F
from tinyquant import data, models, nn
from tinyquant.numerics.affine import quantize
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.oscillation import CodeWatch
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.training import evaluate, fit


def linear(bits=8):
    model = nn.Sequential(nn.Linear(4, 2)).eval()
    return quantize_model(model, calibrate(model, np.ones((4, 4), np.float32)), scheme=TFLITE_INT8.replace(weight_bits=bits))


def recount(history):
    """Flips and oscillations of every weight, one at a time in plain Python: a flip back is one against the flip before it."""
    steps = len(history) - 1
    flips, back = np.zeros((steps, history.shape[1]), int), np.zeros((steps, history.shape[1]), int)
    for j in range(history.shape[1]):
        last = 0
        for t in range(steps):
            move = int(history[t + 1, j]) - int(history[t, j])
            if move:
                flips[t, j] = 1
                back[t, j] = last != 0 and (move > 0) != (last > 0)
                last = move
    return flips, back


WALKS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.just(2), st.just(4)), elements=st.sampled_from([-1.0, -0.625, 0.0, 0.375, 1.0])
)


@given(WALKS)
def test_the_counts_are_those_of_a_recount_weight_by_weight(walk):
    fq = linear(bits=2)
    watch = CodeWatch(fq, keep_codes=True)
    for weight in walk:
        fq.nodes["0"].weight.data[...] = weight
        watch.look()
    history = watch.history("0")
    assert history.shape == (len(walk), 8)
    flips, back = recount(history)
    assert watch.flips("0").tolist() == flips.sum(axis=1).tolist()
    assert watch.oscillations("0").tolist() == back.sum(axis=1).tolist()
    assert watch.flips_by_weight("0").ravel().tolist() == flips.sum(axis=0).tolist()
    assert watch.oscillations_by_weight("0").ravel().tolist() == back.sum(axis=0).tolist()


def watched_training(**options):
    (x, y), _ = data.digits(split=0)
    model = models.load_checkpoint("mlp")
    scheme = TFLITE_INT8.replace(weight_bits=3)
    runs = []
    for wrap in (False, True):
        fq = quantize_model(model, calibrate(model, x[:128]), scheme=scheme, **options)
        watch = CodeWatch(fq, keep_codes=True)
        fit(watch if wrap else fq, x[:320], y[:320], epochs=2, seed=0)
        runs.append((fq, watch))
    return runs


@pytest.mark.parametrize(
    "options", [{}, {"delay": 4}, {"ranges": "ema"}, {"weight_ranges": "learn"}, {"training_rounding": "stochastic"}]
)
def test_watching_changes_nothing_and_sees_one_look_a_step(options):
    (alone, _), (fq, watch) = watched_training(**options)
    assert all(np.array_equal(a, b) for a, b in zip(alone.state_dict().values(), fq.state_dict().values(), strict=True))
    assert alone.qparams == fq.qparams and not fq.training
    assert all(made.weight_qparams == fq.nodes[name].weight_qparams for name, made in alone.nodes.items())
    assert watch.nodes == ["fc1", "fc2", "head"]
    for node in watch.nodes:
        assert len(watch.history(node)) == 20 and watch.flips(node).shape == (19,)
        flips, back = recount(watch.history(node))
        assert watch.flips(node).tolist() == flips.sum(axis=1).tolist()
        assert watch.oscillations(node).tolist() == back.sum(axis=1).tolist()
    assert watch.flips("fc1").sum() > 0


def test_the_codes_seen_are_those_that_convert_writes():
    _, (fq, watch) = watched_training()
    watch.look()
    m = convert(fq)
    assert all(np.array_equal(watch.history(n)[-1], m.graph.node(n).params["weight"].ravel()) for n in watch.nodes)


def test_a_watched_model_is_scored_as_itself_without_a_look():
    (_, _), (xt, yt) = data.digits(split=0)
    _, (fq, watch) = watched_training()
    looks = len(watch.history("head"))
    assert evaluate(watch, xt, yt) == evaluate(fq, xt, yt) and len(watch.history("head")) == looks


def test_a_shared_weight_is_watched_once():
    class Twice(nn.Module):
        def __init__(self):
            self.conv = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x):
            return self.conv(F.relu(self.conv(x)))

    model = Twice().eval()
    fq = quantize_model(model, calibrate(model, np.ones((2, 4, 4, 2), np.float32)))
    assert CodeWatch(fq).nodes == ["conv"]
    watch = CodeWatch(fq, ["conv#2"])
    watch.look()
    made = fq.nodes["conv"]
    assert np.array_equal(watch._counts["conv#2"].codes, quantize(made.weight.data, made.weight_qparams))


def test_what_cannot_be_watched_is_refused():
    fq = linear()
    with pytest.raises(TypeError, match="must be a FakeQuantModel, got Linear"):
        CodeWatch(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="must have a quantized weight .*, 0; got 'nowhere'"):
        CodeWatch(fq, ["nowhere"])
    watch = CodeWatch(fq)
    with pytest.raises(KeyError, match="the nodes watched are 0, got 'nowhere'"):
        watch.flips("nowhere")
    with pytest.raises(ValueError, match=r"Train it with fit, or call look\(\)"):
        watch.flips_by_weight("0")
    with pytest.raises(ValueError, match="got keep_codes=False"):
        watch.history("0")
