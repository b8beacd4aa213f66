from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal

import polars as pl
import pytest

from servo import (
    AssetContext,
    AssetIn,
    DailyPartition,
    ExecutionPolicy,
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


def test_an_exception_is_raised_with_its_traceback() -> None:
    @asset
    def users(ctx: AssetContext) -> Any:
        raise KeyError("gone")

    with pytest.raises(errors.ServoError, match="in users"):
        materialize(users)


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
