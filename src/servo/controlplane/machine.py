"""One active run in memory: what may happen next, as events.

A `RunMachine` is told what happened (a worker took a task, an attempt ended, a lease ran out)
and answers with the changes that follow. Each change is applied through `transitions` as it is
made, so that the machine is at every moment the fold of the events it has handed out. It does no
I/O and has no clock: the caller passes the time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from servo.controlplane import transitions
from servo.types.assets import ExecutionPolicy
from servo.types.checks import CheckResult, CheckSeverity
from servo.types.events import RunStateChanged, TaskStateChanged
from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey
from servo.types.plans import Plan
from servo.types.records import Failure, Materialization, Run, Task
from servo.types.runs import FailureCategory, RunState, TaskState

MAX_BACKOFF = timedelta(minutes=15)

Change = RunStateChanged | TaskStateChanged

_DONE = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED})
_ON_WORKER = frozenset({TaskState.DISPATCHED, TaskState.RUNNING})


def backoff(policy: ExecutionPolicy, attempt: int, jitter: float) -> timedelta:
    """Return how long to wait after a failed attempt.

    Args:
        policy: The asset's policy.
        attempt: The number of the attempt that failed, starting with 1.
        jitter: 0 to 1; shortens the delay by up to a fifth, so that tasks that failed together
            do not return together.
    """
    # Doubling stops long before the exponent grows large: 2**20 seconds exceed the cap.
    factor: int = 2 ** min(attempt - 1, 20)
    delay = timedelta(seconds=policy.retry_delay_seconds) * factor
    return min(delay, MAX_BACKOFF) * (1 - 0.2 * jitter)


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
        self._downstream: list[list[int]] = [[] for _ in self.tasks]
        self._gates_of: list[list[int]] = [[] for _ in self.tasks]
        self._behind_gate: list[list[int]] = [[] for _ in plan.gates]
        self._gate_waits = [0] * len(plan.gates)
        self._waits = [0] * len(self.tasks)
        self._link()

    def _link(self) -> None:
        done = [task.state is TaskState.SUCCEEDED for task in self.tasks]
        for number, gate in enumerate(self.plan.gates):
            for index in gate.tasks:
                self._gates_of[index].append(number)
                self._gate_waits[number] += not done[index]
        for index, planned in enumerate(self.plan.tasks):
            for upstream in planned.upstream:
                self._downstream[upstream].append(index)
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
        retry = failure.is_retryable and task.attempt <= policy.max_retries and not cancelling
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
            changes += self.cancel(reason, now)
        self._settle(changes, now)
        return changes

    def lost(self, index: int, policy: ExecutionPolicy, now: datetime) -> list[Change]:
        """The lease ran out: nobody knows what became of the attempt.

        An attempt that was not reported as started goes back as if it had never been given out.
        """
        changes: list[Change] = []
        task = self.tasks[index]
        if self.run.state is RunState.CANCELLING:
            return self.cancelled(index, f"{self.run.reason} (its worker was lost)", now)
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
            reason=f"worker {task.worker_id} was lost before it started",
        )
        self._move(changes, now, change)
        return changes

    def cancelled(self, index: int, reason: str, now: datetime) -> list[Change]:
        """The attempt was ended on request."""
        changes: list[Change] = []
        change = TaskStateChanged(
            index=index,
            state=TaskState.CANCELLED,
            attempt=self.tasks[index].attempt,
            reason=reason,
            failure=Failure(
                category=FailureCategory.CANCELLED, message=reason, reason="user_cancel"
            ),
        )
        self._move(changes, now, change)
        self._cancel_downstream(changes, index, now)
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

    def cancel(self, reason: str, now: datetime) -> list[Change]:
        """Stop the run: whatever no worker holds ends now, attempts are left to end."""
        changes: list[Change] = []
        if self.is_over or self.run.state is RunState.CANCELLING:
            return changes
        self._move_run(changes, now, RunState.CANCELLING, reason)
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
        self, changes: list[Change], now: datetime, state: RunState, reason: str = ""
    ) -> None:
        change = RunStateChanged(state=state, reason=reason)
        self.run = transitions.apply_to_run(self.run, change, now)
        changes.append(change)

    def _release(self, changes: list[Change], index: int, now: datetime) -> None:
        waiting = self._downstream[index]
        for number in self._gates_of[index]:
            self._gate_waits[number] -= 1
            if not self._gate_waits[number]:
                waiting = [*waiting, *self._behind_gate[number]]
        for downstream in waiting:
            self._waits[downstream] -= 1
            task = self.tasks[downstream]
            if not self._waits[downstream] and task.state is TaskState.BLOCKED:
                self._move(changes, now, TaskStateChanged(index=downstream, state=TaskState.READY))

    def _next(self, index: int) -> Iterable[int]:
        yield from self._downstream[index]
        for number in self._gates_of[index]:
            yield from self._behind_gate[number]

    def _end_downstream(
        self, changes: list[Change], index: int, now: datetime, state: TaskState, verb: str
    ) -> None:
        cause = self._label(index)
        todo = deque([index])
        while todo:
            for downstream in self._next(todo.popleft()):
                if self.tasks[downstream].state is TaskState.BLOCKED:
                    change = TaskStateChanged(
                        index=downstream, state=state, reason=f"upstream {cause} {verb}"
                    )
                    self._move(changes, now, change)
                    todo.append(downstream)

    def _skip_downstream(self, changes: list[Change], index: int, now: datetime) -> None:
        self._end_downstream(changes, index, now, TaskState.SKIPPED, "failed")

    def _cancel_downstream(self, changes: list[Change], index: int, now: datetime) -> None:
        self._end_downstream(changes, index, now, TaskState.CANCELLED, "was cancelled")

    def _label(self, index: int) -> str:
        return task_label(self.tasks[index])

    def _settle(self, changes: list[Change], now: datetime) -> None:
        if self.is_over or sum(self.states[state] for state in _DONE) < len(self.tasks):
            return
        failed = self.states[TaskState.FAILED]
        if self.run.state is RunState.CANCELLING:
            # A run that a critical check stopped has failed; one that somebody stopped has not.
            stopped = any(_critical_check(task.checks) for task in self.tasks)
            state = RunState.FAILED if stopped else RunState.CANCELLED
            reason = self.run.reason
        elif failed:
            state, reason = RunState.FAILED, f"{failed} of {len(self.tasks)} tasks failed"
        elif self.states[TaskState.CANCELLED]:
            state, reason = RunState.CANCELLED, "tasks were cancelled"
        else:
            state, reason = RunState.SUCCEEDED, ""
        self._move_run(changes, now, state, reason)


def _critical_check(checks: Iterable[CheckResult]) -> str:
    """Return the name of the first failed critical check, or nothing."""
    for check in checks:
        if not check.passed and check.severity is CheckSeverity.CRITICAL:
            return check.check_name
    return ""


def label(key: AssetKey, partition_key: PartitionKey) -> str:
    """Return how people name a partition: ``ns.name`` or ``ns.name[dimension=value,...]``."""
    if not partition_key.dimensions:
        return str(key)
    return f"{key}[{partition_key.to_path().replace('/', ',')}]"


def task_label(task: Task) -> str:
    """Return how people name a task: ``ns.name`` or ``ns.name[dimension=value,...]``."""
    return label(task.asset_key, task.partition_key)
