"""A gradient for what has none.

Rounding is flat between its steps, so its true gradient is 0 nearly everywhere and nothing would be learned
through it. The straight-through estimator shows the rounded value forward and pretends, backward, that nothing
was done.

With this module one can send a gradient through any computation: `straight_through`.
"""

from __future__ import annotations

import numpy as np

from tinyquant.autograd.operands import as_tensor
from tinyquant.autograd.tensor import Array, Op, Tensor

__all__ = ["straight_through"]


class StraightThrough(Op):
    """y = value; d(surrogate) = dy, unchanged: the gradient walks straight through the step."""

    name = "straight_through"

    def forward(self, *arrays: Array) -> Array:
        return self.settings["value"]

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (dy,)


def straight_through(surrogate: Tensor, value: Array) -> Tensor:
    """Show `value` to what follows, and send the gradient to `surrogate` as if it had been shown.

    Forward: y = value, exactly. Backward: d(surrogate) = dy.

    Parameters
    ----------
    surrogate : Tensor
        What the value was computed from by something without a useful derivative, rounding for one.
    value : ndarray, same shape as `surrogate`
        Cast to its dtype.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the shapes differ.

    Notes
    -----
    The gradient is passed on everywhere. A quantizer that saturates wants it stopped outside its range: multiply
    by a mask, or write an `Op`. In PyTorch this is `x + (value - x).detach()`; differs by being exact in floats.

    References
    ----------
    Bengio, Leonard and Courville 2013, "Estimating or propagating gradients through stochastic neurons", sec. 4.

    Examples
    --------
    >>> x = Tensor([0.4, 1.6], requires_grad=True)
    >>> y = straight_through(x, np.rint(x.data))
    >>> (y * y).sum().backward()
    >>> y.data.tolist(), x.grad.tolist()
    ([0.0, 2.0], [0.0, 4.0])
    """
    surrogate = as_tensor(surrogate, "straight_through")
    value = np.asarray(value, dtype=surrogate.dtype)
    if value.shape != surrogate.shape:
        raise ValueError(f"straight_through needs a value of the surrogate's shape {surrogate.shape}, "
                         f"got {value.shape}. Each number stands for the one it replaces.")
    return StraightThrough.apply(surrogate, value=value)
