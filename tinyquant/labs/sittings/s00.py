"""Sitting 0: how much smaller, what was lost, and whether that is more than luck."""

from __future__ import annotations

from tinyquant.labs.exercise import Bug, Exercise, Sitting

__all__ = ["SITTING"]

SITTING = Sitting(
    number=0,
    name="00_see_the_drop",
    title="See the drop",
    why="A smaller network is worth little until you can say how much smaller, what it lost, and whether that is more than luck.",
    exercises=(
        Exercise(
            "0.1",
            "times_smaller",
            title="how many times smaller",
            difficulty=1,
            hints=(
                "If int8 takes 10 bytes and float takes 40: how often does the small\none fit into the large one?",
                "times smaller = float bytes / int8 bytes",
                "return float_bytes / int8_bytes      # one slash: two would round down",
            ),
        ),
        Exercise(
            "0.2",
            "images_lost",
            title="a drop in percents, as images",
            difficulty=1,
            hints=(
                "One percent of 450 images: how many are that? And a drop of a\npercent and a third?",
                "images lost = (before - after) / 100 * images, made whole",
                "return round((before - after) / 100 * images)\n# int() would cut 5.985 to 5: two decimals are not exact",
            ),
        ),
        Exercise(
            "0.3",
            "sign_test",
            title="what luck would do",
            difficulty=3,
            stretch=True,
            hints=(
                "Throw n = only_a + only_b fair coins. In how many of the 2**n outcomes\n"
                "are there at most min(only_a, only_b) heads?",
                "p = 2 * (C(n, 0) + C(n, 1) + ... + C(n, k)) / 2**n, never above 1,\n"
                "with n = only_a + only_b and k = min(only_a, only_b)",
                "ways = sum(math.comb(n, heads) for heads in range(k + 1))\n"
                "return min(1.0, 2 * ways / 2**n)      # range(k) would leave k out",
            ),
        ),
        Bug(
            "0.4",
            "counterexample",
            title="the batch norm that still trains",
            buggy="to_codes",
            role="quantize",
            law="one_by_one",
            issue="pytorch/pytorch#115715",
            hints=(
                "What does to_codes say to [1.0] alone? And to a 1.0 that has company?",
                "x - x.mean() is 0 for a number that is alone. Take two that differ.",
                'Two numbers and a small step: {"x": [0.0, 1.0], "scale": 0.5,\n"zero_point": 0}',
            ),
        ),
    ),
)
