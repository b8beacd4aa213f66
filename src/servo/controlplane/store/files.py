"""Opening the database file, for one process at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from servo import errors


def lock(path: Path) -> int:
    """Take the lock of a database file, or say who has it."""
    lock_path = path.with_name(path.name + ".lock")
    handle = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        owner = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise errors.ConfigurationError(
            f"the database {str(path)!r} is in use by another control plane (process {owner}); "
            "stop that one, or connect to it instead",
            code="DATABASE_IN_USE",
            context={"process": owner},
        ) from exc
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection whose commits are durable."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection
