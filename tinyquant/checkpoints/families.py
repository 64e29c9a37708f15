"""Networks that come in families: one seed says little, so a table or a band needs several of the same kind.

`digits_family` holds a small perceptron for each of eight seeds, five times: trained in float, trained in float for the same
extra epochs as QAT takes (the control), and trained on with 8- and with 3-bit weights in its graph (QAT); and of the first seed
a record of that last training. `cancer_family` holds a small doctor for each of twelve seeds, trained in float.

With this module one can load both (`load_digits_family`, `load_cancer_family`) and make their files again (`make_families`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyquant.data import breast_cancer, digits
from tinyquant.models import CHECKPOINTS, mlp
from tinyquant.nn import Module, Sequential, load_state, save_state
from tinyquant.nn.store import About
from tinyquant.numerics.affine import quantize
from tinyquant.quantization.calibrate import Calibration, calibrate
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8, Scheme
from tinyquant.training import History, fit

__all__ = [
    "QAT_BITS",
    "DigitsFamily",
    "Member",
    "Recording",
    "load_cancer_family",
    "load_digits_family",
    "make_families",
    "weights_scheme",
]

COMMAND = "python -m tinyquant.checkpoints.families"
QAT_BITS = (8, 3)
DIGITS_SEEDS, CANCER_SEEDS = 8, 12
CALIBRATION_ROWS = 512
EPOCHS, EXTRA_EPOCHS = 40, 20
_FILES = ("digits_family.npz", "cancer_family.npz")


def weights_scheme(bits: int) -> Scheme:
    """TFLite's scheme with weights of so many bits, activations of 8."""
    return TFLITE_INT8.replace(weight_bits=bits)


@dataclass(frozen=True)
class Recording:
    """One QAT with few bits, epoch by epoch.

    Attributes
    ----------
    float_loss, qat_loss : (epochs,) float arrays
        Mean training loss of each epoch, of the float training and of the QAT that followed.
    float_accuracy, qat_accuracy : (epochs,) float arrays
        Fraction of the test digits right after each epoch.
    codes : (epochs + 1, weights) int8 array
        The weight codes of the first layer before the QAT and after each of its epochs.
    bits : int
        Of the weights.
    """

    float_loss: np.ndarray
    qat_loss: np.ndarray
    float_accuracy: np.ndarray
    qat_accuracy: np.ndarray
    codes: np.ndarray
    bits: int


@dataclass(frozen=True)
class Member:
    """The networks of one seed, all in eval mode.

    Attributes
    ----------
    trained, longer : Sequential
        In float; `longer` went on for as many epochs as QAT does.
    qat : dict of int to FakeQuantModel
        By the bits of the weights. Its ranges are those of `trained`.
    """

    trained: Sequential
    longer: Sequential
    qat: dict[int, FakeQuantModel]

    def ptq(self, bits: int, *, of_longer: bool = False) -> FakeQuantModel:
        """Post-training quantization of `trained`, or of the control."""
        model = self.longer if of_longer else self.trained
        return quantize_model(model, _calibrated(model), scheme=weights_scheme(bits))


@dataclass(frozen=True)
class DigitsFamily:
    """Eight seeds of one perceptron on digits, split 0, and the record of one QAT."""

    members: tuple[Member, ...]
    recording: Recording


def load_digits_family(folder: Path = CHECKPOINTS) -> DigitsFamily:
    """Read the family that was trained on the training part of digits, split 0.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing, damaged or something else.

    Examples
    --------
    >>> family = load_digits_family()
    >>> len(family.members), sorted(family.members[0].qat)
    (8, [3, 8])
    """
    state = _Digits()
    load_state(state, folder / _FILES[0])
    members = tuple(_member(getattr(state, f"seed{seed}")) for seed in range(DIGITS_SEEDS))
    kept = {key: getattr(state.recording, key) for key in _RECORDED}
    return DigitsFamily(members, Recording(**kept, bits=QAT_BITS[-1]))


def load_cancer_family(folder: Path = CHECKPOINTS) -> tuple[Sequential, ...]:
    """Read twelve seeds of a perceptron trained on the training part of breast_cancer, split 0, standardised.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing, damaged or something else.

    Examples
    --------
    >>> len(load_cancer_family())
    12
    """
    state = Module()
    for seed in range(CANCER_SEEDS):
        setattr(state, f"seed{seed}", _doctor(seed))
    load_state(state, folder / _FILES[1])
    return tuple(getattr(state, f"seed{seed}").eval() for seed in range(CANCER_SEEDS))


def make_families(folder: Path, say: Callable[[str], object] = lambda text: None) -> None:
    """Train both families (half a minute) and write their files."""
    _make_digits(folder / _FILES[0], say)
    (x, y), _ = breast_cancer()
    state = Module()
    for seed in range(CANCER_SEEDS):
        model = _doctor(seed)
        fit(model, x, y, epochs=60, lr=1e-2, batch_size=32, schedule="cosine", weight_decay=1e-3, seed=seed)
        setattr(state, f"seed{seed}", model)
    save_state(state, folder / _FILES[1], _about("breast_cancer"))
    say(f"{CANCER_SEEDS} seeds on breast_cancer")


