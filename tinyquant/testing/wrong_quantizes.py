"""Wrong ways to quantize an array. Each is one plausible line away from a right one."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["TIE_SLIPS", "WRONG_QUANTIZES"]


def _cast(codes: Any, qmin: int, qmax: int) -> Any:
    """Codes in the type a right answer has."""
    return codes.astype(np.int8 if (qmin, qmax) == (-128, 127) else np.int32)


def _truncates(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.trunc(x / scale) + zero_point, qmin, qmax), qmin, qmax)


def _floors(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.floor(x / scale) + zero_point, qmin, qmax), qmin, qmax)


def _ceils(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.ceil(x / scale) + zero_point, qmin, qmax), qmin, qmax)


def _casts_before_clipping(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    wide = (np.round(x / scale) + zero_point).astype(np.int64)
    return (
        np.clip(_cast(wide, qmin, qmax), qmin, qmax)
        if (qmin, qmax) == (-128, 127)
        else (wide - qmin) % (qmax - qmin + 1) + qmin
    )


def _never_clips(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return (np.round(x / scale) + zero_point).astype(np.int64)


def _subtracts_the_zero_point(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / scale) - zero_point, qmin, qmax), qmin, qmax)


def _forgets_the_zero_point(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / scale), qmin, qmax), qmin, qmax)


def _multiplies(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x * scale) + zero_point, qmin, qmax), qmin, qmax)


def _clips_before_the_zero_point(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return (np.clip(np.round(x / scale), qmin, qmax) + zero_point).astype(np.int64)


def _clips_before_then_casts(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast((np.clip(np.round(x / scale), qmin, qmax) + zero_point).astype(np.int64), qmin, qmax)


def _leaves_out_the_last_code(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / scale) + zero_point, qmin, qmax - 1), qmin, qmax)


def _leaves_out_the_first_code(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / scale) + zero_point, qmin + 1, qmax), qmin, qmax)


def _always_int8(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return np.clip(np.round(x / scale) + zero_point, -128, 127).astype(np.int8)


def _stays_float(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return np.clip(np.round(x / scale) + zero_point, qmin, qmax)


def _unsigned(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return np.clip(np.round(x / scale) + zero_point, qmin, qmax).astype(np.int64) % 256


def _scales_the_zero_point(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round((x + zero_point) / scale), qmin, qmax), qmin, qmax)


def _adds_a_tiny_number(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / (scale + 1e-3)) + zero_point, qmin, qmax), qmin, qmax)


def _scale_of_the_batch(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    own = max(scale, float(np.abs(x).max()) / qmax)
    return _cast(np.clip(np.round(x / own) + zero_point, qmin, qmax), qmin, qmax)


def _forgets_the_sign(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(np.abs(x) / scale) + zero_point, qmin, qmax), qmin, qmax)


def _zero_point_off_by_one(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / scale) + zero_point + 1, qmin, qmax), qmin, qmax)


def _negative_half(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.trunc(x / scale + 0.5) + zero_point, qmin, qmax), qmin, qmax)


def _rounds_x_first(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(np.round(x) / scale) + zero_point, qmin, qmax), qmin, qmax)


def _divides_in_place(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    x /= scale
    return _cast(np.clip(np.round(x) + zero_point, qmin, qmax), qmin, qmax)


def _int32_before_clipping(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    whole = ((np.round(x / scale).astype(np.int64) + 2**31) % 2**32) - 2**31
    return _cast(np.clip(whole + zero_point, qmin, qmax), qmin, qmax)


def _masks_what_is_outside(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    codes = np.round(x / scale) + zero_point
    return _cast(np.where((codes < qmin) | (codes > qmax), zero_point, codes), qmin, qmax)


def _zero_point_one_too_low(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / scale) + zero_point - 1, qmin, qmax), qmin, qmax)


def _clamps_the_zero_point(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / scale) + max(zero_point, 0), qmin, qmax), qmin, qmax)


def _one_code_too_many(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return np.clip(np.round(x / scale) + zero_point, qmin, qmax + 1).astype(np.int32)


def _in_float16(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round((x / scale).astype(np.float16)) + np.float32(zero_point), qmin, qmax), qmin, qmax)


def _two_decimals(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(np.round(x, 2) / scale) + zero_point, qmin, qmax), qmin, qmax)


def _rounds_the_scale(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / (round(scale, 2) or 0.01)) + zero_point, qmin, qmax), qmin, qmax)


def _scale_is_never_tiny(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / max(scale, 1e-5)) + zero_point, qmin, qmax), qmin, qmax)


def _nudges(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / scale + 1e-5) + zero_point, qmin, qmax), qmin, qmax)


def _almost_half(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    steps = x / scale
    rounded = np.where(steps > 0, np.floor(steps + 0.5), np.ceil(steps - 0.4999))
    return _cast(np.clip(rounded + zero_point, qmin, qmax), qmin, qmax)


def _three_decimals(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(np.round(x / scale, 3)) + zero_point, qmin, qmax), qmin, qmax)


def _away(x: Any) -> Any:
    """Ties away from zero."""
    return np.trunc(x) + np.sign(x) * (np.abs(x - np.trunc(x)) >= 0.5)


def _ties_to_even(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.round(x / scale) + zero_point, qmin, qmax), qmin, qmax)


def _ties_up(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(np.floor(x / scale + 0.5) + zero_point, qmin, qmax), qmin, qmax)


def _ties_after_the_zero_point(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _cast(np.clip(_away(x / scale + zero_point), qmin, qmax), qmin, qmax)


_ROUND_TRIP, _ZERO, _OUTSIDE, _TYPE = "round_trip_half_step", "zero_gets_the_zero_point", "saturates", "codes_and_dtype"

WRONG_QUANTIZES: list[tuple[str, str, str, tuple[str, ...], Any]] = [
    ("quantize", name, words, breaks, fn)
    for name, fn, breaks, words in (
        (
            "truncates",
            _truncates,
            (_ROUND_TRIP,),
            "drops what is behind the point, as a cast to int does",
        ),
        ("floors", _floors, (_ROUND_TRIP,), "takes // or floor for rounding: every code comes out half a step low"),
        ("ceils", _ceils, (_ROUND_TRIP,), "always rounds up, to be on the safe side"),
        (
            "casts_before_clipping",
            _casts_before_clipping,
            (_OUTSIDE, "monotone"),
            "casts to the narrow type before clipping: 300 is 44 by then",
        ),
        ("never_clips", _never_clips, (_TYPE, _OUTSIDE), "believes the data never leave the range, and does not clip"),
        (
            "subtracts_the_zero_point",
            _subtracts_the_zero_point,
            (_ROUND_TRIP, _ZERO),
            "subtracts the zero point, as the way back does",
        ),
        (
            "forgets_the_zero_point",
            _forgets_the_zero_point,
            (_ROUND_TRIP, _ZERO),
            "leaves the zero point out: right for symmetric maps only",
        ),
        (
            "multiplies",
            _multiplies,
            (_ROUND_TRIP, "scale_equivariant"),
            "multiplies by the scale where one must divide by it",
        ),
        (
            "clips_before_the_zero_point",
            _clips_before_the_zero_point,
            (_TYPE,),
            "clips first and adds the zero point after, past the ends",
        ),
        (
            "clips_before_then_casts",
            _clips_before_then_casts,
            (_OUTSIDE,),
            "clips, then adds the zero point, and the cast wraps the rest",
        ),
        (
            "leaves_out_the_last_code",
            _leaves_out_the_last_code,
            (_OUTSIDE, "idempotent"),
            "takes qmax for excluded, as the end of a range() is",
        ),
        (
            "leaves_out_the_first_code",
            _leaves_out_the_first_code,
            (_OUTSIDE, "idempotent"),
            "uses -127..127 although the codes go from qmin",
        ),
        ("always_int8", _always_int8, (_OUTSIDE,), "writes -128 and 127 into the function instead of qmin and qmax"),
        ("stays_float", _stays_float, (_TYPE,), "returns whole numbers that are still floats: four bytes each, not one"),
        ("unsigned", _unsigned, (_TYPE,), "keeps the codes as unsigned bytes, whatever qmin says"),
        (
            "scales_the_zero_point",
            _scales_the_zero_point,
            (_ROUND_TRIP, _ZERO),
            "adds the zero point to x before dividing: it is a code, not a real",
        ),
        (
            "adds_a_tiny_number",
            _adds_a_tiny_number,
            (_ROUND_TRIP, "scale_equivariant"),
            "adds an epsilon to the scale against division by zero",
        ),
        (
            "scale_of_the_batch",
            _scale_of_the_batch,
            ("one_by_one",),
            "takes the scale from the array at hand instead of the one given",
        ),
        (
            "forgets_the_sign",
            _forgets_the_sign,
            (_ROUND_TRIP, "monotone"),
            "takes the magnitude and forgets to put the sign back",
        ),
        (
            "zero_point_off_by_one",
            _zero_point_off_by_one,
            (_ROUND_TRIP, _ZERO),
            "counts codes from 1: the zero point is one too high",
        ),
        (
            "negative_half",
            _negative_half,
            (_ROUND_TRIP,),
            "rounds by adding a half and truncating, which is wrong below zero",
        ),
        (
            "rounds_x_first",
            _rounds_x_first,
            (_ROUND_TRIP, "scale_equivariant"),
            "rounds x itself to whole numbers before dividing",
        ),
        ("divides_in_place", _divides_in_place, (_TYPE,), "divides the caller's own array, which is changed afterwards"),
        (
            "int32_before_clipping",
            _int32_before_clipping,
            (_OUTSIDE,),
            "casts to int32 before clipping: large x wrap there too",
        ),
        (
            "masks_what_is_outside",
            _masks_what_is_outside,
            (_OUTSIDE, "monotone"),
            "sets what does not fit to zero instead of to the last code",
        ),
        (
            "zero_point_one_too_low",
            _zero_point_one_too_low,
            (_ROUND_TRIP, _ZERO),
            "is one off in the zero point, as if the codes began at -129",
        ),
        (
            "clamps_the_zero_point",
            _clamps_the_zero_point,
            (_ROUND_TRIP, _ZERO),
            "clamps the zero point to 0 and above, as for unsigned codes",
        ),
        (
            "one_code_too_many",
            _one_code_too_many,
            (_TYPE, _OUTSIDE),
            "has 257 levels: the last code is qmax + 1",
        ),
        (
            "in_float16",
            _in_float16,
            (_ROUND_TRIP, "idempotent"),
            "divides in float16, which has eleven bits: 16-bit codes need more",
        ),
        (
            "two_decimals",
            _two_decimals,
            (_ROUND_TRIP, "scale_equivariant"),
            "rounds x to two decimals before dividing",
        ),
        (
            "rounds_the_scale",
            _rounds_the_scale,
            (_ROUND_TRIP, "scale_equivariant"),
            "rounds the scale to two decimals, as it was printed",
        ),
        (
            "scale_is_never_tiny",
            _scale_is_never_tiny,
            ("scale_equivariant",),
            "keeps the scale above 1e-5 against division by zero",
        ),
        ("almost_half", _almost_half, (_ROUND_TRIP,), "takes 0.4999 for a half below zero, against ties"),
        ("three_decimals", _three_decimals, (_ROUND_TRIP,), "rounds the steps to three decimals first: 1.4996 is 1.5 by then"),
        (
            "nudges",
            _nudges,
            (_ROUND_TRIP,),
            "nudges ties up by 1e-5: what lies just short of one goes up too",
        ),
    )
]
"""(role, name, misconception, laws it breaks, the function) of each."""

TIE_SLIPS: list[tuple[str, str, str, tuple[str, ...], Any, str]] = [
    ("quantize", name, words, ("rounding_mode",), fn, "half_away")
    for name, fn, words in (
        ("ties_to_even", _ties_to_even, "takes np.round for school rounding: it sends ties to even numbers"),
        ("ties_up", _ties_up, "adds a half and floors, which sends a tie below zero up"),
        ("ties_after_the_zero_point", _ties_after_the_zero_point,
         "adds the zero point first: ties then go by the sign of the sum"),
    )
]
"""What is wrong only where ties are to go away from zero, as in TFLite: the same, and the rule that makes it wrong."""
