"""Cases drawn by the thousand with numpy, beside the strategies of hypothesis: quick enough for a hundred thousand judgements.

The same numbers on every machine for the same seed. They sit where quantizers go wrong, as those of the strategies do: on ties
and beside them, at both ends, far outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyquant.testing import (
    AccuracyCase,
    BatchesCase,
    BytesCase,
    Case,
    CodesCase,
    DotCase,
    GradientCase,
    GraphCase,
    LayerCase,
    MapCase,
    MseCase,
    MultiplierCase,
    PairedCase,
    PercentileCase,
    RangeCase,
    RecallCase,
    RescaleCase,
    RoundCase,
    ScaleCase,
    SignCase,
    ThresholdCase,
    TieCase,
    is_legal,
)
from tinyquant.testing.exact import EXACT_MODES
from tinyquant.testing.grid import LAYERS_BESIDE_A_HALF, beside_a_half

Rng = np.random.Generator
ENDS = ((-128, 127), (0, 255), (-127, 127), (-8, 7), (0, 15), (-32768, 32767), (-3, 3), (-7, 7), (-1, 1))


def pick(rng: Rng, things: Any) -> Any:
    """One of them."""
    return things[int(rng.integers(len(things)))]


def whole(rng: Rng, low: int, high: int, n: int) -> tuple[int, ...]:
    """So many whole numbers from low to high."""
    return tuple(rng.integers(low, high, n, endpoint=True).tolist())


def numbers(rng: Rng, n: int, most: int = 100) -> tuple[float, ...]:
    """Whole numbers, sixty-fourths, and any float32."""
    kind = rng.integers(3)
    if kind == 0:
        return tuple(float(v) for v in whole(rng, -8, 8, n))
    if kind == 1:
        return tuple(v / 64 for v in whole(rng, -64 * most, 64 * most, n))
    return tuple(rng.uniform(-most, most, n).astype(np.float32).tolist())


def scale_of(rng: Rng) -> float:
    """A power of two or any float32."""
    return 2.0 ** int(rng.integers(-12, 13)) if rng.integers(2) else float(np.float32(2.0 ** rng.uniform(-16, 16)))


def steps_of(rng: Rng, n: int, low: int, high: int) -> np.ndarray:
    """Numbers of steps: on halves near 0 and from end to end, anywhere between, just at the ends, and far outside."""
    parts = [
        rng.integers(-8, 9, n) / 2,
        rng.integers(2 * low - 4, 2 * high + 5, n) / 2,
        rng.uniform(1.2 * low - 3, 1.2 * high + 3, n),
        np.where(rng.integers(2, size=n), low, high) + rng.integers(-4, 5, n) / 4,
        rng.choice([-1, 1], n) * 2.0 ** rng.integers(9, 40, n),
    ]
    return np.choose(rng.integers(len(parts), size=n), parts)


def map_case(rng: Rng) -> Case:
    qmin, qmax = pick(rng, ENDS)
    zero = pick(rng, (0, qmin, qmax, int(rng.integers(qmin, qmax + 1))))
    scale, dtype = scale_of(rng), pick(rng, ("float32", "float64"))
    x = (steps_of(rng, int(rng.integers(1, 6)), qmin - zero, qmax - zero) * scale).astype(dtype)
    if rng.integers(3) == 0:
        x = np.nextafter(x, np.asarray(pick(rng, (-np.inf, np.inf)), dtype))
    return MapCase(tuple(x.tolist()), scale, zero, qmin, qmax, dtype)


def codes_case(rng: Rng) -> Case:
    qmin, qmax = pick(rng, ENDS)
    codes = whole(rng, qmin, qmax, 4)
    return CodesCase((*codes[:3], pick(rng, (qmin, qmax))), scale_of(rng), codes[3], qmin, qmax)


def range_case(rng: Rng) -> Case:
    qmin, qmax = pick(rng, ENDS)
    if rng.integers(3) == 0:
        # The zero point lies beside a tie; one float32 is off by less.
        scale = 2.0 ** -int(rng.integers(0, 12))
        low = int(rng.integers(0, qmax - qmin)) + 0.5 + pick(rng, (1, -1)) * 2.0 ** -int(rng.integers(4, 12))
        return RangeCase(-low * scale, (qmax - qmin - low) * scale, qmin, qmax)
    low, high = sorted(numbers(rng, 2, pick(rng, (1, 100, 1000))))
    return RangeCase(low, high, qmin, qmax)


def dot_case(rng: Rng) -> Case:
    n = pick(rng, (1, 2, 5, 40))
    return DotCase(whole(rng, -128, 127, n), whole(rng, -128, 127, n), *whole(rng, -128, 127, 2))


def multiplier_case(rng: Rng) -> Case:
    power = 2.0 ** int(rng.integers(-24, 25))
    beside = float(np.nextafter(power, pick(rng, (0.0, 1e9))))
    tie = (int(rng.integers(2**30, 2**31)) + 0.5) * power / 2**31
    return MultiplierCase(pick(rng, (power, beside, tie, float(2.0 ** rng.uniform(-28, 28)))))


def round_case(rng: Rng) -> Case:
    quarters = np.array(whole(rng, -400, 400, 4)) / 4
    ties = rng.choice([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], 4) + rng.choice([-1, 1], 4) * 2.0 ** -rng.integers(3, 22, 4)
    return RoundCase(tuple(np.where(rng.integers(2, size=4), quarters, ties).tolist()))


def multiplier_of(rng: Rng) -> int:
    return pick(rng, (2**30, 2**30 + 1, 2**31 - 1, int(rng.integers(2**30, 2**31))))


def rescale_case(rng: Rng) -> Case:
    if rng.integers(3) == 0:
        shift, sign = -int(rng.integers(0, 5)), pick(rng, (1, -1))
        acc, multiplier = beside_a_half(int(rng.integers(2**20, 2**30)), shift, sign)
        return RescaleCase((acc, -acc), multiplier, shift)
    most = pick(rng, (300, 2**22))
    return RescaleCase(whole(rng, -most, most, 3), multiplier_of(rng), int(rng.integers(-24, 5)))


def layer_case(rng: Rng) -> Case:
    if rng.integers(8) == 0:
        return pick(rng, LAYERS_BESIDE_A_HALF)
    n, (qmin, qmax) = int(rng.integers(1, 7)), pick(rng, ((-128, 127), (-8, 7)))
    rows = whole(rng, -128, 127, n), whole(rng, -128, 127, n)
    return LayerCase(*rows, int(rng.integers(-5000, 5001)), int(rng.integers(-128, 128)), multiplier_of(rng),
                     int(rng.integers(-12, 2)), int(rng.integers(qmin, qmax + 1)), qmin, qmax)  # fmt: skip


def gradient_case(rng: Rng) -> Case:
    n = int(rng.integers(1, 6))
    return GradientCase(numbers(rng, n, 2), numbers(rng, n, 2))


def graph_case(rng: Rng) -> Case:
    return GraphCase(tuple(numbers(rng, 4, 15) for _ in range(int(rng.integers(1, 5)))))


def accuracy_case(rng: Rng) -> Case:
    images = pick(rng, (10, 100, 114, 360, 450, 1000, 1797, 10000))
    percents = [100 * count / images for count in whole(rng, 0, images, 2)]
    if rng.integers(2):
        percents = [round(percent, 2) for percent in percents]
    return AccuracyCase(*percents, images)


def percentile_case(rng: Rng) -> Case:
    percent = pick(rng, (100.0, 99.9, 99.0, 98.0, 95.0, 90.0, 80.0, 66.0, 50.0))
    return PercentileCase(numbers(rng, pick(rng, (1, 3, 10, 40, 100))), percent)


def mse_case(rng: Rng) -> Case:
    x = numbers(rng, pick(rng, (1, 3, 40)), pick(rng, (2, 100)))
    return MseCase((*x, *numbers(rng, int(rng.integers(2)), 1000)), int(rng.integers(2, 9)))


def scale_case(rng: Rng) -> Case:
    n, scale, (qmin, qmax) = int(rng.integers(1, 6)), scale_of(rng), pick(rng, ((-128, 127), (-8, 7), (0, 255), (-2, 1)))
    return ScaleCase(numbers(rng, n, 4), tuple((steps_of(rng, n, qmin, qmax) * scale).tolist()), scale, qmin, qmax)


def recall_case(rng: Rng) -> Case:
    n = int(rng.integers(1, 12))
    return RecallCase((1, *whole(rng, 0, 1, n)), whole(rng, 0, 1, n + 1))


def threshold_case(rng: Rng) -> Case:
    n = int(rng.integers(1, 12))
    scores = pick(rng, (numbers(rng, n + 1, 1), tuple(v / 4 for v in whole(rng, -6, 6, n + 1))))
    return ThresholdCase(scores, (1, *whole(rng, 0, 1, n)), pick(rng, (1.0, 0.5, 0.75, 0.9, 0.95, 0.25, 0.125)))


def paired_case(rng: Rng) -> Case:
    n = pick(rng, (2, 3, 5, 30))
    rows = [tuple(v / 100 for v in whole(rng, 9000, 10000, n)) if rng.integers(2) else numbers(rng, n) for _ in range(2)]
    return PairedCase(*rows, pick(rng, (1.0, 1.96, 2.045, 12.706)))


def bytes_case(rng: Rng) -> Case:
    sizes = whole(rng, 1, pick(rng, (20, 10**6, 2**33)), 2)
    return BytesCase(max(sizes), min(sizes))


DRAWN: dict[type, Callable[[Rng], Case]] = {
    MapCase: map_case, CodesCase: codes_case, RangeCase: range_case, DotCase: dot_case, MultiplierCase: multiplier_case,
    RescaleCase: rescale_case, LayerCase: layer_case, GradientCase: gradient_case, GraphCase: graph_case, BytesCase: bytes_case,
    AccuracyCase: accuracy_case, PercentileCase: percentile_case, MseCase: mse_case, ScaleCase: scale_case,
    RecallCase: recall_case, ThresholdCase: threshold_case, PairedCase: paired_case,
    RoundCase: round_case,
    SignCase: lambda rng: SignCase(*whole(rng, 0, pick(rng, (12, 300)), 2)),
    TieCase: lambda rng: TieCase(*rng.permutation(EXACT_MODES)[:2].tolist()),
    BatchesCase: lambda rng: BatchesCase(tuple(numbers(rng, int(rng.integers(1, 5))) for _ in range(int(rng.integers(1, 5))))),
}  # fmt: skip


def draw(kind: type, rng: Rng) -> Case:
    """One legal case of the kind."""
    while True:
        case = DRAWN[kind](rng)
        if is_legal(case):
            return case
