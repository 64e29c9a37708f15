"""The boundary grid of calibration, of ties, and of the gradient of a scale."""

from __future__ import annotations

import itertools

from tinyquant.testing.cases import BatchesCase, Case, MseCase, PercentileCase, ScaleCase, TieCase
from tinyquant.testing.exact import EXACT_MODES

__all__ = ["RANGE_GRIDS"]


def _tie_cases() -> list[Case]:
    """Every pair of rules, either way round."""
    return [TieCase(*pair) for pair in itertools.permutations(EXACT_MODES, 2)]


def _batches_cases() -> list[Case]:
    """The extremes in the first batch, in the last, in one of many; all positive, all negative, all 0, one number."""
    rows: list[tuple[tuple[float, ...], ...]] = [
        ((1.0,),), ((-1.0,),), ((0.0,),), ((1.0, 2.0),), ((-1.0, 1.0),), ((2.0, 3.0), (1.0, 4.0)), ((-2.0, -3.0), (-1.0, -4.0)),
        ((-5.0, 7.0), (-1.0, 1.0)), ((-1.0, 1.0), (-5.0, 7.0)), ((-1.0, 1.0), (-5.0, 7.0), (0.5, 0.25)), ((0.0, 0.0), (0.0,)),
        ((3.0, 1.0, 2.0), (9.0,), (4.0, 5.0)), ((-3.0, -1.0), (-9.0,)), ((0.1, -0.2, 0.3), (-0.4, 0.5)), ((5.0, 5.0), (5.0,)),
        ((-8.0, 1.0), (-2.0, 16.0)), ((16.0, -1.0), (2.0, -8.0)), ((1000.0, -0.001), (2.0,)),
    ]  # fmt: skip
    more = [tuple(tuple(float((7 * n + 5 * b) % 23 - off) for n in range(6)) for b in range(4)) for off in range(-10, 34)]
    # Many batches, the extremes in the last one; numbers in rows of four and of eight.
    many: list[tuple[tuple[float, ...], ...]] = [((0.5, -0.5),) * n + ((-3.0, 4.0),) for n in (5, 20)]
    many += [((1.0, -2.0, 3.0, -4.0),), tuple(tuple(float(n) for n in range(b, b + 8)) for b in (-9, 0, 5))]
    return [BatchesCase(batches) for batches in (*rows, *more, *many)]


def _percentile_cases() -> list[Case]:
    """Even rows, both signs, one sign, outliers at one end or both, equal numbers; from one number to a thousand."""
    signed, counted = tuple(float(n) for n in range(-50, 50)), tuple(float(n) for n in range(1, 101))
    rows: list[tuple[float, ...]] = [
        (1.0,), (-1.0,), (0.0,), (1.0, 2.0), (-3.0, 5.0, 1.0), (5.0,) * 10, counted, signed, tuple(-n for n in counted),
        (*(n / 16 for n in range(-10, 10)), 1000.0), (*(n / 8 for n in range(199)), 500.0),
        (-900.0, *(n / 64 for n in range(-99, 99)), 900.0),
        tuple((37 * n % 1000) / 8 - 60 for n in range(1000)), tuple(n * n / 16 for n in range(40)), (0.0,) * 30 + (4.0,) * 10,
        (0.0,) * 60 + tuple(float(n) for n in range(1, 41)),
    ]  # fmt: skip
    found: list[Case] = [PercentileCase(x, percent) for x in rows for percent in (100.0, 99.0, 98.0, 90.0, 80.0, 50.0)]
    # A percent that is not whole tells itself from 99 where there are numbers enough.
    return found + [PercentileCase(x, percent) for x in rows if len(x) > 190 for percent in (99.9, 99.5)]


def _mse_cases() -> list[Case]:
    """Rows where min-max is best, and rows where one far number among many wastes the codes; of both signs and of one."""
    steps = tuple(n / 64 for n in range(64))
    rows: list[tuple[float, ...]] = [
        (0.0,), (1.0,), (-1.0,), (0.0, 1.0), (0.25, 1.0), (-0.5, 0.5), (-1.0, 0.3, 2.0), (0.0, 1.0, 2.0, 3.0), (5.0, 6.0),
        (-7.0, -5.0), (0.0, 0.1, 0.2, 0.9), (1.0, 1.0, 1.0, 7.5), (1.0,) * 40 + (3.0,), (-4.0, 0.5, 0.75), steps,
        tuple(-n for n in steps), tuple(2 * n - 1 for n in steps),
    ]  # fmt: skip
    outliers = [(*steps * 16, 4.0), (*(-n for n in steps * 16), -4.0), (*(2 * n - 1 for n in steps * 16), 6.0),
                (*(0.5 for _ in range(60)), 4.0), (*(n * n for n in steps * 8), 3.0)]  # fmt: skip
    found: list[Case] = [MseCase(x, bits) for x in rows for bits in (2, 3, 4, 8)]
    return found + [MseCase(x, bits) for x in outliers for bits in (2, 3)]


def _scale_cases() -> list[Case]:
    """One number and several: inside, well outside either end, upstream of either sign, power-of-two and other scales."""
    points = [(0.25,), (1.4,), (-0.4,), (300.0,), (-300.0,), (0.25, 1.4), (300.0, -0.4), (0.0, 2.0, -3.25),
              (200.0, 300.0, -200.0), (100.3, -127.7, 126.6, 0.3), (1.25, -2.75, 500.0, -500.0, 60.4)]  # fmt: skip
    arriving = (1.0, -2.0, 0.5, 3.0, -0.25)
    found: list[Case] = []
    for scale, (qmin, qmax) in itertools.product((1.0, 0.5, 0.1), ((-128, 127), (-8, 7), (0, 255))):
        for turn, x in enumerate(points):
            upstream = (arriving[turn % 5 :] + arriving[: turn % 5])[: len(x)]
            found.append(ScaleCase(upstream, tuple(value * scale for value in x), scale, qmin, qmax))
    return found


RANGE_GRIDS = {
    TieCase: _tie_cases, BatchesCase: _batches_cases, PercentileCase: _percentile_cases, MseCase: _mse_cases,
    ScaleCase: _scale_cases,
}  # fmt: skip
"""How the cases of a kind are listed."""
