"""Convolutions against their definition in loops, exact on small integers, for every way of cutting them."""

from __future__ import annotations

import numpy as np
import pytest
from autograd_oracles import conv2d as slow_conv2d
from autograd_oracles import pads_of
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tinyquant import autograd as F
from tinyquant.autograd import Tensor, lowering

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
sides = st.tuples(st.integers(0, 3), st.integers(0, 3))
paddings = st.one_of(st.integers(0, 3), sides, st.tuples(sides, sides), st.sampled_from(["same", "valid"]))


@st.composite
def cases(draw):
    """Arrays of small integers and settings that fit together."""
    groups = draw(st.integers(1, 3))
    channels, outputs = groups * draw(st.integers(1, 6)), groups * draw(st.integers(1, 3))
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    kernel, stride, dilation = draw(st.tuples(st.integers(1, 4), st.integers(1, 4))), draw(pairs), draw(pairs)
    padding = draw(paddings)
    pads = pads_of(padding, size, kernel, stride, dilation)
    assume(all((kernel[i] - 1) * dilation[i] + 1 <= size[i] + sum(pads[i]) for i in (0, 1)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x = rng.integers(-9, 10, (draw(st.integers(1, 3)), *size, channels)).astype(float)
    w = rng.integers(-9, 10, (outputs, *kernel, channels // groups)).astype(float)
    b = rng.integers(-9, 10, outputs).astype(float) if draw(st.booleans()) else None
    return x, w, b, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def check_against_loops(fn, x, w, b, weight_of, **arguments):
    """y, dx, dw and db of fn equal those of the loops, which take an OHWI weight."""
    tensors = [Tensor(array, requires_grad=True) for array in (x, w, b) if array is not None]
    y = fn(*tensors)
    dy = np.random.default_rng(1).integers(-9, 10, y.shape).astype(float)
    y.backward(dy)
    expected, *grads = slow_conv2d(x, weight_of(w), b, dy, **arguments)
    np.testing.assert_array_equal(y.data, expected)
    np.testing.assert_array_equal(tensors[0].grad, grads[0])
    np.testing.assert_array_equal(weight_of(tensors[1].grad), grads[1])
    if b is not None:
        np.testing.assert_array_equal(tensors[2].grad, grads[2])


ONES = np.ones((1, 5, 5, 2))

FORMS = {
    "as chosen": {},
    "rows": {"_FEW_CHANNELS": 0, "_SMALL_IMAGE": 0},
    "rows, one image at a time": {"_FEW_CHANNELS": 0, "_SMALL_IMAGE": 0, "_BLOCK": 1},
    "columns": {"_FEW_CHANNELS": 0, "_SMALL_IMAGE": 10**9, "_BLOCK": 1},
    "taps": {"_FEW_CHANNELS": 10**9, "_BLOCK": 1},
}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=40)
@given(case=cases())
@example(case=(ONES, np.ones((1, 1, 1, 2)), None, {"stride": (3, 2), "padding": 2, "dilation": (1, 1), "groups": 1}))
@example(case=(ONES, np.ones((1, 1, 2, 2)), None, {"stride": (2, 2), "padding": 3, "dilation": (3, 3), "groups": 1}))
def test_conv2d_and_its_gradients_are_the_sums_of_their_definition(form, case):
    x, w, b, arguments = case
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FORMS[form].items():
            patch.setattr(lowering, name, value)
        check_against_loops(lambda *t: F.conv2d(*t, **arguments), x, w, b, lambda weight: weight, **arguments)


@settings(max_examples=40)
@given(cases(), st.integers(1, 2))
def test_conv2d_with_one_group_a_channel_is_its_definition_too(case, multiplier):
    x, w, _, arguments = case
    rng = np.random.default_rng(0)
    weight = rng.integers(-9, 10, (x.shape[3] * multiplier, *w.shape[1:3], 1)).astype(float)
    arguments = {**arguments, "groups": x.shape[3]}
    check_against_loops(lambda *t: F.conv2d(*t, **arguments), x, weight, np.arange(float(len(weight))),
                        lambda v: v, **arguments)  # fmt: skip


@settings(max_examples=60)
@given(cases(), st.integers(1, 2))
def test_depthwise_conv2d_is_conv2d_with_one_group_a_channel_and_channel_times_multiplier_outputs(case, multiplier):
    x, w, _, arguments = case
    channels = x.shape[3]
    rng = np.random.default_rng(0)
    weight = rng.integers(-9, 10, (1, *w.shape[1:3], channels * multiplier)).astype(float)
    bias = rng.integers(-9, 10, channels * multiplier).astype(float)
    arguments = {**arguments, "groups": channels}
    given_settings = {key: value for key, value in arguments.items() if key != "groups"}
    check_against_loops(lambda *t: F.depthwise_conv2d(*t, **given_settings), x, weight, bias,
                        lambda v: v.transpose(3, 1, 2, 0), **arguments)  # fmt: skip


def test_output_channel_of_depthwise_is_input_channel_times_multiplier_plus_filter():
    x = np.array([[[[1.0, 100.0]]]])
    weight = np.arange(1.0, 7.0).reshape(1, 1, 1, 6)
    assert F.depthwise_conv2d(x, weight).data.ravel().tolist() == [1.0, 2.0, 3.0, 400.0, 500.0, 600.0]


def test_the_kernel_is_not_turned():
    x = np.zeros((1, 3, 3, 1))
    x[0, 0, 1, 0] = 1.0
    weight = np.arange(9.0).reshape(1, 3, 3, 1)
    assert F.conv2d(x, weight).item() == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images_that_are_views_give_the_same(dtype):
    rng = np.random.default_rng(0)
    nchw = rng.integers(-9, 10, (2, 5, 12, 12)).astype(dtype)
    weight = rng.integers(-9, 10, (3, 3, 3, 5)).astype(dtype)
    x = Tensor(nchw).transpose(0, 2, 3, 1)
    expected = F.conv2d(np.ascontiguousarray(x.data), weight, padding=1)
    np.testing.assert_array_equal(F.conv2d(x, weight, padding=1).data, expected.data)
    assert expected.dtype == dtype
    depthwise = rng.integers(-9, 10, (1, 3, 3, 5)).astype(dtype)
    np.testing.assert_array_equal(F.depthwise_conv2d(x, depthwise).data,
                                  F.depthwise_conv2d(np.ascontiguousarray(x.data), depthwise).data)  # fmt: skip


@pytest.mark.parametrize("x_type, w_type", [(np.float32, np.float64), (np.float64, np.float32)])
def test_the_result_has_the_dtype_of_the_image_whatever_that_of_the_weight(x_type, w_type):
    x, b = np.ones((1, 6, 6, 5), x_type), np.ones(5, w_type)
    for fn, shape in ((F.conv2d, (5, 3, 3, 5)), (F.conv2d, (5, 1, 1, 5)), (F.depthwise_conv2d, (1, 3, 3, 5))):
        w = Tensor(np.ones(shape, w_type), requires_grad=True)
        y = fn(x, w, b)
        y.sum().backward()
        assert y.dtype == x_type and w.grad.dtype == w_type


@pytest.mark.parametrize("kernel, padding", [(1, 0), (3, 1)])
@pytest.mark.parametrize("channels", [2, 6])
def test_an_empty_batch_gives_an_empty_result_and_zero_gradients(kernel, padding, channels):
    w = Tensor(np.ones((4, kernel, kernel, channels)), requires_grad=True)
    x = Tensor(np.ones((0, 9, 9, channels)), requires_grad=True)
    F.conv2d(x, w, np.ones(4), padding=padding).sum().backward()
    assert x.grad.shape == x.shape and not w.grad.any()
    v = Tensor(np.ones((1, kernel, kernel, channels)), requires_grad=True)
    F.depthwise_conv2d(x, v, padding=padding).sum().backward()
    assert not v.grad.any()


def test_integer_weighted_results_in_float32_are_exact_over_many_images():
    """Every partial sum is an integer below 2**24: blocks of images must add up to the same bits as float64."""
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 10, (40, 14, 14, 16)), rng.integers(-9, 10, (8, 3, 3, 16))
    results = []
    for dtype in (np.float32, np.float64):
        tensors = [Tensor(a.astype(dtype), requires_grad=True) for a in (x, w)]
        y = F.conv2d(*tensors, np.arange(8.0, dtype=dtype), padding="same")
        y.backward(np.sign(y.data))
        results.append([y.data, tensors[0].grad, tensors[1].grad])
    for single, double in zip(*results):
        assert single.dtype == np.float32
        np.testing.assert_array_equal(single, double)


def test_settings_are_pairs_and_padding_as_given():
    class Log:
        def op(self, name, inputs, settings, output):
            self.call = name, len(inputs), settings

    log = Log()
    x = np.ones((1, 4, 4, 2))
    with F.recording(log):
        F.conv2d(x, np.ones((2, 3, 3, 2)), np.ones(2), stride=2, padding="same")
    assert log.call == ("conv2d", 3, {"stride": (2, 2), "padding": "same", "dilation": (1, 1), "groups": 1})
    with F.recording(log):
        F.depthwise_conv2d(x, np.ones((1, 3, 3, 2)), padding=((0, 1), (1, 0)), dilation=(1, 1))
    assert log.call == ("depthwise_conv2d", 2, {"stride": (1, 1), "padding": ((0, 1), (1, 0)), "dilation": (1, 1)})


x_good, w_good = np.ones((2, 8, 9, 3)), np.ones((4, 3, 3, 3))


def test_an_nchw_image_is_recognised_and_the_transpose_spelled_out():
    for call in (lambda: F.conv2d(np.ones((2, 3, 8, 9)), w_good), lambda: F.depthwise_conv2d(np.ones((2, 3, 8, 8)), w_good[:1]),
                 lambda: F.conv2d(np.ones((2, 6, 8, 9)), w_good, groups=2),
                 lambda: F.conv2d(np.ones((2, 6, 8, 8)), w_good, groups=2)):  # fmt: skip
        with pytest.raises(ValueError, match=r"which looks like \(N, C, H, W\).*: x\.transpose\(0, 2, 3, 1\)\."):
            call()


@pytest.mark.parametrize("call, error, message", [
    (lambda: F.conv2d(np.ones((2, 8, 9, 5)), w_good), ValueError, r"with C / groups = 5 for x of shape .*weight\.transpose"),
    (lambda: F.conv2d(x_good, w_good, groups=2), ValueError, r"divide the input channels \(3\) and the filters \(4\)"),
    (lambda: F.conv2d(x_good, w_good, groups=0), ValueError, "groups that divide"),
    (lambda: F.conv2d(x_good, w_good, groups=1.0), ValueError, "groups that divide"),
    (lambda: F.conv2d(x_good, w_good, groups="1"), ValueError, "groups that divide"),
    (lambda: F.conv2d(x_good[0], w_good), ValueError, r"images of shape \(N, H, W, C\), got shape \(8, 9, 3\)"),
    (lambda: F.conv2d(x_good, w_good[0]), ValueError, r"weight of four axes, none of them empty, got \(3, 3, 3\)"),
    (lambda: F.conv2d(x_good, w_good[:0]), ValueError, r"weight of four axes, none of them empty"),
    (lambda: F.conv2d(x_good, w_good, np.ones(3)), ValueError, r"bias of shape \(4,\), one an output channel, got \(3,\)"),
    (lambda: F.conv2d(x_good[:, :2], w_good), ValueError, "window no larger than the padded image"),
    (lambda: F.conv2d(x_good, w_good, dilation=4), ValueError, "reaching over 9 cells of a height of 8"),
    (lambda: F.conv2d(x_good, w_good, stride=0), ValueError, "stride of conv2d must be at least 1"),
    (lambda: F.conv2d(x_good, w_good, stride=1.0), TypeError, "stride of conv2d must be an integer"),
    (lambda: F.conv2d(x_good.astype(np.int8), w_good), TypeError, "conv2d computes with float32 or float64 numbers, got int8"),
    (lambda: F.conv2d(x_good, w_good.astype(complex)), TypeError, "got complex128"),
    (lambda: F.depthwise_conv2d(x_good, w_good), ValueError, r"weight of shape \(1, KH, KW, C \* m\), got \(4, 3, 3, 3\)"),
    (lambda: F.depthwise_conv2d(x_good, np.ones((1, 3, 3, 4))), ValueError, "multiple of the 3 channels of x"),
    (lambda: F.depthwise_conv2d(x_good, w_good[:1], np.ones(1)), ValueError, r"bias of shape \(3,\)"),
    (lambda: F.depthwise_conv2d(x_good.astype(object), w_good[:1]), TypeError, "depthwise_conv2d computes with float32"),
])  # fmt: skip
def test_what_does_not_fit_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
