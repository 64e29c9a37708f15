"""What a network costs and what it gives for it: bytes against accuracy, and the memory that comes and goes while it runs.

With this module one can draw networks as points with their front (`bytes_against_accuracy`) and the activation memory of a
run, node by node, with its peak (`memory_timeline`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from tinyquant.analysis.accuracy import wilson_interval
from tinyquant.analysis.cost import Cost

from .style import (
    FLOAT_COLOR,
    GREY,
    INK,
    INTEGER_COLOR,
    MARKER,
    PALE,
    QAT_COLOR,
    QUANTIZED_COLOR,
    canvas,
    finish,
    heading,
    in_house_style,
)

__all__ = ["Candidate", "bytes_against_accuracy", "memory_timeline"]

KINDS = {"float": FLOAT_COLOR, "PTQ": QUANTIZED_COLOR, "QAT": QAT_COLOR, "mixed": INTEGER_COLOR}
"""What a point may be, and its colour."""


class Candidate(NamedTuple):
    """One network on offer: what kind, how many bytes, how many test images it has right."""

    kind: str
    nbytes: int
    right: int


def bytes_against_accuracy(
    candidates: Mapping[str, Candidate],
    *,
    images: int,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw accuracy against bytes, with an interval over the test images, and join those that none beats in both.

    Parameters
    ----------
    candidates : mapping of name to Candidate
        Kinds are "float", "PTQ", "QAT" and "mixed".
    images : int
        How many test images there are.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        Nothing on offer, an unknown kind, no bytes, or more right than images.

    Examples
    --------
    >>> some = {"float": Candidate("float", 4000, 95), "8 bits": Candidate("PTQ", 1000, 95)}
    >>> bytes_against_accuracy(some, images=100).texts[0].get_text()
    '8 bits: 4 times fewer bytes than float, as many right'
    """
    if not candidates:
        raise ValueError("candidates must hold at least one network, got none.")
    for name, one in candidates.items():
        if one.kind not in KINDS or one.nbytes < 1 or not 0 <= one.right <= images:
            raise ValueError(
                f"a candidate must be of a kind of {', '.join(KINDS)}, have bytes, and at most {images} images right, "
                f"got {one} at {name!r}."
            )
    ordered = sorted(candidates.items(), key=lambda item: (item[1].nbytes, -item[1].right))
    front: list[tuple[str, Candidate]] = []
    for name, one in ordered:
        if not front or one.right > front[-1][1].right:
            front.append((name, one))
    with in_house_style():
        figure = canvas(fig)
        heading(
            figure,
            title or _claim(candidates, images),
            f"Bars: 95 % interval over {images} test images. Grey line: none is smaller and better.",
        )
        ax = figure.subplots()
        figure.subplots_adjust(left=0.105, right=0.965, top=0.83, bottom=0.145)
        ax.plot(
            [one.nbytes for _, one in front],
            [100 * one.right / images for _, one in front],
            color=PALE,
            linewidth=5,
            zorder=0,
        )
        for place, (name, one) in enumerate(ordered):
            low, high = wilson_interval(one.right, images)
            at, color = 100 * one.right / images, KINDS[one.kind]
            ax.errorbar(
                [one.nbytes], [at], yerr=[[at - 100 * low], [100 * high - at]], color=color, marker=MARKER[color], markersize=11,
                linewidth=1.8, capsize=4,
            )  # fmt: skip
            # Below its own interval, in two levels: neighbours may be near.
            down = (0, -5 - 16 * (place % 2))
            ax.annotate(name, (one.nbytes, 100 * low), down, textcoords="offset points", ha="center", va="top", weight="bold")
        ax.set_xscale("log", base=2)
        ticks = [one.nbytes for _, one in ordered]
        powers = 2.0 ** np.arange(int(np.log2(min(ticks))) - 1, int(np.log2(max(ticks))) + 2)
        shown = [power for power in powers if 0.7 * min(ticks) <= power <= 1.6 * max(ticks)]
        ax.set_xticks(shown, [f"{power / 1024:g}" for power in shown])
        ax.set_xlim(0.8 * min(ticks), 1.75 * max(ticks))
        ax.minorticks_off()
        bottom, top = ax.get_ylim()
        ax.set_ylim(bottom - 0.1 * (top - bottom), top)
        ax.grid(axis="y")
        ax.set_xlabel("weights and biases (kB of 1024 bytes, as packed)")
        ax.set_ylabel("accuracy (%)")
        said = "; ".join(
            f"{name} {one.nbytes} bytes, {100 * one.right / images:.2f} percent" for name, one in ordered
        )
        best = ", ".join(name for name, _ in front)
        what = f"Accuracy on {images} test images against bytes of parameters for {len(ordered)} networks"
        words = f"{what}: {said}. On the front: {best}."
        return finish(figure, alt=alt or words, save=save)


