"""How a sum becomes a whole number of output steps, told: the one rule in which runtimes differ.

A kernel is handed its rule as `rescale(acc, multiplier, shift)`. With this module one can tell what the multiplier stands for
(`Rule.stands`) and what the rule does to one number (`Rule.tell`), for TFLite Micro and for the rules of
`tinyquant.engines.dialect_arithmetic`; `rule_of` finds the rule of a kernel's arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tinyquant.analysis.explanations.by_hand import (
    divide_half_away,
    divide_half_even,
    divide_half_up,
    fixed_point_product,
)
from tinyquant.engines import dialect_arithmetic as other
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier

__all__ = ["Rule", "Told", "decimal", "rule_of"]

Told = tuple[list[str], dict[str, Any]]
"""Lines for a reader, and the same numbers as data."""

Real = int | float


def decimal(x: float | Fraction, digits: int = 4) -> str:
    """A number with as many decimals as it needs, at most `digits`; six significant ones where it is tiny.

    >>> decimal(Fraction(575, 16)), decimal(36), decimal(Fraction(1, 30000))
    ('35.9375', '36', '3.33333e-05')
    """
    value = float(x)
    if value and abs(value) < 0.1:
        return f"{value:.6g}"
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class Rule:
    """A way to multiply and round.

    Attributes
    ----------
    words : str
        What is particular about it, in a few words.
    stands : function of (multiplier, shift)
        Lines and data: how the real is written down, data["stands_for"] the real it stands for.
    tell : function of (x, multiplier, shift)
        Lines and data: the steps from x to data["result"].
    """

    words: str
    stands: Callable[[Real, int], Told]
    tell: Callable[[int, Real, int], Told]


# ---------------------------------------------------------------------------------------------------------------
# Multiplier and shift


def _pair_stands(multiplier: Real, shift: int) -> Told:
    """31 bits and a power of two."""
    value = Fraction(multiplier) * Fraction(2) ** (shift - 31)
    lines = [
        f"multiplier {multiplier}, shift {shift}:",
        f"{multiplier} * 2**({shift} - 31) = {float(value):.9g}",
    ]
    if not multiplier:
        lines.append("(too small for the pair: flushed to 0, so that every product is 0)")
    return lines, {"multiplier": multiplier, "shift": shift, "stands_for": float(value)}


def _pair_told(ties_up: bool) -> Callable[[int, Real, int], Told]:
    """Both roundings; the second takes ties up, or away from zero."""

    def tell(x: int, multiplier: Real, shift: int) -> Told:
        product = fixed_point_product(x, int(multiplier), shift)
        divisor = 2 ** max(-shift, 0)
        result = divide_half_up(product.high, divisor) if ties_up else product.result
        real = float(Fraction(multiplier) * Fraction(2) ** (shift - 31))
        lines = [f"{x} * {real:.9g} = {decimal(product.exact)}, in integer steps:"]
        if shift > 0:
            lines.append(f"  shift left by {shift}:  {x} * 2**{shift} = {x * 2**shift}")
            if product.shifted != x * 2**shift:
                lines.append(f"    which overflows int32: the register holds {product.shifted}")
        first = Fraction(product.shifted * int(multiplier), 2**31)
        lines += [f"  times multiplier / 2**31:  {decimal(first)} -> {product.high}", *_tie(first, "up")]
        if shift < 0:
            second = Fraction(product.high, divisor)
            lines.append(
                f"  shift right by {-shift}:  {product.high} / 2**{-shift} = {decimal(second)} -> {result}"
            )
            lines += _tie(second, "up" if ties_up else "away from 0")
        once = divide_half_away(product.exact.numerator, product.exact.denominator)
        if result != once and product.shifted == x * 2 ** max(shift, 0):
            tied = product.exact.denominator == 2
            lines.append(
                f"Ties away from 0 would make {once} of it."
                if tied
                else f"Rounded once it would be {once}: rounding twice made the difference."
            )
        data = {"exact": float(product.exact), "shifted": product.shifted, "high": product.high}
        return lines, {"input": x, **data, "result": result, "rounded_once": once}

    return tell


def _tie(x: Fraction, where: str) -> list[str]:
    """What to say about a number exactly between two whole ones."""
    return [f"    a tie: it goes {where}"] if x.denominator == 2 else []


TFLITE_MICRO = Rule(
    "two roundings, ties of the second away from zero", _pair_stands, _pair_told(ties_up=False)
)
TIES_UP = Rule("two roundings, all ties up", _pair_stands, _pair_told(ties_up=True))


# ---------------------------------------------------------------------------------------------------------------
# Floats, and 256ths


def _double_stands(real: Real, _: int) -> Told:
    """The real itself."""
    return [f"a double: {real:.17g}"], {"stands_for": float(real)}


def _double_told(x: int, real: Real, _: int) -> Told:
    """One product in double precision, ties away from zero."""
    product = Fraction(float(x) * float(real))
    result = divide_half_away(product.numerator, product.denominator)
    lines = [
        f"{x} * {real:.9g} in double precision = {decimal(product)}",
        f"  rounded, ties away from 0 -> {result}",
    ]
    return lines, {"input": x, "product": float(product), "result": result}


def _single_stands(real: Real, _: int) -> Told:
    """The real as a float32."""
    return [f"a float32: {real:.9g}"], {"stands_for": float(real)}


def _single_told(x: int, real: Real, _: int) -> Told:
    """One product in single precision, ties to even."""
    single = np.float32(x)
    product = Fraction(float(single * np.float32(real)))
    result = divide_half_even(product.numerator, product.denominator)
    lines = [
        f"{x} * {real:.9g} in single precision = {decimal(product)}",
        f"  rounded, ties to even -> {result}",
    ]
    if int(single) != x:
        lines.insert(0, f"{x} has more than 24 bits: as a float32 it is {int(single)}.")
    return lines, {"input": x, "as_float32": int(single), "product": float(product), "result": result}


def _256ths_stand(factor: Real, _: int) -> Told:
    """A whole number of 256ths."""
    return [f"{factor} / 256 = {factor / 256:.9g}"], {"multiplier": factor, "stands_for": factor / 256}


def _256ths_told(x: int, factor: Real, _: int) -> Told:
    """One product, ties up."""
    exact = Fraction(x * int(factor), 256)
    result = divide_half_up(x * int(factor), 256)
    lines = [f"{x} * {factor} / 256 = {decimal(exact)} -> {result}", *_tie(exact, "up")]
    return lines, {"input": x, "exact": float(exact), "result": result}


RULES: Mapping[Callable[..., np.ndarray], Rule] = {
    multiply_by_quantized_multiplier: TFLITE_MICRO,
    other.ties_up: TIES_UP,
    other.float64_half_away: Rule("one rounding in double precision", _double_stands, _double_told),
    other.float32_half_even: Rule(
        "one rounding in single precision, ties to even", _single_stands, _single_told
    ),
    other.of_256ths: Rule("one rounding of 256ths, ties up", _256ths_stand, _256ths_told),
}
"""A kernel's `rescale` -> how to tell it."""


