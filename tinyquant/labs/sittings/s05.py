"""Sitting 5: fake quantization, the gradient that training pretends it has, and a scale that is learned."""

from __future__ import annotations

from tinyquant.labs.exercise import Bug, Exercise, Sitting

__all__ = ["SITTING"]

SITTING = Sitting(
    number=5,
    name="05_qat",
    title="Tell the network: the STE and QAT",
    why="After training nobody can undo the rounding; told about it during training, a network learns weights that round well.",
    exercises=(
        Exercise(
            "5.1",
            "fake_quantize",
            title="round to the grid, and stay in real numbers",
            difficulty=1,
            int8=True,
            hints=(
                "Which code does x get, and which real number does that code stand for?",
                "code = clip(round(x / scale) + zero_point, qmin, qmax)\ny = scale * (code - zero_point)",
                "steps = np.round(x / scale)\n"
                "codes = np.clip(steps + zero_point, qmin, qmax)      # still floats\n"
                "return scale * (codes - zero_point)",
            ),
        ),
        Exercise(
            "5.2",
            "ste_gradient",
            title="the straight-through estimator and its mask",
            difficulty=2,
            int8=True,
            hints=(
                "Where does 5.1 follow the line y = x, if you squint? Where is it flat\nhowever far x goes?",
                "gradient = upstream where qmin <= round(x / scale) + zero_point <= qmax,\n"
                "else 0; the code before it is clipped",
                "codes = np.round(x / scale) + zero_point\n"
                "inside = (codes >= qmin) & (codes <= qmax)\n"
                "return np.where(inside, upstream, 0.0)",
            ),
        ),
        Exercise(
            "5.3",
            "scale_gradient",
            title="a scale that learns (LSQ)",
            difficulty=4,
            stretch=True,
            hints=(
                "y = scale * round(x / scale). If the scale grows a little and the code\n"
                "stays: how does y change? And what does the STE say of the code?",
                "slope = round(x / scale) - x / scale inside, qmin or qmax where clipped;\n"
                "the gradient is the sum of upstream * slope",
                "steps = x / scale\n"
                "codes = np.clip(np.round(steps), qmin, qmax)\n"
                "slope = where np.round(steps) == codes: codes - steps, else codes",
            ),
        ),
        Bug(
            "5.4",
            "counterexample",
            title="the ends that stopped learning",
            buggy="gradient_of_clamp",
            role="ste_gradient",
            law="ste_mask",
            issue="pytorch/ao#4806",
            hints=(
                "Read the two comparisons. Which codes are inside that the function\ntakes for outside?",
                "The codes qmin and qmax themselves: they are not clipped.",
                'return {"x": [...], "scale": 1.0} with an x whose code is 127',
            ),
        ),
    ),
)
