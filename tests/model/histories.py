"""Random histories of one run: whatever happens to its attempts, it keeps what is promised.

`RunMachine` is driven as the control plane does it: every attempt that is given out has a token,
and what a worker says counts only while the token is the one that is out. Messages arrive in any
order, twice or never; workers are lost; somebody stops, holds or resumes the run; the control plane
is started again from what is recorded. After every step the history is folded and compared with the
machine, and `model.promises` looks at each event.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from msgspec.structs import replace

from model.dags import KEY, RUN_ID, Dag, dags, new_run, some_dag
from model.folding import Fold, numbers, recorded, total, without_spent
from model.promises import ON_WORKER, Watch, promise
from servo.controlplane import transitions
from servo.controlplane.machine import Change, RunMachine
from servo.types import CheckPhase, CheckResult, CheckSeverity, CheckType, ExecutionPolicy
from servo.types.amounts import add
from servo.types.events import Event, RunCreated
from servo.types.partition_keys import PartitionKey
from servo.types.records import Failure, Materialization, Progress
from servo.types.runs import FailureCategory, RunState, TaskState

START = datetime(2025, 1, 1, tzinfo=UTC)
DELAY = timedelta(seconds=30)
MADE = Materialization(materialization_id="m", asset_key=KEY, partition_key=PartitionKey())

Outcome = Materialization | Failure | None
"""How an attempt ends; ``None`` is for one that was cancelled."""

failures = st.builds(
    Failure,
    category=st.sampled_from(FailureCategory),
    message=st.just("broken"),
    retryable=st.sampled_from([None, None, True, False]),
)
SOME_CATEGORIES = FailureCategory.USER_CODE, FailureCategory.TIMEOUT, FailureCategory.DATA_QUALITY
SOME_FAILURES = [Failure(category=one, message="broken") for one in SOME_CATEGORIES]
severities = st.sampled_from(CheckSeverity)
picks = st.integers(0, 2**16)
several = st.integers(1, 60)
sometimes = st.integers(0, 3)
"""What would end most histories early happens when this is 0."""


def checked(severity: CheckSeverity) -> CheckResult:
    return CheckResult(
        "rows",
        check_type=CheckType.ROW_COUNT,
        phase=CheckPhase.POST,
        severity=severity,
        passed=False,
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a worker does under one lease."""

    index: int
    token: int
    spent: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """What a worker says of an attempt."""

    attempt: Attempt
    has_ended: bool
    outcome: Outcome = None
    checks: tuple[CheckResult, ...] = ()


