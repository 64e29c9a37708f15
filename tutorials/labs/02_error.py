# %% [markdown]
# # Lab 2. Where the error comes from, and rounding is a decision
#
# Two kinds of error ask for opposite remedies, finer steps or a wider range: so you must be able to tell them
# apart, and to say which way a tie goes.
#
# Step through the page first (`tutorials/02_error` of the repository). Here you write it yourself, with numpy;
# the library stays closed. Check on the command line with `tinyquant check 2.1` (add `--watch` to check at every
# save), or run the cells of this file. A hint: `tinyquant hint 2.1`. A word: `tinyquant define tie`.

# %%
# On a hosted notebook, once: %pip install tinyquant-labs (or the wheel your course gives you)
import numpy as np

import tinyquant as tq
from tinyquant.labs import check, show

assert tq.__version__ >= "0.1", "this lab needs tinyquant 0.1 or later"

# %% [markdown]
# ## 2.1 Rounding or clipping?
#
# A number that goes to its code and back has moved. Part of that is **clipping**: x lies outside, and the last
# code is all there is. The rest is **rounding**. Both have a sign, and together they are the whole error.
#
# The codes reach from `scale * (qmin - zero_point)` to `scale * (qmax - zero_point)`. Clipping is the way from
# x to the nearer of these two; inside it is 0.


# %%
def split_error(x, scale, zero_point, qmin=-128, qmax=127):
    """Two arrays of x's shape: (rounding, clipping), in the units of x.

    x is a float array, scale a positive float, zero_point a whole number from qmin to qmax.
    With scale 0.5, zero_point 0, qmin -4 and qmax 3 the codes reach from -2.0 to 1.5:
    1.2 comes back as 1.0: rounding -0.2, clipping 0.0.    9.0 comes back as 1.5: rounding 0.0, clipping -7.5.
    """
    raise NotImplementedError("TODO 2.1: write split_error here, then run this again. A hint: tinyquant hint 2.1")


check("2.1", split_error)

# %% [markdown]
# ## 2.2 Ties away from zero
#
# 2.5 becomes 3, and -2.5 becomes -3: TensorFlow Lite's rule, and C's `round`. numpy's own `np.round` sends ties
# to the even neighbour, so it will not do; `np.floor`, `np.abs` and `np.sign` are enough.


# %%
def round_half_away(x):
    """Whole numbers nearest to the float array x, ties away from zero; an array of floats of x's shape.

    [-2.5, -0.5, 0.3, 0.5, 1.5] -> [-3, -1, 0, 1, 2]
    """
    raise NotImplementedError("TODO 2.2: write round_half_away here, then run this again. A hint: tinyquant hint 2.2")


check("2.2", round_half_away)

# %% [markdown]
# ## An experiment: how much of the error is clipping?
#
# 8,192 weights of a trained network, at three widths, with a range up to the largest weight and with ranges cut
# shorter. *Your* function says which part is which.

# %%
weights = tq.models.load_checkpoint("mobilenet").block4.pw.weight.data.astype(np.float64)
largest = np.abs(weights).max()
for bits in (8, 4, 3):
    qmax = 2 ** (bits - 1) - 1
    for share in (1.0, 0.7, 0.5, 0.3):
        rounding, clipping = split_error(weights, share * largest / qmax, 0, -qmax, qmax)
        whole = np.mean((rounding + clipping) ** 2)
        part = 100 * np.mean(clipping**2) / whole
        print(f"{bits} bits, range cut to {share:.1f}: error {1e3 * np.sqrt(whole):6.2f} thousandths, {part:5.1f} % clipping")
show(tq.plot.calibration_tradeoff(weights, bits=4, name="the weights of block4.pw"), "lab_02_tradeoff")

# %% [markdown]
# At 8 bits every cut makes it worse: the steps are fine enough, and all that is left is what was clipped. At 3
# bits the steps are so wide that cutting pays.
#
# And what is a tie worth? A picture is made smaller by taking the mean of four pixels, in whole codes, again
# and again.

# %%
(images, _), _ = tq.data.digits(split=0)
codes = 16 * images[..., 0].astype(np.float64) - 8  # the 17 grey levels as -8 to 8
for name, rule in (("yours", round_half_away), ("to the even one", np.round), ("cut off", np.trunc)):
    small = codes
    while small.shape[1] > 1:
        rows, half = len(small), small.shape[1] // 2
        small = rule(small.reshape(rows, half, 2, half, 2).mean(axis=(2, 4)))
    print(f"{name:<16} mean of all pictures {codes.mean():+.3f}, halved three times {small.mean():+.3f}")

# %% [markdown]
# A rule whose ties all go one way moves the mean at every halving; one that sends them both ways hardly does.
#
# ## 2.3 Stretch: a number that tells two rules apart
#
# To find out what a tool does, feed it a number on which the two rules you have in mind disagree. Which one?
# Here you may call `tq.round_to_int(x, mode)`; the check calls it too.


# %%
def tie_breaker(mode_a, mode_b):
    """A real number (one float) that the two rules turn into different whole numbers.

    Both are names: half_even, half_away, half_up, half_down, floor, ceil, toward_zero; they are not the same one.
    tie_breaker("half_even", "half_away") may be 0.5: it becomes 0 or 1.
    """
    raise NotImplementedError("TODO 2.3: write tie_breaker here, then run this again. A hint: tinyquant hint 2.3")


check("2.3", tie_breaker)

# %% [markdown]
# ## 2.4 Find the bug
#
# An average pool that cuts the fraction off (apache/tvm#20298) is repaired as everybody does it first: add a
# half, then cut. The tests pass. They were made when codes went from 0 to 255; now codes are int8.


# %%
def pool_round(x):
    """The whole numbers nearest to the means x, ties away from zero. Do not mend it: find where it goes wrong."""
    return np.trunc(x + 0.5)


# %%
def counterexample():
    """An input on which pool_round breaks the law "each number becomes the whole number that half_away says".

    Return a dict: {"x": [one number or several]}.
    """
    raise NotImplementedError("TODO 2.4: write counterexample here, then run this again. A hint: tinyquant hint 2.4")


check("2.4", counterexample)

# %% [markdown]
# ## What to remember
#
# - The whole error = rounding (at most half a step) + clipping (no bound).
# - Few bits: cut the range. Many bits: leave it.
# - A rounding rule has a name, and one number is enough to find out which one a tool has.
#
# | here | PyTorch | TFLite |
# |---|---|---|
# | `round_half_away` | none; `torch.round` is half_even | `TfLiteRound`, C's `round` |
# | `pool_round` | `torch.ao.nn.quantized.functional.avg_pool2d` | `AVERAGE_POOL_2D` |
