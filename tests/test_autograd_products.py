"""Matrix products, exact on small integers, against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyquant import autograd as F
from tinyquant.autograd import Tensor
from tinyquant.autograd.products import sum_rows


def integers(rng, *shape):
    return rng.integers(-9, 10, shape).astype(float)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.booleans(), st.integers(0, 99))
def test_linear_and_its_gradients_are_the_sums_of_their_definition(rows, inputs, outputs, with_bias, seed):
    rng = np.random.default_rng(seed)
    x, w, b = integers(rng, rows, inputs), integers(rng, outputs, inputs), integers(rng, outputs)
    dy = integers(rng, rows, outputs)
    tensors = [Tensor(array, requires_grad=True) for array in ([x, w, b] if with_bias else [x, w])]
    y = F.linear(*tensors)
    y.backward(dy)
    expected = np.zeros((rows, outputs)) + (b if with_bias else 0)
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for n, o, i in np.ndindex(rows, outputs, inputs):
        expected[n, o] += x[n, i] * w[o, i]
        dx[n, i] += dy[n, o] * w[o, i]
        dw[o, i] += dy[n, o] * x[n, i]
        db[o] += dy[n, o] if i == 0 else 0
    np.testing.assert_array_equal(y.data, expected)
    for tensor, grad in zip(tensors, (dx, dw, db)):
        np.testing.assert_array_equal(tensor.grad, grad)


@pytest.mark.parametrize("a, b", [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((4, 1, 2, 3), (5, 3, 2)), ((3,), (4, 3, 2))])
def test_matmul_is_numpys_for_every_rank(a, b):
    rng = np.random.default_rng(0)
    x, y = integers(rng, *a), integers(rng, *b)
    np.testing.assert_array_equal(F.matmul(x, Tensor(y)).data, np.matmul(x, y))


def test_linear_takes_more_leading_axes_and_none():
    x, w, b = np.arange(12.0).reshape(2, 2, 3), np.ones((4, 3)), np.arange(4.0)
    np.testing.assert_array_equal(F.linear(x, w, b).data, x @ w.T + b)
    np.testing.assert_array_equal(F.linear(x[0, 0], w, b).data, x[0, 0] @ w.T + b)


def test_an_empty_batch_gives_an_empty_result_and_zero_gradients():
    w = Tensor(np.ones((2, 3)), requires_grad=True)
    F.linear(np.ones((0, 3)), w).sum().backward()
    assert w.grad.tolist() == [[0.0] * 3] * 2


def test_sum_rows_is_the_sum_over_the_first_axis():
    array = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    assert sum_rows(array).tolist() == [18.0, 22.0, 26.0] and sum_rows(array).dtype == np.float32


@pytest.mark.parametrize("arguments, message", [
    ((np.ones((2, 3)), np.ones((3, 4))), r"x of shape \(\.\.\., 4\) for a weight \(out, in\) = \(3, 4\), got \(2, 3\)"),
    ((np.ones((2, 3)), np.ones(3)), r"weight of shape \(out, in\), got \(3,\)"),
    ((np.array(1.0), np.ones((2, 3))), r"x of shape \(\.\.\., 3\)"),
    ((np.ones((2, 3)), np.ones((4, 3)), np.ones(3)), r"bias of shape \(4,\), one an output, got \(3,\)"),
])  # fmt: skip
def test_linear_explains_shapes_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        F.linear(*arguments)


def test_matmul_explains_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"got shapes \(2, 3\) and \(2, 3\). Transpose"):
        F.matmul(np.ones((2, 3)), Tensor(np.ones((2, 3))))
    with pytest.raises(ValueError, match="vectors or matrices, got shapes"):
        F.matmul(Tensor(2.0), Tensor(np.ones(3)))


def test_codes_are_refused():
    with pytest.raises(TypeError, match="linear computes with float32 or float64 numbers, got int8"):
        F.linear(np.ones((2, 3), np.int8), np.ones((2, 3)))
