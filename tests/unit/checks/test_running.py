from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.checks.inputs import run_on_inputs
from servo.checks.running import run
from servo.types import (
    Check,
    CheckPhase,
    CheckSeverity,
    CheckType,
    custom_sql,
    freshness,
    not_null,
    row_count,
    unique,
)

NOW = datetime(2025, 1, 10, 12, tzinfo=UTC)
TABLE = pa.table(
    {
        "id": [1, 2, 2, None],
        "name": ["a", "b", "b", None],
        "day": [date(2025, 1, 1), date(2025, 1, 9), None, date(2025, 1, 2)],
    }
)
EMPTY = TABLE.slice(0, 0)


def test_a_result_carries_the_definition_of_its_check() -> None:
    check = row_count(1, name="some", phase="pre", severity="warning")
    result = run(check, TABLE, "events")
    assert (result.check_name, result.check_type) == ("some", CheckType.ROW_COUNT)
    assert (result.phase, result.severity) == (CheckPhase.PRE, CheckSeverity.WARNING)
    assert result.parameter_name == "events"


@pytest.mark.parametrize(
    ("low", "high", "passed", "failed_rows"),
    [(4, None, True, None), (5, None, False, None), (None, 4, True, None), (None, 3, False, 1)],
)
def test_row_counts_are_compared_with_inclusive_bounds(
    low: int | None, high: int | None, passed: bool, failed_rows: int | None
) -> None:
    result = run(row_count(low, high), TABLE)
    assert (result.passed, result.failed_rows) == (passed, failed_rows)
    assert result.observed == {"row_count": "4"}


def test_rows_with_a_null_in_any_column_are_counted_once() -> None:
    result = run(not_null("id", "day"), TABLE)
    assert not result.passed
    assert result.failed_rows == 2
    assert result.observed == {"nulls.id": "1", "nulls.day": "1"}
    assert "'id' has 1 null in 4 rows" in result.message


def test_a_share_of_values_at_the_limit_passes() -> None:
    assert run(not_null("id", min_ratio="0.75"), TABLE).passed
    assert not run(not_null("id", min_ratio="0.750001"), TABLE).passed


def test_repeated_rows_are_counted_beyond_the_first_and_shown() -> None:
    result = run(unique("id", "name"), TABLE)
    assert not result.passed
    assert result.failed_rows == 1
    assert "(2, 'b')" in result.message


def test_nulls_count_as_equal_values() -> None:
    table = pa.table({"a": [None, None, 1]}, schema=pa.schema([("a", pa.int64())]))
    assert run(unique("a"), table).failed_rows == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["x", "y", None])), max_size=30))
def test_uniqueness_agrees_with_a_set_of_python_tuples(rows: list[tuple[int, str | None]]) -> None:
    table = pa.table(
        {"a": [row[0] for row in rows], "b": [row[1] for row in rows]},
        schema=pa.schema([("a", pa.int64()), ("b", pa.string())]),
    )
    assert run(unique("a", "b"), table).failed_rows == len(rows) - len(set(rows))


def test_values_that_cannot_be_compared_are_a_failure_that_names_the_type() -> None:
    result = run(unique("tags"), pa.table({"tags": [["a"], ["b"]]}))
    assert not result.passed
    assert "list<" in result.message


@pytest.mark.parametrize(
    ("values", "kind", "passed"),
    [
        ([datetime(2025, 1, 10, 11, 30)], pa.timestamp("us"), True),
        ([datetime(2025, 1, 10, 10, 59)], pa.timestamp("us"), False),
        ([datetime(2025, 1, 10, 13, 30, tzinfo=timezone(timedelta(hours=2)))],
         pa.timestamp("ns", "Europe/Berlin"), True),
        ([None, datetime(2025, 1, 10, 11, 30)], pa.timestamp("s"), True),
        ([datetime(2030, 1, 1)], pa.timestamp("ms"), True),
        ([date(2025, 1, 10)], pa.date32(), False),
    ],
)  # fmt: skip
def test_the_newest_time_is_measured_against_the_clock_in_utc(
    values: list[object], kind: pa.DataType, passed: bool
) -> None:
    result = run(
        freshness("at", max_age=timedelta(hours=1)),
        pa.table({"at": pa.array(values, kind)}),
        now=NOW,
    )
    assert result.passed is passed, result.message


def test_a_date_is_as_old_as_its_first_moment() -> None:
    check = freshness("day", max_age=timedelta(hours=36))
    result = run(check, TABLE, now=NOW)
    assert result.passed
    assert result.observed["age_seconds"] == str(36 * 3600)


