"""MNIST and CIFAR-10 from files the reader already has: nothing here ever opens a connection.

Both formats are a small header, or none, and then plain bytes. Each reader works out from the header how many bytes
must follow and holds that against the file *before* it asks for memory, so a truncated, padded or hostile file ends
in one sentence instead of a wrong image or a full machine.
With this module one can use the two classic image sets with the reference networks.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .packaged import Split

_DEFLATE_LIMIT = 1032  # no deflate stream can grow by more than this factor (zlib's technical notes)
_CHUNK = 1 << 20
_CIFAR_RECORD = 1 + 3 * 32 * 32
_MNIST_FILES = ("train-images", "train-labels", "t10k-images", "t10k-labels")


def mnist(path: str | os.PathLike[str], *, limit: int | None = None) -> Split:
    """MNIST, or any set in its format (Fashion-MNIST, KMNIST), from the four IDX files in one folder.

    Parameters
    ----------
    path : str or path
        The folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
        `t10k-labels-idx1-ubyte`, each plain or `.gz`; the spelling `train-images.idx3-ubyte` is found as well.
    limit : int >= 1 or None
        Keep only the first `limit` images of each part; None keeps all.

    Returns
    -------
    (x, y), (xt, yt)
        Images (N, 28, 28, 1) float32 in [0, 1] (the bytes over 255); labels int64 in [0, 9].

    Raises
    ------
    FileNotFoundError
        If a file is missing: its name and the folder that was searched.
    ValueError
        If a file is not IDX, is cut short or too long, holds other than 28x28 images or labels above 9, or if
        images and labels differ in number.

    References
    ----------
    LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "File formats".
    """
    folder, rows = Path(path), _rows(limit)
    image_file, label_file, test_image_file, test_label_file = (_find_idx(folder, stem) for stem in _MNIST_FILES)
    return _mnist_part(image_file, label_file, rows), _mnist_part(test_image_file, test_label_file, rows)


def cifar10(path: str | os.PathLike[str], *, limit: int | None = None) -> Split:
    """CIFAR-10, binary version, from `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`.

    Parameters
    ----------
    path : str or path
        The folder with the six files, or the folder that holds `cifar-10-batches-bin`.
    limit : int >= 1 or None
        Keep only the first `limit` images of each part (files past it are not opened); None keeps all: 614 MB of
        float32 for the usual 50000 training images.

    Returns
    -------
    (x, y), (xt, yt)
        Images (N, 32, 32, 3) float32 in [0, 1], channels red, green, blue; labels int64 in [0, 9].

    Raises
    ------
    FileNotFoundError
        If a file is missing: its name and the folder that was searched.
    ValueError
        If a file is empty, is no whole number of 3073-byte records, or holds a label above 9.

    References
    ----------
    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; "Binary version" of its data page.
    """
    folder, rows = Path(path), _rows(limit)
    inner = folder / "cifar-10-batches-bin"
    folder = inner if inner.is_dir() else folder
    train = _cifar_part(folder, [f"data_batch_{k}.bin" for k in range(1, 6)], rows)
    return train, _cifar_part(folder, ["test_batch.bin"], rows)


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one IDX file of bytes, plain or gzip: magic 0, 0, 8, rank; the sizes as big-endian int32; the bytes.

    Returns
    -------
    uint8 array of the shape in the header, the caller's own

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the header is not IDX of bytes, or the file holds other than the bytes its header announces.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "tiny-idx1-ubyte")
    ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    ...     read_idx(file).tolist()
    [7, 8, 9]
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be an IDX file, got no such file. Check the path.")
    with open(path, "rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        size = os.fstat(plain.fileno()).st_size
        plain.seek(0)
        if not packed:
            return _read_idx(plain, path, size)
        try:
            with gzip.GzipFile(fileobj=plain) as stream:
                return _read_idx(stream, path, size * _DEFLATE_LIMIT)  # type: ignore[arg-type]
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} must be a whole gzip file, got: {error}. Copy it again.") from None


def _read_idx(stream: BinaryIO, path: Path, most: int) -> np.ndarray:
    """The array in an open IDX stream that can not hold more than `most` bytes."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:3] != b"\x00\x00\x08" or not 1 <= magic[3] <= 4:
        raise ValueError(
            f"{path} must begin with the IDX magic bytes 0, 0, 8, rank (1 to 4), got {list(magic)}. "
            "It is not an IDX file of bytes; for a folder of other files use another reader."
        )
    header = stream.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise ValueError(
            f"{path} must hold {magic[3]} sizes after its magic bytes, got a file cut short. Copy it again."
        )
    shape = struct.unpack(f">{magic[3]}I", header)
    need = math.prod(shape)
    start = 4 + len(header)
    if start + need > most:
        raise ValueError(
            f"{path} must hold {need} bytes for its shape {shape}, got a file that can not hold more than "
            f"{max(most - start, 0)}. It was cut short or its header is damaged: copy it again."
        )
    content = bytearray()
    while len(content) <= need:  # one byte past the end, so that a file too long is seen
        piece = stream.read(min(_CHUNK, need + 1 - len(content)))
        if not piece:
            break
        content += piece
    if len(content) != need:
        found = f"only {len(content)}" if len(content) < need else "more"
        raise ValueError(f"{path} must hold {need} bytes for its shape {shape}, got {found}. Copy it again.")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _find_idx(folder: Path, stem: str) -> Path:
    """The file of one MNIST part under any of its four usual names."""
    kind = "idx3-ubyte" if stem.endswith("images") else "idx1-ubyte"
    names = [f"{stem}{joint}{kind}{end}" for joint in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"{names[0]} (or {names[1]}) must be in the folder, got no such file in {folder.resolve()}. "
        "Nothing is ever downloaded: put the four MNIST files there, or use digits(), which is packaged."
    )


