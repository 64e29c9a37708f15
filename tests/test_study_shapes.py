"""The published shapes: verdicts that follow from the numbers, names that exist, and the one run that makes them all."""

from __future__ import annotations

import copy
import csv
import io
import json

import numpy as np
import pytest

from tinyquant import data, models
from tinyquant.cli import main, study
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.adaround import adaround
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.equalize import equalize, spread_channels
from tinyquant.quantization.gram_rounding import gram_round
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.rounding_decisions import RoundingProblem, round_layers
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.study.kept import Kept
from tinyquant.study.shapes import SHAPES, Expectation, Shape, _judge, all_numbers, shapes_csv, shapes_text
from tinyquant.study.shapes_runs import (
    COLD_BATCHES,
    LSQ_RATES,
    SHAPE_SETTINGS,
    _Bench,
    _by_mode,
    _cold,
    _lsq,
    run_shapes,
)
from tinyquant.training import evaluate, fit

SHORT = {
    "mlp": {"epochs": 2, "lr": 1e-2}, "qat": {"epochs": 1}, "mobilenet_qat": {"epochs": 1}, "lsq": {"epochs": 1},
    "rounding": {"draws": 3},
}  # fmt: skip


@pytest.fixture(scope="module")
def one_seed():
    return run_shapes(1, SHORT)["seed 001"]


def test_a_seed_has_every_number_that_a_shape_speaks_of(one_seed):
    for shape in SHAPES:
        assert all(len(names) == len(shape.columns) for _, names in shape.shown)
    named = {name for shape in SHAPES for _, names in shape.shown for name in names}
    named |= {name for shape in SHAPES for expected in shape.expected for name in (expected.better, expected.worse)}
    assert named <= one_seed.keys()
    assert all(0 <= value <= 1 for value in one_seed.values()) and json.loads(json.dumps(one_seed)) == one_seed


def test_spread_is_harmless_in_float_and_equalization_undoes_it(one_seed):
    """1000 to 1: the network is the same function, so what equalization leaves does not depend on the spread."""
    for network in ("mlp", "mobilenet"):
        equalized = [one_seed[f"{network} spread {spread} equalized"] for spread in (1, 10, 100, 1000)]
        assert max(equalized) - min(equalized) <= 1.5 / 450
    assert one_seed["mobilenet float"] - one_seed["mobilenet spread 1000 per tensor"] > 0.3
    assert abs(one_seed["mobilenet float"] - one_seed["mobilenet spread 1000 equalized"]) < 0.01


@pytest.fixture(scope="module")
def by_hand():
    """Seed 1, shortened: the perceptron, what was seen of it, its training rows and test images."""
    (x, y), test = data.digits(1)
    model = models.mlp(seed=1)
    fit(model, x, y, **SHORT["mlp"], seed=1)
    return model, calibrate(model, x[:512]), x, y, test


def test_training_with_quantization_is_recounted_by_hand(one_seed, by_hand):
    model, seen, x, y, test = by_hand
    assert one_seed["mlp float"] == evaluate(model, *test)
    for bits in (4, 3):
        fq = quantize_model(model, seen, scheme=TFLITE_INT8.replace(weight_bits=bits))
        assert one_seed[f"mlp W{bits} PTQ"] == evaluate(fq, *test)
        fit(fq, x, y, **SHORT["qat"], seed=1001)
        assert one_seed[f"mlp W{bits} QAT"] == evaluate(fq, *test) != one_seed[f"mlp W{bits} PTQ"]


@pytest.mark.parametrize("network", ["mlp", "mobilenet"])
def test_spread_and_biases_are_recounted_by_hand(one_seed, by_hand, network):
    """The scheme and the network of each. The pairs must differ, or nothing would be told apart."""
    model, _, x, _, test = by_hand
    if network == "mobilenet":
        model, ((x, _), test) = models.load_checkpoint(network), data.digits(0)
    wide = {spread: spread_channels(model, x[:1], spread, seed=1) for spread in (100, 1000)}
    even = equalize(wide[100], x[:1])

    def ptq(model, **changes):
        return evaluate(quantize_model(model, calibrate(model, x[:512]), scheme=TFLITE_INT8.replace(**changes)), *test)

    expected = {
        "spread 100 per tensor": ptq(wide[100], per_channel=False),
        "spread 100 per channel": ptq(wide[100]),
        "spread 1000 per tensor": ptq(wide[1000], per_channel=False),
        "spread 1000 per channel": ptq(wide[1000]),
        "spread 100 equalized": ptq(even, per_channel=False),
        "spread bias 32": ptq(wide[100]),
        "spread bias 8": ptq(wide[100], bias_bits=8),
        "even bias 32": ptq(even),
        "even bias 8": ptq(even, bias_bits=8),
    }
    assert {name: one_seed[f"{network} {name}"] for name in expected} == expected
    assert expected["spread 100 per tensor"] != expected["spread 100 per channel"]
    if network == "mobilenet":
        assert expected["spread bias 32"] != expected["spread bias 8"] != expected["even bias 8"]


