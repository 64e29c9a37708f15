"""The columns sorted by phase hold each cell once, and the windows in them are the windows of the image."""

from __future__ import annotations

import importlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyquant.autograd.depthwise import depthwise, depthwise_weight_gradient, windows_by_phase
from tinyquant.autograd.geometry import make_window, pad_image

room = importlib.import_module("tinyquant.autograd.depthwise")
small = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(small, st.tuples(st.integers(1, 4), st.integers(1, 4)), small)
def test_the_views_are_the_cells_under_every_tap(kernel, stride, dilation):
    window = make_window("depthwise_conv2d", (7, 8), kernel, stride, "same", dilation)
    x = np.random.default_rng(0).normal(size=(2, 7, 8, 3))
    padded = pad_image(x, window.pads)
    seen = []
    for taps, view in windows_by_phase(x, window, 3):
        for number, j in enumerate(range(kernel[1])[taps]):
            seen.append(j)
            for i in range(kernel[0]):
                cells = padded[:, window.taps(0, i), window.taps(1, j)]
                np.testing.assert_array_equal(view[i, number].reshape(cells.shape), cells)
    assert sorted(seen) == list(range(kernel[1]))


def test_without_a_stride_along_the_width_and_without_padding_nothing_is_copied():
    window = make_window("depthwise_conv2d", (7, 8), (3, 3), (2, 1), "valid")
    x = np.ones((2, 7, 8, 3))
    assert np.shares_memory(windows_by_phase(x, window, 3)[0][1], x)


def test_a_multiplier_repeats_every_channel():
    window = make_window("depthwise_conv2d", (2, 2), (1, 1), (1, 1), 0)
    x = np.arange(8.0).reshape(1, 2, 2, 2)
    y = depthwise(x, np.array([[[1.0, 10.0, 1.0, 10.0]]]), None, window)
    assert y[0, 0, 0].tolist() == [0.0, 0.0, 1.0, 10.0] and y[0, 1, 1].tolist() == [6.0, 60.0, 7.0, 70.0]
    assert depthwise_weight_gradient(x, np.ones_like(y), window)[0, 0].tolist() == [12.0, 12.0, 16.0, 16.0]


def test_many_images_are_done_a_few_at_a_time_with_the_same_result(monkeypatch):
    """Small integers: exact whatever the order of the sums."""
    rng = np.random.default_rng(0)
    x, weight, bias = rng.integers(-9, 10, (7, 5, 6, 2)), rng.integers(-9, 10, (3, 3, 4)), rng.integers(-9, 10, 4)
    window = make_window("depthwise_conv2d", (5, 6), (3, 3), (1, 2), "same")
    results = []
    for block in (1, 1 << 18):
        monkeypatch.setattr(room, "_BLOCK", block)
        y = depthwise(x.astype(float), weight.astype(float), bias.astype(float), window)
        results.append((y, depthwise_weight_gradient(x.astype(float), y, window)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
