"""Calibration: run data through the float network and watch every value.

It knows no scheme and decides nothing: what a range is made of is the scheme's choice, given once to
`quantize_model`. Not a single label is looked at.

With this module one can watch a network at work (`calibrate`) and hold what was seen (`Calibration`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from tinyquant.graph import Graph
from tinyquant.nn import Module
from tinyquant.quantization.capture import capture, require_module
from tinyquant.quantization.float_run import run_graph
from tinyquant.quantization.statistics import Statistics

__all__ = ["Calibration", "calibrate", "changed_since"]

_ROWS = 64


@dataclass(frozen=True)
class Calibration:
    """What was seen: the captured graph and the statistics of each of its values.

    Attributes
    ----------
    graph : Graph
        The float network as it was when calibrated.
    statistics : mapping of str to Statistics
        By the name of the input or node.
    rows : int
        How many examples were run.
    """

    graph: Graph
    statistics: Mapping[str, Statistics]
    rows: int

    def range(self, name: str) -> tuple[float, float]:
        """The smallest and largest number seen at a value."""
        seen = self.statistics[name]
        return seen.minimum, seen.maximum

    def merge(self, other: Calibration) -> Calibration:
        """Both, as if one calibration had seen all the data, `other`'s after this one's.

        Raises
        ------
        TypeError
            `other` is no Calibration.
        ValueError
            It is of another network or of other weights, or was made with another momentum.
        """
        if not isinstance(other, Calibration):
            raise TypeError(f"other must be a Calibration, got {type(other).__name__}. Call calibrate(model, more_data).")
        difference = changed_since(other.graph, self.graph)
        if difference:
            raise ValueError(
                f"both calibrations must be of one model with the same weights, got {difference}. "
                "Calibrate one model on both sets of data."
            )
        merged = {name: seen.merge(other.statistics[name]) for name, seen in self.statistics.items()}
        return Calibration(self.graph, MappingProxyType(merged), self.rows + other.rows)

    def __repr__(self) -> str:
        return f"Calibration({len(self.statistics)} values, {self.rows} rows)"


def calibrate(model: Module, data: np.ndarray | Iterable[Any], *, momentum: float = 0.9) -> Calibration:
    """Watch every value of the float model on representative data.

    Parameters
    ----------
    model : Module
        Run in eval mode whatever its mode is; left as it was.
    data : float array (N, ...), or an iterable of such arrays or of (x, y) batches
        A few hundred typical inputs. Labels are ignored. Not the test set.
    momentum : float in [0, 1)
        Of the moving average of the batch ends; an array is cut into batches of 64 rows.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        No data, NaN or infinity in it or in a node's output (named), the wrong shape (NCHW is recognised), or a momentum
        out of its range.
    TypeError
        Not a Module, or not floats; a pair (x, y) that is not in a list.

    Notes
    -----
    In PyTorch: `prepare` and running the data; in TFLite: `representative_dataset`.

    Examples
    --------
    >>> from tinyquant import nn
    >>> seen = calibrate(nn.Sequential(nn.ReLU()), np.array([[-1.0, 2.0], [0.5, 3.0]], np.float32))
    >>> seen.range("input"), seen.range("0")
    ((-1.0, 3.0), (0.0, 3.0))
    """
    require_module(model)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}. 0.9 remembers about 10 batches.")
    graph: Graph | None = None
    statistics: dict[str, Statistics] = {}
    rows = 0
    for index, batch in enumerate(_batches(data)):
        _refuse_bad_batch(batch, index, graph)
        if graph is None:
            graph = capture(model, batch)
            statistics = {
                name: Statistics(momentum=momentum) for name in ("input", *(node.name for node in graph.nodes))
            }
        for name, values in run_graph(graph, batch).items():
            if not np.isfinite(values).all():
                raise ValueError(
                    f"every node must compute finite numbers, got NaN or infinity at {name!r} on batch {index}. "
                    "Train with a lower learning rate, or look at that batch."
                )
            statistics[name].update(values)
        rows += len(batch)
    if graph is None:
        raise ValueError("data must hold at least one row, got none. Pass some training images, x[:256].")
    return Calibration(graph, MappingProxyType(statistics), rows)


def changed_since(now: Graph, seen: Graph) -> str:
    """In what a captured network differs from the one that was seen, in words; "" where it does not."""
    if [(n.name, n.op, n.inputs) for n in now] != [(n.name, n.op, n.inputs) for n in seen]:
        return "one of a different network"
    for a, b in zip(now, seen, strict=True):
        for key in {**a.params, **b.params}:
            if key not in a.params or key not in b.params or not np.array_equal(a.params[key], b.params[key]):
                return f"a new {key} at {a.name!r}"
        if a.attrs != b.attrs or a.shape != b.shape:
            return f"other settings at {a.name!r}"
    return ""


def _batches(data: np.ndarray | Iterable[Any]) -> Iterator[np.ndarray]:
    """Arrays of inputs, whatever form the data came in."""
    if isinstance(data, np.ndarray):
        for start in range(0, len(data), _ROWS):
            yield data[start : start + _ROWS]
        return
    if not isinstance(data, Iterable):
        raise TypeError(f"data must be an array, or an iterable of batches, got {type(data).__name__}. Pass x[:256].")
    for batch in data:
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        array = np.asarray(x)
        if array.size:
            yield array


def _refuse_bad_batch(batch: np.ndarray, index: int, graph: Graph | None) -> None:
    """A batch must be finite floats of the shape the first one had."""
    if graph is not None and batch.ndim == 1 != len(graph.inputs[0].shape):
        raise TypeError(
            f"data must be batches of inputs, got {batch.dtype} numbers of shape {batch.shape} in batch {index}, which look "
            "like labels. They are not wanted: pass x alone, or [(x, y)] for one batch."
        )
    if batch.dtype.kind != "f":
        raise TypeError(
            f"data must be float arrays, got dtype {batch.dtype} in batch {index}. Scale them first (x / 255)."
        )
    if not np.isfinite(batch).all():
        name = "NaN" if np.isnan(batch).any() else "infinity"
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(batch))[0])
        raise ValueError(
            f"calibration data must be finite, got {name} in batch {index} at index {where}. Drop or repair that row."
        )
    if graph is not None and batch.shape[1:] != graph.inputs[0].shape[1:]:
        raise ValueError(
            f"every batch must have rows of shape {graph.inputs[0].shape[1:]}, got {batch.shape[1:]} in batch {index}."
        )
