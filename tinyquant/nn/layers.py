"""The layers that learn: fully connected, convolution, depthwise convolution, batch norm.

    Linear           y = x W^T + b                                       W (out, in)
    Conv2d           y[i, j, o] = sum over taps and channels of x W[o]   W (out, kh, kw, in / groups), images NHWC
    DepthwiseConv2d  every channel on its own                            W (1, kh, kw, channels * multiplier)
    BatchNorm2d      y = gamma (x - mean) / sqrt(var + eps) + beta       a channel

Each runs one operation of `tinyquant.autograd`, whose docstring has the mathematics. Constructors take PyTorch's names
in PyTorch's order; arrays are laid out as TFLite's, so weights travel to a microcontroller without a transpose.
With this module one can build every network of the package.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyquant import autograd as F
from tinyquant.autograd import Tensor
from tinyquant.numerics.seeds import Seed, generator

from .init import he_normal
from .module import Layer, Parameter

Size = int | tuple[int, int]
Padding = int | str | Sequence[int] | Sequence[Sequence[int]]


class Linear(Layer):
    """A fully connected layer: y = x W^T + b.

    Parameters
    ----------
    in_features, out_features : int >= 1
    bias : bool
        Whether to add b; leave it out before a batch norm.
    seed : int or numpy Generator
        Where the weights come from (He normal; biases start at 0). Layers of one shape made with one int start equal:
        in a network of your own pass one generator to all of them, or call `reset_parameters` on the whole.

    Attributes
    ----------
    weight : Parameter (out_features, in_features)
    bias : Parameter (out_features,) or None

    Notes
    -----
    Input (..., in_features), output (..., out_features). In PyTorch this is `torch.nn.Linear`, same layout.

    Examples
    --------
    >>> layer = Linear(3, 2)
    >>> layer(Tensor([[1.0, 2.0, 3.0]])).shape, layer
    ((1, 2), Linear(3, 2))
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, seed: Seed = 0) -> None:
        _at_least_one(in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(np.zeros((out_features, in_features), np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None
        self.draw_parameters(generator(seed))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def draw_parameters(self, rng: np.random.Generator) -> None:
        _start(self.weight, self.bias, self.in_features, rng)

    def describe(self) -> str:
        return f"{self.in_features}, {self.out_features}{'' if self.bias is not None else ', bias=False'}"


class Conv2d(Layer):
    """A two-dimensional convolution of NHWC images.

    Parameters
    ----------
    in_channels, out_channels : int >= 1
    kernel_size, stride, dilation : int >= 1 or (height, width)
    padding : int, (height, width), ((top, bottom), (left, right)), "same" or "valid"
        "same" is TFLite's: the output has ceil(size / stride) rows; where the total is odd, the extra cell comes after.
    groups : int
        Divides both channel counts; group g sees only its share of the input channels.
    bias : bool
        Leave it out before a batch norm.
    seed : int or numpy Generator
        As for `Linear`.

    Attributes
    ----------
    weight : Parameter (out_channels, kh, kw, in_channels / groups)
    bias : Parameter (out_channels,) or None

    Raises
    ------
    ValueError
        If a size is below 1, or groups does not divide the channels.

    Notes
    -----
    Input (N, H, W, in_channels), output (N, H', W', out_channels). In PyTorch this is `torch.nn.Conv2d`; differs by
    the layout (there NCHW and OIHW) and by allowing "same" with a stride.

    Examples
    --------
    >>> layer = Conv2d(1, 4, 3, stride=2, padding="same", bias=False)
    >>> layer(Tensor(np.zeros((1, 8, 8, 1)))).shape
    (1, 4, 4, 4)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        seed: Seed = 0,
    ) -> None:
        _at_least_one(in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must divide both channel counts, got groups={groups} for {in_channels} and {out_channels}. "
                "Use groups=1, or counts that are multiples of it."
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = _pair("kernel_size", kernel_size), _pair("stride", stride)
        self.padding, self.dilation = padding, _pair("dilation", dilation)
        shape = (out_channels, *self.kernel_size, in_channels // groups)
        self.weight = Parameter(np.zeros(shape, np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None
        self.draw_parameters(generator(seed))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(
            x, self.weight, self.bias,
            stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups,
        )  # fmt: skip

    def draw_parameters(self, rng: np.random.Generator) -> None:
        _start(self.weight, self.bias, int(np.prod(self.weight.shape[1:])), rng)

    def describe(self) -> str:
        groups = f", groups={self.groups}" if self.groups != 1 else ""
        return f"{self.in_channels}, {self.out_channels}, {_window(self)}{groups}{_no_bias(self.bias)}"


class DepthwiseConv2d(Layer):
    """A convolution of every channel on its own: no sums over channels.

    Parameters
    ----------
    channels : int >= 1
    kernel_size, stride, padding, dilation
        As for `Conv2d`.
    multiplier : int >= 1
        Outputs a channel; output channel c * multiplier + j comes from input channel c.
    bias : bool
    seed : int or numpy Generator

    Attributes
    ----------
    weight : Parameter (1, kh, kw, channels * multiplier)
    bias : Parameter (channels * multiplier,) or None

    Notes
    -----
    In TFLite this is DEPTHWISE_CONV_2D, same layout; in PyTorch `Conv2d(c, c * m, k, groups=c)`.

    Examples
    --------
    >>> layer = DepthwiseConv2d(4, 3, padding="same")
    >>> layer(Tensor(np.zeros((1, 8, 8, 4)))).shape, layer.weight.shape
    ((1, 8, 8, 4), (1, 3, 3, 4))
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        multiplier: int = 1,
        bias: bool = True,
        *,
        seed: Seed = 0,
    ) -> None:
        _at_least_one(channels=channels, multiplier=multiplier)
        self.channels, self.multiplier = channels, multiplier
        self.kernel_size, self.stride = _pair("kernel_size", kernel_size), _pair("stride", stride)
        self.padding, self.dilation = padding, _pair("dilation", dilation)
        self.weight = Parameter(np.zeros((1, *self.kernel_size, channels * multiplier), np.float32))
        self.bias = Parameter(np.zeros(channels * multiplier, np.float32)) if bias else None
        self.draw_parameters(generator(seed))

    def forward(self, x: Tensor) -> Tensor:
        return F.depthwise_conv2d(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, dilation=self.dilation
        )

    def draw_parameters(self, rng: np.random.Generator) -> None:
        _start(self.weight, self.bias, int(np.prod(self.kernel_size)), rng)

    def describe(self) -> str:
        multiplier = f", multiplier={self.multiplier}" if self.multiplier != 1 else ""
        return f"{self.channels}, {_window(self)}{multiplier}{_no_bias(self.bias)}"


class BatchNorm2d(Layer):
    """Normalize every channel: y = gamma (x - mean) / sqrt(var + eps) + beta.

    Training uses the mean and variance of the batch and moves the running ones towards them; evaluation uses the
    running ones, and is then a multiplication and an addition a channel, which quantization folds into the layer before.

    Parameters
    ----------
    num_features : int >= 1
        Channels, the last axis.
    eps : float > 0
    momentum : float in [0, 1]
        running = (1 - momentum) * running + momentum * batch.

    Attributes
    ----------
    gamma, beta : Parameter (num_features,), starting at 1 and 0
    running_mean, running_var : buffer (num_features,), starting at 0 and 1

    Notes
    -----
    Statistics over all axes but the last. In PyTorch this is `torch.nn.BatchNorm2d`, whose weight and bias are gamma and
    beta; the running variance is the unbiased one in both.

    References
    ----------
    Ioffe and Szegedy 2015, "Batch normalization", algorithms 1 and 2.

    Examples
    --------
    >>> norm = BatchNorm2d(2)
    >>> norm(Tensor([[0.0, 5.0], [2.0, 5.0]])).data.astype(int).tolist()
    [[0, 0], [0, 0]]
    >>> norm.running_mean.tolist() == [np.float32(0.1), np.float32(0.5)]
    True
    """

    running_mean: np.ndarray
    running_var: np.ndarray

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        _at_least_one(num_features=num_features)
        if not eps > 0:
            raise ValueError(f"eps must be above 0, got {eps}. It keeps a constant channel from dividing by 0.")
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in 0 to 1, got {momentum}. 0.1 takes a tenth of each batch.")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.gamma = Parameter(np.ones(num_features, np.float32))
        self.beta = Parameter(np.zeros(num_features, np.float32))
        self.register_buffer("running_mean", np.zeros(num_features, np.float32))
        self.register_buffer("running_var", np.ones(num_features, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.gamma, self.beta, self.running_mean, self.running_var,
            training=self.training, momentum=self.momentum, eps=self.eps,
        )  # fmt: skip

    def draw_parameters(self, rng: np.random.Generator) -> None:
        self.gamma.data[...] = 1
        self.beta.data[...] = 0
        self.running_mean[...] = 0
        self.running_var[...] = 1

    def describe(self) -> str:
        return f"{self.num_features}"


def _start(weight: Parameter, bias: Parameter | None, fan_in: int, rng: np.random.Generator) -> None:
    """He normal weights and zero biases, in place."""
    weight.data[...] = he_normal(weight.shape, fan_in, rng)
    if bias is not None:
        bias.data[...] = 0


def _pair(name: str, size: Size) -> tuple[int, int]:
    """(height, width), both at least 1."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"{name} must be 1 or more, got {size}. Give an int or (height, width).")
    return height, width


def _at_least_one(**sizes: int) -> None:
    """Refuse a layer without inputs or outputs."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be 1 or more, got {size}. A layer needs at least one.")


def _window(layer: Conv2d | DepthwiseConv2d) -> str:
    """Kernel, and what differs from a stride of 1 without padding."""
    said = [str(layer.kernel_size)]
    said += [f"stride={layer.stride}"] if layer.stride != (1, 1) else []
    said += [f"padding={layer.padding!r}"] if layer.padding != 0 else []
    said += [f"dilation={layer.dilation}"] if layer.dilation != (1, 1) else []
    return ", ".join(said)


def _no_bias(bias: Parameter | None) -> str:
    """Words for a layer without a bias."""
    return "" if bias is not None else ", bias=False"
