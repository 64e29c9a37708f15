"""The package's own file: a zip of plain arrays and one page of JSON, for whatever of ours is worth keeping.

An archive is what `numpy.load` opens (an .npz), plus a member ``header.json`` that any unzip program shows. The header
begins with three entries: ``format`` ("tinyquant"), ``version`` (a whole number) and ``kind`` ("integer", ...), which says
what was saved, and therefore what `load` gives back. Nothing is unpickled, and nothing is compressed: what is read
cannot be larger than the file, whatever its numbers say.

With this module one can write and read archives (`write_archive`, `read_archive`), load whatever was saved (`load`)
and teach `load` a new kind (`register_kind`).
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tinyquant.interop.files import write_atomically

__all__ = ["ARCHIVE_VERSION", "ArchiveError", "load", "read_archive", "register_kind", "write_archive"]

FORMAT = "tinyquant"
ARCHIVE_VERSION = 1
"""Written into every archive; a file of a later version is refused."""

HEADER = "header.json"
LARGEST_HEADER = 16 * 2**20
"""In bytes: a parsed page of JSON takes many times its length in memory."""

DTYPES = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")
"""What an array may hold, in numpy's spelling."""

_KEY = re.compile(r"[A-Za-z0-9_.\-/ ]{1,200}")
_NPY = re.compile(rb"\{'descr': '([^']{3})', 'fortran_order': False, 'shape': \(((?:\d{1,19}, )*(?:\d{1,19},?)?)\), \} *\n")
_MAGIC = b"\x93NUMPY\x01\x00"
_LOADERS: dict[str, Callable[[dict[str, Any], dict[str, np.ndarray]], object]] = {}


class ArchiveError(ValueError):
    """An archive that cannot be read: damaged, foreign, or of a later version."""


