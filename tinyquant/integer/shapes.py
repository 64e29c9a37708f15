"""What shape an operator makes of its inputs' shapes, and whether it may take them at all.

A graph declares a shape for every node; a file may declare anything. With this module one can work out the true one
(`output_shape`) and refuse, with the reason, inputs that do not fit the operator.

References: TFLite `kernels/padding.h` for windows; numpy's broadcasting rule for ADD, SUB and MUL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from tinyquant.graph import Node, window_count

__all__ = ["output_shape"]

Shape = tuple[int, ...]


def output_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """The shape of the node's output for inputs of these shapes (TRANSPOSE_CONV: the declared size, once it is proved legal).

    Raises
    ------
    ValueError
        The inputs, the weights or the settings do not fit together; the message says which number and not which node.

    Examples
    --------
    >>> node = Node("pool", "MAX_POOL_2D", ("x",), (1, 2, 2, 8), {"filter": 2, "stride": 2})
    >>> output_shape(node, [(1, 5, 5, 8)])
    (1, 2, 2, 8)
    """
    return _RULES[node.op](node, shapes)


def _same(node: Node, shapes: Sequence[Shape]) -> Shape:
    """One input, its own shape."""
    return tuple(shapes[0])


def _constant(node: Node, shapes: Sequence[Shape]) -> Shape:
    """The stored array's."""
    if "value" not in node.params:
        raise ValueError('a CONSTANT must own the parameter "value", got none')
    return node.params["value"].shape


def _weight(node: Node, rank: int) -> np.ndarray:
    """The weight array, of the right rank and not empty."""
    weight = node.params.get("weight")
    if weight is None or weight.ndim != rank or 0 in weight.shape:
        raise ValueError(f"weight must be an array of {rank} axes with cells, got {None if weight is None else weight.shape}")
    return weight


def _image(shape: Shape) -> Shape:
    """[N, H, W, C], checked."""
    if len(shape) != 4 or 0 in shape[1:]:
        raise ValueError(f"the input must be [N, H, W, C] with cells, got {shape}")
    return shape


def _windows(node: Node, shape: Shape, window: Sequence[int]) -> tuple[int, int]:
    """Window positions down and across; at least one of each."""
    dilation = node.attrs.get("dilation", (1, 1))
    down, across = (
        window_count(size, k, s, d, node.attrs["padding"])
        for size, k, s, d in zip(shape[1:3], window, node.attrs["stride"], dilation)
    )
    if not (down and across):
        raise ValueError(f"the {window[0]}x{window[1]} window must fit into the image, got {shape[1]}x{shape[2]} cells")
    return down, across


