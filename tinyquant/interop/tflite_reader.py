"""A real int8 .tflite file as an `IntegerModel`: every tool that explains our networks explains theirs.

A file is read in three passes. First the bytes are held against themselves (`flatbuffer`), then every operator and
tensor is looked over and all that cannot be run is named at once, and only then are nodes made and checked
(`check`). Nothing in the file is believed: offsets, sizes, shapes and scales must agree, or the file is refused.

With this module one can load a file (`load_tflite`), or only its structure (`tflite_graph`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyquant.graph import OPS, Graph, Node, Value
from tinyquant.interop.check import check_integer_graph
from tinyquant.interop.flatbuffer import TFLiteError
from tinyquant.interop.tflite_file import TFLiteFile
from tinyquant.interop.tflite_schema import LAYOUTS, OperatorTable, attrs_of
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.weights import bias_qparams

if TYPE_CHECKING:
    from tinyquant.integer.model import IntegerModel

__all__ = ["load_tflite", "tflite_graph"]

LARGEST_FILE = 2**31 - 1
"""In bytes: FlatBuffers offsets are that wide."""

MOST_LISTED = 200
"""Names in one message."""


def load_tflite(source: str | os.PathLike[str] | bytes) -> IntegerModel:
    """An int8 .tflite file, made by anybody, as an integer model that runs to the same bytes as TensorFlow Lite Micro.

    Parameters
    ----------
    source : path, or bytes
        The file or its content.

    Returns
    -------
    IntegerModel
        A node is named by its output tensor, an input by its tensor. Where names repeat, the second is called
        "name#2", counted in execution order, inputs first; a tensor without a name is "tensor" and its number.
        Constants that enter an operator as activations become CONSTANT nodes, placed before their first reader;
        shapes, axes and paddings become attributes.

    Raises
    ------
    TFLiteError
        The file is damaged, does not agree with itself, or holds something that tinyquant does not run: operators
        it has not, activations other than int8 (uint8, int16, float32), weights that are computed, several
        subgraphs, sparse or variable tensors. All operators that cannot be run are named in one message.
    ImportError
        The extra ``[tflite]`` is not installed.

    Notes
    -----
    Float doors are kept: where the first operator is QUANTIZE, the model's input is float32, and likewise for a
    DEQUANTIZE at the end. Scales are float32 in the file and are held exactly. Bias scales are not read: the
    kernels assume the product of the input's and the weights' scale, and so does the node's `param_qparams["bias"]`.

    Examples
    --------
    With a file at hand::

        model = load_tflite("person_detect.tflite")
        codes = model.run(quantize(image, model.inputs[0].qparams))
        every_tensor = model.trace(quantize(image, model.inputs[0].qparams))
    """
    from tinyquant.integer.model import IntegerModel

    data, label = _content(source)
    try:
        return IntegerModel(tflite_graph(data))
    except ValueError as error:
        raise TFLiteError(f"{label}: {error}") from error


def tflite_graph(data: bytes) -> Graph:
    """The network in the bytes of a .tflite file, checked; `load_tflite` without the model around it."""
    try:
        file = TFLiteFile(data)
        refuse_what_does_not_run(file)
        graph = _Builder(file).build()
        check_integer_graph(graph)
    except TFLiteError:
        raise
    except ValueError as error:
        raise TFLiteError(str(error)) from error
    return graph


def _content(source: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    """The bytes, and what to call them in a message."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), f"these {len(source)} bytes"
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a path or the bytes of a .tflite file, got {type(source).__name__}.")
    path = Path(source)
    if path.stat().st_size > LARGEST_FILE:
        raise TFLiteError(f"{path.name!r}: a .tflite file must be at most {LARGEST_FILE} bytes, got {path.stat().st_size}.")
    return path.read_bytes(), repr(path.name)


