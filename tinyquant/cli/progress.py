"""How far a command is, in one line on the error stream: rewritten on a terminal, a line now and then in a log.

With this module a command that takes longer than two seconds can say so (`ProgressLine`).
"""

from __future__ import annotations

import sys
import time

__all__ = ["ProgressLine"]

_WIDTH = 78


class ProgressLine:
    """Call it with what is being done.

    Parameters
    ----------
    every : float
        Seconds, at least, between two lines of a log.
    """

    def __init__(self, every: float = 0.0) -> None:
        self._every = every
        self._said = -every
        self._shown = False

    def __call__(self, text: str, *, last: bool = False, detail: bool = False) -> None:
        """Show it. The last line stays on a terminal; a detail is not worth a line of a log."""
        if sys.stderr.isatty():
            print(f"\r{text:<{_WIDTH}}", end="\n" if last else "", file=sys.stderr, flush=True)
            self._shown = not last
        elif last or (not detail and time.monotonic() - self._said >= self._every):
            self._said = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Leave a terminal as it was before: what comes next begins in an empty line."""
        if self._shown:
            print(f"\r{'':<{_WIDTH}}\r", end="", file=sys.stderr, flush=True)
            self._shown = False
