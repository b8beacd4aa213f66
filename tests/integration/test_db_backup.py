"""Backups are complete and sound, and what is restored begins a history of its own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import postgres_kit
from database_kit import Past
from servo import errors
from servo.controlplane.store import backup, checking, migrate, renewing
from servo.controlplane.store.sqlite import SqliteStore


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    made = Past(tmp_path / "servo.db")
    made.deploy()
    made.run("*")
    yield made
    made.close()


def contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [line for line in db.iterdump() if "store_id" not in line]


def store_id(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        (found,) = db.execute("SELECT value FROM store_info WHERE name = 'store_id'").fetchone()
        return str(found)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_backup_is_made_while_the_control_plane_works(past: Past, tmp_path: Path) -> None:
    made = backup.back_up(past.location, tmp_path / "backup.db")
    assert made.size == (tmp_path / "backup.db").stat().st_size
    assert made.schema == list(migrate.known(past.location))[-1]
    assert checking.check(tmp_path / "backup.db").is_sound
    assert contents(tmp_path / "backup.db") == contents(past.location)
    assert mode(tmp_path / "backup.db") == 0o600
    past.run("*")
    assert contents(tmp_path / "backup.db") != contents(past.location)


def test_a_backup_is_of_one_moment_while_others_write(past: Past, tmp_path: Path) -> None:
    with closing(sqlite3.connect(past.location)) as db:
        db.execute("INSERT INTO chunks VALUES (1, x'00', zeroblob(40000000))")
        db.commit()
    written, stop = 0, threading.Event()

    def write() -> None:
        nonlocal written
        with closing(sqlite3.connect(past.location, timeout=30)) as db:
            while not stop.is_set():
                written += 1
                db.execute("INSERT INTO pools VALUES (1, ?, 1)", [f"p{written}"])
                db.execute("INSERT INTO asset_ids VALUES (1, ?, '')", [f"p{written}"])
                db.commit()

    writing = threading.Thread(target=write)
    writing.start()
    seen: list[int] = []
    try:
        backup.back_up(
            past.location,
            tmp_path / "backup.db",
            progress=lambda what, done, total: seen.append(written),
        )
    finally:
        stop.set()
        writing.join()
    assert seen[-1] > seen[0], "others wrote meanwhile"
    with closing(sqlite3.connect(tmp_path / "backup.db")) as db:
        pools = db.execute("SELECT count(*) FROM pools").fetchone()
        ids = db.execute("SELECT count(*) FROM asset_ids WHERE asset_id = ''").fetchone()
    assert pools == ids
    assert pools[0] < written


def test_a_file_is_replaced_only_on_request_and_never_the_database(
    past: Past, tmp_path: Path
) -> None:
    target = tmp_path / "backup.db"
    target.write_text("precious")
    with pytest.raises(errors.ConfigurationError, match=r"exists already.*--force"):
        backup.back_up(past.location, target)
    with pytest.raises(errors.ConfigurationError, match="is the database itself"):
        backup.back_up(past.location, past.location, replace=True)
    assert target.read_text() == "precious"
    backup.back_up(past.location, target, replace=True)
    assert checking.check(target).is_sound


def test_a_backup_that_fails_leaves_nothing_behind(past: Past, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"

    def fail(what: str, done: int, total: int) -> None:
        if what == "verifying":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup.back_up(past.location, target, progress=fail)
    with pytest.raises(errors.FilesystemError, match="cannot back up"):
        backup.back_up(past.location, tmp_path / "nowhere" / "backup.db")
    assert {path.name for path in tmp_path.iterdir()} <= {
        "servo.db",
        "servo.db-wal",
        "servo.db-shm",
        "servo.db.lock",
    }


def test_what_is_restored_goes_on_under_an_id_of_its_own(past: Past, tmp_path: Path) -> None:
    active = past.run("*", rounds=1)
    backup.back_up(past.location, tmp_path / "backup.db")
    saved = contents(past.location)
    past.work()
    past.run("raw.config")
    later = contents(past.location)
    former = past.engine.store.store_id
    past.close()

    made = backup.restore(tmp_path / "backup.db", past.location, replace=True)
    assert contents(past.location) == saved
    assert store_id(tmp_path / "backup.db") == former != store_id(past.location)
    assert made.kept is not None
    assert contents(made.kept) == later
    assert store_id(made.kept) == former
    past.reopen()
    assert past.engine.store.store_id == store_id(past.location)
    assert active in past.engine.workspaces[0].active
    past.close()
    assert checking.check(past.location).is_sound


def test_restoring_refuses_while_a_control_plane_works_and_says_which(
    past: Past, tmp_path: Path
) -> None:
    backup.back_up(past.location, tmp_path / "backup.db")
    with pytest.raises(errors.ConfigurationError, match="exists already; --force"):
        backup.restore(tmp_path / "backup.db", past.location)
    before = contents(past.location)
    with pytest.raises(errors.ConfigurationError, match=r"is in use by .* of process \d+; stop"):
        backup.restore(tmp_path / "backup.db", past.location, replace=True)
    assert contents(past.location) == before
    assert len(list(tmp_path.glob("*.tmp"))) == 0


def test_what_is_no_sound_backup_is_refused_and_changes_nothing(past: Past, tmp_path: Path) -> None:
    past.close()
    before = past.location.read_bytes()
    for name, data in (
        ("text", b"no database " * 1000),
        ("torn", before[: len(before) // 2]),
        ("empty", b""),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(errors.FilesystemError, match="another backup"):
            backup.restore(tmp_path / name, past.location, replace=True)
    (tmp_path / "newer.db").write_bytes(before)
    with closing(sqlite3.connect(tmp_path / "newer.db")) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("UPDATE _yoyo_migration SET migration_id = '9999.future' WHERE rowid = 1")
        db.commit()
    with pytest.raises(errors.ConfigurationError, match="upgrade Servo"):
        backup.restore(tmp_path / "newer.db", past.location, replace=True)
    with pytest.raises(errors.ConfigurationError, match="there is no database"):
        backup.restore(tmp_path / "nothing", past.location, replace=True)
    assert past.location.read_bytes() == before


def test_a_database_that_is_beyond_repair_is_replaced_and_kept(past: Past, tmp_path: Path) -> None:
    backup.back_up(past.location, tmp_path / "backup.db")
    past.close()
    past.location.write_bytes(b"ruined" * 1000)
    Path(f"{past.location}-wal").write_bytes(b"ruined as well")
    made = backup.restore(tmp_path / "backup.db", past.location, replace=True)
    assert made.kept is not None
    assert made.kept.read_bytes() == b"ruined" * 1000
    assert Path(f"{made.kept}-wal").read_bytes() == b"ruined as well"
    assert checking.check(past.location).is_sound


def test_an_older_backup_is_restored_and_migrated_by_the_control_plane(tmp_path: Path) -> None:
    old, path = tmp_path / "old.db", tmp_path / "folder" / "servo.db"
    migrate.migrate(old, up_to="0002.keys")
    with closing(sqlite3.connect(old)) as db:
        db.execute("INSERT INTO store_info VALUES ('store_id', 'S')")
        db.commit()
    assert backup.restore(old, path).schema == "0002.keys"
    store = SqliteStore(path)
    assert store.store_id != "S"
    store.close()
    assert migrate.pending(path) == []


def test_a_postgresql_database_that_was_restored_is_given_another_id() -> None:
    with postgres_kit.database() as url:
        past = Past(url)
        past.deploy()
        former = past.engine.store.store_id
        past.close()
        renewing.renew(url)
        past.reopen()
        assert past.engine.store.store_id != former
        past.close()
        assert checking.check(url).is_sound
