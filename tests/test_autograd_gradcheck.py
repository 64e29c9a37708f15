"""The gradient check finds wrong gradients, and every operation passes it (or is named as straight-through)."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest
from autograd_table import ROW_IDS, STRAIGHT_THROUGH, TABLE, Row

import tinyquant
from tinyquant import autograd as F
from tinyquant.autograd import GradientError, Op, Tensor, check_gradients, no_grad
from tinyquant.autograd.elementwise import Mul
from tinyquant.autograd.loss import Softmax

every_row = pytest.mark.parametrize("row", TABLE, ids=ROW_IDS)


def subclasses(op: type[Op]) -> set[type[Op]]:
    """All classes below an operation class."""
    found = set(op.__subclasses__())
    return found.union(*[subclasses(c) for c in found]) if found else found


def outputs_and_grads(row: Row, dtype: type[np.floating], needs: list[bool]) -> tuple[Tensor, list[Tensor]]:
    """Run a row forward and backward with a random cotangent."""
    tensors = [Tensor(array.astype(dtype), need) for array, need in zip(row.arrays, needs)]
    output = row.fn(*tensors)
    output.backward(np.random.default_rng(3).normal(size=output.shape))
    return output, tensors


@every_row
def test_every_gradient_is_the_slope_of_its_forward(row):
    check_gradients(row.fn, *row.arrays)


def test_no_operation_of_the_package_is_missing_from_the_table_and_from_the_straight_through_list():
    for module in pkgutil.walk_packages(tinyquant.__path__, "tinyquant."):
        if "labs." not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    named = {op.name for op in subclasses(Op) if op.name and op.__module__.startswith("tinyquant.")}
    assert named == {row.op for row in TABLE} | set(STRAIGHT_THROUGH)


@every_row
def test_a_row_of_the_table_runs_the_operation_it_names(row):
    class Names:
        def __init__(self):
            self.seen = []

        def op(self, name, inputs, settings, output):
            self.seen.append(name)

    names = Names()
    with F.recording(names):
        row.fn(*[Tensor(array) for array in row.arrays])
    assert row.op in names.seen


@every_row
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_and_gradients_keep_the_dtype_of_the_inputs(row, dtype):
    output, tensors = outputs_and_grads(row, dtype, [True] * len(row.arrays))
    assert output.dtype == dtype
    assert [t.grad.dtype for t in tensors] == [dtype] * len(tensors)


@every_row
def test_a_gradient_is_the_same_whether_or_not_the_other_inputs_need_one(row):
    _, full = outputs_and_grads(row, np.float64, [True] * len(row.arrays))
    for wanted in range(len(row.arrays)):
        _, alone = outputs_and_grads(row, np.float64, [i == wanted for i in range(len(row.arrays))])
        np.testing.assert_array_equal(alone[wanted].grad, full[wanted].grad)
        assert all(t.grad is None for i, t in enumerate(alone) if i != wanted)


@every_row
def test_backward_writes_neither_its_cotangent_nor_its_inputs_and_can_be_repeated(row):
    arrays = [array.copy() for array in row.arrays]
    for array in arrays:
        array.flags.writeable = False
    tensors = [Tensor(array, requires_grad=True) for array in arrays]
    output = row.fn(*tensors)
    before = output.data.copy()
    dy = np.random.default_rng(3).normal(size=output.shape)
    dy.flags.writeable = False
    output.backward(dy)
    once = [t.grad.copy() for t in tensors]
    output.backward(dy)
    np.testing.assert_array_equal(output.data, before)
    for tensor, first in zip(tensors, once):
        np.testing.assert_array_equal(tensor.grad, 2 * first)


@every_row
def test_an_output_under_no_grad_is_the_same_and_has_no_history(row):
    expected = row.fn(*[Tensor(array, requires_grad=True) for array in row.arrays])
    with no_grad():
        output = row.fn(*[Tensor(array, requires_grad=True) for array in row.arrays])
    np.testing.assert_array_equal(output.data, expected.data)
    assert expected.requires_grad and not output.requires_grad and output._op is None


class Wrong(Mul):
    """A product that forgets the second factor's gradient."""

    name = ""

    def backward(self, dy):
        return dy * self.b, dy * 0


class WrongSoftmax(Softmax):
    """A softmax whose gradient lacks the term that all-ones cotangents cancel: sum of dp * p would be 1 there."""

    name = ""

    def backward(self, dy):
        return (self.p * (dy - 1.0),)


def test_a_wrong_gradient_is_reported_with_function_input_index_slope_and_gradient():
    def product(a, b):
        return Wrong.apply(a, b)

    with pytest.raises(GradientError, match=r"gradient of product with respect to input 1 at index \(0,\) must be its"):
        check_gradients(product, np.array([3.0, 1.0]), np.array([1.0, 1.0]))


def test_an_error_that_all_ones_cotangents_would_hide_is_found():
    x = Tensor(np.array([0.3, -0.2, 0.9]), requires_grad=True)
    WrongSoftmax.apply(x).backward(np.ones(3))
    right = Tensor(x.data, requires_grad=True)
    F.softmax(right).backward(np.ones(3))
    np.testing.assert_allclose(x.grad, right.grad, atol=1e-15)
    with pytest.raises(GradientError):
        check_gradients(lambda t: WrongSoftmax.apply(t), x.data)


@pytest.mark.parametrize("error", [2e-6, -2e-6, np.nan, np.inf])
def test_an_error_of_two_millionths_and_a_nan_are_found(error):
    class Slightly(Op):
        name = ""

        def forward(self, x):
            return 0.5 * x

        def backward(self, dy):
            return ((0.5 + error) * np.sign(dy) * np.abs(dy).clip(1.0),)

    with pytest.raises(GradientError):
        check_gradients(lambda x: Slightly.apply(x), np.array([0.25]))


def test_a_gradient_that_is_missing_altogether_is_found():
    with pytest.raises(GradientError, match=r"must be its slope .*, got -?0\."):
        check_gradients(lambda x: x.detach() * 3.0 + x * 0.0, np.array([1.0]))
