"""The laws of counting: sizes, images, coins, missed cases, and the interval of a paired difference.

What is counted is judged in whole numbers and exact rationals. Where an answer must divide or take a root, float32 is accurate
enough: one rounding is 2**-24 of the value.
"""

from __future__ import annotations

import math
from fractions import Fraction

from tinyquant.testing import exact
from tinyquant.testing.cases import (
    AccuracyCase,
    BytesCase,
    PairedCase,
    RecallCase,
    SignCase,
    ThresholdCase,
    call,
    given,
)
from tinyquant.testing.exact import ULP
from tinyquant.testing.law import Broken, Functions, changed_inputs, law, numbers, pair, show

__all__: list[str] = []

_QUOTIENT = Fraction(1, 2**22)
"""Both numbers and their quotient rounded to float32: three times 2**-24, relative."""


def _number(role: str, case: object, functions: Functions, what: str) -> Fraction:
    """The one number that the function returns."""
    (value,) = numbers(call(functions[role], given(case)), 1, what)  # type: ignore[arg-type]
    return value


# times_smaller


@law("times_smaller", BytesCase, "times smaller: the float model's bytes over the int8 model's bytes")
def times_smaller_is_the_ratio(case: BytesCase, functions: Functions) -> Broken | None:
    """float_bytes / int8_bytes, a fraction of bytes and not rounded to a whole number."""
    value, right = _number("times_smaller", case, functions, "ratio"), Fraction(case.float_bytes, case.int8_bytes)
    if abs(value - right) <= _QUOTIENT * right:
        return None
    stands = f"{show(right, value)} = {case.float_bytes} / {case.int8_bytes}"
    return Broken(show(value, right), stands, "a float32 rounding")


@law("times_smaller", BytesCase, "only the ratio counts: both sizes in bits give the same answer")
def times_smaller_in_any_unit(case: BytesCase, functions: Functions) -> Broken | None:
    """times_smaller(8 a, 8 b) = times_smaller(a, b): a multiplication by 8 is exact in any float."""
    value = _number("times_smaller", case, functions, "ratio")
    in_bits = _number("times_smaller", BytesCase(8 * case.float_bytes, 8 * case.int8_bytes), functions, "ratio")
    if value == in_bits:
        return None
    return Broken(f"{show(value, in_bits)} in bytes, {show(in_bits, value)} in bits", "the same number for both")


# images_lost


def _images(case: AccuracyCase) -> int:
    """(before - after) / 100 of the images, to the nearest whole one; a legal case has one within 0.4."""
    return exact.round_to_int((Fraction(case.before) - Fraction(case.after)) * case.images / 100, "half_away")


@law("images_lost", AccuracyCase, "images are counted: the answer is a whole number")
def images_are_whole(case: AccuracyCase, functions: Functions) -> Broken | None:
    """An integer, or a float without a fraction."""
    value = _number("images_lost", case, functions, "number of images")
    return None if value.denominator == 1 else Broken(f"{float(value)!r} images", f"{_images(case)}, a whole number")


@law("images_lost", AccuracyCase, "fewer right after than before is a loss, above 0; more is below 0")
def a_loss_is_positive(case: AccuracyCase, functions: Functions) -> Broken | None:
    """The answer never has the other sign than before - after."""
    value, right = _number("images_lost", case, functions, "number of images"), _images(case)
    if value * right >= 0:
        return None
    return Broken(f"{show(value)} images", f"{right}: {case.before} % before, {case.after} % after")


@law("images_lost", AccuracyCase, "(before - after) / 100 of all the images, to the nearest image")
def images_lost_are_counted(case: AccuracyCase, functions: Functions) -> Broken | None:
    """round((before - after) / 100 * images)."""
    value, right = _number("images_lost", case, functions, "number of images"), _images(case)
    if value == right:
        return None
    exactly = (Fraction(case.before) - Fraction(case.after)) * case.images / 100
    why = f"({case.before} - {case.after}) / 100 * {case.images} = {show(exactly)}"
    return Broken(f"{show(value)} images", f"{right}: {why}")


# sign_test

_PROBABILITY = Fraction(1, 10**9)
"""Up to 1001 float64 terms, each off by 2**-53 of itself, are off by 2**-43; whoever takes logarithms of the factorials of 1000
(near 6000) loses 2**-53 of that, and the exponential makes 10**-12 of it. Both leave a factor of 1000."""


