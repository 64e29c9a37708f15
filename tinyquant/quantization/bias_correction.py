"""Bias correction: rounding shifts the mean of a layer's output, and the bias can take the shift back.

The error of a rounded weight times an input that is mostly positive (after a ReLU) does not average out: each
channel's output moves by a constant, layer after layer. A constant is what a bias is for::

    bias += E[y of the float network] - E[y of the quantized network]

With this module one can correct the biases of a fake-quantized model (`correct_bias`), from data or from batch norms.
"""

from __future__ import annotations

import copy
import math

import numpy as np

from tinyquant.autograd import Tensor, no_grad
from tinyquant.graph import OPS, Graph, Node
from tinyquant.nn import Module, Parameter
from tinyquant.nn.checks import checked_x
from tinyquant.quantization.capture import capture, require_module
from tinyquant.quantization.fake_quant_node import FakeQuantNode
from tinyquant.quantization.float_run import compute_node, run_graph
from tinyquant.quantization.fuse import fuse
from tinyquant.quantization.model import FakeQuantModel

__all__ = ["correct_bias", "expected_after_relu"]

METHODS = ("empirical", "analytic")


def correct_bias(fake_quant_model: FakeQuantModel, model: Module, x: np.ndarray, *, method: str = "empirical") -> FakeQuantModel:
    """A copy of a fake-quantized model whose layers have the float layers' mean output, channel by channel.

    Parameters
    ----------
    fake_quant_model : FakeQuantModel
        In eval mode; left as it is. Layers that share a weight are passed over, as are excluded nodes.
    model : Module
        The float model it was made from, and should agree with.
    x : float array, (N, ...)
        A few hundred typical inputs, all held in memory at once; for "analytic" one example will do.
    method : str
        ``"empirical"``: layer after layer in execution order, with every earlier correction in force, the mean over x of
        (float - quantized) before the activation is added to the bias. On x each corrected channel's mean error is then
        at most half a step of the bias's grid (S_x * S_w / 2), and float32's own rounding. ``"analytic"``: without data,
        for layers that read a batch norm through nothing but a ReLU, means and reshapes: the input is taken for a Gaussian
        of mean beta and deviation |gamma|, clipped by the ReLU, and E[y] errs by (quantized weight - weight) E[x];
        padding is overlooked.

    Returns
    -------
    FakeQuantModel
        In eval mode. With ``bn="freeze"`` and the like it is beta that moves.

    Raises
    ------
    TypeError, ValueError
        A wrong order of arguments, a model in training mode, networks that differ in names or in the shape of a weight, x
        without rows or not finite, an unknown method, or no layer that "analytic" knows the input of.

    References
    ----------
    Nagel et al. 2019, section 4.2 and appendix C (clipped Gaussian) and D (empirical).

    Examples
    --------
    >>> from tinyquant import nn
    >>> from tinyquant.quantization.calibrate import calibrate
    >>> from tinyquant.quantization.prepare import quantize_model
    >>> from tinyquant.quantization.schemes import TFLITE_INT8
    >>> layer = nn.Sequential(nn.Linear(2, 1)).eval()
    >>> layer[0].weight.data[...] = [[1.0, 0.4]]
    >>> x = np.ones((4, 2), np.float32)
    >>> fq = quantize_model(layer, calibrate(layer, x), scheme=TFLITE_INT8.replace(weight_bits=2))
    >>> round(float(correct_bias(fq, layer, x).nodes["0"].bias.data[0]), 6)      # 0.4 became 0
    0.4
    """
    if not isinstance(fake_quant_model, FakeQuantModel):
        raise TypeError(
            f"fake_quant_model must be a FakeQuantModel, got {type(fake_quant_model).__name__}. Call quantize_model first."
        )
    require_module(model)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    if fake_quant_model.training:
        raise ValueError("fake_quant_model must be in eval mode, got one in training mode. Call eval() first.")
    x = checked_x(model, x, "x")
    seen = capture(model, x)
    corrected = copy.deepcopy(fake_quant_model)
    missing = [name for name, made in corrected.nodes.items() if made.shared_weight() is not None and name not in _names(seen)]
    if missing:
        raise ValueError(f"model must be the one that was quantized, got one without {', '.join(missing)}.")
    for name, made in corrected.nodes.items():
        mine, theirs = made.shared_weight(), seen.node(name).params.get("weight") if name in _names(seen) else None
        if mine is not None and theirs is not None and mine.shape != theirs.shape:
            raise ValueError(
                f"model must be the one that was quantized, got a weight of shape {theirs.shape} at {name!r}, which has "
                f"{mine.shape} there. Pass the float model that quantize_model got."
            )
    if method == "empirical":
        _correct_on_data(corrected, seen, x)
    else:
        _correct_by_norms(corrected, seen)
    return corrected.eval()


def expected_after_relu(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """E[max(0, N(mean, deviation**2))] = deviation * phi(t) + mean * Phi(t), t = mean / deviation.

    >>> expected_after_relu(np.array([0.0, 100.0]), np.array([1.0, 1.0])).round(6).tolist()
    [0.398942, 100.0]
    """
    safe = np.where(deviation > 0, deviation, 1.0)
    t = mean / safe
    below = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in t.ravel()]).reshape(t.shape)
    density = np.exp(-0.5 * t**2) / math.sqrt(2 * math.pi)
    return np.where(deviation > 0, safe * density + mean * below, np.maximum(mean, 0.0))


