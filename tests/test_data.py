"""Data: what is packaged is what was published, what is drawn is drawn from its seed, and a broken file says so."""

import gzip
import hashlib
import struct
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from tinyquant import data
from tinyquant.data import make_packaged, packaged, strokes

DRAWN = {
    "sine": lambda seed: data.sine(50, noise=0.1, seed=seed),
    "sum_of_sines": lambda seed: data.sum_of_sines(50, noise=0.1, seed=seed),
    "chirp": lambda seed: data.chirp(50, noise=0.1, seed=seed),
    "decaying_pulse": lambda seed: data.decaying_pulse(50, noise=0.1, seed=seed),
    "sine_regression": lambda seed: data.sine_regression(50, seed=seed),
    "glyphs": lambda seed: data.glyphs(20, 12, seed=seed),
    "outlier_channels": lambda seed: (data.outlier_channels((50, 8), seed=seed),),
    "imbalanced": lambda seed: data.imbalanced(50, seed=seed),
    "spirals": lambda seed: data.spirals(50, seed=seed),
}


# ---------------------------------------------------------------------------------------------- packaged sets


def test_digits_have_the_promised_shapes_types_and_grey_levels():
    (x, y), (xt, yt) = data.digits()
    assert x.shape == (1347, 8, 8, 1) and xt.shape == (450, 8, 8, 1)
    assert x.dtype == xt.dtype == np.float32 and y.dtype == yt.dtype == np.int64
    levels = np.unique(np.concatenate([x.ravel(), xt.ravel()]))
    assert levels.tolist() == [k / 16 for k in range(17)]


@pytest.mark.parametrize("name, load, test_count", [("digits.npz", data.digits, 450),
                                                    ("breast_cancer.npz", data.breast_cancer, 142)])
def test_every_split_holds_every_row_once_and_every_class_in_its_share(name, load, test_count):
    """A class of m rows has floor or ceil of m * test / N test rows; train and test together are all the rows."""
    stored = packaged.read_packaged(name)
    labels, rows = stored["labels"].astype(int), stored["test_rows"]
    assert rows.shape == (10, test_count)
    for split in range(10):
        assert len(set(rows[split].tolist())) == test_count and rows[split].max() < len(labels)
        (x, y), (xt, yt) = load(split)
        assert np.bincount(y).tolist() == (np.bincount(labels) - np.bincount(yt)).tolist()
        assert yt.tolist() == labels[np.sort(rows[split])].tolist()
        for size, got in zip(np.bincount(labels), np.bincount(yt), strict=True):
            assert abs(Fraction(int(got)) - Fraction(int(size) * test_count, len(labels))) < 1
    assert len({row.tobytes() for row in rows}) == 10


def test_images_keep_their_labels_when_they_are_split():
    stored = packaged.read_packaged("digits.npz")
    of_image = {}
    for image, label in zip(stored["images"], stored["labels"], strict=True):
        of_image.setdefault(image.tobytes(), set()).add(int(label))
    for x, y in data.digits(3):
        for image, label in zip((x[..., 0] * 16).astype(np.uint8), y, strict=True):
            assert int(label) in of_image[image.tobytes()]


def test_breast_cancer_counts_the_malignant_cases_as_one():
    """UCI: 357 benign, 212 malignant; malignant nuclei are larger on average."""
    (x, y), (xt, yt) = data.breast_cancer(2, standardize=False)
    assert (len(y), len(yt)) == (427, 142) and x.shape[1] == xt.shape[1] == 30
    assert int(y.sum() + yt.sum()) == 212 and x.dtype == np.float32 and y.dtype == np.int64
    radius = data.breast_cancer_features().index("mean radius")
    assert x[y == 1, radius].mean() > x[y == 0, radius].mean() + 3
    assert len(set(data.breast_cancer_features())) == 30


def test_standardizing_uses_the_training_rows_alone():
    (x, _), (xt, _) = data.breast_cancer(1)
    (raw, _), (raw_t, _) = data.breast_cancer(1, standardize=False)
    mean, std = raw.astype(np.float64).mean(0), raw.astype(np.float64).std(0)
    # values up to 12 standard deviations, rounded once: half an ulp of 16 is 2^-20
    np.testing.assert_allclose(x, (raw - mean) / std, rtol=0, atol=2.0**-20)
    np.testing.assert_allclose(xt, (raw_t - mean) / std, rtol=0, atol=2.0**-20)
    assert abs(xt.mean(0)).max() > 1e-3


