"""What calibration remembers of a value: its ends, their moving average, and a histogram.

All of it is small, and two of them merge into what one would have been had it seen both batches (the
moving average, which depends on the order, is continued). The histogram's bins are a power of two wide
and start at 0, so merging never splits a bin: that is why it is exact.

With this module one can watch batches of numbers (`Statistics`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Statistics"]

_HALF_BINS = 4096


@dataclass
class Statistics:
    """Ends, moving average and histogram of one value over batches.

    Attributes
    ----------
    count : int
        Numbers seen.
    batches : int
        Batches seen.
    minimum, maximum : float
        Over everything seen; inf and -inf before the first batch.
    momentum : float
        Weight of the past in the moving average, in [0, 1).
    histogram : int64 array, (8192,)
        Counts over [-reach, reach), equal bins.
    reach : float
        A power of two, doubled when a larger magnitude comes.

    Examples
    --------
    >>> seen = Statistics()
    >>> seen.update(np.array([-1.0, 0.5])); seen.update(np.array([3.0]))
    >>> seen.minimum, seen.maximum, seen.count, int(seen.histogram.sum())
    (-1.0, 3.0, 3, 3)
    """

    momentum: float = 0.9
    count: int = 0
    batches: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf
    reach: float = 2.0**-126
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(2 * _HALF_BINS, np.int64))
    _average: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def update(self, values: np.ndarray) -> None:
        """Watch one batch; NaN and infinity must have been refused before."""
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self.count += values.size
        self.batches += 1
        self._average = self.momentum * self._average + (1 - self.momentum) * np.array([low, high])
        largest = max(abs(low), abs(high))
        if largest >= self.reach:
            self._widen(float(np.ldexp(1.0, int(np.frexp(largest)[1]))))
        self.histogram += _count_bins(values, self.reach)

    @property
    def average(self) -> tuple[float, float]:
        """Moving average of the batches' (minimum, maximum), corrected for its start at 0.

        Source of the correction: Kingma and Ba 2015, section 3.
        """
        correction = 1 - self.momentum**self.batches
        if correction == 0:
            return np.inf, -np.inf
        low, high = self._average / correction
        return float(low), float(high)

    def merge(self, other: Statistics) -> Statistics:
        """A new record of both, `other` taken as the later one.

        Raises
        ------
        TypeError
            `other` is no Statistics.
        ValueError
            The two momenta differ: their averages are weighted sums, and one would be continued with the other's weights.
        """
        if not isinstance(other, Statistics):
            raise TypeError(f"other must be Statistics, got {type(other).__name__}. Merge records of the same value.")
        if other.momentum != self.momentum:
            raise ValueError(
                f"merged records must have one momentum, got {self.momentum} and {other.momentum}. "
                "Calibrate on both with the same momentum=."
            )
        merged = Statistics(momentum=self.momentum)
        merged.count, merged.batches = self.count + other.count, self.batches + other.batches
        merged.minimum, merged.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        merged._average = self._average * self.momentum**other.batches + other._average
        merged.reach, merged.histogram = self.reach, self.histogram.copy()
        wider = max(self.reach, other.reach)
        merged._widen(wider)
        merged.histogram += _rebinned(other.histogram, other.reach, wider)
        return merged

    def bin_edges(self) -> np.ndarray:
        """The 8193 edges of the histogram, in the units of the value."""
        return np.linspace(-self.reach, self.reach, 2 * _HALF_BINS + 1)

    def _widen(self, reach: float) -> None:
        """Double the bins until they span [-reach, reach)."""
        if reach > self.reach:
            self.histogram = _rebinned(self.histogram, self.reach, reach)
            self.reach = reach


def _count_bins(values: np.ndarray, reach: float) -> np.ndarray:
    """How many numbers fall into each of the bins over [-reach, reach)."""
    # A power-of-two factor only changes the exponent: no number changes its bin by rounding.
    scaled = np.floor(values.ravel().astype(np.float64) * (_HALF_BINS / reach))
    return np.bincount(scaled.astype(np.int64) + _HALF_BINS, minlength=2 * _HALF_BINS)


def _rebinned(histogram: np.ndarray, reach: float, wider: float) -> np.ndarray:
    """The counts over [-wider, wider): neighbouring bins are added, both powers of two."""
    if not histogram.any():
        return np.zeros_like(histogram)
    factor = min(int(wider / reach), 2 * _HALF_BINS) if wider / reach < 2**62 else 2 * _HALF_BINS
    index = np.floor_divide(np.arange(2 * _HALF_BINS) - _HALF_BINS, factor) + _HALF_BINS
    return np.bincount(index, weights=histogram, minlength=2 * _HALF_BINS).astype(np.int64)
