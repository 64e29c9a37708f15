"""XNNPACK, which LiteRT hands a model to unless told otherwise: float32 multiplications, ties to even.

Where one of its own conditions does not hold (a ratio of scales out of range, a padding it cannot express) it leaves the
node to LiteRT's fast kernels; a rule here then returns None.

With this module one can look up XNNPACK's rule for an operator (`XNNPACK`).

References: google/XNNPACK `src/qs8-*`; tensorflow `lite/delegates/xnnpack`; every line measured on ai-edge-litert 2.3.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import frexp

import numpy as np

from tinyquant.engines import dialect_arithmetic as other
from tinyquant.engines.dialect_rules import DialectRule, changed, float32_scales, table_rule
from tinyquant.graph import ACTIVATIONS, Node, Value
from tinyquant.integer.kernels import KERNELS
from tinyquant.integer.prepare import prepare
from tinyquant.integer.prepare_checks import real_scale, stored_scale, zero_code
from tinyquant.integer.registry import Step
from tinyquant.numerics.rounding import round_to_int

__all__ = ["XNNPACK"]


def _clamp(node: Node) -> dict[str, int]:
    """The fused activation's ends: round(end / scale + zero point), ties to even, where TFLite rounds before it adds."""
    assert node.qparams is not None
    scale, zero, codes = np.float32(real_scale(node)), np.float32(zero_code(node)), [-128, 127]
    for i, end in enumerate(ACTIVATIONS[node.attrs["activation"]]):
        if end is not None:
            codes[i] = int(round_to_int((np.float32(end) / scale + zero).clip(-128, 127), "half_even"))
    return {"act_min": codes[0], "act_max": codes[1]}


def _max_pool(node: Node, inputs: Sequence[Value]) -> Step:
    """Only the clamp differs."""
    return changed(node, inputs, **_clamp(node))


def _weighted(node: Node, inputs: Sequence[Value]) -> Step:
    """CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED: the real in float32, ties to even."""
    x, y = float32_scales(node, inputs)
    scale = x * stored_scale(node.param_qparams["weight"]).astype(np.float32) / y
    if np.any(scale >= 256):
        raise ValueError(
            f"the scales of input times weight over output must be below 256 for XNNPACK, got {np.max(scale):.6g} at node "
            f"{node.name!r} ({node.op}); the real runtime refuses it too. Use another dialect."
        )
    return changed(node, inputs, multiplier=scale, shift=0, rescale=other.float32_half_even, **_clamp(node))


def _transpose_conv(node: Node, inputs: Sequence[Value]) -> Step | None:
    """As above; XNNPACK does not take padding "same" with a stride larger than the window."""
    window = node.params["weight"].shape[1:3]
    if node.attrs["padding"] == "same" and any(k < s for k, s in zip(window, node.attrs["stride"])):
        return None
    return _weighted(node, inputs)


def _sum(node: Node, inputs: Sequence[Value]) -> Step | None:
    """ADD and SUB: whole factors of 20 bits and one rounding; scales more than 2**10 below or 2**8 above are left."""
    first, second, y = float32_scales(node, inputs)
    ratios = [float(first / y), float(second / y)]
    if not all(2**-10 <= ratio < 2**8 for ratio in ratios):
        return None
    # 20 bits below the leading bit of the larger ratio.
    bits = 20 - (frexp(max(ratios))[1] - 1)
    first_factor, second_factor = (int(round_to_int(ratio * 2.0**bits, "half_even")) for ratio in ratios)
    return Step(
        other.sum_of_products,
        {
            "input_zero_points": prepare(node, inputs)["input_zero_points"],
            "factors": (first_factor, -second_factor if node.op == "SUB" else second_factor),
            "bits": bits,
            "output_zero_point": zero_code(node),
            **_clamp(node),
        },
    )


def _square(node: Node, inputs: Sequence[Value]) -> Step:
    """x * x is one function of one code, so XNNPACK makes a table of it."""
    assert inputs[0].qparams is not None and node.qparams is not None
    clamp = _clamp(node)
    table = other.function_table(np.square, inputs[0].qparams, node.qparams, zero_first=True)
    return Step(other.look_up, {"table": table.clip(clamp["act_min"], clamp["act_max"])})


def _mul(node: Node, inputs: Sequence[Value]) -> Step | None:
    """The real in float32, ties to even; x * x is a table of squares."""
    first, second, y = float32_scales(node, inputs)
    scale = first * second / y
    if not 2**-16 <= scale < 2**8:
        return None
    if node.inputs[0] == node.inputs[1]:
        return _square(node, inputs)
    return changed(node, inputs, multiplier=scale, shift=0, rescale=other.float32_half_even, **_clamp(node))


def _reduce(node: Node, inputs: Sequence[Value]) -> Step:
    """MEAN and SUM: the zero point is added in float32, before the rounding, so ties depend on whether it is odd."""
    x, y = float32_scales(node, inputs)
    arguments = prepare(node, inputs)
    real, zero = x / y, np.float32(zero_code(node))
    if node.op == "MEAN":
        real = real / np.float32(arguments["count"])

    def rescale(acc: np.ndarray, *_: object) -> np.ndarray:
        """The output code, zero point included."""
        return round_to_int(acc.astype(np.float32) * real + zero, "half_even").astype(np.int64)

    return Step(KERNELS[node.op], {**arguments, "output_zero_point": 0, "rescale": rescale})


def _in_256ths(real: np.float32) -> int:
    """round(256 * real), ties to even."""
    return int(round_to_int(np.float32(256) * real, "half_even"))


def _leaky_relu(node: Node, inputs: Sequence[Value]) -> Step | None:
    """Factors in 256ths, if there is at least one and at most 2**15 of them."""
    x, y = float32_scales(node, inputs)
    above = x / y
    below = above * np.float32(node.attrs["alpha"])
    if not (2**-8 <= above <= 2**7 and 2**-8 <= abs(below) and -127.99609375 < below <= 2**7):
        return None
    prepare(node, inputs)
    return Step(
        other.by_sign,
        {
            "input_zero_point": zero_code(inputs[0]),
            "output_zero_point": zero_code(node),
            "factors": (_in_256ths(above), _in_256ths(below)),
        },
    )


def _quantize(node: Node, inputs: Sequence[Value]) -> Step | None:
    """Reals by the inverse scale, ties to even; codes by a factor in 256ths, within the same limits."""
    if inputs[0].qparams is None:
        return Step(other.quantize_by_inverse, {**prepare(node, inputs), "lanes": 1, "period": 1})
    x, y = float32_scales(node, inputs)
    if not 2**-8 <= x / y <= 2**7:
        return None
    return changed(node, inputs, multiplier=_in_256ths(x / y), shift=0, rescale=other.of_256ths)


def _as_tflm(node: Node, inputs: Sequence[Value]) -> Step:
    """TFLite Micro's own rule."""
    return Step(KERNELS[node.op], prepare(node, inputs))


XNNPACK: Mapping[str, DialectRule] = {
    "CONV_2D": _weighted,
    "DEPTHWISE_CONV_2D": _weighted,
    "FULLY_CONNECTED": _weighted,
    "TRANSPOSE_CONV": _transpose_conv,
    "ADD": _sum,
    "SUB": _sum,
    "MUL": _mul,
    "MAX_POOL_2D": _max_pool,
    "MEAN": _reduce,
    "SUM": _reduce,
    "LEAKY_RELU": _leaky_relu,
    "LOGISTIC": table_rule(other.logistic_float64, zero_first=True),
    "TANH": table_rule(np.tanh, zero_first=True),
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _as_tflm,
}
"""operator -> rule; the rest is the fast kernels'."""