def _conv(node: Node, shapes: Sequence[Shape]) -> Shape:
    """[N, OH, OW, O]; the weight's last axis says how many groups there are."""
    shape, weight = _image(shapes[0]), _weight(node, 4)
    outputs, depth = weight.shape[0], weight.shape[3]
    if shape[3] % depth or outputs % (shape[3] // depth):
        raise ValueError(
            f"input channels must be a multiple of the weight's last axis and the groups must divide its first, "
            f"got {shape[3]} channels and weight {weight.shape}"
        )
    return (shape[0], *_windows(node, shape, weight.shape[1:3]), outputs)


def _depthwise(node: Node, shapes: Sequence[Shape]) -> Shape:
    """[N, OH, OW, I * m]."""
    shape, weight = _image(shapes[0]), _weight(node, 4)
    outputs = shape[3] * node.attrs["depth_multiplier"]
    if weight.shape[0] != 1 or weight.shape[3] != outputs:
        raise ValueError(f"weight must be [1, kh, kw, {outputs}] (channels x depth_multiplier), got {weight.shape}")
    return (shape[0], *_windows(node, shape, weight.shape[1:3]), outputs)


def _transpose_conv(node: Node, shapes: Sequence[Shape]) -> Shape:
    """The declared one, if the forward convolution makes the input's size of it."""
    shape, weight = _image(shapes[0]), _weight(node, 4)
    if weight.shape[3] != shape[3]:
        raise ValueError(f"the weight's last axis must be the {shape[3]} input channels, got weight {weight.shape}")
    declared = _image(node.shape)
    if _windows(node, declared, weight.shape[1:3]) != shape[1:3]:
        raise ValueError(
            f"a convolution with this window, stride and padding must bring the output {declared} back to the input's "
            f"{shape[1]}x{shape[2]} cells, got {_windows(node, declared, weight.shape[1:3])}"
        )
    return (shape[0], *declared[1:3], weight.shape[0])


def _fully_connected(node: Node, shapes: Sequence[Shape]) -> Shape:
    """[rows, U], or the leading axes kept."""
    units, depth = _weight(node, 2).shape
    shape = shapes[0]
    if node.attrs["keep_num_dims"]:
        if not shape or shape[-1] != depth:
            raise ValueError(f"the input's last axis must be the weight's {depth} columns (keep_num_dims), got {shape}")
        return (*shape[:-1], units)
    if prod(shape) % depth:
        raise ValueError(f"the input must be rows of {depth} cells, the weight's columns, got {shape}")
    return (prod(shape) // depth, units)


def _broadcast(node: Node, shapes: Sequence[Shape]) -> Shape:
    """numpy's rule."""
    return np.broadcast_shapes(*shapes)


def _axis(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis must lie in [{-rank}, {rank - 1}], got {axis}")
    return axis % rank


def _concatenation(node: Node, shapes: Sequence[Shape]) -> Shape:
    """The lengths along the axis add up."""
    axis = _axis(node.attrs["axis"], len(shapes[0]))
    first = shapes[0]
    if any(len(s) != len(first) or s[:axis] + s[axis + 1 :] != first[:axis] + first[axis + 1 :] for s in shapes):
        raise ValueError(f"the inputs must have equal shapes but for axis {axis}, got {', '.join(map(str, shapes))}")
    return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])


def _pool(node: Node, shapes: Sequence[Shape]) -> Shape:
    """[N, OH, OW, C]."""
    shape = _image(shapes[0])
    return (shape[0], *_windows(node, shape, node.attrs["filter"]), shape[3])


def _reduction(node: Node, shapes: Sequence[Shape]) -> Shape:
    """Reduced axes vanish, or have length 1."""
    axes = {_axis(axis, len(shapes[0])) for axis in node.attrs["axis"]}
    if prod(shapes[0]) == 0:
        raise ValueError(f"the input must have cells to reduce, got {shapes[0]}")
    if node.attrs["keep_dims"]:
        return tuple(1 if i in axes else n for i, n in enumerate(shapes[0]))
    return tuple(n for i, n in enumerate(shapes[0]) if i not in axes)


def _pad(node: Node, shapes: Sequence[Shape]) -> Shape:
    """Longer by what is put before and after."""
    paddings = node.attrs["paddings"]
    if len(paddings) != len(shapes[0]):
        raise ValueError(f"paddings must have a (before, after) pair for each of {len(shapes[0])} axes, got {len(paddings)}")
    return tuple(n + before + after for n, (before, after) in zip(shapes[0], paddings))


def _reshape(node: Node, shapes: Sequence[Shape]) -> Shape:
    """new_shape, one -1 worked out."""
    wanted, count = node.attrs["new_shape"], prod(shapes[0])
    known = prod(n for n in wanted if n != -1)
    if wanted.count(-1) == 1 and known > 0 and count % known == 0:
        wanted = tuple(count // known if n == -1 else n for n in wanted)
    if any(n < 0 for n in wanted) or prod(wanted) != count:
        raise ValueError(f"new_shape must hold the input's {count} cells, got {node.attrs['new_shape']}")
    return wanted


def _transpose(node: Node, shapes: Sequence[Shape]) -> Shape:
    """The axes in the order of perm."""
    perm = node.attrs["perm"]
    if sorted(perm) != list(range(len(shapes[0]))):
        raise ValueError(f"perm must name each of {len(shapes[0])} axes once, got {perm}")
    return tuple(shapes[0][axis] for axis in perm)


def _softmax(node: Node, shapes: Sequence[Shape]) -> Shape:
    """Its own shape; there must be classes."""
    if not shapes[0] or shapes[0][-1] == 0:
        raise ValueError(f"the input must have a last axis of classes, got {shapes[0]}")
    return tuple(shapes[0])


_RULES: Mapping[str, Callable[[Node, Sequence[Shape]], Shape]] = {
    "CONSTANT": _constant,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    "ADD": _broadcast,
    "SUB": _broadcast,
    "MUL": _broadcast,
    "CONCATENATION": _concatenation,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "MEAN": _reduction,
    "SUM": _reduction,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "TRANSPOSE": _transpose,
    "RELU": _same,
    "RELU6": _same,
    "RELU_N1_TO_1": _same,
    "LEAKY_RELU": _same,
    "LOGISTIC": _same,
    "TANH": _same,
    "SOFTMAX": _softmax,
    "QUANTIZE": _same,
    "DEQUANTIZE": _same,
}
