"""The figure of the lecture's signal: what its artists hold is what the engine computes, and its file repeats byte for byte."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes._base import _AxesBase
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams, choose_qparams
from tinyquant.plot import signal
from tinyquant.plot.style import FLOAT_COLOR, INTEGER_COLOR, QUANTIZED_COLOR, Picture

BITS = (8, 4, 3, 2)
T = np.linspace(0.0, 1.0, 1201)
X = (0.3 + 0.9 * np.sin(2 * np.pi * T) + 0.2 * np.sin(6 * np.pi * T + 1)).astype(np.float32)


@pytest.fixture(scope="module")
def figure() -> Figure:
    return signal(T, X, bits=BITS)


def lines(ax: _AxesBase, color: str) -> list[Line2D]:
    """The lines of one colour."""
    return [line for line in ax.lines if line.get_color() == color]


def alt_of(fig: Figure) -> str:
    """The alternative text that a figure carries."""
    assert isinstance(fig, Picture)
    return fig.alt


def expected_qp(bits: int) -> QParams:
    """The quantizer of a column when none is given."""
    return choose_qparams(float(X.min()), float(X.max()), bits=bits)


def texts(fig: Figure) -> str:
    """Every word a reader sees, in one string."""
    axes = [ax.get_title(loc) for ax in fig.axes for loc in ("left", "center", "right")]
    return "\n".join([*axes, *(text.get_text() for text in fig.texts)])


def test_there_is_a_curve_and_an_error_for_each_number_of_bits_on_one_time_axis(figure: Figure) -> None:
    assert len(figure.axes) == 2 * len(BITS)
    first = figure.axes[0]
    assert all(first.get_shared_x_axes().joined(first, ax) for ax in figure.axes)
    assert all(first.get_shared_y_axes().joined(first, ax) for ax in figure.axes[:4])


@pytest.mark.parametrize(("column", "bits"), list(enumerate(BITS)))
def test_the_curve_is_x_and_the_steps_are_the_engines(figure: Figure, column: int, bits: int) -> None:
    """y of the steps == dequantize(quantize(x)), exactly, over the same continuous time."""
    (curve,), (steps,) = lines(figure.axes[column], FLOAT_COLOR), lines(figure.axes[column], QUANTIZED_COLOR)
    np.testing.assert_array_equal(curve.get_ydata(), X)
    np.testing.assert_array_equal(steps.get_ydata(), dequantize(quantize(X, expected_qp(bits)), expected_qp(bits)))
    np.testing.assert_array_equal(curve.get_xdata(), T)
    np.testing.assert_array_equal(steps.get_xdata(), T)
    assert steps.get_drawstyle() == "steps-mid"


@pytest.mark.parametrize(("column", "bits"), list(enumerate(BITS))[1:])
def test_every_level_is_a_code_and_every_code_is_visited(figure: Figure, column: int, bits: int) -> None:
    """2**bits levels: this curve fills its range, so none may be missing at 4 bits and below."""
    (steps,) = lines(figure.axes[column], QUANTIZED_COLOR)
    levels = np.unique(np.asarray(steps.get_ydata()))
    codes = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    np.testing.assert_array_equal(levels, dequantize(codes, expected_qp(bits)))


@pytest.mark.parametrize("bits", [3, 2])
def test_each_code_is_a_tick_of_the_right_axis_at_the_value_it_stands_for(figure: Figure, bits: int) -> None:
    (right,) = figure.axes[BITS.index(bits)].child_axes
    codes = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1))
    np.testing.assert_array_equal(right.get_yticks(), codes)
    figure.draw_without_rendering()
    values = dequantize(codes, expected_qp(bits))
    here = figure.axes[BITS.index(bits)].transData.transform([(0.0, v) for v in values])[:, 1]
    there = right.transData.transform([(0.0, c) for c in codes])[:, 1]
    np.testing.assert_allclose(there, here, atol=0.01)  # in pixels; values are float32: 1e-7 of 800


@pytest.mark.parametrize(("column", "bits"), list(enumerate(BITS)))
def test_the_error_is_in_steps_and_between_two_lines_at_one_half(figure: Figure, column: int, bits: int) -> None:
    ax, qp = figure.axes[len(BITS) + column], expected_qp(bits)
    (error,) = lines(ax, INTEGER_COLOR)
    exact = [
        (Fraction(float(d)) - Fraction(float(v))) / Fraction(float(qp.scale))
        for d, v in zip(dequantize(quantize(X, qp), qp), X, strict=True)
    ]
    # Two roundings of a float64: the difference is exact or off by 2**-53, and so is the quotient.
    np.testing.assert_allclose(np.asarray(error.get_ydata()), np.array(exact, float), rtol=2**-51, atol=2**-51)
    bounds = sorted(float(np.asarray(line.get_ydata())[0]) for line in ax.lines if line is not error)
    assert bounds == [-0.5, 0.5]
    low, high = ax.get_ylim()
    assert low < -0.5 and high > 0.5


@pytest.mark.parametrize(("column", "bits"), list(enumerate(BITS)))
def test_sqnr_is_signal_power_over_error_power_in_decibel(figure: Figure, column: int, bits: int) -> None:
    qp = expected_qp(bits)
    decoded = [Fraction(float(d)) for d in dequantize(quantize(X, qp), qp)]
    power = sum(Fraction(float(v)) ** 2 for v in X)
    noise = sum((d - Fraction(float(v))) ** 2 for d, v in zip(decoded, X, strict=True))
    decibel = 10 * math.log10(power / noise)
    assert figure.axes[len(BITS) + column].get_title() == f"SQNR {decibel:.0f} dB"
    assert f"{bits} bits: {2**bits} codes, step {qp.scale:.3g}" in alt_of(figure)
    assert f"SQNR {decibel:.1f} dB" in alt_of(figure)


def test_the_eight_bit_panel_alone_has_a_magnified_inset_and_its_steps_can_be_counted(figure: Figure) -> None:
    """In the inset: the same data, over a short time, between 3 and 12 codes."""
    insets = [[child for child in ax.child_axes if child.lines] for ax in figure.axes[:4]]
    assert [len(found) for found in insets] == [1, 0, 0, 0]
    (steps,) = lines(insets[0][0], QUANTIZED_COLOR)
    times, decoded = np.asarray(steps.get_xdata()), np.asarray(steps.get_ydata())
    where = np.searchsorted(T, times)
    np.testing.assert_array_equal(decoded, dequantize(quantize(X, expected_qp(8)), expected_qp(8))[where])
    assert times[-1] - times[0] <= 0.06
    assert 3 <= np.unique(decoded).size <= 12


def test_the_picture_says_that_time_is_not_sampled_and_names_bits_codes_and_steps(figure: Figure) -> None:
    words = texts(figure)
    for expected in ("Time is not sampled, only the value is.", "8 bits", "256 codes", "3 bits", "8 codes", "step 0.2"):
        assert expected in words


def test_a_given_quantizer_is_used_itself_and_its_range_by_the_others() -> None:
    qp = choose_qparams(-2.0, 2.0, bits=8, symmetric=True, narrow_range=True)
    fig = signal(T, X, qp, bits=(8, 3))
    other = choose_qparams(qp.rmin, qp.rmax, bits=3, symmetric=True, narrow_range=True)
    for ax, used in zip(fig.axes[:2], (qp, other), strict=True):
        (steps,) = lines(ax, QUANTIZED_COLOR)
        np.testing.assert_array_equal(steps.get_ydata(), dequantize(quantize(X, used), used))
    assert [ax.get_title("right").strip() for ax in fig.axes[:2]] == ["255 codes", "7 codes"]


def test_an_unsigned_quantizer_stays_unsigned() -> None:
    fig = signal(T, np.abs(X), choose_qparams(0.0, 2.0, bits=8, signed=False), bits=(2,))
    assert fig.axes[0].child_axes[0].get_yticks().tolist() == [0, 1, 2, 3]


def test_a_clipped_curve_is_called_clipped_and_a_whole_one_is_not(figure: Figure) -> None:
    clipped = signal(T, X, choose_qparams(-0.3, 0.8), bits=(8, 2))
    assert [ax.get_title().endswith("clipped") for ax in clipped.axes[2:]] == [True, True]
    assert "At 8, 2 bits part of the curve is clipped" in alt_of(clipped)
    assert "clipped" not in texts(figure) + alt_of(figure)


def test_a_curve_of_zeros_has_no_error() -> None:
    fig = signal([0, 1, 2], [0, 0, 0], bits=(8,))
    assert fig.axes[1].get_title() == "no error"
    assert "no error" in alt_of(fig)


@settings(max_examples=15)
@given(
    bits=st.lists(st.integers(2, 16), min_size=1, max_size=4),
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=40),
)
def test_any_curve_can_be_drawn_and_described(bits: list[int], values: list[float]) -> None:
    fig = signal(np.arange(len(values)), np.array(values, np.float32), bits=bits)
    alt = alt_of(fig)
    assert len(alt) > 80 and alt.isascii() and "nan" not in alt
    for ax, count in zip(fig.axes, bits, strict=False):
        (steps,) = lines(ax, QUANTIZED_COLOR)
        assert np.unique(np.asarray(steps.get_ydata())).size <= 2**count


def test_the_alternative_text_is_made_from_the_data() -> None:
    one, other = signal(T, X, bits=(4,)), signal(T, 2 * X, bits=(4,))
    assert len(alt_of(one)) > 80 and alt_of(one) != alt_of(other)
    assert alt_of(signal(T, X, bits=(4,), alt="mine")) == "mine"


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_file_is_the_same_bytes_each_time_whatever_the_callers_settings(tmp_path: Path, ending: str) -> None:
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    signal(T, X, bits=(8, 3), save=first)
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.hashsalt": "other", "savefig.dpi": 37}):
        signal(T, X, bits=(8, 3), save=second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [first.name, second.name]


def test_no_setting_of_the_caller_is_changed_and_pyplot_knows_of_no_figure() -> None:
    before = dict(matplotlib.rcParams)
    signal(T, X, bits=(3,))
    assert dict(matplotlib.rcParams) == before
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_a_figure_given_is_drawn_in_and_handed_back(tmp_path: Path) -> None:
    mine = Figure(figsize=(8, 4))
    assert signal(T, X, bits=(3,), fig=mine, title="Mine", save=tmp_path / "a.png") is mine
    assert "Mine" in texts(mine) and len(mine.axes) == 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: signal(T, X[:-1]), ValueError, "t and x must be 1-D and of one length.*got shapes"),
        (lambda: signal(T[None], X[None]), ValueError, "t and x must be 1-D"),
        (lambda: signal([0], [1]), ValueError, "at least 2"),
        (lambda: signal(T[::-1], X), ValueError, "t must increase, got a step of -"),
        (lambda: signal([0, 0], [1, 2]), ValueError, "t must increase, got a step of 0"),
        (lambda: signal([0, np.nan], [1, 2]), ValueError, "t must increase"),
        (lambda: signal([0, 1], [1, np.nan]), ValueError, "x must hold finite real numbers"),
        (lambda: signal([0, 1], ["a", "b"]), ValueError, "x must hold finite real numbers, got dtype <U1"),
        (lambda: signal(T, X, bits=()), ValueError, r"bits must hold one to four numbers, got \[\]"),
        (lambda: signal(T, X, bits=(2, 3, 4, 5, 6)), ValueError, "bits must hold one to four"),
        (lambda: signal(T, X, bits=(1,)), ValueError, "bits must be between 2 and 16, got 1"),
        (lambda: signal(T, X, 8), TypeError, "qp must be a QParams, got int"),  # type: ignore[arg-type]
        (lambda: signal(T, X, QParams([1.0, 2.0], 0, axis=0)), ValueError, "qp must have one scale, got one a channel"),
        (lambda: signal(T, X, save="a.jpg"), ValueError, "a figure must be saved as png or svg, got 'jpg'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call: Callable[[], Figure], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
