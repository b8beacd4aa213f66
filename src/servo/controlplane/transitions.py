"""The state machine of tasks and runs: pure functions ``(record, event) -> record``.

Everything the control plane knows about a run is what these functions fold out of its events.
The tables say which changes exist; a change that is not in them is a defect of the caller and
raises, so that it can never be recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from servo.types.events import RunStateChanged, RunUpdated, TaskSpent, TaskStateChanged
from servo.types.records import Run, Task, TaskCounts
from servo.types.runs import RunState, TaskState

_T = TaskState
_R = RunState

TASK_TRANSITIONS: Final[Mapping[TaskState, frozenset[TaskState]]] = MappingProxyType(
    {
        _T.BLOCKED: frozenset({_T.READY, _T.SKIPPED, _T.CANCELLED}),
        _T.READY: frozenset({_T.DISPATCHED, _T.FAILED, _T.CANCELLED}),
        _T.DISPATCHED: frozenset(
            {_T.RUNNING, _T.READY, _T.SUCCEEDED, _T.RETRY_WAIT, _T.FAILED, _T.CANCELLED}
        ),
        _T.RUNNING: frozenset({_T.SUCCEEDED, _T.RETRY_WAIT, _T.FAILED, _T.CANCELLED}),
        _T.RETRY_WAIT: frozenset({_T.READY, _T.CANCELLED}),
        _T.SUCCEEDED: frozenset(),
        _T.FAILED: frozenset(),
        _T.CANCELLED: frozenset(),
        _T.SKIPPED: frozenset(),
    }
)
"""Which state of a task may follow which."""

RUN_TRANSITIONS: Final[Mapping[RunState, frozenset[RunState]]] = MappingProxyType(
    {
        _R.PENDING: frozenset({_R.RUNNING, _R.CANCELLING, _R.SUCCEEDED, _R.FAILED}),
        _R.RUNNING: frozenset({_R.CANCELLING, _R.SUCCEEDED, _R.FAILED}),
        _R.CANCELLING: frozenset({_R.CANCELLED, _R.FAILED, _R.TIMED_OUT}),
        _R.SUCCEEDED: frozenset(),
        _R.FAILED: frozenset(),
        _R.CANCELLED: frozenset(),
        _R.TIMED_OUT: frozenset(),
    }
)
"""Which state of a run may follow which."""


# Walking through an enum takes longer than counting does, and each commit counts.
_COUNTED: Final = tuple((state, state.value) for state in TaskState)


class InvalidTransitionError(Exception):
    """An event does not fit the state that it would change; nothing was changed."""


def apply_to_task(task: Task, change: TaskStateChanged, occurred_at: datetime) -> Task:
    """Return the task after a change.

    Args:
        task: The task before.
        change: The change.
        occurred_at: When the control plane recorded it.

    Raises:
        InvalidTransitionError: The change does not exist in `TASK_TRANSITIONS`.
    """
    state = change.state
    if state not in TASK_TRANSITIONS[task.state]:
        raise InvalidTransitionError(f"task {task.task_id} cannot go from {task.state} to {state}")
    if state is _T.RUNNING:
        return replace(task, state=state, reason=change.reason, started_at=occurred_at)
    if state is _T.DISPATCHED:
        return replace(
            task,
            state=state,
            attempt=change.attempt,
            reason=change.reason,
            worker_id=change.worker_id,
            started_at=None,
            retry_at=None,
            progress=None,
            failure=None,
            checks=(),
            spent_before=task.spent,
        )
    return replace(
        task,
        state=state,
        attempt=change.attempt,
        reason=change.reason,
        failure=change.failure,
        retry_at=change.retry_at,
        materialization=change.materialization,
        checks=change.checks,
        finished_at=occurred_at if state.is_terminal else None,
    )


def spend_on_task(task: Task, change: TaskSpent) -> Task:
    """Return the task after it spent something.

    Args:
        task: The task before.
        change: What all of its attempts have spent now.

    Raises:
        InvalidTransitionError: The task has ended, or no attempt of it is under way.
    """
    if task.state not in (_T.DISPATCHED, _T.RUNNING):
        raise InvalidTransitionError(f"task {task.task_id} is {task.state} and cannot spend")
    return replace(task, spent=change.spent)


def apply_to_run(run: Run, change: RunStateChanged | RunUpdated, occurred_at: datetime) -> Run:
    """Return the run after a change of its own.

    Args:
        run: The run before.
        change: The change.
        occurred_at: When the control plane recorded it.

    Raises:
        InvalidTransitionError: The change does not exist in `RUN_TRANSITIONS`, or the run has
            ended.
    """
    if isinstance(change, RunUpdated):
        if run.state.is_terminal:
            raise InvalidTransitionError(f"run {run.run_id} is {run.state} and cannot change")
        return replace(run, paused=change.paused, priority=change.priority)
    if change.state not in RUN_TRANSITIONS[run.state]:
        raise InvalidTransitionError(
            f"run {run.run_id} cannot go from {run.state} to {change.state}"
        )
    return replace(
        run,
        state=change.state,
        reason=change.reason,
        started_at=occurred_at if change.state is _R.RUNNING else run.started_at,
        finished_at=occurred_at if change.state.is_terminal else None,
        ends_as=change.ends_as,
        # Nothing of a run that is being stopped is to start any more: holding it means nothing.
        paused=run.paused and change.state in (_R.PENDING, _R.RUNNING),
    )


def count_states(states: Mapping[TaskState, int]) -> TaskCounts:
    """Return the counts of a run from the number of tasks in each state."""
    counts = {name: states.get(state, 0) for state, name in _COUNTED}
    return TaskCounts(total=sum(states.values()), **counts)
