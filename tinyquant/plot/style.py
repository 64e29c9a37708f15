"""How a figure looks here: four colours that always mean the same, type large enough for the last row, bytes that repeat.

With this module one can draw in the house style without touching anybody's settings (`in_house_style`), start a figure that
a notebook shows by itself (`Picture`), and write it with its alternative text inside (`save_figure`). A figure function
is built like this::

    with in_house_style():
        figure = canvas(fig)
        heading(figure, title or "What is seen", "how to read it")
        ...
        return finish(figure, alt=alt or "what the data says", save=save)
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

from tinyquant.interop.files import write_atomically

__all__ = [
    "FLOAT_COLOR",
    "GREY",
    "HATCH",
    "INK",
    "INTEGER_COLOR",
    "MARKER",
    "PALE",
    "PLAIN",
    "QAT_COLOR",
    "QUANTIZED_COLOR",
    "SLIDE_INCHES",
    "WIDE",
    "Picture",
    "canvas",
    "figure_bytes",
    "finish",
    "heading",
    "ink_on",
    "in_house_style",
    "save_figure",
    "slide_bytes",
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

GREY = "#6B6B6B"
"""Words and marks of the second rank; dark enough to be read on white."""

MARKER = {FLOAT_COLOR: "o", QUANTIZED_COLOR: "s", QAT_COLOR: "^", INTEGER_COLOR: "D"}
"""Each colour's own mark, and below its hatch: a print in grey tells them apart by these."""

HATCH = {FLOAT_COLOR: "", QUANTIZED_COLOR: "//", QAT_COLOR: "..", INTEGER_COLOR: "xx"}

PLAIN = (6.4, 4.0)
"""Inches of a figure with one panel."""

WIDE = (9.6, 5.4)
"""Inches of a figure with several: 16:9, a slide."""

SLIDE_INCHES = (13.333, 7.5)
"""A 16:9 slide. `WIDE` blown up to it turns 13 points into 18."""

_STYLE: dict[str, Any] = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.labelsize": 13,
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
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


def canvas(fig: Figure | None) -> Figure:
    """The caller's figure, or a new one of the house's size."""
    return Picture(figsize=WIDE) if fig is None else fig


def heading(fig: Figure, title: str, said: str = "") -> None:
    """The title, in bold at the top left, and a line below it that says how to read the picture.

    Leave the upper 17 % of the figure to it.

    >>> fig = Picture(figsize=WIDE)
    >>> heading(fig, "One curve, fewer and fewer codes", "Time is not sampled.")
    >>> [text.get_text() for text in fig.texts]
    ['One curve, fewer and fewer codes', 'Time is not sampled.']
    """
    fig.suptitle(title, x=0.02, y=0.98, ha="left", weight="bold")
    if said:
        fig.text(0.02, 0.89, said, ha="left", va="center")


def ink_on(color: tuple[float, float, float, float]) -> str:
    """Black or white, whichever is read more easily on a colour (WCAG 2: the higher contrast ratio).

    >>> ink_on((1.0, 1.0, 1.0, 1.0)), ink_on((0.0, 0.1, 0.3, 1.0))
    ('#222222', 'white')
    """
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in color[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return INK if luminance > 0.2 else "white"


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


def slide_bytes(fig: Figure, kind: str, *, alt: str = "") -> bytes:
    """A figure of the size `WIDE` as a 16:9 slide: 13.3 x 7.5 inches, so that its 13 points become 18.

    Parameters
    ----------
    fig : matplotlib Figure
        Of the shape 16:9.
    kind : "png" or "svg"
        A PNG has 1920 x 1080 dots.
    alt : str

    Raises
    ------
    ValueError
        Another shape, or another kind of file.
    """
    width, height = fig.get_size_inches()
    if abs(width / height - 16 / 9) > 1e-3:
        raise ValueError(f"a slide must be 16:9, got {width:g} x {height:g} inches. Draw with figsize={WIDE}.")
    if kind == "svg":
        data = figure_bytes(fig, "svg", alt=alt)
        # The drawing keeps its own units (viewBox); only the size it is shown at grows.
        for name, inches, slide in (("width", width, SLIDE_INCHES[0]), ("height", height, SLIDE_INCHES[1])):
            data = data.replace(f'{name}="{72 * inches:g}pt"'.encode(), f'{name}="{72 * slide:g}pt"'.encode(), 1)
        return data
    if kind != "png":
        raise ValueError(f'a slide must be "png" or "svg", got {kind!r}.')
    buffer = io.BytesIO()
    with in_house_style():
        words: dict[str, str | None] = {"Description": alt} if alt else {}
        dots = {"dpi": (144, 144)}
        fig.savefig(buffer, format="png", dpi=1920 / width, metadata={"Software": None, **words}, pil_kwargs=dots)
    return buffer.getvalue()


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
    write_atomically(target, data)
    return target


def finish(fig: Figure, *, alt: str, save: str | os.PathLike[str] | None = None) -> Figure:
    """The last line of a figure function: keep the alternative text with the figure, save it if asked, hand it back."""
    if isinstance(fig, Picture):
        fig.alt = alt
    if save is not None:
        save_figure(fig, save, alt=alt)
    return fig
