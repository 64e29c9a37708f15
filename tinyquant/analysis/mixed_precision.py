"""Few bytes, few errors: which layer gets how many bits.

Layers differ in two ways that have nothing to do with each other: how many weights they have, and how much the output minds
their rounding. The damage of each layer at each width is measured one layer at a time (`sensitivity`); then bits are given
out under a budget of bytes (`bit_allocation`), and the network that comes of it is measured as a whole, because damages only
nearly add up.

With this module one can find an assignment for a budget (`mixed_precision`) and draw accuracy against bytes
(`accuracy_against_bytes`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from tinyquant.analysis.bit_allocation import best_within, exact_front
from tinyquant.analysis.comparison_table import aligned
from tinyquant.analysis.output_error import OutputMeter
from tinyquant.analysis.resilience import folded_graph
from tinyquant.analysis.sensitivity import Sensitivity, sensitivity, weight_layers
from tinyquant.autograd import Tensor, no_grad
from tinyquant.nn import Module
from tinyquant.quantization.calibrate import Calibration
from tinyquant.quantization.float_run import run_graph
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8, Scheme

__all__ = ["Assignment", "accuracy_against_bytes", "mixed_precision", "packed_bytes", "parameter_bytes"]

WIDTHS = (8, 6, 5, 4, 3, 2)
MOST_TRIED = 3000
"""How many assignments "exhaustive" is willing to measure."""


@dataclass(frozen=True)
class Assignment:
    """Bits for every layer, and what they do.

    Attributes
    ----------
    kind : str
        "mixed", or "uniform" where all layers have the same.
    bits : dict of layer to int
    nbytes : int
        Weights packed to their bits, biases in 32 bits (see `parameter_bytes`).
    error : float
        Measured: mean squared error of the quantized network's outputs against the float one's.
    right : int or None
        Images right, of `rows`; None without labels.
    rows : int
    scheme : Scheme
        With an annotation for each layer: pass it to `quantize_model`.
    """

    kind: str
    bits: Mapping[str, int]
    nbytes: int
    error: float
    right: int | None
    rows: int
    scheme: Scheme

    @property
    def accuracy(self) -> float | None:
        """In [0, 1]; None without labels."""
        return None if self.right is None else self.right / self.rows

    def __str__(self) -> str:
        accuracy = "" if self.right is None else f", {self.right} of {self.rows} right"
        head = f"{self.kind}: {self.nbytes} bytes{accuracy}, squared error {self.error:.3g}"
        rows = [["layer", "bits"], *([name, str(bits)] for name, bits in self.bits.items())]
        return "\n".join([head, "", *aligned(rows)]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """As what `json.dumps` takes; the scheme by its name."""
        return {**{k: v for k, v in asdict(self).items() if k != "scheme"}, "accuracy": self.accuracy, "scheme": self.scheme.name}


def mixed_precision(
    model: Module,
    calibration: Calibration,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    budget: int,
    scheme: Scheme = TFLITE_INT8,
    bits: Sequence[int] = WIDTHS,
    method: str = "exact",
    table: Sensitivity | None = None,
) -> Assignment:
    """The bits of every layer's weights that damage the output least within a budget of bytes.

    Parameters
    ----------
    model : Module
        The float model, unchanged since calibration; left as it is.
    calibration : Calibration
    x : float array (N, ...)
        Images that damage is measured on. Not the test set: what is chosen on it flatters it.
    y : int array (N,) or None
        Labels, to count right answers of the result.
    budget : int
        Bytes for weights and biases.
    scheme : Scheme
        Everything but the weights' bits.
    bits : sequence of int, 2 to 8
        Widths to choose from.
    method : str
        "exact": the least sum of the layers' damages. "greedy": one exchange after the other. "exhaustive": every assignment
        measured on the whole network, for small networks (at most `MOST_TRIED` assignments).
    table : Sensitivity, optional
        Measured before with the same bits, to save time.

    Returns
    -------
    Assignment

    Raises
    ------
    ValueError
        A budget below the cheapest assignment (its bytes are named), no rows, an unknown method, too many assignments to try.

    Notes
    -----
    The integer model that `convert` makes stores fewer than 8 bits in bytes of their own; packed they are where a format has
    packed weights (4 bits in TFLite). The file is then as large as the budget says, and the arithmetic is the same.

    References
    ----------
    Dong et al. 2019 and Yao et al. 2021 (HAWQ, HAWQ-V3), which solve the same knapsack on estimated damages.
    """
    if method not in ("exact", "greedy", "exhaustive"):
        raise ValueError(f'method must be "exact", "greedy" or "exhaustive", got {method!r}.')
    if not len(x):
        raise ValueError(f"x must have at least one row, got shape {np.shape(x)}. Damage is measured on rows.")
    bench = _Bench(model, calibration, x, y, scheme, tuple(sorted(set(bits), reverse=True)))
    if method == "exhaustive":
        return bench.least_error(budget)
    prices = bench.prices()
    # What no choice changes is paid with the first layer, so that every message counts whole networks.
    prices[0] += bench.fixed
    chosen = best_within(prices, bench.damages(table), budget, method=method)
    return bench.measured([bench.bits[k] for k in chosen.choice])


def accuracy_against_bytes(
    model: Module,
    calibration: Calibration,
    x: np.ndarray,
    y: np.ndarray,
    *,
    scheme: Scheme = TFLITE_INT8,
    bits: Sequence[int] = WIDTHS,
    points: int = 12,
    search: np.ndarray | None = None,
    table: Sensitivity | None = None,
) -> list[Assignment]:
    """Assignments along the front from the fewest bytes to the most, measured; and every uniform one.

    Parameters
    ----------
    model, calibration, scheme, bits, table
        As for `mixed_precision`.
    x, y : arrays
        What the results are measured on.
    points : int, at least 2
        At most so many mixed assignments, spread evenly over the bytes.
    search : float array or None
        What damage is measured on; None takes x.

    Returns
    -------
    list of Assignment
        Sorted by bytes, first the uniform ones among equals.

    Examples
    --------
    >>> from tinyquant import nn
    >>> from tinyquant.quantization.calibrate import calibrate
    >>> model = nn.Sequential(nn.Linear(4, 8, seed=1), nn.ReLU(), nn.Linear(8, 2, seed=2)).eval()
    >>> x = np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4)
    >>> found = accuracy_against_bytes(model, calibrate(model, x), x, np.zeros(10, int), bits=(8, 4), points=3)
    >>> [(one.kind, one.nbytes) for one in found]
    [('uniform', 64), ('mixed', 72), ('uniform', 88)]
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, the two ends, got {points}.")
    widths = tuple(sorted(set(bits), reverse=True))
    bench = _Bench(model, calibration, x, y, scheme, widths)
    searched = bench if search is None else _Bench(model, calibration, search, None, scheme, widths)
    front = exact_front(bench.prices(), searched.damages(table))
    sizes = np.array([one.nbytes for one in front])
    wanted = np.linspace(sizes[0], sizes[-1], points)
    chosen = {int(np.abs(sizes - size).argmin()) for size in wanted}
    found = {tuple([width] * len(bench.layers)) for width in widths}
    found |= {tuple(widths[k] for k in front[i].choice) for i in chosen}
    return sorted((bench.measured(one) for one in found), key=lambda one: (one.nbytes, one.kind == "mixed"))


