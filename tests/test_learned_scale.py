"""Learned quantizers: the gradients are the formulas of the papers, number by number; scales stay positive and float32."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant.autograd import Tensor
from tinyquant.numerics.qparams import QParams, choose_qparams
from tinyquant.optim import SGD
from tinyquant.quantization.fake_quant import fake_quantize
from tinyquant.quantization.learned_scale import LearnedScale, learned_fake_quantize, lsq_gradient_scale

# Multiples of 1/8 and scales of a power of two: quotients, ties and sums are exact, so the formula is met to the last bit.
EIGHTHS = hnp.arrays(np.float64, st.integers(1, 16), elements=st.integers(-160, 160).map(lambda n: n / 8))
SCALES = st.sampled_from([0.25, 0.5, 1.0, 2.0])
GRIDS = st.sampled_from([(-2, 1), (-8, 7), (0, 3), (-7, 7)])


def half_away(q):
    return int(math.copysign(math.floor(abs(q) + Fraction(1, 2)), q)) if q else 0


def esser_equation_3(v, s, qn, qp):
    """d v_hat / d s of one number, as printed: -v/s + round(v/s) if -Qn < v/s < Qp; -Qn if v/s <= -Qn; Qp if v/s >= Qp."""
    q = Fraction(v) / Fraction(s)
    if -qn < q < qp:
        return -q + half_away(q)
    return Fraction(-qn) if q <= -qn else Fraction(qp)


@given(EIGHTHS, SCALES, GRIDS, st.sampled_from([1.0, 0.25]))
def test_the_gradient_of_the_scale_is_equation_3_of_lsq_times_the_gradient_scale(x, scale, grid, g):
    """ds = g * sum_i dy_i * (equation 3 at x_i), in exact rationals."""
    qmin, qmax = grid
    s = Tensor(np.float64(scale), requires_grad=True)
    dy = np.arange(1.0, x.size + 1)
    learned_fake_quantize(Tensor(x), s, qmin=qmin, qmax=qmax, gradient_scale=g).backward(dy)
    want = Fraction(g) * sum(Fraction(d) * esser_equation_3(v, scale, -qmin, qmax) for v, d in zip(x, dy, strict=True))
    assert Fraction(float(s.grad)) == want


@given(EIGHTHS, SCALES, GRIDS)
def test_the_gradient_of_the_data_is_equation_5_of_lsq(x, scale, grid):
    """dx = dy where -Qn < x/s < Qp, strictly, else 0."""
    qmin, qmax = grid
    leaf = Tensor(x, requires_grad=True)
    dy = np.arange(1.0, x.size + 1)
    learned_fake_quantize(leaf, Tensor(np.float64(scale)), qmin=qmin, qmax=qmax).backward(dy)
    assert leaf.grad.tolist() == [d if qmin < v / scale < qmax else 0 for v, d in zip(x, dy, strict=True)]


@given(EIGHTHS, SCALES, st.integers(-8, 7))
def test_pact_pulls_on_alpha_only_where_x_is_clipped(x, scale, zero):
    """With alpha = s (qmax - z): d alpha = ds / (qmax - z) = sum of dy over x >= alpha; the low end likewise (PACT, eq. 2)."""
    s = Tensor(np.float64(scale), requires_grad=True)
    z = Tensor(np.float64(zero))
    dy = np.arange(1.0, x.size + 1)
    learned_fake_quantize(Tensor(x), s, z, qmin=-8, qmax=7, inner=False).backward(dy)
    top, low = scale * (7 - zero), scale * (-8 - zero)
    want = sum(d * ((7 - zero) if v >= top and not v <= low else (-8 - zero) if v <= low else 0) for v, d in zip(x, dy))
    assert float(s.grad) == want


@given(EIGHTHS, SCALES, st.integers(-7, 6))
def test_the_zero_point_is_pulled_by_clipped_numbers_alone(x, scale, zero):
    """y = s (clip(x/s + z) - z): dy/dz = -s beyond the ends, 0 inside and on them (LSQ+)."""
    z = Tensor(np.float64(zero), requires_grad=True)
    dy = np.arange(1.0, x.size + 1)
    learned_fake_quantize(Tensor(x), Tensor(np.float64(scale)), z, qmin=-8, qmax=7).backward(dy)
    assert float(z.grad) == sum(-scale * d for v, d in zip(x, dy) if not -8 <= v / scale + zero <= 7)


@given(EIGHTHS, SCALES, GRIDS)
def test_beyond_the_ends_the_formula_is_the_true_slope(x, scale, grid):
    """Where everything is clipped, y = s * const: the central difference is exact for a power-of-two step."""
    qmin, qmax = grid
    outside = x[(x / scale > qmax + 1) | (x / scale < qmin - 1)]
    s = Tensor(np.float64(scale), requires_grad=True)
    learned_fake_quantize(Tensor(outside), s, qmin=qmin, qmax=qmax).sum().backward()
    h = 2.0**-20 * scale
    up, down = (
        learned_fake_quantize(Tensor(outside), Tensor(np.float64(scale + d)), qmin=qmin, qmax=qmax).data.sum() for d in (h, -h)
    )
    assert float(s.grad) == (up - down) / (2 * h)


@given(
    hnp.arrays(np.float32, st.integers(0, 12), elements=st.floats(-100, 100, width=32)),
    st.floats(0.001, 10), st.floats(-10, 10), st.sampled_from(["half_away", "half_even", "floor"]),
)  # fmt: skip
def test_the_value_is_fake_quantize_of_the_quantizer_bit_for_bit(x, top, low, rounding):
    learned = LearnedScale(choose_qparams(min(low, 0), top, bits=4))
    y = learned.fake_quantize(Tensor(x), count=1, rounding=rounding)
    want = fake_quantize(x, learned.qparams, rounding=rounding)
    assert y.data.view(np.uint32).tolist() == want.view(np.uint32).tolist()


@given(st.floats(1e-6, 1e3), st.floats(-1000, 60), st.floats(-3, 3), st.sampled_from(["log", "step"]))
def test_whatever_training_does_the_scale_is_positive_and_a_float32(scale, ratio, shift, parameter):
    """Even where exp is 0 in float32; the scale equals its own float32; the zero point stays a code."""
    start = QParams(float(np.float32(scale)), -3, -8, 7)
    learned = LearnedScale(start, learn_zero_point=True, parameter=parameter)
    assert learned.qparams == start
    learned.stretch.data[...] = ratio
    learned.shift.data[...] = shift
    qp = learned.qparams
    assert qp.scale > 0 and qp.scale == float(np.float32(qp.scale)) and -8 <= qp.zero_point <= 7


@pytest.mark.parametrize(("at", "scale", "slope"), [(0, 0.5, 1), (1.5, 2.0, 1), (-0.5, 0.5 * np.exp(-1), np.exp(-1))])
def test_the_step_parameter_is_the_scale_itself_upwards_and_an_exponential_downwards(at, scale, slope):
    """s0 + t with slope 1 from the start on up, s0 exp(t / s0) below; ds = 7 from one clipped number; float32 to 1e-6."""
    learned = LearnedScale(QParams(0.5, 0, -8, 7), gradient_scale=False, parameter="step")
    learned.stretch.data[...] = at
    learned.fake_quantize(Tensor([100.0]), count=1).sum().backward()
    assert abs(learned.qparams.scale - scale) <= 1e-6 and abs(float(learned.stretch.grad) - 7 * slope) <= 7e-6


@given(st.floats(-100, 100))
def test_a_zero_point_inside_the_range_stays_inside(shift):
    learned = LearnedScale(QParams(1.0, 3), learn_zero_point=True)
    learned.shift.data[...] = shift
    assert -127 <= learned.qparams.zero_point <= 126


def test_a_step_on_the_logarithm_multiplies_the_scale():
    """d stretch = s * ds: the chain rule, read off one clipped number with ds = 7."""
    learned = LearnedScale(QParams(0.5, 0, -8, 7), gradient_scale=False)
    learned.fake_quantize(Tensor([100.0]), count=1).sum().backward()
    assert learned.stretch.grad.tolist() == 3.5
    SGD(learned.parameters(), lr=1.0).step()
    assert learned.qparams.scale == np.float32(0.5) * np.exp(np.float32(-3.5))


@given(st.integers(1, 10**6))
def test_the_gradient_scale_is_one_over_the_root_of_n_times_qp(n):
    """Symmetric weights: Qp = qmax. Activations: the codes above (or below) the zero point."""
    assert lsq_gradient_scale(n, QParams(1.0, 0, -7, 7)) == 1 / math.sqrt(n * 7)
    assert lsq_gradient_scale(n, QParams(1.0, 0, -8, 7)) == 1 / math.sqrt(n * 7)
    assert lsq_gradient_scale(n, QParams(1.0, -128)) == 1 / math.sqrt(n * 255)
    assert lsq_gradient_scale(n, QParams(1.0, 0, 0, 3)) == 1 / math.sqrt(n * 3)


def test_a_scale_a_channel_gets_the_sum_over_its_own_channel():
    x = Tensor(np.array([[9.0, 0.25], [-9.0, 0.0]]), requires_grad=True)
    s = Tensor(np.array([1.0, 1.0]), requires_grad=True)
    learned_fake_quantize(x, s, Tensor(np.zeros(2)), qmin=-2, qmax=1, axis=0).sum().backward()
    assert s.grad.tolist() == [1 - 0.25, -2.0]


def test_a_floor_under_the_scale_is_shown_and_the_gradient_goes_to_the_learned_scale():
    learned = LearnedScale(QParams(0.5, 0, -8, 7), gradient_scale=False)
    y = learned.fake_quantize(Tensor([100.0]), count=1, qparams=QParams(2.0, 0, -8, 7))
    y.sum().backward()
    assert y.data.tolist() == [14.0] and learned.stretch.grad.tolist() == 3.5


def test_a_range_that_ends_at_zero_keeps_its_zero_point():
    assert LearnedScale(QParams(1.0, -128), learn_zero_point=True).shift is None
    assert LearnedScale(QParams(1.0, 0), learn_zero_point=False).shift is None


def test_numbers_equal_to_an_end_do_not_pull_on_the_zero_point():
    z = Tensor(np.float64(-8), requires_grad=True)
    learned_fake_quantize(Tensor(np.zeros(5)), Tensor(np.float64(1)), z, qmin=-8, qmax=7).sum().backward()
    assert float(z.grad) == 0


def test_stochastic_codes_are_those_that_were_drawn():
    """ds = sum(round - x/s) with the very draws: the value shows them."""
    x = np.full(200, 0.25)
    s = Tensor(np.float64(1.0), requires_grad=True)
    y = learned_fake_quantize(Tensor(x), s, rounding="stochastic", rng=np.random.default_rng(0))
    y.sum().backward()
    assert set(y.data.tolist()) == {0.0, 1.0} and float(s.grad) == (y.data - x).sum()


def test_a_scale_that_is_not_positive_or_a_parameter_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="parameter must be one of 'log', 'step', got 'root'"):
        LearnedScale(QParams(1.0, 0), parameter="root")
    with pytest.raises(ValueError, match="scale must be positive and finite, got -1.0"):
        learned_fake_quantize(Tensor([1.0]), Tensor(-1.0))
