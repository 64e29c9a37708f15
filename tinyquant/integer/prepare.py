"""From scales to integers, once, before anything runs: the offline half of an integer network.

On a workstation one may divide; on the target one may not. So every real number a kernel needs is made here and written
down as integers: multipliers and shifts from quotients of scales, clamps from activations, padding from "same".

The reals, with S_x, S_w, S_y the scales of input, weight and output (each exactly a float32; the arithmetic is float64):

===================================================== =============================================================
CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED,          S_x * S_w / S_y, one an output channel
TRANSPOSE_CONV
ADD, SUB                                              S_1 / t, S_2 / t and t / (2**20 S_y), with t = 2 max(S_1, S_2)
MUL                                                   S_1 * S_2 / S_y
RELU, RELU_N1_TO_1, QUANTIZE of codes, SUM, MEAN      S_x / S_y; for MEAN the multiplier is then divided by the count
LEAKY_RELU                                            S_x / S_y and S_x * alpha / S_y
SOFTMAX, LOGISTIC, TANH                               beta * S_x * 2**26, S_x * 2**27
===================================================== =============================================================

With this module one can turn a node into its kernel's arguments (`prepare`), find the clamp of a fused activation
(`activation_range`) and prove that an accumulator cannot overflow (`prove_accumulator`).

References: Jacob et al. 2018, section 2.2; TFLite Micro `kernels/*_common.cc`; TFLite `kernels/kernel_util.cc`
(PopulateConvolutionQuantizationParams, CalculateActivationRangeQuantized).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from tinyquant.graph import ACTIVATIONS, Node, Value, same_padding
from tinyquant.integer.kernels.elementwise import LEFT_SHIFT
from tinyquant.integer.prepare_checks import (
    check_node,
    prove_accumulator,
    real_scale,
    stored_scale,
    zero_code,
)
from tinyquant.numerics.affine import round_quotient
from tinyquant.numerics.fixed_point import quantize_multiplier
from tinyquant.numerics.qparams import QParams

__all__ = ["activation_range", "prepare", "prove_accumulator", "weight_multiplier"]

Arguments = dict[str, Any]


def prepare(node: Node, inputs: Sequence[Value]) -> Arguments:
    """The keyword arguments of `KERNELS[node.op]`, so that `KERNELS[node.op](*arrays, **prepare(node, inputs))` is the node.

    Parameters
    ----------
    node : Node
        Of an integer graph: parameters are codes, `qparams` and `param_qparams` say what they mean.
    inputs : sequence of Value
        What the node reads, in order.

    Returns
    -------
    dict
        Integers, integer arrays and tuples of them (and the QParams themselves for QUANTIZE of reals and DEQUANTIZE, which
        are the doors). Rules are those of the dialect "tflm".

    Raises
    ------
    ValueError
        What the node says has no integer form: an operator without integers, activations wider than 8 bits, shapes
        that do not fit, scales outside the kernel's range. The message ends with the node's name and operator.

    Examples
    --------
    >>> qp = QParams(0.5, 0)
    >>> node = Node("act", "RELU", ("x",), (1, 4), qparams=QParams(0.25, -128), dtype=np.int8)
    >>> prepare(node, [Value("x", (1, 4), np.dtype(np.int8), qp)])["multiplier"]
    1073741824
    """
    try:
        check_node(node, inputs)
        return _PREPARE[node.op](node, inputs)
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')} (node {node.name!r}, {node.op}).") from error


def activation_range(name: str, qparams: QParams) -> tuple[int, int]:
    """The codes a fused activation clamps to: [max(qmin, code of its lower end), min(qmax, code of its upper end)].

    Parameters
    ----------
    name : str
        A key of `tinyquant.graph.ACTIVATIONS`.
    qparams : QParams
        Of the output, one scale.

    Returns
    -------
    (low, high)

    Notes
    -----
    The end is divided in float32 and rounded half away, so the codes are those of the QUANTIZE operator.
    In TFLite: `CalculateActivationRangeQuantized`.

    Examples
    --------
    >>> activation_range("relu6", QParams(0.125, -100)), activation_range("none", QParams(0.125, -100))
    ((-100, -52), (-128, 127))
    """
    ends = []
    for real, limit in zip(ACTIVATIONS[name], (qparams.qmin, qparams.qmax)):
        if real is None:
            ends.append(limit)
        else:
            # Brought near the codes while it is a float: a tiny scale makes it infinite.
            quotient = float(round_quotient(np.float32(real), qparams).clip(-512, 512))
            ends.append(min(max(int(quotient) + int(qparams.zero_point), qparams.qmin), qparams.qmax))
    return ends[0], ends[1]


def weight_multiplier(node: Node, inputs: Sequence[Value]) -> np.ndarray:
    """The real S_x * S_w / S_y of an operator with weights: float64, one number or one an output channel.

    >>> weight = {"weight": np.int8([[1], [1]])}
    >>> node = Node("fc", "FULLY_CONNECTED", ("x",), (1, 2), params=weight, qparams=QParams(0.25, 0),
    ...             param_qparams={"weight": QParams([0.5, 0.125], 0, axis=0)}, dtype=np.int8)
    >>> weight_multiplier(node, [Value("x", (1, 1), np.dtype(np.int8), QParams(0.5, 0))]).tolist()
    [1.0, 0.25]
    """
    return real_scale(inputs[0]) * stored_scale(node.param_qparams["weight"]) / real_scale(node)


# ---------------------------------------------------------------------------------------------------------------
# One function a family: the reals of the table above, as integers


def _ints(real: float | np.ndarray) -> Arguments:
    """A real as multiplier and shift."""
    multiplier, shift = quantize_multiplier(real)
    return {"multiplier": multiplier, "shift": shift}


def _clamp(name: str, qparams: QParams | None) -> Arguments:
    """The fused activation as act_min and act_max."""
    assert qparams is not None
    low, high = activation_range(name, qparams)
    return {"act_min": low, "act_max": high}


def _weighted(node: Node, inputs: Sequence[Value]) -> Arguments:
    """What CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED and TRANSPOSE_CONV have in common."""
    return {
        "weight": node.params["weight"],
        "bias": node.params.get("bias"),
        "input_zero_point": zero_code(inputs[0]),
        "output_zero_point": zero_code(node),
        **_ints(weight_multiplier(node, inputs)[()]),
        **_clamp(node.attrs["activation"], node.qparams),
    }


def _padding(node: Node, size: Sequence[int], window: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Cells around an image, ((top, bottom), (left, right)); none for "valid"."""
    if node.attrs["padding"] == "valid":
        return (0, 0), (0, 0)
    dilation = node.attrs.get("dilation", (1, 1))
    down, across = (same_padding(n, k, s, d) for n, k, s, d in zip(size, window, node.attrs["stride"], dilation))
    return down, across


