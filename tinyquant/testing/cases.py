"""A case: the plain numbers a law is tried on, small enough to be read aloud.

Every kind of case is a named tuple of Python numbers and tuples of them, so that it can be printed, typed in again and made
smaller. With this module one can write a case down, turn its rows into the arrays a function is called with (`given`), and hand
them to anybody's function by the names of its parameters (`call`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinyquant.testing.calling import SignatureError as SignatureError
from tinyquant.testing.calling import call as call
from tinyquant.testing.calling import fits as fits
from tinyquant.testing.calling import raised_by_the_function as raised_by_the_function
from tinyquant.testing.calling import run as run

__all__ = ["AccuracyCase", "BatchesCase", "BytesCase", "Case", "CodesCase", "DotCase", "GradientCase", "GraphCase", "LayerCase",
           "MapCase", "MseCase", "MultiplierCase", "PairedCase", "PercentileCase", "RangeCase", "RecallCase", "RescaleCase",
           "RoundCase", "ScaleCase", "SignCase", "SignatureError", "ThresholdCase", "TieCase", "call", "fits", "given",
           "in_rows", "narrowest", "raised_by_the_function", "reals", "run"]  # fmt: skip


class MapCase(NamedTuple):
    """Reals and the map that turns them into codes; ``dtype`` is the type of the array of reals."""

    x: tuple[float, ...]
    scale: float = 1.0
    zero_point: int = 0
    qmin: int = -128
    qmax: int = 127
    dtype: str = "float64"
    mode: str = "half_away"
    """Only the law `rounding_mode` reads it."""


class CodesCase(NamedTuple):
    """Codes and the map that says what they mean."""

    codes: tuple[int, ...]
    scale: float = 1.0
    zero_point: int = 0
    qmin: int = -128
    qmax: int = 127


class RangeCase(NamedTuple):
    """The ends of a range, rmin <= rmax, for which a map is chosen."""

    rmin: float
    rmax: float
    qmin: int = -128
    qmax: int = 127


class RoundCase(NamedTuple):
    """Reals to be rounded by a named rule."""

    x: tuple[float, ...]
    mode: str = "half_away"


class DotCase(NamedTuple):
    """Two rows of int8 codes to be multiplied and summed, with their zero points."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    x_zero: int = 0
    w_zero: int = 0


class MultiplierCase(NamedTuple):
    """A positive real number to be written as multiplier * 2**(shift - 31)."""

    real: float


class RescaleCase(NamedTuple):
    """Accumulators to be multiplied by multiplier * 2**(shift - 31)."""

    acc: tuple[int, ...]
    multiplier: int = 2**30
    shift: int = 1


