from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import click
import pytest
from msgspec.structs import replace

from servo.cli import _follow
from servo.cli._run_view import RunView
from servo.types import (
    AssetKey,
    CheckPhase,
    CheckResult,
    CheckSeverity,
    CheckType,
    FailureCategory,
    PartitionKey,
    RunState,
    TaskState,
)
from servo.types.events import (
    Event,
    EventPayload,
    RunStateChanged,
    RunUpdated,
    TaskProgressed,
    TaskStateChanged,
)
from servo.types.records import Failure, Materialization, Progress, Run, Task

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
RAW = AssetKey("raw", "a")
MART = AssetKey("mart", "b")


def task(index: int, key: AssetKey, day: int | None = None) -> Task:
    partition = PartitionKey() if day is None else PartitionKey({"date": date(2025, 1, day)})
    return Task(
        task_id=f"{index:026}",
        index=index,
        asset_key=key,
        partition_key=partition,
        state=TaskState.BLOCKED,
    )


def view() -> RunView:
    return RunView(
        Run(
            run_id="01KAJ8R8F8R8F8R8F8R8F8R8F8",
            state=RunState.PENDING,
            created_at=NOON,
            tasks=(task(0, RAW), task(1, MART, 1), task(2, MART, 2)),
            last_sequence=10,
        )
    )


def event(sequence: int, payload: EventPayload) -> Event:
    return Event(sequence=sequence, occurred_at=NOON + timedelta(seconds=sequence), payload=payload)


def made(key: AssetKey, rows: int | None) -> Materialization:
    return Materialization(
        materialization_id="1",
        asset_key=key,
        partition_key=PartitionKey(),
        row_count=rows,
        byte_size=100,
        path="mart/b/data.parquet",
    )


def text(line: str) -> str:
    return click.unstyle(line)


def test_tasks_are_counted_by_state_and_asset() -> None:
    run = view()
    run.apply(event(11, TaskStateChanged(index=0, state=TaskState.RUNNING, attempt=1)))
    run.apply(event(12, TaskStateChanged(index=0, state=TaskState.SUCCEEDED, attempt=1)))
    assert (run.total, run.finished) == (3, 1)
    assert run.states[TaskState.BLOCKED] == 2
    assert run.assets[RAW].finished == 1
    assert run.assets[MART].finished == 0


def test_events_of_before_the_snapshot_change_nothing() -> None:
    run = view()
    assert run.apply(event(10, TaskStateChanged(index=0, state=TaskState.FAILED))) is None
    assert run.states[TaskState.FAILED] == 0
    assert run.sequence == 10


def test_an_event_that_comes_twice_counts_once() -> None:
    run = view()
    change = event(11, TaskStateChanged(index=0, state=TaskState.SUCCEEDED))
    run.apply(change)
    run.apply(change)
    assert run.states[TaskState.SUCCEEDED] == 1


def test_what_was_produced_is_summed_up() -> None:
    run = view()
    for index in (1, 2):
        run.apply(
            event(
                10 + index,
                TaskStateChanged(
                    index=index, state=TaskState.SUCCEEDED, materialization=made(MART, 5)
                ),
            )
        )
    assert (run.assets[MART].rows, run.assets[MART].byte_size) == (10, 200)


def test_a_snapshot_in_the_middle_of_a_run_has_everything() -> None:
    first = Task(
        task_id="0",
        index=0,
        asset_key=RAW,
        partition_key=PartitionKey(),
        state=TaskState.SUCCEEDED,
        materialization=made(RAW, 7),
    )
    second = Task(
        task_id="1",
        index=1,
        asset_key=MART,
        partition_key=PartitionKey(),
        state=TaskState.RUNNING,
    )
    run = RunView(Run(run_id="1", state=RunState.RUNNING, tasks=(second, first)))
    assert run.assets[RAW].rows == 7
    assert [item.label for item in run.running_tasks] == ["mart.b"]


def test_progress_is_shown_until_the_attempt_ends() -> None:
    run = view()
    run.apply(event(11, TaskStateChanged(index=0, state=TaskState.RUNNING, attempt=1)))
    run.apply(
        event(0, TaskProgressed(index=0, attempt=1, progress=Progress(message="x", percentage=5)))
    )
    assert [item.progress for item in run.running_tasks] == [Progress(message="x", percentage=5)]
    run.apply(event(12, TaskStateChanged(index=0, state=TaskState.SUCCEEDED)))
    assert list(run.running_tasks) == []
    assert run.tasks[0].progress is None


def test_the_end_of_a_run_is_taken_from_its_event() -> None:
    run = view()
    run.apply(event(20, RunStateChanged(state=RunState.FAILED, reason="1 task failed")))
    assert (run.state, run.reason) == (RunState.FAILED, "1 task failed")
    assert run.elapsed_until(NOON + timedelta(days=1)) == 20.0
    assert not run.succeeded


def failure(category: FailureCategory = FailureCategory.USER_CODE) -> Failure:
    return Failure(category=category, message="ValueError: no such file")


def test_a_failure_says_why() -> None:
    run = view()
    changed = run.apply(
        event(11, TaskStateChanged(index=1, state=TaskState.FAILED, failure=failure()))
    )
    assert changed is not None
    line = text(_follow.task_line(changed, also_success=False))
    assert line == "✗ mart.b[date=2025-01-01]  user_code: ValueError: no such file"


