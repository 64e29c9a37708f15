"""A case: the plain numbers a law is tried on, small enough to be read aloud.

Every kind of case is a named tuple of Python numbers and tuples of them, so that it can be printed, typed in again and made
smaller. With this module one can write a case down, and hand its numbers to anybody's function by the names of its parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from tinyquant.numerics.qparams import QParams

__all__ = ["Case", "CodesCase", "DotCase", "GradientCase", "GraphCase", "LayerCase", "MapCase", "MultiplierCase", "RangeCase",
           "RescaleCase", "RoundCase", "SignatureError", "call", "fits"]  # fmt: skip


class MapCase(NamedTuple):
    """Reals and the map that turns them into codes; ``dtype`` is the type of the array of reals."""

    x: tuple[float, ...]
    scale: float = 1.0
    zero_point: int = 0
    qmin: int = -128
    qmax: int = 127
    dtype: str = "float64"
    mode: str = "half_away"
    """Only the law `rounding_mode` reads it."""


class CodesCase(NamedTuple):
    """Codes and the map that says what they mean."""

    codes: tuple[int, ...]
    scale: float = 1.0
    zero_point: int = 0
    qmin: int = -128
    qmax: int = 127


class RangeCase(NamedTuple):
    """The ends of a range, rmin <= rmax, for which a map is chosen."""

    rmin: float
    rmax: float
    qmin: int = -128
    qmax: int = 127


class RoundCase(NamedTuple):
    """Reals to be rounded by a named rule."""

    x: tuple[float, ...]
    mode: str = "half_away"


class DotCase(NamedTuple):
    """Two rows of int8 codes to be multiplied and summed, with their zero points."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    x_zero: int = 0
    w_zero: int = 0


class MultiplierCase(NamedTuple):
    """A positive real number to be written as multiplier * 2**(shift - 31)."""

    real: float


class RescaleCase(NamedTuple):
    """Accumulators to be multiplied by multiplier * 2**(shift - 31)."""

    acc: tuple[int, ...]
    multiplier: int = 2**30
    shift: int = 1


class LayerCase(NamedTuple):
    """One output of an integer linear layer: codes of the input and the weights, and how the sum becomes a code."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    bias: int = 0
    x_zero: int = 0
    multiplier: int = 2**30
    shift: int = 1
    y_zero: int = 0
    qmin: int = -128
    qmax: int = 127


class GradientCase(NamedTuple):
    """Where a gradient is measured, and the gradient that arrives from above (one number an output)."""

    x: tuple[float, ...]
    upstream: tuple[float, ...]


class GraphCase(NamedTuple):
    """Rows of one batch of inputs, handed to two forms of the same network."""

    x: tuple[tuple[float, ...], ...]


Case = (
    MapCase | CodesCase | RangeCase | RoundCase | DotCase | MultiplierCase | RescaleCase | LayerCase | GradientCase | GraphCase
)

_ALIASES = {
    "x": ("x", "values", "array", "input", "real", "tensor", "data", "t"),
    "codes": ("codes", "code", "q", "x_q", "x", "quantized"),
    "scale": ("scale", "s"),
    "zero_point": ("zero_point", "zp", "z", "zero", "zeropoint"),
    "qmin": ("qmin", "quant_min", "q_min", "low"),
    "qmax": ("qmax", "quant_max", "q_max", "high"),
    "rmin": ("rmin", "x_min", "xmin", "min_val", "low", "lo"),
    "rmax": ("rmax", "x_max", "xmax", "max_val", "high", "hi"),
    "upstream": ("upstream", "grad", "grad_output", "g", "dy"),
    "w": ("w", "weights", "weight", "b"),
    "acc": ("acc", "accumulator", "x", "a"),
    "multiplier": ("multiplier", "m", "M", "m0"),
    "shift": ("shift", "e", "exponent"),
    "x_zero": ("x_zero", "zx", "x_zero_point", "input_zero_point"),
    "w_zero": ("w_zero", "zw", "w_zero_point", "weight_zero_point"),
    "y_zero": ("y_zero", "zy", "y_zero_point", "output_zero_point"),
    "real": ("real", "x", "value", "m"),
}
"""What other people call the same thing."""

_QPARAMS = ("qp", "qparams")


class SignatureError(TypeError):
    """A function asks for something a case of this kind does not have."""


def call(fn: Callable[..., object], values: Mapping[str, object]) -> object:
    """``fn`` with each of its parameters taken from ``values`` by name.

    A parameter called ``qp`` gets a `QParams` of scale, zero_point, qmin and qmax; ``bits`` and ``signed`` get what qmin and qmax
    say. A parameter that has a default and is not among the values keeps it. A function whose parameters cannot be seen gets the
    values in their order.

    Raises
    ------
    SignatureError
        A parameter without a default is called something no value is.

    Examples
    --------
    >>> call(lambda x, zp: [x, zp], {"x": 1.5, "scale": 0.5, "zero_point": 3})
    [1.5, 3]
    """
    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError):
        return fn(*values.values())
    given: dict[str, object] = {}
    positional: list[object] = []
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        try:
            value = _value_for(name, values)
        except KeyError:
            if parameter.default is parameter.empty:
                raise SignatureError(
                    f"the parameters of {getattr(fn, '__name__', 'the function')} must be among {', '.join(values)}, "
                    f"got {name!r}. Rename it, or wrap the function."
                ) from None
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(value)
        else:
            given[name] = value
    return fn(*positional, **given)


def _value_for(name: str, values: Mapping[str, object]) -> object:
    """The value meant by a parameter's name; KeyError if there is none."""
    if name in values:
        return values[name]
    if name in _QPARAMS and "scale" in values:
        scale, zero, low, high = (values[key] for key in ("scale", "zero_point", "qmin", "qmax"))
        return QParams(scale, zero, low, high)  # type: ignore[arg-type]
    if name in ("bits", "num_bits", "signed") and "qmin" in values:
        low, high = int(values["qmin"]), int(values["qmax"])  # type: ignore[call-overload]
        return low < 0 if name == "signed" else (high - low).bit_length()
    for key in values:
        if name in _ALIASES.get(key, ()):
            return values[key]
    raise KeyError(name)


def fits(fn: Callable[..., object], case: Case) -> bool:
    """Whether the function can be told the codes of this case: one without qmin and qmax only knows [-128, 127]."""
    qmin = getattr(case, "qmin", -128)
    if (qmin, getattr(case, "qmax", 127)) == (-128, 127):
        return True
    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError):
        return True
    names = set(parameters)
    if names & {*_QPARAMS, *_ALIASES["qmin"][:3]}:
        return True
    width = getattr(case, "qmax", 127) - qmin + 1
    whole = width & (width - 1) == 0 and qmin in (0, -(width // 2))
    return whole and bool(names & {"bits", "num_bits"}) and (qmin < 0 or "signed" in names)


def reals(case: MapCase) -> np.ndarray:
    """The array of reals of a case."""
    return np.array(case.x, dtype=case.dtype)
