"""Hypothesis strategies for numbers: maps, arrays that sit where quantizers go wrong, ranges, multipliers, accumulators."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from oracles import code_range

from tinyquant.numerics.qparams import QParams

FLOAT32 = np.finfo(np.float32)
SCALARS = {32: np.float32, 64: np.float64}

bits = st.integers(2, 16)
exponents = st.integers(-20, 20)
power_of_two_scales = exponents.map(lambda e: 2.0**e)
normal_float32 = st.floats(2.0**-126, 2.0**110, width=32)
"""Scales as `choose_qparams` makes them, with room for 16-bit codes below the largest float32."""
any_scale = st.one_of(normal_float32, st.floats(2.0**-126, 2.0**110))
"""Also those that float32 does not hold exactly, which a caller may give."""


@st.composite
def kinds(draw: st.DrawFn) -> dict[str, Any]:
    """The keyword arguments of `choose_qparams` that say what codes there are, in every legal combination."""
    signed = draw(st.booleans(), label="signed")
    return {
        "bits": draw(bits, label="bits"),
        "signed": signed,
        "symmetric": signed and draw(st.booleans(), label="symmetric"),
        "narrow_range": draw(st.booleans(), label="narrow_range"),
        "power_of_two": draw(st.booleans(), label="power_of_two"),
    }


@st.composite
def qparams(
    draw: st.DrawFn,
    *,
    power_of_two: bool | None = None,
    per_axis: bool | None = None,
    symmetric: bool = False,
    others: st.SearchStrategy[float] = any_scale,
) -> QParams:
    """A map with any width, sign and zero point (ends included); per axis, axis 0 or -1 and up to 3 channels.

    The scale is a power of two, or one of the others."""
    kind = draw(kinds())
    signed = kind["signed"] or symmetric
    qmin, qmax = code_range(kind["bits"], signed, kind["narrow_range"] or symmetric)
    scales = power_of_two_scales if (kind["power_of_two"] if power_of_two is None else power_of_two) else others
    centred = symmetric or kind["symmetric"]
    zeros = st.just(0) if centred else st.one_of(st.sampled_from([qmin, qmax]), st.integers(qmin, qmax))
    if draw(st.booleans(), label="per axis") if per_axis is None else per_axis:
        channels = draw(st.integers(1, 3), label="channels")
        scale = [draw(scales) for _ in range(channels)]
        return QParams(scale, [draw(zeros) for _ in range(channels)], qmin, qmax, draw(st.sampled_from([0, -1]), label="axis"))
    return QParams(draw(scales), draw(zeros), qmin, qmax)


def reals(scale: float, zero: int, qp: QParams, width: int) -> st.SearchStrategy[float]:
    """Finite floats for one channel: on the grid, on its ties (exact for power-of-two scales), a hair beside them, past the ends,
    both zeros, subnormals, huge, and anything."""
    scalar = SCALARS[width]
    limits = np.finfo(scalar)

    def fit(x: float) -> float:
        return float(scalar(min(max(x, float(limits.min)), float(limits.max))))

    halves = st.integers(2 * (qp.qmin - zero) - 4, 2 * (qp.qmax - zero) + 4)
    on_grid = halves.map(lambda h: fit(h / 2 * scale))
    beside = st.tuples(on_grid, st.sampled_from([-np.inf, np.inf])).map(
        lambda pair: fit(float(np.nextafter(scalar(pair[0]), scalar(pair[1]))))
    )
    named = [0.0, -0.0, float(limits.smallest_subnormal), -float(limits.smallest_normal), float(limits.max), float(limits.min)]
    anything = st.floats(allow_nan=False, allow_infinity=False, width=width)
    return st.one_of(on_grid, beside, st.sampled_from([*named, fit(0.49999997 * scale)]), anything)


class Case(NamedTuple):
    """An array and its map, with the scale and zero point of each element as flat lists."""

    x: np.ndarray
    qp: QParams
    scales: list[float]
    zeros: list[int]


@st.composite
def arrays_for(draw: st.DrawFn, maps: st.SearchStrategy[QParams], width: int | None = None) -> Case:
    """An array of float32 or float64 that fits the map's axis, 0 to 3 axes, each element placed for its own channel."""
    qp = draw(maps, label="qp")
    width = width or draw(st.sampled_from([32, 64]), label="float width")
    shape = list(draw(st.lists(st.integers(0, 4), min_size=int(qp.per_axis), max_size=2), label="shape"))
    if qp.axis is not None:
        shape[qp.axis] = np.size(qp.scale)
    scale, zero = (np.broadcast_to(a, shape).ravel().tolist() for a in qp.along(len(shape)))
    flat = [draw(reals(s, z, qp, width)) for s, z in zip(scale, zero, strict=True)]
    return Case(np.array(flat, dtype=SCALARS[width]).reshape(shape), qp, scale, zero)


