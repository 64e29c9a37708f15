"""What may be said about a difference from other images: two models on the same test set.

Only the images on which exactly one of the two is right say anything. Were the models equally good, each of these would be
a fair coin; so the probability of a split as uneven as the one seen is a sum of binomials, exact (McNemar). The difference
itself has an interval. Without the images, from two published accuracies alone, only bounds remain: the two test results
taken as independent, or a guess at how many answers differ.

With this module one can do all three (`mcnemar`, `paired_difference`, `published_error`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, sqrt

import numpy as np

from tinyquant.analysis.accuracy import Changes
from tinyquant.analysis.intervals import Interval
from tinyquant.numerics.whole import whole_number

__all__ = ["McNemar", "mcnemar", "paired_difference", "published_error", "right_or_wrong"]

_Z95 = 1.959963984540054


def right_or_wrong(before: np.ndarray, after: np.ndarray) -> Changes:
    """Count what changed between two (N,) bool arrays of "this image was right".

    Examples
    --------
    >>> right_or_wrong(np.array([True, True, False]), np.array([False, True, True]))
    Changes(newly_wrong=1, newly_right=1)
    """
    if before.shape != after.shape or before.dtype != bool or after.dtype != bool:
        raise ValueError(
            f"both must be bool arrays of one shape, got {before.dtype} {before.shape} and {after.dtype} {after.shape}. "
            "Compare classes with labels first."
        )
    return Changes(int(np.sum(before & ~after)), int(np.sum(~before & after)))


@dataclass(frozen=True)
class McNemar:
    """The exact test of two models on the same images.

    Attributes
    ----------
    newly_wrong, newly_right : int
        Images that the first model has right and the second wrong, and the other way round.
    p : float
        How probable an imbalance of at least this size, to either side, would be between two equally good models.
    of : str
        "images": another seed is another question.
    """

    newly_wrong: int
    newly_right: int
    p: float
    of: str = "images"

    @property
    def images(self) -> int:
        """The difference: newly right minus newly wrong."""
        return self.newly_right - self.newly_wrong

    def __str__(self) -> str:
        changed = f"{self.newly_right} newly right, {self.newly_wrong} newly wrong"
        return f"{self.images:+d} images ({changed}; McNemar p = {self.p:.2g})"


def mcnemar(newly_wrong: int, newly_right: int) -> McNemar:
    """Exact two-sided test: p = min(1, 2 * sum over k <= min(b, c) of C(b + c, k) / 2^(b + c)).

    Parameters
    ----------
    newly_wrong, newly_right : int, 0 or more
        b and c, from `changes`.

    Returns
    -------
    McNemar
        p is the exact rational, rounded once to a float.

    Raises
    ------
    ValueError, TypeError
        If a count is negative or no whole number.

    References
    ----------
    McNemar 1947; Dietterich 1998 recommends it for two classifiers and one test set.

    Examples
    --------
    >>> mcnemar(0, 5).p                            # 2 / 2^5
    0.0625
    >>> str(mcnemar(3, 3))
    '+0 images (3 newly right, 3 newly wrong; McNemar p = 1)'
    """
    newly_wrong, newly_right = _counts(newly_wrong, newly_right)
    if newly_wrong < 0 or newly_right < 0:
        raise ValueError(f"counts must be 0 or more, got {newly_wrong} and {newly_right}. `changes` gives them.")
    coins = newly_wrong + newly_right
    tail = 2 * sum(comb(coins, k) for k in range(min(newly_wrong, newly_right) + 1))
    return McNemar(newly_wrong, newly_right, 1.0 if tail >= 2**coins else tail / 2**coins)


def _counts(newly_wrong: int, newly_right: int) -> tuple[int, int]:
    """Both as Python ints: a power of two of a numpy integer would overflow."""
    return whole_number("newly_wrong", newly_wrong), whole_number("newly_right", newly_right)


def paired_difference(newly_wrong: int, newly_right: int, images: int) -> Interval:
    """95 % interval of the difference of two accuracies on the same images.

    Half an image is added to each of the four cells of the two-by-two table, then the usual standard error is taken.

    Parameters
    ----------
    newly_wrong, newly_right : int, 0 or more
    images : int
        All test images, at least the sum of the two.

    Returns
    -------
    Interval
        `value` is the plain difference, (newly_right - newly_wrong) / images; the interval is over images.

    Raises
    ------
    ValueError, TypeError
        If a count is negative or no whole number, or there are more changes than images.

    References
    ----------
    Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions", section 4.

    Examples
    --------
    >>> found = paired_difference(2, 12, 450)
    >>> found.in_images(450), found.of
    ('+10.0 of 450 images (+2.5 to +17.5)', 'images')
    """
    newly_wrong, newly_right = _counts(newly_wrong, newly_right)
    images = whole_number("images", images)
    if min(newly_wrong, newly_right) < 0 or newly_wrong + newly_right > images or images < 1:
        raise ValueError(
            f"counts must be 0 or more and at most images together, got {newly_wrong}, {newly_right} and images={images}."
        )
    total, changed = images + 2, newly_wrong + newly_right + 1
    centre = (newly_right - newly_wrong) / total
    half = _Z95 * sqrt(changed / total - centre**2) / sqrt(total)
    return Interval((newly_right - newly_wrong) / images, centre - half, centre + half, "images", images, "Agresti-Min")


def published_error(before: float, after: float, images: int, *, differ: float | None = None) -> float:
    """Standard error of after - before, for two published accuracies without the images' answers.

    Parameters
    ----------
    before, after : float in [0, 1]
    images : int, 1 or more
    differ : float in [0, 1] or None
        None: as if each had test images of its own, sqrt(p(1-p)/n + q(1-q)/n). A number: on the same images, of which this
        share is right under exactly one of the two, sqrt((differ - (q-p)^2) / n). At least abs(q - p).

    Returns
    -------
    float, a fraction like the accuracies

    Raises
    ------
    ValueError
        If an accuracy, the images or the share is out of range.

    Examples
    --------
    >>> round(100 * published_error(0.7103, 0.7106, 50000), 2)
    0.29
    >>> [round(100 * published_error(0.7103, 0.7106, 50000, differ=share), 2) for share in (0.05, 0.10)]
    [0.1, 0.14]
    """
    if not (0 <= before <= 1 and 0 <= after <= 1 and images >= 1):
        raise ValueError(f"accuracies must lie in [0, 1] and images be 1 or more, got {before!r}, {after!r} and {images}.")
    if differ is None:
        return sqrt((before * (1 - before) + after * (1 - after)) / images)
    if not abs(after - before) <= differ <= 1:
        raise ValueError(f"differ must lie between the difference of the accuracies and 1, got {differ!r}. 0.05 is usual.")
    return sqrt((differ - (after - before) ** 2) / images)
