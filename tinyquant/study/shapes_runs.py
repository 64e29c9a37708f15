"""One seed of the published shapes: six findings of the literature made again on networks that train in a second.

A seed trains a perceptron of its own on its own split of the digits. Where the finding is about depthwise networks, the packaged
one is taken, and the seed draws the channels' spread or the batches of the extra training.
With this module one can run a seed (`run_shapes`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyquant import data, models
from tinyquant.nn import Module
from tinyquant.numerics.affine import round_quotient
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.adaround import adaround
from tinyquant.quantization.calibrate import Calibration, calibrate
from tinyquant.quantization.equalize import equalize, spread_channels
from tinyquant.quantization.gram_rounding import gram_round
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.rounding_decisions import RoundingProblem, round_layers
from tinyquant.quantization.schemes import TFLITE_INT8, WEIGHT_ONLY_INT8, Scheme
from tinyquant.study.kept import Outcome
from tinyquant.training import evaluate, fit

__all__ = ["COLD_BATCHES", "COLD_MOMENTUM", "DRAWS", "LSQ_RATES", "ROUNDED", "SHAPE_SETTINGS", "run_shapes"]

SPREADS = (1, 10, 100, 1000)
ROUNDED = ("all layers", "first layer")
DRAWS = 100
LSQ_RATES = (0.01, 0.0001)
COLD_MOMENTUM = 0.999
COLD_START = 6.0
COLD_BATCHES = (20, 200, 1000, 10000)
CALIBRATION_ROWS = 512

SHAPE_SETTINGS: dict[str, Any] = {
    "mlp": {"epochs": 30, "lr": 5e-3, "batch_size": 64, "schedule": "cosine"},
    "qat": {"epochs": 8, "lr": 1e-3, "batch_size": 64, "schedule": "cosine"},
    "mobilenet_qat": {"epochs": 2, "lr": 3e-4, "batch_size": 64, "schedule": "cosine", "augment": "shift"},
    "lsq": {"epochs": 8, "optimizer": "sgd", "batch_size": 64, "schedule": "cosine"},
    "lsq_rates": LSQ_RATES,
    "lsq_scale": "step",
    "rounding": {"layers": ROUNDED, "draws": DRAWS},
}
"""Arguments of `fit`; then what else the results depend on, or what is counted: a file made with others is refused by name."""


def run_shapes(seed: int, settings: dict[str, Any]) -> dict[str, Outcome]:
    """Accuracies by name, under one key for the seed.

    Parameters
    ----------
    seed : int, 0 or more
    settings : dict
        As `SHAPE_SETTINGS`.

    Returns
    -------
    dict of "seed ..." to Outcome
        Names such as "mlp W3 adaround" to fractions of the test digits.
    """
    (x, y), test = data.digits(seed % 10)
    own = _Bench(models.mlp(seed=seed), x, y, test)
    fit(own.model, x, y, **settings["mlp"], seed=seed)
    train, test = data.digits(0)
    packaged = _Bench(models.load_checkpoint("mobilenet"), *train, test)
    found: Outcome = {"mlp float": own.score(own.model), "mobilenet float": packaged.score(packaged.model)}
    for name, bench in (("mlp", own), ("mobilenet", packaged)):
        for part in (_spread, _biases):
            found |= {f"{name} {key}": value for key, value in part(bench, seed).items()}
    for name, bench, qat, widths in (("mlp", own, "qat", (4, 3)), ("mobilenet", packaged, "mobilenet_qat", (4,))):
        for bits in widths:
            fq = quantize_model(bench.model, bench.seen, scheme=TFLITE_INT8.replace(weight_bits=bits))
            found[f"{name} W{bits} PTQ"] = bench.score(fq)
            fit(fq, bench.x, bench.y, **settings[qat], seed=1000 + seed)
            found[f"{name} W{bits} QAT"] = bench.score(fq)
    found |= {f"mlp {key}": value for key, value in _rounding(own, seed, settings["rounding"]["draws"]).items()}
    found |= {f"mlp {key}": value for key, value in _cold(own, seed).items()}
    found |= {f"mlp {key}": value for key, value in _lsq(own, seed, settings["lsq"]).items()}
    return {f"seed {seed:03d}": found}


class _Bench:
    """A network, the data it knows, and the images it is tried on."""

    def __init__(self, model: Module, x: np.ndarray, y: np.ndarray, test: tuple[np.ndarray, np.ndarray]) -> None:
        self.model, self.x, self.y, self.test = model, x, y, test

    @property
    def seen(self) -> Calibration:
        """Of the model as it is now."""
        return calibrate(self.model, self.x[:CALIBRATION_ROWS])

    def score(self, model: Module) -> float:
        """On the test images."""
        return evaluate(model, *self.test)

    def ptq(self, model: Module, scheme: Scheme) -> float:
        """Quantized after training, scored."""
        return self.score(quantize_model(model, calibrate(model, self.x[:CALIBRATION_ROWS]), scheme=scheme))


def _spread(bench: _Bench, seed: int) -> dict[str, float]:
    """The same function with channels of ever more different size."""
    found = {}
    per_tensor = TFLITE_INT8.replace(per_channel=False)
    for spread in SPREADS:
        wide = spread_channels(bench.model, bench.x[:1], spread, seed=seed)
        found[f"spread {spread} per tensor"] = bench.ptq(wide, per_tensor)
        found[f"spread {spread} per channel"] = bench.ptq(wide, TFLITE_INT8)
        found[f"spread {spread} equalized"] = bench.ptq(equalize(wide, bench.x[:1]), per_tensor)
    return found


def _biases(bench: _Bench, seed: int) -> dict[str, float]:
    """8-bit biases, one scale for a layer's, where its channels differ and where they were made alike."""
    wide = spread_channels(bench.model, bench.x[:1], 100, seed=seed)
    even = equalize(wide, bench.x[:1])
    return {
        f"{word} bias {bits}": bench.ptq(model, TFLITE_INT8.replace(bias_bits=bits))
        for word, model in (("spread", wide), ("even", even))
        for bits in (32, 8)
    }


