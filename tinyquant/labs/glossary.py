"""What the words mean: one screen a term, each true of this package, with an example that can be typed in.

The entries stand in `glossary.txt`, in the order in which a course meets them. With this module one can look one up
(`define`), list them (`terms`), and read their parts (`TERMS`).
"""

from __future__ import annotations

import difflib
import re
import textwrap
from dataclasses import dataclass
from importlib import resources

__all__ = ["TERMS", "Term", "define", "terms"]

_WIDTH = 76
_FIELDS = ("also", "formula", "elsewhere", "see")


@dataclass(frozen=True)
class Term:
    """One entry.

    Attributes
    ----------
    name : str
    words : str
        What it is, for somebody who has seen one lecture.
    formula : str
        One line, or "".
    example : str
        Lines of an interactive session (``>>>``) and what they print, or "". numpy is np there, tinyquant is tq.
    see : tuple of str
        Names of other entries.
    elsewhere : str
        What it is called in PyTorch, in TFLite or in a paper, or "".
    also : tuple of str
        Other names that it is found by.
    """

    name: str
    words: str
    formula: str = ""
    example: str = ""
    see: tuple[str, ...] = ()
    elsewhere: str = ""
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One screen: at most 14 lines of 80 columns."""
        words = textwrap.wrap(
            self.words, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
        lines = [self.name, *words]
        if self.formula:
            lines.append(f"    {self.formula}")
        lines += [f"    {line}" for line in self.example.splitlines()]
        for label, text in (("Elsewhere:", self.elsewhere), ("See:", ", ".join(self.see))):
            if text:
                lines.append(f"  {label} {text}")
        return "\n".join(lines)


def define(term: str) -> str:
    """What a term means, on one screen.

    Parameters
    ----------
    term : str
        A name or one of its other names, in any case; "-", "_" and spaces are alike.

    Raises
    ------
    ValueError
        There is no such term; the message has those that contain the word, or else the nearest one, if one is near.

    Examples
    --------
    >>> print(define("lsb"))
    LSB
      Least significant bit: one step, said of codes. "Off by one LSB" means
      that two codes differ by 1, whatever that is in real numbers.
      See: step, code, double rounding
    """
    wanted = _key(term)
    if wanted in _BY_KEY:
        return str(_BY_KEY[wanted])
    holding = [key for key in _BY_KEY if f" {wanted} " in f" {key} "]
    holding.sort(key=lambda key: key != _key(_BY_KEY[key].name))  # an entry's own name before another name of it
    near = holding or difflib.get_close_matches(wanted, _BY_KEY, n=1, cutoff=0.75)
    named = list(dict.fromkeys(repr(_BY_KEY[key].name) for key in near))[:3]
    hint = f"Did you mean {' or '.join(named)}?" if near else "All there are: tinyquant define"
    raise ValueError(f"the term must be in the glossary, got {term!r}. {hint}")


def terms() -> list[str]:
    """The names of all entries, in the order in which a course meets them."""
    return list(TERMS)


def _key(name: str) -> str:
    """What two spellings of one name have in common."""
    return " ".join(re.split(r"[\s_-]+", name.strip().lower()))


def _read() -> dict[str, Term]:
    """All entries of the text file."""
    text = resources.files("tinyquant.labs").joinpath("glossary.txt").read_text(encoding="utf-8")
    pieces = re.split(r"^== (.+) ==$", text, flags=re.MULTILINE)[1:]
    return {name: _entry(name, body) for name, body in zip(pieces[::2], pieces[1::2])}


def _entry(name: str, body: str) -> Term:
    """One entry: lines that begin with a field's name, an example from the first >>> on, and words."""
    fields = dict.fromkeys(_FIELDS, "")
    words: list[str] = []
    example: list[str] = []
    for line in body.strip().splitlines():
        field, _, rest = line.partition(": ")
        if field in fields:
            fields[field] = rest.strip()
        elif example or line.startswith(">>>"):
            example.append(line)
        else:
            words.append(line)
    also, see = (
        tuple(part.strip() for part in fields[key].split(",") if part.strip()) for key in ("also", "see")
    )
    return Term(name, " ".join(words), fields["formula"], "\n".join(example), see, fields["elsewhere"], also)


TERMS: dict[str, Term] = _read()
"""Every entry by its name."""

_BY_KEY: dict[str, Term] = {
    _key(alias): entry for entry in TERMS.values() for alias in (entry.name, *entry.also)
}
