"""Rewriting the float graph into the shape that integers run in.

A batch norm in eval mode is an affine map a channel, and so is the convolution before it: one
convolution does both. A ReLU after a convolution is a clamp that the convolution's last step does
anyway. So the captured nodes are merged, and each merged node keeps the name of the first and records
whom it absorbed.

With this module one can merge batch norms and activations into their producers (`fuse`).
"""

from __future__ import annotations

import numpy as np

from tinyquant.graph import Graph, Node

__all__ = ["BATCH_NORM_PARAMS", "fuse", "sharing_key"]

BATCH_NORM_PARAMS = ("gamma", "beta", "mean", "variance", "eps")
_TAKES_BATCH_NORM = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_TAKES_ACTIVATION = (*_TAKES_BATCH_NORM, "ADD", "SUB", "MUL")
_ACTIVATIONS = {"RELU": "relu", "RELU6": "relu6"}


def sharing_key(array: np.ndarray) -> int:
    """Equal for two views of the same memory: how a weight used by two nodes is recognised."""
    return int(array.__array_interface__["data"][0])


def fuse(graph: Graph) -> Graph:
    """Merge batch norms and activations into the nodes that make their input.

    A node is merged only into a producer that nobody else reads and that is not itself an output. A batch norm
    with no such producer becomes a 1x1 depthwise convolution.

    Parameters
    ----------
    graph : Graph
        As captured.

    Returns
    -------
    Graph
        The same outputs; merged nodes own the batch norm's parameters ("gamma", "beta", "mean", "variance", "eps").

    Raises
    ------
    ValueError
        A batch norm that nothing can do the work of, or one weight under two different batch norms.
    """
    made: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        node = node.replace(inputs=inputs)
        producer = made.get(inputs[0]) if inputs else None
        # Readers are counted in the captured graph, under the name the value had there.
        original = graph.node(node.name).inputs[0] if inputs else ""
        alone = producer is not None and len(graph.consumers(original)) == 1 and original not in graph.outputs
        if producer is not None and alone and _can_absorb(producer, node):
            made[producer.name] = _absorb(producer, node)
            renamed[node.name] = producer.name
            continue
        if node.op == "BATCH_NORM":
            node = _as_depthwise(node)
        made[node.name] = node
    nodes = tuple(made.values())
    _refuse_two_norms(nodes)
    return Graph(graph.inputs, nodes, tuple(renamed.get(name, name) for name in graph.outputs))


def _can_absorb(producer: Node, node: Node) -> bool:
    """Is there room in the producer for this node's work?"""
    if producer.attrs.get("activation", "none") != "none":
        return False
    if node.op == "BATCH_NORM":
        return producer.op in _TAKES_BATCH_NORM and "gamma" not in producer.params
    return node.op in _ACTIVATIONS and producer.op in _TAKES_ACTIVATION


def _absorb(producer: Node, node: Node) -> Node:
    """The producer doing the node's work too."""
    absorbed = (*producer.absorbed, node.name)
    if node.op == "BATCH_NORM":
        return producer.replace(params={**producer.params, **_norm_params(node)}, absorbed=absorbed)
    return producer.replace(attrs={**producer.attrs, "activation": _ACTIVATIONS[node.op]}, absorbed=absorbed)


def _norm_params(node: Node) -> dict[str, np.ndarray]:
    """The batch norm's arrays, eps among them so that all travels together."""
    return {**node.params, "eps": np.asarray(node.attrs["eps"], np.float32)}


def _as_depthwise(node: Node) -> Node:
    """A batch norm on its own: a 1x1 depthwise convolution of ones, with the batch norm on it."""
    if len(node.shape) != 4:
        raise ValueError(
            f"a batch norm must follow a convolution or linear layer, or act on images (N, H, W, C), got {node.name!r} "
            f"on shape {node.shape}. Move it behind the layer it belongs to."
        )
    ones = np.ones((1, 1, 1, node.shape[3]), np.float32)
    return node.replace(op="DEPTHWISE_CONV_2D", attrs={}, params={"weight": ones, **_norm_params(node)})


def _refuse_two_norms(nodes: tuple[Node, ...]) -> None:
    """A weight used twice has one set of codes, so it cannot be folded two ways."""
    seen: dict[int, Node] = {}
    for node in nodes:
        if "weight" not in node.params:
            continue
        first = seen.setdefault(sharing_key(node.params["weight"]), node)
        norms = [None if "gamma" not in n.params else sharing_key(n.params["gamma"]) for n in (first, node)]
        if norms[0] != norms[1]:
            raise ValueError(
                f"a shared weight must go with one batch norm, got different ones at {first.name!r} and {node.name!r}. "
                "Give each its own layer, or its own copy of the weight."
            )
