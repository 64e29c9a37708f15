"""The quantizer of every value: what calibration saw, made into a scale and a zero point as the scheme says.

With this module one can choose the quantizers of all activations of a network (`choose_activation_qparams`).
"""

from __future__ import annotations

from tinyquant.graph import OPS, Graph
from tinyquant.numerics.qparams import QParams, choose_qparams
from tinyquant.quantization.calibrate import Calibration
from tinyquant.quantization.groups import Groups
from tinyquant.quantization.schemes import Scheme

__all__ = ["choose_activation_qparams"]


def choose_activation_qparams(groups: Groups, calibration: Calibration, scheme: Scheme) -> dict[str, QParams | None]:
    """The quantizer of every value: one a group, from the range of all its members."""
    graph = groups.graph
    by_group: dict[str, QParams | None] = {}
    for group in dict.fromkeys(groups.of.values()):
        members = groups.members(group)
        settings = [scheme.for_node(name) for name in members]
        if any(s.exclude for s in settings):
            by_group[group] = None
            continue
        bits = min(s.activation_bits for s in settings)
        fixed = OPS[groups.fixed[group]].fixed if group in groups.fixed else None
        if fixed is not None:
            by_group[group] = _fixed_qparams(*fixed, bits)
            continue
        ends = [_range(name, graph, calibration) for name in members]
        by_group[group] = choose_qparams(
            min(low for low, _ in ends), max(high for _, high in ends), bits=bits, power_of_two=settings[0].power_of_two
        )
    return {name: by_group[group] for name, group in groups.of.items()}


def _fixed_qparams(scale: float, zero_point: int, bits: int) -> QParams:
    """The fixed quantizer of an operator, the same range at other widths."""
    # The zero point is 0 or the lowest code, so scaling it by a power of two leaves it whole.
    step = 2.0 ** (8 - bits)
    return QParams(scale * step, int(zero_point / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _range(name: str, graph: Graph, calibration: Calibration) -> tuple[float, float]:
    """What calibration saw at a value: for a fused node, after the last node it absorbed."""
    if name in {value.name for value in graph.inputs}:
        return calibration.range(name)
    node = graph.node(name)
    if name not in calibration.statistics:
        # A requantize node carries the value it reads.
        return _range(node.inputs[0], graph, calibration)
    return calibration.range(node.absorbed[-1] if node.absorbed else name)
