"""What tests of the HTTP port speak: HTTP/1.1 and the Connect protocol, byte by byte."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


async def connect(
    url: str, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection to the host of a URL."""
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)


async def request(
    url: str,
    body: bytes = b"",
    *,
    verb: str = "POST",
    key: str = "",
    content_type: str = "application/json",
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> Answer:
    """Send one request on a connection of its own; ``connect_timeout_ms`` is a header's name."""
    given = {"host": urlsplit(url).netloc, "connection": "close"}
    given |= {"content-length": str(len(body)), "content-type": content_type}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    if key:
        given["authorization"] = f"Bearer {key}"
    head = f"{verb} {urlsplit(url).path} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in given.items())
    reader, writer = await connect(url, tls)
    try:
        writer.write(head.encode() + b"\r\n" + body)
        await writer.drain()
        return parse(await asyncio.wait_for(reader.read(), 30))
    finally:
        writer.close()


def parse(data: bytes) -> Answer:
    """Read a whole response."""
    head, _, rest = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        rest = dechunk(rest)
    return Answer(int(status.split()[1]), headers, rest)


def dechunk(data: bytes) -> bytes:
    """Join the chunks of a body."""
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        found += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return found


def envelope(document: object) -> bytes:
    """Return a JSON message as one of a stream."""
    data = json.dumps(document).encode()
    return b"\0" + len(data).to_bytes(4, "big") + data


def envelopes(data: bytes) -> list[tuple[int, Any]]:
    """Split a stream into flags and JSON messages."""
    found = []
    while data:
        length = int.from_bytes(data[1:5], "big")
        found.append((data[0], json.loads(data[5 : 5 + length])))
        data = data[5 + length :]
    return found
