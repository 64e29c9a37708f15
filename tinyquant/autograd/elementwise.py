"""Operations on each number by itself, and on pairs of numbers.

    op          y                       dx
    add         a + b                   dy                   dy
    sub         a - b                   dy                   -dy
    mul         a * b                   dy * b               dy * a
    div         a / b                   dy / b               -dy * y / b
    power       a ** b                  dy * b * a**(b-1)    dy * y * log(a)
    neg         -x                      -dy
    exp         e**x                    dy * y
    log         ln x                    dy / x
    tanh        tanh x                  dy * (1 - y*y)
    sigmoid     1 / (1 + e**-x)         dy * y * (1 - y)
    relu        max(x, 0)               dy where x > 0
    relu6       min(max(x, 0), 6)       dy where 0 < x < 6
    leaky_relu  x where x > 0, else s*x dy where x > 0, else s*dy

The two arrays of a binary operation are broadcast as numpy does; `unbroadcast` sums their gradients back to
their own shapes.

With this module one can write formulas and activation functions.
"""

from __future__ import annotations

import numpy as np

from tinyquant.autograd.memory import room_for
from tinyquant.autograd.operands import as_tensor, operand, unbroadcast
from tinyquant.autograd.tensor import Array, Op, Operand, Tensor

__all__ = ["add", "div", "exp", "leaky_relu", "log", "mul", "neg", "power", "relu", "relu6", "sigmoid", "sub", "tanh"]


class Add(Op):
    """y = a + b; da = dy, db = dy."""

    name = "add"

    def forward(self, *arrays: Array) -> Array:
        a, b = arrays
        self.shapes = a.shape, b.shape
        return np.add(a, b, out=room_for(a) if a.shape == b.shape and a.dtype == b.dtype else None)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return unbroadcast(dy, self.shapes[0]), unbroadcast(dy, self.shapes[1])


class Sub(Op):
    """y = a - b; da = dy, db = -dy."""

    name = "sub"

    def forward(self, *arrays: Array) -> Array:
        a, b = arrays
        self.shapes = a.shape, b.shape
        return a - b

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (unbroadcast(dy, self.shapes[0]) if self.needs[0] else None,
                unbroadcast(-dy, self.shapes[1]) if self.needs[1] else None)


class Mul(Op):
    """y = a * b; da = dy * b, db = dy * a."""

    name = "mul"

    def forward(self, *arrays: Array) -> Array:
        self.a, self.b = arrays
        return self.a * self.b

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (unbroadcast(dy * self.b, self.a.shape) if self.needs[0] else None,
                unbroadcast(dy * self.a, self.b.shape) if self.needs[1] else None)


class Div(Op):
    """y = a / b; da = dy / b, db = -dy * y / b."""

    name = "div"

    def forward(self, *arrays: Array) -> Array:
        self.a, self.b = arrays
        self.y = self.a / self.b
        return self.y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        da = dy / self.b
        return (unbroadcast(da, self.a.shape) if self.needs[0] else None,
                unbroadcast(-da * self.y, self.b.shape) if self.needs[1] else None)


class Power(Op):
    """y = a ** b; da = dy * b * a**(b-1) (0 where b = 0), db = dy * y * log(a) (0 where a = 0)."""

    name = "power"

    def forward(self, *arrays: Array) -> Array:
        self.a, self.b = arrays
        self.y = self.a**self.b
        return self.y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        a, b = self.a, self.b
        da = db = None
        if self.needs[0]:
            # a**0 is flat even at a = 0, where the formula would say 0 * 0**-1.
            exponent = np.where(b == 0, 1, b - 1).astype(b.dtype)
            da = unbroadcast(dy * (b * a**exponent), a.shape)
        if self.needs[1]:
            db = unbroadcast(dy * (self.y * np.log(np.where(a == 0, 1, a).astype(a.dtype))), b.shape)
        return da, db


class Neg(Op):
    """y = -x; dx = -dy."""

    name = "neg"

    def forward(self, *arrays: Array) -> Array:
        return -arrays[0]

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (-dy,)


class Exp(Op):
    """y = e**x; dx = dy * y."""

    name = "exp"

    def forward(self, *arrays: Array) -> Array:
        self.y = np.exp(arrays[0])
        return self.y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (dy * self.y,)


class Log(Op):
    """y = ln x; dx = dy / x."""

    name = "log"

    def forward(self, *arrays: Array) -> Array:
        self.x = arrays[0]
        return np.log(self.x)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (dy / self.x,)


class Tanh(Op):
    """y = tanh x; dx = dy * (1 - y*y)."""

    name = "tanh"

    def forward(self, *arrays: Array) -> Array:
        self.y = np.tanh(arrays[0])
        return self.y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (dy * (1 - self.y * self.y),)


class Sigmoid(Op):
    """y = 1 / (1 + e**-x); dx = dy * y * (1 - y)."""

    name = "sigmoid"

    def forward(self, *arrays: Array) -> Array:
        x = arrays[0]
        # e**-|x| never overflows, and keeps the digits of tiny values of y.
        small = np.exp(-np.abs(x))
        self.y = np.where(x >= 0, 1, small) / (1 + small)
        return self.y.astype(x.dtype, copy=False)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (dy * (self.y * (1 - self.y)),)


