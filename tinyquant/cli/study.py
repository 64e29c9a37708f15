"""`tinyquant study`: questions that need many seeds, answered with their intervals.

`table` is the lecture's table with the control it lacks; `acceptable` asks what a drop of accuracy means where one
kind of mistake is a missed cancer; `shapes` makes findings of the literature again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyquant.cli.progress import ProgressLine
from tinyquant.interop.files import write_atomically
from tinyquant.study.doctor import Doctors, all_counts, doctor_csv, doctor_text
from tinyquant.study.doctor_runs import SETTINGS, run_doctor
from tinyquant.study.kept import Kept, Outcome
from tinyquant.study.shapes import all_numbers, shapes_csv, shapes_text
from tinyquant.study.shapes_runs import SHAPE_SETTINGS, run_shapes
from tinyquant.study.sweep import Progress, SweepError, Task, sweep
from tinyquant.study.table import summarise
from tinyquant.study.table_runs import USUAL_WIDTH, WIDTH, TablePlan, run_seed
from tinyquant.study.table_text import seeds_csv, table_csv, table_text

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "study",
        help="the lecture's table with many seeds, its control, and intervals",
        description="Experiments with many seeds. Results are kept in one file a study, so a study that was stopped goes on.",
    )
    studies = parser.add_subparsers(title="studies", metavar="STUDY", required=True)
    _add_table(studies)
    _study(
        studies, "acceptable", _acceptable, "Missed cancers beside misread digits at 8, 4 and 3 bits, with intervals.",
        seeds="30", takes="some 40 seconds",
    )  # fmt: skip
    _study(
        studies, "shapes", _shapes, "Six findings of the literature made again, beside the published numbers.",
        seeds="8", takes="80 seconds",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run the study that was asked for."""
    try:
        return int(args.study(args))
    except SweepError as error:
        print(f"tinyquant: {error}", file=sys.stderr)
        return 3


def _study(studies: Any, name: str, study: Any, text: str, *, seeds: str, takes: str) -> argparse.ArgumentParser:
    """What every study takes."""
    more = f"It takes {takes} on one processor, half on two. Everything is printed, and written to the folder --out."
    parser: argparse.ArgumentParser = studies.add_parser(name, help=text, description=f"{text} {more}")
    parser.add_argument("--seeds", type=int, metavar="N", help=f"how many seeds (default: {seeds})")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes at a time (default: one a processor)")
    parser.add_argument("--out", type=Path, default=Path("tinyquant-study"), help="folder of results (default: %(default)s)")
    parser.set_defaults(run=run, study=study, one_thread=True)
    return parser


def _add_table(studies: Any) -> None:
    """The arguments of `table`."""
    parser = _study(
        studies, "table", _table, "Float, PTQ, QAT and the control on three networks, with intervals, the published rows beside.",
        seeds="30 for the MLP, 5 for the ConvNets", takes="three minutes (the MLP alone one)",
    )  # fmt: skip
    parser.add_argument("--bits", type=_numbers, metavar="8,4", help="widths of the weights (default: mlp 8,3,2; ConvNets 8,4)")
    parser.add_argument(
        "--networks", type=_names, metavar="NAMES", default=("mlp", "resnet", "mobilenet"), help="of mlp,resnet,mobilenet"
    )
    parser.add_argument(
        "--width", type=int, metavar="N", default=WIDTH,
        help=f"channels of the ConvNets at the stem (default: {WIDTH}; the usual networks have {USUAL_WIDTH})",
    )  # fmt: skip


def _table(args: argparse.Namespace) -> int:
    """Run what is missing, print the table, write it as text and CSV."""
    plan = TablePlan.of(args.networks, seeds=args.seeds, bits=args.bits, width=args.width)
    _make_folder(args.out)
    # Another width is another table, with files of its own.
    ending = "" if args.width == WIDTH else f"_width{args.width}"
    kept = Kept(args.out / f"table{ending}.json", "table", plan.settings)
    sweep(run_seed, plan.tasks(kept), kept, jobs=args.jobs, progress=_shown_line())
    rows = summarise(kept, plan)
    text = table_text(rows)
    files = {f"table{ending}.txt": text, f"table{ending}.csv": table_csv(rows), f"seeds{ending}.csv": seeds_csv(rows)}
    for name, content in files.items():
        write_atomically(args.out / name, content.encode("ascii"))
    print(text)
    print(f"Kept:          {kept.path} (every seed; run again with more seeds and only those are run)")
    print(f"As files:      {args.out / next(iter(files))}, {', '.join(list(files)[1:])}")
    return 0


def _acceptable(args: argparse.Namespace) -> int:
    """Cat or cancer."""
    found = Doctors(_outcomes(args, "acceptable", run_doctor, SETTINGS, seeds=30, read=all_counts))
    return _told(args, "acceptable", doctor_text(found), doctor_csv(found))


def _shapes(args: argparse.Namespace) -> int:
    """The published shapes."""
    outcomes = _outcomes(args, "shapes", run_shapes, SHAPE_SETTINGS, seeds=8, read=all_numbers)
    return _told(args, "shapes", shapes_text(outcomes), shapes_csv(outcomes))


def _outcomes(
    args: argparse.Namespace, name: str, function: Any, settings: dict[str, Any], *, seeds: int,
    read: Callable[[Outcome], Outcome],
) -> list[Outcome]:
    """Run the seeds that are missing; all of them in order, each as `read` gives it, which refuses a damaged one."""
    count = seeds if args.seeds is None else args.seeds
    if count < 2:
        raise ValueError(f"seeds must be 2 or more, got {count}. One seed has no interval.")
    _make_folder(args.out)
    kept = Kept(args.out / f"{name}.json", name, settings)
    keys = [f"seed {seed:03d}" for seed in range(count)]
    for key in keys:
        if key in kept.results:
            kept.read(key, read)
    tasks = [Task(key, (seed, settings)) for seed, key in enumerate(keys) if key not in kept.results]
    sweep(function, tasks, kept, jobs=args.jobs, progress=_shown_line())
    return [kept.read(key, read) for key in keys]


def _make_folder(path: Path) -> None:
    """The folder of results."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        taken = next(part for part in (path, *path.parents) if part.is_file() or part.is_symlink())
        raise ValueError(f"--out must be a folder, got {path}: {taken} is a file. Name another.") from None


def _told(args: argparse.Namespace, name: str, text: str, table: str) -> int:
    """Print the answer, and write it as text and CSV."""
    for ending, content in (("txt", text), ("csv", table)):
        write_atomically(args.out / f"{name}.{ending}", content.encode("ascii"))
    print(text)
    print(f"Kept:          {args.out / name}.json (every seed)")
    print(f"As files:      {args.out / name}.txt, {name}.csv")
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    """Whole numbers between commas."""
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers with commas between them, such as 8,4, got {text!r}") from None


def _names(text: str) -> tuple[str, ...]:
    """Words between commas."""
    return tuple(word.strip() for word in text.split(","))


def _shown_line() -> Callable[[Progress], None]:
    """What a sweep calls after each run: one line, how far and how long yet."""
    say = ProgressLine(every=10)

    def show(now: Progress) -> None:
        if now.total:
            left = "" if now.left is None else f", {_time(now.left)} left"
            say(f"{now.done} of {now.total} runs, {_time(now.seconds)}{left}", last=now.done == now.total)

    return show


def _time(seconds: float) -> str:
    """Minutes once there are some."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
