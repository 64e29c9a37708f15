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
from tinyquant.graph import Graph, Value
from tinyquant.integer.model_inputs import Arrays, checked
from tinyquant.integer.reference import growing_values
from tinyquant.integer.registry import build_step
from tinyquant.nn import Module, Parameter
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.activation_ranges import (
    ActivationRange,
    make_ranges,
    quantize_activation,
    sharing_of,
)
from tinyquant.quantization.fake_quant import fake_quantize
from tinyquant.quantization.fake_quant_node import FakeQuantNode
from tinyquant.quantization.learned_scale import LearnedScale
from tinyquant.quantization.moving_range import MovingRange
from tinyquant.quantization.schemes import Scheme
from tinyquant.quantization.training_rules import TrainingRules
from tinyquant.quantization.training_state import TrainingState

__all__ = ["FakeQuantModel", "register_writer"]


class FakeQuantModel(Module):
    """A network whose every node computes on quantized numbers, in float. Made by `quantize_model`.

    Train it with `fit` (QAT) or leave it (PTQ); call `eval()`, then `convert`.

    Attributes
    ----------
    scheme : Scheme
    qparams : mapping of str to QParams or None
        The quantizer of the input and of every node's output, by name.
    rules : TrainingRules
        What training does to the quantizers.
    steps : int64 array, ()
        Training forwards so far: what a delay counts.
    exact : bool
        False by default. When True each node's forward is dequantize(integer kernel(codes)), so that training
        sees the very bytes of inference; the gradient stays the fake-quant's. A node that the scheme leaves in float, or
        that reads one, stays in float. Training that integers cannot follow (stochastic rounding, batch norms by the
        batch) is refused, as is True where no node at all has codes on both sides (weight-only and dynamic schemes).

    Notes
    -----
    In PyTorch this is what `prepare_qat` returns; in TFLite, `tfmot.quantization.keras.quantize_model`.
    """

    steps: np.ndarray

    def __init__(
        self,
        graph: Graph,
        scheme: Scheme,
        qparams: Mapping[str, QParams | None],
        rules: TrainingRules | None = None,
        sharing: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.structure = graph
        self.scheme = scheme
        self.qparams = dict(qparams)
        self._exact = False
        has_norms = any("gamma" in node.params for node in graph.nodes)
        self.state = TrainingState(rules or TrainingRules(), has_norms=has_norms)
        self.register_buffer("steps", np.zeros((), np.int64))
        self.sharing = dict(sharing_of(self.qparams) if sharing is None else sharing)
        self.range_of: dict[str, ActivationRange] = make_ranges(graph, scheme, self.qparams, self.sharing, self.rules)
        # What training moves is found under these names: "ranges.conv.stretch", "weight_scales.conv.stretch".
        self.ranges, self.weight_scales = Module(), Module()
        for name, moved in self.range_of.items():
            setattr(self.ranges, name, moved)
        shared: dict[int, Parameter] = {}
        self.nodes: dict[str, FakeQuantNode] = {}
        # The same nodes again as attributes of a Module: that is how their parameters are found, under their names.
        self.network = Module()
        for node in graph.nodes:
            made = FakeQuantNode(node, scheme.for_node(node.name), self.qparams[node.name], shared, self.state)
            made.range = self.range_of.get(node.name)
            self.nodes[node.name] = made
            setattr(self.network, node.name, made)
        self._tell_input_scales()
        for made in self.nodes.values():
            if "weight" in made.node.params:
                mine = made.shared_weight()
                made.peers = {k: n for k, n in self.nodes.items() if n.shared_weight() is mine}
        if self.rules.weight_ranges == "learn":
            self._learn_weight_scales()
        if self.rules.batch_statistics:
            self._refuse_shared_norms()
        self.eval()

    @property
    def rules(self) -> TrainingRules:
        """What training does to the quantizers."""
        return self.state.rules

    @property
    def exact(self) -> bool:
        """Whether each node's forward is that of its integer kernel."""
        return self._exact

    @exact.setter
    def exact(self, wanted: bool) -> None:
        if wanted and not any(self._has_codes(name) for name in self.nodes):
            raise ValueError(
                f"exact=True must have nodes with codes on both sides, got none in scheme {self.scheme.name!r} with "
                f"activations={self.scheme.activations!r}. Leave exact=False, or use a scheme with activations='static'."
            )
        self._exact = bool(wanted)

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
            self._refresh_ranges()
            for made in self.nodes.values():
                if "weight" in made.node.params and not made.settings.exclude:
                    made.choose_weight_qparams()
        return self

    def freeze_batch_norm(self) -> None:
        """From now on batch norms normalise by their running statistics, in training too, and leave them as they are.

        What ``bn_freeze_after`` does by itself after so many batches.
        """
        self.state.norms_frozen = True

    def refuse_unfinished(self) -> None:
        """Raise where a step that belongs to the training is still missing; `convert` calls it.

        Raises
        ------
        ValueError
            ``bn="reestimate"`` on a network with batch norms, trained, and not re-estimated.
        """
        if self.state.norms_stale:
            raise ValueError(
                "a model trained with bn='reestimate' must have its statistics estimated again, got those of before. "
                "Call reestimate_batch_norm(model, x) with a few hundred training rows."
            )

    def forward(self, x: Tensor | np.ndarray) -> Tensor | tuple[Tensor, ...]:
        """Logits (or whatever the float model returned) for a float batch (N, ...)."""
        values = self._run(x)
        outputs = tuple(values[name] for name in self.structure.outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def quantize_input(self, x: Tensor | np.ndarray) -> Tensor:
        """The input after its fake-quant node, the door of the model: what the first node reads."""
        given = x.data if isinstance(x, Tensor) else np.asarray(x)
        name = self.structure.inputs[0].name
        qp, moved, rounding = self.qparams[name], self.range_of.get(name), self.scheme.rounding
        untrained = not self.training or moved is None and not self.state.in_float and self.rules.rounding == "scheme"
        if qp is not None and untrained and not (isinstance(x, Tensor) and x.requires_grad):
            return Tensor(fake_quantize(given, qp, rounding=rounding))
        tensor = x if isinstance(x, Tensor) else Tensor(given.astype(np.float32, copy=False))
        if qp is None:
            return tensor
        return quantize_activation(tensor, qp, moved, self.state, rounding=rounding, training=self.training)

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

    def run_node(self, name: str, codes: Arrays) -> np.ndarray:
        """One node alone: the codes of its inputs in, the codes of its output out.

        Parameters
        ----------
        name : str
        codes : array, list in the order of the node's inputs, or dict by their names
            As for `IntegerModel.run_node`, of the dtype that `quantize` gives: the same codes can go to both.

        Raises
        ------
        TypeError, ValueError
            No node of that name, codes of another dtype or shape, the model is in training mode, or the scheme leaves the
            node or an input of it in float.
        """
        try:
            node = self.structure.node(name)
        except KeyError as error:
            raise ValueError(f"name must be a node of the graph, got {name!r}: {error.args[0]}") from error
        if self.training:
            raise ValueError("run_node must be called in eval mode, got a model in training mode. Call eval() first.")
        meanings = [(source, self.qparams[source]) for source in node.inputs]
        out = self.qparams[name]
        if out is None or any(qp is None for _, qp in meanings):
            raise ValueError(f"node {name!r} must be quantized on both sides, got one that the scheme leaves in float.")
        wanted = [Value(source, self._shape(source), qp.dtype, qp) for source, qp in meanings if qp is not None]
        arrays = checked(codes, wanted, growing_values(self.structure), self.structure.batch)
        values = [dequantize(array, value.qparams) for array, value in zip(arrays, wanted) if value.qparams is not None]
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
        if self.training:
            self._refresh_ranges()
            qp = self.qparams[source.name]
        self.state.begin(training=self.training, steps=int(self.steps))
        exact = self.exact and not self.state.in_float
        if exact and self.training:
            self._refuse_inexact_training()
        values = {source.name: self.quantize_input(x)}
        codes: dict[str, np.ndarray] = {}
        if exact and qp is not None:
            codes[source.name] = quantize(given, qp, rounding=self.scheme.rounding)
        for name, made in self.nodes.items():
            y = made(*[values[read] for read in made.node.inputs])
            out = self.qparams[name]
            if exact and out is not None and all(read in codes for read in made.node.inputs):
                codes[name] = self._step(name)([codes[read] for read in made.node.inputs])
                y = straight_through(y, np.broadcast_to(dequantize(codes[name], out), y.shape))
            values[name] = y
        if self.training:
            self.steps[...] += 1
            for moved in self.range_of.values():
                if isinstance(moved, MovingRange):
                    moved.commit()
        return values

    def _refresh_ranges(self) -> None:
        """Read the quantizers of activations off the ranges that training moves."""
        if not self.range_of:
            return
        now = {id(moved): moved.qparams for moved in self.range_of.values()}
        for name, moved in self.range_of.items():
            self.qparams[name] = now[id(moved)]
            if name in self.nodes:
                self.nodes[name].qparams = now[id(moved)]
        self._tell_input_scales()

    def _tell_input_scales(self) -> None:
        """Each node knows the scale of its first input: the bias is counted in it."""
        for made in self.nodes.values():
            source = self.qparams[made.node.inputs[0]] if made.node.inputs else None
            made.input_scale = None if source is None else float(source.scale)

    def _learn_weight_scales(self) -> None:
        """One learned scale a weight, starting where the scheme would have it."""
        for name, made in self.nodes.items():
            settings = made.settings
            if "weight" not in made.node.params or settings.exclude or made.weight_scale is not None:
                continue
            if settings.group_size or not settings.weight_symmetric or settings.power_of_two:
                raise ValueError(
                    "weight_ranges='learn' must go with symmetric weights, a scale a channel or tensor and any number as scale, "
                    f"got group_size={settings.group_size}, weight_symmetric={settings.weight_symmetric}, "
                    f"power_of_two={settings.power_of_two} at {name!r}. Use weight_ranges='follow' there."
                )
            made.choose_weight_qparams()
            assert made.weight_qparams is not None
            rules = self.rules
            learned = LearnedScale(
                made.weight_qparams, gradient_scale=rules.gradient_scale, parameter=rules.scale_parameter
            )
            setattr(self.weight_scales, name, learned)
            for peer in made.peers.values():
                peer.weight_scale = learned

    def _refuse_shared_norms(self) -> None:
        """Two calls of one batch norm see two batches, and there would be two sets of codes for one weight."""
        for made in self.nodes.values():
            if "gamma" in made.node.params and len(made.peers) > 1:
                raise ValueError(
                    f"bn={self.rules.bn!r} must have each batch norm used once, got {', '.join(made.peers)} sharing one. "
                    "Use bn='freeze' or 'fold'."
                )

    def _has_codes(self, name: str) -> bool:
        """Whether a node and all that it reads have a quantizer."""
        return all(self.qparams[value] is not None for value in (name, *self.nodes[name].node.inputs))

    def _refuse_inexact_training(self) -> None:
        """There are no integers for what is drawn by chance or divided by the batch's own deviation."""
        what = "training_rounding='stochastic'" if self.rules.rounding == "stochastic" else ""
        what = f"bn={self.rules.bn!r} before freeze_batch_norm()" if self.state.by_batch else what
        if what:
            raise ValueError(
                f"exact training must compute what the integers compute, got {what}. Set exact = False while training."
            )

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
