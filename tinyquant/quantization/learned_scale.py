"""Learned quantizers: the scale is a parameter, trained with the weights.

How does y = s * clip(round(x/s), -Qn, Qp) change with s? Where x is clipped, y is s times a constant. Inside, the
rounding is passed straight through, and what is left is the distance between x and its code::

    dy/ds = -Qn where x/s <= -Qn;   round(x/s) - x/s inside;   Qp where x/s >= Qp          (LSQ)
    dy/ds =  0 inside, else the same                                                       (PACT)
    dy/dz = -s where the code is clipped, else 0                                           (LSQ+)
    dy/dx =  1 inside, else 0

With a zero point z, read x/s + z for x/s, and qmin and qmax for the ends. A whole tensor pulls on the one number s,
so LSQ shrinks its gradient by 1/sqrt(N * Qp), N the numbers that share s (of an activation: in one example).

A scale must stay positive, and a plain parameter need not: one large step makes it negative, and the network is lost
(ZouJiu1/LSQplus#12). So what is trained is the *logarithm* of the ratio to the starting scale, s = s0 * exp(t): every
step multiplies, never crosses 0, and moves a scale of 0.001 by the same percentage as one of 10. That suits Adam, whose
steps are all of one size; but dL/dt = s * dL/ds, so it also tames SGD where LSQ would be wild. To see LSQ's own step,
train t in the units of s itself::

    s = s0 * (1 + t/s0) upwards (t >= 0),   s0 * exp(t/s0) downwards

Its gradient at the start, and everywhere above it, is dL/ds itself, and it is positive all the same. Either way s is s0
to the last bit at t = 0, and it is computed in float32, so that it is exactly a number that a model file can hold.

With this module one can quantize with learned numbers (`learned_fake_quantize`), and hold them (`LearnedScale`).
"""

from __future__ import annotations

import numpy as np

from tinyquant import autograd as F
from tinyquant.autograd import Tensor, straight_through
from tinyquant.nn import Module, Parameter
from tinyquant.numerics.affine import round_quotient
from tinyquant.numerics.qparams import QParams
from tinyquant.numerics.rounding import round_to_int
from tinyquant.quantization.fake_quant import FakeQuantize
from tinyquant.quantization.training_rules import SCALE_PARAMETERS

__all__ = ["LearnedFakeQuantize", "LearnedScale", "learned_fake_quantize", "lsq_gradient_scale"]

_SMALLEST = np.finfo(np.float32).smallest_normal


class LearnedFakeQuantize(FakeQuantize):
    """y = dequantize(quantize(x)) of (x, scale, zero point); the gradients are in the module header."""

    name = "learned_fake_quantize"

    def forward(self, *arrays: np.ndarray) -> np.ndarray:
        self.x = arrays[0]
        y = super().forward(arrays[0])
        self.codes = None
        if self.settings["rounding"] == "stochastic":
            # Chance cannot be asked again: the codes that were drawn are read off what was made of them.
            scale, zero = self.settings["qp"].along(y.ndim)
            self.codes = round_to_int(y / scale, "half_even") + zero
        return y

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        qp: QParams = self.settings["qp"]
        scale, zero = qp.along(dy.ndim)
        steps = self.x / scale.astype(self.x.dtype)
        below, above = steps + zero <= qp.qmin, steps + zero >= qp.qmax
        dx = np.where(below | above, 0, dy).astype(dy.dtype, copy=False)
        slope = np.where(below, qp.qmin - zero, np.where(above, qp.qmax - zero, 0.0))
        if self.settings["inner"]:
            if self.codes is None:
                rounded = round_quotient(self.x, qp, rounding=self.settings["rounding"])
            else:
                rounded = self.codes - zero
            slope = np.where(below | above, slope, rounded - steps)
        # A number that is exactly an end is not clipped: real 0 after a ReLU must not pull on the zero point.
        clipped = (steps + zero < qp.qmin) | (steps + zero > qp.qmax)
        g = self.settings["gradient_scale"]
        ds = g * self._summed(dy * slope)
        dz = g * self._summed(np.where(clipped, -scale * dy, 0.0))
        return dx, ds.astype(self.x.dtype), dz.astype(self.x.dtype)

    def _summed(self, values: np.ndarray) -> np.ndarray:
        """Over everything that shares one scale."""
        axis = self.settings["qp"].axis
        if axis is None:
            return np.asarray(values.sum())
        return values.sum(axis=tuple(a for a in range(values.ndim) if a != axis % values.ndim))


