"""`tinyquant doctor`: is this machine ready for the labs? One line a check, and the mend where something is wrong."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tinyquant
from tinyquant.labs.sittings import sittings
from tinyquant.labs.sources import starter
from tinyquant.labs.workplace import Progress, lab_folder

__all__ = ["LEAST", "add", "run"]

LEAST = {"numpy": (1, 26), "matplotlib": (3, 7)}
"""The oldest versions, as in setup.cfg."""


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "doctor",
        help="is this machine ready for the labs?",
        description="One line a check, and the mend where something is wrong. Example: tinyquant doctor",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look at everything; 0 when the labs will run, 4 when something they need is missing."""
    ready = True
    for state, what, mend in _findings():
        print(f"{state:<7}{what}")
        if mend:
            print(f"       mend: {mend}")
        ready = ready and state != "BAD"
    print("ready" if ready else "not ready: mend what is BAD")
    return 0 if ready else 4


def _findings() -> Iterator[tuple[str, str, str]]:
    """(ok, note or BAD; what was found; the mend)."""
    yield "ok", f"Python {platform.python_version()}", ""
    yield "ok", f"tinyquant {tinyquant.__version__} in {Path(tinyquant.__file__).parent}", ""
    for name, least in LEAST.items():
        yield _package(name, least)
    for name, what in (
        ("hypothesis", "checks draw more inputs"),
        ("jupytext", "lab start --notebook"),
        ("flatbuffers", ".tflite files"),
    ):
        there = importlib.util.find_spec(name) is not None
        yield ("ok" if there else "note", f"{name} {'is there' if there else 'is not there'} (optional: {what})",
               "" if there else f"python -m pip install {name}, if you want it")  # fmt: skip
    try:
        begun = [starter(one) for one in sittings()]
        yield "ok", f"{len(begun)} labs in the package", ""
    except (OSError, ValueError) as error:
        yield "BAD", f"the labs cannot be read: {error}", "install tinyquant again"
    folder = lab_folder()
    yield _writable(folder if folder.is_dir() else Path.cwd())
    progress = Progress.read(folder)
    yield (
        "note" if progress.trouble else "ok",
        progress.trouble or f"{len(progress.passed)} exercises passed in {folder}",
        "",
    )
    encoding = (sys.stdout.encoding or "").lower()
    yield "ok", f"the terminal writes {encoding or 'an unknown encoding'}; reports are plain ASCII", ""
    threads = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or "not set"
    yield (
        "ok",
        f"{os.cpu_count()} processors; threads of linear algebra: {threads} (commands that train use one)",
        "",
    )


def _package(name: str, least: tuple[int, int]) -> tuple[str, str, str]:
    """A package that must be there."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "BAD", f"{name} is not installed", f"python -m pip install {name}"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    wanted = ".".join(map(str, least))
    good = numbers >= least
    return (
        "ok" if good else "BAD",
        f"{name} {version}",
        "" if good else f'python -m pip install "{name}>={wanted}"',
    )


def _writable(folder: Path) -> tuple[str, str, str]:
    """Whether files can be made in the student's folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return "ok", f"{folder} can be written to", ""
    except OSError as error:
        return "BAD", f"{folder} cannot be written to ({error.strerror})", "change into a folder of your own"
