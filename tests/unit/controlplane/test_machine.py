"""The state machine of a run: every history ends, and nothing starts before it may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from servo.controlplane.machine import Change, RunMachine
from servo.types import (
    AssetKey,
    CheckPhase,
    CheckResult,
    CheckSeverity,
    CheckType,
    ExecutionPolicy,
    FailureCategory,
    PartitionKey,
    RunState,
    TaskState,
)
from servo.types.plans import Plan, PlanGate, PlannedTask
from servo.types.records import Failure, Materialization, Run, Task

NOW = datetime(2025, 1, 1, tzinfo=UTC)
KEY = AssetKey("raw", "events")
POLICY = ExecutionPolicy(max_retries=1, retry_delay_seconds=1)


def make(*upstream: tuple[int, ...], gates: tuple[tuple[int, ...], ...] = ()) -> RunMachine:
    """Build a machine whose tasks wait for those given; the last task also waits for the gates."""
    planned = [
        PlannedTask(
            asset=0,
            partition_key=PartitionKey({"n": number}),
            upstream=waits,
            gates=tuple(range(len(gates))) if number == len(upstream) - 1 else (),
        )
        for number, waits in enumerate(upstream)
    ]
    plan = Plan(
        assets=(KEY,),
        tasks=tuple(planned),
        gates=tuple(PlanGate(tasks=tasks) for tasks in gates),
    )
    tasks = [
        Task(
            task_id=f"task{index}",
            index=index,
            asset_key=KEY,
            partition_key=one.partition_key,
            state=TaskState.BLOCKED,
        )
        for index, one in enumerate(planned)
    ]
    return RunMachine(Run(run_id="run", state=RunState.PENDING), tasks, plan)


def states(machine: RunMachine) -> list[TaskState]:
    return [task.state for task in machine.tasks]


def succeed(machine: RunMachine, index: int) -> list[Change]:
    made = Materialization(materialization_id="m", asset_key=KEY, partition_key=PartitionKey())
    changes = machine.dispatched(index, "w", NOW) + machine.started(index, NOW)
    return changes + machine.succeeded(index, made, (), NOW)


def fail(machine: RunMachine, index: int, **options: object) -> list[Change]:
    category = options.pop("category", FailureCategory.DATA_QUALITY)
    failure = Failure(category=category, message="broken")  # type: ignore[arg-type]  # from options
    changes = machine.dispatched(index, "w", NOW) + machine.started(index, NOW)
    return changes + machine.failed(index, failure, POLICY, NOW, **options)  # type: ignore[arg-type]  # ditto


def test_tasks_without_upstream_are_ready_at_once_and_others_wait() -> None:
    machine = make((), (0,), ())
    machine.start(NOW)
    assert states(machine) == [TaskState.READY, TaskState.BLOCKED, TaskState.READY]


def test_a_task_becomes_ready_when_the_last_upstream_succeeds() -> None:
    machine = make((), (), (0, 1))
    machine.start(NOW)
    succeed(machine, 0)
    assert machine.tasks[2].state is TaskState.BLOCKED
    succeed(machine, 1)
    assert machine.tasks[2].state is TaskState.READY


def test_a_gate_opens_when_all_its_tasks_have_succeeded() -> None:
    machine = make((), (), (), gates=((0, 1),))
    machine.start(NOW)
    succeed(machine, 0)
    assert machine.tasks[2].state is TaskState.BLOCKED
    succeed(machine, 1)
    assert machine.tasks[2].state is TaskState.READY


def test_a_failure_skips_everything_downstream_and_says_why() -> None:
    machine = make((), (0,), (1,), ())
    machine.start(NOW)
    fail(machine, 0)
    assert states(machine)[1:3] == [TaskState.SKIPPED, TaskState.SKIPPED]
    assert machine.tasks[2].reason == "upstream raw.events[n=i:0] failed"
    succeed(machine, 3)
    assert machine.run.state is RunState.FAILED
    assert machine.run.reason == "1 of 4 tasks failed"


def test_user_code_is_retried_after_the_delay_and_then_fails_for_good() -> None:
    machine = make(())
    machine.start(NOW)
    delay = timedelta(seconds=7)
    fail(machine, 0, category=FailureCategory.USER_CODE, delay=delay)
    assert machine.tasks[0].state is TaskState.RETRY_WAIT
    assert machine.tasks[0].retry_at == NOW + delay
    machine.retry_due(0, NOW + delay)
    fail(machine, 0, category=FailureCategory.USER_CODE)
    assert machine.tasks[0].state is TaskState.FAILED
    assert machine.tasks[0].attempt == 2


def test_an_explicit_retryable_wins_over_the_category() -> None:
    machine = make(())
    machine.start(NOW)
    failure = Failure(category=FailureCategory.USER_CODE, message="no", retryable=False)
    machine.dispatched(0, "w", NOW)
    machine.started(0, NOW)
    machine.failed(0, failure, POLICY, NOW)
    assert machine.tasks[0].state is TaskState.FAILED


def test_a_lost_attempt_that_had_not_started_costs_no_retry() -> None:
    machine = make(())
    machine.start(NOW)
    machine.dispatched(0, "w", NOW)
    machine.lost(0, POLICY, NOW)
    assert machine.tasks[0].state is TaskState.READY
    assert machine.tasks[0].attempt == 0


def test_an_attempt_of_a_run_that_is_being_cancelled_says_what_its_worker_did() -> None:
    for reason, how in (
        ("every slot was busy", "its worker gave it back before it started"),
        ("", "its worker was lost"),
    ):
        machine = make(())
        machine.start(NOW)
        machine.dispatched(0, "w", NOW)
        machine.cancel("enough", NOW)
        machine.lost(0, POLICY, NOW, reason=reason)
        assert machine.tasks[0].state is TaskState.CANCELLED
        assert machine.tasks[0].reason == f"enough ({how})"
        assert machine.run.state is RunState.CANCELLED


def test_a_lost_running_attempt_is_retried_without_delay() -> None:
    machine = make(())
    machine.start(NOW)
    machine.dispatched(0, "w", NOW)
    machine.started(0, NOW)
    machine.lost(0, POLICY, NOW)
    assert machine.tasks[0].state is TaskState.RETRY_WAIT
    assert machine.tasks[0].retry_at == NOW
    assert machine.tasks[0].failure is not None
    assert machine.tasks[0].failure.reason == "lease_lost"


def test_cancel_ends_what_no_worker_holds_and_waits_for_the_rest() -> None:
    machine = make((), (0,), ())
    machine.start(NOW)
    machine.dispatched(0, "w", NOW)
    machine.cancel("enough", NOW)
    assert states(machine) == [TaskState.DISPATCHED, TaskState.CANCELLED, TaskState.CANCELLED]
    assert machine.run.state is RunState.CANCELLING
    machine.cancelled(0, "enough", NOW)
    assert machine.run.state is RunState.CANCELLED
    assert machine.run.reason == "enough"


def test_a_cancelled_run_whose_last_task_succeeds_is_cancelled_all_the_same() -> None:
    machine = make((), ())
    machine.start(NOW)
    machine.dispatched(0, "w", NOW)
    machine.cancel("enough", NOW)
    machine.started(0, NOW)
    made = Materialization(materialization_id="m", asset_key=KEY, partition_key=PartitionKey())
    machine.succeeded(0, made, (), NOW)
    assert machine.run.state is RunState.CANCELLED


def test_a_critical_check_stops_the_run_which_has_failed_then() -> None:
    machine = make((), (), ())
    machine.start(NOW)
    machine.dispatched(1, "w", NOW)
    check = CheckResult(
        "not_null",
        check_type=CheckType.NOT_NULL,
        phase=CheckPhase.POST,
        severity=CheckSeverity.CRITICAL,
        passed=False,
    )
    fail(machine, 0, checks=(check,))
    assert machine.run.state is RunState.CANCELLING
    assert machine.tasks[2].state is TaskState.CANCELLED
    machine.cancelled(1, "stopped", NOW)
    assert machine.run.state is RunState.FAILED
    assert "critical check 'not_null'" in machine.run.reason


def test_a_run_without_tasks_succeeds_at_once() -> None:
    machine = make()
    machine.start(NOW)
    assert machine.run.state is RunState.SUCCEEDED
