"""Training on the very integers, held against training on plain fake-quant."""

from __future__ import annotations

import json

import numpy as np
import pytest
from analysis_networks import digits, trained

from tinyquant.analysis.exactness import exact_training
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.training import evaluate


@pytest.fixture(scope="module", params=["mlp", "mobilenet"])
def report(request):
    x, y, xt, yt = digits()
    model, seen = trained(request.param)
    scheme = TFLITE_INT8.replace(weight_bits=4)
    return exact_training(model, seen, x[:64], y[:64], test=(xt[:60], yt[:60]), scheme=scheme, epochs=1, lr=1e-3, seed=5)


def test_after_exact_training_no_code_differs_and_after_plain_training_some_do(report):
    assert (report.exact.differing, report.exact.changed_answers) == (0, 0)
    assert report.exact.accuracy == report.exact.integer_accuracy
    assert report.plain.differing > 0 and report.start.differing > 0


def test_the_nodes_that_differ_are_listed_with_their_causes(report):
    apart = [row for row in report.parted if row.total.differing]
    assert apart and all(row.total.max_lsb == 1 for row in apart)
    assert all(row.causes and "inputs" not in row.causes and row.name in str(report) for row in apart)
    assert "double rounding" in str(report)


def test_both_start_at_the_same_place_and_only_the_forward_differs(report):
    """One seed, one start: losses differ by what a code in a hundred makes, not by another course."""
    assert report.start.loss is None and report.plain.loss == pytest.approx(report.exact.loss, rel=0.5)
    assert report.plain.loss != report.exact.loss and report.slowdown > 0


def test_the_model_is_left_as_it_was(report):
    x, y, xt, yt = digits()
    model, seen = trained("mlp")
    before = {key: p.data.copy() for key, p in model.named_parameters()}
    exact_training(model, seen, x[:64], y[:64], test=(xt[:20], yt[:20]), epochs=1, bn="fold")
    assert all(np.array_equal(before[key], p.data) for key, p in model.named_parameters())
    assert evaluate(model, xt, yt) > 0.95


def test_the_report_is_ascii_and_data(report):
    assert str(report).isascii() and max(map(len, str(report).splitlines())) <= 80
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["exact"]["differing"] == 0 and data["slowdown"] == report.slowdown


def test_activations_that_have_no_integers_are_refused():
    x, y, xt, yt = digits()
    scheme, test = TFLITE_INT8.replace(activation_bits=6), (xt[:8], yt[:8])
    with pytest.raises(ValueError, match="activations must have 8 bits to convert"):
        exact_training(*trained("mlp"), x[:8], y[:8], test=test, scheme=scheme, epochs=1)
