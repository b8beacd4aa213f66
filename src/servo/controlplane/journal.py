"""Group commit: what happens while one commit is under way shares the next one.

A durable commit costs milliseconds, a change costs microseconds. Callers add their changes to
`Journal.batch` without waiting and say what is to happen when they are durable; one coroutine
writes batch after batch. Nothing leaves the control plane before what it says is on disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from servo import errors
from servo.controlplane.store.batch import Batch
from servo.controlplane.store.store import Store

_LOG = logging.getLogger(__name__)

_RELIEF: Final = 10.0
"""How long no write may have been refused, seconds, until the trouble counts as over."""


class Journal:
    """The open batch, and the coroutine that writes it.

    Args:
        store: Where batches go.
        on_failure: Awaited with the error after a batch was refused, when everybody who waited
            for it knows. State in memory is ahead of the disk then and has to be read again.
    """

    def __init__(self, store: Store, on_failure: Callable[[Exception], Awaitable[None]]) -> None:
        self.batch = Batch()
        self._store = store
        self._on_failure = on_failure
        self._pending = asyncio.Event()
        self._closing = False
        self.trouble: errors.FilesystemError | None = None
        """Why a write was refused, until none has been for a while."""
        self._refused_at = 0.0

    def kick(self) -> None:
        """Say that the open batch has changes."""
        self._pending.set()

    def durable(self) -> asyncio.Future[None]:
        """Return a future that ends when the open batch is durable, or with why it is not."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.batch.after.append(partial(_settle, future, None))
        self.batch.failed.append(partial(_settle, future))
        self._pending.set()
        return future

    def close(self) -> None:
        """Write what is open, then end `run`."""
        self._closing = True
        self._pending.set()

    async def run(self) -> None:
        """Write batches until `close`."""
        while not (self._closing and self.batch.is_empty):
            await self._pending.wait()
            self._pending.clear()
            batch, self.batch = self.batch, Batch()
            if not batch.is_empty:
                batch.settle()
                await self._write(batch)
                if not self.batch.is_empty:
                    self._pending.set()
            # It refers to the runs that it was made from, which may have ended: they must not
            # stay in memory until the next one.
            del batch

    async def probe(self) -> None:
        """Find out whether the database takes writes again after one was refused."""
        try:
            await self._store.probe()
        except errors.FilesystemError as exc:
            self._note(exc)
        except errors.ServoError as exc:
            _LOG.error("%s", exc)
        else:
            self._note(None)

    def _note(self, trouble: errors.FilesystemError | None) -> None:
        """Note whether a write was refused; the log hears of it once, not with every try.

        On a disk that is full a small write may fit into what the database has already, so that
        one which succeeds says little.
        """
        now = time.monotonic()
        if trouble is not None:
            if self.trouble is None or str(self.trouble) != str(trouble):
                _LOG.error("%s", trouble)
            self.trouble, self._refused_at = trouble, now
        elif self.trouble is not None and now - self._refused_at >= _RELIEF:
            _LOG.warning("the database takes writes again; the runs go on")
            self.trouble = None

    async def _write(self, batch: Batch) -> None:
        try:
            await self._store.write(batch)
        except Exception as exc:  # everybody who waits is told, and the next batch has its chance
            if isinstance(exc, errors.FilesystemError):
                self._note(exc)
            elif isinstance(exc, errors.ServoError):
                _LOG.error("%s", exc)
            else:
                _LOG.exception("a batch could not be written")
            # What came in meanwhile was decided on a state that was never recorded.
            later, self.batch = self.batch, Batch()
            for refuse in [*batch.failed, *later.failed]:
                refuse(exc)
            await self._on_failure(exc)
            return
        self._note(None)
        for proceed in batch.after:
            proceed()


def _settle(future: asyncio.Future[None], problem: Exception | None) -> None:
    """End a future whose caller may have gone away meanwhile."""
    if future.done():
        return
    if problem is None:
        future.set_result(None)
    else:
        future.set_exception(problem)
