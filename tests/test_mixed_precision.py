"""Bits under a budget of bytes: bytes are counted right, the budget is kept, and what was chosen is what is measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
from analysis_networks import NETWORKS, digits, trained
from test_sensitivity import Twice

from tinyquant.analysis.mixed_precision import (
    accuracy_against_bytes,
    mixed_precision,
    packed_bytes,
    parameter_bytes,
)
from tinyquant.analysis.sensitivity import sensitivity
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.training import evaluate

BITS = (8, 4, 2)
ROWS = 100


def bench(name="mlp"):
    x, y, _, _ = digits()
    return (*trained(name), x[:ROWS], y[:ROWS])


@pytest.mark.parametrize("name", NETWORKS)
def test_at_eight_bits_the_bytes_are_those_of_the_integer_model(name):
    fq = quantize_model(*trained(name))
    assert parameter_bytes(fq) == convert(fq).nbytes
    weights = sum(node.params["weight"].size for node in convert(fq).graph if "weight" in node.params)
    four = quantize_model(*trained(name), scheme=TFLITE_INT8.replace(weight_bits=4))
    assert parameter_bytes(fq) - parameter_bytes(four) == weights // 2


def test_packing_rounds_up_to_a_byte_and_shared_weights_are_stored_once():
    assert [packed_bytes(n, b) for n, b in ((8, 2), (9, 2), (5, 3), (1, 8))] == [2, 3, 2, 1]
    model, x = Twice().eval(), np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    fq = quantize_model(model, calibrate(model, x))
    # 4 x 4 weights once, a bias of 4 at each of the two calls, 4 x 2 weights and a bias of 2
    assert parameter_bytes(fq) == 16 + 2 * 16 + 8 + 8


@pytest.mark.parametrize("method", ["exact", "greedy", "exhaustive"])
def test_the_budget_is_kept_and_the_scheme_makes_the_network_that_was_measured(method):
    model, seen, x, y = bench()
    found = mixed_precision(model, seen, x, y, budget=4200, bits=BITS, method=method)
    assert found.nbytes <= 4200 and set(found.bits) == {"fc1", "fc2", "head"} and set(found.bits.values()) <= set(BITS)
    fq = quantize_model(model, seen, scheme=found.scheme)
    assert {name: fq.nodes[name].settings.weight_bits for name in found.bits} == found.bits
    assert parameter_bytes(fq) == found.nbytes
    assert found.accuracy == evaluate(fq, x, y) == found.right / ROWS


def test_exhaustive_is_the_least_measured_error_and_the_others_are_never_below_it():
    model, seen, x, y = bench()
    table = sensitivity(model, seen, x, bits=BITS)
    for budget in (2500, 3500, 5000):
        found = {
            method: mixed_precision(
                model, seen, x, y, budget=budget, bits=BITS, method=method, table=None if method == "exhaustive" else table
            )
            for method in ("exhaustive", "exact", "greedy")
        }
        assert found["exhaustive"].error <= min(found["exact"].error, found["greedy"].error)

        def foretold(one):
            return sum(table.alone[name][bits].error for name, bits in one.bits.items())

        assert foretold(found["exact"]) <= foretold(found["greedy"])


def test_a_budget_for_everything_buys_eight_bits_and_one_too_small_says_what_it_takes():
    model, seen, x, y = bench("resnet")
    assert set(mixed_precision(model, seen, x[:30], budget=10**6, bits=BITS).bits.values()) == {8}
    least = parameter_bytes(quantize_model(model, seen, scheme=TFLITE_INT8.replace(weight_bits=2)))
    for method in ("exact", "greedy"):
        with pytest.raises(ValueError, match=f"the budget must be at least {least} bytes, .* got {least - 1}"):
            mixed_precision(model, seen, x[:10], budget=least - 1, bits=BITS, method=method)
    assert set(mixed_precision(model, seen, x[:10], budget=least, bits=BITS).bits.values()) == {2}


def test_an_expensive_layer_that_nobody_minds_gives_its_bits_first():
    """fc1 holds two thirds of the weights of the perceptron and a small part of the damage."""
    model, seen, x, y = bench()
    found = mixed_precision(model, seen, x, y, budget=4600, bits=(8, 4))
    assert found.bits["fc1"] == 4 and found.bits["head"] == 8


def test_accuracy_against_bytes_holds_every_uniform_width_and_a_front_sorted_by_bytes():
    model, seen, x, y = bench()
    found = accuracy_against_bytes(model, seen, x, y, bits=BITS, points=6, search=x[:50])
    sizes = [one.nbytes for one in found]
    assert sizes == sorted(sizes) and len(found) >= 5
    assert {one.bits["fc1"] for one in found if one.kind == "uniform"} == set(BITS)
    assert any(one.kind == "mixed" for one in found)
    assert len({tuple(one.bits.values()) for one in found}) == len(found)


def test_an_assignment_prints_and_is_data():
    model, seen, x, y = bench()
    found = mixed_precision(model, seen, x, y, budget=4200, bits=BITS)
    assert str(found).isascii() and f"{found.right} of {ROWS} right" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["bits"] == dict(found.bits)
    assert mixed_precision(model, seen, x, budget=4200, bits=BITS).accuracy is None


def test_wrong_arguments_are_refused():
    model, seen, x, y = bench()
    with pytest.raises(ValueError, match='must be "exact", "greedy" or "exhaustive", got \'best\''):
        mixed_precision(model, seen, x, budget=9999, method="best")
    with pytest.raises(ValueError, match=r"x must have at least one row, got shape \(0, "):
        mixed_precision(model, seen, x[:0], budget=9999)
    with pytest.raises(ValueError, match='"exhaustive" must have at most 3000 assignments to try, got 59049'):
        mixed_precision(*bench("resnet")[:3], budget=9999, bits=BITS, method="exhaustive")
    with pytest.raises(ValueError, match="bits must hold at least one width"):
        mixed_precision(model, seen, x, budget=9999, bits=())
    table = sensitivity(model, seen, x[:5], bits=(8, 4))
    with pytest.raises(ValueError, match=r"table must be of this network and of bits \(8, 4, 2\)"):
        mixed_precision(model, seen, x, budget=9999, bits=BITS, table=table)
    with pytest.raises(ValueError, match="points must be at least 2"):
        accuracy_against_bytes(model, seen, x, y, points=1)
    with pytest.raises(ValueError, match="the budget must be at least 2040 bytes"):
        mixed_precision(model, seen, x, budget=5, bits=BITS, method="exhaustive")
