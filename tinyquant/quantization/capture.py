"""From a module to a graph: run it once and write down what it called.

Nothing is parsed. One forward pass runs in eval mode with a recorder switched on; every operation
that depends on the input becomes a node, named by the module that made it. What depends on
parameters alone is folded into an array. So any straight-line `forward` works, and a `forward` that
looks at its data and decides is refused, because one run shows only one of its ways.

With this module one can turn any model built of `tinyquant.nn` into a `Graph` (`capture`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinyquant.autograd import Tensor, no_grad, recording
from tinyquant.graph import Graph, Node, Value, same_padding
from tinyquant.nn import Layer, Module
from tinyquant.quantization.float_run import run_graph
from tinyquant.quantization.model import FakeQuantModel

__all__ = ["capture", "require_module"]


def capture(model: Module, example: np.ndarray) -> Graph:
    """Record one forward pass of a module as a graph of named operators.

    Parameters
    ----------
    model : Module
        Run in eval mode for the recording; its mode is put back and its weights are copied, never touched.
    example : float array, (N, ...)
        An input of the right shape; one row of it is run, so the graph declares a batch of 1. Images are NHWC.

    Returns
    -------
    Graph
        Nodes in execution order, named by module path; parameters are float32 copies; Dropout is gone.

    Raises
    ------
    TypeError
        model is not a Module, or the forward returned something that is not a Tensor.
    ValueError
        The forward used an operation that has no integer counterpart, looked at the values of its data (a branch, `.item()`),
        or does not do the same thing for another input.

    Notes
    -----
    In PyTorch this is `torch.export`; in TFLite the graph that the converter sees.

    Examples
    --------
    >>> from tinyquant import nn
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU())
    >>> [(node.name, node.op) for node in capture(model, np.zeros((1, 2, 2, 1), np.float32))]
    [('0', 'RESHAPE'), ('1', 'FULLY_CONNECTED'), ('2', 'RELU')]
    """
    require_module(model)
    row = _one_row(example)
    training = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        recorder = _Recorder(model)
        source = Tensor(row)
        recorder.know(source, recorder.take_name("input"))
        with no_grad(), recording(recorder):
            returned = model(source)
        graph = recorder.finish(row, returned)
        _check_on_another_input(model, graph, row)
    finally:
        for module, mode in training:
            module.training = mode
    return graph


def require_module(model: object) -> None:
    """Refuse what is not a float Module, saying which call comes first."""
    if not isinstance(model, Module):
        raise TypeError(
            f"model must be a tinyquant.nn.Module, got {type(model).__name__}. Pass the float model, before quantize_model."
        )
    if isinstance(model, FakeQuantModel):
        raise TypeError(
            "model must be the float model, got a FakeQuantModel. It is quantized already: train it, or convert it."
        )


def _one_row(example: np.ndarray) -> np.ndarray:
    """The first row of an example, as float32, refused unless it is a batch of finite reals."""
    array = np.asarray(example)
    if array.dtype.kind != "f":
        raise TypeError(
            f"example must be a float array, got dtype {array.dtype}. Scale the data to floats first (x / 255)."
        )
    if array.ndim < 2 or array.shape[0] < 1:
        raise ValueError(f"example must have a batch axis and at least one row, got shape {array.shape}. Pass x[:1].")
    if not np.isfinite(array[:1]).all():
        raise ValueError("example must be finite, got NaN or infinity in its first row. Pass another row.")
    return array[:1].astype(np.float32)


def _check_on_another_input(model: Module, graph: Graph, row: np.ndarray) -> None:
    """The graph must agree with the module on an input it was not recorded from."""
    rng = np.random.default_rng(0)
    spread = float(np.abs(row).max()) or 1.0
    for other in (row, rng.uniform(-spread, spread, row.shape).astype(np.float32)):
        with no_grad():
            returned = model(Tensor(other))
        expected = [t.data for t in (returned if isinstance(returned, (tuple, list)) else (returned,))]
        values = run_graph(graph, other)
        for name, want in zip(graph.outputs, expected, strict=True):
            # The same float operations in the same order: only a different path through `forward` can part them.
            largest = np.abs(want[np.isfinite(want)]).max(initial=0)
            if not np.allclose(values[name], want, rtol=1e-4, atol=1e-5 * (1 + largest), equal_nan=True):
                raise ValueError(
                    "forward must do the same operations for every input, got another result for another input. "
                    "Remove branches on data and uses of .data or .numpy() inside forward."
                )


class _Recorder:
    """Collects nodes while a forward runs; `autograd.recording` calls op, enter, leave and read."""

    def __init__(self, model: Module) -> None:
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.scopes: list[Module] = []
        self.nodes: list[Node] = []
        self.names: dict[int, str] = {}
        self.used: dict[str, int] = {}
        self.arrays: dict[int, np.ndarray] = {}
        # Tensors are told apart by id, so each must stay alive until the recording ends.
        self.alive: list[Tensor] = []

    # -- what the recording calls

    def enter(self, module: Module) -> None:
        self.scopes.append(module)

    def leave(self, module: Module) -> None:
        self.scopes.pop()

    def read(self, tensor: Tensor) -> None:
        """A value was looked at (bool, item, float): fine for parameters, a branch on data otherwise."""
        if id(tensor) in self.names:
            raise ValueError(
                f"forward must not look at the values of its data, got a look at {self.names[id(tensor)]!r}. "
                "One recorded run would hide the other branch; write it without `if` on data."
            )

    def op(self, name: str, inputs: tuple[Tensor, ...], settings: Mapping[str, Any], output: Tensor) -> None:
        if not any(id(tensor) in self.names for tensor in inputs):
            return
        if name == "dropout":
            self.know(output, self.names[id(inputs[0])])
            return
        if name not in _TRANSLATORS:
            raise ValueError(
                f"every operation on data must have an integer counterpart, got {name!r} at {self.where() or 'the top level'}. "
                "Use the layers of tinyquant.nn, or do this step outside the model."
            )
        self.know(output, _TRANSLATORS[name](self, name, inputs, dict(settings), output))

    # -- what the translators use

    def where(self) -> str:
        """The path of the innermost module that is running."""
        return self.paths.get(id(self.scopes[-1]), "") if self.scopes else ""

    def name_of_call(self, op: str) -> str:
        """A layer's node has the layer's path; anything else is the enclosing path and the operation."""
        path = self.where()
        if self.scopes and isinstance(self.scopes[-1], Layer) and path:
            return self.take_name(path)
        return self.take_name(f"{path}.{op}" if path else op)

    def take_name(self, name: str) -> str:
        """name, or name#2, name#3 for later calls."""
        self.used[name] = self.used.get(name, 0) + 1
        return name if self.used[name] == 1 else f"{name}#{self.used[name]}"

    def know(self, tensor: Tensor, name: str) -> None:
        self.names[id(tensor)] = name
        self.alive.append(tensor)

    def add(self, name: str, op: str, inputs: tuple[str, ...], shape: tuple[int, ...], **more: Any) -> str:
        self.nodes.append(Node(name, op, inputs, shape, **more))
        return name

    def source(self, tensor: Tensor, role: str) -> str:
        """The name of a value; an array that does not depend on the input becomes a CONSTANT node."""
        if id(tensor) not in self.names:
            array = np.asarray(tensor.data, dtype=np.float32)
            self.know(
                tensor,
                self.add(
                    self.take_name(f"{role}.constant"), "CONSTANT", (), array.shape, params={"value": array.copy()}
                ),
            )
        return self.names[id(tensor)]

    def parameter(self, tensor: Tensor, what: str) -> np.ndarray:
        """A float32 copy of a parameter; the same tensor gives the same array, which is how sharing is seen later."""
        if id(tensor) in self.names:
            raise ValueError(
                f"{what} must not depend on the input, got one that does at {self.where() or 'the top level'}."
            )
        if id(tensor) not in self.arrays:
            self.arrays[id(tensor)] = np.array(tensor.data, dtype=np.float32)
            self.alive.append(tensor)
        return self.arrays[id(tensor)]

    def finish(self, row: np.ndarray, returned: object) -> Graph:
        outputs = returned if isinstance(returned, (tuple, list)) else (returned,)
        for tensor in outputs:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"forward must return a Tensor or several, got {type(tensor).__name__}.")
            if id(tensor) not in self.names:
                raise ValueError(
                    "forward must return something computed from its input by recorded operations, got a result that is not."
                )
        graph_input = Value("input", row.shape, np.dtype(np.float32))
        return Graph((graph_input,), tuple(self.nodes), tuple(self.names[id(t)] for t in outputs))


