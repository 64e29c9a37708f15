"""The quantizer of every value: what calibration saw, made into a scale and a zero point as the scheme says.

With this module one can choose the quantizers of all activations of a network (`choose_activation_qparams`).
"""

from __future__ import annotations

from tinyquant.graph import OPS, Graph
from tinyquant.numerics.qparams import QParams, choose_qparams
from tinyquant.quantization.calibrate import Calibration
from tinyquant.quantization.groups import Groups
from tinyquant.quantization.range_rules import choose_range
from tinyquant.quantization.schemes import Scheme

__all__ = ["choose_activation_qparams"]


def choose_activation_qparams(groups: Groups, calibration: Calibration, scheme: Scheme) -> dict[str, QParams | None]:
    """The quantizer of every value, by name: one a group, from what was seen of all its members.

    A group whose members the scheme tells apart has the fewest bits of them, and for the rest the settings of its
    first member that an annotation changes. One member left in float leaves the whole group in float.
    """
    graph = groups.graph
    chosen: dict[str, QParams | None] = {}
    for members in _sharing(groups, scheme):
        settings = [scheme.for_node(name) for name in members]
        kinds = {groups.fixed[groups.of[name]] for name in members if groups.of[name] in groups.fixed}
        if any(s.exclude or s.activations != "static" for s in settings):
            qp = None
        else:
            bits = min(s.activation_bits for s in settings)
            told = next((s for s in settings if s is not scheme), scheme)
            fixed = {OPS[kind].fixed for kind in kinds}
            if len(fixed) > 1:
                raise ValueError(
                    f"nodes that share a quantizer must not have different fixed ones, got {', '.join(sorted(kinds))} "
                    f"among {', '.join(members)}. Change share= in the scheme."
                )
            at = fixed.pop() if fixed else None
            qp = _from_statistics(members, graph, calibration, told, bits) if at is None else _fixed_qparams(*at, bits, told)
        chosen.update(dict.fromkeys(members, qp))
    return {name: chosen[name] for name in groups.of}


def _sharing(groups: Groups, scheme: Scheme) -> list[list[str]]:
    """The values of each quantizer: a group of the graph, or the groups that the scheme joins by one word."""
    joined: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for group in dict.fromkeys(groups.of.values()):
        members = groups.members(group)
        words = [word for word in (scheme.for_node(name).share for name in members) if word]
        first = next((owner[word] for word in words if word in owner), group)
        for word in words:
            if owner.get(word, first) != first:
                # A group with two words brings their quantizers together.
                joined[first] += joined.pop(owner[word])
                owner = {w: first if o == owner[word] else o for w, o in owner.items()}
            owner[word] = first
        joined.setdefault(first, []).extend(members)
    return list(joined.values())


def _from_statistics(
    members: list[str], graph: Graph, calibration: Calibration, settings: Scheme, bits: int
) -> QParams:
    """The quantizer that the scheme's rule makes of what was seen of these values."""

    def make(low: float, high: float) -> QParams:
        return choose_qparams(
            low, high, bits=bits, signed=settings.signed, symmetric=settings.activation_symmetric,
            power_of_two=settings.power_of_two,
        )  # fmt: skip

    seen = [calibration.statistics[_watched(name, graph, calibration)] for name in members]
    return make(*choose_range(seen, settings, make))


def _fixed_qparams(scale: float, zero_point: int, bits: int, settings: Scheme) -> QParams:
    """The fixed quantizer of an operator, the same range at other widths."""
    # The zero point is 0 or the lowest code, so scaling it by a power of two leaves it whole.
    step = 2.0 ** (8 - bits)
    shift = 0 if settings.signed else 2 ** (bits - 1)
    return QParams(scale * step, int(zero_point / step) + shift, -(2 ** (bits - 1)) + shift, 2 ** (bits - 1) - 1 + shift)


def _watched(name: str, graph: Graph, calibration: Calibration) -> str:
    """The name under which calibration saw a value: for a fused node, that of the last node it absorbed."""
    if name in {value.name for value in graph.inputs}:
        return name
    node = graph.node(name)
    if name not in calibration.statistics:
        # A requantize node carries the value it reads.
        return _watched(node.inputs[0], graph, calibration)
    return node.absorbed[-1] if node.absorbed else name
