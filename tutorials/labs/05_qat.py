# %% [markdown]
# # Lab 5. Tell the network: the STE and QAT
#
# After training nobody can undo the rounding; told about it during training, a network learns weights that
# round well.
#
# Step through the page first (`tutorials/05_qat` of the repository). Here you write the two halves of it, forward
# and backward: numpy only, the library stays closed. Check on the command line with `tinyquant check 5.1` (add
# `--watch` to check at every save), or run the cells of this file. A hint: `tinyquant hint 5.1`. A word:
# `tinyquant define ste`.

# %%
# On a hosted notebook, once: %pip install tinyquant-labs (or the wheel your course gives you)
import numpy as np

import tinyquant as tq
from tinyquant.labs import check, show

assert tq.__version__ >= "0.1", "this lab needs tinyquant 0.1 or later"

# %% [markdown]
# ## 5.1 Fake quantization
#
# Training goes on in real numbers, but the network shall feel what rounding does. So a number goes to its
# code and comes back: what is left lies on the grid and is still a float. Any rule for ties is right here.


# %%
def fake_quantize(x, scale, zero_point, qmin=-128, qmax=127):
    """The real numbers that the codes of x stand for: a float array of x's shape.

    x is a float array, scale a positive float, zero_point a whole number from qmin to qmax.
    With scale 0.5, zero_point 0, codes -3 to 3: 0.6 -> 0.5, 0.9 -> 1.0, 7.0 -> 1.5.
    """
    raise NotImplementedError("TODO 5.1: write fake_quantize here, then run this again. A hint: tinyquant hint 5.1")


check("5.1", fake_quantize)

# %% [markdown]
# ## 5.2 The gradient that training pretends it has
#
# Backpropagation multiplies the gradient that arrives (`upstream`) by the slope of the function. These are
# stairs: their slope is 0. The straight-through estimator takes them for the line they follow, slope 1,
# wherever nothing was clipped.

# %%
show(tq.plot.ste(tq.QParams(0.5, 0, -3, 3)), "lab_05_ste")


# %%
def ste_gradient(upstream, x, scale, zero_point, qmin=-128, qmax=127):
    """The gradient handed on: upstream where x's rounded code lies in qmin..qmax, both ends included, else 0.

    upstream is a float array of x's shape. With scale 0.5, zero_point 0, codes -3 to 3 and upstream 1 everywhere:
    x = 0.6 -> 1, x = 1.5 (code 3, an end) -> 1, x = 7.0 (code 14, clipped) -> 0.
    """
    raise NotImplementedError("TODO 5.2: write ste_gradient here, then run this again. A hint: tinyquant hint 5.2")


check("5.2", ste_gradient)

# %% [markdown]
# ## An experiment: a network that learns through your stairs
#
# Two layers, 64 to 32 to 10, for the digits, from random weights; forward and backward written out in numpy.
# Its weights go through your `fake_quantize` with 3 bits on the way forward, and their gradients through a
# function on the way back: the true derivative, yours, or one that passes everything. Biases are not rounded.

# %%
GRID = {"scale": 0.25, "zero_point": 0, "qmin": -3, "qmax": 3}
(x, y), (xt, yt) = tq.data.digits(split=0)
x, xt = x.reshape(-1, 64).astype(np.float64), xt.reshape(-1, 64).astype(np.float64)


def true_derivative(upstream, weight, **grid):
    """Stairs are flat."""
    return 0.0 * upstream


def no_mask(upstream, weight, **grid):
    """Passes everything, what was clipped too."""
    return upstream


