"""Sockets that keep to the deadline of a call, however its answer drips in.

A timeout of httpx is one for each time that something is waited for. A server that sends a byte now
and then never exceeds it, so here every wait is given what is left of the block that it is part of.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ssl import SSLContext
from typing import Any, Final

import httpcore
import httpx

_PIECE_BYTES: Final = 64 * 1024


class _Block(threading.local):
    """The block that a thread is in."""

    ends_at: float | None = None


_block: Final = _Block()


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Give the sockets of a block that many seconds in all; a block is never part of another.

    Args:
        seconds: How long; ``None`` for no limit.
    """
    _block.ends_at = None if seconds is None else time.monotonic() + seconds
    try:
        yield
    finally:
        _block.ends_at = None


def bounded(transport: httpx.HTTPTransport) -> httpx.HTTPTransport:
    """Return a transport whose connections keep to `within`.

    Args:
        transport: The same, which has made no connection yet.
    """
    pool: Any = transport._pool
    pool._network_backend = _Backend(pool._network_backend)
    return transport


class _Backend(httpcore.NetworkBackend):
    """Makes connections."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._backend.connect_tcp(
            host, port, _left(timeout, httpcore.ConnectTimeout), local_address, socket_options
        )
        return _Stream(stream)


class _Stream(httpcore.NetworkStream):
    """One connection."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE_BYTES):
            piece = buffer[start : start + _PIECE_BYTES]
            self._stream.write(piece, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    """Return how long a wait may take.

    Raises:
        httpcore.TimeoutException: There is no time left, of the given class.
    """
    ends_at = _block.ends_at
    if ends_at is None:
        return timeout
    left = ends_at - time.monotonic()
    if left <= 0.0:
        raise late("the time of the call is over")
    return left if timeout is None else min(timeout, left)
