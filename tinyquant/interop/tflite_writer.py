"""An integer model as a .tflite file that the real runtimes take: the way back of `tflite_reader`.

The rules come from what the runtimes demand, not from the schema: a bias on every convolution (some kernels crash
without one), operator versions, both code fields, a quantized dimension inside the tensor's rank, buffers that start
on 16 bytes so that a microcontroller can read them in place.

With this module one can write a model (`save_tflite`) or get its bytes (`tflite_bytes`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyquant.graph import OPS, Graph, Node, Value
from tinyquant.interop.check import check_integer_graph
from tinyquant.interop.files import write_atomically
from tinyquant.interop.flatbuffer import TFLiteError, encode
from tinyquant.interop.tflite_schema import (
    IDENTIFIER,
    LAYOUTS,
    TENSOR_TYPES,
    VERSION,
    BufferTable,
    ModelTable,
    OperatorCodeTable,
    OperatorTable,
    QuantizationTable,
    SubGraphTable,
    TensorTable,
    options_of,
)
from tinyquant.numerics.qparams import QParams

if TYPE_CHECKING:
    from tinyquant.integer.model import IntegerModel

__all__ = ["graph_to_tflite", "model_table", "save_tflite", "tflite_bytes"]

MOST_BYTES = 2**31 - 2**20
"""Of all constants: a FlatBuffer ends at 2 GB, and the tables want some of it."""


def save_tflite(model: IntegerModel, path: str | os.PathLike[str]) -> None:
    """Write an integer model as a .tflite file; see `tflite_bytes`. The file appears whole or not at all."""
    write_atomically(path, tflite_bytes(model))


def tflite_bytes(model: IntegerModel) -> bytes:
    """The .tflite file of an integer model: the same bytes for the same model, run to the same bytes of output.

    Parameters
    ----------
    model : IntegerModel
        From `convert` or `load_tflite`.

    Returns
    -------
    bytes
        Tensors are named by their nodes. A convolution without bias gets one of zeros. The declared batch is kept.

    Raises
    ------
    TFLiteError
        Something that a .tflite file cannot hold: activations of fewer codes than int8 has, a scale that is not a
        float32 number, more than 2 GB.
    ImportError
        The extra ``[tflite]`` is not installed.

    Notes
    -----
    A file has no place for two things, which `load_tflite` therefore does not give back: what a node absorbed, and
    the range of the weights' codes ([-127, 127] is taken, or [-128, 127] where -128 occurs). One scale for a single
    channel comes back as one for the tensor.
    """
    return graph_to_tflite(model.graph)


def graph_to_tflite(graph: Graph) -> bytes:
    """The .tflite file of an integer graph; `tflite_bytes` without the model around it."""
    return encode(model_table(graph), IDENTIFIER)


def model_table(graph: Graph) -> ModelTable:
    """The tables of the file, before they become bytes."""
    try:
        check_integer_graph(graph)
        return _Writer(graph).model()
    except TFLiteError:
        raise
    except ValueError as error:
        raise TFLiteError(f"only a sound int8 graph can be written: {error}") from error


class _Writer:
    """Collects the tables of a file while it walks along a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: list[TensorTable] = []
        self.buffers = [BufferTable()]  # number 0 is "no data", by custom
        self.codes: list[OperatorCodeTable] = []
        self.code_numbers: dict[str, int] = {}
        self.operators: list[OperatorTable] = []
        self.numbers: dict[str, int] = {}

    def model(self) -> ModelTable:
        """All tables of the file."""
        for value in self.graph.inputs:
            self.activation(value)
        for node in self.graph.nodes:
            self.node(node)
        if sum(buffer.data.nbytes for buffer in self.buffers) > MOST_BYTES:
            raise TFLiteError(f"the constants of a .tflite file must be at most {MOST_BYTES} bytes, got more.")
        table = SubGraphTable(
            self.tensors,
            np.array([self.numbers[value.name] for value in self.graph.inputs]),
            np.array([self.numbers[name] for name in self.graph.outputs]),
            self.operators,
            "main",
        )
        return ModelTable(VERSION, self.codes, [table], "tinyquant", self.buffers)

    def node(self, node: Node) -> None:
        """The tensors and the operator of one node."""
        if node.op == "CONSTANT":
            self.activation(Value(node.name, node.shape, node.dtype, node.qparams), node.params["value"])
            return
        inputs, left = [], list(node.inputs)
        for role in LAYOUTS[node.op].roles:
            if role == "x*":
                inputs += [self.numbers[name] for name in left]
            elif role == "x":
                inputs.append(self.numbers[left.pop(0)])
            else:
                inputs.append(self.constant(node, role.rstrip("?")))
        output = self.activation(Value(node.name, node.shape, node.dtype, node.qparams))
        layout = LAYOUTS[node.op]
        self.operators.append(
            OperatorTable(
                self.code(node.op),
                np.array(inputs),
                np.array([output]),
                layout.options_type,
                options_of(node.op, node.attrs) if layout.options_type else None,
            )
        )

    def code(self, op: str) -> int:
        """The number of an operator code."""
        if op not in self.code_numbers:
            layout = LAYOUTS[op]
            self.code_numbers[op] = len(self.codes)
            self.codes.append(OperatorCodeTable(min(layout.code, 127), "", layout.version, layout.code))
        return self.code_numbers[op]

    def activation(self, value: Value, data: np.ndarray | None = None) -> int:
        """The tensor of an input, a constant or a node's output."""
        table = None
        if value.qparams is not None:
            qp = value.qparams
            if (qp.qmin, qp.qmax) != (-128, 127):
                raise TFLiteError(
                    f"{value.name!r} must use all int8 codes, -128 to 127, got {qp.qmin} to {qp.qmax}: "
                    "the runtimes clamp to int8 only. Quantize its activations to 8 bits."
                )
            table = _quantization(value.name, qp)
        self.numbers[value.name] = self.tensor(value.name, value.shape, value.dtype, table, data)
        return self.numbers[value.name]

    def constant(self, node: Node, role: str) -> int:
        """The tensor of what a node owns beside its activations."""
        name = f"{node.name}/{role}"
        if role == "weight":
            table = _quantization(name, node.param_qparams["weight"])
            weight = node.params["weight"]
            return self.tensor(name, weight.shape, weight.dtype, table, weight)
        if role == "bias":
            return self.bias(node, name)
        if role == "value":
            code = np.array([node.attrs["value"]])
            if not -128 <= code[0] <= 127:
                raise TFLiteError(f"{node.name!r} must pad with an int8 code, got {code[0]}.")
            qp = self.graph.value(node.inputs[0]).qparams
            assert qp is not None  # prepare has seen to it
            return self.tensor(name, (1,), np.dtype(np.int8), _quantization(name, qp), code)
        numbers = np.array(node.shape if role == "shape" else node.attrs[role], np.int32)
        if role == "paddings":
            numbers = numbers.reshape(-1, 2)
        return self.tensor(name, numbers.shape, numbers.dtype, None, numbers)

    def bias(self, node: Node, name: str) -> int:
        """The node's bias, zeros where it has none, on the grid of its products."""
        qp, x = node.param_qparams["weight"], self.graph.value(node.inputs[0]).qparams
        assert x is not None  # prepare has seen to it
        axis = OPS[node.op].weight_axis
        assert axis is not None
        with np.errstate(over="ignore", under="ignore"):
            scale = np.float32(x.scale) * np.atleast_1d(qp.scale).astype(np.float32)
        # No kernel multiplies by it, but 0 and infinity would be refused.
        scale = scale.clip(np.finfo(np.float32).tiny, np.finfo(np.float32).max)
        bias = node.params.get("bias", np.zeros(node.params["weight"].shape[axis], np.int32))
        table = QuantizationTable(scale, np.zeros(scale.size, np.int64))
        return self.tensor(name, bias.shape, bias.dtype, table, bias)

    def tensor(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype, table: QuantizationTable | None, data: Any = None
    ) -> int:
        """Append a tensor, with a buffer of its own if it has data; its number."""
        buffer = 0
        if data is not None:
            stored = np.ascontiguousarray(data, dtype.newbyteorder("<"))
            buffer = len(self.buffers)
            self.buffers.append(BufferTable(np.frombuffer(stored.tobytes(), np.uint8)))
        self.tensors.append(TensorTable(np.array(shape, np.int32), TENSOR_TYPES.index(dtype.name), buffer, name, table))
        return len(self.tensors) - 1


def _quantization(name: str, qp: QParams) -> QuantizationTable:
    """Scale and zero point as the file holds them."""
    scale = np.atleast_1d(qp.scale)
    if np.any(scale != scale.astype(np.float32)):
        raise TFLiteError(
            f"scales of {name!r} must be float32 numbers, got {qp.scale}: rounding them only now would move real values. "
            "Choose them with choose_qparams, which rounds before codes are made."
        )
    return QuantizationTable(scale.astype(np.float32), np.atleast_1d(qp.zero_point), 0, qp.axis or 0)
