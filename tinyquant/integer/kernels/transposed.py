"""TRANSPOSE_CONV: a convolution run backwards.

Where CONV_2D gathers a window of input cells into one output cell, this spreads every input cell over a window of output
cells and adds what overlaps. The padding is that of the forward convolution whose input is this one's output: here it is cut off.

References: TFLite `kernels/internal/reference/integer_ops/transpose_conv.h`; Dumoulin and Visin 2016, chapter 4.
"""

from __future__ import annotations

import numpy as np

from tinyquant.integer.kernels.windows import Factor, Pair, Rescale, cells, to_codes
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier

__all__ = ["transpose_conv"]


def transpose_conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: Factor,
    shift: Factor,
    stride: Pair,
    offset: Pair,
    output_size: Pair,
    act_min: int = -128,
    act_max: int = 127,
    rescale: Rescale = multiply_by_quantized_multiplier,
) -> np.ndarray:
    """TRANSPOSE_CONV: input cell (iy, ix) adds weight * (x - Z_x) at output cells (iy*stride + ky - top, ix*stride + kx - left).

    ::

        acc[n, oy, ox, o] = bias[o] + sum over all (iy, ky) and (ix, kx) that land there, and c, of
                            weight[o, ky, kx, c] * (x[n, iy, ix, c] - input_zero_point)
        y = clamp(rescale(acc, multiplier[o], shift[o]) + output_zero_point, act_min, act_max)

    Parameters
    ----------
    x : int8 [N, H, W, I]
    weight : int8 [O, kh, kw, I]
    bias : int32 [O] or None
    stride : (down, right)
        How far apart neighbouring input cells land.
    offset : (top, left)
        Cells cut off before the output begins.
    output_size : (OH, OW)
        What lands outside is dropped; what nothing reaches holds the bias alone.
    input_zero_point, output_zero_point, multiplier, shift, act_min, act_max, rescale
        As in `conv_2d`.

    Returns
    -------
    int8 [N, OH, OW, O]

    Examples
    --------
    >>> x = np.array([1, 2], np.int8).reshape(1, 1, 2, 1)
    >>> weight = np.array([10, 1, 5], np.int8).reshape(1, 1, 3, 1)
    >>> one = {"input_zero_point": 0, "output_zero_point": 0, "multiplier": 2**30, "shift": 1}
    >>> transpose_conv(x, weight, **one, stride=(1, 2), offset=(0, 0), output_size=(1, 5)).ravel().tolist()
    [10, 1, 25, 2, 10]
    """
    outputs, window = weight.shape[0], weight.shape[1:3]
    reach = [(n - 1) * s + k for n, s, k in zip(x.shape[1:3], stride, window)]
    size = [max(r, before + out) for r, before, out in zip(reach, offset, output_size)]
    canvas = np.zeros((len(x), *size, outputs), np.int32)
    image = x.astype(np.int32) - np.int32(input_zero_point)
    wide = weight.astype(np.int32)
    # The cells of the forward convolution, written to instead of read.
    for ky, kx, view in cells(canvas[:, : reach[0], : reach[1]], window, stride):
        view += image @ wide[:, ky, kx].T
    acc = canvas[:, offset[0] : offset[0] + output_size[0], offset[1] : offset[1] + output_size[1]]
    if bias is not None:
        acc = acc + bias
    return to_codes(acc, multiplier, shift, rescale, output_zero_point, act_min, act_max)
