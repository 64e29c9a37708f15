"""Capture: what becomes a node, what it is called, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tinyquant import autograd as F
from tinyquant import nn
from tinyquant.autograd import Tensor
from tinyquant.quantization.capture import capture
from tinyquant.quantization.float_run import run_graph

IMAGE = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)


class Forward(nn.Module):
    """A module whose forward is given as a function."""

    def __init__(self, function, **children):
        self.function = function
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, x):
        return self.function(self, x)


def kinds(model, example=IMAGE):
    return [(node.name, node.op) for node in capture(model, example)]


def test_a_node_is_named_by_the_path_of_the_module_that_was_called():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), nn.Flatten(), nn.Linear(108, 4))
    assert kinds(model) == [("0.0", "CONV_2D"), ("0.1", "RELU"), ("1", "RESHAPE"), ("2", "FULLY_CONNECTED")]


def test_the_second_call_of_a_module_is_numbered():
    shared = nn.Conv2d(2, 2, 1)
    assert kinds(Forward(lambda m, x: m.conv(m.conv(x)), conv=shared)) == [("conv", "CONV_2D"), ("conv#2", "CONV_2D")]


def test_a_functional_operation_is_its_enclosing_path_and_the_operation():
    inner = Forward(lambda m, x: F.relu(x + x))
    assert kinds(Forward(lambda m, x: m.block(x) * 2.0, block=inner)) == [
        ("block.add", "ADD"),
        ("block.relu", "RELU"),
        ("mul.constant", "CONSTANT"),
        ("mul", "MUL"),
    ]


def test_shared_weights_are_one_array():
    graph = capture(Forward(lambda m, x: m.conv(m.conv(x)), conv=nn.Conv2d(2, 2, 1)), IMAGE)
    assert np.shares_memory(graph.nodes[0].params["weight"], graph.nodes[1].params["weight"])


def test_the_captured_weights_are_copies():
    model = nn.Sequential(nn.Linear(2, 2))
    graph = capture(model, np.ones((1, 2), np.float32))
    before = graph.nodes[0].params["weight"].copy()
    model[0].weight.data += 1
    assert np.array_equal(graph.nodes[0].params["weight"], before)


def test_dropout_vanishes_and_the_mode_of_every_module_comes_back():
    model = nn.Sequential(nn.Dropout(0.5, seed=0), nn.BatchNorm2d(2), nn.ReLU())
    model.train()
    model[1].eval()
    assert kinds(model) == [("1", "BATCH_NORM"), ("2", "RELU")]
    assert [m.training for m in (model, model[0], model[1], model[2])] == [True, True, False, True]


def test_parameters_alone_are_folded_into_one_array():
    def normalised(m, x):
        return F.linear(x, m.weight / m.weight.exp().sum())

    model = Forward(normalised, weight=nn.Parameter(np.ones((3, 4), np.float32)))
    assert kinds(model, np.ones((2, 4), np.float32)) == [("linear", "FULLY_CONNECTED")]


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (0, [("conv", "CONV_2D")]),
        (1, [("conv", "CONV_2D")]),
        (2, [("conv.pad", "PAD"), ("conv", "CONV_2D")]),
        (((0, 2), (1, 1)), [("conv.pad", "PAD"), ("conv", "CONV_2D")]),
        (((0, 0), (1, 1)), [("conv.pad", "PAD"), ("conv", "CONV_2D")]),
    ],
)
def test_explicit_padding_is_valid_or_same_where_it_equals_one_and_a_pad_node_otherwise(padding, expected):
    model = Forward(lambda m, x: m.conv(x), conv=nn.Conv2d(2, 3, 3, padding=padding))
    assert kinds(model) == expected


def test_torch_padding_at_stride_two_is_not_same():
    """For 8 -> 4 cells, SAME pads (0, 1) and padding=1 pads (1, 1): another grid, so it must become PAD and VALID."""
    model = Forward(lambda m, x: m.conv(x), conv=nn.Conv2d(2, 3, 3, stride=2, padding=1))
    assert kinds(model) == [("conv.pad", "PAD"), ("conv", "CONV_2D")]


def test_a_convolution_with_a_group_a_channel_is_depthwise():
    """Output o of conv2d(groups=C) belongs to group o // m, which is TFLite's channel order c * m + j."""
    model = nn.Sequential(nn.Conv2d(2, 6, 3, groups=2))
    graph = capture(model, IMAGE)
    assert graph.nodes[0].op == "DEPTHWISE_CONV_2D"
    assert graph.nodes[0].params["weight"].shape == (1, 3, 3, 6)
    assert graph.nodes[0].attrs["depth_multiplier"] == 3
    want = model(Tensor(IMAGE)).data
    np.testing.assert_allclose(run_graph(graph, IMAGE)["0"], want, atol=1e-5)


