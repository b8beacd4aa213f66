"""What both stores do alike: each test runs on a SQLite file and on a PostgreSQL server."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import facade_values
import store_kit
import strategies
from servo import errors
from servo.controlplane.store.batch import Batch, Metric, NewDeployment, NewRun
from servo.controlplane.store.batch_rows import digest_of
from servo.controlplane.store.store import Store
from servo.controlplane.store.stored import StoredKey
from servo.types import PartitionKey
from servo.types.access import ApiKey, Role
from servo.types.deployments import Deployment
from servo.types.events import Event
from servo.types.ids import DeploymentId, RunId
from servo.types.manifests import ManifestContents
from servo.types.plans import Plan
from servo.types.records import Materialization, Run, Task
from servo.types.requests import CreateRunRequest
from servo.types.runs import RunState, TaskState
from store_kit import LAST, NOW, Open, Test, batch_of, event, log, made, new_run, on

OnStore = Callable[[Test], None]


@pytest.fixture(params=[store_kit.sqlite, store_kit.postgres], ids=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Return what opens the database of this test; every time the same one."""
    with request.param(tmp_path) as database:
        yield database.open


def test_a_store_keeps_its_id_and_its_workspaces_when_it_is_opened_again(opened: Open) -> None:
    seen: list[Any] = []

    async def look(store: Store) -> None:
        first = await store.workspace("acme", "sales")
        assert await store.workspace("acme", "sales") == first
        assert await store.workspace("acme", "ops") != first
        seen.append((store.store_id, await store.workspaces()))

    on(opened, look)
    on(opened, look)
    assert seen[0] == seen[1]
    assert [row[1:] for row in seen[0][1]] == [("acme", "sales"), ("acme", "ops")]


