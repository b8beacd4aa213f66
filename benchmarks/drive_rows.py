"""Fill a database with finished runs, and time the calls that show them.

``python benchmarks/drive_rows.py deploy URL`` deploys the assets, ``fill DATABASE TASKS`` writes
runs of 1,000 tasks of them as the control plane would have (with their events and what they made;
nobody may serve the database meanwhile), ``read URL CALLS`` prints one line of JSON: milliseconds
of every call, by what it asks for.

Each run makes 100 days of ten assets, so that every asset has 1,000 partitions, and every partition
has been made as often as the number of tasks allows.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from scripted import asset, chains, client, manifest

from servo._wire import methods
from servo.client.transport import call_metadata, dial
from servo.controlplane.store.batch import Batch, NewRun
from servo.controlplane.store.sqlite import SqliteStore
from servo.controlplane.store.store import Store
from servo.types import AssetKey, MaterializationId, WorkerId
from servo.types.events import Event, EventPayload, RunCreated, RunStateChanged, TaskStateChanged
from servo.types.ids import RunId, TaskId
from servo.types.partition_keys import PartitionKey
from servo.types.partitions import DailyPartition, PartitionStrategy
from servo.types.plans import Plan, PlannedTask
from servo.types.records import Column, Materialization, Run, Task, TaskCounts
from servo.types.requests import (
    CreateRunRequest,
    GetAssetRequest,
    GetRunRequest,
    GetRunResponse,
    ListMaterializationsRequest,
    ListMaterializationsResponse,
    ListRunsRequest,
    ListRunsResponse,
)
from servo.types.runs import RunState, TaskState

ASSETS, GROUP = 100, 10
DAYS, BLOCK = 1_000, 100
FIRST_DAY = date(2023, 1, 1)
PAGE = 100
RARE = f"ListRuns, {PAGE} that failed or run"
REQUEST_ID = ("x-servo-request-id", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
KEYS = [AssetKey("made", f"table_{number:03d}") for number in range(ASSETS)]
PARTITIONS = [PartitionKey({"day": FIRST_DAY + timedelta(days=day)}) for day in range(DAYS)]
COLUMNS = tuple(
    Column(name=name, type=kind)
    for name, kind in (("id", "int64"), ("created_at", "timestamp[us]"), ("amount", "double"))
)


async def deploy(url: str) -> None:
    days = PartitionStrategy([DailyPartition("day", start=FIRST_DAY.isoformat())])
    made = [asset(key.namespace, key.name, partitioning=days) for key in KEYS]
    async with client(url) as plane:
        await plane.deployments.deploy(manifest(*made, *chains("live", 10, 10)))


class History:
    """Runs of one workspace that have ended, one batch for each.

    Args:
        workspace: Its number.
        deployment_id: Which deployment the runs are of.
        ids: The id of every asset.
        last_sequence: The newest event.
    """

    def __init__(
        self, workspace: int, deployment_id: str, ids: dict[str, str], last_sequence: int
    ) -> None:
        self._workspace = workspace
        self._deployment_id = deployment_id
        self._ids = ids
        self._sequence = last_sequence
        self._worker_id = WorkerId.generate()
        self._batch = Batch()

    def run(self, number: int) -> Batch:
        """Return everything that a run has written."""
        batch = self._batch = Batch()
        group, block = number % (ASSETS // GROUP), number // (ASSETS // GROUP) % (DAYS // BLOCK)
        chosen = KEYS[group * GROUP : (group + 1) * GROUP]
        partitions = PARTITIONS[block * BLOCK : (block + 1) * BLOCK]
        total = len(chosen) * len(partitions)
        now = datetime.now(UTC)
        selection = tuple(map(str, chosen))
        run = Run(
            run_id=RunId.generate(),
            deployment_id=self._deployment_id,
            state=RunState.SUCCEEDED,
            selection=selection,
            created_at=now,
            started_at=now,
            finished_at=now,
            counts=TaskCounts(total=total, succeeded=total),
            last_sequence=self._sequence + 3 + 4 * total,
        )
        planned = [
            PlannedTask(asset=place, partition_key=partition)
            for place in range(len(chosen))
            for partition in partitions
        ]
        plan = Plan(assets=tuple(chosen), tasks=tuple(planned))
        request = CreateRunRequest(selection=selection)
        batch.new_runs.append((self._workspace, NewRun(run, request, plan)))
        self._event(run.run_id, now, RunCreated(run=run))
        self._event(run.run_id, now, RunStateChanged(state=RunState.RUNNING))
        for index, one in enumerate(planned):
            self._task(run.run_id, index, chosen[one.asset], one.partition_key, now)
        self._event(run.run_id, now, RunStateChanged(state=RunState.SUCCEEDED))
        return batch

    def _task(
        self, run_id: str, index: int, key: AssetKey, partition: PartitionKey, now: datetime
    ) -> None:
        task_id, worker_id = TaskId.generate(), self._worker_id
        for state in (TaskState.READY, TaskState.DISPATCHED, TaskState.RUNNING):
            changed = TaskStateChanged(index=index, state=state, attempt=1, worker_id=worker_id)
            self._event(run_id, now, changed)
        made = Materialization(
            materialization_id=MaterializationId.generate(),
            asset_key=key,
            asset_id=self._ids[str(key)],
            partition_key=partition,
            run_id=run_id,
            task_id=task_id,
            created_at=now,
            row_count=1_000,
            byte_size=64_000,
            path=f"{key.namespace}/{key.name}/{partition}/{task_id}.parquet",
            columns=COLUMNS,
        )
        done = TaskStateChanged(
            index=index, state=TaskState.SUCCEEDED, attempt=1, worker_id=worker_id,
            materialization=made,
        )  # fmt: skip
        self._event(run_id, now, done)
        task = Task(
            task_id=task_id, index=index, asset_key=key, partition_key=partition,
            state=TaskState.SUCCEEDED, attempt=1, started_at=now, finished_at=now,
            worker_id=worker_id, materialization=made,
        )  # fmt: skip
        self._batch.tasks[run_id, index] = (task, self._sequence)
        self._batch.materializations.append((self._workspace, self._sequence, made))

    def _event(self, run_id: str, now: datetime, payload: EventPayload) -> None:
        self._sequence += 1
        event = Event(sequence=self._sequence, occurred_at=now, run_id=run_id, payload=payload)
        self._batch.events.append((self._workspace, event))


async def fill(database: str, tasks: int) -> None:
    store = _open(database)
    try:
        workspace = await store.workspace("default", "default")
        history = History(
            workspace,
            await store.current_deployment_id(workspace),
            await store.asset_ids(workspace),
            await store.last_sequence(workspace),
        )
        for number in range(tasks // (GROUP * BLOCK)):
            batch = history.run(number)
            batch.settle()
            await store.write(batch)
    finally:
        store.close()
    print(json.dumps({"bytes": _settle(database)}))


def _open(database: str) -> Store:
    if "://" not in database:
        return SqliteStore(Path(database))
    import psycopg

    from servo.controlplane.store.postgres import PostgresStore

    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT epoch FROM leader").fetchone()
    assert row is not None
    return PostgresStore(database, int(row[0]))


def _settle(database: str) -> int:
    """Let the server look at what it has, as it soon would by itself; return the size."""
    if "://" not in database:
        return Path(database).stat().st_size
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


async def read(url: str, calls: int) -> None:
    found: dict[str, list[float]] = {}
    async with client(url) as plane:
        found_runs = plane.runs.list(states=["succeeded"], page_size=1000)
        runs = [run async for run in found_runs if run.selection != ("live.*",)]
    chosen = Chosen(runs)
    # The bare call: what is measured is the answer, not what a client makes of it.
    metadata = (*call_metadata(api_key=os.environ["SERVO_API_KEY"]), REQUEST_ID)
    async with dial(url, aio=True) as channel:
        for what, method, requests in looks(chosen):
            call = channel.unary_unary(method.path)
            found[what] = []
            for _, request in zip(range(calls), requests, strict=False):
                data = method.encode_request(request)
                began = time.perf_counter()
                answer = await call(data, timeout=60, metadata=metadata)
                found[what].append((time.perf_counter() - began) * 1e3)
                check(method.decode_response(answer), what)
    print(json.dumps(found))


class Chosen:
    """Takes something that is there by chance.

    Args:
        runs: The runs that the database was filled with, newest first.
    """

    def __init__(self, runs: list[Run]) -> None:
        self._runs = runs
        self._keys = sorted({key for run in runs for key in run.selection})
        blocks = min(max(len(runs) // (ASSETS // GROUP), 1), DAYS // BLOCK)
        self._partitions = PARTITIONS[: blocks * BLOCK]

    @property
    def run_id(self) -> str:
        return random.choice(self._runs).run_id

    @property
    def later_run_id(self) -> str:
        """One that is not the first: there is something before it."""
        return random.choice(self._runs[:-1]).run_id

    @property
    def key(self) -> AssetKey:
        return AssetKey.parse(random.choice(self._keys))

    @property
    def partition(self) -> PartitionKey:
        return random.choice(self._partitions)


def looks(chosen: Chosen) -> Iterator[tuple[str, Any, Iterator[Any]]]:
    """Yield what is asked for, the method, and requests without end."""
    rare = (RunState.FAILED, RunState.RUNNING)
    for what, method, make in (
        (
            f"ListRuns, the newest {PAGE}",
            methods.LIST_RUNS,
            lambda: ListRunsRequest(page_size=PAGE),
        ),
        (
            f"ListRuns, {PAGE} from anywhere on",
            methods.LIST_RUNS,
            lambda: ListRunsRequest(page_size=PAGE, page_token=f"runs.{chosen.later_run_id}"),
        ),
        (
            RARE,
            methods.LIST_RUNS,
            lambda: ListRunsRequest(page_size=PAGE, states=rare),
        ),
        (
            f"GetRun with {PAGE} of 1,000 tasks",
            methods.GET_RUN,
            lambda: GetRunRequest(run_id=chosen.run_id, page_size=PAGE),
        ),
        (
            f"ListMaterializations, {PAGE} current partitions",
            methods.LIST_MATERIALIZATIONS,
            lambda: ListMaterializationsRequest(key=chosen.key, latest_only=True, page_size=PAGE),
        ),
        (
            f"ListMaterializations, the newest {PAGE}",
            methods.LIST_MATERIALIZATIONS,
            lambda: ListMaterializationsRequest(key=chosen.key, page_size=PAGE),
        ),
        (
            "ListMaterializations of one partition",
            methods.LIST_MATERIALIZATIONS,
            lambda: ListMaterializationsRequest(
                key=chosen.key, partition_key=chosen.partition, page_size=PAGE
            ),
        ),
        (
            "GetAsset (asset show)",
            methods.GET_ASSET,
            lambda: GetAssetRequest(key=chosen.key),
        ),
    ):
        yield what, method, iter(make, None)


def check(answer: Any, what: str) -> None:
    """Make sure that there was something to answer: nothing is found quickly, and says nothing."""
    match answer:
        case ListRunsResponse(runs=found):
            is_there = bool(found) or what == RARE
        case GetRunResponse(run=run):
            is_there = len(run.tasks) == PAGE
        case ListMaterializationsResponse(materializations=found):
            is_there = bool(found)
        case _:
            is_there = answer.asset.latest_materialization is not None
    if not is_there:
        sys.exit(f"{what}: nothing came")


def main() -> None:
    match sys.argv[1:]:
        case ["deploy", url]:
            asyncio.run(deploy(url))
        case ["fill", database, tasks]:
            asyncio.run(fill(database, int(tasks)))
        case ["read", url, calls]:
            asyncio.run(read(url, int(calls)))


main()
