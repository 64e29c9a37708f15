"""The real interpreters, and small .tflite files to ask them about.

A model is described by plain data (`Tensor`, `Call`, `Model`), written with the schema that the runtimes' own
packages carry, and run in four back ends. Nothing of tinyquant is used here: what is compared later with
tinyquant's reader and kernels must not have come from them.

With this module one can build a .tflite of a few operators (`Model.to_bytes`), run it and read every tensor
(`run`), and turn a file into the same file whose every activation is an output (`expose_all`), which is how
XNNPACK, which keeps its intermediates to itself, is made to show them.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RUNTIMES = ("tflm", "litert_ref", "litert_opt", "xnnpack")
NOT_INSTALLED = "the real runtimes are not installed (extra `conformance`)"

_RESOLVERS = {"litert_ref": "BUILTIN_REF", "litert_opt": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "xnnpack": "AUTO"}
_ARENA = 1 << 20


def require_runtimes() -> None:
    """Skip the calling test when the interpreters are absent; .ci/run looks for exactly this reason."""
    # One that is installed and broken must fail, so nothing is imported here.
    if not all(importlib.util.find_spec(package) for package in ("flatbuffers", "ai_edge_litert", "tflite_micro")):
        pytest.skip(NOT_INSTALLED)


def comparable_runtimes() -> tuple[str, ...]:
    """The back ends whose arithmetic this machine has: the two fast ones were written down on x86-64 with AVX-512."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        flags = []
    return RUNTIMES if "avx512f" in flags else RUNTIMES[:2]


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a .tflite file. `scale` of several numbers runs along `axis`; `data` makes it a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: Any = None
    zero_point: int = 0
    axis: int = 0
    data: np.ndarray | None = None


@dataclass(frozen=True)
class Call:
    """One operator: inputs by tensor name ("" for an absent optional one), one output."""

    op: str
    inputs: tuple[str, ...]
    output: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A small network as data. Inputs and outputs are tensor names."""

    tensors: tuple[Tensor, ...]
    calls: tuple[Call, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name."""
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def to_bytes(self) -> bytes:
        """The .tflite file."""
        return pack(_model_object(self))


# ------------------------------------------------------------------------------------------------------------
# Writing


def schema() -> Any:
    """The generated classes of the .tflite schema, as ai-edge-litert ships them."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def pack(model: Any) -> bytes:
    """A ModelT as the bytes of a file."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unpack(content: bytes) -> Any:
    """The bytes of a file as a ModelT."""
    return schema().ModelT.InitFromPackedBuf(content, 0)


_TYPES = {"int8": "INT8", "int32": "INT32", "float32": "FLOAT32"}
_VERSIONS = {"FULLY_CONNECTED": 4, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 3}
_VERSIONS |= {"RESHAPE": 1, "QUANTIZE": 1, "RELU_N1_TO_1": 1}
_OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "ADD": "AddOptions",
    "SUB": "SubOptions",
    "MUL": "MulOptions",
    "CONCATENATION": "ConcatenationOptions",
    "MEAN": "ReducerOptions",
    "SUM": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "SOFTMAX": "SoftmaxOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "TRANSPOSE": "TransposeOptions",
    "QUANTIZE": "QuantizeOptions",
    "DEQUANTIZE": "DequantizeOptions",
}


