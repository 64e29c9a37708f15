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

__all__ = ["Doctors", "all_counts", "doctor_csv", "doctor_text"]

NAMES = ("float", *(f"{way}{bits}" for bits in DOCTOR_BITS for way in ("ptq", "qat")))
_RIGHT, _MISSED, _ALARMS, _RIGHT_T, _MISSED_T, _ALARMS_T, _TIES_ILL, _TIES_WELL = range(8)


def all_counts(outcome: Outcome) -> Outcome:
    """The outcome itself, if every count is there that the answer speaks of.

    Raises
    ------
    ValueError
        If one is missing, or is no list of as many whole numbers as it should be.
    """
    wanted = {"cases": 0, "cancers": 0, "images": 0, "validation": 2, "digits": 2}
    wanted |= {f"digits{bits}": 2 for bits in DIGIT_BITS} | dict.fromkeys(NAMES, _TIES_WELL + 1)
    for name, length in wanted.items():
        value = outcome.get(name)
        numbers = value if length else [value]
        if not isinstance(numbers, list) or len(numbers) != max(1, length) or not all(type(n) is int and n >= 0 for n in numbers):
            told = f"a list of {length} counts" if length else "a count"
            raise ValueError(f"an outcome must have {told} as {name!r}, got {value!r}.")
    return outcome


class Doctors:
    """The counts of all seeds.

    Parameters
    ----------
    outcomes : sequence of Outcome, two or more
        From `run_doctor`.

    Attributes
    ----------
    cases, cancers, images, seeds : int
    validation : tuple of int
        The cancers of the validation part, and how many of them a chosen threshold finds at least.
    """

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.seeds = len(outcomes)
        self.cases, self.cancers, self.images = (int(outcomes[0][key]) for key in ("cases", "cancers", "images"))
        self.validation = tuple(int(count) for count in outcomes[0]["validation"])
        self._counts = {name: np.array([outcome[name] for outcome in outcomes]) for name in NAMES}
        self._digits = {bits: np.array([outcome[f"digits{bits}"] for outcome in outcomes]) for bits in DIGIT_BITS}
        self._digits[0] = np.array([outcome["digits"] for outcome in outcomes])

    def counts(self, name: str, which: int) -> np.ndarray:
        """(seeds,) one of the eight counts of one doctor."""
        found: np.ndarray = self._counts[name][:, which]
        return found

    def decided(self, name: str) -> np.ndarray:
        """(seeds,) cancers that the doctor calls benign by a margin: the missed ones less the ties."""
        return self.counts(name, _MISSED) - self.counts(name, _TIES_ILL)

    def change(self, name: str, which: int, before: str = "float") -> Interval:
        """Of a count, paired by seed."""
        return t_interval(self.counts(name, which) - self.counts(before, which))

    def accuracy_change(self, name: str, before: str = "float") -> Interval:
        """As a fraction of the cases, threshold 0."""
        return t_interval((self.counts(name, _RIGHT) - self.counts(before, _RIGHT)) / self.cases)

    def digits(self, bits: int) -> np.ndarray:
        """(seeds, 2) images that the reader has right, and those it misreads though the true class shares the largest output;
        0 bits is float."""
        return self._digits[bits]

    def digits_change(self, bits: int) -> Interval:
        """Of the reader's accuracy, as a fraction of the images."""
        return t_interval((self._digits[bits][:, 0] - self._digits[0][:, 0]) / self.images)

    def digits_like(self, change: float) -> int:
        """The width at which the reader of digits loses most nearly as much accuracy."""
        return min(DIGIT_BITS, key=lambda bits: abs(self.digits_change(bits).value - change))


def doctor_text(found: Doctors) -> str:
    """The whole answer."""
    parts = [_table(found), _beside(found), _ties(found), _thresholds(found), _conflicts(found), _limits(found)]
    return "\n\n".join(parts) + "\n"


