"""A run as it is watched: events folded into what the command line shows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from servo.types.checks import CheckResult, CheckSeverity
from servo.types.events import (
    Event,
    RunStateChanged,
    RunUpdated,
    TaskProgressed,
    TaskStateChanged,
)
from servo.types.keys import AssetKey
from servo.types.labels import task_label
from servo.types.records import Failure, Progress, Run, Task
from servo.types.runs import RunState, TaskState

_NONE = dict.fromkeys(TaskState, 0)
_ACTIVE = frozenset({TaskState.DISPATCHED, TaskState.RUNNING})


@dataclass(slots=True)
class TaskView:
    """One task as it is shown.

    Attributes:
        label: Asset and partition, as people write them.
        asset: The asset.
        state: Where the task stands.
        attempt: Number of its last attempt.
        reason: Why it is in this state.
        failure: Why its last attempt failed.
        progress: Latest progress of its attempt.
        rows: Rows of what it produced, where that is known.
        byte_size: Size of what it produced, bytes.
        path: Where that lies, relative to the data root.
        warnings: Checks that did not pass and did not fail the task either.
        is_told: Whether its warnings or its failure were printed while the run was followed.
        task_id: Its id.
        index: Its position in the plan.
        started_at: When its last attempt started.
        retry_at: When its next attempt may start, by the control plane's clock.
    """

    label: str
    asset: AssetKey
    state: TaskState
    attempt: int = 0
    reason: str = ""
    failure: Failure | None = None
    progress: Progress | None = None
    rows: int | None = None
    byte_size: int = 0
    path: str = ""
    warnings: tuple[CheckResult, ...] = ()
    is_told: bool = False
    task_id: str = ""
    index: int = 0
    started_at: datetime | None = None
    retry_at: datetime | None = None


@dataclass(slots=True)
class AssetView:
    """The tasks of one asset, summed up.

    Attributes:
        key: The asset.
        total: Number of its tasks.
        states: Number of tasks by state.
        rows: Rows produced, as far as they are known.
        byte_size: Size of what was produced, bytes.
    """

    key: AssetKey
    total: int = 0
    states: Counter[TaskState] = field(default_factory=lambda: Counter(_NONE))
    rows: int = 0
    byte_size: int = 0

    @property
    def finished(self) -> int:
        """The number of tasks that have ended, however they did."""
        return sum(number for state, number in self.states.items() if state.is_terminal)


class RunView:
    """What is known of a run, kept up to date by its events.

    Args:
        run: The run with all of its tasks.
    """

    def __init__(self, run: Run) -> None:
        self.run_id = run.run_id
        self.state = run.state
        self.reason = run.reason
        self.paused = run.paused
        self.created_at = run.created_at
        self.finished_at = run.finished_at
        self.sequence = run.last_sequence
        self.states: Counter[TaskState] = Counter(_NONE)
        self.assets: dict[AssetKey, AssetView] = {}
        self.tasks: list[TaskView] = []
        self.active: dict[int, None] = {}
        self.waiting: dict[int, None] = {}
        for task in sorted(run.tasks, key=lambda task: task.index):
            self._add(task)

    def _add(self, task: Task) -> None:
        index = len(self.tasks)
        view = TaskView(
            label=task_label(task),
            asset=task.asset_key,
            state=task.state,
            attempt=task.attempt,
            reason=task.reason,
            failure=task.failure,
            progress=task.progress,
            warnings=warnings_of(task.checks),
            task_id=task.task_id,
            index=index,
            started_at=task.started_at,
            retry_at=task.retry_at,
        )
        self.tasks.append(view)
        asset = self.assets.setdefault(task.asset_key, AssetView(task.asset_key))
        asset.total += 1
        asset.states[task.state] += 1
        self.states[task.state] += 1
        if task.state in _ACTIVE:
            self.active[index] = None
        if task.state is TaskState.RETRY_WAIT:
            self.waiting[index] = None
        if task.materialization is not None:
            self._produced(view, task)

    def _produced(self, view: TaskView, source: Task | TaskStateChanged) -> None:
        made = source.materialization
        if made is None or view.path or view.rows is not None:
            return
        view.rows = made.row_count
        view.byte_size = made.byte_size
        view.path = made.path
        asset = self.assets[view.asset]
        asset.rows += made.row_count or 0
        asset.byte_size += made.byte_size

    def apply(self, event: Event) -> TaskView | None:
        """Take one event into account.

        Returns:
            The task whose state the event changed, if it did.
        """
        # Events up to the sequence of the snapshot are part of it already; progress has none.
        if event.sequence:
            if event.sequence <= self.sequence:
                return None
            self.sequence = event.sequence
        match event.payload:
            case RunStateChanged(state=state, reason=reason):
                self.state, self.reason = state, reason
                if state.is_terminal:
                    self.finished_at = event.occurred_at
            case RunUpdated(paused=paused):
                self.paused = paused
            case TaskProgressed(index=index, progress=progress):
                self.tasks[index].progress = progress
            case TaskStateChanged() as change:
                return self._change(change, event.occurred_at)
            case _:
                pass
        return None

    def _change(self, change: TaskStateChanged, occurred_at: datetime) -> TaskView:
        task = self.tasks[change.index]
        for states in (self.states, self.assets[task.asset].states):
            states[task.state] -= 1
            states[change.state] += 1
        task.state = change.state
        task.is_told = False
        task.attempt = change.attempt or task.attempt
        task.reason = change.reason
        task.failure = change.failure
        task.warnings = warnings_of(change.checks)
        if change.state in _ACTIVE:
            self.active[change.index] = None
        else:
            self.active.pop(change.index, None)
            task.progress = None
        if change.state is TaskState.RUNNING:
            task.started_at = occurred_at
        if change.state is TaskState.RETRY_WAIT:
            self.waiting[change.index] = None
        else:
            self.waiting.pop(change.index, None)
        task.retry_at = change.retry_at
        self._produced(task, change)
        return task

    @property
    def total(self) -> int:
        """The number of tasks."""
        return len(self.tasks)

    @property
    def finished(self) -> int:
        """The number of tasks that have ended, however they did."""
        return sum(number for state, number in self.states.items() if state.is_terminal)

    @property
    def running_tasks(self) -> Iterator[TaskView]:
        """The tasks that are being executed, longest first."""
        tasks = (self.tasks[index] for index in list(self.active))
        return (task for task in tasks if task.state is TaskState.RUNNING)

    @property
    def waiting_tasks(self) -> Iterator[TaskView]:
        """The tasks that wait for their next attempt, longest first."""
        tasks = (self.tasks[index] for index in list(self.waiting))
        return (task for task in tasks if task.state is TaskState.RETRY_WAIT)

    @property
    def succeeded(self) -> bool:
        """Whether the run has ended well."""
        return self.state is RunState.SUCCEEDED

    @property
    def all_warnings(self) -> Iterator[tuple[TaskView, CheckResult]]:
        """Every check that did not pass and did not fail its task, with its task."""
        return ((task, check) for task in self.tasks for check in task.warnings)

    def elapsed_until(self, now: datetime) -> float:
        """Return for how long the run has lasted, seconds."""
        if self.created_at is None:
            return 0.0
        return max(((self.finished_at or now) - self.created_at).total_seconds(), 0.0)


def warning_text(warnings: Iterable[CheckResult]) -> str:
    """Return what is said of checks of severity ``warning`` that did not pass; empty for none."""
    checks = "; ".join(f"{check.check_name}: {check.message}" for check in warnings)
    return f"warning, {checks}" if checks else ""


def warnings_of(checks: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    """Return the checks of severity ``warning`` that did not pass."""
    return tuple(
        check for check in checks if not check.passed and check.severity is CheckSeverity.WARNING
    )
