"""`tinyquant figures`: every figure of the package drawn and read as a person in the last row would, its files and its index."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import matplotlib.colors
import matplotlib.text
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from tinyquant import plot
from tinyquant.cli import main
from tinyquant.cli.figure_data import FigureData
from tinyquant.cli.figures import FIGURES
from tinyquant.plot.style import MARKER, Picture, slide_bytes

ROOT = Path(__file__).parents[1]
SLIDE = 13.333 / 9.6
"""How much a figure grows on a slide."""


@pytest.fixture(scope="module")
def given() -> FigureData:
    return FigureData()


@pytest.fixture(scope="module", params=list(FIGURES))
def figure(request: pytest.FixtureRequest, given: FigureData) -> Figure:
    drawing = FIGURES[request.param]
    drawn = drawing.draw(given, plot, drawing.frames[-1])
    drawn.draw_without_rendering()
    return drawn


def seen_texts(fig: Figure) -> Iterator[tuple[matplotlib.text.Text, Bbox]]:
    """Every word that is drawn, with the box it fills; ticks outside their axis are not drawn."""
    renderer = fig._get_renderer()  # type: ignore[attr-defined]
    hidden = {id(t) for ax in fig.axes if not ax.get_visible() for t in ax.findobj(matplotlib.text.Text)}
    for ax in fig.findobj(matplotlib.axes.Axes):
        if not ax.axison or not ax.get_visible():
            hidden |= {id(t) for axis in (ax.xaxis, ax.yaxis) for t in axis.findobj(matplotlib.text.Text)}
            continue
        for axis in (ax.xaxis, ax.yaxis):
            drawn = {id(tick) for tick in axis._update_ticks()}  # type: ignore[attr-defined]
            for tick in (*axis.majorTicks, *axis.minorTicks):
                if id(tick) not in drawn:
                    hidden |= {id(tick.label1), id(tick.label2)}
    for text in fig.findobj(matplotlib.text.Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in hidden:
            box = matplotlib.text.Text.get_window_extent(text, renderer)
            lines = text.get_text().split("\n")
            blank = lines[::-1].index(next(line for line in reversed(lines) if line))
            # Empty lines at the end lift a word and fill no space.
            yield text, Bbox.from_extents(box.x0, box.y0 + box.height * blank / len(lines), box.x1, box.y1)


def test_a_figure_has_a_title_and_alternative_text_of_its_own(figure: Figure) -> None:
    assert isinstance(figure, Picture)
    assert len(figure.alt) > 80 and figure.alt.isascii() and not re.search(r"\bnan\b|\binf\b|None", figure.alt)
    assert 10 <= len(figure.texts[0].get_text()) <= 70


def test_no_word_is_cut_off_or_lies_over_another(figure: Figure) -> None:
    assert_readable(figure)


@pytest.mark.parametrize("name", [name for name, drawing in FIGURES.items() if len(drawing.frames) > 1])
def test_the_frames_of_a_slide_are_as_readable_and_each_shows_something_else(name: str, given: FigureData) -> None:
    drawn = [FIGURES[name].draw(given, plot, frame) for frame in FIGURES[name].frames]
    for fig in drawn:
        fig.draw_without_rendering()
        assert_readable(fig)
    alts = {fig.alt for fig in drawn if isinstance(fig, Picture)}
    assert len(alts) == len(drawn) and all(len(alt) > 80 for alt in alts)


def assert_readable(figure: Figure) -> None:
    """Boxes of text, in dots: inside the figure, and none over a neighbour by more than a dot or two of empty margin."""
    width, height = figure.canvas.get_width_height()
    found = list(seen_texts(figure))
    for text, box in found:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, f"cut: {text.get_text()!r}"
    for (one, a), (other, b) in itertools.combinations(found, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        up = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across <= 2 or up <= 4, f"{one.get_text()!r} lies over {other.get_text()!r}"


def test_all_type_is_at_least_18_points_on_a_slide(figure: Figure) -> None:
    for text, _ in seen_texts(figure):
        assert text.get_fontsize() * SLIDE >= 18, text.get_text()
    width, height = figure.get_size_inches()
    assert abs(width / height - 16 / 9) < 1e-3


def luminance(color: object) -> float:
    """Relative luminance (WCAG 2)."""
    rgb = np.array(matplotlib.colors.to_rgb(color))  # type: ignore[arg-type]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_words_on_white_have_contrast_also_in_grey(figure: Figure) -> None:
    """WCAG 2: at least 3 to 1 for large type (18 points, or 14 bold)."""
    for text, _ in seen_texts(figure):
        if text.get_color() != "white":
            assert 1.05 / (luminance(text.get_color()) + 0.05) >= 3, f"{text.get_text()!r} in {text.get_color()}"


def test_lines_of_two_colours_differ_in_grey_by_more_than_their_colour(figure: Figure) -> None:
    """In one panel, two of the four colours have another marker, dash or width, or lie far apart in lightness."""
    for ax in figure.axes:
        # The caps of error bars belong to marks that are compared themselves.
        looks = {
            (str(line.get_color()).upper(), line.get_marker(), line.get_linestyle(), line.get_linewidth())
            for line in ax.lines
            if line.get_marker() != "_"
        }
        named = [look for look in looks if look[0] in MARKER]
        for one, other in itertools.combinations(named, 2):
            if one[0] != other[0]:
                assert one[1:] != other[1:] or abs(luminance(one[0]) - luminance(other[0])) > 0.2, (one, other)


def test_every_axis_with_ticks_has_a_label_or_shares_one(figure: Figure) -> None:
    """x axes: somewhere in the column; y axes: names need no unit, numbers do."""
    below = [ax.get_xlabel() for ax in figure.axes] + [text.get_text() for text in figure.texts if text.get_text() == "time t"]
    assert any(below) or not any(ax.axison for ax in figure.axes)
    for ax in figure.axes:
        if not ax.axison or not ax.get_visible():
            continue
        numbers = [t.get_text() for t in ax.get_yticklabels() if re.fullmatch(r"[-+]?[\d./]+", t.get_text())]
        shares = any(ax.get_shared_y_axes().joined(ax, other) and other.get_ylabel() for other in figure.axes if other is not ax)
        assert not numbers or ax.get_ylabel() or shares, numbers


def test_the_files_are_the_same_bytes_on_a_second_run_and_slides_stand_beside(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        assert main(["figures", "staircase", "ste", "--slides", "--out", str(tmp_path / folder)]) == 0
    first = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    names = {str(p) for p in first}
    assert names == {"staircase.png", "ste.png"} | {
        f"slides/{stem}.{kind}" for stem in ("staircase", "ste", "ste_1", "ste_2") for kind in ("svg", "png")
    }
    for path in first:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_a_slide_is_16_by_9_and_large(given: FigureData) -> None:
    fig = FIGURES["staircase"].draw(given, plot, {})
    root = ElementTree.fromstring(slide_bytes(fig, "svg", alt="stairs"))
    assert (root.get("width"), root.get("height")) == ("959.976pt", "540pt") and root.get("viewBox") == "0 0 691.2 388.8"
    png = slide_bytes(fig, "png")
    assert (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")) == (1920, 1080)
    with pytest.raises(ValueError, match="a slide must be 16:9, got 4 x 4 inches"):
        slide_bytes(Figure(figsize=(4, 4)), "png")
    with pytest.raises(ValueError, match='a slide must be "png" or "svg", got'):
        slide_bytes(fig, "pdf")


def test_the_committed_figures_and_index_are_all_there() -> None:
    index = (ROOT / "figures" / "index.md").read_text(encoding="utf-8")
    for name in FIGURES:
        assert (ROOT / "figures" / f"{name}.png").is_file()
        assert f"]({name}.png)" in index and f"`tinyquant figures {name}`" in index
    assert index.isascii()
    assert sum(p.stat().st_size for p in (ROOT / "figures").iterdir()) < 4_000_000


def test_the_committed_index_is_what_the_data_say_now(given: FigureData) -> None:
    """Titles and alternative texts hold the numbers; they must be those the checkpoints give."""
    index = (ROOT / "figures" / "index.md").read_text(encoding="utf-8")
    for name in ("table", "missed_cancers", "error_budget", "memory"):
        drawing = FIGURES[name]
        fig = drawing.draw(given, plot, drawing.frames[-1])
        assert isinstance(fig, Picture) and fig.alt in index


def test_an_unknown_figure_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "sinal", "--out", str(tmp_path)]) == 3
    assert "NAME must be one of signal, staircase" in capsys.readouterr().err
