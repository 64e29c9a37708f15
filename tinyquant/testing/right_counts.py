"""Right answers that count: sizes, images, coins, missed cases, thresholds and intervals."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np

__all__ = ["RIGHT_COUNTS"]


# times_smaller


def _ratio(float_bytes: int, int8_bytes: int) -> float:
    return float_bytes / int8_bytes


def _ratio_in_float32(float_bytes: int, int8_bytes: int) -> Any:
    return np.float32(float_bytes) / np.float32(int8_bytes)


def _times_the_inverse(float_bytes: int, int8_bytes: int) -> float:
    return float_bytes * (1.0 / int8_bytes)


# images_lost


def _rounded_difference(before: float, after: float, images: int) -> int:
    return round((before - after) / 100 * images)


def _counted_apart(before: float, after: float, images: int) -> Any:
    right = [np.floor(accuracy * images / 100 + 0.5) for accuracy in (before, after)]
    return right[0] - right[1]


def _wrong_after_less_wrong_before(before: float, after: float, images: int) -> int:
    wrong = [int(np.rint(images * (1 - accuracy / 100))) for accuracy in (before, after)]
    return wrong[1] - wrong[0]


# sign_test


def _two_tails(only_a: int, only_b: int) -> float:
    n = only_a + only_b
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1)) / 2**n)


def _as_unlikely_or_more(only_a: int, only_b: int) -> float:
    n = only_a + only_b
    return sum(math.comb(n, k) * 0.5**n for k in range(n + 1) if abs(2 * k - n) >= abs(only_a - only_b))


def _by_logarithms(only_a: int, only_b: int) -> float:
    n = only_a + only_b
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(min(only_a, only_b) + 1)]
    return min(2 * math.fsum(math.exp(log - n * math.log(2)) for log in logs), 1.0)


def _pascal(only_a: int, only_b: int) -> Any:
    row = np.ones(1)
    for _ in range(only_a + only_b):
        row = (np.append(row, 0.0) + np.append(0.0, row)) / 2
    return np.minimum(1, 2 * row[: min(only_a, only_b) + 1].sum())


# recall


def _found_over_all(truth: Any, predicted: Any) -> Any:
    return np.sum((truth == 1) & (predicted == 1)) / np.sum(truth == 1)


def _mean_where_true(truth: Any, predicted: Any) -> Any:
    return predicted[truth == 1].astype(np.float32).mean()


def _counted(truth: Any, predicted: Any) -> float:
    hits = misses = 0
    for real, guess in zip(truth, predicted):
        hits += int(real and guess)
        misses += int(real and not guess)
    return hits / (hits + misses)


# choose_threshold


def _highest_that_finds_enough(scores: Any, truth: Any, recall: float) -> Any:
    for t in sorted(scores, reverse=True):
        if np.sum((scores >= t) & (truth == 1)) / np.sum(truth == 1) >= recall:
            return t
    return min(scores)


def _of_the_positives(scores: Any, truth: Any, recall: float) -> Any:
    positives = np.sort(scores[truth == 1])[::-1]
    return positives[math.ceil(recall * len(positives)) - 1]


def _fewest_of_all(scores: Any, truth: Any, recall: float) -> Any:
    best, fewest = None, math.inf
    for t in np.unique(scores):
        predicted = scores >= t
        alarms = int((predicted & (truth == 0)).sum())
        if (predicted & (truth == 1)).sum() >= recall * truth.sum() and alarms < fewest:
            best, fewest = t, alarms
    return best


# paired_interval


def _interval(a: Any, b: Any, t: float) -> Any:
    d = a - b
    half = t * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


def _with_statistics(a: Any, b: Any, t: float) -> Any:
    d = [float(first) - float(second) for first, second in zip(a, b)]
    half = t * statistics.stdev(d) / len(d) ** 0.5
    return statistics.fmean(d) - half, statistics.fmean(d) + half


def _from_the_sums(a: Any, b: Any, t: float) -> Any:
    d = (a - b).astype(np.float32)
    mean = np.float32(d.sum() / d.size)
    error = np.sqrt(((d - mean) ** 2).sum() / ((d.size - 1) * d.size))
    return np.array([mean - t * error, mean + t * error])


RIGHT_COUNTS: list[tuple[str, Any]] = [
    *(("times_smaller", fn) for fn in (_ratio, _ratio_in_float32, _times_the_inverse)),
    *(("images_lost", fn) for fn in (_rounded_difference, _counted_apart, _wrong_after_less_wrong_before)),
    *(("sign_test", fn) for fn in (_two_tails, _as_unlikely_or_more, _by_logarithms, _pascal)),
    *(("recall", fn) for fn in (_found_over_all, _mean_where_true, _counted)),
    *(("choose_threshold", fn) for fn in (_highest_that_finds_enough, _of_the_positives, _fewest_of_all)),
    *(("paired_interval", fn) for fn in (_interval, _with_statistics, _from_the_sums)),
]
"""(role, the function) of each, the plainest of a role first."""
