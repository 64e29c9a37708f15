"""From gradients to steps: SGD with momentum, Adam, and learning rates that change on the way.

    SGD    v = momentum * v + g                        w = w - lr * v
    Adam   m = b1 m + (1 - b1) g                       w = w - lr * m_hat / (sqrt(v_hat) + eps)
           v = b2 v + (1 - b2) g^2                     m_hat = m / (1 - b1^t), v_hat = v / (1 - b2^t)

A network has dozens of small arrays, and numpy takes a microsecond to start on each. So an optimizer moves all
parameters into one flat array and leaves each `parameter.data` a view of its part: a step is then a handful of calls
whatever the network.
With this module one can train, and see that an optimizer is three lines of arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinyquant.autograd import Tensor


class Optimizer:
    """What SGD and Adam share: the flat arrays, and which part of them has a gradient.

    Parameters
    ----------
    params : iterable of Tensor
        Of one dtype, each with requires_grad=True; `module.parameters()`.
    lr : float >= 0
        Learning rate; may be set between steps.

    Raises
    ------
    TypeError
        If something is not a tensor with requires_grad=True, or the dtypes differ.
    ValueError
        If there is nothing to train, a parameter comes twice, or lr is negative or not finite.
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        self._params = list(params)
        if not self._params:
            raise ValueError("params must hold at least one parameter, got none. Give module.parameters().")
        for param in self._params:
            if not isinstance(param, Tensor) or not param.requires_grad:
                raise TypeError(
                    f"params must be tensors with requires_grad=True, got {type(param).__name__} without. "
                    "Give module.parameters()."
                )
        if len({id(param) for param in self._params}) != len(self._params):
            raise ValueError("params must hold each parameter once, got one twice. Give module.parameters().")
        kinds = sorted({str(param.dtype) for param in self._params})
        if len(kinds) != 1:
            raise TypeError(f"params must be of one dtype, got {' and '.join(kinds)}. Use one optimizer for each.")
        self.lr = lr
        ends = np.cumsum([param.size for param in self._params]).tolist()
        self._parts = [slice(end - param.size, end) for param, end in zip(self._params, ends, strict=True)]
        self._flat = np.empty(ends[-1], self._params[0].dtype)
        self._grad = np.zeros_like(self._flat)
        self._views: list[np.ndarray | None] = [None] * len(self._params)
        self._adopt()

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"lr must be a finite number of 0 or more, got {value}. Try 1e-3.")
        self._lr = float(value)

    def zero_grad(self) -> None:
        """Forget all gradients: `backward` adds to what is there."""
        for param in self._params:
            param.grad = None

    def step(self) -> None:
        """Change every parameter that has a gradient; one without stays exactly as it is."""
        self._adopt()
        if all(param.grad is not None for param in self._params):
            np.concatenate([param.grad.ravel() for param in self._params], out=self._grad)  # type: ignore[union-attr]
            parts = [slice(0, self._flat.size)]
        else:
            parts = []
            for param, part in zip(self._params, self._parts, strict=True):
                if param.grad is not None:
                    self._grad[part] = param.grad.ravel()
                    parts.append(part)
        self._begin_step()
        for part in parts:
            self._update(part)

    def _adopt(self) -> None:
        """Make every `parameter.data` a view of the flat array, taking over the values of one that was replaced."""
        for k, param in enumerate(self._params):
            if param.data is not self._views[k]:
                view = self._flat[self._parts[k]].reshape(param.shape)
                view[...] = param.data
                param.data = self._views[k] = view

    def _begin_step(self) -> None:
        """Whatever happens once a step, before the parts are updated."""

    def _update(self, part: slice) -> None:
        """Move `_flat[part]` by what `_grad[part]` says; `_grad[part]` may be overwritten."""
        raise TypeError(f"{type(self).__name__} must define _update(part), got an optimizer without. Use SGD or Adam.")


