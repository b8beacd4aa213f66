"""Check definitions and results."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given

import strategies
from servo.types import (
    BaseCheck,
    Check,
    CheckPhase,
    CheckResult,
    CheckSeverity,
    CheckType,
    CustomSqlCheck,
    FreshnessCheck,
    NotNullCheck,
    RowCountCheck,
    UniqueCheck,
    custom_sql,
    freshness,
    not_null,
    row_count,
    unique,
)

# Values of the wrong type, unknown to the type checker.
ANY_INT: Any = 5
ANY_FLOAT: Any = 1.5
ANY_TEXT: Any = "abc"


@pytest.mark.parametrize(
    ("check", "name", "check_type"),
    [
        (row_count(min_rows=1), "row_count", CheckType.ROW_COUNT),
        (not_null("carrier", "flight"), "not_null_carrier_flight", CheckType.NOT_NULL),
        (not_null("sched dep/time"), "not_null_sched_dep_time", CheckType.NOT_NULL),
        (unique("a", "b"), "unique_a_b", CheckType.UNIQUE),
        (freshness("ts", hours=1), "freshness_ts", CheckType.FRESHNESS),
        (custom_sql("select 1"), "custom_sql_822ae07d", CheckType.CUSTOM_SQL),
    ],
)
def test_a_check_is_named_after_its_parameters(
    check: Check, name: str, check_type: CheckType
) -> None:
    assert (check.name, check.check_type) == (name, check_type)
    assert isinstance(check, BaseCheck)
    assert isinstance(check, Check)


@pytest.mark.parametrize(
    ("made", "same"),
    [
        (row_count(1, 5), RowCountCheck(min_rows=1, max_rows=5)),
        (not_null("a", min_ratio=0.995), NotNullCheck(columns=("a",), min_ratio_ppm=995_000)),
        (not_null("a", min_ratio="0.1"), NotNullCheck(columns=("a",), min_ratio_ppm=100_000)),
        (
            not_null("a", min_ratio=Fraction(1, 3)),
            NotNullCheck(columns=("a",), min_ratio_ppm=333_333),
        ),
        (unique("a"), UniqueCheck(columns=("a",))),
        (
            freshness("ts", max_age=timedelta(days=1)),
            FreshnessCheck(column="ts", max_age_seconds=86_400),
        ),
        (freshness("ts", days=1, minutes=1), FreshnessCheck("ts", 86_460)),
        (custom_sql("select 1"), CustomSqlCheck(sql="select 1")),
    ],
)
def test_a_function_makes_the_same_check_as_its_class(made: Check, same: Check) -> None:
    assert made == same


@pytest.mark.parametrize(
    "make",
    [
        lambda **more: row_count(1, **more),
        lambda **more: not_null("a", **more),
        lambda **more: unique("a", **more),
        lambda **more: freshness("a", days=1, **more),
        lambda **more: custom_sql("select 1", **more),
    ],
)
def test_name_phase_and_severity_are_taken_as_text(make: Callable[..., Check]) -> None:
    check = make(name="mine", phase="pre", severity="warning")
    assert (check.name, check.phase, check.severity) == (
        "mine",
        CheckPhase.PRE,
        CheckSeverity.WARNING,
    )


@pytest.mark.parametrize("more", [{"phase": "during"}, {"severity": "fatal"}])
def test_an_unknown_phase_or_severity_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"during|fatal"):
        row_count(1, **more)
    with pytest.raises(ValueError, match=r"'row_count'.*(during|fatal)"):
        RowCountCheck(1, **more)


@pytest.mark.parametrize("make", [not_null, unique, NotNullCheck, UniqueCheck])
def test_a_column_check_without_columns_is_refused(make: Callable[[], Check]) -> None:
    with pytest.raises(ValueError, match="at least one column"):
        make()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: not_null("a", "a"), ValueError, "twice"),
        (lambda: not_null(""), ValueError, "at least one column"),
        (lambda: not_null(ANY_INT), TypeError, "strings only"),
        (lambda: NotNullCheck(columns=ANY_TEXT), TypeError, "one string 'abc'"),
        (lambda: NotNullCheck(("a",), 1_000_001), ValueError, "at most 1000000"),
        (lambda: not_null("a", min_ratio=1.5), ValueError, "between 0 and 1"),
        (lambda: not_null("a", min_ratio=-0.1), ValueError, "between 0 and 1"),
        (lambda: not_null("a", min_ratio=float("nan")), ValueError, "between 0 and 1"),
        (row_count, ValueError, "min_rows= or max_rows="),
        (lambda: row_count(5, 4), ValueError, "max_rows must be at least 5"),
        (lambda: row_count(-1), ValueError, "min_rows must be at least 0"),
        (lambda: row_count(ANY_FLOAT), TypeError, "integer"),
        (lambda: freshness("a"), ValueError, "max_age"),
        (lambda: freshness("a", max_age=timedelta(1), days=1), ValueError, "either"),
        (lambda: freshness("a", max_age=timedelta(0)), ValueError, "positive"),
        (lambda: freshness("a", max_age=timedelta(milliseconds=1)), ValueError, "positive"),
        (lambda: freshness("", days=1), ValueError, "column"),
        (lambda: custom_sql("  "), ValueError, "needs a query"),
        (lambda: custom_sql(ANY_INT), TypeError, "as a string"),
        (lambda: row_count(1, name="a\nb"), ValueError, "printable"),
        (lambda: row_count(1, name=" "), ValueError, "printable"),
    ],
)
def test_a_check_that_makes_no_sense_is_refused(
    make: Callable[[], Check], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        make()


@given(strategies.checks())
def test_a_check_survives_pickling(check: Check) -> None:
    assert pickle.loads(pickle.dumps(check)) == check


@given(strategies.check_results())
def test_only_a_failed_error_or_critical_check_blocks(result: CheckResult) -> None:
    assert pickle.loads(pickle.dumps(result)) == result
    severe = result.severity in ("error", "critical")
    assert result.blocks == (severe and not result.passed)


def test_a_result_does_not_count_fewer_than_no_rows() -> None:
    with pytest.raises(ValueError, match="failed_rows"):
        CheckResult(
            "x",
            check_type=CheckType.UNIQUE,
            phase=CheckPhase.POST,
            severity=CheckSeverity.ERROR,
            passed=False,
            failed_rows=-1,
        )
