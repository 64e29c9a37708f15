"""One output element told in full, an operator at a time; `tinyquant.analysis.explain` is the way in.

`by_hand` is the arithmetic on single Python ints, `story` what all operators share, the others the families of operators.
`TELL[op]` makes the story of an operator. Every row of `tinyquant.graph.OPS` that has integers has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tinyquant.analysis.explanations import elements, functions, moves, windows
from tinyquant.analysis.explanations.story import Question, Story

__all__ = ["TELL"]


def _door(question: Question) -> Story:
    """QUANTIZE reads reals or codes."""
    return (
        elements.rescaled(question) if question.inputs[0].qparams is not None else elements.door_in(question)
    )


TELL: Mapping[str, Callable[[Question], Story]] = MappingProxyType(
    {
        "CONSTANT": moves.stored,
        "CONV_2D": windows.weighted_sum,
        "DEPTHWISE_CONV_2D": windows.weighted_sum,
        "TRANSPOSE_CONV": windows.weighted_sum,
        "FULLY_CONNECTED": windows.weighted_sum,
        "ADD": elements.addition,
        "SUB": elements.addition,
        "MUL": elements.multiplication,
        "CONCATENATION": moves.moved,
        "AVERAGE_POOL_2D": windows.average_pool,
        "MAX_POOL_2D": windows.max_pool,
        "MEAN": windows.reduction,
        "SUM": windows.reduction,
        "PAD": moves.moved,
        "PADV2": moves.moved,
        "RESHAPE": moves.moved,
        "TRANSPOSE": moves.moved,
        "RELU": elements.rescaled,
        "RELU6": elements.relu_six,
        "RELU_N1_TO_1": elements.rescaled,
        "LEAKY_RELU": elements.leaky,
        "LOGISTIC": functions.sigmoid,
        "TANH": functions.sigmoid,
        "SOFTMAX": functions.softmax_row,
        "QUANTIZE": _door,
        "DEQUANTIZE": elements.door_out,
    }
)
"""operator -> the function that tells it."""
