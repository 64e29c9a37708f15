# %% [markdown]
# # Lab 3. PTQ: who chooses the range
#
# Everything about a network is known once it is trained, except the numbers that future images will make in it:
# their range is a guess from a few examples, and you write three ways to guess.
#
# Step through the page first (`tutorials/03_ptq` of the repository). Check on the command line with `tinyquant
# check 3.1` (add `--watch` to check at every save), or run the cells of this file. A hint: `tinyquant hint 3.1`.
# A word: `tinyquant define percentile`.

# %%
# On a hosted notebook, once: %pip install tinyquant-labs (or the wheel your course gives you)
import numpy as np

import tinyquant as tq
from tinyquant.labs import check, show

assert tq.__version__ >= "0.1", "this lab needs tinyquant 0.1 or later"

# %% [markdown]
# ## 3.1 The smallest and the largest
#
# Calibration data come in **batches**: a list of arrays, each of some images. The simplest range reaches from
# the smallest number of all batches to the largest. It must contain 0, so that 0 is a code.


# %%
def minmax_range(batches):
    """(rmin, rmax), two floats: the smallest and the largest number of all batches, widened to contain 0.

    batches is a list of float arrays of any shape.
    [array([1.0, 2.0]), array([0.5, 7.0])] -> (0.0, 7.0)    [array([-1.0, 3.0])] -> (-1.0, 3.0)
    """
    raise NotImplementedError("TODO 3.1: write minmax_range here, then run this again. A hint: tinyquant hint 3.1")


check("3.1", minmax_range)

# %% [markdown]
# ## 3.2 Leave a few outside
#
# 99 percent are to lie inside: then half a percent may lie below the range, and half a percent above. Between
# two numbers the end may lie anywhere, so any rule of `np.percentile` is right. And the range contains 0.


# %%
def percentile_range(x, percent):
    """(rmin, rmax), two floats: at most (100 - percent) / 2 percent of the numbers of x lie beyond either end.

    x is a float array, percent a float above 0 and up to 100. The range contains 0 and is not wider than min-max.
    For the numbers 0, 1, ..., 100: percent 100 -> (0.0, 100.0), percent 90 -> (0.0, 95.0): the lower end is widened to 0.
    """
    raise NotImplementedError("TODO 3.2: write percentile_range here, then run this again. A hint: tinyquant hint 3.2")


check("3.2", percentile_range)

# %% [markdown]
# ## An experiment: how many images, and one bad one
#
# The numbers behind the third block of a trained network. The range is chosen by *your* functions from 1, 10,
# 100 and 1000 training images, then from 1000 and one whose pixels nobody divided by 16; the error is measured
# on 450 other images.

# %%
network = tq.models.load_checkpoint("mobilenet")
(images, _), (others, _) = tq.data.digits(split=0)


def behind_block3(images):
    """What the network makes of images there: (N, 4, 4, 64), never negative."""
    with tq.no_grad():
        z = tq.Tensor(images)
        for block in (network.stem, network.block1, network.block2, network.block3):
            z = block(z)
    return z.data


def error_of(rmin, rmax, bits, x):
    """Root mean squared error of x through the map of that range."""
    qp = tq.choose_qparams(rmin, rmax, bits=bits)
    return np.sqrt(np.mean((tq.dequantize(tq.quantize(x, qp), qp) - x) ** 2))


unseen = behind_block3(others)
sets = {f"images: {count}": behind_block3(images[:count]) for count in (1, 10, 100, 1000)}
sets["and a bad one"] = np.concatenate([sets["images: 1000"], behind_block3(16 * images[1000:1001])])
print(f"{'':<14}min-max: up to, error at 8 and 4 bits    99.9 %: up to, error at 8 and 4 bits")
for name, x in sets.items():
    line = f"{name:<14}"
    for low, high in (minmax_range([x]), percentile_range(x, 99.9)):
        line += f"{high:14.2f} {error_of(low, high, 8, unseen):10.4f} {error_of(low, high, 4, unseen):8.3f}      "
    print(line.rstrip())
show(tq.plot.calibration_tradeoff(unseen, bits=4, name="what is behind block3"), "lab_03_tradeoff")

# %% [markdown]
# At 8 bits a hundred images do for min-max, and 99.9 % clips too much: several times the error. At 4 bits it is
# the other way round: the more images, the larger the largest number, and every step grows with it. One bad
# image does the same at once; the percentile's end moves far less.
#
# ## 3.3 Stretch: the least squared error
#
# Try shorter and shorter ranges, send x there and back, and keep the one with the smallest mean squared error.
# min-max itself is among them, so it can never be worse. Here you may call `tq.choose_qparams`, `tq.quantize`,
# `tq.dequantize` and `tq.fake_quantize`.


# %%
def mse_range(x, bits):
    """(rmin, rmax), two floats: a range that contains 0, with a mean squared error no larger than that of min-max.

    x is a float array, bits a whole number from 2 to 8: there and back through tq.choose_qparams(rmin, rmax, bits=bits).
    Where one far number makes the steps of min-max too wide for all the others, the range must be narrower.
    """
    raise NotImplementedError("TODO 3.3: write mse_range here, then run this again. A hint: tinyquant hint 3.3")


check("3.3", mse_range)

# %% [markdown]
# ## 3.4 Find the bug
#
# A scale for every channel of a weight: right for years. Then a network was pruned before it was quantized, and
# a scale of a value that no scale may have went into its file (apple/coremltools#2853).


# %%
def channel_map(rmin, rmax, qmin=-128, qmax=127):
    """(scale, zero_point) of one channel's range. Do not mend it: find where it goes wrong."""
    low, high = min(rmin, 0.0), max(rmax, 0.0)
    scale = (high - low) / (qmax - qmin)
    zero_point = qmin if low == 0.0 else round(qmin - low / scale)
    return scale, int(zero_point)


# %%
def counterexample():
    """An input on which channel_map breaks the law "the scale is a positive number".

    Return a dict: {"rmin": ..., "rmax": ...}, two floats.
    """
    raise NotImplementedError("TODO 3.4: write counterexample here, then run this again. A hint: tinyquant hint 3.4")


check("3.4", counterexample)

# %% [markdown]
# ## What to remember
#
# - A range is chosen from examples; it holds for the numbers that future images make, or it does not.
# - min-max clips nothing it has seen; one outlier widens every step. A percentile forgives outliers, and cuts
#   what is none.
# - A range contains 0, and even an empty one needs a scale above 0.
#
# | here | PyTorch | TFLite |
# |---|---|---|
# | `minmax_range` | `MinMaxObserver` | the converter's rule |
# | `percentile_range` | none (TensorRT: percentile calibrator) | none |
# | `mse_range` | `HistogramObserver` | none |
