"""Where a database file may lie, who may read it, and where it can only be read."""

from __future__ import annotations

import getpass
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

import servo
from servo import errors
from servo.controlplane.store import address, backup, checking, files, migrate
from servo.controlplane.store.sqlite import SqliteStore

SOURCE = Path(servo.__file__).parents[1]
NOBODY = 65534
NAMES = (
    st.binary(min_size=1, max_size=40)
    | st.text(st.sampled_from("ab#?%&=:;'\"\\ \n\r\t\x7f~*[]{}$`!<>|@+,."), min_size=1).map(
        os.fsencode
    )
    | st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).map(str.encode)
)


@settings(max_examples=60, deadline=None)
@given(name=NAMES.filter(lambda name: name not in (b".", b"..") and not set(name) & set(b"\0/")))
@example(name=b"c#app")
@example(name=b"p%41p")
@example(name=b"q?mode=memory&cache=shared")
@example(name=b"line\nbreak")
@example(name=b"postgresql:")
@example(name=b"\xff\xfe")
def test_every_name_that_the_file_system_allows_is_a_place_for_a_database(name: bytes) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        project = folder / os.fsdecode(name)
        try:
            project.mkdir()
        except OSError:  # this file system takes UTF-8 only, for example
            reject()
        database, copy = project / "servo.db", project / "copy.db"
        SqliteStore(database).close()
        assert checking.check(database).is_sound
        backup.back_up(database, copy)
        backup.restore(copy, project / "restored.db")
        assert migrate.pending(project / "restored.db") == []
        assert address.parse(str(database)) == database
        # Nothing of it went elsewhere.
        assert [os.fsencode(one.name) for one in folder.iterdir()] == [name]
        assert {one.name for one in project.iterdir()} == {
            *("servo.db", "servo.db.lock", "copy.db", "restored.db", "restored.db.lock")
        }


def test_a_path_that_is_too_long_for_sqlite_is_refused_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path
    while len(os.fsencode(folder)) <= files.LONGEST_PATH:
        folder /= "x" * 60
    folder.mkdir(parents=True)
    with pytest.raises(errors.FilesystemError, match=r"its path has \d+ bytes.*no more than 504"):
        SqliteStore(folder / "servo.db")


def test_the_longest_path_is_the_longest_that_sqlite_takes(tmp_path: Path) -> None:
    folder = tmp_path
    # The file's own name is at most 255 bytes, that of its lock and those of SQLite included.
    while len(os.fsencode(folder)) < files.LONGEST_PATH - 200:
        folder /= "x" * 60
    folder.mkdir(parents=True)
    SqliteStore(folder / ("y" * (files.LONGEST_PATH - len(os.fsencode(folder)) - 1))).close()