# ---------------------------------------------------------------------------------------------------------------
# One translator an operation: what was called in float -> the node(s) of the table

_Translator = Callable[[_Recorder, str, tuple[Tensor, ...], dict[str, Any], Tensor], str]


def _convolution(rec: _Recorder, op: str, inputs: tuple[Tensor, ...], settings: dict[str, Any], out: Tensor) -> str:
    x, weight = inputs[0], rec.parameter(inputs[1], "a convolution's weight")
    groups = x.shape[-1] if op == "depthwise_conv2d" else int(settings["groups"])
    params = {"weight": weight}
    if len(inputs) > 2:
        params["bias"] = rec.parameter(inputs[2], "a convolution's bias")
    attrs = {"stride": settings["stride"], "dilation": settings["dilation"]}
    kind = "CONV_2D"
    kernel = (weight.shape[1], weight.shape[2])
    if op == "depthwise_conv2d" or (groups > 1 and groups == x.shape[-1]):
        kind = "DEPTHWISE_CONV_2D"
        if op == "conv2d":
            params["weight"] = np.ascontiguousarray(weight.transpose(3, 1, 2, 0))
        attrs["depth_multiplier"] = params["weight"].shape[3] // groups
    name = rec.name_of_call(op)
    source = rec.source(x, name)
    padding = _named_padding(_height_width(x), kernel, attrs["stride"], attrs["dilation"], settings["padding"])
    if not isinstance(padding, str):
        rows, columns = padding
        shape = (1, x.shape[1] + sum(rows), x.shape[2] + sum(columns), x.shape[3])
        source = rec.add(
            rec.take_name(f"{name}.pad"), "PAD", (source,), shape, attrs={"paddings": ((0, 0), rows, columns, (0, 0))}
        )
        padding = "valid"
    return rec.add(name, kind, (source,), out.shape, attrs={**attrs, "padding": padding}, params=params)


