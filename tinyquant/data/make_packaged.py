"""How digits.npz and breast_cancer.npz were made: run by a maintainer, never at run time.

    python -m tinyquant.data.make_packaged FOLDER

needs scikit-learn (extra `[data]`; its wheel carries copies of the two UCI sets; see ATTRIBUTION.md), writes the two files into
FOLDER and returns their SHA-256, which belong in `packaged.py`. The splits are stored, not drawn at load time:
numpy may change the stream of a seeded generator between versions, and a file can not change its mind.
With this module one can check where every byte of the packaged data comes from, or make a split of one's own.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

from tinyquant.numerics.rounding import saturate

SPLITS = 10


def stratified_test_rows(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` row numbers so that every class keeps its share of the whole.

    A class of size m gets m * count / len(labels) test rows, rounded down; the rows still missing go to the classes
    with the largest remainders (the lower class first where they tie).

    Parameters
    ----------
    labels : (N,) int array
    count : int in [0, N]
    rng : numpy Generator, used up by one permutation a class

    Returns
    -------
    (count,) int64 array, ascending

    Examples
    --------
    >>> rows = stratified_test_rows(np.array([0] * 6 + [1] * 3), 3, np.random.default_rng(0))
    >>> [int(r) for r in (rows < 6, rows >= 6) for r in [r.sum()]]
    [2, 1]
    """
    classes, sizes = np.unique(labels, return_counts=True)
    quotient, remainder = np.divmod(sizes * count, len(labels))
    missing = count - int(quotient.sum())
    quotient[np.argsort(-remainder, kind="stable")[:missing]] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == one))[:take]
        for one, take in zip(classes, quotient, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def make(folder: Path) -> dict[str, str]:
    """Write both files into `folder` and return {file name: SHA-256}. Needs scikit-learn, the extra `[data]`."""
    from sklearn.datasets import load_breast_cancer, load_digits

    digits, cancer = load_digits(), load_breast_cancer()
    contents = {
        "digits.npz": {
            "images": saturate(digits.images, 0, 16, np.uint8),
            "labels": saturate(digits.target, 0, 9, np.uint8),
            "test_rows": _splits(digits.target, 450),
        },
        "breast_cancer.npz": {
            "features": cancer.data.astype(np.float32),
            # scikit-learn's 0 is malignant; here 1 is the case a doctor must not miss
            "labels": saturate(1 - cancer.target, 0, 1, np.uint8),
            "test_rows": _splits(1 - cancer.target, 142),
            "feature_names": cancer.feature_names.astype("U"),
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    checksums = {}
    for name, arrays in contents.items():
        np.savez_compressed(folder / name, **arrays)
        checksums[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return checksums


def _splits(labels: np.ndarray, count: int) -> np.ndarray:
    """The test rows of splits 0 to 9, split number = seed: (10, count) uint16."""
    rows = [stratified_test_rows(labels, count, np.random.default_rng(seed)) for seed in range(SPLITS)]
    return saturate(np.stack(rows), 0, len(labels) - 1, np.uint16)


if __name__ == "__main__":
    for file_name, checksum in make(Path(sys.argv[1])).items():
        sys.stdout.write(f"{file_name} {checksum}\n")
