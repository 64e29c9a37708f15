"""Digits drawn with a pen: a table of strokes, moved, turned and blurred a little differently each time.

A digit is a few polylines in a unit square. A pixel's ink falls off with its distance to the nearest stroke, so one
table renders at any size, smoothly, and without a font file.
With this module one can make as many labelled images as a lesson needs, at any size, from a seed.
"""

from __future__ import annotations

import math

import numpy as np

from tinyquant.numerics.seeds import Seed, generator

Point = tuple[float, float]


def _arc(center: Point, radii: Point, start: float, stop: float, pieces: int = 10) -> list[Point]:
    """Points of an elliptic arc; degrees, 0 to the right, growing clockwise on the page (y points down)."""
    angles = np.radians(np.linspace(start, stop, pieces + 1))
    return [(center[0] + radii[0] * math.cos(a), center[1] + radii[1] * math.sin(a)) for a in angles]


# Ten digits as polylines in the unit square: x to the right, y down.
STROKES: tuple[tuple[list[Point], ...], ...] = (
    (_arc((0.5, 0.5), (0.27, 0.4), 0, 360, 16),),
    ([(0.36, 0.24), (0.54, 0.1), (0.54, 0.9)],),
    (_arc((0.5, 0.33), (0.25, 0.23), 190, 390) + [(0.25, 0.9), (0.77, 0.9)],),
    (_arc((0.48, 0.3), (0.24, 0.2), 200, 450), _arc((0.48, 0.7), (0.27, 0.2), 270, 520)),
    ([(0.6, 0.1), (0.22, 0.64), (0.8, 0.64)], [(0.62, 0.42), (0.62, 0.92)]),
    ([(0.74, 0.1), (0.33, 0.1), (0.3, 0.46)] + _arc((0.48, 0.65), (0.27, 0.25), 230, 510),),
    ([(0.66, 0.1), (0.4, 0.34), (0.26, 0.6)], _arc((0.5, 0.68), (0.25, 0.22), 0, 360, 14)),
    ([(0.24, 0.1), (0.76, 0.1), (0.42, 0.9)],),
    (_arc((0.5, 0.29), (0.21, 0.19), 0, 360, 14), _arc((0.5, 0.69), (0.26, 0.21), 0, 360, 14)),
    (_arc((0.5, 0.32), (0.25, 0.22), 0, 360, 14), [(0.75, 0.36), (0.68, 0.64), (0.5, 0.9)]),
)


def glyphs(
    n: int = 1000, size: int = 28, *, noise: float = 0.05, wobble: float = 1.0, seed: Seed = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Render n digits of size x size pixels, every class as often as every other (to within one), in random order.

    Parameters
    ----------
    n : int >= 1
    size : int >= 6
        Side of the square image; below 6 pixels the digits can not be told apart.
    noise : float >= 0
        Standard deviation of the noise added to every pixel before clipping to [0, 1].
    wobble : float >= 0
        How far the hand strays: at 1 up to 12 degrees of turn and of slant, 15 % of size, 8 % of the side in place;
        0 draws all digits of a class alike.
    seed : int or numpy Generator

    Returns
    -------
    x, y
        Images (n, size, size, 1) float32 in [0, 1], ink 1 on paper 0; labels (n,) int64 in [0, 9].

    Examples
    --------
    >>> x, y = glyphs(3, 7, noise=0.0, wobble=0.0)
    >>> y.tolist()
    [2, 0, 1]
    >>> for row in x[1, ..., 0]:
    ...     print("".join(".:#"[int(ink * 2.999)] for ink in row))
    ..###..
    .:#:#:.
    .#:.:#.
    .#...#.
    .#:.:#.
    .:#:#:.
    ..###..
    """
    if n < 1 or size < 6:
        raise ValueError(f"n must be 1 or more and size 6 or more, got n={n}, size={size}. Ask for larger ones.")
    if not (noise >= 0 and wobble >= 0):
        raise ValueError(f"noise and wobble must be 0 or more, got {noise} and {wobble}. 0 switches either off.")
    rng = generator(seed)
    labels = rng.permutation(np.arange(n, dtype=np.int64) % 10)
    turns, moves, pens = _hands(n, wobble, rng)
    images = np.empty((n, size, size), dtype=np.float32)
    for digit in range(10):
        rows = np.flatnonzero(labels == digit)
        if rows.size:
            images[rows] = _draw(digit, size, turns[rows], moves[rows], pens[rows])
    images += (noise * rng.standard_normal(images.shape)).astype(np.float32)
    return np.clip(images, 0, 1)[..., None], labels


def _hands(n: int, wobble: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A (n, 2, 2) linear map, a (n, 2) shift and a (n,) pen radius for every drawing."""
    turn, slant = np.radians(12 * wobble) * rng.uniform(-1, 1, (2, n))
    scale = np.exp(0.15 * wobble * rng.uniform(-1, 1, (2, n)))
    maps = np.empty((n, 2, 2))
    maps[:, 0, 0], maps[:, 0, 1] = scale[0] * np.cos(turn), -scale[1] * np.sin(turn + slant)
    maps[:, 1, 0], maps[:, 1, 1] = scale[0] * np.sin(turn), scale[1] * np.cos(turn + slant)
    moves = 0.08 * wobble * rng.uniform(-1, 1, (n, 2))
    pens = 0.06 * np.exp(0.3 * wobble * rng.uniform(-1, 1, n))
    return maps, moves, pens


def _draw(digit: int, size: int, maps: np.ndarray, moves: np.ndarray, pens: np.ndarray) -> np.ndarray:
    """Ink of one digit under each hand: (rows, size, size) float32."""
    axis = (np.arange(size) + 0.5) / size
    pixels = np.stack(np.broadcast_arrays(axis[None, :], axis[:, None]), axis=-1).reshape(1, -1, 2)
    nearest = np.full((len(maps), size * size), np.inf)
    for line in STROKES[digit]:
        points = (np.asarray(line) - 0.5) @ maps.transpose(0, 2, 1) + 0.5 + moves[:, None]
        for k in range(len(line) - 1):
            start, end = points[:, k, None], points[:, k + 1, None]
            along = end - start
            length = np.maximum((along**2).sum(-1), 1e-12)
            share = np.clip(((pixels - start) * along).sum(-1) / length, 0, 1)
            gap = pixels - start - share[..., None] * along
            np.minimum(nearest, (gap**2).sum(-1), out=nearest)
    # full ink within the pen's radius, then a slope one pixel wide: the anti-aliasing of a round pen
    ink: np.ndarray = np.clip((pens[:, None] - np.sqrt(nearest)) * size + 0.75, 0, 1)
    return ink.astype(np.float32).reshape(-1, size, size)
