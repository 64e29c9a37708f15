"""The boundary grid: the cases where quantizers go wrong, written out once, the same on every machine, without any extra package.

Ties and their neighbours, both ends of the range and half a step beyond, far outside, odd zero points, one-sided and empty
ranges, sums that leave 8, 16 and 24 bits, multipliers next to powers of two. With this module one can list them by kind
(`grid`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from tinyquant.testing.cases import (
    Case,
    CodesCase,
    DotCase,
    GradientCase,
    GraphCase,
    LayerCase,
    MapCase,
    MultiplierCase,
    RangeCase,
    RescaleCase,
    RoundCase,
)
from tinyquant.testing.grid_counts import COUNT_GRIDS
from tinyquant.testing.grid_ranges import RANGE_GRIDS
from tinyquant.testing.legal import is_legal

__all__ = ["grid"]

_ENDS = ((-128, 127), (0, 255), (-128, 127), (-8, 7), (-128, 127), (-32768, 32767))
_SCALES = (1.0, 0.5, float(np.float32(0.1)), 2.0**-20, float(np.float32(1 / 255)), 4.0, float(np.float32(3.7)))


def _reals(scale: float, zero: int, qmin: int, qmax: int, dtype: str) -> tuple[float, ...]:
    """Ties, whole steps and their neighbours at both ends and around 0, then far outside."""
    halves = {*range(2 * (qmin - zero) - 3, 2 * (qmin - zero) + 3), *range(2 * (qmax - zero) - 2, 2 * (qmax - zero) + 4)}
    halves |= set(range(-5, 6))
    steps = [h / 2 for h in sorted(halves)] + [0.25, -0.25, 1.75, -2.75, -0.0, qmin - zero - 0.25, qmax - zero + 0.25]
    # Just short of a tie, by more than a float32 is off and less than a careless epsilon.
    steps += [sign * (tie - 2.0**-17) for tie in (0.5, 1.5) for sign in (1, -1)]
    # Two hundredths beyond a tie: a float16 takes them for the tie.
    steps += [sign * beyond for beyond in (65.48, 100.52) for sign in (1, -1)]
    steps += [sign * far for far in (100.3, 200.0, 300.0, 70000.0, 2.0**33, 2.0**40) for sign in (1, -1)]
    scalar = np.dtype(dtype).type
    points = [scalar(s * scale) for s in steps]
    beside = [np.nextafter(p, scalar(way)) for p in points[: len(halves) : 4] for way in (-np.inf, np.inf)]
    return tuple(float(p) for p in points + beside)


def _map_cases() -> list[Case]:
    """Every kind of zero point with every kind of end and scale, paired so that each pair of neighbours occurs."""
    found: list[Case] = []
    turns = itertools.cycle(_SCALES)
    for turn, (qmin, qmax) in enumerate(_ENDS):
        for zero in dict.fromkeys((0, 3, qmin, qmax, qmin + 1)):
            if qmin <= zero <= qmax:
                for dtype in ("float32", "float64"):
                    for scale in (next(turns),) if dtype == "float64" else (2.0 ** -(turn % 3), next(turns)):
                        found.append(MapCase(_reals(scale, zero, qmin, qmax, dtype), scale, zero, qmin, qmax, dtype))
    return found


def _codes_cases() -> list[Case]:
    """All corners of the codes, zero points at both ends."""
    found: list[Case] = []
    for (qmin, qmax), scale in zip(_ENDS, _SCALES):
        for zero in dict.fromkeys((0, 3, qmin, qmax)):
            if qmin <= zero <= qmax:
                codes = sorted({qmin, qmin + 1, zero, (qmin + qmax) // 2, qmax - 1, qmax})
                found.append(CodesCase(tuple(codes), scale, zero, qmin, qmax))
    return found


def _range_cases() -> list[Case]:
    """Two-sided, one-sided either way, constant, empty, wide and narrow ranges."""
    ends = [(-1.0, 1.0), (0.0, 1.0), (-1.0, 3.0), (0.5, 1.0), (-3.0, -1.0), (0.0, 0.0), (5.0, 5.0), (-2.0, -2.0), (250.0, 1000.0),
            (-0.1, 12.7), (-0.001, 0.002), (-6.0, 0.0), (-1000.0, 1.0), (-0.3, 0.7), (-2.55, 0.0), (-100.0, 155.0),
            (-127.6, 127.4), (-0.25, 63.5), (-4.0, 3.96875)]  # fmt: skip
    return [RangeCase(low, high, qmin, qmax) for low, high in ends for qmin, qmax in ((-128, 127), (0, 255), (-8, 7))]


def _round_cases() -> list[Case]:
    """Halves, quarters and whole numbers on either side of 0."""
    x = tuple(n / 4 for n in range(-102, 103)) + (100.5, -100.5, 101.5, -101.5, 1e6 + 0.5, -1e6 - 0.5)
    return [RoundCase(x)]


def _dot_cases() -> list[Case]:
    """Rows long enough to leave 8, 16 and 24 bits, with every sign and with zero points at the ends."""
    rows: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((1,), (1,)), ((2, 3), (5, 7)), ((100, 100), (100, 100)), ((-128,) * 3, (-128,) * 3), ((127,) * 600, (127,) * 600),
        ((-128,) * 4, (127,) * 4), ((1,) + (127,) * 1100, (1,) + (127,) * 1100), ((-3, 5, 7), (2, -4, 6)), ((0, 0, 1), (9, 8, 7)),
    ]  # fmt: skip
    zeros = [(0, 0), (1, 0), (0, 1), (3, -2), (-128, 0), (127, 5), (-128, -128)]
    return [DotCase(x, w, a, b) for x, w in rows for a, b in zeros]


def _multiplier_cases() -> list[Case]:
    """Powers of two, their neighbours on either side, ties of the last bit, and ordinary numbers."""
    reals = [0.3, 0.0001, 0.00123456789, 0.7, 1.9999, 3.0, 100.7, 0.1 / 3, 1e-6, 0.9999999999]
    for e in (-20, -8, -1, 0, 1, 5):
        power = 2.0**e
        reals += [
            power,
            float(np.nextafter(power, 0)),
            float(np.nextafter(power, 4e9)),
            power * (1 + 2.0**-31),
            power * (1 - 2.0**-32),
        ]
    reals += [(m + 0.5) * 2.0 ** (e - 31) for m in (2**30 + 1, 2**30 + 6, 1583594044) for e in (-9, 0, 3)]
    return [MultiplierCase(real) for real in reals]


_RESCALES = ((2**30, 1), (2**30, 0), (2**30, -1), (2**30, -7), (1583594044, -9), (1234567891, 0), (2**31 - 1, -3),
             (1518500250, 2),             (2**30 + 1, -20), (1717986918, -4))  # fmt: skip


def _rescale_cases() -> list[Case]:
    """Small and large accumulators, exact halves and what lies next to them, for shifts either way."""
    small = (
        0,
        1,
        -1,
        2,
        3,
        -3,
        5,
        -5,
        63,
        64,
        65,
        -63,
        -64,
        -65,
        127,
        129,
        191,
        192,
        193,
        7984,
        -7984,
        100000,
        -100001,
        2**24 + 1,
    )
    large = (2**28 - 1, -(2**28), 2**27 + 12345, 123456789)
    return [RescaleCase(small + large, m, e) for m, e in _RESCALES]


def _layer_cases() -> list[Case]:
    """Layers whose output lies inside, at both ends and outside, with input and output zero points."""
    rows: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((1, 2, 3), (4, 5, 6)), ((100, 100), (100, 100)), ((-128, 127, 5), (127, -128, 3)), ((7,), (9,)),
        ((-128,) * 40, (127,) * 40),
    ]  # fmt: skip
    more = [(0, 0, 0), (10, 3, -5), (-77, -128, 4), (1001, 5, -128), (1, 1, 127)]
    found: list[Case] = [
        LayerCase(x, w, bias, x_zero, m, e, y_zero)
        for (x, w), (bias, x_zero, y_zero), (m, e) in itertools.product(rows, more, _RESCALES[2:9])
        if e <= 1
    ]
    few = [((3, 5, 7), (11, -13, 17), 5, 2), ((100, 100), (100, 100), 0, 0), ((-100, 100), (100, -100), 9, 1)]
    found += [LayerCase(x, w, bias, x_zero, 2**30, -3, 1, -8, 7) for x, w, bias, x_zero in few]
    # What TFLite's two roundings make a 1 of.
    return [*found, LayerCase((1,), (1,), 0, 0, 2**30, -1)]


def _gradient_cases() -> list[Case]:
    """Points away from kinks; upstream gradients that are all different, so that no errors cancel."""
    points = [(0.5,), (0.5, -1.25), (2.0, 0.25, -0.75), (-0.1, 0.2, 0.3, -0.4), (1.0, 1.5, -2.0, 0.125, -0.5),
              (0.25, -0.5, 0.75, -1.0, 1.25), (-1.5, 0.625, 0.875, -0.375, 1.75)]  # fmt: skip
    return [GradientCase(x, tuple(0.7 - 0.9 * n + 0.3 * n * n for n in range(len(x)))) for x in points]


def _graph_cases() -> list[Case]:
    """Batches of rows of four numbers; a network of another shape brings its own cases."""
    rng = np.random.default_rng(0)
    rows = [rng.uniform(-2, 2, (5, 4)), rng.uniform(-0.1, 0.1, (3, 4)), rng.uniform(-50, 50, (3, 4)), np.zeros((1, 4))]
    rows += [np.arange(-40, 40).reshape(20, 4) / 8]
    return [GraphCase(tuple(tuple(float(np.float32(v)) for v in row) for row in batch)) for batch in rows]


_GRIDS: dict[type, Callable[[], list[Case]]] = {
    MapCase: _map_cases, CodesCase: _codes_cases, RangeCase: _range_cases, RoundCase: _round_cases, DotCase: _dot_cases,
    MultiplierCase: _multiplier_cases, RescaleCase: _rescale_cases, LayerCase: _layer_cases, GradientCase: _gradient_cases,
    GraphCase: _graph_cases, **RANGE_GRIDS, **COUNT_GRIDS,
}  # fmt: skip


def grid(kind: type, mode: str = "half_away") -> list[Case]:
    """The boundary cases of one kind, always the same ones.

    Parameters
    ----------
    kind : type
        One of the kinds in `tinyquant.testing.cases`: `MapCase`, `CodesCase`, `RangeCase`, ...
    mode : str
        The rounding rule that cases with a mode name.

    Raises
    ------
    TypeError
        It is no kind of case.

    Examples
    --------
    >>> from tinyquant.testing import RangeCase
    >>> grid(RangeCase)[0]
    RangeCase(rmin=-1.0, rmax=1.0, qmin=-128, qmax=127)
    """
    if kind not in _GRIDS:
        names = ", ".join(k.__name__ for k in _GRIDS)
        raise TypeError(f"kind must be one of {names}, got {kind!r}. Name a kind of case.")
    cases = [case for case in _GRIDS[kind]() if is_legal(case)]
    return [case._replace(mode=mode) if isinstance(case, (MapCase, RoundCase)) else case for case in cases]
