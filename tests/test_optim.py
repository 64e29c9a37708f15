"""Optimizers against their published recurrences: worked by hand in exact fractions, in float64, and in PyTorch once."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyquant.autograd import Tensor
from tinyquant.nn import Linear
from tinyquant.optim import SGD, Adam, CosineLR, Optimizer, StepLR


def param(values, dtype=np.float64):
    """A parameter of its own memory."""
    return Tensor(np.array(values, dtype=dtype), requires_grad=True)


def run(make, grads, start=(1.0, -2.0, 3.0), dtype=np.float64):
    """Steps with given gradients from a given start: the weights after each."""
    w = param(start, dtype)
    opt = make([w])
    seen = []
    for grad in grads:
        w.grad = np.array(grad, dtype=dtype)
        opt.step()
        seen.append(w.data.copy())
    return np.array(seen)


GRADS = [[0.5 * (k + 1), (-1.0) ** k, 0.25 - 0.125 * k] for k in range(6)]


def sgd_by_hand(grads, lr, momentum, weight_decay, nesterov, start=(1.0, -2.0, 3.0)):
    """The recurrence of Sutskever et al. as PyTorch writes it, one number at a time."""
    w, v, seen = list(start), [0.0 * s for s in start], []
    for grad in grads:
        for i, g in enumerate(grad):
            g = g + weight_decay * w[i]
            v[i] = momentum * v[i] + g
            w[i] = w[i] - lr * (g + momentum * v[i] if nesterov else v[i])
        seen.append(list(w))
    return seen


def adam_by_hand(grads, lr, b1, b2, eps, weight_decay, start=(1.0, -2.0, 3.0)):
    """Algorithm 1 of Kingma and Ba, one number at a time."""
    w, m, v, seen = list(start), [0.0] * 3, [0.0] * 3, []
    for t, grad in enumerate(grads, start=1):
        for i, g in enumerate(grad):
            g = g + weight_decay * w[i]
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            w[i] = w[i] - lr * (m[i] / (1 - b1**t)) / (math.sqrt(v[i] / (1 - b2**t)) + eps)
        seen.append(list(w))
    return seen


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_in_powers_of_two_is_exact_in_float32(nesterov):
    """lr, momentum, decay and gradients are dyadic and few bits long, so float32 rounds nowhere: equal as fractions."""
    grads = [[0.5, -1.0, 2.0], [0.25, 0.0, -1.0], [1.0, 1.0, 0.5]]
    half = {"lr": Fraction(1, 4), "momentum": Fraction(1, 2), "weight_decay": Fraction(1, 8)}
    exact_grads = [[Fraction(g) for g in row] for row in grads]
    exact = sgd_by_hand(exact_grads, nesterov=nesterov, start=tuple(map(Fraction, (1, -2, 3))), **half)
    made = run(lambda p: SGD(p, nesterov=nesterov, **{k: float(v) for k, v in half.items()}), grads, dtype=np.float32)
    assert [[Fraction(float(w)) for w in row] for row in made] == exact


@given(
    lr=st.floats(0, 1), momentum=st.floats(0.1, 0.99), weight_decay=st.floats(0, 0.5), nesterov=st.booleans(),
    grads=st.lists(st.lists(st.floats(-4, 4), min_size=3, max_size=3), min_size=1, max_size=8),
)  # fmt: skip
def test_sgd_follows_its_recurrence(lr, momentum, weight_decay, nesterov, grads):
    made = run(lambda p: SGD(p, lr, momentum, weight_decay, nesterov), grads)
    by_hand = np.array(sgd_by_hand(grads, lr, momentum, weight_decay, nesterov))
    # The same float64 operations but for the order in one sum: below 20 roundings of 2^-53 a step, on numbers that
    # 8 steps of at most (1 + lr (1 + momentum)(1 + decay)) keep below 2^20.
    np.testing.assert_allclose(made, by_hand, rtol=0, atol=8 * 20 * 2.0**-53 * 2**20)


@given(
    lr=st.floats(0, 1), b1=st.floats(0, 0.99), b2=st.floats(0, 0.999), eps=st.floats(1e-6, 1e-2),
    weight_decay=st.floats(0, 0.5),
    grads=st.lists(st.lists(st.floats(-4, 4), min_size=3, max_size=3), min_size=1, max_size=8),
)  # fmt: skip
def test_adam_follows_its_recurrence(lr, b1, b2, eps, weight_decay, grads):
    made = run(lambda p: Adam(p, lr, (b1, b2), eps, weight_decay), grads)
    by_hand = np.array(adam_by_hand(grads, lr, b1, b2, eps, weight_decay))
    # A step divides by at least eps = 1e-6, so a rounding of m (2^-53 of numbers below 16) moves it by at most
    # 16 * 2^-53 / 1e-6 = 2e-9; a few dozen roundings in eight steps stay below 1e-6.
    np.testing.assert_allclose(made, by_hand, rtol=0, atol=1e-6)


# The last weights of six steps with GRADS from (1, -2, 3) in float64, made with torch 2.13.0 (CPU)
TORCH = {
    "sgd": (lambda p: SGD(p, 0.1, 0.9, 0.01), [-1.488902782154486, -2.1846464180330285, 2.898091871590519]),
    "nesterov": (
        lambda p: SGD(p, 0.1, 0.9, 0.01, nesterov=True), [-2.288889004319894, -2.1527770584408787, 2.9287109373622857],
    ),
    "adam": (
        lambda p: Adam(p, 0.1, (0.8, 0.99), 1e-6, 0.01), [0.3929793027981917, -2.1129431897151894, 2.7667201991690664],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_six_steps_equal_pytorchs(name):
    make, weights = TORCH[name]
    # about a hundred float64 roundings of numbers below 8
    np.testing.assert_allclose(run(make, GRADS)[-1], weights, rtol=0, atol=100 * 8 * 2.0**-53)


def test_the_first_adam_step_is_lr_against_the_sign_of_the_gradient():
    """m_hat = g and v_hat = g^2: the step is lr g / (|g| + eps), whatever the size of g."""
    (w,) = run(lambda p: Adam(p, 0.25, eps=1e-12), [[1e-3, -1e3, 7.0]])
    np.testing.assert_allclose(w, [0.75, -1.75, 2.75], rtol=0, atol=1e-8)


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9), lambda p: Adam(p, 0.1)])
def test_many_parameters_in_one_array_step_as_each_alone(make):
    """The flat array is an arrangement, not an algorithm: bit for bit the same as one optimizer a parameter."""
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (), (7,), (2, 1, 5), (1,)]
    together = [param(rng.standard_normal(shape), np.float32) for shape in shapes]
    alone = [param(p.data, np.float32) for p in together]
    opt, opts = make(together), [make([p]) for p in alone]
    for _ in range(4):
        for a, b in zip(together, alone, strict=True):
            a.grad = rng.standard_normal(a.shape).astype(np.float32)
            b.grad = a.grad.copy()
        opt.step()
        for one in opts:
            one.step()
    for a, b in zip(together, alone, strict=True):
        assert a.data.shape == b.data.shape and np.array_equal(a.data, b.data)


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1, 0.9, 0.1), lambda p: Adam(p, 0.1, weight_decay=0.1)])
def test_a_parameter_without_a_gradient_stays_and_the_others_move(make):
    a, b, c = param([1.0, 2.0]), param([3.0]), param([4.0])
    opt = make([a, b, c])
    a.grad, c.grad = np.ones(2), np.ones(1)
    opt.step()
    assert b.data.tolist() == [3.0] and a.data[0] != 1.0 and c.data[0] != 4.0
    alone = param([4.0])
    other = make([alone])
    alone.grad = np.ones(1)
    other.step()
    assert alone.data.tolist() == c.data.tolist()


def test_the_gradient_that_backward_left_is_not_changed_by_a_step():
    w = param([1.0, 2.0])
    opt = SGD([w], 0.5, momentum=0.9, weight_decay=0.5)
    w.grad = np.array([1.0, 1.0])
    opt.step()
    assert w.grad.tolist() == [1.0, 1.0]
    opt.zero_grad()
    assert w.grad is None


def test_values_written_in_place_or_assigned_anew_are_what_the_next_step_starts_from():
    w = param([1.0, 2.0])
    opt = SGD([w], 1.0)
    w.data[...] = [10.0, 20.0]
    w.grad = np.array([1.0, 1.0])
    opt.step()
    assert w.data.tolist() == [9.0, 19.0]
    w.data = np.array([5.0, 6.0])
    opt.step()
    assert w.data.tolist() == [4.0, 5.0]


def test_two_optimizers_may_share_parameters_in_turn():
    w = param([1.0])
    first, second = SGD([w], 1.0), SGD([w], 0.5)
    w.grad = np.array([1.0])
    first.step()
    second.step()
    first.step()
    assert w.data.tolist() == [-1.5]


def test_a_model_trains_through_the_flat_array_and_keeps_its_layout():
    layer = Linear(2, 2)
    weight, before = layer.weight, layer.weight.data.copy()
    opt = SGD(layer.parameters(), 0.1)
    assert layer.weight is weight and np.array_equal(weight.data, before)
    (layer(Tensor([[1.0, 2.0]])) ** 2.0).sum().backward()
    opt.step()
    assert not np.array_equal(layer.weight.data, before) and layer.weight.shape == (2, 2)


def sgd(lr=1.0):
    """Any optimizer to hang a schedule on."""
    return SGD([param([1.0])], lr)


def rates(schedule, count):
    """The learning rates of the first `count` steps."""
    seen = []
    for _ in range(count):
        seen.append(schedule.opt.lr)
        schedule.step()
    return seen


@given(st.floats(1e-4, 1), st.integers(1, 7), st.floats(0.1, 0.9))
def test_step_schedule_follows_its_formula(lr, step_size, gamma):
    got = rates(StepLR(sgd(lr), step_size, gamma), 20)
    assert got == [lr * gamma ** (t // step_size) for t in range(20)]


@given(st.floats(1e-4, 1), st.integers(2, 30), st.data())
def test_cosine_schedule_follows_its_formula(lr, total, data):
    warmup = data.draw(st.integers(0, total - 1), label="warmup")
    final = data.draw(st.floats(0, lr), label="final")
    got = rates(CosineLR(sgd(lr), total, warmup, final), total + 3)
    for t, rate in enumerate(got):
        if t < warmup:
            assert rate == lr * (t + 1) / (warmup + 1)
        else:
            share = min(Fraction(t - warmup, total - warmup), 1)
            assert abs(rate - (final + (lr - final) * math.cos(float(share) * math.pi / 2) ** 2)) <= 1e-15
    assert max(got) <= lr * (1 + 1e-15) and abs(got[-1] - final) <= 1e-15


def test_cosine_schedule_equals_pytorchs():
    """torch 2.13.0, CosineAnnealingLR(SGD(lr=0.5), T_max=4, eta_min=0.1)."""
    torch = [0.5, 0.4414213562373095, 0.30000000000000004, 0.15857864376269054, 0.1]
    np.testing.assert_allclose(rates(CosineLR(sgd(0.5), 4, final=0.1), 5), torch, rtol=0, atol=1e-15)


REFUSED = {
    "nothing": (lambda: SGD([], 0.1), ValueError, r"params must hold at least one parameter, got none"),
    "array": (lambda: SGD([np.ones(2)], 0.1), TypeError, r"requires_grad=True, got ndarray"),
    "constant": (lambda: Adam([Tensor([1.0])]), TypeError, r"requires_grad=True, got Tensor without"),
    "twice": (lambda: SGD([p := param([1.0]), p], 0.1), ValueError, r"each parameter once, got one twice"),
    "mixed": (lambda: SGD([param([1.0]), param([1.0], np.float32)], 0.1), TypeError, r"one dtype, got float32 and float64"),
    "lr": (lambda: SGD([param([1.0])], -0.1), ValueError, r"lr must be a finite number of 0 or more, got -0\.1"),
    "lr nan": (lambda: Adam([param([1.0])], math.nan), ValueError, r"lr must be a finite number of 0 or more, got nan"),
    "lr set": (lambda: setattr(sgd(), "lr", math.inf), ValueError, r"lr must be .* got inf"),
    "momentum": (lambda: SGD([param([1.0])], 0.1, momentum=1.0), ValueError, r"momentum must lie in 0 to below 1, got 1"),
    "nesterov": (lambda: SGD([param([1.0])], 0.1, nesterov=True), ValueError, r"nesterov needs a momentum above 0"),
    "beta": (lambda: Adam([param([1.0])], betas=(0.9, 1.0)), ValueError, r"betas\[1\] must lie in 0 to below 1, got 1"),
    "eps": (lambda: Adam([param([1.0])], eps=0.0), ValueError, r"eps must be above 0, got 0"),
    "decay": (lambda: SGD([param([1.0])], 0.1, weight_decay=-1), ValueError, r"weight_decay must be 0 or more, got -1"),
    "step size": (lambda: StepLR(sgd(), 0), ValueError, r"step_size must be 1 or more and gamma above 0, got 0"),
    "warmup": (lambda: CosineLR(sgd(), 3, warmup=3), ValueError, r"warmup must lie in 0 to below total_steps, got 3 of 3"),
    "final": (lambda: CosineLR(sgd(), 3, final=-0.1), ValueError, r"final must be 0 or more, got -0\.1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_optimizer_refuses_what_cannot_be_trained(what):
    call, kind, message = REFUSED[what]
    with pytest.raises(kind, match=message):
        call()


def test_an_optimizer_that_defines_no_update_says_so():
    w = param([1.0])
    w.grad = np.ones(1)
    with pytest.raises(TypeError, match=r"Optimizer must define _update"):
        Optimizer([w], 0.1).step()
