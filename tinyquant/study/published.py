"""The lecture's table as it was published, and what its differences are worth.

Three networks, 8 bits, ImageNet's 50,000 validation images. Published are three accuracies a network: no seeds, and no answers
image by image. So there are two readings of a difference. As if each accuracy had images of its own, its standard error is about
0.29 points; on one shared test set it is smaller, and depends on how many answers differ, which nobody published.

With this module one has the rows (`PUBLISHED`) and can ask what they are worth (`worth`).
"""

from __future__ import annotations

from typing import NamedTuple

from tinyquant.analysis.over_images import published_error

__all__ = ["PUBLISHED", "PUBLISHED_IMAGES", "PublishedRow", "Worth", "worth"]

PUBLISHED_IMAGES = 50_000
SHARES = (0.05, 0.10)
"""Guesses at the share of images that exactly one of two networks has right; two trainings of one network differ in more."""


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
    """One difference of two published accuracies, in points.

    Attributes
    ----------
    network, what : str
    points : float
    unpaired : float
        Standard error as if each accuracy had test images of its own.
    paired : (float, float)
        Standard error on one test set if 5 %, and if 10 %, of the images are right under exactly one of the two.
    """

    network: str
    what: str
    points: float
    unpaired: float
    paired: tuple[float, float]

    @property
    def reading(self) -> str:
        """Clear where two standard errors do not reach 0 in any reading; open where it depends on the reading."""
        size = abs(self.points)
        if size > 2 * max(self.unpaired, *self.paired):
            return "clear in every reading"
        if size > 2 * min(self.paired):
            return "open: it depends on how many answers differ"
        return "noise in every reading"


def worth() -> list[Worth]:
    """Every difference of the published table that a claim was made of.

    Examples
    --------
    >>> [(w.what, round(w.points, 2), w.reading) for w in worth()][:2]
    [('PTQ - float', -1.46, 'clear in every reading'), ('QAT - PTQ', 1.49, 'clear in every reading')]
    """
    found = []
    for row in PUBLISHED:
        pairs = (("PTQ - float", row.float_, row.ptq), ("QAT - PTQ", row.ptq, row.qat), ("QAT - float", row.float_, row.qat))
        for what, before, after in pairs:
            errors = [
                100 * published_error(before / 100, after / 100, PUBLISHED_IMAGES, differ=share) for share in (None, *SHARES)
            ]
            found.append(Worth(row.network, what, after - before, errors[0], (errors[1], errors[2])))
    return found
