"""Counts and widths that callers give: whole numbers, Python's or numpy's, of those that make sense.

With this module one can take such an argument, or refuse it by name (`checked_count`).
"""

from __future__ import annotations

from collections.abc import Container

from tinyquant.numerics.whole import whole_number

__all__ = ["MANY", "checked_count"]

MANY = range(2**31)
"""0 or more."""


def checked_count(name: str, value: object, allowed: Container[int], told: str, mend: str = "") -> int:
    """The Python int of a whole number that is allowed.

    Parameters
    ----------
    name : str
        Of the argument.
    value : int or numpy integer
    allowed : container of int
    told : str
        What is allowed, in words.
    mend : str
        What to do about it, a sentence.

    Raises
    ------
    ValueError
        Anything else, floats and bools among it.

    Examples
    --------
    >>> checked_count("bits", 4, range(2, 9), "a whole number from 2 to 8")
    4
    """
    number: int | None
    try:
        number = whole_number(name, value)
    except TypeError:
        number = None
    if number is None or number not in allowed:
        raise ValueError(f"{name} must be {told}, got {value!r}. {mend}".rstrip())
    return number
