"""The lecture's table as dots: every seed a dot, five columns, and at the right what may be said about the difference.

The columns are float, PTQ, QAT, and the control in two: float trained for as many extra epochs, and PTQ of that. What QAT is
worth is QAT minus PTQ of the control, paired by seed; its interval is over seeds, and a second axis counts it in images.
Published rows have a panel of their own, in grey: there are no seeds behind them.
With this module one can draw that for any networks and seeds (`results_table`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinyquant.analysis.over_seeds import t_interval

from .style import (
    FLOAT_COLOR,
    GREY,
    INK,
    MARKER,
    PALE,
    QAT_COLOR,
    QUANTIZED_COLOR,
    canvas,
    finish,
    heading,
    in_house_style,
)

__all__ = ["COLUMNS", "results_table"]

COLUMNS = ("float", "PTQ", "QAT", "float +\nepochs", "PTQ of\nthat")
"""What each row holds, in order; the last two are the control."""

_COLORS = (FLOAT_COLOR, QUANTIZED_COLOR, QAT_COLOR, FLOAT_COLOR, QUANTIZED_COLOR)

Published = Mapping[str, Sequence[float]]


def results_table(
    rows: Mapping[str, npt.ArrayLike],
    *,
    images: int,
    what: str = "",
    published: Published | None = None,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw the five accuracies of each network, seed by seed, and the paired difference that matters.

    Parameters
    ----------
    rows : mapping of name to (seeds, 5) array of float in [0, 1]
        One to four networks; columns as in `COLUMNS`, row s of all columns from one seed.
    images : int
        How many test images the accuracies were counted on.
    what : str
        What all rows are of, said below the title.
    published : mapping of name to (float, PTQ, QAT) in percent, optional
        Rows of somebody else's table.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure
        Axes: the rows from top to bottom, then the differences, then the published rows if any.

    Raises
    ------
    ValueError
        No rows or too many, rows that are not (seeds, 5) with at least two seeds, accuracies outside [0, 1], or no images.

    Examples
    --------
    >>> fig = results_table({"mlp": [[0.9, 0.8, 0.9, 0.9, 0.8], [0.9, 0.7, 0.8, 0.9, 0.8]]}, images=100)
    >>> len(fig.axes)
    2
    """
    made = {str(name): 100 * np.asarray(values, np.float64) for name, values in rows.items()}
    if not 1 <= len(made) <= 4:
        raise ValueError(f"rows must hold one to four networks, got {len(made)}. Draw two figures.")
    for name, values in made.items():
        if values.ndim != 2 or values.shape[1] != len(COLUMNS) or len(values) < 2:
            raise ValueError(
                f"rows[{name!r}] must have shape (seeds, 5), at least two seeds, got {values.shape}."
            )
        if not (np.all(values >= 0) and np.all(values <= 100)):
            raise ValueError(
                f"accuracies must lie in [0, 1], got {values.min() / 100:g} to {values.max() / 100:g} at {name!r}."
            )
    if images < 1:
        raise ValueError(f"images must be at least 1, got {images}.")
    with in_house_style():
        figure = canvas(fig)
        heading(figure, title or _title(made), _said(made, images, what))
        bottom = 0.15 if not published else 0.455
        grid = figure.add_gridspec(
            len(made),
            2,
            left=0.165,
            right=0.975,
            top=0.765,
            bottom=bottom,
            width_ratios=(2.0, 1.0),
            wspace=0.1,
            hspace=0.22,
        )
        for place, (name, values) in enumerate(made.items()):
            _draw_row(figure.add_subplot(grid[place, 0]), name, values, last=place == len(made) - 1)
        _draw_differences(figure.add_subplot(grid[:, 1]), made, images)
        if published:
            _draw_published(figure.add_axes((0.165, 0.125, 0.81, 0.183)), published)
        return finish(figure, alt=alt or _in_words(made, images, published), save=save)


def _interval(differences: np.ndarray) -> tuple[float, float]:
    """Mean, and half the 95 % t-interval over seeds."""
    found = t_interval(differences)
    return found.value, found.high - found.value


def _worth(values: np.ndarray) -> tuple[float, float]:
    """QAT minus PTQ of the control."""
    return _interval(values[:, 2] - values[:, 4])


def _title(rows: Mapping[str, np.ndarray]) -> str:
    """For which rows the interval leaves zero out."""
    clear = [name for name, values in rows.items() if _worth(values)[0] - _worth(values)[1] > 0]
    if len(clear) == len(rows):
        return "QAT beats PTQ of the control" + " in every row" * (len(rows) > 1)
    if not clear:
        return "QAT is not shown to beat PTQ of the control"
    return f"QAT beats PTQ of the control: {', '.join(clear)} only"


def _said(rows: Mapping[str, np.ndarray], images: int, what: str) -> str:
    """What a dot and an interval are."""
    seeds = {len(values) for values in rows.values()}
    count = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    of_what = f"{what}: a" if what else "A"
    return f"{of_what} dot a seed ({count}), {images} test images. Bars: mean, 95 % t-interval over seeds."


