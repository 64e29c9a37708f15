"""What is asked, the answer as it grows, and the endings that many operators share.

A `Question` is one node with its inputs, its kernel's integers and the index of one output element. A `Story` collects
numbered steps, each with lines for a reader and data for a program. Most operators end alike: an accumulator is multiplied
by a real number that integers stand for, rounded, moved by the zero point and clamped (`Story.multiplier`, `rescale`,
`to_code`, `finish`).

With this module one can write an operator's story in a few lines; `windows`, `elements`, `functions` and `moves` do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from tinyquant.analysis.explanations.rounding_rules import Told, decimal, rule_of
from tinyquant.graph import Node, Value
from tinyquant.numerics.qparams import QParams

__all__ = [
    "ExplainedStep",
    "Question",
    "Story",
    "amount",
    "clamp_meaning",
    "pick",
    "place",
    "plain",
    "scale_of",
    "shorten",
    "signed",
    "table",
    "zero_of",
]

Index = tuple[int, ...]
OUTPUT_STEPS = "is how many steps of the output one unit is worth"


@dataclass(frozen=True)
class ExplainedStep:
    """One step: a key for programs, a title and lines for readers, and every number of it as data."""

    key: str
    title: str
    lines: tuple[str, ...]
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """One output element of one node.

    Attributes
    ----------
    node : Node
    inputs : tuple of Value
    arrays : tuple of ndarray
        What the node reads, as they are in this run (they may have more rows than declared).
    arguments : mapping
        The keyword arguments of its kernel.
    shape : tuple of int
        Of the output in this run.
    index : tuple of int
        Into the output, batch axis included.
    """

    node: Node
    inputs: tuple[Value, ...]
    arrays: tuple[np.ndarray, ...]
    arguments: Mapping[str, Any]
    shape: Index
    index: Index

    def code(self, which: int, index: Index) -> int:
        """One code of input number `which`."""
        return int(self.arrays[which][index])

    def integer(self, name: str) -> int:
        """A kernel argument that is one whole number."""
        return int(self.arguments[name])


# ---------------------------------------------------------------------------------------------------------------
# Numbers and names for the eye


def signed(x: int) -> str:
    """A number as it stands in a formula: a negative one in brackets.

    >>> signed(5), signed(-5)
    ('5', '(-5)')
    """
    return f"({x})" if x < 0 else str(x)


def place(index: Sequence[int]) -> str:
    """An index as Python writes it.

    >>> place((0, 3, 1))
    '[0, 3, 1]'
    """
    return "[" + ", ".join(str(int(i)) for i in index) + "]"


def plain(name: str) -> str:
    """A name as printable ASCII: a file may call a tensor anything.

    >>> plain("a\\tb")
    'a\\\\tb'
    """
    return name.encode("unicode_escape").decode("ascii")


def shorten(name: str, width: int) -> str:
    """A name of at most `width` printable characters: its middle is what one can do without.

    >>> shorten("model/conv2d/BiasAdd;model/bn", 15)
    'model/...del/bn'
    """
    name = plain(name)
    if len(name) <= width:
        return name
    head = (width - 3) // 2
    return f"{name[:head]}...{name[len(name) - (width - 3 - head) :]}"


def scale_of(qparams: QParams | None, channel: int = 0) -> Fraction:
    """The stored (float32) scale as an exact fraction: the only one, or that of a channel."""
    assert qparams is not None
    return Fraction(float(np.float32(np.atleast_1d(qparams.scale)[channel if qparams.per_axis else 0])))


def zero_of(qparams: QParams | None) -> int:
    """The zero point of an activation."""
    assert qparams is not None
    return int(qparams.zero_point)


def pick(numbers: Any, channel: int) -> Any:
    """The channel's own number of a per-channel argument, or the one there is; a Python number."""
    array = np.asarray(numbers)
    return (array[channel] if array.ndim else array).item()


def table(rows: Sequence[Sequence[str]], shown: int = 8) -> list[str]:
    """Rows of cells as right-aligned columns, the first row the heading; the middle left out when there are many.

    >>> print("\\n".join(table([["a", "b"], ["1", "-20"], ["3", "4"]])))
    a     b
    1   -20
    3     4
    """
    heading, *body = rows
    cut = len(body) > shown
    kept = [*body[: shown - 3], *body[-2:]] if cut else body
    widths = [max(len(row[i]) for row in (heading, *kept)) for i in range(len(heading))]
    lines = [
        "   ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
        for row in (heading, *kept)
    ]
    if cut:
        lines.insert(shown - 2, "...")
    return [line.rstrip() for line in lines]


