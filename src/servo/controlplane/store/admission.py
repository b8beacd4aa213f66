"""Who may use a SQLite database file, and how it is opened without being changed."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from servo import errors
from servo.controlplane.store import address, files

_LOCK_PATIENCE: Final = 2.0
_LOCK_RETRY: Final = 0.05


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a SQLite file.

    A control plane in the background leaves shortly after the last command that used it, so the
    lock is waited for a moment.

    Raises:
        servo.errors.ConfigurationError: A control plane has it; the message says which process.
    """
    handle = _lock(path)
    try:
        yield
    finally:
        os.close(handle)


def require_file(path: Path) -> None:
    """Check that there is a database file.

    Raises:
        servo.errors.ConfigurationError: There is none.
    """
    if not path.is_file():
        raise errors.ConfigurationError(
            f"there is no database {str(path)!r}; name another one with --database. A project "
            "gets its own with the first `servo deploy` or `servo run`",
            code="DATABASE_MISSING",
        )


def connect(path: Path) -> sqlite3.Connection:
    """Open a database file that exists.

    On a disk that cannot be written it is read as it is, as long as nothing of it is still in a
    journal.

    Raises:
        servo.errors.ConfigurationError: There is none.
        servo.errors.FilesystemError: It cannot be opened here, because nothing can be written.
        sqlite3.Error: It cannot be opened, or is no database.
    """
    require_file(path)
    # Not as a control plane does: one that only looks at a backup leaves its bytes as they are.
    connection = _open(path, "mode=rw") if not is_read_only(path) else _open_read_only(path)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # Temporary tables may have a row for each of millions of tasks.
    connection.execute("PRAGMA temp_store = FILE")
    return connection


def is_read_only(path: Path) -> bool:
    """Whether a database file, or the folder that its journals go to, cannot be written."""
    return not (os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK))


def _open_read_only(path: Path) -> sqlite3.Connection:
    connection = _open(path, "mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as exc:
        connection.close()
        journals = [Path(f"{path}{suffix}") for suffix in ("-wal", "-journal")]
        left = [one.name for one in journals if one.exists() and one.stat().st_size]
        if left:
            raise errors.FilesystemError(
                f"the database {str(path)!r} cannot be opened here: nothing can be written, and "
                f"what was recorded last is in {left[0]!r}, which has to be put in first",
                code="DATABASE_READ_ONLY",
            ) from exc
        return _open(path, "immutable=1")
    return connection


def _open(path: Path, options: str) -> sqlite3.Connection:
    name = f"{path.absolute().as_uri()}?{options}"
    return sqlite3.connect(name, uri=True, isolation_level=None, timeout=5)


def _lock(path: Path) -> int:
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            return files.lock(path)
        except OSError as exc:
            raise errors.FilesystemError(
                f"the lock of the database {str(path)!r} cannot be taken: {exc.strerror}; nothing "
                "was changed. Check the disk and the rights on the folder",
                code="DATABASE_UNUSABLE",
            ) from exc
        except errors.ConfigurationError as exc:
            if time.monotonic() > deadline:
                process = str(exc.context.get("process", "unknown"))
                raise in_use(path, f"the control plane of process {process}") from exc
            time.sleep(_LOCK_RETRY)


def in_use(location: Path | str, by: str) -> errors.ConfigurationError:
    """Return what is said of a database that somebody else is at work on.

    Args:
        location: The path of the file, or the URL.
        by: Who that is.
    """
    stop = (
        "stop that process (Ctrl-C in `servo dev`; a control plane in the background ends with its "
        "last run)"
        if isinstance(location, Path)
        else "stop every control plane that uses it"
    )
    return errors.ConfigurationError(
        f"the database {address.masked(location)!r} is in use by {by}; {stop}, then try again",
        code="DATABASE_IN_USE",
    )
