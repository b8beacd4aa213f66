"""What both stores do alike at the edges: whole runs, cut histories, pages that are empty."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import store_kit
from servo import errors
from servo.controlplane.store import pruning
from servo.controlplane.store.batch import Batch, NewDeployment, NewRun
from servo.controlplane.store.pruning import Wanted
from servo.controlplane.store.store import Store
from servo.controlplane.store.stored import StoredKey
from servo.types import AssetKey, PartitionKey
from servo.types.access import ApiKey, Role
from servo.types.deployments import Deployment
from servo.types.ids import DeploymentId
from servo.types.manifests import ManifestContents
from servo.types.plans import Plan, PlanGate, PlannedTask
from servo.types.records import Task
from servo.types.requests import (
    AllPartitions,
    CreateRunRequest,
    PartitionRange,
    PartitionSelection,
    Rerun,
)
from servo.types.runs import RerunScope, RunState, TaskState
from store_kit import LAST, NOW, Database, batch_of, event, log, made, new_run, on

UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
NONE, DAY = timedelta(), timedelta(days=1)
PRUNED = Wanted(runs_before=NOW + DAY)
PLAN = Plan(
    assets=(AssetKey("raw", "events"),),
    tasks=tuple(
        PlannedTask(asset=0, partition_key=PartitionKey({"number": n}), gates=(0,) if n else ())
        for n in range(4)
    ),
    gates=(PlanGate(tasks=(0,)),),
)


@pytest.fixture(params=[store_kit.sqlite, store_kit.postgres], ids=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with request.param(tmp_path) as found:
        yield found


# -- what a run was asked for with --------------------------------------------------------


def asked(partitions: PartitionSelection | None, **more: Any) -> CreateRunRequest:
    return CreateRunRequest(
        selection=("mart.*", "not raw.events"),
        partitions=partitions,
        upstream=True,
        downstream=True,
        run_key="nightly\0",
        deployment_id=DeploymentId.generate(),
        config={"mode": "full", "": ""},
        priority=-7,
        max_parallelism=2,
        timeout_seconds=600,
        budget={"usd": "1.50"},
        code_version_id="v1",
        **more,
    )


def test_what_a_run_was_asked_for_with_stays_as_it_was(database: Database) -> None:
    requests = [
        CreateRunRequest(selection=()),
        asked(None, rerun=Rerun(run_id=UNKNOWN, scope=RerunScope.ALL)),
        asked(AllPartitions()),
        asked(PartitionKey({"date": "2026-11-21", "number": 7})),
        asked(PartitionRange(dimension="date", first="2026-11-01", last="2026-11-21")),
    ]
    runs = [NewRun(new_run()[0].run, request, Plan()) for request in requests]

    async def write(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        await store.write(batch_of(workspace, *((new, []) for new in runs)))
        # A run goes through many states; what was asked for is no part of them.
        over = [replace(new.run, state=RunState.FAILED, priority=9) for new in runs]
        await store.write(Batch(run_rows={run.run_id: run for run in over}))

    async def read(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        assert [await store.run_request(workspace, new.run.run_id) for new in runs] == requests

    on(database.open, write)
    on(database.open, read)


def test_nobody_else_is_told_what_a_run_was_asked_for_with(database: Database) -> None:
    async def test(store: Store) -> None:
        one, other = await store.workspace("t", "one"), await store.workspace("t", "other")
        mine, theirs = new_run(), new_run()
        await store.write(batch_of(one, mine))
        assert await store.run_request(other, mine[0].run.run_id) is None
        await store.write(batch_of(other, theirs))
        assert await store.run_request(other, mine[0].run.run_id) is None
        assert await store.run_request(one, theirs[0].run.run_id) is None
        assert await store.run_request(one, mine[0].run.run_id) == mine[0].request
        for run_id in (UNKNOWN, "", "%", mine[0].run.run_id.lower()):
            assert await store.run_request(one, run_id) is None

    on(database.open, test)


def test_what_a_run_was_asked_for_with_is_forgotten_with_the_run(database: Database) -> None:
    ended, active = new_run(RunState.SUCCEEDED)[0], new_run()[0]
    ended = replace(ended, run=replace(ended.run, finished_at=NOW))

    async def write(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        await store.write(batch_of(workspace, (ended, []), (active, [])))

    async def read(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        assert await store.run_request(workspace, ended.run.run_id) is None
        assert await store.run_in_full(workspace, ended.run.run_id) is None
        assert await store.run_request(workspace, active.run.run_id) == active.request

    on(database.open, write)
    pruning.prune(database.location, PRUNED)
    on(database.open, read)


# -- runs ---------------------------------------------------------------------------------


def test_a_run_is_read_in_full_whether_it_has_ended_or_not(database: Database) -> None:
    async def test(store: Store) -> None:
        workspace, other = await store.workspace("t", "w"), await store.workspace("t", "other")
        for state in RunState:
            new, tasks = new_run(state, tasks=4)
            run_id, new = new.run.run_id, NewRun(new.run, new.request, PLAN)
            batch = Batch(new_runs=[(workspace, new)])
            # Not in the order of the plan: tasks are read by position, whenever they were written.
            for task in reversed(tasks):
                batch.tasks[run_id, task.index] = (task, 10 + task.index)
            await store.write(batch)
            done = replace(tasks[2], state=TaskState.SUCCEEDED, attempt=1)
            await store.write(Batch(tasks={(run_id, 2): (done, 99)}))
            stored = await store.run_in_full(workspace, run_id)
            assert stored is not None
            assert (stored.run, stored.request, stored.plan) == (new.run, new.request, PLAN)
            assert stored.tasks == [*tasks[:2], done, tasks[3]]
            assert stored.tokens == [10, 11, 99, 13]
            assert await store.run(workspace, run_id) == new.run
            assert await store.run(other, run_id) is None
            assert await store.run_in_full(other, run_id) is None
        assert await store.run_in_full(workspace, UNKNOWN) is None

    on(database.open, test)


def test_a_run_without_tasks_is_read_in_full_as_well(database: Database) -> None:
    async def test(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        (new, _), other = new_run(), new_run(tasks=2)
        await store.write(batch_of(workspace, (new, []), other))
        stored = await store.run_in_full(workspace, new.run.run_id)
        assert stored is not None
        assert (stored.run, stored.tasks, stored.tokens) == (new.run, [], [])

    on(database.open, test)


def test_runs_that_have_not_ended_are_read_oldest_first_and_no_others(database: Database) -> None:
    async def test(store: Store) -> None:
        one, other = await store.workspace("t", "one"), await store.workspace("t", "other")
        runs = [new_run(state, tasks=1) for state in [*RunState] * 2]
        await store.write(batch_of(one, *reversed(runs)))
        await store.write(batch_of(other, new_run()))
        found = await store.active_runs(one)
        expected = sorted(
            (new.run for new, _ in runs if not new.run.state.is_terminal),
            key=lambda run: run.run_id,
        )
        assert [stored.run for stored in found] == expected
        tasks = {new.run.run_id: made for new, made in runs}
        assert all(stored.tasks == tasks[stored.run.run_id] for stored in found)

    on(database.open, test)


# -- where the history begins -------------------------------------------------------------


def test_a_history_is_whole_until_something_of_it_is_forgotten(database: Database) -> None:
    async def write(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        assert await store.history_after(workspace) == 0
        await store.write(Batch(events=[(workspace, event(n)) for n in range(1, 4)]))
        assert await store.history_after(workspace) == 0

    async def read(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        assert await store.history_after(workspace) == 0
        assert await store.workspace_events(workspace, 0, -1) == [event(n) for n in range(1, 4)]

    on(database.open, write)
    # Nothing is as old as that.
    pruning.prune(database.location, Wanted(runs_before=NOW))
    on(database.open, read)


def test_what_is_left_of_a_history_goes_on_without_a_gap(database: Database) -> None:
    async def write(store: Store) -> None:
        one, other = await store.workspace("t", "one"), await store.workspace("t", "other")
        await store.workspace("t", "empty")
        batch = Batch(events=[(one, event(n)) for n in range(1, 8)])
        batch.events += [(other, event(n)) for n in range(1, 4)]
        await store.write(batch)

    async def read(store: Store) -> None:
        one, other = await store.workspace("t", "one"), await store.workspace("t", "other")
        # The newest event stays: the next one is numbered after it.
        assert (await store.history_after(one), await store.last_sequence(one)) == (6, 7)
        assert (await store.history_after(other), await store.last_sequence(other)) == (2, 3)
        assert await store.history_after(await store.workspace("t", "empty")) == 0
        assert await store.history_after(await store.workspace("t", "new")) == 0
        for after in (0, 3, 6):
            assert await store.workspace_events(one, after, -1) == [event(7)]
            assert await store.workspace_events(one, after, 1) == [event(7)]
        assert await store.workspace_events(one, 7, -1) == []

    async def go_on(store: Store) -> None:
        one = await store.workspace("t", "one")
        await store.write(Batch(events=[(one, event(8)), (one, event(9))]))
        assert await store.history_after(one) == 6
        assert await store.workspace_events(one, 6, -1) == [event(7), event(8), event(9)]

    async def read_again(store: Store) -> None:
        one, other = await store.workspace("t", "one"), await store.workspace("t", "other")
        assert (await store.history_after(one), await store.history_after(other)) == (8, 2)
        assert await store.workspace_events(one, 0, -1) == [event(9)]

    on(database.open, write)
    for _ in range(2):
        pruning.prune(database.location, PRUNED)
        on(database.open, read)
    on(database.open, go_on)
    pruning.prune(database.location, PRUNED)
    on(database.open, read_again)


# -- pages --------------------------------------------------------------------------------

Page = Callable[..., Awaitable[list[Any]]]


def deployment(number: int) -> NewDeployment:
    made = Deployment(deployment_id=DeploymentId.generate(), content_fingerprint=f"f{number}")
    return NewDeployment(made, ManifestContents(), {})


async def four_of_everything(store: Store, workspace: int) -> tuple[NewRun, list[Task]]:
    """Write four of all that is read by page; return the run that tasks, events and logs are of."""
    new, tasks = new_run(RunState.SUCCEEDED, tasks=4)
    run_id = new.run.run_id
    batch = batch_of(workspace, (new, tasks), new_run(), new_run(), new_run())
    batch.events += [(workspace, event(n, run_id)) for n in range(1, 5)]
    batch.materializations += [(workspace, n, made(n, n)) for n in range(1, 5)]
    batch.logs += [(run_id, log("T", f"line {n}")) for n in range(4)]
    batch.deployments += [(workspace, deployment(n)) for n in range(4)]
    await store.write(batch)
    return new, tasks


def test_a_page_has_as_much_as_was_asked_for(database: Database) -> None:
    async def test(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        new, tasks = await four_of_everything(store, workspace)
        run_id = new.run.run_id
        pages: list[Page] = [
            partial(store.runs, workspace, "~"),
            partial(store.runs, workspace, "~", states=tuple(RunState)),
            partial(store.tasks, run_id, 0),
            partial(store.events, run_id, 0),
            partial(store.workspace_events, workspace, 0),
            partial(store.deployments, workspace, "~"),
            partial(store.materializations, workspace, "A", before=LAST),
            partial(store.materializations, workspace, "A", before=LAST, latest_only=True),
            partial(store.logs, run_id, 0),
        ]
        for read in pages:
            everything = await read(limit=-1)
            assert len(everything) == 4, read
            for limit in range(6):
                assert await read(limit=limit) == everything[:limit], read
        for first, limit in ((0, 0), (2, 1), (3, 9), (4, 9)):
            found = await store.run_with_tasks(workspace, run_id, first, limit)
            assert found == (new.run, tasks[first : first + limit])

    on(database.open, test)


def test_after_the_last_and_of_what_is_unknown_there_is_nothing(database: Database) -> None:
    async def test(store: Store) -> None:
        workspace, other = await store.workspace("t", "w"), await store.workspace("t", "other")
        new, _ = await four_of_everything(store, workspace)
        run_id, states = new.run.run_id, tuple(RunState)
        pages: list[Page] = [
            partial(store.runs, workspace, ""),
            partial(store.runs, workspace, "", states=states),
            partial(store.runs, other, "~"),
            partial(store.runs, other, "~", states=states),
            partial(store.tasks, run_id, 4),
            partial(store.tasks, UNKNOWN, 0),
            partial(store.events, run_id, 4),
            partial(store.events, UNKNOWN, 0),
            partial(store.workspace_events, workspace, 4),
            partial(store.workspace_events, other, 0),
            partial(store.deployments, workspace, ""),
            partial(store.deployments, other, "~"),
            partial(store.materializations, workspace, "A", before=1),
            partial(store.materializations, workspace, "B", before=LAST),
            partial(store.materializations, other, "A", before=LAST),
            partial(store.materializations, workspace, "A", before=LAST, partition_key="?"),
            partial(store.logs, run_id, 4),
            partial(store.logs, UNKNOWN, 0),
        ]
        for read in pages:
            assert await read(limit=-1) == await read(limit=5) == [], read

    on(database.open, test)


def test_a_workspace_that_is_new_has_nothing(database: Database) -> None:
    async def test(store: Store) -> None:
        full, workspace = await store.workspace("t", "w"), await store.workspace("t", "new")
        batch = batch_of(full, new_run(tasks=1, run_key="nightly"))
        batch.events.append((full, event(1)))
        batch.pools.append((full, "warehouse", 1))
        batch.chunks.append((full, b"digest", b"data"))
        batch.materializations.append((full, 1, made(1, 1)))
        new = NewDeployment(deployment(1).deployment, ManifestContents(), {"raw.events": "A"})
        batch.deployments.append((full, new))
        await store.write(batch)
        assert await store.last_sequence(workspace) == 0
        assert await store.history_after(workspace) == 0
        assert await store.current_deployment_id(workspace) == ""
        assert await store.deployment(workspace, new.deployment.deployment_id) is None
        assert await store.deployment_by_content(workspace, "f1") is None
        assert await store.asset_ids(workspace) == {}
        assert await store.pools(workspace) == {}
        assert await store.active_runs(workspace) == []
        assert await store.run_by_key(workspace, "nightly") is None
        assert await store.run_by_key(workspace, "") is None
        assert await store.current_materializations(workspace, ["A"]) == {"A": {}}
        assert await store.count_current_materializations(workspace, "A") == 0
        assert await store.missing_chunks(workspace, [b"digest"]) == [b"digest"]
        assert await store.missing_chunks(workspace, []) == []
        assert await store.chunks(workspace, []) == []
        with pytest.raises(errors.NotFoundError):
            await store.chunks(workspace, [b"digest"])

    on(database.open, test)


def test_what_is_current_of_several_assets_is_read_at_once(database: Database) -> None:
    async def test(store: Store) -> None:
        workspace, other = await store.workspace("t", "w"), await store.workspace("t", "other")
        history = [made(1, 1), made(2, 1), made(3, 2), made(4, 1, "B")]
        batch = Batch(materializations=[(workspace, n, m) for n, m in enumerate(history, 1)])
        batch.materializations.append((other, 1, made(9, 1, "C")))
        await store.write(batch)
        found = await store.current_materializations(workspace, ["B", "C", "A"])
        assert {
            asset_id: {key: each.materialization_id for key, each in current.items()}
            for asset_id, current in found.items()
        } == {
            "A": {PartitionKey({"number": 1}): "M2", PartitionKey({"number": 2}): "M3"},
            "B": {PartitionKey({"number": 1}): "M4"},
            "C": {},
        }
        assert await store.current_materializations(workspace, []) == {}

    on(database.open, test)


# -- keys ---------------------------------------------------------------------------------


def key(name: str, age: timedelta) -> StoredKey:
    known = ApiKey(
        key_id=name,
        name="CI",
        tenant_id="t",
        workspace_id="*",
        role=Role.VIEWER,
        created_at=NOW - age,
    )
    return StoredKey(known, name.encode() * 32)


def test_keys_come_oldest_first_and_an_id_is_given_once(database: Database) -> None:
    young, old, twin = (key(*made) for made in (("b", NONE), ("c", DAY), ("a", NONE)))

    async def test(store: Store) -> None:
        assert await store.keys() == []
        for each in (young, old, twin):
            await store.put_key(each)
        with pytest.raises(errors.FilesystemError, match="nothing was recorded"):
            await store.put_key(key("b", DAY))
        await store.revoke_key("unknown", NOW)
        assert await store.keys() == [old, twin, young]

    on(database.open, test)
