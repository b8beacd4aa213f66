"""The context that an asset's function receives."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow
import pytest

from servo.context import LOGGER_NAME, AssetContext
from servo.errors import TaskCancelledError
from servo.types import PartitionKey, RunId, TaskId


@dataclass
class Recorder:
    said: list[tuple[object, ...]] = field(default_factory=list)
    cancelled: bool = False

    def progress(self, message: str, percentage: float | None) -> None:
        self.said.append(("progress", message, percentage))

    def metric(self, name: str, value: float) -> None:
        self.said.append(("metric", name, value))

    def check_cancelled(self) -> bool:
        return self.cancelled


class Rows:
    num_rows = 3


class Frame:
    height = 4


class Lazy:
    """A table whose size is a method, as of a dataset: calling it would read the data."""

    def num_rows(self) -> int:
        raise AssertionError("counted")


def test_a_context_has_defaults_for_a_unit_test() -> None:
    ctx = AssetContext()
    assert ctx.partition_key == PartitionKey()
    assert (ctx.run_id, ctx.task_id, ctx.attempt) == (None, None, 1)
    assert (ctx.tenant_id, ctx.workspace_id, ctx.config) == ("", "", {})


def test_a_context_keeps_what_it_was_given() -> None:
    run_id, task_id = RunId.generate(), TaskId.generate()
    key = PartitionKey({"date": date(2013, 1, 1)})
    ctx = AssetContext(
        partition_key=key,
        run_id=run_id,
        task_id=task_id,
        attempt=2,
        tenant_id="acme",
        workspace_id="w",
        config={"limit": 5},
    )
    assert (ctx.partition_key, ctx.run_id, ctx.task_id) == (key, run_id, task_id)
    assert (ctx.attempt, ctx.tenant_id, ctx.workspace_id) == (2, "acme", "w")
    assert ctx.config["limit"] == 5
    assert "2013" in repr(ctx)


def test_the_configuration_is_read_only() -> None:
    with pytest.raises(TypeError):
        AssetContext(config={"a": 1}).config["a"] = 2  # type: ignore[index]  # the point of the test


@pytest.mark.parametrize(
    ("data", "count"),
    [
        ([{"a": 1}, {"a": 2}], 2),
        ((), 0),
        (Rows(), 3),
        (Frame(), 4),
        (Lazy(), None),
        ("data.parquet", None),
        (b"bytes", None),
        (Path("data.parquet"), None),
        ({"a": [1, 2]}, None),
        (iter([1]), None),
        (None, None),
        (io.BytesIO(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rows_are_counted_where_the_data_can_tell(data: object, count: int | None) -> None:
    assert AssetContext().output(data).row_count == count


@pytest.mark.parametrize("library", [pandas, polars], ids=["pandas", "polars"])
def test_rows_of_a_frame_are_counted(library: Any) -> None:
    assert AssetContext().output(library.DataFrame({"a": [1, 2, 3]})).row_count == 3


def test_rows_of_an_arrow_table_are_counted() -> None:
    assert AssetContext().output(pyarrow.table({"a": [1, 2, 3]})).row_count == 3


def test_rows_of_a_lazy_frame_are_not_counted() -> None:
    assert AssetContext().output(polars.LazyFrame({"a": [1]})).row_count is None


def test_an_output_carries_schema_count_and_metadata() -> None:
    out = AssetContext().output([1], schema="s", row_count=9, metadata={"source": "x"})
    assert (out.schema, out.row_count, out.metadata) == ("s", 9, {"source": "x"})


def test_progress_and_metrics_reach_the_reporter() -> None:
    recorder = Recorder()
    ctx = AssetContext(reporter=recorder)
    ctx.report_progress("half", percentage=50)
    ctx.report_progress("somewhere")
    ctx.report_metric("rows", 7)
    assert recorder.said == [
        ("progress", "half", 50),
        ("progress", "somewhere", None),
        ("metric", "rows", 7),
    ]


def test_reports_without_a_reporter_are_dropped() -> None:
    ctx = AssetContext()
    ctx.report_progress("half", percentage=50)
    ctx.report_metric("rows", 7)


@pytest.mark.parametrize("percentage", [-1, 100.5, math.nan, math.inf])
def test_a_percentage_outside_0_to_100_is_refused(percentage: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        AssetContext().report_progress("x", percentage=percentage)


@pytest.mark.parametrize(("name", "value"), [("", 1), ("x", math.nan), ("x", math.inf)])
def test_a_metric_without_name_or_number_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="metric"):
        AssetContext().report_metric(name, value)


@pytest.mark.parametrize(
    "call",
    [
        lambda ctx: ctx.output([]),
        lambda ctx: ctx.report_progress("x"),
        lambda ctx: ctx.report_metric("x", 1),
        lambda ctx: ctx.log.info("x"),
    ],
)
def test_every_call_raises_once_the_task_was_cancelled(
    call: Callable[[AssetContext], object],
) -> None:
    recorder = Recorder()
    ctx = AssetContext(reporter=recorder)
    call(ctx)
    said = list(recorder.said)
    recorder.cancelled = True
    with pytest.raises(TaskCancelledError):
        call(ctx)
    assert recorder.said == said


def test_log_records_carry_the_attempt(caplog: pytest.LogCaptureFixture) -> None:
    run_id = RunId.generate()
    ctx = AssetContext(run_id=run_id, attempt=2, partition_key=PartitionKey({"n": 1}))
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        ctx.log.info("read %d rows", 5)
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("servo.asset", "read 5 rows")
    assert vars(record)["run_id"] == run_id
    assert vars(record)["attempt"] == 2
    assert vars(record)["partition_key"] == '{"n":"i:1"}'
