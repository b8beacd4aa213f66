from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_each_workspace_has_a_data_root_and_the_default_one_keeps_the_old(tmp_path: Path) -> None:
    project = Project.at(tmp_path, environ={})
    state = tmp_path / ".servo"
    assert project.data_root == state / "data"
    assert project.data_root_of("default", "prod") == state / "workspaces/default/prod/data"
    assert project.data_root_of("acme", "default") == state / "workspaces/acme/default/data"
    prod = Project.at(tmp_path, environ={"SERVO_WORKSPACE_ID": "prod"})
    assert prod.data_root == project.data_root_of("default", "prod")


workspace_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,127}", fullmatch=True)


@given(st.lists(st.tuples(workspace_ids, workspace_ids), unique=True, min_size=2, max_size=5))
def test_two_workspaces_never_share_a_data_root_on_any_disk(ids: list[tuple[str, str]]) -> None:
    project = Project.at(Path("/"), environ={})
    roots = [project.data_root_of(*one) for one in ids]
    assert len({str(root).lower() for root in roots}) == len(ids)
    for root in roots:
        assert root.is_relative_to("/.servo")
        assert all(len(part) <= 255 and part not in ("", ".", "..") for part in root.parts)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("tables", "tables"),
        ("lake/{tenant}/{workspace}", "lake/default/prod"),
        ("{workspace}-{other}", "prod-{other}"),
    ],
)
def test_a_data_root_in_a_file_is_relative_to_it_and_may_name_the_workspace(
    tmp_path: Path, written: str, expected: str
) -> None:
    (tmp_path / "servo.toml").write_text(f"data_root = {written!r}\nworkspace_id = 'prod'\n")
    assert Project.at(tmp_path, environ={}).data_root == tmp_path / expected


def test_a_data_root_in_the_environment_is_relative_to_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project = Project.at(tmp_path / "p", environ={"SERVO_DATA_ROOT": "tables"})
    assert project.data_root == tmp_path / "tables"
