"""fit and evaluate: the loop is the recurrence it says, the same seed gives the same bytes, and a mistake gets a sentence."""

import numpy as np
import pytest

from tinyquant import nn
from tinyquant.autograd import Tensor, is_grad_enabled, mse_loss
from tinyquant.data import imbalanced, sine_regression
from tinyquant.optim import SGD
from tinyquant.training import _batches, evaluate, fit, predict, shift_images


def rows(n=90, features=4, classes=3, seed=0):
    """Three Gaussian clouds, well apart: float32 rows and their labels."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % classes)
    return (rng.standard_normal((n, features)) + 4 * np.eye(classes, features)[y]).astype(np.float32), y


def images(n=40, size=6, channels=1, seed=0):
    """Images with a bright left or right half, NHWC, and which."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.random((n, size, size, channels)).astype(np.float32) * 0.3
    x[y == 0, :, : size // 2] += 0.6
    x[y == 1, :, size // 2 :] += 0.6
    return x, y


def small(classes=3, features=4, seed=0):
    """A perceptron with a hidden layer."""
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Linear(features, 8, seed=rng), nn.ReLU(), nn.Linear(8, classes, seed=rng))


def conv(channels=1, seed=0):
    """A convolution with batch norm."""
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding="same", bias=False, seed=rng), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * 36, 2, seed=rng),
    )  # fmt: skip


def bytes_of(model):
    """All weights and statistics as one string of bytes."""
    return b"".join(array.tobytes() for array in model.state_dict().values())


# -------------------------------------------------------------------------------------------------------- fit


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    x, y = images()
    made = []
    for seed in (1, 1, 2):
        model = conv()
        history = fit(model, x, y, epochs=3, batch_size=16, seed=seed, augment="shift", schedule="cosine")
        made.append((bytes_of(model), history))
    assert made[0] == made[1] and made[0][0] != made[2][0]


def test_one_full_batch_with_sgd_is_one_gradient_step_by_hand():
    """W - lr dL/dW of softmax regression: dL/dlogits = (p - onehot) / N, in float64 by hand."""
    x, y = rows(6)
    model = nn.Linear(4, 3, seed=1)
    w, b = model.weight.data.astype(np.float64), model.bias.data.astype(np.float64)
    z = x.astype(np.float64) @ w.T + b
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    d = (p - np.eye(3)[y]) / 6
    loss = -np.log(p[np.arange(6), y]).mean()
    history = fit(model, x, y, epochs=1, optimizer="sgd", lr=0.5, momentum=0.0, batch_size=6)
    # float32 with 2^-24 a rounding: sums of at most 6 products of numbers below 8, and one exponential
    np.testing.assert_allclose(model.weight.data, w - 0.5 * d.T @ x, rtol=0, atol=2.0**-18)
    np.testing.assert_allclose(model.bias.data, b - 0.5 * d.sum(0), rtol=0, atol=2.0**-18)
    assert abs(history.loss[0] - loss) < 2.0**-18
    assert history.accuracy == [float((z.argmax(1) == y).mean())]


def test_fit_is_the_loop_one_would_write():
    """The same batches through a loop of one's own end at the same bytes."""
    x, y = rows()
    made, own = small(), small()
    fit(made, x, y, epochs=2, optimizer="sgd", lr=0.1, momentum=0.5, weight_decay=0.01, batch_size=20, seed=5)
    optimizer, loss, rng = SGD(own.parameters(), 0.1, 0.5, 0.01), nn.CrossEntropyLoss(), np.random.default_rng(5)
    for _ in range(2):
        for xb, yb in _batches(x, y, 5, rng, None):
            optimizer.zero_grad()
            loss(own(Tensor(xb)), yb).backward()
            optimizer.step()
    assert bytes_of(made) == bytes_of(own)


