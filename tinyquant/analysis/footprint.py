"""Every tensor's bytes, as stored and as packed as could be; multiplications by the width of their factors; the file itself.

`cost` counts what a graph takes to run. Here the same network is looked at tensor by tensor: a 4-bit weight is stored in a byte,
so its byte is half empty, and a multiplication of an 8-bit by a 4-bit number is not one of two 8-bit numbers.

With this module one can list the tensors of a network (`footprint`) and count its multiplications by precision
(`macs_by_precision`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tinyquant.analysis.comparison_table import aligned
from tinyquant.analysis.cost import Cost, cost
from tinyquant.graph import Graph, count_macs
from tinyquant.integer.model import IntegerModel
from tinyquant.interop import tflite_bytes
from tinyquant.numerics.qparams import QParams

__all__ = ["Footprint", "TensorBytes", "footprint", "macs_by_precision"]


@dataclass(frozen=True)
class TensorBytes:
    """One tensor.

    Attributes
    ----------
    name : str
        "conv.weight", or the value's name for an activation.
    kind : str
        "weight", "bias", "constant", or "activation" (inputs too).
    dtype : str
    shape : tuple of int
        For activations of one declared batch.
    bits : int
        What its codes need: 4 for a weight in [-7, 7], whatever it is stored in.
    nbytes : int
        As stored.
    packed : int
        With its codes packed to their bits.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    bits: int
    nbytes: int
    packed: int


@dataclass(frozen=True)
class Footprint:
    """The report of `footprint`. `str()` of it is a table.

    Attributes
    ----------
    tensors : tuple of TensorBytes
        Parameters in execution order, then activations.
    macs : dict of str to int
        By precision, "int8 x int4" (activation, weight); see `macs_by_precision`.
    cost : Cost
        Peak memory and lifetimes.
    files : dict of str to int
        Bytes of the model as a file, "npz" and, where the extra [tflite] is installed, "tflite". Empty for a Graph.
    """

    tensors: tuple[TensorBytes, ...]
    macs: dict[str, int]
    cost: Cost
    files: dict[str, int]

    def total(self, kind: str, *, packed: bool = False) -> int:
        """Bytes of all tensors of a kind."""
        return sum(t.packed if packed else t.nbytes for t in self.tensors if t.kind == kind)

    def __str__(self) -> str:
        rows = [["tensor", "kind", "shape", "type", "bits", "bytes", "packed"]]
        for t in self.tensors:
            name = t.name if len(t.name) <= 24 else f"{t.name[:10]}...{t.name[-11:]}"
            shape = "x".join(map(str, t.shape))
            rows.append([name, t.kind, shape, t.dtype, str(t.bits), str(t.nbytes), str(t.packed)])
        body = aligned(rows)
        lines = [body[0], "-" * max(map(len, body)), *body[1:], ""]
        for kind in dict.fromkeys(t.kind for t in self.tensors if t.kind != "activation"):
            lines.append(f"{kind}: {self.total(kind)} bytes, packed {self.total(kind, packed=True)}")
        lines.append(f"activations at the peak ({self.cost.peak_node}): {self.cost.peak_bytes} bytes")
        lines += [f"multiply-accumulates {precision}: {count}" for precision, count in self.macs.items()]
        lines += [f"model file, {kind}: {nbytes} bytes" for kind, nbytes in self.files.items()]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """All of it as what `json.dumps` takes."""
        return {
            "tensors": [asdict(tensor) for tensor in self.tensors],
            "macs": dict(self.macs),
            "cost": asdict(self.cost),
            "files": dict(self.files),
        }


