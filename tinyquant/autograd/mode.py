"""What is switched on while operations run: the tape, and a recorder.

Both are settings of the running thread, so that two threads can work at the same time.

With this module one can compute without a tape (`no_grad`), and watch every operation as it runs (`recording`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from tinyquant.autograd.tensor import Tensor

__all__ = ["ReadingRecorder", "Recorder", "active_recorder", "is_grad_enabled", "mode", "no_grad", "recording"]


class Recorder(Protocol):
    """What `recording` expects: `op` is called once for every operation, just after it ran."""

    def op(self, name: str, inputs: tuple[Tensor, ...], settings: dict[str, Any], output: Tensor) -> None:
        """See one operation: its name, its input tensors, everything that is not a tensor, its output."""


@runtime_checkable
class ReadingRecorder(Protocol):
    """A recorder that also wants to know when a number is looked at: a `forward` that does so may branch on it."""

    def read(self, tensor: Tensor) -> None:
        """Called by `item`, `float` and `bool` of a tensor, before the number is given out."""


class _Mode(threading.local):
    """What is switched on in this thread."""

    grad: bool = True
    recorder: Recorder | None = None


mode = _Mode()


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside, nothing is put on the tape: results require no gradient and keep nothing alive.

    >>> from tinyquant.autograd import Tensor
    >>> x = Tensor([1.0], requires_grad=True)
    >>> with no_grad():
    ...     y = x * 2.0
    >>> y.requires_grad
    False
    """
    before = mode.grad
    mode.grad = False
    try:
        yield
    finally:
        mode.grad = before


def is_grad_enabled() -> bool:
    """False inside `no_grad`, in this thread."""
    return mode.grad


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Inside, `recorder.op(name, inputs, settings, output)` is called after every operation.

    It sees operations under `no_grad` too. The recorder of an inner `recording` replaces the outer one until the
    inner block ends.

    >>> from tinyquant.autograd import Tensor
    >>> class Names:
    ...     def __init__(self): self.seen = []
    ...     def op(self, name, inputs, settings, output): self.seen.append(name)
    >>> names = Names()
    >>> with recording(names):
    ...     y = Tensor([1.0]) * 2.0 + 1.0
    >>> names.seen
    ['mul', 'add']
    """
    before = mode.recorder
    mode.recorder = recorder
    try:
        yield
    finally:
        mode.recorder = before


def active_recorder() -> Recorder | None:
    """The recorder of the innermost `recording` block of this thread, or None."""
    return mode.recorder