def test_roundings_of_all_layers_are_recounted_by_hand(one_seed, by_hand):
    model, seen, x, _, test = by_hand
    rng = np.random.default_rng([1, 3])
    four = quantize_model(model, seen, scheme=TFLITE_INT8.replace(weight_bits=4))
    drawn = [evaluate(round_layers(four, x[:9], _by_mode("stochastic", rng)), *test) for _ in range(3)]
    assert one_seed["mlp W4 all layers stochastic"] == np.mean(drawn)
    assert one_seed["mlp W4 all layers best"] == max(drawn) > np.mean(drawn)
    two = quantize_model(model, seen, scheme=TFLITE_INT8.replace(weight_bits=2))
    expected = {
        "nearest": evaluate(two, *test),
        "AdaRound": evaluate(adaround(two, x[:512], iterations=300), *test),
        "descent": evaluate(gram_round(two, x[:512]), *test),
        "floor": evaluate(round_layers(two, x[:9], _by_mode("floor")), *test),
        "ceil": evaluate(round_layers(two, x[:9], _by_mode("ceil")), *test),
    }
    assert {way: one_seed[f"mlp W2 all layers {way}"] for way in expected} == expected
    assert len(set(expected.values())) == len(expected)


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_roundings_of_the_first_layer_leave_all_else_in_float(one_seed, by_hand, bits):
    """As published: the float network with the weights of one layer on their grid, without the library's quantizers."""
    model, _, _, _, test = by_hand
    weight, most = model.fc1.weight.data.astype(np.float64), 2 ** (bits - 1) - 1
    scale = np.float64(np.float32(np.abs(weight).max(axis=1, keepdims=True) / most))
    steps = weight / scale
    codes = {"nearest": np.sign(steps) * np.floor(np.abs(steps) + 0.5), "floor": np.floor(steps), "ceil": np.ceil(steps)}
    for way, rounded in codes.items():
        other = copy.deepcopy(model)
        other.fc1.weight.data = (np.clip(rounded, -most, most) * scale).astype(np.float32)
        assert one_seed[f"mlp W{bits} first layer {way}"] == evaluate(other, *test), way
    assert one_seed[f"mlp W{bits} first layer best"] > one_seed[f"mlp W{bits} first layer stochastic"]
    assert one_seed[f"mlp W{bits} first layer nearest"] != one_seed[f"mlp W{bits} all layers nearest"]


def test_roundings_by_name_are_those_roundings():
    problem = RoundingProblem(
        np.array([[0.2, 0.7, -0.2, 3.0]]), np.array([[1.0]]), np.array([[0.0]]), -1, 1, np.eye(4)[None]
    )
    assert _by_mode("floor")(problem).tolist() == [[0, 0, -1, 1]]
    assert _by_mode("ceil")(problem).tolist() == [[1, 1, 0, 1]]
    rng = np.random.default_rng(0)
    drawn = np.mean([_by_mode("stochastic", rng)(problem)[0, 1] for _ in range(400)])
    assert abs(drawn - 0.7) < 4 * np.sqrt(0.7 * 0.3 / 400)