@pytest.mark.parametrize("optimizer, lr", [("adam", 0.02), ("sgd", 0.1)])
@pytest.mark.parametrize("schedule", [None, "cosine", "step"])
def test_training_learns_what_can_be_learnt(optimizer, lr, schedule):
    """Three clouds four standard deviations apart: the best rule errs on about 1 % of rows."""
    x, y = rows(300)
    model = small()
    history = fit(model, x, y, epochs=12, optimizer=optimizer, lr=lr, schedule=schedule)
    assert evaluate(model, x, y) > 0.97 and history.loss[-1] < history.loss[0] / 2
    assert len(history.loss) == len(history.accuracy) == 12 and history.val_loss == [] and not history.stopped_early


def test_the_rates_fit_uses_are_those_of_its_schedules():
    x, y = rows(60)
    seen = {}
    for schedule in (None, "cosine", "step"):
        seen[schedule] = []
        note = lambda report, rates=seen[schedule]: rates.append(report["lr"])  # noqa: E731
        fit(small(), x, y, epochs=6, lr=0.1, batch_size=30, schedule=schedule, progress=note)
    # after each epoch's last step the rate of the next step is set
    assert seen[None] == [0.1] * 6
    np.testing.assert_allclose(seen["cosine"], [0.05 * (1 + np.cos(np.pi * t / 12)) for t in range(2, 14, 2)], atol=1e-12)
    np.testing.assert_allclose(seen["step"], [0.1, 0.01, 0.01, 0.001, 0.001, 0.0001], rtol=1e-12)
    long = []
    fit(small(), x, y, epochs=40, lr=0.1, batch_size=60, schedule="cosine", progress=lambda report: long.append(report["lr"]))
    # 40 steps, 2 of them warmup: rates 1/3, 2/3, then the cosine over the other 38; the first rate is not reported
    np.testing.assert_allclose(long, [0.2 / 3, *(0.05 * (1 + np.cos(np.pi * t / 38)) for t in range(39))], atol=1e-12)


