"""One-dimensional signals: smooth curves on which the steps of a quantizer can be seen.

Time is not quantized here, only sampled finely; the values are what a later page rounds to 256, 16 or 4 steps.
With this module one can draw the first picture of quantization, and train the smallest network there is on a sine.
"""

from __future__ import annotations

import math

import numpy as np

from tinyquant.numerics.seeds import Seed, generator


def sine(
    n: int = 256, *, cycles: float = 2.0, amplitude: float = 1.0, offset: float = 0.0, noise: float = 0.0, seed: Seed = 0
) -> tuple[np.ndarray, np.ndarray]:
    """x(t) = offset + amplitude * sin(2 pi cycles t) + noise, for n times t evenly spaced in [0, 1).

    Parameters
    ----------
    n : int >= 1
    cycles, amplitude, offset : float
    noise : float >= 0
        Standard deviation of the Gaussian noise added.
    seed : int or numpy Generator
        Where the noise comes from; same seed, same signal.

    Returns
    -------
    t, x
        Two (n,) float32 arrays.

    Examples
    --------
    >>> t, x = sine(4, cycles=1)
    >>> t.tolist(), x.round().astype(int).tolist()
    ([0.0, 0.25, 0.5, 0.75], [0, 1, 0, -1])
    """
    t = _times(n)
    return _signal(t, offset + amplitude * np.sin(2 * np.pi * cycles * t), noise, seed)


def sum_of_sines(
    n: int = 256,
    *,
    cycles: tuple[float, ...] = (1.0, 5.0, 13.0),
    amplitudes: tuple[float, ...] = (1.0, 0.5, 0.25),
    noise: float = 0.0,
    seed: Seed = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """x(t) = sum_k amplitudes[k] * sin(2 pi cycles[k] t) + noise: large slow waves with small fast ones on top.

    The small waves are what a coarse quantizer loses first.

    Parameters
    ----------
    n : int >= 1
    cycles, amplitudes : tuples of one length
    noise : float >= 0
    seed : int or numpy Generator

    Returns
    -------
    t, x
        Two (n,) float32 arrays.

    Examples
    --------
    >>> t, x = sum_of_sines(4, cycles=(1.0, 2.0), amplitudes=(3.0, 1.0))
    >>> x.round().astype(int).tolist()
    [0, 3, 0, -3]
    """
    if len(cycles) != len(amplitudes):
        raise ValueError(
            f"cycles and amplitudes must be as many, got {len(cycles)} and {len(amplitudes)}. Give one amplitude a wave."
        )
    t = _times(n)
    waves = [a * np.sin(2 * np.pi * c * t) for c, a in zip(cycles, amplitudes, strict=True)]
    return _signal(t, np.sum(waves, axis=0), noise, seed)


def chirp(
    n: int = 512, *, start: float = 1.0, stop: float = 16.0, amplitude: float = 1.0, noise: float = 0.0, seed: Seed = 0
) -> tuple[np.ndarray, np.ndarray]:
    """x(t) = amplitude * sin(2 pi (start t + (stop - start) t^2 / 2)): a tone that climbs from start to stop cycles.

    Parameters
    ----------
    n : int >= 1
    start, stop : float
        Frequency at t = 0 and at t = 1.
    amplitude : float
    noise : float >= 0
    seed : int or numpy Generator

    Returns
    -------
    t, x
        Two (n,) float32 arrays.

    Examples
    --------
    >>> t, x = chirp(4, start=1, stop=1)
    >>> x.round().astype(int).tolist()
    [0, 1, 0, -1]
    """
    t = _times(n)
    return _signal(t, amplitude * np.sin(2 * np.pi * (start * t + (stop - start) * t**2 / 2)), noise, seed)


def decaying_pulse(
    n: int = 256, *, cycles: float = 6.0, decay: float = 5.0, amplitude: float = 1.0, noise: float = 0.0, seed: Seed = 0
) -> tuple[np.ndarray, np.ndarray]:
    """x(t) = amplitude * exp(-decay t) * cos(2 pi cycles t): loud at first, then ever smaller.

    One fixed step serves the loud start and swallows the tail: the picture of why the range decides the error.

    Parameters
    ----------
    n : int >= 1
    cycles : float
    decay : float >= 0
        Decay rate; the envelope falls to exp(-decay).
    amplitude : float
    noise : float >= 0
    seed : int or numpy Generator

    Returns
    -------
    t, x
        Two (n,) float32 arrays.

    Examples
    --------
    >>> t, x = decaying_pulse(4, cycles=2, decay=0)
    >>> x.round().astype(int).tolist()
    [1, -1, 1, -1]
    """
    t = _times(n)
    return _signal(t, amplitude * np.exp(-decay * t) * np.cos(2 * np.pi * cycles * t), noise, seed)


def sine_regression(n: int = 1000, *, noise: float = 0.1, seed: Seed = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (x, y) with y = sin(x) + noise and x uniform in [0, 2 pi): the task of TFLite Micro's "hello world".

    Parameters
    ----------
    n : int >= 1
    noise : float >= 0
    seed : int or numpy Generator

    Returns
    -------
    x, y
        Two (n, 1) float32 arrays.

    Examples
    --------
    >>> x, y = sine_regression(5, noise=0.0)
    >>> x.shape, bool(abs(y).max() <= 1)
    ((5, 1), True)
    """
    _check(n, noise)
    rng = generator(seed)
    x = rng.uniform(0, 2 * math.pi, (n, 1))
    y = np.sin(x) + noise * rng.standard_normal((n, 1))
    return x.astype(np.float32), y.astype(np.float32)


def _times(n: int) -> np.ndarray:
    """n evenly spaced times in [0, 1), float64."""
    _check(n, 0.0)
    return np.arange(n) / n


def _signal(t: np.ndarray, x: np.ndarray, noise: float, seed: Seed) -> tuple[np.ndarray, np.ndarray]:
    """Add the noise and narrow both to float32."""
    _check(len(t), noise)
    noisy = x + noise * generator(seed).standard_normal(len(t))
    return t.astype(np.float32), noisy.astype(np.float32)


def _check(n: int, noise: float) -> None:
    """Refuse an empty signal and a negative standard deviation."""
    if n < 1:
        raise ValueError(f"n must be 1 or more, got {n}. Ask for at least one sample.")
    if not noise >= 0:
        raise ValueError(f"noise must be 0 or more, got {noise}. It is a standard deviation.")
