"""What a law is: a sentence that must hold of a function, and the judge that finds where it does not.

With this module one can state a law (`law`), look one up (`find_law`), and have a function judged on one case (`Law.judge`).
Whoever runs a check can end it from within the function under test: an `Abort` passes through every judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from numbers import Rational
from typing import cast

import numpy as np

from tinyquant.testing.cases import Case, SignatureError, call, given, raised_by_the_function

__all__ = ["LAWS", "Abort", "Broken", "Functions", "Law", "Unusable", "changed_inputs", "differs_in_rows",
           "differs_on_rows", "find_law", "law",
           "laws_for", "numbers", "pair", "show", "two_of", "type_of"]  # fmt: skip

Functions = Mapping[str, Callable[..., object]]
"""The functions a law is about, by the names of their roles: ``{"quantize": my_quantize}``."""

Judge = Callable[..., "Broken | None"]


class Abort(Exception):
    """Raised by who runs the check, to end it: no judge takes it for an answer of the function under test."""


class Unusable(Exception):
    """A function returned something no law can read; the message says what it returned and what it should."""

    def __init__(self, yours: str, right: str) -> None:
        super().__init__(f"{yours}; {right}")
        self.yours, self.right = yours, right


@dataclass(frozen=True)
class Broken:
    """How a law is broken on one case, in words: the answer given, the right one, and the error that is allowed.

    Where the function gave no answer but raised, ``error`` is what it raised, with its traceback.
    """

    yours: str
    right: str
    allowed: str = "none: the answer is exact"
    error: BaseException | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Law:
    """A sentence that must hold of a function for every case of its kind.

    Attributes
    ----------
    name : str
        What it is called by: ``"round_trip_half_step"``.
    words : str
        The sentence, for a reader who has only met scale, zero point and code.
    role : str
        The function it is about: ``"quantize"``.
    kind : type
        The kind of case it is tried on.
    rows : tuple of str
        The arrays of the case that the function is handed in more than one dimension (`tinyquant.testing.cases.in_rows`).
    """

    name: str
    words: str
    role: str
    kind: type
    _judge: Judge = field(repr=False)
    rows: tuple[str, ...] = ()

    def judge(self, case: Case, functions: Functions) -> Broken | None:
        """None if the law holds on this case, else how it is broken. What the function raises counts as broken.

        Raises
        ------
        SignatureError
            The parameters of a function cannot be matched by name.
        NotImplementedError
            The function has not been written yet.
        Abort
            Whoever runs the check ended it.
        """
        if not isinstance(case, self.kind):
            raise TypeError(
                f"{self.name} is tried on a {self.kind.__name__}, got {type(case).__name__}. Build that kind of case."
            )
        if self.role not in functions:
            raise TypeError(
                f"{self.name} needs a function {self.role}=, got {', '.join(functions) or 'none'}. Pass it by that name."
            )
        try:
            with np.errstate(all="ignore"):
                return self._judge(case, functions)
        except (SignatureError, NotImplementedError, Abort):
            raise
        except Unusable as what:
            return Broken(what.yours, what.right)
        except Exception as error:
            if not raised_by_the_function(error):
                return Broken("an answer that cannot be read as numbers", "numbers: this is a legal input")
            return Broken(f"raised {type(error).__name__}: {error}", "an answer: this is a legal input", error=error)


LAWS: dict[str, Law] = {}
"""Every law by its name, in the order in which a report looks for a broken one."""


def law(role: str, kind: type, words: str, rows: tuple[str, ...] = ()) -> Callable[[Judge], Judge]:
    """Put a judge among the `LAWS` under its own name."""

    def register(judge: Judge) -> Judge:
        name = judge.__name__
        if name in LAWS:
            raise ValueError(f"a law's name must be new, got {name!r} twice. Choose another.")
        LAWS[name] = Law(name, words, role, kind, judge, rows)
        return judge

    return register


def find_law(name: str) -> Law:
    """The law of that name.

    Raises
    ------
    ValueError
        There is none; the message lists those there are.
    """
    if name not in LAWS:
        raise ValueError(f"a law must be one of {', '.join(LAWS)}, got {name!r}. Look it up in tinyquant.testing.LAWS.")
    return LAWS[name]


def laws_for(role: str) -> list[Law]:
    """The laws about a function, by the name of its role.

    Raises
    ------
    ValueError
        No law is about such a function.
    """
    found = [one for one in LAWS.values() if one.role == role]
    if not found:
        roles = sorted({one.role for one in LAWS.values()})
        raise ValueError(f"the role must be one of {', '.join(roles)}, got {role!r}. Pass role=, or rename the function.")
    return found


_NOTHING = "nothing (None): is a return missing?"


def numbers(result: object, count: int, what: str = "codes") -> list[Fraction]:
    """What a function returned as exact numbers; `Unusable` when it is not ``count`` finite numbers."""
    wanted = f"an array of {count} {what}, one for each input" if count != 1 else f"one {what.removesuffix('s')}"
    if result is None:
        raise Unusable(_NOTHING, wanted)
    try:
        array = np.asarray(result)
    except ValueError:
        raise Unusable("a ragged list", wanted) from None
    if array.size == count and array.dtype.kind == "O" and all(isinstance(one, Rational) for one in array.flat):
        # Fractions, and Python's own whole numbers where they are large.
        return [Fraction(one) for one in array.flat]
    if array.dtype.kind not in "iufb":
        raise Unusable(f"{type(result).__name__} {str(result)[:30]}", wanted)
    if array.size != count:
        raise Unusable(f"an array of shape {array.shape}", wanted)
    flat = array.ravel().tolist()
    for value in flat:
        if not math.isfinite(value):
            raise Unusable(f"{value}", f"{wanted}, finite")
    return [Fraction(value) for value in flat]


def changed_inputs(fn: Callable[..., object], values: Mapping[str, object]) -> Broken | None:
    """How the function changed the arrays it was called with, if it did."""
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    lists = {name: list(value) for name, value in values.items() if isinstance(value, list)}
    for name, items in lists.items():
        arrays.update({f"{name}[{place}]": item for place, item in enumerate(items)})
    before = {name: np.copy(array) for name, array in arrays.items()}
    call(fn, values)
    for name, items in lists.items():
        now = cast(list[object], values[name])
        if len(now) != len(items) or any(a is not b for a, b in zip(now, items)):
            return Broken(f"{name} itself holds {len(now)} arrays now, or others", f"{name} stays the list that it was")
    for name, was in before.items():
        if not np.array_equal(was, arrays[name]):
            return Broken(f"{name} itself became {arrays[name].tolist()}", f"{name} stays as it was: work on a copy")
    return None


def differs_on_rows(fn: Callable[..., object], case: Case, name: str, what: str) -> Broken | None:
    """How the function's answers for the numbers in rows differ from those for the same numbers in one row, if they do."""
    shaped = given(case, rows=(name,))
    return differs_in_rows(call(fn, given(case)), call(fn, shaped), shaped[name], what)


