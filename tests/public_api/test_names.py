"""The names that users import, from where they import them."""

from __future__ import annotations

import importlib

import pytest

import servo

NAMES = {
    "servo": """
        asset Asset AssetContext AssetIn AssetOut AssetKey AssetId RunId TaskId MaterializationId
        PartitionKey PartitionStrategy TimeDimension HourlyPartition DailyPartition WeeklyPartition
        MonthlyPartition YearlyPartition StaticDimension TenantDimension DependencyMapping
        AssetDefinition AssetDependency CodeLocation IoConfig ExecutionPolicy ResourceRequirements
        Check CheckPhase CheckSeverity CheckResult row_count not_null unique freshness custom_sql
        window latest all_partitions Ok Err ServoError __version__ get_registry
    """,
    "servo.types": """
        AssetIn AssetOut AssetKey AssetId RunId TaskId MaterializationId PartitionKey
        PartitionStrategy TimeDimension HourlyPartition DailyPartition WeeklyPartition
        MonthlyPartition YearlyPartition StaticDimension TenantDimension DependencyMapping
        AssetDefinition AssetDependency CodeLocation IoConfig ExecutionPolicy ResourceRequirements
        Check CheckPhase CheckSeverity CheckResult row_count not_null unique freshness custom_sql
        window latest all_partitions BaseCheck RowCountCheck NotNullCheck UniqueCheck
        FreshnessCheck CustomSqlCheck ScalarValue PartitionDimension DimensionKind
        PartitionDimensionValue get_asset_in_key is_asset_in_type
    """,
    "servo.context": "AssetContext",
    "servo.manifest": """
        AssetDiscovery AssetManifest GitContext Lockfile ManifestBuilder extract_git_context
    """,
    "servo.errors": "ServoError",
    "servo.client": "Client",
    "servo.testing": "materialize make_context",
}


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, listed in NAMES.items() for name in listed.split()],
)
def test_a_name_can_be_imported_from_where_users_import_it(module: str, name: str) -> None:
    assert getattr(importlib.import_module(module), name) is not None


def test_servo_offers_exactly_these_names() -> None:
    assert sorted(servo.__all__) == sorted(NAMES["servo"].split())
