"""How much noise can the weights bear? Accuracy against noise in steps, for networks trained one way and another.

The claim is that a network trained with the rounding in its graph (QAT) shrugs off what would hurt another. Each way of
training has several seeds: the line is their mean, the band reaches from the worst to the best. Where the lines coincide, the
title says so.
With this module one can draw that (`resilience_curves`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .style import (
    FLOAT_COLOR,
    INTEGER_COLOR,
    MARKER,
    QAT_COLOR,
    QUANTIZED_COLOR,
    canvas,
    finish,
    heading,
    in_house_style,
)

__all__ = ["resilience_curves"]

_COLORS = (FLOAT_COLOR, QAT_COLOR, QUANTIZED_COLOR, INTEGER_COLOR)
_DASHES = ("-", "--", "-.", ":")


def resilience_curves(
    noise: npt.ArrayLike,
    accuracies: Mapping[str, npt.ArrayLike],
    *,
    step: str = "steps of the weights",
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw accuracy against the size of a noise on the weights, one line and one band for each way of training.

    Parameters
    ----------
    noise : (K,) array of float, increasing
        Largest shift of a weight, in steps.
    accuracies : mapping of name to (seeds, K) array of float in [0, 1]
        One to four ways of training; the first is drawn as float, the second as QAT.
    step : str
        Whose steps, for the axis.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        No lines or too many, arrays that do not fit the noise, or accuracies that are not in [0, 1].

    Examples
    --------
    >>> fig = resilience_curves([0, 1], {"float": [[0.9, 0.5]], "QAT": [[0.9, 0.8]]})
    >>> len(fig.axes)
    1
    """
    at = np.asarray(noise, np.float64)
    lines = {str(name): np.asarray(values, np.float64) for name, values in accuracies.items()}
    if not 1 <= len(lines) <= len(_COLORS):
        raise ValueError(f"accuracies must hold one to four lines, got {len(lines)}.")
    for name, values in lines.items():
        if at.ndim != 1 or values.ndim != 2 or values.shape[1:] != at.shape or not values.size:
            raise ValueError(f"accuracies[{name!r}] must have shape (seeds, {at.size}), got {values.shape}.")
        if not (np.all(values >= 0) and np.all(values <= 1)):
            raise ValueError(
                f"accuracies must lie in [0, 1], got {values.min():g} to {values.max():g} at {name!r}."
            )
    with in_house_style():
        figure = canvas(fig)
        seeds = max(len(values) for values in lines.values())
        heading(
            figure,
            title or _title(at, lines),
            f"Line: mean of {seeds} seeds. Band: from the worst seed to the best.",
        )
        ax = figure.subplots()
        figure.subplots_adjust(left=0.105, right=0.97, top=0.82, bottom=0.15)
        for (name, values), color, dash in zip(lines.items(), _COLORS, _DASHES, strict=False):
            percent = 100 * values
            ax.fill_between(at, percent.min(axis=0), percent.max(axis=0), color=color, alpha=0.2, linewidth=0)
            mark = {"marker": MARKER[color], "markersize": 9, "linewidth": 2.6, "clip_on": False}
            ax.plot(at, percent.mean(axis=0), color=color, linestyle=dash, label=name, **mark)  # type: ignore[arg-type]
        ax.set_xlabel(f"noise: each weight moved by up to so many {step}")
        ax.set_ylabel("accuracy (%)")
        ax.grid(axis="y")
        ax.set_xlim(at.min() - 0.01 * np.ptp(at), at.max() + 0.02 * np.ptp(at))
        ax.legend(loc="lower left", fontsize="large")
        return finish(figure, alt=alt or _in_words(at, lines), save=save)


def _title(at: np.ndarray, lines: Mapping[str, np.ndarray]) -> str:
    """Which line holds longest; or that none does."""
    means = {name: 100 * values.mean(axis=0) for name, values in lines.items()}
    if len(means) == 1:
        return "Accuracy falls as the weights are shaken"
    (first, one), (second, other) = list(means.items())[:2]
    gap = other - one
    spread = np.max([100 * np.ptp(values, axis=0) for values in list(lines.values())[:2]], axis=0)
    clear = np.where((np.abs(gap) >= 0.5) & (np.abs(gap) >= 0.25 * spread), np.abs(gap), 0.0)
    widest = int(np.argmax(clear))
    if not clear[widest]:
        return f"{first} and {second} bear noise alike: the lines coincide"
    better = second if gap[widest] > 0 else first
    if widest == 0:
        return f"{better} leads by {abs(gap[0]):.1f} points without noise, and noise does not widen that"
    steps = "1 step" if at[widest] == 1 else f"{at[widest]:g} steps"
    # A lead that was there before the noise is not the noise's doing.
    lead = gap[0] * (1 if gap[widest] > 0 else -1)
    return f"{better} leads by {lead:.1f} points without noise, by {abs(gap[widest]):.1f} at {steps}"


def _in_words(at: np.ndarray, lines: Mapping[str, np.ndarray]) -> str:
    """The alternative text."""
    said = [
        f"{name} ({len(values)} seeds) falls from a mean of {100 * values[:, 0].mean():.1f} percent at {at[0]:g} to "
        f"{100 * values[:, -1].mean():.1f} at {at[-1]:g}, seeds there from {100 * values[:, -1].min():.1f} to "
        f"{100 * values[:, -1].max():.1f}"
        for name, values in lines.items()
    ]
    claim = _title(at, lines)
    return f"Accuracy against noise on the weights, in steps from {at[0]:g} to {at[-1]:g}: {'; '.join(said)}. {claim}."
