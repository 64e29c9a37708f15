"""The four dialects against recorded answers of the real runtimes, and their rules against exact arithmetic.

What needs the real interpreters is in test_conformance.py; nothing here does.
"""

from __future__ import annotations

import warnings
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from golden_cases import golden_case, golden_names
from hypothesis import example, given
from hypothesis import strategies as st

import tinyquant.engines  # noqa: F401  registers the dialects
from tinyquant.engines import dialect_arithmetic as rules
from tinyquant.engines.dialects import DIALECT_RULES
from tinyquant.graph import OPS, Graph, Node, Value
from tinyquant.integer import InexactDialectWarning, IntegerModel, build_step
from tinyquant.interop import load_tflite
from tinyquant.numerics.affine import dequantize, quantize
from tinyquant.numerics.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from tinyquant.numerics.qparams import QParams

INT8 = np.dtype(np.int8)
OTHERS = tuple(DIALECT_RULES)
MODELS = ("hello_world_int8", "micro_speech_quantized", "ad01_int8", "pretrainedResnet_quant", "person_detect")

UNDEFINED = {"QUANTIZE_005_random"}
"""Infinities, whose cast to int is undefined in C++; we refuse them."""
WRAPPING = {("MUL_007_random", "litert_opt")}
"""Could overflow 16 bits, so a warning is due; with these inputs it does not."""
RECORDED = [(name, d) for name in golden_names() if name not in UNDEFINED for d in OTHERS if d in golden_case(name).answers]


def value(name: str, shape: tuple[int, ...], scale: float = 1.0, zero_point: int = 0) -> Value:
    """An int8 value."""
    return Value(name, shape, INT8, QParams(scale, zero_point))


def one_node(
    op: str, inputs: tuple[Value, ...], shape: tuple[int, ...], scale: float, zero_point: int = 0, **fields: object
) -> IntegerModel:
    """A model of one node "y"."""
    qparams = QParams(scale, zero_point)
    node = Node("y", op, tuple(v.name for v in inputs), shape, qparams=qparams, dtype=INT8, **fields)  # type: ignore[arg-type]
    return IntegerModel(Graph(inputs, (node,), ("y",)))


def dense(sums: list[int], real: float, *, output_zero_point: int = 0, activation: str = "none") -> IntegerModel:
    """One FULLY_CONNECTED whose accumulators are `sums` (its biases) for an input of 0, times `real`."""
    bias = np.array(sums, np.int32)
    return one_node(
        "FULLY_CONNECTED",
        (value("x", (1, 1)),),
        (1, len(sums)),
        1 / real,
        output_zero_point,
        attrs={"activation": activation},
        params={"weight": np.zeros((len(sums), 1), np.int8), "bias": bias},
        param_qparams={"weight": QParams(1.0, 0)},
    )


ZERO = np.zeros((1, 1), np.int8)


# ---------------------------------------------------------------------------------------------------------------
# Recorded answers


@pytest.mark.parametrize("name, dialect", RECORDED)
def test_every_golden_case_has_the_bytes_of_the_real_runtime(name: str, dialect: str) -> None:
    case = golden_case(name)
    model = IntegerModel(case.graph)
    with warnings.catch_warnings():
        if (name, dialect) in WRAPPING:
            warnings.simplefilter("ignore", InexactDialectWarning)
        got = model.run(case.inputs, dialect=dialect)
    expected = case.answers[dialect]
    assert isinstance(got, np.ndarray) and got.dtype == expected.dtype and got.shape == expected.shape
    differing = np.count_nonzero(got.ravel().view(np.uint8) != expected.ravel().view(np.uint8))
    assert differing == 0, f"{differing} bytes differ"


