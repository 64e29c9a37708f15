"""Asking a function whether it keeps the laws, and telling its author in words where it does not.

With this module one can check anybody's function (`check`), put a law into one's own hypothesis test (`assert_property`), and see
which rule of ties a quantize follows (`tie_rule`).
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cache

import numpy as np

from tinyquant.testing import exact
from tinyquant.testing.cases import Case, MapCase, call, fits
from tinyquant.testing.grid import grid
from tinyquant.testing.law import LAWS, Abort, Broken, Functions, Law, find_law, laws_for, numbers
from tinyquant.testing.report import one_line, report_lines
from tinyquant.testing.shrink import complexity, shrink

__all__ = ["CheckResult", "PropertyBroken", "assert_property", "check", "tie_rule"]

_ASKED_FOR = ("rounding_mode",)
"""Laws that are only checked when the exercise names what they need."""


class PropertyBroken(AssertionError):
    """A law does not hold; the message is the report."""


@dataclass(frozen=True)
class CheckResult:
    """What `check` found.

    Attributes
    ----------
    role : str
        The function that was asked for.
    passed : bool
    laws : tuple of str
        The laws that were tried, in order.
    tries : int
        How many cases were tried, those of the shrinking included.
    seconds : float
    broken_law : str
        The law that does not hold, else "".
    case : Case or None
        The smallest input found that breaks it.
    broken : Broken or None
        The answer given, the right one, and the allowed error.
    tie_rule : str
        For a quantize: which rule of ties it follows ("half_even", ...), or "" when it follows none of the named ones.
    not_started : bool
        The function raises NotImplementedError.
    looks_like : str
        The known slip whose answers these are, in a sentence; "" unless exactly one fits.
    error : BaseException or None
        What the function raised on the smallest input, with its traceback, if that is how it broke the law. Not in `to_dict`.
    """

    role: str
    passed: bool
    laws: tuple[str, ...]
    tries: int
    seconds: float
    broken_law: str = ""
    case: Case | None = None
    broken: Broken | None = None
    tie_rule: str = ""
    not_started: bool = False
    looks_like: str = ""
    error: BaseException | None = field(default=None, repr=False, compare=False)

    def to_text(self, next_action: str = "") -> str:
        """The report: at most 8 lines of 80 columns, the last of them ``next_action`` where one is given."""
        if self.not_started:
            return one_line(f"{self.role} is not started yet: it raises NotImplementedError.")
        if self.case is None or self.broken is None:
            rule = f"; ties go {self.tie_rule}" if self.tie_rule else ""
            return one_line(f"{self.role} keeps all {len(self.laws)} laws ({self.tries} inputs{rule}).")
        return "\n".join(report_lines(self.role, self.broken_law, self.case, self.broken, self.looks_like, next_action))

    def to_dict(self) -> dict[str, object]:
        """The same as plain numbers, strings, lists and dicts, ready for json."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "error"}
        found["laws"] = list(self.laws)
        found["case"] = None if self.case is None else {k: _plain(v) for k, v in self.case._asdict().items()}
        if self.broken is not None:
            found["broken"] = {"yours": self.broken.yours, "right": self.broken.right, "allowed": self.broken.allowed}
        return found


def _plain(value: object) -> object:
    """Tuples as lists."""
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def assert_property(name: str, case: Case, **functions: Callable[..., object]) -> None:
    """Raise `PropertyBroken`, with the report, unless the law holds on this case. For use inside a ``@given``.

    Parameters
    ----------
    name : str
        Of a law in `LAWS`.
    case : Case
        Of the kind the law is tried on.
    functions : callables by role
        The function the law is about, and any other it may use: ``quantize=my_quantize``.

    Raises
    ------
    PropertyBroken
        An AssertionError.
    ValueError, TypeError
        No such law, another kind of case, or the function it is about is missing.

    Examples
    --------
    >>> from tinyquant.testing import MapCase
    >>> assert_property("saturates", MapCase((300.0,)), quantize=lambda x, scale: [127])
    """
    one = find_law(name)
    broken = one.judge(case, functions)
    if broken is not None:
        raise PropertyBroken("\n".join(report_lines(one.role, name, case, broken))) from broken.error


