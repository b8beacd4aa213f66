"""A real gRPC server on loopback whose answers the tests write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from servo import _wire
from servo._wire import METHODS, Method, MethodKind
from servo.client import Client
from servo.client.transport import SERVER_OPTIONS
from servo.types.assets import AssetDefinition, CodeLocation
from servo.types.keys import AssetKey
from servo.types.requests import AssetSummary

KEY = "k3y"


@dataclass
class Plane:
    """Records what it is asked and answers what the test says.

    Attributes:
        answers: By name of an RPC, what makes the answer (for a stream: the answers) of a request.
        asked: The name and the decoded request of every call.
        metadata: The metadata of the last call.
        sizes: The size of every request in bytes.
    """

    answers: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    url: str = ""
    port: int = 0
    _server: grpc.Server | None = None

    def start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4), options=SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers((_Handlers(self),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.url = f"grpc://127.0.0.1:{self.port}"
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(grace=None).wait(10)
            self._server = None

    def requests(self, name: str) -> list[Any]:
        return [request for asked, request in self.asked if asked == name]


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method = METHODS[details.method]
        if method.name not in self._plane.answers:
            return None
        if method.kind is MethodKind.UNARY:
            return grpc.unary_unary_rpc_method_handler(
                lambda data, call: self._one(method, data, call)
            )
        return grpc.unary_stream_rpc_method_handler(
            lambda data, call: self._many(method, data, call)
        )

    def _one(self, method: Method[Any, Any], data: bytes, call: grpc.ServicerContext) -> bytes:
        try:
            return method.encode_response(self._answer(method, data, call))
        except Exception as exc:  # as the control plane does: everything becomes a status
            _abort(call, exc)
            raise

    def _many(
        self, method: Method[Any, Any], data: bytes, call: grpc.ServicerContext
    ) -> Iterator[bytes]:
        try:
            for answer in self._answer(method, data, call):
                yield method.encode_response(answer)
        except Exception as exc:  # as the control plane does: everything becomes a status
            _abort(call, exc)

    def _answer(self, method: Method[Any, Any], data: bytes, call: grpc.ServicerContext) -> Any:
        self._plane.metadata = dict(call.invocation_metadata())
        request = method.decode_request(data)
        self._plane.asked.append((method.name, request))
        self._plane.sizes.append(len(data))
        return self._plane.answers[method.name](request)


def _abort(call: grpc.ServicerContext, exc: Exception) -> None:
    status = _wire.status_for(exc)
    call.set_trailing_metadata(((_wire.DETAILS_KEY, status.details),))
    call.abort(grpc.StatusCode[status.code], status.message)


@pytest.fixture
def plane() -> Iterator[Plane]:
    found = Plane()
    found.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def client(plane: Plane) -> Iterator[Client]:
    with Client(
        plane.url, api_key=KEY, tenant_id="acme", workspace_id="prod", source="test", timeout=10.0
    ) as found:
        yield found


@pytest.fixture
def asset_summary() -> AssetSummary:
    definition = AssetDefinition(AssetKey("raw", "events"), code=CodeLocation("assets", "events"))
    return AssetSummary(definition=definition, materialized_partitions=3)
