"""Training seen from two sides: loss and accuracy by epoch, and how many weight codes still change.

Float training stops, quantization takes its price at once (PTQ), and training on with the rounding in the graph (QAT) wins back
part of it. Meanwhile fewer and fewer codes change; some go to and fro between two values to the end.
With this module one can draw both: `training_curves` and `code_flips`.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import (
    FLOAT_COLOR,
    GREY,
    INTEGER_COLOR,
    QAT_COLOR,
    QUANTIZED_COLOR,
    canvas,
    finish,
    heading,
    in_house_style,
)

__all__ = ["code_flips", "training_curves"]


def training_curves(
    float_loss: npt.ArrayLike,
    qat_loss: npt.ArrayLike,
    float_accuracy: npt.ArrayLike,
    qat_accuracy: npt.ArrayLike,
    *,
    ptq_accuracy: float,
    bits: int | None = None,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw loss and accuracy of a float training and of the QAT that follows it, with PTQ as a line between.

    Parameters
    ----------
    float_loss, qat_loss : (epochs,) arrays of float
        Mean training loss of each epoch.
    float_accuracy, qat_accuracy : (epochs,) arrays of float in [0, 1]
        After each epoch.
    ptq_accuracy : float in [0, 1]
        Of the float network quantized after training.
    bits : int, optional
        Of the weights, for the title.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure
        Axes: loss, accuracy.

    Raises
    ------
    ValueError
        A loss and its accuracy have different lengths, or one is empty.

    Examples
    --------
    >>> len(training_curves([2, 1], [1.2], [0.8, 0.9], [0.85], ptq_accuracy=0.7).axes)
    2
    """
    pairs = [
        (np.asarray(a, np.float64), np.asarray(b, np.float64))
        for a, b in ((float_loss, float_accuracy), (qat_loss, qat_accuracy))
    ]
    for loss, accuracy in pairs:
        if loss.ndim != 1 or loss.shape != accuracy.shape or not loss.size:
            raise ValueError(
                f"loss and accuracy must have one value an epoch, got shapes {loss.shape} and {accuracy.shape}."
            )
    (first_loss, first), (second_loss, second) = pairs
    before = np.arange(1, first.size + 1)
    after = first.size + np.arange(1, second.size + 1)
    with in_house_style():
        figure = canvas(fig)
        lost, won = 100 * (first[-1] - ptq_accuracy), 100 * (second[-1] - ptq_accuracy)
        at = "" if bits is None else f"{bits}-bit weights: "
        heading(figure, title or f"{at}PTQ loses {lost:.1f} points, QAT wins {won:.1f} back")
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.095, right=0.98, top=0.79, bottom=0.145, wspace=0.26)
        left.plot(before, first_loss, color=FLOAT_COLOR, linewidth=2.6, label="float")
        left.plot(after, second_loss, color=QAT_COLOR, linewidth=2.6, linestyle="--", label="QAT")
        left.set_yscale("log")
        left.set_ylabel("training loss")
        right.plot(before, 100 * first, color=FLOAT_COLOR, linewidth=2.6, label="float")
        right.plot(after, 100 * second, color=QAT_COLOR, linewidth=2.6, linestyle="--", label="QAT")
        right.axhline(100 * ptq_accuracy, color=QUANTIZED_COLOR, linewidth=2.6, linestyle=":", label="PTQ")
        low = min(100 * ptq_accuracy, 100 * second.min(), 100 * float(np.median(first)))
        right.set_ylim(low - 3.0, 100 * max(first.max(), second.max(), ptq_accuracy) + 0.8)
        right.set_ylabel("test accuracy (%)")
        for ax in (left, right):
            ax.axvline(first.size + 0.5, color=GREY, linewidth=1.2)
            ax.set_xlabel("epoch")
        right.text(first.size + 1, low - 2.8, "ranges\nfrozen", ha="left", va="bottom")
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.075, 0.905), ncols=3)
        return finish(
            figure,
            alt=alt or _curves_in_words(first, second, first_loss, second_loss, ptq_accuracy),
            save=save,
        )


