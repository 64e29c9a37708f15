"""A FlatBuffers file as plain records, read with every offset checked and written back from the same declaration.

A FlatBuffers file is tables that point at each other: a table starts with the distance to its *vtable*, which says
where in the table each field lies. All of these distances are numbers in the file, and a damaged or hostile file may
say anything. The official package trusts them; here each is held against the file before it is followed.

With this module one can declare a table as a dataclass (`slot`), read it (`Decoder`) and write it (`encode`). The
layouts of numbers and the building of files are the official `flatbuffers` package's; the checks are ours.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import field, fields
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np

__all__ = ["Decoder", "TFLiteError", "encode", "require_flatbuffers", "slot"]

SCALARS = {
    "bool": ("BoolFlags", "Bool", "|b1"),
    "int8": ("Int8Flags", "Int8", "|i1"),
    "uint8": ("Uint8Flags", "Uint8", "|u1"),
    "int32": ("Int32Flags", "Int32", "<i4"),
    "uint32": ("Uint32Flags", "Uint32", "<u4"),
    "int64": ("Int64Flags", "Int64", "<i8"),
    "uint64": ("Uint64Flags", "Uint64", "<u8"),
    "float32": ("Float32Flags", "Float32", "<f4"),
}
"""Kind -> (the package's name for its layout, the middle of the Builder's method, numpy's spelling)."""

Record = TypeVar("Record")


class TFLiteError(ValueError):
    """A .tflite file that cannot be loaded, or a model that cannot be written as one; the message is one sentence or two."""


def require_flatbuffers() -> Any:
    """The official package; an ImportError that says what to install when it is not there."""
    try:
        import flatbuffers
        import flatbuffers.encode
        import flatbuffers.number_types
    except ImportError as error:
        raise ImportError(
            "reading and writing .tflite files needs the flatbuffers package: "
            'run `pip install "tinyquant-labs[tflite]"`, or `pip install ".[tflite]"` in a clone.'
        ) from error
    return flatbuffers


def slot(number: int, kind: Any, default: Any = None, *, align: int = 1) -> Any:
    """A field of a table: its place in the vtable, its kind, and its value when the file leaves it out.

    Kinds: a key of `SCALARS`; "string"; "union" (a table whose class another field tells: read as its position or
    None, written from a record); a dataclass (a table or None); a list of one of these (a vector: of scalars an
    array, of tables a list). `align` is that of a vector's first element, in bytes.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Point:
    ...     x: int = slot(0, "int32", 7)
    ...     name: str = slot(1, "string")
    >>> Point()
    Point(x=7, name='')
    """
    settings = {"slot": number, "kind": kind, "align": align}
    if isinstance(kind, list):
        if isinstance(kind[0], str):
            return field(default_factory=lambda: np.zeros(0, SCALARS[kind[0]][2]), metadata=settings)
        return field(default_factory=list, metadata=settings)
    if isinstance(kind, str) and kind not in ("string", "union"):
        default = np.dtype(SCALARS[kind][2]).type(default or 0).item()
    return field(default="" if kind == "string" else default, metadata=settings)


@cache
def _plan(record: Hashable) -> tuple[tuple[str, int, Any, Any, int], ...]:
    """(name, slot, kind, default, alignment) of every field of a declared table."""
    return tuple(
        (f.name, f.metadata["slot"], f.metadata["kind"], f.default, f.metadata["align"]) for f in fields(cast(Any, record))
    )


class Decoder:
    """Reads declared tables out of bytes, and refuses with a `TFLiteError` whatever leads outside of them.

    Declarations do not nest in circles, so neither can the reading. Tables may be pointed at many times over, which
    would let a small file stand for a huge one: what is read in all may be at most `reuse` times the file.
    """

    reuse = 2

    def __init__(self, data: bytes) -> None:
        package = require_flatbuffers()
        self._get = package.encode.Get
        self._flags = {kind: getattr(package.number_types, names[0]) for kind, names in SCALARS.items()}
        self._offset, self._vtable_entry = package.number_types.UOffsetTFlags, package.number_types.VOffsetTFlags
        self._data = data
        self._left = self.reuse * len(data)

    def root(self, record: type[Record], identifier: bytes) -> Record:
        """The table that the file starts with; the four bytes after its offset must be `identifier`."""
        if len(self._data) < 8 or self._data[4:8] != identifier:
            raise TFLiteError(
                f"a .tflite file must carry {identifier.decode()} in bytes 4 to 7, got {self._data[4:8]!r} in a file of "
                f"{len(self._data)} bytes. Check that this is the model file."
            )
        return self.table(self._follow(0), record)

    def table(self, position: int, record: type[Record]) -> Record:
        """The table at a position of the file, and all tables that it points at."""
        vtable = position - self._number(self._flags["int32"], position)
        entries = self._number(self._vtable_entry, vtable)
        size = self._number(self._vtable_entry, vtable + 2)
        self._inside(vtable, entries)
        self._inside(position, size)
        if entries < 4 or size < 4:
            raise self._damaged(f"a table of {size} bytes with a vtable of {entries}", position)
        self._spend(size)
        values = {}
        for name, number, kind, _, _ in _plan(cast(Hashable, record)):
            entry = 4 + 2 * number
            distance = self._number(self._vtable_entry, vtable + entry) if entry + 2 <= entries else 0
            if distance:
                width = self._flags[kind].bytewidth if isinstance(kind, str) and kind in self._flags else 4
                if distance + width > size:
                    raise self._damaged(f"field {name} outside of its table of {size} bytes", position + distance)
                values[name] = self._value(position + distance, kind)
        return record(**values)

    def _value(self, at: int, kind: Any) -> Any:
        """The field whose number or offset lies at `at`."""
        if isinstance(kind, list):
            return self._vector(self._follow(at), kind[0])
        if isinstance(kind, type):
            return self.table(self._follow(at), kind)
        if kind == "union":
            return self._follow(at)
        if kind == "string":
            return self._vector(self._follow(at), "uint8").tobytes().decode("utf-8", "replace")
        return self._number(self._flags[kind], at)

    def _vector(self, at: int, item: Any) -> Any:
        """The vector at `at`: numbers as a view of the file, tables as a list."""
        count = self._number(self._flags["uint32"], at)
        start, width = at + 4, self._flags[item].bytewidth if isinstance(item, str) else 4
        self._inside(start, count * width)
        self._spend(4 + count * width)
        if isinstance(item, str):
            return np.frombuffer(self._data, SCALARS[item][2], count, start)
        return [self.table(self._follow(start + 4 * i), item) for i in range(count)]

    def _follow(self, at: int) -> int:
        """Where the offset at `at` points."""
        distance = self._number(self._offset, at)
        self._inside(at + distance, 4)
        return at + distance

    def _number(self, flags: Any, at: int) -> Any:
        """One number of the file."""
        self._inside(at, flags.bytewidth)
        return self._get(flags.packer_type, self._data, at)

    def _inside(self, at: int, count: int) -> None:
        """Refuse bytes that the file does not have."""
        if at < 0 or at + count > len(self._data):
            raise self._damaged(f"{count} bytes", at)

    def _spend(self, count: int) -> None:
        """Refuse a file whose parts add up to more than `reuse` times the file."""
        self._left -= count
        if self._left < 0:
            raise TFLiteError(
                f"the parts of a .tflite file must add up to at most {self.reuse} times its {len(self._data)} bytes, "
                "got more: the same parts are pointed at over and over. The file is damaged."
            )

    def _damaged(self, what: str, at: int) -> TFLiteError:
        return TFLiteError(
            f"a .tflite file must keep all its parts inside itself, got {what} at byte {at} of {len(self._data)}. "
            "The file is damaged or cut short."
        )


def encode(record: Any, identifier: bytes) -> bytes:
    """A declared table and all below it as a file, which `Decoder(content).root(type(record), identifier)` reads.

    Empty vectors, empty strings, None and numbers that equal their default are left out: the reader puts them back.
    """
    builder = require_flatbuffers().Builder(1024)
    builder.Finish(_build(builder, record), identifier)
    return bytes(builder.Output())


def _build(builder: Any, record: Any) -> int:
    """Write a table, what it points at first; its offset."""
    plan = _plan(cast(Hashable, type(record)))
    values = [(entry, _child(builder, getattr(record, entry[0]), entry[2], entry[4])) for entry in plan]
    builder.StartObject(1 + max((entry[1] for entry in plan), default=-1))
    for (_, number, kind, default, _), value in values:
        if isinstance(kind, str) and kind in SCALARS:
            getattr(builder, f"Prepend{SCALARS[kind][1]}Slot")(number, value, default)
        elif value is not None:
            builder.PrependUOffsetTRelativeSlot(number, value, 0)
    return int(builder.EndObject())


def _child(builder: Any, value: Any, kind: Any, align: int) -> Any:
    """A number itself; of anything else, written now, the offset."""
    if isinstance(kind, str) and kind in SCALARS:
        return np.dtype(SCALARS[kind][2]).type(value).item()
    if value is None or (isinstance(kind, list) or kind == "string") and len(value) == 0:
        return None
    if kind == "string":
        return builder.CreateString(value)
    if not isinstance(kind, list):
        return _build(builder, value)
    if isinstance(kind[0], str):
        array = np.asarray(value, SCALARS[kind[0]][2])
        builder.Prep(max(align, array.itemsize), array.nbytes)
        return builder.CreateNumpyVector(array)
    offsets = [_build(builder, item) for item in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
