"""While a check runs: the student's function must do the work itself, and it must come to an end.

Every call of the student's function is watched. A call from it into tinyquant is refused, by whatever name or way it was reached
(an import, an alias, the oracle of the testing kit, a thread): the exercise asks for that work. A call that takes too long is
ended.
With this module one can wrap a function in both (`Guard`), and catch a line of what it prints (`FirstLine`).
"""

from __future__ import annotations

import _thread
import functools
import io
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import tinyquant
from tinyquant.numerics.qparams import QParams
from tinyquant.testing.law import Abort

__all__ = ["Delegated", "FirstLine", "Guard", "OutOfTime"]

_PACKAGE = str(Path(tinyquant.__file__).parent) + os.sep

_STDLIB = str(Path(os.__file__).parent) + os.sep

_SHOWN = 640
"""Characters of a printed line that a report can show: eight lines of 80."""


class Delegated(Abort):
    """The student's function called the library's instead of doing the work; ``name`` says which, ``where`` from which line."""

    def __init__(self, name: str, where: str) -> None:
        super().__init__(f"{where} tinyquant's {name}")
        self.name, self.where = name, where


class OutOfTime(Abort):
    """One call took too long."""


class FirstLine(io.TextIOBase):
    """A stream that keeps the first line that is not blank, as far as a report can show it."""

    def __init__(self) -> None:
        self.line, self._whole = "", False

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Take it; once there is a line, nothing more is kept."""
        if not self._whole:
            self.line = (self.line + text[: _SHOWN]).lstrip()
            first, newline, _ = self.line.replace("\r", "\n").partition("\n")
            self._whole = bool(newline) or len(self.line) > _SHOWN
            self.line = first if self._whole else self.line
        return len(text)


def _codes_of(thing: object) -> set[types.CodeType]:
    """The code of a function, or of every method and property of a class."""
    if isinstance(thing, type):
        inner = [
            getattr(part, "fget", None) or getattr(part, "__func__", None) or part
            for part in vars(thing).values()
        ]
        return {part.__code__ for part in inner if isinstance(part, types.FunctionType)}
    code = getattr(thing, "__code__", None)
    return {code} if isinstance(code, types.CodeType) else set()


class Guard:
    """Wraps functions so that each call of them is watched; used as a context, which ends the watching of time.

    Parameters
    ----------
    allowed : names of public functions of tinyquant
        May be called all the same, with whatever they call themselves.
    seconds : float
        The longest one call may take.
    free : bool
        Anything of tinyquant may be called: who hunts a bug may search with it.

    Examples
    --------
    >>> with Guard() as guard:
    ...     guard.wrap(lambda x: x + 1)(2)
    3
    """

    def __init__(self, allowed: Collection[str] = (), seconds: float = 5.0, *, free: bool = False) -> None:
        self._free = free
        self._allowed = _codes_of(QParams).union(*(_codes_of(getattr(tinyquant, name)) for name in allowed))
        self._seconds = seconds
        self._known: dict[types.CodeType, bool] = {}
        self._lock = threading.Lock()
        self._since: float | None = None
        self._fired = False
        self._closed = threading.Event()
        self._handler: Any = None
        self.last: tuple[tuple[object, ...], dict[str, object]] = ((), {})
        """The arguments of the last call."""
        self.delegated: Delegated | None = None
        """The call that was refused: also where the student's function swallowed the refusal."""
        self.stuck: BaseException | None = None
        """Where the call was that took too long."""
        self._excepthook = threading.excepthook

    def __enter__(self) -> Guard:
        self._excepthook, threading.excepthook = threading.excepthook, self._say_of_a_thread
        # Only the main thread can be interrupted; elsewhere (a web server, a test runner's thread) there is no limit.
        if threading.current_thread() is threading.main_thread():
            # A process that was started in the background ignores the interrupt, unless it says otherwise.
            self._handler = signal.signal(signal.SIGINT, signal.default_int_handler)
            threading.Thread(target=self._watch_time, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        threading.excepthook = self._excepthook
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)

    def wrap(self, fn: Callable[..., object]) -> Callable[..., object]:
        """The function, watched; its parameters can still be seen."""

        @functools.wraps(fn)
        def watched(*args: object, **kwargs: object) -> object:
            self.last = (args, kwargs)
            before = sys.getprofile()
            before_in_threads = threading.getprofile()
            self._begin()
            try:
                if not self._free:
                    threading.setprofile(self._profile_of_a_thread)
                    sys.setprofile(self._profile())
                result = fn(*args, **kwargs)
                if self.delegated is not None:
                    raise self.delegated
                return result
            except KeyboardInterrupt as error:
                if not self._fired:
                    raise
                self.stuck = error
                raise OutOfTime(f"no answer after {self._seconds:g} s") from error
            except Exception:
                # The refusal itself, or what became of it in a net or in a thread.
                if self.delegated is not None:
                    raise self.delegated from None
                raise
            finally:
                sys.setprofile(before)
                threading.setprofile(before_in_threads)
                self._end()

        return watched

    def _profile(self) -> Callable[[types.FrameType, str, Any], None]:
        """What looks at every call while the student's function runs."""
        inside: types.FrameType | None = None

        def look(frame: types.FrameType, event: str, arg: object) -> None:
            nonlocal inside
            if event == "call":
                if inside is None and self._is_ours(frame.f_code):
                    if frame.f_code not in self._allowed:
                        sys.setprofile(None)
                        self.delegated = _delegated(frame)
                        raise self.delegated
                    inside = frame
            elif event == "return" and frame is inside:
                inside = None

        return look

    def _profile_of_a_thread(self, frame: types.FrameType, event: str, arg: object) -> None:
        """The first look in a thread that the student's function starts: each has its own from there on."""
        look = self._profile()
        sys.setprofile(look)
        look(frame, event, arg)

    def _say_of_a_thread(self, args: threading.ExceptHookArgs) -> None:
        """A refusal in a thread is reported with its call; nothing is printed of it."""
        if not issubclass(args.exc_type, Delegated):
            self._excepthook(args)

    def _is_ours(self, code: types.CodeType) -> bool:
        """Whether a code object belongs to the package."""
        if code not in self._known:
            name = code.co_filename
            self._known[code] = name.startswith(_PACKAGE) and name != __file__
        return self._known[code] or code in self._allowed

    def _begin(self) -> None:
        with self._lock:
            self._since, self._fired = time.monotonic(), False

    def _end(self) -> None:
        with self._lock:
            self._since = None
        if self._fired:
            known = self.stuck is not None
            # An interrupt that was sent while the call came to its end arrives here, and not in somebody else's line.
            try:
                time.sleep(0.02 if known else 1)
            except KeyboardInterrupt as error:
                self.stuck = self.stuck or error
            if not known:
                raise OutOfTime(f"no answer after {self._seconds:g} s")

    def _watch_time(self) -> None:
        """In a thread of its own: interrupts the main thread when a call is older than the limit, and again each second, should
        the student's code swallow it."""
        sent = 0.0
        while not self._closed.wait(0.1):
            with self._lock:
                now = time.monotonic()
                if self._since is not None and now - self._since > self._seconds and now - sent > 1:
                    self._fired, sent = True, now
                    _interrupt_the_main_thread()


def _delegated(frame: types.FrameType) -> Delegated:
    """The refusal of a call of the library's, with the line of the student's that made it, be it through numpy or a thread."""
    name, caller = frame.f_code.co_name, frame.f_back
    while caller is not None:
        file = caller.f_code.co_filename
        if file == __file__:
            return Delegated(name, "the function is")
        if not file.startswith(_STDLIB) and "site-packages" not in Path(file).parts:
            cell = "ipykernel" in file or file.startswith("<")
            return Delegated(name, f"line {caller.f_lineno} of {'your cell' if cell else Path(file).name} calls")
        caller = caller.f_back
    return Delegated(name, "a thread of yours calls")


def _interrupt_the_main_thread() -> None:
    """As Ctrl-C would: a signal wakes a sleeping call too, where there are signals to threads."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()
