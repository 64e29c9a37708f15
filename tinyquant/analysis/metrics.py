"""How far one array of reals is from another: in decibels, in real units, in steps.

    SQNR = 10 log10( sum x**2 / sum (y - x)**2 ) dB         6.02 dB more for every bit
    RMSE / (step / sqrt(12))                                1 for an error spread evenly over half a step to either side

The second number is the sharper one: it is 1 when a node adds nothing to the rounding of its output, whatever the
signal's size, and grows with what comes from elsewhere.

With this module one can measure a value against a reference, in total and per channel (`Metrics`, `measure`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from tinyquant.numerics.qparams import QParams

__all__ = ["Metrics", "measure", "sqnr_db"]


@dataclass(frozen=True)
class Metrics:
    """One value against its reference. None where something does not apply (no codes, no mask).

    Attributes
    ----------
    sqnr_db : float
        Signal to quantization-noise ratio; inf where nothing differs, -inf where the reference is all 0.
    max_error, mean_error, rmse : float
        Of |y - x|, in the units of the signal.
    bias : float
        Mean of y - x: the shift that does not average out.
    max_lsb, mean_lsb, bias_lsb : float or None
        The same in steps of the quantized side.
    rmse_ratio : float or None
        rmse over step / sqrt(12).
    saturated : float or None
        Percent of codes at qmin or qmax, the code of real 0 left out (a ReLU puts values there on purpose).
    dead : float or None
        Percent of values where the straight-through mask is 0.
    codes_used : int or None
        Different codes that occur.
    differing : int or None
        Codes that differ, where both sides have codes of one meaning.
    """

    sqnr_db: float
    max_error: float
    mean_error: float
    rmse: float
    bias: float
    max_lsb: float | None = None
    mean_lsb: float | None = None
    bias_lsb: float | None = None
    rmse_ratio: float | None = None
    saturated: float | None = None
    dead: float | None = None
    codes_used: int | None = None
    differing: int | None = None

    def to_dict(self) -> dict[str, float | None]:
        """As what `json.dumps` takes: an infinite ratio is None."""
        return {key: value if value is None or math.isfinite(value) else None for key, value in asdict(self).items()}


def sqnr_db(reference: np.ndarray, y: np.ndarray) -> float:
    """10 log10(sum x**2 / sum (y - x)**2) in dB; inf where they are equal, -inf where only the reference is all 0.

    >>> sqnr_db(np.array([10.0]), np.array([11.0]))
    20.0
    """
    x = np.asarray(reference, np.float64)
    return float(_decibels(np.sum(np.square(x)), np.sum(np.square(np.asarray(y, np.float64) - x))))


def measure(
    reference: np.ndarray,
    y: np.ndarray,
    *,
    step: float | None = None,
    codes: np.ndarray | None = None,
    qparams: QParams | None = None,
    masked: np.ndarray | None = None,
    other_codes: np.ndarray | None = None,
    by_channel: bool = False,
) -> tuple[Metrics, ...]:
    """Measure y against a reference of its shape.

    Parameters
    ----------
    reference, y : arrays of reals, one shape, at least one element
    step : float or None
        One LSB, in the units of the signal.
    codes, qparams : the codes y stands for, and their meaning
    masked : bool array or None
        Where no gradient passes.
    other_codes : array or None
        The reference's codes, where they mean the same.
    by_channel : bool
        One `Metrics` a channel (last axis) instead of one for all.

    Returns
    -------
    tuple of Metrics, of length 1 or of the last axis

    Examples
    --------
    >>> total, = measure(np.array([1.0, 2.0]), np.array([1.25, 2.25]), step=0.5)
    >>> total.max_lsb, total.bias
    (0.5, 0.25)
    """
    if reference.shape != y.shape:
        raise ValueError(f"both must have one shape, got {reference.shape} and {y.shape}. Reshape one of them.")
    if not y.size:
        raise ValueError("there must be at least one element to measure, got none. Pass at least one row.")
    channels = y.shape[-1] if by_channel and y.ndim else 1

    def table(array: np.ndarray) -> np.ndarray:
        return np.asarray(array).reshape(-1, channels)

    x = table(reference).astype(np.float64)
    error = table(y).astype(np.float64) - x
    size = np.abs(error)
    rmse = np.sqrt(np.mean(np.square(error), axis=0))
    columns: dict[str, np.ndarray] = {
        "sqnr_db": _decibels(np.sum(np.square(x), axis=0), np.sum(np.square(error), axis=0)),
        "max_error": size.max(axis=0),
        "mean_error": size.mean(axis=0),
        "rmse": rmse,
        "bias": error.mean(axis=0),
    }
    if step is not None:
        for name in ("max", "mean"):
            columns[f"{name}_lsb"] = columns[f"{name}_error"] / step
        columns["bias_lsb"] = columns["bias"] / step
        columns["rmse_ratio"] = rmse / (step / math.sqrt(12))
    if codes is not None and qparams is not None:
        whole, zero = table(codes).astype(np.int64), int(qparams.zero_point)
        ends = ((whole == qparams.qmin) | (whole == qparams.qmax)) & (whole != zero)
        columns["saturated"] = 100 * ends.mean(axis=0)
        ordered = np.sort(whole, axis=0)
        columns["codes_used"] = 1 + (ordered[1:] != ordered[:-1]).sum(axis=0)
        if other_codes is not None:
            columns["differing"] = (whole != table(other_codes)).sum(axis=0)
    if masked is not None:
        columns["dead"] = 100 * table(masked).mean(axis=0)
    return tuple(Metrics(**{key: column[c].item() for key, column in columns.items()}) for c in range(channels))


def _decibels(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """10 log10(signal / noise), inf and -inf where one of them is 0; no noise is inf whatever the signal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * (np.log10(signal) - np.log10(noise))
    return np.where(np.equal(noise, 0), np.inf, ratio)
