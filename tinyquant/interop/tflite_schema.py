"""The part of the .tflite schema that an int8 network needs, and how each operator of `OPS` lies in a file.

The schema's tables are dataclasses here, read and written by `flatbuffer`. The schema is TensorFlow Lite's
`schema.fbs`, version 3; fields that int8 inference does not look at are left out.

With this module one can name an operator code, go from a node's attributes to an operator's options and back
(`options_of`, `attrs_of`), and look up which inputs an operator has in which order (`LAYOUTS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from tinyquant.interop.flatbuffer import TFLiteError, slot

IDENTIFIER = b"TFL3"
VERSION = 3

TENSOR_TYPES = (
    "float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64", "complex128",
    "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16", "int2", "uint4", "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip
"""TensorType by its number."""

ACTIVATION_NAMES = ("none", "relu", "relu_n1_to_1", "relu6", "tanh", "sign_bit")
"""ActivationFunctionType by its number; the last two no int8 kernel has."""

PADDING_NAMES = ("same", "valid")

CUSTOM = 32

# Tables


@dataclass
class BufferTable:
    """Bytes of a constant. Offset and size are of data kept behind the FlatBuffer, in files over 2 GB."""

    data: np.ndarray = slot(0, ["uint8"], align=16)
    offset: int = slot(1, "uint64")
    size: int = slot(2, "uint64")


@dataclass
class OperatorCodeTable:
    """Which operator: the larger of the two codes counts, since the old one is a byte."""

    deprecated_builtin_code: int = slot(0, "int8")
    custom_code: str = slot(1, "string")
    version: int = slot(2, "int32", 1)
    builtin_code: int = slot(3, "int32")


@dataclass
class QuantizationTable:
    """Scales (float32) and zero points of a tensor; several of them run along `quantized_dimension`."""

    scale: np.ndarray = slot(2, ["float32"])
    zero_point: np.ndarray = slot(3, ["int64"])
    details_type: int = slot(4, "uint8")
    quantized_dimension: int = slot(6, "int32")


@dataclass
class TensorTable:
    """One tensor; a constant when its buffer holds data."""

    shape: np.ndarray = slot(0, ["int32"])
    type: int = slot(1, "int8")
    buffer: int = slot(2, "uint32")
    name: str = slot(3, "string")
    quantization: QuantizationTable | None = slot(4, QuantizationTable)
    is_variable: bool = slot(5, "bool")
    sparsity: int | None = slot(6, "union")
    external_buffer: int = slot(10, "uint32")


@dataclass
class OperatorTable:
    """One call: tensor numbers in and out (-1 is an input left out), and the position of its options."""

    opcode_index: int = slot(0, "uint32")
    inputs: np.ndarray = slot(1, ["int32"])
    outputs: np.ndarray = slot(2, ["int32"])
    builtin_options_type: int = slot(3, "uint8")
    builtin_options: Any = slot(4, "union")


@dataclass
class SubGraphTable:
    """The network: tensors, operators in execution order, numbers of the tensors that enter and leave."""

    tensors: list[TensorTable] = slot(0, [TensorTable])
    inputs: np.ndarray = slot(1, ["int32"])
    outputs: np.ndarray = slot(2, ["int32"])
    operators: list[OperatorTable] = slot(3, [OperatorTable])
    name: str = slot(4, "string")


@dataclass
class ModelTable:
    """The file."""

    version: int = slot(0, "uint32")
    operator_codes: list[OperatorCodeTable] = slot(1, [OperatorCodeTable])
    subgraphs: list[SubGraphTable] = slot(2, [SubGraphTable])
    description: str = slot(3, "string")
    buffers: list[BufferTable] = slot(4, [BufferTable])


# Options of operators


@dataclass
class NoOptions:
    """Options of an operator that has none we look at."""


@dataclass
class ConvOptions:
    """Conv2DOptions."""

    padding: int = slot(0, "int8")
    stride_w: int = slot(1, "int32")
    stride_h: int = slot(2, "int32")
    fused_activation_function: int = slot(3, "int8")
    dilation_w_factor: int = slot(4, "int32", 1)
    dilation_h_factor: int = slot(5, "int32", 1)


@dataclass
class DepthwiseOptions:
    """DepthwiseConv2DOptions."""

    padding: int = slot(0, "int8")
    stride_w: int = slot(1, "int32")
    stride_h: int = slot(2, "int32")
    depth_multiplier: int = slot(3, "int32")
    fused_activation_function: int = slot(4, "int8")
    dilation_w_factor: int = slot(5, "int32", 1)
    dilation_h_factor: int = slot(6, "int32", 1)


@dataclass
class TransposeConvOptions:
    """TransposeConvOptions."""

    padding: int = slot(0, "int8")
    stride_w: int = slot(1, "int32")
    stride_h: int = slot(2, "int32")
    fused_activation_function: int = slot(3, "int8")


@dataclass
class PoolOptions:
    """Pool2DOptions."""

    padding: int = slot(0, "int8")
    stride_w: int = slot(1, "int32")
    stride_h: int = slot(2, "int32")
    filter_width: int = slot(3, "int32")
    filter_height: int = slot(4, "int32")
    fused_activation_function: int = slot(5, "int8")


@dataclass
class FullyConnectedOptions:
    """FullyConnectedOptions; a weights format other than 0 is a shuffled layout."""

    fused_activation_function: int = slot(0, "int8")
    weights_format: int = slot(1, "int8")
    keep_num_dims: bool = slot(2, "bool")


@dataclass
class ArithmeticOptions:
    """AddOptions, SubOptions, MulOptions."""

    fused_activation_function: int = slot(0, "int8")


@dataclass
class ConcatenationOptions:
    """ConcatenationOptions."""

    axis: int = slot(0, "int32")
    fused_activation_function: int = slot(1, "int8")


@dataclass
class ReshapeOptions:
    """ReshapeOptions; the operator's second input, where there is one, counts instead."""

    new_shape: np.ndarray = slot(0, ["int32"])


