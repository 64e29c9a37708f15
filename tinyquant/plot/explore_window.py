"""The explorer's window: sliders and buttons over one curve; each turn is seen in the steps, the error and the SQNR.

The window holds a `Settings`, and shows what `explored` says of it: nothing is computed here. matplotlib's own widgets need a
screen, so `why_no_window` asks first whether there is one.
With this module one can open the window (`open_window`), or build it on any figure (`ExploreWindow`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.widgets import Button, RadioButtons, Slider

from tinyquant.numerics.rounding import ROUNDING_MODES, round_to_int

from .explore import Curve, Settings, draw_curve, draw_error, explored
from .style import FLOAT_COLOR, GREY, INK, PALE, heading, in_house_style

__all__ = ["ExploreWindow", "open_window", "why_no_window"]

_INCHES, _DPI = (12.0, 6.75), 100
"""1200 x 675 dots: fits the screen of a small laptop, and the type is as large as on a slide."""

_NEEDS = "; a window needs a toolkit that works, such as tkinter or PySide6"

_CLIPS = (0.1, 1.5)


def why_no_window() -> str:
    """Why no window can be opened here, in a few words; empty when one can.

    What counts is the kind of canvas that matplotlib hands out: only one that belongs to a window toolkit moves when a slider
    is drawn. "Agg" writes files; a notebook's inline pictures are such files too, and a slider in them is dead.

    Examples
    --------
    >>> matplotlib.use("svg")
    >>> why_no_window()
    "matplotlib's backend here is 'svg', which draws files only"
    >>> matplotlib.use("agg")
    """
    from matplotlib import pyplot

    try:
        # The backend is loaded, and the screen looked for, when the first figure is made.
        figure = pyplot.figure(figsize=(1, 1))
    # Each toolkit has its own kind of error for a screen that is not there.
    except Exception as error:
        return f"matplotlib could not open one ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    toolkit = figure.canvas.required_interactive_framework
    pyplot.close(figure)
    if toolkit:
        return ""
    given, asked = matplotlib.get_backend().lower(), os.environ.get("MPLBACKEND", "").lower()
    dark = sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    # Where no window can be had, matplotlib falls back to Agg by itself, even when MPLBACKEND names a toolkit.
    if given == "agg" != asked and dark:
        return "there is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set"
    return f"matplotlib's backend here is {given!r}, which draws files only" + _NEEDS * (given == "agg" != asked)


def open_window(curves: Mapping[str, Curve], settings: Settings) -> None:
    """Open the window and stay until it is closed. Ask `why_no_window` first.

    Parameters
    ----------
    curves : name -> Curve
    settings : Settings
        What it starts with.
    """
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=_INCHES, dpi=_DPI)
    if figure.canvas.manager is not None:
        figure.canvas.manager.set_window_title("tinyquant explore")
    # A widget lives as long as somebody holds it.
    window = ExploreWindow(figure, curves, settings)
    pyplot.show(block=True)
    del window


class ExploreWindow:
    """The curve, its error and its numbers on the left and above; the knobs on the right.

    Parameters
    ----------
    figure : matplotlib Figure, empty
        On any canvas; the widgets can be set by program without a screen.
    curves : name -> Curve
    settings : Settings

    Attributes
    ----------
    seen : Explored
        What is shown now.
    bits, clip, zero_point : Slider
    signal, rounding : RadioButtons
    reset : Button
        Back to what it started with.

    Examples
    --------
    >>> from matplotlib.backends.backend_agg import FigureCanvasAgg
    >>> figure = FigureCanvasAgg(Figure()).figure
    >>> window = ExploreWindow(figure, {"ramp": Curve([0, 1, 2, 3], [0, 1, 2, 3])}, Settings("ramp", bits=2))
    >>> window.bits.set_val(8)
    >>> window.seen.qp.levels
    256
    """

    def __init__(self, figure: Figure, curves: Mapping[str, Curve], settings: Settings) -> None:
        self.figure, self.curves, self._start = figure, dict(curves), settings
        self.seen = explored(self.curves, settings)
        with in_house_style():
            figure.set_size_inches(*_INCHES)
            figure.set_dpi(_DPI)
            heading(figure, "Turn the knobs: what does each cost?")
            self.curve_ax = figure.add_axes((0.075, 0.40, 0.505, 0.43))
            self.error_ax = figure.add_axes((0.075, 0.11, 0.505, 0.19))
            self.said_sqnr = figure.text(0.68, 0.955, "", size=20, weight="bold", va="center")
            self.said = [
                (figure.text(0.68, 0.895 - 0.045 * row, "", color=GREY), figure.text(0.805, 0.895 - 0.045 * row, ""))
                for row, _ in enumerate(self.seen.rows)
            ]
            self._names = list(self.curves)
            self.signal = self._choice(0.67, "signal", [n.replace("-", " ") for n in self._names])
            self.rounding = self._choice(0.83, "rounding", list(ROUNDING_MODES))
            self.bits = self._slider(0.23, "bits", (2, 8), 1, "%d")
            self.clip = self._slider(0.175, "clip (share)", _CLIPS, 0.05, "%.2f")
            self.zero_point = self._slider(0.12, "zero point", (-128, 127), 1, "%d")
            self.reset = Button(figure.add_axes((0.785, 0.025, 0.14, 0.055)), "reset", color="#EEEEEE", hovercolor=PALE)
            for spine in self.reset.ax.spines.values():
                spine.set_visible(True)
        # Each knob would draw the whole window by itself; once a turn is enough.
        for knob in (self.bits, self.clip, self.zero_point, self.signal, self.rounding):
            knob.drawon = False
        self._show(settings)
        # A code means another number on another grid, so other bits, and another curve, choose their zero point anew.
        self.bits.on_changed(lambda value: self._turn(bits=_whole(value, 2, 8), zero_point=None))
        self.clip.on_changed(lambda value: self._turn(clip=float(value)))
        self.zero_point.on_changed(lambda value: self._turn(zero_point=_whole(value, self.seen.qp.qmin, self.seen.qp.qmax)))
        self.signal.on_clicked(lambda label: self._turn(signal=self._named(label), zero_point=None))
        self.rounding.on_clicked(lambda label: self._turn(rounding=label))
        self.reset.on_clicked(lambda event: self._show(self._start))

    def _choice(self, left: float, title: str, labels: list[str]) -> RadioButtons:
        """Round buttons with their names, one of them on."""
        # matplotlib spreads the buttons over the axes: as high as they are many, all lie equally close.
        height = 0.0345 * (len(labels) + 1)
        ax = self.figure.add_axes((left, 0.63 - height, 0.16, height))
        ax.set_title(title, loc="left", weight="bold", size="medium", x=0.04, pad=2)
        for spine in ax.spines.values():
            spine.set_visible(False)
        radio = {"s": [60] * len(labels), "color": [FLOAT_COLOR] * len(labels)}
        return RadioButtons(ax, labels, label_props={"fontsize": [13.0] * len(labels)}, radio_props=radio)

    def _slider(self, bottom: float, label: str, ends: tuple[float, float], step: float, shown: str) -> Slider:
        """A slider; its filled part is hidden because the zero point's ends move."""
        ax = self.figure.add_axes((0.785, bottom, 0.14, 0.04))
        handle = {"facecolor": FLOAT_COLOR, "edgecolor": INK, "size": 13}
        slider = Slider(ax, label, *ends, valinit=ends[0], valstep=step, valfmt=shown, initcolor="none", handle_style=handle)
        slider.poly.set_visible(False)
        # At either end the handle is wider than the room matplotlib leaves.
        slider.label.set_x(-0.08)
        slider.valtext.set_x(1.08)
        return slider

    def _named(self, label: str | None) -> str:
        """The curve that a button stands for."""
        return next(name for name in self._names if name.replace("-", " ") == label)

    def _turn(self, **changed: object) -> None:
        """One knob was turned: the same settings but for that."""
        self._show(replace(self.seen.settings, **changed))  # type: ignore[arg-type]

    def _show(self, settings: Settings) -> None:
        """Look, draw, and put every knob where the settings are."""
        self.seen = explored(self.curves, settings)
        with in_house_style():
            draw_curve(self.curve_ax, self.seen)
            draw_error(self.error_ax, self.seen)
            self._label(self.curve_ax, self.error_ax)
        self.said_sqnr.set_text(self.seen.said_sqnr)
        for (what, much), row in zip(self.said, self.seen.rows):
            what.set_text(row[0])
            much.set_text(row[1])
        self._place_knobs()
        self.figure.canvas.draw_idle()

    def _label(self, curve_ax: Axes, error_ax: Axes) -> None:
        """What the axes are."""
        curve_ax.set_ylabel("value")
        curve_ax.tick_params(labelbottom=False)
        curve_ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
        error_ax.set_ylabel("error (steps)")
        error_ax.set_xlabel(self.seen.curve.along)
        rounding = self.seen.settings.rounding
        bound = "at most half a step" if rounding.startswith("half_") else "up to a whole step"
        clipping = "; clipping: no bound" if self.seen.clipped else ""
        error_ax.set_title(f"{rounding} errs by {bound}{clipping}", loc="left", size="medium")
        for ax in (curve_ax, error_ax):
            # Ticks are made when the figure is drawn, and by then the house style is over.
            ax.tick_params(labelsize=13)

    def _place_knobs(self) -> None:
        """Every knob shows the settings, without calling back."""
        settings, qp = self.seen.settings, self.seen.qp
        slider = self.zero_point
        if (slider.valmin, slider.valmax) != (qp.qmin, qp.qmax):
            slider.valmin, slider.valmax = qp.qmin, qp.qmax
            slider.ax.set_xlim(qp.qmin, qp.qmax)
        for knob, value in ((self.bits, settings.bits), (self.clip, settings.clip), (slider, int(qp.zero_point))):
            knob.eventson = False
            knob.set_val(value)
            knob.eventson = True
        for buttons, at in (
            (self.signal, self._names.index(settings.signal)),
            (self.rounding, ROUNDING_MODES.index(settings.rounding)),
        ):
            buttons.eventson = False
            buttons.set_active(at)
            buttons.eventson = True


def _whole(value: float, low: int, high: int) -> int:
    """The whole number nearest to a slider's value, within its ends."""
    return min(max(int(round_to_int(value)), low), high)
