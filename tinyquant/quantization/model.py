"""The fake-quantized model: the original graph, extended with nodes that mimic the quantized arithmetic.

Every node computes in float, but on numbers that an integer network could hold: its weights pass through
a fake-quant node, its bias lies on the accumulator's grid, and its output is brought back to codes before
the next node sees it. Not trained, this is post-training quantization. Trained, it is quantization-aware
training: the loss feels the rounding, and the straight-through estimator lets the gradient pass.

With this module one can run, train, trace and step through such a model (`FakeQuantModel`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tinyquant.autograd import Tensor, no_grad, straight_through
from tinyquant.graph import OPS, Graph, Node, Value
from tinyquant.integer.registry import build_step
from tinyquant.nn import Module, Parameter
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.batch_norm import fold_batch_norm
from tinyquant.quantization.dynamic import fake_quantize_rows
from tinyquant.quantization.fake_quant import fake_quantize
from tinyquant.quantization.float_run import compute_node
from tinyquant.quantization.fuse import BATCH_NORM_PARAMS, sharing_key
from tinyquant.quantization.schemes import Scheme
from tinyquant.quantization.weights import (
    bias_qparams,
    choose_weight_qparams,
    fake_quantize_weight,
    has_groups,
)

__all__ = ["FakeQuantModel", "FakeQuantNode", "register_writer"]

# These only move codes: on inputs of their own grid their output is on it already.
_MOVES_CODES = ("RESHAPE", "MAX_POOL_2D", "PAD", "TRANSPOSE", "CONCATENATION")
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
    """

    def __init__(self, node: Node, settings: Scheme, qparams: QParams | None, shared: dict[int, Parameter]) -> None:
        super().__init__()
        self.node = node
        self.settings = settings
        self.qparams = qparams
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
        values = self.params()
        if self.settings.exclude or "weight" not in values:
            return values
        if self.training or self.weight_qparams is None:
            self.choose_weight_qparams()
        qp = self.weight_qparams
        assert qp is not None
        rounding = self.settings.rounding
        axis, groups = OPS[self.node.op].weight_axis or 0, self.settings.group_size
        values["weight"] = fake_quantize_weight(values["weight"], qp, axis=axis, group_size=groups, rounding=rounding)
        if "bias" in values and self.input_scale is not None and not has_groups(groups, axis):
            values["bias"] = fake_quantize(
                values["bias"], bias_qparams(qp, self.input_scale, values["bias"].size), rounding=rounding
            )
        return values

    def choose_weight_qparams(self) -> None:
        """Fix the weight's quantizer from the weights as they are now; one for all nodes that share them."""
        if self.weight_qparams_fixed:
            return
        uses = []
        for peer in self.peers.values():
            bias = peer.params().get("bias")
            if bias is not None and peer.input_scale is not None:
                uses.append((bias.data, peer.input_scale))
        settings, row = self.settings, OPS[self.node.op]
        self.weight_qparams = choose_weight_qparams(
            self.params()["weight"].data,
            uses,
            bits=settings.weight_bits,
            axis=row.weight_axis or 0,
            per_channel=settings.per_channel,
            power_of_two=settings.power_of_two,
            symmetric=settings.weight_symmetric,
            signed=settings.signed,
            group_size=settings.group_size,
            calibration=settings.weight_calibration,
            rounding=settings.rounding,
        )

    def fix_weight_qparams(self, qp: QParams) -> None:
        """Keep this quantizer whatever becomes of the weight, here and at every node that shares it.

        What an algorithm that chose codes needs: it puts the weight on points of this grid, and they stay those codes.
        """
        for peer in self.peers.values():
            peer.weight_qparams, peer.weight_qparams_fixed = qp, True

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.settings.activations == "dynamic" and not self.settings.exclude and "weight" in self.node.params:
            inputs = (fake_quantize_rows(inputs[0], self.settings),)
        y = compute_node(self.node, inputs, self.quantized_params())
        if self.qparams is None or self.node.op in _MOVES_CODES:
            return y
        return fake_quantize(y, self.qparams, rounding=self.settings.rounding)

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


