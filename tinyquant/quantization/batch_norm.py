"""Folding a batch norm into the layer before it.

In eval mode a batch norm multiplies each channel by gamma / sigma and adds a constant. The layer before
it can do both itself, and must: the weights that get quantized are the folded ones, so a quantizer that
looks at unfolded weights looks at the wrong numbers.

In training a batch norm divides by the deviation of the batch, sigma_B, while the weights are quantized as they
will be afterwards, folded with the running sigma. The output is then corrected by the factor sigma_B / sigma: the
quantizer sees weights that do not jitter from batch to batch, and the training sees the batch's normalisation.

With this module one can fold a batch norm, gradients included (`fold_batch_norm`), fold it for a batch
(`batch_moments`, `fold_by_batch`), and let running statistics follow (`follow`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinyquant import autograd as F
from tinyquant.autograd import Tensor

__all__ = ["batch_moments", "fold_batch_norm", "fold_by_batch", "follow"]


def fold_batch_norm(
    weight: Tensor, bias: Tensor | None, norm: Mapping[str, Tensor], axis: int
) -> tuple[Tensor, Tensor]:
    """Weight and bias of one layer that does the work of a layer and the batch norm after it.

    With s = gamma / sqrt(variance + eps)::

        weight' = weight * s          bias' = (bias - mean) * s + beta

    Parameters
    ----------
    weight : Tensor
    bias : Tensor or None, (channels,)
    norm : mapping with "gamma", "beta", "mean", "variance" of shape (channels,) and "eps"
        mean and variance are constants: gradients flow to weight, bias, gamma and beta.
    axis : int
        The output-channel axis of the weight.

    References
    ----------
    Jacob et al. 2018, section 3.2, equation 14.

    Examples
    --------
    >>> numbers = {"gamma": 2.0, "beta": 1.0, "mean": 3.0, "variance": 4.0, "eps": 0.0}
    >>> norm = {key: Tensor([value]) for key, value in numbers.items()}
    >>> w, b = fold_batch_norm(Tensor([[5.0]]), Tensor([4.0]), norm, axis=0)
    >>> w.data.tolist(), b.data.tolist()
    ([[5.0]], [2.0])
    """
    inverse_sigma = 1.0 / np.sqrt(norm["variance"].data + norm["eps"].data)
    factor = norm["gamma"] * Tensor(inverse_sigma)
    shape = [1] * weight.ndim
    shape[axis] = -1
    centred = -norm["mean"] if bias is None else bias - norm["mean"]
    return weight * F.reshape(factor, tuple(shape)), centred * factor + norm["beta"]


def batch_moments(y: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of each channel over a batch, gradients included.

    >>> mean, variance = batch_moments(Tensor([[1.0], [3.0]]), "conv")
    >>> mean.data.tolist(), variance.data.tolist()
    ([2.0], [1.0])
    """
    axes = tuple(range(y.ndim - 1))
    if y.size <= y.shape[-1]:
        raise ValueError(
            f"a batch norm in training must see more than one number a channel, got shape {y.shape} at {name!r}. "
            "Use a larger batch."
        )
    mean = F.mean(y, axis=axes)
    centred = y - mean
    return mean, F.mean(centred * centred, axis=axes)


def fold_by_batch(
    weight: Tensor,
    bias: Tensor | None,
    norm: Mapping[str, Tensor],
    mean: Tensor,
    variance: Tensor,
    axis: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weight and bias folded with the running sigma, and the factor to divide the layer's output by.

    With c = sigma_B / sigma, of the batch's variance and the running one::

        weight' = weight * gamma / sigma        bias' = (bias - mean_B) * gamma / sigma + beta * c
        (conv(x, weight') + bias') / c  =  gamma * (conv(x, weight) + bias - mean_B) / sigma_B + beta

    Where the batch's statistics are the running ones, c = 1 and this is `fold_batch_norm`.

    Parameters
    ----------
    weight, bias, norm, axis
        As for `fold_batch_norm`.
    mean, variance : Tensor, (channels,)
        Of the batch; gradients flow through them.

    Returns
    -------
    (weight', bias', c)

    References
    ----------
    Krishnamoorthi 2018, section 3.2.2, "batch normalization with correction".
    """
    eps = float(norm["eps"].data)
    ratio = (variance + eps) ** 0.5 / Tensor(np.sqrt(norm["variance"].data + norm["eps"].data))
    moved = {**norm, "mean": mean, "beta": norm["beta"] * ratio}
    return (*fold_batch_norm(weight, bias, moved, axis), ratio)


def follow(
    mean: np.ndarray,
    variance: np.ndarray,
    batch_mean: np.ndarray,
    batch_variance: np.ndarray,
    *,
    count: int,
    momentum: float = 0.1,
) -> None:
    """Let running statistics follow the batch's, in place, as `autograd.batch_norm` does: the variance over count - 1.

    >>> mean, variance = np.zeros(1), np.ones(1)
    >>> follow(mean, variance, np.array([2.0]), np.array([1.0]), count=2)
    >>> mean.tolist(), variance.tolist()
    ([0.2], [1.1])
    """
    mean += momentum * (batch_mean - mean)
    variance += momentum * (batch_variance * (count / (count - 1)) - variance)