def _height_width(x: Tensor) -> tuple[int, int]:
    """The image size of an NHWC tensor."""
    return x.shape[1], x.shape[2]


def _named_padding(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], padding: Any
) -> str | tuple[tuple[int, int], tuple[int, int]]:
    """ "same" or "valid" where the padding is one of them, else the cells ((top, bottom), (left, right))."""
    if isinstance(padding, str):
        return padding
    if isinstance(padding, (int, np.integer)):
        padding = (padding, padding)
    explicit = tuple((int(p), int(p)) if isinstance(p, (int, np.integer)) else (int(p[0]), int(p[1])) for p in padding)
    if explicit == ((0, 0), (0, 0)):
        return "valid"
    if explicit == tuple(same_padding(size[i], kernel[i], stride[i], dilation[i]) for i in (0, 1)):
        return "same"
    return explicit[0], explicit[1]


def _linear(rec: _Recorder, op: str, inputs: tuple[Tensor, ...], settings: dict[str, Any], out: Tensor) -> str:
    weight = rec.parameter(inputs[1], f"the second operand of {op}")
    params = {"weight": weight if op == "linear" else np.ascontiguousarray(weight.T)}
    if len(inputs) > 2:
        params["bias"] = rec.parameter(inputs[2], "a linear layer's bias")
    if params["weight"].ndim != 2:
        raise ValueError(f"matmul must have a 2-D array of parameters on its right, got shape {weight.shape}.")
    name = rec.name_of_call(op)
    attrs = {"keep_num_dims": inputs[0].ndim > 2}
    return rec.add(name, "FULLY_CONNECTED", (rec.source(inputs[0], name),), out.shape, attrs=attrs, params=params)


def _batch_norm(rec: _Recorder, op: str, inputs: tuple[Tensor, ...], settings: dict[str, Any], out: Tensor) -> str:
    names = ("gamma", "beta")
    params = {
        key: rec.parameter(tensor, f"a batch norm's {key}") for key, tensor in zip(names, inputs[1:], strict=True)
    }
    params["mean"] = np.array(settings["running_mean"], dtype=np.float32)
    params["variance"] = np.array(settings["running_var"], dtype=np.float32)
    name = rec.name_of_call(op)
    return rec.add(
        name, "BATCH_NORM", (rec.source(inputs[0], name),), out.shape, attrs={"eps": settings["eps"]}, params=params
    )


def _two_operands(kind: str) -> _Translator:
    def translate(rec: _Recorder, op: str, inputs: tuple[Tensor, ...], settings: dict[str, Any], out: Tensor) -> str:
        name = rec.name_of_call(op)
        return rec.add(name, kind, tuple(rec.source(tensor, name) for tensor in inputs), out.shape)

    return translate


