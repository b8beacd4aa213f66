"""Each kind of check on an Arrow table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from servo.types.checks import (
    PARTS_PER_MILLION,
    BaseCheck,
    Check,
    CheckResult,
    CustomSqlCheck,
    FreshnessCheck,
    NotNullCheck,
    RowCountCheck,
    UniqueCheck,
)

__all__ = ["needs", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """What looking at the data gave, before it is put together with the check's definition."""

    passed: bool
    message: str
    observed: dict[str, str] = field(default_factory=dict)
    failed_rows: int | None = None


def run(
    check: Check, table: pa.Table, parameter_name: str = "", *, now: datetime | None = None
) -> CheckResult:
    """Run one check.

    Args:
        check: The definition.
        table: The data.
        parameter_name: The function parameter that the data is for; empty for the asset's own
            data.
        now: The time that freshness is measured against; the clock's when left out.

    Returns:
        The result. A column that does not exist and a query that cannot be run are failures
        whose message says so.

    Raises:
        ConfigurationError: A ``custom_sql`` check needs DuckDB, which is not installed.
    """
    missing = [name for name in needs(check) if name not in table.column_names]
    if missing:
        finding = _Finding(
            passed=False,
            message=f"there is no column {', '.join(map(repr, missing))}; "
            f"the columns are {', '.join(map(repr, table.column_names))}",
        )
    else:
        finding = _look(check, table, now or datetime.now(UTC))
    return result_of(check, finding, parameter_name)


def needs(check: Check) -> tuple[str, ...]:
    """Return the columns without which a check cannot pass."""
    if isinstance(check, NotNullCheck | UniqueCheck):
        return check.columns
    if isinstance(check, FreshnessCheck):
        return (check.column,)
    return ()


