"""The float meaning of the operators: each row of the table is computed, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from tinyquant.autograd import Tensor
from tinyquant.graph import OPS, Graph, Node, Value
from tinyquant.quantization.float_run import FLOAT_OPS, compute_node, run_graph

ONLY_LOADED = {"TRANSPOSE_CONV", "PADV2", "RELU_N1_TO_1", "DEQUANTIZE"}
"""What only a model from a file holds: no layer of `nn` is captured as one of these."""


def test_every_row_of_the_table_has_a_float_meaning_or_is_one_that_only_a_file_holds():
    assert set(FLOAT_OPS) | ONLY_LOADED == set(OPS) and not set(FLOAT_OPS) & ONLY_LOADED


@pytest.mark.parametrize("op", sorted(ONLY_LOADED))
def test_the_others_are_refused_by_name(op):
    attrs = {"paddings": ((0, 0),), "value": 0} if op == "PADV2" else {}
    node = Node("from_file", op, ("x",), (1,), attrs=attrs)
    with pytest.raises(ValueError, match=f"got {op} at node 'from_file'"):
        compute_node(node, [Tensor([1.0])], {})


def test_a_graph_runs_any_number_of_rows_and_keeps_every_value_by_name():
    x = Value("x", (1, 2, 2, 1), np.dtype(np.float32))
    nodes = (
        Node("flat", "RESHAPE", ("x",), (1, 4), attrs={"new_shape": (1, 4)}),
        Node("twice", "ADD", ("flat", "flat"), (1, 4), attrs={"activation": "relu6"}),
    )
    batch = np.arange(12, dtype=np.float32).reshape(3, 2, 2, 1)
    values = run_graph(Graph((x,), nodes, ("twice",)), batch)
    assert list(values) == ["x", "flat", "twice"]
    assert values["twice"].tolist() == np.minimum(2 * batch.reshape(3, 4), 6).tolist()
