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
        x holds NaN or infinity (named, with its index), or an unknown rounding.
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
    _, zero = qp.along(rounded.ndim)
    # float32 holds whole numbers exactly only up to 2**24: bring the quotient near the codes before adding.
    wide = rounded.clip(float(qp.qmin) - 2.0**31, float(qp.qmax) + 2.0**31).astype(np.float64)
    return saturate(wide + zero, qp.qmin, qp.qmax, qp.dtype)


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
        raise TypeError(f"x must hold real numbers, got dtype {values.dtype}.")
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    _refuse_not_finite(values)
    scale, _ = qp.along(values.ndim)
    # A quotient may overflow float32 to infinity; it saturates all the same.
    with np.errstate(over="ignore"):
        quotient = values / scale.astype(values.dtype)
    return round_to_int(quotient, rounding, rng)


def dequantize(codes: npt.ArrayLike, qp: QParams) -> np.ndarray:
    """The real number each code stands for: scale * (code - zero_point), as float32.

    Parameters
    ----------
    codes : array_like of integers, any shape
        Any integers; those a quantizer makes lie in [qmin, qmax].
    qp : QParams

    Returns
    -------
    float32 ndarray of the same shape, in the units of the signal.

    Raises
    ------
    TypeError
        The codes are not integers, or qp is not a QParams.

    Notes
    -----
    The product is formed in float64 and rounded to float32 once. In TFLite this is DEQUANTIZE, the same bytes.

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
    scale, zero = qp.along(values.ndim)
    return (scale * (values.astype(np.int64) - zero)).astype(np.float32)


def _refuse_not_finite(values: np.ndarray) -> None:
    """Raise for NaN or infinity, naming the first."""
    # min and max both propagate NaN: two passes without a temporary, against three with isfinite().all().
    if values.size == 0 or np.isfinite(values.min()) and np.isfinite(values.max()):
        return
    where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
    value = values[where]
    name = "NaN" if np.isnan(value) else "infinity" if value > 0 else "-infinity"
    raise ValueError(f"x must be finite, got {name} at index {where}. Replace or drop it before quantizing.")
