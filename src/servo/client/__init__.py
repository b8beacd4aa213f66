"""Talking to a control plane: `Client`, its asyncio twin `AsyncClient`, and what they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servo._lazy import attach

if TYPE_CHECKING:
    from servo.client._aio._client import AsyncClient as AsyncClient
    from servo.client._aio._interceptors import AsyncInterceptor as AsyncInterceptor
    from servo.client._aio._stream import AsyncStream as AsyncStream
    from servo.client._auth import TokenFile as TokenFile
    from servo.client._call import INTERCEPTOR_ORDER as INTERCEPTOR_ORDER
    from servo.client._call import Call as Call
    from servo.client._metadata import Metadata as Metadata
    from servo.client._retries import Retries as Retries
    from servo.client._sync._client import Client as Client
    from servo.client._sync._interceptors import Interceptor as Interceptor
    from servo.client._sync._stream import Stream as Stream
    from servo.client._tls import Tls as Tls

__all__ = [
    "INTERCEPTOR_ORDER",
    "AsyncClient",
    "AsyncInterceptor",
    "AsyncStream",
    "Call",
    "Client",
    "Interceptor",
    "Metadata",
    "Retries",
    "Stream",
    "Tls",
    "TokenFile",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "servo.client._aio._client": "AsyncClient",
        "servo.client._aio._interceptors": "AsyncInterceptor",
        "servo.client._aio._stream": "AsyncStream",
        "servo.client._auth": "TokenFile",
        "servo.client._call": "INTERCEPTOR_ORDER Call",
        "servo.client._metadata": "Metadata",
        "servo.client._retries": "Retries",
        "servo.client._sync._client": "Client",
        "servo.client._sync._interceptors": "Interceptor",
        "servo.client._sync._stream": "Stream",
        "servo.client._tls": "Tls",
    },
)
