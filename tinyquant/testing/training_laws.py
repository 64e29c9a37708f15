"""The laws of training with quantization: fake-quant, the straight-through estimator, gradients, and two forms of one graph.

With these one can hold a fake_quantize to the codes it stands in for, a backward to the slope of its forward, and a network that
was trained fake-quantized to the integers it will run as.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import cast

import numpy as np

from tinyquant.testing import exact
from tinyquant.testing.cases import GradientCase, GraphCase, MapCase, call, given, reals, run
from tinyquant.testing.exact import HALF
from tinyquant.testing.law import (
    Broken,
    Functions,
    Unusable,
    changed_inputs,
    differs_in_rows,
    differs_on_rows,
    law,
    numbers,
    show,
)
from tinyquant.testing.map_laws import decoding_slack, float_slack, nearest_code_error

__all__: list[str] = []


@law("fake_quantize", MapCase, "fake-quant is dequantize(quantize(x)): the number a code stands for, in floats")
def fake_quant_equals_round_trip(case: MapCase, functions: Functions) -> Broken | None:
    """Equal to the round trip of the quantize given; without one, to that of some nearest code."""
    result = call(functions["fake_quantize"], given(case))
    values = numbers(result, len(case.x), "real numbers")
    if np.asarray(result).dtype.kind != "f":
        return Broken(f"an array of {np.asarray(result).dtype}", "an array of floats: fake-quant codes never leave it")
    scale = Fraction(case.scale)
    codes: list[Fraction | None] = [None] * len(values)
    if "quantize" in functions:
        codes = list(numbers(call(functions["quantize"], given(case)), len(case.x)))
    for x, real, value, code in zip(case.x, reals(case).tolist(), values, codes):
        steps = Fraction(real) / scale
        right = exact.quantize(real, case.scale, case.zero_point, case.qmin, case.qmax) if code is None else code
        nearest = exact.clamp(exact.round_to_int(value / scale, "half_even") + case.zero_point, case.qmin, case.qmax)
        # On a tie, or a float error from one, both neighbours are nearest.
        if code is None and nearest_code_error(case, steps, Fraction(nearest)) <= HALF + float_slack(
            steps, case.zero_point
        ):
            if case.qmin <= steps + case.zero_point <= case.qmax:
                right = nearest
        back = exact.dequantize(int(right), case.scale, case.zero_point)
        if abs(value - back) > decoding_slack(right, case):
            stands = f"{show(back, value)}, what code {show(right)} stands for"
            return Broken(f"{show(value, back)} for {show(x)}", stands, "a float32 rounding")
    return None


@law("fake_quantize", MapCase, "x itself stays as it was")
def fake_quant_leaves_x_alone(case: MapCase, functions: Functions) -> Broken | None:
    """The caller's array is not rounded or clipped in place."""
    return changed_inputs(functions["fake_quantize"], given(case))


@law("fake_quantize", MapCase, "the shape of x does not matter: what comes back has the same one", rows=("x",))
def fake_quant_of_any_shape(case: MapCase, functions: Functions) -> Broken | None:
    """Rows of numbers come back as the numbers do."""
    return differs_on_rows(functions["fake_quantize"], case, "x", "real numbers")


def _arriving(case: MapCase) -> np.ndarray:
    """A gradient for each x, none 0, of either sign."""
    return np.array([(0.5 + number % 7) * (-1) ** number for number in range(len(case.x))], case.dtype)


@law("ste_gradient", MapCase, "the gradient passes where the rounded code lies in qmin..qmax, ends included; else it is 0")
def ste_mask(case: MapCase, functions: Functions) -> Broken | None:
    """upstream inside, 0 outside; an x within a float error of half a step beyond an end may go either way."""
    upstream = _arriving(case)
    got = numbers(call(functions["ste_gradient"], {"upstream": upstream, **given(case)}), len(case.x), "gradients")
    for x, real, value, arriving in zip(case.x, reals(case).tolist(), got, upstream.tolist()):
        steps = Fraction(real) / Fraction(case.scale)
        code = steps + case.zero_point
        slack = float_slack(steps, case.zero_point)
        if min(abs(code - (case.qmin - HALF)), abs(code - (case.qmax + HALF))) <= slack:
            continue
        inside = case.qmin - HALF < code < case.qmax + HALF
        right = Fraction(arriving) if inside else Fraction(0)
        if value != right:
            where = "there" if inside else "clipped"
            return Broken(f"gradient {show(value)} at x = {show(x)}",
                          f"{show(right)}: {show(arriving)} arrives, {show(code)} rounds to a code that is {where}")  # fmt: skip
    return None


@law("ste_gradient", MapCase, "x and the gradient that arrives stay as they were")
def ste_leaves_its_inputs_alone(case: MapCase, functions: Functions) -> Broken | None:
    """The caller's arrays are not masked in place."""
    return changed_inputs(functions["ste_gradient"], {"upstream": _arriving(case), **given(case)})


