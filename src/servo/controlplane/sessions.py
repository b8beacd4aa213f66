"""The control plane's end of a worker's session: credit, and messages on their way out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from servo.types.sessions import OpenSessionResponse, ServerMessage, TaskDispatch

MAX_BYTES = 1_000_000
"""What one response holds at most, by estimate, unless one message alone is larger."""

_MESSAGE_BYTES = 2_000
_PARTITION_BYTES = 150


class WorkerSession:
    """One connected worker.

    Args:
        worker_id: The worker.
        code_version_id: The version of the user code that it announces.

    Attributes:
        credit: How many attempts may still be pushed.
        held: Ids of the tasks that the worker has a lease for.
        log_batches: How many log batches of this session were received.
    """

    def __init__(self, worker_id: str, code_version_id: str = "") -> None:
        self.worker_id = worker_id
        self.code_version_id = code_version_id
        self.credit = 0
        self.held: set[str] = set()
        self.log_batches = 0
        self.is_open = True
        self._outgoing: list[ServerMessage] = []
        self._wake = asyncio.Event()

    def send(self, message: ServerMessage) -> None:
        """Put a message on its way; messages arrive in this order."""
        self._outgoing.append(message)
        self._wake.set()

    def close(self) -> None:
        """End the session when the messages on their way are gone."""
        self.is_open = False
        self._wake.set()

    async def responses(self) -> AsyncIterator[OpenSessionResponse]:
        """Yield what is to be sent, several messages at a time, until `close`."""
        while self.is_open or self._outgoing:
            await self._wake.wait()
            self._wake.clear()
            while self._outgoing:
                yield OpenSessionResponse(messages=tuple(self._take()))

    def _take(self) -> list[ServerMessage]:
        """Take the next messages, as many as fit in one response and one at least."""
        size = count = 0
        for message in self._outgoing:
            size += _estimate(message)
            if count and size > MAX_BYTES:
                break
            count += 1
        taken = self._outgoing[:count]
        del self._outgoing[:count]
        return taken


def _estimate(message: ServerMessage) -> int:
    if not isinstance(message, TaskDispatch):
        return _MESSAGE_BYTES
    partitions = sum(len(given.partitions) for given in message.inputs)
    return _MESSAGE_BYTES + _PARTITION_BYTES * partitions
