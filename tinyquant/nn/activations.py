"""The bends between the layers: without one of them two linear layers are one linear layer.

Each is the operation of the same name in `tinyquant.autograd`, as a layer that can stand in a network by name.
With this module one can choose where a network bends: at 0 (ReLU), at 0 and 6, or smoothly.
"""

from __future__ import annotations

from tinyquant import autograd as F
from tinyquant.autograd import Tensor

from .module import Layer


class ReLU(Layer):
    """y = max(x, 0).

    Examples
    --------
    >>> ReLU()(Tensor([-1.0, 2.0])).data.tolist()
    [0.0, 2.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class ReLU6(Layer):
    """y = min(max(x, 0), 6): a ReLU whose range is known before any data was seen.

    Examples
    --------
    >>> ReLU6()(Tensor([-1.0, 2.0, 9.0])).data.tolist()
    [0.0, 2.0, 6.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x)


class LeakyReLU(Layer):
    """y = x where x > 0, else negative_slope * x.

    Parameters
    ----------
    negative_slope : float

    Examples
    --------
    >>> LeakyReLU(0.5)(Tensor([-2.0, 2.0])).data.tolist()
    [-1.0, 2.0]
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, negative_slope=self.negative_slope)

    def describe(self) -> str:
        return f"{self.negative_slope}"


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)), in (0, 1).

    Examples
    --------
    >>> Sigmoid()(Tensor([0.0])).data.tolist()
    [0.5]
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class Tanh(Layer):
    """y = tanh(x), in (-1, 1).

    Examples
    --------
    >>> Tanh()(Tensor([0.0])).data.tolist()
    [0.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class Softmax(Layer):
    """y = exp(x) / sum(exp(x)) over the last axis: scores to shares. Train without it: the loss has its own.

    Examples
    --------
    >>> Softmax()(Tensor([[1.0, 1.0]])).data.tolist()
    [[0.5, 0.5]]
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x)
