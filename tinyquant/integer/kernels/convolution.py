"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED: sums of weights times codes, then one multiplication.

With real = scale * (code - zero_point) on both sides and weights whose zero point is 0, a layer's real output is::

    S_y (q_y - Z_y) = sum of S_x (q_x - Z_x) * S_w w  +  S_x S_w b        the bias is stored on the scale S_x S_w
    q_y = Z_y + M * ( sum of (q_x - Z_x) * w + b )                         M = S_x S_w / S_y, one an output channel

The sum in brackets is a sum of integers: the accumulator, int32, exact. M is the only real number left, and it is
carried as (multiplier, shift) with M ~ multiplier * 2**(shift - 31) (see `tinyquant.numerics.fixed_point`).

What the numbers mean, in every operator of this file:

================== ============================ =====================================================================
name               legal                        meaning
================== ============================ =====================================================================
x                  int8                         codes; real = S_x * (x - input_zero_point)
input_zero_point   -128 to 127                  the code of real 0; x - input_zero_point lies in [-255, 255]
weight             int8, -127 to 127            codes with zero point 0 (-128 is computed too, but no converter makes it)
bias               int32, one an output channel, real = S_x * S_w * bias; None is a bias of zeros
                   or None
multiplier, shift  0, or 2**30 to 2**31 - 1;    the real S_x * S_w / S_y, one for all channels or one a channel
                   -31 to 31
output_zero_point  -128 to 127                  Z_y
act_min, act_max   -128 <= min <= max <= 127    the fused activation: a clamp of output codes (all codes for none)
rescale            a function                   how M is multiplied and rounded; other runtimes' rules go in here
================== ============================ =====================================================================

The accumulator is int32 and wraps modulo 2**32 as the target's register does (in C++ that is undefined; numpy defines
it). `tinyquant.integer.prepare.prove_accumulator` shows, layer by layer, that it cannot happen.

References: Jacob et al. 2018, sections 2.2 to 2.4; TFLite `kernels/internal/reference/integer_ops/`.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from tinyquant.integer.kernels.windows import Factor, Padding, Pair, Rescale, cells, pad_image, to_codes
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier

__all__ = ["conv_2d", "depthwise_conv_2d", "fully_connected"]


def conv_2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: Factor,
    shift: Factor,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    act_min: int = -128,
    act_max: int = 127,
    rescale: Rescale = multiply_by_quantized_multiplier,
) -> np.ndarray:
    """CONV_2D: every output channel weighs a window of all input channels (of its group).

    ::

        acc[n, oy, ox, o] = bias[o] + sum over ky, kx, c of
                            weight[o, ky, kx, c] * (x[n, oy*stride + ky*dilation - top, ox*stride + ..., c] - input_zero_point)
        y = clamp(rescale(acc, multiplier[o], shift[o]) + output_zero_point, act_min, act_max)

    Parameters
    ----------
    x : int8 [N, H, W, I]
    weight : int8 [O, kh, kw, I / groups]
        The number of groups is I divided by the last axis; group g reads the g-th run of input channels and makes the
        g-th run of output channels.
    bias : int32 [O] or None
    stride, dilation : (down, right), each at least 1
    padding : ((top, bottom), (left, right)) cells
        They hold real 0, so they add nothing: the padding is put around x - input_zero_point and is 0 there.
    input_zero_point, output_zero_point, multiplier, shift, act_min, act_max, rescale
        See the table at the top of the file; multiplier and shift are numbers or [O].

    Returns
    -------
    int8 [N, OH, OW, O], OH = (H + top + bottom - (kh - 1)*dilation - 1) // stride + 1

    References
    ----------
    TFLite `integer_ops/conv.h`, ConvPerChannel.

    Examples
    --------
    >>> x = np.array([[1, 2], [3, 4]], np.int8).reshape(1, 2, 2, 1)
    >>> ones = np.ones((1, 2, 2, 1), np.int8)
    >>> half = {"multiplier": 2**30, "shift": 0}
    >>> conv_2d(x, ones, input_zero_point=1, output_zero_point=-10, **half).ravel().tolist()      # (0+1+2+3)/2 - 10
    [-7]
    """
    image = pad_image(x.astype(np.int32) - np.int32(input_zero_point), padding, 0)
    depth = weight.shape[3]
    groups = x.shape[3] // depth
    wide = weight.astype(np.int32)
    parts = []
    for g, outputs in enumerate(np.split(wide, groups)):
        group = image[..., g * depth : (g + 1) * depth]
        # A matrix product over channels for every window cell, added up.
        terms = (view @ outputs[:, ky, kx].T for ky, kx, view in cells(group, weight.shape[1:3], stride, dilation))
        parts.append(reduce(np.add, terms))
    acc = np.concatenate(parts, axis=-1) if groups > 1 else parts[0]
    if bias is not None:
        acc = acc + bias
    return to_codes(acc, multiplier, shift, rescale, output_zero_point, act_min, act_max)


