"""`tinyquant define`: a word of the field on one screen."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from tinyquant.labs.glossary import define, terms

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "define", help="what a word means: scale, zero point, STE, requantize, ...",
        description="One screen a word; without one, the words there are. Example: tinyquant define scale",
    )  # fmt: skip
    parser.add_argument("term", nargs="*", metavar="TERM", help="of one or several words")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Define it, or list what can be defined."""
    if args.term:
        print(define(" ".join(args.term)))
    else:
        print(textwrap.fill(", ".join(terms()), 80))
    return 0
