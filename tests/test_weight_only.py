"""Weights quantized without a look at data."""

from __future__ import annotations

import numpy as np
import pytest

from tinyquant import data, models
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import DYNAMIC_INT8, TFLITE_INT8, WEIGHT_ONLY_INT8
from tinyquant.quantization.weight_only import quantize_weights
from tinyquant.training import evaluate


@pytest.mark.parametrize("network", ["mlp", "resnet", "mobilenet"])
@pytest.mark.parametrize("scheme", [WEIGHT_ONLY_INT8, DYNAMIC_INT8], ids=lambda s: s.name)
def test_no_data_is_needed_and_accuracy_stays_within_a_point(network, scheme):
    """What calibration would have seen makes no difference to the bytes that come out."""
    (x, _), (xt, yt) = data.digits(split=0)
    model = models.load_checkpoint(network)
    fq = quantize_weights(model, np.zeros((1, 8, 8, 1), np.float32), scheme=scheme)
    assert abs(evaluate(fq, xt, yt) - evaluate(model, xt, yt)) < 0.01
    with_data = quantize_model(model, calibrate(model, x[:64]), scheme=scheme)
    assert np.array_equal(fq(xt[:32]).data, with_data(xt[:32]).data)


def test_a_scheme_that_needs_data_is_refused():
    with pytest.raises(ValueError, match="got activations='static' in 'tflite_int8'. Use WEIGHT_ONLY_INT8"):
        quantize_weights(models.load_checkpoint("mlp"), np.zeros((1, 8, 8, 1), np.float32), scheme=TFLITE_INT8)
