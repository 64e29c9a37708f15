"""The kernels: one function an operator, integers only, the readable reference that everything else is held against.

Read them as the definition of what a microcontroller computes. Nothing here looks at a scale: `tinyquant.integer.prepare`
turns scales into the integers these functions take. A kernel never writes into its inputs and returns a new array.

`KERNELS[op](*arrays, **prepare(node, inputs))` is one node. Start with `convolution`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from tinyquant.integer.kernels.activations import leaky_relu, logistic, relu, relu6, softmax, tanh
from tinyquant.integer.kernels.convolution import conv_2d, depthwise_conv_2d, fully_connected
from tinyquant.integer.kernels.doors import dequantize, quantize
from tinyquant.integer.kernels.elementwise import add, mul, sub
from tinyquant.integer.kernels.layout import concatenation, constant, pad, reshape, transpose
from tinyquant.integer.kernels.pooling import average_pool_2d, max_pool_2d
from tinyquant.integer.kernels.reduction import reduce_sum
from tinyquant.integer.kernels.transposed import transpose_conv

__all__ = ["KERNELS"]

KERNELS: Mapping[str, Callable[..., np.ndarray]] = MappingProxyType(
    {
        "CONSTANT": constant,
        "CONV_2D": conv_2d,
        "DEPTHWISE_CONV_2D": depthwise_conv_2d,
        "TRANSPOSE_CONV": transpose_conv,
        "FULLY_CONNECTED": fully_connected,
        "ADD": add,
        "SUB": sub,
        "MUL": mul,
        "CONCATENATION": concatenation,
        "AVERAGE_POOL_2D": average_pool_2d,
        "MAX_POOL_2D": max_pool_2d,
        "MEAN": reduce_sum,
        "SUM": reduce_sum,
        "PAD": pad,
        "PADV2": pad,
        "RESHAPE": reshape,
        "TRANSPOSE": transpose,
        "RELU": relu,
        "RELU6": relu6,
        "RELU_N1_TO_1": relu,
        "LEAKY_RELU": leaky_relu,
        "LOGISTIC": logistic,
        "TANH": tanh,
        "SOFTMAX": softmax,
        "QUANTIZE": quantize,
        "DEQUANTIZE": dequantize,
    }
)
"""operator -> function, for every row of `tinyquant.graph.OPS` that has integers."""