class FakeQuantModel(Module):
    """A network whose every node computes on quantized numbers, in float. Made by `quantize_model`.

    Train it with `fit` (QAT) or leave it (PTQ); call `eval()`, then `convert`.

    Attributes
    ----------
    scheme : Scheme
    qparams : mapping of str to QParams or None
        The quantizer of the input and of every node's output, by name.
    exact : bool
        False by default. When True each node's forward is dequantize(integer kernel(codes)), so that training
        sees the very bytes of inference; the gradient stays the fake-quant's.

    Notes
    -----
    In PyTorch this is what `prepare_qat` returns; in TFLite, `tfmot.quantization.keras.quantize_model`.
    """

    def __init__(self, graph: Graph, scheme: Scheme, qparams: Mapping[str, QParams | None]) -> None:
        super().__init__()
        self.structure = graph
        self.scheme = scheme
        self.qparams = dict(qparams)
        self.exact = False
        shared: dict[int, Parameter] = {}
        self.nodes: dict[str, FakeQuantNode] = {}
        # The same nodes again as attributes of a Module: that is how their parameters are found, under their names.
        self.network = Module()
        for node in graph.nodes:
            made = FakeQuantNode(node, scheme.for_node(node.name), self.qparams[node.name], shared)
            source = self.qparams[node.inputs[0]] if node.inputs else None
            made.input_scale = None if source is None else float(source.scale)
            self.nodes[node.name] = made
            setattr(self.network, node.name, made)
        for made in self.nodes.values():
            if "weight" in made.node.params:
                mine = made.shared_weight()
                made.peers = {k: n for k, n in self.nodes.items() if n.shared_weight() is mine}
        self.eval()

    @property
    def graph(self) -> Graph:
        """Structure, quantizers and the float parameters as they are now."""
        nodes = []
        for name, made in self.nodes.items():
            arrays = {key: made._tensor(key).data for key in made.node.params}
            meaning = {} if made.weight_qparams is None else {"weight": made.weight_qparams}
            nodes.append(made.node.replace(params=arrays, qparams=self.qparams[name], param_qparams=meaning))
        source = self.structure.inputs[0]
        inputs = (Value(source.name, source.shape, source.dtype, self.qparams[source.name]),)
        return Graph(inputs, tuple(nodes), self.structure.outputs)

    def train(self, mode: bool = True) -> FakeQuantModel:
        """Switch to training, or (mode=False) to eval, which also fixes the weights' quantizers."""
        super().train(mode)
        if not mode:
            for made in self.nodes.values():
                if "weight" in made.node.params and not made.settings.exclude:
                    made.choose_weight_qparams()
        return self

    def forward(self, x: Tensor | np.ndarray) -> Tensor | tuple[Tensor, ...]:
        """Logits (or whatever the float model returned) for a float batch (N, ...)."""
        values = self._run(x)
        outputs = tuple(values[name] for name in self.structure.outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def trace(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Every value for a float batch, in reals: {name: float32 array}, the quantized input first."""
        with no_grad():
            return {name: tensor.data for name, tensor in self._run(x).items()}

    def trace_codes(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Every value for a float batch, as codes; values that the scheme leaves in float are left out."""
        codes = {}
        for name, values in self.trace(x).items():
            qp = self.qparams[name]
            if qp is not None:
                codes[name] = quantize(values, qp, rounding=self.scheme.rounding)
        return codes

    def run_node(self, name: str, codes: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """One node alone: the codes of its inputs in, the codes of its output out.

        Raises
        ------
        KeyError
            No node of that name.
        ValueError
            The model is in training mode, or the scheme leaves the node or an input of it in float.
        """
        node = self.structure.node(name)
        if self.training:
            raise ValueError("run_node must be called in eval mode, got a model in training mode. Call eval() first.")
        arrays = [codes] if isinstance(codes, np.ndarray) else list(codes)
        if len(arrays) != len(node.inputs):
            raise ValueError(f"node {name!r} must get {len(node.inputs)} inputs, got {len(arrays)}.")
        meanings = [self.qparams[source] for source in node.inputs]
        out = self.qparams[name]
        if out is None or any(qp is None for qp in meanings):
            raise ValueError(f"node {name!r} must be quantized on both sides, got one that the scheme leaves in float.")
        values = [dequantize(array, qp) for array, qp in zip(arrays, meanings, strict=True) if qp is not None]
        if self.exact:
            return self._step(name)(arrays)
        with no_grad():
            y = self.nodes[name](*[Tensor(value) for value in values])
        return quantize(y.data, out, rounding=self.scheme.rounding)

    def save(self, path: str | Path) -> None:
        """Write the model to an .npz archive; `tinyquant.load` brings it back, still trainable."""
        if "npz" not in _WRITERS:
            raise ValueError(
                "saving needs the room that writes files, got none registered. Import tinyquant, not a part of it."
            )
        _WRITERS["npz"](self, path)

    def _run(self, x: Tensor | np.ndarray) -> dict[str, Tensor]:
        """Every value by name, in execution order."""
        source = self.structure.inputs[0]
        qp = self.qparams[source.name]
        given = x.data if isinstance(x, Tensor) else np.asarray(x)
        if given.dtype.kind != "f":
            raise TypeError(f"x must be real numbers, got dtype {given.dtype}. Scale it to the floats the model was trained on.")
        if given.ndim != len(source.shape) or given.shape[1:] != source.shape[1:]:
            hint = _nchw_hint(given.shape, source.shape)
            raise ValueError(f"x must have rows of shape {source.shape[1:]}, got {given.shape}.{hint}")
        rounding = self.scheme.rounding
        if qp is None or isinstance(x, Tensor) and x.requires_grad:
            tensor = x if isinstance(x, Tensor) else Tensor(given.astype(np.float32, copy=False))
            values = {source.name: tensor if qp is None else fake_quantize(tensor, qp, rounding=rounding)}
        else:
            values = {source.name: Tensor(fake_quantize(given, qp, rounding=rounding))}
        codes: dict[str, np.ndarray] = {}
        if self.exact and qp is not None:
            codes[source.name] = quantize(given, qp, rounding=rounding)
        for name, made in self.nodes.items():
            y = made(*[values[read] for read in made.node.inputs])
            out = self.qparams[name]
            if self.exact and out is not None and all(read in codes for read in made.node.inputs):
                codes[name] = self._step(name)([codes[read] for read in made.node.inputs])
                y = straight_through(y, np.broadcast_to(dequantize(codes[name], out), y.shape))
            values[name] = y
        return values

    def _step(self, name: str) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
        """The integer kernel of a node, prepared from its quantizers as they are now."""
        made = self.nodes[name]
        inputs = [Value(read, self._shape(read), np.dtype(np.int8), self.qparams[read]) for read in made.node.inputs]
        return build_step(made.integer_node(), inputs)

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.structure.value(name).shape


def _nchw_hint(shape: tuple[int, ...], declared: tuple[int, ...]) -> str:
    """A hint when the channels came first."""
    if len(shape) == 4 == len(declared) and (shape[2], shape[3], shape[1]) == declared[1:]:
        return " These look like NCHW images; this package is NHWC: pass x.transpose(0, 2, 3, 1)."
    return ""


_Writer = Callable[[FakeQuantModel, "str | Path"], None]
_WRITERS: dict[str, _Writer] = {}


def register_writer(kind: str, write: _Writer) -> None:
    """How `interop`, which stands further down the house, gives `FakeQuantModel.save` its file format."""
    _WRITERS[kind] = write
