"""What the committed figures are drawn from: packaged data, checkpoints, and the engine at work on them; nothing is trained.

With this module one can ask for each figure's numbers (`FigureData`); what several figures need is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from tinyquant import data, models
from tinyquant.analysis.compare import Comparison, compare
from tinyquant.analysis.error_budget import Budget, error_budget
from tinyquant.analysis.explain import Explanation, explain
from tinyquant.analysis.footprint import footprint
from tinyquant.analysis.resilience import resilience
from tinyquant.analysis.sensitivity import sensitivity
from tinyquant.autograd import Tensor, no_grad
from tinyquant.checkpoints.families import DigitsFamily, load_cancer_family, load_digits_family
from tinyquant.nn import Module, Sequential
from tinyquant.numerics.affine import quantize
from tinyquant.quantization.calibrate import Calibration, calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8, Scheme
from tinyquant.study import published
from tinyquant.training import evaluate, predict

__all__ = ["PUBLISHED", "FigureData"]

PUBLISHED = {row.network.removesuffix(" 1.0 224"): (row.float_, row.ptq, row.qat) for row in published.PUBLISHED}
"""Float, PTQ and QAT on ImageNet, in percent, under names that fit a figure."""

FEW_BITS = 3
NOISE = (0, 4, 8, 16, 24, 32, 48, 64)


class FigureData:
    """Everything the figures need, each part made when it is first asked for."""

    @cached_property
    def digits(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """x, y to calibrate with; xt, yt to measure on."""
        (x, y), (xt, yt) = data.digits(split=0)
        return x[:512], y[:512], xt, yt

    @cached_property
    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """A smooth signal, off the middle: a curve that is its own mirror image has its peaks exactly on ties."""
        t, x = data.sum_of_sines(1000, cycles=(1.0, 3.0), amplitudes=(0.9, 0.25))
        return t, x + np.float32(0.3)

    @cached_property
    def family(self) -> DigitsFamily:
        """Eight seeds of a perceptron."""
        return load_digits_family()

    def checkpoint(self, name: str) -> tuple[Sequential, Calibration]:
        """A trained network and what calibration saw."""
        if name not in self._loaded:
            model = models.load_checkpoint(name)
            self._loaded[name] = (model, calibrate(model, self.digits[0]))
        return self._loaded[name]

    @cached_property
    def _loaded(self) -> dict[str, tuple[Sequential, Calibration]]:
        return {}

    def quantized(self, name: str, scheme: Scheme = TFLITE_INT8) -> FakeQuantModel:
        """PTQ of a checkpoint."""
        return quantize_model(*self.checkpoint(name), scheme=scheme)

    def weight(self, network: str, node: str) -> np.ndarray:
        """A node's weights, batch norm folded."""
        return self.quantized(network).nodes[node].params()["weight"].data

    def right(self, model: Module) -> int:
        """How many of the test digits."""
        return int((classes(model, self.digits[2]) == self.digits[3]).sum())

    def explanation(self) -> Explanation:
        """The perceptron's logit of the class it says, on the first test image."""
        m = convert(self.quantized("mlp"))
        meaning = m.inputs[0].qparams
        assert meaning is not None
        codes = quantize(self.digits[2][:1], meaning)
        said = int(np.asarray(m.run(codes)).argmax())
        return explain(m, codes, "head", (0, said))

    def budget(self) -> tuple[Budget, float]:
        """Few bits, so that most sources cost something; and the float accuracy."""
        _, _, xt, yt = self.digits
        scheme = TFLITE_INT8.replace(weight_bits=FEW_BITS, activation_bits=4)
        accuracy = self.right(self.checkpoint("mlp")[0]) / len(yt)
        return error_budget(self.quantized("mlp", scheme), xt, yt, by_layer=False), accuracy

    def comparison(self) -> Comparison:
        """The depthwise network in float against integers."""
        model, _ = self.checkpoint("mobilenet")
        return compare(model, convert(self.quantized("mobilenet")), self.digits[2][:128])

    def table(self) -> dict[str, list[list[float]]]:
        """Five columns for each seed, at two widths of the weights."""
        _, _, xt, yt = self.digits
        rows = {}
        for bits in (8, FEW_BITS):
            rows[f"W{bits}A8"] = [
                [
                    evaluate(model, xt, yt)
                    for model in (m.trained, m.ptq(bits), m.qat[bits], m.longer, m.ptq(bits, of_longer=True))
                ]
                for m in self.family.members
            ]
        return rows

    def shaken(self) -> dict[str, np.ndarray]:
        """Accuracy under noise on the weights, trained in float as long as QAT, and with QAT: (seeds, sizes)."""
        _, _, xt, yt = self.digits
        found: dict[str, list[np.ndarray]] = {}
        for member in self.family.members:
            pair = {"float-trained": member.ptq(8, of_longer=True), "QAT-trained": member.qat[8]}
            for name, values in resilience(pair, xt, yt, steps=NOISE, draws=3).accuracies.items():
                found.setdefault(name, []).append(values.mean(axis=0))
        return {name: np.array(rows) for name, rows in found.items()}

    def missed(self) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray], str]:
        """Labels, what the first doctor says in float and at two widths, where it is a tie, and the means over all doctors."""
        (x, _), (xt, yt) = data.breast_cancer()
        doctors = load_cancer_family()
        scores: list[dict[str, np.ndarray]] = []
        for doctor in doctors:
            seen = calibrate(doctor, x)
            found = {"float": predict(doctor, xt)}
            for bits in (8, FEW_BITS):
                scheme = TFLITE_INT8.replace(weight_bits=bits, activation_bits=bits)
                found[f"{bits} bits"] = predict(quantize_model(doctor, seen, scheme=scheme), xt)
            scores.append({name: logits[:, 1] - logits[:, 0] for name, logits in found.items()})
        missed = {name: float(np.mean([np.sum(one[name][yt == 1] <= 0) for one in scores])) for name in scores[0]}
        ties = [float(np.mean([np.sum(one[f"{FEW_BITS} bits"][yt == label] == 0) for one in scores])) for label in (1, 0)]
        means = ", ".join(f"{name} {mean:.1f}" for name, mean in missed.items())
        note = (
            f"Bits of weights and activations. Mean missed over {len(doctors)} seeds: {means}.\n"
            f"{ties[0]:.1f} of the last are ties, which go to the first class, benign; "
            f"so do {ties[1]:.1f} of {np.sum(yt == 0)} benign cases."
        )
        first = scores[0]
        said = {name: (margin > 0).astype(int) for name, margin in first.items()}
        return yt, said, {name: margin == 0 for name, margin in first.items()}, note

    def drops(self) -> dict[str, dict[int, float]]:
        """Points lost when one layer's weights alone are quantized."""
        return sensitivity(*self.checkpoint("mobilenet"), *self.digits[2:], bits=(4, 3, 2)).drops()

    def sizes(self) -> dict[str, tuple[str, int, int]]:
        """(kind, bytes, test digits right) of the depthwise network, in float and with fewer and fewer bits."""
        model, _ = self.checkpoint("mobilenet")
        found = {"float": ("float", 4 * sum(p.size for p in model.parameters()), self.right(model))}
        for bits in (8, 6, 5, 4, 3):
            fq = self.quantized("mobilenet", TFLITE_INT8.replace(weight_bits=bits))
            found[f"{bits} bits"] = ("PTQ", _packed(fq), self.right(fq))
        return found

    def confused(self) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
        """Labels, and what the depthwise network says in float and with 3-bit weights."""
        xt, yt = self.digits[2:]
        few = self.quantized("mobilenet", TFLITE_INT8.replace(weight_bits=FEW_BITS))
        return yt, {"float": classes(self.checkpoint("mobilenet")[0], xt), f"{FEW_BITS}-bit weights": classes(few, xt)}


def classes(model: Module, x: np.ndarray) -> np.ndarray:
    """The largest logit's place, off the tape."""
    with no_grad():
        said: np.ndarray = model(Tensor(x)).data.argmax(axis=1)
    return said


def _packed(fq: FakeQuantModel) -> int:
    """Weights at their width, biases at 32 bits."""
    return sum(tensor.packed for tensor in footprint(convert(fq)).tensors if tensor.kind != "activation")
