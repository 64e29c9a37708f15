"""A network of integers that runs: codes in, codes out, the bytes a microcontroller computes.

With this module one can run an integer graph (`IntegerModel.run`), look at every intermediate (`trace`), feed one node alone
(`run_node`), and call it with real numbers (`model(x)`), which are quantized at the door and dequantized on the way out.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

import numpy as np

from tinyquant.graph import Graph, Node, Value
from tinyquant.integer.model_inputs import Arrays, by_name, checked
from tinyquant.integer.reference import Schedule, growing_values
from tinyquant.integer.registry import (
    InexactDialectWarning,
    RunGraph,
    build_step,
    inexact_operators,
    known_dialects,
    known_engines,
    writer,
)
from tinyquant.numerics.affine import dequantize, quantize

__all__ = ["IntegerModel"]


class IntegerModel:
    """A graph of integer operators, ready to run.

    Parameters
    ----------
    graph : Graph
        Nodes hold codes: "weight" int8, "bias" int32, with their QParams; every activation is int8 with QParams, except reals
        before a QUANTIZE and after a DEQUANTIZE node. `convert` and `load_tflite` make such graphs.

    Attributes
    ----------
    graph : Graph
    inputs, outputs : tuple of Value
        Name, declared shape, dtype and QParams.

    Raises
    ------
    TypeError
        graph is not a Graph.
    ValueError
        A node has no integer form: a float operator, activations wider than 8 bits, shapes or scales that do not fit. The
        message names the node.

    Notes
    -----
    *Batch.* The first axis of the graph's shapes is the declared batch B. `run` takes k*B rows and means k runs, joined; k
    may be 0. Where an operator mixes rows (a mean over axis 0, say), only the declared shape is taken.
    The arrays returned belong to the caller: nothing else refers to them.

    In TFLite this is an Interpreter with its model; there the batch is changed by `resize_tensor_input`.

    Examples
    --------
    >>> from tinyquant.graph import Node
    >>> from tinyquant.numerics.qparams import QParams
    >>> int8 = np.dtype(np.int8)
    >>> node = Node("fc", "FULLY_CONNECTED", ("x",), (1, 1), params={"weight": np.int8([[2, -1]])}, qparams=QParams(0.5, 0),
    ...             param_qparams={"weight": QParams(1.0, 0)}, dtype=int8)
    >>> m = IntegerModel(Graph((Value("x", (1, 2), int8, QParams(0.5, 0)),), (node,), ("fc",)))
    >>> m.run(np.int8([[3, 4], [5, 5]])).tolist(), m(np.float32([[1.5, 2.0]])).tolist()
    ([[2], [5]], [[1.0]])
    """

    def __init__(self, graph: Graph) -> None:
        if not isinstance(graph, Graph):
            raise TypeError(f"graph must be a Graph, got {type(graph).__name__}. Make one with convert or load_tflite.")
        self.graph = graph
        self.inputs: tuple[Value, ...] = graph.inputs
        self.outputs: tuple[Value, ...] = tuple(graph.value(name) for name in graph.outputs)
        self._batched = growing_values(graph)
        # Building the steps is what finds a node that cannot run: at once, not at the first call.
        self._schedules = {"tflm": Schedule(graph)}
        self._engines: dict[tuple[str, str], RunGraph | None] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters as stored: int8 weights and constants, int32 biases."""
        return sum(array.nbytes for node in self.graph for array in node.params.values())

    def __repr__(self) -> str:
        inputs = ", ".join(f"{value.name} {list(value.shape)} {value.dtype}" for value in self.inputs)
        return f"IntegerModel({len(self.graph)} nodes, {self.nbytes} bytes of parameters, inputs: {inputs})"

    def run(
        self, codes: Arrays, *, engine: str = "reference", dialect: str = "tflm", strict: bool = False
    ) -> np.ndarray | list[np.ndarray]:
        """The outputs for these inputs.

        Parameters
        ----------
        codes : array, or for several inputs a list in order or a dict by name
            Of the input's declared dtype: int8 codes, or float32 where the first node is a QUANTIZE. Shape [k*B, ...].
        engine : str
            "reference" runs the readable kernels; "auto" the fastest engine there is; all give the same bytes.
        dialect : str
            Whose arithmetic: "tflm" (TFLite Micro) or another registered one.
        strict : bool
            Refuse, instead of warning, when an operator is not exact in the dialect.

        Returns
        -------
        ndarray [k*B, ...], or a list of them where the graph has several outputs

        Raises
        ------
        TypeError, ValueError
            Wrong dtype, wrong shape, unknown names; the message says what to pass instead.

        Warns
        -----
        InexactDialectWarning
            An operator of the graph is not reproduced byte for byte in this dialect.
        """
        self._check_dialect(dialect, strict)
        arrays = checked(codes, self.inputs, self._batched, self.graph.batch)
        outputs: list[np.ndarray] = []
        for array in self._runner(engine, dialect)(arrays):
            # An input handed through, or one output listed twice, must still be the caller's own.
            shared = any(np.may_share_memory(array, other) for other in arrays + outputs)
            outputs.append(array.copy() if shared else array)
        return outputs[0] if len(outputs) == 1 else outputs

    def trace(self, codes: Arrays, *, dialect: str = "tflm", strict: bool = False) -> dict[str, np.ndarray]:
        """Every input and every node's output by name, in execution order; parameters as in `run`.

        >>> from tinyquant.graph import Node
        >>> from tinyquant.numerics.qparams import QParams
        >>> relu = Node("relu", "RELU", ("x",), (1, 2), qparams=QParams(1, 0), dtype=np.int8)
        >>> m = IntegerModel(Graph((Value("x", (1, 2), np.dtype(np.int8), QParams(1, 0)),), (relu,), ("relu",)))
        >>> {name: value.tolist() for name, value in m.trace(np.int8([[-3, 3]])).items()}
        {'x': [[-3, 3]], 'relu': [[0, 3]]}
        """
        self._check_dialect(dialect, strict)
        arrays = checked(codes, self.inputs, self._batched, self.graph.batch)
        found = {value.name: array.copy() for value, array in zip(self.inputs, arrays)}
        found.update(self._schedule(dialect).values(arrays))
        return found

    def run_node(self, name: str, codes: Arrays, *, dialect: str = "tflm", strict: bool = False) -> np.ndarray:
        """One node alone, on inputs of one's own: what `name` makes of `codes`.

        Parameters
        ----------
        name : str
            A node's name.
        codes : array, list in the order of the node's inputs, or dict by their names
            Shapes as in the graph, with k*B rows where rows are independent; nothing for a CONSTANT (an empty list).
        dialect, strict
            As in `run`.

        Returns
        -------
        ndarray
        """
        try:
            node = self.graph.node(name)
        except KeyError as error:
            raise ValueError(f"name must be a node of the graph, got {name!r}: {error.args[0]}") from error
        self._check_dialect(dialect, strict, [node])
        values = [self.graph.value(source) for source in node.inputs]
        return build_step(node, values, dialect)(checked(codes, values, self._batched, self.graph.batch))

    def __call__(self, x: Arrays) -> np.ndarray | list[np.ndarray]:
        """Real numbers in, real numbers out: quantize, `run` with the fastest engine, dequantize.

        Parameters
        ----------
        x : array of real numbers, or for several inputs a list or a dict by name
            float32, in the units of the signal, shape [k*B, ...].

        Returns
        -------
        float32 ndarray, or a list of them
        """
        given = by_name(x, self.inputs)
        codes = []
        for value, real in zip(self.inputs, given):
            array = np.asarray(real)
            if array.dtype == np.int8:
                raise TypeError(f"input {value.name!r} must be real numbers, got int8. Codes go to run(codes).")
            codes.append(array.astype(np.float32) if value.qparams is None else quantize(array, value.qparams))
        result = self.run(codes, engine="auto")
        arrays = result if isinstance(result, list) else [result]
        reals = [
            array if value.qparams is None else dequantize(array, value.qparams) for value, array in zip(self.outputs, arrays)
        ]
        return reals[0] if len(reals) == 1 else reals

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as an .npz archive that `tinyquant.load` reads."""
        writer("npz")(self, path)

    def save_tflite(self, path: str | os.PathLike[str]) -> None:
        """Write the model as a .tflite file that TFLite Micro and LiteRT run."""
        writer("tflite")(self, path)

    def save_c(self, directory: str | os.PathLike[str]) -> None:
        """Write the model as C sources into a directory."""
        writer("c")(self, directory)

    # -----------------------------------------------------------------------------------------------------------
    # Inside

    def _schedule(self, dialect: str) -> Schedule:
        """The steps of a dialect, built at the first use."""
        if dialect not in self._schedules:
            self._schedules[dialect] = Schedule(self.graph, dialect)
        return self._schedules[dialect]

    def _runner(self, engine: str, dialect: str) -> RunGraph:
        """The engine's function for this graph, built at the first use."""
        known = known_engines()
        if engine != "auto" and engine not in known:
            raise ValueError(f"engine must be one of auto, {', '.join(known)}, got {engine!r}.")
        for name in known if engine == "auto" else (engine,):
            if (name, dialect) not in self._engines:
                self._engines[name, dialect] = known[name](self.graph, dialect)
            runner = self._engines[name, dialect]
            if runner is not None:
                return runner
        raise ValueError(f"engine {engine!r} must be able to run dialect {dialect!r}, got a refusal. Use engine=\"auto\".")

    def _check_dialect(self, dialect: str, strict: bool, nodes: Sequence[Node] | None = None) -> None:
        """Known, and exact here or said so."""
        if dialect not in known_dialects():
            raise ValueError(f"dialect must be one of {', '.join(known_dialects())}, got {dialect!r}.")
        inexact = inexact_operators(self.graph, dialect, nodes)
        if inexact:
            message = f"dialect {dialect!r} is not reproduced byte for byte in {', '.join(inexact)}"
            if strict:
                raise ValueError(f"{message}, and strict=True wants it to be. Use dialect=\"tflm\", or strict=False.")
            warnings.warn(f"{message}: expect differences, mostly of one code.", InexactDialectWarning, stacklevel=3)
