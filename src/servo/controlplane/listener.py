"""The HTTP port: bound at once, served by uvicorn from the first connection on.

uvicorn takes longer to import than a control plane takes to start, and most commands that start
one never speak HTTP. Until somebody does, the kernel holds the connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from servo import errors
from servo.controlplane.limits import HttpLimits

if TYPE_CHECKING:
    from servo.controlplane.http_connections import Connections

_LOG = logging.getLogger(__name__)
_BACKLOG: Final = 128
_GRACE_SECONDS: Final = 1
_KNOWN_HOSTS: Final = 100


class HttpListener:
    """One port on which an ASGI application answers.

    Args:
        app: The application.
        listen: Host and port; port 0 takes a free one.
        tls: The port's TLS; `None` for plain HTTP.
        limits: How many connections there may be, and how long each may be silent.
    """

    def __init__(
        self,
        app: Any,
        listen: str,
        tls: ssl.SSLContext | None = None,
        limits: HttpLimits | None = None,
    ) -> None:
        self._limits = limits or HttpLimits()
        self._app = app
        self._listen = listen
        self._tls = tls
        self._socket: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None
        self._connections: Connections | None = None

    def start(self) -> str:
        """Bind the port and return its URL.

        Raises:
            servo.errors.UnavailableError: The address cannot be listened on.
        """
        host, port = split(self._listen)
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as exc:
            raise errors.UnavailableError(
                f"cannot listen on {self._listen!r}: {exc.strerror}", code="LISTEN_FAILED"
            ) from exc
        self._socket.setblocking(False)
        # Connections inherit it. asyncio sets it only where a socket's protocol is named, and
        # without it an answer waits 40 ms for the other side to acknowledge its headers.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asyncio.get_running_loop().add_reader(self._socket, self._on_first_connection)
        scheme = "http" if self._tls is None else "https"
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}:{self._socket.getsockname()[1]}"

    async def stop(self) -> None:
        """Stop listening; what is being answered gets a second to end."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait([self._serving])
        if self._connections is not None:
            await self._connections.stop(_GRACE_SECONDS)
        self._socket.close()
        self._socket = None

    def _on_first_connection(self) -> None:
        assert self._socket is not None
        asyncio.get_running_loop().remove_reader(self._socket)
        self._serving = asyncio.create_task(self._serve(self._socket))

    async def _serve(self, listening: socket.socket) -> None:
        try:
            # In a thread: the event loop has leases to keep.
            connections_type = await asyncio.to_thread(_connections_type)
            self._connections = connections_type(self._app, listening, self._tls, self._limits)
            self._connections.start()
        except Exception:
            _LOG.exception("the HTTP port stopped serving")


def _connections_type() -> type[Connections]:
    from servo.controlplane.http_connections import Connections

    return Connections


def split(listen: str) -> tuple[str, int]:
    """Return the host, without brackets, and the port of an address.

    Raises:
        servo.errors.ConfigurationError: It is no address.
    """
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise errors.ConfigurationError(
            f"{listen!r} is no address to listen on; write it like 127.0.0.1:7433 or [::1]:7433, "
            "with port 0 for a free one",
            code="LISTEN_INVALID",
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, and nobody else can reach it."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


class OwnNames:
    """Tells which hosts a port that only this machine reaches answers for.

    A web page can give its own name the address of loopback; the browser then takes the answers
    for the page's own. The header ``Host`` still has the page's name.

    Args:
        listen: Host and port that HTTP listens on.
        more: Other names to answer for, such as the one of a proxy in front.
    """

    def __init__(self, listen: str, more: Iterable[str] = ()) -> None:
        self._is_open = not is_loopback(split(listen)[0])
        self._more = frozenset(name.lower().rstrip(".") for name in more)
        self._known: set[str] = set()

    def __call__(self, host: str) -> bool:
        """Tell whether requests for a host are answered.

        Args:
            host: The header, a port may follow; empty where HTTP/1.0 has none.
        """
        if self._is_open or not host or host in self._known:
            return True
        name = host.lower()
        if not name.endswith("]"):
            before, colon, port = name.rpartition(":")
            name = before if colon and port.isdigit() else name
        name = name.removeprefix("[").removesuffix("]").rstrip(".")
        is_own = is_loopback(name) or name in self._more
        if is_own and len(self._known) < _KNOWN_HOSTS:
            self._known.add(host)
        return is_own
