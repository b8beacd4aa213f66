"""The verbs of the control plane, one method for each RPC, on façade types.

`rpc` calls them with who is calling; nothing here knows of gRPC.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

from servo import _wire, errors
from servo._version import __version__
from servo.controlplane import planner
from servo.controlplane.catalog import Catalog
from servo.controlplane.deployments import Caller, Deployments
from servo.controlplane.machine import task_label
from servo.controlplane.mapping import Scope
from servo.controlplane.plane import Plane
from servo.controlplane.signals import Signal
from servo.controlplane.workspace import Workspace
from servo.types.events import Event, RunStateChanged
from servo.types.ids import RunId, TaskId
from servo.types.keys import AssetKey
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.plans import Plan
from servo.types.records import Run, Task
from servo.types.requests import (
    AssetSummary,
    CancelRunRequest,
    CancelRunResponse,
    CreateRunRequest,
    CreateRunResponse,
    GetAssetRequest,
    GetAssetResponse,
    GetRunRequest,
    GetRunResponse,
    GetServerInfoRequest,
    GetServerInfoResponse,
    ListAssetsRequest,
    ListAssetsResponse,
    ListMaterializationsRequest,
    ListMaterializationsResponse,
    ListRunsRequest,
    ListRunsResponse,
    ReadLogsRequest,
    ReadLogsResponse,
    WatchRunRequest,
    WatchRunResponse,
)
from servo.types.runs import RunState, TaskState
from servo.types.sessions import (
    PROTOCOL_VERSION,
    OpenSessionRequest,
    OpenSessionResponse,
    ServerWelcome,
    WorkerHello,
)

CAPABILITIES = ("cancel", "logs", "metrics", "progress")
"""What the control plane can do beyond giving out tasks."""

_MAX_PAGE = 1000
_EVENTS_AT_ONCE = 1000
_LOG_BATCHES_AT_ONCE = 64
_NEWEST = "~"
"""Sorts after every ULID."""
_MAX_SEQUENCE = 2**63 - 1


class Service(Deployments):
    """Every RPC of the contract; those of deployments are inherited.

    Args:
        plane: What they act on.
    """

    def __init__(self, plane: Plane) -> None:
        super().__init__(plane)
        self._creating = asyncio.Lock()

    # -- runs -----------------------------------------------------------------------------

    async def create_run(self, caller: Caller, request: CreateRunRequest) -> CreateRunResponse:
        """Plan and start a run, or return the one that the run key names.

        Raises:
            servo.errors.NotFoundError: There is no such deployment or asset.
            servo.errors.ConflictError: The run key names a run with another request.
            servo.errors.InvalidArgumentError: The request cannot be planned.
        """
        if not request.selection:
            raise errors.InvalidArgumentError("a run needs at least one asset key or glob")
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        # One at a time: two requests with the same run key must not both find it free.
        async with self._creating:
            fingerprint = _fingerprint(request)
            if request.run_key:
                existing = await self._existing(workspace, request, fingerprint)
                if existing is not None:
                    return CreateRunResponse(run=existing, created=False)
            catalog = await self._catalog(workspace, request.deployment_id)
            plan = await self._plan(workspace, catalog, request)
            run, tasks = _new_run(request, plan, catalog.deployment_id, fingerprint)
            run = workspace.accept(run, tasks, plan, request, catalog)
            await workspace.journal.durable()
        return CreateRunResponse(run=run, created=True)

    async def _existing(
        self, workspace: Workspace, request: CreateRunRequest, fingerprint: str
    ) -> Run | None:
        existing = await workspace.store.run_by_key(workspace.number, request.run_key)
        if existing is None or existing.request_fingerprint == fingerprint:
            return existing
        raise errors.ConflictError(
            f"the run key {request.run_key!r} belongs to run {existing.run_id}, which was asked "
            f"for with other arguments (request {existing.request_fingerprint[:12]}, now "
            f"{fingerprint[:12]}); use another key or the same arguments",
            code="RUN_KEY_CONFLICT",
            context={
                "run_id": existing.run_id,
                "existing_fingerprint": existing.request_fingerprint,
                "request_fingerprint": fingerprint,
            },
        )

    async def _plan(
        self, workspace: Workspace, catalog: Catalog, request: CreateRunRequest
    ) -> Plan:
        keys = catalog.select(request.selection)
        if request.upstream or request.downstream:
            keys = list(catalog.assets)
        upstream = {d.upstream_key for key in keys for d in catalog.assets[key].dependencies}
        await workspace.know_materializations(catalog.asset_id(key) for key in upstream)
        scope = Scope(datetime.now(UTC), workspace.tenant_id)
        # A copy: planning happens in a thread, while runs go on adding to the original.
        made = {key: frozenset(workspace.materialized(catalog.asset_id(key))) for key in upstream}
        return await asyncio.to_thread(
            planner.plan, request, catalog, lambda key: made.get(key, frozenset()), scope
        )

    async def _catalog(self, workspace: Workspace, deployment_id: str) -> Catalog:
        wanted = deployment_id or workspace.current_deployment_id
        if not wanted:
            raise errors.NotFoundError(
                "nothing is deployed yet; run `servo deploy` first", code="NO_DEPLOYMENT"
            )
        return await self.plane.catalog(workspace, wanted)

    async def _run(self, workspace: Workspace, run_id: str) -> Run:
        found = await workspace.store.run(workspace.number, run_id)
        if found is None:
            raise errors.NotFoundError(
                f"there is no run {run_id!r}; `servo status` lists the runs",
                code="RUN_NOT_FOUND",
                context={"run_id": run_id},
            )
        return found

    async def get_run(self, caller: Caller, request: GetRunRequest) -> GetRunResponse:
        """Return a run with a page of its tasks.

        Raises:
            servo.errors.NotFoundError: There is no such run.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        run = await self._run(workspace, request.run_id)
        if request.page_size < 0:
            return GetRunResponse(run=run)
        size = min(request.page_size or _MAX_PAGE, _MAX_PAGE)
        first = _page_number(request.page_token)
        tasks = await workspace.store.tasks(run.run_id, first, size + 1)
        more = str(first + size) if len(tasks) > size else ""
        return GetRunResponse(run=replace(run, tasks=tuple(tasks[:size])), next_page_token=more)

    async def list_runs(self, caller: Caller, request: ListRunsRequest) -> ListRunsResponse:
        """Return a page of runs, newest first."""
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        size = min(request.page_size or 50, _MAX_PAGE)
        before = request.page_token or _NEWEST
        runs = await workspace.store.runs(workspace.number, before, size + 1, request.states)
        more = runs[size - 1].run_id if len(runs) > size else ""
        return ListRunsResponse(runs=tuple(runs[:size]), next_page_token=more)

    async def cancel_run(self, caller: Caller, request: CancelRunRequest) -> CancelRunResponse:
        """Ask a run to stop; a run that has ended stays as it is.

        Raises:
            servo.errors.NotFoundError: There is no such run.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        reason = request.reason or "cancelled on request"
        run = workspace.cancel(request.run_id, reason)
        if run is None:
            return CancelRunResponse(run=await self._run(workspace, request.run_id))
        await workspace.journal.durable()
        return CancelRunResponse(run=run)

    async def watch_run(
        self, caller: Caller, request: WatchRunRequest
    ) -> AsyncIterator[WatchRunResponse]:
        """Yield the events of a run until it has ended, and the progress of its tasks.

        Raises:
            servo.errors.NotFoundError: There is no such run.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        run = await self._run(workspace, request.run_id)
        signal = workspace.signals.subscribe(run.run_id)
        after = request.after_sequence
        try:
            while not self.plane.is_stopping:
                events = await workspace.store.events(run.run_id, after, _EVENTS_AT_ONCE)
                if events:
                    after = events[-1].sequence
                    yield WatchRunResponse(events=tuple(events))
                    if any(map(_ends_run, events)):
                        return
                    if len(events) == _EVENTS_AT_ONCE:
                        continue
                elif (await self._run(workspace, run.run_id)).state.is_terminal:
                    return
                if progress := _take_progress(signal, run.run_id):
                    yield WatchRunResponse(events=progress)
                await signal.wait()
        finally:
            workspace.signals.unsubscribe(run.run_id, signal)

    # -- assets ---------------------------------------------------------------------------

    async def list_assets(self, caller: Caller, request: ListAssetsRequest) -> ListAssetsResponse:
        """Return a page of the assets of the current deployment, sorted by key.

        Raises:
            servo.errors.NotFoundError: A selection names nothing, or nothing is deployed.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        catalog = await self._catalog(workspace, "")
        keys = catalog.select(request.selection) if request.selection else sorted(catalog.assets)
        size = min(request.page_size or 500, _MAX_PAGE)
        first = _page_number(request.page_token)
        page = keys[first : first + size]
        more = str(first + size) if len(keys) > first + size else ""
        found = [await self._summary(workspace, catalog, key) for key in page]
        return ListAssetsResponse(assets=tuple(found), next_page_token=more)

    async def get_asset(self, caller: Caller, request: GetAssetRequest) -> GetAssetResponse:
        """Return one asset of the current deployment.

        Raises:
            servo.errors.NotFoundError: There is no such asset, or nothing is deployed.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        catalog = await self._catalog(workspace, "")
        catalog.get(request.key)
        return GetAssetResponse(
            asset=await self._summary(workspace, catalog, request.key),
            downstream=tuple(catalog.downstream(request.key)),
        )

    async def _summary(self, workspace: Workspace, catalog: Catalog, key: AssetKey) -> AssetSummary:
        asset_id = catalog.asset_id(key)
        store = workspace.store
        newest = await store.materializations(
            workspace.number, asset_id, before=_MAX_SEQUENCE, limit=1
        )
        definition = catalog.assets[key]
        try:
            scope = Scope(datetime.now(UTC), workspace.tenant_id)
            declared: int | None = scope.declared(definition).size
        except errors.InvalidArgumentError:
            declared = None  # open at the start: nobody can count the partitions
        return AssetSummary(
            definition=definition,
            latest_materialization=newest[0][1] if newest else None,
            materialized_partitions=await store.count_current_materializations(
                workspace.number, asset_id
            ),
            declared_partitions=declared,
        )

    async def list_materializations(
        self, caller: Caller, request: ListMaterializationsRequest
    ) -> ListMaterializationsResponse:
        """Return a page of materialisations, newest first.

        Raises:
            servo.errors.NotFoundError: There is no such asset, or nothing is deployed.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        catalog = await self._catalog(workspace, "")
        catalog.get(request.key)
        size = min(request.page_size or 500, _MAX_PAGE)
        before = _page_number(request.page_token) or _MAX_SEQUENCE
        partition = request.partition_key
        found = await workspace.store.materializations(
            workspace.number,
            catalog.asset_id(request.key),
            before=before,
            limit=size + 1,
            partition_key=None if partition is None else partition.to_canonical(),
            latest_only=request.latest_only,
        )
        more = str(found[size - 1][0]) if len(found) > size else ""
        return ListMaterializationsResponse(
            materializations=tuple(made for _, made in found[:size]), next_page_token=more
        )

    # -- logs -----------------------------------------------------------------------------

    async def read_logs(
        self, caller: Caller, request: ReadLogsRequest
    ) -> AsyncIterator[ReadLogsResponse]:
        """Yield the log of a run, and with ``follow`` what comes until it ends.

        Raises:
            servo.errors.NotFoundError: There is no such run, or no such task in it.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        run = await self._run(workspace, request.run_id)
        wanted = await self._log_tasks(workspace, run, request.task)
        signal = workspace.signals.subscribe(run.run_id)
        after, ended = request.after_cursor, False
        seen: dict[tuple[str, int, LogStream], int] = {}
        try:
            while True:
                rows = await workspace.store.logs(run.run_id, after, _LOG_BATCHES_AT_ONCE)
                if rows:
                    after = rows[-1][0]
                    for _, batch in rows:
                        if wanted is not None and batch.task_id not in wanted:
                            continue
                        if lines := _unseen(batch, seen):
                            fresh = replace(batch, lines=lines)
                            yield ReadLogsResponse(batches=(fresh,), cursor=after)
                    continue
                if not request.follow or ended or self.plane.is_stopping:
                    return
                # Lines are durable before the end of their attempt is: one more look suffices.
                ended = (await self._run(workspace, run.run_id)).state.is_terminal
                if not ended:
                    await signal.wait()
        finally:
            workspace.signals.unsubscribe(run.run_id, signal)

    async def _log_tasks(
        self, workspace: Workspace, run: Run, wanted: str
    ) -> frozenset[str] | None:
        if not wanted:
            return None
        tasks = await workspace.store.tasks(run.run_id, 0, -1)
        found = frozenset(
            task.task_id
            for task in tasks
            if wanted in (task.task_id, str(task.asset_key), task_label(task))
        )
        if not found:
            raise errors.NotFoundError(
                f"run {run.run_id} has no task {wanted!r}; name an asset, "
                "asset[dimension=value] or a task id",
                code="TASK_NOT_FOUND",
            )
        return found

    # -- the server and its workers -------------------------------------------------------

    async def get_server_info(
        self, caller: Caller, request: GetServerInfoRequest
    ) -> GetServerInfoResponse:
        """Say who is there."""
        del caller, request
        return GetServerInfoResponse(
            servo_version=__version__,
            protocol_version=PROTOCOL_VERSION,
            store_id=self.plane.store.store_id,
            ready=not self.plane.is_stopping,
            workers=self.plane.connected_workers,
            active_runs=self.plane.active_runs,
        )

    async def open_session(
        self, caller: Caller, requests: AsyncIterator[OpenSessionRequest]
    ) -> AsyncIterator[OpenSessionResponse]:
        """Hold the session of a worker until one side ends it.

        Raises:
            servo.errors.InvalidArgumentError: The session does not begin with a hello.
            servo.errors.ConfigurationError: The worker speaks no version known here.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        first = await anext(aiter(requests), None)
        if first is None or not first.messages or not isinstance(first.messages[0], WorkerHello):
            raise errors.InvalidArgumentError("a worker's session begins with a hello")
        hello = first.messages[0]
        session = workspace.connect(hello, self._welcome(workspace, hello))

        async def receive() -> None:
            try:
                for message in first.messages[1:]:
                    workspace.receive(session, message)
                workspace.dispatch()
                async for request in requests:
                    for message in request.messages:
                        workspace.receive(session, message)
                    workspace.dispatch()
            finally:
                session.close()

        reading = asyncio.create_task(receive())
        try:
            async for response in session.responses():
                yield response
        finally:
            reading.cancel()
            workspace.disconnect(session)
            await asyncio.wait([reading])
        if not reading.cancelled() and (problem := reading.exception()):
            raise problem

    def _welcome(self, workspace: Workspace, hello: WorkerHello) -> ServerWelcome:
        if hello.protocol_version < 1:
            raise errors.ConfigurationError(
                f"the worker speaks protocol {hello.protocol_version}, this control plane "
                f"{PROTOCOL_VERSION}; upgrade the worker",
                code="PROTOCOL_VERSION",
            )
        return ServerWelcome(
            # A newer worker is told what is known here and adapts.
            protocol_version=min(hello.protocol_version, PROTOCOL_VERSION),
            capabilities=tuple(sorted(set(CAPABILITIES) & set(hello.capabilities))),
            heartbeat_interval=workspace.lease_length / 3,
            lease_length=workspace.lease_length,
            store_id=workspace.store.store_id,
            tenant_id=workspace.tenant_id,
            workspace_id=workspace.workspace_id,
            servo_version=__version__,
        )


def _fingerprint(request: CreateRunRequest) -> str:
    """Return what identifies a request under one run key."""
    return hashlib.sha256(_wire.encode(replace(request, run_key=""))).hexdigest()


def _new_run(
    request: CreateRunRequest, plan: Plan, deployment_id: str, fingerprint: str
) -> tuple[Run, list[Task]]:
    run = Run(
        run_id=RunId.generate(),
        deployment_id=deployment_id,
        state=RunState.PENDING,
        run_key=request.run_key,
        request_fingerprint=fingerprint,
        selection=tuple(request.selection),
        created_at=datetime.now(UTC),
    )
    tasks = [
        Task(
            task_id=TaskId.generate(),
            index=index,
            asset_key=plan.assets[planned.asset],
            partition_key=planned.partition_key,
            state=TaskState.BLOCKED,
        )
        for index, planned in enumerate(plan.tasks)
    ]
    return run, tasks


def _page_number(token: str) -> int:
    if token and not (token.isascii() and token.isdigit()):
        raise errors.InvalidArgumentError(
            f"{token!r} is no page token; pass the one of the last response"
        )
    return int(token or 0)


def _unseen(batch: LogBatch, seen: dict[tuple[str, int, LogStream], int]) -> tuple[LogLine, ...]:
    """Return the lines that did not come before: a worker repeats what it got no receipt for."""
    lines = []
    for line in batch.lines:
        key = (batch.task_id, batch.attempt, line.stream)
        if line.number > seen.get(key, 0):
            seen[key] = line.number
            lines.append(line)
    return tuple(lines)


def _ends_run(event: Event) -> bool:
    return isinstance(event.payload, RunStateChanged) and event.payload.state.is_terminal


def _take_progress(signal: Signal, run_id: str) -> tuple[Event, ...]:
    news, signal.progress = signal.progress, {}
    now = datetime.now(UTC)
    return tuple(
        Event(sequence=0, occurred_at=now, run_id=run_id, payload=progress)
        for progress in news.values()
    )
