"""Bytes of every tensor, multiplications by precision, the file, and numpy's time by a stopwatch that is held."""

from __future__ import annotations

import json

import numpy as np
import pytest
from analysis_networks import NETWORKS, digits, one_node, three, trained

from tinyquant.analysis.cost import cost
from tinyquant.analysis.footprint import footprint, macs_by_precision
from tinyquant.analysis.latency import latency
from tinyquant.analysis.mixed_precision import parameter_bytes
from tinyquant.graph import count_macs
from tinyquant.numerics.affine import quantize
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.capture import capture
from tinyquant.quantization.convert import convert
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8


@pytest.mark.parametrize("name", NETWORKS)
def test_the_bytes_of_the_parameters_are_the_models_and_packed_they_are_the_budgets(name):
    _, fq, m = three(name, 4)
    found = footprint(m)
    assert sum(t.nbytes for t in found.tensors if t.kind != "activation") == m.nbytes
    assert sum(t.packed for t in found.tensors if t.kind != "activation") == parameter_bytes(fq)
    assert found.cost == cost(m)
    activations = {t.name: t.nbytes for t in found.tensors if t.kind == "activation"}
    assert activations == {v.name: int(np.prod(v.shape)) for v in (*m.inputs, *(m.graph.value(n.name) for n in m.graph))}


def test_multiplications_are_sorted_by_the_bits_of_both_factors():
    model, seen = trained("resnet")
    scheme = TFLITE_INT8.annotate("block1.*", weight_bits=4).annotate("head", weight_bits=2)
    m = convert(quantize_model(model, seen, scheme=scheme))
    macs = count_macs(m.graph)
    four = macs["block1.conv1"] + macs["block1.conv2"]
    assert macs_by_precision(m.graph) == {
        "int8 x int8": sum(macs.values()) - four - macs["head"], "int8 x int4": four, "int8 x int2": macs["head"]
    }  # fmt: skip
    graph = capture(model, digits()[2][:1])
    assert macs_by_precision(graph) == {"float32 x float32": sum(count_macs(graph).values())}


@pytest.mark.parametrize(("ends", "bits"), [((-8, 7), 4), ((-7, 7), 4), ((-128, 127), 8), ((0, 1), 1), ((-2, 2), 3)])
def test_bits_are_what_the_codes_need_whether_the_range_is_narrow_or_full(ends, bits):
    m = one_node("RELU", (1, 2), {"x": ((1, 2), QParams(1.0, 0, *ends))}, QParams(1.0, 0, *ends))
    assert [t.bits for t in footprint(m).tensors] == [bits, bits]


def test_a_float_graph_has_no_file_and_its_batch_norms_are_listed():
    model, _ = trained("resnet")
    found = footprint(capture(model, digits()[2][:1]))
    assert found.files == {} and {"weight", "batch norm", "activation"} <= {t.kind for t in found.tensors}
    assert all(t.bits == 32 and t.packed == t.nbytes for t in found.tensors)


def test_the_files_are_as_large_as_they_are_on_disk(tmp_path):
    _, _, m = three("mlp")
    m.save(tmp_path / "m.npz")
    found = footprint(m)
    assert found.files["npz"] == (tmp_path / "m.npz").stat().st_size > m.nbytes
    if "tflite" in found.files:
        m.save_tflite(tmp_path / "m.tflite")
        assert found.files["tflite"] == (tmp_path / "m.tflite").stat().st_size


def test_the_table_is_ascii_and_fits_eighty_columns_and_the_report_is_data():
    found = footprint(three("mobilenet", 4)[2])
    assert str(found).isascii() and max(map(len, str(found).splitlines())) <= 80
    assert json.loads(json.dumps(found.to_dict()))["macs"] == found.macs


class HeldClock:
    """Shows 3 ms more each time it is looked at."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 0.003
        return self.now


def test_latency_is_the_median_of_the_stopwatch_and_is_named_numpys():
    _, _, m = three("mlp")
    codes = quantize(digits()[2][:7], m.inputs[0].qparams)
    found = latency(m, codes, repeats=3, clock=HeldClock())
    assert [node.name for node in found.nodes] == [node.name for node in m.graph]
    assert all(node.ms == pytest.approx(3.0) for node in found.nodes) and found.engines.keys() == {"reference", "auto"}
    assert found.rows == 7 and {n.name: n.macs for n in found.nodes} == count_macs(m.graph)
    assert str(found).startswith("numpy ms, not a device") and str(found).isascii()
    assert json.loads(json.dumps(found.to_dict()))["unit"] == "numpy ms, not a device"
    real = latency(m, codes, repeats=1)
    assert all(node.ms > 0 for node in real.nodes)


def test_latency_refuses_what_it_cannot_time():
    model, _, m = three("mlp")
    codes = quantize(digits()[2][:1], m.inputs[0].qparams)
    with pytest.raises(TypeError, match="must be an IntegerModel, got Sequential"):
        latency(model, codes)
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        latency(m, codes, repeats=0)
    with pytest.raises(TypeError, match="network must be a Graph or an IntegerModel"):
        footprint(model)
