"""Errors in decibels, real units and steps, held to exact rationals."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyquant.analysis.metrics import measure, sqnr_db
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.qparams import QParams

SMALL = st.lists(st.tuples(st.integers(-999, 999), st.integers(-999, 999)), min_size=1, max_size=30)


@given(SMALL, st.sampled_from([0.25, 0.5, 2.0]))
def test_every_number_equals_its_definition_in_exact_rationals(pairs, step):
    """Integers in float64 are exact, so only the last division, root or logarithm rounds: 4 ulp."""
    x, y = (np.array(column, np.float64) for column in zip(*pairs))
    (m,) = measure(x, y, step=step)
    errors = [Fraction(b - a) for a, b in pairs]
    n, lsb = len(errors), Fraction(step)
    square = sum(e * e for e in errors)
    close = {"rel": 4 * 2.0**-52, "abs": 0}
    assert m.max_error == max(abs(e) for e in errors) and m.max_lsb == float(max(abs(e) for e in errors) / lsb)
    assert m.mean_error == pytest.approx(float(sum(map(abs, errors)) / n), **close)
    assert m.bias == pytest.approx(float(sum(errors) / n), **close)
    assert m.bias_lsb == pytest.approx(float(sum(errors) / n / lsb), **close)
    assert m.rmse == pytest.approx(math.sqrt(square / n), **close)
    assert m.rmse_ratio == pytest.approx(math.sqrt(12 * square / n / lsb**2), **close)
    signal = sum(a * a for a, _ in pairs)
    if square and signal:
        # log10 of both to 1 ulp each, times 10: well below 1e-12 dB
        assert m.sqnr_db == pytest.approx(10 * math.log10(Fraction(signal, 1) / square), abs=1e-12)
    else:
        assert m.sqnr_db == (-math.inf if square else math.inf)


def test_an_error_spread_evenly_over_a_step_has_a_ratio_of_one():
    """n equal cells of [-1/2, 1/2): mean square = (1/12) (1 - 1/n**2) for their midpoints."""
    n = 1000
    error = (np.arange(n) + 0.5) / n - 0.5
    (m,) = measure(np.zeros(n), error, step=1.0)
    assert m.rmse_ratio == pytest.approx(math.sqrt(1 - 1 / n**2), rel=1e-12)


def test_a_factor_of_ten_is_twenty_decibels():
    assert sqnr_db(np.array([30.0, 40.0]), np.array([33.0, 44.0])) == pytest.approx(20, abs=1e-12)
    assert sqnr_db(np.zeros(2), np.ones(2)) == -math.inf and sqnr_db(np.zeros(2), np.zeros(2)) == math.inf


def test_saturation_counts_the_ends_but_not_the_code_of_real_zero():
    """A ReLU puts values on qmin = zero_point on purpose; qmax, and a qmin that is no zero, are saturation."""
    codes = np.int8([[-128, -128, 127, 5]])
    (relu,) = measure(codes, codes, codes=codes, qparams=QParams(1.0, -128))
    (centred,) = measure(codes, codes, codes=codes, qparams=QParams(1.0, 0))
    assert relu.saturated == 25 and centred.saturated == 75 and relu.codes_used == 3


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=40))
def test_codes_used_and_differing_are_counted_exactly(values):
    codes = np.array(values, np.int8)
    shifted = np.where(codes == 3, np.int8(4), codes)
    (m,) = measure(codes, shifted, codes=shifted, qparams=QParams(1.0, 0), other_codes=codes)
    assert m.codes_used == len({4 if v == 3 else v for v in values}) and m.differing == values.count(3)


def test_a_channel_is_measured_as_if_it_were_alone():
    rng = np.random.default_rng(0)
    qp = QParams(0.125, 3)
    x = rng.normal(size=(5, 4, 3)).astype(np.float32)
    codes = quantize(x, qp)
    y, mask = dequantize(codes, qp), rng.random(x.shape) < 0.3
    together = measure(x, y, step=0.125, codes=codes, qparams=qp, masked=mask, other_codes=codes + 1, by_channel=True)
    for c, one in enumerate(together):
        cut = [a[..., c] for a in (x, y, codes, mask)]
        (alone,) = measure(cut[0], cut[1], step=0.125, codes=cut[2], qparams=qp, masked=cut[3], other_codes=cut[2] + 1)
        for key, value in one.to_dict().items():
            # numpy adds the two layouts up in another order: n ulp of the sum
            assert value == pytest.approx(getattr(alone, key), rel=20 * 2.0**-52, abs=1e-15), key


def test_what_json_cannot_hold_becomes_none():
    (m,) = measure(np.ones(2), np.ones(2))
    assert m.sqnr_db == math.inf and json.loads(json.dumps(m.to_dict(), allow_nan=False))["sqnr_db"] is None


def test_arrays_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(3,\)"):
        measure(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="at least one element"):
        measure(np.ones(0), np.ones(0))
