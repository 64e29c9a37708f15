"""Weights quantized without calibration: files a quarter the size, activations in float or quantized as they come.

With this module one can quantize a trained model without data (`quantize_weights`).
"""

from __future__ import annotations

import numpy as np

from tinyquant.nn import Module
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import WEIGHT_ONLY_INT8, Scheme

__all__ = ["quantize_weights"]


def quantize_weights(model: Module, example: np.ndarray, *, scheme: Scheme = WEIGHT_ONLY_INT8) -> FakeQuantModel:
    """A model with quantized weights, for which no data was looked at.

    Parameters
    ----------
    model : Module
        In eval mode; left as it is.
    example : float array, (N, ...)
        Only its shape counts: zeros will do.
    scheme : Scheme
        `WEIGHT_ONLY_INT8` or `DYNAMIC_INT8`, or one made of them: its activations must not be "static".

    Returns
    -------
    FakeQuantModel
        It runs and trains; `convert` refuses it, since integer kernels need activations in codes.

    Raises
    ------
    TypeError, ValueError
        Not a Module or a Scheme, a model in training mode, or a scheme that needs calibration.

    Notes
    -----
    In PyTorch: `quantize_dynamic`, and torchao's weight-only configurations; in TFLite: conversion with
    `Optimize.DEFAULT` and no representative data.

    References
    ----------
    Krishnamoorthi 2018, section 3.1 ("weight only quantization").

    Examples
    --------
    >>> from tinyquant import nn
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()
    >>> fq = quantize_weights(model, np.zeros((1, 2), np.float32))
    >>> fq.nodes["0"].weight_qparams.levels, fq.qparams
    (255, {'input': None, '0': None})
    """
    if isinstance(scheme, Scheme) and scheme.activations == "static":
        raise ValueError(
            f"scheme must leave activations in float or take them as they come, got activations='static' in {scheme.name!r}. "
            "Use WEIGHT_ONLY_INT8 or DYNAMIC_INT8, or calibrate with data and call quantize_model."
        )
    return quantize_model(model, calibrate(model, np.zeros_like(example[:1])), scheme=scheme)
