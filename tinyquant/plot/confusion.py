"""What is taken for what: two networks' confusions side by side, and what changed between them.

With this module one can draw the confusion matrices of two networks on the same images (`confusion_matrices`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import INK, canvas, finish, heading, in_house_style, ink_on

__all__ = ["confusion_matrices"]


def confusion_matrices(
    labels: npt.ArrayLike,
    predictions: Mapping[str, npt.ArrayLike],
    *,
    names: Sequence[str] | None = None,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw one confusion matrix a network: rows are the true classes, columns what was said, mistakes shaded.

    Parameters
    ----------
    labels : (N,) int array
        Classes counted from 0, up to 12 of them.
    predictions : mapping of name to (N,) int array
        One or two networks, on the same rows.
    names : sequence of str, optional
        Of the classes.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure
        One axes a network.

    Raises
    ------
    ValueError
        Shapes that differ, classes below 0 or more than 12, or not one or two networks.

    Examples
    --------
    >>> fig = confusion_matrices([0, 1, 1], {"float": [0, 1, 1], "3 bits": [0, 1, 0]})
    >>> fig.texts[0].get_text()
    'Mistakes: float 0, 3 bits 1'
    """
    truth = np.asarray(labels)
    said = {str(name): np.asarray(values) for name, values in predictions.items()}
    if not 1 <= len(said) <= 2:
        raise ValueError(f"predictions must hold one or two networks, got {len(said)}.")
    everything = np.concatenate([truth.ravel(), *(values.ravel() for values in said.values())])
    if truth.ndim != 1 or not truth.size or any(values.shape != truth.shape for values in said.values()):
        raise ValueError(
            f"labels and predictions must have one shape (N,), got {truth.shape} and {[v.shape for v in said.values()]}."
        )
    if everything.dtype.kind not in "iu" or everything.min() < 0 or everything.max() > 11:
        raise ValueError(
            f"classes must be whole numbers from 0 to 11, got {everything.min()} to {everything.max()}."
        )
    classes = int(everything.max()) + 1
    shown = list(names) if names is not None else [str(label) for label in range(classes)]
    if len(shown) != classes:
        raise ValueError(f"names must name {classes} classes, got {len(shown)}.")
    counts = {name: _count(truth, values, classes) for name, values in said.items()}
    wrong = {name: int(table.sum() - np.trace(table)) for name, table in counts.items()}
    with in_house_style():
        figure = canvas(fig)
        claim = ", ".join(f"{name} {number}" for name, number in wrong.items())
        heading(
            figure,
            title or f"Mistakes: {claim}",
            f"{truth.size} test cases; rows are what they are, columns what the network says.",
        )
        axes = np.atleast_1d(figure.subplots(1, len(said), sharey=True))
        room = max(0.085, 0.055 + 0.0125 * max(map(len, shown)))  # for the names and what stands before them
        figure.subplots_adjust(left=room, right=0.985, top=0.8, bottom=0.135, wspace=0.06)
        most = max(1, *(int(_mistakes(table).max()) for table in counts.values()))
        for ax, (name, table) in zip(axes, counts.items(), strict=True):
            _draw_matrix(ax, table, shown, most)
            ax.set_title(name, weight="bold")
            ax.set_xlabel("network says")
        axes[0].set_ylabel("it is")
        return finish(figure, alt=alt or _in_words(counts, wrong, truth.size, shown), save=save)


def _count(truth: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """How often each true class was called each class."""
    return np.bincount(truth * classes + said, minlength=classes**2).reshape(classes, classes)


def _mistakes(table: np.ndarray) -> np.ndarray:
    """The table without its diagonal."""
    return table - np.diag(np.diag(table))


def _draw_matrix(ax: Axes, table: np.ndarray, names: list[str], most: int) -> None:
    """Mistakes in shades, numbers where there are any."""
    shade = _mistakes(table) / most
    cmap, seen = matplotlib.colormaps["cividis_r"], np.where(shade > 0, 1.0, 0.0)
    ax.imshow(np.sqrt(shade), cmap=cmap, vmin=0, vmax=1, aspect="auto", alpha=seen)
    for (row, column), count in np.ndenumerate(table):
        if count or len(names) <= 3:  # a zero says something in a small table, and is noise in a large one
            color = INK if row == column else ink_on(cmap(float(np.sqrt(shade[row, column]))))
            weight = "normal" if row == column else "bold"
            ax.text(column, row, str(count), ha="center", va="center", color=color, weight=weight)
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(True)


def _in_words(
    counts: Mapping[str, np.ndarray], wrong: Mapping[str, int], cases: int, names: list[str]
) -> str:
    """The alternative text."""
    said = []
    for name, table in counts.items():
        worst = np.unravel_index(int(np.argmax(_mistakes(table))), table.shape)
        most = int(_mistakes(table)[worst])
        often = f", most often {names[worst[0]]} taken for {names[worst[1]]}, {most} times" if most else ""
        said.append(f"{name} makes {wrong[name]} mistakes{often}")
    return f"Confusion matrices on {cases} test cases, {len(names)} classes, side by side: {'; '.join(said)}."
