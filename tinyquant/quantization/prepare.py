"""Opening the box of `quantize_model`: from a float model and what calibration saw to a fake-quantized one.

Five steps, each a file of this room: the captured graph is fused (`fuse`), values that must share a
quantizer are grouped (`groups`), each group's range becomes a scale and a zero point (`ranges`), weights get
their quantizers (`weights`), and the nodes are put together (`model`).

With this module one can quantize a trained model (`quantize_model`).
"""

from __future__ import annotations

import numpy as np

from tinyquant.autograd import no_grad
from tinyquant.graph import Graph, Node
from tinyquant.nn import Module
from tinyquant.quantization.calibrate import Calibration, changed_since
from tinyquant.quantization.capture import capture, require_module
from tinyquant.quantization.fake_quant_node import FakeQuantNode
from tinyquant.quantization.fuse import fuse, sharing_key
from tinyquant.quantization.groups import form_groups
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.ranges import choose_activation_qparams
from tinyquant.quantization.schemes import TFLITE_INT8, Scheme
from tinyquant.quantization.training_rules import TrainingRules

__all__ = ["quantize_model"]


def quantize_model(
    model: Module,
    calibration: Calibration,
    *,
    scheme: Scheme = TFLITE_INT8,
    bn: str = "fold",
    ranges: str = "frozen",
    weight_ranges: str = "follow",
    surrogate: str = "clipped",
    training_rounding: str = "scheme",
    delay: int = 0,
    bn_freeze_after: int | None = None,
    momentum: float = 0.9,
    gradient_scale: bool = True,
    scale_parameter: str = "log",
    seed: int = 0,
) -> FakeQuantModel:
    """Extend a float model with the nodes that mimic quantized arithmetic.

    Parameters
    ----------
    model : Module
        The float model that was calibrated, unchanged since. It is left as it is; its weights are copied.
    calibration : Calibration
        From `calibrate(model, data)`.
    scheme : Scheme
    bn : str
        ``"fold"``: each batch norm is folded into the layer before it, once, and is gone: training then moves the
        folded weights. ``"freeze"``: the layer owns its batch norm and folds it in every forward, with the running
        statistics frozen: training moves weight, gamma and beta. ``"correct"``: training normalises by the batch and
        the running statistics follow it, while weights are quantized as folded with the running ones, the output
        corrected by sigma_B / sigma, until `bn_freeze_after` batches or `freeze_batch_norm()`. ``"reestimate"``: the
        same, and after the training `reestimate_batch_norm(fq, x)` measures the statistics anew; `convert` insists.
    ranges : str
        Of activations. ``"frozen"``: they stay what calibration saw. ``"ema"``: in training they follow the moving
        average of each batch's ends. ``"learn"``: the scale is trained (LSQ); ``"learn_zero_point"``: the zero point
        too (LSQ+); ``"pact"``: the scale is trained by the clipped numbers alone.
    weight_ranges : str
        ``"follow"``: chosen from the weights anew in each training forward. ``"learn"``: the scale is trained (LSQ).
    surrogate : str
        What the gradient of a rounding pretends: "clipped" (1 within the codes, ends included), "unclipped", "tanh",
        "triangle", "swish_sign"; see `surrogates`.
    training_rounding : str
        ``"scheme"``, or ``"stochastic"`` for weights and activations in training; eval mode is always the scheme's.
    delay : int
        So many training batches run in float first; eval mode is quantized from the start.
    bn_freeze_after : int or None
        After so many training batches the statistics of "correct" and "reestimate" stand still.
    momentum : float in [0, 1)
        Weight of the past in ``ranges="ema"``.
    gradient_scale : bool
        LSQ's 1 / sqrt(N * Qp) on the gradient of learned scales. Adam divides it out again; SGD does not.
    scale_parameter : str
        What a learned scale trains: ``"log"``, the logarithm of its ratio to the start, with which Adam moves every
        scale by the same percentage; ``"step"``: the scale itself, kept positive, for SGD with LSQ's own step.
    seed : int
        Of the stochastic rounding.

    Returns
    -------
    FakeQuantModel
        In eval mode: as returned it is post-training quantization; train it, and it is quantization-aware training.

    Raises
    ------
    TypeError
        Wrong types, or a wrong order of calls; the message says which call comes first.
    ValueError
        The model is in training mode or has changed since calibration, a name is unknown, or two of the choices
        exclude each other.

    Notes
    -----
    In PyTorch: `prepare_qat` / `prepare`; in TFLite: `tfmot.quantization.keras.quantize_model`.

    References
    ----------
    Jacob et al. 2018, section 3; Krishnamoorthi 2018, section 3; Esser et al. 2020 (LSQ); Bhalgat et al. 2020 (LSQ+);
    Choi et al. 2018 (PACT).

    Examples
    --------
    >>> from tinyquant import nn
    >>> from tinyquant.quantization.calibrate import calibrate
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()
    >>> fq = quantize_model(model, calibrate(model, np.array([[0.0, 1.0], [1.0, 0.5]], np.float32)))
    >>> [(node.name, node.op, node.absorbed) for node in fq.graph]
    [('0', 'FULLY_CONNECTED', ('1',))]
    """
    require_module(model)
    if not isinstance(calibration, Calibration):
        raise TypeError(
            f"calibration must come from calibrate(model, data), got {type(calibration).__name__}. Call calibrate first."
        )
    if not isinstance(scheme, Scheme):
        raise TypeError(
            f"scheme must be a Scheme, got {type(scheme).__name__}. Take schemes.TFLITE_INT8 and replace fields of it."
        )
    rules = TrainingRules(
        bn=bn, ranges=ranges, weight_ranges=weight_ranges, surrogate=surrogate, rounding=training_rounding, delay=delay,
        bn_freeze_after=bn_freeze_after, momentum=momentum, gradient_scale=gradient_scale,
        scale_parameter=scale_parameter, seed=seed,
    )  # fmt: skip
    if model.training:
        raise ValueError(
            "model must be in eval mode, got a model in training mode. Call model.eval(), or finish training with fit."
        )
    _refuse_stale(model, calibration)
    fused = fuse(calibration.graph)
    if bn == "fold":
        fused = _fold_all(fused)
    groups = form_groups(fused)
    _refuse_unknown_names(scheme, groups.graph)
    return FakeQuantModel(groups.graph, scheme, choose_activation_qparams(groups, calibration, scheme), rules)


