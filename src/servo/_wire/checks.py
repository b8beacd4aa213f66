"""Checks and their outcomes (``asset.proto``, ``run.proto``)."""

from __future__ import annotations

from functools import lru_cache

from servo._gen.arco.v1 import asset_pb2, run_pb2
from servo._wire.enums import CHECK_PHASE, CHECK_SEVERITY, CHECK_TYPE
from servo.errors import InvalidArgumentError
from servo.types.checks import (
    PARTS_PER_MILLION,
    Check,
    CheckResult,
    CheckType,
    CustomSqlCheck,
    FreshnessCheck,
    NotNullCheck,
    RowCountCheck,
    UniqueCheck,
)


def check_to_proto(check: Check, message: asset_pb2.Check) -> None:
    """Fill in a check with the parameters of its kind."""
    message.name = check.name
    message.severity = CHECK_SEVERITY.number[check.severity]
    message.phase = CHECK_PHASE.number[check.phase]
    if isinstance(check, RowCountCheck):
        message.type = CHECK_TYPE.number[CheckType.ROW_COUNT]
        row_count = message.row_count
        row_count.SetInParent()
        if check.min_rows is not None:
            row_count.min_rows = check.min_rows
        if check.max_rows is not None:
            row_count.max_rows = check.max_rows
    elif isinstance(check, NotNullCheck):
        message.type = CHECK_TYPE.number[CheckType.NOT_NULL]
        not_null = message.not_null
        not_null.columns.extend(check.columns)
        if check.min_ratio_ppm != PARTS_PER_MILLION:
            not_null.min_ratio_ppm = check.min_ratio_ppm
    elif isinstance(check, UniqueCheck):
        message.type = CHECK_TYPE.number[CheckType.UNIQUE]
        message.unique.columns.extend(check.columns)
    elif isinstance(check, FreshnessCheck):
        message.type = CHECK_TYPE.number[CheckType.FRESHNESS]
        freshness = message.freshness
        freshness.column = check.column
        freshness.max_age_seconds = check.max_age_seconds
    else:
        message.type = CHECK_TYPE.number[CheckType.CUSTOM_SQL]
        message.custom_sql.sql = check.sql


def check_from_proto(message: asset_pb2.Check) -> Check:
    """Read a check.

    Raises:
        InvalidArgumentError: Its parameters are missing, of another kind than its type, or of a
            kind that this version does not know.
        ValueError: A parameter is malformed.
    """
    return _check(message.SerializeToString(deterministic=True))


# Many assets have the same checks, `row_count(min_rows=1)` above all.
@lru_cache(maxsize=4_096)
def _check(data: bytes) -> Check:
    message = asset_pb2.Check.FromString(data)
    kind = message.WhichOneof("parameters")
    if kind is None or CHECK_TYPE.member[message.type].value != kind:
        raise InvalidArgumentError(
            f"check {message.name!r} has the type {CHECK_TYPE.member[message.type].value!r} and "
            f"parameters for {kind!r}; both must say the same (a newer sender may use a kind "
            f"that this version does not know: upgrade this side)"
        )
    name = message.name
    severity = CHECK_SEVERITY.member[message.severity]
    phase = CHECK_PHASE.member[message.phase]
    if kind == "row_count":
        row_count = message.row_count
        return RowCountCheck(
            name=name,
            min_rows=row_count.min_rows if row_count.HasField("min_rows") else None,
            max_rows=row_count.max_rows if row_count.HasField("max_rows") else None,
            severity=severity,
            phase=phase,
        )
    if kind == "not_null":
        not_null = message.not_null
        return NotNullCheck(
            name=name,
            columns=tuple(not_null.columns),
            min_ratio_ppm=(
                not_null.min_ratio_ppm if not_null.HasField("min_ratio_ppm") else PARTS_PER_MILLION
            ),
            severity=severity,
            phase=phase,
        )
    if kind == "unique":
        columns = tuple(message.unique.columns)
        return UniqueCheck(columns, name=name, severity=severity, phase=phase)
    if kind == "freshness":
        freshness = message.freshness
        return FreshnessCheck(
            name=name,
            column=freshness.column,
            max_age_seconds=freshness.max_age_seconds,
            severity=severity,
            phase=phase,
        )
    return CustomSqlCheck(message.custom_sql.sql, name=name, severity=severity, phase=phase)


def check_result_to_proto(result: CheckResult, message: run_pb2.CheckResult) -> None:
    """Fill in the outcome of a check."""
    message.check_name = result.check_name
    message.type = CHECK_TYPE.number[result.check_type]
    message.phase = CHECK_PHASE.number[result.phase]
    message.severity = CHECK_SEVERITY.number[result.severity]
    message.passed = result.passed
    message.message = result.message
    message.parameter_name = result.parameter_name
    if result.observed:
        message.observed.update(result.observed)
    if result.failed_rows is not None:
        message.failed_rows = result.failed_rows


def check_result_from_proto(message: run_pb2.CheckResult) -> CheckResult:
    """Read the outcome of a check.

    Raises:
        InvalidArgumentError: An enum has a value that this version does not know.
    """
    return CheckResult(
        message.check_name,
        check_type=CHECK_TYPE.member[message.type],
        phase=CHECK_PHASE.member[message.phase],
        severity=CHECK_SEVERITY.member[message.severity],
        passed=message.passed,
        message=message.message,
        observed=dict(message.observed),
        failed_rows=message.failed_rows if message.HasField("failed_rows") else None,
        parameter_name=message.parameter_name,
    )
