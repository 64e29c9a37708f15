"""`tinyquant explore`: turn bits, clip, zero point and rounding, and see what each costs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyquant import data, models
from tinyquant.numerics.rounding import ROUNDING_MODES

if TYPE_CHECKING:
    from tinyquant.plot.explore import Curve

__all__ = ["add", "run"]

_SIGNALS = ("sine", "sum-of-sines", "chirp", "decaying-pulse", "trained-weights")
_POINTS = 1000


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "explore",
        help="a window with sliders: bits, clip, zero point, rounding; steps, error and SQNR at once",
        description="Opens a window; where there is none to open, it says so and draws a film strip of settings instead. "
        "Example: tinyquant explore --signal decaying-pulse --bits 3",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--signal", choices=_SIGNALS, default="sum-of-sines", help="what is quantized at first")
    parser.add_argument("--bits", type=int, choices=range(2, 9), default=4, help="at first; the film strip has its own")
    parser.add_argument("--rounding", choices=ROUNDING_MODES, default="half_away", help="at first")
    parser.add_argument("--strip", action="store_true", help="the film strip, screen or not")
    parser.add_argument("--out", type=Path, default=Path("explore.png"), help="the film strip's file, .png or .svg")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do it; 0 when done."""
    # Only here: every other command starts without matplotlib.
    from tinyquant.plot.explore import Settings, film_strip
    from tinyquant.plot.explore_window import open_window, why_no_window

    curves = _curves()
    settings = Settings(args.signal, bits=args.bits, rounding=args.rounding)
    reason = "" if args.strip else why_no_window()
    if not (args.strip or reason):
        open_window(curves, settings)
        return 0
    if not args.out.parent.is_dir():
        raise ValueError(f"there must be a folder {str(args.out.parent)!r} to write {args.out.name!r} into. Make it first.")
    film_strip(curves, settings, save=args.out)
    print(f"No window: {reason}. A film strip is in {args.out} instead." if reason else f"A film strip is in {args.out}.")
    return 0


def _curves() -> dict[str, Curve]:
    """The signals by name."""
    from tinyquant.plot.explore import Curve

    # Off the middle: a curve that is its own mirror image has its peaks exactly on ties.
    up = np.float32(0.3)
    t, sine = data.sine(_POINTS)
    _, sines = data.sum_of_sines(_POINTS, cycles=(1.0, 3.0), amplitudes=(0.9, 0.25))
    _, chirp = data.chirp(_POINTS, stop=8.0)
    _, pulse = data.decaying_pulse(_POINTS)
    return dict(zip(_SIGNALS, (Curve(t, sine + up), Curve(t, sines + up), Curve(t, chirp + up), Curve(t, pulse), _weights())))


def _weights() -> Curve:
    """The last layer of a trained network, its weights in order of size: a curve whose ends are the rare large ones."""
    from tinyquant.plot.explore import Curve

    weights = np.sort(dict(models.load_checkpoint("resnet").named_parameters())["head.weight"].data, axis=None)
    return Curve(np.arange(weights.size), weights, along=f"the {weights.size} weights of a trained layer, smallest first")
