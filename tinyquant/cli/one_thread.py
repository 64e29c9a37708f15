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
import threading
from collections.abc import Sequence
from pathlib import Path

__all__ = ["one_thread_environment", "run_in_one_thread"]

_SETTINGS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_LEASH = "TINYQUANT_LEASH"


def run_in_one_thread(argv: Sequence[str]) -> int | None:
    """Run `tinyquant argv` in a process with one thread; its exit code, or None where the caller has set a number already."""
    if any(name in os.environ for name in _SETTINGS):
        _end_with_starter()
        return None
    command, environment = [sys.executable, "-m", "tinyquant", *argv], one_thread_environment()
    if sys.platform == "win32":
        return subprocess.call(command, env=environment)
    # Nothing is ever written here: it ends when this process does, even one that is killed and can tell nobody.
    read, write = os.pipe()
    try:
        return subprocess.call(command, env={**environment, _LEASH: str(read)}, pass_fds=(read,))
    finally:
        os.close(read)
        os.close(write)


def _end_with_starter() -> None:
    """In the process with one thread: end when the one that waits for it is gone."""
    leash = os.environ.pop(_LEASH, None)
    if leash is None:
        return
    pipe = int(leash)

    def watch() -> None:
        os.read(pipe, 1)
        os._exit(143)

    threading.Thread(target=watch, name="end with starter", daemon=True).start()


def one_thread_environment() -> dict[str, str]:
    """The environment of a process of ours: this very package, and one thread unless somebody has set a number."""
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))
    return {**dict.fromkeys(_SETTINGS, "1"), **os.environ, "PYTHONPATH": path}
