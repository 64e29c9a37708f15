"""The networks that are raced: one definition, from which both ours and PyTorch's are built, with equal weights.

A net is a list of layers as tuples, the first word saying which:

    ("conv", outputs, kernel, stride, padding, bias)    ("depthwise", kernel, stride, padding, bias)
    ("norm",)  ("relu",)  ("pool", size)  ("mean",)  ("flatten",)  ("linear", outputs)

With this module one can build any of `NETS` for either side (`ours`, `theirs`), make the two equal (`same_weights`)
and give them something to learn (`batch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyquant import nn

Layer = tuple[Any, ...]


@dataclass(frozen=True)
class Net:
    """Input shape without the batch axis, (features,) or (H, W, C); usual batch size; layers."""

    input: tuple[int, ...]
    batch: int
    layers: tuple[Layer, ...]


def _block(outputs: int, stride: int) -> tuple[Layer, ...]:
    """The separable block of a MobileNet: depthwise 3 x 3, then 1 x 1, each with batch norm and ReLU."""
    return (("depthwise", 3, stride, 1, False), ("norm",), ("relu",),
            ("conv", outputs, 1, 1, 0, False), ("norm",), ("relu",))  # fmt: skip


_TWO_CONVS = (("conv", 16, 3, 1, 1, True), ("relu",), ("pool", 2), ("conv", 32, 3, 1, 1, True), ("relu",), ("pool", 2),
              ("flatten",), ("linear", 10))  # fmt: skip

NETS = {
    "mlp": Net((64,), 32, (("linear", 64), ("relu",), ("linear", 10))),
    "cnn8": Net((8, 8, 1), 64, _TWO_CONVS),
    "cnn28": Net((28, 28, 1), 64, _TWO_CONVS),
    "mobilenet": Net((32, 32, 3), 64, (
        ("conv", 16, 3, 1, 1, False), ("norm",), ("relu",),
        *_block(32, 1), *_block(64, 2), *_block(128, 2), *_block(128, 1), ("mean",), ("linear", 10),
    )),
}  # fmt: skip


def ours(net: Net, seed: int = 0) -> nn.Sequential:
    """The net of tinyquant layers."""
    layers: list[nn.Module] = []
    shape = net.input
    for kind, *arguments in net.layers:
        shape, channels = _next_shape(shape, kind, arguments), shape[-1]
        if kind == "conv":
            outputs, kernel, stride, padding, bias = arguments
            layers.append(nn.Conv2d(channels, outputs, kernel, stride, padding, bias=bias, seed=seed))
        elif kind == "depthwise":
            kernel, stride, padding, bias = arguments
            layers.append(nn.DepthwiseConv2d(channels, kernel, stride, padding, bias=bias, seed=seed))
        elif kind == "linear":
            layers.append(nn.Linear(channels, arguments[0], seed=seed))
        else:
            layers.append(_plain_layer(nn, kind, channels, arguments))
        seed += 1
    return nn.Sequential(*layers)


def theirs(net: Net) -> Any:
    """The same net of PyTorch layers, on NCHW images."""
    from torch import nn as torch_nn

    layers: list[Any] = []
    shape = net.input
    for kind, *arguments in net.layers:
        shape, channels = _next_shape(shape, kind, arguments), shape[-1]
        if kind == "conv":
            outputs, kernel, stride, padding, bias = arguments
            layers.append(torch_nn.Conv2d(channels, outputs, kernel, stride, padding, bias=bias))
        elif kind == "depthwise":
            kernel, stride, padding, bias = arguments
            layers.append(torch_nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=bias))
        elif kind == "linear":
            layers.append(torch_nn.Linear(channels, arguments[0]))
        elif kind == "mean":
            layers += [torch_nn.AdaptiveAvgPool2d(1), torch_nn.Flatten()]
        else:
            layers.append(_plain_layer(torch_nn, kind, channels, arguments))
    return torch_nn.Sequential(*layers)


def _plain_layer(layers: Any, kind: str, channels: int, arguments: list[Any]) -> Any:
    """The layers that have the same name on both sides; `mean` is ours alone."""
    if kind == "norm":
        return layers.BatchNorm2d(channels)
    if kind == "pool":
        return layers.MaxPool2d(*arguments)
    return {"relu": layers.ReLU, "flatten": layers.Flatten, "mean": getattr(layers, "GlobalAvgPool2d", None)}[kind]()


def same_weights(net: Net, mine: nn.Sequential, other: Any) -> None:
    """Copy our weights into the PyTorch net, turned to its layout."""
    import torch

    with torch.no_grad():
        for (_, source), (_, target) in zip(mine.named_parameters(), other.named_parameters()):
            array = source.data
            if array.ndim == 4:
                # (1, KH, KW, C) -> (C, 1, KH, KW), or (O, KH, KW, I) -> (O, I, KH, KW).
                depthwise = array.shape[0] == 1 and tuple(target.shape[:2]) == (array.shape[3], 1)
                array = array.transpose(3, 0, 1, 2) if depthwise else array.transpose(0, 3, 1, 2)
            elif array.ndim == 2 and array.shape[1] != net.input[-1] and len(net.input) == 3:
                array = _columns_as_nchw(net, array)
            target.copy_(torch.tensor(np.ascontiguousarray(array)))


def batch(net: Net, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random images in [0, 1) and labels."""
    rng = np.random.default_rng(seed)
    return rng.random((size, *net.input), dtype=np.float32), rng.integers(0, 10, size)


def _next_shape(shape: tuple[int, ...], kind: str, arguments: list[Any]) -> tuple[int, ...]:
    """The shape behind a layer."""
    if kind in ("conv", "depthwise"):
        kernel, stride, padding = arguments[-4:-1]
        h, w = ((size + 2 * padding - kernel) // stride + 1 for size in shape[:2])
        return h, w, arguments[0] if kind == "conv" else shape[2]
    if kind == "pool":
        return shape[0] // arguments[0], shape[1] // arguments[0], shape[2]
    if kind == "mean":
        return shape[2:]
    if kind == "flatten":
        return (int(np.prod(shape)),)
    return (arguments[0],) if kind == "linear" else shape


def _columns_as_nchw(net: Net, weight: np.ndarray) -> np.ndarray:
    """The columns of a linear layer behind a flatten, from the order H, W, C to C, H, W."""
    shape = net.input
    for kind, *arguments in net.layers:
        if kind == "flatten":
            return weight.reshape(-1, *shape).transpose(0, 3, 1, 2).reshape(weight.shape)
        shape = _next_shape(shape, kind, arguments)
    return weight
