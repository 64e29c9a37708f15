"""The laws of the two kinds of error, of ties, and of what one scale is told by all the numbers that share it.

The error of quantizing has two parts: what clipping does to x, and what rounding does to the rest. How a scale should move is the
same split once more: inside, the rounding error pulls on it; outside, the last code does (LSQ, Esser et al. 2020, equation 3).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

from tinyquant.testing import exact
from tinyquant.testing.cases import MapCase, ScaleCase, TieCase, call, given, reals
from tinyquant.testing.exact import HALF, ULP
from tinyquant.testing.law import (
    Broken,
    Functions,
    changed_inputs,
    differs_in_rows,
    law,
    numbers,
    show,
    two_of,
)
from tinyquant.testing.map_laws import float_slack, nearest_code_error

__all__: list[str] = []

# split_error


_SPLIT = "(rounding, clipping) of arrays"


def _parts(case: MapCase, functions: Functions) -> tuple[list[Fraction], list[Fraction]]:
    """The rounding and the clipping error of each x, as the function under test tells them."""
    rounding, clipping = two_of(call(functions["split_error"], given(case)), _SPLIT)
    return numbers(rounding, len(case.x), "rounding errors"), numbers(clipping, len(case.x), "clipping errors")


@lru_cache(maxsize=256)
def _reach(case: MapCase) -> tuple[Fraction, Fraction]:
    """The lowest and the highest real number that has a code."""
    ends = (exact.dequantize(end, case.scale, case.zero_point) for end in (case.qmin, case.qmax))
    return next(ends), next(ends)


@lru_cache(maxsize=256)
def _largest(case: MapCase) -> Fraction:
    """The end that is further from 0, and a step."""
    return max(map(abs, _reach(case))) + Fraction(case.scale)


def _room(case: MapCase, x: float) -> Fraction:
    """What float32 may add to a part: x, the real of a code or an end, and three differences, each rounded to 2**-24 of the
    largest number in it."""
    return 8 * ULP * (abs(Fraction(x)) + _largest(case))


@law("split_error", MapCase, "two arrays with a number for each x; x itself stays as it was")
def split_gives_two_arrays(case: MapCase, functions: Functions) -> Broken | None:
    """Shapes; the input untouched."""
    values = given(case)
    parts = two_of(call(functions["split_error"], values), _SPLIT)
    for part in parts:
        numbers(part, len(case.x), "errors")
    rounding, clipping = (np.asarray(part).shape for part in parts)
    right = (len(case.x),)
    if (rounding, clipping) != (right, right):
        return Broken(f"shapes {rounding} and {clipping}", f"{right} and {right}: rounding and clipping of each x")
    if not np.array_equal(values["x"], reals(case)):  # type: ignore[arg-type]
        return Broken("x itself was changed", "x stays as it was: work on a copy")
    return None


@law("split_error", MapCase, "the two parts add up to the whole error, dequantize(quantize(x)) - x")
def parts_add_up(case: MapCase, functions: Functions) -> Broken | None:
    """rounding + clipping = back - x, for a nearest code (either one on a tie)."""
    for x, real, rounding, clipping in zip(case.x, reals(case).tolist(), *_parts(case, functions)):
        steps = Fraction(real) / Fraction(case.scale)
        below = exact.clamp(math.floor(steps) + case.zero_point, case.qmin, case.qmax)
        above = exact.clamp(math.floor(steps) + 1 + case.zero_point, case.qmin, case.qmax)
        near = HALF + float_slack(steps, case.zero_point)
        codes = [code for code in (below, above) if nearest_code_error(case, steps, Fraction(code)) <= near]
        whole = [exact.dequantize(code, case.scale, case.zero_point) - Fraction(real) for code in codes]
        if min(abs(rounding + clipping - error) for error in whole) > _room(case, real):
            yours = f"{show(rounding)} + {show(clipping)} = {show(rounding + clipping)} for x = {show(x)}"
            return Broken(yours, f"{show(whole[0])}, the whole error: code {codes[0]}", "a float32 rounding")
    return None


@law("split_error", MapCase, "clipping = clip(x, lowest, highest) - x, which is 0 inside")
def clipping_is_what_clip_does(case: MapCase, functions: Functions) -> Broken | None:
    """lowest = scale * (qmin - zero_point), highest = scale * (qmax - zero_point)."""
    low, high = _reach(case)
    for x, real, clipping in zip(case.x, reals(case).tolist(), _parts(case, functions)[1]):
        right = min(max(Fraction(real), low), high) - Fraction(real)
        if abs(clipping - right) > _room(case, real):
            where = "inside" if right == 0 else "outside"
            return Broken(f"clipping {show(clipping)} for x = {show(x)}",
                          f"{show(right)}: x is {where} {show(low)} to {show(high)}", "a float32 rounding")  # fmt: skip
    return None


@law("split_error", MapCase, "the rounding error is at most half a step; outside the range it is 0")
def rounding_is_at_most_half_a_step(case: MapCase, functions: Functions) -> Broken | None:
    """|rounding| <= scale / 2, and 0 where x was clipped: the last code is met exactly."""
    low, high = _reach(case)
    for x, real, rounding in zip(case.x, reals(case).tolist(), _parts(case, functions)[0]):
        outside = not low <= Fraction(real) <= high
        most = Fraction(0) if outside else Fraction(case.scale) / 2
        if abs(rounding) > most + _room(case, real):
            right = "0: x is outside, and clipped" if outside else f"from {show(-most)} to {show(most)}"
            allowed = f"{'0' if outside else '0.5'} steps of scale {show(case.scale)}"
            return Broken(f"rounding {show(rounding)} for x = {show(x)}", right, allowed)
    return None


@law("split_error", MapCase, "the shape of x does not matter: both parts have the same one", rows=("x",))
def parts_of_any_shape(case: MapCase, functions: Functions) -> Broken | None:
    """Rows of numbers are split as the numbers are."""
    flat, shaped = given(case), given(case, rows=("x",))
    parts = two_of(call(functions["split_error"], flat), _SPLIT), two_of(call(functions["split_error"], shaped), _SPLIT)
    found = [differs_in_rows(one, other, shaped["x"], "errors") for one, other in zip(*parts)]
    return found[0] or found[1]


# tie_breaker


@law("tie_breaker", TieCase, "the two rules turn this x into two different whole numbers")
def rules_disagree_on_x(case: TieCase, functions: Functions) -> Broken | None:
    """round_to_int(x, mode_a) != round_to_int(x, mode_b), exactly."""
    (x,) = numbers(call(functions["tie_breaker"], given(case)), 1, "real number")
    first, second = (exact.round_to_int(x, mode) for mode in case)
    if first != second:
        return None
    tries = [[exact.round_to_int(Fraction(n, 2), mode) for mode in case] for n in (1, -1, 3, -3)]
    telling = next(n for n, (a, b) in zip((0.5, -0.5, 1.5, -1.5), tries) if a != b)
    a, b = (exact.round_to_int(Fraction(telling), mode) for mode in case)
    return Broken(f"x = {float(x)!r}: both make {first} of it", f"an x that parts them, such as {telling}: {a} and {b}")


# scale_gradient


def _pull(case: ScaleCase, number: int, functions: Functions) -> Fraction:
    """The gradient of the scale when only one of the numbers is there."""
    one = case._replace(upstream=case.upstream[number : number + 1], x=case.x[number : number + 1])
    (value,) = numbers(call(functions["scale_gradient"], given(one)), 1, "gradient")
    return value


def _right_pulls(case: ScaleCase, x: float) -> list[Fraction]:
    """What an x may pull with, for 1 that arrives: one number, or several on a tie and up to half a step beyond an end.

    There the code rounds to the end but x / scale is past it: LSQ itself calls that clipped, the mask of fake-quant does not.
    """
    steps = Fraction(x) / Fraction(case.scale)
    near = float_slack(steps, 0)
    codes = [code for code in (math.floor(steps), math.floor(steps) + 1) if abs(code - steps) <= HALF + near]
    right = [code - steps for code in codes if case.qmin <= code <= case.qmax]
    right += [Fraction(case.qmin)] if steps <= case.qmin + near else []
    right += [Fraction(case.qmax)] if steps >= case.qmax - near else []
    return right


def _off(case: ScaleCase, upstream: float, x: float) -> Fraction:
    """What float32 may add to one product: to x / scale, to the difference, and to the product."""
    steps = Fraction(x) / Fraction(case.scale)
    return abs(Fraction(upstream)) * (float_slack(steps, 0) + 4 * ULP * max(abs(case.qmin), case.qmax))


def _wrong_pull(case: ScaleCase, functions: Functions, inside: bool) -> Broken | None:
    """The first x inside (or outside) that pulls with a wrong number."""
    for number, (upstream, x) in enumerate(zip(case.upstream, case.x)):
        steps = Fraction(x) / Fraction(case.scale)
        right = _right_pulls(case, x)
        if (case.qmin <= steps <= case.qmax) != inside:
            continue
        value = _pull(case, number, functions)
        if min(abs(value - Fraction(upstream) * one) for one in right) > _off(case, upstream, x):
            answer = show(Fraction(upstream) * right[0])
            why = f"({show(steps + right[0])} - {show(steps)})" if inside else f"the end code {show(right[0])}"
            return Broken(f"{show(value)} for x = {show(x)} alone", f"{answer} = {show(upstream)} * {why}", "a float32 rounding")
    return None


@law("scale_gradient", ScaleCase, "inside, x pulls on the scale with (its code - x / scale) * upstream")
def rounding_pulls_on_the_scale(case: ScaleCase, functions: Functions) -> Broken | None:
    """upstream * (round(x / scale) - x / scale)."""
    return _wrong_pull(case, functions, inside=True)


@law("scale_gradient", ScaleCase, "outside, x pulls on the scale with qmin or qmax, times upstream")
def the_end_code_pulls_on_the_scale(case: ScaleCase, functions: Functions) -> Broken | None:
    """upstream * qmin below, upstream * qmax above."""
    return _wrong_pull(case, functions, inside=False)


@law("scale_gradient", ScaleCase, "one scale for all, so one gradient: the sum of what each x pulls")
def pulls_are_summed(case: ScaleCase, functions: Functions) -> Broken | None:
    """The sum over all x; each x within its own room."""
    (value,) = numbers(call(functions["scale_gradient"], given(case)), 1, "gradient")
    choices = [[Fraction(u) * pull for pull in _right_pulls(case, x)] for u, x in zip(case.upstream, case.x)]
    if math.prod(map(len, choices)) > 64:
        return None
    n = len(case.x)
    room = n * sum((_off(case, u, x) for u, x in zip(case.upstream, case.x)), Fraction(0))
    sums = [sum(picked, Fraction(0)) for picked in itertools.product(*choices)]
    if min(abs(value - right) for right in sums) <= room:
        return None
    yours, right = show(value, sums[0]), show(sums[0], value)
    return Broken(f"{yours} for {n} numbers", f"{right}, the sum of their pulls", f"{n} float32 roundings")


@law("scale_gradient", ScaleCase, "the shape of x does not matter: one gradient, the sum over all of it", rows=("upstream", "x"))
def pulls_of_any_shape(case: ScaleCase, functions: Functions) -> Broken | None:
    """Rows of numbers pull as the numbers do; a sum may be taken in another order, so that each may be off by its own room."""
    (flat,) = numbers(call(functions["scale_gradient"], given(case)), 1, "gradient")
    (shaped,) = numbers(call(functions["scale_gradient"], given(case, rows=("upstream", "x"))), 1, "gradient")
    room = 2 * len(case.x) * sum((_off(case, u, x) for u, x in zip(case.upstream, case.x)), Fraction(0))
    if abs(flat - shaped) <= room:
        return None
    return Broken(f"{show(shaped, flat)} for rows", f"{show(flat, shaped)}, as for the same numbers in one row",
                  f"{len(case.x)} float32 roundings")  # fmt: skip


@law("scale_gradient", ScaleCase, "x and upstream themselves stay as they were")
def scale_gradient_leaves_its_inputs_alone(case: ScaleCase, functions: Functions) -> Broken | None:
    """The caller's arrays are not divided or multiplied in place."""
    return changed_inputs(functions["scale_gradient"], given(case))
