"""The package's own file: what goes in comes out, numpy and unzip can look inside, and no damaged file does anything."""

from __future__ import annotations

import copy
import io
import json
import pickle
import random
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_cases import golden_case, golden_names
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from interop_cases import HALF, Sketchbook, differences, small_inputs, small_model

from tinyquant.graph import Graph, Node, Value
from tinyquant.integer.model import IntegerModel
from tinyquant.interop import ArchiveError, load, read_archive, register_kind, save_integer, write_archive
from tinyquant.interop.archive import ARCHIVE_VERSION, DTYPES
from tinyquant.interop.graph_archive import graph_from_archive, graph_to_archive
from tinyquant.numerics.qparams import QParams

SMALL = small_model()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of the small model."""
    path = tmp_path_factory.mktemp("archive") / "m.npz"
    save_integer(IntegerModel(SMALL), path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of a model of one node."""
    path = tmp_path_factory.mktemp("archive") / "m.npz"
    save_integer(IntegerModel(one_node()), path)
    return path.read_bytes()


@pytest.fixture
def reading(tmp_path: Path) -> Callable[[bytes], Any]:
    """Loads bytes as a file, and sees that the folder is left as it was."""

    def read(data: bytes) -> Any:
        path = tmp_path / "damaged.npz"
        path.write_bytes(data)
        try:
            return load(path)
        finally:
            assert path.read_bytes() == data and [p.name for p in tmp_path.iterdir()] == ["damaged.npz"]

    return read


def one_node() -> Graph:
    """A FULLY_CONNECTED of two units."""
    book = Sketchbook()
    x = book.input("x", (1, 3))
    return book.graph(
        book.node("y", "FULLY_CONNECTED", (x,), (1, 2), weight=book.weight(2, 3), bias=book.bias(2), weight_qp=book.scales(2, 0))
    )


def rezipped(data: bytes, change: Callable[[dict[str, bytes]], object]) -> bytes:
    """The archive with its members changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def with_header(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The archive with its header changed."""

    def of_members(members: dict[str, bytes]) -> None:
        header = json.loads(members["header.json"])
        change(header)
        members["header.json"] = json.dumps(header).encode()

    return rezipped(data, of_members)


# What goes in comes out


def test_the_type_saved_is_the_type_loaded_and_runs_to_the_same_bytes(tmp_path: Path) -> None:
    model = IntegerModel(SMALL)
    model.save(tmp_path / "m.npz")
    loaded = load(tmp_path / "m.npz")
    assert type(loaded) is IntegerModel and loaded.nbytes == model.nbytes
    ours, theirs = model.trace(small_inputs()), loaded.trace(small_inputs())
    assert list(ours) == list(theirs)
    assert [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()] == []


@pytest.mark.parametrize("name", golden_names())
def test_every_golden_operator_comes_back_whole(name: str, tmp_path: Path) -> None:
    graph = golden_case(name).graph
    save_integer(IntegerModel(graph), tmp_path / "m.npz")
    loaded = load(tmp_path / "m.npz").graph
    assert differences(graph, loaded) == []
    assert [dict(a.param_qparams) for a in graph] == [dict(b.param_qparams) for b in loaded]


def test_every_field_of_a_node_comes_back() -> None:
    """Also of a float graph, with what it absorbed, and names that no file system would take."""
    rng = np.random.default_rng(0)
    x = Value("x\x00/..\\:\u20ac", (1, 4, 4, 2), np.dtype(np.float32))
    norm = {key: rng.normal(0, 1, 2).astype(np.float32) for key in ("gamma", "beta", "mean", "variance")}
    nodes = (
        Node(
            "a/b.c#2", "CONV_2D", (x.name,), (1, 4, 4, 2), {"padding": "same", "activation": "relu"},
            {"weight": rng.normal(0, 1, (2, 3, 3, 2)), "bias": np.float32([1e-40, -0.0])}, QParams(0.1, -3, -8, 7),
            {"weight": QParams(rng.uniform(1, 2, 2), [0, 1], -7, 7, 0)}, np.dtype(np.float32), ("a/bn", "a/relu"),
        ),
        Node("bn", "BATCH_NORM", ("a/b.c#2",), (1, 4, 4, 2), {"eps": 1e-3}, norm),
        Node("pad", "PAD", ("bn",), (1, 6, 4, 2), {"paddings": ((0, 0), (1, 1), (0, 0), (0, 0))}),
        Node("leaky", "LEAKY_RELU", ("pad",), (1, 6, 4, 2), {"alpha": 0.1}),
    )  # fmt: skip
    graph = Graph((x,), nodes, ("leaky", "bn"))
    header, arrays = graph_to_archive(graph)
    back = graph_from_archive(json.loads(json.dumps(header)), {key: array.copy() for key, array in arrays.items()})
    assert differences(graph, back) == []
    assert [node.absorbed for node in back] == [("a/bn", "a/relu"), (), (), ()]
    assert back.nodes[0].param_qparams == graph.nodes[0].param_qparams and back.nodes[0].params["weight"].dtype == np.float64


