"""Where tables lie: a setting, and never one place for two workspaces by mistake."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from servo_project import ServoProject

ASSETS = """
import os
import pyarrow as pa
from servo import AssetIn, asset

@asset(max_retries=0)
def one(ctx):
    return [{"workspace": os.environ["SERVO_WORKSPACE_ID"]}]

@asset(max_retries=0)
def two(ctx, one: AssetIn["a.one", pa.Table]):
    return one
"""


@pytest.fixture
def shop(project: ServoProject) -> ServoProject:
    project.write("assets/a.py", ASSETS)
    return project


def workspace_in(root: Path) -> object:
    return pq.read_table(root / "a/two/data.parquet").to_pylist()[0]["workspace"]


def test_two_workspaces_of_a_project_keep_their_tables_apart(shop: ServoProject) -> None:
    first = shop.ok("run", "*")
    second = shop.ok("run", "*", SERVO_WORKSPACE_ID="staging")
    state = shop.root / ".servo"
    assert workspace_in(state / "data") == "default"
    assert workspace_in(state / "workspaces/default/staging/data") == "staging"
    assert ".servo/data/a/two" in first.out
    assert ".servo/workspaces/default/staging/data/a/two" in second.out
    assert (
        f"tables      {state}/workspaces"
        in shop.ok("status", "latest", SERVO_WORKSPACE_ID="staging").out
    )


def test_the_data_root_is_a_setting_that_can_be_explained(shop: ServoProject) -> None:
    shop.write("servo.toml", 'data_root = "tables"\n')
    shop.write(".env", "SERVO_DATA_ROOT=elsewhere\n")
    assert "elsewhere" in shop.ok("config", "show", "--explain").out
    shop.ok("run", "*")
    assert workspace_in(shop.root / "elsewhere") == "default"
    assert not (shop.root / "tables").exists()
    assert not (shop.root / ".servo" / "data").exists()


def test_a_data_root_that_another_workspace_uses_is_refused_before_a_run_is_created(
    shop: ServoProject,
) -> None:
    shop.write("servo.toml", 'data_root = "tables"\n')
    shop.ok("run", "*")
    refused = shop.run("run", "*", "--json", SERVO_WORKSPACE_ID="staging")
    assert (refused.code, refused.json["code"]) == (78, "DATA_ROOT_IN_USE")
    assert "'tables/{workspace}'" in refused.err
    assert shop.ok("status", "--json", SERVO_WORKSPACE_ID="staging").json["runs"] == []
    shop.write("servo.toml", 'data_root = "tables/{workspace}"\n')
    shop.ok("run", "*", SERVO_WORKSPACE_ID="staging")
    assert workspace_in(shop.root / "tables" / "staging") == "staging"


def test_tables_of_an_older_version_are_spoken_of_once(shop: ServoProject) -> None:
    (shop.root / ".servo" / "data").mkdir(parents=True)
    first = shop.ok("run", "*", SERVO_WORKSPACE_ID="staging")
    assert "move them if they are of this workspace" in first.err
    assert "move them" not in shop.ok("run", "*", SERVO_WORKSPACE_ID="staging").err
