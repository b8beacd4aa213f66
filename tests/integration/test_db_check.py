"""Everything that can be wrong with a database is named, with what to do about it."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import postgres_kit
from database_kit import Past
from messages import MESSAGES
from servo import _wire, errors
from servo.controlplane.store import checking, migrate, pruning, seals
from servo.controlplane.store.findings import MOST, Findings
from servo.controlplane.store.pruning import Wanted
from servo.controlplane.store.seals import sealed
from servo.types.records import Materialization, Run, Task


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with runs that succeeded, failed and go on, twice deployed, pruned once."""
    path = tmp_path_factory.mktemp("sound") / "servo.db"
    past = Past(path)
    past.deploy()
    past.run("*")
    before = past.moments()[-1]
    past.run("raw.*", badly=0.5, seed=1)
    past.deploy(1)
    past.run("*")
    past.rerun(past.run("mart.*", badly=0.4, seed=2))
    past.run("*", rounds=1)
    past.close()
    pruning.prune(path, Wanted(runs_before=before))
    return path


@pytest.fixture
def database(sound: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it."""
    path = tmp_path / "servo.db"
    shutil.copyfile(sound, path)
    return path


def damage(path: Path, *statements: str) -> Findings:
    """Change a database behind its back, and look at it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)
    return checking.check(path)


def said(found: Findings) -> list[str]:
    assert found.problems
    assert all(one.remedy for one in found.problems)
    return [f"{one.name}: {one.subject}: {one.message}" for one in found.problems]


def test_a_sound_database_is_said_to_be_sound_and_stays_as_it_is(database: Path) -> None:
    before = database.read_bytes()
    found = checking.check(database)
    assert found.is_sound
    assert found.seen["runs"] == 6
    assert found.seen["events"] > 100
    assert database.read_bytes() == before


WRONG = {
    "DELETE FROM events WHERE sequence = (SELECT max(sequence) - 20 FROM events)": "has no event",
    "DELETE FROM events WHERE sequence = (SELECT min(sequence) FROM events)": "begins with event",
    "DELETE FROM events WHERE sequence = (SELECT max(sequence) FROM events)": "ends with event",
    "UPDATE workspaces SET history_after = history_after - 1": "begins with event",
    "UPDATE events SET record = x'ff' WHERE run_id = ''": "is damaged",
    "UPDATE events SET record = x'ff' WHERE sequence = (SELECT max(sequence) FROM events)": (
        "is damaged"
    ),
    "UPDATE runs SET state = 'failed' WHERE state = 'succeeded'": "its record is damaged",
    "UPDATE runs SET record = x'00' WHERE state = 'failed'": "its record is damaged",
    "UPDATE tasks SET record = x'00' WHERE task_index = 3": "its record is damaged",
    "DELETE FROM tasks WHERE task_index = 0": "is missing",
    "DELETE FROM tasks WHERE task_index = 8": "tasks, and 9 in its plan",
    "UPDATE tasks SET token = token + 1 WHERE task_index = 0": "it was last given out under",
    "DELETE FROM run_plans": "its plan is missing",
    "UPDATE run_plans SET plan = x'ff'": "its plan is damaged",
    "DELETE FROM deployments": "is missing",
    "UPDATE deployments SET record = x'ff'": "its record is damaged",
    "DELETE FROM chunks": "is missing",
    "UPDATE chunks SET data = x'00'": "its contents are not what was uploaded",
    "UPDATE materializations SET record = x'00'": "is not what the task made",
    "UPDATE materializations SET sequence = sequence + 1000": "was made by event",
    "UPDATE current_materializations SET path = 'elsewhere'": "is not what was made last of it",
    "DELETE FROM current_materializations": "nothing of it is current",
    "UPDATE current_materializations SET sequence = 1": "is taken for the newest",
    "UPDATE partition_counts SET partitions = 7": "and 7 are noted",
    "UPDATE run_plans SET request = x'0a0161'": "its plan is damaged",
    "UPDATE deployments SET header = x'0a0161'": "its header is damaged",
    "UPDATE log_batches SET record = substr(record, 2)": "its record is damaged",
    "UPDATE log_batches SET task_id = 'other'": "its record is damaged",
    "UPDATE _yoyo_migration SET migration_hash = migration_id": "this migration is damaged",
    "UPDATE store_info SET value = 'no id' WHERE name = 'store_id'": "has the value 'no id'",
    "UPDATE store_info SET name = 'other' WHERE name = 'store_id'": "is missing",
    "UPDATE asset_ids SET asset_id = 'other'": "its id or its key is damaged",
    "UPDATE asset_ids SET asset_id = '01ARZ3NDEKTSV4RRFFQ69G5FAV'": "has the id",
    "DROP INDEX runs_by_state": "runs_by_state: is missing",
    "INSERT INTO log_batches VALUES ('R', 1, 'T', '')": "there is no such run, but 1 log batches",
    "INSERT INTO metrics VALUES ('R', 'T', 1, 'rows', 1.0, 0)": "no such run, but 1 metrics",
    "INSERT INTO forgotten_runs VALUES ('R', 1, 1)": "is noted as forgotten",
}