def _draw_row(ax: Axes, name: str, values: np.ndarray, *, last: bool) -> None:
    """Dots of one network in five columns, means as bars."""
    for column, color in enumerate(_COLORS):
        seeds = values[:, column]
        # A fixed fan, so that seeds of one accuracy are all seen.
        fan = column + np.linspace(-0.2, 0.2, seeds.size)
        control = column > 2
        ax.plot(
            fan, seeds, linestyle="none", marker=MARKER[color], markersize=7.5, color=color, markeredgewidth=1.5,
            markerfacecolor="white" if control else color,
        )  # fmt: skip
        ax.plot([column - 0.34, column + 0.34], [seeds.mean()] * 2, color=INK, linewidth=2.2, zorder=5)
    ax.axvline(2.5, color=PALE, linewidth=1.2)
    ax.set_xlim(-0.6, len(COLUMNS) - 0.4)
    room = max(float(np.ptp(values)), 0.5)
    ax.set_ylim(values.min() - 0.2 * room, values.max() + 0.16 * room)
    ax.grid(axis="y")
    ax.locator_params(axis="y", nbins=3, min_n_ticks=2)
    ax.set_ylabel(f"{name}\n(%)")
    ax.set_xticks(range(len(COLUMNS)), COLUMNS if last else [""] * len(COLUMNS))
    ax.tick_params(axis="x", length=0)


def _draw_differences(ax: Axes, rows: Mapping[str, np.ndarray], images: int) -> None:
    """One interval a row, a line at zero, and a second axis that counts images."""
    reach = 0.0
    for place, values in enumerate(rows.values()):
        each = values[:, 2] - values[:, 4]
        mean, half = _interval(each)
        y = len(rows) - 1 - place
        ax.plot(
            each, np.full(each.size, y - 0.16), linestyle="none", marker="^", markersize=7.5, color=QAT_COLOR
        )
        ax.errorbar(
            [mean],
            [y + 0.06],
            xerr=[half],
            color=INK,
            linewidth=2.6,
            capsize=7,
            capthick=2.6,
            marker="d",
            markersize=9,
        )
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"}
        said = f"{mean:+.2f} +- {half:.2f}"
        along = ax.get_yaxis_transform()
        ax.text(0.99, y + 0.2, said, transform=along, ha="right", va="bottom", weight="bold", bbox=box, zorder=1.5)
        reach = max(reach, float(np.abs(each).max()), abs(mean) + half)
    ax.axvline(0, color="black", linewidth=1.4)
    low = min(-0.35 * reach, min(float((v[:, 2] - v[:, 4]).min()) for v in rows.values()) - 0.05 * reach)
    ax.set_xlim(low, 1.08 * reach)
    ax.set_ylim(-0.5, len(rows) - 0.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("QAT - PTQ of control\n(points)")
    top = ax.secondary_xaxis(
        "top", functions=(lambda p: np.asarray(p) * images / 100, lambda n: np.asarray(n) * 100 / images)
    )
    top.set_xlabel("(images)", labelpad=5)


def _draw_published(ax: Axes, published: Published) -> None:
    """Float, PTQ and QAT of somebody else's networks, in grey."""
    ax.set_facecolor("#EDEDED")
    marks = ("o", "s", "^")
    for place, numbers in enumerate(published.values()):
        y = len(published) - 1 - place
        for number, mark, word in zip(numbers, marks, COLUMNS, strict=False):
            ax.plot([number], [y], marker=mark, markersize=9, color=GREY, markerfacecolor=GREY if mark != "o" else "white",
                    markeredgewidth=1.6, linestyle="none", label=word if place == 0 else None)  # fmt: skip
    ax.set_yticks(range(len(published)), list(published)[::-1])
    ax.set_ylim(-0.6, len(published) - 0.4)
    ax.margins(x=0.05)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("published, no seeds (% of 50,000 ImageNet images)", labelpad=1)
    ax.legend(loc="center", ncols=3, handletextpad=0.2, columnspacing=1.0)


def _in_words(rows: Mapping[str, np.ndarray], images: int, published: Published | None) -> str:
    """The alternative text."""
    said = []
    for name, values in rows.items():
        means = ", ".join(
            f"{column.replace(chr(10), ' ')} {mean:.2f}"
            for column, mean in zip(COLUMNS, values.mean(axis=0), strict=True)
        )
        mean, half = _worth(values)
        said.append(
            f"{name}, {len(values)} seeds, mean accuracy in percent: {means}; QAT minus PTQ of the control {mean:+.2f} +- "
            f"{half:.2f} points, {mean * images / 100:+.1f} images"
        )
    others = (
        ""
        if not published
        else " In grey, published: "
        + "; ".join(
            f"{name} {', '.join(f'{number:g}' for number in numbers)}" for name, numbers in published.items()
        )
        + "."
    )
    return (
        f"Dots of accuracy, one a seed, in five columns, on {images} test images. {'. '.join(said)}.{others}"
    )
