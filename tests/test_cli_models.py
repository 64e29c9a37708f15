"""The commands on model files: inspect, run, explain. Through `main`, once as a program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from integer_strategies import GROW, one_node_graphs

from tinyquant.analysis.cost import cost
from tinyquant.cli import main
from tinyquant.cli.inspect import model_table
from tinyquant.graph import Graph, Node, Value
from tinyquant.integer.model import IntegerModel
from tinyquant.interop import load_tflite, save_integer, write_archive
from tinyquant.numerics.affine import quantize
from tinyquant.numerics.qparams import QParams

INT8, FLOAT32 = np.dtype(np.int8), np.dtype(np.float32)
X, Y = QParams(0.5, -1), QParams(0.25, 10)


def two_layers() -> IntegerModel:
    """x [1, 2] -> conv-like names of a converter -> a relu; the first reads a weight for each of two channels."""
    params = {"weight": np.int8([[2, -1], [1, 1]]), "bias": np.int32([3, -4])}
    weight = {"weight": QParams([0.5, 0.125], 0, axis=0)}
    nodes = (
        Node(
            "net/act/Relu;net/dense/MatMul",
            "FULLY_CONNECTED",
            ("x",),
            (1, 2),
            params=params,
            qparams=Y,
            param_qparams=weight,
            dtype=INT8,
        ),
        Node("out", "RELU", ("net/act/Relu;net/dense/MatMul",), (1, 2), qparams=Y, dtype=INT8),
    )
    return IntegerModel(Graph((Value("x", (1, 2), INT8, X),), nodes, ("out",)))


def several() -> IntegerModel:
    """Two inputs, two outputs, and a tensor with the one name that numpy.savez cannot take."""
    nodes = (
        Node("file", "ADD", ("a", "b"), (1, 2), qparams=Y, dtype=INT8),
        Node("real", "DEQUANTIZE", ("file",), (1, 2), dtype=FLOAT32),
    )
    return IntegerModel(
        Graph((Value("a", (1, 2), INT8, X), Value("b", (1, 2), INT8, X)), nodes, ("file", "real"))
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a model and codes for it."""
    monkeypatch.chdir(tmp_path)
    save_integer(two_layers(), tmp_path / "model.npz")
    np.save(tmp_path / "x.npy", np.int8([[3, 4], [5, -7], [0, 0]]))
    return tmp_path


def listing(folder: Path) -> set[str]:
    """The files there are."""
    return {path.name for path in folder.iterdir()}


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one sentence on the error stream; exit code 3, nothing on the output."""
    assert main(argv) == 3
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("tinyquant: ") and err.count("\n") == 1
    return err


# ---------------------------------------------------------------------------------------------------------------
# run


def test_run_writes_the_codes_of_the_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "model.npz", "x.npy", "--out", "y.npy", "--trace", "t.npz"]) == 0
    m, x = two_layers(), np.load("x.npy")
    y = np.load("y.npy", allow_pickle=False)
    assert y.dtype == np.int8 and np.array_equal(y, m.run(x))
    with np.load("t.npz", allow_pickle=False) as trace:
        wanted = m.trace(x)
        assert list(trace.files) == list(wanted) and all(
            np.array_equal(trace[name], wanted[name]) for name in wanted
        )
    assert listing(folder) == {"model.npz", "x.npy", "y.npy", "t.npz"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model    model.npz: 2 nodes, engine reference, dialect tflm"
    assert lines[1] == "input    x: int8 [3, 2], as given"
    assert (
        lines[2]
        == f"output   out: int8 [3, 2], scale 0.25, zero point 10, begins {' '.join(map(str, y.ravel()))}"
    )
    assert lines[3] == f"top-1    rows 0 to 2 of 3: {' '.join(str(i) for i in y.argmax(1))}"
    assert lines[4:] == ["wrote    y.npy", "wrote    t.npz: 3 arrays"]


def test_run_takes_real_numbers_through_the_door(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.float32([[1.25, -0.75]])
    np.save("f.npy", x)
    assert main(["run", "model.npz", "f.npy", "--out", "y.npy", "--engine", "auto"]) == 0
    assert np.array_equal(np.load("y.npy"), two_layers().run(quantize(x, X)))
    assert "input    x: int8 [1, 2], quantized from float32" in capsys.readouterr().out


def test_run_takes_and_gives_several_arrays_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    m, codes = several(), {"b": np.int8([[1, 2]]), "a": np.int8([[3, 4]])}
    save_integer(m, "two.npz")
    np.savez("in.npz", **codes)
    assert main(["run", "two.npz", "in.npz", "--out", "out.npz"]) == 0
    with np.load("out.npz", allow_pickle=False) as found:
        assert found.files == ["file", "real"] and found["real"].dtype == np.float32
        assert all(np.array_equal(a, b) for a, b in zip((found["file"], found["real"]), m.run(codes)))
    out = capsys.readouterr().out
    assert "output   real: float32 [1, 2], begins " in out
    assert "must end in .npz for this model, got 'y.npy'" in refused(
        capsys, "run", "two.npz", "in.npz", "--out", "y.npy"
    )
    assert "must be an .npz file with the arrays a, b, got one array" in refused(
        capsys, "run", "two.npz", "x.npy"
    )


def test_run_without_files_to_write_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = listing(folder)
    assert main(["run", "model.npz", "x.npy", "--dialect", "litert_ref"]) == 0
    assert listing(folder) == before and "dialect litert_ref" in capsys.readouterr().out


def test_run_of_no_rows_is_no_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("none.npy", np.zeros((0, 2), np.int8))
    assert main(["run", "model.npz", "none.npy", "--out", "y.npy"]) == 0
    assert np.load("y.npy").shape == (0, 2) and "it is empty" in capsys.readouterr().out


def test_run_says_once_that_a_dialect_is_not_exact(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The fast ADD of LiteRT wraps far outside the codes; here it may."""
    wide, narrow = QParams(100.0, 0), QParams(0.25, 0)
    node = Node("sum", "ADD", ("x", "x"), (1, 2), qparams=narrow, dtype=INT8)
    save_integer(IntegerModel(Graph((Value("x", (1, 2), INT8, wide),), (node,), ("sum",))), "far.npz")
    assert main(["run", "far.npz", "x.npy", "--dialect", "litert_opt", "--trace", "t.npz"]) == 0
    assert capsys.readouterr().err.count("not reproduced byte for byte") == 1


