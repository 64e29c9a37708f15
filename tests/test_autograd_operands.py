"""Lifting of arguments, and the undoing of broadcasting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant.autograd import Tensor
from tinyquant.autograd.operands import as_tensor, operand, unbroadcast


@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3), st.integers(0, 99))
def test_unbroadcast_is_the_transpose_of_broadcast(shapes, seed):
    """<broadcast(x), g> = <x, unbroadcast(g)>, exactly on small integers."""
    rng = np.random.default_rng(seed)
    for shape in shapes.input_shapes:
        x = rng.integers(-9, 10, shape).astype(float)
        g = rng.integers(-9, 10, shapes.result_shape).astype(float)
        back = unbroadcast(g, shape)
        assert back.shape == shape
        assert (np.broadcast_to(x, shapes.result_shape) * g).sum() == (x * back).sum()


@pytest.mark.parametrize("dtype", [np.int8, np.int64, bool, complex, object])
def test_layers_refuse_arrays_that_are_not_floats(dtype):
    with pytest.raises(TypeError, match=f"conv2d computes with float32 or float64 numbers, got {np.dtype(dtype)}"):
        as_tensor(np.ones(3, dtype), "conv2d")


def test_a_tensor_is_passed_on_as_it_is_and_a_float_array_is_wrapped():
    tensor, array = Tensor([1.0]), np.ones(2)
    assert as_tensor(tensor, "relu") is tensor and operand(tensor, 1.0) is tensor
    assert as_tensor(array, "relu").data is array


def test_a_float_array_keeps_its_dtype_beside_a_tensor_and_an_integer_one_takes_the_tensors():
    like = Tensor(np.float32([1.0]))
    assert operand(np.ones(2), like).dtype == np.float64
    assert operand(np.ones(2, np.int64), like).dtype == np.float32
    assert operand([True, False], Tensor(np.ones(2))).dtype == np.float64
    with pytest.raises(TypeError, match="a Tensor holds real numbers"):
        operand(1j, like)
