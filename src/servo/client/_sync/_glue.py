"""What differs between the synchronous client and its twin by more than words."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import grpc

from servo.client import transport
from servo.client._call import Call
from servo.client._tls import Tls

T = TypeVar("T")

Send = Callable[[Call], Any]
"""Sends a call on and returns its answer."""
Open = Callable[[Call], Generator[Any, None, None]]
"""Sends a call on and returns its answers."""
Iterate = Callable[[Call], Iterator[Any]]
"""Sends a call on when its answers are iterated."""

sleep = time.sleep
closing = contextlib.closing


def resolve(value: T) -> T:
    """Return a value."""
    return value


def within(seconds: float | None) -> AbstractContextManager[Any]:
    """Let the connections of a `bounded` transport raise when a block takes longer than that."""
    from servo.client._bounded import within

    return within(seconds)


def bounded(transport: Any) -> Any:
    """Return a transport for HTTP whose waits end with `within`."""
    from servo.client._bounded import bounded

    return bounded(transport)


def place() -> object:
    """Return where a connection may be used: a synchronous one everywhere in its process."""
    return None


def dial(url: str, max_receive_bytes: int, tls: Tls) -> grpc.Channel:
    """Open a channel."""
    return transport.dial(url, max_receive_bytes=max_receive_bytes, tls=tls)


def lock() -> threading.Lock:
    """Return what guards the opening of a connection."""
    return threading.Lock()


def answered(answer: bytes) -> bytes:
    """Return what a call to grpc was answered."""
    return answer


def received(call: Any) -> Generator[bytes, None, None]:
    """Yield what a call to grpc is answered; leaving the iteration ends the call.

    Raises:
        grpc.RpcError: The call has failed.
    """
    try:
        yield from call
    finally:
        call.cancel()


def exchanged(
    send: Any,
    requests: Generator[bytes, None, None],
    *,
    opening: float | None,
    too_late: Exception,
    metadata: tuple[tuple[str, str], ...],
) -> Generator[bytes, None, None]:
    """Send requests and yield answers, both at the same time; leaving the iteration ends the call.

    A thread of grpc iterates the requests. One that waits for its next request when the call ends
    is left waiting: whoever iterates endlessly wakes it up.

    Args:
        send: Begins the call.
        requests: What is sent.
        opening: Seconds that the first answer may take; ``None`` for no limit.
        too_late: What is raised when it takes longer.
        metadata: What travels with the call.

    Raises:
        grpc.RpcError: The call has failed.
        Exception: What the requests raised.
    """
    failed: list[Exception] = []
    begun = threading.Event()

    def sent() -> Iterator[bytes]:
        try:
            yield from requests
        except Exception as exc:  # the caller's own: raised where the answers are read
            failed.append(exc)
            begun.wait()
            call.cancel()

    def expire() -> None:
        failed.append(too_late)
        call.cancel()

    call = send(sent(), metadata=metadata)
    begun.set()
    limit = threading.Timer(opening or 0.0, expire)
    if opening is not None:
        limit.daemon = True
        limit.start()
    try:
        for data in call:
            limit.cancel()
            yield data
    except grpc.RpcError:
        if failed:
            raise failed[0] from None
        raise
    finally:
        limit.cancel()
        call.cancel()