# ---------------------------------------------------------------------------------------------------------------
# Bad files: one sentence, exit code 3, nothing written


def test_bad_inputs_are_one_sentence_and_leave_no_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "garbage.npy").write_bytes(b"nothing of the kind")
    (folder / "short.npy").write_bytes(Path("x.npy").read_bytes()[:-3])
    (folder / "empty.npz").write_bytes(b"")
    np.save("int64.npy", np.zeros((1, 2), np.int64))
    np.save("wide.npy", np.zeros((1, 3), np.int8))
    np.save("nan.npy", np.float32([[np.nan, 0]]))
    np.save("objects.npy", np.array([{}]), allow_pickle=True)
    before = listing(folder)
    for name, words in {
        "absent.npy": "INPUT must be a file, got 'absent.npy', which is not there",
        "garbage.npy": "INPUT must be a sound .npy or .npz file, got 'garbage.npy'",
        "short.npy": "INPUT must be a sound .npy or .npz file",
        "empty.npz": "INPUT must be a sound .npy or .npz file",
        "objects.npy": "INPUT must be a sound .npy or .npz file",
        "int64.npy": "INPUT must hold int8 codes or float32 numbers, got int64",
        "wide.npy": "must have shape",
        "nan.npy": "x must be finite, got NaN",
    }.items():
        assert words in refused(capsys, "run", "model.npz", name, "--out", "y.npy", "--trace", "t.npz")
        refused(capsys, "explain", "model.npz", name, "out", "0,0")
    assert listing(folder) == before


def test_bad_models_are_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.npz").write_bytes(Path("model.npz").read_bytes()[:200])
    (folder / "bad.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(60))
    write_archive("other.npz", "unheard_of", {}, {"x": np.arange(3)})
    for name, words in {
        "absent.tflite": "MODEL must be a file, got 'absent.tflite', which is not there",
        "x.npy": "MODEL must be a .tflite file or an .npz archive",
        "bad.npz": "bad.npz",
        "other.npz": "unheard_of",
    }.items():
        for command in (
            ["inspect", name],
            ["run", name, "x.npy", "--out", "y.npy"],
            ["explain", name, "x.npy", "out", "0,0"],
        ):
            assert words in refused(capsys, *command)
    assert "y.npy" not in listing(folder)
    pytest.importorskip("flatbuffers", reason="the real runtimes are not installed (extra `conformance`)")
    assert "bad.tflite" in refused(capsys, "inspect", "bad.tflite")


def test_files_are_written_all_or_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = listing(folder)
    assert "there must be a folder 'nowhere'" in refused(
        capsys, "run", "model.npz", "x.npy", "--out", "y.npy", "--trace", "nowhere/t.npz"
    )
    assert "must end in .npy for this model, got 'y.txt'" in refused(
        capsys, "run", "model.npz", "x.npy", "--out", "y.txt"
    )
    (folder / "taken.npy").mkdir()
    assert "got a folder" in refused(capsys, "run", "model.npz", "x.npy", "--out", "taken.npy")
    assert listing(folder) - {"taken.npy"} == before


def test_an_older_file_is_replaced_whole(folder: Path) -> None:
    Path("y.npy").write_bytes(b"old")
    assert main(["run", "model.npz", "x.npy", "--out", "y.npy"]) == 0
    assert np.load("y.npy").shape == (3, 2)


# ---------------------------------------------------------------------------------------------------------------
# explain


@pytest.mark.parametrize("node", ["net/act/Relu;net/dense/MatMul", "net/act/Relu", "net/dense/MatMul", "0"])
def test_explain_takes_a_name_a_part_of_a_joined_name_or_a_number(
    node: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "model.npz", "x.npy", node, "1,0"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("net/act/Relu;net/dense/MatMul[1, 0]") and "3. The multiplier" in out
    assert out.isascii() and max(map(len, out.splitlines())) <= 80


def test_explain_as_json_holds_the_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "model.npz", "x.npy", "out", "[2, 1]", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["op"], found["index"], found["code"]) == (
        "RELU",
        [2, 1],
        int(two_layers().run(np.load("x.npy"))[2, 1]),
    )


def test_explain_refuses_what_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "got 'ouch'. Near it: 'out'" in refused(capsys, "explain", "model.npz", "x.npy", "ouch", "0,0")
    assert "of shape (3, 2), got (3, 0)" in refused(capsys, "explain", "model.npz", "x.npy", "out", "3,0")
    assert "got '2'" in refused(capsys, "explain", "model.npz", "x.npy", "2", "0,0")


@pytest.mark.parametrize("index", ["zero", "0;1", "1.5", "0,,1", ",", "--"])
def test_an_index_of_something_else_is_wrong_usage(
    index: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["explain", "model.npz", "x.npy", "out", index])
    assert stop.value.code == 2 and "See tinyquant explain --help" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["inspect", "run", "explain"])
