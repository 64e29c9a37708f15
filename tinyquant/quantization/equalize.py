"""Cross-layer equalization: hand scale from one layer to the next until every channel uses the codes alike.

A ReLU lets a positive factor pass: relu(x * s) = relu(x) * s. So a channel of one layer may be divided by s if
the next layer's weights for that channel are multiplied by s, and the network computes the same. Where one scale
serves a whole tensor, one wide channel leaves the others only a few codes; with the factors chosen so that both
layers need the same range in each channel, none is left out.

With this module one can equalize a float model (`equalize`), and injure one in the same way (`spread_channels`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from tinyquant.graph import OPS, Graph, Node
from tinyquant.nn import Module
from tinyquant.numerics.rounding import round_to_int
from tinyquant.numerics.seeds import Seed, generator
from tinyquant.quantization.capture import capture
from tinyquant.quantization.counts import MANY, checked_count
from tinyquant.quantization.folding import fold, own_layers
from tinyquant.quantization.fuse import fuse

__all__ = ["equalize", "spread_channels"]

_PASS_FACTORS = ("MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "RELU", "LEAKY_RELU", "RESHAPE", "MEAN")
_PASS_CONSTANTS = ("MAX_POOL_2D", "AVERAGE_POOL_2D", "RELU", "RESHAPE", "MEAN")


def equalize(
    model: Module, example: np.ndarray, *, iterations: int = 40, power_of_two: bool = False, absorb_high_bias: bool = False
) -> Module:
    """A copy of a float model, batch norms folded, in which neighbouring layers share their channels' ranges.

    For each channel i between two layers, with r1 and r2 the largest magnitudes of the weights that make and read it::

        s = sqrt(r1 / r2)        w1 /= s        b1 /= s        w2 *= s

    pair after pair, again and again. All factors are gathered in float64 and each weight is rounded to float32 once.

    Parameters
    ----------
    model : Module
        Left as it is. A pair is two layers with nothing between them but ReLU, leaky ReLU, pools, padding and
        flattening, no second reader, and weights of their own. Residual sums and ReLU6 end a chain.
    example : float array, (N, ...)
        As for `capture`.
    iterations : int, 1 or more
        Rounds over all pairs, at most; it stops early when no factor is off 1 by more than 1e-6.
    power_of_two : bool
        Factors rounded to powers of two: the network then computes the very same bytes (short of underflow), and
        ranges agree to within a factor of 2.
    absorb_high_bias : bool
        Then move what a channel never falls below, c = max(0, beta - 3 |gamma|) of its batch norm, out of the first
        bias and into the second: b1 -= c, b2 += w2 c. The activation's range shrinks. Unchanged wherever the channel
        is at least c, which fails for about 1 in 700 values of a Gaussian. Pairs whose second layer reads padding are
        left out, since padding holds 0 and not c.

    Returns
    -------
    Module
        In eval mode, names as before. Calibrate it anew: its activations are others.

    Raises
    ------
    TypeError, ValueError
        A wrong model or example (as for `capture`), or iterations that are no whole number of 1 or more.

    References
    ----------
    Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", sections 4.1 and 4.1.3.

    Examples
    --------
    >>> from tinyquant import nn
    >>> model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    >>> model[0].weight.data[...], model[2].weight.data[...] = [[16.0], [1.0]], [[1.0, 1.0]]
    >>> even = equalize(model, np.zeros((1, 1), np.float32))
    >>> even[0].weight.data.tolist(), even[2].weight.data.tolist()
    ([[4.0], [1.0]], [[4.0, 1.0]])
    """
    iterations = checked_count("iterations", iterations, MANY[1:], "a whole number of 1 or more")
    folded = fold(model, example)
    network = _Rescaler(folded, fuse(capture(folded, example)))
    total = {pair: np.ones(pair.channels) for pair in network.pairs}
    for _ in range(iterations):
        largest = 0.0
        for pair in network.pairs:
            made, read = network.ranges(pair)
            useful = (made > 0) & (read > 0)
            factor = np.sqrt(np.divide(made, read, out=np.ones(pair.channels), where=useful))
            network.rescale(pair, factor)
            total[pair] *= factor
            largest = max(largest, float(np.abs(factor - 1).max(initial=0.0)))
        if largest < 1e-6:
            break
    if power_of_two:
        for pair, factor in total.items():
            rounded = np.exp2(round_to_int(np.log2(factor)))
            network.rescale(pair, rounded / factor)
            total[pair] = rounded
        network.restart()
        for pair, factor in total.items():
            network.rescale(pair, factor)
    if absorb_high_bias:
        norms = {node.name: node.params for node in fuse(capture(model, example)) if "gamma" in node.params}
        for pair in network.pairs:
            if pair.first.name in norms and pair.passes_constants:
                norm = norms[pair.first.name]
                floor = np.maximum(0.0, norm["beta"].astype(np.float64) - 3 * np.abs(norm["gamma"])) / total[pair]
                network.absorb(pair, floor)
    return network.finish()


def spread_channels(model: Module, example: np.ndarray, spread: float, *, seed: Seed = 0) -> Module:
    """A copy of a float model that computes the same with channels of very different size: what equalization mends.

    Parameters
    ----------
    model, example
        As for `equalize`.
    spread : float, 1 or more
        The factors of each pair's channels go from 1 to this (rounded to powers of two, so that the network computes the
        very same bytes), evenly in their logarithm, in an order drawn from the seed. At most what leaves every weight a
        number of float32.

    Returns
    -------
    Module
        In eval mode, batch norms folded.

    Raises
    ------
    TypeError, ValueError
        A wrong model or example (as for `capture`), or a spread below 1 or so large that a weight would overflow or vanish.

    References
    ----------
    Nagel et al. 2019, figure 2: trained depthwise networks are like that by themselves.

    Examples
    --------
    >>> from tinyquant import nn
    >>> model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    >>> model[0].weight.data[...] = 1.0
    >>> sorted(spread_channels(model, np.zeros((1, 1), np.float32), 1000)[0].weight.data.ravel().tolist())
    [1.0, 1024.0]
    """
    if not 1 <= spread < np.inf:
        raise ValueError(f"spread must be 1 or more and finite, got {spread}. 1000 is what it takes to ruin a network.")
    rng = generator(seed)
    folded = fold(model, example)
    network = _Rescaler(folded, fuse(capture(folded, example)))
    for pair in network.pairs:
        exponents = round_to_int(np.linspace(0, np.log2(spread), pair.channels))
        network.rescale(pair, np.exp2(-rng.permutation(exponents)))
    if not network.is_float32():
        raise ValueError(
            f"spread must leave every weight a number of float32, got {spread}. 1000 is what it takes to ruin a network."
        )
    return network.finish()


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two layers with channels of the first read by the second alone."""

    first: Node
    second: Node
    passes_constants: bool

    @property
    def channels(self) -> int:
        return int(self.first.shape[-1])


