"""Files are written whole or not at all: whoever is interrupted leaves the old file as it was.

With this module one can write bytes to a path atomically (`write_atomically`).
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file through a temporary one beside it, which then takes its name.

    Raises OSError as `open` would, and leaves neither a half-written file nor the temporary one behind.
    """
    # A link is kept, and what it points at is replaced.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except FileExistsError:
        raise
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.filename != str(temporary):
            raise
        # Whoever reads the message knows the file, not the temporary one.
        raise type(error)(error.errno, error.strerror, str(target)) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
