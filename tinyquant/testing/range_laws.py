"""The laws of calibration: what a range made of data must hold, by the smallest and largest, by percentiles, by squared error.

Every range contains 0, or real 0 would have no code. Counts are exact; a squared error is computed in float64, which errs by
2**-50 of the largest number, a millionth of what a float32 answer is allowed.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from tinyquant.testing.cases import BatchesCase, Case, MseCase, PercentileCase, call, given
from tinyquant.testing.exact import ULP
from tinyquant.testing.law import Broken, Functions, changed_inputs, law, pair, show

__all__ = ["round_trip_error"]

def _ends(role: str, case: Case, functions: Functions) -> tuple[Fraction, Fraction]:
    """The pair (rmin, rmax) that the function returns."""
    return pair(call(functions[role], given(case)), "rmin", "rmax")


def _without_zero(role: str, case: Case, functions: Functions) -> Broken | None:
    """How a range fails to contain 0, if it does."""
    low, high = _ends(role, case, functions)
    if low <= 0 <= high:
        return None
    return Broken(f"from {show(low)} to {show(high)}", "a range with 0 in it, so that 0 can be a code")


def _data(case: PercentileCase | MseCase) -> tuple[Fraction, Fraction]:
    """The smallest and the largest number, widened to contain 0."""
    return Fraction(min(0.0, *case.x)), Fraction(max(0.0, *case.x))


# minmax_range


@law("minmax_range", BatchesCase, "the range contains 0: rmin is at most 0, rmax is at least 0")
def minmax_contains_zero(case: BatchesCase, functions: Functions) -> Broken | None:
    """rmin <= 0 <= rmax."""
    return _without_zero("minmax_range", case, functions)


@law("minmax_range", BatchesCase, "the range spans every number of every batch, and 0, and no more")
def minmax_of_all_batches(case: BatchesCase, functions: Functions) -> Broken | None:
    """(min(0, all), max(0, all)), each perhaps rounded to float32."""
    everything = [value for batch in case.batches for value in batch]
    right = Fraction(min(0.0, *everything)), Fraction(max(0.0, *everything))
    got = _ends("minmax_range", case, functions)
    if all(abs(mine - end) <= 2 * ULP * abs(end) for mine, end in zip(got, right)):
        return None
    return Broken(_apart(got, right), _apart(right, got), "a float32 rounding")


def _apart(ends: tuple[Fraction, Fraction], others: tuple[Fraction, Fraction]) -> str:
    """A range in words, with as many digits as tell it from the other."""
    return f"from {show(ends[0], others[0])} to {show(ends[1], others[1])}"


@law("minmax_range", BatchesCase, "the shape of a batch does not matter: the rows of an image count too", rows=("batches",))
def minmax_of_any_shape(case: BatchesCase, functions: Functions) -> Broken | None:
    """A batch of rows gives the range of its numbers: (1, n), and where n can be halved (2, n / 2)."""
    flat = _ends("minmax_range", case, functions)
    shaped = pair(call(functions["minmax_range"], given(case, rows=("batches",))), "rmin", "rmax")
    if flat == shaped:
        return None
    return Broken(f"{_apart(shaped, flat)} for batches of rows", f"{_apart(flat, shaped)}, as for the same numbers in one row")


@law("minmax_range", BatchesCase, "the batches themselves stay as they were")
def minmax_leaves_the_batches_alone(case: BatchesCase, functions: Functions) -> Broken | None:
    """The caller's arrays are not sorted or clipped, and none is taken off their list."""
    return changed_inputs(functions["minmax_range"], given(case))


# percentile_range


def _tail(case: PercentileCase) -> Fraction:
    """How many of the numbers may lie beyond an end: (100 - percent) / 2 % of them. The percent is meant as it is written."""
    return (100 - Fraction(str(case.percent))) * len(case.x) / 200


def _slack(case: PercentileCase) -> Fraction:
    """Interpolated in float32, an end takes four roundings of the largest number."""
    return Fraction(max(map(abs, case.x))) / 2**22


def _beyond(case: PercentileCase, end: Fraction, itself: bool = False) -> int:
    """How many numbers lie above an end, or also on it. A float lies above it if it is above the largest float up to it."""
    nearest = float(end)
    top = math.nextafter(nearest, -math.inf) if Fraction(nearest) > end else nearest
    x = np.array(case.x)
    return int(((x >= top) if itself and top == end else (x > top)).sum())


