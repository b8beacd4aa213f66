from __future__ import annotations

import asyncio
import bdb
import os
import signal
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import pyarrow as pa
import pytest

from servo import (
    AssetContext,
    AssetIn,
    AssetOut,
    DailyPartition,
    Err,
    ExecutionPolicy,
    PartitionKey,
    TenantDimension,
    asset,
    errors,
    get_registry,
    not_null,
    row_count,
)
from servo.testing import RecordingReporter, make_context, materialize


@pytest.fixture(autouse=True)
def _clean_registry() -> Iterator[None]:
    get_registry().clear()
    yield
    get_registry().clear()


def test_an_asset_is_run_with_its_inputs_and_read_back() -> None:
    @asset(partitions=DailyPartition("date"))
    def users(
        ctx: AssetContext, events: Annotated[pl.DataFrame, AssetIn["raw.events"]]
    ) -> pl.DataFrame:
        return events.with_columns(day=pl.lit(ctx.partition_key.dimensions["date"]))

    found = materialize(users, partition={"date": date(2025, 1, 5)}, inputs={"events": [{"id": 1}]})
    assert found.table is not None
    assert found.table.to_pylist() == [{"id": 1, "day": date(2025, 1, 5)}]
    assert found.materialization is not None
    assert found.materialization.path == "default/users/date=2025-01-05/data.parquet"


def test_a_failed_check_is_raised() -> None:
    @asset(checks=[not_null("id")])
    def users(ctx: AssetContext) -> Any:
        return [{"id": None}]

    with pytest.raises(errors.DataQualityError, match="not_null_id"):
        materialize(users)


def test_an_exception_is_raised_as_it_is_and_its_traceback_ends_in_the_function() -> None:
    @asset
    def users(ctx: AssetContext) -> Any:
        try:
            raise OSError("below")
        except OSError as exc:
            raise ConnectionError("gone") from exc

    with pytest.raises(ConnectionError, match=r"^gone$") as caught:
        materialize(users)
    assert isinstance(caught.value.__cause__, OSError)
    assert [entry.name for entry in caught.traceback][-1] == "users"
    frames = [str(entry.path) for entry in caught.traceback]
    assert sum("/servo/" in path for path in frames) == 1


