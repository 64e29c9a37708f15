"""The same network with every source of quantization error behind a switch of its own.

With all switches off it is the float network; with all on it is the integer network, to the bit. In between, in float64:

=================== ==========================================================================================
weight rounding     w becomes S_w * round(w / S_w), however large
weight clipping     w becomes clamp(w, the ends of its range), not rounded
bias rounding       b becomes a whole number of S_x * S_w, the steps that the accumulator counts in
activation rounding a node's output becomes S_y * round(y / S_y), however large
activation clipping a node's output is clamped to the ends of its range, not rounded
requantization      what the integer kernel makes of the node's input codes, minus what exact rounding makes of the same
                    codes, is added: fixed-point multipliers, double rounding, ties
lookup tables       the same for LOGISTIC, TANH and SOFTMAX, whose kernels compute polynomials
=================== ==========================================================================================

Rounding and clipping together are the quantizer: whichever of the two comes first, the code is the same, for the ends are whole
codes. The last two sources are differences between two results on one grid, so that they need codes to act on: where
the values that come in are not codes yet, because a switch before is off, their nearest codes are taken.

With this module one can run a network with some sources on (`SwitchedNetwork.run`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tinyquant.analysis.sides import FakeQuantSide, IntegerForm
from tinyquant.autograd import Tensor, no_grad
from tinyquant.graph import OPS, Graph, Node
from tinyquant.integer.model import IntegerModel
from tinyquant.integer.registry import Runner, build_step
from tinyquant.numerics.affine import quantize
from tinyquant.numerics.qparams import QParams
from tinyquant.numerics.rounding import round_to_int
from tinyquant.quantization.fake_quant_node import MOVES_CODES
from tinyquant.quantization.float_run import compute_node
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.weights import bias_qparams, has_groups, weight_groups

__all__ = ["SOURCES", "Switch", "SwitchedNetwork"]

SOURCES = (
    "weight rounding",
    "weight clipping",
    "bias rounding",
    "activation rounding",
    "activation clipping",
    "requantization",
    "lookup tables",
)
"""Every source of error, in the order of the data."""

_TABLES = ("LOGISTIC", "TANH", "SOFTMAX")


class Switch(NamedTuple):
    """One source of error at one value: a node's name (or the input's) and a name from `SOURCES`."""

    name: str
    source: str


class _Layer:
    """One node: its parameters in every state, its quantizer, its kernel, and which switches it has."""

    def __init__(self, name: str, node: Node | None, qparams: QParams | None, rounding: str) -> None:
        self.name, self.node, self.qparams, self.rounding = name, node, qparams, rounding
        self.params: dict[str, np.ndarray] = {}
        self.quantizers: dict[str, QParams] = {}
        self.group_size = 0
        self.kernel: Runner | None = None
        self.input_qparams: list[QParams] = []
        quantized = qparams is not None and (node is None or node.op not in MOVES_CODES)
        self.sources: list[str] = ["activation rounding", "activation clipping"] if quantized else []

    def states(self, on: Collection[str]) -> dict[str, np.ndarray]:
        """The parameters with these sources on."""
        made = dict(self.params)
        if "weight" in self.quantizers:
            rounds, clips = "weight rounding" in on, "weight clipping" in on
            weight, qp = made["weight"], self.quantizers["weight"]
            rows = weight_groups(weight, self.group_size) if self.group_size else weight
            cells = weight.shape[-1]
            there = _through(rows, qp, rounds, clips, self.rounding)
            made["weight"] = there.reshape(*weight.shape[:-1], -1)[..., :cells] if self.group_size else there
        if "bias" in self.quantizers:
            made["bias"] = _through(made["bias"], self.quantizers["bias"], "bias rounding" in on, False, self.rounding)
        return made

    def compute(self, inputs: Iterable[np.ndarray], on: Collection[str]) -> np.ndarray:
        """The output with some sources on, kernels aside."""
        assert self.node is not None
        with no_grad():
            params = {key: Tensor(array) for key, array in self.states(on).items()}
            y = compute_node(self.node, [Tensor(x) for x in inputs], params).data
        return self.leave(y, on)

    def leave(self, y: np.ndarray, on: Collection[str]) -> np.ndarray:
        """The value after its quantizer, as far as that is on."""
        if self.qparams is None or "activation rounding" not in self.sources:
            return y
        return _through(y, self.qparams, "activation rounding" in on, "activation clipping" in on, self.rounding)

    def kernel_difference(self, inputs: list[np.ndarray]) -> np.ndarray:
        """What the integer kernel adds to exact rounding, on the nearest codes of the inputs, in real units."""
        assert self.kernel is not None and self.qparams is not None
        codes = [quantize(x, qp) for x, qp in zip(inputs, self.input_qparams)]
        exact = self.compute([_reals(c, qp) for c, qp in zip(codes, self.input_qparams)], SOURCES)
        return _reals(self.kernel(codes), self.qparams).reshape(exact.shape) - exact


class SwitchedNetwork:
    """A fake-quantized model taken apart into its float network and its sources of error.

    Parameters
    ----------
    model : FakeQuantModel
        In eval mode; left as it is. Its float weights, batch norms folded, are the network with everything off.

    Attributes
    ----------
    switches : tuple of Switch
        All there are, in execution order: what the scheme leaves in float has none, and where activations are not 8 bits wide
        there are no kernels.
    layers : tuple of str
        The values that have switches: the input, then nodes.

    Raises
    ------
    ValueError
        The model is in training mode, or its activations are quantized row by row (dynamic).

    Examples
    --------
    >>> from tinyquant import nn
    >>> from tinyquant.quantization.calibrate import calibrate
    >>> from tinyquant.quantization.prepare import quantize_model
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()
    >>> x = np.array([[0.0, 1.0], [1.0, 0.5]], np.float32)
    >>> network = SwitchedNetwork(quantize_model(model, calibrate(model, x)))
    >>> len(network.switches), bool(np.allclose(network.run(x), model(Tensor(x)).data))
    (8, True)
    """

    def __init__(self, model: FakeQuantModel) -> None:
        side = FakeQuantSide(model)
        source = model.structure.inputs[0].name
        self.input = source
        self._outputs = model.structure.outputs
        self._layers = {source: _Layer(source, None, model.qparams[source], model.scheme.rounding)}
        self._before: dict[str, frozenset[Switch]] = {}
        for name, made in model.nodes.items():
            layer = _Layer(name, made.node, model.qparams[name], made.settings.rounding)
            with no_grad():
                layer.params = {key: tensor.data.astype(np.float64) for key, tensor in made.params().items()}
            if made.settings.activations == "dynamic" and not made.settings.exclude:
                raise ValueError(
                    f"activations must be static or float to be switched, got dynamic ones at {name!r}. "
                    "Use a scheme with ranges from calibration."
                )
            if made.weight_qparams is not None and not made.settings.exclude:
                layer.quantizers["weight"] = made.weight_qparams
                layer.sources += ["weight rounding", "weight clipping"]
                if has_groups(made.settings.group_size, OPS[made.node.op].weight_axis or 0):
                    layer.group_size = made.settings.group_size
                elif "bias" in layer.params and made.input_scale is not None:
                    layer.quantizers["bias"] = bias_qparams(made.weight_qparams, made.input_scale, layer.params["bias"].size)
                    layer.sources.append("bias rounding")
            form = side.integer_form(name)
            if form is not None and made.node.op not in (*MOVES_CODES, "CONSTANT") and made.settings.rounding == "half_away":
                layer.kernel = _fastest(form)
                layer.input_qparams = [value.qparams for value in form.inputs if value.qparams is not None]
                layer.sources.append("lookup tables" if made.node.op in _TABLES else "requantization")
            self._layers[name] = layer
        for name, layer in self._layers.items():
            own = frozenset(Switch(name, one) for one in layer.sources)
            earlier = [self._before[read] for read in (layer.node.inputs if layer.node is not None else ())]
            self._before[name] = own.union(*earlier)
        every = (Switch(name, source) for name in self._layers for source in SOURCES)
        self.switches = tuple(switch for switch in every if switch.source in self._layers[switch.name].sources)
        self.layers = tuple(dict.fromkeys(switch.name for switch in self.switches))
        self._kept_for: np.ndarray | None = None
        self._kept: dict[tuple[str, bool], np.ndarray] = {}

    def run(self, x: np.ndarray, on: Iterable[Switch] = ()) -> np.ndarray:
        """The output with these sources on, float64; several outputs are joined along their last axis.

        Values that no switch reaches, or all do, are kept for the next call with the same x (the very array).
        """
        chosen = frozenset(on)
        unknown = sorted(chosen - set(self.switches))
        if unknown:
            raise ValueError(f"a switch must be one of this network's, got {tuple(unknown[0])}. Take them from `switches`.")
        if x is not self._kept_for:
            self._kept_for, self._kept = x, {}
        values: dict[str, np.ndarray] = {}
        for name in self._layers:
            here = chosen & self._before[name]
            key = (name, bool(here))
            uniform = not here or here == self._before[name]
            if uniform and key in self._kept:
                values[name] = self._kept[key]
                continue
            values[name] = self._compute(name, x, values, {switch.source for switch in here if switch.name == name})
            if uniform:
                self._kept[key] = values[name]
        outputs = [values[name] for name in self._outputs]
        return outputs[0] if len(outputs) == 1 else np.concatenate([y.reshape(len(y), -1) for y in outputs], axis=-1)

    def _compute(self, name: str, x: np.ndarray, values: dict[str, np.ndarray], on: set[str]) -> np.ndarray:
        """One value with these of its own sources on."""
        layer = self._layers[name]
        if layer.node is None:
            # The door divides in float32, as the model's own does.
            exact = x.astype(np.float64)
            if {"activation rounding", "activation clipping"} <= on and layer.qparams is not None:
                return _reals(quantize(x.astype(np.float32), layer.qparams, rounding=layer.rounding), layer.qparams)
            return layer.leave(exact, on)
        inputs = [values[read] for read in layer.node.inputs]
        y = layer.compute(inputs, on)
        if layer.kernel is not None and on & {"requantization", "lookup tables"}:
            y = y + layer.kernel_difference(inputs)
        return y


def _fastest(form: IntegerForm) -> Runner:
    """What runs one node's integers: the fastest engine where it takes any number of rows, else the kernel."""
    graph = Graph(tuple({value.name: value for value in form.inputs}.values()), (form.node,), (form.node.name,))
    if not graph.rows_are_independent():
        return build_step(form.node, form.inputs)
    model, names = IntegerModel(graph), [value.name for value in form.inputs]

    def run(arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The node's output; an input read twice is passed once."""
        return np.asarray(model.run(dict(zip(names, arrays)), engine="auto"))

    return run


def _through(values: np.ndarray, qp: QParams, rounds: bool, clips: bool, rounding: str) -> np.ndarray:
    """Values through a quantizer of which only the rounding, or only the clipping, may be on."""
    if not (rounds or clips):
        return values
    scale, zero = qp.along(values.ndim)
    steps = values / scale
    if rounds:
        steps = round_to_int(steps, rounding)
    if clips:
        steps = np.clip(steps, qp.qmin - zero, qp.qmax - zero)
    return steps * scale if rounds else np.clip(values, scale * (qp.qmin - zero), scale * (qp.qmax - zero))


def _reals(codes: np.ndarray, qp: QParams) -> np.ndarray:
    """What codes stand for, in float64, where the product is exact."""
    return (codes.astype(np.float64) - qp.zero_point) * qp.scale
