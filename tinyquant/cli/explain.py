"""`tinyquant explain`: one output element of one node, every step of it, for reading or as JSON."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from tinyquant.analysis.explain import explain
from tinyquant.cli.model_files import read_codes, read_model
from tinyquant.graph import Graph
from tinyquant.integer.registry import known_dialects

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "explain",
        help="every step of one output element of one node",
        description="Steps through one number: the products, the sum, the multiplier, each rounding, the clamp, the code. "
        "NODE is a name, or the number in the first column of `tinyquant inspect`. INDEX is one number an axis of the node's "
        "output, joined by commas, the batch first. Example: tinyquant explain model.tflite input.npy conv1 0,3,4,1",
    )
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="a .tflite file, or an .npz archive of tinyquant"
    )
    parser.add_argument("input", type=Path, metavar="INPUT", help="as for `tinyquant run`")
    parser.add_argument("node", metavar="NODE", help="a node's name or number; example: conv1")
    parser.add_argument("index", type=_index, metavar="INDEX", help="of the element; example: 0,3,4,1")
    parser.add_argument(
        "--dialect",
        choices=known_dialects(),
        default="tflm",
        help="whose arithmetic (default: tflm, TFLite Micro)",
    )
    parser.add_argument("--json", action="store_true", help="every number as JSON instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do it; 0 when done."""
    model = read_model(args.model)
    codes, _ = read_codes(args.input, model)
    why = explain(model, codes, _name(model.graph, args.node), args.index, dialect=args.dialect)
    print(json.dumps(why.to_dict(), indent=1) if args.json else why.text, end="\n" if args.json else "")
    return 0


def _index(text: str) -> tuple[int, ...]:
    """0,3,4,1 as a tuple; brackets and blanks around the numbers do no harm."""
    if not re.fullmatch(r"[\[(]?\s*(\d+\s*(,\s*\d+\s*)*)?[\])]?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"must be whole numbers joined by commas, as 0,3,4,1, got {text!r}")
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _name(graph: Graph, given: str) -> str:
    """The node's name, from the name, from one of the names that a converter joined in it, or from its number."""
    names = [node.name for node in graph]
    if given in names:
        return given
    if given.isascii() and given.isdigit() and int(given) < len(names):
        return names[int(given)]
    holding = [name for name in names if given in name.split(";")]
    return holding[0] if len(holding) == 1 else given
