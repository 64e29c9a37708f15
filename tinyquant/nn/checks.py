"""What training and scoring ask of data, each refusal with what to do about it.

With this module a student learns from one sentence that images are bytes, channels come first, or labels start at 1;
numpy alone would only say that shapes do not match, forty frames further down.
"""

from __future__ import annotations

import numpy as np

from .layers import Conv2d, DepthwiseConv2d, Linear
from .module import Module


def checked_data(
    model: object, x: np.ndarray, y: np.ndarray, x_name: str, y_name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Data and labels that fit each other, x as float32."""
    x, y = checked_x(model, x, x_name), np.asarray(y)
    if y.ndim == 0 or len(x) != len(y):
        rows = "a single number" if y.ndim == 0 else str(len(y))
        raise ValueError(f"{x_name} and {y_name} must be as many, got {len(x)} and {rows}. Give one row of y a row of x.")
    return x, y


def checked_x(model: object, x: np.ndarray, name: str) -> np.ndarray:
    """Rows of finite float32 numbers, images NHWC."""
    x = np.asarray(x)
    if x.dtype.kind != "f":
        advice = "Divide images of bytes by 255: x.astype(np.float32) / 255." if x.dtype == np.uint8 else (
            "Convert it with x.astype(np.float32).")
        raise TypeError(f"{name} must be float32, got {x.dtype}. {advice}")
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"{name} must hold at least one row, got shape {x.shape}. Is the selection empty?")
    x = x.astype(np.float32, copy=False)
    if not np.isfinite(x).all():
        row = first_bad_row(np.isfinite(x))
        raise ValueError(f"{name} must be finite, got nan or infinity in row {row}. Repair or leave out such rows.")
    channels = _image_channels(model)
    if channels is not None and x.ndim == 3:
        raise ValueError(f"{name} must be images (N, H, W, C), got {x.shape}. Add the channel axis: x[..., None].")
    if channels is not None and x.ndim == 4 and x.shape[3] != channels and x.shape[1] == channels:
        raise ValueError(
            f"{name} must be images (N, H, W, {channels}), got {x.shape}, which looks like (N, C, H, W). "
            "Move the channels last: x.transpose(0, 2, 3, 1)."
        )
    return x


def _image_channels(model: object) -> int | None:
    """How many channels the images must have, where the first layer with weights is a convolution."""
    if isinstance(model, Module):
        for _, module in model.named_modules():
            if isinstance(module, Conv2d):
                return module.in_channels
            if isinstance(module, DepthwiseConv2d):
                return module.channels
            if isinstance(module, Linear):
                return None
    return None


def check_is_labels(y: np.ndarray, name: str) -> None:
    """Labels are whole numbers, one a row."""
    if y.dtype.kind not in "iu":
        raise TypeError(f"{name} must be int labels, got {y.dtype}. Convert them with y.astype(np.int64).")
    if y.ndim != 1:
        raise ValueError(f"{name} must be labels (N,), got shape {y.shape}. For one-hot rows take y.argmax(axis=1).")


def check_classes(y: np.ndarray, classes: int, name: str) -> None:
    """Every label has an output."""
    wrong = np.flatnonzero((y < 0) | (y >= classes))
    if wrong.size:
        raise ValueError(
            f"{name} must lie in 0 to {classes - 1}, the model's outputs, got {int(y[wrong[0]])} in row {int(wrong[0])}. "
            "Count labels from 0, or build the model with more classes."
        )


def first_bad_row(good: np.ndarray) -> int:
    """The first row that is not good throughout."""
    return int(np.flatnonzero(~good.reshape(len(good), -1).all(axis=1))[0])
