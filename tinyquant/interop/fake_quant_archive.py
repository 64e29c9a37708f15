"""A fake-quantized model as an archive: its graph with the float parameters, its scheme, and which weights are shared.

With this module one can keep a model in the middle of quantization-aware training (`save_fake_quant`) and go on later
(`load_fake_quant`, which `load` calls).
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from tinyquant.graph import Graph
from tinyquant.interop.archive import write_archive
from tinyquant.interop.graph_archive import graph_from_archive, graph_to_archive
from tinyquant.quantization.fuse import sharing_key
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.schemes import Scheme
from tinyquant.quantization.training_rules import TrainingRules

__all__ = ["load_fake_quant", "save_fake_quant"]


def save_fake_quant(model: FakeQuantModel, path: str | os.PathLike[str]) -> None:
    """Write a fake-quantized model as an archive of kind "fake_quant"; it comes back in eval mode, still trainable."""
    graph = model.graph
    header, arrays = graph_to_archive(graph)
    first: dict[int, list[str]] = {}
    shared = []
    for node in graph:
        for key, array in node.params.items():
            owner = first.setdefault(sharing_key(array), [node.name, key])
            if owner != [node.name, key]:
                shared.append([[node.name, key], owner])
    header["scheme"], header["exact"], header["shared"] = dataclasses.asdict(model.scheme), model.exact, shared
    header["fixed_weights"] = [name for name, made in model.nodes.items() if made.weight_qparams_fixed]
    if model.rules != TrainingRules():
        header["training"] = {
            "rules": dataclasses.asdict(model.rules),
            "sharing": model.sharing,
            "norms_frozen": model.state.norms_frozen,
            "norms_stale": model.state.norms_stale,
        }
        arrays |= {f"training/{i}": array for i, array in enumerate(_moved(model).values())}
    write_archive(path, "fake_quant", header, arrays)


def load_fake_quant(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> FakeQuantModel:
    """The model of an archive; what `load` calls for kind "fake_quant"."""
    graph = graph_from_archive(header, arrays)
    params = {node.name: dict(node.params) for node in graph}
    for (name, key), (owner, owners_key) in header["shared"]:
        params[name][key] = params[owner][owners_key]
    nodes = tuple(node.replace(params=params[node.name], qparams=None, param_qparams={}) for node in graph)
    qparams = {name: graph.value(name).qparams for name in (*(value.name for value in graph.inputs), *params)}
    fields = dict(header["scheme"])
    fields["overrides"] = tuple(
        (pattern, tuple((key, value) for key, value in changes)) for pattern, changes in fields["overrides"]
    )
    inputs = tuple(dataclasses.replace(value, qparams=None) for value in graph.inputs)
    training = header.get("training")
    rules = None if training is None else TrainingRules(**training["rules"])
    sharing = None if training is None else training["sharing"]
    model = FakeQuantModel(Graph(inputs, nodes, graph.outputs), Scheme(**fields), qparams, rules, sharing)
    model.exact = bool(header["exact"])
    # An archive from before this was written has none.
    for name in header.get("fixed_weights", []):
        model.nodes[name].fix_weight_qparams(graph.node(name).param_qparams["weight"])
    if training is not None:
        moved = {path: arrays[f"training/{i}"] for i, path in enumerate(_moved(model))}
        model.load_state_dict(model.state_dict() | moved)
        model.state.norms_frozen, model.state.norms_stale = bool(training["norms_frozen"]), bool(training["norms_stale"])
        model.eval()
    return model


def _moved(model: FakeQuantModel) -> dict[str, np.ndarray]:
    """What training moves besides the graph's own parameters: learned scales, moving ranges, the count of steps."""
    beside = ("ranges.", "weight_scales.", "steps")
    return {path: array for path, array in model.state_dict().items() if path.startswith(beside)}