def doctor_csv(found: Doctors) -> str:
    """One line a count and a network: its mean over seeds, the ends of the 95 % t-interval, and how many there are in all."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(["network", "count", "mean", "low", "high", "seeds", "out_of"])
    ill, all_cases = found.cancers, found.cases
    counts = {"right": all_cases, "missed": ill, "false_alarms": all_cases - ill, "right_chosen": all_cases, "missed_chosen": ill,
              "false_alarms_chosen": all_cases - ill, "ties_cancer": ill, "ties_benign": all_cases - ill}  # fmt: skip
    rows = [(f"doctor {name}", count, found.counts(name, which), most)
            for name in NAMES for which, (count, most) in enumerate(counts.items())]  # fmt: skip
    rows += [(f"digits {bits or 'float'}", count, found.digits(bits)[:, which], found.images)
             for bits in (0, *DIGIT_BITS) for which, count in enumerate(("right", "misread_ties"))]  # fmt: skip
    for network, count, values, most in rows:
        mean = _within(t_interval(values), most)
        write.writerow([network, count, *(f"{v:.4f}" for v in (mean.value, mean.low, mean.high)), found.seeds, most])
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


def _with_half(found: Interval) -> str:
    """A mean and half its interval."""
    return f"{found.value:.2f} +-{found.half:.2f}"


def _within(found: Interval, most: float) -> Interval:
    """The interval of something that can be no less than 0 and no more than so much."""
    low, high = max(0.0, found.low), min(float(most), found.high)
    return Interval(found.value, low, high, found.of, found.count, found.method)


def _beside(found: Doctors) -> str:
    """Nearly the same drop on digits."""
    lines = ["Nearly the same drop of accuracy, twice (PTQ; of the reader of digits the width whose drop is nearest):"]
    verdict = {1: "more missed cancers: shown", 0: "more missed cancers: not shown", -1: "fewer missed cancers: shown"}
    for bits in DOCTOR_BITS:
        name = f"ptq{bits}"
        lost, more = found.accuracy_change(name), found.change(name, _MISSED)
        digits = found.digits_like(lost.value)
        other = found.digits_change(digits)
        before, after = found.counts("float", _MISSED).mean(), found.counts(name, _MISSED).mean()
        times = f", {after / before:.1f} times as many" if before > 0 and more.side == 1 else ""
        ties = found.counts(name, _TIES_ILL).mean()
        of_them = f", {ties:.1f} of them ties" if 2 * ties > after else ""
        misread = t_interval(found.digits(0)[:, 0] - found.digits(digits)[:, 0])
        lines += [
            f"  {bits} bits  doctor {100 * lost.value:+.2f} +-{100 * lost.half:.2f} points: "
            f"missed {before:.1f} -> {after:.1f} of {found.cancers}{times} ({verdict[more.side]}{of_them})",
            f"          digits {100 * other.value:+.2f} +-{100 * other.half:.2f} points at {digits} bits: "
            f"{misread.value:.1f} +-{misread.half:.1f} more of {found.images} misread, each as bad as any other",
        ]
    return "\n".join(lines)


def _ties(found: Doctors) -> str:
    """What was never decided: few codes leave few outputs, and both classes often get the same one."""
    well = found.cases - found.cancers
    lines = [
        "Ties: both classes have one output, and argmax takes the first, benign. No verdict; missed if it is a cancer, right if "
        "not:",
    ]
    for name in NAMES:
        ill, healthy = (found.counts(name, which).mean() for which in (_TIES_ILL, _TIES_WELL))
        if ill > 0 or healthy > 0:
            lines.append(
                f"  {_said(name):<8} {ill:>4.1f} of the {found.counts(name, _MISSED).mean():.1f} missed cancers "
                f"({found.decided(name).mean():.1f} are missed by a verdict), {healthy:.1f} of {well} benign cases"
            )
    if len(lines) == 1:
        return lines[0] + "\n  none."
    few = f"ptq{DOCTOR_BITS[-1]}"
    fewer = t_interval(found.decided(few) - found.counts("float", _MISSED))
    lines.append(f"  Missed by a verdict, {_said(few)} minus float: {fewer.value:+.1f} +-{fewer.half:.1f} cancers.")
    if 2 * found.decided(few).mean() < found.counts(few, _MISSED).mean():
        lines.append(f"  Most of what {_said(few)} misses is a tie: not the network but the rule for ties decides who is hurt.")
    right, shared = found.digits(DOCTOR_BITS[-1]).mean(axis=0)
    misread = f"{shared:.1f} of the {found.images - right:.1f} digits misread"
    lines.append(f"  At {DOCTOR_BITS[-1]} bits {misread} are ties too: the true class shares the largest output.")
    return "\n".join(lines)


def _thresholds(found: Doctors) -> str:
    """What choosing a threshold on validation gives back, and costs."""
    wanted, (among, least) = SETTINGS["wanted_recall"], found.validation
    share = f"{100 * wanted:.0f} %"
    lines = [
        f"With a threshold of its own for each doctor, the largest that finds {share} of the cancers of a validation part",
        f"({least} of {among}; more where margins are equal). On the test cases, is {share} in the interval of the recall?",
    ]
    for name in NAMES:
        missed, alarms = (t_interval(found.counts(name, which)) for which in (_MISSED_T, _ALARMS_T))
        recall = _within(t_interval(100 - 100 * found.counts(name, _MISSED_T) / found.cancers), 100)
        kept = "below it" if recall.high < 100 * wanted else "above it" if recall.low > 100 * wanted else "yes"
        paid = f"{alarms.value:>5.1f} +-{alarms.half:>4.1f}"
        lines.append(
            f"  {_said(name):<8} missed {missed.value:>4.1f} +-{missed.half:.1f}, false alarms {paid}; "
            f"recall {recall.value:.1f} % ({recall.low:.1f} to {recall.high:.1f}): {kept}"
        )
    few = f"ptq{DOCTOR_BITS[-1]}"
    saved = t_interval(found.counts(few, _MISSED_T) - found.counts(few, _MISSED))
    more = t_interval(found.counts(few, _ALARMS_T) - found.counts(few, _ALARMS))
    lines.append(
        f"  For {_said(few)} the threshold changes missed cancers by {saved.value:+.1f} +-{saved.half:.1f} and false alarms by "
        f"{more.value:+.1f} +-{more.half:.1f}."
    )
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
