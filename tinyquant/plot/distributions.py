"""What quantization does to a whole tensor: a smooth histogram becomes a comb, and where to cut its tails is a trade.

With this module one can draw both: `histogram_to_comb` and `calibration_tradeoff`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams, choose_qparams

from .style import (
    FLOAT_COLOR,
    GREY,
    INK,
    INTEGER_COLOR,
    QUANTIZED_COLOR,
    canvas,
    finish,
    heading,
    in_house_style,
)

__all__ = ["calibration_tradeoff", "histogram_to_comb"]

BINS = 120


def _values(x: npt.ArrayLike) -> np.ndarray:
    """Finite numbers, flat."""
    values = np.asarray(x, np.float64).ravel()
    if values.size < 2 or not np.all(np.isfinite(values)) or np.ptp(values) == 0:
        raise ValueError(
            f"x must hold finite numbers, at least two different ones, got {values.size} of them. Pass a whole tensor."
        )
    return values


def histogram_to_comb(
    x: npt.ArrayLike,
    qp: QParams,
    *,
    name: str = "the tensor",
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw how often each value occurs, before and after quantization, on one axis.

    Parameters
    ----------
    x : array of float
        A whole tensor.
    qp : QParams
        Of the whole tensor; below 6 bits the teeth of the comb can be counted.
    name : str
        Of the tensor, for the axis.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure
        Axes: before, after.

    Raises
    ------
    TypeError, ValueError
        qp is no QParams or has a scale a channel; x is empty, constant or not finite.

    Examples
    --------
    >>> len(histogram_to_comb(np.linspace(-1, 1, 50), choose_qparams(-1, 1, bits=3)).axes)
    2
    """
    values = _values(x)
    if not isinstance(qp, QParams):
        raise TypeError(
            f"qp must be a QParams, got {type(qp).__name__}. Build one with choose_qparams(rmin, rmax)."
        )
    if qp.per_axis:
        raise ValueError(
            f"qp must have one scale, got one a channel along axis {qp.axis}. Draw one channel at a time."
        )
    codes = quantize(values, qp)
    used, counts = np.unique(codes, return_counts=True)
    with in_house_style():
        figure = canvas(fig)
        total = f"{values.size:,} numbers"
        heading(
            figure,
            title or f"{total} become {used.size} codes",
            f"Every number moves to its nearest code, {qp.scale:.3g} apart.",
        )
        top, low = figure.subplots(2, 1, sharex=True)
        figure.subplots_adjust(left=0.125, right=0.97, top=0.82, bottom=0.135, hspace=0.22)
        top.hist(values, bins=BINS, color=FLOAT_COLOR)
        top.set_ylabel("before:\nhow many")
        low.vlines(
            dequantize(used, qp), 0, counts, color=QUANTIZED_COLOR, linewidth=4 if qp.levels <= 64 else 1.2
        )
        low.set_ylim(0, counts.max() * 1.2)
        low.set_ylabel("after:\nhow many")
        if used.size <= 17:
            for code, count in zip(used, counts, strict=True):
                place = float(dequantize(np.array([code]), qp)[0])
                low.annotate(
                    str(int(code)),
                    (place, count),
                    (0, 3),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    weight="bold",
                )
        low.set_xlabel(f"value of {name}" + " (codes above the teeth)" * (used.size <= 17))
        return finish(figure, alt=alt or _comb_in_words(values, qp, used, counts, name), save=save)


def _comb_in_words(values: np.ndarray, qp: QParams, used: np.ndarray, counts: np.ndarray, name: str) -> str:
    """The alternative text."""
    often = int(np.argmax(counts))
    return (
        f"Two histograms of {name}. Above, {values.size} numbers from {values.min():.3g} to {values.max():.3g}, smooth. "
        f"Below, the same after quantization to {qp.levels} codes, step {qp.scale:.3g}: a comb of {used.size} teeth, the highest "
        f"at code {int(used[often])} with {int(counts[often])} numbers."
    )


@dataclass(frozen=True)
class _Cut:
    """The mean squared error of one clipping threshold, in two parts."""

    threshold: float
    rounding: float
    clipping: float

    @property
    def total(self) -> float:
        return self.rounding + self.clipping


