"""Handing the numbers of a case to anybody's function, whatever it calls them.

With this module one can call a function by the names of its parameters (`call`), other people's names for the same thing
included, and see whether it can be told the codes of a case (`fits`).
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache

from tinyquant.numerics.qparams import QParams

__all__ = ["SignatureError", "call", "fits", "raised_by_the_function", "run"]

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
    "float_bytes": ("float_bytes", "float_size", "size_float", "bytes_float"),
    "int8_bytes": ("int8_bytes", "int8_size", "int_bytes", "size_int8", "bytes_int8"),
    "before": ("before", "acc_before", "accuracy_before", "float_accuracy"),
    "after": ("after", "acc_after", "accuracy_after", "int8_accuracy"),
    "images": ("images", "n_images", "num_images", "n"),
    "only_a": ("only_a", "a_only", "n10", "b"),
    "only_b": ("only_b", "b_only", "n01", "c"),
    "mode_a": ("mode_a", "rule_a", "first", "a"),
    "mode_b": ("mode_b", "rule_b", "second", "b"),
    "batches": ("batches", "data", "loader", "dataset", "xs"),
    "percent": ("percent", "percentile", "p", "q"),
    "bits": ("bits", "num_bits", "n_bits", "b"),
    "truth": ("truth", "y_true", "labels", "y", "target", "targets"),
    "predicted": ("predicted", "y_pred", "prediction", "predictions", "pred"),
    "scores": ("scores", "score", "y_score", "probabilities", "s"),
    "recall": ("recall", "min_recall", "target_recall", "wanted", "r"),
    "a": ("a", "results_a", "first"),
    "b": ("b", "results_b", "second"),
    "t": ("t", "t_value", "t_quantile", "factor"),
}
"""What other people call the same thing."""

_QPARAMS = ("qp", "qparams")


class SignatureError(TypeError):
    """A function asks for something a case of this kind does not have."""


def run(fn: Callable[..., object], *arguments: object, **named: object) -> object:
    """The one place where a function under test is called."""
    return fn(*arguments, **named)


def raised_by_the_function(error: BaseException) -> bool:
    """Whether the function under test raised it, and not a judge that could not read its answer."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is run.__code__:
            return True
        trace = trace.tb_next
    return False


def call(fn: Callable[..., object], values: Mapping[str, object]) -> object:
    """``fn`` with each of its parameters taken from ``values`` by name.

    A parameter called ``qp`` gets a `QParams` of scale, zero_point, qmin and qmax; ``bits`` and ``signed`` get what qmin and qmax
    say. A parameter that has a default and is not among the values keeps it. A function whose parameters cannot be seen gets the
    values in their order; behind a decorator that takes ``*args``, the parameters are those of the function within.

    Raises
    ------
    SignatureError
        A parameter without a default is called something no value is.

    Examples
    --------
    >>> call(lambda x, zp: [x, zp], {"x": 1.5, "scale": 0.5, "zero_point": 3})
    [1.5, 3]
    """
    parameters, by_place = _parameters(fn)
    if parameters is None:
        return run(fn, *values.values())
    if parameters and all(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return run(fn, **values)
    named: dict[str, object] = {}
    positional: list[object] = []
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        try:
            value = _value_for(name, values)
        except KeyError:
            if parameter.default is parameter.empty:
                known = ", ".join(key + _also(key) for key in values)
                raise SignatureError(
                    f"the parameters of {getattr(fn, '__name__', 'the function')} must be among {known}, got {name!r}. Rename it."
                ) from None
            by_place = False
            continue
        if by_place or parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(value)
        else:
            named[name] = value
    return run(fn, *positional, **named)


def _also(key: str) -> str:
    """Two of the other names that a value is known by."""
    others = [name for name in _ALIASES.get(key, ()) if name != key][:2]
    return f" ({', '.join(others)})" if others else ""


Parameters = tuple["Mapping[str, inspect.Parameter] | None", bool]


def _parameters(fn: Callable[..., object]) -> Parameters:
    """`_look_for_parameters`, remembered: a check calls one function thousands of times."""
    return _remembered(fn) if isinstance(fn, Hashable) else _look_for_parameters(fn)


@lru_cache(maxsize=16)
def _remembered(fn: Callable[..., object]) -> Parameters:
    """One look at each function."""
    return _look_for_parameters(fn)


def _look_for_parameters(fn: Callable[..., object]) -> Parameters:
    """The parameters of a function (None if they cannot be seen), and whether it wants them in their order.

    A function of ``*args`` hands them on: to what `np.vectorize` or a decorator was given, if that can be seen.
    """
    by_place, seen = False, set()
    while id(fn) not in seen:
        seen.add(id(fn))
        try:
            parameters = inspect.signature(fn).parameters
        except (TypeError, ValueError):
            return None, True
        if not any(one.kind is one.VAR_POSITIONAL for one in parameters.values()):
            return parameters, by_place
        inner = inspect.unwrap(fn)
        inner = getattr(inner, "pyfunc", inner)
        if inner is fn:
            held = [cell.cell_contents for cell in getattr(fn, "__closure__", None) or () if _is_full(cell)]
            callables = [one for one in held if callable(one)]
            inner = callables[0] if len(callables) == 1 else fn
            by_place = True
        fn = inner
    return None, True


def _is_full(cell: types.CellType) -> bool:
    """Whether the name of a closure has got its value."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


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


def fits(fn: Callable[..., object], case: object) -> bool:
    """Whether the function can be told the codes of this case: one without qmin and qmax only knows [-128, 127]."""
    qmin: int = getattr(case, "qmin", -128)
    if (qmin, getattr(case, "qmax", 127)) == (-128, 127):
        return True
    parameters, _ = _parameters(fn)
    if parameters is None:
        return True
    names = set(parameters)
    if parameters and all(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return True
    if names & {*_QPARAMS, *_ALIASES["qmin"][:3]}:
        return True
    width = getattr(case, "qmax", 127) - qmin + 1
    whole = width & (width - 1) == 0 and qmin in (0, -(width // 2))
    return whole and bool(names & {"bits", "num_bits"}) and (qmin < 0 or "signed" in names)