@law("sign_test", SignCase, "the answer is a probability: from 0 to 1, never above")
def p_is_a_probability(case: SignCase, functions: Functions) -> Broken | None:
    """0 <= p <= 1; float rounding may leave a sum of probabilities just above 1."""
    p = _number("sign_test", case, functions, "probability")
    if 0 <= p <= 1 + _PROBABILITY:
        return None
    return Broken(f"p = {show(p)}", f"p = {show(exact.sign_test(*case))}, at most 1")


@law("sign_test", SignCase, "two-sided: which of the two models is called a makes no difference")
def sign_test_takes_either_side(case: SignCase, functions: Functions) -> Broken | None:
    """sign_test(a, b) = sign_test(b, a)."""
    p = _number("sign_test", case, functions, "probability")
    swapped = _number("sign_test", SignCase(case.only_b, case.only_a), functions, "probability")
    if abs(p - swapped) <= _PROBABILITY * max(p, swapped):
        return None
    return Broken(f"p = {show(p)}; with a and b swapped {show(swapped)}", f"{show(exact.sign_test(*case))} for both")


@law("sign_test", SignCase, "a fair coin's chance of so uneven a split or worse, on either side")
def sign_test_is_exact(case: SignCase, functions: Functions) -> Broken | None:
    """min(1, 2 * sum of C(n, k) / 2**n for k up to the smaller count)."""
    p, right = _number("sign_test", case, functions, "probability"), exact.sign_test(*case)
    if abs(p - right) <= _PROBABILITY * right:
        return None
    tosses, fewer = case.only_a + case.only_b, min(case.only_a, case.only_b)
    answer = f"p = {show(right, p)}: 2 * P({fewer} or fewer of {tosses}), at most 1"
    return Broken(f"p = {show(p, right)}", answer, "one part in 10**9")


# recall


def _found(case: RecallCase) -> tuple[int, int]:
    """How many ones were predicted, of how many."""
    return sum(t * p for t, p in zip(case.truth, case.predicted)), sum(case.truth)


@law("recall", RecallCase, "of the cases that are 1 in truth, the share that was predicted 1")
def recall_is_the_share_found(case: RecallCase, functions: Functions) -> Broken | None:
    """Found over all ones."""
    value, (found, ones) = _number("recall", case, functions, "share"), _found(case)
    right = Fraction(found, ones)
    if abs(value - right) <= _QUOTIENT * right:
        return None
    answer = f"{show(right, value)}: {found} of {ones} ones were found"
    return Broken(f"recall {show(value, right)}", answer, "a float32 rounding")


@law("recall", RecallCase, "a false alarm (predicted 1, truth 0) does not change the recall")
def recall_ignores_false_alarms(case: RecallCase, functions: Functions) -> Broken | None:
    """Predicting other things where the truth is 0 gives the same recall."""
    alarmed = case._replace(predicted=tuple(p if t else 1 for t, p in zip(case.truth, case.predicted)))
    quiet = case._replace(predicted=tuple(p if t else 0 for t, p in zip(case.truth, case.predicted)))
    values = [_number("recall", one, functions, "share") for one in (quiet, alarmed)]
    if values[0] == values[1]:
        return None
    found, ones = _found(case)
    return Broken(f"{show(values[0])} without false alarms, {show(values[1])} when every 0 is one",
                  f"{show(Fraction(found, ones))} for both: {found} of {ones} found")  # fmt: skip


@law("recall", RecallCase, "truth and predicted themselves stay as they were")
def recall_leaves_its_inputs_alone(case: RecallCase, functions: Functions) -> Broken | None:
    """The caller's arrays are not multiplied or masked in place."""
    return changed_inputs(functions["recall"], given(case))


# choose_threshold


def _counts(case: ThresholdCase, threshold: Fraction) -> tuple[int, int]:
    """How many ones are found and how many false alarms there are at that threshold."""
    over = [truth for score, truth in zip(case.scores, case.truth) if Fraction(score) >= threshold]
    return sum(over), len(over) - sum(over)


def _best(case: ThresholdCase) -> float:
    """The highest score that finds enough: of those that do it has the fewest false alarms."""
    wanted = _wanted(case)
    return max(score for score in case.scores if _counts(case, Fraction(score))[0] >= wanted)


def _wanted(case: ThresholdCase) -> Fraction:
    """How many ones must be found at least. The recall is meant as it is written: 0.9 is nine tenths."""
    return Fraction(str(case.recall)) * sum(case.truth)


@law("choose_threshold", ThresholdCase, "the threshold is one of the scores: predicted = scores >= t")
def threshold_is_a_score(case: ThresholdCase, functions: Functions) -> Broken | None:
    """t in scores."""
    t = _number("choose_threshold", case, functions, "threshold")
    if t in [Fraction(score) for score in case.scores]:
        return None
    return Broken(f"t = {show(t)}", f"one of the scores: {show(_best(case))}")


