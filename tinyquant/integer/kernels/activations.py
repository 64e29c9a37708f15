"""Functions of one code at a time: RELU and its kin, LOGISTIC, TANH, and SOFTMAX over a row.

With Z_x, Z_y the zero points and S_x, S_y the scales, every one starts from x - Z_x, whose real value is S_x times that.
LOGISTIC, TANH and SOFTMAX have outputs in a range known beforehand, so their output scale is fixed: 1/256 from -128 for
[0, 1), 1/128 around 0 for (-1, 1).

With this module one can apply TFLite Micro's activation functions to int8 codes.

References: TFLite Micro `kernels/activations_common.cc`, `kernels/logistic_common.cc`; TFLite
`kernels/internal/reference/leaky_relu.h`, `softmax.h`, `integer_ops/logistic.h`, `integer_ops/tanh.h`.
"""

from __future__ import annotations

import numpy as np

from tinyquant.integer.kernels import fixed_point_functions as q
from tinyquant.integer.kernels.windows import Pair, Rescale, to_codes
from tinyquant.numerics.fixed_point import (
    multiply_by_quantized_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from tinyquant.numerics.rounding import saturate

__all__ = ["exponentials", "leaky_relu", "logistic", "relu", "relu6", "shares_of_the_sum", "softmax", "tanh"]


def relu(
    x: np.ndarray,
    *,
    input_zero_point: int,
    output_zero_point: int,
    multiplier: int,
    shift: int,
    act_min: int = -128,
    act_max: int = 127,
    rescale: Rescale = multiply_by_quantized_multiplier,
) -> np.ndarray:
    """RELU and RELU_N1_TO_1: y = clamp(rescale(x - Z_x, multiplier, shift) + Z_y, act_min, act_max).

    The function is all in the clamp: for RELU act_min is the code of real 0, for RELU_N1_TO_1 the clamp is the codes of
    -1 and 1. Around it the codes go from the input's scale to the output's.

    Parameters
    ----------
    x : int8, any shape
    multiplier, shift : int
        The real S_x / S_y.
    input_zero_point, output_zero_point, act_min, act_max : int, -128 to 127
    rescale : function
        How a fixed-point multiplication rounds.

    Returns
    -------
    int8 of x's shape

    Notes
    -----
    TFLite Micro has no RELU_N1_TO_1; this is LiteRT's rule.

    Examples
    --------
    >>> relu(np.int8([-9, 9]), input_zero_point=0, output_zero_point=3, multiplier=2**30, shift=0, act_min=3).tolist()
    [3, 8]
    """
    return to_codes(x.astype(np.int64) - input_zero_point, multiplier, shift, rescale, output_zero_point, act_min, act_max)


def relu6(x: np.ndarray, *, act_min: int, act_max: int) -> np.ndarray:
    """RELU6 as in TFLite Micro: y = min(max(x, act_min), act_max), codes clamped and not rescaled.

    Parameters
    ----------
    x : int8, any shape
    act_min, act_max : int, -128 to 127
        The codes of real 0 and real 6 on the input's scale. Should they cross (6 has no code of its own), act_max wins.

    Returns
    -------
    int8 of x's shape

    Notes
    -----
    Right only where input and output share scale and zero point; LiteRT rescales (as `relu` does).

    Examples
    --------
    >>> relu6(np.int8([-9, 9, 90]), act_min=0, act_max=60).tolist()
    [0, 9, 60]
    """
    return np.minimum(np.maximum(x, np.int8(act_min)), np.int8(act_max))


def leaky_relu(
    x: np.ndarray,
    *,
    input_zero_point: int,
    output_zero_point: int,
    multipliers: Pair,
    shifts: Pair,
    act_min: int = -128,
    act_max: int = 127,
    rescale: Rescale = multiply_by_quantized_multiplier,
) -> np.ndarray:
    """LEAKY_RELU: y = clamp(rescale(x - Z_x, one of two multipliers) + Z_y).

    Parameters
    ----------
    x : int8, any shape
    multipliers, shifts : (for x >= Z_x, for x < Z_x)
        The reals S_x / S_y and S_x * alpha / S_y. alpha may be negative: the magnitude is multiplied and rounded, then
        negated, so a multiplier may be negative.
    input_zero_point, output_zero_point, act_min, act_max, rescale
        As in `relu`.

    Returns
    -------
    int8 of x's shape

    Examples
    --------
    >>> same = {"input_zero_point": 0, "output_zero_point": 0}
    >>> leaky_relu(np.int8([-9, 9]), **same, multipliers=(2**30, 2**30), shifts=(1, 0)).tolist()          # alpha = 1/2
    [-4, 9]
    """
    centred = x.astype(np.int64) - input_zero_point
    above = rescale(centred, multipliers[0], shifts[0])
    below = rescale(centred, abs(multipliers[1]), shifts[1])
    below = -below if multipliers[1] < 0 else below
    return saturate(np.where(centred >= 0, above, below) + output_zero_point, act_min, act_max, np.int8)


def logistic(x: np.ndarray, *, input_zero_point: int, multiplier: int, shift: int, radius: int) -> np.ndarray:
    """LOGISTIC as in TFLite Micro: y = clamp(256 / (1 + exp(-S_x (x - Z_x))) - 128); output scale 1/256, zero point -128.

    ::

        d = x - Z_x;  d <= -radius gives -128,  d >= radius gives 127,  else
        a = rescale(d, multiplier, shift)          Q4.27: the real input, |a| < 16
        y = clamp(logistic(a) / 2**23 - 128)       from Q0.31 to 1/256

    Parameters
    ----------
    x : int8, any shape
    multiplier, shift : int
        The real S_x * 2**27; S_x below 16.
    radius : int
        From where on a would not fit Q4.27.
    input_zero_point : int, -128 to 127

    Returns
    -------
    int8 of x's shape

    Notes
    -----
    The radius is floor(15 * 2**27 / 2**shift) codes, so a coarse input meets it early. From S_x = 4 on, one code from zero
    already gives an end (up to 4 codes off); from S_x = 8 on the radius is 0 and even real 0 gives -128. Those are the
    target's bytes.
    LiteRT looks the result up in a float32 table instead: 3 to 6 of 10**4 codes differ, by 1.

    Examples
    --------
    >>> logistic(np.int8([0, 16, -16]), input_zero_point=0, multiplier=2**30, shift=24, radius=255).tolist()     # S_x = 1/16
    [0, 59, -59]
    """
    centred = x.astype(np.int64) - input_zero_point
    fixed = multiply_by_quantized_multiplier(np.clip(centred, -radius, radius), multiplier, shift)
    y = saturate(rounding_divide_by_pot(q.logistic(fixed), 23) - 128, -128, 127, np.int8)
    return _beyond_radius(y, centred, radius)


def tanh(x: np.ndarray, *, input_zero_point: int, multiplier: int, shift: int, radius: int) -> np.ndarray:
    """TANH as in TFLite Micro: y = clamp(128 tanh(S_x (x - Z_x))); output scale 1/128, zero point 0.

    Parameters
    ----------
    x, input_zero_point, multiplier, shift, radius
        As in `logistic`.

    Returns
    -------
    int8 of x's shape

    Examples
    --------
    >>> tanh(np.int8([0, 16, -16]), input_zero_point=0, multiplier=2**30, shift=24, radius=255).tolist()
    [0, 97, -97]
    """
    centred = x.astype(np.int64) - input_zero_point
    fixed = multiply_by_quantized_multiplier(np.clip(centred, -radius, radius), multiplier, shift)
    y = saturate(rounding_divide_by_pot(q.tanh(fixed), 24), -128, 127, np.int8)
    return _beyond_radius(y, centred, radius)


def _beyond_radius(y: np.ndarray, centred: np.ndarray, radius: int) -> np.ndarray:
    """y, or the last code on either side where the input leaves Q4.27."""
    return np.where(centred <= -radius, np.int8(-128), np.where(centred >= radius, np.int8(127), y))


def softmax(x: np.ndarray, *, multiplier: int, shift: int, difference_min: int) -> np.ndarray:
    """SOFTMAX over the last axis: y = 256 exp(beta S_x (x - max)) / sum of them - 128; output scale 1/256, zero point -128.

    ::

        d = x - max of the row                     at most 0; the input zero point cancels
        e = exp(d * beta * S_x)                    Q5.26 to Q0.31; 0 where d < difference_min
        s = sum of e / 2**12                       Q12.19: room for 512 terms that are 1
        y = clamp(e / s * 256 - 128)               the division is `reciprocal` of s brought into [1, 2) by h bits

    Parameters
    ----------
    x : int8 [..., classes]
    multiplier, shift : int
        The real min(beta * S_x * 2**26, 2**31 - 1), above 1; shift at least 0.
    difference_min : int, at most 0
        Below it, d no longer fits Q5.26 and its exponential counts as 0.

    Returns
    -------
    int8 of x's shape; a row sums to about 256 above -128 * classes

    Raises
    ------
    ValueError
        The exponentials of a row add up to 512 or more (it takes 512 nearly equal entries): TFLite Micro's kernel
        stops the program there.

    Examples
    --------
    >>> softmax(np.int8([[0, 0], [16, 0]]), multiplier=2**30, shift=23, difference_min=-495).tolist()            # S_x = 1/16
    [[0, 0], [59, -59]]
    """
    difference = x.astype(np.int64) - x.max(axis=-1, keepdims=True, initial=-128)
    return shares_of_the_sum(exponentials(difference, multiplier, shift, difference_min))


def exponentials(difference: np.ndarray, multiplier: int, shift: int, difference_min: int) -> np.ndarray:
    """exp(difference * beta * S_x) in Q0.31, for differences of codes of at most 0: the first half of `softmax`.

    >>> exponentials(np.array([0, -16, -400]), 2**30, 23, -495).tolist()          # S_x = 1/16; e**-1 * 2**31 is 790015084.4
    [2147483647, 790015308, 0]
    """
    fixed = saturating_rounding_doubling_high_mul(np.maximum(difference, difference_min) << shift, multiplier)
    return np.where(difference < difference_min, 0, q.exp_on_negative_values(fixed, 5))


def shares_of_the_sum(exponential: np.ndarray) -> np.ndarray:
    """int8 codes of each entry's share of its row's sum, for Q0.31 numbers: the second half of `softmax`, which see."""
    total = rounding_divide_by_pot(exponential, 12).sum(axis=-1, keepdims=True)
    if np.any(total >= 1 << 28):
        raise ValueError(
            f"the exponentials of a row must add up to less than 512, got {int(total.max()) >> 19}. "
            "The target's kernel stops here too: use fewer classes per row, or take the argmax of the logits."
        )
    # How many leading zeros a 32-bit register shows: one for every power of two above the number.
    headroom = (total[..., None] < (1 << np.arange(32, dtype=np.int64))).sum(axis=-1)
    inverse = q.reciprocal((total << headroom) - (1 << 31))
    scaled = rounding_divide_by_pot(saturating_rounding_doubling_high_mul(inverse, exponential), 35 - headroom)
    return saturate(scaled - 128, -128, 127, np.int8)
