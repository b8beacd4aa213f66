"""Which of the control planes on one PostgreSQL database schedules.

Whoever holds an advisory lock, with a connection that does nothing else, leads. When its process
dies the server notices at once and the next one takes the lock. That alone is not enough: a
leader may have lost its lock without knowing it yet. So whoever takes it raises the epoch, and
what is written under an older one the database refuses.

The leader says something on that connection all the time. One that has said nothing for a while
hangs as a whole, or its machine is gone; another process then ends the connection and so frees the
lock.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any, Final

from servo import errors
from servo.controlplane.store import postgres_connection
from servo.controlplane.store.postgres import require_schema

if TYPE_CHECKING:
    from servo.controlplane.store.postgres_connection import Connection

_LOG = logging.getLogger(__name__)

PULSE: Final = 0.5
"""How often the leader says something and the others look, seconds."""

SILENCE: Final = 6.0
"""After how many seconds without a word a leader is taken for hung."""

_SETTLED_AFTER: Final = 5.0
_STOPPED_AFTER: Final = 15.0
_LEADER_NAME: Final = "servo leader"

_END_SILENT: Final = """
SELECT pg_terminate_backend(a.pid)
FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = %s
  AND a.application_name = %s
  AND a.state_change < clock_timestamp() - make_interval(secs => %s)
"""
_RAISE_EPOCH: Final = "UPDATE leader SET epoch = epoch + 1, address = '' RETURNING epoch"
_PUBLISH: Final = "UPDATE leader SET address = %s WHERE epoch = %s"

Lead = Callable[[int, asyncio.Event], AbstractAsyncContextManager[None]]
"""Leads in an epoch while a block runs; setting the event ends it."""


class Election:
    """One process's part in it, in a thread: a leader that is busy says something all the same.

    Args:
        url: The database.
        own_address: Where the others reach this process.
        lead: What to do while this process leads.
        on_leader: Called with the address of whoever leads when it changes; empty while nobody
            does, or while that is this process.
    """

    def __init__(
        self, url: str, own_address: str, lead: Lead, on_leader: Callable[[str], None]
    ) -> None:
        self._url = url
        self._own_address = own_address
        self._lead = lead
        self._on_leader = on_leader
        self._loop = asyncio.get_running_loop()
        self._known = ""
        self._settled = asyncio.Event()
        self._ended = asyncio.Event()
        self._lost = asyncio.Event()
        self._stopping = threading.Event()
        self._news = threading.Event()
        # Nobody waits at the end of the process for a server that does not answer.
        self._thread = threading.Thread(target=self._run, name="servo-election", daemon=True)

    async def start(self) -> None:
        """Take part from now on; returns when somebody leads, or when that takes long."""
        self._thread.start()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), _SETTLED_AFTER)

    async def stop(self) -> None:
        """Take no part any more; whoever leads hands over first."""
        self._stopping.set()
        self._news.set()
        self._lost.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _STOPPED_AFTER)

    # -- in the thread --------------------------------------------------------------------

    def _run(self) -> None:
        problems = postgres_connection.driver().Error
        told = ""
        while not self._stopping.is_set():
            try:
                with postgres_connection.connect(self._url) as connection:
                    self._take_part(connection)
                told = ""
            except (problems, errors.ServoError) as exc:
                reason = postgres_connection.reason(exc, self._url)
                if reason != told:
                    _LOG.warning("cannot take part in choosing who schedules: %s", reason)
                told = reason
            except Exception:  # another process may do better, and so may this one later
                _LOG.exception("cannot take part in choosing who schedules")
            self._note("")
            self._stopping.wait(PULSE)
        self._tell(self._ended.set)

    def _take_part(self, connection: Connection) -> None:
        connection.execute("SELECT set_config('application_name', %s, false)", [_LEADER_NAME])
        lock = postgres_connection.LEAD_LOCK
        while not self._stopping.is_set():
            if postgres_connection.take_lead(connection):
                self._as_leader(connection)
                return
            self._note(str(_value(connection, "SELECT address FROM leader")))
            if _value(connection, _END_SILENT, lock, _LEADER_NAME, SILENCE):
                _LOG.warning("the control plane that schedules said nothing for %g s", SILENCE)
            self._stopping.wait(PULSE)

    def _as_leader(self, connection: Connection) -> None:
        require_schema(self._url, postgres_connection.applied(connection))
        epoch = int(_value(connection, _RAISE_EPOCH))
        self._note("")
        lost = self._lost = asyncio.Event()
        leading = threading.Event()
        term = asyncio.run_coroutine_threadsafe(self._serve(epoch, lost, leading), self._loop)
        term.add_done_callback(lambda _: self._news.set())
        published = False
        try:
            while not term.done():
                self._news.wait(PULSE)
                self._news.clear()
                if leading.is_set() and not published:
                    connection.execute(_PUBLISH, [self._own_address, epoch])
                    published = True
                else:
                    connection.execute("SELECT 1")
        finally:
            self._tell(lost.set)
            term.result()
        connection.execute(_PUBLISH, ["", epoch])

    async def _serve(self, epoch: int, lost: asyncio.Event, leading: threading.Event) -> None:
        async with self._lead(epoch, lost):
            _LOG.info("this control plane schedules now (epoch %d)", epoch)
            self._settled.set()
            leading.set()
            self._news.set()
            if not self._stopping.is_set():
                await lost.wait()
        _LOG.info("this control plane does not schedule any more (epoch %d)", epoch)

    def _note(self, leader: str) -> None:
        if leader != self._known:
            self._known = leader
            self._tell(self._on_leader, leader)
        if leader:
            self._tell(self._settled.set)

    def _tell(self, callback: Callable[..., object], *values: object) -> None:
        with suppress(RuntimeError):  # the event loop is gone: there is nobody to tell
            self._loop.call_soon_threadsafe(callback, *values)


def _value(connection: Connection, query: str, *values: object) -> Any:
    found = connection.execute(query.encode(), values).fetchone()
    return found[0] if found else ""
