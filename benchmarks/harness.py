"""How a race is run: in one process, everybody warmed up, in turns and in alternating order.

Times on a shared machine drift by a factor of two within a minute; the ratio of two times taken right after each other
drifts by a few percent. So the result of a race is the median of the ratios of its rounds.

With this module one can race functions that do the same thing: `race`, then `report`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def race(sides: dict[str, Callable[[], object]], rounds: int = 15, seconds: float = 0.1) -> dict[str, np.ndarray]:
    """Seconds a call for every side and round; each turn repeats the call for about this long."""
    for run in sides.values():
        for _ in range(3):
            run()
    repeats = {}
    for name, run in sides.items():
        start = time.perf_counter()
        run()
        repeats[name] = max(1, round(seconds / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        order = list(sides) if number % 2 else list(sides)[::-1]
        for name in order:
            run = sides[name]
            start = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return {name: np.array(values) for name, values in times.items()}


def report(times: dict[str, np.ndarray]) -> str:
    """A line a side with its median time, and last the ratio of the first side to the second."""
    lines = [f"{name:>24}  {np.median(values) * 1e6:12.1f} us" for name, values in times.items()]
    first, second = list(times.values())[:2]
    low, middle, high = np.quantile(first / second, [0.25, 0.5, 0.75])
    return "\n".join([*lines, f"ratio {middle:.3f} [{low:.3f},{high:.3f}]"])
