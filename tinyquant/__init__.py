"""tinyquant: one network in three arithmetics - float, fake-quantized, integer - with every box open.

The way of the data, each arrow one function::

    nn.Module --capture--> Graph --calibrate--> Calibration --quantize_model--> FakeQuantModel
        FakeQuantModel --fit--> FakeQuantModel --convert--> IntegerModel --run, trace, save--> .tflite --load--> IntegerModel

Where to read on: `numerics` (what a scale is, and rounding), `graph` (the table of operators), `autograd` and `nn` (the
float lane), `integer` (the kernels a microcontroller runs), `quantization` (the bridge), `analysis` and `plot` (seeing it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinyquant import data as data
from tinyquant import engines as engines
from tinyquant import interop as interop
from tinyquant import models as models
from tinyquant import nn as nn
from tinyquant import optim as optim
from tinyquant.analysis.acceptable import assert_acceptable as assert_acceptable
from tinyquant.analysis.compare import compare as compare
from tinyquant.analysis.explain import explain as explain
from tinyquant.autograd import Tensor as Tensor
from tinyquant.autograd import no_grad as no_grad
from tinyquant.graph import OPS as OPS
from tinyquant.graph import Graph as Graph
from tinyquant.graph import Node as Node
from tinyquant.graph import Value as Value
from tinyquant.integer.model import IntegerModel as IntegerModel
from tinyquant.integer.registry import InexactDialectWarning as InexactDialectWarning
from tinyquant.interop import load as load
from tinyquant.interop import load_tflite as load_tflite
from tinyquant.numerics.affine import dequantize as dequantize
from tinyquant.numerics.affine import quantize as quantize
from tinyquant.numerics.fixed_point import quantize_multiplier as quantize_multiplier
from tinyquant.numerics.fixed_point import requantize as requantize
from tinyquant.numerics.qparams import QParams as QParams
from tinyquant.numerics.qparams import choose_qparams as choose_qparams
from tinyquant.numerics.rounding import round_to_int as round_to_int
from tinyquant.quantization import schemes as schemes
from tinyquant.quantization.calibrate import Calibration as Calibration
from tinyquant.quantization.calibrate import calibrate as calibrate
from tinyquant.quantization.capture import capture as capture
from tinyquant.quantization.convert import convert as convert
from tinyquant.quantization.fake_quant import fake_quantize as fake_quantize
from tinyquant.quantization.model import FakeQuantModel as FakeQuantModel
from tinyquant.quantization.prepare import quantize_model as quantize_model
from tinyquant.training import evaluate as evaluate
from tinyquant.training import fit as fit

if TYPE_CHECKING:
    from tinyquant import plot as plot

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`tinyquant.plot` is imported on first use: matplotlib takes longer to load than everything else together."""
    if name == "plot":
        import importlib

        return importlib.import_module("tinyquant.plot")
    raise AttributeError(f"module 'tinyquant' has no attribute {name!r}.")
