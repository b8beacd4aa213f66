"""What is promised of every history, checked event by event as it grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from model.folding import Fold
from servo.types.events import Event, RunStateChanged, TaskSpent, TaskStateChanged
from servo.types.labels import task_label
from servo.types.plans import Plan
from servo.types.records import Task
from servo.types.runs import RunState, TaskState

ON_WORKER = frozenset({TaskState.DISPATCHED, TaskState.RUNNING})


class BrokenPromiseError(AssertionError):
    """A history does what it never may."""


def promise(holds: bool, what: str) -> None:
    """Check one promise.

    Raises:
        BrokenPromiseError: It does not hold.
    """
    if not holds:
        raise BrokenPromiseError(what)


class Watch:
    """Follows the history of one run and checks what each event does.

    Args:
        run_id: The run.
        plan: What it executes.
        max_retries: Attempts that each task has after the first, by its position.
    """

    def __init__(self, run_id: str, plan: Plan, max_retries: Sequence[int]) -> None:
        self.run_id = run_id
        self._upstream = _upstream(plan)
        self._max_retries = max_retries
        self._begun: Counter[int] = Counter()
        self._given_out: set[int] = set()
        self._ended: dict[int, TaskState] = {}
        self._run_ended: RunState | None = None
        self._ends_as: RunState | None = None

    def see(self, event: Event, fold: Fold) -> None:
        """Check an event that was applied to the fold just now."""
        if event.run_id != self.run_id:
            return
        match event.payload:
            case RunStateChanged(state=state, ends_as=ends_as):
                promise(self._run_ended is None, "a run that has ended stays as it is")
                promise(self._ends_as in (None, state), "a run that is stopped ends as was said")
                was_stopped, self._ends_as = self._ends_as is not None, ends_as
                if state.is_terminal:
                    self._run_ended = state
                    self._check_end(fold, was_stopped=was_stopped)
            case TaskStateChanged() as change:
                self._see_task(event, change, fold)
            case TaskSpent(index=index):
                promise(index not in self._ended, "a task that has ended spends nothing")

    def check(self, fold: Fold) -> None:
        """Check what holds between events: a run that goes on has something to go on with."""
        states = {task.state for task in fold.tasks[self.run_id]}
        if self._run_ended is None:
            goes_on = states & {TaskState.READY, TaskState.RETRY_WAIT, *ON_WORKER}
            promise(bool(goes_on), "a run that goes on has a task that can go on")
            is_stopping = fold.runs[self.run_id].state is RunState.CANCELLING
            promise(not is_stopping or goes_on <= ON_WORKER, "a run that stops starts nothing")

    def _see_task(self, event: Event, change: TaskStateChanged, fold: Fold) -> None:
        index, state = change.index, change.state
        promise(index not in self._ended, "a task that has ended stays as it is")
        promise(self._run_ended is None, "no task of a run that has ended changes")
        task = fold.tasks[self.run_id][index]
        if state is TaskState.DISPATCHED:
            self._see_dispatch(change, task, fold)
        elif state is TaskState.RUNNING:
            self._begun[index] += 1
            promise(task.started_at == event.occurred_at, "an attempt's clock starts with it")
        elif state is TaskState.SKIPPED:
            promise(index not in self._given_out, "no task is both skipped and executed")
            failed = [
                task_label(other)
                for other in fold.tasks[self.run_id]
                if other.state is TaskState.FAILED and other.index in self._upstream[index]
            ]
            said = [f"upstream {name} failed" for name in failed]
            promise(change.reason in said, "a skip names an upstream that failed")
        if state not in (TaskState.DISPATCHED, TaskState.CANCELLED, TaskState.SKIPPED):
            promise(change.attempt == self._begun[index], "attempts are numbered without gaps")
        promise(
            self._begun[index] <= self._max_retries[index] + 1,
            "a task has as many attempts as allowed",
        )
        promise(
            state is not TaskState.FAILED or change.failure is not None, "a failure says what it is"
        )
        promise(
            state is not TaskState.CANCELLED or bool(change.reason), "a cancelled task says why"
        )
        if state.is_terminal:
            self._ended[index] = state
            promise(task.finished_at == event.occurred_at, "a task that has ended says when")

    def _see_dispatch(self, change: TaskStateChanged, task: Task, fold: Fold) -> None:
        index = change.index
        tasks = fold.tasks[self.run_id]
        promise(
            all(tasks[other].state is TaskState.SUCCEEDED for other in self._upstream[index]),
            "no task starts before everything upstream has succeeded",
        )
        promise(
            fold.runs[self.run_id].state is not RunState.CANCELLING,
            "a run that stops starts nothing",
        )
        self._given_out.add(index)
        promise(change.attempt == self._begun[index] + 1, "attempts are numbered without gaps")
        promise(
            (task.started_at, task.retry_at, task.progress, task.failure, task.checks)
            == (None, None, None, None, ()),
            "an attempt begins with nothing of the one before",
        )
        promise(
            bool(change.worker_id) and task.worker_id == change.worker_id,
            "an attempt says which worker has it",
        )

    def _check_end(self, fold: Fold, *, was_stopped: bool) -> None:
        states = Counter(task.state for task in fold.tasks[self.run_id])
        promise(all(state.is_terminal for state in states), "a run ends when all of its tasks have")
        match self._run_ended:
            case RunState.SUCCEEDED:
                promise(set(states) <= {TaskState.SUCCEEDED}, "a run succeeds when every task has")
            case RunState.CANCELLED | RunState.TIMED_OUT:
                promise(was_stopped, "only a run that was stopped ends like that")
            case RunState.FAILED:
                promise(TaskState.FAILED in states, "a run that failed has a task that failed")
        run = fold.runs[self.run_id]
        promise(run.finished_at is not None, "a run that has ended says when")
        promise(run.ends_as is None, "only a run that is being stopped says how it will end")


def _upstream(plan: Plan) -> list[set[int]]:
    """Return for each task every other that must succeed before it, however far upstream."""
    found: list[set[int]] = []
    for planned in plan.tasks:
        direct = {*planned.upstream, *(t for gate in planned.gates for t in plan.gates[gate].tasks)}
        found.append(direct.union(*(found[other] for other in direct)))
    return found
