"""From what was seen to a range: min-max, moving average, percentile, squared error, entropy, fixed.

A wide range clips nothing and rounds coarsely; a narrow one rounds finely and clips. One outlier is enough to
make min-max waste most codes on numbers that hardly ever come. Each rule here is another way to settle that
trade, and each works on the merged histogram alone, without the data.

Where a rule counts errors it takes the numbers of a histogram's bin to lie evenly spread in it (and within the
smallest and largest number seen). A true root mean squared error differs from that by at most one bin's width,
because the rounding error changes by no more than the number itself does.

With this module one can turn statistics into a range (`choose_range`) and foretell the squared error of a quantizer
(`expected_squared_error`).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from tinyquant.numerics.qparams import QParams
from tinyquant.numerics.rounding import round_to_int
from tinyquant.quantization.schemes import Scheme
from tinyquant.quantization.statistics import Statistics

__all__ = ["ColdRangeWarning", "choose_range", "expected_squared_error"]

Ends = tuple[float, float]
MakeQParams = Callable[[float, float], QParams]

_FRACTIONS = np.arange(63, 0, -1) / 64
_ENTROPY_CANDIDATES = 128


class ColdRangeWarning(UserWarning):
    """A moving average of ranges has seen too few batches to be one."""


def choose_range(seen: Sequence[Statistics], settings: Scheme, make: MakeQParams) -> Ends:
    """The range of one quantizer by the rule `settings.calibration`.

    Parameters
    ----------
    seen : sequence of Statistics
        Of every value that shares the quantizer; taken together as if they were one.
    settings : Scheme
        Its calibration, percentile, fixed_range and activation_symmetric are used.
    make : callable (low, high) -> QParams
        The quantizer that would come of a range: what "mse" and "entropy" try out.

    Returns
    -------
    (low, high) : floats

    Notes
    -----
    ``minmax``
        The smallest and largest number seen.
    ``ema``
        The moving averages of the batches' ends, corrected for their start at 0. Warns (`ColdRangeWarning`) where
        momentum**batches > 1/2: uncorrected, more than half of the average would still be its start.
    ``percentile``
        The share `percentile` / 100 of the numbers lies below the upper end, and above the lower.
    ``mse``
        Both ends in turn, at k/64 of what was seen, while `expected_squared_error` falls. It starts from min-max and
        moves only to a smaller error, so that by this measure it is never worse.
    ``entropy``
        Of 128 thresholds T, the one whose clipped histogram loses the least information (KL divergence) when as many
        bins as there are codes have to do. Thresholds with no more bins than codes are not tried; the bins at 0,
        which every quantizer holds exactly, do not count. With more codes than bins it is min-max.
    ``fixed``
        `fixed_range`, whatever was seen.

    References
    ----------
    Debiasing: Kingma and Ba 2015, section 3. Entropy: Migacz 2017, "8-bit inference with TensorRT". Squared error:
    Banner et al. 2019 (there in closed form for a Laplace density). tensorflow/model-optimization#368 is a cold average.

    Examples
    --------
    >>> record = Statistics()
    >>> record.update(np.array([0.0] * 100 + [1.0] * 9899 + [100.0]))
    >>> by = Scheme("s", calibration="percentile", percentile=99.9)
    >>> low, high = choose_range([record], by, lambda a, b: QParams(1.0, 0))
    >>> round(low, 1), round(high, 1)
    (0.0, 1.0)
    """
    if settings.calibration == "fixed":
        assert settings.fixed_range is not None
        return settings.fixed_range
    if settings.calibration == "ema":
        return _average(seen)
    together = reduce(Statistics.merge, seen)
    if settings.calibration == "percentile":
        return _percentile(together, settings.percentile / 100)
    if settings.calibration == "mse":
        return _least_squares(together, settings.activation_symmetric, make)
    if settings.calibration == "entropy":
        return _least_information_lost(together, make)
    return together.minimum, together.maximum


def expected_squared_error(seen: Statistics, qp: QParams) -> float:
    """Mean of (x - quantized x)**2 over a histogram whose numbers are spread evenly within their bins.

    With u = x / scale and k(u) the nearest code counted from the zero point, clipped to the codes there are, the
    integral of (u - k(u))**2 from 0 to u is k/12 + (u - k)**3 / 3, inside the range and outside: exact for each bin.

    Parameters
    ----------
    seen : Statistics
        Of at least one number.
    qp : QParams
        One scale.

    Examples
    --------
    >>> record = Statistics()
    >>> record.update(np.linspace(-8.0, 8.0, 100_000))
    >>> round(expected_squared_error(record, QParams(1.0, 0)) * 12, 3)         # Bennett's scale**2 / 12
    1.0
    """
    return _error_over(seen)(qp)


def _error_over(seen: Statistics) -> Callable[[QParams], float]:
    """`expected_squared_error` of one histogram, made ready for many quantizers."""
    filled = np.flatnonzero(seen.histogram)
    edges = np.clip(seen.bin_edges(), seen.minimum, seen.maximum)
    lefts, rights, counts = edges[filled], edges[filled + 1], seen.histogram[filled] / seen.histogram.sum()

    def error(qp: QParams) -> float:
        scale, zero = float(qp.scale), int(qp.zero_point)
        left, right = lefts / scale, rights / scale
        # Each end of a bin and its nearest code; k/12 + (u - k)**3 / 3 is the integral up to there.
        k_left, k_right = (np.clip(round_to_int(u, "half_even"), qp.qmin - zero, qp.qmax - zero) for u in (left, right))
        total = (k_right - k_left) / 12 + ((right - k_right) ** 3 - (left - k_left) ** 3) / 3
        # A bin as thin as that is a point; the difference of the integrals would be noise.
        thin = right - left < 1e-6
        mean = np.where(thin, (left - k_left) ** 2, total / np.where(thin, 1.0, right - left))
        return float(mean @ counts * scale**2)

    return error


def _average(seen: Sequence[Statistics]) -> Ends:
    """The widest of the debiased moving averages; a warning where they are cold."""
    cold = [record for record in seen if record.momentum**record.batches > 0.5]
    if cold:
        batches, momentum = cold[0].batches, cold[0].momentum
        enough = int(np.log(0.5) / np.log(momentum)) + 1
        warnings.warn(
            f"a moving average must have seen {enough} batches to forget half of its start with momentum {momentum}, "
            f"got {batches}. "
            "Calibrate on more batches, lower the momentum, or use calibration='minmax'.",
            ColdRangeWarning,
            stacklevel=_depth_in_package(),
        )
    ends = [record.average for record in seen]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _depth_in_package() -> int:
    """How many calls up the caller is who does not belong to the package: the line a warning should point at."""
    package = __name__.partition(".")[0]
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        depth, frame = depth + 1, frame.f_back
    return depth


def _percentile(seen: Statistics, share: float) -> Ends:
    """The ends that leave 1 - share of the numbers outside, each; within a bin the numbers count as evenly spread."""
    below = _quantile(seen.histogram, seen.bin_edges(), share)
    above = -_quantile(seen.histogram[::-1], -seen.bin_edges()[::-1], share)
    return max(above, seen.minimum), min(below, seen.maximum)


def _quantile(histogram: np.ndarray, edges: np.ndarray, share: float) -> float:
    """The smallest number that the share does not exceed."""
    so_far = np.cumsum(histogram)
    target = share * so_far[-1]
    i = int(np.searchsorted(so_far, target, side="left"))
    inside = (target - (so_far[i] - histogram[i])) / histogram[i]
    return float(edges[i] + inside * (edges[i + 1] - edges[i]))


def _least_squares(seen: Statistics, symmetric: bool, make: MakeQParams) -> Ends:
    """The ends of the smallest expected squared error found, min-max to begin with."""
    low, high = min(seen.minimum, 0.0), max(seen.maximum, 0.0)
    if symmetric:
        low, high = -max(-low, high), max(-low, high)
    measure = _error_over(seen)
    best, error = (low, high), measure(make(low, high))
    both_move = low < 0 < high and not symmetric
    for end in ("both", "high", "low") * 2 if both_move else ("both",):
        for fraction in _FRACTIONS:
            tried = (
                best[0] if end == "high" else low * fraction,
                best[1] if end == "low" else high * fraction,
            )
            now = measure(make(*tried))
            if now < error:
                best, error = tried, now
    return best


def _least_information_lost(seen: Statistics, make: MakeQParams) -> Ends:
    """The clipped range whose quantized histogram diverges least from the clipped one."""
    low, high = min(seen.minimum, 0.0), max(seen.maximum, 0.0)
    levels = make(low, high).levels
    half = seen.histogram.size // 2
    counts = seen.histogram.astype(np.float64)
    counts[half - 1 : half + 1] = 0
    filled = np.flatnonzero(seen.histogram)
    first, last = min(filled[0], half), max(filled[-1], half - 1)
    reach = max(half - first, last + 1 - half)
    thresholds = np.unique(np.linspace(1, reach, _ENTROPY_CANDIDATES).astype(np.int64))[::-1]
    best, loss = (low, high), np.inf
    for threshold in thresholds:
        start, stop = max(first, half - threshold), min(last + 1, half + threshold)
        if stop - start <= levels:
            break
        now = _divergence(counts, int(start), int(stop), levels)
        if now < loss:
            edges = seen.bin_edges()
            best, loss = (max(low, float(edges[start])), min(high, float(edges[stop]))), now
    return best


def _divergence(counts: np.ndarray, start: int, stop: int, levels: int) -> float:
    """KL divergence, in nats, from the clipped histogram of bins start to stop to what `levels` equal cells keep of it."""
    inside = counts[start:stop]
    clipped = inside.copy()
    clipped[0] += counts[:start].sum()
    clipped[-1] += counts[stop:].sum()
    cell = np.arange(inside.size) * levels // inside.size
    bins = np.bincount(cell, weights=inside > 0, minlength=levels)
    mean = np.bincount(cell, weights=inside, minlength=levels) / np.maximum(bins, 1)
    kept = np.where(inside > 0, mean[cell], 0.0)
    total, held = clipped.sum(), kept.sum()
    used = clipped > 0
    if not total:
        return 0.0
    if not (kept[used] > 0).all():
        # Clipping would put numbers where there were none.
        return float(np.inf)
    p, q = clipped[used] / total, kept[used] / held
    return float((p * np.log(p / q)).sum())