def test_a_cold_average_has_the_range_of_its_batches():
    """After k batches of one range [l, h] an average begun at +-s has m^k [-s, s] + (1 - m^k) [l, h]: by a loop, not by that."""
    momentum = 0.999
    train, test = data.digits(0)
    bench = _Bench(models.load_checkpoint("mlp"), *train, test)
    found = _cold(bench, 0)
    warm = bench.score(quantize_model(bench.model, bench.seen))
    assert found["EMA debiased"] == warm
    assert abs(found[f"EMA from 0 after {COLD_BATCHES[-1]}"] - warm) <= 2 / 450 and found["EMA from 0 after 20"] < warm - 0.3
    for start in (0, 6):
        scheme = TFLITE_INT8
        for name, qp in quantize_model(bench.model, bench.seen).qparams.items():
            assert isinstance(qp, QParams)
            ends = [-float(start), float(start)]
            for _ in range(200):
                for place, code in enumerate((-128, 127)):
                    ends[place] = momentum * ends[place] + (1 - momentum) * float(qp.scale) * (code - int(qp.zero_point))
            scheme = scheme.annotate(name, calibration="fixed", fixed_range=tuple(ends))
        seen = calibrate(bench.model, bench.x[:512])
        assert found[f"EMA from {start} after 200"] == bench.score(quantize_model(bench.model, seen, scheme=scheme))
    assert found["EMA from 0 after 20"] != found["EMA from 6 after 20"]


def test_without_its_gradient_scale_a_learned_step_is_lost_at_the_papers_rate():
    """Esser et al. 2020, section 3.3: no convergence at 0.01. Eight seeds lost 40 to 80 points each; 10 leaves room."""
    train, test = data.digits(0)
    found = _lsq(_Bench(models.load_checkpoint("mlp"), *train, test), 0, SHAPE_SETTINGS["lsq"])
    assert found["LSQ rate 0.01 with gradient scale"] > found["LSQ rate 0.01 without gradient scale"] + 0.1
    assert found["LSQ rate 0.01 with gradient scale"] > found["W2A2 PTQ"]
    assert len(found) == 1 + 2 * len(LSQ_RATES)


