"""The fake-quant node: what it computes, and which gradients it lets through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant.autograd import Tensor
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams
from tinyquant.numerics.rounding import ROUNDING_MODES
from tinyquant.quantization.fake_quant import fake_quantize

# Power-of-two scales put ties exactly on representable numbers, so drawn values hit them often.
SCALES = st.sampled_from([0.25, 0.5, 1.0, 0.1, 3.7e-3])
VALUES = hnp.arrays(
    np.float32,
    st.integers(0, 12),
    elements=st.one_of(
        st.integers(-80, 80).map(lambda n: np.float32(n / 8)), st.floats(-1e6, 1e6, width=32), st.just(np.float32(-0.0))
    ),
)
MODES = st.sampled_from([mode for mode in ROUNDING_MODES if mode != "stochastic"])


@st.composite
def quantizers(draw):
    qmin, qmax = draw(st.sampled_from([(-128, 127), (-7, 7), (-2, 1), (0, 255), (0, 3), (-32768, 32767)]))
    return QParams(draw(SCALES), draw(st.integers(qmin, qmax)), qmin, qmax)


def bits(array):
    return array.view(np.uint32).tolist()


@given(VALUES, quantizers(), MODES)
def test_fake_quantize_is_dequantize_of_quantize_bit_for_bit(x, qp, mode):
    """fake_quantize(x) = dequantize(quantize(x)), signs of zero included, for Tensors and arrays."""
    want = dequantize(quantize(x, qp, rounding=mode), qp)
    for requires_grad in (False, True):
        assert bits(fake_quantize(Tensor(x, requires_grad=requires_grad), qp, rounding=mode).data) == bits(want)
    assert bits(fake_quantize(x, qp, rounding=mode)) == bits(want)


@given(VALUES, quantizers())
def test_the_gradient_is_one_where_the_rounded_code_lies_in_range_ends_included_and_zero_outside(x, qp):
    """dx = dy * [qmin <= round(x / scale) + zero_point <= qmax]; the code before the clip decides, not x."""
    leaf = Tensor(x, requires_grad=True)
    dy = np.arange(1, x.size + 1, dtype=np.float32)
    fake_quantize(leaf, qp).backward(dy)
    wide = QParams(qp.scale, qp.zero_point, -(2**31), 2**31 - 1)
    codes = quantize(x, wide).astype(np.int64)
    inside = (codes >= qp.qmin) & (codes <= qp.qmax)
    assert leaf.grad.tolist() == (dy * inside).tolist()


def test_the_mask_is_on_the_rounded_code_so_half_a_step_beyond_the_end_still_passes():
    """For codes [-2, 2] of step 1: 2.49 rounds to 2 and passes, 2.5 to 3 and is stopped (pytorch/ao#4806: the ends pass)."""
    x = Tensor(np.array([-2.5, -2.49, -2.0, 2.0, 2.49, 2.5], np.float32), requires_grad=True)
    fake_quantize(x, QParams(1.0, 0, -2, 2)).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]


def test_an_input_that_needs_no_gradient_stores_no_mask():
    y = fake_quantize(Tensor(np.array([9.0], np.float32)), QParams(1.0, 0, -2, 2))
    assert not y.requires_grad


def test_per_channel_scales_act_along_their_axis():
    x = np.array([[1.2, 1.2], [-9.0, 9.0]], np.float32)
    qp = QParams([1.0, 0.5], 0, -2, 2, axis=1)
    leaf = Tensor(x, requires_grad=True)
    y = fake_quantize(leaf, qp)
    y.sum().backward()
    assert y.data.tolist() == [[1.0, 1.0], [-2.0, 1.0]]
    assert leaf.grad.tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_bias_codes_beyond_float32s_24_bits_are_exact():
    """A bias of 2**30 + 1 steps: float32 holds no such whole number of steps, float64 does."""
    qp = QParams([2.0**-30], 0, -(2**31), 2**31 - 1, axis=0)
    x = np.array([1.0 + 2.0**-23], np.float32)
    assert fake_quantize(Tensor(x), qp).data.tolist() == x.tolist()


def test_stochastic_rounding_takes_its_numbers_from_rng():
    x = np.full(1000, 0.25, np.float32)
    qp = QParams(1.0, 0)
    a, b = (fake_quantize(Tensor(x), qp, rounding="stochastic", rng=np.random.default_rng(1)).data for _ in range(2))
    assert a.tolist() == b.tolist() and set(a.tolist()) == {0.0, 1.0}
    with pytest.raises(ValueError, match="must have an rng"):
        fake_quantize(Tensor(x), qp, rounding="stochastic")


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "-infinity")])
def test_nan_and_infinity_are_refused_by_name(bad, name):
    with pytest.raises(ValueError, match=f"must be finite, got {name} at index"):
        fake_quantize(Tensor(np.array([0.0, bad], np.float32)), QParams(1.0, 0))


def test_a_wrong_quantizer_is_refused():
    with pytest.raises(TypeError, match="must be a QParams, got float"):
        fake_quantize(Tensor(np.zeros(2, np.float32)), 0.5)