def _rounding(bench: _Bench, seed: int, draws: int) -> dict[str, float]:
    """Few bits, six ways to round: the weights of all layers, activations as always; of the first layer, all else in float."""
    found: dict[str, float] = {}
    x = bench.x[:CALIBRATION_ROWS]
    rng = np.random.default_rng([seed, 3])
    for bits in (4, 3, 2):
        first = WEIGHT_ONLY_INT8.replace(exclude=True).annotate("fc1", exclude=False, weight_bits=bits)
        for layers, scheme in zip(ROUNDED, (TFLITE_INT8.replace(weight_bits=bits), first), strict=True):
            fq = quantize_model(bench.model, bench.seen, scheme=scheme)
            ways = {"nearest": fq, "AdaRound": adaround(fq, x, iterations=300), "descent": gram_round(fq, x)}
            ways |= {mode: _rounded(fq, bench, mode) for mode in ("floor", "ceil")}
            found |= {f"W{bits} {layers} {way}": bench.score(model) for way, model in ways.items()}
            drawn = [bench.score(_rounded(fq, bench, "stochastic", rng)) for _ in range(draws)]
            found[f"W{bits} {layers} stochastic"] = float(np.mean(drawn))
            found[f"W{bits} {layers} best"] = float(np.max(drawn))
    return found


def _rounded(fq: FakeQuantModel, bench: _Bench, mode: str, rng: np.random.Generator | None = None) -> FakeQuantModel:
    """Every weight rounded alike; no inputs are looked at, but `round_layers` wants one."""
    return round_layers(fq, bench.x[:1], _by_mode(mode, rng))


def _by_mode(mode: str, rng: np.random.Generator | None = None) -> Callable[[RoundingProblem], np.ndarray]:
    """Every weight rounded alike."""

    def decide(problem: RoundingProblem) -> np.ndarray:
        qp = QParams(problem.scale[:, 0], problem.zero_point[:, 0].astype(np.int64), problem.qmin, problem.qmax, axis=0)
        rounded = round_quotient(problem.weight, qp, rounding=mode, rng=rng)
        return np.clip(rounded + problem.zero_point, problem.qmin, problem.qmax).astype(np.float64)

    return decide


def _lsq(bench: _Bench, seed: int, settings: dict[str, Any]) -> dict[str, float]:
    """2-bit weights and activations with learned scales, input and last layer at 8 bits as in the paper.

    The scales are trained in their own units: on the logarithm, a step is s times smaller, and that hides what is looked for.
    """
    wide = {"weight_bits": 8, "activation_bits": 8}
    scheme = TFLITE_INT8.replace(weight_bits=2, activation_bits=2).annotate("head", **wide).annotate("input", **wide)
    scheme = scheme.annotate("flatten", **wide).annotate("fc1", weight_bits=8)
    seen, found = bench.seen, {}
    for rate in LSQ_RATES:
        for word, scaled in (("with", True), ("without", False)):
            fq = quantize_model(
                bench.model, seen, scheme=scheme, weight_ranges="learn", ranges="learn", gradient_scale=scaled,
                scale_parameter=SHAPE_SETTINGS["lsq_scale"],
            )  # fmt: skip
            found["W2A2 PTQ"] = bench.score(fq)
            try:
                fit(fq, bench.x, bench.y, **settings, lr=rate, seed=1000 + seed)
                found[f"LSQ rate {rate:g} {word} gradient scale"] = bench.score(fq)
            except ValueError:
                # The loss stopped being finite.
                found[f"LSQ rate {rate:g} {word} gradient scale"] = 0.0
    return found


def _cold(bench: _Bench, seed: int) -> dict[str, float]:
    """Ranges as a moving average has them after so many batches, begun at +-6 and not divided by what it lacks."""
    warm = quantize_model(bench.model, bench.seen)
    found = {"EMA debiased": bench.score(warm)}
    for batches in COLD_BATCHES:
        kept = COLD_MOMENTUM**batches
        for word, start in (("from 6", COLD_START), ("from 0", 0.0)):
            scheme = TFLITE_INT8
            for name, qp in warm.qparams.items():
                if qp is None:
                    continue
                low, high = (float(qp.scale) * (end - int(qp.zero_point)) for end in (qp.qmin, qp.qmax))
                ends = (-start * kept + low * (1 - kept), start * kept + high * (1 - kept))
                scheme = scheme.annotate(name, calibration="fixed", fixed_range=ends)
            found[f"EMA {word} after {batches}"] = bench.ptq(bench.model, scheme)
    return found
