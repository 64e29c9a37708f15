# %% [markdown]
# # 02 Where the error comes from, and rounding is a decision
#
# Quantization errs in two ways, by rounding and by clipping: the first has a bound, the second has none, and
# where a number lies exactly between two codes somebody has decided for you.

# %%
import numpy as np

import tinyquant as tq
from tinyquant.analysis.metrics import sqnr_db
from tinyquant.labs import predict, reveal, show

# %% [markdown]
# ## Predict
#
# Change the last argument to your own guess, or to `None`. A *tie* is a number exactly between two codes. A
# *pool* puts one number, here the mean, in the place of several.

# %%
predict("2.a", "Of 100 pixels of the digits, how many are ties where a step is 1/8?", 1)
predict("2.b", "A pool cuts fractions off instead of rounding. How many of 450 digits change?", 10)

# %% [markdown]
# ## See
#
# Eight codes. Within the range the error is a saw whose teeth are half a step high. Outside, the last code is
# all there is, and the error grows as far as the number does.

# %%
qp = tq.choose_qparams(-0.8, 1.3, bits=3)
show(tq.plot.staircase(qp), "02_staircase")
for x in (0.70, 1.30, 3.00):
    back = float(tq.fake_quantize(np.array(x), qp))
    print(f"{x:.2f} comes back as {back:.2f}, {abs(back - x) / qp.scale:.2f} steps off")

# %% [markdown]
# ## Rounding: half a step, evenly spread
#
# Trained weights are a smooth heap of numbers, so within a step they may lie anywhere. If every error from -1/2
# to +1/2 step is equally likely, its *mean square* is 1/12 of a step squared. Both are true of 36,864 weights
# at 6 bits:

# %%
weights = tq.models.load_checkpoint("resnet").block3.conv2.weight.data.astype(np.float64)


def grid(bits, share=1.0):
    """A map whose range reaches to a share of the largest weight, on both sides."""
    reach = share * float(np.abs(weights).max())
    return tq.choose_qparams(-reach, reach, bits=bits, symmetric=True, narrow_range=True)


qp = grid(6)
error = (tq.fake_quantize(weights, qp) - weights) / qp.scale
shares, _ = np.histogram(error, bins=10, range=(-0.5, 0.5))
print(f"{weights.size:,} weights, each in one of {qp.qmax - qp.qmin + 1} codes")
print("percent of the errors in each tenth of a step:", *(f"{100 * share / error.size:.1f}" for share in shares))
print(f"mean square times 12: {12 * np.mean(error**2):.3f}")
assert np.abs(error).max() <= 0.5 + 1e-4  # float32 adds a little

# %% [markdown]
# ## One bit more is 6 dB
#
# Another bit makes a step half as wide, so the error is halved too: 20 log10(2), or 6 decibels. *SQNR* is the
# size of the signal over the size of the error, on that scale. With few bits a step shrinks by more than half (3
# steps on a side become 7, then 15), so a bit is worth more than 6 dB at first. And at 2 bits nearly all weights
# are nearer to 0 than half a step: that is no even spread any more.

# %%
print(f"half the error: 20 log10(2) = {20 * np.log10(2):.2f} dB")
print("bits   step     12 * mean square   SQNR in dB    more")
before = None
for bits in (2, 3, 4, 5, 6, 7, 8, 9, 10):
    qp = grid(bits)
    back = tq.fake_quantize(weights, qp)
    found, spread = sqnr_db(weights, back), 12 * np.mean(((back - weights) / qp.scale) ** 2)
    more = "" if before is None else f"{found - before:+.2f}"
    print(f"{bits:>4}   {qp.scale:.5f}   {spread:>16.2f}   {found:>10.2f}   {more:>5}".rstrip())
    before = found

# %% [markdown]
# ## Clipping: no bound
#
# Nothing was clipped so far: the range reached to the largest weight. Cut it at 4 bits, and the steps get
# finer, while what lies beyond is pulled in. Clipping is the distance to the end of the range; rounding is the
# rest.