@pytest.mark.parametrize("statement", WRONG)
def test_what_is_wrong_is_named(database: Path, statement: str) -> None:
    assert any(WRONG[statement] in one for one in said(damage(database, statement)))


def test_a_run_that_is_gone_is_missed_by_all_that_belongs_to_it(database: Path) -> None:
    found = said(
        damage(
            database,
            "DELETE FROM runs WHERE run_id = (SELECT min(run_id) FROM runs WHERE run_id IN "
            "(SELECT run_id FROM events))",
        )
    )
    for what in (
        "reference: tasks",
        "reference: run_plans",
        "tasks of it",
        "plans of it",
        "log batches of it",
        "metrics of it",
        "but events of it from",
        "materialization:",
    ):
        assert any(what in one for one in found), what


def test_a_materialisation_that_is_stored_twice_is_named(database: Path) -> None:
    found = damage(
        database,
        "CREATE TEMP TABLE one AS SELECT * FROM materializations LIMIT 1",
        "UPDATE one SET sequence = sequence + 1",
        "INSERT INTO materializations SELECT * FROM one",
    )
    assert any("is stored again under event" in one for one in said(found))


def test_a_materialisation_that_its_task_does_not_know_is_named(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        asset_id, record = db.execute(
            "SELECT asset_id, record FROM materializations LIMIT 1"
        ).fetchone()
        other = replace(_wire.decode(Materialization, record), materialization_id="M")
        key = other.partition_key.to_canonical()
        db.execute(
            "INSERT INTO materializations VALUES (1, ?, ?, 1, 'M', ?)",
            [asset_id, key, _wire.encode(other)],
        )
        other = replace(other, run_id="R", materialization_id="N")
        db.execute(
            "INSERT INTO materializations VALUES (1, ?, ?, 2, 'N', ?)",
            [asset_id, key, _wire.encode(other)],
        )
        db.commit()
    assert said(checking.check(database)) == [
        f"materialization: M: its task {other.task_id} does not know of it",
        "materialization: N: its run R is missing",
    ]


def test_a_run_or_a_task_that_its_events_do_not_make_is_named(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        run_id, record = db.execute(
            "SELECT run_id, record FROM runs WHERE run_id IN (SELECT run_id FROM events) LIMIT 1"
        ).fetchone()
        task = db.execute(
            "SELECT record FROM tasks WHERE run_id = ? AND task_index = 0", [run_id]
        ).fetchone()[0]
        changed = replace(_wire.decode(Run, record), priority=9)
        record = sealed(_wire.encode(changed))
        db.execute("UPDATE runs SET record = ? WHERE run_id = ?", [record, run_id])
        other = replace(_wire.decode(Task, task), worker_id="somebody")
        db.execute(
            "UPDATE tasks SET record = ? WHERE run_id = ? AND task_index = 0",
            [sealed(_wire.encode(other)), run_id],
        )
        db.commit()
    assert said(checking.check(database)) == [
        f"fold: {run_id}: is not stored as its events make it",
        f"fold: {run_id} task 0: is not stored as its events make it",
    ]


def test_of_many_problems_the_first_are_described_and_the_rest_counted(database: Path) -> None:
    found = damage(database, "UPDATE tasks SET token = token + 1")
    assert len(found.problems) == MOST
    assert found.left_out == {"fold": found.counts["fold"] - MOST}


def test_a_file_that_is_no_database_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "servo.db"
    path.write_bytes(b"this is text, and long enough to be taken for a header of a database" * 99)
    assert said(checking.check(path)) == [f"integrity: {path}: file is not a database"]


def test_a_database_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="there is no database"):
        checking.check(tmp_path / "servo.db")


def test_an_older_schema_is_a_problem_with_a_command(tmp_path: Path) -> None:
    path = tmp_path / "servo.db"
    migrate.migrate(path, up_to="0002.keys")
    (problem,) = checking.check(path).problems
    assert "lacks 3 of this version's migrations" in problem.message
    assert problem.remedy == "run `servo db migrate`"


UNCHECKED = {
    *("metrics", "pools", "api_keys", "asset_ids", "store_info"),
    *("_yoyo_migration", "_yoyo_log", "_yoyo_version", "yoyo_lock"),
}
"""Whose columns have no check sum; docs/howto/database.md says so."""


def contents(path: Path) -> dict[str, object]:
    """Return what can be read of each table whose damage has to be found."""
    found: dict[str, object] = {}
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        names = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (name,) in names:
            table = name.decode(errors="replace")
            if table not in UNCHECKED:
                found[table] = db.execute(f'SELECT * FROM "{table}"').fetchall()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of which nothing was forgotten."""
    path = tmp_path_factory.mktemp("whole") / "servo.db"
    past = Past(path)
    past.deploy()
    past.run("*")
    past.deploy(1)
    past.rerun(past.run("*", badly=0.4, seed=2))
    past.run("*", rounds=1)
    past.close()
    return path


@pytest.mark.parametrize("seed", range(4))
def test_a_bit_that_flips_in_what_is_stored_is_found(
    whole: Path, tmp_path: Path, seed: int
) -> None:
    chance, original = random.Random(seed), whole.read_bytes()
    before, path = contents(whole), tmp_path / "flipped.db"
    used = [place for place in range(4096, len(original)) if original[place]]
    for _ in range(25):
        flipped, place = bytearray(original), chance.choice(used)
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            changed = contents(path) != before
        except (sqlite3.Error, UnicodeDecodeError):
            changed = True
        try:
            is_sound = checking.check(path).is_sound
        except errors.ConfigurationError as exc:
            # The list of migrations is what is damaged.
            is_sound = exc.code != "DATABASE_TOO_NEW"
        assert not (changed and is_sound), (seed, place)


def test_records_of_an_older_version_need_no_check_sum(tmp_path: Path) -> None:
    path = tmp_path / "servo.db"
    past = Past(path)
    past.deploy()
    run_id = past.run("*")
    past.close()
    tables = {"run_plans": "plan", "tasks": "record", "log_batches": "record"}
    with closing(sqlite3.connect(path)) as db:
        for table, column in tables.items():
            db.execute(f"UPDATE {table} SET {column} = substr({column}, 1, length({column}) - 6)")
        db.commit()
        assert not checking.check(path).is_sound
        db.execute("UPDATE store_info SET value = ? WHERE name = 'sealed_after_run'", [run_id])
        db.commit()
    assert checking.check(path).is_sound


def test_the_number_of_the_check_sum_is_none_of_the_contracts() -> None:
    for message in MESSAGES:
        numbers = [field.number for field in message.fields]
        assert max(numbers, default=0) < seals.FIELD, message.full_name


@given(record=st.binary(max_size=200), place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_sealed_record_is_intact_until_a_bit_flips(record: bytes, place: int, bit: int) -> None:
    sealed_record = bytearray(sealed(record))
    assert seals.is_intact(bytes(sealed_record))
    sealed_record[place % len(sealed_record)] ^= 1 << bit
    assert not seals.is_intact(bytes(sealed_record))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1), byte=st.integers(1, 255))
def test_no_damaged_byte_makes_it_crash(
    sound: Path, tmp_path: Path, place: float, byte: int
) -> None:
    contents = bytearray(sound.read_bytes())
    contents[round(place * (len(contents) - 1))] ^= byte
    path = tmp_path / "damaged.db"
    path.write_bytes(contents)
    try:
        checking.check(path)
    except errors.ConfigurationError as exc:
        # The list of migrations may be what is damaged.
        assert exc.code == "DATABASE_TOO_NEW"


def test_postgresql_is_checked_alike() -> None:
    with postgres_kit.database() as url:
        past = Past(url)
        past.deploy()
        past.run("*")
        past.rerun(past.run("*", badly=0.4, seed=2))
        past.close()
        assert checking.check(url).is_sound
        for statement in (
            "UPDATE partition_counts SET partitions = 7",
            "UPDATE current_materializations SET path = 'elsewhere'",
            "UPDATE tasks SET token = token + 1 WHERE task_index = 0",
            "INSERT INTO log_batches VALUES ('R', 1, 'T', '')",
            "DELETE FROM events WHERE sequence = (SELECT max(sequence) - 20 FROM events)",
            "DELETE FROM tasks WHERE task_index = 8",
        ):
            with psycopg.connect(url) as db:
                db.execute(statement.encode())
            assert any(WRONG[statement] in one for one in said(checking.check(url))), statement
