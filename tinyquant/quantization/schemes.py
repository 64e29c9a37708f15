"""Schemes: how a range becomes a quantizer, as data.

Calibration only watches; a scheme decides. It says how many bits, for what, per tensor, per channel or per
group, around zero or not, and which statistic of the watched values counts as the range.

With this module one can take a ready scheme (`TFLITE_INT8`, `JACOB_UINT8`, `SYMMETRIC_INT8`, `ONNX_QDQ`,
`WEIGHT_ONLY_INT8`, `DYNAMIC_INT8`) and change a field of it (`replace`), for the whole network or for some nodes
by name (`annotate`).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

from tinyquant.numerics.rounding import ROUNDING_MODES
from tinyquant.quantization.counts import MANY, checked_count

__all__ = [
    "ACTIVATION_MODES",
    "CALIBRATIONS",
    "DYNAMIC_INT8",
    "JACOB_UINT8",
    "ONNX_QDQ",
    "SYMMETRIC_INT8",
    "TFLITE_INT8",
    "WEIGHT_CALIBRATIONS",
    "WEIGHT_ONLY_INT8",
    "Scheme",
]

CALIBRATIONS: tuple[str, ...] = ("minmax", "ema", "percentile", "mse", "entropy", "fixed")
"""The rules that make an activation's range of what was seen; see `range_rules`."""

WEIGHT_CALIBRATIONS: tuple[str, ...] = ("minmax", "mse")
"""The rules that make a weight's range of its numbers."""

ACTIVATION_MODES: tuple[str, ...] = ("static", "dynamic", "float")
"""When activations get their range: from calibration, from each row as it comes, or never."""