def check(
    fn: Callable[..., object] | None = None,
    *laws: str,
    role: str = "",
    mode: str = "",
    engine: str = "auto",
    examples: int = 200,
    cases: Iterable[Case] | None = None,
    int8: bool = False,
    flat: bool = False,
    **functions: Callable[..., object],
) -> CheckResult:
    """Look for an input on which a function breaks a law, and make it as small as possible.

    Parameters
    ----------
    fn : callable, any number library or none
        Its parameters are matched by name: ``quantize(x, scale, zero_point, qmin=-128, qmax=127)``, or ``quantize(x, qp)``; one
        without qmin and qmax is only asked for int8 codes.
    laws : str
        Names of laws; all those about the function if none is named.
    role : str
        Which function it is, when its own name does not say so: quantize, dequantize, choose_qparams, fake_quantize,
        ste_gradient, round_to_int, accumulate, centred_dot, quantize_multiplier, requantize, integer_layer, backward, integer,
        split_error, tie_breaker, scale_gradient, minmax_range, percentile_range, mse_range, times_smaller, images_lost,
        sign_test, recall, choose_threshold or paired_interval.
    mode : str
        A rounding rule that the function must follow on ties; without it every nearest rule is right.
    engine : str
        "grid" (fixed boundary cases), "hypothesis", or "auto": the grid first, then hypothesis if it is installed.
    examples : int
        How many inputs hypothesis draws for each law.
    cases : iterable of Case
        Your own cases, in place of the grid and of hypothesis: one or more, of the kinds that the laws are tried on.
    int8 : bool
        Only codes that int8 holds are asked for: the function casts to int8 whatever qmin and qmax say.
    flat : bool
        Only one-dimensional arrays are asked for: a plain loop over the numbers is right. Otherwise the shape must not matter.
    functions : callables by role
        Others that a law may use: ``check(my_fake_quantize, quantize=my_quantize)``, ``check(integer=run, qat=trained)``.

    Returns
    -------
    CheckResult

    Raises
    ------
    ValueError, TypeError
        An unknown role, law or engine, no case or one of another kind, or parameters that cannot be matched by name.

    Examples
    --------
    Code that is not ours, in plain numpy, with a mistake: it casts before it clips.

    >>> import numpy as np
    >>> def to_int8(x, scale, zero_point):
    ...     return np.clip(np.round(x / scale + zero_point).astype(np.int64).astype(np.int8), -128, 127)
    >>> print(check(to_int8, role="quantize", engine="grid").to_text())
    quantize breaks the law saturates
      input    x=[128.0], scale=1.0, zero_point=0, qmin=-128, qmax=127
      yours    code -128 for 128
      right    code 127, the last one on that side
      allowed  none: the answer is exact
      the law  what lies outside the range gets the last code on its side: it
               saturates, never wraps
      next     work this input by hand, then print each step of your code for it
    """
    if engine not in ("auto", "grid", "hypothesis"):
        raise ValueError(f"engine must be auto, grid or hypothesis, got {engine!r}. Choose one.")
    if mode and mode not in exact.EXACT_MODES:
        raise ValueError(f"mode must be one of {', '.join(exact.EXACT_MODES)}, got {mode!r}. Name one of them.")
    roles = {one.role for one in LAWS.values()}
    if fn is None:
        named = [name for name in functions if name in roles] if not role else [role]
        role = "integer" if "integer" in named else named[0] if named else role
        everything = dict(functions)
    else:
        role = role or getattr(fn, "__name__", "")
        everything = {**functions, role: fn}
    usual = [one for one in laws_for(role) if (mode or one.name not in _ASKED_FOR) and not (flat and one.rows)]
    wanted = [find_law(name) for name in laws] or usual
    start, tries = time.perf_counter(), 0
    own = None if cases is None else _own(cases, wanted)
    tested = everything.get(role)
    seen = "" if tested is None or role != "quantize" else tie_rule(tested)
    looking: list[Source] = _sources(engine, mode, examples, everything)
    if own is not None:
        looking = [lambda one: sorted((case for case in own if isinstance(case, one.kind)), key=complexity)]
    try:
        for source in looking:
            for one in wanted:

                def broken_on(case: Case, one: Law = one) -> bool:
                    nonlocal tries
                    if int8 and not (getattr(case, "qmin", 0) >= -128 and getattr(case, "qmax", 0) <= 127):
                        return False
                    subject = everything.get(one.role)
                    if subject is not None and not fits(subject, case):
                        return False
                    tries += 1
                    return one.judge(case, everything) is not None

                found = _first(source(one), broken_on)
                if found is not None:
                    small = shrink(found, broken_on)
                    broken = one.judge(small, everything)
                    guess = "" if tested is None else _known_slip(role, tested, everything, mode, one.name)
                    return CheckResult(
                        role,
                        False,
                        tuple(o.name for o in wanted),
                        tries,
                        time.perf_counter() - start,
                        one.name,
                        small,
                        broken,
                        seen,
                        looks_like=guess,
                        error=None if broken is None else broken.error,
                    )
    except NotImplementedError:
        return CheckResult(role, False, tuple(o.name for o in wanted), tries, time.perf_counter() - start, not_started=True)
    return CheckResult(role, True, tuple(o.name for o in wanted), tries, time.perf_counter() - start, tie_rule=seen)


