"""Is a backward right? Compare it with the slope measured by taking a small step.

    numeric  = sum of cotangent * (f(x + h) - f(x - h)) / 2h        one number of x at a time
    analytic = what backward says for the same cotangent

The cotangent (the gradient of the output) is random: an all-ones one would hide every error that cancels in the
sum, a softmax's for example.

With this module one can check the gradient of any function of tensors: `check_gradients(fn, *arrays)`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinyquant.autograd.mode import no_grad
from tinyquant.autograd.tensor import Array, Tensor

__all__ = ["GradientError", "check_gradients"]

_STEP = 1e-5
"""The error of the quotient is about step**2 from the curve's bend and 1e-16 / step from rounding: both near 1e-10."""

_TOLERANCE = 1e-6


class GradientError(AssertionError):
    """A backward disagrees with the slope of its forward."""


def check_gradients(fn: Callable[..., Tensor], *arrays: Array, seed: int = 0) -> None:
    """Raise `GradientError` unless the gradient of `fn` at `arrays` is the slope of `fn` there.

    Parameters
    ----------
    fn : callable
        Takes one tensor an array and returns one tensor; the same result for the same input, every time.
    arrays : ndarrays
        Where to check, in float64. Stay at least 1e-3 away from kinks (0 for a ReLU, ties for a maximum): there
        is no slope to compare with.
    seed : int
        Of the random cotangent.

    Raises
    ------
    GradientError
        Naming the function, the input, the index, the slope expected and the gradient received, where
        |numeric - analytic| > 1e-6 * max(|numeric|, |analytic|, 1).

    Examples
    --------
    >>> check_gradients(lambda x, y: x * y, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    """
    name = getattr(fn, "__name__", type(fn).__name__)
    points = [np.array(array, dtype=np.float64) for array in arrays]
    tensors = [Tensor(point, requires_grad=True) for point in points]
    output = fn(*tensors)
    cotangent = np.random.default_rng(seed).uniform(0.5, 1.5, output.shape)
    cotangent *= np.random.default_rng(seed + 1).choice([-1.0, 1.0], output.shape)
    output.backward(cotangent)
    for number, (tensor, point) in enumerate(zip(tensors, points)):
        grad = np.zeros(point.shape) if tensor.grad is None else tensor.grad
        for index in np.ndindex(point.shape):
            numeric = _slope(fn, points, number, index, cotangent)
            analytic = float(grad[index])
            # An infinite gradient would make its own tolerance infinite; nan compares false.
            if not abs(numeric - analytic) <= _TOLERANCE * max(abs(numeric), abs(analytic), 1.0) < np.inf:
                raise GradientError(f"the gradient of {name} with respect to input {number} at index {index} must be "
                                    f"its slope {numeric:.9g}, got {analytic:.9g}. "
                                    f"Compare the backward of {name} with its formula.")


def _slope(fn: Callable[..., Tensor], points: list[Array], number: int, index: tuple[int, ...],
           cotangent: Array) -> float:
    """The central difference quotient of sum(cotangent * fn) in one number of one input."""
    point = points[number]
    here = point[index]
    step = _STEP * max(1.0, abs(here))
    values = []
    with no_grad():
        for shifted in (here + step, here - step):
            point[index] = shifted
            values.append(fn(*[Tensor(p.copy()) for p in points]).data)
    point[index] = here
    return float((cotangent * (values[0] - values[1])).sum() / (2 * step))
