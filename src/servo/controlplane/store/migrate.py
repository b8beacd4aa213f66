"""Bringing a database to the schema of this version, with yoyo-migrations.

The migrations are the ordered files of ``migrations/`` (SQLite) and ``postgres_migrations/``; they
only ever go forward. A SQLite file belongs to one process, which migrates it when it opens it; a
PostgreSQL database is used by several, so it is migrated when somebody asks for it. The library
is loaded only when there is something to apply, since it takes longer to import than the control
plane takes to start.
"""

from __future__ import annotations

import sqlite3
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from servo import errors
from servo.controlplane.store import address, admission


def known(database: Path | str) -> dict[str, str]:
    """Return the migrations that this version of Servo has for a kind of database, in order.

    Returns:
        The text of each by its name.

    Raises:
        servo.errors.ConfigurationError: There is none: the installation is not complete.
    """
    folder = _folder(database)
    found = {
        item.name.removesuffix(".sql"): item.read_text(encoding="utf-8")
        for item in (folder.iterdir() if folder.is_dir() else ())
        if item.name.endswith(".sql")
    }
    if not found:
        raise errors.ConfigurationError(
            f"this installation of Servo lacks its migrations ({folder}); a program that packs "
            "Servo must pack its data files too (PyInstaller: --collect-data servo)",
            code="MIGRATIONS_MISSING",
        )
    return dict(sorted(found.items()))


def _folder(database: Path | str) -> Traversable:
    name = "migrations" if isinstance(database, Path) else "postgres_migrations"
    return resources.files("servo.controlplane.store").joinpath(name)


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
            _apply(database, names)
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
            _apply(database, names)
        return names


def _applied_to_file(path: Path) -> list[str]:
    if not path.exists():
        return []
    with closing(admission.connect(path)) as connection:
        try:
            rows = connection.execute("SELECT migration_id FROM _yoyo_migration").fetchall()
        except sqlite3.OperationalError:
            return []
        return sorted(row[0] for row in rows)


def _apply(database: Path | str, names: Iterable[str]) -> None:
    wanted = set(names)
    with warnings.catch_warnings(), _on_disk(database) as folder:
        # The library opens files without an encoding; migrations are ASCII.
        warnings.simplefilter("ignore", EncodingWarning)
        import yoyo

        from servo.controlplane.store import yoyo_backends

        backend = yoyo_backends.backend(database)
        try:
            # Nobody else can be migrating: a lock in the table is one that a killed process left.
            backend.break_lock()
            with backend.lock():
                chosen = yoyo.read_migrations(str(folder)).filter(lambda one: one.id in wanted)
                for migration in backend.to_apply(chosen):
                    # The library would note in a second transaction that it is done: a process that
                    # is killed in between would leave a database that no process can open any more.
                    with backend.transaction():
                        migration.process_steps(backend, "apply")
                        backend.log_migration(migration, "apply")
                        backend.mark_one(migration, log=False)
        finally:
            backend.connection.close()


@contextmanager
def _on_disk(database: Path | str) -> Iterator[Path]:
    """Give the migrations as files, which an installation in a zip does not have."""
    found = _folder(database)
    if isinstance(found, Path):
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="servo-") as name:
        for migration, text in known(database).items():
            (Path(name) / f"{migration}.sql").write_text(text, encoding="utf-8")
        yield Path(name)