# ---------------------------------------------------------------------------------------------------------------
# Rules that are made for one node


def rule_of(arguments: Mapping[str, Any], shape: tuple[int, ...], index: tuple[int, ...]) -> Rule:
    """The rule of a kernel's arguments for one element of an output of this shape."""
    rescale = arguments.get("rescale", multiply_by_quantized_multiplier)
    if rescale in RULES:
        return RULES[rescale]

    def call(x: int) -> int:
        """What the function makes of x at this very place: some rules look where in the array they are."""
        everywhere = rescale(np.full(shape, x, dtype=np.int64), arguments["multiplier"], arguments["shift"])
        return int(everywhere[index])

    if getattr(rescale, "__qualname__", "").startswith(f"{other.in_lanes.__qualname__}."):
        return _in_lanes(call)
    words = (rescale.__doc__ or "A rule of its own.").strip().splitlines()[0]
    return Rule(
        words[:1].lower() + words[1:].rstrip("."),
        lambda multiplier, shift: (["numbers of this dialect's own."], {}),
        lambda x, multiplier, shift: ([words, f"{x} -> {call(x)}"], {"input": x, "result": call(x)}),
    )


def _in_lanes(call: Callable[[int], int]) -> Rule:
    """Ties up where a vector register is full, away from zero in a loop's remainder."""

    def tell(x: int, multiplier: Real, shift: int) -> Told:
        up, away = TIES_UP.tell(x, multiplier, shift), TFLITE_MICRO.tell(x, multiplier, shift)
        lines, data = up if up[1]["result"] == call(x) else away
        note = "Here a full vector register takes ties up, a loop's remainder away from 0."
        return [*lines, *([note] if up[1]["result"] != away[1]["result"] else [])], data

    return Rule("ties of the second rounding up where a vector register is full", _pair_stands, tell)
