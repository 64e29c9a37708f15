"""Making a case smaller while it still breaks the law: the smallest input that shows the mistake teaches the most.

Greedy and without any extra package: of all slightly simpler cases the first that still fails is kept, until none does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from tinyquant.testing.cases import BatchesCase, BytesCase, Case, MapCase, SignCase
from tinyquant.testing.legal import is_legal as is_legal

__all__ = ["complexity", "shrink"]

_CHEAPEST = {"scale": 1.0, "qmin": -128, "qmax": 127, "dtype": "float64", "multiplier": 2**30, "shift": 1,
             "before": 100.0, "after": 100.0, "images": 100, "percent": 100.0, "bits": 2, "recall": 1.0, "t": 1.0}  # fmt: skip
"""The simplest value of a field, where it is not 0."""

_HOME = {name: float(value) for name, value in _CHEAPEST.items() if isinstance(value, (int, float))}
_FIXED = ("mode", "mode_a", "mode_b")


def _number_cost(value: float, home: float = 0.0) -> float:
    """How hard a number is to read: far from home, negative, and with many binary digits after the point."""
    if value == home:
        return 0.0
    whole, digits = float(value), 0
    while whole != int(whole) and digits < 40:
        whole, digits = whole * 2, digits + 1
    return 1.0 + math.log2(1 + abs(value)) + digits + (0.5 if value < 0 else 0.0)


def complexity(case: Case) -> float:
    """A number that only falls while `shrink` works, which is why it ends."""
    total = 0.0
    for name, value in case._asdict().items():
        if isinstance(value, tuple):
            flat = [n for row in value for n in (row if isinstance(row, tuple) else (row,))]
            total += 50.0 * len(flat) + sum(map(_number_cost, flat))
        elif isinstance(value, str):
            total += float(name not in _FIXED and value != _CHEAPEST[name])
        else:
            # A setting is harder to read than a number of the row: the usual settings come first.
            total += 3 * _number_cost(value, _HOME.get(name, 0.0))
    return total


def _simpler_numbers(value: Any, home: Any) -> list[Any]:
    """Numbers to try in its place, simplest first."""
    if isinstance(value, int):
        tries = [home, 0, 1, -1, 2, value // 2, -value, value - value // 8, value - 1, value + 1]
    else:
        whole = float(int(value)) if math.isfinite(value) else 0.0
        tries = [home, 0.0, 1.0, -1.0, 0.5, 2.0, value - whole, whole, whole / 2, value / 2, whole - whole // 8, whole + 1,
                 whole - 1, int(value * 2) / 2, int(value * 64) / 64, -value]  # fmt: skip
    return [t for t in dict.fromkeys(tries) if t != value]


def _simpler_items(item: Any, ragged: bool) -> Iterator[Any]:
    """What to try in place of one item of a row: simpler numbers; of a batch, where batches may differ in length, fewer too."""
    if not isinstance(item, tuple):
        yield from _simpler_numbers(item, type(item)(0))
        return
    if ragged:
        half = len(item) // 2
        yield from (part for part in (item[:half], item[half:], item[:-1], item[1:]) if part)
    for place, number in enumerate(item):
        for other in _simpler_numbers(number, 0.0):
            yield (*item[:place], other, *item[place + 1 :])


def _simpler(case: Case) -> Iterator[Case]:
    """Cases one move away: fewer numbers first, then simpler ones."""
    fields = case._asdict()
    other_case: Callable[..., Case] = case._replace
    tuples = [name for name, value in fields.items() if isinstance(value, tuple)]
    length = max((len(fields[name]) for name in tuples), default=0)
    together = [name for name in tuples if len(fields[name]) == length]
    chunk = length // 2
    while chunk:
        for start in range(0, length, chunk):
            kept = {name: fields[name][:start] + fields[name][start + chunk :] for name in together}
            if all(kept.values()):
                yield other_case(**kept)
        chunk //= 2
    if isinstance(case, (BytesCase, SignCase)):
        # Two counts that belong together.
        yield other_case(**{name: value // 2 for name, value in fields.items()})
    for name, value in fields.items():
        if name in _FIXED:
            continue
        home = _CHEAPEST.get(name, type(value)(0) if isinstance(value, (int, float)) else 0)
        if name in tuples:
            for index, item in enumerate(value):
                for other in _simpler_items(item, isinstance(case, BatchesCase)):
                    yield other_case(**{name: (*value[:index], other, *value[index + 1 :])})
        elif isinstance(value, str):
            if value != home:
                yield other_case(**{name: home})
        else:
            for other in _simpler_numbers(value, home):
                yield other_case(**{name: other})
    if isinstance(case, MapCase) and case.zero_point:
        # The same codes, with the zero point moved into x.
        yield case._replace(x=tuple(x + case.zero_point * case.scale for x in case.x), zero_point=0)
    if isinstance(case, MapCase) and case.scale != 1.0:
        yield case._replace(x=tuple(x / case.scale for x in case.x), scale=1.0)
    if "qmin" in fields and (fields["qmin"], fields["qmax"]) != (-128, 127):
        yield other_case(qmin=-128, qmax=127)


def _plain(case: Case) -> list[Case]:
    """The plainest cases of its kind, simplest first. Between a strange case and one of these every single step may hold the law:
    a cast that wraps is right again wherever the wrapped number happens to fit."""
    if not isinstance(case, MapCase):
        return []
    numbers = (0.0, 0.5, 0.75, -0.75, 1.0, -1.0, 127.0, 128.0, 129.0, -128.0, -129.0, -130.0, 300.0, -300.0, 2.0**31)
    return sorted((MapCase((x,), zero_point=zero, mode=case.mode) for x in numbers for zero in (0, 1)), key=complexity)


def shrink(case: Case, fails: Callable[[Case], bool], tries: int = 800) -> Case:
    """The simplest case found, by moves that each keep ``fails`` true.

    Examples
    --------
    >>> from tinyquant.testing import MapCase
    >>> shrink(MapCase((3.0, 250.75, -8.0), scale=0.125), lambda case: max(case.x) >= 2).x
    (2.0,)
    """
    best, cost = case, complexity(case)
    plain = next((one for one in _plain(case) if complexity(one) < cost and fails(one)), None)
    if plain is not None:
        best, cost = plain, complexity(plain)
    moved = True
    while moved and tries:
        moved = False
        for other in _simpler(best):
            price = complexity(other)
            if price >= cost or not is_legal(other):
                continue
            tries -= 1
            if fails(other):
                best, cost, moved = other, price, True
                break
            if not tries:
                break
    return best
