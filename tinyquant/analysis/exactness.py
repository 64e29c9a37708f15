"""What does it change to train on the very integers of inference? Measured: accuracy, time, and the codes that differ.

Plain fake-quant rounds every value to the grid, in float; the integer network rounds the same sums with a fixed-point multiplier,
so a few codes in a thousand come out one apart. With ``exact = True`` the forward of every node *is* the integer
kernel, and the gradient stays the straight-through one. Here both are trained from one start, with one seed.

With this module one can run that experiment on a model of one's own (`exact_training`).
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tinyquant.analysis.compare import Comparison, compare
from tinyquant.analysis.comparison_table import aligned
from tinyquant.nn import Module
from tinyquant.quantization.calibrate import Calibration
from tinyquant.quantization.convert import convert
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8, Scheme
from tinyquant.training import evaluate, fit, predict

__all__ = ["ExactTraining", "TrainedRun", "exact_training"]

Data = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class TrainedRun:
    """One of the three models.

    Attributes
    ----------
    name : str
        "not trained", "plain" or "exact".
    accuracy, integer_accuracy : float in [0, 1]
        Of the fake-quantized model and of the integers it converts to, on the test data.
    changed_answers : int
        Test images on which the two answer differently.
    differing, codes : int
        Codes that differ between the two over all nodes and test images, of how many.
    loss : float or None
        Of the last epoch; None without training.
    seconds : float or None
        Of one epoch, on this machine, in numpy.
    """

    name: str
    accuracy: float
    integer_accuracy: float
    changed_answers: int
    differing: int
    codes: int
    loss: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class ExactTraining:
    """The report of `exact_training`. `str()` of it is a table.

    Attributes
    ----------
    start, plain, exact : TrainedRun
    parted : Comparison
        The plainly trained model against its own integers, each node on the same codes: which nodes differ, and why.
    """

    start: TrainedRun
    plain: TrainedRun
    exact: TrainedRun
    parted: Comparison = field(repr=False)

    @property
    def slowdown(self) -> float:
        """Time of an exact epoch over a plain one."""
        return (self.exact.seconds or 0.0) / (self.plain.seconds or float("nan"))

    def __str__(self) -> str:
        head = [["training", "fake-quant", "integer", "answers", "codes", "loss", "seconds"]]
        head += [["", "accuracy %", "accuracy %", "changed", "differing", "", "an epoch"]]
        lines = aligned([*head, *(_cells(run) for run in (self.start, self.plain, self.exact))])
        apart = [row for row in self.parted if row.total.differing]
        table = aligned([["node", "apart", "of"], *([r.name, str(r.total.differing), str(int(np.prod(r.shape)))] for r in apart)])
        why = ["why (of those looked at)", *(", ".join(f"{cause} {n}" for cause, n in row.causes.items()) for row in apart)]
        rule = "-" * max(map(len, lines))
        told = ["", "Codes apart without exact, on equal input codes:", ""] if apart else []
        told += [f"{line}  {reason}" for line, reason in zip(table, why) if apart]
        times = f"An exact epoch takes {self.slowdown:.1f} times as long (numpy, this machine)."
        return "\n".join([*lines[:2], rule, *lines[2:], "", times, *told]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """All of it as what `json.dumps` takes."""
        runs = {run.name.replace(" ", "_"): asdict(run) for run in (self.start, self.plain, self.exact)}
        return {**runs, "slowdown": self.slowdown, "parted": self.parted.to_dict()}


def exact_training(
    model: Module,
    calibration: Calibration,
    x: np.ndarray,
    y: np.ndarray,
    *,
    test: Data,
    scheme: Scheme = TFLITE_INT8,
    bn: str = "freeze",
    epochs: int = 3,
    **settings: Any,
) -> ExactTraining:
    """Train a quantized model twice from one start, with plain and with exact fake-quant, and hold both against the integers.

    Parameters
    ----------
    model : Module
        The float model; left as it is.
    calibration : Calibration
        From `calibrate(model, data)`.
    x, y : arrays
        Training data.
    test : (xt, yt)
        What accuracy and codes are measured on.
    scheme, bn
        As for `quantize_model`; activations must have 8 bits, or there are no integers to be exact about.
    epochs : int
    **settings
        Of `fit`: lr, batch_size, optimizer, seed, ...

    Returns
    -------
    ExactTraining

    Raises
    ------
    ValueError, TypeError
        What `quantize_model`, `fit` and `convert` refuse.

    Notes
    -----
    That exact training comes out ahead is not promised: it removes a difference of a few codes, not the loss of bits. What
    it does promise is that the accuracy seen in training is the accuracy of the integers.
    """
    runs: list[TrainedRun] = []
    parted: Comparison | None = None
    for name in ("not trained", "plain", "exact"):
        fake = quantize_model(model, calibration, scheme=scheme, bn=bn)
        fake.exact = name == "exact"
        loss: float | None = None
        seconds: float | None = None
        if name != "not trained":
            start = time.perf_counter()
            loss = fit(fake, x, y, epochs=epochs, **settings).loss[-1]
            seconds = (time.perf_counter() - start) / epochs
        runs.append(_measured(name, fake, test, loss, seconds))
        if name == "plain":
            parted = compare(fake, convert(fake), test[0], inputs="first")
    assert parted is not None
    return ExactTraining(runs[0], runs[1], runs[2], parted)


def _measured(name: str, fake: FakeQuantModel, test: Data, loss: float | None, seconds: float | None) -> TrainedRun:
    """A model and its integers on the test data, everything piled up as it does in use."""
    xt, yt = test
    integers = convert(fake)

    def outputs(batch: np.ndarray) -> np.ndarray:
        """The integer network's."""
        return np.asarray(integers(batch))

    answers = [predict(fake, xt).argmax(axis=1), predict(outputs, xt).argmax(axis=1)]
    report = compare(fake, integers, xt)
    codes = sum(int(np.prod(row.shape)) for row in report if row.total.differing is not None)
    return TrainedRun(
        name, evaluate(fake, xt, yt), evaluate(outputs, xt, yt), int((answers[0] != answers[1]).sum()), report.differing, codes,
        loss, seconds,
    )  # fmt: skip


def _cells(run: TrainedRun) -> list[str]:
    """One line of the table."""
    share = f"{100 * run.differing / run.codes:.3f} %"
    return [
        run.name, f"{100 * run.accuracy:.2f}", f"{100 * run.integer_accuracy:.2f}", str(run.changed_answers), share,
        "-" if run.loss is None else f"{run.loss:.4f}", "-" if run.seconds is None else f"{run.seconds:.2f}",
    ]  # fmt: skip
