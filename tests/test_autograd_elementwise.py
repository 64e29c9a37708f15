"""Elementwise operations: exact values, slopes at the kinks, broadcasting, edges of the number line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant import autograd as F
from tinyquant.autograd import Tensor

floats = st.floats(-1e3, 1e3)


def slope(fn, at):
    """The gradient of a function of one number."""
    x = Tensor(np.array([float(at)]), requires_grad=True)
    fn(x).sum().backward()
    return float(x.grad[0])


@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3), st.integers(0, 99))
def test_sums_and_products_of_broadcast_integers_have_exact_gradients(shapes, seed):
    rng = np.random.default_rng(seed)
    a, b = (Tensor(rng.integers(1, 9, shape).astype(float), requires_grad=True) for shape in shapes.input_shapes)
    dy = rng.integers(-9, 10, shapes.result_shape).astype(float)
    (a * b - a + b).backward(dy)
    wide_a, wide_b = (np.broadcast_to(t.data, shapes.result_shape) for t in (a, b))
    for tensor, wide in ((a, dy * (wide_b - 1)), (b, dy * (wide_a + 1))):
        expected = np.zeros(tensor.shape)
        padded = (1,) * (wide.ndim - tensor.ndim) + tensor.shape
        for index in np.ndindex(wide.shape):
            home = tuple(i if size > 1 else 0 for i, size in zip(index, padded))[wide.ndim - tensor.ndim :]
            expected[home] += wide[index]
        np.testing.assert_array_equal(tensor.grad, expected)


@pytest.mark.parametrize("fn, kink, expected", [
    (F.relu, 0, 0), (F.relu6, 0, 0), (F.relu6, 6, 0), (lambda x: F.leaky_relu(x, 0.25), 0, 0.25),
])  # fmt: skip
def test_the_slope_at_a_kink_is_the_one_documented(fn, kink, expected):
    assert slope(fn, kink) == expected


@pytest.mark.parametrize("fn, at, value, expected", [
    (F.relu, -2, 0, 0), (F.relu, 2, 2, 1), (F.relu6, -1, 0, 0), (F.relu6, 5, 5, 1), (F.relu6, 7, 6, 0),
    (lambda x: F.leaky_relu(x, 0.25), -4, -1, 0.25), (lambda x: F.leaky_relu(x, 0.25), 4, 4, 1),
    (F.neg, 3, -3, -1), (lambda x: x**3, 2, 8, 12), (lambda x: x**3, -2, -8, 12), (lambda x: 2.0**x, 3, 8, 8 * math.log(2)),
    (lambda x: 1 / x, 2, 0.5, -0.25), (lambda x: x**0, 0, 1, 0), (lambda x: x**1, 0, 0, 1),
])  # fmt: skip
def test_value_and_slope(fn, at, value, expected):
    assert fn(Tensor(np.array([float(at)]))).item() == value
    assert slope(fn, at) == expected


@given(st.lists(floats, min_size=1, max_size=5))
def test_functions_are_numpys_or_the_math_modules(numbers):
    """numpy's vectorized functions promise 4 units in the last place, the math module's are within 1."""
    x = Tensor(np.array(numbers))
    for fn, reference in ((F.tanh, math.tanh), (lambda t: F.exp(t * 0.5), lambda v: math.exp(v * 0.5))):
        expected = np.array([reference(v) for v in numbers])
        assert (np.abs(fn(x).data - expected) <= 5 * np.spacing(np.abs(expected))).all()


@given(st.floats(-700, 700))
def test_sigmoid_keeps_its_digits_in_both_tails_and_never_overflows(v):
    """Against the formula on the side where it does not cancel: four roundings, so 4 units in the last place."""
    exact = 1 / (1 + math.exp(-v)) if v >= 0 else math.exp(v) / (1 + math.exp(v))
    assert abs(F.sigmoid(Tensor(np.array([v]))).item() - exact) <= 4 * np.spacing(exact)


def test_sigmoid_at_the_ends_of_float32():
    y = F.sigmoid(Tensor(np.float32([-np.inf, -200, 0, 200, np.inf])))
    assert y.data.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0] and y.dtype == np.float32


def test_nan_goes_through_every_activation():
    x = Tensor(np.array([np.nan]))
    for fn in (F.relu, F.relu6, F.leaky_relu, F.sigmoid, F.tanh):
        assert np.isnan(fn(x).data).all(), fn


def test_division_gives_the_correctly_rounded_quotient_and_its_gradients():
    a, b = Tensor(np.array([1.0]), requires_grad=True), Tensor(np.array([3.0]), requires_grad=True)
    y = a / b
    y.backward()
    assert y.item() == 1 / 3 and a.grad[0] == 1 / 3
    # d(a/b)/db = -1/9; three roundings.
    assert abs(b.grad[0] + 1 / 9) <= 3 * np.spacing(1 / 9)


def test_shapes_that_do_not_broadcast_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\(2,\) ?\(3,\)"):
        Tensor(np.ones(2)) + Tensor(np.ones(3))


def test_integer_arrays_are_refused_by_activations():
    with pytest.raises(TypeError, match="relu computes with float32 or float64 numbers, got int8"):
        F.relu(np.zeros(3, np.int8))


def test_relu_has_no_upper_end_and_one_number_keeps_its_type():
    """max(x, 0) at any size; a 0-d float32 stays float32 (numpy 1 promoted it through a float64 bound)."""
    x = np.array([-1e30, -1.0, 0.0, 5.5, 1e30], np.float32)
    assert F.relu(Tensor(x)).data.tolist() == np.maximum(x, 0).tolist()
    assert F.relu6(Tensor(x)).data.tolist() == [0.0, 0.0, 0.0, 5.5, 6.0]
    for activation in (F.relu, F.relu6):
        assert activation(Tensor(np.array(1.5, np.float32))).dtype == np.float32
