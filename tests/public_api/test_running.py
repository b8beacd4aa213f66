"""From source to tables: one asset in this process, a project through the control plane."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import pytest

import servo
from servo import AssetContext, AssetIn, asset, row_count
from servo.errors import DataQualityError
from servo.testing import local_plane, materialize

# Every frame library and every kind of check that needs a package of its own.
PROJECT = '''
from typing import Annotated

import pandas as pd
import polars as pl
import pyarrow as pa

from servo import AssetContext, AssetIn, DailyPartition, all_partitions, asset
from servo import custom_sql, not_null, row_count, unique

DAYS = DailyPartition("date", start="2025-01-01", end="2025-01-03")


@asset(namespace="raw", partitions=DAYS, checks=[row_count(min_rows=1), not_null("day")])
def orders(ctx: AssetContext) -> pa.Table:
    """Orders of a day."""
    day = ctx.partition_key.dimensions["date"].day
    ctx.report_progress("made", percentage=100)
    return pa.table({"day": [day] * day, "amount": [10 * n for n in range(day)]})


@asset(namespace="staging", partitions=DAYS)
def totals(ctx: AssetContext, orders: Annotated[pd.DataFrame, AssetIn["raw.orders"]]):
    """Sum of a day, by pandas."""
    return orders.groupby("day", as_index=False)["amount"].sum()


@asset(
    namespace="mart",
    checks=[unique("day"), custom_sql("select * from data where amount < 0", name="positive")],
)
def revenue(
    ctx: AssetContext,
    totals: Annotated[pl.DataFrame, AssetIn["staging.totals"], all_partitions()],
) -> pl.DataFrame:
    """All days, by polars."""
    return totals.sort("day")
'''


def servo_command(root: Path, *arguments: str) -> str:
    environment = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("SERVO_", "PYTEST")) and name != "CI"
    }
    # The same package as here, whether it is installed or lies in a tree.
    place = str(Path(servo.__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "servo.cli.main", *arguments],
        cwd=root,
        env=environment | {"PYTHONPATH": place, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr}"
    return done.stdout


def test_a_project_runs_through_the_embedded_control_plane(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets/shop.py").write_text(PROJECT, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("[tool.servo]\n", encoding="utf-8")
    run = json.loads(servo_command(tmp_path, "run", "*", "--all-partitions", "--json"))
    assert run["state"] == "RUN_STATE_SUCCEEDED"
    assert {task["state"] for task in run["tasks"]} == {"TASK_STATE_SUCCEEDED"}
    assert len(run["tasks"]) == 7
    table = pq.read_table(tmp_path / ".servo/data/mart/revenue/data.parquet")
    assert table.to_pylist() == [
        {"day": 1, "amount": 0},
        {"day": 2, "amount": 10},
        {"day": 3, "amount": 30},
    ]


def test_one_asset_is_materialised_without_a_control_plane() -> None:
    @asset
    def doubled(
        ctx: AssetContext, numbers: Annotated[list[dict[str, int]], AssetIn["raw.numbers"]]
    ) -> list[dict[str, int]]:
        """Twice as much."""
        return [{"n": 2 * row["n"]} for row in numbers]

    made = materialize(doubled, inputs={"numbers": [{"n": 1}, {"n": 2}]})
    assert made.table is not None
    assert made.table.to_pylist() == [{"n": 2}, {"n": 4}]


def test_a_check_that_fails_keeps_the_data_back() -> None:
    @asset(checks=[row_count(min_rows=2)])
    def scarce(ctx: AssetContext) -> list[dict[str, int]]:
        """One row."""
        return [{"n": 1}]

    with pytest.raises(DataQualityError, match="row_count"):
        materialize(scarce)


def test_a_control_plane_in_this_process_answers() -> None:
    with local_plane() as plane, plane.client() as client:
        assert client.server.info().ready
