"""Files that are written in one step."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from servo.manifest import atomic


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_gets_the_modes_that_new_files_get(tmp_path: Path) -> None:
    (tmp_path / "neighbour").touch()
    atomic.write(tmp_path / "a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert mode_of(tmp_path / "a") == mode_of(tmp_path / "neighbour")


def test_an_old_file_keeps_its_modes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o640)
    path.chmod(0o640)
    atomic.write(path, b"2")
    assert (path.read_bytes(), mode_of(path)) == (b"2", 0o640)


def test_a_secret_is_the_owners_alone(tmp_path: Path) -> None:
    atomic.write(tmp_path / "key", b"k", mode=0o600)
    assert mode_of(tmp_path / "key") == 0o600


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "inside").touch()
    with pytest.raises(OSError, match="directory"):
        atomic.write(tmp_path / "a", b"3")
    assert os.listdir(tmp_path) == ["a"]  # noqa: PTH208  # names are all that is wanted
