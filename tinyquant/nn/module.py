"""A module is a function with numbers to learn inside, and a name for every one of them.

    y = module(x)            path of a number = the attribute names on the way to it: "block1.conv1.weight"

Nothing is registered by hand: whatever `Parameter`, buffer or `Module` is an attribute belongs to the module. The
paths name the weights in a saved file, the nodes of the captured graph, and later every integer of the quantized one.
With this module one can write a network as a class, list what it learns, save it, load it, and start it afresh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from tinyquant.autograd import Tensor, active_recorder
from tinyquant.numerics.seeds import Seed, generator

M = TypeVar("M", bound="Module")


class Parameter(Tensor):
    """A tensor to be learned: a `Tensor` with requires_grad=True that a `Module` finds among its attributes.

    Parameters
    ----------
    data : array_like
        As for `Tensor`: a float32 or float64 array is kept, not copied.

    Examples
    --------
    >>> Parameter([1.0, 2.0]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: npt.ArrayLike) -> None:
        super().__init__(np.asarray(data), requires_grad=True)


@runtime_checkable
class ModuleRecorder(Protocol):
    """A recorder that also wants to know inside which module an operation runs."""

    def enter(self, module: Module) -> None:
        """Called just before the module's forward."""

    def leave(self, module: Module) -> None:
        """Called just after it, also when it raised."""


