"""A bad network: a proxy on loopback that delays, drops and cuts."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

UP: Final = "up"
"""From the worker to the control plane."""
DOWN: Final = "down"
"""From the control plane to the worker."""

_RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Carries connections to a port, as badly as it is told to.

    Args:
        port: Where connections go to.

    Attributes:
        delay: How long everything is held back, seconds.
        dropped: The directions in which nothing gets through. TCP loses nothing in between, so a
            connection that lost something never carries anything in that direction again.
        connections: How many were made in all.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.dropped: frozenset[str] = frozenset()
        self.connections = 0
        self._target = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where workers find the control plane."""
        return f"grpc://127.0.0.1:{self._listening.getsockname()[1]}"

    def cut(self) -> None:
        """End every connection as a router does that has forgotten it: with a reset."""
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Carry nothing any more."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                self.connections += 1
                try:
                    far = socket.create_connection(self._target)
                except OSError:
                    near.close()
                    continue
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open |= {near, far}
                for source, sink, way in ((near, far, UP), (far, near, DOWN)):
                    carry = threading.Thread(
                        target=self._carry, args=(source, sink, way), daemon=True
                    )
                    carry.start()

    def _carry(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        is_broken = False
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                is_broken = is_broken or way in self.dropped
                if not is_broken:
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open.discard(source)
        source.close()


@contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    """Have a proxy while a block runs."""
    made = Proxy(port)
    try:
        yield made
    finally:
        made.close()