def modes(folder: Path) -> dict[str, int]:
    return {one.name: one.stat().st_mode & 0o777 for one in folder.iterdir()}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_its_owner_can_read_a_database_from_the_moment_it_is_made(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        store = SqliteStore(tmp_path / "servo.db")
        assert modes(tmp_path) == dict.fromkeys(
            ("servo.db", "servo.db-wal", "servo.db-shm", "servo.db.lock"), 0o600
        )
        backup.back_up(tmp_path / "servo.db", tmp_path / "copy.db")
        store.close()
        backup.restore(tmp_path / "copy.db", tmp_path / "servo.db", replace=True)
        assert set(modes(tmp_path).values()) == {0o600}
    finally:
        os.umask(before)


def test_a_database_of_an_older_version_is_made_private_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "servo.db"
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").chmod(0o664)
        store = SqliteStore(path)
        assert set(modes(tmp_path).values()) == {0o600}
        store.close()


def test_a_user_who_has_no_name_can_make_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_name() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(getpass, "getuser", no_name)
    SqliteStore(tmp_path / "servo.db").close()


# -- disks that cannot be written ---------------------------------------------------------------


def in_another_process(look: Callable[[], object]) -> object:
    """Call something in a forked process; return its result."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  # not measured in a process that ends like this
        try:
            said = json.dumps(look())
        except BaseException as exc:
            said = json.dumps(repr(exc))
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said)


def where_nothing_can_be_written(folder: Path, look: Callable[[], object]) -> object:
    """Call something in a process that has no right to write in a folder; return its result."""
    folder.chmod(0o555)
    for one in folder.iterdir():
        one.chmod(0o444)

    def without_rights() -> object:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        return look()

    said = in_another_process(without_rights)
    folder.chmod(0o755)
    return said


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that every user of the machine can look into."""
    with tempfile.TemporaryDirectory(prefix="servo-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def problems(path: Path) -> list[list[str]]:
    found = checking.check(path)
    return [[one.name, one.message, one.remedy] for one in found.problems]


def test_a_sound_database_on_a_disk_that_cannot_be_written_is_sound(readable: Path) -> None:
    path = readable / "servo.db"
    SqliteStore(path).close()
    before = path.read_bytes()
    assert where_nothing_can_be_written(readable, lambda: problems(path)) == []
    assert path.read_bytes() == before


def test_a_database_on_a_disk_that_cannot_be_written_is_backed_up(readable: Path) -> None:
    path = readable / "servo.db"
    SqliteStore(path).close()
    with tempfile.TemporaryDirectory() as other:
        Path(other).chmod(0o777)

        def copy() -> str:
            return backup.back_up(path, Path(other) / "copy.db").schema

        assert where_nothing_can_be_written(readable, copy) == list(migrate.known(path))[-1]


def test_what_cannot_be_read_without_writing_is_no_reason_to_restore_a_backup(
    readable: Path,
) -> None:
    path = readable / "servo.db"
    store = SqliteStore(path)
    journal = Path(f"{path}-wal").read_bytes()
    store.close()
    Path(f"{path}-wal").write_bytes(journal)
    found = where_nothing_can_be_written(readable, lambda: problems(path))
    assert isinstance(found, list)
    ((name, message, remedy),) = found
    assert name == "unreadable"
    assert "servo.db-wal" in message
    assert "restore" not in remedy


def test_a_limit_of_the_process_is_named_when_a_database_may_not_grow(readable: Path) -> None:
    path = readable / "servo.db"
    SqliteStore(path).close()

    def write() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        try:
            connection = files.connect(path)
            connection.execute("CREATE TABLE large AS SELECT zeroblob(1000000) AS data")
        except sqlite3.Error as exc:
            return files.why_not(path, exc)
        return "it was written"

    said = in_another_process(write)
    assert said == "files of this process may have 65,536 bytes at most; raise it (ulimit -f)"


def test_a_database_that_is_locked_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "servo.db"
    SqliteStore(path).close()
    with closing(files.connect(path)) as one, closing(files.connect(path)) as other:
        one.execute("BEGIN IMMEDIATE")
        other.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(sqlite3.OperationalError) as refused:
            other.execute("BEGIN IMMEDIATE")
    assert "another process has locked it" in files.why_not(path, refused.value)


# -- installations that are no folder -----------------------------------------------------------

MAKE = """
import sys
from pathlib import Path
from servo.controlplane.store.sqlite import SqliteStore
SqliteStore(Path(sys.argv[1])).close()
"""


def make_from(source: Path, database: Path) -> subprocess.CompletedProcess[str]:
    others = [one for one in sys.path if one and Path(one) != SOURCE]
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "warn_default_encoding", "-c", MAKE, database],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(source), *others])},
        capture_output=True,
        text=True,
        check=False,
    )


def pack(target: Path, *, without: str = "__pycache__") -> Path:
    with zipfile.ZipFile(target, "w") as packed:
        for one in sorted((SOURCE / "servo").rglob("*")):
            if one.is_file() and not {without, "__pycache__"} & set(one.parts):
                packed.write(one, one.relative_to(SOURCE))
    return target


def test_a_database_is_made_without_a_warning_also_from_a_zip(tmp_path: Path) -> None:
    for number, source in enumerate((SOURCE, pack(tmp_path / "servo.zip"))):
        path = tmp_path / f"{number}.db"
        done = make_from(source, path)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert migrate.pending(path) == []


def test_an_installation_without_migrations_says_what_is_missing(tmp_path: Path) -> None:
    source = pack(tmp_path / "servo.zip", without="migrations")
    done = make_from(source, tmp_path / "servo.db")
    assert "lacks its migrations" in done.stderr
