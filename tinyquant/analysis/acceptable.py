"""Is this loss acceptable? Only whoever uses the network can say, in a number of their own.

Accuracy counts every mistake alike. Who looks for cancers counts the missed ones; who sorts letters counts money. So the
question takes a metric: any function of outputs and labels that is higher where the network is better. The answer comes with
an interval over the rows, drawn anew for both networks at once, because a loss of one row in a hundred may as well be three.

With this module one can put that question in a test or before a release (`assert_acceptable`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyquant.analysis.intervals import Interval
from tinyquant.nn import Module
from tinyquant.numerics.seeds import Seed, generator
from tinyquant.numerics.whole import whole_number
from tinyquant.training import predict

__all__ = ["Acceptance", "accuracy_of", "assert_acceptable", "recall_of"]

Metric = Callable[[np.ndarray, np.ndarray], float]
Network = Module | Callable[[np.ndarray], np.ndarray]


def accuracy_of(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows whose largest output is at the label's place.

    >>> accuracy_of(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    return float(np.mean(outputs.argmax(axis=1) == labels))


def recall_of(outputs: np.ndarray, labels: np.ndarray, *, positive: int = 1) -> float:
    """Share of the rows of one class that are found; nan where there is none.

    >>> recall_of(np.array([[0.1, 0.9], [0.8, 0.2], [0.9, 0.1]]), np.array([1, 1, 0]))
    0.5
    """
    among = labels == positive
    return float(np.mean(outputs.argmax(axis=1)[among] == positive)) if among.any() else float("nan")


@dataclass(frozen=True)
class Acceptance:
    """The answer, where it is yes.

    Attributes
    ----------
    before, after : float
        The metric of the float and of the quantized network.
    change : Interval
        after - before, over rows (paired bootstrap).
    """

    before: float
    after: float
    change: Interval


def assert_acceptable(
    float_model: Network,
    int_model: Network,
    data: tuple[np.ndarray, np.ndarray],
    *,
    metric: Metric = accuracy_of,
    max_drop: float = 0.01,
    at_least: float | None = None,
    sure: bool = False,
    draws: int = 1000,
    seed: Seed = 0,
) -> Acceptance:
    """Raise unless the quantized network is as good as the user needs, by the user's own metric.

    Parameters
    ----------
    float_model, int_model : Module, or callable (array) -> outputs
        An `IntegerModel`, a `FakeQuantModel`, or anything else that takes x.
    data : (x, y)
        Rows that neither training nor calibration has seen; labels, or whatever the metric takes.
    metric : callable (outputs, y) -> float
        Higher is better; `accuracy_of` and `recall_of` are there. It is also called on rows drawn anew, and may
        return nan where it has no meaning.
    max_drop : float, 0 or more
        So much may the metric fall.
    at_least : float, optional
        The metric of the quantized network itself must reach this too.
    sure : bool
        False: the drop on these rows decides. True: the lower end of its 95 % interval must be acceptable too. Where
        drawing rows anew never moves the change, the interval has no width and says nothing of rows not seen; then
        ``3 / max_drop`` rows are asked for: what none of n rows shows may still befall 3 in n (95 %, the rule of three).
        Give the rows that the metric looks at: recall looks at one class.
    draws : int, 100 or more
        Of rows, for the interval.
    seed : int or numpy Generator
        Of the drawing.

    Returns
    -------
    Acceptance

    Raises
    ------
    AssertionError
        If the loss is not acceptable; the message has both numbers, the interval and the limit.
    ValueError
        If the data are empty or of two lengths, max_drop or at_least is no number to hold a metric against, or the metric
        gives no finite number.

    References
    ----------
    Efron and Tibshirani 1993, chapter 13 (percentile intervals); Hanley and Lippman-Hand 1983 (the rule of three).

    Examples
    --------
    >>> x, y = np.array([[0.0, 1.0], [1.0, 0.0]] * 50), np.array([1, 0] * 50)
    >>> assert_acceptable(lambda x: x, lambda x: 2 * x, (x, y)).after
    1.0
    >>> assert_acceptable(lambda x: x, lambda x: -x, (x, y), metric=recall_of)
    Traceback (most recent call last):
        ...
    AssertionError: recall_of must not fall by more than 0.01, got 1 -> 0, a change of -1 (-1 to -1 over 100 rows).
    """
    x, y = (np.asarray(part) for part in data)
    if len(x) != len(y) or not len(x):
        raise ValueError(f"data must be (x, y) with as many labels as rows, at least one, got {len(x)} and {len(y)}.")
    if not max_drop >= 0 or whole_number("draws", draws) < 100:
        raise ValueError(f"max_drop must be 0 or more and draws 100 or more, got {max_drop!r} and {draws}.")
    if at_least is not None and not np.isfinite(at_least):
        raise ValueError(f"at_least must be finite, got {at_least!r}. Leave it out if any value will do.")
    one, other = predict(float_model, x), predict(int_model, x)
    before, after = float(metric(one, y)), float(metric(other, y))
    name = getattr(metric, "__name__", "the metric")
    if not (np.isfinite(before) and np.isfinite(after)):
        raise ValueError(f"{name} must give finite numbers, got {before} and {after}. Is the class that it counts in the data?")
    change = _interval(one, other, y, metric, after - before, draws, seed)
    told = f"got {before:.4g} -> {after:.4g}, a change of {change.value:.3g} "
    told += f"({change.low:.3g} to {change.high:.3g} over {change.count} rows)."
    # A drop of exactly the limit is allowed, and 0.97 - 0.96 is a little more than 0.01.
    slack = 1e-12 * max(abs(before), abs(after))
    if change.value < -max_drop - slack:
        raise AssertionError(f"{name} must not fall by more than {max_drop:g}, {told}")
    if at_least is not None and after < at_least - slack:
        raise AssertionError(f"{name} must be at least {at_least:g}, {told}")
    if sure and not change.low >= -max_drop - slack:
        raise AssertionError(f"{name} must surely not fall by more than {max_drop:g}, {told} Give more rows.")
    if sure and change.low == change.high and not len(y) * max_drop >= 3 - slack:
        most = f"{3 / max_drop:.0f} rows or more" if max_drop else "a max_drop above 0"
        unseen = f"{len(y)} rows without a change leave room for {min(1.0, 3 / len(y)):.4g}"
        raise AssertionError(f"{name} must surely not fall by more than {max_drop:g}, {told[:-1]}: {unseen}. Give {most}.")
    return Acceptance(before, after, change)


def _interval(
    one: np.ndarray, other: np.ndarray, y: np.ndarray, metric: Metric, value: float, draws: int, seed: Seed
) -> Interval:
    """Percentiles of the change when rows are drawn anew, the same for both."""
    rng = generator(seed)
    changes = np.empty(draws)
    for draw in range(draws):
        rows = rng.integers(0, len(y), len(y))
        changes[draw] = metric(other[rows], y[rows]) - metric(one[rows], y[rows])
    changes = changes[np.isfinite(changes)]
    low, high = np.quantile(changes, (0.025, 0.975)) if changes.size else (np.nan, np.nan)
    return Interval(value, float(low), float(high), "rows", len(y), f"bootstrap, {draws} draws")
