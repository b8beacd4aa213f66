"""Every state that a run of a few tasks can be in, and what leads from each to the next.

What happens to a task or a run is a call of a method of `RunMachine`; the walk tries every one that
makes sense in every state that it reaches, each time with a machine that is made anew from what
would be recorded. It comes to an end because attempts are limited.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from msgspec.structs import replace

from model.dags import KEY, Dag, new_run
from servo.controlplane.machine import Change, RunMachine
from servo.types import CheckPhase, CheckResult, CheckSeverity, CheckType, ExecutionPolicy
from servo.types.events import RunStateChanged, TaskStateChanged
from servo.types.partition_keys import PartitionKey
from servo.types.plans import Plan
from servo.types.records import Failure, Materialization, Task
from servo.types.runs import FailureCategory, RunState, TaskState

NOW = datetime(2025, 1, 1, tzinfo=UTC)
MADE = Materialization(materialization_id="m", asset_key=KEY, partition_key=PartitionKey())
ONE_RETRY = ExecutionPolicy(max_retries=1)
BROKEN = Failure(category=FailureCategory.USER_CODE, message="broken")
HOPELESS = Failure(category=FailureCategory.CONFIGURATION, message="set up wrongly")
CRITICAL = CheckResult(
    "rows",
    check_type=CheckType.ROW_COUNT,
    phase=CheckPhase.POST,
    severity=CheckSeverity.CRITICAL,
    passed=False,
)


@dataclass(frozen=True, slots=True)
class State:
    """What tells one state of a run from another: no times, no texts.

    Attributes:
        run: The state of the run.
        ends_as: How it will end, while it is being stopped.
        tasks: State and attempt of each task.
    """

    run: RunState
    ends_as: RunState | None
    tasks: tuple[tuple[TaskState, int], ...]

    @classmethod
    def of(cls, machine: RunMachine) -> State:
        """Return the state that a machine is in."""
        tasks = tuple((task.state, task.attempt) for task in machine.tasks)
        return cls(machine.run.state, machine.run.ends_as, tasks)

    def machine(self, plan: Plan) -> RunMachine:
        """Return a machine that comes up in this state."""
        run, tasks = new_run(plan)
        there = [
            replace(task, state=state, attempt=attempt)
            for task, (state, attempt) in zip(tasks, self.tasks, strict=True)
        ]
        return RunMachine(replace(run, state=self.run, ends_as=self.ends_as), there, plan)


Step = tuple[str, Callable[[RunMachine], list[Change]]]


@dataclass(slots=True)
class Walk:
    """What a walk has seen.

    Attributes:
        states: How many states of a run there are.
        steps: How many steps lead from one to another.
        tasks: The changes of tasks that were seen, each with the names of what causes it.
        runs: The same of runs.
        stuck: States in which a run does not end although every attempt succeeds from there on.
    """

    states: int = 0
    steps: int = 0
    tasks: dict[tuple[TaskState, TaskState], set[str]] = field(default_factory=dict)
    runs: dict[tuple[RunState, RunState], set[str]] = field(default_factory=dict)
    stuck: list[State] = field(default_factory=list)


def walk(dag: Dag) -> Walk:
    """Visit every state of a run of a graph, one retry for each task."""
    plan = dag.plan()
    first = State.of(RunMachine(*new_run(plan), plan))
    seen = {first}
    waiting = deque([first])
    found = Walk()
    while waiting:
        state = waiting.popleft()
        for name, act in steps(state.machine(plan)):
            machine = state.machine(plan)
            _note(found, name, state, act(machine))
            after = State.of(machine)
            found.steps += 1
            if after not in seen:
                seen.add(after)
                waiting.append(after)
        if not _ends(state.machine(plan)):
            found.stuck.append(state)
    found.states = len(seen)
    return found


def _ends(machine: RunMachine) -> bool:
    """Let everything succeed, and tell whether the run has ended then."""
    if all(task.state is TaskState.BLOCKED for task in machine.tasks):
        machine.start(NOW)
    for _ in range(3 * len(machine.tasks)):
        for index in range(len(machine.tasks)):
            machine.retry_due(index, NOW)
            if machine.tasks[index].state is TaskState.READY:
                machine.dispatched(index, "worker", NOW)
            if machine.tasks[index].state in (TaskState.DISPATCHED, TaskState.RUNNING):
                machine.started(index, NOW)
                machine.succeeded(index, MADE, (), NOW)
    return machine.is_over


def steps(machine: RunMachine) -> Iterator[Step]:
    """Yield what may happen next, with the name of what causes it."""
    if all(task.state is TaskState.BLOCKED for task in machine.tasks):
        yield "start", lambda m: m.start(NOW)
        return
    if not machine.is_over:
        yield "cancel", lambda m: m.cancel("enough", NOW)
        yield "time out", lambda m: m.cancel("too long", NOW, ends_as=RunState.TIMED_OUT)
    for index, task in enumerate(machine.tasks):
        yield from _of_task(index, task, machine.run.state is RunState.CANCELLING)


def _of_task(index: int, task: Task, is_cancelling: bool) -> Iterator[Step]:
    match task.state:
        case TaskState.READY:
            yield "give out", lambda m: m.dispatched(index, "worker", NOW)
            yield "refuse", lambda m: m.refused(index, HOPELESS, NOW)
        case TaskState.RETRY_WAIT:
            yield "retry", lambda m: m.retry_due(index, NOW)
        case TaskState.DISPATCHED | TaskState.RUNNING:
            yield "start attempt", lambda m: m.started(index, NOW)
            yield "succeed", lambda m: m.succeeded(index, MADE, (), NOW)
            yield "fail", lambda m: m.failed(index, BROKEN, ONE_RETRY, NOW)
            yield (
                "fail a check",
                lambda m: m.failed(index, HOPELESS, ONE_RETRY, NOW, checks=(CRITICAL,)),
            )
            yield "lose", lambda m: m.lost(index, ONE_RETRY, NOW)
            if is_cancelling:
                yield "end on request", lambda m: m.cancelled(index, "asked to", NOW)


def _note(found: Walk, name: str, state: State, changes: Sequence[Change]) -> None:
    run = state.run
    tasks = [task for task, _ in state.tasks]
    for change in changes:
        if isinstance(change, TaskStateChanged):
            found.tasks.setdefault((tasks[change.index], change.state), set()).add(name)
            tasks[change.index] = change.state
        elif isinstance(change, RunStateChanged):
            found.runs.setdefault((run, change.state), set()).add(name)
            run = change.state
