"""Where two integer results part, and why.

Two runtimes get the same codes and make 11 and 12 of them. The exact value, a fraction, says which is right: 11.4999 wants
11, so whoever said 12 rounded twice, or in float, or with a multiplier of few bits; 11.5 wants neither, and the two have
different rules for ties. So the cause is not guessed from the difference, it is decided on the exact value.

With this module one can have the reason for one element (`Judge.parting`) and read what each reason means (`CAUSES`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np

from tinyquant.analysis.exact_values import ExactOutput, half_away
from tinyquant.analysis.mechanics import Mechanics, clamp
from tinyquant.analysis.sides import IntegerForm

__all__ = ["CAUSES", "Judge", "Parting"]

CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "tie": "half-way between two codes, and the two round it to different sides",
        "double rounding": "rounded twice, and the first rounding moved it onto or over the half-way point",
        "multiplier rounding": "the real factor is held in so few bits that the product crossed the half-way point",
        "float rounding": "computed in floating point, whose rounding moved it onto or over the half-way point",
        "bias rounding": "the bias lies on another grid, which moved it over the half-way point",
        "saturation": "clamped at different codes",
        "approximation": "a table or polynomial in place of the function itself",
        "parameters": "weights, biases or quantizers differ",
        "another rule": "computed by a method that none of the others describes",
        "inputs": "the node was given other codes; on the same codes both agree",
    }
)
"""Why two codes differ: name -> what it means."""

Index = tuple[int, ...]


@dataclass(frozen=True)
class Parting:
    """One element that two models put into different codes.

    Attributes
    ----------
    node, op : str
    index : tuple of int
        Into the node's output, batch axis included.
    a, b : int
        The two codes, from the same input codes.
    exact : Fraction or None
        The code before rounding and clamp, zero point included; None where it is no fraction, or not known.
    cause : str
        A key of `CAUSES`.
    """

    node: str
    op: str
    index: Index
    a: int
    b: int
    exact: Fraction | None
    cause: str

    def __str__(self) -> str:
        exact = "" if self.exact is None else f", exactly {_decimals(self.exact)}"
        where = f"{self.node}[{', '.join(map(str, self.index))}] ({self.op})"
        return f"{where}: codes {self.a} and {self.b}{exact}. {self.cause}: {CAUSES[self.cause]}."

    def to_dict(self) -> dict[str, Any]:
        """As what `json.dumps` takes; `exact` as a decimal and as "numerator/denominator"."""
        exact = None if self.exact is None else float(self.exact)
        ratio = None if self.exact is None else f"{self.exact.numerator}/{self.exact.denominator}"
        return {
            "node": self.node, "op": self.op, "index": list(self.index), "a": self.a, "b": self.b,
            "exact": exact, "exact_ratio": ratio, "cause": self.cause,
        }  # fmt: skip


def _decimals(x: Fraction) -> str:
    """With as many digits as tell it from a tie; at least 4."""
    distance = abs(2 * x - half_away(2 * x))
    digits = 4
    while distance and distance * 10**digits < 1 and digits < 17:
        digits += 1
    scaled = half_away(x * 10**digits)
    whole, rest = divmod(abs(scaled), 10**digits)
    return f"{'-' if scaled < 0 else ''}{whole}.{rest:0{digits}d}"


class Judge:
    """Says of the elements of one node why two sides differ, both having computed it from the same codes.

    Parameters
    ----------
    a, b : IntegerForm or None
        The node in both; None where a side has no integer form of it.
    arrays : sequence of ndarray
        The codes both were given.

    Notes
    -----
    What it cannot decide is "another rule".
    """

    def __init__(self, a: IntegerForm | None, b: IntegerForm | None, arrays: Sequence[np.ndarray]) -> None:
        forms = [form for form in (a, b) if form is not None and form.node.qparams is not None]
        self._changed = _changed(*forms) if len(forms) == 2 else ""
        self._sides: list[Mechanics] = []
        if forms:
            # Where nothing has changed the exact output is one and the same.
            exact = ExactOutput(forms[-1].node, forms[-1].inputs, arrays)
            self._sides = [Mechanics(form, arrays, exact) for form in forms]

    def parting(self, node: str, index: Index, a: int, b: int) -> Parting:
        """The two codes of one element, its exact value and the cause."""
        if len(self._sides) < 2:
            return Parting(node, self._sides[0].form.node.op if self._sides else "", index, a, b, None, "another rule")
        newer = self._sides[1]
        exact = newer.exact_code(index) if newer.exact.known else None
        return Parting(node, newer.form.node.op, index, a, b, exact, self._cause(index, a, b))

    def _cause(self, index: Index, a: int, b: int) -> str:
        """The first test that settles it."""
        older, newer = self._sides
        if self._changed:
            return self._changed
        if not newer.exact.known:
            return "approximation" if newer.form.node.op in ("LOGISTIC", "TANH", "SOFTMAX") else "another rule"
        rounded = half_away(newer.exact.steps(index)) + newer.zero
        if clamp(rounded, older.limits) != clamp(rounded, newer.limits):
            return "saturation"
        if newer.exact.steps(index).denominator == 2:
            return "tie"
        # b is the newcomer, so it is asked first.
        for side, code in ((newer, b), (older, a)):
            if code != side.right(index):
                return side.why(index)
        return "another rule"


def _changed(a: IntegerForm, b: IntegerForm) -> str:
    """What the two nodes do not share: "" where all is the same."""
    meanings = [[*(value.qparams for value in form.inputs), form.node.qparams] for form in (a, b)]
    params = [dict(form.node.params) for form in (a, b)]
    scales = [form.node.param_qparams.get("weight") for form in (a, b)]
    if meanings[0] != meanings[1] or scales[0] != scales[1] or set(params[0]) - {"bias"} != set(params[1]) - {"bias"}:
        return "parameters"
    if any(not np.array_equal(params[0][key], params[1][key]) for key in params[0] if key != "bias"):
        return "parameters"
    biases = [np.asarray(p.get("bias", 0), np.int64) for p in params]
    apart = np.abs(biases[0] - biases[1]).max(initial=0)
    return "" if not apart else "bias rounding" if apart == 1 else "parameters"