def test_every_row_is_seen_once_an_epoch_in_nearly_equal_batches():
    x = np.arange(47, dtype=np.float32)[:, None]
    pieces = list(_batches(x, np.arange(47), -(-47 // 10), np.random.default_rng(0), None))
    assert sorted(len(xb) for xb, _ in pieces) == [9, 9, 9, 10, 10]
    seen = np.concatenate([yb for _, yb in pieces])
    assert sorted(seen.tolist()) == list(range(47)) and seen.tolist() != list(range(47))
    assert all(np.array_equal(xb[:, 0].astype(int), yb) for xb, yb in pieces)


def test_history_and_progress_say_the_same():
    x, y = rows()
    reports = []
    history = fit(small(), x, y, epochs=3, validation=(x[:30], y[:30]), progress=reports.append)
    assert [r["epoch"] for r in reports] == [1, 2, 3] and {r["epochs"] for r in reports} == {3}
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert [r[name] for r in reports] == getattr(history, name)


def test_fit_leaves_eval_mode_no_gradients_and_prints_nothing(capsys):
    x, y = images()
    model = conv()
    fit(model, x, y, epochs=1)
    assert not any(module.training for _, module in model.named_modules())
    assert all(p.grad is None for p in model.parameters()) and capsys.readouterr() == ("", "")


def test_validation_is_scored_in_evaluation_mode_and_never_trained_on():
    x, y = images()
    with_validation, without = conv(), conv()
    history = fit(with_validation, x, y, epochs=3, validation=(x[:10], y[:10]))
    fit(without, x, y, epochs=3)
    assert bytes_of(with_validation) == bytes_of(without)
    assert history.val_accuracy[-1] == evaluate(with_validation, x[:10], y[:10])
    logits = Tensor(predict(with_validation, x[:10]))
    assert history.val_loss[-1] == nn.CrossEntropyLoss()(logits, y[:10]).item()


def test_early_stopping_stops_after_patience_and_puts_the_best_weights_back():
    """The validation labels are wrong on purpose: the longer one trains, the worse, so epoch 0 is the best."""
    x, y = rows()
    states = []
    model = small()
    history = fit(
        model, x, y, epochs=50, lr=0.05, validation=(x, (y + 1) % 3), patience=3,
        progress=lambda report: states.append(bytes_of(model)),
    )  # fmt: skip
    assert history.stopped_early and len(history.loss) == history.best_epoch + 1 + 3 == len(states)
    assert history.best_epoch == int(np.argmin(history.val_loss))
    assert bytes_of(model) == states[history.best_epoch] != states[-1]


def test_patience_that_does_not_run_out_still_ends_at_the_best_epoch():
    x, y = rows()
    states = []
    model = small()
    history = fit(
        model, x, y, epochs=6, lr=1.0, validation=(x[:20], y[:20]), patience=6,
        progress=lambda report: states.append(bytes_of(model)),
    )  # fmt: skip
    assert not history.stopped_early and len(history.loss) == 6
    assert bytes_of(model) == states[int(np.argmin(history.val_loss))]


def test_a_loss_of_ones_own_trains_a_curve():
    x, y = sine_regression(200, noise=0.0)
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(1, 16, seed=rng), nn.Tanh(), nn.Linear(16, 1, seed=rng))
    history = fit(model, x, y, epochs=60, lr=0.02, loss=nn.MSELoss(), validation=(x, y))
    # always answering 0 errs by the mean of sin^2, one half
    assert history.val_loss[-1] < 0.05 and history.accuracy == history.val_accuracy == []
    weighted = fit(small(2, 8), *imbalanced(200), epochs=1, loss=nn.CrossEntropyLoss([1.0, 20.0]))
    assert len(weighted.accuracy) == 1


def test_float64_data_trains_to_the_same_bytes_as_float32():
    x, y = rows()
    made, wide = small(), small()
    fit(made, x, y, epochs=1)
    fit(wide, x.astype(np.float64), y, epochs=1)
    assert bytes_of(made) == bytes_of(wide)


# ------------------------------------------------------------------------------------------------------ shift


def test_a_shift_is_one_of_nine_moves_and_every_one_happens():
    """Each result equals the image moved by one (dy, dx) with zeros moving in, worked with plain slices."""
    x = np.random.default_rng(0).random((300, 4, 5, 2)).astype(np.float32) + 0.1
    moved = shift_images(x, np.random.default_rng(1))
    moves = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    found = []
    for before, after in zip(x, moved, strict=True):
        for dy, dx in moves:
            expected = np.zeros_like(before)
            expected[max(dy, 0) : 4 + min(dy, 0), max(dx, 0) : 5 + min(dx, 0)] = \
                before[max(-dy, 0) : 4 - max(dy, 0), max(-dx, 0) : 5 - max(dx, 0)]
            if np.array_equal(after, expected):
                found.append((dy, dx))
    assert len(found) == 300 and set(found) == set(moves)
    # a fair draw gives each move 33 times on average, with a standard deviation of 5.4
    assert min(found.count(move) for move in moves) > 33 - 5 * 5.4 and moved.dtype == np.float32


# ------------------------------------------------------------------------------------------ evaluate, predict


def test_a_tie_goes_to_the_lower_index():
    x = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]], np.float32)
    assert evaluate(lambda a: a, x, np.array([0, 1])) == 1.0
    assert evaluate(lambda a: a, x, np.array([1, 2])) == 0.0


@pytest.mark.parametrize("batch_size", [1, 7, 90, 1000])
def test_evaluate_counts_every_row_once_whatever_the_batch(batch_size):
    x, y = rows()
    seen = []

    def model(a):
        seen.append(len(a))
        return a[:, :3]

    right = sum(int(np.argmax(row[:3]) == label) for row, label in zip(x, y, strict=True))
    assert evaluate(model, x, y, batch_size=batch_size) == right / 90
    assert sum(seen) == 90 and max(seen) <= batch_size


