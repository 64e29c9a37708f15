"""The laws of the affine map: quantize, dequantize, and the choice of a scale and zero point.

real = scale * (code - zero_point). Every bound is counted in steps (one step = one scale) against exact rationals. What a float32
division may add is allowed for: a right answer computed in float32, or with the zero point added before rounding, passes.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

from tinyquant.testing import exact
from tinyquant.testing.cases import CodesCase, MapCase, RangeCase, call, given, reals
from tinyquant.testing.exact import HALF, ULP
from tinyquant.testing.law import (
    Broken,
    Functions,
    changed_inputs,
    differs_on_rows,
    law,
    numbers,
    pair,
    show,
    type_of,
)

__all__ = ["codes_of", "decoding_slack", "float_slack", "nearest_code_error"]


def float_slack(steps: Fraction, zero_point: int) -> Fraction:
    """What float32 may add to an error, in steps: two roundings of x / scale (three of x * (1 / scale)), one of adding the zero
    point, and one of adding a half before a floor."""
    return 4 * ULP * (abs(steps) + abs(zero_point) + 1)


def decoding_slack(code: Fraction | int, case: MapCase | CodesCase) -> Fraction:
    """What float32 may add to the real number of a code: written as scale * code - scale * zero_point, the scale is rounded once,
    each product once and the difference once, 3 * 2**-24 of scale * (|code| + |zero_point|), and 4 with what is left over.

    The zero point itself is scale * z - scale * z, the same two numbers, where float32 holds the scale: exactly 0.
    """
    if code == case.zero_point and np.float32(case.scale) == case.scale:
        return Fraction(0)
    return 4 * ULP * Fraction(case.scale) * (abs(Fraction(code)) + abs(case.zero_point))


def codes_of(case: MapCase, functions: Functions, x: np.ndarray | None = None) -> list[Fraction]:
    """The codes that the quantize under test gives for the reals of the case (or for x)."""
    values = reals(case) if x is None else x
    return numbers(call(functions["quantize"], {**given(case), "x": values}), values.size)


@lru_cache(maxsize=256)
def _steps(case: MapCase) -> tuple[Fraction, ...]:
    """x / scale of every real in the case's own dtype, exactly."""
    scale = Fraction(case.scale)
    return tuple(Fraction(value) / scale for value in reals(case).tolist())


def nearest_code_error(case: MapCase, steps: Fraction, code: Fraction) -> Fraction:
    """How far, in steps, the code is from the clipped exact value; 0 or more."""
    inside = min(max(steps + case.zero_point, Fraction(case.qmin)), Fraction(case.qmax))
    return abs(inside - code)


def _tie(value: Fraction) -> Fraction:
    """The tie next to a number: what is written must not look like one."""
    return Fraction(math.floor(value)) + HALF


def _within_half(case: MapCase) -> str:
    """The allowed error of the nearest code, in words."""
    return f"0.5 steps of scale {show(case.scale)}"


@law("quantize", MapCase, "each x gets one code: integers (int8 for -128..127) from qmin to qmax; x stays as it was")
def codes_and_dtype(case: MapCase, functions: Functions) -> Broken | None:
    """Shape, integer type, range; the input untouched."""
    x = reals(case)
    before = x.copy()
    answer = call(functions["quantize"], {**given(case), "x": x})
    numbers(answer, x.size)
    result = np.asarray(answer)
    if not np.array_equal(x, before):
        return Broken(f"x itself became {x.tolist()}", "x stays as it was: work on a copy")
    if result.shape != x.shape:
        return Broken(f"shape {result.shape}", f"shape {x.shape}, one code for each x")
    right = "int8" if (case.qmin, case.qmax) == (-128, 127) else "an integer type"
    if result.dtype.kind not in "iu" or (right == "int8" and result.dtype != np.int8):
        return Broken(type_of(answer), f"an array of {right}")
    for value, code in zip(case.x, result.ravel().tolist()):
        if not case.qmin <= code <= case.qmax:
            return Broken(f"code {code} for {show(value)}", f"a code from {case.qmin} to {case.qmax}")
    return None