# %%
print("range cut to   rounding   clipping   both (mean square, in millionths)")
for share in (1.0, 0.7, 0.5, 0.35, 0.2):
    qp = grid(4, share)
    error = tq.fake_quantize(weights, qp) - weights
    clipping = np.clip(weights, qp.rmin, qp.rmax) - weights
    parts = [1e6 * np.mean(part**2) for part in (error - clipping, clipping, error)]
    print(f"{share:>12.2f}   {parts[0]:>8.1f}   {parts[1]:>8.1f}   {parts[2]:>8.1f}")

# %% [markdown]
# Half the range has a third of the error. Sitting 3 looks for the best cut.
#
# ## A tie is a decision
#
# "To the nearest" says nothing of two and a half. So a rule has a name, and each of these is some tool's:
# half_away TFLite's, half_even numpy's and PyTorch's, toward_zero what a cast to an integer does.

# %%
show(tq.plot.rounding_modes(), "02_rounding_modes")

# %% [markdown]
# Are ties rare? Of real numbers, yes. But what gets quantized often counts in steps already: pixels, sums of
# codes. A digit's pixel is a multiple of 1/16, so on steps of 1/8 it is a whole number or a tie.

# %%
_, (images, labels) = tq.data.digits(split=0)
steps = images.astype(np.float64) / (1 / 8)
tie = steps % 1 == 0.5
reveal("2.a", round(100 * float(tie.mean()), 1))
away = tq.round_to_int(steps, "half_away")
for mode in ("half_away", "half_even", "half_up", "floor"):
    rounded = tq.round_to_int(steps, mode)
    other = 100 * np.mean(rounded != away)
    print(f"{mode:<10} mean shift {np.mean(rounded - steps):+.4f} steps, {other:4.1f} % other codes than half_away")

# %% [markdown]
# On pixels, which are never negative, half_away is half_up: every tie goes up, the picture gets brighter, and
# no averaging takes that away again. half_even sends ties both ways.
#
# A tie can also be made or lost before anybody rounds. Pixel 0.5 on 255 steps is 127.5, a tie. With the scale
# as a float32 number it is not one any more, and the code is another (tensorflow/model-optimization#858 is a
# zero point that went that way):

# %%
for kind in (np.float64, np.float32):
    quotient = kind(0.5) / kind(1 / 255)
    print(f"{kind.__name__}: {quotient:.5f} becomes {int(tq.round_to_int(quotient))}")
print(f"{100 * np.mean(images == 0.5):.1f} % of all pixels are 0.5")

# %% [markdown]
# ## Round first, then add the zero point
#
# round(x / scale) + z and round(x / scale + z) look alike. They part on ties: an odd z turns an even neighbour
# into an odd one, and a negative z takes a number to the other side of 0, where "away from 0" points the other
# way.

# %%
print("codes that differ, in percent of the pixels:")
for mode in ("half_even", "half_away", "half_up"):
    row = []
    for zero in (0, -4, -3):
        parted = tq.round_to_int(steps, mode) + zero != tq.round_to_int(steps + zero, mode)
        row.append(f"zero point {zero}: {100 * np.mean(parted):4.1f}")
    print(f"{mode:<10}", ",  ".join(row))

# %% [markdown]
# With half_even and an odd zero point *every* tie goes the other way. So the order is part of the rule, and
# here it is: round, then add.
#
# ## Your turn
#
# `tinyquant lab start 2` copies the exercises into a folder of yours; `tinyquant check` says how they do. In
# the experiment your own function says how much of the error of trained weights is clipping.
#
# | exercise | you write | |
# |---|---|---|
# | 2.1 | `split_error(x, scale, zero_point, qmin, qmax)` | rounding or clipping? |
# | 2.2 | `round_half_away(x)` | ties away from zero |
# | 2.3 | `tie_breaker(mode_a, mode_b)` | stretch: a number that tells two rules apart |
# | 2.4 | `counterexample()` | the bug below, after its first repair |
#
# ## Find the bug
#
# The mean of codes is no code, so a pool must round. Code that forgets it looks right all the same: a cast cuts
# the fraction off. In [apache/tvm#20298](https://github.com/apache/tvm/pull/20298) it is "a systematic bias,
# wrong on about half of all inputs"; a published lab casts its pool with `.to(int8)`. Here is a network with a
# pool of four codes before its last layer; its means are taken before they are rounded. (As in sitting 4 the
# ranges are cut to two decimals, so that your integers are these integers.)

