"""Rounding as a decision: nearest is best for a weight, and not for a layer.

A layer's output is a sum over its weights, so what matters is not each error but how they add up on the inputs that
come. For one output channel with weights w on rows x of typical inputs, rounded to w'::

    sum over rows of (x . w' - x . w)**2  =  (w' - w)^T G (w' - w),        G = sum of x x^T

The Gram matrix G is all that data has to say about it. Nearest takes G for the identity; the algorithms built on
this file (`gram_round`, `adaround`) look at it.

With this module one can state a layer's rounding problem (`RoundingProblem`) and put the codes somebody decided on into
a copy of a fake-quantized model, layer after layer (`round_layers`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyquant.autograd import Tensor, no_grad
from tinyquant.graph import OPS, Node, same_padding
from tinyquant.nn.checks import checked_x
from tinyquant.numerics.affine import quantize
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.fake_quant_node import FakeQuantNode
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.weights import has_groups

__all__ = ["RoundingProblem", "round_layers"]


@dataclass(frozen=True)
class RoundingProblem:
    """One layer's weights, their grid and the inputs they meet.

    Attributes
    ----------
    weight : float64 array, (channels, cells)
    scale, zero_point : float64 arrays, (channels, 1)
    qmin, qmax : int
    gram : float64 array, (groups, cells, cells)
        Symmetric, positive semidefinite; channel c meets group c // (channels / groups).
    rounding : str
        What nearest means on a tie.
    """

    weight: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    qmin: int
    qmax: int
    gram: np.ndarray
    rounding: str = "half_away"

    def nearest(self) -> np.ndarray:
        """The codes of plain rounding, as float64 whole numbers, (channels, cells)."""
        qp = QParams(self.scale[:, 0], self.zero_point[:, 0].astype(np.int64), self.qmin, self.qmax, axis=0)
        return quantize(self.weight, qp, rounding=self.rounding).astype(np.float64)

    def values(self, codes: np.ndarray) -> np.ndarray:
        """What codes (whole or not) stand for."""
        return (codes - self.zero_point) * self.scale

    def gradient(self, error: np.ndarray) -> np.ndarray:
        """G e for the error of each channel: half the gradient of the objective, (channels, cells)."""
        split = error.reshape(len(self.gram), -1, error.shape[1])
        return np.matmul(split, self.gram).reshape(error.shape)

    def objective(self, codes: np.ndarray) -> np.ndarray:
        """(w' - w)^T G (w' - w), a number a channel."""
        error = self.values(codes) - self.weight
        return np.asarray((error * self.gradient(error)).sum(axis=1))

    def never_worse(self, codes: np.ndarray) -> np.ndarray:
        """The codes, with nearest's in each channel where those are better."""
        nearest = self.nearest()
        worse = self.objective(codes) > self.objective(nearest)
        return np.where(worse[:, None], nearest, codes)


def round_layers(
    fake_quant_model: FakeQuantModel, x: np.ndarray, decide: Callable[[RoundingProblem], np.ndarray]
) -> FakeQuantModel:
    """A copy of a fake-quantized model whose weights are the codes that `decide` chose, layer after layer.

    Each layer's problem is stated on the inputs it gets from the layers before it, their decisions in force. The
    weights become the very numbers that the codes stand for and their quantizers are fixed
    (`FakeQuantNode.fix_weight_qparams`), so that `convert` and everything else finds those codes by reading. It can
    still be trained; the scales of the weights then stay.

    Parameters
    ----------
    fake_quant_model : FakeQuantModel
        In eval mode, made with ``bn="fold"``; left as it is. Layers that share a weight, excluded ones and those
        with a scale a group keep plain rounding.
    x : float array, (N, ...)
        A few hundred typical inputs, held in memory at once; at least one.
    decide : callable
        RoundingProblem -> whole numbers in [qmin, qmax], (channels, cells).

    Raises
    ------
    TypeError, ValueError
        Not a FakeQuantModel, in training mode, or with batch norms left in it; x has no rows, is not float, or holds
        numbers that are not finite or rows of the wrong shape.
    """
    if not isinstance(fake_quant_model, FakeQuantModel):
        raise TypeError(
            f"fake_quant_model must be a FakeQuantModel, got {type(fake_quant_model).__name__}. Call quantize_model first."
        )
    if fake_quant_model.training:
        raise ValueError("fake_quant_model must be in eval mode, got one in training mode. Call eval() first.")
    for name, made in fake_quant_model.nodes.items():
        if "gamma" in made.node.params:
            raise ValueError(f"batch norms must be folded for good, got one at {name!r}. Use quantize_model(..., bn='fold').")
    x = checked_x(fake_quant_model, x, "x")
    rounded = copy.deepcopy(fake_quant_model)
    source = rounded.structure.inputs[0].name
    with no_grad():
        values = {source: Tensor(rounded.trace(x)[source])}
        for name, made in rounded.nodes.items():
            inputs = [values[read] for read in made.node.inputs]
            if _decidable(made):
                problem = _problem(made, inputs[0])
                _write(made, problem, decide(problem))
            values[name] = made(*inputs)
    return rounded


