"""The operators of the table, computed in float: what a graph means before anything is quantized.

Captured graphs are run with these functions to collect statistics, and the fake-quantized model is
made of the same functions with quantizers put between them. They work on Tensors, so gradients flow.

With this module one can run a float graph and keep every value by name (`run_graph`), or look up the
float meaning of one operator (`FLOAT_OPS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tinyquant import autograd as F
from tinyquant.autograd import Tensor, no_grad
from tinyquant.graph import Graph, Node

__all__ = ["FLOAT_OPS", "activate", "compute_node", "run_graph"]

_Compute = Callable[[Sequence[Tensor], Mapping[str, Tensor], Node], Tensor]


def compute_node(node: Node, inputs: Sequence[Tensor], params: Mapping[str, Tensor]) -> Tensor:
    """One node in float, its fused activation included.

    Raises
    ------
    ValueError
        The operator has no float meaning (what only a loaded integer model holds).
    """
    if node.op not in FLOAT_OPS:
        raise ValueError(f"the float lane computes {', '.join(FLOAT_OPS)}, got {node.op} at node {node.name!r}.")
    return activate(node, FLOAT_OPS[node.op](inputs, params, node))


def activate(node: Node, y: Tensor) -> Tensor:
    """The fused activation of a node, alone."""
    return _ACTIVATIONS[node.attrs.get("activation", "none")](y)


def run_graph(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every value of a float graph for one batch: {name: array}, inputs first, in execution order.

    Parameters
    ----------
    graph : Graph
        As `capture` returns it.
    x : float array, (N, ...)
        Any number of rows.
    """
    values: dict[str, Tensor] = {graph.inputs[0].name: Tensor(np.asarray(x, dtype=np.float32))}
    with no_grad():
        for node in graph.nodes:
            params = {key: Tensor(array) for key, array in node.params.items()}
            values[node.name] = compute_node(node, [values[name] for name in node.inputs], params)
    return {name: tensor.data for name, tensor in values.items()}


def _conv(x: Sequence[Tensor], p: Mapping[str, Tensor], n: Node) -> Tensor:
    groups = x[0].shape[-1] // p["weight"].shape[3]
    a = n.attrs
    return F.conv2d(
        x[0],
        p["weight"],
        p.get("bias"),
        stride=a["stride"],
        padding=a["padding"],
        dilation=a["dilation"],
        groups=groups,
    )


def _depthwise(x: Sequence[Tensor], p: Mapping[str, Tensor], n: Node) -> Tensor:
    a = n.attrs
    return F.depthwise_conv2d(
        x[0], p["weight"], p.get("bias"), stride=a["stride"], padding=a["padding"], dilation=a["dilation"]
    )


def _fully_connected(x: Sequence[Tensor], p: Mapping[str, Tensor], n: Node) -> Tensor:
    flat = x[0] if n.attrs["keep_num_dims"] else F.reshape(x[0], (-1, p["weight"].shape[1]))
    return F.linear(flat, p["weight"], p.get("bias"))


def _batch_norm(x: Sequence[Tensor], p: Mapping[str, Tensor], n: Node) -> Tensor:
    return F.batch_norm(
        x[0], p["gamma"], p["beta"], p["mean"].data, p["variance"].data, training=False, eps=n.attrs["eps"]
    )


def _reshape(x: Sequence[Tensor], p: Mapping[str, Tensor], n: Node) -> Tensor:
    # The graph declares a batch of 1; the rows that came in are the rows that go out.
    shape = n.attrs["new_shape"]
    return F.reshape(x[0], (x[0].shape[0], *shape[1:]) if n.shape[0] == 1 else shape)


def _average_pool(x: Sequence[Tensor], p: Mapping[str, Tensor], n: Node) -> Tensor:
    a = n.attrs
    if a["filter"] == x[0].shape[1:3] and a["padding"] == "valid":
        return F.mean(x[0], axis=(1, 2), keepdims=True)
    return F.avg_pool2d(x[0], a["filter"], a["stride"], a["padding"])


FLOAT_OPS: Mapping[str, _Compute] = {
    "CONSTANT": lambda x, p, n: p["value"],
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_NORM": _batch_norm,
    "ADD": lambda x, p, n: F.add(x[0], x[1]),
    "SUB": lambda x, p, n: F.sub(x[0], x[1]),
    "MUL": lambda x, p, n: F.mul(x[0], x[1]),
    "CONCATENATION": lambda x, p, n: F.concat(list(x), axis=n.attrs["axis"]),
    "AVERAGE_POOL_2D": _average_pool,
    "MAX_POOL_2D": lambda x, p, n: F.max_pool2d(x[0], n.attrs["filter"], n.attrs["stride"], n.attrs["padding"]),
    "MEAN": lambda x, p, n: F.mean(x[0], axis=n.attrs["axis"], keepdims=n.attrs["keep_dims"]),
    "SUM": lambda x, p, n: F.sum(x[0], axis=n.attrs["axis"], keepdims=n.attrs["keep_dims"]),
    "PAD": lambda x, p, n: F.pad(x[0], n.attrs["paddings"]),
    "QUANTIZE": lambda x, p, n: x[0],
    "RESHAPE": _reshape,
    "TRANSPOSE": lambda x, p, n: F.transpose(x[0], n.attrs["perm"]),
    "RELU": lambda x, p, n: F.relu(x[0]),
    "RELU6": lambda x, p, n: F.relu6(x[0]),
    "LEAKY_RELU": lambda x, p, n: F.leaky_relu(x[0], n.attrs["alpha"]),
    "LOGISTIC": lambda x, p, n: F.sigmoid(x[0]),
    "TANH": lambda x, p, n: F.tanh(x[0]),
    "SOFTMAX": lambda x, p, n: F.softmax(x[0] if n.attrs["beta"] == 1.0 else x[0] * n.attrs["beta"]),
}
"""Float meaning of each operator a captured graph can hold: (inputs, parameters, node) -> Tensor."""

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": lambda y: y,
    "relu": F.relu,
    "relu6": F.relu6,
}