def runs(**columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize(
    "differences, by, verdict, word",
    [
        ([0.10, 0.12, 0.11], 0.0, "appears.", "yes"),
        ([0.10, 0.12, 0.11], 0.3, "does not appear here.", "not shown"),
        ([-0.10, -0.12, -0.11], 0.0, "does not appear here.", "no, the opposite"),
        ([0.1, -0.1, 0.02], 0.0, "does not appear here.", "not shown"),
        ([-0.002, 0.002, 0.0], -0.01, "appears.", "yes"),
        ([-0.05, -0.052, -0.051], -0.01, "does not appear here.", "no, the opposite"),
    ],
)
def test_a_verdict_follows_from_the_interval(differences, by, verdict, word):
    shape = Shape("t", ("p",), ("a",), (("line", ("a",)),), (Expectation("said", "a", "b", by),))
    said, lines = _judge(shape, runs(a=[0.5 + d for d in differences], b=[0.5] * 3))
    assert said == verdict and lines[-1].strip().startswith(f"{word} ")


def test_a_shape_may_appear_in_part():
    shape = Shape("t", ("p",), (), (), (Expectation("x", "a", "b"), Expectation("y", "b", "a")))
    assert _judge(shape, runs(a=[0.9, 0.91], b=[0.5, 0.51]))[0] == "appears in part: 1 of 2."


def as_published() -> dict[str, float]:
    """Every number as the literature has it, in its order: what is better there is better here."""
    found = {}
    for network in ("mlp", "mobilenet"):
        found |= {f"{network} float": 0.98, f"{network} W4 PTQ": 0.5, f"{network} W4 QAT": 0.9}
        found |= {f"{network} spread bias 32": 0.9, f"{network} spread bias 8": 0.2}
        found |= {f"{network} even bias 32": 0.95, f"{network} even bias 8": 0.945}
        for spread, tensor, channel in ((1, 0.97, 0.97), (10, 0.9, 0.96), (100, 0.5, 0.95), (1000, 0.1, 0.94)):
            ways = {"per tensor": tensor, "per channel": channel, "equalized": 0.975}
            found |= {f"{network} spread {spread} {way}": value for way, value in ways.items()}
    found |= {"mlp W3 PTQ": 0.4, "mlp W3 QAT": 0.8, "mlp W2A2 PTQ": 0.3, "mlp EMA debiased": 0.975}
    rounded = {"nearest": 0.52, "AdaRound": 0.7, "descent": 0.7, "floor": 0.1, "ceil": 0.1, "stochastic": 0.52, "best": 0.63}
    for layers in ("all layers", "first layer"):
        found |= {f"mlp W{bits} {layers} {way}": value for bits in (4, 3, 2) for way, value in rounded.items()}
    for rate, with_, without in ((0.01, 0.676, 0.1), (0.0001, 0.67, 0.642)):
        found |= {f"mlp LSQ rate {rate:g} {word} gradient scale": v for word, v in (("with", with_), ("without", without))}
    for start in (0, 6):
        found |= {f"mlp EMA from {start} after {n}": v for n, v in ((20, 0.2), (200, 0.5), (1000, 0.8), (10000, 0.97))}
    return found


def test_numbers_as_published_have_all_six_shapes_and_turned_round_none_is_better():
    """No comparison of a shape is the wrong way round."""
    right = all_numbers(as_published())
    wrong = {name: 1 - value for name, value in right.items()}
    for shape in SHAPES:
        verdict, lines = _judge(shape, [right, right])
        assert verdict == "appears." and sum(line.startswith("   yes  ") for line in lines) == len(shape.expected)
        better = [expected for expected in shape.expected if expected.by >= 0]
        assert not any(expected.look([wrong, wrong])[1] for expected in better)
    assert "6 of 6 shapes appear in every part" in shapes_text([right, right])


def test_the_text_has_the_published_numbers_and_counts_its_verdicts(one_seed):
    text = shapes_text([one_seed, one_seed])
    for number in ("59.1", "70.32", "52.29", "67.6", "57.07", "0.20 %"):
        assert number in text
    verdicts = [line.strip() for line in text.splitlines() if line.strip().startswith("=>")]
    whole = sum(line == "=> appears." for line in verdicts)
    assert len(verdicts) == 6 and f"{whole} of 6 shapes appear in every part" in text
    assert text.isascii() and max(map(len, text.splitlines())) <= 135
    for place, shape in enumerate(SHAPES):
        assert f"\n{place + 1}. {shape.title}\n" in text
    lines = list(csv.reader(io.StringIO(shapes_csv([one_seed, one_seed]))))
    assert lines[0] == ["result", "mean_percent", "seed_0", "seed_1"] and len(lines) == 1 + len(one_seed)


def test_the_command_prints_and_keeps(tmp_path, capsys, monkeypatch, one_seed):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(study, "run_shapes", lambda seed, settings: {f"seed {seed:03d}": one_seed})
    assert main(["study", "shapes", "--seeds", "2", "--jobs", "1", "--out", str(tmp_path)]) == 0
    out, _ = capsys.readouterr()
    assert (tmp_path / "shapes.txt").read_text() in out
    assert (tmp_path / "shapes.csv").exists() and (tmp_path / "shapes.json").exists()


def test_the_lines_of_a_shape_word_for_word():
    shape = Shape(
        "t", ("one.", "two."), ("with", "without"), (("line", ("a", "b")),),
        (Expectation("a is better", "a", "b"), Expectation("b is better", "b", "a"), Expectation("by far", "a", "b", 0.5)),
    )  # fmt: skip
    # Student's t at two degrees of freedom is 4.3027: a 95 % interval of three is +- 2.4842 deviations.
    verdict, lines = _judge(shape, runs(a=[0.90, 0.91, 0.92], b=[0.50, 0.50, 0.50]))
    assert verdict == "appears in part: 1 of 3."
    assert lines == [
        "   published: one.",
        "              two.",
        "   ours:                          with      without",
        "   line                     91.0 +-2.5   50.0 +-0.0",
        "   yes              a is better: +41.00 (+38.52 to +43.48) points",
        "   no, the opposite b is better: -41.00 (-43.48 to -38.52) points",
        "   not shown        by far: +41.00 (+38.52 to +43.48) points",
    ]


@pytest.mark.parametrize("value, shown", [(None, "None"), (1.5, "1.5"), (True, "True"), ("0.9", "'0.9'")])
def test_a_damaged_result_is_named_with_its_file_and_what_to_do(tmp_path, capsys, monkeypatch, one_seed, value, shown):
    """Before anything is run."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(study, "run_shapes", None)
    file = tmp_path / "shapes.json"
    damaged = {name: number for name, number in one_seed.items() if name != "mlp W4 QAT" or value is not None}
    damaged |= {} if value is None else {"mlp W4 QAT": value}
    Kept(file, "shapes", SHAPE_SETTINGS).add({"seed 001": damaged})
    before = file.read_bytes()
    assert main(["study", "shapes", "--seeds", "2", "--jobs", "1", "--out", str(tmp_path)]) == 3
    assert capsys.readouterr().err == (
        f"tinyquant: {file}, entry 'seed 001': an outcome must have a fraction as 'mlp W4 QAT', got {shown}. "
        "Delete the entry, or move the file away: what is missing is run again.\n"
    )
    assert file.read_bytes() == before
