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
from tinyquant.quantization.calibrate import Calibration
from tinyquant.quantization.capture import capture, require_module
from tinyquant.quantization.fuse import fuse, sharing_key
from tinyquant.quantization.groups import form_groups
from tinyquant.quantization.model import FakeQuantModel, FakeQuantNode
from tinyquant.quantization.ranges import choose_activation_qparams
from tinyquant.quantization.schemes import TFLITE_INT8, Scheme

__all__ = ["quantize_model"]

BATCH_NORM_MODES = ("fold", "freeze")
RANGE_MODES = ("frozen",)


def quantize_model(
    model: Module, calibration: Calibration, *, scheme: Scheme = TFLITE_INT8, bn: str = "fold", ranges: str = "frozen"
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
        statistics frozen: training moves weight, gamma and beta.
    ranges : str
        ``"frozen"``: activation ranges stay what calibration saw.

    Returns
    -------
    FakeQuantModel
        In eval mode: as returned it is post-training quantization; train it, and it is quantization-aware training.

    Raises
    ------
    TypeError
        Wrong types, or a wrong order of calls; the message says which call comes first.
    ValueError
        The model is in training mode or has changed since calibration, or an unknown bn or ranges.

    Notes
    -----
    In PyTorch: `prepare_qat` / `prepare`; in TFLite: `tfmot.quantization.keras.quantize_model`.

    References
    ----------
    Jacob et al. 2018, section 3; Krishnamoorthi 2018, section 3.

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
    if isinstance(model, FakeQuantModel):
        raise TypeError(
            "model must be the float model, got a FakeQuantModel. It is quantized already: train it, or convert it."
        )
    if not isinstance(calibration, Calibration):
        raise TypeError(
            f"calibration must come from calibrate(model, data), got {type(calibration).__name__}. Call calibrate first."
        )
    if not isinstance(scheme, Scheme):
        raise TypeError(
            f"scheme must be a Scheme, got {type(scheme).__name__}. Take schemes.TFLITE_INT8 and replace fields of it."
        )
    for name, value, allowed in (("bn", bn, BATCH_NORM_MODES), ("ranges", ranges, RANGE_MODES)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
    if model.training:
        raise ValueError(
            "model must be in eval mode, got a model in training mode. Call model.eval(), or finish training with fit."
        )
    _refuse_stale(model, calibration)
    fused = fuse(calibration.graph)
    if bn == "fold":
        fused = _fold_all(fused)
    groups = form_groups(fused)
    return FakeQuantModel(groups.graph, scheme, choose_activation_qparams(groups, calibration, scheme))


def _refuse_stale(model: Module, calibration: Calibration) -> None:
    """The model must still be the one that was calibrated, weights included."""
    seen = calibration.graph
    now = capture(model, np.zeros(seen.inputs[0].shape, np.float32))
    same_calls = [(n.name, n.op, n.inputs) for n in now] == [(n.name, n.op, n.inputs) for n in seen]
    if not same_calls:
        raise ValueError(
            "calibration must be of this very model, got one of a different network. Call calibrate(model, data) again."
        )
    for a, b in zip(now.nodes, seen.nodes, strict=True):
        changed = [key for key in a.params if not np.array_equal(a.params[key], b.params[key])]
        if changed:
            raise ValueError(
                f"the model must not change between calibrate and quantize_model, got a new {changed[0]} at {a.name!r}. "
                "Call calibrate(model, data) again."
            )


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