def packed_bytes(count: int, bits: int) -> int:
    """Bytes of so many codes of so many bits, packed without gaps and rounded up to a whole byte.

    >>> packed_bytes(3, 4), packed_bytes(0, 4)
    (2, 0)
    """
    return -(-count * bits // 8)


def parameter_bytes(model: FakeQuantModel) -> int:
    """Bytes of a fake-quantized model's parameters: weights packed to their bits, biases and constants as they are stored.

    With 8 bits everywhere this is `IntegerModel.nbytes` of the converted model, shared weights counted once.
    """
    layers = weight_layers(model)
    total = sum(packed_bytes(_weights(model, name), model.nodes[name].settings.weight_bits) for name in layers)
    return total + _fixed_bytes(model, layers)


def _weights(model: FakeQuantModel, name: str) -> int:
    """How many weights a layer has."""
    with no_grad():
        return int(model.nodes[name].params()["weight"].size)


def _fixed_bytes(model: FakeQuantModel, layers: Mapping[str, tuple[str, ...]]) -> int:
    """Bytes that no assignment changes: a 4-byte bias for each output channel, constants of 1 byte, floats of 4."""
    total, quantized = 0, {name for readers in layers.values() for name in readers}
    for name, made in model.nodes.items():
        with no_grad():
            sizes = {key: tensor.size for key, tensor in made.params().items()}
        if name in quantized:
            total += 4 * made.node.shape[-1]
        else:
            total += sum(size * (4 if made.qparams is None or key != "value" else 1) for key, size in sizes.items())
    return total


class _Bench:
    """A network on which assignments are tried."""

    def __init__(
        self, model: Module, calibration: Calibration, x: np.ndarray, y: np.ndarray | None, scheme: Scheme, bits: tuple[int, ...]
    ) -> None:
        if not bits:
            raise ValueError("bits must hold at least one width, got none. Try (8, 4, 2).")
        self.model, self.calibration, self.x, self.y, self.scheme, self.bits = model, calibration, x, y, scheme, bits
        start = quantize_model(model, calibration, scheme=scheme)
        graph = folded_graph(start)
        self.layers = weight_layers(start)
        self.sizes = [_weights(start, name) for name in self.layers]
        self.fixed = _fixed_bytes(start, self.layers)
        self.meter = OutputMeter(run_graph(graph, x)[graph.outputs[0]], y)

    def prices(self) -> np.ndarray:
        """Bytes of the weights, (layers, bits)."""
        return np.array([[packed_bytes(size, width) for width in self.bits] for size in self.sizes])

    def damages(self, table: Sensitivity | None) -> np.ndarray:
        """Squared output error of each layer alone, (layers, bits)."""
        if table is None:
            table = sensitivity(self.model, self.calibration, self.x, scheme=self.scheme, bits=self.bits)
        if table.layers != tuple(self.layers) or table.bits != self.bits:
            raise ValueError(
                f"table must be of this network and of bits {self.bits}, got layers {table.layers}, bits {table.bits}."
            )
        return table.errors()

    def measured(self, widths: Iterable[int]) -> Assignment:
        """One assignment, quantized and run."""
        given = dict(zip(self.layers, widths))
        scheme = self.scheme
        for name, readers in self.layers.items():
            for reader in readers:
                scheme = scheme.annotate(_literally(reader), weight_bits=given[name])
        fq = quantize_model(self.model, self.calibration, scheme=scheme)
        with no_grad():
            output = fq(Tensor(self.x))
        assert isinstance(output, Tensor)
        share = self.meter.share(output.data)
        right = None if share.wrong is None else self.meter.right - share.wrong
        kind = "uniform" if len(set(given.values())) == 1 else "mixed"
        return Assignment(kind, given, parameter_bytes(fq), share.error, right, len(self.x), scheme)

    def least_error(self, budget: int) -> Assignment:
        """Every assignment that keeps the budget, measured: the one with the least error, of equals the smallest."""
        tried = prod([len(self.bits)] * len(self.layers))
        if tried > MOST_TRIED:
            raise ValueError(
                f'"exhaustive" must have at most {MOST_TRIED} assignments to try, got {tried}. Use "exact", or fewer bits.'
            )
        prices = self.prices()
        fitting = [
            choice
            for choice in product(range(len(self.bits)), repeat=len(self.layers))
            if self.fixed + sum(int(prices[i, k]) for i, k in enumerate(choice)) <= budget
        ]
        if not fitting:
            least = self.fixed + int(prices.min(axis=1).sum())
            raise ValueError(f"the budget must be at least {least} bytes, the cheapest of everything, got {budget}. Raise it.")
        measured = [self.measured([self.bits[k] for k in choice]) for choice in fitting]
        return min(measured, key=lambda one: (one.error, one.nbytes))


def _literally(name: str) -> str:
    """A pattern that matches this name alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
