"""Sums over a window, told term by term: the operators with weights, the pools, and the reductions.

With this module one can tell CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED and TRANSPOSE_CONV (`weighted_sum`), AVERAGE_POOL_2D
and MAX_POOL_2D (`average_pool`, `max_pool`), MEAN and SUM (`reduction`). Each walks to the cells that one output element reads
with plain Python ints, not with the strided views of the kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from math import prod
from typing import NamedTuple

from tinyquant.analysis.explanations.by_hand import divide_half_away, word
from tinyquant.analysis.explanations.rounding_rules import decimal
from tinyquant.analysis.explanations.story import (
    Index,
    Question,
    Story,
    amount,
    clamp_meaning,
    pick,
    place,
    scale_of,
    signed,
    table,
    zero_of,
)

__all__ = ["average_pool", "max_pool", "reduction", "weighted_sum"]


class Term(NamedTuple):
    """One product of a window sum: which cell of the input meets which weight."""

    cell: Index
    weight: Index


def _along(
    at: int, size: int, kernel: int, stride: int, dilation: int, before: int
) -> Iterator[tuple[int, int]]:
    """(window cell, input position) along one axis for output position `at`; only positions inside the image."""
    for k in range(kernel):
        position = at * stride + k * dilation - before
        if 0 <= position < size:
            yield k, position


def _inside(question: Question, window: tuple[int, ...]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """((ky, y), (kx, x)) of the window cells that lie inside the image."""
    arguments, shape = question.arguments, question.arrays[0].shape
    dilation = arguments.get("dilation", (1, 1))
    stride, padding = arguments["stride"], arguments["padding"]
    down, across = (
        list(_along(question.index[1 + i], shape[1 + i], window[i], stride[i], dilation[i], padding[i][0]))
        for i in range(2)
    )
    return [(y, x) for y in down for x in across]


def _conv_terms(question: Question) -> list[Term]:
    """CONV_2D: all input channels of the output channel's group."""
    outputs, kh, kw, depth = question.arguments["weight"].shape
    row, o = question.index[0], question.index[3]
    first = o // (outputs // (question.arrays[0].shape[3] // depth)) * depth
    cells = _inside(question, (kh, kw))
    return [Term((row, y, x, first + c), (o, ky, kx, c)) for (ky, y), (kx, x) in cells for c in range(depth)]


def _depthwise_terms(question: Question) -> list[Term]:
    """DEPTHWISE_CONV_2D: one input channel."""
    _, kh, kw, outputs = question.arguments["weight"].shape
    row, o = question.index[0], question.index[3]
    channel = o // (outputs // question.arrays[0].shape[3])
    return [Term((row, y, x, channel), (0, ky, kx, o)) for (ky, y), (kx, x) in _inside(question, (kh, kw))]


def _fully_connected_terms(question: Question) -> list[Term]:
    """FULLY_CONNECTED: one row of the input, read as [rows, depth]."""
    units, depth = question.arguments["weight"].shape
    shape, unit = question.arrays[0].shape, question.index[-1]
    row = 0
    for i, n in zip(question.index[:-1], shape[:-1] if question.arguments["keep_num_dims"] else (0,)):
        row = row * n + i
    return [Term(_unravel(row * depth + d, shape), (unit, d)) for d in range(depth)]


def _unravel(flat: int, shape: tuple[int, ...]) -> Index:
    """The index of the flat-th cell in C order."""
    index = []
    for n in reversed(shape):
        flat, i = divmod(flat, n)
        index.append(i)
    return tuple(reversed(index))


def _transposed_terms(question: Question) -> list[Term]:
    """TRANSPOSE_CONV: every input cell and window cell that land on this output cell."""
    outputs, kh, kw, depth = question.arguments["weight"].shape
    row, y, x, o = question.index
    shape, stride, offset = (
        question.arrays[0].shape,
        question.arguments["stride"],
        question.arguments["offset"],
    )
    landing = [
        [
            (k, i)
            for i in range(shape[1 + axis])
            for k in (at + offset[axis] - i * stride[axis],)
            if 0 <= k < size
        ]
        for axis, (at, size) in enumerate(((y, kh), (x, kw)))
    ]
    return [
        Term((row, iy, ix, c), (o, ky, kx, c))
        for (ky, iy), (kx, ix) in product(*landing)
        for c in range(depth)
    ]


_TERMS = {
    "CONV_2D": _conv_terms,
    "DEPTHWISE_CONV_2D": _depthwise_terms,
    "FULLY_CONNECTED": _fully_connected_terms,
    "TRANSPOSE_CONV": _transposed_terms,
}


