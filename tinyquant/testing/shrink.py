"""Making a case smaller while it still breaks the law: the smallest input that shows the mistake teaches the most.

Greedy and without any extra package: of all slightly simpler cases the first that still fails is kept, until none does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from tinyquant.testing.cases import Case, MapCase

__all__ = ["complexity", "shrink"]

_CHEAPEST = {"scale": 1.0, "qmin": -128, "qmax": 127, "dtype": "float64", "multiplier": 2**30, "shift": 1}
"""The simplest value of a field, where it is not 0."""

_HOME = {"scale": 1.0, "qmin": -128.0, "qmax": 127.0, "multiplier": 2.0**30, "shift": 1.0}
_FIXED = ("mode",)


def as_fields(case: Case) -> dict[str, Any]:
    """The numbers of a case by name."""
    return case._asdict()


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
    for name, value in as_fields(case).items():
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
        tries = [home, 0, 1, -1, 2, value // 2, -value, value - 1, value + 1]
    else:
        whole = float(int(value)) if math.isfinite(value) else 0.0
        tries = [home, 0.0, 1.0, -1.0, 0.5, 2.0, whole, whole + 1, whole - 1, whole / 2, value / 2,
                 int(value * 2) / 2, int(value * 64) / 64, -value]  # fmt: skip
    return [t for t in dict.fromkeys(tries) if t != value]


def _simpler(case: Case) -> Iterator[Case]:
    """Cases one move away: fewer numbers first, then simpler ones."""
    fields = as_fields(case)
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
    for name, value in fields.items():
        if name in _FIXED:
            continue
        home = _CHEAPEST.get(name, type(value)(0) if isinstance(value, (int, float)) else 0)
        if name in tuples:
            for index, item in enumerate(value):
                if not isinstance(item, tuple):
                    for other in _simpler_numbers(item, type(item)(0)):
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


def is_legal(case: Case) -> bool:
    """Whether the numbers of a case may stand together: a positive scale, a zero point among the codes, and so on."""
    values = as_fields(case)
    low, high = values.get("qmin", -128), values.get("qmax", 127)
    kind = "layer" if "y_zero" in values else "dot" if "x_zero" in values else ""
    codes = values.get("codes", ()) if not kind else values["x"] + values["w"]
    edge = (low, high) if not kind else (-128, 127)
    return (
        low < high
        and (low, high)
        in ((-128, 127), (0, 255), (-127, 127), (-8, 7), (0, 15), (-2, 1), (0, 3), (-32768, 32767), (0, 65535))
        and values.get("scale", 1.0) >= 2.0**-60
        and low <= values.get("zero_point", low) <= high
        and low <= values.get("y_zero", low) <= high
        and all(-128 <= values.get(name, 0) <= 127 for name in ("x_zero", "w_zero"))
        and all(edge[0] <= code <= edge[1] for code in codes)
        and values.get("rmin", 0.0) <= values.get("rmax", 0.0)
        and 2.0**-31 <= values.get("real", 1.0) < 2.0**30
        and 2**30 <= values.get("multiplier", 2**30) < 2**31
        and -30 <= values.get("shift", 0) <= 8
        and all(abs(a) << max(values.get("shift", 0), 0) < 2**31 for a in values.get("acc", ()))
        and abs(values.get("bias", 0)) < 2**20
    )


def shrink(case: Case, fails: Callable[[Case], bool], tries: int = 800) -> Case:
    """The simplest case found, by moves that each keep ``fails`` true.

    Examples
    --------
    >>> from tinyquant.testing import MapCase
    >>> shrink(MapCase((3.0, 250.75, -8.0), scale=0.125), lambda case: max(case.x) >= 2).x
    (2.0,)
    """
    best, cost = case, complexity(case)
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
