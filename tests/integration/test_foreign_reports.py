"""What a worker says of the attempts of others changes nothing; what cannot be is refused."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from plane_kit import Caller, ScriptedWorker, asset, at_work, plane, succeed, sync
from servo import _wire
from servo.controlplane.store import checking
from servo.controlplane.store.seals import sealed
from servo.types import ExecutionPolicy, FailureCategory
from servo.types.ids import MaterializationId
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.records import Failure, Materialization, Progress, Task
from servo.types.requests import ReadLogsRequest
from servo.types.runs import RunState, TaskState
from servo.types.sessions import (
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptSpent,
    AttemptSucceeded,
    CreditGrant,
    Heartbeat,
    LeaseRevoked,
    LogReceipt,
    ResultReceipt,
    TaskDispatch,
    WorkerMessage,
)

ONCE = ExecutionPolicy(max_retries=0)


def batch(dispatch: TaskDispatch, number: int, text: str) -> LogBatch:
    line = LogLine(number=number, stream=LogStream.STDOUT, text=text)
    return LogBatch(task_id=dispatch.lease.task_id, attempt=dispatch.lease.attempt, lines=(line,))


async def texts(caller: Caller, run_id: str) -> list[str]:
    found = []
    async for answer in caller.stream(_wire.methods.READ_LOGS, ReadLogsRequest(run_id=run_id)):
        found += [line.text for batch in answer.batches for line in batch.lines]
    return found


async def given(caller: Caller, worker: ScriptedWorker) -> tuple[str, TaskDispatch]:
    """Let a worker have the only task of a run, and keep it."""
    run = (await caller.create_run("*")).run
    await worker.until(lambda: bool(worker.dispatches))
    return run.run_id, worker.dispatches[0]


def has(worker: ScriptedWorker, kind: type, count: int = 1) -> Any:
    return lambda: sum(isinstance(one, kind) for one in worker.received) >= count


@sync
async def test_lines_and_results_of_another_worker_do_not_count(tmp_path: Path) -> None:
    async with plane(tmp_path) as (_, caller):
        await caller.deploy([asset("raw.a", execution=ONCE)])
        async with at_work(ScriptedWorker(caller, lambda _: None)) as honest:
            run_id, dispatch = await given(caller, honest)
            lease = dispatch.lease
            forged = Failure(category=FailureCategory.USER_CODE, message="B", retryable=False)
            async with at_work(ScriptedWorker(caller, lambda _: None, credit=0)) as other:
                other.send(
                    batch(dispatch, 10**12, "FORGED"),
                    AttemptProgressed(lease=lease, progress=Progress(message="FORGED")),
                    AttemptMetric(lease=lease, name="FORGED", value=1.0),
                    AttemptSpent(lease=lease, spent={"usd": "1000"}),
                    Heartbeat(leases=(lease,)),
                    AttemptFinished(lease=lease, outcome=forged),
                )
                await other.until(has(other, ResultReceipt))
                await other.until(has(other, LogReceipt))
                # Progress, metric, spending and the heartbeat were each answered.
                await other.until(has(other, LeaseRevoked, 4))
                (receipt,) = [one for one in other.received if isinstance(one, ResultReceipt)]
                assert receipt.error is not None
                assert (receipt.accepted, receipt.error.code) == (False, "LEASE_EXPIRED")
            (task,) = (await caller.get_run(run_id)).tasks
            assert (task.state, task.progress, dict(task.spent)) == (TaskState.RUNNING, None, {})
            honest.send(batch(dispatch, 1, "honest"))
            honest.finish(lease, succeed(dispatch))
            await caller.watch(run_id)
        assert (await caller.get_run(run_id)).state is RunState.SUCCEEDED
        assert await texts(caller, run_id) == ["honest"]


@sync
async def test_a_worker_that_comes_back_goes_on_with_its_attempt(tmp_path: Path) -> None:
    async with plane(tmp_path) as (_, caller):
        await caller.deploy([asset("raw.a", execution=ONCE)])
        async with at_work(ScriptedWorker(caller, lambda _: None)) as first:
            run_id, dispatch = await given(caller, first)
            first.send(batch(dispatch, 1, "one"))
            await first.until(has(first, LogReceipt))
        again = ScriptedWorker(caller, lambda _: None, worker_id=first.worker_id)
        holding = asyncio.create_task(again.run(leases=(dispatch.lease,)))
        try:
            await again.until(again.welcomed.is_set)
            # What was not confirmed as far as it knows is repeated, and not written twice.
            again.send(batch(dispatch, 1, "one"), batch(dispatch, 2, "two"))
            again.finish(dispatch.lease, succeed(dispatch))
            await caller.watch(run_id)
            again.send(batch(dispatch, 2, "two"))
            again.finish(dispatch.lease, succeed(dispatch))
            await again.until(has(again, LogReceipt, 3))
            await again.until(has(again, ResultReceipt, 2))
        finally:
            holding.cancel()
        receipts = [one for one in again.received if isinstance(one, ResultReceipt)]
        assert [one.accepted for one in receipts] == [True, True]
        assert (await caller.get_run(run_id)).state is RunState.SUCCEEDED
        assert await texts(caller, run_id) == ["one", "two"]


@sync
async def test_lines_of_an_attempt_that_was_given_to_another_worker_do_not_count(
    tmp_path: Path,
) -> None:
    async with plane(tmp_path, lease=0.5) as (_, caller):
        await caller.deploy([asset("raw.a", execution=ExecutionPolicy(max_retries=1))])
        async with at_work(ScriptedWorker(caller, lambda _: None, credit=1)) as slow:
            run_id, dispatch = await given(caller, slow)
            async with at_work(ScriptedWorker(caller)):
                await caller.watch(run_id)
            slow.send(batch(dispatch, 1, "late"))
            await slow.until(has(slow, LogReceipt))
        assert await texts(caller, run_id) == []


def lies(dispatch: TaskDispatch) -> dict[str, WorkerMessage]:
    lease = dispatch.lease
    made = succeed(dispatch).materialization

    def result(**changes: Any) -> AttemptFinished:
        outcome = AttemptSucceeded(materialization=replace(made, **changes))
        return AttemptFinished(lease=lease, outcome=outcome)

    return {
        "path": result(path="../../../../etc/passwd"),
        "ULID": result(materialization_id="\x1b[2J\0" * 1000),
        "negative": result(row_count=-5),
        "finite": AttemptMetric(lease=lease, name="x", value=math.nan),
        "name": AttemptMetric(lease=lease, name="", value=1.0),
        "percent": AttemptProgressed(lease=lease, progress=Progress(message="", percentage=1000)),
        "count up": batch(dispatch, -(2**63), "x"),
    }


@sync
async def test_an_attempt_whose_worker_reports_what_cannot_be_fails_and_says_so(
    tmp_path: Path,
) -> None:
    async with plane(tmp_path) as (_, caller):
        await caller.deploy([asset("raw.a", execution=ONCE)])
        async with at_work(ScriptedWorker(caller, lambda _: None)) as worker:
            for number, said in enumerate(
                ("path", "ULID", "negative", "finite", "name", "percent", "count up")
            ):
                run_id = (await caller.create_run("raw.a")).run.run_id
                await worker.until(lambda number=number: len(worker.dispatches) > number)
                worker.send(lies(worker.dispatches[-1])[said], CreditGrant(attempts=1))
                await caller.watch(run_id)
                (task,) = (await caller.get_run(run_id)).tasks
                failure = task.failure
                assert failure is not None, said
                assert (failure.category, failure.reason) == (
                    FailureCategory.INFRASTRUCTURE,
                    "invalid_report",
                )
                assert said in failure.message
                assert worker.worker_id in failure.message
                assert "passwd" not in failure.message


@sync
async def test_an_id_is_new(tmp_path: Path) -> None:
    name = MaterializationId.generate()

    def same(dispatch: TaskDispatch) -> AttemptSucceeded:
        made = succeed(dispatch).materialization
        return AttemptSucceeded(materialization=replace(made, materialization_id=name))

    async with plane(tmp_path) as (_, caller), at_work(ScriptedWorker(caller, same)):
        await caller.deploy([asset("raw.a", execution=ONCE), asset("raw.b", execution=ONCE)])
        run_id = (await caller.create_run("*")).run.run_id
        await caller.watch(run_id)
        run = await caller.get_run(run_id)
    assert sorted(task.state for task in run.tasks) == [TaskState.FAILED, TaskState.SUCCEEDED]


@sync
async def test_a_record_that_was_never_checked_is_found_in_the_database(tmp_path: Path) -> None:
    async with plane(tmp_path) as (_, caller), at_work(ScriptedWorker(caller)):
        await caller.deploy([asset("raw.a", execution=ONCE)])
        await caller.watch((await caller.create_run("*")).run.run_id)
    (database,) = tmp_path.glob("*.db")
    assert checking.check(database).is_sound
    with closing(sqlite3.connect(database)) as db:
        (record,) = db.execute("SELECT record FROM tasks").fetchone()
        task = _wire.decode(Task, record)
        assert task.materialization is not None
        made: Materialization = replace(task.materialization, path="../../etc/passwd")
        task = replace(task, materialization=made)
        db.execute("UPDATE tasks SET record = ?", [sealed(_wire.encode(task))])
        db.execute("UPDATE materializations SET record = ?", [sealed(_wire.encode(made))])
        db.commit()
    problems = [one.message for one in checking.check(database).problems]
    assert "its record has a path that is not below the directory of the asset" in problems
