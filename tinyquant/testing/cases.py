"""A case: the plain numbers a law is tried on, small enough to be read aloud.

Every kind of case is a named tuple of Python numbers and tuples of them, so that it can be printed, typed in again and made
smaller. With this module one can write a case down, turn its rows into the arrays a function is called with (`given`), and hand
them to anybody's function by the names of its parameters (`call`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from tinyquant.numerics.qparams import QParams

__all__ = ["AccuracyCase", "BatchesCase", "BytesCase", "Case", "CodesCase", "DotCase", "GradientCase", "GraphCase", "LayerCase",
           "MapCase", "MseCase", "MultiplierCase", "PairedCase", "PercentileCase", "RangeCase", "RecallCase", "RescaleCase",
           "RoundCase", "ScaleCase", "SignCase", "SignatureError", "ThresholdCase", "TieCase", "call", "fits", "given",
           "narrowest", "raised_by_the_function", "reals", "run"]  # fmt: skip


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


class BytesCase(NamedTuple):
    """The sizes of one model in two formats."""

    float_bytes: int
    int8_bytes: int


class AccuracyCase(NamedTuple):
    """Two accuracies in percent on the same test images, exact or with the two decimals that are printed."""

    before: float
    after: float
    images: int


class SignCase(NamedTuple):
    """How many images only model a had right, and how many only model b."""

    only_a: int
    only_b: int


class TieCase(NamedTuple):
    """The names of two rounding rules, not the same one."""

    mode_a: str
    mode_b: str


class BatchesCase(NamedTuple):
    """Batches of real numbers, one row a batch."""

    batches: tuple[tuple[float, ...], ...]


class PercentileCase(NamedTuple):
    """Reals, and how many percent of them a range is to hold."""

    x: tuple[float, ...]
    percent: float


class MseCase(NamedTuple):
    """Reals, and the bits of the codes that are to hold them."""

    x: tuple[float, ...]
    bits: int = 8


class ScaleCase(NamedTuple):
    """Reals that share one scale (zero point 0), and the gradient that arrives at each."""

    upstream: tuple[float, ...]
    x: tuple[float, ...]
    scale: float = 1.0
    qmin: int = -128
    qmax: int = 127


class RecallCase(NamedTuple):
    """What is true of each case, and what was predicted: 1 or 0."""

    truth: tuple[int, ...]
    predicted: tuple[int, ...]


class ThresholdCase(NamedTuple):
    """Scores, the truth about each (1 or 0), and the share of the ones that must be found."""

    scores: tuple[float, ...]
    truth: tuple[int, ...]
    recall: float


class PairedCase(NamedTuple):
    """Results of two methods, seed by seed, and the factor t of the interval."""

    a: tuple[float, ...]
    b: tuple[float, ...]
    t: float


Case = (
    MapCase | CodesCase | RangeCase | RoundCase | DotCase | MultiplierCase | RescaleCase | LayerCase | GradientCase | GraphCase
    | BytesCase | AccuracyCase | SignCase | TieCase | BatchesCase | PercentileCase | MseCase | ScaleCase | RecallCase
    | ThresholdCase | PairedCase
)  # fmt: skip

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
        return run(fn, *values.values())
    named: dict[str, object] = {}
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
            named[name] = value
    return run(fn, *positional, **named)


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


def narrowest(qmin: int, qmax: int) -> np.dtype:
    """The narrowest integer type that holds both ends."""
    for kind in ("uint8", "uint16") if qmin >= 0 else ("int8", "int16"):
        if np.iinfo(kind).min <= qmin and qmax <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype("int32")


_ROW_TYPES: dict[str, dict[str, str]] = {
    "DotCase": {"x": "int8", "w": "int8"}, "LayerCase": {"x": "int8", "w": "int8"}, "RescaleCase": {"acc": "int32"},
    "GraphCase": {"x": "float32"}, "RecallCase": {"truth": "int64", "predicted": "int64"}, "ThresholdCase": {"truth": "int64"},
}  # fmt: skip
"""The types of the rows that are not float64."""


def given(case: Case) -> dict[str, object]:
    """What a function is called with on this case, by name: its numbers, and each row as a new array (batches as a list).

    Examples
    --------
    >>> given(RecallCase((1, 0), (1, 1)))
    {'truth': array([1, 0]), 'predicted': array([1, 1])}
    """
    values = case._asdict()
    types = dict(_ROW_TYPES.get(type(case).__name__, {}))
    if isinstance(case, MapCase):
        types["x"] = case.dtype
        del values["dtype"], values["mode"]
    if isinstance(case, CodesCase):
        types["codes"] = str(narrowest(case.qmin, case.qmax))
    for name, value in values.items():
        if name == "batches":
            values[name] = [np.array(row, np.float64) for row in value]
        elif isinstance(value, tuple):
            values[name] = np.array(value, types.get(name, "float64"))
    return values
