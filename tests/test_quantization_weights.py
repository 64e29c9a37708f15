"""The quantizers of weights and biases."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tinyquant.numerics.affine import quantize
from tinyquant.quantization.weights import bias_qparams, choose_weight_qparams

SMALL = st.floats(-4, 4, width=32)


@given(st.lists(st.lists(SMALL, min_size=2, max_size=2), min_size=1, max_size=4), st.integers(2, 8))
def test_without_a_bias_each_channels_scale_is_its_peak_over_qmax(rows, bits):
    """scale[c] = fl32(max |w[c]| / qmax); an all-zero channel takes the largest peak, an all-zero layer 1.0."""
    w = np.array(rows, np.float32)
    peak = np.abs(w).max(axis=1).astype(np.float64)
    peak[peak == 0] = peak.max()
    want = peak / (2 ** (bits - 1) - 1) if peak.any() else np.ones(len(rows))
    want = np.maximum(want, 2.0**-126).astype(np.float32)
    qp = choose_weight_qparams(w, [], bits=bits, axis=0)
    assert qp.scale.tolist() == want.astype(np.float64).tolist()
    assert (qp.qmin, qp.qmax, qp.zero_point.tolist()) == (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1, [0] * len(rows))


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3),
    st.floats(2.0**-20, 10.0, width=32),
)
@example([1e-6, 0.0, 1.0], [1.0, 1.0, 0.0], 4e-5)
def test_a_bias_always_fits_its_grid(weights, biases, input_scale):
    """|bias| / (S_x S_w) <= 2**30 (microsoft/onnxruntime#22020: 4e-11 overflowed int32 and the channel died)."""
    w, b = np.array(weights, np.float32)[:, None], np.array(biases, np.float32)
    qp = choose_weight_qparams(w, [(b, input_scale)], bits=8, axis=0)
    assert np.all(np.abs(b.astype(np.float64)) / (qp.scale * input_scale) <= 2.0**30)
    # One more bit of slack: the grid's own float32 rounding.
    codes = quantize(b.astype(np.float64), bias_qparams(qp, input_scale, 3)).astype(np.int64)
    assert np.all(np.abs(codes) <= 2**30 + 2**7)


def test_per_tensor_is_one_scale_the_largest():
    w = np.array([[1.0, -2.0], [0.5, 0.25]], np.float32)
    assert choose_weight_qparams(w, [], bits=8, axis=0, per_channel=False).scale == np.float64(np.float32(2 / 127))


def test_a_shared_weight_makes_room_for_the_largest_need_of_all_its_uses():
    w, b = np.full((1, 1), 1e-6, np.float32), np.array([1.0], np.float32)
    alone = choose_weight_qparams(w, [(b, 1e-3)], bits=8, axis=0).scale
    shared = choose_weight_qparams(w, [(b, 1.0), (b, 1e-3)], bits=8, axis=0).scale
    assert shared == alone > choose_weight_qparams(w, [(b, 1.0)], bits=8, axis=0).scale


def test_the_bias_grid_is_the_product_of_both_scales_rounded_to_float32_once():
    qp = choose_weight_qparams(np.array([[0.3], [0.7]], np.float32), [], bits=8, axis=0)
    grid = bias_qparams(qp, 0.1, 2)
    assert grid.scale.tolist() == [float(np.float32(s * 0.1)) for s in qp.scale]
    assert (grid.qmin, grid.qmax) == (-(2**31), 2**31 - 1)