def weighted_sum(question: Question) -> Story:
    """Products, int32 sum, multiplier, roundings, code: an operator with weights."""
    story = Story(question)
    node, arguments = question.node, question.arguments
    terms = _TERMS[node.op](question)
    channel, zero = question.index[-1], int(arguments["input_zero_point"])
    weights = [int(arguments["weight"][term.weight]) for term in terms]
    codes = [question.code(0, term.cell) for term in terms]
    products = [w * (q - zero) for w, q in zip(weights, codes)]

    rows = [["input cell", "weight", "code", f"code - {signed(zero)}", "product"]]
    rows += [
        [place(t.cell), *map(str, (w, q, q - zero, p))] for t, w, q, p in zip(terms, weights, codes, products)
    ]
    window = prod(
        arguments["weight"].shape[1:3] if node.op == "DEPTHWISE_CONV_2D" else arguments["weight"].shape[1:]
    )
    lines = [
        f"Of the {window} weights of output channel {channel}, {len(terms)} meet a cell of the input here."
        if len(terms) < window
        else f"Every weight of output channel {channel}, {window} in all, meets a cell of the input here.",
        "A weight multiplies code - zero point, the input in steps of its scale.",
        *table(rows),
    ]
    if len(terms) < window and node.op != "TRANSPOSE_CONV":
        lines.append(
            f"The other {window - len(terms)} meet padding outside the image: real 0, adding nothing."
        )
    cells = [list(term.cell) for term in terms]
    story.add(
        "products",
        "The products",
        lines,
        cells=cells,
        weights=weights,
        codes=codes,
        zero_point=zero,
        products=products,
        count=len(terms),
    )
    acc = _accumulate(story, weights, codes, products, channel, zero)
    return _end(story, acc, channel)


def _accumulate(
    story: Story, weights: list[int], codes: list[int], products: list[int], channel: int, zero: int
) -> int:
    """The step of the int32 sum; returns the accumulator as the register holds it."""
    bias = story.question.arguments["bias"]
    added = 0 if bias is None else int(bias[channel])
    total = sum(products)
    raw, weight_sum = sum(w * q for w, q in zip(weights, codes)), sum(weights)
    acc = word(total + added)
    lines = [amount("sum of the products", total)]
    lines.append(amount(f"+ bias[{channel}]", added) if bias is not None else "(no bias)")
    lines.append(amount("= accumulator, int32", acc))
    if acc != total + added:
        lines.append(f"The true sum is {total + added}: int32 overflowed and wrapped around.")
    lines += [
        "The zero point can leave the loop, and in fast kernels does:",
        amount("sum of weight * code", raw),
        amount(f"- zero point {signed(zero)} * sum of weights {signed(weight_sum)}", -zero * weight_sum),
        amount("= sum of the products", raw - zero * weight_sum),
    ]
    story.add(
        "sum",
        "The int32 sum",
        lines,
        sum_of_products=total,
        bias=None if bias is None else added,
        accumulator=acc,
        sum_of_weight_times_code=raw,
        sum_of_weights=weight_sum,
        zero_point_term=-zero * weight_sum,
    )
    return acc


def _end(story: Story, acc: int, channel: int) -> Story:
    """From the accumulator to the code."""
    question = story.question
    node, arguments = question.node, question.arguments
    of_input = scale_of(question.inputs[0].qparams)
    qparams = node.param_qparams["weight"]
    of_weight, of_output = scale_of(qparams, channel), scale_of(node.qparams)
    name = f"S_w[{channel}]" if qparams.per_axis else "S_w"
    real = of_input * of_weight / of_output
    factors = f"{float(of_input):.6g} * {float(of_weight):.6g} / {float(of_output):.6g}"
    multiplier, shift = pick(arguments["multiplier"], channel), int(pick(arguments["shift"], channel))
    story.multiplier(f"S_x * {name} / S_y = {factors}", real, multiplier, shift)
    code = story.to_code(story.rescale(acc, multiplier, shift))
    story.finish(code, acc * of_input * of_weight, f"accumulator * S_x * {name}")
    return story


# ---------------------------------------------------------------------------------------------------------------
# Pools and reductions


def _window_codes(question: Question) -> tuple[list[Index], list[int]]:
    """The cells of a pool's window that lie inside the image, and their codes."""
    row, channel = question.index[0], question.index[3]
    cells: list[Index] = [
        (row, y, x, channel) for (_, y), (_, x) in _inside(question, question.arguments["window"])
    ]
    return cells, [question.code(0, cell) for cell in cells]


