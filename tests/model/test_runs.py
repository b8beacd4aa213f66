"""Every history of a run keeps what is promised, and what breaks a promise is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from model.histories import Histories
from model.searches import SEARCH
from servo.controlplane import transitions
from servo.controlplane.machine import Change, RunMachine
from servo.types import ExecutionPolicy
from servo.types.amounts import Amounts, add
from servo.types.events import TaskStateChanged
from servo.types.plans import Plan
from servo.types.records import Failure, Run, Task
from servo.types.runs import RunState, TaskState

EXAMPLES = max(50, SEARCH.max_examples // 2)

Histories.TestCase.settings = settings(SEARCH, max_examples=EXAMPLES)
test_every_history_keeps_what_is_promised = Histories.TestCase


@settings(SEARCH, max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**32))
def test_every_long_history_keeps_what_is_promised(seed: int) -> None:
    Histories().wander(seed)


# -- each promise breaks when the machine is broken ---------------------------------------------


class Impatient(RunMachine):
    """Forgets that tasks wait for more than their first upstream task, and all gates."""

    def __init__(self, run: Run, tasks: Sequence[Task], plan: Plan) -> None:
        loose = [replace(one, upstream=one.upstream[:1], gates=()) for one in plan.tasks]
        super().__init__(run, tasks, replace(plan, tasks=tuple(loose), gates=()))


class Silent(RunMachine):
    """Does not say what a task has spent."""

    def spent(self, index: int, amounts: Amounts) -> list[Change]:
        super().spent(index, amounts)
        return []


class Sleepy(RunMachine):
    """Never finds that a retry is due."""

    def retry_due(self, index: int, now: datetime) -> list[Change]:
        return []


class Miscounting(RunMachine):
    """Counts an attempt that never started."""

    def lost(self, index: int, policy: ExecutionPolicy, now: datetime) -> list[Change]:
        changes = super().lost(index, policy, now)
        task = self.tasks[index]
        if task.state is TaskState.READY:
            changes[0] = replace(changes[0], attempt=task.attempt + 1)
            self.tasks[index] = replace(task, attempt=task.attempt + 1)
        return changes


class Generous(RunMachine):
    """Allows one more attempt than the policy."""

    def failed(
        self, index: int, failure: Failure, policy: ExecutionPolicy, now: datetime, **options: Any
    ) -> list[Change]:
        more = dataclasses.replace(policy, max_retries=policy.max_retries + 1)
        return super().failed(index, failure, more, now, **options)


class Vague(RunMachine):
    """Skips without saying what failed."""

    def failed(self, *arguments: Any, **options: Any) -> list[Change]:
        changes = super().failed(*arguments, **options)
        for number, change in enumerate(changes):
            if isinstance(change, TaskStateChanged) and change.state is TaskState.SKIPPED:
                changes[number] = replace(change, reason="something failed")
                task = self.tasks[change.index]
                self.tasks[change.index] = replace(task, reason="something failed")
        return changes


class Reluctant(RunMachine):
    """Stops a run without ending what waits."""

    def cancel(
        self, reason: str, now: datetime, *, ends_as: RunState = RunState.CANCELLED
    ) -> list[Change]:
        if self.is_over or self.run.state is RunState.CANCELLING:
            return []
        changes: list[Change] = []
        self._move_run(changes, now, RunState.CANCELLING, reason, ends_as)
        return changes


class Mislabelled(RunMachine):
    """Says that a run failed which somebody stopped."""

    def cancel(
        self, reason: str, now: datetime, *, ends_as: RunState = RunState.CANCELLED
    ) -> list[Change]:
        return super().cancel(reason, now, ends_as=RunState.FAILED)


class Stubborn(RunMachine):
    """Ends every run that is stopped in the same way."""

    def _settle(self, changes: list[Change], now: datetime) -> None:
        ends_as = self.run.ends_as
        self.run = replace(self.run, ends_as=None)
        super()._settle(changes, now)
        if not self.is_over:
            self.run = replace(self.run, ends_as=ends_as)


class Forgetful(RunMachine):
    """Comes up again without knowing which upstream tasks have succeeded."""

    def __init__(self, run: Run, tasks: Sequence[Task], plan: Plan) -> None:
        blank = [replace(task, state=TaskState.BLOCKED) for task in tasks]
        super().__init__(run, blank, plan)
        self.tasks = list(tasks)
        self.states.clear()
        self.states.update(task.state for task in tasks)


class Spendthrift(RunMachine):
    """Adds what a task has spent to what the run has spent, again each time."""

    def spent(self, index: int, amounts: Amounts) -> list[Change]:
        before = self.run.spent
        changes = super().spent(index, amounts)
        self.run = replace(self.run, spent=add(before, amounts))
        return changes


def broken(machine: type[RunMachine], *, fences_results: bool = True) -> str:
    """Return which promise a broken machine breaks first."""

    class Broken(Histories):
        machine_type = machine
        fences = fences_results

    with pytest.raises(Exception) as raised:  # whatever it is, the test looks at it
        for seed in range(100):
            Broken().wander(seed)
    return str(raised.value)


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (Impatient, "no task starts before everything upstream has succeeded"),
        (Silent, "the history folds to the state of the tasks"),
        (Sleepy, "every run ends"),
        (Miscounting, "attempts are numbered without gaps"),
        (Generous, "a task has as many attempts as allowed"),
        (Vague, "a skip names an upstream that failed"),
        (Reluctant, "a run that is stopped ends with its attempts"),
        (Mislabelled, "a run that failed has a task that failed"),
        (Stubborn, "a run that is stopped ends as was said"),
        (Forgetful, "every run ends"),
        (Spendthrift, "a run has spent what its tasks have"),
    ],
)
def test_a_machine_that_is_broken_is_found_by_its_histories(
    machine: type[RunMachine], said: str
) -> None:
    assert broken(machine) == said


def test_without_fencing_results_are_refused_by_the_transitions_or_end_a_task_twice() -> None:
    assert "cannot go from" in broken(RunMachine, fences_results=False)


def test_an_attempt_that_keeps_something_of_the_one_before_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apply = transitions.apply_to_task

    def keep(task: Task, change: TaskStateChanged, occurred_at: datetime) -> Task:
        after = apply(task, change, occurred_at)
        if change.state is TaskState.DISPATCHED:
            return replace(after, started_at=task.started_at)
        return after

    monkeypatch.setattr(transitions, "apply_to_task", keep)
    assert broken(RunMachine) == "an attempt begins with nothing of the one before"


def test_a_table_that_lets_an_end_be_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check of the machine is in that table: without it, the watch still sees."""
    table = {state: frozenset(TaskState) for state in TaskState}
    monkeypatch.setattr(transitions, "TASK_TRANSITIONS", table)
    assert broken(RunMachine, fences_results=False) == "a task that has ended stays as it is"
