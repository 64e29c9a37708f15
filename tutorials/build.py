"""Makes from the sources what lies beside them: the executed notebooks of the pages, and the labs with their blanks.

    python tutorials/build.py            all of it
    python tutorials/build.py 01 05      only these sittings

`tutorials/NN_name.py` is the source of a page, `tinyquant/labs/sources/NN_name.py` that of a lab (with its solutions).
Needs the extra `notebooks`. `tests/test_tutorials.py` holds the copies to their sources.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

# As the tests run: the order of float sums depends on the number of threads.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_name, "1")

import nbclient
import nbformat

from tinyquant.interop.files import write_atomically
from tinyquant.labs.sittings import sittings
from tinyquant.labs.sources import starter
from tinyquant.labs.workplace import notebook_of

HERE = Path(__file__).resolve().parent


def executed(text: str) -> str:
    """A percent script as an executed notebook, in a folder of its own; nothing in it tells when or where it was run."""
    book = nbformat.reads(notebook_of(text), as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(
            book, timeout=120, kernel_name="python3", coalesce_streams=True, resources={"metadata": {"path": folder}}
        ).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)
    book.metadata["language_info"] = {"name": "python"}
    return nbformat.writes(book).rstrip("\n") + "\n"


def main(wanted: list[str]) -> None:
    """Make what is asked for, one line each."""
    (HERE / "labs").mkdir(exist_ok=True)
    for sitting in sittings():
        if wanted and f"{sitting.number:02d}" not in wanted:
            continue
        start = time.perf_counter()
        blank = starter(sitting)
        page = (HERE / f"{sitting.name}.py").read_text(encoding="utf-8")
        for path, text in (
            (HERE / "labs" / f"{sitting.name}.py", blank),
            (HERE / "labs" / f"{sitting.name}.ipynb", notebook_of(blank)),
            (HERE / f"{sitting.name}.ipynb", executed(page)),
        ):
            write_atomically(path, text.encode("utf-8"))
        print(f"{sitting.name}: {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
