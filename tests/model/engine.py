"""A real control plane without sockets, driven step by step.

The plane, its journal, its workspace and its database are the real ones; workers and connections
are played. The event loop runs only while something is committed or read, so that everything
between two commits shares one, and a test decides whether a commit happens before the control plane
dies.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from servo import _wire, errors
from servo.controlplane.caller import Caller
from servo.controlplane.deployments import Deployments
from servo.controlplane.plane import Plane
from servo.controlplane.runs import Runs
from servo.controlplane.sessions import WorkerSession
from servo.controlplane.store.batch import Batch
from servo.controlplane.store.sqlite import SqliteStore
from servo.controlplane.workspace import Workspace
from servo.types import AssetDefinition
from servo.types.events import Event
from servo.types.manifests import ManifestContents
from servo.types.records import Run, Task
from servo.types.requests import CreateRunRequest, DeployRequest, UploadChunksRequest
from servo.types.sessions import (
    CancelTask,
    CreditGrant,
    Lease,
    LeaseRevoked,
    ResultReceipt,
    ServerMessage,
    ServerWelcome,
    TaskDispatch,
    WorkerHello,
    WorkerMessage,
)

_T = TypeVar("_T")

LEASE = timedelta(hours=1)
"""Longer than any test: a lease runs out when the test says so."""

LOOPS = 20
"""Turns of the event loop in which messages reach those who wait for them."""


class MoodyStore(SqliteStore):
    """The store on a disk that refuses a write when it is told to."""

    refuses = False

    async def write(self, batch: Batch) -> None:
        """Write a batch, unless told otherwise."""
        if self.refuses:
            raise errors.FilesystemError("the disk is full", code="DATABASE_WRITE_FAILED")
        await super().write(batch)


@dataclass(slots=True)
class PlayedWorker:
    """A worker as far as the control plane can tell.

    Attributes:
        worker_id: Who it is.
        session: Its connection, if it has one.
        attempts: What it executes, by token.
        asked_to_end: Tokens of the attempts that it was asked to end.
        receipts: What it was told about its results.
        given: What it was given.
    """

    worker_id: str
    session: WorkerSession | None = None
    attempts: dict[int, Lease] = field(default_factory=dict)
    asked_to_end: set[int] = field(default_factory=set)
    receipts: list[ResultReceipt] = field(default_factory=list)
    given: list[TaskDispatch] = field(default_factory=list)

    def take(self, message: ServerMessage) -> None:
        """Act on a message of the control plane."""
        match message:
            case TaskDispatch(lease=lease):
                self.given.append(message)
                self.attempts[lease.token] = lease
            case CancelTask(lease=lease):
                self.asked_to_end.add(lease.token)
            case LeaseRevoked(lease=lease):
                self.attempts.pop(lease.token, None)
            case ResultReceipt():
                self.receipts.append(message)


class Engine:
    """One workspace of a control plane on a store.

    Args:
        store: The store; several engines may follow each other on it.
        workspace_id: The workspace, new to the store.
    """

    def __init__(self, store: MoodyStore, workspace_id: str) -> None:
        self.store = store
        self.caller = Caller(tenant_id="tenant", workspace_id=workspace_id)
        self._runner = asyncio.Runner()
        self._tasks: list[asyncio.Task[None]] = []
        self.start()

    def start(self) -> None:
        """Come up with what the store has."""
        self.plane = Plane(self.store, lease_length=LEASE, cancel_grace=timedelta(0))

        async def come_up() -> Workspace:
            self._tasks.append(asyncio.create_task(self.plane.journal.run()))
            return await self.plane.workspace(self.caller.tenant_id, self.caller.workspace_id)

        self.workspace = self.run(come_up())

    def die(self) -> None:
        """Lose everything that is not committed, and every connection."""

        journal, *listeners = self._tasks
        self._tasks = []
        # Before the event loop runs again: the open batch is never written.
        journal.cancel()

        async def end() -> None:
            # What was sent already may have arrived.
            for _ in range(LOOPS):
                await asyncio.sleep(0)
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(journal, *listeners, return_exceptions=True)

        self.run(end())

    def close(self) -> None:
        """End for good."""
        self.die()
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Let the event loop run until something is done."""
        return self._runner.run(work)

    def commit(self) -> None:
        """Write what has happened, and let the messages that follow from it arrive.

        Raises:
            servo.errors.FilesystemError: The store refused; the state was read again.
        """

        async def settle() -> None:
            try:
                await self.plane.journal.durable()
            finally:
                await self._loaded()
                for _ in range(LOOPS):
                    await asyncio.sleep(0)

        self.run(settle())

    async def _loaded(self) -> None:
        """Wait for the state to be read again, if it has to be."""
        while not self.workspace.is_loaded:
            await self.plane.workspace(self.caller.tenant_id, self.caller.workspace_id)
            await asyncio.sleep(0)

    # -- verbs ----------------------------------------------------------------------------

    def deploy(self, assets: tuple[AssetDefinition, ...]) -> None:
        """Deploy assets."""
        contents = ManifestContents(assets=tuple(sorted(assets, key=lambda one: one.key)))
        chunk = _wire.encode_chunk(contents.assets)
        verbs = Deployments(self.plane)
        self.run(verbs.upload_chunks(self.caller, UploadChunksRequest(chunks=(chunk,))))
        request = DeployRequest(
            content_fingerprint=_wire.manifest_fingerprint(contents),
            header=ManifestContents(),
            chunk_digests=(hashlib.sha256(chunk).digest(),),
        )
        self.run(verbs.deploy(self.caller, request))

    def create_run(self, request: CreateRunRequest) -> tuple[Run, list[Task]]:
        """Start a run; return it with its tasks."""
        run = self.run(Runs(self.plane).create_run(self.caller, request)).run
        return run, self.run(self.store.tasks(run.run_id, 0, -1))

    # -- workers --------------------------------------------------------------------------

    def connect(self, worker: PlayedWorker, leases: tuple[Lease, ...]) -> None:
        """Open a session for a worker that says which leases it has."""
        hello = WorkerHello(worker_id=worker.worker_id, leases=leases)
        welcome = ServerWelcome(
            protocol_version=1,
            heartbeat_interval=LEASE,
            lease_length=LEASE,
            store_id=self.store.store_id,
        )
        session = worker.session = self.workspace.connect(hello, welcome)

        async def listen() -> None:
            async for response in session.responses():
                for message in response.messages:
                    worker.take(message)

        self._tasks.append(self._runner.get_loop().create_task(listen()))

    def receive(self, worker: PlayedWorker, *messages: WorkerMessage) -> None:
        """Let messages of a worker arrive, as one request of its stream."""
        assert worker.session is not None
        for message in messages:
            self.workspace.receive(worker.session, message)
        self.workspace.dispatch()

    def grant(self, worker: PlayedWorker, attempts: int) -> None:
        """Let a worker take further attempts."""
        self.receive(worker, CreditGrant(attempts=attempts))

    # -- what is recorded -----------------------------------------------------------------

    def events(self, after: int) -> list[Event]:
        """Return what the store has of the history after a sequence number."""
        number = self.workspace.number
        return self.run(self.store.workspace_events(number, after, -1))

    def stored(self, run_id: str) -> tuple[Run | None, list[Task]]:
        """Return what the store has of a run."""
        return self.run(self.store.run_with_tasks(self.workspace.number, run_id, 0, -1))

    def pools(self) -> dict[str, int]:
        """Return what the store has of the pools."""
        return self.run(self.store.pools(self.workspace.number))
