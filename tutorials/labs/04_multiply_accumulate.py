# %% [markdown]
# # Lab 4. One multiply-accumulate, all integers
#
# A chip without a float unit runs a network fast only if every number on the way, from pixel to answer, is a
# whole number.
#
# Step through the page first (`tutorials/04_multiply_accumulate` of the repository). Here you write that step
# yourself: numpy only, the library stays closed. Check on the command line with `tinyquant check 4.1` (add
# `--watch` to check at every save), or run the cells of this file. A hint: `tinyquant hint 4.1`. A word:
# `tinyquant define accumulator`.

# %%
# On a hosted notebook, once: %pip install tinyquant-labs (or the wheel your course gives you)
import numpy as np

import tinyquant as tq
from tinyquant.labs import check, show

assert tq.__version__ >= "0.1", "this lab needs tinyquant 0.1 or later"

# %% [markdown]
# ## 4.1 The sum of products
#
# A code stands for scale * (code - zero point). So a layer multiplies codes from which the zero points were
# taken off, and adds the products up. Numpy does not help: int8 times int8 stays int8 there, and so does int8
# minus int8.


# %%
def centred_dot(x, w, x_zero, w_zero):
    """The sum of (x - x_zero) * (w - w_zero) over two rows of codes: one whole number, exact.

    x and w are int8 arrays of the same length, x_zero and w_zero whole numbers from -128 to 127.
    x = [100, 1], w = [100, 2], both zero points 0: 10002. x = [127], w = [1], x_zero = -128, w_zero = 0: 255.
    """
    raise NotImplementedError("TODO 4.1: write centred_dot here, then run this again. A hint: tinyquant hint 4.1")


check("4.1", centred_dot)

# %% [markdown]
# ## 4.2 Times a real number, with integers only
#
# The sum counts in units of S_x * S_w, the output in units of S_y. The real number between them is shipped as
# two integers:
#
#     real = multiplier * 2**(shift - 31)        2**30 <= multiplier < 2**31, a negative shift goes to the right
#
# Give the *nearest* whole number: one rounding of the whole product (either way on a tie). This is not what a
# microcontroller with TensorFlow Lite does: it rounds twice. How much that matters you see below, and in 4.4.


# %%
def requantize(acc, multiplier, shift):
    """acc * multiplier * 2**(shift - 31), rounded to the nearest whole numbers: an array of integers.

    acc is a 1-D int32 array, multiplier and shift are whole numbers, shift from -30 to 8. Use no float: the chip has none.
    multiplier 2**30 and shift 0 is 1/2: [6, -6] -> [3, -3]. [7984] with 1583594044 and -9 is 11.499 -> [11].
    """
    raise NotImplementedError("TODO 4.2: write requantize here, then run this again. A hint: tinyquant hint 4.2")


check("4.2", requantize)

# %% [markdown]
# ## An experiment: a layer of a real network, run by you
#
# A trained network for digits, made into integers: its first layer has 64 inputs, 64 outputs and a ReLU. Your
# two functions compute it on 100 test images. Two runtimes are beside you: a microcontroller's, which rounds
# twice, and one that rounds once.

# %%
(x, _), (xt, _) = tq.data.digits(split=0)
network = tq.models.load_checkpoint("mlp")
m = tq.convert(tq.quantize_model(network, tq.calibrate(network, x[:512])))
images = tq.quantize(xt[:100], m.inputs[0].qparams)

layer, x_qp = m.graph.node("fc1"), m.inputs[0].qparams
real = x_qp.scale * layer.param_qparams["weight"].scale / layer.qparams.scale  # one a channel: S_x * S_w / S_y
multipliers, shifts = tq.quantize_multiplier(real)

mine = np.zeros((100, 64), np.int64)
for channel in range(64):
    weights, bias = layer.params["weight"][channel], layer.params["bias"][channel]
    sums = [centred_dot(image, weights, x_qp.zero_point, 0) + bias for image in images.reshape(100, 64)]
    mine[:, channel] = requantize(np.array(sums, np.int32), int(multipliers[channel]), int(shifts[channel]))
mine = np.clip(mine + layer.qparams.zero_point, -128, 127)  # the zero point is -128, so the clamp is the ReLU too

for dialect, rule in (("tflm", "rounds twice"), ("litert_ref", "rounds once")):
    theirs = m.trace(images, dialect=dialect)["fc1"]
    differ, most = np.sum(mine != theirs), np.abs(mine - theirs).max()
    print(f"{dialect:10} {rule}: of {mine.size:,} codes {differ} differ from yours, by at most {most}")

# %% [markdown]
# All of the network is built of this step, and every code can be equal: if both sides round by the same rule.

# %%
why = tq.explain(m, images[:1], "fc1", (0, 3))
show(tq.plot.multiply_accumulate(why), "lab_04_multiply_accumulate")

# %% [markdown]
# ## 4.3 Stretch: one output of a layer
#
# All of it in one function. The bias is already a whole number in units of S_x * S_w, so that it can be added
# to the sum.


# %%
def integer_layer(x, w, bias, x_zero, multiplier, shift, y_zero, qmin, qmax):
    """The code of one output: the sum of (x - x_zero) * w, plus bias, rescaled, plus y_zero, clamped to qmin..qmax.

    x and w are int8 arrays of the same length (the weights' zero point is 0), all else whole numbers, and so is
    what comes back. x = [4, 6], w = [10, 20], bias 30, x_zero 2, multiplier 2**30 and shift -1 (a quarter),
    y_zero -5: the sum is 130, a quarter of it 32.5, so 32 or 33, and the code 27 or 28.
    """
    raise NotImplementedError("TODO 4.3: write integer_layer here, then run this again. A hint: tinyquant hint 4.3")


check("4.3", integer_layer)

# %% [markdown]
# ## 4.4 Find the bug
#
# So TensorFlow Lite multiplies: the upper half of the product, rounded, then a shift, rounded again. A user
# found results that are not the nearest (tensorflow/tensorflow#25087, 2019); it has stayed the default, and
# chips follow it. Find numbers where it shows.


# %%
def rescale_twice(acc, multiplier, shift):
    """acc * multiplier * 2**(shift - 31), in two roundings. Do not mend it: find where it goes wrong."""
    left, right = max(shift, 0), max(-shift, 0)
    upper = ((acc.astype(np.int64) << left) * multiplier + 2**30) >> 31
    return np.sign(upper) * ((np.abs(upper) + 2**right // 2) >> right)


# %%
def counterexample():
    """Numbers on which rescale_twice breaks the law "the result is the nearest whole number".

    Return a dict: {"acc": [one whole number or several], "multiplier": from 2**30 to 2**31 - 1, "shift": from -30 to 8}.
    """
    raise NotImplementedError("TODO 4.4: write counterexample here, then run this again. A hint: tinyquant hint 4.4")


check("4.4", counterexample)

# %% [markdown]
# ## What to remember
#
# - Widen before you subtract or multiply: products of codes need 16 bits, their sum 32, the rescaled product 62.
# - acc * multiplier >> (31 - shift), with half of the divisor added first: times a real number, without a float.
# - Runtimes round this by different rules and part by one code now and then: name the rule, then compare.
#
# | yours | tinyquant | PyTorch | TFLite |
# |---|---|---|---|
# | `centred_dot` | inside the kernels | inside `quantized::linear` | the inner loop of `FullyConnected` |
# | `requantize` | `tq.requantize(..., mode="single_rounding")` | in float32 | `MultiplyByQuantizedMultiplier` |
# | `integer_layer` | `m.run_node(name, codes)` | `torch.ao.nn.quantized.Linear` | FULLY_CONNECTED |
