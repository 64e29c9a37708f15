"""The three networks that everything is tried on: a perceptron, a residual net, a depthwise-separable net.

They stand for the three cases quantization meets: plain matrices (easy), sums of two branches that must share a grid
(residual), and layers whose channels have ranges of their own (depthwise). All return logits and are made only of
layers that capture knows.

    mlp         flatten, fc1, relu1, ..., head
    resnet      stem, block1 to block3 of two 3x3 convolutions and a shortcut each, pool, head     (ResNet-8)
    mobilenet   stem, blocks of one depthwise 3x3 and one pointwise 1x1 convolution, pool, head    (MobileNet v1)

With this module one can build them for 8x8 digits or in their MLPerf Tiny sizes, read how they are trained (`RECIPES`),
and load them trained (`load_checkpoint`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypedDict

from tinyquant.autograd import Tensor
from tinyquant.nn import (
    Add,
    BatchNorm2d,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    Module,
    ReLU,
    Sequential,
    load_state,
)
from tinyquant.numerics.seeds import Seed, generator

Plan = tuple[tuple[int, int], ...]
CHECKPOINTS = Path(__file__).parent / "checkpoints"


class Recipe(TypedDict):
    """Arguments of `fit`."""

    epochs: int
    optimizer: str
    lr: float
    batch_size: int
    weight_decay: float
    schedule: str | None
    augment: str | None


RECIPES: dict[str, Recipe] = {
    "mlp": {
        "epochs": 60, "optimizer": "adam", "lr": 0.005, "batch_size": 64,
        "weight_decay": 0.0, "schedule": "cosine", "augment": None,
    },
    "resnet": {
        "epochs": 15, "optimizer": "sgd", "lr": 0.2, "batch_size": 64,
        "weight_decay": 1e-3, "schedule": "cosine", "augment": "shift",
    },
    "mobilenet": {
        "epochs": 24, "optimizer": "sgd", "lr": 0.3, "batch_size": 64,
        "weight_decay": 1e-3, "schedule": "cosine", "augment": "shift",
    },
}  # fmt: skip
"""How each network learns the digits: `fit(model, x, y, **RECIPES["resnet"])`. A one-pixel shift is worth more to the
convolutional nets than to the perceptron, which has no notion of a neighbour and only gets a harder task."""

STEM_STRIDE = {"digits": 1, "mlperf_tiny": 2}
MOBILENET_BLOCKS: dict[str, Plan] = {
    # (outputs in units of the width, stride) of each block
    "digits": ((2, 1), (4, 2), (4, 1), (8, 2)),
    "mlperf_tiny": ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *((16, 1),) * 5, (32, 2), (32, 1)),
}


def mlp(
    inputs: int | tuple[int, ...] = (8, 8, 1), hidden: tuple[int, ...] = (64, 32), classes: int = 10, *, seed: Seed = 0
) -> Sequential:
    """Build a multilayer perceptron: linear layers with ReLU between them.

    Parameters
    ----------
    inputs : int >= 1 or tuple
        Features of a row, or the shape of an image, which is then flattened first.
    hidden : tuple of int >= 1
        Outputs of each hidden layer.
    classes : int >= 1
    seed : int or numpy Generator

    Returns
    -------
    Sequential
        (N, inputs) or (N, *image) -> logits (N, classes); children flatten, fc1, relu1, ..., head.

    Examples
    --------
    >>> [name for name, _ in mlp(30, (16,), classes=2).named_modules()]
    ['', 'fc1', 'relu1', 'head']
    """
    rng = generator(seed)
    layers: dict[str, Module] = {} if isinstance(inputs, int) else {"flatten": Flatten()}
    features = inputs if isinstance(inputs, int) else math.prod(inputs)
    for k, outputs in enumerate(hidden, start=1):
        layers[f"fc{k}"] = Linear(features, outputs, seed=rng)
        layers[f"relu{k}"] = ReLU()
        features = outputs
    layers["head"] = Linear(features, classes, seed=rng)
    return Sequential(layers)


class ConvBlock(Module):
    """Convolution, batch norm, ReLU: the stem of both convolutional networks."""

    def __init__(self, inputs: int, outputs: int, stride: int, seed: Seed) -> None:
        self.conv = Conv2d(inputs, outputs, 3, stride=stride, padding="same", bias=False, seed=seed)
        self.bn = BatchNorm2d(outputs)
        self.relu = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, inputs) -> (N, H / stride, W / stride, outputs)."""
        return self.relu(self.bn(self.conv(x)))


