"""The HTTP port under connections that say nothing, or half of what they should."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trustme

from http_kit import connect, envelope, request
from plane_kit import KEY, Caller, asset, plane, sync
from servo.controlplane.http import HttpApp
from servo.controlplane.limits import (
    MAX_HTTP_CONNECTIONS,
    HttpLimits,
    connections_of_a_port,
)
from servo.controlplane.listener import HttpListener

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"


class Echo:
    """Answers with the body, on /slow when it is told to; notes whose caller went away."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.started = 0
        self.gone = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.started += 1
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone += 1
                return
            body += message["body"]
            if not message["more_body"]:
                break
        if scope["path"] == "/slow":
            await self.go.wait()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def listening(tls: Any = None, **limits: Any) -> AsyncIterator[tuple[str, Echo]]:
    app = Echo()
    listener = HttpListener(app, "127.0.0.1:0", tls, HttpLimits(**limits))
    try:
        yield listener.start(), app
    finally:
        app.go.set()
        await listener.stop()


async def said(url: str, *parts: bytes, pause: float = 0.05) -> bytes:
    """Send parts with a pause between them; return everything that comes until the end."""
    reader, writer = await connect(url)
    reading = asyncio.create_task(reader.read())
    for part in parts:
        if reading.done():
            break
        writer.write(part)
        await asyncio.wait([reading], timeout=pause)
    try:
        # What is written after the other side has closed may cost the answer.
        found = await asyncio.wait_for(reading, 30)
    except ConnectionError:
        found = b""
    writer.close()
    return found


@sync
async def test_a_connection_that_says_nothing_is_closed(_: Path) -> None:
    async with listening(head_seconds=0.2) as (url, _app):
        assert (await said(url)).startswith(b"HTTP/1.1 408 ")


@sync
async def test_a_head_that_comes_byte_by_byte_has_one_deadline(_: Path) -> None:
    async with listening(head_seconds=0.4) as (url, app):
        parts = [REQUEST[n : n + 1] for n in range(len(REQUEST))]
        assert b"HTTP/1.1 200 " not in await said(url, *parts, pause=0.1)
        assert app.started == 0


@sync
async def test_a_second_request_has_the_deadline_of_a_first(_: Path) -> None:
    async with listening(head_seconds=0.4) as (url, _app):
        found = await said(url, REQUEST, b"POST / HTTP/1.1\r\nhos")
        assert found.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in found


@sync
async def test_half_a_body_is_given_up_and_its_call_is_told(_: Path) -> None:
    async with listening(body_seconds=0.3) as (url, app):
        assert (await said(url, REQUEST[:-1])).startswith(b"HTTP/1.1 408 ")
        assert app.gone == 1


@sync
async def test_what_comes_in_time_is_answered_however_it_is_cut(_: Path) -> None:
    async with listening(head_seconds=30, body_seconds=30, idle_seconds=1) as (url, _app):
        for cut in (1, 20, len(REQUEST) - 5, len(REQUEST) - 1):
            found = await said(url, REQUEST[:cut], REQUEST[cut:])
            assert found.startswith(b"HTTP/1.1 200 "), cut
            assert found.endswith(b"body")


@sync
async def test_an_answer_may_take_longer_than_a_request(_: Path) -> None:
    async with listening(head_seconds=0.2, body_seconds=0.2, idle_seconds=1) as (url, app):
        asyncio.get_running_loop().call_later(0.8, app.go.set)
        answer = await request(f"{url}/slow", b"body")
        assert (answer.status, answer.body) == (200, b"body")


@sync
async def test_silent_connections_make_room_for_honest_ones_oldest_first(_: Path) -> None:
    async with listening(most_connections=8) as (url, _app):
        held = [await connect(url) for _ in range(8)]
        await asyncio.sleep(0.2)
        for number in range(3):
            assert (await request(f"{url}/", b"body")).status == 200
            assert await asyncio.wait_for(held[number][0].read(), 5) == b""
            held.append(await connect(url))
            await asyncio.sleep(0.1)
        # The youngest may still speak.
        held[-1][1].write(REQUEST)
        assert (await asyncio.wait_for(held[-1][0].readline(), 5)).startswith(b"HTTP/1.1 200 ")
        for _, writer in held:
            writer.close()