class Histories(RuleBasedStateMachine):
    """The control plane and its workers, around one machine."""

    machine_type: ClassVar[type[RunMachine]] = RunMachine
    fences: ClassVar[bool] = True

    machine: RunMachine

    @initialize(dag=dags(), max_retries=st.sampled_from([2, 1, 0, 3]))
    def create(self, dag: Dag, max_retries: int) -> None:
        self.plan = dag.plan()
        run, tasks = new_run(self.plan)
        self.policy = ExecutionPolicy(max_retries=max_retries)
        self.machine = self.machine_type(run, tasks, self.plan)
        self.now = START
        self.history: list[Event] = []
        self.fold = Fold(lambda _: tasks)
        self.watch = Watch(RUN_ID, self.plan, [max_retries] * len(tasks))
        self.out: dict[int, Attempt] = {}
        self.working: list[Attempt] = []
        self.on_its_way: list[Message] = []
        self._record([RunCreated(run=self.machine.snapshot())])
        self._record(self.machine.start(self.now))

    # -- giving out work, and what workers do ----------------------------------------------

    @precondition(lambda self: self.machine.states[TaskState.READY] > 0)
    @rule(count=several, first=picks)
    def give_out(self, count: int, first: int) -> None:
        """Ready tasks are given out, the run held or not: whoever schedules decides that."""
        ready = self.machine.indices(TaskState.READY)
        for index in _some(ready, first, count):
            self._give(index)

    @precondition(lambda self: self.working)
    @rule(count=several, first=picks)
    def workers_start(self, count: int, first: int) -> None:
        for attempt in _some(self.working, first, count):
            self.on_its_way.append(Message(attempt, has_ended=False))

    @precondition(lambda self: self.working)
    @rule(
        first=picks,
        outcomes=st.lists(st.just(MADE) | failures | st.none(), min_size=1, max_size=12),
        checks=st.lists(severities, max_size=2),
    )
    def workers_end(self, first: int, outcomes: list[Outcome], checks: list[CheckSeverity]) -> None:
        """A worker publishes nothing when a check failed that blocks."""
        attempts = _some(self.working, first, len(outcomes))
        for attempt, outcome in zip(attempts, outcomes, strict=False):
            is_made = isinstance(outcome, Materialization)
            found = tuple(checked(one) for one in checks if not (is_made and one.blocks))
            self._end(attempt, outcome, found)

    @precondition(lambda self: self.working)
    @rule(count=several, first=picks)
    def workers_die(self, count: int, first: int) -> None:
        for attempt in _some(self.working, first, count):
            self.working.remove(attempt)

    @precondition(lambda self: self.out)
    @rule(first=picks, message=st.sampled_from(["reading", "writing"]))
    def an_attempt_makes_progress(self, first: int, message: str) -> None:
        for index in _some(self.machine.indices(*ON_WORKER), first, 1):
            progress = Progress(message=message)
            self.machine.tasks[index] = replace(self.machine.tasks[index], progress=progress)

    @precondition(lambda self: self.out)
    @rule(first=picks, cents=st.integers(0, 300))
    def an_attempt_spends(self, first: int, cents: int) -> None:
        for index in _some(self.machine.indices(*ON_WORKER), first, 1):
            amount = {"usd": f"{cents // 100}.{cents % 100:02}"}
            spent = add(self.machine.tasks[index].spent, amount)
            self._record(self.machine.spent(index, spent))

    @rule(
        seed=picks,
        rounds=st.integers(1, 6),
        count=st.integers(1, 200),
        badly=st.sampled_from([0.0, 0.05, 0.3]),
    )
    def work_goes_on_for_a_while(self, seed: int, rounds: int, count: int, badly: float) -> None:
        choice = random.Random(seed)
        for _ in range(rounds):
            for index in self.machine.indices(TaskState.READY)[:count]:
                self._give(index)
            for attempt in self.working[:count]:
                outcome: Outcome = choice.choice(SOME_FAILURES) if choice.random() < badly else MADE
                self._end(attempt, outcome, ())
                self._receive(self.on_its_way.pop())

    # -- messages: in any order, twice, late ----------------------------------------------

    @precondition(lambda self: self.on_its_way)
    @rule(count=several, first=picks, is_repeated=st.booleans())
    def messages_arrive(self, count: int, first: int, is_repeated: bool) -> None:
        for message in _some(self.on_its_way, first, count):
            self._receive(message)
            if not is_repeated:
                self.on_its_way.remove(message)

    @precondition(lambda self: self.out)
    @rule(count=several, first=picks)
    def leases_run_out(self, count: int, first: int) -> None:
        for index in _some(sorted(self.out), first, count):
            self._lose(index)

    @precondition(lambda self: self.fences)
    @rule(first=picks)
    def a_result_that_nobody_fenced_is_refused_and_changes_nothing(self, first: int) -> None:
        others = self.machine.indices(*(set(TaskState) - ON_WORKER))
        for index in _some(others, first, 1):
            before = self.machine.snapshot(), list(self.machine.tasks)
            with pytest.raises(transitions.InvalidTransitionError):
                self.machine.succeeded(index, MADE, (), self.now)
            assert (self.machine.snapshot(), list(self.machine.tasks)) == before

    # -- time, and people ------------------------------------------------------------------

    @rule(seconds=st.integers(0, 60))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self._retry_what_is_due()

    @rule(first=picks)
    def a_retry_is_looked_at_again(self, first: int) -> None:
        others = [
            i for i, t in enumerate(self.machine.tasks) if t.state is not TaskState.RETRY_WAIT
        ]
        for index in _some(others, first, 1):
            assert self.machine.retry_due(index, self.now) == []

    @precondition(lambda self: len(self.history) > 20)
    @rule(ends_as=st.sampled_from([RunState.CANCELLED, RunState.TIMED_OUT]), at=sometimes)
    def the_run_is_stopped(self, ends_as: RunState, at: int) -> None:
        if at:
            return
        was_active = not self.machine.is_over and self.machine.run.state is not RunState.CANCELLING
        self._record(self.machine.cancel("enough", self.now, ends_as=ends_as))
        if was_active:
            ended = RunState.CANCELLING if self.out else ends_as
            promise(self.machine.run.state is ended, "a run that is stopped ends with its attempts")
            promise(
                not self.out or self.machine.run.ends_as is ends_as,
                "a run that is being stopped says how it will end",
            )
        assert self.machine.cancel("again", self.now) == []

    @rule(paused=st.booleans(), priority=st.integers(-2, 2))
    def the_run_is_changed(self, paused: bool, priority: int) -> None:
        self._record(self.machine.updated(paused, priority, self.now))
        assert (
            self.machine.updated(self.machine.run.paused, self.machine.run.priority, self.now) == []
        )

    @precondition(lambda self: len(self.history) > 10)
    @rule(first=picks, at=sometimes)
    def a_task_can_never_be_given_out(self, first: int, at: int) -> None:
        if at:
            return
        for index in _some(self.machine.indices(TaskState.READY), first, 1):
            failure = Failure(category=FailureCategory.CONFIGURATION, message="no such worker")
            self._record(self.machine.refused(index, failure, self.now))

    @rule()
    def the_control_plane_starts_again(self) -> None:
        """What is recorded is all that it has; leases are recorded with the tasks."""
        run, tasks = self.fold.runs[RUN_ID], list(self.fold.tasks[RUN_ID])
        self.machine = self.machine_type(run, tasks, self.plan)

    # -- what holds ------------------------------------------------------------------------

    @invariant()
    def the_history_folds_to_the_state(self) -> None:
        machine = self.machine
        tasks = list(map(recorded, machine.tasks))
        promise(tasks == self.fold.tasks[RUN_ID], "the history folds to the state of the tasks")
        run = replace(machine.snapshot(), last_sequence=self.fold.sequence)
        promise(
            without_spent(run) == without_spent(self.fold.run(RUN_ID)),
            "the history folds to the state of the run",
        )
        promise(numbers(run) == total(tasks), "a run has spent what its tasks have")
        promise(
            {index for index, task in enumerate(tasks) if task.state in ON_WORKER} == set(self.out),
            "what is on a worker is out under a lease",
        )
        self.watch.check(self.fold)

    def teardown(self) -> None:
        """Every attempt ends and every delay passes: so the run ends, and reads the same again."""
        if not hasattr(self, "machine") or sys.exc_info()[0] is not None:
            # A promise is broken already, or the search has given up on this one.
            return
        self._record(self.machine.updated(False, 0, self.now))
        if len(self.history) % 2:
            self.the_control_plane_starts_again()
        choice = random.Random(len(self.history))
        # A round lets every attempt that is out end; a chain of all tasks, each tried as often as
        # it may be, needs as many rounds as it has attempts.
        for _ in range((len(self.plan.tasks) + 1) * (self.policy.max_retries + 2)):
            if self.machine.is_over:
                break
            for index in list(self.out):
                self._end_somehow(index, choice)
            self.now += 2 * DELAY
            self._retry_what_is_due()
            for index in self.machine.indices(TaskState.READY):
                self._give(index)
        promise(self.machine.is_over, "every run ends")
        length = len(self.history)
        if self.fences:
            for message in [*self.on_its_way, *self.on_its_way]:
                self._receive(message)
        promise(len(self.history) == length, "what comes too late changes nothing")
        self.the_history_folds_to_the_state()
        again = Fold(lambda _: self.fold.tasks[RUN_ID])
        for event in [*self.history, *self.history]:
            again.apply(event)
        assert not any(map(self.fold.apply, self.history))
        assert again.run(RUN_ID) == self.fold.run(RUN_ID)
        assert again.tasks == self.fold.tasks

    def wander(self, seed: int, steps: int = 120) -> None:
        """Live one long history that a seed decides, from its beginning to its end."""
        choice = random.Random(seed)
        self.create(some_dag(choice), choice.randrange(4))
        for _ in range(steps):
            self._step(choice, choice.randrange(2**16), choice.choice([1, 2, 5, 60]))
            self.the_history_folds_to_the_state()
        self.teardown()

    def _step(self, choice: random.Random, first: int, count: int) -> None:
        """Do one thing; what a history is made of is more likely than what ends it."""
        failure = replace(choice.choice(SOME_FAILURES), retryable=choice.choice([None, True]))
        outcomes: list[Outcome] = choice.choices([MADE, failure, None], [8, 2, 1], k=count)
        severities = choice.choices(list(CheckSeverity), [9, 9, 9, 1], k=choice.randrange(2))
        likely: list[Callable[[], None]] = [
            lambda: self.give_out(count, first),
            lambda: self.workers_start(count, first),
            lambda: self.workers_end(first, outcomes, severities),
            lambda: self.messages_arrive(count, first, choice.random() < 0.3),
            lambda: self.time_passes(40),
        ]
        less_likely: list[Callable[[], None]] = [
            lambda: self.workers_die(min(count, 5), first),
            lambda: self.leases_run_out(min(count, 5), first),
            lambda: self.an_attempt_makes_progress(first, "reading"),
            lambda: self.an_attempt_spends(first, first % 300),
            lambda: self.the_run_is_changed(choice.random() < 0.5, count),
            self.the_control_plane_starts_again,
            lambda: self.a_retry_is_looked_at_again(first),
        ]
        if self.fences:
            less_likely.append(
                lambda: self.a_result_that_nobody_fenced_is_refused_and_changes_nothing(first)
            )
        ends_as = choice.choice([RunState.CANCELLED, RunState.TIMED_OUT])
        rare: list[Callable[[], None]] = [
            lambda: self.the_run_is_stopped(ends_as, 0),
            lambda: self.a_task_can_never_be_given_out(first, 0),
        ]
        choice.choice(choice.choices([likely, less_likely, rare], [200, 100, 1])[0])()

    # -- the control plane's part ----------------------------------------------------------

    def _record(self, payloads: Sequence[Change | RunCreated]) -> None:
        for payload in payloads:
            event = Event(
                sequence=len(self.history) + 1,
                occurred_at=self.now,
                run_id=RUN_ID,
                payload=payload,
            )
            self.history.append(event)
            self.fold.apply(event)
            self.watch.see(event, self.fold)

    def _give(self, index: int) -> None:
        if self.machine.tasks[index].state is not TaskState.READY:
            return
        self._record(self.machine.dispatched(index, "worker", self.now))
        attempt = Attempt(index, token=len(self.history))
        self.out[index] = attempt
        self.working.append(attempt)

    def _end(self, attempt: Attempt, outcome: Outcome, checks: tuple[CheckResult, ...]) -> None:
        self.working.remove(attempt)
        self.on_its_way.append(Message(attempt, True, outcome, checks))

    def _receive(self, message: Message) -> None:
        attempt = message.attempt
        if self.fences and self.out.get(attempt.index) != attempt:
            return
        if not message.has_ended:
            self._record(self.machine.started(attempt.index, self.now))
            return
        self.out.pop(attempt.index, None)
        self._finish(attempt.index, message.outcome, message.checks)

    def _finish(self, index: int, outcome: Outcome, checks: tuple[CheckResult, ...]) -> None:
        machine, now = self.machine, self.now
        if outcome is None:
            if machine.run.state is RunState.CANCELLING:
                self._record(machine.cancelled(index, "asked to", now))
            else:
                self._record(machine.lost(index, self.policy, now))
            return
        self._record(machine.started(index, now))
        if isinstance(outcome, Materialization):
            self._record(machine.succeeded(index, outcome, checks, now))
        else:
            self._record(
                machine.failed(index, outcome, self.policy, now, delay=DELAY, checks=checks)
            )

    def _lose(self, index: int) -> None:
        del self.out[index]
        self._record(self.machine.lost(index, self.policy, self.now))

    def _end_somehow(self, index: int, choice: random.Random) -> None:
        what = choice.randrange(8)
        if what == 0:
            self._lose(index)
            return
        del self.out[index]
        failure = Failure(category=choice.choice(list(FailureCategory)), message="broken")
        self._finish(index, failure if what == 1 else MADE, ())

    def _retry_what_is_due(self) -> None:
        for index, task in enumerate(self.machine.tasks):
            if task.retry_at is not None and task.retry_at <= self.now:
                self._record(self.machine.retry_due(index, self.now))


def _some(found: Sequence[Any], first: int, count: int) -> list[Any]:
    """Return so many of what was found, from one that was picked on."""
    if not found:
        return []
    at = first % len(found)
    return [*found[at:], *found[:at]][:count]
