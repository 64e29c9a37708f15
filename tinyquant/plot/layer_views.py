"""Which layer, which channel: ranges of weights, the signal that is left of each node, and what each layer costs at each width.

With this module one can draw the range of every channel (`channel_ranges`), the SQNR of every node (`sqnr_bars`), and a map
of the points lost by layer and bits (`sensitivity_map`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from tinyquant.analysis.compare import Comparison
from tinyquant.numerics.qparams import choose_qparams

from .style import FLOAT_COLOR, INK, QUANTIZED_COLOR, canvas, finish, heading, in_house_style, ink_on

__all__ = ["channel_ranges", "sensitivity_map", "sqnr_bars"]

MOST_BARS = 24


def channel_ranges(
    weight: npt.ArrayLike,
    *,
    axis: int = 0,
    bits: int = 8,
    name: str = "the layer",
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw the range of each channel's weights, and how many codes it gets when all share one scale.

    Parameters
    ----------
    weight : array of float
    axis : int
        Of the output channels.
    bits : int, 2 to 16
    name : str
        Of the layer.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure
        Axes: the ranges from the widest to the narrowest, the codes each may use.

    Raises
    ------
    ValueError
        weight has fewer than two channels, or is all 0 or not finite.

    Examples
    --------
    >>> fig = channel_ranges([[1.0, -1.0], [0.1, 0.05]], bits=4)
    >>> len(fig.axes)
    2
    """
    values = np.asarray(weight, np.float64)
    if values.ndim < 2 or values.shape[axis] < 2 or not np.all(np.isfinite(values)) or not values.any():
        raise ValueError(
            f"weight must hold finite numbers in at least two channels, got shape {values.shape} along axis {axis}."
        )
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    order = np.argsort(-np.abs(rows).max(axis=1), kind="stable")
    low, high = rows.min(axis=1)[order], rows.max(axis=1)[order]
    reach = np.abs(rows).max(axis=1)[order]
    shared = choose_qparams(-reach[0], reach[0], bits=bits, symmetric=True, narrow_range=True)
    # Whole codes on either side of 0 that the channel's largest weight reaches, and 0 itself.
    codes = 2 * np.floor_divide(reach + 0.5 * float(shared.scale), float(shared.scale)) + 1
    place = np.arange(len(order))
    with in_house_style():
        figure = canvas(fig)
        worst = int(codes[-1])
        heading(
            figure,
            title or f"One scale for all leaves the narrowest channel {worst} of {shared.levels} codes",
            f"{name}: {len(order)} channels, from the widest to the narrowest, {bits} bits.",
        )
        top, under = figure.subplots(2, 1, sharex=True, height_ratios=(1.3, 1.0))
        figure.subplots_adjust(left=0.115, right=0.975, top=0.83, bottom=0.135, hspace=0.2)
        top.bar(place, high - low, bottom=low, width=0.8, color=FLOAT_COLOR)
        for end in (-reach[0], reach[0]):
            top.axhline(end, color=QUANTIZED_COLOR, linestyle="--", linewidth=2.0)
        top.axhline(0, color=INK, linewidth=1.0)
        top.set_ylim(-1.5 * reach[0], 1.5 * reach[0])
        top.set_ylabel("weights:\nmin to max")
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"}
        top.text(
            len(order) - 0.6,
            1.08 * reach[0],
            "range of the shared scale",
            ha="right",
            va="bottom",
            color=QUANTIZED_COLOR,
            bbox=box,
        )
        under.axhline(shared.levels, color=FLOAT_COLOR, linewidth=2.6)
        under.text(
            len(order) - 0.6,
            shared.levels * 0.9,
            "a scale a channel",
            ha="right",
            va="top",
            color=FLOAT_COLOR,
        )
        under.bar(place, codes, width=0.8, color=QUANTIZED_COLOR, hatch="//", edgecolor="white", linewidth=0)
        under.set_ylabel("codes\nin reach")
        under.set_ylim(0, 1.12 * shared.levels)
        under.set_xlim(-0.8, len(order) - 0.2)
        under.set_xlabel("channel, widest first")
        words = (
            f"Ranges of the weights of {name} in {len(order)} channels, from {low[0]:.3g} to {high[0]:.3g} in the widest to "
            f"{low[-1]:.3g} to {high[-1]:.3g} in the narrowest. With one shared scale of {bits} bits the narrowest reaches "
            f"{worst} of {shared.levels} codes, the median channel {int(np.median(codes))}; with a scale a channel "
            "each reaches all."
        )
        return finish(figure, alt=alt or words, save=save)


