"""Copies of a SQLite database: made while it is in use, and put back in its place."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from servo import errors
from servo.controlplane.store import migrate
from servo.controlplane.store.admission import connect, locked, require_file
from servo.controlplane.store.maintenance import Progress, silent
from servo.types.ids import DeploymentId

_PAGES_AT_ONCE: Final = 2000
_OWNER_ONLY: Final = 0o600
_SIDE_FILES: Final = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied.

    Attributes:
        size: How large the copy is, bytes.
        schema: The last migration that it has.
        kept: Where the database is that was there before; `None` if there was none.
    """

    size: int
    schema: str
    kept: Path | None = None


def back_up(
    database: Path, target: Path, *, replace: bool = False, progress: Progress = silent
) -> Copied:
    """Copy a database as it is at one moment, while control planes may be at work on it.

    Args:
        database: The database.
        target: The copy. It appears when it is complete and was verified, not before.
        replace: Whether the copy may take the place of a file.
        progress: Told how far it is.

    Raises:
        servo.errors.ConfigurationError: There is no database, or the target exists.
        servo.errors.FilesystemError: The copy cannot be made, or is not sound.
    """
    require_file(database)
    if target.exists() and (not replace or target.samefile(database)):
        what = "is the database itself" if target.samefile(database) else "exists already"
        raise errors.ConfigurationError(
            f"{str(target)!r} {what}; name another file"
            + ("" if target.samefile(database) else ", or replace it with --force"),
            code="BACKUP_EXISTS",
        )
    with _failures(f"cannot back up {str(database)!r} to {str(target)!r}"):
        with _temporary_beside(target) as temporary:
            _copy(database, temporary, progress)
            progress("verifying", 0, 0)
            schema = verify(temporary)
            temporary.replace(target)
        _sync(target.parent)
        return Copied(target.stat().st_size, schema)


def restore(
    backup: Path, database: Path, *, replace: bool = False, progress: Progress = silent
) -> Copied:
    """Put a copy in the place of a database.

    The restored database gets an id of its own: what workers still do was begun under another
    history, whose fencing tokens will be given out again.

    Args:
        backup: The copy.
        database: Where it goes. A database that is there is kept beside it.
        replace: Whether there may be one.
        progress: Told how far it is.

    Raises:
        servo.errors.ConfigurationError: There is no such copy, a newer version of Servo made it,
            there is a database already, or a control plane is at work on that.
        servo.errors.FilesystemError: The copy is not sound, or cannot be put there.
    """
    require_file(backup)
    if database.exists() and (not replace or database.samefile(backup)):
        what = "is the backup itself" if database.samefile(backup) else "exists already"
        raise errors.ConfigurationError(
            f"the database {str(database)!r} {what}"
            + ("" if database.samefile(backup) else "; --force replaces it and keeps it beside"),
            code="DATABASE_EXISTS",
        )
    with _failures(f"cannot restore {str(backup)!r} to {str(database)!r}"):
        database.parent.mkdir(parents=True, exist_ok=True)
        with locked(database), _temporary_beside(database) as temporary:
            progress("verifying", 0, 0)
            schema = verify(backup)
            _copy(backup, temporary, progress)
            _renew(temporary)
            kept = _keep(database) if database.exists() else None
            temporary.replace(database)
            _sync(database.parent)
        return Copied(database.stat().st_size, schema, kept)


def verify(path: Path) -> str:
    """Check that a file is a sound database of Servo; return the last migration that it has.

    Raises:
        servo.errors.ConfigurationError: A newer version of Servo made it.
        servo.errors.FilesystemError: It is damaged, or something else.
    """
    try:
        with closing(connect(path)) as connection:
            said = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
            connection.execute("SELECT value FROM store_info WHERE name = 'store_id'").fetchone()
    except sqlite3.DatabaseError as exc:
        raise errors.FilesystemError(
            f"{str(path)!r} is no sound database of Servo: {exc}; use another backup",
            code="BACKUP_UNUSABLE",
        ) from exc
    if said != ["ok"]:
        raise errors.FilesystemError(
            f"{str(path)!r} is damaged: {'; '.join(said)}; use another backup",
            code="BACKUP_UNUSABLE",
        )
    migrate.pending(path)
    return migrate.applied(path)[-1]


def _copy(source: Path, target: Path, progress: Progress) -> None:
    with closing(connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
        # Of one moment: without the transaction SQLite begins anew whenever something is written.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        reading.backup(
            writing,
            pages=_PAGES_AT_ONCE,
            progress=lambda _, left, total: progress("copying pages", total - left, total),
            sleep=0,
        )
        # One file, complete by itself; a control plane sets it back when it opens it.
        writing.execute("PRAGMA journal_mode = DELETE")
    handle = os.open(target, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _renew(path: Path) -> None:
    with closing(connect(path)) as connection:
        connection.execute(
            "UPDATE store_info SET value = ? WHERE name = 'store_id'",
            [str(DeploymentId.generate())],
        )


def _keep(database: Path) -> Path:
    """Let a database stay under another name as well, complete by itself."""
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    kept = database.with_name(f"{database.name}.before-restore-{moment}")
    with suppress(sqlite3.Error), closing(connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    # One that is damaged may have a journal still, which must not be taken for the new one's.
    for suffix in _SIDE_FILES:
        with suppress(FileNotFoundError):
            Path(f"{database}{suffix}").replace(f"{kept}{suffix}")
    os.link(database, kept)
    return kept


@contextmanager
def _temporary_beside(target: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    os.fchmod(handle, _OWNER_ONLY)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        for suffix in ("", "-journal", *_SIDE_FILES):
            Path(f"{temporary}{suffix}").unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as exc:
        raise errors.FilesystemError(
            f"{what}: {exc}; nothing was changed. Check the disk and the rights on the folder",
            code="BACKUP_FAILED",
        ) from exc
