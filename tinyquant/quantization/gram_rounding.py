"""Rounding by coordinate descent: each weight takes the code that is best given all the others, until none moves.

For one weight of a channel the layer's objective (see `rounding_decisions`) is a parabola, and its best whole code is
known in closed form::

    code_j  +=  round( -(G e)_j / (G_jj * scale) ),        e = quantized weight - weight

Start from nearest, go through the weights in turn, and stop when nothing changes. No step can make it worse.

With this module one can round a model's weights that way (`gram_round`).
"""

from __future__ import annotations

import numpy as np

from tinyquant.numerics.rounding import round_to_int
from tinyquant.quantization.counts import MANY, checked_count
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.rounding_decisions import RoundingProblem, round_layers

__all__ = ["descend", "gram_round"]


def gram_round(fake_quant_model: FakeQuantModel, x: np.ndarray, *, sweeps: int = 20) -> FakeQuantModel:
    """A copy of a fake-quantized model whose weights are rounded by coordinate descent on the Gram matrix of their inputs.

    On x, each layer's squared output error (before its activation, with the inputs it really gets) is never larger than
    with nearest rounding, channel by channel. No gradient, no learning rate, no random numbers.

    Parameters
    ----------
    fake_quant_model, x
        As for `round_layers`.
    sweeps : int, 1 or more
        Times through all weights of a layer, at most.

    Returns
    -------
    FakeQuantModel
        In eval mode.

    Raises
    ------
    TypeError, ValueError
        As `round_layers`; sweeps out of range.

    References
    ----------
    The objective: Nagel et al. 2020, "Up or down? Adaptive rounding for post-training quantization", section 3.2. The
    descent is plain cyclic coordinate descent.

    Examples
    --------
    >>> from tinyquant import nn
    >>> from tinyquant.quantization.calibrate import calibrate
    >>> from tinyquant.quantization.prepare import quantize_model
    >>> from tinyquant.quantization.schemes import TFLITE_INT8
    >>> model = nn.Sequential(nn.Linear(3, 1)).eval()
    >>> model[0].weight.data[...] = [[1.0, 0.4, 0.4]]
    >>> x = np.ones((8, 3), np.float32)
    >>> fq = quantize_model(model, calibrate(model, x), scheme=TFLITE_INT8.replace(weight_bits=2))
    >>> gram_round(fq, x).nodes["0"].weight.data.tolist()       # nearest: 1, 0, 0; the sum is 1.8
    [[1.0, 1.0, 0.0]]
    """
    sweeps = checked_count("sweeps", sweeps, MANY[1:], "a whole number of 1 or more")
    return round_layers(fake_quant_model, x, lambda problem: descend(problem, sweeps=sweeps))


def descend(problem: RoundingProblem, *, sweeps: int = 20) -> np.ndarray:
    """Codes that no change of a single one improves (short of `sweeps`), never worse than nearest in any channel.

    Returns
    -------
    float64 whole numbers, (channels, cells)
    """
    codes = problem.nearest()
    channels, cells = codes.shape
    groups = len(problem.gram)
    steepness = np.diagonal(problem.gram, axis1=1, axis2=2)
    pull = problem.gradient(problem.values(codes) - problem.weight)
    for _ in range(sweeps):
        moved = False
        for j in range(cells):
            curve = np.repeat(steepness[:, j], channels // groups) * problem.scale[:, 0]
            # A cell that is always 0 may stay where it is.
            wish = np.divide(-pull[:, j], curve, out=np.zeros(channels), where=curve > 0)
            # Half-way is no improvement: it would move to and fro.
            step = np.where(np.abs(wish) > 0.5 + 1e-9, round_to_int(wish), 0.0)
            step = np.clip(codes[:, j] + step, problem.qmin, problem.qmax) - codes[:, j]
            if step.any():
                moved = True
                codes[:, j] += step
                row = np.repeat(problem.gram[:, j], channels // groups, axis=0)
                pull += row * (step * problem.scale[:, 0])[:, None]
        if not moved:
            break
    return problem.never_worse(codes)
