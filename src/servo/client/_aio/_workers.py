"""The session of a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

from servo._wire import methods
from servo.client._aio._calls import Calls
from servo.client._aio._stream import AsyncStream
from servo.types.sessions import OpenSessionRequest, OpenSessionResponse


class AsyncWorkers:
    """What executes attempts; `servo worker` is made of it.

    Args:
        calls: What calls RPCs.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def open_session(
        self, requests: AsyncIterator[OpenSessionRequest], *, opening: float | None = None
    ) -> AsyncStream[OpenSessionResponse]:
        """Join as a worker: say what the requests say, and hear what there is to do.

        A session is never opened again by itself: what was said in it is not known to the next one.

        Args:
            requests: What the worker says, its hello first; taken as it can be sent, and closed
                with the session. An error of theirs ends the session and is raised by the stream.
            opening: Seconds that the welcome may take; ``None`` for no limit.

        Raises:
            ConfigurationError: From the stream: the address is one for HTTP, or the key cannot be
                sent.
            PermissionDeniedError: From the stream: the key is wrong, has ended, or is no worker's.
            UnavailableError: From the stream: the control plane cannot be reached, or is gone.
        """
        return AsyncStream(
            self._calls.exchange(methods.OPEN_SESSION, requests, opening=opening, sends_once=True)
        )
