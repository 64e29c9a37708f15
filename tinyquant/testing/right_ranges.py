"""Right answers about ranges, parts of the error, ties and the gradient of a scale: the role's name and one way to do it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["RIGHT_RANGES"]


# minmax_range


def _min_of_mins(batches: Any) -> Any:
    return min(0.0, min(batch.min() for batch in batches)), max(0.0, max(batch.max() for batch in batches))


def _running(batches: Any) -> Any:
    low = high = 0.0
    for batch in batches:
        for value in batch.ravel().tolist():
            low, high = min(low, value), max(high, value)
    return low, high


def _all_at_once(batches: Any) -> Any:
    everything = np.concatenate([np.ravel(batch) for batch in batches] + [np.zeros(1)]).astype(np.float32)
    return np.array([everything.min(), everything.max()])


# percentile_range


def _interpolated(x: Any, percent: float) -> Any:
    tail = (100 - percent) / 2
    low, high = np.percentile(x, [tail, 100 - tail])
    return min(low, 0.0), max(high, 0.0)


def _by_method(method: Any) -> Any:
    """The same with another rule of numpy's."""

    def answer(x: Any, percent: float) -> Any:
        tail = (100 - percent) / 200
        low, high = np.quantile(np.asarray(x, np.float32), [tail, 1 - tail], method=method)
        return min(float(low), 0.0), max(float(high), 0.0)

    answer.__name__ = f"_by_{method}"
    return answer


def _sorted_and_cut(x: Any, percent: float) -> Any:
    ordered = sorted(x.ravel().tolist())
    cut = int(len(ordered) * (100 - percent) / 200)
    return min(ordered[cut], 0.0), max(ordered[len(ordered) - 1 - cut], 0.0)


# mse_range


def _map_error(x: Any, low: float, high: float, bits: int) -> Any:
    """Mean squared error of going there and back."""
    scale = (high - low) / (2**bits - 1)
    zero = round(-low / scale)
    codes = np.clip(np.round(x / scale) + zero, 0, 2**bits - 1)
    return np.mean(((codes - zero) * scale - x) ** 2)


def _shrunk_together(x: Any, bits: int) -> Any:
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    if low == high:
        return low, high
    tries = [(low * k / 64, high * k / 64) for k in range(64, 0, -1)]
    return min(tries, key=lambda ends: _map_error(x, ends[0], ends[1], bits))


def _each_end(x: Any, bits: int) -> Any:
    low, high = min(0.0, *x.ravel()), max(0.0, *x.ravel())
    best, error = (low, high), math.inf
    for i in range(10, -1, -1):
        for j in range(10, -1, -1):
            ends = low * i / 10, high * j / 10
            if ends[0] < ends[1] and _map_error(x, *ends, bits) < error:
                best, error = ends, _map_error(x, *ends, bits)
    return best


def _in_float32(x: Any, bits: int) -> Any:
    x = x.astype(np.float32)
    low, high = np.minimum(x.min(), np.float32(0)), np.maximum(x.max(), np.float32(0))
    best, error = (low, high), np.float32(np.inf)
    for k in range(20, 0, -1):
        ends = low * np.float32(k / 20), high * np.float32(k / 20)
        scale = (ends[1] - ends[0]) / np.float32(2**bits - 1)
        if scale > 0:
            zero = np.floor(-ends[0] / scale + np.float32(0.5))
            back = (np.clip(np.rint(x / scale) + zero, 0, 2**bits - 1) - zero) * scale
            now = np.mean((back - x) ** 2)
            if now < error:
                best, error = ends, now
    return best


# split_error


