"""The store in one SQLite file: one writer, a durable commit per batch, readers beside it.

The file belongs to one process at a time; an advisory lock beside it says so. Writes happen in
one thread and reads in another, each with its own connection, so that a slow disk or a long
listing never stops the event loop. ``synchronous=FULL`` makes a commit survive a power cut.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from servo import errors
from servo.controlplane.store import files
from servo.controlplane.store.migrate import migrate
from servo.controlplane.store.sql import Query, SqlStore
from servo.types.ids import DeploymentId

_T = TypeVar("_T")

_MAX_PAGES: Final = 2**32 - 2


class SqliteStore(SqlStore):
    """The verbs of the store; see the module's docstring.

    Args:
        path: The database file; made when it does not exist.

    Raises:
        servo.errors.ConfigurationError: Another process uses the file, or its schema is newer
            than this version of Servo.
        servo.errors.FilesystemError: The file cannot be opened.
    """

    adapter: ClassVar[str] = "sqlite3"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sql = self.queries()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = files.lock(path)
            files.make_private(path)
            migrate(path)
            self._writer = files.connect(path)
            self._reader = files.connect(path)
            self._reader.execute("PRAGMA query_only = ON")
            new_id = DeploymentId.generate()
            self._sql.put_store_value(self._writer, name="store_id", value=new_id)
        except (OSError, sqlite3.Error) as exc:
            raise errors.FilesystemError(
                f"cannot open the database {str(path)!r}: {files.why_not(path, exc)}",
                code="DATABASE_UNUSABLE",
            ) from exc
        self.store_id: str = self._sql.store_value(self._writer, name="store_id")
        self._write_thread = ThreadPoolExecutor(1, "servo-store-writer")
        self._read_thread = ThreadPoolExecutor(1, "servo-store-reader")

    def close(self) -> None:
        """Finish the write under way and give the file back."""
        self._write_thread.shutdown()
        self._read_thread.shutdown()
        self._reader.close()
        self._writer.close()
        os.close(self._lock)

    def limit_size(self, max_pages: int) -> None:
        """Let the database grow to so many pages of 4 KB and no further; 0 lifts the limit."""
        self._writer.execute(f"PRAGMA max_page_count = {max_pages or _MAX_PAGES}")

    async def _change(self, change: Query[_T]) -> _T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._write_thread, self._transact, change)
        except sqlite3.Error as exc:
            raise errors.FilesystemError(
                f"the control plane cannot write its database {str(self.path)!r}: "
                f"{files.why_not(self.path, exc)}; nothing was recorded",
                code="DATABASE_WRITE_FAILED",
            ) from exc

    def _transact(self, change: Query[_T]) -> _T:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            result = change(self._sql, self._writer)
            self._writer.execute("COMMIT")
        except BaseException:  # also an interrupt; raised again
            # A failed COMMIT (disk full) may have ended the transaction by itself.
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        return result

    async def _read(self, query: Query[_T]) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._read_thread, query, self._sql, self._reader)
