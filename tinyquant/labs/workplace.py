"""The student's folder: where the labs lie, what has been passed, and how to carry it all elsewhere.

Nothing is ever written into the package, no file of the student's is overwritten without a copy, and a folder that cannot be
written to costs the memory of what was passed, not the check. With this module one can find the folder (`lab_folder`), begin a
lab (`begin`), remember (`Progress`), and pack and unpack everything (`save_all`, `restore_all`).
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyquant.interop.files import write_atomically
from tinyquant.labs.exercise import Bug, Item, Sitting
from tinyquant.labs.sittings import in_order, sitting_of, sittings
from tinyquant.labs.sources import starter

__all__ = [
    "STATE",
    "Progress",
    "begin",
    "lab_file",
    "lab_folder",
    "next_open",
    "notebook_of",
    "restore_all",
    "save_all",
    "what_is_next",
]

STATE = ".tinyquant.json"
"""The file that remembers, in the student's folder."""

_FORMAT, _VERSION = "tinyquant labs", 1
_KEPT = re.compile(r"(\d\d_[A-Za-z0-9_-]+\.(py|ipynb)|\.tinyquant\.json)(\.bak\d*)?")
"""The files that `lab save` packs and `lab restore` unpacks."""


def lab_folder(start: Path | None = None) -> Path:
    """Where the labs lie: ``labs`` in this folder, whether it is there yet or not; this folder itself if it is called so, or
    keeps a memory already. (The pages bear the same names as the labs, so that a file's name says nothing.)"""
    here = Path.cwd() if start is None else start
    mine = here.name == "labs" or ((here / STATE).exists() and not (here / "labs").is_dir())
    return here if mine else here / "labs"


def lab_file(sitting: Sitting, folder: Path) -> Path | None:
    """The student's file of a lab: of a script and a notebook the one changed last; None if there is none."""
    found = [
        path for path in (folder / f"{sitting.name}.py", folder / f"{sitting.name}.ipynb") if path.exists()
    ]
    return max(found, key=lambda path: path.stat().st_mtime) if found else None


def begin(
    sitting: Sitting, folder: Path, *, notebook: bool = False, force: bool = False
) -> tuple[Path, Path | None]:
    """Write the starter of a lab into the folder; the path, and the path of the copy of what was there before.

    Raises
    ------
    FileExistsError
        It is there already, and ``force`` is off.
    ImportError
        A notebook was asked for and jupytext is not installed.
    """
    path = folder / f"{sitting.name}.{'ipynb' if notebook else 'py'}"
    text = notebook_of(starter(sitting)) if notebook else starter(sitting)
    kept = None
    if path.exists():
        if not force:
            raise FileExistsError(
                f"{path} is there already and is left as it is. To begin again: --force (a copy is kept)."
            )
        kept = _beside(path)
        write_atomically(kept, path.read_bytes())
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode("utf-8"))
    return path, kept


def _beside(path: Path) -> Path:
    """A free name for a copy: ``01_signal.py.bak``, ``.bak2``, ..."""
    names = [path.with_name(path.name + ".bak")] + [
        path.with_name(f"{path.name}.bak{n}") for n in range(2, 1000)
    ]
    return next(name for name in names if not name.exists())


