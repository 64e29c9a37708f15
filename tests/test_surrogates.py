"""Surrogate gradients: each slope is the derivative of the curve it stands for, and each curve climbs by 1 over a step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant.autograd import Tensor
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.fake_quant import fake_quantize
from tinyquant.quantization.surrogates import SURROGATES, threshold_distance

SOFT = [name for name in SURROGATES if name not in ("clipped", "unclipped")]
STEPS = hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-20, 20))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def signed_swish(v):
    """2 sigmoid(b v) (1 + b v (1 - sigmoid(b v))) - 1, BNN+ equation 2, b = 5."""
    s = sigmoid(5 * v)
    return 2 * s * (1 + 5 * v * (1 - s)) - 1


CURVES = {
    "tanh": lambda v: np.tanh(5 * v) / (2 * np.tanh(2.5)),
    "triangle": lambda v: np.sign(v) * (2 * np.abs(v) - 2 * v * v),
    "swish_sign": lambda v: signed_swish(v) / (2 * signed_swish(0.5)),
}
"""The soft stair around a threshold, from -1/2 to 1/2, written from the papers and not from the slopes."""


@pytest.mark.parametrize("name", SOFT)
def test_the_slope_is_the_derivative_of_the_curve(name):
    """Central differences of step 1e-6 err by about 1e-16 / 1e-6 + 1e-12 * third derivative (below 1000): 1e-8 holds both."""
    v = np.linspace(-0.499, 0.499, 500)
    v = v[np.abs(v) > 1e-3]
    numeric = (CURVES[name](v + 1e-6) - CURVES[name](v - 1e-6)) / 2e-6
    assert np.abs(numeric - SURROGATES[name](v)).max() < 1e-8


@pytest.mark.parametrize("name", SURROGATES)
def test_every_curve_climbs_by_one_over_a_step_as_rounding_does(name):
    """The middle-point sum with n cells errs by at most max|f''| / (24 n**2): 1000 / (24 * 1e8)."""
    n = 10_000
    v = (np.arange(n) + 0.5) / n - 0.5
    assert abs(SURROGATES[name](v).mean() - 1) < 1000 / (24 * n**2)


@given(STEPS)
def test_the_distance_from_the_threshold_is_what_is_left_over_half_a_step(steps):
    """steps - distance is a whole number and a half, and the distance lies in [-1/2, 1/2]."""
    v = threshold_distance(steps)
    assert np.all(np.abs(v) <= 0.5)
    half = steps - v - 0.5
    # Subtracting within 20 steps errs by at most 2 ulp of 20.
    assert np.abs(half - np.rint(half)).max() <= 2 * np.spacing(20.0)


@given(STEPS, st.sampled_from(sorted(SURROGATES)), st.sampled_from([0.25, 0.5, 2.0]))
def test_the_gradient_is_dy_times_the_slope_inside_and_zero_outside(steps, name, scale):
    """dx = dy * slope(x / scale) * [rounded code in range], dy itself for "unclipped"; powers of two divide exactly."""
    qp = QParams(scale, 1, -8, 7)
    x = Tensor(steps * scale, requires_grad=True)
    dy = np.arange(1.0, steps.size + 1)
    y = fake_quantize(x, qp, surrogate=name)
    y.backward(dy)
    codes = np.sign(steps) * np.floor(np.abs(steps) + 0.5) + 1
    inside = (codes >= -8) & (codes <= 7)
    want = dy if name == "unclipped" else dy * SURROGATES[name](threshold_distance(steps)) * inside
    assert x.grad.tolist() == want.tolist()
    assert y.data.tolist() == fake_quantize(Tensor(x.data), qp).data.tolist()


def test_per_channel_scales_have_their_own_thresholds():
    x = Tensor(np.array([[0.5, 0.5]]), requires_grad=True)
    fake_quantize(x, QParams([1.0, 0.5], 0, axis=1), surrogate="triangle").sum().backward()
    # 0.5 is a threshold of the first channel (slope 2) and a code of the second (slope 0).
    assert x.grad.tolist() == [[2.0, 0.0]]


def test_an_unknown_surrogate_is_refused_by_name():
    with pytest.raises(ValueError, match="surrogate must be one of 'clipped', 'unclipped', .*got 'identity'"):
        fake_quantize(Tensor([1.0]), QParams(1.0, 0), surrogate="identity")
