"""What the history says of one run, worked out again from its events alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace

from servo.controlplane import transitions
from servo.types.events import Event, RunCreated, RunStateChanged, RunUpdated, TaskSpent
from servo.types.events import TaskStateChanged as TaskChanged
from servo.types.records import Run, Task
from servo.types.runs import TaskState


class RunFold:
    """A run and its tasks as the run's events make them, in the order of their numbers.

    Args:
        created: The event with which the run began.
        tasks: The tasks as they are stored; which ones there are is in the plan, not in the
            history. Nothing else of them is looked at.

    Raises:
        ValueError: The event is not one with which a run begins.

    Attributes:
        tasks: The tasks.
        tokens: The number of the event that last gave out each task; 0 before the first.
        made: The numbers of the events in which the tasks ended well, by position.
    """

    def __init__(self, created: Event, tasks: Sequence[Task]) -> None:
        if not isinstance(created.payload, RunCreated):
            raise ValueError(f"event {created.sequence} does not begin a run")
        self.tasks = [fresh(task) for task in tasks]
        self.tokens = [0] * len(tasks)
        self.made: dict[int, int] = {}
        self._run = replace(created.payload.run, last_sequence=created.sequence)

    def apply(self, event: Event) -> None:
        """Apply the next event of the run.

        Raises:
            servo.controlplane.transitions.InvalidTransitionError: The event does not fit what
                came before.
            IndexError: It is about a task that the plan does not have.
            ValueError: It is none that a run has, or comes too late.
        """
        payload, now = event.payload, event.occurred_at
        if event.sequence <= self._run.last_sequence:
            raise ValueError(f"event {event.sequence} comes after {self._run.last_sequence}")
        match payload:
            case RunStateChanged() | RunUpdated():
                self._run = transitions.apply_to_run(self._run, payload, now)
            case TaskChanged(index=index):
                self.tasks[index] = transitions.apply_to_task(self.tasks[index], payload, now)
                if payload.state is TaskState.DISPATCHED:
                    self.tokens[index] = event.sequence
                elif payload.materialization is not None:
                    self.made[index] = event.sequence
            case TaskSpent(index=index):
                self.tasks[index] = transitions.spend_on_task(self.tasks[index], payload)
            case _:
                raise ValueError(f"event {event.sequence} is none of a run's: {payload}")
        self._run = replace(self._run, last_sequence=event.sequence)

    @property
    def run(self) -> Run:
        """The run with its counts; what it has spent is in `spent`."""
        states = Counter(task.state for task in self.tasks)
        return replace(self._run, counts=transitions.count_states(states), spent={})

    @property
    def spent(self) -> Mapping[str, Decimal]:
        """What all tasks have spent together, by unit."""
        found: dict[str, Decimal] = {}
        for task in self.tasks:
            for unit, amount in task.spent.items():
                found[unit] = found.get(unit, Decimal(0)) + Decimal(amount)
        return found


def fresh(task: Task) -> Task:
    """Return a task as it was when its run was created."""
    return Task(
        task_id=task.task_id,
        index=task.index,
        asset_key=task.asset_key,
        partition_key=task.partition_key,
        state=TaskState.BLOCKED,
    )
