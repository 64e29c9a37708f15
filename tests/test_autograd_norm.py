"""Batch norm and dropout: their statistics, their two modes, their running memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyquant import autograd as F
from tinyquant.autograd import Tensor, no_grad

EPS32 = float(np.finfo(np.float32).eps)


def normalized(x, training=True, mean=None, var=None, gamma=None, beta=None, **settings):
    """Batch norm with plain defaults; returns the output and the running statistics."""
    c = x.shape[-1]
    mean = np.zeros(c) if mean is None else mean
    var = np.ones(c) if var is None else var
    gamma = np.ones(c, x.dtype) if gamma is None else gamma
    beta = np.zeros(c, x.dtype) if beta is None else beta
    return F.batch_norm(x, gamma, beta, mean, var, training=training, **settings), mean, var


@given(st.sampled_from([(7, 3), (2, 5, 3), (3, 4, 5, 3), (2, 2, 2, 2, 3)]), st.integers(0, 99))
def test_in_training_every_channel_has_the_mean_beta_and_the_variance_gamma_squared(shape, seed):
    """float64; the sums have at most 60 terms, the tiny eps moves the variance by 1e-12 relative."""
    rng = np.random.default_rng(seed)
    x = rng.normal(3.0, 2.0, shape)
    gamma, beta = rng.uniform(0.5, 2.0, 3), rng.normal(size=3)
    y, _, _ = normalized(x, gamma=gamma, beta=beta, eps=1e-12)
    flat = y.data.reshape(-1, 3)
    np.testing.assert_allclose(flat.mean(axis=0), beta, atol=1e-12)
    np.testing.assert_allclose(flat.var(axis=0), gamma**2, rtol=1e-10)


def test_running_statistics_follow_the_mean_and_the_unbiased_variance_in_place():
    x = np.array([[1.0, 0.0], [3.0, 8.0]])
    mean, var = np.array([10.0, 20.0]), np.array([1.0, 1.0])
    normalized(x, mean=mean, var=var, momentum=0.25)
    # mean 2 and 4; variances over n - 1: 2 and 32.
    assert mean.tolist() == [0.75 * 10 + 0.25 * 2, 0.75 * 20 + 0.25 * 4]
    assert var.tolist() == [0.75 + 0.25 * 2, 0.75 + 0.25 * 32]


def test_running_statistics_move_in_training_only_also_under_no_grad():
    x = np.arange(8.0).reshape(4, 2)
    _, mean, var = normalized(x, training=False)
    assert mean.tolist() == [0.0, 0.0] and var.tolist() == [1.0, 1.0]
    with no_grad():
        _, mean, _ = normalized(x)
    assert mean.tolist() != [0.0, 0.0]


def test_in_eval_it_is_the_affine_map_of_the_running_statistics():
    x = np.arange(8.0).reshape(4, 2)
    y, _, _ = normalized(x, False, np.array([1.0, 2.0]), np.array([4.0 - 1e-5, 16.0 - 1e-5]),
                         np.array([2.0, 1.0]), np.array([0.0, 5.0]))  # fmt: skip
    np.testing.assert_allclose(y.data, (x - [1, 2]) * [1, 0.25] + [0, 5], rtol=1e-14)


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e5])
def test_the_variance_survives_a_mean_that_is_large_beside_it(mean):
    """E[x^2] - E[x]^2 in float32 would be off by mean^2 * 2^-24, which is 600 at 1e5.

    x is exact in float32; subtracting a mean wrong by d moves the variance by d^2 only, and d <= 64 * eps * mean.
    """
    rng = np.random.default_rng(0)
    x = np.rint(rng.normal(size=(64, 8, 8, 4)) * 64).astype(np.float32) / 64 + np.float32(mean)
    _, _, var = normalized(x, momentum=1.0)
    exact = x.astype(np.float64).reshape(-1, 4).var(axis=0, ddof=1)
    assert (np.abs(var - exact) <= (64 * EPS32 * mean) ** 2 + 1e-4 * exact).all()


@pytest.mark.parametrize("training", [True, False])
def test_many_rows_in_float32_are_close_to_float64(training):
    """More than one block of memory. Errors of sums of 4096 float32 terms of size 3: 4096 * eps * 3 at the worst."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(64, 8, 8, 48)), rng.uniform(0.5, 2, 48), rng.normal(size=48)]
    dy = rng.normal(size=(64, 8, 8, 48))
    results = []
    for dtype in (np.float32, np.float64):
        tensors = [Tensor(a.astype(dtype), requires_grad=True) for a in arrays]
        y = F.batch_norm(*tensors, np.full(48, 0.1), np.full(48, 1.2), training=training)
        y.backward(dy.astype(dtype))
        assert y.dtype == dtype
        results.append([y.data, tensors[0].grad, *(t.grad / 4096 for t in tensors[1:])])
    for single, double in zip(*results):
        np.testing.assert_allclose(single, double, atol=4096 * EPS32 * 3, rtol=0)


