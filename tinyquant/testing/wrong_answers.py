"""The registry of wrong answers: mistakes people really make, each with the misconception behind it and the laws it breaks.

A law that lets one of these through is too weak; a lab's check is tested against them. With this module one can list them
(`wrong_answers`), and recognise one in somebody's answers (`looks_like`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from tinyquant.testing.cases import MapCase, call, fits, given
from tinyquant.testing.grid import grid
from tinyquant.testing.law import LAWS, Abort, Functions, Unusable, laws_for, numbers
from tinyquant.testing.right_answers import right_answers, small_network, softmax
from tinyquant.testing.wrong_arrays import WRONG_ARRAYS
from tinyquant.testing.wrong_counts import WRONG_COUNTS
from tinyquant.testing.wrong_errors import WRONG_ERRORS
from tinyquant.testing.wrong_integers import WRONG_INTEGERS
from tinyquant.testing.wrong_maps import WRONG_MAPS
from tinyquant.testing.wrong_quantizes import TIE_SLIPS, WRONG_QUANTIZES
from tinyquant.testing.wrong_ranges import WRONG_RANGES

__all__ = ["WrongAnswer", "companions", "looks_like", "roles", "wrong_answers"]

Answer = Callable[..., Any]


@dataclass(frozen=True)
class WrongAnswer:
    """One known mistake.

    Attributes
    ----------
    role : str
        The function it claims to be.
    name : str
        A short name, unique within the role.
    misconception : str
        What its author believed, in a sentence.
    breaks : tuple of str
        The laws it is caught by.
    fn : callable
        The wrong function itself, in the student's signature.
    mode : str
        The rounding rule that must be asked for to make it wrong; "" if it is wrong anyhow.
    """

    role: str
    name: str
    misconception: str
    breaks: tuple[str, ...]
    fn: Answer
    mode: str = ""


_ROWS: tuple[tuple[Any, ...], ...] = (
    *WRONG_QUANTIZES, *TIE_SLIPS, *WRONG_MAPS, *WRONG_INTEGERS, *WRONG_RANGES, *WRONG_ERRORS, *WRONG_COUNTS, *WRONG_ARRAYS,
)  # fmt: skip
_REGISTRY = [WrongAnswer(*row) for row in _ROWS]


def roles() -> list[str]:
    """The functions that wrong answers are kept for."""
    return list(dict.fromkeys(answer.role for answer in _REGISTRY))


def wrong_answers(role: str = "", mode: str = "") -> list[WrongAnswer]:
    """The known wrong answers, of one function or of all; with ``mode`` also those that are wrong for that rounding rule only.

    Raises
    ------
    ValueError
        None is known for that role.

    Examples
    --------
    >>> [answer.name for answer in wrong_answers("dequantize")][:2]
    ['adds_the_zero_point', 'subtracts_after_scaling']
    >>> [answer.name for answer in wrong_answers("quantize", "half_away") if answer.mode]
    ['ties_to_even', 'ties_up', 'ties_after_the_zero_point']
    """
    if role and role not in roles():
        raise ValueError(f"role must be one of {', '.join(roles())}, got {role!r}. Name one of them.")
    return [answer for answer in _REGISTRY if role in ("", answer.role) and answer.mode in ("", mode)]


def companions(role: str) -> dict[str, Answer]:
    """The other functions that the laws of a role need, in the form the wrong answers were made for."""
    known: dict[str, dict[str, Answer]] = {"backward": {"forward": softmax}, "integer": {"qat": small_network}}
    return known.get(role, {})


ENOUGH = 20
"""On so many inputs at least the slip must differ from a right answer before anybody is told of it."""


def looks_like(role: str, fn: Answer, functions: Functions, mode: str = "", law: str = "") -> str:
    """The misconception of the one known slip that gives the same answers as fn on every input tried; "" if none or several do.

    Parameters
    ----------
    role : str
    fn : callable
        Whose answers are compared.
    functions : callables by role
        What else was handed to the check: another forward or graph than the registry's own is not compared.
    mode : str
        The rounding rule that was asked for, if one was.
    law : str
        The law that was seen broken. Where it is one about arrays, what became of their shape, or of the caller's own, is
        compared first: with a slip that only spoils these, all numbers are right, and say nothing.

    Examples
    --------
    >>> looks_like("dequantize", lambda codes, scale, zero_point: scale * (codes.astype(int) + zero_point), {})
    'adds the zero point, which is subtracted on the way back from a code'
    """
    if role not in roles() or any(functions.get(name, own) is not own for name, own in companions(role).items()):
        return ""
    slips = wrong_answers(role, mode)
    if law and _of_arrays(law):
        matching = _matching(role, fn, [slip for slip in slips if law in slip.breaks], law)
        if matching:
            return matching[0].misconception if len(matching) == 1 else ""
    matching = _matching(role, fn, [slip for slip in slips if not all(map(_of_arrays, slip.breaks))])
    # A slip that only leaves the answers floats, say, has the values of another rule too: the rule explains them.
    matching = [slip for slip in matching if slip.mode] or matching
    if len(matching) > 1:
        # The same numbers, in the caller's own array or in a new one.
        matching = [slip for slip in matching if _spoil_alike(role, slip.fn, fn)]
    return matching[0].misconception if len(matching) == 1 else ""


def _matching(role: str, fn: Answer, slips: list[WrongAnswer], law: str = "") -> list[WrongAnswer]:
    """The slips that give fn's answers on every input, where enough of these differ from a right answer."""
    asked = [number for number, case in enumerate(_cases(role)) if fits(fn, case)]
    yours = {number: _answers(fn, _inputs(role, law)[number], law) for number in asked}
    matching = []
    for slip in slips:
        if all(_agree(_known(role, slip.fn, number, law), mine) for number, mine in yours.items()):
            right = (_known(role, right_answers(role)[0], number, law) for number in asked)
            if sum(map(_differences, yours.values(), right)) >= ENOUGH:
                matching.append(slip)
    return matching


