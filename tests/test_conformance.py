"""Random models in the real interpreters and here: not one byte may differ, in any of the four dialects.

The default run draws a few models of each kind. ``TINYQUANT_CONFORMANCE=2000`` draws that many in all and sums up in a line;
``TINYQUANT_CONFORMANCE_SEED=7`` draws others. The models are drawn from seeds, so a message names the one to draw again::

    drawn = draw_single("CONV_2D", 17)

The two fast back ends are compared on x86-64 with AVX-512, where their arithmetic was measured.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import runtimes
from random_models import OPERATORS, Drawn, draw_network, draw_single
from runtimes import RUNTIMES, Call, Model, Refused, Tensor

import tinyquant.engines  # noqa: F401  registers the dialects
from tinyquant.integer import InexactDialectWarning, IntegerModel
from tinyquant.interop import TFLiteError, load_tflite

pytestmark = pytest.mark.conformance

KINDS = (*OPERATORS, "network")
ASKED = int(os.environ.get("TINYQUANT_CONFORMANCE", "0"))
FIRST_SEED = int(os.environ.get("TINYQUANT_CONFORMANCE_SEED", "0"))
MODELS = ("hello_world_int8", "micro_speech_quantized", "ad01_int8", "pretrainedResnet_quant", "person_detect")


@pytest.fixture(scope="module", autouse=True)
def interpreters() -> None:
    """The real runtimes, or a skip."""
    runtimes.require_runtimes()


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """What was compared, in all; a line of it at the end if a count of models was asked for."""
    counts: Counter[str] = Counter()
    yield counts
    if not ASKED:
        return
    parts = [f"{name}: {counts[name + ' bytes']} bytes, {counts[name + ' differing']} differing" for name in RUNTIMES]
    left_out = {key: count for key, count in counts.items() if key.endswith(("refused", "inexact"))}
    plugins = request.config.pluginmanager
    with plugins.getplugin("capturemanager").global_and_fixture_disabled():
        reporter = plugins.getplugin("terminalreporter")
        reporter.write_line("")
        reporter.write_line(f"conformance: {counts['models']} models; {'; '.join(parts)}")
        reporter.write_line(f"conformance: models left out: {left_out or 'none'}")


def draw(kind: str, seed: int) -> Drawn:
    """A model of one operator, or a network."""
    return draw_network(seed) if kind == "network" else draw_single(kind, seed)


def differing_bytes(ours: np.ndarray, theirs: np.ndarray) -> int:
    """How many bytes differ; all of them where shape or type do."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return theirs.nbytes
    return int(np.count_nonzero(np.frombuffer(ours.tobytes(), np.uint8) != np.frombuffer(theirs.tobytes(), np.uint8)))


