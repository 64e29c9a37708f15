"""Every way of cutting a convolution into parts holds the same cells, and none copies more than it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyquant.autograd import lowering
from tinyquant.autograd.geometry import make_window, pad_image
from tinyquant.autograd.lowering import bias_gradient

small = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(small, small, small, st.integers(1, 5), st.integers(1, 2))
def test_the_parts_side_by_side_are_the_cells_under_the_window_of_every_pixel(kernel, stride, dilation, channels, images):
    window = make_window("conv2d", (8, 9), kernel, stride, "same", dilation)
    x = np.random.default_rng(0).normal(size=(images, 8, 9, channels))
    padded = pad_image(x, window.pads)
    expected = np.empty((images, *window.out, *kernel, channels))
    for h, w, i, j in np.ndindex(*window.out, *kernel):
        expected[:, h, w, i, j] = padded[:, h * stride[0] + i * dilation[0], w * stride[1] + j * dilation[1]]
    expected = expected.reshape(images, window.out[0] * window.out[1], -1)
    forms = [lowering._columns, lowering._rows, lowering._taps] + ([lowering._points] if kernel == (1, 1) else [])
    for lower in forms:
        parts = [part.reshape(images, expected.shape[1], -1) for part in lower(padded, window)]
        np.testing.assert_array_equal(np.concatenate(parts, axis=2), expected)


def test_the_parts_of_rows_are_views_of_one_buffer():
    window = make_window("conv2d", (9, 9), (3, 3), (1, 1), 1)
    parts = lowering._rows(pad_image(np.ones((2, 9, 9, 8)), window.pads), window)
    assert len(parts) == 3 and np.shares_memory(parts[0], parts[2])


def test_a_plain_pointwise_convolution_copies_nothing():
    x = np.ones((2, 9, 9, 8))
    window = make_window("conv2d", (9, 9), (1, 1), (1, 1), 0)
    (images, parts), *more = lowering._blocks(x, window)
    assert np.shares_memory(parts[0], x) and not more


@pytest.mark.parametrize("size, kernel, channels, form", [
    ((28, 28), (1, 1), 3, "_points"), ((28, 28), (3, 3), 1, "_taps"), ((4, 4), (3, 3), 16, "_columns"),
    ((8, 8), (3, 3), 16, "_rows"),
])  # fmt: skip
def test_the_form_is_chosen_by_shape(size, kernel, channels, form):
    window = make_window("conv2d", size, kernel, (1, 1), "same")
    lower, step = lowering._plan(channels, window)
    assert lower is getattr(lowering, form) and step >= 1


def test_the_gradient_of_the_bias_is_the_sum_over_all_pixels():
    dy = np.arange(24.0).reshape(2, 2, 3, 2)
    assert bias_gradient(dy).tolist() == [sum(range(0, 24, 2)), sum(range(1, 24, 2))]
