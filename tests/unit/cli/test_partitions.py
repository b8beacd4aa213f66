from __future__ import annotations

import shlex
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import strategies

from servo import errors
from servo.cli import _partitions
from servo.types import (
    AssetDefinition,
    AssetKey,
    CodeLocation,
    DailyPartition,
    HourlyPartition,
    MonthlyPartition,
    PartitionKey,
    PartitionStrategy,
    StaticDimension,
    labels,
)
from servo.types.partition_sets import PartitionSet, TimeRange
from servo.types.requests import AllPartitions, PartitionRange


def definition(key: str, *dimensions: object) -> AssetDefinition:
    return AssetDefinition(
        AssetKey.parse(key),
        code=CodeLocation("assets.x", "f"),
        partitioning=PartitionStrategy(dimensions=dimensions),
    )


def parse(*pairs: str, assets: list[AssetDefinition] | None = None, **more: object) -> object:
    arguments = {"span": None, "every": False, "definitions": assets or []} | more
    return _partitions.parse_selection(pairs=pairs, **arguments)


DAILY = definition("mart.a", DailyPartition("date", start="2025-01-01"))
HOURLY = definition("mart.b", HourlyPartition("hour", start="2025-01-01T00"))
MONTHLY = definition("mart.c", MonthlyPartition("date", start="2025-01-01"))
REGION = definition("mart.d", StaticDimension("region", values=["2025-01-01", "north"]))


def test_nothing_given_selects_nothing() -> None:
    assert parse(assets=[DAILY]) is None


def test_a_day_becomes_a_date() -> None:
    assert parse("date=2025-01-05", assets=[DAILY]) == PartitionKey({"date": date(2025, 1, 5)})


def test_an_hour_becomes_an_instant() -> None:
    found = parse("hour=2025-01-05T07", assets=[HOURLY])
    assert found == PartitionKey({"hour": datetime(2025, 1, 5, 7, tzinfo=UTC)})


def test_a_month_may_be_written_short() -> None:
    assert parse("date=2025-02", assets=[MONTHLY]) == PartitionKey({"date": date(2025, 2, 1)})


def test_a_static_value_that_looks_like_a_date_stays_text() -> None:
    assert parse("region=2025-01-01", assets=[REGION]) == PartitionKey({"region": "2025-01-01"})


def test_a_day_is_found_beside_assets_cut_by_month() -> None:
    found = parse("date=2025-01-05", assets=[MONTHLY, DAILY])
    assert found == PartitionKey({"date": date(2025, 1, 5)})


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parse("region=a=b", assets=[REGION]) == PartitionKey({"region": "a=b"})


def test_several_dimensions_make_one_key() -> None:
    found = parse("date=2025-01-05", "region=north", assets=[DAILY, REGION])
    assert found == PartitionKey({"date": date(2025, 1, 5), "region": "north"})


def test_unknown_dimension_is_refused_with_the_known_ones() -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"no dimension 'dat'.*'date'.*Did you"):
        parse("dat=2025-01-05", assets=[DAILY])


def test_a_dimension_of_nothing_partitioned_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="none of them is partitioned"):
        parse("date=2025-01-05", assets=[definition("raw.a")])


@pytest.mark.parametrize("text", ["2025-13-01", "yesterday", ""])
def test_a_value_that_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="--partition date="):
        parse(f"date={text}", assets=[DAILY])


@pytest.mark.parametrize("text", ["date", "=2025-01-05", ""])
def test_a_pair_without_both_sides_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="dimension=value"):
        parse(text, assets=[DAILY])


def test_a_dimension_given_twice_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="more than once"):
        parse("date=2025-01-05", "date=2025-01-06", assets=[DAILY])


def test_a_range_has_two_ends() -> None:
    found = parse(span="2025-01-01..2025-01-31")
    assert found == PartitionRange(first="2025-01-01", last="2025-01-31")


def test_a_range_may_name_its_dimension() -> None:
    found = parse(span="date=2025-01..2025-03")
    assert found == PartitionRange(dimension="date", first="2025-01", last="2025-03")


@pytest.mark.parametrize("text", ["2025-01-01", "..2025-01-01", "2025-01-01..", "=a..b", ".."])
def test_a_range_without_both_ends_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"FIRST\.\.LAST"):
        parse(span=text)


def test_all_partitions_is_a_selection_of_its_own() -> None:
    assert parse(every=True) == AllPartitions()


def test_two_ways_to_select_exclude_each_other() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="exclude each other"):
        parse("date=2025-01-05", every=True, assets=[DAILY])


def selected(*selection: str) -> list[str]:
    assets = [DAILY, definition("raw.events"), definition("default.users")]
    return [str(found.key) for found in _partitions.selected(selection, assets)]


def test_globs_keys_and_expressions_select_assets() -> None:
    assert selected("*") == ["default.users", "mart.a", "raw.events"]
    assert selected("mart.*", "raw.events") == ["mart.a", "raw.events"]
    assert selected("users") == ["default.users"]
    assert selected("not mart.* and not users") == ["raw.events"]


def test_a_selection_of_nothing_is_refused_like_by_a_control_plane() -> None:
    with pytest.raises(errors.NotFoundError, match=r"did you mean raw\.events"):
        selected("raw.evnts")


def read(label: str, *assets: AssetDefinition) -> tuple[AssetKey, PartitionKey]:
    known = {asset.key: asset for asset in assets}
    return _partitions.parse_label(label, known.__getitem__)


@given(strategies.partition_sets(), st.data())
def test_what_is_printed_of_a_declared_partition_is_read_back_by_every_command(
    partitions: PartitionSet, data: st.DataObject
) -> None:
    dimensions = [
        axis.dimension if isinstance(axis, TimeRange) else StaticDimension(axis.name, axis.values)
        for axis in partitions.axes
        if len(axis)
    ]
    if not partitions.size or not dimensions:
        return
    asset = definition("mart.a", *dimensions)
    key = partitions.key_at(data.draw(st.integers(0, partitions.size - 1)))
    words = shlex.split(labels.command("why", labels.label(asset.key, key)))
    assert read(words[2], asset) == (asset.key, key)
    words = shlex.split(labels.run_command(asset.key, key))
    found = parse(*words[4::2], assets=[asset])
    assert found == key
    assert list(found.dimensions) == list(asset.partitioning.dimension_names)


@pytest.mark.parametrize("value", ["a b", "a=b", "comma,val", "x]y", "a%20b", "", "2025-01-15"])
def test_odd_values_are_read_in_the_spellings_of_today_and_of_older_versions(value: str) -> None:
    asset = definition("mart.a", StaticDimension("k", values=[value, "plain"]))
    wanted = (asset.key, PartitionKey({"k": value}))
    assert read(labels.label(*wanted), asset) == wanted
    assert parse(f"k={value}", assets=[asset]) == wanted[1]
    if value:
        assert read(f"mart.a[k={value}]", asset) == wanted
        assert read(f"mart.a[{wanted[1].to_path()}]", asset) == wanted


def test_the_dimensions_of_a_label_come_in_declared_order() -> None:
    asset = definition("mart.a", StaticDimension("region", ["n"]), DailyPartition("date"))
    _, key = read("mart.a[date=2025-01-05,region=n]", asset)
    assert list(key.dimensions) == ["region", "date"]


@pytest.mark.parametrize("label", ["mart.a[k=a", "mart.a[]", "mart.a[date=2025-01-05,x]", "[k=a]"])
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(errors.InvalidArgumentError):
        read(label, DAILY)
