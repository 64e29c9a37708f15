"""What every test file shares: hypothesis profiles, the folders of real models, and a network that is not there.

Profiles: ``dev`` (the default here) draws new examples each run; ``ci`` (when the environment says ``CI=true``) draws the same
ones each run, so that a red build is red again. ``HYPOTHESIS_PROFILE=thorough`` draws twenty times as many.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("MPLBACKEND", "Agg")
# Before numpy is loaded: on networks this small the threads of linear algebra only wait for each other, on a busy machine
# for minutes. Who sets a number keeps it.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_name, "1")

# What makes the data under tests/data needs PyTorch, and is no test.
collect_ignore_glob = ["data/*"]

SLOW_MACHINES = (HealthCheck.too_slow,)
settings.register_profile("dev", deadline=None, suppress_health_check=SLOW_MACHINES)
settings.register_profile(
    "ci", deadline=None, derandomize=True, database=None, print_blob=True, suppress_health_check=SLOW_MACHINES
)
settings.register_profile("thorough", settings.get_profile("dev"), max_examples=2000)


def profile_name(environ: dict[str, str]) -> str:
    """The profile asked for by name, else ``ci`` on a build machine, else ``dev``."""
    on_build_machine = environ.get("CI", "").lower() in ("1", "true", "yes")
    return environ.get("HYPOTHESIS_PROFILE") or ("ci" if on_build_machine else "dev")


settings.load_profile(profile_name(dict(os.environ)))

ROOT = Path(__file__).resolve().parent.parent


def shared_folder(name: str, variable: str) -> Path:
    """The folder that ``variable`` names, else ``../shared/<name>`` beside the repository; skips the test when it is absent."""
    folder = Path(os.environ.get(variable) or ROOT.parent / "shared" / name)
    if not folder.is_dir():
        pytest.skip(f"shared {name}: no folder ../shared/{name} beside the repository; {variable} may name another")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The folder of real int8 models with their recorded answers (``TINYQUANT_MODELS`` or ``../shared/models``)."""
    folder = shared_folder("models", "TINYQUANT_MODELS")
    pytest.importorskip("flatbuffers", reason="reading .tflite files needs flatbuffers (extra tflite)")
    return folder


def refuse_to_leave_this_machine(address: Any) -> None:
    """Raise when a socket is about to be connected to another machine (local sockets, which dask uses, are let through)."""
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(address, tuple) and not (str(host).startswith("127.") or str(host) in ("localhost", "::1")):
        raise AssertionError(f"the package opens no connection, but something connected to {host}")


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Nothing in the package opens a connection: whoever tries, in any test, fails that test."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded(self: socket.socket, address: Any) -> None:
        refuse_to_leave_this_machine(address)
        connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:
        refuse_to_leave_this_machine(address)
        return connect_ex(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        patch.setattr(socket.socket, "connect_ex", guarded_ex)
        yield


@pytest.fixture(autouse=True)
def figures_are_closed() -> Iterator[None]:
    """A test that draws leaves no figure open (only looked at when something has imported pyplot)."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
