"""Folding a batch norm into the layer before it.

In eval mode a batch norm multiplies each channel by gamma / sigma and adds a constant. The layer before
it can do both itself, and must: the weights that get quantized are the folded ones, so a quantizer that
looks at unfolded weights looks at the wrong numbers.

With this module one can fold a batch norm, gradients included (`fold_batch_norm`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinyquant import autograd as F
from tinyquant.autograd import Tensor

__all__ = ["fold_batch_norm"]


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