def _convolution(node: Node, inputs: Sequence[Value]) -> Arguments:
    """CONV_2D and DEPTHWISE_CONV_2D."""
    return {
        **_weighted(node, inputs),
        "stride": node.attrs["stride"],
        "dilation": node.attrs["dilation"],
        "padding": _padding(node, inputs[0].shape[1:3], node.params["weight"].shape[1:3]),
    }


def _transposed(node: Node, inputs: Sequence[Value]) -> Arguments:
    """TRANSPOSE_CONV: the padding of the forward convolution is cut off instead of put on."""
    (top, _), (left, _) = _padding(node, node.shape[1:3], node.params["weight"].shape[1:3])
    return {**_weighted(node, inputs), "stride": node.attrs["stride"], "offset": (top, left), "output_size": node.shape[1:3]}


def _fully(node: Node, inputs: Sequence[Value]) -> Arguments:
    """FULLY_CONNECTED."""
    return {**_weighted(node, inputs), "keep_num_dims": node.attrs["keep_num_dims"]}


def _pool(node: Node, inputs: Sequence[Value]) -> Arguments:
    """AVERAGE_POOL_2D and MAX_POOL_2D."""
    return {
        "window": node.attrs["filter"],
        "stride": node.attrs["stride"],
        "padding": _padding(node, inputs[0].shape[1:3], node.attrs["filter"]),
        **_clamp(node.attrs["activation"], node.qparams),
    }


def _sum(node: Node, inputs: Sequence[Value]) -> Arguments:
    """ADD and SUB."""
    first, second = real_scale(inputs[0]), real_scale(inputs[1])
    common = 2 * max(first, second)
    real = common / (2**LEFT_SHIFT * real_scale(node))
    if real >= 1:
        raise ValueError(
            f"the output scale must be above the input scales / {2 ** (LEFT_SHIFT - 1)}, got {real_scale(node):.9g} "
            f"for inputs of {first:.9g} and {second:.9g}"
        )
    pairs = [quantize_multiplier(scale / common) for scale in (first, second)]
    return {
        "input_zero_points": (zero_code(inputs[0]), zero_code(inputs[1])),
        "input_multipliers": tuple(multiplier for multiplier, _ in pairs),
        "input_shifts": tuple(shift for _, shift in pairs),
        "output_zero_point": zero_code(node),
        **_ints(real),
        **_clamp(node.attrs["activation"], node.qparams),
    }


def _product(node: Node, inputs: Sequence[Value]) -> Arguments:
    """MUL."""
    return {
        "input_zero_points": (zero_code(inputs[0]), zero_code(inputs[1])),
        "output_zero_point": zero_code(node),
        **_ints(real_scale(inputs[0]) * real_scale(inputs[1]) / real_scale(node)),
        **_clamp(node.attrs["activation"], node.qparams),
    }


def _rescaled(node: Node, inputs: Sequence[Value], activation: str = "none") -> Arguments:
    """Operators that multiply x - Z_x by S_x / S_y."""
    return {
        "input_zero_point": zero_code(inputs[0]),
        "output_zero_point": zero_code(node),
        **_ints(real_scale(inputs[0]) / real_scale(node)),
        **_clamp(activation, node.qparams),
    }