def _mnist_part(image_file: Path, label_file: Path, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one part, checked against each other."""
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise ValueError(f"{image_file} must hold images (N, 28, 28), got {images.shape}. Is it an images file?")
    if labels.ndim != 1:
        raise ValueError(f"{label_file} must hold labels (N,), got {labels.shape}. Is it a labels file?")
    if len(images) != len(labels):
        raise ValueError(
            f"images and labels must be as many, got {len(images)} in {image_file} and {len(labels)} in {label_file}. "
            "Take both files from one set."
        )
    _check_labels(labels, label_file)
    return _unit(images[rows])[..., None], labels[rows].astype(np.int64)


def _cifar_part(folder: Path, names: list[str], rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """The records of several CIFAR-10 files, one after another, up to the last row wanted."""
    parts: list[np.ndarray] = []
    for name in names:
        if rows.stop is not None and sum(len(part) for part in parts) >= rows.stop:
            break
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(
                f"{name} must be in the folder, got no such file in {folder.resolve()}. Nothing is ever downloaded: "
                "put the six files of the binary version there, or use digits(), which is packaged."
            )
        size = path.stat().st_size
        if size == 0 or size % _CIFAR_RECORD:
            raise ValueError(
                f"{path} must hold whole records of {_CIFAR_RECORD} bytes, got {size} bytes. "
                "It was cut short, or is not the binary version: copy it again."
            )
        records = np.fromfile(path, dtype=np.uint8).reshape(-1, _CIFAR_RECORD)
        _check_labels(records[:, 0], path)
        parts.append(records)
    records = np.concatenate(parts)[rows]
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return _unit(np.ascontiguousarray(planes.transpose(0, 2, 3, 1))), records[:, 0].astype(np.int64)


def _check_labels(labels: np.ndarray, path: Path) -> None:
    """Refuse a label that no class of ten has."""
    if labels.size and int(labels.max()) > 9:
        raise ValueError(
            f"labels in {path} must lie in 0 to 9, got {int(labels.max())}. The file is damaged: copy it again."
        )


def _unit(pixels: np.ndarray) -> np.ndarray:
    """Bytes 0 to 255 as float32 0 to 1."""
    unit: np.ndarray = pixels.astype(np.float32) / np.float32(255)
    return unit


def _rows(limit: int | None) -> slice:
    """The first `limit` rows as a slice."""
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more, or None for all, got {limit}. Leave it out to read everything.")
    return slice(limit)
