"""The verbs of runs: planning and starting, reading, stopping, following."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

from servo import _wire, errors
from servo.controlplane import planner
from servo.controlplane.caller import Caller, page_number
from servo.controlplane.catalog import Catalog
from servo.controlplane.mapping import Scope
from servo.controlplane.plane import Plane, run_not_found, stored_run
from servo.controlplane.signals import Signal
from servo.controlplane.workspace import Workspace
from servo.types.events import Event, RunStateChanged
from servo.types.ids import RunId, TaskId
from servo.types.plans import Plan
from servo.types.records import Run, Task
from servo.types.requests import (
    CancelRunRequest,
    CancelRunResponse,
    CreateRunRequest,
    CreateRunResponse,
    GetRunRequest,
    GetRunResponse,
    ListRunsRequest,
    ListRunsResponse,
    WatchRunRequest,
    WatchRunResponse,
)
from servo.types.runs import RunState, TaskState

_MAX_PAGE = 1000
_EVENTS_AT_ONCE = 1000
_NEWEST = "~"
"""Sorts after every ULID."""


class Runs:
    """The RPCs of ``RunService``.

    Args:
        plane: What they act on.
    """

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

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
        # One at a time: two requests with the same run key must not both find it free. For each
        # workspace by itself: nobody is to wait for, or to notice, the plans of others.
        async with workspace.creating:
            fingerprint = _fingerprint(request)
            if request.run_key:
                existing = await self._existing(workspace, request, fingerprint)
                if existing is not None:
                    return CreateRunResponse(run=existing, created=False)
            catalog = await self.plane.chosen_catalog(workspace, request.deployment_id)
            plan = await self._plan(workspace, catalog, request)
            run, tasks = _new_run(request, plan, catalog.deployment_id, fingerprint)
            run = replace(run, trace_context=caller.trace_context)
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

    async def get_run(self, caller: Caller, request: GetRunRequest) -> GetRunResponse:
        """Return a run with a page of its tasks.

        Raises:
            servo.errors.NotFoundError: There is no such run.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        if request.page_size < 0:
            return GetRunResponse(run=await stored_run(workspace, request.run_id))
        size = min(request.page_size or _MAX_PAGE, _MAX_PAGE)
        first = page_number(request.page_token)
        run, tasks = await workspace.store.run_with_tasks(
            workspace.number, request.run_id, first, size + 1
        )
        if run is None:
            raise run_not_found(request.run_id)
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
            return CancelRunResponse(run=await stored_run(workspace, request.run_id))
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
        run = await stored_run(workspace, request.run_id)
        signal = workspace.signals.subscribe(run.run_id)
        after = request.after_sequence
        try:
            while not self.plane.is_stopping:
                # The state before the events: what is committed between the two reads is then
                # among the events, and a run that had ended has all of its events there.
                has_ended = (await stored_run(workspace, run.run_id)).state.is_terminal
                events = await workspace.store.events(run.run_id, after, _EVENTS_AT_ONCE)
                if events:
                    after = events[-1].sequence
                    yield WatchRunResponse(events=tuple(events))
                if len(events) == _EVENTS_AT_ONCE:
                    continue
                if has_ended or any(map(_ends_run, events)):
                    return
                if progress := _take_progress(signal, run.run_id):
                    yield WatchRunResponse(events=progress)
                await signal.wait()
        finally:
            workspace.signals.unsubscribe(run.run_id, signal)


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


def _ends_run(event: Event) -> bool:
    return isinstance(event.payload, RunStateChanged) and event.payload.state.is_terminal


def _take_progress(signal: Signal, run_id: str) -> tuple[Event, ...]:
    news, signal.progress = signal.progress, {}
    now = datetime.now(UTC)
    return tuple(
        Event(sequence=0, occurred_at=now, run_id=run_id, payload=progress)
        for progress in news.values()
    )
