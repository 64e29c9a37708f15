"""What the README says a command prints is what it prints now, and its counts are counted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tinyquant.labs.sittings import sittings
from tinyquant.testing import wrong_answers

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block_after(words: str) -> str:
    """The first fenced block behind these words."""
    found = re.search(r"```\w*\n([\s\S]*?)\n```", README[README.index(words) :])
    assert found is not None
    return found[1]


def test_the_counterexample_is_the_one_that_check_finds(tmp_path: Path) -> None:
    answer = block_after("A wrong answer is met with its smallest counterexample")
    printed = block_after("`tinyquant check 1.1` says")
    (tmp_path / "mine.py").write_text(f"import numpy as np\n\n\n{answer}\n", encoding="utf-8")
    command = [sys.executable, "-m", "tinyquant", "check", "1.1", "--file", str(tmp_path / "mine.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.rstrip("\n")) == (1, printed)


def test_the_number_of_known_mistakes_is_the_registry_s() -> None:
    assert f"{len(wrong_answers())} known mistakes" in README


def test_every_sitting_has_its_row_and_every_link_leads_to_a_file() -> None:
    for one in sittings():
        assert f"[{one.number} " in README and f"tutorials/{one.name}.ipynb" in README
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
