"""The command line: `tinyquant` and `python -m tinyquant` are this program.

Each command is a file of this room with two functions: `add(commands)` describes its arguments, `run(args)`
does the work and returns the exit code. Only this room prints, and what a notebook calls (`labs/notebook.py`).

Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 bad input (a file, an array, a student's code), 4 something is not
installed, 5 an exercise is not started, 6 it did not come to an end.
"""

from __future__ import annotations

import argparse
import difflib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tinyquant.cli import (
    check,
    define,
    demo,
    doctor,
    explain,
    explore,
    figures,
    hint,
    inspect,
    lab,
    report,
    run,
    study,
)
from tinyquant.cli.one_thread import run_in_one_thread

__all__ = ["main"]

_COMMANDS = (demo, lab, check, hint, define, doctor, inspect, run, explain, report, figures, study, explore)


class _Parser(argparse.ArgumentParser):
    """Says what was probably meant when a command is misspelt."""

    def error(self, message: str) -> NoReturn:
        wrong = message.split("invalid choice: ")[-1].split("'")[1] if "invalid choice: '" in message else ""
        near = difflib.get_close_matches(wrong, _names(self), n=1) if wrong else []
        hint = f" Did you mean {near[0]!r}?" if near else f" See {self.prog} --help."
        self.exit(2, f"{self.prog}: {message}.{hint}\n")


def _names(parser: argparse.ArgumentParser) -> list[str]:
    """The commands a parser knows."""
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [name for table in choices for name in table]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is returned, never raised, for bad input."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may hold a letter that this terminal cannot write
            stream.reconfigure(errors="backslashreplace")
    parser = _Parser(prog="tinyquant", description="Neural network quantization from scratch, with every box open.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    for module in _COMMANDS:
        module.add(commands)
    args = parser.parse_args(argv)
    if getattr(args, "one_thread", False):
        code = run_in_one_thread(sys.argv[1:] if argv is None else argv)
        if code is not None:
            return code
    try:
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever reads has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ImportError as error:
        return _say(error, 4)
    except (ValueError, TypeError, KeyError, OSError) as error:
        return _say(error, 3)
    except KeyboardInterrupt:
        return _say("stopped", 130)


def _say(error: object, code: int) -> int:
    """One sentence on the error stream."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    print(f"tinyquant: {text}", file=sys.stderr)
    return code
