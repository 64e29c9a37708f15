"""Every page is run cell by cell and prints what its notebook shows; copies in tutorials/ are made from their source."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tinyquant.labs.exercise import Bug, Sitting
from tinyquant.labs.sittings import sittings
from tinyquant.labs.sources import source, starter
from tinyquant.labs.workplace import notebook_of

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = ROOT / "tutorials"
EXERCISE_NUMBERS = {item.number for one in sittings() for item in one.exercises}
KNOWLEDGE = {"256", "15", "50,000", *(str(year) for year in range(1990, 2030))}
"""Whole numbers that no page need print: two to the power of 8, and of 4 less one; the images of ImageNet; years."""

EACH = pytest.mark.parametrize("sitting", sittings(), ids=lambda sitting: sitting.name)

HEADINGS = (
    "## Predict",
    "## See",
    "## Your turn",
    "## Find the bug",
    "## What to remember",
    "## In PyTorch and TFLite",
)
"""What every page has, in this order; headings of its own may stand between them."""


class Cell(NamedTuple):
    """One cell of a percent script."""

    kind: str
    varies: bool
    text: str


def cells_of(text: str) -> list[Cell]:
    """The cells of a percent script; the marks of cells are lines that begin with ``# %%``."""
    found = []
    for part in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        mark, _, body = part.partition("\n")
        if "[markdown]" in mark:
            body = "\n".join(re.sub(r"^# ?", "", line) for line in body.splitlines())
        found.append(Cell("markdown" if "[markdown]" in mark else "code", "varies" in mark, body.strip("\n")))
    return found


def page(sitting: Sitting) -> str:
    """The source of a page."""
    return (TUTORIALS / f"{sitting.name}.py").read_text(encoding="utf-8")


def notebook(sitting: Sitting) -> list[Any]:
    """The cells of a page's notebook."""
    cells = json.loads((TUTORIALS / f"{sitting.name}.ipynb").read_text(encoding="utf-8"))["cells"]
    assert isinstance(cells, list)
    return cells


def printed(cell: Any) -> list[str]:
    """What a code cell of a notebook printed, line by line."""
    streams = [part for part in cell["outputs"] if part["output_type"] == "stream"]
    assert all(part["name"] == "stdout" for part in streams), "a notebook shows no warnings"
    return "".join("".join(part["text"]) for part in streams).splitlines()


def without_numbers(line: str) -> str:
    """A line with its numbers made alike: on another processor they may be others."""
    return " ".join(re.sub(r"[-+]?\d[\d.,e+-]*", "#", line).split())


def test_the_core_path_has_its_seven_sittings() -> None:
    assert [one.number for one in sittings()] == list(range(7))


