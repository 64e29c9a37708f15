"""What a page or a lab calls while it runs, notebook or script: a guess written down, a figure shown, an exercise checked.

With this module one can record a prediction before the answer is seen (`predict`, `reveal`), show a figure wherever the code runs
(`show`), and check a live function (`check`).
"""

from __future__ import annotations

import ast
import importlib
import linecache
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyquant.labs.examine import Report, examine
from tinyquant.labs.sittings import find_exercise
from tinyquant.labs.student_code import Cell
from tinyquant.labs.workplace import Progress, lab_folder, what_is_next

__all__ = ["check", "predict", "reveal", "show"]

FIGURES = Path("tinyquant-figures")
"""Where a script's figures go, in the folder it is run in."""

_PATIENCE = 2.0
"""Seconds until a student is told that a check goes on."""

_guesses: dict[str, Any] = {}


def check(number: str, fn: Callable[..., object]) -> None:
    """Check your live function against an exercise, and print what came out.

    Parameters
    ----------
    number : str
        ``"1.1"``.
    fn : callable
        Your function, as it is now.

    Raises
    ------
    ValueError
        There is no such exercise.
    TypeError
        It is not a function.
    """
    item = find_exercise(number)
    if not callable(fn):
        raise TypeError(
            f'fn must be the function itself, got {type(fn).__name__}. Write check("{number}", {item.function}).'
        )
    # While a function is examined, what it prints is kept back; this line is ours.
    told = f"{number} {item.function}: still checking: many inputs are tried"
    waiting = threading.Timer(_PATIENCE, print, (told,), {"file": sys.stdout, "flush": True})
    waiting.daemon = True
    waiting.start()
    try:
        report = examine(item, fn, _cells_of(fn))
    finally:
        waiting.cancel()
    print(report.to_text())
    if report.passed:
        print(what_is_next(item, _remember(report)))


def _cells_of(fn: Callable[..., object]) -> list[Cell]:
    """The cell or file a live function was written in, so that its lines can be shown."""
    code = getattr(fn, "__code__", None)
    name = code.co_filename if code is not None else ""
    text = "".join(linecache.getlines(name))
    return [Cell(name, text, ast.Module([], []))] if text else []


def _remember(report: Report) -> Progress:
    """A passed exercise is kept; a folder that cannot be written to costs only the memory."""
    progress = Progress.read(lab_folder())
    if report.number not in progress.passed:
        progress.passed.add(report.number)
        progress.write()
    if progress.trouble:
        print(f"  note     {progress.trouble}")
    return progress


def predict(key: str, question: str, guess: object = None) -> None:
    """Write a guess down before the answer is seen. Without a guess it only asks; nothing ever waits for one.

    Parameters
    ----------
    key : str
        A short name, ``"5.a"``: `reveal` asks for it.
    question : str
    guess : number, str or None
    """
    if guess is None:
        print(f"{key}  {question}  (no guess yet)")
        return
    print(f"{key}  {question}  Your guess: {guess}")
    _guesses[key] = guess
    progress = Progress.read(lab_folder())
    plain = guess if isinstance(guess, (bool, int, float, str)) else str(guess)
    progress.predictions[key] = [question, plain]
    progress.write()


def reveal(key: str, answer: object) -> None:
    """Hold a guess against what came out, in one line.

    Parameters
    ----------
    key : str
        As given to `predict`.
    answer : number or str
    """
    guess = _guesses.get(key)
    if guess is None:
        guess = Progress.read(lab_folder()).predictions.get(key, ["", None])[1]
    told = f"{answer:.4g}" if isinstance(answer, float) else str(answer)
    if guess is None:
        print(f"{key}  it is {told}  (no guess was made)")
    elif (
        isinstance(guess, (int, float)) and isinstance(answer, (int, float)) and not isinstance(answer, bool)
    ):
        print(f"{key}  you said {guess}, it is {told}: off by {abs(guess - answer):.4g}")
    else:
        print(f"{key}  you said {guess}, it is {told}" + (": yes" if str(guess) == told else ""))


def _in_a_notebook() -> bool:
    """Whether this very process is the kernel of one; that some package of Jupyter's has been imported says nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def show(figure: Any, name: str) -> None:
    """Show a figure: in a notebook below the cell, elsewhere as a PNG file in ``tinyquant-figures/``, which is said.

    Parameters
    ----------
    figure : a figure of `tinyquant.plot`
    name : str
        Of the file, without its ending.
    """
    style = importlib.import_module("tinyquant.plot.style")
    if _in_a_notebook():
        display = importlib.import_module("IPython.display")
        alt = getattr(figure, "alt", "")
        display.display(display.Image(style.figure_bytes(figure, "png", alt=alt), alt=alt or name))
        return
    try:
        FIGURES.mkdir(exist_ok=True)
        print(f"figure: {style.save_figure(figure, FIGURES / f'{name}.png').as_posix()}")
    except OSError as error:
        print(f"figure: not written, this folder cannot be written to ({error.strerror})")
