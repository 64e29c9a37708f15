"""The published shapes: verdicts that follow from the numbers, names that exist, and the one run that makes them all."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from tinyquant import data, models
from tinyquant.cli import main, study
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.rounding_decisions import RoundingProblem
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.study.shapes import SHAPES, Expectation, Shape, _judge, shapes_csv, shapes_text
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

SHORT = {"mlp": {"epochs": 2, "lr": 1e-2}, "qat": {"epochs": 1}, "mobilenet_qat": {"epochs": 1}, "lsq": {"epochs": 1}}


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
    """After k batches of one range [l, h] an average begun at 0 has (1 - m^k) [l, h]: by a loop, not by the formula."""
    average, momentum = 0.0, 0.999
    for _ in range(200):
        average = momentum * average + (1 - momentum) * 4.0
    assert average == pytest.approx(4.0 * (1 - momentum**200))
    train, test = data.digits(0)
    bench = _Bench(models.load_checkpoint("mlp"), *train, test)
    found = _cold(bench, 0)
    warm = bench.score(quantize_model(bench.model, bench.seen))
    assert found["EMA debiased"] == warm
    assert abs(found[f"EMA from 0 after {COLD_BATCHES[-1]}"] - warm) <= 2 / 450 and found["EMA from 0 after 20"] < warm - 0.3
    scheme = TFLITE_INT8
    for name, qp in quantize_model(bench.model, bench.seen).qparams.items():
        assert isinstance(qp, QParams)
        low, high = float(qp.scale) * (-128 - int(qp.zero_point)), float(qp.scale) * (127 - int(qp.zero_point))
        share = average / 4.0
        scheme = scheme.annotate(name, calibration="fixed", fixed_range=(share * low, share * high))
    seen = calibrate(bench.model, bench.x[:512])
    assert found["EMA from 0 after 200"] == pytest.approx(bench.score(quantize_model(bench.model, seen, scheme=scheme)))


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


def test_the_text_has_the_published_numbers_and_counts_its_verdicts(one_seed):
    text = shapes_text([one_seed, one_seed])
    for number in ("59.1", "70.32", "52.29", "67.6", "57.07", "0.20 %"):
        assert number in text
    verdicts = [line.strip() for line in text.splitlines() if line.strip().startswith("=>")]
    whole = sum(line == "=> appears." for line in verdicts)
    assert len(verdicts) == 6 and f"{whole} of 6 shapes appear in every part" in text
    assert text.isascii() and max(map(len, text.splitlines())) <= 135
    lines = list(csv.reader(io.StringIO(shapes_csv([one_seed, one_seed]))))
    assert lines[0] == ["result", "mean_percent", "seed_0", "seed_1"] and len(lines) == 1 + len(one_seed)


def test_the_command_prints_and_keeps(tmp_path, capsys, monkeypatch, one_seed):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(study, "run_shapes", lambda seed, settings: {f"seed {seed:03d}": one_seed})
    assert main(["study", "shapes", "--seeds", "2", "--jobs", "1", "--out", str(tmp_path)]) == 0
    out, _ = capsys.readouterr()
    assert (tmp_path / "shapes.txt").read_text() in out
    assert (tmp_path / "shapes.csv").exists() and (tmp_path / "shapes.json").exists()
