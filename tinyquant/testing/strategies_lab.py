"""Hypothesis strategies for the cases of calibration and of counting; `strategies.cases` knows them all."""

from __future__ import annotations

from typing import Any

from tinyquant.testing.cases import (
    AccuracyCase,
    BatchesCase,
    BytesCase,
    Case,
    MseCase,
    PairedCase,
    PercentileCase,
    RecallCase,
    ScaleCase,
    SignCase,
    ThresholdCase,
    TieCase,
)
from tinyquant.testing.exact import EXACT_MODES

__all__ = ["count_strategies", "range_strategies"]


def range_strategies() -> dict[type, Any]:
    """A strategy for each kind of case about ranges, ties and scales."""
    from hypothesis import strategies as st

    number = st.one_of(st.integers(-8, 8).map(float), st.integers(-6400, 6400).map(lambda n: n / 64))

    @st.composite
    def percentile_case(draw: st.DrawFn) -> Case:
        copies = draw(st.sampled_from([1, 1, 5, 20, 100]))
        x = draw(st.lists(number, min_size=1, max_size=12)) * copies
        apart = [value + place / 128 for place, value in enumerate(x)] + [0.0] * draw(st.sampled_from([0, 0, len(x)]))
        # Of few numbers a tenth of a percent is none.
        percents = [99.9, 99.5, 99.0] if copies == 100 else [100.0, 99.9, 99.0, 98.0, 95.0, 90.0, 80.0, 66.0, 50.0]
        return PercentileCase(tuple(apart), draw(st.sampled_from(percents)))

    @st.composite
    def mse_case(draw: st.DrawFn) -> Case:
        if draw(st.booleans()):
            return MseCase(tuple(draw(st.lists(number, min_size=1, max_size=8))), draw(st.integers(2, 8)))
        # Many numbers, and one that lies several times as far out.
        many = draw(st.lists(st.integers(1, 64).map(lambda n: n / 64), min_size=2, max_size=8)) * 40
        far = draw(st.sampled_from([3.0, 4.0, -4.0, 6.0])) * max(many)
        return MseCase((*many, far), draw(st.integers(2, 3)))

    @st.composite
    def scale_case(draw: st.DrawFn) -> Case:
        qmin, qmax = draw(st.sampled_from([(-128, 127), (-8, 7), (0, 255), (-2, 1)]))
        scale = draw(st.one_of(st.integers(-8, 8).map(lambda e: 2.0**e), st.floats(2.0**-10, 2.0**10, width=32)))
        steps = st.one_of(st.integers(4 * qmin - 40, 4 * qmax + 40).map(lambda n: n / 4), st.floats(-600, 600, width=32))
        x = draw(st.lists(steps.map(lambda s: s * scale), min_size=1, max_size=5))
        upstream = draw(st.lists(number.filter(bool), min_size=len(x), max_size=len(x)))
        return ScaleCase(tuple(upstream), tuple(x), scale, qmin, qmax)

    return {
        TieCase: st.permutations(EXACT_MODES).map(lambda modes: TieCase(modes[0], modes[1])),
        BatchesCase: st.lists(st.lists(number, min_size=1, max_size=4).map(tuple), min_size=1, max_size=4).map(
            lambda rows: BatchesCase(tuple(rows))
        ),
        PercentileCase: percentile_case(),
        MseCase: mse_case(),
        ScaleCase: scale_case(),
    }


def count_strategies() -> dict[type, Any]:
    """A strategy for each kind of case about counts."""
    from hypothesis import strategies as st

    bit = st.integers(0, 1)
    size = st.one_of(st.integers(1, 20), st.integers(1, 2**33))
    few = st.one_of(st.integers(0, 12), st.integers(0, 300))
    result = st.one_of(st.integers(-8, 8).map(float), st.integers(9000, 10000).map(lambda n: n / 100))

    @st.composite
    def accuracy_case(draw: st.DrawFn) -> Case:
        images = draw(st.sampled_from([10, 100, 114, 360, 450, 1000, 1797, 2500, 10000]))
        counts = [draw(st.integers(0, images)) for _ in range(2)]
        percents = [100 * count / images for count in counts]
        if draw(st.booleans()):
            percents = [round(percent, 2) for percent in percents]
        return AccuracyCase(percents[0], percents[1], images)

    @st.composite
    def recall_case(draw: st.DrawFn) -> Case:
        pairs = draw(st.lists(st.tuples(bit, bit), min_size=1, max_size=12))
        return RecallCase((1, *(t for t, _ in pairs)), (draw(bit), *(p for _, p in pairs)))

    @st.composite
    def threshold_case(draw: st.DrawFn) -> Case:
        score = st.integers(-12, 12).map(lambda n: n / 4)
        rows = draw(st.lists(st.tuples(score, bit), max_size=12))
        recall = draw(st.sampled_from([1.0, 0.5, 0.75, 0.9, 0.95, 0.25, 0.125]))
        return ThresholdCase((draw(score), *(s for s, _ in rows)), (1, *(t for _, t in rows)), recall)

    @st.composite
    def paired_case(draw: st.DrawFn) -> Case:
        rows = draw(st.lists(st.tuples(result, result), min_size=2, max_size=8))
        t = draw(st.sampled_from([1.0, 1.96, 2.0, 2.045, 2.776, 12.706]))
        return PairedCase(tuple(a for a, _ in rows), tuple(b for _, b in rows), t)

    return {
        BytesCase: st.tuples(size, size).map(lambda sizes: BytesCase(max(sizes), min(sizes))),
        AccuracyCase: accuracy_case(),
        SignCase: st.builds(SignCase, few, few),
        RecallCase: recall_case(),
        ThresholdCase: threshold_case(),
        PairedCase: paired_case(),
    }
