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
    """Do nothing: a socket that is waited for has a timeout of its own."""
    return contextlib.nullcontext(seconds)


def place() -> object:
    """Return where a connection may be used: a synchronous one everywhere in its process."""
    return None


def dial(url: str, max_receive_bytes: int, tls: Tls) -> grpc.Channel:
    """Open a channel."""
    return transport.dial(url, max_receive_bytes=max_receive_bytes, tls=tls)


def lock() -> threading.Lock:
    """Return what guards the opening of a connection."""
    return threading.Lock()


def end_call(call: Any) -> None:
    """End a call to grpc that may be under way."""
    call.cancel()
