"""What the gradient of a rounding pretends to be.

Rounding climbs by 1 at every threshold (halfway between two whole numbers) and is flat between: its true slope
teaches nothing. A surrogate replaces the stairs by something that climbs as much but has a slope everywhere. With
v in [-1/2, 1/2] the distance, in steps, from the nearest threshold, the slopes are::

    clipped, unclipped   1                                             a ramp (the straight-through estimator)
    tanh                 k (1 - tanh(k v)^2) / (2 tanh(k/2)),  k = 5   differentiable soft quantization (DSQ)
    triangle             2 (1 - 2 |v|)                                 the derivative of Bi-Real's ApproxSign
    swish_sign           b (2 - b v tanh(b v/2)) / (1 + cosh(b v)) / S,  b = 5

Each climbs by exactly 1 over a step (S sees to it for swish_sign). All but "unclipped" are 0 where the rounded code
lies outside [qmin, qmax].

With this module one can look up a slope by name (`SURROGATES`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["SURROGATES", "threshold_distance"]

_SHARPNESS = 5.0
"""Of the tanh and of the swish: at 5 the slope at the threshold is about 2.5 and between thresholds nearly 0."""

Slope = Callable[[np.ndarray], np.ndarray]


def threshold_distance(steps: np.ndarray) -> np.ndarray:
    """How far x / scale lies from the nearest threshold of its rounding, in [-1/2, 1/2).

    >>> threshold_distance(np.array([0.0, 0.5, 0.75, -0.75])).tolist()
    [-0.5, 0.0, 0.25, -0.25]
    """
    return steps % 1.0 - 0.5


def _ramp(v: np.ndarray) -> np.ndarray:
    """Slope 1 everywhere."""
    return np.ones_like(v)


def _tanh(v: np.ndarray) -> np.ndarray:
    """Gong et al. 2019, equations 4 and 6, with the interval between two codes as unit."""
    return _SHARPNESS * (1 - np.tanh(_SHARPNESS * v) ** 2) / (2 * np.tanh(_SHARPNESS / 2))


def _triangle(v: np.ndarray) -> np.ndarray:
    """Liu et al. 2018 (Bi-Real Net), section 3.3, shrunk to one step."""
    return 2 * (1 - 2 * np.abs(v))


def _swish_sign(v: np.ndarray) -> np.ndarray:
    """Darabi et al. 2018 (BNN+), equation 3, divided by what it climbs over one step."""
    b = _SHARPNESS
    sigmoid = 1 / (1 + np.exp(-b / 2))
    climb = 2 * (2 * sigmoid * (1 + b / 2 * (1 - sigmoid)) - 1)
    return b * (2 - b * v * np.tanh(b * v / 2)) / (1 + np.cosh(b * v)) / climb


SURROGATES: Mapping[str, Slope] = {
    "clipped": _ramp,
    "unclipped": _ramp,
    "tanh": _tanh,
    "triangle": _triangle,
    "swish_sign": _swish_sign,
}
"""Name -> slope at a distance from the threshold, elementwise on a float array."""
