"""One line for each event of the history, for people. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from servo.cli import _output
from servo.cli._run_view import warning_text, warnings_of
from servo.types.events import (
    DeploymentActivated,
    Event,
    PoolChanged,
    RunCreated,
    RunStateChanged,
    RunUpdated,
    TaskProgressed,
    TaskSpent,
    TaskStateChanged,
)
from servo.types.records import Run
from servo.types.runs import TaskState


def line(event: Event, label: Callable[[str, int], str]) -> str:
    """Return the line of an event: its number, its time, what it is about and what happened.

    Args:
        event: The event.
        label: Names a task, by its run and its position there.
    """
    return f"{event.sequence:>6}  {_output.when(event.occurred_at)}  {describe(event, label)}"


def describe(event: Event, label: Callable[[str, int], str]) -> str:
    """Return what an event is about, and what happened.

    Args:
        event: The event.
        label: Names a task, by its run and its position there.
    """
    run = f"run {event.run_id}"
    match event.payload:
        case DeploymentActivated(deployment=deployment):
            assets = _output.count(deployment.asset_count, "asset")
            return f"deployment {deployment.deployment_id}  is the current one: {assets}"
        case PoolChanged(name=name, slots=None):
            return f"pool {name}  removed"
        case PoolChanged(name=name, slots=slots):
            return f"pool {name}  {_output.count(slots or 0, 'slot')}"
        case RunCreated(run=created):
            return f"{run}  {_created(created)}"
        case RunStateChanged(state=state, reason=reason, ends_as=ends_as):
            end = f", to end as {ends_as}" if ends_as is not None else ""
            return _joined(f"{run}  {_output.state(str(state))}{end}", reason)
        case RunUpdated(paused=paused, priority=priority):
            return f"{run}  {'held' if paused else 'not held'}, priority {priority}"
        case TaskStateChanged() as change:
            return f"{run}  {label(event.run_id, change.index)}  {_change(change)}"
        case TaskSpent(index=index, spent=spent):
            return f"{run}  {label(event.run_id, index)}  has spent {amounts(spent)}"
        case TaskProgressed(index=index, progress=progress):
            return f"{run}  {label(event.run_id, index)}  {_output.one_line(progress.message)}"


def amounts(spent: Mapping[str, str]) -> str:
    """Print amounts by unit, such as ``120 tokens, 0.25 usd``."""
    return ", ".join(f"{amount} {unit}" for unit, amount in sorted(spent.items()))


def _created(run: Run) -> str:
    repeated = f"repeats run {run.parent_run_id}" if run.parent_run_id else "asked for"
    selection = f" {_output.one_line(' '.join(run.selection))}" if run.selection else ""
    return f"{repeated}{selection}: {_output.count(run.counts.total, 'task')}"


def _change(change: TaskStateChanged) -> str:
    attempt = f" (attempt {change.attempt})" if change.attempt > 1 else ""
    worker = f" to worker {_output.one_line(change.worker_id)}" if change.worker_id else ""
    failure = change.failure
    reason = f"{failure.category}: {failure.message}" if failure is not None else change.reason
    if change.state is TaskState.SUCCEEDED:
        reason = warning_text(warnings_of(change.checks)) or reason
    return _joined(f"{_output.state(str(change.state))}{worker}{attempt}", reason)


def _joined(text: str, reason: str) -> str:
    return f"{text}: {_output.one_line(reason)}" if reason else text