def test_global_average_is_a_pool_and_a_reshape_and_the_last_has_the_modules_name():
    assert kinds(nn.Sequential(nn.GlobalAvgPool2d())) == [("0.pool", "AVERAGE_POOL_2D"), ("0", "RESHAPE")]


def test_the_graph_computes_what_the_module_computes():
    body = nn.Sequential(nn.DepthwiseConv2d(4, 3, padding="same"), nn.BatchNorm2d(4), nn.LeakyReLU(0.2))
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU6(), nn.Residual(body), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Tanh(), nn.Flatten(),
        nn.Linear(16, 5), nn.Sigmoid(), nn.Softmax(),
    )  # fmt: skip
    for _ in range(3):
        model.train()(Tensor(IMAGE))
    model.eval()
    graph = capture(model, IMAGE)
    np.testing.assert_allclose(
        run_graph(graph, IMAGE)[graph.outputs[0]], model(Tensor(IMAGE)).data, rtol=1e-5, atol=1e-6
    )


def test_several_outputs_are_all_named():
    graph = capture(Forward(lambda m, x: (F.relu(x), -x)), IMAGE)
    assert graph.outputs == ("relu", "neg")


def test_a_branch_on_the_data_is_refused():
    model = Forward(lambda m, x: F.relu(x) if x.sum().item() > 0 else x + 1.0)
    with pytest.raises(ValueError, match="must not look at the values of its data"):
        capture(model, np.ones((1, 3), np.float32))


def test_a_branch_that_reads_the_array_behind_the_tensor_is_found_by_the_second_input():
    model = Forward(lambda m, x: F.relu(x) if x.data[0, 0] == 1.0 else x * 3.0 + 1.0)
    with pytest.raises(ValueError, match="same operations for every input"):
        capture(model, np.ones((1, 3), np.float32))


@pytest.mark.parametrize(
    ("function", "name"),
    [(lambda m, x: x.exp(), "exp"), (lambda m, x: x**2.0, "power"), (lambda m, x: x[:, :1], "getitem")],
)
def test_an_operation_without_an_integer_counterpart_is_refused_by_name(function, name):
    with pytest.raises(ValueError, match=f"integer counterpart, got '{name}'"):
        capture(Forward(function), np.ones((1, 3), np.float32))


def test_what_is_not_a_module_is_refused():
    with pytest.raises(TypeError, match=r"must be a tinyquant\.nn\.Module, got int"):
        capture(3, IMAGE)


@pytest.mark.parametrize(
    ("example", "error", "message"),
    [
        (np.zeros((1, 2), np.uint8), TypeError, "must be a float array, got dtype uint8"),
        (np.zeros(4, np.float32), ValueError, "must have a batch axis"),
        (np.zeros((0, 4), np.float32), ValueError, "at least one row"),
        (np.full((1, 4), np.nan, np.float32), ValueError, "must be finite"),
    ],
)
def test_a_bad_example_is_refused(example, error, message):
    with pytest.raises(error, match=message):
        capture(nn.Sequential(nn.ReLU()), example)


def test_an_nchw_example_is_recognised_and_the_transpose_printed():
    with pytest.raises(ValueError, match=r"transpose\(0, 2, 3, 1\)"):
        capture(nn.Sequential(nn.Conv2d(2, 4, 3)), IMAGE.transpose(0, 3, 1, 2))