def notebook_of(text: str) -> str:
    """A percent script as the text of a notebook, not run; cells are named by their place, so that it is the same each time.

    Raises
    ------
    ImportError
        jupytext is not installed.
    """
    try:
        import jupytext
    except ImportError:
        raise ImportError(
            "a notebook is made with jupytext, which is not installed. Install it with: python -m pip install jupytext; "
            "or work in the .py file."
        ) from None
    book = jupytext.reads(text, fmt="py:percent")
    book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                     "language_info": {"name": "python"}}  # fmt: skip
    for number, cell in enumerate(book.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
    return str(jupytext.writes(book, fmt="ipynb", version=4)).rstrip("\n") + "\n"


@dataclass
class Progress:
    """What a student has passed, asked for and guessed, kept in one small file.

    Attributes
    ----------
    folder : Path
    passed, gave_up : sets of exercise numbers
    hints : dict of exercise number to how many were shown
    predictions : dict of key to (question, guess)
    trouble : str
        A sentence when the file could not be read or written; "" otherwise.
    """

    folder: Path
    passed: set[str] = field(default_factory=set)
    gave_up: set[str] = field(default_factory=set)
    hints: dict[str, int] = field(default_factory=dict)
    predictions: dict[str, list[Any]] = field(default_factory=dict)
    trouble: str = ""

    @classmethod
    def read(cls, folder: Path) -> Progress:
        """What is remembered in a folder. A file that cannot be read is set aside, never lost, and said so."""
        path = folder / STATE
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls(folder)
        except (OSError, UnicodeDecodeError) as error:
            return cls(
                folder, trouble=f"{path} cannot be read ({error}); passed exercises count again once checked."
            )
        try:
            kept = json.loads(text)
            if kept["format"] != _FORMAT or kept["version"] != _VERSION:
                raise ValueError(f"format {kept['format']!r}, version {kept['version']!r}")
            lists, tables = (kept["passed"], kept["gave_up"]), (kept["hints"], kept["predictions"])
            if not all(isinstance(one, list) for one in lists) or not all(
                isinstance(one, dict) for one in tables
            ):
                raise TypeError("lists and tables")
            if not all(isinstance(count, int) for count in kept["hints"].values()):
                raise TypeError("hints are counted")
            return cls(folder, set(kept["passed"]), set(kept["gave_up"]), *tables)
        except (ValueError, KeyError, TypeError, AttributeError):
            aside = _beside(path)
            try:
                path.replace(aside)
            except OSError:
                aside = path
            return cls(
                folder,
                trouble=f"{STATE} was broken and is kept as {aside.name}; passed exercises count again once checked.",
            )

    def write(self) -> None:
        """Keep it; a folder that cannot be written to is noted in ``trouble``."""
        kept = {"format": _FORMAT, "version": _VERSION, "passed": sorted(self.passed), "gave_up": sorted(self.gave_up),
                "hints": self.hints, "predictions": self.predictions}  # fmt: skip
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / STATE, (json.dumps(kept, indent=1) + "\n").encode("utf-8"))
        except OSError as error:
            self.trouble = f"progress is not kept: {self.folder} cannot be written to ({error.strerror})."


def next_open(progress: Progress) -> tuple[Sitting, Item] | None:
    """The first exercise not passed yet in a lab that has been started; stretch exercises come after the required ones."""
    for sitting in sittings():
        if lab_file(sitting, progress.folder) is None:
            continue
        for item in in_order(sitting):
            if item.number not in progress.passed:
                return sitting, item
    return None


def what_is_next(item: Item, progress: Progress) -> str:
    """The line below a passed exercise: the first of its sitting that is not passed yet, or that all are."""
    sitting = sitting_of(item)
    for one in in_order(sitting):
        if one.number not in progress.passed:
            what = "stretch" if one.stretch else "find the bug" if isinstance(one, Bug) else "write"
            return f"  next     {one.number} {what}: {one.function}"
    return f"  next     all of sitting {sitting.number} is passed: tinyquant lab"


def save_all(folder: Path, target: Path) -> list[str]:
    """Pack the student's files and what is remembered into one zip; the names packed.

    Raises
    ------
    FileNotFoundError
        There is nothing to pack.
    ValueError
        The target is no name of a zip: a lab's own file must not be written over.
    """
    if target.suffix.lower() != ".zip":
        raise ValueError(
            f"file must be the name of a zip to write, got {target}. Name one: tinyquant lab save mine.zip"
        )
    names = (
        sorted(path.name for path in folder.glob("*") if _KEPT.fullmatch(path.name))
        if folder.is_dir()
        else []
    )
    if not names:
        raise FileNotFoundError(
            f"no lab lies in {folder}: there is nothing to save. Begin one with: tinyquant lab start 1"
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, (folder / name).read_bytes())
    write_atomically(target, packed.getvalue())
    return names


def restore_all(packed: Path, folder: Path) -> tuple[list[str], list[str]]:
    """Unpack a zip of `save_all`; the names written, and the names of copies kept of files that were different.

    Raises
    ------
    ValueError
        It is no such zip. Nothing is written then.
    """
    if not packed.is_file():
        raise FileNotFoundError(
            f"{packed} is not there. Where your labs are, make it with: tinyquant lab save"
        )
    try:
        with zipfile.ZipFile(packed) as archive:
            files = {info.filename: archive.read(info) for info in archive.infolist()}
    except (zipfile.BadZipFile, RuntimeError) as error:
        raise ValueError(
            f"{packed} must be a zip made by `tinyquant lab save`, got something else ({error}). Save again."
        ) from None
    foreign = [name for name in files if not _KEPT.fullmatch(name)]
    if foreign or not files:
        raise ValueError(
            f"{packed} must hold labs only, got {foreign[:1] or 'nothing'}. Take the zip that `tinyquant lab save` wrote."
        )
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for name, data in files.items():
        path = folder / name
        if path.exists() and path.read_bytes() != data:
            copy = _beside(path)
            write_atomically(copy, path.read_bytes())
            kept.append(copy.name)
        write_atomically(path, data)
    return sorted(files), kept
