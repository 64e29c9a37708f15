"""One curve under a quantizer whose every choice can be turned: bits, clip, zero point, rounding; and what each costs.

Clipping makes the steps finer and cuts the peaks off; a moved zero point pushes codes to where the curve never is; a rounding
that is not to the nearest errs by up to a whole step. The SQNR adds it all up in one number.
With this module one can say what a setting does to a curve (`explored`), draw that, and lay a grid of settings out as a film
strip (`film_strip`). The window with sliders is `explore_window`, and shows just this.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinyquant.analysis.metrics import sqnr_db
from tinyquant.numerics.affine import dequantize, quantize, round_quotient
from tinyquant.numerics.qparams import QParams, choose_qparams

from .signal import _checked_signal
from .style import FLOAT_COLOR, INTEGER_COLOR, PALE, QUANTIZED_COLOR, canvas, finish, heading, in_house_style

__all__ = ["Curve", "Explored", "Settings", "draw_curve", "draw_error", "explored", "film_strip"]

_STRIP_EDGES = {"left": 0.15, "right": 0.985, "top": 0.745, "bottom": 0.11}

ERROR_REACH = 1.25
"""Steps shown on either side of 0: rounding, of whatever kind, stays below 1; what runs out of sight is clipped."""

_FEW_CODES = 8
_STOCHASTIC_SEED = 0


@dataclass(frozen=True, eq=False)
class Curve:
    """Something to quantize: x over t.

    Parameters
    ----------
    t : (N,) array of float, increasing
    x : (N,) array of float, finite
    along : str
        What t is: the label of its axis.

    Raises
    ------
    ValueError
        t and x are not one curve.

    Examples
    --------
    >>> Curve([0.0, 0.5], [1.0, -1.0]).x.tolist()
    [1.0, -1.0]
    """

    t: np.ndarray
    x: np.ndarray
    along: str = "time t"

    def __post_init__(self) -> None:
        t, x = _checked_signal(self.t, self.x)
        object.__setattr__(self, "t", t)
        object.__setattr__(self, "x", x)


@dataclass(frozen=True)
class Settings:
    """What can be turned.

    Parameters
    ----------
    signal : str
        The name of a curve.
    bits : int, 2 to 8
    clip : float > 0
        The share of the curve's range that the codes cover: 0.5 clips the outer half of either side, above 1 wastes codes.
    zero_point : int, optional
        The code of real 0; by default the one that `choose_qparams` picks.
    rounding : str
        A name from `ROUNDING_MODES`. Stochastic rounding draws the same numbers each time.

    Raises
    ------
    ValueError
        bits or clip out of its range. A zero point that is not a code, and an unknown rounding, are refused by `explored`.

    Examples
    --------
    >>> Settings("sine", bits=3).clip
    1.0
    """

    signal: str
    bits: int = 4
    clip: float = 1.0
    zero_point: int | None = None
    rounding: str = "half_away"

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits must be between 2 and 8, got {self.bits}. More steps than that cannot be seen.")
        if not 0 < self.clip < math.inf:
            raise ValueError(f"clip must be a share of the range above 0, got {self.clip}. 1.0 covers all of it.")


@dataclass(frozen=True, eq=False)
class Explored:
    """What a setting does to its curve."""

    settings: Settings
    curve: Curve
    qp: QParams
    decoded: np.ndarray = field(repr=False)
    """What comes back from the codes, float32, of the curve's shape."""
    error: np.ndarray = field(repr=False)
    """decoded - x, in steps."""
    sqnr: float
    """Signal power over error power, in dB; inf where nothing is lost."""
    codes_used: int
    clipped: float
    """Share of the points that lie beyond the codes."""

    @property
    def worst(self) -> float:
        """The largest error, in steps."""
        return float(np.abs(self.error).max())

    @property
    def said_sqnr(self) -> str:
        """The SQNR as words."""
        return "no error" if math.isinf(self.sqnr) else f"SQNR {self.sqnr:.1f} dB"

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """(what, how much), in the order in which they are shown below the SQNR."""
        moved = "" if self.settings.zero_point is None else " (moved)"
        return (
            ("scale", f"{self.qp.scale:.3g} a step"),
            ("zero point", f"code {self.qp.zero_point}{moved}"),
            ("codes used", f"{self.codes_used} of {self.qp.levels}"),
            ("clipped", f"{100 * self.clipped:.1f} % of points"),
            ("largest error", f"{self.worst:.2f} steps"),
        )