class LayerCase(NamedTuple):
    """One output of an integer linear layer: codes of the input and the weights, and how the sum becomes a code."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    bias: int = 0
    x_zero: int = 0
    multiplier: int = 2**30
    shift: int = 1
    y_zero: int = 0
    qmin: int = -128
    qmax: int = 127


class GradientCase(NamedTuple):
    """Where a gradient is measured, and the gradient that arrives from above (one number an output)."""

    x: tuple[float, ...]
    upstream: tuple[float, ...]


class GraphCase(NamedTuple):
    """Rows of one batch of inputs, handed to two forms of the same network."""

    x: tuple[tuple[float, ...], ...]


class BytesCase(NamedTuple):
    """The sizes of one model in two formats."""

    float_bytes: int
    int8_bytes: int


class AccuracyCase(NamedTuple):
    """Two accuracies in percent on the same test images, exact or with the two decimals that are printed."""

    before: float
    after: float
    images: int


class SignCase(NamedTuple):
    """How many images only model a had right, and how many only model b."""

    only_a: int
    only_b: int


class TieCase(NamedTuple):
    """The names of two rounding rules, not the same one."""

    mode_a: str
    mode_b: str


class BatchesCase(NamedTuple):
    """Batches of real numbers, one row a batch."""

    batches: tuple[tuple[float, ...], ...]


class PercentileCase(NamedTuple):
    """Reals, and how many percent of them a range is to hold."""

    x: tuple[float, ...]
    percent: float


class MseCase(NamedTuple):
    """Reals, and the bits of the codes that are to hold them."""

    x: tuple[float, ...]
    bits: int = 8


class ScaleCase(NamedTuple):
    """Reals that share one scale (zero point 0), and the gradient that arrives at each."""

    upstream: tuple[float, ...]
    x: tuple[float, ...]
    scale: float = 1.0
    qmin: int = -128
    qmax: int = 127


class RecallCase(NamedTuple):
    """What is true of each case, and what was predicted: 1 or 0."""

    truth: tuple[int, ...]
    predicted: tuple[int, ...]


class ThresholdCase(NamedTuple):
    """Scores, the truth about each (1 or 0), and the share of the ones that must be found."""

    scores: tuple[float, ...]
    truth: tuple[int, ...]
    recall: float


class PairedCase(NamedTuple):
    """Results of two methods, seed by seed, and the factor t of the interval."""

    a: tuple[float, ...]
    b: tuple[float, ...]
    t: float


Case = (
    MapCase | CodesCase | RangeCase | RoundCase | DotCase | MultiplierCase | RescaleCase | LayerCase | GradientCase | GraphCase
    | BytesCase | AccuracyCase | SignCase | TieCase | BatchesCase | PercentileCase | MseCase | ScaleCase | RecallCase
    | ThresholdCase | PairedCase
)  # fmt: skip


def reals(case: MapCase) -> np.ndarray:
    """The array of reals of a case."""
    return np.array(case.x, dtype=case.dtype)


def narrowest(qmin: int, qmax: int) -> np.dtype:
    """The narrowest integer type that holds both ends."""
    for kind in ("uint8", "uint16") if qmin >= 0 else ("int8", "int16"):
        if np.iinfo(kind).min <= qmin and qmax <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype("int32")


_ROW_TYPES: dict[str, dict[str, str]] = {
    "DotCase": {"x": "int8", "w": "int8"}, "LayerCase": {"x": "int8", "w": "int8"}, "RescaleCase": {"acc": "int32"},
    "GraphCase": {"x": "float32"}, "RecallCase": {"truth": "int64", "predicted": "int64"}, "ThresholdCase": {"truth": "int64"},
}  # fmt: skip
"""The types of the rows that are not float64."""


def _shape_of(count: int) -> tuple[int, ...]:
    """Rows for so many numbers: (2, 2, k), (2, k) or (1, n). One that reads numbers one by one, or the first row only, shows."""
    if count >= 8 and count % 4 == 0:
        return 2, 2, count // 4
    return (2, count // 2) if count >= 4 and count % 2 == 0 else (1, count)


def in_rows(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same numbers in rows, as nested tuples; of batches each by itself.

    >>> in_rows((1, 2, 3)), in_rows((1, 2, 3, 4)), in_rows(((1.0,), (2.0, 3.0)))
    (((1, 2, 3),), ((1, 2), (3, 4)), (((1.0,),), ((2.0, 3.0),)))
    """
    if isinstance(numbers[0], tuple):
        return tuple(map(in_rows, numbers))
    for length in _shape_of(len(numbers))[:0:-1]:
        numbers = tuple(numbers[start : start + length] for start in range(0, len(numbers), length))
    return numbers


def given(case: Case, rows: tuple[str, ...] = ()) -> dict[str, object]:
    """What a function is called with on this case, by name: its numbers, and each row as a new array (batches as a list).

    Parameters
    ----------
    case : Case
    rows : tuple of str
        Names of arrays that are handed over in more than one dimension: the same numbers, as `in_rows` puts them.

    Examples
    --------
    >>> given(RecallCase((1, 0), (1, 1)))
    {'truth': array([1, 0]), 'predicted': array([1, 1])}
    >>> given(RoundCase((0.5, 2.0)), rows=("x",))["x"]
    array([[0.5, 2. ]])
    """
    values = case._asdict()
    types = dict(_ROW_TYPES.get(type(case).__name__, {}))
    if isinstance(case, MapCase):
        types["x"] = case.dtype
        del values["dtype"], values["mode"]
    if isinstance(case, CodesCase):
        types["codes"] = str(narrowest(case.qmin, case.qmax))
    for name in rows:
        values[name] = in_rows(values[name])
    for name, value in values.items():
        if name == "batches":
            values[name] = [np.array(row, np.float64) for row in value]
        elif isinstance(value, tuple):
            values[name] = np.array(value, types.get(name, "float64"))
    return values
