"""Rounding is a decision: the modes agree on almost every number and part on the ties, the numbers halfway between two codes.

Each whole number gathers the reals around it; whose is the end of the interval? A filled end belongs to the number, a hollow
one to its neighbour. Ties are rare in arithmetic on reals and common in arithmetic on codes: half of all sums of two codes
are a tie when they are halved.
With this module one can lay any modes of `round_to_int` side by side (`rounding_modes`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinyquant.numerics.rounding import ROUNDING_MODES, round_to_int

from .style import FLOAT_COLOR, GREY, INK, PALE, QUANTIZED_COLOR, canvas, finish, heading, in_house_style

__all__ = ["rounding_modes"]

MODES = ("half_away", "half_even", "half_up", "half_down", "toward_zero", "floor")

BEYOND = 0.375
"""How far the lines go on behind lo and hi, to show who wins those two."""


@dataclass(frozen=True)
class _Row:
    """One mode: where each tie goes, and the mean error on a grid of quarters."""

    mode: str
    won: np.ndarray
    pieces: list[tuple[int, float, float]]
    """(whole number, from, to): the reals that become it."""
    bias: float
    bias_positive: float


def rounding_modes(
    modes: Sequence[str] = MODES,
    lo: float = -2.5,
    hi: float = 2.5,
    *,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw a number line for each mode, whose ties are filled at the whole number that wins them, and the mode's mean error.

    Parameters
    ----------
    modes : sequence of str
        Names of `ROUNDING_MODES` without "stochastic"; the first is the one the others are held against.
    lo, hi : float
        The ends of the line, whole numbers or halves.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure
        Axes: the number lines, the bars of the mean error.

    Raises
    ------
    ValueError
        An unknown or random mode, none at all, or ends that are not in order.

    Notes
    -----
    The mean is over the multiples of 1/4 from lo to hi, a quarter of which are ties; the hatched bar takes those from 0 on,
    which is what lies behind a ReLU.

    Examples
    --------
    >>> len(rounding_modes(("half_away", "half_even")).axes)
    2
    """
    if not modes or any(mode not in ROUNDING_MODES or mode == "stochastic" for mode in modes):
        known = ", ".join(mode for mode in ROUNDING_MODES if mode != "stochastic")
        raise ValueError(f"modes must be some of {known}, got {list(modes)}.")
    if not (lo < hi and (2 * lo).is_integer() and (2 * hi).is_integer()):
        raise ValueError(f"lo and hi must be whole numbers or halves, lo below hi, got {lo} and {hi}.")
    halves = np.arange(int(2 * lo), int(2 * hi) + 1) / 2
    ties = halves[halves % 1 == 0.5]
    rows = [_row(mode, ties, lo, hi) for mode in modes]
    with in_house_style():
        figure = canvas(fig)
        heading(
            figure,
            title or "The rounding modes part on the ties",
            f"A filled end belongs to its whole number. Squares: ties that go elsewhere than under {modes[0]}.",
        )
        lines, bars = figure.subplots(1, 2, width_ratios=(3.1, 1.0), sharey=True)
        figure.subplots_adjust(left=0.165, right=0.97, top=0.80, bottom=0.165, wspace=0.08)
        _draw_lines(lines, rows, ties, lo, hi)
        _draw_bars(bars, rows)
        return finish(figure, alt=alt or _in_words(rows, ties), save=save)


def _row(mode: str, ties: np.ndarray, lo: float, hi: float) -> _Row:
    """A mode, asked."""
    won = round_to_int(ties, mode)
    fine = np.arange(int((lo - BEYOND) * 16), int((hi + BEYOND) * 16) + 1) / 16
    rounded = round_to_int(fine, mode)
    pieces = []
    for whole in np.unique(rounded):
        mine = fine[rounded == whole]
        # A sixteenth short of the boundary means the boundary itself went to the neighbour.
        first = mine[0] if mine[0] == fine[0] or 2 * mine[0] % 1 == 0 else mine[0] - 1 / 16
        last = mine[-1] if mine[-1] == fine[-1] or 2 * mine[-1] % 1 == 0 else mine[-1] + 1 / 16
        pieces.append((int(whole), float(first), float(last)))
    quarters = np.arange(int(lo * 4), int(hi * 4) + 1) / 4
    error = round_to_int(quarters, mode) - quarters
    positive = error[quarters >= 0]
    return _Row(mode, won, pieces, float(error.mean()), float(positive.mean()) if positive.size else 0.0)


