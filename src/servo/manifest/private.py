"""Files and directories that only their owner may use, whatever the process's umask says."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

__all__ = ["directory", "open_append", "tighten"]

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def directory(path: Path) -> None:
    """Make a directory for its owner only; one that is there is narrowed to that.

    Directories above it are made as usual.

    Args:
        path: The directory.

    Raises:
        OSError: It cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=stat.S_IRWXU)
    except FileExistsError:
        _narrow(path)


def open_append(path: Path) -> int:
    """Open a file for appending and return the descriptor; only its owner may read it.

    Raises:
        OSError: It cannot be opened.
    """
    handle = os.open(
        path,
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0),
        stat.S_IRUSR | stat.S_IWUSR,
    )
    _narrow(path)
    return handle


def tighten(path: Path, *, leave: frozenset[str] = frozenset()) -> None:
    """Narrow a directory and the files directly in it to their owner.

    Args:
        path: The directory.
        leave: Names of files that others may read.
    """
    _narrow(path)
    with contextlib.suppress(OSError), os.scandir(path) as found:
        for entry in found:
            if entry.name not in leave and entry.is_file(follow_symlinks=False):
                _narrow(Path(entry.path))


def _narrow(path: Path) -> None:
    # Those of another user are that user's to narrow; a link is what it leads to.
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        if mode & _OTHERS:
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