def test_a_retry_says_which_attempt_failed() -> None:
    run = view()
    changed = run.apply(
        event(
            11,
            TaskStateChanged(
                index=0,
                state=TaskState.RETRY_WAIT,
                attempt=2,
                failure=replace(failure(), max_attempts=4),
                retry_at=datetime.now(UTC) + timedelta(seconds=42.4),
            ),
        )
    )
    assert changed is not None
    line = text(_follow.task_line(changed, also_success=False))
    assert "attempt 2 of 4 failed: user_code: ValueError: no such file; next attempt in 4" in line
    assert list(run.waiting_tasks) == [changed]
    run.apply(event(12, TaskStateChanged(index=0, state=TaskState.READY, attempt=2)))
    assert list(run.waiting_tasks) == []


def test_the_last_failure_says_how_many_attempts_there_were() -> None:
    run = view()
    last = replace(failure(), max_attempts=4)
    change = TaskStateChanged(index=0, state=TaskState.FAILED, attempt=4, failure=last)
    changed = run.apply(event(11, change))
    assert changed is not None
    assert text(_follow.task_line(changed, also_success=False)).endswith("(attempt 4 of 4)")


def test_a_warning_is_shown_although_the_task_succeeded() -> None:
    run = view()
    check = CheckResult(
        "row_count",
        check_type=CheckType.ROW_COUNT,
        phase=CheckPhase.POST,
        severity=CheckSeverity.WARNING,
        passed=False,
        message="0 rows",
    )
    changed = run.apply(
        event(11, TaskStateChanged(index=0, state=TaskState.SUCCEEDED, checks=(check,)))
    )
    assert changed is not None
    assert text(_follow.task_line(changed, also_success=False)) == (
        "! raw.a  warning, row_count: 0 rows"
    )
    assert [(item.label, found) for item, found in run.all_warnings] == [("raw.a", check)]


@pytest.mark.parametrize("state", [TaskState.READY, TaskState.DISPATCHED, TaskState.RUNNING])
def test_states_on_the_way_deserve_no_line(state: TaskState) -> None:
    run = view()
    changed = run.apply(event(11, TaskStateChanged(index=0, state=state)))
    assert changed is not None
    assert _follow.task_line(changed, also_success=True) == ""


def test_success_and_skips_are_told_for_small_runs_only() -> None:
    run = view()
    done = run.apply(
        event(
            11,
            TaskStateChanged(index=0, state=TaskState.SUCCEEDED, materialization=made(RAW, 1)),
        )
    )
    skipped = run.apply(
        event(12, TaskStateChanged(index=1, state=TaskState.SKIPPED, reason="raw.a failed"))
    )
    assert done is not None
    assert skipped is not None
    assert _follow.task_line(done, also_success=False) == ""
    assert text(_follow.task_line(done, also_success=True)) == "✓ raw.a  1 row"
    assert "skipped: raw.a failed" in text(_follow.task_line(skipped, also_success=True))


def test_the_summary_counts_what_went_wrong() -> None:
    run = view()
    run.apply(event(11, TaskStateChanged(index=0, state=TaskState.FAILED, failure=failure())))
    run.apply(event(12, TaskStateChanged(index=1, state=TaskState.SKIPPED)))
    line = text(_follow.summary(run))
    assert "2/3 tasks" in line
    assert "1 failed, 1 skipped" in line


def test_a_run_that_is_held_says_so_until_it_goes_on() -> None:
    found = view()
    assert ", held" not in _follow.summary(found)
    found.apply(event(11, RunUpdated(paused=True)))
    assert "pending, held" in click.unstyle(_follow.summary(found))
    found.apply(event(12, RunUpdated(priority=3)))
    assert ", held" not in _follow.summary(found)


def test_the_frame_counts_down_to_the_next_attempt() -> None:
    run = view()
    soon = datetime.now(UTC) + timedelta(hours=2, seconds=30)
    for index, retry_at in enumerate((soon, NOON, None)):
        change = TaskStateChanged(
            index=index,
            state=TaskState.RETRY_WAIT,
            attempt=1,
            failure=replace(failure(), max_attempts=4),
            retry_at=retry_at,
        )
        run.apply(event(11 + index, change))
    lines = [text(line) for line in _follow._frame(run)]
    assert lines[-3:] == [
        "  ↻ raw.a  attempt 1 of 4 failed, next attempt in 2 h 0 min",
        "  ↻ mart.b[date=2025-01-01]  attempt 1 of 4 failed, next attempt now",
        "  ↻ mart.b[date=2025-01-02]  attempt 1 of 4 failed, next attempt soon",
    ]


def test_a_run_that_is_being_cancelled_does_not_wait() -> None:
    run = Run(run_id="R", state=RunState.CANCELLING, reason="cancelled on request")
    assert _follow._standstill(run) == "Run R is cancelling: cancelled on request"
    held = replace(run, state=RunState.RUNNING, reason="it is held")
    assert _follow._standstill(held) == "Run R waits: it is held"
    assert _follow._standstill(replace(held, reason="")) == "Run R continues."
