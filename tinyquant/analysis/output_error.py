"""What a change in the middle of a network does at its end: squared error of the outputs, and images lost.

Two measures, because they answer two questions. The squared error is smooth: it sees a change long before an answer
flips, and small errors add up in it. Accuracy is what counts, but on a few hundred images it moves in whole images.

With this module one can measure outputs against those of the float network (`OutputMeter`, `Share`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["OutputMeter", "Share"]


@dataclass(frozen=True)
class Share:
    """What some sources of error do to the output.

    Attributes
    ----------
    error : float
        Mean of the squared error of the outputs against the float network, in their units squared.
    sqnr_db : float
        10 log10(mean squared float output / error); inf without error.
    wrong : int or None
        Images lost against the float network: those it gets right and this not, net of the others. None without labels.
    points : float or None
        The same in points of accuracy, 100 * wrong / images.
    """

    error: float
    sqnr_db: float
    wrong: int | None = None
    points: float | None = None


class OutputMeter:
    """Measures outputs against the float network's.

    Parameters
    ----------
    reference : array (N, ...)
        The float network's outputs.
    y : int array (N,) or None
        Labels.

    Raises
    ------
    ValueError
        y has not one label a row.

    Examples
    --------
    >>> meter = OutputMeter(np.array([[3.0, 1.0], [0.0, 2.0]]), np.array([0, 1]))
    >>> share = meter.share(np.array([[1.0, 3.0], [0.0, 2.0]]))
    >>> share.error, share.wrong, share.points
    (2.0, 1, 50.0)
    """

    def __init__(self, reference: np.ndarray, y: np.ndarray | None = None) -> None:
        if y is not None and np.shape(y) != (len(reference),):
            raise ValueError(f"y must have one label a row, shape ({len(reference)},), got {np.shape(y)}.")
        self.reference, self.y = np.asarray(reference, np.float64), y
        self.right = 0 if y is None else self.count_right(self.reference)

    def share(self, output: np.ndarray) -> Share:
        """Squared error, SQNR, and images lost."""
        error = float(np.mean(np.square(output - self.reference)))
        signal = float(np.mean(np.square(self.reference)))
        ratio = 10 * math.log10(signal / error) if error and signal else -math.inf if error else math.inf
        if self.y is None:
            return Share(error, ratio)
        lost = self.right - self.count_right(output)
        return Share(error, ratio, lost, 100 * lost / len(self.y))

    def count_right(self, output: np.ndarray) -> int:
        """Images whose largest output, the first of equals, is at the label's place."""
        return int((output.reshape(len(output), -1).argmax(axis=1) == self.y).sum())
