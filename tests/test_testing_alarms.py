"""No false alarm: a hundred thousand judgements of right answers and of the library itself, and no law complains of one.

An example here is one judgement: one drawn input, one law, one right answer. The inputs are drawn with numpy (`testing_draws`),
the same ones on every machine; each is handed to every right answer of its role.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from testing_draws import draw

import tinyquant as tq
from tinyquant.testing import companions, laws_for, right_answers
from tinyquant.testing.cases import fits
from tinyquant.testing.wrong_answers import roles

EXAMPLES = 100_000


def library_gradient(upstream: Any, x: Any, qp: tq.QParams) -> Any:
    """The straight-through gradient as the library's own backward gives it."""
    t = tq.Tensor(x, requires_grad=True)
    tq.fake_quantize(t, qp).backward(upstream)
    assert t.grad is not None
    return t.grad


REFERENCE: dict[str, Any] = {
    "quantize": tq.quantize,
    "dequantize": tq.dequantize,
    "fake_quantize": tq.fake_quantize,
    "choose_qparams": tq.choose_qparams,
    "round_to_int": tq.round_to_int,
    "quantize_multiplier": tq.quantize_multiplier,
    "requantize": lambda acc, multiplier, shift: tq.requantize(acc, multiplier, shift, mode="single_rounding"),
    "ste_gradient": library_gradient,
}


def judged(role: str, inputs: int, seed: int) -> tuple[int, list[str]]:
    """How many examples so many inputs for each law are, and what was complained of."""
    rng = np.random.default_rng(seed)
    count, alarms = 0, []
    answers = [*right_answers(role), *([REFERENCE[role]] if role in REFERENCE else [])]
    for one in laws_for(role):
        # One rule of ties is asked for: of the right answers that take the nearest, only the library and the first follow it.
        subjects = [answers[0], answers[-1]] if one.name == "rounding_mode" else answers
        for _ in range(inputs):
            case = draw(one.kind, rng)
            for fn in subjects:
                if fits(fn, case):
                    count += 1
                    broken = one.judge(case, {**companions(role), role: fn})
                    if broken is not None:
                        alarms.append(f"{one.name} accuses {fn.__name__} on {case}: {broken}")
    return count, alarms


@pytest.mark.parametrize("role", roles())
def test_no_right_answer_is_accused(role: str) -> None:
    """Each role, each law, each right answer on ten drawn inputs."""
    count, alarms = judged(role, 10, seed=7)
    assert count >= 20 and not alarms, "\n".join(alarms[:5])


@pytest.mark.slow
def test_no_right_answer_is_accused_in_a_hundred_thousand_examples() -> None:
    """400 inputs for every law of every role: some 120,000 judgements."""
    counts = {}
    for role in roles():
        counts[role], alarms = judged(role, 400, seed=2024)
        assert not alarms, "\n".join(alarms[:5])
    assert sum(counts.values()) >= EXAMPLES and min(counts.values()) >= 400, counts
