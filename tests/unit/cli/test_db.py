from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from database_kit import Past
from servo.cli import _db_report, main
from servo.controlplane.store import address, migrate
from servo.controlplane.store.pruning import Pruned


class Outcome:
    """What a command did: its exit code and what it wrote."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


Servo = Callable[..., Outcome]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with two runs that have ended."""
    past = Past(tmp_path / "servo.db")
    past.deploy()
    past.run("*")
    past.run("*")
    past.close()
    return tmp_path / "servo.db"


@pytest.fixture
def servo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Servo:
    """`servo db`, outside of any project."""
    monkeypatch.chdir(tmp_path)
    for name in ("SERVO_PROJECT", "SERVO_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main.invoke(["db", *map(str, arguments)])
        return Outcome(code, *capfd.readouterr())

    return run


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement)
        db.commit()


def test_a_sound_database_passes_and_says_what_was_looked_at(servo: Servo, path: Path) -> None:
    done = servo("check", "--database", path)
    assert done.code == 0, done
    assert f"{path} is sound:" in done.out
    assert "2 runs, 18 tasks" in done.out


def test_what_is_wrong_is_listed_with_what_to_do_and_is_exit_1(servo: Servo, path: Path) -> None:
    change(path, "UPDATE tasks SET token = token + 1")
    done = servo("check", "--database", path)
    assert done.code == 1, done
    assert "fold: " in done.out
    assert "its token is" in done.out
    assert "What to do: restore a backup" in done.err
    done = servo("check", "--database", path, "--json")
    assert done.code == 1, done
    document = json.loads(done.out)
    assert document["ok"] is False
    assert len(document["problems"]) == 18
    assert set(document["problems"][0]) == {"name", "subject", "message", "remedy"}


def test_migrating_lists_then_applies_then_has_nothing_to_do(servo: Servo, tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    migrate.migrate(path, up_to="0001.initial")
    newer = list(migrate.known(path))[1:]
    listed = servo("migrate", "--database", path, "--dry-run")
    assert listed.out.splitlines() == [f"Would apply {name}" for name in newer]
    assert migrate.applied(path) == ["0001.initial"]
    done = servo("migrate", "--database", path, "--json")
    assert json.loads(done.out)["migrations"] == newer
    again = servo("migrate", "--database", path)
    assert (again.code, again.out) == (0, f"{path} has the newest schema.\n")


def test_a_backup_is_made_and_restored_by_name(servo: Servo, path: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.db"
    done = servo("backup", saved, "--database", path)
    assert done.code == 0, done
    assert "verified" in done.out
    assert servo("backup", saved, "--database", path).code == 78
    assert servo("backup", saved, "--database", path, "--force").code == 0
    change(path, "DELETE FROM chunks")
    assert servo("check", "--database", path).code == 1
    assert servo("restore", saved, "--database", path).code == 78
    done = servo("restore", saved, "--database", path, "--force")
    assert done.code == 0, done
    assert "The database that was there is" in done.err
    assert servo("check", "--database", path).code == 0


def test_pruning_says_what_it_would_do_and_does_it(servo: Servo, path: Path) -> None:
    would = servo("prune", "--database", path, "--older-than", "0s", "--dry-run")
    assert would.code == 0, would
    assert "would forget 1 run, 9 tasks, 9 materialisations" in would.out
    kept = servo("prune", "--database", path, "--older-than", "1d", "--json")
    (workspace,) = json.loads(kept.out)["workspaces"]
    assert (workspace["forgotten"]["runs"], workspace["kept"]) == (0, {"young": 2})
    all_kept = servo("prune", "--database", path, "--older-than", "0s", "--keep-runs", 2)
    assert "2 among the newest" in all_kept.out, all_kept
    assert " run" not in all_kept.out.splitlines()[0]
    logs = servo("prune", "--database", path, "--logs-older-than", "0s")
    assert "of logs" in logs.out, logs
    assert " run" not in logs.out.splitlines()[0]
    done = servo("prune", "--database", path, "--older-than", "0s")
    assert "forgot 1 run," in done.out, done
    assert "1 made something that is current" in done.out
    again = servo("prune", "--database", path, "--older-than", "0s")
    assert "forgot nothing" in again.out, again
    assert servo("check", "--database", path).code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prune"], "say what is old"),
        (["prune", "--older-than", "a year"], "'a year' is no age; write 12h, 30d or 8w"),
        (["prune", "--older-than", "999999w"], "longer ago than there is a calendar for"),
        (["prune", "--older-than", "1d", "--keep-runs", "-1"], "--keep-runs"),
        (["restore"], "is restored from FILE"),
        (["restore", "saved.db", "--after-pg-restore"], "is restored from FILE"),
    ],
)
def test_wrong_usage_is_refused(servo: Servo, path: Path, arguments: list[str], said: str) -> None:
    done = servo(*arguments, "--database", path)
    assert done.code == 2, done
    assert said in done.err, done


