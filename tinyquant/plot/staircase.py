"""What a quantizer does to any number: stairs with a flat end on either side, and the error, a sawtooth that runs away there.

Between the ends rounding errs by at most half a step. Beyond them every number becomes the last code, and nothing bounds the
error. Real 0 is always exactly a code.
With this module one can draw that for any quantizer of a whole tensor (`staircase`).
"""

from __future__ import annotations

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams

from .style import FLOAT_COLOR, INTEGER_COLOR, PALE, QUANTIZED_COLOR, canvas, finish, heading, in_house_style

__all__ = ["staircase"]

_POINTS = 4001


def staircase(
    qp: QParams,
    lo: float | None = None,
    hi: float | None = None,
    *,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw real in against real out, and the error in steps below.

    Parameters
    ----------
    qp : QParams
        Of a whole tensor; up to 32 codes can be told apart.
    lo, hi : float, optional
        The real numbers shown; by default the range of qp and a third more on either side.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure
        Axes: the stairs, the sawtooth.

    Raises
    ------
    TypeError
        qp is not a QParams.
    ValueError
        qp has a scale a channel, or lo is not below hi.

    Examples
    --------
    >>> fig = staircase(QParams(0.5, -1, -4, 3))
    >>> len(fig.axes)
    2
    """
    x = _checked_axis(qp, lo, hi)
    y = dequantize(quantize(x, qp), qp).astype(np.float64)
    error = (y - x) / float(qp.scale)
    with in_house_style():
        figure = canvas(fig)
        heading(figure, title or f"{qp.levels} codes: rounding is bounded, clipping is not")
        stairs, saw = figure.subplots(2, 1, sharex=True, height_ratios=(2.1, 1.0))
        figure.subplots_adjust(left=0.125, right=0.91, top=0.81, bottom=0.13, hspace=0.16)
        _draw_stairs(stairs, x, y, qp)
        _draw_saw(saw, x, error)
        saw.set_xlabel("real number in")
        for ax in (stairs, saw):
            ax.set_xlim(x[0], x[-1])
            _shade(ax, qp, x)
        stairs.legend(loc="upper left", bbox_to_anchor=(0.0, 1.21), ncols=2, borderaxespad=0)
        return finish(figure, alt=alt or _in_words(x, error, qp), save=save)


def _checked_axis(qp: QParams, lo: float | None, hi: float | None) -> np.ndarray:
    """The real numbers to draw."""
    if not isinstance(qp, QParams):
        raise TypeError(f"qp must be a QParams, got {type(qp).__name__}. Build one with choose_qparams(rmin, rmax).")
    if qp.per_axis:
        raise ValueError(f"qp must have one scale, got one a channel along axis {qp.axis}. Draw one channel at a time.")
    margin = max(qp.rmax - qp.rmin, float(qp.scale)) / 3
    low, high = qp.rmin - margin if lo is None else lo, qp.rmax + margin if hi is None else hi
    if not low < high:
        raise ValueError(f"lo must lie below hi, got {low:g} and {high:g}.")
    return np.linspace(low, high, _POINTS)


def _ends(qp: QParams) -> tuple[float, float]:
    """The real numbers between which rounding errs by at most half a step: half a step beyond the outer codes."""
    half = 0.5 * float(qp.scale)
    return float(qp.rmin) - half, float(qp.rmax) + half


def _shade(ax: Axes, qp: QParams, x: np.ndarray) -> None:
    """The clipped zones in pale grey, hatched."""
    low, high = _ends(qp)
    for left, right in ((x[0], low), (high, x[-1])):
        if left < right:
            ax.axvspan(left, right, facecolor="#F1F1F1", edgecolor=PALE, hatch="//", linewidth=0, zorder=-2)


def _draw_stairs(ax: Axes, x: np.ndarray, y: np.ndarray, qp: QParams) -> None:
    """The straight line, the stairs, the codes on the right, and the dot at real 0."""
    scale, zero = float(qp.scale), int(qp.zero_point)
    ax.plot(x, x, color=FLOAT_COLOR, linewidth=5.0, solid_capstyle="butt", label="real number")
    ax.plot(x, y, color=QUANTIZED_COLOR, linewidth=2.2, label="its code's real number")
    ax.set_ylabel("real number out")
    top, bottom = float(max(qp.rmax, 0) + 1.4 * scale), float(min(qp.rmin, 0) - 1.4 * scale)
    ax.set_ylim(bottom, top)
    to_code, to_value = lambda v: np.asarray(v) / scale + zero, lambda c: (np.asarray(c) - zero) * scale
    right = ax.secondary_yaxis("right", functions=(to_code, to_value))
    codes = np.arange(qp.qmin, qp.qmax + 1)
    right.set_yticks((codes if codes.size <= 8 else codes[[0, zero - qp.qmin, -1]]).tolist())
    right.tick_params(colors=QUANTIZED_COLOR, length=3)
    right.set_ylabel("code", color=QUANTIZED_COLOR)
    ax.plot([0], [0], marker="o", markersize=11, color="black", zorder=6)
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
    ax.annotate(
        f"real 0 is exactly code {zero}", (0, 0), xytext=(26, -16), textcoords="offset points", weight="bold", va="top", bbox=box,
        arrowprops={"arrowstyle": "-", "color": "black", "shrinkB": 5},
    )  # fmt: skip
    low, high = _ends(qp)
    name = {"ha": "center", "va": "center", "weight": "bold"}
    ax.text((low + high) / 2, bottom + 0.5 * scale, "rounding: at most half a step", **name)  # type: ignore[arg-type]
    # Each on the empty side of the line.
    for at, where, side in (((x[0] + low) / 2, 0.62, x[0] < low), ((high + x[-1]) / 2, 0.28, x[-1] > high)):
        if side:
            ax.text(at, bottom + where * (top - bottom), "clipping:\nno bound", bbox=box, **name)  # type: ignore[arg-type]


def _draw_saw(ax: Axes, x: np.ndarray, error: np.ndarray) -> None:
    """The error in steps, between its two lines or beyond."""
    ax.fill_between(x, error, 0.0, color=INTEGER_COLOR, alpha=0.45, linewidth=0)
    ax.plot(x, error, color=INTEGER_COLOR, linewidth=1.6)
    for bound in (-0.5, 0.5):
        ax.axhline(bound, color="black", linewidth=1.2, linestyle="--")
    reach = float(np.clip(np.abs(error).max(), 0.75, 2.0)) * 1.1
    ax.set_ylim(-reach, reach)
    ax.set_yticks([-0.5, 0.5], ["-1/2", "+1/2"])
    ax.set_ylabel("error\n(steps)")


def _in_words(x: np.ndarray, error: np.ndarray, qp: QParams) -> str:
    """The alternative text."""
    low, high = _ends(qp)
    inside = np.abs(error[(x > low) & (x < high)])
    return (
        f"Real number in against real number out, for {qp.levels} codes from {qp.qmin} to {qp.qmax} with step {qp.scale:.3g}: a "
        f"staircase from {qp.rmin:.3g} to {qp.rmax:.3g}, flat beyond. Real 0 is exactly code {int(qp.zero_point)}. Below, the "
        f"error in steps: a sawtooth of at most {inside.max(initial=0):.2f} where numbers are rounded, growing to "
        f"{np.abs(error).max():.2f} where they are clipped, between {x[0]:.3g} and {x[-1]:.3g}."
    )
