"""A graph as a header and arrays, and back: what every kind of model's archive is made of.

Numbers that a person might want to read (shapes, attributes, single scales) go into the header; arrays (parameters,
scales one a channel) go beside it, under keys that count nodes: a node's name may hold anything, a key may not.

With this module one can turn a graph into (header, arrays) (`graph_to_archive`, `graph_from_archive`) and save an
integer model (`save_integer`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinyquant.graph import Graph, Node, Value
from tinyquant.integer.model import IntegerModel
from tinyquant.interop.archive import ArchiveError, write_archive
from tinyquant.interop.check import check_integer_graph
from tinyquant.numerics.qparams import QParams

__all__ = ["graph_from_archive", "graph_to_archive", "load_integer", "save_integer"]

Header = dict[str, Any]
Arrays = dict[str, np.ndarray]


def save_integer(model: IntegerModel, path: str | os.PathLike[str]) -> None:
    """Write an integer model as an archive of kind "integer"; `load` gives it back, with every name and every code."""
    header, arrays = graph_to_archive(model.graph)
    write_archive(path, "integer", header, arrays)


def load_integer(header: Header, arrays: Arrays) -> IntegerModel:
    """The integer model of an archive; what `load` calls for kind "integer"."""
    graph = graph_from_archive(header, arrays)
    check_integer_graph(graph)
    return IntegerModel(graph)


def graph_to_archive(graph: Graph) -> tuple[Header, Arrays]:
    """A graph, float or integer, as JSON and arrays.

    Returns
    -------
    (dict, dict of str to ndarray)
        The header has the one key "graph", the arrays' keys begin with "graph/": room for a caller's own.

    Examples
    --------
    >>> x = Value("x", (1, 2), np.dtype(np.float32))
    >>> bias = np.float32([0.5])
    >>> graph = Graph((x,), (Node("y", "BATCH_NORM", ("x",), (1, 2), params={"beta": bias}),), ("y",))
    >>> header, arrays = graph_to_archive(graph)
    >>> list(arrays), header["graph"]["nodes"][0]["op"]
    (['graph/0/beta'], 'BATCH_NORM')
    >>> graph_from_archive(header, arrays).node("y").params["beta"].tolist()
    [0.5]
    """
    arrays: Arrays = {}
    inputs = [
        {
            "name": value.name,
            "shape": list(value.shape),
            "dtype": value.dtype.name,
            "qparams": _put_qparams(value.qparams, arrays, f"graph/inputs/{i}"),
        }
        for i, value in enumerate(graph.inputs)
    ]
    nodes = []
    for i, node in enumerate(graph.nodes):
        for name, array in node.params.items():
            arrays[f"graph/{i}/{name}"] = array
        nodes.append(
            {
                "name": node.name,
                "op": node.op,
                "inputs": list(node.inputs),
                "shape": list(node.shape),
                "dtype": node.dtype.name,
                "attrs": dict(node.attrs),
                "params": list(node.params),
                "qparams": _put_qparams(node.qparams, arrays, f"graph/{i}/qparams"),
                "param_qparams": {
                    name: _put_qparams(qp, arrays, f"graph/{i}/{name}.qparams") for name, qp in node.param_qparams.items()
                },
                "absorbed": list(node.absorbed),
            }
        )
    return {"graph": {"inputs": inputs, "nodes": nodes, "outputs": list(graph.outputs)}}, arrays


def graph_from_archive(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Graph:
    """The graph that `graph_to_archive` took apart; the arrays are the caller's (read-only through the graph).

    Raises
    ------
    ArchiveError
        Something is missing, of the wrong type, or no graph comes of it.
    """
    try:
        page = header["graph"]
        inputs = tuple(
            Value(_text(entry["name"]), _shape(entry["shape"]), _dtype(entry["dtype"]), _get_qparams(entry["qparams"], arrays))
            for entry in page["inputs"]
        )
        nodes = tuple(_node(entry, i, arrays) for i, entry in enumerate(page["nodes"]))
        return Graph(inputs, nodes, tuple(_text(name) for name in page["outputs"]))
    except ArchiveError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        what = f"nothing under {error}" if isinstance(error, KeyError) else str(error)
        raise ArchiveError(f"the archive must describe a graph, got {what}") from error


def _node(entry: Mapping[str, Any], i: int, arrays: Mapping[str, np.ndarray]) -> Node:
    """One node of the header."""
    return Node(
        name=_text(entry["name"]),
        op=_text(entry["op"]),
        inputs=tuple(_text(name) for name in entry["inputs"]),
        shape=_shape(entry["shape"]),
        attrs=dict(entry["attrs"]),
        params={name: arrays[f"graph/{i}/{name}"] for name in entry["params"]},
        qparams=_get_qparams(entry["qparams"], arrays),
        param_qparams={name: _required(_get_qparams(qp, arrays)) for name, qp in entry["param_qparams"].items()},
        dtype=_dtype(entry["dtype"]),
        absorbed=tuple(_text(name) for name in entry["absorbed"]),
    )


def _put_qparams(qp: QParams | None, arrays: Arrays, key: str) -> Header | None:
    """Scale and zero point: numbers in the header, or, one a channel, keys of arrays."""
    if qp is None:
        return None
    rest = {"qmin": qp.qmin, "qmax": qp.qmax, "axis": qp.axis}
    if qp.axis is None:
        return {"scale": qp.scale, "zero_point": qp.zero_point, **rest}
    arrays[f"{key}.scale"], arrays[f"{key}.zero_point"] = np.asarray(qp.scale), np.asarray(qp.zero_point)
    return {"scale": f"{key}.scale", "zero_point": f"{key}.zero_point", **rest}


def _get_qparams(entry: Mapping[str, Any] | None, arrays: Mapping[str, np.ndarray]) -> QParams | None:
    """The other way round."""
    if entry is None:
        return None
    scale, zero = (arrays[entry[key]] if isinstance(entry[key], str) else entry[key] for key in ("scale", "zero_point"))
    return QParams(scale, zero, entry["qmin"], entry["qmax"], entry["axis"])


def _required(qp: QParams | None) -> QParams:
    """The qparams of a parameter, which cannot be none."""
    if qp is None:
        raise ValueError("a parameter without scale.")
    return qp


def _text(value: object) -> str:
    """A string, and nothing that only looks like one."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a string must be.")
    return value


def _shape(value: object) -> tuple[int, ...]:
    """A list of whole numbers."""
    if not isinstance(value, list) or any(type(size) is not int or size < 0 for size in value):
        raise TypeError(f"{value!r} where a shape must be.")
    return tuple(value)


def _dtype(value: object) -> np.dtype:
    """The dtype of an activation."""
    if value not in ("int8", "uint8", "int16", "int32", "float32", "float64"):
        raise TypeError(f"{value!r} where a dtype must be.")
    return np.dtype(str(value))
