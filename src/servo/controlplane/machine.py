"""One active run in memory: what may happen next, as events.

A `RunMachine` is told what happened (a worker took a task, an attempt ended, a lease ran out)
and answers with the changes that follow. Each change is applied through `transitions` as it is
made, so that the machine is at every moment the fold of the events it has handed out. It does no
I/O and has no clock: the caller passes the time.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from servo.controlplane import transitions
from servo.types.amounts import Amounts, add, subtract
from servo.types.assets import Backoff, ExecutionPolicy
from servo.types.checks import CheckResult, CheckSeverity
from servo.types.events import RunStateChanged, RunUpdated, TaskSpent, TaskStateChanged
from servo.types.labels import task_label
from servo.types.plans import Plan
from servo.types.records import Failure, Materialization, Run, Task
from servo.types.runs import FailureCategory, RunState, TaskState

Change = RunStateChanged | TaskStateChanged | RunUpdated | TaskSpent

_DONE = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED})
_ON_WORKER = frozenset({TaskState.DISPATCHED, TaskState.RUNNING})
_STOPPED_BY = {RunState.TIMED_OUT: "run_timeout", RunState.FAILED: "check"}
"""The reason of an attempt that ends because its run is being stopped, by how the run will end."""


def backoff(policy: ExecutionPolicy, attempt: int, jitter: float) -> timedelta:
    """Return how long to wait after a failed attempt.

    Args:
        policy: The asset's policy.
        attempt: The number of the attempt that failed, starting with 1.
        jitter: 0 to 1; which part of the policy's `jitter_percent` the delay is shortened by.
    """
    retry, seconds = policy.retry, policy.retry_delay_seconds
    if retry.backoff is Backoff.EXPONENTIAL:
        # Doubling stops long before the exponent grows large: the cap is 31 bits.
        seconds *= 2 ** min(attempt - 1, 31)
    shortened = min(seconds, retry.max_delay_seconds) * (1 - retry.jitter_percent / 100 * jitter)
    return timedelta(seconds=shortened)


def is_retried(failure: Failure, policy: ExecutionPolicy) -> bool:
    """Tell whether a failure is one after which another attempt is made, if there is one left."""
    if failure.retryable is not None:
        return failure.retryable
    # The two enums agree by value; a cancelled attempt is no cause of a retry.
    return failure.category.value in policy.retry.retry_on


class RunMachine:
    """The tasks of one run, and what follows from what happens to them.

    Attributes:
        run: The run as it is now, without tasks and with stale counts; see `snapshot`.
        tasks: The tasks by their position in the plan.
        plan: The plan.
    """

    def __init__(self, run: Run, tasks: Sequence[Task], plan: Plan) -> None:
        self.run = run
        self.tasks = list(tasks)
        self.plan = plan
        self.states = Counter(task.state for task in self.tasks)
        self._readers, self._readers_end = _readers(plan)
        self._gates_of: dict[int, list[int]] = {}
        self._behind_gate: list[list[int]] = [[] for _ in plan.gates]
        self._gate_waits = [0] * len(plan.gates)
        self._waits = [0] * len(self.tasks)
        self._link()

    def _link(self) -> None:
        done = [task.state is TaskState.SUCCEEDED for task in self.tasks]
        for number, gate in enumerate(self.plan.gates):
            for index in gate.tasks:
                self._gates_of.setdefault(index, []).append(number)
                self._gate_waits[number] += not done[index]
        for index, planned in enumerate(self.plan.tasks):
            for upstream in planned.upstream:
                self._waits[index] += not done[upstream]
            for number in planned.gates:
                self._behind_gate[number].append(index)
                self._waits[index] += self._gate_waits[number] > 0

    # -- what the caller asks -------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the run has reached a terminal state."""
        return self.run.state.is_terminal

    def indices(self, *states: TaskState) -> list[int]:
        """Return the positions of the tasks that are in one of the states."""
        return [index for index, task in enumerate(self.tasks) if task.state in states]

    def snapshot(self) -> Run:
        """Return the run with its counts as they are now."""
        return replace(self.run, counts=transitions.count_states(self.states))

    # -- what happens ---------------------------------------------------------------------

    def start(self, now: datetime) -> list[Change]:
        """Return what follows when the run was just accepted: its first tasks become ready."""
        changes: list[Change] = []
        for index, task in enumerate(self.tasks):
            if task.state is TaskState.BLOCKED and not self._waits[index]:
                self._move(changes, now, TaskStateChanged(index=index, state=TaskState.READY))
        self._settle(changes, now)
        return changes

    def dispatched(self, index: int, worker_id: str, now: datetime) -> list[Change]:
        """A ready task was given to a worker: its next attempt begins."""
        changes: list[Change] = []
        change = TaskStateChanged(
            index=index,
            state=TaskState.DISPATCHED,
            attempt=self.tasks[index].attempt + 1,
            worker_id=worker_id,
        )
        self._move(changes, now, change)
        return changes

    def started(self, index: int, now: datetime) -> list[Change]:
        """The worker began the attempt."""
        changes: list[Change] = []
        task = self.tasks[index]
        if task.state is not TaskState.DISPATCHED:
            return changes
        self._move(
            changes,
            now,
            TaskStateChanged(index=index, state=TaskState.RUNNING, attempt=task.attempt),
        )
        if self.run.state is RunState.PENDING:
            self._move_run(changes, now, RunState.RUNNING)
        return changes

    def succeeded(
        self,
        index: int,
        materialization: Materialization,
        checks: tuple[CheckResult, ...],
        now: datetime,
    ) -> list[Change]:
        """The attempt ended well and its data is published."""
        changes: list[Change] = []
        task = self.tasks[index]
        change = TaskStateChanged(
            index=index,
            state=TaskState.SUCCEEDED,
            attempt=task.attempt,
            materialization=materialization,
            checks=checks,
        )
        self._move(changes, now, change)
        self._release(changes, index, now)
        self._settle(changes, now)
        return changes

    def failed(
        self,
        index: int,
        failure: Failure,
        policy: ExecutionPolicy,
        now: datetime,
        *,
        delay: timedelta = timedelta(0),
        checks: tuple[CheckResult, ...] = (),
    ) -> list[Change]:
        """The attempt ended badly: it is retried after a delay, or failed for good."""
        changes: list[Change] = []
        task = self.tasks[index]
        cancelling = self.run.state is RunState.CANCELLING
        retry = task.attempt <= policy.max_retries and not cancelling
        retry = retry and is_retried(failure, policy)
        failure = replace(failure, max_attempts=policy.max_retries + 1)
        change = TaskStateChanged(
            index=index,
            state=TaskState.RETRY_WAIT if retry else TaskState.FAILED,
            attempt=task.attempt,
            reason=failure.message,
            failure=failure,
            retry_at=now + delay if retry else None,
            checks=checks,
        )
        self._move(changes, now, change)
        if retry:
            return changes
        self._skip_downstream(changes, index, now)
        if (critical := _critical_check(checks)) and not cancelling:
            reason = f"critical check {critical!r} of {self._label(index)} failed"
            changes += self.cancel(reason, now, ends_as=RunState.FAILED)
        self._settle(changes, now)
        return changes

    def lost(
        self, index: int, policy: ExecutionPolicy, now: datetime, *, reason: str = ""
    ) -> list[Change]:
        """The lease ran out: nobody knows what became of the attempt.

        An attempt that was not reported as started goes back as if it had never been given out.

        Args:
            index: The task.
            policy: What its asset says of retries.
            now: The instant.
            reason: Why it goes back, when its worker said so.
        """
        changes: list[Change] = []
        task = self.tasks[index]
        if self.run.state is RunState.CANCELLING:
            how = "its worker was lost"
            if reason:
                how = "its worker gave it back before it started"
            return self.cancelled(index, f"{self.run.reason} ({how})", now)
        if task.state is TaskState.RUNNING:
            failure = Failure(
                category=FailureCategory.INFRASTRUCTURE,
                message=f"worker {task.worker_id} was lost while it ran the attempt",
                reason="lease_lost",
            )
            return self.failed(index, failure, policy, now)
        change = TaskStateChanged(
            index=index,
            state=TaskState.READY,
            attempt=task.attempt - 1,
            reason=reason or f"worker {task.worker_id} was lost before it started",
        )
        self._move(changes, now, change)
        return changes

    def refused(self, index: int, failure: Failure, now: datetime) -> list[Change]:
        """A ready task can never be given out: it fails without another attempt."""
        changes: list[Change] = []
        change = TaskStateChanged(
            index=index,
            state=TaskState.FAILED,
            attempt=self.tasks[index].attempt,
            reason=failure.message,
            failure=failure,
        )
        self._move(changes, now, change)
        self._skip_downstream(changes, index, now)
        self._settle(changes, now)
        return changes

    def spent(self, index: int, amounts: Amounts) -> list[Change]:
        """The attempt spent something; the amounts are those of all attempts of the task."""
        task = self.tasks[index]
        if task.state not in _ON_WORKER or dict(task.spent) == dict(amounts):
            return []
        change = TaskSpent(index=index, attempt=task.attempt, spent=amounts)
        before = task.spent
        self.tasks[index] = transitions.spend_on_task(task, change)
        self.run = replace(self.run, spent=add(subtract(self.run.spent, before), amounts))
        return [change]

    def updated(self, paused: bool, priority: int, now: datetime) -> list[Change]:
        """Somebody held or resumed the run, or gave it another priority."""
        if self.is_over or (self.run.paused, self.run.priority) == (paused, priority):
            return []
        change = RunUpdated(paused=paused, priority=priority)
        self.run = transitions.apply_to_run(self.run, change, now)
        return [change]

    def cancelled(self, index: int, reason: str, now: datetime) -> list[Change]:
        """The attempt was ended because its run is being stopped."""
        changes: list[Change] = []
        cause = _STOPPED_BY.get(self.run.ends_as or RunState.CANCELLED, "user_cancel")
        change = TaskStateChanged(
            index=index,
            state=TaskState.CANCELLED,
            attempt=self.tasks[index].attempt,
            reason=reason,
            failure=Failure(category=FailureCategory.CANCELLED, message=reason, reason=cause),
        )
        self._move(changes, now, change)
        self._settle(changes, now)
        return changes

    def retry_due(self, index: int, now: datetime) -> list[Change]:
        """The delay before the next attempt is over."""
        changes: list[Change] = []
        if self.tasks[index].state is TaskState.RETRY_WAIT:
            change = TaskStateChanged(
                index=index, state=TaskState.READY, attempt=self.tasks[index].attempt
            )
            self._move(changes, now, change)
        return changes

    def cancel(
        self, reason: str, now: datetime, *, ends_as: RunState = RunState.CANCELLED
    ) -> list[Change]:
        """Stop the run: whatever no worker holds ends now, attempts are left to end.

        Args:
            reason: Why, for people.
            now: The time.
            ends_as: The state of the run when the last attempt has ended.
        """
        changes: list[Change] = []
        if self.is_over or self.run.state is RunState.CANCELLING:
            return changes
        self._move_run(changes, now, RunState.CANCELLING, reason, ends_as)
        for index, task in enumerate(self.tasks):
            if task.state not in _DONE and task.state not in _ON_WORKER:
                change = TaskStateChanged(
                    index=index, state=TaskState.CANCELLED, attempt=task.attempt, reason=reason
                )
                self._move(changes, now, change)
        self._settle(changes, now)
        return changes

    # -- what follows ---------------------------------------------------------------------

    def _move(self, changes: list[Change], now: datetime, change: TaskStateChanged) -> None:
        before = self.tasks[change.index]
        after = transitions.apply_to_task(before, change, now)
        self.tasks[change.index] = after
        self.states[before.state] -= 1
        self.states[after.state] += 1
        changes.append(change)

    def _move_run(
        self,
        changes: list[Change],
        now: datetime,
        state: RunState,
        reason: str = "",
        ends_as: RunState | None = None,
    ) -> None:
        change = RunStateChanged(state=state, reason=reason, ends_as=ends_as)
        self.run = transitions.apply_to_run(self.run, change, now)
        changes.append(change)

    def _release(self, changes: list[Change], index: int, now: datetime) -> None:
        waiting: Sequence[int] = self._downstream(index)
        for number in self._gates_of.get(index, ()):
            self._gate_waits[number] -= 1
            if not self._gate_waits[number]:
                waiting = [*waiting, *self._behind_gate[number]]
        for downstream in waiting:
            self._waits[downstream] -= 1
            task = self.tasks[downstream]
            if not self._waits[downstream] and task.state is TaskState.BLOCKED:
                self._move(changes, now, TaskStateChanged(index=downstream, state=TaskState.READY))

    def _downstream(self, index: int) -> Sequence[int]:
        start = self._readers_end[index - 1] if index else 0
        return self._readers[start : self._readers_end[index]]

    def _next(self, index: int) -> Iterable[int]:
        yield from self._downstream(index)
        for number in self._gates_of.get(index, ()):
            yield from self._behind_gate[number]

    def _skip_downstream(self, changes: list[Change], index: int, now: datetime) -> None:
        reason = f"upstream {self._label(index)} failed"
        todo = deque([index])
        while todo:
            for downstream in self._next(todo.popleft()):
                if self.tasks[downstream].state is TaskState.BLOCKED:
                    change = TaskStateChanged(
                        index=downstream, state=TaskState.SKIPPED, reason=reason
                    )
                    self._move(changes, now, change)
                    todo.append(downstream)

    def _label(self, index: int) -> str:
        return task_label(self.tasks[index])

    def _settle(self, changes: list[Change], now: datetime) -> None:
        if self.is_over or sum(self.states[state] for state in _DONE) < len(self.tasks):
            return
        failed = self.states[TaskState.FAILED]
        if self.run.state is RunState.CANCELLING:
            # Runs that were being stopped before the history said how they end were cancelled.
            state, reason = self.run.ends_as or RunState.CANCELLED, self.run.reason
        elif failed:
            state, reason = RunState.FAILED, f"{failed} of {len(self.tasks)} tasks failed"
        else:
            state, reason = RunState.SUCCEEDED, ""
        self._move_run(changes, now, state, reason)


def _readers(plan: Plan) -> tuple[Sequence[int], Sequence[int]]:
    """Return which tasks read which: all of them in one row, and where those of each task end.

    One list for each task would take more memory than what is in it.
    """
    ends = array("q", [0]) * len(plan.tasks)
    for planned in plan.tasks:
        for upstream in planned.upstream:
            ends[upstream] += 1
    for index in range(1, len(ends)):
        ends[index] += ends[index - 1]
    readers = array("q", [0]) * (ends[-1] if ends else 0)
    places = array("q", [0]) + ends[:-1]
    for index, planned in enumerate(plan.tasks):
        for upstream in planned.upstream:
            readers[places[upstream]] = index
            places[upstream] += 1
    return readers, ends


def _critical_check(checks: Iterable[CheckResult]) -> str:
    """Return the name of the first failed critical check, or nothing."""
    for check in checks:
        if not check.passed and check.severity is CheckSeverity.CRITICAL:
            return check.check_name
    return ""
