"""Writing a file in one step: a reader sees the old contents or the new, never a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["write"]


def write(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace a file durably; when anything fails, the old one stays.

    Args:
        path: The file; its directory exists.
        data: All of its new contents.
        mode: Its permissions. When left out it keeps those it has, and a new file gets what the
            process's umask gives to new files. At no time are they wider than that.

    Raises:
        OSError: It cannot be written.
    """
    # mkstemp makes the file with mode 0600 before anything is in it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_mode_of(path) if mode is None else mode)
        temporary.replace(path)
    except BaseException:  # also an interrupt; raised again
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _mode_of(path: Path) -> int:
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask
