"""The main job as a user runs it: its table, its files, and the same numbers again."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tinyquant.cli import main
from tinyquant.integer.model import IntegerModel
from tinyquant.interop import load

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def demo(folder, **environment):
    env = {key: value for key, value in os.environ.items() if key not in THREADS}
    done = subprocess.run(
        [sys.executable, "-m", "tinyquant", "demo", "--out", str(folder)],
        capture_output=True, text=True, encoding="utf-8", env={**env, **environment}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def without_times_and_paths(table, folder):
    """The last column, the milliseconds, is the one thing that may differ."""
    return re.sub(r" +\d+\.\d{3}$", "", table, flags=re.MULTILINE).replace(str(folder), "FOLDER")


@pytest.mark.slow
def test_the_demo_prints_the_same_table_each_run_and_leaves_what_it_names(tmp_path):
    first, progress = demo(tmp_path / "a")
    rows = [line.split()[:2] for line in first.splitlines() if re.match(r"(float32|PTQ|QAT) ", line)]
    assert rows[0][0] == "float32" and rows[1:] == [
        [kind, f"W{bits}A8"] for bits in (8, 4, 3) for kind in ("PTQ", "QAT")
    ]
    for said in ("95 % interval", "not a device", "newly wrong / newly right", "It shows:", "It does not:", "1.46 points"):
        assert said in first
    assert "training a ConvNet" in progress and first.isascii()
    assert (tmp_path / "a" / "signal.png").read_bytes().startswith(b"\x89PNG")
    for bits in (8, 4, 3):
        for kind in ("ptq", "qat"):
            assert isinstance(load(tmp_path / "a" / f"digits_{kind}_w{bits}.npz"), IntegerModel)
    # One thread by itself, or two by the user's own setting: the first run chose for itself.
    second, _ = demo(tmp_path / "b", OPENBLAS_NUM_THREADS="1")
    assert without_times_and_paths(first, tmp_path / "a") == without_times_and_paths(second, tmp_path / "b")


def test_a_misspelt_command_is_answered_with_the_one_meant(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["demmo"])
    assert stopped.value.code == 2 and "Did you mean 'demo'?" in capsys.readouterr().err


def test_without_a_command_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2 and "--help" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["ten", "10", "-1"])
def test_a_split_that_does_not_exist_is_wrong_usage(wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["demo", "--split", wrong])
    assert stopped.value.code == 2 and "split" in capsys.readouterr().err
