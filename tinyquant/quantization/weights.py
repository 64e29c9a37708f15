"""The quantizers of parameters: weights per tensor, per output channel or per group, biases on the accumulator's grid.

A layer's int32 accumulator counts in steps of S_x * S_w, so the bias must be written on that very
grid, and the weight's scale must leave room for it: |bias| / (S_x * S_w) <= 2**30.

With this module one can choose the weight's quantizer (`choose_weight_qparams`) and the bias's (`bias_qparams`), and
put a weight on its grid (`fake_quantize_weight`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyquant import autograd as F
from tinyquant.autograd import Tensor
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams, choose_qparams
from tinyquant.quantization.fake_quant import fake_quantize

__all__ = [
    "bias_qparams",
    "choose_weight_qparams",
    "fake_quantize_weight",
    "has_groups",
    "short_bias_qparams",
    "weight_groups",
]

BiasUse = tuple[np.ndarray, float]
"""A bias and the scale of the input it meets."""

_SHRINKS = 64
"""How many ranges the search for the smallest squared error tries, down to 1/64 of the full one."""


def choose_weight_qparams(
    weight: np.ndarray,
    uses: Sequence[BiasUse],
    *,
    bits: int,
    axis: int,
    per_channel: bool = True,
    power_of_two: bool = False,
    symmetric: bool = True,
    signed: bool = True,
    group_size: int = 0,
    calibration: str = "minmax",
    rounding: str = "half_away",
) -> QParams:
    """Narrow-range quantizer of a weight: a scale a channel, one for all, or one a group.

    Symmetric: scale = max |w| / qmax, zero point 0. Asymmetric: scale = (max w - min w) / (qmax - qmin), the range
    widened to contain 0.

    Parameters
    ----------
    weight : float array
    uses : sequence of (bias, input scale)
        Every node that reads this weight; each widens a channel's scale where its bias would not fit. Groups ignore
        it: their bias is not quantized.
    bits : int, 2 to 8
    axis : int
        The output-channel axis: 0, or the last of a depthwise weight.
    symmetric, signed, power_of_two : bool
        As for `choose_qparams`.
    group_size : int
        Not 0: one scale a row of `weight_groups(weight, group_size)`.
    calibration : str
        ``"minmax"``, or ``"mse"``: of 64 ranges, k/64 of the full one, the one in which sum (w - quantized w)**2 is
        smallest, channel by channel. The full range is among them, so it is never worse than ``"minmax"``.
    rounding : str
        For the search.

    Returns
    -------
    QParams
        An all-zero channel takes the layer's largest scale; an all-zero layer takes 1.0. With groups the axis is 0,
        that of the rows.

    References
    ----------
    Krishnamoorthi 2018, section 3.1.1; the bias bound is the mend of microsoft/onnxruntime#22020.

    Examples
    --------
    >>> choose_weight_qparams(np.array([[0.5, -1.0], [0.0, 0.0]]), [], bits=2, axis=0).scale.tolist()
    [1.0, 1.0]
    >>> choose_weight_qparams(np.array([[0.5, -1.0]]), [], bits=2, axis=0, group_size=1).scale.tolist()
    [0.5, 1.0]
    """
    grouped = has_groups(group_size, axis)
    if grouped:
        rows, uses = weight_groups(weight, group_size), ()
    else:
        rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    low, high = _ends(rows, symmetric)
    need = _room_for_biases(uses, 2**bits - 2, high - low)
    if not per_channel and not grouped:
        low, high, need = low.min(initial=0.0), high.max(initial=0.0), need.max(initial=0.0)
        rows = rows.reshape(1, -1)

    def grid(fraction: np.ndarray) -> QParams:
        ends = _stretched(low * fraction, high * fraction, need)
        return choose_qparams(
            *ends, bits=bits, signed=signed, symmetric=symmetric, narrow_range=True, power_of_two=power_of_two,
            axis=0 if np.ndim(low) else None,
        )  # fmt: skip

    qp = grid(np.ones(np.shape(low)))
    if calibration == "mse" and rows.size:
        best, error = np.ones(np.shape(low)), _squared_error(rows, qp, rounding)
        for k in range(_SHRINKS - 1, 0, -1):
            tried = np.full(np.shape(low), k / _SHRINKS)
            now = _squared_error(rows, grid(tried), rounding)
            best, error = np.where(now < error, tried, best), np.minimum(now, error)
        qp = grid(best)
    return qp if grouped or qp.axis is None else QParams(qp.scale, qp.zero_point, qp.qmin, qp.qmax, axis)


def bias_qparams(weight: QParams, input_scale: float, channels: int) -> QParams:
    """The int32 grid of the accumulator: scale S_x * S_w (rounded to float32, as files hold it), zero point 0.

    >>> bias_qparams(QParams(0.25, 0, -127, 127), 0.5, channels=2).scale.tolist()
    [0.125, 0.125]
    """
    product = (np.broadcast_to(weight.scale, channels) * input_scale).astype(np.float32).astype(np.float64)
    return QParams(product, 0, -(2**31), 2**31 - 1, axis=0)


def short_bias_qparams(bias: np.ndarray, bits: int) -> QParams:
    """A grid for biases of few bits, which no accumulator has: symmetric, one scale, the largest bias on the last code.

    >>> short_bias_qparams(np.array([-127.0, 3.0]), 8).scale
    1.0
    """
    peak = float(np.abs(bias).max(initial=0.0))
    return choose_qparams(-peak, peak, bits=bits, symmetric=True, narrow_range=True)


def fake_quantize_weight(
    weight: Tensor,
    qp: QParams,
    *,
    axis: int,
    group_size: int = 0,
    rounding: str = "half_away",
    rng: np.random.Generator | None = None,
    surrogate: str = "clipped",
) -> Tensor:
    """The weight on its grid, with the surrogate's gradient; arguments as for `choose_weight_qparams` and `fake_quantize`.

    >>> qp = QParams([0.5, 1.0], 0, -1, 1, axis=0)
    >>> fake_quantize_weight(Tensor([[0.4, 0.4]]), qp, axis=0, group_size=1).data.tolist()
    [[0.5, 0.0]]
    """
    if not has_groups(group_size, axis):
        return fake_quantize(weight, qp, rounding=rounding, rng=rng, surrogate=surrogate)
    cells = weight.shape[-1]
    extra = -cells % group_size
    widths = ((0, 0),) * (weight.ndim - 1) + ((0, extra),)
    rows = F.reshape(F.pad(weight, widths) if extra else weight, (-1, group_size))
    rows = fake_quantize(rows, qp, rounding=rounding, rng=rng, surrogate=surrogate)
    whole = F.reshape(rows, (*weight.shape[:-1], cells + extra))
    return F.getitem(whole, (..., slice(0, cells))) if extra else whole


def has_groups(group_size: int, axis: int) -> bool:
    """Does a weight with this output-channel axis get a scale a group? A depthwise one has no input-channel axis."""
    return group_size > 0 and axis == 0


def weight_groups(weight: np.ndarray, group_size: int) -> np.ndarray:
    """The runs of `group_size` cells along the last (input-channel) axis, one a row; the last run is filled up with 0.

    >>> weight_groups(np.array([[1.0, 2.0, 3.0]]), 2).tolist()
    [[1.0, 2.0], [3.0, 0.0]]
    """
    extra = -weight.shape[-1] % group_size
    padded = np.pad(weight, [(0, 0)] * (weight.ndim - 1) + [(0, extra)])
    return padded.reshape(-1, group_size)


def _ends(rows: np.ndarray, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """Each row's range with 0 in it; an all-zero row takes the widest."""
    low = rows.min(axis=1, initial=0.0).astype(np.float64)
    high = rows.max(axis=1, initial=0.0).astype(np.float64)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    empty = low == high
    return np.where(empty, low.min(initial=0.0), low), np.where(empty, high.max(initial=0.0), high)


