"""The tape: an array that remembers which operation made it.

    y = f(x),  L = g(y)   =>   dL/dx = dL/dy * f'(x)

Reverse-mode differentiation is this one rule, applied from the loss back to the leaves. Every operation is a
class (`Op`) with a `forward` on plain arrays and, right below it, a `backward` that turns the gradient of its
output into the gradients of its inputs. Running an operation leaves an instance behind, holding what its
backward needs; the instances together are the tape.

With this module one can make a `Tensor`, compute with it, call `backward()`, and write an operation (`Op`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from tinyquant.autograd.memory import Array as Array
from tinyquant.autograd.mode import ReadingRecorder, mode

__all__ = ["Array", "Op", "Operand", "Tensor", "wrap"]

Operand: TypeAlias = "Tensor | Array | float | Sequence[Any]"

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_creation = itertools.count()


class Tensor:
    """An array of float32 or float64 numbers that can be differentiated.

    Parameters
    ----------
    data : array_like
        float32 and float64 arrays are kept as they are (same memory, no copy); other real numbers, Python lists
        included, become float32.
    requires_grad : bool
        True for the numbers to be learned: `backward` then fills `.grad`.

    Attributes
    ----------
    data : ndarray
        The numbers. Changing them in place between forward and backward gives wrong gradients.
    grad : ndarray or None
        dL/d(data), same shape and dtype as `data`; only for *leaves*, tensors that no operation made.
    requires_grad : bool
        Whether a gradient flows here: given for a leaf, found out for a result.

    Raises
    ------
    TypeError
        For complex numbers, strings and objects.

    Notes
    -----
    In PyTorch this is `torch.tensor(data, requires_grad=...)`; differs by not copying. Two tensors are equal
    (`==`) only if they are the same object, so that tensors can be keys of a dict: compare `.data` instead.

    Examples
    --------
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> loss = (x * x).sum()
    >>> loss.backward()
    >>> x.grad.tolist()
    [2.0, 4.0, 6.0]
    """

    __slots__ = ("__weakref__", "_op", "data", "grad", "requires_grad")

    # An ndarray on the left must leave `array * tensor` to Tensor.__rmul__.
    __array_ufunc__ = None

    data: Array
    grad: Array | None
    requires_grad: bool
    _op: Op | None

    def __init__(self, data: Operand, requires_grad: bool = False) -> None:
        self.data = _float_array(data)
        self.grad = None
        self.requires_grad = bool(requires_grad)
        self._op = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of cells along each axis."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of cells."""
        return self.data.size

    def numpy(self) -> Array:
        """The array itself, not a copy; the tape does not see what is done with it."""
        return self.data

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.data, dtype=dtype, copy=True) if copy else np.asarray(self.data, dtype=dtype)

    def item(self) -> float:
        """The only number of a one-cell tensor, as a Python float.

        Raises
        ------
        ValueError
            If there is more than one cell, or none.
        """
        if self.size != 1:
            raise ValueError(f"item() needs a tensor of one number, got shape {self.shape}. "
                             "Take one out first, or use .numpy().")
        if mode.recorder is not None and isinstance(mode.recorder, ReadingRecorder):
            mode.recorder.read(self)
        return float(self.data.item())

    def __float__(self) -> float:
        return self.item()

    def __bool__(self) -> bool:
        return self.item() != 0.0

    def detach(self) -> Tensor:
        """The same numbers (same memory) without their history: a leaf that needs no gradient."""
        return wrap(self.data)

    def backward(self, grad: npt.ArrayLike | None = None) -> None:
        """Add dL/dx to `x.grad` of every leaf x that this tensor was computed from and that requires a gradient.

        Parameters
        ----------
        grad : array_like, shape of this tensor, optional
            dL/d(this tensor). May be left out for a tensor of one number, where it is 1.

        Raises
        ------
        ValueError
            If nothing here requires a gradient, if `grad` is left out for more than one number, or if it has
            another shape.

        Notes
        -----
        *Why a topological order?* When a tensor is used twice its gradient is the sum of two parts. Its
        operation may go backward only when both parts have arrived, that is after every operation that used it.
        Operations are numbered as they are made, and an operation can only use what was made before it: from the
        highest number down is such an order. Nothing here recurses, so the chain may be as long as memory allows.

        *What does a second backward do?* `.grad` is added to, never replaced, so that the gradients of several
        losses or batches can be summed; set it to None (or call the optimizer's `zero_grad`) to start again.
        Backward leaves the tape as it was: called twice on the same loss it adds the same gradients twice. The
        tape lives as long as the result does and is freed with it. (PyTorch frees it during backward and refuses
        the second call.)

        Examples
        --------
        >>> x = Tensor([3.0], requires_grad=True)
        >>> y = x * x
        >>> y.backward()
        >>> y.backward()
        >>> x.grad.tolist()
        [12.0]
        """
        if not self.requires_grad:
            raise ValueError("backward() needs a result computed from a tensor with requires_grad=True, got one "
                             "without history. Was it computed inside no_grad(), or detached?")
        if grad is None:
            if self.size != 1:
                raise ValueError(f"backward() without an argument needs one number, got shape {self.shape}. "
                                 "Reduce it with .sum() or .mean(), or pass the gradient of the output.")
            start = np.ones_like(self.data)
        else:
            start = np.asarray(grad, dtype=self.data.dtype)
            if start.shape != self.shape:
                raise ValueError(f"backward(grad) needs a gradient of the tensor's shape {self.shape}, "
                                 f"got {start.shape}. Reshape or broadcast it first.")
        if self._op is None:
            _accumulate(self, start)
            return
        pending: dict[Op, Array] = {self._op: start}
        for op in _newest_first(self._op):
            dy = pending.pop(op)
            for tensor, part in zip(op.inputs, op.backward(dy)):
                if part is None or not tensor.requires_grad:
                    continue
                maker = tensor._op
                if maker is None:
                    _accumulate(tensor, part)
                elif maker in pending:
                    pending[maker] = pending[maker] + part
                else:
                    pending[maker] = part

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() needs a tensor with at least one axis, got shape (). Use .item().")
        return self.data.shape[0]

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="Tensor(", threshold=100, precision=6)
        kind = "" if self.dtype == np.float32 else f", dtype={self.dtype}"
        return f"Tensor({body}{kind}{', requires_grad=True' if self.requires_grad else ''})"

    def __add__(self, other: Operand) -> Tensor:
        return elementwise.add(self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return elementwise.add(other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return elementwise.sub(self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return elementwise.sub(other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return elementwise.mul(self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return elementwise.mul(other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return elementwise.div(self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return elementwise.div(other, self)

    def __pow__(self, exponent: Operand) -> Tensor:
        return elementwise.power(self, exponent)

    def __rpow__(self, base: Operand) -> Tensor:
        return elementwise.power(base, self)

    def __matmul__(self, other: Operand) -> Tensor:
        return products.matmul(self, other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return products.matmul(other, self)

    def __neg__(self) -> Tensor:
        return elementwise.neg(self)

    def __getitem__(self, index: Any) -> Tensor:
        return shaping.getitem(self, index)

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """See `tinyquant.autograd.sum`."""
        return reduce.sum(self, axis, keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """See `tinyquant.autograd.mean`."""
        return reduce.mean(self, axis, keepdims)

    def max(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """See `tinyquant.autograd.max`."""
        return reduce.max(self, axis, keepdims)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """See `tinyquant.autograd.reshape`; the sizes may stand alone or in one tuple."""
        sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], (int, np.integer)) else shape
        return shaping.reshape(self, sizes)  # type: ignore[arg-type]

    def transpose(self, *axes: int | Sequence[int]) -> Tensor:
        """See `tinyquant.autograd.transpose`; the axes may stand alone or in one tuple, none reverses them."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], (int, np.integer)) else axes
        return shaping.transpose(self, order or None)  # type: ignore[arg-type]

    @property
    def T(self) -> Tensor:
        """All axes in reverse order."""
        return shaping.transpose(self)

    def exp(self) -> Tensor:
        """See `tinyquant.autograd.exp`."""
        return elementwise.exp(self)

    def log(self) -> Tensor:
        """See `tinyquant.autograd.log`."""
        return elementwise.log(self)

    def tanh(self) -> Tensor:
        """See `tinyquant.autograd.tanh`."""
        return elementwise.tanh(self)

    def sigmoid(self) -> Tensor:
        """See `tinyquant.autograd.sigmoid`."""
        return elementwise.sigmoid(self)

    def relu(self) -> Tensor:
        """See `tinyquant.autograd.relu`."""
        return elementwise.relu(self)


class Op:
    """One differentiable operation; an instance is one entry of the tape.

    To write one, give it a `name` and two methods on plain arrays, and call it with `apply`:

    - `forward(self, *arrays) -> array`: may keep on `self` whatever backward will need, but only what it needs;
    - `backward(self, dy) -> tuple`: one array (or None) an input, of that input's shape. `dy` may be shared with
      other operations: read it, never write it. `self.needs[i]` says whether input i wants a gradient at all.

    Attributes
    ----------
    name : str
        Snake case, how a recorder sees the operation.
    settings : dict
        Everything that is not a tensor, as given to `apply`.
    inputs : tuple of Tensor
        Empty where no gradient is needed.
    needs : tuple of bool
        One an input; all False inside `no_grad`.

    Examples
    --------
    >>> class Scale(Op):
    ...     "y = factor * x; dx = factor * dy."
    ...     name = "scale"
    ...     def forward(self, x):
    ...         return self.settings["factor"] * x
    ...     def backward(self, dy):
    ...         return (self.settings["factor"] * dy,)
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> Scale.apply(x, factor=3.0).sum().backward()
    >>> x.grad.tolist()
    [3.0, 3.0]
    """

    name: ClassVar[str] = ""
    settings: dict[str, Any]
    inputs: tuple[Tensor, ...]
    needs: tuple[bool, ...]
    _number: int

    def forward(self, *arrays: Array) -> Array:
        """The value, from the arrays of the inputs."""
        raise TypeError(f"{type(self).__name__} must define forward(self, *arrays), got an Op without one. "
                        "Write it beside its backward.")

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        """The gradients of the inputs, from the gradient of the output."""
        raise TypeError(f"{type(self).__name__} must define backward(self, dy), got an Op without one. "
                        "Write it beside its forward.")

    @classmethod
    def apply(cls, *inputs: Tensor, **settings: Any) -> Tensor:
        """Run the operation; keep it on the tape if an input requires a gradient; show it to the recorder."""
        op = cls()
        op.settings = settings
        op.needs = needs = tuple([t.requires_grad for t in inputs]) if mode.grad else (False,) * len(inputs)
        output = wrap(np.asarray(op.forward(*[t.data for t in inputs])))
        if True in needs:
            op.inputs = inputs
            op._number = next(_creation)
            output.requires_grad = True
            output._op = op
        if mode.recorder is not None:
            mode.recorder.op(cls.name, inputs, settings, output)
        return output


def _float_array(data: object) -> Array:
    """The data as float32 or float64, without a copy where possible."""
    array = data.data if isinstance(data, Tensor) else np.asarray(data)
    if array.dtype in _FLOATS and (isinstance(data, (np.ndarray, Tensor, np.generic))):
        return array
    if array.dtype.kind not in "fiub":
        raise TypeError(f"a Tensor holds real numbers, got an array of {array.dtype}. "
                        "Pass float32 or float64 numbers; split a complex array into .real and .imag.")
    return array.astype(np.float32)


def wrap(array: Array) -> Tensor:
    """A Tensor around a float array, without checking it."""
    tensor = Tensor.__new__(Tensor)
    tensor.data = array
    tensor.grad = None
    tensor.requires_grad = False
    tensor._op = None
    return tensor


def _accumulate(leaf: Tensor, part: Array) -> None:
    """Add to the gradient of a leaf; the first part is copied, since two leaves may be handed the same array."""
    if leaf.grad is None:
        leaf.grad = np.array(part, dtype=leaf.data.dtype)
    else:
        leaf.grad += part


def _newest_first(last: Op) -> list[Op]:
    """Every operation on the way to `last` that needs to go backward, from the newest to the oldest."""
    found = {last}
    todo = [last]
    while todo:
        for tensor in todo.pop().inputs:
            maker = tensor._op
            if maker is not None and maker not in found:
                found.add(maker)
                todo.append(maker)
    return sorted(found, key=_creation_number, reverse=True)


def _creation_number(op: Op) -> int:
    """When the operation was made."""
    return op._number


# Down here because these modules need Tensor and Op, and the methods of Tensor need them only when called.
from tinyquant.autograd import elementwise, products, reduce, shaping  # noqa: E402