def refuse_what_does_not_run(file: TFLiteFile) -> None:
    """Raise one `TFLiteError` that names every operator and tensor of a file that tinyquant does not run."""
    wrong: dict[str, list[str]] = {}
    made: set[str] = set()
    for op, operator in file.operators():
        tensors = [int(i) for i in operator.inputs if i != -1] + [int(i) for i in operator.outputs]
        place = file.label(int(operator.outputs[0])) if operator.outputs.size else "an operator without output"
        made.update(file.type(int(i)) for i in operator.outputs)
        if op not in LAYOUTS:
            reasons = [f"{op}, which tinyquant does not have"]
        else:
            reasons = [f"{op} {reason}" for reason in _reasons(file, op, operator)]
        for reason in reasons:
            wrong.setdefault(reason, []).append(place)
        for i in tensors:
            if reason := file.peculiarity(i):
                wrong.setdefault(f"a tensor that is {reason}", []).append(file.label(i))
    if wrong:
        lines = [f"{reason} (at {_listed(places)})" for reason, places in wrong.items()]
        listed = "; ".join(lines[:MOST_LISTED])
        if "float32" in made and made.isdisjoint(("int8", "uint8", "int16")):
            raise TFLiteError(
                f"the model must be quantized to int8, got a float32 model: {listed}. Quantize it with the TensorFlow "
                "Lite converter (full integer quantization), or build and quantize it in tinyquant."
            )
        raise TFLiteError(
            f"every operator must be one that tinyquant runs in int8, got {listed}. "
            "Convert the model to int8 (full integer quantization) without them."
        )


def _reasons(file: TFLiteFile, op: str, operator: OperatorTable) -> list[str]:
    """Why an operator of ours cannot be run on these tensors; nothing when it can."""
    if len(operator.outputs) != 1:
        return [f"with {len(operator.outputs)} outputs"]
    roles = _roles(op, operator)
    if ("x", -1) in roles:
        return ["without one of its inputs"]
    entering = {file.type(index) for role, index in roles if role == "x"} - {"int8"}
    if op == "QUANTIZE":
        entering -= {"float32"}
    if entering:
        return [f"on {' and '.join(sorted(entering))}"]
    leaving = file.type(int(operator.outputs[0]))
    if leaving != ("float32" if op == "DEQUANTIZE" else "int8"):
        return [f"to {leaving}"]
    reasons = []
    for role, index in roles:
        if role == "x" or index == -1:
            continue
        if file.type(index) != ("int8" if role in ("weight", "value") else "int32"):
            reasons.append(f"with {role} of type {file.type(index)}")
        if not file.is_constant(index):
            reasons.append(f"with {role} computed, not stored")
    return reasons


def _roles(op: str, operator: OperatorTable) -> list[tuple[str, int]]:
    """(role, tensor number) of every input, -1 for one left out."""
    given = [int(i) for i in operator.inputs]
    roles = LAYOUTS[op].roles
    if roles == ("x*",):
        return [("x", index) for index in given]
    fewest = sum(not role.endswith("?") for role in roles)
    if not fewest <= len(given) <= len(roles):
        counts = " or ".join(str(count) for count in range(fewest, len(roles) + 1))
        raise TFLiteError(f"{op} must have {counts} inputs, got {len(given)}. The file is damaged.")
    given += [-1] * (len(roles) - len(given))
    for role, index in zip(roles, given, strict=True):
        if index == -1 and role[-1] != "?" and role != "x":
            raise TFLiteError(f"{op} must have its {role}, got none. The file is damaged.")
    return [(role.rstrip("?"), index) for role, index in zip(roles, given, strict=True)]


def _listed(places: list[str]) -> str:
    """The places, each once, and how many more."""
    once = list(dict.fromkeys(places))
    more = f" and {len(once) - MOST_LISTED} more" if len(once) > MOST_LISTED else ""
    return ", ".join(once[:MOST_LISTED]) + more


