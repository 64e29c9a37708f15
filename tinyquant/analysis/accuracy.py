"""How sure an accuracy is, and what changed between two models on the same images.

An accuracy on a few hundred images is a sample. Two accuracies on the *same* images are better compared
image by image: the ones both models get right, or both get wrong, say nothing about the difference.

With this module one can put an interval on an accuracy (`wilson_interval`) and count the images that changed (`changes`).
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from tinyquant.numerics.whole import whole_number

__all__ = ["Changes", "changes", "wilson_interval"]

_Z95 = 1.959963984540054


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion, over the drawing of the test images (not over seeds).

    Parameters
    ----------
    right, total : int
        0 <= right <= total, total > 0.

    Returns
    -------
    low, high : float in [0, 1]

    Raises
    ------
    ValueError, TypeError
        If a count is out of range or no whole number.

    References
    ----------
    Wilson 1927; recommended over p +- 1.96 se by Brown, Cai and DasGupta 2001, section 4.

    Examples
    --------
    >>> [round(v, 4) for v in wilson_interval(440, 450)]
    [0.9596, 0.9879]
    """
    right, total = whole_number("right", right), whole_number("total", total)
    if not 0 <= right <= total or total < 1:
        raise ValueError(f"right must lie in [0, total] and total be at least 1, got right={right}, total={total}.")
    share, z2 = right / total, _Z95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z95 * sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(0.0, centre - half), min(1.0, centre + half)


class Changes(NamedTuple):
    """Images that one model has right and the other wrong."""

    newly_wrong: int
    newly_right: int


def changes(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Changes:
    """How many images became wrong, and how many right, from one model's classes to another's.

    Parameters
    ----------
    before, after, labels : int arrays, (N,)
        Predicted classes of both models on the same images, and the true ones.

    Examples
    --------
    >>> changes(np.array([1, 2, 3]), np.array([1, 0, 0]), np.array([1, 2, 0]))
    Changes(newly_wrong=1, newly_right=1)
    """
    if not before.shape == after.shape == labels.shape:
        raise ValueError(f"all three must have one shape, got {before.shape}, {after.shape}, {labels.shape}.")
    was, now = before == labels, after == labels
    return Changes(int(np.sum(was & ~now)), int(np.sum(~was & now)))
