"""The C writer: compiled with every warning an error and stopped at undefined behaviour, it gives the bytes of `run`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from c_programs import STRICT, compiled, compiler, differing, outputs_of, sanitizers, words_of
from golden_cases import GOLDEN, golden_case, golden_names
from hypothesis import HealthCheck, Phase, given, settings
from integer_strategies import GROW, Drawn, networks, one_node_graphs
from interop_cases import HALF, Sketchbook, small_model

from tinyquant import data, models
from tinyquant.graph import OPS, Graph, Node, Value
from tinyquant.integer import IntegerModel
from tinyquant.interop import load_tflite
from tinyquant.interop.c_memory import plan_memory
from tinyquant.interop.c_nodes import FAMILIES, MOST_CLASSES, refusals
from tinyquant.interop.c_writer import KERNELS, c_sources, kernel_sources, save_c
from tinyquant.numerics.affine import quantize
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.prepare import quantize_model

INT8 = np.dtype(np.int8)
CODES = QParams(1 / 256, -128)
MODELS = ("hello_world_int8", "micro_speech_quantized", "ad01_int8", "pretrainedResnet_quant", "person_detect")


def drawn(strategy, count: int) -> list[Drawn]:
    """So many examples of a strategy: they are compiled together, so they cannot be tried one by one."""
    found: list[Drawn] = []

    @settings(max_examples=count, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(example: Drawn) -> None:
        found.append(example)

    collect()
    return found


def runnable(examples: list[Drawn]) -> list[tuple[Graph, list[np.ndarray]]]:
    """The examples that C takes and that were drawn with inputs."""
    return [(d.graph, d.arrays) for d in examples if not refusals(d.graph)]


def softmax_of(classes: int) -> Graph:
    """A softmax and nothing else."""
    node = Node("p", "SOFTMAX", ("x",), (1, classes), {}, qparams=CODES, dtype=INT8)
    return Graph((Value("x", (1, classes), INT8, QParams(0.5, 0)),), (node,), ("p",))


# ------------------------------------------------------------------------------------------------ the same bytes


def test_reference_networks_compiled_give_the_same_bytes(tmp_path: Path) -> None:
    """Real digits and random codes through the three committed checkpoints, with and without a softmax."""
    (x, _), (xt, _) = data.digits(split=0)
    cases = []
    for name in ("mlp", "resnet", "mobilenet"):
        model = models.load_checkpoint(name)
        fq = quantize_model(model, calibrate(model, x[:256]))
        for m in (convert(fq), convert(fq, softmax=True)):
            noise = np.random.default_rng(1).integers(-128, 128, (10, *m.inputs[0].shape[1:])).astype(np.int8)
            cases.append((m.graph, [np.concatenate([quantize(xt[:10], m.inputs[0].qparams), noise])]))
    assert differing(cases, tmp_path) == []


def test_golden_cases_compiled_give_the_bytes_of_the_real_kernels(tmp_path: Path) -> None:
    """Every case without reals, sums that overflow int32 included; against the recorded bytes, not our own."""
    cases = [case for case in map(golden_case, golden_names()) if not refusals(case.graph)]
    assert len(cases) >= 160 and {node.op for case in cases for node in case.graph} == set(GROW)
    got = outputs_of([(case.graph, case.inputs) for case in cases], tmp_path)
    wrong = [case.name for case, (y,) in zip(cases, got, strict=True) if y.tobytes() != case.expected.tobytes()]
    assert wrong == []


def test_drawn_operators_compiled_give_the_same_bytes(tmp_path: Path) -> None:
    """Five graphs of every operator, wild settings."""
    cases = runnable([example for op in GROW for example in drawn(one_node_graphs(op), 5)])
    assert {node.op for graph, _ in cases for node in graph} >= set(GROW)
    assert differing(cases, tmp_path) == []


def test_drawn_networks_compiled_give_the_same_bytes(tmp_path: Path) -> None:
    """Graphs of several operators, values read twice, two outputs: what the memory plan must get right."""
    cases = runnable(drawn(networks(), 60))
    assert len(cases) >= 40
    assert differing(cases, tmp_path) == []


def test_real_models_compiled_give_the_same_bytes(models_dir: Path, tmp_path: Path) -> None:
    cases = []
    for name in MODELS:
        m = load_tflite(models_dir / f"{name}.tflite")
        shape = m.inputs[0].shape
        cases.append((m.graph, [np.random.default_rng(2).integers(-128, 128, (2 * shape[0], *shape[1:])).astype(np.int8)]))
    assert differing(cases, tmp_path, MODELS) == []


def test_the_fixed_point_functions_are_the_recorded_ones_bit_for_bit(tmp_path: Path) -> None:
    """Raw int32 in, raw int32 out: an 8-bit result would hide a wrong low bit."""
    with np.load(GOLDEN / "scalar.npz", allow_pickle=False) as archive:
        recorded = {key: archive[key] for key in archive.files}
    table = {
        "tq_rescale(a, b, c)": ("mbqm_x", "mbqm_multiplier", "mbqm_shift", "mbqm_result"),
        "tq_rounding_shift(a, b)": ("rdivpot_x", "rdivpot_exponent", "rdivpot_result"),
        "tq_high_mul(a, b)": ("srdhm_a", "srdhm_b", "srdhm_result"),
        "tq_exp_negative(a, 5)": ("exp_q5_26", "exp_result_q0_31"),
        "tq_logistic_of(a)": ("logistic_q4_27", "logistic_result_q0_31"),
        "tq_tanh_of(a)": ("tanh_q4_27", "tanh_result_q0_31"),
        "tq_saturate((int64_t)tq_newton_reciprocal(a) * 2)": ("reciprocal_x_q0_31", "reciprocal_result_q0_31"),
    }
    got = words_of([(call, [recorded[key] for key in keys[:-1]]) for call, keys in table.items()], tmp_path)
    assert [call for (call, keys), y in zip(table.items(), got, strict=True) if not np.array_equal(y, recorded[keys[-1]])] == []


def test_every_code_through_the_functions_of_one_code(tmp_path: Path) -> None:
    """LOGISTIC, TANH, LEAKY_RELU and a rescaling over all 256 codes, at fine and at coarse scales."""
    every = np.arange(-128, 128).astype(np.int8).reshape(1, 256)
    cases = []
    for scale in (2.0**-10, 0.03, 0.5, 3.9, 4.5, 15.0):
        for op, qparams in (("LOGISTIC", CODES), ("TANH", QParams(1 / 128, 0)), ("LEAKY_RELU", HALF), ("QUANTIZE", HALF)):
            value = Value("x", (1, 256), INT8, QParams(scale, 17))
            attrs = {"alpha": -0.3} if op == "LEAKY_RELU" else {}
            cases.append((Graph((value,), (Node("y", op, ("x",), (1, 256), attrs, {}, qparams, {}, INT8),), ("y",)), [every]))
    assert differing(cases, tmp_path) == []


def test_equal_logits_of_the_most_classes_do_not_overflow(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = np.stack([np.zeros(MOST_CLASSES), np.full(MOST_CLASSES, -128), rng.integers(-128, 128, MOST_CLASSES)]).astype(np.int8)
    assert differing([(softmax_of(MOST_CLASSES), [rows])], tmp_path) == []


def test_outputs_that_are_inputs_constants_or_twice_the_same(tmp_path: Path) -> None:
    """What no node writes to the caller is copied; an output may be read by a later node."""
    book = Sketchbook()
    x = book.input("x", (1, 4))
    c = book.node("c", "CONSTANT", (), (1, 4), value=np.array([[1, -2, 3, -128]], np.int8))
    a = book.node("a", "ADD", (x, c), (1, 4))
    b = book.node("b", "RELU", (a,), (1, 4))
    book.node("nobody reads this", "RELU", (b,), (1, 4))
    cases = [(book.graph(a, x, c, b, a), [np.array([[5, 6, -7, 127]], np.int8)])]
    cases.append((Graph(tuple(book.values), (), ("x",)), [np.array([[5, 6, -7, 127]], np.int8)]))
    assert differing(cases, tmp_path) == []


# --------------------------------------------------------------------------------------------------- the project


def sketch() -> IntegerModel:
    """Awkward names, two inputs, several operators."""
    book = Sketchbook()
    x, y = book.input("x*/\\\n??/", (1, 2, 2, 2)), book.input("x__1", (1, 2))
    conv = book.node("/*1;\u00e9", "CONV_2D", (x,), (1, 1, 1, 2), weight=book.weight(2, 2, 2, 2),
                     bias=np.array([-(2**31), 2**31 - 1], np.int32), weight_qp=book.scales(2, 0))  # fmt: skip
    flat = book.node("int", "RESHAPE", (conv,), (1, 2), new_shape=(1, 2))
    both = book.node("int_", "CONCATENATION", (flat, y), (1, 4), axis=1)
    return IntegerModel(book.graph(both))


def test_the_example_is_built_by_make_and_runs(tmp_path: Path) -> None:
    """Codes as text on standard input, several runs; names that are no C names, and a directory with none."""
    m, folder = sketch(), tmp_path / "7 nets-\u00e9"
    m.save_c(folder)
    flags = " ".join(["-Wshadow -Werror -pedantic", *sanitizers(tmp_path)])
    command = ["make", f"CC={compiler()}", f"CFLAGS={' '.join(STRICT)} {flags}", "-s"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("the example is built by its Makefile: no make is on this machine")
    assert done.returncode == 0, done.stderr
    rng = np.random.default_rng(3)
    x, y = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((3, 2, 2, 2), (3, 2)))
    given = "\n".join(" ".join(map(str, [*x[i].ravel(), *y[i].ravel()])) for i in range(3))
    done = subprocess.run([folder / "example"], input=given, capture_output=True, text=True)
    got = np.array([line.split() for line in done.stdout.splitlines()], np.int64)
    assert np.array_equal(got, m.run([x, y]))
    assert "void m7_nets_run(const int8_t *input0, const int8_t *input1, int8_t *output);" in (folder / "model.h").read_text()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_kernels_compiles_with_what_it_says_it_needs(family: str, tmp_path: Path) -> None:
    """A project holds only the kernels it uses, so an unnamed dependency would not link; checked by compiling alone."""
    needed = [name for name in FAMILIES if name == family or name in FAMILIES[family]]
    for name, text in kernel_sources(needed).items():
        (tmp_path / name).write_text(text)
    compiled(["-Wconversion", "-Wno-sign-conversion", "-c", "kernels.c"], tmp_path)


def test_no_float_no_heap_and_no_other_library_at_run_time() -> None:
    """The sources of the network include stdint and string alone and name no type or function of the others."""
    sources = c_sources(sketch(), "net")
    assert "(-2147483647 - 1), 2147483647" in sources["model_data.c"]  # -2147483648 would be a wider type
    for name in ("model.c", "model_data.c", "model_data.h", "kernels.c", "kernels.h"):
        included = {line.split()[1] for line in sources[name].splitlines() if line.startswith("#include")}
        assert included <= {"<stdint.h>", "<string.h>", '"kernels.h"', '"model.h"', '"model_data.h"'}
    kernels = "".join(path.read_text() for path in sorted(KERNELS.iterdir()))
    code = " ".join(part.partition("*/")[2] for part in kernels.split("/*"))
    for word in ("float", "double", "malloc", "free", ".5", "math"):
        assert word not in code


def test_the_same_model_gives_the_same_text_and_only_kernels_it_uses() -> None:
    sources = c_sources(IntegerModel(softmax_of(3)), "net")
    assert sources == c_sources(IntegerModel(softmax_of(3)), "net")
    assert "tq_softmax" in sources["kernels.h"] and "tq_conv_2d" not in sources["kernels.h"]
    assert all(text.isascii() for text in sources.values())


def test_scales_and_zero_points_stand_in_the_header() -> None:
    header = c_sources(IntegerModel(softmax_of(3)), "net")["model.h"]
    for line in ("NET_INPUT_SIZE 3", "NET_INPUT_SCALE 0.5f", "NET_OUTPUT_SCALE 0.00390625f", "NET_OUTPUT_ZERO_POINT (-128)"):
        assert f"#define {line}\n" in header


def test_scales_that_look_whole_are_still_float_literals() -> None:
    node = Node("y", "RELU", ("x",), (1, 1), qparams=QParams(2, 0), dtype=INT8)
    graph = Graph((Value("x", (1, 1), INT8, QParams(2.0**-40, 0)),), (node,), ("y",))
    header = c_sources(IntegerModel(graph))["model.h"]
    assert "MODEL_INPUT_SCALE 9.09494702e-13f\n" in header and "MODEL_OUTPUT_SCALE 2.0f\n" in header


def test_other_files_of_the_directory_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    (folder / "model.c").write_text("old")
    IntegerModel(softmax_of(3)).save_c(folder)
    names = {"model.h", "model.c", "model_data.h", "model_data.c", "kernels.h", "kernels.c", "main.c", "Makefile"}
    assert {path.name for path in folder.iterdir()} == names | {"mine.txt"}
    assert (folder / "mine.txt").read_text() == "mine" and "net_run" in (folder / "model.c").read_text()


# ------------------------------------------------------------------------------------------------------- refusals


def test_everything_that_c_cannot_run_is_named_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    m = IntegerModel(small_model())
    message = r"got input 'y/in' is float32, QUANTIZE 'y.codes' of float32, DEQUANTIZE 'reals'\. Feed codes"
    with pytest.raises(ValueError, match=message):
        save_c(m, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_softmax_whose_kernel_could_stop_the_program_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got SOFTMAX 'p' of 512 classes \(at most 511; take the argmax of the logits\)"):
        c_sources(IntegerModel(softmax_of(512)))


def test_windows_too_large_for_offsets_in_int32_are_refused() -> None:
    node = Node("pool", "MAX_POOL_2D", ("x",), (1, 1, 1, 1), {"filter": (1, 1), "stride": (2**31 - 1, 1), "padding": "same"}, {},
                HALF, {}, INT8)  # fmt: skip
    model = IntegerModel(Graph((Value("x", (1, 2, 1, 1), INT8, HALF),), (node,), ("pool",)))
    with pytest.raises(ValueError, match="got MAX_POOL_2D 'pool' with a window over more than 16777216 cells"):
        c_sources(model)


def test_every_integer_operator_is_written_or_refused() -> None:
    """A row added to the table of operators must be given to C, or to `refusals`."""
    refused = {op for op in OPS if OPS[op].integer and refusals(_bare(op))}
    assert refused == {"DEQUANTIZE"}


def _bare(op: str) -> Graph:
    """A graph that holds the operator, for the eyes of `refusals` alone."""
    required: dict[str, Callable] = {
        "filter": lambda: 1, "axis": lambda: 1, "paddings": lambda: ((0, 0),) * 4, "value": lambda: 0,
        "new_shape": lambda: (1, 1), "perm": lambda: (0,),
    }  # fmt: skip
    attrs = {key: required[key]() for key in OPS[op].attrs if key in required}
    params = {"weight": np.ones((1, 1, 1, 1), np.int8)} if "weight" in OPS[op].params else {}
    node = Node("y", op, ("x",) * OPS[op].arity[0], (1, 1, 1, 1), attrs, params, HALF, {}, INT8)
    return Graph((Value("x", (1, 1, 1, 1), INT8, HALF),), (node,), ("y",))


# --------------------------------------------------------------------------------------------------------- memory


def test_values_alive_at_the_same_time_never_share_bytes() -> None:
    """Checked against the definition, by walking along the graph: who is still to be read?"""
    for example in drawn(networks(12), 60):
        graph = example.graph
        plan = plan_memory(graph)
        for i, node in enumerate(graph):
            later = {name for reader in graph.nodes[i:] for name in reader.inputs}
            made = {earlier.name for earlier in graph.nodes[: i + 1]}
            alive = sorted((plan.offsets[n], n) for n in made & (later | {node.name}) if n in plan.offsets)
            ends = [start + int(np.prod(graph.node(name).shape)) for start, name in alive]
            assert all(end <= start for end, (start, _) in zip(ends, alive[1:]))
            assert not ends or ends[-1] <= plan.nbytes


def test_a_chain_needs_no_more_room_than_its_two_largest_neighbours() -> None:
    """Input and output belong to the caller; with less than this no order of buffers could do."""
    (x, _), _ = data.digits(split=0)
    model = models.load_checkpoint("mobilenet")
    graph = convert(quantize_model(model, calibrate(model, x[:64]))).graph
    sizes = [int(np.prod(node.shape)) for node in graph][:-1]
    assert plan_memory(graph).nbytes == max(a + b for a, b in zip(sizes, sizes[1:]))
