from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from servo.cli import _watch


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/p/assets/raw.py", True),
        ("/p/pyproject.toml", True),
        ("/p/assets/notes.txt", False),
        ("/p/assets/__pycache__/raw.py", False),
        ("/p/.servo/x.py", False),
        ("/p/venv/lib/x.py", False),
    ],
)
def test_only_source_counts(path: str, expected: bool) -> None:
    assert _watch.is_source(Path(path)) is expected


def test_a_snapshot_has_sources_below_directories_and_single_files(tmp_path: Path) -> None:
    (tmp_path / "assets" / "__pycache__").mkdir(parents=True)
    (tmp_path / "assets" / "__pycache__" / "a.py").write_text("")
    (tmp_path / "assets" / "a.py").write_text("")
    (tmp_path / "pyproject.toml").write_text("")
    found = _watch.snapshot([tmp_path / "assets", tmp_path / "pyproject.toml"])
    assert sorted(path.name for path in found) == ["a.py", "pyproject.toml"]


def test_a_file_that_vanishes_while_looking_is_absent(tmp_path: Path) -> None:
    (tmp_path / "a.py").symlink_to(tmp_path / "gone.py")
    assert _watch.snapshot([tmp_path]) == {}


@pytest.mark.parametrize("has_watchfiles", [True, False])
def test_a_changed_file_is_reported(
    tmp_path: Path, has_watchfiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_watchfiles:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "a.py").write_text("1")

    async def first_change() -> set[Path]:
        stop = asyncio.Event()

        async def edit() -> None:
            # Written again and again: what is written before the watcher is ready is not seen.
            for number in range(200):
                (tmp_path / "a.py").write_text("x" * number)
                await asyncio.sleep(0.05)

        editing = asyncio.create_task(edit())
        try:
            async for changed in _watch.changes([tmp_path], stop, interval=0.02):
                stop.set()
                return changed
        finally:
            editing.cancel()
        return set()

    assert asyncio.run(asyncio.wait_for(first_change(), 20)) == {tmp_path / "a.py"}
