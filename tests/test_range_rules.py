"""Rules that make a range of what was seen: each against its definition, and against one outlier image."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyquant import data, models
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams, choose_qparams
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.range_rules import ColdRangeWarning, choose_range, expected_squared_error
from tinyquant.quantization.schemes import CALIBRATIONS, TFLITE_INT8, Scheme
from tinyquant.quantization.statistics import Statistics
from tinyquant.training import evaluate

NUMBERS = hnp.arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.one_of(st.floats(-4, 4, width=32), st.floats(-300, 300, width=32), st.integers(-8, 8).map(np.float32)),
)
BITS = st.integers(2, 8)


def seen(*batches, momentum=0.9):
    record = Statistics(momentum=momentum)
    for batch in batches:
        record.update(np.asarray(batch))
    return record


def maker(bits, symmetric=False):
    return lambda low, high: choose_qparams(low, high, bits=bits, symmetric=symmetric)


def rule(name, **more):
    return TFLITE_INT8.replace(calibration=name, **more)


@given(NUMBERS, BITS)
def test_without_a_rule_the_range_is_the_smallest_and_largest_number(x, bits):
    assert choose_range([seen(x)], rule("minmax"), maker(bits)) == (x.min(), x.max())


@given(NUMBERS, NUMBERS)
def test_a_shared_range_is_that_of_all_its_values_together(x, y):
    """Exact for the rules that look at the merged histogram; the averages' widest for "ema"."""
    together = seen(np.concatenate([x, y]))
    for name in ("minmax", "percentile", "entropy"):
        assert choose_range([seen(x), seen(y)], rule(name), maker(4)) == choose_range([together], rule(name), maker(4))
    low, high = choose_range([seen(x, momentum=0), seen(y, momentum=0)], rule("ema"), maker(4))
    assert (low, high) == (min(x.min(), y.min()), max(x.max(), y.max()))


@given(NUMBERS, st.floats(50.5, 100))
def test_a_percentile_leaves_its_share_outside_to_within_one_bin(x, percentile):
    """#{x > high + bin} <= (1-p) n <= #{x >= high - bin}, and the same below (unless the ends of the data come first)."""
    record = seen(x)
    low, high = choose_range([record], rule("percentile", percentile=percentile), maker(8))
    width, outside = record.bin_edges()[1] - record.bin_edges()[0], (1 - percentile / 100) * x.size
    wide = x.astype(np.float64)
    # The share is a float64: 1e-9 numbers of slack.
    assert (wide > high + width).sum() <= outside + 1e-9 and (wide < low - width).sum() <= outside + 1e-9
    assert (wide >= high - width).sum() >= outside - 1e-9 and (wide <= low + width).sum() >= outside - 1e-9
    assert x.min() <= low and high <= x.max()


@given(NUMBERS)
def test_the_hundredth_percentile_is_min_max(x):
    assert choose_range([seen(x)], rule("percentile", percentile=100.0), maker(8)) == (x.min(), x.max())


@given(NUMBERS, BITS, st.booleans())
def test_the_expected_error_is_the_mean_over_numbers_spread_evenly_in_each_bin(x, bits, symmetric):
    """Oracle: 401 midpoints a bin. |x - q(x)| has slope 1 and is at most E, so a cell of width h errs by at most h E."""
    record, qp = seen(x), choose_qparams(x.min(), x.max(), bits=bits, symmetric=symmetric)
    edges = np.clip(record.bin_edges(), x.min(), x.max())
    filled = np.flatnonzero(record.histogram)
    middles = (np.arange(401) + 0.5) / 401
    points = edges[filled, None] + (edges[filled + 1] - edges[filled])[:, None] * middles
    error = np.abs(points - dequantize(quantize(points, qp), qp).astype(np.float64))
    want = ((error**2).mean(axis=1) * record.histogram[filled]).sum() / x.size
    h = (edges[filled + 1] - edges[filled]).max() / 401
    # dequantize rounds to float32: 2**-24 of the number, twice the error times that.
    slack = (h + 2.0**-23 * np.abs(x).max()) * (error.max() + h)
    assert abs(expected_squared_error(record, qp) - want) <= slack + 1e-9 * float(qp.scale) ** 2


