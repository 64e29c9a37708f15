"""The integer lane against the bytes of the real kernels: every golden case, through the public path, 0 bytes may differ.

The cases flagged `int32_overflow` are included: what C++ leaves undefined is what x86 does, and our int32 does the same.
One is not: QUANTIZE of infinities, whose cast to int is undefined and which we refuse.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from golden_cases import GOLDEN, golden_case, golden_names

from tinyquant.integer import IntegerModel
from tinyquant.integer.kernels import fixed_point_functions as q
from tinyquant.numerics.fixed_point import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)

REFUSED = "QUANTIZE_005_random"
"""Holds infinities: flagged int32_overflow in the collection."""


@pytest.mark.parametrize("name", [name for name in golden_names() if name != REFUSED])
def test_a_one_node_model_gives_the_bytes_of_the_real_kernel(name: str) -> None:
    case = golden_case(name)
    got = IntegerModel(case.graph).run(case.inputs)
    assert isinstance(got, np.ndarray) and got.dtype == case.expected.dtype and got.shape == case.expected.shape
    wrong = np.flatnonzero(got.ravel().view(np.uint8) != case.expected.ravel().view(np.uint8))
    assert wrong.size == 0, f"{name}: {wrong.size} bytes differ, first at {wrong[0]}"


def test_infinities_are_refused_where_the_real_kernel_is_undefined() -> None:
    case = golden_case(REFUSED)
    assert case.overflow
    with pytest.raises(ValueError, match="must be finite, got infinity"):
        IntegerModel(case.graph).run(case.inputs)


def test_the_collection_is_whole() -> None:
    """178 cases of 26 kinds, as its ORIGIN note says: a lost file must not make the tests pass."""
    names = golden_names()
    assert len(names) == 178
    assert len({path.stem for path in GOLDEN.glob("*.npz")} - {"scalar"}) == 26


@pytest.fixture(scope="module")
def scalar() -> dict[str, np.ndarray]:
    """The fixed-point functions of the C++ sources, compiled: arguments and results."""
    with np.load(GOLDEN / "scalar.npz", allow_pickle=False) as archive:
        return {key: archive[key].astype(np.int64) if archive[key].dtype.kind == "i" else archive[key] for key in archive.files}


def test_fixed_point_multiplication_is_the_compiled_one(scalar: dict[str, np.ndarray]) -> None:
    got = multiply_by_quantized_multiplier(scalar["mbqm_x"], scalar["mbqm_multiplier"], scalar["mbqm_shift"])
    assert np.array_equal(got, scalar["mbqm_result"])
    assert np.array_equal(rounding_divide_by_pot(scalar["rdivpot_x"], scalar["rdivpot_exponent"]), scalar["rdivpot_result"])
    assert np.array_equal(saturating_rounding_doubling_high_mul(scalar["srdhm_a"], scalar["srdhm_b"]), scalar["srdhm_result"])


def test_multipliers_are_the_compiled_ones(scalar: dict[str, np.ndarray]) -> None:
    multiplier, shift = quantize_multiplier(scalar["quantize_multiplier_real"])
    assert np.array_equal(multiplier, scalar["quantize_multiplier_m"])
    assert np.array_equal(shift, scalar["quantize_multiplier_shift"])


@pytest.mark.parametrize(
    "function, argument, result",
    [
        (lambda a: q.exp_on_negative_values(a, 5), "exp_q5_26", "exp_result_q0_31"),
        (q.logistic, "logistic_q4_27", "logistic_result_q0_31"),
        (q.tanh, "tanh_q4_27", "tanh_result_q0_31"),
        (q.reciprocal, "reciprocal_x_q0_31", "reciprocal_result_q0_31"),
    ],
    ids=["exp", "logistic", "tanh", "reciprocal"],
)
def test_a_fixed_point_function_is_the_compiled_one(
    function: Callable[[np.ndarray], np.ndarray], argument: str, result: str, scalar: dict[str, np.ndarray]
) -> None:
    assert np.array_equal(function(scalar[argument]), scalar[result])
