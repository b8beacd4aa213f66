"""The functions that declare checks: ``row_count``, ``not_null``, ``unique`` and the others."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from servo.types.checks import (
    PARTS_PER_MILLION,
    CheckPhase,
    CheckSeverity,
    CustomSqlCheck,
    FreshnessCheck,
    NotNullCheck,
    RowCountCheck,
    UniqueCheck,
)

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["custom_sql", "freshness", "not_null", "row_count", "unique"]


def row_count(
    min_rows: int | None = None,
    max_rows: int | None = None,
    *,
    name: str | None = None,
    phase: CheckPhase | str = CheckPhase.POST,
    severity: CheckSeverity | str = CheckSeverity.ERROR,
) -> RowCountCheck:
    """Require a number of rows.

    Args:
        min_rows: Fewest rows allowed.
        max_rows: Most rows allowed.
        name: Name among the asset's checks; ``row_count`` by default.
        phase: ``pre`` or ``post``.
        severity: ``info``, ``warning``, ``error`` or ``critical``.

    Raises:
        ValueError: No bound is given, or they contradict each other.
    """
    return RowCountCheck(
        min_rows,
        max_rows,
        name=name or "",
        phase=CheckPhase(phase),
        severity=CheckSeverity(severity),
    )


def not_null(
    *columns: str,
    min_ratio: float | str | Fraction | None = None,
    name: str | None = None,
    phase: CheckPhase | str = CheckPhase.POST,
    severity: CheckSeverity | str = CheckSeverity.ERROR,
) -> NotNullCheck:
    """Require values in columns.

    Args:
        columns: Columns looked at, each on its own.
        min_ratio: Least share of rows with a value, between 0 and 1, kept to six decimals;
            all rows by default.
        name: Name among the asset's checks; made from the columns by default.
        phase: ``pre`` or ``post``.
        severity: ``info``, ``warning``, ``error`` or ``critical``.

    Raises:
        ValueError: No column is named, or the ratio is not between 0 and 1.
    """
    return NotNullCheck(
        columns,
        PARTS_PER_MILLION if min_ratio is None else _parts_per_million(min_ratio),
        name=name or "",
        phase=CheckPhase(phase),
        severity=CheckSeverity(severity),
    )


def unique(
    *columns: str,
    name: str | None = None,
    phase: CheckPhase | str = CheckPhase.POST,
    severity: CheckSeverity | str = CheckSeverity.ERROR,
) -> UniqueCheck:
    """Require that columns identify a row together.

    Args:
        columns: The columns.
        name: Name among the asset's checks; made from the columns by default.
        phase: ``pre`` or ``post``.
        severity: ``info``, ``warning``, ``error`` or ``critical``.

    Raises:
        ValueError: No column is named.
    """
    return UniqueCheck(
        columns, name=name or "", phase=CheckPhase(phase), severity=CheckSeverity(severity)
    )


def freshness(
    column: str,
    *,
    max_age: timedelta | None = None,
    days: int = 0,
    hours: int = 0,
    minutes: int = 0,
    name: str | None = None,
    phase: CheckPhase | str = CheckPhase.POST,
    severity: CheckSeverity | str = CheckSeverity.ERROR,
) -> FreshnessCheck:
    """Require that the greatest timestamp of a column is recent.

    Args:
        column: Column of dates or timestamps.
        max_age: Greatest age allowed when the check runs, in whole seconds.
        days: The same, instead of ``max_age``; adds to the other lengths.
        hours: See ``days``.
        minutes: See ``days``.
        name: Name among the asset's checks; made from the column by default.
        phase: ``pre`` or ``post``.
        severity: ``info``, ``warning``, ``error`` or ``critical``.

    Raises:
        ValueError: No age is given, both forms are, or it is not positive.
    """
    length = timedelta(days=days, hours=hours, minutes=minutes)
    if (max_age is None) == (not length):
        raise ValueError(
            "freshness() needs either max_age=timedelta(...) or days=, hours=, minutes="
        )
    age = length if max_age is None else max_age
    seconds, rest = divmod(age, timedelta(seconds=1))
    if seconds < 1 or rest:
        raise ValueError(f"freshness(): the age must be a positive number of seconds, got {age!r}")
    return FreshnessCheck(
        column,
        seconds,
        name=name or "",
        phase=CheckPhase(phase),
        severity=CheckSeverity(severity),
    )


def custom_sql(
    sql: str,
    *,
    name: str | None = None,
    phase: CheckPhase | str = CheckPhase.POST,
    severity: CheckSeverity | str = CheckSeverity.ERROR,
) -> CustomSqlCheck:
    """Require that a query returns no rows.

    Args:
        sql: Query that sees the data as the table ``data`` and returns the violating rows.
        name: Name among the asset's checks; made from the query by default.
        phase: ``pre`` or ``post``.
        severity: ``info``, ``warning``, ``error`` or ``critical``.

    Raises:
        ValueError: The query is empty.
    """
    return CustomSqlCheck(
        sql, name=name or "", phase=CheckPhase(phase), severity=CheckSeverity(severity)
    )


def _parts_per_million(ratio: float | str | Fraction) -> int:
    from fractions import Fraction

    try:
        exact = Fraction(str(ratio))
    except ValueError as exc:
        raise ValueError(f"min_ratio must be a number between 0 and 1, got {ratio!r}") from exc
    if not 0 <= exact <= 1:
        raise ValueError(f"min_ratio must lie between 0 and 1, got {ratio!r}")
    return round(exact * PARTS_PER_MILLION)