@pytest.mark.parametrize("command", ["check", "migrate", "backup", "prune"])
def test_a_database_that_is_not_there_is_not_made(
    servo: Servo, tmp_path: Path, command: str
) -> None:
    path = tmp_path / "nothing.db"
    more = {"backup": ["saved.db"], "prune": ["--older-than", "1d"]}.get(command, [])
    done = servo(command, *more, "--database", path)
    assert done.code == 78, done
    assert "there is no database" in done.err
    assert not path.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate"],
        ["prune", "--older-than", "0s"],
        ["restore", "saved.db", "--force"],
    ],
)
def test_what_changes_the_database_refuses_beside_a_control_plane(
    servo: Servo, tmp_path: Path, arguments: list[str]
) -> None:
    past = Past(tmp_path / "servo.db")
    past.deploy()
    try:
        saved = servo("backup", "saved.db", "--database", past.location)
        assert saved.code == 0, saved
        done = servo(*arguments, "--database", past.location)
        assert done.code == 78, done
        assert f"the control plane of process {os.getpid()}; stop that process" in done.err
        assert servo("check", "--database", past.location).code == 0
        plan = servo("prune", "--older-than", "0s", "--dry-run", "--database", past.location)
        assert plan.code == 0, plan
    finally:
        past.close()


def test_an_older_schema_is_migrated_before_anything_is_forgotten(
    servo: Servo, tmp_path: Path
) -> None:
    path = tmp_path / "old.db"
    migrate.migrate(path, up_to="0003.pools")
    done = servo("prune", "--older-than", "1d", "--database", path)
    assert done.code == 78, done
    assert "run `servo db migrate` first" in done.err


def test_the_environment_names_the_database_and_its_password_is_not_shown(
    servo: Servo, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVO_DATABASE_URL", str(path))
    assert f"{path} is sound" in servo("check").out
    monkeypatch.setenv("SERVO_DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/servo")
    done = servo("check")
    assert done.code == 69, done
    assert "hunter2" not in done.out + done.err


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["backup", "my file"], "pg_dump --format=custom --file='my file'"),
        (["restore", "saved"], "pg_restore --clean --if-exists --single-transaction saved"),
    ],
)
def test_postgresql_is_copied_with_its_own_tools(
    servo: Servo, arguments: list[str], command: str
) -> None:
    url = "postgresql://me:hunter2@db:5432/servo?sslmode=require&password=hunter2"
    done = servo(*arguments, "--database", url)
    assert done.code == 78, done
    assert f"{command} --dbname='postgresql://me@db:5432/servo?sslmode=require'" in done.err
    assert "hunter2" not in done.err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://h/d", "postgresql://h/d"),
        ("postgresql://u:p@h/d", "postgresql://u@h/d"),
        ("postgresql://u:p@q@h:1,i:2/d?a=b", "postgresql://u@h:1,i:2/d?a=b"),
        ("postgresql:///d?password=p", "postgresql:///d"),
        ("postgresql:///d?sslpassword=p&a=b&PASSWORD=q", "postgresql:///d?a=b"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert address.without_password(url) == shown


def test_what_keeps_the_history_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    held = Pruned("default", Counter(runs=1), history_after=41, held_by="R")
    _db_report.print_pruned("servo.db", [held, Pruned("other")], True, 0)
    assert capsys.readouterr().out.splitlines() == [
        "default: would forget 1 run.",
        "  The history stays from event 42 on, with which run R begins.",
        "other: would forget nothing.",
    ]


def test_how_much_smaller_a_database_became_is_told(servo: Servo, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE ballast AS SELECT zeroblob(8000000) AS bytes")
        db.execute("DROP TABLE ballast")
    before = path.stat().st_size
    done = servo("prune", "--database", path, "--older-than", "0s", "--json")
    assert done.code == 0, done
    assert json.loads(done.out)["reclaimed_bytes"] == before - path.stat().st_size > 7_000_000
