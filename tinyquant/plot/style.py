"""How a figure looks here: four colours that always mean the same, type large enough for the last row, bytes that repeat.

With this module one can draw in the house style without touching anybody's settings (`in_house_style`), start a figure that
a notebook shows by itself (`Picture`), and write it with its alternative text inside (`save_figure`). A figure function
is built like this::

    with in_house_style():
        fig = fig or Picture(figsize=WIDE)
        ...
        return finish(fig, alt=alt or "what the data says", save=save)
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib.style
from matplotlib.figure import Figure

__all__ = [
    "FLOAT_COLOR",
    "INTEGER_COLOR",
    "PLAIN",
    "QAT_COLOR",
    "QUANTIZED_COLOR",
    "WIDE",
    "Picture",
    "figure_bytes",
    "finish",
    "in_house_style",
    "save_figure",
]

FLOAT_COLOR = "#0072B2"
"""Blue: float, continuous, the truth."""

QUANTIZED_COLOR = "#D55E00"
"""Vermillion: quantized; PTQ."""

QAT_COLOR = "#009E73"
"""Green: QAT."""

INTEGER_COLOR = "#E69F00"
"""Orange: integers; the error."""

INK, PALE = "#222222", "#C9C9C9"

PLAIN = (6.4, 4.0)
"""Inches of a figure with one panel."""

WIDE = (9.6, 5.4)
"""Inches of a figure with several: 16:9, a slide."""

_STYLE: dict[str, Any] = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 13,
    "legend.frameon": False,
    "figure.titlesize": 18,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "axes.unicode_minus": False,
    # An SVG names its parts by hashes; without a salt of its own they change from one run to the next.
    "svg.hashsalt": "tinyquant",
    "svg.fonttype": "path",
}


@contextmanager
def in_house_style() -> Iterator[None]:
    """Within this context matplotlib's defaults plus the house style hold; afterwards the caller's settings are back.

    The type is 13 points on 9.6 inches: on a slide 13.3 inches wide that is 18 points, enough for the last row.

    Examples
    --------
    >>> import matplotlib
    >>> with in_house_style():
    ...     matplotlib.rcParams["font.size"]
    13.0
    """
    with matplotlib.style.context(["default", _STYLE]):
        yield


class Picture(Figure):
    """A matplotlib Figure that knows its alternative text and shows itself in a notebook, without pyplot's global state.

    Examples
    --------
    >>> fig = Picture(figsize=PLAIN)
    >>> fig.alt
    ''
    """

    alt: str = ""
    """What the figure shows, in words and numbers, for who cannot see it."""

    def _repr_png_(self) -> bytes:
        """What IPython shows when the figure is the last value of a cell."""
        return figure_bytes(self, "png", alt=self.alt)


def figure_bytes(fig: Figure, kind: str, *, alt: str = "") -> bytes:
    """The figure as a PNG or SVG file, the same bytes each time on one version of matplotlib.

    Parameters
    ----------
    fig : matplotlib Figure
    kind : "png" or "svg"
    alt : str
        Goes into the PNG's Description, the SVG's ``<desc>``.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        Another kind of file.

    Notes
    -----
    The date, and the name and version of the program, are left out: they would change the bytes and not the picture.

    Examples
    --------
    >>> figure_bytes(Picture(figsize=(1, 1)), "png")[1:4].decode()
    'PNG'
    """
    if kind not in ("png", "svg"):
        raise ValueError(f'a figure must be saved as png or svg, got {kind!r}. Name the file "something.png".')
    buffer = io.BytesIO()
    with in_house_style():
        if kind == "png":
            words: dict[str, str | None] = {"Description": alt} if alt else {}
            fig.savefig(buffer, format="png", metadata={"Software": None, **words})
            return buffer.getvalue()
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    head, tag, rest = buffer.getvalue().partition(b"<svg ")
    attributes, end, body = rest.partition(b">")
    description = b"\n <desc>" + escape(alt).encode() + b"</desc>" if alt else b""
    return head + tag + attributes + b' role="img"' + end + description + body


def save_figure(fig: Figure, path: str | os.PathLike[str], *, alt: str = "") -> Path:
    """Write the figure to a .png or .svg file, whole or not at all.

    Parameters
    ----------
    fig : matplotlib Figure
    path : path
        Its ending decides the kind; the folder must exist.
    alt : str
        As for `figure_bytes`; empty takes the figure's own.

    Returns
    -------
    Path of the file written

    Raises
    ------
    ValueError
        The ending is neither .png nor .svg.
    """
    target = Path(path)
    data = figure_bytes(fig, target.suffix.lstrip(".").lower(), alt=alt or getattr(fig, "alt", ""))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def finish(fig: Figure, *, alt: str, save: str | os.PathLike[str] | None = None) -> Figure:
    """The last line of a figure function: keep the alternative text with the figure, save it if asked, hand it back."""
    if isinstance(fig, Picture):
        fig.alt = alt
    if save is not None:
        save_figure(fig, save, alt=alt)
    return fig
