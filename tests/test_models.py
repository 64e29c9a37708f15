"""The reference networks: their shapes and names, how they learn, and the checkpoints that everything starts from."""

import runpy
import shutil
import sys

import numpy as np
import pytest

from tinyquant import models, nn
from tinyquant.autograd import Tensor, no_grad, recording
from tinyquant.checkpoints import make_checkpoint
from tinyquant.data import digits
from tinyquant.training import evaluate, fit

LEARNT = {"mlp": (0.965, 0.955), "resnet": (0.982, 0.973), "mobilenet": (0.982, 0.973)}
"""Mean and lowest accuracy that splits 0 to 4 must reach."""


def forward(model, *shape):
    """Logits of drawn images, in evaluation mode."""
    x = np.random.default_rng(0).random(shape).astype(np.float32)
    with no_grad():
        return model.eval()(Tensor(x)).data


def paths(model):
    """Paths of the layers, those without children."""
    named = dict(model.named_modules())
    return [path for path, module in named.items() if isinstance(module, nn.Layer)]


# ------------------------------------------------------------------------------------------------- the plans


def test_the_perceptron_flattens_images_and_takes_rows_as_they_are():
    image, row = models.mlp(), models.mlp(30, (16, 8), classes=2)
    assert paths(image) == ["flatten", "fc1", "relu1", "fc2", "relu2", "head"]
    assert paths(row) == ["fc1", "relu1", "fc2", "relu2", "head"]
    assert forward(image, 3, 8, 8, 1).shape == (3, 10) and forward(row, 3, 30).shape == (3, 2)
    assert [p.shape for p in row.parameters()] == [(16, 30), (16,), (8, 16), (8,), (2, 8), (2,)]


def test_resnet_names_its_layers_for_people():
    block = ["conv1", "bn1", "relu1", "conv2", "bn2", "add", "relu2"]
    expected = ["stem.conv", "stem.bn", "stem.relu", *(f"block1.{name}" for name in block)]
    for k in (2, 3):
        expected += [f"block{k}.{name}" for name in [*block[:5], "shortcut", *block[5:]]]
    assert paths(models.resnet()) == [*expected, "pool", "head"]


def test_mobilenet_names_its_layers_for_people():
    block = ["dw", "bn1", "relu1", "pw", "bn2", "relu2"]
    for size, count in (("digits", 4), ("mlperf_tiny", 13)):
        expected = ["stem.conv", "stem.bn", "stem.relu"]
        expected += [f"block{k}.{name}" for k in range(1, count + 1) for name in block]
        assert paths(models.mobilenet(size)) == [*expected, "pool", "head"]