def _reduction(node: Node, inputs: Sequence[Value]) -> Arguments:
    """MEAN and SUM."""
    rank = len(inputs[0].shape)
    axes = tuple(sorted({axis % rank for axis in node.attrs["axis"]}))
    count = prod(inputs[0].shape[axis] for axis in axes)
    arguments = {**_rescaled(node, inputs), "axis": axes, "keep_dims": node.attrs["keep_dims"], "count": count}
    if node.op == "MEAN":
        # The multiplier takes as many more bits before the division as its shift allows, so that floor loses little.
        extra = min(count.bit_length() - 1, 32, 31 + arguments["shift"])
        arguments["multiplier"] = (arguments["multiplier"] << extra) // count
        arguments["shift"] -= extra
    return arguments


def _leaky(node: Node, inputs: Sequence[Value]) -> Arguments:
    """LEAKY_RELU: a multiplier for each side of 0; alpha is a float32 in the file."""
    arguments = _rescaled(node, inputs)
    alpha = float(np.float32(node.attrs["alpha"]))
    below = quantize_multiplier(real_scale(inputs[0]) * alpha / real_scale(node))
    arguments["multipliers"] = (arguments.pop("multiplier"), below[0])
    arguments["shifts"] = (arguments.pop("shift"), below[1])
    return arguments


def _input_radius(integer_bits: int, shift: int) -> int:
    """The largest |difference| that still fits the fixed-point format after the left shift (CalculateInputRadius)."""
    largest = ((1 << integer_bits) - 1) << (31 - integer_bits)
    return largest >> shift if shift > 0 else largest << -shift


def _sigmoid(node: Node, inputs: Sequence[Value]) -> Arguments:
    """LOGISTIC and TANH: the input as Q4.27."""
    if real_scale(inputs[0]) >= 16:
        raise ValueError(f"the input scale must be below 16, got {real_scale(inputs[0]):.9g}")
    real = _ints(real_scale(inputs[0]) * 2**27)
    return {"input_zero_point": zero_code(inputs[0]), **real, "radius": _input_radius(4, real["shift"])}


def _softmax(node: Node, inputs: Sequence[Value]) -> Arguments:
    """SOFTMAX: differences as Q5.26; beta is a float32 in the file."""
    real = min(float(np.float32(node.attrs["beta"])) * real_scale(inputs[0]) * 2**26, 2.0**31 - 1)
    if real <= 1:
        raise ValueError(f"beta times the input scale must be above 2**-26, got {real / 2**26:.3g}")
    arguments = _ints(real)
    return {**arguments, "difference_min": -_input_radius(5, arguments["shift"])}


def _copy(node: Node, inputs: Sequence[Value]) -> Arguments:
    """RESHAPE: the leading axis stays the batch where it has the same length on both sides."""
    before = inputs[0].shape
    return {"shape": node.shape, "keeps_rows": bool(before) and bool(node.shape) and before[0] == node.shape[0]}


def _pad(node: Node, inputs: Sequence[Value]) -> Arguments:
    """PAD fills with real 0, PADV2 with a code of its own."""
    fill = node.attrs["value"] if node.op == "PADV2" else zero_code(node)
    if not -128 <= fill <= 127:
        raise ValueError(f"value must be an int8 code, got {fill}")
    return {"paddings": node.attrs["paddings"], "fill": fill}


def _door(node: Node, inputs: Sequence[Value]) -> Arguments:
    """QUANTIZE of reals or of codes, DEQUANTIZE."""
    if node.op == "QUANTIZE" and inputs[0].qparams is not None:
        return _rescaled(node, inputs)
    qparams = inputs[0].qparams if node.op == "DEQUANTIZE" else node.qparams
    assert qparams is not None
    return {"qparams": QParams(float(stored_scale(qparams)), qparams.zero_point, qparams.qmin, qparams.qmax)}


_PREPARE: Mapping[str, Callable[[Node, Sequence[Value]], Arguments]] = {
    "CONSTANT": lambda node, inputs: {"value": node.params["value"]},
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "TRANSPOSE_CONV": _transposed,
    "FULLY_CONNECTED": _fully,
    "ADD": _sum,
    "SUB": _sum,
    "MUL": _product,
    "CONCATENATION": lambda node, inputs: {"axis": node.attrs["axis"], **_clamp(node.attrs["activation"], node.qparams)},
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "MEAN": _reduction,
    "SUM": _reduction,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _copy,
    "TRANSPOSE": lambda node, inputs: {"perm": node.attrs["perm"]},
    "RELU": lambda node, inputs: _rescaled(node, inputs, "relu"),
    "RELU6": lambda node, inputs: _clamp("relu6", inputs[0].qparams),
    "RELU_N1_TO_1": lambda node, inputs: _rescaled(node, inputs, "relu_n1_to_1"),
    "LEAKY_RELU": _leaky,
    "LOGISTIC": _sigmoid,
    "TANH": _sigmoid,
    "SOFTMAX": _softmax,
    "QUANTIZE": _door,
    "DEQUANTIZE": _door,
}
