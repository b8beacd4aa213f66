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


def place() -> object:
    """Return where a connection may be used: an asyncio one only in the loop that made it."""
    return asyncio.get_running_loop()


def dial(url: str, max_receive_bytes: int, tls: Tls) -> grpc.aio.Channel:
    """Open a channel."""
    return transport.dial(url, aio=True, max_receive_bytes=max_receive_bytes, tls=tls)


def lock() -> threading.Lock:
    """Return what guards the opening of a connection, which never waits."""
    return threading.Lock()


async def end_call(call: Any) -> None:
    """End a call to grpc that may be under way."""
    call.cancel()
