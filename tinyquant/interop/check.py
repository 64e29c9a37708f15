"""Whether an integer graph that came from outside keeps its word.

A file says the same thing several times over: a convolution's output shape follows from its input, its weights and
its stride, and yet stands written down too. What is read is believed only when all of it agrees.

With this module one can hold a graph against itself before it is run or written (`check_integer_graph`).
"""

from __future__ import annotations

from math import prod

import numpy as np

from tinyquant.graph import OPS, Graph, Value
from tinyquant.integer.prepare import prepare

__all__ = ["check_integer_graph"]

MOST_CELLS = 2**31 - 1
"""Of one tensor: the runtimes count cells in int32."""

MOST_AXES = 32
"""Of one tensor: the most that every supported numpy takes."""


def check_integer_graph(graph: Graph) -> None:
    """Refuse a graph that the integer kernels could not run as it is written.

    Parameters
    ----------
    graph : Graph
        Integer codes in `params`, qparams on every int8 value.

    Raises
    ------
    ValueError
        The first thing that does not agree, with the node: what `tinyquant.integer.prepare.prepare` refuses (types,
        scales, sizes of parameters, shapes), an operator that copies codes and yet changes their scale, a tensor
        without cells or with more than 2**31 - 1.

    Notes
    -----
    RELU6 may change the scale: TensorFlow Lite Micro runs such a file without rescaling, and so do we.

    Examples
    --------
    >>> from tinyquant.graph import Node
    >>> from tinyquant.numerics.qparams import QParams
    >>> qp = QParams(0.5, 0)
    >>> x = Value("x", (1, 4), np.dtype(np.int8), qp)
    >>> node = Node("y", "RESHAPE", ("x",), (2, 2), {"new_shape": (2, 2)}, qparams=qp, dtype=np.dtype(np.int8))
    >>> check_integer_graph(Graph((x,), (node,), ("y",)))
    >>> check_integer_graph(Graph((x,), (node.replace(shape=(2, 3)),), ("y",)))
    Traceback (most recent call last):
    ValueError: the declared shape must be the one the operator makes, (2, 2), got (2, 3) (node 'y', RESHAPE).
    """
    if not graph.inputs or not graph.outputs:
        raise ValueError(f"a graph must have inputs and outputs, got {len(graph.inputs)} and {len(graph.outputs)}.")
    values: dict[str, Value] = {}
    for value in graph.inputs:
        _check_value(value)
        values[value.name] = value
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        values[node.name] = output = Value(node.name, node.shape, node.dtype, node.qparams)
        _check_value(output)
        for qp in node.param_qparams.values():
            _check_float32(qp.scale, "a scale", node.name)
        for key, setting in node.attrs.items():
            if isinstance(setting, float) and setting:
                _check_float32(abs(setting), key, node.name)
        prepare(node, inputs)
        if node.op == "CONSTANT" and node.params["value"].dtype != np.int8:
            raise ValueError(f"a constant must be int8, got {node.params['value'].dtype} at node {node.name!r}.")
        if OPS[node.op].qparams == "same" and node.op != "RELU6":
            for value in inputs:
                if value.qparams != output.qparams:
                    raise ValueError(
                        f"{node.op} {node.name!r} copies codes, so its scale and zero point must be its input's, "
                        f"{_map(value)}, got {_map(output)}. Put a QUANTIZE node between them."
                    )


def _check_value(value: Value) -> None:
    """Of a type and a size that the kernels know."""
    if not (value.dtype == np.int8 and value.qparams is not None and not value.qparams.per_axis) and not (
        value.dtype == np.float32 and value.qparams is None
    ):
        raise ValueError(f"a tensor must be int8 with one scale, or float32 without, got {value.dtype} at {value.name!r}.")
    if value.qparams is not None:
        _check_float32(value.qparams.scale, "a scale", value.name)
    if len(value.shape) > MOST_AXES or any(size < 1 for size in value.shape) or prod(value.shape) > MOST_CELLS:
        raise ValueError(
            f"a tensor must have at most {MOST_AXES} axes, each with cells, and 2**31 - 1 cells in all, "
            f"got shape {value.shape[: MOST_AXES + 1]} at {value.name!r}."
        )


def _check_float32(number: float | np.ndarray, what: str, name: str) -> None:
    """Refuse what float32, in which kernels and files hold it, would turn into 0 or infinity."""
    if np.any(np.asarray(number) > np.finfo(np.float32).max) or np.any(np.asarray(number) < 2.0**-149):
        raise ValueError(f"{what} must be within float32, got {number} at {name!r}.")


def _map(value: Value) -> str:
    """Scale and zero point for a message."""
    return "none" if value.qparams is None else f"({value.qparams.scale:.9g}, {value.qparams.zero_point})"