@dataclass
class ReducerOptions:
    """ReducerOptions."""

    keep_dims: bool = slot(0, "bool")


@dataclass
class SoftmaxOptions:
    """SoftmaxOptions."""

    beta: float = slot(0, "float32")


@dataclass
class LeakyReluOptions:
    """LeakyReluOptions."""

    alpha: float = slot(0, "float32")


_OPTION_FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "stride": ("stride_h", "stride_w"),
        "dilation": ("dilation_h_factor", "dilation_w_factor"),
        "filter": ("filter_height", "filter_width"),
        "padding": ("padding",),
        "activation": ("fused_activation_function",),
        "depth_multiplier": ("depth_multiplier",),
        "keep_num_dims": ("keep_num_dims",),
        "keep_dims": ("keep_dims",),
        "axis": ("axis",),
        "beta": ("beta",),
        "alpha": ("alpha",),
    }
)
"""Attribute of a node -> the fields of the option table that hold it."""

_ENUMS = {"padding": PADDING_NAMES, "activation": ACTIVATION_NAMES}


def attrs_of(options: Any) -> dict[str, Any]:
    """The attributes that an operator's options hold, in our words.

    >>> attrs_of(ArithmeticOptions(fused_activation_function=1))
    {'activation': 'relu'}
    """
    attrs: dict[str, Any] = {}
    held = {field.name for field in fields(options)}
    for name, places in _OPTION_FIELDS.items():
        if not held.issuperset(places):
            continue
        values = tuple(getattr(options, place) for place in places)
        if name in _ENUMS:
            if not 0 <= values[0] < len(_ENUMS[name]):
                raise TFLiteError(f"{name} must be a number from 0 to {len(_ENUMS[name]) - 1}, got {values[0]}.")
            attrs[name] = _ENUMS[name][values[0]]
        else:
            attrs[name] = values if len(values) > 1 else values[0]
    return attrs


def options_of(op: str, attrs: Mapping[str, Any]) -> Any:
    """The option table for a node's attributes; the other way round of `attrs_of`.

    >>> options_of("ADD", {"activation": "relu6"})
    ArithmeticOptions(fused_activation_function=3)
    """
    table = LAYOUTS[op].options
    held = {field.name for field in fields(table)}
    values: dict[str, Any] = {}
    for name, places in _OPTION_FIELDS.items():
        if held.issuperset(places):
            value: Any = _ENUMS[name].index(attrs[name]) if name in _ENUMS else attrs[name]
            values.update(zip(places, value if len(places) > 1 else (value,), strict=True))
    if "new_shape" in held:
        values["new_shape"] = np.array(attrs["new_shape"], np.int32)
    return table(**values)


# Operators


@dataclass(frozen=True)
class Layout:
    """How an operator lies in a file.

    `code` and `version` name it. `roles` are its inputs in order: "x" is an activation, "x*" any number of them,
    "weight", "bias" and "value" are constants of the node, the rest whole numbers that become attributes (or, for
    "shape", the output's shape); "?" marks one that may be absent. `options_type` is the number of `options`.
    """

    code: int
    version: int
    roles: tuple[str, ...] = ("x",)
    options: type = NoOptions
    options_type: int = 0


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "CONV_2D": Layout(3, 3, ("x", "weight", "bias?"), ConvOptions, 1),
        "DEPTHWISE_CONV_2D": Layout(4, 3, ("x", "weight", "bias?"), DepthwiseOptions, 2),
        "TRANSPOSE_CONV": Layout(67, 3, ("shape", "weight", "x", "bias?"), TransposeConvOptions, 49),
        "FULLY_CONNECTED": Layout(9, 4, ("x", "weight", "bias?"), FullyConnectedOptions, 8),
        "ADD": Layout(0, 2, ("x", "x"), ArithmeticOptions, 11),
        "SUB": Layout(41, 2, ("x", "x"), ArithmeticOptions, 28),
        "MUL": Layout(18, 2, ("x", "x"), ArithmeticOptions, 21),
        "CONCATENATION": Layout(2, 2, ("x*",), ConcatenationOptions, 10),
        "AVERAGE_POOL_2D": Layout(1, 2, ("x",), PoolOptions, 5),
        "MAX_POOL_2D": Layout(17, 2, ("x",), PoolOptions, 5),
        "MEAN": Layout(40, 2, ("x", "axis"), ReducerOptions, 27),
        "SUM": Layout(74, 2, ("x", "axis"), ReducerOptions, 27),
        "PAD": Layout(34, 2, ("x", "paddings"), NoOptions, 22),
        "PADV2": Layout(60, 2, ("x", "paddings", "value"), NoOptions, 43),
        "RESHAPE": Layout(22, 1, ("x", "new_shape?"), ReshapeOptions, 17),
        "TRANSPOSE": Layout(39, 2, ("x", "perm"), NoOptions, 26),
        "RELU": Layout(19, 2),
        "RELU6": Layout(21, 2),
        "RELU_N1_TO_1": Layout(20, 1),
        "LEAKY_RELU": Layout(98, 2, ("x",), LeakyReluOptions, 75),
        "LOGISTIC": Layout(14, 2),
        "TANH": Layout(28, 2),
        "SOFTMAX": Layout(25, 2, ("x",), SoftmaxOptions, 9),
        "QUANTIZE": Layout(114, 1, ("x",), NoOptions, 89),
        "DEQUANTIZE": Layout(6, 2, ("x",), NoOptions, 38),
    }
)
"""Every operator of `OPS` that a file can hold. Versions: the lowest that both real runtimes take for int8."""