def learned_fake_quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    *,
    qmin: int = -128,
    qmax: int = 127,
    axis: int | None = None,
    rounding: str = "half_away",
    rng: np.random.Generator | None = None,
    gradient_scale: float = 1.0,
    inner: bool = True,
) -> Tensor:
    """Fake-quantize with a scale, and perhaps a zero point, that receive gradients.

    The value is `fake_quantize`'s, bit for bit, with the zero point rounded and kept within [qmin, qmax].

    Parameters
    ----------
    x : Tensor, any shape
    scale : Tensor, one number, or (channels,) with `axis`
        Positive.
    zero_point : Tensor of the scale's shape, or None for 0
    qmin, qmax : int
    axis : int, optional
        The channel axis.
    rounding, rng
        As for `quantize`.
    gradient_scale : float
        What the gradients of scale and zero point are multiplied by; `lsq_gradient_scale` gives LSQ's.
    inner : bool
        True: LSQ. False: PACT, where only clipped numbers pull on the scale.

    Returns
    -------
    Tensor
        dx is 1 strictly between the ends (in x/s + z, not in rounded codes), else 0: equation 5 of LSQ, half a step
        stricter than `fake_quantize`.

    Raises
    ------
    ValueError, TypeError
        As `fake_quantize` and `QParams`: a scale that is not positive.

    Notes
    -----
    In PyTorch: `torch._fake_quantize_learnable_per_tensor_affine`.

    References
    ----------
    Esser et al. 2020 (LSQ), equations 3 and 5 and section 2.2; Bhalgat et al. 2020 (LSQ+); Choi et al. 2018 (PACT), eq. 2.

    Examples
    --------
    >>> x = Tensor([0.25, 0.75, 9.0], requires_grad=True)
    >>> s = Tensor(1.0, requires_grad=True)
    >>> learned_fake_quantize(x, s, qmin=-2, qmax=1).data.tolist()
    [0.0, 1.0, 1.0]
    >>> learned_fake_quantize(x, s, qmin=-2, qmax=1).sum().backward()
    >>> x.grad.tolist(), s.grad.tolist()                   # -0.25 + 0.25 + 1
    ([1.0, 1.0, 0.0], 1.0)
    """
    zero = Tensor(np.zeros_like(scale.data)) if zero_point is None else zero_point
    whole = np.clip(round_to_int(zero.data, "half_away"), qmin, qmax)
    qp = QParams(scale.data, whole, qmin, qmax, axis)
    return LearnedFakeQuantize.apply(
        x, scale, zero, qp=qp, rounding=rounding, rng=rng, surrogate="clipped", gradient_scale=gradient_scale, inner=inner
    )


def lsq_gradient_scale(count: int, qp: QParams) -> float:
    """1 / sqrt(N * Qp): N numbers share the scale, Qp is the largest magnitude of a code, seen from the zero point.

    >>> lsq_gradient_scale(100, QParams(1.0, -128)) == 1 / (100 * 255) ** 0.5
    True
    """
    reach = max(qp.qmax - int(np.min(qp.zero_point)), int(np.max(qp.zero_point)) - qp.qmin)
    if qp.qmin + qp.qmax in (-1, 0) and not np.any(qp.zero_point):
        reach = qp.qmax
    return float(1.0 / np.sqrt(max(count, 1) * reach))


