"""Honest callers and attackers of a control plane on loopback.

``prepare GRPC HTTP`` deploys for both tenants. ``honest GRPC HTTP`` prints ``ready``, and between
two lines of standard input measures the longest silence of three callers. Everything else is the
name of an attack, with the seconds that it lasts. Attacks are bounded in number and time, and go to
the given addresses only, which must be loopback's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc.aio

from servo._wire import methods
from servo.client.transport import call_metadata, dial
from servo.types.requests import GetServerInfoRequest
from servo.types.sessions import CreditGrant, OpenSessionRequest, WorkerHello

KEY: Final = os.environ["SERVO_API_KEY"]
ASSETS: Final = 1_000
PAUSE: Final = 0.01
_EVIL: Final = call_metadata(api_key=KEY, tenant_id="evil")
_ACME: Final = call_metadata(api_key=KEY, tenant_id="acme")
_MEGABYTE: Final = 1024 * 1024
_DRIP_SECONDS: Final = 0.25
_HOLD_SECONDS: Final = 2.0


def port_of(url: str) -> int:
    parts = urlsplit(url)
    if parts.hostname != "127.0.0.1" or parts.port is None:
        raise SystemExit(f"{url!r} is not on loopback; nothing else is attacked")
    return parts.port


# -- what is attacked -------------------------------------------------------------------------


async def prepare(grpc_url: str) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from plane_kit import Caller, asset

    for tenant in ("acme", "evil"):
        caller = Caller(grpc_url, key=KEY, tenant_id=tenant)
        await caller.deploy([asset(f"raw.asset_with_a_long_name_{n}") for n in range(ASSETS)])
        await caller.channel.close()


# -- who is honest ----------------------------------------------------------------------------


class Silence:
    """The longest time without an answer."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._since = 0.0

    def begin(self) -> None:
        """Forget what was until now."""
        self.longest = 0.0

    def end(self) -> float:
        """Return the longest silence, one that has not ended included."""
        return max(self.longest, time.monotonic() - self._since)

    async def follow(self, call: Callable[[], Awaitable[object]]) -> None:
        """Call again and again."""
        while True:
            self._since = time.monotonic()
            # Who is refused asks again: until there is an answer there is silence.
            while not await self._answered(call):
                await asyncio.sleep(PAUSE)
            self.longest = self.end()
            await asyncio.sleep(PAUSE)

    async def _answered(self, call: Callable[[], Awaitable[object]]) -> bool:
        try:
            await call()
        except (OSError, grpc.aio.AioRpcError, asyncio.IncompleteReadError):
            return False
        return True


async def honest(grpc_url: str, http_url: str) -> None:
    port = port_of(http_url)
    loop = asyncio.get_running_loop()
    async with dial(grpc_url, aio=True) as channel, dial(grpc_url, aio=True) as of_worker:
        info = channel.unary_unary(methods.GET_SERVER_INFO.path)
        nothing = methods.GET_SERVER_INFO.encode_request(GetServerInfoRequest())
        hello = methods.OPEN_SESSION.encode_request(
            OpenSessionRequest(
                messages=(WorkerHello(worker_id="w", slots=1), CreditGrant(attempts=0))
            )
        )
        session = of_worker.stream_stream(methods.OPEN_SESSION.path)

        async def call() -> None:
            await info(nothing, metadata=_ACME, timeout=120)

        async def work() -> None:
            async def says() -> AsyncIterator[bytes]:
                yield hello
                await asyncio.sleep(120)

            welcome = session(says(), metadata=_ACME, timeout=120)
            await welcome.read()
            welcome.cancel()

        async def connect() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            line = await reader.readline()
            writer.close()
            if b" 200 " not in line:
                raise OSError(line)

        silences = {"gRPC": Silence(), "worker": Silence(), "HTTP": Silence()}
        for caller in (call, work, connect):
            await caller()
        calling = [
            asyncio.create_task(silence.follow(caller))
            for silence, caller in zip(silences.values(), (call, work, connect), strict=True)
        ]
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        for silence in silences.values():
            silence.begin()
        await loop.run_in_executor(None, sys.stdin.readline)
        found = {name: one.end() * 1000 for name, one in silences.items()}
        for task in calling:
            if task.done():
                task.result()
            task.cancel()
        print(json.dumps(found), flush=True)


# -- attacks ----------------------------------------------------------------------------------


async def posted(url: str, path: str, body: bytes) -> None:
    """Send JSON as the other tenant, whatever comes of it."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in _EVIL)
    head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    with contextlib.suppress(OSError, TimeoutError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        try:
            writer.write(head.encode() + body)
            await asyncio.wait_for(reader.read(), 120)
        finally:
            writer.close()


async def called(channel: grpc.aio.Channel, path: str, data: bytes) -> None:
    """Call as the other tenant, whatever comes of it."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        await channel.unary_unary(path)(data, metadata=_EVIL, timeout=120)


