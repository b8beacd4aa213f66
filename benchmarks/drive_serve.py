"""A server to be called, or the one who calls it with many calls in flight.

``echo`` and ``plane FOLDER`` serve: they print their URLs, then for each line of standard input the
seconds of processor time that they have used. ``drive WAY URL CALLS RUN_ID`` prints the seconds
that so many calls took.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc.aio

from servo._wire import methods
from servo.client.transport import SERVER_OPTIONS, call_metadata, dial
from servo.types.requests import GetRunRequest, GetServerInfoRequest, GetServerInfoResponse

KEY = os.environ["SERVO_API_KEY"]
METADATA = (*call_metadata(api_key=KEY), ("x-servo-request-id", "01ARZ3NDEKTSV4RRFFQ69G5FAV"))
IN_FLIGHT = 32
ANSWER = methods.GET_SERVER_INFO.encode_response(
    GetServerInfoResponse(servo_version="1.0.0", protocol_version=1, store_id="0" * 26, ready=True)
)


class Echo(grpc.GenericRpcHandler):
    """Answers every path at once with the same bytes."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def answer(data: bytes, context: Any) -> bytes:
            return ANSWER

        return grpc.unary_unary_rpc_method_handler(answer)


async def tell_time() -> None:
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(time.process_time(), flush=True)


async def echo() -> None:
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"grpc://127.0.0.1:{port}", flush=True)
    await tell_time()
    await server.stop(None)


async def plane(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from plane_kit import Caller, asset
    from servo.controlplane.serve import ControlPlane, ControlPlaneConfig

    served = ControlPlane(ControlPlaneConfig(database=folder / "servo.db", api_key=KEY))
    url = await served.start()
    caller = Caller(url, key=KEY)
    await caller.deploy([asset("raw.a")])
    run = (await caller.create_run("*")).run
    await caller.channel.close()
    print(url, served.http_url, run.run_id, flush=True)
    await tell_time()
    await served.stop()


async def over_grpc(url: str, path: str, request: bytes, calls: int) -> float:
    async with dial(url, aio=True) as channel:
        call = channel.unary_unary(path)

        async def one() -> None:
            await call(request, timeout=30, metadata=METADATA)

        return await in_flight(one, calls)


async def over_http(url: str, path: str, calls: int) -> float:
    parts = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in METADATA)
    request = (head + "content-length: 2\r\n\r\n{}").encode()
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def one() -> None:
        pair = free.pop() if free else await asyncio.open_connection(parts.hostname, parts.port)
        reader, writer = pair
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        await reader.readexactly(length)
        free.append(pair)

    taken = await in_flight(one, calls)
    for _, writer in free:
        writer.close()
    return taken


async def in_flight(one: Callable[[], Awaitable[None]], calls: int) -> float:
    """Make calls, so many at any time, and return how long all of them took."""

    async def several(count: int) -> None:
        for _ in range(count):
            await one()

    await several(IN_FLIGHT)
    began = time.perf_counter()
    await asyncio.gather(*(several(calls // IN_FLIGHT) for _ in range(IN_FLIGHT)))
    return time.perf_counter() - began


def main() -> None:
    match sys.argv[1:]:
        case ["echo"]:
            asyncio.run(echo())
        case ["plane", folder]:
            asyncio.run(plane(Path(folder)))
        case ["drive", "info", url, calls, _]:
            request = methods.GET_SERVER_INFO.encode_request(GetServerInfoRequest())
            path = methods.GET_SERVER_INFO.path
            print(asyncio.run(over_grpc(url, path, request, int(calls))))
        case ["drive", "run", url, calls, run_id]:
            request = methods.GET_RUN.encode_request(GetRunRequest(run_id=run_id))
            print(asyncio.run(over_grpc(url, methods.GET_RUN.path, request, int(calls))))
        case ["drive", "http", url, calls, _]:
            print(asyncio.run(over_http(url, methods.GET_SERVER_INFO.path, int(calls))))


main()
