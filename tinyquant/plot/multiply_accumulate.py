"""One output of a layer, all in integers: int8 times int8, an int32 sum, a multiplier, a shift, and int8 again.

The numbers are those of a real node, taken from `tinyquant.explain`, and under each integer stands the real number it means.
Two of the boxes lose something, and say so: there a number is rounded.
With this module one can draw that for any convolution or matrix product of any integer model, in six frames
(`multiply_accumulate`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from tinyquant.analysis.explain import Explanation

from .style import FLOAT_COLOR, GREY, INK, INTEGER_COLOR, canvas, finish, heading, in_house_style

__all__ = ["multiply_accumulate"]

FRAMES = 6
ROUNDED = "rounded "
_WIDTH, _HEIGHT = 2.72, 1.66
_NEEDED = ("products", "sum", "multiplier", "rescale", "code", "real")


def multiply_accumulate(
    why: Explanation,
    *,
    step: int = FRAMES,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw the way of one output element from its input codes to its output code.

    Parameters
    ----------
    why : Explanation
        From `explain(m, codes, node, index)`, of a FULLY_CONNECTED, CONV_2D or DEPTHWISE_CONV_2D node.
    step : int, 1 to 6
        How much to show: codes, products, sum, multiplier, shift, output code. Frames of a slide that builds up.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    TypeError
        why is not an Explanation.
    ValueError
        It is of another kind of node, or step is not 1 to 6.
    """
    if not isinstance(why, Explanation):
        raise TypeError(f"why must be an Explanation, got {type(why).__name__}. Call explain(m, codes, node, index).")
    missing = [key for key in _NEEDED if key not in why.data]
    if missing or "accumulator" not in why.data.get("sum", {}):
        raise ValueError(
            f"why must be of a node that multiplies and adds, got {why.op}. Explain a convolution or a linear layer."
        )
    if step not in range(1, FRAMES + 1):
        raise ValueError(f"step must be 1 to {FRAMES}, got {step!r}.")
    boxes = _boxes(why)
    with in_house_style():
        figure = canvas(fig)
        at = ", ".join(str(i) for i in why.index)
        said = f"{why.node}[{at}]: integers in black, the real numbers they mean in blue; a diamond where one is rounded."
        heading(figure, title or "One multiply-accumulate, all in integers", said)
        ax = figure.add_axes((0.0, 0.0, 1.0, 0.86))
        ax.set_xlim(0, 9.6)
        ax.set_ylim(0, 4.64)
        ax.axis("off")
        for place, box in enumerate(boxes[:step]):
            _draw_box(ax, place, *box)
        for place, bits in enumerate(BITS[: step - 1]):
            _draw_arrow(ax, place, bits)
        if step >= 2:
            _draw_ghost(ax)
        return finish(figure, alt=alt or _in_words(why, step), save=save)


Box = tuple[str, Sequence[str], Sequence[str]]


def _boxes(why: Explanation) -> list[Box]:
    """Title, integers, and what they mean, of the six boxes."""
    data = why.data
    x, zero = data["products"]["codes"], int(data["products"]["zero_point"])
    w, products = data["products"]["weights"], data["products"]["products"]
    first, second = _two_telling(products)
    in_scale = _scale(why.inputs[0].qparams)
    unit = data["real"]["before"] / data["sum"]["accumulator"] if data["sum"]["accumulator"] else 0.0
    weight_scale = unit / in_scale
    total, bias = int(data["sum"]["accumulator"]), int(data["sum"]["bias"])
    multiplier, shift = int(data["multiplier"]["multiplier"]), int(data["multiplier"]["shift"])
    high, scaled = _after_multiplier(why), int(data["code"]["rounded"])
    code, out_zero = int(data["code"]["code"]), int(data["code"]["zero_point"])
    out_scale = float(data["real"]["step"])

    def codes(values: Sequence[int]) -> str:
        return f"{values[first]:>5} {values[second]:>5} ..."

    def reals(values: Sequence[float]) -> str:
        return f"{values[first]:>6.2f} {values[second]:>6.2f} ..."

    exact_first = int(data["rescale"]["shifted"]) * multiplier / 2**31
    exact_second = high / 2 ** max(0, -shift)
    return [
        (
            "int8 codes",
            [f"x {codes(x)}", f"w {codes(w)}"],
            [f"x {reals([in_scale * (v - zero) for v in x])}", f"w {reals([weight_scale * v for v in w])}"],
        ),
        (
            "products (x - z) w",
            [codes(products), f"{len(products)} of them", f"z = {zero}"],
            [reals([unit * v for v in products])],
        ),
        ("int32 sum + bias", [f"{total - bias:,}", _plus(bias), f"= {total:,}"], [f"{unit * total:.5f}"]),
        (
            "times multiplier / 2^31",
            [f"x {multiplier:,}", f"= {exact_first:,.2f}", f"{ROUNDED}{high:,}"],
            [f"{high * 2.0 ** min(shift, 0) * out_scale:.5f}"],
        ),
        (
            f"shift right by {max(0, -shift)}",
            [f"/ {2 ** max(0, -shift):,}", f"= {exact_second:,.2f}", f"{ROUNDED * (shift < 0)}{scaled:,}"],
            [f"{scaled * out_scale:.5f}"],
        ),
        (
            "zero point, clamp",
            [f"{scaled} {_plus(out_zero)}", f"= {data['code']['unclamped']}", f"int8 code {code}"],
            [f"{data['real']['after']:.5f}"],
        ),
    ]


