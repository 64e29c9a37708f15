"""The two convolutions, as operations on the tape.

    conv2d             y[n, h, w, o] = bias[o] + sum over i, j, c of x[n, h*sh + i*dh, w*sw + j*dw, c] * weight[o, i, j, c]
    depthwise_conv2d   y[n, h, w, c*m + k] = bias[c*m + k] + sum over i, j of x[n, ..., c] * weight[0, i, j, c*m + k]

(x with its padding.) How they are computed is in `lowering` and `depthwise`; here are the checks, the groups and
the bias.

With this module one can build convolutional layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyquant.autograd import lowering
from tinyquant.autograd.depthwise import depthwise, depthwise_input_gradient, depthwise_weight_gradient
from tinyquant.autograd.geometry import Padding, Window, check_image, make_window, pair
from tinyquant.autograd.operands import as_tensor
from tinyquant.autograd.tensor import Array, Op, Tensor

__all__ = ["conv2d", "depthwise_conv2d"]


class _Convolution(Op):
    """What both convolutions have in common: the window and the bias."""

    def begin(self, x: Array, weight: Array) -> Window:
        """Find the window of the settings over these images."""
        s = self.settings
        kernel = (weight.shape[1], weight.shape[2])
        self.win = make_window(self.name, (x.shape[1], x.shape[2]), kernel, s["stride"], s["padding"], s["dilation"])
        self.weight = weight.astype(x.dtype, copy=False)
        return self.win

    def finish(self, dx: Array | None, dw: Array | None, dy: Array) -> tuple[Array | None, ...]:
        """Append the gradient of the bias, if there is one."""
        if len(self.needs) == 2:
            return dx, dw
        return dx, dw, lowering.bias_gradient(dy) if self.needs[2] else None


class Conv2d(_Convolution):
    """y = x * weight + bias, a correlation; dx = dy * turned weight, dweight = x * dy, dbias = sum of dy."""

    name = "conv2d"

    def forward(self, *arrays: Array) -> Array:
        x, bias = arrays[0], arrays[2] if len(arrays) == 3 else None
        window = self.begin(x, arrays[1])
        # One group a channel is a depthwise convolution, and is computed as one.
        self.depthwise = self.settings["groups"] == x.shape[3] > 1
        if self.depthwise:
            self.x = x
            return depthwise(x, self.weight[..., 0].transpose(1, 2, 0), bias, window)
        self.images = self._split(x, 3)
        biases = [None] * len(self.images) if bias is None else self._split(bias, 0)
        ys = [lowering.convolve(*group, window) for group in zip(self.images, self._split(self.weight, 0), biases)]
        return ys[0] if len(ys) == 1 else np.concatenate(ys, axis=3)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        dx = dw = None
        if self.depthwise:
            weight = self.weight[..., 0].transpose(1, 2, 0)
            if self.needs[0]:
                dx = depthwise_input_gradient(dy, weight, self.win, self.x.shape[3])
            if self.needs[1]:
                dw = depthwise_weight_gradient(self.x, dy, self.win).transpose(2, 0, 1)[..., None]
            return self.finish(dx, dw, dy)
        pieces = self._split(dy, 3)
        if self.needs[0]:
            dxs = [lowering.input_gradient(*group, self.win) for group in zip(pieces, self._split(self.weight, 0))]
            dx = dxs[0] if len(dxs) == 1 else np.concatenate(dxs, axis=3)
        if self.needs[1]:
            dws = [lowering.weight_gradient(*group, self.win) for group in zip(self.images, pieces)]
            dw = dws[0] if len(dws) == 1 else np.concatenate(dws, axis=0)
        return self.finish(dx, dw, dy)

    def _split(self, array: Array, axis: int) -> list[Array]:
        """Each group's share along one axis."""
        groups = self.settings["groups"]
        if groups == 1:
            return [array]
        return [np.ascontiguousarray(part) for part in np.split(array, groups, axis)]


class DepthwiseConv2d(_Convolution):
    """y = x * weight + bias, channel by channel; dx = dy * turned weight, dweight = x * dy, dbias = sum of dy."""

    name = "depthwise_conv2d"

    def forward(self, *arrays: Array) -> Array:
        self.x = x = arrays[0]
        window = self.begin(x, arrays[1])
        return depthwise(x, self.weight[0], arrays[2] if len(arrays) == 3 else None, window)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        dx = depthwise_input_gradient(dy, self.weight[0], self.win, self.x.shape[3]) if self.needs[0] else None
        dw = depthwise_weight_gradient(self.x, dy, self.win)[None] if self.needs[1] else None
        return self.finish(dx, dw, dy)


