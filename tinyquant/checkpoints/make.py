"""How the packaged checkpoints were made: build, fit by the recipe, score, save.

Float training gives other last bits on another processor, so the files are made once, by a maintainer, and committed.
With this module one can make them again, or make one for another split or seed.
"""

from __future__ import annotations

from pathlib import Path

from tinyquant.data import digits
from tinyquant.models import RECIPES, build
from tinyquant.nn import save_state
from tinyquant.nn.store import About
from tinyquant.training import evaluate, fit

COMMAND = "python -m tinyquant.checkpoints"


def make_checkpoint(name: str, folder: Path, *, split: int = 0, seed: int = 0) -> float:
    """Train one network by its recipe and write `folder`/name.npz; returns its accuracy on the split's test part.

    Parameters
    ----------
    name : {"mlp", "resnet", "mobilenet"}
    folder : Path
        Must exist.
    split : int in [0, 9]
        Of `digits`; the test part is scored, never trained on.
    seed : int
        Of the weights and of the order.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ValueError
        If there is no such network or split.
    """
    (x, y), (xt, yt) = digits(split)
    model = build(name, seed=seed)
    fit(model, x, y, seed=seed, **RECIPES[name])
    accuracy = evaluate(model, xt, yt)
    about: About = {"command": COMMAND, "network": name, "data": "digits", "split": split, "seed": seed}
    about["test_accuracy"] = accuracy
    save_state(model, folder / f"{name}.npz", about)
    return accuracy
