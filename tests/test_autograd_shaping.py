"""Operations that move numbers: what arrives is numpy's, what goes back arrives where it came from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant import autograd as F
from tinyquant.autograd import Tensor

shapes = hnp.array_shapes(max_dims=4, max_side=4)


def moved(fn, shape, seed=0):
    """Run fn on 0, 1, 2, ...; each cell of dx is the sum of the dy of the cells that show its number."""
    x = Tensor(np.arange(float(np.prod(shape))).reshape(shape), requires_grad=True)
    y = fn(x)
    dy = np.random.default_rng(seed).integers(-9, 10, y.shape).astype(float)
    y.backward(dy)
    return x, y, dy


def sent_home(x, y, dy):
    """dx by looking up where every number of y came from."""
    dx = np.zeros(x.size)
    for number, grad in zip(y.data.ravel().astype(int), dy.ravel()):
        dx[number] += grad
    return dx.reshape(x.shape)


@given(shapes, st.data())
def test_transpose_is_numpys_and_undone_backward(shape, data):
    axes = data.draw(st.permutations(range(len(shape))))
    axes = [a - len(shape) if data.draw(st.booleans()) else a for a in axes]
    x, y, dy = moved(lambda t: F.transpose(t, axes), shape)
    np.testing.assert_array_equal(y.data, x.data.transpose(axes))
    np.testing.assert_array_equal(x.grad, sent_home(x, y, dy))


@given(shapes, st.data())
def test_getitem_is_numpys_and_sums_over_repeated_cells(shape, data):
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True) | hnp.integer_array_indices(shape))
    x, y, dy = moved(lambda t: t[index], shape)
    np.testing.assert_array_equal(y.data, x.data[index])
    np.testing.assert_array_equal(x.grad, sent_home(x, y, dy))


@given(shapes, st.integers(0, 99))
def test_a_mask_is_an_index(shape, seed):
    mask = np.random.default_rng(seed).random(shape) < 0.5
    x, y, dy = moved(lambda t: t[mask], shape)
    np.testing.assert_array_equal(y.data, x.data[mask])
    np.testing.assert_array_equal(x.grad, sent_home(x, y, dy))


@given(shapes)
def test_reshape_and_flatten_keep_the_order(shape):
    size = int(np.prod(shape))
    for new in ((size,), (-1, 1), (1, size, 1)):
        x, y, dy = moved(lambda t, new=new: F.reshape(t, new), shape)
        np.testing.assert_array_equal(y.data, x.data.reshape(new))
        np.testing.assert_array_equal(x.grad, sent_home(x, y, dy))
    assert F.flatten(np.zeros(shape)).shape == (shape[0], size // shape[0])
    assert F.flatten(np.zeros((0, 2, 3))).shape == (0, 6)


@given(shapes, st.data())
def test_pad_puts_zeros_around_and_drops_their_gradient(shape, data):
    widths = data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=len(shape), max_size=len(shape)))
    x = Tensor(np.arange(1.0, 1 + np.prod(shape)).reshape(shape), requires_grad=True)
    y = F.pad(x, widths)
    np.testing.assert_array_equal(y.data, np.pad(x.data, widths))
    y.backward(y.data)
    np.testing.assert_array_equal(x.grad, x.data)


@given(shapes, st.data())
def test_concat_is_numpys_and_gives_every_part_its_gradient(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    parts = []
    for number, size in enumerate(sizes):
        own = list(shape)
        own[axis] = size
        parts.append(Tensor(np.random.default_rng(number).normal(size=own), requires_grad=True))
    y = F.concat(parts, axis)
    np.testing.assert_array_equal(y.data, np.concatenate([p.data for p in parts], axis))
    y.backward(2 * y.data)
    for part in parts:
        np.testing.assert_array_equal(part.grad, 2 * part.data)


def test_views_share_memory():
    x = np.arange(6.0).reshape(2, 3)
    for y in (F.reshape(x, (3, 2)), F.transpose(x), F.getitem(x, slice(1, None))):
        assert np.shares_memory(y.data, x)


@pytest.mark.parametrize("call, message", [
    (lambda x: F.reshape(x, (4, 2)), r"sizes that multiply to 6 \(one may be -1\), got \(4, 2\)"),
    (lambda x: F.reshape(x, (-1, 4)), "sizes that multiply to 6"),
    (lambda x: F.reshape(x, (-1, -1)), "sizes that multiply to 6"),
    (lambda x: F.reshape(x, (-2, -3)), "sizes that multiply to 6"),
    (lambda x: F.reshape(x, (0, -1)), "sizes that multiply to 6"),
    (lambda x: F.flatten(x[0, 0]), "flatten needs a tensor of at least one axis"),
    (lambda x: F.transpose(x, (0, 0)), r"transpose needs every axis of shape \(2, 3\) once, got axes \(0, 0\)"),
    (lambda x: F.transpose(x, (0,)), "transpose needs every axis"),
    (lambda x: F.transpose(x, (0, 2)), "transpose needs every axis"),
    (lambda x: F.pad(x, ((1, 1),)), r"pad needs a pair \(before, after\) of widths >= 0 for each axis of shape \(2, 3\)"),
    (lambda x: F.pad(x, ((1, 1), (0, -1))), "pad needs a pair"),
    (lambda x: F.concat([]), "concat needs at least one tensor, got none"),
    (lambda x: F.concat([x, x[0]]), "concat needs shapes that differ along axis -1 only"),
    (lambda x: F.concat([x, F.transpose(x)]), "concat needs shapes that differ along axis -1 only"),
    (lambda x: F.concat([x], 2), "concat needs an axis between -2 and 1, got 2"),
])  # fmt: skip
def test_what_does_not_fit_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call(Tensor(np.ones((2, 3))))


def test_a_tensor_is_no_index_and_an_index_out_of_range_ends_a_loop():
    x = Tensor(np.arange(3.0))
    with pytest.raises(TypeError, match="an index must be made of integers, slices, masks or None, got a Tensor"):
        x[Tensor([0.0])]
    with pytest.raises(IndexError):
        x[3]
    assert [row.item() for row in x] == [0.0, 1.0, 2.0]
