"""What a node is in C: which function is called, and the constant structure that the function reads.

The numbers are those of `tinyquant.integer.prepare`: nothing is computed a second time here, only laid out. The
structures are declared in the headers of the folder `c`, field for field.

With this module one can list what a graph holds that C cannot run (`refusals`) and turn a node into a `KernelCall`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from tinyquant.graph import Graph, Node, Value
from tinyquant.integer.prepare import prepare

__all__ = ["FAMILIES", "KernelCall", "call_of", "refusals"]

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "fixed_point": (),
    "strides": (),
    "exponential": ("fixed_point",),
    "convolution": ("fixed_point",),
    "fully_connected": ("fixed_point",),
    "elementwise": ("fixed_point", "strides"),
    "pooling": ("fixed_point",),
    "layout": ("fixed_point", "strides"),
    "reduction": ("fixed_point", "strides"),
    "pointwise": ("fixed_point",),
    "sigmoid": ("fixed_point", "exponential"),
    "softmax": ("fixed_point", "exponential"),
}
"""A file of kernels -> the files it calls, in an order in which every file comes after what it calls."""

MOST_CLASSES = 511
"""Of a softmax: the exponentials of 512 could add up to what stops the target's kernel, and C has nobody to tell."""

FARTHEST = 2**24
"""Cells that a window may reach over, padding included, and that it may hold: offsets and sums then fit int32."""

Numbers = int | np.ndarray | None
Fields = dict[str, Numbers]


@dataclass(frozen=True)
class KernelCall:
    """One line of the network.

    Attributes
    ----------
    function, struct : str
        The kernel and the type of its settings, as declared in C.
    family : str
        A key of `FAMILIES`; "" for what is no kernel.
    fields : mapping
        The settings: an int, an array (int8 or int32), or None for a pointer to nothing.
    """

    function: str
    struct: str
    family: str
    fields: Mapping[str, Numbers] = field(default_factory=dict)


def refusals(graph: Graph) -> list[str]:
    """A line for each value and node that has no C form, so that all are told at once; empty where everything has.

    >>> refusals(Graph((Value("x", (1, 2), np.dtype(np.float32)),), (), ("x",)))
    ["input 'x' is float32"]
    """
    found = [f"input {value.name!r} is {value.dtype}" for value in graph.inputs if value.dtype != np.int8]
    for node in graph:
        inputs = [graph.value(name) for name in node.inputs]
        what = f"{node.op} {node.name!r}"
        if node.op not in _CALLS and node.op not in ("CONSTANT", "RESHAPE"):
            found.append(what)
        elif any(value.dtype != np.int8 for value in inputs):
            found.append(f"{what} of {inputs[0].dtype}")
        elif node.op == "SOFTMAX" and node.shape[-1] > MOST_CLASSES:
            found.append(f"{what} of {node.shape[-1]} classes (at most {MOST_CLASSES}; take the argmax of the logits)")
        elif "stride" in node.attrs and _reach(node, inputs[0]) > FARTHEST:
            found.append(f"{what} with a window over more than {FARTHEST} cells")
    return found


def _reach(node: Node, x: Value) -> int:
    """A bound of every coordinate and count that the loops over a window meet."""
    window = node.attrs.get("filter") or node.params["weight"].shape[1:3]
    sizes = (*x.shape[1:3], *node.shape[1:3])
    spread = [k * d for k, d in zip(window, node.attrs.get("dilation", (1, 1)))]
    return max(prod(window), max(sizes) * max(node.attrs["stride"]) + max(spread))


def call_of(node: Node, inputs: Sequence[Value]) -> KernelCall:
    """The call of one node, CONSTANT aside, which is data.

    >>> from tinyquant.numerics.qparams import QParams
    >>> node = Node("t", "TRANSPOSE", ("x",), (3, 2), {"perm": (1, 0)}, qparams=QParams(1, 0), dtype=np.int8)
    >>> call = call_of(node, [Value("x", (2, 3), np.dtype(np.int8), QParams(1, 0))])
    >>> call.function, call.fields["shape"].tolist(), call.fields["stride"].tolist()
    ('tq_transpose', [3, 2], [1, 3])
    """
    if node.op == "RESHAPE":
        return KernelCall("memcpy", "", "")
    function, struct, family, fields = _CALLS[node.op]
    return KernelCall(f"tq_{function}", f"tq_{struct}_t", family, fields(node, inputs, prepare(node, inputs)))


# ---------------------------------------------------------------------------------------------------------------
# Settings, a function a structure


def _ints(numbers: Sequence[int]) -> np.ndarray:
    """An array for C; one without cells is not allowed there, and nobody reads the 0."""
    return np.array(list(numbers) or [0], np.int32)