def depthwise_conv_2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: Factor,
    shift: Factor,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    act_min: int = -128,
    act_max: int = 127,
    rescale: Rescale = multiply_by_quantized_multiplier,
) -> np.ndarray:
    """DEPTHWISE_CONV_2D: every input channel is weighed by windows of its own, `m` of them; channels never mix.

    ::

        acc[n, oy, ox, i*m + j] = bias[i*m + j] + sum over ky, kx of
                                  weight[0, ky, kx, i*m + j] * (x[n, oy*stride + ky*dilation - top, ..., i] - input_zero_point)

    Parameters
    ----------
    x : int8 [N, H, W, I]
    weight : int8 [1, kh, kw, I * m]
        Output channel i*m + j is the j-th window of input channel i.
    bias : int32 [I * m] or None
    multiplier, shift : a number, or [I * m]
    stride, padding, dilation, and the rest
        As in `conv_2d`.

    Returns
    -------
    int8 [N, OH, OW, I * m]

    References
    ----------
    TFLite `integer_ops/depthwise_conv.h`, DepthwiseConvPerChannel.

    Examples
    --------
    >>> x = np.array([10, -10], np.int8).reshape(1, 1, 1, 2)
    >>> weight = np.array([1, 2, 3, 4], np.int8).reshape(1, 1, 1, 4)
    >>> one = {"multiplier": 2**30, "shift": 1}
    >>> depthwise_conv_2d(x, weight, input_zero_point=0, output_zero_point=0, **one).ravel().tolist()
    [10, 20, -30, -40]
    """
    image = pad_image(x.astype(np.int32) - np.int32(input_zero_point), padding, 0)
    image = np.repeat(image, weight.shape[3] // x.shape[3], axis=3)
    wide = weight[0].astype(np.int32)
    acc = reduce(np.add, (view * wide[ky, kx] for ky, kx, view in cells(image, weight.shape[1:3], stride, dilation)))
    if bias is not None:
        acc = acc + bias
    return to_codes(acc, multiplier, shift, rescale, output_zero_point, act_min, act_max)


def fully_connected(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: Factor,
    shift: Factor,
    keep_num_dims: bool = False,
    act_min: int = -128,
    act_max: int = 127,
    rescale: Rescale = multiply_by_quantized_multiplier,
) -> np.ndarray:
    """FULLY_CONNECTED: a matrix times every row of the input.

    ::

        acc[r, u] = bias[u] + sum over d of weight[u, d] * (x[r, d] - input_zero_point)

    Parameters
    ----------
    x : int8, any shape whose number of cells is a multiple of D
        Read as [rows, D]: leading axes are rows, and a [N, H, W, C] image with H*W*C = D is flattened on the way in.
    weight : int8 [U, D]
    bias : int32 [U] or None
    multiplier, shift : a number, or [U]
    keep_num_dims : bool
        Only the shape of the result: the leading axes of x are kept (its last axis must be D).
    input_zero_point, and the rest
        As in `conv_2d`.

    Returns
    -------
    int8 [rows, U], or x.shape[:-1] + [U] with keep_num_dims

    References
    ----------
    TFLite `integer_ops/fully_connected.h`.

    Examples
    --------
    >>> x, weight = np.array([[3, 4]], np.int8), np.array([[1, 1], [2, -2]], np.int8)
    >>> bias = np.array([0, 100], np.int32)
    >>> fully_connected(x, weight, bias, input_zero_point=1, output_zero_point=0, multiplier=2**30, shift=1).tolist()
    [[5, 98]]
    """
    units, depth = weight.shape
    # Not reshape(-1, depth): an empty batch has no -1.
    rows = (x.astype(np.int32) - np.int32(input_zero_point)).reshape(x.size // depth, depth)
    acc = rows @ weight.astype(np.int32).T
    if bias is not None:
        acc = acc + bias
    y = to_codes(acc, multiplier, shift, rescale, output_zero_point, act_min, act_max)
    return y.reshape(*x.shape[:-1], units) if keep_num_dims else y