def test_the_recorded_runtimes_disagree_where_dialects_are_told_apart() -> None:
    """Were the recorded answers all alike, the test above would prove nothing about a dialect."""
    disagreeing = {dialect: set[str]() for dialect in OTHERS}
    for name in golden_names():
        case = golden_case(name)
        for dialect in OTHERS:
            if {dialect, "tflm"} <= case.answers.keys() and not np.array_equal(case.answers[dialect], case.answers["tflm"]):
                disagreeing[dialect].add(case.graph.nodes[0].op)
    expected = {
        "litert_ref": "FULLY_CONNECTED MUL RELU RELU6 LEAKY_RELU LOGISTIC TANH SUM",
        "litert_opt": "CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED MEAN SOFTMAX QUANTIZE DEQUANTIZE",
        "xnnpack": "CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV FULLY_CONNECTED ADD SUB MUL MEAN LEAKY_RELU QUANTIZE",
    }
    for dialect, operators in expected.items():
        assert disagreeing[dialect] >= set(operators.split())


@pytest.mark.parametrize("dialect", OTHERS)
@pytest.mark.parametrize("name", MODELS)
def test_a_real_model_ends_in_the_recorded_bytes(name: str, dialect: str, models_dir: Path) -> None:
    """strict=True: not one of their operators is inexact."""
    model = load_tflite(models_dir / f"{name}.tflite")
    with np.load(models_dir / f"{name}.golden.npz", allow_pickle=False) as recorded:
        expected = recorded[f"output_litert_{dialect.removeprefix('litert_')}"]
        x = recorded["x"].reshape(-1, *model.inputs[0].shape[1:])
        got = model.run(x, dialect=dialect, strict=True)
        assert np.asarray(got).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_of_a_real_model_has_the_recorded_bytes_of_litert_ref(name: str, models_dir: Path) -> None:
    model = load_tflite(models_dir / f"{name}.tflite")
    nodes = [node.name for node in model.graph if node.op != "CONSTANT"]
    with np.load(models_dir / f"{name}.golden.npz", allow_pickle=False) as recorded:
        for x, sums in zip(recorded["x"], recorded["crc32_litert_ref"], strict=True):
            trace = model.trace(x, dialect="litert_ref")
            wrong = [node for node, crc in zip(nodes, sums, strict=True) if zlib.crc32(trace[node].tobytes()) != crc]
            assert wrong == []


# ---------------------------------------------------------------------------------------------------------------
# Where dialects part, and where they meet


def test_a_tie_goes_four_ways() -> None:
    """The table in the header of engines/dialects.py: a sum times 1/4."""
    model = dense([-6, -10, 10], 0.25)
    found = {dialect: np.asarray(model.run(ZERO, dialect=dialect)).ravel().tolist() for dialect in ("tflm", *OTHERS)}
    assert found == {"tflm": [-2, -3, 3], "litert_ref": [-2, -3, 3], "litert_opt": [-1, -2, 3], "xnnpack": [-2, -2, 2]}


def test_rounding_twice_makes_a_tie_of_what_was_none() -> None:
    """7984 * 1583594044 * 2**-40 is just below 11.5: once rounded it is 11, twice rounded 12. The smallest example we know."""
    real = 1583594044 * 2.0**-40
    assert quantize_multiplier(real) == (1583594044, -9)
    assert Fraction(11499, 1000) < 7984 * Fraction(real) < Fraction(23, 2)
    assert multiply_by_quantized_multiplier([7984], 1583594044, -9).tolist() == [12]
    assert rules.ties_up(np.array([7984]), 1583594044, -9).tolist() == [12]
    assert rules.float64_half_away(np.array([7984]), real).tolist() == [11]
    assert rules.float32_half_even(np.array([7984]), np.float32(real)).tolist() == [11]


@given(
    sums=st.lists(st.integers(-40000, 40000), min_size=1, max_size=20),
    power=st.integers(2, 12),
    activation=st.sampled_from(["relu", "relu6"]),
)
@example(sums=[-6, -2, 2, 6], power=2, activation="relu")
def test_after_a_fused_relu_with_zero_point_minus_128_tflm_and_litert_opt_agree(
    sums: list[int], power: int, activation: str
) -> None:
    """They part on negative ties only, and those are clamped away: the zero point is the lowest code."""
    model = dense(sums, 2.0**-power, output_zero_point=-128, activation=activation)
    assert np.array_equal(model.run(ZERO), model.run(ZERO, dialect="litert_opt"))