class Module:
    """Base class of everything with parameters: assign layers in `__init__`, use them in `forward`.

    Attributes
    ----------
    training : bool
        True from the start; `train` and `eval` switch it for the whole tree. Batch norm and dropout look at it.

    Notes
    -----
    In PyTorch this is `torch.nn.Module`. Differs by needing no `super().__init__()`, and by refusing a list of
    modules as an attribute, whose parameters would silently never be trained.

    Examples
    --------
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter([3.0])
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> scale = Scale()
    >>> scale(Tensor([1.0, 2.0])).data.tolist(), [name for name, _ in scale.named_parameters()]
    ([3.0, 6.0], ['factor'])
    """

    training: bool
    _buffers: set[str]

    def __new__(cls: type[M], *args: object, **kwargs: object) -> M:
        """Make the module able to hold attributes before any `__init__` runs."""
        module: M = super().__new__(cls)
        module.__dict__["training"] = True
        module.__dict__["_buffers"] = set()
        return module

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        """Compute the output, a Tensor or a tuple of them; every module defines its own, with the inputs it takes."""
        raise TypeError(
            f"{type(self).__name__} must define forward(self, x), got a module without one. Write what it computes."
        )

    def __call__(self, *inputs: Tensor | np.ndarray) -> Any:
        """Run `forward`, and tell the active recorder where it began and ended."""
        recorder = active_recorder()
        if recorder is None or not isinstance(recorder, ModuleRecorder):
            return self.forward(*inputs)
        recorder.enter(self)
        try:
            return self.forward(*inputs)
        finally:
            recorder.leave(self)

    def __setattr__(self, name: str, value: object) -> None:
        """Keep a buffer an array; refuse a list of modules, and a layer where a method belongs."""
        if isinstance(value, (Module, Parameter)) and name in _OWN_NAMES:
            raise ValueError(
                f"a {type(value).__name__} must have a name that Module does not use itself, got {name!r}, which would be "
                f"lost under it. Call it {name}_."
            )
        if name in self._buffers and not isinstance(value, np.ndarray):
            raise TypeError(f"buffer {name} must be an ndarray, got {type(value).__name__}. Assign an array.")
        if isinstance(value, (list, tuple)) and any(isinstance(item, (Module, Parameter)) for item in value):
            raise TypeError(
                f"{name} must be a Module, got a {type(value).__name__} of modules, whose parameters would not be "
                "found. Put them in Sequential(...), or give each its own attribute."
            )
        object.__setattr__(self, name, value)

    def register_buffer(self, name: str, array: np.ndarray) -> None:
        """Keep an array that is saved with the weights but not learned, as attribute `name` (a running mean).

        Raises
        ------
        TypeError
            If it is no ndarray.
        """
        self._buffers.add(name)
        setattr(self, name, array)

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield (path, module) of this module ("" as path) and all below, each once, in the order of assignment."""
        yield from self._walk("", set())

    def _walk(self, path: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        """This module and all below that were not seen, depth first."""
        if id(self) in seen:
            return
        seen.add(id(self))
        yield path, self
        for name, child in vars(self).items():
            if isinstance(child, Module):
                yield from child._walk(f"{path}.{name}" if path else name, seen)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (path, Parameter), each once: one that is shared has the first of its paths."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_buffers(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield (path, ndarray) of everything given to `register_buffer` here and below."""
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if name in module._buffers:
                    yield (f"{path}.{name}" if path else name), value

    def parameters(self) -> list[Parameter]:
        """List all parameters: what an optimizer is given."""
        return [parameter for _, parameter in self.named_parameters()]

    def train(self: M, mode: bool = True) -> M:
        """Switch this module and all below to training (or out of it); returns the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Switch to evaluation: batch norm uses its running statistics, dropout lets everything through."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients: `backward` adds to what is there."""
        for parameter in self.parameters():
            parameter.grad = None

    def reset_parameters(self: M, seed: Seed) -> M:
        """Draw all weights again from one seed, in the order of the paths, and forget running statistics.

        Parameters
        ----------
        seed : int or numpy Generator
            The same seed gives the same network; repeating an experiment with seeds 0, 1, 2 starts here.

        Returns
        -------
        the module itself
        """
        rng = generator(seed)
        for _, module in self.named_modules():
            module.draw_parameters(rng)
        return self

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Fill this module's own parameters; a layer with weights overrides it, others have nothing to draw."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copy all parameters and buffers: {path: array}.

        Examples
        --------
        >>> module = Module()
        >>> module.w = Parameter([1.0])
        >>> module.state_dict()["w"].tolist()
        [1.0]
        """
        arrays = {path: parameter.data.copy() for path, parameter in self.named_parameters()}
        return arrays | {path: array.copy() for path, array in self.named_buffers()}

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Copy arrays into the parameters and buffers, in place; all of them or none.

        Parameters
        ----------
        state : {path: array}
            Exactly the paths and shapes of `state_dict()`; numbers are cast to the type already there.

        Raises
        ------
        ValueError
            Naming every path that is missing, not expected, or of another shape or type; nothing is changed then.
        """
        own = {path: parameter.data for path, parameter in self.named_parameters()} | dict(self.named_buffers())
        given = {path: np.asarray(array) for path, array in state.items()}
        faults = [f"missing {path}" for path in own if path not in given]
        faults += [f"not expected {path}" for path in given if path not in own]
        for path in own.keys() & given.keys():
            if given[path].shape != own[path].shape:
                faults.append(f"{path} of shape {given[path].shape} where {own[path].shape} belongs")
            elif given[path].dtype.kind not in "fiu":
                faults.append(f"{path} of type {given[path].dtype} where {own[path].dtype} belongs")
        if faults:
            raise ValueError(
                f"the state must fit the module, got: {'; '.join(sorted(faults))}. "
                "Build the network with the arguments it was saved with."
            )
        for path, array in own.items():
            array[...] = given[path]

    def describe(self) -> str:
        """Say what tells this module from others of its class: its settings, as in its constructor."""
        return ""

    def __repr__(self) -> str:
        """The module as it would be written, its children below it."""
        children = [(name, child) for name, child in vars(self).items() if isinstance(child, Module)]
        if not children:
            return f"{type(self).__name__}({self.describe()})"
        lines = [f"  {name}: {child!r}".replace("\n", "\n  ") for name, child in children]
        return "\n".join([f"{type(self).__name__}({self.describe()}", *lines, ")"])


_OWN_NAMES = frozenset(dir(Module)) | {"training", "_buffers"}


class Layer(Module):
    """Marker of the built-in layers that run exactly one operation: capture names that node by the layer's path.

    A mistake inside (a shape that does not fit) is reported with the layer in front.
    """

    def __call__(self, *inputs: Tensor | np.ndarray) -> Any:
        """Run `forward`; an error says which layer it happened in."""
        try:
            return super().__call__(*inputs)
        except (TypeError, ValueError) as error:
            if type(error) not in (TypeError, ValueError):
                raise
            raise type(error)(f"{self!r}: {error}") from error