def test_every_command_helps_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"Example: tinyquant {command} model.tflite" in " ".join(capsys.readouterr().out.split())


# ---------------------------------------------------------------------------------------------------------------
# inspect


SMALL = """\
 #  name          op               reads  output  scale zero multiplier shift bytes MACs RAM
i0  x             input                   1x2       0.5   -1
 0  net/act/Relu  FULLY_CONNECTED  i0     1x2      0.25   10    0.25..1 -1..1    12    4   4
 1  out           RELU             0      1x2      0.25   10          1     1              4

2 nodes, declared batch 1, output: out
12 bytes of parameters, 4 multiply-accumulates a run
4 bytes of activations live at the peak, at node 0 (net/act/Relu;net/dense/MatMul)
"""


def test_inspect_prints_a_small_model_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "model.npz"]) == 0
    assert capsys.readouterr().out == SMALL
    assert main(["inspect", "model.npz", "--wide"]) == 0
    assert " net/act/Relu;net/dense/MatMul  FULLY_CONNECTED " in capsys.readouterr().out


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_model_fits_the_page_and_the_columns_stand(data: st.DataObject) -> None:
    m = IntegerModel(data.draw(one_node_graphs(data.draw(st.sampled_from(sorted(GROW))))).graph)
    table = model_table(m)
    lines = table.splitlines()
    assert max(map(len, lines)) <= 120 and table.isascii()
    assert len(lines) == 1 + len(m.inputs) + len(m.graph) + 4
    column = lines[0].index("op ")
    assert all(
        line[column - 1] == " " != line[column] for line in lines[1 : 1 + len(m.inputs) + len(m.graph)]
    )
    assert f"{cost(m).peak_bytes} bytes of activations live at the peak" in table


def test_names_from_a_file_are_printed_as_plain_ascii() -> None:
    node = Node("\x1b[31mred\n\xe9", "RELU", ("x",), (1, 2), qparams=Y, dtype=INT8)
    m = IntegerModel(Graph((Value("x", (1, 2), INT8, X),), (node,), (node.name,)))
    table = model_table(m)
    assert "\x1b" not in table and r"\x1b[31mred\n\xe9" in table and table.isascii()


@pytest.mark.parametrize(
    "name",
    ["hello_world_int8", "ad01_int8", "micro_speech_quantized", "pretrainedResnet_quant", "person_detect"],
)
def test_real_models(name: str, models_dir: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """inspect, run with the recorded answer, and explain of the last node."""
    path = str(models_dir / f"{name}.tflite")
    with np.load(models_dir / f"{name}.golden.npz", allow_pickle=False) as golden:
        x, wanted = golden["x"][0], golden["output_tflm"][0]
    np.save("in.npy", x)
    assert main(["inspect", path]) == 0
    table = capsys.readouterr().out
    assert max(map(len, table.splitlines())) <= 120
    assert main(["run", path, "in.npy", "--out", "y.npy"]) == 0
    assert np.array_equal(np.load("y.npy").ravel(), wanted.ravel())
    capsys.readouterr()
    last = len(load_tflite(path).graph) - 1
    assert main(["explain", path, "in.npy", str(last), ",".join("0" for _ in wanted.shape)]) == 0
    assert "In real numbers" in capsys.readouterr().out


def test_as_a_program(folder: Path, repository: Path) -> None:
    def tinyquant(*argv: str) -> Any:
        command = [sys.executable, "-m", "tinyquant", *argv]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={"PYTHONPATH": str(repository)},
        )

    done = tinyquant("run", "model.npz", "x.npy", "--out", "y.npy")
    assert (done.returncode, done.stderr) == (0, "") and np.load("y.npy").shape == (3, 2)
    bad = tinyquant("run", "model.npz", "none.npy")
    assert (bad.returncode, bad.stdout) == (3, "") and "Traceback" not in bad.stderr
