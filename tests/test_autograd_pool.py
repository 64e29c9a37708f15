"""Pools against their definition: which cells a window sees, and where the gradient goes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from autograd_oracles import pads_of, pool_cells
from hypothesis import assume, given
from hypothesis import strategies as st

from tinyquant import autograd as F
from tinyquant.autograd import Tensor

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
sides = st.tuples(st.integers(0, 3), st.integers(0, 3))
paddings = st.one_of(st.integers(0, 3), sides, st.tuples(sides, sides), st.sampled_from(["same", "valid"]))


@st.composite
def cases(draw):
    """Images of small integers (with many ties) and settings that fit."""
    size, kernel, stride = draw(st.tuples(st.integers(1, 9), st.integers(1, 9))), draw(pairs), draw(pairs)
    padding = draw(paddings)
    pads = pads_of(padding, size, kernel, stride, (1, 1))
    assume(all(kernel[i] <= size[i] + sum(pads[i]) and max(pads[i]) < kernel[i] for i in (0, 1)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x = rng.integers(-3, 4, (draw(st.integers(1, 3)), *size, draw(st.integers(1, 3)))).astype(float)
    return x, kernel, stride, padding


@given(cases())
def test_max_pool_is_the_largest_cell_and_one_cell_gets_all_of_the_gradient(case):
    x, kernel, stride, padding = case
    t = Tensor(x, requires_grad=True)
    y = F.max_pool2d(t, kernel, stride, padding)
    dy = np.random.default_rng(1).integers(-9, 10, y.shape).astype(float)
    y.backward(dy)
    dx = np.zeros_like(x)
    for (h, w), cells in pool_cells(x.shape[1:3], kernel, stride, padding).items():
        for n, c in np.ndindex(len(x), x.shape[3]):
            values = [x[n, row, column, c] for row, column in cells]
            assert y.data[n, h, w, c] == max(values)
            row, column = cells[values.index(max(values))]
            dx[n, row, column, c] += dy[n, h, w, c]
    np.testing.assert_array_equal(t.grad, dx)


@given(cases())
def test_avg_pool_is_the_mean_of_the_cells_inside_and_each_gets_its_share(case):
    """Against exact fractions: one division and one product round, so 2 units in the last place a term."""
    x, kernel, stride, padding = case
    t = Tensor(x, requires_grad=True)
    y = F.avg_pool2d(t, kernel, stride, padding)
    dy = np.random.default_rng(1).integers(-9, 10, y.shape).astype(float)
    y.backward(dy)
    dx = np.full(x.shape, Fraction(0), object)
    for (h, w), cells in pool_cells(x.shape[1:3], kernel, stride, padding).items():
        for n, c in np.ndindex(len(x), x.shape[3]):
            mean = Fraction(int(sum(x[n, row, column, c] for row, column in cells)), len(cells))
            assert abs(y.data[n, h, w, c] - mean) <= 4 * Fraction(2) ** -53 * abs(mean)
            for row, column in cells:
                dx[n, row, column, c] += Fraction(int(dy[n, h, w, c]), len(cells))
    # At most 16 windows meet a cell, each with a share of at most 9.
    assert (np.abs(t.grad - dx.astype(float)) <= 16 * 9 * 4 * 2.0**-53).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_images_are_pooled_as_each_of_them_alone(dtype):
    """More than one block of memory, and every way of the code: side by side, overlapping, a remainder left over."""
    x = np.random.default_rng(0).normal(size=(40, 14, 15, 16)).astype(dtype)
    for arguments in ((2,), (3, 2, 1), ((1, 3), (2, 3)), ((2, 5), 2)):
        for fn in (F.max_pool2d, F.avg_pool2d):
            t = Tensor(x, requires_grad=True)
            y = fn(t, *arguments)
            y.backward(np.cos(y.data))
            for n in (0, 17, 39):
                one = Tensor(x[n : n + 1], requires_grad=True)
                y_one = fn(one, *arguments)
                y_one.backward(np.cos(y_one.data))
                np.testing.assert_array_equal(y.data[n : n + 1], y_one.data)
                np.testing.assert_array_equal(t.grad[n : n + 1], one.grad)


def test_padding_is_never_the_largest_nor_part_of_the_mean():
    x = np.full((1, 3, 3, 1), -5.0)
    assert (F.max_pool2d(x, 3, 1, 1).data == -5.0).all()
    assert (F.avg_pool2d(x, 3, 1, 1).data == -5.0).all()


def test_an_image_that_is_a_view_and_an_empty_batch_are_pooled():
    x = np.arange(32.0).reshape(1, 2, 4, 4)
    np.testing.assert_array_equal(F.max_pool2d(Tensor(x).transpose(0, 2, 3, 1), 2).data,
                                  x.reshape(1, 2, 2, 2, 2, 2).max(axis=(3, 5)).transpose(0, 2, 3, 1))  # fmt: skip
    empty = Tensor(np.ones((0, 4, 4, 2)), requires_grad=True)
    for y in (F.max_pool2d(empty, 2), F.avg_pool2d(empty, 2)):
        assert y.shape == (0, 2, 2, 2)
        y.sum().backward()
    assert F.global_avg_pool2d(empty).shape == (0, 2)


def test_global_avg_pool_is_the_mean_over_the_image():
    x = Tensor(np.arange(24.0).reshape(2, 3, 2, 2), requires_grad=True)
    y = F.global_avg_pool2d(x)
    assert y.data.tolist() == [[5.0, 6.0], [17.0, 18.0]]
    y.backward(np.full((2, 2), 6.0))
    assert (x.grad == 1.0).all()


@pytest.mark.parametrize("fn", [F.max_pool2d, F.avg_pool2d])
def test_settings_are_pairs_and_the_stride_is_the_kernel_by_default(fn):
    class Log:
        def op(self, name, inputs, settings, output):
            self.settings = settings

    log = Log()
    with F.recording(log):
        fn(np.ones((1, 6, 6, 1)), (2, 3), padding="same")
    assert log.settings == {"kernel_size": (2, 3), "stride": (2, 3), "padding": "same"}


@pytest.mark.parametrize("fn", [F.max_pool2d, F.avg_pool2d])
@pytest.mark.parametrize("arguments, error, message", [
    ((np.ones((4, 4, 1)), 2), ValueError, r"needs images of shape \(N, H, W, C\), got shape \(4, 4, 1\)"),
    ((np.ones((1, 4, 4, 1)), 5), ValueError, "window no larger than the padded image"),
    ((np.ones((1, 4, 4, 1)), 2, 2, 2), ValueError, r"padding smaller than the kernel \(2, 2\), got 2"),
    ((np.ones((1, 4, 4, 1)), 0), ValueError, "kernel_size of .*_pool2d must be at least 1"),
    ((np.ones((1, 4, 4, 1)), 2, 0), ValueError, "stride of .*_pool2d must be at least 1"),
    ((np.ones((1, 4, 4, 1)), 2.0), TypeError, "kernel_size of .*_pool2d must be an integer"),
    ((np.ones((1, 4, 4, 1), np.int8), 2), TypeError, "_pool2d computes with float32 or float64 numbers, got int8"),
])  # fmt: skip
def test_what_does_not_fit_is_explained(fn, arguments, error, message):
    with pytest.raises(error, match=message):
        fn(*arguments)


def test_global_avg_pool_needs_images():
    with pytest.raises(ValueError, match="global_avg_pool2d needs images"):
        F.global_avg_pool2d(np.ones((2, 3)))
