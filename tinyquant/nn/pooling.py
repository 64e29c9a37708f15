"""Fewer pixels, or none: pools over windows, the pool over the whole image, and flattening.

With this module one can shrink images between convolutions and hand them to a linear layer at the end.
"""

from __future__ import annotations

from tinyquant import autograd as F
from tinyquant.autograd import Tensor

from .layers import Padding, Size
from .module import Layer


class MaxPool2d(Layer):
    """The largest value of every window of NHWC images.

    Parameters
    ----------
    kernel_size : int >= 1 or (height, width)
    stride : int, (height, width) or None
        None: windows side by side, the stride is the kernel size.
    padding : as for `Conv2d`
        Padded cells never win.

    Examples
    --------
    >>> MaxPool2d(2)(Tensor([[[[1.0], [5.0]], [[3.0], [2.0]]]])).data.tolist()
    [[[[5.0]]]]
    """

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Padding = 0) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, stride=self.stride, padding=self.padding)

    def describe(self) -> str:
        return _pool(self)


class AvgPool2d(Layer):
    """The mean of every window of NHWC images, over the cells that lie inside the image.

    Parameters
    ----------
    kernel_size, stride, padding
        As for `MaxPool2d`.

    Notes
    -----
    As TFLite; in PyTorch this is `AvgPool2d(count_include_pad=False)`.

    Examples
    --------
    >>> AvgPool2d(2)(Tensor([[[[1.0], [5.0]], [[3.0], [3.0]]]])).data.tolist()
    [[[[3.0]]]]
    """

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Padding = 0) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, stride=self.stride, padding=self.padding)

    def describe(self) -> str:
        return _pool(self)


class GlobalAvgPool2d(Layer):
    """The mean over all pixels of each channel: (N, H, W, C) -> (N, C).

    Examples
    --------
    >>> GlobalAvgPool2d()(Tensor([[[[1.0], [5.0]], [[3.0], [3.0]]]])).data.tolist()
    [[3.0]]
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.global_avg_pool2d(x)


class Flatten(Layer):
    """All axes but the first in one row: (N, H, W, C) -> (N, H * W * C).

    Examples
    --------
    >>> Flatten()(Tensor([[[1.0, 2.0], [3.0, 4.0]]])).data.tolist()
    [[1.0, 2.0, 3.0, 4.0]]
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.flatten(x)


def _pool(layer: MaxPool2d | AvgPool2d) -> str:
    """Kernel, and what differs from windows side by side."""
    stride = f", stride={layer.stride}" if layer.stride is not None else ""
    padding = f", padding={layer.padding!r}" if layer.padding != 0 else ""
    return f"{layer.kernel_size}{stride}{padding}"
