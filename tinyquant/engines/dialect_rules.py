"""What the rules of other runtimes are written with: a step with some arguments changed, scales as float32, tables.

A *rule* takes (node, inputs) and returns the `Step` that runs the node, or None where it does not apply and the runtime
itself falls back on something else. With this module one can write such a rule in a few lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinyquant.engines import dialect_arithmetic as other
from tinyquant.graph import Node, Value
from tinyquant.integer.kernels import KERNELS
from tinyquant.integer.prepare import prepare
from tinyquant.integer.prepare_checks import real_scale
from tinyquant.integer.registry import Step
from tinyquant.numerics.fixed_point import quantize_multiplier

__all__ = ["DialectRule", "changed", "float32_scales", "multiplier_pair", "reduced_axes", "table_rule"]

DialectRule = Callable[[Node, Sequence[Value]], "Step | None"]


def changed(node: Node, inputs: Sequence[Value], **changes: object) -> Step:
    """TFLite Micro's step with some arguments changed."""
    return Step(KERNELS[node.op], {**prepare(node, inputs), **changes})


def multiplier_pair(real: float | np.floating) -> dict[str, int]:
    """A real as multiplier and shift."""
    multiplier, shift = quantize_multiplier(float(real))
    return {"multiplier": multiplier, "shift": shift}


def float32_scales(node: Node, inputs: Sequence[Value]) -> list[np.float32]:
    """The scales of the inputs, then of the output."""
    values: list[Value | Node] = [*inputs, node]
    return [np.float32(real_scale(value)) for value in values]


def reduced_axes(node: Node, inputs: Sequence[Value]) -> set[int]:
    """The axes reduced over, counted from the front."""
    return {axis % len(inputs[0].shape) for axis in node.attrs["axis"]}


def table_rule(f: Callable[[np.ndarray], np.ndarray], *, zero_first: bool = False) -> DialectRule:
    """An operator that is one table of 256 codes."""

    def rule(node: Node, inputs: Sequence[Value]) -> Step:
        """The table for these scales."""
        prepare(node, inputs)
        assert inputs[0].qparams is not None and node.qparams is not None
        return Step(other.look_up, {"table": other.function_table(f, inputs[0].qparams, node.qparams, zero_first=zero_first)})

    return rule