class _Rescaler:
    """The weights of a copied model in float64, the pairs among them, and the way back into the modules."""

    def __init__(self, model: Module, graph: Graph) -> None:
        self.model, self.graph = copy.deepcopy(model), graph
        self.layers = own_layers(self.model, graph)
        self.pairs = [pair for node in graph if (pair := _pair_from(node, graph, set(self.layers))) is not None]
        self.restart()

    def restart(self) -> None:
        """The weights as they were at first."""
        nodes = [node for node in self.graph if node.name in self.layers]
        self.weights = {node.name: node.params["weight"].astype(np.float64) for node in nodes}
        self.biases = {node.name: node.params["bias"].astype(np.float64) for node in nodes if "bias" in node.params}

    def ranges(self, pair: _Pair) -> tuple[np.ndarray, np.ndarray]:
        """Each channel's largest magnitude, in the weights that make it and in those that read it."""
        axis = OPS[pair.first.op].weight_axis or 0
        made = np.abs(np.moveaxis(self.weights[pair.first.name], axis, 0)).reshape(pair.channels, -1).max(axis=1)
        return made, np.abs(self._by_input(pair)).max(axis=(1, 2))

    def rescale(self, pair: _Pair, factor: np.ndarray) -> None:
        """Divide the channels by the factor on one side and multiply them on the other."""
        shape = [1] * self.weights[pair.first.name].ndim
        shape[OPS[pair.first.op].weight_axis or 0] = -1
        self.weights[pair.first.name] /= factor.reshape(shape)
        if pair.first.name in self.biases:
            self.biases[pair.first.name] /= factor
        self._by_input(pair)[...] *= factor[:, None, None]

    def absorb(self, pair: _Pair, floor: np.ndarray) -> None:
        """Take a constant from each channel and give what it did to the second layer's bias."""
        second = pair.second
        outputs = second.shape[-1]
        constant = self._spread_over_inputs(pair, floor)
        shift = (self.weights[second.name] * constant).reshape(outputs, -1).sum(axis=1)
        self.biases[pair.first.name] = self.biases.get(pair.first.name, np.zeros(pair.channels)) - floor
        self.biases[second.name] = self.biases.get(second.name, np.zeros(outputs)) + shift

    def is_float32(self) -> bool:
        """Whether float32 holds every number exactly: none overflows, none loses bits at the small end."""
        arrays = (*self.weights.values(), *self.biases.values())
        with np.errstate(over="ignore", under="ignore"):
            return all(np.array_equal(array.astype(np.float32), array) for array in arrays)

    def finish(self) -> Module:
        """The model with the weights written in."""
        for name, layer in self.layers.items():
            layer.write(self.weights[name], self.biases.get(name))
        return self.model.eval()

    def _by_input(self, pair: _Pair) -> np.ndarray:
        """A view of the second weight as (channel of the first, everything else...), three axes."""
        weight, channels = self.weights[pair.second.name], pair.channels
        if pair.second.op == "DEPTHWISE_CONV_2D":
            view = weight.reshape(-1, channels, weight.shape[3] // channels)
            return view.transpose(1, 0, 2)
        # A flattened image is its pixels one after another, each with all channels.
        return weight.reshape(weight.shape[0], -1, channels).transpose(2, 0, 1)

    def _spread_over_inputs(self, pair: _Pair, values: np.ndarray) -> np.ndarray:
        """A number a channel, repeated to lie along the second weight's last axis."""
        return np.tile(values, self.weights[pair.second.name].shape[-1] // pair.channels)


def _pair_from(first: Node, graph: Graph, owned: set[str]) -> _Pair | None:
    """The pair that begins with this node, if one does."""
    if first.name not in owned or first.attrs.get("activation", "none") not in ("none", "relu"):
        return None
    name, constants = first.name, True
    while True:
        readers = graph.consumers(name)
        if len(readers) != 1 or name in graph.outputs or list(readers[0].inputs).count(name) != 1:
            return None
        node = readers[0]
        if node.name in owned:
            break
        if node.op not in _PASS_FACTORS or node.op == "MEAN" and not _over_image(node, graph):
            return None
        if node.op == "RESHAPE" and len(node.shape) != 2:
            return None
        constants = constants and node.op in _PASS_CONSTANTS
        name = node.name
    weight, channels = node.params["weight"], first.shape[-1]
    if node.op == "CONV_2D" and weight.shape[3] != channels:
        # A grouped convolution's weight has no axis of all its input channels.
        return None
    unpadded = node.op == "FULLY_CONNECTED" or node.op == "CONV_2D" and (
        node.attrs["padding"] == "valid" or weight.shape[1:3] == (1, 1)
    )
    return _Pair(first, node, constants and unpadded)


def _over_image(node: Node, graph: Graph) -> bool:
    """A mean over height and width only."""
    return len(graph.value(node.inputs[0]).shape) == 4 and {axis % 4 for axis in node.attrs["axis"]} == {1, 2}
