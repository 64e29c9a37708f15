"""One node of the fake-quantized model: its float parameters, its quantizers, and the batch norm it may own.

It computes in float what an integer kernel computes in codes: weights pass through a fake-quant node, the bias lies
on the accumulator's grid, the output is brought back to codes. What training does to all this is asked of the
model's `TrainingState`.

With this module one can hold one node (`FakeQuantNode`) and make its integer counterpart (`integer_node`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyquant.autograd import Tensor, no_grad
from tinyquant.graph import OPS, Node
from tinyquant.nn import Module, Parameter
from tinyquant.numerics.affine import quantize
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.activation_ranges import ActivationRange, quantize_activation
from tinyquant.quantization.batch_norm import batch_moments, fold_batch_norm, fold_by_batch, follow
from tinyquant.quantization.dynamic import fake_quantize_rows
from tinyquant.quantization.fake_quant import fake_quantize
from tinyquant.quantization.float_run import activate, compute_node
from tinyquant.quantization.fuse import BATCH_NORM_PARAMS, sharing_key
from tinyquant.quantization.learned_scale import LearnedScale
from tinyquant.quantization.schemes import Scheme
from tinyquant.quantization.training_rules import TrainingRules
from tinyquant.quantization.training_state import TrainingState
from tinyquant.quantization.weights import (
    BiasUse,
    bias_qparams,
    choose_weight_qparams,
    fake_quantize_weight,
    has_groups,
    short_bias_qparams,
)

__all__ = ["MOVES_CODES", "FakeQuantNode"]

MOVES_CODES = ("RESHAPE", "MAX_POOL_2D", "PAD", "TRANSPOSE", "CONCATENATION")
"""These only move codes: on inputs of their own grid their output is on it already."""

_TRAINED = ("weight", "bias", "gamma", "beta")


class FakeQuantNode(Module):
    """One node: its float parameters, its quantizers, and the batch norm it may own.

    Attributes
    ----------
    node : Graph node it stands for (structure; the live parameters are here).
    settings : Scheme
        The scheme's settings for this node.
    qparams : QParams or None
        Of the output; None where the scheme excludes the node.
    weight_qparams : QParams or None
        Chosen anew in each training forward and on `eval()`; what `convert` reads.
    weight_qparams_fixed : bool
        True once `fix_weight_qparams` was called: it is chosen anew no more.
    weight_scale : LearnedScale or None
        With ``weight_ranges="learn"``: where the weight's scale comes from.
    range : MovingRange, LearnedScale or None
        Of the output, where training moves it.
    """

    def __init__(
        self,
        node: Node,
        settings: Scheme,
        qparams: QParams | None,
        shared: dict[int, Parameter],
        state: TrainingState | None = None,
    ) -> None:
        super().__init__()
        self.node = node
        self.settings = settings
        self.qparams = qparams
        self.state = state or TrainingState(TrainingRules())
        self.range: ActivationRange | None = None
        self.weight_scale: LearnedScale | None = None
        self.weight_qparams: QParams | None = None
        self.weight_qparams_fixed = False
        # A dict, because a Module takes every Module among its attributes for a part of itself.
        self.peers: dict[str, FakeQuantNode] = {node.name: self}
        self.input_scale: float | None = None
        for key, array in node.params.items():
            if key in _TRAINED:
                # Two nodes that read one array train one parameter.
                setattr(self, key, shared.setdefault(sharing_key(array), Parameter(np.array(array, np.float32))))
            else:
                self.register_buffer(key, np.array(array, np.float32))

    def shared_weight(self) -> Parameter | None:
        """The weight's parameter, the same object at every node that reads it; None without one."""
        return getattr(self, "weight", None)

    def params(self) -> dict[str, Tensor]:
        """The parameters this node computes with, batch norm folded, before quantization."""
        values = {key: self._tensor(key) for key in self.node.params}
        if "gamma" in values:
            norm = {key: values.pop(key) for key in BATCH_NORM_PARAMS}
            axis = OPS[self.node.op].weight_axis or 0
            values["weight"], values["bias"] = fold_batch_norm(values["weight"], values.get("bias"), norm, axis)
        return values

    def quantized_params(self) -> dict[str, Tensor]:
        """The same after their fake-quant nodes; chooses the weight's quantizer first when training."""
        return self._quantized(self.params())

    def _quantized(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Folded parameters after their fake-quant nodes."""
        if self.settings.exclude or "weight" not in values or self.training and self.state.in_float:
            return values
        if self.training or self.weight_qparams is None:
            self.choose_weight_qparams()
        qp = self.weight_qparams
        assert qp is not None
        weight, rounding = values["weight"], self.settings.rounding
        axis, groups = OPS[self.node.op].weight_axis or 0, self.settings.group_size
        how = self.state.rounding(rounding, training=self.training)
        if self.weight_scale is not None and not self.weight_qparams_fixed:
            count = weight.size // np.size(qp.scale)
            values["weight"] = self.weight_scale.fake_quantize(
                weight, count=count, qparams=qp, rounding=how["rounding"], rng=how["rng"]
            )
        else:
            values["weight"] = fake_quantize_weight(weight, qp, axis=axis, group_size=groups, **how)
        if "bias" in values and self.input_scale is not None and not has_groups(groups, axis):
            bias, bits = values["bias"], self.settings.bias_bits
            grid = bias_qparams(qp, self.input_scale, bias.size) if bits == 32 else short_bias_qparams(bias.data, bits)
            values["bias"] = fake_quantize(bias, grid, rounding=rounding)
        return values

    def choose_weight_qparams(self) -> None:
        """Fix the weight's quantizer from the weights as they are now; one for all nodes that share them."""
        if self.weight_qparams_fixed:
            return
        uses: list[BiasUse] = []
        for peer in self.peers.values():
            bias = peer.params().get("bias")
            if bias is not None and peer.input_scale is not None:
                uses.append((bias.data, peer.input_scale))
        settings, axis = self.settings, OPS[self.node.op].weight_axis or 0
        weight, calibration = self.params()["weight"].data, settings.weight_calibration
        if self.weight_scale is not None:
            # A learned scale stands in for the largest weight: the room that biases need is kept under it all the same.
            weight, calibration = _largest(self.weight_scale.qparams, weight, axis), "minmax"
        self.weight_qparams = choose_weight_qparams(
            weight,
            uses,
            bits=settings.weight_bits,
            axis=axis,
            per_channel=settings.per_channel,
            power_of_two=settings.power_of_two,
            symmetric=settings.weight_symmetric,
            signed=settings.signed,
            group_size=settings.group_size,
            calibration=calibration,
            rounding=settings.rounding,
        )

    def fix_weight_qparams(self, qp: QParams) -> None:
        """Keep this quantizer whatever becomes of the weight, here and at every node that shares it.

        What an algorithm that chose codes needs: it puts the weight on points of this grid, and they stay those codes.
        """
        for peer in self.peers.values():
            peer.weight_qparams, peer.weight_qparams_fixed = qp, True

    def forward(self, *inputs: Tensor) -> Tensor:
        inputs = tuple(map(self.read, inputs))
        if self.training and self.state.by_batch and "gamma" in self.node.params:
            y = self._normalised_by_batch(inputs)
        else:
            y = compute_node(self.node, inputs, self.quantized_params())
        if self.qparams is None or self.node.op in MOVES_CODES:
            return y
        return quantize_activation(
            y, self.qparams, self.range, self.state, rounding=self.settings.rounding, training=self.training
        )

    def read(self, x: Tensor) -> Tensor:
        """An input as this node computes with it: with dynamic activations a layer puts each row on a grid of its own."""
        settings = self.settings
        if settings.activations != "dynamic" or settings.exclude or "weight" not in self.node.params:
            return x
        if self.training and self.state.in_float:
            return x
        return fake_quantize_rows(x, settings, **self.state.rounding(settings.rounding, training=self.training))

    def before_norm(self, inputs: Sequence[Tensor]) -> Tensor:
        """What the batch norm of this node sees: the float layer on inputs that went through `read`."""
        plain = {key: self._tensor(key) for key in ("weight", "bias") if key in self.node.params}
        return compute_node(self._without_activation(), inputs, plain)

    def _normalised_by_batch(self, inputs: Sequence[Tensor]) -> Tensor:
        """The quantized weights are those of the running statistics; the output is normalised by the batch's."""
        mean, variance = batch_moments(self.before_norm(inputs), self.node.name)
        norm = {key: self._tensor(key) for key in BATCH_NORM_PARAMS}
        axis = OPS[self.node.op].weight_axis or 0
        bias = self._tensor("bias") if "bias" in self.node.params else None
        weight, bias, ratio = fold_by_batch(self._tensor("weight"), bias, norm, mean, variance, axis)
        y = compute_node(self._without_activation(), inputs, self._quantized({"weight": weight, "bias": bias}))
        y = activate(self.node, y / ratio)
        follow(self.mean, self.variance, mean.data, variance.data, count=y.size // mean.size)  # type: ignore[attr-defined]
        return y

    def _without_activation(self) -> Node:
        return self.node.replace(attrs={**self.node.attrs, "activation": "none"})

    def integer_node(self) -> Node:
        """The node in integers: codes instead of reals, and what they mean. Reads the quantizers, chooses none."""
        node, params, meaning = self.node, {}, {}
        with no_grad():
            values = {key: tensor.data for key, tensor in self.params().items()}
        if node.op == "CONSTANT" and self.qparams is not None:
            params["value"] = quantize(values["value"], self.qparams, rounding=self.settings.rounding)
            meaning["value"] = self.qparams
        if "weight" in values:
            qp, scale = self.weight_qparams, self.input_scale
            assert qp is not None and scale is not None
            if has_groups(self.settings.group_size, OPS[node.op].weight_axis or 0) or self.settings.bias_bits != 32:
                raise ValueError(
                    f"node {node.name!r} must have no groups and a 32-bit bias to run in integers, got group_size="
                    f"{self.settings.group_size}, bias_bits={self.settings.bias_bits}. Set exact=False to simulate."
                )
            params["weight"] = quantize(values["weight"], qp, rounding=self.settings.rounding)
            channels = values["weight"].shape[OPS[node.op].weight_axis or 0]
            grid = bias_qparams(qp, scale, channels)
            bias = values.get("bias", np.zeros(channels)).astype(np.float64)
            params["bias"] = quantize(bias, grid, rounding=self.settings.rounding)
            meaning.update(weight=qp, bias=grid)
        return node.replace(params=params, param_qparams=meaning, qparams=self.qparams, dtype=np.dtype(np.int8))

    def _tensor(self, key: str) -> Tensor:
        value = getattr(self, key)
        return value if isinstance(value, Tensor) else Tensor(value)


def _largest(qp: QParams, weight: np.ndarray, axis: int) -> np.ndarray:
    """The weight, one a channel, that the last code of this quantizer stands for."""
    shape = [1] * weight.ndim
    shape[axis] = weight.shape[axis]
    return np.broadcast_to(qp.scale * qp.qmax, weight.shape[axis]).reshape(shape)
