"""The integer lane: networks of int8 codes, computed with integers only.

Read `kernels` for what each operator does, `prepare` for where its integers come from, `model` for running a network.
`shapes` and `model_inputs` refuse what does not fit; `registry` is where dialects, engines and file writers plug in.
"""

from tinyquant.integer.kernels import KERNELS
from tinyquant.integer.model import IntegerModel
from tinyquant.integer.prepare import activation_range, prepare, prove_accumulator
from tinyquant.integer.registry import (
    InexactDialectWarning,
    Step,
    build_step,
    known_dialects,
    known_engines,
    register_dialect,
    register_engine,
    register_writer,
)

__all__ = [
    "KERNELS",
    "InexactDialectWarning",
    "IntegerModel",
    "Step",
    "activation_range",
    "build_step",
    "known_dialects",
    "known_engines",
    "prepare",
    "prove_accumulator",
    "register_dialect",
    "register_engine",
    "register_writer",
]
