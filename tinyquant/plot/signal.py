"""The lecture's first picture: a smooth curve, the same curve on a grid of codes, and the error between the two.

Time is not sampled, only the value: the steps are as wide as the curve takes to climb one code. Each bit less makes the
steps twice as high; measured in steps the error stays where it was, within one half.
With this module one can draw that for any signal and any numbers of bits (`signal`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view

from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams, choose_qparams

from .style import FLOAT_COLOR, INTEGER_COLOR, PALE, QUANTIZED_COLOR, canvas, finish, heading, in_house_style

__all__ = ["signal"]

FEW_LEVELS = 8
"""Up to here each code gets its own tick."""

TOO_FINE = 64
"""From here on the steps vanish at the size of a panel, and a magnified inset shows them."""

_MOST_ROUNDING_ERRS = 0.51
"""In steps: one half, and a hundredth for the float32 of x. Anything more is clipping."""


@dataclass(frozen=True)
class _Panel:
    """One column of the figure: the signal at one number of bits."""

    bits: int
    qp: QParams
    decoded: np.ndarray
    error: np.ndarray
    """decoded - x, in steps."""
    sqnr: float
    """Signal power over error power, in dB."""

    @property
    def clips(self) -> bool:
        """Part of the curve lies beyond the codes."""
        return float(np.abs(self.error).max()) > _MOST_ROUNDING_ERRS


def signal(
    t: npt.ArrayLike,
    x: npt.ArrayLike,
    qp: QParams | None = None,
    bits: Sequence[int] = (8, 4, 3, 2),
    *,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw a curve, its quantized steps and the error below, one column a number of bits.

    The steps are ``dequantize(quantize(x, qp_b), qp_b)`` and the error is (steps - curve) / scale, so that in every
    column rounding errs by at most 1/2 and a clipped part stands out beyond the two dashed lines. The SQNR is
    10 log10(sum of x**2 / sum of error**2), in dB; about 6 dB a bit.

    Parameters
    ----------
    t : (N,) array of float, increasing
        Time, in any unit; N of 1000 or more makes the steps look as sharp as they are.
    x : (N,) array of float
        The curve, finite.
    qp : QParams, optional
        A quantizer of the whole tensor: its range [rmin, rmax], sign and symmetry are kept in every column, and it is
        itself the quantizer of the column that has as many codes. By default the range of x, asymmetric.
    bits : sequence of int, 2 to 16, one to four of them
        One column each, from left to right.
    fig : matplotlib Figure, optional
        An empty figure to draw in.
    title, alt : str, optional
        Otherwise written from the data.
    save : path, optional
        A .png or .svg file to write.

    Returns
    -------
    matplotlib Figure
        Axes in the order of `bits`: all the curves, then all the errors.

    Raises
    ------
    ValueError
        t and x are not two arrays of one length, t does not increase, x is not finite, or bits is empty or too long.
    TypeError
        qp is not a QParams.

    Examples
    --------
    >>> t = np.linspace(0.0, 1.0, 500)
    >>> fig = signal(t, np.sin(2 * np.pi * t), bits=(8, 3))
    >>> len(fig.axes)
    4
    """
    times, values = _checked_signal(t, x)
    panels = _panels(values, qp, bits)
    with in_house_style():
        figure = canvas(fig)
        _draw(figure, times, values, panels, title)
        return finish(figure, alt=alt or _in_words(times, values, panels), save=save)


