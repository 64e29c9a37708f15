"""How a node becomes something that runs, and who else has a say in it.

Three tables that other rooms fill, so that this room never imports them:

* *dialects* (`register_dialect`): which runtime's arithmetic. "tflm", TFLite Micro's, is the one this room knows.
* *engines* (`register_engine`): how the same bytes are computed. "reference" runs the readable kernels.
* *writers* (`register_writer`): file formats a model can be saved in.

With this module one can turn a node into a `Step` (`build_step`), the call that runs it.

A dialect that rounds differently in one operator is a few lines::

    def build(node, inputs):
        arguments = prepare(node, inputs)
        if node.op == "CONV_2D":
            arguments["rescale"] = my_rescale            # (accumulator, multiplier, shift) -> whole numbers
        return Step(KERNELS[node.op], arguments)

    register_dialect("mine", build)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyquant.graph import OPS, Graph, Node, Value
from tinyquant.integer.kernels import KERNELS
from tinyquant.integer.prepare import prepare

if TYPE_CHECKING:
    from tinyquant.integer.model import IntegerModel

__all__ = [
    "InexactDialectWarning",
    "Step",
    "build_step",
    "known_dialects",
    "known_engines",
    "inexact_operators",
    "register_dialect",
    "register_engine",
    "register_writer",
    "writer",
]


class InexactDialectWarning(UserWarning):
    """An operator of the graph is not reproduced byte for byte in the dialect asked for (see `OPS[op].inexact`)."""


@dataclass(frozen=True)
class Step:
    """A kernel with its arguments bound: `step([array, ...])` is the node's output.

    Attributes
    ----------
    kernel : function
        One of `KERNELS`, or a dialect's own.
    arguments : mapping
        Keyword arguments, as `prepare` makes them. Kept apart from the kernel so that an engine may look at them.
    """

    kernel: Callable[..., np.ndarray]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The node's output for these inputs, a new array."""
        return np.asarray(self.kernel(*arrays, **self.arguments))


Runner = Callable[[Sequence[np.ndarray]], np.ndarray]
BuildStep = Callable[[Node, Sequence[Value]], Runner]
IsInexact = Callable[[Node, Sequence[Value]], bool]
RunGraph = Callable[[list[np.ndarray]], list[np.ndarray]]
BuildEngine = Callable[[Graph, str], "RunGraph | None"]
Writer = Callable[["IntegerModel", Any], None]


def _tflm(node: Node, inputs: Sequence[Value]) -> Step:
    """The kernels of this room, as they are."""
    arguments = prepare(node, inputs)
    return Step(KERNELS[node.op], arguments)


def _always(node: Node, inputs: Sequence[Value]) -> bool:
    """Every node of an operator that `OPS` calls inexact."""
    return True


_DIALECTS: dict[str, BuildStep] = {"tflm": _tflm}
_INEXACT: dict[str, IsInexact] = {}
_ENGINES: dict[str, tuple[int, BuildEngine]] = {}
_WRITERS: dict[str, Writer] = {}


def build_step(node: Node, inputs: Sequence[Value], dialect: str = "tflm") -> Runner:
    """The function that runs one node: list of input arrays -> output array.

    Parameters
    ----------
    node : Node
    inputs : sequence of Value
        What the node reads, in order.
    dialect : str
        A name from `known_dialects()`.

    Returns
    -------
    callable
        A `Step` where the dialect is made of kernels and arguments, as "tflm" is.

    Raises
    ------
    ValueError
        The dialect is unknown, or the node has no integer form (see `prepare`).

    Examples
    --------
    >>> from tinyquant.numerics.qparams import QParams
    >>> node = Node("t", "TRANSPOSE", ("x",), (2, 1), {"perm": (1, 0)}, qparams=QParams(1, 0), dtype=np.int8)
    >>> build_step(node, [Value("x", (1, 2), np.dtype(np.int8), QParams(1, 0))])([np.int8([[5, 6]])]).tolist()
    [[5], [6]]
    """
    if dialect not in _DIALECTS:
        raise ValueError(f"dialect must be one of {', '.join(_DIALECTS)}, got {dialect!r}.")
    return _DIALECTS[dialect](node, inputs)


def inexact_operators(graph: Graph, dialect: str, nodes: Iterable[Node] | None = None) -> tuple[str, ...]:
    """The operators of the graph (or of some nodes of it) that the dialect does not reproduce byte for byte, each once."""
    suspects = [node for node in (graph if nodes is None else nodes) if dialect in OPS[node.op].inexact]
    is_inexact = _INEXACT.get(dialect, _always)
    return tuple(dict.fromkeys(n.op for n in suspects if is_inexact(n, [graph.value(name) for name in n.inputs])))


def register_dialect(name: str, build: BuildStep, *, inexact: IsInexact = _always) -> None:
    """Teach `dialect=name`: build(node, inputs) -> a callable of the input arrays, best a `Step`.

    Which operators it may only approximate is told by `OPS[op].inexact`; at which nodes of them, by inexact(node, inputs).
    """
    _DIALECTS[name] = build
    _INEXACT[name] = inexact


def register_engine(name: str, build: BuildEngine, *, speed: int) -> None:
    """Teach `engine=name`: build(graph, dialect) -> a function from all input arrays to all output arrays.

    The function takes k times the declared batch where `graph.rows_are_independent()`, and may return None from `build` for
    a graph or dialect it cannot run. `engine="auto"` tries the greatest `speed` first; "reference" has speed 0.
    An engine must return the reference's bytes.
    """
    _ENGINES[name] = (speed, build)


def register_writer(kind: str, write: Writer) -> None:
    """Teach saving as `kind`: write(model, path). `IntegerModel.save` uses "npz", `save_tflite` "tflite", `save_c` "c"."""
    _WRITERS[kind] = write


def known_dialects() -> tuple[str, ...]:
    """The dialects there are."""
    return tuple(_DIALECTS)


def known_engines() -> Mapping[str, BuildEngine]:
    """The engines there are, fastest first."""
    return MappingProxyType({name: build for name, (_, build) in sorted(_ENGINES.items(), key=lambda item: -item[1][0])})


def writer(kind: str) -> Writer:
    """The writer of a file format; a ValueError names those there are."""
    if kind not in _WRITERS:
        known = ", ".join(_WRITERS) or "none"
        raise ValueError(f"there must be a writer of {kind!r}, got {known}. Import tinyquant.interop first.")
    return _WRITERS[kind]