def _decidable(made: FakeQuantNode) -> bool:
    """A quantized weight that one node owns, with a scale a channel or a tensor."""
    axis = OPS[made.node.op].weight_axis or 0
    own = made.shared_weight() is not None and made.weight_qparams is not None and len(made.peers) == 1
    return own and not made.settings.exclude and not has_groups(made.settings.group_size, axis)


def _problem(made: FakeQuantNode, x: Tensor) -> RoundingProblem:
    """The rounding problem of a layer on these inputs."""
    x = made.read(x)
    axis, qp = OPS[made.node.op].weight_axis or 0, made.weight_qparams
    assert qp is not None
    weight = np.moveaxis(made.params()["weight"].data, axis, 0)
    rows = weight.reshape(weight.shape[0], -1).astype(np.float64)
    cells = _cells(made.node, x.data.astype(np.float64), rows.shape[1])
    scale, zero = (np.broadcast_to(np.asarray(v, np.float64), len(rows))[:, None] for v in (qp.scale, qp.zero_point))
    return RoundingProblem(
        rows, scale, zero, qp.qmin, qp.qmax, np.matmul(cells.transpose(0, 2, 1), cells), made.settings.rounding
    )


def _cells(node: Node, x: np.ndarray, count: int) -> np.ndarray:
    """What one output number is a product with: (groups, rows, cells)."""
    if node.op == "FULLY_CONNECTED":
        return x.reshape(1, -1, count)
    kernel, stride, dilation = node.params["weight"].shape[1:3], node.attrs["stride"], node.attrs["dilation"]
    if node.attrs["padding"] == "same":
        pads = [same_padding(x.shape[1 + i], kernel[i], stride[i], dilation[i]) for i in (0, 1)]
        x = np.pad(x, ((0, 0), *pads, (0, 0)))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(1, 2))
    windows = windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    # (N, H, W, C, kh, kw) -> (groups, rows, kh * kw * channels a group)
    channels = x.shape[3]
    each = 1 if node.op == "DEPTHWISE_CONV_2D" else node.params["weight"].shape[3]
    split = windows.reshape(-1, channels // each, each, *kernel).transpose(1, 0, 3, 4, 2)
    return np.ascontiguousarray(split).reshape(channels // each, -1, count)


def _write(made: FakeQuantNode, problem: RoundingProblem, codes: np.ndarray) -> None:
    """Put the codes into the node: weights on the points of the grid, and the grid fixed."""
    if codes.shape != problem.weight.shape or codes.min() < problem.qmin or codes.max() > problem.qmax:
        raise ValueError(
            f"decide must return codes of shape {problem.weight.shape} in [{problem.qmin}, {problem.qmax}], "
            f"got shape {codes.shape} from {codes.min()} to {codes.max()} at {made.node.name!r}."
        )
    weight, qp = made.shared_weight(), made.weight_qparams
    assert weight is not None and qp is not None
    axis = OPS[made.node.op].weight_axis or 0
    moved = np.moveaxis(weight.data, axis, 0)
    moved[...] = problem.values(codes).reshape(moved.shape)
    made.fix_weight_qparams(qp)
