"""Student's t: how far the mean of a few numbers may lie from the truth.

For whole degrees of freedom n the share of the distribution within +-t is a finite sum. With theta = atan(t / sqrt(n))::

    n odd     2/pi * (theta + sin(theta) * (cos + 2/3 cos^3 + 2*4/(3*5) cos^5 + ... up to cos^(n-2)))
    n even    sin(theta) * (1 + 1/2 cos^2 + 1*3/(2*4) cos^4 + ... up to cos^(n-2))

With this module one can ask for that share (`t_share`) and for the t that holds a given share (`t_quantile`).
"""

from __future__ import annotations

import math

__all__ = ["t_quantile", "t_share"]


def t_share(t: float, freedom: int) -> float:
    """The probability that a t-distributed number lies between -t and t.

    Parameters
    ----------
    t : float, 0 or more
    freedom : int, 1 or more
        Degrees of freedom: one less than the numbers behind the mean.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ValueError
        If t is negative or not a number, or freedom is below 1.

    References
    ----------
    Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.

    Examples
    --------
    >>> t_share(1.0, 1)                            # atan(1) is an eighth of a turn
    0.5
    """
    if not t >= 0:
        raise ValueError(f"t must be 0 or more, got {t!r}. The distribution is symmetric: take its absolute value.")
    if not isinstance(freedom, int) or freedom < 1:
        raise ValueError(f"freedom must be a whole number of at least 1, got {freedom!r}. It is one less than the values.")
    theta = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    return (theta + sine * total) * 2 / math.pi if odd else sine * total


def t_quantile(level: float, freedom: int) -> float:
    """The t with a share of `level` between -t and t, to within a few units in the last place of the share.

    Parameters
    ----------
    level : float in (0, 1)
    freedom : int, 1 or more

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If level is not between 0 and 1, or freedom is below 1.

    Examples
    --------
    >>> [round(t_quantile(0.95, n), 3) for n in (1, 4, 29)]
    [12.706, 2.776, 2.045]
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}. 0.95 is usual.")
    low, high = 0.0, 1.0
    while t_share(high, freedom) < level:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if t_share(middle, freedom) < level else (low, middle)
    return high
