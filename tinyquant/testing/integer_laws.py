"""The laws of integer arithmetic: rounding by name, exact sums, multipliers, and one whole integer layer.

All of it is judged in Python ints and exact rationals: nothing here can overflow or round by itself.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from tinyquant.testing import exact
from tinyquant.testing.cases import DotCase, LayerCase, MultiplierCase, RescaleCase, RoundCase, call, given
from tinyquant.testing.exact import HALF
from tinyquant.testing.law import (
    Broken,
    Functions,
    Unusable,
    changed_inputs,
    differs_on_rows,
    law,
    numbers,
    pair,
    show,
)

__all__: list[str] = []

@law("round_to_int", RoundCase, "each number becomes the whole number that the named rule says, on ties above all")
def rounds_by_its_rule(case: RoundCase, functions: Functions) -> Broken | None:
    """round_to_int(x, mode) against the definition."""
    got = numbers(call(functions["round_to_int"], given(case)), len(case.x), "whole numbers")
    for x, value in zip(case.x, got):
        right = exact.round_to_int(Fraction(x), case.mode)
        if value != right:
            beside = show(x, math.floor(x) + HALF, math.floor(x), math.ceil(x))
            return Broken(f"{beside} becomes {show(value)}", f"{right}: the rule is {case.mode}")
    return None


@law("round_to_int", RoundCase, "x itself stays as it was")
def rounding_leaves_x_alone(case: RoundCase, functions: Functions) -> Broken | None:
    """The caller's array is not rounded in place."""
    return changed_inputs(functions["round_to_int"], given(case))


@law("round_to_int", RoundCase, "the shape of x does not matter: the whole numbers have the same one", rows=("x",))
def rounds_any_shape(case: RoundCase, functions: Functions) -> Broken | None:
    """Rows of numbers are rounded as the numbers are."""
    return differs_on_rows(functions["round_to_int"], case, "x", "whole numbers")


def _dot(case: DotCase, fn: object, **more: int) -> int:
    """The whole number that a sum of products returns."""
    x, w = np.array(case.x, np.int8), np.array(case.w, np.int8)
    (total,) = numbers(call(fn, {"x": x, "w": w, **more}), 1, "sum")  # type: ignore[arg-type]
    if total.denominator != 1:
        raise Unusable(show(total), "a whole number")
    return int(total)


@law("accumulate", DotCase, "the sum of products is exact: 32 bits are wide enough, 8 and 16 are not")
def accumulator_exact(case: DotCase, functions: Functions) -> Broken | None:
    """sum(x * w) of int8 codes, to the last digit."""
    total, right = _dot(case, functions["accumulate"]), exact.dot(case.x, case.w)
    return None if total == right else Broken(f"the sum is {total}", f"{right}")


@law("accumulate", DotCase, "the accumulator is an integer of at least 32 bits: float32 counts only to 16777216")
def accumulator_is_an_integer(case: DotCase, functions: Functions) -> Broken | None:
    """The type of the sum."""
    codes = {"x": np.array(case.x, np.int8), "w": np.array(case.w, np.int8)}
    result = np.asarray(call(functions["accumulate"], codes))
    if result.dtype.kind in "iu" and result.dtype.itemsize >= 4:
        return None
    return Broken(f"a sum of type {result.dtype}", "int32 (or wider)")


@law("accumulate", DotCase, "x and w themselves stay as they were")
def accumulator_leaves_the_codes_alone(case: DotCase, functions: Functions) -> Broken | None:
    """The caller's codes are not multiplied in place."""
    return changed_inputs(functions["accumulate"], {"x": np.array(case.x, np.int8), "w": np.array(case.w, np.int8)})


@law("centred_dot", DotCase, "taking the zero points off first, or correcting the sum afterwards, gives the same number")
def zero_point_corrections(case: DotCase, functions: Functions) -> Broken | None:
    """sum((x - x_zero) * (w - w_zero)), to the last digit."""
    total = _dot(case, functions["centred_dot"], x_zero=case.x_zero, w_zero=case.w_zero)
    right = exact.dot(case.x, case.w, case.x_zero, case.w_zero)
    return None if total == right else Broken(f"the sum is {total}", f"{right}")


@law("centred_dot", DotCase, "the sum is an integer: no float belongs between codes and accumulator")
def centred_sum_is_an_integer(case: DotCase, functions: Functions) -> Broken | None:
    """The type of the sum (a Python int is one too)."""
    result = np.asarray(call(functions["centred_dot"], given(case)))
    return None if result.dtype.kind in "iu" else Broken(f"a sum of type {result.dtype}", "an integer: int32 or wider")


@law("centred_dot", DotCase, "x and w themselves stay as they were")
def centred_dot_leaves_the_codes_alone(case: DotCase, functions: Functions) -> Broken | None:
    """The zero points are not taken off the caller's own codes."""
    return changed_inputs(functions["centred_dot"], given(case))


def _pair(case: MultiplierCase, functions: Functions) -> tuple[int, int]:
    """The multiplier and the shift, which are whole."""
    multiplier, shift = pair(call(functions["quantize_multiplier"], {"real": case.real}), "multiplier", "shift")
    if multiplier.denominator != 1 or shift.denominator != 1:
        raise Unusable(f"({show(multiplier)}, {show(shift)})", "two whole numbers")
    return int(multiplier), int(shift)


