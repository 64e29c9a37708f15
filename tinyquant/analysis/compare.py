"""One network in two arithmetics, node by node: how far apart, since where, and why.

Every node of one model is held against the node of the other that stands for the same number; a fused node is aligned with
the last float node it absorbed. Errors pile up on the way through a network, so the same comparison can be made with
each node on the *first* model's inputs (``inputs="first"``): then a row shows what this node alone adds.

Where both models have codes of one meaning, codes can be counted that differ, and each difference is tried for its cause: the
second model's node is run on the first one's codes, and what still differs is decided on the exact rational value
(`partings`).

With this module one can compare any two of a float, a fake-quantized and an integer model, or two dialects of one (`compare`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyquant.analysis.comparison_table import comparison_text
from tinyquant.analysis.metrics import Metrics, measure
from tinyquant.analysis.partings import Judge, Parting
from tinyquant.analysis.sides import Compared, Given, Side, Signal, align, beyond, side_of
from tinyquant.integer.model import IntegerModel
from tinyquant.numerics.affine import dequantize

__all__ = ["Comparison", "NodeComparison", "compare"]

JUDGED = 200
"""How many differing elements of a node are tried for their cause."""


@dataclass(frozen=True)
class NodeComparison:
    """One row: a value of both models.

    Attributes
    ----------
    name, op : str
        The fused node's where one is fused; op is "INPUT" for an input.
    names : (str, str)
        The names in a and in b.
    shape : tuple of int
        Of the values compared.
    step : float or None
        One LSB: the scale of b's output, or of a's where b has none.
    levels : int or None
        How many codes b has.
    total : Metrics
    channels : tuple of Metrics
        One a channel (last axis).
    causes : dict of str to int
        Of the differing codes (the first `JUDGED` of them): cause -> how many. See `partings.CAUSES`.
    parting : Parting or None
        The first element that differs although both were given the same codes.
    """

    name: str
    op: str
    names: tuple[str, str]
    shape: tuple[int, ...]
    step: float | None
    levels: int | None
    total: Metrics
    channels: tuple[Metrics, ...] = field(repr=False)
    causes: dict[str, int]
    parting: Parting | None

    def to_dict(self) -> dict[str, Any]:
        """The row as what `json.dumps` takes, channels included."""
        return {
            "name": self.name, "op": self.op, "names": list(self.names), "shape": list(self.shape), "step": self.step,
            "levels": self.levels, **self.total.to_dict(), "causes": dict(self.causes),
            "parting": None if self.parting is None else self.parting.to_dict(),
            "channels": [metrics.to_dict() for metrics in self.channels],
        }  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """The report of `compare`. `str()` of it is a table; `to_dict()`, `rows` and indexing by name are for programs.

    Attributes
    ----------
    a, b : str
        What was compared: "float", "fake-quantized", "integer (tflm)", ...
    inputs : str
        "own" or "first".
    batch : int
        Rows of x.
    rows : tuple of NodeComparison
        In b's execution order, inputs first.
    only_a, only_b : tuple of str
        Values without a counterpart: float nodes that were absorbed, a softmax that was appended.
    """

    a: str
    b: str
    inputs: str
    batch: int
    rows: tuple[NodeComparison, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> NodeComparison:
        """The row of that name, in either model."""
        for row in self.rows:
            if name in (row.name, *row.names):
                return row
        raise KeyError(f"no row is called {name!r}; there are {', '.join(row.name for row in self.rows)}.")

    def __iter__(self) -> Iterator[NodeComparison]:
        return iter(self.rows)

    @property
    def first_parting(self) -> Parting | None:
        """The first element, in execution order, that two results put into different codes; None where they never part."""
        return next((row.parting for row in self.rows if row.parting is not None), None)

    @property
    def differing(self) -> int:
        """Codes that differ, over all rows that have codes on both sides."""
        return sum(row.total.differing or 0 for row in self.rows)

    @property
    def worst(self) -> NodeComparison:
        """The row of the lowest SQNR."""
        return min(self.rows, key=lambda row: row.total.sqnr_db)

    def causes(self) -> dict[str, int]:
        """cause -> how many differing codes, over all rows."""
        return dict(sum((Counter(row.causes) for row in self.rows), Counter()))

    def __str__(self) -> str:
        return comparison_text(self)

    def to_dict(self) -> dict[str, Any]:
        """All of it as what `json.dumps` takes."""
        return {
            "a": self.a, "b": self.b, "inputs": self.inputs, "batch": self.batch,
            "only_a": list(self.only_a), "only_b": list(self.only_b),
            "first_parting": None if self.first_parting is None else self.first_parting.to_dict(),
            "rows": [row.to_dict() for row in self.rows],
        }  # fmt: skip


def compare(
    a: Compared, b: Compared, x: Given, *, inputs: str = "own", dialects: tuple[str, str] = ("tflm", "tflm")
) -> Comparison:
    """Hold every node of b against its counterpart in a.

    Parameters
    ----------
    a, b : Module, captured Graph, FakeQuantModel or IntegerModel
        a is the reference: errors are b - a. Two different models will do, if their nodes have common names and shapes.
    x : float array (N, ...)
        In the units of the signal. Integer models also take codes, and a list or dict for several inputs.
    inputs : str
        "own": each model runs by itself, errors pile up. "first": every node of b is given a's values, brought to b's grid,
        so that a row shows what this node adds.
    dialects : (str, str)
        Whose arithmetic an IntegerModel has, for a and b: ``compare(m, m, x, dialects=("tflm", "xnnpack"))``.

    Returns
    -------
    Comparison

    Raises
    ------
    TypeError
        Something that is no model, or codes for a model that takes reals.
    ValueError
        Unknown inputs, nothing in common, shapes that differ under one name, or a model in training mode.

    Warns
    -----
    InexactDialectWarning
        As `IntegerModel.trace`.

    Notes
    -----
    SQNR and the errors are of reals. LSB is the step of b. "Dead" is measured before b's own quantizer where b is a
    FakeQuantModel, and on a's values against b's range where a has no quantizer there.
    In PyTorch: `_numeric_debugger`; in TFLite: the Quantization Debugger, whose rmse / scale is `rmse_ratio` / sqrt(12).

    Examples
    --------
    >>> from tinyquant import nn
    >>> from tinyquant.quantization.calibrate import calibrate
    >>> from tinyquant.quantization.prepare import quantize_model
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()
    >>> x = np.array([[0.0, 1.0], [1.0, 0.5]], np.float32)
    >>> report = compare(model, quantize_model(model, calibrate(model, x)), x)
    >>> [(row.name, row.names) for row in report]
    [('input', ('input', 'input')), ('0', ('1', '0'))]
    """
    if inputs not in ("own", "first"):
        raise ValueError(f'inputs must be "own" or "first", got {inputs!r}.')
    first, second = _sides(a, b, x, dialects)
    pairs = align(first, second)
    if len(pairs) <= len(second.graph.inputs) and len(second.graph):
        raise ValueError(
            f"the two models must have nodes of common names, got {_some(first)} and {_some(second)}. "
            "Compare models that were made from one network, or two files with the same tensor names."
        )
    ours, theirs = first.signals(_given(first, second, x)), second.signals(_given(second, first, x))
    known = {name_b: name_a for name_a, name_b in pairs}
    rows = []
    for name_a, name_b in pairs:
        node = second.node(name_b)
        sources = [] if node is None else list(node.inputs)
        # What b's node would get from a; its own value where a has nothing of the kind.
        fed = [ours[known[source]] if source in known else theirs[source] for source in sources]
        local = None if node is None or not _needs_local(inputs, ours[name_a], theirs[name_b]) else second.feed(name_b, fed)
        shown = local if inputs == "first" and local is not None else theirs[name_b]
        masked = _mask(second, name_b, fed if inputs == "first" else [theirs[source] for source in sources], ours[name_a])
        rows.append(_row(first, second, (name_a, name_b), ours[name_a], shown, local, fed, masked))
    covered = {name for side in (first, second) for node in side.graph for name in (node.name, *node.absorbed) if node.absorbed}
    lone_a = tuple(name for name in ours if name not in known.values() and name not in covered)
    lone_b = tuple(name for name in theirs if name not in known and name not in covered)
    return Comparison(first.label, second.label, inputs, _rows_of(ours), tuple(rows), lone_a, lone_b)


def _sides(a: Compared, b: Compared, x: Given, dialects: tuple[str, str]) -> tuple[Side, Side]:
    """Both models behind one face; a float Module is captured with x in reals."""
    if isinstance(dialects, str) or len(dialects) != 2:
        raise ValueError(f'dialects must be a pair, one for a and one for b, got {dialects!r}. Write ("tflm", "xnnpack").')
    integer = next((model for model in (a, b) if isinstance(model, IntegerModel)), None)
    example = x
    if integer is not None and isinstance(x, np.ndarray) and x.dtype.kind != "f" and integer.inputs[0].qparams is not None:
        example = dequantize(x, integer.inputs[0].qparams)
    made = [side_of(model, example, dialect=dialect) for model, dialect in zip((a, b), dialects)]
    return made[0], made[1]


def _given(side: Side, other: Side, x: Given) -> Given:
    """x for one side: codes become reals for a side that has none, by the other side's input quantizer."""
    takes_codes = side.label.startswith("integer")
    if takes_codes or not isinstance(x, np.ndarray) or x.dtype.kind == "f" or not other.label.startswith("integer"):
        return x
    qparams = other.graph.inputs[0].qparams
    return x if qparams is None else dequantize(x, qparams)


