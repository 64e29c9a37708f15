"""Cat or cancer, summed up: what a drop of accuracy means where one kind of mistake is not like another.

Every sentence is computed from the runs. With this module one can read the answer (`doctor_text`, `doctor_csv`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from tinyquant.analysis.accuracy import wilson_interval
from tinyquant.analysis.intervals import Interval
from tinyquant.analysis.over_seeds import t_interval
from tinyquant.study.doctor_runs import DIGIT_BITS, DOCTOR_BITS, SETTINGS
from tinyquant.study.kept import Outcome

__all__ = ["Doctors", "doctor_csv", "doctor_text"]

NAMES = ("float", *(f"{way}{bits}" for bits in DOCTOR_BITS for way in ("ptq", "qat")))
_RIGHT, _MISSED, _ALARMS, _RIGHT_T, _MISSED_T, _ALARMS_T, _TIES = range(7)


class Doctors:
    """The counts of all seeds.

    Parameters
    ----------
    outcomes : sequence of Outcome, two or more
        From `run_doctor`.

    Attributes
    ----------
    cases, cancers, images, seeds : int
    """

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.seeds = len(outcomes)
        self.cases, self.cancers, self.images = (int(outcomes[0][key]) for key in ("cases", "cancers", "images"))
        self._counts = {name: np.array([outcome[name] for outcome in outcomes]) for name in NAMES}
        self._digits = {bits: np.array([outcome[f"digits{bits}"] for outcome in outcomes]) for bits in DIGIT_BITS}
        self._digits[0] = np.array([outcome["digits"] for outcome in outcomes])

    def counts(self, name: str, which: int) -> np.ndarray:
        """(seeds,) one of the seven counts of one doctor."""
        found: np.ndarray = self._counts[name][:, which]
        return found

    def change(self, name: str, which: int, before: str = "float") -> Interval:
        """Of a count, paired by seed."""
        return t_interval(self.counts(name, which) - self.counts(before, which))

    def accuracy_change(self, name: str, before: str = "float") -> Interval:
        """As a fraction of the cases, threshold 0."""
        return t_interval((self.counts(name, _RIGHT) - self.counts(before, _RIGHT)) / self.cases)

    def digits_change(self, bits: int) -> Interval:
        """Of the reader's accuracy, as a fraction of the images."""
        return t_interval((self._digits[bits] - self._digits[0]) / self.images)

    def digits_like(self, change: float) -> int:
        """The width at which the reader of digits loses most nearly as much accuracy."""
        return min(DIGIT_BITS, key=lambda bits: abs(self.digits_change(bits).value - change))


def doctor_text(found: Doctors) -> str:
    """The whole answer."""
    parts = [_table(found), _ties(found), _beside(found), _thresholds(found), _conflicts(found), _limits(found)]
    return "\n\n".join(parts) + "\n"


