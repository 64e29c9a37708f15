"""Five real int8 models against what TFLite Micro made of them: 0 differing bytes at every recorded tensor.

The models and the recorded checksums are not part of the repository (see `models_dir` in conftest.py).
"""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flatbuffers", reason="flatbuffers is not installed (extra `tflite`)")

import runtimes
from interop_cases import differences

from tinyquant.integer.model import IntegerModel
from tinyquant.interop import load, load_tflite, tflite_bytes
from tinyquant.interop.tflite_file import TFLiteFile

NAMES = ("hello_world_int8", "micro_speech_quantized", "ad01_int8", "pretrainedResnet_quant", "person_detect")


def golden(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Inputs, outputs and checksums recorded for a model."""
    with np.load(folder / f"{name}.golden.npz", allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_has_the_recorded_bytes(name: str, models_dir: Path) -> None:
    """All 8 inputs, real and extreme, at every operator."""
    model, recorded = load_tflite(models_dir / f"{name}.tflite"), golden(models_dir, name)
    nodes = [node.name for node in model.graph if node.op != "CONSTANT"]
    assert [model.graph.node(node).op for node in nodes] == recorded["op_name"].tolist()
    wrong = []
    for i, x in enumerate(recorded["x"]):
        trace = model.trace(x)
        sums = [zlib.crc32(trace[node].tobytes()) for node in nodes]
        wrong += [(i, node) for node, ours, theirs in zip(nodes, sums, recorded["crc32_tflm"][i], strict=True) if ours != theirs]
        assert trace[model.outputs[0].name].tobytes() == recorded["output_tflm"][i].tobytes()
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_nodes_are_named_by_the_recorded_output_tensors(name: str, models_dir: Path) -> None:
    data = (models_dir / f"{name}.tflite").read_bytes()
    file = TFLiteFile(data)
    names = [file.tensor(int(i)).name for i in golden(models_dir, name)["op_output_tensor"]]
    assert [node.name for node in load_tflite(data).graph] == names


@pytest.mark.parametrize("name", NAMES)
def test_loading_takes_a_fraction_of_a_second(name: str, models_dir: Path) -> None:
    """The best of three, so that a busy machine does not count."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        load_tflite(models_dir / f"{name}.tflite")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_written_and_read_again_it_is_the_same_model(name: str, models_dir: Path, tmp_path: Path) -> None:
    model = load_tflite(models_dir / f"{name}.tflite")
    data = tflite_bytes(model)
    again = load_tflite(data)
    assert differences(model.graph, again.graph) == []
    assert tflite_bytes(again) == data
    model.save(tmp_path / "m.npz")
    loaded = load(tmp_path / "m.npz")
    assert isinstance(loaded, IntegerModel) and differences(model.graph, loaded.graph) == []
    assert loaded.nbytes == model.nbytes
    x = golden(models_dir, name)["x"][0]
    assert loaded.run(x).tobytes() == again.run(x).tobytes() == golden(models_dir, name)["output_tflm"][0].tobytes()


@pytest.mark.conformance
@pytest.mark.parametrize("runtime", runtimes.RUNTIMES)
@pytest.mark.parametrize("name", NAMES)
def test_the_written_model_gives_the_recorded_bytes_in_the_real_runtime(name: str, runtime: str, models_dir: Path) -> None:
    runtimes.require_runtimes()
    model, recorded = load_tflite(models_dir / f"{name}.tflite"), golden(models_dir, name)
    data = tflite_bytes(model)
    wanted = recorded[f"output_{'litert_' if runtime == 'xnnpack' else ''}{runtime}"]
    for x, y in zip(recorded["x"][:3], wanted[:3], strict=True):
        got = runtimes.run(runtime, data, [x])[model.outputs[0].name]
        assert got.shape == y.shape
        # The answers of the two fast back ends were recorded on AVX-512.
        assert runtime not in runtimes.comparable_runtimes() or got.tobytes() == y.tobytes()
