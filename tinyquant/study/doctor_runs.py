"""Cat or cancer, one seed: a doctor and a reader of digits, quantized to the same widths.

The doctor tells malignant from benign by thirty measurements. What counts for it is not only how often it is right, but how many
cancers it misses. It says "malignant" where its margin, logit of malignant minus logit of benign, is above a threshold: 0, or
the largest threshold that finds a wanted share of the cancers of a validation part, which no training has seen.

With few codes few different outputs are left, and both classes often get the same one. Such a tie is no verdict: argmax takes the
first class, which for the doctor is benign. So ties are counted apart, the doctor's and the reader's.

Weights and activations have the same few bits; that runs as a simulation, no kernel has 3-bit activations.
With this module one can run a seed (`run_doctor`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyquant import data
from tinyquant.models import mlp
from tinyquant.nn import Module
from tinyquant.numerics.rounding import round_to_int
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.study.kept import Outcome
from tinyquant.training import fit, predict

__all__ = ["DIGIT_BITS", "DOCTOR_BITS", "SETTINGS", "run_doctor", "threshold_for_recall"]

DOCTOR_BITS = (8, 4, 3)
DIGIT_BITS = (8, 6, 5, 4, 3, 2)
SETTINGS: dict[str, Any] = {
    "doctor": {"epochs": 60, "lr": 1e-2, "weight_decay": 1e-3, "schedule": "cosine", "batch_size": 32},
    "doctor_qat": {"epochs": 20, "lr": 1e-3, "schedule": "cosine", "batch_size": 32},
    "digits": {"epochs": 30, "lr": 5e-3, "schedule": "cosine", "batch_size": 64},
    "validation_share": 0.25,
    "wanted_recall": 0.95,
    "counts": ["right", "missed", "false alarms", "the same three at the chosen threshold", "ties of ill", "ties of healthy"],
}
"""What a result depends on: arguments of `fit`, how thresholds are chosen, and what is counted."""


def run_doctor(seed: int, settings: dict[str, Any]) -> dict[str, Outcome]:
    """Train, quantize and count.

    Parameters
    ----------
    seed : int, 0 or more
        Of weights, batches and the validation part; split seed mod 10 of both data sets.
    settings : dict
        As `SETTINGS`.

    Returns
    -------
    dict of "seed ..." to Outcome
        "cases", "cancers", "images"; "validation", the cancers of the validation part and how many of them must be found; for
        each doctor ("float", "ptq8", "qat8", ...) a list of right, missed and false alarms at threshold 0, then the same at
        the threshold chosen on validation, then the test cases with a margin of exactly 0, cancers and benign; for each
        reader ("digits", "digits8", ...) right, and misread where the true class shares the largest output.
    """
    (x, y), (xt, yt) = data.breast_cancer(seed % 10)
    held = _validation_rows(y, settings["validation_share"], seed)
    model = mlp(30, (16,), classes=2, seed=seed)
    fit(model, x[~held], y[~held], **settings["doctor"], seed=seed)
    seen = calibrate(model, x[~held])
    doctors: dict[str, Module] = {"float": model}
    for bits in DOCTOR_BITS:
        scheme = TFLITE_INT8.replace(weight_bits=bits, activation_bits=bits)
        doctors[f"ptq{bits}"] = quantize_model(model, seen, scheme=scheme)
        doctors[f"qat{bits}"] = quantize_model(model, seen, scheme=scheme)
        fit(doctors[f"qat{bits}"], x[~held], y[~held], **settings["doctor_qat"], seed=1000 + seed)
    among = int(y[held].sum())
    outcome: Outcome = {"cases": len(yt), "cancers": int(yt.sum())}
    outcome["validation"] = [among, _at_least(settings["wanted_recall"], among)]
    for name, doctor in doctors.items():
        threshold = threshold_for_recall(_margin(doctor, x[held]), y[held], settings["wanted_recall"])
        margin = _margin(doctor, xt)
        ties = [int(np.sum((margin == 0) & (yt == label))) for label in (1, 0)]
        outcome[name] = [*_counts(margin > 0, yt), *_counts(margin >= threshold, yt), *ties]
    return {f"seed {seed:03d}": outcome | _digits(seed, settings)}


def threshold_for_recall(margin: np.ndarray, labels: np.ndarray, wanted: float) -> float:
    """The largest threshold at which margin >= threshold finds at least the wanted share of the rows with label 1.

    Parameters
    ----------
    margin : (N,) float array
    labels : (N,) int array, 1 at least once
    wanted : float in (0, 1]

    Returns
    -------
    float
        One of the margins.

    Raises
    ------
    ValueError
        If no label is 1 or `wanted` is out of range.

    Examples
    --------
    >>> threshold_for_recall(np.array([3.0, 1.0, -1.0, 2.0]), np.array([1, 1, 1, 0]), 0.6)
    1.0
    """
    ill = np.sort(margin[labels == 1])[::-1]
    if not ill.size or not 0 < wanted <= 1:
        raise ValueError(f"wanted must lie in (0, 1] and label 1 occur, got {wanted!r} and {ill.size} rows of label 1.")
    return float(ill[_at_least(wanted, ill.size) - 1])


def _at_least(share: float, count: int) -> int:
    """The smallest number that is such a share of the count: 0.98 of 50 is 49 and not 50, whatever the last bit says."""
    return max(1, int(round_to_int(share * count - 1e-9, "ceil")))


def _digits(seed: int, settings: dict[str, Any]) -> Outcome:
    """The reader of digits at more widths, to find one of the same drop."""
    (x, y), (xt, yt) = data.digits(seed % 10)
    model = mlp(hidden=(32,), seed=seed)
    fit(model, x, y, **settings["digits"], seed=seed)
    seen = calibrate(model, x[:512])
    found: Outcome = {"images": len(yt), "digits": _read(model, xt, yt)}
    for bits in DIGIT_BITS:
        scheme = TFLITE_INT8.replace(weight_bits=bits, activation_bits=bits)
        found[f"digits{bits}"] = _read(quantize_model(model, seen, scheme=scheme), xt, yt)
    return found


def _read(model: Module, x: np.ndarray, y: np.ndarray) -> list[int]:
    """Rows that argmax has right, and those it has wrong although the label's output is as large."""
    logits = predict(model, x)
    right = logits.argmax(axis=1) == y
    largest = logits[np.arange(len(y)), y] == logits.max(axis=1)
    return [int(np.sum(right)), int(np.sum(largest & ~right))]


def _margin(doctor: Module, x: np.ndarray) -> np.ndarray:
    """(N,) logit of malignant minus logit of benign."""
    logits = predict(doctor, x)
    found: np.ndarray = logits[:, 1] - logits[:, 0]
    return found


def _counts(said: np.ndarray, labels: np.ndarray) -> list[int]:
    """Right, missed, false alarms."""
    ill = labels == 1
    return [int(np.sum(said == ill)), int(np.sum(~said & ill)), int(np.sum(said & ~ill))]


def _validation_rows(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(N,) bool: the same share of both classes, drawn."""
    rng = np.random.default_rng([seed, 7])
    held = np.zeros(len(labels), bool)
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held[rows[: int(share * rows.size)]] = True
    return held