@law("quantize_multiplier", MultiplierCase, "the multiplier uses all its 31 bits: 2**30 <= multiplier < 2**31")
def multiplier_normalised(case: MultiplierCase, functions: Functions) -> Broken | None:
    """2**30 <= multiplier <= 2**31 - 1, so that no bit is wasted and none is lost."""
    multiplier, shift = _pair(case, functions)
    if 2**30 <= multiplier < 2**31:
        return None
    return Broken(f"({multiplier}, {shift}) for {case.real!r}", f"a multiplier from {2**30} to {2**31 - 1}")


@law("quantize_multiplier", MultiplierCase, "multiplier * 2**(shift - 31) is the real number, rounded to nearest")
def multiplier_is_nearest(case: MultiplierCase, functions: Functions) -> Broken | None:
    """Half a unit of the last bit of the multiplier."""
    multiplier, shift = _pair(case, functions)
    right = Fraction(case.real)
    unit = Fraction(2) ** (shift - 31) if abs(shift) < 2000 else Fraction(0)
    if abs(multiplier * unit - right) <= unit / 2:
        return None
    stands = show(multiplier * unit)
    return Broken(
        f"({multiplier}, {shift}), which is {stands}", f"{case.real!r}", "half a unit of the multiplier's last bit"
    )


def _rescaled(case: RescaleCase, functions: Functions) -> list[Fraction]:
    """What the requantize under test makes of the accumulators."""
    return numbers(call(functions["requantize"], given(case)), len(case.acc), "whole numbers")


def _beside(value: Fraction) -> str:
    """A number, with as many digits as tell it from the tie next to it."""
    return show(value, math.floor(value) + HALF)


@law("requantize", RescaleCase, "acc * multiplier * 2**(shift - 31) is met to less than one code (any rule of any runtime)")
def requantize_within_one(case: RescaleCase, functions: Functions) -> Broken | None:
    """|result - exact| <= 1, and the result is whole: even the double rounding of TFLite keeps this."""
    for acc, value in zip(case.acc, _rescaled(case, functions)):
        right = exact.rescale(acc, case.multiplier, case.shift)
        if value.denominator != 1 or abs(value - right) > 1:
            return Broken(
                f"{show(value)} for acc = {acc}", f"{exact.round_to_int(right, 'half_away')}, from {_beside(right)}", "1 code"
            )
    return None


@law("requantize", RescaleCase, "the result is the whole number nearest to acc * multiplier * 2**(shift - 31)")
def requantize_nearest(case: RescaleCase, functions: Functions) -> Broken | None:
    """|result - exact| <= 1/2: one rounding of the whole product. The double rounding of TFLite breaks it, now and then."""
    for acc, value in zip(case.acc, _rescaled(case, functions)):
        right = exact.rescale(acc, case.multiplier, case.shift)
        if abs(value - right) > HALF:
            return Broken(
                f"{show(value)} for acc = {acc}",
                f"{exact.round_to_int(right, 'half_away')}, from {_beside(right)}",
                "0.5 codes",
            )
    return None


@law("requantize", RescaleCase, "integers come out: no float belongs between accumulator and code")
def requantize_gives_integers(case: RescaleCase, functions: Functions) -> Broken | None:
    """The type of the result (Python ints are integers too)."""
    result = np.asarray(call(functions["requantize"], given(case)))
    return None if result.dtype.kind in "iu" else Broken(f"an array of {result.dtype}", "an array of integers")


@law("requantize", RescaleCase, "acc itself stays as it was")
def requantize_leaves_acc_alone(case: RescaleCase, functions: Functions) -> Broken | None:
    """The caller's accumulators are not multiplied, shifted or overwritten."""
    return changed_inputs(functions["requantize"], given(case))


@law("requantize", RescaleCase, "the shape of acc does not matter: what comes back has the same one", rows=("acc",))
def requantize_any_shape(case: RescaleCase, functions: Functions) -> Broken | None:
    """Rows of accumulators are rescaled as the accumulators are."""
    return differs_on_rows(functions["requantize"], case, "acc", "whole numbers")


@law(
    "integer_layer",
    LayerCase,
    "the integer layer gives the code nearest to what the fake-quantized layer computes in reals",
)
def integer_layer_equals_real_layer(case: LayerCase, functions: Functions) -> Broken | None:
    """clip(round(M * (sum((x - x_zero) * w) + bias)) + y_zero): nearest, either neighbour on a tie."""
    (code,) = numbers(call(functions["integer_layer"], given(case)), 1)
    real = exact.rescale(exact.dot(case.x, case.w, case.x_zero) + case.bias, case.multiplier, case.shift) + case.y_zero
    inside = min(max(real, Fraction(case.qmin)), Fraction(case.qmax))
    if abs(code - inside) <= HALF and code.denominator == 1:
        return None
    return Broken(f"code {show(code)}", f"code {exact.round_to_int(inside, 'half_away')}, from {_beside(real)}", "0.5 codes")


@law("integer_layer", LayerCase, "x and w themselves stay as they were")
def layer_leaves_the_codes_alone(case: LayerCase, functions: Functions) -> Broken | None:
    """The zero point is not taken off the caller's own codes."""
    return changed_inputs(functions["integer_layer"], given(case))
