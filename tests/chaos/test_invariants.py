"""The checks that every fault test ends with find what they are there to find."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from msgspec.structs import replace

from chaos import invariants
from plane_kit import ScriptedWorker, asset, at_work, plane, succeed
from servo import _wire
from servo.controlplane.transitions import InvalidTransitionError
from servo.io.publish import Publisher
from servo.types import IoConfig
from servo.types.events import Event, RunStateChanged, TaskStateChanged
from servo.types.records import Run, Task
from servo.types.runs import RunState, TaskState
from servo.types.sessions import AttemptSucceeded, TaskDispatch

Database = sqlite3.Connection
Damage = Callable[[Database, Path], object]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database and tables in which nothing is wrong."""
    folder = tmp_path_factory.mktemp("sound")

    def publish(dispatch: TaskDispatch) -> AttemptSucceeded:
        made = succeed(dispatch).materialization
        path = folder / "data" / made.path
        publisher = Publisher(path, store_id="s", token=dispatch.lease.token)
        publisher.stage(pa.table({"n": [1]}), IoConfig())
        publisher.publish()
        return AttemptSucceeded(materialization=made)

    async def story() -> None:
        async with plane(folder) as (_, caller):
            await caller.deploy([asset("raw.a"), asset("raw.b", "raw.a")])
            async with at_work(ScriptedWorker(caller, publish)):
                for key in ("one", "two"):
                    run = (await caller.create_run("*", run_key=key)).run
                    await caller.watch(run.run_id)

    asyncio.run(story())
    return folder


def check(folder: Path, *accepted: str) -> invariants.Tally:
    return invariants.check(folder / "servo.db", folder / "data", accepted=accepted)


def test_nothing_is_found_where_nothing_is_wrong(sound: Path) -> None:
    tally = check(sound)
    assert tally.runs == {RunState.SUCCEEDED: 2}
    assert tally.tasks == {TaskState.SUCCEEDED: 4}
    assert (tally.attempts, tally.tables, tally.overtaken) == (4, 2, 0)


def test_a_run_that_was_accepted_and_is_not_there_is_found(sound: Path) -> None:
    with pytest.raises(AssertionError, match="was accepted and is lost"):
        check(sound, "01M7YQVC4A84M99J7WZ65JB8MF")


def remove_an_event(database: Database, _: Path) -> None:
    database.execute("DELETE FROM events WHERE sequence = 4")


def change_the_row_of_a_run(database: Database, _: Path) -> None:
    rewrite(database, "runs", Run, lambda run: replace(run, state=RunState.FAILED))


def leave_a_run_unfinished(database: Database, _: Path) -> None:
    last = history(database)[-1]
    rewrite(database, "runs", Run, lambda run: replace(run, state=RunState.RUNNING), last.run_id)
    forget(database, last)
    running = {"finished_at": None, "last_sequence": last.sequence - 1}
    rewrite(database, "runs", Run, lambda run: replace(run, **running), last.run_id)


def forget_a_task(database: Database, _: Path) -> None:
    rewrite(database, "tasks", Task, lambda task: replace(task, state=TaskState.RUNNING))


def complete_a_task_twice(database: Database, _: Path) -> None:
    events = history(database)
    done = next(one for one in events if state_of(one) is TaskState.SUCCEEDED)
    insert_after(database, done, done.payload)


def go_on_after_the_end(database: Database, _: Path) -> None:
    events = history(database)
    insert_after(database, events[-1], RunStateChanged(state=RunState.FAILED))


def start_before_the_upstream(database: Database, _: Path) -> None:
    events = history(database)
    given = next(
        one
        for one in events
        if isinstance(one.payload, TaskStateChanged)
        and one.payload.state is TaskState.DISPATCHED
        and one.payload.index == 0
    )
    assert isinstance(given.payload, TaskStateChanged)
    other = replace(given.payload, index=1)
    insert_after(database, given, other)
    insert_after(database, given, TaskStateChanged(index=1, state=TaskState.READY))


def lose_a_materialization(database: Database, _: Path) -> None:
    database.execute("DELETE FROM materializations WHERE sequence = (SELECT max(sequence)"
                     " FROM materializations)")  # fmt: skip


def keep_an_old_materialization_current(database: Database, _: Path) -> None:
    database.execute("UPDATE current_materializations SET sequence = sequence - 1")


def create_two_runs_under_one_key(database: Database, _: Path) -> None:
    rewrite(database, "runs", Run, lambda run: replace(run, run_key="one"))


