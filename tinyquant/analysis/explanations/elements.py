"""One cell in, one cell out: sums and products of two tensors, the RELU family, and the doors between reals and codes.

With this module one can tell ADD and SUB (`addition`), MUL (`multiplication`), RELU and RELU_N1_TO_1 and the QUANTIZE of codes
(`rescaled`), RELU6 (`relu_six`), LEAKY_RELU (`leaky`), and QUANTIZE of reals and DEQUANTIZE (`door_in`, `door_out`).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tinyquant.analysis.explanations.by_hand import divide_half_away
from tinyquant.analysis.explanations.rounding_rules import decimal
from tinyquant.analysis.explanations.story import (
    Index,
    Question,
    Story,
    amount,
    place,
    scale_of,
    signed,
    table,
    zero_of,
)

__all__ = ["addition", "door_in", "door_out", "leaky", "multiplication", "relu_six", "rescaled"]

_FRACTION_BITS = 20
"""Of the common scale of ADD and SUB."""


def _broadcast(index: Index, shape: tuple[int, ...]) -> Index:
    """Where an output index reads an input of this shape: last axes meet, an axis of 1 is read again and again."""
    return tuple(0 if n == 1 else i for n, i in zip(shape, index[len(index) - len(shape) :]))


def _read(story: Story) -> list[int]:
    """The step that shows what is read; returns the codes minus their zero points."""
    question = story.question
    cells = [_broadcast(question.index, array.shape) for array in question.arrays]
    codes = [question.code(i, cell) for i, cell in enumerate(cells)]
    centred = [code - zero_of(value.qparams) for code, value in zip(codes, question.inputs)]
    rows = [["input", "cell", "code", "code - Z", "scale", "real"]]
    for i, (cell, code, steps, value) in enumerate(zip(cells, codes, centred, question.inputs)):
        scale = scale_of(value.qparams)
        rows.append(
            [
                f"x{i + 1}" if len(cells) > 1 else "x",
                place(cell),
                str(code),
                str(steps),
                decimal(scale),
                decimal(steps * scale),
            ]
        )
    story.add(
        "inputs", "What is read", table(rows), cells=[list(c) for c in cells], codes=codes, centred=centred
    )
    return centred


def addition(question: Question) -> Story:
    """ADD and SUB: both inputs on one fine scale, then the output's."""
    story = Story(question)
    arguments, sign = question.arguments, -1 if question.node.op == "SUB" else 1
    centred = _read(story)
    scales = [scale_of(value.qparams) for value in question.inputs]
    common = 2 * max(scales)
    lines = [
        "Codes of different scales cannot be added. Both go to the scale t / 2**20,",
        f"t = 2 * max(S_1, S_2) = {float(common):.6g}: 20 extra bits, so that little is lost.",
    ]
    story.add("common_scale", "The common scale", lines, t=float(common), fraction_bits=_FRACTION_BITS)
    moved = [
        _on_common_scale(story, i, steps, scale / common)
        for i, (steps, scale) in enumerate(zip(centred, scales))
    ]
    total = moved[0] + sign * moved[1]
    lines = [
        amount("x1 on the common scale", moved[0]),
        amount(f"{'+' if sign > 0 else '-'} x2 on the common scale", moved[1]),
    ]
    lines.append(amount("= sum" if sign > 0 else "= difference", total))
    story.add(
        "sum",
        "The sum" if sign > 0 else "The difference",
        lines,
        first=moved[0],
        second=moved[1],
        total=total,
    )
    real = common / (2**_FRACTION_BITS * scale_of(question.node.qparams))
    story.multiplier("t / (2**20 * S_y)", real, arguments["multiplier"], int(arguments["shift"]))
    code = story.to_code(story.rescale(total, arguments["multiplier"], int(arguments["shift"])))
    exact = centred[0] * scales[0] + sign * centred[1] * scales[1]
    story.finish(code, exact, f"x1 {'+' if sign > 0 else '-'} x2")
    return story


def _on_common_scale(story: Story, i: int, steps: int, real: Fraction) -> int:
    """The step that brings input number i to the common scale; returns the whole number."""
    multiplier, shift = (
        story.question.arguments["input_multipliers"][i],
        int(story.question.arguments["input_shifts"][i]),
    )
    lines, data = story.tell_real(
        f"S_{i + 1} / t", real, multiplier, shift, "is how many t one step of this input is worth"
    )
    fine = steps * 2**_FRACTION_BITS
    told, product = story.rule.tell(fine, multiplier, shift)
    story.add(
        f"input_{i + 1}",
        f"Input {i + 1} on the common scale",
        [*lines, f"{signed(steps)} * 2**20 = {fine}", *told],
        **data,
        **product,
    )
    return int(product["result"])


def multiplication(question: Question) -> Story:
    """MUL: one product of integers, one multiplication."""
    story = Story(question)
    first, second = _read(story)
    product = first * second
    story.add(
        "product", "The product", [amount(f"{signed(first)} * {signed(second)}", product)], product=product
    )
    scales = [scale_of(value.qparams) for value in question.inputs]
    _through(story, product, "S_1 * S_2", scales[0] * scales[1])
    return story


