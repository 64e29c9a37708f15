"""no_grad and recording: on, off, nested, after an error, and in other threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tinyquant.autograd import Tensor, active_recorder, is_grad_enabled, no_grad, recording


class Log:
    """A recorder that keeps everything."""

    def __init__(self):
        self.calls = []

    def op(self, name, inputs, settings, output):
        self.calls.append((name, inputs, settings, output))


def test_no_grad_nests_and_ends_also_with_an_error():
    assert is_grad_enabled()
    with pytest.raises(KeyError), no_grad():
        with no_grad():
            pass
        assert not is_grad_enabled()
        raise KeyError
    assert is_grad_enabled()


def test_no_grad_in_one_thread_leaves_the_tape_of_another_on():
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_a_recorder_sees_each_operation_once_with_its_tensors_and_settings():
    log = Log()
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    with recording(log):
        y = x.sum(axis=1)
        z = y * 2.0
    (name, inputs, settings, output), (name2, inputs2, _, output2) = log.calls
    assert (name, settings, name2) == ("sum", {"axis": 1, "keepdims": False}, "mul")
    assert inputs == (x,) and output is y and inputs2[0] is y and output2 is z


def test_a_recorder_sees_operations_under_no_grad():
    log = Log()
    with recording(log), no_grad():
        Tensor([1.0]).exp()
    assert [call[0] for call in log.calls] == ["exp"]


def test_the_innermost_recorder_is_active_and_the_outer_one_returns_also_after_an_error():
    outer, inner = Log(), Log()
    assert active_recorder() is None
    with recording(outer):
        with pytest.raises(KeyError), recording(inner):
            assert active_recorder() is inner
            raise KeyError
        assert active_recorder() is outer
    assert active_recorder() is None


def test_a_recorder_of_one_thread_does_not_see_another():
    log = Log()
    with recording(log):
        thread = threading.Thread(target=lambda: Tensor([1.0]).exp())
        thread.start()
        thread.join()
    assert log.calls == []


def test_a_recorder_that_can_read_is_told_when_a_number_is_looked_at_and_any_other_is_left_alone():
    class Reader(Log):
        def read(self, tensor):
            self.calls.append(tensor)

    x = Tensor([2.5])
    reader = Reader()
    with recording(reader):
        assert (x.item(), float(x), bool(x)) == (2.5, 2.5, True)
    assert reader.calls == [x, x, x]
    with recording(Log()):
        assert not Tensor(0.0)


def test_backward_is_not_recorded():
    log = Log()
    y = (Tensor([1.0], requires_grad=True) * 2.0).sum()
    with recording(log):
        y.backward()
    assert log.calls == []
