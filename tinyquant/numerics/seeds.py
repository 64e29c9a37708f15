"""One door for randomness: a seed, or a generator the caller keeps. Nothing in the package is drawn without one.

With this module one can let a function take `seed=0` from a student and a shared generator from another function.
"""

from __future__ import annotations

import numpy as np

Seed = int | np.random.Generator


def generator(seed: Seed) -> np.random.Generator:
    """Make the numpy Generator of a seed; a Generator comes back as it is, and what is drawn from it moves it on.

    Parameters
    ----------
    seed : int >= 0 or numpy Generator

    Returns
    -------
    numpy.random.Generator

    Raises
    ------
    TypeError
        For None, which would draw other numbers every time, and for anything else that is no int.
    ValueError
        For a negative int.

    Examples
    --------
    >>> int(generator(0).integers(10)), int(generator(0).integers(10))
    (8, 8)
    """
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(
            f"seed must be an int or a numpy Generator, got {seed!r}. Give seed=0: same seed, same numbers."
        )
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}. Any other whole number will do.")
    return np.random.default_rng(int(seed))
