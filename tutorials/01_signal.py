# %% [markdown]
# # 01 A signal in 256 codes
#
# A microcontroller stores a number in one byte: of a smooth signal, 256 codes are left, and you decide where
# they lie.

# %%
import numpy as np

import tinyquant as tq
from tinyquant.labs import predict, reveal, show

# %% [markdown]
# ## Predict
#
# Change the last argument to your own guess, or to `None`. Nothing waits for it.

# %%
predict("1.a", "A sine from -1 to 1 in 256 codes: how wrong is the worst point, in hundredths?", 1.0)
predict("1.b", "With 2 bits less, the worst error is how many times as large?", 2)

# %% [markdown]
# ## See
#
# Time is not sampled here, only the value: the steps go up and down, not left and right. Below each curve is
# what was lost, counted in steps. SQNR, in decibels (dB), says how much larger the curve is than what was lost;
# sitting 2 explains it.

# %%
t = np.linspace(0.0, 1.0, 1001)
wave = np.sin(2 * np.pi * t)
show(tq.plot.signal(t, wave), "01_signal")

# %% [markdown]
# ## The map: one step, one zero
#
# Two numbers say everything. The **scale** is the size of a step. The **zero point** is the code that stands
# for real 0, exactly: a black pixel, a padded edge and a ReLU's floor are all 0, and there are many of them.
#
#     real = scale * (code - zero_point)

# %%
qp = tq.choose_qparams(-1.0, 1.0)
print(qp)
for x in (0.0, 0.5, 1.0, -1.0, 3.0):
    code = tq.quantize(np.array([x]), qp)
    print(f"{x:5.1f} -> code {code[0]:4d} -> {tq.dequantize(code, qp)[0]:8.5f}")

# %% [markdown]
# 3.0 does not fit: it gets the last code. Inside the range every point is at most half a step off, and that is
# a law, not a habit of this sine:

# %%
back = tq.dequantize(tq.quantize(wave, qp), qp)
worst = np.abs(back - wave).max()
print(f"step {qp.scale:.5f}, worst error {worst:.5f}, that is {worst / qp.scale:.3f} steps")
reveal("1.a", round(100 * worst, 2))

# %% [markdown]
# ## Fewer bits
#
# Each bit taken away halves the number of codes, so the step about doubles, and with it the worst error (a little
# more than doubles: 16 codes have 15 steps between them, 8 have 7).

# %%
worst_of = {}
for bits in (8, 6, 4, 3, 2):
    narrow = tq.choose_qparams(-1.0, 1.0, bits=bits)
    back = tq.dequantize(tq.quantize(wave, narrow), narrow)
    worst_of[bits] = np.abs(back - wave).max()
    print(f"{bits} bits: {narrow.qmax - narrow.qmin + 1:3d} codes, step {narrow.scale:.4f}, worst error {worst_of[bits]:.4f}")
reveal("1.b", round(float(worst_of[6] / worst_of[8]), 1))

# %% [markdown]
# ## Where the zero lies
#
# A range that does not contain 0 is widened until it does. If it were not, 0 would have no code, and every
# black pixel would be wrong by the same amount.

# %%
for low, high in ((-1.0, 1.0), (0.0, 6.0), (0.5, 1.0), (-0.2, 1.4), (0.0, 0.0)):
    qp = tq.choose_qparams(low, high)
    zero = tq.dequantize(tq.quantize(np.array([0.0]), qp), qp)[0]
    print(f"[{low:4.1f}, {high:3.1f}]  scale {qp.scale:.5f}  zero point {qp.zero_point:4d}  0.0 comes back as {zero:.1f}")
    assert zero == 0.0

# %%
show(tq.plot.staircase(tq.choose_qparams(-0.75, 1.0, bits=3)), "01_staircase")

# %% [markdown]
# ## On real data
#
# A handwritten digit has 17 grey levels: 8 bits keep them apart, 3 bits do not. A measurement from a clinic,
# here of 427 patients, is a smooth number, and every bit counts.

# %%
(images, _), _ = tq.data.digits(split=0)
(cells, _), _ = tq.data.breast_cancer(split=0)
for name, values in (("pixels of 1,347 digits", images), (f"mean radius, {len(cells)} patients", cells[:, 0])):
    for bits in (8, 4, 3):
        qp = tq.choose_qparams(values.min(), values.max(), bits=bits)
        codes = tq.quantize(values, qp)
        error = np.abs(tq.dequantize(codes, qp) - values).max() / qp.scale
        print(
            f"{name:25} {bits} bits: {len(np.unique(values)):3d} values in {len(np.unique(codes)):3d} codes, "
            f"worst error {error:.2f} steps"
        )

# %% [markdown]
# ## Your turn
#
# `tinyquant lab start 1` writes `labs/01_signal.py`. In it you write `quantize` and `dequantize` yourself (and,
# as a stretch, `choose_qparams`); `tinyquant check 1.1` looks for the smallest input that breaks a law.
#
# ## Find the bug
#
# Until July 2026 the int8 softmax of onnxruntime clipped its codes at 255, the end that belongs to *unsigned*
# bytes (onnxruntime#29727). A probability of exactly 1 became the smallest code there is:

# %%
steps = np.array([1.0]) / (1 / 256) + -128
copied = np.clip(steps, -128, 255).astype(np.int64).astype(np.int8)
mended = tq.quantize(np.array([1.0]), tq.QParams(1 / 256, -128))
print(f"step {steps[0]:.0f}: clipped at 255 and cast -> {copied[0]}, clipped at 127 -> {mended[0]}")
print(f"the probability 1.0 is read as {(int(copied[0]) + 128) / 256:.3f} and as {(int(mended[0]) + 128) / 256:.3f}")

# %% [markdown]
# ## What to remember
#
# - real = scale * (code - zero_point), and real 0 is always exactly a code.
# - Inside the range the error is at most half a step; outside there is no bound.
# - Round, add the zero point, clip while the numbers are wide, cast last.
#
# ## In PyTorch and TFLite
#
# | here | PyTorch | TFLite |
# |---|---|---|
# | `QParams(scale, zero_point, qmin, qmax)` | `scale, zero_point, quant_min, quant_max` | `QuantizationParameters` of a tensor |
# | `quantize` | `torch.quantize_per_tensor` (ties to even) | the operator QUANTIZE (ties away from zero) |
# | `dequantize` | `tensor.dequantize()` | the operator DEQUANTIZE |
# | `choose_qparams` | `MinMaxObserver.calculate_qparams` | done by the converter |