def _draw_lines(ax: Axes, rows: list[_Row], ties: np.ndarray, lo: float, hi: float) -> None:
    """One number line a mode; the first stands on top."""
    ax.set_xlim(lo - BEYOND - 0.05, hi + BEYOND + 0.05)
    for tie in ties:
        ax.axvline(tie, color=PALE, linewidth=1.0, linestyle=":", zorder=0)
    for place, row in enumerate(rows):
        elsewhere = set(ties[row.won != rows[0].won].tolist())
        for piece in row.pieces:
            _draw_piece(ax, piece, -place, lo, hi, row.mode, elsewhere)
        ends = {end for _, *both in row.pieces for end in both}
        for tie in elsewhere - ends:
            ax.plot([tie], [-place], marker="s", markersize=9, color=QUANTIZED_COLOR, zorder=4)
    ax.set_yticks([-place for place in range(len(rows))], [row.mode for row in rows])
    ax.set_ylim(-len(rows) + 0.45, 0.65)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xticks(np.unique(round_to_int(ties, "toward_zero")))
    ax.set_xlabel("real number (ties at the dotted lines)")


def _draw_piece(
    ax: Axes, piece: tuple[int, float, float], level: int, lo: float, hi: float, mode: str, elsewhere: set[float]
) -> None:
    """The interval of one whole number, its ends filled or hollow."""
    whole, first, last = piece
    gap = 0.075
    left, right = first + gap * (first >= lo), last - gap * (last <= hi)
    ax.plot([left, right], [level, level], color=GREY, linewidth=3.0, solid_capstyle="butt", zorder=2)
    ax.text((first + last) / 2, level + 0.13, str(whole), ha="center", va="bottom", weight="bold")
    for end, at in ((first, left), (last, right)):
        if lo <= end <= hi:
            color = QUANTIZED_COLOR if end in elsewhere else INK
            mine = int(round_to_int(np.array([end]), mode)[0]) == whole
            ax.plot(
                [at], [level], marker="s" if end in elsewhere else "o", markersize=9, markeredgewidth=1.8, color=color,
                markerfacecolor=color if mine else "white", zorder=4,
            )  # fmt: skip


def _draw_bars(ax: Axes, rows: list[_Row]) -> None:
    """Mean error, over everything and over what is not negative."""
    for place, row in enumerate(rows):
        ax.barh(-place + 0.17, row.bias, height=0.3, color=FLOAT_COLOR, label="all" if place == 0 else None)
        ax.barh(
            -place - 0.17, row.bias_positive, height=0.3, facecolor="white", edgecolor=FLOAT_COLOR, hatch="///", linewidth=1.4,
            label="from 0 on" if place == 0 else None,
        )  # fmt: skip
    ax.axvline(0, color="black", linewidth=1.2)
    reach = max(0.2, *(abs(value) for row in rows for value in (row.bias, row.bias_positive))) * 1.15
    ax.set_xlim(-reach, reach)
    ax.tick_params(axis="y", length=0, labelleft=False)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("mean error (steps)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handlelength=1.0, columnspacing=0.8, handletextpad=0.4)


def _in_words(rows: list[_Row], ties: np.ndarray) -> str:
    """The alternative text."""
    said = [
        f"{row.mode} sends {', '.join(f'{tie:g} to {int(won)}' for tie, won in zip(ties, row.won, strict=True))}, mean error "
        f"{row.bias:+.3f}, from 0 on {row.bias_positive:+.3f}"
        for row in rows
    ]
    return (
        f"A number line for each of {len(rows)} rounding modes; at each tie the whole number that wins it has a filled end, "
        f"and ties that go elsewhere than under {rows[0].mode} are coloured. {'. '.join(said)}. Errors are in steps, over the "
        "multiples of 1/4."
    )