def _model_object(model: Model) -> Any:
    """The description as the schema's own objects."""
    s = schema()
    out, graph = s.ModelT(), s.SubGraphT()
    out.version, out.description = 3, b"conformance"
    out.buffers, out.subgraphs = [s.BufferT()], [graph]
    index = {tensor.name: i for i, tensor in enumerate(model.tensors)} | {"": -1}
    graph.tensors = [_tensor_object(s, tensor, out.buffers) for tensor in model.tensors]
    graph.inputs, graph.outputs = [index[n] for n in model.inputs], [index[n] for n in model.outputs]
    kinds = sorted({call.op for call in model.calls})
    out.operatorCodes, graph.operators = [], []
    for kind in kinds:
        code = s.OperatorCodeT()
        code.builtinCode = getattr(s.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = _VERSIONS.get(kind, 2)
        out.operatorCodes.append(code)
    for call in model.calls:
        operator = s.OperatorT()
        operator.opcodeIndex = kinds.index(call.op)
        operator.inputs, operator.outputs = [index[n] for n in call.inputs], [index[call.output]]
        if call.op in _OPTIONS:
            operator.builtinOptionsType = getattr(s.BuiltinOptions, _OPTIONS[call.op])
            operator.builtinOptions = _options_object(s, call)
        graph.operators.append(operator)
    return out


def _tensor_object(s: Any, tensor: Tensor, buffers: list[Any]) -> Any:
    """One TensorT; its data, if it has any, goes into a buffer of its own."""
    out = s.TensorT()
    out.name, out.shape, out.type = tensor.name.encode(), list(tensor.shape), getattr(s.TensorType, _TYPES[tensor.dtype])
    out.buffer = 0
    if tensor.data is not None:
        if tensor.data.dtype != tensor.dtype or tensor.data.shape != tensor.shape:
            raise ValueError(f"{tensor.name}: {tensor.data.dtype}{tensor.data.shape} is not {tensor.dtype}{tensor.shape}")
        buffer = s.BufferT()
        buffer.data = np.frombuffer(tensor.data.tobytes(), np.uint8)
        out.buffer = len(buffers)
        buffers.append(buffer)
    if tensor.scale is not None:
        scales = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        out.quantization = s.QuantizationParametersT()
        out.quantization.scale = scales
        out.quantization.zeroPoint = np.full(scales.shape, tensor.zero_point, np.int64)
        out.quantization.quantizedDimension = tensor.axis
    return out


def _options_object(s: Any, call: Call) -> Any:
    """The operator's option table. Ours are the names of int8_arithmetic: stride and dilation are (height, width)."""
    options, out = dict(call.options), getattr(s, _OPTIONS[call.op] + "T")()
    for name, attribute in (("stride", "stride"), ("filter", "filter"), ("dilation", "dilation")):
        if name in options:
            ends = ("Height", "Width") if name == "filter" else ("HFactor", "WFactor") if name == "dilation" else ("H", "W")
            for end, value in zip(ends, options.pop(name), strict=True):
                setattr(out, attribute + end, int(value))
    if "padding" in options:
        out.padding = getattr(s.Padding, options.pop("padding").upper())
    if "activation" in options:
        out.fusedActivationFunction = getattr(s.ActivationFunctionType, options.pop("activation").upper())
    plain = {"depth_multiplier": "depthMultiplier", "keep_num_dims": "keepNumDims", "axis": "axis", "keep_dims": "keepDims"}
    plain |= {"alpha": "alpha", "beta": "beta", "new_shape": "newShape"}
    for name, value in options.items():
        setattr(out, plain[name], value)
    return out


def expose_all(content: bytes) -> bytes:
    """The same file with every activation declared an output, in execution order."""
    model = unpack(content)
    graph = model.subgraphs[0]
    graph.outputs = [int(operator.outputs[0]) for operator in graph.operators]
    return pack(model)


def with_valid_axes(content: bytes) -> bytes:
    """The same file with the axis of per-channel scales put to 0 where the tensor has no such axis, as LiteRT demands."""
    model = unpack(content)
    for tensor in model.subgraphs[0].tensors:
        rank = 0 if tensor.shape is None else len(tensor.shape)
        if tensor.quantization is not None and tensor.quantization.quantizedDimension >= max(rank, 1):
            tensor.quantization.quantizedDimension = 0
    return pack(model)


# ------------------------------------------------------------------------------------------------------------
# Running


class Refused(Exception):
    """The runtime does not take this model."""


def run(runtime: str, content: bytes, inputs: Sequence[np.ndarray], *, arena: int = _ARENA) -> dict[str, np.ndarray]:
    """Outputs of every operator, by output tensor's name, from one real interpreter.

    XNNPACK runs twice: as the file is, for its outputs, and with all activations exposed, for the rest.
    Raises `Refused` when the interpreter does not load or run the file.
    """
    if runtime == "tflm":
        return _run_tflm(content, inputs, arena)
    if runtime != "xnnpack":
        return _run_litert(runtime, content, inputs, preserve=True)
    values = _run_litert(runtime, expose_all(content), inputs, preserve=False)
    return values | _run_litert(runtime, content, inputs, preserve=False)


def _names(content: bytes) -> tuple[list[str], list[int], list[int], list[int]]:
    """Tensor names; indices of the inputs, of the outputs, of every operator's output."""
    graph = unpack(content).subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    made = [int(operator.outputs[0]) for operator in graph.operators]
    return names, [int(i) for i in graph.inputs], [int(i) for i in graph.outputs], made


def _run_tflm(content: bytes, inputs: Sequence[np.ndarray], arena: int) -> dict[str, np.ndarray]:
    from tflite_micro.python.tflite_micro import runtime

    names, _, _, made = _names(content)
    config = runtime.InterpreterConfig.kPreserveAllTensors
    try:
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena, intrepreter_config=config)
        for i, value in enumerate(inputs):
            interpreter.set_input(value, i)
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        raise Refused(str(error)) from error
    return {names[i]: np.array(interpreter.GetTensor(i, 0)["tensor_data"]) for i in made}


def _run_litert(runtime: str, content: bytes, inputs: Sequence[np.ndarray], *, preserve: bool) -> dict[str, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ai_edge_litert import interpreter as litert

    names, entries, outputs, made = _names(content)
    resolver = getattr(litert.OpResolverType, _RESOLVERS[runtime])
    try:
        interpreter = litert.Interpreter(
            model_content=content,
            experimental_op_resolver_type=resolver,
            experimental_preserve_all_tensors=preserve,
            num_threads=1,
        )
        interpreter.allocate_tensors()
        for i, value in zip(entries, inputs, strict=True):
            interpreter.set_tensor(i, value)
        interpreter.invoke()
        return {names[i]: interpreter.get_tensor(i) for i in (made if preserve else outputs)}
    except (RuntimeError, ValueError) as error:
        raise Refused(str(error)) from error
