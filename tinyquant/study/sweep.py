"""The same experiment over many seeds, on as many processors as there are, here or elsewhere.

Seeds know nothing of each other, so they can run anywhere: what is needed is a `concurrent.futures.Executor`. By default
that is one process a processor of this machine, each with one thread of linear algebra: on networks this small, threads wait
for each other, and how many there are decides in which order sums are rounded. A cluster's executor can be handed in instead::

    with distributed.Client("scheduler:8786") as client:           # Dask
        sweep(function, tasks, kept, executor=client.get_executor())
    with mpi4py.futures.MPIPoolExecutor() as pool:                  # MPI
        sweep(function, tasks, kept, executor=pool)

With this module one can run that (`sweep`), and watch (`Progress`).
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tinyquant.study.kept import Kept, Outcome, as_json

__all__ = ["Progress", "SweepError", "Task", "processors", "sweep"]

_THREAD_SETTINGS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Task:
    """One call of the experiment.

    Attributes
    ----------
    label : str
        What a message calls it.
    arguments : tuple
        Of the experiment; things that can be sent to another process.
    cost : float above 0
        How long it takes, in any unit: the time left is reckoned with it.
    """

    label: str
    arguments: tuple[Any, ...]
    cost: float = 1.0


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Attributes
    ----------
    done, total : int
        Tasks.
    seconds : float
        Since the sweep began.
    left : float or None
        Seconds to come, if the rest goes as fast; None before the first task is done.
    label : str
        The task that was finished last; empty at the start.
    """

    done: int
    total: int
    seconds: float
    left: float | None
    label: str


class SweepError(RuntimeError):
    """A task failed; what was finished before is kept."""


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def sweep(
    function: Callable[..., dict[str, Outcome]],
    tasks: Sequence[Task],
    kept: Kept,
    *,
    executor: Executor | None = None,
    jobs: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> None:
    """Call function(*task.arguments) for every task and add what each returns to `kept` as soon as it is there.

    Parameters
    ----------
    function : callable -> dict of key to Outcome
        A function of a module, not one made on the spot: other processes import it. It must draw from the seed among its
        arguments alone; then the results are the same on every executor.
    tasks : sequence of Task
        Leave out what `kept` has already.
    kept : Kept
    executor : concurrent.futures.Executor, optional
        Where to run; it is left running. The threads of linear algebra are then its own affair.
    jobs : int >= 1, optional
        Without an executor: so many processes; by default `processors()`. 1 runs in this very process, where an error can
        be stepped into.
    progress : callable (Progress) -> None, optional
        Called once before the first task and after each.

    Raises
    ------
    ValueError
        If jobs is below 1.
    SweepError
        If a task raises, its process dies, what it returns cannot be kept, or the executor takes no tasks; the tasks that wait
        are not begun.

    Examples
    --------
    >>> kept = Kept(None, "squares", {})
    >>> sweep(lambda n: {str(n): {"square": n * n}}, [Task("two", (2,)), Task("three", (3,))], kept, jobs=1)
    >>> kept.results
    {'2': {'square': 4}, '3': {'square': 9}}
    """
    jobs = processors() if jobs is None else jobs
    if jobs < 1:
        raise ValueError(f"jobs must be 1 or more, got {jobs}. 1 runs everything in this process.")
    watch = _Watch(tasks, progress)
    if executor is not None:
        _run_on(executor, function, tasks, kept, watch)
    elif jobs == 1 or len(tasks) < 2:
        for task in tasks:
            try:
                found = as_json(function(*task.arguments))
            except Exception as error:
                raise _failed(task, error) from error
            kept.add(found)
            watch.finished(task)
    else:
        # A fresh interpreter for each: a forked one has numpy, and its number of threads, loaded already.
        fresh = multiprocessing.get_context("spawn")
        count = min(jobs, len(tasks))
        with _one_thread_each(), ProcessPoolExecutor(count, mp_context=fresh, initializer=_end_with_parent) as pool:
            _run_on(pool, function, tasks, kept, watch)


def _run_on(
    executor: Executor, function: Callable[..., dict[str, Outcome]], tasks: Sequence[Task], kept: Kept, watch: _Watch
) -> None:
    """Hand everything in, take results as they come; whatever goes wrong, what has not begun never begins."""
    waiting: dict[Future[dict[str, Outcome]], Task] = {}
    try:
        for task in tasks:
            try:
                future = executor.submit(function, *task.arguments)
            except RuntimeError as error:
                raise SweepError(
                    f"the executor must take every task, got at {task.label}: {error}. "
                    "Hand in one that is running. What was finished is kept."
                ) from error
            waiting[future] = task
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                task = waiting.pop(future)
                try:
                    found = as_json(future.result())
                except Exception as error:
                    raise _failed(task, error) from error
                kept.add(found)
                watch.finished(task)
    finally:
        for future in waiting:
            future.cancel()


def _failed(task: Task, error: Exception) -> SweepError:
    """What is raised for a task."""
    said = str(error) or type(error).__name__
    return SweepError(f"every task must come to its end, got from {task.label}: {said} What was finished is kept.")


class _Watch:
    """Reckons the time left and tells the caller."""

    def __init__(self, tasks: Sequence[Task], tell: Callable[[Progress], None] | None) -> None:
        self.total, self.cost = len(tasks), sum(task.cost for task in tasks)
        self.done, self.paid = 0, 0.0
        self.begin = time.perf_counter()
        self.tell = tell
        self._say("")

    def finished(self, task: Task) -> None:
        """One more."""
        self.done += 1
        self.paid += task.cost
        self._say(task.label)

    def _say(self, label: str) -> None:
        if self.tell is not None:
            seconds = time.perf_counter() - self.begin
            left = seconds * (self.cost - self.paid) / self.paid if self.paid else None
            self.tell(Progress(self.done, self.total, seconds, left, label))


def _end_with_parent() -> None:
    """In a process of ours: end when the one that began it has ended.

    One that is killed cannot tell its processes to stop. They would wait for tasks for ever, and whoever reads what was printed
    would wait for them.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, name="end with parent", daemon=True).start()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes begun meanwhile read these settings; where the caller has set one, it stays."""
    added = [name for name in _THREAD_SETTINGS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
