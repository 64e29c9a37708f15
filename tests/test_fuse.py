"""Fusion and batch norm folding: the same function, fewer nodes, nothing merged that somebody else reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyquant import autograd as F
from tinyquant import nn
from tinyquant.autograd import Tensor
from tinyquant.quantization.batch_norm import fold_batch_norm
from tinyquant.quantization.capture import capture
from tinyquant.quantization.float_run import run_graph
from tinyquant.quantization.fuse import fuse
from tinyquant.quantization.groups import form_groups

X = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype(np.float32)


class Forward(nn.Module):
    def __init__(self, function, **children):
        self.function = function
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, x):
        return self.function(self, x)


def fused(model, example=X):
    return fuse(capture(model, example))


def summary(graph):
    return [(n.name, n.op, n.attrs.get("activation", "none"), n.absorbed) for n in graph]


def test_convolution_batch_norm_and_relu_become_one_node_under_the_convolutions_name():
    graph = fused(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.ReLU6()))
    assert summary(graph) == [("0", "CONV_2D", "relu", ("1", "2")), ("3", "RELU6", "none", ())]
    assert "gamma" in graph.nodes[0].params


def test_an_addition_takes_its_activation_in():
    assert summary(fused(Forward(lambda m, x: F.relu6(x + x)))) == [("add", "ADD", "relu6", ("relu6",))]


def test_a_value_that_somebody_else_reads_is_not_merged_away():
    def forward(m, x):
        y = m.conv(x)
        return F.relu(y) + y

    graph = fused(Forward(forward, conv=nn.Conv2d(2, 3, 3)))
    assert summary(graph) == [("conv", "CONV_2D", "none", ()), ("relu", "RELU", "none", ()), ("add", "ADD", "none", ())]


def test_an_output_is_not_merged_away():
    def forward(m, x):
        y = m.conv(x)
        return y, F.relu(y)

    graph = fused(Forward(forward, conv=nn.Conv2d(2, 3, 3)))
    assert graph.outputs == ("conv", "relu") and len(graph) == 2


def test_a_batch_norm_after_an_activation_is_a_depthwise_convolution():
    """conv -> relu -> bn: the clamp lies between, so the batch norm cannot go into the convolution."""
    graph = fused(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.BatchNorm2d(3)))
    assert summary(graph) == [("0", "CONV_2D", "relu", ("1",)), ("2", "DEPTHWISE_CONV_2D", "none", ())]


def test_two_batch_norms_in_a_row_take_two_nodes():
    graph = fused(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)))
    assert [n.op for n in graph] == ["CONV_2D", "DEPTHWISE_CONV_2D"]


def test_a_batch_norm_that_nothing_can_do_the_work_of_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm2d(72))
    with pytest.raises(ValueError, match="must follow a convolution or linear layer"):
        fused(model)


def test_one_convolution_under_two_batch_norms_is_refused():
    model = Forward(
        lambda m, x: m.a(m.conv(x)) + m.b(m.conv(x)), conv=nn.Conv2d(2, 3, 1), a=nn.BatchNorm2d(3), b=nn.BatchNorm2d(3)
    )
    with pytest.raises(ValueError, match="must go with one batch norm, got different ones at 'conv' and 'conv#2'"):
        fused(model)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["conv", "depthwise", "linear"]), st.booleans())
def test_folding_leaves_the_function_as_it_was(seed, kind, bias):
    """layer'(x) = bn(layer(x)) in float64 up to rounding: each output is a sum of at most 19 products, so 64 ulp of its terms."""
    rng = np.random.default_rng(seed)
    channels, axis = (3, 0) if kind != "depthwise" else (2, 3)
    shape = {"conv": (3, 3, 3, 2), "depthwise": (1, 3, 3, 2), "linear": (3, 8)}[kind]
    weight = rng.normal(size=shape)
    offset = rng.normal(size=channels) if bias else None
    norm = {
        "gamma": rng.normal(size=channels), "beta": rng.normal(size=channels), "mean": rng.normal(size=channels),
        "variance": rng.uniform(1e-3, 4.0, size=channels), "eps": np.array(1e-5),
    }  # fmt: skip
    x = rng.normal(size=(2, 8) if kind == "linear" else (2, 5, 5, 2))
    layer = {"conv": F.conv2d, "depthwise": F.depthwise_conv2d, "linear": F.linear}[kind]

    def tensor(a):
        return None if a is None else Tensor(a)

    w, b = fold_batch_norm(Tensor(weight), tensor(offset), {k: Tensor(v) for k, v in norm.items()}, axis)
    folded = layer(Tensor(x), w, b).data
    plain = layer(Tensor(x), Tensor(weight), tensor(offset)).data
    sigma = np.sqrt(norm["variance"] + 1e-5)
    want = (plain - norm["mean"]) / sigma * norm["gamma"] + norm["beta"]
    size = np.abs(x).max() * np.abs(w.data).sum() + np.abs(b.data).max() + np.abs(norm["gamma"] / sigma).max() * 10
    assert np.abs(folded - want).max() <= 64 * np.finfo(float).eps * size


def test_gradients_flow_through_the_fold_to_gamma_and_beta():
    leaves = {k: Tensor(np.ones(1), requires_grad=True) for k in ("gamma", "beta")}
    norm = {**leaves, "mean": Tensor(np.zeros(1)), "variance": Tensor(np.full(1, 4.0)), "eps": Tensor(np.array(0.0))}
    weight = Tensor(np.full((1, 1), 6.0), requires_grad=True)
    w, b = fold_batch_norm(weight, None, norm, 0)
    (w.sum() + b.sum()).backward()
    assert (weight.grad.item(), leaves["gamma"].grad.item(), leaves["beta"].grad.item()) == (0.5, 3.0, 1.0)


def groups_of(model, example=X):
    return form_groups(fused(model, example))


def test_operators_that_only_move_codes_share_their_inputs_quantizer():
    of = groups_of(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3, 2))
    ).of
    assert of == {"input": "input", "0": "0", "1": "0", "2": "0", "3": "0", "4": "4"}


def test_all_inputs_of_a_concatenation_share_one_quantizer():
    model = Forward(lambda m, x: F.concat([m.a(x), m.b(x), x], axis=-1), a=nn.Conv2d(2, 3, 1), b=nn.Conv2d(2, 3, 1))
    of = groups_of(model).of
    assert len({of["a"], of["b"], of["input"], of["concat"]}) == 1


def test_a_fixed_quantizer_rules_what_follows_it_alone():
    groups = groups_of(nn.Sequential(nn.Sigmoid(), nn.MaxPool2d(2)))
    assert groups.of["1"] == "0" and groups.fixed == {"0": "LOGISTIC"}


def test_where_a_fixed_quantizer_meets_a_shared_one_a_requantize_node_stands():
    model = Forward(lambda m, x: F.concat([F.sigmoid(x), x], axis=-1))
    groups = groups_of(model)
    assert [(n.name, n.op) for n in groups.graph] == [
        ("sigmoid", "LOGISTIC"),
        ("sigmoid.requantize", "QUANTIZE"),
        ("concat", "CONCATENATION"),
    ]
    assert groups.graph.node("concat").inputs == ("sigmoid.requantize", "input")
    assert (
        groups.of["sigmoid"] == "sigmoid"
        and groups.of["concat"] == groups.of["input"] == groups.of["sigmoid.requantize"]
    )


def test_the_fused_graph_of_plain_layers_computes_the_same():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4), nn.ReLU6())
    a, b = capture(model, X), fused(model)
    assert np.array_equal(run_graph(a, X)[a.outputs[0]], run_graph(b, X)[b.outputs[0]])
