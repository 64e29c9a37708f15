"""straight_through shows one thing forward and passes the gradient to another, unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant.autograd import Tensor, no_grad, straight_through

arrays = hnp.arrays(np.float32, (3,), elements=st.floats(-(2.0**100), 2.0**100, width=32))


@given(arrays, arrays, arrays)
def test_forward_is_the_value_exactly_and_backward_the_cotangent_exactly(x, value, dy):
    surrogate = Tensor(x, requires_grad=True)
    y = straight_through(surrogate, value)
    y.backward(dy)
    np.testing.assert_array_equal(y.data, value)
    np.testing.assert_array_equal(surrogate.grad, dy)


def test_the_value_takes_the_dtype_of_the_surrogate():
    assert straight_through(Tensor([1.0]), np.array([2])).dtype == np.float32
    assert straight_through(Tensor(np.ones(1)), np.array([2])).dtype == np.float64


def test_under_no_grad_only_the_value_remains():
    with no_grad():
        y = straight_through(Tensor([1.0], requires_grad=True), np.array([2.0]))
    assert y.data.tolist() == [2.0] and not y.requires_grad


def test_a_value_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"value of the surrogate's shape \(2,\), got \(1,\)"):
        straight_through(Tensor([1.0, 2.0]), np.array([1.0]))