class LearnedScale(Module):
    """The numbers that training moves: scale = start * f(stretch), zero point = start + levels * shift.

    Both begin at 0, so that an untrained quantizer is exactly the one it started from. The shift is a fraction of the
    range, so that one learning rate serves both.

    Parameters
    ----------
    start : QParams
        From calibration, or of the weights as they are.
    learn_zero_point : bool
        Only where 0 lies inside the range: a range that ends at 0, as after a ReLU, keeps its end.
    inner : bool
        See `learned_fake_quantize`.
    gradient_scale : bool
        Whether LSQ's gradient scale is applied.
    parameter : str
        "log": f = exp. "step": the stretch is in units of the scale; see the module header.

    Examples
    --------
    >>> learned = LearnedScale(QParams(0.5, 3))
    >>> learned.stretch.data[...] = -20.0
    >>> learned.qparams.scale > 0, learned.qparams.zero_point
    (True, 3)
    """

    start_scale: np.ndarray
    start_zero: np.ndarray

    def __init__(
        self, start: QParams, *, learn_zero_point: bool = False, inner: bool = True, gradient_scale: bool = True,
        parameter: str = "log",
    ) -> None:  # fmt: skip
        if parameter not in SCALE_PARAMETERS:
            raise ValueError(f"parameter must be one of {', '.join(map(repr, SCALE_PARAMETERS))}, got {parameter!r}.")
        self.register_buffer("start_scale", np.array(start.scale, np.float64))
        self.register_buffer("start_zero", np.array(start.zero_point, np.int64))
        self.ends = (start.qmin, start.qmax, start.axis)
        self.inner = inner
        self.gradient_scale = gradient_scale
        self.parameter = parameter
        self.stretch = Parameter(np.zeros(np.shape(start.scale), np.float32))
        inside = bool(np.all((np.asarray(start.zero_point) > start.qmin) & (np.asarray(start.zero_point) < start.qmax)))
        self.shift: Parameter | None = None
        if learn_zero_point and inside:
            self.shift = Parameter(np.zeros(np.shape(start.zero_point), np.float32))

    @property
    def qparams(self) -> QParams:
        """The quantizer as the parameters are now; its scale is a float32."""
        zero = np.clip(round_to_int(self._zero().data, "half_away"), *self.ends[:2])
        return QParams(self._scale().data, zero, *self.ends)

    def fake_quantize(
        self,
        x: Tensor,
        *,
        count: int,
        qparams: QParams | None = None,
        rounding: str = "half_away",
        rng: np.random.Generator | None = None,
    ) -> Tensor:
        """`learned_fake_quantize` of x with these numbers.

        Parameters
        ----------
        count : int
            How many numbers share one scale.
        qparams : QParams, optional
            What to quantize with where it must differ from `qparams` (a floor under the scale, a power of two): the
            gradient then takes the learned scale for it.
        """
        shown, own = qparams or self.qparams, self.qparams
        scale = self._scale()
        if not np.array_equal(shown.scale, own.scale):
            scale = straight_through(scale, np.asarray(shown.scale))
        return learned_fake_quantize(
            x, scale, self._zero(), qmin=own.qmin, qmax=own.qmax, axis=own.axis, rounding=rounding, rng=rng, inner=self.inner,
            gradient_scale=lsq_gradient_scale(count, own) if self.gradient_scale and self.inner else 1.0,
        )  # fmt: skip

    def _scale(self) -> Tensor:
        start = Tensor(self.start_scale.astype(np.float32))
        if self.parameter == "log":
            scale = start * F.exp(self.stretch)
        else:
            u = self.stretch / start
            up = F.relu(u)
            # At u = 0, where ReLU passes nothing, the exponential has slope 1.
            scale = start * (F.exp(u - up) + up)
        # exp reaches 0 where float32 ends.
        return scale if scale.data.min() >= _SMALLEST else straight_through(scale, np.maximum(scale.data, _SMALLEST))

    def _zero(self) -> Tensor:
        start = Tensor(self.start_zero.astype(np.float32))
        if self.shift is None:
            return start
        qmin, qmax, _ = self.ends
        zero = start + self.shift * float(qmax - qmin + 1)
        # Where 0 lay inside the range it stays inside, or the zero point could not find its way back.
        return straight_through(zero, np.clip(zero.data, qmin + 1, qmax - 1))