def test_a_batch_is_written_as_a_whole_or_not_at_all(opened: Open) -> None:
    async def test(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        await store.write(Batch(events=[(workspace, event(1))]))
        twice = Batch(events=[(workspace, event(2)), (workspace, event(1))])
        with pytest.raises(errors.FilesystemError, match="nothing was recorded"):
            await store.write(twice)
        assert await store.last_sequence(workspace) == 1
        await store.write(Batch(events=[(workspace, event(2))]))
        assert await store.last_sequence(workspace) == 2

    on(opened, test)


def test_events_are_read_by_run_and_by_workspace_from_a_number_on(opened: Open) -> None:
    async def test(store: Store) -> None:
        one, other = await store.workspace("t", "one"), await store.workspace("t", "other")
        events = [event(n, "R1" if n % 2 else "") for n in range(1, 10)]
        await store.write(
            Batch(events=[*((one, each) for each in events), (other, event(1, "R2"))])
        )
        assert await store.workspace_events(one, 0, -1) == events
        assert await store.workspace_events(one, 3, 2) == events[3:5]
        assert await store.workspace_events(one, 9, 5) == []
        assert await store.workspace_events(other, 0, -1) == [event(1, "R2")]
        assert await store.events("R1", 1, 2) == [events[2], events[4]]

    on(opened, test)


def test_a_run_is_read_back_with_what_it_was_made_from(opened: Open) -> None:
    async def test(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        active, tasks = new_run(tasks=5)
        ended, _ = new_run(RunState.SUCCEEDED)
        await store.write(batch_of(workspace, (active, tasks), (ended, [])))
        (stored,) = await store.active_runs(workspace)
        assert (stored.run, stored.request, stored.plan) == (
            active.run,
            active.request,
            active.plan,
        )
        assert stored.tasks == tasks
        assert stored.tokens == [7] * 5
        run_id = active.run.run_id
        assert await store.run_with_tasks(workspace, run_id, 1, 2) == (active.run, tasks[1:3])
        assert await store.tasks(run_id, 0, -1) == tasks
        assert await store.run(workspace + 1, run_id) is None
        assert await store.run_with_tasks(workspace + 1, run_id, 0, 9) == (None, [])

    on(opened, test)


def test_the_last_state_of_a_run_and_a_task_wins(opened: Open) -> None:
    async def test(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        new, (task,) = new_run(tasks=1)
        await store.write(batch_of(workspace, (new, [task])))
        run_id = new.run.run_id
        done = replace(task, state=TaskState.SUCCEEDED)
        over = replace(new.run, state=RunState.SUCCEEDED, last_sequence=9)
        batch = Batch(tasks={(run_id, 0): (done, 8)}, runs={run_id: lambda: over})
        batch.settle()
        await store.write(batch)
        assert await store.run_with_tasks(workspace, run_id, 0, 1) == (over, [done])
        assert await store.active_runs(workspace) == []

    on(opened, test)


def test_runs_are_listed_newest_first_by_page_and_by_state(opened: Open) -> None:
    async def test(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        states = [RunState.SUCCEEDED, RunState.FAILED, RunState.RUNNING] * 4
        runs = [new_run(state) for state in states]
        await store.write(batch_of(workspace, *runs))
        newest = sorted((new.run for new, _ in runs), key=lambda run: run.run_id, reverse=True)
        assert await store.runs(workspace, "~", -1) == newest
        assert await store.runs(workspace, newest[2].run_id, 4) == newest[3:7]
        wanted = (RunState.FAILED, RunState.RUNNING, RunState.FAILED)
        matching = [run for run in newest if run.state in wanted]
        assert await store.runs(workspace, "~", 3, wanted) == matching[:3]
        assert await store.runs(workspace, matching[2].run_id, 99, wanted) == matching[3:]
        assert await store.runs(workspace, "~", 9, [RunState.CANCELLED]) == []

    on(opened, test)


def test_a_run_key_names_one_run_in_each_workspace(opened: Open) -> None:
    async def test(store: Store) -> None:
        one, other = await store.workspace("t", "one"), await store.workspace("t", "other")
        nightly, elsewhere = new_run(run_key="nightly"), new_run(run_key="nightly")
        await store.write(batch_of(one, nightly, new_run(), new_run()))
        await store.write(batch_of(other, elsewhere))
        assert await store.run_by_key(one, "nightly") == nightly[0].run
        assert await store.run_by_key(other, "nightly") == elsewhere[0].run
        assert await store.run_by_key(one, "weekly") is None
        with pytest.raises(errors.FilesystemError):
            await store.write(batch_of(one, new_run(run_key="nightly")))

    on(opened, test)


def test_the_newest_materialisation_of_each_partition_is_current(opened: Open) -> None:
    async def test(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        history = [(1, made(1, 1)), (2, made(2, 2)), (3, made(3, 1)), (4, made(4, 1, "B"))]
        # Twice in one batch, and again in a later one.
        await store.write(Batch(materializations=[(workspace, *entry) for entry in history[:3]]))
        await store.write(Batch(materializations=[(workspace, *history[3])]))
        of_asset = partial(store.materializations, workspace, "A", limit=-1)
        assert await of_asset(before=LAST) == [history[2], history[1], history[0]]
        assert await of_asset(before=3) == [history[1], history[0]]
        assert await of_asset(before=LAST, latest_only=True) == [history[2], history[1]]
        first = PartitionKey({"number": 1}).to_canonical()
        assert await of_asset(before=LAST, partition_key=first) == [history[2], history[0]]
        assert await of_asset(before=LAST, partition_key=first, latest_only=True) == [history[2]]
        current = (await store.current_materializations(workspace, ["A"]))["A"]
        assert {key: each.materialization_id for key, each in current.items()} == {
            PartitionKey({"number": 1}): "M3",
            PartitionKey({"number": 2}): "M2",
        }
        assert all(each.has_data is True for each in current.values())
        assert await store.count_current_materializations(workspace, "A") == 2
        assert await store.count_current_materializations(workspace, "B") == 1
        assert await store.count_current_materializations(workspace, "C") == 0

    on(opened, test)


def test_pools_are_given_a_size_another_one_and_none(opened: Open) -> None:
    async def test(store: Store) -> None:
        one, other = await store.workspace("t", "one"), await store.workspace("t", "other")
        await store.write(Batch(pools=[(one, "warehouse", 4), (one, "api", 1), (other, "api", 9)]))
        assert await store.pools(one) == {"warehouse": 4, "api": 1}
        await store.write(Batch(pools=[(one, "warehouse", 0), (one, "api", None)]))
        assert await store.pools(one) == {"warehouse": 0}
        await store.write(Batch(pools=[(one, "api", 2), (one, "api", None), (one, "api", 3)]))
        assert await store.pools(one) == {"warehouse": 0, "api": 3}
        assert await store.pools(other) == {"api": 9}

    on(opened, test)


def test_a_deployment_is_found_by_id_and_content_and_the_last_one_is_current(opened: Open) -> None:
    async def test(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        assert await store.current_deployment_id(workspace) == ""
        deployments = [
            Deployment(deployment_id=DeploymentId.generate(), content_fingerprint=f"f{number}")
            for number in range(4)
        ]
        for number, each in enumerate(deployments):
            new = NewDeployment(
                each, ManifestContents(), {"raw.events": "A", f"raw.n{number}": "B"}
            )
            await store.write(Batch(deployments=[(workspace, new)]))
        again = NewDeployment(deployments[0], None, {})
        await store.write(Batch(deployments=[(workspace, again)]))
        first = deployments[0]
        assert await store.current_deployment_id(workspace) == first.deployment_id
        assert await store.deployment(workspace, first.deployment_id) == first
        assert await store.deployment_by_content(workspace, "f2") == deployments[2]
        assert await store.deployment_by_content(workspace + 1, "f2") is None
        newest = deployments[::-1]
        assert await store.deployments(workspace, "~", 2) == newest[:2]
        assert await store.deployments(workspace, newest[1].deployment_id, -1) == newest[2:]
        # An id moves with its asset to another key.
        assert await store.asset_ids(workspace) == {"raw.events": "A", "raw.n3": "B"}

    on(opened, test)


def test_chunks_come_back_as_they_were_and_missing_ones_are_named(opened: Open) -> None:
    async def test(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        chunks = [b"", b"\x00\xff" * 3, b"abc"]
        digests = [digest_of(chunk) for chunk in chunks]
        rows = [(workspace, *pair) for pair in zip(digests[:2], chunks[:2], strict=True)]
        await store.write(Batch(chunks=rows))
        await store.write(Batch(chunks=rows))
        assert await store.chunks(workspace, digests[1::-1]) == chunks[1::-1]
        assert await store.missing_chunks(workspace, digests) == digests[2:]
        with pytest.raises(errors.NotFoundError, match=digests[2].hex()):
            await store.chunks(workspace, digests)

    on(opened, test)


def test_the_lines_of_a_log_have_numbers_of_their_own_in_each_run(opened: Open) -> None:
    async def test(store: Store) -> None:
        lines = [log("T", f"line {number}\0") for number in range(4)]
        await store.write(Batch(logs=[("R1", lines[0]), ("R2", lines[1]), ("R1", lines[2])]))
        await store.write(Batch(logs=[("R1", lines[3])]))
        assert await store.logs("R1", 0, -1) == [(1, lines[0]), (2, lines[2]), (3, lines[3])]
        assert await store.logs("R1", 1, 1) == [(2, lines[2])]
        assert await store.logs("R2", 0, 9) == [(1, lines[1])]
        assert await store.logs_before("R1", 9, 2) == [(3, lines[3]), (2, lines[2])]
        assert await store.logs_before("R1", 2, 9) == [(1, lines[0])]
        assert await store.logs_before("R2", 1, 9) == []

    on(opened, test)


def test_a_key_is_stored_and_revoked_once(opened: Open) -> None:
    async def test(store: Store) -> None:
        key = ApiKey(
            key_id="k",
            name="CI",
            tenant_id="t",
            workspace_id="*",
            role=Role.DEPLOYER,
            created_at=NOW,
            expires_at=NOW + timedelta(microseconds=1),
        )
        await store.put_key(StoredKey(key, bytes(range(32))))
        assert await store.keys() == [StoredKey(key, bytes(range(32)))]
        await store.revoke_key("k", NOW)
        await store.revoke_key("k", NOW + timedelta(days=1))
        (stored,) = await store.keys()
        assert stored.key == dataclasses.replace(key, revoked_at=NOW)

    on(opened, test)


def test_what_a_worker_or_a_user_makes_up_stops_nobody_else(opened: Open) -> None:
    """Text with NUL, numbers that are none: what is written beside it is written."""

    async def test(store: Store) -> None:
        workspace = await store.workspace("t", "w")
        odd = replace(made(1, 1), path="a\0b", materialization_id="\0")
        run = new_run(run_key="\0'; DROP TABLE runs; --")
        batch = batch_of(workspace, run)
        batch.materializations.append((workspace, 1, odd))
        batch.events.append((workspace, event(1)))
        batch.metrics += [
            Metric(run_id="R", task_id="T", attempt=1, name="\0", value=value, reported_at=0)
            for value in (float("nan"), float("inf"), -0.0)
        ]
        batch.pools.append((workspace, "\0", 1))
        await store.write(batch)
        assert await store.last_sequence(workspace) == 1
        assert await store.run_by_key(workspace, run[0].run.run_key) == run[0].run
        assert await store.materializations(workspace, "A", before=9, limit=9) == [(1, odd)]

    on(opened, test)


@contextmanager
def held_open(open_store: Open) -> Iterator[OnStore]:
    """Open a store for many tests; return what runs one on it."""
    with asyncio.Runner() as runner:

        async def opened() -> Store:
            return open_store()

        store = runner.run(opened())
        try:
            yield lambda test: runner.run(_finish(test, store))
        finally:
            store.close()


async def _finish(test: Test, store: Store) -> None:
    await test(store)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OnStore]]:
    """Return what runs a test on a store of each kind; the examples of a property share them."""
    with (
        store_kit.sqlite(tmp_path_factory.mktemp("store")) as sqlite,
        store_kit.postgres(tmp_path_factory.mktemp("none")) as postgres,
        held_open(sqlite.open) as on_sqlite,
        held_open(postgres.open) as on_postgres,
    ):
        yield [on_sqlite, on_postgres]


@dataclass(frozen=True)
class Written:
    """What one example writes."""

    runs: list[Run]
    tasks: list[Task]
    events: list[Event]
    made: list[Materialization]


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # values this large shrink for minutes
)
@given(
    written=st.builds(
        Written,
        runs=st.lists(facade_values.of(Run), max_size=3),
        tasks=st.lists(facade_values.of(Task), max_size=3),
        events=st.lists(facade_values.of(Event), max_size=4),
        made=st.lists(facade_values.of(Materialization), max_size=4),
    ),
    asset_id=strategies.texts(max_size=5),
)
def test_whatever_the_contract_can_say_both_stores_give_back(
    both: list[OnStore], written: Written, asset_id: str
) -> None:
    tasks = written.tasks
    runs = [replace(run, run_id=RunId.generate(), tasks=(), run_key="") for run in written.runs]
    events = [replace(each, sequence=n) for n, each in enumerate(written.events, 1)]
    made = [replace(each, asset_id=asset_id) for each in written.made]
    name = str(RunId.generate())

    async def test(store: Store) -> None:
        workspace = await store.workspace("t", name)
        batch = Batch(events=[(workspace, each) for each in events])
        for run in runs:
            batch.new_runs.append((workspace, NewRun(run, CreateRunRequest(selection=()), Plan())))
            for index, task in enumerate(tasks):
                batch.tasks[run.run_id, index] = (task, index)
        batch.materializations += [(workspace, n, each) for n, each in enumerate(made, 1)]
        await store.write(batch)
        newest = sorted(runs, key=lambda run: run.run_id, reverse=True)
        assert await store.runs(workspace, "~", -1) == newest
        assert await store.runs(workspace, "~", -1, tuple(RunState)) == newest
        for run in runs:
            assert await store.run_with_tasks(workspace, run.run_id, 0, -1) == (run, tasks)
        assert await store.workspace_events(workspace, 0, -1) == events
        found = await store.materializations(workspace, asset_id, before=LAST, limit=-1)
        assert found == [(n, each) for n, each in enumerate(made, 1)][::-1]
        current = (await store.current_materializations(workspace, [asset_id]))[asset_id]
        assert set(current) == {each.partition_key for each in made}
        assert await store.count_current_materializations(workspace, asset_id) == len(current)

    for run_on_store in both:
        run_on_store(test)
