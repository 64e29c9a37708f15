"""Sitting 4: one output of a layer in integers, from int8 codes through an int32 sum to an int8 code."""

from __future__ import annotations

from tinyquant.labs.exercise import Bug, Exercise, Sitting

__all__ = ["SITTING"]

SITTING = Sitting(
    number=4,
    name="04_multiply_accumulate",
    title="One multiply-accumulate, all integers",
    why="A chip without a float unit runs a network fast only if every number on the way, from pixel to answer, is whole.",
    exercises=(
        Exercise(
            "4.1",
            "centred_dot",
            title="the sum of products of two rows of codes",
            difficulty=2,
            hints=(
                "Which number of a row stands for real 0? What is 127 - (-128) in int8,\nand 100 * 100?",
                "sum (x - x_zero)(w - w_zero), with every step in at least 32 bits",
                "a = x.astype(np.int32) - x_zero\n"
                "b = w.astype(np.int32) - w_zero\n"
                "return the product of the two rows, a @ b",
            ),
        ),
        Exercise(
            "4.2",
            "requantize",
            title="times a real number, with integers only",
            difficulty=3,
            flat=True,
            hints=(
                "By which power of two is acc * multiplier too large? How do you divide\n"
                "by a power of two so that the result is the nearest whole number?",
                "acc * multiplier / 2**(31 - shift); add half of the divisor, then shift:\n"
                "(product + 2**(30 - shift)) >> (31 - shift)",
                "The product needs 62 bits: acc.astype(np.int64) * multiplier.\n"
                "A right shift (>>) rounds down, below 0 too; with the half added\n"
                "beforehand it rounds to nearest.",
            ),
        ),
        Exercise(
            "4.3",
            "integer_layer",
            title="one output of a layer, from codes to a code",
            difficulty=3,
            stretch=True,
            hints=(
                "In which units is the bias: those of the products, or of the output?\n"
                "What does a code get before it is clamped?",
                "acc = sum (x - x_zero) w + bias\n"
                "code = clamp(acc * multiplier * 2**(shift - 31), rounded, + y_zero)",
                "acc = centred_dot(x, w, x_zero, 0) + bias\n"
                "code = requantize(np.array([acc]), multiplier, shift)[0] + y_zero\n"
                "return min(max(code, qmin), qmax)",
            ),
        ),
        Bug(
            "4.4",
            "counterexample",
            title="the product that is rounded twice",
            buggy="rescale_twice",
            role="requantize",
            law="requantize_nearest",
            issue="tensorflow/tensorflow#25087 (TensorFlow Lite's multiply)",
            difficulty=3,
            hints=(
                "Two roundings in a row: which number lies below a half and is rounded\nup to a half first?",
                "With multiplier = 2**30 the first product is acc / 2. Take acc = 1: what\n"
                "is 0.5 rounded, and half of that rounded again?",
                'return {"acc": [1], "multiplier": 2**30, "shift": ...}: which shift\nmakes a quarter of it?',
            ),
        ),
    ),
)