def test_what_a_load_returns_is_the_callers_own():
    (x, _), _ = data.digits()
    x[:] = 7
    assert data.digits()[0][0].max() == 1


@pytest.mark.parametrize("split", [-1, 10])
def test_a_split_that_is_not_stored_is_refused(split):
    with pytest.raises(ValueError, match=r"split must lie in 0 to 9, got"):
        data.digits(split)


def test_a_split_that_is_no_int_is_refused():
    with pytest.raises(TypeError, match=r"split must be an int, got 0\.5"):
        data.breast_cancer(0.5)


@pytest.mark.parametrize("name", sorted(packaged.SHA256))
def test_one_changed_byte_of_a_packaged_file_is_refused_by_name(name, tmp_path):
    content = bytearray((packaged.FOLDER / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} must have SHA-256 {packaged.SHA256[name]}, got .*install"):
        packaged.read_packaged(name, tmp_path)


def test_a_packaged_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"digits\.npz must be in .*got no such file"):
        packaged.read_packaged("digits.npz", tmp_path)


def test_the_maker_makes_the_packaged_arrays_again(tmp_path):
    """Array by array: the zlib of another Python may pack the same arrays into other bytes."""
    pytest.importorskip("sklearn", reason="making the packaged data again needs scikit-learn (extra data)")
    checksums = make_packaged.make(tmp_path)
    for name in packaged.SHA256:
        assert checksums[name] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        with np.load(tmp_path / name, allow_pickle=False) as made:
            stored = packaged.read_packaged(name)
            assert sorted(made.files) == sorted(stored)
            for key in stored:
                assert made[key].dtype == stored[key].dtype and np.array_equal(made[key], stored[key])


def test_the_attribution_names_both_sets_and_their_licence():
    text = (packaged.FOLDER / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for words in ("10.24432/C50P49", "10.24432/C5DW2B", "CC BY 4.0", "ID column"):
        assert words in text


# ------------------------------------------------------------------------------------------------ local files


def idx(array):
    """The bytes of an IDX file of uint8."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist_arrays():
    """Two parts of five and three images, every byte drawn."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (5, 3)], [
        rng.integers(0, 10, n, dtype=np.uint8) for n in (5, 3)]


def write_mnist(folder, joint="-", packed=False):
    """The four files under one of their usual spellings."""
    images, labels = mnist_arrays()
    for part, image, label in zip(("train", "t10k"), images, labels, strict=True):
        for name, array in ((f"{part}-images{joint}idx3-ubyte", image), (f"{part}-labels{joint}idx1-ubyte", label)):
            content = gzip.compress(idx(array)) if packed else idx(array)
            (folder / (name + (".gz" if packed else ""))).write_bytes(content)


