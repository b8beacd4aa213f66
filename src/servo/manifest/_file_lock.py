"""A lock between processes on a file beside the one that it protects."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from servo import errors

PATIENCE_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.02


@contextmanager
def exclusive(path: Path, *, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the lock for as long as the block runs; the kernel frees it if the process dies.

    Args:
        path: The lock's own file, made when needed and kept: deleting it would let two
            processes hold two different locks of the same name.
        patience_seconds: How long to wait for another process.

    Raises:
        LockfileError: Another process held it for that long.
        ConfigurationError: The platform has no such locks.
        OSError: The file cannot be opened.
    """
    from servo._posix import fcntl  # late: what only reads a lockfile works everywhere

    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise errors.LockfileError(
                        f"another process has held {str(path)!r} for {patience_seconds:g} s; "
                        f"wait for the other servo command to end, or end it, and try again",
                        code="LOCKFILE_BUSY",
                    ) from error
                time.sleep(_PAUSE_SECONDS)
        yield
    finally:
        os.close(handle)
