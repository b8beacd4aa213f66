"""Connecting to PostgreSQL, and the lock that one control plane at a time holds there."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

from servo import _extras, errors
from servo.controlplane.store import address

if TYPE_CHECKING:
    from types import ModuleType

    import psycopg

    Connection = psycopg.Connection[Any]

LEAD_LOCK: Final = 0x5345_5256_4F01
"""The advisory lock of the database that whoever schedules, or migrates, holds."""

FENCED: Final = "SV001"
"""The SQLSTATE with which the database refuses what an older epoch writes."""

RETRY_AFTER: Final = 1.0
"""Seconds after which asking again makes sense when the database was away."""

_SYMBOL_FOR_NUL: Final = "\u2400"
_DEFAULTS: Final = {
    "application_name": "servo",
    "connect_timeout": "5",
    # A server that vanished without a word is noticed in seconds, not in hours.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


def driver() -> ModuleType:
    """Return the driver's module.

    Raises:
        servo.errors.ConfigurationError: It is not installed.
    """
    with _extras.needing("psycopg", "a postgresql:// database"):
        try:
            import psycopg
        except ModuleNotFoundError:
            raise
        except ImportError as exc:  # its library is missing: psycopg says which it has tried
            raise errors.ConfigurationError(
                f"psycopg cannot be loaded: {exc}",
                code="MISSING_EXTRA",
                hint=f"Install it with its library: {_extras.remedy('psycopg')}.",
            ) from exc
    return psycopg


def conninfo(url: str) -> str:
    """Return what libpq is given: the URL, and what it leaves open.

    Raises:
        servo.errors.ConfigurationError: It is no URL that libpq understands.
    """
    problems = driver().ProgrammingError
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    try:
        given: dict[str, Any] = conninfo_to_dict(url)
    except problems as exc:
        raise errors.ConfigurationError(
            f"the database {address.masked(url)!r} is no URL that PostgreSQL's library "
            f"understands: {address.without_secrets(str(exc), url).strip()}",
            code="DATABASE_INVALID",
        ) from None
    return make_conninfo(**{**_DEFAULTS, **given})


def connect(url: str) -> Connection:
    """Connect, committing each statement by itself.

    Raises:
        servo.errors.ConfigurationError: It is no URL that libpq understands.
        servo.errors.UnavailableError: The server cannot be reached, or does not let us in.
    """
    info, problems = conninfo(url), driver().OperationalError
    import psycopg

    try:
        connection = psycopg.connect(info, autocommit=True)
    except problems as exc:
        refuse(exc, url)
    connection.adapters.register_dumper(str, text_dumper())
    return connection


@cache
def text_dumper() -> type[psycopg.adapt.Dumper]:
    """Return what sends text. PostgreSQL has no NUL in it; what a caller gave must not stop others.

    Only what lies in columns of its own is changed, to be found or shown; records are bytes.
    """
    from psycopg.adapt import Dumper

    class TextDumper(Dumper):
        def dump(self, obj: str) -> bytes:
            return obj.replace("\0", _SYMBOL_FOR_NUL).encode()

    return TextDumper


def reason(exc: Exception, url: str) -> str:
    """Return what the server or the driver says, on one line, without secrets and without rows."""
    said = getattr(getattr(exc, "diag", None), "message_primary", None) or str(exc)
    return " ".join(address.without_secrets(said, url).split()) or type(exc).__name__


def refuse(exc: Exception, url: str) -> NoReturn:
    """Say that the database does not answer."""
    # Without its cause: what the driver says may show the password.
    raise errors.UnavailableError(
        f"the database {address.masked(url)!r} does not answer: {reason(exc, url)}; "
        "check that the server runs, and the URL",
        code="DATABASE_UNAVAILABLE",
        retry_after=RETRY_AFTER,
    ) from None


def take_lead(connection: Connection) -> bool:
    """Take the lock for as long as the connection lives; tell whether it was free."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [LEAD_LOCK]).fetchone()
    return bool(row and row[0])


def applied(connection: Connection) -> list[str]:
    """Return the migrations that a database has, in order."""
    table = connection.execute("SELECT to_regclass('_yoyo_migration')").fetchone()
    if table is None or table[0] is None:
        return []
    return [
        row[0]
        for row in connection.execute(
            'SELECT migration_id FROM _yoyo_migration ORDER BY migration_id COLLATE "C"'
        )
    ]
