"""What yoyo-migrations works with: connections that Servo has opened itself.

The library would build its own from a URL, where a path with a ``#``, a ``?`` or a ``%`` means
another file. It would also ask who the user is and what the machine is called, for a log that
Servo does not read; a number that has no name, as containers have it, is an error there.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.backends.core.sqlite3 import SQLiteBackend
from yoyo.connections import parse_uri

from servo.controlplane.store import files, postgres_connection

_TABLE = "_yoyo_migration"


def backend(database: Path | str) -> Any:
    """Return what applies migrations to a database, connected as everything else is.

    Args:
        database: The path of a SQLite file, or the URL of a PostgreSQL database.

    Raises:
        sqlite3.Error: The file cannot be opened.
        servo.errors.UnavailableError: The server does not answer.
    """
    make = _sqlite_backend if isinstance(database, Path) else _postgres_backend
    found = make(database)
    found.init_database()
    return found


class _Nameless:
    """Mixed into a backend: the log has nobody's name."""

    def get_log_data(self, migration: Any = None, operation: str = "apply") -> dict[str, Any]:
        """Return a row of the log."""
        return {
            "id": str(uuid.uuid4()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": "",
            "hostname": "",
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }


def _sqlite_backend(path: Any) -> Any:
    class Backend(_Nameless, SQLiteBackend):  # type: ignore[misc]  # yoyo has no types
        """Writes moments as text itself: that sqlite3 does so is deprecated."""

        def connect(self, dburi: object) -> object:
            del dburi
            return files.connect(path)

        def execute(self, sql: str, params: Any = None) -> Any:
            given = {name: _plain(value) for name, value in (params or {}).items()}
            return super().execute(sql, given)

    return Backend(parse_uri("sqlite:///"), _TABLE)


def _plain(value: object) -> object:
    return value.isoformat(" ") if isinstance(value, datetime) else value


def _postgres_backend(url: Any) -> Any:
    class Backend(_Nameless, PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no types
        """Takes every URL that libpq takes."""

        def connect(self, dburi: object) -> object:
            del dburi
            return postgres_connection.connect(url)

    return Backend(parse_uri("postgresql+psycopg:///"), _TABLE)
