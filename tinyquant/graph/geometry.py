"""Where a window fits: output size and padding along one axis.

With this module one can work out the geometry of convolutions and pools the way TFLite does.
"""

from __future__ import annotations

__all__ = ["same_padding", "window_count"]


def window_count(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """How many window positions fit along one axis.

    Parameters
    ----------
    size, kernel, stride, dilation : int
        In cells, 1 or more.
    padding : str
        "same": as many as `size / stride`, rounded up; "valid": only those that lie inside.

    Raises
    ------
    ValueError
        Any other padding.

    References
    ----------
    TFLite `kernels/padding.h`, ComputeOutSize.

    Examples
    --------
    >>> window_count(7, 3, 2, 1, "valid"), window_count(7, 3, 2, 1, "same")
    (3, 4)
    """
    if padding not in ("same", "valid"):
        raise ValueError(f"padding must be 'same' or 'valid', got {padding!r}. Write explicit padding as a PAD node.")
    if padding == "same":
        return (size + stride - 1) // stride
    reach = (kernel - 1) * dilation + 1
    return max(0, (size + stride - reach) // stride)


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Cells added (before, after) along one axis by padding "same"; an odd extra cell goes after.

    Parameters
    ----------
    size, kernel, stride, dilation : int
        In cells, 1 or more.

    References
    ----------
    TFLite `kernels/padding.h`, ComputePaddingWithOffset.

    Examples
    --------
    >>> same_padding(8, 3, 1, 1), same_padding(8, 3, 2, 1)
    ((1, 1), (0, 1))
    """
    reach = (kernel - 1) * dilation + 1
    total = max(0, (window_count(size, kernel, stride, dilation, "same") - 1) * stride + reach - size)
    return total // 2, total - total // 2