def _own(cases: Iterable[Case], wanted: Sequence[Law]) -> list[Case]:
    """The cases handed in, where each is of a kind that some law is tried on."""
    own, kinds = list(cases), tuple({one.kind for one in wanted})
    names = " or ".join(sorted(kind.__name__ for kind in kinds))
    if not own:
        raise ValueError(f"cases must hold one {names} at least, got none. Leave it out for the grid.")
    strange = next((case for case in own if not isinstance(case, kinds)), None)
    if strange is not None:
        raise ValueError(f"cases must hold {names} only, got {strange!r}. Name the laws that it is for.")
    return own


def _known_slip(role: str, tested: Callable[..., object], functions: Functions, mode: str, law: str) -> str:
    """The slip that these answers are known for; those of `round_to_int` are kept for one rule only."""
    from tinyquant.testing.wrong_answers import looks_like

    if role == "round_to_int" and mode not in ("", "half_away"):
        return ""
    return looks_like(role, tested, functions, mode, law)


Source = Callable[[Law], "Iterable[Case] | Callable[[Callable[[Case], bool]], Case | None]"]


def _sources(engine: str, mode: str, examples: int, functions: Functions) -> list[Source]:
    """Where cases come from, in the order they are asked."""
    rule = mode or "half_away"
    found: list[Source] = []
    if engine in ("auto", "grid"):
        found.append(lambda one: _simplest_first(one.kind, rule))
    if engine == "hypothesis" or (engine == "auto" and importlib.util.find_spec("hypothesis") is not None):
        found.append(lambda one: lambda fails: _drawn(one, functions, rule, examples, fails))
    return found


@cache
def _simplest_first(kind: type, mode: str) -> tuple[Case, ...]:
    """The grid in the order in which it is tried."""
    return tuple(sorted(grid(kind, mode), key=complexity))


def _first(source: object, fails: Callable[[Case], bool]) -> Case | None:
    """A case of the source that fails; of a list the simplest."""
    if callable(source):
        found = source(fails)
        return found
    for case in source:  # type: ignore[attr-defined]
        if fails(case):
            return case
    return None


def _drawn(one: Law, functions: Functions, mode: str, examples: int, fails: Callable[[Case], bool]) -> Case | None:
    """A failing case that hypothesis finds, or None."""
    import hypothesis
    from hypothesis.errors import Flaky, NoSuchExample

    from tinyquant.testing import strategies

    subject = functions.get(one.role)
    eight = subject is not None and not fits(subject, MapCase((0.0,), 1.0, 0, -127, 127))
    seen: list[Case] = []
    ended: list[Abort] = []

    def recorded(case: Case) -> bool:
        # hypothesis would take an exception for the failure it looks for, and try to make it smaller.
        if ended:
            return True
        try:
            failed = fails(case)
        except Abort as end:
            ended.append(end)
            return True
        if failed:
            seen.append(case)
        return failed

    settings = hypothesis.settings(max_examples=examples, derandomize=True, database=None, deadline=None,
                                   suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    try:
        found = hypothesis.find(strategies.cases(one.kind, mode, eight), recorded, settings=settings)
    except NoSuchExample:
        return None
    except Flaky:
        found = seen[-1] if seen else None
    if ended:
        raise ended[0]
    return found


def tie_rule(quantize: Callable[..., object]) -> str:
    """The name of the rule of ties that a quantize follows with zero point 0: half_even, half_away, ...; "" if none fits.

    Examples
    --------
    >>> tie_rule(lambda x, scale: np.round(x / scale))
    'half_even'
    """
    ties = tuple(n + 0.5 for n in range(-6, 6))
    case = MapCase(ties)
    given = {"x": np.array(ties), "scale": 1.0, "zero_point": 0, "qmin": case.qmin, "qmax": case.qmax}
    try:
        got = numbers(call(quantize, given), len(ties))
    except Abort:
        raise
    except Exception:
        return ""
    for mode in exact.NEAREST:
        if got == [exact.round_to_int(Fraction(t), mode) for t in ties]:
            return mode
    return ""
