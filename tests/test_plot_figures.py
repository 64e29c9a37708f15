"""Every figure of the room of pictures but the signal: its artists hold the engine's numbers, and what is wrong is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.text import Annotation

from tinyquant import plot
from tinyquant.analysis.cost import Cost, cost
from tinyquant.analysis.explain import Explanation, explain
from tinyquant.autograd import Tensor
from tinyquant.integer.model import IntegerModel
from tinyquant.models import load_checkpoint
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams, choose_qparams
from tinyquant.numerics.rounding import round_to_int
from tinyquant.plot.style import FLOAT_COLOR, INTEGER_COLOR, QAT_COLOR, QUANTIZED_COLOR, Picture
from tinyquant.quantization.calibrate import Calibration, calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.fake_quant import fake_quantize
from tinyquant.quantization.model import FakeQuantModel
from tinyquant.quantization.prepare import quantize_model

QP = choose_qparams(-0.8, 1.3, bits=3)
RNG = np.random.default_rng(0)
IMAGES = RNG.random((32, 8, 8, 1)).astype(np.float32)


def words(fig: Figure) -> str:
    """Every text of a figure, in one string."""
    return "\n".join(text.get_text() for text in fig.findobj(matplotlib.text.Text))


def alt_of(fig: Figure) -> str:
    """The alternative text a figure carries."""
    assert isinstance(fig, Picture)
    return fig.alt


def data_of(ax: Any, color: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """x and y of the lines of one colour."""
    return [
        (np.asarray(a.get_xdata()), np.asarray(a.get_ydata())) for a in ax.lines if a.get_color() == color
    ]


@pytest.fixture(scope="module")
def mlp() -> tuple[Calibration, FakeQuantModel, IntegerModel]:
    model = load_checkpoint("mlp")
    seen = calibrate(model, IMAGES)
    fq = quantize_model(model, seen)
    return seen, fq, convert(fq)


@pytest.fixture(scope="module")
def why(mlp: tuple[Calibration, FakeQuantModel, IntegerModel]) -> Explanation:
    m = mlp[2]
    meaning = m.inputs[0].qparams
    assert meaning is not None
    return explain(m, quantize(IMAGES[:1], meaning), "head", (0, 3))


# -------------------------------------------------------------------------------------------- staircase, STE


def test_the_staircase_is_the_engines_and_its_error_in_steps_is_below() -> None:
    fig = plot.staircase(QP)
    ((x, y),) = data_of(fig.axes[0], QUANTIZED_COLOR)
    np.testing.assert_array_equal(y, dequantize(quantize(x, QP), QP))
    ((at, error),) = data_of(fig.axes[1], INTEGER_COLOR)
    np.testing.assert_allclose(error, (y - at) / QP.scale, atol=1e-12)  # the same float64 expression
    inside = (at > QP.rmin - 0.5 * QP.scale) & (at < QP.rmax + 0.5 * QP.scale)
    # Half a step, and a float32's last bit of y.
    assert np.abs(error[inside]).max() <= 0.5 + 1e-6 < np.abs(error[~inside]).min() + 0.02
    assert np.unique(y).size == 8


def test_the_staircase_names_both_zones_and_the_code_of_zero() -> None:
    said = words(plot.staircase(QP))
    for expected in (
        "rounding: at most half a step",
        "clipping:\nno bound",
        f"real 0 is exactly code {int(QP.zero_point)}",
        "+1/2",
    ):
        assert expected in said
    dots = [line for line in plot.staircase(QP).axes[0].lines if line.get_marker() == "o"]
    assert [tuple(map(float, (*dot.get_xdata(), *dot.get_ydata()))) for dot in dots] == [(0.0, 0.0)]


def test_the_ste_shows_the_gradient_that_backward_hands_on_with_both_outer_codes_filled() -> None:
    fig = plot.ste(QP)
    stairs, true, mask = fig.axes
    ((x, y),) = data_of(stairs, QUANTIZED_COLOR)
    tensor = Tensor(x, requires_grad=True)
    out = fake_quantize(tensor, QP)
    out.sum().backward()
    np.testing.assert_array_equal(y, out.data)
    drawn = np.nansum([line for _, line in data_of(mask, QAT_COLOR)[:2]], axis=0)
    np.testing.assert_array_equal(drawn, tensor.grad)
    filled = next(line for line in mask.lines if line.get_marker() == "^")
    np.testing.assert_allclose(np.asarray(filled.get_xdata()), [QP.rmin, QP.rmax])
    assert np.asarray(filled.get_ydata()).tolist() == [1.0, 1.0] and filled.get_markerfacecolor() == QAT_COLOR
    flat = data_of(true, QUANTIZED_COLOR)[0][1]
    assert not flat.any() and "no gradient gets through" in words(fig)


def test_the_ste_builds_up_in_three_frames() -> None:
    for step in (1, 2, 3):
        fig = plot.ste(QP, step=step)
        assert [ax.get_visible() for ax in fig.axes] == [place < step for place in range(3)]
        assert len(alt_of(fig)) > 80


# ------------------------------------------------------------------------------------------------ rounding


@pytest.mark.parametrize(
    "mode", ["half_away", "half_even", "half_up", "half_down", "floor", "ceil", "toward_zero"]
)
def test_each_tie_has_a_filled_end_at_the_number_that_wins_it(mode: str) -> None:
    fig = plot.rounding_modes((mode,))
    ax = fig.axes[0]
    ends = [
        line for line in ax.lines if line.get_marker() in "os" and len(np.atleast_1d(line.get_xdata())) == 1
    ]
    names = {text.get_text(): text.get_position()[0] for text in ax.texts}
    for line in ends:
        at = float(np.atleast_1d(line.get_xdata())[0])
        boundary = round_to_int(2 * np.array([at]), "half_even")[0] / 2
        side = "right" if at > boundary else "left"
        # The number named next on that side.
        candidates = [(abs(x - at), int(name)) for name, x in names.items() if (x > at) == (side == "right")]
        owner = min(candidates)[1]
        wins = int(round_to_int(np.array([boundary]), mode)[0]) == owner
        assert (line.get_markerfacecolor() != "white") == wins, (at, owner)
    assert len(ends) == 2 * (6 if mode.startswith("half") else 5 - (mode == "toward_zero"))


def test_only_ties_that_go_elsewhere_are_coloured() -> None:
    fig = plot.rounding_modes(("half_away", "half_even"))
    coloured = sorted(
        float(np.atleast_1d(line.get_xdata())[0])
        for line in fig.axes[0].lines
        if line.get_color() == QUANTIZED_COLOR
    )
    ties = [-2.5, -0.5, 0.5, 2.5]
    assert [round(2 * at) / 2 for at in coloured] == sorted(2 * ties)


def test_the_bars_are_the_mean_error_over_quarters() -> None:
    """half_up: 6 ties of 21 quarters, each half too high; of the 11 quarters from 0 on, 3."""
    fig = plot.rounding_modes(("half_up", "half_away"))
    widths = [bar.get_width() for bar in fig.axes[1].patches]
    np.testing.assert_allclose(widths[:2], [0.5 * 6 / 21, (0.5 * 3 - 0.25 * 3 + 0.25 * 2) / 11], atol=1e-12)
    assert widths[2] == 0.0 and widths[3] > 0


# -------------------------------------------------------------------------------- one multiply-accumulate


def test_the_boxes_hold_the_explanations_integers_and_reals(why: Explanation) -> None:
    said = words(plot.multiply_accumulate(why))
    data = why.data
    places = (("sum", "accumulator"), ("multiplier", "multiplier"), ("rescale", "high"), ("code", "rounded"), ("code", "code"))
    numbers = [data["products"]["codes"][0], data["products"]["weights"][0], *(data[step][key] for step, key in places)]
    for number in numbers:
        assert f"{number:,}" in said or str(number) in said
    assert f"{why.after:.5f}" in said and f"{why.before:.5f}" in said
    assert said.count("rounded ") == 2
    assert "numpy's int8 @ int8 says 16, not 10000" in said
    for bits in ("8\nbits", "16\nbits", "32\nbits", "32 bits"):
        assert bits in said


def test_the_frames_add_one_box_each(why: Explanation) -> None:
    drawn = [plot.multiply_accumulate(why, step=k).axes[0] for k in range(1, 7)]
    assert [len(ax.patches) for ax in drawn] == [1, 2, 3, 4, 5, 6]
    assert [sum(isinstance(text, Annotation) for text in ax.texts) for ax in drawn] == [0, 1, 2, 3, 4, 5]


# ------------------------------------------------------------------------------------------------- network


def test_both_networks_have_their_nodes_at_the_same_heights_and_only_new_ones_are_coloured(
    mlp: tuple[Calibration, FakeQuantModel, IntegerModel],
) -> None:
    seen, fq, _ = mlp
    before, after = plot.network(seen.graph, fq).axes

    def boxes(ax: Any) -> dict[str, tuple[float, bool]]:
        patches = [p for p in ax.patches if isinstance(p, FancyBboxPatch)]
        texts = [t for t in ax.texts if t.get_text()]
        new = {
            round(p.get_y() + 0.34, 6): p.get_edgecolor() == matplotlib.colors.to_rgba(QUANTIZED_COLOR)
            for p in patches
            if abs(p.get_x()) < 2
        }
        return {
            t.get_text(): (t.get_position()[1], new[round(t.get_position()[1] + 0.02, 6)])
            for t in texts
            if t.get_position()[0] == 0
        }

    old, whole = boxes(before), boxes(after)
    assert len(old) == 1 + len(seen.graph.nodes) and not any(new for _, new in old.values())
    assert {name: whole[name] for name in old} == old
    added = [name for name, (_, new) in whole.items() if new]
    assert added == [f"int8, scale {fq.qparams[n].scale:.3g}" for n in ("input", "fc1", "fc2", "head")]  # type: ignore[union-attr]
    assert words(after.figure).count("bias int32") == 3 and words(after.figure).count("weight int8") == 3


def test_a_part_of_a_residual_network_has_its_shortcut_and_folded_norms() -> None:
    model = load_checkpoint("resnet")
    seen = calibrate(model, IMAGES[:8])
    fig = plot.network(seen.graph, quantize_model(model, seen), only="block1.")
    assert "(bn1: folded)" in words(fig) and "stem.relu" in words(fig)
    assert [sum(len(np.asarray(line.get_xdata())) == 3 for line in ax.lines) for ax in fig.axes] == [1, 1]
    kept = plot.network(seen.graph, quantize_model(model, seen, bn="freeze"), only="block1.")
    assert "folded" not in words(kept)
    with pytest.raises(ValueError, match="the picture must have at most 13 rows"):
        plot.network(seen.graph, quantize_model(model, seen))


# ---------------------------------------------------------------------- the budget, resilience, the table


def test_the_waterfall_hangs_each_part_from_the_last_and_prints_the_sum() -> None:
    parts = [
        ("weight rounding", 2.0),
        ("bias rounding", 0.0),
        ("requantization", 0.75),
        ("interaction", -0.5),
    ]
    fig = plot.budget_waterfall(parts, float_accuracy=0.97)
    bars = [p for p in fig.axes[0].patches if p.get_width() and p.get_x() > 94]
    ends = [(p.get_x(), p.get_x() + p.get_width()) for p in bars if p.get_facecolor()[:3] != (1, 1, 1)]
    steps = [pair for pair in ends if abs(pair[1] - pair[0]) in (2.0, 0.75, 0.5)]
    assert steps == [(97.0, 95.0), (95.0, 94.25), (94.25, 94.75)]
    assert "2.00 + 0.75 - 0.50 = 2.25 points lost" in words(fig) and "94.75" in words(fig)
    assert "weight rounding +2.00" in alt_of(fig)


def test_resilience_draws_the_mean_and_the_band_from_worst_to_best() -> None:
    noise, one, two = (
        [0, 1, 2],
        np.array([[0.9, 0.8, 0.5], [1.0, 0.8, 0.7]]),
        np.array([[0.9, 0.9, 0.8], [0.9, 0.9, 0.9]]),
    )
    fig = plot.resilience_curves(noise, {"float": one, "QAT": two})
    ax = fig.axes[0]
    ((_, y),) = data_of(ax, FLOAT_COLOR)
    np.testing.assert_allclose(y, [95, 80, 60])
    corners = ax.collections[0].get_paths()[0].vertices
    assert {tuple(c) for c in np.round(corners, 9)} >= {(0, 90), (0, 100), (2, 50), (2, 70)}
    assert fig.texts[0].get_text() == "QAT leads by -5.0 points without noise, by 25.0 at 2 steps"


def test_lines_that_coincide_are_said_to_coincide() -> None:
    same = np.array([[0.9, 0.5], [0.92, 0.55]])
    fig = plot.resilience_curves([0, 1], {"float": same, "QAT": same + 0.002})
    assert "the lines coincide" in fig.texts[0].get_text() and "the lines coincide" in alt_of(fig)


def test_a_steady_gap_is_no_coincidence_however_far_the_seeds_spread_at_the_end() -> None:
    one, two = np.array([[0.96, 0.8, 0.5], [0.95, 0.7, 0.3]]), np.array([[0.93, 0.78, 0.5], [0.92, 0.69, 0.3]])
    fig = plot.resilience_curves([0, 1, 2], {"float": one, "QAT": two})
    assert fig.texts[0].get_text() == "float leads by 3.0 points without noise, and noise does not widen that"


ROWS = {
    "W8": [[0.96, 0.96, 0.97, 0.97, 0.96], [0.96, 0.96, 0.97, 0.97, 0.96], [0.95, 0.95, 0.95, 0.95, 0.96]],
    "W3": [[0.96, 0.9, 0.96, 0.97, 0.92], [0.95, 0.91, 0.95, 0.96, 0.92], [0.96, 0.9, 0.95, 0.97, 0.9]],
}
PUBLISHED = {"MobileNet v1": (71.03, 69.57, 71.06), "ResNet v1 50": (76.3, 75.95, 76.1)}


def test_the_table_has_a_dot_a_seed_in_five_columns_and_paired_differences() -> None:
    fig = plot.results_table(ROWS, images=200, published=PUBLISHED)
    rows = np.array(ROWS["W3"])
    dots = [line for line in fig.axes[1].lines if line.get_linestyle() == "None"]
    np.testing.assert_allclose([np.asarray(dot.get_ydata()) for dot in dots], 100 * rows.T)
    each = 100 * (rows[:, 2] - rows[:, 4])
    mean, half = each.mean(), 4.303 * each.std(ddof=1) / math.sqrt(3)
    assert f"{mean:+.2f} +- {half:.2f}" in words(fig)
    assert f"QAT minus PTQ of the control {mean:+.2f} +- {half:.2f} points, {2 * mean:+.1f} images" in alt_of(fig)
    drawn = [line for line in fig.axes[2].lines if line.get_marker() == "^"]
    np.testing.assert_allclose(np.asarray(drawn[1].get_xdata()), each)
    assert fig.texts[0].get_text() == "QAT beats PTQ of the control: W3 only"
    (images,) = fig.axes[2].child_axes
    fig.draw_without_rendering()
    points, counted = fig.axes[2].get_xlim(), images.get_xlim()
    np.testing.assert_allclose(np.array(counted), np.array(points) * 2)  # 200 images: a point is two of them


def test_published_rows_stand_in_a_grey_panel_of_their_own() -> None:
    with_them, without = (
        plot.results_table(ROWS, images=200, published=PUBLISHED),
        plot.results_table(ROWS, images=200),
    )
    assert len(with_them.axes) == len(without.axes) + 1
    red, green, blue, _ = matplotlib.colors.to_rgba(with_them.axes[-1].get_facecolor())
    assert red == green == blue < 1
    marks = [line for line in with_them.axes[-1].lines if line.get_marker() in "os^"]
    assert sorted(float(np.atleast_1d(m.get_xdata())[0]) for m in marks) == sorted(
        v for row in PUBLISHED.values() for v in row
    )


def test_missed_cases_are_filled_and_counted() -> None:
    labels = np.array([1] * 10 + [0] * 5)
    said = {
        "float": np.r_[[0], np.ones(9, int), np.zeros(5, int)],
        "3 bits": np.r_[np.zeros(4, int), np.ones(6, int), np.zeros(5, int)],
    }
    fig = plot.missed_cases(labels, said)
    for ax, missed in zip(fig.axes, (1, 4), strict=True):
        heads = [p for p in ax.patches if isinstance(p, Circle)]
        filled = [p.get_facecolor() == matplotlib.colors.to_rgba(QUANTIZED_COLOR) for p in heads]
        assert len(heads) == 10 and sum(filled) == missed and f"{missed} missed" in ax.get_title()
    tied = {"3 bits": np.r_[np.ones(3, bool), np.zeros(1, bool), np.ones(11, bool)]}
    half = plot.missed_cases(labels, said, undecided=tied)
    heads = [p for p in half.axes[1].patches if isinstance(p, Circle)]
    # The tie of a case that is found, or is healthy, is nobody missed.
    assert [bool(p.get_hatch()) for p in heads] == [False] + [True] * 3 + [False] * 6
    assert [p.get_facecolor() == matplotlib.colors.to_rgba(QUANTIZED_COLOR) for p in heads] == [True] + [False] * 9
    assert half.axes[1].get_title().splitlines()[1] == "4 missed, 3 by a tie"
    assert half.texts[0].get_text() == "3 bits: 4 times the missed cancers, most of them ties"
    assert "3 bits: 4 missed, 3 by a tie" in half.alt and "hatched" in half.texts[1].get_text()
    assert "hatched" not in fig.texts[1].get_text()
    assert (
        fig.texts[0].get_text() == "3 bits: 4 times the missed cancers"
        and "accuracy 93.3 %" in fig.axes[0].get_title()
    )


# ------------------------------------------------------------------------------------------------ the others


def test_the_comb_has_a_tooth_for_each_code_that_occurs() -> None:
    x, qp = RNG.normal(size=500), choose_qparams(-3, 3, bits=3)
    fig = plot.histogram_to_comb(x, qp)
    teeth = fig.axes[1].collections[0].get_segments()
    codes, counts = np.unique(quantize(x, qp), return_counts=True)
    np.testing.assert_allclose([tooth[0][0] for tooth in teeth], dequantize(codes, qp))
    np.testing.assert_array_equal([tooth[1][1] for tooth in teeth], counts)
    assert sum(bar.get_height() for bar in fig.axes[0].patches) == 500


@pytest.mark.parametrize(
    "x", [RNG.laplace(size=2000), np.abs(RNG.laplace(size=2000))], ids=["signed", "not negative"]
)
def test_the_tradeoffs_parts_add_up_and_its_mark_is_the_lowest_point(x: np.ndarray) -> None:
    fig = plot.calibration_tradeoff(x, 4)
    curves = {line.get_label(): line for line in fig.axes[0].lines}
    total, clipping, rounding = (
        np.nan_to_num(np.asarray(curves[k].get_ydata(), float)) for k in ("total", "clipping", "rounding")
    )
    np.testing.assert_allclose(total, clipping + rounding)
    best = next(line for line in fig.axes[0].lines if line.get_marker() == "o")
    assert float(np.atleast_1d(best.get_ydata())[0]) == total.min()
    # The first threshold is 3 % of the largest: what lies beyond it on either side is clipped to it.
    narrow = float(np.asarray(curves["total"].get_xdata())[0])
    np.testing.assert_allclose(clipping[0], np.sum(np.maximum(np.abs(x) - narrow, 0) ** 2) / x.size, rtol=1e-5)
    threshold = float(np.abs(x).max())
    qp = (
        choose_qparams(-threshold, threshold, bits=4, symmetric=True, narrow_range=True)
        if x.min() < 0
        else choose_qparams(0, threshold, bits=4)
    )
    np.testing.assert_allclose(total[-1], np.mean((dequantize(quantize(x, qp), qp) - x) ** 2))


def test_the_training_curves_follow_each_other_and_ptq_is_a_line() -> None:
    fig = plot.training_curves(
        [2, 1, 0.5], [0.7, 0.6], [0.8, 0.9, 0.95], [0.93, 0.94], ptq_accuracy=0.85, bits=3
    )
    right = fig.axes[1]
    ((x, y),) = data_of(right, QAT_COLOR)
    assert x.tolist() == [4, 5] and np.allclose(y, [93, 94])
    assert np.allclose(data_of(right, QUANTIZED_COLOR)[0][1], 85)
    assert fig.texts[0].get_text() == "3-bit weights: PTQ loses 10.0 points, QAT wins 9.0 back"


def test_code_flips_counts_changes_and_follows_the_most_restless() -> None:
    codes = np.array([[0, 5, 1, 1], [1, 5, 1, 1], [0, 5, 2, 1], [1, 5, 2, 1]])
    fig = plot.code_flips(codes, shown=1)
    assert [bar.get_height() for bar in fig.axes[0].patches] == [25.0, 50.0, 25.0]
    (line,) = fig.axes[1].lines
    assert np.asarray(line.get_ydata()).tolist() == [0, 1, 0, 1] and "50 % never do" in words(fig)


def test_channel_ranges_go_from_the_widest_to_the_narrowest() -> None:
    weight = np.array([[0.1, -0.05], [1.0, -0.5], [0.02, 0.01]])
    fig = plot.channel_ranges(weight, bits=4)
    bars = [(round(p.get_y(), 9), round(p.get_y() + p.get_height(), 9)) for p in fig.axes[0].patches]
    assert bars == [(-0.5, 1.0), (-0.05, 0.1), (0.01, 0.02)]
    # The shared step is 1/7: 0.1 rounds to code 1, 0.02 to code 0.
    assert [p.get_height() for p in fig.axes[1].patches] == [15, 3, 1]


def test_sqnr_marks_the_worst_node_and_the_map_has_a_number_in_each_cell() -> None:
    fig = plot.sqnr_bars({"a": 40.0, "b": 20.0, "c": 30.0, "same": math.inf})
    coloured = [
        p for p in fig.axes[0].patches if p.get_facecolor() == matplotlib.colors.to_rgba(QUANTIZED_COLOR)
    ]
    assert [p.get_width() for p in coloured] == [20.0] and "b has the least signal left: 20 dB" in words(fig)
    drops = {"conv": {4: 0.5, 2: 9.0}, "head": {4: 0.0, 2: 1.25}}
    cells = plot.sensitivity_map(drops)
    assert [t.get_text() for t in cells.axes[0].texts] == ["0.5", "9.0", "0.0", "1.2"]
    assert [t.get_text() for t in cells.axes[0].get_xticklabels()] == ["4", "2"]


def test_the_memory_bars_are_the_live_bytes_and_the_peak_is_marked(
    mlp: tuple[Calibration, FakeQuantModel, IntegerModel],
) -> None:
    found = cost(mlp[2])
    fig = plot.memory_timeline(found)
    sums: dict[float, float] = {}
    for bar in fig.axes[0].patches:
        sums[bar.get_y()] = sums.get(bar.get_y(), 0) + bar.get_width()
    assert [int(v) for _, v in sorted(sums.items())] == [node.live_bytes for node in found.nodes]
    assert f"The peak is {found.peak_bytes:,} bytes, at {found.peak_node}" in words(fig)


def test_bytes_and_accuracy_join_those_that_none_beats() -> None:
    some = {"float": plot.Candidate("float", 4000, 97), "8": plot.Candidate("PTQ", 1000, 97), "6": plot.Candidate("PTQ", 800, 90),
            "bad": plot.Candidate("QAT", 900, 80)}  # fmt: skip
    fig = plot.bytes_against_accuracy(some, images=100)
    front = max(
        (line for line in fig.axes[0].lines if line.get_linewidth() == 5), key=lambda a: a.get_linewidth()
    )
    assert np.asarray(front.get_xdata()).tolist() == [800, 1000] and alt_of(fig).endswith(
        "On the front: 6, 8."
    )


def test_confusions_count_every_case() -> None:
    truth, said = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 0])
    fig = plot.confusion_matrices(truth, {"float": truth, "int": said})
    numbers = {(t.get_position()[::-1]): int(t.get_text()) for t in fig.axes[1].texts}
    counted = {(0, 0): 1, (0, 1): 1, (1, 1): 1, (2, 2): 1, (2, 0): 1}
    assert numbers == {(row, column): counted.get((row, column), 0) for row in range(3) for column in range(3)}
    assert (
        fig.texts[0].get_text() == "Mistakes: float 0, int 2"
        and "2 taken for 0" in alt_of(fig)
        or "0 taken for 1" in alt_of(fig)
    )


# -------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot.staircase(8), TypeError, "qp must be a QParams, got int"),
        (lambda: plot.staircase(QParams([1.0, 2.0], 0, axis=0)), ValueError, "qp must have one scale"),
        (lambda: plot.staircase(QP, 1, 0), ValueError, "lo must lie below hi, got 1 and 0"),
        (lambda: plot.ste(QP, step=4), ValueError, "step must be 1, 2 or 3, got 4"),
        (lambda: plot.rounding_modes(("stochastic",)), ValueError, r"modes must be some of .*, got \['stochastic'\]"),
        (lambda: plot.rounding_modes(lo=0.3), ValueError, "lo and hi must be whole numbers or halves"),
        (lambda: plot.multiply_accumulate("x"), TypeError, "why must be an Explanation, got str"),
        (lambda: plot.network(1, 2), TypeError, "before must be a Graph and after a FakeQuantModel"),
        (lambda: plot.budget_waterfall([]), ValueError, "budget must have at least one part"),
        (lambda: plot.resilience_curves([0, 1], {}), ValueError, "one to four lines, got 0"),
        (lambda: plot.resilience_curves([0, 1], {"a": [[1, 2, 3]]}), ValueError, r"must have shape \(seeds, 2\)"),
        (lambda: plot.resilience_curves([0], {"a": [[90]]}), ValueError, r"accuracies must lie in \[0, 1\], got 90"),
        (lambda: plot.results_table({}, images=9), ValueError, "one to four networks, got 0"),
        (lambda: plot.results_table({"a": [[1, 1, 1, 1, 1]]}, images=9), ValueError, "at least two seeds"),
        (lambda: plot.results_table({"a": [[9] * 5] * 2}, images=9), ValueError, r"must lie in \[0, 1\]"),
        (lambda: plot.results_table(ROWS, images=0), ValueError, "images must be at least 1"),
        (lambda: plot.missed_cases([1], {}), ValueError, "one to four networks, got 0"),
        (lambda: plot.missed_cases([0, 0], {"a": [0, 0]}), ValueError, "positive label 1 at least once"),
        (lambda: plot.missed_cases([1, 0], {"a": [0]}), ValueError, "must have one shape"),
        (
            lambda: plot.missed_cases([1, 0], {"a": [0, 0]}, undecided={"b": np.array([True, False])}),
            ValueError,
            r"undecided must hold bool arrays \(2,\) of a, got bool \(2,\) of 'b'",
        ),
        (
            lambda: plot.missed_cases([1, 0], {"a": [0, 0]}, undecided={"a": [1, 0]}),
            ValueError,
            "undecided must hold bool arrays .* got int64",
        ),
        (lambda: plot.histogram_to_comb([1.0], QP), ValueError, "x must hold finite numbers"),
        (lambda: plot.histogram_to_comb([1.0, 2.0], 3), TypeError, "qp must be a QParams"),
        (lambda: plot.calibration_tradeoff([1.0, 2.0], percentile=100), ValueError, "percentile must lie between 0 and 100"),
        (lambda: plot.training_curves([1], [1], [1, 2], [1], ptq_accuracy=1), ValueError, "one value an epoch"),
        (lambda: plot.code_flips([[1.0, 2.0]]), ValueError, "codes must be whole numbers of shape"),
        (lambda: plot.code_flips([[1], [2]], shown=0), ValueError, "shown must be at least 1"),
        (lambda: plot.channel_ranges([[0.0], [0.0]]), ValueError, "at least two channels"),
        (lambda: plot.sqnr_bars({}), ValueError, "1 to 24 nodes"),
        (lambda: plot.sensitivity_map({"a": {2: 1}, "b": {3: 1}}), ValueError, "drops must have the same bits"),
        (lambda: plot.memory_timeline(3), TypeError, "cost must be a Cost, got int"),
        (lambda: plot.memory_timeline(Cost((), (), 0, 0, 0, "")), ValueError, "1 to 24 nodes, got 0"),
        (lambda: plot.bytes_against_accuracy({}, images=3), ValueError, "at least one network"),
        (lambda: plot.bytes_against_accuracy({"a": plot.Candidate("x", 1, 1)}, images=3), ValueError, "of a kind of float, PTQ"),
        (lambda: plot.confusion_matrices([0], {}), ValueError, "one or two networks, got 0"),
        (lambda: plot.confusion_matrices([0], {"a": [12]}), ValueError, "whole numbers from 0 to 11"),
        (lambda: plot.confusion_matrices([0, 1], {"a": [0]}), ValueError, "must have one shape"),
        (lambda: plot.confusion_matrices([0], {"a": [0]}, names=["x", "y"]), ValueError, "names must name 1 classes, got 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(
    call: Callable[[], Figure], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


def test_what_is_no_multiply_accumulate_is_refused(
    mlp: tuple[Calibration, FakeQuantModel, IntegerModel], why: Explanation
) -> None:
    m = mlp[2]
    meaning = m.inputs[0].qparams
    assert meaning is not None
    codes = quantize(IMAGES[:1], meaning)
    with pytest.raises(ValueError, match="why must be of a node that multiplies and adds, got RESHAPE"):
        plot.multiply_accumulate(explain(m, codes, "flatten", (0, 3)))
    with pytest.raises(ValueError, match="step must be 1 to 6, got 7"):
        plot.multiply_accumulate(why, step=7)


def test_networks_that_do_not_belong_together_are_refused(
    mlp: tuple[Calibration, FakeQuantModel, IntegerModel],
) -> None:
    seen, fq, _ = mlp
    other = load_checkpoint("resnet")
    theirs: Mapping[str, Any] = {"before": calibrate(other, IMAGES[:4]).graph, "after": fq}
    with pytest.raises(ValueError, match="after must be made of the network before"):
        plot.network(**theirs)
    with pytest.raises(ValueError, match="only must begin the name of a node, got 'x'"):
        plot.network(seen.graph, fq, only="x")
    with pytest.raises(ValueError, match="step must be 1 or 2, got 0"):
        plot.network(seen.graph, fq, step=0)
