"""Accuracy hides what matters: the same test cases under several networks, every missed one a filled mark.

Two networks of one accuracy can miss very different numbers of cancers. Each ill person is a mark; those a network calls healthy
are filled. With this module one can draw that (`missed_cases`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from .style import GREY, INK, QUANTIZED_COLOR, canvas, finish, heading, in_house_style

__all__ = ["missed_cases"]

PER_ROW = 9


def missed_cases(
    labels: npt.ArrayLike,
    predictions: Mapping[str, npt.ArrayLike],
    *,
    undecided: Mapping[str, npt.ArrayLike] | None = None,
    positive: int = 1,
    what: str = "cancer",
    note: str = "Thirty cell measurements, not an image; teaching data, not a medical device.",
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw every positive test case as a figure, the missed ones filled, one panel a network.

    Parameters
    ----------
    labels : (N,) int array
    predictions : mapping of name to (N,) int array
        One to four networks, on the same cases.
    undecided : mapping of name to (N,) bool array, optional
        Of the same networks, some or all: where both classes had the same output, so that the prediction is the tie rule's and
        not the network's. A missed case among them is hatched.
    positive : int
        The label that must not be missed.
    what : str
        What it is called.
    note : str
        Said below.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure
        One axes a network.

    Raises
    ------
    ValueError
        Shapes that differ, no positive case, fewer than one or more than four networks, or ties of a network that is not there.

    Examples
    --------
    >>> fig = missed_cases([1, 1, 0], {"float": [1, 1, 0], "3 bits": [1, 0, 0]})
    >>> [ax.get_title().splitlines()[:2] for ax in fig.axes]
    [['float', '0 missed'], ['3 bits', '1 missed']]
    """
    truth = np.asarray(labels)
    said = {str(name): np.asarray(values) for name, values in predictions.items()}
    if not 1 <= len(said) <= 4:
        raise ValueError(f"predictions must hold one to four networks, got {len(said)}.")
    if truth.ndim != 1 or any(values.shape != truth.shape for values in said.values()):
        shapes = [values.shape for values in said.values()]
        raise ValueError(f"labels and predictions must have one shape (N,), got {truth.shape} and {shapes}.")
    ill = truth == positive
    if not ill.any():
        raise ValueError(
            f"labels must hold the positive label {positive} at least once, got {np.unique(truth).tolist()}."
        )
    ties = {name: np.zeros(truth.shape, bool) for name in said}
    for name, values in (undecided or {}).items():
        mask = np.asarray(values)
        if name not in said or mask.shape != truth.shape or mask.dtype != bool:
            raise ValueError(
                f"undecided must hold bool arrays {truth.shape} of {', '.join(said)}, got {mask.dtype} {mask.shape} of {name!r}."
            )
        ties[name] = mask
    missed = {name: (values != positive)[ill] for name, values in said.items()}
    tied = {name: (ties[name][ill] & missed[name]) for name in said}
    right = {name: float(np.mean(values == truth)) for name, values in said.items()}
    with in_house_style():
        figure = canvas(fig)
        heading(
            figure,
            title or _title(missed, tied, what),
            f"Each figure is one {what} of the test set; filled: missed"
            + ("; hatched: by a tie, both outputs equal." if any(t.any() for t in tied.values()) else "."),
        )
        axes = np.atleast_1d(figure.subplots(1, len(said)))
        figure.subplots_adjust(left=0.02, right=0.98, top=0.685, bottom=0.09, wspace=0.08)
        for ax, name in zip(axes, said, strict=True):
            _draw_people(ax, missed[name], tied[name])
            ax.set_title(
                f"{name}\n{_count(missed[name], tied[name])}\naccuracy {100 * right[name]:.1f} %", weight="bold", linespacing=1.25
            )
        figure.text(0.5, 0.025, note, ha="center", va="bottom", style="italic")
        return finish(figure, alt=alt or _in_words(missed, tied, right, what), save=save)


def _count(missed: np.ndarray, tied: np.ndarray) -> str:
    """How many, and how many of them by a tie."""
    return f"{int(missed.sum())} missed" + (f", {int(tied.sum())} by a tie" if tied.any() else "")


def _title(missed: Mapping[str, np.ndarray], tied: Mapping[str, np.ndarray], what: str) -> str:
    """From the first network to the last."""
    counts = [int(values.sum()) for values in missed.values()]
    last = list(missed)[-1]
    if len(counts) > 1 and counts[-1] > counts[0] > 0:
        times = f"{last}: {counts[-1] / counts[0]:.2g} times the missed {what}s"
        return times + (", most of them ties" if 2 * int(tied[last].sum()) > counts[-1] else "")
    return f"Missed {what}s: {', '.join(str(count) for count in counts)}"


def _draw_people(ax: Axes, missed: np.ndarray, tied: np.ndarray) -> None:
    """A head and shoulders a case: the missed ones first and filled, those by a tie after them and hatched."""
    kinds = sorted(zip(missed.tolist(), (~tied).tolist()), reverse=True)
    for place, (is_missed, by_a_verdict) in enumerate(kinds):
        x, y = place % PER_ROW, -(place // PER_ROW) * 1.25
        face, edge = (QUANTIZED_COLOR, INK) if is_missed and by_a_verdict else ("white", INK if is_missed else GREY)
        hatch = "" if by_a_verdict else "/" * 6
        ax.add_patch(Circle((x, y + 0.3), 0.2, facecolor=face, edgecolor=edge, linewidth=1.4, hatch=hatch))
        round_box = "round,pad=0.04,rounding_size=0.16"
        ax.add_patch(
            FancyBboxPatch(
                (x - 0.26, y - 0.42), 0.52, 0.36, round_box, facecolor=face, edgecolor=edge, linewidth=1.4, hatch=hatch
            )
        )
    rows = -(-missed.size // PER_ROW)
    ax.set_xlim(-0.7, PER_ROW - 0.3)
    ax.set_ylim(-(rows - 1) * 1.25 - 0.65, 0.7)
    ax.set_aspect("equal", anchor="N")
    ax.axis("off")


def _in_words(
    missed: Mapping[str, np.ndarray], tied: Mapping[str, np.ndarray], right: Mapping[str, float], what: str
) -> str:
    """The alternative text."""
    said = [
        f"{name}: {_count(values, tied[name])}, accuracy {100 * right[name]:.1f} percent"
        for name, values in missed.items()
    ]
    cases = next(iter(missed.values())).size
    return (
        f"The {cases} cases of {what} in the test set as small figures, the missed ones filled, one panel a network: "
        f"{'; '.join(said)}."
    )