def test_a_module_is_scored_in_eval_mode_without_a_tape_and_keeps_its_mixed_mode():
    x, y = images()
    model = conv()
    model[1].eval()

    class Watch(nn.Module):
        def forward(self, a):
            seen.append((self.training, is_grad_enabled()))
            return a

    seen = []
    watched = nn.Sequential(Watch(), model)
    before = bytes_of(watched)
    evaluate(watched, x, y)
    assert set(seen) == {(False, False)} and bytes_of(watched) == before
    assert watched.training and model.training and not model[1].training and is_grad_enabled()


def test_predict_puts_the_mode_back_when_the_model_fails():
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"Linear\(3, 2\)"):
        predict(model, np.ones((2, 5), np.float32))
    assert model.training


# ----------------------------------------------------------------------------------------------------- errors


def bad(change, model=None, call=fit, **settings):
    """A call with one thing wrong."""
    x, y = images()
    x, y = change(x, y)
    if call is fit:
        settings = {"epochs": 1} | settings
    return lambda: call(model or conv(), x, y, **settings)


def with_value(x, row, value):
    """A copy with one pixel replaced."""
    x = x.copy()
    x[row, 2, 2, 0] = value
    return x


DATA_MISTAKES = {
    "bytes": (lambda x, y: ((255 * x).astype(np.uint8), y), TypeError, r"x must be float32, got uint8\. Divide .*/ 255"),
    "ints": (lambda x, y: (x.astype(np.int64), y), TypeError, r"x must be float32, got int64\. Convert it with x\.astype"),
    "nchw": (
        lambda x, y: (x.transpose(0, 3, 1, 2), y), ValueError,
        r"\(N, H, W, 1\), got \(40, 1, 6, 6\).*transpose\(0, 2, 3, 1\)",
    ),
    "no channel": (
        lambda x, y: (x[..., 0], y), ValueError,
        r"x must be images \(N, H, W, C\), got \(40, 6, 6\).*x\[\.\.\., None\]",
    ),
    "lengths": (lambda x, y: (x, y[:-1]), ValueError, r"x and y must be as many, got 40 and 39"),
    "one label": (lambda x, y: (x, y[0]), ValueError, r"x and y must be as many, got 40 and a single number"),
    "too high": (lambda x, y: (x, y + 1), ValueError, r"y must lie in 0 to 1, the model's outputs, got 2 in row 1"),
    "negative": (lambda x, y: (x, y - 1), ValueError, r"y must lie in 0 to 1, the model's outputs, got -1 in row 0"),
    "float labels": (lambda x, y: (x, y.astype(float)), TypeError, r"y must be int labels, got float64.*astype\(np\.int64\)"),
    "one-hot": (lambda x, y: (x, np.eye(2, dtype=int)[y]), ValueError, r"y must be labels \(N,\), got shape \(40, 2\).*argmax"),
    "nan": (lambda x, y: (with_value(x, 7, np.nan), y), ValueError, r"x must be finite, got nan or infinity in row 7"),
    "infinity": (lambda x, y: (with_value(x, 3, -np.inf), y), ValueError, r"x must be finite, got nan or infinity in row 3"),
    "empty": (lambda x, y: (x[:0], y[:0]), ValueError, r"x must hold at least one row, got shape \(0, 6, 6, 1\)"),
}  # fmt: skip


@pytest.mark.parametrize("call", [fit, evaluate])
@pytest.mark.parametrize("what", DATA_MISTAKES)
def test_a_mistake_in_the_data_is_named_before_anything_is_trained(what, call):
    change, kind, message = DATA_MISTAKES[what]
    model = conv()
    before = bytes_of(model)
    with pytest.raises(kind, match=message):
        bad(change, model, call)()
    assert bytes_of(model) == before


