"""What may be fed to a graph: inputs by order or by name, of the declared dtype, of the declared shape or k batches of it.

With this module one can bring what a caller passed into a list of arrays (`by_name`, `checked`), or tell the caller what is
wrong with it and what to pass instead.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tinyquant.graph import Value

__all__ = ["Arrays", "by_name", "checked"]

Arrays: TypeAlias = npt.ArrayLike | Sequence[npt.ArrayLike] | Mapping[str, npt.ArrayLike]


def by_name(given: Arrays, values: Sequence[Value]) -> list[npt.ArrayLike]:
    """One entry a value, in order, from an array (for one value), a list in order, or a dict by name.

    A list with arrays in it is a list of inputs; nested lists of numbers are one array.

    >>> by_name({"b": 2, "a": 1}, [Value("a", (), np.dtype(np.int8)), Value("b", (), np.dtype(np.int8))])
    [1, 2]
    """
    names = [value.name for value in values]
    listing = ", ".join(names) or "none"
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise ValueError(f"the inputs must be named {listing}, got {', '.join(map(str, given)) or 'none'}.")
        return [given[name] for name in names]
    listed = isinstance(given, (list, tuple)) and any(isinstance(array, np.ndarray) for array in given)
    if len(names) == 1 and not listed:
        return [given]  # type: ignore[list-item]
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"there must be {len(names)} inputs ({listing}), got one. Pass a list in that order, or a dict by name.")
    if len(given) != len(names):
        raise ValueError(f"there must be {len(names)} inputs ({listing}), got {len(given)}.")
    return list(given)


def checked(given: Arrays, values: Sequence[Value], batched: Collection[str], batch: int) -> list[np.ndarray]:
    """C-ordered arrays of the declared dtypes and shapes.

    Parameters
    ----------
    given : what the caller passed
    values : sequence of Value
        What is wanted, in order.
    batched : names of the values that may have k * batch rows
    batch : int
        The declared batch.

    Raises
    ------
    TypeError
        Another dtype.
    ValueError
        Another shape, different counts of rows, names or numbers of inputs that do not fit.

    Examples
    --------
    >>> checked(np.zeros((1, 3, 8, 8), np.int8), [Value("x", (1, 8, 8, 3), np.dtype(np.int8))], {"x"}, 1)
    Traceback (most recent call last):
    ValueError: input 'x' must have shape (k*1, 8, 8, 3), got (1, 3, 8, 8), which looks like NCHW. Pass x.transpose(0, 2, 3, 1).
    """
    arrays = [np.asarray(array) for array in by_name(given, values)]
    for value, array in zip(values, arrays):
        _check_dtype(value, array)
        _check_shape(value, array, value.name in batched, batch)
    rows = {value.name: len(array) for value, array in zip(values, arrays) if value.name in batched}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name}: {count}" for name, count in rows.items())
        raise ValueError(f"the inputs must have one number of rows, got {counts}. Pass k batches of each, with one k.")
    # Another machine's byte order or memory layout is no business of the kernels.
    return [np.asarray(array, dtype=value.dtype, order="C") for value, array in zip(values, arrays)]


def _check_dtype(value: Value, array: np.ndarray) -> None:
    """The declared dtype, of either byte order."""
    if array.dtype == value.dtype.newbyteorder(array.dtype.byteorder):
        return
    message = f"input {value.name!r} must be {value.dtype}, got {array.dtype}."
    if value.dtype == np.int8 and array.dtype.kind == "f":
        message += " Quantize it first (quantize(x, model.inputs[0].qparams)), or call model(x) with real numbers."
    elif value.dtype == np.int8 and array.dtype.kind in "iu":
        message += " These may be codes of another type: make them int8 (uint8 codes are int8 codes plus 128)."
    elif value.dtype == np.float32 and array.dtype.kind in "fiu":
        message += " This model quantizes by itself: pass x.astype(np.float32)."
    raise TypeError(message)


def _check_shape(value: Value, array: np.ndarray, batched: bool, batch: int) -> None:
    """The declared shape, or k batches of it; the usual confusions are recognised."""
    declared, got = value.shape, array.shape
    if not batched:
        if got == declared:
            return
        hint = "Reshape it."
        if got[1:] == declared[1:]:
            hint = "Pass the declared shape: this graph mixes rows, so more of them are not more runs."
        raise ValueError(f"input {value.name!r} must have shape {declared}, got {got}. {hint}")
    if len(got) == len(declared) and got[1:] == declared[1:] and got[0] % batch == 0:
        return
    wanted = f"({', '.join([f'k*{batch}', *map(str, declared[1:])])}{',' if len(declared) == 1 else ''})"
    hint = ". Pass whole rows of the declared shape."
    if got == declared[1:]:
        hint = f". The batch axis is missing: pass {value.name}[None]." if batch == 1 else ". The batch axis is missing."
    elif len(declared) == len(got) == 4 and (got[2], got[3], got[1]) == declared[1:]:
        hint = ", which looks like NCHW. Pass x.transpose(0, 2, 3, 1)."
    elif got[1:] == declared[1:]:
        hint = f". The number of rows must be a multiple of the declared batch, {batch}."
    raise ValueError(f"input {value.name!r} must have shape {wanted}, got {got}{hint}")
