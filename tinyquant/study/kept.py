"""The results of a study in one file, so that what took an hour is not lost and a study can go on where it stopped.

The file is JSON text: what it is, the settings it was made with, and one entry a result. It is written whole after every
result that comes in, together with what other studies at work on the same file have put there meanwhile; results made with other
settings are not mixed with it.
With this module one can keep results and find them again (`Kept`), and see what a file would give back (`as_json`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tinyquant.interop.files import write_atomically

if sys.platform != "win32":
    import fcntl

__all__ = ["Kept", "Outcome", "as_json"]

_T = TypeVar("_T")

Outcome = dict[str, Any]
"""What one run gives: names to numbers, texts, or lists of them; what JSON holds."""

_FORMAT = {"format": "tinyquant", "version": 1, "kind": "study"}


class Kept:
    """Results by key, in memory and, with a path, in a file.

    Parameters
    ----------
    path : path, str or None
        Read if it is there. None keeps nothing.
    study : str
        Which study; part of what must agree.
    settings : mapping
        Everything that a result depends on besides its key; what JSON holds.

    Attributes
    ----------
    results : dict of str to Outcome
    path : Path or None

    Raises
    ------
    ValueError
        If the file is broken, something else, or made with other settings; it is left as it was.

    Examples
    --------
    >>> kept = Kept(None, "table", {"epochs": 3})
    >>> kept.add({"mlp, seed 0": {"right": 440}})
    >>> kept.results
    {'mlp, seed 0': {'right': 440}}
    """

    def __init__(self, path: str | os.PathLike[str] | None, study: str, settings: Mapping[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        # Through text, so that settings compare as a file has them: tuples become lists.
        self.header: dict[str, Any] = json.loads(json.dumps({**_FORMAT, "study": study, "settings": dict(settings)}))
        self.results: dict[str, Outcome] = {}
        if self.path is not None and self.path.exists():
            self.results = self._read(self.path)

    def add(self, found: Mapping[str, Outcome]) -> None:
        """Take results in, and write the file with what it holds already.

        Raises
        ------
        ValueError
            If a result is not what JSON holds: nothing is taken in. If the file has become something else: it is left as it is.

        Notes
        -----
        One writer at a time, by a lock on the folder, so that of two studies at once neither drops what the other found. Without
        such locks (Windows, some network folders) a result that both wrote in the same instant may be lost; it runs again.
        """
        self.results.update(as_json(found))
        if self.path is None:
            return
        with _alone_in(Path(os.path.realpath(self.path)).parent):
            there = self._read(self.path) if self.path.exists() else {}
            self.results = {**there, **self.results}
            text = json.dumps({**self.header, "results": dict(sorted(self.results.items()))}, indent=0, allow_nan=False)
            write_atomically(self.path, (text + "\n").encode("ascii"))

    def read(self, key: str, how: Callable[[Outcome], _T]) -> _T:
        """What `how` makes of a result; what it refuses is named with the file and the entry.

        Raises
        ------
        KeyError
            If there is no such result.
        ValueError
            If `how` raises one: the entry is damaged.
        """
        outcome = self.results[key]
        try:
            return how(outcome)
        except ValueError as error:
            raise ValueError(
                f"{self.path or 'the results'}, entry {key!r}: {error} "
                "Delete the entry, or move the file away: what is missing is run again."
            ) from None

    def _read(self, path: Path) -> dict[str, Outcome]:
        """The results of a file of this very study."""
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(
                f"{path} must be a file of results, got no JSON ({error}). Move it away, or name another file."
            ) from None
        if not isinstance(content, dict) or any(content.get(key) != value for key, value in _FORMAT.items()):
            raise ValueError(f"{path} must be a file of results, got something else. Move it away, or name another file.")
        for key in ("study", "settings"):
            if content.get(key) != self.header[key]:
                want, got = _apart(self.header[key], content.get(key))
                raise ValueError(
                    f"the results in {path} must have been made with {key} {want}, got {got}. "
                    "Move the file away, or name another."
                )
        results = content.get("results")
        if not isinstance(results, dict) or not all(isinstance(outcome, dict) for outcome in results.values()):
            raise ValueError(f"{path} must hold results, got none. Move it away, or name another file.")
        return results


def as_json(found: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Results as a file gives them back: tuples become lists.

    Raises
    ------
    ValueError
        If one of them is not what JSON holds.

    Examples
    --------
    >>> as_json({"seed 3": {"right": (440, 441)}})
    {'seed 3': {'right': [440, 441]}}
    """
    if not isinstance(found, Mapping):
        raise ValueError(f"results must be a dict of key to outcome, got {type(found).__name__}.")
    made = {}
    for key, outcome in found.items():
        if not isinstance(key, str) or not isinstance(outcome, dict):
            raise ValueError(f"results must be a dict of text to dict, got {key!r}: {type(outcome).__name__}.")
        try:
            made[key] = json.loads(json.dumps(outcome, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"a result must be what JSON holds, got for {key!r}: {error}. Give plain and finite numbers: int(n), float(x)."
            ) from None
    return made


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Nobody else who asks for this is in the folder meanwhile; the end of a process, of any kind, gives it free."""
    lock = None
    if sys.platform != "win32":
        try:
            lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass  # no such folder: writing will say so; no locks on this kind of disk: results are merged all the same
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _apart(want: Any, got: Any) -> tuple[str, str]:
    """Two things as JSON; of two tables only the entries that differ."""
    if isinstance(want, dict) and isinstance(got, dict):
        keys = sorted(key for key in {*want, *got} if key not in want or key not in got or want[key] != got[key])
        pairs = [(_apart(want[key], got[key]) if key in want and key in got else _one_sided(want, got, key)) for key in keys]
        one, other = (", ".join(f"{key} {pair[side]}" for key, pair in zip(keys, pairs)) for side in (0, 1))
        return one, other
    return json.dumps(want), json.dumps(got)


def _one_sided(want: dict[str, Any], got: dict[str, Any], key: str) -> tuple[str, str]:
    """An entry that only one of two tables has."""
    return json.dumps(want[key]) if key in want else "(none)", json.dumps(got[key]) if key in got else "(none)"
