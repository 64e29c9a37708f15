"""What the commands on model files share: reading a model, reading its inputs, naming a node, writing arrays.

Whatever is wrong with a file is said in one sentence, and nothing is written before everything is computed.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinyquant.analysis.explanations.story import plain
from tinyquant.graph import Value
from tinyquant.integer.model import IntegerModel
from tinyquant.interop import load, load_tflite
from tinyquant.interop.files import write_atomically
from tinyquant.numerics.affine import quantize

__all__ = ["npy_bytes", "npz_bytes", "read_codes", "read_model", "write_all"]


def read_model(path: Path) -> IntegerModel:
    """An integer model from a .tflite file or an .npz archive of ours.

    Raises
    ------
    ValueError
        No such file, another suffix, a damaged file, or an archive of something else.
    """
    if path.suffix not in (".tflite", ".npz"):
        raise ValueError(f"MODEL must be a .tflite file or an .npz archive of tinyquant, got {str(path)!r}.")
    if not path.is_file():
        raise ValueError(f"MODEL must be a file, got {str(path)!r}, which is not there.")
    model = load_tflite(path) if path.suffix == ".tflite" else load(path)
    if not isinstance(model, IntegerModel):
        raise ValueError(
            f"MODEL must hold an integer model, got a {type(model).__name__} in {str(path)!r}. Convert it first."
        )
    return model


def read_codes(path: Path, model: IntegerModel) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What the model's inputs take, by name, and what was done to get it.

    An .npy file is the one input; an .npz file holds an array for every input, by name. int8 codes are taken as they are;
    real numbers go through `quantize` where the input wants codes.
    """
    given = _read_arrays(path, model.inputs)
    codes, done = {}, {}
    for value in model.inputs:
        array = given[value.name]
        if array.dtype not in (np.int8, np.float32, np.float64):
            raise ValueError(
                f"INPUT must hold int8 codes or float32 numbers, got {array.dtype} in {str(path)!r}."
            )
        codes[value.name], done[value.name] = array, "as given"
        if array.dtype != np.int8:
            codes[value.name] = (
                array.astype(np.float32) if value.qparams is None else quantize(array, value.qparams)
            )
            done[value.name] = (
                "real numbers as given" if value.qparams is None else f"quantized from {array.dtype}"
            )
    return codes, done


def _read_arrays(path: Path, inputs: tuple[Value, ...]) -> dict[str, np.ndarray]:
    """The arrays of a file, one for every input."""
    if not path.is_file():
        raise ValueError(f"INPUT must be a file, got {str(path)!r}, which is not there.")
    try:
        # Mapped, a file whose header promises more than it holds is found out before memory is asked for.
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            found = {inputs[0].name if len(inputs) == 1 else "one array": np.array(loaded)}
        else:
            with loaded:
                found = {name: loaded[name] for name in loaded.files}
    # A damaged file can make numpy and zipfile raise nearly anything.
    except Exception as error:
        raise ValueError(
            f"INPUT must be a sound .npy or .npz file, got {str(path)!r} ({type(error).__name__})."
        ) from error
    names = [value.name for value in inputs]
    if set(found) != set(names):
        wanted, got = (", ".join(map(plain, some)) for some in (names, found))
        raise ValueError(
            f"INPUT must be an .npz file with the arrays {wanted}, got {got or 'none'} in {str(path)!r}."
        )
    return found


def npy_bytes(array: np.ndarray) -> bytes:
    """An .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
    return buffer.getvalue()


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An .npz file. (`numpy.savez` takes no array called "file", and a model may.)"""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, array in arrays.items():
            file.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), npy_bytes(array))
    return buffer.getvalue()


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write files, each whole or not at all; a folder that is not there is found out before the first."""
    for path in files:
        if not path.parent.is_dir():
            raise ValueError(
                f"there must be a folder {str(path.parent)!r} to write {path.name!r} into. Make it first."
            )
        if path.is_dir():
            raise ValueError(f"{str(path)!r} must be a file to write, got a folder. Name a file.")
    for path, content in files.items():
        write_atomically(path, content)