def _make_digits(path: Path, say: Callable[[str], object]) -> None:
    """Eight seeds, five trainings each; the last QAT of the first seed is recorded."""
    (x, y), test = digits(0)
    state = _Digits()
    for seed in range(DIGITS_SEEDS):
        slot = getattr(state, f"seed{seed}")
        model = _perceptron(seed)
        first = fit(model, x, y, epochs=EPOCHS, lr=5e-3, batch_size=64, schedule="cosine", seed=seed, validation=test)
        slot.trained.load_state_dict(model.state_dict())
        slot.longer.load_state_dict(model.state_dict())
        _go_on(slot.longer, x, y, seed)
        for bits in QAT_BITS:
            fq = quantize_model(model, _calibrated(model), scheme=weights_scheme(bits))
            recorded = seed == 0 and bits == QAT_BITS[-1]
            codes = [_codes(fq)]
            watch = (lambda report, fq=fq, codes=codes: codes.append(_codes(fq))) if recorded else None
            second = _go_on(fq, x, y, seed, test, watch)
            trained = fq.state_dict()
            getattr(slot, f"qat{bits}").load_state_dict({key: trained[f"network.{key}"] for key in model.state_dict()})
            if recorded:
                _record(state.recording, first, second, np.stack(codes))
        say(f"seed {seed} of {DIGITS_SEEDS} on digits")
    save_state(state, path, _about("digits"))


def _go_on(
    model: Module,
    x: np.ndarray,
    y: np.ndarray,
    seed: int,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    watch: Callable[[dict[str, float]], None] | None = None,
) -> History:
    """The extra epochs, the same for QAT and for its control."""
    settings = {"epochs": EXTRA_EPOCHS, "batch_size": 64, "seed": 1000 + seed}
    return fit(model, x, y, **settings, lr=1e-3, schedule="cosine", validation=test, progress=watch)  # type: ignore[arg-type]


_RECORDED = ("float_loss", "qat_loss", "float_accuracy", "qat_accuracy", "codes")


def _record(slot: Module, first: History, second: History, codes: np.ndarray) -> None:
    """Keep two histories and the codes."""
    arrays = (first.loss, second.loss, first.val_accuracy, second.val_accuracy, codes)
    for key, array in zip(_RECORDED, arrays, strict=True):
        slot.register_buffer(key, np.asarray(array))


class _Slot(Module):
    """The float weights of one seed's networks."""

    def __init__(self, seed: int) -> None:
        self.trained, self.longer = _perceptron(seed), _perceptron(seed)
        for bits in QAT_BITS:
            setattr(self, f"qat{bits}", _perceptron(seed))


class _Digits(Module):
    """The whole file: slots seed0, seed1, ... and the recording."""

    def __init__(self) -> None:
        self.recording = Module()
        for key in _RECORDED:
            epochs = EPOCHS if key.startswith("float") else EXTRA_EPOCHS
            empty = np.zeros((EXTRA_EPOCHS + 1, 64 * 32), np.int8) if key == "codes" else np.zeros(epochs)
            self.recording.register_buffer(key, empty)
        for seed in range(DIGITS_SEEDS):
            setattr(self, f"seed{seed}", _Slot(seed))


def _member(slot: _Slot) -> Member:
    """The networks of a slot; QAT models are put together again from their trained weights."""
    trained = slot.trained.eval()
    seen = _calibrated(trained)
    qat = {}
    for bits in QAT_BITS:
        fq = quantize_model(trained, seen, scheme=weights_scheme(bits))
        weights = {f"network.{key}": value for key, value in getattr(slot, f"qat{bits}").state_dict().items()}
        fq.load_state_dict(fq.state_dict() | weights)
        qat[bits] = fq.eval()
    return Member(trained, slot.longer.eval(), qat)


def _perceptron(seed: int) -> Sequential:
    """64 to 32 to 10."""
    return mlp(hidden=(32,), seed=seed)


def _doctor(seed: int) -> Sequential:
    """30 to 16 to 2."""
    return mlp(30, (16,), classes=2, seed=seed)


def _calibrated(model: Module) -> Calibration:
    """On training images."""
    return calibrate(model, digits(0)[0][0][:CALIBRATION_ROWS])


def _codes(fq: FakeQuantModel) -> np.ndarray:
    """The first layer's weight codes as they are now."""
    node = fq.nodes["fc1"]
    node.choose_weight_qparams()
    assert node.weight_qparams is not None
    return quantize(node.params()["weight"].data, node.weight_qparams).ravel()


def _about(data: str) -> About:
    """What a file says of itself."""
    return {"command": COMMAND, "data": data, "split": 0}


if __name__ == "__main__":
    make_families(Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKPOINTS, lambda text: sys.stdout.write(text + "\n"))
