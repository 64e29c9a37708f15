"""The golden vectors of tests/data/golden as one-node graphs.

With this module one can list the cases (`golden_names`) and turn one into a graph, its inputs and what the real kernels
answered (`golden_case`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tinyquant.graph import Graph, Node, Value
from tinyquant.numerics.qparams import QParams

GOLDEN = Path(__file__).parent / "data" / "golden"

_PARAMS = {"weights": "weight", "bias": "bias"}
_SETTINGS = {"paddings", "axes", "perm", "shape", "output_shape", "value"}


@dataclass(frozen=True)
class Golden:
    """One case: a one-node graph, the inputs, and the recorded answers by dialect."""

    name: str
    graph: Graph
    inputs: list[np.ndarray]
    expected: np.ndarray
    answers: dict[str, np.ndarray]
    overflow: bool


@cache
def _fields() -> dict[str, dict[str, np.ndarray]]:
    """Every case's raw fields, by case name."""
    found = {}
    for path in sorted(GOLDEN.glob("*.npz")):
        if path.name == "scalar.npz":
            continue
        with np.load(path, allow_pickle=False) as archive:
            cases: dict[str, dict[str, np.ndarray]] = {}
            for key in archive.files:
                case, name = key.split("/")
                cases.setdefault(case, {})[name] = archive[key]
        found.update({str(case["name"]): case for case in cases.values()})
    return found


def golden_names() -> list[str]:
    """The names of all cases."""
    return list(_fields())


def golden_case(name: str) -> Golden:
    """A case by name."""
    case = _fields()[name]
    roles = json.loads(str(case["roles"]))
    op = "QUANTIZE" if str(case["op"]) == "REQUANTIZE" else str(case["op"])
    expected = case["expected"]
    activations = [role for role in roles if role not in _PARAMS and role not in _SETTINGS]
    values = tuple(Value(role, case[role].shape, case[role].dtype, _qparams(case, role)) for role in activations)
    params = {_PARAMS[role]: case[role] for role in roles if role in _PARAMS}
    weight = {"weight": _qparams(case, "weights")} if "weights" in roles else {}
    node = Node(
        "y",
        op,
        tuple(activations),
        expected.shape,
        _attrs(op, case),
        params,
        _qparams(case, "output"),
        weight,  # type: ignore[arg-type]
        expected.dtype,
    )
    answers = {"tflm": expected} if str(case["expected_source"]) == "tflm" else {}
    answers |= {key[9:].replace("litert_xnnpack", "xnnpack"): case[key] for key in case if key.startswith("expected_litert")}
    return Golden(
        name,
        Graph(values, (node,), ("y",)),
        [case[role] for role in activations],
        expected,
        answers,
        bool(case.get("int32_overflow", False)),
    )


def _qparams(case: dict[str, np.ndarray], role: str) -> QParams | None:
    """Scale and zero point of a role, per axis where there are several; None for reals."""
    if f"{role}_scale" not in case:
        return None
    scale, zero = case[f"{role}_scale"].astype(np.float64), case[f"{role}_zero_point"]
    if scale.size == 1:
        return QParams(scale[0], zero[0])
    return QParams(scale, zero, axis=int(case[f"{role}_axis"]))


def _attrs(op: str, case: dict[str, np.ndarray]) -> dict[str, Any]:
    """The node's attributes from the operator's options and its constant inputs."""
    options = json.loads(str(case["options"]))
    attrs = {key: value.lower() if key in ("padding", "activation") else value for key, value in options.items()}
    if op in ("PAD", "PADV2"):
        attrs["paddings"] = case["paddings"].tolist()
    if op == "PADV2":
        attrs["value"] = int(case["value"][0])
    if op in ("MEAN", "SUM"):
        attrs["axis"] = case["axes"].tolist()
    if op == "TRANSPOSE":
        attrs["perm"] = case["perm"].tolist()
    return attrs
