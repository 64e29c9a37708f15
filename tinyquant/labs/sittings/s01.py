"""Sitting 1: the affine map there and back, and how its two numbers are chosen."""

from __future__ import annotations

from tinyquant.labs.exercise import Bug, Exercise, Sitting

__all__ = ["SITTING"]

SITTING = Sitting(
    number=1,
    name="01_signal",
    title="A signal in 256 codes",
    why="A microcontroller stores a number in one byte: of a smooth signal, 256 codes are left, and you decide where they lie.",
    exercises=(
        Exercise(
            "1.1",
            "quantize",
            title="real numbers to codes",
            difficulty=1,
            int8=True,
            flat=True,
            hints=(
                "How many steps of size `scale` is x away from real 0?\n"
                "Which code is real 0, and what becomes of an x that is too far away?",
                "code = clip(round(x / scale) + zero_point, qmin, qmax), as int8",
                "steps = np.round(x / scale)\n"
                "codes = np.clip(steps + zero_point, qmin, qmax)\nreturn codes.astype(np.int8)      # clip first, cast last",
            ),
        ),
        Exercise(
            "1.2",
            "dequantize",
            title="codes back to real numbers",
            difficulty=1,
            flat=True,
            hints=(
                "Which code stands for real 0? How far is this code from it, in steps?",
                "real = scale * (code - zero_point)",
                "An int8 minus an int8 is an int8: 127 - (-128) wraps. Widen first:\nsteps = codes.astype(np.int32) - zero_point",
            ),
        ),
        Exercise(
            "1.3",
            "choose_qparams",
            title="the scale and the zero point of a range",
            difficulty=3,
            stretch=True,
            hints=(
                "Real 0 must be exactly a code. What does that say about the range\n"
                "[0.5, 1.0], and about a zero point that is no whole number?",
                "low = min(rmin, 0), high = max(rmax, 0)\n"
                "scale = (high - low) / (qmax - qmin)\nzero_point = round(qmin - low / scale)",
                "The range 0..0 has no steps: give it scale 1.0.\n"
                "At the end clip the zero point into qmin..qmax, and return\n(float(scale), int(zero_point)).",
            ),
        ),
        Bug(
            "1.4",
            "counterexample",
            title="the end that was copied",
            buggy="to_codes",
            role="quantize",
            law="saturates",
            issue="microsoft/onnxruntime#29727",
            hints=(
                "Read the two ends that np.clip is given. Which belong to int8?",
                "A step of 128 passes this clip. What does a cast to int8 make of 128?",
                'A probability of exactly 1: {"x": [1.0], "scale": 1 / 256,\n"zero_point": -128}',
            ),
        ),
    ),
)
