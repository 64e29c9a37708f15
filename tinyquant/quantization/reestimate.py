"""Batch norm statistics measured again, through the trained quantized network.

While a network trains, its running statistics follow batches of weights that are no more, and at few bits the codes
hop until the last step. So when training is over the statistics are measured once more, layer after layer: each
layer sees inputs that the layers before it, re-estimated already, make of the data, and then folds anew.

With this module one can re-estimate the batch norms of a fake-quantized model (`reestimate_batch_norm`).
"""

from __future__ import annotations

import numpy as np

from tinyquant.autograd import no_grad
from tinyquant.nn.checks import checked_x
from tinyquant.quantization.model import FakeQuantModel

__all__ = ["reestimate_batch_norm"]


def reestimate_batch_norm(model: FakeQuantModel, x: np.ndarray) -> None:
    """Set every batch norm's statistics to those of its layer's output on these rows; the model is left in eval mode.

    After it, for each layer with a batch norm: mean and variance (over n - 1, as running ones are) of the float
    layer's output, its inputs being what the quantized layers before it make of x.

    Parameters
    ----------
    model : FakeQuantModel
        With batch norms of its own: made with any `bn` but "fold".
    x : float array, (N, ...)
        A few hundred training rows, run at once.

    Raises
    ------
    TypeError
        Not a FakeQuantModel, or x is not float.
    ValueError
        There are no batch norms, one is used twice, or x has the wrong shape, too few rows or numbers not finite.

    References
    ----------
    Nagel et al. 2022, "Overcoming oscillations in quantization-aware training", section 3.3; AIMET's batch-norm
    re-estimation.
    """
    if not isinstance(model, FakeQuantModel):
        raise TypeError(f"model must be a FakeQuantModel, got {type(model).__name__}. Call quantize_model first.")
    own = [name for name, made in model.nodes.items() if "gamma" in made.node.params]
    twice = [name for name in own if len(model.nodes[name].peers) > 1]
    if not own:
        folded = model.rules.bn == "fold"
        mend = "Quantize with bn='reestimate', not 'fold'." if folded else "Nothing is to be measured again: call convert."
        raise ValueError(f"the model must have batch norms, got {'none left' if folded else 'a network without any'}. {mend}")
    if twice:
        raise ValueError(f"each batch norm must be used once, got {', '.join(twice)} sharing one. Use bn='freeze'.")
    x = checked_x(model, x, "x")
    model.eval()
    source = model.structure.inputs[0].name
    with no_grad():
        values = {source: model.quantize_input(x)}
        for name, made in model.nodes.items():
            inputs = [values[read] for read in made.node.inputs]
            if name in own:
                _measure(made.before_norm([made.read(value) for value in inputs]).data, made.mean, made.variance, name)  # type: ignore[attr-defined]
                made.choose_weight_qparams()
            values[name] = made(*inputs)
    model.state.norms_stale = False


def _measure(y: np.ndarray, mean: np.ndarray, variance: np.ndarray, name: str) -> None:
    """Mean and unbiased variance of each channel, into these arrays."""
    rows = y.reshape(-1, y.shape[-1]).astype(np.float64)
    if len(rows) < 2:
        raise ValueError(f"x must give a batch norm more than one number a channel, got {len(rows)} at {name!r}. Pass more rows.")
    mean[...] = rows.mean(axis=0)
    variance[...] = rows.var(axis=0, ddof=1)