keys = st.from_regex(r"[A-Za-z0-9_]{1,8}(/[a-z0-9.\-]{1,8})?", fullmatch=True).filter(lambda key: ".." not in key)
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5)
leaves |= st.floats(allow_nan=False, allow_infinity=False)
pages = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6
)
words = st.text(max_size=5).filter(lambda key: key not in ("format", "version", "kind"))


@given(
    arrays=st.dictionaries(keys, st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, shapes)), max_size=4),
    header=st.dictionaries(words, pages, max_size=3),
)
def test_any_header_and_any_arrays_come_back_bit_for_bit(
    arrays: dict[str, np.ndarray], header: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.npz"
    write_archive(path, "numbers", header, arrays)
    kind, page, back = read_archive(path)
    assert kind == "numbers" and page == header and back.keys() == arrays.keys()
    for key, array in arrays.items():
        assert (back[key].dtype, back[key].shape, back[key].tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert back[key].flags.writeable or back[key].size == 0


def test_layout_and_byte_order_of_an_array_do_not_matter(tmp_path: Path) -> None:
    square = np.arange(12, dtype=np.int32).reshape(3, 4)
    given = {"fortran": np.asfortranarray(square), "big": square.astype(">i4"), "strided": square[::2, ::-1]}
    given["scalar"] = np.array(0.5, np.float32)
    write_archive(tmp_path / "a.npz", "numbers", {}, given)
    _, _, back = read_archive(tmp_path / "a.npz")
    assert {key: array.tolist() for key, array in back.items()} == {key: array.tolist() for key, array in given.items()}
    assert {array.dtype.str for array in back.values()} == {"<i4", "<f4"}


def test_numpy_and_unzip_can_look_inside(saved: bytes) -> None:
    with np.load(io.BytesIO(saved), allow_pickle=False) as archive:
        assert archive["graph/0/weight"].tolist() == SMALL.nodes[0].params["weight"].tolist()
    with zipfile.ZipFile(io.BytesIO(saved)) as file:
        header = json.loads(file.read("header.json"))
    assert (header["format"], header["version"], header["kind"]) == ("tinyquant", ARCHIVE_VERSION, "integer")
    assert header["graph"]["nodes"][0]["name"] == "conv;relu"
    assert list(header)[:3] == ["format", "version", "kind"]


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, saved: bytes) -> None:
    save_integer(IntegerModel(small_model()), tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == saved
    with zipfile.ZipFile(io.BytesIO(saved)) as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_kind_can_be_taught(tmp_path: Path) -> None:
    register_kind("lesson", lambda header, arrays: (header["title"], arrays["x"].sum()))
    write_archive(tmp_path / "a.npz", "lesson", {"title": "steps"}, {"x": np.arange(4)})
    assert load(tmp_path / "a.npz") == ("steps", 6)


# Writing


@pytest.mark.parametrize(
    ("header", "arrays", "match"),
    [
        ({"kind": 3, "version": 1}, {}, r"must leave the keys .* to the archive, got \['kind', 'version'\]"),
        ({"x": float("nan")}, {}, "header must be JSON"),
        ({"x": np.float32(1)}, {}, "header must be JSON"),
        ({}, {"x": np.array([{}], object)}, "arrays must hold numbers or booleans, got object under 'x'"),
        ({}, {"x": np.array(["a"])}, "arrays must hold numbers or booleans, got <U1 under 'x'"),
        ({}, {"x": np.array([1j])}, "arrays must hold numbers or booleans, got complex128"),
        ({}, {"../x": np.zeros(1)}, "array keys must be letters, digits and _ . - /, got '../x'"),
        ({}, {"/x": np.zeros(1)}, "array keys must be"),
        ({}, {"a\\b": np.zeros(1)}, "array keys must be"),
        ({}, {"": np.zeros(1)}, "array keys must be"),
    ],
)
def test_what_an_archive_cannot_hold_is_refused_and_the_old_file_stays(
    header: dict[str, Any], arrays: dict[str, np.ndarray], match: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")
    with pytest.raises((ValueError, TypeError), match=match):
        write_archive(path, "numbers", header, arrays)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    write_archive(path, "numbers", {"n": 1}, {})
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_archive(path, "numbers", {"n": 2}, {})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.npz"]


# Reading what should not be read


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("version", "match"),
    [
        (ARCHIVE_VERSION + 1, rf"at most {ARCHIVE_VERSION}, got {ARCHIVE_VERSION + 1}: a later tinyquant .* Upgrade"),
        (0, "must give a version from 1, got 0"),
        ("1", "must give a version from 1, got '1'"),
        (True, "must give a version from 1, got True"),
        (None, "must give a version from 1, got None"),
    ],
)
def test_other_versions_are_refused(version: Any, match: str, tiny: bytes, reading: Callable[[bytes], Any]) -> None:
    with pytest.raises(ArchiveError, match=match):
        reading(with_header(tiny, lambda header: header.update(version=version)))


def test_foreign_files_are_refused_with_a_sentence(tiny: bytes, reading: Callable[[bytes], Any]) -> None:
    def foreign(save: Callable[..., None], **arrays: Any) -> bytes:
        buffer = io.BytesIO()
        save(buffer, **arrays)
        return buffer.getvalue()

    for data, match in (
        (b"", "'damaged.npz': an archive must be a sound zip file"),
        (b"hello, world", "an archive must be a sound zip file"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(40), "got a .tflite file. Load it with load_tflite"),
        (pickle.dumps({"format": "tinyquant"}), "an archive must be a sound zip file"),
        (foreign(np.savez, x=np.arange(3)), "must have a member header.json, got none. Only files that tinyquant saved"),
        (foreign(np.savez_compressed, x=np.arange(3)), "must be uncompressed, got compressed members. Save it with tinyquant"),
        (with_header(tiny, lambda header: header.update(format="other")), "must say format 'tinyquant' and a kind"),
        (with_header(tiny, lambda header: header.pop("kind")), "must say format 'tinyquant' and a kind"),
        (with_header(tiny, lambda header: header.update(kind="music")), "of kind .*integer.*, got kind 'music'"),
    ):
        with pytest.raises(ArchiveError, match=match):
            reading(data)


@pytest.mark.parametrize(
    ("page", "match"),
    [
        (b"{", "the header must be JSON"),
        (b"[" * 100_000, "the header must be JSON"),
        (b"\xff\xfe", "the header must be JSON"),
        (b'{"format": "tinyquant", "version": 1, "kind": "integer", "x": NaN}', "the header must be JSON.*NaN"),
        (b'{"x": ' + b"9" * 5000 + b"}", "the header must"),
        (b"[]", "must say format 'tinyquant'"),
        (b"3", "must say format 'tinyquant'"),
        (b'{"format": "tinyquant", "version": 1, "kind": ["integer"]}', "must say format 'tinyquant'"),
    ],
)
def test_headers_that_are_none_are_refused(page: bytes, match: str, tiny: bytes, reading: Callable[[bytes], Any]) -> None:
    with pytest.raises(ArchiveError, match=match):
        reading(rezipped(tiny, lambda members: members.update({"header.json": page})))


def test_a_header_of_any_length_is_not_parsed(
    tiny: bytes, reading: Callable[[bytes], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinyquant.interop.archive.LARGEST_HEADER", 100)
    with pytest.raises(ArchiveError, match="the header must be at most 100 bytes, got"):
        reading(tiny)


def npy(description: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An .npy file that says what it is told to."""
    text = description.encode() + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps([1])),
        npy("{'descr': '<i4', 'fortran_order': True, 'shape': (1,), }", bytes(4)),
        npy("{'descr': '>i4', 'fortran_order': False, 'shape': (1,), }", bytes(4)),
        npy("{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }", bytes(4)),
        npy("{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }", bytes(8)),
        npy("{'descr': '<i4', 'fortran_order': False, 'shape': (9999999999, 9999999999), }", bytes(4)),
        npy("{'descr': '<i4', 'fortran_order': False, 'shape': (-1,), }", bytes(4)),
        npy("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1,), }", bytes(4)),
        npy("{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }", bytes(4)),
        npy("__import__('os').system('true')"),
        npy("{'descr': '<i4', 'fortran_order': False, 'shape': (" + "1, " * 40 + "), }", bytes(4)),
        npy("{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }", bytes(4), b"\x02\x00"),
    ],
)
def test_members_that_are_not_plain_arrays_are_refused_before_they_are_made(
    content: bytes, tiny: bytes, reading: Callable[[bytes], Any]
) -> None:
    with pytest.raises(ArchiveError, match="member 'graph/0/bias.npy' must"):
        reading(rezipped(tiny, lambda members: members.update({"graph/0/bias.npy": content})))


def test_nothing_is_unpickled_even_when_a_pickle_is_inside(tiny: bytes, reading: Callable[[bytes], Any]) -> None:
    opened: list[str] = []

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return opened.append, ("executed",)

    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], object), allow_pickle=True)
    with pytest.raises(ArchiveError):
        reading(rezipped(tiny, lambda members: members.update({"graph/0/bias.npy": buffer.getvalue()})))
    assert opened == []


def test_a_zip_that_claims_to_be_huge_takes_no_memory(tiny: bytes, reading: Callable[[bytes], Any]) -> None:
    """Sizes in the directory changed to 4 GB; and 128 MB of zeros, compressed to 128 kB."""
    place = tiny.index(b"PK\x01\x02")
    lie = bytearray(tiny)
    lie[place + 20 : place + 28] = b"\xf0\xff\xff\xff" * 2
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file, file.open("header.json", "w") as member:
        for _ in range(32):
            member.write(bytes(2**22))
    bomb = buffer.getvalue()
    for data in (bytes(lie), bomb):
        tracemalloc.start()
        start = time.perf_counter()
        with pytest.raises(ArchiveError):
            reading(data)
        seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * len(data) + 2**20 and seconds < 2, (peak, seconds)


def nested(count: int, core: bytes) -> bytes:
    """A zip whose members overlap: each holds all that follow it, local headers included, every checksum right."""
    content, entries = core, []
    for i in reversed(range(count)):
        name = f"a{i:02}.npy".encode()
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, zlib.crc32(content), len(content), len(content), len(name), 0)
        content = b"PK\x03\x04" + fields + name + content
        entries.append((fields, name, len(content)))
    directory = b"".join(
        b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, len(content) - size) + name
        for fields, name, size in entries
    )
    return content + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(content), 0)


def test_members_that_overlap_cannot_add_up_to_more_than_the_file(reading: Callable[[bytes], Any]) -> None:
    """Forty members that are one another's content: 68 kB that stand for 2.6 MB."""
    with zipfile.ZipFile(io.BytesIO(nested(1, b"core"))) as file:
        assert file.read("a00.npy") == b"core"
    with pytest.raises(ArchiveError, match="the members must fit into the file's"):
        reading(nested(40, bytes(2**16)))


def test_two_members_of_one_name_are_refused(tiny: bytes, reading: Callable[[bytes], Any]) -> None:
    buffer = io.BytesIO(tiny)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(buffer, "a") as file:
        file.writestr("header.json", b"{}")
    with pytest.raises(ArchiveError, match="members must have names of their own"):
        reading(buffer.getvalue())


# Damage


def test_a_file_cut_anywhere_is_refused(tiny: bytes, reading: Callable[[bytes], Any]) -> None:
    for length in range(0, len(tiny), 3):
        with pytest.raises(ArchiveError):
            reading(tiny[:length])


@given(writes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=5))
def test_bytes_written_over_load_or_are_refused(
    writes: list[tuple[int, int]], tiny: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(tiny)
    for place, value in writes:
        damaged[place % len(tiny)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(bytes(damaged))
    try:
        load(path)
    except ArchiveError:
        pass


ODDITIES: list[Any] = [None, True, -1, 0, 1, 2, 10**30, 0.5, 1e308, [], {}, [0], [1, 3], {"a": 1}, [[1, 2]]]
ODDITIES += ["", "x", "y", "int8", "float32", "RELU", "CONSTANT", "graph/0/bias"]


def wander(page: Any, rng: random.Random) -> None:
    """Change one thing somewhere in a header."""
    keys = list(page) if isinstance(page, dict) else list(range(len(page)))
    if not keys:
        return
    key = rng.choice(keys)
    if isinstance(page[key], (dict, list)) and page[key] and rng.random() < 0.8:
        wander(page[key], rng)
    elif rng.random() < 0.2:
        del page[key]
    else:
        page[key] = copy.deepcopy(rng.choice(ODDITIES))


@given(seed=st.integers(0, 2**32), times=st.integers(1, 3))
def test_sound_archives_that_mean_nonsense_load_or_are_refused(
    seed: int, times: int, saved: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Damage to the header's meaning, with every checksum right."""
    rng = random.Random(seed)
    path = tmp_path_factory.getbasetemp() / "nonsense.npz"

    def change(header: dict[str, Any]) -> None:
        for _ in range(times):
            wander(header["graph"], rng)

    path.write_bytes(with_header(saved, change))
    try:
        load(path)
    except ArchiveError:
        pass


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda page: page["nodes"][0].pop("op"), "nothing under 'op'"),
        (lambda page: page["nodes"][0].update(op="DANCE"), "op must be one of"),
        (lambda page: page["nodes"][0].update(shape=[1, 2.0]), r"\[1, 2.0\] where a shape must be"),
        (lambda page: page["nodes"][0].update(dtype="object"), "'object' where a dtype must be"),
        (lambda page: page["nodes"][0].update(name=3), "3 where a string must be"),
        (lambda page: page["nodes"][0].update(params=["weight", "gamma"]), "nothing under 'graph/0/gamma'"),
        (lambda page: page["nodes"][0].update(inputs=["z"]), r"got \['z'\]"),
        (lambda page: page["nodes"][0]["param_qparams"].update(weight=None), "a parameter without scale"),
        (lambda page: page["nodes"][0]["qparams"].update(scale=0), "scale must be positive"),
        (lambda page: page["nodes"][0]["qparams"].update(scale=1e300), r"a scale must be within float32, got 1e\+300 at 'y'"),
        (lambda page: page["inputs"][0]["qparams"].update(scale=1e-300), "a scale must be within float32, got 1e-300 at 'x'"),
        (lambda page: page["nodes"][0].update(shape=[1, 5]), r"must be the one the operator makes, \(1, 2\), got \(1, 5\)"),
        (lambda page: page["inputs"][0].update(shape=[1, 0]), "each with cells"),
        (lambda page: page.update(outputs=["q"]), r"outputs must be made by the graph, got \['q'\]"),
        (lambda page: page.update(outputs=[]), "must have inputs and outputs"),
        (lambda page: page.update(nodes=3), "the archive must describe a graph"),
    ],
)
def test_a_header_that_describes_no_sound_graph_is_refused_with_the_reason(
    change: Callable[[dict[str, Any]], object], match: str, tiny: bytes, reading: Callable[[bytes], Any]
) -> None:
    assert differences(reading(with_header(tiny, lambda header: None)).graph, one_node()) == []
    with pytest.raises(ArchiveError, match=match) as caught:
        reading(with_header(tiny, lambda header: change(header["graph"])))
    assert str(caught.value).startswith("'damaged.npz'")


def test_qparams_of_all_kinds_come_back() -> None:
    book = Sketchbook()
    graph = book.graph(book.node("y", "RELU", (book.input("x", (1, 4)),), (1, 4), HALF))
    back = graph_from_archive(*graph_to_archive(graph))
    assert back.inputs[0].qparams == HALF and back.nodes[0].qparams == HALF
