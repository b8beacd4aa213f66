"""Every RPC of the contract has a method of the client and a verb of the server, and back."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from messages import FILES
from servo import errors
from servo._wire import METHODS
from servo.client import Client
from servo.controlplane.service import Service
from servo.types.access import Role
from servo.types.assets import AssetDefinition, CodeLocation
from servo.types.deployments import Deployment
from servo.types.ids import RunId
from servo.types.keys import AssetKey
from servo.types.manifests import ManifestContents
from servo.types.requests import (
    DeployResponse,
    FindMissingChunksResponse,
    GetDeploymentResponse,
    UploadChunksResponse,
)
from servo.worker.connection import Doorbell, Endpoint, hold
from servo.worker.log_buffer import LogBuffer
from servo.worker.pool import Pool
from servo.worker.runner_process import RunnerCommand
from servo.worker.session import Identity, Session

RPCS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
}
BY_WORKERS = {"/arco.v1.WorkerService/OpenSession"}
"""What workers call."""

ASSETS = (AssetDefinition(AssetKey("raw", "events"), code=CodeLocation("assets", "events")),)
DEPLOYED = Deployment(deployment_id="", content_fingerprint="", chunk_digests=(bytes(32),))
ARGUMENTS: dict[str, Any] = {
    "deployment": "",
    "key": "raw.events",
    "key_id": "abcdefgh",
    "manifest": ManifestContents(assets=ASSETS),
    "name": "warehouse",
    "priority": 1,
    "requests": iter(()),
    "role": Role.VIEWER,
    "run_id": RunId.generate(),
    "selection": ["raw.*"],
    "slots": 2,
    "timeout": 1.0,
}
"""What the parameters of client methods are given that have no default, by name."""
CHOICES: dict[str, dict[str, Any]] = {"why": {"asset": "raw.events"}}
"""What methods are given of whose parameters one is needed, whichever it is."""

ANSWERS: dict[str, Callable[[Any], object]] = {
    "Deploy": lambda _: DeployResponse(chunks_needed=True),
    "FindMissingChunks": lambda asked: FindMissingChunksResponse(
        missing_digests=asked.chunk_digests
    ),
    "UploadChunks": lambda asked: UploadChunksResponse(stored=len(asked.chunks)),
    "GetDeployment": lambda _: GetDeploymentResponse(deployment=DEPLOYED),
}
"""Answers after which the client calls something else; every other call is refused."""


class Recorder(grpc.GenericRpcHandler):
    """Serves every path, and writes down which were called."""

    def __init__(self) -> None:
        self.called: set[str] = set()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        self.called.add(details.method)
        method = METHODS[details.method]
        if method.name in ANSWERS:
            return grpc.unary_unary_rpc_method_handler(partial(self._answer, method))
        return grpc.stream_stream_rpc_method_handler(self._refuse)

    def _answer(self, method: Any, data: bytes, call: grpc.ServicerContext) -> bytes:
        return method.encode_response(ANSWERS[method.name](method.decode_request(data)))

    def _refuse(self, requests: Any, call: grpc.ServicerContext) -> Iterator[bytes]:
        call.abort(grpc.StatusCode.INVALID_ARGUMENT, "not in this test")
        yield b""


@pytest.fixture
def server() -> Iterator[tuple[Recorder, str]]:
    recorder = Recorder()
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((recorder,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield recorder, f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait(10)


def client_methods(client: Client) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public method of every noun of the client."""
    for noun, part in vars(client).items():
        if noun.startswith("_"):
            continue
        for name, method in inspect.getmembers(part, inspect.ismethod):
            if not name.startswith("_"):
                yield f"client.{noun}.{name}", method


def call(method: Callable[..., Any]) -> None:
    """Call a method as a user does, and begin to read what it answers."""
    needed = [
        name
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.default is parameter.empty
    ]
    missing = set(needed) - set(ARGUMENTS)
    assert not missing, f"give {method.__qualname__}'s {sorted(missing)} a value in ARGUMENTS"
    try:
        choice = CHOICES.get(method.__name__, {})
        answer = method(**{name: ARGUMENTS[name] for name in needed}, **choice)
        if isinstance(answer, Iterator):
            next(answer, None)
    except errors.ServoError:
        pass  # refused, after it was called


def verb(rpc: str) -> str:
    """The name of an RPC as Python spells it."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", rpc.rsplit("/", 1)[-1]).lower()


def test_every_rpc_is_called_by_a_method_of_the_client(server: tuple[Recorder, str]) -> None:
    recorder, url = server
    with Client(url, timeout=5.0) as client:
        for _, method in client_methods(client):
            call(method)
    orphans = sorted(set(RPCS) - recorder.called)
    assert not orphans, f"no method of servo.client calls {', '.join(orphans)}"


def test_every_method_of_the_client_calls_an_rpc(server: tuple[Recorder, str]) -> None:
    recorder, url = server
    with Client(url, timeout=5.0) as client:
        for name, method in client_methods(client):
            recorder.called.clear()
            call(method)
            assert recorder.called, f"{name} calls nothing"


def test_a_worker_calls_the_rpc_that_is_made_for_workers(
    server: tuple[Recorder, str], tmp_path: Path
) -> None:
    recorder, url = server
    session = Session(Identity(worker_id="w", servo_version="1", slots=1), lambda _: None)
    logs = LogBuffer(session.post, lambda: None)
    command = RunnerCommand(project=tmp_path, data_root=tmp_path)
    session.attach(Pool(slots=1, command=command, logs=logs, report=session.post, starts=1), logs)

    async def connect() -> None:
        await hold(session, Endpoint(url=url), Doorbell())

    with pytest.raises(errors.InvalidArgumentError):
        asyncio.run(connect())
    assert recorder.called == BY_WORKERS


@pytest.mark.parametrize("path", RPCS)
def test_every_rpc_has_a_verb_of_the_server_of_its_kind(path: str) -> None:
    found = getattr(Service, verb(path), None)
    assert found is not None, f"servo.controlplane.service.Service has no {verb(path)}()"
    streams = RPCS[path].server_streaming
    assert inspect.isasyncgenfunction(found) == streams, "one of the two streams its answers"
    assert inspect.iscoroutinefunction(found) != streams
    takes = "requests" if RPCS[path].client_streaming else "request"
    assert list(inspect.signature(found).parameters) == ["self", "caller", takes]


def test_every_verb_of_the_server_belongs_to_an_rpc() -> None:
    verbs = {
        name
        for name, found in inspect.getmembers(Service, inspect.isfunction)
        if not name.startswith("_") and "caller" in inspect.signature(found).parameters
    }
    assert verbs == {verb(path) for path in RPCS}
