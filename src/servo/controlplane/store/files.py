"""Opening the database file, for one process at a time."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from servo import errors
from servo._posix import fcntl, resource

LONGEST_PATH: Final = 504
"""Bytes that the path of a database may have: of SQLite's 512, the names of its journals."""
SIDE_FILES: Final = ("-wal", "-shm", "-journal")
_OWNER_ONLY: Final = 0o600
_OTHERS: Final = 0o077
_COMMIT: Final = 65536
"""Bytes without which no commit can be expected to fit."""


def lock(path: Path) -> int:
    """Take the lock of a database file, or say who has it."""
    lock_path = path.with_name(path.name + ".lock")
    handle = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY)
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
    """Open a connection whose commits are durable.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def make_private(path: Path) -> None:
    """Let only the owner read a database file, and make it if there is none.

    SQLite gives its journal files the mode of the database file; those that are there already are
    changed as well. A file of somebody else stays as it is: its owner decides.

    Raises:
        OSError: It cannot be made.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY))
    for suffix in ("", *SIDE_FILES):
        one = Path(f"{path}{suffix}")
        with suppress(FileNotFoundError, PermissionError):
            if one.stat().st_mode & _OTHERS:
                one.chmod(_OWNER_ONLY)


def why_not(path: Path, exc: Exception) -> str:
    """Return why a database cannot be opened or written, and what to do about it.

    SQLite says no more than that it is full, or that there was an error, for a disk without room,
    a quota, a limit of the process and a disk that has become read-only.
    """
    name = getattr(exc, "sqlite_errorname", "")
    if "BUSY" in name or "LOCKED" in name:
        return f"{exc}; another process has locked it: end that one, or wait for it"
    length = len(os.fsencode(os.path.realpath(path)))
    if length > LONGEST_PATH:
        return (
            f"its path has {length} bytes, and SQLite takes no more than {LONGEST_PATH}; move the "
            "project to a shorter one"
        )
    with suppress(OSError):
        disk = os.statvfs(path.parent)
        if disk.f_flag & os.ST_RDONLY:
            return "its disk is read-only; make it writable"
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        files = [Path(f"{path}{suffix}") for suffix in ("", *SIDE_FILES)]
        largest = max((one.stat().st_size for one in files if one.exists()), default=0)
        if limit != resource.RLIM_INFINITY and largest + _COMMIT > limit:
            return f"files of this process may have {limit:,} bytes at most; raise it (ulimit -f)"
        if "FULL" in name or disk.f_bavail * disk.f_frsize < _COMMIT:
            return "no space left for the database; free some on its disk"
    return f"{exc}; check the disk, its quota, and the rights on its folder"