@pytest.mark.slow
@EACH
def test_every_page_runs_and_prints_what_its_notebook_shows(
    sitting: Sitting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cell by cell. A cell tagged ``varies`` depends on the last bits of float sums: it must run, and its asserts hold."""
    monkeypatch.chdir(tmp_path)
    codes = [cell for cell in cells_of(page(sitting)) if cell.kind == "code"]
    shown = [cell for cell in notebook(sitting) if cell["cell_type"] == "code"]
    assert len(codes) == len(shown)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, (cell, stored) in enumerate(zip(codes, shown), 1):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(cell.text, f"{sitting.name} cell {number}", "exec", dont_inherit=True), names)
        lines = [line for line in said.getvalue().splitlines() if not line.startswith("figure: ")]
        if not cell.varies:
            assert lines == printed(stored), (
                f"cell {number}: run tutorials/build.py, or find out what changed"
            )
        else:
            assert "assert" in cell.text, f"cell {number} varies, and holds nothing"
            assert [without_numbers(line) for line in lines] == [
                without_numbers(line) for line in printed(stored)
            ], f"cell {number}"
    drawn = list(tmp_path.glob("tinyquant-figures/*.png"))
    assert drawn and all(path.stem.startswith(f"{sitting.number:02d}_") for path in drawn)


@pytest.mark.slow
@EACH
def test_every_lab_runs_through_with_its_solutions(
    sitting: Sitting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a student would run the finished file, experiment included: every check in it passes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labs").mkdir()
    path = tmp_path / "labs" / f"{sitting.name}.py"
    path.write_text(source(sitting), encoding="utf-8")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(
            compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True),
            {"__name__": "__main__"},
        )
    for item in sitting.exercises:
        assert re.search(
            rf"^{re.escape(item.number)} {item.function}: (passed|found it)", said.getvalue(), re.MULTILINE
        ), item.number


@EACH
def test_a_page_has_its_parts_in_order(sitting: Sitting) -> None:
    """Why in a sentence, a guess before the answer, a figure, the lab, the bug and its issue, three lines, others' names."""
    cells = cells_of(page(sitting))
    text = "\n".join(cell.text for cell in cells if cell.kind == "markdown")
    assert re.match(rf"# {sitting.number:02d} \S.*\n\n\S", cells[0].text), cells[0].text[:60]
    places = [text.find(f"\n{heading}\n") for heading in HEADINGS]
    assert -1 not in places and places == sorted(places), dict(zip(HEADINGS, places))
    code = "\n".join(cell.text for cell in cells if cell.kind == "code")
    assert code.index("predict(") < code.index("show(") and "reveal(" in code
    assert set(re.findall(r'predict\(\s*"([^"]+)"', code)) == set(re.findall(r'reveal\(\s*"([^"]+)"', code))
    remember = text.split("## What to remember")[1].split("## In PyTorch")[0]
    assert len(re.findall(r"^- ", remember, re.MULTILINE)) == 3
    assert len(re.findall(r"^\| ", text.split("## In PyTorch and TFLite")[1], re.MULTILINE)) >= 3
    assert f"tinyquant lab start {sitting.number}" in text
    assert re.search(r"[\w-]+(/[\w-]+)?#\d+", text.split("## Find the bug")[1]), "the defect's issue number"


@EACH
def test_the_numbers_in_a_page_s_prose_are_printed_by_it_or_published(sitting: Sitting) -> None:
    """Each is in an output of the page, in its code, in code quoted, in a table of published results, or everybody's knowledge:
    a power of two and one less, a year, the images of ImageNet. Numbers of one digit are left alone, and issues' numbers."""
    cells = cells_of(page(sitting))
    outputs = "\n".join("\n".join(printed(cell)) for cell in notebook(sitting) if cell["cell_type"] == "code")
    code = "\n".join(cell.text for cell in cells if cell.kind == "code")
    for cell in cells:
        if cell.kind == "markdown":
            prose = "\n".join(line for line in cell.text.splitlines() if not line.startswith("|"))
            prose = re.sub(r"`[^`]*`", "", prose)
            for number in set(re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", prose)) - EXERCISE_NUMBERS:
                assert number in outputs or number in code, f"{number} in: {cell.text[:80]}"
            prose = re.sub(r"\]\([^)]*\)", "]", prose)
            for number in set(re.findall(r"(?<![\w.#/,])\d[\d,]*\d(?![\w.,]*\d)", prose)) - KNOWLEDGE:
                plain = rf"(?<![\d.,])(?:{number}|{number.replace(',', '_')}|{number.replace(',', '')})(?!\d|[.,]\d)"
                assert re.search(plain, outputs + code), f"{number} in: {cell.text[:80]}"


@EACH
def test_who_shows_an_sqnr_says_what_it_is(sitting: Sitting) -> None:
    """The figure of a signal has it in its titles; a page or a lab that shows one has a word about it."""
    for text in (page(sitting), source(sitting)):
        cells = cells_of(text)
        code = "\n".join(cell.text for cell in cells if cell.kind == "code")
        if "plot.signal(" in code:
            assert any("SQNR" in cell.text for cell in cells if cell.kind == "markdown")


def test_nobody_calls_codes_steps() -> None:
    """256 codes are 255 steps: the first of the misconceptions must not stand on a page."""
    for path in (ROOT / "README.md", *TUTORIALS.rglob("*.py"), *TUTORIALS.rglob("*.ipynb"), *TUTORIALS.rglob("*.md")):
        text = path.read_text(encoding="utf-8").replace('"256 codes are 256 steps."', "")
        assert "256 steps" not in text, path
    assert not any("256 steps" in source(one) + one.title + one.why for one in sittings())


@EACH
def test_a_notebook_is_made_from_its_page(sitting: Sitting) -> None:
    """The same cells with the same text; run without an error; at least one picture."""
    cells, stored = cells_of(page(sitting)), notebook(sitting)
    assert [(c.kind, c.text) for c in cells] == [(c["cell_type"], "".join(c["source"])) for c in stored]
    outputs = [part for cell in stored if cell["cell_type"] == "code" for part in cell["outputs"]]
    assert {part["output_type"] for part in outputs} == {"stream", "display_data"}
    pictures = [part for part in outputs if part["output_type"] == "display_data"]
    assert pictures and all("image/png" in part["data"] for part in pictures)


@EACH
def test_a_lab_s_copies_are_made_from_its_source(sitting: Sitting) -> None:
    """tutorials/labs holds the starter, the same bytes; its notebook is jupytext's, not run."""
    assert (TUTORIALS / "labs" / f"{sitting.name}.py").read_text(encoding="utf-8") == starter(sitting)
    pytest.importorskip(
        "jupytext", reason="holding notebooks to their sources needs jupytext (extra notebooks)"
    )
    stored = json.loads((TUTORIALS / "labs" / f"{sitting.name}.ipynb").read_text(encoding="utf-8"))
    made = json.loads(notebook_of(starter(sitting)))
    for book in (stored, made):
        book.pop("metadata", None)
        book.pop("nbformat_minor", None)
    assert stored == made


@EACH
def test_a_lab_has_its_parts(sitting: Sitting) -> None:
    """Two required exercises, a stretch, a bug; each asked for, each checked; a first cell that says how to install."""
    required = [item for item in sitting.exercises if not isinstance(item, Bug) and not item.stretch]
    assert len(required) == 2 and sum(item.stretch for item in sitting.exercises) == 1
    assert sum(isinstance(item, Bug) for item in sitting.exercises) == 1
    text = source(sitting)
    first = next(cell.text for cell in cells_of(text) if cell.kind == "code")
    assert "tinyquant-labs" in first and "__version__" in first and "pip install tinyquant\n" not in text
    for item in sitting.exercises:
        assert f'check("{item.number}", {item.function})' in text
        assert re.search(rf"^# ## .*{re.escape(item.number)}", text, re.MULTILINE), (
            f"{item.number} has no heading"
        )
    assert "## What to remember" in text and "experiment" in text.lower()
    shown = starter(sitting)
    assert "SOLUTION" not in shown and shown.count("raise NotImplementedError") == len(sitting.exercises)


def test_nothing_else_lies_in_tutorials() -> None:
    """A page without a sitting, or a leftover."""
    names = {f"{one.name}.{kind}" for one in sittings() for kind in ("py", "ipynb")}
    there = {path.name for path in (TUTORIALS / "labs").iterdir()}
    assert {name for name in there if not name.startswith(".")} == names
    assert {path.name for path in TUTORIALS.glob("[0-9]*")} == names
