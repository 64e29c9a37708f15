"""AVERAGE_POOL_2D and MAX_POOL_2D: one number for a window of codes.

Input and output share scale and zero point, so a code means the same real on both sides and nothing is rescaled: the mean
of codes is the code of the mean, up to rounding. Cells outside the image are not counted at all (they are not zeros).

With this module one can pool int8 images the way TFLite does.

References: TFLite `kernels/internal/reference/integer_ops/pooling.h`.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from tinyquant.integer.kernels.windows import Padding, Pair, cells, pad_image
from tinyquant.numerics.rounding import saturate

__all__ = ["average_pool_2d", "max_pool_2d"]


def average_pool_2d(
    x: np.ndarray, *, window: Pair, stride: Pair, padding: Padding, act_min: int = -128, act_max: int = 127
) -> np.ndarray:
    """AVERAGE_POOL_2D: the rounded mean of the window cells that lie inside the image.

    ::

        s = sum of the codes inside, n = how many cells are inside
        y = clamp(sign(s) * ((|s| + n // 2) // n), act_min, act_max)          nearest, ties away from zero

    The raw codes are averaged, zero point and all: the mean of (code - Z) plus Z is the mean of code. So "away from
    zero" means away from code 0, not from real 0.

    Parameters
    ----------
    x : int8 [N, H, W, C]
    window, stride : (down, right), each at least 1
    padding : ((top, bottom), (left, right)) cells, never a whole window
    act_min, act_max : output codes, -128 <= act_min <= act_max <= 127

    Returns
    -------
    int8 [N, OH, OW, C]

    Examples
    --------
    >>> x = np.array([1, 2, -1, -2], np.int8).reshape(1, 1, 4, 1)
    >>> average_pool_2d(x, window=(1, 2), stride=(1, 2), padding=((0, 0), (0, 0))).ravel().tolist()     # 1.5, -1.5
    [2, -2]
    """
    image = pad_image(x.astype(np.int32), padding, 0)
    inside = pad_image(np.ones((1, *x.shape[1:3], 1), np.int32), padding, 0)
    total = reduce(np.add, (view for _, _, view in cells(image, window, stride)))
    count = reduce(np.add, (view for _, _, view in cells(inside, window, stride)))
    mean = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return saturate(mean, act_min, act_max, np.int8)


def max_pool_2d(
    x: np.ndarray, *, window: Pair, stride: Pair, padding: Padding, act_min: int = -128, act_max: int = 127
) -> np.ndarray:
    """MAX_POOL_2D: the largest code of the window, clamped. A larger code is a larger real, so codes are enough.

    Parameters
    ----------
    x : int8 [N, H, W, C]
    window, stride, padding, act_min, act_max
        As in `average_pool_2d`. Padded cells hold -128, which no real cell is below.

    Returns
    -------
    int8 [N, OH, OW, C]

    Examples
    --------
    >>> x = np.array([1, 2, -1, -2], np.int8).reshape(1, 1, 4, 1)
    >>> max_pool_2d(x, window=(1, 3), stride=(1, 1), padding=((0, 0), (0, 0))).ravel().tolist()
    [2, 2]
    """
    image = pad_image(x, padding, -128)
    largest = reduce(np.maximum, (view for _, _, view in cells(image, window, stride)))
    return saturate(largest, act_min, act_max, np.int8)
