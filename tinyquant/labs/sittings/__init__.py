"""The sittings of the course, one file each: what is asked, the hints, and the bug to find.

With this room one can list them (`sittings`) and find one, or one of its exercises, by number (`find_sitting`, `find_exercise`).
A file `sNN.py` with a `SITTING` is all that a new one needs here; its lab lies in `labs/sources/`.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from tinyquant.labs.exercise import Item, Sitting

__all__ = ["find_exercise", "find_sitting", "in_order", "sitting_of", "sittings"]


@functools.cache
def sittings() -> tuple[Sitting, ...]:
    """All sittings, in their order."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    return tuple(importlib.import_module(f"{__name__}.{name}").SITTING for name in names)


def find_sitting(number: str) -> Sitting:
    """The sitting with that number: ``"1"``, ``"01"`` or ``"01_signal"``.

    Raises
    ------
    ValueError
        There is none.
    """
    wanted = number.split("_")[0]
    for one in sittings():
        if wanted.isdigit() and int(wanted) == one.number:
            return one
    there = ", ".join(str(one.number) for one in sittings())
    raise ValueError(f"the sitting must be one of {there}, got {number!r}. `tinyquant lab` lists them.")


def sitting_of(item: Item) -> Sitting:
    """The sitting an exercise belongs to."""
    return find_sitting(item.number.split(".")[0])


def in_order(sitting: Sitting) -> list[Item]:
    """Its exercises as they are best done: what is required, the bug, then the stretch."""
    return sorted(sitting.exercises, key=lambda item: (item.stretch, item.number))


def find_exercise(number: str) -> Item:
    """The exercise with that number: ``"1.2"``.

    Raises
    ------
    ValueError
        There is none; the message lists those of the sitting.
    """
    for item in find_sitting(number.split(".")[0]).exercises:
        if item.number == number:
            return item
    there = ", ".join(item.number for item in find_sitting(number.split(".")[0]).exercises)
    raise ValueError(f"the exercise must be one of {there}, got {number!r}. `tinyquant lab` lists them.")
