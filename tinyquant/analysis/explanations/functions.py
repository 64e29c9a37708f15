"""LOGISTIC, TANH and SOFTMAX, told: exponentials and divisions in fixed point.

A "Qm.n" number is a raw int32 with n bits after the point: real = raw * 2**-n. With this module one can tell the three
operators as TFLite Micro computes them, with integers (`sigmoid`, `softmax_row`).
"""

from __future__ import annotations

import math
from fractions import Fraction

from tinyquant.analysis.explanations.by_hand import (
    divide_half_away,
    exp_word,
    fixed_point_product,
    high_word,
    logistic_word,
    reciprocal_word,
    tanh_word,
)
from tinyquant.analysis.explanations.rounding_rules import decimal
from tinyquant.analysis.explanations.story import Question, Story, amount, place, scale_of, table

__all__ = ["sigmoid", "softmax_row"]


def sigmoid(question: Question) -> Story:
    """LOGISTIC and TANH: the input in Q4.27, the function in Q0.31, the last bits rounded away."""
    story = Story(question)
    logistic = question.node.op == "LOGISTIC"
    code_in, zero = question.code(0, question.index), question.integer("input_zero_point")
    steps, radius = code_in - zero, question.integer("radius")
    scale = scale_of(question.inputs[0].qparams)
    real = float(steps * scale)
    lines = [
        f"code {code_in} at {place(question.index)}: {steps} steps from the zero point {zero},",
        f"real {steps} * S_x = {decimal(steps * scale, 6)}",
    ]
    story.add("inputs", "What is read", lines, code=code_in, zero_point=zero, centred=steps)
    if abs(steps) >= radius:
        code = 127 if steps > 0 else -128
        lines = [
            f"{abs(steps)} steps or more than {radius} lie beyond what Q4.27 holds: the function is flat there."
        ]
        lines.append(amount("the last code on this side", code))
        story.add("code", "The output code", lines, radius=radius, code=code)
    else:
        code = _inside_radius(story, steps, scale, logistic)
    exact = _logistic(real) if logistic else math.tanh(real)
    story.finish(code, exact, f"{'logistic' if logistic else 'tanh'}({decimal(real, 6)})", (-128, 127))
    return story


