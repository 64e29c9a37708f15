"""Which numbers may stand together in a case: what a right answer must be able to handle, and nothing else.

Drawing and shrinking change the numbers of a case one by one. Between two legal cases may lie one that asks for nonsense: a zero
point outside the codes, an accuracy that no number of images has. With this module one can tell them apart (`is_legal`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction

from tinyquant.testing.cases import (
    AccuracyCase,
    BatchesCase,
    BytesCase,
    Case,
    MseCase,
    PairedCase,
    PercentileCase,
    RecallCase,
    ScaleCase,
    SignCase,
    ThresholdCase,
    TieCase,
)
from tinyquant.testing.exact import EXACT_MODES, round_to_int

__all__ = ["is_legal"]

ENDS = tuple(
    ends
    for half in (2 ** (bits - 1) for bits in (*range(2, 9), 16))
    for ends in ((-half, half - 1), (1 - half, half - 1), (0, 2 * half - 1))
)
"""The codes there are, of 2 to 8 and 16 bits: signed, signed and symmetric (-127..127), unsigned."""


def _numbers(row: Iterable[float]) -> bool:
    """At least one number, none so large or so small that a float32 of it would lose it."""
    row = tuple(row)
    return len(row) > 0 and all(v == 0 or 2.0**-80 < abs(v) <= 2.0**40 for v in row)


def _accuracy(case: AccuracyCase) -> bool:
    """Both are percents of whole numbers of images, exact or with two decimals, and these are enough to tell the images apart."""
    if not (1 <= case.images <= 10**6 and 0 <= case.before <= 100 and 0 <= case.after <= 100):
        return False
    accuracies = (case.before, case.after)
    counts = [Fraction(accuracy) * case.images / 100 for accuracy in accuracies]
    whole = [round_to_int(count, "half_away") for count in counts]
    percents = [100 * count / case.images for count in whole]
    written = all(accuracy in (percent, round(percent, 2)) for accuracy, percent in zip(accuracies, percents))
    # Two tenths of an image keep clear of any float error, for each and for the difference.
    return written and all(abs(count - n) <= Fraction(1, 5) for count, n in zip(counts, whole))


def _threshold(case: ThresholdCase) -> bool:
    """Somebody is to be found, and how many is no matter of float rounding: recall * ones is no whole number by accident."""
    ones = sum(case.truth)
    wanted = case.recall * ones
    clear = case.recall * 64 == int(case.recall * 64) or abs(wanted - round(wanted)) > 1e-6
    return (
        len(case.scores) == len(case.truth)
        and _numbers(case.scores)
        and set(case.truth) <= {0, 1}
        and ones >= 1
        and 0 < case.recall <= 1
        and clear
    )


_OWN: dict[type, Callable[..., bool]] = {
    BytesCase: lambda case: 1 <= case.int8_bytes <= case.float_bytes <= 2**40,
    AccuracyCase: _accuracy,
    SignCase: lambda case: 0 <= case.only_a <= 500 and 0 <= case.only_b <= 500,
    TieCase: lambda case: case.mode_a != case.mode_b and {case.mode_a, case.mode_b} <= set(EXACT_MODES),
    BatchesCase: lambda case: len(case.batches) > 0 and all(_numbers(batch) for batch in case.batches),
    PercentileCase: lambda case: _numbers(case.x) and 50 <= case.percent <= 100,
    MseCase: lambda case: _numbers(case.x) and 2 <= case.bits <= 8,
    ScaleCase: lambda case: (
        len(case.x) == len(case.upstream)
        and _numbers(case.x)
        and _numbers(case.upstream)
        and case.scale >= 2.0**-60
        and (case.qmin, case.qmax) in ENDS
    ),
    RecallCase: lambda case: (
        len(case.truth) == len(case.predicted) and {*case.truth, *case.predicted} <= {0, 1} and sum(case.truth) >= 1
    ),
    ThresholdCase: _threshold,
    PairedCase: lambda case: (
        len(case.a) == len(case.b) >= 2 and _numbers(case.a) and _numbers(case.b) and 0 < case.t <= 1000
    ),
}  # fmt: skip


def is_legal(case: Case) -> bool:
    """Whether the numbers of a case may stand together: a positive scale, a zero point among the codes, and so on.

    Examples
    --------
    >>> is_legal(AccuracyCase(98.0, 97.78, 450)), is_legal(AccuracyCase(98.0, 97.7, 450))    # 440 images; no number of images
    (True, False)
    """
    if type(case) in _OWN:
        return _OWN[type(case)](case)
    values = case._asdict()
    low, high = values.get("qmin", -128), values.get("qmax", 127)
    kind = "layer" if "y_zero" in values else "dot" if "x_zero" in values else ""
    codes = values.get("codes", ()) if not kind else values["x"] + values["w"]
    edge = (low, high) if not kind else (-128, 127)
    return (
        low < high
        and (low, high) in ENDS
        and values.get("scale", 1.0) >= 2.0**-60
        and low <= values.get("zero_point", low) <= high
        and low <= values.get("y_zero", low) <= high
        and all(-128 <= values.get(name, 0) <= 127 for name in ("x_zero", "w_zero"))
        and all(edge[0] <= code <= edge[1] for code in codes)
        and values.get("rmin", 0.0) <= values.get("rmax", 0.0)
        and 2.0**-31 <= values.get("real", 1.0) < 2.0**30
        and 2**30 <= values.get("multiplier", 2**30) < 2**31
        and -30 <= values.get("shift", 0) <= 8
        and all(abs(a) << max(values.get("shift", 0), 0) < 2**31 for a in values.get("acc", ()))
        and abs(values.get("bias", 0)) < 2**20
    )