def _checked_signal(t: npt.ArrayLike, x: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float arrays, refused unless they are one curve."""
    times, values = np.asarray(t, dtype=np.float64), np.asarray(x)
    if times.ndim != 1 or times.shape != values.shape or times.size < 2:
        raise ValueError(
            f"t and x must be 1-D and of one length, at least 2, got shapes {times.shape} and {values.shape}. "
            "Draw one channel at a time."
        )
    if not np.all(np.diff(times) > 0):
        raise ValueError(f"t must increase, got a step of {np.diff(times).min():g}. Sort t, and x with it.")
    if values.dtype.kind not in "fiu" or not np.all(np.isfinite(values)):
        raise ValueError(f"x must hold finite real numbers, got dtype {values.dtype} or NaN. Replace them before drawing.")
    return times, values if values.dtype.kind == "f" else values.astype(np.float64)


def _panels(x: np.ndarray, qp: QParams | None, bits: Sequence[int]) -> list[_Panel]:
    """The signal through the engine's own quantize and dequantize, once a number of bits."""
    if not 1 <= len(bits) <= 4:
        raise ValueError(f"bits must hold one to four numbers, got {list(bits)}. Draw two figures.")
    if qp is not None and not isinstance(qp, QParams):
        raise TypeError(f"qp must be a QParams, got {type(qp).__name__}. Build one with choose_qparams(rmin, rmax).")
    if qp is not None and qp.per_axis:
        raise ValueError(f"qp must have one scale, got one a channel along axis {qp.axis}. Draw one channel at a time.")
    panels = []
    for count in bits:
        chosen = _same_range(x, qp, count)
        decoded = dequantize(quantize(x, chosen), chosen)
        difference = decoded.astype(np.float64) - x
        power, noise = float(np.sum(np.square(x, dtype=np.float64))), float(np.sum(difference**2))
        sqnr = 10 * math.log10(power / noise) if noise else math.inf
        panels.append(_Panel(count, chosen, decoded, difference / chosen.scale, sqnr))
    return panels


def _same_range(x: np.ndarray, qp: QParams | None, bits: int) -> QParams:
    """The quantizer with so many bits that covers what qp covers."""
    if qp is None:
        return choose_qparams(float(x.min()), float(x.max()), bits=bits)
    if qp.levels in (2**bits, 2**bits - 1):
        return qp
    signed = qp.qmin < 0
    symmetric = signed and qp.zero_point == 0
    narrow = qp.qmin == -qp.qmax
    return choose_qparams(qp.rmin, qp.rmax, bits=bits, signed=signed, symmetric=symmetric, narrow_range=narrow)


def _draw(fig: Figure, t: np.ndarray, x: np.ndarray, panels: list[_Panel], title: str | None) -> None:
    """Two rows of axes: curves above, errors below, time shared by all."""
    columns = len(panels)
    rows = fig.subplots(2, columns, sharex=True, sharey="row", squeeze=False, height_ratios=(2.4, 1.0))
    # Codes of three digits take more room before their name.
    right = 0.932 if panels[-1].qp.levels <= 2 * FEW_LEVELS else 0.9
    fig.subplots_adjust(left=0.113, right=right, top=0.755, bottom=0.125, wspace=0.34, hspace=0.3)
    heading(fig, title or _title(panels), "Time is not sampled, only the value is.")
    reach = float(np.clip(max(np.abs(p.error).max() for p in panels), 0.5, 0.8)) * 1.5
    for column, panel in enumerate(panels):
        _draw_curve(rows[0, column], t, x, panel, last=column == columns - 1)
        _draw_error(rows[1, column], t, panel, reach)
    rows[0, 0].set_ylabel("value")
    rows[1, 0].set_ylabel("error\n(steps)")
    fig.supxlabel("time t", y=0.01, size="medium")
    handles, labels = rows[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="upper right", bbox_to_anchor=(0.985, 0.935), ncols=2, handlelength=1.6)


def _title(panels: list[_Panel]) -> str:
    """What the columns have in common, and what changes along them."""
    bits = [p.bits for p in panels]
    if len(bits) == 1:
        return f"One curve in {panels[0].qp.levels} codes"
    fewer_each_time = bits == sorted(set(bits), reverse=True)
    return "One curve, fewer and fewer codes" if fewer_each_time else "One curve, several numbers of codes"


def _draw_curve(ax: Axes, t: np.ndarray, x: np.ndarray, panel: _Panel, *, last: bool) -> None:
    """The curve, the steps on top of it, and the codes on the right."""
    qp = panel.qp
    scale, zero = float(qp.scale), int(qp.zero_point)
    codes = np.arange(qp.qmin, qp.qmax + 1)
    _draw_pair(ax, t, x, panel.decoded)
    ax.set_title(f"{panel.bits} bits\n", loc="left", weight="bold", size="medium")
    ax.set_title(f"{qp.levels} codes\n", loc="right", size="medium")
    ax.set_title(f"step {qp.scale:.2g}", size="medium")
    if qp.levels <= 2 * FEW_LEVELS:
        ax.hlines(dequantize(codes, qp), t[0], t[-1], color=PALE, linewidth=0.8, zorder=0)
    to_code, to_value = lambda v: np.asarray(v) / scale + zero, lambda c: (np.asarray(c) - zero) * scale
    right = ax.secondary_yaxis("right", functions=(to_code, to_value))
    shown = codes if qp.levels <= FEW_LEVELS else codes[[0, zero - qp.qmin, -1]]
    right.set_yticks(shown.tolist())
    right.tick_params(colors=QUANTIZED_COLOR, length=3)
    if last:
        right.set_ylabel("code", color=QUANTIZED_COLOR)
    if qp.levels >= TOO_FINE:
        _draw_inset(ax, t, x, panel)


def _draw_pair(ax: Axes, t: np.ndarray, x: np.ndarray, decoded: np.ndarray) -> None:
    """A wide blue line below, a thin vermillion staircase above: both are seen even where they coincide."""
    ax.plot(t, x, color=FLOAT_COLOR, linewidth=5.0, solid_capstyle="butt", label="the curve")
    ax.plot(t, decoded, color=QUANTIZED_COLOR, linewidth=1.8, drawstyle="steps-mid", label="its quantized steps")


def _draw_inset(ax: Axes, t: np.ndarray, x: np.ndarray, panel: _Panel) -> None:
    """A magnified piece of the curve, in the corner where it hides least."""
    part = _piece_with_steps(panel)
    left, low, width, height = _emptiest_corner(t, x)
    inset = ax.inset_axes((left, low, width, height), zorder=5)
    _draw_pair(inset, t[part], x[part], panel.decoded[part])
    inset.set_xlim(t[part][0], t[part][-1])
    middle = 0.5 * (float(x[part].min()) + float(x[part].max()))
    half = 0.5 * float(np.ptp(x[part])) + float(panel.qp.scale)
    inset.set_ylim(middle - half, middle + half)
    inset.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    for spine in inset.spines.values():
        spine.set_visible(True)
    ax.indicate_inset_zoom(inset, edgecolor="black", alpha=1.0)


def _piece_with_steps(panel: _Panel) -> slice:
    """A short time in which the steps climb about five codes, all one way: a staircase that can be counted."""
    count = panel.decoded.size
    steps = panel.decoded.astype(np.float64) / float(panel.qp.scale)
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(steps)))])
    beyond = np.abs(panel.error) > _MOST_ROUNDING_ERRS
    best, piece = math.inf, slice(0, count)
    # A twentieth of the time is easy to find again in the panel; a steep curve needs less of it.
    for width in (count // 20, count // 40, count // 80):
        if width < 12:
            break
        climb, height = way[width:] - way[:-width], np.abs(steps[width:] - steps[:-width])
        # Neither a turning point nor a clipped part shows a staircase.
        badness = np.abs(climb - 5.0) + (climb - height) + 1e6 * sliding_window_view(beyond, width + 1).any(axis=-1)
        start = int(np.argmin(badness))
        if badness[start] < best - 1.0:
            best, piece = float(badness[start]), slice(start, start + width + 1)
    return piece


def _emptiest_corner(t: np.ndarray, x: np.ndarray) -> tuple[float, float, float, float]:
    """(left, low, width, height) in axes units of the corner that the fewest points of the curve pass."""
    width, height = 0.44, 0.40
    across = (t - t[0]) / (t[-1] - t[0])
    up = (x - x.min()) / (float(np.ptp(x)) or 1.0)
    corners = [(left, low) for low in (0.03, 0.97 - height) for left in (0.97 - width, 0.03)]

    def hidden(corner: tuple[float, float]) -> int:
        left, low = corner
        return int(np.sum((across > left) & (across < left + width) & (up > low) & (up < low + height)))

    left, low = min(corners, key=hidden)
    return left, low, width, height


def _draw_error(ax: Axes, t: np.ndarray, panel: _Panel, reach: float) -> None:
    """The error in steps, filled from 0, between the two lines that rounding never crosses."""
    ax.fill_between(t, panel.error, 0.0, color=INTEGER_COLOR, alpha=0.45, linewidth=0, step="mid")
    ax.plot(t, panel.error, color=INTEGER_COLOR, linewidth=0.9, drawstyle="steps-mid", label="error")
    for bound in (-0.5, 0.5):
        ax.axhline(bound, color="black", linewidth=1.2, linestyle="--")
    ax.set_ylim(-reach, reach)
    ax.set_yticks([-0.5, 0.0, 0.5], ["-1/2", "0" if reach < 1 else "", "+1/2"])
    said = "no error" if math.isinf(panel.sqnr) else f"SQNR {panel.sqnr:.0f} dB"
    ax.set_title(said + ", clipped" * panel.clips, weight="bold", size="medium", pad=5)


def _in_words(t: np.ndarray, x: np.ndarray, panels: list[_Panel]) -> str:
    """The alternative text."""
    columns = [
        f"{p.bits} bits: {p.qp.levels} codes, step {p.qp.scale:.3g}, largest error {np.abs(p.error).max():.2f} steps, "
        + ("no error" if math.isinf(p.sqnr) else f"SQNR {p.sqnr:.1f} dB")
        for p in panels
    ]
    clipped = [str(p.bits) for p in panels if p.clips]
    beyond = f" At {', '.join(clipped)} bits part of the curve is clipped, beyond the half-step lines." if clipped else ""
    return (
        f"A smooth curve over continuous time from {t[0]:g} to {t[-1]:g}, with values from {x.min():.3g} to {x.max():.3g}, "
        f"drawn over its quantized steps in {len(panels)} columns; below each, the error in steps with lines at plus and minus "
        f"one half. {'. '.join(columns)}.{beyond}"
    )
