"""What may be said about a difference from training again: intervals over seeds.

Two columns of a table are paired when row s of both comes from one seed: the luck of the seed is in both, and is gone from
their difference. Two intervals of its mean: by Student's t, which trusts the differences to be roughly normal and knows that
few of them say little; and by drawing seeds anew from those there are (bootstrap), which trusts nothing and is too narrow
for fewer than about ten seeds, by a factor of sqrt((n - 1) / n) at the least.

With this module one can make both (`t_interval`, `paired_bootstrap`).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tinyquant.analysis.intervals import Interval
from tinyquant.analysis.student_t import t_quantile
from tinyquant.numerics.seeds import Seed, generator

__all__ = ["paired_bootstrap", "t_interval"]

_AT_ONCE = 4_000_000


def t_interval(values: npt.ArrayLike, *, level: float = 0.95, of: str = "seeds") -> Interval:
    """Interval of a mean: mean +- t(level, n - 1) * s / sqrt(n).

    Parameters
    ----------
    values : (n,) float array, n >= 2
        One number a seed; for a comparison the difference of the two columns.
    level : float in (0, 1)
    of : str
        What the numbers are drawn over.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If there are fewer than two numbers, or one is not finite.

    Notes
    -----
    It treats the numbers as independent. Seeds that share test images are not quite: the interval is then about training
    again and testing on those images.

    References
    ----------
    Student 1908.

    Examples
    --------
    >>> found = t_interval([0.01, 0.02, 0.03])     # 0.02 +- 4.303 * 0.01 / sqrt(3)
    >>> round(found.value, 4), round(found.low, 4), round(found.high, 4)
    (0.02, -0.0048, 0.0448)
    """
    numbers = _numbers(values)
    mean = float(numbers.mean())
    half = t_quantile(level, numbers.size - 1) * float(numbers.std(ddof=1)) / math.sqrt(numbers.size)
    return Interval(mean, mean - half, mean + half, of, numbers.size, "Student's t", level)


def paired_bootstrap(
    after: npt.ArrayLike,
    before: npt.ArrayLike,
    *,
    draws: int = 10_000,
    level: float = 0.95,
    of: str = "seeds",
    seed: Seed = 0,
) -> Interval:
    """Interval of mean(after - before) by drawing n of the n seeds, with replacement, many times.

    Parameters
    ----------
    after, before : (n,) float arrays, n >= 2
        Place s of both belongs to one seed.
    draws : int, 100 or more
    level : float in (0, 1)
        The interval leaves (1 - level) / 2 of the drawn means out at each side.
    of : str
    seed : int or numpy Generator
        Of the drawing.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If the two differ in shape, hold fewer than two numbers or one that is not finite, or a setting is out of range.

    References
    ----------
    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (the percentile interval).

    Examples
    --------
    >>> found = paired_bootstrap([0.9, 0.8, 0.7], [0.8, 0.7, 0.6])
    >>> round(found.low, 6), round(found.high, 6)
    (0.1, 0.1)
    """
    one, other = np.asarray(after, np.float64), np.asarray(before, np.float64)
    if one.shape != other.shape:
        raise ValueError(f"after and before must have one shape, got {one.shape} and {other.shape}. Pair them by seed.")
    if draws < 100 or not 0 < level < 1:
        raise ValueError(f"draws must be 100 or more and level between 0 and 1, got {draws} and {level!r}. Try 10000 and 0.95.")
    numbers = _numbers(one - other)
    rng = generator(seed)
    rows = max(1, _AT_ONCE // numbers.size)
    means = [
        numbers[rng.integers(0, numbers.size, (min(rows, draws - start), numbers.size))].mean(axis=1)
        for start in range(0, draws, rows)
    ]
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return Interval(float(numbers.mean()), float(low), float(high), of, numbers.size, f"bootstrap, {draws} draws", level)


def _numbers(values: npt.ArrayLike) -> np.ndarray:
    """At least two finite numbers in a row."""
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or numbers.size < 2:
        raise ValueError(f"values must be (n,) with n of at least 2, got shape {numbers.shape}. One seed has no interval.")
    if not np.isfinite(numbers).all():
        raise ValueError(f"values must be finite, got {numbers[~np.isfinite(numbers)][0]}. Look at the run it came from.")
    return numbers
