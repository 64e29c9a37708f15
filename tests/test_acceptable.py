"""assert_acceptable: the user's own metric decides, with an interval over rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tinyquant import data, models
from tinyquant.analysis.acceptable import accuracy_of, assert_acceptable, recall_of
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.prepare import quantize_model


def says(answers):
    """A network that gives row k the class answers[k]; a row is its own number."""
    table = np.eye(2)[np.array(answers)]
    return lambda x: table[x[:, 0].astype(int)]


def rows(count):
    return np.arange(count, dtype=np.float32)[:, None]


TRUTH = np.array([1] * 20 + [0] * 80)
FLOAT = TRUTH.copy()
MISSES = np.where(np.arange(100) < 4, 0, TRUTH)  # four of twenty found no more: accuracy -0.04, recall -0.2


def test_a_loss_is_acceptable_by_one_metric_and_not_by_another():
    x = rows(100)
    found = assert_acceptable(says(FLOAT), says(MISSES), (x, TRUTH), max_drop=0.05)
    assert (found.before, found.after) == (1.0, 0.96) and found.change.of == "rows" and found.change.count == 100
    with pytest.raises(AssertionError, match=r"recall_of must not fall by more than 0.05, got 1 -> 0.8, a change of -0.2 \(-0\."):
        assert_acceptable(says(FLOAT), says(MISSES), (x, TRUTH), metric=recall_of, max_drop=0.05)


def test_a_drop_of_exactly_the_limit_is_allowed():
    before = np.where(np.arange(100) < 3, 1 - TRUTH, TRUTH)
    after = np.where(np.arange(100) < 4, 1 - TRUTH, TRUTH)
    assert_acceptable(says(before), says(after), (rows(100), TRUTH), max_drop=0.01)
    with pytest.raises(AssertionError, match="must not fall"):
        assert_acceptable(says(before), says(after), (rows(100), TRUTH), max_drop=0.0099)


def test_at_least_and_sure_ask_for_more():
    network, worse = says(FLOAT), says(MISSES)
    with pytest.raises(AssertionError, match="accuracy_of must be at least 0.97, got 1 -> 0.96"):
        assert_acceptable(network, worse, (rows(100), TRUTH), max_drop=0.05, at_least=0.97)
    with pytest.raises(AssertionError, match="must surely not fall by more than 0.05.*Give more rows"):
        assert_acceptable(network, worse, (rows(100), TRUTH), max_drop=0.05, sure=True)
    many = np.arange(100).repeat(100).astype(np.float32)[:, None]
    assert_acceptable(network, worse, (many, TRUTH.repeat(100)), max_drop=0.05, sure=True)


def test_rows_without_a_change_are_sure_only_where_there_are_enough_of_them():
    """The rule of three, checked: with 3/n of all rows changed, n rows show none of them once in e**3 = 20 times."""
    for count, max_drop in ((300, 0.01), (60, 0.05), (3, 1.0)):
        labels = np.arange(count) % 2
        network = says(labels)
        assert_acceptable(network, network, (rows(count), labels), max_drop=max_drop, sure=True, draws=100)
        assert (1 - 3 / count) ** count <= 0.05
    for count, max_drop, message in (
        (1, 0.0, ".0 to 0 over 1 rows.: 1 rows without a change leave room for 1. Give a max_drop above 0"),
        (299, 0.01, "299 rows without a change leave room for 0.01003. Give 300 rows or more"),
        (3, 0.05, "3 rows without a change leave room for 1. Give 60 rows or more"),
    ):
        labels = np.arange(count) % 2
        with pytest.raises(AssertionError, match=message):
            assert_acceptable(says(labels), says(labels), (rows(count), labels), max_drop=max_drop, sure=True, draws=100)
    assert_acceptable(says([0]), says([0]), (rows(1), [0]), max_drop=0.0)


def test_an_interval_that_is_no_number_is_not_sure():
    """A metric that only knows the rows as they are gives nan on every draw."""

    def whole_set(outputs, labels):
        return 1.0 if len(np.unique(labels)) == len(labels) else float("nan")

    labels = np.arange(40)
    models = (says(labels % 2), says(labels % 2))
    assert assert_acceptable(*models, (rows(40), labels), metric=whole_set).after == 1.0
    with pytest.raises(AssertionError, match="must surely not fall.*nan to nan over 40 rows"):
        assert_acceptable(*models, (rows(40), labels), metric=whole_set, sure=True, max_drop=0.5)


def test_labels_may_be_a_list():
    assert assert_acceptable(says(FLOAT), says(FLOAT), (rows(100).tolist(), TRUTH.tolist())).after == 1.0


def test_the_interval_has_the_quantiles_of_all_ways_to_draw_rows():
    """Five rows: 3125 draws are all there are; 4000 draws find a quantile's share to 4 standard errors of 0.0025."""
    truth, before, after = np.array([1, 1, 0, 0, 1]), np.array([1, 1, 0, 0, 0]), np.array([0, 1, 0, 1, 1])
    found = assert_acceptable(says(before), says(after), (rows(5), truth), max_drop=1, draws=4000).change
    gain = (after == truth).astype(float) - (before == truth)
    every = np.array([np.mean(gain[list(draw)]) for draw in itertools.product(range(5), repeat=5)])
    for end, tail in ((found.low, 0.025), (found.high, 0.975)):
        assert np.mean(every < end - 1e-9) - 0.01 <= tail <= np.mean(every <= end + 1e-9) + 0.01


def test_both_networks_are_drawn_on_the_same_rows():
    """Networks that are wrong on the same rows have no difference, however the rows are drawn."""
    found = assert_acceptable(says(MISSES), says(MISSES), (rows(100), TRUTH))
    assert (found.change.low, found.change.high) == (0.0, 0.0)


def test_float_and_integer_networks_of_the_package_are_taken():
    (x, _), test = data.digits(0)
    model = models.load_checkpoint("mlp")
    m = convert(quantize_model(model, calibrate(model, x[:256])))
    found = assert_acceptable(model, m, test, max_drop=0.02, draws=100)
    assert found.after == accuracy_of(m(test[0]), test[1])


def test_a_metric_of_ones_own_may_be_meaningless_on_some_draws_but_not_on_all():
    labels = np.array([1, 0, 0, 0])
    found = assert_acceptable(says([1, 0, 0, 0]), says([1, 0, 0, 0]), (rows(4), labels), metric=recall_of)
    assert (found.change.low, found.change.high) == (0.0, 0.0)
    with pytest.raises(ValueError, match="recall_of must give finite numbers, got nan and nan. Is the class"):
        assert_acceptable(says([1, 0]), says([1, 0]), (rows(2), np.array([0, 0])), metric=recall_of)


@pytest.mark.parametrize(
    "count, settings, message",
    [
        (0, {}, "at least one"),
        (2, {"max_drop": -0.1}, "max_drop must be 0 or more"),
        (2, {"draws": 1}, "draws 100 or more"),
        (2, {"at_least": float("nan")}, "at_least must be finite, got nan"),
    ],
)
def test_what_makes_no_sense_is_refused(count, settings, message):
    with pytest.raises(ValueError, match=message):
        assert_acceptable(says([0, 1]), says([0, 1]), (rows(count), np.zeros(count, int)), **settings)
