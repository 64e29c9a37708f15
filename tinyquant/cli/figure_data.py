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
from tinyquant.autograd import Tensor, no_grad
from tinyquant.checkpoints.families import DigitsFamily, load_cancer_family, load_digits_family
from tinyquant.nn import Module, Sequential
from tinyquant.numerics.affine import quantize
from tinyquant.quantization.calibrate import Calibration, calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8, Scheme
from tinyquant.training import evaluate

__all__ = ["PUBLISHED", "FigureData"]

PUBLISHED = {
    "MobileNet v1": (71.03, 69.57, 71.06),
    "MobileNet v2": (70.77, 70.20, 70.01),
    "ResNet v1 50": (76.30, 75.95, 76.10),
}
"""Float, PTQ and QAT on ImageNet, in percent: the tables of TensorFlow's model optimization guides (`training.md`,
`post_training_quantization`), which the lecture shows."""

FEW_BITS = 3
NOISE = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
_DRAWS = 3


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
        """Accuracy of the deployed 3-bit weights under noise, trained in float as long as QAT, and with QAT."""
        found: dict[str, list[list[float]]] = {"float-trained": [], "QAT-trained": []}
        for seed, member in enumerate(self.family.members):
            pair = (member.ptq(FEW_BITS, of_longer=True), member.qat[FEW_BITS])
            for name, fq in zip(found, pair, strict=True):
                found[name].append([self._shake(fq, member.trained, size, seed) for size in NOISE])
        return {name: np.array(rows) for name, rows in found.items()}

    def _shake(self, fq: FakeQuantModel, like: Sequential, size: float, seed: int) -> float:
        """Mean accuracy over a few draws of uniform noise of up to `size` steps on every weight."""
        _, _, xt, yt = self.digits
        before, shaken = like.state_dict(), []
        for draw in range(_DRAWS):
            rng = np.random.default_rng([seed, draw])
            state: dict[str, np.ndarray] = {}
            for name, made in fq.nodes.items():
                if made.weight_qparams is None:
                    continue
                params = {key: tensor.data for key, tensor in made.quantized_params().items()}
                scale, _ = made.weight_qparams.along(params["weight"].ndim)
                params["weight"] = params["weight"] + scale * rng.uniform(-size, size, params["weight"].shape)
                state |= {f"{name}.{key}": array for key, array in params.items()}
            like.load_state_dict(state)
            shaken.append(evaluate(like, xt, yt))
        like.load_state_dict(before)
        return float(np.mean(shaken))

    def missed(self) -> tuple[np.ndarray, dict[str, np.ndarray], str]:
        """Labels, what the first doctor says in float and at two widths, and the mean missed over all doctors."""
        (x, _), (xt, yt) = data.breast_cancer()
        doctors = load_cancer_family()
        said: list[dict[str, np.ndarray]] = []
        for doctor in doctors:
            seen = calibrate(doctor, x)
            answers = {"float": classes(doctor, xt)}
            for bits in (8, FEW_BITS):
                scheme = TFLITE_INT8.replace(weight_bits=bits, activation_bits=bits)
                answers[f"{bits} bits"] = classes(quantize_model(doctor, seen, scheme=scheme), xt)
            said.append(answers)
        means = [f"{name} {np.mean([np.sum((a[name] == 0) & (yt == 1)) for a in said]):.1f}" for name in said[0]]
        return yt, said[0], f"Missed on average over {len(doctors)} seeds: {', '.join(means)}."

    def sensitivity(self) -> dict[str, dict[int, float]]:
        """Points lost when one layer's weights alone are quantized."""
        model, seen = self.checkpoint("mobilenet")
        base, images = self.right(model), len(self.digits[3])
        drops: dict[str, dict[int, float]] = {}
        for node in self.quantized("mobilenet").graph:
            if "weight" in node.params:
                drops[node.name] = {}
                for bits in (4, 3, 2):
                    alone = TFLITE_INT8.replace(exclude=True).annotate(
                        node.name, exclude=False, weight_bits=bits, activation_bits=16
                    )
                    lost = base - self.right(quantize_model(model, seen, scheme=alone))
                    drops[node.name][bits] = 100 * lost / images
        return drops

    def sizes(self) -> dict[str, tuple[str, int, int]]:
        """(kind, bytes, test digits right) of the depthwise network, in float and with fewer and fewer bits."""
        model, _ = self.checkpoint("mobilenet")
        found = {"float": ("float", 4 * sum(p.size for p in model.parameters()), self.right(model))}
        for bits in (8, 6, 5, 4, 3):
            fq = self.quantized("mobilenet", TFLITE_INT8.replace(weight_bits=bits))
            found[f"{bits} bits"] = ("PTQ", _packed(fq, bits), self.right(fq))
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


def _packed(fq: FakeQuantModel, bits: int) -> int:
    """Weights at their width, biases at 32 bits."""
    arrays = [(key, array.size) for node in fq.graph for key, array in node.params.items()]
    return sum((size * (bits if key == "weight" else 32) + 7) // 8 for key, size in arrays)