@law("choose_threshold", ThresholdCase, "with predicted = scores >= t, at least the recall asked for")
def threshold_finds_enough(case: ThresholdCase, functions: Functions) -> Broken | None:
    """found / ones >= recall."""
    t = _number("choose_threshold", case, functions, "threshold")
    (found, _), ones = _counts(case, t), sum(case.truth)
    if found >= _wanted(case):
        return None
    return Broken(f"t = {show(t)}: {found} of {ones} found", f"t = {show(_best(case))}: at least {show(_wanted(case))} of {ones}")


@law("choose_threshold", ThresholdCase, "of the thresholds with enough recall, one with fewest false alarms")
def threshold_has_few_false_alarms(case: ThresholdCase, functions: Functions) -> Broken | None:
    """No score finds enough with fewer zeros above it."""
    t = _number("choose_threshold", case, functions, "threshold")
    alarms, best = _counts(case, t)[1], _best(case)
    fewest = _counts(case, Fraction(best))[1]
    if alarms <= fewest:
        return None
    return Broken(f"t = {show(t)}, with false alarms: {alarms}", f"t = {show(best)}, false alarms: {fewest}, and enough found")


@law("choose_threshold", ThresholdCase, "scores and truth themselves stay as they were")
def threshold_leaves_its_inputs_alone(case: ThresholdCase, functions: Functions) -> Broken | None:
    """The caller's scores are not sorted: then they would no longer belong to their truth."""
    return changed_inputs(functions["choose_threshold"], given(case))


# paired_interval


def _room(case: PairedCase) -> Fraction:
    """What float32 may add: each number rounded once and each difference once, 3 * 2**-24 of the largest number in a difference,
    and so in their mean and (times sqrt(n / (n-1)) / sqrt(n), at most 1) in sd / sqrt(n); sums of up to n terms, t times it."""
    largest = max(abs(Fraction(value)) for value in (*case.a, *case.b))
    return (3 + len(case.a)) * (1 + Fraction(case.t)) * largest * ULP


def _mean_and_half(case: PairedCase) -> tuple[Fraction, float]:
    """The mean of a - b, and t * sd / sqrt(n)."""
    differences = [Fraction(a) - Fraction(b) for a, b in zip(case.a, case.b)]
    n = len(differences)
    mean = sum(differences, Fraction(0)) / n
    variance = sum(((d - mean) ** 2 for d in differences), Fraction(0)) / (n - 1)
    return mean, float(case.t) * math.sqrt(float(variance / n))


@law("paired_interval", PairedCase, "the interval is (low, high) with low at most high")
def interval_is_in_order(case: PairedCase, functions: Functions) -> Broken | None:
    """low <= high."""
    low, high = pair(call(functions["paired_interval"], given(case)), "low", "high")
    return None if low <= high else Broken(f"({show(low)}, {show(high)})", "the smaller end first")


@law("paired_interval", PairedCase, "the middle is the mean of the differences a - b, seed by seed")
def interval_is_centred(case: PairedCase, functions: Functions) -> Broken | None:
    """(low + high) / 2 = mean(a - b)."""
    low, high = pair(call(functions["paired_interval"], given(case)), "low", "high")
    mean, _ = _mean_and_half(case)
    if abs((low + high) / 2 - mean) <= _room(case):
        return None
    return Broken(f"({show(low)}, {show(high)}), middle {show((low + high) / 2)}", f"middle {show(mean)}", "a float32 rounding")


@law("paired_interval", PairedCase, "half the width is t * sd / sqrt(n), sd of a - b with n - 1 below")
def interval_has_its_width(case: PairedCase, functions: Functions) -> Broken | None:
    """(high - low) / 2 = t * sd(a - b) / sqrt(n)."""
    low, high = pair(call(functions["paired_interval"], given(case)), "low", "high")
    _, half = _mean_and_half(case)
    if abs((high - low) / 2 - Fraction(half)) <= _room(case):
        return None
    return Broken(f"({show(low)}, {show(high)}), half the width {show((high - low) / 2)}", f"half the width {show(half)}",
                  "a float32 rounding")  # fmt: skip


@law("paired_interval", PairedCase, "a and b themselves stay as they were")
def interval_leaves_the_results_alone(case: PairedCase, functions: Functions) -> Broken | None:
    """The caller's arrays are not subtracted in place."""
    return changed_inputs(functions["paired_interval"], given(case))
