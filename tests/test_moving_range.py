"""Moving ranges: the debiased average is the weighted mean of what was seen, whatever it started from."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinyquant.numerics.qparams import choose_qparams
from tinyquant.quantization.moving_range import MovingRange

# Whole numbers and a momentum of a power of two: everything but the last division is exact in float64.
ENDS = st.lists(st.tuples(st.integers(-100, 0), st.integers(0, 100)), min_size=1, max_size=10)
MOMENTA = st.sampled_from([0.0, 0.25, 0.5, 0.75])


def watched(batches, momentum):
    ends = MovingRange(choose_qparams(-1, 1), choose_qparams, momentum=momentum)
    for batch in batches:
        ends.observe(np.array(batch, float))
        ends.commit()
    return ends


@given(ENDS, MOMENTA)
def test_the_range_is_the_weighted_mean_of_the_batches_ends(batches, momentum):
    """end = sum_i m**(t-i) e_i / sum_i m**(t-i): weights that add up to 1 from the first batch on. One rounding."""
    weights = [Fraction(momentum) ** (len(batches) - 1 - i) for i in range(len(batches))]
    for side in (0, 1):
        exact = sum(w * b[side] for w, b in zip(weights, batches, strict=True)) / sum(weights)
        assert watched(batches, momentum).ends[side] == float(exact)


@given(st.integers(1, 30), st.floats(0, 0.99))
def test_a_range_that_does_not_change_is_known_after_one_batch(count, momentum):
    """Debiased: within 1e-12 relative (a sum of 30 rounded terms over 1 - m**t >= 0.01), where a biased one starts near 0."""
    low, high = watched([(-2, 3)] * count, momentum).ends
    assert abs(low + 2) <= 2e-12 and abs(high - 3) <= 3e-12


@given(ENDS)
def test_values_of_one_pass_count_as_one_batch_with_the_widest_ends(parts):
    together = MovingRange(choose_qparams(-1, 1), choose_qparams, momentum=0.5)
    for part in parts:
        together.observe(np.array(part, float))
    before = together.qparams
    together.commit()
    assert before == choose_qparams(-1, 1)
    assert together.ends == (min(p[0] for p in parts), max(p[1] for p in parts)) and together.batches == 1


def test_the_quantizer_is_the_start_until_a_batch_was_seen_and_then_the_schemes_own():
    ends = watched([(-1, 3)], 0.9)
    assert watched([], 0.9).qparams == choose_qparams(-1, 1)
    assert ends.qparams == choose_qparams(*ends.ends)


def test_a_pass_that_showed_nothing_changes_nothing():
    ends = watched([(-1, 3)], 0.5)
    ends.observe(np.zeros(0))
    ends.commit()
    assert ends.batches == 1


def test_the_state_is_in_the_state_dict():
    ends = watched([(-1, 3), (0, 8)], 0.5)
    other = watched([], 0.5)
    other.load_state_dict(ends.state_dict())
    assert other.qparams == ends.qparams
