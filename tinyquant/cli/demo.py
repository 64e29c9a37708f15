"""`tinyquant demo`: the whole path on real data, and one honest table at the end.

A small residual ConvNet is trained on the UCI digits, quantized after training (PTQ), fine-tuned with the
quantization error in its graph (QAT), converted, and run on the test images with integers only.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyquant import data, models
from tinyquant.analysis.accuracy import changes, wilson_interval
from tinyquant.autograd import Tensor, no_grad
from tinyquant.cli.progress import ProgressLine
from tinyquant.integer.model import IntegerModel
from tinyquant.nn import Module, save_state
from tinyquant.numerics.affine import quantize
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.training import fit

__all__ = ["add", "run"]

_BITS = (8, 4, 3)
_QAT: dict[str, Any] = {"epochs": 3, "lr": 2e-4, "schedule": "cosine", "augment": "shift", "batch_size": 64}
_CALIBRATION_ROWS = 512


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "demo",
        help="train, quantize both ways, run on integers, print one table and draw the lecture's figure",
        description="Trains a ConvNet on the packaged digits, quantizes it after training (PTQ) and in training (QAT), runs the "
        "test images on integers only and prints one table. Example: tinyquant demo --out lesson",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("tinyquant-demo"), help="folder for the figure and the models")
    parser.add_argument("--seed", type=int, default=0, help="of the weights, the batches and the augmentation")
    parser.add_argument(
        "--split", type=int, default=0, choices=range(10), metavar="0..9", help="which packaged split of the digits"
    )
    parser.set_defaults(run=run, one_thread=True)


@dataclass(frozen=True)
class _Row:
    """One line of the table."""

    name: str
    classes: np.ndarray
    packed: int
    file: int
    differ: int | None
    cells: int | None
    ms: float


def run(args: argparse.Namespace) -> int:
    """Do it; 0 when done."""
    progress = _Progress()
    (x, y), (xt, yt) = data.digits(split=args.split)
    args.out.mkdir(parents=True, exist_ok=True)

    recipe = dict(models.RECIPES["resnet"], seed=args.seed)
    model = models.resnet(seed=args.seed)
    progress.start(f"training a ConvNet on {len(x)} digits")
    fit(model, x, y, **recipe, progress=progress.epochs(recipe["epochs"]))
    progress.start("calibrating")
    seen = calibrate(model, x[:_CALIBRATION_ROWS])

    rows = [_float_row(model, xt)]
    for bits in _BITS:
        progress.start(f"{bits}-bit weights: quantizing")
        scheme = TFLITE_INT8.replace(weight_bits=bits)
        ptq = quantize_model(model, seen, scheme=scheme)
        rows.append(_integer_row(f"PTQ  W{bits}A8", ptq, xt, args.out / f"digits_ptq_w{bits}.npz"))
        qat = quantize_model(model, seen, scheme=scheme)
        progress.start(f"{bits}-bit weights: quantization-aware training")
        fit(qat, x, y, **_QAT, seed=args.seed, progress=progress.epochs(_QAT["epochs"]))
        rows.append(_integer_row(f"QAT  W{bits}A8", qat, xt, args.out / f"digits_qat_w{bits}.npz"))
    figure = args.out / "signal.png"
    progress.start("drawing")
    _draw(figure)
    progress.done()

    print(_table(rows, yt))
    print()
    print(_reading(rows, yt, args.out, figure))
    return 0


def _float_row(model: Module, xt: np.ndarray) -> _Row:
    """The float network on the test images."""
    logits, ms = _timed(lambda: _forward(model, xt), len(xt))
    weights = sum(p.size * 4 for p in model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.npz"
        save_state(model, path)
        size = path.stat().st_size
    return _Row("float32", logits.argmax(axis=1), weights, size, None, None, ms)


def _integer_row(name: str, fq: FakeQuantModel, xt: np.ndarray, path: Path) -> _Row:
    """Convert, save, run on integers, and count the codes in which the fake-quantized model differs."""
    m = convert(fq)
    m.save(path)
    meaning = m.inputs[0].qparams
    assert meaning is not None
    codes = quantize(xt, meaning)
    logits, ms = _timed(lambda: np.asarray(m.run(codes, engine="auto")), len(xt))
    mine, theirs = fq.trace_codes(xt), m.trace(codes)
    pairs = [(mine[node.name], theirs[node.name]) for node in m.graph]
    differ = sum(int((a.reshape(b.shape) != b).sum()) for a, b in pairs)
    return _Row(
        name, logits.argmax(axis=1), _packed_bytes(m), path.stat().st_size, differ, sum(b.size for _, b in pairs), ms
    )


def _forward(model: Module, x: np.ndarray) -> np.ndarray:
    """Float logits, off the tape."""
    with no_grad():
        return model(Tensor(x)).data


def _timed(call: Callable[[], np.ndarray], images: int) -> tuple[np.ndarray, float]:
    """The result, and the median milliseconds an image over three calls."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return result, 1000 * sorted(times)[1] / images


