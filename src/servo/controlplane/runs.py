"""The verbs of runs: planning and starting, reading, stopping, holding, explaining."""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from servo import _wire, errors
from servo.controlplane import asked, paging, planner, reruns, standing, why
from servo.controlplane.caller import Caller
from servo.controlplane.catalog import Catalog
from servo.controlplane.mapping import Scope
from servo.controlplane.materialized import Hold
from servo.controlplane.plane import Plane, run_not_found, stored_run
from servo.controlplane.store.batch import NewRun
from servo.controlplane.workspace import Workspace
from servo.types.blockers import ExplainRequest, ExplainResponse
from servo.types.ids import RunId, TaskId
from servo.types.partition_keys import PartitionKey
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
    UpdateRunRequest,
    UpdateRunResponse,
)
from servo.types.runs import RunState, TaskState


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
            servo.errors.NotFoundError: There is no such deployment or asset, or no such run to
                repeat.
            servo.errors.ConflictError: The run key names a run with another request.
            servo.errors.InvalidArgumentError: The request cannot be planned.
        """
        _check_request(request)
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        # One at a time: two requests with the same run key must not both find it free. For each
        # workspace by itself: nobody is to wait for, or to notice, the plans of others.
        async with workspace.creating:
            fingerprint = request_fingerprint(request)
            if request.run_key:
                existing = await self._existing(workspace, request, fingerprint)
                if existing is not None:
                    return CreateRunResponse(run=existing, created=False)
            parent = await reruns.read_parent(workspace, request.rerun) if request.rerun else None
            catalog = await self.plane.chosen_catalog(workspace, request.deployment_id)
            if parent is not None:
                request = parent.inherited(request, catalog.deployment_id)
            plan, known = await self._plan(workspace, catalog, request, parent)
            run, tasks = _new_run(request, plan, catalog.deployment_id, fingerprint, parent)
            now = workspace.clock.now()
            run = replace(run, created_at=now, trace_context=caller.trace_context)
            new = NewRun(run=run, request=request, plan=plan)
            run = workspace.accept(new, tasks, catalog, known)
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
        self,
        workspace: Workspace,
        catalog: Catalog,
        request: CreateRunRequest,
        parent: reruns.Parent | None,
    ) -> tuple[Plan, Hold]:
        scope = Scope(workspace.clock.now(), workspace.tenant_id)
        in_thread, tenant_id = self.plane.threads.run, workspace.tenant_id
        if parent is None:
            tasks = await in_thread(tenant_id, asked.selected_tasks, request, catalog, scope)
        else:
            tasks = await in_thread(
                tenant_id, reruns.choose, parent, request.selection, catalog, scope
            )
        keys = catalog.assets if request.upstream or request.downstream else tasks
        upstream = {found for key in keys for found in catalog.upstream(key)}
        materialized = workspace.materialized
        known = await materialized.know(map(catalog.asset_id, upstream))
        # A copy: planning happens in a thread, while runs go on adding to the original.
        made = {key: frozenset(materialized.of(catalog.asset_id(key))) for key in upstream}
        try:
            plan = await in_thread(
                tenant_id,
                planner.plan_tasks,
                *(tasks, request, catalog, lambda key: made.get(key, ()), scope),
            )
        except BaseException:  # also when who asked has gone away; raised again
            materialized.release(known)
            raise
        return plan, known

    async def get_run(self, caller: Caller, request: GetRunRequest) -> GetRunResponse:
        """Return a run with a page of its tasks.

        Raises:
            servo.errors.InvalidArgumentError: The token of the page is not one.
            servo.errors.NotFoundError: There is no such run.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        if request.page_size < 0:
            stored = await stored_run(workspace, request.run_id)
            return GetRunResponse(run=_with_standing(workspace, stored))
        size = paging.TASKS.size(request.page_size)
        first = paging.TASKS.number(request.page_token)
        run, tasks = await workspace.store.run_with_tasks(
            workspace.number, request.run_id, first, size + 1
        )
        if run is None:
            raise run_not_found(request.run_id)
        shown = tuple(paging.TASKS.fitting(tasks, size))
        more = paging.TASKS.token(first + len(shown)) if len(tasks) > len(shown) else ""
        run = _with_standing(workspace, replace(run, tasks=shown))
        return GetRunResponse(run=run, next_page_token=more)

    async def list_runs(self, caller: Caller, request: ListRunsRequest) -> ListRunsResponse:
        """Return a page of runs, newest first.

        Raises:
            servo.errors.InvalidArgumentError: The size or the token of the page is not one.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        size = paging.RUNS.size(request.page_size)
        before = paging.RUNS.identifier(request.page_token)
        runs = await workspace.store.runs(workspace.number, before, size + 1, request.states)
        page = paging.RUNS.fitting(runs, size)
        more = paging.RUNS.token(page[-1].run_id) if len(runs) > len(page) else ""
        shown = tuple([_with_standing(workspace, run) for run in page])
        return ListRunsResponse(runs=shown, next_page_token=more)

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

    async def update_run(self, caller: Caller, request: UpdateRunRequest) -> UpdateRunResponse:
        """Hold or resume a run, or change its priority.

        Raises:
            servo.errors.NotFoundError: There is no such run.
            servo.errors.ConflictError: It has ended; nothing of it could be held or go first.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        run = workspace.update_run(request.run_id, paused=request.paused, priority=request.priority)
        if run is None:
            stored = await stored_run(workspace, request.run_id)
            raise errors.ConflictError(
                f"run {stored.run_id} has ended ({stored.state}); nothing of it is left to hold "
                "or to hurry; `servo rerun` repeats it",
                code="RUN_HAS_ENDED",
                context={"run_id": stored.run_id, "state": stored.state.value},
            )
        await workspace.journal.durable()
        return UpdateRunResponse(run=run)

    async def explain(self, caller: Caller, request: ExplainRequest) -> ExplainResponse:
        """Say why a run, a task or an asset is not done.

        Raises:
            servo.errors.NotFoundError: There is no such run, task or asset.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        return await why.explain(workspace, request)


def _with_standing(workspace: Workspace, run: Run) -> Run:
    """Return a run with what it and its tasks wait for, which is no part of the history."""
    active = workspace.active.get(run.run_id)
    if run.state.is_terminal:
        return run
    if active is None:
        # It is being read again, perhaps because a write was refused.
        trouble = workspace.journal.trouble
        return run if trouble is None else replace(run, reason=str(trouble))
    tasks = [
        replace(task, waiting=standing.waiting_for(workspace, active, task.index))
        if task.state is TaskState.READY
        else task
        for task in run.tasks
    ]
    reason = standing.held_up(workspace, active) or run.reason
    return replace(run, tasks=tuple(tasks), reason=reason)


def request_fingerprint(request: CreateRunRequest) -> str:
    """Return what identifies a request under one run key: everything but the key."""
    partitions = request.partitions
    if isinstance(partitions, PartitionKey):
        partitions = partitions.in_order(())  # the order of its dimensions asks for nothing else
    plain = replace(request, run_key="", partitions=partitions)
    return hashlib.sha256(_wire.encode(plain)).hexdigest()


def _check_request(request: CreateRunRequest) -> None:
    if request.rerun is None:
        if not request.selection:
            raise errors.InvalidArgumentError("a run needs at least one asset key or selection")
    elif request.partitions is not None:
        raise errors.InvalidArgumentError(
            "a rerun has the partitions of the run that it repeats; leave partitions out"
        )


def _new_run(
    request: CreateRunRequest,
    plan: Plan,
    deployment_id: str,
    fingerprint: str,
    parent: reruns.Parent | None,
) -> tuple[Run, list[Task]]:
    run = Run(
        run_id=RunId.generate(),
        deployment_id=deployment_id,
        state=RunState.PENDING,
        run_key=request.run_key,
        request_fingerprint=fingerprint,
        selection=tuple(request.selection),
        priority=request.priority,
        max_parallelism=request.max_parallelism,
        timeout_seconds=request.timeout_seconds,
        budget=request.budget,
        code_version_id=request.code_version_id,
        parent_run_id=parent.run.run_id if parent else "",
        root_run_id=(parent.run.root_run_id or parent.run.run_id) if parent else "",
        max_retries=request.max_retries,
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
