"""Where each lost point went: one step down for each source of error, one for what they do to each other, and the sum.

With this module one can draw an error budget in points of accuracy (`budget_waterfall`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinyquant.analysis.error_budget import Budget

from .style import (
    FLOAT_COLOR,
    GREY,
    INK,
    INTEGER_COLOR,
    PALE,
    QUANTIZED_COLOR,
    canvas,
    finish,
    heading,
    in_house_style,
)

__all__ = ["budget_waterfall"]

Parts = Sequence[tuple[str, float]]


def budget_waterfall(
    budget: Budget | Parts,
    *,
    float_accuracy: float | None = None,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw the points of accuracy that each source costs, one below the other, down to the total.

    Parameters
    ----------
    budget : Budget, or sequence of (name, points lost)
        From `error_budget(model, x, y)`; the parts add up to the total.
    float_accuracy : float in [0, 1], optional
        Where the waterfall starts; then the axis is accuracy in percent, else points lost from 0.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        There are no parts, or the budget was drawn up without labels.

    Examples
    --------
    >>> fig = budget_waterfall([("weight rounding", 1.5), ("interaction", -0.5)])
    >>> fig.texts[1].get_text()
    '1.50 - 0.50 = 1.00 points lost'
    """
    parts = (
        budget.waterfall()
        if isinstance(budget, Budget)
        else [(str(name), float(lost)) for name, lost in budget]
    )
    if not parts:
        raise ValueError("budget must have at least one part, got none. Pass error_budget(model, x, y).")
    total = math.fsum(lost for _, lost in parts)
    start = 0.0 if float_accuracy is None else 100 * float_accuracy
    with in_house_style():
        figure = canvas(fig)
        worst = max(parts, key=lambda part: part[1])[0]
        heading(
            figure, title or f"Where {total:.2f} points went: most to {worst}", _sum_in_words(parts, total)
        )
        ax = figure.subplots()
        figure.subplots_adjust(left=0.225, right=0.98, top=0.84, bottom=0.135)
        _draw_steps(ax, parts, start, 1.0 if float_accuracy is None else -1.0)
        ax.set_xlabel("points of accuracy lost" if float_accuracy is None else "accuracy (%)")
        return finish(figure, alt=alt or _in_words(parts, total, float_accuracy), save=save)


def _sum_in_words(parts: Parts, total: float) -> str:
    """The sum, written out; parts of nothing are left out."""
    terms = [lost for _, lost in parts if abs(lost) >= 0.005] or [0.0]
    first, *others = terms
    said = "".join(f" {'-' if lost < 0 else '+'} {abs(lost):.2f}" for lost in others)
    return f"{first:.2f}{said} = {total:.2f} points lost"


def _draw_steps(ax: Axes, parts: Parts, start: float, sign: float) -> None:
    """Bars that hang from each other, one row a source; `sign` is -1 where the axis is accuracy."""
    levels = [start]
    for place, (_, lost) in enumerate(parts, start=1):
        before, after = levels[-1], levels[-1] + sign * lost
        levels.append(after)
        ax.plot([before, before], [place - 1 + 0.38, place - 0.38], color=GREY, linewidth=1.2)
        if lost:
            ax.barh(
                place, after - before, left=before, height=0.76, color=QUANTIZED_COLOR if lost > 0 else INTEGER_COLOR,
                hatch="" if lost > 0 else "//", edgecolor=INK, linewidth=0.8,
            )  # fmt: skip
        else:
            ax.plot([before, before], [place - 0.38, place + 0.38], color=INK, linewidth=2.0)
    end = len(parts) + 1
    ax.plot([levels[-1]] * 2, [end - 0.62, end - 0.38], color=GREY, linewidth=1.2)
    room = max(max(levels) - min(levels), 0.5)
    low, high = min(levels) - 0.3 * room, max(levels) + 0.16 * room
    if sign > 0:
        low, high = min(0.0, min(levels)), max(levels) + 0.2 * room
    for place, value, color in ((0, start, FLOAT_COLOR), (end, levels[-1], PALE)):
        ax.barh(place, value - low, left=low, height=0.76, color=color, edgecolor=INK, linewidth=0.8)
        ax.text(value + 0.01 * room, place, f"{value:.2f}", ha="left", va="center", weight="bold")
    for place, (_, lost) in enumerate(parts, start=1):
        edge = max(levels[place - 1], levels[place])
        ax.text(
            edge + 0.01 * room,
            place,
            f"{sign * lost:+.2f}" if lost else "0",
            ha="left",
            va="center",
            weight="bold",
        )
    ax.set_xlim(low, high)
    ax.set_ylim(end + 0.6, -0.6)
    ax.set_yticks(range(end + 1), ["float", *(name for name, _ in parts), "quantized"])
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")


def _in_words(parts: Parts, total: float, float_accuracy: float | None) -> str:
    """The alternative text."""
    said = ", ".join(f"{name} {lost:+.2f}" for name, lost in parts)
    ends = (
        ""
        if float_accuracy is None
        else f", from {100 * float_accuracy:.2f} to {100 * float_accuracy - total:.2f} percent"
    )
    what = "A waterfall of the points of accuracy that each source of quantization error costs"
    return f"{what}: {said}; in all {total:+.2f}{ends}."
