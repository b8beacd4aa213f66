"""The border of user code, in the process of the test: what comes of what a function does."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servo import (
    Asset,
    AssetContext,
    AssetIn,
    AssetOut,
    Err,
    IoConfig,
    Ok,
    asset,
    custom_sql,
    errors,
    get_registry,
    not_null,
    row_count,
    unique,
)
from servo.io.storage import DataRoot
from servo.testing import RecordingReporter
from servo.types.ids import MaterializationId, RunId, TaskId
from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey
from servo.types.records import Failure, Materialization
from servo.types.runs import FailureCategory
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptSucceeded,
    InputPartition,
    Lease,
    TaskDispatch,
    TaskInput,
)
from servo.worker.execute import Environment, execute


@pytest.fixture(autouse=True)
def _clean_registry() -> Iterator[None]:
    get_registry().clear()
    yield
    get_registry().clear()


class Bench:
    """Executes assets below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reporter = RecordingReporter()
        self.token = 0

    def run(
        self,
        one: Asset[..., Any],
        *inputs: TaskInput,
        token: int = 0,
        budget: dict[str, str] | None = None,
    ) -> AttemptFinished:
        self.token = token or self.token + 1
        dispatch = TaskDispatch(
            lease=Lease(task_id=TaskId.generate(), attempt=1, token=self.token),
            run_id=RunId.generate(),
            asset=one.definition,
            partition_key=PartitionKey(),
            inputs=inputs,
            config={"mode": "full"},
            budget=budget or {},
        )
        environment = Environment(
            data_root=DataRoot(self.root), store_id="s1", tenant_id="acme", find=lambda _: one
        )
        return execute(dispatch, environment, self.reporter)

    def produced(self, one: Asset[..., Any], *inputs: TaskInput) -> Materialization:
        outcome = self.run(one, *inputs).outcome
        assert isinstance(outcome, AttemptSucceeded), (outcome, self.reporter.notes)
        return outcome.materialization

    def failure(self, one: Asset[..., Any], *inputs: TaskInput) -> Failure:
        outcome = self.run(one, *inputs).outcome
        assert isinstance(outcome, Failure)
        return outcome

    def log(self) -> str:
        return "\n".join(text for _, text in self.reporter.notes)

    def data(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(
            self.root / "default" / name / "data.parquet"
        ).to_pylist()
        return rows

    def upstream(self, parameter: str, key: str, table: pa.Table | None) -> TaskInput:
        path = f"in/{parameter}/data.parquet"
        if table is not None:
            (self.root / path).parent.mkdir(parents=True)
            pq.write_table(table, self.root / path)
        partition = InputPartition(
            partition_key=PartitionKey(),
            materialization_id=MaterializationId.generate(),
            has_data=table is not None,
            path=path,
        )
        return TaskInput(
            parameter_name=parameter, upstream_key=AssetKey.parse(key), partitions=(partition,)
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_returned_rows_are_published_and_described(bench: Bench) -> None:
    @asset
    def events(ctx: AssetContext) -> Any:
        return ctx.output([{"id": 1}, {"id": 2}], metadata={"source": "api"})

    found = bench.produced(events)
    assert bench.data("events") == [{"id": 1}, {"id": 2}]
    assert (found.has_data, found.row_count) == (True, 2)
    assert found.path == "default/events/data.parquet"
    assert found.byte_size == (bench.root / found.path).stat().st_size
    assert [(column.name, column.type) for column in found.columns] == [("id", "int64")]
    assert found.metadata == {"source": "api"}


def test_the_context_tells_what_the_dispatch_says(bench: Bench) -> None:
    seen: list[Any] = []

    @asset
    def events(ctx: AssetContext) -> None:
        seen.extend([ctx.config["mode"], ctx.tenant_id, ctx.attempt])
        ctx.report_progress("half", 50)
        ctx.report_metric("rows", 3)

    bench.produced(events)
    assert seen == ["full", "acme", 1]
    assert bench.reporter.progress_reports == [("half", 50)]
    assert bench.reporter.metrics == [("rows", 3)]


def test_zero_rows_with_a_schema_are_data(bench: Bench) -> None:
    @asset
    def events(ctx: AssetContext) -> Any:
        return AssetOut([], schema={"id": "int64"})

    found = bench.produced(events)
    assert (found.has_data, found.row_count) == (True, 0)


def test_none_is_a_side_effect_that_touches_no_disk(bench: Bench) -> None:
    @asset
    def events(ctx: AssetContext) -> None:
        return None

    found = bench.produced(events)
    assert (found.has_data, found.path) == (False, "")
    assert list(bench.root.iterdir()) == []


def test_none_after_data_sets_the_data_aside_and_says_so(bench: Bench) -> None:
    results: list[Any] = [[{"id": 1}], None]

    @asset
    def events(ctx: AssetContext) -> Any:
        return results.pop(0)

    bench.produced(events)
    bench.produced(events)
    directory = bench.root / "default" / "events"
    assert not (directory / "data.parquet").exists()
    assert (directory / "superseded.parquet").exists()
    assert "set aside" in bench.log()


@pytest.mark.parametrize("wrap", [lambda data: data, Ok, AssetOut, lambda data: Ok(AssetOut(data))])
def test_wrapped_results_are_unwrapped(bench: Bench, wrap: Callable[[Any], Any]) -> None:
    @asset
    def events(ctx: AssetContext) -> Any:
        return wrap(pl.DataFrame({"id": [1]}))

    assert bench.produced(events).row_count == 1


def test_a_coroutine_is_awaited(bench: Bench) -> None:
    @asset
    async def events(ctx: AssetContext) -> Any:
        await asyncio.sleep(0)
        return [{"id": 1}]

    assert bench.produced(events).row_count == 1


def _raises() -> Any:
    raise ValueError("bad row")


class Strange(BaseException):
    """Neither an Exception nor one of Python's own."""


def _strange() -> Any:
    raise Strange("x")


@pytest.mark.parametrize(
    ("ending", "reason", "message"),
    [
        (_raises, "exception", "ValueError: bad row"),
        (_strange, "exception", "Strange: x"),
        (lambda: sys.exit(0), "exit", "sys.exit(0)"),
        (lambda: Err("no luck"), "exception", "Err('no luck')"),
        (lambda: Err(ValueError("no luck")), "exception", "ValueError: no luck"),
        (lambda: 42, "exception", "returned int; expected"),
        (lambda: [], "exception", "schema="),
    ],
    ids=["raise", "BaseException", "sys.exit", "Err", "Err of exception", "wrong type", "empty"],
)
def test_every_other_ending_is_a_failure_of_the_user_code(
    bench: Bench, ending: Callable[[], Any], reason: str, message: str
) -> None:
    @asset
    def events(ctx: AssetContext) -> Any:
        return ending()

    failure = bench.failure(events)
    assert failure.category is FailureCategory.USER_CODE
    assert failure.reason == reason
    assert message in failure.message
    assert "\n" not in failure.message
    assert not (bench.root / "default").exists()


def test_a_coroutine_that_raises_is_a_failure(bench: Bench) -> None:
    @asset
    async def events(ctx: AssetContext) -> None:
        raise KeyError("k")

    assert bench.failure(events).message == "KeyError: 'k'"


def test_the_traceback_shows_the_authors_frames_only(bench: Bench) -> None:
    @asset
    def events(ctx: AssetContext) -> Any:
        return _raises()

    bench.failure(events)
    log = bench.log()
    assert "in events" in log
    assert "in _raises" in log
    assert "servo/worker" not in log


def test_what_fails_leaves_the_previous_data_in_place(bench: Bench) -> None:
    results: list[Any] = [[{"id": 1}], [{"id": 2}, {"id": None}]]

    @asset(checks=[not_null("id")])
    def events(ctx: AssetContext) -> Any:
        return results.pop(0)

    bench.produced(events)
    assert bench.failure(events).category is FailureCategory.DATA_QUALITY
    assert bench.data("events") == [{"id": 1}]
    assert [path.name for path in (bench.root / "default/events").glob(".staging*")] == []


@pytest.mark.parametrize("severity", ["error", "critical"])
def test_a_blocking_check_fails_the_attempt_for_good(bench: Bench, severity: str) -> None:
    @asset(checks=[row_count(5, severity=severity), unique("id", severity="info")])
    def events(ctx: AssetContext) -> Any:
        return [{"id": 1}, {"id": 1}]

    finished = bench.run(events)
    assert isinstance(finished.outcome, Failure)
    assert not finished.outcome.is_retryable
    assert "2 rows, at least 5 expected; the data was not published" in finished.outcome.message
    # Every check has run: one failure does not hide another.
    assert [(result.check_name, result.passed) for result in finished.checks] == [
        ("row_count", False), ("unique_id", False),
    ]  # fmt: skip


@pytest.mark.parametrize(("severity", "level"), [("info", "INFO"), ("warning", "WARNING")])
def test_a_check_that_does_not_block_is_recorded_and_logged(
    bench: Bench, severity: str, level: str
) -> None:
    @asset(checks=[row_count(5, severity=severity)])
    def events(ctx: AssetContext) -> Any:
        return [{"id": 1}]

    finished = bench.run(events)
    assert isinstance(finished.outcome, AttemptSucceeded)
    assert not finished.checks[0].passed
    assert (level, "check 'row_count' failed: 1 row, at least 5 expected") in bench.reporter.notes


EVENTS = pa.table({"id": [1, None]})


def test_a_lazy_handle_reads_what_upstream_wrote(bench: Bench) -> None:
    seen: list[Any] = []

    @asset
    def users(ctx: AssetContext, events: AssetIn[Literal["raw.events"]]) -> None:
        seen.append((events.read().num_rows, events.partitions, events.read(list)))

    bench.produced(users, bench.upstream("events", "raw.events", EVENTS))
    assert seen == [(2, (PartitionKey(),), [{"id": 1}, {"id": None}])]


def test_a_typed_parameter_arrives_as_its_type(bench: Bench) -> None:
    seen: list[Any] = []

    @asset
    def users(ctx: AssetContext, events: Annotated[pl.DataFrame, AssetIn["raw.events"]]) -> None:
        seen.append(events.height)

    bench.produced(users, bench.upstream("events", "raw.events", EVENTS))
    assert seen == [2]


def test_none_is_a_failure_where_the_annotation_promises_data(bench: Bench) -> None:
    @asset
    def users(ctx: AssetContext) -> list[dict[str, int]]:
        [{"id": 1}]  # type: ignore[return]  # the mistake under test  # noqa: B018  # likewise

    @asset
    async def visits(ctx: AssetContext) -> pa.Table:
        await asyncio.sleep(0)
        return None

    failure = bench.failure(users)
    assert "returned None, but is annotated to return list[dict[str, int]]" in failure.message
    assert failure.category is FailureCategory.USER_CODE
    assert failure.retryable is False
    assert "annotated to return Table" in bench.failure(visits).message


def test_none_is_a_side_effect_where_the_annotation_allows_it(bench: Bench) -> None:
    @asset
    def maybe(ctx: AssetContext) -> list[dict[str, int]] | None:
        return None

    @asset
    def anything(ctx: AssetContext) -> Any: ...

    @asset
    def said(ctx: AssetContext) -> AssetOut[list[Any] | None]:
        return AssetOut(None)

    for one in (maybe, anything, said):
        assert not bench.produced(one).has_data


def test_a_parameter_that_a_decorator_supplies_is_supplied(bench: Bench) -> None:
    def with_connection(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(ctx: AssetContext, **inputs: Any) -> Any:
            return function(ctx, connection="open", **inputs)

        signature = inspect.signature(function)
        kept = [one for one in signature.parameters.values() if one.name != "connection"]
        vars(wrapper)["__signature__"] = signature.replace(parameters=kept)
        return wrapper

    @asset
    @with_connection
    def users(ctx: AssetContext, connection: str) -> list[dict[str, str]]:
        return [{"connection": connection}]

    bench.produced(users)
    assert bench.data("users") == [{"connection": "open"}]


def test_a_pre_check_fails_the_attempt_before_the_function_runs(bench: Bench) -> None:
    called: list[bool] = []

    @asset(checks=[not_null("id", phase="pre")])
    def users(ctx: AssetContext, events: AssetIn[Literal["raw.events"]]) -> None:
        called.append(True)

    finished = bench.run(users, bench.upstream("events", "raw.events", EVENTS))
    assert isinstance(finished.outcome, Failure)
    assert "the function was not called" in finished.outcome.message
    assert [result.parameter_name for result in finished.checks] == ["events"]
    assert called == []


def test_a_pre_check_that_passes_lets_the_function_run(bench: Bench) -> None:
    @asset(checks=[custom_sql("SELECT * FROM data WHERE id > 5", phase="pre")])
    def users(ctx: AssetContext, events: AssetIn[Literal["raw.events"]]) -> Any:
        return events.read()

    assert bench.produced(users, bench.upstream("events", "raw.events", EVENTS)).row_count == 2


def test_reading_a_side_effect_is_a_failure_of_the_configuration(bench: Bench) -> None:
    @asset
    def users(ctx: AssetContext, events: AssetIn[Literal["raw.events"]]) -> Any:
        return events.read()

    failure = bench.failure(users, bench.upstream("events", "raw.events", None))
    assert failure.category is FailureCategory.CONFIGURATION
    assert "raw.events was materialised without data" in failure.message


def test_code_that_reads_more_than_was_deployed_is_a_mismatch(bench: Bench) -> None:
    @asset
    def users(ctx: AssetContext, events: AssetIn[Literal["raw.events"]]) -> None: ...

    failure = bench.failure(users)
    assert failure.category is FailureCategory.CONFIGURATION
    assert failure.reason == "configuration"


def test_a_function_that_lets_the_cancellation_pass_is_cancelled(bench: Bench) -> None:
    @asset
    def events(ctx: AssetContext) -> Any:
        bench.reporter.cancelled = True
        ctx.report_progress("never seen")

    assert isinstance(bench.run(events).outcome, AttemptCancelled)


def test_a_cancelled_function_that_returns_data_does_not_publish_it(bench: Bench) -> None:
    @asset
    def events(ctx: AssetContext) -> Any:
        bench.reporter.cancelled = True
        return [{"id": 1}]

    assert isinstance(bench.run(events).outcome, AttemptCancelled)
    assert not (bench.root / "default").exists()


def test_a_late_attempt_does_not_replace_the_data_of_a_newer_one(bench: Bench) -> None:
    results: list[Any] = [[{"id": 9}], [{"id": 1}]]

    @asset
    def events(ctx: AssetContext) -> Any:
        return results.pop(0)

    bench.run(events, token=9)
    outcome = bench.run(events, token=3).outcome
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.is_retryable) == ("lease_lost", True)
    assert bench.data("events") == [{"id": 9}]


def test_a_module_that_cannot_be_imported_fails_for_good(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "broken_module_of_a_test.py").write_text("import no_such_package_here\n")
    monkeypatch.syspath_prepend(tmp_path / "code")

    @asset
    def events(ctx: AssetContext) -> None: ...

    from dataclasses import replace

    code = replace(events.definition.code, module="broken_module_of_a_test")
    dispatch = TaskDispatch(
        lease=Lease(task_id=TaskId.generate(), attempt=1, token=1),
        run_id=RunId.generate(),
        asset=replace(events.definition, code=code),
        partition_key=PartitionKey(),
    )
    outcome = execute(dispatch, Environment(data_root=DataRoot(tmp_path)), bench.reporter).outcome
    assert isinstance(outcome, Failure)
    assert outcome.category is FailureCategory.CONFIGURATION
    assert "no_such_package_here" in outcome.message
    assert "import no_such_package_here" in bench.log()


def test_target_file_bytes_is_said_to_have_no_effect(bench: Bench) -> None:
    @asset(io=IoConfig(target_file_bytes=1000))
    def events(ctx: AssetContext) -> Any:
        return [{"id": 1}]

    bench.produced(events)
    assert "target_file_bytes has no effect" in bench.log()


def test_a_wrong_row_count_is_noted(bench: Bench) -> None:
    @asset
    def events(ctx: AssetContext) -> Any:
        return AssetOut([{"id": 1}], row_count=7)

    assert bench.produced(events).row_count == 1
    assert "row_count=7 was given, the number of rows is 1" in bench.log()


def test_a_servo_error_of_the_author_keeps_its_category(bench: Bench) -> None:
    @asset
    def events(ctx: AssetContext) -> Any:
        raise errors.ConfigurationError("no password", code="NO_PASSWORD")

    failure = bench.failure(events)
    assert (failure.category, failure.reason) == (FailureCategory.CONFIGURATION, "configuration")


def test_an_attempt_says_what_it_spent_however_it_ends(bench: Bench) -> None:
    endings: list[Callable[[], Any]] = [lambda: None, _raises]

    @asset
    def events(ctx: AssetContext) -> Any:
        ctx.spend("usd", "0.25")
        ctx.spend("usd", "0.5")
        return endings.pop(0)()

    for kind in (AttemptSucceeded, Failure):
        finished = bench.run(events)
        assert isinstance(finished.outcome, kind)
        assert finished.spent == {"usd": "0.75"}
    assert bench.reporter.spending == [{"usd": "0.25"}, {"usd": "0.75"}] * 2


def _swallow(ctx: AssetContext) -> Any:
    with contextlib.suppress(errors.BudgetExhaustedError):
        ctx.spend("usd", "2")
    return [{"id": 1}]


def _replace(ctx: AssetContext) -> Any:
    try:
        ctx.spend("usd", "2")
    except errors.BudgetExhaustedError as exc:
        raise KeyError("hidden") from exc


async def _in_a_group(ctx: AssetContext) -> Any:
    async def spend() -> None:
        ctx.spend("usd", "2")

    async with asyncio.TaskGroup() as group:
        group.create_task(spend())


@pytest.mark.parametrize(
    "function", [lambda ctx: ctx.spend("usd", "2"), _swallow, _replace, _in_a_group]
)
def test_a_spent_budget_fails_the_attempt_whatever_the_function_makes_of_it(
    bench: Bench, function: Callable[[AssetContext], Any]
) -> None:
    @asset
    def events(ctx: AssetContext) -> Any:
        return function(ctx)

    finished = bench.run(events, budget={"usd": "1.50"})
    failure = finished.outcome
    assert isinstance(failure, Failure)
    assert (failure.category, failure.reason) == (FailureCategory.CONFIGURATION, "budget")
    assert (failure.error_type, failure.is_retryable) == ("BudgetExhaustedError", False)
    assert "2 usd are spent of a budget of 1.50 usd" in failure.message
    assert "2 usd are spent" in bench.log()
    assert finished.spent == {"usd": "2"}
    assert not (bench.root / "default").exists()


def test_an_error_of_a_coroutine_is_shown_without_what_it_takes_to_run_one(bench: Bench) -> None:
    @asset
    async def fails(ctx: AssetContext) -> None:
        await asyncio.sleep(0)
        raise ValueError("mine")

    bench.failure(fails)
    log = bench.log()
    assert "ValueError: mine" in log
    assert "another exception" not in log
    assert "asyncio" not in log.replace("await asyncio", "")
    assert "servo/" not in log.replace(".servo/", "")
    assert "test_execute.py:" in log.splitlines()[-1]
    assert log.splitlines()[-1].endswith("fails")


def test_what_cannot_be_kept_names_the_function_that_returned_it(bench: Bench) -> None:
    @asset
    def number(ctx: AssetContext) -> Any:
        return 42

    assert bench.failure(number).retryable is False
    assert "test_execute.py:" in bench.log().splitlines()[-1]
    assert bench.log().endswith("number")
