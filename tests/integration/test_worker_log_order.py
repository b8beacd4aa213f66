"""An attempt never ends before its lines are durable, whenever the control plane dies.

The control plane is killed again and again while attempts print and end. Each time its database is
looked at as it lies on the disk: where a task has succeeded, every line that it printed is there.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest

import worker_kit
from plane_kit import KEY, Caller
from servo import _wire
from servo.types import AssetDefinition, AssetKey, CodeLocation, PartitionStrategy, StaticDimension
from servo.types.logs import LogBatch, LogStream
from servo.types.records import Task
from servo.types.requests import AllPartitions
from servo.types.runs import RunState, TaskState
from worker_kit import SOURCE

LINES = 3_000
TASKS = 24
KILLS = 3
NAMES = tuple(f"n{number}" for number in range(TASKS))
CODE = f"""
import time
from servo import StaticDimension, asset

@asset(partitions=StaticDimension("name", {NAMES!r}))
def prints(ctx):
    for number in range({LINES}):
        print("line", number)
        if number % 1000 == 0:
            time.sleep(0.03)
"""


def succeeded_tasks(database: Path, copy: Path) -> int:
    """Look at the database of a dead control plane; return how many tasks it says succeeded."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in database.parent.glob(f"{database.name}*"):
        shutil.copy(file, copy)
    with closing(sqlite3.connect(copy / database.name)) as db:
        tasks = [_wire.decode(Task, row) for (row,) in db.execute("SELECT record FROM tasks")]
        logs = [
            _wire.decode(LogBatch, row) for (row,) in db.execute("SELECT record FROM log_batches")
        ]
    lines: dict[tuple[str, int], set[int]] = defaultdict(set)
    for batch in logs:
        lines[batch.task_id, batch.attempt] |= {
            line.number for line in batch.lines if line.stream is LogStream.STDOUT
        }
    done = [task for task in tasks if task.state is TaskState.SUCCEEDED]
    for task in done:
        assert lines[task.task_id, task.attempt] == set(range(1, LINES + 1))
    return len(done)


async def until_more_succeeded(url: str, run_id: str, known: int) -> None:
    """Wait until the worker is back and more tasks have succeeded, or all of them have."""
    caller = Caller(url)
    async with asyncio.timeout(60):
        while (await caller.get_run(run_id)).counts.succeeded < min(known + 1, TASKS):
            await asyncio.sleep(0.02)
    await caller.channel.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_line_of_a_task_is_durable_before_its_end_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    monkeypatch.setenv("SERVO_API_KEY", KEY)
    choice = random.Random(5)
    database, copy = tmp_path / "servo.db", tmp_path / "copy"
    definition = AssetDefinition(
        AssetKey("default", "prints"),
        code=CodeLocation("tables", "prints"),
        partitioning=PartitionStrategy([StaticDimension("name", NAMES)]),
    )

    async def body() -> None:
        async with worker_kit.plane_process(tmp_path) as plane:
            listen = plane.url.removeprefix("grpc://")
            caller = Caller(plane.url)
            await caller.deploy([definition])
            run = (await caller.create_run("default.prints", partitions=AllPartitions())).run
            await caller.channel.close()
        worker = await worker_kit.start_command(plane.url, tmp_path, CODE, "--slots", "2")
        seen = [0]
        try:
            for _ in range(KILLS):
                async with worker_kit.plane_process(tmp_path, listen):
                    await until_more_succeeded(plane.url, run.run_id, seen[-1])
                    await asyncio.sleep(choice.uniform(0, 0.3))
                seen.append(succeeded_tasks(database, copy))
            async with worker_kit.plane_process(tmp_path, listen):
                caller = Caller(plane.url)
                async with asyncio.timeout(120):
                    await caller.watch(run.run_id)
                assert (await caller.get_run(run.run_id)).state is RunState.SUCCEEDED
                await caller.channel.close()
            assert succeeded_tasks(database, copy) == TASKS
        finally:
            worker.kill()
            await worker.wait()
        assert seen[1] < TASKS, "every kill came after all of the work"

    asyncio.run(body())