def _plus(number: int) -> str:
    """A term of a sum.

    >>> _plus(-1285)
    '- 1,285'
    """
    return f"{'-' if number < 0 else '+'} {abs(number):,}"


def _two_telling(products: Sequence[int]) -> tuple[int, int]:
    """The first two products that are not 0: a ReLU before the node leaves many zeros."""
    telling = [i for i, product in enumerate(products) if product] + list(range(len(products)))
    return telling[0], telling[1] if len(products) > 1 else telling[0]


def _scale(qparams: Any) -> float:
    """The one scale of an activation."""
    return float(qparams.scale)


def _after_multiplier(why: Explanation) -> int:
    """The whole number between the two roundings."""
    data = why.data["rescale"]
    if "high" not in data or "shifted" not in data:
        raise ValueError(f"why must be of the dialect tflm, got {why.dialect!r}, which rounds another way.")
    return int(data["high"])


BITS = ("8 bits", "16 bits", "32 bits", "32 bits", "32 bits")
"""On the way out of each box but the last."""


def _place(number: int) -> tuple[float, float]:
    """Lower left corner of a box: two rows of three."""
    column, row = number % 3, number // 3
    return 0.2 + column * 3.24, 2.85 - row * 2.3


def _draw_box(ax: Axes, place: int, name: str, integers: Sequence[str], reals: Sequence[str]) -> None:
    """A box: its name, the integers, the reals below."""
    left, low = _place(place)
    shape = "round,pad=0,rounding_size=0.08"
    ax.add_patch(FancyBboxPatch((left, low), _WIDTH, _HEIGHT, shape, facecolor="white", edgecolor=INK, linewidth=1.6))
    middle = left + _WIDTH / 2
    ax.text(middle, low + _HEIGHT - 0.08, f"{place + 1}. {name}", ha="center", va="top", weight="bold")
    level = low + _HEIGHT - 0.42
    for line in integers:
        ax.text(middle, level, line, ha="center", va="top", family="DejaVu Sans Mono")
        if line.startswith(ROUNDED):
            ax.plot([left + 0.2], [level - 0.1], marker="D", markersize=12, color=INTEGER_COLOR, markeredgecolor=INK)
        level -= 0.27
    level = low + 0.1 + 0.27 * (len(reals) - 1)
    for line in reals:
        ax.text(middle, level, line, ha="center", va="bottom", family="DejaVu Sans Mono", color=FLOAT_COLOR, weight="bold")
        level -= 0.27


def _draw_arrow(ax: Axes, place: int, bits: str) -> None:
    """From one box to the next, with its bits."""
    left, low = _place(place)
    right, next_low = _place(place + 1)
    style = {"arrowstyle": "-|>", "color": INK, "linewidth": 2.0, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 18}
    if place % 3 < 2:
        y = low + _HEIGHT / 2
        ax.annotate("", (right, y), (left + _WIDTH, y), arrowprops=style)
        ax.text((left + _WIDTH + right) / 2, y + 0.12, bits.replace(" ", "\n"), ha="center", va="bottom")
    else:
        y = (low + next_low + _HEIGHT) / 2
        start, end = left + _WIDTH / 2, right + _WIDTH / 2
        ax.plot([start, start, end], [low, y, y], color=INK, linewidth=2.0, solid_joinstyle="miter")
        ax.annotate("", (end, next_low + _HEIGHT), (end, y), arrowprops=style)
        ax.text((start + end) / 2, y + 0.05, bits, ha="center", va="bottom")


def _draw_ghost(ax: Axes) -> None:
    """What happens to who multiplies int8 arrays without widening them first."""
    hundred = np.array([100], np.int8)
    wrapped, right = int(hundred @ hundred), 100 * 100
    ax.text(
        9.4, 0.25, f"widen first: numpy's int8 @ int8 says {wrapped}, not {right}", ha="right", va="center", style="italic",
        color=GREY,
    )  # fmt: skip


def _in_words(why: Explanation, step: int) -> str:
    """The alternative text."""
    data = why.data
    total, code = int(data["sum"]["accumulator"]), int(data["code"]["code"])
    said = [
        f"{len(data['products']['codes'])} input codes and {len(data['products']['weights'])} weights, int8",
        f"their products add up to {data['sum']['sum_of_products']}",
        f"with the bias {data['sum']['bias']} the int32 sum is {total}",
        f"times the multiplier {data['multiplier']['multiplier']} over 2 to the 31, rounded: {_after_multiplier(why)}",
        f"shifted by {data['multiplier']['shift']}, rounded: {data['code']['rounded']}",
        f"plus the zero point {data['code']['zero_point']}, clamped: the int8 code {code}, which means "
        f"{data['real']['after']:.6g} where exact arithmetic gives {data['real']['before']:.6g}",
    ]
    place = ", ".join(str(i) for i in why.index)
    return f"One output of node {why.node} at [{place}], box by box, each integer with its real number: {'; '.join(said[:step])}."
