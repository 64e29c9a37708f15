"""Every differentiable operation with inputs to check it at, once: the gradient-check table.

A row is (name of the operation, function of tensors, input arrays). Inputs are float64, at least 1e-3 away from kinks
and ties; several rows an operation where its code takes several ways.
With this module one can run a law over all operations; `test_autograd_gradcheck.py` holds that none is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinyquant import autograd as F
from tinyquant.autograd import Tensor

Array = np.ndarray


class Row(NamedTuple):
    """One operation at one point."""

    op: str
    label: str
    fn: Callable[..., Tensor]
    arrays: tuple[Array, ...]


STRAIGHT_THROUGH = {
    "straight_through": "tests/test_autograd_surrogate.py",
    "fake_quantize": "tests/test_fake_quant.py",
    "learned_fake_quantize": "tests/test_learned_scale.py",
}
"""Operations whose gradient is, on purpose, not their slope: they have tests of their exact mask in these files."""

LABELS = np.array([0, 2, 1, 2])


def smooth(*shape: int, seed: int = 0) -> Array:
    """Normal numbers."""
    return np.random.default_rng(seed).normal(size=shape)


def off_kinks(*shape: int, kinks: tuple[float, ...] = (0.0,), seed: int = 0) -> Array:
    """Numbers between -8 and 8 at least 0.05 away from every kink."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-8, 8, shape)
    for kink in kinks:
        near = np.abs(x - kink) < 0.05
        x[near] = kink + np.where(x[near] < kink, -0.05, 0.05) + (x[near] - kink)
    return x


def distinct(*shape: int, seed: int = 0) -> Array:
    """Numbers 0.1 apart in random order: no two tie."""
    size = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(size) * 0.1 - 0.05 * size).reshape(shape)


def batch_norm(training: bool) -> Callable[..., Tensor]:
    """Batch norm with running statistics of its own, so that checking it does not change them."""
    return lambda x, gamma, beta: F.batch_norm(
        x, gamma, beta, np.full(3, 0.25), np.full(3, 1.5), training=training, eps=1e-3
    )


def dropout(training: bool) -> Callable[..., Tensor]:
    """Dropout that draws the same mask every time."""
    return lambda x: F.dropout(x, 0.4, training=training, rng=np.random.default_rng(5))


def conv(**settings: object) -> Callable[..., Tensor]:
    """conv2d with these settings."""
    return lambda x, w, *b: F.conv2d(x, w, *b, **settings)  # type: ignore[arg-type]


def depthwise(**settings: object) -> Callable[..., Tensor]:
    """depthwise_conv2d with these settings."""
    return lambda x, w, *b: F.depthwise_conv2d(x, w, *b, **settings)  # type: ignore[arg-type]


_positive = np.abs(smooth(3, 4)) + 0.5
_weights = np.array([0.5, 1.0, 2.0])