@dataclass(frozen=True)
class Scheme:
    """Every choice of a quantization, frozen.

    Attributes
    ----------
    name : str
    weight_bits : int, 2 to 8
        Weights leave out their lowest code: [-(2**(bits-1) - 1), 2**(bits-1) - 1], or [1, 2**bits - 1] if not signed.
    activation_bits : int, 2 to 16
        Activations are per tensor and use every code.
    signed : bool
        Codes around 0, or codes from 0 on; of weights and activations alike.
    weight_symmetric, activation_symmetric : bool
        Zero point 0; only for signed codes.
    per_channel : bool
        One weight scale an output channel, or one for the whole tensor.
    group_size : int, 0 or more
        If not 0: one weight scale for each run of so many cells along the input-channel axis (the last run may be
        shorter), within each output channel and kernel position. Depthwise weights have no such axis and follow
        `per_channel`. The bias stays in float: there is no one grid of the accumulator.
    power_of_two : bool
        Scales rounded up to powers of two.
    rounding : str
        Real -> code, in training and after; a name of `ROUNDING_MODES` except "stochastic".
    calibration : str
        What makes an activation's range of the calibration; a name of `CALIBRATIONS`.
    percentile : float in (50, 100]
        For ``calibration="percentile"``: this share of the numbers lies below the upper end and above the lower.
    fixed_range : (float, float) or None
        For ``calibration="fixed"``: the range itself, whatever was seen.
    weight_calibration : str
        "minmax": the largest weight is the last code. "mse": the range with the smallest squared error of the weights,
        which is not the range of the best network (see Notes).
    share : str
        Nodes with the same word here (not empty) have one activation quantizer, of the range of all of them.
    activations : str
        "static": quantized, with the range from calibration. "dynamic": the inputs of layers with weights are quantized
        row by row, with the range of the row; all else is float. "float": only weights are quantized.
    bias_bits : int, 32, or 2 to 16
        32: on the accumulator's own grid, S_x * S_w, which costs next to nothing. Fewer: symmetric, one scale for the
        whole bias, to see what that would cost.
    exclude : bool
        Left in float: no fake-quant on its weights or output. Such a model trains and runs but does not convert.
    overrides : tuple of (pattern, changes)
        What `annotate` added; the last match wins.

    Raises
    ------
    ValueError
        A number out of its range, a name that is not one of those allowed, symmetric unsigned codes, or
        ``calibration="fixed"`` without a range.

    Notes
    -----
    In PyTorch this is a QConfig / Quantizer spec; in TFLite the converter's quantization spec. What the integer
    kernels cannot run is simulated all the same; `convert` refuses it, naming scheme, node and reason.

    A range of the smallest squared error clips the largest weights, and a layer's output shrinks with them. Measured on
    the reference networks at 3 bits, a scale a channel: the squared error of the weights falls by 30 to 44 %, yet the
    residual network changes by -7.6 points (-11.8 to -3.4), the separable one by -10.0 (-15.4 to -4.6; ten seeds each),
    their logits at 0.6 and 0.5 of their size; the perceptron by +2.6 (0.0 to 5.2; six seeds). At 4 bits nothing is clear.

    Examples
    --------
    >>> TFLITE_INT8.replace(weight_bits=4).annotate("head", weight_bits=8).for_node("head").weight_bits
    8
    """

    name: str
    weight_bits: int = 8
    activation_bits: int = 8
    per_channel: bool = True
    power_of_two: bool = False
    rounding: str = "half_away"
    exclude: bool = False
    overrides: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    signed: bool = True
    weight_symmetric: bool = True
    activation_symmetric: bool = False
    group_size: int = 0
    calibration: str = "minmax"
    percentile: float = 99.99
    fixed_range: tuple[float, float] | None = None
    weight_calibration: str = "minmax"
    share: str = ""
    activations: str = "static"
    bias_bits: int = 32

    def __post_init__(self) -> None:
        for field, counts, told in (
            ("weight_bits", range(2, 9), "a whole number from 2 to 8"),
            ("activation_bits", range(2, 17), "a whole number from 2 to 16"),
            ("bias_bits", (32, *range(2, 17)), "32, or a whole number from 2 to 16"),
            ("group_size", MANY, "a whole number, 0 for none"),
        ):
            object.__setattr__(self, field, checked_count(field, getattr(self, field), counts, told))
        rounding = tuple(mode for mode in ROUNDING_MODES if mode != "stochastic")
        for field, allowed in (
            ("rounding", rounding), ("calibration", CALIBRATIONS), ("weight_calibration", WEIGHT_CALIBRATIONS),
            ("activations", ACTIVATION_MODES),
        ):  # fmt: skip
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} must be one of {', '.join(allowed)}, got {getattr(self, field)!r}.")
        if not self.signed and (self.weight_symmetric or self.activation_symmetric):
            raise ValueError(
                "symmetric must go with signed codes, got signed=False. Set weight_symmetric=False and "
                "activation_symmetric=False, or signed=True."
            )
        if not isinstance(self.percentile, Real) or not 50 < self.percentile <= 100:
            raise ValueError(f"percentile must be above 50 and at most 100, got {self.percentile!r}. 99.99 cuts 1 in 10000.")
        object.__setattr__(self, "percentile", float(self.percentile))
        if self.calibration == "fixed" and self.fixed_range is None:
            raise ValueError("fixed_range must be given with calibration='fixed', got None. Pass fixed_range=(low, high).")
        # A file gives lists where tuples were.
        object.__setattr__(self, "fixed_range", _range(self.fixed_range))
        object.__setattr__(self, "overrides", tuple((pattern, _items(changes)) for pattern, changes in self.overrides))

    def replace(self, **changes: Any) -> Scheme:
        """A copy with some fields changed.

        Raises
        ------
        TypeError
            A field that a scheme does not have, by name.
        ValueError
            As for `Scheme`.
        """
        _refuse_unknown(changes)
        return dataclasses.replace(self, **changes)

    def annotate(self, pattern: str, **changes: Any) -> Scheme:
        """A copy in which the nodes whose name matches use other settings.

        Parameters
        ----------
        pattern : str
            A node's name, or a shell pattern over names: "block1.*". `quantize_model` refuses a name that the network does
            not have; a pattern may match nothing, so that one scheme can serve several networks.
        **changes
            Any field but name and overrides; ``exclude=True`` leaves the node in float.

        Raises
        ------
        TypeError
            `pattern` is no string, or a field is unknown or not a node's.
        ValueError
            A setting is out of its range, or does not go with the scheme's others.
        """
        if not isinstance(pattern, str):
            raise TypeError(f"pattern must be a node's name, or a pattern over names, got {pattern!r}. Pass a string.")
        _refuse_unknown(changes)
        if "name" in changes:
            raise TypeError(
                f"annotate must change settings of nodes, got name={changes['name']!r}, which is the scheme's. "
                "Use replace(name=...)."
            )
        changed = dataclasses.replace(self, **changes)
        # Read back: a number of numpy's is a Python number now, as files hold it.
        items = tuple((key, getattr(changed, key)) for key in sorted(changes))
        return dataclasses.replace(self, overrides=(*self.overrides, (pattern, items)))

    def for_node(self, name: str) -> Scheme:
        """The settings of one node, overrides applied."""
        changes: dict[str, Any] = {}
        for pattern, override in self.overrides:
            if fnmatchcase(name, pattern):
                changes.update(override)
        return dataclasses.replace(self, **changes) if changes else self