@pytest.mark.parametrize(
    ("check", "passed"),
    [
        (row_count(min_rows=1), False),
        (row_count(max_rows=1), True),
        (not_null("id"), True),
        (unique("id"), True),
        (freshness("day", hours=1), False),
        (custom_sql("SELECT * FROM data"), True),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_empty_tables(check: Check, passed: bool) -> None:
    assert run(check, EMPTY, now=NOW).passed is passed


@pytest.mark.parametrize("check", [not_null("x"), unique("x"), freshness("x", hours=1)])
def test_a_missing_column_is_a_failure_that_lists_those_that_exist(check: Check) -> None:
    result = run(check, TABLE)
    assert not result.passed
    assert result.message == "there is no column 'x'; the columns are 'id', 'name', 'day'"


def test_freshness_of_a_text_column_is_a_failure_that_names_its_type() -> None:
    assert "is string" in run(freshness("name", hours=1), TABLE).message


def test_rows_that_a_query_returns_are_violations() -> None:
    result = run(custom_sql("SELECT * FROM data WHERE id > 1;  -- too big"), TABLE)
    assert (result.passed, result.failed_rows) == (False, 2)
    assert "id=2" in result.message


def test_a_query_without_rows_passes() -> None:
    assert run(custom_sql("SELECT 1 FROM data WHERE id > 5"), TABLE).passed


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT nope FROM data", "nope"),
        ("SELEKT 1", "cannot be run"),
        ("DROP TABLE data", "one SELECT"),
        ("SELECT 1; SELECT 2", "one SELECT"),
        ("SELECT * FROM '/etc/passwd'", "cannot be run"),
        ("SELECT * FROM read_csv('/etc/passwd')", "cannot be run"),
    ],
)
def test_a_query_that_cannot_be_run_is_a_failure_that_says_why(query: str, message: str) -> None:
    result = run(custom_sql(query), TABLE)
    assert not result.passed
    assert message in result.message


def test_a_query_without_duckdb_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(errors.ConfigurationError, match=r"arco-servo\[sql\]"):
        run(custom_sql("SELECT 1"), TABLE)


OTHER = pa.table({"id": [1], "code": ["x"]})


@pytest.mark.parametrize(
    ("check", "parameters"),
    [
        (row_count(1), ["events", "codes"]),
        (not_null("id"), ["events", "codes"]),
        (not_null("code"), ["codes"]),
        (not_null("nowhere"), ["events", "codes"]),
        (custom_sql("SELECT * FROM data WHERE code = 'y'"), ["codes"]),
        (custom_sql("SELECT * FROM data WHERE nowhere"), ["events", "codes"]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_check_of_inputs_runs_on_those_it_can_be_meant_for(
    check: Check, parameters: list[str]
) -> None:
    results = run_on_inputs(check, {"events": TABLE, "codes": OTHER})
    assert [result.parameter_name for result in results] == parameters


def test_a_type_that_duckdb_cannot_read_is_a_failure_that_names_the_column() -> None:
    values = [Decimal(1)]
    table = pa.table(
        {
            "id": [1],
            "price": pa.array(values, pa.decimal256(50, 2)),
            "total": pa.array(values, pa.decimal256(60, 2)),
        }
    )
    result = run(custom_sql("SELECT * FROM data"), table)
    assert not result.passed
    assert (
        "DuckDB cannot read the columns 'price' of type decimal256(50, 2), "
        "'total' of type decimal256(60, 2)" in result.message
    )
    alone = run(custom_sql("SELECT * FROM data"), table.select(["id", "price"]))
    assert "cannot read the column 'price' of type decimal256(50, 2);" in alone.message
    assert run(custom_sql("SELECT * FROM data WHERE id > 1"), table.select(["id"])).passed


def test_what_a_query_says_that_cannot_be_run_is_one_line() -> None:
    result = run(custom_sql("SELECT *\n FROM data\n WHERE nowhere > 1"), TABLE)
    assert "nowhere" in result.message
    assert "\n" not in result.message
    assert "LINE" not in result.message


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (row_count(2), "1 row, at least 2 expected"),
        (row_count(1), "1 row"),
        (not_null("a"), "'a' has 1 null in 1 row"),
        (custom_sql("SELECT 1"), "1 violating row, for example"),
    ],
    ids=["too few", "enough", "nulls", "query"],
)
def test_one_is_told_in_the_singular(check: Check, message: str) -> None:
    table = pa.table({"a": pa.array([None], pa.int64())})
    assert run(check, table).message.startswith(message)


def test_one_repeated_row_is_told_in_the_singular() -> None:
    result = run(unique("a"), pa.table({"a": [1, 1]}))
    assert result.message.startswith("1 row repeats the (a) of another")