def _some(side: Side) -> str:
    """A few names of a side, for a message."""
    names = [node.name for node in side.graph]
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _rows_of(signals: dict[str, Signal]) -> int:
    """The batch."""
    first = next(iter(signals.values())).reals
    return len(first) if first.ndim else 1


def _comparable(a: Signal, b: Signal) -> bool:
    """Do both have codes that mean the same?"""
    return a.codes is not None and b.codes is not None and a.qparams == b.qparams


def _needs_local(inputs: str, a: Signal, b: Signal) -> bool:
    """Is b's node to be run on a's inputs: always for "first", otherwise to find the cause of codes that differ."""
    if inputs == "first":
        return True
    if not _comparable(a, b):
        return False
    assert a.codes is not None and b.codes is not None
    return a.codes.size == b.codes.size and not np.array_equal(a.codes.ravel(), b.codes.ravel())


def _mask(second: Side, name: str, inputs: Sequence[Signal], a: Signal) -> np.ndarray | None:
    """Where no gradient passes: b's own mask, or where the reference's reals leave b's range."""
    qp = second.qparams(name)
    own = second.masked(name, inputs) if inputs else None
    if own is None and qp is not None and a.qparams is None:
        own = beyond(a.reals, qp)
    return own


def _row(
    first: Side,
    second: Side,
    names: tuple[str, str],
    a: Signal,
    b: Signal,
    local: Signal | None,
    fed: Sequence[Signal],
    masked: np.ndarray | None,
) -> NodeComparison:
    """Everything about one pair."""
    nodes = first.node(names[0]), second.node(names[1])
    fused = nodes[0] if nodes[0] is not None and nodes[0].absorbed and not (nodes[1] and nodes[1].absorbed) else nodes[1]
    if a.reals.size != b.reals.size:
        raise ValueError(f"node {names[1]!r} must have one shape in both models, got {a.reals.shape} and {b.reals.shape}.")
    shape = b.reals.shape
    qp = b.qparams or a.qparams
    step = None if qp is None or qp.per_axis else float(qp.scale)
    comparable = _comparable(a, b)
    arguments: dict[str, Any] = {
        "step": step,
        "codes": b.codes,
        "qparams": b.qparams,
        "masked": None if masked is None else masked.reshape(shape),
        "other_codes": a.codes.reshape(shape) if comparable and a.codes is not None else None,
    }
    reference, result = (s.exact_reals() if comparable else s.reals for s in (a, b))
    reference = reference.reshape(shape)
    total = measure(reference, result, **arguments)[0]
    causes: dict[str, int] = {}
    parting: Parting | None = None
    if comparable and total.differing:
        causes, parting = _causes(first, second, names, a, b, local, fed)
    return NodeComparison(
        names[1] if fused is None else fused.name,
        "INPUT" if fused is None else fused.op,
        names,
        shape,
        step,
        None if b.qparams is None else b.qparams.levels,
        total,
        measure(reference, result, by_channel=True, **arguments),
        causes,
        parting,
    )


