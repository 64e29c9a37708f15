"""Where a window lies: sizes, padding in all its spellings, and the convolutions that make up a gradient."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from autograd_oracles import out_size, pads_of
from hypothesis import assume, given
from hypothesis import strategies as st

from tinyquant.autograd import Tensor
from tinyquant.autograd.geometry import check_image, make_window, pad_image, pair, turned_windows

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
sides = st.tuples(st.integers(0, 3), st.integers(0, 3))
paddings = st.one_of(
    st.integers(0, 3), sides, st.tuples(sides, sides), st.sampled_from(["same", "valid"])
)


def fitting_window(size, kernel, stride, padding, dilation):
    """The window, or no example where it does not fit."""
    pads = pads_of(padding, size, kernel, stride, dilation)
    assume(all((kernel[i] - 1) * dilation[i] + 1 <= size[i] + sum(pads[i]) for i in (0, 1)))
    return make_window("conv2d", size, kernel, stride, padding, dilation)


@given(sizes, pairs, pairs, paddings, pairs)
def test_padding_and_output_size_are_what_sliding_the_window_gives(size, kernel, stride, padding, dilation):
    window = fitting_window(size, kernel, stride, padding, dilation)
    assert window.pads == pads_of(padding, size, kernel, stride, dilation)
    assert window.out == out_size(size, kernel, stride, dilation, window.pads)
    if padding == "same":
        assert window.out == (ceil(size[0] / stride[0]), ceil(size[1] / stride[1]))


def test_the_odd_cell_of_same_padding_goes_after():
    assert make_window("conv2d", (4, 4), (3, 3), (2, 2), "same").pads == ((0, 1), (0, 1))
    assert make_window("conv2d", (5, 6), (2, 4), (1, 1), "same").pads == ((0, 1), (1, 2))


def test_padding_may_be_a_list_or_an_array():
    expected = make_window("conv2d", (5, 5), (3, 3), (1, 1), ((0, 1), (2, 0))).pads
    assert make_window("conv2d", (5, 5), (3, 3), (1, 1), [[0, 1], [2, 0]]).pads == expected
    assert make_window("conv2d", (5, 5), (3, 3), (1, 1), np.array([[0, 1], [2, 0]])).pads == expected


@given(sizes, pairs, pairs, paddings, pairs)
def test_turned_windows_meet_each_output_from_each_cell_through_the_right_tap(size, kernel, stride, padding, dilation):
    """{(output, cell, tap) : output * stride + tap * dilation - padding = cell inside the image}, along both axes."""
    window = fitting_window(size, kernel, stride, padding, dilation)
    forward = []
    for axis in (0, 1):
        forward.append({
            (o, cell, tap)
            for o in range(window.out[axis])
            for tap in range(kernel[axis])
            if 0 <= (cell := o * stride[axis] + tap * dilation[axis] - window.pads[axis][0]) < size[axis]
        })  # fmt: skip
    backward, cells_seen = set(), []
    for turned in turned_windows(window):
        cells = [range(size[axis])[turned.cells[axis]] for axis in (0, 1)]
        cells_seen += [(row, column) for row in cells[0] for column in cells[1]]
        if turned.window is None:
            continue
        met = []
        for axis in (0, 1):
            taps, inner = range(kernel[axis])[turned.taps[axis]], turned.window
            assert (inner.out[axis], inner.kernel[axis]) == (len(cells[axis]), len(taps))
            assert inner.padded[axis] == inner.out[axis] + inner.reach[axis] - 1, "a border no window reaches"
            met.append({
                (o, cell, tap)
                for position, cell in enumerate(cells[axis])
                for i, tap in enumerate(taps)
                if 0 <= (o := position + i * inner.dilation[axis] - inner.pads[axis][0]) < window.out[axis]
            })  # fmt: skip
        backward |= {(a, b) for a in met[0] for b in met[1]}
    assert sorted(cells_seen) == [(row, column) for row in range(size[0]) for column in range(size[1])]
    assert backward == {(a, b) for a in forward[0] for b in forward[1]}


@given(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), st.tuples(st.integers(-2, 2), st.integers(-2, 2)))
def test_pad_image_adds_a_border_or_crops_where_the_width_is_negative(rows, columns):
    x = np.arange(1.0, 51.0).reshape(1, 5, 5, 2)
    y = pad_image(x, (rows, columns), -7.0)
    assert y.shape == (1, 5 + sum(rows), 5 + sum(columns), 2)
    for h, w in np.ndindex(y.shape[1:3]):
        r, c = h - rows[0], w - columns[0]
        expected = x[0, r, c] if 0 <= r < 5 and 0 <= c < 5 else [-7.0, -7.0]
        np.testing.assert_array_equal(y[0, h, w], expected)


def test_pad_image_without_a_border_is_the_image():
    x = np.ones((1, 2, 2, 1))
    assert pad_image(x, ((0, 0), (0, 0))) is x


@pytest.mark.parametrize("value", [0, -1, (1, 0), (1, 2, 3), (), [1]])
def test_a_stride_is_one_or_two_numbers_of_at_least_one(value):
    with pytest.raises(ValueError, match="stride must be at least 1 and one number or a pair"):
        pair(value, "stride")


@pytest.mark.parametrize("value", [1.0, "2", None, (1.5, 1), ("a", "b")])
def test_a_stride_is_made_of_integers(value):
    with pytest.raises(TypeError, match="stride must be an integer or a pair of integers"):
        pair(value, "stride")


def test_numpy_integers_are_integers():
    assert pair(np.int64(2), "stride") == (2, 2)
    assert type(pair((np.int32(2), 1), "stride")[0]) is int


@pytest.mark.parametrize("padding, error, message", [
    ("SAME", ValueError, 'conv2d needs padding "same", "valid", an integer or pairs, got \'SAME\''),
    (-1, ValueError, "conv2d needs padding of 0 or more"),
    ((1, -1), ValueError, "conv2d needs padding of 0 or more"),
    (((0, 1), (0, -1)), ValueError, "conv2d needs padding of 0 or more"),
    ((1, 1, 1), ValueError, "conv2d needs padding of 0 or more as an integer, a pair"),
    (((1, 1, 1), (1, 1)), ValueError, "conv2d needs padding of 0 or more"),
    (1.5, TypeError, "conv2d needs padding as an integer, a pair"),
    (((0, 1), 2), TypeError, "conv2d needs padding as an integer, a pair"),
    (None, TypeError, "conv2d needs padding as an integer, a pair"),
])  # fmt: skip
def test_padding_of_another_kind_is_explained(padding, error, message):
    with pytest.raises(error, match=message):
        make_window("conv2d", (5, 5), (3, 3), (1, 1), padding)


def test_a_window_larger_than_the_padded_image_is_explained():
    with pytest.raises(ValueError, match=r"a window reaching over 5 cells of a width of 4 \(image \(9, 2\), padding 1\)"):
        make_window("conv2d", (9, 2), (3, 3), (1, 1), 1, (1, 2))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (1, 2, 3, 4, 5)])
def test_anything_but_four_axes_is_no_batch_of_images(shape):
    with pytest.raises(ValueError, match=r"conv2d needs images of shape \(N, H, W, C\), got shape"):
        check_image(Tensor(np.ones(shape)), "conv2d")