def register_kind(kind: str, loader: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> None:
    """Teach `load` a kind of archive: loader(header, arrays) -> the object that was saved.

    The loader may raise any of ValueError, TypeError, KeyError, IndexError, AttributeError and OverflowError for a
    header that is not what it should be: `load` makes an `ArchiveError` of it.
    """
    _LOADERS[kind] = loader


def load(path: str | os.PathLike[str]) -> Any:
    """Whatever was saved there: the type saved is the type loaded.

    Parameters
    ----------
    path : path
        A file that `save` wrote.

    Returns
    -------
    IntegerModel, FakeQuantModel, ...

    Raises
    ------
    ArchiveError
        The file is damaged, cut short, not one of ours, or of a later version. Nothing is changed or executed.
    OSError
        There is no such file, or it cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_archive(f"{folder}/a.npz", "numbers", {}, {"x": np.arange(3)})
    ...     register_kind("numbers", lambda header, arrays: arrays["x"].tolist())
    ...     load(f"{folder}/a.npz")
    [0, 1, 2]
    """
    kind, header, arrays = read_archive(path)
    name = Path(path).name
    if kind not in _LOADERS:
        known = ", ".join(sorted(_LOADERS))
        raise ArchiveError(f"{name!r} must hold a model of kind {known}, got kind {kind!r}. Import tinyquant as a whole.")
    try:
        return _LOADERS[kind](header, arrays)
    except ArchiveError as error:
        raise ArchiveError(f"{name!r}: {error}") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ArchiveError(f"{name!r} must hold a sound {kind} model, got one that is not: {what}") from error


def write_archive(
    path: str | os.PathLike[str], kind: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write an archive, whole or not at all. The same content gives the same bytes.

    Parameters
    ----------
    path : path
        Taken as it is; ".npz" is the custom.
    kind : str
        What it is: the name that `load` looks up.
    header : mapping
        JSON: strings, numbers, booleans, None, lists and dicts with string keys. The keys "format", "version" and
        "kind" are ours.
    arrays : mapping of str to ndarray
        Numbers or booleans, any shape. Keys of letters, digits and ``_ . - /``.

    Raises
    ------
    ValueError, TypeError
        Something that the archive cannot hold; no file is touched.
    """
    taken = sorted({"format", "version", "kind"} & set(header))
    if taken:
        raise ValueError(f"header must leave the keys format, version and kind to the archive, got {taken}.")
    try:
        page = json.dumps(
            {"format": FORMAT, "version": ARCHIVE_VERSION, "kind": kind, **header}, allow_nan=False, indent=1
        ).encode()
    except (TypeError, ValueError) as error:
        raise TypeError(f"header must be JSON (finite numbers, strings, lists, dicts), got {error}.") from error
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        file.writestr(_member(HEADER), page)
        for key, array in arrays.items():
            file.writestr(_member(f"{_checked_key(key)}.npy"), _npy(key, array))
    write_atomically(path, buffer.getvalue())


def read_archive(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Kind, header (without the archive's own three entries) and arrays of an archive.

    Parameters
    ----------
    path : path

    Returns
    -------
    (str, dict, dict of str to ndarray)
        The arrays are the caller's own, and may be written to.

    Raises
    ------
    ArchiveError
        As for `load`.
    """
    name = Path(path).name
    data = Path(path).read_bytes()
    try:
        members = _members(data)
        header = _header(members.pop(HEADER, None))
        arrays = {key.removesuffix(".npy"): _array(key, content) for key, content in members.items()}
    except ArchiveError as error:
        raise ArchiveError(f"{name!r}: {error}") from error
    for key in ("format", "version"):
        del header[key]
    return header.pop("kind"), header, arrays


# Members


def _member(name: str) -> zipfile.ZipInfo:
    """A member with a date of its own, so that the same model gives the same bytes tomorrow."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    return info


def _members(data: bytes) -> dict[str, bytes]:
    """The content of every member; only plainly stored ones, which add up to at most the file."""
    if data[4:8] == b"TFL3":
        raise ArchiveError("an archive must be a zip file, got a .tflite file. Load it with load_tflite.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            infos = file.infolist()
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                raise ArchiveError("an archive must be uncompressed, got compressed members. Save it with tinyquant.")
            if sum(info.file_size for info in infos) > len(data):
                raise ArchiveError(f"the members must fit into the file's {len(data)} bytes, got larger ones. It is damaged.")
            if len({info.filename for info in infos}) < len(infos):
                raise ArchiveError("members must have names of their own, got one twice. The file is damaged.")
            return {info.filename: file.read(info) for info in infos}
    except ArchiveError:
        raise
    # zipfile does not say which exceptions a hostile file can make it raise, and it raises many.
    except Exception as error:
        raise ArchiveError(f"an archive must be a sound zip file, got one that is not ({error}).") from error


def _header(page: bytes | None) -> dict[str, Any]:
    """The parsed header, of our format and of a version we know."""
    if page is None:
        raise ArchiveError(f"an archive must have a member {HEADER}, got none. Only files that tinyquant saved can be loaded.")
    if len(page) > LARGEST_HEADER:
        raise ArchiveError(f"the header must be at most {LARGEST_HEADER} bytes, got {len(page)}.")
    try:
        header = json.loads(page.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"the header must be JSON, got something else ({error}). The file is damaged.") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT or not isinstance(header.get("kind"), str):
        raise ArchiveError(f"the header must say format {FORMAT!r} and a kind, got something else. The file is not one of ours.")
    version = header.get("version")
    if type(version) is not int or version < 1:
        raise ArchiveError(f"the header must give a version from 1, got {version!r}. The file is damaged.")
    if version > ARCHIVE_VERSION:
        raise ArchiveError(
            f"the version must be at most {ARCHIVE_VERSION}, got {version}: a later tinyquant wrote the file. Upgrade tinyquant."
        )
    return header


def _no_constant(name: str) -> float:
    """JSON has no NaN and no Infinity; Python's reader would take them."""
    raise ValueError(f"the number {name}")


def _checked_key(key: str) -> str:
    """A key that is a good member name everywhere."""
    if not _KEY.fullmatch(key) or key.startswith("/") or ".." in key:
        raise ValueError(f"array keys must be letters, digits and _ . - /, got {key!r}.")
    return key


def _npy(key: str, array: np.ndarray) -> bytes:
    """An array as numpy writes it, in C order and little-endian."""
    array = np.asarray(array)
    stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
    if stored.dtype.str not in DTYPES:
        raise TypeError(f"arrays must hold numbers or booleans, got {array.dtype} under {key!r}.")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, stored, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _array(member: str, content: bytes) -> np.ndarray:
    """The array of a member: its description read with a pattern, nothing evaluated, its size known before it is made."""
    length = int.from_bytes(content[8:10], "little")
    match = _NPY.fullmatch(content[10 : 10 + length])
    if not member.endswith(".npy") or content[:8] != _MAGIC or match is None or match[1].decode("latin-1") not in DTYPES:
        raise ArchiveError(f"member {member!r} must be an array of numbers in C order, got something else. The file is damaged.")
    dtype = np.dtype(match[1].decode())
    shape = tuple(int(size) for size in match[2].replace(b",", b"").split())
    if len(shape) > 32 or prod(shape) * dtype.itemsize != len(content) - 10 - length:
        raise ArchiveError(
            f"member {member!r} must have the bytes of its shape {shape[:33]} of {dtype}, got {len(content) - 10 - length}. "
            "The file is damaged."
        )
    return np.frombuffer(content, dtype, offset=10 + length).reshape(shape).copy()
