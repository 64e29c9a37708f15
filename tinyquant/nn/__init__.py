"""Layers, losses and how they are kept: the float networks that the rest of the package quantizes.

Every layer runs one operation of `tinyquant.autograd` (also here as `functional`). Images are NHWC.
"""

from tinyquant import autograd as functional

from .activations import LeakyReLU as LeakyReLU
from .activations import ReLU as ReLU
from .activations import ReLU6 as ReLU6
from .activations import Sigmoid as Sigmoid
from .activations import Softmax as Softmax
from .activations import Tanh as Tanh
from .containers import Add as Add
from .containers import Concat as Concat
from .containers import Dropout as Dropout
from .containers import Residual as Residual
from .containers import Sequential as Sequential
from .init import glorot_uniform as glorot_uniform
from .init import he_normal as he_normal
from .layers import BatchNorm2d as BatchNorm2d
from .layers import Conv2d as Conv2d
from .layers import DepthwiseConv2d as DepthwiseConv2d
from .layers import Linear as Linear
from .losses import CrossEntropyLoss as CrossEntropyLoss
from .losses import MSELoss as MSELoss
from .module import Layer as Layer
from .module import Module as Module
from .module import Parameter as Parameter
from .pooling import AvgPool2d as AvgPool2d
from .pooling import Flatten as Flatten
from .pooling import GlobalAvgPool2d as GlobalAvgPool2d
from .pooling import MaxPool2d as MaxPool2d
from .store import load_state as load_state
from .store import read_about as read_about
from .store import save_state as save_state

__all__ = [
    "Add", "AvgPool2d", "BatchNorm2d", "Concat", "Conv2d", "CrossEntropyLoss", "DepthwiseConv2d", "Dropout", "Flatten",
    "GlobalAvgPool2d", "Layer", "LeakyReLU", "Linear", "MSELoss", "MaxPool2d", "Module", "Parameter", "ReLU", "ReLU6",
    "Residual", "Sequential", "Sigmoid", "Softmax", "Tanh", "functional", "glorot_uniform", "he_normal", "load_state",
    "read_about", "save_state",
]  # fmt: skip
