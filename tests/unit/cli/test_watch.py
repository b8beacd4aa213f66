from __future__ import annotations

import asyncio
import importlib.machinery
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from servo.cli import _watch
from servo.cli._watch import Watched, snapshot


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("raw.py", True),
        (f"fast{importlib.machinery.EXTENSION_SUFFIXES[0]}", True),
        ("notes.txt", False),
        ("data.parquet", False),
        (".raw.py.swp", False),
        (".#raw.py", False),
    ],
)
def test_only_code_counts(name: str, expected: bool) -> None:
    assert _watch.is_source(name) is expected


def _names(found: _watch.Snapshot, root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in found.files}


def test_everything_that_can_be_imported_is_seen_and_nothing_else(tmp_path: Path) -> None:
    # Where the project itself lies does not matter.
    root = tmp_path / ".hidden" / "venv"
    for path in (
        "assets/a.py", "assets/__pycache__/a.py", "lib/deep/h.py", "src/pkg/m.py",
        ".servo/x.py", ".venv/x.py", "node_modules/m/x.py", "my_env/x.py", "my_env/pyvenv.cfg",
        "servo.toml", ".env", "other.toml", "lib/site-packages/x.py", "lib/rows.csv",
    ):  # fmt: skip
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    watched = Watched(
        (root / "src", root, root / "assets"),
        (root / "servo.toml", root / "pyproject.toml", root / ".env"),
    )
    assert _names(snapshot(watched), root) == {
        "assets/a.py", "lib/deep/h.py", "src/pkg/m.py", "servo.toml", ".env"
    }  # fmt: skip


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "h.py").touch()
    root = tmp_path / "project"
    root.mkdir()
    (root / "lib").symlink_to(tmp_path / "shared")
    (root / "loop").symlink_to(root)
    (root / "gone.py").symlink_to(tmp_path / "nothing.py")
    assert _names(snapshot(Watched((root,))), root) == {"lib/h.py"}


def test_a_root_that_is_a_file_or_is_not_there_can_be_watched(tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    watched = Watched((tmp_path / "a.py", tmp_path / "gone"))
    assert _names(snapshot(watched), tmp_path) == {"a.py"}


def test_an_edit_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("V = 1\n")
    before, facts = snapshot(Watched((tmp_path,))), path.stat()
    # As editors do that write a new file in place of the old one.
    (tmp_path / "new").write_text("V = 2\n")
    (tmp_path / "new").replace(path)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert snapshot(Watched((tmp_path,))).changed_since(before) == {path}


def _first(
    change: Callable[[], object], root: Path, *, watched: Watched | None = None
) -> set[Path]:
    """Return the first change that is reported after something was done once."""
    given = watched or Watched((root,), (root / ".env",))

    async def first() -> set[Path]:
        stop = asyncio.Event()
        seen = snapshot(given)
        # Before the operating system was asked: it must be noticed all the same.
        change()
        async for changed in _watch.changes(lambda: given, stop, since=seen, interval=0.02):
            stop.set()
            return changed
        return set()

    return asyncio.run(asyncio.wait_for(first(), 20))


@pytest.fixture(params=["told by the system", "looked for"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of watching."""
    if request.param == "looked for":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    return str(request.param)


@pytest.mark.usefixtures("how")
@pytest.mark.parametrize("path", ["a.py", ".env", "new/deep/b.py"])
def test_a_file_that_was_written_is_reported(tmp_path: Path, path: str) -> None:
    target = tmp_path / path

    def write() -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("1")

    assert _first(write, tmp_path) == {target}


@pytest.mark.usefixtures("how")
def test_a_file_that_was_removed_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "lib" / "a.py"
    path.parent.mkdir()
    path.touch()
    assert _first(path.unlink, tmp_path) == {path}


@pytest.mark.usefixtures("how")
def test_a_directory_that_came_while_watching_is_watched_as_well(tmp_path: Path) -> None:
    async def body() -> list[set[Path]]:
        stop = asyncio.Event()
        found: list[set[Path]] = []

        async def listen() -> None:
            watched = Watched((tmp_path,))
            async for changed in _watch.changes(lambda: watched, stop, interval=0.02):
                found.append(changed)

        async def heard(path: Path) -> None:
            while not any(path in changed for changed in found):
                await asyncio.sleep(0.02)

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.5)
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib" / "one.py").touch()
        await asyncio.wait_for(heard(tmp_path / "lib" / "one.py"), 20)
        (tmp_path / "lib" / "two.py").touch()
        await asyncio.wait_for(heard(tmp_path / "lib" / "two.py"), 20)
        (tmp_path / "lib" / "rows.csv").touch()
        await asyncio.sleep(0.3)
        stop.set()
        await asyncio.wait_for(listening, 20)
        return found

    found = asyncio.run(body())
    assert set().union(*found) == {tmp_path / "lib" / "one.py", tmp_path / "lib" / "two.py"}


def test_a_system_that_cannot_watch_more_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import watchfiles

    def full(*paths: object, **options: object) -> object:
        raise OSError(28, "OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "awatch", full)
    assert _first((tmp_path / "a.py").touch, tmp_path) == {tmp_path / "a.py"}
