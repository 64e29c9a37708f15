"""The room where models leave and enter: .tflite files, which microcontrollers run, and archives of our own.

Read `flatbuffer` (bytes that are believed only after a check), `tflite_schema` (how an operator lies in a file), then
`tflite_reader` and `tflite_writer`; `archive` is the package's own format, `graph_archive` what of a graph goes into it.
`c_writer` writes C99 sources: `c_nodes` says what a node is in C, `c_memory` where activations lie, the folder `c` has
the loops.
"""

from tinyquant.integer.registry import register_writer
from tinyquant.interop.archive import ArchiveError, load, read_archive, register_kind, write_archive
from tinyquant.interop.c_writer import c_sources, save_c
from tinyquant.interop.fake_quant_archive import load_fake_quant, save_fake_quant
from tinyquant.interop.flatbuffer import TFLiteError
from tinyquant.interop.graph_archive import graph_from_archive, graph_to_archive, load_integer, save_integer
from tinyquant.interop.tflite_reader import load_tflite
from tinyquant.interop.tflite_writer import save_tflite, tflite_bytes
from tinyquant.quantization.model import register_writer as register_fake_quant_writer

__all__ = [
    "ArchiveError",
    "TFLiteError",
    "c_sources",
    "graph_from_archive",
    "graph_to_archive",
    "load",
    "load_tflite",
    "read_archive",
    "register_kind",
    "save_c",
    "save_fake_quant",
    "save_integer",
    "save_tflite",
    "tflite_bytes",
    "write_archive",
]

register_kind("integer", load_integer)
register_kind("fake_quant", load_fake_quant)
register_fake_quant_writer("npz", save_fake_quant)
register_writer("c", save_c)
register_writer("npz", save_integer)
register_writer("tflite", save_tflite)
