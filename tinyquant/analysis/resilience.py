"""How much noise do the weights bear? Every weight moved by up to n steps, and the accuracy that is left.

Rounding moves a weight by up to half a step. A network that was trained with the rounding in its graph has learned to live
with half a step; the question is whether it bears more. The noise is uniform in +- n steps of the weight's own quantizer,
the same draw for every network and, but for its size, for every n; nothing else is quantized.

With this module one can measure that for networks of one structure (`resilience`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyquant.analysis.comparison_table import aligned
from tinyquant.autograd import no_grad
from tinyquant.graph import OPS, Graph
from tinyquant.quantization.float_run import run_graph
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.weights import has_groups

__all__ = ["Resilience", "folded_graph", "resilience"]


@dataclass(frozen=True)
class Resilience:
    """The report of `resilience`. `str()` of it is a table.

    Attributes
    ----------
    steps : tuple of float
        Largest shift of a weight, in steps.
    accuracies : mapping of name to array (draws, steps) of float in [0, 1]
    rows : int
        Of x.
    """

    steps: tuple[float, ...]
    accuracies: Mapping[str, np.ndarray]
    rows: int

    def means(self) -> dict[str, list[float]]:
        """Mean accuracy over the draws, by name."""
        return {name: values.mean(axis=0).tolist() for name, values in self.accuracies.items()}

    def __str__(self) -> str:
        head = ["noise in steps, up to +-", *(f"{n:g}" for n in self.steps)]
        body = []
        for name, values in self.accuracies.items():
            for what, numbers in (("mean", values.mean(axis=0)), ("least", values.min(axis=0))):
                body.append([f"{name}, {what}", *(f"{100 * v:.1f}" for v in numbers)])
        draws = len(next(iter(self.accuracies.values())))
        title = f"Accuracy in % against noise on the weights, {self.rows} rows, {draws} draws"
        lines = aligned([head, *body])
        return "\n".join([title, "", lines[0], "-" * max(map(len, lines)), *lines[1:]]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """All of it as what `json.dumps` takes."""
        return {
            "steps": list(self.steps),
            "rows": self.rows,
            "accuracies": {name: values.tolist() for name, values in self.accuracies.items()},
        }


def resilience(
    models: Mapping[str, FakeQuantModel],
    x: np.ndarray,
    y: np.ndarray,
    *,
    steps: Sequence[float] = (0, 0.5, 1, 2, 4, 8, 16),
    draws: int = 5,
    seed: int = 0,
) -> Resilience:
    """Add uniform noise to the float weights, in steps of their quantizers, and measure accuracy.

    Parameters
    ----------
    models : mapping of name to FakeQuantModel
        {"float-trained": quantize_model(model, ...), "QAT-trained": the same after fit}; in eval mode, left as they are. Their
        float weights are run, batch norms folded; their quantizers only say what a step is.
    x, y : arrays
        Test data.
    steps : sequence of float, at least 0
    draws : int, at least 1
    seed : int

    Returns
    -------
    Resilience

    Raises
    ------
    TypeError
        A model is no FakeQuantModel.
    ValueError
        No models, steps below 0, no draws, labels that do not fit, or weights with a scale a group.

    References
    ----------
    The claim that training with noise makes a network bear noise: Murray and Edwards 1994; for quantization, Jacob et al. 2018,
    section 3.

    Examples
    --------
    >>> from tinyquant import nn
    >>> from tinyquant.quantization.calibrate import calibrate
    >>> from tinyquant.quantization.prepare import quantize_model
    >>> model = nn.Sequential(nn.Linear(1, 2, bias=False)).eval()
    >>> model[0].weight.data[...] = [[-1.0], [1.0]]
    >>> x = np.array([[-1.0], [1.0]], np.float32)
    >>> fq = quantize_model(model, calibrate(model, x))
    >>> resilience({"fixed": fq}, x, np.array([0, 1]), steps=(0, 1), draws=1).accuracies["fixed"].tolist()
    [[1.0, 1.0]]
    """
    if not models:
        raise ValueError("there must be at least one model, got none.")
    sizes = tuple(float(n) for n in steps)
    if not sizes or min(sizes) < 0:
        raise ValueError(f"steps must be at least one number of at least 0, got {list(steps)}.")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}.")
    if np.shape(y) != (len(x),):
        raise ValueError(f"y must have one label a row, shape ({len(x)},), got {np.shape(y)}.")
    accuracies = {}
    for name, model in models.items():
        if not isinstance(model, FakeQuantModel):
            raise TypeError(f"model {name!r} must be a FakeQuantModel, got {type(model).__name__}. Call quantize_model first.")
        graph, units = folded_graph(model), _steps_of(model)
        table = np.empty((draws, len(sizes)))
        for draw in range(draws):
            # Every model starts from the same seed, so that the same weights get the same shift in steps.
            shifts = _shifts(units, np.random.default_rng([seed, draw]))
            for column, size in enumerate(sizes):
                table[draw, column] = _accuracy(_moved(graph, shifts, size), x, y)
        accuracies[name] = table
    return Resilience(sizes, accuracies, len(x))


def folded_graph(model: FakeQuantModel) -> Graph:
    """The float network of a fake-quantized model: its nodes with their float parameters, batch norms folded."""
    nodes = []
    for made in model.nodes.values():
        with no_grad():
            arrays = {key: tensor.data for key, tensor in made.params().items()}
        nodes.append(made.node.replace(params=arrays))
    return Graph(model.structure.inputs, tuple(nodes), model.structure.outputs)


def _steps_of(model: FakeQuantModel) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    """{first node: (one step for every weight, the nodes that read it)}, one entry a quantized weight."""
    units: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {}
    seen: set[str] = set()
    for name, made in model.nodes.items():
        qp = made.weight_qparams
        if qp is None or made.settings.exclude or name in seen:
            continue
        with no_grad():
            shape = made.params()["weight"].shape
        if has_groups(made.settings.group_size, OPS[made.node.op].weight_axis or 0):
            raise ValueError(f"a step must be one a channel or one a tensor, got groups at {name!r}. Use group_size=0.")
        units[name] = np.broadcast_to(qp.along(len(shape))[0], shape), tuple(made.peers)
        seen.update(made.peers)
    return units


def _shifts(units: dict[str, tuple[np.ndarray, tuple[str, ...]]], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """{node: uniform in +- 1 step}; nodes that share a weight share its shift."""
    shifts = {}
    for step, readers in units.values():
        drawn = rng.uniform(-1, 1, step.shape) * step
        shifts.update(dict.fromkeys(readers, drawn))
    return shifts


def _moved(graph: Graph, shifts: dict[str, np.ndarray], size: float) -> Graph:
    """The graph with every weight moved."""
    nodes = []
    for node in graph:
        if node.name in shifts:
            weight = (node.params["weight"] + size * shifts[node.name]).astype(np.float32)
            node = node.replace(params={**node.params, "weight": weight})
        nodes.append(node)
    return Graph(graph.inputs, tuple(nodes), graph.outputs)


def _accuracy(graph: Graph, x: np.ndarray, y: np.ndarray) -> float:
    """The share of rows whose largest output is at the label's place."""
    output = run_graph(graph, x)[graph.outputs[0]]
    return float(np.mean(output.reshape(len(output), -1).argmax(axis=1) == y))
