"""A .tflite file after its bytes are known to be sound: tensors by number, with what they claim held against the file.

With this module one can open a file (`TFLiteFile`) and ask of each tensor its type, shape, scale and constant value,
each refused with a sentence when the file does not bear it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from tinyquant.interop.check import MOST_AXES
from tinyquant.interop.flatbuffer import Decoder, TFLiteError
from tinyquant.interop.tflite_names import operator_name
from tinyquant.interop.tflite_schema import (
    CUSTOM,
    IDENTIFIER,
    LAYOUTS,
    TENSOR_TYPES,
    VERSION,
    ModelTable,
    OperatorCodeTable,
    OperatorTable,
    TensorTable,
)
from tinyquant.numerics.qparams import QParams

__all__ = ["TFLiteFile"]

_LONGEST_NAME = 400
"""Of a tensor in a message, in characters: converters join the names of what they fuse."""


class TFLiteFile:
    """The one network of a .tflite file.

    Raises `TFLiteError` for bytes that are not a sound file, another schema version, or several networks in one.
    """

    def __init__(self, data: bytes) -> None:
        self._decoder = Decoder(data)
        self._model = self._decoder.root(ModelTable, IDENTIFIER)
        if self._model.version != VERSION:
            raise TFLiteError(f"the schema version must be {VERSION}, got {self._model.version}. Convert the model anew.")
        graphs = self._model.subgraphs
        if len(graphs) != 1:
            names = ", ".join(repr(graph.name[:_LONGEST_NAME]) for graph in graphs[:20])
            raise TFLiteError(f"a file must hold one network, got {len(graphs)} subgraphs: {names}. Export the one to run alone.")
        self.graph = graphs[0]
        self._arrays: dict[tuple[int, str, tuple[int, ...]], np.ndarray] = {}

    def operators(self) -> Iterator[tuple[str, OperatorTable]]:
        """Name and table of every operator, in execution order."""
        for operator in self.graph.operators:
            if operator.opcode_index >= len(self._model.operator_codes):
                raise TFLiteError(
                    f"an operator must use one of the {len(self._model.operator_codes)} operator codes, "
                    f"got number {operator.opcode_index}. The file is damaged."
                )
            yield _code_name(self._model.operator_codes[operator.opcode_index]), operator

    def options(self, op: str, operator: OperatorTable) -> Any:
        """The option table of an operator; all its defaults where the file has none."""
        layout = LAYOUTS[op]
        if operator.builtin_options_type == 0 or operator.builtin_options is None:
            return layout.options()
        if operator.builtin_options_type != layout.options_type:
            raise TFLiteError(
                f"options must be of type {layout.options_type} in the schema's union, got {operator.builtin_options_type}."
            )
        return self._decoder.table(operator.builtin_options, layout.options)

    def tensor(self, index: int) -> TensorTable:
        """The tensor of that number."""
        if not 0 <= index < len(self.graph.tensors):
            raise TFLiteError(f"a tensor must be one of {len(self.graph.tensors)}, got number {index}. The file is damaged.")
        return self.graph.tensors[index]

    def label(self, index: int) -> str:
        """The tensor's name for a message, in quotes and not too long."""
        name = self.tensor(index).name
        return repr(name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "...")

    def type(self, index: int) -> str:
        """int8, int32, float32, ..."""
        number = self.tensor(index).type
        return TENSOR_TYPES[number] if 0 <= number < len(TENSOR_TYPES) else f"type number {number}"

    def peculiarity(self, index: int) -> str:
        """What about the tensor we do not know how to run; empty when there is nothing."""
        tensor = self.tensor(index)
        quantization = tensor.quantization
        if tensor.is_variable:
            return "a variable, which keeps its value from run to run"
        if tensor.sparsity is not None:
            return "sparse"
        if tensor.external_buffer:
            return "kept outside the file"
        if quantization is not None and quantization.details_type:
            return "quantized in blocks or by a custom rule"
        return ""

    def is_constant(self, index: int) -> bool:
        """True when the file holds the tensor's numbers."""
        number = self.tensor(index).buffer
        if number >= len(self._model.buffers):
            raise TFLiteError(
                f"tensor {self.label(index)} must have one of the {len(self._model.buffers)} buffers, got number {number}. "
                "The file is damaged."
            )
        buffer = self._model.buffers[number]
        if buffer.offset > 1 or buffer.size > 1:
            raise TFLiteError(
                f"tensor {self.label(index)} must lie inside the FlatBuffer, got one kept behind it, as files over 2 GB do."
            )
        return buffer.data.size > 0

    def shape(self, index: int) -> tuple[int, ...]:
        """The tensor's shape; every axis has at least one cell."""
        shape = tuple(int(size) for size in self.tensor(index).shape[: MOST_AXES + 1])
        if len(shape) > MOST_AXES or any(size < 1 for size in shape):
            raise TFLiteError(f"tensor {self.label(index)} must have at most {MOST_AXES} axes, each with cells, got {shape}.")
        return shape

    def array(self, index: int, dtype: str) -> np.ndarray:
        """A constant's numbers, read-only; tensors that share a buffer share the array."""
        kind = self.type(index)
        if kind != dtype:
            raise TFLiteError(f"tensor {self.label(index)} must be {dtype}, got {kind}.")
        if not self.is_constant(index):
            raise TFLiteError(f"tensor {self.label(index)} must be stored in the file, got one that is computed.")
        number = self.tensor(index).buffer
        data = self._model.buffers[number].data
        shape = self.shape(index)
        stored = np.dtype(dtype).newbyteorder("<")
        if prod(shape) * stored.itemsize != data.size:
            raise TFLiteError(
                f"tensor {self.label(index)} of shape {shape} must have {prod(shape) * stored.itemsize} bytes, got {data.size}. "
                "The file is damaged."
            )
        key = (number, dtype, shape)
        if key not in self._arrays:
            self._arrays[key] = np.frombuffer(data.tobytes(), stored).reshape(shape)
        return self._arrays[key]

    def qparams(self, index: int, *, axis: int | None = None, qmin: int = -128) -> QParams:
        """Scale and zero point of an int8 tensor: one, or with `axis` one a cell of that axis."""
        quantization = self.tensor(index).quantization
        if quantization is None or quantization.scale.size == 0:
            raise TFLiteError(f"tensor {self.label(index)} must have a scale, got none.")
        scales, zeros = quantization.scale, quantization.zero_point
        if zeros.size != scales.size:
            raise TFLiteError(
                f"tensor {self.label(index)} must have as many zero points as scales, got {zeros.size} for {scales.size}."
            )
        if not np.all(np.isfinite(scales) & (scales > 0)):
            raise TFLiteError(f"scales of tensor {self.label(index)} must be positive and finite, got {scales[:4]}.")
        if scales.size == 1:
            return QParams(float(scales[0]), int(zeros[0]), qmin, 127)
        shape = self.shape(index)
        if axis is None:
            raise TFLiteError(f"activation {self.label(index)} must have one scale, got {scales.size}.")
        if axis >= len(shape) or quantization.quantized_dimension != axis or scales.size != shape[axis]:
            channels = shape[axis] if axis < len(shape) else 0
            raise TFLiteError(
                f"weights {self.label(index)} of shape {shape} must have one scale or {channels} along axis {axis}, "
                f"got {scales.size} along axis {quantization.quantized_dimension}."
            )
        return QParams(scales.astype(np.float64), zeros, qmin, 127, axis)


def _code_name(code: OperatorCodeTable) -> str:
    """The operator's name; of a custom one, what it calls itself."""
    number = max(code.builtin_code, code.deprecated_builtin_code)
    if number == CUSTOM:
        return f"CUSTOM operator {code.custom_code[:_LONGEST_NAME]!r}"
    return operator_name(number)
