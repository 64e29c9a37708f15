# %% [markdown]
# # 05 Tell the network: the STE and QAT
#
# After training nobody can undo the rounding; told about it *during* training, a network learns weights that
# round well.

# %%
import copy

import numpy as np

import tinyquant as tq
from tinyquant.analysis.error_budget import error_budget
from tinyquant.analysis.resilience import resilience
from tinyquant.autograd import linear, relu
from tinyquant.checkpoints.families import load_digits_family, weights_scheme
from tinyquant.labs import predict, reveal, show

# %% [markdown]
# ## Predict
#
# Change the last argument to your own guess, or to `None`.

# %%
predict("5.a", "Of 2,368 rounded weights, how many does plain backpropagation change?", 2000)
sources = "rounding or clipping of weights or activations, bias rounding, requantization, lookup tables"
predict("5.b", f"Which source of error costs most at few bits: {sources}?", "activation rounding")
predict("5.c", "Shaken at random, which loses less, float-trained or QAT-trained (or neither)?", "QAT-trained")

# %% [markdown]
# ## See
#
# To *fake-quantize* is to round to the grid and stay in floats: the network feels the error while it learns.
# The lecture puts that into the training and leaves out one thing: backpropagation multiplies by slopes, and
# the slope of a stair is 0.

# %%
few = tq.choose_qparams(-0.8, 1.3, bits=3)
show(tq.plot.ste(few), "05_ste")

# %% [markdown]
# The *straight-through estimator* (STE; Bengio, Leonard and Courville 2013) takes the stairs for the line they
# follow: the gradient passes where the code lies in its range, the two end codes included, and is 0 where the
# value was clipped.

# %%
ends = np.array([2 * few.rmin, few.rmin, 0.1, few.rmax, 2 * few.rmax], np.float32)
x = tq.Tensor(ends, requires_grad=True)
tq.fake_quantize(x, few).sum().backward()
print("codes   ", tq.quantize(ends, few).tolist())
print("gradient", x.grad.tolist())

# %% [markdown]
# ## The true derivative teaches nothing
#
# A trained perceptron for digits (64 inputs, 32 hidden, 10 outputs) is trained on, its weights rounded to 3 bits
# in the forward pass: once with the true derivative, 0, once with the STE. Biases are not rounded here.

# %%
(x, y), (xt, yt) = tq.data.digits(split=0)
family = load_digits_family().members  # eight perceptrons that differ in their random numbers only
settings = {"epochs": 10, "lr": 1e-3, "batch_size": 64, "schedule": "cosine"}


class Perceptron(tq.nn.Module):
    """A copy of a trained perceptron whose weights go through a function on their way."""

    def __init__(self, trained, on_weight):
        self.fc1, self.head = copy.deepcopy(trained.fc1), copy.deepcopy(trained.head)
        self.on_weight = on_weight

    def forward(self, x):
        x = relu(linear(x.reshape(x.shape[0], 64), self.on_weight(self.fc1.weight), self.fc1.bias))
        return linear(x, self.on_weight(self.head.weight), self.head.bias)

    def weights(self):
        return np.concatenate([self.fc1.weight.data.ravel(), self.head.weight.data.ravel()])


def grid_of(weight):
    """Three bits, a scale for each output: codes -3 to 3."""
    reach = np.abs(weight.data).max(axis=1)
    return tq.choose_qparams(-reach, reach, bits=3, symmetric=True, narrow_range=True, axis=0)


def true_derivative(weight):
    return tq.Tensor(tq.fake_quantize(weight.data, grid_of(weight)))  # a constant: no gradient flows back


def ste(weight):
    return tq.fake_quantize(weight, grid_of(weight))


# %% tags=["varies"]
changed = {}
for how in (true_derivative, ste):
    network = Perceptron(family[1].trained, how)
    before, bias = network.weights(), network.fc1.bias.data.copy()
    tq.fit(network, x, y, **settings)
    changed[how.__name__] = int(np.sum(network.weights() != before))
    print(f"{how.__name__}: {changed[how.__name__]} of {before.size} weights changed,", end=" ")
    print(f"biases changed: {bool(np.any(network.fc1.bias.data != bias))}")
reveal("5.a", changed["true_derivative"])
assert changed["true_derivative"] == 0 and changed["ste"] > 1000  # 2,099 here

# %% [markdown]
# No weight moves. What is left to learn with are the biases, which do not go through the stairs.
#
# ## What `quantize_model` inserts
#
# The package does to every layer what you saw, and to activations and biases too. Orange is new: rounding of
# the weights on the left, of the bias to 32 bits on the right, of what flows in between.

