"""When a float may stand for an integer: the proofs that let a float multiplier do an integer's work.

A float32 holds every whole number up to 2**24, a float64 up to 2**53, and adding or multiplying such numbers is exact as
long as the results stay there. A sum of products of codes is bounded by sum of |w| * max |x|, *whatever the order of the
sum*, so a matrix product in float32 is the integer one wherever that bound is below 2**24 (`float_type`).

The step from accumulator to code is integer arithmetic with two roundings: with S = M * 2**(shift - 31) and n = -shift,
acc * M / 2**31 is rounded with ties up, and that divided by 2**n with ties away from zero. In exact real numbers that is one
formula. For acc >= 0, floor((floor(y + 1/2) + 2**(n-1)) / 2**n) = floor(y / 2**n + 2**-(n+1) + 1/2) with y = acc * M / 2**31; and
for acc < 0 the same with the middle term subtracted::

    rescaled(acc) = floor(acc * S + 1/2 + sign(acc) * d),    d = 2**-(n+1) for n >= 1, 0 for n <= 0

All terms are multiples of 2**-(31+n). Where they stay below 2**53 such units, float64 computes the formula without any rounding
(`Requantization.proved` counts the bits). Numbers too large for that are beyond the clamp, on the right side of it.

With this module one can choose the float type of a product and requantize in float64, or learn that neither is proved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

__all__ = ["Call", "Requantization", "float_type"]

Call = Callable[[], object]
"""One step of a plan: a numpy function with its arrays bound."""


def float_type(bound: int) -> np.dtype | None:
    """The narrowest float in which whole numbers of at most this magnitude add up exactly; None beyond 2**53.

    >>> float_type(2**24 - 1).name, float_type(2**24).name, float_type(2**53)
    ('float32', 'float64', None)
    """
    for name, limit in (("float32", 2**24), ("float64", 2**53)):
        if bound < limit:
            return np.dtype(name)
    return None


@dataclass(frozen=True)
class Requantization:
    """clip(rescaled(acc + bias), low, high) in float64, proved equal to the integers.

    Attributes
    ----------
    scale, offset, double : float64 [channels]
        S; what is added after the product (the bias times S, and the halves); d.
    bias : float64 [channels] or None
        Added before the product, where it could not go into `offset`.
    low, high : float
        The clamp, zero point already taken off.
    """

    scale: np.ndarray
    offset: np.ndarray
    double: np.ndarray
    bias: np.ndarray | None
    low: float
    high: float

    @property
    def one_sided(self) -> bool:
        """True when the clamp hides every negative result, as after a ReLU."""
        return self.low >= 0

    @classmethod
    def proved(
        cls, bound: np.ndarray, bias: np.ndarray | None, multiplier: np.ndarray, shift: np.ndarray, low: int, high: int
    ) -> Requantization | None:
        """The float form, or None where no proof is found.

        Parameters
        ----------
        bound : int64 [channels]
            The largest magnitude of the sum before the bias.
        bias : int32 [channels] or None
        multiplier, shift : int [channels]
            As the kernels take them.
        low, high : int
            The clamp minus the output's zero point.

        Examples
        --------
        >>> one = np.array([1])
        >>> quarter = Requantization.proved(1000 * one, None, 2**30 * one, -1 * one, -128, 127)
        >>> [int(quarter(np.array([float(acc)]))[0]) for acc in (-6, -1, 5, 6, 10)]
        [-2, 0, 2, 2, 3]
        """
        biases = np.zeros_like(bound) if bias is None else bias.astype(np.int64)
        limit = max(abs(low), abs(high)) + 2
        foldable = True
        for reach, b, m, e in zip(bound.tolist(), biases.tolist(), multiplier.tolist(), shift.tolist(), strict=True):
            bits, total = 31 - e, reach + abs(b)
            if m != 0 and m < 2**30 or total << max(e, 0) >= 2**31:
                return None
            # Units of 2**-bits: the product where the clamp does not hide it, and at most 1 for the halves.
            if min(total * m, limit << bits) + (1 << bits) >= 2**53:
                return None
            # A bias that is multiplied on its own may cancel a product that the clamp would not hide.
            foldable = foldable and total * m + (1 << bits) < 2**53
        scale = np.ldexp(multiplier.astype(np.float64), shift.astype(np.int64) - 31)
        double = np.where(shift < 0, np.ldexp(1.0, np.minimum(shift.astype(np.int64), 0) - 1), 0.0)
        # Below zero the doubled rounding has the other sign. Adding clip(w, 1/4 - d, 1/4 + d) to w = acc * S + 1/4 does it,
        # because a product that is not 0 is at least d in magnitude.
        offset = double + 0.5 if low >= 0 else np.full(len(scale), 0.25)
        if foldable:
            offset = offset + biases * scale
        separate = None if foldable or bias is None else biases.astype(np.float64)
        return cls(scale, offset, double, separate, float(low), float(high))

    def __call__(self, acc: np.ndarray) -> np.ndarray:
        """The codes minus the zero point for accumulators [..., channels]; float64."""
        wide = acc.astype(np.float64)
        for call in self.calls(wide, np.empty_like(wide)):
            call()
        return wide

    def calls(self, wide: np.ndarray, spare: np.ndarray) -> list[Call]:
        """The same in place on `wide`, float64 [..., repeats * channels]; `spare` is as large and may be overwritten."""
        repeats = wide.shape[-1] // len(self.scale)
        scale, offset, double = (np.tile(constant, repeats) for constant in (self.scale, self.offset, self.double))
        calls: list[Call] = []
        if self.bias is not None:
            calls.append(partial(np.add, wide, np.tile(self.bias, repeats), out=wide))
        calls += [partial(np.multiply, wide, scale, out=wide), partial(np.add, wide, offset, out=wide)]
        if not self.one_sided and self.double.any():
            # A clip by two numbers is faster than by two arrays.
            half = double if np.ptp(double) else double[0]
            ends = (0.25 - half, 0.25 + half)
            calls += [partial(wide.clip, *ends, out=spare), partial(np.add, wide, spare, out=wide)]
        elif not self.one_sided:
            calls.append(partial(np.add, wide, 0.25, out=wide))
        return [*calls, partial(np.floor, wide, out=wide), partial(wide.clip, self.low, self.high, out=wide)]
