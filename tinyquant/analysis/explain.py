"""Why is this one number what it is? Every step from a node's inputs to one of its output codes.

The steps are computed a second time, with plain Python ints and from the same multipliers and shifts that the kernel uses, and
must end in the kernel's own code: an explanation that is not true raises instead of being shown.

With this module one can have one output element explained (`explain`), to read (`str(...)`) or to compute with (`.data`).
"""

from __future__ import annotations

import difflib
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyquant.analysis.explanations import TELL
from tinyquant.analysis.explanations.story import ExplainedStep, Question, Story, place, shorten
from tinyquant.graph import OPS, Graph, Node, Value
from tinyquant.integer.kernels import KERNELS
from tinyquant.integer.model import IntegerModel
from tinyquant.integer.registry import InexactDialectWarning, Step, build_step

__all__ = ["Explanation", "explain"]

_KERNEL_OP = {kernel: op for op, kernel in reversed(list(KERNELS.items()))}
"""By kernel: a dialect may compute one operator with another's (RELU6 as RELU)."""

Arrays = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
WIDTH = 80


@dataclass(frozen=True)
class Explanation:
    """One output element in full. `str()` of it, or `.text`, is for reading; `.data` and `to_dict()` are for programs.

    Attributes
    ----------
    node, op, dialect : str
    index : tuple of int
        Into the node's output, batch axis included.
    code : int or None
        The output code; None for DEQUANTIZE, whose output is a real number.
    before, after : float
        The exact real result of the node's input codes, and the real the output stands for.
    steps : tuple of ExplainedStep
        In order; each has a key, a title, lines of text and its numbers as data.
    inputs : tuple of Value
        What the node reads.
    output : Value
    note : str
        What is special about the dialect here; empty for "tflm".
    """

    node: str
    op: str
    dialect: str
    index: tuple[int, ...]
    code: int | None
    before: float
    after: float
    steps: tuple[ExplainedStep, ...]
    inputs: tuple[Value, ...]
    output: Value
    note: str = ""

    @property
    def text(self) -> str:
        """The explanation as plain ASCII, 80 columns wide (long names are shortened)."""
        at, right = place(self.index), f"{self.op}, {self.dialect}"
        title = shorten(self.node, max(12, WIDTH - len(at) - len(right) - 2)) + at
        lines = [f"{title}  {right:>{max(0, WIDTH - len(title) - 2)}}", "=" * WIDTH]
        lines += [f"{self.op}: {OPS[self.op].meaning}.", *textwrap.wrap(self.note, WIDTH)]
        lines += _tensor_lines(self.inputs, self.output)
        for number, step in enumerate(self.steps, 1):
            lines += ["", f"{number}. {step.title}", *(part for line in step.lines for part in _fitted(line))]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.text

    @property
    def data(self) -> dict[str, Mapping[str, Any]]:
        """Every number of every step: {step's key: {name: value}}; lists are complete."""
        return {step.key: step.data for step in self.steps}

    def to_dict(self) -> dict[str, Any]:
        """All of it as what `json.dumps` takes."""
        return {
            "node": self.node,
            "op": self.op,
            "dialect": self.dialect,
            "index": list(self.index),
            "code": self.code,
            "before": self.before,
            "after": self.after,
            "note": self.note,
            "inputs": [_value_dict(value) for value in self.inputs],
            "output": _value_dict(self.output),
            "steps": [
                {"key": step.key, "title": step.title, "lines": list(step.lines), **step.data}
                for step in self.steps
            ],
        }


