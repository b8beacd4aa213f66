from __future__ import annotations

from pathlib import Path

import pytest

from servo import errors
from servo.manifest import Project


@pytest.mark.parametrize("marker", ["assets", "src/assets"])
def test_the_project_is_found_from_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marker: str
) -> None:
    below = tmp_path / marker / "staging" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    project = Project.load(environ={})
    assert project.root == tmp_path
    assert project.asset_paths == (tmp_path / marker,)


def test_a_table_in_pyproject_marks_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.servo]\npaths = ["jobs"]\n')
    (tmp_path / "jobs" / "daily").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "jobs" / "daily")
    assert Project.load(environ={}).asset_paths == (tmp_path / "jobs",)


def test_outside_of_a_project_the_error_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.ConfigurationError, match="servo init NAME"):
        Project.load(environ={})


def test_a_directory_without_assets_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="has no assets"):
        Project.load(tmp_path, environ={})


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="is no directory"):
        Project.load(tmp_path / "nowhere", environ={})


@pytest.mark.parametrize(
    ("paths", "expected"),
    [('["missing"]', "does not exist"), ('["../up"]', "outside"), ('["data.csv"]', "Python file")],
)
def test_a_path_that_cannot_hold_assets_is_refused(
    tmp_path: Path, paths: str, expected: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.servo]\npaths = {paths}\n")
    (tmp_path / "data.csv").touch()
    with pytest.raises(errors.ConfigurationError, match=expected):
        Project.load(tmp_path, environ={})


def test_what_servo_keeps_lies_in_one_directory(tmp_path: Path) -> None:
    project = Project.at(tmp_path, environ={})
    assert project.lockfile_path == tmp_path / ".servo" / "state.json"
    assert project.name == tmp_path.name


def test_a_relative_path_has_slashes_and_an_outside_one_stays(tmp_path: Path) -> None:
    project = Project.at(tmp_path, environ={})
    assert project.relative(tmp_path / "assets" / "a.py") == "assets/a.py"
    assert project.relative("/elsewhere/b.py") == "/elsewhere/b.py"


def test_a_path_through_a_link_to_the_project_is_relative_too(tmp_path: Path) -> None:
    root = tmp_path / "real"
    (root / "assets").mkdir(parents=True)
    (tmp_path / "link").symlink_to(root)
    assert Project.at(root, environ={}).relative(tmp_path / "link" / "assets") == "assets"
