"""What a history says, worked out again from its events alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

from msgspec.structs import replace

from servo.controlplane import transitions
from servo.types.events import Event, RunCreated, RunStateChanged, RunUpdated, TaskSpent
from servo.types.events import TaskStateChanged as TaskChanged
from servo.types.records import Run, Task
from servo.types.runs import TaskState

TasksOf = Callable[[str], Sequence[Task]]


class Fold:
    """Runs and tasks as the events of one workspace make them, in the order of their numbers.

    Args:
        tasks_of: Answers with the tasks of a run that was just created. Which tasks a run has is
            in its plan, not in its history.
    """

    def __init__(self, tasks_of: TasksOf) -> None:
        self._tasks_of = tasks_of
        self.sequence = 0
        self.runs: dict[str, Run] = {}
        self.tasks: dict[str, list[Task]] = {}

    def apply(self, event: Event) -> bool:
        """Apply the next event; one whose number was applied already changes nothing."""
        if event.sequence <= self.sequence:
            return False
        assert event.sequence == self.sequence + 1, "the history has no gaps"
        self.sequence = event.sequence
        payload, now, run_id = event.payload, event.occurred_at, event.run_id
        match payload:
            case RunCreated(run=run):
                self.runs[run_id] = run
                self.tasks[run_id] = [fresh(task) for task in self._tasks_of(run_id)]
            case RunStateChanged() | RunUpdated():
                self.runs[run_id] = transitions.apply_to_run(self.runs[run_id], payload, now)
            case TaskChanged(index=index):
                tasks = self.tasks[run_id]
                tasks[index] = transitions.apply_to_task(tasks[index], payload, now)
            case TaskSpent(index=index):
                tasks = self.tasks[run_id]
                tasks[index] = transitions.spend_on_task(tasks[index], payload)
                spent = {unit: f"{amount:f}" for unit, amount in total(tasks).items()}
                self.runs[run_id] = replace(self.runs[run_id], spent=spent)
        if run_id:
            self.runs[run_id] = replace(self.runs[run_id], last_sequence=event.sequence)
        return True

    def run(self, run_id: str) -> Run:
        """Return a run with its counts."""
        states = Counter(task.state for task in self.tasks[run_id])
        return replace(self.runs[run_id], counts=transitions.count_states(states))


def fresh(task: Task) -> Task:
    """Return a task as it was when its run was created."""
    return Task(
        task_id=task.task_id,
        index=task.index,
        asset_key=task.asset_key,
        partition_key=task.partition_key,
        state=TaskState.BLOCKED,
    )


def recorded(task: Task) -> Task:
    """Return a task without what is no part of the history: how far its attempt is."""
    return task if task.progress is None else replace(task, progress=None)


def without_spent(run: Run) -> Run:
    """Return a run without what it has spent; `numbers` has it, however it was written."""
    return replace(run, spent={})


def total(tasks: Sequence[Task]) -> dict[str, Decimal]:
    """Return what tasks have spent together, by unit."""
    found: dict[str, Decimal] = {}
    for task in tasks:
        for unit, amount in task.spent.items():
            found[unit] = found.get(unit, Decimal(0)) + Decimal(amount)
    return found


def numbers(run: Run) -> dict[str, Decimal]:
    """Return what a run says that it has spent, as numbers by unit."""
    return {unit: Decimal(text) for unit, text in run.spent.items()}