@pytest.mark.parametrize("joint", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_files_are_read_plain_and_packed_under_both_spellings(tmp_path, joint, packed):
    write_mnist(tmp_path, joint, packed)
    images, labels = mnist_arrays()
    for (x, y), image, label in zip(data.mnist(tmp_path), images, labels, strict=True):
        assert x.dtype == np.float32 and y.dtype == np.int64 and y.tolist() == label.tolist()
        assert x.shape == (len(image), 28, 28, 1)
        # pixel / 255 rounded once to float32
        assert np.array_equal(x[..., 0], (image.astype(np.float64) / 255).astype(np.float32))


def test_limit_keeps_the_first_images_of_both_parts(tmp_path):
    write_mnist(tmp_path)
    (x, y), (xt, yt) = data.mnist(tmp_path)
    (x2, y2), (xt2, yt2) = data.mnist(str(tmp_path), limit=2)
    assert np.array_equal(x2, x[:2]) and np.array_equal(yt2, yt[:2]) and len(y2) == len(xt2) == 2
    with pytest.raises(ValueError, match=r"limit must be 1 or more, or None for all, got 0"):
        data.mnist(tmp_path, limit=0)


def test_a_missing_mnist_file_is_named_with_the_folder_searched(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte .*no such file in .*Nothing is ever downl"):
        data.mnist(tmp_path)


BROKEN_IDX = {
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(20), r"must begin with the IDX magic bytes 0, 0, 8, rank .*got \[137, 80"),
    "of floats": (b"\x00\x00\x0d\x01" + bytes(8), r"IDX magic bytes"),
    "rank nine": (b"\x00\x00\x08\x09" + bytes(40), r"IDX magic bytes"),
    "empty": (b"", r"IDX magic bytes 0, 0, 8, rank .*got \[\]"),
    "header cut": (b"\x00\x00\x08\x03\x00\x00", r"must hold 3 sizes after its magic bytes, got a file cut short"),
    "cut": (idx(np.zeros((5, 3), np.uint8))[:-1], r"must hold 15 bytes for its shape \(5, 3\), got"),
    "too long": (idx(np.zeros((5, 3), np.uint8)) + b"x", r"must hold 15 bytes for its shape \(5, 3\), got more"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", BROKEN_IDX)
def test_a_broken_idx_file_is_refused_plain_and_packed(tmp_path, kind, packed):
    content, message = BROKEN_IDX[kind]
    path = tmp_path / "broken"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=message):
        data.read_idx(path)


@pytest.mark.parametrize("cut", [5, 12, 30])
def test_a_gzip_file_cut_short_is_refused(tmp_path, cut):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(idx(np.arange(200, dtype=np.uint8)))[:cut])
    with pytest.raises(ValueError, match=r"cut\.gz must be a whole gzip file, got"):
        data.read_idx(path)


def test_a_gzip_file_with_a_damaged_body_is_refused(tmp_path):
    content = bytearray(gzip.compress(idx(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8))))
    content[-3000:-2990] = bytes(10)
    path = tmp_path / "bad.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.gz must"):
        data.read_idx(path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_promises_gigabytes_is_refused_before_memory_is_taken(tmp_path, packed):
    """2^32 - 1 images of 28x28 in a file of 30 bytes: at most 2 MB may be touched to find out."""
    content = b"\x00\x00\x08\x03" + struct.pack(">3I", 2**32 - 1, 28, 28) + b"abcdefghij"
    path = tmp_path / "hostile"
    path.write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"can not hold more than"):
        data.read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2**20


def test_no_such_idx_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere must be an IDX file, got no such file"):
        data.read_idx(tmp_path / "nowhere")


@pytest.mark.parametrize("name, array, message", [
    ("train-images-idx3-ubyte", np.zeros((5, 14, 14), np.uint8), r"must hold images \(N, 28, 28\), got \(5, 14, 14\)"),
    ("train-images-idx3-ubyte", np.zeros((4, 28, 28), np.uint8), r"images and labels must be as many, got 4 .* and 5"),
    ("train-labels-idx1-ubyte", np.zeros((5, 1), np.uint8), r"must hold labels \(N,\), got \(5, 1\)"),
    ("t10k-labels-idx1-ubyte", np.array([1, 11, 2], np.uint8), r"must lie in 0 to 9, got 11"),
])
def test_mnist_files_that_do_not_fit_together_are_refused(tmp_path, name, array, message):
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(idx(array))
    with pytest.raises(ValueError, match=message):
        data.mnist(tmp_path)


