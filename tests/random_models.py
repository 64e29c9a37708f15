"""Small random int8 networks, as plain data, aimed at what goes wrong in kernels.

A network is grown operator by operator on a `Sketch`; one operator makes a one-operator model, several a network.
Each sketch has a style, which decides the scales: ``plain`` (anything), ``ties`` (powers of two, so that
accumulators fall exactly between two codes), ``coarse`` (multipliers just below 1 and small sums, where rounding
twice differs from rounding once) and ``far`` (multipliers many powers of two from 1).

With this module one can draw a model of one operator (`draw_single`) or a network (`draw_network`), and inputs for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from runtimes import RUNTIMES, Call, Model, Tensor

Shape = tuple[int, ...]
STYLES = ("plain", "plain", "ties", "ties", "coarse", "far")
ACTIVATIONS = ("none", "none", "relu", "relu6", "relu_n1_to_1")


@dataclass(frozen=True)
class Drawn:
    """A model, inputs for it, and the runtimes that can be asked about it."""

    label: str
    model: Model
    inputs: tuple[np.ndarray, ...]
    runtimes: tuple[str, ...]


class Sketch:
    """A network under construction: tensors, calls, and the dice."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.style = str(rng.choice(STYLES))
        self.tensors: list[Tensor] = []
        self.calls: list[Call] = []
        self.inputs: list[str] = []
        self.runtimes: tuple[str, ...] = RUNTIMES

    def integer(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def one_of(self, *choices: object) -> object:
        """Any of them."""
        return choices[self.integer(0, len(choices) - 1)]

    def shape(self, rank: int) -> Shape:
        """A small shape with a batch of 1 or 2; one in six has many channels, for kernels that take them in blocks."""
        shape = [self.integer(1, 2), *(self.integer(1, 7) for _ in range(rank - 1))]
        if self.integer(0, 5) == 0:
            shape[-1] = self.integer(8, 40)
        return tuple(shape)

    def scale(self, near: float = 0.05, spread: float = 2.0) -> float:
        """A float32 scale about `near`; a power of two in style ``ties``."""
        exponent = np.log2(near) + self.rng.uniform(-spread, spread)
        return float(2.0 ** np.round(exponent)) if self.style == "ties" else float(np.float32(2.0**exponent))

    def zero_point(self) -> int:
        """Any code, the ends and 0 oftener."""
        return int(self.one_of(-128, 127, 0, *(self.integer(-128, 127) for _ in range(5))))

    def of(self, name: str) -> Tensor:
        """A tensor by name."""
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def tensor(self, name: str, shape: Shape, **kwargs: object) -> str:
        """A new tensor, its name made unique; returns the name."""
        name = f"{name}{len(self.tensors)}"
        self.tensors.append(Tensor(name, shape, **kwargs))  # type: ignore[arg-type]
        return name

    def enter(self, shape: Shape, **kwargs: object) -> str:
        """A model input, int8 with scales of its own unless told."""
        if not kwargs:
            kwargs = {"scale": self.scale(), "zero_point": self.zero_point()}
        self.inputs.append(self.tensor("in", shape, **kwargs))
        return self.inputs[-1]

    def constant(self, name: str, data: np.ndarray, **kwargs: object) -> str:
        """A constant tensor."""
        return self.tensor(name, data.shape, dtype=data.dtype.name, data=data, **kwargs)

    def codes(self, shape: Shape, zero_point: int) -> np.ndarray:
        """int8 codes: everywhere, at the ends, or (always in style ``coarse``) close to the zero point."""
        kind = "near" if self.style == "coarse" else self.one_of("all", "all", "ends", "near")
        if kind == "ends":
            return self.rng.choice(np.array([-128, 127, -127, 126, zero_point], np.int8), shape)
        low, high = (-128, 128) if kind == "all" else (max(-128, zero_point - 9), min(128, zero_point + 10))
        return self.rng.integers(low, high, shape).astype(np.int8)

    def call(self, op: str, inputs: tuple[str, ...], shape: Shape, like: str = "", **options: object) -> str:
        """An operator whose output shares the qparams of `like`, or has those given as scale= and zero_point=."""
        meaning = {key: options.pop(key) for key in ("scale", "zero_point", "dtype") if key in options}
        if like:
            meaning = {"scale": self.of(like).scale, "zero_point": self.of(like).zero_point}
        output = self.tensor(op.lower(), shape, **meaning)
        self.calls.append(Call(op, inputs, output, options))
        return output

    def output_scale(self, unit: float, size: float) -> float:
        """A scale for an output whose accumulators have steps of `unit` and a typical size of `size` steps."""
        if self.style == "coarse":
            # Right shifts of 0 to 3: a multiplier between 1/8 and 1.
            return float(np.float32(unit * 2.0 ** self.rng.uniform(0, 3)))
        if self.style == "ties":
            return float(2.0 ** np.round(np.log2(unit) + self.rng.integers(1, 4 + max(1, int(np.log2(size / 16 + 1))))))
        spread = self.rng.uniform(-12, 16) if self.style == "far" else self.rng.uniform(-1, 1)
        return float(np.float32(unit * max(size, 1.0) / 64 * 2.0**spread))

    def weights(self, shape: Shape, axis: int | None) -> tuple[str, np.ndarray]:
        """int8 weights, per tensor (axis None) or per channel; name and scales (float64)."""
        widest = 3 if self.style == "coarse" else 127
        data = self.rng.integers(-widest, widest + 1, shape).astype(np.int8)
        near = self.scale(0.02)
        if axis is None:
            return self.constant("w", data, scale=near), np.array([near])
        scales = np.array([self.scale(near, 1.0) for _ in range(shape[axis])])
        return self.constant("w", data, scale=scales, axis=axis), scales

    def bias(self, count: int, unit: np.ndarray, size: float) -> str:
        """int32 biases of the size of the sums."""
        widest = max(1, int(size))
        data = self.rng.integers(-widest, widest + 1, count).astype(np.int32)
        return self.constant("b", data, scale=unit.astype(np.float32))

    def finish(self, label: str) -> Drawn:
        """The model and inputs; its last tensor made is the output."""
        used = {name for call in self.calls for name in call.inputs}
        outputs = tuple(call.output for call in self.calls if call.output not in used)
        model = Model(tuple(self.tensors), tuple(self.calls), tuple(self.inputs), outputs)
        arrays = tuple(self._input(self.of(name)) for name in self.inputs)
        return Drawn(f"{label} {self.style}", model, arrays, self.runtimes)

    def _input(self, tensor: Tensor) -> np.ndarray:
        if tensor.dtype == "int8":
            return self.codes(tensor.shape, tensor.zero_point)
        # Multiples of a quarter step: half of them are ties where the scale is a power of two.
        step = self.of(self.calls[0].output).scale
        return (self.rng.integers(-600, 600, tensor.shape) * np.float32(step / 4)).astype(np.float32)


# ------------------------------------------------------------------------------------------------------------
# Operators: each grows one node on tensor x and returns the name of its output


def _steps(draw: Sketch, x: str) -> float:
    """Typical distance of an input code from the zero point."""
    return 6.0 if draw.style == "coarse" else 90.0


def _windows(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == "same" else (size + stride - reach) // stride


def _window(draw: Sketch, x: str, largest: int = 4, dilated: bool = True) -> tuple[Shape, Shape, dict[str, object]]:
    """Kernel size, output's height and width, and the options of a window operator that fits on x."""
    size = draw.of(x).shape[1:3]
    options: dict[str, object] = {"padding": draw.one_of("same", "valid")}
    kernel, stride, dilation = ([draw.integer(1, most) for _ in range(2)] for most in (largest, 3, 1))
    if dilated and draw.integer(0, 3) == 0:
        dilation, stride = [draw.integer(1, 3) for _ in range(2)], [1, 1]
    if options["padding"] == "valid":
        kernel = [min(k, (n - 1) // d + 1) for k, n, d in zip(kernel, size, dilation)]
    options["stride"] = tuple(stride)
    if dilated:
        options["dilation"] = tuple(dilation)
    args = zip(size, kernel, stride, dilation)
    return tuple(kernel), tuple(_windows(n, k, s, d, str(options["padding"])) for n, k, s, d in args), options


def _weighted(
    draw: Sketch, op: str, x: str, weight_shape: Shape, axis: int, shape: Shape, depth: int, bias: bool = True, **options: object
) -> str:
    """The common part of the operators with weights: scales, bias, output."""
    channels = weight_shape[axis]
    per_channel = draw.integer(0, 2 if op != "FULLY_CONNECTED" else 1) > 0
    weight, scales = draw.weights(weight_shape, axis if per_channel else None)
    units = draw.of(x).scale * scales
    size = _steps(draw, x) * (2.0 if draw.style == "coarse" else 64.0) * np.sqrt(depth)
    inputs = (x, weight)
    if bias:
        inputs += (draw.bias(channels, units, size),)
    scale = draw.output_scale(float(units.max()), size)
    return draw.call(op, inputs, shape, scale=scale, zero_point=draw.zero_point(), **options)


def conv(draw: Sketch, x: str) -> str:
    """CONV_2D, sometimes grouped, sometimes (for TFLite Micro alone) without a bias."""
    batch, _, _, channels = draw.of(x).shape
    kernel, size, options = _window(draw, x)
    groups = int(draw.one_of(*(g for g in (1, 1, 1, 2, 3) if channels % g == 0)))
    filters = groups * draw.integer(1, 6 if groups > 1 else 40)
    bias = draw.integer(0, 9) > 0
    if not bias:
        draw.runtimes = ("tflm",)
    if groups > 1:
        draw.runtimes = tuple(r for r in draw.runtimes if r != "tflm") or ("tflm",)
    weight = (filters, *kernel, channels // groups)
    options["activation"] = draw.one_of(*ACTIVATIONS)
    return _weighted(draw, "CONV_2D", x, weight, 0, (batch, *size, filters), prod(weight[1:]), bias, **options)


def depthwise(draw: Sketch, x: str) -> str:
    """DEPTHWISE_CONV_2D; always with a bias, because the fast kernels crash without one."""
    batch, _, _, channels = draw.of(x).shape
    kernel, size, options = _window(draw, x)
    multiplier = int(draw.one_of(1, 1, 2, 3, 8))
    weight = (1, *kernel, channels * multiplier)
    options |= {"depth_multiplier": multiplier, "activation": draw.one_of(*ACTIVATIONS)}
    return _weighted(draw, "DEPTHWISE_CONV_2D", x, weight, 3, (batch, *size, weight[3]), prod(kernel), **options)


def fully_connected(draw: Sketch, x: str) -> str:
    """FULLY_CONNECTED on the last axis (keep_num_dims) or on the flattened rest."""
    shape = draw.of(x).shape
    keep = len(shape) > 1 and draw.integer(0, 2) == 0
    depth = shape[-1] if keep else prod(shape[1:])
    units = draw.integer(1, 40)
    out = (*shape[:-1], units) if keep else (shape[0], units)
    options = {"keep_num_dims": keep, "activation": draw.one_of(*ACTIVATIONS)}
    return _weighted(draw, "FULLY_CONNECTED", x, (units, depth), 0, out, depth, draw.integer(0, 4) > 0, **options)


def transpose_conv(draw: Sketch, x: str) -> str:
    """TRANSPOSE_CONV, its output size any that the forward convolution would bring back to x."""
    batch, height, width, channels = draw.of(x).shape
    padding, stride = str(draw.one_of("same", "valid")), [draw.integer(1, 3) for _ in range(2)]
    kernel, filters = [draw.integer(1, 4) for _ in range(2)], int(draw.one_of(draw.integer(1, 10), draw.integer(8, 40)))
    if padding == "same":
        size = [n * s - draw.integer(0, s - 1) for n, s in zip((height, width), stride)]
    else:
        size = [(n - 1) * s + k + draw.integer(0, s - 1) for n, s, k in zip((height, width), stride, kernel)]
    out = (batch, *size, filters)
    wanted = draw.constant("shape", np.array(out, np.int32))
    # Its inputs come in another order: the wanted shape first, then the weights.
    weight, options = (filters, *kernel, channels), {"padding": padding, "stride": tuple(stride), "activation": "none"}
    result = _weighted(draw, "TRANSPOSE_CONV", x, weight, 0, out, prod(weight[1:]), **options)
    call = draw.calls.pop()
    draw.calls.append(Call(call.op, (wanted, call.inputs[1], x, call.inputs[2]), call.output, call.options))
    return result


def _pool(op: str) -> Callable[[Sketch, str], str]:
    def grow(draw: Sketch, x: str) -> str:
        shape = draw.of(x).shape
        kernel, size, options = _window(draw, x, dilated=False)
        return draw.call(
            op, (x,), (shape[0], *size, shape[3]), like=x, filter=kernel, activation=draw.one_of(*ACTIVATIONS), **options
        )

    return grow


def _broadcast(draw: Sketch, shape: Shape) -> Shape:
    """A shape that broadcasts against `shape`: the same, some axes 1, or leading axes missing."""
    kind = draw.integer(0, 3)
    if kind < 2:
        return shape
    if kind == 2:
        return tuple(int(draw.one_of(n, 1)) for n in shape)
    return shape[draw.integer(0, len(shape) - 1) :]


def _binary(op: str) -> Callable[[Sketch, str], str]:
    def grow(draw: Sketch, x: str, other: str = "") -> str:
        first = draw.of(x)
        if not other:
            shape, zero = _broadcast(draw, first.shape), draw.zero_point()
            meaning = {"scale": draw.scale(float(first.scale), 2.0), "zero_point": zero}
            if draw.integer(0, 2) == 0:
                other = draw.constant("c", draw.codes(shape, zero), **meaning)
            elif shape == first.shape and draw.integer(0, 3) == 0:
                other = x
            else:
                other = draw.enter(shape, **meaning)
        second = draw.of(other)
        shape = np.broadcast_shapes(first.shape, second.shape)
        if op == "MUL":
            scale = draw.output_scale(first.scale * second.scale, _steps(draw, x) ** 2)
        elif draw.style == "ties" and draw.integer(0, 1):
            scale = 2 * max(first.scale, second.scale)
        else:
            # TFLite aborts unless 2 * max(S1, S2) / (2**20 * S_y) < 1; stay well inside.
            scale = draw.scale(max(first.scale, second.scale), 7.0 if draw.style == "far" else 1.5)
        pair = (x, other) if draw.integer(0, 1) else (other, x)
        return draw.call(op, pair, shape, scale=scale, zero_point=draw.zero_point(), activation=draw.one_of(*ACTIVATIONS))

    return grow


def concatenation(draw: Sketch, x: str) -> str:
    """CONCATENATION of x with one or two others of its qparams."""
    first = draw.of(x)
    axis = draw.integer(0, len(first.shape) - 1)
    names = [x]
    for _ in range(draw.integer(1, 2)):
        shape = tuple(draw.integer(1, 4) if i == axis else n for i, n in enumerate(first.shape))
        names.append(draw.enter(shape, scale=first.scale, zero_point=first.zero_point))
    draw.rng.shuffle(names)
    total = sum(draw.of(n).shape[axis] for n in names)
    shape = tuple(total if i == axis else n for i, n in enumerate(first.shape))
    given = int(draw.one_of(axis, axis - len(shape)))
    return draw.call("CONCATENATION", tuple(names), shape, like=x, axis=given, activation="none")


def _reduce(op: str) -> Callable[[Sketch, str], str]:
    def grow(draw: Sketch, x: str) -> str:
        shape, scale = draw.of(x).shape, draw.of(x).scale
        axes = [i for i in range(len(shape)) if draw.integer(0, 1)] or [draw.integer(0, len(shape) - 1)]
        if len(shape) == 4 and draw.integer(0, 2) == 0:
            axes = [1, 2]
        keep, count = bool(draw.integer(0, 1)), prod(shape[i] for i in axes)
        out = tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)
        given = np.array([int(draw.one_of(i, i - len(shape))) for i in axes], np.int32)
        unit = scale / count if op == "MEAN" else scale
        target = draw.output_scale(unit, _steps(draw, x) * np.sqrt(count))
        return draw.call(op, (x, draw.constant("axis", given)), out, scale=target, zero_point=draw.zero_point(), keep_dims=keep)

    return grow


def _padded(op: str) -> Callable[[Sketch, str], str]:
    def grow(draw: Sketch, x: str) -> str:
        first = draw.of(x)
        pads = draw.rng.integers(0, 3, (len(first.shape), 2)).astype(np.int32)
        inputs = (x, draw.constant("pads", pads))
        if op == "PADV2":
            value = draw.rng.integers(-128, 128, (1,)).astype(np.int8)
            inputs += (draw.constant("fill", value, scale=first.scale, zero_point=first.zero_point),)
        return draw.call(op, inputs, tuple(int(n) for n in np.array(first.shape) + pads.sum(1)), like=x)

    return grow


def reshape(draw: Sketch, x: str) -> str:
    """RESHAPE to a flat row, a column of pixels, or with an axis of 1 put in."""
    shape = draw.of(x).shape
    new = draw.one_of((shape[0], prod(shape[1:])), (prod(shape[:-1]), shape[-1]), (*shape[:1], 1, *shape[1:3], prod(shape[3:])))
    if prod(new) != prod(shape):
        new = (shape[0], prod(shape[1:]))
    wanted = draw.constant("shape", np.array(new, np.int32))
    return draw.call("RESHAPE", (x, wanted), tuple(new), like=x, new_shape=list(new))


def transpose(draw: Sketch, x: str) -> str:
    """TRANSPOSE by any permutation."""
    shape = draw.of(x).shape
    perm = draw.rng.permutation(len(shape)).astype(np.int32)
    return draw.call("TRANSPOSE", (x, draw.constant("perm", perm)), tuple(shape[i] for i in perm), like=x)


def _rescaled(op: str, only: tuple[str, ...] = RUNTIMES) -> Callable[[Sketch, str], str]:
    """An elementwise operator whose output has a range of its own."""

    def grow(draw: Sketch, x: str) -> str:
        first = draw.of(x)
        options: dict[str, object] = {}
        if op == "LEAKY_RELU":
            options["alpha"] = float(np.float32(draw.one_of(0.5, 0.25, 0.1, 0.01, 1.5, draw.rng.uniform(0, 1))))
        spread = 6.0 if draw.style == "far" else 1.5
        draw.runtimes = tuple(r for r in draw.runtimes if r in only)
        if draw.integer(0, 4) == 0:
            return draw.call(op, (x,), first.shape, like=x, **options)
        return draw.call(op, (x,), first.shape, scale=draw.scale(first.scale, spread), zero_point=draw.zero_point(), **options)

    return grow


def _fixed(op: str, scale: float, zero_point: int) -> Callable[[Sketch, str], str]:
    def grow(draw: Sketch, x: str) -> str:
        if not 2.0**-20 < draw.of(x).scale < 8:
            # TFLite Micro would shift by more than 31 bits: leave the network as it is.
            return x
        options = {"beta": float(np.float32(draw.one_of(1.0, 1.0, 0.1, 2.0)))} if op == "SOFTMAX" else {}
        return draw.call(op, (x,), draw.of(x).shape, scale=scale, zero_point=zero_point, **options)

    return grow


def quantize(draw: Sketch, x: str) -> str:
    """QUANTIZE of float32."""
    return draw.call("QUANTIZE", (x,), draw.of(x).shape, scale=draw.scale(), zero_point=draw.zero_point())


def dequantize(draw: Sketch, x: str) -> str:
    """DEQUANTIZE to float32."""
    return draw.call("DEQUANTIZE", (x,), draw.of(x).shape, dtype="float32")


Grow = Callable[[Sketch, str], str]
OPERATORS: dict[str, tuple[Grow, int | None]] = {
    "CONV_2D": (conv, 4),
    "DEPTHWISE_CONV_2D": (depthwise, 4),
    "FULLY_CONNECTED": (fully_connected, None),
    "TRANSPOSE_CONV": (transpose_conv, 4),
    "ADD": (_binary("ADD"), None),
    "SUB": (_binary("SUB"), None),
    "MUL": (_binary("MUL"), None),
    "CONCATENATION": (concatenation, None),
    "AVERAGE_POOL_2D": (_pool("AVERAGE_POOL_2D"), 4),
    "MAX_POOL_2D": (_pool("MAX_POOL_2D"), 4),
    "MEAN": (_reduce("MEAN"), None),
    "SUM": (_reduce("SUM"), None),
    "PAD": (_padded("PAD"), None),
    "PADV2": (_padded("PADV2"), None),
    "RESHAPE": (reshape, None),
    "TRANSPOSE": (transpose, None),
    "RELU": (_rescaled("RELU"), None),
    "RELU6": (_rescaled("RELU6"), None),
    "RELU_N1_TO_1": (_rescaled("RELU_N1_TO_1", RUNTIMES[1:]), None),
    "LEAKY_RELU": (_rescaled("LEAKY_RELU"), None),
    "LOGISTIC": (_fixed("LOGISTIC", 1 / 256, -128), None),
    "TANH": (_fixed("TANH", 1 / 128, 0), None),
    "SOFTMAX": (_fixed("SOFTMAX", 1 / 256, -128), None),
    "QUANTIZE": (quantize, None),
    "REQUANTIZE": (_rescaled("QUANTIZE"), None),
    "DEQUANTIZE": (dequantize, None),
}
"""What can be drawn: name -> (how it grows on a tensor, the rank it wants; None for any from 1 to 4)."""


def draw_single(op: str, seed: int) -> Drawn:
    """A model of one operator. The same seed draws the same model."""
    draw = Sketch(np.random.default_rng([seed, list(OPERATORS).index(op)]))
    grow, rank = OPERATORS[op]
    shape = draw.shape(rank or draw.integer(2 if op == "FULLY_CONNECTED" else 1, 4))
    x = draw.enter(shape, dtype="float32") if op == "QUANTIZE" else draw.enter(shape)
    grow(draw, x)
    return draw.finish(f"{op} seed {seed}")


# ------------------------------------------------------------------------------------------------------------
# Networks


def _same_size_conv(draw: Sketch, x: str, op: str, filters: int, kernel: int) -> str:
    """CONV_2D or DEPTHWISE_CONV_2D that keeps height and width."""
    batch, height, width, channels = draw.of(x).shape
    options = {"padding": "same", "stride": (1, 1), "dilation": (1, 1), "activation": draw.one_of("none", "relu", "relu6")}
    if op == "CONV_2D":
        weight, axis, depth = (filters, kernel, kernel, channels), 0, kernel * kernel * channels
    else:
        weight, axis, depth, filters = (1, kernel, kernel, channels), 3, kernel * kernel, channels
        options["depth_multiplier"] = 1
    return _weighted(draw, op, x, weight, axis, (batch, height, width, filters), depth, **options)


def _residual(draw: Sketch, x: str) -> str:
    """x + depthwise(conv(x)), as in ResNet and MobileNet v2."""
    y = _same_size_conv(draw, x, "CONV_2D", draw.of(x).shape[3], int(draw.one_of(1, 3)))
    y = _same_size_conv(draw, y, "DEPTHWISE_CONV_2D", 0, 3)
    return _binary("ADD")(draw, x, y)  # type: ignore[call-arg]


def _branches(draw: Sketch, x: str) -> str:
    """Two branches, brought to one scale, joined along the channels."""
    first = _same_size_conv(draw, x, "CONV_2D", draw.integer(1, 6), int(draw.one_of(1, 3)))
    shape = draw.of(x).shape
    pooled = draw.call("MAX_POOL_2D", (x,), shape, like=x, filter=(3, 3), stride=(1, 1), padding="same", activation="none")
    second = draw.call("QUANTIZE", (pooled,), shape, like=first)
    joined = (*shape[:3], draw.of(first).shape[3] + shape[3])
    return draw.call("CONCATENATION", (first, second), joined, like=first, axis=3, activation="none")


def _classifier(draw: Sketch, x: str) -> str:
    """Global average pool, reshape, fully connected, softmax."""
    batch, height, width, channels = draw.of(x).shape
    size = {"filter": (height, width), "stride": (1, 1), "padding": "valid", "activation": "none"}
    x = draw.call("AVERAGE_POOL_2D", (x,), (batch, 1, 1, channels), like=x, **size)
    new = (batch, channels)
    x = draw.call("RESHAPE", (x, draw.constant("shape", np.array(new, np.int32))), new, like=x, new_shape=list(new))
    return _fixed("SOFTMAX", 1 / 256, -128)(draw, fully_connected(draw, x))


_BLOCKS: tuple[Grow, ...] = (
    conv,
    depthwise,
    _residual,
    _residual,
    _branches,
    _pool("AVERAGE_POOL_2D"),
    _pool("MAX_POOL_2D"),
    _padded("PAD"),
    _rescaled("RELU"),
    _rescaled("RELU6"),
    _rescaled("LEAKY_RELU"),
    _rescaled("QUANTIZE"),
    _binary("ADD"),
    _binary("MUL"),
    _fixed("LOGISTIC", 1 / 256, -128),
    _fixed("TANH", 1 / 128, 0),
)


def draw_network(seed: int) -> Drawn:
    """A network of 4 to 20 operators: blocks on an image, mostly ended by a classifier, sometimes with float doors."""
    draw = Sketch(np.random.default_rng([seed, 1000]))
    shape = (draw.integer(1, 2), draw.integer(3, 9), draw.integer(3, 9), draw.integer(1, 10))
    if draw.integer(0, 3) == 0:
        x = quantize(draw, draw.enter(shape, dtype="float32"))
    else:
        x = draw.enter(shape)
    for _ in range(draw.integer(2, 6)):
        if not 2.0**-20 < draw.of(x).scale < 2.0**20:
            # A longer chain of far multipliers would leave float32.
            return draw.finish(f"network seed {seed}")
        x = _BLOCKS[draw.integer(0, len(_BLOCKS) - 1)](draw, x)
    if draw.integer(0, 3):
        x = _classifier(draw, x)
    if draw.integer(0, 3) == 0:
        dequantize(draw, x)
    return draw.finish(f"network seed {seed}")