async def again(seconds: float, in_flight: int, *calls: Callable[[], Awaitable[None]]) -> None:
    """Make calls, so many at any time, until the time is over."""
    ends = time.monotonic() + seconds

    async def one(number: int) -> None:
        while time.monotonic() < ends:
            await calls[number % len(calls)]()
            number += 1
            await asyncio.sleep(0.001)

    await asyncio.gather(*map(one, range(in_flight)))


def repeated(number: int, item: bytes, size: int) -> bytes:
    """Return a message whose field has as many items as fit."""
    one = bytes([number << 3 | 2, len(item)]) + item
    return one * (size // len(one))


async def globs(grpc_url: str, http_url: str, seconds: float) -> None:
    def selecting(*expressions: str) -> bytes:
        return json.dumps({"selection": expressions}).encode()

    path = methods.LIST_ASSETS.path
    brackets = selecting("[" * 12_000)
    allowed = selecting(*(f"*a?{n}*" + "?*a" * 300 for n in range(1_000_000 // ASSETS)))
    misspelt = selecting("raw.asset_with_a_long_name_x")
    bodies = (brackets, allowed, misspelt)
    await again(seconds, 8, *(lambda body=body: posted(http_url, path, body) for body in bodies))


async def json_bodies(grpc_url: str, http_url: str, seconds: float) -> None:
    path = methods.LIST_RUNS.path
    bodies = (
        b'{"states":[' + b"1," * 7_900_000 + b"1]}",
        b'{"states":[' + b"1," * 500_000 + b"1]}",
        b'{"x":[' + b"[]," * 300_000 + b"[]]}",
        b'{"x":[' + b"1," * 49_900 + b"1]}" + b" " * 900_000,
        b'{"states":[' + b"1," * 49_900 + b"1]}",
    )
    await again(seconds, 5, *(lambda body=body: posted(http_url, path, body) for body in bodies))


async def protobuf(grpc_url: str, http_url: str, seconds: float) -> None:
    packed = b"\x1a\xf0\xff\x3f" + b"\x01" * (_MEGABYTE - 16)
    requests = (
        (methods.LIST_RUNS.path, packed),
        (methods.CREATE_RUN.path, repeated(1, b"", _MEGABYTE - 16)),
        (methods.CREATE_RUN.path, repeated(7, b"", _MEGABYTE - 16)),
        (methods.CREATE_RUN.path, repeated(7, b"", 64 * 1024 - 16)),
        (methods.DEPLOY.path, repeated(3, bytes(32), _MEGABYTE - 64)),
    )
    async with dial(grpc_url, aio=True) as channel:
        calls = (lambda one=one: called(channel, *one) for one in requests)
        await again(seconds, 8, *calls)


async def chunks(grpc_url: str, http_url: str, seconds: float) -> None:
    from servo import _wire
    from servo.types import AssetDefinition, AssetKey, CodeLocation

    least = _wire.encode_chunk([AssetDefinition(AssetKey("a", "b"), code=CodeLocation("m", "f"))])

    def upload(count: int, in_one: int) -> bytes:
        chunk = least * in_one
        size, length = len(chunk), b""
        while size >= 0x80:
            length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
        return (b"\x0a" + length + bytes([size]) + chunk) * (count // in_one)

    fits = 4 * _MEGABYTE // (len(least) + 1) - 1_000
    bodies = (upload(200_000, 200_000), upload(20_000, 4_000), upload(fits, 5_000))
    path = methods.UPLOAD_CHUNKS.path
    async with dial(grpc_url, aio=True) as channel:
        calls = (lambda body=body: called(channel, path, body) for body in bodies)
        await again(seconds, 4, *calls)


async def held(url: str, count: int, said: bytes = b"") -> list[asyncio.StreamWriter]:
    """Open connections, say something, and keep them."""
    found = []
    for _ in range(count):
        with contextlib.suppress(OSError, TimeoutError):
            _, writer = await asyncio.wait_for(
                asyncio.open_connection("127.0.0.1", port_of(url)), 1
            )
            writer.write(said)
            found.append(writer)
    return found


async def silent(grpc_url: str, http_url: str, seconds: float) -> None:
    ends = time.monotonic() + seconds
    kept = await held(http_url, 1_001) + await held(grpc_url, 1_001)
    await asyncio.sleep(ends - time.monotonic())
    close(kept)


async def halves(grpc_url: str, http_url: str, seconds: float) -> None:
    ends = time.monotonic() + seconds
    head = b"POST /arco.v1.RunService/ListRuns HTTP/1.1\r\nhost: localhost\r\n"
    identity = "".join(f"{name}: {value}\r\n" for name, value in _EVIL).encode()
    body = head + identity + b"content-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
    kept = await held(http_url, 500, head) + await held(http_url, 500, body)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    kept += await held(grpc_url, 300, preface[:10]) + await held(grpc_url, 300, preface)
    while time.monotonic() < ends:
        for writer in kept:
            with contextlib.suppress(OSError):
                writer.write(b"x")
        await asyncio.sleep(_DRIP_SECONDS)
    close(kept)


async def descriptors(grpc_url: str, http_url: str, seconds: float) -> None:
    ends = time.monotonic() + seconds
    kept = []
    while time.monotonic() < ends:
        kept += await held(http_url, 100) + await held(grpc_url, 20)
        if len(kept) > 600:
            close(kept[:300])
            del kept[:300]
        await asyncio.sleep(0.1)
    close(kept)


def close(connections: list[asyncio.StreamWriter]) -> None:
    for writer in connections:
        writer.transport.abort()


def frame(kind: int, flags: int, stream: int, data: bytes = b"") -> bytes:
    length = len(data).to_bytes(3, "big")
    return length + bytes([kind, flags]) + stream.to_bytes(4, "big") + data


def literal(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


async def unfinished(grpc_url: str, http_url: str, seconds: float) -> None:
    """Begin messages of megabytes on 64 streams, as fast as the other side takes them."""
    ends = time.monotonic() + seconds
    paths = (methods.GET_RUN.path, "/grpc.health.v1.Health/Check")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(
                *(_unfinished(port_of(grpc_url), paths[n % 2], ends, n / 10) for n in range(8))
            )


async def _unfinished(port: int, path: str, ends: float, pause: float) -> None:
    # Not all at once: what is measured is what they hold, not how fast they call.
    await asyncio.sleep(pause)
    headers = (
        (":path", path), (":authority", "x"), ("content-type", "application/grpc"),
        ("te", "trailers"),
    )  # fmt: skip
    head = b"\x83\x86" + b"".join(b"\0" + literal(n) + literal(v) for n, v in headers)
    size, streams = 4_000_000, range(1, 17, 2)
    while time.monotonic() < ends:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
                left = dict.fromkeys(streams, size - 20_000)
                window = dict.fromkeys((0, *streams), 65_535)
                initial = 65_535
                for stream in streams:
                    writer.write(frame(1, 4, stream, head))
                    writer.write(frame(0, 0, stream, b"\0" + size.to_bytes(4, "big")))
                while left and time.monotonic() < ends:
                    prefix = await reader.readexactly(9)
                    length, kind, flags = int.from_bytes(prefix[:3], "big"), prefix[3], prefix[4]
                    stream = int.from_bytes(prefix[5:], "big")
                    data = await reader.readexactly(length)
                    if kind == 8 and stream in window:
                        window[stream] += int.from_bytes(data, "big")
                    elif kind == 3:
                        left.pop(stream, None)
                    elif kind == 6 and not flags & 1:
                        writer.write(frame(6, 1, 0, data))
                    elif kind == 4 and not flags & 1:
                        writer.write(frame(4, 1, 0))
                        new = dict(struct.iter_unpack(">HI", data)).get(4, initial)
                        for other in streams:
                            window[other] += new - initial
                        initial = new
                    for other in left:
                        while left[other] > 0 and min(window[0], window[other]) > 16_384:
                            writer.write(frame(0, 0, other, bytes(16_384)))
                            for one in (0, other):
                                window[one] -= 16_384
                            left[other] -= 16_384
                    await writer.drain()
                await asyncio.sleep(_HOLD_SECONDS)
            finally:
                writer.transport.abort()


async def nothing(grpc_url: str, http_url: str, seconds: float) -> None:
    await asyncio.sleep(seconds)


ATTACKS: Final[dict[str, Callable[[str, str, float], Awaitable[None]]]] = {
    "nothing": nothing,
    "globs": globs,
    "json": json_bodies,
    "protobuf": protobuf,
    "chunks": chunks,
    "silent": silent,
    "halves": halves,
    "descriptors": descriptors,
    "unfinished": unfinished,
}


def main() -> None:
    name, grpc_url, http_url, *rest = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port_of(grpc_url), port_of(http_url)
    work: Any
    if name == "prepare":
        work = prepare(grpc_url)
    elif name == "honest":
        work = honest(grpc_url, http_url)
    else:
        work = ATTACKS[name](grpc_url, http_url, float(rest[0]))
    asyncio.run(work)


main()
