"""Both stores, each on a database of its own, and small records to write into them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

import postgres_kit
from servo.controlplane.store.batch import Batch, NewRun
from servo.controlplane.store.postgres import PostgresStore
from servo.controlplane.store.sqlite import SqliteStore
from servo.controlplane.store.store import Store
from servo.types import AssetKey, PartitionKey
from servo.types.events import Event, RunStateChanged
from servo.types.ids import RunId, TaskId
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.plans import Plan
from servo.types.records import Materialization, Run, Task
from servo.types.requests import CreateRunRequest
from servo.types.runs import RunState, TaskState

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LAST = 2**63 - 1
Open = Callable[[], Store]
Test = Callable[[Store], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Database:
    """A database for one store at a time.

    Attributes:
        location: The path of the file, or the URL.
    """

    location: Path | str

    def open(self) -> Store:
        """Open a store; every time on the same records."""
        if isinstance(self.location, Path):
            return SqliteStore(self.location)
        with psycopg.connect(self.location) as connection:
            row = connection.execute("SELECT epoch FROM leader").fetchone()
        assert row is not None
        return PostgresStore(self.location, row[0])


@contextmanager
def sqlite(folder: Path) -> Iterator[Database]:
    """Make a file in a folder."""
    yield Database(folder / "servo.db")


@contextmanager
def postgres(folder: Path) -> Iterator[Database]:
    """Make a database on the server, which has no use for a folder."""
    del folder
    with postgres_kit.database() as url:
        yield Database(url)


def on(open_store: Open, test: Test) -> None:
    """Run a coroutine on a store that is open meanwhile."""

    async def run() -> None:
        store = open_store()
        try:
            await asyncio.wait_for(test(store), 60)
        finally:
            store.close()

    asyncio.run(run())


def event(sequence: int, run_id: str = "") -> Event:
    """Make an event."""
    payload = RunStateChanged(state=RunState.RUNNING, reason=f"number {sequence}")
    return Event(sequence=sequence, occurred_at=NOW, run_id=run_id, payload=payload)


def new_run(
    state: RunState = RunState.RUNNING, run_key: str = "", tasks: int = 0
) -> tuple[NewRun, list[Task]]:
    """Make a run with so many tasks of one asset."""
    run = Run(run_id=RunId.generate(), state=state, run_key=run_key, created_at=NOW)
    made = [
        Task(
            task_id=TaskId.generate(),
            index=index,
            asset_key=AssetKey("raw", "events"),
            partition_key=PartitionKey({"number": index}),
            state=TaskState.READY,
        )
        for index in range(tasks)
    ]
    return NewRun(run=run, request=CreateRunRequest(selection=("*",)), plan=Plan()), made


def batch_of(workspace: int, *runs: tuple[NewRun, list[Task]]) -> Batch:
    """Make a batch of new runs; every task has the token 7."""
    batch = Batch()
    for new, tasks in runs:
        batch.new_runs.append((workspace, new))
        for task in tasks:
            batch.tasks[new.run.run_id, task.index] = (task, 7)
    return batch


def made(number: int, partition: int, asset_id: str = "A") -> Materialization:
    """Make what was made of a partition."""
    return Materialization(
        materialization_id=f"M{number}",
        asset_key=AssetKey("raw", "events"),
        asset_id=asset_id,
        partition_key=PartitionKey({"number": partition}),
        path=f"raw/events/{number}.parquet",
    )


def log(task_id: str, text: str) -> LogBatch:
    """Make a line of a log."""
    line = LogLine(number=1, stream=LogStream.STDOUT, text=text, written_at=NOW)
    return LogBatch(task_id=task_id, attempt=1, lines=(line,))
