"""The columns sorted by phase hold each cell once, and the windows in them are the windows of the image."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyquant.autograd.depthwise import PhasedImage, depthwise, depthwise_weight_gradient
from tinyquant.autograd.geometry import make_window, pad_image

small = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(small, st.tuples(st.integers(1, 4), st.integers(1, 4)), small)
def test_the_views_are_the_cells_under_every_tap(kernel, stride, dilation):
    window = make_window("depthwise_conv2d", (7, 8), kernel, stride, "same", dilation)
    x = np.random.default_rng(0).normal(size=(2, 7, 8, 3))
    padded = pad_image(x, window.pads)
    seen = []
    for taps, view in PhasedImage(x, window, 1).views():
        for number, j in enumerate(range(kernel[1])[taps]):
            seen.append(j)
            for i in range(kernel[0]):
                cells = padded[:, window.taps(0, i), window.taps(1, j)]
                np.testing.assert_array_equal(view[i, number].reshape(cells.shape), cells)
    assert sorted(seen) == list(range(kernel[1]))


def test_without_a_stride_along_the_width_and_with_padding_done_nothing_is_copied():
    window = make_window("depthwise_conv2d", (7, 8), (3, 3), (2, 1), "valid")
    x = np.ones((2, 7, 8, 3))
    assert np.shares_memory(PhasedImage(x, window, 1).array, x)


def test_a_multiplier_repeats_every_channel():
    window = make_window("depthwise_conv2d", (2, 2), (1, 1), (1, 1), 0)
    image = PhasedImage(np.arange(8.0).reshape(1, 2, 2, 2), window, 2)
    y = depthwise(image, np.array([[[1.0, 10.0, 1.0, 10.0]]]))
    assert y[0, 0, 0].tolist() == [0.0, 0.0, 1.0, 10.0] and y[0, 1, 1].tolist() == [6.0, 60.0, 7.0, 70.0]
    assert depthwise_weight_gradient(image, np.ones_like(y))[0, 0].tolist() == [12.0, 12.0, 16.0, 16.0]
