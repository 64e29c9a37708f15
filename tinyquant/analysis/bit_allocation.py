"""Giving out bits under a budget of bytes: a knapsack, solved greedily and exactly.

Each layer offers a few choices, each with a price in bytes and a damage; one choice a layer, prices below the budget, the sum of
the damages as small as can be. That errors of layers add up is an assumption (`error_budget` shows how good it is:
look at the interaction between layers); given it, the exact answer is the exact answer.

*Greedy*: start from the best choice of every layer and, until the budget is kept, make the exchange that costs the least damage
per byte saved. Fast and usually good, but it never takes a step back.

*Exact*: layer by layer, keep every (bytes, damage) that no other beats in both. Whatever is beaten in both can be
replaced in any complete choice, so nothing is lost by dropping it; what remains at the end is the whole front.

With this module one can find the front of all budgets (`exact_front`), the steps of the greedy search (`greedy_path`) and
the best choice under one budget (`best_within`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Allocation", "best_within", "exact_front", "greedy_path"]


class Allocation(NamedTuple):
    """One choice a layer: its index among the layer's choices, the bytes of all and the sum of the damages."""

    choice: tuple[int, ...]
    nbytes: int
    damage: float


def exact_front(nbytes: npt.ArrayLike, damage: npt.ArrayLike) -> list[Allocation]:
    """Every choice that no other beats in bytes and damage, from the fewest bytes to the most.

    Parameters
    ----------
    nbytes : int array (layers, choices), at least 0
    damage : float array (layers, choices), finite

    Returns
    -------
    list of Allocation
        Bytes rise and damage falls, both strictly.

    Raises
    ------
    ValueError
        The tables are empty, differ in shape, or hold what they must not.

    Examples
    --------
    >>> [(one.choice, one.nbytes) for one in exact_front([[1, 2], [10, 20]], [[5.0, 1.0], [3.0, 2.0]])]
    [((0, 0), 11), ((1, 0), 12), ((1, 1), 22)]
    """
    prices, damages = _tables(nbytes, damage)
    front = [Allocation((), 0, 0.0)]
    for layer_prices, layer_damages in zip(prices, damages):
        grown = [
            Allocation((*one.choice, k), one.nbytes + int(price), one.damage + float(loss))
            for one in front
            for k, (price, loss) in enumerate(zip(layer_prices, layer_damages))
        ]
        front = unbeaten(grown)
    return front


def unbeaten(allocations: Sequence[Allocation]) -> list[Allocation]:
    """Those that none beats in both: sorted by bytes, each with less damage than all before."""
    kept: list[Allocation] = []
    for one in sorted(allocations, key=lambda a: (a.nbytes, a.damage, a.choice)):
        if not kept or one.damage < kept[-1].damage:
            kept.append(one)
    return kept


def greedy_path(nbytes: npt.ArrayLike, damage: npt.ArrayLike) -> list[Allocation]:
    """The choices that the greedy search passes through, from the least damage to the fewest bytes.

    It starts at every layer's least damage and makes, one after the other, the exchange with the least extra damage per byte
    saved; ties go to the earlier layer.

    Parameters and errors are those of `exact_front`.

    Examples
    --------
    >>> [one.choice for one in greedy_path([[1, 2], [10, 20]], [[5.0, 1.0], [3.0, 2.0]])]
    [(1, 1), (1, 0), (0, 0)]
    """
    prices, damages = _tables(nbytes, damage)
    # Of equal damages the cheaper one.
    choice = [int(np.lexsort((p, d))[0]) for p, d in zip(prices, damages)]
    path = [_allocation(choice, prices, damages)]
    while True:
        moves = [
            ((damages[i, k] - damages[i, now]) / (prices[i, now] - prices[i, k]), i, k)
            for i, now in enumerate(choice)
            for k in range(prices.shape[1])
            if prices[i, k] < prices[i, now]
        ]
        if not moves:
            return path
        _, layer, better = min(moves)
        choice[layer] = better
        path.append(_allocation(choice, prices, damages))


def best_within(
    nbytes: npt.ArrayLike, damage: npt.ArrayLike, budget: int, *, method: str = "exact"
) -> Allocation:
    """The choice with the least damage whose bytes do not exceed the budget.

    Parameters
    ----------
    nbytes, damage
        As for `exact_front`.
    budget : int
        Bytes.
    method : str
        "exact", or "greedy": the first choice on the greedy path that keeps the budget.

    Raises
    ------
    ValueError
        Not even the cheapest choices keep the budget, or an unknown method.

    Examples
    --------
    >>> best_within([[1, 2], [10, 20]], [[5.0, 1.0], [3.0, 2.0]], 21)
    Allocation(choice=(1, 0), nbytes=12, damage=4.0)
    """
    if method not in ("exact", "greedy"):
        raise ValueError(f'method must be "exact" or "greedy", got {method!r}.')
    found = exact_front(nbytes, damage)[::-1] if method == "exact" else greedy_path(nbytes, damage)
    fitting = [one for one in found if one.nbytes <= budget]
    if not fitting:
        least = min(one.nbytes for one in found)
        raise ValueError(f"the budget must be at least {least} bytes, the cheapest of everything, got {budget}. Raise it.")
    return fitting[0]


def _allocation(choice: Sequence[int], prices: np.ndarray, damages: np.ndarray) -> Allocation:
    """Bytes and damage of a choice, added in the order of the layers."""
    spent, lost = 0, 0.0
    for i, k in enumerate(choice):
        spent, lost = spent + int(prices[i, k]), lost + float(damages[i, k])
    return Allocation(tuple(choice), spent, lost)


def _tables(nbytes: npt.ArrayLike, damage: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays (layers, choices), checked."""
    prices, damages = np.asarray(nbytes), np.asarray(damage, np.float64)
    if prices.ndim != 2 or not prices.size or prices.shape != damages.shape:
        raise ValueError(
            f"nbytes and damage must be tables (layers, choices) of one shape, got {prices.shape} and {damages.shape}."
        )
    if prices.dtype.kind not in "iu" or prices.min() < 0:
        raise ValueError(f"nbytes must be whole numbers of at least 0, got {prices.dtype} from {prices.min()}.")
    if not np.isfinite(damages).all():
        raise ValueError("damage must be finite, got NaN or infinity. Leave that choice out.")
    return prices.astype(np.int64), damages
