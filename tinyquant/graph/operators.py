"""The one table of what a node can be.

With this module one can look up an operator: its settings and parameters, how its output gets a scale, how its
multiply-accumulates are counted (`OPS`), and the real limits of a fused activation (`ACTIVATIONS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

__all__ = ["ACTIVATIONS", "OPS", "Operator", "complete_attrs"]

ACTIVATIONS: Mapping[str, tuple[float | None, float | None]] = MappingProxyType(
    {"none": (None, None), "relu": (0.0, None), "relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}
)
"""Fused activations: name -> (lowest real value, highest real value), None where unbounded."""


# A check returns the value in one form or raises; its docstring ends the sentence "the attribute must be ...".


def _int(value: Any) -> int:
    """a whole number"""
    if isinstance(value, (str, bytes)) or int(value) != value:
        raise ValueError
    return int(value)


def _ints(value: Any) -> tuple[int, ...]:
    """a sequence of whole numbers"""
    values = value if np.ndim(value) else (value,)
    return tuple(_int(v) for v in values)


def _pair(value: Any) -> tuple[int, int]:
    """one or two positive whole numbers"""
    numbers = _ints(value)
    first, second = numbers * 2 if len(numbers) == 1 else numbers
    if min(first, second) < 1:
        raise ValueError
    return first, second


def _pairs(value: Any) -> tuple[tuple[int, int], ...]:
    """a (before, after) pair of whole numbers, 0 or more, for every axis"""
    rows = tuple((_int(before), _int(after)) for before, after in value)
    if any(min(row) < 0 for row in rows):
        raise ValueError
    return rows


def _padding(value: Any) -> str:
    """'same' or 'valid'"""
    if value not in ("same", "valid"):
        raise ValueError
    return str(value)


def _activation(value: Any) -> str:
    """one of none, relu, relu6, relu_n1_to_1"""
    if value not in ACTIVATIONS:
        raise ValueError
    return str(value)


def _real(value: Any) -> float:
    """a finite real number"""
    if not np.isfinite(value):
        raise ValueError
    return float(value)


def _bool(value: Any) -> bool:
    """true or false"""
    if value not in (True, False):
        raise ValueError
    return bool(value)


_REQUIRED = object()
_Attr = tuple[Callable[[Any], Any], Any]
_WINDOW: dict[str, _Attr] = {"stride": (_pair, (1, 1)), "padding": (_padding, "valid")}
_CONV: dict[str, _Attr] = {**_WINDOW, "dilation": (_pair, (1, 1)), "activation": (_activation, "none")}
_POOL: dict[str, _Attr] = {"filter": (_pair, _REQUIRED), **_WINDOW, "activation": (_activation, "none")}
_FUSED: dict[str, _Attr] = {"activation": (_activation, "none")}
_LAYER = ("weight", "bias")
# Until it is converted a layer may own the batch norm that follows it, and folds it whenever it is quantized.
_NORMED_LAYER = (*_LAYER, "gamma", "beta", "mean", "variance", "eps")
_REDUCE: dict[str, _Attr] = {"axis": (_ints, _REQUIRED), "keep_dims": (_bool, False)}


@dataclass(frozen=True)
class Operator:
    """One row of `OPS`.

    Attributes
    ----------
    meaning : str
        What it computes, in a line.
    arity : (int, int)
        Fewest and most inputs.
    attrs : mapping of name to (check, default)
    params : tuple of str
        Arrays a node of this kind may own.
    weight_axis : int or None
        The output-channel axis of "weight".
    qparams : str
        "free": the output has a range of its own; "same": inputs and output share scale and zero point; "fixed": see `fixed`.
    fixed : (float, int) or None
        Scale and zero point of a "fixed" output, for int8.
    macs : str
        How multiply-accumulates are counted: "window" (output cells x weights per output), "depthwise", "scatter", or "none".
    inexact : tuple of str
        Dialects whose real runtime is not reproduced byte for byte at every node of this kind; the dialect says at which.
    batchable : bool
        Whether an engine may run many rows at once (rows permitting; see `Graph.rows_are_independent`).
    integer : bool
        Whether the integer lane implements it; otherwise it is refused there by name.
    """

    meaning: str
    arity: tuple[int, int] = (1, 1)
    attrs: Mapping[str, _Attr] = field(default_factory=dict)
    params: tuple[str, ...] = ()
    weight_axis: int | None = None
    qparams: str = "free"
    fixed: tuple[float, int] | None = None
    macs: str = "none"
    inexact: tuple[str, ...] = ()
    batchable: bool = True
    integer: bool = True


OPS: Mapping[str, Operator] = MappingProxyType(
    {
        "CONSTANT": Operator("an array that belongs to the graph", (0, 0), params=("value",)),
        "CONV_2D": Operator(
            "sums of weights times a window",
            attrs=_CONV,
            params=_NORMED_LAYER,
            weight_axis=0,
            macs="window",
        ),
        "DEPTHWISE_CONV_2D": Operator(
            "a window sum, each channel on its own",
            attrs={**_CONV, "depth_multiplier": (_int, 1)},
            params=_NORMED_LAYER,
            weight_axis=3,
            macs="depthwise",
        ),
        "TRANSPOSE_CONV": Operator(
            "a convolution run backwards: each cell spreads over a window",
            attrs={**_WINDOW, "activation": (_activation, "none")},
            params=_LAYER,
            weight_axis=0,
            macs="scatter",
        ),
        "FULLY_CONNECTED": Operator(
            "matrix times vector",
            attrs={**_FUSED, "keep_num_dims": (_bool, False)},
            params=_NORMED_LAYER,
            weight_axis=0,
            macs="window",
        ),
        "BATCH_NORM": Operator(
            "an affine map a channel; folded before integers",
            attrs={"eps": (_real, 1e-5), "momentum": (_real, 0.1)},
            params=("gamma", "beta", "mean", "variance"),
            integer=False,
        ),
        "ADD": Operator("sum of two, broadcast", (2, 2), _FUSED, inexact=("litert_opt", "xnnpack")),
        "SUB": Operator("difference of two, broadcast", (2, 2), _FUSED),
        "MUL": Operator("product of two, broadcast", (2, 2), _FUSED, inexact=("litert_opt", "xnnpack")),
        "CONCATENATION": Operator("joined along an axis", (1, 1024), {"axis": (_int, -1), **_FUSED}, qparams="same"),
        "AVERAGE_POOL_2D": Operator("mean of the window cells inside the image", attrs=_POOL, qparams="same"),
        "MAX_POOL_2D": Operator("largest of the window cells inside the image", attrs=_POOL, qparams="same"),
        "MEAN": Operator("mean over axes", attrs=_REDUCE),
        "SUM": Operator("sum over axes", attrs=_REDUCE),
        "PAD": Operator("cells of real 0 around", attrs={"paddings": (_pairs, _REQUIRED)}, qparams="same"),
        "PADV2": Operator(
            "cells of a given code around", attrs={"paddings": (_pairs, _REQUIRED), "value": (_int, _REQUIRED)}, qparams="same"
        ),
        "RESHAPE": Operator("the same cells in another shape", attrs={"new_shape": (_ints, _REQUIRED)}, qparams="same"),
        "TRANSPOSE": Operator("axes in another order", attrs={"perm": (_ints, _REQUIRED)}, qparams="same"),
        "RELU": Operator("max(x, 0)"),
        "RELU6": Operator("min(max(x, 0), 6)", qparams="same"),
        "RELU_N1_TO_1": Operator("min(max(x, -1), 1)"),
        "LEAKY_RELU": Operator("x, or alpha * x below 0", attrs={"alpha": (_real, 0.01)}),
        "LOGISTIC": Operator("1 / (1 + exp(-x))", qparams="fixed", fixed=(1 / 256, -128)),
        "TANH": Operator("tanh(x)", qparams="fixed", fixed=(1 / 128, 0)),
        "SOFTMAX": Operator(
            "exp(beta x) over its sum, last axis",
            attrs={"beta": (_real, 1.0)},
            qparams="fixed",
            fixed=(1 / 256, -128),
        ),
        "QUANTIZE": Operator("real -> code, or codes of one scale -> codes of another"),
        "DEQUANTIZE": Operator("code -> real"),
    }
)
"""The operators, by their TFLite name. Every room implements a row or refuses it by name."""


def complete_attrs(op: str, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an operator, each checked and brought to one form, defaults filled in.

    Raises
    ------
    ValueError
        A setting that the operator has not, one that is missing, or one of the wrong kind.

    Examples
    --------
    >>> complete_attrs("MEAN", {"axis": 1})
    {'axis': (1,), 'keep_dims': False}
    """
    rules = OPS[op].attrs
    unknown = sorted(set(attrs) - set(rules))
    if unknown:
        raise ValueError(f"{op} must have attributes of {sorted(rules)} only, got {unknown}. Leave them out.")
    complete = {}
    for key, (check, default) in rules.items():
        value = attrs.get(key, default)
        if value is _REQUIRED:
            raise ValueError(f"{op} must have the attribute {key!r}, got none. Give {check.__doc__}.")
        try:
            complete[key] = check(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{op} attribute {key!r} must be {check.__doc__}, got {value!r}.") from error
    return complete
