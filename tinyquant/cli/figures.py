"""`tinyquant figures`: every committed picture again, byte for byte, from the packaged checkpoints; and slides of them.

Nothing is trained: training gives other last bits on another processor, so what takes training was made once and travels with the
package.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyquant.cli.figure_data import NOISE, PUBLISHED, FigureData
from tinyquant.cli.progress import ProgressLine
from tinyquant.interop.files import write_atomically
from tinyquant.numerics.qparams import choose_qparams

if TYPE_CHECKING:
    from tinyquant.plot.style import Picture as Figure

__all__ = ["FIGURES", "add", "run"]

Frame = Mapping[str, Any]


@dataclass(frozen=True)
class _Drawing:
    """How a figure is made, and the frames of its slide in the order in which they are shown; the last is the figure."""

    draw: Callable[[FigureData, Any, Frame], Figure]
    frames: tuple[Frame, ...] = ({},)


def _steps(count: int) -> tuple[Frame, ...]:
    """Frames step=1 to step=count."""
    return tuple({"step": step} for step in range(1, count + 1))


def _network(d: FigureData, plot: Any, frame: Frame, name: str, only: str) -> Figure:
    """A checkpoint before and after quantize_model."""
    figure: Figure = plot.network(d.checkpoint(name)[1].graph, d.quantized(name), only=only, **frame)
    return figure


def _few_codes() -> Any:
    """A quantizer whose codes can be counted, with real 0 off its middle."""
    return choose_qparams(-0.8, 1.3, bits=3)


def _curves(d: FigureData, plot: Any, frame: Frame) -> Figure:
    """The recorded training."""
    r = d.family.recording
    ptq = d.right(d.family.members[0].ptq(r.bits)) / len(d.digits[3])
    figure: Figure = plot.training_curves(
        r.float_loss, r.qat_loss, r.float_accuracy, r.qat_accuracy, ptq_accuracy=ptq, bits=r.bits
    )
    return figure


def _missed(d: FigureData, plot: Any, frame: Frame) -> Figure:
    """One doctor's answers, and the mean of all in the note."""
    labels, said, ties, mean = d.missed()
    note = f"{mean}\nThirty cell measurements, not an image; teaching data, not a medical device."
    figure: Figure = plot.missed_cases(labels, said, undecided=ties, note=note)
    return figure


def _waterfall(d: FigureData, plot: Any, frame: Frame) -> Figure:
    """Sources in points of accuracy."""
    budget, accuracy = d.budget()
    figure: Figure = plot.budget_waterfall(budget, float_accuracy=accuracy)
    return figure


def _weights_of(d: FigureData) -> dict[str, Any]:
    """A layer with many weights."""
    return {"x": d.weight("resnet", "block3.conv2"), "name": "the weights of block3.conv2"}


def _comb(d: FigureData, plot: Any, frame: Frame) -> Figure:
    """Before and after, at four bits."""
    given = _weights_of(d)
    reach = float(abs(given["x"]).max())
    qp = choose_qparams(-reach, reach, bits=4, symmetric=True, narrow_range=True)
    figure: Figure = plot.histogram_to_comb(qp=qp, **given)
    return figure


def _cost(d: FigureData) -> Any:
    """Of the residual network in integers."""
    from tinyquant.analysis.cost import cost
    from tinyquant.quantization.convert import convert

    return cost(convert(d.quantized("resnet")))


