# %% [markdown]
# # Lab 1. A signal in 256 codes
#
# A microcontroller stores a number in one byte: of a smooth signal, 256 codes are left, and you decide where they lie.
#
# Step through the page first (`tutorials/01_signal` of the repository). Here you write the map yourself: numpy
# only, the library stays closed. Check on the command line with `tinyquant check 1.1` (add `--watch` to check at
# every save), or run the cells of this file. A hint: `tinyquant hint 1.1`. A word: `tinyquant define scale`.

# %%
# On a hosted notebook, once: %pip install tinyquant-labs (or the wheel your course gives you)
import numpy as np

import tinyquant as tq
from tinyquant.labs import check, show

assert tq.__version__ >= "0.1", "this lab needs tinyquant 0.1 or later"

# %% [markdown]
# ## 1.1 Real numbers to codes
#
# One number is chosen for the whole array: the **scale**, the size of a step. One code stands for real 0: the **zero point**.
# Count the steps from 0 to x, round to a whole number, and add the zero point. What lies outside gets the last code on its side.
# Any rule for ties (2.5 steps: 2 or 3?) is right here.


# %%
def quantize(x, scale, zero_point, qmin=-128, qmax=127):
    """The codes of the real numbers x: an int8 array, a code for each.

    x is a 1-D float array, scale a positive float, zero_point a whole number from qmin to qmax.
    With scale 0.5 and zero_point 10: 0.0 -> 10, 1.0 -> 12, 1.3 -> 13, 1000.0 -> 127.
    """
    ### BEGIN SOLUTION
    steps = np.round(x / scale)
    return np.clip(steps + zero_point, qmin, qmax).astype(np.int8)
    ### END SOLUTION


check("1.1", quantize)

# %% [markdown]
# ## 1.2 Codes back to real numbers
#
# What a code stands for. The way back loses nothing; what was lost was lost on the way there.


# %%
def dequantize(codes, scale, zero_point):
    """The real numbers that codes stand for: a float array, a number for each.

    codes is a 1-D array of integers (int8, as 1.1 makes them). With scale 0.5 and zero_point 10: 12 -> 1.0, 127 -> 58.5.
    """
    ### BEGIN SOLUTION
    return scale * (codes.astype(np.int32) - zero_point)
    ### END SOLUTION


check("1.2", dequantize)

# %% [markdown]
# ## An experiment: one row of a digit, and one measurement of the clinic
#
# Both go through *your* two functions. The scale is the range over the number of steps; the range contains 0.


# %%
def there_and_back(x, bits):
    """What is left of x after a map of that many bits, and the size of a step."""
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    qmin, qmax = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = (high - low) / (qmax - qmin)
    zero_point = int(np.round(qmin - low / scale))
    return dequantize(quantize(x, scale, zero_point, qmin, qmax), scale, zero_point), scale


(images, _), _ = tq.data.digits(split=0)
(cells, _), _ = tq.data.breast_cancer(split=0)
for name, x in (("a row of a digit", images[0, 4, :, 0]), ("mean radius of 300 samples", cells[:300, 0])):
    for bits in (8, 4, 3, 2):
        back, step = there_and_back(x.astype(np.float64), bits)
        worst = np.abs(back - x).max()
        print(f"{name:28} {bits} bits: step {step:8.4f}, worst error {worst:8.4f} = {worst / step:.2f} steps")

# %% [markdown]
# The worst error is never more than half a step: the law of your check, on real data. With a bit less a step doubles at least.
# The figure has it for a sine; SQNR, in decibels, says how much larger the curve is than what was lost (sitting 2).

# %%
t = np.linspace(0, 1, 400)
wave = np.sin(2 * np.pi * t)
show(tq.plot.signal(t, wave), "lab_01_signal")

# %% [markdown]
# ## 1.3 Stretch: the scale and the zero point of a range
#
# `there_and_back` chose them in three lines. Now for every range: one-sided, constant, empty. Real 0 must be exactly a code,
# because padding, ReLU and empty pixels are all 0: an error there is added everywhere.


# %%
def choose_qparams(rmin, rmax, qmin=-128, qmax=127):
    """(scale, zero_point) for the real numbers from rmin to rmax, two floats with rmin <= rmax.

    scale is a positive float, zero_point a whole number from qmin to qmax. The codes reach rmin and rmax to within half a step.
    (-1.0, 1.0) -> scale 0.00784..., zero_point 0 or -1. (0.5, 1.0) -> scale 0.00392..., zero_point -128. (0.0, 0.0) -> scale 1.0.
    """
    ### BEGIN SOLUTION
    low, high = min(rmin, 0.0), max(rmax, 0.0)
    if low == high:
        return 1.0, int(np.clip(0, qmin, qmax))
    scale = (high - low) / (qmax - qmin)
    zero_point = np.clip(np.round(qmin - low / scale), qmin, qmax)
    return float(scale), int(zero_point)
    ### END SOLUTION


check("1.3", choose_qparams)

# %% [markdown]
# ## 1.4 Find the bug
#
# So the codes of a softmax were made in onnxruntime until July 2026 (issue 29727): the int8 version was copied from the uint8
# one. Its tests had no probability near enough to 1.


# %%
def to_codes(x, scale, zero_point):
    """Codes of x. Do not mend it: find where it goes wrong."""
    steps = np.round(x / scale) + zero_point
    return np.clip(steps, -128, 255).astype(np.int64).astype(np.int8)


# %%
def counterexample():
    """An input on which to_codes breaks the law "what lies outside the range gets the last code on its side".

    Return a dict: {"x": [one number or several], "scale": ..., "zero_point": ...}.
    """
    ### BEGIN SOLUTION
    return {"x": [1.0], "scale": 1 / 256, "zero_point": -128}
    ### END SOLUTION


check("1.4", counterexample)

# %% [markdown]
# ## What to remember
#
# - real = scale * (code - zero_point); real 0 is always exactly a code.
# - Inside the range the error is at most half a step; outside there is no bound.
# - Round, add the zero point, clip while the numbers are wide, cast last.
#
# | yours | tinyquant | PyTorch | TFLite |
# |---|---|---|---|
# | `quantize` | `tq.quantize(x, qp)` | `torch.quantize_per_tensor` | the operator QUANTIZE |
# | `dequantize` | `tq.dequantize(codes, qp)` | `tensor.dequantize()` | the operator DEQUANTIZE |
# | `choose_qparams` | `tq.choose_qparams` | `MinMaxObserver.calculate_qparams` | done by the converter |
