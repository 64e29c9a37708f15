"""The tape: what a tensor holds, in which order it goes backward, what stays and what is freed."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from tinyquant import autograd as F
from tinyquant.autograd import Op, Tensor


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_float_array_is_kept_without_a_copy(dtype):
    array = np.arange(3, dtype=dtype)
    assert Tensor(array).data is array
    assert Tensor(array).numpy() is array


@pytest.mark.parametrize("data", [[1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1, 2], np.uint8), np.float16([1, 2])])
def test_other_real_numbers_become_float32(data):
    tensor = Tensor(data)
    assert tensor.dtype == np.float32
    assert tensor.data.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("data", [1j, np.array([1j]), np.array(["a"]), np.array([None]), np.array([1, "a"], object)])
def test_numbers_that_are_not_real_are_refused(data):
    with pytest.raises(TypeError, match="a Tensor holds real numbers, got an array of"):
        Tensor(data)


def test_shape_dtype_ndim_size_len_and_item_are_those_of_the_array():
    tensor = Tensor(np.zeros((2, 3)))
    assert (tensor.shape, tensor.dtype, tensor.ndim, tensor.size, len(tensor)) == ((2, 3), np.float64, 2, 6, 2)
    assert Tensor([[2.5]]).item() == 2.5
    with pytest.raises(ValueError, match=r"item\(\) needs a tensor of one number, got shape \(2, 3\)"):
        tensor.item()
    with pytest.raises(TypeError, match=r"len\(\) needs a tensor with at least one axis"):
        len(Tensor(1.0))


def test_repr_shows_numbers_dtype_and_requires_grad():
    assert repr(Tensor([1.5, 2.0])) == "Tensor([1.5, 2. ])"
    assert repr(Tensor(np.float64(1.0), requires_grad=True)) == "Tensor(1., dtype=float64, requires_grad=True)"


def test_numpy_reads_a_tensor_as_an_array_and_leaves_operators_to_it():
    tensor = Tensor([1.0, 2.0], requires_grad=True)
    assert np.asarray(tensor) is tensor.data
    assert np.array(tensor, dtype=np.float64).tolist() == [1.0, 2.0]
    for result in (np.ones(2, np.float32) + tensor, np.float64(1) + tensor, 1 + tensor):
        assert isinstance(result, Tensor) and result.requires_grad and result.data.tolist() == [2.0, 3.0]
    assert isinstance(np.ones((3, 2), np.float32) @ tensor, Tensor)


def test_operators_and_methods_are_the_functions():
    a, b = Tensor([1.0, 4.0], requires_grad=True), np.array([2.0, 8.0], np.float32)
    results = [a + b, b + a, a - b, b - a, a * b, b * a, a / b, b / a, a**2, 2.0**a, -a, a @ b, b @ a]
    expected = [[3, 12], [3, 12], [-1, -4], [1, 4], [2, 32], [2, 32], [0.5, 0.5], [2, 2], [1, 16], [2, 16], [-1, -4], 34, 34]
    assert [r.data.tolist() for r in results] == expected
    x = Tensor(np.arange(6.0).reshape(2, 3))
    pairs = [(x.sum(0), F.sum(x, 0)), (x.mean(1, True), F.mean(x, 1, True)), (x.max(), F.max(x)), (x.T, F.transpose(x)),
             (x.reshape(3, 2), F.reshape(x, (3, 2))), (x.reshape((3, -1)), F.reshape(x, (3, 2))),
             (x.transpose(1, 0), F.transpose(x)), (x.transpose((0, 1)), x), (x.transpose(), F.transpose(x)),
             (x.exp(), F.exp(x)), ((x + 1).log(), F.log(x + 1)), (x.tanh(), F.tanh(x)), (x.sigmoid(), F.sigmoid(x)),
             (x.relu(), F.relu(x)), (x[1], F.getitem(x, 1))]  # fmt: skip
    for method, function in pairs:
        np.testing.assert_array_equal(method.data, function.data)


def test_a_plain_number_does_not_change_the_dtype_of_a_network():
    x32, x64 = Tensor(np.float32([1.0])), Tensor(np.float64([1.0]))
    for number in (2, 2.0, np.float64(2), np.array(2.0), np.array([2])):
        assert (x32 * number).dtype == np.float32
        assert (x64 * number).dtype == np.float64
        assert (number - x32).dtype == np.float32


def test_a_tensor_used_twice_gets_the_sum_of_both_gradients():
    x = Tensor([3.0], requires_grad=True)
    y = x * x + x * 2.0
    y.backward()
    assert x.grad.tolist() == [8.0]


def test_a_result_used_along_paths_of_different_length_goes_backward_once_after_all_of_them():
    calls = []

    class Watched(Op):
        name = ""

        def forward(self, x):
            return x * 1.0

        def backward(self, dy):
            calls.append(float(dy[0]))
            return (dy,)

    x = Tensor([1.0], requires_grad=True)
    middle = Watched.apply(x)
    long_way = middle
    for _ in range(5):
        long_way = long_way * 2.0
    (middle + long_way + middle * 10.0).backward()
    assert calls == [1.0 + 32.0 + 10.0]
    assert x.grad.tolist() == [43.0]


def test_two_branches_handed_the_same_gradient_array_do_not_disturb_each_other():
    """Addition hands one array to both sides; what is added to one of them later must not reach the other."""
    a, b = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    p, q = a * 1.0, b * 1.0
    later = p * 2.0
    ((p + q) + later).backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([3.0], [1.0])


def test_doubling_sixty_times_takes_sixty_steps_not_two_to_the_sixty():
    x = Tensor(np.array([1.0]), requires_grad=True)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad.tolist() == [2.0**60]


def test_a_chain_of_a_hundred_thousand_operations_goes_backward_and_is_freed_without_recursion():
    x = Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad.tolist() == [1.0]
    del y
    gc.collect()


def test_a_second_backward_adds_and_leaves_the_tape_as_it_was():
    x = Tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x).sum()
    for times in (1, 2, 3):
        loss.backward()
        assert x.grad.tolist() == [2.0 * times, 4.0 * times]
    x.grad = None
    loss.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_gradients_of_two_losses_add_up():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * 3.0).sum().backward()
    (x * x).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]


def test_two_leaves_never_share_the_memory_of_their_gradients():
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    (a + b).backward(start := np.ones(2, np.float32))
    a.grad *= 0
    assert b.grad.tolist() == [1.0, 1.0] and start.tolist() == [1.0, 1.0]


def test_only_leaves_that_require_it_keep_a_gradient():
    x, constant = Tensor([1.0], requires_grad=True), Tensor([2.0])
    middle = x * constant
    middle.sum().backward()
    assert x.grad is not None and constant.grad is None and middle.grad is None


def test_backward_of_a_leaf_adds_the_gradient_it_is_given():
    x = Tensor([1.0, 2.0], requires_grad=True)
    x.backward([3.0, 4.0])
    x.backward([3.0, 4.0])
    assert x.grad.tolist() == [6.0, 8.0]


def test_backward_explains_what_it_needs():
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"needs a result computed from a tensor with requires_grad=True"):
        Tensor([1.0]).backward()
    with pytest.raises(ValueError, match=r"needs a result computed from"):
        x.detach().sum().backward()
    with pytest.raises(ValueError, match=r"without an argument needs one number, got shape \(2,\)"):
        (x * 2.0).backward()
    with pytest.raises(ValueError, match=r"gradient of the tensor's shape \(2,\), got \(3,\)"):
        (x * 2.0).backward(np.ones(3))


def test_detach_shares_the_numbers_and_stops_the_gradient():
    x = Tensor([2.0], requires_grad=True)
    y = x * 3.0
    assert y.detach().data is y.data
    (y.detach() * x).sum().backward()
    assert x.grad.tolist() == [6.0]


def test_the_tape_is_freed_with_the_result_at_once_and_without_the_garbage_collector():
    x = Tensor(np.ones(4), requires_grad=True)
    gc.disable()
    try:
        middle = x * 2.0
        watched = weakref.ref(middle)
        loss = (middle * middle).sum()
        del middle
        loss.backward()
        assert watched() is not None
        del loss
        assert watched() is None
    finally:
        gc.enable()


def test_nothing_is_kept_for_inputs_that_need_no_gradient():
    x = Tensor(np.ones((1, 4, 4, 1)))
    watched = weakref.ref(x)
    result = F.relu(x + 1.0)
    del x
    assert watched() is None and result._op is None


def test_a_float64_part_of_a_float32_tensor_comes_back_as_float32():
    x = Tensor(np.float32([1.0]), requires_grad=True)
    y = x * Tensor(np.float64([2.0]))
    y.backward()
    assert (y.dtype, x.grad.dtype) == (np.float64, np.float32)


def test_an_operation_without_forward_or_backward_says_so():
    class Half(Op):
        name = ""

    with pytest.raises(TypeError, match=r"Half must define forward\(self, \*arrays\)"):
        Half.apply(Tensor([1.0]))
    with pytest.raises(TypeError, match=r"Half must define backward\(self, dy\)"):
        Half().backward(np.ones(1))
