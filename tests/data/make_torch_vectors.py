"""Write torch_vectors.npz: forward and backward of layers as PyTorch computes them, in this library's layout.

Run once, with PyTorch installed:  python tests/data/make_torch_vectors.py
The tests read the file; they need no PyTorch. Computed in float64. Where every number is a small integer the results
are exact; elsewhere (batch norm, softmax ...) the inputs are normal numbers.

A case is a group of entries "case/name": "case/settings" a JSON text, the inputs by the names of the function's
parameters, "y", the cotangent "dy", and "d_name" for the gradient of each input. NCHW arrays are stored as NHWC, OIHW
weights as OHWI, depthwise weights as 1HWC.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as T

FILE = Path(__file__).with_name("torch_vectors.npz")
rng = np.random.default_rng(20240501)
entries: dict[str, np.ndarray] = {}


def nchw(a: np.ndarray) -> torch.Tensor:
    """(N, H, W, C) -> (N, C, H, W); also OHWI -> OIHW."""
    return torch.tensor(np.ascontiguousarray(a.transpose(0, 3, 1, 2)))


def nhwc(t: torch.Tensor) -> np.ndarray:
    """(N, C, H, W) -> (N, H, W, C); also OIHW -> OHWI."""
    return np.ascontiguousarray(t.detach().numpy().transpose(0, 2, 3, 1))


def plain(a: np.ndarray) -> torch.Tensor:
    """The same axes."""
    return torch.tensor(a)


def plain_back(t: torch.Tensor) -> np.ndarray:
    """The same axes."""
    return t.detach().numpy()


def depthwise(a: np.ndarray) -> torch.Tensor:
    """(1, H, W, C) -> (C, 1, H, W)."""
    return torch.tensor(np.ascontiguousarray(a.transpose(3, 0, 1, 2)))


def depthwise_back(t: torch.Tensor) -> np.ndarray:
    """(C, 1, H, W) -> (1, H, W, C)."""
    return np.ascontiguousarray(t.detach().numpy().transpose(1, 2, 3, 0))


LAYOUTS = {"nhwc": (nchw, nhwc), "plain": (plain, plain_back), "depthwise": (depthwise, depthwise_back)}


def integers(*shape: int) -> np.ndarray:
    """Small integers."""
    return rng.integers(-8, 9, shape).astype(np.float64)


def distinct(*shape: int) -> np.ndarray:
    """Integers in random order, no two alike: a maximum has no ties."""
    return rng.permutation(int(np.prod(shape))).reshape(shape).astype(np.float64)


def case(name, fn, inputs, layouts=("plain",), settings=None, out="plain", exact=True, extra=()):
    """Run fn(*tensors) forward and backward, and store everything in our layout."""
    tensors = [LAYOUTS[layout][0](a).requires_grad_() for a, layout in zip(inputs.values(), layouts)]
    y = fn(*tensors)
    ours = LAYOUTS[out][1](y)
    dy = rng.integers(-4, 5, ours.shape).astype(np.float64) if ours.ndim else np.float64(3.0)
    y.backward(LAYOUTS[out][0](dy))
    entries[f"{name}/settings"] = np.array(json.dumps(settings or {}))
    entries[f"{name}/exact"] = np.array(exact)
    entries[f"{name}/y"], entries[f"{name}/dy"] = ours, np.asarray(dy)
    for (key, array), tensor, layout in zip(inputs.items(), tensors, layouts):
        entries[f"{name}/{key}"] = array
        entries[f"{name}/d_{key}"] = LAYOUTS[layout][1](tensor.grad)
    for key, array in extra:
        entries[f"{name}/{key}"] = array


for label, size, channels, outputs, kernel, stride, padding, dilation, groups in [
    ("plain", (5, 6), 3, 4, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    ("stride", (7, 6), 5, 3, (3, 2), (2, 3), (1, 0), (1, 1), 1),
    ("dilation", (7, 8), 5, 2, (2, 3), (1, 1), (2, 2), (3, 2), 1),
    ("stride_and_dilation", (9, 8), 2, 3, (3, 3), (2, 3), (2, 1), (2, 2), 1),
    ("groups", (5, 5), 6, 4, (3, 3), (1, 2), (1, 1), (1, 1), 2),
    ("pointwise", (4, 3), 5, 3, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    ("pointwise_stride", (5, 4), 3, 2, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    ("large", (10, 9), 5, 2, (3, 3), (1, 1), (1, 1), (1, 1), 1),
]:
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    case(f"conv2d {label}", lambda x, w, b, o=options: T.conv2d(x, w, b, **o),
         {"x": integers(2, *size, channels), "weight": integers(outputs, *kernel, channels // groups), "bias": integers(outputs)},
         ("nhwc", "nhwc", "plain"), options, "nhwc")  # fmt: skip

for label, size, channels, multiplier, kernel, stride, padding, dilation in [
    ("plain", (5, 6), 4, 1, (3, 3), (1, 1), (1, 1), (1, 1)),
    ("stride", (6, 7), 3, 1, (3, 3), (2, 2), (1, 1), (1, 1)),
    ("multiplier_dilation", (7, 6), 2, 3, (2, 3), (1, 2), (2, 1), (2, 1)),
]:
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    case(f"depthwise_conv2d {label}", lambda x, w, b, o=options, c=channels: T.conv2d(x, w, b, groups=c, **o),
         {"x": integers(2, *size, channels), "weight": integers(1, *kernel, channels * multiplier),
          "bias": integers(channels * multiplier)}, ("nhwc", "depthwise", "plain"), options, "nhwc")  # fmt: skip

for label, size, kernel, stride, padding in [
    ("side_by_side", (4, 6), (2, 2), (2, 2), (0, 0)), ("overlapping", (7, 5), (3, 2), (2, 1), (1, 1)),
    ("left_over", (5, 7), (2, 3), (3, 2), (0, 1)),
]:  # fmt: skip
    options = {"kernel_size": kernel, "stride": stride, "padding": padding}
    case(f"max_pool2d {label}", lambda x, o=options: T.max_pool2d(x, **o),
         {"x": distinct(2, *size, 2)}, ("nhwc",), options, "nhwc")  # fmt: skip
    case(f"avg_pool2d {label}", lambda x, o=options: T.avg_pool2d(x, count_include_pad=False, **o),
         {"x": integers(2, *size, 2)}, ("nhwc",), options, "nhwc", exact=False)  # fmt: skip

case("global_avg_pool2d plain", lambda x: x.mean(dim=(2, 3)), {"x": integers(2, 4, 4, 3)}, ("nhwc",))
case("linear plain", T.linear, {"x": integers(4, 5), "weight": integers(3, 5), "bias": integers(3)}, ("plain",) * 3)
case("relu plain", T.relu, {"x": integers(5, 6)})
case("relu6 plain", T.relu6, {"x": integers(6, 6)})
case("leaky_relu plain", lambda x: T.leaky_relu(x, 0.25), {"x": integers(5, 6)}, ("plain",), {"negative_slope": 0.25})
case("sigmoid plain", torch.sigmoid, {"x": rng.normal(size=(4, 5)) * 4}, exact=False)
case("tanh plain", torch.tanh, {"x": rng.normal(size=(4, 5))}, exact=False)
case("softmax plain", lambda x: T.softmax(x, -1), {"x": rng.normal(size=(4, 5))}, exact=False)
case("log_softmax plain", lambda x: T.log_softmax(x, -1), {"x": rng.normal(size=(4, 5))}, exact=False)
case("mse_loss plain", T.mse_loss, {"pred": integers(4, 4), "target": integers(4, 4)}, ("plain",) * 2)

labels = rng.integers(0, 5, 6)
for label, weights, smoothing in [("plain", None, 0.0), ("weights", rng.uniform(0.5, 2, 5), 0.0),
                                  ("smoothing", None, 0.1), ("both", rng.uniform(0.5, 2, 5), 0.2)]:  # fmt: skip
    tensor = None if weights is None else torch.tensor(weights)
    case(f"cross_entropy {label}",
         lambda z, w=tensor, s=smoothing: T.cross_entropy(z, torch.tensor(labels), w, label_smoothing=s),
         {"logits": rng.normal(size=(6, 5))}, ("plain",), {"label_smoothing": smoothing}, exact=False,
         extra=[("labels", labels)] + ([] if weights is None else [("weights", weights)]))  # fmt: skip

for label, shape, layout, training in [("train", (3, 4, 5, 3), "nhwc", True), ("eval", (3, 4, 5, 3), "nhwc", False),
                                       ("train_flat", (6, 3), "plain", True)]:  # fmt: skip
    mean, var = rng.normal(size=3), rng.uniform(0.5, 2, 3)
    running = [torch.tensor(mean.copy()), torch.tensor(var.copy())]
    after: list[tuple[str, np.ndarray]] = [("running_mean", mean), ("running_var", var)]
    case(f"batch_norm {label}",
         lambda x, g, b, r=running, t=training: T.batch_norm(x, *r, g, b, training=t, momentum=0.3, eps=1e-3),
         {"x": rng.normal(1, 2, shape), "gamma": rng.normal(size=3), "beta": rng.normal(size=3)}, (layout, "plain", "plain"),
         {"training": training, "momentum": 0.3, "eps": 1e-3}, out=layout, exact=False, extra=after)  # fmt: skip
    entries[f"batch_norm {label}/after_mean"], entries[f"batch_norm {label}/after_var"] = (t.numpy() for t in running)

if __name__ == "__main__":
    np.savez_compressed(FILE, **entries)
    count = len({key.split("/")[0] for key in entries})
    print(f"{FILE.name}: {count} cases, {FILE.stat().st_size} bytes, torch {torch.__version__}")
