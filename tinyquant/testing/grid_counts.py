"""The boundary grid of the counting laws: sizes, accuracies, split images, missed cases, thresholds and pairs of seeds."""

from __future__ import annotations

import itertools

from tinyquant.testing.cases import (
    AccuracyCase,
    BytesCase,
    Case,
    PairedCase,
    RecallCase,
    SignCase,
    ThresholdCase,
)

__all__ = ["COUNT_GRIDS"]


def _bytes_cases() -> list[Case]:
    """Four times and not quite four times smaller, once, sizes of real files, and small numbers."""
    sizes = [(4, 1), (400, 100), (3, 2), (7, 2), (1, 1), (400, 108), (1000, 251), (44648, 13144), (5, 4), (16, 3),
             (102_000_000, 25_600_000), (2**31, 2**29 + 12345), (39_480, 10_320)]  # fmt: skip
    return [BytesCase(*pair) for pair in (*sizes, *((1000 * n, 256 * n + 90) for n in range(1, 31)))]


def _accuracy_cases() -> list[Case]:
    """Losses and gains of whole images: exact percents, and percents with two decimals of 114 to 1797 images."""
    plain = [(100.0, 99.0, 100), (99.0, 100.0, 100), (50.0, 50.0, 10), (75.0, 50.0, 4), (71.03, 71.06, 10000),
             (70.77, 70.01, 10000)]  # fmt: skip
    found: list[Case] = [AccuracyCase(*row) for row in plain]
    for images in (450, 360, 114, 1000, 1797):
        turns = ((images - 3, 1), (images - 9, 7), (images - 20, -1), (images - 30, -11), (images // 2, 0), (images, 2))
        for before, lost in turns:
            right = [100 * count / images for count in (before, before - lost)]
            found.append(AccuracyCase(round(right[0], 2), round(right[1], 2), images))
            found.append(AccuracyCase(right[0], right[1], images))
    return found


def _sign_cases() -> list[Case]:
    """No images, few, many; even and uneven splits, either way round."""
    pairs = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 5), (5, 0), (2, 3), (3, 3), (1, 9), (9, 1), (4, 12), (12, 4), (10, 10), (7, 20),
             (20, 7), (0, 20), (40, 60), (60, 40), (100, 130), (250, 250), (300, 200), (33, 45), (0, 300)]  # fmt: skip
    return [SignCase(*pair) for pair in (*pairs, *itertools.product(range(2, 6), range(3, 9)))]


def _recall_cases() -> list[Case]:
    """Every row of up to three cases with a 1 in it, and longer ones: rare ones, many false alarms, all found, none found."""
    found: list[Case] = []
    for n in (1, 2, 3):
        for truth in itertools.product((1, 0), repeat=n):
            if any(truth):
                found += [RecallCase(truth, predicted) for predicted in itertools.product((1, 0), repeat=n)]
    rare = (1, 0, 0, 0, 0, 0, 0, 1, 0, 0)
    found += [RecallCase(rare, predicted) for predicted in ((1,) * 10, (0,) * 10, (1, 1, 1, 0, 0, 0, 0, 0, 0, 0))]
    return [*found, RecallCase((1, 1, 1, 1, 1, 1, 0, 0), (1, 1, 1, 1, 0, 0, 0, 1)), RecallCase((1,) * 7, (1, 0, 1, 1, 0, 1, 1))]


def _threshold_cases() -> list[Case]:
    """Scores apart and mixed, equal scores, one positive, recalls from half to all."""
    rows: list[tuple[tuple[float, ...], tuple[int, ...]]] = [
        ((0.75, 0.25), (1, 0)), ((0.25, 0.75), (1, 0)), ((0.5,), (1,)), ((0.5, 0.5), (1, 0)),
        ((0.875, 0.625, 0.375, 0.125), (1, 0, 1, 0)),
        ((0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1), (1, 1, 0, 1, 0, 1, 0, 0)),
        ((0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1), (0, 1, 0, 1, 1, 0, 1, 0)),
        ((0.5, 0.5, 0.5, 0.25, 0.25, 0.75), (1, 1, 0, 1, 0, 0)), ((3.0, -1.0, 2.5, 0.0, -4.0, 1.5), (1, 1, 1, 0, 0, 1)),
        ((-2.0, -3.0, -5.0, -1.0), (1, 1, 0, 0)), ((1.0, 2.0, 4.0, 8.0, 16.0), (1, 1, 1, 1, 1)),
        (tuple(n / 16 for n in range(16)), (0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1)),
    ]  # fmt: skip
    return [ThresholdCase(scores, truth, recall) for scores, truth in rows for recall in (1.0, 0.5, 0.75, 0.9, 0.25)]


def _paired_cases() -> list[Case]:
    """Differences that are small beside the results, all alike, of either sign; few seeds and thirty."""
    pairs: list[tuple[tuple[float, ...], tuple[float, ...]]] = [
        ((1.0, 3.0), (0.0, 0.0)), ((0.0, 0.0), (1.0, 3.0)), ((2.0, 2.0, 2.0), (1.0, 1.0, 1.0)), ((0.0, 4.0), (4.0, 0.0)),
        ((5.0, 1.0, 3.0), (4.0, 3.0, 1.0)), ((97.25, 96.5, 98.0, 97.0), (96.75, 96.5, 97.5, 97.25)),
        ((90.0, 60.0, 75.0), (89.5, 59.0, 74.5)),
        ((0.96, 0.97, 0.95, 0.98, 0.965), (0.955, 0.968, 0.952, 0.97, 0.96)), ((-1.0, -2.0, -4.0, 8.0), (1.0, 2.0, 4.0, -8.0)),
        (tuple(96 + (7 * n % 11) / 8 for n in range(30)), tuple(96 + (5 * n % 13) / 8 for n in range(30))),
    ]  # fmt: skip
    return [PairedCase(a, b, t) for a, b in pairs for t in (1.0, 2.0, 2.045, 4.303, 12.706)]


COUNT_GRIDS = {
    BytesCase: _bytes_cases, AccuracyCase: _accuracy_cases, SignCase: _sign_cases, RecallCase: _recall_cases,
    ThresholdCase: _threshold_cases, PairedCase: _paired_cases,
}  # fmt: skip
"""How the cases of a kind are listed."""
