"""The network as a list of named calls, and the one table of what a call can be.

The same `Graph` serves three arithmetics. Captured from a module its nodes hold float parameters;
converted, they hold integer codes and the scales that give them meaning; loaded from a .tflite file,
likewise. A node keeps its name through all of it, so a number in one world can be held against the
same number in the other two. There is no arithmetic on tensors here.

Read `structure` (what a network is), then `operators` (the table), and `geometry` when a window needs padding.
"""

from tinyquant.graph.geometry import same_padding, window_count
from tinyquant.graph.operators import ACTIVATIONS, OPS, Operator
from tinyquant.graph.structure import Graph, Node, Value, count_macs

__all__ = [
    "ACTIVATIONS",
    "OPS",
    "Graph",
    "Node",
    "Operator",
    "Value",
    "count_macs",
    "same_padding",
    "window_count",
]
