from __future__ import annotations

from pathlib import Path

import pytest

from servo.cli import main
from servo.manifest import Project, build_project


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_new_project_is_valid_at_once(tmp_path: Path) -> None:
    assert main.invoke(["init", "shop"]) == 0
    manifest = build_project(Project.load(tmp_path / "shop"), frozen=False, write_lockfile=False)
    assert [str(item.key) for item in manifest.assets] == ["mart.daily_revenue", "raw.orders"]


def test_a_new_project_shows_a_partition_and_checks(tmp_path: Path) -> None:
    main.invoke(["init", "shop"])
    manifest = build_project(Project.load(tmp_path / "shop"), frozen=False, write_lockfile=False)
    assert [item.partitioning.is_partitioned for item in manifest.assets] == [True, False]
    assert all(item.checks and item.description for item in manifest.assets)


def test_a_new_project_carries_its_name(tmp_path: Path) -> None:
    main.invoke(["init", "deep/shop"])
    assert 'name = "shop"' in (tmp_path / "deep" / "shop" / "pyproject.toml").read_text()
    assert "my-project" not in (tmp_path / "deep" / "shop" / "README.md").read_text()


def test_only_the_ids_are_committed(tmp_path: Path) -> None:
    main.invoke(["init", "shop"])
    ignored = (tmp_path / "shop" / ".gitignore").read_text().splitlines()
    assert ".servo/*" in ignored
    assert "!.servo/state.json" in ignored


def test_an_empty_directory_may_exist(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    assert main.invoke(["init", "shop"]) == 0


def test_a_directory_with_something_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine").write_text("")
    assert main.invoke(["init", "shop"]) == 2
    assert "'shop' exists" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["a b", "-x", "x-", "ä", ".", "a/.."])
def test_a_name_that_no_project_can_have_is_refused(name: str) -> None:
    assert main.invoke(["init", "--", name]) == 2


def test_a_directory_that_cannot_be_written_is_a_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main.invoke(["init", "file/shop"]) == 74
    assert "cannot make the project 'file/shop'" in capsys.readouterr().err
