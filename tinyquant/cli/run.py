"""`tinyquant run`: codes or real numbers through a model file, the output as an array file."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tinyquant.analysis.explanations.story import plain
from tinyquant.cli.model_files import npy_bytes, npz_bytes, read_codes, read_model, write_all
from tinyquant.graph import Value
from tinyquant.integer.registry import known_dialects, known_engines

__all__ = ["add", "run"]

_SHOWN = 8
"""How many values, and how many rows, are printed."""


def add(commands: Any) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        "run",
        help="run a model file on an array file",
        description="Runs a .tflite file or an .npz archive of tinyquant on integers only. INPUT is an .npy file of int8 codes, "
        "taken as they are, or of float32 numbers, which are quantized at the door; a model of several inputs takes an .npz "
        "file with one array for each, by name. The output is written as codes. "
        "Example: tinyquant run model.tflite input.npy --out out.npy --trace trace.npz",
    )
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="a .tflite file, or an .npz archive of tinyquant"
    )
    parser.add_argument(
        "input", type=Path, metavar="INPUT", help="an .npy file (an .npz file for several inputs)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where the output goes, as .npy (.npz for several outputs)"
    )
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="where every intermediate goes, as .npz, by node name"
    )
    parser.add_argument(
        "--dialect",
        choices=known_dialects(),
        default="tflm",
        help="whose arithmetic (default: tflm, TFLite Micro)",
    )
    parser.add_argument(
        "--engine",
        choices=("auto", *known_engines()),
        default="reference",
        help="how it is computed (default: reference)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do it; 0 when done."""
    model = read_model(args.model)
    codes, done = read_codes(args.input, model)
    several = len(model.outputs) > 1
    for path, suffix in ((args.out, ".npz" if several else ".npy"), (args.trace, ".npz")):
        if path is not None and path.suffix != suffix:
            raise ValueError(f"the file to write must end in {suffix} for this model, got {str(path)!r}.")
    if args.out is not None and args.out == args.trace:
        raise ValueError(
            f"output and trace must go to two files, got {str(args.out)!r} for both. Name another."
        )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = model.run(codes, engine=args.engine, dialect=args.dialect)
        outputs = result if isinstance(result, list) else [result]
        trace = model.trace(codes, dialect=args.dialect) if args.trace else {}
    for message in dict.fromkeys(str(warning.message) for warning in told):
        print(f"tinyquant: {message}", file=sys.stderr)

    files = {}
    if args.out:
        named = {value.name: array for value, array in zip(model.outputs, outputs)}
        files[args.out] = npz_bytes(named) if several else npy_bytes(outputs[0])
    if args.trace:
        files[args.trace] = npz_bytes(trace)
    write_all(files)

    print(f"model    {args.model}: {len(model.graph)} nodes, engine {args.engine}, dialect {args.dialect}")
    for value in model.inputs:
        print(f"input    {plain(value.name)}: {_array(codes[value.name])}, {done[value.name]}")
    for value, array in zip(model.outputs, outputs):
        print(f"output   {plain(value.name)}: {_array(array)}{_meaning(value)}, begins {_first(array)}")
        if array.ndim == 2 and array.size:
            print(f"top-1    {_winners(array)}")
    if args.out:
        print(f"wrote    {args.out}")
    if args.trace:
        print(f"wrote    {args.trace}: {len(trace)} arrays")
    return 0


def _array(array: np.ndarray) -> str:
    """Type and shape."""
    return f"{array.dtype} {list(array.shape)}"


def _meaning(value: Value) -> str:
    """What a code means."""
    if value.qparams is None:
        return ""
    return f", scale {float(np.float32(value.qparams.scale)):.6g}, zero point {value.qparams.zero_point}"


def _first(array: np.ndarray) -> str:
    """The first few values."""
    values = [f"{v:.6g}" if isinstance(v, float) else str(v) for v in array.ravel()[:_SHOWN].tolist()]
    return (
        " ".join(values) + (" ..." if array.size > _SHOWN else "") if values else "with nothing: it is empty"
    )


def _winners(array: np.ndarray) -> str:
    """The largest entry of every row, ties to the lowest index."""
    best = [str(i) for i in array.argmax(axis=1)[:_SHOWN]]
    rows = "row 0" if len(array) == 1 else f"rows 0 to {len(best) - 1} of {len(array)}"
    return f"{rows}: {' '.join(best)}"