def _show_window(story: Story, cells: list[Index], codes: list[int]) -> None:
    """The step that lists the cells of a pool's window."""
    height, width = story.question.arguments["window"]
    lines = [f"The window has {height} x {width} cells, {len(cells)} of them inside the image."]
    lines += table([["input cell", "code"], *([place(cell), str(code)] for cell, code in zip(cells, codes))])
    story.add(
        "window", "The window", lines, cells=[list(cell) for cell in cells], codes=codes, count=len(cells)
    )


def _clamped(story: Story, value: int) -> int:
    """The step that clamps a code; returns it."""
    low, high = story.question.integer("act_min"), story.question.integer("act_max")
    code = min(max(value, low), high)
    lines = [amount(f"clamped to [{low}, {high}] {clamp_meaning(story.question.node)}", code)]
    story.add("code", "The output code", lines, unclamped=value, low=low, high=high, code=code)
    return code


def average_pool(question: Question) -> Story:
    """The rounded mean of raw codes."""
    story = Story(question)
    cells, codes = _window_codes(question)
    _show_window(story, cells, codes)
    total, count = sum(codes), len(codes)
    mean = Fraction(total, count)
    rounded = divide_half_away(total, count)
    lines = ["Scale and zero point are the same on both sides: the codes are averaged."]
    lines += [
        amount("sum of the codes", total),
        amount(f"/ {count}, rounded (ties away from 0): {decimal(mean)}", rounded),
    ]
    story.add("mean", "The mean", lines, sum=total, count=count, exact=float(mean), rounded=rounded)
    scale, zero = scale_of(question.inputs[0].qparams), zero_of(question.inputs[0].qparams)
    story.finish(_clamped(story, rounded), scale * (mean - zero), "mean of the real values")
    return story


def max_pool(question: Question) -> Story:
    """The largest code."""
    story = Story(question)
    cells, codes = _window_codes(question)
    _show_window(story, cells, codes)
    largest = max(codes)
    where = cells[codes.index(largest)]
    lines = [
        "A larger code is a larger real number: codes can be compared as they are.",
        amount(f"largest, at {place(where)}", largest),
    ]
    story.add("largest", "The largest", lines, largest=largest, cell=list(where))
    scale, zero = scale_of(question.inputs[0].qparams), zero_of(question.inputs[0].qparams)
    story.finish(_clamped(story, largest), scale * (largest - zero), "largest of the real values")
    return story


def reduction(question: Question) -> Story:
    """MEAN and SUM: the sum of codes, the zero point taken off count times, one multiplication."""
    story = Story(question)
    arguments, array = question.arguments, question.arrays[0]
    axes, zero, count = arguments["axis"], int(arguments["input_zero_point"]), int(arguments["count"])
    kept = list(question.index)
    if not arguments["keep_dims"]:
        for axis in axes:
            kept.insert(axis, 0)
    spans = [range(n) if axis in axes else (kept[axis],) for axis, n in enumerate(array.shape)]
    cells = [tuple(cell) for cell in product(*spans)]
    codes = [question.code(0, cell) for cell in cells]
    total = sum(codes)
    acc = word(word(total) - count * zero)
    lines = table([["input cell", "code"], *([place(cell), str(code)] for cell, code in zip(cells, codes))])
    lines += [
        amount(f"sum of the {count} codes", total),
        amount(f"- {count} * zero point {signed(zero)}", -count * zero),
        amount("= accumulator, int32", acc),
    ]
    story.add(
        "sum",
        "The sum",
        lines,
        cells=[list(c) for c in cells],
        codes=codes,
        count=count,
        sum=total,
        zero_point=zero,
        accumulator=acc,
    )
    of_input, of_output = scale_of(question.inputs[0].qparams), scale_of(question.node.qparams)
    mean = question.node.op == "MEAN"
    divisor, over = (count, f" / {count}") if mean else (1, "")
    words = f"S_x / S_y{over} = {float(of_input):.6g} / {float(of_output):.6g}{over}"
    multiplier, shift = pick(arguments["multiplier"], 0), int(pick(arguments["shift"], 0))
    story.multiplier(words, of_input / of_output / divisor, multiplier, shift)
    code = story.to_code(story.rescale(acc, multiplier, shift))
    # Not of the accumulator: a dialect may leave the zero point out of it.
    exact = (total - count * zero_of(question.inputs[0].qparams)) * of_input / divisor
    story.finish(code, exact, "mean of the real values" if mean else "sum of the real values")
    return story
