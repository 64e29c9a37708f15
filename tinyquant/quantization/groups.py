"""Which values share one scale and zero point.

A max pool moves codes without computing, so its output can only mean what its input means; a
concatenation needs all its inputs on one grid. Such values form a group, found by union-find, and a
group has one quantizer whose range covers all its members. Softmax, sigmoid and tanh bring a fixed
quantizer of their own; where one of those meets a group it cannot rule, the codes are converted by an
explicit requantize node.

With this module one can find the groups of a fused graph (`form_groups`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tinyquant.graph import OPS, Graph, Node

__all__ = ["Groups", "form_groups"]


@dataclass(frozen=True)
class Groups:
    """The graph, perhaps with requantize nodes added, and for each value the name that its group goes by.

    `fixed` maps a group to the operator whose fixed quantizer it has.
    """

    graph: Graph
    of: dict[str, str]
    fixed: dict[str, str]

    def members(self, group: str) -> list[str]:
        """The values of a group, in execution order."""
        return [name for name, root in self.of.items() if root == group]


def form_groups(graph: Graph) -> Groups:
    """Group the values of a fused graph by the "same" rows of `OPS`.

    >>> import numpy as np
    >>> from tinyquant.graph import Value
    >>> x = Value("x", (1, 4, 4, 2), np.dtype("float32"))
    >>> pool = Node("pool", "MAX_POOL_2D", ("x",), (1, 2, 2, 2), attrs={"filter": 2, "stride": 2})
    >>> form_groups(Graph((x,), (pool,), ("pool",))).of
    {'x': 'x', 'pool': 'x'}
    """
    parent: dict[str, str] = {value.name: value.name for value in graph.inputs}
    fixed: dict[str, str] = {}
    nodes: list[Node] = []

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in graph.nodes:
        row = OPS[node.op]
        inputs = list(node.inputs)
        if row.qparams == "same":
            for position, name in enumerate(inputs):
                # One input may rule the output with its fixed grid; among several each fixed one is converted.
                if len(set(inputs)) > 1 and root(name) in fixed:
                    inputs[position] = _requantize(name, graph, nodes, parent)
            node = node.replace(inputs=tuple(inputs))
        nodes.append(node)
        parent[node.name] = node.name
        if row.qparams == "fixed":
            fixed[node.name] = node.op
        if row.qparams == "same":
            first = root(inputs[0])
            for name in (*inputs[1:], node.name):
                parent[root(name)] = first
    return Groups(Graph(graph.inputs, tuple(nodes), graph.outputs), {name: root(name) for name in parent}, fixed)


def _requantize(name: str, graph: Graph, nodes: list[Node], parent: dict[str, str]) -> str:
    """The name of a node that carries this value over to another grid, made on first need."""
    made = f"{name}.requantize"
    if made not in parent:
        nodes.append(Node(made, "QUANTIZE", (name,), graph.value(name).shape))
        parent[made] = made
    return made
