"""Why something is not done: from a run, a task or an asset to the one thing that keeps it.

Each link of the answer is kept by the next one; the last one names an object at which something can
be done. What it says of ready tasks is what the scheduler itself goes by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from servo import errors
from servo.controlplane.machine import RunMachine
from servo.controlplane.plane import run_not_found
from servo.controlplane.standing import Standing, database_of, standing_of
from servo.controlplane.workspace import Workspace
from servo.types.blockers import Blocker, BlockerKind, ExplainRequest, ExplainResponse
from servo.types.keys import AssetKey
from servo.types.labels import label, run_command, task_label
from servo.types.partition_keys import PartitionKey
from servo.types.records import Run, Task
from servo.types.runs import TaskState

_K = BlockerKind
_LOOKED_THROUGH: Final = 20
"""How many of the newest ended runs are looked through for an asset."""

_GOES_ON: Final = frozenset({_K.EXECUTING, _K.RETRY_WAIT})

_URGENCY: Final = (
    TaskState.FAILED,
    TaskState.READY,
    TaskState.RETRY_WAIT,
    TaskState.RUNNING,
    TaskState.DISPATCHED,
    TaskState.BLOCKED,
    TaskState.CANCELLED,
    TaskState.SKIPPED,
)
"""Which task of a run is the one to look at: what has gone wrong, then what could go on."""


async def explain(workspace: Workspace, request: ExplainRequest) -> ExplainResponse:
    """Return the chain of what keeps a run, a task or an asset.

    Args:
        workspace: Where it is.
        request: What the question is about.

    Raises:
        servo.errors.NotFoundError: There is no such run, task or asset.
    """
    if request.asset_key is not None:
        chain = await _explain_asset(workspace, request.asset_key, request.partition_key)
    elif request.task_id:
        chain = await _explain_task(workspace, request.task_id)
    else:
        found = await _find_run(workspace, request.run_id)
        if found is None:
            raise run_not_found(request.run_id)
        chain = _explain_run(*found)
    database = database_of(workspace)
    if database is not None and chain and chain[-1].kind in _GOES_ON:
        # What is executed cannot be recorded, and no retry begins.
        chain = (*chain[:-1], database)
    return ExplainResponse(chain=chain)


# -- where to begin -----------------------------------------------------------------------


async def _find_run(workspace: Workspace, run_id: str) -> tuple[RunMachine, Standing] | None:
    active = workspace.active.get(run_id)
    if active is not None:
        return active.machine, standing_of(workspace, active)
    stored = await workspace.store.run_in_full(workspace.number, run_id)
    if stored is None:
        return None
    return RunMachine(stored.run, stored.tasks, stored.plan), _ended


async def _explain_task(workspace: Workspace, task_id: str) -> tuple[Blocker, ...]:
    known = workspace.find_task(task_id)
    if known is not None:
        active, index = known
        return tuple(_chain(active.machine, index, standing_of(workspace, active)))
    # The ids of a run's tasks are minted with its own and right after it.
    for run in await workspace.store.runs(workspace.number, task_id, 1):
        found = await _find_run(workspace, run.run_id)
        if found is not None:
            machine, standing = found
            for index, task in enumerate(machine.tasks):
                if task.task_id == task_id:
                    return tuple(_chain(machine, index, standing))
    raise errors.NotFoundError(
        f"there is no task {task_id!r}; `servo status RUN` lists those of a run",
        code="TASK_NOT_FOUND",
        context={"task_id": task_id},
    )


def _explain_run(machine: RunMachine, standing: Standing) -> tuple[Blocker, ...]:
    run = machine.run
    open_tasks = [task for task in machine.tasks if task.state is not TaskState.SUCCEEDED]
    if not open_tasks:
        return (_run_link(_K.SUCCEEDED, run, f"it succeeded{_at(run.finished_at)}"),)
    task = min(open_tasks, key=lambda task: (_URGENCY.index(task.state), task.index))
    first = Blocker(
        kind=_K.FAILED if run.state.is_terminal else _K.UPSTREAM,
        subject="task",
        subject_id=task.task_id,
        message=f"run {run.run_id} is {run.state}: {task_label(task)} is {task.state}",
        details={
            "state": run.state.value,
            "tasks": str(len(machine.tasks)),
            "not_succeeded": str(len(open_tasks)),
        },
    )
    return (first, *_chain(machine, task.index, standing))


async def _explain_asset(
    workspace: Workspace, key: AssetKey, partition_key: PartitionKey | None
) -> tuple[Blocker, ...]:
    asset_id = workspace.asset_ids.get(str(key))
    if asset_id is None:
        raise errors.NotFoundError(
            f"there is no asset {str(key)!r}; `servo asset list` lists them",
            code="ASSET_NOT_FOUND",
            context={"asset": str(key)},
        )

    def concerns(task: Task) -> bool:
        wanted = partition_key is None or task.partition_key == partition_key
        return task.asset_key == key and wanted

    for run_id in sorted(workspace.active, reverse=True):
        active = workspace.active[run_id]
        chain = _asset_chain(active.machine, concerns, standing_of(workspace, active))
        if chain:
            return chain
    for run in await workspace.store.runs(workspace.number, "~", _LOOKED_THROUGH):
        found = await _find_run(workspace, run.run_id)
        chain = _asset_chain(found[0], concerns, found[1]) if found is not None else ()
        if chain:
            return chain
    partition = partition_key or PartitionKey()
    return (
        Blocker(
            kind=_K.NOT_REQUESTED,
            subject="asset",
            subject_id=str(key),
            message=f"no recent run was asked to make {label(key, partition)}",
            remedy=run_command(key, partition),
        ),
    )


def _asset_chain(
    machine: RunMachine, concerns: Callable[[Task], bool], standing: Standing
) -> tuple[Blocker, ...]:
    tasks = [task for task in machine.tasks if concerns(task)]
    if not tasks:
        return ()
    order = (*_URGENCY, TaskState.SUCCEEDED)
    task = min(tasks, key=lambda task: (order.index(task.state), task.index))
    return tuple(_chain(machine, task.index, standing))


# -- link by link -------------------------------------------------------------------------


def _chain(machine: RunMachine, index: int, standing: Standing) -> Iterator[Blocker]:
    """Follow what keeps a task, upstream by upstream, to where it ends."""
    while True:
        task = machine.tasks[index]
        if task.state is TaskState.READY:
            yield standing(index)
            return
        following = _upstream(machine, task)
        if following is None:
            yield _end(machine, task)
            return
        upstream = machine.tasks[following]
        verb = "waits for" if task.state is TaskState.BLOCKED else f"was {task.state} because of"
        yield Blocker(
            kind=_K.UPSTREAM,
            subject="task",
            subject_id=upstream.task_id,
            message=f"{task_label(task)} {verb} {task_label(upstream)}, which is {upstream.state}",
            details={
                "task_id": task.task_id,
                "upstream": task_label(upstream),
                "upstream_state": upstream.state.value,
            },
        )
        index = following


def _upstream(machine: RunMachine, task: Task) -> int | None:
    """Return the upstream task that keeps a task, if it is one that does."""
    keepers: tuple[TaskState, ...] = ()
    if task.state is TaskState.SKIPPED:
        keepers = (TaskState.FAILED, TaskState.SKIPPED)
    elif task.state is TaskState.BLOCKED:
        keepers = _URGENCY
    best: tuple[int, int] | None = None
    for upstream in _all_upstream(machine, task.index):
        state = machine.tasks[upstream].state
        if state in keepers:
            found = (keepers.index(state), upstream)
            best = found if best is None else min(best, found)
    return None if best is None else best[1]


def _all_upstream(machine: RunMachine, index: int) -> Iterator[int]:
    planned = machine.plan.tasks[index]
    yield from planned.upstream
    for gate in planned.gates:
        yield from machine.plan.gates[gate].tasks


def _end(machine: RunMachine, task: Task) -> Blocker:
    """Return the link at which a chain ends whose last task is not a ready one."""
    run, name = machine.run, task_label(task)
    details = {"task_id": task.task_id, "attempt": str(task.attempt), "state": task.state.value}
    if task.failure is not None:
        details |= {
            "reason": task.failure.reason,
            "category": task.failure.category.value,
            "max_attempts": str(task.failure.max_attempts),
            "run_id": run.run_id,
        }
    again = f"mend what is wrong, then `servo rerun {run.run_id}`"
    if task.state in (TaskState.RUNNING, TaskState.DISPATCHED):
        message = f"{name} is being executed by worker {task.worker_id} (attempt {task.attempt})"
        return Blocker(
            kind=_K.EXECUTING,
            subject="worker",
            subject_id=task.worker_id,
            message=message,
            details=details,
        )
    if task.state is TaskState.RETRY_WAIT:
        at = task.retry_at.isoformat() if task.retry_at is not None else ""
        shown = f"{task.retry_at:%Y-%m-%d %H:%M:%S} UTC" if task.retry_at is not None else "once"
        return Blocker(
            kind=_K.RETRY_WAIT,
            subject="task",
            subject_id=task.task_id,
            message=f"{name} failed ({task.reason}) and is tried again at {shown}",
            details={**details, "task": name, "failure": task.reason, "retry_at": at},
        )
    if task.state is TaskState.FAILED:
        budget = task.failure is not None and task.failure.reason == "budget"
        return Blocker(
            kind=_K.BUDGET if budget else _K.FAILED,
            subject="budget" if budget else "task",
            subject_id=run.run_id if budget else task.task_id,
            message=f"{name} failed: {task.reason}",
            remedy=f"give it a larger budget, then `servo rerun {run.run_id}`" if budget else again,
            details=details,
        )
    if task.state is TaskState.SUCCEEDED:
        return Blocker(
            kind=_K.SUCCEEDED,
            subject="task",
            subject_id=task.task_id,
            message=f"{name} succeeded in run {run.run_id}{_at(task.finished_at)}",
            details=details,
        )
    return Blocker(
        kind=_K.CANCELLED,
        subject="run",
        subject_id=run.run_id,
        message=f"{name} was {task.state}: {task.reason}",
        remedy=f"servo rerun {run.run_id}",
        details=details,
    )


def _at(moment: datetime | None) -> str:
    return "" if moment is None else f" at {moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _run_link(kind: BlockerKind, run: Run, message: str) -> Blocker:
    return Blocker(
        kind=kind,
        subject="run",
        subject_id=run.run_id,
        message=f"run {run.run_id}: {message}",
        details={"state": run.state.value},
    )


def _ended(index: int) -> Blocker:
    raise AssertionError(f"task {index} of a run that has ended is ready")
