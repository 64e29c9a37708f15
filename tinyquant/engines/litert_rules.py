"""LiteRT without its delegate: the reference kernels (BUILTIN_REF), and the fast ones of x86.

The reference kernels are TFLite Micro's but for a few multipliers formed in float32, tables for LOGISTIC and TANH, a
FULLY_CONNECTED that rescales in double precision and a SUM that takes int8 for uint8. The fast ones round as vector
instructions do, and as ordinary ones in the remainder of a loop.

With this module one can look up LiteRT's rule for an operator (`LITERT_REF`, `LITERT_OPT`).

References: google-ai-edge/LiteRT `tflite/kernels/`; every line measured on ai-edge-litert 2.3.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from tinyquant.engines import dialect_arithmetic as other
from tinyquant.engines.dialect_rules import (
    DialectRule,
    changed,
    float32_scales,
    multiplier_pair,
    reduced_axes,
    table_rule,
)
from tinyquant.graph import Node, Value
from tinyquant.integer.kernels import KERNELS
from tinyquant.integer.prepare import activation_range, prepare, weight_multiplier
from tinyquant.integer.prepare_checks import real_scale, stored_scale, zero_code
from tinyquant.integer.registry import Step
from tinyquant.numerics.fixed_point import quantize_multiplier
from tinyquant.numerics.rounding import round_to_int

__all__ = ["LITERT_OPT", "LITERT_REF"]


# ---------------------------------------------------------------------------------------------------------------
# litert_ref


def _ref_fully_connected(node: Node, inputs: Sequence[Value]) -> Step:
    """The sum is multiplied by the real itself, in double precision."""
    return changed(node, inputs, multiplier=weight_multiplier(node, inputs)[()], shift=0, rescale=other.float64_half_away)


def _ref_mul(node: Node, inputs: Sequence[Value]) -> Step:
    """The real is formed in float32."""
    first, second, output = float32_scales(node, inputs)
    return changed(node, inputs, **multiplier_pair(first * second / output))


def _ref_relu(node: Node, inputs: Sequence[Value]) -> Step:
    """RELU, RELU6 and RELU_N1_TO_1 all rescale, and form the real in float32."""
    x, y = float32_scales(node, inputs)
    assert node.qparams is not None
    low, high = activation_range(node.op.lower(), node.qparams)
    return Step(
        KERNELS["RELU"],
        {
            "input_zero_point": zero_code(inputs[0]),
            "output_zero_point": zero_code(node),
            "act_min": low,
            "act_max": high,
            **multiplier_pair(x / y),
        },
    )


def _ref_leaky_relu(node: Node, inputs: Sequence[Value]) -> Step:
    """Both reals are formed in float32, from left to right."""
    x, y = float32_scales(node, inputs)
    pairs = [quantize_multiplier(float(real)) for real in (x / y, x * np.float32(node.attrs["alpha"]) / y)]
    return changed(node, inputs, multipliers=tuple(m for m, _ in pairs), shifts=tuple(e for _, e in pairs))


def _ref_sum(node: Node, inputs: Sequence[Value]) -> Step:
    """The fault of reading int8 as uint8, reproduced."""
    return Step(other.unsigned_sum, prepare(node, inputs))


# ---------------------------------------------------------------------------------------------------------------
# litert_opt


def _opt_conv(node: Node, inputs: Sequence[Value]) -> Step | None:
    """Ties up; there is no fast kernel for groups of channels."""
    if node.params["weight"].shape[3] != inputs[0].shape[3]:
        return None
    return changed(node, inputs, rescale=other.ties_up)


def _opt_fully_connected(node: Node, inputs: Sequence[Value]) -> Step:
    """Ties up; with one scale, the product of the two scales is rounded to float32."""
    changes: dict[str, object] = {"rescale": other.ties_up}
    if not node.param_qparams["weight"].per_axis:
        product = np.float32(real_scale(inputs[0])) * np.float32(stored_scale(node.param_qparams["weight"]))
        changes |= multiplier_pair(float(product) / real_scale(node))
    return changed(node, inputs, **changes)


def _opt_by_channel(node: Node, inputs: Sequence[Value]) -> Step:
    """DEPTHWISE_CONV_2D and TRANSPOSE_CONV: eight channels at a time ties go up, in the last few away from zero."""
    return changed(node, inputs, rescale=other.in_lanes(8, node.shape[-1]))


def _opt_mean(node: Node, inputs: Sequence[Value]) -> Step | None:
    """The mean of an image: the zero point leaves the sum and joins the output's, as one number rounded in float32.

    Sixteen channels at a time ties go up, in the rest away from zero.
    """
    if not (node.attrs["keep_dims"] and len(inputs[0].shape) == 4 and reduced_axes(node, inputs) == {1, 2}):
        return None
    x, y = float32_scales(node, inputs)
    shifted = np.float32(zero_code(inputs[0])) * x / y
    bias = zero_code(node) - int(shifted + np.copysign(np.float32(0.5), shifted))
    count = np.float32(inputs[0].shape[1] * inputs[0].shape[2])
    real, lanes = multiplier_pair(x / (count * y)), other.in_lanes(16, node.shape[-1])
    return changed(node, inputs, input_zero_point=0, output_zero_point=bias, rescale=lanes, **real)


def _opt_sum(node: Node, inputs: Sequence[Value]) -> Step:
    """In float32: round(sum of codes * real + bias), ties away from zero."""
    x, y = float32_scales(node, inputs)
    real, zero = x / y, np.float32(-zero_code(inputs[0]))
    bias = zero * real * np.float32(prod(inputs[0].shape[axis] for axis in reduced_axes(node, inputs)))

    def rescale(acc: np.ndarray, *_: object) -> np.ndarray:
        """The zero points of all cells are the bias."""
        return round_to_int(acc.astype(np.float32) * real + bias, "half_away").astype(np.int64)

    return changed(node, inputs, input_zero_point=0, rescale=rescale)


def _opt_softmax(node: Node, inputs: Sequence[Value]) -> Step:
    """A table of exponentials in float32."""
    prepare(node, inputs)
    return Step(other.exponential_softmax, {"scale": np.float32(real_scale(inputs[0])) * np.float32(node.attrs["beta"])})


def _opt_quantize(node: Node, inputs: Sequence[Value]) -> Step:
    """Reals eight at a time by the inverse scale; codes sixteen at a time with ties up."""
    period = max(1, prod(node.shape))
    if inputs[0].qparams is not None:
        return changed(node, inputs, rescale=other.in_lanes(16, period))
    return Step(other.quantize_by_inverse, {**prepare(node, inputs), "lanes": 8, "period": period})


def _opt_dequantize(node: Node, inputs: Sequence[Value]) -> Step:
    """Eight at a time, the zero point multiplied out."""
    return Step(other.dequantize_in_lanes, {**prepare(node, inputs), "lanes": 8, "period": max(1, prod(node.shape))})


LITERT_REF: Mapping[str, DialectRule] = {
    "FULLY_CONNECTED": _ref_fully_connected,
    "MUL": _ref_mul,
    "RELU": _ref_relu,
    "RELU6": _ref_relu,
    "RELU_N1_TO_1": _ref_relu,
    "LEAKY_RELU": _ref_leaky_relu,
    "LOGISTIC": table_rule(other.logistic_float32),
    "TANH": table_rule(np.tanh),
    "SUM": _ref_sum,
}
"""operator -> rule; the rest is TFLite Micro's."""

LITERT_OPT: Mapping[str, DialectRule] = {
    "CONV_2D": _opt_conv,
    "DEPTHWISE_CONV_2D": _opt_by_channel,
    "TRANSPOSE_CONV": _opt_by_channel,
    "FULLY_CONNECTED": _opt_fully_connected,
    "MEAN": _opt_mean,
    "SUM": _opt_sum,
    "SOFTMAX": _opt_softmax,
    "QUANTIZE": _opt_quantize,
    "DEQUANTIZE": _opt_dequantize,
}
"""operator -> rule; the rest is the reference kernels'."""