def test_the_gradient_of_a_training_batch_is_orthogonal_to_what_normalizing_forgets():
    """A shift or a scale of a channel changes nothing, so dx has no component along 1 and along x - mean."""
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(5, 4, 3)), requires_grad=True)
    y, _, _ = normalized_tensor(x)
    y.backward(rng.normal(size=x.shape))
    centred = x.data - x.data.mean(axis=(0, 1))
    np.testing.assert_allclose(x.grad.sum(axis=(0, 1)), 0, atol=1e-13)
    np.testing.assert_allclose((x.grad * centred).sum(axis=(0, 1)), 0, atol=1e-11)


def normalized_tensor(x):
    """Batch norm of a tensor without any eps to speak of."""
    mean, var = np.zeros(3), np.ones(3)
    return F.batch_norm(x, np.ones(3), np.zeros(3), mean, var, training=True, eps=1e-14), mean, var


@pytest.mark.parametrize("change, error, message", [
    ({"x": np.ones(3)}, ValueError, r"x of shape \(N, \.\.\., C\) with at least one number, got \(3,\)"),
    ({"x": np.ones((0, 3))}, ValueError, "with at least one number"),
    ({"x": np.ones((1, 3))}, ValueError, r"in training needs more than one number a channel, got shape \(1, 3\)"),
    ({"x": np.ones((2, 3), int)}, TypeError, "batch_norm computes with float32 or float64 numbers"),
    ({"gamma": np.ones(2)}, ValueError, r"of shape \(3,\) for x of shape \(2, 3\), got \(2,\), \(3,\), \(3,\), \(3,\)"),
    ({"running_var": np.ones(2)}, ValueError, "Channels are the last axis"),
    ({"running_mean": [0.0] * 3}, TypeError, "running statistics as float arrays that it can change, got list"),
    ({"running_var": np.ones(3, int)}, TypeError, "running statistics as float arrays that it can change, got int"),
    ({"momentum": 1.5}, ValueError, r"momentum in \[0, 1\] and eps > 0, got 1.5"),
    ({"eps": 0.0}, ValueError, r"momentum in \[0, 1\] and eps > 0, got 0.1 and 0.0"),
])  # fmt: skip
def test_what_does_not_fit_is_explained(change, error, message):
    arguments = {"x": np.ones((2, 3)), "gamma": np.ones(3), "beta": np.zeros(3), "running_mean": np.zeros(3),
                 "running_var": np.ones(3), "training": True, **change}  # fmt: skip
    with pytest.raises(error, match=message):
        F.batch_norm(**arguments)


@given(st.floats(0, 0.99), st.integers(0, 99))
def test_dropout_drops_or_scales_and_sends_the_gradient_the_same_way(p, seed):
    x = Tensor(np.ones((8, 9)), requires_grad=True)
    y = F.dropout(x, p, training=True, rng=np.random.default_rng(seed))
    assert set(np.unique(y.data)) <= {0.0, 1 / (1 - p)}
    y.backward(np.full(y.shape, 3.0))
    np.testing.assert_array_equal(x.grad, 3.0 * y.data)
    again = F.dropout(x, p, training=True, rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(y.data, again.data)


def test_dropout_keeps_a_share_of_one_minus_p():
    """Of 10^6 numbers, 5 standard deviations of the binomial."""
    y = F.dropout(np.ones((1000, 1000)), 0.3, training=True, rng=np.random.default_rng(0))
    assert abs(np.count_nonzero(y.data) - 700_000) <= 5 * (1e6 * 0.3 * 0.7) ** 0.5


def test_dropout_outside_training_and_at_zero_shows_the_same_numbers_and_is_still_an_operation():
    class Log:
        calls = 0

        def op(self, name, inputs, settings, output):
            self.calls += 1

    x = Tensor(np.ones(3))
    log = Log()
    with F.recording(log):
        assert F.dropout(x, 0.5, training=False, rng=None).data is x.data
        assert F.dropout(x, 0.0, training=True, rng=np.random.default_rng(0)).data is x.data
    assert log.calls == 2


def test_dropout_explains_what_it_needs():
    for p in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"dropout needs p in \[0, 1\), got"):
            F.dropout(np.ones(3), p, training=True, rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match="dropout needs rng as a numpy Generator, got NoneType"):
        F.dropout(np.ones(3), 0.5, training=True, rng=None)
