"""What a code means: real = scale * (code - zero_point).

A quantizer is two numbers. The *scale* is the size of one step in the units of the signal; the
*zero point* is the code that stands for the real number 0, and it is a whole number so that 0 is
always exact: padding, ReLU and a dead neuron all produce it.

With this module one can hold those numbers (`QParams`) and choose them from a range (`choose_qparams`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tinyquant.numerics.whole import whole_number

__all__ = ["QParams", "choose_qparams"]

_FLOAT32 = np.finfo(np.float32)
_SMALLEST_SCALE = float(_FLOAT32.smallest_normal)


@dataclass(frozen=True, eq=False, init=False)
class QParams:
    """The affine map between reals and codes: real = scale * (code - zero_point). Frozen and checked.

    Parameters
    ----------
    scale : float or 1-D array of float
        Size of one step, in the units of the signal; positive and finite. Kept as float64. One number
        for the whole tensor, or one a channel along `axis`.
    zero_point : int or 1-D array of int
        The code of real 0, within [qmin, qmax]. A single number serves all channels.
    qmin, qmax : int, default -128 and 127
        The smallest and the largest code, both included; at most 16 bits wide (32 for the bias grid).
    axis : int, optional
        The channel axis that a 1-D scale runs along; must be given exactly when the scale is 1-D.

    Raises
    ------
    ValueError, TypeError
        Any of the above does not hold; the message says which value and how to mend it.

    Notes
    -----
    In PyTorch this is (scale, zero_point, quant_min, quant_max, axis); in a .tflite file it is
    QuantizationParameters, where the scale is stored as float32.

    References
    ----------
    Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", section 2.1, equation 1.

    Examples
    --------
    >>> qp = QParams(scale=0.5, zero_point=3)
    >>> qp.dtype.name, qp.levels, qp.rmin, qp.rmax
    ('int8', 256, -65.5, 62.0)
    >>> QParams(scale=[0.5, 0.25], zero_point=0, axis=0).per_axis
    True
    """

    scale: float | np.ndarray
    zero_point: int | np.ndarray
    qmin: int = -128
    qmax: int = 127
    axis: int | None = None
    dtype: np.dtype = field(init=False, repr=False)
    """The narrowest integer type that holds qmin and qmax."""

    def __init__(
        self,
        scale: npt.ArrayLike,
        zero_point: npt.ArrayLike,
        qmin: int = -128,
        qmax: int = 127,
        axis: int | None = None,
    ) -> None:
        qmin, qmax = whole_number("qmin", qmin), whole_number("qmax", qmax)
        if not -(2**31) <= qmin < qmax < 2**31:
            raise ValueError(f"qmin must be below qmax and both must fit int32, got {qmin} and {qmax}. Swap or narrow them.")
        scales = _frozen(_scales(scale))
        if axis is not None:
            axis = whole_number("axis", axis)
        if scales.ndim > 1:
            raise ValueError(f"scale must be one number or 1-D, got shape {scales.shape}. Give one scale a channel.")
        if (scales.ndim == 1) != (axis is not None):
            raise ValueError(
                f"a 1-D scale and an axis go together, got scale of shape {scales.shape} and axis={axis}. "
                "Give axis= the channel axis, or one single scale."
            )
        zeros = np.asarray(zero_point)
        if zeros.dtype.kind not in "iu" and not (zeros.dtype.kind == "f" and np.all(zeros == np.trunc(zeros))):
            raise TypeError(f"zero_point must be whole numbers, got {zero_point!r}. Round it before building QParams.")
        if np.any(zeros < qmin) or np.any(zeros > qmax):
            raise ValueError(
                f"zero_point must lie in [qmin, qmax] = [{qmin}, {qmax}], got {zeros.tolist()}. "
                "Widen the range to contain 0 (choose_qparams does)."
            )
        if zeros.shape not in ((), scales.shape):
            raise ValueError(
                f"zero_point must be one number or have the scale's shape, got {zeros.shape} for {scales.shape}. "
                "Give one zero point a channel."
            )
        zeros = _frozen(np.broadcast_to(zeros, scales.shape).astype(np.int64))
        put = object.__setattr__
        put(self, "scale", scales if scales.ndim else float(scales))
        put(self, "zero_point", zeros if zeros.ndim else int(zeros))
        put(self, "qmin", qmin)
        put(self, "qmax", qmax)
        put(self, "axis", axis)
        put(self, "dtype", _narrowest(qmin, qmax))

    @property
    def per_axis(self) -> bool:
        """True when there is one scale a channel."""
        return self.axis is not None

    @property
    def levels(self) -> int:
        """How many codes there are."""
        return self.qmax - self.qmin + 1

    @property
    def rmin(self) -> float | np.ndarray:
        """The smallest real number that has a code of its own (one a channel if per axis)."""
        return self.scale * (self.qmin - self.zero_point)

    @property
    def rmax(self) -> float | np.ndarray:
        """The largest real number that has a code of its own (one a channel if per axis)."""
        return self.scale * (self.qmax - self.zero_point)

    def along(self, ndim: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero point shaped to broadcast against an array of `ndim` axes."""
        scale, zero = np.asarray(self.scale), np.asarray(self.zero_point)
        if self.axis is None:
            return scale, zero
        if not -ndim <= self.axis < ndim:
            raise ValueError(
                f"axis must be an axis of the array, got axis={self.axis} for an array of {ndim} axes. Check the QParams."
            )
        shape = [1] * ndim
        shape[self.axis] = -1
        return scale.reshape(shape), zero.reshape(shape)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QParams):
            return NotImplemented
        return (
            (self.qmin, self.qmax, self.axis) == (other.qmin, other.qmax, other.axis)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    def __hash__(self) -> int:
        return hash((np.asarray(self.scale).tobytes(), np.asarray(self.zero_point).tobytes(), self.qmin, self.qmax, self.axis))


def choose_qparams(
    rmin: npt.ArrayLike,
    rmax: npt.ArrayLike,
    *,
    bits: int = 8,
    signed: bool = True,
    symmetric: bool = False,
    narrow_range: bool = False,
    power_of_two: bool = False,
    axis: int | None = None,
) -> QParams:
    """Scale and zero point that cover [rmin, rmax], with real 0 exactly on a code.

    The range is first widened to contain 0. Then, with N = qmax - qmin steps::

        asymmetric:  scale = (rmax - rmin) / N          zero_point = round(qmin - rmin / scale)
        symmetric:   scale = max(|rmin|, |rmax|) / qmax zero_point = 0

    The zero point is taken from the exact quotient, ties away from zero; the scale is rounded to float32 once,
    at the end, because that is what a model file holds.

    Parameters
    ----------
    rmin, rmax : float, or 1-D arrays of float
        Ends of the range, in the units of the signal: finite, rmin <= rmax, at most the largest float32.
        Per channel when `axis` is given.
    bits : int
        2 to 16.
    signed : bool
        Codes in [-2**(bits-1), 2**(bits-1) - 1] if true, else [0, 2**bits - 1].
    symmetric : bool
        Zero point 0; only for signed codes.
    narrow_range : bool
        Leave out the lowest code, as TFLite does for weights: [-127, 127].
    power_of_two : bool
        Round the scale up to a power of two.
    axis : int, optional
        The channel axis, when rmin and rmax are arrays.

    Returns
    -------
    QParams
        An empty range (rmin = rmax = 0) gives scale 1.0, never a division by zero. A range so small that its
        scale would not be a normal float32 gets the smallest normal one (2**-126).

    Raises
    ------
    ValueError
        NaN or infinity (named), rmin above rmax, too large a range, bits outside 2 to 16, or symmetric unsigned.

    Notes
    -----
    In PyTorch this is `MinMaxObserver.calculate_qparams`; in TFLite the converter's `GetQuantizationParams`.
    Both work in float32 in places, which moves zero points (tensorflow/model-optimization#858).
    After the zero point is rounded, the end of the range may lie up to half a step outside the codes.

    References
    ----------
    Jacob et al. 2018, section 3, equation 13; Krishnamoorthi 2018, section 2.1 to 2.3.

    Examples
    --------
    >>> qp = choose_qparams(-1.0, 3.0)
    >>> qp.zero_point, round(qp.scale, 6)
    (-64, 0.015686)
    >>> choose_qparams(250, 1000).rmin          # widened to contain 0
    0.0
    >>> choose_qparams(-3.0, 1.0, symmetric=True, narrow_range=True, power_of_two=True).scale
    0.03125
    """
    bits = whole_number("bits", bits)
    if not 2 <= bits <= 16:
        raise ValueError(f"bits must be between 2 and 16, got {bits}. Use float for anything wider.")
    if symmetric and not signed:
        raise ValueError("symmetric must go with signed codes, got signed=False. Use signed=True, or symmetric=False.")
    low, high = _range_ends(rmin, rmax, axis)
    qmin, qmax = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    qmin += bool(narrow_range)
    if symmetric:
        wide = np.maximum(np.abs(low), np.abs(high)) / qmax
    else:
        wide = (high - low) / (qmax - qmin)
    # low <= 0 <= high by now, so low == high means that both are 0.
    wide = np.where(low == high, 1.0, np.maximum(wide, _SMALLEST_SCALE))
    if power_of_two:
        mantissa, exponent = np.frexp(wide)
        wide = np.ldexp(1.0, np.where(mantissa == 0.5, exponent - 1, exponent))
        if np.any(wide > float(_FLOAT32.max)):
            raise ValueError(f"the power-of-two scale must fit float32, got {wide.max():g}. Use power_of_two=False.")
    zero: int | np.ndarray = 0
    if not symmetric:
        moved = power_of_two | (wide == _SMALLEST_SCALE)
        channels = zip(low.flat, high.flat, np.where(moved, wide, 0.0).flat, strict=True)
        zeros = [_exact_zero_point(lo, hi, step, qmin, qmax) for lo, hi, step in channels]
        zero = np.array(zeros, dtype=np.int64).reshape(wide.shape)
    scale = wide.astype(np.float32).astype(np.float64)
    return QParams(scale, zero, qmin, qmax, axis)


def _exact_zero_point(low: float, high: float, scale: float, qmin: int, qmax: int) -> int:
    """round(qmin - low / scale), half away, in exact rationals, kept inside the codes; scale 0 means (high - low) / steps."""
    if low == high:
        return max(0, qmin)
    # Rationals, because [-1, 1] puts the quotient exactly on the tie 127.5 and floats miss it on some ranges.
    step = Fraction(scale) if scale else (Fraction(high) - Fraction(low)) / (qmax - qmin)
    exact = qmin - Fraction(low) / step
    magnitude = math.floor(abs(exact) + Fraction(1, 2))
    return min(max(magnitude if exact >= 0 else -magnitude, qmin), qmax)


def _range_ends(rmin: npt.ArrayLike, rmax: npt.ArrayLike, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The ends as float64 arrays, checked and widened to contain 0."""
    ends = []
    for name, value in (("rmin", rmin), ("rmax", rmax)):
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{name} must be a real number, got {value!r}. Pass the end of the range as a float.")
        array = array.astype(np.float64)
        if np.isnan(array).any():
            raise ValueError(f"{name} must be finite, got NaN. Look for it in the data that gave this range.")
        if np.isinf(array).any():
            raise ValueError(f"{name} must be finite, got infinity. Look for it in the data that gave this range.")
        if np.any(np.abs(array) > float(_FLOAT32.max)):
            raise ValueError(f"{name} must be within float32 (3.4e38), got {np.abs(array).max():g}. Rescale the signal.")
        if (array.ndim == 1) != (axis is not None):
            raise ValueError(
                f"{name} must be one number without axis and 1-D with axis, got shape {array.shape} and axis={axis}. "
                "Give axis= the channel axis, or one single range."
            )
        ends.append(array)
    low, high = ends
    if low.shape != high.shape:
        raise ValueError(f"rmin and rmax must have one shape, got {low.shape} and {high.shape}. Give both ends of each channel.")
    if np.any(low > high):
        raise ValueError(f"rmin must not be above rmax, got rmin={low.tolist()}, rmax={high.tolist()}. Swap them.")
    return np.minimum(low, 0.0), np.maximum(high, 0.0)


def _scales(scale: npt.ArrayLike) -> np.ndarray:
    """The scale as float64, refused unless positive and finite."""
    values = np.asarray(scale)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"scale must be a real number, got {scale!r}. Build it with choose_qparams.")
    values = values.astype(np.float64)
    if not np.all(np.isfinite(values)) or np.any(values <= 0):
        raise ValueError(f"scale must be positive and finite, got {values.tolist()}. Build it with choose_qparams.")
    return values


def _frozen(array: np.ndarray) -> np.ndarray:
    """The same array, read-only from now on."""
    array.flags.writeable = False
    return array


def _narrowest(qmin: int, qmax: int) -> np.dtype:
    """The narrowest integer dtype holding both ends; signed unless qmin >= 0."""
    kinds = ("uint8", "uint16", "uint32") if qmin >= 0 else ("int8", "int16", "int32")
    for kind in kinds:
        if np.iinfo(kind).min <= qmin and qmax <= np.iinfo(kind).max:
            return np.dtype(kind)
    raise AssertionError("checked above")