@sync
async def test_idle_connections_go_after_silent_ones(_: Path) -> None:
    async with listening(most_connections=3) as (url, _app):
        idle = await connect(url)
        idle[1].write(REQUEST)
        assert (await idle[0].readline()).startswith(b"HTTP/1.1 200 ")
        silent = [await connect(url) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert (await request(f"{url}/", b"body")).status == 200
        assert await asyncio.wait_for(silent[0][0].read(), 5) == b""
        idle[1].write(REQUEST)
        found = b""
        while found.count(b"HTTP/1.1 200 ") < 1 or not found.endswith(b"body"):
            found += await asyncio.wait_for(idle[0].read(1000), 5)
        for _, writer in (idle, *silent):
            writer.close()


@sync
async def test_where_all_connections_are_being_answered_another_one_is_refused(_: Path) -> None:
    async with listening(most_connections=2) as (url, app):
        slow = [asyncio.create_task(request(f"{url}/slow", b"body")) for _ in range(2)]
        await asyncio.sleep(0.3)
        assert (await said(url)).startswith(b"HTTP/1.1 503 ")
        app.go.set()
        assert [answer.status for answer in await asyncio.gather(*slow)] == [200, 200]


@sync
async def test_a_handshake_of_tls_has_a_deadline_and_counts_as_silent(_: Path) -> None:
    import ssl

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with listening(context, most_connections=4, head_seconds=1.5) as (url, _app):
        held = [await connect(url) for _ in range(6)]
        answer = await request(f"{url}/", b"body", tls=trusting)
        assert (answer.status, answer.body) == (200, b"body")
        for reader, writer in held:
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()


@sync
async def test_streams_of_one_tenant_leave_connections_to_others(path: Path) -> None:
    async with plane(path) as (served, caller):
        for tenant in ("acme", "evil"):
            other = Caller(caller.url, tenant_id=tenant)
            await other.deploy([asset("raw.a")])
            await other.channel.close()
        app = HttpApp(served._current.endpoints, lambda: True, max_calls_per_tenant=3)
        listener = HttpListener(app, "127.0.0.1:0")
        url = listener.start()
        watch = f"{url}/arco.v1.RunService/WatchEvents"
        info = f"{url}/arco.v1.ServerService/GetServerInfo"
        evil, acme = ({"key": KEY, "x_servo_tenant_id": name} for name in ("evil", "acme"))
        stream = {"content_type": "application/connect+json"}
        held = [
            asyncio.create_task(request(watch, envelope({"follow": True}), **evil, **stream))
            for _number in range(3)
        ]
        await asyncio.sleep(0.5)
        refused = await request(info, b"{}", **evil)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert (await request(info, b"{}", **acme)).status == 200
        for task in held:
            task.cancel()
        await asyncio.wait(held)
        while (await request(info, b"{}", **evil)).status != 200:
            await asyncio.sleep(0.05)
        await listener.stop()


FULL = """
import asyncio, logging, resource, sys
from servo.controlplane.limits import HttpLimits
from servo.controlplane.listener import HttpListener

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})

async def main():
    logging.basicConfig()
    listener = HttpListener(app, "127.0.0.1:0", None, HttpLimits(most_connections=10_000))
    print(listener.start(), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
    print("limited", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(usage.ru_utime + usage.ru_stime, flush=True)
    await listener.stop()

asyncio.run(main())
"""


def test_running_out_of_descriptors_is_said_once_and_honest_callers_are_answered() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FULL], stdin=-1, stdout=-1, stderr=-1, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        url = process.stdout.readline().strip()
        # uvicorn is loaded with the first connection.
        assert urllib.request.urlopen(url, timeout=30).read() == b"here"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "limited\n"
        address = url.rpartition("/")[2].split(":")
        held = [socket.create_connection((address[0], int(address[1]))) for _ in range(100)]
        for _ in range(5):
            assert urllib.request.urlopen(url, timeout=30).read() == b"here"
        out, err = process.communicate("\n", timeout=30)
        for one in held:
            one.close()
    finally:
        process.kill()
    assert err.count("cannot accept connections: Too many open files") == 1
    assert len(err) < 1_000
    assert json.loads(out) < 20


@sync
async def test_a_port_that_was_closed_holds_no_descriptor(_: Path) -> None:
    async def look() -> int:
        async with listening() as (url, _):
            await said(url, REQUEST.replace(b"host: x", b"host: x\r\nconnection: close"))
        return len(list(Path("/proc/self/fd").iterdir()))

    # The first time also loads what stays.
    await look()
    assert await look() == await look()


def test_the_ports_leave_descriptors_for_the_rest_of_the_process() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        assert 2 * connections_of_a_port() < max(soft, 33)
    assert HttpLimits().most_connections == min(connections_of_a_port(), MAX_HTTP_CONNECTIONS)
