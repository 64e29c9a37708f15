"""Batch norms folded on the float model: the same function, fewer layers.

Most algorithms that look at weights before quantization (equalization, bias correction by statistics) must see
the weights that will be quantized, which are the folded ones.

With this module one can fold the batch norms of a float module (`fold`).
"""

from __future__ import annotations

import copy

import numpy as np

from tinyquant.autograd import Tensor
from tinyquant.graph import OPS, Graph
from tinyquant.nn import Module, Parameter
from tinyquant.quantization.capture import capture, require_module
from tinyquant.quantization.fuse import fuse

__all__ = ["Folded", "fold", "module_at", "own_layers"]


class Folded(Module):
    """What stands where a batch norm was: y = x."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x itself."""
        return x


def fold(model: Module, example: np.ndarray) -> Module:
    """A copy of a float model in which each batch norm has gone into the layer before it.

    With s = gamma / sqrt(variance + eps)::

        weight' = weight * s          bias' = (bias - mean) * s + beta

    computed in float64 and rounded to float32 once. So each layer's output changes by at most
    2**-24 * (sum |weight'| |x| + |bias'|), and nothing else does.

    Parameters
    ----------
    model : Module
        Left as it is. Of each batch norm and the layer before it, both must be modules that are called once; other
        batch norms stay where they are.
    example : float array, (N, ...)
        As for `capture`.

    Returns
    -------
    Module
        In eval mode; a `Folded` stands where each batch norm was, and names are as before.

    References
    ----------
    Jacob et al. 2018, section 3.2, equation 14.

    Examples
    --------
    >>> from tinyquant import nn
    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm2d(2)).eval()
    >>> fold(model, np.zeros((1, 2), np.float32))
    Sequential(
      0: Linear(2, 2)
      1: Folded()
    )
    """
    require_module(model)
    folded = copy.deepcopy(model).eval()
    graph = fuse(capture(model, example))
    layers = own_layers(folded, graph)
    for node in graph:
        if "gamma" not in node.params or node.name not in layers or not node.absorbed:
            continue
        norm_name = node.absorbed[0]
        modules = dict(folded.named_modules())
        if not isinstance(modules.get(norm_name), Module) or not hasattr(modules[norm_name], "running_var"):
            continue
        values = {key: array.astype(np.float64) for key, array in node.params.items()}
        factor = values["gamma"] / np.sqrt(values["variance"] + values["eps"])
        shape = [1] * values["weight"].ndim
        shape[OPS[node.op].weight_axis or 0] = -1
        layers[node.name].write(
            values["weight"] * factor.reshape(shape),
            (values.get("bias", 0.0) - values["mean"]) * factor + values["beta"],
        )
        _put(folded, norm_name, Folded())
    return folded.eval()


class OwnLayer:
    """A module that alone owns the weight of one node, and how a new weight is written into it."""

    def __init__(self, module: Module, turned: bool) -> None:
        self.module, self.turned = module, turned

    def write(self, weight: np.ndarray, bias: np.ndarray | None) -> None:
        """Set weight (in the node's layout) and bias, rounded to float32; None leaves the bias."""
        turned = weight.transpose(3, 1, 2, 0) if self.turned else weight
        self.module.weight = Parameter(np.ascontiguousarray(turned, np.float32))
        if bias is not None:
            self.module.bias = Parameter(np.asarray(bias, np.float32))


def own_layers(model: Module, graph: Graph) -> dict[str, OwnLayer]:
    """The nodes whose weight belongs to one module that is called once, by name."""
    modules = dict(model.named_modules())
    found: dict[str, OwnLayer] = {}
    for node in graph:
        module = modules.get(node.name)
        parameter = getattr(module, "weight", None)
        if module is None or not isinstance(parameter, Parameter) or "weight" not in node.params or not hasattr(module, "bias"):
            continue
        turned = parameter.shape != node.params["weight"].shape
        users = [m for m in modules.values() if getattr(m, "weight", None) is parameter]
        calls = [n for n in graph if n.name == node.name or n.name.startswith(f"{node.name}#")]
        if len(users) == len(calls) == 1:
            found[node.name] = OwnLayer(module, turned)
    return found


def module_at(model: Module, path: str) -> Module:
    """The module of a dotted path."""
    return dict(model.named_modules())[path]


def _put(model: Module, path: str, new: Module) -> None:
    """Replace the module at a path."""
    parent, _, name = path.rpartition(".")
    setattr(module_at(model, parent), name, new)
