"""The two directions of the affine map: real -> code (lossy) and code -> real (exact).

Order matters. The quotient is rounded first and the zero point added after, so that which way a tie
goes does not depend on whether the zero point is odd; the clip happens while the numbers are wide;
the cast comes last.

With this module one can turn arrays into integer codes (`quantize`) and back (`dequantize`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyquant.numerics.qparams import QParams
from tinyquant.numerics.rounding import round_to_int, saturate

__all__ = ["dequantize", "quantize", "round_quotient"]


def quantize(
    x: npt.ArrayLike, qp: QParams, *, rounding: str = "half_away", rng: np.random.Generator | None = None
) -> np.ndarray:
    """Integer codes of real numbers: clip(round(x / scale) + zero_point, qmin, qmax).

    The one door from reals to codes: model inputs, the QUANTIZE operator, weights and tests all come through here.

    Parameters
    ----------
    x : array_like of real numbers, any shape
        In the units of the signal; finite. float32 is divided in float32 (what TFLite's QUANTIZE does);
        float64 and integers are divided in float64.
    qp : QParams
    rounding : str
        A name from `ROUNDING_MODES`.
    rng : numpy.random.Generator, optional
        For ``rounding="stochastic"``.

    Returns
    -------
    ndarray of x's shape and of `qp.dtype`, the narrowest integer type that holds [qmin, qmax].

    Raises
    ------
    ValueError
        x holds NaN or infinity (named, with its index), an unknown rounding, a per-axis qp that does not fit x's shape,
        or a scale that float32 cannot hold while x is float32.
    TypeError
        x is not real numbers, or qp is not a QParams.

    Notes
    -----
    Inside [qp.rmin, qp.rmax] the round trip errs by at most half a step; outside, it saturates.
    In PyTorch this is `quantize_per_tensor`, which differs on ties: it rounds half to even, after adding the
    zero point. In TFLite it is the QUANTIZE operator: the same bytes.

    References
    ----------
    Jacob et al. 2018, section 2.1; TFLite `kernels/internal/reference/quantize.h`.

    Examples
    --------
    >>> qp = QParams(scale=0.5, zero_point=3)
    >>> quantize([-1.0, 0.0, 0.25, 0.74, 1000.0], qp).tolist()
    [1, 3, 4, 4, 127]
    """
    rounded = round_quotient(x, qp, rounding=rounding, rng=rng)
    _, zero = _along(qp, rounded)
    # Codes of 16 bits leave float32 room: below 2**23 the sum is exact, and from there on it saturates however it rounds.
    if qp.dtype.itemsize > 2:
        rounded = rounded.astype(np.float64, copy=False)
    return saturate(rounded + zero.astype(rounded.dtype), qp.qmin, qp.qmax, qp.dtype)


def round_quotient(
    x: npt.ArrayLike, qp: QParams, *, rounding: str = "half_away", rng: np.random.Generator | None = None
) -> np.ndarray:
    """round(x / scale) before zero point and clip, as floats of x's width: what decides saturation and the STE mask.

    Takes and refuses the same things as `quantize`.

    Examples
    --------
    >>> round_quotient([0.25, -0.25, 9.0], QParams(0.5, 0)).tolist()
    [1.0, -1.0, 18.0]
    """
    if not isinstance(qp, QParams):
        raise TypeError(f"qp must be a QParams, got {type(qp).__name__}. Build one with choose_qparams(rmin, rmax).")
    values = np.asarray(x)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"x must hold real numbers, got dtype {values.dtype}. Convert it to float32 or float64 first.")
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    _refuse_not_finite(values)
    scale, _ = _along(qp, values)
    # A quotient may overflow float32 to infinity; it saturates all the same.
    with np.errstate(over="ignore"):
        divisor = scale.astype(values.dtype)
        if not (divisor.all() and np.isfinite(divisor).all()):
            raise ValueError(f"scale must be within float32 for float32 x, got {qp.scale}. Pass x as float64.")
        quotient = values / divisor
    return round_to_int(quotient, rounding, rng)


def dequantize(codes: npt.ArrayLike, qp: QParams) -> np.ndarray:
    """The real number each code stands for: scale * (code - zero_point), as float32.

    Parameters
    ----------
    codes : array_like of integers, any shape
        At most 2**53 in magnitude; those a quantizer makes lie in [qmin, qmax].
    qp : QParams

    Returns
    -------
    float32 ndarray of the same shape, in the units of the signal.

    Raises
    ------
    TypeError
        The codes are not integers, or qp is not a QParams.
    ValueError
        A per-axis qp does not fit the shape of the codes.

    Notes
    -----
    The float64 product, exact for a float32 scale, is rounded to float32 once (infinity where too large). In TFLite this is
    DEQUANTIZE, the same bytes.

    Examples
    --------
    >>> dequantize([1, 3, 4], QParams(scale=0.5, zero_point=3)).tolist()
    [-1.0, 0.0, 0.5]
    """
    if not isinstance(qp, QParams):
        raise TypeError(f"qp must be a QParams, got {type(qp).__name__}. Build one with choose_qparams(rmin, rmax).")
    values = np.asarray(codes)
    if values.dtype.kind not in "iu":
        raise TypeError(f"codes must be integers, got dtype {values.dtype}. Pass what quantize returned.")
    scale, zero = _along(qp, values)
    # A float32 scale times at most 17 bits: float32 rounds that exact product once, as float64 followed by a cast would.
    small = values.dtype.itemsize <= 2 and qp.dtype.itemsize <= 2
    with np.errstate(over="ignore"):
        work = np.float32 if small and np.array_equal(scale.astype(np.float32), scale) else np.float64
        steps = values.astype(work) - zero.astype(work)
        return np.asarray((steps * scale.astype(work)).astype(np.float32, copy=False))


def _along(qp: QParams, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`qp.along` for this array, refused when the array has another number of channels."""
    scale, zero = qp.along(values.ndim)
    if qp.axis is not None and values.shape[qp.axis] != scale.size:
        raise ValueError(
            f"the array must have {scale.size} cells along axis {qp.axis}, one a scale, got shape {values.shape}. "
            "Check the axis of the QParams."
        )
    return scale, zero


def _refuse_not_finite(values: np.ndarray) -> None:
    """Raise for NaN or infinity, naming the first."""
    if np.isfinite(values).all():
        return
    where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
    value = values[where]
    name = "NaN" if np.isnan(value) else "infinity" if value > 0 else "-infinity"
    raise ValueError(f"x must be finite, got {name} at index {where}. Replace or drop it before quantizing.")
