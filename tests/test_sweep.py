"""Sweeps: the same results on every executor, kept in one file, resumed, and honest about what went wrong."""

from __future__ import annotations

import json
import os
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest

from tinyquant.study import sweep as sweep_module
from tinyquant.study.kept import Kept
from tinyquant.study.sweep import Progress, SweepError, Task, processors, sweep

SETTINGS = {"n": 5, "ends": (0, 1)}


def draw(seed: int, n: int) -> dict[str, dict[str, object]]:
    """An experiment that any process can import."""
    numbers = np.random.default_rng(seed).random(n)
    return {f"seed {seed}": {"sum": float(numbers.sum()), "threads": os.environ.get("OPENBLAS_NUM_THREADS")}}


def fail_at_two(seed: int) -> dict[str, dict[str, object]]:
    if seed == 2:
        raise ValueError("two is too much.")
    return {str(seed): {"right": seed}}


def die(seed: int) -> dict[str, dict[str, object]]:
    os._exit(1)


def tasks(count: int, *arguments: object) -> list[Task]:
    return [Task(f"seed {seed}", (seed, *arguments)) for seed in range(count)]


def test_every_executor_gives_the_same_file(tmp_path, monkeypatch):
    """In this process, in two fresh ones, in threads: the bytes agree, in whichever order the results came."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    files = []
    with ThreadPoolExecutor(3) as threads:
        for name, where in (("one", {"jobs": 1}), ("two", {"jobs": 2}), ("threads", {"executor": threads})):
            path = tmp_path / f"{name}.json"
            sweep(draw, tasks(4, 5), Kept(path, "draws", SETTINGS), **where)
            files.append(path.read_bytes())
        assert threads.submit(int).result() == 0, "an executor that was handed in is left running"
    assert files[0] == files[1] == files[2] and files[0].isascii()
    assert json.loads(files[0])["results"]["seed 3"]["sum"] == float(np.random.default_rng(3).random(5).sum())


def test_processes_of_ones_own_have_one_thread_and_the_setting_is_put_back(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = dict(os.environ)
    kept = Kept(None, "draws", SETTINGS)
    sweep(draw, tasks(2, 5), kept, jobs=2)
    assert {outcome["threads"] for outcome in kept.results.values()} == {"1"}
    assert dict(os.environ) == before


def test_a_study_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "kept.json"
    with pytest.raises(SweepError, match="seed 2: two is too much. What was finished is kept"):
        sweep(fail_at_two, tasks(4), Kept(path, "s", SETTINGS), jobs=1)
    again = Kept(path, "s", SETTINGS)
    assert sorted(again.results) == ["0", "1"]
    sweep(fail_at_two, [Task("seed 3", (3,))], again, jobs=1)
    assert sorted(Kept(path, "s", SETTINGS).results) == ["0", "1", "3"]


def test_a_failure_on_an_executor_names_its_task_and_cancels_what_waits():
    class ByHand(Executor):
        """Runs the first three at once and leaves the others waiting."""

        def submit(self, function, *args):
            future: Future = Future()
            made.append(future)
            if len(made) <= 3:
                try:
                    future.set_result(function(*args))
                except ValueError as error:
                    future.set_exception(error)
            return future

    made: list[Future] = []
    with pytest.raises(SweepError, match="from seed 2: two"):
        sweep(fail_at_two, tasks(6), Kept(None, "s", {}), executor=ByHand())
    assert all(future.cancelled() for future in made[3:])


@pytest.mark.slow
def test_a_process_that_dies_is_reported():
    with pytest.raises(SweepError, match="every task must come to its end"):
        sweep(die, tasks(2), Kept(None, "s", {}), jobs=2)


def test_progress_counts_and_reckons_the_time_left_by_cost(monkeypatch):
    clock = iter([0.0, 0.0, 10.0, 40.0])
    monkeypatch.setattr(sweep_module.time, "perf_counter", lambda: next(clock))
    said: list[Progress] = []
    sweep(fail_at_two, [Task("a", (0,), 1.0), Task("b", (1,), 3.0)], Kept(None, "s", {}), jobs=1, progress=said.append)
    assert said == [Progress(0, 2, 0.0, None, ""), Progress(1, 2, 10.0, 30.0, "a"), Progress(2, 2, 40.0, 0.0, "b")]


def test_jobs_must_be_one_at_least():
    assert processors() >= 1
    with pytest.raises(ValueError, match="jobs must be 1 or more, got 0"):
        sweep(draw, [], Kept(None, "s", {}), jobs=0)


def test_a_dask_cluster_gives_the_same_results():
    """On a local cluster of one worker; needs the extra `cluster`."""
    distributed = pytest.importorskip("distributed")
    # By name, or it would look up its address on the network.
    local = {"n_workers": 1, "threads_per_worker": 1, "host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": None}
    with distributed.LocalCluster(**local) as cluster:
        with distributed.Client(cluster) as client:
            here, there = Kept(None, "draws", SETTINGS), Kept(None, "draws", SETTINGS)
            sweep(draw, tasks(3, 5), there, executor=client.get_executor())
            sweep(draw, tasks(3, 5), here, jobs=1)
    assert here.results == there.results


@pytest.mark.parametrize(
    "content, message",
    [
        (b"not json", "must be a file of results, got no JSON"),
        (b"[1]", "got something else"),
        (b'{"format": "tinyquant", "version": 2, "kind": "study"}', "got something else"),
        (b'{"format": "tinyquant", "version": 1, "kind": "study", "study": "s", "settings": {"n": 1}}', "made with settings"),
        (b'{"format": "tinyquant", "version": 1, "kind": "study", "study": "t", "settings": {}}', "made with study"),
        (b'{"format": "tinyquant", "version": 1, "kind": "study", "study": "s", "settings": {}, "results": [1]}', "must hold"),
    ],
)
def test_a_file_that_is_broken_foreign_or_of_other_settings_is_refused_and_left(tmp_path, content, message):
    path = tmp_path / "kept.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Kept(path, "s", {})
    assert path.read_bytes() == content
