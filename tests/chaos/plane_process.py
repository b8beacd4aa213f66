"""Control planes that die at a chosen moment: one process that forks a fresh one for each life.

Importing takes most of a control plane's start, so it is done once. Each life is a process of its
own that opens the database, goes on with what it finds there and serves, until it is killed from
outside or kills itself at the moment that it was given: right before a commit, right after it and
before anybody hears of it, or a moment later.

The protocol is a line of JSON each way: an order on standard input starts a life, which is answered
with its process id, and once more with its exit code. Every life ends when the lifeline does.
"""

from __future__ import annotations

import asyncio
import encodings.idna  # noqa: F401  # imported with the first connection otherwise
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import ulid  # noqa: F401  # with the first id
import yoyo  # noqa: F401  # with the first migration

import servo.controlplane.store.postgres
import servo.controlplane.store.sqlite  # noqa: F401  # with the first start
from servo import _wire
from servo.config.logs import configure_logging
from servo.config.settings import Settings
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.types.events import Event, RunStateChanged, TaskStateChanged

BOUNDARY: Final = "killed at "
"""What the line begins with that a life writes before it kills itself."""

Order = dict[str, Any]


def main(lifeline: int) -> None:
    """Fork a control plane for each order until standard input ends."""
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise SystemExit("a process with threads must not be forked")
    for line in sys.stdin:
        order: Order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_live(order, lifeline))
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"exit": os.waitstatus_to_exitcode(status)}), flush=True)


def _live(order: Order, lifeline: int) -> int:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    _in_thread(lambda: _end_with(lifeline))
    if order["death"] is not None:
        _plan(order["death"])
    config = ControlPlaneConfig(
        database=order["database"] if "://" in order["database"] else Path(order["database"]),
        api_key=order["key"],
        listen=order["listen"],
        lease_length=timedelta(seconds=order["lease"]),
        cancel_grace=timedelta(seconds=order["grace"]),
    )
    configure_logging(Settings(log_level="info"))
    try:
        asyncio.run(_serve(config))
    except Exception as exc:
        print(f"error: {exc}", file=sys.stderr, flush=True)
        return 1
    return 0


async def _serve(config: ControlPlaneConfig) -> None:
    plane = ControlPlane(config)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await plane.start()
    print("serving", flush=True)
    await stop.wait()
    await plane.stop()


# -- dying ----------------------------------------------------------------------------------------


def _plan(death: dict[str, Any]) -> None:
    """Arrange a death.

    Args:
        death: See ``Death``.
    """
    if death["moment"] == "starting":
        _die_later(death["delay"], "a moment after the start")
        return
    connect = sqlite3.connect
    countdown = _Countdown(death)

    class Deadly(sqlite3.Connection):
        """A connection on which something is the last thing that its process does."""

        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            if sql.strip().upper() != "COMMIT":
                return super().execute(sql, *arguments)
            return countdown.commit(self, lambda: super(Deadly, self).execute(sql))

    def deadly(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = connect(*arguments, **{"factory": Deadly} | options)
        if death["moment"] == "statement":
            made.set_trace_callback(countdown.statement)
        return made

    sqlite3.connect = deadly  # type: ignore[assignment]  # a function that makes what it made


class _Countdown:
    """Counts towards the end of this process."""

    def __init__(self, death: dict[str, Any]) -> None:
        self._moment: str = death["moment"]
        self._left: int = death["commit"]
        self._event: str = death["event"]
        self._delay: float = death["delay"]
        self._seen = 0

    def statement(self, sql: str) -> None:
        """Count a statement that is about to be executed."""
        if self._event not in sql:
            return
        self._left -= 1
        if self._left == 0:
            _die(f"before the statement {' '.join(sql.split())[:40]!r}")

    def commit(
        self, connection: sqlite3.Connection, execute: Callable[[], sqlite3.Cursor]
    ) -> sqlite3.Cursor:
        """Execute a commit, or whatever is left of it."""
        events = self._news(connection)
        if self._moment == "statement" or (self._event and self._event not in events):
            return execute()
        self._left -= 1
        if self._left != 0:
            return execute()
        what = events[-1] if events else "nothing"
        if self._moment == "before":
            _die(f"before the commit of {what}")
        done = execute()
        if self._moment == "after":
            _die(f"after the commit of {what}")
        _die_later(self._delay, f"a moment after the commit of {what}")
        return done

    def _news(self, connection: sqlite3.Connection) -> list[str]:
        """Return what the events say that are about to become durable."""
        rows = sqlite3.Connection.execute(
            connection,
            "SELECT sequence, record FROM events WHERE sequence > ? ORDER BY sequence",
            (self._seen,),
        ).fetchall()
        if rows:
            self._seen = rows[-1][0]
        return [_describe(_wire.decode(Event, record)) for _, record in rows]


def _describe(event: Event) -> str:
    payload = event.payload
    if isinstance(payload, RunStateChanged | TaskStateChanged):
        return f"{type(payload).__name__} {payload.state.value}"
    return type(payload).__name__


def _die(boundary: str) -> None:
    os.write(2, f"{BOUNDARY}{boundary}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


def _die_later(delay: float, boundary: str) -> None:
    def die() -> None:
        time.sleep(delay)
        _die(boundary)

    _in_thread(die)


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(3)


def _in_thread(act: Callable[[], None]) -> None:
    threading.Thread(target=act, daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
