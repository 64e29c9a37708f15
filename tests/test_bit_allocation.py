"""The knapsack of bits: the exact answer held to trying everything, the greedy one held to the exact."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyquant.analysis.bit_allocation import Allocation, best_within, exact_front, greedy_path


@st.composite
def tables(draw):
    """Bytes and damages of up to 4 layers with up to 4 choices; whole damages, so that sums are exact."""
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    cells = [draw(st.lists(st.integers(0, 12), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])) for _ in range(2)]
    return np.array(cells[0]).reshape(shape), np.array(cells[1], np.float64).reshape(shape)


def everything(nbytes, damage):
    """All complete choices."""
    for choice in product(range(nbytes.shape[1]), repeat=len(nbytes)):
        yield sum(nbytes[i, k] for i, k in enumerate(choice)), sum(damage[i, k] for i, k in enumerate(choice)), choice


@given(tables())
def test_the_exact_front_is_what_trying_everything_leaves_unbeaten(pair):
    nbytes, damage = pair
    found = exact_front(nbytes, damage)
    points = {(int(b), d) for b, d, _ in everything(nbytes, damage)}
    unbeaten = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
    assert [(one.nbytes, one.damage) for one in found] == sorted(unbeaten)
    for one in found:
        assert (one.nbytes, one.damage, one.choice) in list(everything(nbytes, damage))


@given(tables(), st.integers(0, 50))
def test_within_a_budget_exact_is_the_least_damage_there_is_and_greedy_is_never_better(pair, budget):
    nbytes, damage = pair
    fitting = [d for b, d, _ in everything(nbytes, damage) if b <= budget]
    if not fitting:
        for method in ("exact", "greedy"):
            with pytest.raises(ValueError, match=f"the budget must be at least {nbytes.min(axis=1).sum()} bytes"):
                best_within(nbytes, damage, budget, method=method)
        return
    exact, greedy = (best_within(nbytes, damage, budget, method=m) for m in ("exact", "greedy"))
    assert exact.damage == min(fitting) and exact.nbytes <= budget
    assert greedy.damage >= exact.damage and greedy.nbytes <= budget


@given(tables())
def test_the_greedy_path_saves_bytes_at_every_step_and_ends_at_the_cheapest(pair):
    nbytes, damage = pair
    path = greedy_path(nbytes, damage)
    assert all(b.nbytes < a.nbytes for a, b in zip(path, path[1:]))
    assert all(sum(i != k for i, k in zip(a.choice, b.choice)) == 1 for a, b in zip(path, path[1:]))
    assert path[0].damage == damage.min(axis=1).sum() and path[-1].nbytes == nbytes.min(axis=1).sum()


def test_greedy_can_be_led_astray():
    """The first layer's exchange saves most damage per byte, and is not needed once the second has been made."""
    nbytes, damage = [[10, 9], [10, 0]], [[0.0, 0.1], [0.0, 5.0]]
    assert best_within(nbytes, damage, 10, method="exact") == Allocation((0, 1), 10, 5.0)
    assert best_within(nbytes, damage, 10, method="greedy") == Allocation((1, 1), 9, 5.1)


def test_wrong_tables_are_refused():
    with pytest.raises(ValueError, match=r"tables \(layers, choices\) of one shape, got \(2,\) and \(2,\)"):
        exact_front([1, 2], [1.0, 2.0])
    with pytest.raises(ValueError, match="whole numbers of at least 0, got int64 from -1"):
        exact_front(np.array([[-1]], np.int64), [[1.0]])
    with pytest.raises(ValueError, match="damage must be finite"):
        greedy_path([[1]], [[np.nan]])
    with pytest.raises(ValueError, match='must be "exact" or "greedy", got \'magic\''):
        best_within([[1]], [[1.0]], 1, method="magic")
