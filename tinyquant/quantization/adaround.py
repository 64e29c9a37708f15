"""AdaRound: whether each weight rounds up or down is learned, softly at first and then for good.

Between its two neighbouring codes a weight gets a position h in [0, 1], a rectified sigmoid of a free number v::

    w' = scale * (floor(w / scale) + h(v)),          h(v) = clip(1.2 * sigmoid(v) - 0.1, 0, 1)

and gradient descent on v minimises the layer's squared output error plus a term that drives each h to 0 or 1::

    (w' - w)^T G (w' - w)  +  regularization * mean(1 - |2 h - 1|**beta)

beta falls from 20 to 2: at first only the error counts, at the end the decision.

With this module one can round a model's weights that way (`adaround`).
"""

from __future__ import annotations

import numpy as np

from tinyquant.numerics.rounding import round_to_int
from tinyquant.quantization.counts import MANY, checked_count
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.rounding_decisions import RoundingProblem, round_layers

__all__ = ["adaround", "learn_rounding"]

_LOW, _HIGH = -0.1, 1.1
_WARM = 0.2


def adaround(
    fake_quant_model: FakeQuantModel,
    x: np.ndarray,
    *,
    iterations: int = 500,
    lr: float = 0.05,
    regularization: float = 3.0,
) -> FakeQuantModel:
    """A copy of a fake-quantized model whose weights are rounded up or down as learned on x, layer after layer.

    On x, each layer's squared output error (before its activation, with the inputs it really gets) is never larger
    than with nearest rounding, channel by channel: a channel that learning did not improve keeps nearest.

    Parameters
    ----------
    fake_quant_model, x
        As for `round_layers`.
    iterations : int, 1 or more
        Steps of Adam, all of x at once through the Gram matrix.
    lr : float > 0
    regularization : float >= 0
        Weight of the second term; the first is measured in units of nearest's error, channel by channel.

    Returns
    -------
    FakeQuantModel
        In eval mode.

    Raises
    ------
    TypeError, ValueError
        As `round_layers`; iterations, lr or regularization out of range.

    Notes
    -----
    The paper also lets the loss look through the ReLU, and draws batches; with the whole Gram matrix there is nothing
    to draw, so there is no seed.

    References
    ----------
    Nagel et al. 2020, "Up or down? Adaptive rounding for post-training quantization", sections 3.2 and 3.3.

    Examples
    --------
    >>> from tinyquant import nn
    >>> from tinyquant.quantization.calibrate import calibrate
    >>> from tinyquant.quantization.prepare import quantize_model
    >>> from tinyquant.quantization.schemes import TFLITE_INT8
    >>> model = nn.Sequential(nn.Linear(3, 1)).eval()
    >>> model[0].weight.data[...] = [[1.0, 0.4, 0.3]]
    >>> x = np.ones((8, 3), np.float32)
    >>> fq = quantize_model(model, calibrate(model, x), scheme=TFLITE_INT8.replace(weight_bits=2))
    >>> adaround(fq, x).nodes["0"].weight.data.tolist()         # nearest: 1, 0, 0; the sum is 1.7
    [[1.0, 1.0, 0.0]]
    """
    iterations = checked_count("iterations", iterations, MANY[1:], "a whole number of 1 or more")
    if not lr > 0 or not regularization >= 0:
        raise ValueError(f"lr must be above 0 and regularization 0 or more, got {lr} and {regularization}.")
    return round_layers(
        fake_quant_model,
        x,
        lambda problem: learn_rounding(problem, iterations=iterations, lr=lr, regularization=regularization),
    )


def learn_rounding(
    problem: RoundingProblem, *, iterations: int = 500, lr: float = 0.05, regularization: float = 3.0
) -> np.ndarray:
    """Codes, each the floor or the ceiling of its weight (clipped), never worse than nearest in any channel.

    Returns
    -------
    float64 whole numbers, (channels, cells)
    """
    exact = problem.weight / problem.scale + problem.zero_point
    floor = round_to_int(exact, "floor")
    unit = problem.objective(problem.nearest())[:, None]
    unit = np.where(unit > 0, unit, 1.0)
    inside = np.clip((exact - floor - _LOW) / (_HIGH - _LOW), 0.05, 0.95)
    v = np.log(inside / (1 - inside))
    first, second = np.zeros_like(v), np.zeros_like(v)
    for t in range(iterations):
        sigmoid = 1 / (1 + np.exp(-v))
        soft = sigmoid * (_HIGH - _LOW) + _LOW
        h = np.clip(soft, 0, 1)
        codes = floor + h
        kept = (codes >= problem.qmin) & (codes <= problem.qmax)
        error = problem.values(np.clip(codes, problem.qmin, problem.qmax)) - problem.weight
        slope = 2 * problem.gradient(error) * problem.scale / unit * kept
        if t >= _WARM * iterations:
            done = (t / iterations - _WARM) / (1 - _WARM)
            beta = 2 + (20 - 2) * 0.5 * (1 + np.cos(done * np.pi))
            away = np.abs(2 * h - 1)
            slope = slope - regularization / h.shape[1] * 2 * beta * away ** (beta - 1) * np.sign(2 * h - 1)
        gradient = slope * (_HIGH - _LOW) * sigmoid * (1 - sigmoid) * ((soft > 0) & (soft < 1))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        v = v - lr * (first / (1 - 0.9 ** (t + 1))) / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-8)
    h = np.clip((_HIGH - _LOW) / (1 + np.exp(-v)) + _LOW, 0, 1)
    return problem.never_worse(np.clip(floor + (h >= 0.5), problem.qmin, problem.qmax))
