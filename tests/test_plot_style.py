"""The house style: four colours everybody can tell apart, files that repeat and carry their alternative text."""

from __future__ import annotations

import itertools
import os
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

import matplotlib
import matplotlib.colors
import numpy as np
import pytest

from tinyquant.plot import style

PALETTE = (style.FLOAT_COLOR, style.QUANTIZED_COLOR, style.QAT_COLOR, style.INTEGER_COLOR)

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
SEEN_BY = {
    "everybody": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(color: str, matrix: object) -> np.ndarray:
    """CIELAB (D65) of an sRGB colour after a linear-RGB matrix."""
    rgb = np.array(matplotlib.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(matrix) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ linear / to_xyz.sum(axis=1)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def drawn() -> style.Picture:
    """A small figure."""
    with style.in_house_style():
        fig = style.Picture(figsize=(2, 1))
        fig.subplots().plot([0, 1, 0])
    return fig


def png_chunks(data: bytes) -> dict[bytes, bytes]:
    """Text chunks of a PNG: keyword -> text."""
    at, found = 8, {}
    while at < len(data):
        (size,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        if kind == b"tEXt":
            key, _, text = body.partition(b"\0")
            found[key] = text
        at += 12 + size
    return found


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_any_two_of_the_four_colours_differ_for_every_eye(eyes: str) -> None:
    """CIE76 difference of at least 15, several times what is just noticeable (2.3)."""
    for one, other in itertools.combinations(PALETTE, 2):
        distance = float(np.linalg.norm(lab(one, SEEN_BY[eyes]) - lab(other, SEEN_BY[eyes])))
        assert distance >= 15, f"{one} and {other}: {distance:.1f}"


def test_the_colours_mean_what_they_always_mean() -> None:
    assert PALETTE == ("#0072B2", "#D55E00", "#009E73", "#E69F00")


def test_settings_are_back_after_the_context_even_when_drawing_fails() -> None:
    with matplotlib.rc_context({"font.size": 7}):
        with pytest.raises(ZeroDivisionError), style.in_house_style():
            assert matplotlib.rcParams["font.size"] == 13
            raise ZeroDivisionError
        assert matplotlib.rcParams["font.size"] == 7


def test_a_png_holds_its_description_and_no_program_name() -> None:
    chunks = png_chunks(style.figure_bytes(drawn(), "png", alt="a zigzag"))
    assert chunks == {b"Description": b"a zigzag"}


def test_an_svg_holds_its_description_escaped_and_no_date() -> None:
    data = style.figure_bytes(drawn(), "svg", alt="x < 1 & y")
    root = ElementTree.fromstring(data)
    assert root[0].tag.endswith("desc") and root[0].text == "x < 1 & y"
    assert b"<dc:date>" not in data and b"Matplotlib v" not in data


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_figure_is_the_same_bytes(kind: str) -> None:
    fig = drawn()
    first = style.figure_bytes(fig, kind)
    assert first == style.figure_bytes(fig, kind) == style.figure_bytes(drawn(), kind)


def test_a_picture_shows_itself_in_a_notebook_with_its_description() -> None:
    fig = style.finish(drawn(), alt="a zigzag")
    assert isinstance(fig, style.Picture)
    assert png_chunks(fig._repr_png_())[b"Description"] == b"a zigzag"


def test_a_failed_save_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.png"
    style.save_figure(drawn(), target)
    before = target.read_bytes()

    def broken(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        style.save_figure(drawn(), target)
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a figure must be saved as png or svg, got 'pdf'. Name the file"):
        style.save_figure(drawn(), tmp_path / "a.pdf")
