"""Calibration: what is watched, in which forms data may come, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tinyquant import nn
from tinyquant.autograd import Tensor
from tinyquant.quantization.calibrate import calibrate

X = np.random.default_rng(0).normal(size=(100, 6, 6, 2)).astype(np.float32)


def network(stride=1):
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=stride), nn.BatchNorm2d(3), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(3, 4)
    ).reset_parameters(1)


def test_every_value_is_watched_and_its_range_is_that_of_all_rows():
    model = network()
    seen = calibrate(model, X)
    assert list(seen.statistics) == ["input", "0", "1", "2", "3.pool", "3", "4"]
    assert seen.range("input") == (X.min(), X.max())
    logits = model.eval()(Tensor(X)).data
    # The same float operations in batches of 64: BLAS may sum in another order, by a few ulp.
    assert np.allclose(seen.range("4"), (logits.min(), logits.max()), rtol=1e-5, atol=1e-6)
    assert seen.rows == 100


@pytest.mark.parametrize(
    "data",
    [X, [X[:50], X[50:]], ((X[i : i + 25], np.zeros(25)) for i in range(0, 100, 25)), [(X, np.zeros(100))]],
    ids=["array", "batches", "generator of (x, y)", "one (x, y)"],
)
def test_data_may_be_an_array_or_batches_with_or_without_labels(data):
    seen = calibrate(network(), data)
    assert seen.range("input") == (X.min(), X.max()) and seen.rows == 100


def test_the_mode_comes_back_and_running_statistics_stay():
    model = network().train()
    before = model[1].running_mean.copy()
    calibrate(model, X)
    assert model.training and np.array_equal(model[1].running_mean, before)


def test_merged_calibrations_are_one_calibration_of_both():
    model = network()
    both, whole = calibrate(model, X[:64]).merge(calibrate(model, X[64:])), calibrate(model, X)
    for name, record in whole.statistics.items():
        assert both.range(name) == (record.minimum, record.maximum)
        assert both.statistics[name].histogram.tolist() == record.histogram.tolist()


def test_what_was_not_seen_of_this_very_model_does_not_merge():
    model = network()
    seen = calibrate(model, X[:64])
    others = {
        "a new weight at '4'": network(),
        "a new gamma at '1'": network(),
        "a new bias at '0'": nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), *[model[i] for i in range(1, 5)]),
        "other settings at '0'": network(stride=2),
        "one of a different network": nn.Sequential(*[model[i] for i in range(4)]),
    }
    others["a new weight at '4'"][4].weight.data *= 2
    others["a new gamma at '1'"][1].gamma.data[1] = 2
    others["a new bias at '0'"][0].weight.data[...] = model[0].weight.data
    for difference, other in others.items():
        with pytest.raises(ValueError, match=f"of one model with the same weights, got {difference}. Calibrate one model"):
            seen.merge(calibrate(other, X[:64]))
    with pytest.raises(ValueError, match=r"must have one momentum, got 0\.9 and 0\.5"):
        seen.merge(calibrate(model, X[64:], momentum=0.5))
    with pytest.raises(TypeError, match=r"other must be a Calibration, got ndarray. Call calibrate\(model, more_data\)"):
        seen.merge(X)


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_a_number_that_is_not_finite_is_refused_with_its_place(bad, name):
    x = X.copy()
    x[70, 1, 2, 0] = bad
    with pytest.raises(ValueError, match=rf"must be finite, got {name} in batch 1 at index \(6, 1, 2, 0\)"):
        calibrate(network(), x)


def test_a_node_that_overflows_is_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model[0].weight.data[...] = 3e38
    with pytest.raises(ValueError, match="NaN or infinity at '0' on batch 0"), np.errstate(all="ignore"):
        calibrate(model, np.full((1, 2), 10.0, np.float32))


def test_no_data_is_refused():
    for nothing in (X[:0], []):
        with pytest.raises(ValueError, match="at least one row"):
            calibrate(network(), nothing)


def test_integers_are_refused_with_the_mend():
    with pytest.raises(TypeError, match=r"must be float arrays, got dtype uint8 in batch 0\. Scale them first"):
        calibrate(network(), np.zeros((2, 6, 6, 2), np.uint8))


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_labels_beside_the_data_are_named_as_what_they_are(dtype):
    """A pair (x, y) is an iterable of two batches; nothing is to be scaled."""
    message = r"of shape \(100,\) in batch 1, which look like labels\. They are not wanted: pass x alone, or \[\(x, y\)\]"
    with pytest.raises(TypeError, match=message):
        calibrate(network(), (X, np.zeros(100, dtype)))


def test_nchw_images_are_recognised():
    with pytest.raises(ValueError, match=r"transpose\(0, 2, 3, 1\)"):
        calibrate(network(), X.transpose(0, 3, 1, 2))


def test_batches_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"rows of shape \(6, 6, 2\), got \(5, 6, 2\) in batch 1"):
        calibrate(network(), [X, X[:, :5]])


def test_momentum_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\), got 1"):
        calibrate(network(), X, momentum=1)


def test_what_is_not_a_module_is_refused():
    with pytest.raises(TypeError, match="must be a tinyquant.nn.Module, got function"):
        calibrate(lambda x: x, X)


@pytest.mark.parametrize("data", [None, 5])
def test_what_is_not_data_is_refused(data):
    with pytest.raises(TypeError, match="data must be an array, or an iterable of batches, got"):
        calibrate(nn.Sequential(nn.ReLU()), data)


def test_weights_that_are_nan_are_named_by_their_node_and_nothing_else_is_said():
    """Warnings are errors here: the recording of such a network must not warn before the node is named."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model.load_state_dict({key: np.full_like(array, np.nan) for key, array in model.state_dict().items()})
    with pytest.raises(ValueError, match="got NaN or infinity at '0' on batch 0"):
        calibrate(model, np.ones((3, 2), np.float32))