def test_a_mistake_in_the_validation_data_is_named_as_such():
    x, y = images()
    with pytest.raises(TypeError, match=r"validation x must be float32, got uint8"):
        fit(conv(), x, y, epochs=1, validation=(x.astype(np.uint8), y))
    with pytest.raises(ValueError, match=r"validation y must lie in 0 to 1.*got 2 in row 0"):
        fit(conv(), x, y, epochs=1, validation=(x, y * 0 + 2))
    with pytest.raises(ValueError, match=r"validation x and validation y must be as many, got 40 and 3"):
        fit(conv(), x, y, epochs=1, validation=(x, y[:3]))


def same(x, y):
    """Nothing changed."""
    return x, y


SETTINGS = {
    "epochs": (bad(same, epochs=0), ValueError, r"epochs and batch_size must be 1 or more, got 0 and 32"),
    "batch": (bad(same, batch_size=0), ValueError, r"epochs and batch_size must be 1 or more, got 1 and 0"),
    "optimizer": (bad(same, optimizer="adamw"), ValueError, r'optimizer must be "adam" or "sgd", got \'adamw\''),
    "schedule": (bad(same, schedule="linear"), ValueError, r'schedule must be None, "cosine" or "step", got \'linear\''),
    "augment": (bad(same, augment="flip"), ValueError, r'augment must be None or "shift", got \'flip\''),
    "shift rows": (
        lambda: fit(small(), *rows(), epochs=1, augment="shift"), ValueError,
        r"needs images \(N, H, W, C\), got shape \(90, 4\)",
    ),
    "patience": (
        bad(same, patience=2), ValueError,
        r"patience must be 1 or more and needs validation data, got patience=2 and no",
    ),
    "seed": (bad(same, seed=None), TypeError, r"seed must be an int or a numpy Generator, got None"),
    "model": (lambda: fit(lambda x: x, *rows(), epochs=1), TypeError, r"model must be a Module to be trained, got function"),
    "map": (
        lambda: fit(nn.Conv2d(1, 2, 3), *images(), epochs=1), ValueError,
        r"classifier must return \(N, classes\), got \(1, 4, 4, 2\)",
    ),
    "scored map": (
        lambda: evaluate(lambda x: x, *images()), ValueError,
        r"classifier must return \(N, classes\), got \(40, 6, 6, 1\)",
    ),
    "nan out": (
        lambda: evaluate(lambda x: x[:, :3] * np.nan, *rows()), ValueError,
        r"outputs must be numbers, got nan in row 0",
    ),
    "predict batch": (lambda: predict(small(), rows()[0], batch_size=0), ValueError, r"batch_size must be 1 or more, got 0"),
}  # fmt: skip


@pytest.mark.parametrize("what", SETTINGS)
def test_a_wrong_setting_is_named_with_what_may_stand_there(what):
    call, kind, message = SETTINGS[what]
    with pytest.raises(kind, match=message):
        call()


def test_a_loss_that_leaves_the_numbers_is_reported_once_and_the_weights_are_put_back():
    """A learning rate of 1e30 overflows in the second step; no numpy warning, no ruined model."""
    x, y = rows()
    model = small()
    before = bytes_of(model)
    message = r"the loss must stay finite, got (nan|inf) in epoch \d of 5\. Try a smaller lr \(it was 1e\+30\)"
    with pytest.raises(ValueError, match=message):
        fit(model, x, y, epochs=5, optimizer="sgd", lr=1e30, batch_size=30)
    assert bytes_of(model) == before and not model.training


def test_an_error_inside_a_loss_of_ones_own_also_puts_the_weights_back():
    x, y = rows()
    model, calls = small(), []

    def failing(outputs, labels):
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("no more")
        return mse_loss(outputs, np.zeros(outputs.shape, np.float32))

    before = bytes_of(model)
    with pytest.raises(ValueError, match="no more"):
        fit(model, x, y, epochs=1, loss=failing)
    assert bytes_of(model) == before and not model.training
