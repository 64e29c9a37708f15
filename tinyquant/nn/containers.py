"""Networks out of layers: one after another, around a shortcut, side by side; and dropout, which is only there to train.

With this module one can write most networks in one expression and still find every layer by a readable name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tinyquant import autograd as F
from tinyquant.autograd import Tensor
from tinyquant.numerics.seeds import Seed, generator

from .module import Layer, Module


class Sequential(Module):
    """Modules one after another: y = last(... second(first(x))).

    Parameters
    ----------
    *modules : Module, or one mapping {name: Module}
        Without names they are called "0", "1", ...; with names the names are attributes too.

    Examples
    --------
    >>> from tinyquant.nn import Linear, ReLU
    >>> net = Sequential({"fc1": Linear(4, 8), "relu": ReLU(), "head": Linear(8, 2)})
    >>> net(Tensor(np.zeros((3, 4)))).shape, len(net), net[0] is net.fc1
    ((3, 2), 3, True)
    >>> [name for name, _ in net.named_parameters()]
    ['fc1.weight', 'fc1.bias', 'head.weight', 'head.bias']
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = dict(modules[0])
        else:
            named = {str(k): module for k, module in enumerate(modules)}  # type: ignore[misc]
        for name, module in named.items():
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential must be given modules, got {module!r} as {name!r}. "
                    "For a function such as relu use its layer, ReLU()."
                )
            if not name or "." in name or hasattr(Module, name):
                raise ValueError(f"a module's name must be free and without a dot, got {name!r}. Choose another.")
            setattr(self, name, module)
        self._names = tuple(named)

    def forward(self, x: Tensor) -> Tensor:
        for module in self:
            x = module(x)
        return x

    def __iter__(self) -> Iterator[Module]:
        """The modules in order."""
        return (getattr(self, name) for name in self._names)

    def __len__(self) -> int:
        """How many modules."""
        return len(self._names)

    def __getitem__(self, index: int) -> Module:
        """The module at a place; negative counts from the end."""
        module: Module = getattr(self, self._names[index])
        return module

    def __getattr__(self, name: str) -> Module:
        """Only called where there is no such attribute: say which names there are."""
        raise AttributeError(f"Sequential has no {name!r}. Its modules are {', '.join(self.__dict__.get('_names', ()))}.")


class Add(Layer):
    """y = a + b of two tensors of one shape, as a layer, so that the sum has a name in the graph.

    Examples
    --------
    >>> Add()(Tensor([1.0]), Tensor([2.0])).data.tolist()
    [3.0]
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return F.add(a, b)


class Residual(Module):
    """y = body(x) + shortcut(x): the block that made deep networks trainable.

    Parameters
    ----------
    body : Module
    shortcut : Module or None
        None: x itself. Where the body changes the shape, a 1x1 convolution makes x fit.

    Attributes
    ----------
    add : Add
        The sum, a child of its own so that capture names it "path.add".

    References
    ----------
    He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", section 3.2.

    Examples
    --------
    >>> from tinyquant.nn import ReLU
    >>> Residual(ReLU())(Tensor([-1.0, 2.0])).data.tolist()
    [-1.0, 4.0]
    """

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        self.body = body
        self.shortcut = shortcut
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        return self.add(self.body(x), x if self.shortcut is None else self.shortcut(x))


class Concat(Layer):
    """Join several tensors along one axis.

    Parameters
    ----------
    axis : int
        The last one, the channels, by default.

    Examples
    --------
    >>> Concat()(Tensor([[1.0]]), Tensor([[2.0, 3.0]])).data.tolist()
    [[1.0, 2.0, 3.0]]
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, *tensors: Tensor) -> Tensor:
        return F.concat(tensors, axis=self.axis)

    def describe(self) -> str:
        return f"axis={self.axis}" if self.axis != -1 else ""


class Dropout(Layer):
    """In training set every value to 0 with probability p and the others to x / (1 - p); in evaluation y = x.

    Parameters
    ----------
    p : float in [0, 1)
    seed : int or numpy Generator
        Which values fall; the layer keeps the generator and draws on.

    References
    ----------
    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    Examples
    --------
    >>> Dropout(0.5).eval()(Tensor([1.0, 2.0])).data.tolist()
    [1.0, 2.0]
    """

    def __init__(self, p: float = 0.5, seed: Seed = 0) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"p must lie in 0 to below 1, got {p}. 0.5 drops half of the values.")
        self.p = p
        self.rng: np.random.Generator = generator(seed)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=self.training, rng=self.rng)

    def describe(self) -> str:
        return f"{self.p}"
