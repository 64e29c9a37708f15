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

__all__ = ["LAYERS_BESIDE_A_HALF", "beside_a_half", "grid"]

_ENDS = ((-128, 127), (0, 255), (-128, 127), (-8, 7), (-128, 127), (-32768, 32767), (-3, 3))
_BESIDE = tuple(2.0**-k for k in (4, 7, 10, 13, 16, 17))
"""How far beside a tie: by less than a tenth, a hundredth, a thousandth, and more than a float32 is off."""
_SCALES = (1.0, 0.5, float(np.float32(0.1)), 2.0**-20, float(np.float32(1 / 255)), 4.0, float(np.float32(3.7)))


def _reals(scale: float, zero: int, qmin: int, qmax: int, dtype: str) -> tuple[float, ...]:
    """Ties, whole steps and their neighbours at both ends and around 0, then far outside."""
    halves = {*range(2 * (qmin - zero) - 3, 2 * (qmin - zero) + 3), *range(2 * (qmax - zero) - 2, 2 * (qmax - zero) + 4)}
    halves |= set(range(-5, 6))
    steps = [h / 2 for h in sorted(halves)] + [0.25, -0.25, 1.75, -2.75, -0.0]
    # Beyond either end, before and after half a step.
    steps += [qmin - zero - 0.25, qmin - zero - 0.75, qmax - zero + 0.25, qmax - zero + 0.75]
    # Beside a tie, by more than a float32 is off and less than a careless epsilon; a large zero point hides what is near.
    near = itertools.product((0.5, 1.5) if zero == 0 else (0.5,), _BESIDE if zero == 0 else _BESIDE[1::3], (1, -1), (1, -1))
    steps += [sign * (tie + way * beside) for tie, beside, sign, way in near]
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
    # Few numbers, so that rows of them have every shape.
    few = (0.75, -1.5, 300.0, 2.0, -200.0, 1.25, -0.25, 8.0)
    return found + [MapCase(few[:count], 0.5, zero) for count in (1, 2, 3, 4, 5, 8) for zero in (0, 7)]


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
    # Narrow ones: a thousandth and less is no empty range.
    ends += [(-(2.0**-11), 2.0**-11), (0.0, 2.0**-13), (-(2.0**-15), 0.0), (-3 * 2.0**-17, 2.0**-17)]
    codes = ((-128, 127), (0, 255), (-8, 7), (-3, 3))
    found: list[Case] = [RangeCase(low, high, qmin, qmax) for low, high in ends for qmin, qmax in codes]
    # The zero point lies beside a tie, either way.
    for (qmin, qmax), below, beside, scale in itertools.product(codes, (0, 2), (2.0**-6, 2.0**-11, 2.0**-13), (1.0, 2.0**-7)):
        for low in (below + 0.5 - beside, below + 0.5 + beside):
            found.append(RangeCase(-low * scale, (qmax - qmin - low) * scale, qmin, qmax))
    return found


def _round_cases() -> list[Case]:
    """Halves, quarters and whole numbers on either side of 0, and what lies beside a tie; each near to 0 alone and in company."""
    x = [n / 4 for n in range(-102, 103)] + [100.5, -100.5, 101.5, -101.5, 1e6 + 0.5, -1e6 - 0.5]
    # A millionth off a tie at the least: float32 can tell that from it up to 4, and 2**-13 up to a thousand.
    near = [tie + way * beside for tie in (0.5, 1.5, 2.5) for beside in (*_BESIDE, 2.0**-20) for way in (1, -1)]
    near += [tie + way * beside for tie in (10.5, 101.5) for beside in _BESIDE[:4] for way in (1, -1)]
    x += near + [-value for value in near]
    return [RoundCase(tuple(x)), RoundCase(tuple(x[:120])), RoundCase(tuple(x[100:103]))]


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


def beside_a_half(acc: int, shift: int, sign: int) -> tuple[int, int]:
    """An odd accumulator from ``acc`` on, and a multiplier that makes a whole number and a half of it, but for ``sign`` in the
    last bit of the product: acc * multiplier = 2**(k-1) + sign mod 2**k, where k = 31 - shift bits are shifted out.

    Float64 has 53 bits for a product of up to 62, and sees the half itself.

    >>> acc, multiplier = beside_a_half(2**29, -3, -1)
    >>> acc * multiplier % 2**34 == 2**33 - 1 and 2**30 <= multiplier < 2**31
    True
    """
    k = 31 - shift
    acc |= 1
    while True:
        multiplier = (2 ** (k - 1) + sign) * pow(acc, -1, 2**k) % 2**k
        if 2**30 <= multiplier < 2**31:
            return acc, multiplier
        acc += 2


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
    found: list[Case] = [RescaleCase(small + large, m, e) for m, e in _RESCALES]
    for turn, (shift, sign) in enumerate(itertools.product((0, -1, -3, -5), (1, -1, 1, -1))):
        acc, multiplier = beside_a_half((2**30 - 2**28) // (1 + turn % 3) + 1001 * turn, shift, sign)
        found += [RescaleCase((acc,), multiplier, shift), RescaleCase((-acc, acc), multiplier, shift)]
    return found


LAYERS_BESIDE_A_HALF = tuple(
    LayerCase((127,) * n, (w,) * n, bias, -128, multiplier, -16, y_zero)
    for n, w, bias, multiplier, y_zero in (
        (552, 127, 29685, 1489414091, -128), (552, -127, -29685, 1489414091, 100), (557, 127, 20952, 1562503245, -90),
        (557, -127, -20952, 1562503245, 127),
    )
)  # fmt: skip
"""Long rows whose sum, rescaled, lies 2**-47 beside a half, as `beside_a_half` finds it for sums of 17906205 and 18059397."""


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
    return [*found, LayerCase((1,), (1,), 0, 0, 2**30, -1), *LAYERS_BESIDE_A_HALF]


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
