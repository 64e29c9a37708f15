"""Distillation: the loss is its formula, its gradient the slope, and a student of its teacher's answers learns them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyquant import data, models
from tinyquant.autograd import Tensor, check_gradients, cross_entropy
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.distillation import Distillation
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.training import evaluate, fit

LOGITS = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
TARGETS = np.array([[0.3, 0.1, -4.0, 2], [-1.0, 2.0, 2.5, 1]])


def identity(x):
    return x


def probabilities(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@given(st.floats(0.5, 10), st.floats(0, 1))
def test_the_loss_is_its_formula(temperature, weight):
    """w T^2 mean sum p_t log(p_t / p_s) + (1 - w) mean -log p[label], written out with probabilities; 1e-12 for float64."""
    loss = Distillation(identity, temperature=temperature, weight=weight)(Tensor(LOGITS), TARGETS).item()
    t, s = probabilities(TARGETS[:, :3] / temperature), probabilities(LOGITS / temperature)
    taught = (t * np.log(t / s)).sum(axis=1).mean() * temperature**2
    told = -np.log(probabilities(LOGITS)[[0, 1], [2, 1]]).mean()
    want = weight * taught + (1 - weight) * told
    assert abs(loss - want) <= 1e-12 * max(1, temperature**2)


@given(st.floats(0.5, 10), st.floats(0, 1))
def test_the_gradient_is_the_slope_of_the_loss(temperature, weight):
    lesson = Distillation(identity, temperature=temperature, weight=weight)
    check_gradients(lambda s: lesson(s, TARGETS), LOGITS)


def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn_from_it():
    lesson = Distillation(identity, weight=1.0)
    s = Tensor(TARGETS[:, :3].copy(), requires_grad=True)
    loss = lesson(s, TARGETS)
    loss.backward()
    # The gradient is p_s - p_t times T / N, a rounding error of float64.
    assert abs(loss.item()) < 1e-14 and np.abs(s.grad).max() < 1e-15 * 4


def test_without_weight_it_is_the_cross_entropy():
    lesson = Distillation(identity, weight=0.0)
    assert lesson(Tensor(LOGITS), TARGETS).item() == cross_entropy(Tensor(LOGITS), np.array([2, 1])).item()


def test_targets_are_the_teachers_logits_and_the_label():
    x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    assert Distillation(identity).targets(x, np.array([1, 0])).tolist() == [[1, 2, 1], [3, 4, 0]]


def test_a_quantized_student_is_trained_by_its_float_teacher_and_converts():
    """Two bits on the digits: 49 % untrained; after 3 epochs the student answers most images as its teacher does."""
    (x, y), (xt, yt) = data.digits(split=0)
    teacher = models.load_checkpoint("mlp")
    fq = quantize_model(teacher, calibrate(teacher, x[:256]), scheme=TFLITE_INT8.replace(weight_bits=2))
    before = evaluate(fq, xt, yt)
    lesson = Distillation(teacher)
    validation = (xt, lesson.targets(xt, yt))
    history = fit(fq, x, lesson.targets(x, y), loss=lesson, epochs=3, validation=validation)
    assert history.loss[-1] < history.loss[0] and len(history.val_loss) == 3
    assert evaluate(fq, xt, yt) > max(before, 0.85)
    assert evaluate(convert(fq), xt, yt) > 0.85


def test_what_does_not_fit_is_refused():
    x = np.zeros((3, 2), np.float32)
    for call, message in (
        (lambda: Distillation(identity, temperature=0), "temperature must be a finite number above 0, got 0"),
        (lambda: Distillation(identity, weight=1.5), r"weight must be in \[0, 1\], got 1.5"),
        (lambda: Distillation(identity).targets(x, np.array([0, 1])), r"got \(3, 2\) for \(2,\)"),
        (lambda: Distillation(identity).targets(x, np.array([0, 1, 2])), "from 0 to 1, got int64 from 0 to 2"),
        (lambda: Distillation(identity)(Tensor(LOGITS), np.zeros(2)), r"Make them with targets\(x, y\)"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