def _claim(candidates: Mapping[str, Candidate], images: int) -> str:
    """The smallest network that loses less than one image in two hundred, against float."""
    floats = [(name, one) for name, one in candidates.items() if one.kind == "float"]
    if not floats:
        return "Fewer bytes, and what they cost in accuracy"
    name, base = floats[0]
    good = [
        (one.nbytes, n)
        for n, one in candidates.items()
        if one.kind != "float" and base.right - one.right <= images / 200
    ]
    if not good:
        return f"Every network of fewer bytes loses more than half a point to {name}"
    nbytes, best = min(good)
    lost = 100 * (base.right - candidates[best].right) / images
    change = f"{abs(lost):.1f} points {'more' if lost < 0 else 'less'}" if lost else "as many right"
    return f"{best}: {base.nbytes / nbytes:.2g} times fewer bytes than {name}, {change}"


def memory_timeline(
    cost: Cost,
    *,
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw the activation bytes that are wanted while each node runs, value by value, with the peak marked.

    Parameters
    ----------
    cost : Cost
        From `tinyquant.analysis.cost.cost(model)`; up to 24 nodes.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    TypeError
        cost is not a Cost.
    ValueError
        It has no nodes, or more than 24.
    """
    if not isinstance(cost, Cost):
        raise TypeError(
            f"cost must be a Cost, got {type(cost).__name__}. Call cost(model) of tinyquant.analysis.cost."
        )
    if not 1 <= len(cost.nodes) <= 24:
        raise ValueError(f"cost must have 1 to 24 nodes, got {len(cost.nodes)}.")
    sizes = {buffer.values[0]: buffer.nbytes for buffer in cost.buffers}
    with in_house_style():
        figure = canvas(fig)
        heading(
            figure,
            title or f"The peak is {cost.peak_bytes:,} bytes, at {cost.peak_node}",
            "Bytes wanted while each node runs. Solid: its output; hatched: what is still to be read.",
        )
        ax = figure.subplots()
        figure.subplots_adjust(left=0.24, right=0.955, top=0.85, bottom=0.135)
        for place, node in enumerate(cost.nodes):
            left = 0
            for value in sorted(node.live, key=lambda name: name == node.name):
                own = value == node.name
                ax.barh(
                    place, sizes[value], left=left, height=0.8, color=INTEGER_COLOR if own else "white", edgecolor=INK,
                    linewidth=0.9, hatch="" if own else "//",
                )  # fmt: skip
                left += sizes[value]
            if node.name == cost.peak_node:
                ax.text(
                    left + 0.012 * cost.peak_bytes, place, f"{left:,}", ha="left", va="center", weight="bold"
                )
        ax.axvline(cost.peak_bytes, color=QUANTIZED_COLOR, linestyle="--", linewidth=2.0)
        ax.axvline(0, color=GREY, linewidth=1.0)
        ax.set_yticks(range(len(cost.nodes)), [node.name for node in cost.nodes])
        ax.set_ylim(len(cost.nodes) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.set_xlim(0, cost.peak_bytes * 1.13)
        ax.set_xlabel("activation memory (bytes)")
        said = ", ".join(f"{node.name} {node.live_bytes}" for node in cost.nodes)
        words = (
            f"Bytes of activations that are live while each of {len(cost.nodes)} nodes runs: {said}. The peak is "
            f"{cost.peak_bytes} at {cost.peak_node}; the parameters, {cost.parameter_bytes} bytes, are not counted."
        )
        return finish(figure, alt=alt or words, save=save)
