"""Training in one call: shuffle, cut into batches, forward, backward, step; and the fraction that comes out right.

    for every epoch, for every batch:   loss = mean(-log p[label]);   w = w - step(d loss / d w)

`fit` draws everything (the order, the shifts) from one seed, so the same call gives the same bytes again on the same
machine. It prints nothing: pass `progress` to watch.
With this module one can train any module of the package, float or fake-quantized, and score anything that can be called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tinyquant.autograd import Tensor, cross_entropy, no_grad
from tinyquant.nn.checks import check_classes, check_is_labels, checked_data, checked_x, first_bad_row
from tinyquant.nn.module import Module
from tinyquant.numerics.seeds import generator
from tinyquant.optim import SGD, Adam, CosineLR, Optimizer, StepLR

Loss = Callable[[Tensor, np.ndarray], Tensor]
Model = Module | Callable[[np.ndarray], np.ndarray]
Progress = Callable[[dict[str, float]], None]


@dataclass
class History:
    """What happened in each epoch of `fit`; the lists are as long as the epochs that ran.

    Attributes
    ----------
    loss, accuracy : list of float
        Mean over the epoch's batches, each with the weights of its moment and the augmented images; accuracy stays
        empty where y is not class labels.
    val_loss, val_accuracy : list of float
        On the validation data after each epoch; empty without.
    best_epoch : int
        Counting from 0, the epoch of the lowest val_loss, or of the lowest loss without validation data.
    stopped_early : bool
        Whether patience ran out before the epochs did.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    best_epoch: int = 0
    stopped_early: bool = False


