"""Commands that train run with one thread of linear algebra.

On networks this small the threads mostly wait for each other, on a busy machine for minutes; and how many there are decides
in which order sums are rounded, so a table would depend on the number of cores. The libraries read their settings when
numpy is loaded, which by now it is: hence a fresh process.

With this module a command can ask for that (`run_in_one_thread`), or start such a process itself (`one_thread_environment`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["one_thread_environment", "run_in_one_thread"]

_SETTINGS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def run_in_one_thread(argv: Sequence[str]) -> int | None:
    """Run `tinyquant argv` in a process with one thread; its exit code, or None where the caller has set a number already."""
    if any(name in os.environ for name in _SETTINGS):
        return None
    return subprocess.call([sys.executable, "-m", "tinyquant", *argv], env=one_thread_environment())


def one_thread_environment() -> dict[str, str]:
    """The environment of a process of ours: this very package, and one thread unless somebody has set a number."""
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))
    return {**dict.fromkeys(_SETTINGS, "1"), **os.environ, "PYTHONPATH": path}
