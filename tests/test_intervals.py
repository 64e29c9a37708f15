"""Statistics of accuracies: Student's t against known values, McNemar against rationals, the bootstrap against all resamples."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyquant.analysis.accuracy import Changes, wilson_interval
from tinyquant.analysis.intervals import Interval
from tinyquant.analysis.over_images import mcnemar, paired_difference, published_error, right_or_wrong
from tinyquant.analysis.over_seeds import paired_bootstrap, t_interval
from tinyquant.analysis.student_t import t_quantile, t_share

# Two-sided 95 % and 99 % points, from scipy.stats.t.ppf(0.975, n) and ppf(0.995, n).
QUANTILES = {
    1: (12.706204736174694, 63.656741162871526),
    2: (4.302652729749462, 9.924843200917927),
    3: (3.1824463052837078, 5.840909309732718),
    4: (2.7764451051977925, 4.604094871349992),
    9: (2.262157162798204, 3.2498355415921254),
    10: (2.2281388519862735, 3.169272672616949),
    29: (2.0452296421327034, 2.756385903670607),
    30: (2.0422724563012373, 2.7499956535672287),
    100: (1.983971518523552, 2.6258905214380173),
    1001: (1.9623367052808798, 2.5807497687505245),
}


@pytest.mark.parametrize("freedom", QUANTILES)
def test_quantiles_are_those_of_the_tables_to_1e_9(freedom):
    for level, known in zip((0.95, 0.99), QUANTILES[freedom], strict=True):
        assert t_quantile(level, freedom) == pytest.approx(known, rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 17])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 2.5, 6.0])
def test_the_share_is_the_integral_of_the_density(freedom, t):
    """Gauss-Legendre with 60 nodes is exact here to rounding: the density is smooth on [0, 6]."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    x = t * (nodes + 1) / 2
    log = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    density = np.exp(log) * (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    assert t_share(t, freedom) == pytest.approx(2 * t / 2 * float(weights @ density), abs=1e-12)


def test_the_quantile_undoes_the_share():
    for freedom, level in itertools.product((1, 2, 7, 40), (0.5, 0.8, 0.95, 0.999)):
        assert t_share(t_quantile(level, freedom), freedom) == pytest.approx(level, abs=1e-12)


@pytest.mark.parametrize("t, freedom", [(-1.0, 3), (float("nan"), 3), (1.0, 0), (1.0, 2.5)])
def test_t_share_refuses_what_has_no_share(t, freedom):
    with pytest.raises(ValueError, match="must be"):
        t_share(t, freedom)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_is_a_share(level):
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        t_quantile(level, 3)


# McNemar


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60)
def test_mcnemar_is_the_sum_over_all_splits_at_least_as_uneven(b, c):
    """Another way to count: every k of b + c coins whose distance from the middle is not smaller."""
    n = b + c
    uneven = sum(math.comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= abs(b - c))
    assert mcnemar(b, c).p == float(Fraction(uneven, 2**n))
    assert mcnemar(b, c).p == mcnemar(c, b).p


def test_mcnemar_of_many_images_is_neither_zero_nor_an_overflow():
    assert mcnemar(1500, 1500).p == 1.0
    assert 0 < mcnemar(1000, 2000).p < 1e-70


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64, np.uint8])
def test_numpy_counts_are_python_counts(kind):
    """What a sum of bools gives: two to the power of 65 images does not fit in 64 bits, nor 450 squared in 16."""
    assert mcnemar(kind(5), kind(60)) == mcnemar(5, 60) and mcnemar(kind(5), kind(60)).p < 1e-12
    assert paired_difference(kind(5), kind(60), kind(100)) == paired_difference(5, 60, 100)
    assert wilson_interval(kind(60), kind(100)) == wilson_interval(60, 100)
    big = np.int32(2**31 - 1)
    assert wilson_interval(big, big) == wilson_interval(2**31 - 1, 2**31 - 1)


def test_counts_that_are_no_whole_numbers_are_named():
    for call in (lambda: mcnemar(1.5, 2), lambda: paired_difference(1.5, 2, 10)):
        with pytest.raises(TypeError, match="newly_wrong must be a whole number, got 1.5"):
            call()
    with pytest.raises(TypeError, match="total must be a whole number, got True"):
        wilson_interval(1, True)


def test_mcnemar_says_images_and_which_way():
    found = mcnemar(2, 9)
    assert found.images == 7 and found.of == "images" and "+7 images (9 newly right, 2 newly wrong" in str(found)
    with pytest.raises(ValueError, match="counts must be 0 or more"):
        mcnemar(-1, 2)


def test_right_or_wrong_counts_both_ways():
    rng = np.random.default_rng(0)
    a, b = rng.random(500) < 0.8, rng.random(500) < 0.7
    counts = [sum(x and not y for x, y in zip(a, b)), sum(y and not x for x, y in zip(a, b))]
    assert right_or_wrong(a, b) == Changes(*counts)
    with pytest.raises(ValueError, match="bool arrays of one shape"):
        right_or_wrong(a.astype(int), b.astype(int))


# Differences over images


