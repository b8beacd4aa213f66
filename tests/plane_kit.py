"""A control plane on a real socket, and a worker that does what a test tells it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from servo import _wire
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.io.storage import DataRoot
from servo.types import (
    AssetDefinition,
    AssetDependency,
    AssetKey,
    CodeLocation,
    MaterializationId,
    WorkerId,
)
from servo.types.events import Event
from servo.types.manifests import ManifestContents
from servo.types.records import Failure, Materialization, Run
from servo.types.requests import (
    CreateRunRequest,
    CreateRunResponse,
    DeployRequest,
    DeployResponse,
    GetRunRequest,
    UploadChunksRequest,
    WatchRunRequest,
)
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptStarted,
    AttemptSucceeded,
    CreditGrant,
    Heartbeat,
    Lease,
    OpenSessionRequest,
    ServerMessage,
    ServerWelcome,
    TaskDispatch,
    WorkerHello,
    WorkerMessage,
)

KEY = "test-key"
Outcome = AttemptSucceeded | Failure | AttemptCancelled | None


class Caller:
    """Calls the RPCs of a control plane over a real channel."""

    def __init__(
        self,
        url: str,
        *,
        key: str = KEY,
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[tuple[str, Any]] = (),
        **identity: str,
    ) -> None:
        self.url = url
        target = url.partition("://")[2]
        self.channel = (
            grpc.aio.insecure_channel(target, options)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options)
        )
        self.metadata = (
            ("authorization", f"Bearer {key}"),
            *((f"x-servo-{name.replace('_', '-')}", value) for name, value in identity.items()),
        )

    async def call(self, method: _wire.Method[Any, Any], request: object) -> Any:
        """Call a unary RPC; a status comes back as the error it stands for."""
        try:
            data = await self.channel.unary_unary(method.path)(
                method.encode_request(request), metadata=self.metadata, timeout=60
            )
        except grpc.aio.AioRpcError as exc:
            trailing = dict(exc.trailing_metadata() or ())
            details = trailing.get(_wire.DETAILS_KEY)
            raise _wire.error_from_status(exc.code().name, exc.details() or "", details) from exc
        return method.decode_response(data)

    async def stream(self, method: _wire.Method[Any, Any], request: object) -> AsyncIterator[Any]:
        """Call an RPC that answers with a stream."""
        call = self.channel.unary_stream(method.path)(
            method.encode_request(request), metadata=self.metadata, timeout=60
        )
        async for data in call:
            yield method.decode_response(data)

    async def deploy(self, assets: Iterable[AssetDefinition], **header: Any) -> DeployResponse:
        """Deploy assets as one chunk."""
        contents = ManifestContents(assets=tuple(sorted(assets, key=lambda a: a.key)), **header)
        chunk = _wire.encode_chunk(contents.assets)
        digests = (hashlib.sha256(chunk).digest(),)
        await self.call(_wire.methods.UPLOAD_CHUNKS, UploadChunksRequest(chunks=(chunk,)))
        request = DeployRequest(
            content_fingerprint=_wire.manifest_fingerprint(contents),
            header=ManifestContents(**header),
            chunk_digests=digests,
        )
        response: DeployResponse = await self.call(_wire.methods.DEPLOY, request)
        return response

    async def create_run(self, *selection: str, **options: Any) -> CreateRunResponse:
        """Start a run."""
        request = CreateRunRequest(selection=selection, **options)
        response: CreateRunResponse = await self.call(_wire.methods.CREATE_RUN, request)
        return response

    async def get_run(self, run_id: str) -> Run:
        """Read a run with its first tasks."""
        found = await self.call(_wire.methods.GET_RUN, GetRunRequest(run_id=run_id))
        run: Run = found.run
        return run

    async def watch(self, run_id: str, after: int = 0) -> list[Event]:
        """Follow a run to its end and return its events."""
        events: list[Event] = []
        request = WatchRunRequest(run_id=run_id, after_sequence=after)
        async for response in self.stream(_wire.methods.WATCH_RUN, request):
            events += response.events
        return events


class ScriptedWorker:
    """A worker whose attempts end as a function says.

    Args:
        caller: How it reaches the control plane.
        outcome: Returns how an attempt ends; `None` leaves it open for ever.
        credit: How many attempts it takes at once.
        worker_id: Its id; a new one by default.
        code_version_id: The version of the user code that it announces.
    """

    def __init__(
        self,
        caller: Caller,
        outcome: Callable[[TaskDispatch], Outcome] | None = None,
        *,
        credit: int = 4,
        worker_id: str | None = None,
        code_version_id: str = "",
    ) -> None:
        self.caller = caller
        self.outcome = outcome or succeed
        self.credit = credit
        self.worker_id = worker_id or WorkerId.generate()
        self.code_version_id = code_version_id
        self.received: list[ServerMessage] = []
        self.dispatches: list[TaskDispatch] = []
        self.outgoing: asyncio.Queue[tuple[WorkerMessage, ...] | None] = asyncio.Queue()
        self.welcomed = asyncio.Event()
        self.news = asyncio.Event()

    def send(self, *messages: WorkerMessage) -> None:
        """Send messages to the control plane."""
        self.outgoing.put_nowait(messages)

    def finish(self, lease: Lease, outcome: Outcome) -> None:
        """Report how an attempt ended."""
        if outcome is not None:
            self.send(AttemptFinished(lease=lease, outcome=outcome), CreditGrant(attempts=1))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true of what was received."""
        while not condition():
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 60)

    async def run(self, leases: tuple[Lease, ...] = ()) -> None:
        """Hold a session until the control plane or a cancellation ends it."""
        method = _wire.methods.OPEN_SESSION
        hello = WorkerHello(
            worker_id=self.worker_id,
            code_version_id=self.code_version_id,
            slots=self.credit,
            leases=leases,
        )
        self.send(hello, CreditGrant(attempts=self.credit))

        async def requests() -> AsyncIterator[bytes]:
            while (messages := await self.outgoing.get()) is not None:
                yield method.encode_request(OpenSessionRequest(messages=messages))

        call = self.caller.channel.stream_stream(method.path)(
            requests(), metadata=self.caller.metadata
        )
        async for data in call:
            for message in method.decode_response(data).messages:
                self._receive(message)

    def _receive(self, message: ServerMessage) -> None:
        self.received.append(message)
        if isinstance(message, ServerWelcome):
            self.welcomed.set()
        elif isinstance(message, TaskDispatch):
            self.dispatches.append(message)
            self.send(AttemptStarted(lease=message.lease))
            self.finish(message.lease, self.outcome(message))
        self.news.set()

    def beat(self, *leases: Lease) -> None:
        """Send a heartbeat."""
        self.send(Heartbeat(leases=leases))


