"""Carrying the session over gRPC: connect, say and hear, and connect again when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio

from servo import _wire, errors
from servo.client import Tls
from servo.client.failures import error_of
from servo.client.transport import dial
from servo.types.sessions import OpenSessionRequest, WorkerMessage
from servo.worker.session import Session

__all__ = ["Doorbell", "Endpoint", "hold"]

_log = logging.getLogger("servo.worker")

_METHOD: Final = _wire.methods.OPEN_SESSION
_FIRST_DELAY_SECONDS: Final = 0.1
_MAX_DELAY_SECONDS: Final = 5.0
_GOODBYE_SECONDS: Final = 2.0
_COMPANY_SECONDS: Final = 0.003
"""How long a message that is not urgent may wait for others to be sent with it."""
_MAX_DISPATCH_BYTES: Final = 256 * 1024 * 1024
"""A dispatch names every partition that its task reads: 100,000 of them take about 10 MB."""
# Trying again cannot help: somebody has to change something first.
_FATAL: Final = (
    errors.PermissionDeniedError,
    errors.ConfigurationError,
    errors.InvalidArgumentError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The control plane, and who calls it.

    Attributes:
        url: ``grpc://HOST:PORT``, or ``grpcs://`` for TLS.
        metadata: What every call carries: identity and authorization.
        tls: Whom to trust, and who the worker is.
    """

    url: str
    metadata: tuple[tuple[str, str], ...]
    tls: Tls = field(default_factory=Tls)


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
            wrong protocol version.
    """
    delay = _FIRST_DELAY_SECONDS
    while True:
        connected_at = time.monotonic()
        try:
            await _connect(session, endpoint, wake)
            reason = "the control plane closed the session"
        except _FATAL:
            raise
        except errors.ServoError as exc:
            reason = str(exc)
        finally:
            session.disconnect()
        if time.monotonic() - connected_at > _MAX_DELAY_SECONDS:
            delay = _FIRST_DELAY_SECONDS
        # Jitter: the workers of a control plane that was restarted do not come back together.
        pause = delay * random.uniform(0.5, 1.0)
        _log.info("not connected to %s: %s; next try in %.1f s", endpoint.url, reason, pause)
        await asyncio.sleep(pause)
        delay = min(delay * 2, _MAX_DELAY_SECONDS)


async def _connect(session: Session, endpoint: Endpoint, wake: Doorbell) -> None:
    async with dial(
        endpoint.url, aio=True, max_receive_bytes=_MAX_DISPATCH_BYTES, tls=endpoint.tls
    ) as channel:
        call: Any = channel.stream_stream(_METHOD.path)(metadata=endpoint.metadata)
        try:
            await _write(call, [session.connect()])
            # The welcome comes first and says how often a heartbeat is wanted.
            if await _receive_once(session, call):
                await _first_of(_receive(session, call), _send(session, call, wake), _beat(session))
        except grpc.aio.AioRpcError as exc:
            raise error_of(exc, url=endpoint.url, path=_METHOD.path, timeout=None) from exc
        finally:
            await _say_goodbye(call)


async def _receive(session: Session, call: Any) -> None:
    while await _receive_once(session, call):
        pass


async def _receive_once(session: Session, call: Any) -> bool:
    data = await call.read()
    if data is grpc.aio.EOF:
        return False
    for message in _METHOD.decode_response(data).messages:
        session.receive(message)
    return True


async def _send(session: Session, call: Any, wake: Doorbell) -> None:
    while True:
        await wake.wait()
        while messages := session.outgoing():
            await _write(call, messages)


async def _write(call: Any, messages: Sequence[WorkerMessage]) -> None:
    try:
        await call.write(_METHOD.encode_request(OpenSessionRequest(messages=tuple(messages))))
    except asyncio.InvalidStateError as exc:
        # The call has ended, and why is known to the call only.
        raise grpc.aio.AioRpcError(
            await call.code(),
            await call.initial_metadata(),
            await call.trailing_metadata(),
            details=await call.details(),
        ) from exc


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


async def _say_goodbye(call: Any) -> None:
    if call.done():
        return
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
        await asyncio.wait_for(call.done_writing(), _GOODBYE_SECONDS)
    call.cancel()