def explored(curves: Mapping[str, Curve], settings: Settings) -> Explored:
    """Send the curve that is named through the quantizer that is set.

    The quantizer is ``choose_qparams(clip * min(x), clip * max(x), bits=bits)``, its zero point moved if one is given.

    Parameters
    ----------
    curves : name -> Curve
    settings : Settings

    Returns
    -------
    Explored

    Raises
    ------
    ValueError
        No such curve, a zero point that is not a code, or an unknown rounding.

    Examples
    --------
    >>> ramp = {"ramp": Curve([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0])}
    >>> seen = explored(ramp, Settings("ramp", bits=2))
    >>> seen.decoded.tolist(), seen.codes_used, seen.said_sqnr
    ([0.0, 1.0, 2.0, 3.0], 4, 'no error')
    """
    if settings.signal not in curves:
        raise ValueError(f"signal must be one of {', '.join(curves)}, got {settings.signal!r}.")
    curve = curves[settings.signal]
    qp = choose_qparams(settings.clip * float(curve.x.min()), settings.clip * float(curve.x.max()), bits=settings.bits)
    if settings.zero_point is not None:
        qp = QParams(qp.scale, settings.zero_point, qp.qmin, qp.qmax)
    # Twice the same seed: what clipping did is found by comparing with the same draw, unclipped.
    codes = quantize(curve.x, qp, rounding=settings.rounding, rng=np.random.default_rng(_STOCHASTIC_SEED))
    rounded = round_quotient(curve.x, qp, rounding=settings.rounding, rng=np.random.default_rng(_STOCHASTIC_SEED))
    decoded = dequantize(codes, qp)
    return Explored(
        settings,
        curve,
        qp,
        decoded,
        (decoded.astype(np.float64) - curve.x) / float(qp.scale),
        sqnr_db(curve.x, decoded),
        int(np.unique(codes).size),
        float(np.mean(rounded + qp.zero_point != codes)),
    )


def draw_curve(ax: Axes, seen: Explored, *, codes: bool = True) -> None:
    """Draw the curve, its steps, and the zones beyond the codes into emptied axes; the view depends on the curve alone.

    ``codes``: a second axis on the right names them.
    """
    curve, qp = seen.curve, seen.qp
    ax.clear()
    low, high = float(min(curve.x.min(), 0)), float(max(curve.x.max(), 0))
    margin = 0.12 * (high - low) or 1.0
    bottom, top = low - margin, high + margin
    half = 0.5 * float(qp.scale)
    if qp.levels <= 2 * _FEW_CODES:
        ax.hlines(dequantize(np.arange(qp.qmin, qp.qmax + 1), qp), curve.t[0], curve.t[-1], color=PALE, linewidth=0.8, zorder=0)
    for near, far in ((float(qp.rmax) + half, top), (bottom, float(qp.rmin) - half)):
        if near < far:
            ax.axhspan(near, far, facecolor="#F1F1F1", edgecolor=PALE, hatch="//", linewidth=0, zorder=-2)
    ax.plot(curve.t, curve.x, color=FLOAT_COLOR, linewidth=5.0, solid_capstyle="butt", label="the curve")
    ax.plot(curve.t, seen.decoded, color=QUANTIZED_COLOR, linewidth=1.8, drawstyle="steps-mid", label="its quantized steps")
    ax.set_xlim(curve.t[0], curve.t[-1])
    ax.set_ylim(bottom, top)
    if codes:
        _name_codes(ax, qp, bottom, top)


def _name_codes(ax: Axes, qp: QParams, bottom: float, top: float) -> None:
    """The codes on the right: all if they are few, else the ends and the zero point, where there is room."""
    scale, zero = float(qp.scale), int(qp.zero_point)
    to_code, to_value = lambda v: np.asarray(v) / scale + zero, lambda c: (np.asarray(c) - zero) * scale
    right = ax.secondary_yaxis("right", functions=(to_code, to_value))
    room = 0.08 * (top - bottom)
    chosen: list[int] = []
    for code in (zero, qp.qmin, qp.qmax, *range(qp.qmin + 1, qp.qmax)):
        few = qp.levels <= _FEW_CODES or code in (zero, qp.qmin, qp.qmax)
        at = (code - zero) * scale
        if few and bottom <= at <= top and all(abs(at - (c - zero) * scale) >= room for c in chosen):
            chosen.append(code)
    right.set_yticks(sorted(chosen))
    right.tick_params(colors=QUANTIZED_COLOR, length=3)
    right.set_ylabel("code", color=QUANTIZED_COLOR)


def draw_error(ax: Axes, seen: Explored) -> None:
    """Draw the error in steps into emptied axes, with the two lines that rounding to the nearest never crosses."""
    ax.clear()
    t = seen.curve.t
    ax.fill_between(t, seen.error, 0.0, color=INTEGER_COLOR, alpha=0.45, linewidth=0, step="mid")
    ax.plot(t, seen.error, color=INTEGER_COLOR, linewidth=0.9, drawstyle="steps-mid")
    for bound in (-0.5, 0.5):
        ax.axhline(bound, color="black", linewidth=1.2, linestyle="--")
    ax.set_xlim(t[0], t[-1])
    ax.set_ylim(-ERROR_REACH, ERROR_REACH)
    ax.set_yticks([-0.5, 0.5], ["-1/2", "+1/2"])


