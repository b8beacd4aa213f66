"""The real worker and the real control plane, joined by a real socket."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from plane_kit import KEY, Caller
from servo import get_registry
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.types.records import Run, Task
from servo.types.requests import AllPartitions
from servo.types.runs import RunState, TaskState
from servo.worker import Worker, WorkerConfig

CODE = """
import os
import time
from pathlib import Path
from typing import Annotated, Literal

import polars as pl

from servo import AssetIn, DailyPartition, all_partitions, asset, not_null, row_count, window

DAYS = DailyPartition("date", start="2025-01-01", end="2025-01-05")

@asset(namespace="raw")
def numbers(ctx):
    return [{"n": n} for n in range(10)]

@asset(namespace="staging", partitions=DAYS, checks=[row_count(1), not_null("n")])
def daily(ctx, numbers: Annotated[pl.DataFrame, AssetIn["raw.numbers"]]):
    day = ctx.partition_key.dimensions["date"]
    ctx.log.info("day %s", day)
    return numbers.head(day.day).with_columns(date=pl.lit(day))

@asset(namespace="mart", partitions=DAYS)
def rolling(ctx, daily: Annotated[AssetIn["staging.daily"], window(days=3)]):
    return [{"rows": daily.read().num_rows, "days": len(daily.partitions)}]

@asset(namespace="mart")
def total(ctx, daily: Annotated[AssetIn["staging.daily"], all_partitions()]):
    return [{"rows": daily.read(columns=["n"]).num_rows}]

@asset(namespace="quick", partitions=DailyPartition("date", start="2025-01-01", end="2025-03-31"))
def nothing(ctx):
    pass

@asset(namespace="long", partitions=DAYS)
def waits(ctx):
    while not Path("over").exists():
        time.sleep(0.01)

@asset(namespace="bad", max_retries=1, retry_delay_seconds=0)
def dies(ctx):
    os._exit(9)

@asset(namespace="bad")
def after(ctx, dies: AssetIn[Literal["bad.dies"]]):
    return dies.read()

@asset(namespace="bad", checks=[row_count(5)])
def short(ctx):
    return [{"n": 1}]
"""

MODULE = "code_of_the_real_worker"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2] / "src"))
    (tmp_path / f"{MODULE}.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def check(project: Path, test: Callable[[Caller, Worker], Awaitable[None]]) -> None:
    """Run a test with a control plane, a worker with two slots and the deployed assets."""

    async def body() -> None:
        get_registry().clear()
        sys.modules.pop(MODULE, None)
        __import__(MODULE)
        definitions = [one.definition for one in get_registry().all()]
        get_registry().clear()
        config = ControlPlaneConfig(
            database=project / "servo.db", api_key=KEY, lease_length=timedelta(seconds=5)
        )
        plane = ControlPlane(config)
        url = await plane.start()
        caller = Caller(url)
        worker = Worker(WorkerConfig(url=url, api_key=KEY, project=project, slots=2))
        running = asyncio.create_task(worker.run())
        try:
            await caller.deploy(definitions)
            await test(caller, worker)
        finally:
            worker.kill()
            await asyncio.wait_for(running, 60)
            await caller.channel.close()
            await plane.stop()

    asyncio.run(body())


async def finished(caller: Caller, *selection: str, partitioned: bool = False) -> Run:
    partitions = AllPartitions() if partitioned else None
    run = (await caller.create_run(*selection, partitions=partitions)).run
    await caller.watch(run.run_id)
    return await caller.get_run(run.run_id)


def task_of(run: Run, key: str) -> Task:
    return next(task for task in run.tasks if str(task.asset_key) == key)


def test_a_graph_with_partitions_windows_and_checks_becomes_tables(project: Path) -> None:
    async def test(caller: Caller, worker: Worker) -> None:
        run = await finished(caller, "raw.*", "staging.*", "mart.*", partitioned=True)
        assert run.state is RunState.SUCCEEDED, [task.failure for task in run.tasks]
        data = project / ".servo" / "data"
        total = pq.read_table(data / "mart/total/data.parquet").to_pylist()
        assert total == [{"rows": 1 + 2 + 3 + 4 + 5}]
        last = pq.read_table(data / "mart/rolling/date=2025-01-05/data.parquet").to_pylist()
        assert last == [{"rows": 3 + 4 + 5, "days": 3}]
        first = task_of(run, "staging.daily")
        assert [result.passed for result in first.checks] == [True, True]
        assert first.materialization is not None
        assert first.materialization.row_count == 1

    check(project, test)


def test_a_dying_task_is_retried_then_fails_and_skips_what_reads_it(project: Path) -> None:
    async def test(caller: Caller, worker: Worker) -> None:
        run = await finished(caller, "bad.*")
        assert run.state is RunState.FAILED
        dies = task_of(run, "bad.dies")
        assert (dies.state, dies.attempt) == (TaskState.FAILED, 2)
        assert dies.failure is not None
        assert "exit code 9" in dies.failure.message
        assert task_of(run, "bad.after").state is TaskState.SKIPPED
        short = task_of(run, "bad.short")
        assert (short.state, short.attempt) == (TaskState.FAILED, 1)
        assert not (project / ".servo/data/bad").exists()

    check(project, test)


def test_another_worker_gets_what_waits_behind_long_tasks(project: Path) -> None:
    """A worker that has learnt that tasks are short takes all of them, and they are long."""

    async def test(caller: Caller, worker: Worker) -> None:
        await finished(caller, "quick.*", partitioned=True)
        run = (await caller.create_run("long.*", partitions=AllPartitions())).run
        async with asyncio.timeout(30):
            while await given_out(caller, run) != [5]:
                await asyncio.sleep(0.01)
            config = WorkerConfig(url=caller.url, api_key=KEY, project=project, slots=3)
            other = Worker(config)
            running = asyncio.create_task(other.run())
            while await given_out(caller, run) != [2, 3]:
                await asyncio.sleep(0.01)
        (project / "over").touch()
        await caller.watch(run.run_id)
        done = await caller.get_run(run.run_id)
        assert done.state is RunState.SUCCEEDED
        assert [task.attempt for task in done.tasks] == [1] * 5, "it does not count as an attempt"
        other.kill()
        await asyncio.wait_for(running, 60)

    async def given_out(caller: Caller, run: Run) -> list[int]:
        """Return how many tasks each worker holds, the older worker first."""
        held = Counter(
            task.worker_id
            for task in (await caller.get_run(run.run_id)).tasks
            if task.state in (TaskState.DISPATCHED, TaskState.RUNNING)
        )
        return [count for _, count in sorted(held.items())]

    check(project, test)
