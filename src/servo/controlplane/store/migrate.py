"""Bringing a database to the schema of this version, with yoyo-migrations.

The migrations are the ordered files of ``migrations/`` (SQLite) and ``postgres_migrations/``; they
only ever go forward. A SQLite file belongs to one process, which migrates it when it opens it; a
PostgreSQL database is used by several, so it is migrated when somebody asks for it. The library
is loaded only when there is something to apply, since it takes longer to import than the control
plane takes to start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

from servo import errors
from servo.controlplane.store import address


def known(database: Path | str) -> dict[str, Path]:
    """Return the migrations that this version of Servo has for a kind of database, in order."""
    name = "migrations" if isinstance(database, Path) else "postgres_migrations"
    folder = Path(str(resources.files("servo.controlplane.store"))) / name
    return {path.stem: path for path in sorted(folder.glob("*.sql"))}


def applied(database: Path | str) -> list[str]:
    """Return the migrations that a database has, in order; the last one names its schema.

    Raises:
        servo.errors.UnavailableError: The server does not answer.
    """
    if isinstance(database, Path):
        return _applied_to_file(database)
    from servo.controlplane.store import postgres_connection

    with postgres_connection.connect(database) as connection:
        return postgres_connection.applied(connection)


def pending(database: Path | str, found: Iterable[str] | None = None) -> list[str]:
    """Return the migrations that a database lacks, in order.

    Args:
        database: The database.
        found: What `applied` returned, where that is known already.

    Raises:
        servo.errors.ConfigurationError: The database was written by a newer version of Servo.
        servo.errors.UnavailableError: The server does not answer.
    """
    has, files = set(applied(database) if found is None else found), known(database)
    if unknown := sorted(has - files.keys()):
        raise errors.ConfigurationError(
            f"the database {address.masked(database)!r} has the migration {unknown[-1]!r}, which "
            "this version of Servo does not know; upgrade Servo",
            code="DATABASE_TOO_NEW",
        )
    return [name for name in files if name not in has]


def migrate(database: Path | str, *, up_to: str = "") -> list[str]:
    """Apply the migrations that a database lacks; return their names.

    Whoever calls it for a SQLite file holds the file's lock.

    Args:
        database: The database.
        up_to: The last migration to apply; empty for all of them.

    Raises:
        servo.errors.ConfigurationError: The database was written by a newer version of Servo, or
            a control plane is at work on it.
        servo.errors.UnavailableError: The server does not answer.
    """
    if isinstance(database, Path):
        names = [name for name in pending(database) if name <= (up_to or name)]
        if names:
            import yoyo

            _apply(yoyo.get_backend(f"sqlite:///{database}"), known(database), names)
        return names
    from servo.controlplane.store import postgres_connection

    with postgres_connection.connect(database) as connection:
        if not postgres_connection.take_lead(connection):
            raise errors.ConfigurationError(
                f"a control plane is at work on the database {address.masked(database)!r}; stop "
                "every control plane that uses it, then migrate",
                code="DATABASE_IN_USE",
            )
        found = postgres_connection.applied(connection)
        names = [name for name in pending(database, found) if name <= (up_to or name)]
        if names:
            _apply(postgres_connection.yoyo_backend(database), known(database), names)
        return names


def _applied_to_file(path: Path) -> list[str]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute("SELECT migration_id FROM _yoyo_migration").fetchall()
        except sqlite3.OperationalError:
            return []
        return sorted(row[0] for row in rows)


def _apply(backend: Any, files: dict[str, Path], names: Iterable[str]) -> None:
    import yoyo

    wanted = set(names)
    try:
        # Nobody else can be migrating: a lock in the table is one that a killed process left.
        backend.break_lock()
        with backend.lock():
            migrations = yoyo.read_migrations(str(next(iter(files.values())).parent))
            chosen = migrations.filter(lambda migration: migration.id in wanted)
            for migration in backend.to_apply(chosen):
                # The library would note in a second transaction that it is done: a process that
                # is killed in between would leave a database that no process can open any more.
                with backend.transaction():
                    migration.process_steps(backend, "apply")
                    backend.log_migration(migration, "apply")
                    backend.mark_one(migration, log=False)
    finally:
        backend.connection.close()
