"""Serve a control plane, or call one in every way that is compared.

``serve FOLDER`` prints the URLs and serves until it is killed. ``drive GRPC_URL HTTP_URL CALLS
ROUNDS`` prints one line of JSON: microseconds a call for every round, by way.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from servo._wire import methods
from servo.client import AsyncClient, Client
from servo.client.transport import call_metadata, dial
from servo.types.requests import GetServerInfoRequest, GetServerInfoResponse

KEY = os.environ["SERVO_API_KEY"]
METHOD = methods.GET_SERVER_INFO
REQUEST_ID = ("x-servo-request-id", "01ARZ3NDEKTSV4RRFFQ69G5FAV")


def main() -> None:
    if sys.argv[1] == "serve":
        asyncio.run(serve(Path(sys.argv[2])))
        return
    grpc_url, http_url, calls, rounds = sys.argv[2:]
    found = drive(grpc_url, http_url, int(calls), int(rounds))
    found |= asyncio.run(drive_async(grpc_url, int(calls), int(rounds)))
    print(json.dumps(found))


async def serve(folder: Path) -> None:
    from servo.controlplane.serve import ControlPlane, ControlPlaneConfig

    plane = ControlPlane(ControlPlaneConfig(database=folder / "servo.db", api_key=KEY))
    url = await plane.start()
    print(url, plane.http_url, flush=True)
    await asyncio.Event().wait()


def drive(grpc_url: str, http_url: str, calls: int, rounds: int) -> dict[str, list[float]]:
    """Call by the synchronous clients, in turn."""

    def passing(call: Any, proceed: Any) -> Any:
        return proceed(call)

    request = METHOD.encode_request(GetServerInfoRequest())
    # The same bytes travel either way.
    metadata = (*call_metadata(api_key=KEY), REQUEST_ID)
    channel = dial(grpc_url)
    bare = channel.unary_unary(METHOD.path)
    client = Client(grpc_url, api_key=KEY, interceptors=[passing])
    over_http = Client(http_url, api_key=KEY, interceptors=[passing])
    alone = Client(grpc_url, api_key=KEY, interceptors=[passing])
    answer = METHOD.encode_response(GetServerInfoResponse(servo_version="1", ready=True))
    alone._transport._open()
    alone._transport._callables[METHOD.path] = lambda data, timeout, metadata: answer
    ways: dict[str, Callable[[], Any]] = {
        "sync-bare": lambda: bare(request, timeout=30, metadata=metadata),
        "sync": client.server.info,
        "http": over_http.server.info,
        "share": alone.server.info,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for measured in (False, *[True] * rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            for _ in range(calls):
                way()
            if measured:
                found[name].append((time.perf_counter() - began) / calls * 1e6)
    for one in (client, over_http, alone, channel):
        one.close()
    return found


async def drive_async(grpc_url: str, calls: int, rounds: int) -> dict[str, list[float]]:
    """Call by the asyncio clients, in turn."""

    async def passing(call: Any, proceed: Any) -> Any:
        return await proceed(call)

    request = METHOD.encode_request(GetServerInfoRequest())
    metadata = (*call_metadata(api_key=KEY), REQUEST_ID)
    async with (
        dial(grpc_url, aio=True) as channel,
        AsyncClient(grpc_url, api_key=KEY, interceptors=[passing]) as client,
    ):
        bare = channel.unary_unary(METHOD.path)
        ways: dict[str, Callable[[], Awaitable[Any]]] = {
            "async-bare": lambda: bare(request, timeout=30, metadata=metadata),
            "async": client.server.info,
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for measured in (False, *[True] * rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                for _ in range(calls):
                    await way()
                if measured:
                    found[name].append((time.perf_counter() - began) / calls * 1e6)
        return found


main()