def explain(
    m: IntegerModel, codes: Arrays, node: str, index: int | Sequence[int], *, dialect: str = "tflm"
) -> Explanation:
    """Every step of one output element of one node.

    For a convolution: the products, the int32 sum, the zero-point term, the multiplier and shift as integers and as the
    real they stand for, each rounding, the clamp, the code, and the real values before and after; for other operators
    what takes their place.

    Parameters
    ----------
    m : IntegerModel
        Converted or loaded, it makes no difference.
    codes : array, or for several inputs a list or a dict by name
        As for `m.run`.
    node : str
        A node's name: a key of `m.trace(codes)` that is not an input.
    index : tuple of int, or an int for an output of one axis
        Of the element in that node's output, batch axis included, counted from 0.
    dialect : str
        Whose arithmetic. Where a dialect rounds by another rule its own steps are shown; where it computes by another method
        altogether, TFLite Micro's steps are, with the dialect's code in `note`.

    Returns
    -------
    Explanation

    Raises
    ------
    ValueError
        No such node (near names are listed), or an index outside the node's output (its shape is named); and what
        `m.run` refuses.
    TypeError
        The index is not whole numbers, or m is not an IntegerModel.
    RuntimeError
        The steps do not end in the kernel's code. It is a fault of this package, never of the caller.

    Examples
    --------
    >>> from tinyquant.graph import Graph, Node
    >>> from tinyquant.numerics.qparams import QParams
    >>> int8 = np.dtype(np.int8)
    >>> fc = Node("fc", "FULLY_CONNECTED", ("x",), (1, 1), params={"weight": np.int8([[2, -1]])}, qparams=QParams(0.5, 0),
    ...           param_qparams={"weight": QParams(1.0, 0)}, dtype=int8)
    >>> m = IntegerModel(Graph((Value("x", (1, 2), int8, QParams(0.5, 1)),), (fc,), ("fc",)))
    >>> why = explain(m, np.int8([[3, 5]]), "fc", (0, 0))
    >>> why.code, why.data["products"]["products"], why.data["sum"]["zero_point_term"]
    (0, [4, -4], -1)
    >>> [step.key for step in why.steps]
    ['products', 'sum', 'multiplier', 'rescale', 'code', 'real']
    """
    if not isinstance(m, IntegerModel):
        raise TypeError(
            f"m must be an IntegerModel, got {type(m).__name__}. Make one with convert or load_tflite."
        )
    found = _find(m.graph, node)
    with warnings.catch_warnings():
        # Said in the note instead, about the one node that is asked for.
        warnings.simplefilter("ignore", InexactDialectWarning)
        trace = m.trace(codes, dialect=dialect)
    at = _checked_index(index, node, trace[node].shape)
    inputs = tuple(m.graph.value(name) for name in found.inputs)
    arrays = tuple(trace[name] for name in found.inputs)
    output = trace[node]
    story, note = _tell(found, inputs, arrays, at, dialect, output)
    code = None if found.op == "DEQUANTIZE" else int(output[at])
    return Explanation(
        node,
        found.op,
        dialect,
        at,
        code,
        story.before,
        story.after,
        tuple(story.steps),
        inputs,
        m.graph.value(node),
        note,
    )


def _find(graph: Graph, name: str) -> Node:
    """The node of that name; a ValueError lists near names."""
    names = [node.name for node in graph]
    if name in names:
        return graph.node(name)
    if name in [value.name for value in graph.inputs]:
        raise ValueError(
            f"node must be computed by the model, got its input {name!r}. Its codes are what you passed in."
        )
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.4) or names[:3]
    raise ValueError(
        f"node must be a node of the model, got {name!r}. Near it: {', '.join(map(repr, near))}."
    )