def counted(number: int, noun: str) -> str:
    """Return ``1 row`` or ``2 rows``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def result_of(check: BaseCheck, finding: _Finding, parameter_name: str) -> CheckResult:
    """Put a finding together with the definition of its check."""
    return CheckResult(
        check.name,
        check_type=check.check_type,
        phase=check.phase,
        severity=check.severity,
        passed=finding.passed,
        message=finding.message,
        observed=finding.observed,
        failed_rows=finding.failed_rows,
        parameter_name=parameter_name,
    )


def _look(check: Check, table: pa.Table, now: datetime) -> _Finding:
    if isinstance(check, CustomSqlCheck):
        from servo.checks import sql

        passed, message, failed = sql.violations(check.sql, table)
        observed = {} if failed is None else {"failed_rows": str(failed)}
        return _Finding(passed=passed, message=message, observed=observed, failed_rows=failed)
    if isinstance(check, FreshnessCheck):
        return _freshness(check, table, now)
    looker: Callable[[Any, pa.Table], _Finding] = _LOOKERS[type(check)]
    return looker(check, table)


def _row_count(check: RowCountCheck, table: pa.Table) -> _Finding:
    rows = table.num_rows
    low, high = check.min_rows, check.max_rows
    observed = {"row_count": str(rows)}
    if low is not None and rows < low:
        return _Finding(
            passed=False,
            message=f"{counted(rows, 'row')}, at least {low} expected",
            observed=observed,
        )
    if high is not None and rows > high:
        return _Finding(
            passed=False,
            message=f"{counted(rows, 'row')}, at most {high} expected",
            observed=observed,
            failed_rows=rows - high,
        )
    return _Finding(passed=True, message=counted(rows, "row"), observed=observed)


def _not_null(check: NotNullCheck, table: pa.Table) -> _Finding:
    rows = table.num_rows
    nulls = {name: table.column(name).null_count for name in check.columns}
    observed = {f"nulls.{name}": str(count) for name, count in nulls.items()}
    # Integers on both sides: a share of exactly the limit passes.
    bad = [
        name
        for name, count in nulls.items()
        if (rows - count) * PARTS_PER_MILLION < check.min_ratio_ppm * rows
    ]
    if not bad:
        return _Finding(passed=True, message=f"{counted(rows, 'row')} looked at", observed=observed)
    found = ", ".join(
        f"{name!r} has {counted(nulls[name], 'null')} in {counted(rows, 'row')}" for name in bad
    )
    share = check.min_ratio_ppm / 10_000
    wanted = "" if check.min_ratio_ppm == PARTS_PER_MILLION else f", {share:g} % values expected"
    missing = pc.is_null(table.column(bad[0]))
    for name in bad[1:]:
        missing = pc.or_(missing, pc.is_null(table.column(name)))
    failed = int(pc.sum(missing).as_py() or 0)
    return _Finding(passed=False, message=f"{found}{wanted}", observed=observed, failed_rows=failed)


def _unique(check: UniqueCheck, table: pa.Table) -> _Finding:
    # A null counts as a value here: two rows that agree in everything, nulls included, are
    # duplicates. SQL's UNIQUE lets them pass, which hides exactly the rows one looks for.
    keys = table.select(check.columns)
    try:
        distinct = _distinct(keys)
    except pa.ArrowException as exc:
        kinds = ", ".join(f"{name!r}: {keys.schema.field(name).type}" for name in check.columns)
        return _Finding(passed=False, message=f"values of {kinds} cannot be compared ({exc})")
    failed = table.num_rows - distinct
    observed = {"row_count": str(table.num_rows), "distinct": str(distinct)}
    if not failed:
        return _Finding(
            passed=True, message=counted(distinct, "distinct row"), observed=observed, failed_rows=0
        )
    names = ", ".join(check.columns)
    return _Finding(
        passed=False,
        message=f"{counted(failed, 'row')} {'repeats' if failed == 1 else 'repeat'} the ({names}) "
        f"of another, for example {_example(keys)}",
        observed=observed,
        failed_rows=failed,
    )


def _distinct(keys: pa.Table) -> int:
    # Also for one column: grouping uses all cores, count_distinct does not.
    return int(keys.group_by(keys.column_names).aggregate([]).num_rows)


def _example(keys: pa.Table) -> str:
    counted = keys.group_by(keys.column_names).aggregate([([], "count_all")])
    repeated = counted.filter(pc.greater(counted.column("count_all"), 1)).slice(0, 1)
    values = repeated.select(keys.column_names).to_pylist()[0]
    return "(" + ", ".join(f"{value!r:.80}" for value in values.values()) + ")"


def _freshness(check: FreshnessCheck, table: pa.Table, now: datetime) -> _Finding:
    column = table.column(check.column)
    kind = column.type
    if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return _Finding(
            passed=False,
            message=f"column {check.column!r} is {kind}; freshness needs a date or a timestamp",
        )
    # Microseconds, because a datetime has no nanoseconds; days stay days.
    wanted = pa.date32() if pa.types.is_date(kind) else pa.timestamp("us", tz=kind.tz)
    newest = _instant(pc.max(column).cast(wanted, safe=False).as_py())
    if newest is None:
        return _Finding(
            passed=False, message=f"column {check.column!r} has no values, so nothing is fresh"
        )
    age = now - newest
    limit = timedelta(seconds=check.max_age_seconds)
    observed = {"newest": newest.isoformat(), "age_seconds": str(int(age.total_seconds()))}
    verb = "within" if age <= limit else "older than"
    return _Finding(
        passed=age <= limit,
        message=f"the newest {check.column!r} is {newest.isoformat()}, {verb} {limit}",
        observed=observed,
    )


def _instant(value: date | datetime | None) -> datetime | None:
    # Without a zone a time is UTC; a date is as old as its first moment.
    if value is None:
        return None
    if not isinstance(value, datetime):
        return datetime.combine(value, time.min, tzinfo=UTC)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_LOOKERS: Final[dict[type[BaseCheck], Callable[[Any, pa.Table], _Finding]]] = {
    RowCountCheck: _row_count,
    NotNullCheck: _not_null,
    UniqueCheck: _unique,
}
