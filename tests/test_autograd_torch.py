"""Forward and backward of every layer equal PyTorch's, from vectors it computed once (tests/data/make_torch_vectors.py)."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from tinyquant import autograd as F
from tinyquant.autograd import Tensor

with np.load(Path(__file__).parent / "data" / "torch_vectors.npz", allow_pickle=False) as file:
    VECTORS = {key: file[key] for key in file.files}

CASES = sorted({key.split("/")[0] for key in VECTORS})
PLAIN = {"labels", "weights", "running_mean", "running_var"}


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_pytorchs(case):
    """Exact where all numbers are small integers; else float64 with sums of at most 60 terms of order 10: 1e-12."""
    name, entries = case.split(" ")[0], {k.split("/")[1]: v for k, v in VECTORS.items() if k.split("/")[0] == case}
    fn = getattr(F, name)
    wanted = [p for p in inspect.signature(fn).parameters if p in entries]
    arguments = {p: entries[p].copy() if p in PLAIN else Tensor(entries[p], requires_grad=True) for p in wanted}
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(str(entries["settings"])).items()}
    y = fn(**arguments, **settings)
    y.backward(entries["dy"])
    results = [(y.data, entries["y"])] + [(arguments[p].grad, entries[f"d_{p}"]) for p in wanted if p not in PLAIN]
    results += [(arguments[f"running_{s}"], entries[f"after_{s}"]) for s in ("mean", "var") if f"after_{s}" in entries]
    for ours, theirs in results:
        if entries["exact"]:
            np.testing.assert_array_equal(ours, theirs)
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_vectors_cover_every_layer_with_a_counterpart():
    covered = {case.split(" ")[0] for case in CASES}
    assert covered >= {"conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d", "global_avg_pool2d", "batch_norm",
                       "linear", "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax", "log_softmax",
                       "cross_entropy", "mse_loss"}  # fmt: skip
