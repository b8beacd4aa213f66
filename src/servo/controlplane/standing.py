"""What a ready task waits for: the very thing at which the scheduler keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from servo.controlplane.active import ActiveRun
from servo.controlplane.leases import Resource
from servo.controlplane.scheduler import ASSET, CODE_VERSION, PARTITION, PAUSED, POOL, RUN, TENANT
from servo.controlplane.workspace import Workspace
from servo.types.blockers import Blocker, BlockerKind
from servo.types.labels import command, task_label
from servo.types.runs import TaskState

_K = BlockerKind

Standing = Callable[[int], Blocker]
"""Answers what keeps a ready task, by its position."""


def waiting_for(workspace: Workspace, active: ActiveRun, index: int) -> str:
    """Return what a ready task waits for, in a few words; nothing for a task in another state."""
    if active.machine.tasks[index].state is not TaskState.READY:
        return ""
    return standing_of(workspace, active)(index).message


def held_up(workspace: Workspace, active: ActiveRun) -> str:
    """Return why nothing of a run can start at all, in a few words; nothing when something can."""
    run = active.machine.run
    if (trouble := workspace.journal.trouble) is not None:
        return str(trouble)
    if run.paused:
        return f"held; `servo resume {run.run_id}` lets it go on"
    version = run.code_version_id
    if version and version not in _versions(workspace):
        return f"CODE_VERSION_NOT_AVAILABLE: {_no_version(workspace, version)}"
    return ""


def database_of(workspace: Workspace) -> Blocker | None:
    """Return what keeps everything: a database that takes no writes."""
    trouble = workspace.journal.trouble
    if trouble is None:
        return None
    return Blocker(
        kind=_K.DATABASE,
        subject="database",
        subject_id="",
        message=str(trouble),
        remedy="make room; the control plane tries again every second, and the run goes on",
        details={"code": trouble.code},
    )


def standing_of(workspace: Workspace, active: ActiveRun) -> Standing:
    """Return what answers for the ready tasks of a run."""

    def of(index: int) -> Blocker:
        if (database := database_of(workspace)) is not None:
            return database
        resource = workspace.scheduler.missing(active, index)
        if resource is None:
            task = active.machine.tasks[index]
            return Blocker(
                kind=_K.NONE,
                subject="task",
                subject_id=task.task_id,
                message="about to be given to a worker",
            )
        return _resource(workspace, active, index, resource)

    return of


def _resource(workspace: Workspace, active: ActiveRun, index: int, resource: Resource) -> Blocker:
    run_id, name = active.run_id, resource.name
    if resource.kind == PAUSED:
        return Blocker(
            kind=_K.PAUSED,
            subject="run",
            subject_id=run_id,
            message=f"run {run_id} is held",
            remedy=f"servo resume {run_id}",
        )
    if resource.kind == CODE_VERSION:
        return Blocker(
            kind=_K.CODE_VERSION,
            subject="code_version",
            subject_id=name,
            message=_no_version(workspace, name),
            remedy="start a worker with that code: " + command("worker", "--code-version", name),
            details={
                "code": "CODE_VERSION_NOT_AVAILABLE",
                "announced": ", ".join(sorted(_versions(workspace))),
            },
        )
    if resource.kind == TENANT:
        return Blocker(
            kind=_K.TENANT_LIMIT,
            subject=TENANT,
            subject_id=name,
            message=f"waiting for tenant {name}'s share of the control plane",
            remedy="wait: as many tasks are under way as the control plane allows",
        )
    if resource.kind == PARTITION:
        return _other_run(workspace, resource, task_label(active.machine.tasks[index]))
    if resource.kind in _LIMITED:
        kind, words, remedy = _LIMITED[resource.kind]
        task = active.machine.tasks[index]
        used = workspace.leases.used(resource)
        slots = workspace.scheduler.capacity(resource, active, task) or 0
        return Blocker(
            kind=kind,
            subject=resource.kind,
            subject_id=name,
            message=f"waiting for {words.format(name)} {used}/{slots}",
            remedy=remedy.format(name),
            details={
                "used": str(used),
                "slots": str(slots),
                "held_by": ", ".join(workspace.leases.holders(resource)[:10]),
            },
        )
    workers = len(workspace.sessions)
    if not workers:
        return Blocker(
            kind=_K.NO_WORKER,
            subject="worker",
            subject_id="",
            message="no worker is connected",
            remedy="servo worker",
        )
    return Blocker(
        kind=_K.WORKERS_BUSY,
        subject="worker",
        subject_id="",
        message=f"waiting for a worker: all {workers} are busy"
        if workers > 1
        else "waiting for the worker, which is busy",
        remedy="start another worker, or give one more slots: servo worker --slots N",
        details={"workers": str(workers), "leases": str(len(workspace.leases))},
    )


def _other_run(workspace: Workspace, partition: Resource, name: str) -> Blocker:
    for task_id in workspace.leases.holders(partition):
        known = workspace.find_task(task_id)
        if known is not None:
            run_id = known[0].run_id
            return Blocker(
                kind=_K.PARTITION,
                subject="task",
                subject_id=task_id,
                message=f"waiting for run {run_id}, which is making {name}",
                remedy=f"wait, or servo cancel {run_id}",
                details={"run_id": run_id},
            )
    return Blocker(
        kind=_K.PARTITION,
        subject="asset",
        subject_id=name,
        message=f"waiting for its turn to make {name}",
    )


_LIMITED: Final = {
    POOL: (_K.POOL, "pool {}", "wait for a slot, or make it larger: servo pools set {} SLOTS"),
    ASSET: (_K.ASSET_LIMIT, "asset {}", "wait, or raise max_parallelism of {} and deploy"),
    RUN: (_K.RUN_LIMIT, "run {}", "wait: run {} was given that limit when it was asked for"),
}


def _versions(workspace: Workspace) -> set[str]:
    return {session.code_version_id for session in workspace.sessions.values()} - {""}


def _no_version(workspace: Workspace, version: str) -> str:
    announced = ", ".join(sorted(_versions(workspace))) or "none"
    return f"no worker announces code version {version!r} (announced: {announced})"