@law("ste_gradient", MapCase, "the shape of x does not matter: a gradient for each number, in x's shape", rows=("x",))
def ste_of_any_shape(case: MapCase, functions: Functions) -> Broken | None:
    """Rows of numbers get the gradients of the numbers; the gradient that arrives comes in rows too."""
    flat, shaped = given(case), given(case, rows=("x",))
    rows = cast(np.ndarray, shaped["x"])
    arriving = _arriving(case)
    got = call(functions["ste_gradient"], {"upstream": arriving.reshape(rows.shape), **shaped})
    return differs_in_rows(call(functions["ste_gradient"], {"upstream": arriving, **flat}), got, rows, "gradients")


_STEP = 1e-5
"""The quotient errs by about step**2 from the curve's bend and 1e-16 / step from rounding: both near 1e-10."""

_TOLERANCE = 1e-6


@law("backward", GradientCase, "the gradient is the slope of the forward: what a small step in x really does")
def gradient_matches_differences(case: GradientCase, functions: Functions) -> Broken | None:
    """backward(upstream, x) against central differences of sum(upstream * forward(x)), in float64; needs forward=."""
    if "forward" not in functions:
        raise Unusable("no forward", "the function whose slope it is: pass forward=")
    x = np.array(case.x, np.float64)

    def forward(point: np.ndarray) -> np.ndarray:
        return np.asarray(call(functions["forward"], {"x": point}), np.float64)

    out = forward(x.copy())
    upstream = np.resize(np.array(case.upstream, np.float64), out.shape)
    got = numbers(call(functions["backward"], {"upstream": upstream.copy(), "x": x.copy()}), x.size, "gradients")
    for number, analytic in enumerate(got):
        ahead, behind = x.copy(), x.copy()
        step = _STEP * max(1.0, abs(x[number]))
        ahead[number] += step
        behind[number] -= step
        slope = float((upstream * (forward(ahead) - forward(behind))).sum() / (2 * step))
        if abs(slope - float(analytic)) > _TOLERANCE * max(abs(slope), abs(float(analytic)), 1.0):
            return Broken(f"gradient {show(analytic)} for x[{number}]", f"{show(slope)}, the measured slope", "1e-6 of it")
    return None


@law("backward", GradientCase, "x and the gradient that arrives stay as they were")
def backward_leaves_its_inputs_alone(case: GradientCase, functions: Functions) -> Broken | None:
    """The caller's arrays are not multiplied in place. Of the shape of x, or of what forward= gives, are the gradients."""
    values = given(case)
    if "forward" in functions:
        shape = np.asarray(call(functions["forward"], {"x": np.array(case.x)})).shape
        values["upstream"] = np.resize(np.array(case.upstream), shape)
    return changed_inputs(functions["backward"], values)


def _by_node(result: object) -> dict[str, np.ndarray]:
    """The answers of a graph by the names of its nodes; an array alone is its output."""
    if isinstance(result, Mapping):
        return {str(name): np.asarray(value) for name, value in result.items()}
    return {"output": np.asarray(result)}


@law("integer", GraphCase, "the fake-quantized graph and the integer graph give the same code at every node")
def qat_graph_equals_integer_graph(case: GraphCase, functions: Functions) -> Broken | None:
    """integer(x) equals qat(x), arrays of codes or dicts of them by node name, code for code; needs qat=."""
    if "qat" not in functions:
        raise Unusable("no fake-quantized graph", "the other form of the network: pass qat=")
    x = np.array(case.x, np.float32)
    trained, shipped = (_by_node(run(functions[name], x.copy())) for name in ("qat", "integer"))
    if list(trained) != list(shipped):
        return Broken(f"nodes {', '.join(shipped)}", f"nodes {', '.join(trained)}")
    for name, right in trained.items():
        yours = shipped[name]
        if yours.shape != right.shape:
            return Broken(f"{name}: shape {yours.shape}", f"shape {right.shape}")
        where = np.argwhere(yours != right)
        if len(where):
            index = tuple(int(i) for i in where[0])
            return Broken(
                f"{name}{list(index)} is code {show(float(yours[index]))}",
                f"code {show(float(right[index]))}, as in training; the first node to differ",
            )
    return None


@law("integer", GraphCase, "the batch itself stays as it was")
def integer_leaves_the_batch_alone(case: GraphCase, functions: Functions) -> Broken | None:
    """The caller's images are not scaled or clipped in place."""
    x = np.array(case.x, np.float32)
    before = x.copy()
    run(functions["integer"], x)
    return None if np.array_equal(x, before) else Broken("the batch was changed", "it stays as it was: work on a copy")