def test_the_paired_difference_holds_the_truth_about_as_often_as_it_says():
    """Exactly, for one true table: the coverage is a sum over all outcomes of 40 images."""
    n, p_wrong, p_right = 40, 0.1, 0.2
    truth, covered = p_right - p_wrong, 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            found = paired_difference(b, c, n)
            if found.low <= truth <= found.high:
                ways = math.comb(n, b) * math.comb(n - b, c)
                covered += ways * p_wrong**b * p_right**c * (1 - p_wrong - p_right) ** (n - b - c)
    assert 0.94 < covered < 0.98  # Agresti and Min's figure 2 lies between these for tables this small


def test_the_paired_difference_by_hand():
    found = paired_difference(0, 3, 10)
    share, changed = Fraction(3, 12), Fraction(4, 12)
    half = 1.959963984540054 * math.sqrt(float((changed - share**2) / 12))
    assert found.value == 0.3 and found.of == "images" and found.count == 10
    assert (found.low, found.high) == pytest.approx((0.25 - half, 0.25 + half), rel=1e-12)
    with pytest.raises(ValueError, match="at most images together"):
        paired_difference(6, 6, 10)


def test_published_errors_by_hand():
    assert published_error(0.5, 0.5, 200) == pytest.approx(math.sqrt(0.5 / 200))
    assert published_error(0.5, 0.6, 100, differ=0.3) == pytest.approx(math.sqrt(0.29 / 100))
    with pytest.raises(ValueError, match="accuracies must lie in"):
        published_error(71.0, 0.7, 100)
    with pytest.raises(ValueError, match="differ must lie between"):
        published_error(0.7, 0.8, 100, differ=0.05)


# Intervals over seeds


def test_the_t_interval_by_hand():
    """Mean 3, standard deviation sqrt(2.5), of 1 to 5."""
    found = t_interval([1, 2, 3, 4, 5])
    half = QUANTILES[4][0] * math.sqrt(2.5 / 5)
    assert (found.value, found.low, found.high) == pytest.approx((3, 3 - half, 3 + half), rel=1e-12)
    assert found.of == "seeds" and found.count == 5 and found.half == pytest.approx(half)


def test_the_t_interval_of_normal_numbers_covers_as_often_as_it_says():
    """4000 intervals of 4 numbers: 0.95 +- 0.0034 (one standard error); a normal quantile in t's place covers 0.855."""
    rng = np.random.default_rng(1)
    covered = [found.low <= 0 <= found.high for found in (t_interval(rng.normal(size=4)) for _ in range(4000))]
    assert abs(np.mean(covered) - 0.95) < 4 * 0.0034


def test_the_bootstrap_has_the_quantiles_of_all_resamples():
    """Five seeds: all 3125 resamples are enumerated; 40000 draws find a quantile to within 4 standard errors of its share."""
    after, before = np.array([0.91, 0.93, 0.90, 0.97, 0.92]), np.array([0.90, 0.90, 0.91, 0.91, 0.90])
    every = np.array([np.mean(rows) for rows in itertools.product(after - before, repeat=5)])
    found = paired_bootstrap(after, before, draws=40_000)
    slack = 4 * math.sqrt(0.025 * 0.975 / 40_000)
    for end, tail in ((found.low, 0.025), (found.high, 0.975)):
        assert np.mean(every < end - 1e-12) - slack <= tail <= np.mean(every <= end + 1e-12) + slack
    assert found.value == pytest.approx(np.mean(after - before)) and found.of == "seeds"


def test_the_bootstrap_is_paired():
    """A large luck that both columns share leaves no width."""
    luck = np.random.default_rng(2).normal(0, 10, 12)
    found = paired_bootstrap(luck + 0.5, luck)
    assert found.low == pytest.approx(0.5) and found.high == pytest.approx(0.5)


def test_the_bootstrap_repeats_itself_and_follows_its_seed():
    a, b = np.random.default_rng(3).random((2, 9))
    assert paired_bootstrap(a, b) == paired_bootstrap(a, b)
    assert paired_bootstrap(a, b) != paired_bootstrap(a, b, seed=1)


@pytest.mark.parametrize("values", [[1.0], [], [[1.0, 2.0]]])
def test_one_seed_has_no_interval(values):
    with pytest.raises(ValueError, match="values must be"):
        t_interval(values)
    with pytest.raises(ValueError, match="values must be"):
        paired_bootstrap(values, values)


def test_what_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="values must be finite"):
        t_interval([1.0, float("nan")])
    with pytest.raises(ValueError, match="one shape"):
        paired_bootstrap([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="draws must be 100 or more"):
        paired_bootstrap([1.0, 2.0], [1.0, 2.0], draws=10)


def test_an_interval_says_its_side_and_of_what_it_is():
    ends = ((0.1, 1), (-1, -0.1), (0, 1), (-1, 1))
    assert [Interval(0, low, high, "seeds", 5, "t").side for low, high in ends] == [1, -1, 0, 0]
    assert "over 5 seeds" in str(Interval(0.1, 0.0, 0.2, "seeds", 5, "t"))
