"""A database as its administrator has it: one connection, beside or instead of a control plane."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosql

from servo import _wire, errors
from servo.controlplane.store import address, admission, migrate, postgres_connection, seals
from servo.controlplane.store.postgres import PostgresStore, require_schema
from servo.controlplane.store.sqlite import SqliteStore

_T = TypeVar("_T")

PAGE: Final = 1000
"""How many rows are read at once."""

_RAISE_EPOCH: Final = "UPDATE leader SET epoch = epoch + 1, address = ''"

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: unknown)."""


def silent(what: str, done: int, total: int) -> None:
    """Take note of no progress."""


@dataclass(frozen=True, slots=True)
class Maintained:
    """A database that is open.

    Attributes:
        location: The path of the file, or the URL.
        db: The connection, which commits each statement by itself outside of `transaction`.
        sql: The named queries of ``maintenance.sql``.
        verbs: The named queries that the store has.
        sealed_after: Up to which id runs and deployments may have records without a check sum.
    """

    location: Path | str
    db: Any
    sql: Any
    verbs: Any
    sealed_after: dict[str, str] = field(default_factory=dict)

    @property
    def is_file(self) -> bool:
        """Whether it is a SQLite file."""
        return isinstance(self.location, Path)

    @property
    def name(self) -> str:
        """What people may see of where it is."""
        return address.masked(self.location)

    def intact(
        self, kind: type[_T], record: bytes, *, run: str = "", deployment: str = ""
    ) -> _T | None:
        """Return what a record holds; `None` where it is not what was written.

        Args:
            kind: What it is.
            record: The record.
            run: The run that it belongs to, if there is one.
            deployment: The deployment, if it is one's.
        """
        is_intact = seals.is_intact(bytes(record))
        if is_intact is None:
            newer = (
                run > self.sealed_after["sealed_after_run"]
                if run
                else bool(deployment) and deployment > self.sealed_after["sealed_after_deployment"]
            )
            is_intact = not newer
        return decoded(kind, record) if is_intact else None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do what a block does wholly or not at all."""
        if not self.is_file:
            with self.db.transaction():
                yield
            return
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:  # also an interrupt; raised again
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let a block see one moment of the database, and keep nothing of what it writes."""
        repeatable = "BEGIN" if self.is_file else "BEGIN ISOLATION LEVEL REPEATABLE READ"
        self.db.execute(repeatable)
        try:
            yield
        finally:
            self.db.execute("ROLLBACK")


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace as its row says.

    Attributes:
        number: The store's number of it.
        name: How people call it: tenant and workspace.
        current_deployment_id: Its current deployment, if it has one.
        history_after: Up to where its history was forgotten.
    """

    number: int
    name: str
    current_deployment_id: str
    history_after: int


def workspaces(database: Maintained) -> list[Workspace]:
    """Return every workspace."""
    return [
        Workspace(int(number), f"{tenant}/{workspace}", deployment, int(after))
        for number, tenant, workspace, deployment, after in list(
            database.sql.every_workspace(database.db)
        )
    ]


@contextmanager
def beside(location: Path | str) -> Iterator[Maintained]:
    """Open a database while control planes may be at work on it.

    Raises:
        servo.errors.ConfigurationError: There is no such database.
        servo.errors.FilesystemError: It cannot be read.
        servo.errors.UnavailableError: The server does not answer.
    """
    with _translated(location):
        if not isinstance(location, Path):
            with postgres_connection.connect(location) as connection:
                yield _maintained(location, connection, PostgresStore)
            return
        with closing(admission.connect(location)) as connection:
            yield _maintained(location, connection, SqliteStore)


@contextmanager
def alone(location: Path | str) -> Iterator[Maintained]:
    """Open a database on which nobody else is at work, and keep control planes from starting.

    Raises:
        servo.errors.ConfigurationError: There is no such database, a control plane is at work on
            it, or its schema is not the one of this version of Servo.
        servo.errors.FilesystemError: It cannot be used.
        servo.errors.UnavailableError: The server does not answer.
    """
    if isinstance(location, Path):
        admission.require_file(location)
        with admission.locked(location), beside(location) as opened:
            _require_schema(location)
            yield opened
        return
    with beside(location) as opened:
        require_schema(location, postgres_connection.applied(opened.db))
        if not postgres_connection.take_lead(opened.db):
            raise admission.in_use(location, "a control plane")
        # What a control plane began before it lost the lock can then not be committed any more.
        opened.db.execute(_RAISE_EPOCH)
        yield opened


def decoded(kind: type[_T], record: bytes) -> _T | None:
    """Return what a record holds; `None` where it is damaged."""
    try:
        return _wire.decode(kind, bytes(record))
    except Exception:  # whatever comes of the damage: the caller says what is damaged
        return None


def _maintained(location: Path | str, db: Any, store: Any) -> Maintained:
    folder = resources.files("servo.controlplane.store")
    text = folder.joinpath("maintenance.sql").read_text(encoding="utf-8")
    sql = aiosql.from_str(
        text, store.adapter, mandatory_parameters=False, kwargs=store.cursor_options
    )
    return Maintained(location, db, sql, store.queries())


def _require_schema(path: Path) -> None:
    if missing := migrate.pending(path):
        raise errors.ConfigurationError(
            f"the database {str(path)!r} lacks the migration {missing[0]!r}; run "
            "`servo db migrate` first",
            code="DATABASE_TOO_OLD",
        )


@contextmanager
def _translated(location: Path | str) -> Iterator[None]:
    """Say what an error of the driver means."""
    if isinstance(location, Path):
        try:
            yield
        # Of a name that is damaged SQLite speaks in bytes that are no text.
        except (sqlite3.Error, UnicodeDecodeError) as exc:
            raise errors.FilesystemError(
                f"the database {str(location)!r} cannot be used: {exc}; check the file, the disk "
                "and the rights on its folder. `servo db check` looks for damage, `servo db "
                "restore` brings a backup back",
                code="DATABASE_UNUSABLE",
            ) from exc
        return
    problems = postgres_connection.driver().Error
    try:
        yield
    except problems as exc:
        postgres_connection.refuse(exc, location)
