"""The connections of the HTTP port: how many there may be, how long they may be silent.

uvicorn speaks HTTP; accepting is done here. A connection waits for its other side during the
handshake of TLS, during the head of a request, during its body, and between two requests. Each of
these has a deadline, and when the table is full the connection that has waited longest is closed:
an honest request arrives within milliseconds, so it is never the one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
import time
from collections import OrderedDict
from email.utils import formatdate
from enum import Enum
from itertools import islice
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from servo.controlplane.limits import HttpLimits

_LOG = logging.getLogger(__name__)

_AT_ONCE: Final = 8
"""Connections that are accepted, or closed, in one step of the event loop: each takes 0.3 ms."""
_SWEEP_SECONDS: Final = 0.1
_HELD_HEAD: Final = 16 * 1024
"""Bytes without the end of a line that are kept until HTTP looks at them."""
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS: Final = 0.1
_LOG_EVERY_SECONDS: Final = 60.0
_UNAVAILABLE: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Phase(Enum):
    """What a connection is doing."""

    HANDSHAKE = "handshake"
    HEAD = "head"
    BODY = "body"
    IDLE = "idle"
    BUSY = "busy"


class _Slot:
    """One connection in the table, from the moment that it is accepted."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.phase = _Phase.HANDSHAKE
        self.protocol: _Protocol | None = None

    def close(self) -> None:
        """Close it now."""
        if self.protocol is not None:
            self.protocol.give_up()
        else:
            # The handshake notices; its task closes the descriptor.
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def too_slow(self) -> None:
        """Say that a request was too slow, and close it."""
        if self.protocol is not None:
            self.protocol.too_slow()
        else:
            self.close()


class Connections:
    """Accepts and holds the connections of one listening socket.

    Args:
        app: The ASGI application that answers.
        listening: The socket; not blocking.
        tls: The port's TLS; `None` for plain HTTP.
        limits: How many there may be, and how long each may be silent.
    """

    def __init__(
        self,
        app: Any,
        listening: socket.socket,
        tls: ssl.SSLContext | None,
        limits: HttpLimits,
    ) -> None:
        self._listening = listening
        self._tls = tls
        self.limits = limits
        self._config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.idle_seconds),
        )
        self._config.load()
        self._state = ServerState()
        self._open: dict[_Slot, None] = {}
        # By phase, those first that have been in it longest; with the time at which it began.
        self._phases: dict[_Phase, OrderedDict[_Slot, float]] = {
            phase: OrderedDict() for phase in _Phase
        }
        self._adopting: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None
        self._resuming: asyncio.TimerHandle | None = None
        self._logged_at = float("-inf")
        self._spare = _spare_descriptor()

    def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        self._sweeping = loop.create_task(self._sweep())
        loop.add_reader(self._listening, self._accept)

    async def stop(self, grace: float) -> None:
        """Accept nothing any more; what is being answered gets so many seconds to end."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening)
        if self._resuming is not None:
            self._resuming.cancel()
        for slot in list(self._open):
            if slot.protocol is None:
                slot.close()
            else:
                slot.protocol.shutdown()
        ends = loop.time() + grace
        while (self._open or self._state.tasks) and loop.time() < ends:
            await asyncio.sleep(0.02)
        for task in list(self._state.tasks):
            task.cancel()
        for slot in list(self._open):
            slot.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        # A step for those that were cancelled.
        await asyncio.sleep(0)

    def holds(self, slot: _Slot) -> bool:
        """Tell whether a connection is still in the table."""
        return slot in self._open

    def moved(self, slot: _Slot, phase: _Phase) -> None:
        """Note that a connection does something else from now on."""
        self._phases[slot.phase].pop(slot, None)
        slot.phase = phase
        self._phases[phase][slot] = time.monotonic()

    def forget(self, slot: _Slot) -> None:
        """Note that a connection is closed."""
        self._open.pop(slot, None)
        self._phases[slot.phase].pop(slot, None)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _FULL:
                    raise
                self._full(exc)
                return
            connection.setblocking(False)
            if len(self._open) >= self.limits.most_connections and not self._make_room():
                self._refuse(connection)
                continue
            slot = _Slot(connection)
            self._open[slot] = None
            self.moved(slot, _Phase.HANDSHAKE)
            task = asyncio.get_running_loop().create_task(self._adopt(slot))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)

    def _make_room(self) -> bool:
        """Close the connection that has waited longest for its other side."""
        silent = [self._phases[one] for one in (_Phase.HANDSHAKE, _Phase.HEAD, _Phase.BODY)]
        oldest = min(
            (next(iter(phase.items())) for phase in silent if phase),
            key=lambda one: one[1],
            default=None,
        ) or next(iter(self._phases[_Phase.IDLE].items()), None)
        if oldest is None:
            return False
        self.forget(oldest[0])
        oldest[0].close()
        return True

    def _refuse(self, connection: socket.socket) -> None:
        self._say_once(
            f"all {self.limits.most_connections} HTTP connections are in use; more are refused"
        )
        if self._tls is None:
            with contextlib.suppress(OSError):
                connection.send(_UNAVAILABLE)
        connection.close()

    def _full(self, exc: OSError) -> None:
        """Go on after a while: until then the kernel keeps those who wish to connect."""
        self._say_once(
            f"the HTTP port cannot accept connections: {exc.strerror}; raise the limit of open "
            "files (ulimit -n)"
        )
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening)
        self._resuming = loop.call_later(_PAUSE_SECONDS, self._resume)
        for _ in range(_AT_ONCE):
            if not self._make_room():
                break
        if self._spare is not None:
            # Whoever is first in the queue learns at once that there is no room.
            os.close(self._spare)
            with contextlib.suppress(OSError):
                connection, _address = self._listening.accept()
                connection.close()
            self._spare = _spare_descriptor()

    def _resume(self) -> None:
        if self._spare is None:
            self._spare = _spare_descriptor()
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _say_once(self, message: str) -> None:
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = now
            _LOG.error("%s; this is said once a minute", message)

    async def _adopt(self, slot: _Slot) -> None:
        """Let a connection speak HTTP, after the handshake of TLS."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: _Protocol(self._config, self._state, slot, self),
                slot.connection,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else self.limits.head_seconds,
            )
        except OSError:  # also what is wrong with TLS: the other side has gone, or speaks no TLS
            self.forget(slot)
            slot.connection.close()

    async def _sweep(self) -> None:
        """Close what is too slow, a few at a time, and tell uvicorn what day it is."""
        limits = self.limits
        deadlines = (
            (_Phase.HANDSHAKE, limits.head_seconds),
            (_Phase.HEAD, limits.head_seconds),
            (_Phase.BODY, limits.body_seconds),
        )
        while True:
            now = formatdate(time.time(), usegmt=True).encode()
            self._state.default_headers = [(b"date", now), *self._config.encoded_headers]
            has_more = False
            for phase, seconds in deadlines:
                overdue = time.monotonic() - seconds
                waiting = list(islice(self._phases[phase].items(), _AT_ONCE))
                late = [slot for slot, since in waiting if since <= overdue]
                for slot in late:
                    self.forget(slot)
                    slot.too_slow()
                has_more = has_more or len(late) == _AT_ONCE
            await asyncio.sleep(0 if has_more else _SWEEP_SECONDS)


