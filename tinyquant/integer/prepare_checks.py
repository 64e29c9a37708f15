"""What must hold before a node can be integers, and the proof that its accumulator fits.

With this module one can refuse a node whose types, scales, shapes or parameters have no integer form (`check_node`), prove
that a sum cannot leave int32 (`prove_accumulator`), and read a scale the way a model file stores it (`stored_scale`).

References: TFLite `kernels/*.cc`, the Prepare functions; Jacob et al. 2018, section 2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tinyquant.graph import OPS, Node, Value
from tinyquant.integer.shapes import output_shape
from tinyquant.numerics.qparams import QParams

__all__ = ["check_node", "prove_accumulator", "real_scale", "stored_scale", "zero_code"]


def prove_accumulator(node: Node, inputs: Sequence[Value]) -> int:
    """The largest magnitude the node's accumulator can reach, whatever the input codes; refused from 2**31 on.

    For the operators with weights, the largest over the channels of::

        sum of |w| * max |x - Z_x| + |bias|

    and for sums of codes the count of cells times the largest |x - Z_x| (|x| for AVERAGE_POOL_2D). 0 for operators
    without an accumulator.

    Parameters
    ----------
    node, inputs
        As in `prepare`.

    Returns
    -------
    int, below 2**31

    Raises
    ------
    ValueError
        The bound is 2**31 or more: int32 could wrap, which is undefined on the target.

    Examples
    --------
    >>> node = Node("fc", "FULLY_CONNECTED", ("x",), (1, 1), params={"weight": np.int8([[127, -127]]), "bias": np.int32([6])})
    >>> prove_accumulator(node, [Value("x", (1, 2), np.dtype(np.int8), QParams(0.5, -128))])
    64776
    """
    qparams = inputs[0].qparams if inputs else None
    if qparams is None:
        return 0
    low, high = qparams.qmin - int(qparams.zero_point), qparams.qmax - int(qparams.zero_point)
    reach = max(abs(low), abs(high))
    bound = 0
    if OPS[node.op].weight_axis is not None:
        weight = node.params["weight"].astype(np.int64)
        others = tuple(axis for axis in range(weight.ndim) if axis != OPS[node.op].weight_axis)
        bias = node.params.get("bias", np.zeros(1, np.int32)).astype(np.int64)
        bound = int((np.abs(weight).sum(axis=others) * reach + np.abs(bias)).max())
    elif node.op in ("MEAN", "SUM"):
        bound = reach * (prod(inputs[0].shape) // max(prod(node.shape), 1))
    elif node.op == "AVERAGE_POOL_2D":
        bound = max(abs(qparams.qmin), abs(qparams.qmax)) * prod(node.attrs["filter"])
    if bound >= 2**31:
        raise ValueError(
            f"the int32 accumulator of node {node.name!r} ({node.op}) must stay below 2**31, but may reach {bound}. "
            "Use smaller weights or a smaller bias: scale the weights up, or split the layer."
        )
    return bound


def check_node(node: Node, inputs: Sequence[Value]) -> None:
    """Types, qparams, shapes and parameters of a node, as TFLite Micro's kernels need them.

    Parameters
    ----------
    node, inputs
        As in `tinyquant.integer.prepare.prepare`, which calls this and adds the node's name to the message.

    Raises
    ------
    ValueError
        The first thing that does not hold.
    """
    if not OPS[node.op].integer:
        raise ValueError(f"{node.op} has no integer form, got it in an integer graph; fold or convert it first")
    floats = np.dtype(np.float32)
    for value in inputs:
        if not (node.op == "QUANTIZE" and value.dtype == floats):
            _must_be_codes(f"input {value.name!r}", value.dtype, value.qparams)
    if node.op == "DEQUANTIZE":
        if node.dtype != floats or node.qparams is not None:
            raise ValueError(f"the output must be float32 without qparams, got {node.dtype}")
    else:
        _must_be_codes("the output", node.dtype, node.qparams)
    unknown = sorted(set(node.params) - {"weight", "bias", "value"})
    if unknown:
        raise ValueError(f"the parameters must be weight, bias or value, got {unknown}; fold batch norms before converting")
    constant = node.params.get("value")
    if constant is not None and constant.dtype != np.int8:
        raise ValueError(f"value must be int8 codes, got {constant.dtype}")
    axis = OPS[node.op].weight_axis
    if axis is not None:
        _check_parameters(node, axis)
    shape = output_shape(node, [value.shape for value in inputs])
    if shape != node.shape:
        raise ValueError(f"the declared shape must be the one the operator makes, {shape}, got {node.shape}")
    _check_rule(node, inputs)


def _must_be_codes(what: str, dtype: np.dtype, qparams: QParams | None) -> None:
    """int8, one scale, codes of at most 8 bits."""
    if qparams is not None and (qparams.qmin < -128 or qparams.qmax > 127):
        raise ValueError(
            f"{what} must be int8 codes within -128 to 127, got [{qparams.qmin}, {qparams.qmax}]; "
            "16-bit activations are simulated only, and unsigned codes go to int8 by subtracting 128"
        )
    if dtype != np.int8 or qparams is None:
        raise ValueError(f"{what} must be int8 with qparams, got {dtype} {'without' if qparams is None else 'with'} qparams")
    if qparams.per_axis:
        raise ValueError(f"{what} must have one scale, got one a channel; only weights have scales per channel")


def _check_parameters(node: Node, axis: int) -> None:
    """Weights int8 around 0 with one scale or one an output channel; bias int32, one an output channel."""
    weight, bias, qparams = node.params.get("weight"), node.params.get("bias"), node.param_qparams.get("weight")
    if weight is None or weight.dtype != np.int8 or qparams is None:
        raise ValueError(f"weight must be int8 codes with qparams, got {None if weight is None else weight.dtype}")
    if np.any(qparams.zero_point):
        raise ValueError(f"the weight's zero point must be 0, got {np.max(np.abs(qparams.zero_point))}")
    channels = weight.shape[axis] if weight.ndim > axis else 0
    if qparams.per_axis and ((qparams.axis or 0) % weight.ndim != axis or np.size(qparams.scale) != channels):
        raise ValueError(
            f"scales per channel must be the {channels} of weight axis {axis}, "
            f"got {np.size(qparams.scale)} along axis {qparams.axis}"
        )
    if bias is not None and (bias.dtype != np.int32 or bias.shape != (channels,)):
        raise ValueError(f"bias must be int32 of shape ({channels},), got {bias.dtype} {bias.shape}")


def _check_rule(node: Node, inputs: Sequence[Value]) -> None:
    """Scales and zero points where the runtimes insist on them."""
    if node.op in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION"):
        for value in inputs:
            if (real_scale(value), zero_code(value)) != (real_scale(node), zero_code(node)):
                raise ValueError(
                    f"input {value.name!r} must have the output's scale and zero point "
                    f"({real_scale(node):.9g}, {zero_code(node)}), got ({real_scale(value):.9g}, {zero_code(value)}); "
                    "put a QUANTIZE node between them"
                )
    fixed = OPS[node.op].fixed
    if fixed is not None:
        assert node.qparams is not None
        got = (real_scale(node), zero_code(node), node.qparams.qmin, node.qparams.qmax)
        if got != (*fixed, -128, 127):
            raise ValueError(f"the output must have scale {fixed[0]} and zero point {fixed[1]}, got {got[:2]}")


def stored_scale(qparams: QParams | None) -> np.ndarray:
    """A scale as the float64 value of the float32 that every model file stores: a number, or one a channel (1-D).

    >>> float(stored_scale(QParams(0.1, 0)))
    0.10000000149011612
    """
    assert qparams is not None
    return np.asarray(qparams.scale).astype(np.float32).astype(np.float64)


def real_scale(value: Value | Node) -> float:
    """The stored scale of an activation."""
    return float(stored_scale(value.qparams))


def zero_code(value: Value | Node) -> int:
    """The zero point of an activation: the code of real 0."""
    assert value.qparams is not None
    return int(value.qparams.zero_point)
