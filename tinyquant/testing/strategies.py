"""Hypothesis strategies for cases: imported on demand only, by those who have hypothesis.

The numbers sit where quantizers go wrong: on ties and a hair beside them, at both ends, far outside, at odd zero points. With
this module one can write ``@given(map_cases())`` and ask `assert_property` of any law.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

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
from tinyquant.testing.grid import LAYERS_BESIDE_A_HALF, beside_a_half
from tinyquant.testing.legal import is_legal
from tinyquant.testing.strategies_lab import count_strategies, range_strategies

__all__ = ["cases", "map_cases"]

_ENDS = ((-128, 127), (0, 255), (-127, 127), (-8, 7), (0, 15), (-32768, 32767), (-3, 3), (-1, 1), (-7, 7))


def map_cases(mode: str = "half_away", eight_bits: bool = False) -> Any:
    """Reals with a map: float32 and float64, power-of-two and other scales, zero points at the ends and odd ones.

    Parameters
    ----------
    mode : str
        The rounding rule that the law `rounding_mode` asks for.
    eight_bits : bool
        Only the codes -128..127, for a function that knows no others.
    """
    from hypothesis import strategies as st

    beside_ties = _beside(st, (0.5, 1.5, 2.5), (4, 7, 10, 13, 16, 17))

    @st.composite
    def draw_case(draw: st.DrawFn) -> Case:
        qmin, qmax = (-128, 127) if eight_bits else draw(st.sampled_from(_ENDS))
        zero = draw(
            st.one_of(st.just(0), st.sampled_from([qmin, qmax]), st.integers(qmin, qmax)).filter(
                lambda z: qmin <= z <= qmax
            )
        )
        powers = st.integers(-12, 12).map(lambda e: 2.0**e)
        scale = draw(st.one_of(powers, st.floats(2.0**-16, 2.0**16, width=32)))
        dtype = draw(st.sampled_from(["float64", "float32"]))
        scalar = np.dtype(dtype).type
        halves = st.one_of(st.integers(-8, 8), st.integers(2 * (qmin - zero) - 4, 2 * (qmax - zero) + 4))
        on_grid = halves.map(lambda h: float(scalar(h / 2 * scale)))
        # Beside either end by quarters of a step, and all over the range, which small whole numbers seldom reach.
        ends = st.tuples(st.sampled_from([qmin - zero, qmax - zero]), st.integers(-4, 4)).map(lambda e: e[0] + e[1] / 4)
        inside = st.integers(0, 1000).map(lambda n: qmin - zero + (qmax - qmin) * n // 1000 + 0.25)
        near = st.one_of(ends, inside).map(lambda steps: float(scalar(steps * scale)))
        beside = st.tuples(on_grid, st.sampled_from([-np.inf, np.inf])).map(
            lambda pair: float(np.nextafter(scalar(pair[0]), scalar(pair[1])))
        )
        far = st.sampled_from([sign * 2.0**e for e in (10, 17, 33, 40) for sign in (1, -1)]).map(
            lambda s: float(scalar(s * scale))
        )
        between = st.floats(-300, 300, width=32).map(lambda s: float(scalar(s * scale)))
        # What is smaller than a normal float32 lets a right answer underflow.
        short = beside_ties.map(lambda s: float(scalar(s * scale)))
        real = st.one_of(on_grid, beside, near, between, far, short).filter(lambda v: v == 0 or abs(v) > 2.0**-80)
        x = draw(st.lists(real, min_size=1, max_size=5))
        return MapCase(tuple(x), scale, zero, qmin, qmax, dtype, mode)

    return draw_case()


def _beside(st: Any, ties: tuple[float, ...], bits: tuple[int, ...]) -> Any:
    """Numbers 2**-k beside a tie of either sign, on either side of it."""
    return st.builds(
        lambda sign, tie, way, k: sign * (tie + way * 2.0**-k),
        st.sampled_from([1, -1]), st.sampled_from(ties), st.sampled_from([1, -1]), st.sampled_from(bits),
    )  # fmt: skip


@lru_cache(maxsize=64)
def cases(kind: type, mode: str = "half_away", eight_bits: bool = False) -> Any:
    """The strategy (a hypothesis ``SearchStrategy``) for any kind of case; `mode` and `eight_bits` as in `map_cases`.

    Raises
    ------
    TypeError
        It is no kind of case.
    """
    from hypothesis import strategies as st

    int8 = st.integers(-128, 127)
    ends = st.just((-128, 127)) if eight_bits else st.sampled_from(_ENDS)
    multipliers = st.one_of(st.sampled_from([2**30, 2**30 + 1, 2**31 - 1, 1583594044]), st.integers(2**30, 2**31 - 1))
    accs = st.one_of(st.integers(-300, 300), st.integers(-(2**22), 2**22))
    signs = st.sampled_from([1, -1])

    @st.composite
    def codes_case(draw: st.DrawFn) -> Case:
        qmin, qmax = draw(ends)
        code = st.one_of(st.sampled_from([qmin, qmax]), st.integers(qmin, qmax))
        scale = draw(st.floats(2.0**-16, 2.0**16, width=32))
        return CodesCase(tuple(draw(st.lists(code, min_size=1, max_size=4))), scale, draw(code), qmin, qmax)

    @st.composite
    def range_case(draw: st.DrawFn) -> Case:
        qmin, qmax = draw(ends)
        end = st.one_of(st.integers(-64, 64).map(lambda n: n / 16), st.integers(-100000, 100000).map(lambda n: n / 100))
        scale = 2.0 ** draw(st.sampled_from([0, 0, -3, -9, -14]))
        if draw(st.booleans()):
            # The zero point lies beside a tie, by more than a float32 is off.
            low = draw(st.integers(0, qmax - qmin - 1)) + 0.5 + draw(signs) * 2.0 ** -draw(st.sampled_from([6, 10, 11]))
            return RangeCase(-low * scale, (qmax - qmin - low) * scale, qmin, qmax)
        low, high = sorted([draw(end) * scale, draw(end) * scale])
        return RangeCase(low, high, qmin, qmax)

    @st.composite
    def dot_case(draw: st.DrawFn) -> Case:
        pairs = draw(st.lists(st.tuples(int8, int8), min_size=1, max_size=6))
        pairs = pairs * draw(st.sampled_from([1, 1, 50, 1101]))
        return DotCase(tuple(a for a, _ in pairs), tuple(b for _, b in pairs), draw(int8), draw(int8))

    @st.composite
    def rescale_case(draw: st.DrawFn) -> Case:
        if draw(st.booleans()):
            shift = draw(st.sampled_from([0, -1, -2]))
            acc, multiplier = beside_a_half(draw(st.integers(2**24, 2**30)), shift, draw(signs))
            return RescaleCase((draw(signs) * acc,), multiplier, shift)
        several = draw(st.lists(accs, min_size=1, max_size=4))
        return RescaleCase(tuple(several), draw(multipliers), draw(st.integers(-24, 4)))

    @st.composite
    def layer_case(draw: st.DrawFn) -> Case:
        if draw(st.integers(0, 9)) == 0:
            return draw(st.sampled_from(LAYERS_BESIDE_A_HALF))
        code = draw(st.sampled_from([int8, st.integers(-3, 3)]))
        pairs = draw(st.lists(st.tuples(code, code), min_size=1, max_size=6))
        qmin, qmax = draw(st.sampled_from([(-128, 127), (-8, 7)]))
        bias, zero = draw(st.one_of(st.just(0), st.integers(-5000, 5000))), draw(st.one_of(st.just(0), int8))
        return LayerCase(tuple(a for a, _ in pairs), tuple(b for _, b in pairs), bias, zero, draw(multipliers),
                         draw(st.integers(-12, 1)), draw(st.integers(qmin, qmax)), qmin, qmax)  # fmt: skip

    @st.composite
    def gradient_case(draw: st.DrawFn) -> Case:
        point = st.builds(lambda n, sign: sign * n / 64, st.integers(1, 150), signs)
        x = draw(st.lists(point, min_size=1, max_size=5))
        return GradientCase(tuple(x), tuple(draw(st.lists(point, min_size=len(x), max_size=len(x)))))

    number = st.integers(-1000, 1000).map(lambda n: n / 64)
    eighths = st.integers(-400, 400).map(lambda n: n / 4)
    beside_ties = _beside(st, (0.5, 1.5, 2.5), (4, 7, 10, 13, 16, 20))
    exponents = st.integers(-24, 24)
    known: dict[type, Any] = {
        MapCase: map_cases(mode, eight_bits),
        CodesCase: codes_case(),
        RangeCase: range_case(),
        RoundCase: st.lists(st.one_of(eighths, beside_ties), min_size=1, max_size=8).map(lambda x: RoundCase(tuple(x), mode)),
        DotCase: dot_case(),
        MultiplierCase: st.one_of(
            st.floats(2.0**-30, 2.0**29),
            exponents.map(lambda e: 2.0**e),
            exponents.map(lambda e: float(np.nextafter(2.0**e, 0))),
            st.tuples(multipliers, exponents).map(lambda pair: (pair[0] + 0.5) * 2.0 ** (pair[1] - 31)),
        ).map(MultiplierCase),
        RescaleCase: rescale_case(),
        LayerCase: layer_case(),
        GradientCase: gradient_case(),
        GraphCase: st.lists(st.tuples(number, number, number, number), min_size=1, max_size=4).map(lambda x: GraphCase(tuple(x))),
        **range_strategies(), **count_strategies(),
    }  # fmt: skip
    if kind not in known:
        raise TypeError(f"kind must be one of {', '.join(k.__name__ for k in known)}, got {kind!r}. Name a kind of case.")
    return known[kind].filter(is_legal)
