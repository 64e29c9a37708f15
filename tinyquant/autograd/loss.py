"""From scores to probabilities to one number to be made small.

    softmax        p_c = e**z_c / sum_k e**z_k          dz = p * (dp - sum_k dp_k p_k)
    log_softmax    l_c = z_c - log sum_k e**z_k         dz = dl - p * sum_k dl_k
    cross_entropy  L = mean of -l[label]                dz = (p - one_hot(label)) / N * dL
    mse_loss       L = mean of (pred - target)**2       dpred = 2 (pred - target) / n * dL = -dtarget

The largest score is subtracted first: it cancels in the fraction, and e**z can no longer overflow.

With this module one can train a classifier (`cross_entropy` on the raw scores) or a regression (`mse_loss`).
"""

from __future__ import annotations

import numpy as np

from tinyquant.autograd.operands import as_tensor, operand
from tinyquant.autograd.tensor import Array, Op, Operand, Tensor

__all__ = ["cross_entropy", "log_softmax", "mse_loss", "softmax"]


class Softmax(Op):
    """p = e**z / sum e**z; dz = p * (dp - sum of dp * p)."""

    name = "softmax"

    def forward(self, *arrays: Array) -> Array:
        z = arrays[0]
        self.p = np.exp(z - z.max(axis=-1, keepdims=True))
        self.p /= self.p.sum(axis=-1, keepdims=True)
        return self.p

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (self.p * (dy - (dy * self.p).sum(axis=-1, keepdims=True)),)


class LogSoftmax(Op):
    """l = z - log sum e**z; dz = dl - p * sum of dl."""

    name = "log_softmax"

    def forward(self, *arrays: Array) -> Array:
        self.log_p = _log_softmax(arrays[0])
        return self.log_p

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (dy - np.exp(self.log_p) * dy.sum(axis=-1, keepdims=True),)


class CrossEntropy(Op):
    """L = sum of -t * log p / sum of w[label]; dz = (p * sum of t - t) / sum of w[label] * dL.

    t is the target, w[label] at the label for plain cross entropy; smoothing moves a share of it to all classes.
    """

    name = "cross_entropy"

    def forward(self, *arrays: Array) -> Array:
        z = arrays[0]  # (N, C)
        labels, weights, smoothing = (self.settings[key] for key in ("labels", "weights", "label_smoothing"))
        self.rows = np.arange(len(z))
        self.log_p = _log_softmax(z)
        if weights is None and not smoothing:
            return np.asarray(-self.log_p[self.rows, labels].sum() / z.dtype.type(len(z)))
        w = np.ones(z.shape[1], z.dtype) if weights is None else weights.astype(z.dtype)
        target = np.broadcast_to(w * (smoothing / len(w)), z.shape).astype(z.dtype)
        target[self.rows, labels] += (1 - smoothing) * w[labels]
        self.target = target / w[labels].sum()
        return np.asarray(-(self.target * self.log_p).sum())

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        p = np.exp(self.log_p)
        if self.settings["weights"] is None and not self.settings["label_smoothing"]:
            p[self.rows, self.settings["labels"]] -= 1
            p *= dy / len(p)
            return (p,)
        return ((p * self.target.sum(axis=1, keepdims=True) - self.target) * dy,)


class MseLoss(Op):
    """L = mean of (a - b)**2; da = 2 (a - b) / n * dL, db = -da."""

    name = "mse_loss"

    def forward(self, *arrays: Array) -> Array:
        self.difference = arrays[0] - arrays[1]
        return np.asarray(np.square(self.difference).mean())

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        da = self.difference * (2 * dy / self.difference.size)
        return da, -da if self.needs[1] else None


def _log_softmax(z: Array) -> Array:
    """z - log sum e**z over the last axis."""
    # The reductions by their ufuncs: the methods of the array do the same after a microsecond more of checks.
    shifted = z - np.maximum.reduce(z, axis=-1, keepdims=True)
    shifted -= np.log(np.add.reduce(np.exp(shifted), axis=-1, keepdims=True))
    return shifted


