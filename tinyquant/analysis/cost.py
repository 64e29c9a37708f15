"""What a network costs on a small device: bytes that stay, bytes that come and go, multiplications.

Parameters lie in flash and stay. Activations lie in RAM and need a place only while somebody still wants to read them: from the
node that makes a value to the last node that reads it. The peak is the moment when most bytes are wanted at once, and
it is usually what decides whether a network fits::

    live at node i  =  every value made at or before i and read at or after i, i's own output included

With this module one can count all three (`cost`), node by node, for the declared batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tinyquant.graph import Graph, Node, Value, count_macs
from tinyquant.integer.model import IntegerModel

__all__ = ["Buffer", "Cost", "NodeCost", "cost"]


@dataclass(frozen=True)
class Buffer:
    """A piece of RAM: the values that use it, its size, and when.

    Attributes
    ----------
    values : tuple of str
        One name, and those of the reshapes that reuse its place.
    nbytes : int
    first, last : int
        Positions of nodes in execution order: the place is taken from before node `first` ran to after node `last` ran.
    """

    values: tuple[str, ...]
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True)
class NodeCost:
    """What one node costs.

    Attributes
    ----------
    name, op : str
    shape : tuple of int
        Of the output.
    parameter_bytes : int
        Its weights, bias and constants as stored.
    output_bytes : int
    macs : int
        Multiply-accumulates, zeros of the padding included.
    live : tuple of str
        The values that lie in RAM while it runs.
    live_bytes : int
    """

    name: str
    op: str
    shape: tuple[int, ...]
    parameter_bytes: int
    output_bytes: int
    macs: int
    live: tuple[str, ...]
    live_bytes: int


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes
    ----------
    nodes : tuple of NodeCost
        In execution order.
    buffers : tuple of Buffer
        The plan of lifetimes the peak was counted with.
    parameter_bytes, macs : int
        Of all nodes.
    peak_bytes : int
        The most activation bytes that are live at once.
    peak_node : str
        The first node at which they are; "" for a graph without nodes.
    """

    nodes: tuple[NodeCost, ...]
    buffers: tuple[Buffer, ...]
    parameter_bytes: int
    macs: int
    peak_bytes: int
    peak_node: str


def cost(network: Graph | IntegerModel) -> Cost:
    """Bytes, multiply-accumulates and peak activation memory, for the declared batch.

    Parameters
    ----------
    network : Graph or IntegerModel
        Any graph, float ones too: sizes are those of the dtypes it declares.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError
        network is neither.

    Notes
    -----
    *What is counted.* Inputs lie in RAM from the start to their last reader (an input that nobody reads: at the first node
    only), outputs of the network to the end. A CONSTANT is read where it is stored and takes no RAM. A RESHAPE changes no byte,
    so its output lies where its input lies, and both together count once, for as long as either is wanted. No other operator
    reuses its input's place.

    *What is not.* The figure is a lower bound for a planner that keeps values apart: a real one may leave gaps between
    buffers, aligns them to 16 bytes, and adds scratch memory of its kernels and its own structures. In TFLite Micro all of
    that together is the tensor arena.

    Examples
    --------
    >>> import numpy as np
    >>> from tinyquant.graph import Node, Value
    >>> pool = Node("pool", "MAX_POOL_2D", ("x",), (1, 2, 2, 8), {"filter": 2, "stride": 2}, dtype=np.int8)
    >>> flat = Node("flat", "RESHAPE", ("pool",), (1, 32), {"new_shape": (1, 32)}, dtype=np.int8)
    >>> graph = Graph((Value("x", (1, 4, 4, 8), np.dtype(np.int8)),), (pool, flat), ("flat",))
    >>> found = cost(graph)
    >>> found.peak_bytes, found.peak_node, [buffer.values for buffer in found.buffers]
    (160, 'pool', [('x',), ('pool', 'flat')])
    """
    graph = network.graph if isinstance(network, IntegerModel) else network
    if not isinstance(graph, Graph):
        raise TypeError(
            f"network must be a Graph or an IntegerModel, got {type(network).__name__}. Capture or convert it first."
        )
    buffers = _plan(graph)
    macs = count_macs(graph)
    nodes = []
    for i, node in enumerate(graph):
        live = [buffer for buffer in buffers if buffer.first <= i <= buffer.last]
        nodes.append(
            NodeCost(
                node.name,
                node.op,
                node.shape,
                sum(array.nbytes for array in node.params.values()),
                _nbytes(node),
                macs[node.name],
                tuple(buffer.values[0] for buffer in live),
                sum(buffer.nbytes for buffer in live),
            )
        )
    # Without a node the inputs are all there is.
    peak = max((node.live_bytes for node in nodes), default=sum(buffer.nbytes for buffer in buffers))
    peak_node = next((node.name for node in nodes if node.live_bytes == peak), "")
    parameter_bytes = sum(node.parameter_bytes for node in nodes)
    return Cost(tuple(nodes), buffers, parameter_bytes, sum(macs.values()), peak, peak_node)


def _nbytes(value: Value | Node) -> int:
    """The bytes of a tensor of the declared shape."""
    return prod(value.shape) * value.dtype.itemsize


def _plan(graph: Graph) -> tuple[Buffer, ...]:
    """One buffer for every value that takes RAM, in the order in which they are first wanted."""
    end = max(len(graph) - 1, 0)
    home: dict[str, str] = {}
    spans: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    for value in graph.inputs:
        home[value.name], spans[value.name], sizes[value.name] = value.name, [0, 0], _nbytes(value)
    for i, node in enumerate(graph):
        for name in node.inputs:
            if name in home:
                spans[home[name]][1] = i
        if node.op == "CONSTANT" or (node.op == "RESHAPE" and node.inputs[0] not in home):
            continue
        if node.op == "RESHAPE":
            home[node.name] = home[node.inputs[0]]
        else:
            home[node.name], spans[node.name], sizes[node.name] = node.name, [i, i], _nbytes(node)
    for name in graph.outputs:
        if name in home:
            spans[home[name]][1] = end
    return tuple(
        Buffer(tuple(name for name in home if home[name] == place), sizes[place], first, last)
        for place, (first, last) in spans.items()
    )