@st.composite
def codes_for(draw: st.DrawFn, maps: st.SearchStrategy[QParams]) -> Case:
    """Codes within the map's ends, in its own type."""
    case = draw(arrays_for(maps))
    codes = [draw(st.integers(case.qp.qmin, case.qp.qmax)) for _ in case.scales]
    return case._replace(x=np.array(codes, dtype=case.qp.dtype).reshape(case.x.shape))


_ends = st.one_of(
    st.floats(float(FLOAT32.min), float(FLOAT32.max)),
    st.floats(-1000, 1000),
    st.integers(-1000, 1000).map(float),
    st.integers(-64, 64).map(lambda n: n / 16),
    st.floats(-1e-37, 1e-37),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 2.0**-126, float(FLOAT32.max), float(FLOAT32.min)]),
)

ranges = st.tuples(_ends, _ends).map(lambda ends: (min(ends), max(ends)))
"""(rmin, rmax): empty, constant, one-sided, denormal, huge and ordinary ones."""


def is_legal(case: tuple[tuple[float, float], dict[str, Any]]) -> bool:
    """Whether the scale stays in float32 when it is rounded up to a power of two."""
    ends, kind = case
    return not kind["power_of_two"] or max(map(abs, ends)) <= 2.0**127


ranges_and_kinds = st.tuples(ranges, kinds()).filter(is_legal)
"""What `choose_qparams` takes."""

real_multipliers = st.one_of(
    st.floats(2.0**-34, 2.0**30),
    st.floats(0.0, 1.0),
    exponents.map(lambda e: 2.0**e),
    exponents.map(lambda e: float(np.nextafter(2.0**e, 0))),
    st.tuples(st.integers(2**30, 2**31 - 1), exponents).map(lambda pair: (pair[0] + 0.5) * 2.0 ** (pair[1] - 31)),
    st.sampled_from([0.0, 1.0, 2.0**-32, float(np.nextafter(2.0**-32, 0)), 2.0**-33, 2.0**-31, 5e-324, 2.0**31 - 1]),
).flatmap(lambda real: st.sampled_from([real, -real]))
"""Reals that `quantize_multiplier` takes: powers of two and their lower neighbours, ties, what flushes to zero, negatives."""

_magnitudes = st.one_of(st.integers(2**30, 2**31 - 1), st.sampled_from([2**30, 2**30 + 1, 2**31 - 1, 1583594044]))
multipliers = st.one_of(_magnitudes, _magnitudes.map(lambda m: -m), st.just(0))
shifts = st.integers(-31, 31)

int32 = st.one_of(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-300, 300),
    st.integers(0, 31).flatmap(lambda n: st.integers(-3, 3).map(lambda d: min((1 << n) + d, 2**31 - 1))),
    st.integers(0, 31).flatmap(lambda n: st.integers(-3, 3).map(lambda d: max(-(1 << n) + d, -(2**31)))),
)
"""Accumulators: anything, small ones, and the neighbours of plus and minus powers of two."""
