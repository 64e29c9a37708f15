# %% [markdown]
# # Lab 0. See the drop
#
# A smaller network is worth little until you can say how much smaller, what it lost, and whether that is more than luck.
#
# Step through the page first (`tutorials/00_see_the_drop` of the repository). Here you write three lines of your
# own; the library stays closed. Check on the command line with `tinyquant check 0.1` (add `--watch` to check at
# every save), or run the cells of this file. A hint: `tinyquant hint 0.1`. A word: `tinyquant define QAT`.

# %%
# On a hosted notebook, once: %pip install tinyquant-labs (or the wheel your course gives you)
import math

import numpy as np

import tinyquant as tq
from tinyquant.analysis.footprint import footprint
from tinyquant.labs import check, show

assert tq.__version__ >= "0.1", "this lab needs tinyquant 0.1 or later"

# %% [markdown]
# ## 0.1 How many times smaller
#
# One line, to see how a check works. Leave the number as it is: do not round it.


# %%
def times_smaller(float_bytes, int8_bytes):
    """How many times the int8 network fits into the float one: a float.

    Both are whole numbers of bytes, 1 or more. 9640 and 2536 bytes -> 3.801...
    """
    raise NotImplementedError("TODO 0.1: write times_smaller here, then run this again. A hint: tinyquant hint 0.1")


check("0.1", times_smaller)

# %% [markdown]
# ## 0.2 A drop, in images
#
# Tables print percents with two decimals. Behind them stands a whole number of images: give it back whole.


# %%
def images_lost(before, after, images):
    """How many more test images are wrong afterwards: an int, negative when images were won.

    before and after are accuracies in percent, exact or with two decimals; images is how many were tested.
    96.22, 94.89 and 450 images -> 6. 71.03, 69.57 and 50000 -> 730. 70.01, 70.2 and 50000 -> -95.
    """
    raise NotImplementedError("TODO 0.2: write images_lost here, then run this again. A hint: tinyquant hint 0.2")


check("0.2", images_lost)

# %% [markdown]
# ## An experiment: bits against images
#
# A larger network than the one of the page (depthwise convolutions, as in MobileNet), told in *your* two numbers. Which width
# would you ship?

# %%
(x, _), (images, labels) = tq.data.digits(split=0)
network = tq.models.load_checkpoint("mobilenet")
seen = tq.calibrate(network, x[:512])
float_bytes = 4 * sum(parameter.size for parameter in network.parameters())
before = round(100 * tq.evaluate(network, images, labels), 2)
points = {"float": tq.plot.Candidate("float", float_bytes, round(4.5 * before))}
for bits in (8, 4, 3):
    few = tq.convert(tq.quantize_model(network, seen, scheme=tq.schemes.TFLITE_INT8.replace(weight_bits=bits)))
    few_bytes = sum(tensor.packed for tensor in footprint(few).tensors if tensor.kind != "activation")
    after = round(100 * tq.evaluate(few, images, labels), 2)
    lost = images_lost(before, after, 450)
    smaller = times_smaller(float_bytes, few_bytes)
    print(f"{bits} bits: {smaller:.1f} times smaller, {before} -> {after} %: {lost} images lost of 450")
    points[f"{bits} bits"] = tq.plot.Candidate("PTQ", few_bytes, round(4.5 * after))
show(tq.plot.bytes_against_accuracy(points, images=450), "lab_00_bytes")

# %% [markdown]
# ## 0.3 Stretch: what would luck do?
#
# Two networks on the same images: on most of them both are right, or both wrong. Only the images that exactly *one* has
# right tell them apart. If the two were equally good, each of these would be a fair coin. How often would so many coins fall
# at least as unevenly as here, to either side? (This is McNemar's exact test.)


# %%
def sign_test(only_a, only_b):
    """The probability, from 0 to 1: a float.

    only_a images only the first network has right, only_b only the second: whole numbers, 0 or more.
    (5, 0) -> 0.0625. (3, 3) -> 1.0. (11, 5) -> 0.2101..., which is PTQ at 3 bits on the page. (0, 0) -> 1.0.
    """
    raise NotImplementedError("TODO 0.3: write sign_test here, then run this again. A hint: tinyquant hint 0.3")


check("0.3", sign_test)

# %% [markdown]
# ## 0.4 Find the bug
#
# A batch norm left in training mode takes the mean and the spread of whatever batch is there. So it was in a DenseNet121 after
# QAT: 1.7 % right, and 72.9 % once it was mended (pytorch/pytorch#115715). Below, the smallest network that can have it: one
# batch norm, then the codes. Its remembered mean is 0 and its remembered spread 1, so it should change nothing at all.
# (Any one number comes out wrong, but that breaks another law: show that the *company* matters.)


# %%
def to_codes(x, scale, zero_point):
    """Codes of x behind a batch norm that was forgotten in training mode. Do not mend it: find where it goes wrong."""
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return np.clip(np.round(x / scale) + zero_point, -128, 127).astype(np.int8)


# %%
def counterexample():
    """An input on which to_codes breaks the law "the code of one x does not depend on the other numbers in the array".

    Return a dict: {"x": [one number or several], "scale": ..., "zero_point": ...}.
    """
    raise NotImplementedError("TODO 0.4: write counterexample here, then run this again. A hint: tinyquant hint 0.4")


check("0.4", counterexample)

# %% [markdown]
# ## What to remember
#
# - 8 bits: nearly four times smaller for next to nothing; at 3 bits training with the error (QAT) wins back what is lost.
# - Count a drop in images, and ask what luck would do: of 450 images, one or two say nothing.
# - Acceptable is a word about the use, not about the network.
#
# | here | PyTorch | TFLite |
# |---|---|---|
# | `tq.quantize_model`, `tq.convert` | `prepare_pt2e`, `convert_pt2e` | `TFLiteConverter` |
# | eval mode | `model.eval()`, `move_exported_model_to_eval` | `training=False` |
# | `sign_test` | `statsmodels.stats.contingency_tables.mcnemar` | the same |
