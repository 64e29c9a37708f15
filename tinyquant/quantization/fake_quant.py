"""Fake quantization: the rounding error of inference, injected into training.

    y = scale * (clip(round(x / scale) + zero_point, qmin, qmax) - zero_point)

The value is what the integer network will see; the type stays float. The true derivative of this
staircase is 0 almost everywhere and would teach nothing, so the backward pass pretends that the
stairs are a straight line: 1 where the rounded code lies in [qmin, qmax], ends included, and 0 where
it was clipped. That is the straight-through estimator (STE), and the mask is stored by the forward
pass, never left to the derivative of some clamp.

With this module one can fake-quantize an array or a Tensor (`fake_quantize`).
"""

from __future__ import annotations

from typing import overload

import numpy as np

from tinyquant.autograd import Op, Tensor
from tinyquant.numerics.affine import dequantize, quantize, round_quotient
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.surrogates import SURROGATES, threshold_distance

__all__ = ["FakeQuantize", "fake_quantize"]


class FakeQuantize(Op):
    """y = dequantize(quantize(x));  dx = dy * slope where the rounded code lies in [qmin, qmax], else 0.

    The slope is the surrogate's, 1 for "clipped"; "unclipped" passes dy everywhere.
    """

    name = "fake_quantize"
    inside: np.ndarray | None

    def forward(self, *arrays: np.ndarray) -> np.ndarray:
        """Bit-equal to dequantize(quantize(x)), in one buffer."""
        (x,) = arrays
        qp: QParams = self.settings["qp"]
        scale, zero = qp.along(x.ndim)
        # Bias codes do not fit float32's 24 bits: they are rounded in float64.
        wide = x if qp.levels <= 2**16 else x.astype(np.float64)
        steps = round_quotient(wide, qp, rounding=self.settings["rounding"], rng=self.settings["rng"])
        low, high = (qp.qmin - zero).astype(steps.dtype), (qp.qmax - zero).astype(steps.dtype)
        self.inside = None
        if qp.per_axis or steps.size and (steps.min() < low or steps.max() > high):
            if self.needs[0]:
                self.inside = (steps >= low) & (steps <= high)
            np.clip(steps, low, high, out=steps)
        if not np.array_equal(scale.astype(np.float32), scale):
            # float32 would round such a scale before the product; dequantize does not.
            steps = steps.astype(np.float64)
        steps *= scale.astype(steps.dtype)
        # Rounding can leave -0.0, which no code stands for.
        steps += 0.0
        if self.settings["surrogate"] not in ("clipped", "unclipped"):
            self.x = x
        return steps.astype(np.float32, copy=False).astype(x.dtype, copy=False)

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        surrogate = self.settings["surrogate"]
        if surrogate == "unclipped":
            return (dy,)
        if surrogate != "clipped":
            scale, _ = self.settings["qp"].along(dy.ndim)
            dy = dy * SURROGATES[surrogate](threshold_distance(self.x / scale.astype(dy.dtype)))
        return (dy if self.inside is None else dy * self.inside,)


@overload
def fake_quantize(
    x: Tensor, qp: QParams, *, rounding: str = ..., rng: np.random.Generator | None = ..., surrogate: str = ...
) -> Tensor: ...
@overload
def fake_quantize(
    x: np.ndarray, qp: QParams, *, rounding: str = ..., rng: np.random.Generator | None = ..., surrogate: str = ...
) -> np.ndarray: ...
def fake_quantize(
    x: Tensor | np.ndarray,
    qp: QParams,
    *,
    rounding: str = "half_away",
    rng: np.random.Generator | None = None,
    surrogate: str = "clipped",
) -> Tensor | np.ndarray:
    """The real numbers that survive quantization: dequantize(quantize(x)).

    Parameters
    ----------
    x : Tensor or array, any shape
        Finite, in the units of the signal.
    qp : QParams
    rounding, rng
        As for `quantize`.
    surrogate : str
        What the gradient pretends, a name of `SURROGATES`. "clipped" is the straight-through estimator that knows
        about saturation, "unclipped" the one that does not.

    Returns
    -------
    Tensor or array, as x is
        A Tensor carries the surrogate's gradient; for "clipped" 1 where the rounded code lies in [qmin, qmax], ends
        included, 0 elsewhere. An array comes back as float32.

    Raises
    ------
    ValueError, TypeError
        As `quantize`: NaN and infinity are refused by name. An unknown surrogate.

    Notes
    -----
    In PyTorch: `fake_quantize_per_tensor_affine`, which rounds ties to even. In TFLite training:
    `fake_quant_with_min_max_vars`.

    References
    ----------
    Jacob et al. 2018, section 3; Bengio, Leonard and Courville 2013 (the estimator).

    Examples
    --------
    >>> qp = QParams(scale=0.5, zero_point=0, qmin=-2, qmax=2)
    >>> x = Tensor(np.array([0.3, 1.0, 1.2, 9.0], np.float32), requires_grad=True)
    >>> y = fake_quantize(x, qp)
    >>> y.data.tolist()
    [0.5, 1.0, 1.0, 1.0]
    >>> y.sum().backward(); x.grad.tolist()
    [1.0, 1.0, 1.0, 0.0]
    """
    if isinstance(x, Tensor) and isinstance(qp, QParams):
        if surrogate not in SURROGATES:
            raise ValueError(f"surrogate must be one of {', '.join(map(repr, SURROGATES))}, got {surrogate!r}.")
        return FakeQuantize.apply(x, qp=qp, rounding=rounding, rng=rng, surrogate=surrogate)
    return dequantize(quantize(np.asarray(x), qp, rounding=rounding, rng=rng), qp)
