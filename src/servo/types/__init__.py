"""Servo's vocabulary: frozen value types; records are structs, everything else dataclasses.

Every name is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servo._lazy import attach

if TYPE_CHECKING:
    from servo.types.assets import (
        AssetDefinition,
        Backoff,
        CodeLocation,
        Compression,
        ExecutionPolicy,
        IoConfig,
        IoFormat,
        ResourceRequirements,
        RetryCause,
        RetryPolicy,
    )
    from servo.types.blockers import Blocker, BlockerKind
    from servo.types.calendar import TimeGranularity
    from servo.types.checks import (
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
    )
    from servo.types.declaring import custom_sql, freshness, not_null, row_count, unique
    from servo.types.dependencies import (
        AssetDependency,
        DependencyMapping,
        PartitionMapping,
        all_partitions,
        latest,
        window,
    )
    from servo.types.ids import (
        AssetId,
        BackfillId,
        DeploymentId,
        EventId,
        MaterializationId,
        RunId,
        TaskId,
        Ulid,
        WorkerId,
    )
    from servo.types.inputs import (
        AssetIn,
        AssetOut,
        InputReader,
        get_asset_in_key,
        is_asset_in_type,
    )
    from servo.types.keys import AssetKey
    from servo.types.partition_axes import PartitionAxis, StaticSet, TimeRange
    from servo.types.partition_keys import PartitionKey
    from servo.types.partition_sets import PartitionSet, validate_key
    from servo.types.partitions import (
        DailyPartition,
        DimensionKind,
        HourlyPartition,
        MonthlyPartition,
        PartitionDimension,
        PartitionStrategy,
        StaticDimension,
        TenantDimension,
        TimeDimension,
        WeeklyPartition,
        YearlyPartition,
    )
    from servo.types.pools import Pool
    from servo.types.runs import FailureCategory, RerunScope, RunState, TaskState
    from servo.types.scalars import PartitionDimensionValue, ScalarKind, ScalarValue

__all__ = [
    "AssetDefinition",
    "AssetDependency",
    "AssetId",
    "AssetIn",
    "AssetKey",
    "AssetOut",
    "BackfillId",
    "Backoff",
    "BaseCheck",
    "Blocker",
    "BlockerKind",
    "Check",
    "CheckPhase",
    "CheckResult",
    "CheckSeverity",
    "CheckType",
    "CodeLocation",
    "Compression",
    "CustomSqlCheck",
    "DailyPartition",
    "DependencyMapping",
    "DeploymentId",
    "DimensionKind",
    "EventId",
    "ExecutionPolicy",
    "FailureCategory",
    "FreshnessCheck",
    "HourlyPartition",
    "InputReader",
    "IoConfig",
    "IoFormat",
    "MaterializationId",
    "MonthlyPartition",
    "NotNullCheck",
    "PartitionAxis",
    "PartitionDimension",
    "PartitionDimensionValue",
    "PartitionKey",
    "PartitionMapping",
    "PartitionSet",
    "PartitionStrategy",
    "Pool",
    "RerunScope",
    "ResourceRequirements",
    "RetryCause",
    "RetryPolicy",
    "RowCountCheck",
    "RunId",
    "RunState",
    "ScalarKind",
    "ScalarValue",
    "StaticDimension",
    "StaticSet",
    "TaskId",
    "TaskState",
    "TenantDimension",
    "TimeDimension",
    "TimeGranularity",
    "TimeRange",
    "Ulid",
    "UniqueCheck",
    "WeeklyPartition",
    "WorkerId",
    "YearlyPartition",
    "all_partitions",
    "custom_sql",
    "freshness",
    "get_asset_in_key",
    "is_asset_in_type",
    "latest",
    "not_null",
    "row_count",
    "unique",
    "validate_key",
    "window",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "servo.types.assets": "AssetDefinition Backoff CodeLocation Compression ExecutionPolicy "
        "IoConfig IoFormat ResourceRequirements RetryCause RetryPolicy",
        "servo.types.blockers": "Blocker BlockerKind",
        "servo.types.calendar": "TimeGranularity",
        "servo.types.checks": "BaseCheck Check CheckPhase CheckResult CheckSeverity CheckType "
        "CustomSqlCheck FreshnessCheck NotNullCheck RowCountCheck UniqueCheck",
        "servo.types.declaring": "custom_sql freshness not_null row_count unique",
        "servo.types.dependencies": "AssetDependency DependencyMapping PartitionMapping "
        "all_partitions latest window",
        "servo.types.ids": "AssetId BackfillId DeploymentId EventId MaterializationId RunId "
        "TaskId Ulid WorkerId",
        "servo.types.inputs": "AssetIn AssetOut InputReader get_asset_in_key is_asset_in_type",
        "servo.types.keys": "AssetKey",
        "servo.types.partition_keys": "PartitionKey",
        "servo.types.partition_axes": "PartitionAxis StaticSet TimeRange",
        "servo.types.partition_sets": "PartitionSet validate_key",
        "servo.types.partitions": "DailyPartition DimensionKind HourlyPartition MonthlyPartition "
        "PartitionDimension PartitionStrategy StaticDimension TenantDimension TimeDimension "
        "WeeklyPartition YearlyPartition",
        "servo.types.pools": "Pool",
        "servo.types.runs": "FailureCategory RerunScope RunState TaskState",
        "servo.types.scalars": "PartitionDimensionValue ScalarKind ScalarValue",
    },
)
