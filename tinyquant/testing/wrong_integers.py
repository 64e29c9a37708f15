"""Wrong ways to round by name, to sum, to rescale, and to run an integer layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier
from tinyquant.testing.right_answers import small_network

__all__ = ["WRONG_INTEGERS"]


def _wrap(value: Any, bits: int) -> Any:
    """What is left of whole numbers in so many bits."""
    return (np.asarray(value).astype(np.int64) + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def _dot(x: Any, w: Any) -> Any:
    """The exact sum of products."""
    return x.astype(np.int64) @ w.astype(np.int64)


def _sum(x: Any) -> Any:
    """The exact sum."""
    return x.astype(np.int64).sum()


_ROUNDINGS = (
    ("half_even", lambda x: np.rint(x), "takes np.round for school rounding: it sends ties to even numbers"),
    ("half_up", lambda x: np.floor(x + 0.5), "adds a half and floors, which sends -2.5 to -2"),
    ("truncates", lambda x: np.trunc(x), "drops what is behind the point"),
    ("adds_then_truncates", lambda x: np.trunc(x + 0.5), "adds a half and truncates, which is wrong below zero"),
    ("half_down", lambda x: np.ceil(x - 0.5), "subtracts a half and takes the ceiling: ties go down"),
    ("away_always", lambda x: np.sign(x) * np.ceil(np.abs(x)), "goes away from zero always, not on ties only"),
    ("adds_six_tenths", lambda x: np.sign(x) * np.floor(np.abs(x) + 0.6), "adds 0.6 to be sure of ties: 0.45 goes up with them"),
    ("one_decimal_first", lambda x: np.sign(x) * np.floor(np.round(np.abs(x), 1) + 0.5),
     "rounds to one decimal first: 0.46 is 0.5 by then, and goes up"),
    ("nudges", lambda x: np.round(x + np.sign(x) * 1e-6), "nudges ties away by 1e-6: what lies just short of one goes too"),
    ("loses_the_sign", lambda x: np.floor(np.abs(x) + 0.5), "rounds the magnitude and forgets to put the sign back"),
)

_SUMS = (
    (
        "in_eight_bits",
        lambda x, w: int(_wrap(_dot(x, w), 8)),
        "multiplies int8 arrays as they are: 100 * 100 * 2 wraps to 32",
    ),
    (
        "products_in_eight_bits",
        lambda x, w: int(_wrap(x.astype(int) * w.astype(int), 8).sum()),
        "widens the sum but not the products",
    ),
    (
        "in_sixteen_bits",
        lambda x, w: int(_wrap(_dot(x, w), 16)),
        "sums in 16 bits: enough for two products, not for a row",
    ),
    ("saturates_at_sixteen_bits", lambda x, w: int(np.clip(_dot(x, w), -32768, 32767)), "saturates the sum at 16 bits"),
    ("in_float32", lambda x, w: np.float32(_dot(x, w)), "sums in float32, which counts only to 16777216"),
    (
        "saturates_at_eight_bits",
        lambda x, w: int(np.clip(_dot(x, w), -128, 127)),
        "clips the sum to codes before it is rescaled",
    ),
    (
        "sums_before_multiplying",
        lambda x, w: int(_sum(x) * _sum(w)),
        "multiplies the sums instead of summing the products",
    ),
)

_CENTRED = (
    (
        "no_correction",
        lambda x, w, x_zero, w_zero: int(_dot(x, w)),
        "multiplies the codes as if their zero points were 0",
    ),
    (
        "forgets_the_product_term",
        lambda x, w, x_zero, w_zero: int(_dot(x, w) - x_zero * _sum(w) - w_zero * _sum(x)),
        "forgets the term n * x_zero * w_zero, which comes back with a plus",
    ),
    (
        "product_term_once",
        lambda x, w, x_zero, w_zero: int(_dot(x, w) - x_zero * _sum(w) - w_zero * _sum(x) + x_zero * w_zero),
        "adds x_zero * w_zero once instead of once for each product",
    ),
    (
        "product_term_minus",
        lambda x, w, x_zero, w_zero: int(_dot(x, w) - x_zero * _sum(w) - w_zero * _sum(x) - x.size * x_zero * w_zero),
        "gives the last term a minus: minus times minus is plus",
    ),
    (
        "sums_swapped",
        lambda x, w, x_zero, w_zero: int(_dot(x, w) - x_zero * _sum(x) - w_zero * _sum(w) + x.size * x_zero * w_zero),
        "multiplies each zero point by its own sum instead of the other's",
    ),
    (
        "only_the_input",
        lambda x, w, x_zero, w_zero: int(_dot(x, w) - x_zero * _sum(w)),
        "corrects for the input's zero point only",
    ),
    (
        "adds_the_zero_points",
        lambda x, w, x_zero, w_zero: int(((x.astype(int) + x_zero) * (w.astype(int) + w_zero)).sum()),
        "adds the zero points to the codes",
    ),
    (
        "centres_in_eight_bits",
        lambda x, w, x_zero, w_zero: int(_dot(_wrap(x.astype(int) - x_zero, 8), _wrap(w.astype(int) - w_zero, 8))),
        "subtracts the zero point in int8, where 127 - (-128) wraps",
    ),
    (
        "in_floats",
        lambda x, w, x_zero, w_zero: (x.astype(float) - x_zero) @ (w.astype(float) - w_zero),
        "sums in floats: exact for short rows, and no accumulator",
    ),
)


def _frexp(real: float, bits: int = 31) -> tuple[int, int]:
    """The multiplier with so many bits, without the care for what rounds up to one bit more."""
    fraction, shift = math.frexp(real)
    return math.floor(fraction * 2**bits + 0.5), shift


def _truncated(real: float) -> tuple[int, int]:
    fraction, shift = math.frexp(real)
    return int(fraction * 2**31), shift


def _in_float32(real: float) -> tuple[int, int]:
    return _frexp(float(np.float32(real)))


_NORMAL, _NEAREST = ("multiplier_normalised",), ("multiplier_is_nearest",)
_MULTIPLIERS = (
    (
        "one_bit_too_many",
        lambda real: _frexp(real),
        _NORMAL,
        "forgets that a fraction just below 1 rounds up to 2**31, too large",
    ),
    ("truncates", _truncated, _NEAREST, "cuts the multiplier off instead of rounding it"),
    ("in_float32", _in_float32, _NEAREST, "computes the real multiplier in float32, with 24 bits of the 31"),
    (
        "fixed_point_of_31_bits",
        lambda real: (math.floor(real * 2**31 + 0.5), 0),
        _NORMAL,
        "multiplies by 2**31 without normalising",
    ),
    (
        "sixteen_bits",
        lambda real: (_frexp(real, 15)[0], _frexp(real)[1] - 16),
        _NORMAL,
        "keeps 15 bits of the multiplier",
    ),
    (
        "shift_turned_around",
        lambda real: (_frexp(real)[0], -_frexp(real)[1]),
        _NEAREST,
        "takes positive shifts for right shifts",
    ),
    (
        "shift_off_by_one",
        lambda real: (_frexp(real)[0], _frexp(real)[1] + 1),
        _NEAREST,
        "is one off in the shift: twice the real number",
    ),
    (
        "multiplier_from_one",
        lambda real: (math.floor(math.frexp(real)[0] * 2**32 + 0.5), math.frexp(real)[1] - 1),
        _NORMAL,
        "normalises the fraction to 1..2 instead of 1/2..1",
    ),
)

_WITHIN, _HALF = ("requantize_within_one",), ("requantize_nearest",)
_INTEGERS = ("requantize_gives_integers",)
_RESCALES = (
    (
        "double_rounding",
        lambda acc, multiplier, shift: multiply_by_quantized_multiplier(acc, multiplier, shift),
        _HALF,
        "rounds twice, as TFLite does: 11.499 becomes 11.5 and then 12",
    ),
    (
        "truncates",
        lambda acc, multiplier, shift: (acc.astype(np.int64) * multiplier) >> (31 - shift),
        _HALF,
        "shifts right without adding a half: that is floor",
    ),
    (
        "high_half_only",
        lambda acc, multiplier, shift: (acc.astype(np.int64) * multiplier) >> 31,
        _WITHIN,
        "keeps the high half of the product and forgets the shift",
    ),
    (
        "product_in_32_bits",
        lambda acc, multiplier, shift: _wrap(acc.astype(np.int64) * multiplier, 32) >> max(31 - shift, 0),
        _WITHIN,
        "multiplies in 32 bits: the product needs 64",
    ),
    (
        "shift_turned_around",
        lambda acc, multiplier, shift: (acc.astype(np.int64) * multiplier + (1 << (30 + shift))) >> (31 + shift),
        _WITHIN,
        "takes positive shifts for right shifts",
    ),
    (
        "wrong_half",
        lambda acc, multiplier, shift: (acc.astype(np.int64) * multiplier + (1 << (31 - shift))) >> (31 - shift),
        _HALF,
        "adds a whole instead of a half before the shift",
    ),
    (
        "half_of_31_bits",
        lambda acc, multiplier, shift: (acc.astype(np.int64) * multiplier + (1 << 30)) >> (31 - shift),
        _HALF,
        "adds the half of another shift",
    ),
    (
        "clips_to_codes",
        lambda acc, multiplier, shift: np.clip(
            (acc.astype(np.int64) * multiplier + (1 << (30 - shift))) >> (31 - shift), -128, 127
        ),
        _WITHIN,
        "clips to codes before the zero point is added",
    ),
    (
        "in_floats",
        lambda acc, multiplier, shift: np.floor(acc * (multiplier * 2.0 ** (shift - 31)) + 0.5),
        _INTEGERS,
        "multiplies by a real number: the device has no floats",
    ),
    (
        "in_floats_then_cast",
        lambda acc, multiplier, shift: np.round(acc.astype(float) * multiplier * 2.0 ** (shift - 31)).astype(np.int64),
        _HALF,
        "multiplies in floats and casts: 53 bits for a product of 62",
    ),
    (
        "by_a_real_then_cast",
        lambda acc, multiplier, shift: np.floor(acc * (multiplier * 2.0 ** (shift - 31)) + 0.5).astype(np.int64),
        _HALF,
        "makes a float of multiplier and shift, and casts what comes out",
    ),
    (
        "in_float32",
        lambda acc, multiplier, shift: np.rint(
            acc.astype(np.float32) * np.float32(multiplier * 2.0 ** (shift - 31))
        ).astype(np.int64),
        _HALF,
        "multiplies in float32, with 24 bits for a product of 62",
    ),
)


def _layer(
    name: str,
) -> Any:
    """The integer layer with one step done wrong."""

    def run(x: Any, w: Any, bias: int, x_zero: int, multiplier: int, shift: int, y_zero: int, qmin: int, qmax: int) -> Any:
        acc = int(_dot(x, w)) - (0 if name == "forgets_the_input_zero_point" else x_zero * int(_sum(w)))
        if name == "centres_in_eight_bits":
            acc = int(_dot(_wrap(x.astype(int) - x_zero, 8), w))
        acc += 0 if name == "forgets_the_bias" else bias
        if name == "accumulates_in_sixteen_bits":
            acc = int(_wrap(acc, 16))
        total = 31 - shift
        half = 0 if name == "truncates" else 1 << (total - 1)
        scaled = (acc * multiplier + half) >> total
        if name == "bias_after_rescaling":
            scaled = ((acc - bias) * multiplier + half >> total) + bias
        if name == "rounds_twice":
            scaled = int(multiply_by_quantized_multiplier(np.array([acc], np.int32), multiplier, shift)[0])
        if name == "in_floats":
            scaled = round(acc * multiplier * 2.0 ** (shift - 31))
        if name == "product_in_32_bits":
            scaled = int(_wrap(acc * multiplier, 32)) >> total
        if name == "always_int8":
            return min(max(scaled + y_zero, -128), 127)
        if name == "clips_before_the_zero_point":
            return min(max(scaled, qmin), qmax) + y_zero
        code = scaled + (0 if name == "forgets_the_output_zero_point" else y_zero)
        return int(_wrap(code, 8)) if name == "wraps" else min(max(code, qmin), qmax)

    return run


_LAYERS = (
    ("forgets_the_input_zero_point", "takes the input's codes for centred already"),
    ("forgets_the_bias", "leaves the bias out of the accumulator"),
    ("bias_after_rescaling", "adds the bias after rescaling: its steps are S_x * S_w, not S_y"),
    ("accumulates_in_sixteen_bits", "keeps the accumulator in 16 bits"),
    ("truncates", "shifts right without rounding"),
    ("clips_before_the_zero_point", "clips before the output's zero point is added"),
    ("forgets_the_output_zero_point", "leaves the output's zero point out"),
    ("wraps", "casts the result to int8 instead of saturating it"),
    ("rounds_twice", "rounds twice, as TFLite does: once to 31 bits and once to the code"),
    ("always_int8", "writes -128 and 127 into the function instead of qmin and qmax"),
    ("centres_in_eight_bits", "subtracts the zero point in int8, where 127 - (-128) wraps"),
    ("product_in_32_bits", "multiplies the accumulator in 32 bits: the product needs 64"),
    ("in_floats", "rescales in floats: 53 bits for a product of up to 62"),
)

_GRAPHS = (
    ("forgets_the_bias", lambda x: small_network(x, bias=False), "ships the network without its bias"),
    ("moved_zero_point", lambda x: small_network(x, x_zero=0), "computes the input's zero point anew at conversion"),
    (
        "moved_scale",
        lambda x: small_network(x, ratio=0.0625 * 1.01),
        "computes the scales anew at conversion: they moved by a percent",
    ),
    ("forgets_the_relu", lambda x: small_network(x, low=-3), "fuses a ReLU in one of the two graphs only"),
    (
        "output_only_by_another_name",
        lambda x: {"input": small_network(x)["input"], "linear_fused": small_network(x)["linear"]},
        "gives a fused node another name, so that nothing can be compared",
    ),
    (
        "drops_a_row",
        lambda x: {name: codes[:1] for name, codes in small_network(x).items()},
        "runs the first image of a batch only",
    ),
)

WRONG_INTEGERS: list[tuple[str, str, str, tuple[str, ...], Any]] = [
    *(("round_to_int", name, words, ("rounds_by_its_rule",), fn) for name, fn, words in _ROUNDINGS),
    *(
        (
            "accumulate",
            name,
            words,
            ("accumulator_exact",) if name != "in_float32" else ("accumulator_is_an_integer",),
            fn,
        )
        for name, fn, words in _SUMS
    ),
    *(
        (
            "centred_dot",
            name,
            words,
            ("zero_point_corrections",) if name != "in_floats" else ("centred_sum_is_an_integer",),
            fn,
        )
        for name, fn, words in _CENTRED
    ),
    *(("quantize_multiplier", name, words, breaks, fn) for name, fn, breaks, words in _MULTIPLIERS),
    *(("requantize", name, words, breaks, fn) for name, fn, breaks, words in _RESCALES),
    *(("integer_layer", name, words, ("integer_layer_equals_real_layer",), _layer(name)) for name, words in _LAYERS),
    *(("integer", name, words, ("qat_graph_equals_integer_graph",), fn) for name, fn, words in _GRAPHS),
]
"""(role, name, misconception, laws it breaks, the function) of each."""
