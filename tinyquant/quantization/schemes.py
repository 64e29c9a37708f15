"""Schemes: how a range becomes a quantizer, as data.

Calibration only watches; a scheme decides. It says how many bits, for what, per tensor or per channel,
around zero or not, and which statistic of the watched values counts as the range.

With this module one can take a ready scheme (`TFLITE_INT8`) and change a field of it (`replace`), for the
whole network or for some nodes by name (`annotate`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tinyquant.numerics.rounding import ROUNDING_MODES

__all__ = ["TFLITE_INT8", "Scheme"]


@dataclass(frozen=True)
class Scheme:
    """Every choice of a quantization, frozen.

    Attributes
    ----------
    name : str
    weight_bits : int, 2 to 8
        Weights are signed, symmetric and narrow-range: [-(2**(bits-1) - 1), 2**(bits-1) - 1].
    activation_bits : int, 2 to 16
        Activations are signed and asymmetric, per tensor.
    per_channel : bool
        One weight scale an output channel, or one for the whole tensor.
    power_of_two : bool
        Scales rounded up to powers of two.
    rounding : str
        Real -> code, in training and after; a name of `ROUNDING_MODES` except "stochastic".
    exclude : bool
        Left in float: no fake-quant on its weights or output. Such a model trains and runs but does not convert.
    overrides : tuple of (pattern, changes)
        What `annotate` added; the last match wins.

    Notes
    -----
    In PyTorch this is a QConfig / Quantizer spec; in TFLite the converter's quantization spec.

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

    def __post_init__(self) -> None:
        for field, low, high in (("weight_bits", 2, 8), ("activation_bits", 2, 16)):
            bits = getattr(self, field)
            if not isinstance(bits, int) or isinstance(bits, bool) or not low <= bits <= high:
                raise ValueError(f"{field} must be a whole number from {low} to {high}, got {bits!r}.")
        if self.rounding not in ROUNDING_MODES or self.rounding == "stochastic":
            names = ", ".join(mode for mode in ROUNDING_MODES if mode != "stochastic")
            raise ValueError(f"rounding must be one of {names}, got {self.rounding!r}.")

    def replace(self, **changes: Any) -> Scheme:
        """A copy with some fields changed; unknown fields are refused by name."""
        _refuse_unknown(changes)
        return dataclasses.replace(self, **changes)

    def annotate(self, pattern: str, **changes: Any) -> Scheme:
        """A copy in which the nodes whose name matches use other settings.

        Parameters
        ----------
        pattern : str
            A node's name, or a shell pattern over names: "block1.*".
        **changes
            Any field but name and overrides; ``exclude=True`` leaves the node in float.
        """
        _refuse_unknown(changes)
        dataclasses.replace(self, **changes)
        return dataclasses.replace(self, overrides=(*self.overrides, (pattern, tuple(sorted(changes.items())))))

    def for_node(self, name: str) -> Scheme:
        """The settings of one node, overrides applied."""
        changes: dict[str, Any] = {}
        for pattern, override in self.overrides:
            if fnmatchcase(name, pattern):
                changes.update(override)
        return dataclasses.replace(self, **changes) if changes else self


def _refuse_unknown(changes: dict[str, Any]) -> None:
    """Only settings may be changed."""
    allowed = [field.name for field in dataclasses.fields(Scheme) if field.name != "overrides"]
    unknown = [key for key in changes if key not in allowed]
    if unknown:
        raise TypeError(f"a scheme has {', '.join(allowed)}, got {', '.join(unknown)}.")


TFLITE_INT8 = Scheme("tflite_int8")
"""What TensorFlow Lite's int8 files hold: per-channel symmetric weights in [-127, 127], per-tensor asymmetric activations
in [-128, 127], bias in int32 (LiteRT quantization spec; Krishnamoorthi 2018)."""
