"""Three more runtimes: the same file, the same codes in, other bytes out.

"The arithmetic of TFLite" is four. They share all that is exact - sums of products, padding, clamps, copies - and part
where a real number has to be rounded. Each is written down here as a table: operator -> how it differs. What a table does
not name is done as in the runtime before it, which is how the real ones are built, too::

    xnnpack      LiteRT's default (OpResolverType.AUTO)           where XNNPACK takes the node, else the next
    litert_opt   LiteRT, BUILTIN_WITHOUT_DEFAULT_DELEGATES        where there is a fast kernel, else the next
    litert_ref   LiteRT, BUILTIN_REF
    tflm         TFLite Micro: `tinyquant.integer`

What becomes of a tie, with a real of 1/4 in a FULLY_CONNECTED layer::

    sum     exact     tflm     litert_ref     litert_opt     xnnpack
     -6      -1.5      -2          -2             -1           -2
    -10      -2.5      -3          -3             -2           -2
     10       2.5       3           3              3            2

After a fused RELU with output zero point -128, tflm and litert_opt agree again: a negative sum is clamped away. And not
only ties part: tflm and litert_opt round twice, and can make a tie of what was none.

One thing is not reproduced: the fast ADD and MUL wrap sums beyond 16 bits (`overflows_int16`). Where that may happen, running
warns (`InexactDialectWarning`), or refuses with strict=True.

With this module imported, `model.run(codes, dialect="xnnpack")` gives LiteRT's default bytes. The rules are measured on
ai-edge-litert 2.3.0, x86-64 with AVX-512; ARM builds may differ in litert_opt and xnnpack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from tinyquant.engines.dialect_rules import DialectRule
from tinyquant.engines.litert_rules import LITERT_OPT, LITERT_REF
from tinyquant.engines.xnnpack_rules import XNNPACK
from tinyquant.graph import Node, Value
from tinyquant.integer.prepare_checks import real_scale, zero_code
from tinyquant.integer.registry import Runner, Step, build_step, register_dialect

__all__ = ["DIALECT_RULES", "overflows_int16"]

DIALECT_RULES: Mapping[str, tuple[Mapping[str, DialectRule], ...]] = {
    "litert_ref": (LITERT_REF,),
    "litert_opt": (LITERT_OPT, LITERT_REF),
    "xnnpack": (XNNPACK, LITERT_OPT, LITERT_REF),
}
"""dialect -> its tables, the first that has something to say about a node decides; TFLite Micro's kernels where none has."""


def overflows_int16(node: Node, inputs: Sequence[Value]) -> bool:
    """May a fast ADD or MUL of LiteRT meet a number beyond 16 bits, which it then wraps?

    That is a result 128 times beyond the range of the output's codes: no trained network has it.
    """
    if node.op not in ("ADD", "MUL") or None in (node.qparams, *(value.qparams for value in inputs)):
        return False
    reaches = [max(abs(code - zero_code(value)) for code in (-128, 127)) for value in inputs]
    reals = [reach * real_scale(value) for reach, value in zip(reaches, inputs)]
    largest = (sum(reals) if node.op == "ADD" else prod(reals)) / real_scale(node)
    return largest + 128 >= 2**15


def _first_rule(node: Node, inputs: Sequence[Value], name: str) -> tuple[Mapping[str, DialectRule], Step] | None:
    """The first table of the dialect that takes the node, and the step it makes."""
    for table in DIALECT_RULES[name]:
        step = table[node.op](node, inputs) if node.op in table else None
        if step is not None:
            return table, step
    return None


def _register(name: str) -> None:
    """Tell the registry how the dialect builds a node, and at which nodes it is not exact."""

    def build(node: Node, inputs: Sequence[Value]) -> Runner:
        """The dialect's step, or TFLite Micro's."""
        found = _first_rule(node, inputs, name)
        return found[1] if found else build_step(node, inputs)

    def inexact(node: Node, inputs: Sequence[Value]) -> bool:
        """Does a fast kernel of LiteRT's own run here, and may it overflow?"""
        if name == "litert_ref" or not overflows_int16(node, inputs):
            return False
        found = _first_rule(node, inputs, name)
        return not (found and found[0] is XNNPACK)

    register_dialect(name, build, inexact=inexact)


for _name in DIALECT_RULES:
    _register(_name)