def footprint(network: IntegerModel | Graph) -> Footprint:
    """Bytes of every tensor, multiplications by precision, peak memory and the size of the file.

    Parameters
    ----------
    network : IntegerModel or Graph
        A captured float graph counts as float32, `FakeQuantModel.graph` as the float32 parameters it trains.

    Returns
    -------
    Footprint

    Raises
    ------
    TypeError
        network is neither.

    Examples
    --------
    >>> int8 = np.dtype(np.int8)
    >>> from tinyquant.graph import Node, Value
    >>> fc = Node("fc", "FULLY_CONNECTED", ("x",), (1, 2), params={"weight": np.int8([[7, 0, -7], [1, 2, 3]])},
    ...           qparams=QParams(1.0, 0), param_qparams={"weight": QParams(0.5, 0, -7, 7)}, dtype=int8)
    >>> m = IntegerModel(Graph((Value("x", (1, 3), int8, QParams(1.0, 0)),), (fc,), ("fc",)))
    >>> found = footprint(m)
    >>> [(t.name, t.bits, t.nbytes, t.packed) for t in found.tensors], found.macs
    ([('fc.weight', 4, 6, 3), ('x', 8, 3, 3), ('fc', 8, 2, 2)], {'int8 x int4': 6})
    """
    graph = network.graph if isinstance(network, IntegerModel) else network
    counted = cost(network)
    tensors = (*_parameters(graph), *_activations(graph))
    files = _file_bytes(network) if isinstance(network, IntegerModel) else {}
    return Footprint(tensors, macs_by_precision(graph), counted, files)


def macs_by_precision(graph: Graph) -> dict[str, int]:
    """Multiply-accumulates for one declared batch by the types of their factors: {"int8 x int4": count}.

    The first is the activation, the second the weight, in the bits that its codes need. Nodes without multiplications with
    weights count nothing.
    """
    found: dict[str, int] = {}
    for name, count in count_macs(graph).items():
        if count:
            node = graph.node(name)
            x = graph.value(node.inputs[0])
            weight = _type(node.params["weight"].dtype, node.param_qparams.get("weight"))
            precision = f"{_type(x.dtype, x.qparams)} x {weight}"
            found[precision] = found.get(precision, 0) + count
    return found


def _type(dtype: np.dtype, qparams: QParams | None) -> str:
    """ "float32", or "int4" for codes that need 4 bits."""
    return str(dtype) if qparams is None or dtype.kind == "f" else f"int{_bits(dtype, qparams)}"


def _bits(dtype: np.dtype, qparams: QParams | None) -> int:
    """How many bits the codes need; all of the type's without codes, and for the bias, whose grid is its type."""
    stored = 8 * dtype.itemsize
    return stored if qparams is None or dtype.kind == "f" else min(stored, (qparams.levels - 1).bit_length())


def _tensor(name: str, kind: str, dtype: np.dtype, shape: tuple[int, ...], qparams: QParams | None) -> TensorBytes:
    """One line of the list."""
    bits, count = _bits(dtype, qparams), prod(shape)
    return TensorBytes(name, kind, str(dtype), shape, bits, count * dtype.itemsize, -(-count * bits // 8))


def _parameters(graph: Graph) -> Iterator[TensorBytes]:
    """What is stored with the network."""
    kinds = {"weight": "weight", "bias": "bias", "value": "constant"}
    for node in graph:
        for key, array in node.params.items():
            name = node.name if key == "value" else f"{node.name}.{key}"
            yield _tensor(name, kinds.get(key, "batch norm"), array.dtype, array.shape, node.param_qparams.get(key))


def _activations(graph: Graph) -> Iterator[TensorBytes]:
    """What comes and goes; constants are stored and stand among the parameters."""
    values = [*graph.inputs, *(graph.value(node.name) for node in graph if node.op != "CONSTANT")]
    for value in values:
        yield _tensor(value.name, "activation", value.dtype, value.shape, value.qparams)


def _file_bytes(model: IntegerModel) -> dict[str, int]:
    """The sizes of the model's files."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.npz"
        model.save(path)
        files = {"npz": path.stat().st_size}
    try:
        files["tflite"] = len(tflite_bytes(model))
    except (ImportError, ValueError):
        # Without the extra there is no writer, and not every graph has a form in that format.
        pass
    return files
