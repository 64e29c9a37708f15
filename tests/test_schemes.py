"""Schemes: frozen data, changed by copies."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tinyquant.quantization.schemes import TFLITE_INT8


def test_replace_and_annotate_leave_the_scheme_as_it_was():
    changed = TFLITE_INT8.replace(weight_bits=4).annotate("a.*", weight_bits=8)
    assert (TFLITE_INT8.weight_bits, TFLITE_INT8.overrides) == (8, ())
    assert [changed.for_node(name).weight_bits for name in ("a.conv", "b")] == [8, 4]
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.weight_bits = 3


def test_the_last_matching_annotation_wins_field_by_field():
    scheme = TFLITE_INT8.annotate("a*", weight_bits=4, exclude=True).annotate("ab", exclude=False)
    assert (scheme.for_node("ab").weight_bits, scheme.for_node("ab").exclude, scheme.for_node("ac").exclude) == (
        4,
        False,
        True,
    )


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16])
def test_numpys_whole_numbers_are_whole_numbers_and_are_kept_as_pythons(kind):
    """Files hold Python's numbers: what is written down of a scheme is the same text."""
    counts = {"weight_bits": 4, "activation_bits": 6, "bias_bits": 8, "group_size": 2}
    theirs = {key: kind(value) for key, value in counts.items()}
    want, got = TFLITE_INT8.replace(**counts, percentile=99.0), TFLITE_INT8.replace(**theirs, percentile=np.float64(99))
    assert got == want and json.dumps(dataclasses.asdict(got)) == json.dumps(dataclasses.asdict(want))
    want, got = TFLITE_INT8.annotate("a", **counts), TFLITE_INT8.annotate("a", **theirs)
    assert got == want and json.dumps(dataclasses.asdict(got)) == json.dumps(dataclasses.asdict(want))


def test_annotate_takes_a_nodes_name_and_settings_that_a_node_has():
    with pytest.raises(TypeError, match=r"annotate must change settings of nodes, got name='zz'.*Use replace\(name=\.\.\.\)"):
        TFLITE_INT8.annotate("fc1", name="zz")
    with pytest.raises(TypeError, match="a scheme has .*, got overrides"):
        TFLITE_INT8.annotate("fc1", overrides=())
    with pytest.raises(TypeError, match="pattern must be a node's name, or a pattern over names, got 3"):
        TFLITE_INT8.annotate(3, weight_bits=4)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weight_bits": 1}, ValueError, "weight_bits must be a whole number from 2 to 8, got 1"),
        ({"weight_bits": 9}, ValueError, "from 2 to 8, got 9"),
        ({"activation_bits": 17}, ValueError, "activation_bits must be a whole number from 2 to 16, got 17"),
        ({"weight_bits": 4.0}, ValueError, "whole number from 2 to 8, got 4.0"),
        ({"bias_bits": 24}, ValueError, "bias_bits must be 32, or a whole number from 2 to 16, got 24"),
        ({"group_size": -1}, ValueError, "group_size must be a whole number, 0 for none, got -1"),
        ({"weight_calibration": "ema"}, ValueError, "weight_calibration must be one of minmax, mse, got 'ema'"),
        ({"activations": "later"}, ValueError, "activations must be one of static, dynamic, float, got 'later'"),
        ({"rounding": "nearest"}, ValueError, "rounding must be one of half_even, .*, got 'nearest'"),
        ({"rounding": "stochastic"}, ValueError, "rounding must be one of"),
        ({"weight_bits": True}, ValueError, "weight_bits must be a whole number from 2 to 8, got True"),
        ({"bias_bits": 8.0}, ValueError, "bias_bits must be 32, or a whole number from 2 to 16, got 8.0"),
        ({"group_size": True}, ValueError, "group_size must be a whole number, 0 for none, got True"),
        ({"percentile": "99"}, ValueError, "percentile must be above 50 and at most 100, got '99'"),
        ({"fixed_range": ("0", "1")}, ValueError, r"fixed_range must be a tuple of two finite numbers, .* got \('0', '1'\)"),
        ({"bits": 4}, TypeError, "a scheme has name, weight_bits, .*, got bits"),
    ],
)
def test_a_setting_that_does_not_exist_or_fit_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        TFLITE_INT8.replace(**changes)
    with pytest.raises(error, match=message):
        TFLITE_INT8.annotate("x", **changes)
