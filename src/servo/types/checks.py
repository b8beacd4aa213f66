"""Data quality checks as definitions: what is looked at, when, and how bad a failure is.

Running them is the business of ``servo.checks``; here they are values that travel in the
manifest. ``servo.types.declaring`` has the functions that users write them with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import ClassVar, Final, TypeAlias

from servo.types._frozen import EMPTY_MAP, check_int, set_field, text_map, text_tuple

__all__ = [
    "PARTS_PER_MILLION",
    "BaseCheck",
    "Check",
    "CheckPhase",
    "CheckResult",
    "CheckSeverity",
    "CheckType",
    "CustomSqlCheck",
    "FreshnessCheck",
    "NotNullCheck",
    "RowCountCheck",
    "UniqueCheck",
]

PARTS_PER_MILLION: Final = 1_000_000
"""Ratios travel as integers: nothing that is fingerprinted holds a float."""

_unfit_for_name = re.compile(r"[^A-Za-z0-9_]+", re.ASCII)


class CheckType(StrEnum):
    """What a check looks at."""

    ROW_COUNT = "row_count"
    NOT_NULL = "not_null"
    UNIQUE = "unique"
    FRESHNESS = "freshness"
    CUSTOM_SQL = "custom_sql"


class CheckPhase(StrEnum):
    """When a check runs: on what was read, or on what would be published."""

    PRE = "pre"
    POST = "post"


class CheckSeverity(StrEnum):
    """What a failure means: recorded, shown, fails the task, or stops the run as well."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def blocks(self) -> bool:
        """Whether a failure keeps the data from being published."""
        return self in (CheckSeverity.ERROR, CheckSeverity.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseCheck:
    """What every check has.

    Attributes:
        name: Unique among the asset's checks; made from the parameters when left out.
        phase: When it runs; text is accepted.
        severity: What a failure means; text is accepted.

    Raises:
        ValueError: The phase or severity is unknown, or a parameter makes no sense.
    """

    name: str = ""
    phase: CheckPhase = CheckPhase.POST
    severity: CheckSeverity = CheckSeverity.ERROR

    check_type: ClassVar[CheckType]

    def __post_init__(self) -> None:
        try:
            set_field(self, "phase", CheckPhase(self.phase))
            set_field(self, "severity", CheckSeverity(self.severity))
        except ValueError as exc:
            raise ValueError(f"check {self.name or self._default_name()!r}: {exc}") from exc
        name = self.name or self._default_name()
        if not name.isprintable() or not name.strip():
            raise ValueError(f"Invalid check name {name!r}: it must be printable text")
        set_field(self, "name", name)

    def _default_name(self) -> str:
        return "check"


@dataclass(frozen=True, slots=True)
class RowCountCheck(BaseCheck):
    """The number of rows lies within bounds.

    Attributes:
        min_rows: Fewest rows allowed, or ``None``.
        max_rows: Most rows allowed, or ``None``.
    """

    min_rows: int | None = None
    max_rows: int | None = None

    check_type: ClassVar[CheckType] = CheckType.ROW_COUNT

    def __post_init__(self) -> None:
        if self.min_rows is None and self.max_rows is None:
            raise ValueError("row_count() needs min_rows= or max_rows=")
        if self.min_rows is not None:
            check_int(self.min_rows, "min_rows", minimum=0)
        if self.max_rows is not None:
            check_int(self.max_rows, "max_rows", minimum=self.min_rows or 0)
        BaseCheck.__post_init__(self)

    def _default_name(self) -> str:
        return "row_count"


@dataclass(frozen=True, slots=True)
class NotNullCheck(BaseCheck):
    """Columns have values.

    Attributes:
        columns: Columns looked at, each on its own.
        min_ratio_ppm: Least share of rows with a value, in parts per million.
    """

    columns: tuple[str, ...] = ()
    min_ratio_ppm: int = PARTS_PER_MILLION

    check_type: ClassVar[CheckType] = CheckType.NOT_NULL

    def __post_init__(self) -> None:
        set_field(self, "columns", _columns(self.columns, "not_null"))
        check_int(self.min_ratio_ppm, "min_ratio_ppm", minimum=0)
        if self.min_ratio_ppm > PARTS_PER_MILLION:
            raise ValueError(
                f"min_ratio_ppm must be at most {PARTS_PER_MILLION}, got {self.min_ratio_ppm!r}"
            )
        BaseCheck.__post_init__(self)

    def _default_name(self) -> str:
        return _name("not_null", *self.columns)


@dataclass(frozen=True, slots=True)
class UniqueCheck(BaseCheck):
    """No two rows agree in all the columns.

    Attributes:
        columns: Columns that identify a row together.
    """

    columns: tuple[str, ...] = ()

    check_type: ClassVar[CheckType] = CheckType.UNIQUE

    def __post_init__(self) -> None:
        set_field(self, "columns", _columns(self.columns, "unique"))
        BaseCheck.__post_init__(self)

    def _default_name(self) -> str:
        return _name("unique", *self.columns)


@dataclass(frozen=True, slots=True)
class FreshnessCheck(BaseCheck):
    """The greatest timestamp of a column is recent.

    Attributes:
        column: Column of dates or timestamps.
        max_age_seconds: Greatest age allowed when the check runs, in seconds.
    """

    column: str = ""
    max_age_seconds: int = 0

    check_type: ClassVar[CheckType] = CheckType.FRESHNESS

    def __post_init__(self) -> None:
        _columns((self.column,), "freshness")
        check_int(self.max_age_seconds, "max_age_seconds", minimum=1)
        BaseCheck.__post_init__(self)

    def _default_name(self) -> str:
        return _name("freshness", self.column)


@dataclass(frozen=True, slots=True)
class CustomSqlCheck(BaseCheck):
    """A query finds no violating rows.

    Attributes:
        sql: Query that sees the data as the table ``data`` and returns the rows that are
            wrong; the check passes when there are none.
    """

    sql: str = ""

    check_type: ClassVar[CheckType] = CheckType.CUSTOM_SQL

    def __post_init__(self) -> None:
        if not isinstance(self.sql, str):
            raise TypeError(f"custom_sql() takes the query as a string, got {self.sql!r}")
        if not self.sql.strip():
            raise ValueError("custom_sql() needs a query that returns the violating rows")
        BaseCheck.__post_init__(self)

    def _default_name(self) -> str:
        from hashlib import sha256

        return f"custom_sql_{sha256(self.sql.encode()).hexdigest()[:8]}"


Check: TypeAlias = RowCountCheck | NotNullCheck | UniqueCheck | FreshnessCheck | CustomSqlCheck
"""Any check; usable with ``isinstance``."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one run of a check found.

    Attributes:
        check_name: Name of the check.
        check_type: What it looked at.
        phase: When it ran.
        severity: What a failure means.
        passed: Whether the data is as it should be.
        message: One sentence for people.
        observed: Measured values as text, such as ``{"rows": "17"}``.
        failed_rows: Number of violating rows, where that can be said.
        parameter_name: Parameter whose data was checked; empty for the asset's own data.
    """

    check_name: str
    _: KW_ONLY
    check_type: CheckType
    phase: CheckPhase
    severity: CheckSeverity
    passed: bool
    message: str = ""
    observed: Mapping[str, str] = EMPTY_MAP
    failed_rows: int | None = None
    parameter_name: str = ""

    def __post_init__(self) -> None:
        set_field(self, "check_type", CheckType(self.check_type))
        set_field(self, "phase", CheckPhase(self.phase))
        set_field(self, "severity", CheckSeverity(self.severity))
        set_field(self, "observed", text_map(self.observed, "observed"))
        if self.failed_rows is not None:
            check_int(self.failed_rows, "failed_rows", minimum=0)

    @property
    def blocks(self) -> bool:
        """Whether the result keeps the data from being published."""
        return not self.passed and self.severity.blocks


def _columns(value: object, what: str) -> tuple[str, ...]:
    columns = text_tuple(value, f"columns of {what}")
    if not columns or not all(columns):
        raise ValueError(
            f"{what}() needs the name of at least one column, such as {what}('carrier')"
        )
    if len(set(columns)) != len(columns):
        raise ValueError(f"{what}() names a column twice: {list(columns)!r}")
    return columns


def _name(prefix: str, *columns: str) -> str:
    return "_".join([prefix, *(_unfit_for_name.sub("_", column) for column in columns)])
