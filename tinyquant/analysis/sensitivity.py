"""Which layer minds? One layer quantized at a time, and one left in float at a time, from many bits to few.

Two questions that sound alike. Quantizing one layer alone asks what that layer costs by itself; leaving one layer in float
asks what it would bring to spare it. Where errors add up the two agree, and where they do not, the difference is worth
knowing before bits are given out.

With this module one can fill both tables for a network (`sensitivity`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinyquant.analysis.comparison_table import aligned, number
from tinyquant.analysis.error_sources import Switch, SwitchedNetwork
from tinyquant.analysis.output_error import OutputMeter, Share
from tinyquant.nn import Module
from tinyquant.quantization.calibrate import Calibration
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8, Scheme

__all__ = ["Sensitivity", "sensitivity", "weight_layers"]

_WEIGHTS = ("weight rounding", "weight clipping", "bias rounding")


@dataclass(frozen=True)
class Sensitivity:
    """The report of `sensitivity`. `str()` of it is two tables.

    Attributes
    ----------
    layers : tuple of str
        Layers with weights, in execution order; layers that share a weight stand under the first one's name.
    bits : tuple of int
        From many to few.
    what : str
        "weights" or "layer".
    alone : mapping of layer to {bits: Share}
        That layer quantized, all else float.
    spared : mapping of layer to {bits: Share}
        That layer in float, all else quantized, every weight to that many bits.
    together : mapping of bits to Share
        Everything quantized.
    rows : int
        Of x.
    """

    layers: tuple[str, ...]
    bits: tuple[int, ...]
    what: str
    alone: Mapping[str, Mapping[int, Share]]
    spared: Mapping[str, Mapping[int, Share]]
    together: Mapping[int, Share]
    rows: int

    def drops(self) -> dict[str, dict[int, float]]:
        """{layer: {bits: points of accuracy lost}} with that layer alone quantized."""
        return {name: {b: _points(share) for b, share in row.items()} for name, row in self.alone.items()}

    def errors(self) -> np.ndarray:
        """Squared output error of each layer alone: array (layers, bits)."""
        return np.array([[self.alone[name][b].error for b in self.bits] for name in self.layers])

    def __str__(self) -> str:
        labelled = self.together[self.bits[0]].points is not None
        unit = "points of accuracy lost" if labelled else "SQNR of the outputs in dB"
        quantized = "weights" if self.what == "weights" else "weights and output"

        def shown(share: Share) -> str:
            return number(share.points) if labelled else number(share.sqnr_db, 1)

        head = ["bits of the weights", *map(str, self.bits)]
        lines = [f"Sensitivity, {self.rows} rows; {unit}", ""]
        for title, table in ((f"one layer's {quantized} quantized", self.alone), ("all quantized but one layer", self.spared)):
            body = aligned([head, *([name, *(shown(table[name][b]) for b in self.bits)] for name in self.layers)])
            lines += [title, "-" * max(map(len, body)), *body, ""]
        lines += aligned([head, ["everything quantized", *(shown(self.together[b]) for b in self.bits)]])
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """All of it as what `json.dumps` takes; an infinite ratio is None."""

        def plain(share: Share) -> dict[str, Any]:
            return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(share).items()}

        tables = {
            key: {name: {str(b): plain(s) for b, s in row.items()} for name, row in table.items()}
            for key, table in (("alone", self.alone), ("spared", self.spared))
        }
        together = {str(b): plain(share) for b, share in self.together.items()}
        return {"what": self.what, "rows": self.rows, "bits": list(self.bits), **tables, "together": together}


def sensitivity(
    model: Module,
    calibration: Calibration,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    scheme: Scheme = TFLITE_INT8,
    bits: Sequence[int] = (8, 6, 5, 4, 3, 2),
    what: str = "weights",
) -> Sensitivity:
    """Quantize one layer at a time, and all but one at a time, at several widths of the weights.

    Parameters
    ----------
    model : Module
        The float model, unchanged since calibration; left as it is.
    calibration : Calibration
    x : float array (N, ...)
    y : int array (N,) or None
        Labels, for points of accuracy.
    scheme : Scheme
        Everything but `weight_bits`, which is swept.
    bits : sequence of int, 2 to 8
    what : str
        "weights": a layer's weights and bias. "layer": its output too.

    Returns
    -------
    Sensitivity

    Raises
    ------
    ValueError
        No bits, an unknown `what`, or what `quantize_model` refuses.

    Notes
    -----
    For each width a pass for each layer and table, on values kept from the layers before where those do not change.

    Examples
    --------
    >>> from tinyquant import nn
    >>> from tinyquant.quantization.calibrate import calibrate
    >>> model = nn.Sequential({"first": nn.Linear(4, 4, seed=1), "act": nn.ReLU(), "last": nn.Linear(4, 2, seed=2)}).eval()
    >>> x = np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4)
    >>> report = sensitivity(model, calibrate(model, x), x, bits=(8, 2))
    >>> report.layers, bool(report.alone["last"][2].error > report.alone["last"][8].error)
    (('first', 'last'), True)
    """
    if what not in ("weights", "layer"):
        raise ValueError(f'what must be "weights" or "layer", got {what!r}.')
    widths = tuple(sorted(set(bits), reverse=True))
    if not widths:
        raise ValueError("bits must hold at least one width, got none. Try (8, 4, 2).")
    alone: dict[str, dict[int, Share]] = {}
    spared: dict[str, dict[int, Share]] = {}
    together: dict[int, Share] = {}
    for width in widths:
        fq = quantize_model(model, calibration, scheme=_at_width(scheme, width))
        network = SwitchedNetwork(fq)
        meter = OutputMeter(network.run(x), y)
        together[width] = meter.share(network.run(x, network.switches))
        for layer, names in weight_layers(fq).items():
            own = [s for s in network.switches if s.name in names]
            mine = [s for s in own if what == "layer" or s.source in _WEIGHTS]
            # A kernel is about the codes of its weights: with those in float it has nothing to say.
            taken = {s for s in own if s in mine or s.source == "requantization"}
            rest: list[Switch] = [s for s in network.switches if s not in taken]
            alone.setdefault(layer, {})[width] = meter.share(network.run(x, mine))
            spared.setdefault(layer, {})[width] = meter.share(network.run(x, rest))
    return Sensitivity(tuple(alone), widths, what, alone, spared, together, len(x))


def weight_layers(model: FakeQuantModel) -> dict[str, tuple[str, ...]]:
    """{name: the nodes that read its weight}, one entry a quantized weight, in execution order."""
    layers: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    for name, made in model.nodes.items():
        if made.weight_qparams is not None and not made.settings.exclude and name not in seen:
            layers[name] = tuple(made.peers)
            seen.update(made.peers)
    return layers


def _at_width(scheme: Scheme, width: int) -> Scheme:
    """The scheme with every weight to so many bits, whatever its annotations say."""
    return scheme.replace(weight_bits=width).annotate("*", weight_bits=width)


def _points(share: Share) -> float:
    """Points lost; labels are needed."""
    if share.points is None:
        raise ValueError("points of accuracy need labels, got none. Pass y to sensitivity.")
    return share.points