# %%
(x, _), _ = tq.data.digits(split=0)
network = tq.models.load_checkpoint("resnet")
seen = tq.calibrate(network, x[:512])
scheme = tq.schemes.TFLITE_INT8
for node in tq.convert(tq.quantize_model(network, seen)).graph:
    if node.op in ("CONV_2D", "ADD", "FULLY_CONNECTED"):
        low, high = (round(end, 2) for end in seen.range((node.name, *node.absorbed)[-1]))
        scheme = scheme.annotate(node.name, calibration="fixed", fixed_range=(low, high))
m = tq.convert(tq.quantize_model(network, seen, scheme=scheme))

trace = m.trace(tq.quantize(images, m.inputs[0].qparams))
means = trace["block3.add"].astype(np.float64).mean(axis=(1, 2))
right = trace["head"].argmax(axis=1)
ties, negative = np.mean(means % 1 == 0.5), np.mean(trace["block3.add"] < 0)
print(f"{100 * ties:.0f} % of the means are ties, {100 * negative:.0f} % of the codes negative")
for mode in ("half_away", "half_even", "floor", "toward_zero"):
    pooled = tq.round_to_int(means, mode).astype(np.int8)
    moved = int(np.sum(m.run_node("head", pooled).argmax(axis=1) != right))
    other = 100 * np.mean(pooled != trace["pool"])
    print(f"{mode:<12} mean shift {np.mean(pooled - means):+.2f} steps, {other:4.1f} % other codes, {moved} digits change")
    if mode == "toward_zero":
        reveal("2.b", moved)

# %% [markdown]
# The bias is there, and at 8 bits it costs nothing: over a quarter of a step is a quarter of very little. That is why
# nobody notices. Give this pool alone 2 bits, and a step is a third of the range:

# %% tags=["varies"]
with tq.no_grad():
    z = tq.Tensor(images)
    for block in (network.stem, network.block1, network.block2, network.block3):
        z = block(z)
    qp = tq.choose_qparams(0.0, float(z.data.max()), bits=2)
    means = tq.quantize(z.data, qp).astype(np.float64).mean(axis=(1, 2))
    count = {}
    for mode in ("half_away", "floor", "toward_zero"):
        features = qp.scale * (tq.round_to_int(means, mode) - qp.zero_point)
        said = network.head(tq.Tensor(features.astype(np.float32))).data.argmax(axis=1)
        count[mode] = int(np.sum(said == labels))
        print(f"2 bits, {mode:<12} {count[mode]} of 450 right")
# Floats of another processor move a code here and there; the differences are 86 and 22 images, half of that is room enough.
assert count["floor"] < count["half_away"] - 43 and count["toward_zero"] > count["half_away"] + 11

# %% [markdown]
# One bias costs dozens of images; the other *wins* some, because codes are negative here, and cutting them off
# rounds up: weak features survive that would have become 0. Luck whose sign depends on the zero point is not a
# rounding rule.
#
# The usual repair, add a half and then cut, is right for codes from 0 to 255. The last exercise asks what it
# does to int8.
#
# ## What to remember
#
# - Rounding errs by at most half a step, evenly spread; a bit more is 6 dB. Clipping has no bound.
# - Ties are common where numbers count steps already. A rounding rule has a name; round, then add the zero
#   point.
# - A bias does not average out, and at 8 bits it can hide: measure the mean shift, not only the accuracy.
#
# ## In PyTorch and TFLite
#
# | here | PyTorch | TFLite |
# |---|---|---|
# | `round_to_int(x, "half_away")` | none; `torch.round` is half_even | C's `round`, in QUANTIZE |
# | `round_to_int(x, "half_even")` | `torch.round`; `quantize_per_tensor`, after adding the zero point | - |
# | `round_to_int(x, "toward_zero")` | `.to(torch.int8)` of a float | a C cast, C's division of integers |
# | the pool, half_away of the codes | `torch.ao.nn.quantized.functional.avg_pool2d` | `AVERAGE_POOL_2D` |
# | `sqnr_db` | `torch.ao.ns.fx.utils.compute_sqnr` | `QuantizationDebugger` |
