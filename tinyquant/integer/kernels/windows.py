"""What the window operators share: padding, and the view of an image that one window cell sees.

A window of kh x kw cells slides over an image. Turn the usual loops inside out: fix one cell (ky, kx) of the
window and ask which pixels it meets while the window visits every output position. They are a regular grid,
which numpy hands out as a strided view without copying::

    output position (oy, ox), window cell (ky, kx)  ->  pixel (oy * stride + ky * dilation, ox * stride + kx * dilation)

So a convolution is a sum over kh * kw views, each multiplied by that cell's weights, and a pool is a sum or a
maximum over them. With this module one can pad (`pad_image`), walk the views (`cells`), and go from an accumulator to
int8 codes (`to_codes`), the step every weighted operator ends with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinyquant.numerics.rounding import saturate

__all__ = ["Pair", "Padding", "Rescale", "cells", "pad_image", "to_codes"]

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
Factor = int | np.ndarray
Rescale = Callable[[np.ndarray, Factor, Factor], np.ndarray]
"""(accumulator, multiplier, shift) -> whole numbers: the one rule in which runtimes differ."""


def pad_image(image: np.ndarray, padding: Padding, fill: int) -> np.ndarray:
    """An [N, H, W, C] image with ((top, bottom), (left, right)) cells of `fill` around it; its dtype is kept.

    >>> pad_image(np.ones((1, 1, 1, 1), np.int32), ((0, 1), (1, 0)), 7)[0, :, :, 0].tolist()
    [[7, 1], [7, 7]]
    """
    if padding == ((0, 0), (0, 0)):
        return image
    (top, _), (left, _) = padding
    rows, height, width, channels = image.shape
    tall, wide = height + sum(padding[0]), width + sum(padding[1])
    padded = np.full((rows, tall, wide, channels), fill, dtype=image.dtype)
    padded[:, top : top + height, left : left + width] = image
    return padded


def cells(
    image: np.ndarray, window: Pair, stride: Pair = (1, 1), dilation: Pair = (1, 1)
) -> Iterator[tuple[int, int, np.ndarray]]:
    """For every window cell (ky, kx): ky, kx and the [N, OH, OW, C] view of the pixels that this cell meets.

    `image` is already padded, [N, H, W, C]; the window reaches (k - 1) * dilation + 1 pixels and must fit into it.

    >>> row = np.arange(5).reshape(1, 1, 5, 1)
    >>> [view.ravel().tolist() for _, _, view in cells(row, (1, 3), stride=(1, 2))]
    [[0, 2], [1, 3], [2, 4]]
    """
    (tall, wide), (down, right) = image.shape[1:3], stride
    # The last window starts where its own reach still fits.
    last_row = tall - (window[0] - 1) * dilation[0]
    last_column = wide - (window[1] - 1) * dilation[1]
    for ky in range(window[0]):
        for kx in range(window[1]):
            y, x = ky * dilation[0], kx * dilation[1]
            yield ky, kx, image[:, y : y + last_row : down, x : x + last_column : right]


def to_codes(
    acc: np.ndarray,
    multiplier: Factor,
    shift: Factor,
    rescale: Rescale,
    output_zero_point: int,
    act_min: int,
    act_max: int,
) -> np.ndarray:
    """int8 codes of accumulators: clamp(rescale(acc) + output_zero_point, act_min, act_max), a new array.

    The zero point is added before the clamp: the activation range is a range of codes, not of reals.

    >>> from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier as rescale
    >>> to_codes(np.array([[100, -100, 9000]]), 2**30, 0, rescale, 5, 0, 127).tolist()         # times one half
    [[55, 0, 127]]
    """
    scaled = rescale(acc.astype(np.int64), multiplier, shift)
    return saturate(scaled + output_zero_point, act_min, act_max, np.int8)