FIGURES: dict[str, _Drawing] = {
    "signal": _Drawing(
        lambda d, plot, f: plot.signal(*d.curve, **f),
        tuple({"bits": (8, 4, 3, 2)[: n + 1]} for n in range(4)),
    ),
    "staircase": _Drawing(lambda d, plot, f: plot.staircase(_few_codes())),
    "rounding_modes": _Drawing(
        lambda d, plot, f: plot.rounding_modes(**f),
        ({"modes": ("half_away",)}, {"modes": ("half_away", "half_even")}, {}),
    ),
    "error_budget": _Drawing(_waterfall),
    "multiply_accumulate": _Drawing(
        lambda d, plot, f: plot.multiply_accumulate(d.explanation(), **f), _steps(6)
    ),
    "ste": _Drawing(lambda d, plot, f: plot.ste(_few_codes(), **f), _steps(3)),
    "network": _Drawing(lambda d, plot, f: _network(d, plot, f, "mlp", ""), _steps(2)),
    "network_block": _Drawing(lambda d, plot, f: _network(d, plot, f, "resnet", "block1."), _steps(2)),
    "resilience": _Drawing(
        lambda d, plot, f: plot.resilience_curves(NOISE, d.shaken(), step="steps of its 8 bits")
    ),
    "table": _Drawing(
        lambda d, plot, f: plot.results_table(
            d.table(), images=len(d.digits[3]), what="Perceptron on digits", published=PUBLISHED
        )
    ),
    "missed_cancers": _Drawing(_missed),
    "comb": _Drawing(_comb),
    "calibration_tradeoff": _Drawing(lambda d, plot, f: plot.calibration_tradeoff(bits=4, **_weights_of(d))),
    "training_curves": _Drawing(_curves),
    "code_flips": _Drawing(
        lambda d, plot, f: plot.code_flips(d.family.recording.codes, name="the first layer")
    ),
    "channel_ranges": _Drawing(
        lambda d, plot, f: plot.channel_ranges(
            d.weight("mobilenet", "block2.dw"), axis=3, name="block2.dw, batch norm folded"
        )
    ),
    "sqnr": _Drawing(lambda d, plot, f: plot.sqnr_bars(d.comparison())),
    "sensitivity": _Drawing(lambda d, plot, f: plot.sensitivity_map(d.drops())),
    "bytes_against_accuracy": _Drawing(
        lambda d, plot, f: plot.bytes_against_accuracy(
            {name: plot.Candidate(*one) for name, one in d.sizes().items()}, images=len(d.digits[3])
        )
    ),
    "memory": _Drawing(lambda d, plot, f: plot.memory_timeline(_cost(d))),
    "confusion": _Drawing(lambda d, plot, f: plot.confusion_matrices(*d.confused())),
}
"""Name of the file -> how it is drawn; the lecture's ten first."""


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "figures",
        help="draw every figure again, from the packaged checkpoints",
        description="Draws the figures as PNG files, the same bytes each time on one version of matplotlib, and an index with "
        "their titles and alternative texts. Example: tinyquant figures --out lecture --slides",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"only these (default: all): {', '.join(FIGURES)}"
    )
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder (default: figures)")
    parser.add_argument(
        "--slides",
        action="store_true",
        help="also OUT/slides: 16:9, type of 18 points, SVG and PNG, frames that build up",
    )
    # One thread: how many there are decides in which order sums are rounded.
    parser.set_defaults(run=run, one_thread=True)


def run(args: argparse.Namespace) -> int:
    """Do it; 0 when done."""
    # Only here: every other command starts without matplotlib.
    from tinyquant import plot

    unknown = [name for name in args.names if name not in FIGURES]
    if unknown:
        raise ValueError(f"NAME must be one of {', '.join(FIGURES)}, got {unknown[0]!r}.")
    names = args.names or list(FIGURES)
    args.out.mkdir(parents=True, exist_ok=True)
    given, begin, say = FigureData(), time.perf_counter(), ProgressLine()
    entries = []
    for number, name in enumerate(names, start=1):
        say(f"{number} of {len(names)}: {name}")
        entries.append(_make(name, given, plot, args.out, slides=args.slides))
    if not args.names:
        write_atomically(args.out / "index.md", _index(entries).encode())
    say(f"{len(names)} figures in {time.perf_counter() - begin:.1f} s", last=True)
    print(
        f"{len(names)} figures in {args.out}" + (f", slides in {args.out / 'slides'}" if args.slides else "")
    )
    return 0


def _make(name: str, given: FigureData, plot: Any, out: Path, *, slides: bool) -> tuple[str, str, str]:
    """Draw one figure, its slides if asked; returns its name, title and alternative text."""
    from tinyquant.plot.style import save_figure, slide_bytes

    drawing = FIGURES[name]
    folder = out / "slides"
    if slides:
        folder.mkdir(exist_ok=True)
        for number, frame in enumerate(drawing.frames[:-1], start=1):
            step: Any = drawing.draw(given, plot, frame)
            for kind in ("svg", "png"):
                write_atomically(folder / f"{name}_{number}.{kind}", slide_bytes(step, kind, alt=step.alt))
    figure: Any = drawing.draw(given, plot, drawing.frames[-1])
    save_figure(figure, out / f"{name}.png")
    if slides:
        for kind in ("svg", "png"):
            write_atomically(folder / f"{name}.{kind}", slide_bytes(figure, kind, alt=figure.alt))
    return name, figure.texts[0].get_text(), figure.alt


def _index(entries: list[tuple[str, str, str]]) -> str:
    """The folder's contents as Markdown: title, picture, words, command."""
    lines = ["# Figures", "", "Each is made again by the command below it, all by `tinyquant figures`.", ""]
    for name, title, alt in entries:
        picture = f"![{alt.translate(_IN_BRACKETS)}]({name}.png)"
        lines += [f"## {title}", "", picture, "", alt, "", f"`tinyquant figures {name}`", ""]
    return "\n".join(lines)


_IN_BRACKETS = str.maketrans({"[": "(", "]": ")"})
"""Markdown ends a picture's words at a bracket."""
