"""The trick that lets a network learn through a staircase: what the derivative is, and what training pretends it is.

The derivative of stairs is 0, and not defined at the jumps: no gradient gets through, nothing would ever be learnt. The
straight-through estimator (STE) takes the stairs for the straight line they follow: 1 where the code lies in its range, ends
included, 0 where the value was clipped.
With this module one can draw the three above each other for any quantizer (`ste`).
"""

from __future__ import annotations

import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinyquant.autograd import Tensor
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.fake_quant import fake_quantize

from .staircase import _checked_axis, _ends, _shade
from .style import FLOAT_COLOR, QAT_COLOR, QUANTIZED_COLOR, canvas, finish, heading, in_house_style

__all__ = ["ste"]


def ste(
    qp: QParams,
    lo: float | None = None,
    hi: float | None = None,
    *,
    step: int = 3,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw the stairs, their true derivative and the straight-through one, each below the other.

    The stairs and the mask are `fake_quantize`'s own: its forward, and the gradient its backward hands on.

    Parameters
    ----------
    qp : QParams
        Of a whole tensor, of few codes.
    lo, hi : float, optional
        The real numbers shown; by default the range of qp and a third more on either side.
    step : int, 1 to 3
        How many of the three panels to show: frames of a slide that builds up.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    TypeError, ValueError
        As `staircase`; or step is not 1, 2 or 3.

    References
    ----------
    Bengio, Leonard and Courville 2013; Jacob et al. 2018, section 3.

    Examples
    --------
    >>> len(ste(QParams(0.5, 0, -4, 3)).axes)
    3
    """
    if step not in (1, 2, 3):
        raise ValueError(f"step must be 1, 2 or 3, got {step!r}.")
    x = _checked_axis(qp, lo, hi)
    # Both outer codes are points of the axis: their gradient is drawn, filled.
    x = np.unique(np.concatenate([x, [qp.rmin, qp.rmax]]))
    y, gradient = _through(x, qp)
    with in_house_style():
        figure = canvas(fig)
        heading(figure, title or "Stairs teach nothing; the STE takes them for a straight line")
        axes = figure.subplots(3, 1, sharex=True, height_ratios=(1.7, 1.0, 1.0))
        figure.subplots_adjust(left=0.13, right=0.97, top=0.86, bottom=0.125, hspace=0.3)
        _draw_forward(axes[0], x, y)
        _draw_true(axes[1], x, y)
        _draw_estimate(axes[2], x, gradient, qp)
        for place, ax in enumerate(axes):
            ax.set_xlim(x[0], x[-1])
            ax.set_visible(place < step)
            _shade(ax, qp, x)
        last = axes[step - 1]
        last.set_xlabel("real number in")
        last.tick_params(labelbottom=True)
        return finish(figure, alt=alt or _in_words(x, gradient, qp, step), save=save)


def _through(x: np.ndarray, qp: QParams) -> tuple[np.ndarray, np.ndarray]:
    """The engine's forward and the gradient it lets through."""
    tensor = Tensor(x, requires_grad=True)
    y = fake_quantize(tensor, qp)
    y.sum().backward()
    assert tensor.grad is not None
    return np.asarray(y.data), np.asarray(tensor.grad)


def _draw_forward(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """The stairs and the line they follow."""
    ax.plot(x, x, color=FLOAT_COLOR, linewidth=5.0, solid_capstyle="butt", label="the straight line")
    ax.plot(x, y, color=QUANTIZED_COLOR, linewidth=2.2, label="forward: the stairs")
    ax.set_ylim(y.min() - 0.25 * np.ptp(y), y.max() + 0.25 * np.ptp(y))
    ax.set_ylabel("out")
    ax.legend(loc="upper left", bbox_to_anchor=(0.14, 1.04), borderaxespad=0)


def _draw_true(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Zero everywhere, and undefined at the jumps."""
    ax.plot(x, np.zeros_like(x), color=QUANTIZED_COLOR, linewidth=3.0)
    jumps = (x[1:] + x[:-1])[np.diff(y) != 0] / 2
    hollow = {"linestyle": "none", "marker": "o", "markersize": 7, "markerfacecolor": "white"}
    ax.plot(jumps, np.zeros_like(jumps), color=QUANTIZED_COLOR, **hollow)  # type: ignore[arg-type]
    ax.set_ylabel("true\nderivative")
    words = "0 (undefined at the jumps): no gradient gets through"
    ax.text(0.5, 0.62, words, transform=ax.transAxes, ha="center", weight="bold", bbox=_WHITE)
    _unit(ax)


def _draw_estimate(ax: Axes, x: np.ndarray, gradient: np.ndarray, qp: QParams) -> None:
    """One inside, its ends filled; zero outside."""
    for value in (0.0, 1.0):
        ax.plot(x, np.where(gradient == value, value, np.nan), color=QAT_COLOR, linewidth=3.0)
    ends = np.array([qp.rmin, qp.rmax])
    ax.plot(ends, gradient[np.searchsorted(x, ends)], linestyle="none", marker="^", markersize=11, color=QAT_COLOR, zorder=5)
    ax.set_ylabel("STE\n(the mask)")
    low, high = _ends(qp)
    words = f"1 inside, codes {qp.qmin} and {qp.qmax} included"
    ax.text((low + high) / 2, 0.5, words, ha="center", va="center", weight="bold")
    for at, shown in (((x[0] + low) / 2, x[0] < low), ((high + x[-1]) / 2, x[-1] > high)):
        if shown:
            ax.text(at, 0.5, "0 outside", ha="center", va="center", weight="bold", bbox=_WHITE)
    _unit(ax)


_WHITE = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}


def _unit(ax: Axes) -> None:
    """0 and 1."""
    ax.set_ylim(-0.25, 1.3)
    ax.set_yticks([0, 1])


def _in_words(x: np.ndarray, gradient: np.ndarray, qp: QParams, step: int) -> str:
    """The alternative text."""
    inside = x[gradient == 1]
    said = [
        f"Forward: a staircase of {qp.levels} codes from {qp.qmin} to {qp.qmax}, step {qp.scale:.3g}, over real numbers from "
        f"{x[0]:.3g} to {x[-1]:.3g}, following a straight line and flat beyond {qp.rmin:.3g} and {qp.rmax:.3g}.",
        "Its true derivative: 0 everywhere, not defined at the jumps; no gradient gets through.",
        f"The straight-through estimator: 1 from {inside.min():.3g} to {inside.max():.3g}, both outer codes included, 0 outside.",
    ]
    return " ".join(said[:step])
