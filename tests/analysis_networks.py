"""What the tests of the analysis room look at: the three trained networks, and integer networks of one operator.

With this module one can have a checkpoint in all three arithmetics (`three`), digits, and a one-node integer model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from tinyquant import data, models
from tinyquant.graph import Graph, Node, Value
from tinyquant.integer.model import IntegerModel
from tinyquant.nn import Module
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.calibrate import Calibration, calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8

NETWORKS = ("mlp", "resnet", "mobilenet")
INT8 = np.dtype(np.int8)


@lru_cache
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, y for training and xt, yt for testing."""
    (x, y), (xt, yt) = data.digits(split=0)
    return x, y, xt, yt


@lru_cache
def trained(name: str) -> tuple[Module, Calibration]:
    """A checkpoint and its calibration."""
    model = models.load_checkpoint(name)
    return model, calibrate(model, digits()[0][:512])


@lru_cache
def three(name: str, weight_bits: int = 8) -> tuple[Module, FakeQuantModel, IntegerModel]:
    """A checkpoint as float, fake-quantized and integer model."""
    model, seen = trained(name)
    fq = quantize_model(model, seen, scheme=TFLITE_INT8.replace(weight_bits=weight_bits))
    return model, fq, convert(fq)


def one_node(
    op: str,
    shape: tuple[int, ...],
    inputs: Mapping[str, tuple[tuple[int, ...], QParams]],
    out: QParams | None,
    *,
    attrs: Mapping[str, Any] | None = None,
    params: Mapping[str, np.ndarray] | None = None,
    weight: QParams | None = None,
) -> IntegerModel:
    """An integer model of one node called "node"; `inputs` maps names to (shape, qparams)."""
    values = tuple(Value(name, size, INT8, qp) for name, (size, qp) in inputs.items())
    meaning = {} if weight is None else {"weight": weight}
    node = Node("node", op, tuple(inputs), shape, attrs or {}, params or {}, out, meaning, INT8)
    return IntegerModel(Graph(values, (node,), ("node",)))


def multiplies(
    acc: int, factor: float, *, zero: int = 0, bias: int = 0, activation: str = "none"
) -> tuple[IntegerModel, np.ndarray]:
    """A FULLY_CONNECTED layer of one weight, and an input, whose accumulator is acc + bias and whose real factor is `factor`."""
    m = one_node(
        "FULLY_CONNECTED", (1, 1), {"x": ((1, 1), QParams(1.0, 0))}, QParams(1.0, zero),
        attrs={"activation": activation}, params={"weight": np.int8([[1]]), "bias": np.int32([acc - 1 + bias])},
        weight=QParams(factor, 0, -127, 127),
    )  # fmt: skip
    return m, np.int8([[1]])