def calibration_tradeoff(
    x: npt.ArrayLike,
    bits: int = 4,
    *,
    percentile: float = 99.9,
    name: str = "the tensor",
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw the mean squared error against the threshold at which the range is cut, and three ways to choose it.

    A low threshold clips the tails, a high one makes every step wider. The ranges are symmetric, [-threshold, threshold],
    for signed numbers, and [0, threshold] where no number is negative.

    Parameters
    ----------
    x : array of float
        A whole tensor.
    bits : int, 2 to 16
    percentile : float in (0, 100)
        Of the magnitudes, the choice marked beside min-max and the least error.
    name : str
        Of the tensor.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        x is empty, constant or not finite; percentile is out of its range.

    References
    ----------
    Migacz 2017, "8-bit inference with TensorRT"; Wu et al. 2020, section 4.

    Examples
    --------
    >>> fig = calibration_tradeoff(np.linspace(-1, 1, 99), 3)
    >>> [line.get_label() for line in fig.axes[0].lines[:3]]
    ['total', 'clipping', 'rounding']
    """
    values = _values(x)
    if not 0 < percentile < 100:
        raise ValueError(f"percentile must lie between 0 and 100, got {percentile}.")
    largest = float(np.abs(values).max())
    cuts = [_cut(values, threshold, bits) for threshold in np.geomspace(0.03, 1.0, 97) * largest]
    chosen = {
        "min-max": _cut(values, largest, bits),
        f"{percentile:g} %": _cut(values, float(np.percentile(np.abs(values), percentile)), bits),
        "least error": min(cuts, key=lambda cut: cut.total),
    }
    gain = chosen["min-max"].total / chosen["least error"].total
    with in_house_style():
        figure = canvas(fig)
        heading(
            figure,
            title or f"{bits} bits: cutting the tails divides the error by {gain:.1f}",
            "Cut low: much is clipped. Cut high: every step is wide.",
        )
        ax = figure.subplots()
        figure.subplots_adjust(left=0.125, right=0.97, top=0.84, bottom=0.145)
        _draw_tradeoff(ax, cuts, chosen)
        ax.set_xlabel(f"clipping threshold (value of {name})")
        ax.set_ylabel("mean squared error")
        return finish(figure, alt=alt or _tradeoff_in_words(values, bits, chosen, name), save=save)


def _cut(values: np.ndarray, threshold: float, bits: int) -> _Cut:
    """Quantize with that range, and split the error."""
    if values.min() >= 0:
        qp = choose_qparams(0.0, threshold, bits=bits)
    else:
        qp = choose_qparams(-threshold, threshold, bits=bits, symmetric=True, narrow_range=True)
    squared = (dequantize(quantize(values, qp), qp) - values) ** 2
    beyond = (values > qp.rmax) | (values < qp.rmin)
    return _Cut(
        threshold, float(squared[~beyond].sum() / values.size), float(squared[beyond].sum() / values.size)
    )


def _draw_tradeoff(ax: Axes, cuts: list[_Cut], chosen: dict[str, _Cut]) -> None:
    """Two parts and their sum on a logarithmic axis, and the choices as marks."""
    at = [cut.threshold for cut in cuts]
    ax.plot(at, [cut.total for cut in cuts], color=INK, linewidth=3.2, label="total")
    for part, color, dash in (("clipping", QUANTIZED_COLOR, "--"), ("rounding", INTEGER_COLOR, "-.")):
        ax.plot(
            at,
            [getattr(cut, part) or np.nan for cut in cuts],
            color=color,
            linestyle=dash,
            linewidth=2.4,
            label=part,
        )
    ax.set_yscale("log")
    most, least = max(cut.total for cut in cuts), min(cut.total for cut in cuts)
    ax.set_ylim(least / 12, most * 3)
    for (name, cut), mark in zip(chosen.items(), ("s", "^", "o"), strict=True):
        ax.plot(
            [cut.threshold],
            [cut.total],
            marker=mark,
            markersize=13,
            color=FLOAT_COLOR,
            markeredgecolor="white",
            zorder=6,
        )
        shift = {"min-max": (-10, 26), "least error": (-24, 40)}.get(name, (6, -42))
        ax.annotate(
            name, (cut.threshold, cut.total), shift, textcoords="offset points", weight="bold", color=FLOAT_COLOR,
            ha="right" if name == "min-max" else "center",
            arrowprops={"arrowstyle": "-", "color": GREY, "shrinkB": 6},
        )  # fmt: skip
    ax.legend(loc="lower left")


def _tradeoff_in_words(values: np.ndarray, bits: int, chosen: dict[str, _Cut], name: str) -> str:
    """The alternative text."""
    said = ", ".join(f"{key} at {cut.threshold:.3g} gives {cut.total:.3g}" for key, cut in chosen.items())
    best = chosen["least error"]
    return (
        f"Mean squared error of {name} ({values.size} numbers) at {bits} bits against the clipping threshold: clipping falls, "
        f"rounding grows, their sum has a valley. {said}; at the valley rounding is "
        f"{best.rounding:.3g} and clipping {best.clipping:.3g}."
    )
