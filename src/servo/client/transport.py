"""Addresses and gRPC channels, and what every call carries; for every kind of caller."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, overload
from urllib.parse import urlsplit

import grpc
import grpc.aio

from servo import errors
from servo.client._metadata import AUTHORIZATION, TRACEPARENT, TRACESTATE, bearer, identity
from servo.client._tls import Tls, grpc_credentials

__all__ = [
    "CHANNEL_OPTIONS",
    "MAX_RESPONSE_BYTES",
    "SERVER_OPTIONS",
    "Address",
    "call_metadata",
    "dial",
    "trace_metadata",
]

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
    # Before a key is known: how many calls a connection has, how long it may be without one, and
    # how long it may take to begin. A channel that was closed connects again with its next call.
    ("grpc.max_concurrent_streams", 1_000),
    # What is received ahead of time does not grow with what the other side sends; a message that
    # is being read still makes room for itself.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_connection_idle_ms", 60_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
)
"""Options of a server that such channels are to stay connected to."""

MAX_RESPONSE_BYTES: Final = 64 * 1024 * 1024
"""The largest message that a client takes unless it is told otherwise."""

_LOOPBACK: Final = re.compile(r"localhost|127(?:\.\d+){3}|::1")
_SECURE: Final = {"grpc": False, "grpcs": True, "http": False, "https": True}
_is_traceparent = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_is_tracestate = re.compile(r"[\x20-\x7e]{1,512}").fullmatch
_DEFAULT_PORT: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a control plane listens.

    Attributes:
        host: Name or address.
        port: TCP port.
        secure: Whether the connection is encrypted.
        scheme: ``grpc``, ``grpcs``, ``http`` or ``https``.
        prefix: What comes before the path of an RPC over HTTP, such as ``/servo``; usually empty.
    """

    host: str
    port: int
    secure: bool
    scheme: str = "grpc"
    prefix: str = ""

    @classmethod
    def parse(cls, url: str, *, http: bool = False) -> Address:
        """Read a URL such as ``grpc://127.0.0.1:7433``, or ``grpcs://`` for TLS.

        Args:
            url: The URL.
            http: Whether ``http://`` and ``https://`` are understood as well.

        Raises:
            ConfigurationError: It is no such URL.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as exc:
            raise _invalid(url, str(exc)) from exc
        scheme = parts.scheme
        if scheme not in _SECURE:
            raise _invalid(url, f"the scheme is {scheme!r}")
        is_http = scheme in _DEFAULT_PORT
        if is_http and not http:
            raise _invalid(url, "a session of a worker needs gRPC")
        port = port or _DEFAULT_PORT.get(scheme)
        if not host or not port:
            raise _invalid(url, "the host or the port is missing")
        prefix = parts.path.rstrip("/")
        if (prefix and not is_http) or parts.query or parts.fragment or parts.username:
            raise _invalid(url, "it holds more than a host and a port")
        return cls(host, port, _SECURE[scheme], scheme, prefix)

    @property
    def is_http(self) -> bool:
        """Whether it is called over HTTP instead of gRPC."""
        return self.scheme in _DEFAULT_PORT

    @property
    def target(self) -> str:
        """The address as grpc writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.target}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        return _LOOPBACK.fullmatch(self.host) is not None

    def refuse_plain_text(self) -> None:
        """Refuse to send a key here if others could read it on the way.

        Raises:
            ConfigurationError: The address is neither encrypted nor on this machine.
        """
        if not self.secure and not self.is_loopback:
            secure = "https" if self.is_http else "grpcs"
            raise errors.ConfigurationError(
                f"the API key is not sent to {self.origin!r} in plain text, where everybody on the "
                f"way could read it; use {secure}:// there",
                code="PLAIN_TEXT_KEY",
            )


@overload
def dial(
    url: str,
    *,
    aio: Literal[False] = False,
    max_receive_bytes: int | None = None,
    tls: Tls | None = None,
) -> grpc.Channel: ...
@overload
def dial(
    url: str,
    *,
    aio: Literal[True],
    max_receive_bytes: int | None = None,
    tls: Tls | None = None,
) -> grpc.aio.Channel: ...
def dial(
    url: str,
    *,
    aio: bool = False,
    max_receive_bytes: int | None = None,
    tls: Tls | None = None,
) -> grpc.Channel | grpc.aio.Channel:
    """Open a channel; it connects with the first call.

    Args:
        url: ``grpc://HOST:PORT``, or ``grpcs://HOST:PORT`` for TLS.
        aio: Whether the channel is for asyncio.
        max_receive_bytes: The largest message that may arrive; grpc's own 4 MiB when left out.
        tls: Whom to trust, and who one is; the system's authorities when left out.

    Raises:
        ConfigurationError: The URL is malformed, or a file for TLS cannot be used.
    """
    address = Address.parse(url)
    options = [*CHANNEL_OPTIONS]
    if max_receive_bytes is not None:
        options.append(("grpc.max_receive_message_length", max_receive_bytes))
    if address.is_loopback:
        # A proxy from the environment cannot know this machine's ports.
        options.append(("grpc.enable_http_proxy", 0))
    if address.secure:
        credentials = grpc_credentials(tls or Tls())
        if aio:
            return grpc.aio.secure_channel(address.target, credentials, options)
        return grpc.secure_channel(address.target, credentials, options)
    if aio:
        return grpc.aio.insecure_channel(address.target, options)
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
    found = identity(tenant_id, workspace_id, source)
    return (*found, (AUTHORIZATION, bearer(api_key))) if api_key else found


def trace_metadata(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the trace that a process was started in, as its calls carry it.

    Whoever starts a command in a trace sets ``TRACEPARENT`` and ``TRACESTATE``, as the convention
    of OpenTelemetry has it. What is malformed is passed over: a trace must not break a command.

    Args:
        environ: Environment variables.
    """
    parent = environ.get("TRACEPARENT", "")
    if _is_traceparent(parent) is None:
        return {}
    state = environ.get("TRACESTATE", "")
    if not state or _is_tracestate(state) is None:
        return {TRACEPARENT: parent}
    return {TRACEPARENT: parent, TRACESTATE: state}


def _invalid(url: str, reason: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        f"{url!r} is no address of a control plane: {reason}; write it like grpc://127.0.0.1:7433"
    )
