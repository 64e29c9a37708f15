"""The explorer: what a setting does, the film strip, the widgets on a canvas without a screen, and the command."""

from __future__ import annotations

import builtins
import math
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backend_bases import MouseButton, MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from tinyquant import data
from tinyquant.cli import explore as command
from tinyquant.cli import main
from tinyquant.numerics.rounding import ROUNDING_MODES
from tinyquant.plot import explore_window
from tinyquant.plot.explore import Curve, Explored, Settings, explored, film_strip
from tinyquant.plot.explore_window import ExploreWindow, why_no_window
from tinyquant.plot.style import FLOAT_COLOR, INTEGER_COLOR, QUANTIZED_COLOR

T, WAVE = data.sine(400)
CURVES = {"sine": Curve(T, WAVE + np.float32(0.3)), "ramp-up": Curve(np.arange(9), np.arange(9) / 8)}


class Patient(FigureCanvasAgg):
    """Counts how often a drawing is asked for; a window's canvas draws later, too."""

    asked = 0

    def draw_idle(self):
        self.asked += 1


START = Settings("sine")


def window(settings: Settings = START) -> ExploreWindow:
    """Built without a screen."""
    return ExploreWindow(Patient(Figure()).figure, CURVES, settings)


def colored(ax, color):
    """The one line of a colour."""
    (line,) = [line for line in ax.lines if to_hex(line.get_color()).upper() == color]
    return line


def assert_shows(w: ExploreWindow, settings: Settings) -> Explored:
    """Every artist and every knob says what `explored` says of these settings."""
    truth = explored(CURVES, settings)
    assert w.seen.settings == settings
    np.testing.assert_array_equal(colored(w.curve_ax, FLOAT_COLOR).get_ydata(), truth.curve.x)
    np.testing.assert_array_equal(colored(w.curve_ax, QUANTIZED_COLOR).get_ydata(), truth.decoded)
    np.testing.assert_array_equal(colored(w.error_ax, INTEGER_COLOR).get_ydata(), truth.error)
    assert sorted(line.get_ydata()[0] for line in w.error_ax.lines if line.get_linestyle() == "--") == [-0.5, 0.5]
    assert w.said_sqnr.get_text() == truth.said_sqnr
    assert tuple((a.get_text(), b.get_text()) for a, b in w.said) == truth.rows
    knobs = (w.bits.val, w.clip.val, w.zero_point.val, w.signal.value_selected, w.rounding.value_selected)
    assert knobs == (settings.bits, settings.clip, truth.qp.zero_point, settings.signal.replace("-", " "), settings.rounding)
    assert (w.zero_point.valmin, w.zero_point.valmax) == (truth.qp.qmin, truth.qp.qmax)
    return truth


# What a setting does


def test_every_number_of_a_setting_by_hand():
    """Codes -2..1, range [-1, 0.5] of [-2, 1] -> step 1/2, zero point 0: -2 and 1 are clipped."""
    x = [-2.0, -1.0, -0.3, 0.0, 0.25, 0.5, 1.0]
    seen = explored({"x": Curve(range(7), x)}, Settings("x", bits=2, clip=0.5))
    assert (seen.qp.scale, seen.qp.zero_point, seen.qp.qmin, seen.qp.qmax) == (0.5, 0, -2, 1)
    assert seen.decoded.tolist() == [-1.0, -1.0, -0.5, 0.0, 0.5, 0.5, 0.5]
    assert seen.error.tolist() == pytest.approx([2.0, 0.0, -0.4, 0.0, 0.5, 0.0, -1.0], abs=1e-15)
    assert (seen.codes_used, seen.clipped, seen.worst) == (4, 2 / 7, 2.0)
    exact = [Fraction(v) for v in x]
    lost = [Fraction(d) - v for d, v in zip(seen.decoded.tolist(), exact)]
    assert seen.sqnr == pytest.approx(10 * math.log10(sum(v * v for v in exact) / sum(v * v for v in lost)), abs=1e-12)
    assert seen.rows == (
        ("scale", "0.5 a step"), ("zero point", "code 0"), ("codes used", "4 of 4"), ("clipped", "28.6 % of points"),
        ("largest error", "2.00 steps"),
    )  # fmt: skip


