"""The published shapes beside ours: what the literature found large, and whether it appears small.

A shape is a sentence of the form "this is better than that", with the published numbers it comes from. Whether ours has it is
decided by paired t-intervals over seeds and nothing else; a shape that does not appear is said not to.
With this module one has the shapes (`SHAPES`) and reads the verdicts (`shapes_text`, `shapes_csv`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyquant.analysis.intervals import Interval
from tinyquant.analysis.over_seeds import t_interval
from tinyquant.study.kept import Outcome
from tinyquant.study.shapes_runs import COLD_BATCHES, COLD_MOMENTUM, DRAWS, LSQ_RATES, ROUNDED

__all__ = ["SHAPES", "Expectation", "Shape", "all_numbers", "shapes_csv", "shapes_text"]


@dataclass(frozen=True)
class Expectation:
    """One comparison that a shape consists of.

    Attributes
    ----------
    text : str
    better, worse : str
        Names of results.
    by : float
        better - worse must be surely larger than this. A negative number asks only that better is not surely so much below:
        "within 1 point of" is by = -0.01.
    """

    text: str
    better: str
    worse: str
    by: float = 0.0

    def look(self, outcomes: Sequence[Outcome]) -> tuple[Interval, bool]:
        """The paired difference, and whether its whole interval is on the right side."""
        found = t_interval([outcome[self.better] - outcome[self.worse] for outcome in outcomes])
        return found, found.low > self.by


@dataclass(frozen=True)
class Shape:
    """A finding: what was published, which of our numbers stand beside, and what they must show.

    Attributes
    ----------
    title : str
    published : tuple of str
    columns : tuple of str
        What is above our table.
    shown : tuple of (str, tuple of str)
        Its lines: a label and the names of the results on it.
    expected : tuple of Expectation
    note : str
        A difference between the two experiments that a reader must know of.
    """

    title: str
    published: tuple[str, ...]
    columns: tuple[str, ...]
    shown: tuple[tuple[str, tuple[str, ...]], ...]
    expected: tuple[Expectation, ...]
    note: str = ""


def _spread_lines(network: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A line a spread."""
    ways = ("per tensor", "per channel", "equalized")
    return tuple((f"{network} spread {s}", tuple(f"{network} spread {s} {way}" for way in ways)) for s in (1, 10, 100, 1000))


def _spread_expected(network: str) -> tuple[Expectation, ...]:
    """Collapse and both rescues."""
    wide = f"{network} spread"
    return (
        Expectation(f"{network}, spread 1000: per tensor loses 30 points", f"{network} float", f"{wide} 1000 per tensor", 0.3),
        Expectation(f"{network}, spread 100: a scale a channel is better", f"{wide} 100 per channel", f"{wide} 100 per tensor"),
        Expectation(f"{network}, spread 1000: equalized is within 1 point", f"{wide} 1000 equalized", f"{network} float", -0.01),
    )


def _lsq(word: str, rate: float) -> str:
    """The name of a result."""
    return f"mlp LSQ rate {rate:g} {word} gradient scale"


def _rounded(layers: str, bits: int, way: str) -> str:
    """The name of a result."""
    return f"mlp W{bits} {layers} {way}"