def rescaled(question: Question) -> Story:
    """RELU, RELU_N1_TO_1 and QUANTIZE of codes: from the input's scale to the output's; a RELU is all in the clamp."""
    story = Story(question)
    _through(story, _read(story)[0], "S_x", scale_of(question.inputs[0].qparams))
    return story


def _through(story: Story, acc: int, unit: str, of_unit: Fraction) -> None:
    """The common end: acc units of size `of_unit` to the output's code."""
    arguments, of_output = story.question.arguments, scale_of(story.question.node.qparams)
    story.multiplier(f"{unit} / S_y", of_unit / of_output, arguments["multiplier"], int(arguments["shift"]))
    code = story.to_code(story.rescale(acc, arguments["multiplier"], int(arguments["shift"])))
    story.finish(code, acc * of_unit, f"{acc} * {unit}")


def relu_six(question: Question) -> Story:
    """RELU6 as TFLite Micro does it: codes clamped between those of 0 and 6."""
    story = Story(question)
    steps = _read(story)[0]
    code, low, high = (
        question.code(0, question.index),
        question.integer("act_min"),
        question.integer("act_max"),
    )
    # In this order, as the kernel: should the ends cross, the upper one wins.
    clamped = min(max(code, low), high)
    lines = ["TFLite Micro rescales nothing here: codes are clamped as they are."]
    lines.append(amount(f"clamped to [{low}, {high}] (codes of 0 and 6)", clamped))
    story.add("code", "The output code", lines, unclamped=code, low=low, high=high, code=clamped)
    story.finish(clamped, steps * scale_of(question.inputs[0].qparams), f"{steps} * S_x")
    return story


def leaky(question: Question) -> Story:
    """LEAKY_RELU: one multiplier at and above real 0, another below."""
    story = Story(question)
    steps = _read(story)[0]
    side = 0 if steps >= 0 else 1
    alpha = Fraction(float(np.float32(question.node.attrs["alpha"]))) if side else Fraction(1)
    multiplier, shift = question.arguments["multipliers"][side], int(question.arguments["shifts"][side])
    of_input, of_output = scale_of(question.inputs[0].qparams), scale_of(question.node.qparams)
    what = f"S_x * alpha / S_y (below 0; alpha = {float(alpha):.6g})" if side else "S_x / S_y (at or above 0)"
    story.multiplier(what, of_input * alpha / of_output, multiplier, shift)
    scaled = story.rescale(steps, abs(multiplier), shift)
    if multiplier < 0:
        scaled = -scaled
        lines = [
            "alpha is negative: the magnitude was multiplied and rounded, now the sign is put back.",
            amount("negated", scaled),
        ]
        story.add("sign", "The sign of alpha", lines, result=scaled)
    code = story.to_code(scaled)
    story.finish(code, steps * of_input * alpha, f"{steps} * S_x" + (" * alpha" if side else ""))
    return story


def door_in(question: Question) -> Story:
    """QUANTIZE of a real number: divide in float32, round, add the zero point, clamp."""
    story = Story(question)
    x, qparams = np.float32(question.arrays[0][question.index]), question.arguments["qparams"]
    scale, zero = scale_of(qparams), zero_of(qparams)
    quotient = Fraction(float(x / np.float32(float(scale))))
    rounded = divide_half_away(quotient.numerator, quotient.denominator)
    code = min(max(rounded + zero, qparams.qmin), qparams.qmax)
    lines = [
        f"x = {float(x):.9g}, scale = {float(scale):.9g}; the division is a float32 one.",
        amount("x / scale", f"{float(quotient):.9g}"),
    ]
    lines.append(amount("rounded (ties away from 0)", rounded))
    story.add(
        "quotient",
        "How many steps",
        lines,
        x=float(x),
        scale=float(scale),
        quotient=float(quotient),
        rounded=rounded,
    )
    lines = [
        amount("rounded", rounded),
        amount("+ zero point", zero),
        amount("= before the clamp", rounded + zero),
    ]
    lines.append(amount(f"clamped to [{qparams.qmin}, {qparams.qmax}]", code))
    story.add(
        "code",
        "The output code",
        lines,
        zero_point=zero,
        unclamped=rounded + zero,
        low=qparams.qmin,
        high=qparams.qmax,
        code=code,
    )
    story.finish(code, Fraction(float(x)), "x", (qparams.qmin, qparams.qmax))
    return story


def door_out(question: Question) -> Story:
    """DEQUANTIZE: the real number a code stands for."""
    story = Story(question)
    steps = _read(story)[0]
    exact = steps * scale_of(question.arguments["qparams"])
    # One rounding to float32: the exact product of a float32 and nine bits fits a double.
    story.before, story.after = float(exact), float(np.float32(float(exact)))
    lines = [f"{steps} * S_x = {decimal(exact, 6)}", f"as float32: {story.after:.9g}"]
    story.add("real", "In real numbers", lines, before=story.before, after=story.after)
    return story