@law("quantize", MapCase, "the real number 0 gets the code zero_point, exactly")
def zero_gets_the_zero_point(case: MapCase, functions: Functions) -> Broken | None:
    """quantize(0) = zero_point, for both zeros."""
    for code in codes_of(case, functions, np.array([0.0, -0.0], case.dtype)):
        if code != case.zero_point:
            return Broken(f"0.0 gets code {show(code)}", f"0.0 gets code {case.zero_point}, the zero point")
    return None


@law("quantize", MapCase, "inside the range, going there and back moves x by at most half a step")
def round_trip_half_step(case: MapCase, functions: Functions) -> Broken | None:
    """|scale * (code - zero_point) - x| <= scale / 2 for x with a code of its own."""
    for x, steps, code in zip(case.x, _steps(case), codes_of(case, functions)):
        if not case.qmin <= steps + case.zero_point <= case.qmax:
            continue
        error = nearest_code_error(case, steps, code)
        if error > HALF + float_slack(steps, case.zero_point):
            right = exact.quantize(float(steps), 1.0, case.zero_point, case.qmin, case.qmax)
            back = [show(exact.dequantize(int(c), case.scale, case.zero_point)) for c in (code, right)]
            off = show(error, HALF)
            return Broken(f"code {show(code)} for {show(x)}: comes back as {back[0]}, {off} steps off",
                          f"code {right}: comes back as {back[1]}", _within_half(case))  # fmt: skip
    return None


@law("quantize", MapCase, "what lies outside the range gets the last code on its side: it saturates, never wraps")
def saturates(case: MapCase, functions: Functions) -> Broken | None:
    """x above the range -> qmax, below -> qmin."""
    for x, steps, code in zip(case.x, _steps(case), codes_of(case, functions)):
        exact_code = steps + case.zero_point
        right = case.qmax if exact_code > case.qmax else case.qmin if exact_code < case.qmin else None
        if right is not None and code != right:
            return Broken(f"code {show(code)} for {show(x)}", f"code {right}, the last one on that side")
    return None


@law("quantize", MapCase, "a larger x never gets a smaller code")
def monotone(case: MapCase, functions: Functions) -> Broken | None:
    """x <= y implies code(x) <= code(y)."""
    x = np.sort(reals(case))
    codes = codes_of(case, functions, x)
    for low, high, first, second in zip(x.tolist(), x[1:].tolist(), codes, codes[1:]):
        if first > second:
            yours = f"{show(low)} gets code {show(first)}, {show(high)} gets {show(second)}"
            return Broken(yours, "the second code is at least the first")
    return None


@law("quantize", MapCase, "quantizing what a code stands for gives that code again")
def idempotent(case: MapCase, functions: Functions) -> Broken | None:
    """quantize(dequantize(code)) = code, for the codes of the case's x and both ends."""
    wanted = [exact.quantize(x, case.scale, case.zero_point, case.qmin, case.qmax) for x in reals(case).tolist()]
    wanted += [case.qmin, case.qmax]
    stands_for = np.array([float(exact.dequantize(c, case.scale, case.zero_point)) for c in wanted], np.float32)
    for code, right, x in zip(codes_of(case, functions, stands_for), wanted, stands_for.tolist()):
        if code != right:
            return Broken(f"{show(x)}, what code {right} stands for, gets {show(code)}", f"code {right} again")
    return None


@law("quantize", MapCase, "the code of one x does not depend on the other numbers in the array")
def one_by_one(case: MapCase, functions: Functions) -> Broken | None:
    """quantize(x)[i] = quantize(x[i:i+1])."""
    x = reals(case)
    for number, together in enumerate(codes_of(case, functions)):
        (alone,) = codes_of(case, functions, x[number : number + 1])
        if alone != together:
            yours = f"{show(case.x[number])} gets code {show(together)} here, {show(alone)} alone"
            return Broken(yours, "the same code in any company")
    return None


