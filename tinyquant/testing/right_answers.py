"""Right answers, several for each function: what no law may complain about.

They differ where an exercise leaves a choice: the rule of ties, float32 or float64, where the zero point is added, loops or
arrays. With this module one can see a law's room, and test one's own laws against it (`right_answers`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyquant.testing.right_counts import RIGHT_COUNTS
from tinyquant.testing.right_ranges import RIGHT_RANGES

__all__ = ["right_answers"]

Answer = Callable[..., Any]
_RIGHT: dict[str, list[Answer]] = {}


def _right(role: str) -> Callable[[Answer], Answer]:
    """Put an answer among the right ones of a role."""

    def register(fn: Answer) -> Answer:
        _RIGHT.setdefault(role, []).append(fn)
        return fn

    return register


def right_answers(role: str) -> list[Answer]:
    """The right answers known for a function, the plainest first.

    Raises
    ------
    ValueError
        No such role.

    Examples
    --------
    >>> right_answers("quantize")[0](np.array([0.75, 1e9]), 0.5, 3).tolist()
    [5, 127]
    """
    if role not in _RIGHT:
        raise ValueError(f"role must be one of {', '.join(_RIGHT)}, got {role!r}. Name one of them.")
    return list(_RIGHT[role])


def _kind(qmin: int, qmax: int) -> type:
    """int8 for the usual codes, else a type that holds any."""
    return np.int8 if (qmin, qmax) == (-128, 127) else np.int32


@_right("quantize")
def _half_away(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    q = x / scale
    steps = np.trunc(q) + np.sign(q) * (np.abs(q - np.trunc(q)) >= 0.5)
    return np.clip(steps + zero_point, qmin, qmax).astype(_kind(qmin, qmax))


@_right("quantize")
def _np_round(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return np.clip(np.round(x / scale) + zero_point, qmin, qmax).astype(_kind(qmin, qmax))


@_right("quantize")
def _zero_point_before(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return np.round(np.clip(x / scale + zero_point, qmin, qmax)).astype(_kind(qmin, qmax))


@_right("quantize")
def _floor_of_half_more(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return np.clip(np.floor(x / scale + 0.5) + zero_point, qmin, qmax).astype(_kind(qmin, qmax))


@_right("quantize")
def _loop(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    codes = np.zeros(x.shape, dtype=_kind(qmin, qmax))
    for place, value in np.ndenumerate(x):
        code = math.floor(value / scale + 0.5) + zero_point
        codes[place] = min(max(code, qmin), qmax)
    return codes


@np.vectorize
def _code_of_one(x: float, scale: float, zero_point: int, qmin: int, qmax: int) -> int:
    return min(max(round(x / scale) + zero_point, qmin), qmax)


@_right("quantize")
def _one_number_vectorized(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return _code_of_one(x, scale, zero_point, qmin, qmax).astype(_kind(qmin, qmax))


@_right("quantize")
def _rows_within_rows(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    if x.ndim > 1:
        return np.array([_rows_within_rows(row, scale, zero_point, qmin, qmax) for row in x])
    return np.array([min(max(round(value / scale) + zero_point, qmin), qmax) for value in x.tolist()], _kind(qmin, qmax))


@_right("quantize")
def _float32(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    q = np.asarray(x, np.float32) / np.float32(scale)
    return np.clip(np.rint(q) + np.float32(zero_point), qmin, qmax).astype(_kind(qmin, qmax))


@_right("quantize")
def _float32_zero_point_before(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    q = np.asarray(x, np.float32) / np.float32(scale) + np.float32(zero_point)
    return np.clip(np.floor(q + np.float32(0.5)), qmin, qmax).astype(_kind(qmin, qmax))


@_right("quantize")
def _float64_times_inverse(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return np.clip(np.rint(np.asarray(x, np.float64) * (1.0 / scale)) + zero_point, qmin, qmax).astype(_kind(qmin, qmax))


@_right("quantize")
def _int64_then_clip(x: Any, scale: Any, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return np.clip(np.round(x / scale).astype(np.int64) + zero_point, qmin, qmax).astype(_kind(qmin, qmax))


@_right("dequantize")
def _widen(codes: Any, scale: float, zero_point: int) -> Any:
    return (scale * (codes.astype(np.int32) - zero_point)).astype(np.float32)


@_right("dequantize")
def _in_float32(codes: Any, scale: float, zero_point: int) -> Any:
    return (codes.astype(np.float32) - zero_point) * np.float32(scale)


@_right("dequantize")
def _dequantize_loop(codes: Any, scale: float, zero_point: int) -> Any:
    return np.reshape([(int(code) - zero_point) * scale for code in codes.ravel()], codes.shape)


@_right("dequantize")
def _scaled_apart(codes: Any, scale: float, zero_point: int) -> Any:
    return codes.astype(np.float32) * np.float32(scale) - np.float32(scale * zero_point)


@_right("dequantize")
def _times_and_plus(codes: Any, scale: float, zero_point: int) -> Any:
    return scale * codes.astype(float) + -zero_point * scale


@_right("choose_qparams")
def _chosen(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    low, high = min(rmin, 0.0), max(rmax, 0.0)
    if low == high:
        return 1.0, min(max(0, qmin), qmax)
    scale = (high - low) / (qmax - qmin)
    return scale, int(min(max(round(qmin - low / scale), qmin), qmax))


@_right("choose_qparams")
def _chosen_in_float32(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> Any:
    low, high = np.float32(min(rmin, 0.0)), np.float32(max(rmax, 0.0))
    scale = (high - low) / np.float32(qmax - qmin) if high > low else np.float32(1e-8)
    return scale, np.clip(np.floor(qmin - low / scale + np.float32(0.5)), qmin, qmax).astype(np.int32)


@_right("choose_qparams")
def _chosen_from_the_top(rmin: float, rmax: float, qmin: int = -128, qmax: int = 127) -> tuple[float, int]:
    low, high = min(rmin, 0.0), max(rmax, 0.0)
    scale = max(high - low, 1e-6) / (qmax - qmin)
    return scale, min(max(math.floor(qmax - high / scale + 0.5), qmin), qmax)


@_right("fake_quantize")
def _fake(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    return (np.clip(np.round(x / scale) + zero_point, qmin, qmax) - zero_point) * scale


@_right("fake_quantize")
def _fake_in_float32(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    codes = np.clip(
        np.floor(np.asarray(x, np.float32) / np.float32(scale) + np.float32(0.5)), qmin - zero_point, qmax - zero_point
    )
    return (codes * np.float32(scale)).astype(np.float32)


@_right("fake_quantize")
def _fake_loop(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    back = []
    for value in x.ravel().tolist():
        code = min(max(math.floor(value / scale + 0.5) + zero_point, qmin), qmax)
        back.append(scale * (code - zero_point))
    return np.array(back).reshape(x.shape)


@_right("fake_quantize")
def _fake_scaled_apart(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    q = np.clip(np.round(x / scale) + zero_point, qmin, qmax)
    return q * scale - zero_point * scale


@_right("fake_quantize")
def _fake_scaled_apart_in_float32(x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    step = np.float32(scale)
    q = np.clip(np.rint(x.astype(np.float32) / step) + np.float32(zero_point), qmin, qmax)
    return step * q - step * np.float32(zero_point)


@_right("ste_gradient")
def _mask_of_codes(upstream: Any, x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    codes = np.round(x / scale) + zero_point
    return upstream * ((codes >= qmin) & (codes <= qmax))


@_right("ste_gradient")
def _mask_by_where(upstream: Any, x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    codes = np.floor(x / scale + 0.5) + zero_point
    return np.where(codes == np.clip(codes, qmin, qmax), upstream, 0.0)


@_right("ste_gradient")
def _mask_loop(upstream: Any, x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    handed_on = upstream.copy()
    for place, value in np.ndenumerate(x):
        if not qmin <= round(float(value) / scale) + zero_point <= qmax:
            handed_on[place] = 0.0
    return handed_on


@_right("ste_gradient")
def _mask_in_a_list(upstream: Any, x: Any, scale: float, zero_point: int, qmin: int = -128, qmax: int = 127) -> Any:
    if x.ndim:
        return [_mask_in_a_list(g, value, scale, zero_point, qmin, qmax) for g, value in zip(upstream, x)]
    return float(upstream) if qmin <= round(float(x) / scale) + zero_point <= qmax else 0.0


@_right("round_to_int")
def _away_from_floor(x: Any) -> Any:
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


@_right("round_to_int")
def _away_from_trunc(x: Any) -> Any:
    return np.trunc(x + np.copysign(0.5, x)).astype(np.int64)


@_right("round_to_int")
def _away_loop(x: Any) -> Any:
    if x.ndim > 1:
        return [_away_loop(row) for row in x]
    return [int(value + 0.5) if value >= 0 else -int(0.5 - value) for value in x.tolist()]


@_right("round_to_int")
def _away_by_twice(x: Any) -> Any:
    return np.trunc(x) + np.trunc(2 * (x - np.trunc(x)))


@_right("round_to_int")
def _away_in_float32(x: Any) -> Any:
    x = x.astype(np.float32)
    return np.where(x < 0, np.ceil(x - np.float32(0.5)), np.floor(x + np.float32(0.5)))


@_right("accumulate")
def _widen_first(x: Any, w: Any) -> Any:
    return np.sum(x.astype(np.int32) * w.astype(np.int32), dtype=np.int32)


@_right("accumulate")
def _python_sum(x: Any, w: Any) -> Any:
    return sum(int(a) * int(b) for a, b in zip(x, w))


@_right("accumulate")
def _product(x: Any, w: Any) -> Any:
    return x.astype(np.int64) @ w.astype(np.int64)


@_right("centred_dot")
def _centre_first(x: Any, w: Any, x_zero: int, w_zero: int) -> Any:
    return np.dot(x.astype(np.int32) - x_zero, w.astype(np.int32) - w_zero)


@_right("centred_dot")
def _correct_after(x: Any, w: Any, x_zero: int, w_zero: int) -> Any:
    a, b = x.astype(np.int64), w.astype(np.int64)
    return a @ b - x_zero * b.sum() - w_zero * a.sum() + a.size * x_zero * w_zero


@_right("centred_dot")
def _one_product_at_a_time(x: Any, w: Any, x_zero: int, w_zero: int) -> int:
    total = 0
    for a, b in zip(x, w):
        total += (int(a) - x_zero) * (int(b) - w_zero)
    return total


@_right("quantize_multiplier")
def _by_frexp(real: float) -> tuple[int, int]:
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    return (multiplier // 2, shift + 1) if multiplier == 2**31 else (multiplier, shift)


@_right("quantize_multiplier")
def _by_doubling(real: float) -> tuple[int, int]:
    shift = 0
    while real >= 1:
        real, shift = real / 2, shift + 1
    while real < 0.5:
        real, shift = real * 2, shift - 1
    multiplier = round(real * 2**31)
    return (multiplier // 2, shift + 1) if multiplier == 2**31 else (multiplier, shift)


@_right("quantize_multiplier")
def _by_logarithm(real: float) -> Any:
    shift = math.floor(math.log2(real)) + 1
    multiplier = math.floor(real * 2.0 ** (31 - shift) + 0.5)
    if multiplier >= 2**31:
        multiplier, shift = (multiplier + 1) // 2, shift + 1
    return np.array([multiplier, shift])


@_right("requantize")
def _round_once(acc: Any, multiplier: int, shift: int) -> Any:
    total = 31 - shift
    return (acc.astype(np.int64) * multiplier + (1 << (total - 1))) >> total


@_right("requantize")
def _round_once_away(acc: Any, multiplier: int, shift: int) -> Any:
    product, total = acc.astype(np.int64) * multiplier, 31 - shift
    return np.sign(product) * ((np.abs(product) + (1 << (total - 1))) >> total)


@_right("requantize")
def _in_python(acc: Any, multiplier: int, shift: int) -> Any:
    results = [(int(a) * multiplier * 2 + (1 << (31 - shift))) // (1 << (32 - shift)) for a in acc.ravel()]
    return np.reshape(results, acc.shape)


@_right("integer_layer")
def _layer(x: Any, w: Any, bias: int, x_zero: int, multiplier: int, shift: int, y_zero: int, qmin: int, qmax: int) -> Any:
    acc = int(np.dot(x.astype(np.int32) - x_zero, w.astype(np.int32))) + bias
    scaled = (acc * multiplier + (1 << (30 - shift))) >> (31 - shift)
    return min(max(scaled + y_zero, qmin), qmax)


@_right("integer_layer")
def _layer_with_correction(
    x: Any, w: Any, bias: int, x_zero: int, multiplier: int, shift: int, y_zero: int, qmin: int, qmax: int
) -> Any:
    wide = w.astype(np.int64)
    acc = x.astype(np.int64) @ wide + bias - x_zero * wide.sum()
    (scaled,) = _round_once_away(np.array([acc]), multiplier, shift)
    return np.clip(scaled + y_zero, qmin, qmax)


@_right("integer_layer")
def _layer_loop(
    x: Any, w: Any, bias: int, x_zero: int, multiplier: int, shift: int, y_zero: int, qmin: int, qmax: int
) -> int:
    acc = bias
    for a, b in zip(x.tolist(), w.tolist()):
        acc += (a - x_zero) * b
    scaled, rest = divmod(acc * multiplier, 1 << (31 - shift))
    return max(qmin, min(qmax, scaled + (2 * rest >= 1 << (31 - shift)) + y_zero))


def softmax(x: Any) -> Any:
    """exp(x) over its sum: the forward whose backward the exercise asks for."""
    e = np.exp(x - x.max())
    return e / e.sum()


@_right("backward")
def _softmax_backward(upstream: Any, x: Any) -> Any:
    y = softmax(x)
    return y * (upstream - (upstream * y).sum())


@_right("backward")
def _softmax_jacobian(upstream: Any, x: Any) -> Any:
    y = softmax(x)
    return (np.diag(y) - np.outer(y, y)) @ upstream


_WEIGHT = np.array([[3, -5, 7, 11], [-2, 4, 6, -8], [127, 9, -127, 1]])
_BIAS = np.array([40, -60, 5])
_X_SCALE, _X_ZERO, _RATIO, _Y_ZERO = 0.03125, 5, 2.0**-4, -3


def small_network(x: Any, *, bias: bool = True, x_zero: int = _X_ZERO, ratio: float = _RATIO, low: int = -128) -> Any:
    """The codes of a fixed network of four inputs and three outputs, by node; the settings make it another."""
    codes = np.clip(np.floor(np.asarray(x, np.float64) / _X_SCALE + 0.5) + _X_ZERO, -128, 127)
    acc = (codes - x_zero) @ _WEIGHT.T + bias * _BIAS
    return {"input": codes, "linear": np.clip(np.floor(acc * ratio + 0.5) + _Y_ZERO, low, 127)}


@_right("integer")
def _same_network(x: Any) -> Any:
    codes = np.clip(np.floor(x / _X_SCALE + 0.5) + _X_ZERO, -128, 127).astype(np.int8)
    acc = (codes.astype(np.int32) - _X_ZERO) @ _WEIGHT.T + _BIAS
    return {"input": codes, "linear": np.clip(((acc + 8) >> 4) + _Y_ZERO, -128, 127)}


_right("integer")(small_network)

for _role, _fn in (*RIGHT_RANGES, *RIGHT_COUNTS):
    _right(_role)(_fn)