def first_difference(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Where two arrays differ first, and how."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"{ours.dtype}{ours.shape} here, {theirs.dtype}{theirs.shape} there"
    differs = (ours != theirs) | (np.signbit(ours) != np.signbit(theirs))
    where = tuple(int(i) for i in np.argwhere(differs)[0])
    return f"{np.count_nonzero(differs)} of {ours.size} differ, first at {where}: {ours[where]} here, {theirs[where]} there"


def compare(drawn: Drawn, tally: Counter[str]) -> list[str]:
    """Every operator's output in every runtime that takes the model; a line for each tensor that differs."""
    content = drawn.model.to_bytes()
    tally["models"] += 1
    try:
        model = load_tflite(content)
    except TFLiteError:
        # Only what the target refuses too.
        with pytest.raises(Refused):
            runtimes.run("tflm", content, drawn.inputs)
        tally["everybody refused"] += 1
        return []
    wrong = []
    for name in runtimes.comparable_runtimes():
        if name not in drawn.runtimes:
            continue
        try:
            theirs = runtimes.run(name, content, drawn.inputs)
        except Refused:
            tally[f"{name} refused"] += 1
            continue
        ours = trace(model, list(drawn.inputs), name)
        if ours is None:
            tally[f"{name} inexact"] += 1
            continue
        for tensor, expected in theirs.items():
            tally[f"{name} bytes"] += expected.nbytes
            if differing := differing_bytes(ours[tensor], expected):
                tally[f"{name} differing"] += differing
                difference = first_difference(ours[tensor], expected)
                wrong.append(f"{drawn.label}, {name}, {tensor}: {difference}\n{described(drawn, tensor)}")
    return wrong


def trace(model: IntegerModel, inputs: list[np.ndarray], dialect: str) -> dict[str, np.ndarray] | None:
    """Our own intermediates; None where we say ourselves that they are not exact."""
    try:
        return model.trace(inputs, dialect=dialect, strict=True)
    except ValueError as error:
        if "strict=True" not in str(error):
            raise
    with pytest.warns(InexactDialectWarning):
        model.trace(inputs, dialect=dialect)
    return None


def described(drawn: Drawn, tensor: str) -> str:
    """The call that made a tensor, with everything it reads."""
    call = next(call for call in drawn.model.calls if call.output == tensor)
    parts = [drawn.model.tensor(name) for name in (*call.inputs, tensor) if name]
    lines = [f"  {t.name} {t.shape} scale {t.scale} zero point {t.zero_point}" for t in parts]
    return "\n".join([f"  {call.op} {dict(call.options)}", *lines])


@pytest.mark.parametrize("kind", KINDS)
def test_random_models_give_the_bytes_of_the_real_runtimes(kind: str, tally: Counter[str]) -> None:
    share = max(12, -(-ASKED // len(KINDS)))
    wrong: list[str] = []
    for seed in range(FIRST_SEED, FIRST_SEED + share):
        wrong += compare(draw(kind, seed), tally)
    assert not wrong, f"{len(wrong)} tensors differ, of them:\n" + "\n".join(wrong[:5])


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_of_a_real_model_is_the_real_runtimes(name: str, models_dir: Path, tally: Counter[str]) -> None:
    """One realistic input and one of noise; XNNPACK's intermediates too, which the recorded answers do not have."""
    content = runtimes.with_valid_axes((models_dir / f"{name}.tflite").read_bytes())
    model = load_tflite(content)
    with np.load(models_dir / f"{name}.golden.npz", allow_pickle=False) as recorded:
        inputs = recorded["x"][[0, -2]]
    wrong = []
    for x in inputs:
        for runtime in runtimes.comparable_runtimes():
            theirs = runtimes.run(runtime, content, [x])
            ours = model.trace(x, dialect=runtime, strict=True)
            for tensor, expected in theirs.items():
                if not np.array_equal(ours[tensor], expected):
                    wrong.append(f"{runtime}, {tensor}: {first_difference(ours[tensor], expected)}")
    assert not wrong, "\n".join(wrong[:5])


def in_one_row_of_ties(op: str, cells: int) -> Model:
    """A model of `cells` channels, every one of which is -0.5 before it is rounded."""
    x, y = Tensor("x", (1, 1, 1, cells), scale=1.0), Tensor("y", (1, 1, 1, cells), scale=2.0)
    constants: tuple[Tensor, ...] = ()
    options: dict[str, object] = {}
    if op in ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_2D"):
        # A sum of -2 times 1/4: the bias is the sum.
        inputs = 1 if op != "DEPTHWISE_CONV_2D" else cells
        x, y = Tensor("x", (1, 1, 1, inputs), scale=1.0), Tensor("y", (1, 1, 1, cells), scale=4.0)
        weight = np.zeros((1, 1, 1, cells) if op == "DEPTHWISE_CONV_2D" else (cells, 1, 1, 1), np.int8)
        constants = (
            Tensor("weight", weight.shape, scale=1.0, data=weight),
            Tensor("bias", (cells,), "int32", scale=1.0, data=np.full(cells, -2, np.int32)),
        )
        options = {"padding": "valid", "stride": (1, 1), "activation": "none"}
    names = ("x", *(tensor.name for tensor in constants))
    if op == "DEPTHWISE_CONV_2D":
        options |= {"dilation": (1, 1), "depth_multiplier": 1}
    elif op == "CONV_2D":
        options |= {"dilation": (1, 1)}
    elif op == "TRANSPOSE_CONV":
        constants += (Tensor("size", (4,), "int32", data=np.array([1, 1, 1, cells], np.int32)),)
        names = ("size", "weight", "x", "bias")
    elif op == "MEAN":
        # Four cells of -1, -1, 0, 0 at equal scales.
        x, y = Tensor("x", (1, 2, 2, cells), scale=1.0), Tensor("y", (1, 1, 1, cells), scale=1.0)
        constants, names = (Tensor("axes", (2,), "int32", data=np.array([1, 2], np.int32)),), ("x", "axes")
        options = {"keep_dims": True}
    elif op == "QUANTIZE":
        x = Tensor("x", x.shape, "float32")
    elif op == "REQUANTIZE":
        # A code of -2 times 1/4; times 1/2 there would be no second rounding.
        y = Tensor("y", y.shape, scale=4.0)
    elif op == "DEQUANTIZE":
        x, y = Tensor("x", x.shape, scale=0.1, zero_point=77), Tensor("y", x.shape, "float32")
    kind = "QUANTIZE" if op == "REQUANTIZE" else op
    return Model((x, *constants, y), (Call(kind, names, "y", options),), ("x",), ("y",))


@pytest.mark.parametrize("cells", [3, 8, 13, 16, 27, 40])
@pytest.mark.parametrize(
    "op", ["CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "MEAN", "QUANTIZE", "REQUANTIZE", "DEQUANTIZE"]
)
def test_full_vectors_and_remainders_of_a_loop_round_as_the_fast_kernels_do(op: str, cells: int, tally: Counter[str]) -> None:
    """Every cell is the same tie, so the output itself shows where a kernel's vector loop ends."""
    model = in_one_row_of_ties(op, cells)
    code = {"DEQUANTIZE": 127, "REQUANTIZE": -2}.get(op, -1)
    x = np.full(model.tensors[0].shape, code, np.float32 if op == "QUANTIZE" else np.int8)
    if op == "MEAN":
        x[:, 1] = 0
    assert compare(Drawn(f"{op} of {cells}", model, (x,), RUNTIMES), tally) == []


BELOW = 1 - 2.0**-23
"""The next float32 below 1."""


SMALL = (2.0**-11, 2.0**-10 * BELOW, 2.0**-10, 2.0**-9)


@pytest.mark.parametrize("op", ["ADD", "SUB"])
@pytest.mark.parametrize("ratios", [(0.5, small) for small in SMALL] + [(255.9, 0.5), (256.0, 0.5)])
def test_sums_near_the_limits_of_xnnpack(op: str, ratios: tuple[float, float], tally: Counter[str]) -> None:
    """Input scales over the output's; beyond the limits LiteRT's fast kernel does it, with other ties.

    All codes of one input meet real 0 and one step of the other.
    """
    zero = (3, -5)
    tensors = [Tensor(name, (1, 2, 256), scale=np.float32(r), zero_point=z) for name, r, z in zip("ab", ratios, zero)]
    a = np.tile(np.arange(-128, 128), 2).astype(np.int8).reshape(1, 2, 256)
    b = np.repeat([-5, -4], 256).astype(np.int8).reshape(1, 2, 256)
    if ratios[0] > 100:
        # Near zero, or the fast ADD would wrap.
        a = np.clip(a, 0, 6)
    output = Tensor("y", (1, 2, 256), scale=1.0, zero_point=7)
    model = Model((*tensors, output), (Call(op, ("a", "b"), "y", {"activation": "none"}),), ("a", "b"), ("y",))
    assert compare(Drawn(f"{op} {ratios}", model, (a, b), RUNTIMES), tally) == []


@pytest.mark.parametrize("alpha", [None, 2.0**-12, 0.003, 2.0**-8, 0.3, -0.4, -0.003, 1.7])
@pytest.mark.parametrize("ratio", [2.0**-9 * 1.3, 2.0**-8 * BELOW, 2.0**-8, 0.7, 1.0, 15.9, 128.0, 129.0])
def test_rescaling_near_the_limits_of_xnnpack(ratio: float, alpha: float | None, tally: Counter[str]) -> None:
    """int8 QUANTIZE (alpha None) and LEAKY_RELU over all codes, on both sides of 2**-8 and 2**7."""
    x = np.arange(-128, 128).astype(np.int8)[None]
    tensors = (
        Tensor("x", x.shape, scale=np.float32(ratio / 2), zero_point=3),
        Tensor("y", x.shape, scale=0.5, zero_point=7),
    )
    options = {} if alpha is None else {"alpha": float(np.float32(alpha))}
    call = Call("QUANTIZE" if alpha is None else "LEAKY_RELU", ("x",), "y", options)
    model = Model(tensors, (call,), ("x",), ("y",))
    assert compare(Drawn(f"{call.op} {ratio} {alpha}", model, (x,), RUNTIMES), tally) == []


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_product_of_scales_rounded_to_float32_shows_at_a_tie(per_channel: bool, tally: Counter[str]) -> None:
    """The output scale is float32(S_x * S_w) * 2**24, so that odd multiples of 2**23 are ties for who rounds the product, and for
    nobody else; large enough for the 2**-26 between the two to reach the first rounding."""
    scale = np.float32(0.1)
    bias = (np.arange(-255, 256, 2) * 2**23).clip(-(2**31) + 1, 2**31 - 1).astype(np.int32)
    count = len(bias)
    weight = np.zeros((count, 1), np.int8)
    tensors = (
        Tensor("x", (1, 1), scale=scale),
        Tensor("w", weight.shape, scale=np.full(count, scale) if per_channel else scale, data=weight),
        Tensor("b", (count,), "int32", scale=np.full(count, scale * scale) if per_channel else scale * scale, data=bias),
        Tensor("y", (1, count), scale=scale * scale * np.float32(2**24), zero_point=1),
    )
    call = Call("FULLY_CONNECTED", ("x", "w", "b"), "y", {"activation": "none", "keep_num_dims": False})
    model = Model(tensors, (call,), ("x",), ("y",))
    assert compare(Drawn("FULLY_CONNECTED", model, (np.zeros((1, 1), np.int8),), RUNTIMES), tally) == []


# ---------------------------------------------------------------------------------------------------------------
# Would it notice?


def test_the_drawn_models_tell_the_dialects_apart() -> None:
    """In the default run the four runtimes themselves disagree: were they all alike, three dialects would go untested."""
    names = runtimes.comparable_runtimes()
    disagreements: Counter[tuple[str, str]] = Counter()
    for kind in ("CONV_2D", "FULLY_CONNECTED", "RELU6", "ADD"):
        for seed in range(12):
            drawn = draw(kind, seed)
            content = drawn.model.to_bytes()
            answers = {n: runtimes.run(n, content, drawn.inputs)[drawn.model.outputs[0]] for n in names if n in drawn.runtimes}
            for i, a in enumerate(names):
                for b in names[i + 1 :]:
                    if a in answers and b in answers:
                        disagreements[a, b] += int(not np.array_equal(answers[a], answers[b]))
    assert all(disagreements[a, b] for i, a in enumerate(names) for b in names[i + 1 :]), disagreements


def test_a_single_wrong_code_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One code off by one, in one tensor of a network, and the comparison names the dialect and the place."""
    drawn = draw_network(0)
    victim = drawn.model.calls[1].output
    true_trace = IntegerModel.trace

    def false_trace(self: IntegerModel, codes: object, *, dialect: str = "tflm", strict: bool = False) -> dict[str, np.ndarray]:
        found = true_trace(self, codes, dialect=dialect, strict=strict)  # type: ignore[arg-type]
        if dialect == "litert_ref":
            found[victim].flat[-1] ^= 1
        return found

    monkeypatch.setattr(IntegerModel, "trace", false_trace)
    counts: Counter[str] = Counter()
    wrong = compare(drawn, counts)
    assert len(wrong) == 1 and f"litert_ref, {victim}: 1 of" in wrong[0]
    assert counts["litert_ref differing"] == 1 and counts["tflm differing"] == 0


def test_a_sum_beyond_16_bits_wraps_in_the_fast_kernel_and_is_left_out() -> None:
    """Why ADD is called inexact in litert_opt: the real answer for a large positive sum is the lowest code."""
    x = np.full((1, 16), 127, np.int8)
    tensors = (Tensor("x", (1, 16), scale=256.0), Tensor("y", (1, 16), scale=1.0))
    model = Model(tensors, (Call("ADD", ("x", "x"), "y", {"activation": "none"}),), ("x",), ("y",))
    content = model.to_bytes()
    real = runtimes.run("litert_opt", content, [x])["y"]
    assert set(real.ravel().tolist()) == {-128} and 2 * 127 * 256 > 2**15
    counts: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compare(Drawn("steep", model, (x,), RUNTIMES), counts) == []
    assert counts["litert_opt inexact"] == ("litert_opt" in runtimes.comparable_runtimes())
    assert counts["litert_ref bytes"] == 16


def test_a_model_that_a_runtime_does_not_take_is_refused_and_not_compared() -> None:
    """TFLite Micro has no RELU_N1_TO_1."""
    tensors = (Tensor("x", (1, 4), scale=1.0), Tensor("y", (1, 4), scale=1.0))
    model = Model(tensors, (Call("RELU_N1_TO_1", ("x",), "y"),), ("x",), ("y",))
    with pytest.raises(Refused):
        runtimes.run("tflm", model.to_bytes(), [np.zeros((1, 4), np.int8)])
