"""The lecture's table from many seeds: means, paired differences with their intervals, and which claims survive.

With this module one can sum up what was run (`summarise`): a `Row` for each network and width, five `Difference`s a row, and
the two seeds that the lecture's surprises are made of (`surprises`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from tinyquant.analysis.intervals import Interval
from tinyquant.analysis.over_images import McNemar, mcnemar, right_or_wrong
from tinyquant.analysis.over_seeds import paired_bootstrap, t_interval
from tinyquant.study.kept import Kept
from tinyquant.study.table_runs import ARMS, FIRST_SEED, WIDTH, TablePlan, all_answers, key

__all__ = ["CLAIMS", "HEADLINE", "Claim", "Difference", "Row", "Surprise", "summarise", "surprises"]


@dataclass(frozen=True)
class Claim:
    """A sentence about two columns: the first is better than the second."""

    text: str
    better: str
    worse: str


HEADLINE = Claim("QAT beats PTQ of the control", "qat", "ptq_longer")

CLAIMS = (
    Claim("PTQ costs accuracy", "float", "ptq"),
    Claim("QAT beats PTQ", "qat", "ptq"),
    Claim("QAT beats float", "qat", "float"),
    Claim("QAT beats float + the same epochs", "qat", "longer"),
    HEADLINE,
)


@dataclass(frozen=True)
class Difference:
    """One claim in one row.

    Attributes
    ----------
    claim : Claim
    student, bootstrap : Interval
        Of better minus worse, over seeds.
    ahead, behind, level : int
        Seeds.
    clear_for, clear_against : int
        Seeds whose own test images decide for the better, and for the worse, McNemar p < 0.05.
    """

    claim: Claim
    student: Interval
    bootstrap: Interval
    ahead: int
    behind: int
    level: int
    clear_for: int
    clear_against: int

    @property
    def verdict(self) -> str:
        """Shown, not shown, or the opposite shown, by Student's interval; a width of 0 decides nothing."""
        if self.student.half == 0:
            return "no difference" if self.student.value == 0 else "every seed alike"
        return ("the opposite is shown", "not shown", "shown")[self.student.side + 1]


@dataclass(frozen=True)
class Row:
    """One network at one width of the weights.

    Attributes
    ----------
    network : str
    bits : int
    right : (seeds, 5, images) bool array
        Columns as in `ARMS`.
    first_seed : int
        That of right[0]; they count on from there.
    width : int
        Channels at the stem; of no meaning for the MLP.
    """

    network: str
    bits: int
    right: np.ndarray
    first_seed: int = FIRST_SEED
    width: int = WIDTH

    @property
    def name(self) -> str:
        """For example "mlp W8A8"."""
        return f"{self.network} W{self.bits}A8"

    @property
    def seeds(self) -> int:
        """How many."""
        return int(self.right.shape[0])

    @property
    def images(self) -> int:
        """Test images of each seed."""
        return int(self.right.shape[2])

    @property
    def accuracies(self) -> np.ndarray:
        """(seeds, 5) float array, fractions."""
        found: np.ndarray = self.right.mean(axis=2)
        return found

    def column(self, arm: str) -> np.ndarray:
        """(seeds,) accuracies of one of the five networks."""
        found: np.ndarray = self.accuracies[:, ARMS.index(arm)]
        return found

    def test(self, seed: int, better: str, worse: str) -> McNemar:
        """Two networks of one seed on its test images."""
        return mcnemar(*right_or_wrong(self.right[seed, ARMS.index(worse)], self.right[seed, ARMS.index(better)]))

    def compare(self, claim: Claim) -> Difference:
        """All seeds, paired."""
        tests = [self.test(seed, claim.better, claim.worse) for seed in range(self.seeds)]
        images = np.array([test.images for test in tests])
        # In whole images, so that equal ones are equal, and an end at 0 is 0, to the last bit.
        return Difference(
            claim,
            self._as_fraction(t_interval(images)),
            self._as_fraction(paired_bootstrap(images, np.zeros_like(images))),
            int(np.sum(images > 0)),
            int(np.sum(images < 0)),
            int(np.sum(images == 0)),
            sum(test.p < 0.05 and test.images > 0 for test in tests),
            sum(test.p < 0.05 and test.images < 0 for test in tests),
        )

    def _as_fraction(self, found: Interval) -> Interval:
        """Of images, as a fraction of them."""
        ends = {name: getattr(found, name) / self.images for name in ("value", "low", "high")}
        return dataclasses.replace(found, **ends)


@dataclass(frozen=True)
class Surprise:
    """One run picked out of many because of its difference.

    Attributes
    ----------
    row : Row
    seed : int
    test : McNemar
    such, of : int
        How many runs show a difference to this side, out of how many that were looked through.
    """

    row: Row
    seed: int
    test: McNemar
    such: int
    of: int


def summarise(kept: Kept, plan: TablePlan) -> list[Row]:
    """The rows of a plan whose seeds are all there.

    Raises
    ------
    KeyError
        If a seed was not run yet.
    ValueError
        If what is kept of one is damaged.
    """
    rows = []
    for network in plan.networks:
        for bits in plan.bits[network]:
            answers = [kept.read(key(network, seed, bits), all_answers) for seed in plan.seeds_of(network)]
            images = sorted({one.shape[1] for one in answers})
            if len(images) > 1:
                raise ValueError(
                    f"{kept.path or 'the results'}: all seeds of {network} W{bits}A8 must have equally many images, "
                    f"got {' and '.join(map(str, images))}. Move the file away, or delete the entries that differ."
                )
            rows.append(Row(network, bits, np.array(answers), plan.first_seed, plan.width))
    return rows


def surprises(rows: list[Row], better: str, worse: str) -> Surprise | None:
    """Look through all runs for the one in which `better` is the furthest ahead of `worse`; None if it never is."""
    runs = [(row, seed, row.test(seed, better, worse)) for row in rows for seed in range(row.seeds)]
    such = [run for run in runs if run[2].images > 0]
    if not such:
        return None
    row, seed, test = max(such, key=lambda run: run[2].images)
    return Surprise(row, seed, test, len(such), len(runs))