def _logistic(x: float) -> float:
    """1 / (1 + exp(-x)) without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else 1 - 1 / (1 + math.exp(x))


def _inside_radius(story: Story, steps: int, scale: Fraction, logistic: bool) -> int:
    """The steps from a code within the radius to the output code; returns it."""
    arguments = story.question.arguments
    multiplier, shift = int(arguments["multiplier"]), int(arguments["shift"])
    story.multiplier(
        "S_x * 2**27",
        scale * 2**27,
        multiplier,
        shift,
        "makes a number with 27 fraction bits of a step",
    )
    fixed = story.rescale(steps, multiplier, shift)
    bits, zero = (23, -128) if logistic else (24, 0)
    value = logistic_word(fixed) if logistic else tanh_word(fixed)
    name, how = ("logistic", "1 / (1 + exp(-x))") if logistic else ("tanh", "(1 - exp(-2x)) / (1 + exp(-2x))")
    lines = [
        f"{fixed} / 2**27 = {fixed / 2**27:.6g} goes through {how}:",
        "a polynomial for exp, three Newton steps for the division, all in integers.",
    ]
    lines.append(amount(f"{name} in Q0.31 (= {value / 2**31:.9g})", value))
    story.add("function", "The function", lines, fixed=fixed, value=value, real=value / 2**31)
    rounded = divide_half_away(value, 2**bits)
    code = min(max(rounded + zero, -128), 127)
    lines = [
        amount(f"/ 2**{bits}: {decimal(Fraction(value, 2**bits))}, rounded", rounded),
        amount("+ output zero point", zero),
    ]
    lines.append(amount("clamped to [-128, 127]", code))
    story.add(
        "code",
        "The output code",
        lines,
        rounded=rounded,
        zero_point=zero,
        unclamped=rounded + zero,
        code=code,
    )
    return code


def softmax_row(question: Question) -> Story:
    """SOFTMAX: exponentials of the differences to the row's largest code, their sum, one reciprocal."""
    story = Story(question)
    multiplier, shift, lowest = (question.integer(name) for name in ("multiplier", "shift", "difference_min"))
    row, me = question.index[:-1], question.index[-1]
    codes = [question.code(0, (*row, c)) for c in range(question.arrays[0].shape[-1])]
    largest = max(codes)
    scale = scale_of(question.inputs[0].qparams) * Fraction(float(question.node.attrs["beta"]))
    differences = [code - largest for code in codes]
    words = [_exponential(d, multiplier, shift, lowest) for d in differences]
    shares = [divide_half_away(w, 2**12) for w in words]

    rows = [["class", "code", "code - largest", "real exp", "exp in Q0.31", "/ 2**12"]]
    rows += [[str(i), str(q), str(d), f"{math.exp(d * scale):.6f}", str(w), str(s)]
             for i, (q, d, w, s) in enumerate(zip(codes, differences, words, shares))]  # fmt: skip
    lines = ["exp(x) over the sum of all exp stays what it is when all x lose the same."]
    lines += [
        f"So the largest, code {largest}, is taken off: the zero point cancels, no exp exceeds 1.",
        *table(rows),
    ]
    story.add(
        "row",
        "The row",
        lines,
        codes=codes,
        largest=largest,
        differences=differences,
        exponentials=words,
        shares=shares,
    )

    story.multiplier(
        "beta * S_x * 2**26",
        scale * 2**26,
        multiplier,
        shift,
        "makes a number with 26 fraction bits of a difference",
    )
    _tell_exponential(story, me, differences[me], words[me])
    total = sum(shares)
    headroom = 32 - total.bit_length()
    inverse = reciprocal_word(total * 2**headroom - 2**31)
    lines = [amount("sum of all / 2**12 (Q12.19)", total)]
    lines.append(
        f"As a real that is {total / 2**19:.6f}; in 32 bits {headroom} zeros stand before its first one."
    )
    lines.append(
        f"Shifted left by them it is {total * 2**headroom / 2**31:.6f}, between 1 and 2; three Newton steps give"
    )
    lines.append(amount(f"its reciprocal in Q0.31 (= {inverse / 2**31:.6f})", inverse))
    story.add("sum", "The sum and its reciprocal", lines, total=total, headroom=headroom, reciprocal=inverse)

    product = high_word(inverse, words[me])
    rounded = divide_half_away(product, 2 ** (35 - headroom))
    code = min(max(rounded - 128, -128), 127)
    lines = [
        amount("reciprocal * exp, in Q0.31", product),
        amount(
            f"/ 2**{35 - headroom}: {decimal(Fraction(product, 2 ** (35 - headroom)))}, rounded: 256ths",
            rounded,
        ),
        amount("+ output zero point", -128),
        amount("clamped to [-128, 127]", code),
    ]
    story.add(
        "code",
        "The output code",
        lines,
        product=product,
        shift=35 - headroom,
        rounded=rounded,
        zero_point=-128,
        code=code,
    )
    reals = [math.exp(d * scale) for d in differences]
    story.finish(code, reals[me] / math.fsum(reals), f"exp of class {me} / sum of all", (-128, 127))
    return story


def _exponential(difference: int, multiplier: int, shift: int, lowest: int) -> int:
    """exp of a difference in Q0.31; 0 where it is too far down."""
    if difference < lowest:
        return 0
    return exp_word(high_word(difference * 2**shift, multiplier), 5)


def _tell_exponential(story: Story, me: int, difference: int, result: int) -> None:
    """The step of this element's own exponential."""
    multiplier, shift, lowest = (
        story.question.integer(name) for name in ("multiplier", "shift", "difference_min")
    )
    if difference < lowest:
        lines = [f"{difference} is below {lowest}, more than Q5.26 holds: exp counts as 0."]
        story.add("exponential", f"The exponential of class {me}", lines, difference=difference, result=0)
        return
    product = fixed_point_product(difference, multiplier, shift)
    lines = [
        f"{difference} * 2**{shift} * multiplier / 2**31 = {decimal(product.exact)} -> {product.high}",
        f"in Q5.26 that is {product.high / 2**26:.6f}; exp of it, a polynomial and table factors:",
        amount(f"exp in Q0.31 (= {result / 2**31:.9g})", result),
    ]
    story.add(
        "exponential",
        f"The exponential of class {me}",
        lines,
        difference=difference,
        fixed=product.high,
        result=result,
    )
