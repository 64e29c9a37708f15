"""Dynamic range: an activation's quantizer chosen when the activation is there.

A static range must hold for every input that will ever come; a dynamic one only for the row at hand. It
needs no calibration, and costs a search for the ends of each row at run time.

With this module one can fake-quantize a batch, each row with its own range (`fake_quantize_rows`).
"""

from __future__ import annotations

import numpy as np

from tinyquant.autograd import Tensor
from tinyquant.numerics.qparams import choose_qparams
from tinyquant.quantization.fake_quant import fake_quantize
from tinyquant.quantization.schemes import Scheme

__all__ = ["fake_quantize_rows"]


def fake_quantize_rows(
    x: Tensor,
    settings: Scheme,
    *,
    rounding: str | None = None,
    rng: np.random.Generator | None = None,
    surrogate: str = "clipped",
) -> Tensor:
    """Each row x[i] on the grid that covers it: what a dynamic-range kernel reads.

    Parameters
    ----------
    x : Tensor, (N, ...)
    settings : Scheme
        Its activation_bits, signed, activation_symmetric, power_of_two and rounding are used.
    rounding : str, optional
        Instead of the scheme's: "stochastic", which needs `rng`, in training.
    rng, surrogate
        As for `fake_quantize`.

    Notes
    -----
    TFLite's hybrid kernels do this symmetrically, leaving out the code -128.

    References
    ----------
    TensorFlow Lite, `PortableSymmetricQuantizeFloats` (kernels/internal/portable_tensor_utils.cc).

    Examples
    --------
    >>> scheme = Scheme("three bits", activation_bits=3, activation_symmetric=True)
    >>> fake_quantize_rows(Tensor([[3.0, -0.6], [30.0, -6.0]]), scheme).data.tolist()
    [[3.0, -1.0], [30.0, -10.0]]
    """
    if x.size == 0:
        return x
    rows = x.data.reshape(x.shape[0], -1)
    qp = choose_qparams(
        rows.min(axis=1), rows.max(axis=1), bits=settings.activation_bits, signed=settings.signed,
        symmetric=settings.activation_symmetric, narrow_range=settings.activation_symmetric,
        power_of_two=settings.power_of_two, axis=0,
    )  # fmt: skip
    return fake_quantize(x, qp, rounding=rounding or settings.rounding, rng=rng, surrogate=surrogate)