TABLE: list[Row] = [
    Row("add", "same shape", F.add, (smooth(2, 3), smooth(2, 3, seed=1))),
    Row("add", "broadcast", F.add, (smooth(2, 3), smooth(3, seed=1))),
    Row("sub", "broadcast both ways", F.sub, (smooth(2, 1), smooth(1, 3, seed=1))),
    Row("mul", "same shape", F.mul, (smooth(2, 3), smooth(2, 3, seed=1))),
    Row("mul", "broadcast", F.mul, (smooth(4, 1, 3), smooth(2, 1, seed=1))),
    Row("mul", "an input times itself", lambda x: x * x, (smooth(3),)),
    Row("div", "broadcast", F.div, (smooth(2, 3), np.abs(smooth(3, seed=1)) + 0.5)),
    Row("power", "square", lambda x: F.power(x, 2), (off_kinks(4),)),
    Row("power", "base and exponent", F.power, (_positive, smooth(4, seed=1))),
    Row("power", "exponent 0 and base 0", lambda x: F.power(x, np.array([0.0, 2.0], x.dtype)), (np.array([0.0, 0.0]),)),
    Row("neg", "", F.neg, (smooth(3),)),
    Row("exp", "", F.exp, (smooth(3, 2),)),
    Row("log", "", F.log, (_positive,)),
    Row("tanh", "", F.tanh, (smooth(5),)),
    Row("sigmoid", "", F.sigmoid, (off_kinks(6),)),
    Row("relu", "", F.relu, (off_kinks(4, 5),)),
    Row("relu6", "", F.relu6, (off_kinks(4, 5, kinks=(0.0, 6.0)),)),
    Row("leaky_relu", "", lambda x: F.leaky_relu(x, 0.2), (off_kinks(4, 5),)),
    Row("matmul", "matrices", F.matmul, (smooth(2, 3), smooth(3, 4, seed=1))),
    Row("matmul", "batches broadcast", F.matmul, (smooth(2, 1, 2, 3), smooth(4, 3, 2, seed=1))),
    Row("matmul", "vector times matrix", F.matmul, (smooth(3), smooth(3, 4, seed=1))),
    Row("matmul", "matrix times vector", F.matmul, (smooth(2, 3), smooth(3, seed=1))),
    Row("linear", "with bias", F.linear, (smooth(4, 3), smooth(2, 3, seed=1), smooth(2, seed=2))),
    Row("linear", "without bias, more axes", F.linear, (smooth(2, 4, 3), smooth(2, 3, seed=1))),
    Row("sum", "all", F.sum, (smooth(2, 3),)),
    Row("sum", "two axes kept", lambda x: F.sum(x, (0, -1), True), (smooth(2, 3, 4),)),
    Row("mean", "all", F.mean, (smooth(2, 3),)),
    Row("mean", "one axis", lambda x: F.mean(x, 1), (smooth(2, 3, 4),)),
    Row("max", "all", F.max, (distinct(2, 3),)),
    Row("max", "two axes", lambda x: F.max(x, (0, 2)), (distinct(2, 3, 4),)),
    Row("reshape", "", lambda x: F.reshape(x, (3, -1)), (smooth(2, 6),)),
    Row("transpose", "", lambda x: F.transpose(x, (2, 0, 1)), (smooth(2, 3, 4),)),
    Row("pad", "", lambda x: F.pad(x, ((1, 0), (0, 2))), (smooth(2, 3),)),
    Row("getitem", "slices", lambda x: x[1:, ::-2, None], (smooth(3, 4),)),
    Row("getitem", "a cell twice", lambda x: x[np.array([0, 2, 0])], (smooth(3, 2),)),
    Row("getitem", "mask", lambda x: x[np.array([True, False, True])], (smooth(3, 2),)),
    Row("concat", "", lambda x, y, z: F.concat([x, y, z], 1), (smooth(2, 1), smooth(2, 3, seed=1), smooth(2, 2, seed=2))),
    Row("softmax", "", F.softmax, (smooth(2, 3, 4),)),
    Row("log_softmax", "", F.log_softmax, (smooth(3, 4),)),
    Row("cross_entropy", "plain", lambda z: F.cross_entropy(z, LABELS), (smooth(4, 3),)),
    Row("cross_entropy", "weights", lambda z: F.cross_entropy(z, LABELS, _weights), (smooth(4, 3),)),
    Row("cross_entropy", "both", lambda z: F.cross_entropy(z, LABELS, _weights, 0.2), (smooth(4, 3),)),
    Row("mse_loss", "", F.mse_loss, (smooth(2, 3), smooth(2, 3, seed=1))),
    Row("dropout", "training", dropout(True), (smooth(4, 5),)),
    Row("dropout", "eval", dropout(False), (smooth(4, 5),)),
    Row("conv2d", "small image", conv(padding=1), (smooth(2, 4, 4, 5), smooth(2, 3, 3, 5, seed=1), smooth(2, seed=2))),
    Row("conv2d", "few channels", conv(padding="same", stride=2), (smooth(1, 5, 6, 2), smooth(3, 3, 2, 2, seed=1))),
    Row("conv2d", "large image", conv(padding=1), (smooth(1, 9, 9, 5), smooth(1, 3, 3, 5, seed=1), smooth(1, seed=2))),
    Row("conv2d", "1 x 1, stride", conv(stride=(2, 1)), (smooth(2, 3, 4, 5), smooth(2, 1, 1, 5, seed=1))),
    Row("conv2d", "groups, dilation", conv(groups=2, dilation=2), (smooth(1, 5, 5, 4), smooth(4, 2, 2, 2, seed=1), smooth(4))),
    Row("conv2d", "a group a channel", conv(groups=3, padding=1), (smooth(1, 4, 4, 3), smooth(6, 3, 3, 1, seed=1), smooth(6))),
    Row("depthwise_conv2d", "", depthwise(padding=1), (smooth(2, 4, 4, 3), smooth(1, 3, 3, 3, seed=1), smooth(3, seed=2))),
    Row("depthwise_conv2d", "stride, multiplier", depthwise(padding="same", stride=2),
        (smooth(1, 5, 5, 2), smooth(1, 3, 3, 4, seed=1))),
    Row("max_pool2d", "side by side", lambda x: F.max_pool2d(x, 2), (distinct(2, 4, 6, 2),)),
    Row("max_pool2d", "overlapping", lambda x: F.max_pool2d(x, (3, 2), (2, 1), 1), (distinct(1, 5, 4, 2),)),
    Row("avg_pool2d", "side by side", lambda x: F.avg_pool2d(x, 2), (smooth(2, 4, 6, 2),)),
    Row("avg_pool2d", "overlapping", lambda x: F.avg_pool2d(x, (3, 2), (2, 1), "same"), (smooth(1, 5, 4, 2),)),
    Row("global_avg_pool2d", "", F.global_avg_pool2d, (smooth(2, 3, 4, 2),)),
    Row("batch_norm", "training", batch_norm(True), (smooth(2, 3, 2, 3), smooth(3, seed=1), smooth(3, seed=2))),
    Row("batch_norm", "training, flat", batch_norm(True), (smooth(5, 3), smooth(3, seed=1), smooth(3, seed=2))),
    Row("batch_norm", "eval", batch_norm(False), (smooth(2, 3, 2, 3), smooth(3, seed=1), smooth(3, seed=2))),
]  # fmt: skip

ROW_IDS = [f"{row.op} {row.label}".strip().replace(" ", "_") for row in TABLE]
