"""Servo: data assets as Python functions.

This is what a user writes every day; every name is loaded on first use. The rest of the
vocabulary is in ``servo.types``, the errors are in ``servo.errors``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servo._lazy import attach
from servo._version import __version__

# Packed by hand: one name a line would bury the table of contents.
# fmt: off
# isort: off
if TYPE_CHECKING:
    from servo._registry import get_registry
    from servo.asset import Asset, asset
    from servo.context import AssetContext
    from servo.errors import ServoError
    from servo.result import Err, Ok
    from servo.types import (
        AssetDefinition, AssetDependency, AssetId, AssetIn, AssetKey, AssetOut, Check,
        CheckPhase, CheckResult, CheckSeverity, CodeLocation, DailyPartition,
        DependencyMapping, ExecutionPolicy, HourlyPartition, IoConfig, MaterializationId,
        MonthlyPartition, PartitionKey, PartitionStrategy, ResourceRequirements, RunId,
        StaticDimension, TaskId, TenantDimension, TimeDimension, WeeklyPartition,
        YearlyPartition, all_partitions, custom_sql, freshness, latest, not_null, row_count,
        unique, window,
    )

__all__ = [
    "Asset", "AssetContext", "AssetDefinition", "AssetDependency", "AssetId", "AssetIn",
    "AssetKey", "AssetOut", "Check", "CheckPhase", "CheckResult", "CheckSeverity",
    "CodeLocation", "DailyPartition", "DependencyMapping", "Err", "ExecutionPolicy",
    "HourlyPartition", "IoConfig", "MaterializationId", "MonthlyPartition", "Ok",
    "PartitionKey", "PartitionStrategy", "ResourceRequirements", "RunId", "ServoError",
    "StaticDimension", "TaskId", "TenantDimension", "TimeDimension", "WeeklyPartition",
    "YearlyPartition", "__version__", "all_partitions", "asset", "custom_sql", "freshness",
    "get_registry", "latest", "not_null", "row_count", "unique", "window",
]
# isort: on
# fmt: on

_HOMES = {
    "servo._registry": "get_registry",
    "servo.asset": "Asset asset",
    "servo.context": "AssetContext",
    "servo.errors": "ServoError",
    "servo.result": "Err Ok",
}
_elsewhere = {"__version__", *" ".join(_HOMES.values()).split()}

__getattr__, __dir__ = attach(
    __name__, {**_HOMES, "servo.types": " ".join(sorted({*__all__} - _elsewhere))}
)