def _curves_in_words(
    first: np.ndarray, second: np.ndarray, loss: np.ndarray, qat_loss: np.ndarray, ptq: float
) -> str:
    """The alternative text."""
    return (
        f"Loss and accuracy by epoch. Float training: {first.size} epochs, loss from {loss[0]:.3g} to {loss[-1]:.3g}, accuracy "
        f"at the end {100 * first[-1]:.1f} percent. Quantized after training (PTQ): {100 * ptq:.1f} percent, a horizontal line. "
        f"QAT: {second.size} more epochs, loss from {qat_loss[0]:.3g} to {qat_loss[-1]:.3g}, accuracy "
        f"{100 * second[-1]:.1f} percent."
    )


def code_flips(
    codes: npt.ArrayLike,
    *,
    shown: int = 6,
    name: str = "the layer",
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw how many weight codes change in each epoch of QAT, and the codes of those that change most often.

    Parameters
    ----------
    codes : (epochs + 1, weights) int array
        Before the training and after each epoch.
    shown : int >= 1
        How many of the most restless weights to follow.
    name : str
        Of the layer.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure
        Axes: the share that changes, the restless codes.

    Raises
    ------
    ValueError
        codes is not (epochs + 1, weights) of whole numbers, or shown is below 1.

    References
    ----------
    Nagel et al. 2022, "Overcoming oscillations in quantization-aware training".

    Examples
    --------
    >>> len(code_flips([[0, 1], [1, 1], [0, 1]], shown=1).axes)
    2
    """
    history = np.asarray(codes)
    if history.ndim != 2 or len(history) < 2 or history.dtype.kind not in "iu" or not history.size:
        raise ValueError(
            f"codes must be whole numbers of shape (epochs + 1, weights), got {history.dtype} {history.shape}."
        )
    if shown < 1:
        raise ValueError(f"shown must be at least 1, got {shown}.")
    flips = history[1:] != history[:-1]
    share = 100 * flips.mean(axis=1)
    restless = np.argsort(-flips.sum(axis=0), kind="stable")[: min(shown, history.shape[1])]
    epochs = np.arange(1, len(history))
    with in_house_style():
        figure = canvas(fig)
        never = 100 * float(np.mean(~flips.any(axis=0)))
        heading(
            figure,
            title or f"Fewer codes flip as QAT goes on; {never:.0f} % never do",
            f"{history.shape[1]:,} weight codes of {name}.",
        )
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.1, right=0.98, top=0.81, bottom=0.145, wspace=0.18)
        left.bar(epochs, share, color=QAT_COLOR, width=0.8)
        left.set_xlabel("epoch of QAT")
        left.set_ylabel("codes that change (%)")
        _draw_restless(right, history[:, restless])
        return finish(figure, alt=alt or _flips_in_words(share, flips, restless, name), save=save)


def _draw_restless(ax: Axes, codes: np.ndarray) -> None:
    """One strip a weight, its code as a step line."""
    epochs = np.arange(len(codes))
    gap = float(np.ptp(codes, axis=0).max()) + 1.0
    for place in range(codes.shape[1]):
        own = codes[:, place].astype(np.float64)
        level = -place * gap
        ax.plot(epochs, level + own - own.min(), color=INTEGER_COLOR, linewidth=2.6, drawstyle="steps-post")
        for code in np.unique(own):
            ax.text(-0.5, level + code - own.min(), f"{int(code)}", ha="right", va="center")
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlim(-2.2, len(codes) - 1)
    ax.set_xticks([tick for tick in ax.get_xticks() if 0 <= tick <= len(codes) - 1])
    ax.set_xlabel("epoch of QAT")
    ax.set_title(f"the {codes.shape[1]} most restless codes", weight="bold")


def _flips_in_words(share: np.ndarray, flips: np.ndarray, restless: np.ndarray, name: str) -> str:
    """The alternative text."""
    most = int(flips[:, restless[0]].sum())
    return (
        f"Share of the {flips.shape[1]} weight codes of {name} that change in each of {share.size} epochs of QAT: from "
        f"{share[0]:.2f} percent in the first to {share[-1]:.2f} in the last; {100 * np.mean(~flips.any(axis=0)):.1f} percent "
        f"never change. Beside it the {restless.size} codes that change most often, up to {most} times, going to and fro."
    )
