"""`tinyquant report`: a model on one self-contained page of HTML."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinyquant.analysis.report import report
from tinyquant.cli.model_files import read_codes, read_model, write_all

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "report",
        help="one page for a model: its graph, each node's numbers, memory, and one number stepped through",
        description="Writes one HTML file that opens anywhere, offline. Example: tinyquant report model.tflite -o model.html",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tflite file, or an .npz archive of tinyquant")
    parser.add_argument("-o", "--out", type=Path, default=Path("report.html"), help="the page to write (default: report.html)")
    parser.add_argument("--input", type=Path, help="what histograms and steps are made with, as for `tinyquant run`")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do it; 0 when done."""
    model = read_model(args.model)
    codes = None if args.input is None else read_codes(args.input, model)[0]
    page = report(model, codes, title=args.model.stem)
    write_all({args.out: page.encode()})
    print(f"{args.out}: {len(model.graph)} nodes, {len(page.encode()):,} bytes. Open it in any browser.")
    return 0