@given(NUMBERS, BITS, st.booleans())
@settings(max_examples=30)
def test_squared_error_calibration_is_never_worse_than_min_max(x, bits, symmetric):
    """By the histogram exactly; by the data to within two bins in root mean square, for |x - q(x)| has slope 1."""
    record, make = seen(x), maker(bits, symmetric)
    ends = choose_range([record], rule("mse", activation_symmetric=symmetric), make)
    full, best = make(x.min(), x.max()), make(*ends)
    assert expected_squared_error(record, best) <= expected_squared_error(record, full)

    def rms(qp):
        return np.sqrt(np.mean((x.astype(np.float64) - dequantize(quantize(x.astype(np.float64), qp), qp)) ** 2))

    width = record.bin_edges()[1] - record.bin_edges()[0]
    assert rms(best) <= rms(full) + 2 * width + 2.0**-22 * np.abs(x).max()


def test_squared_error_calibration_finds_the_published_optimum_for_a_gaussian():
    """Max 1960, table 2: 16 equal steps for a unit Gaussian are best 0.3352 wide; the search goes by 1/64 of either end."""
    x = np.random.default_rng(0).normal(size=400_000)
    low, high = choose_range([seen(x)], rule("mse"), maker(4))
    assert abs((high - low) / 15 - 0.3352) < 2 * np.abs(x).max() / 64 / 15 + 0.005


def test_squared_error_calibration_moves_either_end_alone():
    """6 below 0 are dense, one number lies at 60: the high end comes down further than the low end comes up."""
    record, make = seen(np.append(np.linspace(-6, 0, 1000), 60.0)), maker(4)
    low, high = choose_range([record], rule("mse"), make)
    assert high / 60 < low / -6
    together = [expected_squared_error(record, make(-6 * k / 64, 60 * k / 64)) for k in range(1, 65)]
    assert expected_squared_error(record, make(low, high)) < min(together)