def test_resnet_in_its_mlperf_size_has_the_published_layers():
    """Reference Keras model: stem 16, stacks 16, 32, 64 with strides 1, 2, 2, 1x1 shortcuts with bias, 10 classes.

    Counted by hand: convolutions 9(3*16 + 2*16*16 + 16*32 + 32*32 + 32*64 + 64*64), shortcuts 16*32 + 32 + 32*64 + 64,
    batch norms 2(16 * 3 + 32 * 2 + 64 * 2), head 64 * 10 + 10.
    """
    model = models.resnet("mlperf_tiny")
    by_hand = 9 * (48 + 512 + 512 + 1024 + 2048 + 4096) + 512 + 32 + 2048 + 64 + 2 * (48 + 64 + 128) + 650
    assert sum(p.size for p in model.parameters()) == by_hand
    assert forward(model, 2, 32, 32, 3).shape == (2, 10)
    strides = {path: module.stride for path, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    assert [path for path, stride in strides.items() if stride == (2, 2)] == [
        "block2.conv1", "block2.shortcut", "block3.conv1", "block3.shortcut"
    ]  # fmt: skip


def test_mobilenet_in_its_mlperf_size_has_the_published_layers():
    """Reference Keras model, alpha 0.25: output channels and strides of its thirteen blocks, 96x96 down to 3x3."""
    model = models.mobilenet("mlperf_tiny")
    shapes = []

    class Shapes:
        def op(self, name, inputs, settings, output):
            if name in ("conv2d", "depthwise_conv2d"):
                shapes.append(output.shape[1:])

    with recording(Shapes()):
        assert forward(model, 1, 96, 96, 3).shape == (1, 2)
    outputs = [(16, 48), (32, 24), (32, 24), (64, 12), (64, 12), *[(128, 6)] * 6, (256, 3), (256, 3)]
    assert shapes[0] == (48, 48, 8) and shapes[2::2] == [(side, side, channels) for channels, side in outputs]
    assert [shape[0] for shape in shapes[1::2]] == [side for _, side in outputs]
    assert forward(models.mobilenet("mlperf_tiny", channels=1, classes=12, width=4), 1, 48, 48, 1).shape == (1, 12)


@pytest.mark.parametrize("name", models.RECIPES)
def test_the_digits_networks_take_digits_and_are_small(name):
    model = models.build(name)
    assert forward(model, 5, 8, 8, 1).shape == (5, 10)
    assert sum(p.size for p in model.parameters()) < 100_000


@pytest.mark.parametrize("name", models.RECIPES)
def test_the_networks_consist_of_layers_and_blocks_that_capture_knows(name):
    """Convolutions before a batch norm have no bias; every other module is a container."""
    model = models.build(name)
    modules = dict(model.named_modules())
    for path, module in modules.items():
        if isinstance(module, nn.BatchNorm2d):
            before = path.replace("bn1", "conv1").replace("bn2", "conv2").replace("stem.bn", "stem.conv")
            producer = modules.get(before) or modules[path.replace("bn1", "dw").replace("bn2", "pw")]
            assert producer.bias is None, path
        if not isinstance(module, nn.Layer):
            assert not any(isinstance(value, nn.Parameter) for value in vars(module).values()), path


@pytest.mark.parametrize("make", [models.mlp, models.resnet, models.mobilenet])
def test_the_seed_decides_all_weights_and_no_two_layers_start_alike(make):
    first, again, another = make(seed=1), make(seed=1), make(seed=2)
    weights = [p.data for p in first.parameters() if p.ndim > 1]
    assert all(np.array_equal(p.data, q.data) for p, q in zip(first.parameters(), again.parameters(), strict=True))
    others = [p.data for p in another.parameters() if p.ndim > 1]
    assert not any(np.array_equal(w, v) for w, v in zip(weights, others, strict=True))
    assert len({w.ravel()[:4].tobytes() for w in weights}) == len(weights)
    reset = make(seed=2).reset_parameters(1)
    assert all(np.array_equal(p.data, q.data) for p, q in zip(first.parameters(), reset.parameters(), strict=True))


def test_a_residual_block_is_its_formula():
    block = models.ResidualBlock(2, 4, 2, seed=0).eval()
    x = Tensor(np.random.default_rng(0).standard_normal((3, 6, 6, 2)).astype(np.float32))
    y = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu())) + block.shortcut(x)
    assert np.array_equal(block(x).data, np.maximum(y.data, 0)) and block(x).shape == (3, 3, 3, 4)
    same = models.ResidualBlock(4, 4, 1, seed=0).eval()
    z = same.bn2(same.conv2(same.bn1(same.conv1(y)).relu())) + y
    assert same.shortcut is None and np.array_equal(same(y).data, np.maximum(z.data, 0))


def test_an_unknown_size_or_name_is_refused_with_those_there_are():
    for make in (models.resnet, models.mobilenet):
        with pytest.raises(ValueError, match=r'size must be "digits" or "mlperf_tiny", got \'imagenet\''):
            make("imagenet")
    for call in (models.build, models.load_checkpoint):
        with pytest.raises(ValueError, match=r"name must be one of mlp, resnet, mobilenet, got 'vgg'"):
            call("vgg")


