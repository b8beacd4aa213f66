"""The public API as users write it: type-checked, never run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, assert_type

import polars as pl

from servo import (
    AssetContext,
    AssetId,
    AssetIn,
    AssetKey,
    AssetOut,
    Check,
    DailyPartition,
    Err,
    Ok,
    PartitionKey,
    RunId,
    StaticDimension,
    all_partitions,
    asset,
    custom_sql,
    latest,
    not_null,
    row_count,
    window,
)
from servo.client import AsyncClient, AsyncStream, Call, Client, Stream, TokenFile
from servo.result import Result, attempt, collect
from servo.types import AssetDefinition, PartitionDimension, PartitionSet, TimeDimension
from servo.types.events import Event
from servo.types.logs import LogBatch
from servo.types.records import Run
from servo.types.requests import CreateRunResponse
from servo.types.runs import RerunScope


@asset
def bare(ctx: AssetContext) -> pl.DataFrame:
    return pl.DataFrame()


@asset(
    name="clean",
    partitions=[DailyPartition("date", start="2013-01-01"), StaticDimension("region", ["us"])],
    owners=["me"],
    tags={"team": "a"},
    checks=[row_count(min_rows=1), not_null("carrier"), custom_sql("select 1", severity="info")],
    max_retries=1,
)
def with_arguments(
    ctx: AssetContext,
    lazy: AssetIn[Literal["raw.events"]],
    frame: Annotated[pl.DataFrame, AssetIn["raw.flights"], window(days=7)],
    newest: Annotated[pl.DataFrame, AssetIn["raw.airports"], latest()],
    whole: Annotated[pl.DataFrame | None, AssetIn["raw.planes"], all_partitions()],
    *,
    limit: int = 5,
) -> AssetOut[pl.DataFrame]:
    assert_type(lazy.read(), Any)
    assert_type(lazy.read(pl.DataFrame), pl.DataFrame)
    assert_type(lazy.key, AssetKey)
    assert_type(lazy.partitions, tuple[PartitionKey, ...])
    ctx.report_progress("half", percentage=50)
    ctx.report_metric("rows", frame.height)
    ctx.log.info("read %d rows", frame.height)
    return ctx.output(frame.head(limit), metadata={"source": "x"})


@asset
async def asynchronous(ctx: AssetContext) -> int:
    return 1


def assets_keep_their_types(ctx: AssetContext) -> None:
    assert_type(bare(ctx), pl.DataFrame)
    assert_type(bare.key, AssetKey)
    assert_type(bare.definition, AssetDefinition)
    bare()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # ctx is required


async def asynchronous_assets_are_awaited(ctx: AssetContext) -> None:
    assert_type(await asynchronous(ctx), int)


def ids_are_told_apart(asset_id: AssetId) -> None:
    assert_type(AssetId.generate(), AssetId)
    assert_type(RunId.validate("x"), RunId)
    run_id: RunId = asset_id  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # another kind


def dimensions_are_narrowed(dimension: PartitionDimension) -> None:
    if isinstance(dimension, TimeDimension):
        assert_type(dimension.start, str | None)


def sets_are_walked(partitions: PartitionSet) -> None:
    for key in partitions:
        assert_type(key, PartitionKey)


def results_are_matched(result: Result[int, ValueError]) -> int:
    match result:
        case Ok(value):
            return assert_type(value, int)
        case Err(error):
            raise assert_type(error, ValueError)


def results_are_chained(result: Result[int, ValueError]) -> str:
    assert_type(result.map(str), Result[str, ValueError])
    assert_type(result.unwrap_or(0), int)
    assert_type(collect([result]), Result[tuple[int, ...], ValueError])
    assert_type(attempt(lambda: 3), Result[int, Exception])
    assert_type(attempt(lambda: 3, catch=KeyError), Result[int, KeyError])
    return result.match(ok=str, err=repr)


def streams_and_pages_know_what_they_hold(client: Client) -> None:
    assert_type(client.runs.watch("r"), Stream[Event])
    assert_type(client.runs.create("+mart.a and not raw.*"), CreateRunResponse)
    assert_type(client.runs.rerun("r", selection=["mart.*"], scope=RerunScope.ALL).run, Run)
    for run in client.runs.list():
        assert_type(run, Run)
    with client.logs.read("r") as batches:
        assert_type(next(batches), LogBatch)
    assert_type(client.with_options(timeout=None), Client)


async def asynchronous_ones_do_too(client: AsyncClient) -> None:
    assert_type(await client.runs.get("r"), Run)
    assert_type(client.runs.watch("r"), AsyncStream[Event])
    async for run in client.runs.list():
        assert_type(run, Run)


def interceptors_are_objects_or_functions() -> None:
    class Both:
        def unary(self, call: Call, proceed: Callable[[Call], Any]) -> Any:
            return proceed(call)

        def stream(self, call: Call, proceed: Callable[[Call], Iterator[Any]]) -> Iterator[Any]:
            yield from proceed(call)

    def function(call: Call, proceed: Callable[[Call], Any]) -> Any:
        call.metadata["x-team"] = "data"
        return proceed(call)

    Client("grpc://127.0.0.1:1", interceptors=[Both(), function], api_key=TokenFile("key"))


def checks_have_one_type() -> list[Check]:
    return [row_count(1), not_null("a")]
