"""The quantizers of parameters: weights per output channel, biases on the accumulator's grid.

A layer's int32 accumulator counts in steps of S_x * S_w, so the bias must be written on that very
grid, and the weight's scale must leave room for it: |bias| / (S_x * S_w) <= 2**30.

With this module one can choose the weight's quantizer (`choose_weight_qparams`) and the bias's (`bias_qparams`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyquant.numerics.qparams import QParams, choose_qparams

__all__ = ["bias_qparams", "choose_weight_qparams"]

BiasUse = tuple[np.ndarray, float]
"""A bias and the scale of the input it meets."""


def choose_weight_qparams(
    weight: np.ndarray,
    uses: Sequence[BiasUse],
    *,
    bits: int,
    axis: int,
    per_channel: bool = True,
    power_of_two: bool = False,
) -> QParams:
    """Symmetric, narrow-range quantizer of a weight: scale = max |w| / qmax, a number a channel or one.

    Parameters
    ----------
    weight : float array
    uses : sequence of (bias, input scale)
        Every node that reads this weight; each widens a channel's scale where its bias would not fit.
    bits : int, 2 to 8
    axis : int
        The output-channel axis.

    Returns
    -------
    QParams
        Zero point 0. An all-zero channel takes the layer's largest scale; an all-zero layer takes 1.0.

    References
    ----------
    Krishnamoorthi 2018, section 3.1.1; the bias bound is the mend of microsoft/onnxruntime#22020.

    Examples
    --------
    >>> choose_weight_qparams(np.array([[0.5, -1.0], [0.0, 0.0]]), [], bits=2, axis=0).scale.tolist()
    [1.0, 1.0]
    """
    qmax = 2 ** (bits - 1) - 1
    others = tuple(a for a in range(weight.ndim) if a != axis % weight.ndim)
    peak = np.abs(weight).max(axis=others).astype(np.float64) if weight.size else np.zeros(weight.shape[axis])
    peak = np.where(peak == 0, peak.max(initial=0.0), peak)
    for bias, input_scale in uses:
        # A hair above the bound, so that the rounding of the scale to float32 cannot fall below it.
        room = np.abs(np.asarray(bias, np.float64)) / (input_scale * 2.0**30) * (1 + 2.0**-22)
        # The product of both scales must stay a normal float32 too: files hold it.
        peak = np.maximum(peak, qmax * np.maximum(room, (peak > 0) * 2.0**-125 / input_scale))
    if not per_channel:
        peak = peak.max(initial=0.0)
    return choose_qparams(
        -peak,
        peak,
        bits=bits,
        symmetric=True,
        narrow_range=True,
        power_of_two=power_of_two,
        axis=axis if per_channel else None,
    )


def bias_qparams(weight: QParams, input_scale: float, channels: int) -> QParams:
    """The int32 grid of the accumulator: scale S_x * S_w (rounded to float32, as files hold it), zero point 0.

    >>> bias_qparams(QParams(0.25, 0, -127, 127), 0.5, channels=2).scale.tolist()
    [0.125, 0.125]
    """
    product = (np.broadcast_to(weight.scale, channels) * input_scale).astype(np.float32).astype(np.float64)
    return QParams(product, 0, -(2**31), 2**31 - 1, axis=0)