def _spoil_alike(role: str, slip: Answer, fn: Answer) -> bool:
    """Whether both leave the caller's arrays alike."""
    asked = [number for number, case in enumerate(_cases(role)) if fits(fn, case)]
    return all(_known(role, slip, number, _OWN) == _answers(fn, _inputs(role, _OWN)[number], _OWN) for number in asked)


_OWN = "own"
"""In place of a law's name: what the caller's own arrays became is compared."""


def _rows(law: str) -> tuple[str, ...]:
    """The arrays that come in rows under that law."""
    return LAWS[law].rows if law in LAWS else ()


def _of_arrays(name: str) -> bool:
    """Whether a law is about arrays and not about their numbers."""
    return bool(LAWS[name].rows) or name.endswith("_alone")


def _agree(theirs: list[object], mine: list[object]) -> bool:
    """Whether two rows of answers are the same, a float64 rounding or two apart; whole numbers to the last digit."""
    return len(theirs) == len(mine) and all(
        a == b or (isinstance(a, Fraction) and isinstance(b, Fraction) and abs(a - b) <= abs(b) / 2**40)
        for a, b in zip(theirs, mine)
    )


def _differences(mine: list[object], right: list[object]) -> int:
    """In how many numbers two answers differ; 1 for answers of different lengths."""
    if len(mine) != len(right):
        return 1
    return sum(a != b and not _agree([a], [b]) for a, b in zip(mine, right))


@cache
def _cases(role: str) -> list[Any]:
    """What the functions of a role are compared on: at most some 160 cases of a kind, evenly taken from the grid."""
    kinds = list(dict.fromkeys(one.kind for one in laws_for(role)))
    return [case for kind in kinds for case in grid(kind)[:: max(1, len(grid(kind)) // 160)]]


@cache
def _inputs(role: str, law: str) -> list[dict[str, Any]]:
    """The arguments of these cases; in rows where the law says so."""
    return [_called_with(case, _rows(law)) for case in _cases(role)]


@cache
def _known(role: str, fn: Answer, number: int, law: str) -> list[object]:
    """What a function of the registry answers to one of the inputs."""
    return _answers(fn, _inputs(role, law)[number], law)


def _called_with(case: Any, rows: tuple[str, ...]) -> dict[str, Any]:
    """What a function of its kind may be called with: of a map, numbers for the gradient that arrives too."""
    values: dict[str, Any] = given(case, rows)
    if isinstance(case, MapCase):
        arriving = np.array([(0.5 + number % 7) * (-1) ** number for number in range(len(case.x))], case.dtype)
        values["upstream"] = arriving.reshape(values["x"].shape)
    return values


def _answers(fn: Answer, values: dict[str, Any], law: str = "") -> list[object]:
    """What a function answers, in a form that can be compared; its exceptions are answers too. For a law about arrays only the
    shape of what comes back, or what the caller's own became: the numbers have been found right, by whatever rule of ties."""
    mine = {k: _copy(v) for k, v in values.items()}
    try:
        with np.errstate(all="ignore"):
            result = call(fn, mine)
            if isinstance(result, dict):
                result = np.concatenate([np.ravel(part) for part in result.values()])
            if law:
                return [str(np.asarray(result).shape if _rows(law) else list(mine.values()))]
            return list(numbers(result, np.asarray(result).size))
    except Abort:
        raise
    except Unusable as what:
        return [what.yours]
    except Exception as error:
        return [type(error).__name__]


def _copy(value: Any) -> Any:
    """A value that the function may change."""
    if isinstance(value, list):
        return [row.copy() for row in value]
    return value.copy() if isinstance(value, np.ndarray) else value
