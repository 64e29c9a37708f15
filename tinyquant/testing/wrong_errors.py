"""Wrong ways to split an error, to find a tie, and to tell a scale how to move."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["WRONG_ERRORS"]

# split_error(x, scale, zero_point, qmin, qmax) -> (rounding, clipping)


def _back(x: Any, scale: float, zero_point: int, qmin: int, qmax: int) -> Any:
    """dequantize(quantize(x))."""
    return scale * (np.clip(np.round(x / scale) + zero_point, qmin, qmax) - zero_point)


def _split(name: str) -> Any:
    """The split with one step done wrong."""

    def answer(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
        low, high = scale * (qmin - zero_point), scale * (qmax - zero_point)
        if name == "ends_without_the_zero_point":
            low, high = scale * qmin, scale * qmax
        if name == "ends_in_codes":
            low, high = qmin, qmax
        if name == "half_a_step_further":
            low, high = low - scale / 2, high + scale / 2
        back = _back(x, scale, zero_point, qmin, qmax)
        if name == "four_digits":
            back = np.array([float(f"{value:.4g}") for value in back.tolist()])
        whole = back - x
        clipping = np.clip(x, low, high) - x
        rounding = whole - clipping
        if name == "rounds_without_clipping":
            rounding = np.round(x / scale) * scale - x
            return rounding, whole - rounding
        if name == "by_the_last_codes":
            codes = np.clip(np.round(x / scale) + zero_point, qmin, qmax)
            at_an_end = (codes == qmin) | (codes == qmax)
            return np.where(at_an_end, 0.0, whole), np.where(at_an_end, whole, 0.0)
        if name == "in_place":
            x -= x - np.clip(x, low, high)
            return rounding, clipping
        return {
            "swapped": (clipping, rounding),
            "turned_around": (-rounding, -clipping),
            "magnitudes": (np.abs(rounding), np.abs(clipping)),
            "in_steps": (rounding / scale, clipping / scale),
            "squares": (rounding**2, clipping**2),
            "whole_error_twice": (whole, clipping),
            "sums": (rounding.sum(), clipping.sum()),
            "clipped_x": (rounding, np.clip(x, low, high)),
        }.get(name, (rounding, clipping))

    return answer


_TWO, _ADD = "split_gives_two_arrays", "parts_add_up"
_CLIP, _ROUND = "clipping_is_what_clip_does", "rounding_is_at_most_half_a_step"
_SPLITS = (
    ("swapped", (_CLIP, _ROUND), "returns the clipping error first"),
    ("turned_around", (_ADD, _CLIP), "subtracts what comes back from x: the error is back - x"),
    ("magnitudes", (_ADD, _CLIP), "takes magnitudes: parts without a sign do not add up to the whole"),
    ("in_steps", (_ADD, _CLIP), "counts in steps, where real numbers are asked for"),
    ("squares", (_ADD,), "squares the parts, as in a mean squared error"),
    ("whole_error_twice", (_ADD, _ROUND), "gives the whole error for rounding: clipping is counted twice"),
    ("rounds_without_clipping", (_CLIP, _ROUND),
     "rounds x itself, also outside, where clipping leaves nothing to round"),
    ("by_the_last_codes", (_CLIP,), "calls every error at the last codes clipping: x may lie inside"),
    ("ends_without_the_zero_point", (_CLIP,),
     "puts the ends at scale * qmin and scale * qmax: no zero point"),
    ("ends_in_codes", (_CLIP,), "clips x, which is real, at qmin and qmax, which are codes"),
    ("half_a_step_further", (_CLIP,), "lets the range end half a step beyond the last code"),
    ("in_place", (_TWO,), "works on the caller's own array"),
    ("sums", (_TWO,), "sums each part over all x"),
    ("four_digits", (_ADD,), "rounds what comes back to four digits, as it is printed"),
    ("clipped_x", (_ADD, _CLIP), "returns the clipped x, not how far clipping moved it"),
)

# tie_breaker(mode_a, mode_b) -> x


def _both_answers(mode_a: str, mode_b: str) -> Any:
    return (0, 1) if mode_a < mode_b else (1, 0)


_TIES = (
    ("always_half", lambda mode_a, mode_b: 0.5, "takes 0.5 always: half_even and half_down both make 0 of it"),
    ("always_one_and_a_half", lambda mode_a, mode_b: 1.5, "takes 1.5 always: half_even and half_away both make 2 of it"),
    ("always_two_and_a_half", lambda mode_a, mode_b: 2.5, "takes 2.5 always: half_away and half_up both make 3 of it"),
    ("always_below_zero", lambda mode_a, mode_b: -2.5, "takes -2.5 always: half_even and half_up both make -2 of it"),
    ("just_below_a_tie", lambda mode_a, mode_b: 0.49999999, "takes a number next to a tie: all nearest rules agree there"),
    ("no_tie", lambda mode_a, mode_b: 0.3, "takes a number that is no tie: the nearest rules all agree"),
    ("whole", lambda mode_a, mode_b: 2.0, "takes a whole number: every rule leaves it as it is"),
    ("third_decimal", lambda mode_a, mode_b: 1.005, "takes a tie of the third decimal: the rules are about whole numbers"),
    ("both_answers", _both_answers, "returns what the rules make of x, not x"),
)

# scale_gradient(upstream, x, scale, qmin, qmax)


def _pull(name: str) -> Any:
    """LSQ with one step done wrong."""

    def answer(upstream: Any, x: Any, scale: float, qmin: int = -128, qmax: int = 127) -> Any:
        v = x / scale
        if name == "in_float16":
            v = v.astype(np.float16).astype(np.float64)
        inside, below, above = np.round(v) - v, v <= qmin, v >= qmax
        if name == "ends_left_out":
            below, above = np.round(v) <= qmin, np.round(v) >= qmax
        if name == "slope_of_x":
            return (upstream * ~(below | above)).sum()
        inside = {
            "nothing_inside": 0 * v, "forgets_the_code": -v, "forgets_the_fraction": np.round(v),
            "turned_around": v - np.round(v), "in_reals": scale * (np.round(v) - v),
        }.get(name, inside)  # fmt: skip
        ends = {
            "nothing_outside": (0.0, 0.0), "ones_outside": (-1.0, 1.0), "reals_outside": (scale * qmin, scale * qmax),
            "rounds_outside_too": (inside, inside), "top_for_both": (qmax, qmax),
        }.get(name, (qmin, qmax))  # fmt: skip
        pulls = np.where(below, ends[0], np.where(above, ends[1], inside))
        if name == "forgets_the_upstream":
            return pulls.sum()
        if name == "in_place":
            x /= scale
        if name == "one_each":
            return upstream * pulls
        total = (upstream * pulls).sum()
        return {
            "mean": total / x.size, "shrunk": total / np.sqrt(x.size * max(qmax, 1)), "over_the_scale": total / scale,
            "times_the_sum": upstream.sum() * pulls.sum(),
        }.get(name, total)  # fmt: skip

    return answer


_IN, _OUT, _SUM = "rounding_pulls_on_the_scale", "the_end_code_pulls_on_the_scale", "pulls_are_summed"
_PULLS = (
    ("nothing_inside", (_IN,), "lets only clipped numbers move the scale: rounding counts too"),
    ("nothing_outside", (_OUT,), "gives 0 where x is clipped: right for x, wrong for the scale"),
    ("slope_of_x", (_IN, _OUT), "takes the straight-through gradient of x for that of the scale"),
    ("forgets_the_upstream", (_IN, _OUT), "forgets to multiply by the gradient that arrives"),
    ("forgets_the_code", (_IN,), "differentiates x / scale and forgets the code in front: -x / scale"),
    ("forgets_the_fraction", (_IN,),
     "takes the code for a constant: it moves with the scale too"),
    ("turned_around", (_IN,), "subtracts the code from x / scale: the scale moves the wrong way"),
    ("in_reals", (_IN,), "gives the rounding error in real numbers, not in steps"),
    ("ones_outside", (_OUT,), "lets a clipped x pull with 1 instead of the end code"),
    ("reals_outside", (_OUT,), "lets a clipped x pull with the real end of the range, scale * qmax"),
    ("rounds_outside_too", (_OUT,), "forgets the clipped case: x / scale is rounded there too"),
    ("top_for_both", (_OUT,), "pulls with qmax below the range too"),
    ("ends_left_out", (_IN,), "calls everything clipped that rounds to the end code"),
    ("in_float16", (_IN, _SUM), "divides in float16: of a number in steps eleven bits are left"),
    ("mean", (_SUM,), "averages what must be summed"),
    ("shrunk", (_OUT,), "includes LSQ's factor 1 / sqrt(n * qmax), which is not asked for"),
    ("times_the_sum", (_SUM,), "multiplies the sums instead of summing the products"),
    ("one_each", (_SUM,), "returns a gradient for each x: but they all share one scale"),
    ("in_place", ("scale_gradient_leaves_its_inputs_alone",), "divides the caller's own array by the scale"),
    ("over_the_scale", (_IN, _OUT), "divides by the scale twice: the scale in front cancels one"),
)

WRONG_ERRORS: list[tuple[str, str, str, tuple[str, ...], Any]] = [
    *(("split_error", name, words, breaks, _split(name)) for name, breaks, words in _SPLITS),
    *(("tie_breaker", name, words, ("rules_disagree_on_x",), fn) for name, fn, words in _TIES),
    *(("scale_gradient", name, words, breaks, _pull(name)) for name, breaks, words in _PULLS),
]
"""(role, name, misconception, laws it breaks, the function) of each."""
