"""Reverse-mode differentiation on numpy arrays: tensors that remember how they were made.

`tensor` holds the tape and `mode` its switches; each family of operations has a file with its forwards above its
backwards (`elementwise`, `products`, `reduce`, `shaping`, `conv`, `pool`, `norm`, `loss`, `surrogate`); `lowering`,
`depthwise`, `geometry` and `memory` are how images are computed; `gradcheck` tells whether a backward is right.
"""

from tinyquant.autograd.conv import conv2d as conv2d
from tinyquant.autograd.conv import depthwise_conv2d as depthwise_conv2d
from tinyquant.autograd.elementwise import add as add
from tinyquant.autograd.elementwise import div as div
from tinyquant.autograd.elementwise import exp as exp
from tinyquant.autograd.elementwise import leaky_relu as leaky_relu
from tinyquant.autograd.elementwise import log as log
from tinyquant.autograd.elementwise import mul as mul
from tinyquant.autograd.elementwise import neg as neg
from tinyquant.autograd.elementwise import power as power
from tinyquant.autograd.elementwise import relu as relu
from tinyquant.autograd.elementwise import relu6 as relu6
from tinyquant.autograd.elementwise import sigmoid as sigmoid
from tinyquant.autograd.elementwise import sub as sub
from tinyquant.autograd.elementwise import tanh as tanh
from tinyquant.autograd.gradcheck import GradientError as GradientError
from tinyquant.autograd.gradcheck import check_gradients as check_gradients
from tinyquant.autograd.loss import cross_entropy as cross_entropy
from tinyquant.autograd.loss import log_softmax as log_softmax
from tinyquant.autograd.loss import mse_loss as mse_loss
from tinyquant.autograd.loss import softmax as softmax
from tinyquant.autograd.mode import Recorder as Recorder
from tinyquant.autograd.mode import active_recorder as active_recorder
from tinyquant.autograd.mode import is_grad_enabled as is_grad_enabled
from tinyquant.autograd.mode import no_grad as no_grad
from tinyquant.autograd.mode import recording as recording
from tinyquant.autograd.norm import batch_norm as batch_norm
from tinyquant.autograd.norm import dropout as dropout
from tinyquant.autograd.pool import avg_pool2d as avg_pool2d
from tinyquant.autograd.pool import global_avg_pool2d as global_avg_pool2d
from tinyquant.autograd.pool import max_pool2d as max_pool2d
from tinyquant.autograd.products import linear as linear
from tinyquant.autograd.products import matmul as matmul
from tinyquant.autograd.reduce import max as max
from tinyquant.autograd.reduce import mean as mean
from tinyquant.autograd.reduce import sum as sum
from tinyquant.autograd.shaping import concat as concat
from tinyquant.autograd.shaping import flatten as flatten
from tinyquant.autograd.shaping import getitem as getitem
from tinyquant.autograd.shaping import pad as pad
from tinyquant.autograd.shaping import reshape as reshape
from tinyquant.autograd.shaping import transpose as transpose
from tinyquant.autograd.surrogate import straight_through as straight_through
from tinyquant.autograd.tensor import Op as Op
from tinyquant.autograd.tensor import Tensor as Tensor
