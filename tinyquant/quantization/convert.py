"""From the fake-quantized model to integers. Nothing is chosen here: scales and zero points are only read.

With this module one can convert a model (`convert`).
"""

from __future__ import annotations

import numpy as np

from tinyquant.graph import OPS, Graph, Node, Value
from tinyquant.integer.model import IntegerModel
from tinyquant.integer.prepare import prove_accumulator
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.weights import has_groups

__all__ = ["convert"]


def convert(fake_quant_model: FakeQuantModel, *, softmax: bool = False) -> IntegerModel:
    """The integer network that the fake-quantized one mimics.

    Parameters
    ----------
    fake_quant_model : FakeQuantModel
        In eval mode. Left as it is.
    softmax : bool
        Append a SOFTMAX node, so that the output is probabilities in steps of 1/256. The top class does not need it.

    Returns
    -------
    IntegerModel
        Weights as int8 codes, biases as int32, every node under the name it had.

    Raises
    ------
    TypeError
        Not a FakeQuantModel; the message says which call comes first.
    ValueError
        The model is in training mode; something in it has no integer kernels (the message names the scheme, the nodes
        and what they have: float, other widths, unsigned codes, asymmetric or grouped weights, another rounding); or an
        accumulator could overflow int32 (the node is named).

    Notes
    -----
    In PyTorch: `convert`; in TFLite: the converter. A conversion that recomputes a scale undoes the training
    (pytorch/ao#2138); this one cannot.

    References
    ----------
    Jacob et al. 2018, section 2.
    """
    if not isinstance(fake_quant_model, FakeQuantModel):
        raise TypeError(
            f"convert must get a FakeQuantModel, got {type(fake_quant_model).__name__}. "
            "Call quantize_model(model, calibrate(model, data)) first."
        )
    if fake_quant_model.training:
        raise ValueError("convert must get a model in eval mode, got one in training mode. Call eval() first.")
    fake_quant_model.refuse_unfinished()
    structure = fake_quant_model.structure
    source = structure.inputs[0]
    _refuse_what_int8_cannot_hold(fake_quant_model)
    values = {source.name: Value(source.name, source.shape, np.dtype(np.int8), fake_quant_model.qparams[source.name])}
    nodes: list[Node] = []
    for name, made in fake_quant_model.nodes.items():
        node = made.integer_node()
        prove_accumulator(node, [values[read] for read in node.inputs])
        nodes.append(node)
        values[name] = Value(name, node.shape, node.dtype, node.qparams)
    outputs = structure.outputs
    if softmax:
        if len(outputs) != 1:
            raise ValueError(f"softmax=True must have one output to act on, got {len(outputs)}.")
        scale, zero_point = OPS["SOFTMAX"].fixed or (1 / 256, -128)
        last = values[outputs[0]]
        name = "softmax" if "softmax" not in values else f"{last.name}.softmax"
        nodes.append(
            Node(name, "SOFTMAX", (last.name,), last.shape, qparams=QParams(scale, zero_point), dtype=np.dtype(np.int8))
        )
        outputs = (name,)
    return IntegerModel(Graph((values[source.name],), tuple(nodes), outputs))


def _refuse_what_int8_cannot_hold(model: FakeQuantModel) -> None:
    """The integer kernels have signed 8-bit activations and symmetric weights: anything else is named and refused."""

    def refuse(what: str, places: list[str], mend: str) -> None:
        if places:
            raise ValueError(f"scheme {model.scheme.name!r}: {what} to convert, got {', '.join(places)}. {mend}")

    simulate = "No integer kernels exist for that: simulate it with the FakeQuantModel, or use "
    activations = {name: qp for name, qp in model.qparams.items() if qp is not None}
    refuse(
        "every node must be quantized",
        [f"{name} left in float by the scheme" for name in model.qparams if name not in activations],
        "Remove the exclude, and use activations='static'.",
    )
    refuse(
        "activations must have 8 bits",
        [f"{name} ({qp.levels.bit_length() - 1} bits)" for name, qp in activations.items() if qp.levels != 256],
        simulate + "activation_bits=8.",
    )
    refuse(
        "activations must have signed codes",
        [f"{name} (codes {qp.qmin} to {qp.qmax})" for name, qp in activations.items() if qp.qmin != -128],
        simulate + "signed=True.",
    )
    weights = {name: made for name, made in model.nodes.items() if made.weight_qparams is not None}
    rounding = {name: made.settings.rounding for name, made in model.nodes.items()}
    refuse(
        "weights must have one scale a tensor or an output channel",
        [
            f"groups of {made.settings.group_size} at {name!r}"
            for name, made in weights.items()
            if has_groups(made.settings.group_size, OPS[made.node.op].weight_axis or 0)
        ],
        simulate + "group_size=0.",
    )
    refuse(
        "weights must have zero point 0",
        [f"{name} (asymmetric)" for name, made in weights.items() if np.any(getattr(made.weight_qparams, "zero_point", 0))],
        simulate + "weight_symmetric=True.",
    )
    refuse(
        "biases must have 32 bits",
        [f"{name} ({made.settings.bias_bits} bits)" for name, made in weights.items() if made.settings.bias_bits != 32],
        simulate + "bias_bits=32.",
    )
    refuse(
        "rounding must be 'half_away'",
        [f"{mode!r} at {name!r}" for name, mode in rounding.items() if mode != "half_away"],
        "The kernels round so.",
    )