def _checked_index(index: int | Sequence[int], node: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index as a tuple of ints inside the shape."""
    parts = (index,) if isinstance(index, (int, np.integer)) else tuple(index)
    if not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in parts):
        raise TypeError(
            f"index must be whole numbers, got {index!r}. Give one number an axis, the batch first."
        )
    at = tuple(int(i) for i in parts)
    if len(at) != len(shape) or not all(0 <= i < n for i, n in zip(at, shape)):
        raise ValueError(
            f"index must lie in the output of {node!r}, of shape {shape}, got {at}. Count from 0, the batch axis first."
        )
    return at


def _tell(
    node: Node,
    inputs: tuple[Value, ...],
    arrays: tuple[np.ndarray, ...],
    at: tuple[int, ...],
    dialect: str,
    output: np.ndarray,
) -> tuple[Story, str]:
    """The story of the element and the note about the dialect; checked against the kernel."""
    plain, step = build_step(node, inputs), build_step(node, inputs, dialect)
    assert isinstance(plain, Step)
    ours = output[at] if dialect == "tflm" else plain(arrays)[at]
    if isinstance(step, Step) and step.kernel in _KERNEL_OP:
        story = TELL[_KERNEL_OP[step.kernel]](
            Question(node, inputs, arrays, step.arguments, output.shape, at)
        )
        _must_agree(story, output[at], node, at)
        if dialect == "tflm":
            return story, ""
        return (
            story,
            f"{dialect} {_difference(story, step, plain)} TFLite Micro makes {_shown(ours)} of the same input.",
        )
    story = TELL[node.op](Question(node, inputs, arrays, plain.arguments, output.shape, at))
    _must_agree(story, ours, node, at)
    method = getattr(getattr(step, "kernel", step), "__name__", "a method of its own")
    return story, (
        f"{dialect} computes this node in another way ({method}) and makes {_shown(output[at])} of it. "
        f"These are TFLite Micro's steps on the same input, which end in {_shown(ours)}."
    )


def _shown(output: Any) -> str:
    """A code, or a real."""
    return f"code {output}" if isinstance(output, np.integer) else f"{float(output):.9g}"


def _difference(story: Story, step: Step, plain: Step) -> str:
    """What a dialect does with a node: the rest of a sentence that begins with its name."""
    differ = [name for name in step.arguments if not _equal(step.arguments[name], plain.arguments.get(name))]
    if "rescale" in differ:
        return f"rounds in its own way here: {story.rule.words}."
    if step.kernel is not plain.kernel:
        return f"computes this node as {_KERNEL_OP[step.kernel]}."
    return (
        f"has other numbers here ({', '.join(differ)})."
        if differ
        else "computes this node as TFLite Micro does."
    )


def _equal(a: Any, b: Any) -> bool:
    """The same argument: numbers, arrays, tuples or functions."""
    return a is b or (not callable(a) and np.array_equal(np.asarray(a), np.asarray(b)))


def _must_agree(story: Story, output: Any, node: Node, at: tuple[int, ...]) -> None:
    """Raise unless the story ends where the kernel did."""
    told = np.float32(story.after) if story.code is None else story.code
    if told != output:
        raise RuntimeError(
            f"the steps must end in the kernel's own output, got {told} and not {output} at {node.name}{place(at)} ({node.op}). "
            "This is a fault of the package: please report it."
        )


def _fitted(line: str) -> list[str]:
    """A line of a step, indented, and broken where it would leave the page."""
    return textwrap.wrap(
        line, WIDTH, initial_indent="   ", subsequent_indent="     ", drop_whitespace=True
    ) or [""]


def _tensor_lines(inputs: Sequence[Value], output: Value) -> list[str]:
    """What goes in and out, one line a tensor, in columns."""
    names = [f"x{i + 1}" if len(inputs) > 1 else "x" for i in range(len(inputs))]
    rows = []
    for name, value in zip([*names, "y"], [*inputs, output]):
        scale, zero = "", "real numbers"
        if value.qparams is not None:
            scale, zero = (
                f"scale {float(np.float32(value.qparams.scale)):.6g}",
                f"zero point {value.qparams.zero_point}",
            )
        rows.append((name, f"{value.dtype} {list(value.shape)}", scale, zero, value.name))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    heads = ["   " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
    return [f"{head}  {shorten(row[4], max(12, WIDTH - len(head) - 2))}" for head, row in zip(heads, rows)]


def _value_dict(value: Value) -> dict[str, Any]:
    """A tensor's description as plain data."""
    qparams = value.qparams
    meaning = (
        {"scale": float(qparams.scale), "zero_point": int(qparams.zero_point)} if qparams is not None else {}
    )
    return {"name": value.name, "shape": list(value.shape), "dtype": value.dtype.name, **meaning}
