"""An interval that says of what it is: of other seeds, or of other images; two questions that are easily mixed up.

Train again with another seed and the accuracy moves; test on other images and it moves too. An interval over seeds says
nothing about other images and the other way round, so a number in this package carries the word with it. A difference of
accuracies is also told in images, because "0.2 points" of 450 images is one image.

With this module one can hold a value with its interval (`Interval`).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Interval"]


@dataclass(frozen=True)
class Interval:
    """A value, the ends of its interval, and what the interval is over.

    Attributes
    ----------
    value, low, high : float
        Accuracies and their differences are fractions here; `points` and `in_images` make other units of them.
    of : str
        What was drawn: "seeds", "images", ...
    count : int
        How many of them.
    method : str
    level : float
        How often an interval so made holds the true value.

    Examples
    --------
    >>> gain = Interval(0.02, 0.01, 0.03, of="seeds", count=30, method="t")
    >>> str(gain)
    '+2.00 (+1.00 to +3.00) points over 30 seeds'
    >>> gain.in_images(450), gain.side
    ('+9.0 of 450 images (+4.5 to +13.5)', 1)
    """

    value: float
    low: float
    high: float
    of: str
    count: int
    method: str
    level: float = 0.95

    @property
    def side(self) -> int:
        """1 where the whole interval lies above 0, -1 where below, 0 where 0 is in it (ends included)."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    @property
    def half(self) -> float:
        """Half the width."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        low, value, high = (f"{100 * number:+.2f}" for number in (self.low, self.value, self.high))
        return f"{value} ({low} to {high}) points over {self.count} {self.of}"

    def in_images(self, images: int) -> str:
        """The same difference as a number of test images."""
        low, value, high = (f"{images * number:+.1f}" for number in (self.low, self.value, self.high))
        return f"{value} of {images} images ({low} to {high})"