def doctor_csv(found: Doctors) -> str:
    """One line a doctor: means over seeds."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    counts = ("right", "missed", "false_alarms", "right_chosen", "missed_chosen", "false_alarms_chosen", "missed_ties")
    write.writerow(["doctor", "seeds", "cases", "cancers", *counts])
    for name in NAMES:
        means = [f"{found.counts(name, which).mean():.4f}" for which in range(len(counts))]
        write.writerow([name, found.seeds, found.cases, found.cancers, *means])
    return out.getvalue()


def _table(found: Doctors) -> str:
    """Doctors from top to bottom."""
    lines = [
        f"Doctor: thirty standardised measurements; {found.cases} test cases, {found.cancers} of them cancers; "
        f"means over {found.seeds} seeds",
        f"{'':<8}{'accuracy':>14}{'change':>15}{'missed':>9}{'change':>13}{'false':>9}{'recall':>15}{'change':>15}",
        f"{'':<8}{'%':>14}{'points':>15}{'cancers':>9}{'':>13}{'alarms':>9}{'%':>15}{'points':>15}",
    ]
    for name in NAMES:
        accuracy = t_interval(100 * found.counts(name, _RIGHT) / found.cases)
        recall = t_interval(100 * (1 - found.counts(name, _MISSED) / found.cancers))
        missed, alarms = found.counts(name, _MISSED).mean(), found.counts(name, _ALARMS).mean()
        changes = [""] * 3
        if name != "float":
            more = found.change(name, _MISSED)
            lost = found.accuracy_change(name)
            changes = [
                f"{100 * lost.value:+.2f} +-{100 * lost.half:.2f}",
                f"{more.value:+.1f} +-{more.half:.1f}",
                f"{100 * (0.0 - more.value) / found.cancers:+.2f} +-{100 * more.half / found.cancers:.2f}",
            ]
        lines.append(
            f"{_said(name):<8}{_with_half(accuracy):>14}{changes[0]:>15}{missed:>9.1f}{changes[1]:>13}{alarms:>9.1f}"
            f"{_with_half(recall):>15}{changes[2]:>15}".rstrip()
        )
    lines += [
        "Weights and activations have the same bits. +-: 95 % t-interval over seeds; of a change, paired by seed.",
        "The ten packaged splits overlap: an interval says what training again on these cases would give.",
    ]
    return "\n".join(lines)


def _ties(found: Doctors) -> str:
    """How many of the missed were never decided: few codes leave few margins, and 0 is one of them."""
    lines = ["Missed without a verdict (both logits equal, margin exactly 0: argmax then takes the first class, benign):"]
    for name in NAMES:
        missed, ties = found.counts(name, _MISSED).mean(), found.counts(name, _TIES).mean()
        if ties > 0:
            lines.append(f"  {_said(name):<8} {ties:.1f} of the {missed:.1f} missed, a mean of {found.seeds} seeds")
    if len(lines) == 1:
        lines.append("  none: every missed cancer was called benign by a margin.")
    return "\n".join(lines)


def _with_half(found: Interval) -> str:
    """A mean and half its interval."""
    return f"{found.value:.2f} +-{found.half:.2f}"


def _beside(found: Doctors) -> str:
    """The same drop on digits."""
    lines = ["The same drop of accuracy, twice:"]
    for bits in DOCTOR_BITS:
        name = f"ptq{bits}"
        lost, more = found.accuracy_change(name), found.change(name, _MISSED)
        digits = found.digits_like(lost.value)
        other = found.digits_change(digits)
        before, after = found.counts("float", _MISSED).mean(), found.counts(name, _MISSED).mean()
        times = f", {after / before:.1f} times as many" if before > 0 and more.side == 1 else ""
        verdict = {1: "more missed cancers: shown", 0: "more missed cancers: not shown", -1: "fewer missed cancers: shown"}
        lines += [
            f"  {bits} bits  doctor {100 * lost.value:+.2f} points: missed {before:.1f} -> {after:.1f} of {found.cancers}{times} "
            f"({verdict[more.side]})",
            f"          digits {100 * other.value:+.2f} points at {digits} bits, the nearest: "
            f"{-found.images * other.value:.1f} more of {found.images} digits misread, each as bad as any other",
        ]
    return "\n".join(lines)


def _thresholds(found: Doctors) -> str:
    """What choosing a threshold on validation gives back, and costs."""
    wanted = SETTINGS["wanted_recall"]
    lines = [
        "With a threshold of its own for each doctor, "
        f"the largest that finds {100 * wanted:.0f} % of the cancers of a validation part:"
    ]
    for name in NAMES:
        missed, alarms = found.counts(name, _MISSED_T), found.counts(name, _ALARMS_T)
        recall = t_interval(1 - missed / found.cancers)
        kept = "as wanted" if recall.low <= wanted <= recall.high else ("below" if recall.high < wanted else "above")
        lines.append(
            f"  {_said(name):<8} missed {missed.mean():>4.1f}, false alarms {alarms.mean():>5.1f}; recall on the test cases "
            f"{100 * recall.value:.1f} % ({100 * recall.low:.1f} to {100 * recall.high:.1f}): {kept}"
        )
    few = f"ptq{DOCTOR_BITS[-1]}"
    saved = found.counts(few, _MISSED).mean() - found.counts(few, _MISSED_T).mean()
    paid = found.counts(few, _ALARMS_T).mean() - found.counts(few, _ALARMS).mean()
    lines.append(f"  For {_said(few)} the threshold changes missed cancers by {-saved:+.1f} and false alarms by {paid:+.1f}.")
    return "\n".join(lines)


def _conflicts(found: Doctors) -> str:
    """Pairs of doctors where accuracy and missed cancers disagree."""
    lines = ["Where accuracy would pick the doctor that misses more (means over seeds, threshold 0):"]
    for one, other in combinations(NAMES, 2):
        for worse, better in ((one, other), (other, one)):
            gain, more = found.accuracy_change(better, worse), found.change(better, _MISSED, worse)
            if gain.value > 0 and more.value > 0:
                clear = "both clear of zero" if gain.side == more.side == 1 else "not clear of zero"
                points = f"{100 * gain.value:+.2f} +-{100 * gain.half:.2f} points of accuracy"
                lines.append(
                    f"  {_said(better)} over {_said(worse)}: {points}, {more.value:+.1f} +-{more.half:.1f} missed cancers "
                    f"({clear})"
                )
    if len(lines) == 1:
        lines.append("  nowhere: the order by accuracy is the order by missed cancers.")
    return "\n".join(lines)


def _limits(found: Doctors) -> str:
    """What one hospital's test set could have told."""
    counts = np.sort(found.counts("float", _MISSED))
    missed = int(counts[counts.size // 2])
    low, high = wilson_interval(found.cancers - missed, found.cancers)
    return (
        f"One test set alone, with {missed} of {found.cancers} missed, would give a recall between {100 * low:.1f} and "
        f"{100 * high:.1f} % (Wilson, over cases).\n"
        "Thirty cell measurements, not an image; teaching data, not a medical device."
    )


def _said(name: str) -> str:
    """For example "PTQ 3"."""
    return name if name == "float" else f"{name[:3].upper()} {name[3:]}"
