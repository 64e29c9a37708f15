"""Memory that is lent again is never memory that somebody still holds."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyquant import autograd as F
from tinyquant.autograd import Tensor, memory
from tinyquant.autograd.memory import empty, empty_like, in_blocks, room_for

LARGE = (400, 100)  # 160 kB of float32: lent from the pool

recycles = pytest.mark.skipif(not memory._COUNTS, reason="this Python does not count holders")


def address(array):
    return array.__array_interface__["data"][0]


@recycles
def test_memory_nobody_holds_is_lent_again():
    first = empty(LARGE, np.float32)
    where = address(first)
    del first
    assert address(empty(LARGE, np.float32)) == where


WAYS_TO_HOLD = {
    "the array": lambda a: a,
    "a slice": lambda a: a[3:5, 1],
    "a view of another shape": lambda a: a.reshape(-1),
    "a transposed view": lambda a: a.T[::2],
    "a view of another dtype": lambda a: a.view(np.int32),
    "a memoryview": lambda a: memoryview(a),
    "an array made of a memoryview": lambda a: np.frombuffer(a, np.float32),
    "a tensor": lambda a: Tensor(a),
    "a tensor's view": lambda a: F.transpose(Tensor(a)),
    "broadcasting": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "an iterator": lambda a: iter(a),
}


@pytest.mark.parametrize("hold", WAYS_TO_HOLD.values(), ids=WAYS_TO_HOLD)
def test_memory_that_is_held_in_any_way_is_not_lent(hold):
    array = empty(LARGE, np.float32)
    start = address(array)
    held = hold(array)
    del array
    others = [empty(LARGE, np.float32) for _ in range(20)]
    assert start not in [address(other) for other in others]
    del held


@given(st.lists(st.tuples(st.sampled_from(["new", "drop", "view"]), st.integers(0, 9), st.integers(1, 4)), max_size=40))
def test_no_array_changes_while_others_come_and_go(steps):
    held = []
    for number, (what, which, size) in enumerate(steps):
        if what == "new" or not held:
            array = empty((size * 10_000,), np.float64)
            array.fill(number)
            held.append((array, number))
        elif what == "drop":
            held.pop(which % len(held))
        else:
            array, value = held[which % len(held)]
            held[which % len(held)] = (array[::2], value) if len(array) > 4 else (array, value)
        for array, value in held:
            assert (array == value).all()


def test_the_pool_forgets_rather_than_grow_without_end(monkeypatch):
    pool = memory._Pool()
    monkeypatch.setattr(memory, "_LARGEST_TOTAL", 1 << 20)
    held = []
    for size in range(100_000, 400_000, 20_000):
        held.append(pool.take(size)[0])
        held = held[-3:]
        assert pool.total <= 1 << 20
        assert pool.total == sum(size * len(entries) for size, entries in pool.entries.items())


def test_a_thread_has_memory_of_its_own():
    """What one thread may lend again, another never gets: between its look and its taking, both could take it."""
    free, done, where = threading.Event(), threading.Event(), []

    def work():
        where.append(address(empty(LARGE, np.float32)))
        free.set()
        done.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    free.wait(10)
    arrays = [empty(LARGE, np.float32) for _ in range(20)]
    done.set()
    thread.join()
    if memory._COUNTS:
        assert where[0] not in [address(array) for array in arrays]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3), LARGE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool])
def test_shape_dtype_order_and_alignment_are_as_asked(shape, dtype):
    array = empty(shape, dtype)
    assert array.shape == shape and array.dtype == dtype and array.flags.c_contiguous and array.flags.writeable
    if array.nbytes >= memory._SMALLEST:
        assert address(array) % 64 == 0
    like = empty_like(array.T.T if array.ndim < 2 else array.T.copy().T)
    assert like.shape == shape and like.dtype == dtype and like.flags.c_contiguous


def test_room_is_made_for_large_results_only():
    assert room_for(np.zeros(3, np.float32)) is None
    assert room_for(np.zeros(LARGE, np.float32)).shape == LARGE


@given(st.integers(0, 300), st.integers(0, 200_000))
def test_blocks_cover_every_row_once_in_order(rows, row_size):
    blocks = list(in_blocks(rows, row_size))
    assert [row for block in blocks for row in range(rows)[block]] == list(range(rows))
    assert all((b.stop - b.start) * row_size <= memory._BLOCK or b.stop - b.start == 1 for b in blocks)


def test_results_of_large_operations_stay_what_they_were_when_more_is_computed():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 32, 32, 8)).astype(np.float32)
    w = Tensor(rng.normal(size=(8, 3, 3, 8)).astype(np.float32), requires_grad=True)

    def results(array):
        a = F.relu(F.conv2d(array, w, padding=1))
        b = F.max_pool2d(F.add(a, a), 2)
        c = F.batch_norm(b, np.ones(8), np.zeros(8), np.zeros(8), np.ones(8), training=True)
        return [a, b, c]

    first = results(x)
    copies = [tensor.data.copy() for tensor in first]
    for _ in range(3):
        results(x[::-1].copy())[-1].sum().backward()
    for tensor, copy in zip(first, copies):
        np.testing.assert_array_equal(tensor.data, copy)
