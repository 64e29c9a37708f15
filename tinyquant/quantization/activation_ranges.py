"""Activation quantizers that training moves: one a group of values, as `ranges=` says.

With this module one can make them for a network (`make_ranges`) and pass a value through its own
(`quantize_activation`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tinyquant.autograd import Tensor
from tinyquant.graph import OPS, Graph
from tinyquant.numerics.qparams import QParams, choose_qparams
from tinyquant.quantization.fake_quant import fake_quantize
from tinyquant.quantization.learned_scale import LearnedScale
from tinyquant.quantization.moving_range import MovingRange
from tinyquant.quantization.schemes import Scheme
from tinyquant.quantization.training_rules import TrainingRules
from tinyquant.quantization.training_state import TrainingState

__all__ = ["ActivationRange", "make_ranges", "quantize_activation", "sharing_of"]

ActivationRange = MovingRange | LearnedScale


def sharing_of(qparams: Mapping[str, QParams | None]) -> dict[str, str]:
    """For each quantized value the first one that has the very same quantizer object: who shares with whom."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(qp), name) for name, qp in qparams.items() if qp is not None}


def make_ranges(
    graph: Graph,
    scheme: Scheme,
    qparams: Mapping[str, QParams | None],
    sharing: Mapping[str, str],
    rules: TrainingRules,
) -> dict[str, ActivationRange]:
    """The range that training moves, by the name of the value; values that share a quantizer get one object.

    Quantizers that an operator fixes (softmax, sigmoid, tanh) stand still and are left out.

    Raises
    ------
    ValueError
        Learned scales and scales that must be powers of two; nothing to move, since no activation has a quantizer of the
        scheme's making.
    """
    if not rules.moves_ranges:
        return {}
    fixed = {sharing[node.name] for node in graph if OPS[node.op].qparams == "fixed" and node.name in sharing}
    ranges: dict[str, ActivationRange] = {}
    for group in dict.fromkeys(sharing.values()):
        start = qparams[group]
        if start is None or group in fixed:
            continue
        members = [name for name, owner in sharing.items() if owner == group]
        settings = _settings(members, scheme)
        made: ActivationRange
        if rules.ranges == "ema":
            made = MovingRange(start, _maker(settings, start), momentum=rules.momentum)
        else:
            if settings.power_of_two:
                raise ValueError(
                    f"ranges={rules.ranges!r} must go with scales that may take any value, got power_of_two=True. "
                    "Use ranges='ema', or power_of_two=False."
                )
            made = LearnedScale(
                start, learn_zero_point=rules.ranges == "learn_zero_point" and not settings.activation_symmetric,
                inner=rules.ranges != "pact", gradient_scale=rules.gradient_scale, parameter=rules.scale_parameter,
            )  # fmt: skip
        ranges.update(dict.fromkeys(members, made))
    if not ranges:
        raise ValueError(
            f"ranges={rules.ranges!r} must have ranges of activations to move, got none in scheme {scheme.name!r} with "
            f"activations={scheme.activations!r}. Use ranges='frozen', or a scheme with activations='static'."
        )
    return ranges


def quantize_activation(
    x: Tensor, qp: QParams, moved: ActivationRange | None, state: TrainingState, *, rounding: str, training: bool
) -> Tensor:
    """A value after its fake-quant node: `qp` is what its range says now."""
    if not training:
        return fake_quantize(x, qp, rounding=rounding, surrogate=state.rules.surrogate)
    if isinstance(moved, MovingRange):
        moved.observe(x.data)
    if state.in_float:
        return x
    how = state.rounding(rounding, training=True)
    if isinstance(moved, LearnedScale):
        # LSQ counts the features of a layer, not those of the whole batch.
        count = x.size // max(x.shape[0], 1) if x.ndim else 1
        return moved.fake_quantize(x, count=count, rounding=how["rounding"], rng=how["rng"])
    return fake_quantize(x, qp, **how)


def _settings(members: Sequence[str], scheme: Scheme) -> Scheme:
    """The settings of the first member that an annotation changes, as where the quantizer was first chosen."""
    return next((s for s in map(scheme.for_node, members) if s is not scheme), scheme)


def _maker(settings: Scheme, start: QParams) -> Callable[[float, float], QParams]:
    """What the scheme makes of a range, with the codes of the start."""

    def make(low: float, high: float) -> QParams:
        return choose_qparams(
            low, high, bits=start.levels.bit_length() - 1, signed=settings.signed, symmetric=settings.activation_symmetric,
            power_of_two=settings.power_of_two,
        )  # fmt: skip

    return make