def sqnr_bars(
    comparison: Comparison | Mapping[str, float],
    *,
    between: str = "",
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw the signal-to-quantization-noise ratio of every node in dB, the worst one marked.

    Parameters
    ----------
    comparison : Comparison, or mapping of node name to dB
        From `compare(a, b, x)`; up to 24 nodes.
    between : str
        What was compared, said below the title; by default the comparison's own labels.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        No node, or more than 24.

    Examples
    --------
    >>> fig = sqnr_bars({"conv1": 40.0, "head": 31.5})
    >>> fig.texts[0].get_text()
    'head has the least signal left: 32 dB'
    """
    if isinstance(comparison, Comparison):
        decibels = {row.name: row.total.sqnr_db for row in comparison}
        between = between or f"{comparison.b} against {comparison.a}, {comparison.batch} rows"
    else:
        decibels = {str(name): float(value) for name, value in comparison.items()}
    shown = {name: value for name, value in decibels.items() if np.isfinite(value)}
    if not 1 <= len(shown) <= MOST_BARS:
        raise ValueError(
            f"comparison must have 1 to {MOST_BARS} nodes of finite SQNR, got {len(shown)}. Draw a part of them."
        )
    worst = min(shown, key=lambda name: shown[name])
    with in_house_style():
        figure = canvas(fig)
        heading(figure, title or f"{worst} has the least signal left: {shown[worst]:.0f} dB", between)
        ax = figure.subplots()
        longest = max(len(name) for name in shown)
        figure.subplots_adjust(left=0.05 + 0.0125 * longest, right=0.965, top=0.85, bottom=0.135)
        place = np.arange(len(shown))
        values = np.array(list(shown.values()))
        bad = np.array([name == worst for name in shown])
        ax.barh(place[~bad], values[~bad], color=FLOAT_COLOR, height=0.75)
        ax.barh(
            place[bad],
            values[bad],
            color=QUANTIZED_COLOR,
            height=0.75,
            hatch="//",
            edgecolor="white",
            linewidth=0,
        )
        for at, value in enumerate(values.tolist()):
            ax.text(
                value + 0.008 * values.max(),
                at,
                f"{value:.0f}",
                ha="left",
                va="center",
                weight="bold" if bad[at] else "normal",
            )
        ax.set_yticks(place, list(shown))
        ax.set_ylim(len(shown) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.set_xlim(min(0.0, values.min()), values.max() * 1.07)
        ax.set_xlabel("SQNR (dB); 6 dB are one bit")
        said = ", ".join(f"{name} {value:.1f}" for name, value in shown.items())
        what = f"Signal-to-quantization-noise ratio of {len(shown)} nodes in dB{', ' * bool(between)}{between}"
        words = f"{what}: {said}. Least at {worst}."
        return finish(figure, alt=alt or words, save=save)


def sensitivity_map(
    drops: Mapping[str, Mapping[int, float]],
    *,
    what: str = "weights",
    fig: Figure | None = None,
    title: str | None = None,
    save: str | os.PathLike[str] | None = None,
    alt: str | None = None,
) -> Figure:
    """Draw the points of accuracy lost when one layer alone is quantized, by layer and bits, a number in every cell.

    Parameters
    ----------
    drops : mapping of layer name to {bits: points lost}
        The same bits for each layer.
    what : str
        What was quantized.
    fig, title, save, alt
        As for `signal`.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        No layers, or layers with different bits.

    References
    ----------
    Dong et al. 2019, "HAWQ", for the question; the answer here is measured, not estimated.

    Examples
    --------
    >>> fig = sensitivity_map({"conv": {4: 0.2, 2: 9.0}, "head": {4: 0.0, 2: 1.0}})
    >>> fig.texts[0].get_text()
    'conv cannot bear 2 bits: 9.0 points'
    """
    layers = list(drops)
    widths = sorted(drops[layers[0]], reverse=True) if layers else []
    if not widths or any(sorted(row, reverse=True) != widths for row in drops.values()):
        raise ValueError(f"drops must have the same bits for each of at least one layer, got {dict(drops)}.")
    cells = np.array([[float(drops[name][bits]) for bits in widths] for name in layers])
    layer, width = np.unravel_index(int(np.argmax(cells)), cells.shape)
    with in_house_style():
        figure = canvas(fig)
        heading(
            figure,
            title or f"{layers[layer]} cannot bear {widths[width]} bits: {cells[layer, width]:.1f} points",
            f"Points of accuracy lost when the {what} of one layer alone are quantized.",
        )
        ax = figure.subplots()
        longest = max(len(name) for name in layers)
        figure.subplots_adjust(left=0.05 + 0.0125 * longest, right=0.98, top=0.84, bottom=0.135)
        # Small losses matter too: colour grows with the root.
        shade = np.sqrt(np.clip(cells, 0, None))
        top = max(float(shade.max()), 1e-9)
        cmap = matplotlib.colormaps["cividis_r"]
        ax.imshow(shade, cmap=cmap, vmin=0, vmax=top, aspect="auto")
        for (row, column), value in np.ndenumerate(cells):
            color = ink_on(cmap(float(shade[row, column] / top)))
            ax.text(column, row, f"{value:.1f}", ha="center", va="center", color=color, weight="bold")
        ax.set_xticks(range(len(widths)), [str(bits) for bits in widths])
        ax.set_yticks(range(len(layers)), layers)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_xlabel(f"bits of the {what}")
        said = "; ".join(
            f"{name} {', '.join(f'{bits} bits {value:.1f}' for bits, value in zip(widths, row, strict=True))}"
            for name, row in zip(layers, cells, strict=True)
        )
        words = f"A map of the points of accuracy lost when one layer's {what} alone are quantized: {said}."
        return finish(figure, alt=alt or words, save=save)