def _room_for_biases(uses: Sequence[BiasUse], steps: int, span: np.ndarray) -> np.ndarray:
    """The span each channel's range must have at least."""
    need = np.zeros(span.shape)
    for bias, input_scale in uses:
        # A hair above the bound, so that the rounding of the scale to float32 cannot fall below it.
        room = np.abs(np.asarray(bias, np.float64)) / (input_scale * 2.0**30) * (1 + 2.0**-22)
        # The product of both scales must stay a normal float32 too: files hold it.
        need = np.maximum(need, steps * np.maximum(room, (span > 0) * 2.0**-125 / input_scale))
    return need


def _stretched(low: np.ndarray, high: np.ndarray, need: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The range grown about 0 where it is narrower than it must be."""
    span = high - low
    short = span < need
    grow = np.divide(need, span, out=np.ones(np.shape(span)), where=short & (span > 0))
    return np.where(short & (span == 0), -need / 2, low * grow), np.where(short & (span == 0), need / 2, high * grow)


def _squared_error(rows: np.ndarray, qp: QParams, rounding: str) -> np.ndarray:
    """Sum of squared quantization errors, a number a row, or one for the tensor."""
    error = rows - dequantize(quantize(rows, qp, rounding=rounding), qp).astype(np.float64)
    return np.asarray((error**2).sum(axis=1 if qp.per_axis else None))
