"""Wrong ways with arrays: right numbers in one row, but not in several, or not in the shape that was asked for; and answers that
work on the caller's own array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyquant.testing.right_answers import right_answers, small_network, softmax

__all__ = ["WRONG_ARRAYS"]

Answer = Callable[..., Any]

# What comes back flat


def _flat(role: str) -> Any:
    """The plainest right answer of a role, flattened before it is returned."""
    right: Answer = right_answers(role)[0]
    if role == "split_error":
        return lambda x, scale, zero_point, qmin=-128, qmax=127: [np.ravel(p) for p in right(x, scale, zero_point, qmin, qmax)]
    if role == "ste_gradient":
        return lambda upstream, x, scale, zero_point, qmin=-128, qmax=127: np.ravel(
            right(upstream, x, scale, zero_point, qmin, qmax)
        )
    return {
        "dequantize": lambda codes, scale, zero_point: np.ravel(right(codes, scale, zero_point)),
        "round_to_int": lambda x: np.ravel(right(x)),
        "requantize": lambda acc, multiplier, shift: np.ravel(right(acc, multiplier, shift)),
    }.get(role, lambda x, scale, zero_point, qmin=-128, qmax=127: np.ravel(right(x, scale, zero_point, qmin, qmax)))


# What reads x as one row of numbers


def _code(value: Any, scale: float, zero_point: int, qmin: int, qmax: int) -> int:
    """The code of one number."""
    return min(max(round(float(value) / scale) + zero_point, qmin), qmax)


def _quantize(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    codes = [_code(value, scale, zero_point, qmin, qmax) for value in x]
    return np.array(codes, np.int8 if (qmin, qmax) == (-128, 127) else np.int32)


def _dequantize(codes: Any, scale: float, zero_point: int) -> Any:
    return np.array([scale * (int(code) - zero_point) for code in codes])


def _fake_quantize(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return np.array([scale * (_code(value, scale, zero_point, qmin, qmax) - zero_point) for value in x])


def _ste_gradient(upstream: Any, x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return np.array([g if qmin <= round(float(v) / scale) + zero_point <= qmax else 0.0 for g, v in zip(upstream, x)])


def _split_error(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    low, high = scale * (qmin - zero_point), scale * (qmax - zero_point)
    near = np.array([min(max(float(value), low), high) for value in x])
    return scale * np.round(near / scale) - near, near - x


def _first_row(x: Any) -> Any:
    x = x[0] if x.ndim > 1 else x
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


def _requantize(acc: Any, multiplier: int, shift: int) -> Any:
    return np.array([(int(a) * multiplier + (1 << (30 - shift))) >> (31 - shift) for a in acc])


def _sum_of_columns(upstream: Any, x: Any, scale: float, qmin: int = -128, qmax: int = 127) -> Any:
    v = x / scale
    return np.sum(upstream * np.where(v <= qmin, qmin, np.where(v >= qmax, qmax, np.round(v) - v)), axis=0)


def _sorts_rows(x: Any, percent: float) -> Any:
    ordered = np.sort(x)
    cut = int(len(x) * (100 - percent) / 200)
    return min(ordered[cut], 0.0), max(ordered[len(x) - 1 - cut], 0.0)


def _min_of_rows(x: Any, bits: int) -> Any:
    low, high = min(0.0, *x), max(0.0, *x)
    right: Answer = right_answers("mse_range")[0]
    return right(np.array(x), bits) if low < high else (low, high)


_LONG = "returns one long row, whatever the shape of what came"
_ROW = "takes x for one row of numbers: it may have rows of rows"
_SHAPES: tuple[tuple[str, str, Any], ...] = (
    ("quantize", "codes_of_any_shape", _quantize),
    ("dequantize", "reals_of_any_shape", _dequantize),
    ("fake_quantize", "fake_quant_of_any_shape", _fake_quantize),
    ("ste_gradient", "ste_of_any_shape", _ste_gradient),
    ("split_error", "parts_of_any_shape", _split_error),
    ("requantize", "requantize_any_shape", _requantize),
    ("round_to_int", "rounds_any_shape", _first_row),
)
"""(role, its law about shapes, an answer for one row) of what comes back in the shape that it came in."""

_NUMBERS = (
    ("scale_gradient", "pulls_of_any_shape", _sum_of_columns, "sums over the first axis only: of rows one sum a column is left"),
    ("percentile_range", "percentile_of_any_shape", _sorts_rows, "sorts each row by itself, and counts rows for numbers"),
    ("mse_range", "mse_of_any_shape", _min_of_rows, "uses Python's min and max, which cannot compare rows"),
)  # fmt: skip


# What works on the caller's own array


def _rounds_in_place(x: Any) -> Any:
    sign = np.sign(x)
    np.abs(x, out=x)
    return sign * np.floor(x + 0.5)


def _multiplies_in_place(x: Any, w: Any) -> int:
    x *= w
    return int(x.astype(np.int32).sum())


def _centres_in_place(x: Any, w: Any, x_zero: int, w_zero: int) -> int:
    x -= np.int8(x_zero)
    return int(x.astype(np.int64) @ (w.astype(np.int64) - w_zero))


def _overwrites_acc(acc: Any, multiplier: int, shift: int) -> Any:
    acc[...] = (acc.astype(np.int64) * multiplier + (1 << (30 - shift))) >> (31 - shift)
    return acc


def _layer_in_place(
    x: Any, w: Any, bias: int, x_zero: int, multiplier: int, shift: int, y_zero: int, qmin: int, qmax: int
) -> int:
    x -= np.int8(x_zero)
    acc = int(x.astype(np.int64) @ w.astype(np.int64)) + bias
    return min(max(((acc * multiplier + (1 << (30 - shift))) >> (31 - shift)) + y_zero, qmin), qmax)


def _centres_the_upstream(upstream: Any, x: Any) -> Any:
    y = softmax(x)
    upstream -= (upstream * y).sum()
    return y * upstream


def _clips_the_batch(x: Any) -> Any:
    np.clip(x, -4.15625, 3.8125, out=x)
    return small_network(x)


def _sorts_batches(batches: Any) -> Any:
    low = high = 0.0
    for batch in batches:
        flat = batch.reshape(-1)
        flat.sort()
        low, high = min(low, flat[0]), max(high, flat[-1])
    return low, high


def _empties_the_list(batches: Any) -> Any:
    low = high = 0.0
    while batches:
        batch = batches.pop()
        low, high = min(low, batch.min()), max(high, batch.max())
    return low, high


def _sorts_x(x: Any, bits: int) -> Any:
    right: Answer = right_answers("mse_range")[0]
    x.reshape(-1).sort()
    return right(x, bits)


def _multiplies_predicted(truth: Any, predicted: Any) -> Any:
    predicted *= truth
    return predicted.sum() / truth.sum()


def _sorts_scores(scores: Any, truth: Any, recall: float) -> Any:
    ones = np.sort(scores[truth == 1])[::-1]
    scores.sort()
    return next(t for t in scores[::-1] if np.sum(ones >= t) >= recall * len(ones))


_OWN = (
    ("round_to_int", "in_place", ("rounding_leaves_x_alone",), _rounds_in_place, "takes magnitudes in the caller's own array"),
    ("accumulate", "in_place", ("accumulator_exact", "accumulator_leaves_the_codes_alone"), _multiplies_in_place,
     "multiplies in the caller's own int8 codes, where products wrap"),
    ("centred_dot", "in_place", ("zero_point_corrections", "centred_dot_leaves_the_codes_alone"), _centres_in_place,
     "subtracts in the caller's own int8 codes, where 127 - (-128) wraps"),
    ("requantize", "in_place", ("requantize_leaves_acc_alone",), _overwrites_acc,
     "writes the answers over the caller's accumulators"),
    ("integer_layer", "in_place", ("integer_layer_equals_real_layer", "layer_leaves_the_codes_alone"), _layer_in_place,
     "takes the zero point off the caller's own int8 codes"),
    ("backward", "in_place", ("backward_leaves_its_inputs_alone",), _centres_the_upstream,
     "subtracts in the gradient that arrives, which others still need"),
    ("integer", "in_place", ("integer_leaves_the_batch_alone",), _clips_the_batch,
     "clips the caller's own images before it runs"),
    ("minmax_range", "sorts_in_place", ("minmax_leaves_the_batches_alone",), _sorts_batches, "sorts the caller's own batches"),
    ("minmax_range", "empties_the_list", ("minmax_leaves_the_batches_alone",), _empties_the_list,
     "takes the batches off the caller's list one by one"),
    ("mse_range", "sorts_in_place", ("mse_leaves_x_alone",), _sorts_x, "sorts the caller's own array"),
    ("recall", "in_place", ("recall_leaves_its_inputs_alone",), _multiplies_predicted, "multiplies the caller's own predictions"),
    ("choose_threshold", "sorts_in_place", ("threshold_leaves_its_inputs_alone",), _sorts_scores,
     "sorts the caller's own scores: their truth stays where it was"),
)  # fmt: skip

WRONG_ARRAYS: list[tuple[str, str, str, tuple[str, ...], Any]] = [
    *((role, "flattens", _LONG, (law,), _flat(role)) for role, law, _ in _SHAPES),
    *((role, "first_row" if role == "round_to_int" else "one_row", _ROW, (law,), fn) for role, law, fn in _SHAPES),
    *((role, "rows_by_themselves", words, (law,), fn) for role, law, fn, words in _NUMBERS),
    *((role, name, words, breaks, fn) for role, name, breaks, fn, words in _OWN),
]
"""(role, name, misconception, laws it breaks, the function) of each."""