def _scaled(arguments: Mapping[str, Any]) -> Fields:
    """Zero points, multiplier and clamp, where there is one of each."""
    return {
        "in_zero": arguments["input_zero_point"],
        "out_zero": arguments["output_zero_point"],
        "multiplier": arguments["multiplier"],
        "shift": arguments["shift"],
        **_clamped(arguments),
    }


def _clamped(arguments: Mapping[str, Any]) -> Fields:
    """The activation range."""
    return {"act_min": arguments["act_min"], "act_max": arguments["act_max"]}


def _layer(arguments: Mapping[str, Any], channels: int) -> Fields:
    """What all operators with weights have: a multiplier a channel, also where all are the same."""
    multiplier, shift = (np.broadcast_to(np.int32(arguments[key]), channels) for key in ("multiplier", "shift"))
    weights = {"weight": arguments["weight"], "bias": arguments["bias"], "multiplier": multiplier, "shift": shift}
    return {**_scaled(arguments), **weights}


def _convolution(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV."""
    before = arguments["offset"] if "offset" in arguments else [pair[0] for pair in arguments["padding"]]
    kernel = arguments["weight"].shape
    dilation = arguments.get("dilation", (1, 1))
    return {
        **_image(inputs[0], "in_channels"),
        **dict(zip(("out_height", "out_width", "out_channels"), node.shape[1:])),
        **dict(zip(("kernel_height", "kernel_width"), kernel[1:3])),
        "kernel_depth": 1 if node.op == "DEPTHWISE_CONV_2D" else kernel[3],
        **dict(zip(("stride_y", "stride_x", "dilation_y", "dilation_x"), (*arguments["stride"], *dilation))),
        **dict(zip(("top", "left"), before)),
        **_layer(arguments, node.shape[3]),
    }


def _image(value: Value, channels: str) -> Fields:
    """The shape of an image."""
    return dict(zip(("batch", "in_height", "in_width", channels), value.shape))


def _fully_connected(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """FULLY_CONNECTED."""
    units, depth = arguments["weight"].shape
    return {"rows": prod(inputs[0].shape) // depth, "depth": depth, "units": units, **_layer(arguments, units)}


def _pool(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """AVERAGE_POOL_2D, MAX_POOL_2D."""
    window = (*arguments["window"], *arguments["stride"], *(pair[0] for pair in arguments["padding"]))
    return {
        **_image(inputs[0], "channels"),
        "out_height": node.shape[1],
        "out_width": node.shape[2],
        **dict(zip(("window_height", "window_width", "stride_y", "stride_x", "top", "left"), window)),
        **_clamped(arguments),
    }


def _strides(shape: Sequence[int]) -> list[int]:
    """How many cells apart neighbours along each axis lie."""
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _merged(shape: Sequence[int], *strides: Sequence[int]) -> list[np.ndarray]:
    """The same walk with as few axes as can be: those of one cell go, neighbours that are one run become one axis."""
    axes: list[tuple[int, ...]] = []
    for size, *steps in zip(shape, *strides):
        if size == 1:
            continue
        if axes and all(outer == size * inner for outer, inner in zip(axes[-1][1:], steps)):
            axes[-1] = (axes[-1][0] * size, *steps)
        else:
            axes.append((size, *steps))
    return [_ints(column) for column in zip(*(axes or [(1, *(0 for _ in strides))]))]


def _broadcast_strides(value: Value, shape: Sequence[int]) -> list[int]:
    """A value's strides along the axes of a shape it broadcasts to."""
    padded = (1,) * (len(shape) - len(value.shape)) + value.shape
    return [0 if size == 1 else step for size, step in zip(padded, _strides(padded))]


def _binary(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """ADD, SUB, MUL."""
    shape, first, second = _merged(node.shape, *(_broadcast_strides(value, node.shape) for value in inputs))
    fields: Fields = {"cells": prod(node.shape), "rank": len(shape), "shape": shape, "stride1": first, "stride2": second}
    names = {"zero": "input_zero_points", "multiplier": "input_multipliers", "shift": "input_shifts"}
    for number in (1, 2):
        fields |= {f"{key}{number}": arguments[name][number - 1] for key, name in names.items() if name in arguments}
    numbers = {"out_zero": arguments["output_zero_point"], "multiplier": arguments["multiplier"], "shift": arguments["shift"]}
    return {**fields, **numbers, **_clamped(arguments)}


def _concatenation(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """CONCATENATION."""
    axis = arguments["axis"] % len(node.shape)
    lengths = _ints([prod(value.shape[axis:]) for value in inputs])
    return {"count": len(inputs), "outer": prod(node.shape[:axis]), "length": lengths, **_clamped(arguments)}


def _pad(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """PAD, PADV2."""
    return {
        "cells": prod(node.shape),
        "rank": len(node.shape),
        "shape": _ints(node.shape),
        "before": _ints([before for before, _ in arguments["paddings"]]),
        "in_shape": _ints(inputs[0].shape),
        "fill": arguments["fill"],
    }


def _transpose(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """TRANSPOSE."""
    steps = _strides(inputs[0].shape)
    shape, stride = _merged(node.shape, [steps[axis] for axis in arguments["perm"]])
    return {"cells": prod(node.shape), "rank": len(shape), "shape": shape, "stride": stride}


def _reduction(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """MEAN, SUM: the axes that stay and the axes that go, each with their strides."""
    sizes, steps = inputs[0].shape, _strides(inputs[0].shape)
    gone = arguments["axis"]
    kept = [axis for axis in range(len(sizes)) if axis not in gone]
    shape, stride = _merged([sizes[axis] for axis in kept], [steps[axis] for axis in kept])
    reduced_shape, reduced_stride = _merged([sizes[axis] for axis in gone], [steps[axis] for axis in gone])
    return {
        "cells": prod(node.shape),
        "rank": len(shape),
        "shape": shape,
        "stride": stride,
        "count": arguments["count"],
        "reduced_rank": len(reduced_shape),
        "reduced_shape": reduced_shape,
        "reduced_stride": reduced_stride,
        **_scaled(arguments),
    }


def _pointwise(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """RELU, RELU_N1_TO_1, QUANTIZE of codes."""
    return {"cells": prod(node.shape), **_scaled(arguments)}


def _leaky(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """LEAKY_RELU."""
    (above, below), (shift, shift_below) = arguments["multipliers"], arguments["shifts"]
    scaled = _scaled({**arguments, "multiplier": above, "shift": shift})
    return {"cells": prod(node.shape), **scaled, "multiplier_below": below, "shift_below": shift_below}


def _sigmoid(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """LOGISTIC, TANH; no difference of codes reaches 256, so a larger radius is as good as that."""
    return {
        "cells": prod(node.shape),
        "in_zero": arguments["input_zero_point"],
        "multiplier": arguments["multiplier"],
        "shift": arguments["shift"],
        "radius": min(arguments["radius"], 256),
    }


def _softmax(node: Node, inputs: Sequence[Value], arguments: Mapping[str, Any]) -> Fields:
    """SOFTMAX; no difference of codes reaches -256."""
    return {
        "rows": prod(node.shape[:-1]),
        "classes": node.shape[-1],
        "multiplier": arguments["multiplier"],
        "shift": arguments["shift"],
        "difference_min": max(arguments["difference_min"], -256),
    }


_CALLS: Mapping[str, tuple[str, str, str, Callable[[Node, Sequence[Value], Mapping[str, Any]], Fields]]] = {
    "CONV_2D": ("conv_2d", "convolution", "convolution", _convolution),
    "DEPTHWISE_CONV_2D": ("depthwise_conv_2d", "convolution", "convolution", _convolution),
    "TRANSPOSE_CONV": ("transpose_conv", "convolution", "convolution", _convolution),
    "FULLY_CONNECTED": ("fully_connected", "fully_connected", "fully_connected", _fully_connected),
    "ADD": ("add", "binary", "elementwise", _binary),
    "SUB": ("sub", "binary", "elementwise", _binary),
    "MUL": ("mul", "binary", "elementwise", _binary),
    "CONCATENATION": ("concatenation", "concatenation", "layout", _concatenation),
    "AVERAGE_POOL_2D": ("average_pool_2d", "pool", "pooling", _pool),
    "MAX_POOL_2D": ("max_pool_2d", "pool", "pooling", _pool),
    "MEAN": ("reduce_sum", "reduction", "reduction", _reduction),
    "SUM": ("reduce_sum", "reduction", "reduction", _reduction),
    "PAD": ("pad", "pad", "layout", _pad),
    "PADV2": ("pad", "pad", "layout", _pad),
    "TRANSPOSE": ("transpose", "transpose", "layout", _transpose),
    "RELU": ("rescale_codes", "pointwise", "pointwise", _pointwise),
    "RELU6": ("clamp_codes", "pointwise", "pointwise", lambda node, inputs, a: {"cells": prod(node.shape), **_clamped(a)}),
    "RELU_N1_TO_1": ("rescale_codes", "pointwise", "pointwise", _pointwise),
    "LEAKY_RELU": ("leaky_relu", "pointwise", "pointwise", _leaky),
    "LOGISTIC": ("logistic", "sigmoid", "sigmoid", _sigmoid),
    "TANH": ("tanh", "sigmoid", "sigmoid", _sigmoid),
    "SOFTMAX": ("softmax", "softmax", "softmax", _softmax),
    "QUANTIZE": ("rescale_codes", "pointwise", "pointwise", _pointwise),
}
"""operator -> function, structure, file, and what fills the structure."""
