"""What a worker reports is checked; an honest one passes whatever its partitions are."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from plane_kit import asset
from servo.controlplane import reported
from servo.io.storage import DataRoot
from servo.types import PartitionKey
from servo.types.ids import MaterializationId
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.partitions import PartitionStrategy, StaticDimension
from servo.types.records import Materialization, Progress
from strategies import partition_keys

EVENTS = asset("raw.events")
SOUND = Materialization(
    materialization_id=MaterializationId.generate(),
    asset_key=EVENTS.key,
    partition_key=PartitionKey(),
    path="raw/events/data.parquet",
    row_count=1,
    byte_size=1,
)


def wrong(**changes: object) -> str:
    made = replace(SOUND, **changes)  # type: ignore[arg-type]  # the fields of one case
    return reported.wrong_materialization(made, EVENTS, PartitionKey())


@pytest.mark.parametrize(
    "path",
    [
        "",
        "../../../../etc/passwd",
        "/etc/passwd",
        "raw/other/data.parquet",
        "raw/events/../other/data.parquet",
        "raw/events/x/data.parquet",
        "raw/events/data.parquet\0",
        "RAW/events/data.parquet",
    ],
)
def test_a_path_is_the_one_of_the_asset_and_the_partition(path: str) -> None:
    assert "path" in wrong(path=path)
    if path != "raw/events/x/data.parquet":
        assert "path" in reported.wrong_record(replace(SOUND, path=path))


@pytest.mark.parametrize(
    "name",
    ["m", "\x1b[2J\0" * 1000, SOUND.materialization_id.lower()],
    ids=["short", "controls", "lower case"],
)
def test_an_id_is_a_ulid(name: str) -> None:
    assert "ULID" in wrong(materialization_id=name)
    assert "ULID" in reported.wrong_record(replace(SOUND, materialization_id=name))


def test_counts_are_not_negative() -> None:
    assert "negative" in wrong(row_count=-5)
    assert "negative" in wrong(byte_size=-7)
    assert "negative" in reported.wrong_record(replace(SOUND, row_count=-5))


def test_what_is_sound_passes() -> None:
    assert wrong() == ""
    assert wrong(row_count=None, materialization_id="") == ""
    assert wrong(has_data=False, path="") == ""
    assert wrong(has_data=False) != ""
    assert reported.wrong_record(SOUND) == ""
    assert reported.wrong_record(replace(SOUND, has_data=False, path="")) == ""


@given(partition_keys())
def test_the_path_that_a_worker_writes_to_passes(key: PartitionKey) -> None:
    dimensions = [StaticDimension(name, ["x"]) for name in sorted(key.dimensions)]
    definition = asset("raw.events", partitioning=PartitionStrategy(dimensions))
    path = DataRoot(Path("/data")).relative(definition.key, key, definition.partitioning)
    made = replace(SOUND, path=path, partition_key=key)
    assert reported.wrong_materialization(made, definition, key) == ""
    assert reported.wrong_record(made) == ""


@pytest.mark.parametrize(
    ("name", "value"), [("", 1.0), ("x" * 2000, 1.0), ("x", math.nan), ("x", -math.inf)]
)
def test_a_metric_has_a_name_and_a_finite_value(name: str, value: float) -> None:
    assert reported.wrong_metric(name, value)


def test_a_metric_that_is_sound_passes() -> None:
    assert reported.wrong_metric("rows", -1.5) == ""


@given(st.integers(-(2**31), 2**31 - 1))
def test_progress_is_between_nothing_and_everything(percentage: int) -> None:
    found = reported.wrong_progress(Progress(message="x", percentage=percentage))
    assert (found == "") is (0 <= percentage <= 100)


def lines(*numbers: int, dropped: int = 0) -> LogBatch:
    found = [
        LogLine(number=number, stream=LogStream.STDOUT, text="x", dropped_after=dropped)
        for number in numbers
    ]
    return LogBatch(task_id="t", attempt=1, lines=tuple(found))


def test_lines_count_up_from_1_in_their_stream() -> None:
    assert reported.wrong_lines(lines(1, 2, 7)) == ""
    assert reported.wrong_lines(lines()) == ""
    both = (*lines(5).lines, replace(lines(1).lines[0], stream=LogStream.STDERR))
    assert reported.wrong_lines(replace(lines(), lines=both)) == ""
    for numbers in ((0,), (-(2**63),), (2, 1), (1, 1), (2**53,)):
        assert reported.wrong_lines(lines(*numbers))
    assert reported.wrong_lines(lines(1, dropped=-1))