def divergences(record, levels):
    """{range: KL divergence} of every range that entropy calibration may choose, after Migacz 2017, in plain loops.

    What lies outside a range counts in its first or last bin; each of `levels` cells keeps the mean of its bins that hold
    anything; the two bins at 0 do not count; a range that would put numbers into an empty bin is out.
    """
    counts, edges, half = record.histogram.tolist(), record.bin_edges().tolist(), record.histogram.size // 2
    filled = np.flatnonzero(record.histogram).tolist()
    first, last = min(filled[0], half), max(filled[-1], half - 1)
    found = {}
    for reach in np.linspace(1, max(half - first, last + 1 - half), 128).astype(int).tolist():
        start, stop = max(first, half - reach), min(last + 1, half + reach)
        if stop - start <= levels:
            continue
        clipped, cells = {}, {}
        for i in filled:
            if i not in (half - 1, half):
                at = min(max(i, start), stop - 1)
                clipped[at] = clipped.get(at, 0) + counts[i]
                if start <= i < stop:
                    cells.setdefault((i - start) * levels // (stop - start), {})[i] = counts[i]
        kept = {i: sum(cell.values()) / len(cell) for cell in cells.values() for i in cell}
        p, q = sum(clipped.values()), sum(kept.values())
        possible = clipped.keys() == kept.keys()
        loss = sum(n / p * math.log(n / p * q / kept[i]) for i, n in clipped.items()) if possible else math.inf
        ends = max(min(record.minimum, 0.0), edges[start]), min(max(record.maximum, 0.0), edges[stop])
        found[ends] = min(loss, found.get(ends, math.inf))
    return found


@pytest.mark.parametrize("seed", range(10))
def test_entropy_calibration_loses_the_least_information_of_all_its_ranges(seed):
    """Dense numbers, some of them on a coarse grid with gaps, and outliers on one side: no other range has less divergence."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=3000) * rng.choice([1, 0.2], 3000)
    dense = np.round(dense * 16) / 16 if seed % 3 == 0 else dense
    record = seen(np.append(dense, (-1) ** seed * rng.uniform(8, 12, 1 + 60 * seed)))
    found = divergences(record, 16)
    # Sums of at most 3000 terms below 10 in another order.
    assert found[choose_range([record], rule("entropy"), maker(4))] <= min(found.values()) + 1e-9


@pytest.mark.parametrize("side", [-1, 1])
def test_entropy_calibration_keeps_outliers_that_are_many(side):
    """A tenth of the numbers from 30 to 40: clipped, they would stand where one in ten thousand was."""
    rng = np.random.default_rng(0)
    x = side * np.append(rng.normal(size=20_000), 30 + 10 * rng.random(2000))
    low, high = choose_range([seen(x)], rule("entropy"), maker(4))
    assert max(low * side, high * side) > 39.9


def test_entropy_calibration_lets_go_of_a_lonely_outlier_and_keeps_what_is_dense():
    x = np.random.default_rng(0).normal(size=50_000)
    for bits in (4, 8):
        low, high = choose_range([seen(np.append(x, 40.0))], rule("entropy"), maker(bits))
        assert 2.0 < high < 6.0 and -6.0 < low < -2.0
    assert choose_range([seen(x)], rule("entropy"), maker(16)) == (x.min(), x.max())


def test_numbers_at_zero_do_not_sway_the_entropy():
    """Every quantizer holds 0 exactly, so the zeros of a ReLU have no say."""
    x = np.abs(np.random.default_rng(0).normal(size=20_000))
    many = np.concatenate([x, np.zeros(200_000)])
    assert choose_range([seen(x)], rule("entropy"), maker(4)) == choose_range([seen(many)], rule("entropy"), maker(4))


def test_a_moving_average_is_debiased_and_warns_while_it_is_cold():
    """ema = sum m**(n-i) x_i / sum m**(n-i); cold while m**n > 1/2 (tensorflow/model-optimization#368)."""
    tops = [1.0, 5.0, 2.0, 2.0, 3.0, 2.0, 4.0]
    weights = 0.9 ** np.arange(6, -1, -1)
    warm = seen(*([-1.0, top] for top in tops))
    low, high = choose_range([warm], rule("ema"), maker(8))
    assert np.isclose(high, np.average(tops, weights=weights), rtol=1e-12) and np.isclose(low, -1.0, rtol=1e-12)
    with pytest.warns(ColdRangeWarning, match="must have seen 7 batches .* with momentum 0.9, got 6. Calibrate on more"):
        low, high = choose_range([seen(*([-1.0, top] for top in tops[:-1]))], rule("ema"), maker(8))
    assert np.isclose(low, -1.0, rtol=1e-12), "cold, but not wrong: the start at 0 is corrected for"


def test_the_warning_points_at_the_line_that_asked():
    """However deep in the package the rule is: the caller's file, not the package's."""
    cold, (x, _) = seen([-1.0, 1.0]), digits()[0]
    model = models.load_checkpoint("mlp")
    calibration = calibrate(model, x[:64])
    for call in (
        lambda: choose_range([cold], rule("ema"), maker(8)),
        lambda: quantize_model(model, calibration, scheme=rule("ema")),
    ):
        with pytest.warns(ColdRangeWarning) as record:
            call()
        assert {warning.filename for warning in record} == {__file__}


def test_a_fixed_range_looks_at_nothing():
    assert choose_range([seen([5.0])], rule("fixed", fixed_range=(-1, 1)), maker(8)) == (-1.0, 1.0)


@lru_cache
def digits():
    return data.digits(split=0)


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_every_rule_leaves_a_clean_network_within_a_point(name):
    (x, _), (xt, yt) = digits()
    model = models.load_checkpoint("mlp")
    scheme = rule(name) if name != "fixed" else rule("minmax").annotate("input", calibration="fixed", fixed_range=(0, 1))
    fq = quantize_model(model, calibrate(model, x[:512]), scheme=scheme)
    assert abs(evaluate(fq, xt, yt) - evaluate(model, xt, yt)) < 0.01
    assert fq.qparams["input"] == choose_qparams(0, 1) or name not in ("minmax", "fixed")


@pytest.mark.parametrize("network", ["mlp", "resnet", "mobilenet"])
def test_one_outlier_image_ruins_min_max_and_not_the_rules_that_let_it_go(network):
    """One of 512 images 30 times as bright, 6-bit activations: min-max loses over 10 points, the others at most 4."""
    (x, _), (xt, yt) = digits()
    model = models.load_checkpoint(network)
    bright = x[:512].copy()
    bright[100] *= 30
    calibration, reference = calibrate(model, bright), evaluate(model, xt, yt)
    lost = {}
    for name in ("minmax", "percentile", "entropy", "ema"):
        scheme = rule(name, activation_bits=6, percentile=99.9)
        lost[name] = reference - evaluate(quantize_model(model, calibration, scheme=scheme), xt, yt)
    assert lost["minmax"] > 0.1
    assert max(lost["percentile"], lost["entropy"], lost["ema"]) < 0.045, lost


def test_nodes_may_share_a_quantizer_by_a_word():
    (x, _), _ = digits()
    model = models.load_checkpoint("mlp")
    calibration = calibrate(model, x[:64])
    fq = quantize_model(model, calibration, scheme=TFLITE_INT8.annotate("fc*", share="hidden"))
    ends = [calibration.range(name) for name in ("relu1", "relu2")]
    assert fq.qparams["fc1"] == fq.qparams["fc2"] == choose_qparams(0.0, max(high for _, high in ends))


def test_a_rule_for_one_node_leaves_the_others_alone():
    (x, _), _ = digits()
    model = models.load_checkpoint("mlp")
    calibration = calibrate(model, x[:64])
    plain = quantize_model(model, calibration)
    scheme = TFLITE_INT8.annotate("fc1", calibration="percentile", percentile=99.0)
    changed = quantize_model(model, calibration, scheme=scheme)
    assert {name for name, qp in changed.qparams.items() if qp != plain.qparams[name]} == {"fc1"}
    assert changed.qparams["fc1"].rmax < plain.qparams["fc1"].rmax


def test_a_group_has_the_fewest_bits_of_its_members():
    (x, _), _ = digits()
    model = models.load_checkpoint("mlp")
    for member in ("input", "flatten"):
        fq = quantize_model(model, calibrate(model, x[:64]), scheme=TFLITE_INT8.annotate(member, activation_bits=4))
        assert [fq.qparams[name].levels for name in ("input", "flatten", "fc1")] == [16, 16, 256]


def test_a_warm_calibration_warns_of_nothing():
    (x, _), _ = digits()
    model = models.load_checkpoint("mlp")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantize_model(model, calibrate(model, x[:512]), scheme=rule("ema"))


def test_a_range_that_is_not_one_is_refused():
    for changes, message in (
        ({"calibration": "max"}, "calibration must be one of minmax, ema, .*, got 'max'"),
        ({"calibration": "fixed"}, r"fixed_range must be given with calibration='fixed', got None"),
        ({"calibration": "fixed", "fixed_range": (1, -1)}, r"two finite numbers, the lower first, got \(1, -1\)"),
        ({"calibration": "fixed", "fixed_range": (0, np.inf)}, "two finite numbers"),
        ({"percentile": 50}, "percentile must be above 50 and at most 100, got 50"),
    ):
        with pytest.raises(ValueError, match=message):
            TFLITE_INT8.replace(**changes)


def test_one_scale_is_what_the_error_is_of():
    assert isinstance(expected_squared_error(seen([0.3]), QParams(1.0, 0)), float)
    # A single number is a point: (0.3 - 0)**2.
    assert np.isclose(expected_squared_error(seen([0.25]), QParams(1.0, 0)), 0.0625, rtol=1e-12)
    assert isinstance(rule("mse"), Scheme)
