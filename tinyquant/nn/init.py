"""Where weights start: random, but of a size that neither fades nor explodes from layer to layer.

A sum of `fan_in` products of independent numbers has `fan_in` times the variance of one product. Weights of variance
2 / fan_in give that back, and the 2 makes up for the half that a ReLU sets to zero (He); 2 / (fan_in + fan_out) keeps
values and gradients level where there is no ReLU (Glorot).
With this module one can start a network, or see what happens when it starts wrong.
"""

from __future__ import annotations

import math

import numpy as np

from tinyquant.numerics.seeds import Seed, generator


def he_normal(shape: tuple[int, ...], fan_in: int, seed: Seed) -> np.ndarray:
    """Draw float32 weights from a Gaussian of variance 2 / fan_in: for layers before a ReLU.

    Parameters
    ----------
    shape : tuple of int
    fan_in : int >= 1
        How many products are summed for one output: inputs of a linear layer, taps times channels of a convolution.
    seed : int or numpy Generator

    Returns
    -------
    float32 array of `shape`

    Raises
    ------
    ValueError
        If fan_in is below 1.

    References
    ----------
    He, Zhang, Ren and Sun 2015, "Delving deep into rectifiers", section 2.2.

    Examples
    --------
    >>> he_normal((2, 3), 3, seed=0).shape
    (2, 3)
    """
    _at_least_one("fan_in", fan_in)
    drawn = generator(seed).standard_normal(shape) * math.sqrt(2 / fan_in)
    return np.asarray(drawn, dtype=np.float32)


def glorot_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, seed: Seed) -> np.ndarray:
    """Draw float32 weights uniformly in +-sqrt(6 / (fan_in + fan_out)): for layers before tanh, sigmoid or nothing.

    Parameters
    ----------
    shape : tuple of int
    fan_in, fan_out : int >= 1
        Products summed for one output; outputs that one input takes part in.
    seed : int or numpy Generator

    Returns
    -------
    float32 array of `shape`

    Raises
    ------
    ValueError
        If a fan is below 1.

    References
    ----------
    Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", eq. 16.

    Examples
    --------
    >>> bool(abs(glorot_uniform((2, 4), 4, 2, seed=0)).max() <= 1)
    True
    """
    _at_least_one("fan_in", fan_in)
    _at_least_one("fan_out", fan_out)
    bound = math.sqrt(6 / (fan_in + fan_out))
    return np.asarray(generator(seed).uniform(-bound, bound, shape), dtype=np.float32)


def _at_least_one(name: str, fan: int) -> None:
    """Refuse a layer that sums nothing."""
    if fan < 1:
        raise ValueError(f"{name} must be 1 or more, got {fan}. Count the products summed for one output.")
