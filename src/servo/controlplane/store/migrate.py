"""Bringing a database to the schema of this version, with yoyo-migrations.

The migrations are the ordered files of ``migrations/``; they only ever go forward. The library
is loaded only when there is something to apply, since it takes longer to import than the control
plane takes to start.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

from servo import errors


def _files() -> dict[str, Path]:
    folder = Path(str(resources.files("servo.controlplane.store"))) / "migrations"
    return {path.stem: path for path in sorted(folder.glob("*.sql"))}


def _applied(path: Path) -> set[str]:
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute("SELECT migration_id FROM _yoyo_migration").fetchall()
        except sqlite3.OperationalError:
            return set()
        return {row[0] for row in rows}


def migrate(path: Path) -> None:
    """Apply the migrations that a database lacks. The caller holds the database's lock.

    Raises:
        servo.errors.ConfigurationError: The database was written by a newer version of Servo.
    """
    known, applied = _files(), _applied(path)
    if unknown := sorted(applied - known.keys()):
        raise errors.ConfigurationError(
            f"the database {str(path)!r} has the migration {unknown[-1]!r}, which this version of "
            "Servo does not know; upgrade Servo",
            code="DATABASE_TOO_NEW",
        )
    if applied == known.keys():
        return
    import yoyo

    backend = yoyo.get_backend(f"sqlite:///{path}")
    try:
        # Nobody else can be migrating: a lock in the table is one that a killed process left.
        backend.break_lock()
        with backend.lock():
            migrations = yoyo.read_migrations(str(next(iter(known.values())).parent))
            backend.apply_migrations(backend.to_apply(migrations))
    finally:
        backend.connection.close()
