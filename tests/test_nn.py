"""Modules: every number has a path, every layer is the operation it says, and a saved state comes back bit for bit."""

import copy
import io
import json
import math
import os
import stat
import zipfile

import numpy as np
import pytest

from tinyquant import autograd as F
from tinyquant import nn
from tinyquant.autograd import Tensor, recording
from tinyquant.nn import store
from tinyquant.nn.checks import check_classes


def drawn(*shape, seed=0):
    """A float32 array of Gaussian numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Branch(nn.Module):
    """A network with a nested module, a shared layer, a buffer and an unused None."""

    def __init__(self):
        self.first = nn.Linear(3, 3)
        self.inner = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), self.first)
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.nothing = None
        self.register_buffer("count", np.zeros(1, np.float32))

    def forward(self, x):
        return self.inner(self.first(x)) * self.scale


# --------------------------------------------------------------------------------------------------- modules


def test_paths_follow_the_attributes_and_a_shared_layer_is_listed_once():
    model = Branch()
    assert [path for path, _ in model.named_parameters()] == ["scale", "first.weight", "first.bias", "inner.0.weight"]
    assert [path for path, _ in model.named_modules()] == ["", "first", "inner", "inner.0", "inner.1"]
    assert [path for path, _ in model.named_buffers()] == ["count"]
    assert [id(p) for p in model.parameters()] == [id(p) for _, p in model.named_parameters()]
    assert set(model.state_dict()) == {"first.weight", "first.bias", "inner.0.weight", "scale", "count"}


def test_train_and_eval_reach_every_module():
    model = Branch()
    assert all(module.training for _, module in model.named_modules())
    assert model.eval() is model and not any(module.training for _, module in model.named_modules())
    assert model.train() is model and model.inner[1].training


def test_a_shared_layer_gathers_the_gradients_of_both_uses_and_zero_grad_forgets_them():
    model = nn.Linear(2, 2, bias=False)
    x = Tensor(drawn(1, 2))
    model(x).sum().backward()
    once = model.weight.grad.copy()
    model(x).sum().backward()
    assert np.array_equal(model.weight.grad, 2 * once)
    model.zero_grad()
    assert model.weight.grad is None


def test_a_module_needs_no_super_init_and_no_registration():
    class Plain(nn.Module):
        def __init__(self):
            self.w = nn.Parameter([2.0])

        def forward(self, x):
            return x * self.w

    model = Plain()
    assert model.training and model(Tensor([3.0])).data.tolist() == [6.0] and len(model.parameters()) == 1


@pytest.mark.parametrize("value", [[nn.ReLU()], (nn.Parameter([1.0]),)])
def test_a_list_of_modules_is_refused_because_its_parameters_would_be_lost(value):
    model = nn.Module()
    with pytest.raises(TypeError, match=r"layers must be a Module, got a (list|tuple) of modules.*Sequential"):
        model.layers = value


@pytest.mark.parametrize("name", ["forward", "training", "train", "eval", "parameters", "state_dict"])
@pytest.mark.parametrize("value", [nn.Linear(2, 2), nn.Parameter([1.0])], ids=["layer", "parameter"])
def test_a_name_that_belongs_to_module_itself_is_refused(name, value):
    """A layer called forward would be run instead of the network, and the rest of it silently left out."""
    with pytest.raises(ValueError, match=f"that Module does not use itself, got '{name}'.* Call it {name}_"):
        setattr(nn.Module(), name, value)
    with pytest.raises(ValueError, match=f"got '{name}'"):
        nn.Sequential({name: nn.Linear(2, 2)})


def test_a_deep_copy_is_a_network_of_its_own_with_the_same_sharing():
    model = Branch()
    twin = copy.deepcopy(model)
    assert twin.inner[2] is twin.first and twin.first.weight is not model.first.weight
    assert [path for path, _ in twin.named_parameters()] == [path for path, _ in model.named_parameters()]
    twin.first.weight.data[...] = 7
    twin.eval()
    assert model.training and model.first.weight.data.max() < 7 and twin.first.weight.requires_grad


def test_a_buffer_stays_an_array():
    norm = nn.BatchNorm2d(2)
    with pytest.raises(TypeError, match=r"buffer running_mean must be an ndarray, got float"):
        norm.running_mean = 0.5
    norm.running_mean = np.ones(2, np.float32)
    assert dict(norm.named_buffers())["running_mean"].tolist() == [1, 1]


def test_a_module_without_a_forward_says_so():
    with pytest.raises(TypeError, match=r"Module must define forward"):
        nn.Module()(Tensor([1.0]))


def test_a_layer_reports_a_misfit_with_its_own_name_in_front():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(9, 2))
    with pytest.raises(ValueError, match=r"^Linear\(9, 2\): linear needs x of shape \(\.\.\., 9\)"):
        model(Tensor(drawn(1, 4)))
    with pytest.raises(ValueError, match=r"^Conv2d\(3, 4, \(3, 3\)\): conv2d needs images.*looks like \(N, C, H, W\)"):
        nn.Conv2d(3, 4, 3)(Tensor(drawn(2, 3, 8, 8)))


def test_a_recorder_hears_every_module_begin_and_end_around_its_operations():
    class Heard:
        def __init__(self):
            self.log = []

        def enter(self, module):
            self.log.append(f"<{type(module).__name__}")

        def leave(self, module):
            self.log.append(f"{type(module).__name__}>")

        def op(self, name, inputs, settings, output):
            self.log.append(name)

    heard, model = Heard(), nn.Residual(nn.Sequential(nn.ReLU()))
    with recording(heard):
        model(Tensor([1.0]))
    assert heard.log == ["<Residual", "<Sequential", "<ReLU", "relu", "ReLU>", "Sequential>", "<Add", "add", "Add>", "Residual>"]
    with pytest.raises(ValueError), recording(heard):
        nn.Linear(2, 2)(Tensor([1.0]))
    assert heard.log[-2:] == ["<Linear", "Linear>"]


def test_a_recorder_that_only_wants_operations_is_enough():
    class Ops:
        def __init__(self):
            self.log = []

        def op(self, name, inputs, settings, output):
            self.log.append(name)

    ops = Ops()
    with recording(ops):
        nn.Sequential(nn.ReLU())(Tensor([1.0]))
    assert ops.log == ["relu"]


def test_every_built_in_layer_records_exactly_one_operation():
    """Capture names the node of a Layer by the layer's path: it may have one."""
    image = Tensor(drawn(2, 6, 6, 4))
    layers = {
        "linear": nn.Linear(4, 3), "conv2d": nn.Conv2d(4, 3, 3), "depthwise_conv2d": nn.DepthwiseConv2d(4, 3),
        "batch_norm": nn.BatchNorm2d(4), "relu": nn.ReLU(), "relu6": nn.ReLU6(), "leaky_relu": nn.LeakyReLU(),
        "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "softmax": nn.Softmax(), "max_pool2d": nn.MaxPool2d(2),
        "avg_pool2d": nn.AvgPool2d(2), "global_avg_pool2d": nn.GlobalAvgPool2d(), "reshape": nn.Flatten(),
        "dropout": nn.Dropout(0.5),
    }  # fmt: skip
    every = {cls for cls in vars(nn).values() if isinstance(cls, type) and issubclass(cls, nn.Layer)} - {nn.Layer}
    assert every == {type(layer) for layer in layers.values()} | {nn.Add, nn.Concat}
    for name, layer in (*layers.items(), ("add", nn.Add()), ("concat", nn.Concat())):
        seen = []

        class Ops:
            def op(self, name, inputs, settings, output, seen=seen):
                seen.append(name)

        with recording(Ops()):
            layer(image, image) if name in ("add", "concat") else layer(image)
        assert seen == [name]


