"""The lecture's table as it was published, and what its differences are worth.

Three networks, 8 bits, ImageNet's 50,000 validation images. Published are three accuracies a network: no seeds, and no answers
image by image. How sure a difference d of two accuracies p and q is depends on the share s of the n images that are right under
exactly one of the two networks, which nobody published:

    standard error = sqrt((s - d^2) / n)          |d| <= s <= min(p + q, 2 - p - q)

so that d is clear of two standard errors while s < d^2 (1 + n / 4). If the two err independently of each other, s is
p (1 - q) + q (1 - p), and the standard error is that of two accuracies with test images of their own, here about 0.29 points.
Two networks of one origin differ in less; how much less cannot be guessed: QAT goes on from the very network that PTQ quantizes.

With this module one has the rows (`PUBLISHED`) and can ask what they are worth (`worth`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tinyquant.analysis.over_images import published_error

__all__ = ["PUBLISHED", "PUBLISHED_IMAGES", "PublishedRow", "Worth", "worth"]

PUBLISHED_IMAGES = 50_000


class PublishedRow(NamedTuple):
    """Percent right on ImageNet."""

    network: str
    float_: float
    ptq: float
    qat: float


PUBLISHED = (
    PublishedRow("MobileNet v1 1.0 224", 71.03, 69.57, 71.06),
    PublishedRow("MobileNet v2 1.0 224", 70.77, 70.20, 70.01),
    PublishedRow("ResNet v1 50", 76.30, 75.95, 76.10),
)
"""The TinyML course's slides, chapter 3.4; float and QAT also in the TensorFlow model optimization guide of March 2020."""


class Worth(NamedTuple):
    """One difference of two published accuracies.

    Attributes
    ----------
    network, what : str
    points : float
    unpaired : float
        Standard error in points as if each accuracy had test images of its own.
    least, independent, most : float
        Shares of the images that may be right under exactly one of the two: the difference itself; as many as there would be if
        the two erred independently, where the standard error is `unpaired`; as many as the accuracies allow.
    clear_below : float
        The share below which the difference is clear of two standard errors.
    """

    network: str
    what: str
    points: float
    unpaired: float
    least: float
    independent: float
    most: float
    clear_below: float

    @property
    def verdict(self) -> str:
        """Clear or noise where that holds at every share there can be, else open."""
        return "clear" if self.clear_below > self.most else "open" if self.clear_below > self.least else "noise"

    @property
    def reading(self) -> str:
        """The verdict, and if it is open the share that decides."""
        if self.verdict != "open":
            return f"{self.verdict}, however many images differ"
        share = 100 * self.clear_below
        return f"open: clear if under {share:.{1 if share >= 1 else 2}f} % of images differ"


def worth(rows: Sequence[PublishedRow] = PUBLISHED, images: int = PUBLISHED_IMAGES) -> list[Worth]:
    """Every difference of the published table that a claim was made of.

    Examples
    --------
    >>> [(w.what, round(w.points, 2), w.reading) for w in worth()][:2]
    [('PTQ - float', -1.46, 'clear, however many images differ'), ('QAT - PTQ', 1.49, 'clear, however many images differ')]
    >>> worth()[4].what, round(worth()[4].points, 2), worth()[4].reading
    ('QAT - PTQ', -0.19, 'open: clear if under 4.5 % of images differ')
    """
    found = []
    for row in rows:
        pairs = (("PTQ - float", row.float_, row.ptq), ("QAT - PTQ", row.ptq, row.qat), ("QAT - float", row.float_, row.qat))
        for what, before, after in pairs:
            p, q = before / 100, after / 100
            shares = (abs(q - p), p * (1 - q) + q * (1 - p), min(p + q, 2 - p - q), (q - p) ** 2 * (1 + images / 4))
            found.append(Worth(row.network, what, after - before, 100 * published_error(p, q, images), *shares))
    return found
