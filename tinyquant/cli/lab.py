"""`tinyquant lab`: the sittings of the course, begun, listed, packed and unpacked.

`lab` alone lists them with what has been passed; `lab start N` writes the lab's file into ./labs; `lab save` and `lab restore`
carry everything from one machine (or one hosted notebook that forgets) to the next.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import Any

from tinyquant.labs.sittings import find_sitting, sittings
from tinyquant.labs.workplace import Progress, begin, lab_file, lab_folder, next_open, restore_all, save_all

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "lab",
        help="the sittings of the course: list them, start one, carry your work elsewhere",
        description="Without more words: the sittings, and how far you are. Example: tinyquant lab start 1",
    )
    parser.set_defaults(run=run, lab=_list)
    parts = parser.add_subparsers(title="parts", metavar="PART")
    start = parts.add_parser(
        "start", help="write the file of a sitting into ./labs", description="Example: tinyquant lab start 1"
    )
    start.add_argument("sitting", metavar="N", help="its number, 0 to 6")
    start.add_argument(
        "--notebook", action="store_true", help="a notebook in place of a script (needs jupytext)"
    )
    start.add_argument(
        "--force", action="store_true", help="begin again; what is there is kept as a copy (.bak)"
    )
    start.set_defaults(lab=_start)
    for name, what, function in (
        ("save", "pack your labs and what you passed into one zip", _save),
        ("restore", "unpack such a zip; files that differ are kept as copies (.bak)", _restore),
    ):
        part = parts.add_parser(name, help=what, description=f"{what}. Example: tinyquant lab {name}")
        part.add_argument("file", nargs="?", type=Path, default=Path("tinyquant-labs.zip"), metavar="FILE",
                          help="default: %(default)s")  # fmt: skip
        part.set_defaults(lab=function)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    return int(args.lab(args))


def progress_of(folder: Path) -> Progress:
    """What is remembered, with a word on the error stream when something is wrong with it."""
    progress = Progress.read(folder)
    say_trouble(progress)
    return progress


def say_trouble(progress: Progress) -> None:
    """One line on the error stream, once."""
    if progress.trouble:
        print(f"tinyquant: {progress.trouble}", file=sys.stderr)
        progress.trouble = ""


def _list(args: argparse.Namespace) -> int:
    """All sittings, a bar each, and what is next."""
    folder = lab_folder()
    progress = progress_of(folder)
    print("The sittings (# passed, . open, the last two of each are a stretch and a bug to find)\n")
    for one in sittings():
        bar = "".join("#" if item.number in progress.passed else "." for item in one.exercises)
        file = lab_file(one, folder)
        where = short_path(file) if file else f"tinyquant lab start {one.number}"
        print(f"  {one.number}  {one.title:<46} [{bar}]  {where}")
    found = next_open(progress)
    if found is None:
        first = next((one.number for one in sittings() if lab_file(one, folder) is None), None)
        print("\nAll done." if first is None else f"\nNext: tinyquant lab start {first}")
    else:
        sitting, item = found
        print(f"\nNext: {item.number} {item.function} ({item.title}) in {short_path(lab_file(sitting, folder))}")
        print(f"      tinyquant check {item.number}")
    return 0


def short_path(path: Path | None) -> str:
    """A path as short as it can be typed."""
    if path is None:
        return ""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _start(args: argparse.Namespace) -> int:
    """Write the starter."""
    sitting = find_sitting(args.sitting)
    path, kept = begin(sitting, lab_folder(), notebook=args.notebook, force=args.force)
    print(f"{short_path(path)} is yours: {sitting.title}.")
    print(textwrap.fill(sitting.why, 80))
    if kept is not None:
        print(f"What was there is kept as {short_path(kept)}")
    first = sitting.exercises[0]
    print(f"Open it, write {first.function} ({first.title}), then: tinyquant check {first.number}")
    return 0


def _save(args: argparse.Namespace) -> int:
    """Pack."""
    names = save_all(lab_folder(), args.file)
    name = f'"{args.file.name}"' if " " in args.file.name else args.file.name
    print(f"{args.file}: {len(names)} files ({', '.join(names)})")
    print(f"Elsewhere: tinyquant lab restore {name}")
    return 0


def _restore(args: argparse.Namespace) -> int:
    """Unpack."""
    folder = lab_folder()
    names, kept = restore_all(args.file, folder)
    print(
        f"{len(names)} files are in {short_path(folder)}"
        + (f"; yours that differed are kept: {', '.join(kept)}" if kept else "")
    )
    return 0
