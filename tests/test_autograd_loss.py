"""Losses against the math module and by their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant import autograd as F
from tinyquant.autograd import Tensor

logits = hnp.arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-50, 50))
EPS = 2.0**-52


@given(logits)
def test_softmax_is_positive_sums_to_one_and_log_softmax_is_its_logarithm(z):
    """Each p carries the rounding of an exp (4 ulp), a sum and a division; l those of a log of at most 6 terms."""
    p, log_p = F.softmax(z).data, F.log_softmax(z).data
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=20 * EPS)
    for row_p, row_l, row in zip(p, log_p, z):
        exact = [v - max(row) - math.log(math.fsum(math.exp(u - max(row)) for u in row)) for v in row]
        np.testing.assert_allclose(row_l, exact, atol=300 * EPS, rtol=0)
        np.testing.assert_allclose(row_p, np.exp(exact), rtol=300 * EPS)


@given(logits, st.floats(-1000, 1000))
def test_a_constant_added_to_all_scores_changes_nothing(z, shift):
    """The sum z + shift rounds, by at most 1050 * eps / 2."""
    np.testing.assert_allclose(F.softmax(z + shift).data, F.softmax(z).data, rtol=1050 * EPS * 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_scores_do_not_overflow(dtype):
    top = np.finfo(dtype).max
    z = Tensor(np.array([[top, 0.0], [-top / 2, top / 2]], dtype), requires_grad=True)
    assert F.softmax(z).data.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    loss = F.cross_entropy(z, np.array([0, 1]))
    loss.backward()
    assert loss.item() == 0.0 and loss.dtype == dtype and not z.grad.any()


@given(logits, st.integers(0, 99), st.sampled_from([0.0, 0.25]), st.booleans())
def test_cross_entropy_is_the_weighted_mean_of_its_definition(z, seed, smoothing, weighted):
    rng = np.random.default_rng(seed)
    n, c = z.shape
    labels, w = rng.integers(0, c, n), rng.integers(1, 5, c).astype(float) if weighted else np.ones(c)
    loss = F.cross_entropy(z, labels, w if weighted else None, smoothing).item()
    total = 0.0
    for row, label in zip(z, labels):
        log_p = [v - max(row) - math.log(math.fsum(math.exp(u - max(row)) for u in row)) for v in row]
        total -= (1 - smoothing) * w[label] * log_p[label] + smoothing / c * math.fsum(w * log_p)
    expected = total / w[labels].sum()
    assert abs(loss - expected) <= 1000 * EPS * max(1, abs(expected))


@given(logits, st.integers(0, 99))
def test_the_gradient_of_plain_cross_entropy_is_p_minus_one_hot_over_n_and_sums_to_zero(z, seed):
    labels = np.random.default_rng(seed).integers(0, z.shape[1], len(z))
    t = Tensor(z, requires_grad=True)
    F.cross_entropy(t, labels).backward()
    np.testing.assert_allclose(t.grad, (F.softmax(z).data - np.eye(z.shape[1])[labels]) / len(z), atol=300 * EPS)
    np.testing.assert_allclose(t.grad.sum(axis=1), 0, atol=300 * EPS)


def test_a_class_of_weight_zero_does_not_count():
    z = np.array([[1.0, 2.0, 3.0], [5.0, 0.0, 0.0]])
    alone = F.cross_entropy(z[:1], np.array([2])).item()
    both = F.cross_entropy(z, np.array([2, 1]), np.array([1.0, 0.0, 1.0])).item()
    assert abs(alone - both) <= 10 * EPS


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_labels_of_any_integer_type_are_taken(kind):
    assert F.cross_entropy(np.zeros((2, 4)), np.array([0, 3], kind)).item() == pytest.approx(math.log(4), abs=4 * EPS)


def test_mse_is_the_mean_of_the_squares_and_both_sides_get_a_gradient():
    a, b = (Tensor(np.array(v), requires_grad=True) for v in ([1.0, 2.0], [3.0, 6.0]))
    loss = F.mse_loss(a, b)
    loss.backward()
    assert loss.item() == 10.0 and a.grad.tolist() == [-2.0, -4.0] and b.grad.tolist() == [2.0, 4.0]


z_good, labels_good = np.ones((2, 3)), np.array([0, 1])


@pytest.mark.parametrize("call, error, message", [
    (lambda: F.cross_entropy(np.ones(3), labels_good), ValueError, r"\(N,\) with N >= 1, got shapes \(3,\)"),
    (lambda: F.cross_entropy(np.ones((2, 3)), np.ones((2, 3), int)), ValueError, "not one-hot rows"),
    (lambda: F.cross_entropy(np.ones((0, 3)), np.ones(0, int)), ValueError, "with N >= 1"),
    (lambda: F.cross_entropy(np.ones((2, 3)), np.ones(2)), TypeError, "integer labels, got float64"),
    (lambda: F.cross_entropy(np.ones((2, 3)), np.array([0, 3])), ValueError, "labels from 0 to 2, got 0 to 3"),
    (lambda: F.cross_entropy(np.ones((2, 3)), np.array([-1, 1])), ValueError, "labels from 0 to 2, got -1 to 1"),
    (lambda: F.cross_entropy(z_good, labels_good, label_smoothing=1.0), ValueError, r"must lie in \[0, 1\), got 1.0"),
    (lambda: F.cross_entropy(z_good, labels_good, label_smoothing=float("nan")), ValueError, "label_smoothing must lie in"),
    (lambda: F.cross_entropy(z_good, labels_good, np.ones(2)), ValueError, "3 class weights of at least 0"),
    (lambda: F.cross_entropy(z_good, labels_good, np.array([1.0, -1.0, 1.0])), ValueError, "class weights of at least 0"),
    (lambda: F.cross_entropy(z_good, labels_good, np.array([0.0, 0.0, 1.0])), ValueError, "not all 0 in the batch"),
    (lambda: F.cross_entropy(np.ones((2, 3), int), labels_good), TypeError, "cross_entropy computes with float32 or float64"),
    (lambda: F.softmax(np.ones((2, 0))), ValueError, "softmax needs at least one class"),
    (lambda: F.log_softmax(np.array(1.0)), ValueError, "log_softmax needs at least one class"),
    (lambda: F.mse_loss(np.ones((2, 1)), np.ones(2)), ValueError, r"same shape with at least one cell, got \(2, 1\) and \(2,\)"),
    (lambda: F.mse_loss(np.ones(0), np.ones(0)), ValueError, "at least one cell"),
])  # fmt: skip
def test_what_does_not_fit_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
