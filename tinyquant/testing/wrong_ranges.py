"""Wrong ways to choose a range from data: by the smallest and largest, by percentiles, by squared error."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["WRONG_RANGES"]

# minmax_range(batches)


def _all(batches: Any) -> Any:
    """Every number of every batch."""
    return np.concatenate([np.ravel(batch) for batch in batches])


def _with_zero(low: Any, high: Any) -> tuple[Any, Any]:
    """The range widened to contain 0."""
    return min(low, 0.0), max(high, 0.0)


def _moving_average(batches: Any) -> Any:
    low, high = batches[0].min(), batches[0].max()
    for batch in batches[1:]:
        low, high = 0.9 * low + 0.1 * batch.min(), 0.9 * high + 0.1 * batch.max()
    return _with_zero(low, high)


def _cold_average(batches: Any) -> Any:
    low = high = 0.0
    for batch in batches:
        low, high = 0.9 * low + 0.1 * batch.min(), 0.9 * high + 0.1 * batch.max()
    return _with_zero(low, high)


def _mean_of_batches(batches: Any) -> Any:
    return _with_zero(np.mean([batch.min() for batch in batches]), np.mean([batch.max() for batch in batches]))


def _rows_of_images(batches: Any) -> Any:
    return _with_zero(min(min(batch) for batch in batches), max(max(batch) for batch in batches))


def _end_by_column(batches: Any) -> Any:
    tallest = [batch.max(axis=0) for batch in batches]
    return _with_zero(min(batch.min() for batch in batches), max(np.ravel(tallest[0]).max(), np.ravel(tallest[-1]).max()))


_ZERO, _ALL, _SHAPE = "minmax_contains_zero", "minmax_of_all_batches", "minmax_of_any_shape"
_MINMAX = (
    ("not_widened", lambda batches: (_all(batches).min(), _all(batches).max()), (_ZERO, _ALL),
     "does not widen the range: without 0 in it, 0 has no code"),
    ("last_batch", lambda batches: _with_zero(batches[-1].min(), batches[-1].max()), (_ALL,),
     "keeps the range of the last batch only"),
    ("first_batch", lambda batches: _with_zero(batches[0].min(), batches[0].max()), (_ALL,),
     "looks at the first batch only"),
    ("mean_of_batches", _mean_of_batches, (_ALL,), "averages the ends of the batches"),
    ("moving_average", _moving_average, (_ALL,), "keeps a moving average of the ends"),
    ("cold_average", _cold_average, (_ALL,), "starts a moving average at 0: after few batches it is mostly that 0"),
    ("symmetric", lambda batches: (-np.abs(_all(batches)).max(), np.abs(_all(batches)).max()), (_ALL,),
     "makes the range symmetric: half of the codes go unused after a ReLU"),
    ("magnitudes", lambda batches: (0.0, np.abs(_all(batches)).max()), (_ALL,),
     "takes magnitudes, and loses the negative side"),
    ("ends_swapped", lambda batches: _with_zero(_all(batches).min(), _all(batches).max())[::-1], (_ZERO, _ALL),
     "returns the larger end first"),
    ("widest_batch", lambda batches: _with_zero(*max(((b.min(), b.max()) for b in batches), key=lambda e: e[1] - e[0])), (_ALL,),
     "keeps the widest batch: the extremes may lie in two batches"),
    ("rows_of_images", _rows_of_images, (_SHAPE,),
     "uses Python's min and max, which cannot compare the rows of an image"),
    ("starts_at_one", lambda batches: (min(0.0, *_all(batches)), max(1.0, *_all(batches))), (_ALL,),
     "starts the running maximum at 1 instead of 0"),
    ("first_and_last", _end_by_column, (_ALL,), "compares the first batch with the last and forgets those between"),
)  # fmt: skip

# percentile_range(x, percent)


def _cut(x: Any, low: float, high: float) -> Any:
    """Both percentiles, with 0."""
    return _with_zero(*np.percentile(x, [low, high]))


def _sorts_in_place(x: Any, percent: float) -> Any:
    x.sort()
    cut = int(len(x) * (100 - percent) / 200)
    return _with_zero(x[cut], x[len(x) - 1 - cut])


def _clips_in_place(x: Any, percent: float) -> Any:
    low, high = _cut(x, (100 - percent) / 2, 100 - (100 - percent) / 2)
    np.clip(x, low, high, out=x)
    return _with_zero(x.min(), x.max())


def _zeros_left_out(x: Any, percent: float) -> Any:
    tail = (100 - percent) / 2
    return _cut(x[x != 0] if x.any() else x, tail, 100 - tail)


def _index_too_far(x: Any, percent: float) -> Any:
    ordered = np.sort(x)
    return _with_zero(ordered[int(len(x) * (100 - percent) / 200)], ordered[int(len(x) * (100 + percent) / 200)])


_FEW, _ENOUGH = "percentile_clips_few", "percentile_clips_enough"
_WITHIN, _MINE, _NOUGHT = "percentile_within_the_data", "percentile_leaves_x_alone", "percentile_contains_zero"
_PERCENTILES = (
    ("all_at_each_end", lambda x, percent: _cut(x, 100 - percent, percent), (_FEW,),
     "cuts 100 - percent at each end: twice as much as was said"),
    ("upper_end_only", lambda x, percent: _cut(x, 0, percent), (_FEW, _ENOUGH), "cuts the upper end only"),
    ("lower_end_only", lambda x, percent: _cut(x, 100 - percent, 100), (_FEW, _ENOUGH), "cuts the lower end only"),
    ("min_max", lambda x, percent: _with_zero(x.min(), x.max()), (_ENOUGH,), "gives min-max, whatever the percent"),
    ("share_of_the_range", lambda x, percent: _with_zero(x.min() * percent / 100, x.max() * percent / 100), (_FEW,),
     "takes so many percent of the range: percentiles count numbers"),
    ("not_widened", lambda x, percent: tuple(np.percentile(x, [(100 - percent) / 2, 100 - (100 - percent) / 2])), (_NOUGHT,),
     "does not widen the range to contain 0"),
    ("by_magnitude", lambda x, percent: (-np.percentile(np.abs(x), percent), np.percentile(np.abs(x), percent)), (_WITHIN,),
     "takes the percentile of the magnitudes for both sides"),
    ("fraction_for_percent", lambda x, percent: _cut(x, (100 - percent) / 200, 100 - (100 - percent) / 200), (_ENOUGH,),
     "hands np.percentile a fraction, where it takes percents"),
    ("standard_deviations", lambda x, percent: _with_zero(x.mean() - 2 * x.std(), x.mean() + 2 * x.std()), (_WITHIN, _FEW),
     "takes two standard deviations, as if the numbers were bell-shaped"),
    ("sorts_in_place", _sorts_in_place, (_MINE,), "sorts the caller's own array with x.sort()"),
    ("clips_in_place", _clips_in_place, (_MINE,), "clips the caller's own array to find its new ends"),
    ("ends_swapped", lambda x, percent: _cut(x, (100 - percent) / 2, 100 - (100 - percent) / 2)[::-1], (_NOUGHT,),
     "returns the larger end first"),
    ("index_too_far", _index_too_far, (_WITHIN,),
     "takes n * share for an index: at 100 percent it is one too far"),
    ("whole_percents", lambda x, percent: _cut(x, (100 - int(percent)) / 2, 100 - (100 - int(percent)) / 2), (_FEW,),
     "takes whole percents only: 99.9 becomes 99, which clips far more"),
    ("zeros_left_out", _zeros_left_out, (_ENOUGH,), "leaves zeros out of the count: after a ReLU half of the numbers are 0"),
)  # fmt: skip

# mse_range(x, bits)


def _error(x: Any, low: float, high: float, bits: int) -> float:
    """Mean squared error of going there and back."""
    scale = (high - low) / (2**bits - 1) or 1.0
    zero = np.round(-low / scale)
    return float(np.mean(((np.clip(np.round(x / scale) + zero, 0, 2**bits - 1) - zero) * scale - x) ** 2))


def _search(
    x: Any, bits: int, error: Any = _error, first: int = 20, best: Any = min, widen: bool = True, widest: float = 1.0
) -> Any:
    """The range k/20 of min-max with the best error; the settings do one step wrong."""
    low, high = _with_zero(x.min(), x.max()) if widen else (float(x.min()), float(x.max()))
    shares = (widest * k / 20 for k in range(first, 0, -1))
    return best(((low * share, high * share) for share in shares), key=lambda ends: error(x, ends[0], ends[1], bits))


def _in_steps(x: Any, low: float, high: float, bits: int) -> float:
    return _error(x, low, high, bits) / ((high - low) / (2**bits - 1) or 1.0) ** 2


def _without_clipping(x: Any, low: float, high: float, bits: int) -> float:
    scale = (high - low) / (2**bits - 1) or 1.0
    return float(np.mean((np.round(x / scale) * scale - x) ** 2))


def _clipping_only(x: Any, low: float, high: float, bits: int) -> float:
    return float(np.mean((np.clip(x, low, high) - x) ** 2))


def _largest(x: Any, low: float, high: float, bits: int) -> float:
    scale = (high - low) / (2**bits - 1) or 1.0
    zero = np.round(-low / scale)
    return float(np.abs((np.clip(np.round(x / scale) + zero, 0, 2**bits - 1) - zero) * scale - x).max())


def _mean_error(x: Any, low: float, high: float, bits: int) -> float:
    scale = (high - low) / (2**bits - 1) or 1.0
    return float(abs(np.mean(np.clip(np.round(x / scale) * scale, low, high) - x)))


def _symmetric(x: Any, bits: int) -> Any:
    most = float(np.abs(x).max())
    return min(((-most * k / 20, most * k / 20) for k in range(20, 0, -1)), key=lambda ends: _error(x, ends[0], ends[1], bits))


def _last_that_improves(x: Any, bits: int) -> Any:
    low, high = _with_zero(x.min(), x.max())
    found, before = (low, high), _error(x, low, high, bits)
    for k in range(19, 0, -1):
        now = _error(x, low * k / 20, high * k / 20, bits)
        if now < before:
            found = low * k / 20, high * k / 20
        before = now
    return found


_CONTAINS, _WORSE, _GAINS = "mse_contains_zero", "mse_never_worse_than_minmax", "mse_gains_from_an_outlier"
_MSES = (
    ("min_max", lambda x, bits: _with_zero(x.min(), x.max()), (_GAINS,),
     "gives min-max: nothing is clipped, and everything is coarse"),
    ("without_min_max", lambda x, bits: _search(x, bits, first=18), (_WORSE,),
     "leaves min-max itself out of the ranges it tries"),
    ("just_inside", lambda x, bits: _search(x, bits, first=20, widest=0.9995), (_WORSE,),
     "starts a hair inside min-max: min-max itself is never tried"),
    ("in_steps", lambda x, bits: _search(x, bits, _in_steps), (_GAINS,),
     "counts the error in steps: wide steps look good"),
    ("without_clipping", lambda x, bits: _search(x, bits, _without_clipping), (_WORSE,),
     "forgets to clip when it tries a range: the narrowest wins"),
    ("clipping_only", lambda x, bits: _search(x, bits, _clipping_only), (_GAINS,),
     "counts the clipping error only: the widest wins"),
    ("always_eight_bits", lambda x, bits: _search(x, 8), (_GAINS,), "searches for 8 bits, whatever bits says"),
    ("worst_error", lambda x, bits: _search(x, bits, best=max), (_WORSE,), "keeps the range with the largest error"),
    ("largest_error", lambda x, bits: _search(x, bits, _largest), (_GAINS,),
     "asks for the smallest largest error: one outlier decides"),
    ("mean_error", lambda x, bits: _search(x, bits, _mean_error), (_WORSE,),
     "takes the mean of the errors: those of either sign cancel"),
    ("symmetric", _symmetric, (_WORSE,),
     "tries symmetric ranges only: above 0 half of the codes are lost"),
    ("not_widened", lambda x, bits: _search(x, bits, widen=False), (_CONTAINS,),
     "shrinks min-max as it is, without 0 in it"),
    ("last_that_improves", _last_that_improves, (_WORSE,), "compares with the range before, not with the best so far"),
    ("percentile", lambda x, bits: _with_zero(*np.percentile(x, [5, 95])), (_WORSE,),
     "cuts five percent off at each end without looking"),
    ("half_the_range", lambda x, bits: tuple(end / 2 for end in _with_zero(x.min(), x.max())), (_WORSE,),
     "halves the range always"),
)  # fmt: skip

WRONG_RANGES: list[tuple[str, str, str, tuple[str, ...], Any]] = [
    *(("minmax_range", name, words, breaks, fn) for name, fn, breaks, words in _MINMAX),
    *(("percentile_range", name, words, breaks, fn) for name, fn, breaks, words in _PERCENTILES),
    *(("mse_range", name, words, breaks, fn) for name, fn, breaks, words in _MSES),
]
"""(role, name, misconception, laws it breaks, the function) of each."""
