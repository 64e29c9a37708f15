# %% [markdown]
# # 04 One multiply-accumulate, all integers
#
# A chip without a float unit runs a network fast only if every number on the way is a whole number: here you
# follow one of them, and then all of them.

# %%
import numpy as np

import tinyquant as tq
from tinyquant.labs import predict, reveal, show

# %% [markdown]
# ## Predict
#
# Change the last argument to your own guess, or to `None`.

# %%
predict("4.a", "What does numpy say to int8 [100] @ int8 [100]?", 10000)
predict("4.b", "Of 28,800 codes of a layer, how many change if it rounds once in place of twice?", 1000)

# %% [markdown]
# ## See
#
# A trained network for 8x8 digits, made into integers: 64 inputs, two hidden layers, ten outputs. The figure
# follows one output of the last layer: integers in black, the real numbers they stand for in blue.
#
# (The ranges are cut to two decimals: a float sum may end in another last digit on your processor, and the
# integers below shall be the same for you.)

# %%
(x, _), (xt, yt) = tq.data.digits(split=0)
network = tq.models.load_checkpoint("mlp")
seen = tq.calibrate(network, x[:512])

scheme = tq.schemes.TFLITE_INT8
for name, watched in (("fc1", "relu1"), ("fc2", "relu2"), ("head", "head")):
    low, high = (round(end, 2) for end in seen.range(watched))
    scheme = scheme.annotate(name, calibration="fixed", fixed_range=(low, high))
fq = tq.quantize_model(network, seen, scheme=scheme)
m = tq.convert(fq)

codes = tq.quantize(xt, m.inputs[0].qparams)  # pixels to int8: the last real numbers on the way
said = int(m.run(codes[:1]).argmax())
why = tq.explain(m, codes[:1], "head", (0, said))
show(tq.plot.multiply_accumulate(why), "04_multiply_accumulate")

# %% [markdown]
# The same in words. Each step is computed again in Python's whole numbers, and must end in the code that the
# network gave.

# %%
print(why)

# %% [markdown]
# ## Widen first
#
# Box 2 holds products of 16 bits, box 3 a sum of 32. Numpy does not widen by itself: int8 times int8 stays
# int8, and what does not fit is cut off without a word. A compiler for graphics cards did the same to the
# two matrices below (triton-lang/triton#2296).

# %%
hundred = np.array([100], np.int8)
reveal("4.a", int(hundred @ hundred))
print(f"100 * 100 = {100 * 100} = 39 * 256 + {100 * 100 - 39 * 256}")

a, b = np.int8([[-44, -20], [-126, 6]]), np.int8([[24, -75], [127, -101]])
for left in (a, a.astype(np.int32)):
    print(f"{left.dtype} @ int8 = {(left @ b).tolist()}, {(left @ b).dtype}")

largest = 255 * 127  # a centred input code times a weight
print(f"int32 holds a sum of {2**31 // largest:,} products of {largest:,}")
print(f"float32 counts exactly to {2**24:,}, a sum of {2**24 // largest}")

# %% [markdown]
# ## Where the zero points go
#
# A code means scale * (code - zero point), so it is the *centred* codes that are multiplied. Multiplied out,
# that is the plain product of the codes and three corrections, the last with a plus:
#
#     sum (x - zx)(w - zw)  =  sum x w  -  zx sum w  -  zw sum x  +  n zx zw

# %%
row, weights = (np.array(why.data["products"][key]) for key in ("codes", "weights"))
zx, zw = -128, 3  # TFLite's weights have zero point 0; pretend for a moment that it were 3
terms = [int(row @ weights), -zx * int(weights.sum()), -zw * int(row.sum()), len(row) * zx * zw]
print("centred first:  ", int((row - zx) @ (weights - zw)))
print("corrected after:", " + ".join(f"({term})" for term in terms), "=", sum(terms))
print("with zw = 0 one correction stays,", terms[1], "for every image: it is added to the bias beforehand")

# %% [markdown]
# ## A real number as a multiplier and a shift
#
# The sum counts in units of S_x * S_w, the output in units of S_y. Between them lies a real number. It is
# written as an integer of 31 bits and a power of two, once, at the desk; the chip gets the two integers.

# %%
head = m.graph.node("head")
real = m.graph.value("fc2").qparams.scale * head.param_qparams["weight"].scale[said] / head.qparams.scale
multiplier, shift = tq.quantize_multiplier(real)
error = abs(multiplier * 2.0 ** (shift - 31) / real - 1)
print(f"{real:.12f} = {multiplier} * 2**({shift} - 31), with a relative error of {error:.0e}")
assert 2**30 <= multiplier < 2**31  # all 31 bits are used

# %% [markdown]
# ## Round once, or twice
#
# TensorFlow Lite Micro multiplies, keeps the upper half and rounds; then it shifts and rounds again (the two
# diamonds of the figure). The second rounding does not know what the first one did. A user's case of 2019,
# tensorflow/tensorflow#25087:

