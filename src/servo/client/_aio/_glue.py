"""What differs between the asyncio client and its twin by more than words."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import grpc.aio

from servo.client import transport
from servo.client._call import Call
from servo.client._tls import Tls

T = TypeVar("T")

Send = Callable[[Call], Awaitable[Any]]
"""Sends a call on and returns its answer."""
Open = Callable[[Call], Awaitable[AsyncGenerator[Any, None]]]
"""Sends a call on and returns its answers."""
Iterate = Callable[[Call], AsyncIterator[Any]]
"""Sends a call on when its answers are iterated."""

sleep = asyncio.sleep
aclosing = contextlib.aclosing


async def resolve(value: T | Awaitable[T]) -> T:
    """Return a value, waiting for it if it has to be waited for."""
    if inspect.isawaitable(value):
        found: T = await value
        return found
    return value


def within(seconds: float | None) -> AbstractAsyncContextManager[Any]:
    """Raise `TimeoutError` when a block takes longer than that."""
    return asyncio.timeout(seconds)


def bounded(transport: T) -> T:
    """Return a transport for HTTP whose waits end with `within`, as those of asyncio do."""
    return transport


def place() -> object:
    """Return where a connection may be used: an asyncio one only in the loop that made it."""
    return asyncio.get_running_loop()


def dial(url: str, max_receive_bytes: int, tls: Tls) -> grpc.aio.Channel:
    """Open a channel."""
    return transport.dial(url, aio=True, max_receive_bytes=max_receive_bytes, tls=tls)


def lock() -> threading.Lock:
    """Return what guards the opening of a connection, which never waits."""
    return threading.Lock()


async def answered(call: Any) -> bytes:
    """Wait for what a call to grpc is answered.

    Raises:
        grpc.RpcError: The call has failed.
    """
    try:
        answer: bytes = await call
    except asyncio.CancelledError as exc:
        if _is_task_cancelled():
            raise
        raise _channel_closed() from exc
    return answer


async def received(call: Any) -> AsyncGenerator[bytes, None]:
    """Yield what a call to grpc is answered; leaving the iteration ends the call.

    Raises:
        grpc.RpcError: The call has failed.
    """
    try:
        async for data in call:
            yield data
    except asyncio.CancelledError as exc:
        if _is_task_cancelled():
            raise
        raise _channel_closed() from exc
    finally:
        call.cancel()


async def exchanged(
    send: Any,
    requests: AsyncGenerator[bytes, None],
    *,
    opening: float | None,
    too_late: Exception,
    metadata: tuple[tuple[str, str], ...],
) -> AsyncGenerator[bytes, None]:
    """Send requests and yield answers, both at the same time; leaving the iteration ends the call.

    Args:
        send: Begins the call.
        requests: What is sent; closed with the call.
        opening: Seconds that the first answer may take; ``None`` for no limit.
        too_late: What is raised when it takes longer.
        metadata: What travels with the call.

    Raises:
        grpc.RpcError: The call has failed.
        Exception: What the requests raised.
    """
    call = send(metadata=metadata)
    failed: list[Exception] = []
    sending = asyncio.create_task(_send(call, requests, failed))
    try:
        async with asyncio.timeout(opening):
            data = await call.read()
        while data is not grpc.aio.EOF:
            yield data
            data = await call.read()
    except TimeoutError as exc:
        raise too_late from exc
    except asyncio.CancelledError as exc:
        if failed:
            raise failed[0] from None
        if _is_task_cancelled():
            raise
        raise _channel_closed() from exc
    finally:
        call.cancel()
        sending.cancel()
        await asyncio.wait([sending])


async def _send(call: Any, requests: AsyncGenerator[bytes, None], failed: list[Exception]) -> None:
    # `call.write` is not used: where a server has ended the call and reads no further, it would put
    # an error of its own in the place of what the server said.
    write = call._cython_call.send_serialized_message
    async with aclosing(requests):
        try:
            async for data in requests:
                try:
                    await call.wait_for_connection()
                    await write(data)
                except Exception:  # the call has ended; who reads its answers is told why
                    return
            await call.done_writing()
        except Exception as exc:  # the caller's own: raised where the answers are read
            failed.append(exc)
            call.cancel()


def _is_task_cancelled() -> bool:
    """Tell whether the task is to end; grpc raises the same where only its call was ended."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _channel_closed() -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(
        grpc.StatusCode.CANCELLED, nothing, nothing, details="the channel was closed"
    )
