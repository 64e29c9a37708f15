"""Ranges that follow the data while the network trains: a moving average of each batch's ends.

    a = m * a + (1 - m) * end        end after t batches = a / (1 - m**t)

Without the division the average would begin at 0 and be too small for about 1/(1 - m) batches; a range that starts at
some other guess forgets it as slowly (tensorflow/model-optimization#368: 0.20 % accuracy after a short fine-tune).

One forward pass has one grid: what a batch shows counts from the next pass on. In eval mode nothing is looked at.

With this module one can hold such a range (`MovingRange`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinyquant.nn import Module
from tinyquant.numerics.qparams import QParams

__all__ = ["MovingRange"]


class MovingRange(Module):
    """Debiased moving average of the ends of all values that share one quantizer.

    Parameters
    ----------
    start : QParams
        In force until a batch has been seen.
    make : callable (low, high) -> QParams
        What the scheme makes of a range.
    momentum : float in [0, 1)
        Weight of the past.

    Attributes
    ----------
    average : float64 array, (2,)
        The moving average of (low, high), before the division.
    batches : int64 array, ()

    References
    ----------
    Jacob et al. 2018, section 3.1; the division: Kingma and Ba 2015, section 3.

    Examples
    --------
    >>> from tinyquant.numerics.qparams import choose_qparams
    >>> ends = MovingRange(choose_qparams(-1, 1), choose_qparams, momentum=0.5)
    >>> for batch in ([-2.0, 2.0], [-2.0, 8.0]):
    ...     ends.observe(np.array(batch)); ends.commit()
    >>> ends.ends                                  # (0.5 * 0.5 * 2 + 0.5 * 8) / 0.75
    (-2.0, 6.0)
    """

    average: np.ndarray
    batches: np.ndarray

    def __init__(self, start: QParams, make: Callable[[float, float], QParams], *, momentum: float = 0.9) -> None:
        self.start = start
        self.make = make
        self.momentum = momentum
        self.register_buffer("average", np.zeros(2))
        self.register_buffer("batches", np.zeros((), np.int64))
        self._seen: tuple[float, float] | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The range now; NaN before the first batch."""
        count = int(self.batches)
        if not count:
            return float("nan"), float("nan")
        low, high = self.average / (1 - self.momentum**count)
        return float(low), float(high)

    @property
    def qparams(self) -> QParams:
        """The quantizer of the range as it is now."""
        return self.make(*self.ends) if self.batches else self.start

    def observe(self, values: np.ndarray) -> None:
        """Look at one of the values; several of one pass count as one."""
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if self._seen is not None:
            low, high = min(low, self._seen[0]), max(high, self._seen[1])
        self._seen = low, high

    def commit(self) -> None:
        """End of the pass: what was seen enters the average."""
        if self._seen is None:
            return
        self.average[...] = self.momentum * self.average + (1 - self.momentum) * np.array(self._seen)
        self.batches[...] += 1
        self._seen = None