# ---------------------------------------------------------------------------------------------------- layers


def test_layers_are_the_operations_with_their_own_weights():
    image = Tensor(drawn(2, 7, 5, 4))
    conv = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding="same", dilation=1, groups=2, seed=1)
    conv.bias.data[...] = drawn(6, seed=2)
    expected = F.conv2d(image, conv.weight, conv.bias, stride=(2, 1), padding="same", groups=2)
    assert conv.weight.shape == (6, 3, 2, 2) and np.array_equal(conv(image).data, expected.data)
    wide = nn.DepthwiseConv2d(4, 3, stride=2, padding=1, multiplier=2, seed=3)
    expected = F.depthwise_conv2d(image, wide.weight, wide.bias, stride=2, padding=1)
    assert wide.weight.shape == (1, 3, 3, 8) and np.array_equal(wide(image).data, expected.data)
    linear = nn.Linear(4, 3, seed=4)
    assert np.array_equal(linear(image).data, F.linear(image, linear.weight, linear.bias).data)
    assert np.array_equal(nn.MaxPool2d(3, 2, 1)(image).data, F.max_pool2d(image, 3, stride=2, padding=1).data)
    assert np.array_equal(nn.AvgPool2d(2, padding="same")(image).data, F.avg_pool2d(image, 2, padding="same").data)
    assert np.array_equal(nn.Concat(axis=1)(image, image).data, np.concatenate([image.data] * 2, axis=1))
    assert np.array_equal(nn.Flatten()(image).data, image.data.reshape(2, -1))


