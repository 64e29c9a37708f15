"""What a sitting, an exercise and a hunt for a bug are: plain records, written out in `sittings/`, one file a sitting.

With this module one can write a new sitting down (`Sitting`, `Exercise`, `Bug`); each refuses what no student could use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tinyquant.testing import exact
from tinyquant.testing.law import find_law, laws_for

__all__ = ["Bug", "Exercise", "Item", "Sitting"]

_NUMBER = re.compile(r"\d\.\d")


def _hold(number: str, hints: tuple[str, ...], role: str) -> None:
    """What every item must have."""
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"number must look like 1.2, got {number!r}. Sitting, point, place in the sitting.")
    if len(hints) != 3:
        raise ValueError(
            f"hints of {number} must be three, got {len(hints)}. A question, the formula, nearly the code."
        )
    longest = max((len(line) for hint in hints for line in hint.splitlines()), default=0)
    if longest > 76:
        raise ValueError(
            f"hints of {number} must have lines of up to 76 columns, got {longest}. Break the line."
        )
    laws_for(role)


@dataclass(frozen=True)
class Exercise:
    """A function that the student writes.

    Attributes
    ----------
    number : str
        ``"1.2"``: the second exercise of sitting 1.
    function : str
        Its name in the student's file.
    title : str
        A few words.
    hints : tuple of three str
        A question, the formula, nearly the code.
    difficulty : int
        1 to 5.
    role : str
        The role it is checked in (see `tinyquant.testing`); the function's name unless said.
    mode : str
        The rounding rule the exercise names; without it every nearest rule is right.
    laws : tuple of str
        Which laws are checked; all of the role's if none is named.
    stretch : bool
        Not required.
    allowed : tuple of str
        Public functions of tinyquant that the student may call; all others are refused during a check.
    int8 : bool
        Only codes that int8 holds are asked for, so that a cast to int8 is right.
    flat : bool
        Only one-dimensional arrays are asked for, so that a plain loop over the numbers is right; the lab gives it no others.
    """

    number: str
    function: str
    title: str
    hints: tuple[str, str, str]
    difficulty: int = 1
    role: str = ""
    mode: str = ""
    laws: tuple[str, ...] = ()
    stretch: bool = False
    allowed: tuple[str, ...] = ()
    int8: bool = False
    flat: bool = False

    def __post_init__(self) -> None:
        if not self.role:
            object.__setattr__(self, "role", self.function)
        _hold(self.number, self.hints, self.role)
        if not 1 <= self.difficulty <= 5:
            raise ValueError(
                f"difficulty of {self.number} must be 1 to 5, got {self.difficulty}. Choose one."
            )
        if self.mode and self.mode not in exact.EXACT_MODES:
            raise ValueError(
                f"mode of {self.number} must be one of {', '.join(exact.EXACT_MODES)}, got {self.mode!r}. Name one."
            )
        for name in self.laws:
            find_law(name)


@dataclass(frozen=True)
class Bug:
    """A function with a defect that real code had; the student finds an input on which it goes wrong.

    Attributes
    ----------
    number, function, title, hints, difficulty
        As of an `Exercise`; the function takes nothing and returns a dict: the fields of the law's kind of case.
    buggy : str
        The name of the planted function in the lab.
    role, law : str
        What the planted function claims to be, and the law it breaks.
    issue : str
        Where the defect was reported: ``"pytorch/pytorch#115715"``.
    """

    number: str
    function: str
    title: str
    hints: tuple[str, str, str]
    buggy: str
    role: str
    law: str
    issue: str
    difficulty: int = 2
    stretch: bool = False

    def __post_init__(self) -> None:
        _hold(self.number, self.hints, self.role)
        if find_law(self.law).role != self.role:
            raise ValueError(
                f"law of {self.number} must be about {self.role}, got {self.law!r}. See laws_for({self.role!r})."
            )


Item = Exercise | Bug


@dataclass(frozen=True)
class Sitting:
    """One evening: a page to step through, and a lab with blanks.

    Attributes
    ----------
    number : int
    name : str
        Of its files: ``"01_signal"``.
    title : str
    why : str
        One sentence.
    exercises : tuple of Exercise and Bug
        In order.
    """

    number: int
    name: str
    title: str
    why: str
    exercises: tuple[Item, ...]

    def __post_init__(self) -> None:
        if not self.name.startswith(f"{self.number:02d}_"):
            raise ValueError(
                f"name must begin with {self.number:02d}_, got {self.name!r}. Rename the sitting."
            )
        wanted = [f"{self.number}.{place}" for place in range(1, len(self.exercises) + 1)]
        if [item.number for item in self.exercises] != wanted:
            raise ValueError(f"exercises of {self.name} must be numbered {', '.join(wanted)}. Renumber them.")
