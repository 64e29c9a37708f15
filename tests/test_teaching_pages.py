"""The lecturer's pages: every command parses, every link and name exists, and what they say a command prints is what it prints.

A block that begins with ```console holds commands after "$ " and below each what it prints, and is run; ```console varies holds
long ones, or such that print floats of a training, and is only parsed. ```pycon is a Python session, ```python NAME a file that
later commands use, ```python a program.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tinyquant.cli import _COMMANDS, _Parser
from tinyquant.labs import find_exercise, sittings
from tinyquant.labs.glossary import define
from tinyquant.study.published import PUBLISHED
from tinyquant.testing import wrong_answers

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tutorials" / "teaching"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
BLOCK = re.compile(r"^```(\w*) ?(.*)\n([\s\S]*?)^```$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced piece of a page: its language, what stands behind it, its lines."""

    language: str
    rest: str
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(PAGES[page])]


def quoted(page: str) -> list[str]:
    """Everything between backticks in the prose."""
    return re.findall(r"`([^`\n]+)`", BLOCK.sub("", PAGES[page]))


def commands(page: str) -> list[str]:
    """Every command line of a page: after "$ " in its blocks, and `tinyquant ...` in its prose."""
    typed = [line[2:] for block in blocks(page) for line in block.text.splitlines() if line.startswith("$ ")]
    return typed + [text for text in quoted(page) if text.startswith("tinyquant ")]


EVERY_COMMAND = [
    pytest.param(command, id=f"{page}-{number}")
    for page in PAGES
    for number, command in enumerate(commands(page))
    if command.startswith("tinyquant ")
]


def the_parser() -> _Parser:
    """The parser of the command line."""
    parser = _Parser(prog="tinyquant")
    rooms: Any = parser.add_subparsers(parser_class=_Parser, required=True)
    for module in _COMMANDS:
        module.add(rooms)
    return parser


def test_the_pages_are_there() -> None:
    expected = ["cheat_sheet.md", "course_plans.md", "live_demo.md", "misconceptions.md", "the_lecture_checked.md"]
    assert [page for page in expected if page not in PAGES] == []


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_every_command_parses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command line's own parser; figures, words and exercises that are named must exist."""
    words = shlex.split(command)[1:]
    try:
        args = the_parser().parse_args(words)
    except SystemExit:
        pytest.fail(f"{command}: {capsys.readouterr().err}")
    if words[0] == "define":
        assert define(" ".join(args.term))
    elif words[0] == "figures":
        from tinyquant.cli.figures import FIGURES

        assert set(args.names) <= set(FIGURES)
    elif words[0] in ("check", "hint", "solution") and "." in args.exercise:
        assert find_exercise(args.exercise)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_prints_what_stands_below_it(page: str, tmp_path: Path) -> None:
    """A page's commands in order, in one folder; its Python sessions as one. Blanks at the ends of lines do not count."""
    session = "\n".join(block.text for block in blocks(page) if block.language == "pycon")
    example = doctest.DocTestParser().get_doctest(f"{session}\n", {}, page, None, 0)
    said: list[str] = []
    assert not doctest.DocTestRunner(verbose=False).run(example, out=said.append).failed, "".join(said)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), "COLUMNS": "80"}
    for block in blocks(page):
        if block.language == "python":
            name = block.rest or "page.py"
            (tmp_path / name).write_text(block.text, encoding="utf-8")
            if not block.rest:
                run([sys.executable, name], tmp_path, environment)
        if block.language != "console" or block.rest == "varies":
            continue
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            words = shlex.split(command)
            start = [sys.executable, "-m", "tinyquant"] if words[0] == "tinyquant" else [sys.executable]
            got = run([*start, *words[1:]], tmp_path, environment)
            assert printed.strip(), f"{page}: nothing stands below {command}"
            assert tidy(got) == tidy(printed), f"{page}: {command} prints now:\n{got}"


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """What it prints, errors apart; a check that finds a mistake ends with 1."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
    return done.stdout


def tidy(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    """Links are relative to the page; files named in backticks (figures, tutorials) are relative to the repository."""
    links = [target for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page]) if "://" not in target]
    assert [target for target in links if not (FOLDER / target).resolve().is_file()] == []
    named = [text for text in quoted(page) if re.fullmatch(r"(figures|tutorials|tests|benchmarks)/\S+", text)]
    assert [text for text in named if not (ROOT / text).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_wrong_answer_is_one_of_the_registry(page: str) -> None:
    known = {f"{answer.role}/{answer.name}" for answer in wrong_answers()}
    roles = {answer.role for answer in wrong_answers()}
    named = [text for text in quoted(page) if re.fullmatch(r"[a-z_]+/[a-z_0-9]+", text) and text.split("/")[0] in roles]
    assert [text for text in named if text not in known] == []


def test_the_plans_name_the_exercises_as_the_catalogue_does() -> None:
    """Every `N.M name`, and all of the catalogue."""
    text = PAGES["course_plans.md"]
    named = dict(re.findall(r"(\d\.\d) `(\w+)`", text))
    for number, function in named.items():
        assert find_exercise(number).function == function, number
    numbers = [item.number for one in sittings() for item in one.exercises]
    assert [number for number in numbers if not re.search(rf"\b{re.escape(number)}\b", text)] == []
    for one in sittings():
        assert f"| {one.number} {one.title}" in text, one.title


def test_the_published_rows_are_the_packages() -> None:
    for row in PUBLISHED:
        numbers = " | ".join(f"{v:.2f}" for v in (row.float_, row.ptq, row.float_ - row.ptq, row.qat))
        assert f"| {row.network} | {numbers} |" in PAGES["the_lecture_checked.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_are_plain_and_not_wider_than_a_screen(page: str) -> None:
    """ASCII; prose up to 110 columns (tables are as wide as they are)."""
    assert PAGES[page].isascii()
    wide = [line for line in BLOCK.sub("", PAGES[page]).splitlines() if len(line) > 110 and not line.startswith("|")]
    assert wide == []