def differs_in_rows(flat: object, shaped: object, rows: object, what: str) -> Broken | None:
    """How the answers for an array of rows differ from those for the same numbers in one row, or in their shape, if they do."""
    x = np.asarray(rows)
    right, got = (numbers(result, x.size, what) for result in (flat, shaped))
    shape = np.asarray(shaped).shape
    if shape != x.shape:
        return Broken(f"shape {shape} for an array of shape {x.shape}", f"shape {x.shape}, as it came")
    for place, (one, other) in enumerate(zip(right, got)):
        if one != other:
            index = [int(i) for i in np.unravel_index(place, x.shape)]
            return Broken(f"{show(other, one)} at {index}", f"{show(one, other)}, as for the same numbers in one row")
    return None


def type_of(result: object) -> str:
    """What a result is, in words: a list, or an array of its type."""
    if isinstance(result, (list, tuple)):
        return f"a {type(result).__name__}"
    return f"an array of {np.asarray(result).dtype}"


def two_of(result: object, what: str) -> tuple[object, object]:
    """The two things that a function returned, as a tuple, a list or the rows of an array; `Unusable` when it is no pair."""
    if result is None:
        raise Unusable(_NOTHING, f"a pair {what}")
    rows = isinstance(result, (tuple, list)) or (isinstance(result, np.ndarray) and result.ndim > 0)
    if not rows or len(result) != 2:  # type: ignore[arg-type]
        raise Unusable(f"{type(result).__name__} {str(result)[:30]}", f"a pair {what}")
    return result[0], result[1]  # type: ignore[index]


def pair(result: object, first: str, second: str) -> tuple[Fraction, Fraction]:
    """The two numbers that a function returned; `Unusable` when it is no pair of finite numbers."""
    one, other = two_of(result, f"({first}, {second})")
    return numbers(one, 1, first)[0], numbers(other, 1, second)[0]


def show(value: Fraction | float | int, *others: Fraction | float | int) -> str:
    """A number as short as it can be read: whole numbers whole, others with six digits; large ones keep their fraction. With
    others beside it, as many digits as tell it from them.

    >>> show(0.7), show(0.7, 0.7000001), show(Fraction(5, 2) - Fraction(1, 2**70), 2.5)
    ('0.7', '0.7', '2.499999999999999999999')
    """
    if value == int(value):
        return str(int(value))
    exactly = [Fraction(other) for other in others if other != value]
    for digits in range(6 if -10000 < value < 10000 else 12, 60):
        text = f"{float(value):.{digits}g}" if digits <= 17 else _decimal(Fraction(value), digits)
        if all(abs(Fraction(text) - Fraction(value)) < abs(Fraction(text) - other) for other in exactly):
            return text
    return text


def _decimal(value: Fraction, digits: int) -> str:
    """A rational number with so many digits: more than a float has."""
    with localcontext() as context:
        context.prec = digits
        return str((Decimal(value.numerator) / value.denominator).normalize())