@pytest.mark.parametrize("raise_on_error", [True, False])
@pytest.mark.parametrize(
    "outcome",
    [
        KeyboardInterrupt(),
        SystemExit(3),
        pytest.skip.Exception("not here"),
        pytest.fail.Exception("no"),
        pytest.xfail.Exception("known"),
        pytest.exit.Exception("enough"),
        unittest.SkipTest("not here"),
        bdb.BdbQuit(),
        GeneratorExit(),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_what_is_no_failure_of_the_function_goes_through(
    outcome: BaseException, raise_on_error: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asset
    def users(ctx: AssetContext) -> Any:
        raise outcome

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(type(outcome)) as caught:
        materialize(users, raise_on_error=raise_on_error)
    assert caught.value is outcome
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_from_outside_ends_the_call(tmp_path: Path) -> None:
    @asset
    def users(ctx: AssetContext) -> Any:
        signal.raise_signal(signal.SIGINT)
        time.sleep(30)

    # A shell starts what it runs in the background with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            materialize(users, raise_on_error=False)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_exit_of_the_function_that_an_async_asset_makes_goes_through() -> None:
    @asset
    async def users(ctx: AssetContext) -> Any:
        sys.exit(3)

    with pytest.raises(SystemExit):
        materialize(users)


def test_every_check_that_failed_is_among_the_notes() -> None:
    @asset(checks=[not_null("id"), row_count(2)])
    def users(ctx: AssetContext) -> Any:
        return [{"id": None}]

    with pytest.raises(errors.DataQualityError, match="not_null_id") as caught:
        materialize(users)
    assert any("row_count" in note for note in caught.value.__notes__)
    # What Servo did in between is of no use to the author of the asset.
    assert [entry.name for entry in caught.traceback][1:] == ["materialize"]


def test_an_err_raises_its_exception_or_says_what_it_held() -> None:
    @asset
    def refused(ctx: AssetContext) -> Any:
        return Err(PermissionError("no"))

    @asset
    def described(ctx: AssetContext) -> Any:
        return Err("no rows today")

    with pytest.raises(PermissionError, match=r"^no$"):
        materialize(refused)
    with pytest.raises(errors.ServoError, match="no rows today"):
        materialize(described)


def test_a_result_that_is_no_data_is_refused() -> None:
    @asset
    def users(ctx: AssetContext) -> Any:
        return object()

    with pytest.raises(errors.InvalidArgumentError, match="the function returned object"):
        materialize(users)


def test_an_async_asset_runs_where_a_loop_runs_already() -> None:
    marker: ContextVar[str] = ContextVar("marker", default="unset")

    @asset
    async def users(ctx: AssetContext) -> Any:
        await asyncio.sleep(0)
        return [{"marker": marker.get()}]

    async def cell() -> Any:
        marker.set("of the caller")
        return materialize(users).table

    assert asyncio.run(cell()).to_pylist() == [{"marker": "of the caller"}]
    assert "servo-coroutine" not in " ".join(one.name for one in threading.enumerate())


def test_an_async_asset_fails_in_a_running_loop_as_it_does_elsewhere() -> None:
    @asset
    async def users(ctx: AssetContext) -> Any:
        await asyncio.sleep(0)
        raise ConnectionError("gone")

    async def cell() -> None:
        with pytest.raises(ConnectionError, match="gone"):
            materialize(users)
        assert materialize(users, raise_on_error=False).failure is not None

    asyncio.run(cell())


def test_an_interrupt_cancels_an_async_asset_that_runs_beside_a_loop() -> None:
    ended: list[str] = []

    @asset
    async def users(ctx: AssetContext) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def cell() -> None:
        # Not asyncio.run's own handler: a notebook interrupts with Python's.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        materialize(users)

    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(cell())
    assert ended == ["cancelled"]
    assert time.monotonic() - before < 20


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        ({"date": "2025-01-01"}, r"'date' holds date values, got the string '2025-01-01'"),
        ({"date": "rubbish"}, r"'date' holds date values, got the string 'rubbish'"),
        ({"date": date(1999, 1, 1)}, "1999-01-01 lies outside the declared range"),
        ({"day": date(2025, 1, 1)}, r"unknown partition dimension 'day': the asset has \['date'\]"),
        ({"date": 1.5}, "float"),
        ({"date": object()}, "object"),
        (None, r"missing partition dimension 'date': the asset has \['date'\]"),
        (PartitionKey(), "missing partition dimension 'date'"),
    ],
)
def test_a_partition_is_checked_before_the_function_runs(partition: Any, message: str) -> None:
    ran: list[bool] = []

    @asset(partitions=DailyPartition("date", start="2025-01-01", end="2025-01-02"))
    def day(ctx: AssetContext) -> None:
        ran.append(True)

    with pytest.raises(errors.InvalidArgumentError, match=message) as caught:
        materialize(day, partition=partition, raise_on_error=False)
    assert "asset 'default.day'" in str(caught.value)
    assert not ran


def test_an_asset_without_partitions_takes_none() -> None:
    @asset
    def users(ctx: AssetContext) -> None: ...

    with pytest.raises(errors.InvalidArgumentError, match="the asset is not partitioned"):
        materialize(users, partition={"date": date(2025, 1, 1)})


def test_a_period_that_is_not_over_yet_can_be_tested() -> None:
    @asset(partitions=DailyPartition("date", start="2025-01-01"))
    def day(ctx: AssetContext) -> None: ...

    made = materialize(day, partition={"date": date(2999, 1, 1)}).materialization
    assert made is not None


def test_the_tenant_of_the_partition_is_that_of_the_context() -> None:
    @asset(partitions=TenantDimension())
    def users(ctx: AssetContext) -> Any:
        return [{"tenant": ctx.tenant_id}]

    table = materialize(users, partition={"tenant": "acme"}).table
    assert table is not None
    assert table.to_pylist() == [{"tenant": "acme"}]


@pytest.mark.parametrize(
    ("kind", "empty"),
    [(list, []), (pl.DataFrame, pl.DataFrame()), (pa.Table, pa.table({}))],
)
def test_an_empty_list_is_an_input_without_rows(kind: type, empty: Any) -> None:
    seen: list[Any] = []

    def users(ctx: AssetContext, events: Any) -> None:
        seen.append(events)

    users.__annotations__["events"] = Annotated[kind, AssetIn[Literal["raw.events"]]]
    materialize(asset(users), inputs={"events": []})
    if isinstance(empty, pl.DataFrame):
        assert seen[0].equals(empty)
    else:
        assert seen == [empty]


def test_an_empty_input_has_the_columns_that_its_schema_says() -> None:
    @asset
    def users(
        ctx: AssetContext, events: Annotated[pl.DataFrame, AssetIn[Literal["raw.events"]]]
    ) -> pl.DataFrame:
        return events.select("id")

    found = materialize(users, inputs={"events": AssetOut([], schema={"id": "int64"})})
    assert found.table is not None
    assert found.table.column_names == ["id"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (object(), r"inputs\['events'\] cannot be used: it is object; expected"),
        ([1], r"inputs\['events'\] cannot be used: it is a list of int"),
        ("a.csv", r"inputs\['events'\] cannot be used: it is str \(wrap a file name"),
        ([{"a": 1}, {"b": 1}], r"inputs\['events'\] cannot be used: row 1"),
        (Path("a.xlsx"), r"inputs\['events'\] cannot be used: it is the path 'a.xlsx'"),
        (pa.table({"u": pa.array([{}], pa.struct([]))}), r"inputs\['events'\] cannot be used: "),
    ],
)
def test_an_input_that_is_no_data_is_refused_by_name(data: Any, message: str) -> None:
    @asset
    def users(ctx: AssetContext, events: AssetIn[Literal["raw.events"]]) -> None: ...

    with pytest.raises(errors.InvalidArgumentError, match=message):
        materialize(users, inputs={"events": data})