def cut_a_table_off(_: Database, data: Path) -> None:
    table = data / "raw/a/data.parquet"
    table.write_bytes(table.read_bytes()[:-20])


def remove_a_table(_: Database, data: Path) -> None:
    (data / "raw/a/data.parquet").unlink()


def leave_a_staged_file(_: Database, data: Path) -> None:
    (data / "raw/a/.staging-9-x.parquet").touch()


def publish(data: Path, token: int, rows: int) -> None:
    table = data / "raw/a/data.parquet"
    table.unlink()
    publisher = Publisher(table, store_id="s", token=token)
    publisher.stage(pa.table({"n": list(range(rows))}), IoConfig())
    publisher.publish()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove_an_event, "the history has gaps"),
        (change_the_row_of_a_run, "and what is stored is"),
        (leave_a_run_unfinished, "is stuck"),
        (forget_a_task, "gives other tasks than are stored"),
        (complete_a_task_twice, "cannot go from succeeded to succeeded"),
        (go_on_after_the_end, "went on after its end"),
        (start_before_the_upstream, "was given out while its upstream"),
        (lose_a_materialization, "are not those that the history tells of"),
        (keep_an_old_materialization_current, "is not what was made last"),
        (create_two_runs_under_one_key, "run keys that made several runs"),
        (cut_a_table_off, "magic bytes not found in footer"),
        (remove_a_table, "does not exist"),
        (leave_a_staged_file, "staged files were left behind"),
        (lambda _, data: publish(data, 10_000, rows=1), "was published by a lease 10000 of nobody"),
        (lambda database, data: publish(data, tokens(database)[0], rows=1), "was recorded as done"),
        (lambda database, data: publish(data, tokens(database)[-1], rows=3), "has 3 rows"),
    ],
)
def test_damage_is_found(sound: Path, tmp_path: Path, damage: Damage, said: str) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(sound, folder)
    with closing(sqlite3.connect(folder / "servo.db", isolation_level=None)) as database:
        damage(database, folder / "data")
    with pytest.raises((AssertionError, InvalidTransitionError, pa.ArrowException), match=said):
        check(folder)


# -- damaging -------------------------------------------------------------------------------------


def history(database: Database) -> list[Event]:
    rows = database.execute("SELECT record FROM events ORDER BY sequence")
    return [_wire.decode(Event, row[0]) for row in rows]


def tokens(database: Database) -> list[int]:
    """Return the tokens of the leases for the first asset, oldest first."""
    return [
        event.sequence
        for event in history(database)
        if isinstance(event.payload, TaskStateChanged)
        and (event.payload.state, event.payload.index) == (TaskState.DISPATCHED, 0)
    ]


def state_of(event: Event) -> TaskState | None:
    return event.payload.state if isinstance(event.payload, TaskStateChanged) else None


def forget(database: Database, event: Event) -> None:
    database.execute("DELETE FROM events WHERE sequence = ?", (event.sequence,))


def insert_after(database: Database, event: Event, payload: Any) -> None:
    """Make room for an event after another one of the same run."""
    later = [one for one in history(database) if one.sequence > event.sequence]
    for one in reversed(later):
        forget(database, one)
        add(database, replace(one, sequence=one.sequence + 1))
    add(database, replace(event, sequence=event.sequence + 1, payload=payload,
                          occurred_at=datetime.now(UTC)))  # fmt: skip


def add(database: Database, event: Event) -> None:
    (workspace,) = database.execute("SELECT workspace FROM workspaces").fetchone()
    database.execute(
        "INSERT INTO events (workspace, sequence, run_id, record) VALUES (?, ?, ?, ?)",
        (workspace, event.sequence, event.run_id, _wire.encode(event)),
    )


def rewrite(
    database: Database, table: str, kind: type, change: Callable[[Any], Any], run_id: str = ""
) -> None:
    """Change the records of a table."""
    where = "run_id = ?" if run_id else "'' = ?"
    key = "task_index" if table == "tasks" else "''"
    rows = database.execute(
        f"SELECT run_id, {key}, record FROM {table} WHERE {where}", (run_id,)
    ).fetchall()
    for owner, index, record in rows:
        changed = _wire.encode(change(_wire.decode(kind, record)))
        database.execute(
            f"UPDATE {table} SET record = ? WHERE run_id = ? AND {key} = ?", (changed, owner, index)
        )