@law("percentile_range", PercentileCase, "the range contains 0: rmin is at most 0, rmax is at least 0")
def percentile_contains_zero(case: PercentileCase, functions: Functions) -> Broken | None:
    """rmin <= 0 <= rmax."""
    return _without_zero("percentile_range", case, functions)


@law("percentile_range", PercentileCase, "the range does not go beyond the smallest and largest number and 0")
def percentile_within_the_data(case: PercentileCase, functions: Functions) -> Broken | None:
    """min(0, x) <= rmin and rmax <= max(0, x)."""
    (low, high), (smallest, largest) = _ends("percentile_range", case, functions), _data(case)
    if smallest - _slack(case) <= low and high <= largest + _slack(case):
        return None
    right = f"nothing beyond {show(smallest)} and {show(largest)}"
    return Broken(f"from {show(low)} to {show(high)}", right, "a float32 rounding")


@law("percentile_range", PercentileCase, "beyond either end lie at most (100 - percent) / 2 % of the numbers")
def percentile_clips_few(case: PercentileCase, functions: Functions) -> Broken | None:
    """No rule of interpolation leaves more than that share outside, rounded up to a whole number: with n numbers and a share q
    beyond, the end lies at index (1 - q) * (n - 1) or above, and n - 1 less the floor of that is at most the ceiling of q * n."""
    low, high = _ends("percentile_range", case, functions)
    allowed, slack = math.ceil(_tail(case)), _slack(case)
    above, below = _beyond(case, high + slack), _beyond(case._replace(x=tuple(-v for v in case.x)), slack - low)
    for count, side, end in ((above, "above rmax", high), (below, "below rmin", low)):
        if count > allowed:
            return Broken(f"{count} of {len(case.x)} numbers lie {side} = {show(end)}", f"at most {allowed}",
                          f"{show(_tail(case))}, rounded up: (100 - {show(case.percent)}) / 2 % of {len(case.x)}")  # fmt: skip
    return None


@law("percentile_range", PercentileCase, "no wider than needed: (100 - percent) / 2 % lie at or beyond an end")
def percentile_clips_enough(case: PercentileCase, functions: Functions) -> Broken | None:
    """By every rule of interpolation the end lies at index n - q * n or below, so that the floor of q * n numbers are at it or
    beyond; an end at 0 was widened and cannot be nearer."""
    low, high = _ends("percentile_range", case, functions)
    wanted, slack = math.floor(_tail(case)), _slack(case)
    above = _beyond(case, high - slack, itself=True)
    below = _beyond(case._replace(x=tuple(-v for v in case.x)), -low - slack, itself=True)
    for count, side, end in ((above, "at rmax or above", high), (below, "at rmin or below", low)):
        if count < wanted and abs(end) > slack:
            return Broken(f"{count} of {len(case.x)} numbers lie {side} (at {show(end)})", f"at least {wanted}",
                          f"{show(_tail(case))}, rounded down: (100 - {show(case.percent)}) / 2 % of {len(case.x)}")  # fmt: skip
    return None


@law("percentile_range", PercentileCase, "x itself stays as it was")
def percentile_leaves_x_alone(case: PercentileCase, functions: Functions) -> Broken | None:
    """The caller's array is not sorted, clipped or scaled."""
    return changed_inputs(functions["percentile_range"], given(case))


@law("percentile_range", PercentileCase, "the shape of x does not matter: all its numbers count", rows=("x",))
def percentile_of_any_shape(case: PercentileCase, functions: Functions) -> Broken | None:
    """Rows of numbers give the range of the numbers."""
    flat = _ends("percentile_range", case, functions)
    shaped = pair(call(functions["percentile_range"], given(case, rows=("x",))), "rmin", "rmax")
    if flat == shaped:
        return None
    return Broken(f"{_apart(shaped, flat)} for rows", f"{_apart(flat, shaped)}, as for the same numbers in one row")


# mse_range


def round_trip_error(x: np.ndarray, low: float, high: float, bits: int) -> tuple[float, float]:
    """The root mean squared error of x through codes 0..2**bits - 1 of that range, for the zero point rounded down and up.

    The two differ only where -low / scale lies on a tie (or a float error from one); elsewhere both are that of the nearest.
    """
    steps = 2**bits - 1
    scale = (high - low) / steps
    zero = -low / scale if scale > 0 else 0.0
    nearest = math.floor(zero + 0.5)
    if not scale > 0:
        # The empty range has the scale 1, by choose_qparams; its codes begin at 0 or lie on both sides of it.
        scale, zeros = 1.0, {0, 2 ** (bits - 1)}
    else:
        zeros = {nearest} if abs(zero - nearest) < 0.5 - 2.0**-20 else {math.floor(zero), math.ceil(zero)}
    errors = []
    for whole in zeros:
        codes = np.clip(np.floor(x / scale + 0.5), -whole, steps - whole)
        errors.append(float(np.sqrt(np.mean((scale * codes - x) ** 2))))
    return min(errors), max(errors)


