"""The control plane's end of a worker's session: credit, and messages on their way out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from servo.types.sessions import OpenSessionResponse, ServerMessage

MAX_MESSAGES = 64
"""The most messages in one response: a dispatch is about 1 KB, gRPC's limit is 4 MB."""


class WorkerSession:
    """One connected worker.

    Args:
        worker_id: The worker.

    Attributes:
        credit: How many attempts may still be pushed.
        held: Ids of the tasks that the worker has a lease for.
        log_batches: How many log batches of this session were received.
    """

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id
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
                messages = self._outgoing[:MAX_MESSAGES]
                del self._outgoing[:MAX_MESSAGES]
                yield OpenSessionResponse(messages=tuple(messages))