class SGD(Optimizer):
    """Stochastic gradient descent: g += weight_decay * w; v = momentum * v + g; w -= lr * v.

    With nesterov the step is lr * (g + momentum * v), a look ahead.

    Parameters
    ----------
    params : iterable of Tensor
    lr : float >= 0
    momentum : float in [0, 1)
    weight_decay : float >= 0
        L2: pulls every parameter towards 0, biases too.
    nesterov : bool
        Needs momentum above 0.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`; if momentum or weight_decay is out of range, or nesterov has no momentum.

    Notes
    -----
    In PyTorch this is `torch.optim.SGD` with dampening 0: the same recurrence.

    Examples
    --------
    >>> w = Tensor([1.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.data.tolist()
    [0.5]
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr)
        _in_range("momentum", momentum)
        _not_negative("weight_decay", weight_decay)
        if nesterov and momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, got 0. Try momentum=0.9.")
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov
        self._velocity = np.zeros_like(self._flat)

    def _update(self, part: slice) -> None:
        weight, grad, velocity = self._flat[part], self._grad[part], self._velocity[part]
        if self.weight_decay:
            grad += self.weight_decay * weight
        if self.momentum:
            velocity *= self.momentum
            velocity += grad
            if self.nesterov:
                grad += self.momentum * velocity
            else:
                grad[...] = velocity
        grad *= self.lr
        weight -= grad


class Adam(Optimizer):
    """Adam: steps of about lr whatever the size of the gradients, by their running mean over their running size.

    Parameters
    ----------
    params : iterable of Tensor
    lr : float >= 0
    betas : (float, float), each in [0, 1)
        How long the running mean and the running mean square remember.
    eps : float > 0
    weight_decay : float >= 0
        L2, added to the gradient.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`; if a beta, eps or weight_decay is out of range.

    Notes
    -----
    In PyTorch this is `torch.optim.Adam`; differs in counting the steps of the optimizer, not of each parameter, which
    matters only to a parameter that had no gradient in some step.

    References
    ----------
    Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1.

    Examples
    --------
    >>> w = Tensor([1.0], requires_grad=True)
    >>> optimizer = Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.data.tolist()
    [0.5]
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        for k, beta in enumerate(betas):
            _in_range(f"betas[{k}]", beta)
        if not eps > 0:
            raise ValueError(f"eps must be above 0, got {eps}. It keeps the first steps from dividing by 0.")
        _not_negative("weight_decay", weight_decay)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self._mean = np.zeros_like(self._flat)
        self._square = np.zeros_like(self._flat)
        self._scratch = np.empty_like(self._flat)
        self._steps = 0

    def _begin_step(self) -> None:
        self._steps += 1

    def _update(self, part: slice) -> None:
        weight, grad, scratch = self._flat[part], self._grad[part], self._scratch[part]
        mean, square = self._mean[part], self._square[part]
        b1, b2 = self.betas
        if self.weight_decay:
            grad += self.weight_decay * weight
        mean *= b1
        np.multiply(grad, 1 - b1, out=scratch)
        mean += scratch
        np.multiply(grad, grad, out=grad)
        grad *= 1 - b2
        square *= b2
        square += grad
        np.sqrt(square, out=scratch)
        scratch *= 1 / math.sqrt(1 - b2**self._steps)
        scratch += self.eps
        np.divide(mean, scratch, out=scratch)
        scratch *= self.lr / (1 - b1**self._steps)
        weight -= scratch


class StepLR:
    """lr = lr_0 * gamma ** (t // step_size), t counting the calls of `step`.

    Parameters
    ----------
    opt : Optimizer
        Its lr at this moment is lr_0.
    step_size : int >= 1
    gamma : float > 0

    Examples
    --------
    >>> opt = SGD([Tensor([1.0], requires_grad=True)], lr=0.8)
    >>> schedule = StepLR(opt, step_size=2, gamma=0.5)
    >>> for _ in range(4):
    ...     schedule.step()
    >>> opt.lr
    0.2
    """

    def __init__(self, opt: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1 or not gamma > 0:
            raise ValueError(f"step_size must be 1 or more and gamma above 0, got {step_size} and {gamma}. Try 30, 0.1.")
        self.opt, self.step_size, self.gamma = opt, step_size, gamma
        self.base, self.t = opt.lr, 0

    def step(self) -> None:
        """Count one step and set the learning rate of the next."""
        self.t += 1
        self.opt.lr = self.base * self.gamma ** (self.t // self.step_size)


class CosineLR:
    """Half a cosine from lr_0 down to `final`, after a straight climb of `warmup` steps.

        t < warmup:   lr = lr_0 * (t + 1) / (warmup + 1)
        else:         lr = final + (lr_0 - final) * (1 + cos(pi * (t - warmup) / (total_steps - warmup))) / 2

    Parameters
    ----------
    opt : Optimizer
        Its lr at this moment is lr_0; it is set to that of t = 0 at once.
    total_steps : int >= 1
        Calls of `step` until `final` is reached; it stays there.
    warmup : int in [0, total_steps)
    final : float >= 0

    References
    ----------
    Loshchilov and Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", eq. 5.

    Examples
    --------
    >>> opt = SGD([Tensor([1.0], requires_grad=True)], lr=1.0)
    >>> schedule = CosineLR(opt, total_steps=2)
    >>> rates = [opt.lr]
    >>> for _ in range(2):
    ...     schedule.step()
    ...     rates.append(round(opt.lr, 9))
    >>> rates
    [1.0, 0.5, 0.0]
    """

    def __init__(self, opt: Optimizer, total_steps: int, warmup: int = 0, final: float = 0.0) -> None:
        if not 0 <= warmup < total_steps:
            raise ValueError(
                f"warmup must lie in 0 to below total_steps, got {warmup} of {total_steps}. Give fewer steps of warmup."
            )
        _not_negative("final", final)
        self.opt, self.total_steps, self.warmup, self.final = opt, total_steps, warmup, final
        self.base, self.t = opt.lr, 0
        self.opt.lr = self._rate()

    def step(self) -> None:
        """Count one step and set the learning rate of the next."""
        self.t += 1
        self.opt.lr = self._rate()

    def _rate(self) -> float:
        """The learning rate at step t."""
        if self.t < self.warmup:
            return self.base * (self.t + 1) / (self.warmup + 1)
        share = min((self.t - self.warmup) / (self.total_steps - self.warmup), 1.0)
        return self.final + (self.base - self.final) * (1 + math.cos(math.pi * share)) / 2


def _in_range(name: str, value: float) -> None:
    """A share that remembers must be below 1."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in 0 to below 1, got {value}. 0.9 is usual.")


def _not_negative(name: str, value: float) -> None:
    """Refuse a negative number and nan."""
    if not value >= 0:
        raise ValueError(f"{name} must be 0 or more, got {value}. 0 switches it off.")
