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
        The model is in training mode, something in it is left in float or wider than 8 bits (named), or an accumulator
        could overflow int32 (the node is named).

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
    """The integer kernels have int8 activations: anything else is named and refused."""
    floats = [name for name, qp in model.qparams.items() if qp is None]
    if floats:
        raise ValueError(
            f"every node must be quantized to convert, got {', '.join(floats)} left in float by the scheme. Remove the exclude."
        )
    other = [
        f"{name} ({qp.levels.bit_length() - 1} bits)"
        for name, qp in model.qparams.items()
        if qp is not None and qp.levels != 256
    ]
    if other:
        raise ValueError(
            f"activations must have 8 bits to convert, got {', '.join(other)}. No integer kernels exist for other widths: "
            "simulate them with the FakeQuantModel, or use activation_bits=8."
        )
    for name, node in model.nodes.items():
        if node.settings.rounding != "half_away":
            raise ValueError(
                f"rounding must be 'half_away' to convert, got {node.settings.rounding!r} at {name!r}. The kernels round so."
            )
