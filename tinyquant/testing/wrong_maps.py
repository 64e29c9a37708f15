"""Wrong ways to go back from codes, to choose a map, to fake-quantize, and to pass a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyquant.testing.right_answers import softmax

__all__ = ["WRONG_MAPS"]


def _steps(x: Any, scale: float) -> Any:
    """x in steps, rounded."""
    return np.round(x / scale)


def _wrap8(values: Any) -> Any:
    """What is left of whole numbers in eight bits."""
    return (np.asarray(values).astype(np.int64) + 128) % 256 - 128


def _mask(upstream: Any, inside: Any) -> Any:
    """The gradient where it may pass."""
    return upstream * inside


# choose_qparams: each takes the range and gives (scale, zero_point)


def _widened(rmin: float, rmax: float) -> tuple[float, float]:
    """The range with 0 in it."""
    return min(rmin, 0.0), max(rmax, 0.0)


def _not_widened(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    scale = (rmax - rmin) / (qmax - qmin) or 1.0
    return scale, int(min(max(round(qmin - rmin / scale), qmin), qmax))


def _not_clamped(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    scale = (rmax - rmin) / (qmax - qmin) or 1.0
    return scale, round(qmin - rmin / scale)


def _counts_levels(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    low, high = _widened(rmin, rmax)
    scale = (high - low) / (qmax - qmin + 1) or 1.0
    return scale, int(min(max(round(qmin - low / scale), qmin), qmax))


def _float_zero_point(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, float]:
    low, high = _widened(rmin, rmax)
    scale = (high - low) / (qmax - qmin) or 1.0
    return scale, min(max(qmin - low / scale, qmin), qmax)


def _truncated_zero_point(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    low, high = _widened(rmin, rmax)
    scale = (high - low) / (qmax - qmin) or 1.0
    return scale, int(min(max(qmin + np.floor(-low / scale), qmin), qmax))


def _empty_range(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    low, high = _widened(rmin, rmax)
    scale = (high - low) / (qmax - qmin)
    return scale, int(min(max(round(qmin - low / scale), qmin), qmax)) if scale else 0


def _forgets_qmin(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    low, high = _widened(rmin, rmax)
    scale = (high - low) / (qmax - qmin) or 1.0
    return scale, int(min(max(round(-low / scale), qmin), qmax))


def _symmetric(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    scale = max(abs(rmin), abs(rmax)) / max(qmax, 1) or 1.0
    return scale, 0 if qmin < 0 else (qmin + qmax + 1) // 2


def _wrong_sign(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    low, high = _widened(rmin, rmax)
    scale = (high - low) / (qmax - qmin) or 1.0
    return scale, int(min(max(round(qmin + low / scale), qmin), qmax))


def _only_255(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    low, high = _widened(rmin, rmax)
    scale = (high - low) / 255 or 1.0
    return scale, int(min(max(round(qmin - low / scale), qmin), qmax))


def _biased_zero_point(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    low, high = _widened(rmin, rmax)
    scale = (high - low) / (qmax - qmin) or 1.0
    return scale, int(min(max(np.floor(qmin - low / scale + 0.499), qmin), qmax))


def _narrow_is_empty(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    low, high = _widened(rmin, rmax)
    if high - low < 1e-3:
        return 1.0, max(qmin, 0)
    scale = (high - low) / (qmax - qmin)
    return scale, int(min(max(round(qmin - low / scale), qmin), qmax))


_CHOICES = (
    ("biased_zero_point", _biased_zero_point, ("zero_point_is_nearest",),
     "rounds with 0.499 for a half: just above a tie it goes down"),
    ("narrow_is_empty", _narrow_is_empty, ("scale_is_range_over_steps",), "takes a range of less than a thousandth for empty"),
    (
        "not_widened",
        _not_widened,
        ("range_covered", "scale_is_range_over_steps"),
        "does not widen the range to contain 0",
    ),
    (
        "not_clamped",
        _not_clamped,
        ("zero_representable",),
        "lets the zero point leave the codes: -213 for the range 250 to 1000",
    ),
    (
        "counts_levels",
        _counts_levels,
        ("scale_is_range_over_steps",),
        "divides by the number of levels; 256 levels are 255 steps",
    ),
    (
        "float_zero_point",
        _float_zero_point,
        ("zero_representable",),
        "leaves the zero point a fraction, so that 0 falls between codes",
    ),
    (
        "truncated_zero_point",
        _truncated_zero_point,
        ("zero_point_is_nearest",),
        "cuts the zero point off instead of rounding it",
    ),
    ("empty_range", _empty_range, ("scale_is_positive",), "gives scale 0 to a range that is empty"),
    (
        "forgets_qmin",
        _forgets_qmin,
        ("range_covered", "zero_point_is_nearest"),
        "counts the zero point from 0 instead of from qmin",
    ),
    (
        "symmetric",
        _symmetric,
        ("scale_is_range_over_steps",),
        "centres the codes on 0 whatever the range: half of them go unused",
    ),
    ("wrong_sign", _wrong_sign, ("range_covered", "zero_point_is_nearest"), "adds rmin / scale where it is subtracted"),
    ("only_255", _only_255, ("scale_is_range_over_steps",), "writes 255 into the function instead of qmax - qmin"),
)  # fmt: skip

# What works on the caller's own array


def _subtracts_in_place(codes: Any, scale: float, zero_point: int) -> Any:
    codes -= zero_point
    return scale * codes.astype(float)


def _fakes_in_place(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    np.clip(_steps(x, scale), qmin - zero_point, qmax - zero_point, out=x)
    x *= scale
    return x


def _masks_in_place(upstream: Any, x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    codes = _steps(x, scale) + zero_point
    upstream[(codes < qmin) | (codes > qmax)] = 0
    return upstream


def _real_ends(upstream: Any, x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _mask(upstream, (x >= scale * (qmin - zero_point)) & (x <= scale * (qmax - zero_point)))


# The other functions are a line each: dequantize(codes, scale, zero_point), fake_quantize and ste_gradient(upstream, x, ...)

_DECODES = (
    (
        "adds_the_zero_point",
        lambda codes, scale, zero_point: scale * (codes.astype(float) + zero_point),
        "adds the zero point, which is subtracted on the way back from a code",
    ),
    (
        "subtracts_after_scaling",
        lambda codes, scale, zero_point: scale * codes.astype(float) - zero_point,
        "subtracts the zero point after scaling: it is a code, not a real",
    ),
    (
        "divides",
        lambda codes, scale, zero_point: (codes.astype(float) - zero_point) / scale,
        "divides by the scale on the way back too",
    ),
    (
        "forgets_the_zero_point",
        lambda codes, scale, zero_point: scale * codes.astype(float),
        "leaves the zero point out on the way back",
    ),
    (
        "wraps_in_eight_bits",
        lambda codes, scale, zero_point: scale * _wrap8(codes.astype(int) - zero_point).astype(float),
        "subtracts in int8: 127 - (-128) is -1 there, not 255",
    ),
    (
        "in_float16",
        lambda codes, scale, zero_point: ((codes.astype(float) - zero_point) * scale).astype(np.float16),
        "keeps the reals in float16, which has eleven bits",
    ),
    ("subtracts_in_place", _subtracts_in_place, "subtracts in the caller's own int8 codes: -2 - 127 does not fit there"),
)

_FAKES = (
    (
        "rounds_only",
        lambda x, scale, zero_point, qmin=-128, qmax=127: _steps(x, scale) * scale,
        "only rounds: without clipping, training never sees saturation",
    ),
    (
        "clips_only",
        lambda x, scale, zero_point, qmin=-128, qmax=127: np.clip(
            x, scale * (qmin - zero_point), scale * (qmax - zero_point)
        ),
        "only clips: without the rounding there is no error to learn from",
    ),
    (
        "returns_codes",
        lambda x, scale, zero_point, qmin=-128, qmax=127: np.clip(_steps(x, scale) + zero_point, qmin, qmax),
        "returns the codes; fake-quant comes all the way back to real numbers",
    ),
    (
        "keeps_the_zero_point",
        lambda x, scale, zero_point, qmin=-128, qmax=127: scale * np.clip(_steps(x, scale) + zero_point, qmin, qmax),
        "forgets to take the zero point off on the way back",
    ),
    (
        "clips_without_the_zero_point",
        lambda x, scale, zero_point, qmin=-128, qmax=127: scale * np.clip(_steps(x, scale), qmin, qmax),
        "clips the steps at qmin and qmax as if the zero point were 0",
    ),
    (
        "truncates",
        lambda x, scale, zero_point, qmin=-128, qmax=127: (
            scale * (np.clip(np.trunc(x / scale) + zero_point, qmin, qmax) - zero_point)
        ),
        "truncates in training what inference will round",
    ),
    (
        "adds_noise",
        lambda x, scale, zero_point, qmin=-128, qmax=127: x + scale * (np.arange(x.size) % 5 - 2) / 4,
        "adds noise of half a step: the real error is no accident",
    ),
    ("in_place", _fakes_in_place, "rounds the caller's own array"),
)

_STES = (
    (
        "everything_passes",
        lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: upstream * 1.0,
        "passes the gradient everywhere, also where x was clipped",
    ),
    (
        "true_derivative",
        lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: upstream * 0.0,
        "uses the true derivative of the stairs, 0: then nothing learns",
    ),
    (
        "ends_left_out",
        lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: _mask(
            upstream, (_steps(x, scale) + zero_point > qmin) & (_steps(x, scale) + zero_point < qmax)
        ),
        "leaves out the end codes themselves, with < where <= belongs",
    ),
    (
        "inverted",
        lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: _mask(
            upstream, (_steps(x, scale) + zero_point < qmin) | (_steps(x, scale) + zero_point > qmax)
        ),
        "turns the mask around: passes where it clipped",
    ),
    (
        "forgets_the_zero_point",
        lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: _mask(
            upstream, (_steps(x, scale) >= qmin) & (_steps(x, scale) <= qmax)
        ),
        "looks for the ends without the zero point",
    ),
    (
        "compares_reals_with_codes",
        lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: _mask(upstream, (x >= qmin) & (x <= qmax)),
        "compares x itself with qmin and qmax, reals with codes",
    ),
    (
        "times_the_scale",
        lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: (
            _mask(upstream, (_steps(x, scale) + zero_point >= qmin) & (_steps(x, scale) + zero_point <= qmax)) * 2 * scale
        ),
        "multiplies by the scale, which fake-quant divides by and cancels",
    ),
    (
        "returns_the_mask",
        lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: (
            1.0 * ((_steps(x, scale) + zero_point >= qmin) & (_steps(x, scale) + zero_point <= qmax))
        ),
        "returns the mask and forgets to multiply by the gradient that arrives",
    ),
    (
        "only_positive",
        lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: _mask(
            upstream, (x > 0) & (_steps(x, scale) + zero_point <= qmax)
        ),
        "uses the mask of a ReLU",
    ),
    ("a_step_beyond", lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: _mask(
        upstream, (x / scale + zero_point >= qmin - 1) & (x / scale + zero_point <= qmax + 1)
    ), "lets a whole step beyond the ends pass: half a step is still a code"),
    ("real_ends", _real_ends, "compares x with the real ends: half a step beyond, the code is inside"),
    ("sizes_only", lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: _mask(
        np.abs(upstream), (_steps(x, scale) + zero_point >= qmin) & (_steps(x, scale) + zero_point <= qmax)
    ), "lets the size of the gradient pass and loses its sign"),
    ("masks_in_place", _masks_in_place, "sets the caller's own gradient to 0 where x was clipped"),
)  # fmt: skip

_IN_PLACE = {
    ("dequantize", "subtracts_in_place"): ("reals_and_dtype", "decodes_to_its_real"),
    ("fake_quantize", "in_place"): ("fake_quant_leaves_x_alone",),
    ("ste_gradient", "masks_in_place"): ("ste_leaves_its_inputs_alone",),
}

_BACKWARDS = (
    (
        "diagonal_only",
        lambda upstream, x: upstream * softmax(x) * (1 - softmax(x)),
        "keeps each output's own slope and forgets the others'",
    ),
    ("forgets_the_sum", lambda upstream, x: upstream * softmax(x), "takes the sum below the fraction for a constant"),
    (
        "ignores_the_upstream",
        lambda upstream, x: softmax(x) * (1 - softmax(x)),
        "forgets to multiply by the gradient that arrives",
    ),
    (
        "wrong_sign",
        lambda upstream, x: softmax(x) * ((upstream * softmax(x)).sum() - upstream),
        "has the sign of the whole gradient turned around",
    ),
    (
        "sum_without_weights",
        lambda upstream, x: softmax(x) * (upstream - upstream.sum()),
        "sums what arrives without weighing it by the outputs",
    ),
    (
        "mean_for_sum",
        lambda upstream, x: softmax(x) * (upstream - (upstream * softmax(x)).mean()),
        "averages where the chain rule sums",
    ),
    ("slope_of_exp", lambda upstream, x: upstream * np.exp(x), "differentiates the exponential and stops there"),
)

WRONG_MAPS: list[tuple[str, str, str, tuple[str, ...], Any]] = [
    *(("choose_qparams", name, words, breaks, fn) for name, fn, breaks, words in _CHOICES),
    *(
        (role, name, words, _IN_PLACE.get((role, name), (usual,)), fn)
        for role, usual, rows in (
            ("dequantize", "decodes_to_its_real", _DECODES),
            ("fake_quantize", "fake_quant_equals_round_trip", _FAKES),
            ("ste_gradient", "ste_mask", _STES),
        )
        for name, fn, words in rows
    ),
    *(("backward", name, words, ("gradient_matches_differences",), fn) for name, fn, words in _BACKWARDS),
]
"""(role, name, misconception, laws it breaks, the function) of each."""
