"""`tinyquant hint` and `tinyquant solution`: three hints, one at a time; the solution after a pass, or when you give up."""

from __future__ import annotations

import argparse
from typing import Any

from tinyquant.cli.lab import progress_of, say_trouble
from tinyquant.labs.sittings import find_exercise, sitting_of
from tinyquant.labs.sources import solution
from tinyquant.labs.workplace import lab_folder

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Describe the arguments of both commands."""
    hint = commands.add_parser(
        "hint", help="the next of three hints: a question, the formula, nearly the code",
        description="Each call shows one more. Example: tinyquant hint 1.1",
    )  # fmt: skip
    hint.add_argument("exercise", metavar="N.M")
    hint.add_argument("--all", action="store_true", help="all three at once")
    hint.set_defaults(run=run)
    shown = commands.add_parser(
        "solution", help="a solution of an exercise that you have passed, or given up",
        description="Solutions are public: labs are there to learn from. Example: tinyquant solution 1.1",
    )  # fmt: skip
    shown.add_argument("exercise", metavar="N.M")
    shown.add_argument(
        "--give-up",
        action="store_true",
        help="show it although the exercise is not passed; this is remembered",
    )
    shown.set_defaults(run=_solution)


def run(args: argparse.Namespace) -> int:
    """Show one hint more."""
    item = find_exercise(args.exercise)
    progress = progress_of(lab_folder())
    count = 3 if args.all else min(3, progress.hints.get(item.number, 0) + 1)
    for number, text in enumerate(item.hints[:count], 1):
        if args.all or number == count:
            print(f"{item.number} {item.function}, hint {number} of 3")
            print("\n".join(f"  {line}" for line in text.splitlines()))
    if count < 3:
        print(f"  more     tinyquant hint {item.number}")
    else:
        print(f"  that was the last; the solution: tinyquant solution {item.number} --give-up")
    progress.hints[item.number] = count
    progress.write()
    if progress.trouble and count < 3:
        print(f"  all      tinyquant hint {item.number} --all (which hints you had cannot be kept here)")
    say_trouble(progress)
    return 0


def _solution(args: argparse.Namespace) -> int:
    """Show the solution, if it may be seen."""
    item = find_exercise(args.exercise)
    progress = progress_of(lab_folder())
    if not args.give_up and item.number not in progress.passed | progress.gave_up:
        print(f"{item.number} {item.function} is not passed yet. A hint: tinyquant hint {item.number}")
        print(f"To see it all the same: tinyquant solution {item.number} --give-up")
        return 1
    print(solution(sitting_of(item), item))
    if args.give_up and item.number not in progress.passed:
        progress.gave_up.add(item.number)
        progress.write()
        say_trouble(progress)
    return 0