def test_a_function_that_is_not_decorated_is_refused() -> None:
    def users(ctx: AssetContext) -> None: ...

    with pytest.raises(TypeError, match=r"got 'test_a_function.*users': decorate it first"):
        materialize(users)  # type: ignore[arg-type]  # the mistake under test


def test_failures_can_be_looked_at_instead() -> None:
    @asset(checks=[row_count(2)])
    def users(ctx: AssetContext) -> Any:
        ctx.report_metric("n", 1)
        return [{"id": 1}]

    found = materialize(users, raise_on_error=False)
    assert found.failure is not None
    assert found.table is None
    assert [result.passed for result in found.checks] == [False]
    assert found.reporter.metrics == [("n", 1)]


def test_a_side_effect_has_no_table() -> None:
    @asset
    def users(ctx: AssetContext) -> None: ...

    assert materialize(users).table is None


def test_inputs_must_be_those_of_the_asset() -> None:
    @asset
    def users(ctx: AssetContext, events: AssetIn[Literal["raw.events"]]) -> None: ...

    with pytest.raises(errors.InvalidArgumentError, match=r"reads \['events'\]"):
        materialize(users, inputs={"event": []})


def test_a_context_can_be_cancelled() -> None:
    reporter = RecordingReporter()
    ctx = make_context(partition={"region": "eu"}, reporter=reporter)
    assert ctx.partition_key.dimensions == {"region": "eu"}
    ctx.report_progress("fine")
    reporter.cancelled = True
    with pytest.raises(errors.TaskCancelledError):
        ctx.report_progress("not fine")


def test_a_test_sees_what_was_spent_and_sets_the_budget() -> None:
    @asset(execution=ExecutionPolicy(budget={"usd": "1"}))
    def users(ctx: AssetContext) -> None:
        ctx.spend("usd", "0.75")

    assert materialize(users).spent == {"usd": "0.75"}
    with pytest.raises(errors.BudgetExhaustedError, match=r"budget of 0\.50 usd"):
        materialize(users, budget={"usd": "0.50"})
    found = materialize(users, budget={"usd": "0.50"}, raise_on_error=False)
    assert found.spent == {"usd": "0.75"}


def test_the_budget_of_the_asset_holds_in_a_test() -> None:
    @asset(execution=ExecutionPolicy(budget={"usd": "1"}))
    def users(ctx: AssetContext) -> None:
        ctx.spend("usd", "1.01")

    with pytest.raises(errors.BudgetExhaustedError):
        materialize(users)
