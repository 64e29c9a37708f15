"""Made-up tensors and tables with one difficulty each: an outlier channel, a rare class, a curved boundary.

Real data mixes its difficulties. Here each has one knob, so a lesson can turn it and see what quantization does.
With this module one can show why per-channel scales exist, and why accuracy alone picks the worse doctor.
"""

from __future__ import annotations

import math

import numpy as np

from tinyquant.numerics.rounding import round_to_int
from tinyquant.numerics.seeds import Seed, generator


def outlier_channels(
    shape: tuple[int, ...] = (256, 32), *, outliers: int = 1, factor: float = 50.0, seed: Seed = 0
) -> np.ndarray:
    """Gaussian values of standard deviation 1, except a few channels of the last axis, which are `factor` times larger.

    One scale for all must reach to the outliers and leaves the other channels a few codes; one scale a channel does not.

    Parameters
    ----------
    shape : tuple of int >= 1
        The last axis is the channel axis.
    outliers : int in [0, shape[-1]]
        How many channels are large; which ones is drawn.
    factor : float > 0
    seed : int or numpy Generator

    Returns
    -------
    float32 array of `shape`

    Examples
    --------
    >>> x = outlier_channels((1000, 4), outliers=1, factor=100.0)
    >>> (x.std(axis=0) > 10).tolist().count(True)
    1
    """
    if len(shape) < 1 or min(shape) < 1:
        raise ValueError(f"shape must have axes of 1 or more, got {shape}. Give for example (256, 32).")
    if not 0 <= outliers <= shape[-1]:
        raise ValueError(f"outliers must lie in 0 to {shape[-1]}, the channels, got {outliers}. Ask for fewer.")
    if not factor > 0:
        raise ValueError(f"factor must be above 0, got {factor}. 1 makes all channels alike.")
    rng = generator(seed)
    scale = np.ones(shape[-1])
    scale[rng.permutation(shape[-1])[:outliers]] = factor
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def imbalanced(
    n: int = 2000, *, positive: float = 0.02, features: int = 8, separation: float = 2.0, seed: Seed = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A rare disease: class 1 is a small share of n cases, its measurements shifted by `separation` standard deviations.

    Both classes are Gaussian with unit variance; the means lie `separation` apart along a drawn direction. Who always
    says "healthy" is right in 1 - positive of all cases and misses every ill one.

    Parameters
    ----------
    n : int >= 2
    positive : float in (0, 1)
        Share of class 1. There are n * positive such cases, rounded, but at least one of each class.
    features : int >= 1
    separation : float >= 0
        Distance of the two means; the best possible rule tells them apart by this alone.
    seed : int or numpy Generator

    Returns
    -------
    x, y
        (n, features) float32; (n,) int64 labels, 1 ill, 0 healthy, in random order.

    Examples
    --------
    >>> x, y = imbalanced(1000, positive=0.03)
    >>> x.shape, int(y.sum())
    ((1000, 8), 30)
    """
    if n < 2 or features < 1:
        raise ValueError(f"n must be 2 or more and features 1 or more, got n={n}, features={features}. Ask for more.")
    if not 0 < positive < 1:
        raise ValueError(f"positive must lie between 0 and 1, got {positive}. 0.02 means one case in fifty.")
    if not separation >= 0:
        raise ValueError(f"separation must be 0 or more, got {separation}. 0 makes the classes alike.")
    rng = generator(seed)
    ill = min(max(int(round_to_int(n * positive)), 1), n - 1)
    labels = rng.permutation(np.repeat(np.array([1, 0], dtype=np.int64), [ill, n - ill]))
    direction = rng.standard_normal(features)
    direction /= math.sqrt(float(direction @ direction))
    x = rng.standard_normal((n, features)) + separation * labels[:, None] * direction
    return x.astype(np.float32), labels


def spirals(
    n: int = 600, *, classes: int = 3, turns: float = 0.75, noise: float = 0.05, seed: Seed = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Points on interleaved spiral arms, one arm a class: a boundary no straight line can draw.

    Parameters
    ----------
    n : int >= 1
    classes : int >= 2
    turns : float > 0
        How often an arm winds around the centre.
    noise : float >= 0
        Standard deviation of each point's displacement; the arms end at radius 1.
    seed : int or numpy Generator

    Returns
    -------
    x, y
        (n, 2) float32; (n,) int64 labels in [0, classes), every class as often as every other to within one.

    Examples
    --------
    >>> x, y = spirals(6, classes=2)
    >>> x.shape, sorted(y.tolist())
    ((6, 2), [0, 0, 0, 1, 1, 1])
    """
    if n < 1 or classes < 2:
        raise ValueError(f"n must be 1 or more and classes 2 or more, got n={n}, classes={classes}. Ask for more.")
    if not (turns > 0 and noise >= 0):
        raise ValueError(f"turns must be above 0 and noise 0 or more, got {turns} and {noise}. Try 0.75 and 0.05.")
    rng = generator(seed)
    labels = rng.permutation(np.arange(n, dtype=np.int64) % classes)
    radius = np.sqrt(rng.uniform(0.01, 1, n))
    angle = 2 * np.pi * (turns * radius + labels / classes)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (x + noise * rng.standard_normal((n, 2))).astype(np.float32), labels
