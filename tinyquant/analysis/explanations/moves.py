"""Operators that only move codes, told: which input cell an output cell came from.

With this module one can tell RESHAPE, TRANSPOSE, PAD, PADV2, CONCATENATION (`moved`) and CONSTANT (`stored`).
"""

from __future__ import annotations

from tinyquant.analysis.explanations.story import (
    Index,
    Question,
    Story,
    amount,
    place,
    scale_of,
    shorten,
    zero_of,
)

__all__ = ["moved", "stored"]


def stored(question: Question) -> Story:
    """CONSTANT: a code that belongs to the graph."""
    story = Story(question)
    code = int(question.arguments["value"][question.index])
    story.add(
        "source",
        "Where it comes from",
        [f"It is stored in the model: constant{place(question.index)} = {code}."],
        code=code,
    )
    story.finish(
        code,
        scale_of(question.node.qparams) * (code - zero_of(question.node.qparams)),
        "the constant",
        (-128, 127),
    )
    return story


def moved(question: Question) -> Story:
    """RESHAPE, TRANSPOSE, PAD, PADV2, CONCATENATION: a copy of one input cell, or a fill."""
    story = Story(question)
    which, cell, how = _SOURCES[question.node.op](question)
    if cell is None:
        _filled(story, how)
        return story
    code, value = question.code(which, cell), question.inputs[which]
    source = f"{shorten(value.name, 36)}{place(cell)}"
    lines = [how, f"Nothing is computed: {source} = {code}"]
    story.add(
        "source",
        "Where it comes from",
        lines,
        input=value.name,
        input_number=which,
        cell=list(cell),
        code=code,
    )
    out = code
    low, high = (int(question.arguments.get(k, d)) for k, d in (("act_min", -128), ("act_max", 127)))
    if (low, high) != (-128, 127):
        out = min(max(code, low), high)
        lines = [amount(f"clamped to [{low}, {high}] ({question.node.attrs['activation']})", out)]
        story.add("code", "The output code", lines, unclamped=code, low=low, high=high, code=out)
    before = scale_of(value.qparams) * (code - zero_of(value.qparams))
    story.finish(out, before, source, (low, high))
    return story


def _filled(story: Story, how: str) -> None:
    """A cell that no input cell was copied to."""
    code, node = story.question.integer("fill"), story.question.node
    story.add(
        "source", "Where it comes from", [how, amount("the fill", code)], input=None, cell=None, code=code
    )
    story.finish(code, scale_of(node.qparams) * (code - zero_of(node.qparams)), "the fill", (-128, 127))


Source = tuple[int, "Index | None", str]


def _flat_source(question: Question) -> Source:
    """RESHAPE: the same place in C order."""
    shape_in, shape_out = question.arrays[0].shape, _output_shape(question)
    flat = 0
    for n, i in zip(shape_out, question.index):
        flat = flat * n + i
    rest, cell = flat, []
    for n in reversed(shape_in):
        rest, i = divmod(rest, n)
        cell.append(i)
    return 0, tuple(reversed(cell)), f"A reshape keeps the order of the cells; this is number {flat}."


def _output_shape(question: Question) -> Index:
    """A RESHAPE's, with as many rows as come in."""
    shape = tuple(int(n) for n in question.arguments["shape"])
    return (question.arrays[0].shape[0], *shape[1:]) if question.arguments["keeps_rows"] else shape


def _transposed_source(question: Question) -> Source:
    """TRANSPOSE: output axis i is input axis perm[i]."""
    perm = [axis % len(question.index) for axis in question.arguments["perm"]]
    cell = [0] * len(perm)
    for axis, i in zip(perm, question.index):
        cell[axis] = i
    return 0, tuple(cell), f"Axis i of the output is axis {place(perm)}[i] of the input."


def _padded_source(question: Question) -> Source:
    """PAD and PADV2: shifted by what was put before."""
    shape, paddings = question.arrays[0].shape, question.arguments["paddings"]
    cell = tuple(i - before for i, (before, _) in zip(question.index, paddings))
    if all(0 <= i < n for i, n in zip(cell, shape)):
        return 0, cell, f"Inside the padding: {place([before for before, _ in paddings])} cells come before."
    what = (
        "the code of real 0, the zero point"
        if question.node.op == "PAD"
        else "the code that the operator carries"
    )
    return 0, None, f"In the padding, which holds {what}."


def _joined_source(question: Question) -> Source:
    """CONCATENATION: the inputs one after the other along an axis."""
    axis = question.arguments["axis"] % len(question.index)
    rest = question.index[axis]
    which = 0
    while rest >= question.arrays[which].shape[axis]:
        rest -= question.arrays[which].shape[axis]
        which += 1
    cell = (*question.index[:axis], rest, *question.index[axis + 1 :])
    return which, cell, f"Along axis {axis} this falls into input {which + 1} of {len(question.arrays)}."


_SOURCES = {
    "RESHAPE": _flat_source,
    "TRANSPOSE": _transposed_source,
    "PAD": _padded_source,
    "PADV2": _padded_source,
    "CONCATENATION": _joined_source,
}
