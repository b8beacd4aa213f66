"""How HTTP connections are made: certificates, keep-alive, proxies."""

from __future__ import annotations

import socket
import ssl
import urllib.request
from typing import Any, Final

from servo import _extras
from servo.client._tls import Tls, ssl_context
from servo.client.transport import Address

SOCKET_OPTIONS: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    # Streams may be silent for hours: probes find out that the other side is gone.
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]
"""Options of every socket."""

CONNECTION_LIMITS: Final = {
    # A stream keeps its connection, so a limit would be one on the number of streams.
    "max_connections": None,
    "max_keepalive_connections": 64,
    "keepalive_expiry": 30.0,
}
"""How many connections are open, and how long an idle one stays."""


def import_httpx() -> Any:
    """Return the module.

    Raises:
        ConfigurationError: It is not installed.
    """
    with _extras.needing("httpx", "a control plane at http:// or https:// (grpc:// does not)"):
        import httpx
    return httpx


def verification(address: Address, tls: Tls) -> ssl.SSLContext:
    """Return whom to trust at an address.

    Raises:
        ConfigurationError: A file for TLS cannot be used.
    """
    if address.secure:
        return ssl_context(tls)
    # Nothing is encrypted; loading authorities would take longer than the first call.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def proxy_for(address: Address) -> str | None:
    """Return the URL of the proxy that the environment names for an address."""
    if address.is_loopback:
        # It cannot know this machine's ports.
        return None
    proxies = urllib.request.getproxies()
    found = proxies.get(address.scheme) or proxies.get("all")
    if not found or urllib.request.proxy_bypass(address.host):
        return None
    return found if "://" in found else f"http://{found}"