@pytest.mark.parametrize("layer", [nn.Linear(3, 4, False), nn.Conv2d(2, 4, 3, bias=False), nn.DepthwiseConv2d(4, 3, bias=False)])
def test_a_layer_without_bias_has_one_parameter(layer):
    assert layer.bias is None and [path for path, _ in layer.named_parameters()] == ["weight"]


def test_batch_norm_learns_the_statistics_in_training_and_uses_them_in_evaluation():
    """Two batches worked by hand: running = 0.5 running + 0.5 batch, the variance unbiased (n / (n - 1))."""
    norm = nn.BatchNorm2d(1, eps=1e-12, momentum=0.5)
    out = norm(Tensor(np.array([[0.0], [4.0]], np.float32)))
    assert out.data.tolist() == [[-1.0], [1.0]]
    assert norm.running_mean.tolist() == [1.0] and norm.running_var.tolist() == [0.5 + 0.5 * 8]
    norm.eval()
    norm.running_mean[...], norm.running_var[...] = 1.0, 4.0
    norm.gamma.data[...], norm.beta.data[...] = 3.0, 10.0
    assert norm(Tensor(np.array([[5.0]], np.float32))).data.tolist() == [[16.0]]
    assert norm.running_mean.tolist() == [1.0]


def test_dropout_draws_from_its_own_seed_and_vanishes_in_evaluation():
    x = Tensor(np.ones((4, 50), np.float32))
    first, second = nn.Dropout(0.5, seed=3), nn.Dropout(0.5, seed=3)
    a, b = first(x).data, first(x).data
    assert np.array_equal(a, second(x).data) and not np.array_equal(a, b) and set(a.ravel()) == {0.0, 2.0}
    assert np.array_equal(first.eval()(x).data, x.data)


def test_residual_adds_the_shortcut_and_names_its_sum():
    body, shortcut = nn.Linear(3, 2, seed=1), nn.Linear(3, 2, seed=2)
    block, x = nn.Residual(body, shortcut), Tensor(drawn(4, 3))
    assert np.array_equal(block(x).data, body(x).data + shortcut(x).data)
    assert [path for path, _ in block.named_modules()] == ["", "body", "shortcut", "add"]


def test_sequential_counts_names_and_iterates():
    relu = nn.ReLU()
    plain = nn.Sequential(nn.Linear(2, 2), relu)
    named = nn.Sequential({"fc": nn.Linear(2, 2), "bend": relu})
    assert len(plain) == 2 and plain[-1] is relu and [type(m).__name__ for m in plain] == ["Linear", "ReLU"]
    assert named.bend is relu and named[1] is relu and [path for path, _ in named.named_modules()] == ["", "fc", "bend"]
    assert len(nn.Sequential()) == 0
    with pytest.raises(AttributeError, match=r"Sequential has no 'fc2'\. Its modules are fc, bend\."):
        named.fc2  # noqa: B018


def test_a_module_prints_as_it_would_be_written():
    model = nn.Sequential({"conv": nn.Conv2d(1, 4, 3, 2, "same", bias=False), "pool": nn.MaxPool2d(2), "drop": nn.Dropout(0.25)})
    assert repr(model).splitlines() == [
        "Sequential(", "  conv: Conv2d(1, 4, (3, 3), stride=(2, 2), padding='same', bias=False)",
        "  pool: MaxPool2d(2)", "  drop: Dropout(0.25)", ")",
    ]  # fmt: skip
    assert repr(nn.DepthwiseConv2d(4, 3, 1, 1, 2, 2)) == "DepthwiseConv2d(4, (3, 3), padding=1, dilation=(2, 2), multiplier=2)"
    assert repr(nn.Conv2d(4, 4, 1, groups=2)) == "Conv2d(4, 4, (1, 1), groups=2)" and repr(nn.Linear(2, 1)) == "Linear(2, 1)"