def write_cifar(folder, per_file=3):
    """Six files of drawn records; returns (images NHWC, labels) of all in order."""
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (6, per_file, 3073), dtype=np.uint8)
    records[:, :, 0] %= 10
    for k, name in enumerate([f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]):
        (folder / name).write_bytes(records[k].tobytes())
    return records


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
def test_cifar_records_become_nhwc_images(tmp_path, inner):
    """Byte 1 + 1024 c + 32 i + j of a record is pixel (i, j) of channel c."""
    folder = tmp_path / inner
    folder.mkdir(exist_ok=True)
    records = write_cifar(folder)
    (x, y), (xt, yt) = data.cifar10(tmp_path)
    assert x.shape == (15, 32, 32, 3) and xt.shape == (3, 32, 32, 3) and x.dtype == np.float32
    assert y.tolist() == records[:5, :, 0].ravel().tolist() and yt.tolist() == records[5, :, 0].tolist()
    for n, i, j, c in ((0, 0, 0, 0), (4, 3, 31, 2), (14, 31, 5, 1), (7, 17, 0, 2)):
        byte = records[n // 3, n % 3, 1 + 1024 * c + 32 * i + j]
        assert x[n, i, j, c] == np.float32(byte) / np.float32(255)
    assert np.array_equal(xt[2, 4, 9], records[5, 2, [1 + 137, 1 + 1161, 1 + 2185]].astype(np.float32) / np.float32(255))


def test_a_limit_leaves_later_cifar_files_unopened(tmp_path):
    write_cifar(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    (x, _), (xt, _) = data.cifar10(tmp_path, limit=4)
    assert len(x) == 4 and len(xt) == 3
    with pytest.raises(FileNotFoundError, match=r"data_batch_3\.bin must be in the folder, got no such file in"):
        data.cifar10(tmp_path, limit=7)


@pytest.mark.parametrize("content", [b"", bytes(3072), bytes(3074)])
def test_a_cifar_file_of_broken_records_is_refused(tmp_path, content):
    write_cifar(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(content)
    with pytest.raises(ValueError, match=rf"test_batch\.bin must hold whole records of 3073 bytes, got {len(content)}"):
        data.cifar10(tmp_path)


def test_a_cifar_label_above_nine_is_refused(tmp_path):
    write_cifar(tmp_path)
    (tmp_path / "data_batch_2.bin").write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(ValueError, match=r"data_batch_2\.bin must lie in 0 to 9, got 10"):
        data.cifar10(tmp_path)


# ------------------------------------------------------------------------------------------------- generators


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(name):
    first, again, other = DRAWN[name](3), DRAWN[name](3), DRAWN[name](4)
    from_generator = DRAWN[name](np.random.default_rng(3))
    for a, b, c in zip(first, again, from_generator, strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()
        assert a.dtype in (np.float32, np.int64)
    assert any(a.tobytes() != b.tobytes() for a, b in zip(first, other, strict=True))


def test_drawing_never_touches_the_global_numpy_state():
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    for draw in DRAWN.values():
        draw(1)
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002


def test_signals_follow_their_formulas():
    """Against float64 formulas; the stored value is rounded once to float32, half an ulp of 2 at most."""
    half_ulp = 2.0**-23
    t = np.arange(64) / 64
    for (time, x), formula in (
        (data.sine(64, cycles=3, amplitude=0.5, offset=1), 1 + 0.5 * np.sin(6 * np.pi * t)),
        (data.sum_of_sines(64), np.sin(2 * np.pi * t) + np.sin(10 * np.pi * t) / 2 + np.sin(26 * np.pi * t) / 4),
        (data.chirp(64, start=2, stop=8), np.sin(2 * np.pi * (2 * t + 3 * t**2))),
        (data.decaying_pulse(64), np.exp(-5 * t) * np.cos(12 * np.pi * t)),
    ):
        assert time.tolist() == t.tolist()
        np.testing.assert_allclose(x, formula, rtol=0, atol=half_ulp)


def test_the_sine_task_covers_one_period_without_noise_exactly():
    x, y = data.sine_regression(2000, noise=0.0, seed=5)
    assert x.shape == y.shape == (2000, 1) and 0 <= x.min() < 0.05 and 6.2 < x.max() < 2 * np.pi
    # y is the sine of the float64 x before rounding: |sin'| <= 1, so half an ulp of x (below 8) plus half an ulp of y
    np.testing.assert_allclose(y, np.sin(x.astype(np.float64)), rtol=0, atol=2.0**-22 + 2.0**-25)


def test_glyphs_are_balanced_images_in_the_unit_range():
    x, y = data.glyphs(103, 16, seed=2)
    assert x.shape == (103, 16, 16, 1) and x.min() >= 0 and x.max() <= 1
    assert sorted(np.bincount(y).tolist()) == [10] * 7 + [11] * 3
    assert not np.array_equal(y, np.sort(y))


@pytest.mark.parametrize("size", [8, 28])
def test_every_glyph_shows_ink_and_paper_and_the_classes_differ(size):
    x, y = data.glyphs(10, size, noise=0.0, wobble=0.0)
    assert all(image.max() > 0.95 and image.min() == 0 for image in x)
    flat = x[np.argsort(y)].reshape(10, -1)
    gaps = ((flat[:, None] - flat[None]) ** 2).sum(-1) + 1e9 * np.eye(10)
    # every pair of digits differs in at least three pixels' worth of ink, in 64 or in 784
    assert gaps.min() > 3


def test_a_pixel_far_from_every_stroke_is_paper_and_one_on_a_stroke_is_ink():
    """The stem of the one runs down x = 0.54: at 100 pixels that is column 54 (0.54 to 0.55)."""
    x, y = data.glyphs(10, 100, noise=0.0, wobble=0.0)
    one = x[y == 1][0, ..., 0]
    assert one[20:85, 53:55].min() == 1 and one[:, :25].max() == 0 and one[95:, :].max() > 0.0
    assert np.all(one[97:] == 0) and len(strokes.STROKES) == 10


def test_outlier_channels_are_as_many_and_as_large_as_asked():
    x = data.outlier_channels((4000, 12), outliers=3, factor=64.0, seed=1)
    plain = data.outlier_channels((4000, 12), outliers=0, factor=64.0, seed=1)
    # 4000 Gaussian values: the sample deviation lies within 10 % of 1 at more than eight standard errors
    assert sorted((x.std(0) > 30).tolist()) == [False] * 9 + [True] * 3
    assert abs(plain.std(0) - 1).max() < 0.1


def test_the_rare_class_has_its_share_and_lies_apart():
    x, y = data.imbalanced(1000, positive=0.05, separation=6.0, seed=2)
    assert x.shape == (1000, 8) and int(y.sum()) == 50
    gap = x[y == 1].mean(0) - x[y == 0].mean(0)
    # each of 8 means errs by about 1 / sqrt(50) = 0.14; their length by less than 1
    assert abs(np.sqrt((gap**2).sum()) - 6) < 1
    assert data.imbalanced(10, positive=0.001)[1].sum() == 1 and data.imbalanced(10, positive=0.999)[1].sum() == 9


def test_spiral_arms_without_noise_lie_on_their_spiral():
    x, y = data.spirals(300, classes=3, turns=0.5, noise=0.0, seed=1)
    radius = np.sqrt((x.astype(np.float64) ** 2).sum(1))
    turns = np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi) - 0.5 * radius - y / 3
    assert np.bincount(y).tolist() == [100, 100, 100] and radius.max() <= 1 + 1e-6
    # a float32 point at radius 0.1 or more errs by less than 2^-24 / 0.1 radians
    assert abs(turns - np.round(turns)).max() < 1e-6


REFUSED = {
    "n": (lambda: data.sine(0), r"n must be 1 or more, got 0"),
    "noise": (lambda: data.chirp(noise=-1.0), r"noise must be 0 or more, got -1"),
    "waves": (lambda: data.sum_of_sines(cycles=(1.0,)), r"cycles and amplitudes must be as many, got 1 and 3"),
    "size": (lambda: data.glyphs(5, 4), r"size 6 or more, got n=5, size=4"),
    "wobble": (lambda: data.glyphs(5, 8, wobble=-1), r"noise and wobble must be 0 or more"),
    "shape": (lambda: data.outlier_channels((0, 3)), r"shape must have axes of 1 or more, got \(0, 3\)"),
    "outliers": (lambda: data.outlier_channels((4, 3), outliers=4), r"outliers must lie in 0 to 3, the channels, got 4"),
    "factor": (lambda: data.outlier_channels(factor=0), r"factor must be above 0, got 0"),
    "cases": (lambda: data.imbalanced(1), r"n must be 2 or more and features 1 or more, got n=1"),
    "positive": (lambda: data.imbalanced(positive=1.0), r"positive must lie between 0 and 1, got 1"),
    "separation": (lambda: data.imbalanced(separation=-2), r"separation must be 0 or more, got -2"),
    "classes": (lambda: data.spirals(classes=1), r"classes 2 or more, got n=600, classes=1"),
    "turns": (lambda: data.spirals(turns=0), r"turns must be above 0"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_generator_refuses_what_makes_no_data(what):
    call, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        call()


def test_the_packaged_files_are_small():
    assert sum((packaged.FOLDER / name).stat().st_size for name in packaged.SHA256) < 120_000
