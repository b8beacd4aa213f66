"""A control plane whose answers a test writes, and one way to call it by either client."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from servo._wire import Method, MethodKind
from servo.client import AsyncClient, Client
from servo.controlplane.caller import Caller
from servo.controlplane.endpoints import Endpoint, Endpoints
from servo.controlplane.rpc import Router
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig

KEY = "test-key"
Mode = Literal["sync", "async"]
Wire = Literal["grpc", "http"]


@dataclass
class Script:
    """What a control plane answers, and what it was asked.

    Attributes:
        answers: By name of an RPC, what makes the answer of a request (for a stream: an iterable
            of answers). It may be asynchronous. RPCs that are not named are served as usual.
        headers: The metadata of every call, in order.
        requests: The name and the request of every scripted call, in order.
        grpc_url: Where it is reached.
        http_url: Where it is reached over HTTP.
    """

    answers: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)
    requests: list[tuple[str, Any]] = field(default_factory=list)
    grpc_url: str = ""
    http_url: str = ""

    def url(self, wire: Wire) -> str:
        return self.grpc_url if wire == "grpc" else self.http_url

    def clear(self) -> None:
        self.answers.clear()
        self.headers.clear()
        self.requests.clear()


class _Gate:
    """The gate of a control plane, which writes down what comes with each call."""

    def __init__(self, gate: Any, script: Script) -> None:
        self._gate = gate
        self._script = script
        self.keys = gate.keys

    async def admit(self, method: Method[Any, Any], headers: Mapping[str, str | bytes]) -> Caller:
        self._script.headers.append({name: str(value) for name, value in headers.items()})
        caller: Caller = await self._gate.admit(method, headers)
        return caller


class _Scripted(ControlPlane):
    def __init__(self, config: ControlPlaneConfig, script: Script) -> None:
        super().__init__(config)
        self._script = script

    async def _prepare_alone(self, path: Path) -> tuple[Any, Any]:
        _, app = await super()._prepare_alone(path)
        found: Endpoints = app._endpoints
        found.gate = _Gate(found.gate, self._script)  # type: ignore[assignment]  # has its methods
        found.by_path = {
            path: Endpoint(endpoint.method, self._verb(endpoint))
            for path, endpoint in found.by_path.items()
        }
        return Router(found), app

    def _verb(self, endpoint: Endpoint) -> Callable[..., Any]:
        name, script = endpoint.method.name, self._script

        async def unary(caller: Caller, request: Any) -> Any:
            if name not in script.answers:
                return await endpoint.verb(caller, request)
            script.requests.append((name, request))
            answer = script.answers[name](request)
            return await answer if inspect.isawaitable(answer) else answer

        async def stream(caller: Caller, request: Any) -> AsyncIterator[Any]:
            if name not in script.answers:
                async for answer in endpoint.verb(caller, request):
                    yield answer
                return
            script.requests.append((name, request))
            answers = script.answers[name](request)
            if hasattr(answers, "__aiter__"):
                async for answer in answers:
                    yield answer
            else:
                for answer in answers:
                    yield answer

        return unary if endpoint.method.kind is MethodKind.UNARY else stream


@contextmanager
def scripted_plane(folder: Path, **options: Any) -> Iterator[Script]:
    """Run a control plane on a thread of its own.

    Args:
        folder: Where its database is.
        options: Anything else that a `ControlPlaneConfig` has.
    """
    script = Script()
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        config = ControlPlaneConfig(database=folder / "servo.db", api_key=KEY, **options)
        plane = _Scripted(config, script)
        script.grpc_url = await plane.start()
        script.http_url = plane.http_url
        started.set()
        await stop.wait()
        await plane.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(60), "the control plane did not start"
    try:
        yield script
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


def own_clock() -> Callable[[], float]:
    """Return a clock that no other client has, and so a circuit breaker that no other has."""

    def clock() -> float:
        return time.monotonic()

    return clock


def call(mode: Mode, url: str, do: Callable[[Any], Any], **options: Any) -> Any:
    """Make a client, call it once and close it.

    Args:
        mode: Which client.
        url: Address of the control plane.
        do: Calls the client; what it returns is waited for, and a stream read to its end.
        options: Arguments of the client; a key and a clock of its own by default.
    """
    given = {"api_key": KEY, "clock": own_clock()} | options
    if mode == "sync":
        with Client(url, **given) as client:
            found = do(client)
            return list(found) if hasattr(found, "__next__") else found
    return asyncio.run(_call(url, do, given))


async def _call(url: str, do: Callable[[Any], Any], options: dict[str, Any]) -> Any:
    async with AsyncClient(url, **options) as client:
        found = do(client)
        if hasattr(found, "__aiter__"):
            return [item async for item in found]
        return await found