class _Builder:
    """Makes nodes of operators, in the file's order."""

    def __init__(self, file: TFLiteFile) -> None:
        self.file = file
        self.names: dict[int, str] = {}
        self.taken: set[str] = set()
        self.copies: dict[str, int] = {}
        self.nodes: list[Node] = []

    def build(self) -> Graph:
        """The graph of the file."""
        inputs = []
        for index in map(int, self.file.graph.inputs):
            if index in self.names or self.file.is_constant(index):
                raise TFLiteError(f"an input must be listed once and hold no data, got {self.file.label(index)}.")
            inputs.append(Value(self.name(index), self.file.shape(index), *self.meaning(index)))
        for op, operator in self.file.operators():
            try:
                self.nodes.append(self.node(op, operator))
            except ValueError as error:
                raise TFLiteError(f"{op} {self.file.label(int(operator.outputs[0]))}: {error}") from error
        outputs = tuple(self.value(int(index)) for index in self.file.graph.outputs)
        return Graph(tuple(inputs), tuple(self.nodes), outputs)

    def name(self, index: int) -> str:
        """A name of its own for a tensor: the file's, or the file's and #2, #3, ..."""
        base = self.file.tensor(index).name or f"tensor{index}"
        name = base
        while name in self.taken:
            self.copies[base] = self.copies.get(base, 1) + 1
            name = f"{base}#{self.copies[base]}"
        self.taken.add(name)
        self.names[index] = name
        return name

    def meaning(self, index: int) -> tuple[np.dtype, QParams | None]:
        """Type and qparams of an activation."""
        kind = self.file.type(index)
        if kind not in ("int8", "float32"):
            raise TFLiteError(f"activation {self.file.label(index)} must be int8 or float32, got {kind}.")
        return np.dtype(kind), self.file.qparams(index) if kind == "int8" else None

    def value(self, index: int) -> str:
        """The name of a value to read; a constant that is not known yet becomes a node."""
        if index in self.names:
            return self.names[index]
        if not self.file.is_constant(index):
            raise TFLiteError(
                f"tensor {self.file.label(index)} must be made by an earlier operator, got read before. The file is damaged."
            )
        array, qp = self.file.array(index, "int8"), self.file.qparams(index)
        name = self.name(index)
        self.nodes.append(Node(name, "CONSTANT", (), array.shape, params={"value": array}, qparams=qp, dtype=array.dtype))
        return name

    def node(self, op: str, operator: OperatorTable) -> Node:
        """The node of one operator."""
        file = self.file
        index = int(operator.outputs[0])
        options = file.options(op, operator)
        if getattr(options, "weights_format", 0):
            raise TFLiteError(f"weights must lie in rows (format 0), got format {options.weights_format}.")
        attrs: dict[str, Any] = attrs_of(options)
        inputs, params, meanings = [], {}, {}
        shape = file.shape(index)
        for role, tensor in _roles(op, operator):
            if role == "x":
                inputs.append(self.value(tensor))
            elif role == "weight":
                weight = file.array(tensor, "int8")
                # The kernels take -128 too; a file does not say whether it was left out on purpose.
                qmin = -127 if weight.min() > -128 else -128
                params["weight"], meanings["weight"] = weight, file.qparams(tensor, axis=OPS[op].weight_axis, qmin=qmin)
            elif role == "bias":
                if tensor != -1:
                    params["bias"] = file.array(tensor, "int32")
            elif role == "value":
                attrs["value"] = self.fill(tensor, operator)
            elif tensor == -1:
                attrs["new_shape"] = options.new_shape.tolist()
            else:
                numbers = file.array(tensor, "int32")
                if role == "shape":
                    if tuple(numbers.ravel().tolist()) != shape:
                        raise TFLiteError(f"the output shape must be the stored {numbers.ravel().tolist()}, got {shape}.")
                else:
                    attrs[role] = self.numbers(role, numbers)
        if index in self.names or file.is_constant(index):
            raise TFLiteError(f"a tensor must be made once, got {file.label(index)} made again. The file is damaged.")
        if op == "RESHAPE" and attrs["new_shape"] == [0]:
            attrs["new_shape"] = []  # an old way of writing a scalar
        if "bias" in params:
            meanings["bias"] = self.bias_meaning(operator, op, meanings["weight"], params["bias"].size)
        dtype, qp = self.meaning(index)
        return Node(self.name(index), op, tuple(inputs), shape, attrs, params, qp, meanings, dtype)

    def bias_meaning(self, operator: OperatorTable, op: str, weight: QParams, count: int) -> QParams:
        """The grid of the bias: the product of the scales, which the kernels assume, whatever the file says of it."""
        source = self.file.qparams(dict(_roles(op, operator))["x"])
        products = np.atleast_1d(weight.scale) * source.scale
        if products.max() > np.finfo(np.float32).max or products.min() < 2.0**-149:
            raise TFLiteError(f"the scales of input and weights must have a product within float32, got {products.max()}.")
        return bias_qparams(weight, float(source.scale), count)

    def numbers(self, role: str, array: np.ndarray) -> list[Any]:
        """Whole numbers stored beside the network, as an attribute."""
        if array.ndim > (2 if role == "paddings" else 1) or array.size > 64:
            raise TFLiteError(f"{role} must be a short list, got shape {array.shape}.")
        return array.tolist() if role == "paddings" else array.ravel().tolist()

    def fill(self, tensor: int, operator: OperatorTable) -> int:
        """The code that PADV2 fills with."""
        array = self.file.array(tensor, "int8")
        if array.size != 1:
            raise TFLiteError(f"the value to pad with must be one number, got {array.size}.")
        own, input_qp = self.file.tensor(tensor).quantization, self.file.qparams(int(operator.inputs[0]))
        if own is not None and self.file.qparams(tensor) != input_qp:
            raise TFLiteError("the value to pad with must have the input's scale and zero point, got another pair.")
        return int(array.ravel()[0])