def _clip_then_rest(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    back = scale * (np.clip(np.round(x / scale) + zero_point, qmin, qmax) - zero_point)
    clipping = np.clip(x, scale * (qmin - zero_point), scale * (qmax - zero_point)) - x
    return back - x - clipping, clipping


def _inside_or_outside(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    codes = np.clip(np.floor(x / scale + 0.5) + zero_point, qmin, qmax)
    error = (codes - zero_point) * scale - x
    inside = (x >= scale * (qmin - zero_point)) & (x <= scale * (qmax - zero_point))
    return np.where(inside, error, 0.0), np.where(inside, 0.0, error)


def _one_at_a_time(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    rounding, clipping = [], []
    for value in x.ravel().tolist():
        near = min(max(value, scale * (qmin - zero_point)), scale * (qmax - zero_point))
        rounding.append(scale * round(near / scale) - near)
        clipping.append(near - value)
    return np.reshape(rounding, x.shape), np.reshape(clipping, x.shape).tolist()


def _split_in_float32(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    x, scale = x.astype(np.float32), np.float32(scale)
    clipped = np.clip(x, scale * np.float32(qmin - zero_point), scale * np.float32(qmax - zero_point))
    return np.stack([np.rint(clipped / scale) * scale - clipped, clipped - x])


# tie_breaker


def _rounded(x: float, mode: str) -> int:
    """x by a named rule."""
    below = math.floor(x)
    if mode in ("floor", "ceil", "toward_zero"):
        return {"floor": below, "ceil": math.ceil(x), "toward_zero": math.trunc(x)}[mode]
    if x - below != 0.5:
        return math.floor(x + 0.5)
    return below + {"half_even": below % 2, "half_away": int(x > 0), "half_up": 1, "half_down": 0}[mode]


def _first_that_differs(mode_a: str, mode_b: str) -> float:
    return next(n / 4 for n in range(-12, 13) if _rounded(n / 4, mode_a) != _rounded(n / 4, mode_b))


def _from_a_table(mode_a: str, mode_b: str) -> Any:
    # What each rule makes of 0.5, -0.5, 1.5 and -1.5.
    table = {"half_even": (0, 0, 2, -2), "half_away": (1, -1, 2, -2), "half_up": (1, 0, 2, -1), "half_down": (0, -1, 1, -2),
             "floor": (0, -1, 1, -2), "ceil": (1, 0, 2, -1), "toward_zero": (0, 0, 1, -1)}  # fmt: skip
    for x, a, b in zip((0.5, -0.5, 1.5, -1.5), table[mode_a], table[mode_b]):
        if a != b:
            return np.float32(x)
    return 0.25 if "ceil" in (mode_a, mode_b) else 0.75


def _large_tie(mode_a: str, mode_b: str) -> Any:
    tries = np.array([100.5, -100.5, 101.5, -101.5, 100.25, -100.25, 100.75])
    return next(x for x in tries if _rounded(float(x), mode_a) != _rounded(float(x), mode_b))


# scale_gradient


def _lsq(upstream: Any, x: Any, scale: float, qmin: int = -128, qmax: int = 127) -> Any:
    v = x / scale
    inside = np.round(v) - v
    return np.sum(upstream * np.where(v <= qmin, qmin, np.where(v >= qmax, qmax, inside)))


def _mask_of_codes(upstream: Any, x: Any, scale: float, qmin: int = -128, qmax: int = 127) -> Any:
    v = x / scale
    codes = np.clip(np.floor(v + 0.5), qmin, qmax)
    inside = codes == np.floor(v + 0.5)
    return float((upstream * (codes - inside * v)).sum())


def _product_rule(upstream: Any, x: Any, scale: float, qmin: int = -128, qmax: int = 127) -> Any:
    total = 0.0
    for arriving, value in zip(upstream.ravel().tolist(), x.ravel().tolist()):
        code = min(max(round(value / scale), qmin), qmax)
        slope = -value / scale**2 if qmin * scale < value < qmax * scale else 0.0
        total += arriving * (code + scale * slope)
    return total


def _lsq_in_float32(upstream: Any, x: Any, scale: float, qmin: int = -128, qmax: int = 127) -> Any:
    v = x.astype(np.float32) / np.float32(scale)
    clipped = np.clip(v, np.float32(qmin), np.float32(qmax))
    return (upstream.astype(np.float32) * (np.rint(clipped) - np.where(clipped == v, v, 0))).sum()


RIGHT_RANGES: list[tuple[str, Any]] = [
    *(("minmax_range", fn) for fn in (_min_of_mins, _running, _all_at_once)),
    *(("percentile_range", fn) for fn in (_interpolated, _sorted_and_cut)),
    *(("percentile_range", _by_method(name)) for name in ("inverted_cdf", "closest_observation", "weibull", "median_unbiased",
                                                          "lower", "higher", "nearest", "midpoint")),
    *(("mse_range", fn) for fn in (_shrunk_together, _each_end, _in_float32)),
    *(("split_error", fn) for fn in (_clip_then_rest, _inside_or_outside, _one_at_a_time, _split_in_float32)),
    *(("tie_breaker", fn) for fn in (_first_that_differs, _from_a_table, _large_tie)),
    *(("scale_gradient", fn) for fn in (_lsq, _mask_of_codes, _product_rule, _lsq_in_float32)),
]  # fmt: skip
"""(role, the function) of each, the plainest of a role first."""