# ------------------------------------------------------------------------------------------------- beginnings


def test_he_and_glorot_have_the_variance_of_their_papers():
    """n = 40000 draws: the sample variance errs by less than 5 standard errors, 5 sqrt(2 / n) = 3.6 % (uniform: less)."""
    he = nn.he_normal((200, 200), fan_in=50, seed=0)
    glorot = nn.glorot_uniform((200, 200), fan_in=30, fan_out=50, seed=0)
    assert he.dtype == glorot.dtype == np.float32
    assert abs(he.var() / (2 / 50) - 1) < 0.036 and abs(glorot.var() / (2 / 80) - 1) < 0.036
    assert abs(glorot).max() <= math.sqrt(6 / 80)


@pytest.mark.parametrize("layer, fan_in", [
    (nn.Linear(400, 300, seed=5), 400), (nn.Conv2d(40, 100, 3, groups=2, seed=5), 9 * 20),
    (nn.DepthwiseConv2d(4000, (3, 5), seed=5), 15),
])
def test_a_layer_starts_at_he_by_the_products_it_sums(layer, fan_in):
    """At least 36000 draws: five standard errors of the variance are 3.8 %."""
    assert abs(layer.weight.data.var() * fan_in / 2 - 1) < 0.038 and not layer.bias.data.any()


def test_the_seed_decides_the_weights_and_one_generator_makes_layers_differ():
    assert np.array_equal(nn.Linear(3, 3, seed=1).weight.data, nn.Linear(3, 3, seed=1).weight.data)
    assert not np.array_equal(nn.Linear(3, 3, seed=1).weight.data, nn.Linear(3, 3, seed=2).weight.data)
    rng = np.random.default_rng(0)
    assert not np.array_equal(nn.Linear(3, 3, seed=rng).weight.data, nn.Linear(3, 3, seed=rng).weight.data)


def test_reset_parameters_starts_the_whole_network_afresh_from_one_seed():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm2d(3))
    assert np.array_equal(model[0].weight.data, model[1].weight.data)
    memory = model[0].weight.data
    assert model.reset_parameters(7) is model and model[0].weight.data is memory
    assert not np.array_equal(model[0].weight.data, model[1].weight.data)
    first = model.state_dict()
    model(Tensor(drawn(8, 3)))
    model[2].gamma.data += 1
    assert any(not np.array_equal(first[k], v) for k, v in model.state_dict().items())
    model.reset_parameters(7)
    assert all(np.array_equal(first[k], v) for k, v in model.state_dict().items())


def test_losses_are_the_operations():
    logits, labels = Tensor(drawn(5, 3)), np.array([0, 2, 1, 1, 0])
    weights = np.array([1.0, 2.0, 0.5], np.float32)
    loss = nn.CrossEntropyLoss(weights, 0.1)(logits, labels).item()
    assert loss == F.cross_entropy(logits, labels, weights=weights, label_smoothing=0.1).item()
    assert nn.MSELoss()(Tensor([1.0, 2.0]), np.array([1.0, 4.0], np.float32)).item() == 2.0


