"""Where does the error come from? Each source switched on alone, each left out alone, and a sum that comes out.

With e_s the error of the output when source s alone is on, and e the error when all are::

    |e|**2  =  sum of |e_s|**2  +  overlap  +  bend
    overlap =  2 * sum over pairs of <e_s, e_t>          sources that push the same way, or against each other
    bend    =  |e|**2 - |sum of e_s|**2                  what is not additive: an error that changes the next one

Overlap and bend are computed from the errors themselves, not as what is left, so that the sum is a check. Accuracy
is counted in images, and its interaction is what is left.

With this module one can draw up the budget of a quantized network (`error_budget`), for all of it and layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinyquant.analysis.comparison_table import aligned, number
from tinyquant.analysis.error_sources import SOURCES, Switch, SwitchedNetwork
from tinyquant.analysis.output_error import OutputMeter, Share
from tinyquant.quantization.model import FakeQuantModel

__all__ = ["Budget", "LayerBudget", "error_budget"]


@dataclass(frozen=True)
class LayerBudget:
    """One value of the network: its sources, each alone, the layer alone, and the network without the layer's errors.

    Attributes
    ----------
    name : str
    alone : dict of source to Share
        Only the sources that the layer has.
    total : Share
        All sources of the layer on, no other layer's.
    without : Share
        Everything on but this layer's sources.
    interaction : float
        total.error - sum of the parts.
    """

    name: str
    alone: Mapping[str, Share]
    total: Share
    without: Share
    interaction: float


@dataclass(frozen=True)
class Budget:
    """The report of `error_budget`. `str()` of it is two tables.

    Attributes
    ----------
    rows : int
        Of x.
    signal : float
        Mean squared output of the float network.
    total : Share
        Everything on: the quantized network against the float one.
    alone, without : dict of source to Share
        The source alone on; everything on but the source.
    overlap, bend : float
        The two parts of the interaction of the sources in the squared error: total.error = sum of alone + overlap + bend.
    layers : tuple of LayerBudget
        In execution order; empty if not asked for.
    """

    rows: int
    signal: float
    total: Share
    alone: Mapping[str, Share]
    without: Mapping[str, Share]
    overlap: float
    bend: float
    layers: tuple[LayerBudget, ...] = ()

    @property
    def interaction(self) -> float:
        """What the parts leave of the squared error: overlap + bend."""
        return self.overlap + self.bend

    @property
    def interaction_points(self) -> float | None:
        """What the parts leave of the lost accuracy, in points."""
        lost = [share.points for share in (self.total, *self.alone.values())]
        known = [points for points in lost if points is not None]
        return known[0] - math.fsum(known[1:]) if len(known) == len(lost) else None

    @property
    def interaction_of_layers(self) -> float:
        """total.error minus the layers' totals: what layers do to each other."""
        return self.total.error - math.fsum(layer.total.error for layer in self.layers)

    def waterfall(self) -> list[tuple[str, float]]:
        """(name, points of accuracy lost) of each source, then "interaction"; they add up to `total.points`."""
        if self.interaction_points is None:
            raise ValueError("points of accuracy need labels, got none. Pass y to error_budget.")
        return [(name, share.points or 0.0) for name, share in self.alone.items()] + [("interaction", self.interaction_points)]

    def __str__(self) -> str:
        return _text(self)

    def to_dict(self) -> dict[str, Any]:
        """All of it as what `json.dumps` takes; an infinite ratio is None."""
        made = {**asdict(self), "interaction": self.interaction, "interaction_points": self.interaction_points}
        made["interaction_of_layers"] = self.interaction_of_layers if self.layers else None
        return dict(_finite(made))


def error_budget(
    model: FakeQuantModel, x: np.ndarray, y: np.ndarray | None = None, *, by_layer: bool = True
) -> Budget:
    """Switch every source of error on alone, and off alone, and measure what it does to the output.

    Parameters
    ----------
    model : FakeQuantModel
        In eval mode, trained or not; left as it is. The reference is its own float network: its float weights, batch norms
        folded, nothing quantized.
    x : float array (N, ...)
        Test images; a few hundred are enough.
    y : int array (N,) or None
        Labels, for points of accuracy.
    by_layer : bool
        Also each source of each layer, each layer alone and the network without it: about seven runs a layer.

    Returns
    -------
    Budget

    Raises
    ------
    TypeError
        Not a FakeQuantModel.
    ValueError
        It is in training mode, or y has not one label a row.

    Notes
    -----
    What the sources are and how each is switched is told in `error_sources`. The total is the error of the integer network
    where it can be converted; where activations are not 8 bits wide there are no kernels, and it is the fake-quantized one's.

    Examples
    --------
    >>> from tinyquant import nn
    >>> from tinyquant.quantization.calibrate import calibrate
    >>> from tinyquant.quantization.prepare import quantize_model
    >>> model = nn.Sequential(nn.Linear(4, 3, seed=1)).eval()
    >>> x = np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4)
    >>> budget = error_budget(quantize_model(model, calibrate(model, x)), x)
    >>> parts = [share.error for share in budget.alone.values()]
    >>> bool(np.isclose(sum(parts) + budget.interaction, budget.total.error, rtol=1e-9))
    True
    """
    if not isinstance(model, FakeQuantModel):
        raise TypeError(
            f"model must be a FakeQuantModel, got {type(model).__name__}. "
            "Call quantize_model(model, calibrate(model, data)) first."
        )
    network = SwitchedNetwork(model)
    meter = OutputMeter(network.run(x), y)

    def of(switches: Iterable[Switch]) -> Share:
        return meter.share(network.run(x, switches))

    everything = network.run(x, network.switches)
    errors, alone, without = [], {}, {}
    for source in SOURCES:
        mine = [switch for switch in network.switches if switch.source == source]
        output = network.run(x, mine)
        errors.append(output - meter.reference)
        alone[source] = meter.share(output)
        without[source] = of(switch for switch in network.switches if switch.source != source)
    added = np.sum(errors, axis=0)
    pairs = sum((float(np.mean(a * b)) for i, a in enumerate(errors) for b in errors[:i]), 0.0)
    # |e|^2 - |s|^2 as a product, which does not cancel when the two are nearly one.
    whole = everything - meter.reference
    bend = float(np.mean((whole - added) * (whole + added)))
    layers = tuple(_layer_budget(network, name, of) for name in network.layers) if by_layer else ()
    signal = float(np.mean(np.square(meter.reference)))
    return Budget(len(x), signal, meter.share(everything), alone, without, 2 * pairs, bend, layers)