@law("quantize", MapCase, "x and scale both times 4 (or both over 8) give the same codes: only x / scale counts")
def scale_equivariant(case: MapCase, functions: Functions) -> Broken | None:
    """quantize(c * x, c * scale) = quantize(x, scale) for powers of two c, which floats multiply by exactly."""
    before = codes_of(case, functions)
    for factor in (4.0, 0.125, 2.0**-20):
        scaled = case._replace(scale=case.scale * factor)
        after = codes_of(scaled, functions, reals(case) * np.asarray(factor, case.dtype))
        for x, first, second in zip(case.x, before, after):
            if first != second:
                yours = (
                    f"{show(x)} gets {show(first)}; {show(x * factor)} with scale {show(scaled.scale)} gets {show(second)}"
                )
                return Broken(yours, "the same code for both")
    return None


@law("quantize", MapCase, "an x exactly between two codes goes where the named rounding rule says")
def rounding_mode(case: MapCase, functions: Functions) -> Broken | None:
    """Every x on an exact tie: clip(round(x / scale) + zero_point), with the rule case.mode. Only power-of-two scales have
    ties that every float computation meets exactly; others are let through."""
    if math.frexp(case.scale)[0] != 0.5:
        return None
    for x, steps, code in zip(case.x, _steps(case), codes_of(case, functions)):
        if (2 * steps).denominator != 1:
            continue
        right = exact.clamp(exact.round_to_int(steps, case.mode) + case.zero_point, case.qmin, case.qmax)
        if code != right:
            tie = f"{show(x)} is {show(steps)} steps: "
            return Broken(
                f"{tie}code {show(code)}", f"code {right}: {case.mode} rounds {show(steps)}, then adds the zero point"
            )
    return None


@law("quantize", MapCase, "the shape of x does not matter: a code for each number, in x's own shape", rows=("x",))
def codes_of_any_shape(case: MapCase, functions: Functions) -> Broken | None:
    """Rows of numbers get the codes of the numbers."""
    return differs_on_rows(functions["quantize"], case, "x", "codes")


# dequantize


@law("dequantize", CodesCase, "code q stands for the real number scale * (q - zero_point)")
def decodes_to_its_real(case: CodesCase, functions: Functions) -> Broken | None:
    """Within four float32 roundings of the exact product; codes arrive in their own narrow type."""
    got = numbers(call(functions["dequantize"], given(case)), len(case.codes), "real numbers")
    for code, value in zip(case.codes, got):
        right = exact.dequantize(code, case.scale, case.zero_point)
        if abs(value - right) > decoding_slack(code, case):
            return Broken(f"code {code} stands for {show(value, right)}", show(right, value), "a float32 rounding")
    return None


@law("dequantize", CodesCase, "real numbers come back: an array of floats of the codes' shape, the codes as they were")
def reals_and_dtype(case: CodesCase, functions: Functions) -> Broken | None:
    """Float type, shape, input untouched."""
    answer = call(functions["dequantize"], given(case))
    numbers(answer, len(case.codes), "real numbers")
    result, shape = np.asarray(answer), (len(case.codes),)
    if result.dtype.kind != "f" or result.shape != shape:
        return Broken(f"{type_of(answer)} of shape {result.shape}", f"an array of floats of shape {shape}")
    return changed_inputs(functions["dequantize"], given(case))


@law("dequantize", CodesCase, "the shape of the codes does not matter: the reals have the same one", rows=("codes",))
def reals_of_any_shape(case: CodesCase, functions: Functions) -> Broken | None:
    """Rows of codes stand for what the codes stand for."""
    return differs_on_rows(functions["dequantize"], case, "codes", "real numbers")


# choose_qparams