def train(gradient, epochs=15, rate=0.2):
    """The two weights before and after training, and how many of 450 test images are right."""
    rng = np.random.default_rng(0)
    w1, w2, b1, b2 = rng.normal(0, 0.2, (64, 32)), rng.normal(0, 0.2, (32, 10)), np.zeros(32), np.zeros(10)
    before = [w1, w2]
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(x)), 21):
            q1, q2 = fake_quantize(w1, **GRID), fake_quantize(w2, **GRID)  # the forward pass feels the rounding
            hidden = np.maximum(x[rows] @ q1 + b1, 0)
            said = np.exp(hidden @ q2 + b2)
            said /= said.sum(axis=1, keepdims=True)
            error = (said - np.eye(10)[y[rows]]) / len(rows)  # the slope of the cross-entropy
            below = (error @ q2.T) * (hidden > 0)
            w2 = w2 - rate * gradient(hidden.T @ error, w2, **GRID)  # the backward pass meets the stairs
            w1 = w1 - rate * gradient(x[rows].T @ below, w1, **GRID)
            b1, b2 = b1 - rate * below.sum(axis=0), b2 - rate * error.sum(axis=0)
    hidden = np.maximum(xt @ fake_quantize(w1, **GRID) + b1, 0)
    right = np.sum((hidden @ fake_quantize(w2, **GRID) + b2).argmax(axis=1) == yt)
    return before, [w1, w2], int(right)


for name, gradient in (("true derivative", true_derivative), ("your STE", ste_gradient), ("no mask", no_mask)):
    before, after, right = train(gradient)
    changed = sum(int(np.sum(a != b)) for a, b in zip(before, after))
    largest = max(np.abs(w).max() for w in after)
    print(f"{name:16} {changed:5} weights changed, {right} of 450 right, largest weight {largest:.2f}")

# %% [markdown]
# With the true derivative the weights stay as they were drawn, and only biases learn. With yours the network
# learns. Without the mask it does as well here: a weight beyond the last code is clipped to it anyway. The
# mask tells it to stop there.
#
# ## 5.3 Stretch: a scale that learns
#
# LSQ ("learned step size quantization", Esser et al. 2020) trains the scale like a weight. With zero point 0
# the forward is scale * clip(round(x / scale), qmin, qmax). Inside, by the STE, its slope in the scale is
# round(x / scale) - x / scale; where x is clipped it is the end code, qmin or qmax. One scale serves all of
# x, so the gradients of all its numbers add up.


# %%
def scale_gradient(upstream, x, scale, qmin, qmax):
    """The gradient of the scale: one float, the sum over x of upstream times the slope.

    upstream and x are float arrays of one shape. scale 0.5, codes -3 to 3, upstream 1:
    x = 0.6 -> round(1.2) - 1.2 = -0.2, x = 7.0 -> 3, x = -7.0 -> -3; of all three together -0.2.
    """
    raise NotImplementedError("TODO 5.3: write scale_gradient here, then run this again. A hint: tinyquant hint 5.3")


check("5.3", scale_gradient)

# %% [markdown]
# ## 5.4 Find the bug
#
# A widespread fake quantization was rounding, then `clamp`, and took clamp's own gradient for the mask. In
# 2026 PyTorch changed that gradient, exactly at the ends only. Training with quantization broke, without an
# error (pytorch/ao#4806). This is what it became:


# %%
def gradient_of_clamp(upstream, x, scale, zero_point, qmin=-128, qmax=127):
    """The gradient of clamp(round(x / scale) + zero_point, qmin, qmax). Do not mend it: find where it goes wrong."""
    codes = np.round(x / scale) + zero_point
    return np.where((codes > qmin) & (codes < qmax), upstream, 0.0)


# %%
def counterexample():
    """An input on which gradient_of_clamp breaks the law "the gradient passes inside, ends included".

    Return a dict: {"x": [one number or several], "scale": ..., "zero_point": ...}.
    """
    raise NotImplementedError("TODO 5.4: write counterexample here, then run this again. A hint: tinyquant hint 5.4")


check("5.4", counterexample)

# %% [markdown]
# ## What to remember
#
# - Fake quantization is there and back: the error of inference, in training, in floats.
# - Stairs have slope 0 and teach nothing; the STE passes the gradient where nothing was clipped, ends included.
# - Only the gradient is pretended: what the network computes is exactly what its codes stand for.
#
# | yours | tinyquant | PyTorch | TFLite |
# |---|---|---|---|
# | `fake_quantize` | `tq.fake_quantize(x, qp)` | `fake_quantize_per_tensor_affine` | `fake_quant_with_min_max_vars` |
# | `ste_gradient` | its backward | its backward | its gradient |
# | `scale_gradient` | `quantize_model(..., ranges="learn")` | `_LearnableFakeQuantize` | |