def _room(case: MseCase, low: Fraction, high: Fraction) -> float:
    """How far a root mean squared error moves when scale, quotient and product are float32 numbers: no value comes back further
    off than 4 roundings of the largest, and an rms moves by no more than its values do; twice, for the two that are compared."""
    return 8 * float(ULP) * max(float(max(-low, high)), *map(abs, case.x))


@law("mse_range", MseCase, "the range contains 0: rmin is at most 0, rmax is at least 0")
def mse_contains_zero(case: MseCase, functions: Functions) -> Broken | None:
    """rmin <= 0 <= rmax."""
    return _without_zero("mse_range", case, functions)


@law("mse_range", MseCase, "the squared error of the round trip is never above that of min-max")
def mse_never_worse_than_minmax(case: MseCase, functions: Functions) -> Broken | None:
    """mean((back - x)**2) through the asymmetric map of so many bits; min-max itself is always a candidate."""
    low, high = _ends("mse_range", case, functions)
    smallest, largest = _data(case)
    x = np.array(case.x)
    mine = round_trip_error(x, float(low), float(high), case.bits)[0]
    minmax = round_trip_error(x, float(smallest), float(largest), case.bits)[1]
    if mine <= minmax + _room(case, low, high):
        return None
    return Broken(f"from {show(low)} to {show(high)}: mean squared error {show(mine**2)}",
                  f"at most {show(minmax**2)}, that of {show(smallest)} to {show(largest)}", "a float32 rounding")  # fmt: skip


@law("mse_range", MseCase, "where one far number wastes the codes, a narrower range is found")
def mse_gains_from_an_outlier(case: MseCase, functions: Functions) -> Broken | None:
    """Where a whole stretch of shrunk ranges (k/10 of min-max, three neighbours) halves the squared error of min-max, so that any
    search in steps of a fifth meets one, the answer has at most 0.6 of it."""
    x, (smallest, largest) = np.array(case.x), _data(case)
    minmax = round_trip_error(x, float(smallest), float(largest), case.bits)[0]
    tried = [(round_trip_error(x, k / 10 * float(smallest), k / 10 * float(largest), case.bits)[1], k) for k in range(2, 10)]
    halves = [2 * error**2 <= minmax**2 for error, _ in tried]
    tellable = minmax > 8 * _room(case, smallest, largest)
    if not tellable or not any(all(halves[k : k + 3]) for k in range(len(halves) - 2)):
        return None
    low, high = _ends("mse_range", case, functions)
    mine = round_trip_error(x, float(low), float(high), case.bits)[0]
    if mine <= math.sqrt(0.6) * minmax + _room(case, low, high):
        return None
    error, best = min(tried)
    return Broken(f"from {show(low)} to {show(high)}: mean squared error {show(mine**2)}",
                  f"less: {show(Fraction(best, 10) * smallest)} to {show(Fraction(best, 10) * largest)} has {show(error**2)}",
                  f"0.6 of the error of min-max, {show(minmax**2)}")  # fmt: skip


@law("mse_range", MseCase, "x itself stays as it was")
def mse_leaves_x_alone(case: MseCase, functions: Functions) -> Broken | None:
    """The caller's array is not sorted, clipped or scaled."""
    return changed_inputs(functions["mse_range"], given(case))


@law("mse_range", MseCase, "the shape of x does not matter: all its numbers count", rows=("x",))
def mse_of_any_shape(case: MseCase, functions: Functions) -> Broken | None:
    """Rows of numbers give a range as good as that of the numbers; where two are equally good, the order of a sum may decide."""
    flat = _ends("mse_range", case, functions)
    shaped = pair(call(functions["mse_range"], given(case, rows=("x",))), "rmin", "rmax")
    x = np.array(case.x)
    mine = round_trip_error(x, float(shaped[0]), float(shaped[1]), case.bits)[0]
    right = round_trip_error(x, float(flat[0]), float(flat[1]), case.bits)[1]
    if mine <= right + _room(case, *shaped):
        return None
    return Broken(f"{_apart(shaped, flat)} for rows: mean squared error {show(mine**2)}",
                  f"at most {show(right**2)}, as for the same numbers in one row", "a float32 rounding")  # fmt: skip
