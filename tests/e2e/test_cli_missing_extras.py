"""An installation without the libraries that its project needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import servo
from servo_project import ServoProject

SHOP = """
from typing import Annotated
from servo import AssetIn, asset, custom_sql


@asset(namespace="raw")
def orders(ctx) -> list[dict[str, int]]:
    print("orders was called")
    return [{"price": 2}]


@asset(namespace="raw")
def plain(ctx):
    return [{"price": 2}]


@asset(namespace="raw")
def mail(ctx):
    print("sent")


@asset(namespace="mart")
def sales(ctx, orders: Annotated[list, AssetIn["raw.orders"]]):
    return orders


@asset(namespace="mart", checks=[custom_sql("select * from data where false", name="none")])
def asked(ctx):
    return [{"a": 1}]
"""


@pytest.fixture
def minimal(project: ServoProject, tmp_path: Path) -> ServoProject:
    """The project in an environment without pyarrow."""
    return without(project, tmp_path, "pyarrow")


def without(project: ServoProject, tmp_path: Path, package: str) -> ServoProject:
    # Every process imports it when it starts, as an environment of its own would be set up.
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")
    source = Path(servo.__file__).parents[1]
    project.environ["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{source}"
    project.write("assets/shop.py", SHOP)
    return project


def test_what_cannot_run_is_said_before_a_run_and_by_validate(minimal: ServoProject) -> None:
    assert "pip install 'arco-servo[parquet]'" in minimal.ok("validate").err
    refused = minimal.run("run", "*", "--json")
    assert refused.code == 78, refused
    assert refused.json["code"] == "MISSING_EXTRA"
    assert "mart.asked and 1 other asset" in refused.err
    assert minimal.ok("status", "--json").json["runs"] == []


def test_an_attempt_says_what_is_missing_and_is_not_repeated(minimal: ServoProject) -> None:
    failed = minimal.run("run", "raw.*", "--json")
    assert failed.code == 1, failed
    states = {one["assetKey"]["name"]: one for one in failed.json["tasks"]}
    for name in ("orders", "plain"):
        failure = states[name]["failure"]
        assert failure["category"] == "FAILURE_CATEGORY_CONFIGURATION"
        assert "pip install 'arco-servo[parquet]'" in failure["message"]
        assert states[name]["attempt"] == 1
    assert states["mail"]["state"] == "TASK_STATE_SUCCEEDED"
    log = minimal.ok("logs", "latest").out
    assert "sent" in log
    # Its annotation promises data, so it was not even called.
    assert "orders was called" not in log


def test_a_query_without_duckdb_is_refused_before_the_run(
    project: ServoProject, tmp_path: Path
) -> None:
    without(project, tmp_path, "duckdb")
    refused = project.run("run", "mart.asked")
    assert refused.code == 78, refused
    assert "pip install 'arco-servo[sql]'" in refused.err
    assert project.run("run", "raw.orders").code == 0
