"""The store in a PostgreSQL database that several control planes share; one of them writes.

Who that is, is settled before a store is opened (`servo.controlplane.leader`): a store belongs to
one epoch, every transaction that writes checks that the epoch still holds, and the database
refuses the rest. Writes happen in one thread on one connection, all statements of a batch on
their way at once; reads in a few threads with a connection each.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ClassVar, Final, TypeVar

from servo import errors
from servo.controlplane.store import address, migrate, postgres_connection
from servo.controlplane.store.sql import Query, SqlStore
from servo.types.ids import DeploymentId

_T = TypeVar("_T")

_READERS: Final = 3


class PostgresStore(SqlStore):
    """The verbs of the store; see the module's docstring. Connecting blocks.

    Args:
        url: The database.
        epoch: The epoch in which it writes.

    Raises:
        servo.errors.ConfigurationError: The schema is not the one of this version of Servo.
        servo.errors.UnavailableError: The server does not answer, or the epoch is over.
    """

    adapter: ClassVar[str] = "psycopg"
    cursor_options: ClassVar[dict[str, Any]] = {"binary": True}

    def __init__(self, url: str, epoch: int) -> None:
        self._url = url
        self._epoch = epoch
        self._sql = self.queries()
        self._driver = postgres_connection.driver()
        self._own = threading.local()
        self._readers: list[postgres_connection.Connection] = []
        self._writer = postgres_connection.connect(url)
        try:
            require_schema(url, postgres_connection.applied(self._writer))
            self._keep_commits()
            self.store_id = self._transact(_store_id)
        except BaseException as exc:
            self._writer.close()
            if isinstance(exc, self._driver.Error):
                raise self._failure(exc) from None
            raise
        self._is_closed = False
        self._write_thread = ThreadPoolExecutor(1, "servo-store-writer")
        self._read_threads = ThreadPoolExecutor(_READERS, "servo-store-reader")

    def _keep_commits(self) -> None:
        # What is acknowledged survives a crash, whatever the server's default is.
        self._writer.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )

    def close(self) -> None:
        """Finish the write under way and give the connections back."""
        self._is_closed = True
        self._write_thread.shutdown()
        self._read_threads.shutdown()
        for connection in (self._writer, *self._readers):
            with suppress(self._driver.Error):
                connection.close()

    async def _change(self, change: Query[_T]) -> _T:
        try:
            return await self._in(self._write_thread, self._transact, change)
        except self._driver.Error as exc:
            raise self._failure(exc) from None

    async def _in(
        self, threads: ThreadPoolExecutor, work: Callable[[Query[_T]], _T], query: Query[_T]
    ) -> _T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(threads, work, query)
        except RuntimeError:
            if not self._is_closed:
                raise
            # A call that began while this process scheduled, and went on for longer.
            raise self._not_leader("it has handed over") from None

    def _transact(self, change: Query[_T]) -> _T:
        with self._writer.pipeline(), self._writer.transaction():
            self._writer.execute("SELECT hold_epoch(%s)", [self._epoch])
            return change(self._sql, self._writer)

    def _failure(self, exc: Exception) -> errors.ServoError:
        """Return what a failed write means. Nobody knows whether a broken connection committed."""
        reason = postgres_connection.reason(exc, self._url)
        if getattr(exc, "sqlstate", None) == postgres_connection.FENCED:
            return self._not_leader(reason)
        if self._writer.closed:
            return errors.UnavailableError(
                f"the connection to the database broke during a write ({reason}); ask again",
                code="DATABASE_UNAVAILABLE",
                retry_after=postgres_connection.RETRY_AFTER,
            )
        return errors.FilesystemError(
            f"the control plane's database refused a write ({reason}); nothing was recorded. "
            "Check the server's log and its disk, then try again",
            code="DATABASE_WRITE_FAILED",
        )

    @staticmethod
    def _not_leader(reason: str) -> errors.UnavailableError:
        return errors.UnavailableError(
            f"this control plane does not schedule any more: {reason}; ask again",
            code="NOT_LEADER",
            retry_after=postgres_connection.RETRY_AFTER,
        )

    async def _read(self, query: Query[_T]) -> _T:
        return await self._in(self._read_threads, self._query, query)

    def _query(self, query: Query[_T]) -> _T:
        connection = getattr(self._own, "connection", None)
        try:
            if connection is None or connection.closed:
                connection = self._own.connection = postgres_connection.connect(self._url)
                self._readers.append(connection)
                connection.execute("SET default_transaction_read_only = on")
            return query(self._sql, connection)
        except self._driver.OperationalError as exc:
            postgres_connection.refuse(exc, self._url)


def check(url: str) -> bool:
    """Check that a database can be used; tell whether an API key is stored there. Blocks.

    Raises:
        servo.errors.ConfigurationError: The schema is not the one of this version of Servo.
        servo.errors.UnavailableError: The server does not answer.
    """
    with postgres_connection.connect(url) as connection:
        require_schema(url, postgres_connection.applied(connection))
        found = connection.execute(
            "SELECT 1 FROM api_keys WHERE revoked_at IS NULL LIMIT 1"
        ).fetchone()
    return found is not None


def require_schema(url: str, applied: list[str]) -> None:
    """Check that a database has the schema of this version of Servo.

    Raises:
        servo.errors.ConfigurationError: It is newer or older; the message says what to do.
    """
    missing = migrate.pending(url, applied)
    if missing:
        has = f"ends at {applied[-1]!r}" if applied else "has no tables of Servo yet"
        raise errors.ConfigurationError(
            f"the schema of the database {address.masked(url)!r} {has} and this version of Servo "
            f"needs {missing[-1]!r}; stop every control plane that uses it, then run "
            "`servo db migrate`",
            code="DATABASE_TOO_OLD",
        )


def _store_id(sql: Any, db: Any) -> str:
    sql.put_store_value(db, name="store_id", value=DeploymentId.generate())
    return str(sql.store_value(db, name="store_id"))
