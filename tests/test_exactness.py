"""The proofs by which a float stands for an integer, against Python ints: nothing proved may ever be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import clamp, divide_by_pot_exact, high_mul_exact

from tinyquant.engines.exactness import Requantization, float_type


@pytest.mark.parametrize("bits, kind", [(24, np.float32), (53, np.float64)])
def test_a_float_type_is_chosen_up_to_its_last_exact_sum(bits: int, kind: type) -> None:
    assert float_type(2**bits - 1) == kind != float_type(2**bits)
    # One more and neighbours fall together: the bound is not a whim.
    assert kind(2**bits) + kind(1) == kind(2**bits)
    assert kind(2**bits - 1) + kind(1) != kind(2**bits - 1)


def rescaled(acc: int, multiplier: int, shift: int) -> int:
    """The target's two roundings, in Python ints."""
    return divide_by_pot_exact(high_mul_exact(acc << max(shift, 0), multiplier), max(-shift, 0))


multipliers = st.one_of(st.just(2**30), st.just(2**31 - 1), st.integers(2**30, 2**31 - 1), st.integers(2**30, 2**30 + 5))


@st.composite
def channels(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], list[int]]:
    """Multipliers, shifts, biases and bounds of one to three channels."""
    count = draw(st.integers(1, 3))
    lists = [st.integers(-25, 2), st.integers(-(2**24), 2**24), st.sampled_from([5, 300, 2**17, 2**23, 2**30])]
    shifts, biases, bounds = ([draw(kind) for _ in range(count)] for kind in lists)
    return [draw(multipliers) for _ in range(count)], shifts, biases, bounds


@settings(max_examples=300)
@given(channels(), st.tuples(st.integers(-255, 255), st.integers(-255, 255)), st.booleans(), st.integers(0, 2**32 - 1))
@example(([2**30], [-1], [0], [300]), (-128, 127), False, 0)
@example(([2**31 - 1], [-13], [0], [2**23]), (-255, 255), False, 0)
@example(([2**30], [-8], [2**24], [2**23]), (0, 255), True, 0)
def test_what_is_proved_equals_the_integers(
    drawn: tuple[list[int], list[int], list[int], list[int]], ends: tuple[int, int], biased: bool, seed: int
) -> None:
    """For accumulators at the ends, around zero, at random, and right at the jumps from one code to the next."""
    multiplier, shift, bias, bound = drawn
    low, high = min(ends), max(ends)
    bias = bias if biased else [0] * len(bound)
    form = Requantization.proved(
        np.array(bound), np.int32(bias) if biased else None, np.array(multiplier), np.array(shift), low, high
    )
    if form is None:
        return
    rng = np.random.default_rng(seed)
    rows = []
    for m, e, b, reach in zip(multiplier, shift, bias, bound):
        # Near (code +- 1/2) / real - bias: where rounding decides.
        jumps = (np.arange(low, high + 1)[:, None] + [-0.5, 0.5]) / (m * 2.0 ** (e - 31)) - b
        near = np.concatenate([np.floor(jumps).ravel() + k for k in (-1, 0, 1, 2)])
        near = rng.choice(near, 60)
        anywhere = rng.integers(-reach, reach, 60, endpoint=True)
        rows.append(np.concatenate([near, anywhere, [-reach, reach, 0, 1, -1, -b]]).clip(-reach, reach))
    acc = np.array(rows).T
    got = form(acc.copy())
    for column, (m, e, b) in enumerate(zip(multiplier, shift, bias)):
        expected = [clamp(rescaled(int(a) + b, m, e), low, high) for a in acc[:, column]]
        assert got[:, column].tolist() == expected


def test_every_accumulator_of_a_small_layer() -> None:
    """Exhaustively, all accumulators in [-1200, 1200], multipliers that make ties and that do not, both kinds of clamp."""
    acc = np.arange(-1200, 1201)
    for m in (2**30, 2**30 + 1, 1583594044, 2**31 - 1):
        for e in (0, -1, -2, -5, -9):
            for low, high in ((-128, 127), (0, 255), (-1, 200)):
                form = Requantization.proved(np.array([1200]), None, np.array([m]), np.array([e]), low, high)
                assert form is not None and form.one_sided == (low >= 0)
                expected = [clamp(rescaled(int(a), m, e), low, high) for a in acc]
                assert form(acc[:, None].astype(np.float32))[:, 0].tolist() == expected


def test_what_has_no_proof_is_declined() -> None:
    """A small multiplier (MEAN's), a left shift that could wrap, more bits than a double has."""

    def proved(bound: int, multiplier: int, shift: int) -> Requantization | None:
        return Requantization.proved(np.array([bound]), None, np.array([multiplier]), np.array([shift]), -128, 127)

    assert proved(100, 2**29, 0) is None
    assert proved(2**28, 2**30, 3) is None and proved(2**28 - 1, 2**30, 3) is not None
    # Results up to 130 in units of 2**-(31 + n): 130 * 2**45 is below 2**53, 130 * 2**46 is not.
    assert proved(2**30, 2**31 - 1, -15) is None and proved(2**30, 2**31 - 1, -14) is not None
    # A sum that stays small needs no clamp to be exact.
    assert proved(2**21, 2**30, -20) is not None
    assert proved(100, 0, 0) is not None


def test_ordinary_layers_are_proved_and_take_the_bias_along() -> None:
    """A 3x3x64 convolution of codes, the multipliers of trained networks: no channel is left to the slow way."""
    bound, bias = np.full(9, 9 * 64 * 60 * 255), np.full(9, 40_000, np.int32)
    form = Requantization.proved(bound, bias, np.full(9, 1583594044), np.arange(-13, -4), -128, 127)
    assert form is not None
    small = Requantization.proved(np.full(9, 2**21), bias, np.full(9, 1583594044), np.arange(-13, -4), -128, 127)
    assert small is not None and small.bias is None
    assert form.bias is not None and form.bias.tolist() == bias.tolist()
