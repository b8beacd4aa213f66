"""Channels to a control plane, and what every call carries; for synchronous and asyncio callers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, overload
from urllib.parse import urlsplit

import grpc
import grpc.aio

from servo import errors

__all__ = ["CHANNEL_OPTIONS", "SERVER_OPTIONS", "Address", "call_metadata", "dial"]

Options = Sequence[tuple[str, Any]]

CHANNEL_OPTIONS: Final[Options] = (
    # Streams may be silent for hours: pings find out that the other side is gone.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Whether to call again is decided where the call is made, by whether that does no harm.
    ("grpc.enable_retries", 0),
    # A control plane that has just been started answers within milliseconds. The "minimum" is in
    # truth how long one attempt to connect may take.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
"""Options of every channel."""

SERVER_OPTIONS: Final[Options] = (
    # The stock server takes such pings for an attack and ends the connection after the third.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Two servers on one port would each get half of the calls.
    ("grpc.so_reuseport", 0),
)
"""Options of a server that such channels are to stay connected to."""

_LOOPBACK: Final = re.compile(r"localhost|127(?:\.\d+){3}|::1")
_SECURE: Final = {"grpc": False, "grpcs": True}
_is_metadata_text = re.compile(r"[\x20-\x7e]*").fullmatch


@dataclass(frozen=True, slots=True)
class Address:
    """Where a control plane listens.

    Attributes:
        host: Name or address.
        port: TCP port.
        secure: Whether the connection is encrypted.
    """

    host: str
    port: int
    secure: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL such as ``grpc://127.0.0.1:7433``, or ``grpcs://`` for TLS.

        Raises:
            ConfigurationError: It is no such URL.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as exc:
            raise _invalid(url, str(exc)) from exc
        if parts.scheme not in _SECURE:
            raise _invalid(url, f"the scheme is {parts.scheme!r}")
        if not host or not port:
            raise _invalid(url, "the host or the port is missing")
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
            raise _invalid(url, "it holds more than a host and a port")
        return cls(host, port, _SECURE[parts.scheme])

    @property
    def target(self) -> str:
        """The address as grpc writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        return _LOOPBACK.fullmatch(self.host) is not None


@overload
def dial(
    url: str, *, aio: Literal[False] = False, max_receive_bytes: int | None = None
) -> grpc.Channel: ...
@overload
def dial(
    url: str, *, aio: Literal[True], max_receive_bytes: int | None = None
) -> grpc.aio.Channel: ...
def dial(
    url: str, *, aio: bool = False, max_receive_bytes: int | None = None
) -> grpc.Channel | grpc.aio.Channel:
    """Open a channel; it connects with the first call.

    Args:
        url: ``grpc://HOST:PORT``, or ``grpcs://HOST:PORT`` for TLS with the system's authorities.
        aio: Whether the channel is for asyncio.
        max_receive_bytes: The largest message that may arrive; grpc's own 4 MiB when left out.

    Raises:
        ConfigurationError: The URL is malformed.
    """
    address = Address.parse(url)
    options = [*CHANNEL_OPTIONS]
    if max_receive_bytes is not None:
        options.append(("grpc.max_receive_message_length", max_receive_bytes))
    if address.is_loopback:
        # A proxy from the environment cannot know this machine's ports.
        options.append(("grpc.enable_http_proxy", 0))
    if aio:
        if address.secure:
            return grpc.aio.secure_channel(address.target, _credentials(), options)
        return grpc.aio.insecure_channel(address.target, options)
    if address.secure:
        return grpc.secure_channel(address.target, _credentials(), options)
    return grpc.insecure_channel(address.target, options)


def call_metadata(
    *,
    api_key: str | None = None,
    tenant_id: str = "default",
    workspace_id: str = "default",
    source: str = "sdk",
) -> tuple[tuple[str, str], ...]:
    """Make what every call carries: who calls, on whose behalf, from which tool.

    Args:
        api_key: Key of the control plane; none is sent when left out.
        tenant_id: Tenant to act for.
        workspace_id: Workspace to act in.
        source: Tool that calls, such as ``cli``; recorded only.

    Raises:
        ConfigurationError: A value has characters that headers cannot carry.
    """
    metadata = [
        ("x-servo-tenant-id", tenant_id),
        ("x-servo-workspace-id", workspace_id),
        ("x-servo-source", source),
    ]
    for name, value in metadata:
        if not value or _is_metadata_text(value) is None:
            raise errors.ConfigurationError(
                f"{name.removeprefix('x-servo-')} {value!r} cannot be sent: it must be printable "
                f"ASCII and not empty"
            )
    if api_key:
        if _is_metadata_text(api_key) is None:
            raise errors.ConfigurationError(
                "the API key cannot be sent: it must be printable ASCII; check SERVO_API_KEY for a "
                "line break"
            )
        metadata.append(("authorization", f"Bearer {api_key}"))
    return tuple(metadata)


def _credentials() -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials()


def _invalid(url: str, reason: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        f"{url!r} is no address of a control plane: {reason}; write it like grpc://127.0.0.1:7433"
    )