REFUSED = {
    "linear": (lambda: nn.Linear(0, 3), ValueError, r"in_features must be 1 or more, got 0"),
    "channels": (lambda: nn.Conv2d(3, 0, 3), ValueError, r"out_channels must be 1 or more, got 0"),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=4), ValueError, r"groups must divide both.*groups=4 for 4 and 6"),
    "kernel": (lambda: nn.Conv2d(4, 6, (3, 0)), ValueError, r"kernel_size must be 1 or more, got \(3, 0\)"),
    "multiplier": (lambda: nn.DepthwiseConv2d(4, 3, multiplier=0), ValueError, r"multiplier must be 1 or more, got 0"),
    "features": (lambda: nn.BatchNorm2d(0), ValueError, r"num_features must be 1 or more, got 0"),
    "eps": (lambda: nn.BatchNorm2d(3, eps=0.0), ValueError, r"eps must be above 0, got 0"),
    "momentum": (lambda: nn.BatchNorm2d(3, momentum=1.5), ValueError, r"momentum must lie in 0 to 1, got 1\.5"),
    "p": (lambda: nn.Dropout(1.0), ValueError, r"p must lie in 0 to below 1, got 1"),
    "seed": (lambda: nn.Linear(2, 2, seed=None), TypeError, r"seed must be an int or a numpy Generator, got None"),
    "fan": (lambda: nn.he_normal((2,), 0, seed=0), ValueError, r"fan_in must be 1 or more, got 0"),
    "function": (lambda: nn.Sequential(nn.Linear(2, 2), F.relu), TypeError, r"Sequential must be given modules, got <function"),
    "dot": (lambda: nn.Sequential({"a.b": nn.ReLU()}), ValueError, r"name must be free and without a dot, got 'a\.b'"),
    "taken": (lambda: nn.Sequential({"forward": nn.ReLU()}), ValueError, r"name must be free and without a dot, got 'forward'"),
    "label": (lambda: check_classes(np.array([0, -1]), 2, "y"), ValueError, r"y must lie in 0 to 1.*got -1 in row 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_layer_that_cannot_be_is_refused(what):
    call, kind, message = REFUSED[what]
    with pytest.raises(kind, match=message):
        call()


# ------------------------------------------------------------------------------------------------------ state


def trained():
    """A small network whose every array differs from a new one's."""
    model = nn.Sequential({"conv": nn.Conv2d(2, 3, 3, seed=1), "bn": nn.BatchNorm2d(3), "pool": nn.GlobalAvgPool2d()})
    for array in (*(p.data for p in model.parameters()), *(b for _, b in model.named_buffers())):
        array[...] = np.random.default_rng(array.size).random(array.shape)
    return model


def other(**changes):
    """A state with some arrays replaced, or dropped where None."""
    state = trained().state_dict() | changes
    return {path: array for path, array in state.items() if array is not None}


def test_a_state_is_a_copy_and_loads_in_place():
    model, fresh = trained(), nn.Sequential({"conv": nn.Conv2d(2, 3, 3), "bn": nn.BatchNorm2d(3), "pool": nn.GlobalAvgPool2d()})
    state, memory = model.state_dict(), fresh.conv.weight.data
    assert list(state) == ["conv.weight", "conv.bias", "bn.gamma", "bn.beta", "bn.running_mean", "bn.running_var"]
    fresh.load_state_dict(state)
    assert fresh.conv.weight.data is memory
    assert all(np.array_equal(fresh.state_dict()[k], v) for k, v in state.items())
    state["conv.weight"][...] = 9
    assert model.conv.weight.data.max() < 9 and fresh.conv.weight.data.max() < 9


BAD_STATES = {
    "missing": (other(**{"bn.beta": None}), r"missing bn\.beta"),
    "unexpected": (other(**{"bn.delta": np.ones(3)}), r"not expected bn\.delta"),
    "shape": (other(**{"conv.bias": np.ones(4)}), r"conv\.bias of shape \(4,\) where \(3,\) belongs"),
    "type": (other(**{"conv.bias": np.array(["a", "b", "c"])}), r"conv\.bias of type <U1 where float32 belongs"),
    "several": (other(**{"bn.beta": None, "x": np.ones(1)}), r"missing bn\.beta; not expected x\."),
}


@pytest.mark.parametrize("what", BAD_STATES)
def test_a_state_that_does_not_fit_names_every_fault_and_changes_nothing(what):
    state, message = BAD_STATES[what]
    model = trained()
    model.conv.weight.data[...] = 5
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    assert (model.conv.weight.data == 5).all()


def test_a_saved_state_comes_back_bit_for_bit_with_what_was_said_about_it(tmp_path):
    model, path = trained(), tmp_path / "net.npz"
    nn.save_state(model, path, {"accuracy": 0.5, "command": "none"})
    fresh = nn.Sequential({"conv": nn.Conv2d(2, 3, 3), "bn": nn.BatchNorm2d(3), "pool": nn.GlobalAvgPool2d()})
    assert nn.load_state(fresh, str(path)) == {"accuracy": 0.5, "command": "none"} == nn.read_about(path)
    for key, array in model.state_dict().items():
        assert array.tobytes() == fresh.state_dict()[key].tobytes() and array.dtype == fresh.state_dict()[key].dtype
    assert os.listdir(tmp_path) == ["net.npz"]


def test_the_same_state_makes_the_same_file_and_numpy_reads_it_without_pickle(tmp_path):
    for name in ("a.npz", "b.npz"):
        nn.save_state(trained(), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert stat.S_IMODE((tmp_path / "a.npz").stat().st_mode) & 0o444
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert json.loads(str(archive["header"]))["kind"] == "state" and archive["conv.weight"].shape == (3, 3, 3, 2)


def test_an_interrupted_save_leaves_the_older_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    nn.save_state(trained(), path)
    before = path.read_bytes()

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(store.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        nn.save_state(trained().reset_parameters(9), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["net.npz"]


def test_a_parameter_called_header_is_refused(tmp_path):
    model = nn.Module()
    model.header = nn.Parameter([1.0])
    with pytest.raises(ValueError, match=r'a parameter must not be called "header"'):
        nn.save_state(model, tmp_path / "x.npz")


def npz(path, **arrays):
    """An npz as anybody might write it."""
    np.savez(path, **arrays)


def npy(array):
    """The bytes of an .npy file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def pickled(path):
    """A file whose array would have to be unpickled."""
    np.savez(path, header=np.array([{"a": 1}], dtype=object))


def repeated_header(path, **changes):
    """A state file with another header."""
    header = {"format": "tinyquant", "version": 1, "kind": "state", "about": {}} | changes
    npz(path, header=np.array(json.dumps(header)), **trained().state_dict())


def promises_too_much(path):
    """An array header that announces 2^60 numbers."""
    nn.save_state(trained(), path)
    with zipfile.ZipFile(path, "a") as archive, archive.open("big.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (2**60,)})


def cut(path):
    """A file that lost its end."""
    nn.save_state(trained(), path)
    path.write_bytes(path.read_bytes()[:-200])


BROKEN = {
    "text": (lambda path: path.write_text("hello"), r"must be a whole file written by save_state, got"),
    "empty": (lambda path: path.write_bytes(b""), r"must be a whole file written by save_state, got"),
    "cut": (cut, r"must be a whole file written by save_state, got"),
    "too much": (promises_too_much, r"must be a whole file written by save_state, got"),
    "pickled": (pickled, r"must be a whole file written by save_state, got"),
    "one array": (lambda path: path.write_bytes(npy(np.ones(3))), r"must be a whole file written by save_state, got"),
    "no header": (lambda path: npz(path, a=np.ones(3)), r"must be a whole file written by save_state, got: KeyError"),
    "other kind": (lambda path: repeated_header(path, kind="integer_model"), r"must have the header .*got .*integer_model"),
    "newer": (lambda path: repeated_header(path, version=2), r"must have the header .*got .*'version': 2"),
    "no about": (lambda path: repeated_header(path, about=None), r"must have the header"),
    "other net": (lambda path: nn.save_state(nn.Linear(2, 2), path), r"x\.npz: the state must fit the module, got: missing"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_or_foreign_file_is_refused_and_the_module_keeps_its_weights(what, tmp_path):
    write, message = BROKEN[what]
    path = tmp_path / "x.npz"
    write(path)
    model = trained()
    with pytest.raises(ValueError, match=message):
        nn.load_state(model, path)
    assert all(np.array_equal(a, b) for a, b in zip(model.state_dict().values(), trained().state_dict().values(), strict=True))


def test_one_changed_byte_is_refused_or_harmless(tmp_path):
    """Every fifth byte inverted: a ValueError, or (dates, padding) the very same arrays; no other error, no other weights."""
    path, refused = tmp_path / "x.npz", 0
    nn.save_state(trained(), path)
    content = path.read_bytes()
    for k in range(0, len(content), 5):
        path.write_bytes(content[:k] + bytes([content[k] ^ 255]) + content[k + 1 :])
        model = trained().reset_parameters(0)
        before = model.state_dict()
        try:
            nn.load_state(model, path)
            expected = trained().state_dict()
        except ValueError:
            refused, expected = refused + 1, before
        assert all(np.array_equal(model.state_dict()[key], expected[key]) for key in expected), k
    assert refused > len(content) / 5 / 2


def test_a_missing_state_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz must be a saved state, got no such file"):
        nn.load_state(trained(), tmp_path / "nowhere.npz")