# ----------------------------------------------------------------------------------------- learning the digits


def learn(name, splits):
    """Accuracies of the recipe over splits, the split's number as seed."""
    accuracies = []
    for split in splits:
        (x, y), (xt, yt) = digits(split)
        model = models.build(name, seed=split)
        fit(model, x, y, seed=split, **models.RECIPES[name])
        accuracies.append(evaluate(model, xt, yt))
    return accuracies


def test_the_perceptron_learns_every_split():
    accuracies = learn("mlp", range(5))
    mean, lowest = LEARNT["mlp"]
    assert np.mean(accuracies) >= mean and min(accuracies) >= lowest, accuracies


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_the_convolutional_networks_learn_every_split(name):
    accuracies = learn(name, range(5))
    mean, lowest = LEARNT[name]
    assert np.mean(accuracies) >= mean and min(accuracies) >= lowest, accuracies


# -------------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("name", models.RECIPES)
def test_a_checkpoint_scores_what_its_file_says_and_names_the_command_that_made_it(name):
    """Another processor may round a logit otherwise: two of 450 images may fall to the other side."""
    model, about = models.load_checkpoint(name), nn.read_about(models.CHECKPOINTS / f"{name}.npz")
    _, (xt, yt) = digits(about["split"])
    assert about["command"] == "python -m tinyquant.checkpoints" and about["network"] == name and about["split"] == 0
    assert not model.training and abs(evaluate(model, xt, yt) - about["test_accuracy"]) <= 2 / 450
    assert about["test_accuracy"] >= LEARNT[name][1]
    assert (models.CHECKPOINTS / f"{name}.npz").stat().st_size < 400_000


def test_a_checkpoint_is_the_callers_own():
    model = models.load_checkpoint("mlp")
    model.head.weight.data[...] = 0
    assert models.load_checkpoint("mlp").head.weight.data.any()


@pytest.mark.parametrize("damage", ["missing", "cut", "another network's"])
def test_a_damaged_checkpoint_is_named(damage, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "CHECKPOINTS", tmp_path)
    path = tmp_path / "mlp.npz"
    if damage == "cut":
        path.write_bytes((models.Path(models.__file__).parent / "checkpoints" / "mlp.npz").read_bytes()[:5000])
    elif damage != "missing":
        shutil.copy(models.Path(models.__file__).parent / "checkpoints" / "mobilenet.npz", path)
    with pytest.raises(FileNotFoundError if damage == "missing" else ValueError, match=r"mlp\.npz.* got"):
        models.load_checkpoint("mlp")


def test_making_a_checkpoint_twice_gives_the_same_bytes_and_loads(tmp_path, monkeypatch):
    monkeypatch.setitem(models.RECIPES, "mlp", {**models.RECIPES["mlp"], "epochs": 2})
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        accuracy = make_checkpoint("mlp", folder, split=3, seed=4)
        files.append((folder / "mlp.npz").read_bytes())
    assert files[0] == files[1]
    assert nn.read_about(tmp_path / "a" / "mlp.npz")["test_accuracy"] == accuracy
    model = models.mlp()
    nn.load_state(model, tmp_path / "a" / "mlp.npz")
    assert evaluate(model, *digits(3)[1]) == accuracy


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_the_command_makes_all_three(tmp_path, monkeypatch, capsys):
    """The command with recipes of one epoch: what it writes and says, not how well it learns."""
    for name, recipe in models.RECIPES.items():
        monkeypatch.setitem(models.RECIPES, name, {**recipe, "epochs": 1})
    monkeypatch.setattr(sys, "argv", ["tinyquant.checkpoints", str(tmp_path)])
    runpy.run_module("tinyquant.checkpoints", run_name="__main__")
    said = capsys.readouterr().out
    for name in models.RECIPES:
        about = nn.read_about(tmp_path / f"{name}.npz")
        assert about["network"] == name and f"{name}: {100 * about['test_accuracy']:.2f} % of the test digits right" in said
