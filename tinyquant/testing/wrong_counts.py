"""Wrong ways to count: sizes, images, coins, missed cases, thresholds and intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["WRONG_COUNTS"]

# times_smaller(float_bytes, int8_bytes)

_RATIO, _UNIT = "times_smaller_is_the_ratio", "times_smaller_in_any_unit"
_SIZES = (
    ("turned_around", lambda f, i: i / f, (_RATIO,),
     "divides the small one by the large one: that says what is left of it"),
    ("difference", lambda f, i: f - i, (_RATIO, _UNIT), "subtracts the sizes: bytes saved, not times smaller"),
    ("percent_saved", lambda f, i: 100 * (1 - i / f), (_RATIO,),
     "gives the percent saved, 75 where 4 times smaller is meant"),
    ("whole_division", lambda f, i: f // i, (_RATIO,), "divides with //, which drops what is behind the point"),
    ("rounded", lambda f, i: float(round(f / i)), (_RATIO,), "rounds to a whole number, as one says it aloud"),
    ("always_four", lambda f, i: 4.0, (_RATIO,),
     "answers 4 always, 32 bits over 8: scales and biases count too"),
    ("bits_over_bytes", lambda f, i: 8 * f / i, (_RATIO,), "counts one of the sizes in bits and the other in bytes"),
    ("one_less", lambda f, i: (f - i) / i, (_RATIO,), "divides what was saved by the small size: one time too few"),
    ("whole_kilobytes", lambda f, i: (f // 1024 + 1) / (i // 1024 + 1), (_RATIO, _UNIT),
     "takes whole kilobytes of both first"),
)

# images_lost(before, after, images)

_WHOLE, _SIGN, _COUNT = "images_are_whole", "a_loss_is_positive", "images_lost_are_counted"
_IMAGES = (
    ("percent_as_fraction", lambda b, a, n: round((b - a) * n), (_COUNT,),
     "takes 98 % for 98: forgets to divide by 100"),
    ("turned_around", lambda b, a, n: round((a - b) / 100 * n), (_SIGN,),
     "subtracts before from after: a loss comes out below 0"),
    ("not_rounded", lambda b, a, n: (b - a) / 100 * n, (_WHOLE,),
     "leaves 0.99 images: printed percents are rounded, images are not"),
    ("truncated", lambda b, a, n: int((b - a) / 100 * n), (_COUNT,),
     "cuts 0.99 down to 0 with int(): one image too few"),
    ("never_below_zero", lambda b, a, n: max(0, round((b - a) / 100 * n)), (_COUNT,),
     "takes it that quantizing can only lose images"),
    ("without_a_sign", lambda b, a, n: abs(round((b - a) / 100 * n)), (_SIGN,),
     "drops the sign: a gain looks like a loss"),
    ("rounds_the_percent", lambda b, a, n: round(round(b - a) * n / 100), (_COUNT,),
     "rounds the difference to whole percents first"),
    ("relative", lambda b, a, n: round((b - a) / max(b, 1) * n), (_COUNT,),
     "takes the loss as a share of what was right, not of all"),
    ("always_up", lambda b, a, n: math.ceil((b - a) / 100 * n), (_COUNT,), "rounds up: 7.004 images become 8"),
    ("floored", lambda b, a, n: (b - a) * n // 100, (_COUNT,),
     "divides with //, which goes down: 0.99 images become 0"),
)  # fmt: skip

# sign_test(only_a, only_b)


def _tail(a: int, b: int) -> float:
    """P(at most the smaller count) for a fair coin."""
    return sum(math.comb(a + b, k) for k in range(min(a, b) + 1)) / 2 ** (a + b)


def _normal(z: float) -> float:
    """Two-sided probability of a normal number beyond z."""
    return math.erfc(z / math.sqrt(2))


_RANGE, _SIDES, _EXACT = "p_is_a_probability", "sign_test_takes_either_side", "sign_test_is_exact"
_COINS = (
    ("one_sided", lambda a, b: _tail(a, b), (_EXACT,), "sums one tail only: b might have been the better one as well"),
    ("above_one", lambda a, b: 2 * _tail(a, b), (_RANGE,),
     "doubles the tail also where both are the same: p comes out above 1"),
    ("this_split_only", lambda a, b: min(1.0, 2 * math.comb(a + b, a) / 2 ** (a + b)), (_EXACT,),
     "takes the probability of exactly this split, not of worse ones too"),
    ("strictly_more_uneven", lambda a, b: min(1.0, 2 * (_tail(a, b) - math.comb(a + b, a) / 2 ** (a + b))), (_EXACT,),
     "leaves the split that was seen out of the sum: range() ends too early"),
    ("normal", lambda a, b: _normal(abs(a - b) / math.sqrt(max(a + b, 1))), (_EXACT,),
     "takes a bell curve for the coin: too sure when few images changed"),
    ("corrected_normal", lambda a, b: _normal(max(abs(a - b) - 1, 0) / math.sqrt(max(a + b, 1))), (_EXACT,),
     "uses the chi-square test with its correction: close, and not exact"),
    ("a_at_least", lambda a, b: min(1.0, 2 * sum(math.comb(a + b, k) for k in range(a, a + b + 1)) / 2 ** (a + b)), (_SIDES,),
     "sums upwards from only_a whichever is larger: p is 1 when a lost"),
    ("a_over_all", lambda a, b: min(a, b) / max(a + b, 1), (_EXACT,),
     "gives the share of the smaller count: that is no probability"),
    ("half_of_what_was_seen", lambda a, b: min(1.0, 2 * _tail(a, b) - math.comb(a + b, a) / 2 ** (a + b)), (_EXACT,),
     "counts the split that was seen by half (mid-p)"),
    ("one_less_p", lambda a, b: 1 - min(1.0, 2 * _tail(a, b)), (_EXACT,), "gives 1 - p: large where the models differ"),
)  # fmt: skip

# recall(truth, predicted)


def _hits(truth: Any, predicted: Any) -> int:
    """How many ones were found."""
    return int(((truth == 1) & (predicted == 1)).sum())


_SHARE, _ALARMS = "recall_is_the_share_found", "recall_ignores_false_alarms"
_RECALLS = (
    ("precision", lambda t, p: _hits(t, p) / max(p.sum(), 1), (_SHARE, _ALARMS),
     "divides by what was predicted: that is precision"),
    ("accuracy", lambda t, p: (t == p).mean(), (_SHARE, _ALARMS),
     "gives the accuracy: with few ones it is high even if all are missed"),
    ("of_everything", lambda t, p: _hits(t, p) / t.size, (_SHARE,), "divides by all cases, the zeros too"),
    ("miss_rate", lambda t, p: 1 - _hits(t, p) / t.sum(), (_SHARE,), "gives the share that was missed"),
    ("count", lambda t, p: _hits(t, p), (_SHARE,), "counts the ones that were found and does not divide"),
    ("percent", lambda t, p: 100 * _hits(t, p) / t.sum(), (_SHARE,), "answers in percent: a share goes from 0 to 1"),
    ("predicted_over_true", lambda t, p: p.sum() / t.sum(), (_SHARE, _ALARMS),
     "counts every alarm as a find, whether it is true or not"),
    ("f1", lambda t, p: 2 * _hits(t, p) / (t.sum() + p.sum()), (_SHARE, _ALARMS),
     "gives the F1 score, which mixes in the false alarms"),
    ("specificity", lambda t, p: ((t == 0) & (p == 0)).sum() / max((t == 0).sum(), 1), (_SHARE, _ALARMS),
     "asks how many zeros were recognised: the healthy, not the ill"),
    ("both_classes", lambda t, p: np.mean([(p[t == v] == v).mean() for v in set(t.tolist())]), (_SHARE, _ALARMS),
     "averages over both classes: balanced accuracy"),
)  # fmt: skip

# choose_threshold(scores, truth, recall)


def _down(scores: Any, truth: Any) -> Any:
    """The scores of the ones, highest first."""
    return np.sort(scores[truth == 1])[::-1]


def _too_strict(scores: Any, truth: Any, recall: float) -> Any:
    ones = _down(scores, truth)
    return ones[max(math.floor(recall * len(ones)) - 1, 0)]


def _one_too_few(scores: Any, truth: Any, recall: float) -> Any:
    ones = _down(scores, truth)
    return ones[max(math.ceil(recall * len(ones)) - 2, 0)]


def _one_too_many(scores: Any, truth: Any, recall: float) -> Any:
    ones = _down(scores, truth)
    return ones[min(math.ceil(recall * len(ones)), len(ones) - 1)]


def _of_all_scores(scores: Any, truth: Any, recall: float) -> Any:
    everything = np.sort(scores)[::-1]
    return everything[math.ceil(recall * len(everything)) - 1]


def _most_accurate(scores: Any, truth: Any, recall: float) -> Any:
    return max(np.unique(scores), key=lambda t: ((scores >= t) == (truth == 1)).mean())


def _by_precision(scores: Any, truth: Any, recall: float) -> Any:
    good = [t for t in np.unique(scores) if truth[scores >= t].mean() >= recall]
    return good[0] if good else scores.max()


def _lowest_with_enough(scores: Any, truth: Any, recall: float) -> Any:
    return next(t for t in np.sort(scores) if (truth[scores >= t] == 1).sum() >= recall * truth.sum())


def _strictly_above(scores: Any, truth: Any, recall: float) -> Any:
    below = [t for t in np.sort(scores)[::-1] if (truth[scores > t] == 1).sum() >= recall * truth.sum()]
    return below[0] if below else scores.min()


def _between(scores: Any, truth: Any, recall: float) -> Any:
    ones, ordered = _down(scores, truth), np.sort(scores)
    t = ones[math.ceil(recall * len(ones)) - 1]
    lower = ordered[ordered < t]
    return (t + lower[-1]) / 2 if len(lower) else t - 1


def _truth_not_sorted(scores: Any, truth: Any, recall: float) -> Any:
    ordered = np.sort(scores)[::-1]
    found = np.cumsum(truth)
    return ordered[int(np.argmax(found >= recall * truth.sum()))]


_FROM, _ENOUGH, _FEW = "threshold_is_a_score", "threshold_finds_enough", "threshold_has_few_false_alarms"
_THRESHOLDS = (
    ("rounds_down", _too_strict, (_ENOUGH,), "rounds the ones to be found down: the recall stays just below"),
    ("one_too_few", _one_too_few, (_ENOUGH,), "counts from 1 where an index counts from 0: one is missed too many"),
    ("one_too_many", _one_too_many, (_FEW,), "takes the next score below, to be on the safe side"),
    ("of_all_scores", _of_all_scores, (_ENOUGH, _FEW),
     "takes that share of all the scores, not of the scores of the ones"),
    ("most_accurate", _most_accurate, (_ENOUGH,),
     "takes the threshold with the best accuracy: that misses rare ones"),
    ("by_precision", _by_precision, (_ENOUGH,), "asks for precision: how many of those found are real"),
    ("lowest_with_enough", _lowest_with_enough, (_FEW,),
     "takes the lowest threshold: all is found, and all is an alarm"),
    ("one_half", lambda scores, truth, recall: 0.5, (_FROM,),
     "takes 0.5, as if scores were probabilities to be trusted"),
    ("strictly_above", _strictly_above, (_FEW,), "predicts with > where the exercise says >=: one score too low"),
    ("between", _between, (_FROM,), "takes the middle between two scores"),
    ("truth_not_sorted", _truth_not_sorted, (_ENOUGH, _FEW), "sorts the scores, and not the truth that belongs to them"),
    ("highest", lambda scores, truth, recall: scores.max(), (_ENOUGH,),
     "takes the highest score: hardly an alarm, hardly a find"),
)

# paired_interval(a, b, t)


def _in_place(a: Any, b: Any, t: float) -> Any:
    a -= b
    return _around(a.mean(), t * _error(a))


def _around(mean: Any, half: Any) -> tuple[Any, Any]:
    """The interval of a mean and half its width."""
    return mean - half, mean + half


def _error(d: Any) -> Any:
    """sd / sqrt(n)."""
    return d.std(ddof=1) / np.sqrt(d.size)


_ORDER, _MIDDLE, _WIDTH = "interval_is_in_order", "interval_is_centred", "interval_has_its_width"
_INTERVALS = (
    ("n_below_the_sd", lambda a, b, t: _around((a - b).mean(), t * (a - b).std() / np.sqrt(a.size)), (_WIDTH,),
     "uses np.std as it is, with n below the fraction instead of n - 1"),
    ("sd_of_one_seed", lambda a, b, t: _around((a - b).mean(), t * (a - b).std(ddof=1)), (_WIDTH,),
     "forgets sqrt(n): that is how much single seeds vary, not their mean"),
    ("divides_by_n", lambda a, b, t: _around((a - b).mean(), t * (a - b).std(ddof=1) / a.size), (_WIDTH,),
     "divides by n instead of its root: far too narrow"),
    ("unpaired", lambda a, b, t: _around(a.mean() - b.mean(), t * np.hypot(_error(a), _error(b))), (_WIDTH,),
     "adds the spreads of a and b: the same seeds cancel most of them"),
    ("variance", lambda a, b, t: _around((a - b).mean(), t * (a - b).var(ddof=1) / np.sqrt(a.size)), (_WIDTH,),
     "forgets the root of the variance"),
    ("turned_around", lambda a, b, t: _around((b - a).mean(), t * _error(a - b)), (_MIDDLE,), "subtracts a from b"),
    ("always_1_96", lambda a, b, t: _around((a - b).mean(), 1.96 * _error(a - b)), (_WIDTH,),
     "writes 1.96 into the function: with few seeds t is larger"),
    ("without_t", lambda a, b, t: _around((a - b).mean(), _error(a - b)), (_WIDTH,),
     "forgets t: that is one standard error, not an interval"),
    ("mean_and_half", lambda a, b, t: ((a - b).mean(), t * _error(a - b)), (_MIDDLE,),
     "returns the mean and half the width, not the two ends"),
    ("ends_swapped", lambda a, b, t: _around((a - b).mean(), -t * _error(a - b)), (_ORDER,),
     "returns the upper end first"),
    ("without_a_sign", lambda a, b, t: _around(np.abs(a - b).mean(), t * _error(np.abs(a - b))), (_MIDDLE,),
     "averages the sizes of the differences: who is better is lost"),
    ("smallest_and_largest", lambda a, b, t: ((a - b).min(), (a - b).max()), (_MIDDLE, _WIDTH),
     "gives the smallest and largest difference: that grows with more seeds"),
    ("two_decimals", lambda a, b, t: _around(round((a - b).mean(), 2), round(t * _error(a - b), 2)), (_MIDDLE, _WIDTH),
     "rounds mean and width to two decimals before it takes the ends"),
    ("in_place", _in_place, ("interval_leaves_the_results_alone",), "subtracts b from the caller's own array"),
    ("median", lambda a, b, t: _around(np.median(a - b), t * _error(a - b)), (_MIDDLE,),
     "takes the median for the mean"),
)  # fmt: skip


def _with_names(names: str, fn: Any) -> Any:
    """The function with the exercise's own parameter names."""
    return {
        "float_bytes int8_bytes": lambda float_bytes, int8_bytes: fn(float_bytes, int8_bytes),
        "before after images": lambda before, after, images: fn(before, after, images),
        "only_a only_b": lambda only_a, only_b: fn(only_a, only_b),
        "truth predicted": lambda truth, predicted: fn(truth, predicted),
    }[names]


WRONG_COUNTS: list[tuple[str, str, str, tuple[str, ...], Any]] = [
    *(("times_smaller", name, words, breaks, _with_names("float_bytes int8_bytes", fn)) for name, fn, breaks, words in _SIZES),
    *(("images_lost", name, words, breaks, _with_names("before after images", fn)) for name, fn, breaks, words in _IMAGES),
    *(("sign_test", name, words, breaks, _with_names("only_a only_b", fn)) for name, fn, breaks, words in _COINS),
    *(("recall", name, words, breaks, _with_names("truth predicted", fn)) for name, fn, breaks, words in _RECALLS),
    *(("choose_threshold", name, words, breaks, fn) for name, fn, breaks, words in _THRESHOLDS),
    *(("paired_interval", name, words, breaks, fn) for name, fn, breaks, words in _INTERVALS),
]
"""(role, name, misconception, laws it breaks, the function) of each."""
