"""Whole numbers from callers: Python's and numpy's alike, and nothing that only looks like one.

With this module a function can take a count or a number of bits from either (`whole_number`).
"""

from __future__ import annotations

import numpy as np

__all__ = ["whole_number"]


def whole_number(name: str, value: object) -> int:
    """A Python int from any integer type: arithmetic on it cannot overflow.

    Parameters
    ----------
    name : str
        Of the argument, for the message.
    value : int or numpy integer

    Returns
    -------
    int

    Raises
    ------
    TypeError
        A float, a bool, an array, a string.

    Examples
    --------
    >>> whole_number("bits", np.int8(4))
    4
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    raise TypeError(f"{name} must be a whole number, got {value!r}. Pass an int.")