class ResidualBlock(Module):
    """y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)); a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, seed: Seed) -> None:
        rng = generator(seed)
        self.conv1 = Conv2d(inputs, outputs, 3, stride=stride, padding="same", bias=False, seed=rng)
        self.bn1 = BatchNorm2d(outputs)
        self.relu1 = ReLU()
        self.conv2 = Conv2d(outputs, outputs, 3, padding="same", bias=False, seed=rng)
        self.bn2 = BatchNorm2d(outputs)
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = Conv2d(inputs, outputs, 1, stride=stride, padding="same", seed=rng)
        self.add = Add()
        self.relu2 = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, inputs) -> (N, H / stride, W / stride, outputs)."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(self.add(y, x if self.shortcut is None else self.shortcut(x)))


class SeparableBlock(Module):
    """A depthwise 3x3 and a pointwise 1x1 convolution, each with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, seed: Seed) -> None:
        rng = generator(seed)
        self.dw = DepthwiseConv2d(inputs, 3, stride=stride, padding="same", bias=False, seed=rng)
        self.bn1 = BatchNorm2d(inputs)
        self.relu1 = ReLU()
        self.pw = Conv2d(inputs, outputs, 1, bias=False, seed=rng)
        self.bn2 = BatchNorm2d(outputs)
        self.relu2 = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, inputs) -> (N, H / stride, W / stride, outputs)."""
        x = self.relu1(self.bn1(self.dw(x)))
        return self.relu2(self.bn2(self.pw(x)))


def resnet(
    size: str = "digits", *, channels: int | None = None, classes: int = 10, width: int = 16, seed: Seed = 0
) -> Sequential:
    """Build ResNet-8: a stem, three residual blocks of width, 2 width and 4 width channels, a global pool, a linear head.

    Parameters
    ----------
    size : {"digits", "mlperf_tiny"}
        What the images are: 8x8 with 1 channel, or 32x32 with 3 (the MLPerf Tiny image classification network, CIFAR-10).
        The layers are the same: the network is convolutional up to its global pool.
    channels : int >= 1 or None
        Channels of the images, where they are not those of `size`.
    classes, width : int >= 1
    seed : int or numpy Generator

    Returns
    -------
    Sequential
        (N, H, W, channels) -> logits (N, classes). Children stem, block1, block2, block3, pool, head; their layers are
        stem.conv, stem.bn, stem.relu, block1.conv1, block1.bn1, block1.relu1, block1.conv2, block1.bn2, block1.add,
        block1.relu2, and block2.shortcut, block3.shortcut.

    Raises
    ------
    ValueError
        If size is unknown or a count is below 1.

    References
    ----------
    Banbury et al. 2021, "MLPerf Tiny benchmark", section 4 (image classification).

    Examples
    --------
    >>> model = resnet()
    >>> sum(p.size for p in model.parameters()), sum(p.size for p in resnet("mlperf_tiny").parameters())
    (77658, 77946)
    """
    _known(size)
    rng = generator(seed)
    channels = {"digits": 1, "mlperf_tiny": 3}[size] if channels is None else channels
    return Sequential(
        {
            "stem": ConvBlock(channels, width, 1, rng),
            "block1": ResidualBlock(width, width, 1, rng),
            "block2": ResidualBlock(width, 2 * width, 2, rng),
            "block3": ResidualBlock(2 * width, 4 * width, 2, rng),
            "pool": GlobalAvgPool2d(),
            "head": Linear(4 * width, classes, seed=rng),
        }
    )


def mobilenet(
    size: str = "digits",
    *,
    channels: int | None = None,
    classes: int | None = None,
    width: int | None = None,
    seed: Seed = 0,
) -> Sequential:
    """Build MobileNet v1: a stem, depthwise-separable blocks, a global pool, a linear head.

    Parameters
    ----------
    size : {"digits", "mlperf_tiny"}
        "digits": four blocks for 8x8 images with 1 channel, 10 classes, width 16. "mlperf_tiny": the thirteen blocks of
        MobileNet v1 at a quarter of its width (8) for 96x96 images with 3 channels, 2 classes (visual wake words).
    channels, classes, width : int >= 1 or None
        In place of those of `size`.
    seed : int or numpy Generator

    Returns
    -------
    Sequential
        (N, H, W, channels) -> logits (N, classes). Children stem, block1, ..., pool, head; the layers of a block are
        block1.dw, block1.bn1, block1.relu1, block1.pw, block1.bn2, block1.relu2.

    Raises
    ------
    ValueError
        If size is unknown or a count is below 1.

    References
    ----------
    Howard et al. 2017, "MobileNets", table 1; Banbury et al. 2021, "MLPerf Tiny benchmark", section 4.

    Examples
    --------
    >>> [sum(p.size for p in mobilenet(size).parameters()) for size in ("digits", "mlperf_tiny")]
    [18826, 213586]
    """
    _known(size)
    rng = generator(seed)
    tiny = size == "mlperf_tiny"
    channels = (3 if tiny else 1) if channels is None else channels
    classes = (2 if tiny else 10) if classes is None else classes
    width = (8 if tiny else 16) if width is None else width
    blocks: dict[str, Module] = {"stem": ConvBlock(channels, width, STEM_STRIDE[size], rng)}
    inputs = width
    for k, (factor, stride) in enumerate(MOBILENET_BLOCKS[size], start=1):
        blocks[f"block{k}"] = SeparableBlock(inputs, factor * width, stride, rng)
        inputs = factor * width
    return Sequential(blocks | {"pool": GlobalAvgPool2d(), "head": Linear(inputs, classes, seed=rng)})


def load_checkpoint(name: str) -> Sequential:
    """Load a network that was trained on the training part of digits, split 0, in its "digits" size.

    The files were made once by `python -m tinyquant.checkpoints` and travel with the package, so that a figure or a test
    that needs a trained network starts from the same bytes everywhere; training anew gives other bytes on another
    processor.

    Parameters
    ----------
    name : {"mlp", "resnet", "mobilenet"}

    Returns
    -------
    Sequential
        In eval mode; the caller's own.

    Raises
    ------
    ValueError
        If there is no such network, or its file is damaged.
    FileNotFoundError
        If its file is missing.

    Examples
    --------
    >>> import numpy as np
    >>> model = load_checkpoint("mlp")
    >>> model(Tensor(np.zeros((1, 8, 8, 1)))).shape, model.training
    ((1, 10), False)
    """
    model = build(name)
    load_state(model, CHECKPOINTS / f"{name}.npz")
    return model.eval()


def build(name: str, *, seed: Seed = 0) -> Sequential:
    """Build one of the three networks for the digits, by its name in `RECIPES`, not trained.

    Parameters
    ----------
    name : {"mlp", "resnet", "mobilenet"}
    seed : int or numpy Generator

    Raises
    ------
    ValueError
        If there is no such network.

    Examples
    --------
    >>> len(build("mobilenet"))
    7
    """
    if name == "mlp":
        return mlp(seed=seed)
    if name == "resnet":
        return resnet(seed=seed)
    if name == "mobilenet":
        return mobilenet(seed=seed)
    raise ValueError(f"name must be one of {', '.join(RECIPES)}, got {name!r}. Call a builder yourself for other sizes.")


def _known(size: str) -> None:
    """Refuse a size nobody planned."""
    if size not in MOBILENET_BLOCKS:
        raise ValueError(f'size must be "digits" or "mlperf_tiny", got {size!r}. Set channels, classes and width for others.')