def _packed_bytes(m: IntegerModel) -> int:
    """Weights at their bit width, biases at 32 bits: what a file that packs codes would hold."""
    total = 0
    for node in m.graph:
        for key, meaning in node.param_qparams.items():
            bits = meaning.levels.bit_length() * node.params[key].size
            total += (bits + 7) // 8
    return total


def _draw(path: Path) -> None:
    """The lecture's figure: a smooth signal, its steps at several widths, and the error below."""
    # Only here, so that a run without a figure never pays for matplotlib.
    from tinyquant import plot

    # Off the middle: a curve that is its own mirror image has its peaks exactly on ties.
    t, x = data.sum_of_sines(1000, cycles=(1.0, 3.0), amplitudes=(0.9, 0.25))
    plot.signal(t, x + np.float32(0.3), bits=(8, 4, 3, 2), save=path)


def _table(rows: list[_Row], labels: np.ndarray) -> str:
    """The table, as text."""
    images = len(labels)
    lines = [
        f"{'network':<12}{'accuracy':>9}  {'95 % interval':<14}{'drop':>7}{'changed':>10}"
        f"{'weights':>10}{'file':>9}{'codes that differ':>22}{'numpy':>8}",
        f"{'':<12}{'%':>9}  {'%':<14}{'points':>7}{'- / +':>10}{'bytes':>10}{'bytes':>9}{'':>22}{'ms *':>8}",
    ]
    base = rows[0]
    for row in rows:
        right = int((row.classes == labels).sum())
        low, high = wilson_interval(right, images)
        drop = 100 * (int((base.classes == labels).sum()) - right) / images
        wrong, better = changes(base.classes, row.classes, labels)
        own = row is base
        lines.append(
            f"{row.name:<12}{100 * right / images:>9.2f}  {f'{100 * low:.1f} to {100 * high:.1f}':<14}"
            f"{'' if own else f'{drop:.2f}':>7}{'' if own else f'{wrong} / {better}':>10}{row.packed:>10,}{row.file:>9,}"
            f"{'' if row.differ is None else f'{row.differ:,} of {row.cells:,}':>22}{row.ms:>8.3f}"
        )
    lines += [
        "",
        f"interval   of the accuracy, over drawing other test images ({images} here, never trained on); not over seeds",
        "changed    images newly wrong / newly right against float32",
        "weights    as packed at their bit width, biases at 32 bits;  file: the .npz as saved, where a code takes a byte",
        "differ     codes, at all nodes and test images, in which the fake-quantized and the integer network part",
        "* ms       numpy on this machine, per image: not a device",
    ]
    return "\n".join(lines)


def _reading(rows: list[_Row], labels: np.ndarray, folder: Path, figure: Path) -> str:
    """What the table shows, what it does not, and where the files are."""
    base = rows[0]
    sides = [sum(changes(base.classes, row.classes, labels)) for row in rows]
    right = [int((row.classes == labels).sum()) for row in rows]
    low, high = (round(len(labels) * end) for end in wilson_interval(right[0], len(labels)))
    inside = low <= min(right[1:3]) and max(right[1:3]) <= high
    gain = right[-1] - right[-2]
    eight = (
        "8 bits cost nothing that this test set could tell from chance"
        if inside
        else "8 bits moved the accuracy out of float32's interval: look at this seed"
    )
    return "\n".join(
        (
            f"It shows:      with 8-bit weights PTQ and QAT change {sides[1]} and {sides[2]} of {len(labels)} answers; {eight}.",
            f"               With 3-bit weights PTQ changes {sides[-2]}, QAT {sides[-1]}; QAT has {gain:+d} right on PTQ.",
            "It does not:   one network, one seed, small images. On ImageNet 8 bits cost MobileNet v1 1.46 points.",
            "               QAT trained longer than float32 did; the fair control is float32 with the same extra epochs.",
            f"Figure:        {figure}",
            f"Models:        {folder / 'digits_*.npz'}  (tinyquant inspect shows one)",
        )
    )


class _Progress:
    """What is being done, and at the end for how long it was."""

    def __init__(self) -> None:
        self.say, self.begin, self.text = ProgressLine(), time.perf_counter(), ""

    def start(self, text: str) -> None:
        """A new step."""
        self.text = text
        self.say(text)

    def epochs(self, total: int) -> Callable[[dict[str, Any]], None]:
        """What `fit` calls after each epoch."""

        def show(report: dict[str, Any]) -> None:
            self.say(f"{self.text}: epoch {report['epoch']} of {total}, loss {report['loss']:.3f}", detail=True)

        return show

    def done(self) -> None:
        """The last line, and an empty one."""
        self.say(f"done in {time.perf_counter() - self.begin:.1f} s\n", last=True)
