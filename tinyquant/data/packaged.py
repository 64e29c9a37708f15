"""The two real data sets that travel with the package: 8x8 digits, and thirty measurements of breast-cell nuclei.

Both are small UCI sets (CC BY 4.0, see ATTRIBUTION.md beside this file), stored as compressed arrays together with
ten stratified splits, so "split 3" means the same rows to everybody, on every machine and numpy version.
With this module one can train a real network seconds after installing, offline.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

FOLDER = Path(__file__).parent
SHA256 = {
    "digits.npz": "34a99edb46be3e602e11f2d1d8c82e85b5bbcd589724b4dcc868e9324b0a1b64",
    "breast_cancer.npz": "5986ebbe887a1892c2ba6d980a32f2a1a2fbade49842316e911ef5f7f6e8d965",
}


def digits(split: int = 0) -> Split:
    """Handwritten digits: 1797 grey images of 8x8 pixels, 1347 to train with and 450 to test with.

    Parameters
    ----------
    split : int in [0, 9]
        Which of the ten stored stratified splits. Every split holds all 1797 images.

    Returns
    -------
    (x, y), (xt, yt)
        Images (1347, 8, 8, 1) and (450, 8, 8, 1), float32 in [0, 1]; labels int64 in [0, 9]. The files hold 17
        grey levels, 0 to 16, divided here by 16: every pixel is exact in float32. The arrays are the caller's.

    Raises
    ------
    ValueError
        If `split` is not 0 to 9, or the packaged file was damaged.

    References
    ----------
    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998, doi 10.24432/C50P49: the test part.

    Examples
    --------
    >>> (x, y), (xt, yt) = digits()
    >>> x.shape, xt.shape, y[:5].tolist()
    ((1347, 8, 8, 1), (450, 8, 8, 1), [0, 2, 3, 4, 6])
    """
    arrays = read_packaged("digits.npz")
    images = arrays["images"].astype(np.float32)[..., None] / np.float32(16)
    return _split(images, arrays["labels"], arrays["test_rows"], split)


def breast_cancer(split: int = 0, *, standardize: bool = True) -> Split:
    """Breast Cancer Wisconsin (Diagnostic): 569 cases, thirty measurements each, 427 to train and 142 to test with.

    Label 1 is *malignant*, the case a doctor must not miss (212 of 569), and 0 is benign. Teaching data: thirty
    numbers measured on cell nuclei, not an image, and nothing trained on them is a medical device.

    Parameters
    ----------
    split : int in [0, 9]
        Which of the ten stored stratified splits.
    standardize : bool
        True: every column minus its mean, over its standard deviation, both taken from the training rows alone.
        False: as measured; the columns then reach from 0.05 to 4254, which one shared scale can not serve.

    Returns
    -------
    (x, y), (xt, yt)
        (427, 30) and (142, 30) float32; labels int64, 0 benign, 1 malignant. The arrays are the caller's.

    Raises
    ------
    ValueError
        If `split` is not 0 to 9, or the packaged file was damaged.

    Notes
    -----
    scikit-learn's copy has the labels the other way round (0 malignant).

    References
    ----------
    Wolberg, Mangasarian, Street and Street, "Breast Cancer Wisconsin (Diagnostic)", UCI, 1993, doi 10.24432/C5DW2B.

    Examples
    --------
    >>> (x, y), (xt, yt) = breast_cancer()
    >>> x.shape, xt.shape, int(y.sum()), int(yt.sum())
    ((427, 30), (142, 30), 159, 53)
    """
    arrays = read_packaged("breast_cancer.npz")
    train, test = _split(arrays["features"], arrays["labels"], arrays["test_rows"], split)
    if not standardize:
        return train, test
    mean = train[0].mean(axis=0, dtype=np.float64)
    std = train[0].std(axis=0, dtype=np.float64)
    return (_standard(train[0], mean, std), train[1]), (_standard(test[0], mean, std), test[1])


def breast_cancer_features() -> list[str]:
    """The names of the thirty columns of `breast_cancer`.

    Examples
    --------
    >>> breast_cancer_features()[:3]
    ['mean radius', 'mean texture', 'mean perimeter']
    """
    return [str(name) for name in read_packaged("breast_cancer.npz")["feature_names"]]


def read_packaged(name: str, folder: Path = FOLDER) -> dict[str, np.ndarray]:
    """Read one packaged .npz after its SHA-256 was found right: {array name: array}.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        If it is not byte for byte the file that was packaged.
    """
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"the packaged file {name} must be in {folder}, got no such file. Install the package again."
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise ValueError(
            f"{path} must have SHA-256 {SHA256[name]}, got {found}. "
            "The file was changed or cut short: install the package again."
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def _split(x: np.ndarray, y: np.ndarray, test_rows: np.ndarray, split: int) -> Split:
    """Part x and y by the stored row numbers of one split; both parts keep the order of the file."""
    if isinstance(split, bool) or not isinstance(split, (int, np.integer)):
        raise TypeError(f"split must be an int, got {split!r}. Give 0 to {len(test_rows) - 1}.")
    if not 0 <= split < len(test_rows):
        raise ValueError(
            f"split must lie in 0 to {len(test_rows) - 1}, got {split}. Only these splits are stored; for another "
            "one draw rows with tinyquant.data.make_packaged.stratified_test_rows."
        )
    is_test = np.zeros(len(x), dtype=bool)
    is_test[test_rows[split]] = True
    labels = y.astype(np.int64)
    return (x[~is_test], labels[~is_test]), (x[is_test], labels[is_test])


def _standard(x: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """(x - mean) / std, worked out in float64 and rounded once to float32."""
    standard: np.ndarray = ((x - mean) / std).astype(np.float32)
    return standard