def _chosen(case: RangeCase, functions: Functions) -> tuple[Fraction, Fraction]:
    """The scale and zero point that choose_qparams gives, from a pair or a QParams."""
    result = call(functions["choose_qparams"], case._asdict())
    if hasattr(result, "zero_point"):
        result = (result.scale, result.zero_point)  # type: ignore[attr-defined]
    return pair(result, "scale", "zero_point")


def _wanted(case: RangeCase) -> tuple[Fraction, Fraction, Fraction]:
    """Both ends of the range widened to contain 0, and the exact scale (0 for the empty range)."""
    low, high = min(Fraction(case.rmin), Fraction(0)), max(Fraction(case.rmax), Fraction(0))
    return low, high, (high - low) / (case.qmax - case.qmin)


@law("choose_qparams", RangeCase, "the scale is a positive number, even for the empty range 0..0")
def scale_is_positive(case: RangeCase, functions: Functions) -> Broken | None:
    """scale > 0 and finite."""
    scale, _ = _chosen(case, functions)
    return None if scale > 0 else Broken(f"scale {show(scale)}", "a scale above 0 (1.0 for the empty range)")


@law("choose_qparams", RangeCase, "real 0 is exactly one of the codes: the zero point is whole, from qmin to qmax")
def zero_representable(case: RangeCase, functions: Functions) -> Broken | None:
    """zero_point is an integer within [qmin, qmax]."""
    _, zero = _chosen(case, functions)
    if zero.denominator == 1 and case.qmin <= zero <= case.qmax:
        return None
    return Broken(f"zero_point {show(zero)}", f"a whole number from {case.qmin} to {case.qmax}")


@law("choose_qparams", RangeCase, "the codes cover rmin, rmax and 0, each to within half a step")
def range_covered(case: RangeCase, functions: Functions) -> Broken | None:
    """scale * (qmin - zero_point) <= min(rmin, 0) + scale / 2, and the same at the other end."""
    scale, zero = _chosen(case, functions)
    low, high, _ = _wanted(case)
    slack = HALF + float_slack(Fraction(case.qmax - case.qmin), case.qmax - case.qmin)
    ends = scale * (case.qmin - zero), scale * (case.qmax - zero)
    if ends[0] > low + scale * slack or ends[1] < high - scale * slack:
        return Broken(f"codes from {show(ends[0])} to {show(ends[1])}", f"from {show(low)} to {show(high)}",
                      f"0.5 steps of your scale {show(scale)}")  # fmt: skip
    return None


@law("choose_qparams", RangeCase, "the scale is the range, widened to contain 0, over its qmax - qmin steps")
def scale_is_range_over_steps(case: RangeCase, functions: Functions) -> Broken | None:
    """scale = (max(rmax, 0) - min(rmin, 0)) / (qmax - qmin), to float32."""
    low, high, right = _wanted(case)
    if low == high:
        return None
    scale, _ = _chosen(case, functions)
    if abs(scale - right) > 8 * ULP * right:
        return Broken(
            f"scale {show(scale, right)}",
            f"scale {show(right, scale)} = {show(high - low)} / {case.qmax - case.qmin}",
            "a float32 rounding",
        )
    return None


@law("choose_qparams", RangeCase, "the zero point is the whole number nearest to qmin - rmin / scale")
def zero_point_is_nearest(case: RangeCase, functions: Functions) -> Broken | None:
    """|zero_point - (qmin - min(rmin, 0) / scale)| <= 1/2, with the exact scale."""
    low, high, step = _wanted(case)
    if low == high:
        return None
    _, zero = _chosen(case, functions)
    right = case.qmin - low / step
    if abs(zero - right) > HALF + float_slack(right - case.qmin, case.qmin):
        return Broken(
            f"zero_point {show(zero)}",
            f"{exact.round_to_int(right, 'half_away')}, nearest to {show(right, _tie(right))}",
            "half a code",
        )
    return None