def conv2d(x: Tensor | Array, weight: Tensor | Array, bias: Tensor | Array | None = None, *,
           stride: int | Sequence[int] = 1, padding: Padding = 0, dilation: int | Sequence[int] = 1,
           groups: int = 1) -> Tensor:
    """The two-dimensional convolution of neural networks (a correlation: the kernel is not turned).

    Parameters
    ----------
    x : Tensor or ndarray (N, H, W, C)
    weight : Tensor or ndarray (O, KH, KW, C / groups)
    bias : Tensor or ndarray (O,), optional
    stride, dilation : int or (height, width), at least 1
    padding : int, (height, width), "same", "valid" or ((top, bottom), (left, right))
        Zeros around the image. "same" gives ceil(H / stride) rows, the odd one of the padding after, as TFLite.
    groups : int
        Divides C and O: output channels of a group see the input channels of the same group only.

    Returns
    -------
    Tensor (N, OH, OW, O) with OH = (top + H + bottom - (KH - 1) * dilation - 1) // stride + 1

    Raises
    ------
    TypeError
        For integer arrays.
    ValueError
        If the shapes do not fit, `groups` does not divide, or the kernel is larger than the padded image.

    Notes
    -----
    In PyTorch this is `torch.nn.functional.conv2d` on NCHW images and OIHW weights; convert with
    `x.transpose(0, 2, 3, 1)` and `weight.transpose(0, 2, 3, 1)`. In TFLite it is CONV_2D, in the same layout.

    Examples
    --------
    >>> x = Tensor(np.arange(9.0).reshape(1, 3, 3, 1))
    >>> conv2d(x, Tensor(np.ones((1, 2, 2, 1)))).data[0, :, :, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    x, weight = _checked("conv2d", x, weight)
    outputs, _, _, depth = weight.shape
    if not isinstance(groups, (int, np.integer)) or groups < 1 or x.shape[3] % groups or outputs % groups:
        if x.shape[3] != depth and x.shape[1] == depth * max(int(groups), 1):
            _refuse_channels_first("conv2d", x, weight)
        raise ValueError(f"conv2d needs groups that divide the input channels ({x.shape[3]}) and the filters "
                         f"({outputs}), got {groups!r}. Take a common divisor.")
    if x.shape[3] != depth * groups:
        if x.shape[1] == depth * groups:
            _refuse_channels_first("conv2d", x, weight)
        raise ValueError(f"conv2d needs a weight of shape (O, KH, KW, C / groups) with C / groups = "
                         f"{x.shape[3] / groups:g} for x of shape {x.shape} and groups = {groups}, got {weight.shape}. "
                         "A PyTorch weight (O, I, KH, KW) is converted by weight.transpose(0, 2, 3, 1).")
    return _applied(Conv2d, x, weight, bias, outputs, stride=pair(stride, "stride of conv2d"), padding=padding,
                    dilation=pair(dilation, "dilation of conv2d"), groups=int(groups))


def depthwise_conv2d(x: Tensor | Array, weight: Tensor | Array, bias: Tensor | Array | None = None, *,
                     stride: int | Sequence[int] = 1, padding: Padding = 0,
                     dilation: int | Sequence[int] = 1) -> Tensor:
    """A convolution in which every input channel has its own m filters and nothing else.

    Parameters
    ----------
    x : Tensor or ndarray (N, H, W, C)
    weight : Tensor or ndarray (1, KH, KW, C * m)
        Output channel c * m + k is filter k of input channel c.
    bias : Tensor or ndarray (C * m,), optional
    stride, padding, dilation
        As for `conv2d`.

    Returns
    -------
    Tensor (N, OH, OW, C * m)

    Raises
    ------
    TypeError
        For integer arrays.
    ValueError
        If the shapes do not fit or the kernel is larger than the padded image.

    Notes
    -----
    In PyTorch this is `conv2d(..., groups=C)` with a weight (C * m, 1, KH, KW); convert it with
    `weight.transpose(1, 2, 3, 0)`. In TFLite it is DEPTHWISE_CONV_2D, in the same layout.

    Examples
    --------
    >>> x = Tensor(np.ones((1, 2, 2, 2)))
    >>> weight = np.ones((1, 2, 2, 2)) * [1.0, 10.0]
    >>> depthwise_conv2d(x, Tensor(weight)).data.tolist()
    [[[[4.0, 40.0]]]]
    """
    x, weight = _checked("depthwise_conv2d", x, weight)
    if weight.shape[0] != 1:
        raise ValueError(f"depthwise_conv2d needs a weight of shape (1, KH, KW, C * m), got {weight.shape}. "
                         "A PyTorch weight (C * m, 1, KH, KW) is converted by weight.transpose(1, 2, 3, 0).")
    outputs = weight.shape[3]
    if x.shape[3] == 0 or outputs % x.shape[3]:
        if x.shape[1] and outputs % x.shape[1] == 0:
            _refuse_channels_first("depthwise_conv2d", x, weight)
        raise ValueError(f"depthwise_conv2d needs a multiple of the {x.shape[3]} channels of x as the last size of "
                         f"its weight, got {weight.shape} for x of shape {x.shape}. Channels are the last axis.")
    return _applied(DepthwiseConv2d, x, weight, bias, outputs, stride=pair(stride, "stride of depthwise_conv2d"),
                    padding=padding, dilation=pair(dilation, "dilation of depthwise_conv2d"))


def _checked(op: str, x: Tensor | Array, weight: Tensor | Array) -> tuple[Tensor, Tensor]:
    """Images and weights as tensors of four axes."""
    x, weight = as_tensor(x, op), as_tensor(weight, op)
    check_image(x, op)
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(f"{op} needs a weight of four axes, none of them empty, got {weight.shape}. "
                         "See the shapes in its docstring.")
    return x, weight


def _refuse_channels_first(op: str, x: Tensor, weight: Tensor) -> None:
    """Name the commonest slip: PyTorch's layout."""
    raise ValueError(f"{op} needs images of shape (N, H, W, C), got {x.shape} for a weight of shape {weight.shape}, "
                     "which looks like (N, C, H, W). Move the channels last: x.transpose(0, 2, 3, 1).")


def _applied(op: type[_Convolution], x: Tensor, weight: Tensor, bias: Tensor | Array | None, outputs: int,
             **settings: object) -> Tensor:
    """Run the operation, with the bias if there is one."""
    if bias is None:
        return op.apply(x, weight, **settings)
    bias = as_tensor(bias, op.name)
    if bias.shape != (outputs,):
        raise ValueError(f"{op.name} needs a bias of shape ({outputs},), one an output channel, got {bias.shape}. "
                         "Reshape it.")
    return op.apply(x, weight, bias, **settings)
