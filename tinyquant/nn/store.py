"""Weights in a file: an .npz of plain arrays with one header, written whole or not at all, read without pickle.

    header   JSON text: {"format": "tinyquant", "version": 1, "kind": "state", "about": {...}}
    others   one array a parameter or buffer, under its path

With this module one can keep a trained network and get it back bit for bit; a file that is broken, foreign or of
another network is refused with a message and leaves the module as it was.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .module import Module

Fact = str | int | float | bool | None
About = dict[str, Fact]

_HEADER = "header"
_FORMAT = {"format": "tinyquant", "version": 1, "kind": "state"}
_BROKEN = (OSError, EOFError, ValueError, KeyError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def save_state(module: Module, path: str | os.PathLike[str], about: Mapping[str, Fact] | None = None) -> None:
    """Write all parameters and buffers of a module to `path`.

    Parameters
    ----------
    module : Module
    path : str or path
        Written to a temporary file beside it first and moved into place at the end: an interrupted save leaves an
        older file as it was.
    about : mapping, optional
        Short facts to keep with the weights (the command that made them, an accuracy); anything JSON holds.

    Raises
    ------
    ValueError
        If a parameter's path is "header", which the file needs for itself.
    OSError
        If the folder is not there or can not be written.
    """
    target = Path(path)
    arrays = module.state_dict()
    if _HEADER in arrays:
        raise ValueError('a parameter must not be called "header", got one. Rename the attribute.')
    header = json.dumps(_FORMAT | {"about": dict(about or {})}, sort_keys=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            _write(file, {_HEADER: np.array(header)} | arrays)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def load_state(module: Module, path: str | os.PathLike[str]) -> About:
    """Read the file of `save_state` into a module of the same structure; returns what was said about it.

    Parameters
    ----------
    module : Module
        Changed in place, all of it or (when this raises) nothing.
    path : str or path

    Returns
    -------
    dict
        The `about` given to `save_state`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, was not made by `save_state`, or holds the state of another network.
    """
    header, arrays = _read(Path(path))
    try:
        module.load_state_dict(arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    about: About = header["about"]  # type: ignore[assignment]
    return about


def read_about(path: str | os.PathLike[str]) -> About:
    """Read what was said about saved weights, without a module.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_state`.
    """
    about: About = _read(Path(path))[0]["about"]  # type: ignore[assignment]
    return about


def _write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """An .npz without numpy's limits on names and without a date: same arrays, same bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for key, array in arrays.items():
            member = zipfile.ZipInfo(f"{key}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def _read(path: Path) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """The checked header and the arrays of a state file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a saved state, got no such file. Check the path.")
    try:
        loaded = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("one array without names")
        with loaded as archive:
            arrays = {key: archive[key] for key in archive.files}
        header = json.loads(str(arrays.pop(_HEADER)[()]))
    except _BROKEN as error:
        raise ValueError(
            f"{path} must be a whole file written by save_state, got: {type(error).__name__} {error}. "
            "It was damaged or is something else: save it again."
        ) from None
    found = {key: header.get(key) for key in _FORMAT} if isinstance(header, dict) else header
    if found != _FORMAT or not isinstance(header.get("about"), dict):
        raise ValueError(f"{path} must have the header {_FORMAT}, got {found}. Load it with the function that saved it.")
    return header, arrays