def test_without_the_relu_they_part() -> None:
    """What the test above would not notice if its models had no ties."""
    model = dense([-6, -2, 2, 6], 0.25, output_zero_point=-128)
    shifted = dense([-6, -2, 2, 6], 0.25, output_zero_point=-100)
    assert np.array_equal(model.run(ZERO), model.run(ZERO, dialect="litert_opt"))
    assert not np.array_equal(shifted.run(ZERO), shifted.run(ZERO, dialect="litert_opt"))


@pytest.mark.parametrize("op", ["RESHAPE", "TRANSPOSE", "PAD", "PADV2", "CONCATENATION", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize("dialect", OTHERS)
def test_what_only_copies_or_averages_codes_is_the_same_everywhere(op: str, dialect: str) -> None:
    assert not any(op in table for table in DIALECT_RULES[dialect])
    case = golden_case(next(name for name in golden_names() if name.startswith(f"{op}_0")))
    node = case.graph.nodes[0]
    inputs = [case.graph.value(name) for name in node.inputs]
    assert np.array_equal(build_step(node, inputs, dialect)(case.inputs), build_step(node, inputs)(case.inputs))


def test_every_rule_is_about_an_operator_of_the_table() -> None:
    for tables in DIALECT_RULES.values():
        for table in tables:
            assert set(table) <= {op for op, row in OPS.items() if row.integer}


# ---------------------------------------------------------------------------------------------------------------
# Many rows at once


@pytest.mark.parametrize("dialect", OTHERS)
@pytest.mark.parametrize("op", ["QUANTIZE", "REQUANTIZE", "DEQUANTIZE", "DEPTHWISE_CONV_2D", "MEAN", "SOFTMAX"])
def test_k_batches_are_k_runs_joined(op: str, dialect: str) -> None:
    """A rule that looks at the position in a loop's remainder counts within one declared batch, not within all rows."""
    rng = np.random.default_rng(0)
    shape = (1, 2, 3, 3)  # 18 cells: two past two vectors of 8 or one of 16
    # A real of 1/4 for ties; a scale that is no power of two where DEQUANTIZE is to show what it adds first.
    codes = rng.integers(-128, 128, (5, 2, 3, 3)).astype(np.int8)
    qparams = QParams(np.float32(0.1) if op == "DEQUANTIZE" else 1 / 64, 3)
    fields: dict[str, object] = {"attrs": {}}
    if op == "DEPTHWISE_CONV_2D":
        fields |= {"params": {"weight": np.ones((1, 1, 1, 3), np.int8)}, "param_qparams": {"weight": QParams(1.0, 0)}}
    elif op == "MEAN":
        fields = {"attrs": {"axis": (1, 2), "keep_dims": True}}
    dtype = np.dtype(np.float32) if op == "QUANTIZE" else INT8
    x: np.ndarray = dequantize(codes, QParams(1 / 128, 0)) if op == "QUANTIZE" else codes
    source = Value("x", shape, dtype, None if op == "QUANTIZE" else qparams)
    output = {"SOFTMAX": QParams(1 / 256, -128), "DEQUANTIZE": None}.get(op, QParams(1 / 16, 3))
    out_shape = (1, 1, 1, 3) if op == "MEAN" else shape
    out_dtype = np.dtype(np.float32) if op == "DEQUANTIZE" else INT8
    kind = "QUANTIZE" if op == "REQUANTIZE" else op
    node = Node("y", kind, ("x",), out_shape, qparams=output, dtype=out_dtype, **fields)  # type: ignore[arg-type]
    model = IntegerModel(Graph((source,), (node,), ("y",)))
    together = np.asarray(model.run(x, dialect=dialect))
    apart = np.concatenate([np.asarray(model.run(x[i : i + 1], dialect=dialect)) for i in range(5)])
    assert together.tobytes() == apart.tobytes() == np.asarray(model.run(x, dialect=dialect, engine="blas")).tobytes()
    assert np.asarray(model.run(x[:0], dialect=dialect)).shape == (0, *out_shape[1:])


# ---------------------------------------------------------------------------------------------------------------
# What is not reproduced, and what is refused


def test_sums_beyond_16_bits_are_warned_about_and_refused_when_strict() -> None:
    """In LiteRT's fast ADD and MUL they wrap; XNNPACK takes ratios below 256 itself, and litert_ref does not wrap."""
    steep = one_node("ADD", (value("a", (1, 4), 200.0), value("b", (1, 4), 200.0)), (1, 4), 1.0)
    codes = [np.ones((1, 4), np.int8)] * 2
    with pytest.warns(InexactDialectWarning, match=r"'litert_opt' is not reproduced byte for byte in ADD"):
        steep.run(codes, dialect="litert_opt")
    with pytest.raises(ValueError, match=r"in ADD, and strict=True wants it to be"):
        steep.run(codes, dialect="litert_opt", strict=True)
    for dialect in ("litert_ref", "xnnpack"):
        steep.run(codes, dialect=dialect, strict=True)
    steeper = one_node("MUL", (value("a", (1, 4), 20.0), value("b", (1, 4), 20.0)), (1, 4), 1.0)
    for dialect in ("litert_opt", "xnnpack"):
        with pytest.raises(ValueError, match=r"in MUL, and strict=True"):
            steeper.run(codes, dialect=dialect, strict=True)


@pytest.mark.parametrize("dialect", OTHERS)
def test_an_ordinary_addition_is_exact_everywhere(dialect: str) -> None:
    model = one_node("ADD", (value("a", (1, 4)), value("b", (1, 4))), (1, 4), 2.0)
    codes = [np.int8([[1, -1, 3, -3]]), np.int8([[0, 0, 0, 0]])]
    halves = {"litert_ref": [1, -1, 2, -2], "litert_opt": [1, -1, 2, -2], "xnnpack": [1, 0, 2, -1]}
    assert np.asarray(model.run(codes, dialect=dialect, strict=True)).tolist() == [halves[dialect]]


def test_a_multiplier_that_xnnpack_refuses_is_refused_here() -> None:
    with pytest.raises(ValueError, match=r"must be below 256 for XNNPACK, got 256 at node 'y' \(FULLY_CONNECTED\)"):
        dense([1], 256.0).run(ZERO, dialect="xnnpack")
    dense([1], 255.0).run(ZERO, dialect="xnnpack")


def test_reals_that_are_not_finite_are_refused_in_every_dialect() -> None:
    source = Value("x", (1, 2), np.dtype(np.float32))
    node = Node("y", "QUANTIZE", ("x",), (1, 2), qparams=QParams(1.0, 0), dtype=INT8)
    model = IntegerModel(Graph((source,), (node,), ("y",)))
    for dialect in ("tflm", *OTHERS):
        with pytest.raises(ValueError, match="must be finite, got NaN"):
            model.run(np.float32([[1, np.nan]]), dialect=dialect)


# ---------------------------------------------------------------------------------------------------------------
# The rules alone, against exact arithmetic


def half_up(x: Fraction) -> int:
    """Nearest, ties towards plus infinity."""
    return (2 * x + 1).numerator // (2 * (2 * x + 1).denominator)


def half_away(x: Fraction) -> int:
    """Nearest, ties away from zero."""
    return half_up(x) if x >= 0 else -half_up(-x)


INT32 = st.integers(-(2**31), 2**31 - 1)
MULTIPLIER = st.integers(2**30, 2**31 - 1)


@given(acc=INT32, multiplier=MULTIPLIER, shift=st.integers(-31, 0))
@example(acc=-6, multiplier=2**30, shift=-1)
@example(acc=2**31 - 1, multiplier=2**31 - 1, shift=0)
def test_ties_up_rounds_up_twice(acc: int, multiplier: int, shift: int) -> None:
    """half_up(half_up(acc * M / 2**31) * 2**shift), in rationals."""
    expected = half_up(Fraction(half_up(Fraction(acc * multiplier, 2**31)), 2**-shift))
    assert rules.ties_up(np.array([acc]), multiplier, shift).tolist() == [expected]


@given(acc=st.integers(0, 2**31 - 1), multiplier=MULTIPLIER, shift=st.integers(-31, 0))
def test_for_positive_sums_ties_up_is_tflite_micros_rule(acc: int, multiplier: int, shift: int) -> None:
    assert rules.ties_up(np.array([acc]), multiplier, shift) == multiply_by_quantized_multiplier([acc], multiplier, shift)


@given(acc=st.integers(-(2**24), 2**24 - 1), multiplier=MULTIPLIER, shift=st.integers(1, 7))
@example(acc=2**24 - 1, multiplier=2**31 - 1, shift=7)
@example(acc=-(2**24), multiplier=2**31 - 1, shift=7)
def test_ties_up_shifts_left_first(acc: int, multiplier: int, shift: int) -> None:
    expected = half_up(Fraction(acc * 2**shift * multiplier, 2**31))
    assert rules.ties_up(np.array([acc]), multiplier, shift).tolist() == [expected]


@given(acc=INT32, power=st.integers(-20, 8), odd=st.integers(1, 2**20))
@example(acc=-5, power=-1, odd=1)
def test_float64_half_away_is_exact_where_the_product_is(acc: int, power: int, odd: int) -> None:
    """31 + 21 bits fit a double: there is no rounding but the last."""
    real = float(odd) * 2.0**power
    assert rules.float64_half_away(np.array([acc]), real).tolist() == [half_away(acc * Fraction(real))]


@given(acc=st.integers(-(2**24), 2**24), power=st.integers(-24, 3))
@example(acc=-5, power=-1)
def test_float32_half_even_is_exact_where_the_product_is(acc: int, power: int) -> None:
    """Up to 2**24 a sum is a float32, and a power of two keeps it one. Python's round is half even on a Fraction."""
    assert rules.float32_half_even(np.array([acc]), 2.0**power).tolist() == [round(acc * Fraction(2) ** power)]


def test_float32_half_even_loses_bits_above_2_to_the_24() -> None:
    """2**24 + 1 is not a float32: it becomes 2**24 before it is multiplied."""
    assert rules.float32_half_even(np.array([2**24 + 1]), 1.0).tolist() == [2**24]


@given(acc=st.integers(-255, 255), factor=st.integers(-(2**15), 2**15))
def test_of_256ths_rounds_up_once(acc: int, factor: int) -> None:
    assert rules.of_256ths(np.array([acc]), factor).tolist() == [half_up(Fraction(acc * factor, 256))]


@given(lanes=st.sampled_from([4, 8, 16]), period=st.integers(1, 40), rows=st.integers(0, 3))
def test_in_lanes_follows_each_rule_in_its_places(lanes: int, period: int, rows: int) -> None:
    """A sum of -2 times 1/4 is a negative tie: 0 in full vectors, -1 in the remainder."""
    got = rules.in_lanes(lanes, period)(np.full((rows, period), -2), 2**30, -1)
    row = [0] * (period // lanes * lanes) + [-1] * (period % lanes)
    assert got.tolist() == [row] * rows


@given(codes=st.lists(st.integers(-128, 127), min_size=1, max_size=30), zero=st.integers(-128, 127), out=st.integers(-128, 127))
def test_the_faulty_sum_reads_and_writes_bytes(codes: list[int], zero: int, out: int) -> None:
    """In Python ints: codes modulo 256 are added, clipped to 0..255, and read back as int8. The real is 1/2."""
    got = rules.unsigned_sum(
        np.array(codes, np.int8), axis=(0,), keep_dims=False, count=len(codes), input_zero_point=zero, output_zero_point=out,
        multiplier=2**30, shift=0,
    )  # fmt: skip
    total = sum(code % 256 for code in codes) - len(codes) * zero
    byte = min(max(half_up(Fraction(total, 2)) + out, 0), 255)
    assert int(got) == (byte - 256 if byte > 127 else byte)


@given(zero=st.integers(-128, 127), power=st.integers(-6, 2))
def test_dequantize_by_parts_is_exact_for_powers_of_two(zero: int, power: int) -> None:
    """Then both products are exact, and the two forms are one."""
    qparams, codes = QParams(2.0**power, zero), np.arange(-128, 128).astype(np.int8)
    got = rules.dequantize_in_lanes(codes, qparams=qparams, lanes=8, period=256)
    assert np.array_equal(got, dequantize(codes, qparams)) and got.dtype == np.float32


@given(zero=st.integers(-128, 127), scale=st.floats(2.0**-20, 2.0**20, width=32))
def test_dequantize_by_parts_keeps_real_zero_and_errs_by_less_than_a_code_is_worth(zero: int, scale: float) -> None:
    """Each of three roundings errs by at most 2**-24 of numbers below 512 scales: 3 * 2**-15 scales in all."""
    qparams, codes = QParams(np.float32(scale), zero), np.arange(-128, 128).astype(np.int8)
    got = rules.dequantize_in_lanes(codes, qparams=qparams, lanes=8, period=256)
    assert got[zero + 128] == 0
    assert np.all(np.abs(got - np.float64(np.float32(scale)) * (codes.astype(int) - zero)) <= 3 * 2.0**-15 * scale)


def test_dequantize_by_parts_is_not_dequantize() -> None:
    codes, qparams = np.arange(-128, 128).astype(np.int8), QParams(np.float32(0.1), 77)
    got = rules.dequantize_in_lanes(codes, qparams=qparams, lanes=8, period=256)
    assert not np.array_equal(got, dequantize(codes, qparams))


@given(codes=st.lists(st.integers(-512, 511), min_size=1, max_size=30), zero=st.integers(-128, 127))
def test_quantize_by_inverse_differs_from_the_door_only_at_ties(codes: list[int], zero: int) -> None:
    """Scale 1/4, x in eighths: every other x is a tie. Exact products, so only the rule for ties can differ."""
    qparams, x = QParams(0.25, zero), np.array(codes, np.float32) / 8
    even = [min(max(round(Fraction(code, 2)) + zero, -128), 127) for code in codes]
    assert rules.quantize_by_inverse(x, qparams=qparams, lanes=1, period=1).tolist() == even
    assert rules.quantize_by_inverse(x, qparams=qparams, lanes=64, period=63).tolist() == quantize(x, qparams).tolist()


@given(row=st.lists(st.integers(-128, 127), min_size=1, max_size=300), scale=st.sampled_from([0.01, 0.1, 0.5, 2.0]))
def test_the_softmax_from_a_table_is_within_one_code_of_the_exact_one(row: list[int], scale: float) -> None:
    """Before the last rounding it errs by a few steps of 2**-24 for the table and 300 for the sum: below 2**-15 of 256 codes."""
    x = np.array([row], np.int8)
    exact = np.exp((x.astype(np.float64) - x.max()) * float(np.float32(scale)))
    steps = exact / exact.sum() * 256
    got = rules.exponential_softmax(x, scale=np.float32(scale)).astype(np.int64) + 128
    assert np.all(np.abs(got - np.minimum(steps, 255)) <= 0.5 + 2**-7)


def test_tables_depend_on_the_parity_of_the_zero_point_where_it_is_added_first() -> None:
    """2.5 + 1 = 3.5 goes to 4, 2.5 + 0 to 2: with ties to even, adding first is not adding after."""
    for zero, expected in ((0, 2), (1, 4)):
        table = rules.function_table(np.abs, QParams(0.5, 0), QParams(1.0, zero), zero_first=True)
        assert table[128 + 5] == expected
    table = rules.function_table(np.abs, QParams(0.5, 0), QParams(1.0, 1), zero_first=False)
    assert rules.look_up(np.int8([5, -5]), table=table).tolist() == [4, 4]