# %%
trained = family[1].trained
seen = tq.calibrate(trained, x[:512])
ptq = tq.quantize_model(trained, seen, scheme=weights_scheme(3))
show(tq.plot.network(seen.graph, ptq), "05_network")

# %% [markdown]
# ## Seven sources of error
#
# Each source is switched on alone, with 3 bits for weights and 4 for activations, so that most of them cost
# something. Points of accuracy do not simply add up: what is left over is the interaction.

# %% tags=["varies"]
few_bits = tq.quantize_model(trained, seen, scheme=weights_scheme(3).replace(activation_bits=4))
budget = error_budget(few_bits, xt, yt, by_layer=False)
show(tq.plot.budget_waterfall(budget, float_accuracy=tq.evaluate(trained, xt, yt)), "05_budget")
biggest = max(budget.alone, key=lambda source: budget.alone[source].error)
reveal("5.b", biggest)
shares = {source: share.error / budget.total.error for source, share in budget.alone.items()}
print(", ".join(f"{source} {100 * share:.0f} %" for source, share in shares.items() if share > 0.01), "of the squared error")
# By squared error, which is smooth, it leads by four to one; points of accuracy are whole images.
assert biggest == "weight rounding"

# %% [markdown]
# ## PTQ and QAT, live
#
# PTQ is QAT with no training. Ten epochs with the rounding in the graph, then `convert`, and the integers must be
# what training saw:

# %% tags=["varies"]
qat = tq.quantize_model(trained, seen, scheme=weights_scheme(3))
tq.fit(qat, x, y, **settings)
right = {name: round(450 * tq.evaluate(model, xt, yt)) for name, model in
         (("float", trained), ("PTQ, 3 bits", ptq), ("QAT, 3 bits", qat))}  # fmt: skip
print(", ".join(f"{name}: {count} of 450 right" for name, count in right.items()))
qat.exact = True
trained_codes = qat.trace_codes(xt)
integers = tq.convert(qat).trace(tq.quantize(xt, qat.qparams["input"]))
differ = sum(int(np.sum(trained_codes[name] != integers[name])) for name in integers)
print(f"{sum(array.size for array in integers.values()):,} codes compared, {differ} differ")
assert differ == 0
assert right["QAT, 3 bits"] - right["PTQ, 3 bits"] >= 5  # 10 to 13, tried with four kinds of BLAS

# %% [markdown]
# ## Is it noise?
#
# Rounding is often called noise of up to half a step. If it were, training with *random* noise of that size would
# do as well. Four networks each way; the last column shakes every weight by up to half a step, ten times.

# %% tags=["varies"]
rng = np.random.default_rng(0)


def noise(weight):
    step = grid_of(weight).scale[:, None]
    return weight + tq.Tensor((rng.uniform(-0.5, 0.5, weight.shape) * step).astype(np.float32))


def nothing(weight):
    return weight


print("trained on with     rounded   not rounded   shaken   (right of 450, mean of 4)")
table = {}
for how in (nothing, noise, ste):
    rows = []
    for seed, member in enumerate(family[:4]):
        network = Perceptron(member.trained, how)
        tq.fit(network, x, y, seed=seed, **settings)
        shown = []
        for test, times in ((ste, 1), (nothing, 1), (noise, 10)):
            network.on_weight = test
            shown.append(450 * np.mean([tq.evaluate(network, xt, yt) for _ in range(times)]))
        rows.append(shown)
    table[how.__name__] = np.mean(rows, axis=0)
    print("{:17} {:8.1f} {:13.1f} {:8.1f}".format(how.__name__, *table[how.__name__]))
# 11 images here, and the same with four kinds of BLAS: a mean of four trainings.
assert table["ste"][0] - max(table["noise"][0], table["nothing"][0]) > 5
assert table["ste"][2] < table["nothing"][2]

# %% [markdown]
# Rounding is no noise: it does the same to the same weight each time, and QAT learns *these* stairs. Not rounded,
# or shaken, its weights do worse than the others. Eight networks each, nothing rounded, more and more noise:

# %% tags=["varies"]
steps = (0, 0.5, 1, 1.5, 2)
shaken = {"float-trained": [], "QAT-trained": []}
for member in family:
    pair = {"float-trained": member.ptq(3, of_longer=True), "QAT-trained": member.qat[3]}
    for name, found in resilience(pair, xt, yt, steps=steps, draws=2).accuracies.items():
        shaken[name].append(found.mean(axis=0))
