"""The two operations that do something else in training than afterwards.

    batch_norm   y = gamma * (x - mean) / sqrt(var + eps) + beta, channel by channel
                 training: mean and var of this batch, and the running ones follow them; else: the running ones
    dropout      y = x * mask / (1 - p) in training, mask 0 with probability p; else y = x

Batch norm backward, with xhat = (x - mean) / sqrt(var + eps) and sums over the n numbers of a channel:

    dbeta = sum dy       dgamma = sum dy * xhat       dx = gamma / sqrt(var + eps) * (dy - dbeta/n - xhat * dgamma/n)

The last two terms are the gradient through the batch's own mean and variance; the running ones are constants, so
there dx = gamma / sqrt(var + eps) * dy.

With this module one can build the layers whose mode (`training`) matters.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinyquant.autograd.memory import empty_like, in_blocks, room_for, tiled
from tinyquant.autograd.operands import as_tensor
from tinyquant.autograd.products import sum_rows
from tinyquant.autograd.tensor import Array, Op, Tensor

__all__ = ["batch_norm", "dropout"]

class BatchNorm(Op):
    """y = gamma * xhat + beta with xhat = (x - mean) / sqrt(var + eps); the gradients are in the module header."""

    name = "batch_norm"

    def forward(self, *arrays: Array) -> Array:
        x, self.gamma, beta = arrays
        s = self.settings
        channels = x.shape[-1]
        # Rows of several pixels: numpy adds a short vector to long rows faster than to every pixel.
        self.tile = x.shape[-2] if x.ndim > 2 else 1
        self.x = rows = x.reshape(-1, self.tile * channels)  # (rows, tile * C)
        self.count = x.size // channels
        y = empty_like(rows)
        if s["training"]:
            self.mean = self._fold(sum_rows(rows)) / self.count
            mean = self._tiled(self.mean)
            squares = np.zeros_like(mean)
            for block in self._blocks():
                centred = np.subtract(rows[block], mean, out=y[block])
                squares += np.einsum("rx,rx->x", centred, centred)
            var = self._fold(squares) / self.count
            _follow(s["running_mean"], self.mean, s["momentum"])
            _follow(s["running_var"], var * (self.count / (self.count - 1)), s["momentum"])
        else:
            self.mean, var = s["running_mean"].astype(x.dtype), s["running_var"]
        self.inverse = (1 / np.sqrt(var + s["eps"])).astype(x.dtype)
        scale = self.gamma * self.inverse
        wide_scale, wide_shift = self._tiled(scale), self._tiled(beta - self.mean * scale)
        for block in self._blocks():
            part = np.multiply(rows[block], wide_scale, out=y[block])
            part += wide_shift
        return y.reshape(x.shape)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        rows, dy_rows = self.x, dy.reshape(self.x.shape)
        mean = self._tiled(self.mean)
        sums, products = np.zeros_like(mean), np.zeros_like(mean)
        if self.needs[1] or self.needs[2] or self.settings["training"]:
            for block in self._blocks():
                x, dy_block = rows[block], dy_rows[block]
                sums += sum_rows(dy_block)
                products += np.einsum("rx,rx->x", dy_block, np.subtract(x, mean, out=room_for(x)))
        dbeta = self._fold(sums)
        dgamma = self._fold(products) * self.inverse
        return self._input_gradient(dy_rows, dgamma, dbeta).reshape(dy.shape) if self.needs[0] else None, dgamma, dbeta

    def _input_gradient(self, dy: Array, dgamma: Array, dbeta: Array) -> Array:
        """dx as dy * a + x * b + c, with a, b, c constant over a channel."""
        a = self.gamma * self.inverse
        dx = empty_like(self.x)
        wide_a = self._tiled(a)
        if not self.settings["training"]:
            return np.multiply(dy, wide_a, out=dx)
        b = -a * self.inverse * dgamma / self.count
        c = -a * dbeta / self.count - self.mean * b
        wide_b, wide_c = self._tiled(b), self._tiled(c)
        for block in self._blocks():
            part = np.multiply(self.x[block], wide_b, out=dx[block])
            part += wide_c
            part += np.multiply(dy[block], wide_a, out=room_for(part))
        return dx

    def _tiled(self, channels: Array) -> Array:
        """(C,) repeated to (tile * C,)."""
        return tiled(channels.astype(self.x.dtype, copy=False), self.tile)

    def _fold(self, wide: Array) -> Array:
        """(tile * C,) summed to (C,)."""
        return wide.reshape(self.tile, -1).sum(axis=0)

    def _blocks(self) -> Iterator[slice]:
        """The rows, a few at a time."""
        return in_blocks(*self.x.shape)


class Dropout(Op):
    """y = x * mask / (1 - p), mask 0 with probability p; dx = dy * mask / (1 - p). Not in training: y = x."""

    name = "dropout"

    def forward(self, *arrays: Array) -> Array:
        x, p = arrays[0], self.settings["p"]
        self.mask = None
        if not self.settings["training"] or p == 0:
            return x
        self.mask = (self.settings["rng"].random(x.shape, dtype=np.float32) >= p) * x.dtype.type(1 / (1 - p))
        return x * self.mask

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (dy if self.mask is None else dy * self.mask,)


def _follow(running: Array, batch: Array, momentum: float) -> None:
    """Move the running statistics towards the batch's, in place."""
    running *= 1 - momentum
    running += momentum * batch


