"""What a page calls while it runs: check, predict, reveal, show; in a script, and in a real notebook."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyquant import plot
from tinyquant.labs import check, notebook, predict, reveal, show
from tinyquant.labs.workplace import Progress, notebook_of


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tinyquant.labs.notebook._guesses", {})


def right(codes: Any, scale: float, zero_point: int) -> Any:
    return scale * (codes.astype(np.int32) - zero_point)


def test_check_prints_the_report_and_remembers_a_pass(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "labs").mkdir()
    check("1.2", lambda codes, scale, zero_point: codes[99])
    said = capsys.readouterr().out
    assert "raised IndexError" in said and "lambda codes" in said
    assert Progress.read(tmp_path / "labs").passed == set()
    check("1.2", right)
    assert capsys.readouterr().out.startswith("1.2 dequantize: passed")
    assert Progress.read(tmp_path / "labs").passed == {"1.2"}


def test_a_slow_check_says_that_it_goes_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the function's own prints are kept back; a quick one says nothing of it."""

    def dequantize(codes, scale, zero_point):  # type: ignore[no-untyped-def]
        print("a print of the student's")
        time.sleep(0.005)
        return scale * (codes.astype(np.int32) - zero_point)

    monkeypatch.setattr(notebook, "_PATIENCE", 0.05)
    check("1.2", dequantize)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1.2 dequantize: still checking: many inputs are tried"
    assert lines[1].startswith("1.2 dequantize: passed") and "a print of the student's" not in lines
    monkeypatch.setattr(notebook, "_PATIENCE", 60.0)
    check("1.2", lambda codes, scale, zero_point: scale * (codes.astype(np.int32) - zero_point))
    assert "still checking" not in capsys.readouterr().out


def test_exit_in_the_function_does_not_end_the_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    def dequantize(codes, scale, zero_point):  # type: ignore[no-untyped-def]
        sys.exit()

    check("1.2", dequantize)
    said = capsys.readouterr().out
    assert said.startswith("1.2 dequantize raised SystemExit\n") and "sys.exit()" in said and "by return" in said


def test_check_refuses_what_is_no_function_or_no_exercise() -> None:
    with pytest.raises(
        TypeError, match=r'fn must be the function itself, got list. Write check\("1.2", dequantize\)'
    ):
        check("1.2", [1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the exercise must be one of"):
        check("1.7", right)


def test_a_guess_is_written_down_before_the_answer_and_never_blocks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    reveal("1.a", 3)
    predict("1.a", "how many?", 5)
    predict("1.b", "which?", "weights")
    predict("1.c", "and this?")
    assert Progress.read(tmp_path / "labs").predictions == {
        "1.a": ["how many?", 5],
        "1.b": ["which?", "weights"],
    }
    reveal("1.a", 3.25)
    reveal("1.b", "weights")
    reveal("1.b", "biases")
    reveal("1.c", True)
    assert capsys.readouterr().out.splitlines() == [
        "1.a  it is 3  (no guess was made)",
        "1.a  how many?  Your guess: 5",
        "1.b  which?  Your guess: weights",
        "1.c  and this?  (no guess yet)",
        "1.a  you said 5, it is 3.25: off by 1.75",
        "1.b  you said weights, it is weights: yes",
        "1.b  you said weights, it is biases",
        "1.c  it is True  (no guess was made)",
    ]


def test_a_guess_made_in_another_process_is_found_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    predict("1.a", "how many?", 5)
    monkeypatch.setattr("tinyquant.labs.notebook._guesses", {})
    reveal("1.a", 5)
    assert capsys.readouterr().out.splitlines()[-1] == "1.a  you said 5, it is 5: off by 0"


def test_show_writes_a_file_and_says_so_in_a_script(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    t = np.linspace(0, 1, 50)
    show(plot.signal(t, np.sin(6 * t)), "01_mine")
    assert capsys.readouterr().out == "figure: tinyquant-figures/01_mine.png\n"
    assert (tmp_path / "tinyquant-figures" / "01_mine.png").read_bytes().startswith(b"\x89PNG")


def test_a_script_that_has_imported_jupyter_is_still_a_script(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import types

    shell = types.SimpleNamespace(get_ipython=lambda: None)
    monkeypatch.setitem(sys.modules, "IPython", shell)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    t = np.linspace(0, 1, 50)
    show(plot.signal(t, np.sin(6 * t)), "01_mine")
    assert capsys.readouterr().out == "figure: tinyquant-figures/01_mine.png\n"


def test_where_no_figure_can_be_written_the_page_goes_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "tinyquant-figures").write_text("a file is in the way", encoding="utf-8")
    t = np.linspace(0, 1, 50)
    show(plot.signal(t, np.sin(6 * t)), "01_mine")
    assert capsys.readouterr().out.startswith("figure: not written, this folder cannot be written to (")


@pytest.mark.slow
def test_in_a_real_notebook_a_check_shows_the_student_s_line_and_a_figure_its_picture(tmp_path: Path) -> None:
    """A cell with a loop that does not end is ended too, and the kernel lives on."""
    pytest.importorskip(
        "nbclient", reason="running a notebook needs nbclient and ipykernel (extra notebooks)"
    )
    pytest.importorskip("jupytext", reason="making a notebook needs jupytext (extra notebooks)")
    import nbclient
    import nbformat

    text = (
        "# %%\nimport numpy as np\nimport tinyquant as tq\nfrom tinyquant.labs import check, show\n"
        "# %%\ndef dequantize(codes, scale, zero_point):\n    return codes['no']\n\ncheck('1.2', dequantize)\n"
        "# %%\ndef dequantize(codes, scale, zero_point):\n    while True:\n        pass\n\ncheck('1.2', dequantize)\n"
        "# %%\ndef dequantize(codes, scale, zero_point):\n    return tq.dequantize(codes, tq.QParams(scale, zero_point))\n\n"
        "check('1.2', dequantize)\n"
        "# %%\ndef dequantize(codes, scale, zero_point):\n    return scale * (codes.astype(np.int32) - zero_point)\n\n"
        "check('1.2', dequantize)\n"
        "# %%\nt = np.linspace(0, 1, 50)\nshow(tq.plot.signal(t, t), 'x')\n"
    )
    book = nbformat.reads(notebook_of(text), as_version=4)
    nbclient.NotebookClient(
        book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    said = ["".join(part.get("text", "") for part in cell["outputs"]) for cell in book.cells]
    assert "raised IndexError" in said[1] and "return codes['no']" in said[1]
    assert "no answer after 5 s" in said[2] and "while True" in said[2] or "pass" in said[2]
    assert "asks you to write this" in said[3]
    assert "1.2 dequantize: passed" in said[4]
    (picture,) = book.cells[5]["outputs"]
    assert "image/png" in picture["data"] and json.dumps(picture["metadata"]) != "{}"


def test_the_labs_need_no_notebook_packages() -> None:
    assert "tinyquant.labs" in sys.modules
    import subprocess

    names = "('IPython', 'jupytext', 'nbclient', 'matplotlib')"
    code = f"import sys, tinyquant.labs; print(*(m for m in {names} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0 and done.stdout.strip() == "", done