def _refuse_stale(model: Module, calibration: Calibration) -> None:
    """The model must still be the one that was calibrated, weights included."""
    seen = calibration.graph
    difference = changed_since(capture(model, np.zeros(seen.inputs[0].shape, np.float32)), seen)
    if difference:
        raise ValueError(
            f"the model must be the one that was calibrated, unchanged since, got {difference}. "
            "Call calibrate(model, data) again."
        )


def _refuse_unknown_names(scheme: Scheme, graph: Graph) -> None:
    """A misspelt name would leave the node with the scheme's own settings, and nobody would see it."""
    names = [value.name for value in graph.inputs] + [node.name for node in graph]
    for pattern, _ in scheme.overrides:
        if pattern not in names and not set("*?[") & set(pattern):
            absorbed = [node.name for node in graph if pattern in node.absorbed]
            mend = f"It is part of {absorbed[0]!r}: annotate that." if absorbed else f"The names are {', '.join(names)}."
            raise ValueError(f"annotate must name an input or a node of the quantized graph, got {pattern!r}. {mend}")


def _fold_all(graph: Graph) -> Graph:
    """Each layer's batch norm folded into its weight and bias for good."""
    folded: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if "gamma" in node.params:
            # A weight used twice must stay one array, or the nodes would no longer be seen to share it.
            key = (sharing_key(node.params["weight"]), sharing_key(node.params["gamma"]))
            if key not in folded:
                with no_grad():
                    made = FakeQuantNode(node, TFLITE_INT8, None, {}).params()
                folded[key] = {name: tensor.data for name, tensor in made.items()}
            node = node.replace(params=folded[key])
        nodes.append(node)
    return Graph(graph.inputs, tuple(nodes), graph.outputs)