def batch_norm(x: Tensor | Array, gamma: Tensor | Array, beta: Tensor | Array, running_mean: Array, running_var: Array,
               *, training: bool, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """Shift and scale every channel to mean `beta` and standard deviation `gamma`.

    Parameters
    ----------
    x : Tensor or ndarray (..., C)
        Statistics are taken over all axes but the last.
    gamma, beta : Tensor or ndarray (C,)
    running_mean, running_var : float ndarray (C,)
        In training they are changed in place: running = (1 - momentum) * running + momentum * batch.
    training : bool
        True: the statistics of this batch. False: the running ones.
    momentum : float in [0, 1]
    eps : float > 0

    Returns
    -------
    Tensor (..., C)

    Raises
    ------
    TypeError
        If the running statistics are not float arrays.
    ValueError
        If shapes do not fit, a setting is out of range, or training sees one number a channel only.

    Notes
    -----
    The batch is divided by its biased variance (over n), `running_var` follows the unbiased one (over n - 1), both
    as in PyTorch. In Keras `momentum` is 1 minus this one.

    References
    ----------
    Ioffe and Szegedy 2015, "Batch normalization", algorithm 1.

    Examples
    --------
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> x = Tensor(np.array([[1.0], [3.0]]))
    >>> y = batch_norm(x, Tensor([1.0]), Tensor([10.0]), mean, var, training=True, eps=1e-12)
    >>> y.data.round(3).tolist(), mean.tolist(), var.tolist()
    ([[9.0], [11.0]], [0.2], [1.1])
    """
    x, gamma, beta = (as_tensor(t, "batch_norm") for t in (x, gamma, beta))
    if x.ndim < 2 or not x.size:
        raise ValueError(f"batch_norm needs x of shape (N, ..., C) with at least one number, got {x.shape}. "
                         "Add the missing axis.")
    channels = x.shape[-1:]
    for array in (running_mean, running_var):
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"batch_norm needs running statistics as float arrays that it can change, got {kind}. "
                            "Use np.zeros(C, np.float32) and np.ones(C, np.float32).")
    shapes = (gamma.shape, beta.shape, running_mean.shape, running_var.shape)
    if shapes != (channels,) * 4:
        raise ValueError(f"batch_norm needs gamma, beta, running_mean and running_var of shape {channels} for x of "
                         f"shape {x.shape}, got {', '.join(map(str, shapes))}. Channels are the last axis (NHWC).")
    if not 0 <= momentum <= 1 or not eps > 0:
        raise ValueError(f"batch_norm needs momentum in [0, 1] and eps > 0, got {momentum} and {eps}. "
                         "0.1 and 1e-5 are usual.")
    if training and x.size == x.shape[-1]:
        raise ValueError(f"batch_norm in training needs more than one number a channel, got shape {x.shape}. "
                         "Use a larger batch, or eval mode.")
    return BatchNorm.apply(x, gamma, beta, running_mean=running_mean, running_var=running_var,
                           training=bool(training), momentum=float(momentum), eps=float(eps))


def dropout(x: Tensor | Array, p: float, *, training: bool, rng: np.random.Generator) -> Tensor:
    """Set numbers to 0 with probability p and divide the others by 1 - p, so that the mean stays.

    Parameters
    ----------
    x : Tensor or ndarray, any shape
    p : float in [0, 1)
    training : bool
        False: x as it is.
    rng : numpy.random.Generator
        Where chance comes from; the same seed gives the same mask.

    Returns
    -------
    Tensor, same shape as x

    Raises
    ------
    TypeError
        If training without a Generator.
    ValueError
        If p is outside [0, 1).

    References
    ----------
    Srivastava et al. 2014, "Dropout", sec. 10 (the scaling at training time).

    Examples
    --------
    >>> x = Tensor(np.ones(6))
    >>> dropout(x, 0.5, training=True, rng=np.random.default_rng(0)).data.tolist()
    [2.0, 2.0, 2.0, 0.0, 0.0, 0.0]
    """
    x = as_tensor(x, "dropout")
    if not 0 <= p < 1:
        raise ValueError(f"dropout needs p in [0, 1), got {p}. At p = 1 nothing would be left.")
    if training and not isinstance(rng, np.random.Generator):
        raise TypeError(f"dropout needs rng as a numpy Generator, got {type(rng).__name__}. "
                        "Use np.random.default_rng(seed).")
    return Dropout.apply(x, p=float(p), training=bool(training), rng=rng)
