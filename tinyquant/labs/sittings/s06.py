"""Sitting 6: the mistake that matters, a threshold that is chosen, and an interval that says how sure."""

from __future__ import annotations

from tinyquant.labs.exercise import Bug, Exercise, Sitting

__all__ = ["SITTING"]

SITTING = Sitting(
    number=6,
    name="06_table_and_doctor",
    title="The table and the doctor",
    why="Accuracy counts all mistakes alike and knows nothing of luck; count the one that matters, and say how sure you are.",
    exercises=(
        Exercise(
            "6.1",
            "recall",
            title="the share of the cancers that is found",
            difficulty=1,
            hints=(
                "Whom do you ask: all cases, those called ill, or those who are ill?",
                "recall = cases that are 1 and called 1 / cases that are 1",
                "found = np.sum((truth == 1) & (predicted == 1))\nreturn found / np.sum(truth == 1)",
            ),
        ),
        Exercise(
            "6.2",
            "choose_threshold",
            title="enough found, few false alarms",
            difficulty=2,
            hints=(
                "Let t fall from the largest score down. What happens to the number\n"
                "found, and to the false alarms? When do you stop?",
                "the largest t among the scores at which\n(ones with score >= t) / (all ones) >= recall",
                "for t in np.unique(scores)[::-1]:\n    if np.mean(scores[truth == 1] >= t) >= recall:\n        return t",
            ),
        ),
        Exercise(
            "6.3",
            "paired_interval",
            title="the interval of the table",
            difficulty=2,
            stretch=True,
            hints=(
                "How many numbers are left once each seed of b is taken from the same\nseed of a?",
                "d = a - b;  mean(d) - t * s / sqrt(n)  and  mean(d) + t * s / sqrt(n),\n"
                "s = sqrt(sum((d - mean(d))**2) / (n - 1))",
                "d = a - b\n"
                "half = t * d.std(ddof=1) / np.sqrt(len(d))      # ddof=1: n - 1\n"
                "return d.mean() - half, d.mean() + half",
            ),
        ),
        Bug(
            "6.4",
            "counterexample",
            title="the recall that was the accuracy",
            buggy="reported_recall",
            role="recall",
            law="recall_is_the_share_found",
            issue="Lightning-AI/torchmetrics#439",
            hints=(
                "For which class is something missed here: for the ones, or for both?",
                "found + missed over both classes is the number of all cases. So what is\nfound / (found + missed)?",
                'A healthy case that is right, an ill one that is missed:\n{"truth": [0, 1], "predicted": [0, 0]}',
            ),
        ),
    ),
)