def fit(
    model: Module,
    x: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int,
    optimizer: str = "adam",
    lr: float = 1e-3,
    batch_size: int = 32,
    seed: int = 0,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: str | None = None,
    augment: str | None = None,
    loss: Loss | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    patience: int | None = None,
    progress: Progress | None = None,
) -> History:
    """Train a module in place; it is in eval mode afterwards.

    Parameters
    ----------
    model : Module
    x : (N, ...) float array
        Images NHWC. float64 is narrowed to float32.
    y : (N,) int array
        Class labels, counted from 0; with a `loss` of your own whatever it takes, N rows.
    epochs : int >= 1
        How often every row is seen.
    optimizer : {"adam", "sgd"}
    lr : float >= 0
    batch_size : int >= 1
        An epoch is cut into ceil(N / batch_size) batches that differ by one row at most: no tiny last one, whose
        statistics would mislead a batch norm.
    seed : int or numpy Generator
        Order and augmentation are drawn from it; the weights are the model's own (`reset_parameters`).
    momentum : float in [0, 1)
        For "sgd" only.
    weight_decay : float >= 0
    schedule : {None, "cosine", "step"}
        None: constant. "cosine": from lr down to 0 over all steps, after a straight climb during the first twentieth.
        "step": a tenth of it after each third of the epochs.
    augment : {None, "shift"}
        "shift": every image moved by -1, 0 or 1 pixel in each direction, zeros moving in.
    loss : callable (outputs Tensor, y batch) -> Tensor of one number, or None
        None is the cross-entropy of logits.
    validation : (x, y) or None
        Scored after each epoch, never trained on.
    patience : int >= 1 or None
        Stop once val_loss was not lowered for so many epochs. The weights of the best epoch are put back, also when
        patience did not run out.
    progress : callable (dict) -> None, or None
        Called after each epoch with "epoch" (from 1), "epochs", "lr", "loss" and, where known, "accuracy",
        "val_loss", "val_accuracy".

    Returns
    -------
    History

    Raises
    ------
    TypeError
        If the model is no Module, x is not float, or y is not int (without a `loss` of your own).
    ValueError
        If x or y is empty, they differ in length, x is not finite, images are NCHW, a label has no output, a setting
        is out of range, or the loss stops being finite: the model is then as it was before the call.

    Notes
    -----
    In Keras this is `model.fit`; differs by nearly equal batches and by printing nothing.

    Examples
    --------
    >>> from tinyquant.nn import Linear
    >>> x = np.array([[-1.0], [1.0]] * 8, dtype=np.float32)
    >>> y = np.array([0, 1] * 8)
    >>> model = Linear(1, 2)
    >>> history = fit(model, x, y, epochs=3, lr=0.1)
    >>> len(history.loss), evaluate(model, x, y), model.training
    (3, 1.0, False)
    """
    _check_module(model)
    x, y = checked_data(model, x, y, "x", "y")
    if validation is not None:
        validation = checked_data(model, *validation, "validation x", "validation y")
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be 1 or more, got {epochs} and {batch_size}. Try 20 and 32.")
    if patience is not None and (patience < 1 or validation is None):
        raise ValueError(
            f"patience must be 1 or more and needs validation data, got patience={patience} and "
            f"{'no validation' if validation is None else 'validation'}. Give validation=(xv, yv), or leave patience out."
        )
    if augment not in (None, "shift"):
        raise ValueError(f'augment must be None or "shift", got {augment!r}. Shift the images yourself for more.')
    if augment == "shift" and x.ndim != 4:
        raise ValueError(f'augment="shift" needs images (N, H, W, C), got shape {x.shape}. Leave augment out.')
    labelled = loss is None or (y.ndim == 1 and y.dtype.kind in "iu")
    loss_of = loss or cross_entropy
    if loss is None:
        _check_labels(model, x, y, "y")
        if validation is not None:
            _check_labels(model, *validation, "validation y")
    rng = generator(seed)
    steps = -(-len(x) // batch_size)
    opt = _make_optimizer(optimizer, model, lr, momentum, weight_decay)
    pace = _make_schedule(schedule, opt, epochs, steps)
    history, before = History(), model.state_dict()
    best, best_state = math.inf, before
    model.train()
    try:
        for epoch in range(epochs):
            total, right = 0.0, 0
            for xb, yb in _batches(x, y, steps, rng, augment):
                value, hits = _step(model, opt, loss_of, xb, yb, labelled)
                if not math.isfinite(value):
                    raise ValueError(
                        f"the loss must stay finite, got {value} in epoch {epoch + 1} of {epochs}. Try a smaller lr "
                        f"(it was {opt.lr:.3g}), or inputs of about -1 to 1; the model is as it was before fit."
                    )
                total += value * len(xb)
                right += hits
                if pace is not None:
                    pace.step()
            history.loss.append(total / len(x))
            if labelled:
                history.accuracy.append(right / len(x))
            if validation is not None:
                _validate(model, validation, loss_of, labelled, batch_size, history)
            if progress is not None:
                progress(_report(history, epoch, epochs, opt.lr))
            score = (history.val_loss or history.loss)[-1]
            if score < best:
                best, history.best_epoch = score, epoch
                best_state = model.state_dict() if patience is not None else best_state
            elif patience is not None and epoch - history.best_epoch >= patience:
                history.stopped_early = True
                break
        if patience is not None:
            model.load_state_dict(best_state)
    except ValueError:
        model.load_state_dict(before)
        raise
    finally:
        model.zero_grad()
        model.eval()
    return history


def evaluate(model: Model, x: np.ndarray, y: np.ndarray, *, batch_size: int = 256) -> float:
    """Score a model: the fraction of rows whose largest output is at the label's place.

    Parameters
    ----------
    model : Module, or callable (array) -> array (N, classes)
        A Module is put in eval mode, run without a tape, and its mode is put back.
    x : (N, ...) float array
    y : (N,) int array
    batch_size : int >= 1

    Returns
    -------
    float in [0, 1]
        Where two outputs tie the lower index is the answer, as in TFLite.

    Raises
    ------
    TypeError
        If x is not float or y not int.
    ValueError
        If x or y is empty, they differ in length, x is not finite, images are NCHW, a label has no output, or an
        output is nan.

    Examples
    --------
    >>> evaluate(lambda x: x, np.array([[0.1, 0.9], [0.5, 0.5]], np.float32), np.array([1, 1]))
    0.5
    """
    x, y = checked_data(model, x, y, "x", "y")
    check_is_labels(y, "y")
    outputs = predict(model, x, batch_size=batch_size)
    if outputs.ndim != 2:
        raise ValueError(f"a classifier must return (N, classes), got {outputs.shape}. Flatten before the last layer.")
    check_classes(y, outputs.shape[1], "y")
    if np.isnan(outputs).any():
        row = first_bad_row(~np.isnan(outputs))
        raise ValueError(f"outputs must be numbers, got nan in row {row}. Train again with a smaller lr.")
    return int((outputs.argmax(axis=1) == y).sum()) / len(y)


def predict(model: Model, x: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
    """Run a model over all rows of x, batch by batch: (N, ...) -> (N, ...).

    Parameters
    ----------
    model : Module, or callable (array) -> array
        A Module runs in eval mode without a tape, and its mode is put back.
    x : (N, ...) float array, N >= 1
    batch_size : int >= 1

    Returns
    -------
    array with N rows

    Raises
    ------
    TypeError, ValueError
        If x is not float, empty, not finite, or NCHW; if batch_size is below 1.

    Examples
    --------
    >>> predict(lambda x: 2 * x, np.array([[1.0], [2.0], [3.0]]), batch_size=2).tolist()
    [[2.0], [4.0], [6.0]]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}. Try 256.")
    x = checked_x(model, x, "x")
    pieces = [x[k : k + batch_size] for k in range(0, len(x), batch_size)]
    if not isinstance(model, Module):
        return np.concatenate([np.asarray(model(piece)) for piece in pieces])
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        with no_grad():
            return np.concatenate([model(Tensor(piece)).data for piece in pieces])
    finally:
        for module, training in modes:
            module.training = training


def shift_images(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move every image by -1, 0 or 1 pixel down and to the right, each drawn by itself; zeros move in.

    Parameters
    ----------
    x : (N, H, W, C) array
    rng : numpy Generator, used up by two draws an image

    Returns
    -------
    (N, H, W, C) array of the same dtype, new

    Examples
    --------
    >>> x = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    >>> shift_images(x, np.random.default_rng(0))[0, ..., 0].tolist()
    [[2.0, 3.0], [0.0, 0.0]]
    """
    n, height, width, channels = x.shape
    padded = np.zeros((n, height + 2, width + 2, channels), x.dtype)
    padded[:, 1:-1, 1:-1] = x
    down, right = rng.integers(0, 3, (2, n))
    rows = down[:, None] + np.arange(height)
    columns = right[:, None] + np.arange(width)
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _batches(
    x: np.ndarray, y: np.ndarray, steps: int, rng: np.random.Generator, augment: str | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch in random order, cut into `steps` nearly equal batches."""
    for rows in np.array_split(rng.permutation(len(x)), steps):
        xb = x[rows]
        yield (shift_images(xb, rng) if augment == "shift" else xb), y[rows]


def _step(
    model: Module, opt: Optimizer, loss_of: Loss, xb: np.ndarray, yb: np.ndarray, labelled: bool
) -> tuple[float, int]:
    """Forward, backward, and (if the loss is finite) one step: the loss and how many rows were right."""
    # a diverging run overflows on its way to nan, and is reported once, with what to do about it
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        outputs = model(Tensor(xb))
        value = loss_of(outputs, yb)
        number = value.item()
        if math.isfinite(number):
            opt.zero_grad()
            value.backward()
            opt.step()
    hits = int((outputs.data.argmax(axis=-1) == yb).sum()) if labelled else 0
    return number, hits


def _validate(
    model: Module, validation: tuple[np.ndarray, np.ndarray], loss_of: Loss, labelled: bool, batch_size: int, history: History
) -> None:
    """Append the loss and accuracy on the validation data."""
    xv, yv = validation
    outputs = predict(model, xv, batch_size=max(batch_size, 256))
    with no_grad():
        history.val_loss.append(loss_of(Tensor(outputs), yv).item())
    if labelled:
        history.val_accuracy.append(int((outputs.argmax(axis=-1) == yv).sum()) / len(yv))


def _report(history: History, epoch: int, epochs: int, lr: float) -> dict[str, float]:
    """The last value of every list, for `progress`."""
    report = {"epoch": epoch + 1, "epochs": epochs, "lr": lr, "loss": history.loss[-1]}
    for name in ("accuracy", "val_loss", "val_accuracy"):
        if values := getattr(history, name):
            report[name] = values[-1]
    return report


def _make_optimizer(name: str, model: Module, lr: float, momentum: float, weight_decay: float) -> Optimizer:
    """The optimizer of that name over all parameters of the model."""
    if name == "sgd":
        return SGD(model.parameters(), lr, momentum=momentum, weight_decay=weight_decay)
    if name == "adam":
        return Adam(model.parameters(), lr, weight_decay=weight_decay)
    raise ValueError(f'optimizer must be "adam" or "sgd", got {name!r}. Others can be used with a loop of your own.')


def _make_schedule(name: str | None, opt: Optimizer, epochs: int, steps: int) -> StepLR | CosineLR | None:
    """The schedule of that name, stepped once a batch."""
    if name is None:
        return None
    if name == "cosine":
        return CosineLR(opt, epochs * steps, warmup=epochs * steps // 20)
    if name == "step":
        return StepLR(opt, steps * max(epochs // 3, 1))
    raise ValueError(f'schedule must be None, "cosine" or "step", got {name!r}. Set optimizer.lr yourself for others.')


def _check_module(model: object) -> None:
    """Only a Module can be trained."""
    if not isinstance(model, Module):
        raise TypeError(
            f"model must be a Module to be trained, got {type(model).__name__}. "
            "Train the float or fake-quantized network; an integer one is made of it by convert."
        )


def _check_labels(model: Module, x: np.ndarray, y: np.ndarray, name: str) -> None:
    """Labels the model has outputs for: one row is run to see how many."""
    check_is_labels(y, name)
    outputs = predict(model, x[:1])
    if outputs.ndim != 2:
        raise ValueError(f"a classifier must return (N, classes), got {outputs.shape}. Flatten before the last layer.")
    check_classes(y, outputs.shape[1], name)