class _Protocol(H11Protocol):
    """HTTP on one connection, which tells the table what it is doing."""

    def __init__(
        self, config: uvicorn.Config, state: ServerState, slot: _Slot, table: Connections
    ) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._slot = slot
        self._table = table
        self._held = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Wait for the first request."""
        super().connection_made(transport)
        self._slot.protocol = self
        if self._table.holds(self._slot):
            self._table.moved(self._slot, _Phase.HEAD)
        else:
            self.give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the table."""
        self._table.forget(self._slot)
        cycle: Any = self.cycle
        if cycle is None:
            # Nothing was asked: very many that end at once must not take long.
            self.connections.discard(self)
        else:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Go on with a request; a line of its head is looked at when it is complete."""
        if self._slot.phase is _Phase.HEAD:
            self._held += data
            if b"\n" not in data and len(self._held) < _HELD_HEAD:
                return
            data = bytes(self._held)
            self._held.clear()
        super().data_received(data)
        self._look(_Phase.HEAD)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._look(_Phase.IDLE if not self.conn.trailing_data[0] else _Phase.HEAD)

    def give_up(self) -> None:
        """Close the connection now."""
        self._disconnect()
        self.transport.abort()

    def _disconnect(self) -> None:
        """Tell the call that is being answered that its caller has gone."""
        cycle: Any = self.cycle  # `None` before the first request
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def _look(self, when_idle: _Phase) -> None:
        if self.transport.is_closing():
            return
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            phase = _Phase.BODY
        else:
            phase = when_idle if state is h11.IDLE else _Phase.BUSY
        if phase is not self._slot.phase:
            self._table.moved(self._slot, phase)

    def too_slow(self) -> None:
        """Say that the request took too long to arrive, and close the connection."""
        cycle: Any = self.cycle
        if cycle is not None and self._slot.phase is _Phase.BODY and cycle.response_started:
            self.give_up()
            return
        self._disconnect()
        self.transport.write(_TOO_SLOW)
        self.transport.close()


def _spare_descriptor() -> int | None:
    with contextlib.suppress(OSError):
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return None
