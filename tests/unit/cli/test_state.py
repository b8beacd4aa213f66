from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import servo
from servo import errors
from servo.cli._environment import Environment
from servo.cli._state import FileLock, HostKind, Owner, ServerFile, StateFiles

SERVER = ServerFile("grpc://127.0.0.1:1", "key", os.getpid(), "http://127.0.0.1:2")


def test_the_server_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    SERVER.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_server_file_has_exactly_the_documented_fields(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    SERVER.write(path)
    assert json.loads(path.read_text()) == {
        "grpcUrl": "grpc://127.0.0.1:1",
        "httpUrl": "http://127.0.0.1:2",
        "apiKey": "key",
        "pid": os.getpid(),
    }
    assert ServerFile.read(path) == SERVER


def test_writing_leaves_nothing_else_behind(tmp_path: Path) -> None:
    SERVER.write(tmp_path / "server.json")
    SERVER.write(tmp_path / "server.json")
    assert [path.name for path in tmp_path.iterdir()] == ["server.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"grpcUrl": "x", "apiKey": "y"}'])
def test_a_damaged_server_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "server.json"
    path.write_text(text)
    assert ServerFile.read(path) is None


def test_a_missing_server_file_is_none(tmp_path: Path) -> None:
    assert ServerFile.read(tmp_path / "server.json") is None


def test_a_process_that_has_ended_is_not_alive() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert SERVER.is_alive
    assert not ServerFile("grpc://x", "key", ended.pid).is_alive


def test_an_exclusive_lock_keeps_everybody_out(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire()
    assert not second.acquire()
    assert not second.acquire(shared=True)
    first.release()
    assert second.acquire()


def test_shared_locks_keep_out_exclusive_ones_only(tmp_path: Path) -> None:
    first, second, third = (FileLock(tmp_path / "lock") for _ in range(3))
    assert first.acquire(shared=True)
    assert second.acquire(shared=True)
    assert not third.acquire()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from servo.cli._state import FileLock; "
        "lock = FileLock(pathlib.Path(sys.argv[1])); print(lock.acquire(), flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(servo.__file__).parents[1])},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"
        lock = FileLock(tmp_path / "lock")
        assert not lock.acquire()
        holder.kill()
        holder.wait()
        assert lock.acquire()
    lock.release()


def test_the_owner_of_a_lock_can_be_read(tmp_path: Path) -> None:
    lock = StateFiles(tmp_path).host_lock()
    assert lock.acquire()
    lock.write_owner(HostKind.DEV)
    assert StateFiles(tmp_path).host_lock().read_owner() == Owner(HostKind.DEV, os.getpid(), True)


def test_a_lock_without_an_owner_says_so(tmp_path: Path) -> None:
    assert StateFiles(tmp_path).host_lock().read_owner() is None


def test_the_directory_of_a_lock_is_made(tmp_path: Path) -> None:
    assert FileLock(tmp_path / "a" / "b" / "lock").acquire()


def test_a_directory_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.FilesystemError, match="cannot open"):
        FileLock(tmp_path / "file" / "lock").acquire()


def test_the_server_file_keeps_the_environment_and_the_database(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    written = replace(
        SERVER, environment=Environment.of({"A": "1"}), waits=True, database=f"{1}:{2}"
    )
    written.write(path)
    assert ServerFile.read(path) == written
    assert path.read_text().count("environment") == 1


@pytest.mark.parametrize("environment", [{}, {"salt": "x", "digests": {}}, {"salt": "00"}])
def test_an_environment_that_makes_no_sense_is_no_server_file(
    tmp_path: Path, environment: object
) -> None:
    path = tmp_path / "server.json"
    SERVER.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"environment": environment}))
    assert ServerFile.read(path) is None


def test_a_database_that_is_replaced_is_another_one(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    assert files.database_id() == ""
    files.database.write_text("one")
    first = files.database_id()
    files.database.write_text("two")
    assert files.database_id() == first
    other = tmp_path / "other"
    other.write_text("three")
    other.rename(files.database)
    assert files.database_id() not in ("", first)


def test_a_shorter_owner_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    path = tmp_path / "host.lock"
    path.write_text("x" * 500)
    lock = StateFiles(tmp_path).host_lock()
    assert lock.acquire()
    lock.write_owner(HostKind.BACKGROUND, is_busy=False)
    assert lock.read_owner() == Owner(HostKind.BACKGROUND, os.getpid(), is_busy=False)
    lock.release()
