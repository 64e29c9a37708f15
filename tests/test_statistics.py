"""What calibration remembers: exact ends, exact counts, merging that equals seeing everything at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant.quantization.statistics import Statistics

BATCH = hnp.arrays(
    np.float32,
    st.integers(1, 20),
    elements=st.one_of(
        st.floats(-(2.0**100), 2.0**100, width=32), st.floats(-4, 4, width=32), st.integers(-8, 8).map(np.float32)
    ),
)


def seen(*batches, momentum=0.9):
    record = Statistics(momentum=momentum)
    for batch in batches:
        record.update(batch)
    return record


@given(st.lists(BATCH, min_size=1, max_size=5))
def test_ends_and_counts_are_those_of_all_the_numbers(batches):
    everything, record = np.concatenate(batches), seen(*batches)
    assert (record.minimum, record.maximum) == (everything.min(), everything.max())
    assert record.count == everything.size == record.histogram.sum()


@given(st.lists(BATCH, min_size=1, max_size=5))
def test_every_bin_holds_exactly_the_numbers_between_its_edges(batches):
    """histogram[i] = #{x : edge[i] <= x < edge[i+1]}, however often the bins were doubled on the way."""
    everything, record = np.concatenate(batches).astype(np.float64), seen(*batches)
    edges = record.bin_edges()
    assert np.abs(everything).max() < record.reach or not everything.any()
    counted = np.searchsorted(np.sort(everything), edges, side="left")
    assert np.diff(counted).tolist() == record.histogram.tolist()


@given(st.lists(BATCH, min_size=1, max_size=4), st.lists(BATCH, min_size=1, max_size=4))
def test_merging_is_seeing_both(first, second):
    merged, whole = seen(*first).merge(seen(*second)), seen(*first, *second)
    assert (merged.minimum, merged.maximum, merged.count, merged.batches) == (
        whole.minimum, whole.maximum, whole.count, whole.batches,
    )  # fmt: skip
    assert merged.reach == whole.reach
    assert merged.histogram.tolist() == whole.histogram.tolist()
    # Two float64 recurrences of at most 8 steps in another order: 8 ulp of the largest end.
    ends = max(abs(whole.minimum), abs(whole.maximum))
    assert np.allclose(merged.average, whole.average, rtol=0, atol=16 * np.finfo(float).eps * ends)


def test_merging_leaves_both_as_they_were():
    a, b = seen(np.float32([1.0])), seen(np.float32([100.0]))
    a.merge(b)
    assert (a.maximum, a.count, a.reach) == (1.0, 1, 2.0)


def test_averages_of_different_momenta_are_not_continued_in_one_another():
    """m**n old + new is the average of all batches only if both sums have the same weights."""
    with pytest.raises(ValueError, match=r"must have one momentum, got 0\.9 and 0\.0\. Calibrate on both with the same"):
        seen(np.float32([1.0])).merge(seen(np.float32([1.0]), momentum=0.0))
    with pytest.raises(TypeError, match="other must be Statistics, got int"):
        seen(np.float32([1.0])).merge(3)


@given(st.lists(BATCH, min_size=1, max_size=6), st.sampled_from([0.0, 0.5, 0.9, 0.99]))
def test_the_moving_average_is_the_weighted_mean_of_the_batch_ends(batches, momentum):
    """average = sum m**(n-1-i) end[i] / sum m**(n-1-i): no trace of a start at 0 (model-optimization#368)."""
    weights = np.array([momentum ** (len(batches) - 1 - i) for i in range(len(batches))])
    lows, highs = ([float(getattr(b, end)()) for b in batches] for end in ("min", "max"))
    want = (weights @ lows / weights.sum(), weights @ highs / weights.sum())
    scale = max(map(abs, lows + highs))
    assert np.allclose(seen(*batches, momentum=momentum).average, want, rtol=0, atol=1e-12 * scale)


def test_an_empty_batch_changes_nothing():
    record = seen(np.float32([2.0]), np.zeros(0, np.float32))
    assert (record.count, record.batches) == (1, 1)