def test_a_moved_zero_point_moves_the_range_and_keeps_the_scale():
    chosen, moved = (explored(CURVES, Settings("sine", zero_point=z)) for z in (None, 7))
    assert moved.qp.scale == chosen.qp.scale and moved.qp.zero_point == 7
    assert moved.decoded.max() == 0.0 and moved.clipped > 0.5, "code 7 is the last: nothing above real 0 has a code"
    assert moved.rows[1] == ("zero point", "code 7 (moved)")


@pytest.mark.parametrize("rounding", ROUNDING_MODES)
def test_each_rounding_errs_within_its_bound_and_repeats(rounding):
    """Inside the range: half a step to the nearest, less than one step otherwise; plus 2**-20 steps of float32 division."""
    seen = explored(CURVES, Settings("sine", bits=5, clip=1.2, rounding=rounding))
    assert seen.clipped == 0
    assert seen.worst <= (0.5 if rounding.startswith("half_") else 1.0) + 2**-20
    signs = {"floor": seen.error.max() <= 2**-20, "ceil": seen.error.min() >= -(2**-20)}
    assert signs.get(rounding, True)
    np.testing.assert_array_equal(seen.decoded, explored(CURVES, seen.settings).decoded)


def test_no_error_is_said_in_words():
    seen = explored(CURVES, Settings("ramp-up", bits=4, clip=15 / 8))
    assert seen.sqnr == math.inf and seen.said_sqnr == "no error" and seen.codes_used == 9


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"bits": 1}, "bits must be between 2 and 8, got 1"), ({"bits": 9}, "bits must be between 2 and 8, got 9"),
        ({"clip": 0.0}, "clip must be a share of the range above 0, got 0.0"), ({"clip": math.nan}, "clip must be a share"),
        ({"clip": math.inf}, "clip must be a share"), ({"signal": "noise"}, "signal must be one of sine, ramp-up, got 'noise'"),
        ({"zero_point": 8}, "zero_point must lie in"), ({"rounding": "up"}, "mode must be one of"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        explored(CURVES, replace(Settings("sine"), **wrong))


def test_what_is_no_curve_is_refused():
    with pytest.raises(ValueError, match="t must increase"):
        Curve([1.0, 0.0], [0.0, 0.0])


# The film strip


def test_the_strip_shows_what_each_setting_does_and_repeats_its_bytes(tmp_path):
    start = Settings("sine", bits=7, zero_point=3, rounding="floor")
    fig = film_strip(CURVES, start, save=tmp_path / "a.png")
    film_strip(CURVES, start, save=tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    grid = [(bits, clip) for bits in (4, 2) for clip in (1.0, 0.7, 0.4)]
    assert len(fig.axes) == 2 * len(grid)
    truths = [explored(CURVES, Settings("sine", bits=b, clip=c, rounding="floor")) for b, c in grid]
    for at, truth in enumerate(truths):
        above, below = fig.axes[2 * at : 2 * at + 2]
        np.testing.assert_array_equal(colored(above, QUANTIZED_COLOR).get_ydata(), truth.decoded)
        np.testing.assert_array_equal(colored(below, INTEGER_COLOR).get_ydata(), truth.error)
        best = truth.sqnr == max(t.sqnr for t in truths[at // 3 * 3 :][:3])
        assert above.get_title() == truth.said_sqnr + (", best" if best else "")
        assert truth.said_sqnr in fig.alt and f"{truth.codes_used} of {truth.qp.levels} codes used" in fig.alt
    assert "'sine'" in fig.alt and "floor" in fig.alt and fig.alt.isascii()


def test_words_and_numbers_of_the_strip_do_not_collide():
    fig = film_strip(CURVES, Settings("sine"))
    FigureCanvasAgg(fig).draw()
    # A legend's words are found twice.
    words = {id(text): text for text in fig.findobj(Text)}.values()
    drawn = [text for text in words if text.get_visible() and text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in drawn]
    inside = [(said, box) for said, box in boxes if box.width and fig.bbox.fully_overlaps(box)]
    assert len(inside) > 20
    for at, (said, box) in enumerate(inside):
        assert fig.bbox.x0 <= box.x0 and box.x1 <= fig.bbox.x1 and fig.bbox.y0 <= box.y0 and box.y1 <= fig.bbox.y1, said
        for other, its in inside[at + 1 :]:
            assert not box.padded(-1).overlaps(its.padded(-1)), (said, other)


@pytest.mark.parametrize("grid", [{"bits": (2, 3, 4)}, {"bits": ()}, {"clips": (1, 0.9, 0.8, 0.7)}, {"clips": ()}])
def test_a_strip_that_a_slide_cannot_show_is_refused(grid):
    with pytest.raises(ValueError, match="a strip must have 1 or 2 bits and 1 to 3 clips"):
        film_strip(CURVES, Settings("sine"), **grid)


# The window


def test_the_window_shows_what_it_starts_with():
    start = Settings("sine", bits=3, clip=0.8, zero_point=1, rounding="ceil")
    assert_shows(window(start), start)


def test_every_knob_changes_what_is_shown_to_what_the_settings_say():
    w, settings = window(), Settings("sine")
    turns = [
        (lambda: w.bits.set_val(3), {"bits": 3}), (lambda: w.clip.set_val(0.5), {"clip": 0.5}),
        (lambda: w.zero_point.set_val(2), {"zero_point": 2}),
        (lambda: w.rounding.set_active(ROUNDING_MODES.index("floor")), {"rounding": "floor"}),
        (lambda: w.rounding.set_active(ROUNDING_MODES.index("stochastic")), {"rounding": "stochastic"}),
        (lambda: w.clip.set_val(1.5), {"clip": 1.5}),
        (lambda: w.bits.set_val(8), {"bits": 8, "zero_point": None}), (lambda: w.zero_point.set_val(-128), {"zero_point": -128}),
        (lambda: w.signal.set_active(1), {"signal": "ramp-up", "zero_point": None}),
    ]  # fmt: skip
    for turn, changed in turns:
        before, drawings = w.seen, w.figure.canvas.asked
        turn()
        assert w.figure.canvas.asked == drawings + 1
        settings = replace(settings, **changed)
        assert_shows(w, settings)
        assert not np.array_equal(before.decoded, w.seen.decoded), changed


def test_a_value_between_two_codes_or_beyond_them_becomes_a_code():
    w = window(Settings("sine", bits=3))
    w.zero_point.set_val(1.6)
    assert_shows(w, Settings("sine", bits=3, zero_point=2))
    w.zero_point.set_val(99)
    assert_shows(w, Settings("sine", bits=3, zero_point=3))


def test_the_view_stays_where_it_is_while_knobs_are_turned():
    """What moves on the screen is the quantizer, not the curve."""
    w = window()
    before = [(ax.get_xlim(), ax.get_ylim()) for ax in (w.curve_ax, w.error_ax)]
    w.clip.set_val(0.3)
    w.bits.set_val(2)
    assert [(ax.get_xlim(), ax.get_ylim()) for ax in (w.curve_ax, w.error_ax)] == before


def test_the_bound_below_the_curve_is_that_of_the_rounding():
    w = window()
    assert w.error_ax.get_title(loc="left") == "half_away errs by at most half a step"
    w.rounding.set_active(ROUNDING_MODES.index("floor"))
    w.clip.set_val(0.5)
    assert w.error_ax.get_title(loc="left") == "floor errs by up to a whole step; clipping: no bound"


def click(w: ExploreWindow, ax, across: float) -> None:
    """Press and let go of the left button at a share of some axes' width."""
    x, y = ax.transAxes.transform((across, 0.5))
    for name in ("button_press_event", "button_release_event"):
        w.figure.canvas.callbacks.process(name, MouseEvent(name, w.figure.canvas, x, y, MouseButton.LEFT))


def test_a_mouse_turns_the_knobs_and_reset_brings_the_start_back():
    start = Settings("sine", bits=4, clip=0.7)
    w = window(start)
    click(w, w.bits.ax, 1 / 6)
    assert_shows(w, replace(start, bits=3))
    click(w, w.zero_point.ax, 6 / 7)
    assert_shows(w, replace(start, bits=3, zero_point=2))
    click(w, w.reset.ax, 0.5)
    assert_shows(w, start)


def test_the_window_touches_no_global_setting_and_draws_no_figure_of_its_own():
    import matplotlib

    before = dict(matplotlib.rcParams)
    window().bits.set_val(6)
    assert dict(matplotlib.rcParams) == before and pyplot.get_fignums() == []


# Is there a screen?


def test_the_agg_backend_has_no_window(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    assert why_no_window() == "matplotlib's backend here is 'agg', which draws files only"
    assert pyplot.get_fignums() == []


def test_a_canvas_of_a_toolkit_has_a_window(monkeypatch):
    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", "tk")
    assert why_no_window() == "" and pyplot.get_fignums() == []


def test_a_toolkit_that_fails_is_quoted(monkeypatch):
    def no_display(**given):
        raise RuntimeError("couldn't connect to display\nand more")

    monkeypatch.setattr(pyplot, "figure", no_display)
    assert why_no_window() == "matplotlib could not open one (couldn't connect to display)"


def test_a_screen_without_a_toolkit_is_told_what_is_missing(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    assert why_no_window().endswith("draws files only; a window needs a toolkit that works, such as tkinter or PySide6")


DEAD = """
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas
from matplotlib.backend_bases import FigureManagerBase as FigureManager
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a screen is told by DISPLAY on Linux only")
@pytest.mark.parametrize(
    "backend, said",
    [
        (None, "there is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set"),
        ("TkAgg", "there is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set"),
        ("Agg", "matplotlib's backend here is 'agg', which draws files only"),
        ("module://like_inline", "matplotlib's backend here is 'module://like_inline', which draws files only"),
    ],
)
def test_without_a_screen_a_sentence_is_said(backend, said, tmp_path, repository):
    """In a program of its own: matplotlib decides once."""
    (tmp_path / "like_inline.py").write_text(DEAD)
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")}
    env |= {"MPLBACKEND": backend} if backend else {}
    env["PYTHONPATH"] = os.pathsep.join((str(repository), str(tmp_path)))
    code = "from tinyquant.plot.explore_window import why_no_window; print(why_no_window())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=60)
    assert done.returncode == 0 and done.stdout == said + "\n", (done.stdout, done.stderr)


# The command


def test_the_command_says_so_and_draws_the_strip_where_there_is_no_window(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    out = tmp_path / "strip.png"
    assert main(["explore", "--signal", "trained-weights", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed == (
        f"No window: matplotlib's backend here is 'agg', which draws files only. A film strip is in {out} instead.\n"
    )
    assert out.read_bytes().startswith(b"\x89PNG") and b"smallest first" in out.read_bytes()


def test_the_command_opens_the_window_where_there_is_a_screen(monkeypatch, tmp_path, capsys):
    shown = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explore_window, "why_no_window", lambda: "")
    monkeypatch.setattr(pyplot, "show", lambda block: shown.append((block, len(pyplot.gcf().axes))))
    assert main(["explore", "--bits", "3", "--signal", "chirp"]) == 0
    assert shown == [(True, 8)] and capsys.readouterr().out == "" and list(tmp_path.iterdir()) == []
    assert main(["explore", "--strip", "--out", "a.svg"]) == 0
    assert len(shown) == 1 and capsys.readouterr().out == "A film strip is in a.svg.\n" and Path("a.svg").is_file()


@pytest.mark.parametrize(
    "out, message", [("none/a.png", "there must be a folder 'none'"), ("a.jpg", "must be saved as png or svg")]
)
def test_a_file_that_cannot_be_written_is_bad_input(out, message, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explore", "--out", out]) == 3
    assert message in capsys.readouterr().err


def test_all_signals_of_the_command_are_curves_that_a_strip_can_show():
    curves = command._curves()
    assert list(curves) == ["sine", "sum-of-sines", "chirp", "decaying-pulse", "trained-weights"]
    assert curves["trained-weights"].x.size == 640 and np.all(np.diff(curves["trained-weights"].x) >= 0)
    for name in curves:
        assert 0 < explored(curves, Settings(name)).sqnr < 40


def test_the_help_of_the_program_loads_no_matplotlib(monkeypatch, capsys):
    real = builtins.__import__

    def guarded(name, *rest):
        assert not name.startswith("matplotlib"), name
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", guarded)
    with pytest.raises(SystemExit) as stopped:
        main(["explore", "--help"])
    assert stopped.value.code == 0 and "film strip" in capsys.readouterr().out