SHAPES = (
    Shape(
        "One scale for a whole tensor collapses when channels differ; a scale a channel, or equalization, rescues",
        (
            "MobileNet v1, 8 bits: per tensor 0.1, per channel 59.1, float 70.9 (Krishnamoorthi 2018, table 2)",
            "MobileNet v2, 8 bits: per tensor 0.10, equalized 70.32, float 71.81",
            "(a public replication of Nagel et al. 2019)",
        ),
        ("per tensor", "per channel", "equalized, per tensor"),
        (
            *_spread_lines("mlp"),
            *_spread_lines("mobilenet"),
        ),
        (*_spread_expected("mlp"), *_spread_expected("mobilenet")),
        "our spread was put in, the function kept; theirs came of training. Activations are per tensor in both.",
    ),
    Shape(
        "With 4-bit weights, training with quantization recovers what quantizing after training loses",
        (
            "8-bit activations, per channel: MobileNet v1 PTQ 0.1, QAT 65, float 70.9; v2 0.1, 62, 71.9",
            "ResNet v1 50 PTQ 54, QAT 73.2, float 75.2; Inception v3 71, 76, 78 (Krishnamoorthi 2018, table 5)",
        ),
        ("PTQ", "QAT", "float"),
        (
            ("mlp 4-bit weights", ("mlp W4 PTQ", "mlp W4 QAT", "mlp float")),
            ("mlp 3-bit weights", ("mlp W3 PTQ", "mlp W3 QAT", "mlp float")),
            ("mobilenet 4-bit", ("mobilenet W4 PTQ", "mobilenet W4 QAT", "mobilenet float")),
        ),
        (
            Expectation("mlp, 4 bits: QAT is better than PTQ", "mlp W4 QAT", "mlp W4 PTQ"),
            Expectation("mlp, 3 bits: QAT is better than PTQ", "mlp W3 QAT", "mlp W3 PTQ"),
            Expectation("mobilenet, 4 bits: QAT is better than PTQ", "mobilenet W4 QAT", "mobilenet W4 PTQ"),
        ),
        "without a control: `study table` has it.",
    ),
    Shape(
        "Rounding a weight to the nearest code is not the best rounding",
        (
            "ResNet-18, first layer at 4 bits, the rest in float: nearest 52.29, ceil 0.10, floor 0.10,",
            "stochastic 52.06 (spread of 100: 5.52), the best of 100 63.06 (Nagel et al. 2020, table 1;",
            "a replication had nearest 58.60 and stochastic 47 to 55: no better than nearest)",
            "all layers, W4A8: ResNet-18 nearest 52.25, AdaRound 70.35, float 71.06;",
            "MobileNet v2 27.61, 71.82, 72.68 (MQBench)",
        ),
        ("nearest", "AdaRound", "descent", "floor", "ceil", "stochastic", f"best of {DRAWS}"),
        tuple(
            (
                f"{layers}, {bits} bits",
                tuple(
                    _rounded(layers, bits, way)
                    for way in ("nearest", "AdaRound", "descent", "floor", "ceil", "stochastic", "best")
                ),
            )
            for layers in ROUNDED
            for bits in (4, 3, 2)
        ),
        (
            *(
                Expectation(
                    f"all layers, {bits} bits: AdaRound is better than nearest",
                    _rounded("all layers", bits, "AdaRound"), _rounded("all layers", bits, "nearest"),
                )
                for bits in (4, 3, 2)
            ),
            *(
                Expectation(
                    f"first layer, {bits} bits: {way} loses 10 points to nearest",
                    _rounded("first layer", bits, "nearest"), _rounded("first layer", bits, way), 0.1,
                )
                for bits in (4, 3)
                for way in ("floor", "ceil")
            ),
            Expectation(
                f"first layer, 4 bits: the best of {DRAWS} stochastic roundings is better than nearest",
                _rounded("first layer", 4, "best"), _rounded("first layer", 4, "nearest"),
            ),
        ),
        f"the best of {DRAWS} is picked on the test images, as theirs: part of its gain is the picking. Our +- is over seeds.",
    ),
    Shape(
        "Learned step sizes need their gradient scaled down",
        (
            "ResNet-18 at 2 bits: with 1/sqrt(N Qp) 67.6; without no convergence at rate 0.01, 64.2 at 0.0001",
            "(Esser et al. 2020)",
        ),
        ("with", "without", "PTQ", "float"),
        (
            *(
                (
                    f"mlp W2A2 rate {rate:g}",
                    (_lsq("with", rate), _lsq("without", rate), "mlp W2A2 PTQ", "mlp float"),
                )
                for rate in LSQ_RATES
            ),
        ),
        (
            Expectation("at rate 0.01 it is better with the scale", _lsq("with", 0.01), _lsq("without", 0.01)),
            Expectation("0.01 with the scale is better than 0.0001 without", _lsq("with", 0.01), _lsq("without", 0.0001)),
        ),
        "here a step that would turn negative shrinks instead, and the layers are far smaller (a smaller N).",
    ),
    Shape(
        "8-bit biases are too few where channels differ, and enough once they are alike",
        (
            "MobileNet v2 with bias correction, biases of 16 bits 57.07, of 8 bits 0.12; equalized too, 70.79 and 68.78",
            "(a public replication of Nagel et al. 2019)",
        ),
        ("32 bits", "8 bits"),
        (
            *(
                (f"{network} {said}", tuple(f"{network} {word} bias {bits}" for bits in (32, 8)))
                for network in ("mlp", "mobilenet")
                for word, said in (("spread", "spread 100"), ("even", "equalized"))
            ),
        ),
        (
            Expectation(
                "mobilenet, spread 100: 32 bits are better than 8", "mobilenet spread bias 32", "mobilenet spread bias 8"
            ),
            Expectation("mlp, spread 100: 32 bits are better than 8", "mlp spread bias 32", "mlp spread bias 8"),
            Expectation(
                "mobilenet, equalized: 8 bits are within 1 point", "mobilenet even bias 8", "mobilenet even bias 32", -0.01
            ),
            Expectation("mlp, equalized: 8 bits are within 1 point", "mlp even bias 8", "mlp even bias 32", -0.01),
        ),
        "ours has a scale a channel for the weights and one for a layer's biases, no bias correction.",
    ),
    Shape(
        "A moving average that is not warm yet gives a wrong range",
        (
            "0.97 in Keras became 0.20 % in TFLite after a short fine-tune with an average of 0.999",
            "(tensorflow/model-optimization#368)",
        ),
        (*(f"{n} batches" for n in COLD_BATCHES), "debiased"),
        (
            *(
                (f"mlp begun at {start}", (*(f"mlp EMA from {start} after {n}" for n in COLD_BATCHES), "mlp EMA debiased"))
                for start in (0, 6)
            ),
        ),
        (
            Expectation("begun at 0, after 20 batches it loses 10 points", "mlp EMA debiased", "mlp EMA from 0 after 20", 0.1),
            Expectation("begun at +-6, after 20 batches it loses", "mlp EMA debiased", "mlp EMA from 6 after 20"),
            Expectation("after 10000 it is warm, within 1 point", "mlp EMA from 0 after 10000", "mlp EMA debiased", -0.01),
        ),
        f"the ranges that an average of {COLD_MOMENTUM} has after so many batches; `quantize_model` debiases its own.",
    ),
)


