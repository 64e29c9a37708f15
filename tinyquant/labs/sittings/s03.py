"""Sitting 3: post-training quantization, and who chooses the range."""

from __future__ import annotations

from tinyquant.labs.exercise import Bug, Exercise, Sitting

__all__ = ["SITTING"]

SITTING = Sitting(
    number=3,
    name="03_ptq",
    title="PTQ: quantize a trained network",
    why="The range of every value is a guess from a few images, and whether PTQ works hangs on it.",
    exercises=(
        Exercise(
            "3.1",
            "minmax_range",
            title="the smallest and the largest",
            difficulty=1,
            hints=(
                "The ends of the whole list: what must you remember from one batch to the\n"
                "next? And which number belongs into every range?",
                "rmin = min(0, the smallest of all batches)\nrmax = max(0, the largest of all batches)",
                "low, high = 0.0, 0.0\nfor batch in batches:\n    low, high = min(low, batch.min()), max(high, batch.max())",
            ),
        ),
        Exercise(
            "3.2",
            "percentile_range",
            title="leave a few outside",
            difficulty=2,
            hints=(
                "90 percent inside: how many percent are outside, and how many of those\nbelow? Then: is 0 inside?",
                "outside = (100 - percent) / 2 on each side\n"
                "rmin = min(0, percentile at outside), rmax likewise at 100 - outside",
                "low, high = np.percentile(x, [outside, 100 - outside])\nreturn min(0.0, float(low)), max(0.0, float(high))",
            ),
        ),
        Exercise(
            "3.3",
            "mse_range",
            title="the least squared error",
            difficulty=3,
            stretch=True,
            allowed=("choose_qparams", "quantize", "dequantize", "fake_quantize"),
            hints=(
                "Which ranges would you try, if one far number made every step too wide?\n"
                "And which one must be among them, so as never to be worse than min-max?",
                "Of the ranges (k * low, k * high), k from 1 down to nearly 0, the one with\nthe smallest mean of (back - x)**2",
                "def error(k):\n"
                "    qp = tq.choose_qparams(k * low, k * high, bits=bits)\n"
                "    return np.mean((tq.dequantize(tq.quantize(x, qp), qp) - x) ** 2)",
            ),
        ),
        Bug(
            "3.4",
            "counterexample",
            title="the channel that pruning left empty",
            buggy="channel_map",
            role="choose_qparams",
            law="scale_is_positive",
            issue="apple/coremltools#2853",
            hints=(
                "What is left of a channel when pruning has set all of its weights to 0?",
                "scale = (high - low) / steps: which range has no length?",
                "A channel of zeros: its smallest and its largest number are both 0.0.",
            ),
        ),
    ),
)
