"""What the package offers, and what importing it loads."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import servo
import servo.types

PROMISED = (
    "asset",
    "Asset",
    "AssetContext",
    "AssetIn",
    "AssetOut",
    "AssetKey",
    "AssetId",
    "RunId",
    "TaskId",
    "MaterializationId",
    "PartitionKey",
    "PartitionStrategy",
    "TimeDimension",
    "HourlyPartition",
    "DailyPartition",
    "WeeklyPartition",
    "MonthlyPartition",
    "YearlyPartition",
    "StaticDimension",
    "TenantDimension",
    "DependencyMapping",
    "AssetDefinition",
    "AssetDependency",
    "CodeLocation",
    "IoConfig",
    "ExecutionPolicy",
    "ResourceRequirements",
    "Check",
    "CheckPhase",
    "CheckSeverity",
    "CheckResult",
    "row_count",
    "not_null",
    "unique",
    "freshness",
    "custom_sql",
    "window",
    "latest",
    "all_partitions",
    "Ok",
    "Err",
    "ServoError",
    "get_registry",
    "__version__",
)
PROMISED_TYPES = (
    "BaseCheck",
    "RowCountCheck",
    "NotNullCheck",
    "UniqueCheck",
    "FreshnessCheck",
    "CustomSqlCheck",
    "ScalarValue",
    "PartitionDimension",
    "DimensionKind",
    "PartitionDimensionValue",
    "get_asset_in_key",
    "is_asset_in_type",
)
ELSEWHERE = {
    "asset",
    "Asset",
    "AssetContext",
    "Ok",
    "Err",
    "ServoError",
    "get_registry",
    "__version__",
}
HEAVY = ("google.protobuf", "grpc", "pydantic", "httpx", "pyarrow", "sqlite3", "ulid", "logging")


def run(code: str) -> str:
    # Measuring coverage would load modules of its own into the child.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    env["PYTHONPATH"] = str(Path(servo.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_package_offers_exactly_what_is_promised() -> None:
    assert sorted(servo.__all__) == sorted(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
def test_every_promised_name_is_there(name: str) -> None:
    assert getattr(servo, name) is not None
    assert name in dir(servo)


@pytest.mark.parametrize("name", sorted({*PROMISED, *PROMISED_TYPES} - ELSEWHERE))
def test_every_type_is_offered_by_servo_types_as_well(name: str) -> None:
    found = getattr(servo.types, name)
    assert name in servo.types.__all__
    if name in PROMISED:
        assert found is getattr(servo, name)


def test_every_public_name_of_a_types_module_is_defined() -> None:
    for info in pkgutil.iter_modules(servo.types.__path__, "servo.types."):
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), (info.name, name)


def test_everything_that_servo_types_lists_can_be_loaded() -> None:
    for name in servo.types.__all__:
        assert getattr(servo.types, name) is not None


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="'servo' has no attribute 'nothing'"):
        _ = servo.nothing


def test_the_context_is_offered_by_its_module() -> None:
    from servo.context import AssetContext

    assert AssetContext is servo.AssetContext


@pytest.mark.parametrize(
    "first", ["import servo.asset", "from servo.asset import Asset", "import servo._registry"]
)
def test_the_decorator_wins_over_its_module_whatever_was_imported_first(first: str) -> None:
    assert run(f"{first}\nfrom servo import asset\nprint(callable(asset))") == "True"


@pytest.mark.parametrize("code", ["import servo", "from servo import asset, AssetIn, PartitionKey"])
def test_importing_the_facade_loads_nothing_heavy(code: str) -> None:
    loaded = run(f"import sys\n{code}\nprint(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []


def test_importing_the_package_alone_loads_none_of_its_types() -> None:
    loaded = run("import sys, servo\nprint(*sys.modules)").split()
    ours = {name for name in loaded if name.startswith("servo")}
    assert ours == {"servo", "servo._lazy", "servo._version"}
    assert len(loaded) <= 150