title = "Shaken, both lose the same: QAT does not toughen"
show(tq.plot.resilience_curves(steps, shaken, step="steps of its 3 bits", title=title), "05_resilience")
lost = {name: 100 * np.mean([row[0] - row[1] for row in rows]) for name, rows in shaken.items()}
print("lost to half a step of noise: " + ", ".join(f"{name} {points:.1f} points" for name, points in lost.items()))
reveal("5.c", "neither")
# 2.7 and 3.0 here: networks that travel with the package, in floats.
assert abs(lost["float-trained"] - lost["QAT-trained"]) < 1.5

# %% [markdown]
# At 8 bits the two lines lie on each other (`tinyquant figures resilience`). QAT makes a network fit for its own
# rounding, not tough in general.
#
# ## How fast, and from when on?
#
# Half of the test images choose, the other half is looked at once, for the chosen one.

# %% tags=["varies"]
scores = {}
print("right of 225     lr 1e-4   lr 1e-3   lr 1e-2")
for start in (0, 5, 9):
    for lr in (1e-4, 1e-3, 1e-2):
        fq = tq.quantize_model(trained, seen, scheme=weights_scheme(3), delay=22 * start)  # 22 batches an epoch
        tq.fit(fq, x, y, **{**settings, "lr": lr})
        scores[start, lr] = tuple(round(225 * tq.evaluate(fq, xt[h], yt[h])) for h in (slice(225), slice(225, None)))
    print(f"from epoch {start}    " + "".join(f"{scores[start, lr][0]:10}" for lr in (1e-4, 1e-3, 1e-2)))
best = max(scores, key=lambda key: scores[key][0])
print(f"chosen: from epoch {best[0]}, lr {best[1]:.0e}; on the other half {scores[best][1]} of 225")
# One epoch of rounding out of ten is too late: 11 to 14 images less over three rates, with four kinds of BLAS.
late, early = (sum(scores[start, lr][0] for lr in (1e-4, 1e-3, 1e-2)) for start in (9, 0))
assert early > late

# %% [markdown]
# Cells that differ by a few images are the same within luck. One epoch of rounding is too few at lr 1e-3; where
# training has settled by then (the schedule leaves the last epoch hardly any rate) it comes too late.
#
# ## Your turn
#
# `tinyquant lab start 5`, then `tinyquant check`: 5.1 `fake_quantize`, 5.2 `ste_gradient`, and as a stretch 5.3
# `scale_gradient`, which lets a network learn its scale. At the end your two functions train a network.

# %% [markdown]
# ## Find the bug
#
# In 2026 PyTorch changed the gradient of `clamp` *at* its ends from 1 to 0. For ordinary numbers that is a matter
# of taste; but a rounded value that is not clipped can lie exactly on an end, and fake-quantization was built on
# `clamp`: these weights stopped learning, without an error (pytorch/ao#4806). How many lie on the ends, and what
# it does to one that should leave them:

# %%
for bits in (8, 4, 3, 2):
    node = tq.quantize_model(trained, seen, scheme=weights_scheme(bits)).nodes["fc1"]
    code = tq.quantize(node.params()["weight"].data, node.weight_qparams).astype(int)
    print(f"{bits} bits: {100 * np.mean(np.abs(code) == node.weight_qparams.qmax):4.1f} % of the weights are on an end code")

on_grid = tq.QParams(0.25, 0, -3, 3)
for name, is_inside in (("ends included", np.less_equal), ("ends left out", np.less)):
    weight, path = 0.75, []
    for _ in range(6):  # pull it towards 0.25
        error = float(tq.fake_quantize(np.array(weight), on_grid)) - 0.25
        weight -= 0.25 * error * bool(is_inside(abs(round(weight / 0.25)), 3))
        path.append(weight)
    print(name, path)

# %% [markdown]
# ## What to remember
#
# - Stairs have slope 0: plain backpropagation changes no weight. The STE passes the gradient where nothing was
#   clipped, ends included.
# - QAT is PTQ plus training; its error is the rounding itself, the same each time, not noise.
# - With `exact`, what training sees is what the integers do, code for code.
#
# ## In PyTorch and TFLite
#
# | here | PyTorch | TFLite |
# |---|---|---|
# | `fake_quantize` | `fake_quantize_per_tensor_affine` (ties to even) | `fake_quant_with_min_max_vars` |
# | the STE's mask | the same, ends included | the same |
# | `quantize_model`, then `fit` | `prepare_qat`, then your loop | `tfmot.quantization.keras.quantize_model` |
# | `delay` | `enable_fake_quant` after some epochs | `quant_delay` |
# | `convert` | `torch.ao.quantization.convert` | `TFLiteConverter.convert` |
# | learned scales, `ranges="learn"` | `_LearnableFakeQuantize` | |
