"""Carrying the session over gRPC: connect, say and hear, and connect again when it breaks."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from servo import errors
from servo.client import AsyncClient, Tls
from servo.types.sessions import OpenSessionRequest, OpenSessionResponse
from servo.worker.session import Session

__all__ = ["Doorbell", "Endpoint", "hold"]

_log = logging.getLogger("servo.worker")

_FIRST_DELAY_SECONDS: Final = 0.1
_MAX_DELAY_SECONDS: Final = 5.0
_WELCOME_SECONDS: Final = 30.0
"""How long the control plane may take to answer before another connection is tried."""
_COMPANY_SECONDS: Final = 0.012
"""How long a message that is not urgent may wait for others to be sent with it."""
_MAX_DISPATCH_BYTES: Final = 256 * 1024 * 1024
"""A dispatch names every partition that its task reads: 100,000 of them take about 10 MB."""
# Trying again cannot help: somebody has to change something first.
_FATAL: Final = (
    errors.PermissionDeniedError,
    errors.ConfigurationError,
    errors.InvalidArgumentError,
)
_KEY_TROUBLE: Final = frozenset({"API_KEY_FILE", "API_KEY_PROVIDER"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The control plane, and who calls it.

    Attributes:
        url: ``grpc://HOST:PORT``, or ``grpcs://`` for TLS.
        api_key: The key for it, or what returns it for each session; may be empty.
        tenant_id: Tenant that the worker serves.
        workspace_id: Workspace that the worker serves.
        tls: Whom to trust, and who the worker is.
    """

    url: str
    api_key: str | Callable[[], str] = field(default="", repr=False)
    tenant_id: str = "default"
    workspace_id: str = "default"
    tls: Tls = field(default_factory=Tls)

    def client(self) -> AsyncClient:
        """Make the client of one session; it connects with the session.

        Raises:
            ConfigurationError: The address makes no sense, a key or a file cannot be used, or the
                key would be sent in plain text to another machine.
        """
        return AsyncClient(
            self.url,
            api_key=self.api_key,
            tenant_id=self.tenant_id,
            workspace_id=self.workspace_id,
            source="worker",
            tls=self.tls,
            max_response_bytes=_MAX_DISPATCH_BYTES,
        )

    def awaits_key(self, error: errors.ServoError) -> bool:
        """Tell whether what is wrong is the key, and another one may appear where it comes from."""
        return not isinstance(self.api_key, str) and (
            isinstance(error, errors.UnauthenticatedError) or error.code in _KEY_TROUBLE
        )


class Doorbell:
    """Tells the sender that there is something to send: at once, or after a short wait."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def ring(self, urgent: bool) -> None:
        """Wake the sender; unless it is urgent, give other messages the time to join."""
        if urgent:
            self._event.set()
        elif self._timer is None and not self._event.is_set():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_COMPANY_SECONDS, self._event.set)

    async def wait(self) -> None:
        """Wait until somebody has rung."""
        await self._event.wait()
        # What is ready in this round of the loop goes along.
        await asyncio.sleep(0)
        self._event.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def hold(session: Session, endpoint: Endpoint, wake: Doorbell) -> None:
    """Keep the session connected until it is cancelled.

    Args:
        session: What is said and heard.
        endpoint: Where to connect to.
        wake: Set by the session when there is something to send.

    Raises:
        ServoError: The control plane refuses the worker for a reason that stays: wrong key,
            wrong protocol version. A key that was good once and comes from a file or a function
            is waited for: it is being replaced.
    """
    delay = _FIRST_DELAY_SECONDS
    welcomed = asyncio.Event()
    while True:
        connected_at = time.monotonic()
        reason, request_id, asked_pause = "the control plane closed the session", "", 0.0
        level = logging.INFO
        try:
            await _connect(session, endpoint, wake, welcomed)
        except errors.ServoError as exc:
            if isinstance(exc, _FATAL):
                if not (welcomed.is_set() and endpoint.awaits_key(exc)):
                    raise
                level = logging.WARNING
            reason, request_id, asked_pause = str(exc), exc.request_id, exc.retry_after or 0.0
        finally:
            session.disconnect()
        if time.monotonic() - connected_at > _MAX_DELAY_SECONDS:
            delay = _FIRST_DELAY_SECONDS
        # Jitter: the workers of a control plane that was restarted do not come back together.
        pause = max(delay * random.uniform(0.5, 1.0), asked_pause)
        _log.log(
            level,
            "not connected to %s: %s; next try in %.1f s",
            *(endpoint.url, reason, pause),
            extra={"request_id": request_id},
        )
        await asyncio.sleep(pause)
        delay = min(delay * 2, _MAX_DELAY_SECONDS)


async def _connect(
    session: Session, endpoint: Endpoint, wake: Doorbell, welcomed: asyncio.Event
) -> None:
    # The identity, a request id, and the key as it is now go with each session: see the client.
    async with endpoint.client() as client:
        said = _said(session, wake)
        async with client.workers.open_session(said, opening=_WELCOME_SECONDS) as answers:
            # The welcome comes first and says how often a heartbeat is wanted.
            async for answer in answers:
                _take(session, answer)
                welcomed.set()
                await _first_of(_receive(session, answers), _beat(session))


async def _said(session: Session, wake: Doorbell) -> AsyncIterator[OpenSessionRequest]:
    yield OpenSessionRequest(messages=(session.connect(),))
    while True:
        await wake.wait()
        while messages := session.outgoing():
            yield OpenSessionRequest(messages=messages)


async def _receive(session: Session, answers: AsyncIterator[OpenSessionResponse]) -> None:
    async for answer in answers:
        _take(session, answer)


def _take(session: Session, answer: OpenSessionResponse) -> None:
    for message in answer.messages:
        session.receive(message)


async def _beat(session: Session) -> None:
    while True:
        session.heartbeat()
        await asyncio.sleep(session.heartbeat_interval.total_seconds())


async def _first_of(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until the first one ends, and end as it did."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