def softmax(x: Tensor | Array) -> Tensor:
    """Probabilities over the last axis: positive, summing to 1.

    Parameters
    ----------
    x : Tensor or ndarray (..., C), C >= 1

    Returns
    -------
    Tensor (..., C)

    Raises
    ------
    ValueError
        If there is nothing to normalise over.

    Examples
    --------
    >>> softmax(Tensor([[0.0, 0.0], [1000.0, 0.0]])).data.tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    return Softmax.apply(_scores(x, "softmax"))


def log_softmax(x: Tensor | Array) -> Tensor:
    """The logarithm of `softmax`, exact where the probability itself would round to 0.

    >>> log_softmax(Tensor([[1000.0, 0.0]])).data.tolist()
    [[0.0, -1000.0]]
    """
    return LogSoftmax.apply(_scores(x, "log_softmax"))


def cross_entropy(logits: Tensor | Array, labels: Array, weights: Array | None = None,
                  label_smoothing: float = 0.0) -> Tensor:
    """The mean over the batch of -log softmax(logits)[label].

    Parameters
    ----------
    logits : Tensor or ndarray (N, C), N >= 1
        Raw scores: the softmax is part of the loss.
    labels : ndarray (N,) of integers in [0, C)
    weights : ndarray (C,), optional
        How much a sample of each class counts; at least 0. The mean is then over the weights of the batch.
    label_smoothing : float in [0, 1)
        This share of each target is spread evenly over all C classes.

    Returns
    -------
    Tensor, one number

    Raises
    ------
    TypeError
        If the labels are not integers.
    ValueError
        If the shapes do not fit, a label is outside [0, C), or a weight or the smoothing is out of range.

    Notes
    -----
    In PyTorch this is `cross_entropy(logits, labels, weight=weights, label_smoothing=label_smoothing)`.

    Examples
    --------
    >>> loss = cross_entropy(Tensor([[0.0, 0.0]]), np.array([1]))
    >>> round(loss.item(), 4)
    0.6931
    """
    logits, labels = as_tensor(logits, "cross_entropy"), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not logits.size:
        raise ValueError("cross_entropy needs logits (N, C) and labels (N,) with N >= 1, got shapes "
                         f"{logits.shape} and {labels.shape}. Labels are class numbers, not one-hot rows.")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy needs integer labels, got {labels.dtype}. Use labels.astype(np.int64).")
    classes = logits.shape[1]
    if np.minimum.reduce(labels) < 0 or np.maximum.reduce(labels) >= classes:
        raise ValueError(f"cross_entropy needs labels from 0 to {classes - 1}, got {labels.min()} to "
                         f"{labels.max()}. Count classes from 0, or give the network more outputs.")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}. 0.1 is usual.")
    if weights is not None:
        weights = np.asarray(weights, dtype=logits.dtype)
        if weights.shape != (classes,) or not weights.min() >= 0 or not weights[labels].sum() > 0:
            raise ValueError(f"cross_entropy needs {classes} class weights of at least 0, not all 0 in the batch, "
                             f"got {weights.tolist()}. Give one weight a class.")
    return CrossEntropy.apply(logits, labels=labels, weights=weights, label_smoothing=float(label_smoothing))


def mse_loss(pred: Operand, target: Operand) -> Tensor:
    """The mean over all cells of (pred - target)**2.

    Parameters
    ----------
    pred, target : Tensor or ndarray, the same shape, at least one cell

    Returns
    -------
    Tensor, one number

    Raises
    ------
    ValueError
        If the shapes differ: broadcasting here is nearly always a mistake.

    Examples
    --------
    >>> mse_loss(Tensor([1.0, 2.0]), Tensor([1.0, 4.0])).item()
    2.0
    """
    a, b = operand(pred, target), operand(target, pred)
    if a.shape != b.shape or not a.size:
        raise ValueError(f"mse_loss needs pred and target of the same shape with at least one cell, got {a.shape} "
                         f"and {b.shape}. Reshape one of them.")
    return MseLoss.apply(a, b)


def _scores(x: Tensor | Array, op: str) -> Tensor:
    """The tensor, once it has at least one class on its last axis."""
    x = as_tensor(x, op)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{op} needs at least one class on the last axis, got shape {x.shape}. Use (N, C).")
    return x
