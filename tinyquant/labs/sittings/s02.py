"""Sitting 2: the two kinds of error, and which way a tie goes."""

from __future__ import annotations

from tinyquant.labs.exercise import Bug, Exercise, Sitting

__all__ = ["SITTING"]

SITTING = Sitting(
    number=2,
    name="02_error",
    title="Where the error comes from",
    why="Rounding and clipping ask for opposite remedies: be able to tell them apart, and to say which way a tie goes.",
    exercises=(
        Exercise(
            "2.1",
            "split_error",
            title="rounding or clipping?",
            difficulty=2,
            int8=True,
            hints=(
                "Which real numbers do qmin and qmax stand for? What is the error of an x\n"
                "between them made of, and of one far beyond them?",
                "clipping = clip(x, low, high) - x, with low = scale * (qmin - zero_point)\n"
                "rounding = (back - x) - clipping, with back = dequantize(quantize(x))",
                "codes = np.clip(np.round(x / scale) + zero_point, qmin, qmax)\n"
                "back = scale * (codes - zero_point)\nreturn back - x - clipping, clipping",
            ),
        ),
        Exercise(
            "2.2",
            "round_half_away",
            title="ties away from zero",
            difficulty=2,
            role="round_to_int",
            mode="half_away",
            hints=(
                "floor(x + 0.5) is right for numbers above 0. What does it do to -2.5,\nand what should become of it?",
                "sign(x) * floor(|x| + 0.5)",
                "magnitude = np.floor(np.abs(x) + 0.5)\nreturn np.sign(x) * magnitude",
            ),
        ),
        Exercise(
            "2.3",
            "tie_breaker",
            title="a number that tells two rules apart",
            difficulty=3,
            stretch=True,
            allowed=("round_to_int",),
            hints=(
                "For which numbers do half_even and half_away disagree? And floor and\ntoward_zero: do they need a tie?",
                "Six numbers tell any two of the seven rules apart: a half, one and a\nhalf, a quarter, and their negatives.",
                "for x in (0.5, -0.5, 1.5, -1.5, 0.25, -0.25):\n"
                "    if tq.round_to_int(x, mode_a) != tq.round_to_int(x, mode_b):\n        return x",
            ),
        ),
        Bug(
            "2.4",
            "counterexample",
            title="the pool that adds a half and cuts",
            buggy="pool_round",
            role="round_to_int",
            law="rounds_by_its_rule",
            issue="apache/tvm#20298",
            hints=(
                "np.trunc cuts towards 0. On which side of 0 is adding a half a step in\nthe wrong direction?",
                "For negative means the half must be taken off, not added.",
                '-1.25 + 0.5 = -0.75, cut off: 0. The nearest is -1: {"x": [-1.25]}',
            ),
        ),
    ),
)
