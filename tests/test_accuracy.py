"""The reference networks learn the digits: trained here, on five splits, by the recipes of `models.RECIPES`."""

from __future__ import annotations

import numpy as np
import pytest

from tinyquant import data, models
from tinyquant.training import evaluate, fit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mean", "worst"), [("mlp", 0.965, 0.955), ("resnet", 0.982, 0.973), ("mobilenet", 0.982, 0.973)]
)
def test_the_recipes_reach_their_accuracy_on_splits_0_to_4(name, mean, worst):
    """Mean over splits 0 to 4 at least `mean`, none below `worst`; weights and batches are seeded with the split."""
    reached = []
    for split in range(5):
        (x, y), (xt, yt) = data.digits(split=split)
        model = models.build(name, seed=split)
        fit(model, x, y, **models.RECIPES[name], seed=split)
        reached.append(evaluate(model, xt, yt))
    assert np.mean(reached) >= mean and min(reached) >= worst, reached