def _correct_on_data(model: FakeQuantModel, seen: Graph, x: np.ndarray) -> None:
    """One walk through the quantized network; each layer is corrected before its output is used."""
    want = run_graph(seen, x)
    source = model.structure.inputs[0].name
    with no_grad():
        values = {source: Tensor(model.trace(x)[source])}
        for name, made in model.nodes.items():
            inputs = [values[read] for read in made.node.inputs]
            if _may_move(made):
                target = _mean(want[_before_activation(made.node, seen)])
                # A second time, because a new bias may ask for a wider weight scale (rarely does it).
                for _ in range(2):
                    _shift(made, target - _mean(_linear_part(made, inputs)) + _rounding_of_bias(made))
            values[name] = made(*inputs)


def _correct_by_norms(model: FakeQuantModel, seen: Graph) -> None:
    """Each layer whose input's mean follows from a batch norm gets back what its rounded weights add to the mean."""
    known = _expected_values(fuse(seen))
    corrected = False
    for made in model.nodes.values():
        mean = known.get(made.node.inputs[0]) if made.node.inputs else None
        if mean is None or not _may_move(made):
            continue
        with no_grad():
            error = made.quantized_params()["weight"].data - made.params()["weight"].data.astype(np.float64)
        if made.node.op == "DEPTHWISE_CONV_2D":
            shift = error.sum(axis=(0, 1, 2)) * np.repeat(mean, error.shape[3] // mean.size)
        else:
            cells = error.reshape(error.shape[0], -1, error.shape[-1]).sum(axis=1)
            if cells.shape[1] % mean.size or made.node.op == "CONV_2D" and cells.shape[1] != mean.size:
                continue
            shift = cells @ np.tile(mean, cells.shape[1] // mean.size)
        _shift(made, -shift)
        corrected = True
    if not corrected:
        raise ValueError(
            "method='analytic' must find a layer that reads a batch norm, got none in the float model. "
            "Pass the model before folding, or use method='empirical' with data."
        )


def _expected_values(graph: Graph) -> dict[str, np.ndarray]:
    """The mean of each channel, where a batch norm tells it."""
    known: dict[str, np.ndarray] = {}
    for node in graph:
        if "gamma" in node.params:
            mean, deviation = node.params["beta"].astype(np.float64), np.abs(node.params["gamma"].astype(np.float64))
            activation = node.attrs.get("activation", "none")
            if activation in ("none", "relu"):
                known[node.name] = mean if activation == "none" else expected_after_relu(mean, deviation)
        elif node.op in ("AVERAGE_POOL_2D", "MEAN", "RESHAPE") and node.inputs[0] in known:
            # Over an image a mean has its pixels' mean; a flattened image repeats its channels.
            if node.shape[-1] % known[node.inputs[0]].size == 0:
                known[node.name] = known[node.inputs[0]]
    return known


def _names(graph: Graph) -> set[str]:
    return {node.name for node in graph}


def _may_move(made: FakeQuantNode) -> bool:
    """A layer with a quantized weight of its own."""
    return made.shared_weight() is not None and not made.settings.exclude and len(made.peers) == 1


def _before_activation(node: Node, seen: Graph) -> str:
    """The float network's name for a layer's output, its batch norm included and its activation not."""
    norms = [name for name in node.absorbed if name in _names(seen) and seen.node(name).op == "BATCH_NORM"]
    return norms[0] if norms else node.name


def _linear_part(made: FakeQuantNode, inputs: list[Tensor]) -> np.ndarray:
    """The layer on the numbers it computes with, before activation and output quantizer."""
    plain = made.node.replace(attrs={**made.node.attrs, "activation": "none"})
    return compute_node(plain, [made.read(value) for value in inputs], made.quantized_params()).data


def _rounding_of_bias(made: FakeQuantNode) -> np.ndarray | float:
    """Quantized bias - bias: the mean that was measured is that of the quantized one."""
    plain, rounded = made.params().get("bias"), made.quantized_params().get("bias")
    return 0.0 if plain is None or rounded is None else rounded.data.astype(np.float64) - plain.data


def _mean(values: np.ndarray) -> np.ndarray:
    """Of each channel, in float64."""
    return values.astype(np.float64).reshape(-1, values.shape[-1]).mean(axis=0)


def _shift(made: FakeQuantNode, by: np.ndarray) -> None:
    """Add to the layer's bias (to its batch norm's beta where it owns one); a layer without a bias gets one."""
    key = "beta" if "gamma" in made.node.params else "bias"
    if key not in made.node.params:
        channels = made.node.params["weight"].shape[OPS[made.node.op].weight_axis or 0]
        made.node = made.node.replace(params={**made.node.params, "bias": np.zeros(channels, np.float32)})
        made.bias = Parameter(np.zeros(channels, np.float32))
    old: Parameter = getattr(made, key)
    setattr(made, key, Parameter((old.data + by).astype(np.float32)))
    made.choose_weight_qparams()