def _range(value: Any) -> tuple[float, float] | None:
    """Two finite ends in order, as floats."""
    if value is None:
        return None
    numbers = isinstance(value, (tuple, list)) and all(isinstance(end, Real) for end in value)
    ends = tuple(map(float, value)) if numbers else ()
    if len(ends) != 2 or not all(map(math.isfinite, ends)) or ends[0] > ends[1]:
        raise ValueError(f"fixed_range must be a tuple of two finite numbers, the lower first, got {value!r}.")
    return ends[0], ends[1]


def _items(changes: Any) -> tuple[tuple[str, Any], ...]:
    """The changes of one annotation as pairs of hashable things."""
    return tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in changes)


def _refuse_unknown(changes: dict[str, Any]) -> None:
    """Only settings may be changed."""
    allowed = [field.name for field in dataclasses.fields(Scheme) if field.name != "overrides"]
    unknown = [key for key in changes if key not in allowed]
    if unknown:
        raise TypeError(f"a scheme has {', '.join(allowed)}, got {', '.join(unknown)}.")


TFLITE_INT8 = Scheme("tflite_int8")
"""What TensorFlow Lite's int8 files hold: per-channel symmetric weights in [-127, 127], per-tensor asymmetric activations
in [-128, 127], bias in int32 (LiteRT quantization spec; Krishnamoorthi 2018)."""

JACOB_UINT8 = Scheme("jacob_uint8", per_channel=False, signed=False, weight_symmetric=False)
"""Asymmetric codes from 0 to 255, one scale and zero point for a whole tensor, weights too; a weight never has the code 0
(Jacob et al. 2018, sections 2.1 and 3.1): what TensorFlow Lite did before 2019."""

SYMMETRIC_INT8 = Scheme("symmetric_int8", activation_symmetric=True)
"""Zero point 0 everywhere, as TensorRT has it (which rounds ties to even): no zero-point arithmetic at all, and half of the
codes unused after a ReLU."""

ONNX_QDQ = Scheme("onnx_qdq", per_channel=False, rounding="half_even")
"""ONNX Runtime's default, S8S8 with QuantizeLinear / DequantizeLinear pairs: per-tensor symmetric weights, asymmetric
activations, ties to even (ONNX operator specification, QuantizeLinear)."""

WEIGHT_ONLY_INT8 = Scheme("weight_only_int8", activations="float")
"""Small files, float arithmetic: only weights are quantized."""

DYNAMIC_INT8 = Scheme("dynamic_int8", activations="dynamic", activation_symmetric=True)
"""Weights quantized, and the input of each layer with weights as it comes, row by row (TFLite's dynamic-range, or hybrid,
kernels; PyTorch's `quantize_dynamic`)."""