def amount(label: str, value: str | int) -> str:
    """A label and a number at the right: a line of a sum.

    >>> amount("+ bias", 12)
    '+ bias                                                    12'
    """
    return f"{label:<44}{value:>16}"


# ---------------------------------------------------------------------------------------------------------------
# The story


class Story:
    """Steps in the order in which they happen, and where they end.

    Attributes
    ----------
    steps : list of ExplainedStep
    code : int or None
        The output code, once a step has made it; None where the output is a real number.
    before, after : float
        The real result in exact arithmetic on the input codes, and the real that came out.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.rule = rule_of(question.arguments, question.shape, question.index)
        self.steps: list[ExplainedStep] = []
        self.code: int | None = None
        self.before = 0.0
        self.after = 0.0

    def add(self, key: str, title: str, lines: Sequence[str], **data: Any) -> None:
        """One more step."""
        self.steps.append(ExplainedStep(key, title, tuple(lines), data))

    def tell_real(
        self, meaning: str, real: Fraction | float, multiplier: Any, shift: int, worth: str
    ) -> Told:
        """Lines and data about a real number, `meaning`, and how it is written down."""
        lines, data = self.rule.stands(multiplier, shift)
        said = [f"{meaning} = {float(real):.9g}", f"{worth}, written down as", *lines]
        return said, {"real": float(real), **data}

    def multiplier(
        self, meaning: str, real: Fraction | float, multiplier: Any, shift: int, worth: str = OUTPUT_STEPS
    ) -> None:
        """The step that shows the real number the sum is multiplied by, and the integers that stand for it."""
        lines, data = self.tell_real(meaning, real, multiplier, shift, worth)
        self.add("multiplier", "The multiplier", lines, **data)

    def rescale(self, x: int, multiplier: Any, shift: int) -> int:
        """The step that multiplies x, with each rounding; returns the whole number."""
        lines, data = self.rule.tell(x, multiplier, shift)
        self.add("rescale", "Multiply and round", lines, **data)
        return int(data["result"])

    def to_code(self, scaled: int, *, limits: str = "") -> int:
        """The step that adds the zero point and clamps; returns the code."""
        arguments = self.question.arguments
        zero, low, high = (
            int(arguments.get(k, d))
            for k, d in (("output_zero_point", 0), ("act_min", -128), ("act_max", 127))
        )
        moved = scaled + zero
        code = min(max(moved, low), high)
        lines = [
            amount("rounded", scaled),
            amount("+ output zero point", zero),
            amount("= before the clamp", moved),
            amount(
                f"clamped to [{low}, {high}] {limits or clamp_meaning(self.question.node)}".rstrip(), code
            ),
        ]
        self.add(
            "code",
            "The output code",
            lines,
            rounded=scaled,
            zero_point=zero,
            unclamped=moved,
            low=low,
            high=high,
            code=code,
        )
        return code

    def finish(
        self, code: int, before: Fraction | float, formula: str, limits: tuple[int, int] | None = None
    ) -> None:
        """The last step: what the code means, and what the exact result of the same input codes would have been."""
        qparams = self.question.node.qparams
        step, zero = scale_of(qparams), zero_of(qparams)
        after = step * (code - zero)
        exact = Fraction(before)
        error = (after - exact) / step
        lines = [
            f"exact    {formula} = {decimal(exact, 6)}",
            f"got      {float(step):.6g} * ({code} - {signed(zero)}) = {decimal(after, 6)}",
        ]
        arguments = self.question.arguments
        low, high = limits or (int(arguments.get("act_min", -128)), int(arguments.get("act_max", 127)))
        position = exact / step + zero
        if not error:
            lines.append("Nothing was lost.")
        elif 2 * low - 1 <= 2 * position <= 2 * high + 1:
            lines.append(
                f"The code is off by {abs(float(error)):.3f} of an output step; one rounding costs at most 0.5."
            )
        else:
            lines += [
                f"The exact result lies beyond the codes {low} to {high}:",
                "the clamp made the difference, not rounding.",
            ]
        self.code, self.before, self.after = code, float(exact), float(after)
        self.add(
            "real",
            "In real numbers",
            lines,
            before=self.before,
            after=self.after,
            error_in_steps=float(error),
            step=float(step),
        )


def clamp_meaning(node: Node) -> str:
    """Why the clamp is where it is."""
    name = str(
        node.attrs.get(
            "activation",
            {"RELU": "relu", "RELU6": "relu6", "RELU_N1_TO_1": "relu_n1_to_1"}.get(node.op, "none"),
        )
    )
    return {"none": "(all int8)", "relu": "(relu: from real 0)", "relu6": "(relu6: 0 to 6)"}.get(
        name, "(real -1 to 1)"
    )
