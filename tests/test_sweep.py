"""Sweeps: the same results on every executor, kept in one file, resumed, and honest about what went wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest

from tinyquant.study import sweep as sweep_module
from tinyquant.study.kept import Kept, as_json
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


@pytest.mark.parametrize("number, said", [
    (np.int64(3), "Object of type int64 is not JSON serializable"),
    (float("nan"), "Out of range float values are not JSON compliant"),
])  # fmt: skip
@pytest.mark.parametrize("where", ["here", "threads"])
def test_what_cannot_be_kept_is_a_failure_of_its_task_and_changes_nothing(tmp_path, number, said, where):
    kept = Kept(tmp_path / "kept.json", "s", {})
    kept.add({"before": {"right": 1}})
    before = kept.path.read_bytes()
    message = f"got from seed 0: a result must be what JSON holds, got for 'seed 0': {said}.* What was finished is kept"
    with ThreadPoolExecutor(1) as threads, pytest.raises(SweepError, match=message):
        on = {"jobs": 1} if where == "here" else {"executor": threads}
        sweep(lambda seed: {"seed 0": {"right": number}}, tasks(1), kept, **on)
    with pytest.raises(ValueError, match=r"Give plain and finite numbers: int\(n\), float\(x\)\."):
        kept.add({"good": {"right": 2}, "seed 0": {"right": number}})
    assert kept.results == {"before": {"right": 1}} and kept.path.read_bytes() == before


def test_results_are_the_same_in_memory_as_from_the_file(tmp_path):
    kept = Kept(tmp_path / "kept.json", "s", {})
    kept.add({"one": {"pair": "another"}})
    kept.add({"one": {"pair": (1, 2.5)}})
    assert kept.results == {"one": {"pair": [1, 2.5]}} == Kept(tmp_path / "kept.json", "s", {}).results
    with pytest.raises(ValueError, match="results must be a dict of key to outcome, got list"):
        as_json([1])
    with pytest.raises(ValueError, match="results must be a dict of text to dict, got 3: dict"):
        as_json({3: {}})
    with pytest.raises(ValueError, match="got 'a': int"):
        as_json({"a": 1})


def test_an_executor_that_takes_nothing_is_said_to():
    threads = ThreadPoolExecutor(1)
    threads.shutdown()
    message = "the executor must take every task, got at seed 0: cannot schedule new futures after shutdown. Hand in one that is"
    with pytest.raises(SweepError, match=message):
        sweep(draw, tasks(2, 5), Kept(None, "s", {}), executor=threads)


KILLED = """
import sys, time
from tinyquant.study.kept import Kept
from tinyquant.study.sweep import Task, sweep

def wait(n):
    time.sleep(0 if n < 3 else 600)
    return {str(n): {"n": n}}

if __name__ == "__main__":
    tasks = [Task(str(n), (n,)) for n in range(9)]
    sweep(wait, tasks, Kept(sys.argv[1], "s", {}), jobs=2, progress=lambda now: print(now.done, flush=True))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="its processes know no signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_run_that_is_killed_leaves_no_process_and_a_sound_file(tmp_path, name):
    """Nobody holds its output any more: reading it comes to an end, though the processes had ten minutes of work."""
    script, path = tmp_path / "killed.py", tmp_path / "kept.json"
    script.write_text(KILLED)
    run = subprocess.Popen(
        [sys.executable, str(script), str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        for line in run.stdout:
            if line == "3\n":
                break
        run.send_signal(getattr(signal, name))
        run.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise
    assert run.returncode == -getattr(signal, name)
    assert Kept(path, "s", {}).results == {str(n): {"n": n} for n in range(3)}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept.json", "killed.py"]


@pytest.mark.skipif(sys.platform == "win32", reason="no lock on a folder there, as `Kept.add` says")
def test_two_studies_at_once_keep_what_the_other_found(tmp_path):
    """Each reads what is there before it writes, alone: 80 results of eight writers, all in the file."""
    path = tmp_path / "kept.json"
    writers = [Kept(path, "s", SETTINGS) for _ in range(8)]

    def work(number, kept):
        for n in range(10):
            kept.add({f"{number} {n}": {"n": n}})

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Kept(path, "s", SETTINGS).results == {f"{k} {n}": {"n": n} for k in range(8) for n in range(10)}
    assert [file.name for file in tmp_path.iterdir()] == ["kept.json"]


def test_a_file_that_became_another_studys_meanwhile_is_refused_and_left(tmp_path):
    path = tmp_path / "kept.json"
    late = Kept(path, "s", {"n": 1})
    Kept(path, "s", {"n": 2}).add({"a": {"n": 2}})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="must have been made with settings n 1, got n 2"):
        late.add({"b": {"n": 1}})
    assert path.read_bytes() == before


def test_a_path_may_be_text_and_lie_in_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Kept("kept.json", "s", {}).add({"a": {"n": 1}})
    assert Kept("kept.json", "s", {}).results == {"a": {"n": 1}}
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Kept("nowhere/kept.json", "s", {}).add({"a": {"n": 1}})


def test_what_a_reader_refuses_is_named_with_file_and_entry():
    kept = Kept(None, "s", {})
    kept.add({"a": {"n": 1}})
    assert kept.read("a", lambda outcome: outcome["n"]) == 1

    def refuse(outcome):
        raise ValueError("n must be even, got 1.")

    with pytest.raises(ValueError, match="^the results, entry 'a': n must be even, got 1. Delete the entry, or move the file"):
        kept.read("a", refuse)


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