class Relu(Op):
    """y = max(x, 0); dx = dy where x > 0, else 0."""

    name = "relu"

    def forward(self, *arrays: Array) -> Array:
        # clip is numpy's fastest maximum with a constant; the output tells the sign of the input as well as x does.
        # Bounds of x's own type: numpy 1 would make a float64 of a single float32 number.
        own = arrays[0].dtype.type
        self.y = arrays[0].clip(own(0), own(np.inf), out=room_for(arrays[0]))
        return self.y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (np.multiply(dy, self.y > 0, out=room_for(dy)),)


class Relu6(Op):
    """y = min(max(x, 0), 6); dx = dy where 0 < x < 6, else 0."""

    name = "relu6"

    def forward(self, *arrays: Array) -> Array:
        own = arrays[0].dtype.type
        self.y = arrays[0].clip(own(0), own(6), out=room_for(arrays[0]))
        return self.y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (np.multiply(dy, (self.y > 0) & (self.y < 6), out=room_for(dy)),)


class LeakyRelu(Op):
    """y = x where x > 0, else s * x; dx = dy where x > 0, else s * dy."""

    name = "leaky_relu"

    def forward(self, *arrays: Array) -> Array:
        x = arrays[0]
        slope = self.settings["negative_slope"]
        self.positive = x > 0
        return np.where(self.positive, x, slope * x)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return (np.where(self.positive, dy, self.settings["negative_slope"] * dy),)


def add(a: Operand, b: Operand) -> Tensor:
    """a + b, broadcast; numbers and arrays are lifted to tensors.

    >>> add(Tensor([1.0, 2.0]), 3.0).data.tolist()
    [4.0, 5.0]
    """
    return Add.apply(operand(a, b), operand(b, a))


def sub(a: Operand, b: Operand) -> Tensor:
    """a - b, broadcast; numbers and arrays are lifted to tensors.

    >>> sub(3.0, Tensor([1.0, 2.0])).data.tolist()
    [2.0, 1.0]
    """
    return Sub.apply(operand(a, b), operand(b, a))


def mul(a: Operand, b: Operand) -> Tensor:
    """a * b, number by number, broadcast; numbers and arrays are lifted to tensors.

    >>> mul(Tensor([1.0, 2.0]), [3.0, 4.0]).data.tolist()
    [3.0, 8.0]
    """
    return Mul.apply(operand(a, b), operand(b, a))


def div(a: Operand, b: Operand) -> Tensor:
    """a / b, broadcast; numbers and arrays are lifted to tensors. Division by 0 warns as numpy does.

    >>> div(Tensor([1.0, 2.0]), 4.0).data.tolist()
    [0.25, 0.5]
    """
    return Div.apply(operand(a, b), operand(b, a))


def power(x: Operand, exponent: Operand) -> Tensor:
    """x ** exponent, broadcast; differentiable in both.

    A negative x needs a whole exponent that asks for no gradient: log(x) has no value there.

    >>> power(Tensor([1.0, 2.0, 3.0]), 2).data.tolist()
    [1.0, 4.0, 9.0]
    """
    return Power.apply(operand(x, exponent), operand(exponent, x))


def neg(x: Tensor | Array) -> Tensor:
    """-x.

    >>> neg(Tensor([1.0, -2.0])).data.tolist()
    [-1.0, 2.0]
    """
    return Neg.apply(as_tensor(x, "neg"))


def exp(x: Tensor | Array) -> Tensor:
    """e ** x.

    >>> exp(Tensor([0.0])).data.tolist()
    [1.0]
    """
    return Exp.apply(as_tensor(x, "exp"))


def log(x: Tensor | Array) -> Tensor:
    """The natural logarithm; x > 0, otherwise numpy warns and gives -inf or nan.

    >>> log(Tensor([1.0])).data.tolist()
    [0.0]
    """
    return Log.apply(as_tensor(x, "log"))


def tanh(x: Tensor | Array) -> Tensor:
    """The hyperbolic tangent, between -1 and 1.

    >>> tanh(Tensor([0.0])).data.tolist()
    [0.0]
    """
    return Tanh.apply(as_tensor(x, "tanh"))


def sigmoid(x: Tensor | Array) -> Tensor:
    """1 / (1 + e**-x), between 0 and 1; exact digits in both tails, no overflow. TFLite calls it LOGISTIC.

    >>> sigmoid(Tensor([0.0])).data.tolist()
    [0.5]
    """
    return Sigmoid.apply(as_tensor(x, "sigmoid"))


def relu(x: Tensor | Array) -> Tensor:
    """max(x, 0). The slope at 0 itself is taken as 0, as in PyTorch.

    >>> relu(Tensor([-1.0, 0.0, 2.0])).data.tolist()
    [0.0, 0.0, 2.0]
    """
    return Relu.apply(as_tensor(x, "relu"))


def relu6(x: Tensor | Array) -> Tensor:
    """min(max(x, 0), 6). The slope at 0 and at 6 is taken as 0, as in PyTorch.

    >>> relu6(Tensor([-1.0, 2.0, 9.0])).data.tolist()
    [0.0, 2.0, 6.0]
    """
    return Relu6.apply(as_tensor(x, "relu6"))


def leaky_relu(x: Tensor | Array, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x. The slope at 0 is `negative_slope`, as in PyTorch.

    >>> leaky_relu(Tensor([-4.0, 2.0]), negative_slope=0.25).data.tolist()
    [-1.0, 2.0]
    """
    return LeakyRelu.apply(as_tensor(x, "leaky_relu"), negative_slope=float(negative_slope))