def _causes(
    first: Side, second: Side, names: tuple[str, str], a: Signal, b: Signal, local: Signal | None, fed: Sequence[Signal]
) -> tuple[dict[str, int], Parting | None]:
    """Why codes differ: counted over the first `JUDGED`, and the first of them that differs on equal inputs too."""
    assert a.codes is not None and b.codes is not None
    ours, theirs = a.codes.reshape(b.codes.shape), b.codes
    alone = theirs if local is None or local.codes is None else local.codes.reshape(theirs.shape)
    apart = [tuple(at) for at in np.argwhere(ours != theirs)[:JUDGED].tolist()]
    apart_alone = [tuple(at) for at in np.argwhere(ours != alone)[:1].tolist()]
    is_node = second.node(names[1]) is not None and first.node(names[0]) is not None
    brought = second.brought(names[1], fed) if is_node else []
    arrays = [signal.reals if signal.codes is None else signal.codes for signal in brought]
    if second.graph.rows_are_independent():
        # The elements looked at lie in the first rows: no need to work out the rest.
        rows = 1 + max((at[0] for at in apart + apart_alone), default=0)
        arrays = [array[:rows] if array.ndim and len(array) == len(theirs) else array for array in arrays]
    forms = [side.integer_form(name) if is_node else None for side, name in zip((first, second), names)]
    judge = Judge(forms[0], forms[1], arrays)

    def decide(index: tuple[int, ...]) -> Parting:
        return judge.parting(names[1], index, int(ours[index]), int(alone[index]))

    counts = Counter("inputs" if alone[index] == ours[index] else decide(index).cause for index in apart)
    return dict(counts), decide(apart_alone[0]) if apart_alone else None
