"""Servers that do what no control plane does, on real sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Behave = Callable[[socket.socket], None]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


@contextmanager
def hostile(behave: Behave) -> Iterator[int]:
    """Listen on loopback and let every connection be treated so; yield the port."""
    listening = socket.create_server(("127.0.0.1", 0))
    open_now: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            behave(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                open_now.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def hang(connection: socket.socket) -> None:
    """Take everything and say nothing."""
    while connection.recv(65536):
        pass


def garbage(connection: socket.socket) -> None:
    """Answer with something that is no protocol at all."""
    connection.recv(65536)
    connection.sendall(b"\x16\x03\x01 220 mail.example.com ESMTP ready\r\n" * 4)


def hang_up(connection: socket.socket) -> None:
    """Close the connection after the request."""
    connection.recv(65536)


def http(reply: bytes | Callable[[bytes], bytes], *, keeps_open: bool = False) -> Behave:
    """Answer every HTTP/1.1 request with some bytes."""

    def behave(connection: socket.socket) -> None:
        request = read_request(connection)
        connection.sendall(reply if isinstance(reply, bytes) else reply(request))
        if keeps_open:
            hang(connection)

    return behave


def read_request(connection: socket.socket) -> bytes:
    """Read one HTTP/1.1 request and return its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError("gone")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    size = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < size:
        body += connection.recv(65536)
    return body


def response(
    status: str, body: bytes = b"", content_type: str = "application/json", **headers: str
) -> bytes:
    """Return the bytes of a whole HTTP/1.1 response; ``retry_after`` is a header's name."""
    found = {"content-type": content_type, "content-length": str(len(body))}
    found |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in found.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def stream(*envelopes: tuple[int, bytes]) -> bytes:
    """Return the bytes of a response that streams, and is never ended but by its last envelope."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/connect+json\r\n\r\n"
    return head + b"".join(struct.pack(">BI", flags, len(body)) + body for flags, body in envelopes)


def http2(status: int, content_type: str, *bodies: bytes) -> Behave:
    """Answer every HTTP/2 request, and never send trailers, as some proxies do.

    Args:
        status: One of those that HPACK has a byte for: 200, 404 or 500.
        content_type: The content type.
        bodies: What comes in frames of its own.
    """
    header = bytes([{200: 0x88, 404: 0x8D, 500: 0x8E}[status]])
    header += b"\x0f\x10" + bytes([len(content_type)]) + content_type.encode()

    def frame(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
        length = len(payload).to_bytes(3, "big")
        return length + bytes([kind, flags]) + number.to_bytes(4, "big") + payload

    def behave(connection: socket.socket) -> None:
        file = connection.makefile("rb")
        assert file.read(len(_PREFACE)) == _PREFACE
        connection.sendall(frame(_SETTINGS, 0, 0))
        while head := file.read(9):
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            number = int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
            file.read(length)
            if kind == _SETTINGS and not flags & _ACK:
                connection.sendall(frame(_SETTINGS, _ACK, 0))
            elif kind == _HEADERS:
                answer = frame(_HEADERS, _END_HEADERS, number, header)
                answer += b"".join(frame(_DATA, 0, number, body) for body in bodies)
                connection.sendall(answer + frame(_DATA, _END_STREAM, number))

    return behave
