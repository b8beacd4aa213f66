from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from servo import errors
from servo.io.storage import DataRoot
from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey
from servo.types.partitions import DailyPartition, PartitionStrategy, StaticDimension

KEY = AssetKey("raw", "events")


def test_an_asset_without_partitions_lies_directly_below_its_name() -> None:
    found = DataRoot(Path("/data")).relative(KEY, PartitionKey(), PartitionStrategy())
    assert found == "raw/events/data.parquet"


def test_directories_follow_the_declared_order_of_the_dimensions() -> None:
    strategy = PartitionStrategy([StaticDimension("region", ["eu"]), DailyPartition("date")])
    key = PartitionKey({"date": date(2025, 1, 5), "region": "eu"})
    found = DataRoot(Path("/data")).relative(KEY, key, strategy)
    assert found == "raw/events/region=eu/date=2025-01-05/data.parquet"


def test_paths_are_resolved_below_the_root() -> None:
    assert DataRoot(Path("/data")).resolve("a/b") == Path("/data/a/b")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\0b"])
def test_a_path_that_would_leave_the_root_is_refused(path: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="data root"):
        DataRoot(Path("/data")).resolve(path)
