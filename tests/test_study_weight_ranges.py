"""The smallest squared error of the weights is not the best network: min-max against MSE weight ranges at 3 bits, settled.

Two rows of an early measurement looked exchanged: the rule that is never worse in squared error had the lower accuracy. They were
not. On committed checkpoints, so that the numbers are the same on every machine.
"""

from __future__ import annotations

import numpy as np
import pytest

from tinyquant import data, models
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.training import predict


def both(network):
    """Of either rule: each layer's squared error, the logits' size next to float's, images right."""
    (x, _), (xt, yt) = data.digits(0)
    model = models.load_checkpoint(network)
    seen, logits = calibrate(model, x[:512]), predict(model, xt)
    found = []
    for rule in ("minmax", "mse"):
        fq = quantize_model(model, seen, scheme=TFLITE_INT8.replace(weight_bits=3, weight_calibration=rule))
        errors = []
        for node in fq.nodes.values():
            if node.weight_qparams is not None:
                weight = node.params()["weight"].data
                restored = dequantize(quantize(weight, node.weight_qparams), node.weight_qparams)
                errors.append(float(np.sum((weight - restored).astype(np.float64) ** 2)))
        out = predict(fq, xt)
        found.append((np.array(errors), float(np.sum(out * logits) / np.sum(logits**2)), int(np.sum(out.argmax(axis=1) == yt))))
    return found


@pytest.mark.parametrize("network", ["mlp", "resnet", "mobilenet"])
def test_every_layer_has_the_smaller_squared_error_and_the_logits_shrink(network):
    """A fifth less on average over layers; what is clipped are the large weights."""
    (minmax, size, _), (mse, smaller, _) = both(network)
    assert np.all(mse < minmax) and np.mean(mse / minmax) < 0.8
    assert smaller < size


@pytest.mark.parametrize("network", ["resnet", "mobilenet"])
def test_and_yet_both_convnets_answer_worse(network):
    """By 79 and 132 of 450 images when it was measured; the logits keep 0.63 and 0.43 of their size."""
    (_, size, right), (_, smaller, fewer) = both(network)
    assert fewer < right - 45 and smaller < 0.75 < 0.85 < size


def test_the_perceptron_does_not_mind():
    """Three layers shrink its logits to 0.89, nine or ten those of the others to a half."""
    (_, _, right), (_, _, same) = both("mlp")
    assert abs(same - right) <= 5
