"""Sums, means and maxima against numpy and by their gradients' definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant import autograd as F
from tinyquant.autograd import Tensor


@st.composite
def array_and_axis(draw):
    """Small integers, and any legal axis argument."""
    x = draw(hnp.arrays(float, hnp.array_shapes(max_dims=4, max_side=4), elements=st.integers(-9, 9)))
    axes = draw(st.none() | st.integers(-x.ndim, x.ndim - 1) | st.sets(st.integers(0, x.ndim - 1)).map(tuple))
    return x, axes


@given(array_and_axis(), st.booleans())
def test_values_are_numpys(case, keepdims):
    x, axis = case
    for ours, theirs in ((F.sum, np.sum), (F.mean, np.mean), (F.max, np.max)):
        result = ours(x, axis, keepdims).data
        np.testing.assert_array_equal(result, theirs(x, axis=axis, keepdims=keepdims))
        assert isinstance(result, np.ndarray)


@given(array_and_axis(), st.booleans(), st.integers(0, 99))
def test_the_gradient_of_a_sum_is_dy_wherever_a_cell_went(case, keepdims, seed):
    x, axis = case
    t = Tensor(x, requires_grad=True)
    y = F.sum(t, axis, keepdims)
    dy = np.random.default_rng(seed).integers(-9, 10, y.shape).astype(float)
    y.backward(dy)
    kept = np.sum(x, axis=axis, keepdims=True).shape
    np.testing.assert_array_equal(t.grad, np.broadcast_to(dy.reshape(kept), x.shape))


@given(array_and_axis(), st.booleans())
def test_the_gradient_of_a_maximum_lies_on_the_largest_cells_only_equally_and_sums_to_dy(case, keepdims):
    x, axis = case
    t = Tensor(x, requires_grad=True)
    y = F.max(t, axis, keepdims)
    # 27720 is divisible by every number of ties up to 12, and so often by more; the sum is exact to rounding.
    y.backward(np.full(y.shape, 27720.0))
    largest = x == np.max(x, axis=axis, keepdims=True)
    ties = np.broadcast_to(np.sum(largest, axis=axis, keepdims=True), x.shape)
    np.testing.assert_array_equal(t.grad, np.where(largest, 27720.0 / ties, 0.0))


def test_numpy_integers_are_axes_too_and_settings_hold_plain_ones():
    assert F.sum(np.ones((2, 3)), np.int64(1)).data.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("fn", [F.sum, F.mean, F.max])
def test_wrong_axes_are_refused(fn):
    for axis in (2, -3, (0, 0), (0, -2)):
        with pytest.raises(ValueError, match="needs different axes between -2 and 1 for shape"):
            fn(np.ones((2, 3)), axis)
    for axis in (1.0, "0", (0.5,)):
        with pytest.raises(TypeError, match="needs axis as an integer, a tuple of integers or None, got"):
            fn(np.ones((2, 3)), axis)


def test_nothing_has_neither_a_mean_nor_a_largest_but_a_sum():
    empty = np.ones((0, 3))
    assert F.sum(empty).item() == 0.0 and F.max(empty, 1).shape == (0,)
    for fn in (F.mean, F.max):
        with pytest.raises(ValueError, match="needs at least one number along axis 0"):
            fn(empty, 0)