def all_numbers(outcome: Outcome) -> Outcome:
    """The outcome itself, if every number is there that a shape speaks of.

    Raises
    ------
    ValueError
        If one is missing, or is no fraction.
    """
    named = [name for shape in SHAPES for _, names in shape.shown for name in names]
    named += [name for shape in SHAPES for expected in shape.expected for name in (expected.better, expected.worse)]
    for name in dict.fromkeys([*named, *outcome]):
        value = outcome.get(name)
        if not isinstance(value, float) or not 0 <= value <= 1:
            raise ValueError(f"an outcome must have a fraction as {name!r}, got {value!r}.")
    return outcome


def shapes_text(outcomes: Sequence[Outcome]) -> str:
    """The whole answer."""
    parts = [
        f"Six published shapes, small: digits, accuracy in percent, mean of {len(outcomes)} seeds, "
        "+-: 95 % t-interval over them.\n"
        "yes: the interval of the difference, paired by seed, lies wholly on the side that was published."
    ]
    verdicts = []
    for number, shape in enumerate(SHAPES, 1):
        verdict, lines = _judge(shape, outcomes)
        verdicts.append(verdict)
        parts.append("\n".join([f"{number}. {shape.title}", *lines, f"   => {verdict}"]))
    whole = sum(verdict.startswith("appears.") for verdict in verdicts)
    parts.append(
        f"{whole} of {len(SHAPES)} shapes appear in every part. The ten packaged splits overlap, so seeds share digits.\n"
        "The packaged mobilenet is one network, and its seeds are of the spread and of the batches only."
    )
    return "\n\n".join(parts) + "\n"


def shapes_csv(outcomes: Sequence[Outcome]) -> str:
    """One line a result: its mean and every seed."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(["result", "mean_percent", *(f"seed_{seed}" for seed in range(len(outcomes)))])
    for name in outcomes[0]:
        values = [100 * float(outcome[name]) for outcome in outcomes]
        write.writerow([name, *(f"{value:.4f}" for value in (np.mean(values), *values))])
    return out.getvalue()


def _judge(shape: Shape, outcomes: Sequence[Outcome]) -> tuple[str, list[str]]:
    """What the shape's numbers show, and the lines that show them."""
    lines = [f"   published: {line}" if place == 0 else f"              {line}" for place, line in enumerate(shape.published)]
    widths = [max(13, len(name) + 2) for name in shape.columns]
    lines.append(f"   {'ours:':<22}" + "".join(f"{name:>{width}}" for name, width in zip(shape.columns, widths)))
    for label, names in shape.shown:
        means = [t_interval([100 * outcome[name] for outcome in outcomes]) for name in names]
        cells = [f"{f'{mean.value:.1f} +-{mean.half:.1f}':>{width}}" for mean, width in zip(means, widths)]
        lines.append(f"   {label:<22}" + "".join(cells))
    if shape.note:
        lines.append(f"   note: {shape.note}")
    there = 0
    for expected in shape.expected:
        found, holds = expected.look(outcomes)
        there += holds
        word = "yes" if holds else "no, the opposite" if found.high < min(expected.by, 0) else "not shown"
        ends = f"{100 * found.value:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"
        lines.append(f"   {word:<17}{expected.text}: {ends} points")
    count = len(shape.expected)
    if there == count:
        return "appears.", lines
    return ("does not appear here." if not there else f"appears in part: {there} of {count}."), lines