# %%
acc, multiplier, shift = 7984, 1583594044, -9
upper = (acc * multiplier + 2**30) // 2**31
print(f"exact       {acc * multiplier / 2**40:.6f}")
print(f"upper half  {acc * multiplier / 2**31:.3f}, rounded {upper}")
print(f"shift       {upper / 2**9:.1f}, rounded {int(tq.round_to_int(upper / 2**9, 'half_away'))}")
for mode in ("double_rounding", "single_rounding"):
    print(f"tq.requantize, {mode}: {tq.requantize([acc], multiplier, shift, mode=mode)[0]}")

# %% [markdown]
# How often? The two part when the first rounding lands exactly on a half of the second, one number in 2^n
# for a shift right by n, *and* came from below it, every other time: 2^-(n+1). Counted on a million sums:

# %%
sums = np.arange(1_000_000)
for n in (1, 2, 4, 8, 10):
    twice = tq.requantize(sums, multiplier, -n, mode="double_rounding")
    once = tq.requantize(sums, multiplier, -n, mode="single_rounding")
    print(f"shift {n:2}: {np.sum(twice != once):7,} differ, the law says {1e6 / 2 ** (n + 1):9,.0f}")
    assert np.abs(twice - once).max() == 1  # never by more than one code

# %% [markdown]
# ## A whole layer, a whole network
#
# The layer of 64 outputs on all 450 test images, in integer arithmetic. With two roundings every code is the
# chip's; with one, a few are one off, and equal those of `litert_ref`, a runtime that rounds this layer once.

# %%
node = m.graph.node("fc1")
centred = codes.reshape(450, 64).astype(np.int32) - (-128)
total = centred @ node.params["weight"].T.astype(np.int32) + node.params["bias"]
real = m.inputs[0].qparams.scale * node.param_qparams["weight"].scale / node.qparams.scale
multipliers, shifts = tq.quantize_multiplier(real)  # one a channel
chip, other = (m.trace(codes, dialect=dialect)["fc1"] for dialect in ("tflm", "litert_ref"))
for mode in ("double_rounding", "single_rounding"):
    layer = np.clip(tq.requantize(total, multipliers, shifts, mode=mode) + (-128), -128, 127)
    parted = f"{np.sum(layer != chip)} differ from the chip's, {np.sum(layer != other)} from litert_ref's"
    print(f"{mode}: of {layer.size:,} codes {parted}")
reveal("4.b", int(np.sum(layer != chip)))

# %% [markdown]
# Training (sitting 5) computes in floats and rounds once, so it too parts from the chip now and then. Where
# that matters, `exact` makes it compute what the chip computes: every code of every layer must be equal.

# %%
chip = m.trace(codes)
fq.exact = True
trained = fq.trace_codes(xt)
differ = sum(int(np.sum(trained[name] != chip[name])) for name in chip)
print(f"compared {sum(array.size for array in chip.values()):,} codes of {', '.join(chip)}: {differ} differ")
print(f"{np.sum(chip['head'].argmax(axis=1) == yt)} of {len(yt)} images right, in whole numbers from pixel to answer")
assert all(np.array_equal(trained[name], chip[name]) for name in chip)

# %% tags=["varies"]
fq.exact = False
differ = int(np.sum(fq.trace_codes(xt)["fc1"] != chip["fc1"]))
print(f"without exact, in floats: {differ} codes of fc1 differ from the chip's")
# The 20 of one rounding, and what float32 moves: it errs by some 1e-4 of a step, so about 6 codes of 28,800.
assert 10 <= differ <= 30

# %% [markdown]
# ## Your turn
#
# `tinyquant lab start 4`, then `tinyquant check`: 4.1 `centred_dot`, 4.2 `requantize`, and as a stretch 4.3
# `integer_layer`. At the end your own functions run the layer `fc1` on 100 digits.

# %% [markdown]
# ## Find the bug
#
# Exercise 4.4 asks for numbers on which two roundings miss the nearest whole number. It is no slip of one
# person: TensorFlow Lite's multiply has rounded twice from the beginning (tensorflow/tensorflow#25087), and one
# rounding came in 2021 behind a compile flag (tensorflow/tensorflow#50290). Who compares a chip with a desktop
# must know which rule each one has. The smallest case, a quarter that becomes 1:

# %%
for mode in ("double_rounding", "single_rounding"):
    print(f"1 * 2**30 * 2**(-1 - 31) = 1/4 by {mode}: {tq.requantize([1], 2**30, -1, mode=mode)[0]}")

# %% [markdown]
# ## What to remember
#
# - Widen before you multiply: products of codes need 16 bits, their sum 32.
# - A layer is a sum of centred products plus a bias, times (multiplier, shift), plus a zero point: no float.
# - Runtimes round this in different ways and part by one code now and then: name the rule, then compare.
#
# ## In PyTorch and TFLite
#
# | here | PyTorch | TFLite |
# |---|---|---|
# | int8 codes, int32 accumulator | `torch.qint8` weights, `torch.quint8` activations | int8, weights per channel |
# | `quantize_multiplier` | none: its CPU kernels multiply by a float32 | `QuantizeMultiplier` |
# | `requantize` | in float32, ties to even | `MultiplyByQuantizedMultiplier` |
# | `convert` | `torch.ao.quantization.convert` | `TFLiteConverter.convert` |
# | `m.run(codes)` | `torch.ao.nn.quantized.Linear` | `Interpreter.invoke` |