def _layer_budget(network: SwitchedNetwork, name: str, of: Any) -> LayerBudget:
    """The sources of one layer."""
    mine = [switch for switch in network.switches if switch.name == name]
    alone: dict[str, Share] = {switch.source: of([switch]) for switch in mine}
    total = of(mine)
    without = of(switch for switch in network.switches if switch.name != name)
    return LayerBudget(name, alone, total, without, total.error - math.fsum(share.error for share in alone.values()))


def _finite(value: Any) -> Any:
    """Infinities as None, everywhere inside."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(budget: Budget) -> str:
    """Sources, then layers, as aligned ASCII."""
    total = budget.total
    labelled = total.points is not None
    head = ["source", "alone", "SQNR", "without it", "share"] + ["points"] * labelled
    units = ["", "error", "dB", "error", "%"] + ["lost"] * labelled
    body = [_source_row(budget, name, labelled) for name in budget.alone]
    share = _percent(budget.interaction, total.error)
    body.append(["interaction", _small(budget.interaction), "", "", share, *[number(budget.interaction_points)] * labelled])
    body.append(["total", _small(total.error), number(total.sqnr_db, 1), "", "100.0", *[number(total.points)] * labelled])
    table = aligned([head, units, *body])
    rule = "-" * max(map(len, table))
    images = f"{budget.rows} row{'s' * (budget.rows != 1)}"
    lines = [f"Error budget, {images}; error = mean squared error of the outputs (float: {_small(budget.signal)})", ""]
    lines += [*table[:2], rule, *table[2:-1], rule, table[-1], ""]
    parts = math.fsum(share.error for share in budget.alone.values())
    lines.append(f"parts {parts:.6g} + overlap {budget.overlap:.6g} + bend {budget.bend:.6g} = {total.error:.6g}")
    return "\n".join(lines + _layer_lines(budget)) + "\n"


def _source_row(budget: Budget, name: str, labelled: bool) -> list[str]:
    """One source."""
    one = budget.alone[name]
    cells = [name, _small(one.error), number(one.sqnr_db, 1), _small(budget.without[name].error)]
    return [*cells, _percent(one.error, budget.total.error), *[number(one.points)] * labelled]


_SHORT = ("w.rnd", "w.clp", "bias", "a.rnd", "a.clp", "requ", "tabl")
_LEGEND = (
    "w weight, a activation, rnd rounding, clp clipping, requ requantization, tabl",
    "lookup tables, each alone; inter interaction of the layer's sources; layer all",
    "of them; w/o everything but this layer's.",
)


def _layer_lines(budget: Budget) -> list[str]:
    """Percent of the total squared error, layer by source."""
    if not budget.layers:
        return []
    rows: list[Sequence[str]] = [["% of total", *_SHORT, "inter", "layer", "w/o"]]
    for layer in budget.layers:
        parts = [_percent(layer.alone[s].error, budget.total.error) if s in layer.alone else "" for s in SOURCES]
        ends = [_percent(v, budget.total.error) for v in (layer.interaction, layer.total.error, layer.without.error)]
        name = layer.name if len(layer.name) <= 16 else f"{layer.name[:6]}...{layer.name[-7:]}"
        rows.append([name, *parts, *ends])
    rest = _percent(budget.interaction_of_layers, budget.total.error)
    rows.append(["between layers", *[""] * (len(SOURCES) + 1), rest, ""])
    table = aligned(rows, gap=1)
    return ["", table[0], "-" * max(map(len, table)), *table[1:], "", *_LEGEND]


def _small(error: float) -> str:
    """Three digits."""
    return f"{error:.3g}"


def _percent(part: float, total: float) -> str:
    """Of the total; "-" where there is none."""
    return f"{100 * part / total:.1f}" if total else "-"
