"""Databases that other versions of Servo made: migrated with their data, or refused."""

from __future__ import annotations

import asyncio
import functools
import gzip
import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

import postgres_kit
from plane_kit import KEY, ScriptedWorker, at_work, plane
from servo import errors
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.controlplane.store import postgres_connection
from servo.controlplane.store.migrate import applied, known, migrate, pending
from servo.controlplane.store.postgres import PostgresStore
from servo.controlplane.store.sqlite import SqliteStore
from servo.types.access import Role
from servo.types.ids import WorkerId
from servo.types.runs import RunState, TaskState

SCHEMAS = Path(__file__).parent / "schemas"
URL = "postgresql://"
NEWEST_FILE = list(known(Path()))[-1]
NEWEST_SERVER = list(known(URL))[-1]


def unpacked(name: str, folder: Path) -> Path:
    """Return a database of an older schema, ready to be opened."""
    path = folder / "servo.db"
    path.write_bytes(gzip.decompress((SCHEMAS / f"{name}.sqlite.gz").read_bytes()))
    return path


def test_a_database_of_every_schema_that_was_released_is_kept() -> None:
    """The newest one is added when it has been released and the next migration comes."""
    kept = [path.name.removesuffix(".sqlite.gz") for path in sorted(SCHEMAS.glob("*.sqlite.gz"))]
    numbers = [name.partition(".")[0] for name in known(Path())]
    assert kept == numbers[: len(kept)]
    assert len(kept) >= 2


@pytest.mark.parametrize("schema", ["0001", "0002"])
def test_an_old_file_is_migrated_with_its_data(tmp_path: Path, schema: str) -> None:
    path = unpacked(schema, tmp_path)
    before = _contents(path)

    async def look() -> None:
        store = SqliteStore(path)
        ((workspace, tenant, name),) = await store.workspaces()
        assert (tenant, name) == ("default", "default")
        active, ended = await store.runs(workspace, "~", -1)
        assert (ended.state, active.state) == (RunState.SUCCEEDED, RunState.RUNNING)
        events = await store.workspace_events(workspace, 0, -1)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert len(events) == before["events"]
        ids = await store.asset_ids(workspace)
        counts = [
            await store.count_current_materializations(workspace, one) for one in ids.values()
        ]
        assert sorted(counts) == [0, 2, 2]
        ((cursor, batch),) = await store.logs(active.run_id, 0, -1)
        assert (cursor, batch.lines[0].text) == (1, "half-way")
        assert [run.run_id for run in await store.runs(workspace, "~", 9, [RunState.RUNNING])] == [
            active.run_id
        ]
        assert [key.key.role for key in await store.keys()] == (
            [] if schema == "0001" else [Role.VIEWER, Role.WORKER]
        )
        store.close()

    asyncio.run(look())
    after = _contents(path)
    assert {table: after[table] for table in before} == before
    assert pending(path) == []


def _contents(path: Path) -> dict[str, int]:
    names = "name NOT LIKE 'sqlite%' AND name NOT LIKE '%yoyo%' AND name <> 'store_info'"
    with sqlite3.connect(path) as db:
        tables = db.execute(f"SELECT name FROM sqlite_master WHERE type = 'table' AND {names}")
        return {
            name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for (name,) in tables.fetchall()
        }


@pytest.mark.parametrize("schema", ["0001", "0002"])
def test_what_an_old_file_had_under_way_goes_on(tmp_path: Path, schema: str) -> None:
    unpacked(schema, tmp_path)

    async def body() -> None:
        async with plane(tmp_path, lease=0.5) as (served, caller):
            assert served.active_runs == 1
            # Its worker is gone, so the attempt is given to another one when the lease ends.
            async with at_work(ScriptedWorker(caller, worker_id=WorkerId.generate())):
                again = await caller.create_run("mart.report", run_key="nightly")
                assert not again.created
                events = await caller.watch(again.run.run_id)
            sequences = [event.sequence for event in events]
            assert sequences == sorted(set(sequences))
            run = await caller.get_run(again.run.run_id)
            assert run.state is RunState.SUCCEEDED
            assert [task.state for task in run.tasks] == [TaskState.SUCCEEDED]

    asyncio.run(asyncio.wait_for(body(), 60))


def test_a_migration_that_was_killed_is_repeated(tmp_path: Path) -> None:
    path = unpacked("0001", tmp_path)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, '2026-01-01', 4242)")
    assert migrate(path) == list(known(path))[1:]


@pytest.mark.parametrize("last", list(known(URL)))
def test_a_server_s_database_of_every_schema_is_migrated_when_asked(last: str) -> None:
    with postgres_kit.database(up_to=last) as url:
        with psycopg.connect(url) as db:
            db.execute("INSERT INTO workspaces (tenant_id, workspace_id) VALUES ('t', 'w')")
            db.execute("INSERT INTO pools (workspace, name, slots) VALUES (1, 'warehouse', 4)")
            db.execute(
                "INSERT INTO current_materializations (workspace, asset_id, partition_key,"
                " sequence, materialization_id, has_data, path)"
                " VALUES (1, 'A', '{}', 1, 'M', true, '')"
            )
        lacks = [name for name in known(url) if name > last]
        assert pending(url) == lacks
        if lacks:
            with pytest.raises(errors.ConfigurationError, match="servo db migrate"):
                PostgresStore(url, 0)
        assert migrate(url) == lacks
        assert applied(url) == list(known(url))

        async def look() -> None:
            store = PostgresStore(url, 0)
            assert await store.workspaces() == [(1, "t", "w")]
            assert await store.pools(1) == {"warehouse": 4}
            assert await store.count_current_materializations(1, "A") == 1
            store.close()

        asyncio.run(look())


def test_a_server_s_database_without_a_schema_says_what_to_run() -> None:
    with postgres_kit.empty_database() as url:
        config = ControlPlaneConfig(database=url, api_key=KEY)
        with pytest.raises(errors.ConfigurationError, match="`servo db migrate`") as refused:
            asyncio.run(ControlPlane(config).start())
        assert refused.value.code == "DATABASE_TOO_OLD"
        assert applied(url) == []
        assert migrate(url) == list(known(url))


def _newer_file(path: Path) -> Callable[[], object]:
    SqliteStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute(
            "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('f', '9999.next')"
        )
    return lambda: SqliteStore(path)


def _newer_server(url: str) -> Callable[[], object]:
    with psycopg.connect(url) as db:
        db.execute(
            "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('f', '9999.next')"
        )
    return lambda: PostgresStore(url, 0)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "servo.db"
    with postgres_kit.database() as url:
        for database, open_store in (
            (path, _newer_file(path)),
            (url, _newer_server(url)),
        ):
            for use in (open_store, functools.partial(migrate, database)):
                with pytest.raises(errors.ConfigurationError, match="upgrade Servo") as refused:
                    use()
                assert refused.value.code == "DATABASE_TOO_NEW"
            assert applied(database)[-1] == "9999.next"


def test_nobody_migrates_while_a_control_plane_is_at_work() -> None:
    with postgres_kit.empty_database() as url, postgres_connection.connect(url) as holder:
        assert postgres_connection.take_lead(holder)
        with pytest.raises(errors.ConfigurationError, match="stop every control plane") as refused:
            migrate(url)
        assert refused.value.code == "DATABASE_IN_USE"
        assert applied(url) == []
