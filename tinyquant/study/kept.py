"""The results of a study in one file, so that what took an hour is not lost and a study can go on where it stopped.

The file is JSON text: what it is, the settings it was made with, and one entry a result. It is written whole after every
result that comes in; results made with other settings are not mixed with it.
With this module one can keep results and find them again (`Kept`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyquant.interop.files import write_atomically

__all__ = ["Kept", "Outcome"]

Outcome = dict[str, Any]
"""What one run gives: names to numbers, texts, or lists of them; what JSON holds."""

_FORMAT = {"format": "tinyquant", "version": 1, "kind": "study"}


class Kept:
    """Results by key, in memory and, with a path, in a file.

    Parameters
    ----------
    path : path or None
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

    def __init__(self, path: Path | None, study: str, settings: Mapping[str, Any]) -> None:
        self.path = path
        # Through text, so that settings compare as a file has them: tuples become lists.
        self.header: dict[str, Any] = json.loads(json.dumps({**_FORMAT, "study": study, "settings": dict(settings)}))
        self.results: dict[str, Outcome] = {}
        if path is not None and path.exists():
            self.results = self._read(path)

    def add(self, found: Mapping[str, Outcome]) -> None:
        """Take results in, and write the file."""
        self.results.update(found)
        if self.path is not None:
            text = json.dumps({**self.header, "results": dict(sorted(self.results.items()))}, indent=0, allow_nan=False)
            write_atomically(self.path, (text + "\n").encode("ascii"))

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