def sync(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let pytest call an ``async def`` test that takes a folder."""

    def run(tmp_path: Path) -> None:
        asyncio.run(asyncio.wait_for(test(tmp_path), 110))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


def asset(name: str, *upstream: str, **options: Any) -> AssetDefinition:
    """Declare an asset that reads others."""
    dependencies = [
        AssetDependency(AssetKey.parse(key), parameter_name=f"p{number}")
        for number, key in enumerate(upstream)
    ]
    key = AssetKey.parse(name)
    return AssetDefinition(
        key, dependencies=dependencies, code=CodeLocation("assets", key.name), **options
    )


def succeed(dispatch: TaskDispatch) -> AttemptSucceeded:
    """End an attempt well."""
    made = Materialization(
        materialization_id=MaterializationId.generate(),
        asset_key=dispatch.asset.key,
        partition_key=dispatch.partition_key,
        path=path_of(dispatch),
        row_count=1,
    )
    return AttemptSucceeded(materialization=made)


def path_of(dispatch: TaskDispatch) -> str:
    """Return where the data of an attempt lies."""
    asset = dispatch.asset
    return DataRoot(Path()).relative(asset.key, dispatch.partition_key, asset.partitioning)


@asynccontextmanager
async def plane(
    folder: Path, *, lease: float = 30, grace: float = 5, **options: Any
) -> AsyncIterator[tuple[ControlPlane, Caller]]:
    """Run a control plane on a database in a folder.

    Args:
        folder: Where the database is.
        lease: Seconds that a lease lasts.
        grace: Seconds that a cancelled attempt may take.
        options: Anything else that a `ControlPlaneConfig` has.
    """
    config = ControlPlaneConfig(
        database=folder / "servo.db",
        api_key=KEY,
        lease_length=timedelta(seconds=lease),
        cancel_grace=timedelta(seconds=grace),
        **options,
    )
    served = ControlPlane(config)
    caller = Caller(await served.start())
    try:
        yield served, caller
    finally:
        await caller.channel.close()
        await served.stop()


@asynccontextmanager
async def at_work(worker: ScriptedWorker, **options: Any) -> AsyncIterator[ScriptedWorker]:
    """Hold a worker's session while a block runs."""
    task = asyncio.create_task(worker.run(**options))
    try:
        await asyncio.wait_for(worker.welcomed.wait(), 60)
        yield worker
    finally:
        task.cancel()
        await asyncio.wait([task])
