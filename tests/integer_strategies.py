"""Hypothesis strategies for integer graphs: one operator with every setting it has, or a small network of several.

Sizes are small and settings are wild: zero points at the ends, scales that make ties (powers of two) or multipliers above one,
windows larger than the image under "same", weights at -128, biases near the ends, batches declared as 1 or 2.
With this module one can draw a graph and codes for it (`one_node_graphs`, `networks`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tinyquant.graph import ACTIVATIONS, Graph, Node, Value, window_count
from tinyquant.numerics.qparams import QParams

INT8 = np.dtype(np.int8)


def examples(count: int) -> settings:
    """So many examples. Early hypothesis calls a graph too large when it has drawn a small one first."""
    return settings(max_examples=count, suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large))


Shape = tuple[int, ...]


@dataclass
class Growing:
    """A graph under construction."""

    draw: st.DrawFn
    rng: np.random.Generator
    batch: int
    values: dict[str, Value] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)

    def pick(self, *choices: Any) -> Any:
        """One of these, drawn by hypothesis (the first is the simplest)."""
        return self.draw(st.sampled_from(choices))

    def number(self, low: int, high: int) -> int:
        """A whole number, ends included."""
        return self.draw(st.integers(low, high))

    def scale(self, near: float = 0.05) -> float:
        """A float32: a power of two, or any within a factor of four of `near`."""
        if self.pick(True, False):
            return float(2.0 ** (np.floor(np.log2(near)) + self.number(-2, 2)))
        return float(np.float32(near * 2.0 ** self.rng.uniform(-2, 2)))

    def zero_point(self) -> int:
        """Any code, often an end."""
        return int(self.pick(0, -128, 127, int(self.rng.integers(-128, 128))))

    def codes(self, shape: tuple[int, ...]) -> np.ndarray:
        """int8 of all sizes, at the ends, or small."""
        kind = self.pick("small", "all", "ends")
        if kind == "ends":
            return self.rng.choice(np.array([-128, 127, -127, 0], np.int8), shape)
        low, high = (-3, 4) if kind == "small" else (-128, 128)
        return self.rng.integers(low, high, shape).astype(np.int8)

    def enter(self, shape: tuple[int, ...], qparams: QParams | None = None) -> Value:
        """A graph input."""
        qparams = qparams or QParams(self.scale(), self.zero_point())
        value = Value(f"x{len(self.inputs)}", shape, INT8, qparams)
        self.inputs.append(value.name)
        self.values[value.name] = value
        return value

    def constant(self, shape: tuple[int, ...], qparams: QParams | None = None) -> Value:
        """A CONSTANT node."""
        qparams = qparams or QParams(self.scale(), self.zero_point())
        return self.add("CONSTANT", (), shape, qparams, params={"value": self.codes(shape)})

    def add(
        self,
        op: str,
        inputs: tuple[Value, ...],
        shape: tuple[int, ...],
        qparams: QParams | None,
        attrs: dict[str, Any] | None = None,
        params: dict[str, np.ndarray] | None = None,
        weight: QParams | None = None,
    ) -> Value:
        """A node, and its output as a Value."""
        node = Node(
            f"{op.lower()}{len(self.nodes)}",
            op,
            tuple(value.name for value in inputs),
            shape,
            attrs or {},
            params or {},
            qparams,
            {} if weight is None else {"weight": weight},
            INT8,
        )
        self.nodes.append(node)
        self.values[node.name] = Value(node.name, shape, INT8, qparams)
        return self.values[node.name]

    def graph(self, *outputs: str) -> Graph:
        """What has grown, the last node (or those named) as output."""
        return Graph(tuple(self.values[name] for name in self.inputs), tuple(self.nodes), outputs or (self.nodes[-1].name,))


def _qparams_after(g: Growing, unit: float, spread: tuple[int, int] = (-2, 10)) -> QParams:
    """Output qparams for accumulators in steps of `unit`: multipliers from 2**-10 to 4, exact powers of two or not."""
    wanted = unit * 2.0 ** g.number(*spread)
    scale = wanted if g.pick(True, False) else wanted * float(g.rng.uniform(0.5, 1))
    return QParams(float(np.float32(scale)), g.zero_point())


def _window(g: Growing, x: Value, dilated: bool = True) -> tuple[tuple[int, int], dict[str, Any], tuple[int, int]]:
    """Window, settings and output size; "valid" windows are cut to the image, "same" ones may be larger than it."""
    padding = g.pick("same", "valid")
    window = [g.number(1, 4), g.number(1, 4)]
    stride = (g.number(1, 3), g.number(1, 3))
    dilation = (g.number(1, 2), g.number(1, 2)) if dilated else (1, 1)
    if padding == "valid":
        window = [min(k, (n - 1) // d + 1) for k, n, d in zip(window, x.shape[1:3], dilation)]
    size = [window_count(n, k, s, d, padding) for n, k, s, d in zip(x.shape[1:3], window, stride, dilation)]
    attrs: dict[str, Any] = {"padding": padding, "stride": stride}
    if dilated:
        attrs["dilation"] = dilation
    return (window[0], window[1]), attrs, (size[0], size[1])


def _weighted(
    g: Growing, op: str, x: Value, weight_shape: Shape, axis: int, shape: Shape, attrs: dict[str, Any]
) -> Value:
    """Weights per tensor or channel, a bias or none, an output scale that fits."""
    channels = weight_shape[axis]
    near = g.scale()
    weight = QParams([g.scale(near) for _ in range(channels)], 0, axis=axis) if g.pick(False, True) else QParams(near, 0)
    params = {"weight": g.codes(weight_shape)}
    kind = g.pick("none", "small", "large")
    if kind != "none":
        reach = 300 if kind == "small" else 2**30
        params["bias"] = g.rng.integers(-reach, reach, channels).astype(np.int32)
    assert x.qparams is not None
    qparams = _qparams_after(g, float(x.qparams.scale) * near)
    return g.add(op, (x,), shape, qparams, {**attrs, "activation": g.pick(*ACTIVATIONS)}, params, weight)


def _conv(g: Growing, x: Value) -> Value:
    window, attrs, size = _window(g, x)
    groups = g.pick(*(n for n in (1, 2, 3, 4) if x.shape[3] % n == 0))
    outputs = groups * g.number(1, 3)
    weight = (outputs, *window, x.shape[3] // groups)
    return _weighted(g, "CONV_2D", x, weight, 0, (x.shape[0], *size, outputs), attrs)


def _depthwise(g: Growing, x: Value) -> Value:
    window, attrs, size = _window(g, x)
    attrs["depth_multiplier"] = g.number(1, 3)
    weight = (1, *window, x.shape[3] * attrs["depth_multiplier"])
    return _weighted(g, "DEPTHWISE_CONV_2D", x, weight, 3, (x.shape[0], *size, weight[3]), attrs)


def _transpose_conv(g: Growing, x: Value) -> Value:
    padding = g.pick("same", "valid")
    window, stride = (g.number(1, 3), g.number(1, 3)), (g.number(1, 3), g.number(1, 3))
    if padding == "same":
        size = [n * s - g.number(0, s - 1) for n, s in zip(x.shape[1:3], stride)]
    else:
        size = [(n - 1) * s + k + g.number(0, s - 1) for n, s, k in zip(x.shape[1:3], stride, window)]
    outputs = g.number(1, 3)
    attrs = {"padding": padding, "stride": stride}
    return _weighted(g, "TRANSPOSE_CONV", x, (outputs, *window, x.shape[3]), 0, (x.shape[0], *size, outputs), attrs)


def _fully_connected(g: Growing, x: Value) -> Value:
    keep, units = g.pick(False, True), g.number(1, 5)
    depth = x.shape[-1] if keep else int(np.prod(x.shape[1:]))
    shape = (*x.shape[:-1], units) if keep else (x.shape[0], units)
    return _weighted(g, "FULLY_CONNECTED", x, (units, depth), 0, shape, {"keep_num_dims": keep})


def _pool(op: str) -> Callable[[Growing, Value], Value]:
    def grow(g: Growing, x: Value) -> Value:
        window, attrs, size = _window(g, x, dilated=False)
        attrs |= {"filter": window, "activation": g.pick(*ACTIVATIONS)}
        return g.add(op, (x,), (x.shape[0], *size, x.shape[3]), x.qparams, attrs)

    return grow


def _binary(op: str) -> Callable[[Growing, Value], Value]:
    def grow(g: Growing, x: Value) -> Value:
        kind = g.pick("input", "constant", "row", "self")
        if kind == "input":
            other = g.enter(x.shape)
        elif kind == "constant":
            other = g.constant(tuple(g.pick(1, n) if i else 1 for i, n in enumerate(x.shape)))
        elif kind == "row":
            other = g.constant(x.shape[-1:] if len(x.shape) > 1 else (1,))
        else:
            other = x
        first, second = (x, other) if g.pick(True, False) else (other, x)
        assert first.qparams is not None and second.qparams is not None
        s1, s2 = float(first.qparams.scale), float(second.qparams.scale)
        qparams = _qparams_after(g, s1 * s2, (-2, 12)) if op == "MUL" else _qparams_after(g, max(s1, s2), (-6, 6))
        shape = np.broadcast_shapes(first.shape, second.shape)
        return g.add(op, (first, second), shape, qparams, {"activation": g.pick(*ACTIVATIONS)})

    return grow


def _concatenation(g: Growing, x: Value) -> Value:
    axis = g.number(1, len(x.shape) - 1)
    others = []
    for _ in range(g.number(0, 2)):
        others.append(g.enter(tuple(g.number(1, 3) if i == axis else n for i, n in enumerate(x.shape)), x.qparams))
    shape = tuple(n + sum(o.shape[i] for o in others) if i == axis else n for i, n in enumerate(x.shape))
    attrs = {"axis": axis - g.pick(0, len(shape)), "activation": g.pick("none", "relu")}
    return g.add("CONCATENATION", (x, *others), shape, x.qparams, attrs)


def _reduce(op: str) -> Callable[[Growing, Value], Value]:
    def grow(g: Growing, x: Value) -> Value:
        axes = [i for i in range(1, len(x.shape)) if g.pick(True, False)] or [len(x.shape) - 1]
        keep = g.pick(False, True)
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes)
        named = [axis - g.pick(0, len(x.shape)) for axis in axes] + g.pick([], axes[:1])
        assert x.qparams is not None
        qparams = _qparams_after(g, float(x.qparams.scale), (-4, 4))
        return g.add(op, (x,), shape, qparams, {"axis": named, "keep_dims": keep})

    return grow


def _pad(op: str) -> Callable[[Growing, Value], Value]:
    def grow(g: Growing, x: Value) -> Value:
        pairs = [(0, 0), *((g.number(0, 2), g.number(0, 2)) for _ in x.shape[1:])]
        attrs: dict[str, Any] = {"paddings": pairs}
        if op == "PADV2":
            attrs["value"] = g.number(-128, 127)
        return g.add(op, (x,), tuple(n + a + b for n, (a, b) in zip(x.shape, pairs)), x.qparams, attrs)

    return grow


def _reshape(g: Growing, x: Value) -> Value:
    rest = int(np.prod(x.shape[1:]))
    shape = g.pick((x.shape[0], rest), (x.shape[0], rest, 1), (x.shape[0], 1, *x.shape[1:]))
    return g.add("RESHAPE", (x,), shape, x.qparams, {"new_shape": g.pick(shape, (-1, *shape[1:]))})


def _transpose(g: Growing, x: Value) -> Value:
    perm = (0, *(int(i) + 1 for i in g.rng.permutation(len(x.shape) - 1)))
    return g.add("TRANSPOSE", (x,), tuple(x.shape[i] for i in perm), x.qparams, {"perm": perm})


def _rescaled(op: str) -> Callable[[Growing, Value], Value]:
    def grow(g: Growing, x: Value) -> Value:
        assert x.qparams is not None
        attrs = {"alpha": g.pick(0.5, 0.1, 0.0, 1.5, -0.5, -0.3)} if op == "LEAKY_RELU" else {}
        return g.add(op, (x,), x.shape, _qparams_after(g, float(x.qparams.scale), (-4, 4)), attrs)

    return grow


def _fixed(op: str, qparams: QParams) -> Callable[[Growing, Value], Value]:
    def grow(g: Growing, x: Value) -> Value:
        return g.add(op, (x,), x.shape, qparams, {"beta": g.pick(1.0, 0.1, 2.0)} if op == "SOFTMAX" else {})

    return grow


GROW: dict[str, Callable[[Growing, Value], Value]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    "AVERAGE_POOL_2D": _pool("AVERAGE_POOL_2D"),
    "MAX_POOL_2D": _pool("MAX_POOL_2D"),
    "ADD": _binary("ADD"),
    "SUB": _binary("SUB"),
    "MUL": _binary("MUL"),
    "CONCATENATION": _concatenation,
    "MEAN": _reduce("MEAN"),
    "SUM": _reduce("SUM"),
    "PAD": _pad("PAD"),
    "PADV2": _pad("PADV2"),
    "RESHAPE": _reshape,
    "TRANSPOSE": _transpose,
    "RELU": _rescaled("RELU"),
    "RELU6": _rescaled("RELU6"),
    "RELU_N1_TO_1": _rescaled("RELU_N1_TO_1"),
    "LEAKY_RELU": _rescaled("LEAKY_RELU"),
    "QUANTIZE": _rescaled("QUANTIZE"),
    "SOFTMAX": _fixed("SOFTMAX", QParams(1 / 256, -128)),
    "LOGISTIC": _fixed("LOGISTIC", QParams(1 / 256, -128)),
    "TANH": _fixed("TANH", QParams(1 / 128, 0)),
}
"""How each operator grows on a value. All keep rows apart."""

IMAGES = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "AVERAGE_POOL_2D", "MAX_POOL_2D"}


@dataclass(frozen=True)
class Drawn:
    """A graph and codes for its inputs, some runs of the declared batch."""

    graph: Graph
    arrays: list[np.ndarray]


def _start(draw: st.DrawFn) -> Growing:
    seed = draw(st.integers(0, 2**32 - 1), label="seed")
    return Growing(draw, np.random.default_rng(seed), draw(st.integers(1, 2), label="batch"))


def _finish(g: Growing, *outputs: str) -> Drawn:
    graph, runs = g.graph(*outputs), g.number(1, 2)
    return Drawn(graph, [g.codes((runs * value.shape[0], *value.shape[1:])) for value in graph.inputs])


@st.composite
def one_node_graphs(draw: st.DrawFn, op: str) -> Drawn:
    """A graph of one operator (and constants it reads)."""
    g = _start(draw)
    rank = 4 if op in IMAGES else g.number(2, 4)
    shape = (g.batch, *(g.number(1, 6) for _ in range(rank - 2)), g.number(1, 4))
    GROW[op](g, g.enter(shape))
    return _finish(g)


@st.composite
def networks(draw: st.DrawFn, longest: int = 6) -> Drawn:
    """A graph of several operators, each reading one of the two latest values; one or two outputs."""
    g = _start(draw)
    recent = [g.enter((g.batch, g.number(3, 7), g.number(3, 7), g.number(1, 4)))]
    for _ in range(g.number(2, longest)):
        x = recent[-1] if g.pick(True, True, False) else recent[0]
        assert x.qparams is not None
        scale = float(x.qparams.scale)
        refused = {"LOGISTIC", "TANH"} if scale >= 16 else {"SOFTMAX"} if scale < 2.0**-20 else set()
        legal = [op for op in GROW if (len(x.shape) == 4 or op not in IMAGES) and len(x.shape) > 1 and op not in refused]
        if not legal or int(np.prod(x.shape)) > 2000:
            break
        recent = [recent[-1], GROW[g.pick(*legal)](g, x)]
    first = g.pick((), (recent[0].name, recent[-1].name))
    return _finish(g, *first)