def _times_constant(factor: Callable[[tuple[Tensor, ...]], Tensor]) -> _Translator:
    """Negation and division by a parameter: a product with a constant."""

    def translate(rec: _Recorder, op: str, inputs: tuple[Tensor, ...], settings: dict[str, Any], out: Tensor) -> str:
        if len(inputs) > 1:
            rec.parameter(inputs[1], "a divisor")
        name = rec.name_of_call(op)
        return rec.add(name, "MUL", (rec.source(inputs[0], name), rec.source(factor(inputs), name)), out.shape)

    return translate


def _pool(kind: str) -> _Translator:
    def translate(rec: _Recorder, op: str, inputs: tuple[Tensor, ...], settings: dict[str, Any], out: Tensor) -> str:
        x, kernel = inputs[0], settings["kernel_size"]
        padding = _named_padding(_height_width(x), kernel, settings["stride"], (1, 1), settings["padding"])
        name = rec.name_of_call(op)
        if not isinstance(padding, str):
            raise ValueError(
                f'a pool\'s padding must be "same" or "valid" here, got {settings["padding"]} at {name!r}. TFLite has no other.'
            )
        attrs = {"filter": kernel, "stride": settings["stride"], "padding": padding}
        return rec.add(name, kind, (rec.source(x, name),), out.shape, attrs=attrs)

    return translate


def _global_average(rec: _Recorder, op: str, inputs: tuple[Tensor, ...], settings: dict[str, Any], out: Tensor) -> str:
    x = inputs[0]
    name = rec.name_of_call(op)
    pool = rec.take_name(f"{name}.pool")
    rec.add(pool, "AVERAGE_POOL_2D", (rec.source(x, name),), (1, 1, 1, x.shape[3]), attrs={"filter": x.shape[1:3]})
    return rec.add(name, "RESHAPE", (pool,), out.shape, attrs={"new_shape": out.shape})


def _simple(
    kind: str, attrs: Callable[[dict[str, Any], tuple[Tensor, ...], Tensor], dict[str, Any]] | None = None
) -> _Translator:
    def translate(rec: _Recorder, op: str, inputs: tuple[Tensor, ...], settings: dict[str, Any], out: Tensor) -> str:
        name = rec.name_of_call(op)
        values = {} if attrs is None else attrs(settings, inputs, out)
        return rec.add(name, kind, tuple(rec.source(tensor, name) for tensor in inputs), out.shape, attrs=values)

    return translate


def _reduced_axes(settings: dict[str, Any], inputs: tuple[Tensor, ...], out: Tensor) -> dict[str, Any]:
    axis = settings["axis"]
    axes = tuple(range(inputs[0].ndim)) if axis is None else axis
    return {"axis": axes, "keep_dims": settings["keepdims"]}


def _permutation(settings: dict[str, Any], inputs: tuple[Tensor, ...], out: Tensor) -> dict[str, Any]:
    return {"perm": settings["axes"] or tuple(range(inputs[0].ndim))[::-1]}


_TRANSLATORS: dict[str, _Translator] = {
    "conv2d": _convolution,
    "depthwise_conv2d": _convolution,
    "linear": _linear,
    "matmul": _linear,
    "batch_norm": _batch_norm,
    "add": _two_operands("ADD"),
    "sub": _two_operands("SUB"),
    "mul": _two_operands("MUL"),
    "neg": _times_constant(lambda inputs: Tensor(np.full(1, -1.0, np.float32))),
    "div": _times_constant(lambda inputs: Tensor(np.asarray(1.0 / inputs[1].data, np.float32))),
    "concat": _simple("CONCATENATION", lambda s, x, out: {"axis": s["axis"]}),
    "max_pool2d": _pool("MAX_POOL_2D"),
    "avg_pool2d": _pool("AVERAGE_POOL_2D"),
    "global_avg_pool2d": _global_average,
    "mean": _simple("MEAN", _reduced_axes),
    "sum": _simple("SUM", _reduced_axes),
    "reshape": _simple("RESHAPE", lambda s, x, out: {"new_shape": out.shape}),
    "transpose": _simple("TRANSPOSE", _permutation),
    "pad": _simple("PAD", lambda s, x, out: {"paddings": s["widths"]}),
    "relu": _simple("RELU"),
    "relu6": _simple("RELU6"),
    "leaky_relu": _simple("LEAKY_RELU", lambda s, x, out: {"alpha": s["negative_slope"]}),
    "sigmoid": _simple("LOGISTIC"),
    "tanh": _simple("TANH"),
    "softmax": _simple("SOFTMAX"),
}
