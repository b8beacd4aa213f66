"""A real control plane without sockets, driven step by step.

The plane, its journal, its workspaces and its database are the real ones; workers, connections and
time are played. The event loop runs only while something is committed or read, so that everything
between two commits shares one, and a test decides whether a commit happens before the control plane
dies.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

from model.clocks import PlayedClock
from model.players import PlayedWorker
from servo import _wire, errors
from servo.controlplane.caller import Caller
from servo.controlplane.deployments import Deployments
from servo.controlplane.plane import Plane
from servo.controlplane.runs import Runs
from servo.controlplane.shares import Shares
from servo.controlplane.store.batch import Batch
from servo.controlplane.store.sqlite import SqliteStore
from servo.controlplane.workspace import Workspace
from servo.types import AssetDefinition
from servo.types.events import Event
from servo.types.manifests import ManifestContents
from servo.types.records import Run, Task
from servo.types.requests import CreateRunRequest, DeployRequest, UploadChunksRequest
from servo.types.sessions import (
    CreditGrant,
    Lease,
    ServerWelcome,
    WorkerHello,
    WorkerMessage,
)

_T = TypeVar("_T")

LEASE = timedelta(hours=1)
"""A lease rarely runs out before the test says so."""

NEVER = datetime.min.replace(tzinfo=UTC)

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


class Engine:
    """A control plane on a store, with some of its workspaces.

    Args:
        store: The store; several engines may follow each other on it.
        callers: Whose the workspaces are, each new to the store. Whatever is of one workspace is
            asked for by its position here.
        per_tenant: Attempts that one tenant may have under way; 0 for no limit.
        together: Attempts that all of them may have under way; 0 for no limit.

    Attributes:
        clock: What time it is.
        read: How often the control plane has read its state.
        ticked: When it last looked what time has brought, unless it has read its state since.
    """

    clock_type: ClassVar[type[PlayedClock]] = PlayedClock
    shares_type: ClassVar[type[Shares]] = Shares

    def __init__(
        self,
        store: MoodyStore,
        callers: Sequence[Caller],
        *,
        per_tenant: int = 0,
        together: int = 0,
    ) -> None:
        self.store = store
        self.callers = callers
        self.per_tenant = per_tenant
        self.together = together
        self.clock = self.clock_type()
        self.read = 0
        self._runner = asyncio.Runner()
        self._tasks: list[asyncio.Task[None]] = []
        self.start()

    def start(self) -> None:
        """Come up with what the store has."""
        self.clock.boot()
        self.read += 1
        self.ticked = NEVER
        self.plane = Plane(
            self.store,
            lease_length=LEASE,
            cancel_grace=timedelta(0),
            shares=self.shares_type(self.per_tenant, self.together),
            clock=self.clock,
        )

        async def come_up() -> list[Workspace]:
            self._tasks.append(asyncio.create_task(self.plane.journal.run()))
            return [
                await self.plane.workspace(caller.tenant_id, caller.workspace_id)
                for caller in self.callers
            ]

        self.workspaces = self.run(come_up())

    def die(self) -> None:
        """Lose everything that is not committed, and every connection."""

        journal, *listeners = self._tasks
        self._tasks = []
        # Before the event loop runs again: the open batch is never written.
        journal.cancel()

        async def end() -> None:
            # What was sent already may have arrived.
            await self._rest()
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
        # The runner would look after signals each time, and that takes longer than most work.
        return self._runner.get_loop().run_until_complete(work)

    def act(self, home: int, do: Callable[[Workspace], _T]) -> _T:
        """Do something with a workspace that the event loop does between two awaits."""
        # What it leaves for the next turn waits until the event loop runs.
        asyncio._set_running_loop(self._runner.get_loop())
        try:
            return do(self.workspaces[home])
        finally:
            asyncio._set_running_loop(None)

    def commit(self) -> None:
        """Write what has happened, and let the messages that follow from it arrive.

        Raises:
            servo.errors.FilesystemError: The store refused; the state was read again.
        """

        async def settle() -> None:
            try:
                await self.plane.journal.durable()
            except errors.FilesystemError:
                self.read += 1
                self.ticked = NEVER
                raise
            finally:
                await self._loaded()
                await self._rest()
            # What one workspace gave back, another one may have taken meanwhile.
            while not self.plane.journal.batch.is_empty:
                await self.plane.journal.durable()
                await self._rest()

        self.run(settle())

    async def _rest(self) -> None:
        for _ in range(LOOPS):
            await asyncio.sleep(0)

    async def _loaded(self) -> None:
        """Wait for the state to be read again, if it has to be."""
        while not all(workspace.is_loaded for workspace in self.workspaces):
            for caller in self.callers:
                await self.plane.workspace(caller.tenant_id, caller.workspace_id)
            await asyncio.sleep(0)

    def tick(self) -> None:
        """Let the control plane look what time has brought."""
        for home in range(len(self.workspaces)):
            self.act(home, Workspace.tick)
        self.ticked = self.clock.now()

    # -- verbs ----------------------------------------------------------------------------

    def deploy(self, home: int, assets: tuple[AssetDefinition, ...]) -> str:
        """Deploy assets; return the id of the deployment."""
        caller = self.callers[home]
        contents = ManifestContents(assets=tuple(sorted(assets, key=lambda one: one.key)))
        chunk = _wire.encode_chunk(contents.assets)
        verbs = Deployments(self.plane)
        self.run(verbs.upload_chunks(caller, UploadChunksRequest(chunks=(chunk,))))
        request = DeployRequest(
            content_fingerprint=_wire.manifest_fingerprint(contents),
            header=ManifestContents(),
            chunk_digests=(hashlib.sha256(chunk).digest(),),
        )
        deployment = self.run(verbs.deploy(caller, request)).deployment
        assert deployment is not None
        return deployment.deployment_id

    def create_run(self, home: int, request: CreateRunRequest) -> tuple[Run, list[Task]]:
        """Start a run; return it with its tasks."""
        run = self.run(Runs(self.plane).create_run(self.callers[home], request)).run
        return run, self.run(self.store.tasks(run.run_id, 0, -1))

    def cancel(self, home: int, run_id: str) -> Run | None:
        """Stop a run of a workspace; `None` when it has no such run that goes on."""
        return self.act(home, lambda workspace: workspace.cancel(run_id, "enough"))

    # -- workers --------------------------------------------------------------------------

    def connect(self, worker: PlayedWorker, leases: tuple[Lease, ...]) -> None:
        """Open a session for a worker that says which leases it has."""
        hello = WorkerHello(
            worker_id=worker.worker_id, code_version_id=worker.code_version_id, leases=leases
        )
        welcome = ServerWelcome(
            protocol_version=1,
            heartbeat_interval=LEASE,
            lease_length=LEASE,
            store_id=self.store.store_id,
        )
        session = self.act(worker.home, lambda workspace: workspace.connect(hello, welcome))
        worker.session = session

        async def listen() -> None:
            async for response in session.responses():
                for message in response.messages:
                    worker.take(message)

        self._tasks.append(self._runner.get_loop().create_task(listen()))

    def receive(self, worker: PlayedWorker, *messages: WorkerMessage) -> None:
        """Let messages of a worker arrive, as one request of its stream."""
        session = worker.session
        assert session is not None

        def arrive(workspace: Workspace) -> None:
            for message in messages:
                workspace.receive(session, message)
            workspace.dispatch()

        self.act(worker.home, arrive)

    def disconnect(self, worker: PlayedWorker) -> None:
        """End the connection of a worker."""
        session, worker.session = worker.session, None
        if session is not None:
            self.act(worker.home, lambda workspace: workspace.disconnect(session))

    def grant(self, worker: PlayedWorker, attempts: int) -> None:
        """Let a worker take further attempts."""
        self.receive(worker, CreditGrant(attempts=attempts))

    # -- what is recorded -----------------------------------------------------------------

    def events(self, home: int, after: int) -> list[Event]:
        """Return what the store has of a history after a sequence number."""
        number = self.workspaces[home].number
        return self.run(self.store.workspace_events(number, after, -1))

    def stored(self, home: int, run_id: str) -> tuple[Run | None, list[Task]]:
        """Return what the store has of a run, as a workspace sees it."""
        number = self.workspaces[home].number
        return self.run(self.store.run_with_tasks(number, run_id, 0, -1))

    def pools(self, home: int) -> dict[str, int]:
        """Return what the store has of the pools of a workspace."""
        return self.run(self.store.pools(self.workspaces[home].number))
