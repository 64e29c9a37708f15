"""Students' files for tests: answers that hand the work to the library, in the signatures of the labs."""

from __future__ import annotations

import ast
import inspect

from tinyquant.labs.exercise import Bug, Exercise, Item, Sitting
from tinyquant.labs.sittings import sittings
from tinyquant.labs.sources import source
from tinyquant.testing import right_answers

EXERCISES = [(one, item) for one in sittings() for item in one.exercises]
WRITTEN = [(one, item) for one, item in EXERCISES if isinstance(item, Exercise)]
BUGS = [(one, item) for one, item in EXERCISES if isinstance(item, Bug)]


def first_line(sitting: Sitting, item: Item) -> str:
    """``def quantize(x, scale, zero_point, qmin=-128, qmax=127):`` as the lab has it."""
    for node in ast.parse(source(sitting)).body:
        if isinstance(node, ast.FunctionDef) and node.name == item.function:
            return f"def {node.name}({ast.unparse(node.args)}):"
    raise LookupError(item.function)


def parameters(sitting: Sitting, item: Item) -> list[str]:
    """The names of its parameters."""
    line = first_line(sitting, item)
    node = ast.parse(f"{line} pass").body[0]
    assert isinstance(node, ast.FunctionDef)
    return [argument.arg for argument in node.args.args]


def asks_the_kit(sitting: Sitting, item: Exercise) -> str:
    """A file whose function returns what the testing kit's own right answer returns."""
    wanted = list(inspect.signature(right_answers(item.role)[0]).parameters)
    mine = parameters(sitting, item)
    given = ", ".join(name for name, _ in zip(mine, wanted))
    return (
        "from tinyquant.testing import right_answers\n\n"
        f"{first_line(sitting, item)}\n    return right_answers({item.role!r})[0]({given})\n"
    )
