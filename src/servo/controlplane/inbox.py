"""Reading the messages of gRPC calls: bounded in time and number, and only after the gate.

grpc would read the request of a unary call before any code of a server runs. Every RPC is
therefore registered as one that takes a stream, which looks the same on the wire: its handler
starts with the metadata, and until it reads, flow control holds the sender back after 64 KB.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from weakref import WeakValueDictionary

import grpc.aio

from servo import errors
from servo.controlplane.limits import MESSAGE_SECONDS

Context = grpc.aio.ServicerContext[bytes, bytes]

_TENANT_MESSAGES: Final = 64
_OPEN_MESSAGES: Final = 64
_FEW: Final = 4
_YOUNG_SECONDS: Final = 0.25
"""How old an unfinished message may be when more than a few are unfinished."""


class Inbox:
    """Reads messages of callers who have passed the gate.

    Of one tenant so many are read at a time; more wait, and so do their senders.

    Args:
        seconds: How long a message may take to arrive.
    """

    def __init__(self, seconds: float = MESSAGE_SECONDS) -> None:
        self._seconds = seconds
        self._room: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        # Those that read, and since when; oldest first. A timer for each would cost every call as
        # much as reading does, and hardly one of them ever ends.
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, tenant_id: str, context: Context) -> bytes:
        """Read the message of a call.

        Raises:
            servo.errors.InvalidArgumentError: There is none.
            servo.errors.DeadlineError: It does not arrive in time.
        """
        room = self._room.get(tenant_id)
        if room is None:
            room = self._room[tenant_id] = asyncio.Semaphore(_TENANT_MESSAGES)
        async with room:
            task = asyncio.current_task()
            assert task is not None
            self._begin(task)
            try:
                return _only(await context.read())
            except asyncio.CancelledError:
                if task not in self._late or task.uncancel():
                    raise  # the caller has gone as well
                raise errors.DeadlineError(
                    f"the message of the call did not arrive within {self._seconds:g} s",
                    code="REQUEST_TOO_SLOW",
                ) from None
            finally:
                self._reading.pop(task, None)
                self._late.discard(task)

    def _begin(self, task: asyncio.Task[Any]) -> None:
        loop = asyncio.get_running_loop()
        self._reading[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._end_late)

    def _end_late(self) -> None:
        """End those that read for too long, and look again when the next one may be."""
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._reading:
            oldest, since = next(iter(self._reading.items()))
            left = since + self._seconds - loop.time()
            if left > 0:
                self._timer = loop.call_later(left, self._end_late)
                return
            del self._reading[oldest]
            self._late.add(oldest)
            oldest.cancel()


class OpenInbox:
    """Reads messages of RPCs that need no key.

    When too many are unfinished the oldest ones are given up: an honest message arrives with its
    call, so it is never among them.

    Args:
        seconds: How long a message may take to arrive.
        most: How many may be unfinished.
    """

    def __init__(self, seconds: float = MESSAGE_SECONDS, most: int = _OPEN_MESSAGES) -> None:
        self._seconds = seconds
        self._most = most
        self._unfinished: dict[asyncio.Timeout, float] = {}

    async def read(self, context: Context) -> bytes | None:
        """Read the next message of a call; `None` when there is no other, or not in time."""
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                self._make_room()
                self._unfinished[limit] = asyncio.get_running_loop().time()
                data: Any = await context.read()
                return data if isinstance(data, bytes) else None
        except TimeoutError:
            return None
        finally:
            self._unfinished.pop(limit, None)

    def _make_room(self) -> None:
        now = asyncio.get_running_loop().time()
        while len(self._unfinished) >= _FEW:
            oldest, since = next(iter(self._unfinished.items()))
            if now - since < _YOUNG_SECONDS and len(self._unfinished) < self._most:
                return
            del self._unfinished[oldest]
            if not oldest.expired():
                oldest.reschedule(now)


def _only(data: Any) -> bytes:
    if not isinstance(data, bytes):
        raise errors.InvalidArgumentError("the call has no message; an empty one has no bytes")
    return data