def film_strip(
    curves: Mapping[str, Curve],
    settings: Settings,
    *,
    bits: Sequence[int] = (4, 2),
    clips: Sequence[float] = (1.0, 0.7, 0.4),
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw a grid of settings: one row a number of bits, one column a clip; curve above, error below.

    Parameters
    ----------
    curves : name -> Curve
    settings : Settings
        The signal and the rounding; bits, clip and zero point vary or are chosen.
    bits : one or two ints, 2 to 8
    clips : one to three shares of the range
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure
        Axes: curve and error of the first row's first setting, of its second, and so on.

    Raises
    ------
    ValueError
        More settings than a slide can show, or one that `explored` refuses.

    Examples
    --------
    >>> t = np.linspace(0.0, 1.0, 500)
    >>> fig = film_strip({"sine": Curve(t, np.sin(6 * t))}, Settings("sine"))
    >>> len(fig.axes)
    12
    """
    if not (1 <= len(bits) <= 2 and 1 <= len(clips) <= 3):
        raise ValueError(f"a strip must have 1 or 2 bits and 1 to 3 clips, got {len(bits)} and {len(clips)}. Draw two strips.")
    plain = replace(settings, zero_point=None)
    grid = [[explored(curves, replace(plain, bits=b, clip=c)) for c in clips] for b in bits]
    with in_house_style():
        figure = canvas(fig)
        name = settings.signal.replace("-", " ")
        said = f"Rounding: {settings.rounding}. Hatched: clipped."
        heading(figure, title or f"{name}: fewer bits, more clipping".capitalize(), said)
        outer = figure.add_gridspec(len(bits), len(clips), wspace=0.1, hspace=0.33, **_STRIP_EDGES)
        for row, line in enumerate(grid):
            best = max(range(len(line)), key=lambda at: line[at].sqnr)
            for column, seen in enumerate(line):
                inner = outer[row, column].subgridspec(2, 1, height_ratios=(2.0, 1.0), hspace=0.12)
                above, below = figure.add_subplot(inner[0]), figure.add_subplot(inner[1])
                _draw_cell(above, below, seen, first=column == 0, last=row == len(grid) - 1, best=column == best)
            box = figure.axes[2 * row * len(line)].get_position()
            said = f"{line[0].settings.bits} bits,\n{line[0].qp.levels} codes"
            figure.text(0.012, (box.y0 + box.y1) / 2, said, weight="bold", va="center")
        for column, seen in enumerate(grid[0]):
            box = outer[0, column].get_position(figure)
            figure.text((box.x0 + box.x1) / 2, 0.822, _said_clip(seen.settings.clip), ha="center", va="center", weight="bold")
        figure.supxlabel(grid[0][0].curve.along, y=0.012, size="medium")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="center right", bbox_to_anchor=(0.995, 0.893), ncols=2, handlelength=1.6)
        return finish(figure, alt=alt or _in_words(grid), save=save)


def _draw_cell(above: Axes, below: Axes, seen: Explored, *, first: bool, last: bool, best: bool) -> None:
    """One setting of the strip."""
    draw_curve(above, seen, codes=False)
    draw_error(below, seen)
    above.set_title(seen.said_sqnr + ", best" * best, size="medium", weight="bold" if best else "normal", pad=4)
    above.tick_params(labelbottom=False, labelleft=first)
    below.tick_params(labelbottom=last, labelleft=first)
    # The last number of one cell would touch the first of the next.
    below.locator_params(axis="x", nbins=3, prune="upper")
    if first:
        below.set_ylabel("error\n(steps)", size="small")


def _said_clip(clip: float) -> str:
    """A share of the range as words."""
    return "the whole range" if clip == 1 else f"{100 * clip:g} % of the range"


def _in_words(grid: list[list[Explored]]) -> str:
    """The alternative text."""
    first = grid[0][0]
    name = first.settings.signal.replace("-", " ")
    cells = [
        f"{seen.settings.bits} bits, {_said_clip(seen.settings.clip)}: {seen.said_sqnr}, {seen.codes_used} of {seen.qp.levels} "
        f"codes used, {100 * seen.clipped:.0f} % clipped, largest error {seen.worst:.2f} steps"
        for line in grid
        for seen in line
    ]
    return (
        f"The curve {name!r} over {first.curve.along}, drawn under its quantized steps in a grid of {len(grid)} numbers of bits "
        f"(down) by {len(grid[0])} clips (across), rounded by {first.settings.rounding}; below each, the error in steps with "
        f"lines at plus and minus one half. {'. '.join(cells)}."
    )
